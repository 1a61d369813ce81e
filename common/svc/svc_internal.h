/* svc_internal.h: what the files of this folder share. */
#ifndef SVC_INTERNAL_H
#define SVC_INTERNAL_H

#include "svc/svc.h"

#include "http/http.h"

#include <stdatomic.h>

enum svc_mode {
    SVC_RUN,
    SVC_CHECK_CONFIG,
    SVC_PRINT_CONFIG,
    SVC_PRINT_CONFIG_MARKDOWN,
    SVC_PRINT_METRICS,
};

/* Metrics of every service, behind its own. */
enum svc_metric { SVC_READY, SVC_REHEARSAL_SPEED, SVC_VIRTUAL_TIME, SVC_METRICS };

struct svc {
    const struct svc_desc *desc;
    enum svc_mode mode;
    const char *config_file; /* NULL: none */
    struct config_row rows[CONFIG_ROWS_MAX + 1];
    struct metric_row metric_rows[METRICS_ROWS_MAX + 1];
    unsigned first_metric; /* id of SVC_READY */
    struct config *config;
    struct clk *clk;
    struct metrics *metrics;
    struct http_server *http;
    int exit_code; /* −1: not set */
    bool was_ready;
    _Atomic bool ready;
    _Atomic int64_t alive_us; /* monotonic */
};

/* svc_args.c: fills mode and config_file; ends the process on --help, --version and wrong usage. */
void svc_parse_args(struct svc *svc, int argc, char **argv);

/* svc_http.c: the rows of svc's own metrics, and the server of /healthz, /readyz and /metrics. */
void svc_add_metrics(struct svc *svc);
enum err_class svc_http_start(struct svc *svc, struct err *err) MUST_CHECK;

/* svc_signal.c */
void svc_signal_install(void);
int svc_signal_received(void); /* the first SIGTERM or SIGINT, 0 for none */

#endif
