/* Whatever a registry answers: to a question for a schema, and to a schema that was posted. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "codec/heartbeat.h"
#include "codec/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct codec_plan *plan = NULL;
    struct err err = {.text = ""};
    char *schema = NULL;
    uint32_t id = 0;
    enum err_class e = codec_registry_parse_schema((const char *)data, n, &schema, &err);

    assert((e == ERR_OK) == (schema != NULL) && e != ERR_FATAL);
    if (schema != NULL) {
        e = codec_plan_new("x", schema, strlen(schema), &codec_heartbeat_record, &plan, &err);
        assert((e == ERR_OK) == (plan != NULL) && (e == ERR_OK || e == ERR_REJECT));
    }
    codec_plan_free(plan);
    free(schema);
    e = codec_registry_parse_id((const char *)data, n, &id, &err);
    assert((e == ERR_OK) == (id != 0));
    return 0;
}
