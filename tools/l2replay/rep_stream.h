/* rep_stream.h: the recording of one symbol, one file or several in a row, as snapshots and trades.
 */
#ifndef REP_STREAM_H
#define REP_STREAM_H

#include "rep_item.h"
#include "rep_sync.h"

#define REP_FILES_MAX 4096

struct rep_stream_options {
    const char *const *paths; /* in the order of time; borrowed */
    unsigned paths_n;
    const char *symbol; /* as the exchange spells it; borrowed */
    uint32_t index; /* the items' symbol */
    unsigned depth; /* levels a side, at most REP_DEPTH_MAX */
    int64_t thin_us; /* at most one snapshot in each [k, k + 1) × thin_us; 0: every one */
};

struct rep_stream_counts {
    uint64_t lines, trades, not_market, other;
    uint64_t empty_side, crossed; /* differences whose book could not be sent */
    uint64_t thinned;
    uint64_t snapshots;
    char first_gap[192]; /* "FILE:LINE", "" without */
};

struct rep_stream;

/* Opens the first file. REJECT: it cannot be opened. */
enum err_class rep_stream_open(const struct rep_stream_options *options,
                               struct rep_stream **ret_stream, struct err *err) MUST_CHECK;
void rep_stream_close(struct rep_stream *stream); /* NULL-safe */

/*
 * As rep_source.next. `flow` is what aggressors traded since the snapshot before (of the first:
 * since the recording's start), added up in arrival order; null until the first trade, since up to
 * there nothing says that trades were recorded. At the end, a recording that gave no snapshot is
 * REJECT, and the text says why it did not.
 */
enum err_class rep_stream_next(struct rep_stream *stream, struct rep_item *ret_item, bool *ret_got,
                               struct err *err) MUST_CHECK;
const struct rep_stream_counts *rep_stream_counts(const struct rep_stream *stream);
const struct rep_sync_counts *rep_stream_sync_counts(const struct rep_stream *stream);
const char *rep_stream_symbol(const struct rep_stream *stream);
double rep_stream_progress(const struct rep_stream *stream); /* 0 to 1; -1: unknown */

#endif
