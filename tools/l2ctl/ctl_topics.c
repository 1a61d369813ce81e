#include "ctl.h"

#include "clk/clk.h"
#include "topics/topics.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define APPLY_VISIBLE_MS_MAX                                                                       \
    15000 /* brokers learn of a change from the controller, a moment later */
#define APPLY_LOOK_MS 200

enum action { PLAN, APPLY, CHECK, ACTIONS_N };
const char *const ctl_topics_words[] = {"plan", "apply", "check", NULL};

struct topics_args {
    enum action action;
    bool is_json;
    struct topics_options options;
    struct ctl_cluster_options cluster;
};

static const char doc[] =
    "Make the cluster's topics what l2flow needs, or tell what differs. plan prints what apply "
    "would do; apply creates what is "
    "absent and alters settings, and may be repeated; check exits with 1 and names each "
    "difference. A partition count is never "
    "changed: keys would move to other partitions; see " TOPICS_RUNBOOK ".\v"
    "Examples:\n"
    "  l2ctl topics plan\n"
    "  l2ctl topics apply --partitions 12 --replication-factor 3 -b kafka-1:9092\n"
    "  l2ctl topics check --topic-prefix eu. --config l2ctl.conf || alert\n"
    "  l2ctl topics plan -o json | jq '.topics[] | select(.action != \"none\")'\n\n" CTL_EXITS_HELP;

enum { KEY_PARTITIONS = 256, KEY_REPLICATION };

static const struct argp_option options[] = {
    {"partitions", KEY_PARTITIONS, "N", 0,
     "of every topic, 1 to 1024; default: what the topics have, 6 when there are none", 1},
    {"replication-factor", KEY_REPLICATION, "R", 0,
     "1 to 9; default: the cluster's, not compared. From 3 on, min.insync.replicas=2", 1},
    {"output", 'o', "FORMAT", 0, "table (default) or json", 1},
    {0},
};

static const struct argp_child children[] = {{&ctl_cluster_argp, 0, "The cluster:", 2}, {0}};

static int number_of(struct argp_state *state, const char *name, const char *arg, int max)
{
    int64_t n = 0;

    if (!ctl_parse(arg, 1, max, &n))
        argp_error(state, "%s: %s is not 1 to %d", name, arg, max);
    return (int)n;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct topics_args *const a = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->cluster;
        return 0;
    case KEY_PARTITIONS:
        a->options.partitions = number_of(state, "--partitions", arg, BUS_PARTITIONS_MAX);
        return 0;
    case KEY_REPLICATION:
        a->options.replication_factor =
            number_of(state, "--replication-factor", arg, TOPICS_REPLICATION_FACTOR_MAX);
        return 0;
    case 'o':
        a->is_json = strcmp(arg, "json") == 0;
        if (!a->is_json && strcmp(arg, "table") != 0)
            argp_error(state, "-o %s: table or json", arg);
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            return ARGP_ERR_UNKNOWN;
        for (unsigned i = 0; i < ACTIONS_N; i++) {
            if (strcmp(arg, ctl_topics_words[i]) == 0)
                a->action = (enum action)i;
        }
        if (a->action == ACTIONS_N)
            argp_error(state, "%s: not one of plan, apply, check", arg);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "plan, apply or check?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp ctl_topics_argp = {.options = options,
                                     .parser = parse,
                                     .args_doc = "plan|apply|check",
                                     .doc = doc,
                                     .children = children};

/* ---- what is there */

struct state {
    struct topics_table wanted, found;
    struct topics_diffs diffs;
};

static enum err_class look(const struct ctl_cluster *cluster, struct state *s, struct err *err)
{
    topics_blank(&s->wanted, &s->found);
    const enum err_class e = bus_topics_describe(cluster->kafka.v, cluster->kafka.n,
                                                 s->found.topics, TOPICS_N, CTL_TIMEOUT_MS, err);
    if (e != ERR_OK)
        return e;
    topics_settle(&s->wanted, &s->found);
    topics_compare(&s->wanted, &s->found, &s->diffs);
    return ERR_OK;
}

/* ---- printing */

/* The worst that is to be done about a topic. */
static const char *action_of(const struct state *s, enum topics_id id)
{
    const char *action = "none";

    for (unsigned i = 0; i < s->diffs.n; i++) {
        const struct topics_diff *const d = &s->diffs.items[i];
        if (d->id != id)
            continue;
        if (topics_is_final(d->fault))
            return "impossible";
        action = d->fault == TOPICS_ABSENT ? "create" : "alter";
    }
    return action;
}

static unsigned count(const struct state *s, const char *action)
{
    unsigned n = 0;

    for (unsigned i = 0; i < TOPICS_N; i++)
        n += strcmp(action_of(s, (enum topics_id)i), action) == 0;
    return n;
}

/* "604800000 (7 d)" */
static const char *readable(const char *key, const char *value, char *buf, size_t size)
{
    int64_t ms;

    snprintf(buf, size, "%s", value[0] != '\0' ? value : "unknown");
    const size_t n = strlen(buf), key_n = strlen(key);
    if (key_n < 3 || strcmp(key + key_n - 3, ".ms") != 0 || !ctl_parse(value, 0, INT64_MAX, &ms))
        return buf;
    if (ms >= 86400000 && ms % 86400000 == 0)
        snprintf(buf + n, size - n, " (%" PRId64 " d)", ms / 86400000);
    else if (ms >= 1000)
        snprintf(buf + n, size - n, " (%" PRId64 " s)", ms / 1000);
    return buf;
}

static void print_table(const struct state *s)
{
    char current[160], wanted[160];

    if (s->diffs.n == 0) {
        printf("%d topics with %d partitions each: as they should be\n", TOPICS_N,
               s->wanted.topics[0].partitions);
        return;
    }
    printf("%-24s  %-24s  %-22s  %-22s  %s\n", "TOPIC", "SETTING", "CURRENT", "WANTED", "ACTION");
    for (unsigned i = 0; i < s->diffs.n; i++) {
        const struct topics_diff *const d = &s->diffs.items[i];
        const char *const name = s->wanted.names[d->id];

        if (d->fault == TOPICS_ABSENT) {
            snprintf(wanted, sizeof wanted, "%d partitions", s->wanted.topics[d->id].partitions);
            printf("%-24s  %-24s  %-22s  %-22s  create\n", name, "", "absent", wanted);
        } else {
            printf("%-24s  %-24s  %-22s  %-22s  %s\n", name, d->key,
                   readable(d->key, d->current, current, sizeof current),
                   readable(d->key, d->wanted, wanted, sizeof wanted),
                   topics_is_final(d->fault) ? "impossible" : "alter");
        }
    }
    printf("\n%d topics: %u as they should be, %u to create, %u to alter", TOPICS_N,
           count(s, "none"), count(s, "create"), count(s, "alter"));
    if (count(s, "impossible") > 0)
        printf(", %u that cannot be mended in place: see %s", count(s, "impossible"),
               TOPICS_RUNBOOK);
    printf("\n");
}

static json_t *pair(json_t *current, json_t *wanted)
{
    return json_pack("{s:o, s:o}", "current", current, "wanted", wanted);
}

static json_t *topic_json(const struct state *s, enum topics_id id)
{
    const struct bus_topic *const w = &s->wanted.topics[id], *const f = &s->found.topics[id];
    const bool is_there = f->partitions > 0;
    json_t *const settings = json_object();

    for (unsigned i = 0; i < w->settings_n; i++)
        json_object_set_new(settings, w->settings[i].key,
                            pair(is_there ? json_string(f->settings[i].value) : json_null(),
                                 json_string(w->settings[i].value)));
    return json_pack(
        "{s:s, s:s, s:o, s:o, s:o}", "name", w->name, "action", action_of(s, id), "partitions",
        pair(is_there ? json_integer(f->partitions) : json_null(), json_integer(w->partitions)),
        "replication_factor",
        pair(is_there ? json_integer(f->replication_factor) : json_null(),
             w->replication_factor == -1 ? json_null() : json_integer(w->replication_factor)),
        "settings", settings);
}

static void print_json(const struct state *s, const struct ctl_cluster *cluster)
{
    json_t *const topics = json_array();

    for (unsigned i = 0; i < TOPICS_N; i++)
        json_array_append_new(topics, topic_json(s, (enum topics_id)i));
    json_t *const all =
        json_pack("{s:s, s:s, s:i, s:b, s:o}", "bootstrap", cluster->kafka.bootstrap,
                  "topic_prefix", cluster->prefix, "differences", (int)s->diffs.n, "as_wanted",
                  s->diffs.n == 0, "topics", topics);
    assert(all != NULL);
    json_dumpf(all, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(all);
}

/* For a log or an alert: a line each. */
static void print_lines(const struct state *s)
{
    char text[320];

    for (unsigned i = 0; i < s->diffs.n; i++)
        printf("%s\n", topics_diff_text(&s->wanted, &s->diffs.items[i], text, sizeof text));
}

static void print_state(const struct topics_args *args, const struct state *s,
                        const struct ctl_cluster *cluster)
{
    if (args->is_json)
        print_json(s, cluster);
    else if (args->action == CHECK && s->diffs.n > 0)
        print_lines(s);
    else
        print_table(s);
}

/* ---- applying */

/* Names what no apply can mend, each on a line of its own. True when there was any. */
static bool refuse(const struct state *s)
{
    char text[320];
    bool is_refused = false;

    for (unsigned i = 0; i < s->diffs.n; i++) {
        if (!topics_is_final(s->diffs.items[i].fault))
            continue;
        fprintf(stderr, "l2ctl: %s\n",
                topics_diff_text(&s->wanted, &s->diffs.items[i], text, sizeof text));
        is_refused = true;
    }
    if (is_refused)
        fprintf(stderr, "l2ctl: nothing was changed: this takes new topics, not an apply: see %s\n",
                TOPICS_RUNBOOK);
    return is_refused;
}

/* A topic's differing settings alone, so that an alteration touches nothing else. */
static struct bus_topic differing(const struct state *s, enum topics_id id)
{
    struct bus_topic t = s->wanted.topics[id];

    t.settings_n = 0;
    for (unsigned i = 0; i < s->diffs.n; i++) {
        const struct topics_diff *const d = &s->diffs.items[i];
        if (d->id != id || d->fault != TOPICS_SETTING)
            continue;
        struct bus_topic_setting *const to = &t.settings[t.settings_n++];
        to->key = d->key;
        memcpy(to->value, d->wanted, sizeof to->value);
    }
    return t;
}

static enum err_class change(const struct ctl_cluster *cluster, const struct state *s,
                             struct err *err)
{
    struct bus_topic create[TOPICS_N], alter[TOPICS_N];
    unsigned create_n = 0, alter_n = 0;
    enum err_class e = ERR_OK;

    for (unsigned i = 0; i < TOPICS_N; i++) {
        const char *const action = action_of(s, (enum topics_id)i);
        if (strcmp(action, "create") == 0)
            create[create_n++] = s->wanted.topics[i];
        else if (strcmp(action, "alter") == 0)
            alter[alter_n++] = differing(s, (enum topics_id)i);
    }
    if (create_n > 0)
        e = bus_topics_create(cluster->kafka.v, cluster->kafka.n, create, create_n, CTL_TIMEOUT_MS,
                              err);
    if (e == ERR_OK && alter_n > 0)
        e = bus_topics_alter(cluster->kafka.v, cluster->kafka.n, alter, alter_n, CTL_TIMEOUT_MS,
                             err);
    return e;
}

/* Looks until every broker's answer shows the change, so that a check right after an apply holds.
 */
static enum err_class confirm(const struct ctl_cluster *cluster, struct state *s, struct err *err)
{
    const int64_t deadline_us = clk_mono_us() + APPLY_VISIBLE_MS_MAX * INT64_C(1000);
    const struct timespec pause = {.tv_nsec = APPLY_LOOK_MS * 1000000L};
    char text[160];

    for (;;) {
        const enum err_class e = look(cluster, s, err);
        if (e != ERR_OK || s->diffs.n == 0)
            return e;
        if (clk_mono_us() > deadline_us)
            return err_set(err, ERR_RETRY, "%s, still so %d s after it was changed: try again",
                           topics_diff_text(&s->wanted, &s->diffs.items[0], text, sizeof text),
                           APPLY_VISIBLE_MS_MAX / 1000);
        nanosleep(&pause, NULL);
    }
}

static int apply(const struct topics_args *args, const struct ctl_cluster *cluster, struct state *s)
{
    struct err err = {0};

    if (refuse(s))
        return CTL_DIFFERENT;
    print_state(args, s, cluster); /* before: what is done */
    if (s->diffs.n == 0)
        return CTL_OK;
    fflush(stdout);
    if (change(cluster, s, &err) != ERR_OK || confirm(cluster, s, &err) != ERR_OK)
        return ctl_fail(&err);
    if (!args->is_json)
        printf("applied\n");
    return CTL_OK;
}

static int run(const struct topics_args *args, const struct ctl_cluster *cluster)
{
    static struct state s; /* 100 KiB: not for the stack */
    struct topics_options wanted = args->options;
    struct err err = {0};

    wanted.prefix = cluster->prefix;
    if (topics_wanted(&wanted, &s.wanted, &err) != ERR_OK || look(cluster, &s, &err) != ERR_OK)
        return ctl_fail(&err);
    if (args->action == APPLY)
        return apply(args, cluster, &s);
    print_state(args, &s, cluster);
    return args->action == CHECK && s.diffs.n > 0 ? CTL_DIFFERENT : CTL_OK;
}

int ctl_topics_main(int argc, char **argv)
{
    struct topics_args args = {.action = ACTIONS_N,
                               .options = {.prefix = "", .replication_factor = -1}};
    struct ctl_cluster cluster;
    struct err err = {0};

    if (argp_parse(&ctl_topics_argp, argc, argv, 0, NULL, &args) != 0)
        return CTL_USAGE;
    if (ctl_cluster_open(&args.cluster, &cluster, &err) != ERR_OK)
        return ctl_fail(&err);
    const int code = run(&args, &cluster);
    ctl_cluster_close(&cluster);
    return fflush(stdout) == 0 || code != CTL_OK ? code : CTL_IO;
}
