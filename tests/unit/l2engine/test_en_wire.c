/*
 * The example engine's words: records in and out, commit metadata, the answer sheet.
 * Seen to fail with: candles off their grid, at a price of 0 or of another exchange taken; a purge
 * or a version that is not compared; a model known by its name alone; a latch cleared at 0 where
 * nothing is said; a prediction valid a bar too short, a NaN rate or a column that is lost; arm
 * none with a model; an offset below 0 in the metadata; an answer sheet unsorted, or whose times
 * are not looked at.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/candle.h"
#include "codec/heartbeat.h"
#include "codec/l2_feature.h"
#include "codec/rollout_state.h"
#include "en_sheet.h"
#include "en_wire.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BAR_US INT64_C(900000000)
#define T (1900000 * BAR_US)

static struct en_wire wire;
static uint8_t bytes[8192];

static int open_wire(void **state)
{
    static const struct codec_record *const records[EN_INPUTS] = {
        &codec_candle_record, &codec_l2_feature_record, &codec_heartbeat_record,
        &codec_rollout_state_record, &codec_prediction_record};
    struct err err;

    (void)state;
    wire = (struct en_wire){.exchange = "binance-usdm",
                            .bar_s = 900,
                            .bar_us = BAR_US,
                            .purge_bars = 20,
                            .schema_version = "l2_schema_v1",
                            .model_version = "1.m8",
                            .label = {16, 96, 1.0}};
    for (int i = 0; i < EN_INPUTS; i++)
        assert_int_equal(codec_reader_new(records[i], NULL, &wire.readers[i], &err), ERR_OK);
    return 0;
}

static int close_wire(void **state)
{
    (void)state;
    for (int i = 0; i < EN_INPUTS; i++)
        codec_reader_free(wire.readers[i]);
    return 0;
}

static struct bus_reader_record record_of(const struct codec_record *record, const void *v,
                                          const char *key)
{
    size_t n = 0;

    assert_int_equal(codec_frame(record, v, bytes, sizeof bytes, &n), CODEC_OK);
    return (struct bus_reader_record){.partition = 1,
                                      .offset = 77,
                                      .key = (const uint8_t *)key,
                                      .key_n = strlen(key),
                                      .value = bytes,
                                      .value_n = n};
}

static void candles(void **state)
{
    (void)state;
    const struct codec_candle good = {.exchange = codec_str("binance-usdm"),
                                      .symbol = codec_str("BTCUSDT"),
                                      .bar_time_us = T,
                                      .bar_seconds = 900,
                                      .close = 100.5,
                                      .base_volume = 2};
    struct en_candle c;
    enum change { NONE, EXCHANGE, LENGTH, KEY, GRID, ZERO, NO_NUMBER, NEGATIVE, CUT, CHANGES };
    static const enum en_reject want[CHANGES] = {
        [EXCHANGE] = EN_OTHERS,  [LENGTH] = EN_OTHERS,   [KEY] = EN_INVALID,
        [GRID] = EN_INVALID,     [ZERO] = EN_INVALID,    [NO_NUMBER] = EN_INVALID,
        [NEGATIVE] = EN_INVALID, [CUT] = EN_UNDECODABLE,
    };

    for (int i = 0; i < CHANGES; i++) {
        struct codec_candle v = good;
        v.exchange = i == EXCHANGE ? codec_str("kraken") : v.exchange;
        v.bar_seconds = i == LENGTH ? 60 : 900;
        v.bar_time_us += i == GRID;
        v.close = i == ZERO ? 0 : i == NO_NUMBER ? NAN : v.close;
        v.base_volume = i == NEGATIVE ? -1 : v.base_volume;
        const struct bus_reader_record r =
            record_of(&codec_candle_record, &v, i == KEY ? "ETHUSDT" : "BTCUSDT");
        const struct bus_event e = {.partition = r.partition,
                                    .offset = r.offset,
                                    .key = r.key,
                                    .key_n = r.key_n,
                                    .value = r.value,
                                    .value_n = i == CUT ? r.value_n - 1 : r.value_n};
        if (en_wire_candle(&wire, &e, &c) != want[i])
            fail_msg("change %d", i);
    }
    assert_true(c.symbol.n == 7 && c.partition == 1 && c.offset == 77 && c.bar_time_us == T);
    assert_true(c.close == 100.5 && c.volume == 2);
}

static void features_and_what_is_pinned(void **state)
{
    (void)state;
    struct codec_l2_feature v = {.exchange = codec_str("binance-usdm"),
                                 .symbol = codec_str("BTCUSDT"),
                                 .bar_time_us = T,
                                 .bar_seconds = 900,
                                 .schema_version = codec_str("l2_schema_v1"),
                                 .feature_set = codec_str("standard"),
                                 .purge_bars = 20,
                                 .source_bar_time_us = T - 20 * BAR_US,
                                 .has_l2_spread_bps = true,
                                 .l2_spread_bps = 1.5,
                                 .has_l2_ofi_15m = true,
                                 .l2_ofi_15m = -3};
    struct en_feature f;
    struct en_misfit m;
    struct bus_reader_record r = record_of(&codec_l2_feature_record, &v, "BTCUSDT");

    assert_int_equal(en_wire_feature(&wire, &r, &f, &m), EN_ACCEPTED);
    assert_true(f.fits_contract && m.field == NULL && f.source_us == T - 20 * BAR_US);
    assert_int_equal(f.row.present, 1U << L2_SPREAD_BPS | 1U << L2_OFI);
    assert_true(f.row.value[L2_SPREAD_BPS] == 1.5 && f.row.value[L2_OFI] == -3);
    v.purge_bars = 0;
    r = record_of(&codec_l2_feature_record, &v, "BTCUSDT");
    assert_int_equal(en_wire_feature(&wire, &r, &f, &m), EN_ACCEPTED);
    assert_false(f.fits_contract);
    assert_string_equal(m.field, "purge_bars");
    assert_true(strcmp(m.there, "0") == 0 && strcmp(m.here, "20") == 0);
    v.purge_bars = 20;
    v.schema_version = codec_str("l2_schema_v1+w60");
    r = record_of(&codec_l2_feature_record, &v, "BTCUSDT");
    assert_int_equal(en_wire_feature(&wire, &r, &f, &m), EN_ACCEPTED);
    assert_string_equal(m.field, "schema_version");
    assert_string_equal(m.there, "l2_schema_v1+w60");
}

static void rollouts_and_their_models(void **state)
{
    (void)state;
    struct codec_rollout_state v = {
        .exchange = codec_str("binance-usdm"),
        .symbol = codec_str("BTCUSDT"),
        .version = 9,
        .incumbent = CODEC_ARM_NO_L2,
        .challenger = CODEC_ARM_CANDIDATE_L2,
        .stage = CODEC_STAGE_CANARY,
        .effective_arm = CODEC_ARM_CANDIDATE_L2,
        .models_n = 2,
        .models = {{CODEC_ARM_NO_L2, codec_str(EN_MODEL_NAME), codec_str("1"),
                    codec_str(EN_RULE_SHA256)},
                   {CODEC_ARM_CANDIDATE_L2, codec_str(EN_MODEL_NAME), codec_str("1"),
                    codec_str("00")}},
        .paused = true,
        .has_latch_cleared_through = true,
        .latch_cleared_through_us = T,
    };
    struct en_rollout out;
    struct bus_reader_record r = record_of(&codec_rollout_state_record, &v, "BTCUSDT");

    assert_int_equal(en_wire_rollout(&wire, &r, &out), EN_ACCEPTED);
    assert_true(out.version == 9 && out.cleared_through_us == T && out.rollout.known);
    assert_true(out.rollout.paused && !out.rollout.kill_switch);
    assert_int_equal(out.rollout.stage, L2_STAGE_CANARY);
    assert_int_equal(out.rollout.incumbent, L2_ARM_NO_L2);
    assert_int_equal(out.rollout.challenger, L2_ARM_CANDIDATE_L2);
    assert_int_equal(out.rollout.effective, L2_ARM_CANDIDATE_L2);
    assert_true(out.serves[L2_ARM_NO_L2] && out.serves[L2_ARM_CHAMPION_L2]);
    assert_false(out.serves[L2_ARM_CANDIDATE_L2]);
    v.has_latch_cleared_through = false;
    v.latch_cleared_through_us = 0;
    r = record_of(&codec_rollout_state_record, &v, "BTCUSDT");
    assert_int_equal(en_wire_rollout(&wire, &r, &out), EN_ACCEPTED);
    assert_true(out.cleared_through_us == INT64_MIN);
}

static void beats(void **state)
{
    (void)state;
    struct codec_heartbeat v = {.exchange = codec_str("binance-usdm"),
                                .symbol = codec_str("BTCUSDT"),
                                .newest_event_time_us = T + 1};
    struct bus_reader_record r = record_of(&codec_heartbeat_record, &v, "BTCUSDT");
    struct en_name symbol;
    int64_t event_us = 0;

    assert_int_equal(en_wire_beat(&wire, &r, &symbol, &event_us), EN_ACCEPTED);
    assert_int_equal(event_us, T + 1);
    v.symbol = codec_str("_monitor/0"); /* no crypto's */
    r = record_of(&codec_heartbeat_record, &v, "_monitor/0");
    assert_int_equal(en_wire_beat(&wire, &r, &symbol, &event_us), EN_INVALID);
}

/* What goes out comes back as the latch's record: a restart sees what a life has seen. */
static void predictions_come_back(void **state)
{
    (void)state;
    static uint8_t out[EN_PREDICTION_BYTES_MAX];
    struct en_bar bar = {
        .symbol = {"BTCUSDT", 7},
        .bar_time_us = T,
        .route = {L2_ARM_CHAMPION_L2, L2_ROUTE_ROLLOUT},
        .has_freshness = true,
        .freshness_s = 1.25,
        .has_rollout = true,
        .rollout_version = 5,
        .source_us = T - 20 * BAR_US,
        .predictions = {{.arm = L2_ARM_CHAMPION_L2,
                         .executed = true,
                         .has_p = true,
                         .p = {0.2, 0.3, 0.5},
                         .decision = L2_BUY,
                         .has_nan_rate = true,
                         .nan_rate = 1.0 / 3},
                        {.arm = L2_ARM_NONE, .decision = L2_HOLD}},
        .n = 2,
    };
    struct codec_prediction p;
    struct en_past past;
    size_t n = en_wire_prediction(&wire, &bar, 0, T + 1, out);

    assert_int_equal(codec_prediction_unframe(out, n, &p), CODEC_OK);
    assert_true(p.p_sell == 0.2 && p.p_hold == 0.3 && p.p_buy == 0.5 && p.executed);
    assert_true(p.arm == CODEC_ARM_CHAMPION_L2 && p.decision == CODEC_DECISION_BUY);
    assert_true(p.valid_until_us == T + 2 * BAR_US && p.produced_time_us == T + 1);
    assert_true(p.has_rollout_version && p.rollout_version == 5);
    assert_true(p.has_source_bar_time && p.source_bar_time_us == T - 20 * BAR_US);
    assert_true(p.horizon_bars == 16 && p.volatility_span_bars == 96 && p.barrier_width == 1);
    assert_true(codec_str_equal(p.model_sha256, codec_str(EN_RULE_SHA256)));
    assert_int_equal(p.model_sha256.n, 64);
    const struct bus_reader_record r = {.partition = 1,
                                        .offset = 3,
                                        .key = (const uint8_t *)"BTCUSDT",
                                        .key_n = 7,
                                        .value = out,
                                        .value_n = n};
    assert_int_equal(en_wire_past(&wire, &r, &past), EN_ACCEPTED);
    assert_true(past.offset == 3 && past.partition == 1 && past.record.bar_time_us == T);
    assert_true(past.record.quality.has_freshness && past.record.quality.freshness_s == 1.25);
    assert_true(past.record.quality.has_nan_rate && past.record.quality.nan_rate == 1.0 / 3);
    assert_int_equal(past.record.reason, L2_ROUTE_ROLLOUT);
    n = en_wire_prediction(&wire, &bar, 1, T + 1, out);
    assert_int_equal(codec_prediction_unframe(out, n, &p), CODEC_OK);
    assert_false(p.has_p_buy || p.has_model_name || p.has_horizon_bars || p.has_source_bar_time ||
                 p.has_schema_version || p.has_nan_rate || p.executed);
    assert_int_equal(p.decision, CODEC_DECISION_HOLD);
}

static void metadata(void **state)
{
    (void)state;
    static const char *const bad[] = {"",        "e1,",     "e1,1",   "e1,1,",
                                      "e1,1,2,", "e1,-1,2", "1,2,3",  "e2,1,2",
                                      "e1, 1,2", "e1,1,2 ", "e1,1,x", "e1,99999999999999999999,2"};
    const struct en_position most = {.ohlcv_from = INT64_MAX, .sent_from = INT64_MAX};
    char text[BUS_METADATA_BYTES_MAX + 1];
    int64_t ohlcv = 0, sent = 0;

    en_wire_metadata(&most, text);
    assert_true(en_wire_metadata_parse(text, &ohlcv, &sent));
    assert_true(ohlcv == INT64_MAX && sent == INT64_MAX);
    en_wire_metadata(&(struct en_position){.ohlcv_from = 12, .sent_from = 0}, text);
    assert_string_equal(text, "e1,12,0");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (en_wire_metadata_parse(bad[i], &ohlcv, &sent))
            fail_msg("\"%s\"", bad[i]);
    assert_int_equal(ohlcv, INT64_MAX); /* untouched */
}

static enum err_class read_sheet(const char *text, struct en_sheet **sheet, struct err *err)
{
    char path[] = "/tmp/l2engine-sheet-XXXXXX";
    const int fd = mkstemp(path);

    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    (void)close(fd);
    const enum err_class e = en_sheet_read(path, sheet, err);
    (void)unlink(path);
    return e;
}

static void sheets(void **state)
{
    struct en_sheet *sheet = NULL;
    enum l2_class label = L2_HOLD;
    struct err err;

    (void)state;
    assert_int_equal(read_sheet("B,2,buy\nA,1,sell\r\nB,1,hold\n", &sheet, &err), ERR_OK);
    assert_true(en_sheet_find(sheet, (struct en_name){"B", 1}, 2, &label) && label == L2_BUY);
    assert_true(en_sheet_find(sheet, (struct en_name){"A", 1}, 1, &label) && label == L2_SELL);
    assert_false(en_sheet_find(sheet, (struct en_name){"A", 1}, 2, &label));
    en_sheet_free(sheet);
    assert_int_equal(read_sheet("A,1,sell\nA,2,up\n", &sheet, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, ":2:"));
    assert_int_equal(read_sheet("A,x,sell\n", &sheet, &err), ERR_REJECT);
    assert_int_equal(read_sheet("A B,1,sell\n", &sheet, &err), ERR_REJECT);
    assert_int_equal(en_sheet_read("/nonexistent/sheet", &sheet, &err), ERR_REJECT);
    assert_int_equal(en_sheet_read("", &sheet, &err), ERR_OK);
    assert_null(sheet);
    assert_false(en_sheet_find(NULL, (struct en_name){"A", 1}, 2, &label));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(candles),
        cmocka_unit_test(features_and_what_is_pinned),
        cmocka_unit_test(rollouts_and_their_models),
        cmocka_unit_test(beats),
        cmocka_unit_test(predictions_come_back),
        cmocka_unit_test(metadata),
        cmocka_unit_test(sheets),
    };

    return cmocka_run_group_tests(tests, open_wire, close_wire);
}
