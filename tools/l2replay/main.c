/* l2replay: recorded or made-up markets as l2.snapshots and l2.ohlcv. */
#include "rep_args.h"
#include "rep_fan.h"
#include "rep_grow.h"
#include "rep_loop.h"
#include "rep_run.h"
#include "rep_stop.h"
#include "rep_synth.h"

#include "connect/connect.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BOOTSTRAP_DEFAULT "127.0.0.1:9092"
#define HOUR_US INT64_C(3600000000)
#define NAME_BYTES 16

static const struct config_row config_rows[] = {
    {"topic_prefix", CONFIG_STRING, "", "0", "64", "stands before every topic's name"},
    CONNECT_KAFKA_ROWS,
    {"feed_partitioner", CONFIG_ENUM, "murmur2", "", "murmur2|crc32",
     "how a key's partition is chosen: murmur2 as Java clients, crc32 as librdkafka's default"},
    {"L2_PROFILE", CONFIG_ENUM, "development", "", "development|production",
     "production refuses a rehearsal clock"},
    {"L2_CLOCK", CONFIG_STRING, "", "0", "120", "the rehearsal clock"},
    {.name = NULL},
};

struct replay {
    struct rep_args args;
    struct config *config;
    struct connect_kafka kafka;
    const char *prefix;
    struct clk *clk; /* NULL: no pace by market time */
    struct rep_stream *streams[REP_STREAMS_MAX];
    unsigned streams_n;
    char (*made_names)[NAME_BYTES];
    const char **symbols;
    uint32_t symbols_n;
    struct rep_source source;
    struct rep_sink *sink;
    struct rep_tally tally;
};

/* One line; what came out of it is the exit code. */
static int fail(struct replay *r, const struct err *err, int code)
{
    rep_tally_wipe(&r->tally);
    fprintf(stderr, "l2replay: %s\n", err->text);
    return code;
}

/* A broken input: what has come of what was read before it? */
static int fail_input(struct replay *r, const struct err *err, int code)
{
    (void)fail(r, err, code);
    if (r->args.has_topics)
        fprintf(stderr,
                "l2replay: %" PRIu64 " snapshots and %" PRIu64
                " candles from before that were sent\n",
                r->tally.snapshots, r->tally.candles);
    else if (r->args.output != NULL || r->args.candles != NULL)
        fprintf(stderr, "l2replay: no file was made: %s is as it was\n",
                r->args.output != NULL ? r->args.output : r->args.candles);
    return code;
}

static enum err_class load_config(struct replay *r, struct err *err)
{
    enum err_class e = config_load(config_rows, r->args.config, &r->config, err);

    if (e == ERR_OK && r->args.has_topics)
        e = connect_kafka_load(r->config, r->args.bootstrap, BOOTSTRAP_DEFAULT, &r->kafka, err);
    if (e != ERR_OK)
        return e;
    if (r->args.has_topics && strcmp(config_string(r->config, "feed_partitioner"), "crc32") == 0)
        connect_kafka_add(&r->kafka, "partitioner", "consistent_random");
    r->prefix = r->args.prefix != NULL ? r->args.prefix : config_string(r->config, "topic_prefix");
    return ERR_OK;
}

/* L2_CLOCK paces topics unless --speed max; a speed of our own starts when the first record is
 * known. */
static enum err_class load_clock(struct replay *r, struct err *err)
{
    const char *const spec = config_string(r->config, "L2_CLOCK");

    if (spec[0] == '\0' || !r->args.has_topics)
        return ERR_OK;
    if (strcmp(config_string(r->config, "L2_PROFILE"), "production") == 0)
        return err_set(err, ERR_REJECT,
                       "L2_CLOCK = '%.120s': a rehearsal clock is refused with L2_PROFILE = "
                       "production: unset L2_CLOCK",
                       spec);
    if (r->args.has_speed && r->args.speed > 0)
        return err_set(err, ERR_REJECT,
                       "--speed %g and L2_CLOCK: the clock has a speed of its own: leave one out",
                       r->args.speed);
    return r->args.has_speed ? ERR_OK : clk_new(spec, &r->clk, err);
}

static void name_symbols(struct replay *r)
{
    const struct rep_args *const a = &r->args;
    const bool is_made = a->source == REP_SYNTHETIC ? a->recordings_n == 0 : a->symbols > 0;

    r->symbols_n = is_made ? (a->symbols > 0 ? a->symbols : 2) : a->recordings_n;
    r->symbols = rep_alloc(r->symbols_n, sizeof *r->symbols);
    r->made_names = rep_alloc(r->symbols_n, sizeof *r->made_names);
    for (uint32_t i = 0; i < r->symbols_n; i++) {
        snprintf(r->made_names[i], NAME_BYTES, "%s%03" PRIu32,
                 a->source == REP_SYNTHETIC ? "SYN" : "S", i);
        r->symbols[i] = is_made ? r->made_names[i] : a->recordings[i].symbol;
    }
}

static void open_synthetic(struct replay *r)
{
    const struct rep_args *const a = &r->args;

    r->source = rep_synth(&(struct rep_synth_options){
        .seed = a->seed,
        .symbols_n = r->symbols_n,
        .rate_hz = a->rate_hz,
        .silence_s = a->silence_s,
        .drift_thin = a->drift_thin,
        .drift_from_us = a->drift_from_us,
        .drift_until_us = a->drift_until_us,
        .depth = a->depth,
        .start_us = a->start_us,
        .span_us = a->span_us == 0 && a->records == 0 ? HOUR_US : a->span_us});
    if (a->feed.phases_n > 0 || a->feed.stalls_n > 0 || a->feed.restart != REP_FEED_STEADY)
        r->source = rep_feed(r->source, &a->feed, r->symbols_n);
}

/* Opens the recordings; reads them to their end when they are to be looped. */
static int open_recordings(struct replay *r)
{
    const struct rep_args *const a = &r->args;
    struct err err;

    for (unsigned i = 0; i < a->recordings_n; i++) {
        const struct rep_stream_options o = {.paths = a->recordings[i].paths,
                                             .paths_n = a->recordings[i].paths_n,
                                             .symbol = a->recordings[i].symbol,
                                             .index = i,
                                             .depth = a->depth,
                                             .thin_us = a->thin_us};
        if (rep_stream_open(&o, &r->streams[i], &err) != ERR_OK)
            return fail(r, &err, REP_NO_INPUT);
        r->streams_n++;
    }
    r->source = rep_merge(r->streams, r->streams_n);
    if (a->loop_us > 0 || a->records > 0) {
        struct rep_source looped;
        const enum err_class e = rep_loop(&r->source, a->loop_us, &looped, &err);
        if (e != ERR_OK)
            return fail_input(r, &err, e == ERR_REJECT ? REP_DATA : REP_INTERNAL);
        rep_source_free(&r->source);
        r->source = looped;
    }
    if (a->symbols > 0)
        r->source = rep_fan(r->source, r->streams_n, r->symbols_n, a->stagger_us);
    return REP_OK;
}

static int open_sink(struct replay *r)
{
    const struct rep_args *const a = &r->args;
    struct err err;
    const enum err_class e =
        rep_sink_open(&(struct rep_sink_options){.exchange = a->exchange,
                                                 .symbols = r->symbols,
                                                 .symbols_n = r->symbols_n,
                                                 .bar_seconds = (int32_t)(a->bar_us / 1000000),
                                                 .snapshots_path = a->output,
                                                 .candles_path = a->candles,
                                                 .has_topics = a->has_topics,
                                                 .has_invalid = a->invalid.kinds_n > 0,
                                                 .seed = a->seed,
                                                 .prefix = r->prefix,
                                                 .settings = r->kafka.v,
                                                 .settings_n = r->kafka.n},
                      &r->sink, &err);

    if (e == ERR_OK)
        return REP_OK;
    if (!a->has_topics)
        return fail(r, &err, REP_CANNOT_CREATE);
    return fail(r, &err,
                e == ERR_RETRY    ? REP_UNAVAILABLE
                : e == ERR_REJECT ? REP_CONFIG
                                  : REP_INTERNAL);
}

/* A broken sink: the broker, or the disk. */
static int sink_code(const struct replay *r, enum err_class e)
{
    if (!r->args.has_topics)
        return REP_IO;
    return e == ERR_FATAL ? REP_INTERNAL : REP_UNAVAILABLE;
}

static int tell(struct replay *r, const struct rep_run *run)
{
    const struct rep_tally_more more = {.streams = r->streams,
                                        .streams_n = r->streams_n,
                                        .late_trades = run->late_trades,
                                        .delivered = rep_sink_delivered(r->sink),
                                        .has_topics = r->args.has_topics,
                                        .is_interrupted = rep_stopping(),
                                        .is_over = run->pace.is_over};

    rep_tally_wipe(&r->tally);
    if (!r->args.is_describe && !r->args.is_json)
        rep_tally_text(&r->tally, &more, stdout);
    else if (!rep_tally_json(&r->tally, &more, stdout))
        return REP_INTERNAL;
    if (fflush(stdout) != 0)
        return REP_IO;
    return more.is_interrupted ? REP_INTERRUPTED : REP_OK;
}

static int play(struct replay *r)
{
    const struct rep_args *const a = &r->args;
    struct err err;
    struct rep_run run = {.source = &r->source,
                          .sink = r->sink,
                          .tally = &r->tally,
                          .snapshots_max = a->records,
                          .invalid = &a->invalid,
                          .bar_us = a->bar_us,
                          .symbols_n = r->symbols_n};

    rep_tally_init(&r->tally, r->symbols, r->symbols_n);
    r->tally.is_quiet = a->is_json || a->is_describe;
    rep_pace_init(&run.pace, r->clk, a->speed, a->rate);
    enum err_class e = rep_run(&run, &err);
    rep_pace_free(&run.pace);
    if (e != ERR_OK) {
        if (a->has_topics && run.is_source_at_fault) {
            struct err ignored; /* what was sent is whole: let it arrive */
            (void)!rep_sink_finish(r->sink, &ignored);
        }
        if (!run.is_source_at_fault)
            return fail(r, &err, sink_code(r, e));
        return fail_input(r, &err, e == ERR_REJECT ? REP_DATA : REP_INTERNAL);
    }
    if (!rep_stopping() || a->has_topics) { /* an interrupted file stays absent */
        e = rep_sink_finish(r->sink, &err);
        if (e != ERR_OK)
            return fail(r, &err, sink_code(r, e));
    }
    return tell(r, &run);
}

static void replay_free(struct replay *r)
{
    rep_sink_close(r->sink);
    rep_source_free(&r->source);
    for (unsigned i = 0; i < r->streams_n; i++)
        rep_stream_close(r->streams[i]);
    rep_tally_free(&r->tally);
    free(r->made_names);
    free(r->symbols);
    clk_free(r->clk);
    config_free(r->config);
    rep_args_free(&r->args);
    free(r);
}

static int replay(struct replay *r)
{
    struct err err;

    if (load_config(r, &err) != ERR_OK || load_clock(r, &err) != ERR_OK)
        return fail(r, &err, REP_CONFIG);
    name_symbols(r);
    if (r->args.source == REP_SYNTHETIC) {
        open_synthetic(r);
    } else {
        const int code = open_recordings(r);
        if (code != REP_OK)
            return code;
    }
    const int code = open_sink(r);
    return code != REP_OK ? code : play(r);
}

int main(int argc, char **argv)
{
    struct replay *const r = rep_alloc(1, sizeof *r);

    rep_args_parse(argc, argv, &r->args);
    rep_stop_catch();
    const int code = replay(r);
    replay_free(r);
    return code;
}
