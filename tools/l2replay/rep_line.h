/*
 * rep_line.h: one line of a Binance websocket recording, `<local receive ns> <json>`, as a message.
 *
 * The JSON is a combined stream's {"stream", "data"}, a plain stream's message, or a REST answer of
 * /depth. Pure but for memory: any bytes may come (there is a fuzz target).
 */
#ifndef REP_LINE_H
#define REP_LINE_H

#include "base/err.h"
#include "rep_book.h"

#define REP_LINE_BYTES_MAX ((size_t)8 << 20) /* a REST answer of 5,000 levels a side has 300 KB */
#define REP_LINE_LEVELS_MAX ((size_t)100000) /* of one message, both sides */
#define REP_SYMBOL_BYTES_MAX 32

enum rep_msg_kind {
    REP_MSG_OTHER, /* bookTicker, aggTrade, …: not needed here */
    REP_MSG_DEPTH, /* a difference of the book */
    REP_MSG_REST, /* a whole book; carries no symbol */
    REP_MSG_TRADE,
};

/* Times in µs since the Unix epoch. `levels` holds the bids, then the asks, in the message's order.
 */
struct rep_msg {
    enum rep_msg_kind kind;
    int64_t received_us;
    int64_t event_us; /* E; of DEPTH and TRADE */
    char symbol[REP_SYMBOL_BYTES_MAX + 1]; /* "" where the message has none */
    int64_t first_id, last_id; /* DEPTH: U, u; REST: last_id = lastUpdateId */
    int64_t previous_id; /* DEPTH of futures: pu; else -1 */
    struct rep_level *levels;
    size_t levels_cap;
    uint32_t bids_n, asks_n;
    double price, quantity; /* TRADE */
    bool is_buy; /* TRADE: by its aggressor */
    bool is_market; /* TRADE: a trade of the book (futures: X is MARKET) */
};

/*
 * `msg` is reused from line to line, zeroed before the first; rep_msg_free in the end. REJECT: the
 * text says what is wrong, without file and line; msg's content is then undefined.
 */
enum err_class rep_line_parse(const char *line, size_t n, struct rep_msg *msg,
                              struct err *err) MUST_CHECK;
void rep_msg_free(struct rep_msg *msg);

#endif
