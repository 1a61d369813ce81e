#include "ctl.h"

#include "connect/connect.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOOTSTRAP_DEFAULT "127.0.0.1:9092"

const struct config_row ctl_config_rows[] = {
    {"topic_prefix", CONFIG_STRING, "", "0", "64", "stands before every topic's name"},
    CONNECT_KAFKA_ROWS,
    CONNECT_PG_ROWS,
    CONNECT_REGISTRY_ROWS,
    {.name = NULL},
};
static_assert(sizeof ctl_config_rows / sizeof *ctl_config_rows <= CONFIG_ROWS_MAX,
              "config_load's bound");

enum { KEY_BOOTSTRAP = 'b', KEY_CONFIG = 'c', KEY_PREFIX = 'p' };

static const struct argp_option options[] = {
    {"bootstrap", KEY_BOOTSTRAP, "HOST:PORT", 0,
     "the cluster; default kafka.bootstrap.servers of the configuration, else " BOOTSTRAP_DEFAULT,
     10},
    {"config", KEY_CONFIG, "FILE", 0,
     "key = value lines: topic_prefix, kafka.KEY (handed to librdkafka), sasl_password_file, "
     "ssl_key_password_file; for tail schema_registry_url and what belongs to it. "
     "The environment goes first: L2_TOPIC_PREFIX, L2_KAFKA_BOOTSTRAP_SERVERS, ...",
     10},
    {"topic-prefix", KEY_PREFIX, "P", 0, "stands before every topic's name: eu. gives eu.l2.bars",
     10},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct ctl_cluster_options *const o = state->input;

    switch (key) {
    case KEY_BOOTSTRAP:
        o->bootstrap = arg;
        return 0;
    case KEY_CONFIG:
        o->config_file = arg;
        return 0;
    case KEY_PREFIX:
        o->prefix = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp ctl_cluster_argp = {.options = options, .parser = parse};

enum err_class ctl_cluster_open(const struct ctl_cluster_options *o,
                                struct ctl_cluster *ret_cluster, struct err *err)
{
    struct ctl_cluster c = {.config = NULL};

    enum err_class e = config_load(ctl_config_rows, o->config_file, &c.config, err);
    if (e == ERR_OK)
        e = connect_kafka_load(c.config, o->bootstrap, BOOTSTRAP_DEFAULT, &c.kafka, err);
    if (e != ERR_OK) {
        config_free(c.config);
        return e;
    }
    c.prefix = o->prefix != NULL ? o->prefix : config_string(c.config, "topic_prefix");
    *ret_cluster = c;
    return ERR_OK;
}

void ctl_cluster_close(struct ctl_cluster *cluster)
{
    config_free(cluster->config);
    *cluster = (struct ctl_cluster){0};
}

int ctl_fail(const struct err *err)
{
    fprintf(stderr, "l2ctl: %s\n", err->text);
    switch (err->class) {
    case ERR_OK:
        break;
    case ERR_RETRY:
        return CTL_UNAVAILABLE;
    case ERR_REJECT:
        return CTL_CONFIG;
    case ERR_FATAL:
        return CTL_INTERNAL;
    }
    return CTL_OK;
}

bool ctl_parse(const char *text, int64_t min, int64_t max, int64_t *ret)
{
    char *end;

    errno = 0;
    const long long v = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || v < min || v > max)
        return false;
    *ret = v;
    return true;
}
