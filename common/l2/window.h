/*
 * window.h: the last window_s seconds of one symbol as partial sums per minute, Unix-aligned. Each
 * close sums them afresh, oldest first, so no running sum drifts and two runs agree to the byte.
 * Pure.
 */
#ifndef L2_WINDOW_H
#define L2_WINDOW_H

#include "l2/kyle.h"
#include "l2/types.h"

#include <stddef.h>

struct l2_minute {
    int64_t start_us; /* INT64_MIN: never used */
    int64_t gap_us;   /* time of this minute inside gaps */
    double ofi;       /* Σ e_n, base units */
    struct l2_kyle kyle;
};

/* A ring of window_s / 60 minutes, at start_us / 60 s modulo its length. The memory is the
 * caller's. */
struct l2_window {
    struct l2_minute *minutes;
    uint32_t minutes_n;
    uint32_t at; /* minute touched last: nearly always the next one, too */
};

struct l2_window_sums {
    int64_t gap_us;
    double ofi;
    struct l2_kyle kyle;
};

/* Empties the window. */
void l2_window_reset(struct l2_window *window);
void l2_window_add_ofi(struct l2_window *window, int64_t time_us, double term);
void l2_window_add_sample(struct l2_window *window, int64_t time_us, double signed_volume_quote,
                          double dmid_quote);
/* [from_us, to_us) is a gap; the part older than the ring is forgotten, the rest counts in the
 * minutes it covers. */
void l2_window_add_gap(struct l2_window *window, int64_t from_us, int64_t to_us);
/* Sums of [end_us - minutes_n·60 s, end_us); end_us is a whole minute, and no later one was
 * written. */
struct l2_window_sums l2_window_sum(const struct l2_window *window, int64_t end_us);

#endif
