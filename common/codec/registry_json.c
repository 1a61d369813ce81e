/* What a registry answers, and what it is asked. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/registry_internal.h"

static json_t *load(const char *json, size_t n)
{
    return json_loadb(json, n, JSON_REJECT_DUPLICATES, NULL);
}

enum err_class codec_registry_parse_schema(const char *json, size_t n, char **ret_schema,
                                           struct err *err)
{
    json_t *answer = load(json, n);
    const json_t *schema = json_object_get(answer, "schema");
    const char *type = json_string_value(json_object_get(answer, "schemaType"));
    enum err_class e = ERR_OK;
    char *copy = NULL;

    if (!json_is_string(schema))
        e = err_set(err, ERR_RETRY, "the answer holds no schema");
    else if (type != NULL && strcmp(type, "AVRO") != 0)
        e = err_set(err, ERR_REJECT, "its schema is of type %.32s, not AVRO", type);
    else if (json_array_size(json_object_get(answer, "references")) > 0)
        e = err_set(err, ERR_REJECT, "its schema refers to others: register it whole");
    else
        copy = strdup(json_string_value(schema));
    if (e == ERR_OK && copy == NULL)
        e = err_set(err, ERR_FATAL, "out of memory");
    json_decref(answer);
    if (e == ERR_OK)
        *ret_schema = copy;
    return e;
}

enum err_class codec_registry_parse_id(const char *json, size_t n, uint32_t *ret_id,
                                       struct err *err)
{
    json_t *answer = load(json, n);
    const json_t *id = json_object_get(answer, "id");
    const json_int_t value = json_integer_value(id);
    const bool ok = json_is_integer(id) && value > 0 && value <= INT32_MAX;

    json_decref(answer);
    if (!ok)
        return err_set(err, ERR_RETRY, "the answer holds no id");
    *ret_id = (uint32_t)value;
    return ERR_OK;
}

int codec_registry_error_code(const char *json, size_t n, char *ret_message, size_t cap)
{
    json_t *answer = load(json, n);
    const char *message = json_string_value(json_object_get(answer, "message"));
    const json_int_t code = json_integer_value(json_object_get(answer, "error_code"));

    (void)snprintf(ret_message, cap, "%s", message != NULL ? message : "");
    json_decref(answer);
    return code > 0 && code <= INT32_MAX ? (int)code : 0;
}

char *codec_registry_body(const struct codec_record *record)
{
    json_t *body = json_pack("{s:s, s:s}", "schemaType", "AVRO", "schema", record->schema);
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;

    json_decref(body);
    return text;
}
