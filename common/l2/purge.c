#include "l2/purge.h"

#include <assert.h>
#include <stddef.h>

static struct l2_past_bar *slot_of(const struct l2_past *past, int64_t bar_time_us)
{
    assert(bar_time_us % past->bar_us == 0);
    const int64_t rest = bar_time_us / past->bar_us % past->bars_n;

    return &past->bars[rest < 0 ? rest + past->bars_n : rest];
}

void l2_past_reset(struct l2_past *past)
{
    for (uint32_t i = 0; i < past->bars_n; i++)
        past->bars[i] = (struct l2_past_bar){.bar_time_us = INT64_MIN, .anchor_offset = -1};
}

struct l2_past_bar *l2_past_find(const struct l2_past *past, int64_t bar_time_us)
{
    struct l2_past_bar *bar = slot_of(past, bar_time_us);

    return bar->bar_time_us == bar_time_us ? bar : NULL;
}

struct l2_past_bar *l2_past_put(struct l2_past *past, int64_t bar_time_us)
{
    struct l2_past_bar *bar = slot_of(past, bar_time_us);

    if (bar->bar_time_us > bar_time_us)
        return NULL;
    if (bar->bar_time_us < bar_time_us)
        *bar = (struct l2_past_bar){.bar_time_us = bar_time_us, .anchor_offset = -1};
    return bar;
}
