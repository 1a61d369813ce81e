/* schema.h: is a writer's schema one of ours? Internal to the library; resolve.h is for those that
 * are not. */
#ifndef CODEC_SCHEMA_H
#define CODEC_SCHEMA_H

#include "codec/codec.h"

#include <jansson.h>

/*
 * Finds the record whose schema equals the JSON text (by Avro's rules: docs, defaults and spelling
 * aside). `expected` as in codec_file_open; `name` is for messages. REJECT: none, and why.
 */
enum err_class codec_schema_match(const char *name, const char *json, size_t json_n,
                                  const struct codec_record *expected,
                                  const struct codec_record **ret_record,
                                  struct err *err) MUST_CHECK;

#define CODEC_NAME_BYTES_MAX 256 /* of a name with its namespace, and a zero */

/* Letters, digits, underscores, and those of `more`: nothing that JSON would have to escape. NULL
 * is none. */
bool codec_name_ok(const char *name, const char *more);
/* A name with its namespace; NULL, or why it is none. */
const char *codec_name_full(const char *name, const char *space, char full[CODEC_NAME_BYTES_MAX]);
/* The namespace that a named type's full name gives to what is within. */
void codec_name_space(const char *full, char space[CODEC_NAME_BYTES_MAX]);
/* One canonical form. false where either has none, or memory is short. */
bool codec_schema_same(const json_t *a, const json_t *b);

#endif
