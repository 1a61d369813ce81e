/* The table of topics against the numbers that were asked for, and what comparing finds. The broker
 * is a table in memory. */
#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "topics/topics.h"

static const struct topics_options plain = {
    .prefix = "", .partitions = 6, .replication_factor = -1};
static struct topics_table wanted, found;
static struct topics_diffs diffs;

/* ---- the broker */

static struct topics_table broker;
static enum err_class broker_answer;
static unsigned broker_asked_n;

enum err_class bus_topics_describe(const struct bus_setting *settings, unsigned settings_n,
                                   struct bus_topic *topics, unsigned n, int timeout_ms,
                                   struct err *err)
{
    (void)settings, (void)settings_n, (void)timeout_ms;
    broker_asked_n = n;
    if (broker_answer != ERR_OK)
        return err_set(err, broker_answer, "broker: out of reach: start it");
    for (unsigned i = 0; i < n; i++) {
        for (unsigned b = 0; b < TOPICS_N; b++) {
            if (strcmp(topics[i].name, broker.names[b]) == 0) {
                const char *const name = topics[i].name;
                topics[i] = broker.topics[b];
                topics[i].name = name;
            }
        }
    }
    return ERR_OK;
}

static const char *setting(const struct topics_table *table, enum topics_id id, const char *key)
{
    for (unsigned i = 0; i < table->topics[id].settings_n; i++) {
        if (strcmp(table->topics[id].settings[i].key, key) == 0)
            return table->topics[id].settings[i].value;
    }
    return NULL;
}

static void change(struct topics_table *table, enum topics_id id, const char *key,
                   const char *value)
{
    for (unsigned i = 0; i < table->topics[id].settings_n; i++) {
        struct bus_topic_setting *const s = &table->topics[id].settings[i];
        if (strcmp(s->key, key) == 0) {
            snprintf(s->value, sizeof s->value, "%s", value);
            return;
        }
    }
    fail_msg("no setting %s", key);
}

static struct topics_table copy_of(const struct topics_table *from)
{
    struct topics_table to = *from;

    for (unsigned i = 0; i < TOPICS_N; i++)
        to.topics[i].name = NULL; /* the copy's names are its own */
    return to;
}

static void must_be(enum err_class want, enum err_class got, const struct err *err)
{
    if (want != got)
        fail_msg("class %d instead of %d: %s", got, want, err->text);
}

static int fresh(void **state)
{
    (void)state;
    struct err err = {0};

    must_be(ERR_OK, topics_wanted(&plain, &wanted, &err), &err);
    found = copy_of(&wanted);
    broker = copy_of(&wanted);
    broker_answer = ERR_OK;
    return 0;
}

/* ---- the table */

/* Written down a second time. Seen to fail with 18 days for 180, and with
 * l2.dlq at the input's size. */
static void topics_table_is_spec(void **state)
{
    (void)state;
    static const struct {
        const char *name, *record, *retention_ms, *cleanup, *compression, *bytes;
    } spec[] = {
        {"l2.snapshots", "L2Snapshot", "604800000", "delete", "lz4", "1048588"},
        {"l2.ohlcv", "Candle", "15552000000", "delete", "producer", "1048588"},
        {"l2.bars", "L2Bar", "15552000000", "delete", "producer", "1048588"},
        {"l2.features", "L2Feature", "15552000000", "delete", "producer", "1048588"},
        {"l2.heartbeat", "Heartbeat", "86400000", "compact,delete", "producer", "1048588"},
        {"l2.predictions", "Prediction", "15552000000", "delete", "producer", "1048588"},
        {"l2.outcomes", "Outcome", "15552000000", "delete", "producer", "1048588"},
        {"l2.quality", "QualitySignal", "15552000000", "delete", "producer", "1048588"},
        {"l2.alerts", "Alert", "15552000000", "delete", "producer", "1048588"},
        {"l2.rollout", "RolloutState", "-1", "compact", "producer", "1048588"},
        {"l2.dlq", NULL, "2592000000", "delete", "producer", "1064972"},
    };
    static_assert(sizeof spec / sizeof spec[0] == TOPICS_N, "one row a topic");

    for (unsigned i = 0; i < TOPICS_N; i++) {
        const enum topics_id id = (enum topics_id)i;
        assert_string_equal(topics_name(id), spec[i].name);
        assert_string_equal(wanted.topics[i].name, spec[i].name);
        if (spec[i].record == NULL)
            assert_null(topics_record(id));
        else
            assert_string_equal(topics_record(id), spec[i].record);
        assert_string_equal(setting(&wanted, id, "retention.ms"), spec[i].retention_ms);
        assert_string_equal(setting(&wanted, id, "retention.bytes"), "-1");
        assert_string_equal(setting(&wanted, id, "cleanup.policy"), spec[i].cleanup);
        assert_string_equal(setting(&wanted, id, "compression.type"), spec[i].compression);
        assert_string_equal(setting(&wanted, id, "max.message.bytes"), spec[i].bytes);
        assert_string_equal(setting(&wanted, id, "message.timestamp.type"), "CreateTime");
        for (unsigned j = 0; j < 2; j++) {
            const char *limit = setting(&wanted, id,
                                        j == 0 ? "message.timestamp.before.max.ms"
                                               : "message.timestamp.after.max.ms");
            if (id == TOPICS_DLQ)
                assert_string_equal(limit, "9223372036854775807");
            else
                assert_null(limit);
        }
        assert_int_equal(wanted.topics[i].partitions, 6);
        assert_int_equal(wanted.topics[i].replication_factor, -1);
    }
    assert_int_equal(TOPICS_DLQ_MESSAGE_BYTES_MAX - TOPICS_MESSAGE_BYTES_MAX, 16 * 1024);
}

static void topics_three_replicas_want_two_in_sync(void **state)
{
    (void)state;
    struct err err = {0};
    struct topics_options o = plain;

    assert_null(setting(&wanted, TOPICS_BARS, "min.insync.replicas"));
    o.replication_factor = 3;
    must_be(ERR_OK, topics_wanted(&o, &wanted, &err), &err);
    assert_string_equal(setting(&wanted, TOPICS_BARS, "min.insync.replicas"), "2");
    assert_int_equal(wanted.topics[TOPICS_BARS].replication_factor, 3);
}

static void topics_bounds_are_named(void **state)
{
    (void)state;
    static const struct {
        struct topics_options options;
        const char *says;
    } bad[] = {
        {{.prefix = "a b", .replication_factor = -1}, "[A-Za-z0-9._-]{0,64}"},
        {{.prefix = "12345678901234567890123456789012345678901234567890123456789012345",
          .replication_factor = -1},
         "[A-Za-z0-9._-]{0,64}"},
        {{.prefix = "", .partitions = -1, .replication_factor = -1}, "1 to 1024"},
        {{.prefix = "", .partitions = 1025, .replication_factor = -1}, "1 to 1024"},
        {{.prefix = "", .partitions = 1, .replication_factor = 0}, "1 to 9"},
        {{.prefix = "", .partitions = 1, .replication_factor = 10}, "1 to 9"},
    };

    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err err = {0};
        struct topics_table untouched = {.topics[0].partitions = 42};
        must_be(ERR_REJECT, topics_wanted(&bad[i].options, &untouched, &err), &err);
        assert_non_null(strstr(err.text, bad[i].says));
        assert_int_equal(untouched.topics[0].partitions, 42);
    }
}

static void topics_are_found_by_any_name(void **state)
{
    (void)state;
    enum topics_id id = TOPICS_N;

    assert_true(topics_find("l2.dlq", "", &id) && id == TOPICS_DLQ);
    assert_true(topics_find("dlq", "eu.", &id) && id == TOPICS_DLQ);
    assert_true(topics_find("eu.l2.bars", "eu.", &id) && id == TOPICS_BARS);
    assert_false(topics_find("us.l2.bars", "eu.", &id));
    assert_false(topics_find("l2.", "", &id));
    assert_false(topics_find("", "", &id));
    assert_true(id == TOPICS_BARS);
}

/* ---- comparing */

/* Every single setting, count and factor of every topic, changed alone, is found alone. Seen to
 * fail with is_setting_right comparing the first character only. */
static void topics_each_drift_is_found(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TOPICS_N; i++) {
        for (unsigned k = 0; k < wanted.topics[i].settings_n; k++) {
            found = copy_of(&wanted);
            struct bus_topic_setting *const s = &found.topics[i].settings[k];
            s->value[strlen(s->value)] = '1';
            topics_compare(&wanted, &found, &diffs);
            assert_int_equal(diffs.n, 1);
            assert_int_equal(diffs.items[0].id, i);
            assert_int_equal(diffs.items[0].fault, TOPICS_SETTING);
            assert_string_equal(diffs.items[0].key, wanted.topics[i].settings[k].key);
            assert_string_equal(diffs.items[0].wanted, wanted.topics[i].settings[k].value);
            assert_string_equal(diffs.items[0].current, s->value);
        }
        found = copy_of(&wanted);
        found.topics[i].partitions = 5;
        topics_compare(&wanted, &found, &diffs);
        assert_int_equal(diffs.n, 1);
        assert_int_equal(diffs.items[0].fault, TOPICS_PARTITION_COUNT);
        assert_true(topics_is_final(diffs.items[0].fault));
        found.topics[i].partitions = 0;
        topics_compare(&wanted, &found, &diffs);
        assert_int_equal(diffs.n, 1); /* an absent topic is one difference */
        assert_int_equal(diffs.items[0].fault, TOPICS_ABSENT);
    }
}

static void topics_worst_case_fits(void **state)
{
    (void)state;
    struct err err = {0};
    const struct topics_options three = {.prefix = "", .partitions = 6, .replication_factor = 3};
    unsigned want_n = 0;

    must_be(ERR_OK, topics_wanted(&three, &wanted, &err), &err);
    topics_blank(&wanted, &found);
    for (unsigned i = 0; i < TOPICS_N; i++) {
        found.topics[i].partitions = 1;
        found.topics[i].replication_factor = 1;
        want_n += 2 + wanted.topics[i].settings_n;
    }
    topics_compare(&wanted, &found, &diffs);
    assert_int_equal(diffs.n, want_n);
}

static void topics_equivalents_are_right(void **state)
{
    (void)state;
    change(&found, TOPICS_HEARTBEAT, "cleanup.policy", "delete,compact");
    change(&found, TOPICS_SNAPSHOTS, "compression.type", "zstd");
    topics_compare(&wanted, &found, &diffs);
    assert_int_equal(diffs.n, 0);
    change(&found, TOPICS_BARS, "compression.type", "zstd"); /* ours are as we send them */
    change(&found, TOPICS_SNAPSHOTS, "compression.type", "producer");
    topics_compare(&wanted, &found, &diffs);
    assert_int_equal(diffs.n, 2);
}

/* A cluster's own count stands when nobody asks for another; the input's goes first. */
static void topics_count_settles(void **state)
{
    (void)state;
    struct err err = {0};
    const struct topics_options any = {.prefix = "", .partitions = 0, .replication_factor = -1};

    must_be(ERR_OK, topics_wanted(&any, &wanted, &err), &err);
    topics_blank(&wanted, &found);
    topics_settle(&wanted, &found);
    assert_int_equal(wanted.topics[TOPICS_DLQ].partitions, TOPICS_PARTITIONS_DEFAULT);

    must_be(ERR_OK, topics_wanted(&any, &wanted, &err), &err);
    found.topics[TOPICS_DLQ].partitions = 3;
    found.topics[TOPICS_SNAPSHOTS].partitions = 12;
    topics_settle(&wanted, &found);
    assert_int_equal(wanted.topics[TOPICS_BARS].partitions, 12);
    assert_int_equal(wanted.topics[TOPICS_DLQ].partitions, 12);

    must_be(ERR_OK, topics_wanted(&plain, &wanted, &err), &err);
    topics_settle(&wanted, &found);
    assert_int_equal(wanted.topics[TOPICS_BARS].partitions, 6);
}

/* ---- a service's start */

static const enum topics_id producer_uses[] = {TOPICS_SNAPSHOTS, TOPICS_BARS, TOPICS_FEATURES,
                                               TOPICS_HEARTBEAT, TOPICS_DLQ};
#define PRODUCER_USES_N 5

static enum err_class start(struct err *err)
{
    const struct topics_options any = {.prefix = "eu.", .partitions = 0, .replication_factor = -1};

    return topics_check(NULL, 0, &any, producer_uses, PRODUCER_USES_N, 1000, err);
}

static int fresh_eu(void **state)
{
    (void)fresh(state);
    struct err err = {0};
    const struct topics_options o = {.prefix = "eu.", .partitions = 4, .replication_factor = -1};

    must_be(ERR_OK, topics_wanted(&o, &broker, &err), &err);
    return 0;
}

static void topics_service_starts(void **state)
{
    (void)state;
    struct err err = {0};

    must_be(ERR_OK, start(&err), &err);
    assert_int_equal(broker_asked_n, PRODUCER_USES_N);
    broker.topics[TOPICS_ALERTS].partitions = 0; /* not one of those that it uses */
    must_be(ERR_OK, start(&err), &err);
}

/* Seen to fail with the comparison left out of topics_check. */
static void topics_service_refuses(void **state)
{
    (void)state;
    struct err err = {0};

    change(&broker, TOPICS_BARS, "retention.ms", "1");
    must_be(ERR_REJECT, start(&err), &err);
    assert_string_equal(err.text, "eu.l2.bars: retention.ms is 1, must be 15552000000: type l2ctl "
                                  "topics apply --topic-prefix eu.");
    broker.topics[TOPICS_HEARTBEAT].partitions = 0;
    must_be(ERR_REJECT, start(&err), &err);
    assert_non_null(strstr(err.text, "(and 1 more)"));
    broker.topics[TOPICS_DLQ].partitions = 1; /* no apply mends this one: it goes first */
    must_be(ERR_REJECT, start(&err), &err);
    assert_string_equal(err.text,
                        "eu.l2.dlq: partitions is 1, must be 4 (and 2 more): see " TOPICS_RUNBOOK);
    broker_answer = ERR_RETRY;
    must_be(ERR_RETRY, start(&err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(topics_table_is_spec, fresh),
        cmocka_unit_test_setup(topics_three_replicas_want_two_in_sync, fresh),
        cmocka_unit_test_setup(topics_bounds_are_named, fresh),
        cmocka_unit_test_setup(topics_are_found_by_any_name, fresh),
        cmocka_unit_test_setup(topics_each_drift_is_found, fresh),
        cmocka_unit_test_setup(topics_worst_case_fits, fresh),
        cmocka_unit_test_setup(topics_equivalents_are_right, fresh),
        cmocka_unit_test_setup(topics_count_settles, fresh),
        cmocka_unit_test_setup(topics_service_starts, fresh_eu),
        cmocka_unit_test_setup(topics_service_refuses, fresh_eu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
