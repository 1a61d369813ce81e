/*
 * registry.h: a client of a schema registry (Confluent's REST API, version 7), for loops that must
 * not wait.
 *
 * A worker thread asks; codec_registry_find only looks into what it knows. An id that is not known
 * yet is PENDING: its caller holds the partition and asks again. A registry out of reach leaves it
 * PENDING for as long as that lasts; a registry that knows no such id makes it UNKNOWN for 60 s.
 */
#ifndef CODEC_REGISTRY_H
#define CODEC_REGISTRY_H

#include "codec/resolve.h"
#include "http/client.h"

enum codec_registry_bounds {
    CODEC_REGISTRY_ENTRIES_MAX = 1024, /* of (id, record); what is neither FOUND nor asked for makes
                                          room */
    CODEC_REGISTRY_QUEUE_MAX = 64, /* ids that wait for their look-up; more are PENDING unasked */
    CODEC_REGISTRY_LOOKUPS_PER_S = 10,
    CODEC_REGISTRY_UNKNOWN_S = 60,
    CODEC_REGISTRY_SUBJECT_BYTES_MAX = 300,
};

struct codec_registry;

/* Starts the worker. Nothing is asked yet. http: base_url with the path of the API, credentials,
 * TLS; the deadline is of one look-up. */
enum err_class codec_registry_new(const struct http_client_options *http,
                                  struct codec_registry **ret_registry, struct err *err) MUST_CHECK;
/* Ends a look-up under way; plans that were handed out are gone with it. NULL-safe. */
void codec_registry_free(struct codec_registry *registry);

/* From any thread; never waits for the network. FOUND: the plan lives as long as the registry. */
enum codec_found codec_registry_find(struct codec_registry *registry, uint32_t id,
                                     const struct codec_record *reader,
                                     const struct codec_plan **ret_plan) MUST_CHECK;
/* The same, waiting for up to wait_ms where a wait does no harm (at start, in tools). */
enum codec_found codec_registry_wait(struct codec_registry *registry, uint32_t id,
                                     const struct codec_record *reader, unsigned wait_ms,
                                     const struct codec_plan **ret_plan) MUST_CHECK;

struct codec_registry_stats {
    uint64_t lookups, found, unknown; /* an id asked for: all, and what came of it */
    uint64_t registered; /* our own schemas: their ids told */
    uint64_t failures; /* of either: the registry out of reach, refusing, or answering nonsense */
    /* find and wait: known; known to be unknown; not known yet. An id that waits counts once. */
    uint64_t hits, negative_hits, misses;
    unsigned waiting; /* ids without an answer yet */
};
struct codec_registry_stats codec_registry_stats(struct codec_registry *registry);
/* What went wrong last, once: true and its text when there is something new to log. */
bool codec_registry_trouble(struct codec_registry *registry, struct err *ret_err);

/*
 * The id of `record`'s schema under `subject`; waits. may_register: registers it where it is new,
 * else only looks it up. RETRY: out of reach. REJECT: incompatible with the versions there (409),
 * not registered, not allowed; the text has the remedy. FOUND at once for codec_registry_find.
 */
enum err_class codec_registry_register(struct codec_registry *registry, const char *subject,
                                       const struct codec_record *record, bool may_register,
                                       uint32_t *ret_id, struct err *err) MUST_CHECK;

/* An answer of GET /schemas/ids/ID: its schema's text, owned by the caller. REJECT: none of Avro's,
 * or one that refers to others; RETRY: not what a registry answers. Pure: for the fuzzer. */
enum err_class codec_registry_parse_schema(const char *json, size_t n, char **ret_schema,
                                           struct err *err) MUST_CHECK;
/* An answer of POST: the id in it. */
enum err_class codec_registry_parse_id(const char *json, size_t n, uint32_t *ret_id,
                                       struct err *err) MUST_CHECK;

#endif
