#include "rep_merge.h"
#include "rep_grow.h"

#include <assert.h>
#include <stdlib.h>

struct head {
    struct rep_stream *stream;
    struct rep_item item;
    bool is_full, is_over;
};

struct merge {
    struct head heads[REP_STREAMS_MAX];
    unsigned n;
};

static enum err_class fill(struct head *head, struct err *err)
{
    bool got = false;

    if (head->is_full || head->is_over)
        return ERR_OK;
    const enum err_class e = rep_stream_next(head->stream, &head->item, &got, err);
    head->is_full = e == ERR_OK && got;
    head->is_over = !head->is_full;
    return e;
}

/* Heads are refilled at the next call: the item handed out points into its stream. */
static enum err_class next(void *self, struct rep_item *ret_item, bool *ret_got, struct err *err)
{
    struct merge *const m = self;
    struct head *first = NULL;

    for (unsigned i = 0; i < m->n; i++) {
        struct head *const h = &m->heads[i];
        const enum err_class e = fill(h, err);
        if (e != ERR_OK)
            return e;
        if (!h->is_full)
            continue;
        if (h->item.is_trade) {
            first = h;
            break;
        }
        if (first == NULL || h->item.event_us < first->item.event_us)
            first = h;
    }
    *ret_got = first != NULL;
    if (first != NULL) {
        *ret_item = first->item;
        first->is_full = false;
    }
    return ERR_OK;
}

static double progress(void *self)
{
    const struct merge *const m = self;
    double sum = 0;

    for (unsigned i = 0; i < m->n; i++) {
        const double one = m->heads[i].is_over ? 1 : rep_stream_progress(m->heads[i].stream);
        if (one < 0)
            return -1;
        sum += one;
    }
    return sum / m->n;
}

struct rep_source rep_merge(struct rep_stream *const *streams, unsigned streams_n)
{
    struct merge *const m = rep_alloc(1, sizeof *m);

    assert(streams_n >= 1 && streams_n <= REP_STREAMS_MAX);
    m->n = streams_n;
    for (unsigned i = 0; i < streams_n; i++)
        m->heads[i].stream = streams[i];
    return (struct rep_source){.self = m, .next = next, .progress = progress, .free = free};
}
