#include "rep_pace.h"
#include "rep_stop.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define SLEEP_MIN_US 1000
#define SLEEP_MAX_US 20000 /* signals and delivery reports are looked after in between */

void rep_pace_init(struct rep_pace *pace, const struct clk *clk, double speed, double rate)
{
    *pace =
        (struct rep_pace){.clk = clk, .speed = speed, .rate = rate, .started_us = clk_mono_us()};
}

void rep_pace_free(struct rep_pace *pace)
{
    clk_free(pace->own);
    pace->own = NULL;
    pace->clk = NULL;
}

/* Virtual time is first_us now, and goes on `speed` times as fast. */
static enum err_class start_own(struct rep_pace *p, int64_t first_us, struct err *err)
{
    char spec[128];
    const int64_t now_us = clk_wall_us();

    snprintf(spec, sizeof spec, "%" PRId64 ".%06" PRId64 "/%" PRId64 ".%06" PRId64 "/%.6f",
             now_us / CLK_US_PER_S, now_us % CLK_US_PER_S, first_us / CLK_US_PER_S,
             first_us % CLK_US_PER_S, p->speed);
    const enum err_class e = clk_new(spec, &p->own, err);
    p->clk = p->own;
    return e;
}

/* Real µs to go; 0: now. */
static int64_t to_go(const struct rep_pace *p, int64_t due_us)
{
    int64_t wait_us = 0;

    if (p->clk != NULL && clk_now_us(p->clk) < due_us) {
        wait_us = clk_to_real_us(p->clk, due_us) - clk_real_us(p->clk);
        if (wait_us < 1)
            wait_us = 1;
    }
    if (p->rate > 0) {
        const double at_us = (double)p->sent / p->rate * 1e6;
        const int64_t rest_us = (int64_t)at_us - (clk_mono_us() - p->started_us);
        if (rest_us > wait_us)
            wait_us = rest_us;
    }
    return wait_us;
}

static void sleep_us(int64_t us)
{
    if (us < SLEEP_MIN_US)
        us = SLEEP_MIN_US;
    if (us > SLEEP_MAX_US)
        us = SLEEP_MAX_US;
    const struct timespec t = {.tv_sec = 0, .tv_nsec = us * 1000};
    nanosleep(&t, NULL);
}

enum err_class rep_pace_wait(struct rep_pace *p, int64_t due_us, struct rep_sink *sink,
                             struct rep_tally *tally, double part, bool *ret_go, struct err *err)
{
    if (p->speed > 0 && p->own == NULL) {
        const enum err_class e = start_own(p, due_us, err);
        if (e != ERR_OK)
            return e;
    }
    for (;;) {
        p->is_over = p->clk != NULL && clk_is_over(p->clk);
        *ret_go = !p->is_over && !rep_stopping();
        if (!*ret_go)
            return ERR_OK;
        const int64_t wait_us = to_go(p, due_us);
        if (wait_us == 0) {
            p->sent++;
            return ERR_OK;
        }
        const enum err_class e = rep_sink_serve(sink, err);
        if (e != ERR_OK)
            return e;
        rep_tally_show(tally, part);
        sleep_us(wait_us);
    }
}
