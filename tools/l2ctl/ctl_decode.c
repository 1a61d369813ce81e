#include "ctl_decode.h"

#include "clk/clk.h"
#include "connect/connect.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STOP_MS 200           /* how long Ctrl-C may take */
#define REGISTRY_WAIT_MS 6000 /* a look-up's own deadline, and some */

/* As codec_ids wants it: waits, which does no harm here. */
static enum codec_found find(void *user, uint32_t id, const struct codec_record *reader,
                             const struct codec_plan **ret_plan)
{
    const struct ctl_decoder *const d = user;
    const int64_t until_us = clk_mono_us() + (int64_t)REGISTRY_WAIT_MS * 1000;
    enum codec_found found;

    do {
        found = codec_registry_wait(d->registry, id, reader, STOP_MS, ret_plan);
    } while (found == CODEC_PENDING && !*d->stop && clk_mono_us() < until_us);
    return found;
}

enum err_class ctl_decoder_open(const struct config *config, const volatile sig_atomic_t *stop,
                                struct ctl_decoder *ret_decoder, struct err *err)
{
    struct ctl_decoder d = {.stop = stop};
    size_t most = 1;

    for (size_t i = 0; i < codec_records_n; i++)
        most = codec_records[i]->struct_size > most ? codec_records[i]->struct_size : most;
    d.value = malloc(most);
    d.readers = calloc(codec_records_n + 1, sizeof(struct codec_reader *));
    enum err_class e =
        d.value == NULL || d.readers == NULL ? err_set(err, ERR_FATAL, "out of memory") : ERR_OK;
    if (e == ERR_OK && config != NULL && connect_registry_wanted(config))
        e = connect_registry_open(config, &d.registry, err);
    if (e != ERR_OK) {
        ctl_decoder_close(&d);
        return e;
    }
    *ret_decoder = d;
    return ERR_OK;
}

void ctl_decoder_close(struct ctl_decoder *d)
{
    for (size_t i = 0; d->readers != NULL && i < codec_records_n; i++)
        codec_reader_free(d->readers[i]);
    free((void *)d->readers);
    codec_registry_free(d->registry);
    free(d->value);
    *d = (struct ctl_decoder){0};
}

/* Ours of today, or a released version's. */
static const struct codec_record *record_of(uint64_t fingerprint)
{
    const struct codec_record *const ours = codec_record_by_fingerprint(fingerprint);

    for (size_t i = 0; ours == NULL && i < codec_released_n; i++) {
        if (codec_released[i].fingerprint == fingerprint)
            return codec_record_by_name(codec_released[i].full_name);
    }
    return ours;
}

/* NULL: err says why. */
static struct codec_reader *reader_of(struct ctl_decoder *d, const struct codec_record *record,
                                      struct err *err)
{
    const struct codec_ids ids = {d->registry != NULL ? find : NULL, d};
    size_t i = 0;

    while (codec_records[i] != record)
        i++;
    if (d->readers[i] == NULL && codec_reader_new(record, &ids, &d->readers[i], err) != ERR_OK)
        return NULL;
    return d->readers[i];
}

static enum err_class away(uint32_t id, struct codec_registry *registry, struct err *err)
{
    struct err trouble;
    const bool is_told = codec_registry_trouble(registry, &trouble);

    return err_set(err, ERR_RETRY, "schema id %" PRIu32 ": no answer from the schema registry%s%s",
                   id, is_told ? ": " : "", is_told ? trouble.text : "");
}

/* Why the registry's id is of no use; its own words once, as it does not repeat them. */
static void tell_unknown(struct ctl_decoder *d, uint32_t id)
{
    struct err trouble;

    if (codec_registry_trouble(d->registry, &trouble))
        fprintf(stderr, "l2ctl: %s\n", trouble.text);
    snprintf(d->why, sizeof d->why, "unknown schema id %" PRIu32, id);
}

static enum err_class decode_as(struct ctl_decoder *d, const struct codec_record *record,
                                const struct codec_head *head, struct ctl_item *item,
                                struct err *err)
{
    struct codec_reader *const reader = reader_of(d, record, err);

    if (reader == NULL)
        return err->class;
    const enum codec_status status =
        codec_reader_decode(reader, item->bytes, item->bytes_n, d->value);
    if (status == CODEC_SCHEMA_PENDING)
        return away(head->id, d->registry, err);
    if (status == CODEC_OK) {
        item->record = record;
        item->value = d->value;
    } else if (status == CODEC_SCHEMA_UNKNOWN) { /* an id: a fingerprint was found already */
        tell_unknown(d, head->id);
    } else {
        snprintf(d->why, sizeof d->why, "%s: %s", record->name, codec_status_name(status));
    }
    return ERR_OK;
}

enum err_class ctl_decode(struct ctl_decoder *d, const struct codec_record *expected,
                          struct ctl_item *item, struct err *err)
{
    struct codec_head head;
    const enum codec_status status = codec_head_get(item->bytes, item->bytes_n, &head);

    item->why = d->why;
    if (item->bytes == NULL) {
        snprintf(d->why, sizeof d->why, "no value");
    } else if (status != CODEC_OK) {
        snprintf(d->why, sizeof d->why, "%s", codec_status_name(status));
    } else if (head.has_id && d->registry == NULL) {
        snprintf(d->why, sizeof d->why,
                 "schema id %" PRIu32 ", and no registry to ask: set schema_registry_url", head.id);
    } else {
        const struct codec_record *const record =
            head.has_id ? expected : record_of(head.fingerprint);
        if (record != NULL)
            return decode_as(d, record, &head, item, err);
        if (head.has_id)
            snprintf(d->why, sizeof d->why, "schema id %" PRIu32 " of a record that is none here",
                     head.id);
        else
            snprintf(d->why, sizeof d->why, "unknown schema %016" PRIx64, head.fingerprint);
    }
    return ERR_OK;
}
