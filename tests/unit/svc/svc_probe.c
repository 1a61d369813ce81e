/* svc_probe.c: the smallest service, run as a child by test_svc. */
#include "svc/svc.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_RETURN = 0x20000,
    KEY_EXIT_CODE,
    KEY_OFFLINE,
    KEY_UNREADY_AFTER,
    KEY_NEVER_READY,
    KEY_HANG,
    KEY_STALL
};

struct probe {
    const char *returns; /* "ok", "retry", "reject", "fatal": at once; NULL: work until stopped */
    bool never_ready;
    bool offline;
    bool stall; /* never calls svc_alive */
    bool hang;  /* goes on after svc_stopping, as a drain that gets stuck */
    int exit_code;
    uint64_t unready_after; /* turns of the loop; 0: never */
};

static const struct argp_option options[] = {
    {"return", KEY_RETURN, "CLASS", 0, "Return at once", 0},
    {"exit-code", KEY_EXIT_CODE, "N", 0, "Call svc_exit_code", 0},
    {"offline", KEY_OFFLINE, NULL, 0, "Do offline work", 0},
    {"unready-after", KEY_UNREADY_AFTER, "TURNS", 0, "Take readiness back", 0},
    {"never-ready", KEY_NEVER_READY, NULL, 0, "Never be ready", 0},
    {"stall", KEY_STALL, NULL, 0, "Never be alive", 0},
    {"hang", KEY_HANG, NULL, 0, "Do not drain", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse(int key, char *arg, struct argp_state *state, void *options_state)
{
    struct probe *probe = options_state;

    (void)state;
    switch (key) {
    case KEY_RETURN:
        probe->returns = arg;
        return 0;
    case KEY_EXIT_CODE:
        probe->exit_code = (int)strtol(arg, NULL, 10);
        return 0;
    case KEY_OFFLINE:
        probe->offline = true;
        return 0;
    case KEY_UNREADY_AFTER:
        probe->unready_after = strtoul(arg, NULL, 10);
        return 0;
    case KEY_NEVER_READY:
        probe->never_ready = true;
        return 0;
    case KEY_STALL:
        probe->stall = true;
        return 0;
    case KEY_HANG:
        probe->hang = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static bool is_offline(const void *options_state)
{
    const struct probe *probe = options_state;

    return probe->offline;
}

static const struct config_row rows[] = {
    {"period_ms", CONFIG_UINT, "20", "1", "1000", "length of one turn of the loop"},
    {"low", CONFIG_UINT, "1", "0", "100", "must not exceed high"},
    {"high", CONFIG_UINT, "10", "0", "100", "must not be below low"},
    {"token_file", CONFIG_SECRET, "", "", "", "file that holds the token"},
    {"kafka.", CONFIG_PREFIX, "", "", "", "passed to the client library"},
    {NULL, CONFIG_UINT, NULL, NULL, NULL, NULL},
};

enum { TURNS };

static const struct metric_row metrics[] = {
    {"probe_turns_total", METRIC_COUNTER, "Turns of the loop.", NULL, NULL, NULL},
    {NULL, METRIC_COUNTER, NULL, NULL, NULL, NULL},
};

static enum err_class check(const struct config *config, struct err *err)
{
    if (config_uint(config, "low") > config_uint(config, "high"))
        return err_set(err, ERR_REJECT, "low: is above high: lower it");
    return ERR_OK;
}

static enum err_class returned(const char *name, struct err *err)
{
    if (strcmp(name, "retry") == 0)
        return err_set(err, ERR_RETRY, "probe: told to retry: do");
    if (strcmp(name, "reject") == 0)
        return err_set(err, ERR_REJECT, "probe: told to reject: do");
    if (strcmp(name, "fatal") == 0)
        return err_set(err, ERR_FATAL, "probe: told to fail: do");
    return ERR_OK;
}

static enum err_class run(struct svc *svc, void *options_state, struct err *err)
{
    const struct probe *probe = options_state;
    const int period_ms = (int)config_uint(svc_config(svc), "period_ms");

    if (!probe->never_ready)
        svc_ready(svc, true);
    if (probe->exit_code >= 0)
        svc_exit_code(svc, probe->exit_code);
    if (probe->returns != NULL)
        return returned(probe->returns, err);
    for (uint64_t turn = 0; !svc_stopping(svc) || probe->hang; turn++) {
        if (!probe->stall)
            svc_alive(svc);
        metrics_add(svc_metrics(svc), TURNS, 0, 1);
        if (probe->unready_after != 0 && turn == probe->unready_after)
            svc_ready(svc, false);
        (void)poll(NULL, 0, period_ms);
    }
    return ERR_OK;
}

int main(int argc, char **argv)
{
    struct probe probe = {.exit_code = -1};
    const struct svc_desc desc = {
        .name = "svc-probe",
        .summary = "Turns a loop and counts.",
        .footer = "Examples:\n  svc-probe --config probe.conf\n",
        .rows = rows,
        .metrics = metrics,
        .options = options,
        .parse = parse,
        .options_state = &probe,
        .is_offline = is_offline,
        .check = check,
        .run = run,
    };

    return svc_main(&desc, argc, argv);
}
