/* The loop: merge the inputs, fold, commit what comes out; freshness and alerts by the clock. */
#include "qm_service.h"

#include "qm_freshness.h"
#include "qm_metrics.h"
#include "qm_proofs.h"
#include "qm_wire.h"

#include "alerts/sinks.h"
#include "connect/connect.h"
#include "log/log.h"
#include "quality/quality.h"
#include "topics/topics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAME_BYTES_MAX 300 /* a prefix of 64 and a name of 200 at most */
#define TOPICS_CHECK_MS 10000
#define POLL_MS_MAX 20
#define TURN_RECORDS_MAX 4096
#define COMMIT_SLICE_MS 500
#define TRANSACTION_MS 10000 /* the broker ends one that is open for longer */
#define COMMIT_EVERY_US CLK_US_PER_S
#define TICK_EVERY_US (CLK_US_PER_S / 4)
#define BEAT_EVERY_US CLK_US_PER_S
#define EXPORT_EVERY_US CLK_US_PER_S
#define PROGRESS_EVERY_US (10 * CLK_US_PER_S)
#define RESTORE_WAIT_MS 500
#define BUFFER_BYTES_MAX ((size_t)16 << 20)
/* One record after a long silence closes 90 days of five daily signals. */
#define STEP_BYTES_MAX ((size_t)1 << 20)
#define MS_A_DAY (INT64_C(24) * 3600 * 1000)

static const enum topics_id inputs[QM_INPUTS] = {
    [QM_IN_CANDLES] = TOPICS_OHLCV,     [QM_IN_BARS] = TOPICS_BARS,
    [QM_IN_FEATURES] = TOPICS_FEATURES, [QM_IN_PREDICTIONS] = TOPICS_PREDICTIONS,
    [QM_IN_ROLLOUT] = TOPICS_ROLLOUT,
};
static const enum topics_id outputs[QM_OUTPUTS] = {
    [QM_OUT_QUALITY] = TOPICS_QUALITY,
    [QM_OUT_OUTCOMES] = TOPICS_OUTCOMES,
    [QM_OUT_ALERTS] = TOPICS_ALERTS,
};
static const enum topics_id topics_used[] = {
    TOPICS_OHLCV,    TOPICS_BARS,    TOPICS_FEATURES,  TOPICS_PREDICTIONS,
    TOPICS_OUTCOMES, TOPICS_ALERTS,  TOPICS_HEARTBEAT, TOPICS_QUALITY,
    TOPICS_DLQ,      TOPICS_ROLLOUT, TOPICS_SNAPSHOTS,
};

static const struct timespec registry_wait = {.tv_nsec = 100000000};

struct service {
    struct svc *svc;
    const struct config *config;
    const struct clk *clk;
    struct metrics *metrics;
    struct connect_kafka kafka;
    struct codec_registry *registry; /* NULL: none is configured */
    struct quality_file reference;
    struct qm_wire wire;
    struct qm_core *core;
    struct qm_alerts *alerts;
    struct bus_merge *merge;
    struct bus_reader *heartbeats;
    struct bus_producer *beats;
    uint64_t beats_delivered;
    struct bus_txn *txn;
    struct sinks *sinks;
    struct qm_proofs proofs;
    struct qm_freshness freshness;
    struct l2_params params;
    struct codec_ids ids;
    int32_t *partitions; /* by the crypto's number: of its records, in every topic */
    unsigned cryptos_max;
    int32_t partition; /* of the record at hand */
    bool caught_up, settled;
    bool is_lost; /* the broker ended our transaction, since it was away: begin anew */
    int64_t committed_mono_us, ticked_mono_us, beaten_mono_us, exported_mono_us, told_mono_us;
    int64_t ahead_mono_us; /* when it was said last that a record is; 0: never */
    uint64_t folded;
    char topics[TOPICS_N][TOPICS_NAME_BYTES_MAX + 1];
    uint8_t out[QM_OUT_BYTES_MAX];
};

/* ---- outputs ---- */

static void send(struct service *s, enum qm_output topic, int32_t partition, const char *key,
                 size_t n)
{
    const struct bus_output output = {
        .topic = topic,
        .partition = partition,
        .key = key,
        .key_n = strlen(key),
        .value = s->out,
        .value_n = n,
    };

    assert(n > 0); /* every output fits its schema's bounds */
    bus_txn_send(s->txn, &output);
}

static void on_signal(void *user, const char *symbol, const struct qm_signal_out *out)
{
    struct service *s = user;
    const char *version = qm_core_reference_version(s->core, symbol);

    send(s, QM_OUT_QUALITY, s->partition, symbol,
         qm_wire_signal(&s->wire, symbol, out, version, clk_now_us(s->clk), s->out, sizeof s->out));
    metrics_add(s->metrics, M_SIGNALS, 0, 1);
}

static void on_outcome(void *user, const char *symbol, const struct qm_outcome_out *out)
{
    struct service *s = user;

    send(s, QM_OUT_OUTCOMES, s->partition, symbol,
         qm_wire_outcome(&s->wire, symbol, out, clk_now_us(s->clk), s->out, sizeof s->out));
    metrics_add(s->metrics, M_OUTCOMES, 0, 1);
    if (out->is_late)
        metrics_add(s->metrics, M_LATE, 0, 1);
}

/* While the past is folded nothing is told: afterwards what was told is compared with what is. */
static void on_transition(void *user, const char *symbol, const struct qm_transition *out)
{
    struct service *s = user;
    uint32_t crypto;

    if (!qm_core_number(s->core, symbol, &crypto) ||
        !qm_alerts_put(s->alerts, crypto, out, clk_mono_us()))
        log_event(LOG_ERROR, "alert_lost", "symbol", LOG_STR, symbol, "signal", LOG_STR,
                  qm_rows[out->signal].name, "why", LOG_STR, "no memory", NULL);
}

static unsigned having(void *user, enum qm_signal signal, enum l2_arm arm)
{
    const struct service *s = user;
    unsigned n = 0;

    for (unsigned i = 0; i < qm_core_cryptos(s->core); i++)
        n += qm_core_had_data(s->core, i, signal, arm);
    return n;
}

static void log_alert(const struct service *s, const struct qm_alert_out *out)
{
    log_event(out->t.state == ALERT_P2     ? LOG_ERROR
              : out->t.state == ALERT_WARN ? LOG_WARN
                                           : LOG_INFO,
              "alert", "key", LOG_STR, s->wire.key, "version", LOG_INT, out->version, "state",
              LOG_STR, alert_state_name(out->t.state), "delivery", LOG_STR,
              codec_delivery_name((enum codec_delivery)out->delivery), "summary", LOG_STR,
              s->wire.text, NULL);
}

/* Which alerts are stored only: the silence of all speaks for freshness. */
static void inhibit(struct service *s)
{
    uint32_t inhibited = 0;

    if (qm_freshness_is_silence_felt(&s->freshness, s->alerts))
        inhibited |= UINT32_C(1) << QM_FRESHNESS;
    if (s->wire.kill_switch)
        inhibited |= QM_MODEL_SIGNALS;
    qm_alerts_inhibit(s->alerts, inhibited, clk_mono_us());
}

static void tell_alerts(struct service *s)
{
    struct qm_alert_out out;

    inhibit(s);
    while (bus_txn_room(s->txn) >= STEP_BYTES_MAX &&
           qm_alerts_next(s->alerts, clk_mono_us(), having, s, &out)) {
        const bool is_group = out.crypto == QM_ALL_CRYPTO;
        const size_t n =
            qm_wire_alert(&s->wire, s->core, &out, clk_now_us(s->clk), s->out, sizeof s->out);

        send(s, QM_OUT_ALERTS, is_group ? 0 : s->partitions[out.crypto],
             is_group ? QM_ALL : qm_core_symbol(s->core, out.crypto), n);
        metrics_add(s->metrics, M_ALERTS, out.delivery, 1);
        log_alert(s, &out);
    }
}

/* ---- the past: what is out already ---- */

static enum err_class recall(struct service *s, enum qm_output output, int64_t *ret_n,
                             struct err *err)
{
    const struct bus_reader_record *record;
    struct bus_reader *reader = NULL;
    bool is_end = false;

    *ret_n = 0;
    if (bus_reader_new(s->kafka.v, s->kafka.n, s->topics[outputs[output]], -1, BUS_FROM_START, true,
                       &reader, err) != ERR_OK)
        return err->class;
    while (!is_end && !svc_stopping(s->svc)) {
        svc_alive(s->svc);
        if (bus_reader_next(reader, RESTORE_WAIT_MS, &record, &is_end, err) != ERR_OK) {
            bus_reader_free(reader);
            return err->class;
        }
        if (record != NULL && qm_wire_recall(&s->wire, s->core, s->alerts, output, record))
            ++*ret_n;
    }
    bus_reader_free(reader);
    return ERR_OK;
}

static enum err_class recall_all(struct service *s, struct err *err)
{
    int64_t n[QM_OUTPUTS];

    for (enum qm_output output = 0; output < QM_OUTPUTS; output++) {
        if (recall(s, output, &n[output], err) != ERR_OK)
            return err->class;
    }
    log_event(LOG_INFO, "recalled", "signals", LOG_INT, n[QM_OUT_QUALITY], "outcomes", LOG_INT,
              n[QM_OUT_OUTCOMES], "alerts", LOG_INT, n[QM_OUT_ALERTS], NULL);
    return ERR_OK;
}

/* The past is folded: what was told last and is otherwise now is told. */
static void settle(struct service *s)
{
    const int64_t now_us = clk_mono_us(), time_us = clk_now_us(s->clk);

    for (unsigned i = 0; i < qm_core_cryptos(s->core); i++) {
        for (enum qm_signal signal = 0; signal < QM_SIGNALS; signal++) {
            for (enum l2_arm arm = 0; arm < L2_ARMS; arm++) {
                if (qm_core_had_data(s->core, i, signal, arm))
                    (void)qm_alerts_settle(s->alerts, i, signal, arm,
                                           qm_core_state(s->core, i, signal, arm), time_us, now_us);
            }
        }
    }
    s->settled = true;
    svc_ready(s->svc, true);
    log_event(LOG_INFO, "caught_up", "records", LOG_INT, (int64_t)s->folded, "cryptos", LOG_INT,
              (int64_t)qm_core_cryptos(s->core), NULL);
}

/* ---- inputs ---- */

static void take_proof(struct service *s)
{
    struct qm_proof_result r;
    uint32_t crypto;

    if (!qm_proofs_take(&s->proofs, &r))
        return;
    metrics_add(s->metrics, M_PROOFS, r.verdict, 1);
    if (r.verdict == L2_PROOF_UNDECIDED) {
        log_event(LOG_WARN, "proof_undecided", "symbol", LOG_STR, r.job.symbol, "why", LOG_STR,
                  r.err.text[0] != '\0' ? r.err.text : "its stream began anew", NULL);
        return;
    }
    log_event(r.verdict == L2_PROOF_SAME ? LOG_DEBUG : LOG_ERROR, "proof", "symbol", LOG_STR,
              r.job.symbol, "bar_time_us", LOG_INT, r.job.bar_time_us, "same", LOG_BOOL,
              r.verdict == L2_PROOF_SAME, "snapshots", LOG_INT, (int64_t)r.snapshots, NULL);
    s->partition = r.job.partition;
    if (qm_core_number(s->core, r.job.symbol, &crypto))
        (void)qm_core_proof(s->core, r.job.symbol, r.job.bar_time_us, r.verdict == L2_PROOF_SAME);
}

static void watch(struct service *s, const char *symbol, enum qm_input input, int32_t partition)
{
    uint32_t crypto;

    if (!qm_core_number(s->core, symbol, &crypto))
        return;
    s->partitions[crypto] = partition;
    if (input == QM_IN_BARS)
        qm_proofs_note_bar(&s->proofs, crypto, &s->wire.at.bar);
    else if (input == QM_IN_FEATURES && s->settled)
        qm_proofs_maybe(&s->proofs, s->core, crypto, &s->wire.at.feature, partition);
}

static void tell_ahead(struct service *s, const struct bus_merge_record *record)
{
    const int64_t mono_us = clk_mono_us();

    if (s->ahead_mono_us != 0 && mono_us - s->ahead_mono_us < PROGRESS_EVERY_US)
        return; /* they are counted */
    s->ahead_mono_us = mono_us;
    log_event(LOG_WARN, "record_ahead", "topic", LOG_STR, s->topics[inputs[record->topic]],
              "partition", LOG_INT, (int64_t)record->r.partition, "offset", LOG_INT,
              record->r.offset, "why", LOG_STR, "its bar had not begun when Kafka took it", NULL);
}

static void on_record(struct service *s, const struct bus_merge_record *record)
{
    static const enum metric counters[] = {
        [QM_FOLDED] = M_RECORDS,
        [QM_FOREIGN] = M_FOREIGN,
        [QM_UNDECODABLE] = M_UNDECODABLE,
        [QM_ONE_TOO_MANY] = M_ONE_TOO_MANY,
        [QM_AHEAD] = M_AHEAD,
    };
    char symbol[L2_SYMBOL_BYTES_MAX + 1] = "";
    enum qm_folded folded;

    s->partition = record->r.partition;
    while ((folded = qm_wire_fold(&s->wire, s->core, (enum qm_input)record->topic, &record->r,
                                  symbol)) == QM_PENDING &&
           !svc_stopping(s->svc)) {
        svc_alive(s->svc);
        connect_registry_export(s->registry, s->metrics, M_REGISTRY);
        (void)nanosleep(&registry_wait, NULL);
    }
    if (folded == QM_PENDING)
        return;
    metrics_add(s->metrics, counters[folded], record->topic, 1);
    if (folded == QM_AHEAD)
        tell_ahead(s, record);
    if (folded == QM_FOLDED) {
        s->folded++;
        watch(s, symbol, (enum qm_input)record->topic, record->r.partition);
    }
}

static enum err_class read_records(struct service *s, struct err *err)
{
    const struct bus_merge_record *record;

    for (unsigned i = 0; i < TURN_RECORDS_MAX && bus_txn_room(s->txn) >= STEP_BYTES_MAX; i++) {
        if (bus_merge_next(s->merge, i == 0 ? POLL_MS_MAX : 0, &record, err) != ERR_OK)
            return err->class;
        if (record == NULL)
            break;
        on_record(s, record);
    }
    s->caught_up = bus_merge_caught_up(s->merge);
    return ERR_OK;
}

static enum err_class read_heartbeats(struct service *s, struct err *err)
{
    const struct bus_reader_record *record;
    char symbol[L2_SYMBOL_BYTES_MAX + 1];
    uint32_t crypto;
    int64_t newest_us, beat_us;
    bool is_end;

    for (unsigned i = 0; i < TURN_RECORDS_MAX; i++) {
        if (bus_reader_next(s->heartbeats, 0, &record, &is_end, err) != ERR_OK)
            return err->class;
        if (record == NULL)
            return ERR_OK;
        if (!qm_wire_heartbeat(&s->wire, record, symbol, &newest_us, &beat_us) ||
            symbol[0] == '_' || !qm_core_number(s->core, symbol, &crypto))
            continue;
        s->partitions[crypto] = record->partition;
        qm_freshness_beat(&s->freshness, crypto, newest_us, beat_us);
    }
    return ERR_OK;
}

/* ---- the clock ---- */

/* A heartbeat is one when Kafka has it: what is queued before a broker that is away is none. */
static void note_beats(struct service *s)
{
    const uint64_t n = bus_producer_delivered(s->beats);

    if (n == s->beats_delivered)
        return;
    s->beats_delivered = n;
    metrics_set(s->metrics, M_HEARTBEAT, 0, (double)clk_real_us(s->clk) / 1e6);
}

static enum err_class beat(struct service *s, int64_t now_us, struct err *err)
{
    char key[NAME_BYTES_MAX];
    size_t n;
    const struct codec_heartbeat d = {
        .exchange = {.data = s->wire.exchange, .n = (uint32_t)strlen(s->wire.exchange)},
        .symbol = {.data = "_monitor", .n = 8},
        .time_us = now_us,
        .newest_event_time_us = now_us,
        .state = s->settled ? CODEC_HEARTBEAT_STATE_LIVE : CODEC_HEARTBEAT_STATE_CATCHING_UP,
    };

    (void)snprintf(key, sizeof key, "_monitor/%s", config_string(s->config, "replica"));
    if (codec_heartbeat_frame(&d, s->out, sizeof s->out, &n) != CODEC_OK)
        return err_set(err, ERR_FATAL, "the monitor's heartbeat cannot be encoded");
    const struct bus_output output = {
        .partition = -1, .key = key, .key_n = strlen(key), .value = s->out, .value_n = n};

    if (bus_producer_send(s->beats, s->topics[TOPICS_HEARTBEAT], &output, err) == ERR_FATAL)
        return err->class;
    if (bus_producer_poll(s->beats, 0, err) == ERR_FATAL)
        return err->class;
    note_beats(s);
    return ERR_OK;
}

static enum err_class tick(struct service *s, struct err *err)
{
    const int64_t mono_us = clk_mono_us(), now_us = clk_now_us(s->clk);

    if (mono_us - s->ticked_mono_us < TICK_EVERY_US)
        return ERR_OK;
    s->ticked_mono_us = mono_us;
    if (s->settled) {
        metrics_set(s->metrics, M_WORST_FRESHNESS, 0,
                    qm_freshness_step(&s->freshness, s->core, now_us));
        qm_freshness_step_silence(&s->freshness, s->alerts, now_us);
    }
    if (mono_us - s->beaten_mono_us < BEAT_EVERY_US)
        return ERR_OK;
    s->beaten_mono_us = mono_us;
    return beat(s, now_us, err);
}

/* Of all cryptos and arms, in what state the signal is. */
static void count_states(const struct service *s, enum qm_signal signal,
                         unsigned n[static ALERT_P2 + 1])
{
    for (unsigned i = 0; i < qm_core_cryptos(s->core); i++) {
        for (enum l2_arm arm = 0; arm < L2_ARMS; arm++) {
            if (qm_core_had_data(s->core, i, signal, arm))
                n[qm_core_state(s->core, i, signal, arm)]++;
        }
    }
}

static void export_metrics(struct service *s)
{
    unsigned firing[ALERT_P2 + 1] = {0};

    for (enum qm_signal signal = 0; signal < QM_SIGNALS; signal++) {
        unsigned n[ALERT_P2 + 1] = {0};
        count_states(s, signal, n);
        metrics_set(s->metrics, M_NO_DATA, signal, n[ALERT_NO_DATA]);
        metrics_set(s->metrics, M_WARN, signal, n[ALERT_WARN]);
        metrics_set(s->metrics, M_P2, signal, n[ALERT_P2]);
        for (unsigned state = 0; state <= ALERT_P2; state++)
            firing[state] += n[state];
    }
    metrics_set(s->metrics, M_ALERTS_FIRING, 0, firing[ALERT_NO_DATA]);
    metrics_set(s->metrics, M_ALERTS_FIRING, 1, firing[ALERT_WARN]);
    metrics_set(s->metrics, M_ALERTS_FIRING, 2, firing[ALERT_P2]);
    metrics_set(s->metrics, M_CRYPTOS, 0, qm_core_cryptos(s->core));
    metrics_set(s->metrics, M_CAUGHT_UP, 0, s->settled);
    sinks_export(s->sinks, s->metrics, M_SINKS);
    connect_registry_export(s->registry, s->metrics, M_REGISTRY);
}

/* ---- the loop ---- */

/* Waits for as long as the broker takes: nothing is folded meanwhile. */
static enum err_class commit(struct service *s, struct err *err)
{
    const int64_t begin_us = clk_mono_us();
    enum err_class e;

    if (bus_txn_is_empty(s->txn))
        return ERR_OK;
    while ((e = bus_txn_commit(s->txn, COMMIT_SLICE_MS, err)) == ERR_RETRY) {
        svc_alive(s->svc);
        if (svc_stopping(s->svc))
            return ERR_OK; /* what is not committed comes out again after the next start */
    }
    if (e != ERR_OK) {
        /* one that fails sooner was fenced: another monitor is there, and it would be a duel; what
         * will never be taken is refused in the next life, too */
        s->is_lost = e == ERR_FATAL && clk_mono_us() - begin_us >= TRANSACTION_MS * INT64_C(1000);
        return err_set(err, ERR_FATAL, "%s", err->text);
    }
    s->committed_mono_us = clk_mono_us();
    metrics_add(s->metrics, M_COMMITS, 0, 1);
    metrics_observe(s->metrics, M_COMMIT_SECONDS, (double)(s->committed_mono_us - begin_us) / 1e6);
    return ERR_OK;
}

static bool is_commit_due(const struct service *s)
{
    return s->settled || bus_txn_room(s->txn) < STEP_BYTES_MAX ||
           clk_mono_us() - s->committed_mono_us >= COMMIT_EVERY_US;
}

static void tell_progress(struct service *s)
{
    const int64_t mono_us = clk_mono_us();

    if (mono_us - s->exported_mono_us >= EXPORT_EVERY_US) {
        s->exported_mono_us = mono_us;
        export_metrics(s);
    }
    if (s->settled || mono_us - s->told_mono_us < PROGRESS_EVERY_US)
        return;
    s->told_mono_us = mono_us;
    log_event(LOG_INFO, "catching_up", "records", LOG_INT, (int64_t)s->folded, NULL);
}

static enum err_class loop(struct service *s, struct err *err)
{
    s->told_mono_us = clk_mono_us();
    while (!svc_stopping(s->svc)) {
        svc_alive(s->svc);
        if (read_records(s, err) != ERR_OK || read_heartbeats(s, err) != ERR_OK ||
            tick(s, err) != ERR_OK || sinks_check(s->sinks, err) != ERR_OK)
            return err->class;
        if (s->caught_up && !s->settled)
            settle(s);
        take_proof(s);
        if (s->settled)
            tell_alerts(s);
        if (is_commit_due(s) && commit(s, err) != ERR_OK)
            return err->class;
        tell_progress(s);
    }
    return commit(s, err);
}

/* ---- start ---- */

static enum err_class check_topics(struct service *s, struct err *err)
{
    const char *prefix = config_string(s->config, "topic_prefix");
    const struct topics_options options = {.prefix = prefix, .replication_factor = -1};

    topics_names(prefix, s->topics);
    return topics_check(s->kafka.v, s->kafka.n, &options, topics_used,
                        sizeof topics_used / sizeof topics_used[0], TOPICS_CHECK_MS, err);
}

static enum err_class open_txn(struct service *s, struct err *err)
{
    char id[NAME_BYTES_MAX];
    const char *names[QM_OUTPUTS];

    (void)snprintf(id, sizeof id, "%s%s", config_string(s->config, "topic_prefix"),
                   config_string(s->config, "replica"));
    for (enum qm_output output = 0; output < QM_OUTPUTS; output++)
        names[output] = s->topics[outputs[output]];
    const struct bus_txn_options options = {.settings = s->kafka.v,
                                            .settings_n = s->kafka.n,
                                            .transactional_id = id,
                                            .topics = names,
                                            .topics_n = QM_OUTPUTS,
                                            .buffer_bytes_max = BUFFER_BYTES_MAX,
                                            .transaction_timeout_ms = TRANSACTION_MS,
                                            .log = svc_log_kafka};

    return bus_txn_new(&options, &s->txn, err);
}

static enum err_class open_inputs(struct service *s, struct err *err)
{
    struct bus_merge_topic topics[QM_INPUTS];
    const int64_t from_ms =
        clk_real_us(s->clk) / 1000 - (int64_t)config_uint(s->config, "history_days") * MS_A_DAY;
    const struct bus_merge_options options = {.settings = s->kafka.v,
                                              .settings_n = s->kafka.n,
                                              .topics = topics,
                                              .topics_n = QM_INPUTS,
                                              .order = qm_wire_order,
                                              .user = &s->wire,
                                              .log = svc_log_kafka};

    for (enum qm_input input = 0; input < QM_INPUTS; input++)
        topics[input] =
            (struct bus_merge_topic){.name = s->topics[inputs[input]],
                                     .from_ms = input == QM_IN_ROLLOUT ? BUS_FROM_START : from_ms};
    if (bus_reader_new(s->kafka.v, s->kafka.n, s->topics[TOPICS_HEARTBEAT], -1, BUS_FROM_END, false,
                       &s->heartbeats, err) != ERR_OK ||
        bus_producer_new(s->kafka.v, s->kafka.n, svc_log_kafka, NULL, &s->beats, err) != ERR_OK)
        return err->class;
    return bus_merge_new(&options, &s->merge, err);
}

static enum err_class open_wire(struct service *s, struct err *err)
{
    if (connect_registry_wanted(s->config) &&
        connect_registry_open(s->config, &s->registry, err) != ERR_OK)
        return err->class;
    s->ids = connect_registry_ids(s->registry);

    s->wire.exchange = config_string(s->config, "exchange");
    s->wire.schema_version = config_string(s->config, "schema_version");
    s->wire.source = config_string(s->config, "replica");
    s->wire.clk = s->clk;
    s->wire.bar_s = (uint32_t)config_uint(s->config, "bar_seconds");
    if (qm_wire_open(&s->wire, &s->ids, err) != ERR_OK)
        return err->class;
    for (enum qm_output output = 0; output < QM_OUTPUTS; output++) {
        if (connect_registry_id(s->config, s->registry, s->topics[outputs[output]],
                                qm_output_records[output], &s->wire.ids[output], err) != ERR_OK)
            return err->class;
    }
    return ERR_OK;
}

static enum err_class make_core(struct service *s, struct err *err)
{
    const char *path = config_string(s->config, "reference_file");
    struct qm_options options = {
        .bar_s = s->wire.bar_s,
        .purge_bars = (uint32_t)config_uint(s->config, "purge_bars"),
        .cryptos_max = s->cryptos_max,
        .freshness_rule = {.enter_n = 1,
                           .leave_n = 1,
                           .enter_us = clk_grace_us(s->clk, qm_rows[QM_FRESHNESS].rule.enter_us),
                           .leave_us = clk_grace_us(s->clk, qm_rows[QM_FRESHNESS].rule.leave_us)},
        .sink = {.signal = on_signal,
                 .outcome = on_outcome,
                 .transition = on_transition,
                 .user = s},
    };

    if (path[0] != '\0' && quality_read(path, &s->reference, err) != ERR_OK)
        return err->class;
    options.references = s->reference.crypto;
    options.references_n = s->reference.cryptos_n;
    (void)l2_set_parse(config_string(s->config, "feature_set"), &options.set);
    s->core = qm_core_new(&options);
    s->alerts = qm_alerts_new(s->cryptos_max, (int64_t)config_uint(s->config, "hold_ms") * 1000);
    s->partitions = calloc(s->cryptos_max, sizeof *s->partitions);
    if (s->core == NULL || s->alerts == NULL || s->partitions == NULL ||
        !qm_freshness_begin(&s->freshness, s->clk, s->cryptos_max))
        return err_set(err, ERR_FATAL, "quality-monitor: no memory");
    return ERR_OK;
}

static enum err_class open_proofs(struct service *s, struct err *err)
{
    const struct qm_prover_options options = {.kafka = s->kafka.v,
                                              .kafka_n = s->kafka.n,
                                              .topic = s->topics[TOPICS_SNAPSHOTS],
                                              .exchange = s->wire.exchange,
                                              .ids = &s->ids,
                                              .params = s->params};

    return qm_proofs_begin(&s->proofs, &options, s->cryptos_max, err);
}

static void on_sink(void *user, int level, const char *event, const char *sink, const char *text)
{
    (void)user;
    log_event(level <= 3   ? LOG_ERROR
              : level <= 4 ? LOG_WARN
                           : LOG_INFO,
              event, "sink", LOG_STR, sink, "text", LOG_STR, text, NULL);
}

static enum err_class open_sinks(struct service *s, struct err *err)
{
    const struct sinks_options options = {
        .config = s->config,
        .clk = s->clk,
        .kafka = s->kafka.v,
        .kafka_n = s->kafka.n,
        .prefix = config_string(s->config, "topic_prefix"),
        .group = config_string(s->config, "sink_group"),
        .instance = config_string(s->config, "replica"),
        .ids = s->registry == NULL ? NULL : &s->ids,
        .tell = on_sink,
        .log = svc_log_kafka,
    };

    return sinks_new(&options, &s->sinks, err);
}

static enum err_class run_live(struct service *s, struct err *err)
{
    s->cryptos_max = (unsigned)config_uint(s->config, "max_cryptos");
    if (qm_params_load(s->config, &s->params, err) != ERR_OK)
        return err->class;
    if (connect_kafka_load(s->config, NULL, NULL, &s->kafka, err) != ERR_OK ||
        check_topics(s, err) != ERR_OK || open_wire(s, err) != ERR_OK ||
        make_core(s, err) != ERR_OK ||
        open_txn(s, err) != ERR_OK || /* first: it fences a predecessor, whose last is then known */
        recall_all(s, err) != ERR_OK || open_inputs(s, err) != ERR_OK ||
        open_proofs(s, err) != ERR_OK || open_sinks(s, err) != ERR_OK)
        return err->class;
    log_event(LOG_INFO, "serving", "bars", LOG_STR, s->topics[TOPICS_BARS], "references", LOG_INT,
              (int64_t)s->reference.cryptos_n, "reference_version", LOG_STR, s->reference.version,
              "bytes_a_crypto", LOG_INT, (int64_t)qm_core_bytes_a_crypto(s->core), NULL);
    return loop(s, err);
}

static void close_all(struct service *s)
{
    sinks_free(s->sinks);
    qm_proofs_end(&s->proofs);
    bus_merge_free(s->merge);
    bus_reader_free(s->heartbeats);
    bus_producer_free(s->beats);
    bus_txn_free(s->txn);
    qm_core_free(s->core);
    qm_alerts_free(s->alerts);
    qm_wire_close(&s->wire);
    codec_registry_free(s->registry);
    quality_free(&s->reference);
    qm_freshness_end(&s->freshness);
    free(s->partitions);
}

/* From a start to its end. */
static enum err_class live_once(struct svc *svc, bool *ret_is_lost, struct err *err)
{
    struct service *s = calloc(1, sizeof *s);

    *ret_is_lost = false;
    if (s == NULL)
        return err_set(err, ERR_FATAL, "quality-monitor: no memory");
    s->svc = svc;
    s->config = svc_config(svc);
    s->clk = svc_clk(svc);
    s->metrics = svc_metrics(svc);
    const enum err_class e = run_live(s, err);

    *ret_is_lost = s->is_lost;
    close_all(s);
    free(s);
    return e;
}

/* A transaction that an outage ended is as if the process had ended there: what it held comes out
 * of the log again. */
static enum err_class run(struct svc *svc, void *options, struct err *err)
{
    bool is_lost = false;

    (void)options;
    for (;;) {
        const enum err_class e = live_once(svc, &is_lost, err);
        if (!is_lost || svc_stopping(svc))
            return e;
        log_event(LOG_WARN, "begins_anew", "why", LOG_STR, err->text, NULL);
        svc_ready(svc, false);
        metrics_set(svc_metrics(svc), M_CAUGHT_UP, 0, 0);
        metrics_add(svc_metrics(svc), M_ANEW, 0, 1);
    }
}

const struct svc_desc qm_service = {
    .name = "quality-monitor",
    .summary = "Watches what the models are fed and what they say: drift, ranges, freshness, "
               "agreement, and labels as they mature. Writes signals, outcomes and alerts, each "
               "once, and tells the sinks.",
    .footer = "Examples:\n"
              "  quality-monitor --config quality-monitor.conf --check-config\n"
              "  quality-monitor --config quality-monitor.conf\n",
    .rows = qm_config_rows,
    .metrics = qm_metric_rows,
    .check = qm_config_check,
    .run = run,
};
