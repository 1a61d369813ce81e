#include "pgc/pgc_internal.h"

#include "clk/clk.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_DEFAULT_S 10
#define STATEMENT_TIMEOUT_DEFAULT_MS 30000
#define STATEMENT_TIMEOUT_MAX_MS 3600000
#define SERVER_VERSION_MIN 150000
#define WHAT_BYTES 48
#define MESSAGE_BYTES 200
#define RESULTS_MAX 4096 /* statements of one text */
#define NUMBER_BYTES 16

/* A connection that idles within a transaction for longer than a statement may run holds locks for
 * nothing: a frozen client's. */
#define SETTINGS_SQL                                                                               \
    "SELECT set_config('statement_timeout', $1, false),"                                           \
    " set_config('idle_in_transaction_session_timeout', $2, false),"                               \
    " set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO, YMD', false),"           \
    " set_config('search_path', 'l2flow, public', false),"                                         \
    " set_config('bytea_output', 'hex', false), set_config('extra_float_digits', '1', false)"

int64_t pgc_deadline_us(const struct pgc *pgc)
{
    return clk_mono_us() + (int64_t)pgc->wait_ms * 1000;
}

enum err_class pgc_lost(struct pgc *pgc, const char *why, struct err *err)
{
    char message[MESSAGE_BYTES];

    pgc_one_line(why, message, sizeof message);
    pgc->is_broken = true;
    return err_set(err, ERR_RETRY, "%s: the connection is lost: %s", pgc->where, message);
}

/* Waits for any of `events` until the deadline; *ret_events is what came. */
static enum err_class wait_for(struct pgc *pgc, short events, int64_t deadline_us,
                               short *ret_events, struct err *err)
{
    struct pollfd fd = {.fd = PQsocket(pgc->conn), .events = events};

    for (;;) {
        const int64_t left_us = deadline_us - clk_mono_us();
        const int n =
            fd.fd < 0 ? 0 : poll(&fd, 1, left_us <= 0 ? 0 : (int)((left_us + 999) / 1000));
        if (n > 0) {
            *ret_events = fd.revents;
            return ERR_OK;
        }
        if (n < 0 && errno != EINTR)
            return pgc_lost(pgc, strerror(errno), err);
        if (fd.fd < 0 || left_us <= 0)
            return pgc_lost(pgc, fd.fd < 0 ? "no socket" : "no answer in time", err);
    }
}

enum err_class pgc_flush(struct pgc *pgc, int64_t deadline_us, struct err *err)
{
    for (;;) {
        const int left = PQflush(pgc->conn);
        short events = 0;

        if (left == 0)
            return ERR_OK;
        if (left < 0)
            return pgc_lost(pgc, PQerrorMessage(pgc->conn), err);
        const enum err_class class = wait_for(pgc, POLLIN | POLLOUT, deadline_us, &events, err);
        if (class != ERR_OK)
            return class;
        if ((events & POLLIN) != 0 && PQconsumeInput(pgc->conn) == 0)
            return pgc_lost(pgc, PQerrorMessage(pgc->conn), err);
    }
}

static bool is_failure(const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
    case PGRES_COPY_IN:
        return false;
    default:
        return true;
    }
}

/* The next result, NULL at the statement's end. */
static enum err_class next_result(struct pgc *pgc, int64_t deadline_us, PGresult **ret_result,
                                  struct err *err)
{
    while (PQisBusy(pgc->conn) != 0) {
        short events = 0;
        const enum err_class class = wait_for(pgc, POLLIN, deadline_us, &events, err);
        if (class != ERR_OK)
            return class;
        /* What the server said before it went (57P01) is still to be read: PQgetResult has it. */
        if (PQconsumeInput(pgc->conn) == 0)
            break;
    }
    *ret_result = PQgetResult(pgc->conn);
    return ERR_OK;
}

enum err_class pgc_results(struct pgc *pgc, const char *what, int64_t deadline_us,
                           PGresult **ret_result, struct err *err)
{
    PGresult *kept = NULL;
    enum err_class class = pgc_flush(pgc, deadline_us, err);

    for (unsigned i = 0; class == ERR_OK; i++) {
        PGresult *result = NULL;
        class = next_result(pgc, deadline_us, &result, err);
        if (class != ERR_OK || result == NULL)
            break;
        if (i == RESULTS_MAX) {
            PQclear(result);
            class = pgc_lost(pgc, "more results than are read of one text", err);
            break;
        }
        if (kept != NULL && is_failure(kept)) { /* the first failure is the cause */
            PQclear(result);
            continue;
        }
        PQclear(kept);
        kept = result;
        if (PQresultStatus(kept) == PGRES_COPY_IN)
            break;
    }
    if (class == ERR_OK && kept == NULL)
        class = pgc_lost(pgc, PQerrorMessage(pgc->conn), err);
    if (class == ERR_OK && is_failure(kept))
        class = pgc_result_error(pgc, what, kept, err);
    if (class != ERR_OK) {
        PQclear(kept);
        return class;
    }
    *ret_result = kept;
    return ERR_OK;
}

/* The first words of a statement, for an error's text. */
static void what_of(const char *sql, char *ret)
{
    pgc_one_line(sql, ret, WHAT_BYTES);
}

enum err_class pgc_run(struct pgc *pgc, const char *sql, const char *const *params,
                       unsigned params_n, PGresult **ret_result, struct err *err)
{
    char what[WHAT_BYTES];
    int sent;

    assert(params_n <= PGC_PARAMS_MAX && !pgc->copy.is_open);
    pgc->sqlstate[0] = '\0';
    if (pgc->is_broken)
        return err_set(err, ERR_RETRY, "%s: the connection was lost before", pgc->where);
    what_of(sql, what);
    if (params_n == 0) /* the simple protocol: several statements may stand in one text */
        sent = PQsendQuery(pgc->conn, sql);
    else
        sent = PQsendQueryParams(pgc->conn, sql, (int)params_n, NULL, params, NULL, NULL, 0);
    if (sent == 0)
        return pgc_lost(pgc, PQerrorMessage(pgc->conn), err);
    return pgc_results(pgc, what, pgc_deadline_us(pgc), ret_result, err);
}

/* ---- open, close ---- */

static const char *or_null(const char *text)
{
    return text != NULL && text[0] != '\0' ? text : NULL;
}

static const char *or_else(const char *text, const char *otherwise)
{
    return or_null(text) != NULL ? text : otherwise;
}

static void drop_notice(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result; /* a library writes nothing */
}

void pgc_forget_environment(void)
{
    for (char **entry = environ; entry != NULL && *entry != NULL;) {
        char *const name = strndup(*entry, strcspn(*entry, "="));

        assert(name != NULL);
        if (strncmp(name, "PG", 2) == 0 && unsetenv(name) == 0)
            entry = environ; /* it has moved up */
        else
            entry++;
        free(name);
    }
}

static PGconn *start(const struct pgc_options *o)
{
    const char *const keys[] = {"host",
                                "port",
                                "dbname",
                                "user",
                                "password",
                                "sslmode",
                                "sslrootcert",
                                "sslcert",
                                "sslkey",
                                "application_name",
                                "client_encoding",
                                "target_session_attrs",
                                "gssencmode",
                                "keepalives_idle",
                                "keepalives_interval",
                                "keepalives_count",
                                NULL};
    const char *const values[] = {or_null(o->host),
                                  or_null(o->port),
                                  or_null(o->dbname),
                                  or_null(o->user),
                                  or_null(o->password),
                                  or_else(o->sslmode, "verify-full"),
                                  or_null(o->sslrootcert),
                                  or_null(o->sslcert),
                                  or_null(o->sslkey),
                                  or_null(o->application_name),
                                  "UTF8",
                                  "read-write",
                                  "disable",
                                  "15",
                                  "5",
                                  "3",
                                  NULL};
    static_assert(sizeof keys == sizeof values, "a key each");
    /* 0: a dbname is a name, never a connection string */
    return PQconnectStartParams(keys, values, 0);
}

static enum err_class connect_until(struct pgc *pgc, int64_t deadline_us, struct err *err)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;

    while (status != PGRES_POLLING_OK) {
        short events = 0;
        if (status == PGRES_POLLING_FAILED || PQstatus(pgc->conn) == CONNECTION_BAD)
            return pgc_connect_error(pgc, err);
        const enum err_class class = wait_for(
            pgc, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_us, &events, err);
        if (class != ERR_OK)
            return err_set(err, class, "%s: cannot connect: no answer in time", pgc->where);
        status = PQconnectPoll(pgc->conn);
    }
    return ERR_OK;
}

static enum err_class check_server(struct pgc *pgc, unsigned statement_ms, struct err *err)
{
    char statement[NUMBER_BYTES];
    char idle[NUMBER_BYTES];
    PGresult *result = NULL;
    const char *const params[] = {statement, idle};
    const int version = PQserverVersion(pgc->conn);
    const char *const encoding = PQparameterStatus(pgc->conn, "server_encoding");

    if (version < SERVER_VERSION_MIN)
        return err_set(err, ERR_REJECT, "%s: PostgreSQL %d.%d is too old: 15 or newer is needed",
                       pgc->where, version / 10000, version % 10000);
    if (encoding == NULL || strcmp(encoding, "UTF8") != 0)
        return err_set(err, ERR_REJECT,
                       "%s: the database's encoding is %s: make one with ENCODING 'UTF8'",
                       pgc->where, encoding == NULL ? "unknown" : encoding);
    snprintf(statement, sizeof statement, "%u", statement_ms);
    snprintf(idle, sizeof idle, "%u", 2 * statement_ms);
    const enum err_class class = pgc_run(pgc, SETTINGS_SQL, params, 2, &result, err);
    if (class == ERR_OK)
        PQclear(result);
    return class;
}

enum err_class pgc_open(const struct pgc_options *options, struct pgc **ret_pgc, struct err *err)
{
    const unsigned connect_s =
        options->connect_timeout_s != 0 ? options->connect_timeout_s : CONNECT_TIMEOUT_DEFAULT_S;
    const unsigned statement_ms = options->statement_timeout_ms != 0 ? options->statement_timeout_ms
                                                                     : STATEMENT_TIMEOUT_DEFAULT_MS;
    struct pgc *pgc = calloc(1, sizeof *pgc);
    enum err_class class;

    assert(statement_ms <= STATEMENT_TIMEOUT_MAX_MS);
    if (pgc == NULL)
        return err_set(err, ERR_FATAL, "postgresql: out of memory");
    pgc->wait_ms = 2 * statement_ms;
    snprintf(pgc->where, sizeof pgc->where, "postgresql %s@%s:%s/%s", or_else(options->user, "-"),
             or_else(options->host, "(default)"), or_else(options->port, "5432"),
             or_else(options->dbname, "-"));
    pgc->conn = start(options);
    if (pgc->conn == NULL) {
        pgc_close(pgc);
        return err_set(err, ERR_FATAL, "postgresql: out of memory");
    }
    PQsetErrorVerbosity(pgc->conn, PQERRORS_VERBOSE); /* with the SQLSTATE of a refusal */
    PQsetNoticeReceiver(pgc->conn, drop_notice, NULL);
    class = connect_until(pgc, clk_mono_us() + (int64_t)connect_s * CLK_US_PER_S, err);
    if (class == ERR_OK && PQsetnonblocking(pgc->conn, 1) != 0)
        class = pgc_lost(pgc, PQerrorMessage(pgc->conn), err);
    if (class == ERR_OK)
        class = check_server(pgc, statement_ms, err);
    if (class != ERR_OK) {
        pgc_close(pgc);
        return class;
    }
    *ret_pgc = pgc;
    return ERR_OK;
}

void pgc_close(struct pgc *pgc)
{
    if (pgc == NULL)
        return;
    PQfinish(pgc->conn); /* non-blocking: waits for nobody; the server rolls back */
    free(pgc);
}

bool pgc_is_broken(const struct pgc *pgc)
{
    return pgc->is_broken;
}

const char *pgc_sqlstate(const struct pgc *pgc)
{
    return pgc->sqlstate;
}

/* ---- statements ---- */

static int64_t affected(PGresult *result)
{
    const char *const text = PQcmdTuples(result);

    return text[0] == '\0' ? 0 : (int64_t)strtoll(text, NULL, 10);
}

enum err_class pgc_exec(struct pgc *pgc, const char *sql, const char *const *params,
                        unsigned params_n, int64_t *ret_affected, struct err *err)
{
    PGresult *result = NULL;
    const enum err_class class = pgc_run(pgc, sql, params, params_n, &result, err);

    if (class != ERR_OK)
        return class;
    assert(PQresultStatus(result) != PGRES_COPY_IN); /* pgc_copy_begin is for that */
    if (ret_affected != NULL)
        *ret_affected = affected(result);
    PQclear(result);
    return ERR_OK;
}

/* A struct pgc_rows is libpq's result by another name: nothing is copied. */
enum err_class pgc_query(struct pgc *pgc, const char *sql, const char *const *params,
                         unsigned params_n, struct pgc_rows **ret_rows, struct err *err)
{
    PGresult *result = NULL;
    const enum err_class class = pgc_run(pgc, sql, params, params_n, &result, err);

    if (class == ERR_OK)
        *ret_rows = (struct pgc_rows *)result;
    return class;
}

unsigned pgc_rows_n(const struct pgc_rows *rows)
{
    return (unsigned)PQntuples((const PGresult *)rows);
}

unsigned pgc_columns_n(const struct pgc_rows *rows)
{
    return (unsigned)PQnfields((const PGresult *)rows);
}

const char *pgc_column(const struct pgc_rows *rows, unsigned column)
{
    assert(column < pgc_columns_n(rows));
    return PQfname((const PGresult *)rows, (int)column);
}

const char *pgc_value(const struct pgc_rows *rows, unsigned row, unsigned column)
{
    const PGresult *const result = (const PGresult *)rows;

    assert(row < pgc_rows_n(rows) && column < pgc_columns_n(rows));
    if (PQgetisnull(result, (int)row, (int)column))
        return NULL;
    return PQgetvalue(result, (int)row, (int)column);
}

void pgc_rows_free(struct pgc_rows *rows)
{
    PQclear((PGresult *)rows);
}

/* ---- transactions ---- */

enum err_class pgc_begin(struct pgc *pgc, struct err *err)
{
    return pgc_exec(pgc, "BEGIN", NULL, 0, NULL, err);
}

enum err_class pgc_commit(struct pgc *pgc, struct err *err)
{
    PGresult *result = NULL;
    const enum err_class class = pgc_run(pgc, "COMMIT", NULL, 0, &result, err);

    if (class != ERR_OK)
        return class;
    /* COMMIT of a transaction that failed before answers "ROLLBACK", as if all were well. */
    const bool is_committed = strcmp(PQcmdStatus(result), "COMMIT") == 0;
    PQclear(result);
    if (!is_committed)
        return err_set(err, ERR_FATAL, "%s: COMMIT: the transaction had failed: rolled back",
                       pgc->where);
    return ERR_OK;
}

void pgc_rollback(struct pgc *pgc)
{
    struct err err;
    char sqlstate[PGC_SQLSTATE_BYTES];

    if (pgc->is_broken)
        return;
    memcpy(sqlstate, pgc->sqlstate, sizeof sqlstate); /* of what made the caller roll back */
    if (pgc->copy.is_open) {
        if (pgc->copy.class == ERR_OK)
            pgc->copy.class = err_set(&pgc->copy.err, ERR_RETRY, "rolled back");
        (void)!pgc_copy_end(pgc, NULL, &err);
    }
    if (!pgc->is_broken && PQtransactionStatus(pgc->conn) != PQTRANS_IDLE &&
        pgc_exec(pgc, "ROLLBACK", NULL, 0, NULL, &err) != ERR_OK)
        pgc->is_broken = true;
    memcpy(pgc->sqlstate, sqlstate, sizeof sqlstate);
}
