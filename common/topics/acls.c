#include "topics/acls.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define PRINCIPAL_KIND "User:"

/*
 * Kafka's rules that the rows rest on: Read and Write each include Describe; a transaction's
 * offsets take Read on the group and the input and Write on the transactional id; an idempotent
 * producer needs nothing beyond Write on its topics. A service compares its topics' settings with
 * topics.h at its start: DescribeConfigs. Nobody but the administrator creates or alters.
 */
struct row {
    enum bus_acl_resource resource;
    enum topics_id topic; /* of a topic */
    const char *name;     /* of everything else; NULL: a topic */
    bool is_prefixed;
    enum bus_acl_operation operations[4]; /* ends with 0 */
};

struct service {
    const char *name;
    struct row rows[14]; /* ends with resource 0 */
};

#define TOPIC(id, ...)                                                                             \
    {                                                                                              \
        .resource = BUS_ACL_TOPIC, .topic = TOPICS_##id, .operations = { __VA_ARGS__ }             \
    }
#define GROUP(text, prefixed)                                                                      \
    {                                                                                              \
        .resource = BUS_ACL_GROUP, .name = (text), .is_prefixed = (prefixed), .operations = {      \
            BUS_ACL_READ                                                                           \
        }                                                                                          \
    }

static const struct service services[ACLS_SERVICES_N] = {
    [ACLS_FEATURE_PRODUCER] =
        {"feature-producer",
         {TOPIC(SNAPSHOTS, BUS_ACL_READ, BUS_ACL_DESCRIBE_CONFIGS),
          /* read at a restart: what was emitted */
          TOPIC(BARS, BUS_ACL_READ, BUS_ACL_WRITE, BUS_ACL_DESCRIBE_CONFIGS),
          TOPIC(FEATURES, BUS_ACL_WRITE, BUS_ACL_DESCRIBE_CONFIGS),
          TOPIC(HEARTBEAT, BUS_ACL_WRITE, BUS_ACL_DESCRIBE_CONFIGS),
          TOPIC(DLQ, BUS_ACL_WRITE, BUS_ACL_DESCRIBE_CONFIGS),
          GROUP("feature-producer", false),
          {.resource = BUS_ACL_TRANSACTIONAL_ID, /* one a replica: feature-producer-0, ... */
           .name = "feature-producer-",
           .is_prefixed = true,
           .operations = {BUS_ACL_WRITE}}}},
    [ACLS_BAR_ARCHIVER] = {"bar-archiver",
                           {TOPIC(BARS, BUS_ACL_READ, BUS_ACL_DESCRIBE_CONFIGS),
                            TOPIC(OHLCV, BUS_ACL_READ, BUS_ACL_DESCRIBE_CONFIGS),
                            GROUP("bar-archiver", false)}},
    [ACLS_QUALITY_MONITOR] =
        {"quality-monitor",
         {TOPIC(OHLCV, BUS_ACL_READ, BUS_ACL_DESCRIBE_CONFIGS),
          TOPIC(BARS, BUS_ACL_READ, BUS_ACL_DESCRIBE_CONFIGS),
          TOPIC(FEATURES, BUS_ACL_READ, BUS_ACL_DESCRIBE_CONFIGS),
          TOPIC(PREDICTIONS, BUS_ACL_READ, BUS_ACL_DESCRIBE_CONFIGS),
          TOPIC(ROLLOUT, BUS_ACL_READ, BUS_ACL_DESCRIBE_CONFIGS),
          /* the live proof of no leakage */
          TOPIC(SNAPSHOTS, BUS_ACL_READ, BUS_ACL_DESCRIBE_CONFIGS),
          TOPIC(HEARTBEAT, BUS_ACL_READ, BUS_ACL_WRITE, BUS_ACL_DESCRIBE_CONFIGS),
          /* its own, read at a start: what was told */
          TOPIC(QUALITY, BUS_ACL_READ, BUS_ACL_WRITE, BUS_ACL_DESCRIBE_CONFIGS),
          TOPIC(OUTCOMES, BUS_ACL_READ, BUS_ACL_WRITE, BUS_ACL_DESCRIBE_CONFIGS),
          TOPIC(ALERTS, BUS_ACL_READ, BUS_ACL_WRITE, BUS_ACL_DESCRIBE_CONFIGS),
          /* alerts that a sink refuses for good */
          TOPIC(DLQ, BUS_ACL_WRITE, BUS_ACL_DESCRIBE_CONFIGS),
          GROUP("quality-monitor.", true), /* a sink's: quality-monitor.loki, ... */
          {.resource = BUS_ACL_TRANSACTIONAL_ID,
           .name = "quality-monitor-",
           .is_prefixed = true,
           .operations = {BUS_ACL_WRITE}}}},
    [ACLS_FEED] = {"l2replay",
                   {TOPIC(SNAPSHOTS, BUS_ACL_WRITE, BUS_ACL_DESCRIBE_CONFIGS),
                    TOPIC(OHLCV, BUS_ACL_WRITE, BUS_ACL_DESCRIBE_CONFIGS)}},
    /* prefixed: each engine has a group of its own, trading-engine-btc, ... */
    [ACLS_TRADING_ENGINE] = {"trading-engine",
                             {TOPIC(OHLCV, BUS_ACL_READ, BUS_ACL_DESCRIBE_CONFIGS),
                              TOPIC(FEATURES, BUS_ACL_READ, BUS_ACL_DESCRIBE_CONFIGS),
                              TOPIC(HEARTBEAT, BUS_ACL_READ, BUS_ACL_DESCRIBE_CONFIGS),
                              TOPIC(ROLLOUT, BUS_ACL_READ, BUS_ACL_DESCRIBE_CONFIGS),
                              /* read at a restart: what was predicted */
                              TOPIC(PREDICTIONS, BUS_ACL_READ, BUS_ACL_WRITE,
                                    BUS_ACL_DESCRIBE_CONFIGS),
                              GROUP("trading-engine", true),
                              {.resource = BUS_ACL_TRANSACTIONAL_ID, /* trading-engine-btc-0, ... */
                               .name = "trading-engine-",
                               .is_prefixed = true,
                               .operations = {BUS_ACL_WRITE}}}},
    /* an operator at a terminal: what the monitor folds, without a group, and nothing else */
    [ACLS_L2MONITOR] = {"l2monitor",
                        {TOPIC(OHLCV, BUS_ACL_READ), TOPIC(BARS, BUS_ACL_READ),
                         TOPIC(FEATURES, BUS_ACL_READ), TOPIC(PREDICTIONS, BUS_ACL_READ),
                         TOPIC(ROLLOUT, BUS_ACL_READ)}},
    /* one row for all topics, those of later versions included; never Delete, which loses data */
    [ACLS_TOPICS_ADMIN] = {"topics-admin",
                           {{.resource = BUS_ACL_TOPIC,
                             .name = "l2.",
                             .is_prefixed = true,
                             .operations = {BUS_ACL_CREATE, BUS_ACL_DESCRIBE,
                                            BUS_ACL_ALTER_CONFIGS}}}},
};

const char *acls_service_name(enum acls_service service)
{
    assert(service < ACLS_SERVICES_N);
    return services[service].name;
}

bool acls_find(const char *name, enum acls_service *ret_service)
{
    for (unsigned i = 0; i < ACLS_SERVICES_N; i++) {
        if (strcmp(name, services[i].name) == 0) {
            *ret_service = (enum acls_service)i;
            return true;
        }
    }
    return false;
}

static enum err_class check(const char *prefix, const char *principal, struct err *err)
{
    struct topics_table unused; /* 25 KiB; the prefix has one owner */
    const size_t kind_n = strlen(PRINCIPAL_KIND);
    const struct topics_options options = {.prefix = prefix, .replication_factor = -1};

    if (topics_wanted(&options, &unused, err) != ERR_OK)
        return err->class;
    if (strncmp(principal, PRINCIPAL_KIND, kind_n) != 0 || principal[kind_n] == '\0' ||
        strcmp(principal + kind_n, "*") == 0 || strlen(principal) > BUS_ACL_PRINCIPAL_BYTES_MAX)
        return err_set(err, ERR_REJECT,
                       "user '%.80s': not User:NAME of one user: write User:feature-producer, say",
                       principal);
    return ERR_OK;
}

static void add(struct acls_table *table, const struct row *row, const char *prefix)
{
    const char *const name = row->name != NULL ? row->name : topics_name(row->topic);

    for (unsigned i = 0; row->operations[i] != 0; i++) {
        assert(table->n < ACLS_ROWS_MAX);
        struct bus_acl *const acl = &table->rows[table->n++];

        acl->resource = row->resource;
        acl->operation = row->operations[i];
        acl->is_prefixed = row->is_prefixed;
        snprintf(acl->name, sizeof acl->name, "%s%s", prefix, name);
        memcpy(acl->principal, table->principal, sizeof acl->principal);
        snprintf(acl->host, sizeof acl->host, "*");
    }
}

enum err_class acls_wanted(enum acls_service service, const char *prefix, const char *principal,
                           struct acls_table *ret_wanted, struct err *err)
{
    const struct service *const s = &services[service];
    char own[BUS_ACL_PRINCIPAL_BYTES_MAX + 1];

    assert(service < ACLS_SERVICES_N);
    snprintf(own, sizeof own, PRINCIPAL_KIND "%s", s->name);
    if (principal == NULL)
        principal = own;
    if (check(prefix, principal, err) != ERR_OK)
        return err->class;
    memset(ret_wanted, 0, sizeof *ret_wanted);
    snprintf(ret_wanted->principal, sizeof ret_wanted->principal, "%s", principal);
    for (unsigned i = 0; i < sizeof s->rows / sizeof s->rows[0] && s->rows[i].resource != 0; i++)
        add(ret_wanted, &s->rows[i], prefix);
    return ERR_OK;
}

static bool is_among(const struct bus_acl *row, const struct bus_acl *rows, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (bus_acl_is_same(row, &rows[i]))
            return true;
    }
    return false;
}

static void add_diff(struct acls_diffs *diffs, enum acls_fault fault, const struct bus_acl *row)
{
    assert(diffs->n < ACLS_DIFFS_MAX);
    diffs->items[diffs->n++] = (struct acls_diff){.fault = fault, .row = *row};
    diffs->absent_n += fault == ACLS_ABSENT;
    diffs->surplus_n += fault == ACLS_SURPLUS;
}

void acls_compare(const struct acls_table *wanted, const struct bus_acl *found, unsigned found_n,
                  struct acls_diffs *ret_diffs)
{
    assert(found_n <= BUS_ACLS_MAX);
    ret_diffs->n = ret_diffs->absent_n = ret_diffs->surplus_n = 0;
    for (unsigned i = 0; i < wanted->n; i++) {
        if (!is_among(&wanted->rows[i], found, found_n))
            add_diff(ret_diffs, ACLS_ABSENT, &wanted->rows[i]);
    }
    for (unsigned i = 0; i < found_n; i++) {
        if (!is_among(&found[i], wanted->rows, wanted->n))
            add_diff(ret_diffs, ACLS_SURPLUS, &found[i]);
    }
}
