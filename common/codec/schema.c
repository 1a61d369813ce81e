/*
 * Two schemas are one when their parsing canonical forms are the same text: Avro's own definition.
 * avro-c could compare them, but leaks on schemas that it refuses (fuzz_schema found it in a
 * minute), so a stranger's text is read by jansson and put into canonical form here.
 */
#include "codec/schema.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEPTH_MAX = 16,                 /* of nested types */
    NAME_BYTES_MAX = CODEC_NAME_BYTES_MAX,
    CANONICAL_BYTES_MAX = 128 << 10 /* names are spelled out: longer than the text at times */
};

/* A canonical form in the making. `wrong` is NULL, or why there is none. */
struct canonical {
    char *text;
    size_t n;
    const char *wrong;
};

static void add(struct canonical *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct canonical *c, const char *format, ...)
{
    va_list args;

    if (c->wrong != NULL)
        return;
    va_start(args, format);
    const int n = vsnprintf(c->text + c->n, CANONICAL_BYTES_MAX - c->n, format, args);
    va_end(args);
    if ((size_t)n >= CANONICAL_BYTES_MAX - c->n)
        c->wrong = "it is too long";
    else
        c->n += (size_t)n;
}

bool codec_name_ok(const char *name, const char *more)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";

    if (name == NULL || *name == '\0')
        return false;
    for (; *name != '\0'; name++)
        if (strchr(allowed, *name) == NULL && strchr(more, *name) == NULL)
            return false;
    return true;
}

static bool is_primitive(const char *word)
{
    static const char *const words[] = {"null",  "boolean", "int",   "long",
                                        "float", "double",  "bytes", "string"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i], word) == 0)
            return true;
    return false;
}

const char *codec_name_full(const char *name, const char *space, char full[CODEC_NAME_BYTES_MAX])
{
    if (!codec_name_ok(name, ".") || (space[0] != '\0' && !codec_name_ok(space, ".")))
        return "a bad name";
    const bool plain = strchr(name, '.') != NULL || space[0] == '\0';
    const int n = plain ? snprintf(full, NAME_BYTES_MAX, "%s", name)
                        : snprintf(full, NAME_BYTES_MAX, "%s.%s", space, name);
    return (size_t)n >= NAME_BYTES_MAX ? "a name that is too long" : NULL;
}

void codec_name_space(const char *full, char space[CODEC_NAME_BYTES_MAX])
{
    const char *dot = strrchr(full, '.');

    (void)snprintf(space, NAME_BYTES_MAX, "%.*s", dot != NULL ? (int)(dot - full) : 0, full);
}

/* A name with its namespace into `full`; false, and c->wrong, when it is none. */
static bool full_name(struct canonical *c, const char *name, const char *space,
                      char full[NAME_BYTES_MAX])
{
    const char *wrong = codec_name_full(name, space, full);

    if (wrong != NULL)
        c->wrong = wrong;
    return wrong == NULL;
}

static void add_type(struct canonical *c, const json_t *schema, const char *space, unsigned depth);

static void add_fields(struct canonical *c, const json_t *fields, const char *space, unsigned depth)
{
    if (!json_is_array(fields)) {
        c->wrong = "a record without fields";
        return;
    }
    add(c, ",\"fields\":[");
    for (size_t i = 0; i < json_array_size(fields) && c->wrong == NULL; i++) {
        const json_t *field = json_array_get(fields, i);
        const char *name = json_string_value(json_object_get(field, "name"));
        if (!codec_name_ok(name, "")) {
            c->wrong = "a field with a bad name";
            return;
        }
        add(c, "%s{\"name\":\"%s\",\"type\":", i > 0 ? "," : "", name);
        add_type(c, json_object_get(field, "type"), space, depth + 1);
        add(c, "}");
    }
    add(c, "]");
}

static void add_symbols(struct canonical *c, const json_t *symbols)
{
    if (json_array_size(symbols) == 0) {
        c->wrong = "an enum without symbols";
        return;
    }
    add(c, ",\"symbols\":[");
    for (size_t i = 0; i < json_array_size(symbols) && c->wrong == NULL; i++) {
        const char *symbol = json_string_value(json_array_get(symbols, i));
        if (codec_name_ok(symbol, ""))
            add(c, "%s\"%s\"", i > 0 ? "," : "", symbol);
        else
            c->wrong = "an enum with a bad symbol";
    }
    add(c, "]");
}

/* record, enum, fixed */
static void add_named(struct canonical *c, const json_t *schema, const char *word,
                      const char *outer_space, unsigned depth)
{
    const json_t *own_space = json_object_get(schema, "namespace");
    const char *space = json_is_string(own_space) ? json_string_value(own_space) : outer_space;
    char full[NAME_BYTES_MAX], inner[NAME_BYTES_MAX];

    if (!full_name(c, json_string_value(json_object_get(schema, "name")), space, full))
        return;
    codec_name_space(full, inner);
    add(c, "{\"name\":\"%s\",\"type\":\"%s\"", full, word);
    if (strcmp(word, "record") == 0)
        add_fields(c, json_object_get(schema, "fields"), inner, depth);
    else if (strcmp(word, "enum") == 0)
        add_symbols(c, json_object_get(schema, "symbols"));
    else
        add(c, ",\"size\":%lld", (long long)json_integer_value(json_object_get(schema, "size")));
    add(c, "}");
}

static void add_word(struct canonical *c, const char *word, const char *space)
{
    char full[NAME_BYTES_MAX];

    if (is_primitive(word))
        add(c, "\"%s\"", word);
    else if (full_name(c, word, space, full))
        add(c, "\"%s\"", full);
}

static void add_union(struct canonical *c, const json_t *branches, const char *space,
                      unsigned depth)
{
    add(c, "[");
    for (size_t i = 0; i < json_array_size(branches) && c->wrong == NULL; i++) {
        add(c, "%s", i > 0 ? "," : "");
        add_type(c, json_array_get(branches, i), space, depth + 1);
    }
    add(c, "]");
}

static void add_type(struct canonical *c, const json_t *schema, const char *space, unsigned depth)
{
    const json_t *type = json_object_get(schema, "type"); /* NULL where schema is no object */
    const char *word = json_string_value(type);

    if (depth > DEPTH_MAX) {
        c->wrong = "types are nested too deep";
    } else if (json_is_string(schema)) {
        add_word(c, json_string_value(schema), space);
    } else if (json_is_array(schema)) {
        add_union(c, schema, space, depth);
    } else if (json_is_object(type) || json_is_array(type)) {
        add_type(c, type, space, depth + 1);
    } else if (word == NULL) {
        c->wrong = "something that is no type";
    } else if (strcmp(word, "array") == 0 || strcmp(word, "map") == 0) {
        const char *key = word[0] == 'a' ? "items" : "values";
        add(c, "{\"type\":\"%s\",\"%s\":", word, key);
        add_type(c, json_object_get(schema, key), space, depth + 1);
        add(c, "}");
    } else if (strcmp(word, "record") == 0 || strcmp(word, "enum") == 0 ||
               strcmp(word, "fixed") == 0) {
        add_named(c, schema, word, space, depth);
    } else {
        add_word(c, word, space);
    }
}

/* c->text is CANONICAL_BYTES_MAX long; an empty text and `wrong` when there is no such form. */
static void canonicalise(struct canonical *c, const json_t *schema, const char *space)
{
    c->n = 0;
    c->wrong = NULL;
    c->text[0] = '\0';
    add_type(c, schema, space, 0);
    if (c->wrong != NULL) {
        c->n = 0;
        c->text[0] = '\0';
    }
}

/* Two of them in one piece of memory, which theirs.text owns. */
struct pair {
    struct canonical theirs, ours;
};

static bool pair_alloc(struct pair *ret_pair)
{
    char *text = malloc((size_t)2 * CANONICAL_BYTES_MAX);

    *ret_pair = (struct pair){.theirs = {.text = text}};
    if (text != NULL)
        ret_pair->ours.text = text + CANONICAL_BYTES_MAX;
    return text != NULL;
}

/* Says where two records that are not equal part. Both have a canonical form. */
static enum err_class differ(const char *name, const struct codec_record *record,
                             const json_t *their_schema, const json_t *our_schema,
                             struct canonical *theirs, struct canonical *ours, struct err *err)
{
    const json_t *a = json_object_get(their_schema, "fields");
    const json_t *b = json_object_get(our_schema, "fields");
    char space[NAME_BYTES_MAX];

    codec_name_space(record->full_name, space);
    for (size_t i = 0; i < json_array_size(a) && i < json_array_size(b); i++) {
        const json_t *x = json_array_get(a, i), *y = json_array_get(b, i);
        const char *their_name = json_string_value(json_object_get(x, "name"));
        const char *our_name = json_string_value(json_object_get(y, "name"));

        if (strcmp(their_name, our_name) != 0)
            return err_set(err, ERR_REJECT,
                           "%.96s: schema of %s differs from ours: field %zu is '%.32s', ours "
                           "'%s': write it with our schema",
                           name, record->name, i, their_name, our_name);
        canonicalise(theirs, json_object_get(x, "type"), space);
        canonicalise(ours, json_object_get(y, "type"), space);
        if (strcmp(theirs->text, ours->text) != 0)
            return err_set(err, ERR_REJECT,
                           "%.96s: schema of %s differs from ours: field '%s' has another type: "
                           "write it with our schema",
                           name, record->name, our_name);
    }
    return err_set(err, ERR_REJECT,
                   "%.96s: schema of %s differs from ours: %zu fields, ours %zu: write it with our "
                   "schema",
                   name, record->name, json_array_size(a), json_array_size(b));
}

/* The record that a canonical form is named after. */
static const struct codec_record *named(const struct canonical *c,
                                        const struct codec_record *expected, char *ret_name)
{
    const char *start = strstr(c->text, "\"name\":\"");

    ret_name[0] = '\0';
    if (start != c->text + 1)
        return NULL;
    start += strlen("\"name\":\"");
    (void)snprintf(ret_name, NAME_BYTES_MAX, "%.*s", (int)strcspn(start, "\""), start);
    if (expected != NULL)
        return strcmp(expected->full_name, ret_name) == 0 ? expected : NULL;
    return codec_record_by_name(ret_name);
}

static enum err_class compare(const char *name, const json_t *schema,
                              const struct codec_record *expected, struct canonical *theirs,
                              struct canonical *ours, const struct codec_record **ret_record,
                              struct err *err)
{
    char their_name[NAME_BYTES_MAX];

    canonicalise(theirs, schema, "");
    if (theirs->wrong != NULL)
        return err_set(err, ERR_REJECT, "%.96s: unreadable schema: %s", name, theirs->wrong);
    const struct codec_record *record = named(theirs, expected, their_name);
    if (record == NULL)
        return err_set(err, ERR_REJECT, "%.96s: holds %s '%.64s': expected %s", name,
                       their_name[0] != '\0' ? "records" : "no records but",
                       their_name[0] != '\0' ? their_name : theirs->text,
                       expected ? expected->name : "one of ours");

    json_t *our_schema = json_loads(record->schema, 0, NULL);
    if (our_schema == NULL)
        return err_set(err, ERR_FATAL, "%.96s: out of memory", name);
    canonicalise(ours, our_schema, "");
    enum err_class e = ERR_OK;
    if (strcmp(theirs->text, ours->text) == 0)
        *ret_record = record;
    else
        e = differ(name, record, schema, our_schema, theirs, ours, err);
    json_decref(our_schema);
    return e;
}

/* Word for word the same: by far the usual case. */
static bool same_text(const struct codec_record *record, const char *json, size_t json_n)
{
    return strlen(record->schema) == json_n && memcmp(record->schema, json, json_n) == 0;
}

enum err_class codec_schema_match(const char *name, const char *json, size_t json_n,
                                  const struct codec_record *expected,
                                  const struct codec_record **ret_record, struct err *err)
{
    for (size_t i = 0; i < codec_records_n && expected == NULL; i++)
        if (same_text(codec_records[i], json, json_n))
            expected = codec_records[i];
    if (expected != NULL && same_text(expected, json, json_n)) {
        *ret_record = expected;
        return ERR_OK;
    }

    json_error_t where;
    json_t *schema = json_loadb(json, json_n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
    if (schema == NULL)
        return err_set(err, ERR_REJECT, "%.96s: unreadable schema: %.100s (its byte %d)", name,
                       where.text, where.position);
    struct pair pair;
    enum err_class e;
    if (pair_alloc(&pair))
        e = compare(name, schema, expected, &pair.theirs, &pair.ours, ret_record, err);
    else
        e = err_set(err, ERR_FATAL, "%.96s: out of memory", name);
    free(pair.theirs.text);
    json_decref(schema);
    return e;
}

bool codec_schema_same(const json_t *a, const json_t *b)
{
    struct pair pair;

    if (!pair_alloc(&pair))
        return false;
    canonicalise(&pair.theirs, a, "");
    canonicalise(&pair.ours, b, "");
    /* a form that is wrong is empty */
    const bool same = pair.theirs.n > 0 && pair.theirs.n == pair.ours.n &&
                      memcmp(pair.theirs.text, pair.ours.text, pair.ours.n) == 0;
    free(pair.theirs.text);
    return same;
}
