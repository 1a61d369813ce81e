/* What the answers mean. Bodies come from the network: nothing of them is trusted, and only what is
 * printable of them is shown. */
#include "alerts/sink_internal.h"

#include <stdio.h>
#include <string.h>

#define LOKI_BLOCKED 260 /* Loki's own: ingestion is blocked, what was sent is dropped */

/* `text` as far as there is room, with '?' for what is not printable ASCII. */
static void show(const char *text, size_t n, char *why)
{
    const size_t used = strlen(why), room = SINK_WHY_BYTES_MAX - 1 - used;
    size_t i = 0;

    for (; i < n && i < room; i++)
        why[used + i] = (char)(text[i] >= ' ' && text[i] <= '~' ? text[i] : '?');
    why[used + i] = '\0';
}

/* Alertmanager, Grafana and Airflow say why in one of these; whoever does not is shown as he is. */
static void say(unsigned status, const char *body, size_t n, char *why)
{
    static const char *const names[] = {"message", "detail", "title", "error"};
    json_t *answer = json_loadb(body, n, JSON_DECODE_ANY, NULL);
    const char *text = json_string_value(answer);

    for (size_t i = 0; text == NULL && i < sizeof names / sizeof names[0]; i++)
        text = json_string_value(json_object_get(answer, names[i]));
    (void)snprintf(why, SINK_WHY_BYTES_MAX, "it answered %u%s", status, n > 0 ? ": " : "");
    show(text != NULL ? text : body, text != NULL ? strlen(text) : n, why);
    json_decref(answer);
}

/* The address or the credentials are at fault, not what was sent. */
static bool is_misplaced(unsigned status)
{
    return (status >= 300 && status < 400) || status == 401 || status == 403 || status == 404 ||
           status == 405 || status == 407;
}

static bool is_done(enum sink_kind kind, unsigned status)
{
    switch (kind) {
    case SINK_LOKI:
        return status == 204; /* another 2xx is not Loki's yes */
    case SINK_GRAFANA:
    case SINK_ALERTMANAGER:
        return status == 200;
    case SINK_RETRAIN:
        return status == 200 || status == 201 || status == 409; /* 409: this run is there */
    case SINK_GRAFANA_WEBHOOK:
    case SINK_WEBHOOK:
    case SINK_KINDS:
        break;
    }
    return status >= 200 && status < 300;
}

enum sink_verdict sink_judge(enum sink_kind kind, unsigned status, const char *body, size_t body_n,
                             char *why)
{
    why[0] = '\0';
    if (is_done(kind, status))
        return SINK_DONE;
    say(status, body, body_n, why);
    if (kind == SINK_LOKI && status == LOKI_BLOCKED)
        return SINK_REFUSED;
    /* a yes that is not this API's: another server answers there */
    return status < 300 || is_misplaced(status) || status >= 500 ? SINK_AGAIN : SINK_REFUSED;
}

bool sink_token(const char *body, size_t body_n, char *token)
{
    static const char *const names[] = {"access_token", "jwt_token"};
    json_t *answer = json_loadb(body, body_n, 0, NULL);
    bool found = false;

    for (size_t i = 0; !found && i < sizeof names / sizeof names[0]; i++) {
        const json_t *value = json_object_get(answer, names[i]);
        const size_t n = json_string_length(value);
        const char *text = json_string_value(value);
        found = n > 0 && n < SINK_TOKEN_BYTES_MAX;
        for (size_t k = 0; found && k < n; k++)
            found = text[k] > ' ' && text[k] <= '~'; /* it becomes a header */
        if (found)
            memcpy(token, text, n + 1);
    }
    json_decref(answer);
    return found;
}
