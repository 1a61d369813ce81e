#include "svc/svc_internal.h"

#include <assert.h>
#include <signal.h>
#include <unistd.h>

#define EXIT_SECOND_SIGNAL 130

/* Read by the HTTP thread too, hence no sig_atomic_t; lock-free, so that a handler may use it. */
static atomic_int first_signal;

static_assert(ATOMIC_INT_LOCK_FREE == 2, "a handler must not wait for a lock");

static void on_signal(int number)
{
    int none = 0;

    if (!atomic_compare_exchange_strong(&first_signal, &none, number))
        _exit(EXIT_SECOND_SIGNAL); /* the drain takes too long for whoever asks */
}

void svc_signal_install(void)
{
    /* Without SA_RESTART: a poll that waits returns at once. */
    struct sigaction stop = {.sa_handler = on_signal};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    int rc = 0;

    (void)sigfillset(&stop.sa_mask); /* two signals at once are handled one after the other */
    rc |= sigaction(SIGTERM, &stop, NULL);
    rc |= sigaction(SIGINT, &stop, NULL);
    rc |= sigaction(SIGPIPE, &ignore, NULL);
    assert(rc == 0);
}

int svc_signal_received(void)
{
    return atomic_load_explicit(&first_signal, memory_order_relaxed);
}
