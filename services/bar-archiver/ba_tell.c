#include "ba_tell.h"

#include "log/log.h"

void ba_tell_undecodable(struct ba_teller *t, enum ba_table table, int32_t partition,
                         int64_t offset, const char *why, int64_t now_us)
{
    uint64_t left_out;

    if (!ba_lines_may(&t->lines[BA_UNDECODABLE], now_us, &left_out))
        return;
    log_event(LOG_WARN, "record_skipped", "topic", LOG_STR, t->topics[table], "partition", LOG_INT,
              (int64_t)partition, "offset", LOG_INT, offset, "reason", LOG_STR, why, "not_told",
              LOG_INT, (int64_t)left_out, NULL);
}

static void tell_change(const struct ba_example *e, uint64_t left_out)
{
    log_event(LOG_ERROR, "change_refused", "table", LOG_STR, ba_table_names[e->table], "exchange",
              LOG_STR, e->exchange, "symbol", LOG_STR, e->symbol, "bar_time", LOG_STR, e->bar_time,
              "schema_version", LOG_STR, e->schema_version, "not_told", LOG_INT, (int64_t)left_out,
              NULL);
}

static void tell_rejected(const struct ba_example *e, uint64_t left_out)
{
    log_event(LOG_ERROR, "row_rejected", "table", LOG_STR, ba_table_names[e->table], "exchange",
              LOG_STR, e->exchange, "symbol", LOG_STR, e->symbol, "bar_time", LOG_STR, e->bar_time,
              "schema_version", LOG_STR, e->schema_version, "partition", LOG_INT,
              (int64_t)e->partition, "offset", LOG_INT, e->offset, "error", LOG_STR, e->why,
              "not_told", LOG_INT, (int64_t)left_out, NULL);
}

void ba_tell(struct ba_teller *t, const struct ba_result *r, int64_t now_us)
{
    uint64_t more[BA_KINDS] = {0};

    for (enum ba_table table = 0; table < BA_TABLES; table++) {
        more[BA_CHANGE] += r->changed[table];
        more[BA_REJECTED] += r->rejected[table];
        more[BA_UNDECODABLE] += r->undecodable[table];
    }
    for (unsigned i = 0; i < r->examples_n; i++) {
        const struct ba_example *e = &r->examples[i];
        uint64_t left_out;
        more[e->kind]--;
        if (e->kind == BA_UNDECODABLE) {
            ba_tell_undecodable(t, e->table, e->partition, e->offset, e->why, now_us);
            continue;
        }
        if (!ba_lines_may(&t->lines[e->kind], now_us, &left_out))
            continue;
        if (e->kind == BA_CHANGE)
            tell_change(e, left_out);
        else
            tell_rejected(e, left_out);
    }
    for (int kind = 0; kind < BA_KINDS; kind++)
        t->lines[kind].left_out += more[kind];
}
