/*
 * Routing as a table of all cases, and the latch as a fold.
 * Seen to fail with: latch and quality in the other order; the pause behind the quality; > and >=
 * exchanged at either threshold; a NaN freshness taken for a fresh one; no heartbeat for a fresh
 * one; warm-up that counts; a row that a bar without features breaks; a row kept over a good bar;
 * the latch at two; a cleared latch that holds; the challenger executed in shadow; no_l2 executed
 * where it cannot serve.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/prediction.h"
#include "codec/rollout_state.h"
#include "l2/route.h"

#include <math.h>

#define BAR_US INT64_C(900000000)
#define FRESH_MAX L2_ROUTE_FRESHNESS_P2_S
#define SPARSE_MAX L2_ROUTE_NAN_RATE_P2

/* ---- names ---- */

static void names_are_the_schemas(void **state)
{
    (void)state;
    for (int i = 0; i <= L2_ARMS; i++)
        assert_string_equal(l2_arm_name((enum l2_arm)i), codec_arm_name((enum codec_arm)i));
    for (int i = 0; i <= L2_STAGES; i++)
        assert_string_equal(l2_stage_name((enum l2_stage)i), codec_stage_name((enum codec_stage)i));
    for (int i = 0; i <= L2_ROUTE_REASONS; i++)
        assert_string_equal(l2_route_reason_name((enum l2_route_reason)i),
                            codec_route_reason_name((enum codec_route_reason)i));
}

/* ---- routing ---- */

/* Full operation of the champion, and nothing in its way. */
static struct l2_route_input all_well(void)
{
    return (struct l2_route_input){
        .rollout = {.known = true,
                    .incumbent = L2_ARM_CHAMPION_L2,
                    .challenger = L2_ARM_NONE,
                    .effective = L2_ARM_CHAMPION_L2},
        .has_feature = true,
        .fits_contract = true,
        .no_l2_serves = true,
        .l2_serves = true,
        .quality = {.has_freshness = true, .has_nan_rate = true},
    };
}

/* What stands in the way, worst first: the order of the reasons. */
enum obstacle {
    FLAG,
    SWITCH,
    PAUSE,
    LATCHED,
    WARM_UP,
    STALE,
    UNFED,
    MISFIT,
    SPARSE,
    OBSTACLES,
};

static const enum l2_route_reason said[OBSTACLES] = {
    [FLAG] = L2_ROUTE_KILL_SWITCH, [SWITCH] = L2_ROUTE_KILL_SWITCH, [PAUSE] = L2_ROUTE_PAUSED,
    [LATCHED] = L2_ROUTE_LATCH,    [WARM_UP] = L2_ROUTE_WARMUP,     [STALE] = L2_ROUTE_FRESHNESS,
    [UNFED] = L2_ROUTE_NO_FEATURE, [MISFIT] = L2_ROUTE_CONTRACT,    [SPARSE] = L2_ROUTE_NAN_RATE,
};

static void put(struct l2_route_input *in, enum obstacle which)
{
    switch (which) {
    case FLAG:
        in->kill_switch = true;
        break;
    case SWITCH:
        in->rollout.kill_switch = true;
        break;
    case PAUSE:
        in->rollout.paused = true;
        in->rollout.effective = L2_ARM_NO_L2;
        break;
    case LATCHED:
        in->latched = true;
        break;
    case WARM_UP:
        in->warm_up = true;
        break;
    case STALE:
        in->quality.freshness_s = FRESH_MAX + 1;
        break;
    case UNFED:
        in->has_feature = false;
        break;
    case MISFIT:
        in->fits_contract = false;
        break;
    case SPARSE:
        in->quality.nan_rate = 1;
        break;
    case OBSTACLES:
        break;
    }
}

/* All 512 sets of obstacles, with models that serve and do not: the first obstacle is the reason.
 */
static void the_first_obstacle_is_the_reason(void **state)
{
    (void)state;
    for (unsigned set = 0; set < 1U << OBSTACLES; set++) {
        for (unsigned models = 0; models < 4; models++) {
            struct l2_route_input in = all_well();
            struct l2_route want = {L2_ARM_CHAMPION_L2, L2_ROUTE_ROLLOUT};

            in.no_l2_serves = (models & 1) != 0;
            in.l2_serves = (models & 2) != 0;
            for (unsigned o = OBSTACLES; o-- > 0;) {
                if ((set >> o & 1) == 0)
                    continue;
                put(&in, (enum obstacle)o);
                want = (struct l2_route){L2_ARM_NO_L2, said[o]};
            }
            if (want.arm == L2_ARM_CHAMPION_L2 && !in.l2_serves)
                want = (struct l2_route){L2_ARM_NO_L2, L2_ROUTE_NO_MODEL};
            if (want.arm == L2_ARM_NO_L2 && !in.no_l2_serves)
                want = (struct l2_route){L2_ARM_NONE, L2_ROUTE_NO_MODEL};
            const struct l2_route got = l2_route(&in);
            if (got.arm != want.arm || got.reason != want.reason)
                fail_msg("obstacles 0x%x, models %u: %s by %s, want %s by %s", set, models,
                         l2_arm_name(got.arm), l2_route_reason_name(got.reason),
                         l2_arm_name(want.arm), l2_route_reason_name(want.reason));
        }
    }
}

/* Each stage, by the rollout's own words. */
static void the_rollout_decides_when_all_is_well(void **state)
{
    (void)state;
    static const struct {
        bool known;
        enum l2_arm incumbent, challenger;
        enum l2_stage stage;
        enum l2_arm effective, executed;
        enum l2_route_reason reason;
        bool champion, candidate; /* predict */
    } rows[] = {
        {false, 0, 0, 0, 0, L2_ARM_NO_L2, L2_ROUTE_NO_ROLLOUT, false, false},
        {true, L2_ARM_NO_L2, L2_ARM_NONE, L2_STAGE_IDLE, L2_ARM_NO_L2, L2_ARM_NO_L2,
         L2_ROUTE_NO_ROLLOUT, false, false},
        {true, L2_ARM_NO_L2, L2_ARM_CANDIDATE_L2, L2_STAGE_IDLE, L2_ARM_NO_L2, L2_ARM_NO_L2,
         L2_ROUTE_NO_ROLLOUT, false, false},
        {true, L2_ARM_NO_L2, L2_ARM_CANDIDATE_L2, L2_STAGE_SHADOW, L2_ARM_NO_L2, L2_ARM_NO_L2,
         L2_ROUTE_ROLLOUT, false, true},
        {true, L2_ARM_NO_L2, L2_ARM_CANDIDATE_L2, L2_STAGE_RAMP_WAIT, L2_ARM_NO_L2, L2_ARM_NO_L2,
         L2_ROUTE_ROLLOUT, false, true},
        {true, L2_ARM_NO_L2, L2_ARM_CANDIDATE_L2, L2_STAGE_CANARY, L2_ARM_CANDIDATE_L2,
         L2_ARM_CANDIDATE_L2, L2_ROUTE_ROLLOUT, false, true},
        {true, L2_ARM_NO_L2, L2_ARM_CANDIDATE_L2, L2_STAGE_FULL, L2_ARM_CANDIDATE_L2,
         L2_ARM_CANDIDATE_L2, L2_ROUTE_ROLLOUT, false, true},
        {true, L2_ARM_CHAMPION_L2, L2_ARM_CANDIDATE_L2, L2_STAGE_SHADOW, L2_ARM_CHAMPION_L2,
         L2_ARM_CHAMPION_L2, L2_ROUTE_ROLLOUT, true, true},
        {true, L2_ARM_CHAMPION_L2, L2_ARM_CANDIDATE_L2, L2_STAGE_ROLLED_BACK, L2_ARM_CHAMPION_L2,
         L2_ARM_CHAMPION_L2, L2_ROUTE_ROLLOUT, true, false},
        /* effective, but no part of the rollout: never */
        {true, L2_ARM_NO_L2, L2_ARM_CANDIDATE_L2, L2_STAGE_SHADOW, L2_ARM_CHAMPION_L2, L2_ARM_NO_L2,
         L2_ROUTE_ROLLOUT, false, true},
        {true, L2_ARM_CHAMPION_L2, L2_ARM_NONE, L2_STAGE_IDLE, L2_ARM_NONE, L2_ARM_NO_L2,
         L2_ROUTE_ROLLOUT, true, false},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct l2_route_input in = all_well();

        in.rollout = (struct l2_rollout){.known = rows[i].known,
                                         .incumbent = rows[i].incumbent,
                                         .challenger = rows[i].challenger,
                                         .stage = rows[i].stage,
                                         .effective = rows[i].effective};
        const struct l2_route got = l2_route(&in);
        if (got.arm != rows[i].executed || got.reason != rows[i].reason)
            fail_msg("row %zu: %s by %s", i, l2_arm_name(got.arm),
                     l2_route_reason_name(got.reason));
        assert_true(l2_route_predicts(&in.rollout, L2_ARM_NO_L2));
        assert_false(l2_route_predicts(&in.rollout, L2_ARM_NONE));
        assert_int_equal(l2_route_predicts(&in.rollout, L2_ARM_CHAMPION_L2), rows[i].champion);
        assert_int_equal(l2_route_predicts(&in.rollout, L2_ARM_CANDIDATE_L2), rows[i].candidate);
    }
}

/* A frozen monitor stops clocks, and the incumbent executes on. */
static void a_pause_that_keeps_its_arm_is_none(void **state)
{
    struct l2_route_input in = all_well();

    (void)state;
    in.rollout.paused = true;
    assert_int_equal(l2_route(&in).arm, L2_ARM_CHAMPION_L2);
    assert_int_equal(l2_route(&in).reason, L2_ROUTE_ROLLOUT);
}

/* threshold − ε, =, + ε, and what is no number. */
static void thresholds_to_the_last_bit(void **state)
{
    (void)state;
    const struct {
        bool has_freshness, has_nan_rate;
        double freshness_s, nan_rate;
        enum l2_route_reason reason;
    } rows[] = {
        {true, true, nextafter(FRESH_MAX, 0), 0, L2_ROUTE_ROLLOUT},
        {true, true, FRESH_MAX, 0, L2_ROUTE_ROLLOUT},
        {true, true, nextafter(FRESH_MAX, 1e9), 0, L2_ROUTE_FRESHNESS},
        {true, true, NAN, 0, L2_ROUTE_FRESHNESS},
        {true, true, INFINITY, 0, L2_ROUTE_FRESHNESS},
        {false, true, 0, 0, L2_ROUTE_FRESHNESS},
        {true, true, 0, nextafter(SPARSE_MAX, 0), L2_ROUTE_ROLLOUT},
        {true, true, 0, SPARSE_MAX, L2_ROUTE_ROLLOUT},
        {true, true, 0, 1.0 / 5, L2_ROUTE_ROLLOUT},
        {true, true, 0, nextafter(SPARSE_MAX, 1), L2_ROUTE_NAN_RATE},
        {true, true, 0, 2.0 / 6, L2_ROUTE_NAN_RATE},
        {true, true, 0, NAN, L2_ROUTE_NAN_RATE},
        {true, false, 0, 1, L2_ROUTE_ROLLOUT},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct l2_route_input in = all_well();

        in.quality = (struct l2_prediction_quality){
            .has_freshness = rows[i].has_freshness,
            .freshness_s = rows[i].freshness_s,
            .has_nan_rate = rows[i].has_nan_rate,
            .nan_rate = rows[i].nan_rate,
        };
        if (l2_route(&in).reason != rows[i].reason)
            fail_msg("row %zu: %s", i, l2_route_reason_name(l2_route(&in).reason));
    }
    assert_true(FRESH_MAX == 300.0 && SPARSE_MAX == 0.20); /* of the threshold table */
}

/* ---- the latch ---- */

/*
 * One letter a bar: g good, F stale, N sparse, b no heartbeat, u no feature and fresh, w stale in
 * warm-up, k and p stale under the kill-switch and in a pause, x stale without a rollout. Returns
 * the newest bar that calls for the latch, -1: none.
 */
static int latched_through(const char *bars)
{
    struct l2_latch latch = {.seen = false};

    for (int64_t i = 0; bars[i] != '\0'; i++) {
        struct l2_latch_record r = {
            .bar_time_us = i * BAR_US,
            .reason = bars[i] == 'w'   ? L2_ROUTE_WARMUP
                      : bars[i] == 'k' ? L2_ROUTE_KILL_SWITCH
                      : bars[i] == 'p' ? L2_ROUTE_PAUSED
                      : bars[i] == 'x' ? L2_ROUTE_NO_ROLLOUT
                                       : L2_ROUTE_ROLLOUT,
            .quality = {.has_freshness = bars[i] != 'b',
                        .freshness_s = strchr("Fwkpx", bars[i]) != NULL ? 301 : 1,
                        .has_nan_rate = bars[i] != 'u',
                        .nan_rate = bars[i] == 'N' ? 0.5 : 0},
        };
        l2_latch_put(&latch, &r);
    }
    assert_int_equal(l2_latch_holds(&latch, INT64_MIN), latch.latched);
    return latch.latched ? (int)(latch.through_us / BAR_US) : -1;
}

static void three_in_a_row_latch(void **state)
{
    (void)state;
    static const struct {
        const char *bars;
        int through;
    } rows[] = {
        {"", -1},      {"ggggg", -1}, {"FF", -1},     {"FFF", 2},    {"NNN", 2},     {"FNb", 2},
        {"gFFF", 3},   {"FFgF", -1},  {"FFgFF", -1},  {"FFgFFF", 5}, {"FFFgggg", 2}, {"FFFFF", 4},
        {"FFFgF", 2},  {"FFFgFF", 2}, {"FFFgFFF", 6}, {"FFuF", 3},   {"FuFuF", 4},   {"uuu", -1},
        {"wwwww", -1}, {"FFwF", 3},   {"FwwwF", -1},  {"kkkkk", -1}, {"ppppp", -1},  {"xxxxx", -1},
        {"FFkpxF", 5}, {"bbb", 2},    {"FFFuuu", 2},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (latched_through(rows[i].bars) != rows[i].through)
            fail_msg("%s: through %d, want %d", rows[i].bars, latched_through(rows[i].bars),
                     rows[i].through);
    }
}

static struct l2_latch_record record_of(int bar, bool good)
{
    return (struct l2_latch_record){
        .bar_time_us = bar * BAR_US,
        .reason = L2_ROUTE_ROLLOUT,
        .quality = {.has_freshness = true, .freshness_s = good ? 1 : 301, .has_nan_rate = true},
    };
}

/* A bar of several records is at P2 if one of them is, in any order, and counts once. */
static void a_bar_counts_once(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 2; order++) {
        struct l2_latch latch = {.seen = false};
        for (int bar = 0; bar < 4; bar++) {
            const struct l2_latch_record bad = record_of(bar, false), good = record_of(bar, true);
            unsigned rose = 0;

            assert_int_equal(l2_latch_holds(&latch, INT64_MIN), bar >= 3);
            rose += l2_latch_put(&latch, order == 0 ? &bad : &good);
            rose += l2_latch_put(&latch, order == 0 ? &good : &bad);
            assert_int_equal(latch.row, bar < 3 ? bar + 1 : 3);
            rose += l2_latch_put(&latch, &bad);
            assert_int_equal(rose, 1);
        }
        for (int n = 0; n < 2; n++) { /* a good bar's second record does not break a row twice */
            const struct l2_latch_record good = record_of(4, true);
            assert_false(l2_latch_put(&latch, &good));
            assert_int_equal(latch.row, 0);
        }
        const struct l2_latch_record late = record_of(2, false);
        const struct l2_latch before = latch;
        assert_false(l2_latch_put(&latch, &late)); /* behind: nothing */
        assert_memory_equal(&before, &latch, sizeof latch);
    }
}

/* Cleared once the rollout's word reaches the newest bar that called for it; again when it comes
 * again. */
static void the_latch_is_cleared_by_the_rollout(void **state)
{
    struct l2_latch latch = {.seen = false};

    (void)state;
    for (int bar = 10; bar < 14; bar++) {
        const struct l2_latch_record bad = record_of(bar, false);
        (void)l2_latch_put(&latch, &bad);
    }
    assert_true(l2_latch_holds(&latch, INT64_MIN));
    assert_true(l2_latch_holds(&latch, 12 * BAR_US));
    assert_true(l2_latch_holds(&latch, 13 * BAR_US - 1));
    assert_false(l2_latch_holds(&latch, 13 * BAR_US));
    const struct l2_latch_record again = record_of(14, false), good = record_of(15, true);
    (void)l2_latch_put(&latch, &again); /* cleared while its cause was open: it is back */
    assert_true(l2_latch_holds(&latch, 13 * BAR_US));
    (void)l2_latch_put(&latch, &good);
    assert_false(l2_latch_holds(&latch, 14 * BAR_US));
    for (int bar = 16; bar < 18; bar++) {
        const struct l2_latch_record bad = record_of(bar, false);
        (void)l2_latch_put(&latch, &bad);
        assert_false(l2_latch_holds(&latch, 14 * BAR_US));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_the_schemas),
        cmocka_unit_test(the_first_obstacle_is_the_reason),
        cmocka_unit_test(the_rollout_decides_when_all_is_well),
        cmocka_unit_test(a_pause_that_keeps_its_arm_is_none),
        cmocka_unit_test(thresholds_to_the_last_bit),
        cmocka_unit_test(three_in_a_row_latch),
        cmocka_unit_test(a_bar_counts_once),
        cmocka_unit_test(the_latch_is_cleared_by_the_rollout),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
