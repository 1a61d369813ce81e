#include "qm_prover.h"

#include "clk/clk.h"
#include "codec/l2_snapshot.h"
#include "topics/topics.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PROOF_US_MAX (60 * CLK_US_PER_S) /* a longer one is given up */
#define READ_MS 200
#define EVENT_AHEAD_US (5 * L2_US_PER_S) /* as the producer judges */

static_assert(sizeof(struct codec_level) == sizeof(struct l2_level), "levels have one shape");

struct qm_prover {
    struct qm_prover_options options;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock; /* of what follows, down to result */
    pthread_cond_t news;
    bool busy, done;
    atomic_bool stop;
    struct qm_proof_job job;
    struct qm_proof_result result;
    /* the thread's own */
    struct codec_reader *snapshots;
    struct codec_l2_snapshot decoded;
    struct l2_proof proof;
};

static bool is_text(struct codec_str s, const char *text)
{
    return strlen(text) == s.n && memcmp(s.data, text, s.n) == 0;
}

/* What the producer would have taken: else the link breaks. */
static bool is_valid(const struct qm_prover *p, const struct l2_snapshot *n, int64_t kafka_time_us)
{
    const struct codec_l2_snapshot *d = &p->decoded;

    return is_text(d->exchange, p->options.exchange) && is_text(d->symbol, p->job.symbol) &&
           n->event_time_us <= INT64_MAX / 2 && n->event_time_us >= -INT64_MAX / 2 &&
           n->received_time_us <= INT64_MAX / 2 && n->received_time_us >= -INT64_MAX / 2 &&
           n->event_time_us - n->received_time_us <= EVENT_AHEAD_US &&
           n->event_time_us - kafka_time_us <= EVENT_AHEAD_US && l2_book_check(n) == L2_ACCEPTED;
}

static void fold(struct qm_prover *p, const struct bus_reader_record *r, uint64_t *snapshots)
{
    const struct codec_l2_snapshot *d = &p->decoded;

    if (r->value == NULL || r->value_n > TOPICS_PAYLOAD_BYTES_MAX ||
        codec_reader_decode(p->snapshots, r->value, r->value_n, &p->decoded) != CODEC_OK) {
        l2_proof_break(&p->proof);
        return;
    }
    const struct l2_snapshot n = {
        .event_time_us = d->event_time_us,
        .received_time_us = d->received_time_us,
        .sequence = d->sequence,
        .epoch = d->epoch,
        .bids = (const struct l2_level *)d->bids,
        .asks = (const struct l2_level *)d->asks,
        .bids_n = d->bids_n,
        .asks_n = d->asks_n,
        .has_flow = d->has_flow,
        .flow = {.buy_base = d->flow.buy_base,
                 .sell_base = d->flow.sell_base,
                 .buy_quote = d->flow.buy_quote,
                 .sell_quote = d->flow.sell_quote,
                 .trade_count = d->flow.trade_count},
    };
    const int64_t kafka_us = r->timestamp_us;

    if (!is_valid(p, &n, kafka_us)) {
        l2_proof_break(&p->proof);
        return;
    }
    l2_proof_snapshot(&p->proof, &n, kafka_us);
    ++*snapshots;
}

static int64_t until_offset(const struct qm_proof_job *job)
{
    return job->closes[job->closes_n - 1].source_offset;
}

/* Bars that the clock closed are closed at the same place of the log. */
static void close_by_clock(struct qm_prover *p, int64_t offset)
{
    const struct qm_proof_job *job = &p->job;
    const int64_t bar_us = p->options.params.bar_s * L2_US_PER_S;

    for (;;) {
        const int64_t at = (p->proof.stream.bar_time_us - job->before.bar_time_us) / bar_us - 1;
        if (at >= (int64_t)job->closes_n || !job->closes[at].by_clock ||
            job->closes[at].source_offset > offset || p->proof.is_undecided)
            return;
        l2_proof_close_by_clock(&p->proof);
    }
}

static enum err_class read_all(struct qm_prover *p, struct bus_reader *reader, uint64_t *snapshots,
                               struct err *err)
{
    const int64_t until_us = clk_mono_us() + PROOF_US_MAX;
    const size_t symbol_n = strlen(p->job.symbol);
    const struct bus_reader_record *r;
    bool is_end = false;

    while (!is_end) {
        if (atomic_load(&p->stop) || clk_mono_us() >= until_us)
            return err_set(err, ERR_RETRY, "proof: not done within 60 s");
        if (bus_reader_next(reader, READ_MS, &r, &is_end, err) != ERR_OK)
            return err->class;
        if (r == NULL)
            continue;
        if (r->offset >= until_offset(&p->job))
            return ERR_OK;
        if (r->key_n != symbol_n || memcmp(r->key, p->job.symbol, symbol_n) != 0)
            continue;
        close_by_clock(p, r->offset);
        fold(p, r, snapshots);
    }
    return ERR_OK;
}

static void prove(struct qm_prover *p, struct qm_proof_result *result)
{
    struct bus_reader *reader = NULL;
    const struct qm_proof_job *job = &p->job;

    *result = (struct qm_proof_result){.job = *job, .verdict = L2_PROOF_UNDECIDED};
    l2_proof_begin(&p->proof, &p->options.params, &job->before, job->source_us);
    enum err_class e =
        bus_reader_new(p->options.kafka, p->options.kafka_n, p->options.topic, job->partition,
                       job->before.source_offset, true, &reader, &result->err);
    if (e == ERR_OK) {
        int64_t low, end;
        bus_reader_bounds(reader, job->partition, &low, &end);
        if (low > job->before.source_offset || end < until_offset(job))
            e = err_set(&result->err, ERR_REJECT,
                        "proof: l2.snapshots, partition %d, does not hold offsets %lld to %lld",
                        (int)job->partition, (long long)job->before.source_offset,
                        (long long)until_offset(job));
    }
    if (e == ERR_OK)
        e = read_all(p, reader, &result->snapshots, &result->err);
    bus_reader_free(reader);
    if (e != ERR_OK)
        return;
    result->verdict = l2_proof_end(&p->proof, &job->claimed);
    result->found = p->proof.row;
}

static void *work(void *arg)
{
    struct qm_prover *p = arg;
    struct qm_proof_result result;

    (void)pthread_mutex_lock(&p->lock);
    while (!atomic_load(&p->stop)) {
        if (!p->busy || p->done) {
            (void)pthread_cond_wait(&p->news, &p->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&p->lock);
        prove(p, &result);
        (void)pthread_mutex_lock(&p->lock);
        p->result = result;
        p->done = true;
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

bool qm_prover_submit(struct qm_prover *p, const struct qm_proof_job *job)
{
    (void)pthread_mutex_lock(&p->lock);
    const bool free_now = !p->busy;

    if (free_now) {
        p->job = *job;
        p->busy = true;
        p->done = false;
        (void)pthread_cond_signal(&p->news);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return free_now;
}

bool qm_prover_take(struct qm_prover *p, struct qm_proof_result *ret_result)
{
    (void)pthread_mutex_lock(&p->lock);
    const bool done = p->busy && p->done;

    if (done) {
        *ret_result = p->result;
        p->busy = p->done = false;
    }
    (void)pthread_mutex_unlock(&p->lock);
    return done;
}

/* Signals are the main thread's. */
static bool start(struct qm_prover *p)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    p->running = pthread_create(&p->thread, NULL, work, p) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return p->running;
}

enum err_class qm_prover_new(const struct qm_prover_options *options, struct qm_prover **ret_prover,
                             struct err *err)
{
    struct qm_prover *p = calloc(1, sizeof *p);

    if (p == NULL)
        return err_set(err, ERR_FATAL, "prover: no memory");
    p->options = *options;
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->news, NULL);
    enum err_class e =
        codec_reader_new(&codec_l2_snapshot_record, options->ids, &p->snapshots, err);

    if (e == ERR_OK && !start(p))
        e = err_set(err, ERR_FATAL, "prover: no thread");
    if (e != ERR_OK)
        qm_prover_free(p);
    else
        *ret_prover = p;
    return e;
}

void qm_prover_free(struct qm_prover *p)
{
    if (p == NULL)
        return;
    (void)pthread_mutex_lock(&p->lock);
    atomic_store(&p->stop, true);
    (void)pthread_cond_signal(&p->news);
    (void)pthread_mutex_unlock(&p->lock);
    if (p->running)
        (void)pthread_join(p->thread, NULL);
    codec_reader_free(p->snapshots);
    (void)pthread_cond_destroy(&p->news);
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}
