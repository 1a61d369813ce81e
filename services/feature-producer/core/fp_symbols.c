#include "fp_symbols.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * UINT64_C(0xbf58476d1ce4e5b9);
    return h ^ h >> 29;
}

/* A few overlapping loads instead of a step for each byte: this is on every record's way. */
static uint64_t hash_of(int32_t partition, struct fp_name name)
{
    uint64_t h = mix((uint32_t)partition, name.n), word = 0;
    uint32_t half = 0;

    if (name.n >= 8) {
        for (uint32_t i = 0; i + 8 < name.n; i += 8) {
            memcpy(&word, name.data + i, 8);
            h = mix(h, word);
        }
        memcpy(&word, name.data + name.n - 8, 8);
    } else if (name.n >= 4) {
        memcpy(&half, name.data, 4);
        word = half;
        memcpy(&half, name.data + name.n - 4, 4);
        word |= (uint64_t)half << 32;
    } else {
        for (uint32_t i = 0; i < name.n; i++)
            word = word << 8 | (uint8_t)name.data[i];
    }
    h = mix(h, word);
    return h ^ h >> 32;
}

bool fp_symbols_init(struct fp_symbols *t, uint32_t max, uint32_t minutes_n, uint32_t bars_n,
                     int64_t bar_us)
{
    uint32_t index_n = 16;

    while (index_n < 2 * max)
        index_n *= 2;
    /* calloc of this size is untouched pages: memory grows with the symbols that are used */
    *t = (struct fp_symbols){
        .symbols = calloc(max, sizeof *t->symbols),
        .snapshots_from = calloc(max, sizeof *t->snapshots_from),
        .bars_from = calloc(max, sizeof *t->bars_from),
        .partition = calloc(max, sizeof *t->partition),
        .index = calloc(index_n, sizeof *t->index),
        .minutes = calloc((size_t)max * minutes_n, sizeof *t->minutes),
        .bars = calloc((size_t)max * bars_n, sizeof *t->bars),
        .index_n = index_n,
        .max = max,
        .minutes_n = minutes_n,
        .bars_n = bars_n,
        .bar_us = bar_us,
    };
    return t->symbols != NULL && t->snapshots_from != NULL && t->bars_from != NULL &&
           t->partition != NULL && t->index != NULL && t->minutes != NULL && t->bars != NULL;
}

void fp_symbols_release(struct fp_symbols *t)
{
    free(t->symbols);
    free(t->snapshots_from);
    free(t->bars_from);
    free(t->partition);
    free(t->index);
    free(t->minutes);
    free(t->bars);
}

static bool is_named(const struct fp_symbol *s, int32_t partition, struct fp_name name)
{
    return s->partition == partition && s->name_n == name.n &&
           memcmp(s->name, name.data, name.n) == 0;
}

struct fp_symbol *fp_symbols_find(const struct fp_symbols *t, int32_t partition,
                                  struct fp_name name)
{
    const uint32_t mask = t->index_n - 1;

    for (uint32_t i = (uint32_t)hash_of(partition, name) & mask; t->index[i] != 0;
         i = (i + 1) & mask) {
        struct fp_symbol *s = &t->symbols[t->index[i] - 1];
        if (is_named(s, partition, name))
            return s;
    }
    return NULL;
}

static uint32_t free_place(const struct fp_symbols *t)
{
    if (t->high < t->max)
        return t->high;
    for (uint32_t i = 0; i < t->max; i++) {
        if (t->symbols[i].name_n == 0)
            return i;
    }
    return t->max;
}

static void index_put(struct fp_symbols *t, uint32_t place)
{
    const struct fp_symbol *s = &t->symbols[place];
    const uint32_t mask = t->index_n - 1;
    uint32_t i = (uint32_t)hash_of(s->partition, (struct fp_name){s->name, s->name_n}) & mask;

    while (t->index[i] != 0)
        i = (i + 1) & mask;
    t->index[i] = place + 1;
}

struct fp_symbol *fp_symbols_add(struct fp_symbols *t, int32_t partition, struct fp_name name,
                                 const struct l2_params *params)
{
    const uint32_t place = free_place(t);

    assert(name.n >= 1 && name.n <= L2_SYMBOL_BYTES_MAX);
    if (place == t->max)
        return NULL;
    struct fp_symbol *s = &t->symbols[place];
    memcpy(s->name, name.data, name.n);
    s->name_n = name.n;
    s->partition = partition;
    s->past = (struct l2_past){&t->bars[(size_t)place * t->bars_n], t->bars_n, t->bar_us};
    l2_past_reset(&s->past);
    l2_stream_init(&s->stream, params, &t->minutes[(size_t)place * t->minutes_n]);
    s->emitted_us = INT64_MIN;
    s->born_us = INT64_MIN;
    s->last_offset = -1;
    s->late_from = -1;
    s->prior_us = INT64_MIN;
    s->hold_from = -1;
    s->open_anchor = -1;
    s->skip_below = INT64_MIN;
    s->retired = false;
    t->snapshots_from[place] = INT64_MAX;
    t->bars_from[place] = INT64_MAX;
    t->partition[place] = partition;
    index_put(t, place);
    t->used++;
    if (place == t->high)
        t->high++;
    return s;
}

void fp_symbols_remove(struct fp_symbols *t, struct fp_symbol *symbol)
{
    const uint32_t place = fp_symbols_place(t, symbol), mask = t->index_n - 1;
    uint32_t i = 0;

    while (t->index[i] != place + 1)
        i++;
    t->index[i] = 0;
    /* what stands behind it in the same run of places must be found without it: put it in anew */
    for (i = (i + 1) & mask; t->index[i] != 0; i = (i + 1) & mask) {
        const uint32_t other = t->index[i] - 1;
        t->index[i] = 0;
        index_put(t, other);
    }
    symbol->name_n = 0;
    t->snapshots_from[place] = INT64_MAX;
    t->bars_from[place] = INT64_MAX;
    t->partition[place] = -1;
    t->used--;
}
