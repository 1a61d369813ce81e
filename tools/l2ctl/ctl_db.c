#include "ctl.h"

#include "connect/connect.h"
#include "pgc/pgc.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Statements of a status are quick; a migration sets its own bound. */
#define STATEMENT_TIMEOUT_MS 10000

enum action { STATUS, MIGRATE, ACTIONS_N };
const char *const ctl_db_words[] = {"status", "migrate", NULL};

struct db_args {
    enum action action;
    unsigned to; /* 0: the newest */
    bool is_dry;
    bool is_json;
    const char *config_file;
};

static const char doc[] =
    "Bring PostgreSQL's tables to what this version of l2flow needs, or tell where they are. "
    "status "
    "lists the migrations and exits with 1 when some are pending; migrate runs the pending ones, "
    "each in a transaction of its own under a lock: it may be repeated, and run twice at once. "
    "Nothing is ever dropped, and there is no way down. The first migration makes the group roles "
    "l2flow_owner, l2flow_archiver and l2flow_reader, which needs CREATEROLE; give them to login "
    "roles with GRANT.\v"
    "The configuration (--config; the environment goes first: L2_PG_HOST, ...): pg_host, pg_port, "
    "pg_database, pg_user, pg_password_file, pg_sslmode (verify-full), pg_sslrootcert, pg_sslcert, "
    "pg_sslkey.\n\n"
    "Examples:\n"
    "  l2ctl db status --config var/postgres/admin.conf\n"
    "  l2ctl db migrate --dry-run -c admin.conf\n"
    "  L2_PG_HOST=/run/postgresql L2_PG_DATABASE=l2flow l2ctl db migrate\n"
    "  l2ctl db status -o json -c admin.conf | jq .pending\n\n"
    "Exit codes: 0 done; 1 migrations are pending (status, migrate --dry-run); 64 usage; 69 "
    "PostgreSQL is out of reach or busy: try again; 70 internal; 74 output cannot be written; 78 "
    "configuration, rights, or a history that is not this program's.";

enum { KEY_TO = 256, KEY_DRY_RUN };

static const struct argp_option options[] = {
    {"config", 'c', "FILE", 0, "key = value lines, see below", 1},
    {"to", KEY_TO, "N", 0, "migrate: up to migration N; default: the newest", 1},
    {"dry-run", KEY_DRY_RUN, NULL, 0, "migrate: tell what would be run", 1},
    {"output", 'o', "FORMAT", 0, "table (default) or json", 1},
    {0},
};

static void parse_action(struct db_args *a, const char *arg, struct argp_state *state)
{
    for (unsigned i = 0; i < ACTIONS_N; i++) {
        if (strcmp(arg, ctl_db_words[i]) == 0)
            a->action = (enum action)i;
    }
    if (a->action == ACTIONS_N)
        argp_error(state, "%s: not one of status, migrate", arg);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct db_args *const a = state->input;
    int64_t n = 0;

    switch (key) {
    case 'c':
        a->config_file = arg;
        return 0;
    case KEY_TO:
        if (!ctl_parse(arg, 1, pgc_migrations_n, &n))
            argp_error(state, "--to: %s is not 1 to %u", arg, pgc_migrations_n);
        a->to = (unsigned)n;
        return 0;
    case KEY_DRY_RUN:
        a->is_dry = true;
        return 0;
    case 'o':
        a->is_json = strcmp(arg, "json") == 0;
        if (!a->is_json && strcmp(arg, "table") != 0)
            argp_error(state, "-o %s: table or json", arg);
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            return ARGP_ERR_UNKNOWN;
        parse_action(a, arg, state);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "status or migrate?");
        return 0;
    case ARGP_KEY_END:
        if (a->action == STATUS && (a->to != 0 || a->is_dry))
            argp_error(state, "--to and --dry-run are migrate's");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp ctl_db_argp = {
    .options = options, .parser = parse, .args_doc = "status|migrate", .doc = doc};

static unsigned target(const struct db_args *args)
{
    return args->to != 0 ? args->to : pgc_migrations_n;
}

static void print_json(unsigned from, unsigned is, unsigned pending, const struct pgc_migration *m,
                       unsigned m_n)
{
    json_t *const list = json_array();

    for (unsigned i = 0; i < m_n; i++)
        json_array_append_new(list,
                              json_pack("{s:i, s:s, s:b}", "version", (int)m[i].version, "name",
                                        m[i].name, "applied", (int)(m[i].version <= is)));
    json_t *const all =
        json_pack("{s:i, s:i, s:i, s:i, s:o}", "from", (int)from, "version", (int)is, "newest",
                  (int)m_n, "pending", (int)pending, "migrations", list);
    json_dumpf(all, stdout, JSON_INDENT(2));
    json_decref(all);
    putchar('\n');
}

/* from: the version before; is: now; both the same where nothing was done. */
static void print_state(const struct db_args *args, unsigned from, unsigned is)
{
    const unsigned to = target(args);
    const unsigned pending = to > is ? to - is : 0;

    if (args->is_json) {
        print_json(from, is, pending, pgc_migrations, pgc_migrations_n);
        return;
    }
    for (unsigned i = 0; i < pgc_migrations_n; i++) {
        const struct pgc_migration *const m = &pgc_migrations[i];
        const char *const state = m->version > is     ? m->version > to ? "later" : "pending"
                                  : m->version > from ? "run now"
                                                      : "applied";
        printf("%04u  %-20s  %s\n", m->version, m->name, state);
    }
    printf("schema version %u, newest %u\n", is, pgc_migrations_n);
}

static int run(const struct db_args *args, struct pgc *pgc)
{
    unsigned from = 0;
    unsigned done = 0;
    struct err err = {0};

    if (args->action == MIGRATE && !args->is_dry) {
        if (pgc_migrate(pgc, args->to, &from, &done, &err) != ERR_OK)
            return ctl_fail(&err);
        print_state(args, from, done);
        return CTL_OK;
    }
    if (pgc_schema_version(pgc, &done, &err) != ERR_OK)
        return ctl_fail(&err);
    print_state(args, done, done);
    return done < target(args) ? CTL_DIFFERENT : CTL_OK;
}

int ctl_db_main(int argc, char **argv)
{
    struct db_args args = {.action = ACTIONS_N};
    struct config *config = NULL;
    struct pgc_options to = {0};
    struct pgc *pgc = NULL;
    struct err err = {0};
    int code;

    if (argp_parse(&ctl_db_argp, argc, argv, 0, NULL, &args) != 0)
        return CTL_USAGE;
    enum err_class class = config_load(ctl_config_rows, args.config_file, &config, &err);
    if (class == ERR_OK)
        class = connect_pg_load(config, "l2ctl", &to, &err);
    to.statement_timeout_ms = STATEMENT_TIMEOUT_MS;
    if (class == ERR_OK)
        class = pgc_open(&to, &pgc, &err);
    if (class == ERR_RETRY && (to.host == NULL || to.host[0] == '\0'))
        class = err_set(&err, class, "%s: --config or L2_PG_HOST names another", err.text);
    code = class == ERR_OK ? run(&args, pgc) : ctl_fail(&err);
    pgc_close(pgc);
    config_free(config);
    return fflush(stdout) == 0 || code != CTL_OK ? code : CTL_IO;
}
