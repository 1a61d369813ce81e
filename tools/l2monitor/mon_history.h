/*
 * mon_history.h: stored records of many sources in one order, that of their event times, in bounded
 * memory: an external merge sort. What does not fit is sorted by parts into a temporary file (in
 * TMPDIR, without a name), and merged from there.
 */
#ifndef MON_HISTORY_H
#define MON_HISTORY_H

#include "base/err.h"
#include "codec/codec.h"
#include "l2/types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MON_LANES_MAX 8
#define MON_HISTORY_SYMBOLS_MAX 8192

struct mon_history_record {
    int64_t order_us;
    unsigned lane;
    uint32_t symbol;      /* by the order of their first records */
    const uint8_t *value; /* framed, in our own version of the schema; until the next call */
    size_t value_n;
};

struct mon_history;

/* NULL: no memory. memory_bytes_max: of records; at least 1 MiB. What is merged from the file needs
 * as much again, or a record of each part, if that is more. */
struct mon_history *mon_history_new(size_t memory_bytes_max);
void mon_history_free(struct mon_history *history); /* NULL-safe */

/* Records of one time come by lane, then by symbol, then as they were put. REJECT: it does not fit
 * its schema's bounds, or one symbol too many. FATAL: memory, the disk. */
enum err_class mon_history_put(struct mon_history *history, unsigned lane, struct codec_str symbol,
                               int64_t order_us, const struct codec_record *record,
                               const void *value, struct err *err) MUST_CHECK;
/* After the last put, before the first next. */
enum err_class mon_history_sort(struct mon_history *history, struct err *err) MUST_CHECK;
/* *ret_got false: that was all. */
enum err_class mon_history_next(struct mon_history *history, struct mon_history_record *ret_record,
                                bool *ret_got, struct err *err) MUST_CHECK;

/* Was it the temporary file that was at fault? */
bool mon_history_has_disk_failed(const struct mon_history *history);
uint32_t mon_history_symbols_n(const struct mon_history *history);
const char *mon_history_symbol(const struct mon_history *history, uint32_t symbol);
uint64_t mon_history_count(const struct mon_history *history, uint32_t symbol, unsigned lane);

#endif
