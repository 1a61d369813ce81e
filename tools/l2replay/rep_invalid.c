#include "rep_invalid.h"
#include "rep_draw.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define PAYLOAD_BYTES_MAX (128 * 1024)
#define AHEAD_US INT64_C(5000000)
#define LATE_US INT64_C(1000000)
#define CONFLUENT_BYTES 5

static_assert(REP_INVALID_BYTES_MAX >= PAYLOAD_BYTES_MAX + 8192, "room for what is too large");
static_assert(REP_INVALID_BYTES_MAX >= CODEC_FRAME_BYTES + CODEC_L2_SNAPSHOT_BYTES_MAX + 64,
              "room for a good one and trailing bytes");

const struct rep_invalid_info rep_invalid_infos[REP_INVALIDS] = {
    [REP_INVALID_UNDECODABLE] = {"undecodable", "undecodable", false,
                                 "cut, with bytes behind it, without its frame, or noise"},
    [REP_INVALID_TOMBSTONE] = {"tombstone", "undecodable", false, "a key without a value"},
    [REP_INVALID_TOO_LARGE] = {"too_large", "too_large", false, "1 byte to 8 KiB over 128 KiB"},
    [REP_INVALID_FINGERPRINT] = {"fingerprint", "unknown_schema", false,
                                 "the fingerprint of no schema"},
    [REP_INVALID_CONFLUENT] = {"confluent", "unknown_schema", false,
                               "a registry's framing, a schema id that none has given"},
    [REP_INVALID_SYMBOL] = {"symbol", "symbol_invalid", true,
                            "a name that is not [A-Za-z0-9._-]{1,32}"},
    [REP_INVALID_OTHER_KEY] = {"other_key", "symbol_mismatch", false,
                               "a known symbol's key, another symbol's record"},
    [REP_INVALID_EXCHANGE] = {"exchange", "wrong_exchange", true, "another exchange"},
    [REP_INVALID_AHEAD_OF_RECEIVED] = {"ahead_of_received", "event_time_ahead", true,
                                       "event_time over 5 s after received_time"},
    [REP_INVALID_AHEAD_OF_KAFKA] = {"ahead_of_kafka", "event_time_ahead", false,
                                    "event_time over 5 s after the Kafka timestamp"},
    [REP_INVALID_EMPTY_SIDE] = {"empty_side", "empty_side", true, "no bids, no asks, or neither"},
    [REP_INVALID_NAN] = {"nan", "not_finite", true, "a price, quantity or flow that is no number"},
    [REP_INVALID_INFINITE] = {"infinite", "not_finite", true, "the same, infinite"},
    [REP_INVALID_PRICE] = {"price", "price_not_positive", true, "a price of 0, -0 or below"},
    [REP_INVALID_QUANTITY] = {"quantity", "quantity_negative", true, "a quantity below 0"},
    [REP_INVALID_FLOW] = {"flow", "quantity_negative", true, "a volume or count below 0"},
    [REP_INVALID_ORDER] = {"order", "levels_out_of_order", true,
                           "two levels the wrong way round, or one twice"},
    [REP_INVALID_CROSSED] = {"crossed", "crossed_book", true, "the best bid above the best ask"},
    [REP_INVALID_LOCKED] = {"locked", "crossed_book", true, "the best bid at the best ask"},
    [REP_INVALID_WRONG_PARTITION] = {"wrong_partition", "wrong_partition", false,
                                     "a good record in a partition that is not its key's"},
    [REP_INVALID_NEW_SYMBOL] = {"new_symbol", "max_symbols", true,
                                "a good record of a symbol never seen: invalid past max_symbols"},
    [REP_INVALID_DUPLICATE] = {"duplicate", NULL, true, "the last record again"},
    [REP_INVALID_LATE] = {"late", NULL, true, "event_time 1 s behind"},
    [REP_INVALID_LOWER_EPOCH] = {"lower_epoch", NULL, true, "an epoch that is over"},
};

/* ---- the plan ---- */

static bool is_of(const char *word, size_t n, enum rep_invalid kind)
{
    const struct rep_invalid_info *const info = &rep_invalid_infos[kind];
    const struct {
        const char *name;
        bool is_in;
    } groups[] = {{"all", true}, {"dead", info->reason != NULL}, {"dropped", info->reason == NULL}};

    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        if (strlen(groups[i].name) == n && memcmp(groups[i].name, word, n) == 0)
            return groups[i].is_in;
    }
    return strlen(info->name) == n && memcmp(info->name, word, n) == 0;
}

enum err_class rep_invalid_parse(const char *text, struct rep_invalid_plan *plan, struct err *err)
{
    bool chosen[REP_INVALIDS] = {false};
    unsigned n = 0;

    for (const char *word = text;; word++) {
        const bool is_out = *word == '-';
        bool is_known = false;
        word += is_out;
        const size_t length = strcspn(word, ",");
        for (unsigned kind = 0; kind < REP_INVALIDS; kind++) {
            if (is_of(word, length, (enum rep_invalid)kind)) {
                chosen[kind] = !is_out;
                is_known = true;
            }
        }
        if (!is_known)
            return err_set(err, ERR_REJECT,
                           "'%.*s': no such kind: --list-invalid has them; or dead, dropped, all",
                           (int)(length < 64 ? length : 64), word);
        word += length;
        if (*word == '\0')
            break;
    }
    for (unsigned kind = 0; kind < REP_INVALIDS; kind++)
        n += chosen[kind];
    if (n == 0)
        return err_set(err, ERR_REJECT, "'%.64s': no kind is left", text);
    plan->kinds_n = 0;
    for (unsigned kind = 0; kind < REP_INVALIDS; kind++) {
        if (chosen[kind])
            plan->kinds[plan->kinds_n++] = (enum rep_invalid)kind;
    }
    return ERR_OK;
}

void rep_invalid_list(FILE *out)
{
    fprintf(out, "%-18s %-20s %-5s %s\n", "kind", "dead letter's reason", "file", "what it is");
    for (unsigned kind = 0; kind < REP_INVALIDS; kind++) {
        const struct rep_invalid_info *const info = &rep_invalid_infos[kind];
        fprintf(out, "%-18s %-20s %-5s %s\n", info->name,
                info->reason != NULL ? info->reason : "- (dropped)", info->is_value ? "yes" : "no",
                info->help);
    }
}

/* ---- values ---- */

static struct codec_level *any_level(struct codec_l2_snapshot *v, uint64_t *random)
{
    const uint32_t at = rep_draw_below(random, v->bids_n + v->asks_n);

    return at < v->bids_n ? &v->bids[at] : &v->asks[at - v->bids_n];
}

/* A price, a quantity, or a volume where the record has a flow. */
static double *any_number(struct codec_l2_snapshot *v, uint64_t *random)
{
    double *const volumes[] = {&v->flow.buy_base, &v->flow.sell_base, &v->flow.buy_quote,
                               &v->flow.sell_quote};
    const uint32_t which = rep_draw_below(random, v->has_flow ? 3 : 2);

    if (which == 2)
        return volumes[rep_draw_below(random, 4)];
    struct codec_level *const level = any_level(v, random);
    return which == 0 ? &level->price : &level->quantity;
}

static void spoil_price(struct codec_l2_snapshot *v, uint64_t *random)
{
    struct codec_level *const level = any_level(v, random);

    switch (rep_draw_below(random, 3)) {
    case 0:
        level->price = 0;
        break;
    case 1:
        level->price = -0.0;
        break;
    default:
        level->price = -level->price;
    }
}

static void spoil_flow(struct codec_l2_snapshot *v, uint64_t *random)
{
    double *const volumes[] = {&v->flow.buy_base, &v->flow.sell_base, &v->flow.buy_quote,
                               &v->flow.sell_quote};
    const uint32_t which = rep_draw_below(random, 5);

    v->has_flow = true;
    if (which == 4)
        v->flow.trade_count = -1;
    else
        *volumes[which] = -1;
}

/* A side of one level gets a second one at the same price. */
static void spoil_order(struct codec_l2_snapshot *v, uint64_t *random)
{
    const bool is_bid = rep_draw_below(random, 2) == 0;
    struct codec_level *const side = is_bid ? v->bids : v->asks;
    uint32_t *const n = is_bid ? &v->bids_n : &v->asks_n;

    if (*n == 1) {
        side[1] = side[0];
        *n = 2;
        return;
    }
    const uint32_t at = rep_draw_below(random, *n - 1);
    const struct codec_level here = side[at];
    if (rep_draw_below(random, 2) == 0)
        side[at] = side[at + 1];
    side[at + 1] = here;
}

static void spoil_sides(struct codec_l2_snapshot *v, uint64_t *random)
{
    const uint32_t which = rep_draw_below(random, 3);

    if (which != 1)
        v->bids_n = 0;
    if (which != 0)
        v->asks_n = 0;
}

/* The sides stay in order: bids move up as a whole. */
static void spoil_cross(struct codec_l2_snapshot *v, bool is_locked)
{
    const double above = v->asks[0].price * 2;

    if (is_locked)
        v->bids[0].price = v->asks[0].price;
    else
        v->bids[0].price = above;
}

static void spoil_book(enum rep_invalid kind, uint64_t *random, struct codec_l2_snapshot *v)
{
    switch (kind) {
    case REP_INVALID_EMPTY_SIDE:
        spoil_sides(v, random);
        break;
    case REP_INVALID_NAN:
        *any_number(v, random) = (double)NAN;
        break;
    case REP_INVALID_INFINITE: {
        double *const number = any_number(v, random);
        *number = rep_draw_below(random, 2) == 0 ? (double)INFINITY : -(double)INFINITY;
        break;
    }
    case REP_INVALID_PRICE:
        spoil_price(v, random);
        break;
    case REP_INVALID_QUANTITY:
        any_level(v, random)->quantity = -1;
        break;
    case REP_INVALID_FLOW:
        spoil_flow(v, random);
        break;
    case REP_INVALID_ORDER:
        spoil_order(v, random);
        break;
    case REP_INVALID_CROSSED:
    case REP_INVALID_LOCKED:
        spoil_cross(v, kind == REP_INVALID_LOCKED);
        break;
    default:
        break;
    }
}

static void spoil_names(enum rep_invalid kind, uint64_t count, uint64_t *random,
                        struct rep_invalid_record *r)
{
    static const char *const bad[] = {"BAD/USDT", "BAD USDT", "B\303\204DUSDT", "BAD\nUSDT",
                                      "*",        "BAD:USDT", "BAD\177"};
    struct codec_l2_snapshot *const v = r->snapshot;

    switch (kind) {
    case REP_INVALID_SYMBOL:
        r->key = v->symbol = codec_str(bad[rep_draw_below(random, sizeof bad / sizeof bad[0])]);
        break;
    case REP_INVALID_OTHER_KEY:
        v->symbol = codec_str(rep_draw_below(random, 2) == 0 ? "OTHER" : "OTHER.USDT-PERP_2");
        break;
    case REP_INVALID_EXCHANGE:
        v->exchange = codec_str(rep_draw_below(random, 2) == 0 ? "elsewhere" : "");
        break;
    case REP_INVALID_NEW_SYMBOL:
        (void)snprintf(r->text, sizeof r->text, "NEW%" PRIu64, count);
        r->key = v->symbol = codec_str(r->text);
        break;
    default:
        break;
    }
}

void rep_invalid_values(enum rep_invalid kind, uint64_t count, uint64_t *random,
                        struct rep_invalid_record *r)
{
    struct codec_l2_snapshot *const v = r->snapshot;

    r->key = v->symbol;
    r->timestamp_ms = 0;
    r->is_elsewhere = kind == REP_INVALID_WRONG_PARTITION;
    spoil_names(kind, count, random, r);
    spoil_book(kind, random, v);
    switch (kind) {
    case REP_INVALID_AHEAD_OF_RECEIVED:
        v->received_time_us = v->event_time_us - AHEAD_US - 1 - rep_draw_below(random, 1000000);
        break;
    case REP_INVALID_AHEAD_OF_KAFKA:
        r->timestamp_ms = (v->event_time_us - AHEAD_US) / 1000 - 1 - rep_draw_below(random, 1000);
        break;
    case REP_INVALID_LATE:
        v->sequence++;
        v->event_time_us -= LATE_US;
        break;
    case REP_INVALID_LOWER_EPOCH:
        v->sequence++;
        v->epoch--;
        break;
    default:
        break;
    }
}

/* ---- bytes ---- */

static void fill(uint64_t *random, uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)rep_draw(random);
}

static size_t undecodable(uint64_t *random, uint8_t *bytes, size_t n)
{
    switch (rep_draw_below(random, 5)) {
    case 0: /* cut inside the record */
        return CODEC_FRAME_BYTES + rep_draw_below(random, (uint32_t)(n - CODEC_FRAME_BYTES));
    case 1: { /* bytes behind it */
        const size_t more = 1 + rep_draw_below(random, 64);
        fill(random, bytes + n, more);
        return n + more;
    }
    case 2: /* inside the frame */
        return 1 + rep_draw_below(random, CODEC_FRAME_BYTES - 1);
    case 3: /* no frame: JSON, say */
        fill(random, bytes, n);
        bytes[0] = '{';
        return n;
    default: /* a number without an end, where the exchange's length should be */
        memset(bytes + CODEC_FRAME_BYTES, 0xff, n - CODEC_FRAME_BYTES);
        return n;
    }
}

size_t rep_invalid_bytes(enum rep_invalid kind, uint64_t *random, uint8_t *bytes, size_t n)
{
    assert(n > CODEC_FRAME_BYTES && n <= CODEC_FRAME_BYTES + CODEC_L2_SNAPSHOT_BYTES_MAX);
    switch (kind) {
    case REP_INVALID_UNDECODABLE:
        return undecodable(random, bytes, n);
    case REP_INVALID_TOMBSTONE:
        return 0;
    case REP_INVALID_TOO_LARGE: { /* a good record, then nothing: its size is looked at first */
        const size_t size = PAYLOAD_BYTES_MAX + 1 + rep_draw_below(random, 8192);
        memset(bytes + n, 0, size - n);
        return size;
    }
    case REP_INVALID_FINGERPRINT:
        bytes[2 + rep_draw_below(random, 8)] ^= 0xff;
        return n;
    case REP_INVALID_CONFLUENT:
        memmove(bytes + CONFLUENT_BYTES, bytes + CODEC_FRAME_BYTES, n - CODEC_FRAME_BYTES);
        bytes[0] = 0;
        bytes[1] = 0x7f; /* past any id that a registry counts up to */
        fill(random, bytes + 2, CONFLUENT_BYTES - 2);
        return n - (CODEC_FRAME_BYTES - CONFLUENT_BYTES);
    default:
        return n;
    }
}
