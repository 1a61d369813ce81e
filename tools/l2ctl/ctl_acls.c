#include "ctl.h"

#include "clk/clk.h"
#include "topics/acls.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define APPLY_VISIBLE_MS_MAX 15000 /* brokers learn of a change from the controller */
#define APPLY_LOOK_MS 200

enum action { PLAN, APPLY, CHECK, ACTIONS_N };
const char *const ctl_acls_words[] = {"plan", "apply", "check", NULL};

struct acls_args {
    enum action action;
    bool is_json, is_pruned, has_service;
    enum acls_service service;
    const char *user;
    struct ctl_cluster_options cluster;
};

static const char doc[] =
    "Give each service's Kafka user the rights that it needs, and tell what differs. plan prints "
    "what apply would do; apply adds the rows that are absent, with --prune it also removes those "
    "that a service does not need, and may be repeated; check exits with 1 and names each absent "
    "or unneeded row. It needs a superuser of the cluster. Users and passwords are made with "
    "Kafka's own tools: see docs/security.md.\v"
    "Examples:\n"
    "  l2ctl acls plan --config admin.conf\n"
    "  l2ctl acls apply --service feature-producer --config admin.conf\n"
    "  l2ctl acls apply --service trading-engine --user User:engine-7 -c admin.conf\n"
    "  l2ctl acls check -p eu. -c admin.conf || alert\n"
    "  l2ctl acls plan -c admin.conf -o json | jq '.acls[] | select(.action != \"none\")'\n\n"
    "Services: feature-producer, bar-archiver, quality-monitor, l2replay (the feed), "
    "trading-engine, l2monitor (an operator's, reads only), topics-admin (l2ctl topics).\n\n" //
    CTL_EXITS_HELP;

enum { KEY_SERVICE = 256, KEY_USER, KEY_PRUNE };

static const struct argp_option options[] = {
    {"service", KEY_SERVICE, "NAME", 0, "of this service alone; default: every service", 1},
    {"user", KEY_USER, "User:NAME", 0,
     "who the service logs in as; default User: and the service's name; with --service", 1},
    {"prune", KEY_PRUNE, NULL, 0, "apply: remove rows of these users that are not needed", 1},
    {"output", 'o', "FORMAT", 0, "table (default) or json", 1},
    {0},
};

static const struct argp_child children[] = {{&ctl_cluster_argp, 0, "The cluster:", 2}, {0}};

static void parse_action(struct acls_args *a, const char *arg, struct argp_state *state)
{
    for (unsigned i = 0; i < ACTIONS_N; i++) {
        if (strcmp(arg, ctl_acls_words[i]) == 0)
            a->action = (enum action)i;
    }
    if (a->action == ACTIONS_N)
        argp_error(state, "%s: not one of plan, apply, check", arg);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct acls_args *const a = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->cluster;
        return 0;
    case KEY_SERVICE:
        a->has_service = acls_find(arg, &a->service);
        if (!a->has_service)
            argp_error(state, "--service %s: no such service; --help names them", arg);
        return 0;
    case KEY_USER:
        a->user = arg;
        return 0;
    case KEY_PRUNE:
        a->is_pruned = true;
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
        argp_error(state, "plan, apply or check?");
        return 0;
    case ARGP_KEY_END:
        if (a->user != NULL && !a->has_service)
            argp_error(state, "--user goes with --service");
        if (a->is_pruned && a->action == CHECK)
            argp_error(state, "--prune goes with apply and plan");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp ctl_acls_argp = {.options = options,
                                   .parser = parse,
                                   .args_doc = "plan|apply|check",
                                   .doc = doc,
                                   .children = children};

/* ---- what is there */

struct state {
    unsigned services_n;
    enum acls_service services[ACLS_SERVICES_N];
    struct acls_table wanted[ACLS_SERVICES_N];
    struct acls_diffs diffs[ACLS_SERVICES_N];
};

static enum err_class want(const struct acls_args *args, const struct ctl_cluster *cluster,
                           struct state *s, struct err *err)
{
    s->services_n = 0;
    for (unsigned i = 0; i < ACLS_SERVICES_N; i++) {
        if (args->has_service && args->service != (enum acls_service)i)
            continue;
        if (acls_wanted((enum acls_service)i, cluster->prefix, args->user,
                        &s->wanted[s->services_n], err) != ERR_OK)
            return err->class;
        s->services[s->services_n++] = (enum acls_service)i;
    }
    return ERR_OK;
}

static enum err_class look(const struct ctl_cluster *cluster, struct state *s, struct err *err)
{
    static struct bus_acl found[BUS_ACLS_MAX]; /* 100 KiB: not for the stack */
    unsigned found_n = 0;

    for (unsigned i = 0; i < s->services_n; i++) {
        if (bus_acls_describe(cluster->kafka.v, cluster->kafka.n, s->wanted[i].principal, found,
                              BUS_ACLS_MAX, &found_n, CTL_TIMEOUT_MS, err) != ERR_OK)
            return err->class;
        acls_compare(&s->wanted[i], found, found_n, &s->diffs[i]);
    }
    return ERR_OK;
}

static void count(const struct state *s, unsigned *ret_absent_n, unsigned *ret_surplus_n)
{
    *ret_absent_n = *ret_surplus_n = 0;
    for (unsigned i = 0; i < s->services_n; i++) {
        *ret_absent_n += s->diffs[i].absent_n;
        *ret_surplus_n += s->diffs[i].surplus_n;
    }
}

static bool is_as_wanted(const struct state *s)
{
    unsigned absent_n, surplus_n;

    count(s, &absent_n, &surplus_n);
    return absent_n == 0 && surplus_n == 0;
}

/* ---- printing */

static const char *action_of(const struct acls_args *args, enum acls_fault fault)
{
    if (fault == ACLS_ABSENT)
        return "create";
    return args->is_pruned ? "delete" : "unneeded";
}

static void print_table(const struct acls_args *args, const struct state *s)
{
    unsigned absent_n, surplus_n, rows_n = 0;

    count(s, &absent_n, &surplus_n);
    for (unsigned i = 0; i < s->services_n; i++)
        rows_n += s->wanted[i].n;
    if (absent_n == 0 && surplus_n == 0) {
        printf("%u rows of %u services: as they should be\n", rows_n, s->services_n);
        return;
    }
    printf("%-24s  %-16s  %-28s  %-8s  %-15s  %s\n", "USER", "RESOURCE", "NAME", "PATTERN",
           "OPERATION", "ACTION");
    for (unsigned i = 0; i < s->services_n; i++) {
        for (unsigned k = 0; k < s->diffs[i].n; k++) {
            const struct bus_acl *const r = &s->diffs[i].items[k].row;
            printf("%-24s  %-16s  %-28s  %-8s  %s%-15s  %s\n", r->principal,
                   bus_acl_resource_name(r->resource), r->name,
                   r->is_prefixed ? "prefixed" : "literal", r->is_denied ? "deny " : "",
                   bus_acl_operation_name(r->operation),
                   action_of(args, s->diffs[i].items[k].fault));
        }
    }
    printf("\n%u rows of %u services are needed: %u to create; %u that are not needed%s\n", rows_n,
           s->services_n, absent_n, surplus_n,
           surplus_n == 0 || args->is_pruned ? "" : ": apply --prune removes them");
}

static json_t *row_json(const char *service, const struct bus_acl *r, const char *action)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s}", "service", service, "user",
                     r->principal, "resource", bus_acl_resource_name(r->resource), "name", r->name,
                     "pattern", r->is_prefixed ? "prefixed" : "literal", "operation",
                     bus_acl_operation_name(r->operation), "denied", r->is_denied, "action",
                     action);
}

/* The diff about this row; NULL: it is there. */
static const struct acls_diff *diff_of(const struct acls_diffs *diffs, const struct bus_acl *row)
{
    for (unsigned i = 0; i < diffs->n; i++) {
        if (bus_acl_is_same(&diffs->items[i].row, row))
            return &diffs->items[i];
    }
    return NULL;
}

static void print_json(const struct acls_args *args, const struct state *s,
                       const struct ctl_cluster *cluster)
{
    json_t *const rows = json_array();

    for (unsigned i = 0; i < s->services_n; i++) {
        const char *const service = acls_service_name(s->services[i]);
        for (unsigned k = 0; k < s->wanted[i].n; k++) {
            const struct bus_acl *const row = &s->wanted[i].rows[k];
            json_array_append_new(
                rows,
                row_json(service, row, diff_of(&s->diffs[i], row) != NULL ? "create" : "none"));
        }
        for (unsigned k = 0; k < s->diffs[i].n; k++) {
            const struct acls_diff *const d = &s->diffs[i].items[k];
            if (d->fault == ACLS_SURPLUS)
                json_array_append_new(rows, row_json(service, &d->row, action_of(args, d->fault)));
        }
    }
    json_t *const all =
        json_pack("{s:s, s:s, s:b, s:o}", "bootstrap", cluster->kafka.bootstrap, "topic_prefix",
                  cluster->prefix, "as_wanted", is_as_wanted(s), "acls", rows);
    assert(all != NULL);
    json_dumpf(all, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(all);
}

/* For a log or an alert: a line each. */
static void print_lines(const struct state *s)
{
    for (unsigned i = 0; i < s->services_n; i++) {
        for (unsigned k = 0; k < s->diffs[i].n; k++) {
            const struct acls_diff *const d = &s->diffs[i].items[k];
            printf("%s: %s %s%s %s%s%s: %s\n", acls_service_name(s->services[i]), d->row.principal,
                   d->row.is_denied ? "deny " : "", bus_acl_operation_name(d->row.operation),
                   bus_acl_resource_name(d->row.resource), d->row.is_prefixed ? " prefix " : " ",
                   d->row.name,
                   d->fault == ACLS_ABSENT ? "absent: l2ctl acls apply adds it"
                                           : "not needed: l2ctl acls apply --prune removes it");
        }
    }
}

static void print_state(const struct acls_args *args, const struct state *s,
                        const struct ctl_cluster *cluster)
{
    if (args->is_json)
        print_json(args, s, cluster);
    else if (args->action == CHECK && !is_as_wanted(s))
        print_lines(s);
    else
        print_table(args, s);
}

/* ---- applying */

static enum err_class change_one(const struct ctl_cluster *cluster, const struct acls_diffs *diffs,
                                 bool is_pruned, struct err *err)
{
    static struct bus_acl create[ACLS_DIFFS_MAX], doomed[ACLS_DIFFS_MAX]; /* not for the stack */
    unsigned create_n = 0, doomed_n = 0;

    for (unsigned i = 0; i < diffs->n; i++) {
        if (diffs->items[i].fault == ACLS_ABSENT)
            create[create_n++] = diffs->items[i].row;
        else if (is_pruned)
            doomed[doomed_n++] = diffs->items[i].row;
    }
    const enum err_class e =
        bus_acls_create(cluster->kafka.v, cluster->kafka.n, create, create_n, CTL_TIMEOUT_MS, err);
    return e != ERR_OK ? e
                       : bus_acls_delete(cluster->kafka.v, cluster->kafka.n, doomed, doomed_n,
                                         CTL_TIMEOUT_MS, err);
}

static enum err_class change(const struct acls_args *args, const struct ctl_cluster *cluster,
                             const struct state *s, struct err *err)
{
    enum err_class e = ERR_OK;

    for (unsigned i = 0; e == ERR_OK && i < s->services_n; i++)
        e = change_one(cluster, &s->diffs[i], args->is_pruned, err);
    return e;
}

/* Looks until the cluster shows the change, so that a check right after an apply holds. */
static enum err_class confirm(const struct acls_args *args, const struct ctl_cluster *cluster,
                              struct state *s, struct err *err)
{
    const int64_t deadline_us = clk_mono_us() + APPLY_VISIBLE_MS_MAX * INT64_C(1000);
    const struct timespec pause = {.tv_nsec = APPLY_LOOK_MS * 1000000L};
    unsigned absent_n, surplus_n;

    for (;;) {
        const enum err_class e = look(cluster, s, err);
        if (e != ERR_OK)
            return e;
        count(s, &absent_n, &surplus_n);
        if (absent_n == 0 && (surplus_n == 0 || !args->is_pruned))
            return ERR_OK;
        if (clk_mono_us() > deadline_us)
            return err_set(err, ERR_RETRY,
                           "access control: %u rows differ %d s after a change: "
                           "try again",
                           absent_n + surplus_n, APPLY_VISIBLE_MS_MAX / 1000);
        nanosleep(&pause, NULL);
    }
}

static int run(const struct acls_args *args, const struct ctl_cluster *cluster)
{
    static struct state s; /* 1 MiB: not for the stack */
    unsigned absent_n, surplus_n;
    struct err err = {0};

    if (want(args, cluster, &s, &err) != ERR_OK || look(cluster, &s, &err) != ERR_OK)
        return ctl_fail(&err);
    print_state(args, &s, cluster); /* before an apply: what is done */
    if (args->action != APPLY)
        return args->action == CHECK && !is_as_wanted(&s) ? CTL_DIFFERENT : CTL_OK;
    count(&s, &absent_n, &surplus_n);
    if (absent_n == 0 && (surplus_n == 0 || !args->is_pruned))
        return CTL_OK;
    fflush(stdout);
    if (change(args, cluster, &s, &err) != ERR_OK || confirm(args, cluster, &s, &err) != ERR_OK)
        return ctl_fail(&err);
    if (!args->is_json)
        printf("applied\n");
    return CTL_OK;
}

int ctl_acls_main(int argc, char **argv)
{
    struct acls_args args = {.action = ACTIONS_N};
    struct ctl_cluster cluster;
    struct err err = {0};

    if (argp_parse(&ctl_acls_argp, argc, argv, 0, NULL, &args) != 0)
        return CTL_USAGE;
    if (ctl_cluster_open(&args.cluster, &cluster, &err) != ERR_OK)
        return ctl_fail(&err);
    const int code = run(&args, &cluster);
    ctl_cluster_close(&cluster);
    return fflush(stdout) == 0 || code != CTL_OK ? code : CTL_IO;
}
