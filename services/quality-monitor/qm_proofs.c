/* What is known of each crypto's stream, and whose turn it is. */
#include "qm_proofs.h"

#include "qm_wire.h"

#include <stdio.h>
#include <stdlib.h>

#define PAST_SLACK_BARS 8 /* a bar may be folded a few bars before its feature record */

enum err_class qm_proofs_begin(struct qm_proofs *p, const struct qm_prover_options *options,
                               unsigned cryptos_max, struct err *err)
{
    p->params = options->params;
    p->cryptos_max = cryptos_max;
    p->pasts = calloc(cryptos_max, sizeof *p->pasts);
    if (p->pasts == NULL)
        return err_set(err, ERR_FATAL, "proofs: no memory");
    return qm_prover_new(options, &p->prover, err);
}

void qm_proofs_end(struct qm_proofs *p)
{
    qm_prover_free(p->prover);
    for (unsigned i = 0; p->pasts != NULL && i < p->cryptos_max; i++)
        free(p->pasts[i].bars);
    free(p->pasts);
}

bool qm_proofs_take(struct qm_proofs *p, struct qm_proof_result *ret_result)
{
    return qm_prover_take(p->prover, ret_result);
}

void qm_proofs_note_bar(struct qm_proofs *p, uint32_t crypto, const struct codec_l2_bar *d)
{
    struct l2_past *past = &p->pasts[crypto];
    const uint32_t n = p->params.purge_bars + l2_proof_bars(&p->params) + PAST_SLACK_BARS;

    if (past->bars == NULL) {
        *past = (struct l2_past){.bars = calloc(n, sizeof *past->bars),
                                 .bars_n = n,
                                 .bar_us = (int64_t)p->params.bar_s * L2_US_PER_S};
        if (past->bars == NULL)
            return; /* nothing is proved of it */
        l2_past_reset(past);
    }
    struct l2_past_bar *bar = l2_past_put(past, d->bar_time_us);

    if (bar == NULL)
        return;
    bar->source_offset = d->source_offset;
    bar->closed_by_clock = d->closed_by == CODEC_CLOSED_BY_CLOCK;
    bar->resume = (struct l2_resume){.epoch = d->resume.epoch,
                                     .sequence = d->resume.sequence,
                                     .last_event_us = d->resume.last_event_time_us,
                                     .last_kafka_us = d->resume.last_kafka_time_us};
}

void qm_proofs_maybe(struct qm_proofs *p, const struct qm_core *core, uint32_t crypto,
                     const struct codec_l2_feature *d, int32_t partition)
{
    const struct l2_past *past = &p->pasts[crypto];
    const int64_t bar_us = (int64_t)p->params.bar_s * L2_US_PER_S;
    const int64_t before_us =
        d->source_bar_time_us - (int64_t)(l2_proof_bars(&p->params) + 1) * bar_us;

    if (past->bars == NULL || (uint64_t)(d->bar_time_us / bar_us) % qm_core_cryptos(core) != crypto)
        return;
    struct qm_proof_job job = {.partition = partition,
                               .bar_time_us = d->bar_time_us,
                               .source_us = d->source_bar_time_us,
                               .claimed = qm_wire_row(d)};

    for (int64_t t = before_us; t <= d->source_bar_time_us; t += bar_us) {
        const struct l2_past_bar *bar = l2_past_find(past, t);
        if (bar == NULL)
            return; /* a life that is too short, or a gap */
        if (t == before_us) {
            job.before = *bar;
            continue;
        }
        job.closes[job.closes_n].source_offset = bar->source_offset;
        job.closes[job.closes_n++].by_clock = bar->closed_by_clock;
    }
    (void)snprintf(job.symbol, sizeof job.symbol, "%s", qm_core_symbol(core, crypto));
    (void)qm_prover_submit(p->prover, &job);
}
