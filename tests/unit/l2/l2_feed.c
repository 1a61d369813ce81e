#include "l2_feed.h"

struct feed *feed_start(struct feed *f, uint32_t bar_s, uint32_t window_s)
{
    *f = (struct feed){.params = l2_params_default(), .epoch = 1};
    f->params.bar_s = bar_s;
    f->params.window_s = window_s;
    f->params.samples_min = 2;
    l2_stream_init(&f->stream, &f->params, f->minutes);
    return f;
}

struct l2_bar *feed_close_bar(struct feed *f)
{
    uint8_t bytes[L2_SKETCH_BYTES_MAX];
    size_t n;

    assert_true(f->bars_n < BARS_MAX);
    l2_stream_close(&f->stream, &f->params, &f->bars[f->bars_n], bytes, &n);
    assert_true(l2_sketch_decode_add(&f->sketches[f->bars_n], bytes, n));
    return &f->bars[f->bars_n++];
}

enum l2_verdict feed_give_top(struct feed *f, int64_t t_us, struct l2_top top)
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
        feed_close_bar(f);
    l2_stream_take(&f->stream, &f->params, &s, t_us + 1000);
    return verdict;
}

void feed_give(struct feed *f, int64_t t_us, double mid)
{
    assert_int_equal(feed_give_top(f, t_us, (struct l2_top){mid - 0.5, 3, mid + 0.5, 4}), L2_TAKE);
}

void feed_quiet(struct feed *f, int64_t from_us, int64_t to_us)
{
    for (int64_t t = from_us; t < to_us; t += S)
        feed_give(f, t, 100);
}

bool bar_has(const struct l2_bar *bar, enum l2_column column)
{
    return l2_row_has(&bar->row, column);
}

double feed_mid_at(int i)
{
    return 100 + (double)(i * i % 17) / 16;
}

double feed_volume_at(int i)
{
    return (double)(i * 7 % 31) - 11;
}
