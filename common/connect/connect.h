/*
 * connect.h: how a program reaches Kafka, PostgreSQL and the schema registry: the configuration's
 * rows, written once, and what is made of them. Secrets come from files.
 */
#ifndef CONNECT_H
#define CONNECT_H

#include "base/err.h"
#include "bus/bus.h"
#include "codec/reader.h"
#include "codec/registry.h"
#include "config/config.h"
#include "metrics/metrics.h"
#include "pgc/pgc.h"

/* ---- Kafka (connect_kafka.c) ---- */

/* Rows for a program's table; each macro ends without a comma. */
#define CONNECT_KAFKA_ROWS                                                                         \
    {"sasl_password_file",                                                                         \
     CONFIG_SECRET,                                                                                \
     "",                                                                                           \
     "",                                                                                           \
     "",                                                                                           \
     "file that holds the SCRAM password; never the password itself"},                             \
        {"ssl_key_password_file",                                                                  \
         CONFIG_SECRET,                                                                            \
         "",                                                                                       \
         "",                                                                                       \
         "",                                                                                       \
         "file that holds the password of the client's TLS key"},                                  \
        {"kafka.",                                                                                 \
         CONFIG_PREFIX,                                                                            \
         "",                                                                                       \
         "",                                                                                       \
         "",                                                                                       \
         "client settings, handed to librdkafka as they are: kafka.bootstrap.servers, "            \
         "kafka.security.protocol, …"}

/* And the rows of what everybody who is on the bus has. */
#define CONNECT_TOPIC_PREFIX_ROW                                                                   \
    {"topic_prefix",                                                                               \
     CONFIG_STRING,                                                                                \
     "",                                                                                           \
     "0",                                                                                          \
     "64",                                                                                         \
     "goes before every topic's name, as in \"paper.\""}
#define CONNECT_GROUP_ROW(name)                                                                    \
    {"group_id", CONFIG_STRING, name, "1", "200", "consumer group; the topic prefix goes before it"}
#define CONNECT_REPLICA_ROW(name, what)                                                            \
    {"replica", CONFIG_STRING, name, "1", "200", "stable name of this " what}

#define CONNECT_SETTINGS_MAX 64

/* Keys and values are borrowed from the configuration (and from the caller of connect_kafka_add).
 */
struct connect_kafka {
    struct bus_setting v[CONNECT_SETTINGS_MAX];
    unsigned n;
    const char *bootstrap; /* the addresses that it came to be, for messages */
};

/*
 * From the rows above. bootstrap: goes before kafka.bootstrap.servers (a command line's); NULL:
 * none; default_bootstrap: when neither is set; NULL: then ERR_REJECT, with the remedy.
 * In production (`L2_PROFILE=production`, where the program has that row) a plaintext
 * security.protocol to anything but loopback, any value that might switch
 * enable.ssl.certificate.verification or ssl.endpoint.identification.algorithm off are ERR_REJECT.
 * The whole is checked by librdkafka (bus_settings_check), so that --check-config refuses what a
 * start would.
 */
enum err_class connect_kafka_load(const struct config *config, const char *bootstrap,
                                  const char *default_bootstrap, struct connect_kafka *ret_kafka,
                                  struct err *err) MUST_CHECK;
/* One more; asserts that there is room. */
void connect_kafka_add(struct connect_kafka *kafka, const char *key, const char *value);

/* ---- PostgreSQL (connect_pg.c) ---- */

#define CONNECT_PG_ROWS                                                                            \
    {"pg_host", CONFIG_STRING,                                                                     \
     "",        "",                                                                                \
     "255",     "PostgreSQL's name or address, or its socket's folder; empty: libpq's default"},   \
        {"pg_port", CONFIG_STRING, "5432", "1", "5", "PostgreSQL's port, 1 to 65535"},             \
        {"pg_database", CONFIG_STRING, "l2flow", "1", "63", "the database"},                       \
        {"pg_user", CONFIG_STRING, "",                                                             \
         "",        "63",          "the role to log in as; empty: the system user's name"},        \
        {"pg_password_file",                                                                       \
         CONFIG_SECRET,                                                                            \
         "",                                                                                       \
         "",                                                                                       \
         "",                                                                                       \
         "file that holds the role's password; never the password itself"},                        \
        {"pg_sslmode",                                                                             \
         CONFIG_ENUM,                                                                              \
         "verify-full",                                                                            \
         "",                                                                                       \
         "disable|allow|prefer|require|verify-ca|verify-full",                                     \
         "TLS to PostgreSQL (a socket has none); production refuses less than verify-full"},       \
        {"pg_sslrootcert",                                                                         \
         CONFIG_STRING,                                                                            \
         "",                                                                                       \
         "",                                                                                       \
         "",                                                                                       \
         "file of the CA that signed PostgreSQL's certificate"},                                   \
        {"pg_sslcert", CONFIG_STRING, "", "", "", "file of the client's TLS certificate"},         \
        {"pg_sslkey", CONFIG_STRING, "", "", "", "file of its key, readable by its owner alone"}

/*
 * From the rows above, for pgc_open; all strings are borrowed from the configuration and from the
 * caller. ERR_REJECT, with the remedy: a port that is none, a file that cannot be read, a
 * certificate without its key, and in production (`L2_PROFILE=production`, where the program has
 * that row) a pg_sslmode below verify-full, unless pg_host is a socket's folder. Connects to
 * nothing. Calls pgc_forget_environment: to be called before there are threads.
 */
enum err_class connect_pg_load(const struct config *config, const char *application_name,
                               struct pgc_options *ret_options, struct err *err) MUST_CHECK;

/* ---- the schema registry (connect_registry.c, library l2_connect_registry) ---- */

#define CONNECT_REGISTRY_ROWS                                                                      \
    {"schema_registry_url",                                                                        \
     CONFIG_URL,                                                                                   \
     "",                                                                                           \
     "",                                                                                           \
     "1000",                                                                                       \
     "address of a Confluent-compatible schema registry, with the API's path; empty: none, and "   \
     "messages carry their schema's fingerprint"},                                                 \
        {"schema_registry_user", CONFIG_STRING, "", "", "200", "whom to log in as, if anybody"},   \
        {"schema_registry_password_file",                                                          \
         CONFIG_SECRET,                                                                            \
         "",                                                                                       \
         "",                                                                                       \
         "",                                                                                       \
         "file that holds its password; never the password itself"},                               \
        {"schema_registry_ca_file",                                                                \
         CONFIG_STRING,                                                                            \
         "",                                                                                       \
         "",                                                                                       \
         "4096",                                                                                   \
         "file of the CA that signed the registry's certificate; empty: the system's"},            \
        {"schema_registry_cert_file",                                                              \
         CONFIG_STRING,                                                                            \
         "",                                                                                       \
         "",                                                                                       \
         "4096",                                                                                   \
         "file of the client's TLS certificate, where the registry wants one"},                    \
        {"schema_registry_key_file", CONFIG_STRING, "", "", "4096", "file of its key"},            \
        {"schema_registry_register",                                                               \
         CONFIG_BOOL,                                                                              \
         "1",                                                                                      \
         "",                                                                                       \
         "",                                                                                       \
         "register the schemas that this program writes; 0: they must be there"}

/* Is there one in the configuration? */
bool connect_registry_wanted(const struct config *config);
/* From the rows above; strings are borrowed from the configuration. ERR_REJECT, with the remedy: a
 * password without a user, a file that cannot be read, and in production (`L2_PROFILE`) an address
 * without TLS but loopback's. Connects to nothing. */
enum err_class connect_registry_load(const struct config *config,
                                     struct http_client_options *ret_http,
                                     struct err *err) MUST_CHECK;
/* The client of it; the caller frees it after its readers. */
enum err_class connect_registry_open(const struct config *config,
                                     struct codec_registry **ret_registry,
                                     struct err *err) MUST_CHECK;
/* For codec_reader_new; registry NULL: none. */
struct codec_ids connect_registry_ids(struct codec_registry *registry);
/* The id with which `topic`'s records are framed (codec_frame_as): subject "<topic>-value",
 * registered where schema_registry_register allows it. 0 without a registry. Waits; errors as
 * codec_registry_register. */
enum err_class connect_registry_id(const struct config *config, struct codec_registry *registry,
                                   const char *topic, const struct codec_record *record,
                                   uint32_t *ret_id, struct err *err) MUST_CHECK;

/* What is counted of it, the same in every service: the last rows of a program's table, in the
 * order of the ids behind its own last one; the macro ends without a comma. */
enum connect_registry_metric {
    CONNECT_REGISTRY_REQUESTS,
    CONNECT_REGISTRY_CACHE,
    CONNECT_REGISTRY_WAITING,
};
extern const char *const connect_registry_outcomes[], *const connect_registry_results[];
#define CONNECT_REGISTRY_METRIC_ROWS                                                               \
    {.name = "l2flow_registry_requests_total",                                                     \
     .kind = METRIC_COUNTER,                                                                       \
     .help = "requests to the schema registry, by what came of them",                              \
     .label = "outcome",                                                                           \
     .values = connect_registry_outcomes},                                                         \
        {.name = "l2flow_registry_cache_total",                                                    \
         .kind = METRIC_COUNTER,                                                                   \
         .help = "schema ids looked for in what the registry has said; a run of one known id "     \
                 "counts once",                                                                    \
         .label = "result",                                                                        \
         .values = connect_registry_results},                                                      \
        {.name = "l2flow_registry_ids_waiting",                                                    \
         .kind = METRIC_GAUGE,                                                                     \
         .help = "schema ids that the registry has said nothing about yet"}
/* Brings them up to date, the first of them being `first`; nothing without a registry. */
void connect_registry_export(struct codec_registry *registry, struct metrics *metrics,
                             unsigned first);

#endif
