/*
 * Any bytes as a recording, read as l2replay reads it: lines, sequence rules, snapshots, trades and
 * candles. What comes out must be sendable: books in order and not crossed, sequences that rise in
 * an epoch, candles that hold together; what is refused names the file.
 */
#include "rep_candle.h"
#include "rep_stream.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEPTH 5
#define BAR_US INT64_C(60000000)

static void check_side(const struct codec_level *levels, uint32_t n, double direction)
{
    assert(n >= 1 && n <= DEPTH);
    for (uint32_t i = 0; i < n; i++) {
        assert(isfinite(levels[i].price) && levels[i].price > 0);
        assert(isfinite(levels[i].quantity) && levels[i].quantity > 0);
        assert(i == 0 || direction * (levels[i].price - levels[i - 1].price) > 0);
    }
}

static void check_snapshot(const struct rep_item *item, const struct rep_item *last)
{
    check_side(item->bids, item->bids_n, -1);
    check_side(item->asks, item->asks_n, 1);
    assert(item->bids[0].price < item->asks[0].price);
    assert(!item->has_flow ||
           (item->flow.trade_count >= 0 && item->flow.buy_base >= 0 && item->flow.sell_base >= 0));
    if (last->sequence >= 0) {
        assert(item->epoch >= last->epoch);
        assert(item->epoch > last->epoch || item->sequence > last->sequence);
    }
}

static void check_candle(const struct rep_candle *c)
{
    assert(c->low <= c->open && c->low <= c->close && c->open <= c->high && c->close <= c->high);
    assert(c->trades_n >= 0 && c->base >= c->buy_base && c->buy_base >= 0);
    assert(c->bar_us % BAR_US == 0);
}

static void check_end(enum err_class e, const struct err *err, const char *path)
{
    if (e != ERR_OK)
        assert(e == ERR_REJECT && strncmp(err->text, path, strlen(path)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    const char *const paths[] = {path};
    const struct rep_stream_options options = {
        .paths = paths,
        .paths_n = 1,
        .symbol = "BTCUSDT",
        .depth = DEPTH,
        .thin_us = size > 0 && (data[size - 1] & 1) != 0 ? 100000 : 0};
    struct rep_stream *stream = NULL;
    struct rep_item item, last = {.sequence = -1};
    struct rep_candle candle;
    struct err err = {.text = ""};
    bool got = true;
    const int fd = memfd_create("fuzz_l2replay", MFD_CLOEXEC);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (rep_stream_open(&options, &stream, &err) != ERR_OK)
        abort();
    struct rep_candles *const candles = rep_candles_new(1, BAR_US);
    for (;;) {
        const enum err_class e = rep_stream_next(stream, &item, &got, &err);
        check_end(e, &err, path);
        if (e != ERR_OK || !got)
            break;
        if (!item.is_trade) {
            check_snapshot(&item, &last);
            last = item;
        }
        if (rep_candles_take(candles, &item, &candle))
            check_candle(&candle);
    }
    rep_candles_free(candles);
    rep_stream_close(stream);
    close(fd);
    return 0;
}
