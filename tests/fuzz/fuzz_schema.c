/* Any text as the schema of a container file's writer: avro-c reads it where it is not ours word
 * for word. */
#include <assert.h>
#include <string.h>

#include "codec/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const struct codec_record *record = NULL;
    struct err err = {.text = ""};
    const enum err_class e =
        codec_schema_match("x.avro", (const char *)data, n, NULL, &record, &err);

    assert((e == ERR_OK) == (record != NULL));
    assert(e == ERR_OK || (e == ERR_REJECT && strncmp(err.text, "x.avro: ", 8) == 0));
    return 0;
}
