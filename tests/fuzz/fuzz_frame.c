/* A message as it comes from a topic: frame, look-up by fingerprint, decoder, and back to the same.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec.h"

enum { STRUCT_BYTES_MAX = 64 << 10, MESSAGE_BYTES_MAX = 64 << 10 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint64_t into[STRUCT_BYTES_MAX / 8];
    static uint8_t message[MESSAGE_BYTES_MAX], again[MESSAGE_BYTES_MAX];
    uint64_t fingerprint = 0;
    const uint8_t *body = NULL;
    size_t body_n = 0, message_n = 0, again_n = 0;

    const enum codec_status s = codec_frame_get(data, n, &fingerprint, &body, &body_n);
    assert((s == CODEC_OK) == (body != NULL));
    if (s != CODEC_OK)
        return 0;
    assert(body_n + CODEC_FRAME_BYTES == n);
    const struct codec_record *record = codec_record_by_fingerprint(fingerprint);
    if (record == NULL)
        return 0;
    assert(record->struct_size <= sizeof into);
    if (codec_unframe(record, data, n, into) != CODEC_OK)
        return 0;
    assert(codec_frame(record, into, message, sizeof message, &message_n) == CODEC_OK);
    assert(codec_unframe(record, message, message_n, into) == CODEC_OK);
    assert(codec_frame(record, into, again, sizeof again, &again_n) == CODEC_OK);
    assert(again_n == message_n && memcmp(message, again, again_n) == 0);
    return 0;
}
