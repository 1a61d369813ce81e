/*
 * sinks.h: l2.alerts delivered to what is configured: each sink has a thread and a consumer group
 * of its own, and its position is committed when the sink has taken the alerts. So a sink that is
 * down delays itself alone, and after any restart goes on where it was: at least once, in the order
 * of each partition.
 *
 *     sinks_new(&options, &sinks, err)       at start, after topics_check of l2.alerts and l2.dlq
 *     sinks_check(sinks, err)                in the loop: ERR_FATAL when one cannot go on
 *     sinks_export(sinks, metrics, M_SINKS)  in the loop
 *     sinks_free(sinks)                      at the end
 */
#ifndef ALERTS_SINKS_H
#define ALERTS_SINKS_H

#include "alerts/sink.h"
#include "bus/bus.h"
#include "codec/reader.h"
#include "config/config.h"
#include "metrics/metrics.h"

#define SINKS_FIRING_MAX 8192 /* alerts that are repeated to Alertmanager … */
#define SINKS_FIRING_BYTES_MAX (32 * 1024 * 1024) /* … and their bytes */
#define SINKS_RESOLVED_US (5 * 60 * CLK_US_PER_S) /* how long a resolved one is repeated */
#define SINKS_TIMEOUT_MS_MAX 8000 /* below the session of 10 s: polls come between requests */
#define SINKS_SWEEP_BYTES_MAX 65536

/* Rows for a program's table; the macro ends without a comma. */
#define SINKS_ROWS_OF(name, what)                                                                  \
    {"sink_" name "_url", CONFIG_URL, "", "", "1000", "address of " what "; empty: none"},         \
        {"sink_" name "_user", CONFIG_STRING, "", "", "200", "whom to log in as, if anybody"},     \
        {"sink_" name "_password_file",                                                            \
         CONFIG_SECRET,                                                                            \
         "",                                                                                       \
         "",                                                                                       \
         "",                                                                                       \
         "file that holds its password; never the password itself"},                               \
        {"sink_" name "_token_file",                                                               \
         CONFIG_SECRET,                                                                            \
         "",                                                                                       \
         "",                                                                                       \
         "",                                                                                       \
         "file that holds a bearer token, instead of a user"},                                     \
        {"sink_" name "_ca_file",                                                                  \
         CONFIG_STRING,                                                                            \
         "",                                                                                       \
         "",                                                                                       \
         "4096",                                                                                   \
         "file of the CA that signed its certificate; empty: the system's"}

#define SINKS_CONFIG_ROWS                                                                          \
    {"runbook_url",                                                                                \
     CONFIG_URL,                                                                                   \
     "",                                                                                           \
     "",                                                                                           \
     "1000",                                                                                       \
     "address of the operators' runbook: each alert links to its entry there"},                    \
        {"sink_timeout_ms",                                                                        \
         CONFIG_UINT,                                                                              \
         "4000",                                                                                   \
         "100",                                                                                    \
         "8000",                                                                                   \
         "how long a request to a sink may take"},                                                 \
        SINKS_ROWS_OF("loki", "Loki, or what takes its push API, without the API's path"),         \
        {"sink_loki_path", CONFIG_STRING, "/loki/api/v1/push", "1", "200", "its push API"},        \
        {"sink_loki_tenant", CONFIG_STRING, "", "", "150", "X-Scope-OrgID, if it has tenants"},    \
        SINKS_ROWS_OF("grafana", "Grafana, for annotations"),                                      \
        SINKS_ROWS_OF("grafana_webhook", "what takes the JSON of Grafana's webhook notifier"),     \
        SINKS_ROWS_OF("alertmanager", "Alertmanager, without /api/v2"),                            \
        {"alertmanager_resend_s",                                                                  \
         CONFIG_UINT,                                                                              \
         "60",                                                                                     \
         "1",                                                                                      \
         "3600",                                                                                   \
         "a firing alert is told again so often; it ends four times that after the last"},         \
        SINKS_ROWS_OF("webhook", "what takes each alert as JSON"),                                 \
        SINKS_ROWS_OF("retrain", "Airflow, without /api, for retraining"),                         \
        {"sink_retrain_api",                                                                       \
         CONFIG_ENUM,                                                                              \
         "v2",                                                                                     \
         "",                                                                                       \
         "v1|v2",                                                                                  \
         "version of Airflow's API: v1 (Airflow 2) or v2 (Airflow 3)"},                            \
        {"sink_retrain_dag", CONFIG_STRING, "l2flow_retrain", "1", "200", "the DAG to run"},       \
        {"sink_retrain_sweep_file",                                                                \
         CONFIG_STRING,                                                                            \
         "",                                                                                       \
         "",                                                                                       \
         "4096",                                                                                   \
         "file of the sweep's configuration, a JSON object that goes with each request"},          \
        {"sink_retrain_age_h",                                                                     \
         CONFIG_UINT,                                                                              \
         "168",                                                                                    \
         "1",                                                                                      \
         "4320",                                                                                   \
         "an older request for a retraining is not made any more"}

/* What is counted, in the order of these ids behind the program's own; ends without a comma. */
enum sinks_metric {
    SINKS_CONFIGURED,
    SINKS_UP,
    SINKS_SENT,
    SINKS_RETRIES,
    SINKS_REFUSED,
    SINKS_SKIPPED,
    SINKS_OLDEST_SECONDS,
    SINKS_FIRING,
    SINKS_FIRING_LOST,
    SINKS_METRICS,
};
#define SINKS_METRIC_ROW(metric, what, text)                                                       \
    {.name = (metric), .kind = (what), .help = (text), .label = "sink", .values = sink_names}
#define SINKS_METRIC_ROWS                                                                          \
    SINKS_METRIC_ROW("l2flow_sink_configured", METRIC_GAUGE, "1 where the sink has an address"),   \
        SINKS_METRIC_ROW("l2flow_sink_up", METRIC_GAUGE,                                           \
                         "0 since an attempt to tell the sink failed, until one does not"),        \
        SINKS_METRIC_ROW("l2flow_sink_alerts_total", METRIC_COUNTER,                               \
                         "alerts that the sink has taken"),                                        \
        SINKS_METRIC_ROW("l2flow_sink_retries_total", METRIC_COUNTER,                              \
                         "attempts that failed and are repeated"),                                 \
        SINKS_METRIC_ROW("l2flow_sink_refused_total", METRIC_COUNTER,                              \
                         "alerts that the sink refused for good: they are in l2.dlq"),             \
        SINKS_METRIC_ROW("l2flow_sink_skipped_total", METRIC_COUNTER,                              \
                         "alerts that are none of this sink's: another one speaks for them, or "   \
                         "no retraining is asked for"),                                            \
        SINKS_METRIC_ROW("l2flow_sink_oldest_seconds", METRIC_GAUGE,                               \
                         "how old the oldest alert is that the sink has not taken; 0: none "       \
                         "waits"),                                                                 \
        {.name = "l2flow_sink_firing",                                                             \
         .kind = METRIC_GAUGE,                                                                     \
         .help = "alerts that are repeated to Alertmanager"},                                      \
        {.name = "l2flow_sink_firing_lost_total",                                                  \
         .kind = METRIC_COUNTER,                                                                   \
         .help =                                                                                   \
             "alerts that were told to Alertmanager and are not repeated, since too many fire"}

/* For the log: event is a fixed snake_case name, sink one of sink_names. Called from the sinks'
 * threads. level: syslog's. */
typedef void (*sinks_tell_fn)(void *user, int level, const char *event, const char *sink,
                              const char *text);

struct sinks_options {
    const struct config *config; /* with SINKS_CONFIG_ROWS; borrowed as long as the sinks live */
    const struct clk *clk;
    const struct bus_setting *kafka; /* borrowed likewise */
    unsigned kafka_n;
    const char *prefix; /* of topics and groups */
    const char *group; /* each sink's is <prefix><group>.<sink> */
    const char *instance; /* stable name of this replica */
    const struct codec_ids *ids; /* NULL: no schema registry; borrowed likewise */
    sinks_tell_fn tell;
    void *tell_user;
    bus_log_fn log;
    void *log_user;
};

struct sinks;

/* For --check-config: ERR_REJECT names the row and the remedy. In production (`L2_PROFILE`) an
 * address without TLS is refused, unless it is loopback's. Connects to nothing. */
enum err_class sinks_config_check(const struct config *config, struct err *err) MUST_CHECK;
/* Starts one thread for each sink that has an address; there may be none. ERR_REJECT as above,
 * ERR_RETRY: Kafka is out of reach. */
enum err_class sinks_new(const struct sinks_options *options, struct sinks **ret_sinks,
                         struct err *err) MUST_CHECK;
/* ERR_FATAL: one of them cannot go on (fenced, no memory, a right is missing): restart. */
enum err_class sinks_check(const struct sinks *sinks, struct err *err) MUST_CHECK;
void sinks_export(const struct sinks *sinks, struct metrics *metrics, unsigned first);
/* Requests under way end at once; what was not taken is not committed. NULL-safe. At most 5 s where
 * Kafka answers. */
void sinks_free(struct sinks *sinks);

#endif
