/*
 * Another version's schema and its bytes: "SCHEMA \n BYTES", read as each of our records in turn
 * (the first byte says which). No plan, or a plan whose bytes either resolve and decode or do not;
 * what decodes is within every bound, or the generated encoder would say so.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "codec/resolve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void decode(const struct codec_plan *plan, const struct codec_record *record,
                   const uint8_t *body, size_t n)
{
    const size_t scratch_n = codec_plan_scratch(plan);
    uint8_t *scratch = malloc(scratch_n), *again = malloc(record->bytes_max);
    void *into = calloc(1, record->struct_size);
    size_t again_n;

    assert(scratch != NULL && again != NULL && into != NULL);
    if (codec_plan_decode(plan, body, n, scratch, scratch_n, into) == CODEC_OK)
        assert(record->encode(into, again, record->bytes_max, &again_n) == CODEC_OK);
    free(scratch);
    free(again);
    free(into);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct codec_plan *plan = NULL;
    struct err err = {.text = ""};

    if (n == 0)
        return 0;
    const struct codec_record *record = codec_records[data[0] % codec_records_n];
    const uint8_t *line = memchr(data + 1, '\n', n - 1);
    const size_t schema_n = line != NULL ? (size_t)(line - data) - 1 : n - 1;
    const enum err_class e =
        codec_plan_new("x", (const char *)data + 1, schema_n, record, &plan, &err);
    assert((e == ERR_OK) == (plan != NULL) && (e == ERR_OK || e == ERR_REJECT));
    if (plan != NULL && line != NULL)
        decode(plan, record, line + 1, n - schema_n - 2);
    codec_plan_free(plan);
    return 0;
}
