/* record.h: what is read from a librdkafka message, in one place. Private to common/bus. */
#ifndef BUS_RECORD_H
#define BUS_RECORD_H

#include "bus/client.h"

/* -1 when it has none. A producer may claim any 64-bit number of milliseconds: what lies beyond
 * some 70,000 years is cut to that. */
int64_t record_timestamp_us(const rd_kafka_message_t *m);
/* Borrows from m. */
void record_take(const rd_kafka_message_t *m, struct bus_reader_record *to);

#endif
