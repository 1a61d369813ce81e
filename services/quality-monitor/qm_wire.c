#include "qm_wire.h"

#include "codec/wire.h"
#include "topics/topics.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static_assert((int)L2_ARM_NONE == CODEC_ARM_NONE && (int)L2_ARM_NO_L2 == CODEC_ARM_NO_L2 &&
                  (int)L2_ARM_CHAMPION_L2 == CODEC_ARM_CHAMPION_L2 &&
                  (int)L2_ARM_CANDIDATE_L2 == CODEC_ARM_CANDIDATE_L2,
              "arms are numbered alike");
static_assert((int)L2_ROUTE_NO_MODEL == CODEC_ROUTE_REASON_NO_MODEL &&
                  (int)L2_ROUTE_CONTRACT == CODEC_ROUTE_REASON_CONTRACT,
              "reasons are numbered alike");
static_assert((int)L2_SELL == CODEC_DECISION_SELL && (int)L2_HOLD == CODEC_DECISION_HOLD &&
                  (int)L2_BUY == CODEC_DECISION_BUY,
              "classes are numbered alike");
static_assert((int)ALERT_NO_DATA == CODEC_ALERT_STATE_NO_DATA &&
                  (int)ALERT_P2 == CODEC_ALERT_STATE_P2,
              "states are numbered alike");
static_assert((int)QM_FREEZE == CODEC_ALERT_ACTION_FREEZE, "actions are numbered alike");
static_assert((int)QM_INHIBITED == CODEC_DELIVERY_INHIBITED, "deliveries are numbered alike");
static_assert((int)L2_BARRIER_VERTICAL == CODEC_BARRIER_VERTICAL, "barriers are numbered alike");

static const struct codec_record *const input_records[QM_INPUTS] = {
    [QM_IN_CANDLES] = &codec_candle_record,        [QM_IN_BARS] = &codec_l2_bar_record,
    [QM_IN_FEATURES] = &codec_l2_feature_record,   [QM_IN_PREDICTIONS] = &codec_prediction_record,
    [QM_IN_ROLLOUT] = &codec_rollout_state_record,
};
const struct codec_record *const qm_output_records[QM_OUTPUTS] = {
    [QM_OUT_QUALITY] = &codec_quality_signal_record,
    [QM_OUT_OUTCOMES] = &codec_outcome_record,
    [QM_OUT_ALERTS] = &codec_alert_record,
};

enum err_class qm_wire_open(struct qm_wire *w, const struct codec_ids *ids, struct err *err)
{
    for (unsigned i = 0; i < QM_INPUTS; i++) {
        if (codec_reader_new(input_records[i], ids, &w->readers[i], err) != ERR_OK)
            return err->class;
    }
    for (unsigned i = 0; i < QM_OUTPUTS; i++) {
        if (codec_reader_new(qm_output_records[i], ids, &w->own[i], err) != ERR_OK)
            return err->class;
    }
    return codec_reader_new(&codec_heartbeat_record, ids, &w->heartbeats, err);
}

void qm_wire_close(struct qm_wire *w)
{
    for (unsigned i = 0; i < QM_INPUTS; i++)
        codec_reader_free(w->readers[i]);
    for (unsigned i = 0; i < QM_OUTPUTS; i++)
        codec_reader_free(w->own[i]);
    codec_reader_free(w->heartbeats);
}

/* ---- names ---- */

static bool is_text(struct codec_str s, const char *text)
{
    return strlen(text) == s.n && memcmp(s.data, text, s.n) == 0;
}

static struct codec_str str_of(const char *text)
{
    return (struct codec_str){.data = text, .n = (uint32_t)strlen(text)};
}

static void copy(struct codec_str s, char *to, size_t size)
{
    const size_t n = s.n < size - 1 ? s.n : size - 1;

    memcpy(to, s.data, n);
    to[n] = '\0';
}

/* ---- times ---- */

/* The latest time of which a record can speak: when it was written, by its Kafka timestamp. That
 * stands in the log, so that the answer is the same whenever the log is read. */
static int64_t latest_us(const struct qm_wire *w, const struct bus_reader_record *r)
{
    if (w->clk == NULL || r->timestamp_us < 0)
        return INT64_MAX;
    return clk_to_virtual_us(w->clk, r->timestamp_us) + clk_grace_us(w->clk, QM_AHEAD_US_MAX);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- inputs ---- */

int64_t qm_wire_order(void *user, unsigned topic, const struct bus_reader_record *r)
{
    const struct qm_wire *w = user;
    struct codec_head head;
    struct codec_str exchange, symbol;
    int64_t bar_time_us;

    /* they begin alike, in every version of their schemas; a RolloutState's version stands before
     * its time */
    if (r->value == NULL || codec_head_get(r->value, r->value_n, &head) != CODEC_OK)
        return INT64_MIN;
    struct codec_in in = {.p = head.body, .end = head.body + head.body_n};

    if (codec_in_string(&in, L2_SYMBOL_BYTES_MAX, &exchange) != CODEC_OK ||
        codec_in_string(&in, L2_SYMBOL_BYTES_MAX, &symbol) != CODEC_OK ||
        codec_in_long(&in, &bar_time_us) != CODEC_OK)
        return INT64_MIN;
    if (topic == QM_IN_ROLLOUT)
        return codec_in_long(&in, &bar_time_us) == CODEC_OK ? earlier(bar_time_us, latest_us(w, r))
                                                            : INT64_MIN;
    if (bar_time_us > latest_us(w, r))
        return INT64_MIN;
    return bar_time_us + (int64_t)w->bar_s * L2_US_PER_S;
}

static bool is_ours(const struct qm_wire *w, struct codec_str exchange, int32_t bar_seconds)
{
    return is_text(exchange, w->exchange) && bar_seconds == (int32_t)w->bar_s;
}

static enum qm_folded folded(bool is)
{
    return is ? QM_FOLDED : QM_ONE_TOO_MANY;
}

static void set_column(struct l2_row *row, enum l2_column column, bool has, double value)
{
    if (has && isfinite(value))
        l2_row_set(row, column, value);
}

struct l2_row qm_wire_bar_row(const struct codec_l2_bar *d)
{
    struct l2_row row = {.present = 0};

    set_column(&row, L2_MID_PRICE, d->has_mid_price, d->mid_price);
    set_column(&row, L2_SPREAD_BPS, d->has_spread_bps, d->spread_bps);
    set_column(&row, L2_DEPTH_IMBALANCE_L1, d->has_depth_imbalance_l1, d->depth_imbalance_l1);
    set_column(&row, L2_DEPTH_IMBALANCE_L5, d->has_depth_imbalance_l5, d->depth_imbalance_l5);
    set_column(&row, L2_OFI, d->has_ofi_15m, d->ofi_15m);
    set_column(&row, L2_KYLE_LAMBDA, d->has_kyle_lambda, d->kyle_lambda);
    return row;
}

static enum qm_folded fold_bar(struct qm_wire *w, struct qm_core *core, char *symbol)
{
    const struct codec_l2_bar *d = &w->at.bar;
    struct qm_bar bar = {.bar_time_us = d->bar_time_us,
                         .snapshots = d->snapshots < 0            ? 0
                                      : d->snapshots > UINT32_MAX ? UINT32_MAX
                                                                  : (uint32_t)d->snapshots,
                         .sketch = d->spread_sketch.data,
                         .sketch_n = d->spread_sketch.n};

    if (!is_ours(w, d->exchange, d->bar_seconds) || !is_text(d->schema_version, w->schema_version))
        return QM_FOREIGN;
    if (d->bar_time_us > w->latest_us)
        return QM_AHEAD;
    bar.row = qm_wire_bar_row(d);
    copy(d->symbol, symbol, L2_SYMBOL_BYTES_MAX + 1);
    return folded(qm_core_bar(core, symbol, &bar));
}

struct l2_row qm_wire_row(const struct codec_l2_feature *d)
{
    struct l2_row row = {.present = 0};

    set_column(&row, L2_MID_PRICE, d->has_l2_mid_price, d->l2_mid_price);
    set_column(&row, L2_SPREAD_BPS, d->has_l2_spread_bps, d->l2_spread_bps);
    set_column(&row, L2_DEPTH_IMBALANCE_L1, d->has_l2_depth_imbalance_l1, d->l2_depth_imbalance_l1);
    set_column(&row, L2_DEPTH_IMBALANCE_L5, d->has_l2_depth_imbalance_l5, d->l2_depth_imbalance_l5);
    set_column(&row, L2_OFI, d->has_l2_ofi_15m, d->l2_ofi_15m);
    set_column(&row, L2_KYLE_LAMBDA, d->has_l2_kyle_lambda, d->l2_kyle_lambda);
    return row;
}

static enum qm_folded fold_feature(struct qm_wire *w, struct qm_core *core, char *symbol)
{
    const struct codec_l2_feature *d = &w->at.feature;
    struct qm_feature f = {.bar_time_us = d->bar_time_us,
                           .source_bar_time_us = d->source_bar_time_us};

    if (!is_ours(w, d->exchange, d->bar_seconds) || !is_text(d->schema_version, w->schema_version))
        return QM_FOREIGN;
    if (d->bar_time_us > w->latest_us)
        return QM_AHEAD;
    f.row = qm_wire_row(d);
    copy(d->symbol, symbol, L2_SYMBOL_BYTES_MAX + 1);
    return folded(qm_core_feature(core, symbol, &f));
}

static enum qm_folded fold_prediction(struct qm_wire *w, struct qm_core *core, char *symbol)
{
    const struct codec_prediction *d = &w->at.prediction;
    struct qm_prediction p = {
        .bar_time_us = d->bar_time_us,
        .arm = (enum l2_arm)d->arm,
        .decision = (enum l2_class)d->decision,
        .executed = d->executed,
        .has_freshness = d->has_freshness_seconds && isfinite(d->freshness_seconds),
        .freshness_s = d->freshness_seconds,
        .has_nan_rate = d->has_nan_rate && d->nan_rate >= 0 && d->nan_rate <= 1,
        .nan_rate = d->nan_rate,
        .reason = (enum l2_route_reason)d->route_reason,
        .has_label = d->has_horizon_bars && d->has_barrier_width && d->has_volatility_span_bars &&
                     d->horizon_bars > 0 && d->volatility_span_bars > 0,
    };

    if (!is_ours(w, d->exchange, d->bar_seconds))
        return QM_FOREIGN;
    if (d->bar_time_us > w->latest_us)
        return QM_AHEAD;
    if (p.has_label)
        p.label = (struct l2_label_params){.horizon_bars = (uint32_t)d->horizon_bars,
                                           .span_bars = (uint32_t)d->volatility_span_bars,
                                           .width = d->barrier_width};
    if (d->has_model_version)
        copy(d->model_version, p.model_version, sizeof p.model_version);
    copy(d->symbol, symbol, L2_SYMBOL_BYTES_MAX + 1);
    return folded(qm_core_prediction(core, symbol, &p));
}

static enum qm_folded fold_candle(struct qm_wire *w, struct qm_core *core, char *symbol)
{
    const struct codec_candle *d = &w->at.candle;
    const struct qm_candle candle = {.bar_time_us = d->bar_time_us, .close = d->close};

    if (!is_ours(w, d->exchange, d->bar_seconds))
        return QM_FOREIGN;
    if (d->bar_time_us > w->latest_us)
        return QM_AHEAD;
    copy(d->symbol, symbol, L2_SYMBOL_BYTES_MAX + 1);
    return folded(qm_core_candle(core, symbol, &candle));
}

static enum qm_folded fold_rollout(struct qm_wire *w, struct qm_core *core, char *symbol)
{
    const struct codec_rollout_state *d = &w->at.rollout;
    const int64_t time_us = earlier(d->time_us, w->latest_us); /* the switch must be obeyed */
    const struct qm_rollout rollout = {.time_us = time_us,
                                       .cleared_through_us = d->has_latch_cleared_through
                                                                 ? d->latch_cleared_through_us
                                                                 : INT64_MIN};

    if (!is_text(d->exchange, w->exchange))
        return QM_FOREIGN;
    if (time_us >= w->rollout_us) {
        w->rollout_us = time_us;
        w->kill_switch = d->kill_switch;
    }
    copy(d->symbol, symbol, L2_SYMBOL_BYTES_MAX + 1);
    return folded(qm_core_rollout(core, symbol, &rollout));
}

enum qm_folded qm_wire_fold(struct qm_wire *w, struct qm_core *core, enum qm_input input,
                            const struct bus_reader_record *r, char *ret_symbol)
{
    static enum qm_folded (*const folds[QM_INPUTS])(struct qm_wire *, struct qm_core *, char *) = {
        [QM_IN_CANDLES] = fold_candle,   [QM_IN_BARS] = fold_bar,
        [QM_IN_FEATURES] = fold_feature, [QM_IN_PREDICTIONS] = fold_prediction,
        [QM_IN_ROLLOUT] = fold_rollout,
    };

    if (r->value == NULL || r->value_n > TOPICS_PAYLOAD_BYTES_MAX)
        return QM_UNDECODABLE;
    const enum codec_status status =
        codec_reader_decode(w->readers[input], r->value, r->value_n, &w->at);
    if (status == CODEC_SCHEMA_PENDING)
        return QM_PENDING;
    w->latest_us = latest_us(w, r);
    return status == CODEC_OK ? folds[input](w, core, ret_symbol) : QM_UNDECODABLE;
}

bool qm_wire_heartbeat(struct qm_wire *w, const struct bus_reader_record *r, char *ret_symbol,
                       int64_t *ret_newest_us, int64_t *ret_beat_us)
{
    const struct codec_heartbeat *d = &w->at.heartbeat;

    if (r->value == NULL ||
        codec_reader_decode(w->heartbeats, r->value, r->value_n, &w->at) != CODEC_OK ||
        !is_text(d->exchange, w->exchange))
        return false;
    copy(d->symbol, ret_symbol, L2_SYMBOL_BYTES_MAX + 1);
    *ret_newest_us = d->newest_event_time_us;
    *ret_beat_us = d->time_us;
    return true;
}

/* ---- our own outputs, at the start ---- */

static bool find_signal(struct codec_str name, enum qm_signal *ret_signal)
{
    for (enum qm_signal i = 0; i < QM_SIGNALS; i++) {
        if (is_text(name, qm_rows[i].name)) {
            *ret_signal = i;
            return true;
        }
    }
    return false;
}

static bool recall_alert(struct qm_wire *w, struct qm_core *core, struct qm_alerts *alerts)
{
    const struct codec_alert *d = &w->at.alert;
    char symbol[L2_SYMBOL_BYTES_MAX + 1];
    enum qm_signal signal;
    uint32_t crypto = QM_ALL_CRYPTO;

    if (!is_text(d->exchange, w->exchange) || !find_signal(d->signal, &signal))
        return false;
    copy(d->symbol, symbol, sizeof symbol);
    if (strcmp(symbol, QM_ALL) != 0 && !qm_core_number(core, symbol, &crypto))
        return false;
    qm_alerts_told(alerts, crypto, signal, (enum l2_arm)d->arm, (enum alert_state)d->state,
                   d->started_us, (enum qm_delivery)d->delivery, d->version);
    return true;
}

bool qm_wire_recall(struct qm_wire *w, struct qm_core *core, struct qm_alerts *alerts,
                    enum qm_output output, const struct bus_reader_record *r)
{
    char symbol[L2_SYMBOL_BYTES_MAX + 1];
    enum qm_signal signal;

    if (r->value == NULL ||
        codec_reader_decode(w->own[output], r->value, r->value_n, &w->at) != CODEC_OK)
        return false;
    if (output == QM_OUT_ALERTS)
        return recall_alert(w, core, alerts);
    if (output == QM_OUT_OUTCOMES) {
        const struct codec_outcome *d = &w->at.outcome;
        if (!is_ours(w, d->exchange, d->bar_seconds) || d->bar_time_us > latest_us(w, r))
            return false;
        copy(d->symbol, symbol, sizeof symbol);
        qm_core_emitted_outcome(core, symbol, (enum l2_arm)d->arm, d->bar_time_us);
        return true;
    }
    const struct codec_quality_signal *d = &w->at.quality;

    if (!is_ours(w, d->exchange, d->bar_seconds) || !find_signal(d->signal, &signal) ||
        d->bar_time_us > latest_us(w, r)) /* what was said of it must not mute what comes */
        return false;
    copy(d->symbol, symbol, sizeof symbol);
    qm_core_emitted_signal(core, symbol, signal, (enum l2_arm)d->arm, d->bar_time_us);
    if (signal == QM_LEAKAGE) /* no input tells of a proof again */
        (void)qm_core_proof(core, symbol, d->bar_time_us, d->value == 0);
    return true;
}

/* ---- outputs ---- */

static void set_threshold(double value, bool *has, double *to)
{
    *has = !isnan(value);
    *to = *has ? value : 0;
}

size_t qm_wire_signal(struct qm_wire *w, const char *symbol, const struct qm_signal_out *out,
                      const char *reference_version, int64_t now_us, uint8_t *buf, size_t cap)
{
    struct codec_quality_signal d = {
        .exchange = str_of(w->exchange),
        .symbol = str_of(symbol),
        .signal = str_of(qm_rows[out->signal].name),
        .arm = (enum codec_arm)out->arm,
        .bar_time_us = out->bar_time_us,
        .bar_seconds = (int32_t)w->bar_s,
        .has_value = out->has_value,
        .value = out->value,
        .has_low = out->has_interval,
        .low = out->low,
        .has_high = out->has_interval,
        .high = out->high,
        .n = out->n,
        .window_seconds = out->window_s,
        .observed = (enum codec_alert_state)out->observed,
        .state = (enum codec_alert_state)out->state,
        .has_measurable_from = out->has_measurable_from,
        .measurable_from_us = out->measurable_from_us,
        .has_reference_version = reference_version != NULL,
        .reference_version = str_of(reference_version == NULL ? "" : reference_version),
        .produced_time_us = now_us,
    };
    size_t n;

    set_threshold(out->warn_below, &d.has_warn_below, &d.warn_below);
    set_threshold(out->warn_above, &d.has_warn_above, &d.warn_above);
    set_threshold(out->p2_below, &d.has_p2_below, &d.p2_below);
    set_threshold(out->p2_above, &d.has_p2_above, &d.p2_above);
    return codec_frame_as(&codec_quality_signal_record, w->ids[QM_OUT_QUALITY], &d, buf, cap, &n) ==
                   CODEC_OK
               ? n
               : 0;
}

size_t qm_wire_outcome(struct qm_wire *w, const char *symbol, const struct qm_outcome_out *out,
                       int64_t now_us, uint8_t *buf, size_t cap)
{
    const int64_t bar_us = (int64_t)w->bar_s * L2_US_PER_S;
    const struct codec_outcome d = {
        .exchange = str_of(w->exchange),
        .symbol = str_of(symbol),
        .bar_time_us = out->label.bar * bar_us,
        .bar_seconds = (int32_t)w->bar_s,
        .arm = (enum codec_arm)out->arm,
        .has_model_version = out->model_version[0] != '\0',
        .model_version = str_of(out->model_version),
        .executed = out->executed,
        .decision = (enum codec_decision)out->decision,
        .label = (enum codec_decision)out->label.label,
        .barrier = (enum codec_barrier)out->label.barrier,
        .entry_time_us = (out->label.bar + 1) * bar_us,
        .entry_price = out->label.entry_price,
        .exit_time_us = (out->label.exit_bar + 1) * bar_us,
        .exit_price = out->label.exit_price,
        .return_bps = out->label.return_bps,
        .horizon_bars = (int32_t)out->params.horizon_bars,
        .barrier_width = out->params.width,
        .volatility_span_bars = (int32_t)out->params.span_bars,
        .produced_time_us = now_us,
    };
    size_t n;

    return codec_frame_as(&codec_outcome_record, w->ids[QM_OUT_OUTCOMES], &d, buf, cap, &n) ==
                   CODEC_OK
               ? n
               : 0;
}

static enum codec_arm arm_of(enum l2_arm arm)
{
    assert((unsigned)arm < L2_ARMS);
    return (enum codec_arm)arm;
}

static void make_key(const struct qm_wire *w, const struct qm_transition *t, const char *symbol,
                     char *key, size_t size)
{
    (void)snprintf(key, size, "%s/%s/%s/%s", qm_rows[t->signal].name,
                   codec_arm_name(arm_of(t->arm)), w->exchange, symbol);
}

/* One sentence for people: what, which crypto, since when, how bad, with n. */
static void describe(struct qm_wire *w, const struct qm_alert_out *out, const char *symbol)
{
    const struct qm_transition *t = &out->t;
    char since[CLK_TEXT_BYTES], value[64] = "no value", threshold[64] = "", cryptos[48] = "";

    (void)clk_text(t->since_us, since, sizeof since);
    if (t->has_value)
        (void)snprintf(value, sizeof value, "%.6g", t->value);
    if (!isnan(t->threshold))
        (void)snprintf(threshold, sizeof threshold, ", threshold %.6g", t->threshold);
    if (out->group_size > 0)
        (void)snprintf(cryptos, sizeof cryptos, " of %u cryptos", out->group_size);
    (void)snprintf(w->text, sizeof w->text, "%s%s %s: %s since %s: %s (%s%s, n %" PRId64 ")",
                   out->crypto == QM_ALL_CRYPTO ? w->exchange : symbol, cryptos,
                   qm_rows[t->signal].name, alert_state_name(t->state), since,
                   qm_rows[t->signal].meaning, value, threshold, t->n);
}

size_t qm_wire_alert(struct qm_wire *w, const struct qm_core *core, const struct qm_alert_out *out,
                     int64_t now_us, uint8_t *buf, size_t cap)
{
    const struct qm_transition *t = &out->t;
    const char *symbol = out->crypto == QM_ALL_CRYPTO ? QM_ALL : qm_core_symbol(core, out->crypto);
    struct codec_alert *d = &w->alert;
    size_t n;

    make_key(w, t, symbol, w->key, sizeof w->key);
    make_key(w, t, QM_ALL, w->group_key, sizeof w->group_key);
    describe(w, out, symbol);
    d->exchange = str_of(w->exchange);
    d->symbol = str_of(symbol);
    d->key = str_of(w->key);
    d->version = out->version;
    d->signal = str_of(qm_rows[t->signal].name);
    d->arm = arm_of(t->arm);
    d->state = (enum codec_alert_state)t->state;
    d->previous = (enum codec_alert_state)t->previous;
    d->since_us = t->since_us;
    d->started_us = t->started_us;
    d->has_value = t->has_value;
    d->value = t->has_value ? t->value : 0;
    set_threshold(t->threshold, &d->has_threshold, &d->threshold);
    d->n = t->n;
    d->delivery = (enum codec_delivery)out->delivery;
    d->has_spoken_for_by = out->by_group;
    d->spoken_for_by = str_of(w->group_key);
    d->members_n = out->members_n;
    for (unsigned i = 0; i < out->members_n; i++)
        d->members[i] = str_of(qm_core_symbol(core, out->members[i]));
    d->group_size = out->group_size;
    d->action = t->state == ALERT_P2 ? (enum codec_alert_action)qm_rows[t->signal].action
                                     : CODEC_ALERT_ACTION_NONE;
    d->summary = str_of(w->text);
    d->runbook = str_of(qm_rows[t->signal].runbook);
    d->source = str_of(w->source);
    d->produced_time_us = now_us;
    return codec_frame_as(&codec_alert_record, w->ids[QM_OUT_ALERTS], d, buf, cap, &n) == CODEC_OK
               ? n
               : 0;
}
