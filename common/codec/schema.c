#include "codec/schema.h"

#include <avro.h>
#include <stdio.h>
#include <string.h>

/* Same text: by far the usual case, and avro-c is not bothered. */
static bool same_text(const struct codec_record *record, const char *json, size_t json_n)
{
    return strlen(record->schema) == json_n && memcmp(record->schema, json, json_n) == 0;
}

/* Says where two records that are not equal part. */
static enum err_class differ(const char *name, const struct codec_record *record,
                             avro_schema_t theirs, avro_schema_t ours, struct err *err)
{
    const size_t n = avro_schema_record_size(theirs), our_n = avro_schema_record_size(ours);

    for (int i = 0; (size_t)i < n && (size_t)i < our_n; i++) {
        const char *their_name = avro_schema_record_field_name(theirs, i);
        const char *our_name = avro_schema_record_field_name(ours, i);

        if (strcmp(their_name, our_name) != 0)
            return err_set(err, ERR_REJECT,
                           "%.96s: schema of %s differs from ours: field %d is '%.32s', ours '%s': "
                           "write it with our schema",
                           name, record->name, i, their_name, our_name);
        if (!avro_schema_equal(avro_schema_record_field_get_by_index(theirs, i),
                               avro_schema_record_field_get_by_index(ours, i)))
            return err_set(err, ERR_REJECT,
                           "%.96s: schema of %s differs from ours: field '%s' has another type: "
                           "write it with our schema",
                           name, record->name, our_name);
    }
    return err_set(err, ERR_REJECT,
                   "%.96s: schema of %s differs from ours: %zu fields, ours %zu: "
                   "write it with our schema",
                   name, record->name, n, our_n);
}

static enum err_class match_parsed(const char *name, avro_schema_t theirs,
                                   const struct codec_record *expected,
                                   const struct codec_record **ret_record, struct err *err)
{
    if (!is_avro_record(theirs))
        return err_set(err, ERR_REJECT, "%.96s: its schema is no record: expected %s", name,
                       expected ? expected->name : "one of ours");

    const char *their_name = avro_schema_name(theirs);
    const struct codec_record *record = expected ? expected : codec_record_by_name(their_name);

    if (record == NULL || strcmp(their_name, record->name) != 0)
        return err_set(err, ERR_REJECT, "%.96s: holds records '%.64s': expected %s", name,
                       their_name, expected ? expected->name : "one of ours");

    avro_schema_t ours = NULL;
    if (avro_schema_from_json_length(record->schema, strlen(record->schema), &ours) != 0)
        return err_set(err, ERR_FATAL, "schema of %s: %.128s", record->name, avro_strerror());

    enum err_class e = ERR_OK;
    if (avro_schema_equal(theirs, ours))
        *ret_record = record;
    else
        e = differ(name, record, theirs, ours, err);
    avro_schema_decref(ours);
    return e;
}

enum err_class codec_schema_match(const char *name, const char *json, size_t json_n,
                                  const struct codec_record *expected,
                                  const struct codec_record **ret_record, struct err *err)
{
    for (size_t i = 0; i < codec_records_n && expected == NULL; i++)
        if (same_text(codec_records[i], json, json_n))
            expected = codec_records[i];
    if (expected != NULL && same_text(expected, json, json_n)) {
        *ret_record = expected;
        return ERR_OK;
    }

    avro_schema_t theirs = NULL;
    if (avro_schema_from_json_length(json, json_n, &theirs) != 0)
        return err_set(err, ERR_REJECT, "%.96s: unreadable schema: %.128s", name, avro_strerror());
    const enum err_class e = match_parsed(name, theirs, expected, ret_record, err);
    avro_schema_decref(theirs);
    return e;
}
