#include "bus/watch.h"

#include "clk/clk.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define TICK_US INT64_C(250000)

struct watch {
    int64_t still_us_max;
    atomic_llong ticked_us;
    atomic_bool expired;
    bool stop;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
};

bool watch_expired(struct watch *w)
{
    /* Whichever thread runs first after the stop sees the gap, before the ticking thread closes it.
     */
    if (clk_mono_us() - atomic_load(&w->ticked_us) > w->still_us_max)
        atomic_store(&w->expired, true);
    return atomic_load(&w->expired);
}

enum err_class watch_err(const struct watch *w, struct err *err)
{
    return err_set(err, ERR_FATAL,
                   "this process stood still for more than %.1f s, its session may have ended and "
                   "another may hold its "
                   "place: restart",
                   (double)w->still_us_max / 1e6);
}

static void *tick(void *user)
{
    struct watch *w = user;

    (void)pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        const int64_t until_us = clk_mono_us() + TICK_US;
        const struct timespec until = {.tv_sec = until_us / CLK_US_PER_S,
                                       .tv_nsec = until_us % CLK_US_PER_S * 1000};

        (void)pthread_cond_timedwait(&w->wake, &w->lock, &until);
        (void)watch_expired(w);
        atomic_store(&w->ticked_us, clk_mono_us());
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

enum err_class watch_new(unsigned session_timeout_ms, struct watch **ret_watch, struct err *err)
{
    struct watch *w = calloc(1, sizeof *w);
    pthread_condattr_t attributes;

    if (w == NULL)
        return err_set(err, ERR_FATAL, "bus: out of memory");
    /* The broker counts from the last heartbeat (one a second) and takes it in a moment after it
     * was sent. */
    w->still_us_max = INT64_C(800) * session_timeout_ms;
    atomic_store(&w->ticked_us, clk_mono_us());
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&w->wake, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    if (pthread_create(&w->thread, NULL, tick, w) != 0) {
        (void)pthread_cond_destroy(&w->wake);
        (void)pthread_mutex_destroy(&w->lock);
        free(w);
        return err_set(err, ERR_FATAL, "bus: no thread for the watch");
    }
    *ret_watch = w;
    return ERR_OK;
}

void watch_free(struct watch *w)
{
    if (w == NULL)
        return;
    (void)pthread_mutex_lock(&w->lock);
    w->stop = true;
    (void)pthread_cond_broadcast(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
    (void)pthread_join(w->thread, NULL);
    (void)pthread_cond_destroy(&w->wake);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}
