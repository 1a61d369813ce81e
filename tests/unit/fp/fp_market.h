/* fp_market.h: a core of one partition or more, fed by hand, one good record after the other. */
#ifndef FP_MARKET_H
#define FP_MARKET_H

#include "fp_test.h"

/* A core whose partitions are owned, and what comes next in the log. */
struct market {
    struct fp_params params;
    struct run run;
    struct record record; /* the next one; good unless changed */
    int64_t offset, sequence;
};

void market_open(struct market *m, const struct fp_params *params);
/* A good record of this event time, arriving at the same moment. Not sent yet. */
struct record *market_next(struct market *m, const char *symbol, int64_t event_us);
unsigned market_send(struct market *m);
/* One good record of partition 0. Returns the first of its actions. */
unsigned market_give(struct market *m, const char *symbol, int64_t event_us);
/* Good records each second of [from, to). */
void market_give_seconds(struct market *m, const char *symbol, int64_t from_us, int64_t to_us);
/* An event of partition 0 that is no record. */
unsigned market_happen(struct market *m, enum fp_event_kind kind, int64_t now_us, int64_t offset);
/* Actions of a kind, from the `first` on. */
unsigned run_count(const struct run *run, unsigned first, enum fp_action_kind kind);
/* The one action since `first`, of this kind. */
const struct out *market_only(const struct market *m, unsigned first, enum fp_action_kind kind);

#endif
