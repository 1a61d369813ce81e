#include "codec/reader.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct version {
    uint64_t fingerprint;
    struct codec_plan *plan;
};

struct codec_reader {
    const struct codec_record *record;
    struct codec_ids ids;
    uint32_t id; /* the last one seen, … */
    const struct codec_plan *plan; /* … and its plan; NULL: none yet */
    struct version versions[CODEC_READER_VERSIONS_MAX];
    unsigned versions_n;
    uint8_t *scratch; /* bytes_max of the record */
};

enum err_class codec_reader_add(struct codec_reader *r, const char *name, uint64_t fingerprint,
                                const char *schema, struct err *err)
{
    struct codec_plan *plan = NULL;

    if (r->versions_n == CODEC_READER_VERSIONS_MAX)
        return err_set(err, ERR_REJECT, "%.80s: more than %d versions", name,
                       CODEC_READER_VERSIONS_MAX);
    if (codec_plan_new(name, schema, strlen(schema), r->record, &plan, err) != ERR_OK)
        return err->class;
    r->versions[r->versions_n++] = (struct version){fingerprint, plan};
    return ERR_OK;
}

static enum err_class add_released(struct codec_reader *r, struct err *err)
{
    char name[96];

    for (size_t i = 0; i < codec_released_n; i++) {
        const struct codec_released *v = &codec_released[i];
        if (strcmp(v->full_name, r->record->full_name) != 0 ||
            v->fingerprint == r->record->fingerprint)
            continue;
        (void)snprintf(name, sizeof name, "%.64s, release %u", v->full_name, v->release);
        if (codec_reader_add(r, name, v->fingerprint, v->schema, err) != ERR_OK)
            return err_set(err, ERR_FATAL, "%s", err->text);
    }
    return ERR_OK;
}

enum err_class codec_reader_new(const struct codec_record *record, const struct codec_ids *ids,
                                struct codec_reader **ret_reader, struct err *err)
{
    struct codec_reader *r = calloc(1, sizeof *r);

    if (r == NULL)
        return err_set(err, ERR_FATAL, "%s: out of memory", record->name);
    r->record = record;
    if (ids != NULL)
        r->ids = *ids;
    r->scratch = malloc(record->bytes_max);
    const enum err_class e = r->scratch == NULL
                                 ? err_set(err, ERR_FATAL, "%s: out of memory", record->name)
                                 : add_released(r, err);
    if (e != ERR_OK) {
        codec_reader_free(r);
        return e;
    }
    *ret_reader = r;
    return ERR_OK;
}

void codec_reader_free(struct codec_reader *r)
{
    if (r == NULL)
        return;
    for (unsigned i = 0; i < r->versions_n; i++)
        codec_plan_free(r->versions[i].plan);
    free(r->scratch);
    free(r);
}

static enum codec_status plan_of(struct codec_reader *r, const struct codec_head *head,
                                 const struct codec_plan **ret_plan)
{
    if (!head->has_id) {
        for (unsigned i = 0; i < r->versions_n; i++) {
            if (r->versions[i].fingerprint == head->fingerprint) {
                *ret_plan = r->versions[i].plan;
                return CODEC_OK;
            }
        }
        return CODEC_SCHEMA_UNKNOWN;
    }
    if (r->plan == NULL || r->id != head->id) {
        const struct codec_plan *plan = NULL;
        if (r->ids.find == NULL)
            return CODEC_FRAME_NO_REGISTRY;
        const enum codec_found found = r->ids.find(r->ids.user, head->id, r->record, &plan);
        if (found != CODEC_FOUND)
            return found == CODEC_PENDING ? CODEC_SCHEMA_PENDING : CODEC_SCHEMA_UNKNOWN;
        r->id = head->id;
        r->plan = plan;
    }
    *ret_plan = r->plan;
    return CODEC_OK;
}

enum codec_status codec_reader_decode(struct codec_reader *r, const uint8_t *buf, size_t n,
                                      void *into)
{
    struct codec_head head;
    const struct codec_plan *plan;
    enum codec_status s = codec_head_get(buf, n, &head);

    if (s != CODEC_OK)
        return s;
    if (!head.has_id && head.fingerprint == r->record->fingerprint)
        return r->record->decode(head.body, head.body_n, into);
    s = plan_of(r, &head, &plan);
    if (s != CODEC_OK)
        return s;
    return codec_plan_decode(plan, head.body, head.body_n, r->scratch, r->record->bytes_max, into);
}
