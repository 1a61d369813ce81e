#include "connect/connect.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#define BOOTSTRAP "bootstrap.servers"

void connect_kafka_add(struct connect_kafka *kafka, const char *key, const char *value)
{
    assert(kafka->n < CONNECT_SETTINGS_MAX);
    kafka->v[kafka->n++] = (struct bus_setting){.key = key, .value = value};
}

/* Of the newest setting with this key; "" when there is none. */
static const char *value_of(const struct connect_kafka *kafka, const char *key)
{
    for (unsigned i = kafka->n; i-- > 0;)
        if (strcmp(kafka->v[i].key, key) == 0)
            return kafka->v[i].value;
    return "";
}

static bool starts_with(const char *text, const char *start)
{
    return strncasecmp(text, start, strlen(start)) == 0;
}

/* One address of the list: nobody on the way to it reads along. */
static bool is_loopback(const char *address)
{
    const char *const scheme = strstr(address, "://");
    const char *const comma = strchr(address, ',');

    if (scheme != NULL && (comma == NULL || scheme < comma))
        address = scheme + 3;
    /* a name may begin with these letters */
    return (starts_with(address, "localhost") && strchr(":,", address[9]) != NULL) ||
           (starts_with(address, "127.") &&
            strspn(address, "0123456789.") == strcspn(address, ":,")) ||
           (starts_with(address, "[::1]") && strchr(":,", address[5]) != NULL);
}

static bool are_loopback(const char *servers)
{
    for (;;) {
        servers += strspn(servers, " \t");
        if (!is_loopback(servers))
            return false;
        const char *const comma = strchr(servers, ',');
        if (comma == NULL)
            return true;
        servers = comma + 1;
    }
}

/* As librdkafka reads it; unset is its default. Whatever else there may be switches it off. */
static bool is_on(const char *flag)
{
    return flag[0] == '\0' || strcasecmp(flag, "true") == 0 || strcasecmp(flag, "t") == 0 ||
           strcmp(flag, "1") == 0;
}

/* What every reader on the way, or anyone in the middle, could exploit. */
static enum err_class check_production(const struct connect_kafka *kafka, struct err *err)
{
    const char *const protocol = value_of(kafka, "security.protocol");
    const bool is_encrypted =
        strcasecmp(protocol, "ssl") == 0 || strcasecmp(protocol, "sasl_ssl") == 0;
    const char *const verify = value_of(kafka, "enable.ssl.certificate.verification");
    const char *const names = value_of(kafka, "ssl.endpoint.identification.algorithm");

    if (!is_encrypted && !are_loopback(value_of(kafka, BOOTSTRAP)))
        return err_set(err, ERR_REJECT,
                       "kafka.security.protocol = %s: refused with L2_PROFILE = production for a "
                       "broker that is not on this machine: use ssl or sasl_ssl",
                       protocol[0] == '\0' ? "plaintext (the default)" : protocol);
    if (!is_on(verify))
        return err_set(err, ERR_REJECT,
                       "kafka.enable.ssl.certificate.verification = %s: refused with L2_PROFILE = "
                       "production: give the CA's certificate in kafka.ssl.ca.location",
                       verify);
    if (names[0] != '\0' && strcasecmp(names, "https") != 0)
        return err_set(err, ERR_REJECT,
                       "kafka.ssl.endpoint.identification.algorithm = %s: refused with "
                       "L2_PROFILE = production: a certificate must name its broker",
                       names);
    return ERR_OK;
}

static void add_secret(struct connect_kafka *kafka, const struct config *config, const char *row,
                       const char *key)
{
    const char *const secret = config_secret(config, row);

    if (secret[0] != '\0')
        connect_kafka_add(kafka, key, secret);
}

/* Room stays for the address and for what a program adds. */
static enum err_class add_pairs(struct connect_kafka *kafka, const struct config *config,
                                const char **bootstrap, struct err *err)
{
    const unsigned max = CONNECT_SETTINGS_MAX - 8;
    const char *key, *value;

    for (unsigned i = 0; config_pair(config, "kafka.", i, &key, &value); i++) {
        if (strcmp(key, BOOTSTRAP) == 0 || strcmp(key, "metadata.broker.list") == 0) {
            if (*bootstrap == NULL && value[0] != '\0')
                *bootstrap = value;
        } else if (kafka->n == max) {
            return err_set(err, ERR_REJECT, "kafka.*: more than %u settings", max);
        } else {
            connect_kafka_add(kafka, key, value);
        }
    }
    return ERR_OK;
}

enum err_class connect_kafka_load(const struct config *config, const char *bootstrap,
                                  const char *default_bootstrap, struct connect_kafka *ret_kafka,
                                  struct err *err)
{
    struct connect_kafka kafka = {.n = 0};

    if (add_pairs(&kafka, config, &bootstrap, err) != ERR_OK)
        return err->class;
    if (bootstrap == NULL)
        bootstrap = default_bootstrap;
    if (bootstrap == NULL)
        return err_set(err, ERR_REJECT,
                       "kafka.bootstrap.servers: not set: give the brokers' addresses, as in "
                       "kafka.bootstrap.servers = 127.0.0.1:9092");
    kafka.bootstrap = bootstrap;
    connect_kafka_add(&kafka, BOOTSTRAP, bootstrap);
    add_secret(&kafka, config, "sasl_password_file", "sasl.password");
    add_secret(&kafka, config, "ssl_key_password_file", "ssl.key.password");
    if (config_has(config, "L2_PROFILE") &&
        strcmp(config_string(config, "L2_PROFILE"), "production") == 0 &&
        check_production(&kafka, err) != ERR_OK)
        return err->class;
    if (bus_settings_check(kafka.v, kafka.n, err) != ERR_OK)
        return err->class;
    *ret_kafka = kafka;
    return ERR_OK;
}
