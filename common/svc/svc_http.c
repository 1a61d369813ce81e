#include "svc/svc_internal.h"

#include <assert.h>
#include <string.h>

static const struct metric_row own_metrics[] = {
    [SVC_READY] = {"l2flow_ready", METRIC_GAUGE, "1 while /readyz answers 200.", NULL, NULL, NULL},
    [SVC_REHEARSAL_SPEED] = {"l2flow_rehearsal_speed", METRIC_GAUGE,
                             "Speed of the rehearsal clock; 0 on the wall clock.", NULL, NULL,
                             NULL},
    [SVC_VIRTUAL_TIME] = {"l2flow_virtual_time_seconds", METRIC_GAUGE,
                          "Unix time that the service lives in; the real one on the wall clock.",
                          NULL, NULL, NULL},
};

static_assert(sizeof own_metrics / sizeof own_metrics[0] == SVC_METRICS, "a row for each");

void svc_add_metrics(struct svc *svc)
{
    unsigned n = 0;

    for (const struct metric_row *row = svc->desc->metrics; row != NULL && row->name != NULL;
         row++) {
        assert(n < METRICS_ROWS_MAX - SVC_METRICS);
        svc->metric_rows[n++] = *row;
    }
    svc->first_metric = n;
    memcpy(&svc->metric_rows[n], own_metrics, sizeof own_metrics);
}

static bool is_ready(const struct svc *svc)
{
    return atomic_load_explicit(&svc->ready, memory_order_relaxed) && svc_signal_received() == 0 &&
           !clk_is_over(svc->clk);
}

static unsigned get_healthz(void *user, FILE *out)
{
    const struct svc *svc = user;
    const int64_t alive_us = atomic_load_explicit(&svc->alive_us, memory_order_relaxed);
    const int64_t silent_s = (clk_mono_us() - alive_us) / CLK_US_PER_S;

    if (silent_s <= SVC_STALE_S_MAX) {
        fputs("ok\n", out);
        return 200;
    }
    fprintf(out, "the loop has not turned for %lld s, %d allowed\n", (long long)silent_s,
            SVC_STALE_S_MAX);
    return 503;
}

static unsigned get_readyz(void *user, FILE *out)
{
    const struct svc *svc = user;

    if (is_ready(svc)) {
        fputs("ready\n", out);
        return 200;
    }
    fputs(svc_signal_received() != 0 || clk_is_over(svc->clk) ? "stopping\n" : "not ready\n", out);
    return 503;
}

static unsigned get_metrics(void *user, FILE *out)
{
    struct svc *svc = user;
    const double virtual_s = (double)clk_now_us(svc->clk) / (double)CLK_US_PER_S;

    metrics_set(svc->metrics, svc->first_metric + SVC_READY, 0, is_ready(svc) ? 1 : 0);
    metrics_set(svc->metrics, svc->first_metric + SVC_REHEARSAL_SPEED, 0,
                clk_is_rehearsal(svc->clk) ? clk_speed(svc->clk) : 0);
    metrics_set(svc->metrics, svc->first_metric + SVC_VIRTUAL_TIME, 0, virtual_s);
    metrics_write(svc->metrics, out);
    return 200;
}

enum err_class svc_http_start(struct svc *svc, struct err *err)
{
    static const char text[] = "text/plain; charset=utf-8";
    static struct http_route routes[] = {
        {"/healthz", text, get_healthz, NULL},
        {"/readyz", text, get_readyz, NULL},
        {"/metrics", "text/plain; version=0.0.4; charset=utf-8", get_metrics, NULL},
        {NULL, NULL, NULL, NULL},
    };

    for (struct http_route *route = routes; route->path != NULL; route++)
        route->user = svc;
    return http_server_new(config_string(svc->config, "listen"), routes, &svc->http, err);
}
