#include "alerts/alert.h"

#include <assert.h>

#define LEVELS 2 /* ALERT_WARN, ALERT_P2 */

static void count(struct alert_streak *streak, bool holds, int64_t time_us)
{
    if (!holds) {
        *streak = (struct alert_streak){0};
        return;
    }
    if (streak->n == 0)
        streak->since_us = time_us;
    if (streak->n < UINT32_MAX)
        streak->n++;
}

static bool lasted(const struct alert_streak *streak, uint32_t n, int64_t us, int64_t time_us)
{
    return streak->n >= n && time_us - streak->since_us >= us;
}

/* The state that the streaks call for, given the one that holds. */
static enum alert_state called_for(const struct alert *a, const struct alert_rule *r, bool is_first,
                                   int64_t time_us)
{
    for (int i = LEVELS - 1; i >= 0; i--) {
        const enum alert_state level = (enum alert_state)(ALERT_WARN + i);
        if (lasted(&a->at_least[i], r->enter_n, r->enter_us, time_us))
            return level;
        if (a->state >= level && !lasted(&a->below[i], r->leave_n, r->leave_us, time_us))
            return level;
    }
    /* data that is back must be good for as long as after a warning */
    if (a->state == ALERT_NO_DATA && !is_first &&
        !lasted(&a->below[0], r->leave_n, r->leave_us, time_us))
        return ALERT_NO_DATA;
    return ALERT_OK;
}

static bool become(struct alert *a, enum alert_state state, int64_t time_us)
{
    if (state == a->state)
        return false;
    a->state = state;
    a->since_us = time_us;
    return true;
}

bool alert_step(struct alert *alert, const struct alert_rule *rule, enum alert_state observed,
                int64_t time_us)
{
    assert(rule->enter_n >= 1 && rule->leave_n >= 1);
    if (time_us < alert->seen_us)
        time_us = alert->seen_us;
    alert->seen_us = time_us;
    if (observed == ALERT_NO_DATA) {
        if (!alert->had_data || alert->state == ALERT_P2)
            return false;
        if (alert->state != ALERT_NO_DATA)
            alert->below[0] = (struct alert_streak){0}; /* what was good before the gap is over */
        return become(alert, ALERT_NO_DATA, time_us);
    }
    for (int i = 0; i < LEVELS; i++) {
        const bool bad = (int)observed >= (int)ALERT_WARN + i;
        count(&alert->at_least[i], bad, time_us);
        count(&alert->below[i], !bad, time_us);
    }
    const bool is_first = !alert->had_data;

    alert->had_data = true;
    return become(alert, called_for(alert, rule, is_first, time_us), time_us);
}

const char *alert_state_name(enum alert_state state)
{
    static const char *const names[] = {
        [ALERT_NO_DATA] = "no_data", [ALERT_OK] = "ok", [ALERT_WARN] = "warn", [ALERT_P2] = "p2"};

    return names[state];
}
