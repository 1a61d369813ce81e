/* sim_feed.h: a seeded feed with every trouble that a partition's log can hold. */
#ifndef SIM_FEED_H
#define SIM_FEED_H

#include "core/fp_core.h"

#define FEED_PARTITIONS 2
#define FEED_SYMBOLS 5
#define FEED_RECORDS_MAX 1200
#define FEED_LEVELS 6

struct sim_rng {
    uint64_t state;
};

uint64_t sim_next(struct sim_rng *rng);
/* Uniform in [0, n). */
uint32_t sim_below(struct sim_rng *rng, uint32_t n);
/* True once in n. */
bool sim_once_in(struct sim_rng *rng, uint32_t n);

struct feed_record {
    int64_t offset, kafka_us;
    bool dead; /* undecodable bytes */
    unsigned symbol;
    struct l2_snapshot snapshot;
    struct l2_level bids[FEED_LEVELS], asks[FEED_LEVELS];
};

struct feed {
    struct feed_record records[FEED_PARTITIONS][FEED_RECORDS_MAX];
    unsigned n[FEED_PARTITIONS];
};

struct fp_name feed_symbol(unsigned symbol);
int32_t feed_partition(unsigned symbol);
/* About `records` records in all; times from `start_us` on. */
void feed_make(struct feed *feed, struct sim_rng *rng, unsigned records, int64_t start_us);
/* The event that the service would make of the record. */
struct fp_event feed_event(const struct feed *feed, int32_t partition, unsigned i, int64_t now_us);

#endif
