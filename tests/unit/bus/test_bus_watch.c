#include "bus/watch.h"
#include "clk/clk.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SESSION_MS 2000

/* Runs in a child: 0 when the watch was quiet before the stop and says so right after it. */
static int watched(void)
{
    struct watch *w;
    struct err err;
    bool quiet = true;

    if (watch_new(SESSION_MS, &w, &err) != ERR_OK)
        return 1;
    for (int i = 0; i < 20; i++) {
        (void)usleep(100000);
        quiet = quiet && !watch_expired(w);
    }
    (void)raise(SIGSTOP);
    const bool told = watch_expired(w);

    watch_free(w);
    return quiet && told ? 0 : 2;
}

/* Seen to fail with still_us_max ten times as long. */
static void a_stop_is_noticed(void **state)
{
    int status = 0;
    const pid_t child = fork();

    (void)state;
    if (child == 0)
        _exit(watched());
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_true(WIFSTOPPED(status));
    (void)usleep(1000 * SESSION_MS);
    assert_int_equal(kill(child, SIGCONT), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stop_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
