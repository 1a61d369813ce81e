#include "l2/proof.h"

#include <assert.h>
#include <string.h>

uint32_t l2_proof_bars(const struct l2_params *params)
{
    return l2_params_boundary_bars(params) + 1; /* one more: its first link is not known */
}

void l2_proof_begin(struct l2_proof *p, const struct l2_params *params,
                    const struct l2_past_bar *before, int64_t source_us)
{
    const int64_t bar_us = params->bar_s * L2_US_PER_S;

    assert(before->bar_time_us == source_us - (int64_t)(l2_proof_bars(params) + 1) * bar_us);
    p->params = *params;
    p->source_us = source_us;
    p->cut_us = source_us + bar_us;
    p->has_row = p->is_undecided = false;
    l2_stream_init(&p->stream, params, p->minutes);
    l2_stream_resume(&p->stream, params, &before->resume, before->bar_time_us + bar_us);
}

static void close_bar(struct l2_proof *p)
{
    uint8_t sketch[L2_SKETCH_BYTES_MAX];
    size_t sketch_n;
    struct l2_bar bar;

    l2_stream_close(&p->stream, &p->params, &bar, sketch, &sketch_n);
    if (bar.bar_time_us == p->source_us) {
        p->has_row = true;
        p->row = bar.row;
    }
}

void l2_proof_snapshot(struct l2_proof *p, const struct l2_snapshot *snapshot,
                       int64_t kafka_time_us)
{
    if (snapshot->event_time_us >= p->cut_us || p->is_undecided)
        return;
    switch (
        l2_stream_judge(&p->stream, snapshot->epoch, snapshot->sequence, snapshot->event_time_us)) {
    case L2_DUPLICATE:
        break;
    case L2_LATE:
        p->is_undecided = l2_stream_late(&p->stream, snapshot);
        break;
    case L2_TAKE:
        while (l2_stream_is_due(&p->stream, &p->params, snapshot->event_time_us))
            close_bar(p);
        l2_stream_take(&p->stream, &p->params, snapshot, kafka_time_us);
        break;
    }
}

void l2_proof_close_by_clock(struct l2_proof *p)
{
    if (!p->is_undecided)
        close_bar(p);
}

void l2_proof_break(struct l2_proof *p)
{
    l2_stream_break(&p->stream);
}

/* Nulls have no value to compare. */
static bool is_same(const struct l2_row *a, const struct l2_row *b)
{
    if (a->present != b->present)
        return false;
    for (enum l2_column c = 0; c < L2_COLUMNS; c++) {
        if (l2_row_has(a, c) && memcmp(&a->value[c], &b->value[c], sizeof a->value[c]) != 0)
            return false;
    }
    return true;
}

enum l2_proof_verdict l2_proof_end(struct l2_proof *p, const struct l2_row *claimed)
{
    while (!p->is_undecided && p->stream.bar_time_us <= p->source_us)
        close_bar(p);
    if (p->is_undecided || !p->has_row)
        return L2_PROOF_UNDECIDED;
    return is_same(&p->row, claimed) ? L2_PROOF_SAME : L2_PROOF_OTHER;
}
