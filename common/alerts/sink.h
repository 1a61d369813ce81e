/*
 * sink.h: one alert as the systems around us want to be told of it, and what their answers mean.
 * Pure: what comes in and out are structs and bytes (bodies come from the allocator). sinks.h runs
 * them.
 */
#ifndef ALERTS_SINK_H
#define ALERTS_SINK_H

#include "base/err.h"
#include "clk/clk.h"
#include "codec/alert.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sink_kind {
    SINK_LOKI,
    SINK_GRAFANA, /* annotations */
    SINK_GRAFANA_WEBHOOK,
    SINK_ALERTMANAGER,
    SINK_WEBHOOK,
    SINK_RETRAIN, /* Airflow's DAG runs */
    SINK_KINDS,
};

extern const char *const sink_names[]; /* "loki", …; ends with NULL */

#define SINK_BATCH_MAX 64 /* alerts of one request */
#define SINK_TEXT_BYTES_MAX 2048
#define SINK_PATH_BYTES_MAX 512
#define SINK_HEADER_BYTES_MAX 1000
#define SINK_RUN_ID_BYTES_MAX 250 /* Airflow's column */
#define SINK_WHY_BYTES_MAX 160
#define SINK_TOKEN_BYTES_MAX 8192

/* What a sink's requests hold beside the alert; all strings borrowed, never NULL. */
struct sink_style {
    enum sink_kind kind;
    const char *runbook_url; /* "" none; an alert's entry goes behind it as its anchor */
    const char *deployment; /* the topic prefix: tells two deployments of one exchange apart */
    const struct clk *clk; /* event times are virtual: what sinks are told as time is real */
    const char *path; /* Loki: of its push API */
    const char *tenant; /* Loki: X-Scope-OrgID; "" none */
    unsigned resend_s; /* Alertmanager */
    bool is_v1; /* retraining: of Airflow's API */
    const char *dag; /* retraining */
    const char *sweep; /* retraining: the sweep's configuration, a JSON object; "" none */
    int64_t age_us_max; /* retraining: an older request is not made any more */
};

/* One record of l2.alerts. */
struct sink_note {
    const struct codec_alert *alert;
    int64_t time_us; /* real: Kafka's timestamp */
    int32_t partition;
};

struct sink_request {
    char path[SINK_PATH_BYTES_MAX]; /* behind the sink's address */
    char header[SINK_HEADER_BYTES_MAX]; /* "Name: value", or "" */
    char *body; /* JSON; the caller's to free */
    size_t body_n;
};

/* Is this alert one to tell this sink of? Grouped and inhibited ones are not: others speak for
 * them. now_us: real. */
bool sink_wants(const struct sink_style *style, const struct sink_note *note, int64_t now_us);
unsigned sink_batch_max(enum sink_kind kind); /* 1 where the API takes one at a time */

/*
 * The request that tells of n alerts (1 to sink_batch_max), oldest first. now_us: real, for
 * Alertmanager's endsAt. ERR_FATAL: no memory. Whatever bytes an alert's strings hold, the body is
 * JSON in UTF-8.
 */
enum err_class sink_format(const struct sink_style *style, const struct sink_note *notes,
                           unsigned n, int64_t now_us, struct sink_request *ret_request,
                           struct err *err) MUST_CHECK;

enum sink_verdict {
    SINK_DONE,
    SINK_AGAIN, /* the sink is at fault, or where we look for it: this alert waits */
    SINK_REFUSED, /* this request will never be taken */
};

/*
 * What an answer means; why: of at least SINK_WHY_BYTES_MAX, printable, "" when done. 408, 429 and
 * 5xx never come here: http_client_do calls them ERR_RETRY. An answer that says that the address or
 * the credentials are wrong (3xx, 401, 403, 404, 405, 407) is no refusal of an alert: SINK_AGAIN.
 */
enum sink_verdict sink_judge(enum sink_kind kind, unsigned status, const char *body, size_t body_n,
                             char *why);

/* Airflow 3: POST /auth/token, for its answer's bearer token. */
enum err_class sink_login(const char *user, const char *password, struct sink_request *ret_request,
                          struct err *err) MUST_CHECK;
/* False: there is none in it. token: of SINK_TOKEN_BYTES_MAX. */
bool sink_token(const char *body, size_t body_n, char *token);

/* One line for people: what, which crypto, since when, how bad against which threshold, with which
 * n, what to do. buf: of SINK_TEXT_BYTES_MAX; any bytes but zeros; returns buf. */
const char *sink_text(const struct sink_style *style, const struct sink_note *note, char *buf);

#endif
