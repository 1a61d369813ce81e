#include "core/ba_batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum err_class ba_batch_new(const struct ba_limits *limits, struct ba_batch **ret_batch,
                            struct err *err)
{
    struct ba_batch *b = calloc(1, sizeof *b);

    if (b == NULL)
        return err_set(err, ERR_FATAL, "batch: no memory");
    b->limits = *limits;
    b->newest_us = -1;
    b->rows = calloc((size_t)limits->rows_max + limits->burst_rows, sizeof *b->rows);
    /* Not zeroed: pages that no burst ever reaches are never touched. */
    b->bytes = malloc(limits->bytes_max + limits->burst_bytes);
    if (b->rows == NULL || b->bytes == NULL) {
        ba_batch_free(b);
        return err_set(err, ERR_FATAL, "batch: no memory for %zu bytes",
                       limits->bytes_max + limits->burst_bytes);
    }
    *ret_batch = b;
    return ERR_OK;
}

void ba_batch_free(struct ba_batch *b)
{
    if (b == NULL)
        return;
    free(b->rows);
    free(b->bytes);
    free(b);
}

void ba_batch_clear(struct ba_batch *b)
{
    b->rows_n = b->seen_n = 0;
    b->bytes_n = 0;
    b->since_us = 0;
    b->newest_us = -1;
    b->mark = 0;
}

void ba_batch_seen(struct ba_batch *b, int64_t now_us, int64_t kafka_us)
{
    if (b->seen_n == 0)
        b->since_us = now_us;
    if (b->seen_n < UINT32_MAX)
        b->seen_n++;
    if (kafka_us > b->newest_us)
        b->newest_us = kafka_us;
}

void ba_batch_add(struct ba_batch *b, const struct ba_row *row, const uint8_t *record)
{
    assert(b->rows_n < b->limits.rows_max + b->limits.burst_rows);
    assert(row->n <= b->limits.bytes_max + b->limits.burst_bytes - b->bytes_n);
    memcpy(b->bytes + b->bytes_n, record, row->n);
    b->rows[b->rows_n] = *row;
    b->rows[b->rows_n].at = b->bytes_n;
    b->rows_n++;
    b->bytes_n += row->n;
}

const uint8_t *ba_batch_record(const struct ba_batch *b, const struct ba_row *row)
{
    return b->bytes + row->at;
}

bool ba_batch_is_empty(const struct ba_batch *b)
{
    return b->seen_n == 0;
}

bool ba_batch_is_full(const struct ba_batch *b)
{
    return b->rows_n >= b->limits.rows_max || b->bytes_n >= b->limits.bytes_max;
}

bool ba_batch_is_due(const struct ba_batch *b, int64_t now_us)
{
    return b->seen_n > 0 && (ba_batch_is_full(b) || now_us - b->since_us >= b->limits.age_us_max);
}

int64_t ba_backoff_us(unsigned attempt, uint32_t random)
{
    int64_t most = BA_BACKOFF_MIN_US;

    for (unsigned i = 0; i < attempt && most < BA_BACKOFF_MAX_US; i++)
        most *= 2;
    if (most > BA_BACKOFF_MAX_US)
        most = BA_BACKOFF_MAX_US;
    return most / 2 + (int64_t)(random % (uint32_t)(most / 2 + 1));
}

bool ba_lines_may(struct ba_lines *l, int64_t now_us, uint64_t *ret_left_out)
{
    *ret_left_out = 0;
    if (l->n == 0 || now_us - l->since_us >= BA_LINES_US) {
        *ret_left_out = l->left_out;
        *l = (struct ba_lines){.since_us = now_us};
    }
    if (l->n == BA_LINES_MAX) {
        l->left_out++;
        return false;
    }
    l->n++;
    return true;
}
