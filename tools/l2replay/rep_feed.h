/*
 * rep_feed.h: a feed that changes while it runs: its cadence, stalls, and its restarts. Pure but
 * for memory at start.
 */
#ifndef REP_FEED_H
#define REP_FEED_H

#include "rep_item.h"

#define REP_FEED_PHASES_MAX 64
#define REP_FEED_STALLS_MAX 64

struct rep_feed_phase {
    unsigned rate_hz; /* snapshots a second and symbol at most; 0: a stall */
    int64_t span_us;
};

/* One symbol sends nothing; what trades meanwhile trades. */
struct rep_feed_stall {
    uint32_t symbol;
    int64_t from_us, until_us; /* after the first item's second */
};

enum rep_feed_restart {
    REP_FEED_STEADY,
    REP_FEED_EPOCH, /* a higher epoch, sequences from 1 on */
    /* A lower epoch, sequences from 1 on, times from then on REP_FEED_STEP_US behind: all late
     * until a consumer adopts the new stream. */
    REP_FEED_ADOPT,
};
#define REP_FEED_STEP_US INT64_C(30000000)

/* Zeroed: the feed as it is. Phases follow one another in a circle from the
 * first item's second on. */
struct rep_feed_plan {
    struct rep_feed_phase phases[REP_FEED_PHASES_MAX];
    unsigned phases_n;
    struct rep_feed_stall stalls[REP_FEED_STALLS_MAX];
    unsigned stalls_n;
    enum rep_feed_restart restart;
    int64_t restart_us; /* a symbol's time between two restarts */
};

/* "10:60,2:60,0:10": 10 a second for 60 s, then 2 a second, then a stall of 10 s, and again. */
enum err_class rep_feed_parse_cadence(const char *text, struct rep_feed_plan *plan,
                                      struct err *err) MUST_CHECK;
/* "0:3600:600,1:7200:60": the first symbol from the 3,600th second on for 600 s, … */
enum err_class rep_feed_parse_stalls(const char *text, struct rep_feed_plan *plan,
                                     struct err *err) MUST_CHECK;
/* "86400:172800:4": from the 86,400th second on, for 172,800 s, by the factor 4 (2 to thin_max). */
struct rep_feed_drift {
    int64_t from_us, span_us;
    unsigned thin;
};
enum err_class rep_feed_parse_drift(const char *text, unsigned thin_max,
                                    struct rep_feed_drift *ret_drift, struct err *err) MUST_CHECK;
/* "epoch:600", "adopt:600": every 600 s */
enum err_class rep_feed_parse_restart(const char *text, struct rep_feed_plan *plan,
                                      struct err *err) MUST_CHECK;

/*
 * Takes `from` over. A snapshot that is left out gives its flow to the next. Times stay in order
 * but where REP_FEED_ADOPT moves them; due times do not move.
 */
struct rep_source rep_feed(struct rep_source from, const struct rep_feed_plan *plan,
                           uint32_t symbols_n);

#endif
