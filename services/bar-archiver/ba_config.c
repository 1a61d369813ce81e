/* The archiver's configuration: rows, what lies between them, and the options of --import. */
#include "ba_service.h"

#include "connect/connect.h"
#include "topics/topics.h"

#include <string.h>

/* What one poll can bring: BUS_BATCH_MAX records, each of them a row. */
#define BURST_ROWS BUS_BATCH_MAX

struct ba_options ba_options;

const struct config_row ba_config_rows[] = {
    /* name                  type           default             min   max     help */
    CONNECT_TOPIC_PREFIX_ROW,
    CONNECT_GROUP_ROW("bar-archiver"),
    CONNECT_REPLICA_ROW("bar-archiver-0", "replica: its group.instance.id"),
    {"batch_rows", CONFIG_UINT, "5000", "1", "100000", "a batch with this many rows is written"},
    {"batch_bytes", CONFIG_UINT, "8388608", "65536", "268435456",
     "a batch of this many encoded bytes is written"},
    {"batch_ms", CONFIG_UINT, "500", "1", "60000",
     "a batch is written at the latest so long after its first record"},
    CONNECT_PG_ROWS,
    {"pg_statement_timeout_ms", CONFIG_UINT, "10000", "100", "600000",
     "PostgreSQL gives a statement up after this; a server that answers nothing is left after "
     "twice this"},
    CONNECT_KAFKA_ROWS,
    CONNECT_REGISTRY_ROWS,
    {"listen", CONFIG_STRING, "127.0.0.1:9102", "3", "64",
     "address and port of /healthz, /readyz and /metrics; off: none"},
    {.name = NULL},
};

struct ba_limits ba_limits_load(const struct config *config)
{
    return (struct ba_limits){
        .rows_max = (unsigned)config_uint(config, "batch_rows"),
        .bytes_max = (size_t)config_uint(config, "batch_bytes"),
        .age_us_max = (int64_t)config_uint(config, "batch_ms") * 1000,
        .burst_rows = BURST_ROWS,
        .burst_bytes = (size_t)BURST_ROWS * BA_RECORD_BYTES_MAX,
    };
}

enum err_class ba_pg_load(const struct config *config, struct pgc_options *ret_pg, struct err *err)
{
    if (connect_pg_load(config, ba_service.name, ret_pg, err) != ERR_OK)
        return err->class;
    ret_pg->statement_timeout_ms = (unsigned)config_uint(config, "pg_statement_timeout_ms");
    return ERR_OK;
}

enum err_class ba_config_check(const struct config *config, struct err *err)
{
    const struct topics_options topics = {.prefix = config_string(config, "topic_prefix"),
                                          .replication_factor = -1};
    static struct topics_table wanted; /* only whether there is one */
    struct connect_kafka kafka;
    struct http_client_options http;
    struct pgc_options pg;

    if (ba_pg_load(config, &pg, err) != ERR_OK)
        return err->class;
    if (!ba_options.import && connect_kafka_load(config, NULL, NULL, &kafka, err) != ERR_OK)
        return err->class;
    if (connect_registry_wanted(config) && connect_registry_load(config, &http, err) != ERR_OK)
        return err->class;
    return topics_wanted(&topics, &wanted, err);
}

enum { OPT_IMPORT = 256 };

const struct argp_option ba_option_table[] = {
    {"import", OPT_IMPORT, "FILE", 0,
     "store the L2Bar or Candle records of FILE and of every file named behind it, without Kafka",
     1},
    {0},
};

error_t ba_option_parse(int key, char *arg, struct argp_state *state, void *options)
{
    struct ba_options *o = options;

    switch (key) {
    case OPT_IMPORT:
        o->import = true;
        break;
    case ARGP_KEY_ARG:
        break;
    case ARGP_KEY_END:
        if (o->files_n > 0 && !o->import)
            argp_error(state, "%s: files go with --import", o->files[0]);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    if (o->files_n == BA_FILES_MAX)
        argp_error(state, "more than %d files: name the others in another call", BA_FILES_MAX);
    o->files[o->files_n++] = arg;
    return 0;
}

bool ba_is_import(const void *options)
{
    return ((const struct ba_options *)options)->import;
}
