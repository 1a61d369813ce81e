#include "ctl_view.h"

#include "topics/topics.h"

#include <inttypes.h>
#include <string.h>

/* RFC 4180: quoted when it must be, quotes doubled. */
static void put_text(FILE *out, const char *text, size_t n)
{
    bool is_plain = true;

    for (size_t i = 0; i < n; i++)
        is_plain =
            is_plain && strchr(",\"\r\n", text[i]) == NULL; /* strchr finds the NUL too: quoted */
    if (is_plain) {
        fwrite(text, 1, n, out);
        return;
    }
    putc('"', out);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '"')
            putc('"', out);
        putc(text[i], out);
    }
    putc('"', out);
}

static void put_scalar(FILE *out, enum codec_kind kind, const struct codec_field *field,
                       const void *at)
{
    switch (kind) {
    case CODEC_KIND_BOOL:
        fputs(*(const bool *)at ? "true" : "false", out);
        break;
    case CODEC_KIND_INT:
        fprintf(out, "%" PRId32, *(const int32_t *)at);
        break;
    case CODEC_KIND_LONG:
        fprintf(out, "%" PRId64, *(const int64_t *)at);
        break;
    case CODEC_KIND_FLOAT:
        ctl_put_float(out, *(const float *)at);
        break;
    case CODEC_KIND_DOUBLE:
        ctl_put_double(out, *(const double *)at);
        break;
    case CODEC_KIND_STRING: {
        const struct codec_str *const s = at;
        put_text(out, s->data, s->n);
        break;
    }
    case CODEC_KIND_BYTES: {
        const struct codec_bytes *const b = at;
        ctl_put_hex(out, b->data, b->n);
        break;
    }
    case CODEC_KIND_FIXED:
        ctl_put_hex(out, at, field->size);
        break;
    case CODEC_KIND_ENUM:
        fputs(ctl_enum_name(field, at), out);
        break;
    case CODEC_KIND_RECORD: /* an item of an array: its fields, joined */
        for (uint32_t i = 0; i < field->fields_n; i++) {
            if (i > 0)
                putc(':', out);
            if (!ctl_is_null(&field->fields[i], at))
                put_scalar(out, field->fields[i].kind, &field->fields[i],
                           ctl_at(&field->fields[i], at));
        }
        break;
    case CODEC_KIND_ARRAY:
        break;
    }
}

static void put_array(FILE *out, const struct codec_field *field, const void *from)
{
    const char *at = ctl_at(field, from);
    const uint32_t n = ctl_items(field, from);

    for (uint32_t i = 0; i < n; i++, at += field->size) {
        if (i > 0)
            putc(' ', out);
        put_scalar(out, field->item_kind, field, at);
    }
}

/* One line of names (from NULL) or of values; a nested record that is null still has its columns.
 */
static void put_columns(FILE *out, const struct codec_field *fields, uint32_t n, const char *path,
                        const void *from, bool is_head, bool *is_first)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct codec_field *const f = &fields[i];
        const bool is_null = from == NULL || ctl_is_null(f, from);

        if (f->kind == CODEC_KIND_RECORD) {
            char inner[160];
            snprintf(inner, sizeof inner, "%s%s.", path, f->name);
            put_columns(out, f->fields, f->fields_n, inner, is_null ? NULL : ctl_at(f, from),
                        is_head, is_first);
            continue;
        }
        if (!*is_first)
            putc(',', out);
        *is_first = false;
        if (is_head)
            fprintf(out, "%s%s", path, f->name);
        else if (is_null)
            continue;
        else if (f->kind == CODEC_KIND_ARRAY)
            put_array(out, f, from);
        else
            put_scalar(out, f->kind, f, ctl_at(f, from));
    }
}

static void put_place(FILE *out, const struct bus_reader_record *m)
{
    fprintf(out, "%" PRId32 ",%" PRId64 ",%" PRId64 ",", m->partition, m->offset, m->timestamp_us);
    if (m->key != NULL)
        put_text(out, (const char *)m->key, m->key_n);
}

static void put_letter(struct ctl_view *view, const struct ctl_item *item)
{
    static const char *const names[] = {TOPICS_DLQ_REASON, TOPICS_DLQ_TOPIC, TOPICS_DLQ_PARTITION,
                                        TOPICS_DLQ_OFFSET};
    FILE *const out = view->out;

    if (!view->has_letters_head)
        fputs("partition,offset,timestamp,key,reason,origin_topic,origin_partition,origin_offset,"
              "record,bytes\n",
              out);
    view->has_letters_head = true;
    put_place(out, item->message);
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct bus_header *const h = ctl_header(item->message, names[i]);
        putc(',', out);
        if (h != NULL)
            put_text(out, h->value, h->value_n);
    }
    fprintf(out, ",%s,", item->record != NULL ? item->record->name : "");
    ctl_put_hex(out, item->bytes, item->bytes_n);
    fputs("\n", out);
}

/* Columns are those of the first record: one of another kind would stand under the wrong names. */
static bool has_columns(struct ctl_view *view, const struct ctl_item *item)
{
    const char *const why = item->record == NULL ? item->why : "another record than those above";

    if (item->record != NULL && (view->headed == NULL || view->headed == item->record))
        return true;
    if (item->message != NULL)
        fprintf(view->errs, "l2ctl: %s: partition %" PRId32 " offset %" PRId64 " left out: %s\n",
                item->topic, item->message->partition, item->message->offset, why);
    else
        fprintf(view->errs, "l2ctl: record %" PRIu64 " left out: %s\n", item->number, why);
    return false;
}

void ctl_csv_put(struct ctl_view *view, const struct ctl_item *item)
{
    FILE *const out = view->out;
    bool is_first = item->message == NULL;

    if (view->is_dlq && item->message != NULL) {
        put_letter(view, item);
        return;
    }
    if (!has_columns(view, item))
        return;
    const struct codec_record *const r = item->record;
    if (view->headed == NULL) {
        if (item->message != NULL)
            fputs("partition,offset,timestamp,key", out);
        put_columns(out, r->fields, r->fields_n, "", NULL, true, &is_first);
        fputs("\n", out);
        view->headed = r;
        is_first = item->message == NULL;
    }
    if (item->message != NULL)
        put_place(out, item->message);
    put_columns(out, r->fields, r->fields_n, "", item->value, false, &is_first);
    fputs("\n", out);
}
