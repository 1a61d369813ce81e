/* The producer's configuration: rows, what lies between them, and the options of --offline. */
#include "fp_service.h"

#include "topics/topics.h"

#include <stdlib.h>
#include <string.h>

#define SCAN_REAL_US (200 * INT64_C(1000)) /* how often silent symbols are looked for */

struct fp_options fp_options;

const struct config_row fp_config_rows[] = {
    /* name                  type           default             min   max     help */
    {"exchange", CONFIG_STRING, "", "0", "32",
     "the exchange whose snapshots these are; another's are dead letters; required"},
    CONNECT_TOPIC_PREFIX_ROW,
    {"feed_partitioner", CONFIG_ENUM, "murmur2", "", "murmur2|crc32|none",
     "how the feed chooses a key's partition: murmur2 as Java clients, crc32 as librdkafka's "
     "default; a key found elsewhere is a dead letter; none: not checked"},
    CONNECT_GROUP_ROW("feature-producer"),
    CONNECT_REPLICA_ROW("feature-producer-0",
                        "replica: its group.instance.id, and with the topic prefix its "
                        "transactional.id"),
    {"bar_seconds", CONFIG_UINT, "900", "60", "3600",
     "length of a bar: 60, 300, 900, 1800 or 3600"},
    {"window_seconds", CONFIG_UINT, "900", "60", "3600",
     "window of ofi_15m and kyle_lambda, a multiple of 60"},
    {"sample_seconds", CONFIG_UINT, "1", "1", "60", "kyle_lambda's sampling, a divisor of 60"},
    {"max_gap_seconds", CONFIG_UINT, "5", "1", "60",
     "a longer time between two snapshots is a gap"},
    {"max_book_age_seconds", CONFIG_UINT, "60", "1", "3600",
     "an older snapshot says nothing of the book at a bar's end"},
    {"coverage_percent", CONFIG_UINT, "95", "1", "100",
     "windowed columns are null below this share outside gaps"},
    {"samples_min", CONFIG_UINT, "30", "2", "3600", "kyle_lambda is null with fewer samples"},
    {"CVN_L2_PURGE_BARS", CONFIG_UINT, "20", "0", "1000",
     "rows by which every L2 column is shifted; 0 serves the leakage check alone"},
    {"close_grace_seconds", CONFIG_UINT, "10", "1", "600",
     "silence after a bar's end before the clock closes it"},
    {"symbol_ttl_seconds", CONFIG_UINT, "604800", "3600", "604800",
     "a symbol silent for longer is retired"},
    {"max_symbols", CONFIG_UINT, "8192", "1", "8192", "symbols past this number are dead letters"},
    CONNECT_KAFKA_ROWS,
    CONNECT_REGISTRY_ROWS,
    {.name = NULL},
};

static uint32_t config_u32(const struct config *config, const char *name)
{
    return (uint32_t)config_uint(config, name);
}

enum err_class fp_params_load(const struct config *config, const struct clk *clk,
                              const struct fp_options *o, struct fp_params *ret_params,
                              struct err *err)
{
    const char *exchange = config_string(config, "exchange");
    struct fp_params p = {
        .l2 =
            {
                .bar_s = o->bar_s ? o->bar_s : config_u32(config, "bar_seconds"),
                .window_s = o->window_s ? o->window_s : config_u32(config, "window_seconds"),
                .sample_s = config_u32(config, "sample_seconds"),
                .max_gap_s = o->max_gap_s ? o->max_gap_s : config_u32(config, "max_gap_seconds"),
                .max_book_age_s = config_u32(config, "max_book_age_seconds"),
                .coverage_pct = config_u32(config, "coverage_percent"),
                .samples_min = config_u32(config, "samples_min"),
                .purge_bars =
                    o->has_purge ? o->purge_bars : config_u32(config, "CVN_L2_PURGE_BARS"),
                .symbol_ttl_s = config_u32(config, "symbol_ttl_seconds"),
            },
        .symbols_max = config_u32(config, "max_symbols"),
        .partitions_n = 1,
        .close_grace_us =
            clk_grace_us(clk, config_u32(config, "close_grace_seconds") * L2_US_PER_S),
        .scan_us = (int64_t)((double)SCAN_REAL_US * clk_speed(clk)),
        .catching_up_us = clk_grace_us(clk, 2 * L2_US_PER_S),
        .offline = o->offline_path != NULL,
    };

    if (l2_params_check(&p.l2, err) != ERR_OK)
        return err->class;
    if (p.l2.purge_bars == 0 && strcmp(config_string(config, "L2_PROFILE"), "production") == 0)
        return err_set(
            err, ERR_REJECT,
            "CVN_L2_PURGE_BARS: 0 leaks the future and is refused in production: set it to 20");
    if (!p.offline) {
        if (!l2_symbol_ok(exchange, strlen(exchange)))
            return err_set(
                err, ERR_REJECT,
                "exchange: \"%s\" does not match [A-Za-z0-9._-]{1,32}: set it to the name that "
                "stands in the snapshots",
                exchange);
        memcpy(p.exchange, exchange, strlen(exchange));
    }
    *ret_params = p;
    return ERR_OK;
}

enum err_class fp_settings_load(const struct config *config, struct fp_settings *s, struct err *err)
{
    if (connect_kafka_load(config, NULL, NULL, &s->kafka, err) != ERR_OK)
        return err->class;
    (void)snprintf(s->dlq_bytes_max, sizeof s->dlq_bytes_max, "%d", TOPICS_DLQ_MESSAGE_BYTES_MAX);
    /* a dead letter is the rejected record and our headers, whatever the input let through */
    connect_kafka_add(&s->kafka, "message.max.bytes", s->dlq_bytes_max);
    return ERR_OK;
}

enum err_class fp_config_check(const struct config *config, struct err *err)
{
    struct http_client_options http; /* only whether it is right */
    struct fp_settings settings;
    struct fp_params params;
    struct clk *clk = NULL;

    if (clk_new(NULL, &clk, err) != ERR_OK)
        return err->class;
    const struct topics_options topics = {.prefix = config_string(config, "topic_prefix"),
                                          .replication_factor = -1};
    static struct topics_table wanted; /* only whether there is one */
    enum err_class e = fp_params_load(config, clk, &fp_options, &params, err);
    if (e == ERR_OK && fp_options.offline_path == NULL)
        e = fp_settings_load(config, &settings, err);
    if (e == ERR_OK && connect_registry_wanted(config))
        e = connect_registry_load(config, &http, err);
    if (e == ERR_OK)
        e = topics_wanted(&topics, &wanted, err);
    clk_free(clk);
    return e;
}

enum { OPT_OFFLINE = 256, OPT_OUT_DIR, OPT_BAR, OPT_WINDOW, OPT_PURGE, OPT_GAP, OPT_CLOSES };

const struct argp_option fp_option_table[] = {
    {"offline", OPT_OFFLINE, "IN.avro", 0,
     "compute from a file of L2Snapshot records, without any server", 1},
    {"out-dir", OPT_OUT_DIR, "DIR", 0,
     "where l2_bars.avro, l2_features.avro and l2_dlq.avro go (default: .)", 1},
    {"bar-seconds", OPT_BAR, "S", 0, "offline: 60, 300, 900, 1800 or 3600", 1},
    {"window-seconds", OPT_WINDOW, "S", 0, "offline: a multiple of 60", 1},
    {"purge-bars", OPT_PURGE, "N", 0, "offline: rows of shift, 0 to 1000", 1},
    {"max-gap-seconds", OPT_GAP, "S", 0, "offline: a longer silence is a gap", 1},
    {"closes", OPT_CLOSES, "l2_bars.avro", 0, "offline: obey the clock closes recorded there", 1},
    {0},
};

error_t fp_option_parse(int key, char *arg, struct argp_state *state, void *options)
{
    struct fp_options *o = options;
    uint32_t *number = NULL;

    switch (key) {
    case OPT_OFFLINE:
        o->offline_path = arg;
        return 0;
    case OPT_OUT_DIR:
        o->out_dir = arg;
        return 0;
    case OPT_CLOSES:
        o->closes_path = arg;
        return 0;
    case OPT_BAR:
        number = &o->bar_s;
        break;
    case OPT_WINDOW:
        number = &o->window_s;
        break;
    case OPT_GAP:
        number = &o->max_gap_s;
        break;
    case OPT_PURGE:
        number = &o->purge_bars;
        o->has_purge = true;
        break;
    case ARGP_KEY_END:
        if (o->offline_path == NULL && (o->out_dir || o->closes_path || o->bar_s || o->window_s ||
                                        o->max_gap_s || o->has_purge))
            argp_error(state, "these options go with --offline; live, use the configuration");
        if (o->out_dir == NULL)
            o->out_dir = ".";
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    char *end;
    const unsigned long v = strtoul(arg, &end, 10);
    if (arg[0] < '0' || arg[0] > '9' || *end != '\0' || v > UINT32_MAX ||
        (v == 0 && key != OPT_PURGE))
        argp_error(state, "%s: not a number of this option's range", arg);
    *number = (uint32_t)v;
    return 0;
}

bool fp_is_offline(const void *options)
{
    return ((const struct fp_options *)options)->offline_path != NULL;
}
