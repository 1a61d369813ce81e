/* What is configured, checked and started; what is counted. */
#include "alerts/sinks.h"

#include "alerts/sink_thread.h"
#include "topics/topics.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES_MAX 300
#define SETTINGS_MAX 128

struct sinks {
    struct sinks_options options;
    struct bus_setting kafka[SETTINGS_MAX];
    char dlq_bytes_max[16];
    char topic[NAME_BYTES_MAX], dlq[NAME_BYTES_MAX];
    char *sweep;
    atomic_bool stop;
    struct sink_thread *threads[SINK_KINDS]; /* NULL: not configured */
};

/* ---- configuration ---- */

static const char *row(enum sink_kind kind, const char *field, char *buf, size_t size)
{
    (void)snprintf(buf, size, "sink_%s_%s", sink_names[kind], field);
    return buf;
}

static const char *text_of(const struct config *config, enum sink_kind kind, const char *field)
{
    char name[CONFIG_KEY_BYTES_MAX];

    return config_string(config, row(kind, field, name, sizeof name));
}

static const char *secret_of(const struct config *config, enum sink_kind kind, const char *field)
{
    char name[CONFIG_KEY_BYTES_MAX];

    return config_secret(config, row(kind, field, name, sizeof name));
}

static bool is_configured(const struct config *config, enum sink_kind kind)
{
    return text_of(config, kind, "url")[0] != '\0';
}

static bool is_production(const struct config *config)
{
    return config_has(config, "L2_PROFILE") &&
           strcmp(config_string(config, "L2_PROFILE"), "production") == 0;
}

static bool is_v1(const struct config *config)
{
    return strcmp(config_string(config, "sink_retrain_api"), "v1") == 0;
}

static enum err_class load_http(const struct config *config, enum sink_kind kind,
                                struct http_client_options *ret_http, struct err *err)
{
    char name[CONFIG_KEY_BYTES_MAX];
    const struct http_client_options http = {
        .base_url = text_of(config, kind, "url"),
        .user = text_of(config, kind, "user"),
        .password = secret_of(config, kind, "password_file"),
        .bearer = secret_of(config, kind, "token_file"),
        .ca_file = text_of(config, kind, "ca_file"),
        .deadline_ms = (unsigned)config_uint(config, "sink_timeout_ms"),
        .answer_bytes_max = 65536,
    };

    if (http.user[0] == '\0' && http.password[0] != '\0')
        return err_set(err, ERR_REJECT, "%s: not set: the password is sent with it",
                       row(kind, "user", name, sizeof name));
    if (http.user[0] != '\0' && http.bearer[0] != '\0')
        return err_set(err, ERR_REJECT, "%s: set beside a token: give one of them",
                       row(kind, "user", name, sizeof name));
    if (strncmp(http.base_url, "https://", 8) != 0 && !http_is_loopback(http.base_url) &&
        is_production(config))
        return err_set(err, ERR_REJECT,
                       "%s: %.100s: not encrypted, refused in production: give an https:// "
                       "address",
                       row(kind, "url", name, sizeof name), http.base_url);
    if (http_client_check(&http, err) != ERR_OK)
        return err_set(err, err->class, "%s: %.180s", row(kind, "url", name, sizeof name),
                       err->text);
    *ret_http = http;
    return ERR_OK;
}

static bool is_printable(const char *text)
{
    while (*text > ' ' && *text <= '~')
        text++;
    return *text == '\0';
}

/* The sweep's configuration, as it stands in its file; the caller frees it. */
static enum err_class load_sweep(const char *path, char **ret_text, struct err *err)
{
    json_error_t why;
    FILE *in = fopen(path, "rb");
    char *text = in != NULL ? calloc(1, SINKS_SWEEP_BYTES_MAX + 2) : NULL;
    const size_t n = text != NULL ? fread(text, 1, SINKS_SWEEP_BYTES_MAX + 1, in) : 0;
    const bool is_read = text != NULL && ferror(in) == 0;

    if (in != NULL)
        (void)fclose(in);
    if (!is_read || n > SINKS_SWEEP_BYTES_MAX) {
        free(text);
        return err_set(err, ERR_REJECT, "sink_retrain_sweep_file: %.100s: %s", path,
                       is_read ? "more than 65,536 bytes" : "cannot be read: check the path");
    }
    json_t *object = json_loadb(text, n, 0, &why);
    const bool is_object = json_is_object(object);
    json_decref(object);
    if (!is_object) {
        free(text);
        return err_set(err, ERR_REJECT, "sink_retrain_sweep_file: %.100s: no JSON object (%.60s)",
                       path, object == NULL ? why.text : "another value");
    }
    *ret_text = text;
    return ERR_OK;
}

static enum err_class check_rows(const struct config *config, struct err *err)
{
    char dag[SINK_PATH_BYTES_MAX / 2];
    char *sweep = NULL;

    if (config_string(config, "sink_loki_path")[0] != '/' ||
        !is_printable(config_string(config, "sink_loki_path")))
        return err_set(err, ERR_REJECT, "sink_loki_path: no path: it begins with /");
    if (!is_printable(config_string(config, "sink_loki_tenant")))
        return err_set(err, ERR_REJECT, "sink_loki_tenant: a header cannot hold it");
    if (!http_escape(config_string(config, "sink_retrain_dag"), dag, sizeof dag))
        return err_set(err, ERR_REJECT, "sink_retrain_dag: too long for an address");
    if (config_string(config, "sink_retrain_sweep_file")[0] != '\0' &&
        load_sweep(config_string(config, "sink_retrain_sweep_file"), &sweep, err) != ERR_OK)
        return err->class;
    free(sweep);
    return ERR_OK;
}

enum err_class sinks_config_check(const struct config *config, struct err *err)
{
    struct http_client_options http;

    for (unsigned k = 0; k < SINK_KINDS; k++)
        if (is_configured(config, (enum sink_kind)k) &&
            load_http(config, (enum sink_kind)k, &http, err) != ERR_OK)
            return err->class;
    return check_rows(config, err);
}

/* ---- start and end ---- */

static struct sink_style style_of(const struct sinks *s, enum sink_kind kind)
{
    const struct config *config = s->options.config;

    return (struct sink_style){
        .kind = kind,
        .runbook_url = config_string(config, "runbook_url"),
        .deployment = s->options.prefix,
        .clk = s->options.clk,
        .path = config_string(config, "sink_loki_path"),
        .tenant = config_string(config, "sink_loki_tenant"),
        .resend_s = (unsigned)config_uint(config, "alertmanager_resend_s"),
        .is_v1 = is_v1(config),
        .dag = config_string(config, "sink_retrain_dag"),
        .sweep = s->sweep != NULL ? s->sweep : "",
        .age_us_max = (int64_t)config_uint(config, "sink_retrain_age_h") * 3600 * CLK_US_PER_S,
    };
}

static enum err_class start(struct sinks *s, enum sink_kind kind, struct err *err)
{
    const struct config *config = s->options.config;
    struct http_client_options http;
    struct sink_thread *t = s->threads[kind] = calloc(1, sizeof *t);

    if (t == NULL)
        return err_set(err, ERR_FATAL, "sinks: out of memory");
    if (load_http(config, kind, &http, err) != ERR_OK)
        return err->class;
    t->style = style_of(s, kind);
    t->options = &s->options;
    t->kafka = s->kafka;
    t->kafka_n = s->options.kafka_n + 1;
    t->topic = s->topic;
    t->dlq = s->dlq;
    t->stop = &s->stop;
    t->login_user = t->login_password = "";
    if (kind == SINK_RETRAIN && !t->style.is_v1) { /* Airflow 3 gives a token for them */
        t->login_user = http.user;
        t->login_password = http.password;
        http.user = http.password = "";
    }
    (void)snprintf(t->group, sizeof t->group, "%s%s.%s", s->options.prefix, s->options.group,
                   sink_names[kind]);
    if (http_client_new(&http, &t->http, err) != ERR_OK)
        return err->class;
    return sink_thread_start(t, err);
}

static enum err_class fill(struct sinks *s, const struct sinks_options *options, struct err *err)
{
    const char *sweep = config_string(options->config, "sink_retrain_sweep_file");

    s->options = *options;
    atomic_init(&s->stop, false);
    if (options->kafka_n >= SETTINGS_MAX)
        return err_set(err, ERR_REJECT, "sinks: more than %d Kafka settings", SETTINGS_MAX - 1);
    if (options->kafka_n > 0)
        memcpy(s->kafka, options->kafka, options->kafka_n * sizeof s->kafka[0]);
    (void)snprintf(s->dlq_bytes_max, sizeof s->dlq_bytes_max, "%d", TOPICS_DLQ_MESSAGE_BYTES_MAX);
    s->kafka[options->kafka_n] = (struct bus_setting){"message.max.bytes", s->dlq_bytes_max};
    (void)snprintf(s->topic, sizeof s->topic, "%s%s", options->prefix, topics_name(TOPICS_ALERTS));
    (void)snprintf(s->dlq, sizeof s->dlq, "%s%s", options->prefix, topics_name(TOPICS_DLQ));
    return sweep[0] != '\0' ? load_sweep(sweep, &s->sweep, err) : ERR_OK;
}

enum err_class sinks_new(const struct sinks_options *options, struct sinks **ret_sinks,
                         struct err *err)
{
    struct sinks *s = calloc(1, sizeof *s);

    if (s == NULL)
        return err_set(err, ERR_FATAL, "sinks: out of memory");
    enum err_class e = fill(s, options, err);
    if (e == ERR_OK)
        e = sinks_config_check(options->config, err);
    for (unsigned k = 0; e == ERR_OK && k < SINK_KINDS; k++)
        if (is_configured(options->config, (enum sink_kind)k))
            e = start(s, (enum sink_kind)k, err);
    if (e != ERR_OK) {
        sinks_free(s);
        return e;
    }
    *ret_sinks = s;
    return ERR_OK;
}

void sinks_free(struct sinks *s)
{
    if (s == NULL)
        return;
    atomic_store(&s->stop, true);
    for (unsigned k = 0; k < SINK_KINDS; k++)
        if (s->threads[k] != NULL && s->threads[k]->http != NULL)
            http_client_cancel(s->threads[k]->http);
    for (unsigned k = 0; k < SINK_KINDS; k++)
        sink_thread_free(s->threads[k]);
    free(s->sweep);
    free(s);
}

enum err_class sinks_check(const struct sinks *s, struct err *err)
{
    for (unsigned k = 0; k < SINK_KINDS; k++) {
        const struct sink_thread *t = s->threads[k];
        if (t != NULL && atomic_load(&t->failed))
            return err_set(err, ERR_FATAL, "sink %s: %.200s", sink_names[k], t->err.text);
    }
    return ERR_OK;
}

/* ---- metrics ---- */

static void count_to(struct metrics *metrics, unsigned id, unsigned which, uint64_t total)
{
    metrics_add(metrics, id, which, total - metrics_count(metrics, id, which));
}

static void export_one(const struct sinks *s, const struct sink_thread *t, unsigned which,
                       struct metrics *metrics, unsigned first)
{
    const int64_t oldest_us = atomic_load(&t->oldest_us);
    const int64_t age_us = clk_real_us(s->options.clk) - oldest_us;

    metrics_set(metrics, first + SINKS_CONFIGURED, which, 1);
    metrics_set(metrics, first + SINKS_UP, which, atomic_load(&t->up));
    count_to(metrics, first + SINKS_SENT, which, atomic_load(&t->sent));
    count_to(metrics, first + SINKS_RETRIES, which, atomic_load(&t->retries));
    count_to(metrics, first + SINKS_REFUSED, which, atomic_load(&t->refused));
    count_to(metrics, first + SINKS_SKIPPED, which, atomic_load(&t->skipped));
    metrics_set(metrics, first + SINKS_OLDEST_SECONDS, which,
                oldest_us > 0 && age_us > 0 ? (double)age_us / 1e6 : 0);
    if (t->style.kind != SINK_ALERTMANAGER)
        return;
    metrics_set(metrics, first + SINKS_FIRING, 0, (double)atomic_load(&t->firing_n));
    count_to(metrics, first + SINKS_FIRING_LOST, 0, atomic_load(&t->firing_lost));
}

void sinks_export(const struct sinks *s, struct metrics *metrics, unsigned first)
{
    for (unsigned k = 0; k < SINK_KINDS; k++)
        if (s->threads[k] != NULL)
            export_one(s, s->threads[k], k, metrics, first);
}
