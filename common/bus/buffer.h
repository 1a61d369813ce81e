/* buffer.h: one half of the loop's output buffer: encoded outputs in the order they were sent.
 * Private to common/bus. */
#ifndef BUS_BUFFER_H
#define BUS_BUFFER_H

#include "bus/bus.h"

#define BUFFER_ALIGN 8

/* In the buffer: this, then for each header two lengths, name with its NUL and value; then key and
 * value. */
struct buffer_record {
    uint32_t bytes; /* to the next one */
    uint32_t topic;
    int32_t partition;
    uint32_t headers_n;
    uint32_t key_n;
    uint32_t value_n;
    uint32_t payload; /* offset of the key from the record's start */
    bool has_key;
    bool has_value;
    bool dead; /* its partition was revoked before it was committed */
    uint64_t tag;
    int64_t timestamp_ms;
    int64_t offset; /* -1 until delivered */
};

struct buffer_header {
    const char *name;
    const void *value;
    uint32_t value_n;
};

struct buffer {
    uint8_t *bytes;
    size_t size;
    size_t used;
    unsigned tagged; /* records with a tag */
};

bool buffer_new(struct buffer *buffer, size_t size); /* false: no memory */
void buffer_free(struct buffer *buffer);
size_t buffer_cost(const struct bus_output *output);
void buffer_add(struct buffer *buffer, const struct bus_output *output); /* asserts that it fits */
void buffer_clear(struct buffer *buffer);
/* Marks what was sent for partition as dead. */
void buffer_kill(struct buffer *buffer, int32_t partition);

/* NULL at the end. */
struct buffer_record *buffer_first(const struct buffer *buffer);
struct buffer_record *buffer_next(const struct buffer *buffer, struct buffer_record *record);
const void *buffer_key(const struct buffer_record *record); /* NULL when absent */
const void *buffer_value(const struct buffer_record *record); /* NULL when absent */
/* Walks headers: cursor starts at 0. */
struct buffer_header buffer_header_at(const struct buffer_record *record, size_t *cursor);

#endif
