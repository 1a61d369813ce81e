/* Which alerts a sink wants, and its requests put together. */
#include "alerts/sink_internal.h"

#include "http/client.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const sink_names[] = {
    [SINK_LOKI] = "loki",
    [SINK_GRAFANA] = "grafana",
    [SINK_GRAFANA_WEBHOOK] = "grafana_webhook",
    [SINK_ALERTMANAGER] = "alertmanager",
    [SINK_WEBHOOK] = "webhook",
    [SINK_RETRAIN] = "retrain",
    [SINK_KINDS] = NULL,
};

unsigned sink_batch_max(enum sink_kind kind)
{
    return kind == SINK_LOKI || kind == SINK_ALERTMANAGER ? SINK_BATCH_MAX : 1;
}

bool sink_wants(const struct sink_style *style, const struct sink_note *note, int64_t now_us)
{
    const struct codec_alert *a = note->alert;

    if (a->delivery != CODEC_DELIVERY_SEND)
        return false;
    if (style->kind != SINK_RETRAIN)
        return true;
    return a->action == CODEC_ALERT_ACTION_RETRAIN &&
           (a->state == CODEC_ALERT_STATE_WARN || a->state == CODEC_ALERT_STATE_P2) &&
           now_us - note->time_us <= style->age_us_max;
}

static json_t *body_of(const struct sink_style *style, const struct sink_note *notes, unsigned n,
                       int64_t now_us)
{
    switch (style->kind) {
    case SINK_LOKI:
        return sink_loki_body(style, notes, n);
    case SINK_GRAFANA:
        return sink_grafana_body(style, notes);
    case SINK_GRAFANA_WEBHOOK:
        return sink_grafana_webhook_body(style, notes);
    case SINK_ALERTMANAGER:
        return sink_alertmanager_body(style, notes, n, now_us);
    case SINK_WEBHOOK:
        return sink_fields(style, notes);
    case SINK_RETRAIN:
        return sink_retrain_body(style, notes);
    case SINK_KINDS:
        break;
    }
    return NULL;
}

static void set_path(const struct sink_style *style, char *path)
{
    char dag[SINK_PATH_BYTES_MAX / 2];

    path[0] = '\0';
    switch (style->kind) {
    case SINK_LOKI:
        (void)snprintf(path, SINK_PATH_BYTES_MAX, "%s", style->path);
        break;
    case SINK_GRAFANA:
        (void)snprintf(path, SINK_PATH_BYTES_MAX, "/api/annotations");
        break;
    case SINK_ALERTMANAGER:
        (void)snprintf(path, SINK_PATH_BYTES_MAX, "/api/v2/alerts");
        break;
    case SINK_RETRAIN:
        (void)snprintf(path, SINK_PATH_BYTES_MAX, "/api/%s/dags/%s/dagRuns",
                       style->is_v1 ? "v1" : "v2",
                       http_escape(style->dag, dag, sizeof dag) ? dag : "");
        break;
    case SINK_GRAFANA_WEBHOOK: /* their address is whole */
    case SINK_WEBHOOK:
    case SINK_KINDS:
        break;
    }
}

/* Printable ASCII but the percent sign as it is: a header may hold nothing else. */
static void set_idempotency_key(const struct codec_alert *a, char *header)
{
    int n = snprintf(header, SINK_HEADER_BYTES_MAX, "Idempotency-Key: ");

    for (uint32_t i = 0; i < a->key.n && n < SINK_HEADER_BYTES_MAX - 32; i++) {
        const unsigned char c = (unsigned char)a->key.data[i];
        n += snprintf(header + n, SINK_HEADER_BYTES_MAX - (size_t)n,
                      c > ' ' && c < 0x7f && c != '%' ? "%c" : "%%%02X", c);
    }
    (void)snprintf(header + n, SINK_HEADER_BYTES_MAX - (size_t)n, "/%" PRId64, a->version);
}

static void set_header(const struct sink_style *style, const struct codec_alert *alert,
                       char *header)
{
    header[0] = '\0';
    if (style->kind == SINK_WEBHOOK)
        set_idempotency_key(alert, header);
    else if (style->kind == SINK_LOKI && style->tenant[0] != '\0')
        (void)snprintf(header, SINK_HEADER_BYTES_MAX, "X-Scope-OrgID: %s", style->tenant);
}

static enum err_class finish(json_t *body, struct sink_request *ret_request, struct err *err)
{
    /* more digits than 15 would show 0.1 as 0.10000000000000001 */
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;

    json_decref(body);
    if (text == NULL)
        return err_set(err, ERR_FATAL, "sink: out of memory");
    ret_request->body = text;
    ret_request->body_n = strlen(text); /* zeros are escaped in JSON */
    return ERR_OK;
}

enum err_class sink_format(const struct sink_style *style, const struct sink_note *notes,
                           unsigned n, int64_t now_us, struct sink_request *ret_request,
                           struct err *err)
{
    assert(n > 0 && n <= sink_batch_max(style->kind));
    set_path(style, ret_request->path);
    set_header(style, notes[0].alert, ret_request->header);
    return finish(body_of(style, notes, n, now_us), ret_request, err);
}

enum err_class sink_login(const char *user, const char *password, struct sink_request *ret_request,
                          struct err *err)
{
    (void)snprintf(ret_request->path, sizeof ret_request->path, "/auth/token");
    ret_request->header[0] = '\0';
    return finish(
        json_pack("{s:o, s:o}", "username", sink_cstring(user), "password", sink_cstring(password)),
        ret_request, err);
}
