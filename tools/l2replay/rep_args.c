#include "rep_args.h"
#include "rep_grow.h"
#include "rep_synth.h"

#include "bus/bus.h"
#include "clk/clk.h"

#include <argp.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define US_PER_S 1000000
#define START_DEFAULT_S INT64_C(1704067200) /* 2024-01-01T00:00:00Z */
#define HOURS_MAX (24.0 * 366)

enum key {
    KEY_SOURCE = 's',
    KEY_INPUT = 'i',
    KEY_SYMBOL = 'S',
    KEY_OUTPUT = 'o',
    KEY_TOPIC = 't',
    KEY_BOOTSTRAP = 'b',
    KEY_CONFIG = 'c',
    KEY_PREFIX = 'p',
};

/* Options without a letter. */
enum long_key {
    KEY_EXCHANGE = 256,
    KEY_DEPTH,
    KEY_THIN,
    KEY_BAR,
    KEY_CANDLES,
    KEY_DESCRIBE,
    KEY_JSON,
    KEY_SPEED,
    KEY_RATE,
    KEY_LOOP,
    KEY_RECORDS,
    KEY_SYMBOLS,
    KEY_STAGGER,
    KEY_SEED,
    KEY_RATE_HZ,
    KEY_SILENCE,
    KEY_STALL,
    KEY_DRIFT,
    KEY_HOURS,
    KEY_START,
    KEY_CADENCE,
    KEY_RESTART,
    KEY_INVALID,
    KEY_INVALID_EVERY,
    KEY_INVALID_BURST,
    KEY_LIST_INVALID,
};

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "What to read:", 1},
    {"source", KEY_SOURCE, "KIND", 0,
     "binance-ws: recorded websocket messages (default); synthetic: a made-up market", 1},
    {"input", KEY_INPUT, "FILE...", 0,
     "a recording, gzip or plain; several are read one after the other", 1},
    {"symbol", KEY_SYMBOL, "NAME", 0,
     "the symbol that these files hold; --input and --symbol may come again for another", 1},
    {"exchange", KEY_EXCHANGE, "NAME", 0, "the records' exchange (binance, or synthetic)", 1},
    {"depth", KEY_DEPTH, "N", 0, "levels a side (20)", 1},
    {"thin", KEY_THIN, "MS", 0, "one snapshot, the first, in each MS of event time; flow is summed",
     1},

    {NULL, 0, NULL, 0, "Where to send it:", 2},
    {"output", KEY_OUTPUT, "FILE.avro", 0, "snapshots into one Avro object container file", 2},
    {"candles", KEY_CANDLES, "FILE.avro", 0, "candles into a file", 2},
    {"bar-seconds", KEY_BAR, "S", 0, "length of a candle, whole minutes (900)", 2},
    {"topic", KEY_TOPIC, NULL, 0, "to the topics l2.snapshots and l2.ohlcv, keyed by symbol", 2},
    {"topic-prefix", KEY_PREFIX, "P", 0, "stands before the topics' names: eu. gives eu.l2.ohlcv",
     2},
    {"bootstrap", KEY_BOOTSTRAP, "HOST:PORT", 0, "the cluster (127.0.0.1:9092)", 2},
    {"config", KEY_CONFIG, "FILE", 0,
     "key = value lines: topic_prefix, kafka.KEY (handed to librdkafka), sasl_password_file, "
     "ssl_key_password_file. Secrets stand in files of their own, never on the command line",
     2},
    {"describe", KEY_DESCRIBE, NULL, 0,
     "send nothing: print first and last event time, span and counts as JSON", 2},
    {"json", KEY_JSON, NULL, 0, "the summary as JSON, no progress bar", 2},

    {NULL, 0, NULL, 0, "How fast, how long:", 3},
    {"speed", KEY_SPEED, "N|max", 0,
     "N market seconds a second, up to 1000: a record goes out when that clock reaches its event "
     "time, never before; max: as fast as it can (default, but when L2_CLOCK is set)",
     3},
    {"rate", KEY_RATE, "R", 0, "at most R records a second", 3},
    {"loop-hours", KEY_LOOP, "H", 0,
     "play the recording again and again, for H hours of market; each loop has later times and a "
     "higher epoch",
     3},
    {"records", KEY_RECORDS, "N", 0, "end after N snapshots; a recording loops up to there", 3},
    {"symbols", KEY_SYMBOLS, "N", 0,
     "binance-ws: send the recording under the names S000, S001, ...; synthetic: how many (2)", 3},
    {"stagger-seconds", KEY_STAGGER, "S", 0,
     "with --symbols N: symbol i's event times are shifted back by S x i / N", 3},

    {NULL, 0, NULL, 0, "The made-up market:", 4},
    {"seed", KEY_SEED, "N", 0, "the same seed gives the same market (1)", 4},
    {"rate-hz", KEY_RATE_HZ, "R", 0, "snapshots a second and symbol (10)", 4},
    {"hours", KEY_HOURS, "H", 0, "how long (1)", 4},
    {"start", KEY_START, "TIME", 0, "first second: 2024-01-01T00:00:00Z (default) or Unix seconds",
     4},
    {"cadence", KEY_CADENCE, "R:S[,R:S...]", 0,
     "the feed's pace changes: at most R snapshots a second and symbol for S seconds, and so on, "
     "in "
     "a circle; R = 0: a stall",
     4},
    {"silence", KEY_SILENCE, "S", 0,
     "about every S seconds a symbol's feed falls silent for 6 to 65 s; 0: never (1800)", 4},
    {"stall", KEY_STALL, "I:FROM:S[,...]", 0,
     "symbol number I (0 the first) sends no snapshot from second FROM on, for S seconds; its "
     "candles go on",
     4},
    {"drift", KEY_DRIFT, "FROM:S:F", 0,
     "from second FROM on, for S seconds, the books are thinner by the factor F, so that trades "
     "move prices further",
     4},
    {"restart", KEY_RESTART, "epoch:S|adopt:S", 0,
     "every S seconds each symbol's stream begins anew: with a higher epoch; or with a lower one "
     "and "
     "times 30 s behind, which a consumer drops as late until it adopts it",
     4},

    {NULL, 0, NULL, 0, "What nobody may take (for tests and rehearsals):", 5},
    {"invalid", KEY_INVALID, "KIND[,KIND...]", 0,
     "between the good records send invalid ones, their kinds in turn: names, dead, dropped, all; "
     "-NAME takes one out. To a file only those that it can hold",
     5},
    {"invalid-every", KEY_INVALID_EVERY, "N", 0, "after every Nth snapshot (1)", 5},
    {"invalid-burst", KEY_INVALID_BURST, "M", 0, "M of them in a row (1)", 5},
    {"list-invalid", KEY_LIST_INVALID, NULL, 0, "print the kinds and their dead letters' reasons",
     5},
    {0},
};

static const char doc[] =
    "Replay a recorded or made-up market as l2.snapshots and l2.ohlcv records."
    "\v"
    "Examples:\n"
    "  l2replay --input usdm_btcusdt.gz --symbol BTCUSDT --output btc.avro\n"
    "  l2replay --input a.gz --symbol BTCUSDT --input b.gz --symbol ETHUSDT \\\n"
    "      --output both.avro --candles candles.avro --bar-seconds 60\n"
    "  l2replay --input day1.gz day2.gz --symbol BTCUSDT --describe\n"
    "  l2replay --input a.gz --symbol BTCUSDT --topic --speed 10 --loop-hours 8\n"
    "  l2replay --source synthetic --symbols 50 --hours 24 --output made_up.avro\n"
    "  l2replay --source synthetic --topic --invalid dead,-too_large --invalid-every 10 \\\n"
    "      --cadence 10:60,2:60,0:10 --restart epoch:600\n\n"
    "A recording is what its websocket sent, one message a line: '<receive time in ns> <JSON>', "
    "with one REST answer of /depth among the first. From the depth messages the book is rebuilt "
    "by the exchange's sequence rules; each one then makes a snapshot. Where the sequence breaks, "
    "no book is known until the next REST answer, which begins a new epoch. Trades become the "
    "snapshots' flow, and candles: one when its bar is complete; the first covers what was "
    "recorded of it, the last, incomplete, is left out.\n\n"
    "When L2_CLOCK is set, records to topics are sent when that rehearsal clock reaches their "
    "event time. A file appears when it is complete, or not at all.\n\n"
    "Exit codes: 0 done; 64 usage; 65 broken input; 66 no such input; 69 no broker answers; "
    "70 internal; 73 output cannot be made; 74 writing failed; 78 configuration or absent topics; "
    "130 interrupted.";

/* argp's error, which ends the program: said in a way that a checker believes. */
static void refuse(const struct argp_state *state, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));

static void refuse(const struct argp_state *state, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    argp_error(state, "%s", text);
    exit(REP_USAGE);
}

static bool parse_double(const char *text, double min, double max, double *ret)
{
    char *end;

    errno = 0;
    const double v = strtod(text, &end);
    if (errno != 0 || end == text || *end != '\0' || !(v >= min && v <= max))
        return false;
    *ret = v;
    return true;
}

static uint64_t whole(const struct argp_state *state, const char *name, const char *text,
                      uint64_t min, uint64_t max)
{
    char *end;

    errno = 0;
    const unsigned long long v = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] < '0' || text[0] > '9' || v < min ||
        v > max)
        refuse(state, "%s '%s': not a whole number from %llu to %llu", name, text,
               (unsigned long long)min, (unsigned long long)max);
    return v;
}

static double number(const struct argp_state *state, const char *name, const char *text, double min,
                     double max)
{
    double v = 0;

    if (!parse_double(text, min, max, &v))
        refuse(state, "%s '%s': not a number from %g to %g", name, text, min, max);
    return v;
}

static int64_t hours_us(const struct argp_state *state, const char *name, const char *text)
{
    return (int64_t)(number(state, name, text, 1e-6, HOURS_MAX) * 3600 * US_PER_S);
}

static int64_t start_us(const struct argp_state *state, const char *text)
{
    struct tm tm = {0};
    const char *const end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);

    if (end != NULL && *end == '\0' && tm.tm_year >= 70)
        return (int64_t)timegm(&tm) * US_PER_S;
    if (strchr(text, 'T') != NULL)
        refuse(state, "--start '%s': not a time such as 2024-01-01T00:00:00Z", text);
    return (int64_t)whole(state, "--start", text, 1, UINT64_C(253402300799)) * US_PER_S;
}

static const char *name(const struct argp_state *state, const char *option, const char *text)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const size_t n = strlen(text);

    if (n == 0 || n > REP_SYMBOL_BYTES_MAX || strspn(text, allowed) != n)
        refuse(state, "%s '%s': not 1 to %d of [A-Za-z0-9._-]", option, text, REP_SYMBOL_BYTES_MAX);
    return text;
}

/* The recording that a file or a name belongs to: the open one, or a new one where it is complete.
 */
static struct rep_recording *recording(const struct argp_state *state, struct rep_args *a,
                                       bool is_symbol)
{
    struct rep_recording *const open =
        a->recordings_n > 0 ? &a->recordings[a->recordings_n - 1] : NULL;
    const bool is_new = open == NULL || (is_symbol ? open->symbol != NULL
                                                   : open->is_symbol_last && open->paths_n > 0);

    if (!is_new)
        return open;
    if (a->recordings_n == REP_STREAMS_MAX)
        refuse(state, "more than %d recordings", REP_STREAMS_MAX);
    return &a->recordings[a->recordings_n++];
}

static void add_symbol(const struct argp_state *state, struct rep_args *a, const char *text)
{
    struct rep_recording *const r = recording(state, a, true);

    r->symbol = name(state, "--symbol", text);
    r->is_symbol_last = true;
}

static void add_path(const struct argp_state *state, struct rep_args *a, const char *path)
{
    struct rep_recording *const r = recording(state, a, false);
    size_t cap = r->paths_n; /* grows one by one: a handful */

    if (!rep_grow((void **)&r->paths, &cap, r->paths_n + 1u, REP_FILES_MAX, sizeof *r->paths))
        refuse(state, "more than %d files of one symbol", REP_FILES_MAX);
    r->paths[r->paths_n++] = path;
    r->is_symbol_last = false;
}

static void parse_source(const struct argp_state *state, struct rep_args *a, const char *text)
{
    if (strcmp(text, "binance-ws") == 0)
        a->source = REP_BINANCE_WS;
    else if (strcmp(text, "synthetic") == 0)
        a->source = REP_SYNTHETIC;
    else
        refuse(state, "--source '%s': not binance-ws or synthetic", text);
}

static void parse_speed(const struct argp_state *state, struct rep_args *a, const char *text)
{
    a->has_speed = true;
    a->speed = strcmp(text, "max") == 0 ? 0 : number(state, "--speed", text, 1e-6, CLK_SPEED_MAX);
}

static error_t parse_what(int key, char *arg, struct argp_state *state, struct rep_args *a)
{
    switch (key) {
    case KEY_SOURCE:
        parse_source(state, a, arg);
        return 0;
    case KEY_INPUT:
    case ARGP_KEY_ARG:
        add_path(state, a, arg);
        return 0;
    case KEY_SYMBOL:
        add_symbol(state, a, arg);
        return 0;
    case KEY_EXCHANGE:
        a->exchange = name(state, "--exchange", arg);
        return 0;
    case KEY_DEPTH:
        a->depth = (unsigned)whole(state, "--depth", arg, 1, REP_DEPTH_MAX);
        return 0;
    case KEY_THIN:
        a->thin_us = (int64_t)whole(state, "--thin", arg, 1, 3600000) * 1000;
        return 0;
    case KEY_SEED:
        a->seed = whole(state, "--seed", arg, 0, UINT64_MAX);
        return 0;
    case KEY_RATE_HZ:
        a->rate_hz = number(state, "--rate-hz", arg, REP_SYNTH_RATE_HZ_MIN, REP_SYNTH_RATE_HZ_MAX);
        return 0;
    case KEY_HOURS:
        a->span_us = hours_us(state, "--hours", arg);
        return 0;
    case KEY_START:
        a->start_us = start_us(state, arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_where(int key, char *arg, struct rep_args *a)
{
    switch (key) {
    case KEY_OUTPUT:
        a->output = arg;
        return 0;
    case KEY_CANDLES:
        a->candles = arg;
        return 0;
    case KEY_TOPIC:
        a->has_topics = true;
        return 0;
    case KEY_PREFIX:
        a->prefix = arg;
        return 0;
    case KEY_BOOTSTRAP:
        a->bootstrap = arg;
        return 0;
    case KEY_CONFIG:
        a->config = arg;
        return 0;
    case KEY_DESCRIBE:
        a->is_describe = true;
        return 0;
    case KEY_JSON:
        a->is_json = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_how(int key, const char *arg, const struct argp_state *state,
                         struct rep_args *a)
{
    switch (key) {
    case KEY_BAR:
        a->bar_us = (int64_t)whole(state, "--bar-seconds", arg, 60, 86400) * US_PER_S;
        if (a->bar_us % (60 * US_PER_S) != 0)
            refuse(state, "--bar-seconds '%s': not a multiple of 60", arg);
        return 0;
    case KEY_SPEED:
        parse_speed(state, a, arg);
        return 0;
    case KEY_RATE:
        a->rate = number(state, "--rate", arg, 1e-3, 1e9);
        return 0;
    case KEY_LOOP:
        a->loop_us = hours_us(state, "--loop-hours", arg);
        return 0;
    case KEY_RECORDS:
        a->records = whole(state, "--records", arg, 1, UINT64_C(1) << 40);
        return 0;
    case KEY_SYMBOLS:
        a->symbols = (uint32_t)whole(state, "--symbols", arg, 1, REP_SYMBOLS_MAX);
        return 0;
    case KEY_STAGGER:
        a->stagger_us = (int64_t)(number(state, "--stagger-seconds", arg, 0, 86400) * US_PER_S);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void drift(const struct argp_state *state, const char *text, struct rep_args *a)
{
    struct rep_feed_drift d;
    struct err err;

    if (rep_feed_parse_drift(text, REP_SYNTH_THIN_MAX, &d, &err) != ERR_OK)
        refuse(state, "--drift %s", err.text);
    a->drift_thin = d.thin;
    a->drift_from_us = d.from_us;
    a->drift_until_us = d.from_us + d.span_us;
}

static error_t parse_faults(int key, const char *arg, const struct argp_state *state,
                            struct rep_args *a)
{
    struct err err;

    switch (key) {
    case KEY_CADENCE:
        if (rep_feed_parse_cadence(arg, &a->feed, &err) != ERR_OK)
            refuse(state, "--cadence %s", err.text);
        return 0;
    case KEY_SILENCE:
        a->silence_s = (int64_t)whole(state, "--silence", arg, 0, 86400);
        return 0;
    case KEY_STALL:
        if (rep_feed_parse_stalls(arg, &a->feed, &err) != ERR_OK)
            refuse(state, "--stall %s", err.text);
        return 0;
    case KEY_DRIFT:
        drift(state, arg, a);
        return 0;
    case KEY_RESTART:
        if (rep_feed_parse_restart(arg, &a->feed, &err) != ERR_OK)
            refuse(state, "--restart %s", err.text);
        return 0;
    case KEY_INVALID:
        if (rep_invalid_parse(arg, &a->invalid, &err) != ERR_OK)
            refuse(state, "--invalid %s", err.text);
        return 0;
    case KEY_INVALID_EVERY:
        a->invalid.every = whole(state, "--invalid-every", arg, 1, UINT64_C(1) << 40);
        return 0;
    case KEY_INVALID_BURST:
        a->invalid.burst = whole(state, "--invalid-burst", arg, 1, UINT64_C(1) << 40);
        return 0;
    case KEY_LIST_INVALID:
        rep_invalid_list(stdout);
        exit(fflush(stdout) == 0 ? REP_OK : REP_IO);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* A file holds values alone: kinds whose fault is elsewhere are left out where a group named them.
 */
static void check_invalid(const struct argp_state *state, struct rep_args *a)
{
    struct rep_invalid_plan *const plan = &a->invalid;
    unsigned n = 0;

    if (plan->kinds_n == 0 && (plan->every != 0 || plan->burst != 0))
        refuse(state, "--invalid-every and --invalid-burst need --invalid");
    plan->every = plan->every == 0 ? 1 : plan->every;
    plan->burst = plan->burst == 0 ? 1 : plan->burst;
    if (plan->kinds_n == 0 || a->output == NULL)
        return;
    for (unsigned i = 0; i < plan->kinds_n; i++) {
        if (rep_invalid_infos[plan->kinds[i]].is_value)
            plan->kinds[n++] = plan->kinds[i];
    }
    if (n == 0)
        refuse(state, "--invalid: a file can hold none of these kinds: --list-invalid, or --topic");
    plan->kinds_n = n;
}

static void check_recordings(const struct argp_state *state, const struct rep_args *a)
{
    if (a->recordings_n == 0)
        refuse(state, "no --input: give a recording and its --symbol, or --source synthetic");
    for (unsigned i = 0; i < a->recordings_n; i++) {
        const struct rep_recording *const r = &a->recordings[i];
        if (r->symbol == NULL)
            refuse(state, "--input %s: whose is it? give its --symbol", r->paths[0]);
        if (r->paths_n == 0)
            refuse(state, "--symbol %s: no --input for it", r->symbol);
        for (unsigned k = 0; k < i; k++) {
            if (strcmp(a->recordings[k].symbol, r->symbol) == 0)
                refuse(state, "--symbol %s stands twice: give all its files to one --input",
                       r->symbol);
        }
    }
    if (a->span_us != 0)
        refuse(state, "--hours is for --source synthetic; a recording has --loop-hours");
    if (a->feed.phases_n > 0 || a->feed.stalls_n > 0 || a->feed.restart != REP_FEED_STEADY ||
        a->drift_thin > 0)
        refuse(state, "--cadence, --stall, --drift and --restart are for --source synthetic");
    if (a->stagger_us != 0 && a->symbols == 0)
        refuse(state, "--stagger-seconds needs --symbols");
}

static void check_synthetic(const struct argp_state *state, const struct rep_args *a)
{
    for (unsigned i = 0; i < a->recordings_n; i++) {
        if (a->recordings[i].paths_n > 0)
            refuse(state, "--source synthetic reads no --input (%s)", a->recordings[i].paths[0]);
    }
    if (a->recordings_n > 0 && a->symbols > 0 && a->symbols != a->recordings_n)
        refuse(state, "--symbols %u and %u times --symbol: give one of them", a->symbols,
               a->recordings_n);
    if (a->thin_us != 0 || a->loop_us != 0 || a->stagger_us != 0)
        refuse(state, "--thin, --loop-hours and --stagger-seconds are for recordings");
    if (a->depth < 2)
        refuse(state, "--depth 1: a made-up book has at least 2 levels");
}

static void check(const struct argp_state *state, struct rep_args *a)
{
    check_invalid(state, a);
    if (a->source == REP_SYNTHETIC)
        check_synthetic(state, a);
    else
        check_recordings(state, a);
    if (a->output == NULL && a->candles == NULL && !a->has_topics && !a->is_describe)
        refuse(state, "nowhere to send it: give --output FILE.avro, --topic or --describe");
    if (a->has_topics && a->output != NULL)
        refuse(state, "--topic and --output: give one of them");
    if (a->is_describe && (a->has_topics || a->output != NULL || a->candles != NULL))
        refuse(state, "--describe sends nothing: give it without --output, --candles, --topic");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct rep_args *const a = state->input;

    if (key == ARGP_KEY_END) {
        check(state, a);
        return 0;
    }
    if (parse_what(key, arg, state, a) == 0 || parse_where(key, arg, a) == 0 ||
        parse_how(key, arg, state, a) == 0 || parse_faults(key, arg, state, a) == 0)
        return 0;
    return ARGP_ERR_UNKNOWN;
}

static void version(FILE *out, struct argp_state *state)
{
    (void)state;
    fprintf(out, "l2replay %s (%s)\n", L2FLOW_VERSION, bus_version());
}

void rep_args_parse(int argc, char **argv, struct rep_args *ret_args)
{
    static const struct argp argp = {
        .options = options, .parser = parse, .args_doc = "", .doc = doc};

    *ret_args = (struct rep_args){.depth = 20,
                                  .bar_us = INT64_C(900) * US_PER_S,
                                  .seed = 1,
                                  .rate_hz = 10,
                                  .silence_s = 1800,
                                  .start_us = START_DEFAULT_S * US_PER_S};
    argp_err_exit_status = REP_USAGE;
    argp_program_version_hook = version;
    if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, ret_args) != 0)
        exit(REP_USAGE);
    if (ret_args->exchange == NULL)
        ret_args->exchange = ret_args->source == REP_SYNTHETIC ? "synthetic" : "binance";
}

void rep_args_free(struct rep_args *args)
{
    for (unsigned i = 0; i < args->recordings_n; i++)
        free(args->recordings[i].paths);
    args->recordings_n = 0;
}
