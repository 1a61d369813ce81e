/*
 * Each kind of invalid record is what it says, by the rules of common/l2 and the codec; and the
 * feed that changes: cadence, stalls, restarts.
 *
 * Seen to fail: two levels swapped where they were one and the same, bytes cut at the whole length,
 * a crossed book whose bids were out of order too, the flow of a snapshot left out that was lost, a
 * sequence that went on after a restart.
 */
#include "rep_draw.h"
#include "rep_feed.h"
#include "rep_grow.h"
#include "rep_invalid.h"
#include "rep_synth.h"

#include "l2/book.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DRAWS 2000
#define S INT64_C(1000000)

static struct codec_l2_snapshot good, spoilt;
static uint8_t bytes[REP_INVALID_BYTES_MAX];

static struct rep_source market(uint64_t seed, unsigned depth, int64_t seconds)
{
    return rep_synth(&(struct rep_synth_options){.seed = seed,
                                                 .symbols_n = 2,
                                                 .rate_hz = 10,
                                                 .silence_s = 1800,
                                                 .depth = depth,
                                                 .start_us = 1700000000 * S,
                                                 .span_us = seconds * S});
}

static bool pull(struct rep_source *source, struct rep_item *item)
{
    struct err err;
    bool got;

    do
        assert_int_equal(source->next(source->self, item, &got, &err), ERR_OK);
    while (got && item->is_trade);
    return got;
}

static void take_good(const struct rep_item *item)
{
    good = (struct codec_l2_snapshot){.exchange = codec_str("x"),
                                      .symbol = codec_str("BTCUSDT"),
                                      .event_time_us = item->event_us,
                                      .received_time_us = item->received_us,
                                      .sequence = item->sequence,
                                      .epoch = item->epoch,
                                      .bids_n = item->bids_n,
                                      .asks_n = item->asks_n,
                                      .has_flow = item->has_flow,
                                      .flow = item->flow};
    memcpy(good.bids, item->bids, item->bids_n * sizeof *item->bids);
    memcpy(good.asks, item->asks, item->asks_n * sizeof *item->asks);
}

static enum l2_reject book_check(const struct codec_l2_snapshot *v)
{
    const struct l2_snapshot s = {
        .event_time_us = v->event_time_us,
        .received_time_us = v->received_time_us,
        .sequence = v->sequence,
        .epoch = v->epoch,
        .bids = (const struct l2_level *)v->bids,
        .asks = (const struct l2_level *)v->asks,
        .bids_n = v->bids_n,
        .asks_n = v->asks_n,
        .has_flow = v->has_flow,
        .flow = {v->flow.buy_base, v->flow.sell_base, v->flow.buy_quote, v->flow.sell_quote,
                 v->flow.trade_count},
    };

    return l2_book_check(&s);
}

/* What a consumer of that key would say, by the rules in their order; "" for none. */
static const char *verdict(const struct rep_invalid_record *r, size_t n)
{
    static struct codec_l2_snapshot v;
    uint64_t fingerprint;
    const uint8_t *body;
    size_t body_n;

    if (n > 128 * 1024)
        return "too_large";
    const enum codec_status framed = codec_frame_get(bytes, n, &fingerprint, &body, &body_n);
    if (framed == CODEC_FRAME_NO_REGISTRY)
        return "unknown_schema";
    if (framed != CODEC_OK)
        return "undecodable";
    if (fingerprint != codec_l2_snapshot_fingerprint)
        return "unknown_schema";
    if (codec_l2_snapshot_decode(body, body_n, &v) != CODEC_OK)
        return "undecodable";
    if (!l2_symbol_ok(v.symbol.data, v.symbol.n))
        return "symbol_invalid";
    if (!codec_str_equal(v.symbol, r->key))
        return "symbol_mismatch";
    if (!codec_str_equal(v.exchange, good.exchange))
        return "wrong_exchange";
    if (v.event_time_us - v.received_time_us > 5 * S ||
        (r->timestamp_ms != 0 && v.event_time_us - r->timestamp_ms * 1000 > 5 * S))
        return "event_time_ahead";
    const enum l2_reject reject = book_check(&v);
    if (reject != L2_ACCEPTED)
        return l2_reject_names[reject];
    if (r->is_elsewhere)
        return "wrong_partition";
    return strncmp(v.symbol.data, "NEW", 3) == 0 ? "max_symbols" : "";
}

static void check_dropped(enum rep_invalid kind)
{
    assert_int_equal(spoilt.epoch - good.epoch, kind == REP_INVALID_LOWER_EPOCH ? -1 : 0);
    assert_int_equal(spoilt.sequence - good.sequence, kind == REP_INVALID_DUPLICATE ? 0 : 1);
    assert_int_equal(spoilt.event_time_us - good.event_time_us, kind == REP_INVALID_LATE ? -S : 0);
}

static void check_kinds(unsigned depth)
{
    struct rep_source source = market(5, depth, 3600);
    struct rep_item item;
    uint64_t random = 9;

    for (unsigned i = 0; i < DRAWS; i++) {
        assert_true(pull(&source, &item));
        take_good(&item);
        for (unsigned kind = 0; kind < REP_INVALIDS; kind++) {
            const struct rep_invalid_info *const info = &rep_invalid_infos[kind];
            struct rep_invalid_record r = {.snapshot = &spoilt};
            size_t n;
            spoilt = good;
            rep_invalid_values((enum rep_invalid)kind, i, &random, &r);
            assert_int_equal(codec_l2_snapshot_frame(&spoilt, bytes, sizeof bytes, &n), CODEC_OK);
            n = rep_invalid_bytes((enum rep_invalid)kind, &random, bytes, n);
            assert_true(n <= sizeof bytes);
            assert_string_equal(verdict(&r, n), info->reason != NULL ? info->reason : "");
            if (info->reason == NULL)
                check_dropped((enum rep_invalid)kind);
        }
    }
    rep_source_free(&source);
}

static void each_kind_is_what_it_says(void **state)
{
    (void)state;
    check_kinds(2);
    check_kinds(20);
}

static void plans(void **state)
{
    struct rep_invalid_plan plan = {0};
    struct err err;

    (void)state;
    assert_int_equal(rep_invalid_parse("nan,locked", &plan, &err), ERR_OK);
    assert_int_equal(plan.kinds_n, 2);
    assert_int_equal(plan.kinds[0], REP_INVALID_NAN);
    assert_int_equal(rep_invalid_parse("all,-dropped", &plan, &err), ERR_OK);
    assert_int_equal(plan.kinds_n, REP_INVALID_DUPLICATE);
    assert_int_equal(rep_invalid_parse("dead,-too_large,late", &plan, &err), ERR_OK);
    assert_int_equal(plan.kinds_n, REP_INVALID_DUPLICATE);
    for (unsigned i = 0; i < plan.kinds_n; i++)
        assert_int_not_equal(plan.kinds[i], REP_INVALID_TOO_LARGE);
    static const char *const bad[] = {"",         "nan,", ",nan",  "NAN",
                                      "nan,,nan", "-nan", "--nan", "nan;"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(rep_invalid_parse(bad[i], &plan, &err), ERR_REJECT);
}

static void feed_words(void **state)
{
    static const char *const bad_cadences[] = {"",     "1",      "1:",      ":1",    "1:0", "0:5",
                                               "-1:5", "1001:5", "1:5;2:5", "1:5,,", "x:1"};
    static const char *const bad_restarts[] = {
        "", "epoch", "epoch:", "epoch:0", "other:5", "adopt:5x", "adopt:99999999999999999999"};
    struct rep_feed_plan plan = {0};
    struct err err;

    (void)state;
    assert_int_equal(rep_feed_parse_cadence("10:60,0:5", &plan, &err), ERR_OK);
    assert_int_equal(plan.phases_n, 2);
    assert_int_equal(plan.phases[1].span_us, 5 * S);
    assert_int_equal(rep_feed_parse_restart("adopt:7", &plan, &err), ERR_OK);
    assert_true(plan.restart == REP_FEED_ADOPT && plan.restart_us == 7 * S);
    for (size_t i = 0; i < sizeof bad_cadences / sizeof bad_cadences[0]; i++)
        assert_int_equal(rep_feed_parse_cadence(bad_cadences[i], &plan, &err), ERR_REJECT);
    for (size_t i = 0; i < sizeof bad_restarts / sizeof bad_restarts[0]; i++)
        assert_int_equal(rep_feed_parse_restart(bad_restarts[i], &plan, &err), ERR_REJECT);
    assert_int_equal(plan.phases_n, 2);
}

/* 10 a second for 20 s, 2 a second for 20 s, 10 s of nothing; all that was traded is told. */
static void cadence_changes(void **state)
{
    struct rep_feed_plan plan = {0};
    struct rep_source plain = market(3, 4, 200), source;
    struct rep_item item;
    struct err err;
    unsigned n[5] = {0};
    int64_t trades = 0, plain_trades = 0, last_us = 0;

    (void)state;
    assert_int_equal(rep_feed_parse_cadence("10:20,2:20,0:10", &plan, &err), ERR_OK);
    source = rep_feed(market(3, 4, 200), &plan, 2);
    while (pull(&source, &item)) {
        if (item.symbol != 0)
            continue;
        n[(item.event_us - 1700000000 * S) % (50 * S) / (10 * S)]++;
        trades += item.flow.trade_count;
        last_us = item.event_us;
    }
    while (pull(&plain, &item) && (item.symbol != 0 || item.event_us <= last_us))
        plain_trades += item.symbol == 0 ? item.flow.trade_count : 0;
    assert_in_range(n[0], 390, 401);
    assert_in_range(n[1], 390, 404);
    assert_in_range(n[2], 78, 84);
    assert_in_range(n[3], 78, 84);
    assert_in_range(n[4], 0, 4);
    assert_int_equal(trades, plain_trades);
    rep_source_free(&plain);
    rep_source_free(&source);
}

static void check_restarts(const char *text, int64_t epoch_step, int64_t time_step_us)
{
    struct rep_feed_plan plan = {0};
    struct rep_source plain = market(3, 4, 100), source;
    struct rep_item item, want, last = {.sequence = 0};
    struct err err;
    unsigned restarts = 0;

    assert_int_equal(rep_feed_parse_restart(text, &plan, &err), ERR_OK);
    source = rep_feed(market(3, 4, 100), &plan, 2);
    while (pull(&source, &item)) {
        assert_true(pull(&plain, &want));
        if (item.symbol != 0)
            continue;
        if (last.sequence > 0 && item.epoch != last.epoch) {
            restarts++;
            assert_int_equal(item.epoch - last.epoch, epoch_step);
            assert_int_equal(item.sequence, 1);
        } else {
            assert_true(item.sequence > last.sequence && item.event_us > last.event_us);
        }
        assert_int_equal(want.event_us - item.event_us, restarts * time_step_us);
        assert_int_equal(want.received_us - item.received_us, restarts * time_step_us);
        assert_int_equal(want.due_us, item.due_us);
        last = item;
    }
    assert_int_equal(restarts, 3);
    rep_source_free(&plain);
    rep_source_free(&source);
}

static void restarts(void **state)
{
    (void)state;
    check_restarts("epoch:30", 1, 0);
    check_restarts("adopt:30", -1, REP_FEED_STEP_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_is_what_it_says),
        cmocka_unit_test(plans),
        cmocka_unit_test(feed_words),
        cmocka_unit_test(cadence_changes),
        cmocka_unit_test(restarts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
