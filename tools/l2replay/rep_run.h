/* rep_run.h: the pull from a source to the sink: candles, pace, counts. */
#ifndef REP_RUN_H
#define REP_RUN_H

#include "rep_pace.h"

struct rep_run {
    struct rep_source *source;
    struct rep_sink *sink;
    struct rep_tally *tally;
    struct rep_pace pace;
    uint64_t snapshots_max; /* 0: no limit */
    const struct rep_invalid_plan *invalid; /* kinds_n 0: none */
    uint64_t invalid_sent;                  /* zeroed: goes round the plan's kinds */
    int64_t bar_us;
    uint32_t symbols_n;
    double part; /* of the whole, as the bar shows it; -1: unknown */
    /* results */
    uint64_t late_trades;
    bool is_source_at_fault; /* the error came from the input, not from the sink */
};

/*
 * Until the source or the limit ends, or a signal. Candles go out once the first snapshot not
 * earlier than their completion is due, so that all records are in the order of their times.
 */
enum err_class rep_run(struct rep_run *run, struct err *err) MUST_CHECK;

#endif
