#include "svc/svc_internal.h"

#include "log/log.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static const struct config_row own_rows[] = {
    {"listen", CONFIG_STRING, "127.0.0.1:9101", "3", "64",
     "address and port of /healthz, /readyz and /metrics; off: none"},
    {"log_level", CONFIG_ENUM, "info", "", "debug|info|warn|error",
     "least level of the JSON log lines on stderr"},
    {"L2_PROFILE", CONFIG_ENUM, "development", "", "development|production",
     "production refuses what only tests and rehearsals may do"},
    {"L2_CLOCK", CONFIG_STRING, "", "0", "120",
     "rehearsal clock: <real start>/<virtual start>/<speed, at most 1000>, starts as Unix seconds "
     "or RFC 3339 in UTC; empty: the wall clock"},
};

static bool has_row(const struct config_row *rows, const char *name)
{
    for (; rows->name != NULL; rows++)
        if (strcmp(rows->name, name) == 0)
            return true;
    return false;
}

static void add_rows(struct svc *svc)
{
    const unsigned n_own = sizeof own_rows / sizeof own_rows[0];
    unsigned n = 0;

    for (const struct config_row *row = svc->desc->rows; row != NULL && row->name != NULL; row++) {
        assert(n < CONFIG_ROWS_MAX - n_own);
        svc->rows[n++] = *row;
    }
    for (unsigned i = 0; i < n_own; i++)
        if (!has_row(svc->rows, own_rows[i].name))
            svc->rows[n++] = own_rows[i];
}

static bool is_offline(const struct svc *svc)
{
    return svc->desc->is_offline != NULL && svc->desc->is_offline(svc->desc->options_state);
}

static bool wants_http(const struct svc *svc)
{
    return !is_offline(svc) && strcmp(config_string(svc->config, "listen"), "off") != 0;
}

/* All that can be refused without starting anything. */
static enum err_class configure(struct svc *svc, struct err *err)
{
    enum err_class e = config_load(svc->rows, svc->config_file, &svc->config, err);

    if (e != ERR_OK)
        return e;
    const char *clock = config_string(svc->config, "L2_CLOCK");

    if (svc_is_production(svc) && *clock != '\0')
        return err_set(
            err, ERR_REJECT,
            "L2_CLOCK = '%s': a rehearsal clock is refused with L2_PROFILE = production: "
            "unset L2_CLOCK",
            clock);
    e = clk_new(clock, &svc->clk, err);
    if (e == ERR_OK && wants_http(svc))
        e = http_address_check(config_string(svc->config, "listen"), err);
    if (e == ERR_OK && svc->desc->check != NULL)
        e = svc->desc->check(svc->config, err);
    return e;
}

static enum log_level log_level_of(const struct config *config)
{
    static const char *const names[] = {
        [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error"};
    const char *name = config_string(config, "log_level");
    int level = LOG_ERROR;

    while (level > LOG_DEBUG && strcmp(names[level], name) != 0)
        level--;
    return (enum log_level)level;
}

static void log_started(const struct svc *svc)
{
    char clock[CLK_DESCRIBE_BYTES];

    (void)clk_describe(svc->clk, clock, sizeof clock);
    log_event(LOG_INFO, "started", "version", LOG_STR, L2FLOW_VERSION, "config", LOG_STR,
              svc->config_file != NULL ? svc->config_file : "defaults and environment", "profile",
              LOG_STR, config_string(svc->config, "L2_PROFILE"), "clock", LOG_STR, clock, "port",
              LOG_INT, (int64_t)(svc->http != NULL ? http_server_port(svc->http) : 0), NULL);
    if (clk_is_rehearsal(svc->clk))
        log_event(LOG_WARN, "rehearsal_clock", "clock", LOG_STR, clock, "speed", LOG_DOUBLE,
                  clk_speed(svc->clk), "text", LOG_STR, "this is a rehearsal: times are not real",
                  NULL);
}

static int exit_code_of(const struct svc *svc, enum err_class class)
{
    if (svc->exit_code >= 0)
        return svc->exit_code;
    switch (class) {
    case ERR_OK:
        return EX_OK;
    case ERR_REJECT:
        return svc->was_ready ? EX_SOFTWARE : EX_CONFIG;
    case ERR_RETRY:
        return svc->was_ready ? EX_TEMPFAIL : EX_UNAVAILABLE;
    case ERR_FATAL:
        return EX_TEMPFAIL;
    }
    return EX_SOFTWARE;
}

static int log_failed(const struct err *err, int code)
{
    static const char *const classes[] = {"ok", "retry", "reject", "fatal"};

    log_event(LOG_ERROR, "failed", "error", LOG_STR, err->text, "class", LOG_STR,
              classes[err->class], "exit_code", LOG_INT, (int64_t)code, NULL);
    return code;
}

static int run(struct svc *svc)
{
    struct err err = {0};
    enum err_class e;

    svc_signal_install();
    svc->metrics = metrics_new(svc->metric_rows);
    svc_alive(svc);
    if (wants_http(svc)) {
        e = svc_http_start(svc, &err);
        if (e != ERR_OK)
            return log_failed(&err, e == ERR_REJECT ? EX_CONFIG : EX_TEMPFAIL);
    }
    log_started(svc);
    e = svc->desc->run(svc, svc->desc->options_state, &err);
    svc_ready(svc, false);
    const int code = exit_code_of(svc, e);

    if (e != ERR_OK)
        return log_failed(&err, code);
    log_event(LOG_INFO, "stopped", "exit_code", LOG_INT, (int64_t)code, NULL);
    return code;
}

static int act(struct svc *svc)
{
    struct err err = {0};

    if (svc->mode == SVC_PRINT_CONFIG_MARKDOWN) {
        config_markdown(svc->rows, stdout);
        return EX_OK;
    }
    if (svc->mode == SVC_PRINT_METRICS) {
        svc->metrics = metrics_new(svc->metric_rows);
        metrics_write(svc->metrics, stdout);
        return EX_OK;
    }
    const enum err_class e = configure(svc, &err);

    log_init(svc->desc->name, svc->config != NULL ? log_level_of(svc->config) : LOG_INFO);
    if (e != ERR_OK) {
        const int code = e == ERR_REJECT ? EX_CONFIG : EX_TEMPFAIL;

        if (svc->mode == SVC_RUN)
            return log_failed(&err, code);
        fprintf(stderr, "%s: %s\n", svc->desc->name, err.text);
        return code;
    }
    switch (svc->mode) {
    case SVC_CHECK_CONFIG:
        puts("configuration ok");
        return EX_OK;
    case SVC_PRINT_CONFIG:
        config_print(svc->config, stdout);
        return EX_OK;
    default:
        return run(svc);
    }
}

int svc_main(const struct svc_desc *desc, int argc, char **argv)
{
    struct svc *svc = calloc(1, sizeof *svc);

    assert(svc != NULL && desc->run != NULL);
    svc->desc = desc;
    svc->exit_code = -1;
    add_rows(svc);
    svc_add_metrics(svc);
    svc_parse_args(svc, argc, argv);
    int code = act(svc);

    if (fflush(stdout) != 0 && code == EX_OK)
        code = EX_IOERR;
    http_server_free(svc->http);
    metrics_free(svc->metrics);
    clk_free(svc->clk);
    config_free(svc->config);
    free(svc);
    return code;
}

bool svc_stopping(const struct svc *svc)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;
    const int number = svc_signal_received();

    if (number == 0 && !clk_is_over(svc->clk))
        return false;
    if (!atomic_flag_test_and_set(&said))
        log_event(LOG_INFO, "stopping", "reason", LOG_STR,
                  number == SIGTERM ? "SIGTERM"
                  : number != 0     ? "SIGINT"
                                    : "the rehearsal is over: its virtual time has reached its "
                                      "real start",
                  NULL);
    return true;
}

void svc_ready(struct svc *svc, bool ready)
{
    svc->was_ready = svc->was_ready || ready;
    atomic_store_explicit(&svc->ready, ready, memory_order_relaxed);
}

void svc_alive(struct svc *svc)
{
    atomic_store_explicit(&svc->alive_us, clk_mono_us(), memory_order_relaxed);
}

void svc_exit_code(struct svc *svc, int code)
{
    svc->exit_code = code;
}

const struct config *svc_config(const struct svc *svc)
{
    return svc->config;
}

const struct clk *svc_clk(const struct svc *svc)
{
    return svc->clk;
}

struct metrics *svc_metrics(struct svc *svc)
{
    return svc->metrics;
}

void svc_log_kafka(void *user, int level, const char *text)
{
    (void)user;
    log_event(level <= 3   ? LOG_ERROR
              : level <= 5 ? LOG_WARN
                           : LOG_INFO,
              "kafka_client", "text", LOG_STR, text, NULL);
}

bool svc_is_production(const struct svc *svc)
{
    return strcmp(config_string(svc->config, "L2_PROFILE"), "production") == 0;
}
