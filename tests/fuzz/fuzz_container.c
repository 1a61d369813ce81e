/* Any bytes as an Avro object container file: read to the end or to the first error, which must
 * name the file. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "codec/container.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct codec_file_reader *r = NULL;
    struct err err = {.text = ""};
    FILE *stream = n == 0 ? NULL : fmemopen((void *)(uintptr_t)data, n, "rb");

    if (stream == NULL)
        return 0;
    enum err_class e = codec_file_open_stream(stream, "x.avro", NULL, &r, &err);
    assert((e == ERR_OK) == (r != NULL));
    while (e == ERR_OK) {
        const uint8_t *body = NULL;
        size_t body_n = 0;
        e = codec_file_next(r, &body, &body_n, &err);
        if (e == ERR_OK && body == NULL)
            break;
        assert(e != ERR_OK || body_n > 0);
    }
    assert(e == ERR_OK || (e == ERR_REJECT && strncmp(err.text, "x.avro: ", 8) == 0));
    codec_file_close(r);
    return 0;
}
