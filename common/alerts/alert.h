/*
 * alert.h: one alert's state, from what was observed. Pure: no allocation, no clock, no I/O.
 *
 * A level (warn, p2) is entered when it was observed, or a worse one was, `enter_n` times in a row
 * and for `enter_us`; it is left when something better was observed `leave_n` times in a row and
 * for `leave_us`. No data is never better: it stops all counting, and what is ok or warn becomes
 * no_data at once; a P2 stays one until data says otherwise. Before the first data there is no
 * alert.
 */
#ifndef ALERTS_ALERT_H
#define ALERTS_ALERT_H

#include <stdbool.h>
#include <stdint.h>

enum alert_state {
    ALERT_NO_DATA, /* with had_data: an alert; else the window is not filled yet */
    ALERT_OK,
    ALERT_WARN,
    ALERT_P2,
};

struct alert_rule {
    uint32_t enter_n, leave_n;  /* observations in a row, ≥ 1 */
    int64_t enter_us, leave_us; /* from the first of them to the last, ≥ 0 */
};

struct alert_streak {
    uint32_t n;
    int64_t since_us;
};

/* A zeroed struct has seen nothing. */
struct alert {
    enum alert_state state;
    bool had_data;
    int64_t since_us; /* when `state` began */
    int64_t seen_us;  /* the newest observation */
    struct alert_streak at_least[2]; /* warn, p2: observed or worse … */
    struct alert_streak below[2];   /* … and better */
};

/* `observed` at time_us, which never goes back (an earlier time counts as the last one). True: the
 * state is another one now. */
bool alert_step(struct alert *alert, const struct alert_rule *rule, enum alert_state observed,
                int64_t time_us);

const char *alert_state_name(enum alert_state state); /* "no_data", "ok", "warn", "p2" */

#endif
