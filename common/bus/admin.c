/*
 * Topic administration: one short-lived handle a call, one admin request at a time, each bounded by
 * the call's deadline. A broker answers CreateTopics and DeleteTopics before its own metadata shows
 * it, so both wait until it does: what the next call would otherwise stumble over.
 */
#include "bus/admin.h"

#include "clk/clk.h"

#include <stdio.h>
#include <string.h>

#define ASK_AGAIN_MS 100
#define ADMIN_TOPICS_MAX 32
#define ADMIN_REQUEST_MS_MIN 1
#define ADMIN_SETTLE_MS 50
#define ADMIN_LOOK_MS 100
#define ALTER_SETTLE_US INT64_C(2000000)

static int remaining_ms(const struct admin *a)
{
    const int64_t left_ms = (a->deadline_us - clk_mono_us()) / 1000;

    return left_ms < ADMIN_REQUEST_MS_MIN ? ADMIN_REQUEST_MS_MIN : (int)left_ms;
}

void admin_begin(struct admin *a, rd_kafka_admin_op_t operation)
{
    char text[200];

    a->queue = rd_kafka_queue_new(a->rk);
    a->options = rd_kafka_AdminOptions_new(a->rk, operation);
    (void)rd_kafka_AdminOptions_set_request_timeout(a->options, remaining_ms(a), text, sizeof text);
}

enum err_class admin_wait(struct admin *a, const char *what, struct err *err)
{
    /* librdkafka answers by the request's own time-out; the second on top is for its answer to
     * arrive. A refused login is not waited out: it would be refused again. */
    const int64_t until_us = clk_mono_us() + INT64_C(1000) * (remaining_ms(a) + 1000);

    a->event = NULL;
    while (a->event == NULL && clk_mono_us() < until_us && !client_refused(a->client))
        a->event = rd_kafka_queue_poll(a->queue, ADMIN_LOOK_MS);
    if (a->event == NULL)
        return client_err(a->client, err, what, RD_KAFKA_RESP_ERR__TIMED_OUT, "no answer in time");
    if (rd_kafka_event_error(a->event) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return client_err(a->client, err, what, rd_kafka_event_error(a->event),
                          rd_kafka_event_error_string(a->event));
    return ERR_OK;
}

void admin_end(struct admin *a)
{
    if (a->event != NULL)
        rd_kafka_event_destroy(a->event);
    rd_kafka_AdminOptions_destroy(a->options);
    rd_kafka_queue_destroy(a->queue);
}

static struct bus_topic *find(struct bus_topic *topics, unsigned n, const char *name)
{
    for (unsigned i = 0; i < n; i++)
        if (strcmp(topics[i].name, name) == 0)
            return &topics[i];
    return NULL;
}

static enum err_class take_description(struct admin *a, struct bus_topic *topic,
                                       const rd_kafka_TopicDescription_t *found, struct err *err)
{
    const rd_kafka_error_t *error = rd_kafka_TopicDescription_error(found);
    const rd_kafka_resp_err_t code =
        error == NULL ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_error_code(error);
    size_t partitions = 0;
    size_t replicas = 0;

    topic->partitions = 0;
    topic->replication_factor = 0;
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return ERR_OK;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return client_err(a->client, err, topic->name, code, rd_kafka_error_string(error));

    const rd_kafka_TopicPartitionInfo_t **infos =
        rd_kafka_TopicDescription_partitions(found, &partitions);

    if (partitions > 0)
        (void)rd_kafka_TopicPartitionInfo_replicas(infos[0], &replicas);
    topic->partitions = (int)partitions;
    topic->replication_factor = (int)replicas;
    return ERR_OK;
}

static enum err_class describe_topics(struct admin *a, struct bus_topic *topics, unsigned n,
                                      struct err *err)
{
    const char *names[ADMIN_TOPICS_MAX];
    size_t found_n = 0;
    enum err_class e = ERR_OK;

    for (unsigned i = 0; i < n; i++)
        names[i] = topics[i].name;
    rd_kafka_TopicCollection_t *collection = rd_kafka_TopicCollection_of_topic_names(names, n);

    admin_begin(a, RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
    rd_kafka_DescribeTopics(a->rk, collection, a->options, a->queue);
    e = admin_wait(a, "describe topics", err);
    if (e == ERR_OK) {
        const rd_kafka_TopicDescription_t **found = rd_kafka_DescribeTopics_result_topics(
            rd_kafka_event_DescribeTopics_result(a->event), &found_n);

        for (size_t i = 0; e == ERR_OK && i < found_n; i++) {
            struct bus_topic *topic = find(topics, n, rd_kafka_TopicDescription_name(found[i]));

            if (topic != NULL)
                e = take_description(a, topic, found[i], err);
        }
    }
    admin_end(a);
    rd_kafka_TopicCollection_destroy(collection);
    return e;
}

static void take_settings(struct bus_topic *topic, const rd_kafka_ConfigResource_t *resource)
{
    size_t entries_n = 0;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &entries_n);

    for (size_t i = 0; i < entries_n; i++) {
        const char *name = rd_kafka_ConfigEntry_name(entries[i]);
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);

        for (unsigned k = 0; k < topic->settings_n; k++)
            if (strcmp(topic->settings[k].key, name) == 0)
                (void)snprintf(topic->settings[k].value, sizeof topic->settings[k].value, "%s",
                               value == NULL ? "" : value);
    }
}

static enum err_class describe_settings(struct admin *a, struct bus_topic *topics, unsigned n,
                                        struct err *err)
{
    rd_kafka_ConfigResource_t *wanted[ADMIN_TOPICS_MAX];
    size_t wanted_n = 0;
    size_t found_n = 0;
    enum err_class e = ERR_OK;

    for (unsigned i = 0; i < n; i++)
        if (topics[i].settings_n > 0 && topics[i].partitions > 0)
            wanted[wanted_n++] =
                rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topics[i].name);
    if (wanted_n == 0)
        return ERR_OK;
    admin_begin(a, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_DescribeConfigs(a->rk, wanted, wanted_n, a->options, a->queue);
    e = admin_wait(a, "describe topic settings", err);
    if (e == ERR_OK) {
        const rd_kafka_ConfigResource_t **found = rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(a->event), &found_n);

        for (size_t i = 0; e == ERR_OK && i < found_n; i++) {
            const char *name = rd_kafka_ConfigResource_name(found[i]);
            struct bus_topic *topic = find(topics, n, name);

            if (rd_kafka_ConfigResource_error(found[i]) != RD_KAFKA_RESP_ERR_NO_ERROR)
                e = client_err(a->client, err, name, rd_kafka_ConfigResource_error(found[i]),
                               rd_kafka_ConfigResource_error_string(found[i]));
            else if (topic != NULL)
                take_settings(topic, found[i]);
        }
    }
    admin_end(a);
    rd_kafka_ConfigResource_destroy_array(wanted, wanted_n);
    return e;
}

static enum err_class check_count(unsigned n, struct err *err)
{
    if (n > ADMIN_TOPICS_MAX)
        return err_set(err, ERR_REJECT, "topics: %u in one call: at most %d", n, ADMIN_TOPICS_MAX);
    return ERR_OK;
}

static enum err_class describe(struct admin *a, struct bus_topic *topics, unsigned n,
                               struct err *err)
{
    enum err_class e = check_count(n, err);

    if (e == ERR_OK && n > 0)
        e = describe_topics(a, topics, n, err);
    if (e == ERR_OK && n > 0)
        e = describe_settings(a, topics, n, err);
    return e;
}

enum err_class admin_describe(struct client *client, rd_kafka_t *rk, struct bus_topic *topics,
                              unsigned n, int timeout_ms, struct err *err)
{
    struct admin a = {
        .client = client, .rk = rk, .deadline_us = clk_mono_us() + INT64_C(1000) * timeout_ms};

    return describe(&a, topics, n, err);
}

enum err_class admin_find(struct client *client, rd_kafka_t *rk, struct bus_topic *topics,
                          unsigned n, int timeout_ms, struct err *err)
{
    enum err_class e = admin_describe(client, rk, topics, n, timeout_ms, err);

    for (unsigned i = 0; e == ERR_OK && i < n; i++)
        if (topics[i].partitions == 0)
            e = err_set(err, ERR_REJECT, "topic %s: is not there (broker %s): l2ctl topics apply",
                        topics[i].name, client->address);
    return e;
}

bool admin_is_answered(const rd_kafka_topic_partition_t *found)
{
    return found->err == RD_KAFKA_RESP_ERR_NO_ERROR && found->offset != RD_KAFKA_OFFSET_INVALID;
}

static enum err_class ask_offsets(struct client *client, rd_kafka_t *rk, const char *topic,
                                  int first, int n, int64_t spec, int timeout_ms,
                                  int64_t *ret_offsets, struct err *err)
{
    struct admin a = {
        .client = client, .rk = rk, .deadline_us = clk_mono_us() + INT64_C(1000) * timeout_ms};
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(n);
    enum err_class e = ERR_OK;
    size_t found_n = 0;

    for (int i = 0; i < n; i++)
        rd_kafka_topic_partition_list_add(list, topic, first + i)->offset = spec;
    admin_begin(&a, RD_KAFKA_ADMIN_OP_LISTOFFSETS);
    rd_kafka_error_destroy(rd_kafka_AdminOptions_set_isolation_level(
        a.options, RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED));
    rd_kafka_ListOffsets(rk, list, a.options, a.queue);
    e = admin_wait(&a, topic, err);
    if (e == ERR_OK) {
        const rd_kafka_ListOffsetsResultInfo_t **found =
            rd_kafka_ListOffsets_result_infos(rd_kafka_event_ListOffsets_result(a.event), &found_n);

        for (size_t i = 0; e == ERR_OK && i < found_n; i++) {
            const rd_kafka_topic_partition_t *p =
                rd_kafka_ListOffsetsResultInfo_topic_partition(found[i]);

            if (p->err != RD_KAFKA_RESP_ERR_NO_ERROR)
                e = client_err(client, err, topic, p->err, rd_kafka_err2str(p->err));
            else if (!admin_is_answered(p))
                e = err_set(err, ERR_RETRY, "topic %s: partition %d: no answer on its offsets",
                            topic, (int)p->partition);
            else if (p->partition >= first && p->partition < first + n)
                ret_offsets[p->partition - first] = p->offset;
        }
        if (e == ERR_OK && found_n != (size_t)n)
            e = err_set(err, ERR_RETRY, "topic %s: offsets of %zu of %d partitions", topic, found_n,
                        n);
    }
    admin_end(&a);
    rd_kafka_topic_partition_list_destroy(list);
    return e;
}

enum err_class admin_offsets(struct client *client, rd_kafka_t *rk, const char *topic, int first,
                             int n, int64_t spec, int timeout_ms, int64_t *ret_offsets,
                             struct err *err)
{
    const int64_t deadline_us = clk_mono_us() + INT64_C(1000) * timeout_ms;

    for (;;) {
        const int64_t left_ms = (deadline_us - clk_mono_us()) / 1000;
        const enum err_class e = ask_offsets(client, rk, topic, first, n, spec,
                                             left_ms < 1 ? 1 : (int)left_ms, ret_offsets, err);

        if (e != ERR_RETRY || clk_mono_us() >= deadline_us)
            return e;
        (void)rd_kafka_poll(rk, ASK_AGAIN_MS);
    }
}

/* ---- calls with a handle of their own ---- */

enum err_class admin_open(struct admin *a, struct client *client,
                          const struct bus_setting *settings, unsigned settings_n, int timeout_ms,
                          struct err *err)
{
    client_init(client, NULL, NULL);
    a->client = client;
    a->deadline_us = clk_mono_us() + INT64_C(1000) * timeout_ms;
    const enum err_class e =
        client_new(client, RD_KAFKA_PRODUCER, settings, settings_n, NULL, NULL, &a->rk, err);

    if (e != ERR_OK)
        client_free(client);
    return e;
}

void admin_close(struct admin *a)
{
    rd_kafka_destroy(a->rk);
    client_free(a->client);
}

enum err_class bus_topics_describe(const struct bus_setting *settings, unsigned settings_n,
                                   struct bus_topic *topics, unsigned n, int timeout_ms,
                                   struct err *err)
{
    struct client client;
    struct admin a;
    enum err_class e = admin_open(&a, &client, settings, settings_n, timeout_ms, err);

    if (e != ERR_OK)
        return e;
    e = describe(&a, topics, n, err);
    admin_close(&a);
    return e;
}

/* Waits until each topic has its partitions (created) or none (deleted). */
static enum err_class wait_visible(struct admin *a, const char *const *names, const int *partitions,
                                   unsigned n, struct err *err)
{
    for (;;) {
        struct bus_topic seen[ADMIN_TOPICS_MAX];
        unsigned waiting = 0;

        for (unsigned i = 0; i < n; i++) {
            seen[i].name = names[i];
            seen[i].partitions = 0;
            seen[i].settings_n = 0;
        }
        const enum err_class e = describe_topics(a, seen, n, err);

        if (e != ERR_OK)
            return e;
        for (unsigned i = 0; i < n; i++)
            waiting += seen[i].partitions != partitions[i];
        if (waiting == 0)
            return ERR_OK;
        if (clk_mono_us() >= a->deadline_us)
            return err_set(err, ERR_RETRY, "topics: %u of %u not yet visible: ask again", waiting,
                           n);
        (void)rd_kafka_poll(a->rk, ADMIN_SETTLE_MS);
    }
}

static enum err_class take_results(struct admin *a, const rd_kafka_topic_result_t **results,
                                   size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        if (rd_kafka_topic_result_error(results[i]) != RD_KAFKA_RESP_ERR_NO_ERROR)
            return client_err(a->client, err, rd_kafka_topic_result_name(results[i]),
                              rd_kafka_topic_result_error(results[i]),
                              rd_kafka_topic_result_error_string(results[i]) == NULL
                                  ? rd_kafka_err2str(rd_kafka_topic_result_error(results[i]))
                                  : rd_kafka_topic_result_error_string(results[i]));
    return ERR_OK;
}

static enum err_class new_topic(const struct bus_topic *topic, rd_kafka_NewTopic_t **ret,
                                struct err *err)
{
    char text[160];
    rd_kafka_NewTopic_t *made = rd_kafka_NewTopic_new(topic->name, topic->partitions,
                                                      topic->replication_factor, text, sizeof text);

    if (made == NULL)
        return err_set(err, ERR_REJECT, "topic %s: %s", topic->name, text);
    for (unsigned k = 0; k < topic->settings_n; k++)
        (void)rd_kafka_NewTopic_set_config(made, topic->settings[k].key, topic->settings[k].value);
    *ret = made;
    return ERR_OK;
}

static enum err_class create(struct admin *a, const struct bus_topic *topics, unsigned n,
                             struct err *err)
{
    rd_kafka_NewTopic_t *made[ADMIN_TOPICS_MAX];
    const char *names[ADMIN_TOPICS_MAX];
    int partitions[ADMIN_TOPICS_MAX];
    enum err_class e = check_count(n, err);
    unsigned made_n = 0;

    for (; e == ERR_OK && made_n < n; made_n++) {
        e = new_topic(&topics[made_n], &made[made_n], err);
        names[made_n] = topics[made_n].name;
        partitions[made_n] = topics[made_n].partitions;
        if (e != ERR_OK)
            break;
    }
    if (e == ERR_OK) {
        admin_begin(a, RD_KAFKA_ADMIN_OP_CREATETOPICS);
        rd_kafka_CreateTopics(a->rk, made, made_n, a->options, a->queue);
        e = admin_wait(a, "create topics", err);
        size_t results_n = 0;
        if (e == ERR_OK) {
            const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(
                rd_kafka_event_CreateTopics_result(a->event), &results_n);

            e = take_results(a, results, results_n, err);
        }
        admin_end(a);
    }
    rd_kafka_NewTopic_destroy_array(made, made_n);
    return e == ERR_OK ? wait_visible(a, names, partitions, n, err) : e;
}

enum err_class bus_topics_create(const struct bus_setting *settings, unsigned settings_n,
                                 const struct bus_topic *topics, unsigned n, int timeout_ms,
                                 struct err *err)
{
    struct client client;
    struct admin a;
    enum err_class e =
        n == 0 ? ERR_OK : admin_open(&a, &client, settings, settings_n, timeout_ms, err);

    if (n == 0 || e != ERR_OK)
        return e;
    e = create(&a, topics, n, err);
    admin_close(&a);
    return e;
}

/*
 * Waits until the broker shows the new settings, since its own metadata lags what it has answered.
 * It may write a value in another way than it was given, so this is a courtesy with an end, not a
 * check.
 */
static enum err_class wait_altered(struct admin *a, const struct bus_topic *topics, unsigned n,
                                   struct err *err)
{
    const int64_t until_us = clk_mono_us() + ALTER_SETTLE_US;
    struct bus_topic seen[ADMIN_TOPICS_MAX];

    for (;;) {
        bool same = true;

        memcpy(seen, topics, n * sizeof *topics);
        for (unsigned i = 0; i < n; i++)
            seen[i].partitions = 1; /* describe_settings asks for those that are there */
        const enum err_class e = describe_settings(a, seen, n, err);

        for (unsigned i = 0; i < n; i++)
            for (unsigned k = 0; k < topics[i].settings_n; k++)
                same = same && strcmp(seen[i].settings[k].value, topics[i].settings[k].value) == 0;
        if (e != ERR_OK || same || clk_mono_us() >= until_us)
            return e;
        (void)rd_kafka_poll(a->rk, ADMIN_SETTLE_MS);
    }
}

static enum err_class alter(struct admin *a, const struct bus_topic *topics, unsigned n,
                            struct err *err)
{
    rd_kafka_ConfigResource_t *changes[ADMIN_TOPICS_MAX];
    size_t changes_n = 0;
    size_t results_n = 0;
    enum err_class e = check_count(n, err);

    for (unsigned i = 0; e == ERR_OK && i < n; i++) {
        if (topics[i].settings_n == 0)
            continue;
        changes[changes_n] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topics[i].name);
        for (unsigned k = 0; k < topics[i].settings_n; k++) {
            rd_kafka_error_t *error = rd_kafka_ConfigResource_add_incremental_config(
                changes[changes_n], topics[i].settings[k].key, RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET,
                topics[i].settings[k].value);

            if (error != NULL)
                e = err_set(err, ERR_REJECT, "topic %s: %s: %s", topics[i].name,
                            topics[i].settings[k].key, rd_kafka_error_string(error));
            rd_kafka_error_destroy(error);
        }
        changes_n++;
    }
    if (e == ERR_OK && changes_n > 0) {
        admin_begin(a, RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS);
        rd_kafka_IncrementalAlterConfigs(a->rk, changes, changes_n, a->options, a->queue);
        e = admin_wait(a, "alter topic settings", err);
        if (e == ERR_OK) {
            const rd_kafka_ConfigResource_t **results =
                rd_kafka_IncrementalAlterConfigs_result_resources(
                    rd_kafka_event_IncrementalAlterConfigs_result(a->event), &results_n);

            for (size_t i = 0; e == ERR_OK && i < results_n; i++)
                if (rd_kafka_ConfigResource_error(results[i]) != RD_KAFKA_RESP_ERR_NO_ERROR)
                    e = client_err(a->client, err, rd_kafka_ConfigResource_name(results[i]),
                                   rd_kafka_ConfigResource_error(results[i]),
                                   rd_kafka_ConfigResource_error_string(results[i]));
        }
        admin_end(a);
    }
    rd_kafka_ConfigResource_destroy_array(changes, changes_n);
    return e == ERR_OK ? wait_altered(a, topics, n, err) : e;
}

enum err_class bus_topics_alter(const struct bus_setting *settings, unsigned settings_n,
                                const struct bus_topic *topics, unsigned n, int timeout_ms,
                                struct err *err)
{
    struct client client;
    struct admin a;
    enum err_class e = admin_open(&a, &client, settings, settings_n, timeout_ms, err);

    if (e != ERR_OK)
        return e;
    e = alter(&a, topics, n, err);
    admin_close(&a);
    return e;
}

static enum err_class delete_topics(struct admin *a, const char *const *names, unsigned n,
                                    struct err *err)
{
    rd_kafka_DeleteTopic_t *doomed[ADMIN_TOPICS_MAX];
    static const int none[ADMIN_TOPICS_MAX];
    size_t results_n = 0;
    enum err_class e = check_count(n, err);

    if (e != ERR_OK)
        return e;
    for (unsigned i = 0; i < n; i++)
        doomed[i] = rd_kafka_DeleteTopic_new(names[i]);
    admin_begin(a, RD_KAFKA_ADMIN_OP_DELETETOPICS);
    rd_kafka_DeleteTopics(a->rk, doomed, n, a->options, a->queue);
    e = admin_wait(a, "delete topics", err);
    if (e == ERR_OK) {
        const rd_kafka_topic_result_t **results = rd_kafka_DeleteTopics_result_topics(
            rd_kafka_event_DeleteTopics_result(a->event), &results_n);

        e = take_results(a, results, results_n, err);
    }
    admin_end(a);
    rd_kafka_DeleteTopic_destroy_array(doomed, n);
    return e == ERR_OK ? wait_visible(a, names, none, n, err) : e;
}

enum err_class bus_topics_delete(const struct bus_setting *settings, unsigned settings_n,
                                 const char *const *names, unsigned n, int timeout_ms,
                                 struct err *err)
{
    struct client client;
    struct admin a;
    enum err_class e =
        n == 0 ? ERR_OK : admin_open(&a, &client, settings, settings_n, timeout_ms, err);

    if (n == 0 || e != ERR_OK)
        return e;
    e = delete_topics(&a, names, n, err);
    admin_close(&a);
    return e;
}
