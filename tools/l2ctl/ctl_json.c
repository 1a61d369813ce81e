#include "ctl_view.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void put_number(FILE *out, double v, bool is_float)
{
    if (isnan(v))
        fputs("\"NaN\"", out);
    else if (isinf(v))
        fputs(v > 0 ? "\"Infinity\"" : "\"-Infinity\"", out);
    else if (is_float)
        ctl_put_float(out, (float)v);
    else
        ctl_put_double(out, v);
}

static void put_fields(FILE *out, const struct codec_field *fields, uint32_t n, const void *from);

static void put_value(FILE *out, enum codec_kind kind, const struct codec_field *field,
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
        put_number(out, (double)*(const float *)at, true);
        break;
    case CODEC_KIND_DOUBLE:
        put_number(out, *(const double *)at, false);
        break;
    case CODEC_KIND_STRING: {
        const struct codec_str *const s = at;
        ctl_put_json_string(out, s->data, s->n);
        break;
    }
    case CODEC_KIND_BYTES: {
        const struct codec_bytes *const b = at;
        putc('"', out);
        ctl_put_hex(out, b->data, b->n);
        putc('"', out);
        break;
    }
    case CODEC_KIND_FIXED:
        putc('"', out);
        ctl_put_hex(out, at, field->size);
        putc('"', out);
        break;
    case CODEC_KIND_ENUM:
        fprintf(out, "\"%s\"", ctl_enum_name(field, at));
        break;
    case CODEC_KIND_RECORD:
        putc('{', out);
        put_fields(out, field->fields, field->fields_n, at);
        putc('}', out);
        break;
    case CODEC_KIND_ARRAY: /* an array's items are never arrays */
        break;
    }
}

static void put_field(FILE *out, const struct codec_field *field, const void *from)
{
    const char *at = ctl_at(field, from);

    fprintf(out, "\"%s\":", field->name);
    if (ctl_is_null(field, from)) {
        fputs("null", out);
    } else if (field->kind == CODEC_KIND_ARRAY) {
        const uint32_t n = ctl_items(field, from);
        putc('[', out);
        for (uint32_t i = 0; i < n; i++, at += field->size) {
            if (i > 0)
                putc(',', out);
            put_value(out, field->item_kind, field, at);
        }
        putc(']', out);
    } else {
        put_value(out, field->kind, field, at);
    }
}

static void put_fields(FILE *out, const struct codec_field *fields, uint32_t n, const void *from)
{
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0)
            putc(',', out);
        put_field(out, &fields[i], from);
    }
}

static void put_kafka(FILE *out, const char *topic, const struct bus_reader_record *m)
{
    fputs(",\"_kafka\":{\"topic\":", out);
    ctl_put_json_string(out, topic, strlen(topic));
    fprintf(out,
            ",\"partition\":%" PRId32 ",\"offset\":%" PRId64 ",\"timestamp\":%" PRId64 ",\"key\":",
            m->partition, m->offset, m->timestamp_us);
    if (m->key == NULL)
        fputs("null", out);
    else
        ctl_put_json_string(out, (const char *)m->key, m->key_n);
    fputs(",\"headers\":{", out);
    for (unsigned i = 0; i < m->headers_n; i++) {
        if (i > 0)
            putc(',', out);
        ctl_put_json_string(out, m->headers[i].name, strlen(m->headers[i].name));
        putc(':', out);
        ctl_put_json_string(out, m->headers[i].value, m->headers[i].value_n);
    }
    fputs("}}", out);
}

void ctl_json_put(struct ctl_view *view, const struct ctl_item *item)
{
    FILE *const out = view->out;

    if (item->record != NULL)
        fprintf(out, "{\"_record\":\"%s\"", item->record->name);
    else
        fputs("{\"_record\":null", out);
    if (item->message != NULL)
        put_kafka(out, item->topic, item->message);
    if (item->record == NULL) {
        fputs(",\"_error\":", out);
        ctl_put_json_string(out, item->why, strlen(item->why));
    }
    if (item->record == NULL || view->is_dlq) {
        fputs(",\"_bytes\":\"", out);
        ctl_put_hex(out, item->bytes, item->bytes_n);
        putc('"', out);
    }
    if (item->record != NULL) {
        putc(',', out);
        put_fields(out, item->record->fields, item->record->fields_n, item->value);
    }
    fputs("}\n", out);
}
