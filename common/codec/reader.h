/*
 * reader.h: one topic's messages into one record's struct, whatever version of the schema and
 * whichever framing they were written with. The usual case, our own schema, costs one compare.
 */
#ifndef CODEC_READER_H
#define CODEC_READER_H

#include "codec/resolve.h"

/* schemas/released/RELEASE/NAME.avsc: every version that a single-object message may name. */
struct codec_released {
    const char *full_name;
    unsigned release;
    uint64_t fingerprint;
    const char *schema;
};
extern const struct codec_released codec_released[];
extern const size_t codec_released_n;

#define CODEC_READER_VERSIONS_MAX 64 /* of one record */

/* Where ids are looked up: codec_registry_find, say. NULL: nowhere. */
struct codec_ids {
    enum codec_found (*find)(void *user, uint32_t id, const struct codec_record *reader,
                             const struct codec_plan **ret_plan);
    void *user;
};

struct codec_reader; /* of one thread */

/* Knows every released version of `record`. FATAL: out of memory, or a version that it cannot be
 * read from (a broken promise: a test looks for it). */
enum err_class codec_reader_new(const struct codec_record *record, const struct codec_ids *ids,
                                struct codec_reader **ret_reader, struct err *err) MUST_CHECK;
void codec_reader_free(struct codec_reader *reader); /* NULL-safe */

/* One more version that single objects may name. REJECT: it cannot be read from, or there are too
 * many. */
enum err_class codec_reader_add(struct codec_reader *reader, const char *name, uint64_t fingerprint,
                                const char *schema, struct err *err) MUST_CHECK;

/*
 * A message → the record's struct; its views live as long as `buf`, and until the next call.
 * SCHEMA_PENDING: ask again later, nothing is wrong. SCHEMA_UNKNOWN: no such fingerprint or id.
 * FRAME_NO_REGISTRY: an id, and nowhere to look it up. Else the bytes are at fault.
 */
enum codec_status codec_reader_decode(struct codec_reader *reader, const uint8_t *buf, size_t n,
                                      void *into) MUST_CHECK;

#endif
