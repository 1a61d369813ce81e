/*
 * wire.h: the primitives of Avro's binary encoding, for generated codecs and container files only.
 * Readers never look past `end`; on anything but OK the position is of no meaning. All inline: a
 * record's decoder keeps the position in a register, and the common case of a varint is one
 * compare.
 */
#ifndef CODEC_WIRE_H
#define CODEC_WIRE_H

#include <assert.h>
#include <string.h>

#include "codec/codec.h"

/* Doubles are copied as they lie; a big-endian machine would need a swap here. */
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "codec: the wire's byte order is little endian");
static_assert(sizeof(double) == 8 && sizeof(float) == 4 && sizeof(int) == 4,
              "codec: sizes of Avro's types");

#ifdef __OPTIMIZE__
#define CODEC_INLINE static inline __attribute__((always_inline))
#else /* as functions, so that coverage counts a branch as it is written, not once for each use */
#define CODEC_INLINE static inline
#endif
#define CODEC_LIKELY(x) __builtin_expect(!!(x), 1)
#define CODEC_TRY(call)                                                                            \
    do {                                                                                           \
        const enum codec_status try_status_ = (call);                                              \
        if (!CODEC_LIKELY(try_status_ == CODEC_OK))                                                \
            return try_status_;                                                                    \
    } while (0)

enum { CODEC_VARINT_BYTES_MAX = 10 };

struct codec_in {
    const uint8_t *p;
    const uint8_t *end;
};

struct codec_out {
    uint8_t *p;
    uint8_t *end;
};

/* A varint of several bytes read: the next position, or NULL and the status as value. Two
 * registers. */
struct codec_varint {
    const uint8_t *p;
    uint64_t value;
};

struct codec_varint codec_varint_slow(const uint8_t *p, const uint8_t *end);

CODEC_INLINE enum codec_status codec_in_varint_slow(struct codec_in *in, uint64_t *ret)
{
    const struct codec_varint slow = codec_varint_slow(in->p, in->end);

    *ret = slow.value;
    if (slow.p == NULL)
        return (enum codec_status)slow.value;
    in->p = slow.p;
    return CODEC_OK;
}

/* For what is nearly always below 64: lengths, counts, branches, symbols. */
CODEC_INLINE enum codec_status codec_in_varint_short(struct codec_in *in, uint64_t *ret)
{
    if (CODEC_LIKELY(in->p < in->end && *in->p < 0x80)) {
        *ret = *in->p++;
        return CODEC_OK;
    }
    return codec_in_varint_slow(in, ret);
}

/*
 * For numbers: eight bytes at once. The lowest clear top bit marks the last byte; three shifts
 * squeeze the 7-bit groups together. Microsecond times take 8 bytes (2^53 > 3.5e15 = zigzag of year
 * 2025), and they are most of a record's bytes in varints.
 */
CODEC_INLINE enum codec_status codec_in_varint(struct codec_in *in, uint64_t *ret)
{
    const uint8_t *const p = in->p;

    if (CODEC_LIKELY(in->end - p >= 8)) {
        uint64_t w;
        memcpy(&w, p, 8);
        const uint64_t stops = ~w & 0x8080808080808080U;
        if (CODEC_LIKELY(stops != 0)) {
            w &= stops ^ (stops - 1); /* up to and with the last byte's top bit, which is clear */
            w = (w & 0x007f007f007f007fU) | (w & 0x7f007f007f007f00U) >> 1;
            w = (w & 0x00003fff00003fffU) | (w & 0x3fff00003fff0000U) >> 2;
            w = (w & 0x000000000fffffffU) | (w & 0x0fffffff00000000U) >> 4;
            *ret = w;
            in->p = p + (((unsigned)__builtin_ctzll(stops) + 1) >> 3);
            return CODEC_OK;
        }
    }
    return codec_in_varint_short(in, ret); /* close to the end */
}

CODEC_INLINE int64_t codec_zigzag(uint64_t u)
{
    return (int64_t)((u >> 1) ^ (0 - (u & 1)));
}

CODEC_INLINE enum codec_status codec_in_long(struct codec_in *in, int64_t *ret)
{
    uint64_t u;
    const enum codec_status s = codec_in_varint(in, &u);

    if (s == CODEC_OK)
        *ret = codec_zigzag(u);
    return s;
}

CODEC_INLINE enum codec_status codec_in_long_short(struct codec_in *in, int64_t *ret)
{
    uint64_t u;
    const enum codec_status s = codec_in_varint_short(in, &u);

    if (s == CODEC_OK)
        *ret = codec_zigzag(u);
    return s;
}

CODEC_INLINE enum codec_status codec_in_int(struct codec_in *in, int32_t *ret)
{
    uint64_t u;
    const enum codec_status s = codec_in_varint(in, &u);

    if (s != CODEC_OK)
        return s;
    if (u > UINT32_MAX)
        return CODEC_VARINT_OVERFLOW;
    *ret = (int32_t)((uint32_t)u >> 1 ^ (0 - ((uint32_t)u & 1)));
    return CODEC_OK;
}

/* The n bytes that follow, copied. */
CODEC_INLINE enum codec_status codec_in_copy(struct codec_in *in, void *into, size_t n)
{
    if ((size_t)(in->end - in->p) < n)
        return CODEC_TRUNCATED;
    memcpy(into, in->p, n);
    in->p += n;
    return CODEC_OK;
}

CODEC_INLINE enum codec_status codec_in_double(struct codec_in *in, double *ret)
{
    return codec_in_copy(in, ret, sizeof *ret);
}

CODEC_INLINE enum codec_status codec_in_float(struct codec_in *in, float *ret)
{
    return codec_in_copy(in, ret, sizeof *ret);
}

CODEC_INLINE enum codec_status codec_in_bool(struct codec_in *in, bool *ret)
{
    if (in->p == in->end)
        return CODEC_TRUNCATED;
    if (*in->p > 1)
        return CODEC_BAD_BOOL;
    *ret = *in->p++ != 0;
    return CODEC_OK;
}

/* The length before strings and bytes: checked against the bound first, then against what is there.
 */
CODEC_INLINE enum codec_status codec_in_length(struct codec_in *in, uint32_t bytes_max,
                                               uint32_t *ret)
{
    int64_t n;
    const enum codec_status s = codec_in_long_short(in, &n);

    if (s != CODEC_OK)
        return s;
    if (n < 0)
        return CODEC_NEGATIVE_LENGTH;
    if (n > bytes_max)
        return CODEC_OVER_BOUND;
    if (n > in->end - in->p)
        return CODEC_TRUNCATED;
    *ret = (uint32_t)n;
    return CODEC_OK;
}

CODEC_INLINE enum codec_status codec_in_string(struct codec_in *in, uint32_t bytes_max,
                                               struct codec_str *ret)
{
    uint32_t n;
    const enum codec_status s = codec_in_length(in, bytes_max, &n);

    if (s != CODEC_OK)
        return s;
    *ret = (struct codec_str){.data = (const char *)in->p, .n = n};
    in->p += n;
    return CODEC_OK;
}

CODEC_INLINE enum codec_status codec_in_bytes(struct codec_in *in, uint32_t bytes_max,
                                              struct codec_bytes *ret)
{
    uint32_t n;
    const enum codec_status s = codec_in_length(in, bytes_max, &n);

    if (s != CODEC_OK)
        return s;
    *ret = (struct codec_bytes){.data = in->p, .n = n};
    in->p += n;
    return CODEC_OK;
}

/* A union's branch or an enum's symbol: 0 to count - 1, else `bad`. */
CODEC_INLINE enum codec_status codec_in_index(struct codec_in *in, uint32_t count,
                                              enum codec_status bad, uint32_t *ret)
{
    int64_t i;
    const enum codec_status s = codec_in_long_short(in, &i);

    if (s != CODEC_OK)
        return s;
    if (i < 0 || i >= count)
        return bad;
    *ret = (uint32_t)i;
    return CODEC_OK;
}

/* One block of an array: `items` follow; where the writer gave the block's size, it must end at
 * `stop`. */
struct codec_block {
    uint32_t items; /* 0: the array ends here */
    const uint8_t *stop;
};

/* `room`: how many items the array may still take. */
CODEC_INLINE enum codec_status codec_in_block(struct codec_in *in, uint32_t room,
                                              struct codec_block *ret)
{
    int64_t count, size;
    enum codec_status s = codec_in_long_short(in, &count);

    if (s != CODEC_OK)
        return s;
    if (count >= 0) {
        if (count > room)
            return CODEC_OVER_BOUND;
        *ret = (struct codec_block){.items = (uint32_t)count, .stop = NULL};
        return CODEC_OK;
    }
    s = codec_in_long_short(in, &size);
    if (s != CODEC_OK)
        return s;
    if (size < 0)
        return CODEC_NEGATIVE_LENGTH;
    if (count < -(int64_t)room)
        return CODEC_OVER_BOUND;
    if (size > in->end - in->p)
        return CODEC_TRUNCATED;
    *ret = (struct codec_block){.items = (uint32_t)-count, .stop = in->p + size};
    return CODEC_OK;
}

CODEC_INLINE enum codec_status codec_in_block_end(const struct codec_in *in,
                                                  const struct codec_block *block)
{
    return block->stop == NULL || block->stop == in->p ? CODEC_OK : CODEC_BAD_BLOCK_SIZE;
}

/* Writers: NO_SPACE instead of a byte past `end`. */

CODEC_INLINE enum codec_status codec_out_long(struct codec_out *out, int64_t v)
{
    uint64_t u = (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
    uint8_t bytes[CODEC_VARINT_BYTES_MAX];
    size_t n = 0;

    if (CODEC_LIKELY(u < 0x80)) {
        if (out->p == out->end)
            return CODEC_NO_SPACE;
        *out->p++ = (uint8_t)u;
        return CODEC_OK;
    }
    for (; u >= 0x80; u >>= 7)
        bytes[n++] = (uint8_t)(u | 0x80);
    bytes[n++] = (uint8_t)u;
    if ((size_t)(out->end - out->p) < n)
        return CODEC_NO_SPACE;
    memcpy(out->p, bytes, n);
    out->p += n;
    return CODEC_OK;
}

CODEC_INLINE enum codec_status codec_out_copy(struct codec_out *out, const void *from, size_t n)
{
    if ((size_t)(out->end - out->p) < n)
        return CODEC_NO_SPACE;
    if (n > 0) /* an empty view may have no address */
        memcpy(out->p, from, n);
    out->p += n;
    return CODEC_OK;
}

CODEC_INLINE enum codec_status codec_out_bool(struct codec_out *out, bool v)
{
    return codec_out_long(out, v ? -1 : 0); /* one byte, 1 or 0 */
}

CODEC_INLINE enum codec_status codec_out_view(struct codec_out *out, const void *data, uint32_t n,
                                              uint32_t bytes_max)
{
    if (n > bytes_max)
        return CODEC_OVER_BOUND;
    const enum codec_status s = codec_out_long(out, n);
    return s != CODEC_OK ? s : codec_out_copy(out, data, n);
}

CODEC_INLINE enum codec_status codec_out_string(struct codec_out *out, struct codec_str v,
                                                uint32_t bytes_max)
{
    return codec_out_view(out, v.data, v.n, bytes_max);
}

CODEC_INLINE enum codec_status codec_out_bytes(struct codec_out *out, struct codec_bytes v,
                                               uint32_t bytes_max)
{
    return codec_out_view(out, v.data, v.n, bytes_max);
}

#endif
