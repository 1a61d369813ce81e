#include "rep_line.h"
#include "rep_dec.h"
#include "rep_grow.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define TIME_MS_MAX INT64_C(253402300799999) /* the last of year 9999 */

static enum err_class reject(struct err *err, const char *text)
{
    return err_set(err, ERR_REJECT, "%s", text);
}

/* `<digits> `: returns the number of bytes up to the JSON, 0 when they are none such. */
static size_t parse_receive_time(const char *line, size_t n, int64_t *ret_us)
{
    int64_t ns = 0;
    size_t i = 0;

    while (i < n && line[i] >= '0' && line[i] <= '9') {
        if (__builtin_mul_overflow(ns, INT64_C(10), &ns) ||
            __builtin_add_overflow(ns, (int64_t)(line[i] - '0'), &ns))
            return 0;
        i++;
    }
    if (i == 0 || i == n || line[i] != ' ')
        return 0;
    *ret_us = ns / 1000;
    return i + 1;
}

static bool get_int(const json_t *object, const char *key, int64_t max, int64_t *ret)
{
    const json_t *const v = json_object_get(object, key);

    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > max)
        return false;
    *ret = json_integer_value(v);
    return true;
}

static bool get_text(const json_t *object, const char *key, const char **ret, size_t *ret_n)
{
    const json_t *const v = json_object_get(object, key);

    if (!json_is_string(v))
        return false;
    *ret = json_string_value(v);
    *ret_n = json_string_length(v);
    return true;
}

/* [["61800.20","2.909"], …]; more than two items a level are allowed (spot once sent three). */
static enum err_class get_levels(const json_t *levels, const char *name, struct rep_msg *msg,
                                 uint32_t *ret_n, struct err *err)
{
    const size_t at = (size_t)msg->bids_n + msg->asks_n;
    const size_t n = json_array_size(levels);

    if (!json_is_array(levels))
        return err_set(err, ERR_REJECT, "'%s' is not an array", name);
    if (n > REP_LINE_LEVELS_MAX || !rep_grow((void **)&msg->levels, &msg->levels_cap, at + n,
                                             REP_LINE_LEVELS_MAX, sizeof *msg->levels))
        return err_set(err, ERR_REJECT, "more than %zu levels", REP_LINE_LEVELS_MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *const pair = json_array_get(levels, i);
        const json_t *const price = json_array_get(pair, 0);
        const json_t *const quantity = json_array_get(pair, 1);
        struct rep_level *const l = &msg->levels[at + i];
        if (!json_is_string(price) || !json_is_string(quantity))
            return err_set(err, ERR_REJECT, "'%s' level %zu is not [\"price\",\"quantity\"]", name,
                           i);
        if (!rep_dec_price(json_string_value(price), json_string_length(price), &l->key,
                           &l->price) ||
            l->key == 0)
            return err_set(err, ERR_REJECT,
                           "'%s' price '%.40s' is not a number above 0 of at most %d decimals",
                           name, json_string_value(price), REP_DEC_PRICE_DECIMALS);
        if (!rep_dec_value(json_string_value(quantity), json_string_length(quantity), &l->quantity))
            return err_set(err, ERR_REJECT, "'%s' quantity '%.40s' is not a number", name,
                           json_string_value(quantity));
    }
    *ret_n = (uint32_t)n;
    return ERR_OK;
}

static enum err_class parse_sides(const json_t *data, const char *bids, const char *asks,
                                  struct rep_msg *msg, struct err *err)
{
    const enum err_class e = get_levels(json_object_get(data, bids), bids, msg, &msg->bids_n, err);

    return e != ERR_OK ? e : get_levels(json_object_get(data, asks), asks, msg, &msg->asks_n, err);
}

static enum err_class parse_event(const json_t *data, struct rep_msg *msg, struct err *err)
{
    const char *symbol;
    size_t symbol_n;

    if (!get_text(data, "s", &symbol, &symbol_n) || symbol_n == 0 ||
        symbol_n > REP_SYMBOL_BYTES_MAX)
        return reject(err, "no symbol 's' of 1 to 32 bytes");
    memcpy(msg->symbol, symbol, symbol_n + 1);
    if (!get_int(data, "E", TIME_MS_MAX, &msg->event_us))
        return reject(err, "no event time 'E' in milliseconds");
    msg->event_us *= 1000;
    return ERR_OK;
}

static enum err_class parse_depth(const json_t *data, struct rep_msg *msg, struct err *err)
{
    const enum err_class e = parse_event(data, msg, err);

    if (e != ERR_OK)
        return e;
    msg->kind = REP_MSG_DEPTH;
    msg->previous_id = -1;
    if (!get_int(data, "U", INT64_MAX - 1, &msg->first_id) ||
        !get_int(data, "u", INT64_MAX - 1, &msg->last_id) || msg->last_id < msg->first_id)
        return reject(err, "no update ids 'U' <= 'u'");
    if (json_object_get(data, "pu") != NULL &&
        !get_int(data, "pu", INT64_MAX - 1, &msg->previous_id))
        return reject(err, "'pu' is not an update id");
    return parse_sides(data, "b", "a", msg, err);
}

static enum err_class parse_trade(const json_t *data, struct rep_msg *msg, struct err *err)
{
    const json_t *const maker = json_object_get(data, "m");
    const json_t *const kind = json_object_get(data, "X");
    const char *text;
    size_t n;
    int64_t key;

    const enum err_class e = parse_event(data, msg, err);
    if (e != ERR_OK)
        return e;
    msg->kind = REP_MSG_TRADE;
    msg->is_market =
        kind == NULL || (json_is_string(kind) && strcmp(json_string_value(kind), "MARKET") == 0);
    if (!json_is_boolean(maker))
        return reject(err, "trade without 'm'");
    msg->is_buy = json_is_false(maker); /* the buyer was the maker: the aggressor sold */
    if (!get_text(data, "q", &text, &n) || !rep_dec_value(text, n, &msg->quantity))
        return reject(err, "trade quantity 'q' is not a number");
    if (!get_text(data, "p", &text, &n) || !rep_dec_price(text, n, &key, &msg->price))
        return reject(err, "trade price 'p' is not a number of at most 8 decimals");
    if (msg->is_market && (key == 0 || !(msg->quantity > 0)))
        return reject(err, "trade price 'p' or quantity 'q' is 0"); /* insurance rows may be */
    return ERR_OK;
}

static enum err_class parse_root(const json_t *root, struct rep_msg *msg, struct err *err)
{
    const json_t *const inner = json_object_get(root, "data");
    const json_t *const data = inner != NULL ? inner : root;
    const char *event;
    size_t event_n;

    if (!json_is_object(root) || !json_is_object(data))
        return reject(err, "not a JSON object");
    if (inner == NULL && json_object_get(root, "lastUpdateId") != NULL) {
        msg->kind = REP_MSG_REST;
        if (!get_int(root, "lastUpdateId", INT64_MAX - 1, &msg->last_id))
            return reject(err, "'lastUpdateId' is not an update id");
        return parse_sides(root, "bids", "asks", msg, err);
    }
    if (get_text(data, "e", &event, &event_n) && strcmp(event, "depthUpdate") == 0)
        return parse_depth(data, msg, err);
    if (get_text(data, "e", &event, &event_n) && strcmp(event, "trade") == 0)
        return parse_trade(data, msg, err);
    msg->kind = REP_MSG_OTHER;
    if (get_text(data, "s", &event, &event_n) && event_n <= REP_SYMBOL_BYTES_MAX)
        memcpy(msg->symbol, event, event_n + 1);
    return ERR_OK;
}

enum err_class rep_line_parse(const char *line, size_t n, struct rep_msg *msg, struct err *err)
{
    json_error_t why;
    struct rep_msg empty = {.levels = msg->levels, .levels_cap = msg->levels_cap};

    *msg = empty;
    const size_t at = parse_receive_time(line, n, &msg->received_us);
    if (at == 0)
        return reject(err, "not '<receive time in ns> <JSON>': is it a Binance websocket "
                           "recording (--source binance-ws)?");
    json_t *const root = json_loadb(line + at, n - at, 0, &why);
    if (root == NULL)
        return err_set(err, ERR_REJECT, "malformed JSON at byte %zu of the line: %.120s",
                       at + (size_t)(why.position > 0 ? why.position : 0), why.text);
    const enum err_class e = parse_root(root, msg, err);
    json_decref(root);
    return e;
}

void rep_msg_free(struct rep_msg *msg)
{
    free(msg->levels);
    *msg = (struct rep_msg){0};
}
