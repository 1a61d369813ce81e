/* Stored records into the history, and from there through the core that the service runs. */
#include "mon_backtest.h"

#include "clk/clk.h"
#include "codec/candle.h"
#include "codec/l2_bar.h"
#include "codec/l2_feature.h"
#include "codec/prediction.h"
#include "codec/rollout_state.h"
#include "l2/book.h"
#include "l2/purge.h"
#include "mon.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PROGRESS_US (2 * CLK_US_PER_S)
#define HOLD_US (1200 * INT64_C(1000)) /* the service's own default of hold_ms */
#define TIME_US_MAX (INT64_C(253402300800) * L2_US_PER_S) /* the year 10000 */

const struct codec_record *const mon_backtest_records[] = {
    &codec_candle_record,     &codec_l2_bar_record,        &codec_l2_feature_record,
    &codec_prediction_record, &codec_rollout_state_record, NULL};

int64_t mon_backtest_bar_us(const struct mon_backtest *b)
{
    return (int64_t)b->choice.wanted.bar_s * L2_US_PER_S;
}

/* ---- in */

static enum err_class check(const struct codec_record *record, const struct mon_candidate *c,
                            struct err *err)
{
    char when[CLK_TEXT_BYTES];

    if (!l2_symbol_ok(c->symbol.data, c->symbol.n) ||
        !l2_symbol_ok(c->exchange.data, c->exchange.n))
        return err_set(err, ERR_REJECT, "%s: its exchange or symbol is not [A-Za-z0-9._-]{1,32}",
                       record->name);
    if (c->bar_s < 60 || c->bar_s > MON_BACKTEST_BAR_S_MAX || 86400 % c->bar_s != 0 ||
        c->bar_s % 60 != 0 || c->bar_time_us < 0 || c->bar_time_us > TIME_US_MAX ||
        c->bar_time_us % (c->bar_s * L2_US_PER_S) != 0)
        return err_set(err, ERR_REJECT, "%s of %.*s, bar %s: not a bar of %d s", record->name,
                       (int)c->symbol.n, c->symbol.data,
                       clk_text(c->bar_time_us, when, sizeof when), c->bar_s);
    return ERR_OK;
}

static enum err_class note_purge(struct mon_backtest *b, const struct codec_l2_feature *f,
                                 struct err *err)
{
    if (b->purge_bars < 0)
        b->purge_bars = f->purge_bars;
    if (b->purge_bars == f->purge_bars && f->purge_bars >= 0 && f->purge_bars <= L2_PURGE_BARS_MAX)
        return ERR_OK;
    return err_set(err, ERR_REJECT,
                   "feature records with a purge of %d bars, others (or --purge-bars) say %" PRId64,
                   f->purge_bars, b->purge_bars);
}

/* Of a record that belongs to a bar. */
#define CANDIDATE(d)                                                                               \
    (struct mon_candidate)                                                                         \
    {                                                                                              \
        .exchange = (d)->exchange, .symbol = (d)->symbol, .bar_time_us = (d)->bar_time_us,         \
        .bar_s = (d)->bar_seconds                                                                  \
    }

static enum qm_input describe(const struct mon_backtest *b, const struct codec_record *record,
                              const void *value, struct mon_candidate *ret)
{
    if (record == &codec_candle_record) {
        *ret = CANDIDATE((const struct codec_candle *)value);
        return QM_IN_CANDLES;
    }
    if (record == &codec_prediction_record) {
        *ret = CANDIDATE((const struct codec_prediction *)value);
        return QM_IN_PREDICTIONS;
    }
    if (record == &codec_l2_bar_record) {
        *ret = CANDIDATE((const struct codec_l2_bar *)value);
        ret->schema_version = ((const struct codec_l2_bar *)value)->schema_version;
        return QM_IN_BARS;
    }
    if (record == &codec_l2_feature_record) {
        *ret = CANDIDATE((const struct codec_l2_feature *)value);
        ret->schema_version = ((const struct codec_l2_feature *)value)->schema_version;
        return QM_IN_FEATURES;
    }
    const struct codec_rollout_state *const d = value; /* of no bar: of a time */

    *ret = (struct mon_candidate){.exchange = d->exchange,
                                  .symbol = d->symbol,
                                  .bar_time_us = d->time_us,
                                  .bar_s = (int32_t)b->choice.wanted.bar_s,
                                  .is_lasting = true};
    return QM_IN_ROLLOUT;
}

static enum err_class put_bar(struct mon_backtest *b, enum qm_input lane,
                              const struct mon_candidate *c, const struct codec_record *record,
                              const void *value, struct err *err)
{
    const int64_t close_us = c->bar_time_us + c->bar_s * L2_US_PER_S;

    b->first_us = close_us < b->first_us ? close_us : b->first_us;
    b->last_us = close_us > b->last_us ? close_us : b->last_us;
    return mon_history_put(b->history, lane, c->symbol, close_us, record, value, err);
}

/* The switch must be obeyed, whatever its writer's clock says: dated ahead it counts as of when it
 * came. */
static enum err_class put_rollout(struct mon_backtest *b, const struct mon_candidate *c,
                                  const struct codec_rollout_state *value, struct err *err)
{
    struct codec_rollout_state state = *value;

    state.time_us = c->bar_time_us;
    return mon_history_put(b->history, QM_IN_ROLLOUT, c->symbol, state.time_us,
                           &codec_rollout_state_record, &state, err);
}

enum err_class mon_backtest_take(void *user, const struct codec_record *record, const void *value,
                                 int64_t latest_us, struct err *err)
{
    struct mon_backtest *const b = user;
    struct mon_candidate c;
    bool is_wanted;
    const enum qm_input lane = describe(b, record, value, &c);
    const bool is_ahead = c.bar_time_us > latest_us;

    if (is_ahead && lane != QM_IN_ROLLOUT) {
        b->ahead++;
        return ERR_OK;
    }
    if (is_ahead)
        c.bar_time_us = latest_us;
    if (lane != QM_IN_ROLLOUT && check(record, &c, err) != ERR_OK)
        return err->class;
    if (mon_choice_judge(&b->choice, &c, &is_wanted, err) != ERR_OK)
        return err->class;
    b->others += !is_wanted;
    if (!is_wanted)
        return ERR_OK;
    if (lane == QM_IN_FEATURES && note_purge(b, value, err) != ERR_OK)
        return err->class;
    b->taken[lane]++;
    return lane == QM_IN_ROLLOUT ? put_rollout(b, &c, value, err)
                                 : put_bar(b, lane, &c, record, value, err);
}

/* ---- what the core says */

static void on_signal(void *user, const char *symbol, const struct qm_signal_out *out)
{
    struct mon_backtest *const b = user;
    uint32_t crypto;

    if (qm_core_number(b->run->core, symbol, &crypto))
        mon_findings_signal(&b->run->findings, crypto, out, mon_backtest_bar_us(b));
}

static void on_outcome(void *user, const char *symbol, const struct qm_outcome_out *out)
{
    (void)user;
    (void)symbol;
    (void)out; /* its month is in the signals */
}

static void on_transition(void *user, const char *symbol, const struct qm_transition *t)
{
    struct mon_backtest *const b = user;
    struct mon_run *const run = b->run;
    uint32_t crypto;

    if (!qm_core_number(run->core, symbol, &crypto))
        return;
    mon_findings_transition(&run->findings, crypto, t);
    if (!qm_alerts_put(run->alerts, crypto, t, b->now_us))
        run->findings.is_out_of_memory = true;
}

static unsigned having(void *user, enum qm_signal signal, enum l2_arm arm)
{
    const struct mon_run *const run = user;
    unsigned n = 0;

    for (unsigned i = 0; i < qm_core_cryptos(run->core); i++)
        n += qm_core_had_data(run->core, i, signal, arm);
    return n;
}

static void tell_alerts(struct mon_run *run, int64_t now_us)
{
    struct qm_alert_out out;

    while (qm_alerts_next(run->alerts, now_us, having, run, &out))
        mon_findings_alert(&run->findings, &out);
}

const char *mon_backtest_symbol(void *user, uint32_t crypto)
{
    const struct mon_run *const run = user;

    return qm_core_symbol(run->core, crypto);
}

/* ---- bars without their feature records: the purge makes them */

struct purges {
    struct l2_past *past; /* by the history's number; bars NULL: its feature records are there */
    uint32_t n;
};

static void free_purges(struct purges *p)
{
    for (uint32_t i = 0; p->past != NULL && i < p->n; i++)
        free(p->past[i].bars);
    free(p->past);
}

static bool make_purges(const struct mon_backtest *b, struct purges *p)
{
    p->n = mon_history_symbols_n(b->history);
    p->past = calloc(p->n + 1, sizeof *p->past);
    for (uint32_t i = 0; p->past != NULL && i < p->n; i++) {
        if (mon_history_count(b->history, i, QM_IN_FEATURES) > 0)
            continue;
        p->past[i] = (struct l2_past){.bars_n = (uint32_t)b->purge_bars + 1,
                                      .bar_us = mon_backtest_bar_us(b)};
        p->past[i].bars = calloc(p->past[i].bars_n, sizeof *p->past[i].bars);
        if (p->past[i].bars == NULL)
            return false;
        l2_past_reset(&p->past[i]);
    }
    return p->past != NULL;
}

/* The record that the producer emits with this bar. false: the bar came before. */
static bool derive(const struct mon_backtest *b, struct l2_past *past,
                   const struct codec_l2_bar *bar, struct qm_feature *ret)
{
    if (l2_past_find(past, bar->bar_time_us) != NULL)
        return false;
    struct l2_past_bar *const mine = l2_past_put(past, bar->bar_time_us);

    if (mine == NULL)
        return false;
    mine->row = qm_wire_bar_row(bar);
    *ret = (struct qm_feature){.bar_time_us = bar->bar_time_us,
                               .source_bar_time_us =
                                   bar->bar_time_us - b->purge_bars * mon_backtest_bar_us(b)};
    const struct l2_past_bar *const source = l2_past_find(past, ret->source_bar_time_us);

    if (source != NULL)
        ret->row = source->row;
    return true;
}

/* ---- the fold */

static enum err_class open_run(struct mon_backtest *b, struct mon_run *run, struct err *err)
{
    const uint32_t cryptos_n = mon_history_symbols_n(b->history);
    const struct qm_options options = {
        .bar_s = b->choice.wanted.bar_s,
        .purge_bars = (uint32_t)b->purge_bars,
        .cryptos_max = cryptos_n,
        .set = b->set,
        .rows = run->rows,
        .references = run->reference.crypto,
        .references_n = run->reference.cryptos_n,
        .sink = {.signal = on_signal,
                 .outcome = on_outcome,
                 .transition = on_transition,
                 .user = b},
    };

    run->core = qm_core_new(&options);
    run->alerts = qm_alerts_new(cryptos_n, HOLD_US);
    mon_findings_init(&run->findings, b->from_us, b->to_us, mon_backtest_bar_us(b), cryptos_n);
    if (run->core == NULL || run->alerts == NULL || run->findings.is_out_of_memory)
        return err_set(err, ERR_FATAL, "out of memory");
    return ERR_OK;
}

static void progress(const struct mon_backtest *b, const struct mon_history_record *r)
{
    static int64_t next_us;
    char when[CLK_TEXT_BYTES];
    const int64_t now_us = clk_mono_us();

    if (next_us == 0)
        next_us = now_us + PROGRESS_US;
    if (b->is_quiet || now_us < next_us)
        return;
    next_us = now_us + PROGRESS_US;
    fprintf(stderr, "l2monitor: folding %s\n", clk_text(r->order_us, when, sizeof when));
}

static enum err_class fold_one(struct mon_backtest *b, struct qm_wire *wire,
                               const struct mon_history_record *r, struct purges *purges,
                               struct err *err)
{
    const struct bus_reader_record message = {.value = r->value, .value_n = r->value_n};
    char symbol[L2_SYMBOL_BYTES_MAX + 1];
    struct qm_feature feature;
    bool has_feature = false;
    const bool is_later = r->order_us > b->now_us;

    b->now_us = r->order_us;
    for (unsigned i = 0; i < b->runs_n; i++) {
        struct mon_run *const run = b->run = &b->runs[i];
        if (is_later)
            tell_alerts(run, r->order_us);
        const enum qm_folded folded =
            qm_wire_fold(wire, run->core, (enum qm_input)r->lane, &message, symbol);
        if (folded != QM_FOLDED && folded != QM_ONE_TOO_MANY)
            return err_set(err, ERR_FATAL, "a stored record cannot be read again");
        if (i == 0 && r->lane == QM_IN_BARS && purges->past[r->symbol].bars != NULL)
            has_feature = derive(b, &purges->past[r->symbol], &wire->at.bar, &feature);
        if (has_feature)
            (void)qm_core_feature(run->core, symbol, &feature);
        qm_alerts_inhibit(run->alerts, wire->kill_switch ? QM_MODEL_SIGNALS : 0, r->order_us);
        if (run->findings.is_out_of_memory)
            return err_set(err, ERR_FATAL, "out of memory");
    }
    b->derived += has_feature;
    return ERR_OK;
}

static enum err_class fold_all(struct mon_backtest *b, struct qm_wire *wire, struct err *err)
{
    struct mon_history_record r;
    struct purges purges = {.n = 0};
    bool is_got = true;

    enum err_class e = ERR_OK;
    if (!make_purges(b, &purges))
        e = err_set(err, ERR_FATAL, "out of memory");
    while (e == ERR_OK && is_got && !mon_is_stopped()) {
        e = mon_history_next(b->history, &r, &is_got, err);
        if (e != ERR_OK || !is_got)
            break;
        e = fold_one(b, wire, &r, &purges, err);
        progress(b, &r);
    }
    free_purges(&purges);
    for (unsigned i = 0; e == ERR_OK && i < b->runs_n; i++) {
        tell_alerts(&b->runs[i], INT64_MAX);
        mon_findings_finish(&b->runs[i].findings, mon_backtest_symbol, &b->runs[i]);
    }
    return e;
}

/* What is looked at: what was asked for, of what is there. */
static bool set_range(struct mon_backtest *b)
{
    if (b->last_us < b->first_us) /* not one of a bar */
        return false;
    if (b->from_us < b->first_us - mon_backtest_bar_us(b))
        b->from_us = b->first_us - mon_backtest_bar_us(b);
    if (b->to_us > b->last_us)
        b->to_us = b->last_us;
    return b->to_us > b->from_us;
}

int mon_backtest_fold(struct mon_backtest *b)
{
    struct qm_wire wire = {.exchange = b->choice.wanted.exchange,
                           .schema_version = b->choice.wanted.schema_version,
                           .bar_s = b->choice.wanted.bar_s,
                           .source = "l2monitor"};
    const struct codec_ids ids = {NULL, NULL};
    struct err err = {0};

    if (!set_range(b)) {
        fprintf(stderr,
                "l2monitor: no records there that were asked for (%" PRIu64 " others, of another "
                "exchange, bar length, schema version, crypto or time; %" PRIu64 " dated ahead)\n",
                b->others, b->ahead);
        return MON_TOO_LITTLE;
    }
    if (b->purge_bars < 0)
        b->purge_bars = MON_PURGE_BARS_DEFAULT;
    enum err_class e = qm_wire_open(&wire, &ids, &err);
    for (unsigned i = 0; e == ERR_OK && i < b->runs_n; i++)
        e = open_run(b, &b->runs[i], &err);
    if (e == ERR_OK)
        e = mon_history_sort(b->history, &err);
    if (e == ERR_OK)
        e = fold_all(b, &wire, &err);
    qm_wire_close(&wire);
    if (e != ERR_OK)
        return mon_fail(&err);
    return mon_is_stopped() ? MON_INTERRUPTED : MON_OK;
}
