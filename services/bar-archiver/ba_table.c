#include "ba_table.h"

#include "ba_store.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS_MAX 40
#define NAME_BYTES_MAX 64

struct column {
    char name[NAME_BYTES_MAX];
    const char *type; /* as format_type() says it */
    bool is_nullable;
};

static const char *type_of(const struct codec_field *f)
{
    switch (f->kind) {
    case CODEC_KIND_INT:
        return "integer";
    case CODEC_KIND_LONG:
        return f->logical == CODEC_LOGICAL_TIMESTAMP_MICROS ? "timestamp with time zone" : "bigint";
    case CODEC_KIND_DOUBLE:
        return "double precision";
    case CODEC_KIND_STRING:
    case CODEC_KIND_ENUM:
        return "text";
    case CODEC_KIND_BYTES:
        return "bytea";
    default:
        assert(!"no column has such a field");
        return "";
    }
}

/* A record's columns; a record inside it gives its name, '_' and each of its fields'. */
static unsigned columns_of(const struct codec_record *record, struct column ret[COLUMNS_MAX])
{
    unsigned n = 0;

    for (unsigned i = 0; i < record->fields_n; i++) {
        const struct codec_field *f = &record->fields[i];
        const bool is_record = f->kind == CODEC_KIND_RECORD;
        for (unsigned j = 0; j < (is_record ? f->fields_n : 1); j++) {
            const struct codec_field *leaf = is_record ? &f->fields[j] : f;
            assert(n < COLUMNS_MAX);
            struct column *c = &ret[n++];
            (void)snprintf(c->name, sizeof c->name, "%s%s%s", f->name, is_record ? "_" : "",
                           is_record ? leaf->name : "");
            c->type = type_of(leaf);
            c->is_nullable = leaf->nullable;
        }
    }
    return n;
}

static int find(const struct pgc_rows *rows, const char *name)
{
    for (unsigned i = 0; i < pgc_rows_n(rows); i++) {
        if (strcmp(pgc_value(rows, i, 0), name) == 0)
            return (int)i;
    }
    return -1;
}

static enum err_class check_ours(const struct pgc_rows *rows, const char *table,
                                 const struct column *c, struct err *err)
{
    const int at = find(rows, c->name);

    if (at < 0)
        return err_set(err, ERR_REJECT, "table %s: column %s is missing: put it back", table,
                       c->name);
    const char *type = pgc_value(rows, (unsigned)at, 1);

    if (strcmp(type, c->type) != 0)
        return err_set(err, ERR_REJECT, "table %s: column %s is of type %s, not %s: change it back",
                       table, c->name, type, c->type);
    if (c->is_nullable && pgc_value(rows, (unsigned)at, 2)[0] == 't')
        return err_set(err, ERR_REJECT,
                       "table %s: column %s is NOT NULL: ALTER COLUMN %s DROP NOT NULL", table,
                       c->name, c->name);
    return ERR_OK;
}

static enum err_class check_theirs(const struct pgc_rows *rows, unsigned at, const char *table,
                                   const struct column *ours, unsigned n, struct err *err)
{
    const char *name = pgc_value(rows, at, 0);

    for (unsigned i = 0; i < n; i++) {
        if (strcmp(ours[i].name, name) == 0)
            return ERR_OK;
    }
    if (pgc_value(rows, at, 2)[0] == 't' && pgc_value(rows, at, 3)[0] == 'f')
        return err_set(
            err, ERR_REJECT,
            "table %s: column %s, which is not ours, is NOT NULL without a default: give "
            "it one",
            table, name);
    return ERR_OK;
}

enum err_class ba_table_check(struct pgc *pgc, enum ba_table table, struct err *err)
{
    static const char sql[] =
        "SELECT attname, format_type(atttypid, NULL), attnotnull, atthasdef OR attidentity <> '' "
        "FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped";
    const char *name = ba_table_names[table];
    struct column ours[COLUMNS_MAX];
    const unsigned n = columns_of(ba_table_record(table), ours);
    struct pgc_rows *rows = NULL;
    enum err_class e = pgc_query(pgc, sql, &name, 1, &rows, err);

    for (unsigned i = 0; e == ERR_OK && i < n; i++)
        e = check_ours(rows, name, &ours[i], err);
    for (unsigned i = 0; e == ERR_OK && i < pgc_rows_n(rows); i++)
        e = check_theirs(rows, i, name, ours, n, err);
    pgc_rows_free(rows);
    return e;
}
