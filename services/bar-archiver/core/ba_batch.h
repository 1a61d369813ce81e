/*
 * ba_batch.h: what is written in one transaction: encoded rows, copied, in the order in which they
 * came. Full by rows, bytes or age. Pure: no clock, no I/O, no allocation after ba_batch_new.
 */
#ifndef BA_BATCH_H
#define BA_BATCH_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ba_table { BA_BARS, BA_CANDLES, BA_TABLES };

struct ba_limits {
    unsigned rows_max; /* a batch with this many is full */
    size_t bytes_max;
    int64_t age_us_max; /* so is one whose first record came this long ago */
    /* what one poll can add to a batch that is not full yet; there is always room for it */
    unsigned burst_rows;
    size_t burst_bytes;
};

struct ba_row {
    enum ba_table table;
    bool is_framed;    /* its record is a whole message, of another schema version or framing */
    bool is_left_out;  /* it turned out to be no record of the table's */
    bool is_impossible; /* it is one, but cannot be true */
    int32_t partition;  /* where it was read: for messages */
    int64_t offset;
    size_t at; /* its record, else without frame, in the batch's bytes */
    uint32_t n;
};

struct ba_batch {
    struct ba_limits limits;
    struct ba_row *rows;
    uint8_t *bytes;
    unsigned rows_n, seen_n; /* seen: records, those too that gave no row */
    size_t bytes_n;
    int64_t since_us; /* when its first record was seen */
    int64_t newest_us; /* Kafka's time of its newest record; -1: none */
    uint64_t mark;     /* the reader's, when it was handed over */
};

/* The caller frees with ba_batch_free (NULL-safe). */
enum err_class ba_batch_new(const struct ba_limits *limits, struct ba_batch **ret_batch,
                            struct err *err) MUST_CHECK;
void ba_batch_free(struct ba_batch *batch);
void ba_batch_clear(struct ba_batch *batch);

/* A record was read, whatever becomes of it: the batch's mark will cover it. kafka_us: -1: none. */
void ba_batch_seen(struct ba_batch *batch, int64_t now_us, int64_t kafka_us);
/* Copies a row. Asserts that it fits: a burst begins only while the batch is not full. */
void ba_batch_add(struct ba_batch *batch, const struct ba_row *row, const uint8_t *record);
const uint8_t *ba_batch_record(const struct ba_batch *batch, const struct ba_row *row);

bool ba_batch_is_empty(const struct ba_batch *batch); /* nothing was seen */
bool ba_batch_is_full(const struct ba_batch *batch);
bool ba_batch_is_due(const struct ba_batch *batch, int64_t now_us); /* full, or old */

/* ---- waiting for a server that is away ---- */

#define BA_BACKOFF_MIN_US INT64_C(100000)
#define BA_BACKOFF_MAX_US INT64_C(5000000)

/* The wait before attempt `attempt` (0: the second one): doubles from 100 ms to 5 s; `random`
 * spreads it over the upper half, so that many clients do not come back at once. */
int64_t ba_backoff_us(unsigned attempt, uint32_t random);

/* ---- a bound on log lines ---- */

#define BA_LINES_MAX 10 /* a minute */
#define BA_LINES_US (60 * INT64_C(1000000))

struct ba_lines {
    int64_t since_us;
    unsigned n;
    uint64_t left_out;
};

/* May one more line be written? If not, it is counted; *ret_left_out, when a new minute begins: how
 * many were not written in the last one. */
bool ba_lines_may(struct ba_lines *lines, int64_t now_us, uint64_t *ret_left_out);

#endif
