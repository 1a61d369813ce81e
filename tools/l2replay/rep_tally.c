#include "rep_tally.h"
#include "rep_grow.h"

#include "clk/clk.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BAR_CELLS 24
#define BAR_PERIOD_US 100000
#define SYMBOLS_SHOWN 20

void rep_tally_init(struct rep_tally *t, const char *const *symbols, uint32_t symbols_n)
{
    *t = (struct rep_tally){.symbols = symbols,
                            .symbols_n = symbols_n,
                            .by_symbol = rep_alloc(symbols_n, sizeof *t->by_symbol),
                            .started_us = clk_mono_us()};
}

void rep_tally_free(struct rep_tally *t)
{
    free(t->by_symbol);
    t->by_symbol = NULL;
}

void rep_tally_snapshot(struct rep_tally *t, const struct rep_item *item)
{
    struct rep_tally_symbol *const s = &t->by_symbol[item->symbol];

    if (s->snapshots++ == 0)
        s->first_us = s->last_us = item->event_us;
    if (item->event_us > s->last_us)
        s->last_us = item->event_us;
    if (t->snapshots++ == 0)
        t->first_us = t->last_us = item->event_us;
    if (item->event_us < t->first_us)
        t->first_us = item->event_us;
    if (item->event_us > t->last_us)
        t->last_us = item->event_us;
}

void rep_tally_candle(struct rep_tally *t, const struct rep_candle *candle)
{
    t->candles++;
    t->by_symbol[candle->symbol].candles++;
}

static double seconds(const struct rep_tally *t)
{
    const int64_t us = clk_mono_us() - t->started_us;

    return us > 0 ? (double)us / 1e6 : 1e-6;
}

void rep_tally_show(struct rep_tally *t, double part)
{
    char bar[BAR_CELLS + 1], text[CLK_TEXT_BYTES];
    const int64_t now_us = clk_mono_us();

    if (t->is_quiet || now_us - t->shown_us < BAR_PERIOD_US || !isatty(STDERR_FILENO))
        return;
    t->shown_us = now_us;
    t->has_bar = true;
    for (int i = 0; i < BAR_CELLS; i++)
        bar[i] = part < 0 ? '.' : (double)i < part * BAR_CELLS ? '#' : '.';
    bar[BAR_CELLS] = '\0';
    clk_text(t->last_us, text, sizeof text);
    fprintf(stderr, "\r[%s] ", bar);
    if (part >= 0)
        fprintf(stderr, "%3.0f %% ", part * 100);
    fprintf(stderr, "%" PRIu64 " snapshots  %.0f/s  %.19sZ\033[K", t->snapshots,
            (double)t->snapshots / seconds(t), text);
}

void rep_tally_wipe(struct rep_tally *t)
{
    if (t->has_bar)
        fputs("\r\033[K", stderr);
    t->has_bar = false;
}

/* What a reader of the summary should know about one recording: only what happened. */
static void stream_text(const struct rep_stream *stream, FILE *out)
{
    const struct rep_stream_counts *const c = rep_stream_counts(stream);
    const struct rep_sync_counts *const s = rep_stream_sync_counts(stream);
    const char *const symbol = rep_stream_symbol(stream);

    if (s->gaps > 0)
        fprintf(out,
                "  %s: %" PRIu64 " sequence gap(s), the first at %s: no snapshots up to the next "
                "REST depth answer (%" PRIu64 " depth messages while no book was known)\n",
                symbol, s->gaps, c->first_gap, s->unsynced);
    if (c->crossed > 0)
        fprintf(out, "  %s: %" PRIu64 " crossed or locked books left out\n", symbol, c->crossed);
    if (c->empty_side > 0)
        fprintf(out, "  %s: %" PRIu64 " books with an empty side left out\n", symbol,
                c->empty_side);
    if (c->not_market > 0)
        fprintf(out, "  %s: %" PRIu64 " trade messages that are no trades of the book left out\n",
                symbol, c->not_market);
    if (c->trades == 0)
        fprintf(out, "  %s: no trades recorded: flow is null, there are no candles\n", symbol);
}

static void symbols_text(const struct rep_tally *t, FILE *out)
{
    char first[CLK_TEXT_BYTES], last[CLK_TEXT_BYTES];

    for (uint32_t i = 0; i < t->symbols_n; i++) {
        const struct rep_tally_symbol *const s = &t->by_symbol[i];
        if (i == SYMBOLS_SHOWN) {
            fprintf(out, "  … and %" PRIu32 " more\n", t->symbols_n - i);
            break;
        }
        fprintf(out, "  %-16s %10" PRIu64 " snapshots  %6" PRIu64 " candles", t->symbols[i],
                s->snapshots, s->candles);
        if (s->snapshots > 0)
            fprintf(out, "  %.23sZ … %.23sZ", clk_text(s->first_us, first, sizeof first),
                    clk_text(s->last_us, last, sizeof last));
        fputc('\n', out);
    }
}

static void invalid_text(const struct rep_tally *t, FILE *out)
{
    bool is_first = true;

    for (unsigned i = 0; i < REP_INVALIDS; i++) {
        if (t->invalid[i] == 0)
            continue;
        fprintf(out, "%s%s %" PRIu64, is_first ? "  invalid: " : ", ", rep_invalid_infos[i].name,
                t->invalid[i]);
        is_first = false;
    }
    if (!is_first)
        fputc('\n', out);
}

void rep_tally_text(const struct rep_tally *t, const struct rep_tally_more *more, FILE *out)
{
    fprintf(out,
            "%s%" PRIu64 " snapshots and %" PRIu64 " candles of %" PRIu32
            " symbol(s) in %.1f s (%.0f/s), %.1f s of market",
            more->is_interrupted ? "interrupted: " : "", t->snapshots, t->candles, t->symbols_n,
            seconds(t), (double)(t->snapshots + t->candles) / seconds(t),
            (double)(t->last_us - t->first_us) / 1e6);
    if (more->has_topics)
        fprintf(out, ", %" PRIu64 " acknowledged by the broker", more->delivered);
    fputc('\n', out);
    if (more->is_over)
        fputs("  ended early: the rehearsal clock has reached its real start\n", out);
    symbols_text(t, out);
    invalid_text(t, out);
    for (unsigned i = 0; i < more->streams_n; i++)
        stream_text(more->streams[i], out);
    if (more->late_trades > 0)
        fprintf(out, "  %" PRIu64 " trades came after their candle was complete\n",
                more->late_trades);
}

static json_t *stream_json(const struct rep_stream *stream)
{
    const struct rep_stream_counts *const c = rep_stream_counts(stream);
    const struct rep_sync_counts *const s = rep_stream_sync_counts(stream);

    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "symbol",
                     rep_stream_symbol(stream), "lines", (json_int_t)c->lines, "snapshots",
                     (json_int_t)c->snapshots, "trades", (json_int_t)c->trades, "not_market",
                     (json_int_t)c->not_market, "other", (json_int_t)c->other, "empty_side",
                     (json_int_t)c->empty_side, "crossed", (json_int_t)c->crossed, "thinned",
                     (json_int_t)c->thinned, "old", (json_int_t)s->old, "unsynced",
                     (json_int_t)s->unsynced, "gaps", (json_int_t)s->gaps, "first_gap",
                     c->first_gap);
}

static json_t *symbol_json(const struct rep_tally_symbol *s)
{
    json_t *const o = json_pack("{s:I, s:I}", "snapshots", (json_int_t)s->snapshots, "candles",
                                (json_int_t)s->candles);

    if (s->snapshots > 0) {
        json_object_set_new(o, "first_event_time_us", json_integer(s->first_us));
        json_object_set_new(o, "last_event_time_us", json_integer(s->last_us));
    }
    return o;
}

static json_t *invalid_json(const struct rep_tally *t)
{
    json_t *const o = json_object();

    for (unsigned i = 0; i < REP_INVALIDS; i++) {
        if (t->invalid[i] > 0)
            json_object_set_new(o, rep_invalid_infos[i].name,
                                json_integer((json_int_t)t->invalid[i]));
    }
    return o;
}

bool rep_tally_json(const struct rep_tally *t, const struct rep_tally_more *more, FILE *out)
{
    char first[CLK_TEXT_BYTES], last[CLK_TEXT_BYTES];
    json_t *const symbols = json_object(), *const recordings = json_array();

    for (uint32_t i = 0; i < t->symbols_n; i++)
        json_object_set_new(symbols, t->symbols[i], symbol_json(&t->by_symbol[i]));
    for (unsigned i = 0; i < more->streams_n; i++)
        json_array_append_new(recordings, stream_json(more->streams[i]));
    json_t *const root = json_pack(
        "{s:I, s:I, s:f, s:f, s:f, s:I, s:b, s:b, s:I}", "snapshots", (json_int_t)t->snapshots,
        "candles", (json_int_t)t->candles, "seconds", seconds(t), "records_per_second",
        (double)(t->snapshots + t->candles) / seconds(t), "span_seconds",
        (double)(t->last_us - t->first_us) / 1e6, "late_trades", (json_int_t)more->late_trades,
        "interrupted", (int)more->is_interrupted, "clock_over", (int)more->is_over, "delivered",
        (json_int_t)more->delivered);
    if (root != NULL && t->snapshots > 0) {
        json_object_set_new(root, "first_event_time_us", json_integer(t->first_us));
        json_object_set_new(root, "last_event_time_us", json_integer(t->last_us));
        json_object_set_new(root, "first_event_time",
                            json_string(clk_text(t->first_us, first, sizeof first)));
        json_object_set_new(root, "last_event_time",
                            json_string(clk_text(t->last_us, last, sizeof last)));
    }
    json_object_set_new(root, "symbols", symbols);
    json_object_set_new(root, "invalid", invalid_json(t));
    json_object_set_new(root, "recordings", recordings);
    const bool ok =
        root != NULL && json_dumpf(root, out, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) == 0;
    fputc('\n', out);
    json_decref(root);
    return ok;
}
