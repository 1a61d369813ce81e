/* The sinks and nothing else, as a service: what the tests of delivery start, kill and ask. */
#include "alerts/sinks.h"
#include "connect/connect.h"
#include "log/log.h"
#include "svc/svc.h"
#include "topics/topics.h"

#include <time.h>

#define LOOP_NS 20000000
#define TOPICS_CHECK_MS 10000

static const struct config_row rows[] = {
    {"topic_prefix", CONFIG_STRING, "", "0", "64", "goes before every topic's name"},
    {"group_id", CONFIG_STRING, "sinks", "1", "200", "each sink's group begins with it"},
    {"replica", CONFIG_STRING, "sinks-0", "1", "200", "stable name of this replica"},
    CONNECT_KAFKA_ROWS,
    CONNECT_REGISTRY_ROWS,
    SINKS_CONFIG_ROWS,
    {.name = NULL},
};

static const struct metric_row metric_rows[] = {SINKS_METRIC_ROWS, {.name = NULL}};

static enum err_class check(const struct config *config, struct err *err)
{
    return sinks_config_check(config, err);
}

static void on_tell(void *user, int level, const char *event, const char *sink, const char *text)
{
    (void)user;
    log_event(level <= 3   ? LOG_ERROR
              : level <= 4 ? LOG_WARN
                           : LOG_INFO,
              event, "sink", LOG_STR, sink, "text", LOG_STR, text, NULL);
}

static void on_log(void *user, int level, const char *text)
{
    (void)user;
    (void)level;
    log_event(LOG_INFO, "kafka_client", "text", LOG_STR, text, NULL);
}

static enum err_class serve(struct svc *svc, struct sinks *sinks, struct err *err)
{
    const struct timespec pause = {.tv_nsec = LOOP_NS};

    svc_ready(svc, true);
    while (!svc_stopping(svc)) {
        svc_alive(svc);
        sinks_export(sinks, svc_metrics(svc), 0);
        if (sinks_check(sinks, err) != ERR_OK)
            return err->class;
        (void)nanosleep(&pause, NULL);
    }
    return ERR_OK;
}

static enum err_class run(struct svc *svc, void *state, struct err *err)
{
    static const enum topics_id used[] = {TOPICS_ALERTS, TOPICS_DLQ};
    const struct config *config = svc_config(svc);
    const struct topics_options topics = {.prefix = config_string(config, "topic_prefix"),
                                          .replication_factor = -1};
    struct codec_registry *registry = NULL;
    struct sinks *sinks = NULL;
    struct connect_kafka kafka;

    (void)state;
    if (connect_kafka_load(config, NULL, NULL, &kafka, err) != ERR_OK ||
        topics_check(kafka.v, kafka.n, &topics, used, 2, TOPICS_CHECK_MS, err) != ERR_OK ||
        (connect_registry_wanted(config) &&
         connect_registry_open(config, &registry, err) != ERR_OK))
        return err->class;
    const struct codec_ids ids = connect_registry_ids(registry);
    const struct sinks_options options = {
        .config = config,
        .clk = svc_clk(svc),
        .kafka = kafka.v,
        .kafka_n = kafka.n,
        .prefix = topics.prefix,
        .group = config_string(config, "group_id"),
        .instance = config_string(config, "replica"),
        .ids = &ids,
        .tell = on_tell,
        .log = on_log,
    };
    enum err_class e = sinks_new(&options, &sinks, err);
    if (e == ERR_OK)
        e = serve(svc, sinks, err);
    sinks_free(sinks);
    codec_registry_free(registry);
    return e;
}

static const struct svc_desc probe = {
    .name = "sinks_probe",
    .summary = "Delivers l2.alerts to the sinks of its configuration.",
    .rows = rows,
    .metrics = metric_rows,
    .check = check,
    .run = run,
};

int main(int argc, char **argv)
{
    return svc_main(&probe, argc, argv);
}
