#include "rep_fan.h"
#include "rep_grow.h"

#include <assert.h>
#include <stdlib.h>

struct fan {
    struct rep_source from;
    uint32_t from_n, symbols_n;
    int64_t stagger_us;
    struct rep_item item;
    uint32_t symbol; /* the next to hand out */
};

static enum err_class next(void *self, struct rep_item *ret_item, bool *ret_got, struct err *err)
{
    struct fan *const f = self;

    while (f->symbol >= f->symbols_n) {
        const enum err_class e = f->from.next(f->from.self, &f->item, ret_got, err);
        if (e != ERR_OK || !*ret_got)
            return e;
        f->symbol = f->item.symbol; /* may lie beyond: fewer names than recordings */
    }
    const int64_t back_us = f->stagger_us * (int64_t)f->symbol / (int64_t)f->symbols_n;
    *ret_item = f->item;
    ret_item->symbol = f->symbol;
    ret_item->event_us -= back_us;
    ret_item->received_us -= back_us;
    *ret_got = true;
    f->symbol += f->from_n;
    return ERR_OK;
}

static double progress(void *self)
{
    const struct fan *const f = self;

    return f->from.progress != NULL ? f->from.progress(f->from.self) : -1;
}

static void fan_free(void *self)
{
    struct fan *const f = self;

    rep_source_free(&f->from);
    free(f);
}

struct rep_source rep_fan(struct rep_source from, uint32_t from_n, uint32_t symbols_n,
                          int64_t stagger_us)
{
    struct fan *const f = rep_alloc(1, sizeof *f);

    assert(from_n >= 1 && symbols_n >= 1 && symbols_n <= REP_SYMBOLS_MAX);
    *f = (struct fan){.from = from,
                      .from_n = from_n,
                      .symbols_n = symbols_n,
                      .stagger_us = stagger_us,
                      .symbol = symbols_n};
    return (struct rep_source){.self = f, .next = next, .progress = progress, .free = fan_free};
}
