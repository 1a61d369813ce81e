/* rep_args.h: the command line. */
#ifndef REP_ARGS_H
#define REP_ARGS_H

#include "rep_feed.h"
#include "rep_invalid.h"
#include "rep_merge.h"

#include <stdbool.h>
#include <stdint.h>

/* Exit codes (sysexits.h), for scripts; the words are in --help. */
enum rep_exit {
    REP_OK = 0,
    REP_USAGE = 64,
    REP_DATA = 65,        /* broken input */
    REP_NO_INPUT = 66,    /* an input cannot be opened */
    REP_UNAVAILABLE = 69, /* no broker answers, or it did not take everything */
    REP_INTERNAL = 70,
    REP_CANNOT_CREATE = 73, /* the output cannot be made */
    REP_IO = 74,            /* writing failed: a full disk */
    REP_CONFIG = 78,        /* configuration, topics that are absent */
    REP_INTERRUPTED = 130,
};

struct rep_recording {
    const char *symbol;
    const char **paths;
    unsigned paths_n;
    bool is_symbol_last; /* of what was given: a file that follows begins another recording */
};

enum rep_kind { REP_BINANCE_WS, REP_SYNTHETIC };

struct rep_args {
    enum rep_kind source;
    struct rep_recording recordings[REP_STREAMS_MAX];
    unsigned recordings_n;
    const char *exchange;
    unsigned depth;
    int64_t thin_us; /* 0: off */
    int64_t bar_us;

    const char *output, *candles; /* paths or NULL */
    bool has_topics, is_describe, is_json;
    const char *prefix, *bootstrap, *config; /* NULL: not given */

    double speed; /* 0: as fast as it can */
    bool has_speed;
    double rate; /* records a second; 0: no cap */
    int64_t loop_us;
    uint64_t records;   /* snapshots at most; 0: no limit */
    uint32_t symbols;   /* 0: not given */
    int64_t stagger_us;

    uint64_t seed;
    double rate_hz;
    int64_t span_us, start_us;
    int64_t silence_s;
    unsigned drift_thin; /* 0: none */
    int64_t drift_from_us, drift_until_us;
    struct rep_feed_plan feed;
    struct rep_invalid_plan invalid;
};

/* Ends the program with REP_USAGE, a line and a hint, when the line makes no sense. */
void rep_args_parse(int argc, char **argv, struct rep_args *ret_args);
void rep_args_free(struct rep_args *args);

#endif
