/* resolve_internal.h: a schema as a table of types, and a plan as a table of operations. */
#ifndef CODEC_RESOLVE_INTERNAL_H
#define CODEC_RESOLVE_INTERNAL_H

#include "codec/resolve.h"

#include <jansson.h>

enum type {
    T_NULL,
    T_BOOL,
    T_INT,
    T_LONG,
    T_FLOAT,
    T_DOUBLE,
    T_BYTES,
    T_STRING,
    T_FIXED,
    T_ENUM,
    T_ARRAY,
    T_MAP,
    T_RECORD,
    T_UNION,
};

struct node {
    enum type type;
    uint32_t first, n; /* in children: a record's fields, a union's branches, what an array or a map
                          holds */
    const json_t *json; /* named types: the definition */
    char *name; /* named types: with its namespace; owned */
    const char *logical; /* or NULL */
    int64_t size; /* fixed */
};

struct schema {
    json_t *json;
    struct node *nodes;
    uint32_t nodes_n;
    uint32_t *children;
    uint32_t children_n;
    const char *wrong; /* why there is no such schema, or NULL */
};

/* false, and schema->wrong. Node 0 is the whole. Free in either case. */
bool codec_schema_parse(const char *text, size_t n, struct schema *ret_schema);
void codec_schema_free(struct schema *schema);

enum op_kind {
    OP_NULL,
    OP_BOOL,
    OP_INT,
    OP_LONG,
    OP_FLOAT,
    OP_DOUBLE,
    OP_BYTES, /* strings too */
    OP_FIXED, /* n bytes */
    OP_INT_TO_FLOAT,
    OP_INT_TO_DOUBLE,
    OP_LONG_TO_FLOAT,
    OP_LONG_TO_DOUBLE,
    OP_FLOAT_TO_DOUBLE,
    OP_ENUM, /* table[a + symbol] is ours, of n; -1: none */
    OP_ARRAY, /* a: its item's */
    OP_MAP, /* a: its value's */
    OP_RECORD, /* in the reader's order: steps[a], n of them */
    OP_REORDER, /* the same, but the writer's order differs: skips[b], one for each writer's field,
                   find where each starts; `field` of a step says which it wants */
    OP_UNION, /* table[a + branch] is the operation, of n */
    OP_INTO_UNION, /* writes branch b, then does a */
    OP_FAIL, /* a value that ours has no place for */
};

struct op {
    enum op_kind kind;
    uint32_t a, b, n;
};

enum step_kind { STEP_READ, STEP_SKIP, STEP_CONSTANT };

struct step {
    enum step_kind kind;
    uint32_t op; /* READ, SKIP */
    uint32_t field; /* READ: the writer's */
    uint32_t at, n; /* CONSTANT: in constants */
};

struct codec_plan {
    const struct codec_record *reader; /* NULL: between two texts */
    size_t out_max;
    bool same;
    struct op *ops;
    uint32_t ops_n, root;
    struct step *steps;
    uint32_t steps_n;
    int32_t *table; /* enums' symbols, unions' operations, reordered records' skips */
    uint32_t table_n;
    uint8_t *constants;
    size_t constants_n;
};

#endif
