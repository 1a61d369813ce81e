/* Which changes of state are told, and how. Seen to fail: with a flood not waited for; with what is
 * over by then told; without the bound on breaches that began later than a minute after; with > for
 * ≥ of half; with a single told alone resolved as grouped; with members of what is well; with an
 * inhibition that also holds back the resolving of what was sent; with a recalled version begun
 * again; with a recalled group's start forgotten; with a breach that outlasts its inhibition never
 * told; told at each look after; resolved though it was never told; its group never told, or kept
 * for the last of it; with an inhibited one of the log forgotten; with members past their bound;
 * with one of the log told before it was settled; without a check of an allocation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/qm_alerts.h"
#include "failing_alloc.h"

#define S INT64_C(1000000)
#define HOLD S
#define LOOK (HOLD * 5 / 6) /* between looks at the clock */
#define CRYPTOS 600

struct world {
    struct qm_alerts *alerts;
    unsigned having;
    int64_t now_us;
};

static unsigned having(void *user, enum qm_signal signal, enum l2_arm arm)
{
    const struct world *w = user;

    (void)signal;
    (void)arm;
    return w->having;
}

static int setup(void **state)
{
    static struct world world;

    world = (struct world){.alerts = qm_alerts_new(CRYPTOS, HOLD), .having = 4, .now_us = 1000 * S};
    *state = &world;
    return world.alerts == NULL;
}

static int teardown(void **state)
{
    const struct world *w = *state;

    qm_alerts_free(w->alerts);
    return 0;
}

/* The crypto's PSI is in `state` now, in breach since started_us. */
static void put(struct world *w, uint32_t crypto, enum alert_state state, int64_t started_us)
{
    const struct qm_transition t = {.signal = QM_PSI_24H,
                                    .state = state,
                                    .since_us = w->now_us,
                                    .started_us = started_us,
                                    .has_value = true,
                                    .value = 0.5,
                                    .threshold = 0.25,
                                    .n = 96};

    assert_true(qm_alerts_put(w->alerts, crypto, &t, w->now_us));
}

/* What is told in `us` from now on, in words: "3:p2/1/send 5:ok/2/grouped"; "all:…" for a group. */
static const char *told(struct world *w, int64_t us)
{
    static const char *const deliveries[] = {"send", "grouped", "inhibited"};
    static char text[65536];
    struct qm_alert_out out;
    size_t n = 0;

    w->now_us += us;
    text[0] = '\0';
    while (qm_alerts_next(w->alerts, w->now_us, having, w, &out)) {
        assert_true(n < sizeof text - 200);
        if (out.crypto == QM_ALL_CRYPTO)
            n += (size_t)snprintf(text + n, sizeof text - n, "all(%u)", out.group_size);
        else
            n += (size_t)snprintf(text + n, sizeof text - n, "%u", out.crypto);
        n += (size_t)snprintf(text + n, sizeof text - n, ":%s>%s/%d/%s ",
                              alert_state_name(out.t.previous), alert_state_name(out.t.state),
                              (int)out.version, deliveries[out.delivery]);
        assert_int_equal(out.by_group, out.delivery == QM_GROUPED);
    }
    return text;
}

static void a_change_waits_and_what_is_over_is_not_told(void **state)
{
    struct world *w = *state;

    put(w, 1, ALERT_WARN, w->now_us);
    assert_string_equal(told(w, HOLD - 1), "");
    assert_string_equal(told(w, 1), "1:ok>warn/1/send ");
    assert_string_equal(told(w, HOLD), "");
    put(w, 1, ALERT_OK, w->now_us); /* flaps within the wait */
    put(w, 1, ALERT_WARN, w->now_us);
    assert_string_equal(told(w, HOLD), "");
    put(w, 2, ALERT_WARN, w->now_us);
    put(w, 2, ALERT_OK, w->now_us);
    assert_string_equal(told(w, HOLD), "");
    put(w, 2, ALERT_WARN, w->now_us); /* gets worse within it: told once, as it is */
    put(w, 2, ALERT_P2, w->now_us);
    assert_string_equal(told(w, HOLD), "2:ok>p2/1/send ");
    assert_int_equal(qm_alerts_waiting(w->alerts), 0);
}

static void versions_rise_by_one(void **state)
{
    struct world *w = *state;

    put(w, 1, ALERT_WARN, w->now_us);
    assert_string_equal(told(w, HOLD), "1:ok>warn/1/send ");
    put(w, 1, ALERT_P2, w->now_us);
    assert_string_equal(told(w, HOLD), "1:warn>p2/2/send ");
    put(w, 1, ALERT_NO_DATA, w->now_us);
    assert_string_equal(told(w, HOLD), "1:p2>no_data/3/send ");
    put(w, 1, ALERT_OK, w->now_us);
    assert_string_equal(told(w, HOLD), "1:no_data>ok/4/send ");
}

static void three_and_half_within_a_minute_are_one(void **state)
{
    struct world *w = *state;
    struct qm_alert_out out;

    w->having = 6;
    for (uint32_t i = 0; i < 3; i++)
        put(w, i, ALERT_P2, w->now_us);
    w->now_us += HOLD;
    assert_true(qm_alerts_next(w->alerts, w->now_us, having, w, &out));
    assert_int_equal(out.crypto, QM_ALL_CRYPTO);
    assert_int_equal(out.group_size, 3);
    assert_int_equal(out.members_n, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(out.members[i], i);
    assert_string_equal(told(w, 0), "0:ok>p2/1/grouped 1:ok>p2/1/grouped 2:ok>p2/1/grouped ");
    put(w, 4, ALERT_WARN, w->now_us); /* one more: spoken for already */
    assert_string_equal(told(w, HOLD), "4:ok>warn/1/grouped ");
    for (uint32_t i = 0; i < 3; i++)
        put(w, i, ALERT_OK, 0);
    assert_string_equal(told(w, HOLD), "all(1):p2>warn/2/send 0:p2>ok/2/grouped 1:p2>ok/2/grouped "
                                       "2:p2>ok/2/grouped ");
    put(w, 4, ALERT_OK, 0); /* the last of them */
    assert_string_equal(told(w, HOLD), "all(0):warn>ok/3/send 4:warn>ok/2/grouped ");
    put(w, 4, ALERT_WARN, w->now_us); /* and alone again */
    assert_string_equal(told(w, HOLD), "4:ok>warn/3/send ");
}

static void fewer_are_each_told(void **state)
{
    struct world *w = *state;

    w->having = 3; /* two of three */
    put(w, 0, ALERT_P2, w->now_us);
    put(w, 1, ALERT_P2, w->now_us);
    assert_string_equal(told(w, HOLD), "0:ok>p2/1/send 1:ok>p2/1/send ");
    for (uint32_t i = 10; i < 13; i++) /* three more, of eleven: not half with the two */
        put(w, i, ALERT_P2, w->now_us);
    w->having = 11;
    assert_string_equal(told(w, HOLD), "10:ok>p2/1/send 11:ok>p2/1/send 12:ok>p2/1/send ");
}

static void those_of_another_minute_do_not_count(void **state)
{
    struct world *w = *state;
    const int64_t day = 86400 * S;

    for (uint32_t i = 0; i < 4; i++) /* what a past holds is told at once, and is not of one time */
        put(w, i, ALERT_P2, (int64_t)(i + 1) * day);
    assert_string_equal(told(w, HOLD),
                        "0:ok>p2/1/send 1:ok>p2/1/send 2:ok>p2/1/send 3:ok>p2/1/send ");
}

static void a_minute_has_a_bound(void **state)
{
    struct world *w = *state;

    for (uint32_t i = 0; i < 3; i++)
        put(w, i, ALERT_P2, w->now_us + (int64_t)i * 30 * S);
    assert_string_equal(told(w, HOLD), "all(3):ok>p2/1/send 0:ok>p2/1/grouped 1:ok>p2/1/grouped "
                                       "2:ok>p2/1/grouped ");
}

static void what_was_told_alone_is_resolved_alone(void **state)
{
    struct world *w = *state;

    put(w, 0, ALERT_P2, w->now_us);
    assert_string_equal(told(w, HOLD), "0:ok>p2/1/send ");
    put(w, 1, ALERT_P2, w->now_us);
    put(w, 2, ALERT_P2, w->now_us);
    assert_string_equal(told(w, HOLD), "all(3):ok>p2/1/send 1:ok>p2/1/grouped 2:ok>p2/1/grouped ");
    put(w, 0, ALERT_OK, 0);
    put(w, 1, ALERT_OK, 0);
    assert_string_equal(told(w, HOLD), "0:p2>ok/2/send 1:p2>ok/2/grouped ");
    put(w, 2, ALERT_OK, 0);
    assert_string_equal(told(w, HOLD), "all(0):p2>ok/2/send 2:p2>ok/2/grouped ");
}

static unsigned sends(struct world *w, int64_t us)
{
    unsigned n = 0;

    for (const char *at = told(w, us); (at = strstr(at, "/send")) != NULL; at++)
        n++;
    return n;
}

static void five_hundred_stalled_are_two_notifications(void **state)
{
    struct world *w = *state;
    const int64_t begin_us = w->now_us;
    unsigned n = 0;

    w->having = 500;
    for (int level = 0; level < 2;
         level++) { /* warn, then P2; their feeds stopped within three looks */
        for (int64_t tick = 0; tick < 3; tick++) {
            for (uint32_t i = 0; i < 500; i++) {
                if (i % 3 == (uint32_t)tick)
                    put(w, i, level == 0 ? ALERT_WARN : ALERT_P2, begin_us + tick * LOOK);
            }
            n += sends(w, LOOK);
        }
        n += sends(w, 240 * S);
    }
    assert_int_equal(n, 2);
    for (uint32_t i = 0; i < 500; i++)
        put(w, i, ALERT_OK, 0);
    assert_int_equal(sends(w, HOLD), 1);
    assert_int_equal(qm_alerts_waiting(w->alerts), 0);
}

static void others_do_not_wait_for_a_flood(void **state)
{
    struct world *w = *state;
    const struct qm_transition t = {.signal = QM_OOR, .state = ALERT_WARN, .since_us = 5};

    w->having = 500;
    for (uint32_t i = 0; i < 100; i++) {
        put(w, i, ALERT_P2, w->now_us);
        if (i == 1)
            assert_true(qm_alerts_put(w->alerts, 7, &t, w->now_us));
        assert_string_equal(told(w, HOLD / 2), i == 2 ? "7:ok>warn/1/send " : "");
    }
    put(w, 100, ALERT_P2, w->now_us);
    assert_int_equal(sends(w, 11 * S), 101); /* they were no half of the 500 */
}

static void inhibit(struct world *w, bool is_psi)
{
    qm_alerts_inhibit(w->alerts, is_psi ? UINT32_C(1) << QM_PSI_24H : UINT32_C(1) << QM_OOR,
                      w->now_us);
}

static void an_inhibition_stores(void **state)
{
    struct world *w = *state;

    put(w, 0, ALERT_P2, w->now_us);
    assert_string_equal(told(w, HOLD), "0:ok>p2/1/send ");
    inhibit(w, true);
    put(w, 0, ALERT_OK, 0);
    put(w, 1, ALERT_P2, w->now_us);
    assert_string_equal(told(w, HOLD), "0:p2>ok/2/send 1:ok>p2/1/inhibited ");
    put(w, 1, ALERT_OK, 0);
    assert_string_equal(told(w, HOLD), "1:p2>ok/2/inhibited ");
    inhibit(w, false);
    put(w, 2, ALERT_P2, w->now_us);
    assert_string_equal(told(w, HOLD), "2:ok>p2/1/send ");
}

static void what_outlasts_its_inhibition_is_told_once(void **state)
{
    struct world *w = *state;

    inhibit(w, true);
    put(w, 0, ALERT_WARN, w->now_us);
    put(w, 1, ALERT_WARN, w->now_us);
    assert_string_equal(told(w, HOLD), "0:ok>warn/1/inhibited 1:ok>warn/1/inhibited ");
    inhibit(w, true);
    assert_string_equal(told(w, HOLD), "");
    inhibit(w, false);
    assert_string_equal(told(w, HOLD - 1), "");
    put(w, 1, ALERT_OK, 0); /* over before it was told */
    assert_string_equal(told(w, 1), "0:warn>warn/2/send 1:warn>ok/2/inhibited ");
    inhibit(w, false);
    assert_string_equal(told(w, HOLD), "");
    inhibit(w, true);
    inhibit(w, false); /* told already */
    assert_string_equal(told(w, HOLD), "");
    put(w, 0, ALERT_OK, 0);
    assert_string_equal(told(w, HOLD), "0:warn>ok/3/send ");
    assert_int_equal(qm_alerts_waiting(w->alerts), 0);
}

static void an_inhibition_that_comes_back_holds_on(void **state)
{
    struct world *w = *state;

    inhibit(w, true);
    put(w, 0, ALERT_P2, w->now_us);
    assert_string_equal(told(w, HOLD), "0:ok>p2/1/inhibited ");
    inhibit(w, false);
    w->now_us += HOLD / 2;
    inhibit(w, true);
    assert_string_equal(told(w, HOLD), "");
    inhibit(w, false);
    put(w, 0, ALERT_WARN, w->now_us);
    assert_string_equal(told(w, HOLD), "0:p2>warn/2/send ");
}

static void a_flood_that_outlasts_its_inhibition_is_one(void **state)
{
    struct world *w = *state;

    w->having = 500;
    inhibit(w, true);
    for (uint32_t i = 0; i < 500; i++)
        put(w, i, ALERT_P2, w->now_us);
    assert_int_equal(sends(w, HOLD), 0);
    inhibit(w, false);
    assert_int_equal(sends(w, HOLD), 1);
    assert_int_equal(sends(w, HOLD), 0);
    for (uint32_t i = 0; i < 500; i++)
        put(w, i, ALERT_OK, 0);
    assert_int_equal(sends(w, HOLD), 1);
    assert_int_equal(qm_alerts_waiting(w->alerts), 0);
}

static void what_is_left_of_a_group_is_told_alone(void **state)
{
    struct world *w = *state;

    inhibit(w, true);
    for (uint32_t i = 0; i < 3; i++)
        put(w, i, ALERT_P2, w->now_us);
    assert_string_equal(told(w, HOLD), "all(3):ok>p2/1/inhibited 0:ok>p2/1/inhibited "
                                       "1:ok>p2/1/inhibited 2:ok>p2/1/inhibited ");
    put(w, 0, ALERT_OK, 0);
    put(w, 2, ALERT_OK, 0);
    assert_string_equal(told(w, HOLD), "0:p2>ok/2/inhibited 2:p2>ok/2/inhibited ");
    inhibit(w, false);
    assert_string_equal(told(w, HOLD), "all(0):p2>ok/2/inhibited 1:p2>p2/2/send ");
    put(w, 1, ALERT_OK, 0);
    assert_string_equal(told(w, HOLD), "1:p2>ok/3/send ");
}

static void recall(struct world *w, uint32_t crypto, enum alert_state state,
                   enum qm_delivery delivery, int64_t version)
{
    qm_alerts_told(w->alerts, crypto, QM_PSI_24H, L2_ARM_NONE, state, 500 * S, delivery, version);
}

static bool settle(struct world *w, uint32_t crypto, enum alert_state state)
{
    return qm_alerts_settle(w->alerts, crypto, QM_PSI_24H, L2_ARM_NONE, state, w->now_us,
                            w->now_us);
}

static void what_was_told_is_recalled(void **state)
{
    struct world *w = *state;

    recall(w, 0, ALERT_P2, QM_SEND, 5);
    recall(w, 0, ALERT_WARN, QM_SEND, 4); /* an older one, read later */
    recall(w, 1, ALERT_WARN, QM_SEND, 1);
    put(w, 0, ALERT_P2, w->now_us); /* the past is folded again */
    assert_true(settle(w, 0, ALERT_P2));
    assert_true(settle(w, 1, ALERT_OK));
    assert_true(settle(w, 2, ALERT_OK)); /* never told */
    assert_string_equal(told(w, HOLD), "1:warn>ok/2/send ");
    put(w, 0, ALERT_OK, 0);
    assert_string_equal(told(w, HOLD), "0:p2>ok/6/send ");
}

static void what_was_held_back_is_recalled(void **state)
{
    struct world *w = *state;

    for (uint32_t i = 0; i < 3; i++)
        recall(w, i, ALERT_WARN, QM_INHIBITED, 3);
    assert_int_equal(qm_alerts_told_last(w->alerts, 1, QM_PSI_24H, L2_ARM_NONE), ALERT_WARN);
    assert_int_equal(qm_alerts_told_last(w->alerts, 7, QM_PSI_24H, L2_ARM_NONE), ALERT_OK);
    inhibit(w, true);
    put(w, 0, ALERT_WARN, 500 * S); /* the past is folded again */
    assert_true(settle(w, 0, ALERT_WARN));
    assert_true(settle(w, 1, ALERT_WARN));
    assert_true(settle(w, 2, ALERT_OK));
    assert_string_equal(told(w, HOLD), "2:warn>ok/4/inhibited ");
    inhibit(w, false);
    assert_string_equal(told(w, HOLD), "0:warn>warn/4/send 1:warn>warn/4/send ");
}

static void a_group_is_recalled(void **state)
{
    struct world *w = *state;
    struct qm_alert_out out;

    recall(w, QM_ALL_CRYPTO, ALERT_WARN, QM_SEND, 1);
    for (uint32_t i = 0; i < 3; i++) {
        recall(w, i, ALERT_WARN, QM_GROUPED, 1);
        put(w, i, ALERT_WARN, 500 * S);
    }
    assert_string_equal(told(w, HOLD), "");
    put(w, 1, ALERT_P2, 500 * S);
    w->now_us += HOLD;
    assert_true(qm_alerts_next(w->alerts, w->now_us, having, w, &out));
    assert_int_equal(out.crypto, QM_ALL_CRYPTO);
    assert_int_equal(out.version, 2);
    assert_int_equal(out.t.started_us, 500 * S);
    assert_string_equal(told(w, 0), "1:warn>p2/2/grouped ");
    for (uint32_t i = 0; i < 3; i++)
        put(w, i, ALERT_OK, 0);
    assert_string_equal(told(w, HOLD), "all(0):p2>ok/3/send 0:warn>ok/2/grouped "
                                       "1:p2>ok/3/grouped 2:warn>ok/2/grouped ");
}

static void a_group_that_ended_while_nobody_looked(void **state)
{
    struct world *w = *state;

    recall(w, QM_ALL_CRYPTO, ALERT_P2, QM_SEND, 1);
    for (uint32_t i = 0; i < 3; i++)
        recall(w, i, ALERT_P2, QM_GROUPED, 1);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(settle(w, i, ALERT_OK));
    assert_string_equal(told(w, HOLD), "all(0):p2>ok/2/send 0:p2>ok/2/grouped 1:p2>ok/2/grouped "
                                       "2:p2>ok/2/grouped ");
}

/* Of any number as many members as fit are named. */
static void a_group_names_those_that_fit(void **state)
{
    struct world *w = *state;
    struct qm_alert_out out;

    w->having = CRYPTOS;
    for (uint32_t i = 0; i < CRYPTOS; i++)
        put(w, i, ALERT_WARN, w->now_us);
    w->now_us += HOLD;
    assert_true(qm_alerts_next(w->alerts, w->now_us, having, w, &out));
    assert_int_equal(out.crypto, QM_ALL_CRYPTO);
    assert_int_equal(out.group_size, CRYPTOS);
    assert_int_equal(out.members_n, QM_MEMBERS_MAX);
    for (uint32_t i = 0; i < QM_MEMBERS_MAX; i++)
        assert_int_equal(out.members[i], i);
}

/* What is of the exchange speaks for itself, whatever its cryptos do. */
static void the_exchange_s_own_is_no_group(void **state)
{
    struct world *w = *state;
    const struct qm_transition t = {
        .signal = QM_PRODUCER_SILENT, .state = ALERT_P2, .since_us = 1, .started_us = 1};
    struct qm_alert_out out;

    w->having = 0;
    assert_true(qm_alerts_put(w->alerts, QM_ALL_CRYPTO, &t, w->now_us));
    w->now_us += HOLD;
    assert_true(qm_alerts_next(w->alerts, w->now_us, having, w, &out));
    assert_true(out.crypto == QM_ALL_CRYPTO && out.delivery == QM_SEND && !out.by_group);
    assert_true(out.group_size == 0 && out.members_n == 0);
    assert_int_equal(out.t.state, ALERT_P2);
    assert_false(qm_alerts_next(w->alerts, w->now_us, having, w, &out));
}

/* A change that waits already is told as it is by then, and once. */
static void what_waits_is_not_settled(void **state)
{
    struct world *w = *state;

    recall(w, 0, ALERT_OK, QM_SEND, 7);
    put(w, 0, ALERT_P2, w->now_us);
    assert_true(settle(w, 0, ALERT_WARN));
    recall(w, 1, ALERT_WARN, QM_SEND, 3);
    assert_true(settle(w, 1, ALERT_WARN)); /* as it was told */
    assert_string_equal(told(w, HOLD), "0:ok>p2/8/send ");
}

static void memory_gives_out(void **state)
{
    struct world *w = *state;
    const struct qm_transition t = {.signal = QM_PSI_24H, .state = ALERT_P2, .since_us = 1};

    for (int in = 1; in <= 3; in++) {
        failing_alloc_in = in;
        assert_null(qm_alerts_new(CRYPTOS, HOLD));
    }
    qm_alerts_free(NULL);
    failing_alloc_in = 1;
    recall(w, 3, ALERT_P2, QM_SEND, 5);
    failing_alloc_in = 1;
    assert_false(settle(w, 3, ALERT_OK));
    failing_alloc_in = 1;
    assert_false(qm_alerts_put(w->alerts, 3, &t, w->now_us));
    assert_int_equal(qm_alerts_waiting(w->alerts), 0);
    put(w, 3, ALERT_P2, w->now_us); /* and there is some again: nothing is known of it */
    assert_string_equal(told(w, HOLD), "3:ok>p2/1/send ");
}

/* What was told last of whom; of those that nothing was told of, that they are well. */
static void what_was_told_last(void **state)
{
    struct world *w = *state;

    assert_int_equal(qm_alerts_told_last(w->alerts, 5, QM_PSI_24H, L2_ARM_NONE), ALERT_OK);
    recall(w, 5, ALERT_P2, QM_SEND, 1);
    assert_int_equal(qm_alerts_told_last(w->alerts, 5, QM_PSI_24H, L2_ARM_NONE), ALERT_P2);
    assert_int_equal(qm_alerts_told_last(w->alerts, 5, QM_OOR, L2_ARM_NONE), ALERT_OK);
    assert_int_equal(qm_alerts_told_last(w->alerts, QM_ALL_CRYPTO, QM_PSI_24H, L2_ARM_NONE),
                     ALERT_OK);
}

/* Held back according to the log, and the past not folded yet: what it is now only settling knows.
 */
static void what_is_recalled_waits_for_its_settling(void **state)
{
    struct world *w = *state;

    qm_alerts_inhibit(w->alerts, UINT32_C(1) << QM_PSI_24H, w->now_us);
    recall(w, 0, ALERT_P2, QM_INHIBITED, 1);
    qm_alerts_inhibit(w->alerts, 0, w->now_us);
    assert_string_equal(told(w, HOLD), "");
    assert_int_equal(qm_alerts_waiting(w->alerts), 0);
    assert_true(settle(w, 0, ALERT_P2));
    assert_string_equal(told(w, HOLD), "0:p2>p2/2/send ");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_change_waits_and_what_is_over_is_not_told),
        T(versions_rise_by_one),
        T(three_and_half_within_a_minute_are_one),
        T(fewer_are_each_told),
        T(those_of_another_minute_do_not_count),
        T(a_minute_has_a_bound),
        T(what_was_told_alone_is_resolved_alone),
        T(five_hundred_stalled_are_two_notifications),
        T(others_do_not_wait_for_a_flood),
        T(an_inhibition_stores),
        T(what_outlasts_its_inhibition_is_told_once),
        T(an_inhibition_that_comes_back_holds_on),
        T(a_flood_that_outlasts_its_inhibition_is_one),
        T(what_is_left_of_a_group_is_told_alone),
        T(what_was_told_is_recalled),
        T(what_was_held_back_is_recalled),
        T(a_group_is_recalled),
        T(a_group_that_ended_while_nobody_looked),
        T(a_group_names_those_that_fit),
        T(the_exchange_s_own_is_no_group),
        T(what_waits_is_not_settled),
        T(what_was_told_last),
        T(what_is_recalled_waits_for_its_settling),
        T(memory_gives_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
