/*
 * stream.h: one symbol's snapshots in, one bar's row out. Judges order,
 * follows links and gaps, keeps the window. Pure: the live producer, the batch and the leakage
 * proof all fold through here, so they cannot disagree.
 */
#ifndef L2_STREAM_H
#define L2_STREAM_H

#include "l2/features.h"
#include "l2/params.h"
#include "l2/purge.h"
#include "l2/sketch.h"
#include "l2/types.h"
#include "l2/window.h"

enum l2_verdict {
    L2_TAKE,      /* l2_stream_take may follow */
    L2_DUPLICATE, /* sequence at or below the last of its epoch: dropped, breaks nothing */
    L2_LATE,      /* a lower epoch, or behind the symbol's event time: dropped, breaks the link */
};

/* The Kyle sample that is being gathered. */
struct l2_sample {
    int64_t start_us; /* INT64_MIN: none */
    double signed_volume_quote;
    bool left_out; /* holds a snapshot without flow, or one whose link is broken */
};

/* After this many late records in a row that are in order among themselves, theirs is the stream.
 */
#define L2_ADOPT_LATE 100
#define L2_ADOPT_CLOCKS_US (60 * L2_US_PER_S) /* |event_time − received_time| at most */

/* Late records since the last one taken: each of (epoch, sequence) above the one before, no
 * event_time behind it (equal times are kept in order, here as everywhere), both clocks near each
 * other. One that is out of order begins the run anew, one of absurd clocks ends it; duplicates and
 * rejected records neither count nor end it. */
struct l2_late_run {
    uint32_t n; /* at most L2_ADOPT_LATE */
    int64_t epoch, sequence, event_us; /* of its newest */
};

struct l2_stream {
    bool started; /* one snapshot was taken, or resumed from a bar: `last` holds */
    bool broken;  /* the link to the next snapshot is broken already */
    bool has_top; /* the last snapshot itself was seen, not only where the stream stood */
    bool has_sample_mid;
    struct l2_resume last;
    struct l2_book book; /* of the last snapshot */
    double sample_mid;  /* last mid of the last finished sample */
    struct l2_sample sample;
    struct l2_late_run late;
    int64_t bar_time_us; /* of the open bar */
    uint64_t snapshots, gaps; /* in the open bar */
    struct l2_window window;
    struct l2_sketch spread;
};

/* What a close says of a bar; the spread sketch is encoded apart. */
struct l2_bar {
    int64_t bar_time_us;
    struct l2_row row;
    uint64_t snapshots, gaps;
    double coverage;
    struct l2_resume resume; /* the last snapshot that was taken */
};

/* A blank stream, on the caller's memory of window_s / 60 minutes. */
void l2_stream_init(struct l2_stream *stream, const struct l2_params *params,
                    struct l2_minute *minutes);
/* A stream that stands where an earlier bar closed: open bar bar_time_us, `resume` as its last
 * snapshot, which itself is unknown. */
void l2_stream_resume(struct l2_stream *stream, const struct l2_params *params,
                      const struct l2_resume *resume, int64_t bar_time_us);

/* The snapshot that `resume` named was found after all: what it says of the book and the link to
 * the next one hold again. */
void l2_stream_seed(struct l2_stream *stream, const struct l2_snapshot *snapshot);
/* It was another one that looked the same: the last snapshot is unknown again. */
void l2_stream_unseed(struct l2_stream *stream);

enum l2_verdict l2_stream_judge(const struct l2_stream *stream, int64_t epoch, int64_t sequence,
                                int64_t event_time_us);
/* A record of this symbol was rejected or late: nothing is known of the time until the next. */
void l2_stream_break(struct l2_stream *stream);
/* As l2_stream_break, for a late record. True: it is the last of L2_ADOPT_LATE in a row, a feed
 * that was restarted: l2_stream_adopt may follow, once no bar is due. */
bool l2_stream_late(struct l2_stream *stream, const struct l2_snapshot *late);
/* Whether the open bar must be closed before a snapshot of this event time is taken. */
bool l2_stream_is_due(const struct l2_stream *stream, const struct l2_params *params,
                      int64_t event_time_us);
/* Preconditions: the book is accepted, the verdict is L2_TAKE, no bar is due. */
void l2_stream_take(struct l2_stream *stream, const struct l2_params *params,
                    const struct l2_snapshot *next, int64_t kafka_time_us);
/* Takes a late snapshot as the first of a new epoch: the windows and the open bar are emptied, the
 * link is broken, and event time may have stepped back. Precondition: the book is accepted, no bar
 * is due. */
void l2_stream_adopt(struct l2_stream *stream, const struct l2_params *params,
                     const struct l2_snapshot *next, int64_t kafka_time_us);
/* Closes the open bar and opens the next. Precondition: started. */
void l2_stream_close(struct l2_stream *stream, const struct l2_params *params,
                     struct l2_bar *ret_bar, uint8_t ret_sketch[L2_SKETCH_BYTES_MAX],
                     size_t *ret_sketch_n);

#endif
