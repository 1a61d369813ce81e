/* How records look: each format against text written by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/heartbeat.h"
#include "codec/l2_bar.h"
#include "codec/l2_snapshot.h"
#include "ctl_view.h"
#include "topics/topics.h"

static struct codec_l2_snapshot snapshot;
static char *text, *errs;
static size_t text_n, errs_n;
static struct ctl_view view;

static int open_view(void **state)
{
    (void)state;
    view = (struct ctl_view){.out = open_memstream(&text, &text_n),
                             .errs = open_memstream(&errs, &errs_n)};
    snapshot = (struct codec_l2_snapshot){
        .exchange = codec_str("binance-usdm"),
        .symbol = codec_str("BTCUSDT"),
        .event_time_us = INT64_C(1723161256123456),
        .received_time_us = INT64_C(1723161256130000),
        .sequence = 7,
        .epoch = -1,
        .bids_n = 2,
        .bids = {{58000.1, 0.5}, {58000, 1.25}},
        .asks_n = 1,
        .asks = {{58000.2, 3}},
    };
    return 0;
}

static int close_view(void **state)
{
    (void)state;
    fclose(view.out);
    fclose(view.errs);
    free(text);
    free(errs);
    return 0;
}

static const char *put(enum ctl_format format, const struct ctl_item *item)
{
    view.format = format;
    ctl_view_put(&view, item);
    fflush(view.out);
    fflush(view.errs);
    return text;
}

static const struct bus_reader_record place = {.partition = 3,
                                               .offset = 41,
                                               .timestamp_us = INT64_C(1723161257000000),
                                               .key = (const uint8_t *)"BTCUSDT",
                                               .key_n = 7};

static struct ctl_item snapshot_item(const struct bus_reader_record *m)
{
    return (struct ctl_item){.message = m,
                             .topic = "eu.l2.snapshots",
                             .record = &codec_l2_snapshot_record,
                             .value = &snapshot};
}

/* Seen to fail with %.15g alone, with times in milliseconds, and with NaN printed as it is. */
static void json_has_every_field(void **state)
{
    (void)state;
    const struct ctl_item item = snapshot_item(&place);
    snapshot.has_flow = true;
    snapshot.flow = (struct codec_flow){0.1 + 0.2, NAN, INFINITY, -INFINITY, INT64_MIN};

    assert_string_equal(
        put(CTL_JSON, &item),
        "{\"_record\":\"L2Snapshot\",\"_kafka\":{\"topic\":\"eu.l2.snapshots\",\"partition\":3,"
        "\"offset\":41,"
        "\"timestamp\":1723161257000000,\"key\":\"BTCUSDT\",\"headers\":{}},\"exchange\":\"binance-"
        "usdm\","
        "\"symbol\":\"BTCUSDT\",\"event_time\":1723161256123456,\"received_time\":1723161256130000,"
        "\"sequence\":7,"
        "\"epoch\":-1,\"bids\":[{\"price\":58000.1,\"quantity\":0.5},{\"price\":58000,\"quantity\":"
        "1.25}],"
        "\"asks\":[{\"price\":58000.2,\"quantity\":3}],\"flow\":{\"buy_base\":0.30000000000000004,"
        "\"sell_base\":\"NaN\",\"buy_quote\":\"Infinity\",\"sell_quote\":\"-Infinity\","
        "\"trade_count\":-9223372036854775808}}\n");
}

static void json_of_a_file_and_of_nulls(void **state)
{
    (void)state;
    const struct ctl_item item = snapshot_item(NULL);

    snapshot.bids_n = 0;
    snapshot.asks_n = 0;
    snapshot.symbol = codec_str("a\"\\\n\x01\xff\xc3\xa9\xed\xa0\x80");
    assert_string_equal(
        put(CTL_JSON, &item),
        "{\"_record\":\"L2Snapshot\",\"exchange\":\"binance-usdm\","
        "\"symbol\":\"a\\\"\\\\\\n\\u0001\\ufffd\xc3\xa9\\ufffd\\ufffd\\ufffd\","
        "\"event_time\":1723161256123456,\"received_time\":1723161256130000,\"sequence\":7,"
        "\"epoch\":-1,\"bids\":[],\"asks\":[],\"flow\":null}\n");
}

static void json_of_what_is_undecodable(void **state)
{
    (void)state;
    const struct bus_reader_record m = {.partition = 0, .offset = 1, .timestamp_us = -1};
    const struct ctl_item item = {.message = &m,
                                  .topic = "l2.bars",
                                  .why = "frame_short",
                                  .bytes = (const uint8_t *)"\x00\xfe",
                                  .bytes_n = 2};

    assert_string_equal(
        put(CTL_JSON, &item),
        "{\"_record\":null,\"_kafka\":{\"topic\":\"l2.bars\",\"partition\":0,\"offset\":1,"
        "\"timestamp\":-1,"
        "\"key\":null,\"headers\":{}},\"_error\":\"frame_short\",\"_bytes\":\"00fe\"}\n");
}

/* Seen to fail with a head without the columns of a null flow. */
static void csv_is_flat(void **state)
{
    (void)state;
    const struct ctl_item item = snapshot_item(&place);

    (void)put(CTL_CSV, &item);
    snapshot.has_flow = true;
    snapshot.flow = (struct codec_flow){1, 2, 3, 4, 5};
    snapshot.symbol = codec_str("A,\"B");
    assert_string_equal(
        put(CTL_CSV, &item),
        "partition,offset,timestamp,key,exchange,symbol,event_time,received_time,sequence,epoch,"
        "bids,asks,"
        "flow.buy_base,flow.sell_base,flow.buy_quote,flow.sell_quote,flow.trade_count\n"
        "3,41,1723161257000000,BTCUSDT,binance-usdm,BTCUSDT,1723161256123456,1723161256130000,7,-1,"
        "58000.1:0.5 58000:1.25,58000.2:3,,,,,\n"
        "3,41,1723161257000000,BTCUSDT,binance-usdm,\"A,\"\"B\",1723161256123456,1723161256130000,"
        "7,-1,"
        "58000.1:0.5 58000:1.25,58000.2:3,1,2,3,4,5\n");
}

static void csv_names_what_has_no_columns(void **state)
{
    (void)state;
    struct codec_heartbeat beat = {.exchange = codec_str("x"), .symbol = codec_str("y")};
    const struct ctl_item first = snapshot_item(NULL);
    const struct ctl_item other = {.number = 9, .record = &codec_heartbeat_record, .value = &beat};
    const struct ctl_item bad = {.message = &place, .topic = "l2.bars", .why = "truncated"};

    (void)put(CTL_CSV, &first);
    const size_t before = text_n;
    (void)put(CTL_CSV, &other);
    (void)put(CTL_CSV, &bad);
    assert_int_equal(text_n, before);
    assert_string_equal(errs, "l2ctl: record 9 left out: another record than those above\n"
                              "l2ctl: l2.bars: partition 3 offset 41 left out: truncated\n");
}

/* Titles stand over their values: every column's last character (first, when it is to the left) is
 * where its title's is. */
static void table_is_aligned(void **state)
{
    (void)state;
    const struct ctl_item item = snapshot_item(&place);

    assert_string_equal(put(CTL_TABLE, &item),
                        "PART     OFFSET  EVENT TIME (UTC)          SYMBOL              BID     "
                        "BID QTY          ASK     ASK QTY   BIDS   "
                        "ASKS      BOUGHT        SOLD  TRADES        SEQUENCE\n"
                        "   3         41  2024-08-08T23:54:16.123Z  BTCUSDT         58000.1        "
                        " 0.5      58000.2           3      2      "
                        "1           -           -       -               7\n");
}

static void table_of_bars_and_of_what_is_undecodable(void **state)
{
    (void)state;
    const struct codec_l2_bar bar = {.symbol = codec_str("ETHUSDT"),
                                     .bar_time_us = INT64_C(1723160700000000),
                                     .bar_seconds = 900,
                                     .has_mid_price = true,
                                     .mid_price = 2660.125,
                                     .snapshots = 8900,
                                     .gaps = 1,
                                     .coverage = 0.98765,
                                     .closed_by = CODEC_CLOSED_BY_CLOCK};
    const struct ctl_item items[] = {
        {.number = 0, .record = &codec_l2_bar_record, .value = &bar},
        {.message = &place,
         .topic = "l2.bars",
         .why = "bad_enum",
         .bytes = (const uint8_t *)"a\\\xff",
         .bytes_n = 3},
    };

    (void)put(CTL_TABLE, &items[0]);
    assert_string_equal(put(CTL_TABLE, &items[1]),
                        "    RECORD  BAR (UTC)             SECONDS  SYMBOL              MID  "
                        "SPREAD BPS    IMB L1    IMB L5      OFI 15M  "
                        "KYLE LAMBDA  SNAPSHOTS   GAPS  COVERAGE  CLOSED BY\n"
                        "         0  2024-08-08T23:45:00Z      900  ETHUSDT        2660.125        "
                        "   -         -         -            -  "
                        "          -       8900      1    0.9877  clock    \n"
                        "   3         41  undecodable: bad_enum; 3 bytes: a\\x5c\\xff\n");
}

static const struct bus_reader_record letter = {
    .partition = 1,
    .offset = 2,
    .timestamp_us = INT64_C(1723161257000000),
    .key = (const uint8_t *)"BTC\nUSDT",
    .key_n = 8,
    .headers = {{"reason", "crossed_book", 12},
                {"topic", "l2.snapshots", 12},
                {"partition", "1", 1},
                {"offset", "5550", 4}},
    .headers_n = 4,
};

static void letters_show_reason_and_origin(void **state)
{
    (void)state;
    struct ctl_item item = {.message = &letter,
                            .topic = "l2.dlq",
                            .why = "frame_unknown",
                            .bytes = (const uint8_t *)"{}\n",
                            .bytes_n = 3};
    view.is_dlq = true;

    (void)put(CTL_TABLE, &item);
    assert_non_null(strstr(text, "crossed_book              l2.snapshots 1/5550"));
    assert_non_null(strstr(text, "BTC\\x0aUSDT"));
    assert_non_null(strstr(text, "       3  {}\\x0a\n"));
    view.has_letters_head = false;
    (void)put(CTL_CSV, &item);
    assert_non_null(strstr(
        text, "partition,offset,timestamp,key,reason,origin_topic,origin_partition,origin_offset,"
              "record,bytes\n"
              "1,2,1723161257000000,\"BTC\nUSDT\",crossed_book,l2.snapshots,1,5550,,7b7d0a\n"));
    (void)put(CTL_JSON, &item);
    assert_non_null(strstr(text,
                           "\"headers\":{\"reason\":\"crossed_book\",\"topic\":\"l2.snapshots\","
                           "\"partition\":\"1\",\"offset\":\"5550\"}},\"_error\":\"frame_unknown\","
                           "\"_bytes\":\"7b7d0a\"}\n"));
    item.record =
        &codec_l2_snapshot_record; /* a letter that decodes: its fields beside its bytes */
    item.value = &snapshot;
    (void)put(CTL_JSON, &item);
    assert_non_null(strstr(text, "\"_bytes\":\"7b7d0a\",\"exchange\":\"binance-usdm\""));
}

/* Any double comes back the same, and no shorter text of it does. Seen to fail with at most 16
 * digits. */
static void doubles_read_back(void **state)
{
    (void)state;
    uint64_t bits = 1;

    for (int i = 0; i < 20000; i++) {
        double v;
        bits = bits * UINT64_C(6364136223846793005) + 1442695040888963407U;
        memcpy(&v, &bits, sizeof v);
        if (!isfinite(v))
            continue;
        assert_int_equal(fseek(view.out, 0, SEEK_SET), 0);
        errno = 42;
        ctl_put_double(view.out, v);
        assert_int_equal(errno, 42);
        putc('\0', view.out);
        fflush(view.out);
        assert_true(strtod(text, NULL) == v);
    }
    assert_int_equal(fseek(view.out, 0, SEEK_SET), 0);
    ctl_put_double(view.out, DBL_TRUE_MIN);
    putc(' ', view.out);
    ctl_put_double(view.out, -0.0);
    putc(' ', view.out);
    ctl_put_float(view.out, 0.1F);
    putc('\0', view.out);
    fflush(view.out);
    assert_string_equal(text, "4.94065645841247e-324 -0 0.1");
}

static void escape_is_cut_to_columns(void **state)
{
    (void)state;
    char buf[64];

    assert_string_equal(ctl_escape((const uint8_t *)"abcdefgh", 8, buf, sizeof buf, 8), "abcdefgh");
    assert_string_equal(ctl_escape((const uint8_t *)"abcdefghi", 9, buf, sizeof buf, 8),
                        "abcde...");
    assert_string_equal(ctl_escape((const uint8_t *)"ab\x01"
                                                    "cdef",
                                   7, buf, sizeof buf, 8),
                        "ab...");
    assert_string_equal(ctl_escape(NULL, 0, buf, sizeof buf, 8), "");
}

/* Seen to fail with a topic's record misspelt. */
static void every_topic_has_its_record(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TOPICS_N; i++) {
        const char *name = topics_record((enum topics_id)i);
        if (i == TOPICS_DLQ)
            assert_null(name); /* any bytes */
        else
            assert_non_null(codec_record_by_name(name));
    }
}

static void times_of_any_number(void **state)
{
    (void)state;
    char buf[64];

    assert_string_equal(ctl_time(0, 0, buf, sizeof buf), "1970-01-01T00:00:00Z");
    assert_string_equal(ctl_time(-1, 6, buf, sizeof buf), "1969-12-31T23:59:59.999999Z");
    assert_string_equal(ctl_time(1999, 3, buf, sizeof buf), "1970-01-01T00:00:00.001Z");
    (void)ctl_time(INT64_MAX, 3, buf, sizeof buf); /* hostile bytes: any text, no crash */
    (void)ctl_time(INT64_MIN, 3, buf, sizeof buf);
}

#define VIEW_TEST(f) cmocka_unit_test_setup_teardown(f, open_view, close_view)

int main(void)
{
    const struct CMUnitTest tests[] = {
        VIEW_TEST(json_has_every_field),
        VIEW_TEST(json_of_a_file_and_of_nulls),
        VIEW_TEST(json_of_what_is_undecodable),
        VIEW_TEST(csv_is_flat),
        VIEW_TEST(csv_names_what_has_no_columns),
        VIEW_TEST(table_is_aligned),
        VIEW_TEST(table_of_bars_and_of_what_is_undecodable),
        VIEW_TEST(letters_show_reason_and_origin),
        VIEW_TEST(doubles_read_back),
        VIEW_TEST(escape_is_cut_to_columns),
        VIEW_TEST(every_topic_has_its_record),
        VIEW_TEST(times_of_any_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
