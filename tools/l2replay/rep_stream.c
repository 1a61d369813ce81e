#include "rep_stream.h"
#include "rep_file.h"
#include "rep_grow.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rep_stream {
    struct rep_stream_options options;
    unsigned path; /* the open one */
    struct rep_file *file;
    struct rep_msg msg;
    struct rep_sync sync;
    int64_t connected_s; /* Unix seconds of the first record; -1 before */
    bool has_trades;
    struct codec_flow flow; /* since the last snapshot */
    bool has_bucket;
    int64_t bucket;  /* of the last snapshot: its event time / thin */
    bool saw_depth, saw_rest;
    struct codec_level levels[2 * REP_DEPTH_MAX];
    struct rep_stream_counts counts;
};

static const char *path_of(const struct rep_stream *s)
{
    return s->options.paths[s->path];
}

enum err_class rep_stream_open(const struct rep_stream_options *options,
                               struct rep_stream **ret_stream, struct err *err)
{
    struct rep_file *file;

    assert(options->depth >= 1 && options->depth <= REP_DEPTH_MAX && options->paths_n >= 1);
    const enum err_class e = rep_file_open(options->paths[0], &file, err);
    if (e != ERR_OK)
        return e;
    struct rep_stream *const s = rep_alloc(1, sizeof *s);
    s->options = *options;
    s->file = file;
    s->connected_s = -1;
    rep_sync_init(&s->sync);
    *ret_stream = s;
    return ERR_OK;
}

void rep_stream_close(struct rep_stream *stream)
{
    if (stream == NULL)
        return;
    rep_file_close(stream->file);
    rep_sync_free(&stream->sync);
    rep_msg_free(&stream->msg);
    free(stream);
}

/* The symbol of a message must be ours: a REST answer names none, so it could be another's. */
static enum err_class check_symbol(const struct rep_stream *s, struct err *err)
{
    if (s->msg.symbol[0] == '\0' || strcmp(s->msg.symbol, s->options.symbol) == 0)
        return ERR_OK;
    if (s->counts.snapshots == 0 && !s->saw_depth)
        return err_set(err, ERR_REJECT, "symbol %s is not in it, %s is: say --symbol %s",
                       s->options.symbol, s->msg.symbol, s->msg.symbol);
    return err_set(err, ERR_REJECT,
                   "a message of %s in a recording of %s: REST answers name no symbol, so a "
                   "recording holds one: split it",
                   s->msg.symbol, s->options.symbol);
}

static void add_trade(struct rep_stream *s)
{
    const double base = s->msg.quantity, quote = s->msg.price * s->msg.quantity;

    s->has_trades = true;
    s->flow.trade_count++;
    if (s->msg.is_buy) {
        s->flow.buy_base += base;
        s->flow.buy_quote += quote;
    } else {
        s->flow.sell_base += base;
        s->flow.sell_quote += quote;
    }
}

static bool take_trade(struct rep_stream *s, struct rep_item *item)
{
    if (!s->msg.is_market) {
        s->counts.not_market++;
        return false;
    }
    s->counts.trades++;
    add_trade(s);
    *item = (struct rep_item){
        .is_trade = true,
        .symbol = s->options.index,
        .event_us = s->msg.event_us,
        .due_us = s->msg.event_us,
        .trade = {.price = s->msg.price, .quantity = s->msg.quantity, .is_buy = s->msg.is_buy}};
    return true;
}

/* False: this book is not to be sent; its flow stays for the next one. */
static bool may_send(struct rep_stream *s)
{
    const enum rep_book_state state = rep_book_state(&s->sync.book);

    s->counts.empty_side += state == REP_BOOK_EMPTY_SIDE;
    s->counts.crossed += state == REP_BOOK_CROSSED;
    if (state != REP_BOOK_GOOD)
        return false;
    if (s->options.thin_us > 0) {
        const int64_t bucket = s->msg.event_us / s->options.thin_us;
        if (s->has_bucket && bucket == s->bucket) {
            s->counts.thinned++;
            return false;
        }
        s->has_bucket = true;
        s->bucket = bucket;
    }
    return true;
}

static void make_snapshot(struct rep_stream *s, struct rep_item *item)
{
    struct codec_level *const asks = s->levels + REP_DEPTH_MAX;

    *item = (struct rep_item){
        .symbol = s->options.index,
        .event_us = s->msg.event_us,
        .due_us = s->msg.event_us,
        .received_us = s->msg.received_us,
        .sequence = s->msg.last_id,
        .epoch = s->sync.epoch,
        .bids = s->levels,
        .asks = asks,
        .bids_n = rep_side_top(&s->sync.book.bids, s->options.depth, s->levels),
        .asks_n = rep_side_top(&s->sync.book.asks, s->options.depth, asks),
        .has_flow = s->has_trades,
        .flow = s->flow,
    };
    s->flow = (struct codec_flow){0};
    s->counts.snapshots++;
}

/* What a line makes: an item, or nothing. */
static enum err_class take_line(struct rep_stream *s, const char *line, size_t n,
                                struct rep_item *item, bool *ret_got, struct err *err)
{
    enum rep_sync_verdict verdict = REP_SYNC_NOTHING;

    *ret_got = false;
    s->counts.lines++;
    if (n == 0)
        return ERR_OK;
    enum err_class e = rep_line_parse(line, n, &s->msg, err);
    if (e == ERR_OK)
        e = check_symbol(s, err);
    if (e != ERR_OK)
        return e;
    if (s->connected_s < 0)
        s->connected_s = s->msg.received_us / 1000000;
    if (s->msg.kind == REP_MSG_TRADE) {
        *ret_got = take_trade(s, item);
        return ERR_OK;
    }
    s->counts.other += s->msg.kind == REP_MSG_OTHER;
    s->saw_depth |= s->msg.kind == REP_MSG_DEPTH;
    s->saw_rest |= s->msg.kind == REP_MSG_REST;
    e = rep_sync_take(&s->sync, &s->msg, s->connected_s, &verdict, err);
    if (e != ERR_OK)
        return e;
    if (verdict == REP_SYNC_GAP && s->counts.first_gap[0] == '\0')
        snprintf(s->counts.first_gap, sizeof s->counts.first_gap, "%.160s:%" PRIu64, path_of(s),
                 rep_file_line(s->file));
    if (verdict == REP_SYNC_UPDATED && may_send(s)) {
        make_snapshot(s, item);
        *ret_got = true;
    }
    return ERR_OK;
}

static enum err_class at_end(const struct rep_stream *s, struct err *err)
{
    const char *why = "its book was never good: every side empty or crossed";

    if (s->counts.snapshots > 0)
        return ERR_OK;
    if (!s->saw_depth)
        why = "it has no depthUpdate message: record the stream SYMBOL@depth";
    else if (!s->saw_rest)
        why = "it has no REST depth answer to start the book from: record one of /depth";
    else if (s->sync.counts.gaps > 0)
        why = "its REST depth answer is older than the depthUpdate messages: record it after they "
              "begin";
    else if (s->sync.is_known && s->sync.is_first)
        why = "no depthUpdate message follows its REST depth answer";
    return err_set(err, ERR_REJECT,
                   "%.100s: no snapshot of %s could be made of %" PRIu64 " lines: %s", path_of(s),
                   s->options.symbol, s->counts.lines, why);
}

enum err_class rep_stream_next(struct rep_stream *s, struct rep_item *ret_item, bool *ret_got,
                               struct err *err)
{
    const char *line;
    size_t n;
    bool got;

    for (;;) {
        enum err_class e = rep_file_next(s->file, &line, &n, &got, err);
        if (e != ERR_OK)
            return e;
        if (got) {
            e = take_line(s, line, n, ret_item, ret_got, err);
            if (e != ERR_OK)
                return err_set(err, e, "%.90s:%" PRIu64 ": %s", path_of(s), rep_file_line(s->file),
                               err->text);
            if (*ret_got)
                return ERR_OK;
            continue;
        }
        if (s->path + 1 == s->options.paths_n) {
            *ret_got = false;
            return at_end(s, err);
        }
        rep_file_close(s->file);
        s->file = NULL;
        s->path++;
        e = rep_file_open(path_of(s), &s->file, err);
        if (e != ERR_OK)
            return e;
    }
}

const struct rep_stream_counts *rep_stream_counts(const struct rep_stream *stream)
{
    return &stream->counts;
}

const struct rep_sync_counts *rep_stream_sync_counts(const struct rep_stream *stream)
{
    return &stream->sync.counts;
}

const char *rep_stream_symbol(const struct rep_stream *stream)
{
    return stream->options.symbol;
}

double rep_stream_progress(const struct rep_stream *s)
{
    if (s->file == NULL || rep_file_bytes(s->file) == 0)
        return -1;
    const double part = (double)rep_file_bytes_read(s->file) / (double)rep_file_bytes(s->file);
    return ((double)s->path + (part < 1 ? part : 1)) / (double)s->options.paths_n;
}
