/* The researcher's way: the same core over an Avro file, no server. */
#include "fp_service.h"

#include "clk/clk.h"
#include "codec/container.h"
#include "log/log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define STOP_EVERY_RECORDS 4096
#define EXIT_INTERRUPTED 130
#define CLOSES_MAX (16 * 1024 * 1024)

/* A recorded clock close: the bar closes right after the snapshot that its `resume` names. */
struct close {
    char symbol[L2_SYMBOL_BYTES_MAX];
    uint32_t symbol_n;
    struct l2_resume resume;
    int64_t bar_time_us;
    bool is_obeyed;
};

struct offline {
    struct svc *svc;
    struct fp_wire wire;
    struct fp_core *core;
    struct codec_file_reader *in;
    struct codec_file_writer *bars, *features, *dlq;
    struct close *closes;
    size_t closes_n;
    const char *in_name;
    struct codec_l2_snapshot decoded;
    struct l2_snapshot snapshot;
    struct fp_update update;
    char exchange[L2_SYMBOL_BYTES_MAX + 1];
    uint64_t records, bars_n, features_n, dead_n;
};

/* By symbol, then in the order in which one stream lives through them. */
static int compare_closes(const void *a, const void *b)
{
    const struct close *x = a, *y = b;
    const uint32_t n = x->symbol_n < y->symbol_n ? x->symbol_n : y->symbol_n;
    const int name = memcmp(x->symbol, y->symbol, n);

    if (name != 0)
        return name;
    if (x->symbol_n != y->symbol_n)
        return x->symbol_n < y->symbol_n ? -1 : 1;
    if (x->resume.epoch != y->resume.epoch)
        return x->resume.epoch < y->resume.epoch ? -1 : 1;
    if (x->resume.sequence != y->resume.sequence)
        return x->resume.sequence < y->resume.sequence ? -1 : 1;
    return (x->bar_time_us > y->bar_time_us) - (x->bar_time_us < y->bar_time_us);
}

static enum err_class add_close(struct offline *o, size_t *cap, const struct codec_l2_bar *bar,
                                struct err *err)
{
    if (bar->closed_by != CODEC_CLOSED_BY_CLOCK ||
        bar->bar_seconds != (int32_t)o->wire.params->l2.bar_s ||
        !codec_str_equal(bar->schema_version, codec_str(o->wire.schema_version)))
        return ERR_OK;
    if (o->closes_n == *cap) {
        const size_t more = *cap == 0 ? 1024 : *cap * 2;
        struct close *grown = more > CLOSES_MAX ? NULL : realloc(o->closes, more * sizeof *grown);
        if (grown == NULL)
            return err_set(err, ERR_REJECT, "--closes: more than %zu clock closes", *cap);
        o->closes = grown;
        *cap = more;
    }
    struct close *c = &o->closes[o->closes_n++];
    memcpy(c->symbol, bar->symbol.data, bar->symbol.n);
    c->symbol_n = bar->symbol.n;
    c->resume = (struct l2_resume){bar->resume.epoch, bar->resume.sequence,
                                   bar->resume.last_event_time_us, 0};
    c->bar_time_us = bar->bar_time_us;
    c->is_obeyed = false;
    return ERR_OK;
}

static enum err_class load_closes(struct offline *o, const char *path, struct err *err)
{
    struct codec_file_reader *r = NULL;
    struct codec_l2_bar bar;
    size_t cap = 0;
    bool got = true;
    enum err_class e = codec_file_open(path, &codec_l2_bar_record, &r, err);

    while (e == ERR_OK && got) {
        e = codec_file_next_record(r, &bar, &got, err);
        if (e == ERR_OK && got)
            e = add_close(o, &cap, &bar, err);
    }
    codec_file_close(r);
    if (o->closes_n > 0)
        qsort(o->closes, o->closes_n, sizeof *o->closes, compare_closes);
    return e;
}

static enum err_class put_dead(struct offline *o, const struct fp_action *a, const uint8_t *body,
                               size_t n, struct err *err)
{
    const struct codec_dead_letter dead = {
        .reason = codec_str(l2_reject_names[a->reject]),
        .topic = codec_str(o->in_name),
        .partition = a->partition,
        .offset = a->source_offset,
        .symbol = o->decoded.symbol,
        .value = {body, (uint32_t)n},
    };

    o->dead_n++;
    return codec_file_put(o->dlq, &dead, err);
}

static enum err_class apply(struct offline *o, const struct fp_action *a, const uint8_t *body,
                            size_t n, struct err *err)
{
    switch (a->kind) {
    case FP_EMIT_BAR: {
        const struct codec_l2_bar bar = fp_wire_bar(&o->wire, a);
        o->bars_n++;
        return codec_file_put(o->bars, &bar, err);
    }
    case FP_EMIT_FEATURE: {
        /* nobody waits: the decision time stands for the time of production, so that equal input
         * gives equal files */
        const int64_t t_us = a->bar_time_us + o->wire.params->l2.bar_s * L2_US_PER_S;
        const struct codec_l2_feature feature = fp_wire_feature(&o->wire, a, t_us);
        o->features_n++;
        return codec_file_put(o->features, &feature, err);
    }
    case FP_DEAD_LETTER:
        return put_dead(o, a, body, n, err);
    case FP_RETIRED: {
        char symbol[L2_SYMBOL_BYTES_MAX + 1];
        (void)snprintf(symbol, sizeof symbol, "%.*s", (int)a->symbol.n, a->symbol.data);
        log_event(LOG_WARN, "symbol_retired", "symbol", LOG_STR, symbol, NULL);
        return ERR_OK;
    }
    case FP_ADOPTED: {
        char symbol[L2_SYMBOL_BYTES_MAX + 1];
        (void)snprintf(symbol, sizeof symbol, "%.*s", (int)a->symbol.n, a->symbol.data);
        log_event(LOG_WARN, "stream_adopted", "symbol", LOG_STR, symbol, "event_time_us", LOG_INT,
                  a->last_event_us, "no_bars_until_us", LOG_INT, a->no_bars_until_us, NULL);
        return ERR_OK;
    }
    case FP_HEARTBEAT:
    case FP_ASK_END:
    case FP_NO_PLACE:
        break;
    }
    assert(false && "an offline core neither beats nor asks, nor restores");
    return ERR_OK;
}

static enum err_class step(struct offline *o, const struct fp_event *event, const uint8_t *body,
                           size_t n, struct err *err)
{
    struct fp_update *u = &o->update;
    enum err_class e = ERR_OK;

    for (fp_core_step(o->core, event, u);; fp_core_continue(o->core, u)) {
        for (unsigned i = 0; e == ERR_OK && i < u->n; i++)
            e = apply(o, &u->actions[i], body, n, err);
        if (!u->more)
            return e;
    }
}

static enum err_class close_as_recorded(struct offline *o, const struct fp_event *event,
                                        struct err *err)
{
    struct close key = {.symbol_n = event->symbol.n, .bar_time_us = INT64_MIN};
    int64_t bar_time_us;
    enum err_class e = ERR_OK;

    if (o->closes_n == 0 || event->symbol.n > L2_SYMBOL_BYTES_MAX ||
        !fp_core_stand(o->core, 0, event->symbol, &key.resume, &bar_time_us))
        return ERR_OK;
    memcpy(key.symbol, event->symbol.data, event->symbol.n);
    size_t low = 0, high = o->closes_n; /* the first close at or past the key */
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (compare_closes(&o->closes[middle], &key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; e == ERR_OK && low < o->closes_n; low++) {
        struct close *c = &o->closes[low];
        struct fp_event close = {
            .kind = FP_CLOSE, .offset = event->offset + 1, .symbol = event->symbol};
        if (c->symbol_n != key.symbol_n || memcmp(c->symbol, key.symbol, key.symbol_n) != 0 ||
            c->resume.epoch != key.resume.epoch || c->resume.sequence != key.resume.sequence)
            break;
        if (c->resume.last_event_us != key.resume.last_event_us || c->bar_time_us < bar_time_us)
            continue;
        close.bar_time_us = c->bar_time_us;
        c->is_obeyed = true;
        e = step(o, &close, NULL, 0, err);
    }
    return e;
}

/*
 * Closes that no snapshot of the input called for: of another input, of a part that was cut off, or
 * of bars that snapshots closed first. The outputs are then not those of the run that recorded
 * them.
 */
static size_t tell_unmatched(const struct offline *o)
{
    char symbol[L2_SYMBOL_BYTES_MAX + 1], time[CLK_TEXT_BYTES];
    const struct close *first = NULL;
    size_t n = 0;

    for (size_t i = 0; i < o->closes_n; i++) {
        if (o->closes[i].is_obeyed)
            continue;
        first = first == NULL ? &o->closes[i] : first;
        n++;
    }
    if (first == NULL)
        return 0;
    (void)snprintf(symbol, sizeof symbol, "%.*s", (int)first->symbol_n, first->symbol);
    log_event(LOG_WARN, "closes_unmatched", "closes", LOG_INT, (int64_t)o->closes_n, "unmatched",
              LOG_INT, (int64_t)n, "symbol", LOG_STR, symbol, "bar_time", LOG_STR,
              clk_text(first->bar_time_us, time, sizeof time), NULL);
    return n;
}

static enum err_class fold(struct offline *o, struct err *err)
{
    for (int64_t offset = 0;; offset++) {
        const uint8_t *body;
        size_t n;
        if (codec_file_next(o->in, &body, &n, err) != ERR_OK)
            return err->class;
        if (body == NULL)
            return ERR_OK;
        if (fp_wire_snapshot(&o->wire, body, n) != CODEC_OK)
            return err_set(err, ERR_REJECT, "%s: record %lld does not decode", o->in_name,
                           (long long)offset);
        const struct fp_event event = {
            .kind = FP_SNAPSHOT,
            .now_us = o->snapshot.received_time_us,
            .offset = offset,
            .kafka_time_us = o->snapshot.received_time_us,
            .exchange = {o->decoded.exchange.data, o->decoded.exchange.n},
            .symbol = {o->decoded.symbol.data, o->decoded.symbol.n},
            .snapshot = &o->snapshot,
        };
        if (o->exchange[0] == '\0' && l2_symbol_ok(event.exchange.data, event.exchange.n))
            memcpy(o->exchange, event.exchange.data, event.exchange.n);
        if (++o->records % STOP_EVERY_RECORDS == 0 && svc_stopping(o->svc)) {
            svc_exit_code(o->svc, EXIT_INTERRUPTED);
            return err_set(err, ERR_RETRY,
                           "%s: stopped by a signal at record %lld: nothing was written",
                           o->in_name, (long long)offset);
        }
        if (step(o, &event, body, n, err) != ERR_OK || close_as_recorded(o, &event, err) != ERR_OK)
            return err->class;
    }
}

static enum err_class create(const char *dir, const char *name, const struct codec_record *record,
                             struct codec_file_writer **ret, struct err *err)
{
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/%s", dir, name);

    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(err, ERR_REJECT, "--out-dir: the path is longer than %zu bytes",
                       sizeof path);
    return codec_file_create(path, record, CODEC_FILE_DEFLATE, ret, err);
}

/* A file that is not there, cannot be read or is no file: 66, as other programs say it. */
static enum err_class check_input(struct svc *svc, const char *option, const char *path,
                                  struct err *err)
{
    struct stat st;
    int code = 0;

    if (stat(path, &st) != 0 || access(path, R_OK) != 0)
        code = errno;
    else if (S_ISDIR(st.st_mode))
        code = EISDIR;
    if (code == 0)
        return ERR_OK;
    svc_exit_code(svc, EX_NOINPUT);
    return err_set(err, ERR_REJECT, "%s: %.300s: %s: name an Avro object container file", option,
                   path, strerror(code));
}

static enum err_class check_out_dir(struct svc *svc, const char *dir, struct err *err)
{
    struct stat st;

    if (mkdir(dir, 0777) == 0)
        return ERR_OK;
    int code = errno;
    if (code == EEXIST && stat(dir, &st) == 0)
        code = !S_ISDIR(st.st_mode) ? ENOTDIR : access(dir, W_OK | X_OK) == 0 ? 0 : errno;
    if (code == 0)
        return ERR_OK;
    svc_exit_code(svc, EX_CANTCREAT);
    return err_set(err, ERR_REJECT, "--out-dir: %.300s: %s: name a folder that can be written", dir,
                   strerror(code));
}

static enum err_class open_files(struct offline *o, const struct fp_options *options,
                                 struct err *err)
{
    const char *dir = options->out_dir;

    if (check_input(o->svc, "--offline", options->offline_path, err) != ERR_OK)
        return err->class;
    if (options->closes_path != NULL &&
        check_input(o->svc, "--closes", options->closes_path, err) != ERR_OK)
        return err->class;
    if (codec_file_open(options->offline_path, &codec_l2_snapshot_record, &o->in, err) != ERR_OK)
        return err->class;
    if (check_out_dir(o->svc, dir, err) != ERR_OK)
        return err->class;
    if (options->closes_path != NULL && load_closes(o, options->closes_path, err) != ERR_OK)
        return err->class;
    if (create(dir, "l2_bars.avro", &codec_l2_bar_record, &o->bars, err) != ERR_OK ||
        create(dir, "l2_features.avro", &codec_l2_feature_record, &o->features, err) != ERR_OK)
        return err->class;
    return create(dir, "l2_dlq.avro", &codec_dead_letter_record, &o->dlq, err);
}

/* A commit takes the writer, whatever its result. */
static enum err_class commit(struct codec_file_writer **w, struct err *err)
{
    const enum err_class e = codec_file_commit(*w, err);

    *w = NULL;
    return e;
}

static enum err_class run(struct offline *o, const struct fp_options *options, struct err *err)
{
    const struct fp_event start = {.kind = FP_START};

    if (open_files(o, options, err) != ERR_OK ||
        fp_core_new(o->wire.params, &o->core, err) != ERR_OK)
        return err->class;
    fp_core_step(o->core, &start, &o->update);
    if (fold(o, err) != ERR_OK)
        return err->class;
    if (codec_file_flush(o->bars, err) != ERR_OK || codec_file_flush(o->features, err) != ERR_OK ||
        codec_file_flush(o->dlq, err) != ERR_OK) /* the disk is full: none of the three changes */
        return err->class;
    if (commit(&o->bars, err) != ERR_OK || commit(&o->features, err) != ERR_OK ||
        commit(&o->dlq, err) != ERR_OK)
        return err->class;
    const struct fp_stats *s = fp_core_stats(o->core);
    log_event(LOG_INFO, "offline_done", "records", LOG_INT, (int64_t)o->records, "taken", LOG_INT,
              (int64_t)s->taken, "duplicates", LOG_INT, (int64_t)s->duplicates, "late", LOG_INT,
              (int64_t)s->late, "dead_letters", LOG_INT, (int64_t)o->dead_n, "bars", LOG_INT,
              (int64_t)o->bars_n, "features", LOG_INT, (int64_t)o->features_n, "closes_unmatched",
              LOG_INT, (int64_t)tell_unmatched(o), NULL);
    return ERR_OK;
}

enum err_class fp_offline_run(struct svc *svc, const struct fp_options *options,
                              const struct fp_params *params, struct err *err)
{
    char schema_version[L2_SCHEMA_VERSION_BYTES_MAX];
    struct offline *o = calloc(1, sizeof *o);

    if (o == NULL)
        return err_set(err, ERR_FATAL, "offline: no memory");
    o->svc = svc;
    l2_schema_version(&params->l2, schema_version);
    const char *slash = strrchr(options->offline_path, '/');
    o->in_name = slash == NULL ? options->offline_path : slash + 1;
    o->wire = (struct fp_wire){
        .params = params,
        .clk = svc_clk(svc),
        .exchange = o->exchange,
        .schema_version = schema_version,
        .decoded = &o->decoded,
        .snapshot = &o->snapshot,
    };
    const enum err_class e = run(o, options, err);
    codec_file_abandon(o->bars);
    codec_file_abandon(o->features);
    codec_file_abandon(o->dlq);
    codec_file_close(o->in);
    fp_core_free(o->core);
    free(o->closes);
    free(o);
    return e;
}
