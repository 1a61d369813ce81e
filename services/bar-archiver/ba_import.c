/* Files straight into the tables: a past that was computed elsewhere, or an archive of a topic. */
#include "ba_service.h"

#include "ba_tell.h"
#include "codec/container.h"
#include "log/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#define ATTEMPTS_MAX 12 /* some 30 s of waiting for a server that is away */
#define EXIT_INTERRUPTED 130
#define PROGRESS_US (CLK_US_PER_S / 5)

struct import {
    struct svc *svc;
    const struct pgc_options *pg;
    struct ba_store *store;
    struct ba_batch *batch;
    struct ba_result total;
    struct ba_teller teller;
    uint64_t random;
    bool terminal;
    int64_t started_us, shown_us;
    uint64_t records;
};

static void show(struct import *m, const char *path, bool last)
{
    const int64_t now_us = clk_mono_us();

    if (!m->terminal || (!last && now_us - m->shown_us < PROGRESS_US))
        return;
    m->shown_us = now_us;
    const double seconds = (double)(now_us - m->started_us) / 1e6;
    fprintf(stderr, "\r\033[K%s: %" PRIu64 " records, %.0f a second%s", path, m->records,
            (double)m->records / (seconds > 0.001 ? seconds : 0.001), last ? "\n" : "");
}

static void add(struct import *m, const struct ba_result *r)
{
    for (unsigned t = 0; t < BA_TABLES; t++) {
        m->total.fresh[t] += r->fresh[t];
        m->total.same[t] += r->same[t];
        m->total.changed[t] += r->changed[t];
        m->total.rejected[t] += r->rejected[t];
    }
    ba_tell(&m->teller, r, clk_mono_us());
}

static void nap(struct import *m, unsigned attempt)
{
    m->random = m->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    const int64_t us = ba_backoff_us(attempt, (uint32_t)(m->random >> 32));
    const struct timespec t = {.tv_sec = us / CLK_US_PER_S, .tv_nsec = us % CLK_US_PER_S * 1000};

    (void)nanosleep(&t, NULL); /* a signal ends it early: as good */
}

/* A server that is away for a moment is waited for; what was stored before stays stored. */
static enum err_class flush(struct import *m, struct err *err)
{
    struct ba_result result = {.examples_n = 0};
    enum err_class e = ERR_OK;

    for (unsigned attempt = 0; attempt < ATTEMPTS_MAX && !svc_stopping(m->svc); attempt++) {
        e = m->store == NULL ? ba_store_open(m->pg, NULL, &m->store, err) : ERR_OK;
        if (e == ERR_OK)
            e = ba_store_write(m->store, m->batch, &result, err);
        if (e == ERR_OK) {
            add(m, &result);
            ba_batch_clear(m->batch);
            return ERR_OK;
        }
        if (e != ERR_RETRY) {
            ba_batch_clear(m->batch); /* it will not be stored */
            return e;
        }
        ba_store_close(m->store);
        m->store = NULL;
        nap(m, attempt);
    }
    if (svc_stopping(m->svc)) {
        svc_exit_code(m->svc, EXIT_INTERRUPTED);
        return err_set(err, ERR_RETRY, "stopped by a signal: run it again, what is stored stays");
    }
    svc_exit_code(m->svc, EX_UNAVAILABLE);
    return e;
}

static enum err_class import_records(struct import *m, struct codec_file_reader *r,
                                     const char *path, struct err *err)
{
    const struct codec_record *record = codec_file_record(r);
    enum ba_table table = BA_BARS;

    while (table < BA_TABLES && ba_table_record(table) != record)
        table++;
    if (table == BA_TABLES)
        return err_set(err, ERR_REJECT, "%s: holds %s records: only L2Bar and Candle are archived",
                       path, record->name);
    for (int64_t index = 0;; index++) {
        const uint8_t *body;
        size_t n;
        if (codec_file_next(r, &body, &n, err) != ERR_OK)
            return err->class;
        if (body == NULL)
            return ERR_OK;
        const struct ba_row row = {
            .table = table, .partition = -1, .offset = index, .n = (uint32_t)n};
        ba_batch_seen(m->batch, 0, -1);
        ba_batch_add(m->batch, &row, body);
        m->records++;
        if (!ba_batch_is_full(m->batch))
            continue;
        if (flush(m, err) != ERR_OK)
            return err->class;
        show(m, path, false);
    }
}

static enum err_class import_file(struct import *m, const char *path, struct err *err)
{
    struct codec_file_reader *r = NULL;
    struct stat status;

    if (access(path, R_OK) != 0 || stat(path, &status) != 0 || S_ISDIR(status.st_mode)) {
        svc_exit_code(m->svc, EX_NOINPUT);
        return err_set(err, ERR_REJECT, "%s: is no file that can be read", path);
    }
    enum err_class e = codec_file_open(path, NULL, &r, err);
    if (e == ERR_OK)
        e = import_records(m, r, path, err);
    codec_file_close(r);
    struct err unstored;
    if (e == ERR_OK)
        e = flush(m, err);
    else if (e == ERR_REJECT && flush(m, &unstored) != ERR_OK) /* what came before the damage */
        e = err_set(err, unstored.class, "%s; and the records before it were not stored: %s",
                    err->text, unstored.text);
    show(m, path, true);
    return e;
}

static void summarise(struct import *m)
{
    const struct ba_result *t = &m->total;
    uint64_t refused = 0;

    for (unsigned i = 0; i < BA_TABLES; i++) {
        refused += t->changed[i] + t->rejected[i];
        log_event(LOG_INFO, "imported", "table", LOG_STR, ba_table_names[i], "new", LOG_INT,
                  (int64_t)t->fresh[i], "same", LOG_INT, (int64_t)t->same[i], "refused", LOG_INT,
                  (int64_t)t->changed[i], "rejected", LOG_INT, (int64_t)t->rejected[i], NULL);
        if (t->fresh[i] + t->same[i] + t->changed[i] + t->rejected[i] > 0)
            printf("%-12s %12" PRIu64 " new %12" PRIu64 " same %12" PRIu64 " refused %12" PRIu64
                   " rejected\n",
                   ba_table_names[i], t->fresh[i], t->same[i], t->changed[i], t->rejected[i]);
    }
    if (refused > 0)
        svc_exit_code(m->svc, EX_DATAERR);
}

enum err_class ba_import_run(struct svc *svc, const struct ba_options *options,
                             const struct pgc_options *pg, struct err *err)
{
    const struct ba_limits limits = ba_limits_load(svc_config(svc));
    struct import *m = calloc(1, sizeof *m);

    if (m == NULL)
        return err_set(err, ERR_FATAL, "import: no memory");
    m->svc = svc;
    m->pg = pg;
    m->random = (uint64_t)clk_wall_us();
    m->terminal = isatty(STDERR_FILENO) == 1;
    m->started_us = clk_mono_us();
    enum err_class e = ba_batch_new(&limits, &m->batch, err);
    if (e == ERR_OK)
        e = ba_store_open(pg, NULL, &m->store, err);
    for (unsigned i = 0; e == ERR_OK && i < options->files_n; i++)
        e = import_file(m, options->files[i], err);
    if (m->batch != NULL && m->records > 0)
        summarise(m);
    ba_batch_free(m->batch);
    ba_store_close(m->store);
    free(m);
    return e;
}
