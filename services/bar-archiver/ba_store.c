#include "ba_store.h"

#include "ba_table.h"
#include "ba_valid.h"

#include "codec/candle.h"
#include "codec/l2_bar.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 31 /* and ba_seq */
#define SQL_BYTES_MAX 4096
#define SPLITS_MAX 40 /* a range is halved this often at most: more than enough for 2^32 rows */

static_assert(CODEC_L2_BAR_BYTES_MAX <= BA_RECORD_BYTES_MAX, "bars fit");
static_assert(CODEC_CANDLE_BYTES_MAX <= BA_RECORD_BYTES_MAX, "candles fit");

const char *const ba_table_names[] = {"l2_snapshots", "ohlcv", NULL};

static const struct {
    const char *key;
    /* Fields that say how a row came about, not what it is: another restart, another partition
     * count or a close by the clock may give the same row with others. */
    const char *provenance[6];
} tables[BA_TABLES] = {
    [BA_BARS] = {"exchange, symbol, bar_seconds, bar_time, schema_version",
                 {"last_event_time", "closed_by", "source_partition", "source_offset", "resume",
                  NULL}},
    [BA_CANDLES] = {"exchange, symbol, bar_seconds, bar_time", {NULL}},
};

const struct codec_record *ba_table_record(enum ba_table table)
{
    return table == BA_BARS ? &codec_l2_bar_record : &codec_candle_record;
}

struct statements {
    char stage[64];               /* the staging table */
    char create[SQL_BYTES_MAX];   /* it, once a connection */
    char columns[SQL_BYTES_MAX];  /* for COPY */
    char insert[SQL_BYTES_MAX];   /* what is new */
    char differ[SQL_BYTES_MAX];   /* what would change a stored row */
    unsigned columns_n;           /* with ba_seq */
};

union decoded {
    struct codec_l2_bar bar;
    struct codec_candle candle;
};

struct ba_store {
    struct pgc *pgc;
    struct ba_readers *readers;
    struct statements sql[BA_TABLES];
    union decoded decoded;
};

/* ---- messages of other schema versions and framings ---- */

enum err_class ba_readers_open(const struct codec_ids *ids, struct ba_readers *ret_readers,
                               struct err *err)
{
    struct ba_readers r = {{NULL}};

    for (enum ba_table table = 0; table < BA_TABLES; table++) {
        if (codec_reader_new(ba_table_record(table), ids, &r.of[table], err) != ERR_OK) {
            ba_readers_close(&r);
            return err->class;
        }
    }
    *ret_readers = r;
    return ERR_OK;
}

void ba_readers_close(struct ba_readers *r)
{
    for (enum ba_table table = 0; table < BA_TABLES; table++) {
        codec_reader_free(r->of[table]);
        r->of[table] = NULL;
    }
}

static void leave_out(struct ba_row *row, enum codec_status status, struct ba_result *r)
{
    row->is_left_out = true;
    r->undecodable[row->table]++;
    if (r->examples_n == BA_EXAMPLES_MAX)
        return;
    struct ba_example *e = &r->examples[r->examples_n++];
    *e = (struct ba_example){.table = row->table,
                             .kind = BA_UNDECODABLE,
                             .partition = row->partition,
                             .offset = row->offset};
    (void)snprintf(e->why, sizeof e->why, "%s", codec_status_name(status));
}

enum err_class ba_readers_judge(struct ba_readers *readers, struct ba_batch *batch,
                                struct ba_result *ret_result, struct err *err)
{
    struct ba_result r = {.examples_n = 0};
    union decoded decoded;

    for (unsigned i = 0; i < batch->rows_n; i++) {
        struct ba_row *row = &batch->rows[i];
        if (!row->is_framed)
            continue;
        const enum codec_status status = codec_reader_decode(
            readers->of[row->table], ba_batch_record(batch, row), row->n, &decoded);
        row->is_left_out = false;
        if (status == CODEC_SCHEMA_PENDING)
            return err_set(err, ERR_RETRY,
                           "schema registry: partition %d, offset %lld: no answer yet on what its "
                           "schema is",
                           (int)row->partition, (long long)row->offset);
        if (status != CODEC_OK)
            leave_out(row, status, &r);
    }
    *ret_result = r;
    return ERR_OK;
}

/* ---- SQL from descriptors ---- */

struct text {
    char *data;
    size_t n;
};

static void put(struct text *t, const char *a, const char *b, const char *c)
{
    const int n = snprintf(t->data + t->n, SQL_BYTES_MAX - t->n, "%s%s%s", a, b, c);

    assert(n >= 0 && (size_t)n < SQL_BYTES_MAX - t->n);
    t->n += (size_t)n;
}

static bool is_provenance(enum ba_table table, const char *name)
{
    for (unsigned i = 0; tables[table].provenance[i] != NULL; i++) {
        if (strcmp(tables[table].provenance[i], name) == 0)
            return true;
    }
    return false;
}

/* Every column behind `alias`, a record's fields as its name, '_' and theirs. */
static unsigned put_columns(struct text *t, enum ba_table table, const char *alias, bool provenance)
{
    const struct codec_record *record = ba_table_record(table);
    unsigned n = 0;

    for (unsigned i = 0; i < record->fields_n; i++) {
        const struct codec_field *f = &record->fields[i];
        if (!provenance && is_provenance(table, f->name))
            continue;
        if (f->kind != CODEC_KIND_RECORD) {
            put(t, n++ > 0 ? ", " : "", alias, f->name);
            continue;
        }
        for (unsigned j = 0; j < f->fields_n; j++) {
            put(t, n++ > 0 ? ", " : "", alias, f->name);
            put(t, "_", f->fields[j].name, "");
        }
    }
    assert(n <= COLUMNS_MAX);
    return n;
}

static void prepare(struct statements *s, enum ba_table table)
{
    const char *name = ba_table_names[table], *key = tables[table].key;
    struct text t = {s->columns, 0};

    (void)snprintf(s->stage, sizeof s->stage, "ba_stage_%s", name);
    (void)snprintf(s->create, SQL_BYTES_MAX,
                   "CREATE TEMPORARY TABLE %s (ba_seq integer, LIKE %s INCLUDING DEFAULTS) "
                   "ON COMMIT DELETE ROWS",
                   s->stage, name);
    put(&t, "ba_seq, ", "", "");
    s->columns_n = 1 + put_columns(&t, table, "", true);

    /* By the key, so that two writers take their locks in one order; then the first one wins. */
    t = (struct text){s->insert, 0};
    put(&t, "INSERT INTO ", name, " (");
    (void)put_columns(&t, table, "", true);
    put(&t, ") SELECT ", "", "");
    (void)put_columns(&t, table, "", true);
    put(&t, " FROM ", s->stage, " ORDER BY ");
    put(&t, key, ", ba_seq ON CONFLICT DO NOTHING", "");

    /* The span of time lets chunks be left out. NaN equals NaN and -0 equals 0 here. */
    t = (struct text){s->differ, 0};
    put(&t, "SELECT exchange, symbol, bar_time, ", table == BA_BARS ? "schema_version" : "''",
        ", count(*) OVER () FROM ");
    put(&t, s->stage, " s JOIN ", name);
    put(&t, " t USING (", key, ") WHERE t.bar_time BETWEEN (SELECT min(bar_time) FROM ");
    put(&t, s->stage, ") AND (SELECT max(bar_time) FROM ", s->stage);
    put(&t, ") AND (", "", "");
    (void)put_columns(&t, table, "s.", false);
    put(&t, ") IS DISTINCT FROM (", "", "");
    (void)put_columns(&t, table, "t.", false);
    put(&t, ") ORDER BY ba_seq LIMIT 8", "", "");
}

/* ---- COPY from descriptors ---- */

static void copy_field(struct pgc *pgc, const struct codec_field *f, const char *base)
{
    const char *at = base + f->offset;

    if (f->nullable && !*(const bool *)(base + f->has_offset)) {
        pgc_copy_null(pgc);
        return;
    }
    switch (f->kind) {
    case CODEC_KIND_INT:
        pgc_copy_int4(pgc, *(const int32_t *)(const void *)at);
        return;
    case CODEC_KIND_LONG:
        if (f->logical == CODEC_LOGICAL_TIMESTAMP_MICROS)
            pgc_copy_time_us(pgc, *(const int64_t *)(const void *)at);
        else
            pgc_copy_int8(pgc, *(const int64_t *)(const void *)at);
        return;
    case CODEC_KIND_DOUBLE:
        pgc_copy_float8(pgc, *(const double *)(const void *)at);
        return;
    case CODEC_KIND_STRING: {
        const struct codec_str *s = (const struct codec_str *)(const void *)at;
        pgc_copy_text(pgc, s->data, s->n);
        return;
    }
    case CODEC_KIND_BYTES: {
        const struct codec_bytes *b = (const struct codec_bytes *)(const void *)at;
        pgc_copy_bytes(pgc, b->data, b->n);
        return;
    }
    case CODEC_KIND_ENUM: {
        const char *name = f->symbols[*(const int *)(const void *)at];
        pgc_copy_text(pgc, name, strlen(name));
        return;
    }
    case CODEC_KIND_RECORD:
        for (unsigned i = 0; i < f->fields_n; i++)
            copy_field(pgc, &f->fields[i], at);
        return;
    case CODEC_KIND_BOOL:
    case CODEC_KIND_FLOAT:
    case CODEC_KIND_FIXED:
    case CODEC_KIND_ARRAY:
        break;
    }
    assert(!"no column has such a field");
}

/* Into s->decoded; that it decodes is known since it came into the batch, or was judged. */
static void decode_row(struct ba_store *s, const struct ba_batch *batch, const struct ba_row *row)
{
    const uint8_t *bytes = ba_batch_record(batch, row);
    const enum codec_status status =
        row->is_framed ? codec_reader_decode(s->readers->of[row->table], bytes, row->n, &s->decoded)
                       : ba_table_record(row->table)->decode(bytes, row->n, &s->decoded);

    assert(status == CODEC_OK);
}

static void copy_row(struct ba_store *s, const struct ba_batch *batch, unsigned at)
{
    const struct ba_row *row = &batch->rows[at];
    const struct codec_record *record = ba_table_record(row->table);

    decode_row(s, batch, row);
    pgc_copy_row(s->pgc, s->sql[row->table].columns_n);
    pgc_copy_int4(s->pgc, (int32_t)at);
    for (unsigned i = 0; i < record->fields_n; i++)
        copy_field(s->pgc, &record->fields[i], (const char *)&s->decoded);
}

/* ---- a transaction ---- */

struct range {
    unsigned from, to;
};

static void take_text(char *into, size_t size, const char *text)
{
    (void)snprintf(into, size, "%s", text == NULL ? "" : text);
}

static enum err_class find_changes(struct ba_store *s, enum ba_table table, struct ba_result *r,
                                   uint64_t *ret_n, struct err *err)
{
    struct pgc_rows *rows = NULL;

    if (pgc_query(s->pgc, s->sql[table].differ, NULL, 0, &rows, err) != ERR_OK)
        return err->class;
    *ret_n = 0;
    for (unsigned i = 0; i < pgc_rows_n(rows); i++) {
        *ret_n = strtoull(pgc_value(rows, i, 4), NULL, 10);
        if (r->examples_n == BA_EXAMPLES_MAX)
            break;
        struct ba_example *e = &r->examples[r->examples_n++];
        *e = (struct ba_example){.table = table, .kind = BA_CHANGE, .partition = -1, .offset = -1};
        take_text(e->exchange, sizeof e->exchange, pgc_value(rows, i, 0));
        take_text(e->symbol, sizeof e->symbol, pgc_value(rows, i, 1));
        take_text(e->bar_time, sizeof e->bar_time, pgc_value(rows, i, 2));
        take_text(e->schema_version, sizeof e->schema_version, pgc_value(rows, i, 3));
    }
    pgc_rows_free(rows);
    return ERR_OK;
}

static bool has_row(const struct ba_batch *batch, unsigned at, enum ba_table table)
{
    const struct ba_row *row = &batch->rows[at];

    return row->table == table && !row->is_left_out && !row->is_impossible;
}

static enum err_class write_table(struct ba_store *s, enum ba_table table,
                                  const struct ba_batch *batch, struct range range,
                                  struct ba_result *r, struct err *err)
{
    const struct statements *sql = &s->sql[table];
    int64_t staged = 0, fresh = 0;
    uint64_t changed = 0;
    unsigned n = 0;

    for (unsigned i = range.from; i < range.to; i++)
        n += has_row(batch, i, table);
    if (n == 0)
        return ERR_OK;
    if (pgc_copy_begin(s->pgc, sql->stage, sql->columns, err) != ERR_OK)
        return err->class;
    for (unsigned i = range.from; i < range.to; i++) {
        if (has_row(batch, i, table))
            copy_row(s, batch, i);
    }
    if (pgc_copy_end(s->pgc, &staged, err) != ERR_OK ||
        pgc_exec(s->pgc, sql->insert, NULL, 0, &fresh, err) != ERR_OK)
        return err->class;
    /* Were all of them new, none can differ from a stored one. */
    if (fresh < staged && find_changes(s, table, r, &changed, err) != ERR_OK)
        return err->class;
    r->fresh[table] += (uint64_t)fresh;
    r->changed[table] += changed;
    r->same[table] += (uint64_t)(staged - fresh) - changed;
    return ERR_OK;
}

static enum err_class write_range(struct ba_store *s, const struct ba_batch *batch,
                                  struct range range, struct ba_result *result, struct err *err)
{
    struct ba_result r = *result; /* a rolled back transaction has counted nothing */

    if (pgc_begin(s->pgc, err) != ERR_OK)
        return err->class;
    enum err_class e = ERR_OK;
    for (enum ba_table table = 0; e == ERR_OK && table < BA_TABLES; table++)
        e = write_table(s, table, batch, range, &r, err);
    if (e == ERR_OK)
        e = pgc_commit(s->pgc, err);
    if (e != ERR_OK) {
        pgc_rollback(s->pgc);
        return e;
    }
    *result = r;
    return ERR_OK;
}

/* Classes 22 (data) and 23 (integrity) speak of a row, and so does pgc itself, without a SQLSTATE
 * (a time that no timestamptz can hold); what else is rejected would be so with any row. */
static bool is_row_at_fault(const struct ba_store *s)
{
    const char *state = pgc_sqlstate(s->pgc);

    return state[0] == '\0' || (state[0] == '2' && (state[1] == '2' || state[1] == '3'));
}

/* s->decoded is the row's record. */
static void reject(struct ba_store *s, const struct ba_row *row, const char *why,
                   struct ba_result *r)
{
    r->rejected[row->table]++;
    if (r->examples_n == BA_EXAMPLES_MAX)
        return;
    struct ba_example *e = &r->examples[r->examples_n++];
    *e = (struct ba_example){.table = row->table,
                             .kind = BA_REJECTED,
                             .partition = row->partition,
                             .offset = row->offset};
    const bool is_bar = row->table == BA_BARS;
    const struct codec_l2_bar *bar = &s->decoded.bar;
    const struct codec_candle *candle = &s->decoded.candle;
    const struct codec_str exchange = is_bar ? bar->exchange : candle->exchange,
                           symbol = is_bar ? bar->symbol : candle->symbol;
    (void)snprintf(e->exchange, sizeof e->exchange, "%.*s", (int)exchange.n, exchange.data);
    (void)snprintf(e->symbol, sizeof e->symbol, "%.*s", (int)symbol.n, symbol.data);
    (void)snprintf(e->bar_time, sizeof e->bar_time, "%" PRId64 " us",
                   is_bar ? bar->bar_time_us : candle->bar_time_us);
    if (is_bar)
        (void)snprintf(e->schema_version, sizeof e->schema_version, "%.*s",
                       (int)bar->schema_version.n, bar->schema_version.data);
    (void)snprintf(e->why, sizeof e->why, "%s", why);
}

static void reject_impossible(struct ba_store *s, struct ba_batch *batch, struct ba_result *r)
{
    for (unsigned i = 0; i < batch->rows_n; i++) {
        struct ba_row *row = &batch->rows[i];
        if (row->is_left_out)
            continue;
        decode_row(s, batch, row);
        const char *fault = ba_fault(row->table, &s->decoded);
        row->is_impossible = fault != NULL;
        if (fault != NULL)
            reject(s, row, fault, r);
    }
}

static enum err_class check_tables(struct ba_store *s, struct err *err)
{
    enum err_class e = ERR_OK;

    for (enum ba_table table = 0; e == ERR_OK && table < BA_TABLES; table++)
        e = ba_table_check(s->pgc, table, err);
    return e;
}

enum err_class ba_store_write(struct ba_store *s, struct ba_batch *batch,
                              struct ba_result *ret_result, struct err *err)
{
    struct ba_result r = *ret_result;
    struct range stack[SPLITS_MAX];
    unsigned depth = 0;
    struct err at_table;
    bool checked = false;

    reject_impossible(s, batch, &r);
    if (batch->rows_n > 0)
        stack[depth++] = (struct range){0, batch->rows_n};
    while (depth > 0) {
        const struct range range = stack[--depth];
        const enum err_class e = write_range(s, batch, range, &r, err);
        if (e == ERR_OK)
            continue;
        if (e != ERR_REJECT || pgc_is_broken(s->pgc) || !is_row_at_fault(s))
            return e;
        if (!checked && check_tables(s, &at_table) != ERR_OK) {
            *err = at_table;
            return err->class;
        }
        checked = true;
        if (range.to - range.from == 1) {
            const struct ba_row *row = &batch->rows[range.from];
            decode_row(s, batch, row);
            reject(s, row, err->text, &r);
            continue;
        }
        const unsigned middle = range.from + (range.to - range.from) / 2;
        assert(depth + 2 <= SPLITS_MAX);
        stack[depth++] = (struct range){middle, range.to};
        stack[depth++] = (struct range){range.from, middle}; /* the first half first */
    }
    *ret_result = r;
    return ERR_OK;
}

/* ---- the connection ---- */

enum err_class ba_store_open(const struct pgc_options *options, struct ba_readers *readers,
                             struct ba_store **ret_store, struct err *err)
{
    /* Staged rows meet stored ones through the primary key, whatever the statistics of a table that
     * is minutes old say: a hash of all that was ever stored is never the way. */
    static const char *const settings[] = {"SET enable_hashjoin = off",
                                           "SET enable_mergejoin = off"};
    struct ba_store *s = calloc(1, sizeof *s);

    if (s == NULL)
        return err_set(err, ERR_FATAL, "store: no memory");
    s->readers = readers;
    enum err_class e = pgc_open(options, &s->pgc, err);
    if (e == ERR_OK)
        e = pgc_schema_require(s->pgc, BA_SCHEMA_VERSION, err);
    if (e == ERR_OK)
        e = check_tables(s, err);
    for (unsigned i = 0; e == ERR_OK && i < sizeof settings / sizeof settings[0]; i++)
        e = pgc_exec(s->pgc, settings[i], NULL, 0, NULL, err);
    for (enum ba_table table = 0; e == ERR_OK && table < BA_TABLES; table++) {
        prepare(&s->sql[table], table);
        e = pgc_exec(s->pgc, s->sql[table].create, NULL, 0, NULL, err);
    }
    if (e != ERR_OK) {
        ba_store_close(s);
        return e;
    }
    *ret_store = s;
    return ERR_OK;
}

void ba_store_close(struct ba_store *s)
{
    if (s == NULL)
        return;
    pgc_close(s->pgc);
    free(s);
}
