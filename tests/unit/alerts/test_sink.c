/*
 * What each system around us is told of an alert, to the byte, and what its answers mean.
 * Seen to fail: with the partition left out of Loki's labels or the version out of its times; with
 * a grouped alert that goes on firing, a severity that stays when another begins, a start behind
 * its end; with 260 taken for a yes or repeated, 404 or 409 for a refusal; with a token's bytes
 * unchecked, or one too many of them; with a reason cut too early, or with control bytes in it;
 * with zeros, NaN and a header's bytes let through; with ".." in a run's id, or the state's time in
 * it; with grouped alerts sent, and the age off by one.
 */
#include "alerts/sink.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#define S CLK_US_PER_S
#define SINCE_US (INT64_C(1723161256) * S) /* 2024-08-08T23:54:16Z */
#define TOLD_US (SINCE_US + 2 * S + 345000)
#define NOW_US (SINCE_US + 10 * S)

static struct clk *clk;

static struct codec_alert alert_of(enum codec_alert_state state, enum codec_alert_state previous)
{
    return (struct codec_alert){
        .exchange = codec_str("binance-usdm"),
        .symbol = codec_str("BTCUSDT"),
        .key = codec_str("l2_feature_nan_rate/champion_l2/binance-usdm/BTCUSDT"),
        .version = 7,
        .signal = codec_str("l2_feature_nan_rate"),
        .arm = CODEC_ARM_CHAMPION_L2,
        .state = state,
        .previous = previous,
        .since_us = SINCE_US,
        .started_us = SINCE_US - 60 * S,
        .has_value = true,
        .value = 0.3,
        .has_threshold = true,
        .threshold = 0.2,
        .n = 96,
        .action = CODEC_ALERT_ACTION_NO_L2,
        .summary = codec_str("a third is null"),
        .runbook = codec_str("nan-rate"),
        .source = codec_str("qm-0"),
    };
}

static struct sink_style style_of(enum sink_kind kind)
{
    return (struct sink_style){
        .kind = kind,
        .runbook_url = "https://r.example/book",
        .deployment = "eu.",
        .clk = clk,
        .path = "/loki/api/v1/push",
        .tenant = "",
        .resend_s = 60,
        .dag = "re train",
        .sweep = "",
        .age_us_max = 3600 * S,
    };
}

static struct sink_request format(const struct sink_style *style, const struct sink_note *notes,
                                  unsigned n)
{
    struct sink_request request;
    struct err err;

    assert_int_equal(sink_format(style, notes, n, NOW_US, &request, &err), ERR_OK);
    assert_int_equal(strlen(request.body), request.body_n);
    return request;
}

/* One alert's request to a sink of this kind. */
static struct sink_request one(enum sink_kind kind, const struct codec_alert *alert)
{
    const struct sink_style style = style_of(kind);
    const struct sink_note note = {.alert = alert, .time_us = TOLD_US, .partition = 4};

    return format(&style, &note, 1);
}

static void same(struct sink_request request, const char *path, const char *header,
                 const char *body)
{
    assert_string_equal(request.path, path);
    assert_string_equal(request.header, header);
    assert_string_equal(request.body, body);
    free(request.body);
}

#define TEXT                                                                                       \
    "P2: l2_feature_nan_rate of BTCUSDT (binance-usdm, champion_l2) since 2024-08-08T23:54:16Z: "  \
    "0.3 against 0.2, n = 96. a third is null. To do: no_l2 serves meanwhile: see why. Runbook: "  \
    "https://r.example/book#nan-rate"
#define OVER                                                                                       \
    "RESOLVED: l2_feature_nan_rate of BTCUSDT (binance-usdm, champion_l2) since "                  \
    "2024-08-08T23:54:16Z (was p2, began 2024-08-08T23:53:16Z): 0.3 against 0.2, n = 96. a third " \
    "is null. Runbook: https://r.example/book#nan-rate"
#define KEY "l2_feature_nan_rate/champion_l2/binance-usdm/BTCUSDT"
#define FINGERPRINT "45cf547e752abf51" /* FNV-1a of the key, by another program */
#define FIELDS                                                                                     \
    "{\"key\":\"" KEY "\",\"version\":7,\"signal\":\"l2_feature_nan_rate\",\"deployment\":"        \
    "\"eu.\",\"exchange\":\"binance-usdm\",\"symbol\":\"BTCUSDT\",\"arm\":\"champion_l2\","        \
    "\"state\":\"p2\",\"previous\":\"warn\",\"since\":\"2024-08-08T23:54:16.000000Z\","            \
    "\"started\":\"2024-08-08T23:53:16.000000Z\",\"time\":\"2024-08-08T23:54:18.345000Z\","        \
    "\"value\":0.3,\"threshold\":0.2,\"n\":96,\"action\":\"no_l2\",\"members\":[],"                \
    "\"group_size\":0,\"summary\":\"a third is null\",\"text\":\"" TEXT "\",\"runbook\":"          \
    "\"https://r.example/book#nan-rate\",\"source\":\"qm-0\"}"
#define LABELS(severity)                                                                           \
    "{\"alertname\":\"l2_feature_nan_rate\",\"severity\":\"" severity                              \
    "\",\"exchange\":\"binance-usdm\",\"symbol\":\"BTCUSDT\",\"arm\":\"champion_l2\","             \
    "\"service\":\"l2flow\",\"deployment\":\"eu.\"}"
#define ANNOTATIONS(text)                                                                          \
    "{\"summary\":\"a third is null\",\"description\":\"" text "\",\"key\":\"" KEY                 \
    "\",\"value\":\"0.3\",\"threshold\":\"0.2\",\"n\":\"96\",\"since\":"                           \
    "\"2024-08-08T23:54:16.000000Z\",\"started\":\"2024-08-08T23:53:16.000000Z\","                 \
    "\"action\":\"no_l2\",\"version\":\"7\",\"runbook_url\":\"https://r.example/book#nan-rate\","  \
    "\"source\":\"qm-0\"}"

static void bodies_to_the_byte(void **state)
{
    struct codec_alert a = alert_of(CODEC_ALERT_STATE_P2, CODEC_ALERT_STATE_WARN);
    struct codec_alert over = alert_of(CODEC_ALERT_STATE_OK, CODEC_ALERT_STATE_P2);

    (void)state;
    same(one(SINK_WEBHOOK, &a), "", "Idempotency-Key: " KEY "/7", FIELDS);
    same(one(SINK_GRAFANA, &a), "/api/annotations", "",
         "{\"time\":1723161258345,\"tags\":[\"l2flow\",\"signal:l2_feature_nan_rate\","
         "\"exchange:binance-usdm\",\"symbol:BTCUSDT\",\"arm:champion_l2\",\"state:p2\",\"key:" KEY
         "\",\"version:7\"],\"text\":\"" TEXT "\"}");
    same(one(SINK_GRAFANA, &over), "/api/annotations", "",
         "{\"time\":1723161196000,\"timeEnd\":1723161258345,\"tags\":[\"l2flow\","
         "\"signal:l2_feature_nan_rate\",\"exchange:binance-usdm\",\"symbol:BTCUSDT\","
         "\"arm:champion_l2\",\"state:ok\",\"key:" KEY "\",\"version:7\"],\"text\":\"" OVER "\"}");
    same(one(SINK_GRAFANA_WEBHOOK, &a), "", "",
         "{\"receiver\":\"l2flow\",\"status\":\"firing\",\"orgId\":1,\"alerts\":[{\"status\":"
         "\"firing\",\"labels\":" LABELS("p2") ",\"annotations\":" ANNOTATIONS(
             TEXT) ",\"startsAt\":\"2024-08-08T23:54:16.000000Z\",\"endsAt\":\"0001-01-01T00:00:"
                   "00Z\","
                   "\"values\":{\"value\":0.3,\"threshold\":0.2},\"generatorURL\":\"\","
                   "\"fingerprint\":"
                   "\"" FINGERPRINT
                   "\",\"silenceURL\":\"\",\"dashboardURL\":\"\",\"panelURL\":\"\","
                   "\"imageURL\":\"\"}],\"groupLabels\":{\"alertname\":\"l2_feature_nan_rate\"},"
                   "\"commonLabels\":" LABELS("p2") ",\"commonAnnotations\":" ANNOTATIONS(
                       TEXT) ",\"externalURL\":\"\",\"version\":\"1\",\"groupKey\":\"" KEY
                             "\",\"truncatedAlerts\":0,\"title\":\"a third is "
                             "null\",\"state\":\"alerting\","
                             "\"message\":\"" TEXT "\"}");
}

static void alertmanager_is_told_what_began_and_what_ended(void **state)
{
    struct codec_alert a = alert_of(CODEC_ALERT_STATE_P2, CODEC_ALERT_STATE_WARN);
    struct codec_alert over = alert_of(CODEC_ALERT_STATE_OK, CODEC_ALERT_STATE_P2);
    struct codec_alert first = alert_of(CODEC_ALERT_STATE_P2, CODEC_ALERT_STATE_OK);
    struct codec_alert grouped = first;

    (void)state;
    same(one(SINK_ALERTMANAGER, &a), "/api/v2/alerts", "",
         "[{\"labels\":" LABELS("warn") ",\"annotations\":" ANNOTATIONS(
             TEXT) ",\"startsAt\":\"2024-08-08T23:53:16.000000Z\",\"endsAt\":"
                   "\"2024-08-08T23:54:18.345000Z\"},{\"labels\":" LABELS(
                       "p2") ",\"annotations\":" ANNOTATIONS(TEXT) ",\"startsAt\":\"2024-08-08T23:"
                                                                   "54:16.000000Z\",\"endsAt\":"
                                                                   "\"2024-08-08T23:58:26."
                                                                   "000000Z\"}]");
    same(one(SINK_ALERTMANAGER, &over), "/api/v2/alerts", "",
         "[{\"labels\":" LABELS("p2") ",\"annotations\":" ANNOTATIONS(
             OVER) ",\"startsAt\":\"2024-08-08T23:53:16.000000Z\",\"endsAt\":"
                   "\"2024-08-08T23:54:18.345000Z\"}]");
    same(one(SINK_ALERTMANAGER, &first), "/api/v2/alerts", "",
         "[{\"labels\":" LABELS("p2") ",\"annotations\":" ANNOTATIONS(
             TEXT) ",\"startsAt\":\"2024-08-08T23:54:16.000000Z\",\"endsAt\":"
                   "\"2024-08-08T23:58:26.000000Z\"}]");
    grouped.previous = CODEC_ALERT_STATE_P2; /* the same, and another alert speaks for it now */
    grouped.delivery = CODEC_DELIVERY_GROUPED;
    same(one(SINK_ALERTMANAGER, &grouped), "/api/v2/alerts", "",
         "[{\"labels\":" LABELS("p2") ",\"annotations\":" ANNOTATIONS(
             TEXT) ",\"startsAt\":\"2024-08-08T23:53:16.000000Z\",\"endsAt\":"
                   "\"2024-08-08T23:54:18.345000Z\"}]");
}

/* An event time past the record that told of it would be refused: a start behind an end. */
static void nothing_starts_after_it_was_told(void **state)
{
    struct codec_alert a = alert_of(CODEC_ALERT_STATE_OK, CODEC_ALERT_STATE_P2);
    struct sink_request r;

    (void)state;
    a.started_us = INT64_MAX;
    r = one(SINK_ALERTMANAGER, &a);
    assert_non_null(strstr(r.body, "\"startsAt\":\"2024-08-08T23:54:18.345000Z\",\"endsAt\":"
                                   "\"2024-08-08T23:54:18.345000Z\""));
    free(r.body);
    r = one(SINK_GRAFANA, &a);
    assert_non_null(strstr(r.body, "\"time\":1723161258345,\"timeEnd\":1723161258345"));
    free(r.body);
    a.started_us = a.since_us = INT64_MIN; /* nor is one before all time */
    free(one(SINK_ALERTMANAGER, &a).body);
    free(one(SINK_GRAFANA_WEBHOOK, &a).body);
}

static void loki_has_few_streams(void **state)
{
    struct sink_style style = style_of(SINK_LOKI);
    struct codec_alert a = alert_of(CODEC_ALERT_STATE_P2, CODEC_ALERT_STATE_WARN), b = a, c = a;
    const struct sink_note notes[] = {{&a, TOLD_US, 4}, {&b, TOLD_US + 1000, 4}, {&c, TOLD_US, 5}};

    (void)state;
    style.tenant = "desk";
    style.path = "/insert/loki/api/v1/push";
    b.symbol = codec_str("ETHUSDT");
    b.version = 1000008;
    struct sink_request r = format(&style, notes, 3);
    assert_string_equal(r.path, "/insert/loki/api/v1/push");
    assert_string_equal(r.header, "X-Scope-OrgID: desk");
    json_t *body = json_loads(r.body, 0, NULL);
    json_t *streams = json_object_get(body, "streams");
    assert_int_equal(json_array_size(streams), 2); /* a partition is one, a symbol is not */
    json_t *labels = json_object_get(json_array_get(streams, 0), "stream");
    assert_int_equal(json_object_size(labels), 5);
    assert_string_equal(json_string_value(json_object_get(labels, "partition")), "4");
    assert_string_equal(json_string_value(json_object_get(labels, "state")), "p2");
    json_t *values = json_object_get(json_array_get(streams, 0), "values");
    assert_int_equal(json_array_size(values), 2);
    json_t *entry = json_array_get(values, 0);
    assert_string_equal(json_string_value(json_array_get(entry, 0)), "1723161258345000007");
    assert_string_equal(json_string_value(json_array_get(entry, 1)), FIELDS);
    assert_string_equal(json_string_value(json_object_get(json_array_get(entry, 2), "version")),
                        "7");
    entry = json_array_get(values, 1); /* a large version stays within its millisecond */
    assert_string_equal(json_string_value(json_array_get(entry, 0)), "1723161258346000008");
    json_decref(body);
    free(r.body);
}

static void a_retraining_is_one_run(void **state)
{
    struct codec_alert a = alert_of(CODEC_ALERT_STATE_P2, CODEC_ALERT_STATE_WARN);
    struct sink_style style = style_of(SINK_RETRAIN);
    const struct sink_note note = {&a, TOLD_US, 0};

    (void)state;
    style.sweep = "{\"months\": 3}";
    struct sink_request r = format(&style, &note, 1);
    assert_string_equal(r.path, "/api/v2/dags/re%20train/dagRuns");
    assert_non_null(strstr(r.body, "\"logical_date\":null"));
    assert_non_null(strstr(r.body, "\"sweep\":{\"months\":3}"));
    assert_non_null(strstr(r.body, "{\"dag_run_id\":\"l2flow:1723161196000000:l2_feature_nan_rate~"
                                   "champion_l2~binance-usdm~BTCUSDT\",\"conf\":{"));
    free(r.body);
    style.is_v1 = true;
    r = format(&style, &note, 1);
    assert_string_equal(r.path, "/api/v1/dags/re%20train/dagRuns");
    assert_null(strstr(r.body, "logical_date"));
    free(r.body);
}

static void run_ids_are_of_airflows_alphabet(void **state)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.~:+-";
    char key[192];
    struct codec_alert a = alert_of(CODEC_ALERT_STATE_P2, CODEC_ALERT_STATE_WARN);

    (void)state;
    for (unsigned i = 0; i < sizeof key; i++)
        key[i] = (char)(i < 4 ? '.' : 60 + i);
    a.key = (struct codec_str){.data = key, .n = sizeof key};
    a.started_us = INT64_MIN;
    struct sink_request r = one(SINK_RETRAIN, &a);
    json_t *body = json_loads(r.body, 0, NULL);
    const char *id = json_string_value(json_object_get(body, "dag_run_id"));
    assert_non_null(id);
    assert_int_equal(strspn(id, plain), strlen(id));
    assert_null(strstr(id, ".."));
    assert_in_range(strlen(id), 200, SINK_RUN_ID_BYTES_MAX);
    json_decref(body);
    free(r.body);
}

/* Bytes that no text should hold: the body is JSON, its strings are UTF-8 without zeros. */
static void odd_bytes(void **state)
{
    static const char odd[] = "\"\\\n\t\x7f\xff\xc3(\x00 end";
    struct codec_alert a = alert_of(CODEC_ALERT_STATE_P2, CODEC_ALERT_STATE_WARN);
    const struct codec_str s = {.data = odd, .n = sizeof odd - 1};

    (void)state;
    a.exchange = a.symbol = a.key = a.signal = a.summary = a.runbook = a.source = s;
    a.value = (double)INFINITY;
    a.threshold = (double)NAN;
    for (unsigned i = a.members_n = 512; i-- > 0;)
        a.members[i] = s;
    a.group_size = INT64_MAX;
    a.n = INT64_MIN;
    a.version = INT64_MIN;
    for (unsigned k = 0; k < SINK_KINDS; k++) {
        struct sink_request r = one((enum sink_kind)k, &a);
        json_error_t why;
        json_t *body = json_loads(r.body, 0, &why);
        if (body == NULL)
            fail_msg("%s: %s", sink_names[k], why.text);
        assert_null(strstr(r.body, "\\u0000"));
        for (const char *c = r.header; *c != '\0'; c++)
            assert_in_range(*c, ' ', '~');
        json_decref(body);
        free(r.body);
    }
    struct sink_request r = one(SINK_WEBHOOK, &a);
    json_t *body = json_loads(r.body, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(body, "source")),
                        "\"\\\n\t\x7f\xEF\xBF\xBD\xEF\xBF\xBD(\xEF\xBF\xBD end");
    assert_true(json_is_null(json_object_get(body, "value")));
    assert_true(json_is_null(json_object_get(body, "threshold")));
    assert_string_equal(r.header, "Idempotency-Key: \"\\%0A%09%7F%FF%C3(%00%20end/"
                                  "-9223372036854775808");
    json_decref(body);
    free(r.body);
}

/* Zeros are good JSON, and what stores it (PostgreSQL, say) refuses them. */
static void zeros_are_replaced(void **state)
{
    static const char zero[] = "a\x00z";
    struct codec_alert a = alert_of(CODEC_ALERT_STATE_P2, CODEC_ALERT_STATE_WARN);

    (void)state;
    a.summary = (struct codec_str){.data = zero, .n = 3};
    struct sink_request r = one(SINK_WEBHOOK, &a);
    assert_non_null(strstr(r.body, "\"summary\":\"a\xEF\xBF\xBDz\""));
    free(r.body);
}

static void texts_are_bounded(void **state)
{
    struct codec_alert a = alert_of(CODEC_ALERT_STATE_WARN, CODEC_ALERT_STATE_OK);
    const struct sink_style style = style_of(SINK_WEBHOOK);
    const struct sink_note note = {&a, TOLD_US, 0};
    char text[SINK_TEXT_BYTES_MAX], *most = malloc(4096);

    (void)state;
    memset(most, 'x', 4096);
    a.signal = a.summary = (struct codec_str){.data = most, .n = 1500};
    (void)sink_text(&style, &note, text);
    assert_int_equal(strlen(text), SINK_TEXT_BYTES_MAX - 1);
    assert_memory_equal(text, "WARNING: xxx", 12);
    free(most);
    a = alert_of(CODEC_ALERT_STATE_NO_DATA, CODEC_ALERT_STATE_OK);
    a.has_value = false;
    for (unsigned i = 0; i < 11; i++)
        a.members[a.members_n++] = codec_str("M");
    a.group_size = 700;
    (void)sink_text(&style, &note, text);
    assert_non_null(strstr(text, "NO DATA: l2_feature_nan_rate of 700 cryptos [M, M, M, M, M, M, "
                                 "M, M, M, M, ...] (binance-usdm, champion_l2) since "));
    assert_non_null(strstr(text, "Z, n = 96."));
}

static void who_wants_what(void **state)
{
    struct codec_alert a = alert_of(CODEC_ALERT_STATE_P2, CODEC_ALERT_STATE_WARN);
    struct sink_style style = style_of(SINK_WEBHOOK);
    struct sink_note note = {&a, TOLD_US, 0};

    (void)state;
    assert_true(sink_wants(&style, &note, NOW_US));
    a.delivery = CODEC_DELIVERY_GROUPED;
    assert_false(sink_wants(&style, &note, NOW_US));
    a.delivery = CODEC_DELIVERY_INHIBITED;
    assert_false(sink_wants(&style, &note, NOW_US));
    a.delivery = CODEC_DELIVERY_SEND;
    style.kind = SINK_RETRAIN;
    assert_false(sink_wants(&style, &note, NOW_US));
    a.action = CODEC_ALERT_ACTION_RETRAIN;
    assert_true(sink_wants(&style, &note, NOW_US));
    assert_true(sink_wants(&style, &note, TOLD_US + style.age_us_max));
    assert_false(sink_wants(&style, &note, TOLD_US + style.age_us_max + 1));
    a.state = CODEC_ALERT_STATE_WARN;
    assert_true(sink_wants(&style, &note, NOW_US));
    a.state = CODEC_ALERT_STATE_OK;
    assert_false(sink_wants(&style, &note, NOW_US));
    a.state = CODEC_ALERT_STATE_NO_DATA;
    assert_false(sink_wants(&style, &note, NOW_US));
}

static void answers(void **state)
{
    static const struct {
        enum sink_kind kind;
        unsigned status;
        enum sink_verdict verdict;
    } rows[] = {
        {SINK_LOKI, 204, SINK_DONE},
        {SINK_LOKI, 200, SINK_AGAIN}, /* a server that is no Loki */
        {SINK_LOKI, 260, SINK_REFUSED}, /* Loki that takes nothing in, with a 2xx */
        {SINK_LOKI, 400, SINK_REFUSED},
        {SINK_LOKI, 413, SINK_REFUSED},
        {SINK_LOKI, 401, SINK_AGAIN},
        {SINK_LOKI, 404, SINK_AGAIN},
        {SINK_GRAFANA, 200, SINK_DONE},
        {SINK_GRAFANA, 202, SINK_AGAIN},
        {SINK_GRAFANA, 403, SINK_AGAIN},
        {SINK_GRAFANA, 422, SINK_REFUSED},
        {SINK_GRAFANA_WEBHOOK, 204, SINK_DONE},
        {SINK_GRAFANA_WEBHOOK, 301, SINK_AGAIN},
        {SINK_ALERTMANAGER, 200, SINK_DONE},
        {SINK_ALERTMANAGER, 204, SINK_AGAIN},
        {SINK_ALERTMANAGER, 400, SINK_REFUSED},
        {SINK_ALERTMANAGER, 415, SINK_REFUSED},
        {SINK_ALERTMANAGER, 407, SINK_AGAIN},
        {SINK_WEBHOOK, 200, SINK_DONE},
        {SINK_WEBHOOK, 299, SINK_DONE},
        {SINK_WEBHOOK, 300, SINK_AGAIN},
        {SINK_WEBHOOK, 405, SINK_AGAIN},
        {SINK_WEBHOOK, 409, SINK_REFUSED},
        {SINK_WEBHOOK, 100, SINK_AGAIN},
        {SINK_RETRAIN, 200, SINK_DONE},
        {SINK_RETRAIN, 201, SINK_DONE},
        {SINK_RETRAIN, 409, SINK_DONE}, /* it runs already */
        {SINK_RETRAIN, 404, SINK_AGAIN}, /* no such DAG yet */
        {SINK_RETRAIN, 400, SINK_REFUSED},
        {SINK_RETRAIN, 422, SINK_REFUSED},
    };
    char why[SINK_WHY_BYTES_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const enum sink_verdict v = sink_judge(rows[i].kind, rows[i].status, "", 0, why);
        if (v != rows[i].verdict)
            fail_msg("%s, %u: %d", sink_names[rows[i].kind], rows[i].status, (int)v);
        assert_int_equal(why[0] == '\0', v == SINK_DONE);
    }
}

static void why_it_was(void **state)
{
    static const char grafana[] = "{\"message\":\"bad \\u00e9\\n tag\",\"x\":1}";
    static const char airflow[] = "{\"detail\":\"no such DAG\"}";
    static const char alertmanager[] = "\"a label is missing\"";
    char why[SINK_WHY_BYTES_MAX], longest[400];

    (void)state;
    (void)sink_judge(SINK_GRAFANA, 400, grafana, sizeof grafana - 1, why);
    assert_string_equal(why, "it answered 400: bad ??? tag");
    (void)sink_judge(SINK_RETRAIN, 404, airflow, sizeof airflow - 1, why);
    assert_string_equal(why, "it answered 404: no such DAG");
    (void)sink_judge(SINK_ALERTMANAGER, 400, alertmanager, sizeof alertmanager - 1, why);
    assert_string_equal(why, "it answered 400: a label is missing");
    memset(longest, 'x', sizeof longest);
    (void)sink_judge(SINK_LOKI, 400, longest, sizeof longest, why);
    assert_int_equal(strlen(why), SINK_WHY_BYTES_MAX - 1);
}

static bool token_of(const char *json, char *token)
{
    return sink_token(json, strlen(json), token);
}

static void tokens(void **state)
{
    char token[SINK_TOKEN_BYTES_MAX], *longest = malloc(SINK_TOKEN_BYTES_MAX + 64);
    struct sink_request r;
    struct err err;

    (void)state;
    assert_true(token_of("{\"access_token\":\"ab.c\"}", token));
    assert_string_equal(token, "ab.c");
    assert_true(token_of("{\"jwt_token\":\"d\"}", token));
    assert_string_equal(token, "d");
    assert_false(token_of("{\"access_token\":\"a\\r\\nX-Evil: 1\"}", token));
    assert_false(token_of("{\"access_token\":\"\"}", token));
    assert_false(token_of("{\"access_token\":7}", token));
    assert_false(token_of("[]", token));
    assert_false(token_of("", token));
    for (int more = 0; more < 2; more++) { /* the longest, and one more */
        (void)snprintf(longest, SINK_TOKEN_BYTES_MAX + 64, "{\"jwt_token\":\"%0*d\"}",
                       SINK_TOKEN_BYTES_MAX - 1 + more, 1);
        assert_int_equal(token_of(longest, token), more == 0);
    }
    free(longest);
    assert_int_equal(sink_login("me", "a\"b", &r, &err), ERR_OK);
    same(r, "/auth/token", "", "{\"username\":\"me\",\"password\":\"a\\\"b\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_to_the_byte),
        cmocka_unit_test(alertmanager_is_told_what_began_and_what_ended),
        cmocka_unit_test(nothing_starts_after_it_was_told),
        cmocka_unit_test(loki_has_few_streams),
        cmocka_unit_test(a_retraining_is_one_run),
        cmocka_unit_test(run_ids_are_of_airflows_alphabet),
        cmocka_unit_test(odd_bytes),
        cmocka_unit_test(zeros_are_replaced),
        cmocka_unit_test(texts_are_bounded),
        cmocka_unit_test(who_wants_what),
        cmocka_unit_test(answers),
        cmocka_unit_test(why_it_was),
        cmocka_unit_test(tokens),
    };

    clk = clk_new_test(NOW_US);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    clk_free(clk);
    return failed;
}
