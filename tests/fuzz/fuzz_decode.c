/*
 * One generated decoder on any bytes. What it accepts must encode within bytes_max and to no more
 * than was read (padding is dropped, blocks are joined), and decode to the same.
 * FUZZ_HEADER and FUZZ_RECORD come from CMake: one target a record.
 */
#include <assert.h>
#include <stdlib.h>

#include FUZZ_HEADER
#include "codec_values.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct codec_record *const record = &FUZZ_RECORD;
    static void *v, *again;
    static uint8_t *buf;
    const char *field;
    size_t used = 0, buf_n = 0;

    if (v == NULL) {
        v = malloc(record->struct_size);
        again = malloc(record->struct_size);
        buf = malloc(record->bytes_max);
        assert(v != NULL && again != NULL && buf != NULL);
    }
    if (record->decode_prefix(data, n, v, &used) != CODEC_OK)
        return 0;
    assert(used <= n);
    assert(record->decode(data, n, again) == (used == n ? CODEC_OK : CODEC_TRAILING_BYTES));
    const enum codec_status encoded = record->encode(v, buf, record->bytes_max, &buf_n);
    assert(encoded == CODEC_OK && buf_n <= used);
    const enum codec_status decoded = record->decode(buf, buf_n, again);
    assert(decoded == CODEC_OK && codec_values_equal(record, v, again, &field));
    return 0;
}
