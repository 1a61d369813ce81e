#include "mon.h"

#include "clk/clk.h"
#include "l2/calibrate.h"
#include "mon_bars.h"
#include "mon_source.h"
#include "mon_table.h"
#include "quality/quality.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOURCES_MAX 256
#define DAYS_MIN 60 /* the shortest window for which the false alarms were measured */
#define PROGRESS_US (2 * CLK_US_PER_S)

const char *const mon_reference_words[] = {"l2.bars", "postgres", NULL};

struct reference_args {
    struct mon_wanted wanted;
    const char *sources[SOURCES_MAX];
    unsigned sources_n;
    const char *output, *name, *estimates, *config_file;
    int64_t days_min;
    bool is_quiet;
};

static const char doc[] =
    "Make l2_quality_reference.json from the bars that a model was trained on: of each crypto and "
    "feature the range, the bins of the drift (PSI), moments, share of nulls, and thresholds that "
    "an undrifted market passes at most once a month (warn) or in 6 % of months (P2). The quality "
    "monitor and the gateway read it; it is frozen with the model. The same bars give the same "
    "file.\v"
    "SOURCE is an Avro container file of L2Bar records (l2_bars.avro, as feature-producer "
    "--offline "
    "writes it), l2.bars (the topic) or postgres (the table l2_snapshots, by bar-archiver). "
    "Several "
    "are put together; a bar that is in two of them counts once.\n\n"
    "--estimates is a JSON file of out-of-fold figures: {\"BTCUSDT\": {\"f1_buy\": {\"value\": "
    "0.41, \"low\": 0.37, \"high\": 0.45}, \"agreement\": {...}, \"blind_f1_buy\": {...}}}.\n\n"
    "The configuration (--config; the environment goes first) says where Kafka (kafka.KEY, "
    "topic_prefix, schema_registry_url) and PostgreSQL (pg_host, pg_user, pg_password_file, ...) "
    "are; files need none.\n\n"
    "Examples:\n"
    "  l2monitor reference l2_bars.avro\n"
    "  l2monitor reference postgres -c reader.conf --from 2026-01-01 --to 2026-07-01 -s BTCUSDT\n"
    "  L2_KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 l2monitor reference l2.bars --name model-7\n"
    "  l2monitor reference *.avro --estimates oof.json -o "
    "model/l2_quality_reference.json\n\n" MON_EXITS_HELP;

enum {
    KEY_NAME = 256,
    KEY_ESTIMATES,
    KEY_DAYS,
};

static const struct argp_option options[] = {
    {"output", 'o', "FILE", 0, "default: l2_quality_reference.json; whole, or as it was before", 1},
    {"name", KEY_NAME, "VERSION", 0, "of the file; default: a hash of its content", 1},
    {"estimates", KEY_ESTIMATES, "FILE", 0, "out-of-fold figures, see below", 1},
    {"quiet", 'q', NULL, 0, "neither table nor progress", 1},
    {"days-min", KEY_DAYS, "N", 0,
     "refuse a crypto with fewer days (60): thresholds from fewer alarm too often", 2},
    {"config", 'c', "FILE", 0, "key = value lines, see below", 3},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct reference_args *const a = state->input;

    switch (key) {
    case 'o':
        a->output = arg;
        return 0;
    case KEY_NAME:
        if (!quality_version_ok(arg))
            argp_error(state, "--name %s: not [A-Za-z0-9._:+-]{1,64}", arg);
        a->name = arg;
        return 0;
    case KEY_ESTIMATES:
        a->estimates = arg;
        return 0;
    case 'q':
        a->is_quiet = true;
        return 0;
    case KEY_DAYS:
        if (!mon_parse(arg, 1, L2_CALIBRATE_DAYS_MAX, &a->days_min))
            argp_error(state, "--days-min %s: not 1 to %d", arg, L2_CALIBRATE_DAYS_MAX);
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
        argp_error(state, "bars from where? FILE.avro, l2.bars or postgres");
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->wanted;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&mon_wanted_argp, 0, NULL, 2}, {.argp = NULL}};
const struct argp mon_reference_argp = {
    .options = options, .parser = parse, .args_doc = "SOURCE...", .doc = doc, .children = children};

/* ---- bars → references */

static int check_days(const struct reference_args *a, const struct mon_bars *bars)
{
    int code = MON_OK;

    for (size_t i = 0; i < bars->cryptos_n; i++) {
        const struct l2_training t = {bars->crypto[i].bars, bars->crypto[i].n,
                                      bars->choice.wanted.bar_s};
        const uint32_t days = l2_training_days(&t);
        if (days >= a->days_min)
            continue;
        fprintf(stderr,
                "l2monitor: %s: bars of %u days, %lld are wanted: give more history, name the "
                "others with --symbol, or lower --days-min (its drift will then alarm too often)\n",
                bars->crypto[i].symbol, days, (long long)a->days_min);
        code = MON_TOO_LITTLE;
    }
    return code;
}

static void progress(const struct reference_args *a, size_t i, const struct mon_bars *bars)
{
    static int64_t next_us;
    const int64_t now_us = clk_mono_us();

    if (next_us == 0)
        next_us = now_us + PROGRESS_US;
    if (a->is_quiet || now_us < next_us)
        return;
    next_us = now_us + PROGRESS_US;
    fprintf(stderr, "l2monitor: calibrating %s, %zu of %zu\n", bars->crypto[i].symbol, i + 1,
            bars->cryptos_n);
}

/* The cryptos' names, so that what is wrong with the estimates is told before the long work. */
static enum err_class name_cryptos(const struct mon_bars *bars, struct quality_file *file,
                                   struct err *err)
{
    file->bar_s = bars->choice.wanted.bar_s;
    memcpy(file->exchange, bars->choice.wanted.exchange, sizeof file->exchange);
    file->crypto = calloc(bars->cryptos_n, sizeof *file->crypto);
    if (file->crypto == NULL)
        return err_set(err, ERR_FATAL, "out of memory");
    file->cryptos_n = (uint32_t)bars->cryptos_n;
    for (size_t i = 0; i < bars->cryptos_n; i++) {
        memcpy(file->crypto[i].symbol, bars->crypto[i].symbol, sizeof file->crypto[i].symbol);
        memcpy(file->crypto[i].exchange, file->exchange, sizeof file->exchange);
    }
    return ERR_OK;
}

static double *new_scratch(const struct mon_bars *bars)
{
    size_t most = 1;

    for (size_t i = 0; i < bars->cryptos_n; i++) {
        const struct l2_training t = {bars->crypto[i].bars, bars->crypto[i].n,
                                      bars->choice.wanted.bar_s};
        const size_t n = l2_calibrate_scratch_n(&t);
        most = n > most ? n : most;
    }
    return malloc(most * sizeof(double));
}

static enum err_class calibrate(const struct reference_args *a, const struct mon_bars *bars,
                                struct quality_file *file, struct err *err)
{
    double *const scratch = new_scratch(bars);

    if (scratch == NULL)
        return err_set(err, ERR_FATAL, "out of memory");
    if (!a->is_quiet)
        mon_table_head(stdout);
    for (size_t i = 0; i < bars->cryptos_n; i++) {
        const struct l2_training t = {bars->crypto[i].bars, bars->crypto[i].n, file->bar_s};
        struct l2_psi_calibration detail[L2_COLUMNS][2];
        progress(a, i, bars);
        l2_calibrate(&t, scratch, &file->crypto[i], detail);
        if (!a->is_quiet)
            mon_table_crypto(stdout, &file->crypto[i], l2_training_days(&t), detail);
    }
    if (!a->is_quiet)
        mon_table_foot(stdout);
    free(scratch);
    return ERR_OK;
}

/* The window asked for; where none was, that of the bars. */
static void set_window(const struct mon_wanted *w, struct quality_file *file)
{
    file->from_us = w->from_us;
    file->to_us = w->to_us;
    for (uint32_t i = 0; i < file->cryptos_n; i++) {
        const struct l2_reference *const r = &file->crypto[i];
        if (w->from_us == INT64_MIN && (i == 0 || r->from_us < file->from_us))
            file->from_us = r->from_us;
        if (w->to_us == INT64_MAX && (i == 0 || r->to_us > file->to_us))
            file->to_us = r->to_us;
    }
}

static int make(const struct reference_args *a, const struct mon_bars *bars)
{
    struct quality_file file = {.cryptos_n = 0};
    struct err err = {0};

    enum err_class e = name_cryptos(bars, &file, &err);
    if (e == ERR_OK && a->estimates != NULL)
        e = quality_read_estimates(a->estimates, &file, &err);
    if (e == ERR_OK)
        e = calibrate(a, bars, &file, &err);
    if (e == ERR_OK)
        set_window(&bars->choice.wanted, &file);
    if (e == ERR_OK && a->name != NULL)
        quality_name(&file, a->name);
    else if (e == ERR_OK)
        e = quality_name_by_content(&file, &err);
    int code = e == ERR_OK ? MON_OK : mon_fail(&err);
    if (e == ERR_OK && quality_write(&file, a->output, &err) != ERR_OK)
        code = (mon_fail(&err), MON_IO);
    if (code == MON_OK && !a->is_quiet)
        printf("%s: %u cryptos of %s, version %s\n", a->output, file.cryptos_n, file.exchange,
               file.version);
    quality_free(&file);
    return code;
}

int mon_reference_main(int argc, char **argv)
{
    struct reference_args a = {.wanted = {.from_us = INT64_MIN, .to_us = INT64_MAX},
                               .output = "l2_quality_reference.json",
                               .days_min = DAYS_MIN};
    struct mon_bars bars;
    static const struct codec_record *const records[] = {&codec_l2_bar_record, NULL};
    const struct mon_taker taker = {.records = records, .take = mon_bars_take, .user = &bars};
    struct err err = {0};
    int code = MON_OK;

    if (argp_parse(&mon_reference_argp, argc, argv, 0, NULL, &a) != 0)
        return MON_USAGE;
    mon_bars_init(&bars, &a.wanted);
    for (unsigned i = 0; code == MON_OK && i < a.sources_n; i++) {
        const struct mon_source source = {
            .name = a.sources[i], .config_file = a.config_file, .is_quiet = a.is_quiet};
        code = mon_source_read(&source, &bars.choice.wanted, &taker);
    }
    if (code == MON_OK && bars.cryptos_n == 0) {
        fprintf(stderr, "l2monitor: no bars there that were asked for (%llu others)\n",
                (unsigned long long)bars.read_n);
        code = MON_TOO_LITTLE;
    }
    if (code == MON_OK && mon_bars_finish(&bars, &err) != ERR_OK)
        code = (mon_fail(&err), MON_DATA);
    if (code == MON_OK)
        code = check_days(&a, &bars);
    if (code == MON_OK)
        code = make(&a, &bars);
    mon_bars_free(&bars);
    return code != MON_OK ? code : mon_flush_stdout();
}
