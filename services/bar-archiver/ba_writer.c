#include "ba_writer.h"

#include "clk/clk.h"
#include "log/log.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define AWAY_LINE_US (30 * CLK_US_PER_S) /* how often an outage is told of again */

struct ba_writer {
    const struct pgc_options *options;
    struct ba_readers *readers;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows, down to err */
    pthread_cond_t news;  /* a batch came, or stop */
    struct ba_written slots[BA_QUEUE]; /* a ring: done ones first, then those to write */
    unsigned first, done_n, todo_n;
    bool stop, failed;
    struct err err;
    atomic_bool up;
    atomic_uint_fast64_t retries;
    atomic_int_fast64_t held_since_us; /* clk_mono_us; 0: the registry is not waited for */
    /* the thread's own */
    struct ba_store *store; /* NULL: not connected */
    unsigned attempt;       /* failures in a row */
    int64_t away_since_us, told_us;
    uint64_t random;
};

static bool stopping(struct ba_writer *w)
{
    (void)pthread_mutex_lock(&w->lock);
    const bool stop = w->stop;
    (void)pthread_mutex_unlock(&w->lock);
    return stop;
}

/* Sleeps until the next attempt, or stop. */
static void wait_before_retry(struct ba_writer *w)
{
    w->random = w->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    const int64_t until_us =
        clk_mono_us() + ba_backoff_us(w->attempt++, (uint32_t)(w->random >> 32));
    const struct timespec until = {.tv_sec = until_us / CLK_US_PER_S,
                                   .tv_nsec = until_us % CLK_US_PER_S * 1000};

    (void)pthread_mutex_lock(&w->lock);
    while (!w->stop && clk_mono_us() < until_us)
        (void)pthread_cond_timedwait(&w->news, &w->lock, &until);
    (void)pthread_mutex_unlock(&w->lock);
}

static void tell_failure(struct ba_writer *w, const char *event, const struct err *err)
{
    const int64_t now_us = clk_mono_us();

    if (w->attempt == 0)
        w->away_since_us = now_us;
    if (w->attempt == 0 || now_us - w->told_us >= AWAY_LINE_US) {
        w->told_us = now_us;
        log_event(err->class == ERR_RETRY ? LOG_WARN : LOG_ERROR, event, "error", LOG_STR,
                  err->text, "attempt", LOG_INT, (int64_t)w->attempt + 1, "seconds", LOG_DOUBLE,
                  (double)(now_us - w->away_since_us) / 1e6, NULL);
    }
    atomic_store(&w->up, false);
    atomic_fetch_add(&w->retries, 1);
}

static void tell_success(struct ba_writer *w)
{
    if (w->attempt > 0)
        log_event(LOG_INFO, "writing_again", "attempts", LOG_INT, (int64_t)w->attempt + 1,
                  "seconds", LOG_DOUBLE, (double)(clk_mono_us() - w->away_since_us) / 1e6, NULL);
    w->attempt = 0;
    atomic_store(&w->up, true);
}

static void note_hold(struct ba_writer *w, bool is_held)
{
    if (!is_held)
        atomic_store(&w->held_since_us, 0);
    else if (atomic_load(&w->held_since_us) == 0)
        atomic_store(&w->held_since_us, clk_mono_us());
}

/*
 * Until it is stored. An attempt whose COMMIT was not answered may have stored it: the next one
 * finds the rows and they count as equal. A right that is missing, or a schema that is gone, is
 * waited for like the server itself: no row is at fault, and none may be lost for it.
 */
static enum err_class write_batch(struct ba_writer *w, struct ba_written *slot, struct err *err)
{
    for (;;) {
        enum err_class e = ba_readers_judge(w->readers, slot->batch, &slot->result, err);
        const bool is_registry = e != ERR_OK;
        note_hold(w, is_registry);
        if (e == ERR_OK && w->store == NULL)
            e = ba_store_open(w->options, w->readers, &w->store, err);
        const int64_t started_us = clk_mono_us();
        if (e == ERR_OK)
            e = ba_store_write(w->store, slot->batch, &slot->result, err);
        if (e == ERR_OK) {
            slot->took_us = clk_mono_us() - started_us;
            tell_success(w);
            return ERR_OK;
        }
        if (e == ERR_FATAL)
            return e;
        tell_failure(w, is_registry ? "registry_away" : "database_away", err);
        /* A new connection costs little, and one to a server that was demoted or has run out of
         * something is no good any more. */
        if (!is_registry) {
            ba_store_close(w->store);
            w->store = NULL;
        }
        wait_before_retry(w);
        if (stopping(w))
            return ERR_RETRY;
    }
}

static void *thread_main(void *argument)
{
    struct ba_writer *w = argument;

    (void)pthread_mutex_lock(&w->lock);
    while (!w->stop && !w->failed) {
        if (w->todo_n == 0) {
            (void)pthread_cond_wait(&w->news, &w->lock);
            continue;
        }
        struct ba_written *slot = &w->slots[(w->first + w->done_n) % BA_QUEUE];
        struct err err;
        (void)pthread_mutex_unlock(&w->lock);
        const enum err_class e = write_batch(w, slot, &err);
        (void)pthread_mutex_lock(&w->lock);
        if (e == ERR_OK) {
            w->done_n++;
            w->todo_n--;
        } else if (e == ERR_FATAL) {
            w->failed = true;
            w->err = err;
        }
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* Signals are the main thread's. */
static int start_thread(struct ba_writer *w)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int rc = pthread_create(&w->thread, NULL, thread_main, w);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        (void)pthread_setname_np(w->thread, "database");
    return rc;
}

enum err_class ba_writer_new(const struct pgc_options *options, struct ba_readers *readers,
                             struct ba_writer **ret_writer, struct err *err)
{
    pthread_condattr_t attributes;
    struct ba_writer *w = calloc(1, sizeof *w);

    if (w == NULL)
        return err_set(err, ERR_FATAL, "writer: no memory");
    w->options = options;
    w->readers = readers;
    w->random = (uint64_t)clk_wall_us();
    atomic_init(&w->up, true);
    atomic_init(&w->retries, 0);
    atomic_init(&w->held_since_us, 0);
    if (ba_store_open(options, readers, &w->store, err) != ERR_OK) {
        free(w);
        return err->class;
    }
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&w->news, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    if (start_thread(w) != 0) {
        ba_store_close(w->store);
        (void)pthread_cond_destroy(&w->news);
        (void)pthread_mutex_destroy(&w->lock);
        free(w);
        return err_set(err, ERR_FATAL, "writer: no thread");
    }
    *ret_writer = w;
    return ERR_OK;
}

void ba_writer_free(struct ba_writer *w)
{
    if (w == NULL)
        return;
    (void)pthread_mutex_lock(&w->lock);
    w->stop = true;
    (void)pthread_cond_broadcast(&w->news);
    (void)pthread_mutex_unlock(&w->lock);
    (void)pthread_join(w->thread, NULL);
    ba_store_close(w->store);
    (void)pthread_cond_destroy(&w->news);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}

unsigned ba_writer_pending(struct ba_writer *w)
{
    (void)pthread_mutex_lock(&w->lock);
    const unsigned n = w->done_n + w->todo_n;
    (void)pthread_mutex_unlock(&w->lock);
    return n;
}

bool ba_writer_has_room(struct ba_writer *w)
{
    return ba_writer_pending(w) < BA_QUEUE;
}

void ba_writer_submit(struct ba_writer *w, struct ba_batch *batch)
{
    (void)pthread_mutex_lock(&w->lock);
    assert(w->done_n + w->todo_n < BA_QUEUE);
    w->slots[(w->first + w->done_n + w->todo_n) % BA_QUEUE] = (struct ba_written){.batch = batch};
    w->todo_n++;
    (void)pthread_cond_broadcast(&w->news);
    (void)pthread_mutex_unlock(&w->lock);
}

bool ba_writer_take(struct ba_writer *w, struct ba_written *ret_written)
{
    (void)pthread_mutex_lock(&w->lock);
    const bool done = w->done_n > 0;
    if (done) {
        *ret_written = w->slots[w->first];
        w->first = (w->first + 1) % BA_QUEUE;
        w->done_n--;
    }
    (void)pthread_mutex_unlock(&w->lock);
    return done;
}

bool ba_writer_is_up(const struct ba_writer *w)
{
    return atomic_load(&w->up);
}

int64_t ba_writer_held_us(const struct ba_writer *w)
{
    const int64_t since_us = atomic_load(&w->held_since_us);

    return since_us == 0 ? 0 : clk_mono_us() - since_us;
}

uint64_t ba_writer_retries(const struct ba_writer *w)
{
    return atomic_load(&w->retries);
}

enum err_class ba_writer_check(struct ba_writer *w, struct err *err)
{
    (void)pthread_mutex_lock(&w->lock);
    const bool failed = w->failed;
    if (failed)
        *err = w->err;
    (void)pthread_mutex_unlock(&w->lock);
    return failed ? ERR_FATAL : ERR_OK;
}
