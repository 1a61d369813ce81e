#include "codec/wire.h"

struct codec_varint codec_varint_slow(const uint8_t *p, const uint8_t *end)
{
    uint64_t value = 0;

    for (unsigned i = 0;; i++) {
        if (p == end)
            return (struct codec_varint){.p = NULL, .value = CODEC_TRUNCATED};
        const uint8_t byte = *p++;
        if (i == CODEC_VARINT_BYTES_MAX - 1 &&
            byte > 1) /* 9 × 7 = 63: one bit is left, and no further byte */
            break;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80)
            return (struct codec_varint){.p = p, .value = value};
    }
    return (struct codec_varint){.p = NULL, .value = CODEC_VARINT_OVERFLOW};
}
