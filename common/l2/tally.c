#include "l2/tally.h"

#include <assert.h>
#include <string.h>

/* Of a bar inside the window. Counted from the newest one: a division would be most of a put. */
static uint32_t slot_of(const struct l2_tally *t, int64_t bar)
{
    const uint32_t back = (uint32_t)(t->newest - bar);

    return t->newest_slot >= back ? t->newest_slot - back : t->newest_slot + t->bars_n - back;
}

static void clear(struct l2_tally *t, uint32_t slot)
{
    uint16_t *code = &t->code[slot];

    if (*code == L2_TALLY_NONE)
        return;
    t->count[*code]--;
    t->n--;
    *code = L2_TALLY_NONE;
}

void l2_tally_reset(struct l2_tally *t)
{
    assert(t->bars_n > 0 && t->codes_n > 0 && t->codes_n < L2_TALLY_NONE);
    for (uint32_t i = 0; i < t->bars_n; i++)
        t->code[i] = L2_TALLY_NONE;
    memset(t->count, 0, t->codes_n * sizeof *t->count);
    t->n = 0;
    t->newest_slot = 0;
    t->started = false;
}

void l2_tally_advance(struct l2_tally *t, int64_t newest)
{
    if (!t->started) {
        t->started = true;
        t->newest = newest;
        return;
    }
    if (newest <= t->newest)
        return;
    if (newest - t->newest >= (int64_t)t->bars_n) {
        l2_tally_reset(t);
        t->started = true;
    } else {
        for (int64_t bar = t->newest + 1; bar <= newest; bar++) {
            t->newest_slot = t->newest_slot + 1 == t->bars_n ? 0 : t->newest_slot + 1;
            clear(t, t->newest_slot); /* the slot of the bar that leaves */
        }
    }
    t->newest = newest;
}

static bool inside(const struct l2_tally *t, int64_t bar)
{
    return t->started && bar <= t->newest && t->newest - bar < (int64_t)t->bars_n;
}

bool l2_tally_put(struct l2_tally *t, int64_t bar, uint16_t code)
{
    assert(code < t->codes_n);
    l2_tally_advance(t, bar);
    if (!inside(t, bar))
        return false;
    const uint32_t slot = slot_of(t, bar);

    clear(t, slot);
    t->code[slot] = code;
    t->count[code]++;
    t->n++;
    return true;
}

uint16_t l2_tally_at(const struct l2_tally *t, int64_t bar)
{
    return inside(t, bar) ? t->code[slot_of(t, bar)] : L2_TALLY_NONE;
}

bool l2_tally_quantile(const struct l2_tally *t, double q, uint16_t *ret_code)
{
    assert(q >= 0 && q <= 1);
    if (t->n == 0)
        return false;
    const uint64_t rank = (uint64_t)(q * (double)(t->n - 1));
    uint64_t below = 0;

    for (uint32_t code = 0; code < t->codes_n; code++) {
        below += t->count[code];
        if (below > rank) {
            *ret_code = (uint16_t)code;
            return true;
        }
    }
    return false; /* never: the counts sum to n */
}
