#include "codec/codec.h"

#include <assert.h>
#include <string.h>

struct codec_str codec_str(const char *text)
{
    const size_t n = strlen(text);

    assert(n <= UINT32_MAX);
    return (struct codec_str){.data = text, .n = (uint32_t)n};
}

bool codec_str_equal(struct codec_str a, struct codec_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.data, b.data, a.n) == 0);
}

const char *codec_status_name(enum codec_status status)
{
    static const char *const names[CODEC_STATUS_COUNT] = {
        [CODEC_OK] = "ok",
        [CODEC_TRUNCATED] = "truncated",
        [CODEC_TRAILING_BYTES] = "trailing_bytes",
        [CODEC_VARINT_OVERFLOW] = "varint_overflow",
        [CODEC_NEGATIVE_LENGTH] = "negative_length",
        [CODEC_OVER_BOUND] = "over_bound",
        [CODEC_BAD_UNION] = "bad_union",
        [CODEC_BAD_ENUM] = "bad_enum",
        [CODEC_BAD_BOOL] = "bad_bool",
        [CODEC_BAD_BLOCK_SIZE] = "bad_block_size",
        [CODEC_NO_SPACE] = "no_space",
        [CODEC_FRAME_SHORT] = "frame_short",
        [CODEC_FRAME_UNKNOWN] = "frame_unknown",
        [CODEC_FRAME_NO_REGISTRY] = "frame_no_registry",
        [CODEC_FRAME_SCHEMA] = "frame_schema",
        [CODEC_UNRESOLVED] = "unresolved",
        [CODEC_SCHEMA_PENDING] = "schema_pending",
        [CODEC_SCHEMA_UNKNOWN] = "schema_unknown",
    };

    if ((unsigned)status >= CODEC_STATUS_COUNT)
        return "unknown_status";
    return names[status];
}

const struct codec_record *codec_record_by_fingerprint(uint64_t fingerprint)
{
    for (size_t i = 0; i < codec_records_n; i++)
        if (codec_records[i]->fingerprint == fingerprint)
            return codec_records[i];
    return NULL;
}

const struct codec_record *codec_record_by_name(const char *name)
{
    for (size_t i = 0; i < codec_records_n; i++)
        if (strcmp(codec_records[i]->name, name) == 0 ||
            strcmp(codec_records[i]->full_name, name) == 0)
            return codec_records[i];
    return NULL;
}

enum codec_status codec_frame_put(uint64_t fingerprint, uint8_t *buf, size_t cap)
{
    if (cap < CODEC_FRAME_BYTES)
        return CODEC_NO_SPACE;
    buf[0] = 0xC3;
    buf[1] = 0x01;
    for (unsigned i = 0; i < 8; i++)
        buf[2 + i] = (uint8_t)(fingerprint >> (8 * i));
    return CODEC_OK;
}

enum codec_status codec_frame_put_id(uint32_t id, uint8_t *buf, size_t cap)
{
    if (cap < CODEC_ID_FRAME_BYTES)
        return CODEC_NO_SPACE;
    buf[0] = 0x00;
    for (unsigned i = 0; i < 4; i++)
        buf[1 + i] = (uint8_t)(id >> (24 - 8 * i));
    return CODEC_OK;
}

enum codec_status codec_head_get(const uint8_t *buf, size_t n, struct codec_head *ret)
{
    if (n == 0)
        return CODEC_FRAME_SHORT;
    if (buf[0] == 0x00) {
        if (n < CODEC_ID_FRAME_BYTES)
            return CODEC_FRAME_SHORT;
        *ret = (struct codec_head){
            .has_id = true,
            .id = (uint32_t)buf[1] << 24 | (uint32_t)buf[2] << 16 | (uint32_t)buf[3] << 8 | buf[4],
            .body = buf + CODEC_ID_FRAME_BYTES,
            .body_n = n - CODEC_ID_FRAME_BYTES,
        };
        return CODEC_OK;
    }
    if (buf[0] != 0xC3 || (n > 1 && buf[1] != 0x01))
        return CODEC_FRAME_UNKNOWN;
    if (n < CODEC_FRAME_BYTES)
        return CODEC_FRAME_SHORT;

    uint64_t fingerprint = 0;
    for (unsigned i = 0; i < 8; i++)
        fingerprint |= (uint64_t)buf[2 + i] << (8 * i);
    *ret = (struct codec_head){
        .fingerprint = fingerprint,
        .body = buf + CODEC_FRAME_BYTES,
        .body_n = n - CODEC_FRAME_BYTES,
    };
    return CODEC_OK;
}

enum codec_status codec_frame_get(const uint8_t *buf, size_t n, uint64_t *ret_fingerprint,
                                  const uint8_t **ret_body, size_t *ret_body_n)
{
    struct codec_head head;

    if (n > 0 && buf[0] == 0x00)
        return CODEC_FRAME_NO_REGISTRY;
    const enum codec_status s = codec_head_get(buf, n, &head);
    if (s != CODEC_OK)
        return s;
    *ret_fingerprint = head.fingerprint;
    *ret_body = head.body;
    *ret_body_n = head.body_n;
    return CODEC_OK;
}

enum codec_status codec_unframe(const struct codec_record *record, const uint8_t *buf, size_t n,
                                void *into)
{
    uint64_t fingerprint;
    const uint8_t *body;
    size_t body_n;
    const enum codec_status s = codec_frame_get(buf, n, &fingerprint, &body, &body_n);

    if (s != CODEC_OK)
        return s;
    if (fingerprint != record->fingerprint)
        return CODEC_FRAME_SCHEMA;
    return record->decode(body, body_n, into);
}

enum codec_status codec_frame(const struct codec_record *record, const void *v, uint8_t *buf,
                              size_t cap, size_t *ret_n)
{
    size_t body_n;
    enum codec_status s = codec_frame_put(record->fingerprint, buf, cap);

    if (s == CODEC_OK)
        s = record->encode(v, buf + CODEC_FRAME_BYTES, cap - CODEC_FRAME_BYTES, &body_n);
    if (s == CODEC_OK)
        *ret_n = CODEC_FRAME_BYTES + body_n;
    return s;
}

enum codec_status codec_frame_as(const struct codec_record *record, uint32_t id, const void *v,
                                 uint8_t *buf, size_t cap, size_t *ret_n)
{
    size_t body_n;

    if (id == 0)
        return codec_frame(record, v, buf, cap, ret_n);
    enum codec_status s = codec_frame_put_id(id, buf, cap);
    if (s == CODEC_OK)
        s = record->encode(v, buf + CODEC_ID_FRAME_BYTES, cap - CODEC_ID_FRAME_BYTES, &body_n);
    if (s == CODEC_OK)
        *ret_n = CODEC_ID_FRAME_BYTES + body_n;
    return s;
}
