/* pgc_internal.h: what pgc's files share. */
#ifndef PGC_INTERNAL_H
#define PGC_INTERNAL_H

#include "pgc/pgc.h"

#include <libpq-fe.h>

#define PGC_WHERE_BYTES 160
#define PGC_SQLSTATE_BYTES 6
#define PGC_COPY_BYTES 65536

struct pgc_copy {
    bool is_open;
    enum err_class class; /* the first failure; the rest of the COPY's calls do nothing */
    struct err err;
    unsigned fields_left; /* of the current row */
    size_t n;             /* bytes in buf */
    uint8_t buf[PGC_COPY_BYTES];
};

struct pgc {
    PGconn *conn;
    bool is_broken;
    unsigned wait_ms; /* a call's bound at the socket */
    char where[PGC_WHERE_BYTES];
    char sqlstate[PGC_SQLSTATE_BYTES];
    struct pgc_copy copy;
};

/* µs of CLOCK_MONOTONIC at which a call that starts now gives up. */
int64_t pgc_deadline_us(const struct pgc *pgc);
/* Sends what libpq holds; reads meanwhile, so that neither side waits for the other. */
enum err_class pgc_flush(struct pgc *pgc, int64_t deadline_us, struct err *err) MUST_CHECK;
/*
 * Flushes and reads to the end of a statement's results: *ret_result is the last, or the first that
 * opens a COPY. The caller frees with PQclear. what: for the error's text.
 */
enum err_class pgc_results(struct pgc *pgc, const char *what, int64_t deadline_us,
                           PGresult **ret_result, struct err *err) MUST_CHECK;
enum err_class pgc_run(struct pgc *pgc, const char *sql, const char *const *params,
                       unsigned params_n, PGresult **ret_result, struct err *err) MUST_CHECK;
/* The connection is lost: broken from here on. */
enum err_class pgc_lost(struct pgc *pgc, const char *why, struct err *err);

/* pgc_error.c */
enum err_class pgc_class_of(const char *sqlstate);
/* One line of a server's or libpq's text: line ends become blanks, and what follows "LOCATION:" is
 * cut. */
void pgc_one_line(const char *text, char *ret, size_t size);
/* From a failed result; keeps the SQLSTATE. */
enum err_class pgc_result_error(struct pgc *pgc, const char *what, const PGresult *result,
                                struct err *err);
/* From a connection that could not be made. */
enum err_class pgc_connect_error(struct pgc *pgc, struct err *err);

#endif
