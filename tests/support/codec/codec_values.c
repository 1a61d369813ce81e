#include "codec_values.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { POOL_BYTES = 1 << 16 };

/* One value of a field or of an array's item. */
struct slot {
    const struct codec_field *field;
    enum codec_kind kind;
    uint8_t *at;
};

static struct slot slot_of(const struct codec_field *f, const void *base)
{
    return (struct slot){.field = f, .kind = f->kind, .at = (uint8_t *)(uintptr_t)base + f->offset};
}

static struct slot item_of(const struct slot *array, uint32_t i)
{
    const struct codec_field *f = array->field;

    return (struct slot){.field = f, .kind = f->item_kind, .at = array->at + (size_t)i * f->size};
}

static bool has(const struct codec_field *f, const void *base)
{
    return !f->nullable || *((const bool *)base + f->has_offset);
}

static uint32_t count_of(const struct codec_field *f, const void *base)
{
    uint32_t n;

    memcpy(&n, (const uint8_t *)base + f->count_offset, sizeof n);
    return n;
}

uint64_t codec_values_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

/* 0 to max: often an end of the range, mostly small. */
static uint32_t random_count(uint64_t *state, uint32_t max)
{
    const uint64_t r = codec_values_next(state);

    switch (r % 8) {
    case 0:
        return 0;
    case 1:
        return max;
    case 2:
        return (uint32_t)((r >> 8) % ((uint64_t)max + 1));
    default:
        return (uint32_t)((r >> 8) % ((max < 24 ? max : 24) + 1));
    }
}

/* Any bit length from 0 to 64, either sign: every length of a varint. */
static int64_t random_long(uint64_t *state)
{
    const uint64_t r = codec_values_next(state), v = codec_values_next(state);

    switch (r % 16) {
    case 0:
        return INT64_MIN;
    case 1:
        return INT64_MAX;
    case 2:
        return 0;
    default:
        return (int64_t)((v >> (r >> 8) % 64) ^ (0 - (r >> 32 & 1)));
    }
}

static double random_double(uint64_t *state)
{
    static const double edges[] = {0.0,       -0.0, 1.0,    INFINITY,
                                   -INFINITY, NAN,  5e-324, 1.7976931348623157e308};
    const uint64_t r = codec_values_next(state);

    if (r % 8 == 0)
        return edges[(r >> 8) % (sizeof edges / sizeof edges[0])];
    return (double)random_long(state) / 1048576.0;
}

static const uint8_t *pool(bool text)
{
    static uint8_t texts[POOL_BYTES], bytes[POOL_BYTES];

    if (texts[0] == 0) {
        uint64_t state = 1;
        for (size_t i = 0; i < POOL_BYTES; i++) {
            bytes[i] = (uint8_t)codec_values_next(&state);
            texts[i] = (uint8_t)(32 + bytes[i] % 95);
        }
    }
    return text ? texts : bytes;
}

static void random_fields(const struct codec_field *fields, uint32_t n, uint64_t *state,
                          uint8_t *base);

static void random_view(const struct slot *s, uint64_t *state)
{
    const struct codec_field *f = s->field;
    const uint32_t bound = f->kind == CODEC_KIND_ARRAY ? f->item_bound : f->bound;
    const uint32_t n = random_count(state, bound < 8192 ? bound : 8192);
    const uint8_t *data =
        pool(s->kind == CODEC_KIND_STRING) + codec_values_next(state) % (POOL_BYTES - 8192);
    const struct codec_str str = {.data = (const char *)data, .n = n};
    const struct codec_bytes bytes = {.data = data, .n = n};

    if (s->kind == CODEC_KIND_STRING)
        memcpy(s->at, &str, sizeof str);
    else
        memcpy(s->at, &bytes, sizeof bytes);
}

static void random_value(const struct slot *s, uint64_t *state)
{
    const int64_t v = random_long(state);
    const int32_t small = (int32_t)v;
    const double real = random_double(state);
    const float single = isnan(real) ? 1.5F : (float)real;

    switch (s->kind) {
    case CODEC_KIND_BOOL:
        *(bool *)s->at = v & 1;
        break;
    case CODEC_KIND_INT:
        memcpy(s->at, &small, sizeof small);
        break;
    case CODEC_KIND_LONG:
        memcpy(s->at, &v, sizeof v);
        break;
    case CODEC_KIND_FLOAT:
        memcpy(s->at, &single, sizeof single);
        break;
    case CODEC_KIND_DOUBLE:
        memcpy(s->at, &real, sizeof real);
        break;
    case CODEC_KIND_STRING:
    case CODEC_KIND_BYTES:
        random_view(s, state);
        break;
    case CODEC_KIND_FIXED:
        memcpy(s->at, pool(false) + (uint64_t)v % 1024, s->field->size);
        break;
    case CODEC_KIND_ENUM: {
        const uint32_t symbol = (uint32_t)((uint64_t)v % s->field->symbols_n);
        memcpy(s->at, &symbol, sizeof symbol);
        break;
    }
    case CODEC_KIND_RECORD:
        random_fields(s->field->fields, s->field->fields_n, state, s->at);
        break;
    case CODEC_KIND_ARRAY:
        assert(false);
        break; /* avrogen refuses arrays of arrays */
    }
}

static void random_fields(const struct codec_field *fields, uint32_t n, uint64_t *state,
                          uint8_t *base)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct codec_field *f = &fields[i];
        const struct slot s = slot_of(f, base);

        if (f->nullable) {
            *(bool *)(base + f->has_offset) = codec_values_next(state) % 4 != 0;
            if (!has(f, base))
                continue;
        }
        if (f->kind != CODEC_KIND_ARRAY) {
            random_value(&s, state);
            continue;
        }
        const uint32_t items = random_count(state, f->bound);
        memcpy(base + f->count_offset, &items, sizeof items);
        for (uint32_t k = 0; k < items; k++) {
            const struct slot item = item_of(&s, k);
            random_value(&item, state);
        }
    }
}

void codec_values_random(const struct codec_record *record, uint64_t *state, void *into)
{
    memset(into, 0, record->struct_size);
    random_fields(record->fields, record->fields_n, state, into);
}

static bool equal_fields(const struct codec_field *fields, uint32_t n, const void *a, const void *b,
                         const char **ret_field);

static bool equal_value(const struct slot *a, const struct slot *b, const char **ret_field)
{
    struct codec_str x, y;

    switch (a->kind) {
    case CODEC_KIND_STRING:
    case CODEC_KIND_BYTES: /* the two views have one layout */
        memcpy(&x, a->at, sizeof x);
        memcpy(&y, b->at, sizeof y);
        return codec_str_equal(x, y);
    case CODEC_KIND_RECORD:
        return equal_fields(a->field->fields, a->field->fields_n, a->at, b->at, ret_field);
    case CODEC_KIND_BOOL:
        return *(bool *)a->at == *(bool *)b->at;
    default:
        return memcmp(a->at, b->at, a->field->size) == 0;
    }
}

static bool equal_fields(const struct codec_field *fields, uint32_t n, const void *a, const void *b,
                         const char **ret_field)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct codec_field *f = &fields[i];
        const struct slot x = slot_of(f, a), y = slot_of(f, b);
        bool equal = has(f, a) == has(f, b);

        if (equal && has(f, a) && f->kind != CODEC_KIND_ARRAY) {
            equal = equal_value(&x, &y, ret_field);
        } else if (equal && has(f, a)) {
            const uint32_t items = count_of(f, a);
            equal = items == count_of(f, b);
            for (uint32_t k = 0; equal && k < items; k++) {
                const struct slot p = item_of(&x, k), q = item_of(&y, k);
                equal = equal_value(&p, &q, ret_field);
            }
        }
        if (!equal) {
            *ret_field = f->name;
            return false;
        }
    }
    return true;
}

bool codec_values_equal(const struct codec_record *record, const void *a, const void *b,
                        const char **ret_field)
{
    return equal_fields(record->fields, record->fields_n, a, b, ret_field);
}

static void print_fields(const struct codec_field *fields, uint32_t n, const void *base, FILE *out);

static void print_text(const char *data, uint32_t n, FILE *out)
{
    (void)fputc('"', out);
    for (uint32_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)data[i];
        if (c < 32 || c == '"' || c == '\\')
            (void)fprintf(out, "\\u%04x", c);
        else
            (void)fputc(c, out);
    }
    (void)fputc('"', out);
}

static void print_hex(const uint8_t *data, uint32_t n, FILE *out)
{
    (void)fputc('"', out);
    for (uint32_t i = 0; i < n; i++)
        (void)fprintf(out, "%02x", data[i]);
    (void)fputc('"', out);
}

static void print_value(const struct slot *s, FILE *out)
{
    struct codec_str text;
    struct codec_bytes bytes;
    uint64_t u64 = 0;

    switch (s->kind) {
    case CODEC_KIND_BOOL:
        (void)fputs(*(bool *)s->at ? "true" : "false", out);
        break;
    case CODEC_KIND_INT:
        (void)fprintf(out, "%" PRId32, *(int32_t *)(void *)s->at);
        break;
    case CODEC_KIND_LONG:
        (void)fprintf(out, "%" PRId64, *(int64_t *)(void *)s->at);
        break;
    case CODEC_KIND_FLOAT:
    case CODEC_KIND_DOUBLE:
        memcpy(&u64, s->at, s->field->size);
        (void)fprintf(out, "\"0x%0*" PRIx64 "\"", (int)(2 * s->field->size), u64);
        break;
    case CODEC_KIND_STRING:
        memcpy(&text, s->at, sizeof text);
        print_text(text.data, text.n, out);
        break;
    case CODEC_KIND_BYTES:
        memcpy(&bytes, s->at, sizeof bytes);
        print_hex(bytes.data, bytes.n, out);
        break;
    case CODEC_KIND_FIXED:
        print_hex(s->at, s->field->size, out);
        break;
    case CODEC_KIND_ENUM:
        (void)fprintf(out, "\"%s\"", s->field->symbols[*(uint32_t *)(void *)s->at]);
        break;
    case CODEC_KIND_RECORD:
        print_fields(s->field->fields, s->field->fields_n, s->at, out);
        break;
    case CODEC_KIND_ARRAY:
        assert(false);
        break; /* avrogen refuses arrays of arrays */
    }
}

static void print_fields(const struct codec_field *fields, uint32_t n, const void *base, FILE *out)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct codec_field *f = &fields[i];
        const struct slot s = slot_of(f, base);

        (void)fprintf(out, "%s\"%s\":", i == 0 ? "{" : ",", f->name);
        if (!has(f, base)) {
            (void)fputs("null", out);
        } else if (f->kind != CODEC_KIND_ARRAY) {
            print_value(&s, out);
        } else {
            (void)fputc('[', out);
            for (uint32_t k = 0; k < count_of(f, base); k++) {
                const struct slot item = item_of(&s, k);
                if (k > 0)
                    (void)fputc(',', out);
                print_value(&item, out);
            }
            (void)fputc(']', out);
        }
    }
    (void)fputc('}', out);
}

void codec_values_print(const struct codec_record *record, const void *v, FILE *out)
{
    print_fields(record->fields, record->fields_n, v, out);
    (void)fputc('\n', out);
}
