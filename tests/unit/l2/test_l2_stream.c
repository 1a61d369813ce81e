#include "l2_test.h"

#define BARS_MAX 16
#define T0 (INT64_C(1723075200) * S) /* a day's start */

/* One symbol fed by hand: bars that event time closes are kept. */
struct feed {
    struct l2_params params;
    struct l2_stream stream;
    struct l2_minute minutes[60];
    int64_t sequence, epoch;
    double signed_volume; /* of the next snapshot */
    bool no_flow;         /* of the next snapshot */
    struct l2_bar bars[BARS_MAX];
    struct l2_sketch sketches[BARS_MAX];
    unsigned bars_n;
};

static struct feed *start(struct feed *f, uint32_t bar_s, uint32_t window_s)
{
    *f = (struct feed){.params = l2_params_default(), .epoch = 1};
    f->params.bar_s = bar_s;
    f->params.window_s = window_s;
    f->params.samples_min = 2;
    l2_stream_init(&f->stream, &f->params, f->minutes);
    return f;
}

static struct l2_bar *close_bar(struct feed *f)
{
    uint8_t bytes[L2_SKETCH_BYTES_MAX];
    size_t n;

    assert_true(f->bars_n < BARS_MAX);
    l2_stream_close(&f->stream, &f->params, &f->bars[f->bars_n], bytes, &n);
    assert_true(l2_sketch_decode_add(&f->sketches[f->bars_n], bytes, n));
    return &f->bars[f->bars_n++];
}

/* What the producer does with an accepted snapshot: judge, close what is due, take. Quantities bid
 * 3, ask 4 unless told. */
static enum l2_verdict give_top(struct feed *f, int64_t t_us, struct l2_top top)
{
    const struct l2_level bid = {top.bid_price, top.bid_quantity};
    const struct l2_level ask = {top.ask_price, top.ask_quantity};
    const double v = f->signed_volume;
    const struct l2_snapshot s = {
        .event_time_us = t_us,
        .sequence = ++f->sequence,
        .epoch = f->epoch,
        .bids = &bid,
        .asks = &ask,
        .bids_n = 1,
        .asks_n = 1,
        .has_flow = !f->no_flow,
        .flow = {.buy_quote = v > 0 ? v : 0, .sell_quote = v < 0 ? -v : 0},
    };

    assert_int_equal(l2_book_check(&s), L2_ACCEPTED);
    f->signed_volume = 0;
    f->no_flow = false;
    const enum l2_verdict verdict = l2_stream_judge(&f->stream, s.epoch, s.sequence, t_us);
    if (verdict == L2_LATE)
        l2_stream_break(&f->stream);
    if (verdict != L2_TAKE)
        return verdict;
    while (l2_stream_is_due(&f->stream, &f->params, t_us))
        close_bar(f);
    l2_stream_take(&f->stream, &f->params, &s, t_us + 1000);
    return verdict;
}

/* A snapshot around `mid`; its e_n after one of the same mid is 0, after another mid not. */
static void give(struct feed *f, int64_t t_us, double mid)
{
    assert_int_equal(give_top(f, t_us, (struct l2_top){mid - 0.5, 3, mid + 0.5, 4}), L2_TAKE);
}

/* Snapshots each second of [from, to), mid 100. */
static void quiet(struct feed *f, int64_t from_us, int64_t to_us)
{
    for (int64_t t = from_us; t < to_us; t += S)
        give(f, t, 100);
}

static bool has(const struct l2_bar *bar, enum l2_column column)
{
    return l2_row_has(&bar->row, column);
}

/* ---- bars ---- */

/* [T, T + bar): a snapshot at T + bar closes the bar and is no part of it. Seen to fail with > in
 * l2_stream_is_due. */
static void bar_is_half_open(void **state)
{
    (void)state;
    struct feed f;

    quiet(start(&f, 60, 60), T0, T0 + 60 * S);
    give(&f, T0 + 60 * S - 1, 200);
    assert_int_equal(f.bars_n, 0);
    give(&f, T0 + 60 * S, 300);
    assert_int_equal(f.bars_n, 1);
    assert_true(f.bars[0].bar_time_us == T0);
    assert_int_equal(f.bars[0].snapshots, 61);
    assert_true(f.bars[0].row.value[L2_MID_PRICE] == 200);
    assert_true(f.bars[0].row.value[L2_SPREAD_BPS] == 1.0 / 200 * 1e4);
    assert_true(f.bars[0].resume.last_event_us == T0 + 60 * S - 1);
    assert_true(f.bars[0].resume.last_kafka_us == T0 + 60 * S + 999);
    assert_int_equal(f.bars[0].resume.sequence, 61);
    assert_int_equal(f.bars[0].resume.epoch, 1);
    assert_int_equal(f.stream.snapshots, 1);
}

/* A symbol's first bar holds its first snapshot; the time before it is a gap. Seen to fail without
 * the gap before the first. */
static void first_bar_is_covered_from_the_first_snapshot(void **state)
{
    (void)state;
    struct feed f;

    quiet(start(&f, 900, 900), T0 + 300 * S, T0 + 1801 * S);
    assert_int_equal(f.bars_n, 2);
    assert_true(f.bars[0].bar_time_us == T0);
    assert_true(near(f.bars[0].coverage, 2.0 / 3, 1e-15));
    assert_int_equal(f.bars[0].gaps, 0); /* there was no link to break */
    assert_false(has(&f.bars[0], L2_OFI) || has(&f.bars[0], L2_KYLE_LAMBDA));
    assert_true(has(&f.bars[0], L2_MID_PRICE)); /* not windowed */
    assert_true(f.bars[1].coverage == 1 && has(&f.bars[1], L2_OFI));
}

/* A window longer than the bar: the time before the first snapshot counts until the window has left
 * it. */
static void first_windows_reach_back_before_the_first_snapshot(void **state)
{
    (void)state;
    struct feed f;

    quiet(start(&f, 60, 300), T0 + 30 * S, T0 + 361 * S);
    assert_int_equal(f.bars_n, 6);
    for (unsigned i = 0; i < 6; i++) {
        const double gap_s = i < 5 ? 300 - (60.0 * (i + 1) - 30) : 0;
        assert_true(near(f.bars[i].coverage, 1 - gap_s / 300, 1e-15));
        assert_true(has(&f.bars[i], L2_OFI) == (gap_s <= 15));
    }
}

/* A jump closes every bar in between, empty, with what the silence leaves. Seen to fail without the
 * book's age. */
static void jump_closes_every_bar(void **state)
{
    (void)state;
    struct feed f;

    quiet(start(&f, 60, 120), T0, T0 + 60 * S);
    give(&f, T0 + 300 * S, 100);
    assert_int_equal(f.bars_n, 5);
    const double coverage[] = {0.5, 1 - 61.0 / 120, 0, 0, 0}; /* a gap from the last snapshot on */
    for (unsigned i = 0; i < 5; i++) {
        double median;
        assert_true(f.bars[i].bar_time_us == T0 + (int64_t)i * 60 * S);
        assert_int_equal(f.bars[i].snapshots, i == 0 ? 60 : 0);
        assert_true(l2_sketch_quantile(&f.sketches[i], 0.5, &median) == (i == 0));
        assert_int_equal(f.bars[i].gaps, 0);
        assert_true(f.bars[i].resume.last_event_us == T0 + 59 * S);
        assert_true(near(f.bars[i].coverage, coverage[i], 1e-12));
    }
    assert_true(has(&f.bars[0], L2_MID_PRICE));
    assert_false(has(&f.bars[1], L2_MID_PRICE)); /* 61 s old at its close */
    assert_int_equal(f.stream.gaps, 1); /* in the bar of the later snapshot */
}

/* One count a snapshot, in its bar alone. Seen to fail with the sketch not emptied, and filled once
 * a bar. */
static void sketch_counts_each_snapshot(void **state)
{
    (void)state;
    struct feed f;

    start(&f, 60, 60);
    for (int i = 0; i < 100; i++)
        give(&f, T0 + i * S / 2, i < 98 ? 100 : 1000); /* spreads of 100 and 10 bps */
    quiet(&f, T0 + 60 * S, T0 + 121 * S);
    assert_int_equal(f.sketches[1].count[l2_sketch_bin(100)], 60);
    assert_int_equal(f.sketches[1].count[l2_sketch_bin(10)], 0);
    assert_int_equal(f.sketches[0].count[l2_sketch_bin(100)], 98);
    assert_int_equal(f.sketches[0].count[l2_sketch_bin(10)], 2);
}

/* ---- age of the book ---- */

static void assert_book_at_age(int64_t age_us, bool present)
{
    struct feed f;

    quiet(start(&f, 900, 900), T0, T0 + 800 * S);
    give(&f, T0 + 900 * S - age_us, 100);
    give(&f, T0 + 900 * S, 100);
    assert_int_equal(f.bars_n, 1);
    assert_true(has(&f.bars[0], L2_MID_PRICE) == present);
    assert_true(has(&f.bars[0], L2_SPREAD_BPS) == present);
    assert_true(has(&f.bars[0], L2_DEPTH_IMBALANCE_L1) == present);
}

/* max_book_age to the microsecond. Seen to fail with <, and with whole seconds. */
static void book_is_good_for_sixty_seconds(void **state)
{
    (void)state;
    assert_book_at_age(1, true);
    assert_book_at_age(60 * S - 1, true);
    assert_book_at_age(60 * S, true);
    assert_book_at_age(60 * S + 1, false);
}

/* ---- links, gaps, coverage ---- */

/* max_gap to the microsecond: the link, its e_n, the gap. Seen to fail with >= and with whole
 * seconds. */
static void link_holds_for_five_seconds(void **state)
{
    (void)state;
    for (int over = 0; over <= 1; over++) {
        struct feed f;
        quiet(start(&f, 900, 900), T0, T0 + 100 * S);
        give_top(&f, T0 + 104 * S + over, (struct l2_top){99.5, 5, 100.5, 4}); /* e_n = +2 */
        quiet(&f, T0 + 105 * S, T0 + 901 * S); /* e_n = −2 */
        assert_int_equal(f.bars_n, 1);
        assert_int_equal(f.bars[0].gaps, over);
        const double gap_us = over ? 5 * S + 1 : 0;
        assert_true(near(f.bars[0].coverage, 1 - gap_us / (900 * S), 1e-15));
        assert_true(f.bars[0].row.value[L2_OFI] == (over ? -2 : 0));
    }
}

/* The silence before t, to the microsecond; known later, the whole gap counts once. Seen to fail
 * with >= in gap_us_at. */
static void silence_before_the_close(void **state)
{
    (void)state;
    for (int over = 0; over <= 1; over++) {
        struct feed f;
        quiet(start(&f, 60, 120), T0, T0 + 115 * S);
        give(&f, T0 + 115 * S - over, 100);
        quiet(&f, T0 + 121 * S, T0 + 181 * S);
        assert_int_equal(f.bars_n, 3);
        const double silent_us = over ? 5 * S + 1 : 0;
        assert_true(near(f.bars[1].coverage, 1 - silent_us / (120 * S), 1e-15));
        const double gap_us = 6 * S + over; /* 115 to 121 s */
        assert_true(near(f.bars[2].coverage, 1 - gap_us / (120 * S), 1e-15));
        assert_int_equal(f.bars[1].gaps, 0);
        assert_int_equal(f.bars[2].gaps, 1);
    }
}

static void assert_coverage_at(int64_t gap_us, bool present)
{
    struct feed f;

    quiet(start(&f, 900, 900), T0, T0 + 100 * S);
    give(&f, T0 + 99 * S + gap_us, 100);
    for (int64_t t = T0 + 100 * S + gap_us; t < T0 + 900 * S; t += S)
        give(&f, t, 100);
    give(&f, T0 + 900 * S, 100);
    assert_int_equal(f.bars[0].gaps, 1);
    assert_true(near(f.bars[0].coverage, 1 - (double)gap_us / (900 * S), 1e-15));
    assert_true(has(&f.bars[0], L2_OFI) == present);
}

/* 95 % exactly is enough, a microsecond less is not. Seen to fail with < in the close. */
static void coverage_of_ninety_five_percent(void **state)
{
    (void)state;
    assert_coverage_at(45 * S - 1, true);
    assert_coverage_at(45 * S, true);
    assert_coverage_at(45 * S + 1, false);
}

/* The first snapshot a whole 5 % into the window, and 1 µs later: the same limit, by the gap
 * before. */
static void coverage_of_the_first_window(void **state)
{
    (void)state;
    for (int over = 0; over <= 1; over++) {
        struct feed f;
        quiet(start(&f, 900, 900), T0 + 45 * S + over, T0 + 901 * S);
        assert_true(has(&f.bars[0], L2_OFI) == !over);
    }
}

/* e_n counts where n lies, though n − 1 precedes the window. Seen to fail with the term put where n
 * − 1 lies. */
static void ofi_counts_where_the_later_one_lies(void **state)
{
    (void)state;
    struct feed f;

    quiet(start(&f, 60, 60), T0, T0 + 60 * S);
    give_top(&f, T0 + 61 * S, (struct l2_top){99.5, 10, 100.5, 4}); /* e_n = 10 − 3 */
    for (int64_t t = T0 + 62 * S; t <= T0 + 180 * S; t += S)
        assert_int_equal(give_top(&f, t, (struct l2_top){99.5, 10, 100.5, 4}), L2_TAKE);
    assert_int_equal(f.bars_n, 3);
    assert_true(f.bars[0].row.value[L2_OFI] == 0);
    assert_true(f.bars[1].row.value[L2_OFI] == 7);
    assert_true(f.bars[2].row.value[L2_OFI] == 0);
}

/* A rejected record between two snapshots: no e_n, a gap of the time between, one broken link
 * however many there were. Seen to fail with l2_stream_break empty. */
static void broken_link_is_a_gap(void **state)
{
    (void)state;
    struct feed f;

    quiet(start(&f, 60, 60), T0, T0 + 10 * S);
    l2_stream_break(&f.stream);
    l2_stream_break(&f.stream);
    give_top(&f, T0 + 10 * S, (struct l2_top){99.5, 10, 100.5, 4}); /* would be e_n = 7 */
    give_top(&f, T0 + 11 * S,
             (struct l2_top){99.5, 11, 100.5, 4}); /* e_n = 1: the link holds again */
    for (int64_t t = T0 + 12 * S; t <= T0 + 60 * S; t += S)
        give_top(&f, t, (struct l2_top){99.5, 11, 100.5, 4});
    assert_int_equal(f.bars[0].gaps, 1);
    assert_true(near(f.bars[0].coverage, 59.0 / 60, 1e-15));
    assert_true(f.bars[0].row.value[L2_OFI] == 1);
}

/* What was not accepted changes no bar that is being closed: the gap counts later, whole, in the
 * windows that hold it. Seen to fail with the silence counted as a gap wherever `broken` is set. */
static void gap_known_later_counts_later(void **state)
{
    (void)state;
    struct feed f;

    quiet(start(&f, 60, 120), T0, T0 + 118 * S);
    l2_stream_break(&f.stream); /* after 117 s, before the close at 120 s */
    give(&f, T0 + 121 * S, 100);
    assert_int_equal(f.bars_n, 2);
    assert_true(f.bars[1].coverage == 1);
    assert_int_equal(f.bars[1].gaps, 0);
    quiet(&f, T0 + 122 * S, T0 + 241 * S);
    assert_true(
        near(f.bars[2].coverage, 1 - 4.0 / 120, 1e-15)); /* 117 to 121 s: three of it before 120 */
    assert_int_equal(f.bars[2].gaps, 1);
    assert_true(near(f.bars[3].coverage, 1 - 1.0 / 120, 1e-15));
}

/* ---- order ---- */

/* Equal times are kept, in order. Seen to fail with <= in the judgement of late. */
static void equal_times_are_kept(void **state)
{
    (void)state;
    struct feed f;

    quiet(start(&f, 60, 60), T0, T0 + 10 * S);
    give(&f, T0 + 9 * S, 101);
    give(&f, T0 + 9 * S, 102);
    quiet(&f, T0 + 10 * S, T0 + 61 * S);
    assert_int_equal(f.bars[0].snapshots, 62);
    assert_int_equal(f.bars[0].gaps, 0);
    assert_true(f.bars[0].coverage == 1);
}

/* At or below the last sequence of the epoch: dropped, breaking nothing, whatever its time. Seen to
 * fail with < for <=. */
static void duplicates_break_nothing(void **state)
{
    (void)state;
    struct feed f;

    quiet(start(&f, 60, 60), T0, T0 + 10 * S);
    for (int64_t sequence = -1; sequence <= 9; sequence++) {
        f.sequence = sequence;
        assert_int_equal(
            give_top(&f, T0 + (sequence % 3 - 1) * 20 * S, (struct l2_top){1, 1, 2, 1}),
            L2_DUPLICATE);
    }
    f.sequence = 10;
    quiet(&f, T0 + 10 * S, T0 + 61 * S);
    assert_int_equal(f.bars[0].gaps, 0);
    assert_int_equal(f.bars[0].snapshots, 60);
    assert_true(f.bars[0].coverage == 1);
}

/* Behind the event time, with a new sequence: dropped, and the link breaks. Seen to fail with the
 * times not compared. */
static void late_records_break_the_link(void **state)
{
    (void)state;
    struct feed f;

    quiet(start(&f, 60, 60), T0, T0 + 10 * S);
    assert_int_equal(give_top(&f, T0 + 9 * S - 1, (struct l2_top){1, 1, 2, 1}), L2_LATE);
    f.sequence = 10; /* it did not count: the next may bear the same number */
    quiet(&f, T0 + 10 * S, T0 + 61 * S);
    assert_int_equal(f.bars[0].gaps, 1);
    assert_true(near(f.bars[0].coverage, 59.0 / 60, 1e-15));
}

/* A higher epoch restarts the sequence and breaks the link; a lower one is late. Seen to fail
 * without the epochs compared in the link. */
static void epoch_change(void **state)
{
    (void)state;
    struct feed f;

    quiet(start(&f, 60, 60), T0, T0 + 10 * S);
    f.epoch = 5;
    f.sequence = -8;
    quiet(&f, T0 + 10 * S, T0 + 20 * S);
    assert_int_equal(f.stream.gaps, 1);
    f.epoch = 4;
    f.sequence = 1000;
    assert_int_equal(give_top(&f, T0 + 20 * S, (struct l2_top){1, 1, 2, 1}), L2_LATE);
    f.epoch = 5;
    f.sequence = 2;
    quiet(&f, T0 + 20 * S, T0 + 61 * S);
    assert_int_equal(f.bars[0].gaps, 2);
    assert_true(near(f.bars[0].coverage, 58.0 / 60, 1e-15));
    f.epoch = 6; /* does not excuse stepping back in time */
    assert_int_equal(give_top(&f, T0 + 59 * S, (struct l2_top){1, 1, 2, 1}), L2_LATE);
}

/* A clock close moves the watermark to T + bar. Seen to fail without bar_time_us in the judgement.
 */
static void clock_close_moves_the_watermark(void **state)
{
    (void)state;
    struct feed f;

    quiet(start(&f, 60, 60), T0, T0 + 50 * S);
    close_bar(&f); /* by the clock */
    assert_int_equal(give_top(&f, T0 + 60 * S - 1, (struct l2_top){1, 1, 2, 1}), L2_LATE);
    close_bar(&f);
    assert_int_equal(give_top(&f, T0 + 120 * S - 1, (struct l2_top){1, 1, 2, 1}), L2_LATE);
    give(&f, T0 + 120 * S, 100);
    assert_true(f.stream.bar_time_us == T0 + 120 * S);
    assert_int_equal(f.bars_n, 2);
    assert_int_equal(f.stream.gaps, 1);
}

/* ---- Kyle's samples ---- */

struct point {
    double x, y;
};

/* The slope over points that the test wrote down, in long double. */
static void assert_lambda(const struct l2_bar *bar, const struct point *points, unsigned n)
{
    long double mx = 0, my = 0, sxx = 0, sxy = 0;

    for (unsigned i = 0; i < n; i++) {
        mx += points[i].x / (long double)n;
        my += points[i].y / (long double)n;
    }
    for (unsigned i = 0; i < n; i++) {
        sxx += (points[i].x - mx) * (points[i].x - mx);
        sxy += (points[i].x - mx) * (points[i].y - my);
    }
    assert_true(has(bar, L2_KYLE_LAMBDA));
    assert_true(near(bar->row.value[L2_KYLE_LAMBDA], (double)(sxy / sxx), 1e-12));
}

/* Mid and signed volume of second i: nothing regular, all exact. */
static double mid_at(int i)
{
    return 100 + (double)(i * i % 17) / 16;
}

static double volume_at(int i)
{
    return (double)(i * 7 % 31) - 11;
}

enum trouble { NONE, NO_FLOW, BROKEN, BROKEN_TWICE, EMPTY, TWO, TWO_ONE_WITHOUT_FLOW };

/* 121 s of snapshots with one trouble in second 30; returns the bar of [0, 60) or [60, 120). */
static void feed_seconds(struct feed *f, enum trouble trouble)
{
    start(f, 60, 60);
    for (int i = 0; i <= 120; i++) {
        const bool here = i == 30;
        if (here && trouble == EMPTY)
            continue;
        if ((here && (trouble == BROKEN || trouble == BROKEN_TWICE)) ||
            (i == 31 && trouble == BROKEN_TWICE))
            l2_stream_break(&f->stream);
        f->signed_volume = volume_at(i);
        f->no_flow = here && trouble == NO_FLOW;
        give(f, T0 + i * S, mid_at(i));
        if (here && (trouble == TWO || trouble == TWO_ONE_WITHOUT_FLOW)) {
            f->signed_volume = 1000;
            f->no_flow = trouble == TWO_ONE_WITHOUT_FLOW;
            give(f, T0 + i * S + S - 1, 105);
        }
    }
    assert_int_equal(f->bars_n, 2);
}

/* The usual point of each second of [from, to), but for `skip`. */
static unsigned usual_points(struct point *points, int from, int to, int skip)
{
    unsigned n = 0;

    for (int i = from; i < to; i++) {
        if (i != skip)
            points[n++] = (struct point){volume_at(i), mid_at(i) - mid_at(i - 1)};
    }
    return n;
}

/* Second 0 only seeds. A sample at the window's start takes its change from the mid before the
 * window; the sample that lies before is not in it. Seen to fail with a sample put where the next
 * one lies, and with has_sample_mid cleared at a close. */
static void samples_count_where_they_lie(void **state)
{
    (void)state;
    struct feed f;
    struct point p[60];

    feed_seconds(&f, NONE);
    assert_lambda(&f.bars[0], p, usual_points(p, 1, 60, -1));
    assert_lambda(&f.bars[1], p, usual_points(p, 60, 120, -1));
}

/* A bar of 5 min and a window of 1: the last second of minute 4, known only when minute 5 begins,
 * is not in the window. */
static void sample_before_the_window_is_not_in_it(void **state)
{
    (void)state;
    struct feed f;
    struct point p[60];

    start(&f, 300, 60);
    for (int i = 0; i <= 300; i++) {
        f.signed_volume = volume_at(i);
        give(&f, T0 + i * S, mid_at(i));
    }
    assert_lambda(&f.bars[0], p, usual_points(p, 240, 300, -1));
}

/* A second with a snapshot without flow is left out, but its mid serves. Seen to fail with the mid
 * not kept, and with the flow as 0. */
static void sample_without_flow_is_left_out(void **state)
{
    (void)state;
    struct feed f;
    struct point p[60];

    feed_seconds(&f, NO_FLOW);
    assert_lambda(&f.bars[0], p, usual_points(p, 1, 60, 30));
    feed_seconds(&f, TWO_ONE_WITHOUT_FLOW); /* one of two is enough */
    const unsigned n = usual_points(p, 1, 60, 30);
    p[29] = (struct point){volume_at(31), mid_at(31) - 105};
    assert_lambda(&f.bars[0], p, n);
}

/* The same for a broken link; when the next link breaks too, the mid serves nothing. Seen to fail
 * with left_out not set. */
static void sample_with_a_broken_link_is_left_out(void **state)
{
    (void)state;
    struct feed f;
    struct point p[60];

    feed_seconds(&f, BROKEN);
    assert_lambda(&f.bars[0], p, usual_points(p, 1, 60, 30));
    feed_seconds(&f, BROKEN_TWICE);
    unsigned n = usual_points(p, 1, 60, 30);
    memmove(&p[29], &p[30], (n - 30) * sizeof p[0]); /* without 31 */
    f.params.coverage_pct = 90;
    assert_lambda(&f.bars[0], p, n - 1);
}

/* A second with no snapshot joins the next: the change spans both. Seen to fail with the mid
 * forgotten when a second is missing. */
static void empty_second_joins_the_next(void **state)
{
    (void)state;
    struct feed f;
    struct point p[60];

    feed_seconds(&f, EMPTY);
    const unsigned n = usual_points(p, 1, 60, 30);
    p[29] = (struct point){volume_at(31), mid_at(31) - mid_at(29)};
    assert_lambda(&f.bars[0], p, n);
}

/* Volumes of a second add up, its last mid counts. Seen to fail with the first mid of the second.
 */
static void sample_sums_its_snapshots(void **state)
{
    (void)state;
    struct feed f;
    struct point p[60];

    feed_seconds(&f, TWO);
    const unsigned n = usual_points(p, 1, 60, -1);
    p[29] = (struct point){volume_at(30) + 1000, 105 - mid_at(29)};
    p[30] = (struct point){volume_at(31), mid_at(31) - 105};
    assert_lambda(&f.bars[0], p, n);
}

/* Fewer than samples_min: null. Second 0 seeds, so 30 s make 29 samples. Seen to fail with 29
 * for 30. */
static void lambda_needs_thirty_samples(void **state)
{
    (void)state;
    for (int with_flow = 29; with_flow <= 30; with_flow++) {
        struct feed f;
        start(&f, 60, 60)->params.samples_min = 30;
        for (int i = 0; i <= 60; i++) {
            f.signed_volume = volume_at(i);
            f.no_flow = i > with_flow;
            give(&f, T0 + i * S, mid_at(i));
        }
        assert_true(has(&f.bars[0], L2_OFI));
        assert_true(has(&f.bars[0], L2_KYLE_LAMBDA) == (with_flow == 30));
    }
}

static void lambda_needs_volumes_that_differ(void **state)
{
    (void)state;
    struct feed f;

    start(&f, 60, 60);
    for (int i = 0; i <= 120; i++) {
        f.signed_volume = i == 90 ? 0.3 : 0.1;
        give(&f, T0 + i * S, mid_at(i));
    }
    assert_false(has(&f.bars[0], L2_KYLE_LAMBDA));
    assert_true(has(&f.bars[0], L2_OFI));
    assert_true(has(&f.bars[1], L2_KYLE_LAMBDA));
}

/* Samples of 10 s are aligned to the epoch, whatever the first snapshot. Seen to fail with sample_s
 * taken as 1. */
static void samples_of_ten_seconds(void **state)
{
    (void)state;
    struct feed f;
    struct point p[6];

    start(&f, 60, 60)->params.sample_s = 10;
    for (int i = 57; i <= 120; i++) {
        f.signed_volume = volume_at(i);
        give(&f, T0 + i * S, mid_at(i));
    }
    for (int k = 0; k < 6; k++) {
        p[k] = (struct point){0, mid_at(69 + 10 * k) - mid_at(59 + 10 * k)};
        for (int i = 60 + 10 * k; i < 70 + 10 * k; i++)
            p[k].x += volume_at(i);
    }
    assert_lambda(&f.bars[1], p, 6);
}

/* ---- numbers that no market sends ---- */

/* Finite each, infinite together: the columns are null for as long as they are in the window, and
 * nothing stops. Seen to fail (an assert of l2_kyle_add) without the isfinite in finish_sample. */
static void sums_past_the_range_of_doubles(void **state)
{
    (void)state;
    struct feed f;
    const double huge = 1.7e308;

    start(&f, 60, 60);
    for (int i = 0; i <= 180; i++) {
        const bool odd = i >= 10 && i < 20;
        f.signed_volume = odd ? huge : volume_at(i);
        give_top(&f, T0 + i * S,
                 odd ? (struct l2_top){huge - 1e307 * (i % 2), huge, huge + 1e306, 1}
                     : (struct l2_top){99.5, 3 + i % 2, 100.5, 4});
        f.signed_volume = odd ? huge : 0;
        give_top(&f, T0 + i * S,
                 odd ? (struct l2_top){huge - 1e307, 1, huge + 1e306, huge}
                     : (struct l2_top){99.5, 3, 100.5, 4});
    }
    assert_false(has(&f.bars[0], L2_OFI));
    assert_true(has(&f.bars[1], L2_OFI) && isfinite(f.bars[1].row.value[L2_OFI]));
    assert_true(has(&f.bars[2], L2_KYLE_LAMBDA));
    for (unsigned b = 0; b < f.bars_n; b++) {
        for (int c = 0; c < L2_COLUMNS; c++)
            assert_true(isfinite(f.bars[b].row.value[c]));
    }
}

/* ---- resume ---- */

/* A stream that stands where a bar closed, with the last snapshot found again, goes on as the one
 * that never stopped: every later bar but for what its window held before. Seen to fail with
 * l2_stream_seed leaving `broken`. */
static void resumed_stream_goes_on(void **state)
{
    (void)state;
    struct feed whole, resumed;

    start(&whole, 60, 60);
    start(&resumed, 60, 60);
    for (int i = 0; i <= 180; i++) {
        whole.signed_volume = volume_at(i);
        give(&whole, T0 + i * S, mid_at(i));
        if (i == 60) {
            const struct l2_level bid = {mid_at(59) - 0.5, 3}, ask = {mid_at(59) + 0.5, 4};
            const struct l2_snapshot last = {.bids = &bid, .asks = &ask, .bids_n = 1, .asks_n = 1};
            l2_stream_resume(&resumed.stream, &resumed.params, &whole.bars[0].resume, T0 + 60 * S);
            l2_stream_seed(&resumed.stream, &last);
            resumed.sequence = 60;
        }
        if (i >= 60) {
            resumed.signed_volume = volume_at(i);
            give(&resumed, T0 + i * S, mid_at(i));
        }
    }
    assert_int_equal(resumed.bars_n, 2);
    assert_memory_equal(&resumed.bars[0], &whole.bars[1], sizeof(struct l2_bar));
    assert_memory_equal(&resumed.bars[1], &whole.bars[2], sizeof(struct l2_bar));
}

/* Without it, the first link is broken and the book unknown. */
static void resumed_stream_without_its_last_snapshot(void **state)
{
    (void)state;
    struct feed f;
    const struct l2_resume at = {1, 7, T0 + 59 * S, T0 + 59 * S};

    start(&f, 60, 60);
    l2_stream_resume(&f.stream, &f.params, &at, T0 + 60 * S);
    f.sequence = 6;
    assert_int_equal(give_top(&f, T0 + 61 * S, (struct l2_top){1, 1, 2, 1}), L2_DUPLICATE);
    const struct l2_bar *bar = close_bar(&f);
    assert_false(has(bar, L2_MID_PRICE));
    assert_int_equal(bar->snapshots, 0);
    f.sequence = 7;
    give(&f, T0 + 121 * S, 100);
    assert_int_equal(f.stream.gaps, 1);
}

/* ---- restarted feeds ---- */

/* A late record as l2_stream_late sees it; its book is a good one. */
static struct l2_snapshot late_one(int64_t epoch, int64_t sequence, int64_t t_us)
{
    static const struct l2_level bid = {99, 3}, ask = {101, 4};

    return (struct l2_snapshot){.event_time_us = t_us,
                                .received_time_us = t_us,
                                .sequence = sequence,
                                .epoch = epoch,
                                .bids = &bid,
                                .asks = &ask,
                                .bids_n = 1,
                                .asks_n = 1};
}

/* `n` in order from `sequence` and t_us on; whether the last one shows a restarted feed. */
static bool late_run(struct feed *f, unsigned n, int64_t epoch, int64_t sequence, int64_t t_us)
{
    bool adopts = false;

    for (unsigned i = 0; i < n; i++) {
        const struct l2_snapshot s = late_one(epoch, sequence + i, t_us + i);
        assert_false(adopts);
        adopts = l2_stream_late(&f->stream, &s);
    }
    return adopts;
}

/* Each of these ends or begins anew a run of 99: seen to fail with each condition taken out. */
static void late_run_must_be_in_order(void **state)
{
    (void)state;
    struct feed f;
    struct l2_snapshot s;

    (void)start(&f, 60, 60);
    give(&f, T0 + 1000 * S, 100);
    assert_true(late_run(&f, 100, 1, 1000, T0));
    s = late_one(1, 2000, T0 + S);
    assert_true(l2_stream_late(&f.stream, &s)); /* where the caller does not adopt, it stays so */
    give(&f, T0 + 1000 * S, 100); /* one that is taken ends it */
    assert_false(late_run(&f, 99, 1, 3000, T0 + 2 * S));
    s = late_one(1, 3098, T0 + 2 * S + 99); /* its sequence does not rise */
    assert_false(l2_stream_late(&f.stream, &s));
    assert_true(late_run(
        &f, 99, 2, 1, T0 + 2 * S + 99)); /* a higher epoch starts the sequence anew; equal times */
    (void)start(&f, 60, 60);
    give(&f, T0 + 1000 * S, 100);
    assert_false(late_run(&f, 99, 1, 1000, T0));
    s = late_one(1, 1099, T0 + 97); /* its time steps back */
    assert_false(l2_stream_late(&f.stream, &s));
    assert_false(late_run(&f, 98, 1, 1100, T0 + 98));
    s = late_one(0, 5000, T0 + S); /* a lower epoch */
    assert_false(l2_stream_late(&f.stream, &s));
    assert_true(late_run(&f, 99, 0, 5001, T0 + S));
}

/* Seen to fail with >= for >, and with one sign only. */
static void late_run_ends_with_clocks_that_disagree(void **state)
{
    (void)state;
    static const struct {
        int64_t ahead_us;
        bool ends;
    } cases[] = {{60 * S, false}, {60 * S + 1, true}, {-60 * S, false}, {-60 * S - 1, true}};
    struct feed f;

    for (unsigned i = 0; i < 4; i++) {
        (void)start(&f, 60, 60);
        give(&f, T0 + 1000 * S, 100);
        assert_false(late_run(&f, 99, 1, 1000, T0));
        struct l2_snapshot s = late_one(1, 2000, T0 + 200 * S);
        s.received_time_us = s.event_time_us - cases[i].ahead_us;
        assert_int_equal(l2_stream_late(&f.stream, &s), !cases[i].ends);
        if (cases[i].ends)
            assert_true(late_run(&f, 100, 1, 1, T0)); /* the next one is the first of another */
    }
}

/* Seen to fail with the open bar's counts kept, and with no gap counted. */
static void adopted_stream_is_empty_but_for_its_first(void **state)
{
    (void)state;
    struct feed f;

    (void)start(&f, 60, 60);
    for (int64_t t = 0; t < 30; t++)
        give(&f, T0 + 600 * S + t * S, 100);
    const struct l2_snapshot s = late_one(0, 7, T0 + 10 * S);
    (void)l2_stream_late(&f.stream, &s);
    l2_stream_adopt(&f.stream, &f.params, &s, T0 + 700 * S);
    const struct l2_bar *bar = close_bar(&f);
    assert_true(bar->bar_time_us == T0);
    assert_int_equal(bar->snapshots, 1);
    assert_int_equal(bar->gaps, 1);
    assert_true(bar->coverage == 0);
    assert_false(l2_row_has(&bar->row, L2_OFI));
    assert_true(bar->row.value[L2_MID_PRICE] == 100);
    assert_true(bar->resume.epoch == 0 && bar->resume.sequence == 7 &&
                bar->resume.last_event_us == T0 + 10 * S &&
                bar->resume.last_kafka_us == T0 + 700 * S);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(bar_is_half_open),
        T(first_bar_is_covered_from_the_first_snapshot),
        T(first_windows_reach_back_before_the_first_snapshot),
        T(jump_closes_every_bar),
        T(sketch_counts_each_snapshot),
        T(book_is_good_for_sixty_seconds),
        T(link_holds_for_five_seconds),
        T(silence_before_the_close),
        T(coverage_of_ninety_five_percent),
        T(coverage_of_the_first_window),
        T(ofi_counts_where_the_later_one_lies),
        T(broken_link_is_a_gap),
        T(gap_known_later_counts_later),
        T(equal_times_are_kept),
        T(duplicates_break_nothing),
        T(late_records_break_the_link),
        T(epoch_change),
        T(clock_close_moves_the_watermark),
        T(samples_count_where_they_lie),
        T(sample_before_the_window_is_not_in_it),
        T(sample_without_flow_is_left_out),
        T(sample_with_a_broken_link_is_left_out),
        T(empty_second_joins_the_next),
        T(sample_sums_its_snapshots),
        T(lambda_needs_thirty_samples),
        T(lambda_needs_volumes_that_differ),
        T(samples_of_ten_seconds),
        T(sums_past_the_range_of_doubles),
        T(resumed_stream_goes_on),
        T(resumed_stream_without_its_last_snapshot),
        T(late_run_must_be_in_order),
        T(late_run_ends_with_clocks_that_disagree),
        T(adopted_stream_is_empty_but_for_its_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
