#include "l2/stream.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static int64_t us(uint32_t seconds)
{
    return seconds * L2_US_PER_S;
}

void l2_stream_init(struct l2_stream *s, const struct l2_params *params, struct l2_minute *minutes)
{
    *s = (struct l2_stream){
        .sample = {.start_us = INT64_MIN},
        .window = {.minutes = minutes, .minutes_n = params->window_s / 60},
    };
    l2_window_reset(&s->window);
}

void l2_stream_resume(struct l2_stream *s, const struct l2_params *params,
                      const struct l2_resume *resume, int64_t bar_time_us)
{
    l2_stream_init(s, params, s->window.minutes);
    s->started = true;
    s->broken = true;
    s->last = *resume;
    s->bar_time_us = bar_time_us;
}

void l2_stream_seed(struct l2_stream *s, const struct l2_snapshot *snapshot)
{
    l2_book_of(snapshot, &s->book);
    s->has_top = true;
    s->sample_mid = l2_mid(&s->book.top); /* its own sample ended when the bar was closed */
    s->has_sample_mid = true;
    s->broken = false;
    s->late.n = 0;
}

void l2_stream_unseed(struct l2_stream *s)
{
    s->has_top = s->has_sample_mid = false;
    s->broken = true;
    s->late.n = 0;
}

enum l2_verdict l2_stream_judge(const struct l2_stream *s, int64_t epoch, int64_t sequence,
                                int64_t event_time_us)
{
    if (!s->started)
        return L2_TAKE;
    if (epoch < s->last.epoch)
        return L2_LATE;
    if (epoch == s->last.epoch && sequence <= s->last.sequence)
        return L2_DUPLICATE;
    if (event_time_us < s->last.last_event_us || event_time_us < s->bar_time_us)
        return L2_LATE; /* bar_time_us: a bar closed by the clock moves the watermark */
    return L2_TAKE;
}

void l2_stream_break(struct l2_stream *s)
{
    s->broken = true;
}

/* Both times are within half of the range of 64 bits: the core has rejected any other. */
static bool clocks_agree(const struct l2_snapshot *n)
{
    const int64_t ahead_us = n->event_time_us - n->received_time_us;

    return ahead_us <= L2_ADOPT_CLOCKS_US && ahead_us >= -L2_ADOPT_CLOCKS_US;
}

bool l2_stream_late(struct l2_stream *s, const struct l2_snapshot *n)
{
    struct l2_late_run *run = &s->late;

    s->broken = true;
    if (!clocks_agree(n)) {
        run->n = 0;
        return false;
    }
    const bool rises =
        run->n > 0 && n->event_time_us >= run->event_us &&
        (n->epoch > run->epoch || (n->epoch == run->epoch && n->sequence > run->sequence));
    const uint32_t before = rises ? run->n : 0;

    run->n = before < L2_ADOPT_LATE ? before + 1 : L2_ADOPT_LATE;
    run->epoch = n->epoch;
    run->sequence = n->sequence;
    run->event_us = n->event_time_us;
    return run->n == L2_ADOPT_LATE;
}

bool l2_stream_is_due(const struct l2_stream *s, const struct l2_params *params,
                      int64_t event_time_us)
{
    return s->started && event_time_us >= s->bar_time_us + us(params->bar_s);
}

/* A sample counts where it lies; its change of mid needs the last mid of the sample before. */
static void finish_sample(struct l2_stream *s)
{
    if (s->sample.start_us == INT64_MIN)
        return;
    const double mid = l2_mid(&s->book.top), volume = s->sample.signed_volume_quote;
    const double dmid = mid - s->sample_mid;

    /* each number of a book is finite; their sums need not be */
    if (!s->sample.left_out && s->has_sample_mid && isfinite(volume) && isfinite(dmid))
        l2_window_add_sample(&s->window, s->sample.start_us, volume, dmid);
    s->sample_mid = mid;
    s->has_sample_mid = true;
    s->sample.start_us = INT64_MIN;
}

/* Does time_us lie in the sample that is being gathered? Comparisons, where l2_floor_us would
 * divide. */
static bool is_in_sample(const struct l2_stream *s, const struct l2_params *params, int64_t time_us)
{
    const int64_t start_us = s->sample.start_us;

    return start_us <= time_us && time_us < start_us + us(params->sample_s);
}

static void add_to_sample(struct l2_stream *s, const struct l2_params *params,
                          const struct l2_snapshot *snapshot, bool broken)
{
    if (s->sample.start_us == INT64_MIN)
        s->sample = (struct l2_sample){
            .start_us = l2_floor_us(snapshot->event_time_us, us(params->sample_s))};
    s->sample.left_out |= broken || !snapshot->has_flow;
    if (snapshot->has_flow)
        s->sample.signed_volume_quote += snapshot->flow.buy_quote - snapshot->flow.sell_quote;
}

/* The link from the last snapshot to this one: either it carries an e_n, or the time between is a
 * gap. */
static bool follow_link(struct l2_stream *s, const struct l2_params *params,
                        const struct l2_snapshot *n, const struct l2_top *before)
{
    if (!s->started) {
        l2_window_add_gap(&s->window, n->event_time_us - us(params->window_s), n->event_time_us);
        s->bar_time_us = l2_floor_us(n->event_time_us, us(params->bar_s));
        return true;
    }
    if (s->broken || n->epoch != s->last.epoch ||
        n->event_time_us - s->last.last_event_us > us(params->max_gap_s)) {
        l2_window_add_gap(&s->window, s->last.last_event_us, n->event_time_us);
        s->gaps++;
        return true;
    }
    l2_window_add_ofi(&s->window, n->event_time_us, l2_ofi_term(before, &s->book.top));
    return false;
}

void l2_stream_take(struct l2_stream *s, const struct l2_params *params,
                    const struct l2_snapshot *n, int64_t kafka_time_us)
{
    assert(!l2_stream_is_due(s, params, n->event_time_us));
    /* before the gap is marked: the ring may move past the minute of the sample before */
    if (!is_in_sample(s, params, n->event_time_us))
        finish_sample(s);
    const struct l2_top before = s->book.top;
    l2_book_of(n, &s->book);
    const bool broken = follow_link(s, params, n, &before);

    s->has_top = true;
    add_to_sample(s, params, n, broken);
    l2_sketch_add(&s->spread, l2_spread_bps(&s->book.top));
    s->snapshots++;
    s->started = true;
    s->broken = false;
    s->late.n = 0;
    s->last.epoch = n->epoch;
    s->last.sequence = n->sequence;
    s->last.last_event_us = n->event_time_us;
    s->last.last_kafka_us = kafka_time_us;
}

void l2_stream_adopt(struct l2_stream *s, const struct l2_params *params,
                     const struct l2_snapshot *n, int64_t kafka_time_us)
{
    assert(s->started && !l2_stream_is_due(s, params, n->event_time_us));
    l2_stream_init(s, params, s->window.minutes);
    l2_stream_take(s, params, n, kafka_time_us);
    s->gaps = 1; /* the link to the last snapshot of the old epoch */
}

/* Time of the window that ends at t inside gaps, the silence before t among them. */
static int64_t gap_us_at(const struct l2_stream *s, const struct l2_params *params,
                         const struct l2_window_sums *sums, int64_t t_us)
{
    const int64_t silence_us = t_us - s->last.last_event_us;

    if (silence_us <= us(params->max_gap_s))
        return sums->gap_us;
    return sums->gap_us + (silence_us < us(params->window_s) ? silence_us : us(params->window_s));
}

void l2_stream_close(struct l2_stream *s, const struct l2_params *params, struct l2_bar *ret_bar,
                     uint8_t ret_sketch[L2_SKETCH_BYTES_MAX], size_t *ret_sketch_n)
{
    const int64_t t_us = s->bar_time_us + us(params->bar_s), window_us = us(params->window_s);

    assert(s->started);
    finish_sample(s);
    const struct l2_window_sums sums = l2_window_sum(&s->window, t_us);
    const int64_t gap_us = gap_us_at(s, params, &sums, t_us);
    struct l2_bar bar = {
        .bar_time_us = s->bar_time_us,
        .snapshots = s->snapshots,
        .gaps = s->gaps,
        .coverage = 1 - (double)gap_us / (double)window_us,
        .resume = s->last,
    };
    double lambda;

    if (s->has_top && t_us - s->last.last_event_us <= us(params->max_book_age_s))
        l2_book_columns(&s->book, &bar.row);
    /* whole numbers, so that a window at exactly the limit is judged exactly */
    if (gap_us * 100 <= window_us * (100 - params->coverage_pct)) {
        if (isfinite(sums.ofi))
            l2_row_set(&bar.row, L2_OFI, sums.ofi);
        if (l2_kyle_slope(&sums.kyle, params->samples_min, &lambda))
            l2_row_set(&bar.row, L2_KYLE_LAMBDA, lambda);
    }
    *ret_sketch_n = s->snapshots > 0 ? l2_sketch_encode(&s->spread, ret_sketch) : 0;
    if (s->snapshots > 0)
        memset(&s->spread, 0, sizeof s->spread);
    s->snapshots = s->gaps = 0;
    s->bar_time_us = t_us;
    *ret_bar = bar;
}
