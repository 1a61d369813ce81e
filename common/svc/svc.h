/* svc.h: the only real main. Options, configuration, clock, signals, health, metrics, exit codes.
 */
#ifndef SVC_H
#define SVC_H

#include "base/err.h"
#include "clk/clk.h"
#include "config/config.h"
#include "metrics/metrics.h"

#include <argp.h>
#include <stdbool.h>

#define SVC_STALE_S_MAX 30 /* /healthz: how long ago the last svc_alive may be */

struct svc;

struct svc_desc {
    const char *name;    /* "feature-producer" */
    const char *summary; /* what it does, for --help: a paragraph */
    const char *footer;  /* examples, for --help: lines of at most 78 columns; may be NULL */
    /* The service's; svc adds its own: log_level, listen, L2_PROFILE, L2_CLOCK, unless the service
     * has a row of that name (another port, say). */
    const struct config_row *rows;
    const struct metric_row
        *metrics; /* ids are row indices; svc adds its own behind; may be NULL */
    /* Extra options beside --config FILE --check-config --print-config --help --version, and the
     * parser that gets all keys which svc does not know, arguments too; both may be NULL. */
    const struct argp_option *options;
    error_t (*parse)(int key, char *arg, struct argp_state *state, void *options_state);
    void *options_state;
    /* true: run without the HTTP listener and Kafka (offline work); asked after options are parsed;
     * may be NULL. */
    bool (*is_offline)(const void *options_state);
    /* Optional: everything that --check-config should refuse beyond the rows (cross-field rules).
     * It is asked before every start too. */
    enum err_class (*check)(const struct config *config, struct err *err);
    /* The whole service. Returns ERR_OK after a drain. Anything else is logged once, here, with
     * err->text. */
    enum err_class (*run)(struct svc *svc, void *options_state, struct err *err);
};

/*
 * Exit codes: 0 drained; 64 usage; 66 input file missing or unreadable; 69 a server cannot be
 * reached at start; 70 internal; 75 temporary failure, restart me (fenced, fatal Kafka error); 78
 * configuration; 130 a second SIGTERM or SIGINT while draining.
 *
 * What `run` returns becomes: before svc_ready, ERR_REJECT 78, ERR_RETRY 69; after it, ERR_REJECT
 * 70, ERR_RETRY 75; ERR_FATAL 75 at any time; unless svc_exit_code set another. A listen address
 * that is in use is 75.
 *
 * --check-config prints "configuration ok", or one plain line to stderr and 78. --print-config
 * prints lines that --config reads back. --print-config-markdown and --print-metrics (/metrics as
 * it is before the start), hidden, are for the README. A running service says all it has to say as
 * log lines: started, rehearsal_clock, stopping, stopped, failed.
 */
int svc_main(const struct svc_desc *desc, int argc, char **argv);

/* For `run` and its threads, as long as `run` lasts. */
bool svc_stopping(const struct svc *svc); /* SIGTERM, SIGINT, or the rehearsal clock is over */
void svc_ready(struct svc *svc, bool ready); /* /readyz: 200 or 503; 503 while stopping too */
void svc_alive(struct svc *svc); /* called once a loop: /healthz is 503 without, after 30 s */
void svc_exit_code(struct svc *svc, int code); /* counts whatever `run` returns, ERR_OK too */
const struct config *svc_config(const struct svc *svc);
const struct clk *svc_clk(const struct svc *svc);
struct metrics *svc_metrics(struct svc *svc);
bool svc_is_production(const struct svc *svc);
/* A bus_log_fn: the Kafka client's lines, as events `kafka_client`. */
void svc_log_kafka(void *user, int level, const char *text);

#endif
