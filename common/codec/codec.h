/*
 * codec.h: Avro records as C structs. What every generated codec shares: results, views,
 * descriptors, framing.
 *
 * tools/avrogen turns schemas/NAME.avsc into build/gen/codec/NAME.{h,c}: the struct, a bounded
 * decoder, an encoder, the schema's text and fingerprint, a descriptor. tools/avrogen/README.md
 * says what becomes of what. Pure: no allocation, no I/O, no logging. Container files are in
 * codec/container.h.
 */
#ifndef CODEC_CODEC_H
#define CODEC_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A view into the decoded bytes: valid while they live. Not terminated by a zero; UTF-8 is not
 * checked. */
struct codec_str {
    const char *data;
    uint32_t n; /* bytes */
};

struct codec_bytes {
    const uint8_t *data;
    uint32_t n;
};

/* A literal or a zero-terminated string, as a view. */
struct codec_str codec_str(const char *text);
bool codec_str_equal(struct codec_str a, struct codec_str b);

/* What a program branches on; codec_status_name gives the word for metrics, headers and messages.
 */
enum codec_status {
    CODEC_OK = 0,
    CODEC_TRUNCATED,         /* the bytes end inside a value */
    CODEC_TRAILING_BYTES,    /* bytes are left after the record */
    CODEC_VARINT_OVERFLOW, /* a varint of more than 10 bytes or 64 bits, or an int of more than 32
                              bits */
    CODEC_NEGATIVE_LENGTH, /* of a string, bytes, or a block's size */
    CODEC_OVER_BOUND, /* longer than the schema's max_bytes or max_items */
    CODEC_BAD_UNION, /* a branch that the union does not have */
    CODEC_BAD_ENUM, /* a symbol that the enum does not have */
    CODEC_BAD_BOOL, /* a boolean that is neither 0 nor 1 */
    CODEC_BAD_BLOCK_SIZE, /* an array's block is not as long as it says */
    CODEC_NO_SPACE, /* encoding: the buffer is too small */
    CODEC_FRAME_SHORT, /* fewer bytes than a frame's header */
    CODEC_FRAME_UNKNOWN, /* neither 0xC3 0x01 nor 0x00 */
    CODEC_FRAME_NO_REGISTRY, /* Confluent framing, and no schema registry is configured */
    CODEC_FRAME_SCHEMA, /* a fingerprint other than the expected one */
    CODEC_UNRESOLVED, /* another schema's value that ours has no place for (codec/resolve.h) */
    CODEC_SCHEMA_PENDING, /* the writer's schema is being asked for (codec/reader.h) */
    CODEC_SCHEMA_UNKNOWN, /* no such schema, or one that ours cannot be read from */
    CODEC_STATUS_COUNT,
};

/* "truncated", "over_bound", …; "unknown_status" for a number that is none. Never NULL. */
const char *codec_status_name(enum codec_status status);

/* Descriptors: enough to print or compare any record without knowing its struct. */

enum codec_kind {
    CODEC_KIND_BOOL, /* bool */
    CODEC_KIND_INT, /* int32_t */
    CODEC_KIND_LONG, /* int64_t */
    CODEC_KIND_FLOAT, /* float */
    CODEC_KIND_DOUBLE, /* double */
    CODEC_KIND_STRING, /* struct codec_str */
    CODEC_KIND_BYTES, /* struct codec_bytes */
    CODEC_KIND_FIXED, /* uint8_t[size] */
    CODEC_KIND_ENUM, /* an enum, sizeof(int) */
    CODEC_KIND_RECORD, /* a struct, inline */
    CODEC_KIND_ARRAY, /* item[bound], inline; the count, a uint32_t, stands at count_offset */
};

enum codec_logical {
    CODEC_LOGICAL_NONE,
    CODEC_LOGICAL_TIMESTAMP_MICROS, /* microseconds since the Unix epoch */
};

struct codec_field {
    const char *name; /* as in the schema: without _us */
    enum codec_kind kind;
    enum codec_logical logical;
    bool nullable;
    uint32_t offset; /* of the value, from the start of the enclosing struct */
    uint32_t has_offset; /* nullable: of its bool */
    uint32_t count_offset; /* array: of its count */
    uint32_t size; /* sizeof one value; array: of one item */
    uint32_t bound; /* string, bytes: bytes at most; array: items at most */
    const struct codec_field *fields; /* record, array of records: what one holds */
    uint32_t fields_n;
    enum codec_kind item_kind; /* array */
    uint32_t item_bound; /* array of strings or bytes: bytes of one at most */
    const char *const *symbols; /* enum, array of enums: names by value */
    uint32_t symbols_n;
};

struct codec_record {
    const char *name; /* "L2Bar" */
    const char *full_name; /* "l2flow.L2Bar" */
    const char *schema; /* JSON text, minified, with docs and defaults */
    uint64_t fingerprint; /* CRC-64-AVRO of the schema's parsing canonical form */
    size_t struct_size;
    size_t bytes_max; /* no encoded record is longer (without frame) */
    const struct codec_field *fields;
    uint32_t fields_n;
    /* As the typed functions of the generated header. */
    enum codec_status (*decode)(const uint8_t *buf, size_t n, void *into);
    enum codec_status (*decode_prefix)(const uint8_t *buf, size_t n, void *into, size_t *ret_used);
    enum codec_status (*encode)(const void *v, uint8_t *buf, size_t cap, size_t *ret_n);
};

/* Every record of schemas/, in the order of the files' names; NULL where there is none such. */
extern const struct codec_record *const codec_records[];
extern const size_t codec_records_n;
const struct codec_record *codec_record_by_fingerprint(uint64_t fingerprint);
const struct codec_record *codec_record_by_name(const char *name); /* "L2Bar" or "l2flow.L2Bar" */

/* Framing of one message: Avro single-object encoding, 0xC3 0x01, the fingerprint (little endian),
 * the record. */

#define CODEC_FRAME_BYTES 10

/* Writes the header. NO_SPACE when cap < CODEC_FRAME_BYTES. */
enum codec_status codec_frame_put(uint64_t fingerprint, uint8_t *buf, size_t cap) MUST_CHECK;

/* Confluent's framing: 0x00, the schema's id in a registry (big endian), the record. */
#define CODEC_ID_FRAME_BYTES 5
enum codec_status codec_frame_put_id(uint32_t id, uint8_t *buf, size_t cap) MUST_CHECK;

/* A message taken apart: either framing, told by the first byte. */
struct codec_head {
    bool has_id; /* Confluent's */
    uint32_t id;
    uint64_t fingerprint;
    const uint8_t *body; /* a view */
    size_t body_n;
};
/* Untouched unless OK. */
enum codec_status codec_head_get(const uint8_t *buf, size_t n, struct codec_head *ret) MUST_CHECK;

/*
 * Splits a message into its fingerprint and its record's bytes (a view). Confluent's framing (0x00,
 * 4 bytes of schema id) is told apart and answered with FRAME_NO_REGISTRY. Outputs are untouched
 * unless OK.
 */
enum codec_status codec_frame_get(const uint8_t *buf, size_t n, uint64_t *ret_fingerprint,
                                  const uint8_t **ret_body, size_t *ret_body_n) MUST_CHECK;

/* A framed message of exactly this record: decode, encode. For a struct's own type use its
 * generated _unframe, _frame. */
enum codec_status codec_unframe(const struct codec_record *record, const uint8_t *buf, size_t n,
                                void *into) MUST_CHECK;
enum codec_status codec_frame(const struct codec_record *record, const void *v, uint8_t *buf,
                              size_t cap, size_t *ret_n) MUST_CHECK;
/* What a producer writes: with `id` in Confluent's framing, with 0 as a single object. */
enum codec_status codec_frame_as(const struct codec_record *record, uint32_t id, const void *v,
                                 uint8_t *buf, size_t cap, size_t *ret_n) MUST_CHECK;

#endif
