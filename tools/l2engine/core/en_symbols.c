/* Symbols, and what is kept of each. */
#include "en_state.h"

#include <assert.h>
#include <string.h>

#define RETIRED_AFTER_US                                                                           \
    (3600 * L2_US_PER_S) /* the least symbol_ttl_seconds of feature-producer                       \
                          */

static uint64_t hash_of(struct en_name name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (uint32_t i = 0; i < name.n; i++) /* FNV-1a */
        h = (h ^ (uint8_t)name.data[i]) * UINT64_C(0x100000001b3);
    return h ^ h >> 32;
}

struct symbol *en_symbol(struct en_core *core, struct en_name name)
{
    assert(name.n > 0 && name.n <= L2_SYMBOL_BYTES_MAX);
    uint32_t at = (uint32_t)hash_of(name) & (core->index_n - 1);

    for (; core->index[at] != 0; at = (at + 1) & (core->index_n - 1)) {
        struct symbol *s = &core->symbols[core->index[at] - 1];
        if (s->name_n == name.n && memcmp(s->name, name.data, name.n) == 0)
            return s;
    }
    if (core->symbols_n == core->params.symbols_max)
        return NULL;
    struct symbol *s = &core->symbols[core->symbols_n++];
    core->index[at] = core->symbols_n;
    memcpy(s->name, name.data, name.n);
    s->name_n = name.n;
    s->rollout.cleared_through_us = NO_TIME;
    en_symbol_forget(s);
    return s;
}

bool en_symbol_is_in(struct symbol *s, int32_t partition)
{
    if (s->partition < 0)
        s->partition = partition;
    return s->partition == partition;
}

void en_symbol_forget(struct symbol *s)
{
    s->partition = -1;
    s->closes_n = 0;
    s->candle_us = s->predicted_us = NO_TIME;
    s->sent_from = s->latch_from = INT64_MAX;
    s->latch = (struct l2_latch){.seen = false};
    s->first_us = s->newest_us = NO_TIME;
    for (unsigned i = 0; i < EN_FEATURES_MAX; i++)
        s->features[i].bar_time_us = NO_TIME;
}

void en_symbol_sent(struct symbol *s, const struct l2_latch_record *record, int64_t offset)
{
    if (record->bar_time_us > s->predicted_us) {
        s->predicted_us = record->bar_time_us;
        s->sent_from = offset;
    }
    if (l2_latch_put(&s->latch, record)) {
        memmove(&s->bad_from[0], &s->bad_from[1], sizeof s->bad_from - sizeof s->bad_from[0]);
        s->bad_from[L2_LATCH_BARS - 1] = offset;
        if (s->latch.row == L2_LATCH_BARS)
            s->latch_from = s->bad_from[0];
    }
}

const struct feature *en_symbol_feature(const struct symbol *s, int64_t bar_time_us, int64_t bar_us)
{
    const struct feature *f = &s->features[(uint64_t)(bar_time_us / bar_us) % EN_FEATURES_MAX];

    return f->bar_time_us == bar_time_us ? f : NULL;
}

/*
 * The first record of a symbol is that of the bar B which holds its first snapshot. The window of a
 * later bar is whole when it begins at B + bar or after: that of bar B + ⌈window / bar⌉ bars on.
 */
static int64_t whole_from_us(const struct en_core *core, const struct symbol *s)
{
    const int64_t bar_us = core->params.bar_us;

    return s->first_us + (core->params.window_us + bar_us - 1) / bar_us * bar_us;
}

bool en_symbol_warms_up(const struct en_core *core, const struct symbol *s, int64_t bar_time_us)
{
    return s->first_us == NO_TIME || bar_time_us - s->shift_us < whole_from_us(core, s);
}

/* A hole in the bars is a symbol that was retired and began anew: there is a record of each bar up
 * to symbol_ttl, which is an hour or more. */
bool en_core_feature(struct en_core *core, const struct en_feature *f)
{
    struct symbol *s = en_symbol(core, f->symbol);

    if (s == NULL)
        return false;
    if (s->first_us == NO_TIME || f->bar_time_us > s->newest_us + RETIRED_AFTER_US)
        s->first_us = f->bar_time_us;
    if (s->newest_us == NO_TIME || f->bar_time_us > s->newest_us)
        s->newest_us = f->bar_time_us;
    s->shift_us = f->bar_time_us - f->source_us;
    s->features[(uint64_t)(f->bar_time_us / core->params.bar_us) % EN_FEATURES_MAX] =
        (struct feature){.bar_time_us = f->bar_time_us,
                         .source_us = f->source_us,
                         .row = f->row,
                         .is_warm = f->source_us >= whole_from_us(core, s),
                         .fits_contract = f->fits_contract};
    return true;
}

bool en_core_beat(struct en_core *core, struct en_name symbol, int64_t newest_event_us)
{
    struct symbol *s = en_symbol(core, symbol);

    if (s == NULL)
        return false;
    if (!s->has_beat || newest_event_us > s->event_us)
        s->event_us = newest_event_us;
    s->has_beat = true;
    return true;
}

bool en_core_rollout(struct en_core *core, const struct en_rollout *rollout)
{
    struct symbol *s = en_symbol(core, rollout->symbol);

    if (s == NULL)
        return false;
    if (!s->has_rollout || rollout->version > s->rollout.version)
        s->rollout = *rollout;
    s->rollout.symbol = (struct en_name){s->name, s->name_n};
    s->has_rollout = true;
    return true;
}
