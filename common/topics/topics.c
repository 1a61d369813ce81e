#include "topics/topics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DAY_MS (INT64_C(24) * 60 * 60 * 1000)
#define HOUR_MS (INT64_C(60) * 60 * 1000)
#define FOR_EVER_MS INT64_C(-1)
#define SEGMENT_DEFAULT_MS INT64_C(0)

struct topics_row {
    const char *name;
    const char *record;
    const char *cleanup_policy;
    int64_t retention_ms;
    /*
     * Kafka deletes and compacts closed segments only, and closes one after 7 days by default:
     * where that is not short beside the retention, or where compaction is the point, segments are
     * closed sooner.
     */
    int64_t segment_ms;
    const char *compression;
    int max_message_bytes;
};

/*
 * Compression: "producer" keeps what was sent (our producers send lz4) without work for the broker.
 * The feed of l2.snapshots is not ours: the broker compresses what comes plain, since it is most of
 * all bytes; a feed that sends zstd may keep it.
 */
static const struct topics_row rows[TOPICS_N] = {
    [TOPICS_SNAPSHOTS] = {"l2.snapshots", "L2Snapshot", "delete", 7 * DAY_MS, DAY_MS, "lz4",
                          TOPICS_MESSAGE_BYTES_MAX},
    [TOPICS_OHLCV] = {"l2.ohlcv", "Candle", "delete", 180 * DAY_MS, SEGMENT_DEFAULT_MS, "producer",
                      TOPICS_MESSAGE_BYTES_MAX},
    [TOPICS_BARS] = {"l2.bars", "L2Bar", "delete", 180 * DAY_MS, SEGMENT_DEFAULT_MS, "producer",
                     TOPICS_MESSAGE_BYTES_MAX},
    [TOPICS_FEATURES] = {"l2.features", "L2Feature", "delete", 180 * DAY_MS, SEGMENT_DEFAULT_MS,
                         "producer", TOPICS_MESSAGE_BYTES_MAX},
    [TOPICS_HEARTBEAT] = {"l2.heartbeat", "Heartbeat", "compact,delete", DAY_MS, HOUR_MS,
                          "producer", TOPICS_MESSAGE_BYTES_MAX},
    [TOPICS_PREDICTIONS] = {"l2.predictions", "Prediction", "delete", 180 * DAY_MS,
                            SEGMENT_DEFAULT_MS, "producer", TOPICS_MESSAGE_BYTES_MAX},
    [TOPICS_OUTCOMES] = {"l2.outcomes", "Outcome", "delete", 180 * DAY_MS, SEGMENT_DEFAULT_MS,
                         "producer", TOPICS_MESSAGE_BYTES_MAX},
    [TOPICS_QUALITY] = {"l2.quality", "QualitySignal", "delete", 180 * DAY_MS, SEGMENT_DEFAULT_MS,
                        "producer", TOPICS_MESSAGE_BYTES_MAX},
    [TOPICS_ALERTS] = {"l2.alerts", "Alert", "delete", 180 * DAY_MS, SEGMENT_DEFAULT_MS, "producer",
                       TOPICS_MESSAGE_BYTES_MAX},
    [TOPICS_ROLLOUT] = {"l2.rollout", "RolloutState", "compact", FOR_EVER_MS, DAY_MS, "producer",
                        TOPICS_MESSAGE_BYTES_MAX},
    [TOPICS_DLQ] = {"l2.dlq", NULL, "delete", 30 * DAY_MS, DAY_MS, "producer",
                    TOPICS_DLQ_MESSAGE_BYTES_MAX},
};

static_assert(TOPICS_PAYLOAD_BYTES_MAX < TOPICS_MESSAGE_BYTES_MAX / 4,
              "an oversized payload must reach us to be rejected");

const char *topics_name(enum topics_id id)
{
    assert(id < TOPICS_N);
    return rows[id].name;
}

void topics_names(const char *prefix, char ret_names[TOPICS_N][TOPICS_NAME_BYTES_MAX + 1])
{
    for (unsigned id = 0; id < TOPICS_N; id++)
        (void)snprintf(ret_names[id], TOPICS_NAME_BYTES_MAX + 1, "%s%s", prefix, rows[id].name);
}

const char *topics_record(enum topics_id id)
{
    assert(id < TOPICS_N);
    return rows[id].record;
}

bool topics_find(const char *name, const char *prefix, enum topics_id *ret_id)
{
    const size_t prefix_n = strlen(prefix);

    if (prefix_n > 0 && strncmp(name, prefix, prefix_n) == 0)
        name += prefix_n;
    for (unsigned i = 0; i < TOPICS_N; i++) {
        if (strcmp(name, rows[i].name) == 0 || strcmp(name, rows[i].name + strlen("l2.")) == 0) {
            *ret_id = (enum topics_id)i;
            return true;
        }
    }
    return false;
}

static enum err_class check_options(const struct topics_options *options, struct err *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const size_t n = strlen(options->prefix);

    if (n > TOPICS_PREFIX_BYTES_MAX || strspn(options->prefix, allowed) != n)
        return err_set(err, ERR_REJECT,
                       "topic prefix '%.80s': not [A-Za-z0-9._-]{0,%d}: choose one such as eu.",
                       options->prefix, TOPICS_PREFIX_BYTES_MAX);
    if (options->partitions < 0 || options->partitions > BUS_PARTITIONS_MAX)
        return err_set(err, ERR_REJECT, "partitions %d: not 1 to %d", options->partitions,
                       BUS_PARTITIONS_MAX);
    if (options->replication_factor != -1 &&
        (options->replication_factor < 1 ||
         options->replication_factor > TOPICS_REPLICATION_FACTOR_MAX))
        return err_set(err, ERR_REJECT, "replication factor %d: not 1 to %d",
                       options->replication_factor, TOPICS_REPLICATION_FACTOR_MAX);
    return ERR_OK;
}

static void add_text(struct bus_topic *topic, const char *key, const char *value)
{
    assert(topic->settings_n < BUS_TOPIC_SETTINGS_MAX);
    struct bus_topic_setting *const s = &topic->settings[topic->settings_n++];

    s->key = key;
    snprintf(s->value, sizeof s->value, "%s", value);
}

static void add_number(struct bus_topic *topic, const char *key, int64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRId64, value);
    add_text(topic, key, text);
}

enum err_class topics_wanted(const struct topics_options *options, struct topics_table *ret_wanted,
                             struct err *err)
{
    const enum err_class e = check_options(options, err);

    if (e != ERR_OK)
        return e;
    memset(ret_wanted, 0, sizeof *ret_wanted);
    for (unsigned i = 0; i < TOPICS_N; i++) {
        const struct topics_row *const row = &rows[i];
        struct bus_topic *const t = &ret_wanted->topics[i];

        snprintf(ret_wanted->names[i], sizeof ret_wanted->names[i], "%s%s", options->prefix,
                 row->name);
        t->name = ret_wanted->names[i];
        t->partitions = options->partitions;
        t->replication_factor = options->replication_factor;
        add_text(t, "cleanup.policy", row->cleanup_policy);
        add_number(t, "retention.ms", row->retention_ms);
        add_number(t, "retention.bytes",
                   -1); /* time alone decides, whatever the cluster's default */
        if (row->segment_ms != SEGMENT_DEFAULT_MS)
            add_number(t, "segment.ms", row->segment_ms);
        add_text(t, "compression.type", row->compression);
        add_text(t, "message.timestamp.type", "CreateTime");
        add_number(t, "max.message.bytes", row->max_message_bytes);
        if (i == TOPICS_DLQ) { /* it keeps its record's, however old a backlog has let it become */
            add_number(t, "message.timestamp.before.max.ms", INT64_MAX);
            add_number(t, "message.timestamp.after.max.ms", INT64_MAX);
        }
        if (options->replication_factor >= 3)
            add_number(t, "min.insync.replicas", 2);
    }
    return ERR_OK;
}

void topics_blank(const struct topics_table *wanted, struct topics_table *ret_found)
{
    memset(ret_found, 0, sizeof *ret_found);
    for (unsigned i = 0; i < TOPICS_N; i++) {
        const struct bus_topic *const from = &wanted->topics[i];
        struct bus_topic *const to = &ret_found->topics[i];

        memcpy(ret_found->names[i], wanted->names[i], sizeof ret_found->names[i]);
        to->name = ret_found->names[i];
        to->settings_n = from->settings_n;
        for (unsigned k = 0; k < from->settings_n; k++)
            to->settings[k].key = from->settings[k].key;
    }
}

void topics_settle(struct topics_table *wanted, const struct topics_table *found)
{
    int partitions = TOPICS_PARTITIONS_DEFAULT;

    static_assert(TOPICS_SNAPSHOTS == 0, "the input's count goes before the others'");
    for (unsigned i = TOPICS_N; i-- > 0;) {
        if (found->topics[i].partitions > 0)
            partitions = found->topics[i].partitions;
    }
    for (unsigned i = 0; i < TOPICS_N; i++) {
        if (wanted->topics[i].partitions == 0)
            wanted->topics[i].partitions = partitions;
    }
}

static struct topics_diff *add_diff(struct topics_diffs *diffs, enum topics_id id,
                                    enum topics_fault fault, const char *key)
{
    assert(diffs->n < TOPICS_DIFFS_MAX);
    struct topics_diff *const d = &diffs->items[diffs->n++];

    *d = (struct topics_diff){.id = id, .fault = fault, .key = key};
    return d;
}

static void add_number_diff(struct topics_diffs *diffs, enum topics_id id, enum topics_fault fault,
                            const char *key, int current, int wanted)
{
    struct topics_diff *const d = add_diff(diffs, id, fault, key);

    snprintf(d->current, sizeof d->current, "%d", current);
    snprintf(d->wanted, sizeof d->wanted, "%d", wanted);
}

static bool is_setting_right(enum topics_id id, const char *key, const char *current,
                             const char *wanted)
{
    if (strcmp(current, wanted) == 0)
        return true;
    if (strcmp(key, "cleanup.policy") ==
        0) /* a set: brokers keep the order in which it was given */
        return strcmp(current, "delete,compact") == 0 && strcmp(wanted, "compact,delete") == 0;
    return id == TOPICS_SNAPSHOTS && strcmp(key, "compression.type") == 0 &&
           strcmp(current, "zstd") == 0;
}

static const char *value_of(const struct bus_topic *topic, const char *key)
{
    for (unsigned i = 0; i < topic->settings_n; i++) {
        if (strcmp(topic->settings[i].key, key) == 0)
            return topic->settings[i].value;
    }
    return "";
}

static void compare_topic(enum topics_id id, const struct bus_topic *wanted,
                          const struct bus_topic *found, struct topics_diffs *diffs)
{
    if (found->partitions == 0) {
        add_diff(diffs, id, TOPICS_ABSENT, "");
        return;
    }
    if (found->partitions != wanted->partitions)
        add_number_diff(diffs, id, TOPICS_PARTITION_COUNT, "partitions", found->partitions,
                        wanted->partitions);
    if (wanted->replication_factor != -1 && found->replication_factor != wanted->replication_factor)
        add_number_diff(diffs, id, TOPICS_REPLICATION, "replication.factor",
                        found->replication_factor, wanted->replication_factor);
    for (unsigned i = 0; i < wanted->settings_n; i++) {
        const struct bus_topic_setting *const s = &wanted->settings[i];
        const char *const current = value_of(found, s->key);

        if (is_setting_right(id, s->key, current, s->value))
            continue;
        struct topics_diff *const d = add_diff(diffs, id, TOPICS_SETTING, s->key);
        snprintf(d->current, sizeof d->current, "%s", current);
        snprintf(d->wanted, sizeof d->wanted, "%s", s->value);
    }
}

void topics_compare(const struct topics_table *wanted, const struct topics_table *found,
                    struct topics_diffs *ret_diffs)
{
    ret_diffs->n = 0;
    for (unsigned i = 0; i < TOPICS_N; i++)
        compare_topic((enum topics_id)i, &wanted->topics[i], &found->topics[i], ret_diffs);
}

bool topics_is_final(enum topics_fault fault)
{
    return fault == TOPICS_PARTITION_COUNT || fault == TOPICS_REPLICATION;
}

const char *topics_diff_text(const struct topics_table *wanted, const struct topics_diff *diff,
                             char *buf, size_t size)
{
    assert(size >= 64);
    if (diff->fault == TOPICS_ABSENT)
        snprintf(buf, size, "%s: absent", wanted->names[diff->id]);
    else
        snprintf(buf, size, "%s: %s is %s, must be %s", wanted->names[diff->id], diff->key,
                 diff->current[0] != '\0' ? diff->current : "unknown to the broker", diff->wanted);
    return buf;
}
