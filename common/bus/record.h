/* record.h: batches of librdkafka's messages, and what is read from one. Private to common/bus. */
#ifndef BUS_RECORD_H
#define BUS_RECORD_H

#include "bus/client.h"

/* -1 when it has none. A producer may claim any 64-bit number of milliseconds: what lies beyond
 * some 70,000 years is cut to that. */
int64_t record_timestamp_us(const rd_kafka_message_t *m);
/* Both borrow from m. The headers for themselves, and once: librdkafka allocates to look for them,
 * where there are none, too, and takes as long as for all else of a record. */
void record_take(const rd_kafka_message_t *m, struct bus_reader_record *to);
void record_take_headers(const rd_kafka_message_t *m, struct bus_reader_record *to);

/*
 * librdkafka's batch call waits until the batch is full or the time is up, so it never gets to
 * wait: when it has nothing (record_batch), the call for one message waits, and what came with it
 * follows (record_wait). Both return how many of at most max there are.
 */
unsigned record_batch(rd_kafka_queue_t *queue, rd_kafka_message_t **messages, unsigned max);
unsigned record_wait(rd_kafka_queue_t *queue, rd_kafka_message_t **messages, unsigned max,
                     int timeout_ms);
/*
 * Ends the call for one message from a callback of this thread, since there are events to tell;
 * nothing in a batch call, which goes on to the queue's end anyway: in librdkafka 2.14.2 a callback
 * that yields there costs the record behind it. The call takes it off the queue, sees the wish to
 * yield and returns without it. Partitions that stay are resumed before a rebalance's callback
 * returns, so one can be there.
 */
void record_yield(rd_kafka_t *rk);
/* Destroys them; *n is 0 then. */
void record_release(rd_kafka_message_t **messages, unsigned *n);

#endif
