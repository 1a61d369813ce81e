/* fp_test.h: what the tests of the producer's core share: a core whose every action is kept, and
 * books to feed it. */
#ifndef FP_TEST_H
#define FP_TEST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/fp_core.h"

#define S L2_US_PER_S
#define DAY (86400 * S)
#define T0 (INT64_C(1723075200) * S) /* a day's start */
#define OUTS_MAX 65536
#define TEST_LEVELS 6

/* An action as plain bytes: nothing borrowed, unused bytes 0, so that two runs compare by memcmp.
 */
struct out {
    enum fp_action_kind kind;
    int32_t partition;
    char symbol[L2_SYMBOL_BYTES_MAX + 1];
    int64_t bar_time_us, source_bar_time_us, source_offset, last_event_us, no_bars_until_us;
    struct l2_row row;
    uint64_t snapshots, gaps, tag, sketch_hash;
    double coverage;
    bool by_clock;
    enum l2_reject reject;
    enum fp_state state;
};

struct run {
    struct fp_core *core;
    struct out *outs;
    unsigned outs_n, updates_n; /* updates: how often step or continue gave actions back */
};

/* 15-min bars, purge 20, exchange "x", `partitions` of them. */
struct fp_params test_params(uint32_t partitions);
void run_start(struct run *run, const struct fp_params *params);
void run_stop(struct run *run);
/* Steps and drains. Returns the index of the first action that this event gave; run->outs_n is
 * behind the last. */
unsigned run_step(struct run *run, const struct fp_event *event);
/* Nothing since `first`, which the event gave. A function, since a macro's other argument may have
 * been read before the event. */
void assert_nothing(const struct run *run, unsigned first);
/* FP_START of a partition from offset 0 on, nothing committed. */
void run_own(struct run *run, int32_t partition);

/* A record of a partition's log, good unless changed. */
struct record {
    int32_t partition;
    int64_t offset, kafka_us;
    const char *symbol;
    bool dead;
    struct l2_snapshot snapshot; /* levels: see below */
    struct l2_level bids[TEST_LEVELS], asks[TEST_LEVELS];
};

/* A book of six levels around mid. */
void record_book(struct record *record, double mid);
/* The event that the service would make of it. Borrows the record. */
struct fp_event record_event(struct record *record);

static inline uint64_t test_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

/* Uniform in [0, n). */
static inline unsigned test_below(uint64_t *state, unsigned n)
{
    return (unsigned)((test_random(state) >> 11) % n);
}

static inline bool once_in(uint64_t *state, unsigned n)
{
    return test_below(state, n) == 0;
}

#endif
