/*
 * ctl_view.h: records as people, programs and spreadsheets read them. Works from the codec's
 * descriptors, so a record of a new schema prints without a change here; only the table's choice of
 * columns knows records by name (ctl_table.c).
 *
 * json  one object a line: every field, times as whole microseconds, doubles as the shortest text
 * that reads back the same, NaN and infinities as "NaN", "Infinity", "-Infinity", bytes as hex.
 * Fields whose names start with '_' are ours: _record (the record's name, null when undecodable),
 * _error, _bytes, and _kafka {topic, partition, offset, timestamp, key, headers}. csv   a header
 * and a line a record: nested fields as a.b, an array of records in one cell (58000.1:0.5
 * 58000:1.2), null as nothing. Undecodable bytes have no columns: they are named on `errs`, but for
 * l2.dlq, whose lines are of letters. table aligned columns, times in ISO UTC, the best level and
 * the count of levels of a book.
 */
#ifndef CTL_VIEW_H
#define CTL_VIEW_H

#include "bus/bus.h"
#include "codec/codec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum ctl_format { CTL_TABLE, CTL_JSON, CTL_CSV };

/* One thing to show. Everything is borrowed. */
struct ctl_item {
    const struct bus_reader_record *message; /* where it lay in Kafka; NULL: from a file */
    const char *topic;                       /* with a message */
    uint64_t number;                         /* of the record in its file, from 0 */
    const struct codec_record *record;       /* NULL: undecodable */
    const void *value;                       /* the decoded struct; with a record */
    const char *why;                         /* undecodable: a word, or a few */
    const uint8_t *bytes;                    /* as they lay */
    size_t bytes_n;
};

struct ctl_view {
    enum ctl_format format;
    FILE *out;
    FILE *errs;                          /* csv: what has no columns */
    bool is_dlq;                         /* letters: reason, origin and bytes come first */
    const struct codec_record *headed;   /* whose columns stand above */
    bool has_letters_head;
};

/* Writes the item. Whether `out` took it all is ferror(out)'s to say. */
void ctl_view_put(struct ctl_view *view, const struct ctl_item *item);

/* What the formats share: ctl_text.c. */

void ctl_put_double(FILE *out, double v); /* shortest that reads back the same; nan, inf, -inf */
void ctl_put_float(FILE *out, float v);
void ctl_put_hex(FILE *out, const uint8_t *bytes, size_t n);
/* A JSON string with its quotes; bytes that are no UTF-8 become U+FFFD. */
void ctl_put_json_string(FILE *out, const char *text, size_t n);
/* Printable ASCII as it is, the rest as \xNN; into buf, cut to `columns` with "..." at its end.
 * Returns buf. */
const char *ctl_escape(const uint8_t *bytes, size_t n, char *buf, size_t size, unsigned columns);
/* ISO 8601 UTC with 0, 3 or 6 digits of a second; buf of CLK_TEXT_BYTES. Returns buf. */
const char *ctl_time(int64_t us, unsigned digits, char *buf, size_t size);
/* The header of that name; NULL: none. */
const struct bus_header *ctl_header(const struct bus_reader_record *message, const char *name);

/* A nullable field that is null. */
bool ctl_is_null(const struct codec_field *field, const void *from);
const void *ctl_at(const struct codec_field *field, const void *from);
uint32_t ctl_items(const struct codec_field *array, const void *from);
const char *ctl_enum_name(const struct codec_field *field, const void *value);

void ctl_json_put(struct ctl_view *view, const struct ctl_item *item);
void ctl_csv_put(struct ctl_view *view, const struct ctl_item *item);
void ctl_table_put(struct ctl_view *view, const struct ctl_item *item);

#endif
