/*
 * Migrations: l2flow.schema_migrations holds what ran, by version, with the hash of its text. The
 * table itself is made here, before the first.
 */
#include "pgc/pgc_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MIGRATE_WAIT_MS 900000 /* of one migration: an index on a year of rows */
#define NUMBER_BYTES 24

/* 'l2flow' in ASCII: a lock of this database's */
#define LOCK_SQL "SELECT pg_advisory_xact_lock(118963722547063)"

/*
 * lock_timeout: DDL that waits behind a long query makes everybody else wait behind it; rather fail
 * and be run again. The advisory lock falls under it too.
 */
#define PREPARE_SQL                                                                                \
    "/* prepare to migrate */ SET LOCAL statement_timeout = '15min'; SET LOCAL lock_timeout = "    \
    "'30s'; " LOCK_SQL "; "                                                                        \
    "CREATE SCHEMA IF NOT EXISTS l2flow; "                                                         \
    "CREATE TABLE IF NOT EXISTS l2flow.schema_migrations ("                                        \
    " version int PRIMARY KEY, name text NOT NULL, hash text NOT NULL,"                            \
    " applied_at timestamptz NOT NULL DEFAULT now(), applied_by text NOT NULL DEFAULT "            \
    "session_user)"

static enum err_class history_error(const struct pgc *pgc, unsigned version, const char *why,
                                    struct err *err)
{
    return err_set(err, ERR_REJECT, "%s: migration %04u: %s", pgc->where, version, why);
}

/* Compares the stored history with ours. */
static enum err_class check_history(const struct pgc *pgc, const struct pgc_rows *rows,
                                    bool newer_is_fine, unsigned *ret_version, struct err *err)
{
    unsigned version = 0;

    for (unsigned i = 0; i < pgc_rows_n(rows); i++) {
        const struct pgc_migration *const ours = &pgc_migrations[i];

        version = (unsigned)strtoul(pgc_value(rows, i, 0), NULL, 10);
        if (i >= pgc_migrations_n) {
            if (newer_is_fine)
                continue;
            return history_error(pgc, version, "it comes from a newer program: update this one",
                                 err);
        }
        if (version != ours->version)
            return history_error(pgc, ours->version, "the stored history skips it", err);
        const char *const stored = pgc_value(rows, i, 1);
        if (stored == NULL || strtoull(stored, NULL, 16) != ours->hash)
            return history_error(pgc, version,
                                 "its text was changed after it ran: add a new one instead", err);
    }
    *ret_version = version;
    return ERR_OK;
}

static enum err_class read_history(struct pgc *pgc, bool newer_is_fine, unsigned *ret_version,
                                   struct err *err)
{
    struct pgc_rows *rows = NULL;
    enum err_class class =
        pgc_query(pgc, "SELECT version, hash FROM l2flow.schema_migrations ORDER BY version", NULL,
                  0, &rows, err);

    if (class == ERR_OK)
        class = check_history(pgc, rows, newer_is_fine, ret_version, err);
    pgc_rows_free(rows);
    return class;
}

static enum err_class version_of(struct pgc *pgc, bool newer_is_fine, unsigned *ret_version,
                                 struct err *err)
{
    struct pgc_rows *rows = NULL;
    const enum err_class class = pgc_query(
        pgc, "SELECT to_regclass('l2flow.schema_migrations') IS NOT NULL", NULL, 0, &rows, err);

    if (class != ERR_OK)
        return class;
    const bool is_there = pgc_value(rows, 0, 0)[0] == 't';
    pgc_rows_free(rows);
    if (!is_there) {
        *ret_version = 0;
        return ERR_OK;
    }
    return read_history(pgc, newer_is_fine, ret_version, err);
}

enum err_class pgc_schema_version(struct pgc *pgc, unsigned *ret_version, struct err *err)
{
    return version_of(pgc, false, ret_version, err);
}

enum err_class pgc_schema_require(struct pgc *pgc, unsigned version, struct err *err)
{
    unsigned is = 0;
    const enum err_class class = version_of(pgc, true, &is, err);

    if (class != ERR_OK || is >= version)
        return class;
    return err_set(err, ERR_REJECT, "%s: the schema is at %u, %u is needed: run l2ctl db migrate",
                   pgc->where, is, version);
}

static enum err_class apply(struct pgc *pgc, const struct pgc_migration *m, struct err *err)
{
    char version[NUMBER_BYTES];
    char hash[NUMBER_BYTES];
    const char *const params[] = {version, m->name, hash};

    const enum err_class class = pgc_exec(pgc, m->sql, NULL, 0, NULL, err);
    if (class != ERR_OK)
        return err_set(err, class, "migration %04u_%s: %s", m->version, m->name, err->text);
    snprintf(version, sizeof version, "%u", m->version);
    snprintf(hash, sizeof hash, "%016" PRIx64, m->hash);
    return pgc_exec(pgc,
                    "INSERT INTO l2flow.schema_migrations (version, name, hash) "
                    "VALUES ($1::int, $2, $3)",
                    params, 3, NULL, err);
}

/* One transaction: at most one migration. *ret_is: the version before it; *ret_done: after. */
static enum err_class migrate_one(struct pgc *pgc, unsigned to, unsigned *ret_is,
                                  unsigned *ret_done, struct err *err)
{
    unsigned is = 0;
    unsigned done;
    enum err_class class = pgc_begin(pgc, err);

    if (class == ERR_OK)
        class = pgc_exec(pgc, PREPARE_SQL, NULL, 0, NULL, err);
    if (class == ERR_OK)
        class = read_history(pgc, false, &is, err);
    done = is;
    for (unsigned i = 0; class == ERR_OK && i < pgc_migrations_n; i++) {
        if (pgc_migrations[i].version <= is || pgc_migrations[i].version > to)
            continue;
        class = apply(pgc, &pgc_migrations[i], err);
        done = pgc_migrations[i].version;
        break;
    }
    if (class == ERR_OK)
        class = pgc_commit(pgc, err);
    if (class != ERR_OK) {
        pgc_rollback(pgc);
        return class;
    }
    *ret_is = is;
    *ret_done = done;
    return ERR_OK;
}

enum err_class pgc_migrate(struct pgc *pgc, unsigned to, unsigned *ret_from, unsigned *ret_done,
                           struct err *err)
{
    const unsigned wait_ms = pgc->wait_ms;
    const unsigned newest =
        pgc_migrations_n == 0 ? 0 : pgc_migrations[pgc_migrations_n - 1].version;
    unsigned from = 0;
    unsigned done = 0;
    enum err_class class = ERR_OK;

    if (to > newest)
        return err_set(err, ERR_REJECT, "%s: there is no migration %04u: the newest is %04u",
                       pgc->where, to, newest);
    if (to == 0)
        to = newest;
    pgc->wait_ms = wait_ms > MIGRATE_WAIT_MS ? wait_ms : MIGRATE_WAIT_MS + wait_ms;
    for (unsigned i = 0; i <= pgc_migrations_n; i++) {
        unsigned is = 0;
        class = migrate_one(pgc, to, &is, &done, err);
        if (class != ERR_OK)
            break;
        if (i == 0)
            from = is;
        if (done == is) /* nothing was left */
            break;
    }
    pgc->wait_ms = wait_ms;
    if (class != ERR_OK)
        return class;
    *ret_from = from;
    *ret_done = done;
    return ERR_OK;
}
