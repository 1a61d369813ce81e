/*
 * resolve.h: records that were written with another version of a schema. A plan, made once from the
 * writer's schema and ours, turns the writer's bytes into ours by Avro's rules; the generated
 * decoder then reads them. docs/decisions/schema-resolution.md says why not avro-c.
 *
 * Avro's rules (specification 1.12, "Schema Resolution"): fields by name or by the reader's alias,
 * in any order; a field that the writer lacks takes the reader's default; one that the reader lacks
 * is skipped; int → long → float → double, string ↔ bytes; unions and enums by branch and symbol.
 * Beyond them: two logical types that differ (milliseconds for microseconds) are refused.
 */
#ifndef CODEC_RESOLVE_H
#define CODEC_RESOLVE_H

#include "codec/codec.h"

enum codec_plan_bounds {
    CODEC_SCHEMA_BYTES_MAX = 256 << 10, /* of a schema's text */
    CODEC_SCHEMA_NODES_MAX = 2048,      /* types in one schema, uses of named ones counted once */
    CODEC_SCHEMA_DEPTH_MAX = 32,
    CODEC_PLAN_OPS_MAX = 8192,
    CODEC_PLAN_FIELDS_MAX = 512,        /* of one record */
    CODEC_PLAN_CONSTANTS_MAX = 64 << 10, /* defaults, encoded */
    CODEC_PLAN_DEPTH_MAX = 64,          /* of one record's values */
};

struct codec_plan; /* immutable: any thread may use it */

/*
 * `json` is the writer's schema; `name` is for messages. REJECT: unreadable, or our record cannot
 * be read from it (the text names the field).
 */
enum err_class codec_plan_new(const char *name, const char *json, size_t json_n,
                              const struct codec_record *reader, struct codec_plan **ret_plan,
                              struct err *err) MUST_CHECK;
/* The same between any two schemas: for tests. What it writes is at most out_max bytes. */
enum err_class codec_plan_between(const char *name, const char *writer, size_t writer_n,
                                  const char *reader, size_t reader_n, size_t out_max,
                                  struct codec_plan **ret_plan, struct err *err) MUST_CHECK;
void codec_plan_free(struct codec_plan *plan); /* NULL-safe */

/* The writer's bytes are ours already: the generated decoder reads them as they are. */
bool codec_plan_is_same(const struct codec_plan *plan);
/* Bytes that codec_plan_decode wants as scratch: the reader's bytes_max. */
size_t codec_plan_scratch(const struct codec_plan *plan);

/* The writer's bytes → ours. UNRESOLVED: a value that ours has no place for (a union's branch).
 * Work is bounded by n. */
enum codec_status codec_plan_transcode(const struct codec_plan *plan, const uint8_t *body, size_t n,
                                       uint8_t *out, size_t cap, size_t *ret_n) MUST_CHECK;
/* The same for bytes that others follow: *ret_used of them are the record. */
enum codec_status codec_plan_transcode_prefix(const struct codec_plan *plan, const uint8_t *body,
                                              size_t n, uint8_t *out, size_t cap, size_t *ret_n,
                                              size_t *ret_used) MUST_CHECK;
/* … → our struct, whose views live as long as `body` and `scratch`. Plans of codec_plan_new only.
 */
enum codec_status codec_plan_decode(const struct codec_plan *plan, const uint8_t *body, size_t n,
                                    uint8_t *scratch, size_t scratch_n, void *into) MUST_CHECK;

enum codec_found {
    CODEC_FOUND,
    CODEC_PENDING,
    CODEC_UNKNOWN, /* no such id, not Avro, or a schema that the record cannot be read from */
};

#endif
