/* COPY … FROM STDIN (FORMAT binary): numbers in network order, each field behind its length. */
#include "pgc/pgc_internal.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COPY_SQL_BYTES 4096
#define COPY_WHAT_BYTES 80
#define COPY_COLUMNS_MAX 1600 /* PostgreSQL's */
#define COPY_FIELD_BYTES_MAX (1 << 28)

/* timestamptz: µs since 2000-01-01 UTC, from 4714 BC on; int64 ends 30 years before it does. */
#define PG_EPOCH_US INT64_C(946684800000000)
#define PG_TIME_MIN_US INT64_C(-211813488000000000)
#define PG_TIME_END_US INT64_C(9223371331200000000)
static_assert(INT64_MAX - PG_EPOCH_US < PG_TIME_END_US, "no time is too late");

/* Hands the buffer to libpq and what libpq has to the socket, so that neither grows. */
static void put_buffer(struct pgc *pgc)
{
    struct pgc_copy *const c = &pgc->copy;

    if (c->class == ERR_OK && c->n > 0) {
        /* 0 (no memory for it) cannot be told from a failure to any use */
        if (PQputCopyData(pgc->conn, (const char *)c->buf, (int)c->n) != 1)
            c->class = pgc_lost(pgc, PQerrorMessage(pgc->conn), &c->err);
        else
            c->class = pgc_flush(pgc, pgc_deadline_us(pgc), &c->err);
    }
    c->n = 0;
}

static void put(struct pgc *pgc, const void *bytes, size_t n)
{
    struct pgc_copy *const c = &pgc->copy;
    const uint8_t *p = bytes;

    assert(c->is_open);
    while (n > 0 && c->class == ERR_OK) {
        const size_t room = sizeof c->buf - c->n;
        const size_t part = n < room ? n : room;
        memcpy(c->buf + c->n, p, part);
        c->n += part;
        p += part;
        n -= part;
        if (c->n == sizeof c->buf)
            put_buffer(pgc);
    }
}

static void put_be(struct pgc *pgc, uint64_t v, unsigned bytes_n)
{
    uint8_t be[8];

    for (unsigned i = 0; i < bytes_n; i++)
        be[i] = (uint8_t)(v >> (8 * (bytes_n - 1 - i)));
    put(pgc, be, bytes_n);
}

static void put_field(struct pgc *pgc, uint32_t bytes_n)
{
    assert(pgc->copy.fields_left > 0);
    pgc->copy.fields_left--;
    put_be(pgc, bytes_n, 4);
}

enum err_class pgc_copy_begin(struct pgc *pgc, const char *table, const char *columns,
                              struct err *err)
{
    static const uint8_t header[] = {'P',  'G', 'C', 'O', 'P', 'Y', '\n', 0xff, '\r', '\n',
                                     '\0', 0,   0,   0,   0,   0,   0,    0,    0};
    struct pgc_copy *const c = &pgc->copy;
    char sql[COPY_SQL_BYTES];
    PGresult *result = NULL;

    const int n =
        snprintf(sql, sizeof sql, "COPY %s (%s) FROM STDIN (FORMAT binary)", table, columns);
    assert(n > 0 && (size_t)n < sizeof sql);
    const enum err_class class = pgc_run(pgc, sql, NULL, 0, &result, err);
    if (class != ERR_OK)
        return class;
    assert(PQresultStatus(result) == PGRES_COPY_IN);
    PQclear(result);
    c->is_open = true;
    c->class = ERR_OK;
    c->fields_left = 0;
    c->n = 0;
    put(pgc, header, sizeof header);
    return ERR_OK;
}

void pgc_copy_row(struct pgc *pgc, unsigned columns_n)
{
    assert(pgc->copy.fields_left == 0 && columns_n > 0 && columns_n <= COPY_COLUMNS_MAX);
    pgc->copy.fields_left = columns_n;
    put_be(pgc, columns_n, 2);
}

void pgc_copy_null(struct pgc *pgc)
{
    put_field(pgc, UINT32_MAX); /* a length of -1 */
}

void pgc_copy_int4(struct pgc *pgc, int32_t v)
{
    put_field(pgc, 4);
    put_be(pgc, (uint32_t)v, 4);
}

void pgc_copy_int8(struct pgc *pgc, int64_t v)
{
    put_field(pgc, 8);
    put_be(pgc, (uint64_t)v, 8);
}

void pgc_copy_float8(struct pgc *pgc, double v)
{
    uint64_t bits;

    static_assert(sizeof bits == sizeof v, "IEEE 754 binary64");
    memcpy(&bits, &v, sizeof bits);
    put_field(pgc, 8);
    put_be(pgc, bits, 8);
}

void pgc_copy_bool(struct pgc *pgc, bool v)
{
    put_field(pgc, 1);
    put_be(pgc, v ? 1 : 0, 1);
}

void pgc_copy_bytes(struct pgc *pgc, const void *v, size_t n)
{
    assert(n <= COPY_FIELD_BYTES_MAX);
    put_field(pgc, (uint32_t)n);
    put(pgc, v, n);
}

void pgc_copy_text(struct pgc *pgc, const char *v, size_t n)
{
    pgc_copy_bytes(pgc, v, n);
}

void pgc_copy_time_us(struct pgc *pgc, int64_t unix_us)
{
    struct pgc_copy *const c = &pgc->copy;

    if (unix_us < PG_TIME_MIN_US + PG_EPOCH_US) {
        if (c->class == ERR_OK)
            c->class = err_set(&c->err, ERR_REJECT,
                               "%s: COPY: a time is out of timestamptz's range", pgc->where);
        pgc_copy_null(pgc);
        return;
    }
    pgc_copy_int8(pgc, unix_us - PG_EPOCH_US);
}

/* Tells the server that the COPY is over, whole or (why: not NULL) given up, and reads its answer.
 */
static enum err_class finish(struct pgc *pgc, const char *why, int64_t *ret_rows, struct err *err)
{
    const int64_t deadline_us = pgc_deadline_us(pgc);
    PGresult *result = NULL;

    if (PQputCopyEnd(pgc->conn, why) != 1)
        return pgc_lost(pgc, PQerrorMessage(pgc->conn), err);
    const enum err_class class = pgc_results(pgc, "COPY", deadline_us, &result, err);
    if (class != ERR_OK)
        return class;
    if (ret_rows != NULL)
        *ret_rows = (int64_t)strtoll(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    return ERR_OK;
}

enum err_class pgc_copy_end(struct pgc *pgc, int64_t *ret_rows, struct err *err)
{
    struct pgc_copy *const c = &pgc->copy;
    struct err ignored;

    assert(c->is_open);
    if (c->class == ERR_OK) {
        assert(c->fields_left == 0);
        put_be(pgc, UINT16_MAX, 2); /* -1 columns: the end */
        put_buffer(pgc);
    }
    c->is_open = false;
    c->n = 0;
    c->fields_left = 0;
    if (c->class == ERR_OK)
        return finish(pgc, NULL, ret_rows, err);
    if (!pgc->is_broken)
        (void)!finish(pgc, "given up by the client", NULL, &ignored);
    pgc->sqlstate[0] = '\0'; /* 57014 is our own doing, not the cause */
    *err = c->err;
    return c->class;
}
