#include "l2/window.h"

#include <assert.h>

static uint32_t slot_of(const struct l2_window *w, int64_t start_us)
{
    const int64_t minute = start_us / L2_MINUTE_US, rest = minute % w->minutes_n;

    return (uint32_t)(rest < 0 ? rest + w->minutes_n : rest);
}

void l2_window_reset(struct l2_window *w)
{
    for (uint32_t i = 0; i < w->minutes_n; i++)
        w->minutes[i] = (struct l2_minute){.start_us = INT64_MIN};
    w->at = 0;
}

/* The minute that begins at start_us; NULL when the ring has moved past it. */
static struct l2_minute *touch(struct l2_window *w, int64_t start_us)
{
    const uint32_t slot = slot_of(w, start_us);
    struct l2_minute *m = &w->minutes[slot];

    if (m->start_us > start_us)
        return NULL;
    if (m->start_us < start_us)
        *m = (struct l2_minute){.start_us = start_us};
    w->at = slot;
    return m;
}

/* The minute that holds time_us, without the divisions that finding its place in the ring costs, if
 * it was touched last. */
static inline struct l2_minute *touch_time(struct l2_window *w, int64_t time_us)
{
    struct l2_minute *m = &w->minutes[w->at];

    if (m->start_us <= time_us && time_us < m->start_us + L2_MINUTE_US)
        return m;
    return touch(w, l2_floor_us(time_us, L2_MINUTE_US));
}

void l2_window_add_ofi(struct l2_window *w, int64_t time_us, double term)
{
    struct l2_minute *m = touch_time(w, time_us);

    if (m != NULL)
        m->ofi += term;
}

void l2_window_add_sample(struct l2_window *w, int64_t time_us, double signed_volume_quote,
                          double dmid_quote)
{
    struct l2_minute *m = touch_time(w, time_us);

    if (m != NULL)
        l2_kyle_add(&m->kyle, signed_volume_quote, dmid_quote);
}

void l2_window_add_gap(struct l2_window *w, int64_t from_us, int64_t to_us)
{
    const int64_t last = l2_floor_us(to_us, L2_MINUTE_US);
    const int64_t oldest = last - (w->minutes_n - 1) * L2_MINUTE_US;
    int64_t start = l2_floor_us(from_us, L2_MINUTE_US);

    assert(from_us <= to_us);
    for (start = start < oldest ? oldest : start; start < to_us; start += L2_MINUTE_US) {
        const int64_t end = start + L2_MINUTE_US;
        const int64_t low = from_us > start ? from_us : start, high = to_us < end ? to_us : end;
        struct l2_minute *m = touch(w, start);
        if (m != NULL)
            m->gap_us += high - low;
    }
}

struct l2_window_sums l2_window_sum(const struct l2_window *w, int64_t end_us)
{
    struct l2_window_sums sums = {.gap_us = 0};

    assert(end_us % L2_MINUTE_US == 0);
    for (int64_t start = end_us - w->minutes_n * L2_MINUTE_US; start < end_us;
         start += L2_MINUTE_US) {
        const struct l2_minute *m = &w->minutes[slot_of(w, start)];
        if (m->start_us != start)
            continue;
        sums.gap_us += m->gap_us;
        sums.ofi += m->ofi;
        l2_kyle_merge(&sums.kyle, &m->kyle);
    }
    return sums;
}
