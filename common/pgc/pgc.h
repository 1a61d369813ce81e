/*
 * pgc.h: the only libpq-fe.h. One connection, transactions, COPY, migrations; SQLSTATE → class.
 * A connection belongs to one thread (a service's named database worker) and every call waits for
 * at most its time-out. Values go as parameters or through COPY, never into SQL text.
 */
#ifndef PGC_H
#define PGC_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pgc;

/* Strings are borrowed during pgc_open only; "" or NULL: libpq's default. */
struct pgc_options {
    const char *host; /* a name, an address, or a socket's folder */
    const char *port;
    const char *dbname;
    const char *user;
    const char *password;
    const char *sslmode; /* "verify-full" by default; "disable" for a socket or loopback alone */
    const char *sslrootcert, *sslcert, *sslkey; /* files */
    const char *application_name;
    unsigned connect_timeout_s; /* 0: 10 */
    unsigned statement_timeout_ms; /* 0: 30,000: at the server, and twice that at the socket
                                      (a server that is frozen answers nothing) */
};

/*
 * Takes every PG… variable out of the process's environment, so that the options alone say where a
 * connection goes and how: libpq would read PGHOSTADDR before a socket's folder, a whole service
 * from PGSERVICE. To be called before there are threads.
 */
void pgc_forget_environment(void);

/*
 * Classes: RETRY: out of reach (a certificate that does not fit, too: it is mended at the server),
 * shutting down, serialisation, deadlock, time-out, out of disk or connections (08, 40, 53, 57, 58,
 * 55P03, 25006: a standby, 25P03: an idle transaction): try again, on a new connection when
 * pgc_is_broken. REJECT: the data or the rights are at fault (22, 23, 28, 3D, 42). FATAL: the rest.
 * The text holds the server's message and SQLSTATE, never a password or a row's values.
 */

/* Connects, with target_session_attrs=read-write, and checks that it speaks UTC, UTF8 and a
 * PostgreSQL ≥ 15. Sets search_path to l2flow, public. The look-up of a host's name is the system
 * resolver's and outside of connect_timeout_s. The caller frees with pgc_close (NULL-safe; rolls
 * back what is open; waits for nobody). */
enum err_class pgc_open(const struct pgc_options *options, struct pgc **ret_pgc,
                        struct err *err) MUST_CHECK;
void pgc_close(struct pgc *pgc);
bool pgc_is_broken(const struct pgc *pgc); /* the connection is gone: close it, open a new one */
const char *pgc_sqlstate(const struct pgc *pgc); /* of the last failure; "" when it had none */

#define PGC_PARAMS_MAX 32

/* A statement with text parameters (NULL: SQL NULL). Its rows are dropped; *ret_affected (may be
 * NULL) is how many it touched. */
enum err_class pgc_exec(struct pgc *pgc, const char *sql, const char *const *params,
                        unsigned params_n, int64_t *ret_affected, struct err *err) MUST_CHECK;

/* A query's rows, as text. Freed with pgc_rows_free (NULL-safe). */
struct pgc_rows;
enum err_class pgc_query(struct pgc *pgc, const char *sql, const char *const *params,
                         unsigned params_n, struct pgc_rows **ret_rows, struct err *err) MUST_CHECK;
unsigned pgc_rows_n(const struct pgc_rows *rows);
unsigned pgc_columns_n(const struct pgc_rows *rows);
const char *pgc_column(const struct pgc_rows *rows, unsigned column);
/* NULL: SQL NULL. Valid until pgc_rows_free. */
const char *pgc_value(const struct pgc_rows *rows, unsigned row, unsigned column);
void pgc_rows_free(struct pgc_rows *rows);

enum err_class pgc_begin(struct pgc *pgc, struct err *err) MUST_CHECK;
/* RETRY with pgc_is_broken: the outcome is unknown; the caller's writes must be idempotent. */
enum err_class pgc_commit(struct pgc *pgc, struct err *err) MUST_CHECK;
/* Ends an open COPY, too. Never fails visibly: a connection that cannot roll back is broken; keeps
 * pgc_sqlstate. */
void pgc_rollback(struct pgc *pgc);

/*
 * COPY table (columns) FROM STDIN in PostgreSQL's binary format: pgc_copy_begin writes the header,
 * then for each row pgc_copy_row and one pgc_copy_* for each of its columns, in order; all of it
 * goes into a buffer of the connection's that is handed to libpq when 64 KiB are full.
 */
enum err_class pgc_copy_begin(struct pgc *pgc, const char *table, const char *columns,
                              struct err *err) MUST_CHECK;
void pgc_copy_row(struct pgc *pgc, unsigned columns_n);
void pgc_copy_null(struct pgc *pgc);
void pgc_copy_int4(struct pgc *pgc, int32_t v);
void pgc_copy_int8(struct pgc *pgc, int64_t v);
void pgc_copy_float8(struct pgc *pgc, double v);
void pgc_copy_bool(struct pgc *pgc, bool v);
void pgc_copy_text(struct pgc *pgc, const char *v, size_t n);
void pgc_copy_bytes(struct pgc *pgc, const void *v, size_t n);
void pgc_copy_time_us(struct pgc *pgc, int64_t unix_us); /* timestamptz; before 4714 BC: REJECT */
/* Ends the COPY and answers what any of the calls above ran into. */
enum err_class pgc_copy_end(struct pgc *pgc, int64_t *ret_rows, struct err *err) MUST_CHECK;

/* ---- migrations: schemas/sql/NNNN_name.sql, built into the program ---- */

struct pgc_migration {
    unsigned version; /* NNNN */
    const char *name;
    const char *sql;
    uint64_t hash; /* of the text: a file that was changed after it ran is found */
};

/* All of schemas/sql, rising; generated at build time (pgc_migrations.c). */
extern const struct pgc_migration pgc_migrations[];
extern const unsigned pgc_migrations_n;

/* 0: nothing was ever migrated. REJECT: the stored history differs from ours (a hash, a gap, or a
 * newer program's migration). */
enum err_class pgc_schema_version(struct pgc *pgc, unsigned *ret_version,
                                  struct err *err) MUST_CHECK;
/*
 * Brings the database to `to` (0: the newest): each migration in a transaction of its own, under
 * an advisory lock, so that two at once do it once. *ret_from, *ret_done: what it was, what it is.
 */
enum err_class pgc_migrate(struct pgc *pgc, unsigned to, unsigned *ret_from, unsigned *ret_done,
                           struct err *err) MUST_CHECK;
/* REJECT when the schema is older than this program needs, with the remedy (l2ctl db migrate). */
enum err_class pgc_schema_require(struct pgc *pgc, unsigned version, struct err *err) MUST_CHECK;

#endif
