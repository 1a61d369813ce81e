#include "mon_backtest.h"

#include "l2/sets.h"
#include "mon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOURCES_MAX 256
#define MEMORY_MIB 128
#define LIST_N 10
#define WARM_UP_DAYS 92 /* as the service folds at its start; the longest window has 90 */
#define DAY_US (INT64_C(86400) * L2_US_PER_S)
#define PATH_BYTES 4096

const char *const mon_backtest_words[] = {"topics",         "l2.bars",    "l2.features", "l2.ohlcv",
                                          "l2.predictions", "l2.rollout", "postgres",    NULL};

struct backtest_args {
    struct mon_wanted wanted;
    const char *sources[SOURCES_MAX];
    unsigned sources_n;
    const char *html, *json, *config_file;
    int64_t warm_up_days, memory_mib, list_n, purge_bars;
    enum l2_set set;
    bool is_quiet;
    struct mon_run runs[MON_RUNS_MAX];
    unsigned runs_n;
};

static const char doc[] =
    "What the quality monitor would have said of a stored history: which signals fire, when, for "
    "how long, and how often in a crypto-month. The records go through the very core that the "
    "service runs, in the order of their event times; nothing is written but what is asked for.\v"
    "SOURCE is an Avro container file (of L2Bar, Candle, L2Feature, Prediction or RolloutState "
    "records: which, its schema says), a topic (l2.bars, l2.ohlcv, l2.features, l2.predictions, "
    "l2.rollout; topics: all five) or postgres (the tables l2_snapshots and ohlcv). Several are "
    "put together; a record that comes twice counts once. Bars without feature records make them "
    "by the purge. A signal that the history cannot tell is listed as not evaluated, with the "
    "reason.\n\n"
    "Each --reference begins a proposal, and the --set behind it belong to it: up to 4 are judged "
    "side by side over one history.\n\n"
    "--set SIGNAL.LEVEL=VALUE: LEVEL is warn, p2 (of a signal with two sides warn_above, "
    "warn_below, p2_above, p2_below), with a number or off; enter, leave: evaluations in a row, of "
    "the freshness seconds. SIGNAL: l2_feature_freshness_seconds, l2_feature_nan_rate, "
    "nan_rate_ahead, l2_feature_value_oor, l2_kyle_lambda_drift_psi, l2_kyle_lambda_psi_30d, "
    "l2_ofi_15m_psi_30d, l2_depth_imbalance_l5_psi_30d, l2_feed_cadence, l2_spread_regime, "
    "l2_feature_freshness_p99, l2_feature_nan_rate_p99, l2_agreement, l2_f1_buy, l2_f1_buy_drift, "
    "l2_delta_f1_buy, l2_latch.\n\n"
    "Windows want a past: records from --warm-up days before --from on are folded, and not "
    "counted.\n\n"
    "Examples:\n"
    "  l2monitor backtest l2_bars.avro --reference l2_quality_reference.json --html report.html\n"
    "  l2monitor backtest postgres -c reader.conf -r model-7.json --from 2026-05-01\n"
    "  l2monitor backtest topics -r model-7.json -r model-7.json --set "
    "l2_kyle_lambda_drift_psi.warn=0.4\n"
    "  l2monitor backtest *.avro -r model-7.json --json - -q | jq '.runs[0].signals[]'\n\n"
    "The configuration (--config; the environment goes first) says where Kafka (kafka.KEY, "
    "topic_prefix, schema_registry_url) and PostgreSQL (pg_host, pg_user, pg_password_file, ...) "
    "are; files need none.\n\n" MON_EXITS_HELP;

enum {
    KEY_SET = 256,
    KEY_HTML,
    KEY_JSON,
    KEY_LIST,
    KEY_WARM_UP,
    KEY_PURGE,
    KEY_FEATURES,
    KEY_MEMORY
};

static const struct argp_option options[] = {
    {"reference", 'r', "FILE", 0, "l2_quality_reference.json to judge by; may be repeated", 1},
    {"set", KEY_SET, "S.L=V", 0, "a threshold that is tried, see below; may be repeated", 1},
    {"html", KEY_HTML, "FILE", 0, "a page with plots, which needs no network", 1},
    {"json", KEY_JSON, "FILE", 0, "all of it for programs; -: to stdout, instead of the tables", 1},
    {"list", KEY_LIST, "N", 0, "episodes of a crypto that the tables list, the worst (10)", 1},
    {"quiet", 'q', NULL, 0, "neither tables nor progress", 1},
    {"warm-up", KEY_WARM_UP, "DAYS", 0, "before --from, to fill the windows (92)", 3},
    {"purge-bars", KEY_PURGE, "N", 0,
     "as the feature-producer has it (what feature records say, 20)", 3},
    {"feature-set", KEY_FEATURES, "SET", 0, "columns of the L2 arms: min, standard, flow_only", 3},
    {"config", 'c', "FILE", 0, "key = value lines, see below", 3},
    {"memory", KEY_MEMORY, "MIB", 0, "of records; more are sorted in a file in TMPDIR (128)", 3},
    {0},
};

static struct mon_run *new_run(struct backtest_args *a)
{
    struct mon_run *const run = &a->runs[a->runs_n++];

    memcpy(run->rows, qm_rows, sizeof run->rows);
    return run;
}

static void add_set(struct argp_state *state, struct backtest_args *a, const char *arg)
{
    struct mon_run *const run = a->runs_n > 0 ? &a->runs[a->runs_n - 1] : new_run(a);

    if (run->overrides_n == MON_OVERRIDES_MAX)
        argp_error(state, "--set: at most %d of one proposal", MON_OVERRIDES_MAX);
    run->overrides[run->overrides_n++] = arg;
}

static void add_reference(struct argp_state *state, struct backtest_args *a, const char *arg)
{
    if (a->runs_n > 0 && a->runs[0].reference_file == NULL)
        argp_error(state, "--set goes behind the --reference that it changes");
    if (a->runs_n == MON_RUNS_MAX)
        argp_error(state, "--reference: at most %d", MON_RUNS_MAX);
    new_run(a)->reference_file = arg;
}

static void set_number(struct argp_state *state, const char *option, int64_t *ret, int64_t min,
                       int64_t max, const char *arg)
{
    if (!mon_parse(arg, min, max, ret))
        argp_error(state, "%s %s: not %lld to %lld", option, arg, (long long)min, (long long)max);
}

static error_t parse_number(int key, char *arg, struct argp_state *state, struct backtest_args *a)
{
    switch (key) {
    case KEY_LIST:
        set_number(state, "--list", &a->list_n, 0, MON_EPISODES_MAX, arg);
        return 0;
    case KEY_WARM_UP:
        set_number(state, "--warm-up", &a->warm_up_days, 0, 3650, arg);
        return 0;
    case KEY_PURGE:
        set_number(state, "--purge-bars", &a->purge_bars, 0, L2_PURGE_BARS_MAX, arg);
        return 0;
    case KEY_MEMORY:
        set_number(state, "--memory", &a->memory_mib, 1, 1 << 20, arg);
        return 0;
    case KEY_FEATURES:
        if (!l2_set_parse(arg, &a->set))
            argp_error(state, "--feature-set %s: not min, standard or flow_only", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct backtest_args *const a = state->input;

    switch (key) {
    case 'r':
        add_reference(state, a, arg);
        return 0;
    case KEY_SET:
        add_set(state, a, arg);
        return 0;
    case KEY_HTML:
        a->html = arg;
        return 0;
    case KEY_JSON:
        a->json = arg;
        return 0;
    case 'q':
        a->is_quiet = true;
        return 0;
    case 'c':
        a->config_file = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (a->sources_n == SOURCES_MAX)
            argp_error(state, "at most %d sources", SOURCES_MAX);
        a->sources[a->sources_n++] = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "history from where? FILE.avro, topics, l2.bars, ... or postgres");
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->wanted;
        return 0;
    case ARGP_KEY_SUCCESS:
        if (a->wanted.bar_s > MON_BACKTEST_BAR_S_MAX) /* references are made of longer ones, too */
            argp_error(state, "--bar-seconds %u: not 60 to %d", a->wanted.bar_s,
                       MON_BACKTEST_BAR_S_MAX);
        return 0;
    default:
        return parse_number(key, arg, state, a);
    }
}

static const struct argp_child children[] = {{&mon_wanted_argp, 0, NULL, 2}, {.argp = NULL}};
const struct argp mon_backtest_argp = {
    .options = options, .parser = parse, .args_doc = "SOURCE...", .doc = doc, .children = children};

/* ---- references */

/* The history is that of the references' exchange and bar length. */
static enum err_class adopt(struct mon_wanted *w, const struct mon_run *run, struct err *err)
{
    const struct quality_file *const r = &run->reference;

    if (w->exchange[0] != '\0' && strcmp(w->exchange, r->exchange) != 0)
        return err_set(err, ERR_REJECT, "%s is of %s, not of %s", run->reference_file, r->exchange,
                       w->exchange);
    if (w->bar_s != 0 && w->bar_s != r->bar_s)
        return err_set(err, ERR_REJECT, "%s is of bars of %u s, not of %u s", run->reference_file,
                       r->bar_s, w->bar_s);
    memcpy(w->exchange, r->exchange, sizeof w->exchange);
    w->bar_s = r->bar_s;
    return ERR_OK;
}

static int open_runs(struct backtest_args *a)
{
    struct err err = {0};

    if (a->runs_n == 0)
        (void)new_run(a);
    for (unsigned i = 0; i < a->runs_n; i++) {
        struct mon_run *const run = &a->runs[i];
        if (run->reference_file != NULL && access(run->reference_file, R_OK) != 0) {
            fprintf(stderr, "l2monitor: %s: %s\n", run->reference_file, strerror(errno));
            return MON_NO_INPUT;
        }
        if (run->reference_file != NULL &&
            quality_read(run->reference_file, &run->reference, &err) != ERR_OK)
            return err.class == ERR_REJECT ? (mon_fail(&err), MON_DATA) : mon_fail(&err);
        for (unsigned j = 0; j < run->overrides_n; j++) {
            if (mon_override(run, run->overrides[j], &err) != ERR_OK)
                return (mon_fail(&err), MON_USAGE);
        }
        if (run->reference_file != NULL && adopt(&a->wanted, run, &err) != ERR_OK)
            return (mon_fail(&err), MON_USAGE);
    }
    return MON_OK;
}

/* ---- outputs: whole, or as they were before */

/* JSON is UTF-8, the page with it; paths and what records hold need not be. */
static bool can_be_said(const struct mon_backtest *b)
{
    const char *const text = mon_report_not_utf8(b);

    if (text != NULL)
        fprintf(stderr, "l2monitor: %s: not UTF-8, as --json and --html need it\n", text);
    return text == NULL;
}

/* Why there is no report, if it is not the disk. */
static int no_report(const struct mon_backtest *b)
{
    if (!can_be_said(b))
        return MON_DATA;
    fprintf(stderr, "l2monitor: out of memory\n");
    return MON_INTERNAL;
}

static int put_page(const struct mon_backtest *b, FILE *out)
{
    if (mon_report_html(b, out))
        return MON_OK;
    return ferror(out) ? MON_IO : no_report(b);
}

static int put_json(const struct mon_backtest *b, FILE *out)
{
    char *const text = mon_report_json(b);

    if (text == NULL)
        return no_report(b);
    fprintf(out, "%s\n", text);
    free(text);
    return MON_OK;
}

static int write_file(const struct mon_backtest *b, const char *path,
                      int (*put)(const struct mon_backtest *b, FILE *out))
{
    char made[PATH_BYTES];
    int code = MON_IO, why = 0;

    snprintf(made, sizeof made, "%s.tmp", path);
    FILE *const out = fopen(made, "w");
    why = errno;
    if (out != NULL) {
        code = put(b, out);
        if (code == MON_OK && (ferror(out) || fflush(out) != 0 || fsync(fileno(out)) != 0))
            code = MON_IO;
        why = errno;
        if ((fclose(out) != 0 || (code == MON_OK && rename(made, path) != 0)) && code == MON_OK) {
            code = MON_IO;
            why = errno;
        }
        if (code != MON_OK)
            (void)unlink(made);
    }
    if (code == MON_IO)
        fprintf(stderr, "l2monitor: %s: %s\n", path, strerror(why));
    return code;
}

static int report(const struct backtest_args *a, const struct mon_backtest *b)
{
    const bool is_piped = a->json != NULL && strcmp(a->json, "-") == 0;
    int code = MON_OK;

    errno = 0;
    if (a->json != NULL)
        code = is_piped ? put_json(b, stdout) : write_file(b, a->json, put_json);
    if (code == MON_OK && is_piped)
        code = mon_flush_stdout();
    if (code == MON_OK && a->html != NULL)
        code = write_file(b, a->html, put_page);
    if (code != MON_OK || a->is_quiet || is_piped)
        return code;
    errno = 0;
    if (mon_report_text(b, (unsigned)a->list_n, stdout))
        return mon_flush_stdout();
    fprintf(stderr, "l2monitor: out of memory\n");
    return MON_INTERNAL;
}

/* ---- */

static int run_all(struct backtest_args *a, struct mon_backtest *b)
{
    const struct mon_taker taker = {mon_backtest_records, mon_backtest_take, b};
    int code = open_runs(a);

    if (code != MON_OK)
        return code;
    b->history = mon_history_new((size_t)a->memory_mib << 20);
    if (b->history == NULL) {
        fprintf(stderr, "l2monitor: no memory for --memory %lld\n", (long long)a->memory_mib);
        return MON_INTERNAL;
    }
    b->first_us = INT64_MAX;
    b->last_us = INT64_MIN;
    b->from_us = a->wanted.from_us;
    b->to_us = a->wanted.to_us;
    if (a->wanted.from_us > INT64_MIN)
        a->wanted.from_us -= a->warm_up_days * DAY_US;
    mon_choice_init(&b->choice, &a->wanted);
    memcpy(b->runs, a->runs, sizeof b->runs);
    b->runs_n = a->runs_n;
    if ((a->json != NULL || a->html != NULL) && !can_be_said(b))
        return MON_USAGE; /* before the long work */
    for (unsigned i = 0; code == MON_OK && i < a->sources_n; i++) {
        const struct mon_source source = {a->sources[i], a->config_file, a->is_quiet};
        code = mon_source_read(&source, &b->choice.wanted, &taker);
    }
    if (code == MON_OK)
        code = mon_backtest_fold(b);
    if (mon_history_has_disk_failed(b->history))
        return MON_IO;
    return code == MON_OK ? report(a, b) : code;
}

int mon_backtest_main(int argc, char **argv)
{
    static struct backtest_args a = {.wanted = MON_WANTED_ALL,
                                     .warm_up_days = WARM_UP_DAYS,
                                     .memory_mib = MEMORY_MIB,
                                     .list_n = LIST_N,
                                     .purge_bars = -1,
                                     .set = L2_SET_STANDARD};
    static struct mon_backtest b;

    if (argp_parse(&mon_backtest_argp, argc, argv, 0, NULL, &a) != 0)
        return MON_USAGE;
    mon_stop_on_signals();
    b.is_quiet = a.is_quiet;
    b.set = a.set;
    b.purge_bars = a.purge_bars;
    const int code = run_all(&a, &b);

    if (code == MON_INTERRUPTED)
        fprintf(stderr, "l2monitor: interrupted: nothing was written\n");
    for (unsigned i = 0; i < a.runs_n; i++) {
        struct mon_run *const run = &b.runs[i];
        qm_core_free(run->core);
        qm_alerts_free(run->alerts);
        mon_findings_free(&run->findings);
        quality_free(&a.runs[i].reference);
    }
    mon_history_free(b.history);
    return code;
}
