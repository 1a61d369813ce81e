/* schema.h: is a writer's schema one of ours? Internal to the library: the place where schema
 * resolution will live. */
#ifndef CODEC_SCHEMA_H
#define CODEC_SCHEMA_H

#include "codec/codec.h"

/*
 * Finds the record whose schema equals the JSON text (by Avro's rules: docs, defaults and spelling
 * aside). `expected` as in codec_file_open; `name` is for messages. REJECT: none, and why.
 */
enum err_class codec_schema_match(const char *name, const char *json, size_t json_n,
                                  const struct codec_record *expected,
                                  const struct codec_record **ret_record,
                                  struct err *err) MUST_CHECK;

#endif
