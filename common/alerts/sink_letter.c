/* What a sink has refused for good is kept aside in l2.dlq. */
#include "alerts/sink_thread.h"

#include "topics/topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FLUSH_MS 500

static enum err_class send_letter(struct sink_thread *t, const struct sink_item *item,
                                  const char *reason, struct err *err)
{
    char partition[16], offset[24], key_bytes[24], value_bytes[24];
    const bool is_cut = item->value_n < item->whole_value_n || item->key_n < item->whole_key_n;

    (void)snprintf(partition, sizeof partition, "%" PRId32, item->partition);
    (void)snprintf(offset, sizeof offset, "%" PRId64, item->offset);
    (void)snprintf(key_bytes, sizeof key_bytes, "%zu", item->whole_key_n);
    (void)snprintf(value_bytes, sizeof value_bytes, "%zu", item->whole_value_n);
    const struct bus_header headers[] = {
        {TOPICS_DLQ_REASON, reason, strlen(reason)},
        {TOPICS_DLQ_TOPIC, t->topic, strlen(t->topic)},
        {TOPICS_DLQ_PARTITION, partition, strlen(partition)},
        {TOPICS_DLQ_OFFSET, offset, strlen(offset)},
        {TOPICS_DLQ_KEY_BYTES, key_bytes, strlen(key_bytes)}, /* when cut */
        {TOPICS_DLQ_VALUE_BYTES, value_bytes, strlen(value_bytes)},
    };
    const struct bus_output output = {
        .partition = item->partition,
        .key = item->key,
        .key_n = item->key_n,
        .value = item->value,
        .value_n = item->value_n,
        .timestamp_ms = item->time_us / 1000,
        .headers = headers,
        .headers_n = is_cut ? 6 : 4,
    };
    if (t->producer == NULL && bus_producer_new(t->kafka, t->kafka_n, t->options->log,
                                                t->options->log_user, &t->producer, err) != ERR_OK)
        return err->class;
    return bus_producer_send(t->producer, t->dlq, &output, err);
}

/* ERR_RETRY: a stop came while it was under way. */
static enum err_class deliver(struct sink_thread *t, const struct sink_item *item,
                              const char *reason, struct err *err)
{
    enum err_class e = send_letter(t, item, reason, err);

    if (e != ERR_OK)
        return e;
    while ((e = bus_producer_flush(t->producer, FLUSH_MS, err)) == ERR_RETRY && !sink_stopping(t))
        if (sink_poll_nothing(t, 0, err) != ERR_OK)
            return err->class;
    return e;
}

enum err_class sink_dead_letter(struct sink_thread *t, const struct sink_item *item,
                                const char *reason, const char *why, struct err *err)
{
    char text[sizeof err->text + 160];

    while (!sink_stopping(t)) {
        const enum err_class e = deliver(t, item, reason, err);
        if (e == ERR_OK) {
            (void)snprintf(text, sizeof text, "partition %" PRId32 " offset %" PRId64 ": %s: %s",
                           item->partition, item->offset, reason, why);
            sink_tell(t, SINK_ERROR, "alert_refused", text);
            (void)atomic_fetch_add(&t->refused, 1);
            return ERR_OK;
        }
        if (e == ERR_FATAL)
            return e;
        sink_tell(t, SINK_ERROR, "dead_letter_failed", err->text);
        if (sink_wait_ms(t, CLK_US_PER_S / 1000, err) != ERR_OK)
            return err->class;
    }
    t->is_left = true;
    return ERR_OK;
}
