#include "svc/svc_internal.h"

#include <assert.h>
#include <signal.h>
#include <unistd.h>

#define EXIT_SECOND_SIGNAL 130

static volatile sig_atomic_t first_signal;

static void on_signal(int number)
{
    if (first_signal != 0)
        _exit(EXIT_SECOND_SIGNAL); /* the drain takes too long for whoever asks */
    first_signal = number;
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
    return first_signal;
}
