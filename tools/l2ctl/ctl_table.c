#include "ctl_view.h"

#include "clk/clk.h"
#include "topics/topics.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define CELL_BYTES 160
#define PREVIEW_COLUMNS 40
#define KEY_COLUMNS 14
#define PLACE_HEAD "PART     OFFSET"

struct column {
    const char
        *path; /* "a", "a.b" (of an array: of its first item), "a.#": how many items it has */
    const char *title;
    int width;       /* negative: to the left; longer values push the rest aside */
    unsigned digits; /* of a double; of a time: of its second; of bytes: 1 shows how they begin */
};

/* What a person looks for first; the rest is in json and csv. A record that is not here shows all
 * its plain fields. */
static const struct column snapshot_columns[] = {
    {"event_time", "EVENT TIME (UTC)", -24, 3},
    {"symbol", "SYMBOL", -10, 0},
    {"bids.price", "BID", 11, 9},
    {"bids.quantity", "BID QTY", 10, 6},
    {"asks.price", "ASK", 11, 9},
    {"asks.quantity", "ASK QTY", 10, 6},
    {"bids.#", "BIDS", 5, 0},
    {"asks.#", "ASKS", 5, 0},
    {"flow.buy_quote", "BOUGHT", 10, 6},
    {"flow.sell_quote", "SOLD", 10, 6},
    {"flow.trade_count", "TRADES", 6, 0},
    {"sequence", "SEQUENCE", 14, 0},
};
static const struct column candle_columns[] = {
    {"bar_time", "BAR (UTC)", -20, 0},
    {"bar_seconds", "SECONDS", 7, 0},
    {"symbol", "SYMBOL", -10, 0},
    {"open", "OPEN", 11, 9},
    {"high", "HIGH", 11, 9},
    {"low", "LOW", 11, 9},
    {"close", "CLOSE", 11, 9},
    {"base_volume", "VOLUME", 12, 8},
    {"taker_buy_base", "TAKER BUY", 12, 8},
    {"trade_count", "TRADES", 8, 0},
};
static const struct column bar_columns[] = {
    {"bar_time", "BAR (UTC)", -20, 0},
    {"bar_seconds", "SECONDS", 7, 0},
    {"symbol", "SYMBOL", -10, 0},
    {"mid_price", "MID", 11, 9},
    {"spread_bps", "SPREAD BPS", 10, 4},
    {"depth_imbalance_l1", "IMB L1", 8, 3},
    {"depth_imbalance_l5", "IMB L5", 8, 3},
    {"ofi_15m", "OFI 15M", 11, 6},
    {"kyle_lambda", "KYLE LAMBDA", 11, 4},
    {"snapshots", "SNAPSHOTS", 9, 0},
    {"gaps", "GAPS", 5, 0},
    {"coverage", "COVERAGE", 8, 4},
    {"closed_by", "CLOSED BY", -9, 0},
};
static const struct column feature_columns[] = {
    {"bar_time", "BAR (UTC)", -20, 0},
    {"bar_seconds", "SECONDS", 7, 0},
    {"symbol", "SYMBOL", -10, 0},
    {"source_bar_time", "SOURCE BAR (UTC)", -20, 0},
    {"purge_bars", "PURGE", 5, 0},
    {"l2_mid_price", "MID", 11, 9},
    {"l2_spread_bps", "SPREAD BPS", 10, 4},
    {"l2_depth_imbalance_l1", "IMB L1", 8, 3},
    {"l2_depth_imbalance_l5", "IMB L5", 8, 3},
    {"l2_ofi_15m", "OFI 15M", 11, 6},
    {"l2_kyle_lambda", "KYLE LAMBDA", 11, 4},
};
static const struct column heartbeat_columns[] = {
    {"time", "TIME (UTC)", -24, 3},
    {"symbol", "SYMBOL", -10, 0},
    {"newest_event_time", "NEWEST EVENT (UTC)", -24, 3},
    {"lag_ms", "LAG MS", 10, 0},
    {"state", "STATE", -11, 0},
};

static const struct column prediction_columns[] = {
    {"bar_time", "BAR (UTC)", -20, 0},
    {"symbol", "SYMBOL", -10, 0},
    {"arm", "ARM", -12, 0},
    {"decision", "DECISION", -8, 0},
    {"p_sell", "P SELL", 7, 3},
    {"p_hold", "P HOLD", 7, 3},
    {"p_buy", "P BUY", 7, 3},
    {"executed", "EXECUTED", -8, 0},
    {"route_reason", "REASON", -11, 0},
    {"freshness_seconds", "FRESHNESS S", 11, 4},
    {"nan_rate", "NAN RATE", 8, 3},
    {"model_version", "MODEL", -12, 0},
};
static const struct column outcome_columns[] = {
    {"bar_time", "BAR (UTC)", -20, 0},
    {"symbol", "SYMBOL", -10, 0},
    {"arm", "ARM", -12, 0},
    {"executed", "EXECUTED", -8, 0},
    {"decision", "DECISION", -8, 0},
    {"label", "LABEL", -5, 0},
    {"barrier", "BARRIER", -8, 0},
    {"exit_time", "EXIT (UTC)", -20, 0},
    {"entry_price", "ENTRY", 11, 9},
    {"exit_price", "EXIT", 11, 9},
    {"return_bps", "BPS", 9, 4},
};
static const struct column signal_columns[] = {
    {"bar_time", "BAR (UTC)", -20, 0},   {"symbol", "SYMBOL", -10, 0},
    {"signal", "SIGNAL", -30, 0},        {"arm", "ARM", -12, 0},
    {"value", "VALUE", 10, 4},           {"n", "N", 6, 0},
    {"warn_above", "WARN ABOVE", 10, 4}, {"p2_above", "P2 ABOVE", 9, 4},
    {"observed", "OBSERVED", -8, 0},     {"state", "STATE", -7, 0},
};
static const struct column alert_columns[] = {
    {"since", "SINCE (UTC)", -20, 0}, {"key", "KEY", -40, 0},          {"version", "VERSION", 7, 0},
    {"state", "STATE", -7, 0},        {"previous", "PREVIOUS", -8, 0}, {"value", "VALUE", 10, 4},
    {"threshold", "THRESHOLD", 9, 4}, {"delivery", "DELIVERY", -9, 0}, {"action", "ACTION", -7, 0},
    {"summary", "SUMMARY", -40, 0},
};
static const struct column rollout_columns[] = {
    {"time", "TIME (UTC)", -20, 0},        {"symbol", "SYMBOL", -10, 0},
    {"version", "VERSION", 7, 0},          {"incumbent", "INCUMBENT", -12, 0},
    {"challenger", "CHALLENGER", -12, 0},  {"stage", "STAGE", -11, 0},
    {"effective_arm", "EXECUTES", -12, 0}, {"kill_switch", "SWITCH", -6, 0},
    {"paused", "PAUSED", -6, 0},           {"latch_cleared_through", "CLEARED (UTC)", -20, 0},
    {"reason", "REASON", -40, 0},
};

static const struct column letter_columns[] = {
    {"topic", "ORIGIN", -16, 0},  {"offset", "OFFSET", 10, 0}, {"symbol", "SYMBOL", -10, 0},
    {"reason", "REASON", -24, 0}, {"value", "BYTES", -12, 1},
};

static const struct {
    const char *record;
    const struct column *columns;
    unsigned n;
} chosen[] = {
    {"L2Snapshot", snapshot_columns, sizeof snapshot_columns / sizeof snapshot_columns[0]},
    {"Candle", candle_columns, sizeof candle_columns / sizeof candle_columns[0]},
    {"L2Bar", bar_columns, sizeof bar_columns / sizeof bar_columns[0]},
    {"L2Feature", feature_columns, sizeof feature_columns / sizeof feature_columns[0]},
    {"DeadLetter", letter_columns, sizeof letter_columns / sizeof letter_columns[0]},
    {"Heartbeat", heartbeat_columns, sizeof heartbeat_columns / sizeof heartbeat_columns[0]},
    {"Prediction", prediction_columns, sizeof prediction_columns / sizeof prediction_columns[0]},
    {"Outcome", outcome_columns, sizeof outcome_columns / sizeof outcome_columns[0]},
    {"QualitySignal", signal_columns, sizeof signal_columns / sizeof signal_columns[0]},
    {"Alert", alert_columns, sizeof alert_columns / sizeof alert_columns[0]},
    {"RolloutState", rollout_columns, sizeof rollout_columns / sizeof rollout_columns[0]},
};

static void pad(FILE *out, const char *text, int width)
{
    fprintf(out, "  %*s", width, text);
}

static void cell_scalar(enum codec_kind kind, const struct codec_field *field, const void *at,
                        unsigned digits, char *cell)
{
    switch (kind) {
    case CODEC_KIND_BOOL:
        snprintf(cell, CELL_BYTES, "%s", *(const bool *)at ? "yes" : "no");
        break;
    case CODEC_KIND_INT:
        snprintf(cell, CELL_BYTES, "%" PRId32, *(const int32_t *)at);
        break;
    case CODEC_KIND_LONG:
        if (field->logical == CODEC_LOGICAL_TIMESTAMP_MICROS)
            (void)ctl_time(*(const int64_t *)at, digits, cell, CELL_BYTES);
        else
            snprintf(cell, CELL_BYTES, "%" PRId64, *(const int64_t *)at);
        break;
    case CODEC_KIND_FLOAT:
        snprintf(cell, CELL_BYTES, "%.*g", (int)digits, (double)*(const float *)at);
        break;
    case CODEC_KIND_DOUBLE:
        snprintf(cell, CELL_BYTES, "%.*g", (int)digits, *(const double *)at);
        break;
    case CODEC_KIND_STRING: {
        const struct codec_str *const s = at;
        (void)ctl_escape((const uint8_t *)s->data, s->n, cell, CELL_BYTES, PREVIEW_COLUMNS);
        break;
    }
    case CODEC_KIND_BYTES: {
        const struct codec_bytes *const b = at;
        char preview[PREVIEW_COLUMNS + 1];
        snprintf(cell, CELL_BYTES, "%" PRIu32 " bytes%s%s", b->n, digits > 0 ? ": " : "",
                 digits > 0 ? ctl_escape(b->data, b->n, preview, sizeof preview, PREVIEW_COLUMNS)
                            : "");
        break;
    }
    case CODEC_KIND_FIXED:
        snprintf(cell, CELL_BYTES, "%" PRIu32 " bytes", field->size);
        break;
    case CODEC_KIND_ENUM:
        snprintf(cell, CELL_BYTES, "%s", ctl_enum_name(field, at));
        break;
    case CODEC_KIND_RECORD:
    case CODEC_KIND_ARRAY:
        snprintf(cell, CELL_BYTES, "...");
        break;
    }
}

/* The value at `path` as text; "-" for null and for what is not there. */
static void cell_at(const struct codec_field *fields, uint32_t n, const void *from,
                    const char *path, unsigned digits, char *cell)
{
    const char *const dot = strchr(path, '.');
    const size_t name_n = dot != NULL ? (size_t)(dot - path) : strlen(path);
    const struct codec_field *f = NULL;

    snprintf(cell, CELL_BYTES, "-");
    for (uint32_t i = 0; i < n && f == NULL; i++) {
        if (strlen(fields[i].name) == name_n && memcmp(fields[i].name, path, name_n) == 0)
            f = &fields[i];
    }
    if (f == NULL || ctl_is_null(f, from))
        return;
    if (f->kind == CODEC_KIND_ARRAY) {
        const uint32_t items = ctl_items(f, from);
        if (dot == NULL || strcmp(dot, ".#") == 0)
            snprintf(cell, CELL_BYTES, "%" PRIu32, items);
        else if (items > 0 && f->item_kind == CODEC_KIND_RECORD)
            cell_at(f->fields, f->fields_n, ctl_at(f, from), dot + 1, digits, cell);
    } else if (dot != NULL && f->kind == CODEC_KIND_RECORD) {
        cell_at(f->fields, f->fields_n, ctl_at(f, from), dot + 1, digits, cell);
    } else {
        cell_scalar(f->kind, f, ctl_at(f, from), digits, cell);
    }
}

/* For a record without a choice of ours. */
static struct column plain_column(const struct codec_field *field)
{
    struct column c = {.path = field->name, .title = field->name, .width = 12, .digits = 9};

    if (field->logical == CODEC_LOGICAL_TIMESTAMP_MICROS)
        c = (struct column){.path = field->name, .title = field->name, .width = -24, .digits = 3};
    else if (field->kind == CODEC_KIND_STRING || field->kind == CODEC_KIND_ENUM)
        c.width = -12;
    if (strlen(c.title) > 12 && c.width > 0)
        c.width = (int)strlen(c.title);
    return c;
}

static void put_cell(FILE *out, const struct codec_record *r, const struct column *c,
                     const void *value)
{
    char cell[CELL_BYTES];

    if (value == NULL) {
        pad(out, c->title, c->width);
        return;
    }
    cell_at(r->fields, r->fields_n, value, c->path, c->digits, cell);
    pad(out, cell, c->width);
}

/* A line of titles (value NULL) or of values. */
static void put_line(FILE *out, const struct codec_record *r, const void *value)
{
    for (unsigned i = 0; i < sizeof chosen / sizeof chosen[0]; i++) {
        if (strcmp(chosen[i].record, r->name) != 0)
            continue;
        for (unsigned k = 0; k < chosen[i].n; k++)
            put_cell(out, r, &chosen[i].columns[k], value);
        putc('\n', out);
        return;
    }
    for (uint32_t i = 0; i < r->fields_n; i++) {
        const struct column c = plain_column(&r->fields[i]);
        put_cell(out, r, &c, value);
    }
    putc('\n', out);
}

static void put_place(FILE *out, const struct ctl_item *item)
{
    if (item->message != NULL)
        fprintf(out, "%4" PRId32 " %10" PRId64, item->message->partition, item->message->offset);
    else
        fprintf(out, "%10" PRIu64, item->number);
}

static const char *header_text(const struct ctl_item *item, const char *name, char *buf,
                               size_t size)
{
    const struct bus_header *const h = ctl_header(item->message, name);

    return h == NULL ? "-" : ctl_escape(h->value, h->value_n, buf, size, PREVIEW_COLUMNS);
}

static void put_letter(struct ctl_view *view, const struct ctl_item *item)
{
    const struct bus_reader_record *const m = item->message;
    char time[CLK_TEXT_BYTES], key[CELL_BYTES], reason[CELL_BYTES], topic[CELL_BYTES],
        partition[CELL_BYTES];
    char offset[CELL_BYTES], origin[3 * CELL_BYTES], preview[CELL_BYTES];

    if (!view->has_letters_head)
        fprintf(view->out, "%s  %-24s  %-*s  %-24s  %-30s  %-10s  %8s  %s\n", PLACE_HEAD,
                "TIME (UTC)", KEY_COLUMNS, "KEY", "REASON", "ORIGIN PARTITION/OFFSET", "DECODES AS",
                "BYTES", "PREVIEW");
    view->has_letters_head = true;
    snprintf(origin, sizeof origin, "%s %s/%s",
             header_text(item, TOPICS_DLQ_TOPIC, topic, sizeof topic),
             header_text(item, TOPICS_DLQ_PARTITION, partition, sizeof partition),
             header_text(item, TOPICS_DLQ_OFFSET, offset, sizeof offset));
    put_place(view->out, item);
    pad(view->out, ctl_time(m->timestamp_us, 3, time, sizeof time), -24);
    pad(view->out, m->key == NULL ? "-" : ctl_escape(m->key, m->key_n, key, sizeof key, 32),
        -KEY_COLUMNS);
    pad(view->out, header_text(item, TOPICS_DLQ_REASON, reason, sizeof reason), -24);
    pad(view->out, origin, -30);
    pad(view->out, item->record != NULL ? item->record->name : "-", -10);
    fprintf(view->out, "  %8zu  %s\n", item->bytes_n,
            ctl_escape(item->bytes, item->bytes_n, preview, sizeof preview, PREVIEW_COLUMNS));
}

void ctl_table_put(struct ctl_view *view, const struct ctl_item *item)
{
    FILE *const out = view->out;
    char preview[CELL_BYTES];

    if (view->is_dlq && item->message != NULL) {
        put_letter(view, item);
        return;
    }
    if (item->record != NULL && item->record != view->headed) {
        if (item->message != NULL)
            fputs(PLACE_HEAD, out);
        else
            fprintf(out, "%10s", "RECORD");
        put_line(out, item->record, NULL);
        view->headed = item->record;
    }
    put_place(out, item);
    if (item->record != NULL)
        put_line(out, item->record, item->value);
    else
        fprintf(out, "  undecodable: %s; %zu bytes: %s\n", item->why, item->bytes_n,
                ctl_escape(item->bytes, item->bytes_n, preview, sizeof preview, PREVIEW_COLUMNS));
}

void ctl_view_put(struct ctl_view *view, const struct ctl_item *item)
{
    assert(item->record != NULL || item->why != NULL);
    switch (view->format) {
    case CTL_TABLE:
        ctl_table_put(view, item);
        break;
    case CTL_JSON:
        ctl_json_put(view, item);
        break;
    case CTL_CSV:
        ctl_csv_put(view, item);
        break;
    }
}
