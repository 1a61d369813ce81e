/* A schema's JSON into a table of types: every name known, every number in bounds. */
#include "resolve_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/schema.h"

static uint32_t parse(struct schema *s, const json_t *json, const char *space, unsigned depth);

static uint32_t fail(struct schema *s, const char *wrong)
{
    if (s->wrong == NULL)
        s->wrong = wrong;
    return 0;
}

static uint32_t add_node(struct schema *s, enum type type)
{
    if (s->nodes_n == CODEC_SCHEMA_NODES_MAX)
        return fail(s, "it has too many types");
    s->nodes[s->nodes_n] = (struct node){.type = type};
    return s->nodes_n++;
}

/* Room for n neighbours, filled later. */
static bool reserve(struct schema *s, uint32_t node, size_t n)
{
    if (n > CODEC_SCHEMA_NODES_MAX * 2 - s->children_n) {
        (void)fail(s, "it has too many types");
        return false;
    }
    s->nodes[node].first = s->children_n;
    s->nodes[node].n = (uint32_t)n;
    s->children_n += (uint32_t)n;
    return true;
}

static bool primitive(const char *word, enum type *ret)
{
    static const char *const words[] = {
        [T_NULL] = "null",   [T_BOOL] = "boolean",  [T_INT] = "int",     [T_LONG] = "long",
        [T_FLOAT] = "float", [T_DOUBLE] = "double", [T_BYTES] = "bytes", [T_STRING] = "string"};

    for (int i = T_NULL; i <= T_STRING; i++) {
        if (strcmp(words[i], word) == 0) {
            *ret = (enum type)i;
            return true;
        }
    }
    return false;
}

static uint32_t parse_word(struct schema *s, const char *word, const char *space)
{
    char full[CODEC_NAME_BYTES_MAX];
    enum type type;

    if (primitive(word, &type))
        return add_node(s, type);
    const char *wrong = codec_name_full(word, space, full);
    if (wrong != NULL)
        return fail(s, wrong);
    for (uint32_t i = 0; i < s->nodes_n; i++)
        if (s->nodes[i].name != NULL && strcmp(s->nodes[i].name, full) == 0)
            return i;
    return fail(s, "it uses a type that it does not define");
}

static uint32_t parse_fields(struct schema *s, uint32_t node, const json_t *json, const char *space,
                             unsigned depth)
{
    const json_t *fields = json_object_get(json, "fields");
    const size_t n = json_array_size(fields);

    if (!json_is_array(fields) || n > CODEC_PLAN_FIELDS_MAX)
        return fail(s, "a record without fields, or with too many");
    if (!reserve(s, node, n))
        return 0;
    for (size_t i = 0; i < n && s->wrong == NULL; i++) {
        const json_t *field = json_array_get(fields, i);
        if (!codec_name_ok(json_string_value(json_object_get(field, "name")), ""))
            return fail(s, "a field with a bad name");
        const uint32_t child = parse(s, json_object_get(field, "type"), space, depth + 1);
        s->children[s->nodes[node].first + i] = child;
    }
    return node;
}

static uint32_t parse_symbols(struct schema *s, uint32_t node, const json_t *json)
{
    const json_t *symbols = json_object_get(json, "symbols");
    const size_t n = json_array_size(symbols);

    if (n == 0 || n > CODEC_SCHEMA_NODES_MAX)
        return fail(s, "an enum without symbols, or with too many");
    for (size_t i = 0; i < n; i++)
        if (!codec_name_ok(json_string_value(json_array_get(symbols, i)), ""))
            return fail(s, "an enum with a bad symbol");
    s->nodes[node].n = (uint32_t)n;
    return node;
}

static uint32_t parse_named(struct schema *s, const json_t *json, enum type type, const char *outer,
                            unsigned depth)
{
    const json_t *own = json_object_get(json, "namespace");
    const char *space = json_is_string(own) ? json_string_value(own) : outer;
    char full[CODEC_NAME_BYTES_MAX], inner[CODEC_NAME_BYTES_MAX];
    const char *wrong =
        codec_name_full(json_string_value(json_object_get(json, "name")), space, full);

    if (wrong != NULL)
        return fail(s, wrong);
    for (uint32_t i = 0; i < s->nodes_n; i++)
        if (s->nodes[i].name != NULL && strcmp(s->nodes[i].name, full) == 0)
            return fail(s, "it defines a type twice");
    const uint32_t node = add_node(s, type);
    if (s->wrong != NULL)
        return 0;
    s->nodes[node].json = json;
    s->nodes[node].name = strdup(full);
    if (s->nodes[node].name == NULL)
        return fail(s, "out of memory");
    if (type == T_ENUM)
        return parse_symbols(s, node, json);
    if (type == T_RECORD) {
        codec_name_space(full, inner);
        return parse_fields(s, node, json, inner, depth);
    }
    const json_t *size = json_object_get(json, "size");
    s->nodes[node].size = json_integer_value(size);
    if (!json_is_integer(size) || s->nodes[node].size < 0 || s->nodes[node].size > 1 << 24)
        return fail(s, "a fixed without a size, or of too large a one");
    return node;
}

static uint32_t parse_union(struct schema *s, const json_t *json, const char *space, unsigned depth)
{
    const uint32_t node = add_node(s, T_UNION);
    const size_t n = json_array_size(json);

    if (s->wrong != NULL || n == 0 || !reserve(s, node, n))
        return fail(s, "a union without branches");
    for (size_t i = 0; i < n && s->wrong == NULL; i++) {
        const uint32_t child = parse(s, json_array_get(json, i), space, depth + 1);
        if (s->nodes[child].type == T_UNION)
            return fail(s, "a union within a union");
        s->children[s->nodes[node].first + i] = child;
    }
    return node;
}

static uint32_t parse_container(struct schema *s, const json_t *json, enum type type,
                                const char *space, unsigned depth)
{
    const uint32_t node = add_node(s, type);
    const char *key = type == T_ARRAY ? "items" : "values";

    if (s->wrong != NULL || !reserve(s, node, 1))
        return 0;
    const uint32_t child = parse(s, json_object_get(json, key), space, depth + 1);
    s->children[s->nodes[node].first] = child;
    return node;
}

static uint32_t parse(struct schema *s, const json_t *json, const char *space, unsigned depth)
{
    static const struct {
        const char *word;
        enum type type;
    } complex[] = {{"array", T_ARRAY},  {"map", T_MAP},   {"record", T_RECORD},
                   {"error", T_RECORD}, {"enum", T_ENUM}, {"fixed", T_FIXED}};
    const json_t *type = json_object_get(json, "type"); /* NULL where json is no object */
    const char *word = json_string_value(type);

    if (depth > CODEC_SCHEMA_DEPTH_MAX)
        return fail(s, "types are nested too deep");
    if (json_is_string(json))
        return parse_word(s, json_string_value(json), space);
    if (json_is_array(json))
        return parse_union(s, json, space, depth);
    if (json_is_object(type) || json_is_array(type))
        return parse(s, type, space, depth + 1);
    if (word == NULL)
        return fail(s, "something that is no type");
    for (size_t i = 0; i < sizeof complex / sizeof complex[0]; i++) {
        if (strcmp(word, complex[i].word) != 0)
            continue;
        if (complex[i].type == T_ARRAY || complex[i].type == T_MAP)
            return parse_container(s, json, complex[i].type, space, depth);
        return parse_named(s, json, complex[i].type, space, depth);
    }
    const uint32_t before = s->nodes_n;
    const uint32_t node = parse_word(s, word, space);
    if (s->nodes_n > before) /* a primitive: named types keep what they were defined with */
        s->nodes[node].logical = json_string_value(json_object_get(json, "logicalType"));
    return node;
}

bool codec_schema_parse(const char *text, size_t n, struct schema *s)
{
    *s = (struct schema){.wrong = NULL};
    if (n > CODEC_SCHEMA_BYTES_MAX) {
        s->wrong = "it is too long";
        return false;
    }
    s->json = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (s->json == NULL) {
        s->wrong = "it is no JSON, or names a thing twice";
        return false;
    }
    s->nodes = calloc(CODEC_SCHEMA_NODES_MAX, sizeof *s->nodes);
    s->children = calloc(CODEC_SCHEMA_NODES_MAX * 2, sizeof *s->children);
    if (s->nodes == NULL || s->children == NULL)
        s->wrong = "out of memory";
    else
        (void)parse(s, s->json, "", 0);
    return s->wrong == NULL;
}

void codec_schema_free(struct schema *s)
{
    for (uint32_t i = 0; i < s->nodes_n; i++)
        free(s->nodes[i].name);
    free(s->nodes);
    free(s->children);
    json_decref(s->json);
    *s = (struct schema){.wrong = NULL};
}
