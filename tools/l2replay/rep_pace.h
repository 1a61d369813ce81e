/* rep_pace.h: when a record may go: its market time, and a cap on the rate. */
#ifndef REP_PACE_H
#define REP_PACE_H

#include "base/err.h"
#include "clk/clk.h"
#include "rep_sink.h"
#include "rep_tally.h"

struct rep_pace {
    const struct clk *clk; /* NULL: no market time to wait for */
    struct clk *own;       /* of --speed: made with the first record, which starts it */
    double speed;          /* 0: no clock of its own */
    double rate;           /* records a second; 0: no cap */
    int64_t started_us;    /* monotonic */
    uint64_t sent;
    bool is_over;          /* the rehearsal clock ended it */
};

/* clk: borrowed, or NULL. */
void rep_pace_init(struct rep_pace *pace, const struct clk *clk, double speed, double rate);
void rep_pace_free(struct rep_pace *pace);

/*
 * Returns once virtual now has reached due_us and the cap allows one more; serves the sink
 * meanwhile. *ret_go false: a signal, or the rehearsal clock is over. Sleeps at least a
 * millisecond, so that a fast clock sends small batches instead of waking for each record.
 */
enum err_class rep_pace_wait(struct rep_pace *pace, int64_t due_us, struct rep_sink *sink,
                             struct rep_tally *tally, double part, bool *ret_go,
                             struct err *err) MUST_CHECK;

#endif
