/* svc.h: the only real main. Options, configuration, clock, signals, health, metrics, exit codes. */
#ifndef SVC_H
#define SVC_H

#include "base/err.h"
#include "clk/clk.h"
#include "config/config.h"
#include "metrics/metrics.h"

#include <argp.h>
#include <stdbool.h>

struct svc;

struct svc_desc {
    const char *name;    /* "feature-producer" */
    const char *summary; /* what it does, for --help: a paragraph */
    const char *footer;  /* examples, for --help; may be NULL */
    const struct config_row *rows;  /* the service's; svc adds its own: log_level, listen, L2_PROFILE, L2_CLOCK */
    const struct metric_row *metrics;
    /* Extra options beside --config FILE --check-config --print-config --help --version; may be NULL. */
    const struct argp_option *options;
    error_t (*parse)(int key, char *arg, struct argp_state *state, void *options_state);
    void *options_state;
    /* true: run without the HTTP listener and Kafka (offline work); asked after options are parsed; may be NULL. */
    bool (*is_offline)(const void *options_state);
    /* Optional: everything that --check-config should refuse beyond the rows (cross-field rules). */
    enum err_class (*check)(const struct config *config, struct err *err);
    /* The whole service. Returns ERR_OK after a drain. Anything else is logged once, here, with err->text. */
    enum err_class (*run)(struct svc *svc, void *options_state, struct err *err);
};

/*
 * Exit codes: 0 drained; 64 usage; 66 input file missing or unreadable; 69 a server cannot be reached at start; 70 internal;
 * 75 temporary failure, restart me (fenced, fatal Kafka error); 78 configuration. ERR_REJECT before svc_ready is 78 unless
 * svc_exit_code set another.
 */
int svc_main(const struct svc_desc *desc, int argc, char **argv);

bool svc_stopping(const struct svc *svc); /* SIGTERM, SIGINT, or the rehearsal clock is over */
void svc_ready(struct svc *svc, bool ready); /* /readyz: 200 or 503 */
void svc_alive(struct svc *svc);             /* called once a loop: /healthz is 503 when the last call is over 30 s old */
void svc_exit_code(struct svc *svc, int code);
const struct config *svc_config(const struct svc *svc);
const struct clk *svc_clk(const struct svc *svc);
struct metrics *svc_metrics(struct svc *svc);
bool svc_is_production(const struct svc *svc);

#endif
