#include "bus/buffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_LENGTHS (2 * sizeof(uint32_t))

static_assert(sizeof(struct buffer_record) + BUFFER_ALIGN <= BUS_OUTPUT_OVERHEAD,
              "bus.h promises no more");
static_assert(HEADER_LENGTHS + 1 <= BUS_HEADER_OVERHEAD, "bus.h promises no more");
static_assert(sizeof(struct buffer_record) % BUFFER_ALIGN == 0, "records follow each other");

bool buffer_new(struct buffer *buffer, size_t size)
{
    buffer->size = size / BUFFER_ALIGN * BUFFER_ALIGN;
    buffer->bytes = malloc(buffer->size + 1);
    buffer_clear(buffer);
    return buffer->bytes != NULL;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->bytes);
    buffer->bytes = NULL;
}

void buffer_clear(struct buffer *buffer)
{
    buffer->used = 0;
    buffer->tagged = 0;
}

size_t buffer_cost(const struct bus_output *output)
{
    size_t cost = sizeof(struct buffer_record) + output->key_n + output->value_n;

    for (unsigned i = 0; i < output->headers_n; i++)
        cost += HEADER_LENGTHS + strlen(output->headers[i].name) + 1 + output->headers[i].value_n;
    return (cost + BUFFER_ALIGN - 1) / BUFFER_ALIGN * BUFFER_ALIGN;
}

static void put(uint8_t **to, const void *bytes, size_t n)
{
    assert(bytes != NULL || n == 0);
    if (n > 0)
        memcpy(*to, bytes, n);
    *to += n;
}

void buffer_add(struct buffer *buffer, const struct bus_output *output)
{
    const size_t cost = buffer_cost(output);
    uint8_t *start = buffer->bytes + buffer->used;
    uint8_t *to = start + sizeof(struct buffer_record);

    assert(cost <= buffer->size - buffer->used && cost <= UINT32_MAX);
    assert(output->headers_n <= BUS_HEADERS_MAX);
    for (unsigned i = 0; i < output->headers_n; i++) {
        const struct bus_header *h = &output->headers[i];
        const uint32_t lengths[2] = {(uint32_t)strlen(h->name) + 1, (uint32_t)h->value_n};

        put(&to, lengths, sizeof lengths);
        put(&to, h->name, lengths[0]);
        put(&to, h->value, lengths[1]);
    }
    const struct buffer_record record = {
        .bytes = (uint32_t)cost,
        .topic = output->topic,
        .partition = output->partition,
        .headers_n = output->headers_n,
        .key_n = (uint32_t)output->key_n,
        .value_n = (uint32_t)output->value_n,
        .payload = (uint32_t)(to - start),
        .has_key = output->key != NULL,
        .has_value = output->value != NULL,
        .tag = output->tag,
        .timestamp_ms = output->timestamp_ms,
        .offset = -1,
    };

    memcpy(start, &record, sizeof record);
    put(&to, output->key, output->key_n);
    put(&to, output->value, output->value_n);
    buffer->used += cost;
    buffer->tagged += output->tag != 0;
}

void buffer_kill(struct buffer *buffer, int32_t partition)
{
    for (struct buffer_record *r = buffer_first(buffer); r != NULL; r = buffer_next(buffer, r))
        if (r->partition == partition)
            r->dead = true;
}

static struct buffer_record *at(const struct buffer *buffer, size_t offset)
{
    return offset < buffer->used ? (struct buffer_record *)(void *)(buffer->bytes + offset) : NULL;
}

struct buffer_record *buffer_first(const struct buffer *buffer)
{
    return at(buffer, 0);
}

struct buffer_record *buffer_next(const struct buffer *buffer, struct buffer_record *record)
{
    return at(buffer, (size_t)((uint8_t *)record - buffer->bytes) + record->bytes);
}

const void *buffer_key(const struct buffer_record *record)
{
    return record->has_key ? (const uint8_t *)record + record->payload : NULL;
}

const void *buffer_value(const struct buffer_record *record)
{
    return record->has_value ? (const uint8_t *)record + record->payload + record->key_n : NULL;
}

struct buffer_header buffer_header_at(const struct buffer_record *record, size_t *cursor)
{
    const uint8_t *from = (const uint8_t *)record + sizeof *record + *cursor;
    uint32_t lengths[2];

    memcpy(lengths, from, sizeof lengths);
    from += sizeof lengths;
    *cursor += sizeof lengths + lengths[0] + lengths[1];
    return (struct buffer_header){
        .name = (const char *)from, .value = from + lengths[0], .value_n = lengths[1]};
}
