#include "ctl.h"

#include "codec/container.h"
#include "ctl_decode.h"
#include "ctl_view.h"
#include "topics/topics.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POLL_MS 200 /* how long Ctrl-C may take */

const char *const ctl_tail_words[] = {
    "l2.snapshots", "l2.ohlcv",   "l2.bars",   "l2.features", "l2.heartbeat", "l2.predictions",
    "l2.outcomes",  "l2.quality", "l2.alerts", "l2.rollout",  "l2.dlq",       NULL};
static_assert(sizeof ctl_tail_words / sizeof ctl_tail_words[0] == TOPICS_N + 1,
              "every topic can be completed");

struct tail_args {
    const char *source;
    enum ctl_format format;
    const char *symbol; /* NULL: all */
    const char *from_text;
    int64_t from;
    int64_t partition; /* -1: all */
    int64_t limit;     /* INT64_MAX: none */
    bool is_following;
    struct ctl_cluster_options cluster;
};

static const char doc[] =
    "Show the records of a topic (l2.bars, or bars for short) or of an Avro object container file "
    "(a name with a '/' or that "
    "ends in .avro; '-' is stdin). Records are told by their schema's fingerprint or, with "
    "schema_registry_url in the configuration (L2_SCHEMA_REGISTRY_URL), by its id in that "
    "registry; other versions of a schema are read as ours. What cannot be decoded is shown as "
    "such. "
    "Reading needs no consumer group and sees committed records only.\v"
    "table shows the columns that people look for. json has every field, one object a line: times "
    "as microseconds, bytes as hex, "
    "_record and _kafka beside the record's own fields. csv is flat: a.b for nested fields, a "
    "book's side in one cell "
    "(price:quantity price:quantity).\n\n"
    "Examples:\n"
    "  l2ctl tail l2.features                   all that is there, then end\n"
    "  l2ctl tail l2.features -f --symbol BTCUSDT  what comes from now on\n"
    "  l2ctl tail l2.bars --from start -f -o json | jq .coverage\n"
    "  l2ctl tail l2.dlq                        dead letters: reason, origin, bytes\n"
    "  l2ctl tail l2.snapshots --partition 3 --from 120000 --limit 5\n"
    "  L2_SCHEMA_REGISTRY_URL=http://127.0.0.1:8081 l2ctl tail l2.bars\n"
    "  l2ctl tail l2_bars.avro -o csv > bars.csv\n\n" CTL_EXITS_HELP
    " Ctrl-C is the end of --follow: 0.";

enum { KEY_FROM = 256, KEY_PARTITION };

static const struct argp_option options[] = {
    {"output", 'o', "FORMAT", 0, "table (default), json or csv", 1},
    {"symbol", 's', "S", 0, "only this symbol", 1},
    {"from", KEY_FROM, "start|end|OFFSET", 0,
     "where to begin, in each partition (in a file: the record's number); default start, with "
     "--follow end",
     1},
    {"partition", KEY_PARTITION, "N", 0, "only this partition", 1},
    {"follow", 'f', NULL, 0, "go on with records as they come, until Ctrl-C", 1},
    {"limit", 'n', "N", 0, "end after N records shown", 1},
    {0},
};

static const struct argp_child children[] = {{&ctl_cluster_argp, 0, "The cluster:", 2}, {0}};

static enum ctl_format format_of(struct argp_state *state, const char *arg)
{
    if (strcmp(arg, "json") == 0)
        return CTL_JSON;
    if (strcmp(arg, "csv") == 0)
        return CTL_CSV;
    if (strcmp(arg, "table") != 0)
        argp_error(state, "-o %s: table, json or csv", arg);
    return CTL_TABLE;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct tail_args *const a = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->cluster;
        return 0;
    case 'o':
        a->format = format_of(state, arg);
        return 0;
    case 's':
        a->symbol = arg;
        return 0;
    case KEY_FROM:
        a->from_text = arg;
        if (strcmp(arg, "start") != 0 && strcmp(arg, "end") != 0 &&
            !ctl_parse(arg, 0, INT64_MAX, &a->from))
            argp_error(state, "--from %s: start, end or an offset", arg);
        return 0;
    case KEY_PARTITION:
        if (!ctl_parse(arg, 0, BUS_PARTITIONS_MAX - 1, &a->partition))
            argp_error(state, "--partition %s: not 0 to %d", arg, BUS_PARTITIONS_MAX - 1);
        return 0;
    case 'f':
        a->is_following = true;
        return 0;
    case 'n':
        if (!ctl_parse(arg, 1, INT64_MAX, &a->limit))
            argp_error(state, "--limit %s: not a number from 1 on", arg);
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            return ARGP_ERR_UNKNOWN;
        a->source = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which topic or file?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp ctl_tail_argp = {.options = options,
                                   .parser = parse,
                                   .args_doc = "TOPIC|FILE.avro",
                                   .doc = doc,
                                   .children = children};

/* ---- what both sources share */

static volatile sig_atomic_t is_interrupted;

static void interrupt(int signal_number)
{
    (void)signal_number;
    is_interrupted = 1;
}

static void watch_signals(void)
{
    struct sigaction action = {.sa_handler = interrupt,
                               .sa_flags = (int)SA_RESETHAND}; /* a second Ctrl-C ends at once */

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action = (struct sigaction){.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &action, NULL); /* `| head` shows as EPIPE instead */
}

struct tail {
    const struct tail_args *args;
    struct ctl_view view;
    struct ctl_decoder decoder;
    int64_t shown_n;
    int failed; /* errno of the output, 0: none */
};

/* True when the record's own symbol (else, for what cannot be decoded, its key) is the one asked
 * for. */
static bool is_wanted(const struct tail *t, const struct ctl_item *item)
{
    const char *const symbol = t->args->symbol;

    if (symbol == NULL)
        return true;
    for (uint32_t i = 0; item->record != NULL && i < item->record->fields_n; i++) {
        const struct codec_field *const f = &item->record->fields[i];
        if (strcmp(f->name, "symbol") != 0 || f->kind != CODEC_KIND_STRING)
            continue;
        const struct codec_str *const s = ctl_at(f, item->value);
        if (codec_str_equal(*s, codec_str(symbol)))
            return true;
    }
    const struct bus_reader_record *const m = item->message;
    return m != NULL && m->key != NULL && m->key_n == strlen(symbol) &&
           memcmp(m->key, symbol, m->key_n) == 0;
}

/* False: no more is wanted, by limit, signal or a closed pipe. */
static bool show(struct tail *t, const struct ctl_item *item)
{
    if (is_wanted(t, item)) {
        errno = 0;
        ctl_view_put(&t->view, item);
        t->shown_n++;
        if (ferror(stdout))
            t->failed = errno != 0 ? errno : EIO;
    }
    return t->failed == 0 && t->shown_n < t->args->limit && !is_interrupted;
}

static void flush(struct tail *t)
{
    errno = 0;
    if (t->failed == 0 && fflush(stdout) != 0)
        t->failed = errno;
}

static int exit_code(struct tail *t)
{
    flush(t);
    if (t->failed == EPIPE)
        return CTL_OK; /* whoever read had enough */
    if (t->failed != 0) {
        fprintf(stderr, "l2ctl: standard output: %s\n", strerror(t->failed));
        return CTL_IO;
    }
    return is_interrupted && !t->args->is_following ? CTL_INTERRUPTED : CTL_OK;
}

/* ---- a topic */

/* What a registry's ids are read as: the topic's record, or that of a dead letter's origin. */
static const struct codec_record *expected_of(const struct bus_reader_record *message,
                                              const char *prefix, enum topics_id id)
{
    const struct bus_header *const origin =
        id == TOPICS_DLQ ? ctl_header(message, TOPICS_DLQ_TOPIC) : NULL;
    char name[TOPICS_NAME_BYTES_MAX + 1];

    if (origin != NULL) {
        snprintf(name, sizeof name, "%.*s", (int)origin->value_n, (const char *)origin->value);
        if (!topics_find(name, prefix, &id))
            return NULL;
    }
    const char *const record = topics_record(id);
    return record != NULL ? codec_record_by_name(record) : NULL;
}

/* Where a record lay, before what went wrong with it. */
static enum err_class at_record(const struct ctl_item *item, struct err *err)
{
    const struct err what = *err;

    return err_set(err, what.class, "%s, partition %d, offset %lld: %s", item->topic,
                   (int)item->message->partition, (long long)item->message->offset, what.text);
}

static int read_topic(struct tail *t, struct bus_reader *reader, const char *topic,
                      const char *prefix, enum topics_id id)
{
    const struct bus_reader_record *m;
    bool is_end = false, is_going = true;
    struct err err = {0};

    while (is_going && !is_interrupted && !is_end) {
        if (bus_reader_next(reader, POLL_MS, &m, &is_end, &err) != ERR_OK) {
            flush(t);
            return ctl_fail(&err);
        }
        if (m == NULL) {
            flush(t); /* nothing waits to be shown while we wait */
            is_going = t->failed == 0;
            continue;
        }
        bus_reader_headers(reader);
        struct ctl_item item = {
            .message = m, .topic = topic, .bytes = m->value, .bytes_n = m->value_n};
        if (ctl_decode(&t->decoder, expected_of(m, prefix, id), &item, &err) != ERR_OK) {
            if (is_interrupted)
                break;
            flush(t);
            (void)at_record(&item, &err);
            return ctl_fail(&err);
        }
        is_going = show(t, &item);
    }
    return exit_code(t);
}

static int tail_topic(struct tail *t, const struct ctl_cluster *cluster, enum topics_id id)
{
    const struct tail_args *const a = t->args;
    const bool is_from_end =
        a->from_text != NULL ? strcmp(a->from_text, "end") == 0 : a->is_following;
    const int64_t from = is_from_end ? BUS_FROM_END : a->from >= 0 ? a->from : BUS_FROM_START;
    char topic[TOPICS_NAME_BYTES_MAX + 1];
    struct bus_reader *reader = NULL;
    struct err err = {0};

    snprintf(topic, sizeof topic, "%s%s", cluster->prefix, topics_name(id));
    t->view.is_dlq = id == TOPICS_DLQ;
    if (ctl_decoder_open(cluster->config, &is_interrupted, &t->decoder, &err) != ERR_OK ||
        bus_reader_new(cluster->kafka.v, cluster->kafka.n, topic, (int32_t)a->partition, from,
                       !a->is_following, &reader, &err) != ERR_OK)
        return ctl_fail(&err);
    const int code = read_topic(t, reader, topic, cluster->prefix, id);
    bus_reader_free(reader);
    return code;
}

static int unknown_topic(const char *name)
{
    fprintf(stderr,
            "l2ctl: %s: no such topic (a file's name has a '/' or ends in .avro). Topics:", name);
    for (unsigned i = 0; i < TOPICS_N; i++)
        fprintf(stderr, " %s", topics_name((enum topics_id)i));
    fprintf(stderr, "\n");
    return CTL_USAGE;
}

static int tail_cluster(struct tail *t)
{
    struct ctl_cluster cluster;
    enum topics_id id;
    struct err err = {0};

    if (ctl_cluster_open(&t->args->cluster, &cluster, &err) != ERR_OK)
        return ctl_fail(&err);
    const int code = topics_find(t->args->source, cluster.prefix, &id)
                         ? tail_topic(t, &cluster, id)
                         : unknown_topic(t->args->source);
    ctl_cluster_close(&cluster);
    return code;
}

/* ---- a file */

static bool is_file(const char *source)
{
    static const char ending[] = ".avro";
    const size_t n = strlen(source), ending_n = sizeof ending - 1;

    return strcmp(source, "-") == 0 || strchr(source, '/') != NULL ||
           (n > ending_n && strcmp(source + n - ending_n, ending) == 0);
}

static int read_file(struct tail *t, struct codec_file_reader *reader)
{
    const struct codec_record *const record = codec_file_record(reader);
    const int64_t from = t->args->from > 0 ? t->args->from : 0;
    bool is_going = true;
    struct err err = {0};

    for (int64_t number = 0; is_going; number++) {
        bool is_got = false;
        if (codec_file_next_record(reader, t->decoder.value, &is_got, &err) != ERR_OK) {
            flush(t);
            (void)ctl_fail(&err);
            return CTL_DATA;
        }
        if (!is_got)
            break;
        if (number < from)
            continue;
        const struct ctl_item item = {
            .number = (uint64_t)number, .record = record, .value = t->decoder.value};
        is_going = show(t, &item);
    }
    return exit_code(t);
}

static int tail_file(struct tail *t)
{
    const struct tail_args *const a = t->args;
    const bool is_stdin = strcmp(a->source, "-") == 0;
    struct codec_file_reader *reader = NULL;
    struct err err = {0};

    if (a->is_following || a->partition >= 0 ||
        (a->from_text != NULL && strcmp(a->from_text, "end") == 0)) {
        fprintf(stderr, "l2ctl: %s: a file has no --follow, --partition or --from end\n",
                a->source);
        return CTL_USAGE;
    }
    if (ctl_decoder_open(NULL, &is_interrupted, &t->decoder, &err) != ERR_OK)
        return ctl_fail(&err);
    FILE *const stream = is_stdin ? stdin : fopen(a->source, "rb");
    if (stream == NULL) {
        fprintf(stderr, "l2ctl: %s: %s\n", a->source, strerror(errno));
        return CTL_NO_INPUT;
    }
    if (codec_file_open_stream(stream, is_stdin ? "stdin" : a->source, NULL, &reader, &err) !=
        ERR_OK) {
        (void)ctl_fail(&err);
        return CTL_DATA;
    }
    const int code = read_file(t, reader);
    codec_file_close(reader);
    return code;
}

int ctl_tail_main(int argc, char **argv)
{
    struct tail_args args = {.from = -1, .partition = -1, .limit = INT64_MAX};

    if (argp_parse(&ctl_tail_argp, argc, argv, 0, NULL, &args) != 0)
        return CTL_USAGE;
    watch_signals();
    struct tail t = {.args = &args, .view = {.format = args.format, .out = stdout, .errs = stderr}};
    const int code = is_file(args.source) ? tail_file(&t) : tail_cluster(&t);
    ctl_decoder_close(&t.decoder);
    return code;
}
