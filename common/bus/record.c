#include "bus/record.h"

#define TIMESTAMP_US_MAX (INT64_MAX / 4) /* what others add to it does not overflow */

static _Thread_local bool in_batch; /* librdkafka calls back in the thread that calls it */

int64_t record_timestamp_us(const rd_kafka_message_t *m)
{
    rd_kafka_timestamp_type_t type;
    const int64_t ms = rd_kafka_message_timestamp(m, &type);

    if (ms < 0)
        return -1;
    return ms > TIMESTAMP_US_MAX / 1000 ? TIMESTAMP_US_MAX : ms * 1000;
}

void record_take(const rd_kafka_message_t *m, struct bus_reader_record *to)
{
    to->partition = m->partition;
    to->offset = m->offset;
    to->timestamp_us = record_timestamp_us(m);
    to->key = m->key;
    to->key_n = m->key_len;
    to->value = m->payload;
    to->value_n = m->len;
    to->headers_n = 0;
}

void record_take_headers(const rd_kafka_message_t *m, struct bus_reader_record *to)
{
    rd_kafka_headers_t *headers;

    if (rd_kafka_message_headers(m, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    while (to->headers_n < BUS_HEADERS_MAX) {
        struct bus_header *h = &to->headers[to->headers_n];

        if (rd_kafka_header_get_all(headers, to->headers_n, &h->name, &h->value, &h->value_n) !=
            RD_KAFKA_RESP_ERR_NO_ERROR)
            break;
        to->headers_n++;
    }
}

unsigned record_batch(rd_kafka_queue_t *queue, rd_kafka_message_t **messages, unsigned max)
{
    in_batch = true;
    const ssize_t n = rd_kafka_consume_batch_queue(queue, 0, messages, max);

    in_batch = false;
    return n > 0 ? (unsigned)n : 0;
}

unsigned record_wait(rd_kafka_queue_t *queue, rd_kafka_message_t **messages, unsigned max,
                     int timeout_ms)
{
    messages[0] = rd_kafka_consume_queue(queue, timeout_ms);
    return messages[0] == NULL ? 0 : 1 + record_batch(queue, messages + 1, max - 1);
}

void record_yield(rd_kafka_t *rk)
{
    if (!in_batch)
        rd_kafka_yield(rk);
}

void record_release(rd_kafka_message_t **messages, unsigned *n)
{
    for (unsigned i = 0; i < *n; i++)
        rd_kafka_message_destroy(messages[i]);
    *n = 0;
}
