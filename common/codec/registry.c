#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clk/clk.h"
#include "codec/registry_internal.h"

#define ACCEPT "application/vnd.schemaregistry.v1+json, application/json"
#define LOOKUP_EVERY_US (CLK_US_PER_S / CODEC_REGISTRY_LOOKUPS_PER_S)
#define RETRY_US_MIN (CLK_US_PER_S / 2)
#define RETRY_US_MAX (5 * CLK_US_PER_S)
#define NOT_FOUND_SCHEMA 40403

enum state { FREE, WANTED, ASKING, FOUND, UNKNOWN };

struct entry {
    enum state state;
    uint32_t id;
    const struct codec_record *reader;
    struct codec_plan *plan;
    int64_t until_us; /* UNKNOWN: what it is believed to be until */
};

struct codec_registry {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* an entry, or stopping */
    pthread_t worker;
    bool stopping;
    struct http_client *http;  /* the worker's alone */
    struct http_client *calls; /* codec_registry_register's, under calls_lock */
    pthread_mutex_t calls_lock;
    struct entry entries[CODEC_REGISTRY_ENTRIES_MAX];
    unsigned used;    /* entries that were ever used */
    unsigned waiting; /* WANTED and ASKING */
    unsigned next;    /* where the worker looks on: each gets its turn */
    struct codec_registry_stats stats;
    struct err trouble;
    bool has_trouble;
};

/* ---- the table; all under the lock ---- */

static struct entry *entry_of(struct codec_registry *r, uint32_t id,
                              const struct codec_record *reader)
{
    for (unsigned i = 0; i < r->used; i++)
        if (r->entries[i].id == id && r->entries[i].reader == reader)
            return &r->entries[i];
    return NULL;
}

/* A place never used, else that of the unknown id that is soonest forgotten; NULL: there is none.
 * The caller uses it before it lets go of the lock. */
static struct entry *place(struct codec_registry *r)
{
    struct entry *oldest = NULL;

    for (unsigned i = 0; i < r->used; i++) {
        struct entry *e = &r->entries[i];
        if (e->state == UNKNOWN && (oldest == NULL || e->until_us < oldest->until_us))
            oldest = e;
    }
    return r->used < CODEC_REGISTRY_ENTRIES_MAX ? &r->entries[r->used++] : oldest;
}

static void want(struct codec_registry *r, struct entry *e)
{
    e->state = WANTED;
    r->waiting++;
    (void)pthread_cond_broadcast(&r->changed);
}

static enum codec_found look(struct codec_registry *r, uint32_t id,
                             const struct codec_record *reader, const struct codec_plan **ret_plan)
{
    struct entry *e = entry_of(r, id, reader);

    if (e != NULL && e->state == FOUND) {
        *ret_plan = e->plan;
        r->stats.hits++;
        return CODEC_FOUND;
    }
    if (e != NULL && e->state != UNKNOWN)
        return CODEC_PENDING;
    if (e != NULL && clk_mono_us() < e->until_us) {
        r->stats.negative_hits++;
        return CODEC_UNKNOWN;
    }
    if (r->waiting == CODEC_REGISTRY_QUEUE_MAX)
        return CODEC_PENDING;
    if (e == NULL) {
        e = place(r);
        if (e == NULL) /* a thousand versions of one topic's schema: no registry of ours */
            return CODEC_UNKNOWN;
        *e = (struct entry){.id = id, .reader = reader};
    }
    r->stats.misses++;
    want(r, e);
    return CODEC_PENDING;
}

enum codec_found codec_registry_find(struct codec_registry *r, uint32_t id,
                                     const struct codec_record *reader,
                                     const struct codec_plan **ret_plan)
{
    (void)pthread_mutex_lock(&r->lock);
    const enum codec_found found = look(r, id, reader, ret_plan);
    (void)pthread_mutex_unlock(&r->lock);
    return found;
}

/* Waits on `changed` until `until_us` at most. */
static void wait_until(struct codec_registry *r, int64_t until_us)
{
    const struct timespec at = {.tv_sec = (time_t)(until_us / CLK_US_PER_S),
                                .tv_nsec = (long)(until_us % CLK_US_PER_S) * 1000};

    (void)pthread_cond_timedwait(&r->changed, &r->lock, &at);
}

enum codec_found codec_registry_wait(struct codec_registry *r, uint32_t id,
                                     const struct codec_record *reader, unsigned wait_ms,
                                     const struct codec_plan **ret_plan)
{
    const int64_t until_us = clk_mono_us() + (int64_t)wait_ms * 1000;
    enum codec_found found;

    (void)pthread_mutex_lock(&r->lock);
    while ((found = look(r, id, reader, ret_plan)) == CODEC_PENDING && clk_mono_us() < until_us)
        wait_until(r, until_us);
    (void)pthread_mutex_unlock(&r->lock);
    return found;
}

/* ---- the worker ---- */

static const char *remedy(unsigned status)
{
    if (status >= 300 && status < 400)
        return "a redirect, which is not followed: give the address that it leads to in "
               "schema_registry_url";
    return status == 401 || status == 403 ? "check the credentials"
                                          : "check the address in schema_registry_url";
}

static enum err_class ask(struct http_client *http, uint32_t id, const struct codec_record *reader,
                          struct codec_plan **ret_plan, struct err *err)
{
    char path[64], name[32], message[100];
    struct http_answer a = {0};
    char *schema = NULL;

    (void)snprintf(path, sizeof path, "/schemas/ids/%" PRIu32, id);
    (void)snprintf(name, sizeof name, "schema id %" PRIu32, id);
    const struct http_request request = {.method = HTTP_GET, .path = path, .accept = ACCEPT};
    const enum err_class got = http_client_do(http, &request, &a, err);
    if (got == ERR_REJECT &&
        a.status == 200) /* a schema longer than any: asked again it is no less */
        return err_set(err, ERR_REJECT, "%s: %s", name, err->text);
    /* the client's other REJECTs (a certificate, an error's long page) heal when the registry does
     */
    if (got != ERR_OK)
        return err_set(err, ERR_RETRY, "%s", err->text);
    if (a.status == 404) {
        const int code = codec_registry_error_code(a.body, a.n, message, sizeof message);
        if (code == NOT_FOUND_SCHEMA)
            return err_set(err, ERR_REJECT, "%s: the registry knows none such", name);
        return err_set(err, ERR_RETRY,
                       "%s: 404, but not as a registry says it (error code %d): check the path in "
                       "schema_registry_url",
                       name, code);
    }
    if (a.status != 200)
        return err_set(err, ERR_RETRY, "%s: the registry answered %u: %s", name, a.status,
                       remedy(a.status));
    enum err_class e = codec_registry_parse_schema(a.body, a.n, &schema, err);
    if (e == ERR_OK)
        e = codec_plan_new(name, schema, strlen(schema), reader, ret_plan, err);
    else
        (void)err_set(err, e, "%s: %s", name, err->text);
    free(schema);
    return e;
}

/* Neither an answer nor a no: to be asked again. */
static bool is_failure(enum err_class result)
{
    return result != ERR_OK && result != ERR_REJECT;
}

static void settle(struct codec_registry *r, struct entry *e, enum err_class result,
                   struct codec_plan *plan, const struct err *err)
{
    r->stats.lookups++;
    if (result != ERR_OK) {
        r->trouble = *err;
        r->has_trouble = true;
    }
    if (is_failure(result)) {
        r->stats.failures++;
        e->state = WANTED;
        return;
    }
    r->waiting--;
    if (result == ERR_OK) {
        r->stats.found++;
        e->state = FOUND;
        e->plan = plan;
    } else {
        r->stats.unknown++;
        e->state = UNKNOWN;
        e->until_us = clk_mono_us() + CODEC_REGISTRY_UNKNOWN_S * CLK_US_PER_S;
    }
    (void)pthread_cond_broadcast(&r->changed);
}

static struct entry *next_wanted(struct codec_registry *r)
{
    for (unsigned i = 0; i < r->used; i++) {
        struct entry *e = &r->entries[(r->next + i) % r->used];
        if (e->state == WANTED) {
            r->next = (unsigned)(e - r->entries) + 1;
            return e;
        }
    }
    return NULL;
}

static void *work(void *user)
{
    struct codec_registry *r = user;
    int64_t not_before_us = 0, retry_us = RETRY_US_MIN;

    (void)pthread_mutex_lock(&r->lock);
    while (!r->stopping) {
        if (clk_mono_us() < not_before_us) {
            wait_until(r, not_before_us);
            continue;
        }
        struct entry *e = next_wanted(r);
        if (e == NULL) {
            (void)pthread_cond_wait(&r->changed, &r->lock);
            continue;
        }
        e->state = ASKING; /* keeps its place */
        const uint32_t id = e->id;
        const struct codec_record *reader = e->reader;
        struct codec_plan *plan = NULL;
        struct err err;
        (void)pthread_mutex_unlock(&r->lock);
        const int64_t asked_us = clk_mono_us();
        const enum err_class result = ask(r->http, id, reader, &plan, &err);
        (void)pthread_mutex_lock(&r->lock);
        settle(r, e, result, plan, &err);
        const bool failed = is_failure(result);
        not_before_us = failed ? clk_mono_us() + retry_us : asked_us + LOOKUP_EVERY_US;
        retry_us = !failed                       ? RETRY_US_MIN
                   : retry_us < RETRY_US_MAX / 2 ? retry_us * 2
                                                 : RETRY_US_MAX;
    }
    (void)pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* ---- life ---- */

static enum err_class start(struct codec_registry *r, struct err *err)
{
    pthread_condattr_t attr;

    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_mutex_init(&r->calls_lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&r->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    if (pthread_create(&r->worker, NULL, work, r) == 0)
        return ERR_OK;
    (void)pthread_cond_destroy(&r->changed);
    (void)pthread_mutex_destroy(&r->calls_lock);
    (void)pthread_mutex_destroy(&r->lock);
    return err_set(err, ERR_FATAL, "schema registry: no thread to be had");
}

enum err_class codec_registry_new(const struct http_client_options *http,
                                  struct codec_registry **ret_registry, struct err *err)
{
    struct codec_registry *r = calloc(1, sizeof *r);

    if (r == NULL)
        return err_set(err, ERR_FATAL, "schema registry: out of memory");
    enum err_class e = http_client_new(http, &r->http, err);
    if (e == ERR_OK)
        e = http_client_new(http, &r->calls, err);
    if (e == ERR_OK)
        e = start(r, err);
    if (e != ERR_OK) {
        http_client_free(r->http);
        http_client_free(r->calls);
        free(r);
        return e;
    }
    *ret_registry = r;
    return ERR_OK;
}

void codec_registry_free(struct codec_registry *r)
{
    if (r == NULL)
        return;
    (void)pthread_mutex_lock(&r->lock);
    r->stopping = true;
    (void)pthread_cond_broadcast(&r->changed);
    (void)pthread_mutex_unlock(&r->lock);
    http_client_cancel(r->http);
    (void)pthread_join(r->worker, NULL);
    for (unsigned i = 0; i < r->used; i++)
        codec_plan_free(r->entries[i].plan);
    http_client_free(r->http);
    http_client_free(r->calls);
    (void)pthread_cond_destroy(&r->changed);
    (void)pthread_mutex_destroy(&r->calls_lock);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

struct codec_registry_stats codec_registry_stats(struct codec_registry *r)
{
    (void)pthread_mutex_lock(&r->lock);
    struct codec_registry_stats stats = r->stats;
    stats.waiting = r->waiting;
    (void)pthread_mutex_unlock(&r->lock);
    return stats;
}

bool codec_registry_trouble(struct codec_registry *r, struct err *ret_err)
{
    (void)pthread_mutex_lock(&r->lock);
    const bool has = r->has_trouble;
    if (has)
        *ret_err = r->trouble;
    r->has_trouble = false;
    (void)pthread_mutex_unlock(&r->lock);
    return has;
}

/* ---- our own schemas ---- */

static enum err_class refused(const char *subject, const struct http_answer *a, bool may_register,
                              struct err *err)
{
    char message[100];
    const int code = codec_registry_error_code(a->body, a->n, message, sizeof message);

    switch (a->status) {
    case 404:
        return err_set(err, ERR_REJECT,
                       "schema registry: %.80s: our schema is not there (error code %d): register "
                       "it, or set schema_registry_register = 1",
                       subject, code);
    case 409:
        return err_set(err, ERR_REJECT,
                       "schema registry: %.64s: incompatible with the versions there: upgrade "
                       "readers first, or use another topic prefix (%.60s)",
                       subject, message);
    case 401:
    case 403:
        return err_set(err, ERR_REJECT,
                       "schema registry: %.80s: it answered %u: check schema_registry_user, its "
                       "password and rights%s",
                       subject, a->status,
                       may_register ? ", or set schema_registry_register = 0" : "");
    default:
        if (a->status >= 300 && a->status < 400)
            return err_set(err, ERR_REJECT, "schema registry: %.64s: it answered %u: %s", subject,
                           a->status, remedy(a->status));
        return err_set(err, ERR_REJECT, "schema registry: %.80s: it answered %u (%d: %.80s)",
                       subject, a->status, code, message);
    }
}

static void count(struct codec_registry *r, enum err_class result)
{
    (void)pthread_mutex_lock(&r->lock);
    r->stats.registered += result == ERR_OK;
    r->stats.failures += result != ERR_OK;
    (void)pthread_mutex_unlock(&r->lock);
}

/* What we registered needs no look-up when it comes back. */
static enum err_class remember(struct codec_registry *r, uint32_t id,
                               const struct codec_record *record, struct err *err)
{
    struct codec_plan *plan = NULL;

    if (codec_plan_new("our own schema", record->schema, strlen(record->schema), record, &plan,
                       err) != ERR_OK)
        return err->class;
    (void)pthread_mutex_lock(&r->lock);
    struct entry *e = entry_of(r, id, record);
    if (e == NULL)
        e = place(r);
    if (e != NULL && (e->state == FREE || e->state == UNKNOWN)) {
        *e = (struct entry){.state = FOUND, .id = id, .reader = record, .plan = plan};
        plan = NULL;
    }
    (void)pthread_mutex_unlock(&r->lock);
    codec_plan_free(plan); /* there already, or being asked for */
    return ERR_OK;
}

static enum err_class post(struct codec_registry *r, const char *path,
                           const struct codec_record *record, const char *subject,
                           bool may_register, uint32_t *ret_id, struct err *err)
{
    char *body = codec_registry_body(record);
    struct http_answer a;

    if (body == NULL)
        return err_set(err, ERR_FATAL, "schema registry: out of memory");
    const struct http_request request = {
        .method = HTTP_POST,
        .path = path,
        .content_type = "application/vnd.schemaregistry.v1+json",
        .accept = ACCEPT,
        .body = body,
        .body_n = strlen(body),
    };
    enum err_class e = http_client_do(r->calls, &request, &a, err);
    if (e == ERR_OK && a.status != 200 && a.status != 201)
        e = refused(subject, &a, may_register, err);
    else if (e == ERR_OK)
        e = codec_registry_parse_id(a.body, a.n, ret_id, err);
    free(body);
    return e;
}

enum err_class codec_registry_register(struct codec_registry *r, const char *subject,
                                       const struct codec_record *record, bool may_register,
                                       uint32_t *ret_id, struct err *err)
{
    char escaped[CODEC_REGISTRY_SUBJECT_BYTES_MAX * 3 + 1], path[sizeof escaped + 32];
    uint32_t id = 0;

    if (!http_escape(subject, escaped, sizeof escaped))
        return err_set(err, ERR_REJECT, "schema registry: %.64s…: the subject's name is too long",
                       subject);
    (void)snprintf(path, sizeof path, "/subjects/%s%s", escaped, may_register ? "/versions" : "");
    (void)pthread_mutex_lock(&r->calls_lock);
    enum err_class e = post(r, path, record, subject, may_register, &id, err);
    (void)pthread_mutex_unlock(&r->calls_lock);
    count(r, e);
    if (e == ERR_OK)
        e = remember(r, id, record, err);
    if (e == ERR_OK)
        *ret_id = id;
    return e;
}
