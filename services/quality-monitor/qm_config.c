#include "qm_service.h"

#include "alerts/sinks.h"
#include "connect/connect.h"
#include "l2/params.h"
#include "topics/topics.h"

const struct config_row qm_config_rows[] = {
    /* name                  type           default             min   max     help */
    CONNECT_TOPIC_PREFIX_ROW,
    CONNECT_REPLICA_ROW("quality-monitor-0",
                        "monitor: its transactional id, and its name in l2.heartbeat"),
    {"exchange", CONFIG_STRING, "binance-usdm", "1", "32", "whose cryptos are watched"},
    {"bar_seconds", CONFIG_UINT, "900", "60", "3600",
     "length of a bar: 60, 300, 900, 1800 or 3600, as the feature-producer has it"},
    {"purge_bars", CONFIG_UINT, "20", "0", "1000", "as the feature-producer has it"},
    {"schema_version", CONFIG_STRING, "l2_schema_v1", "1", "64",
     "of the bars and features that are watched; others are left out"},
    {"feature_set", CONFIG_ENUM, "standard", "", "min|standard|flow_only",
     "the columns of the L2 arms"},
    {"reference_file", CONFIG_STRING, "", "0", "4096",
     "l2_quality_reference.json of the model; empty: signals that need one have no data"},
    {"history_days", CONFIG_UINT, "92", "1", "180",
     "how far back the logs are folded at a start; the longest window has 90 days"},
    {"max_cryptos", CONFIG_UINT, "1024", "1", "8192", "further ones are counted, not watched"},
    {"hold_ms", CONFIG_UINT, "1200", "0", "60000",
     "a change of state waits so long for others to be told with it; freshness is looked at once a "
     "second"},
    {"sink_group", CONFIG_STRING, "quality-monitor", "1", "180",
     "consumer groups of the sinks: <topic_prefix><sink_group>.<sink>"},
    SINKS_CONFIG_ROWS,
    CONNECT_KAFKA_ROWS,
    CONNECT_REGISTRY_ROWS,
    {"listen", CONFIG_STRING, "127.0.0.1:9104", "3", "64",
     "address and port of /healthz, /readyz and /metrics; off: none"},
    {.name = NULL},
};

enum err_class qm_params_load(const struct config *config, struct l2_params *ret_params,
                              struct err *err)
{
    const char *version = config_string(config, "schema_version");
    struct l2_params params = l2_params_default();

    params.bar_s = (uint32_t)config_uint(config, "bar_seconds");
    params.purge_bars = (uint32_t)config_uint(config, "purge_bars");
    if (!l2_params_of_version(version, &params))
        return err_set(err, ERR_REJECT,
                       "schema_version: '%s' is none: what the feature-producer says as it starts, "
                       "l2_schema_v1 or l2_schema_v1+w3600, say",
                       version);
    if (l2_params_check(&params, err) != ERR_OK)
        return err->class;
    *ret_params = params;
    return ERR_OK;
}

enum err_class qm_config_check(const struct config *config, struct err *err)
{
    const struct topics_options topics = {.prefix = config_string(config, "topic_prefix"),
                                          .replication_factor = -1};
    static struct topics_table wanted; /* only whether there is one */
    struct l2_params params;
    struct connect_kafka kafka;
    struct http_client_options http;

    if (qm_params_load(config, &params, err) != ERR_OK)
        return err->class;
    if (connect_kafka_load(config, NULL, NULL, &kafka, err) != ERR_OK)
        return err->class;
    if (connect_registry_wanted(config) && connect_registry_load(config, &http, err) != ERR_OK)
        return err->class;
    if (sinks_config_check(config, err) != ERR_OK)
        return err->class;
    return topics_wanted(&topics, &wanted, err);
}
