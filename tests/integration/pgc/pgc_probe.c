/*
 * pgc_probe: pgc driven line by line. Options of the connection come from the configuration file
 * argv[1]; argv[2]: statement_timeout in ms. Each line of stdin is a command, each answered by one
 * line: "CLASS ms SQLSTATE broken|well text" (CLASS: ok, retry, reject, fatal). Texts' blanks stay.
 */
#include "clk/clk.h"
#include "connect/connect.h"
#include "pgc/pgc.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 8192
#define CELLS_BYTES 4096
#define BIG_BYTES 200000

static const struct config_row rows[] = {CONNECT_PG_ROWS, {.name = NULL}};

struct probe {
    struct pgc_options options;
    struct pgc *pgc;
    char said[CELLS_BYTES];
};

static void say_rows(struct probe *p, const struct pgc_rows *table)
{
    size_t n = 0;

    for (unsigned r = 0; r < pgc_rows_n(table); r++) {
        for (unsigned c = 0; c < pgc_columns_n(table) && n < sizeof p->said; c++) {
            const char *const v = pgc_value(table, r, c);
            n += (size_t)snprintf(p->said + n, sizeof p->said - n, "%s%s", c > 0 ? "|" : "",
                                  v == NULL ? "NULL" : v);
        }
        if (n < sizeof p->said)
            n += (size_t)snprintf(p->said + n, sizeof p->said - n, ";");
    }
}

static enum err_class query(struct probe *p, const char *sql, struct err *err)
{
    struct pgc_rows *table = NULL;
    const enum err_class class = pgc_query(p->pgc, sql, NULL, 0, &table, err);

    if (class == ERR_OK)
        say_rows(p, table);
    pgc_rows_free(table);
    return class;
}

/* "N": so many statements in one text. */
static enum err_class statements(struct probe *p, const char *line, struct err *err)
{
    static const char one[] = "SELECT 1;";
    const size_t n = strtoul(line, NULL, 10);
    char *const sql = malloc(n * (sizeof one - 1) + 1);

    if (sql == NULL)
        return err_set(err, ERR_FATAL, "out of memory");
    for (size_t i = 0; i < n; i++)
        memcpy(sql + i * (sizeof one - 1), one, sizeof one);
    const enum err_class class = query(p, sql, err);

    free(sql);
    return class;
}

/* "A B SQL": the query's two parameters; "NULL" is null. */
static enum err_class with_params(struct probe *p, char *line, struct err *err)
{
    char *save = NULL;
    const char *params[2];
    int64_t n = -1;

    for (unsigned i = 0; i < 2; i++) {
        params[i] = strtok_r(i == 0 ? line : NULL, " ", &save);
        if (params[i] != NULL && strcmp(params[i], "NULL") == 0)
            params[i] = NULL;
    }
    const enum err_class class = pgc_exec(p->pgc, save, params, 2, &n, err);
    snprintf(p->said, sizeof p->said, "%" PRId64, n);
    return class;
}

/* t(i4 int, i8 bigint, f8 double precision, b boolean, t text, y bytea, at timestamptz) */
static void typed_row(struct pgc *pgc, int32_t i4, int64_t i8, double f8, bool b, const char *t,
                      int64_t at)
{
    static const uint8_t bytes[] = {0, 1, 0xff, 0, '\\', '\n'};

    pgc_copy_row(pgc, 7);
    pgc_copy_int4(pgc, i4);
    pgc_copy_int8(pgc, i8);
    pgc_copy_float8(pgc, f8);
    pgc_copy_bool(pgc, b);
    pgc_copy_text(pgc, t, strlen(t));
    pgc_copy_bytes(pgc, bytes, sizeof bytes);
    pgc_copy_time_us(pgc, at);
}

static enum err_class copy_types(struct probe *p, struct err *err)
{
    int64_t n = -1;
    enum err_class class = pgc_copy_begin(p->pgc, "t", "i4, i8, f8, b, t, y, at", err);

    if (class != ERR_OK)
        return class;
    typed_row(p->pgc, INT32_MIN, INT64_MIN, NAN, true, "", 0);
    typed_row(p->pgc, INT32_MAX, INT64_MAX, INFINITY, false, "tab\there \\N \"quoted\" é",
              INT64_C(1723161256123456));
    typed_row(p->pgc, 0, -1, -INFINITY, true, "x", -1);
    typed_row(p->pgc, -1, 0, -0.0, false, "y", INT64_C(946684800000000));
    typed_row(p->pgc, 1, 1, DBL_MAX, false, "z", INT64_MAX);
    typed_row(p->pgc, 2, 2, DBL_TRUE_MIN, false, "z", INT64_C(-210866803200000000));
    typed_row(p->pgc, 3, 3, 0.1, false, "z", INT64_C(4102444800000001));
    pgc_copy_row(p->pgc, 7);
    for (unsigned i = 0; i < 7; i++)
        pgc_copy_null(p->pgc);
    class = pgc_copy_end(p->pgc, &n, err);
    snprintf(p->said, sizeof p->said, "%" PRId64, n);
    return class;
}

/* "N BYTES": N rows of a text of BYTES into big(n bigint, t text). */
static enum err_class copy_big(struct probe *p, const char *line, struct err *err)
{
    char *end = NULL;
    const int64_t rows_n = strtoll(line, &end, 10);
    const int64_t bytes_n = strtoll(end, NULL, 10);
    char *text = malloc(BIG_BYTES);
    int64_t n = -1;
    enum err_class class = pgc_copy_begin(p->pgc, "big", "n, t", err);

    if (class == ERR_OK && text != NULL && bytes_n <= BIG_BYTES) {
        memset(text, 'a', (size_t)bytes_n);
        for (int64_t i = 0; i < rows_n; i++) {
            pgc_copy_row(p->pgc, 2);
            pgc_copy_int8(p->pgc, i);
            pgc_copy_text(p->pgc, text, (size_t)bytes_n);
        }
        class = pgc_copy_end(p->pgc, &n, err);
        snprintf(p->said, sizeof p->said, "%" PRId64, n);
    }
    free(text);
    return class;
}

/* A time before timestamptz begins, then a good row: nothing of it may stay. */
static enum err_class copy_bad_time(struct probe *p, const char *line, struct err *err)
{
    enum err_class class = pgc_copy_begin(p->pgc, "times", "at", err);

    if (class != ERR_OK)
        return class;
    pgc_copy_row(p->pgc, 1);
    pgc_copy_time_us(p->pgc, strtoll(line, NULL, 10));
    pgc_copy_row(p->pgc, 1);
    pgc_copy_time_us(p->pgc, 0);
    return pgc_copy_end(p->pgc, NULL, err);
}

static enum err_class copy_unended(struct probe *p, struct err *err)
{
    const enum err_class class = pgc_copy_begin(p->pgc, "times", "at", err);

    if (class == ERR_OK) {
        pgc_copy_row(p->pgc, 1);
        pgc_rollback(p->pgc);
    }
    return class;
}

static enum err_class migrate(struct probe *p, const char *line, struct err *err)
{
    unsigned from = 0, done = 0;
    const enum err_class class =
        pgc_migrate(p->pgc, (unsigned)strtoul(line, NULL, 10), &from, &done, err);

    snprintf(p->said, sizeof p->said, "%u %u", from, done);
    return class;
}

static enum err_class version(struct probe *p, struct err *err)
{
    unsigned is = 0;
    const enum err_class class = pgc_schema_version(p->pgc, &is, err);

    snprintf(p->said, sizeof p->said, "%u", is);
    return class;
}

static enum err_class open_again(struct probe *p, struct err *err)
{
    pgc_close(p->pgc);
    p->pgc = NULL;
    return pgc_open(&p->options, &p->pgc, err);
}

static enum err_class run(struct probe *p, const char *verb, char *rest, struct err *err)
{
    if (strcmp(verb, "open") == 0)
        return open_again(p, err);
    if (p->pgc == NULL)
        return err_set(err, ERR_FATAL, "not open");
    if (strcmp(verb, "query") == 0)
        return query(p, rest, err);
    if (strcmp(verb, "statements") == 0)
        return statements(p, rest, err);
    if (strcmp(verb, "params") == 0)
        return with_params(p, rest, err);
    if (strcmp(verb, "begin") == 0)
        return pgc_begin(p->pgc, err);
    if (strcmp(verb, "commit") == 0)
        return pgc_commit(p->pgc, err);
    if (strcmp(verb, "rollback") == 0) {
        pgc_rollback(p->pgc);
        return ERR_OK;
    }
    if (strcmp(verb, "types") == 0)
        return copy_types(p, err);
    if (strcmp(verb, "big") == 0)
        return copy_big(p, rest, err);
    if (strcmp(verb, "bad-time") == 0)
        return copy_bad_time(p, rest, err);
    if (strcmp(verb, "unended") == 0)
        return copy_unended(p, err);
    if (strcmp(verb, "migrate") == 0)
        return migrate(p, rest, err);
    if (strcmp(verb, "version") == 0)
        return version(p, err);
    if (strcmp(verb, "require") == 0)
        return pgc_schema_require(p->pgc, (unsigned)strtoul(rest, NULL, 10), err);
    if (strcmp(verb, "close") == 0) {
        pgc_close(p->pgc);
        p->pgc = NULL;
        return ERR_OK;
    }
    return err_set(err, ERR_FATAL, "no such command: %s", verb);
}

static void answer(struct probe *p, char *line)
{
    static const char *const classes[] = {"ok", "retry", "reject", "fatal"};
    struct err err = {0};
    char *const space = strchr(line, ' ');
    const int64_t start_us = clk_mono_us();

    if (space != NULL)
        *space = '\0';
    p->said[0] = '\0';
    const enum err_class class =
        run(p, line, space == NULL ? line + strlen(line) : space + 1, &err);
    const char *const state = p->pgc == NULL ? "" : pgc_sqlstate(p->pgc);
    printf("%s %" PRId64 " %s %s %s\n", classes[class], (clk_mono_us() - start_us) / 1000,
           state[0] == '\0' ? "-" : state,
           p->pgc != NULL && pgc_is_broken(p->pgc) ? "broken" : "well",
           class == ERR_OK ? p->said : err.text);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct config *config = NULL;
    struct probe p = {0};
    struct err err;
    char line[LINE_BYTES];

    if (argc != 3)
        return 64;
    if (config_load(rows, argv[1], &config, &err) != ERR_OK ||
        connect_pg_load(config, "pgc_probe", &p.options, &err) != ERR_OK) {
        fprintf(stderr, "pgc_probe: %s\n", err.text);
        config_free(config);
        return 78;
    }
    p.options.statement_timeout_ms = (unsigned)strtoul(argv[2], NULL, 10);
    p.options.connect_timeout_s = 2;
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        answer(&p, line);
    }
    pgc_close(p.pgc);
    config_free(config);
    return 0;
}
