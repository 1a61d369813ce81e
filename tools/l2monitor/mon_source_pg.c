/* The tables l2_snapshots and ohlcv, a crypto and a month at a time. */
#include "mon_source.h"

#include "codec/candle.h"
#include "codec/l2_bar.h"
#include "connect/connect.h"
#include "mon.h"
#include "pgc/pgc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATEMENT_TIMEOUT_MS 600000 /* the list of cryptos looks at every bar */
#define CHUNK_US (31 * INT64_C(86400) * L2_US_PER_S)
#define NUMBER_BYTES 24
#define SKETCH_BYTES_MAX 8192 /* as the table's check has it */
#define SCHEMA_VERSION 1 /* the migration that made the table */

#define WITHIN                                                                                     \
    "bar_time >= to_timestamp($1::bigint / 1000000) AND bar_time < to_timestamp($2::bigint / "     \
    "1000000)"

static const char bars_series_sql[] =
    "SELECT exchange, symbol, bar_seconds, schema_version,"
    " (extract(epoch FROM min(bar_time)) * 1000000)::bigint,"
    " (extract(epoch FROM max(bar_time)) * 1000000)::bigint"
    " FROM l2_snapshots WHERE " WITHIN " GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4";

static const char bars_sql[] =
    "SELECT (extract(epoch FROM bar_time) * 1000000)::bigint, snapshots, mid_price, spread_bps,"
    " depth_imbalance_l1, depth_imbalance_l5, ofi_15m, kyle_lambda, encode(spread_sketch, 'hex')"
    " FROM l2_snapshots WHERE " WITHIN " AND exchange = $3 AND symbol = $4 AND bar_seconds = $5"
    " AND schema_version = $6 ORDER BY bar_time";

/* '' stands for the schema version, which candles have not. */
static const char candles_series_sql[] =
    "SELECT exchange, symbol, bar_seconds, '', (extract(epoch FROM min(bar_time)) * "
    "1000000)::bigint, (extract(epoch FROM max(bar_time)) * 1000000)::bigint"
    " FROM ohlcv WHERE " WITHIN " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";

static const char candles_sql[] =
    "SELECT (extract(epoch FROM bar_time) * 1000000)::bigint, open, high, low, close, base_volume"
    " FROM ohlcv WHERE " WITHIN " AND exchange = $3 AND symbol = $4 AND bar_seconds = $5"
    " AND $6 = '' ORDER BY bar_time";

/* Times that PostgreSQL has and nobody trades in. */
static int64_t clamp(int64_t us)
{
    const int64_t most = INT64_C(253402300799) * L2_US_PER_S; /* the end of 9999 */

    return us < 0 ? 0 : us > most ? most : us;
}

static double column(const struct pgc_rows *rows, unsigned row, unsigned c, bool *ret_has)
{
    const char *const text = pgc_value(rows, row, c);

    *ret_has = text != NULL;
    return text != NULL ? strtod(text, NULL) : 0;
}

/* Hex as encode() makes it; false: it is longer than a sketch can be. */
static bool unhex(const char *text, uint8_t *to, uint32_t *ret_n)
{
    const size_t n = strlen(text) / 2;

    if (n > SKETCH_BYTES_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        const char two[3] = {text[2 * i], text[2 * i + 1], '\0'};
        to[i] = (uint8_t)strtoul(two, NULL, 16);
    }
    *ret_n = (uint32_t)n;
    return true;
}

static enum err_class take_bars(const struct pgc_rows *rows, const char *const series[4],
                                const struct mon_taker *t, struct err *err)
{
    static uint8_t sketch[SKETCH_BYTES_MAX];
    struct codec_l2_bar bar = {.exchange = codec_str(series[0]),
                               .symbol = codec_str(series[1]),
                               .bar_seconds = (int32_t)strtol(series[2], NULL, 10),
                               .schema_version = codec_str(series[3]),
                               .spread_sketch = {.data = sketch}};

    for (unsigned i = 0; i < pgc_rows_n(rows); i++) {
        bar.bar_time_us = strtoll(pgc_value(rows, i, 0), NULL, 10);
        bar.snapshots = strtoll(pgc_value(rows, i, 1), NULL, 10);
        bar.mid_price = column(rows, i, 2, &bar.has_mid_price);
        bar.spread_bps = column(rows, i, 3, &bar.has_spread_bps);
        bar.depth_imbalance_l1 = column(rows, i, 4, &bar.has_depth_imbalance_l1);
        bar.depth_imbalance_l5 = column(rows, i, 5, &bar.has_depth_imbalance_l5);
        bar.ofi_15m = column(rows, i, 6, &bar.has_ofi_15m);
        bar.kyle_lambda = column(rows, i, 7, &bar.has_kyle_lambda);
        if (!unhex(pgc_value(rows, i, 8), sketch, &bar.spread_sketch.n))
            return err_set(err, ERR_REJECT, "%s: a spread_sketch of more than %d bytes", series[1],
                           SKETCH_BYTES_MAX);
        if (t->take(t->user, &codec_l2_bar_record, &bar, mon_source_latest_us(), err) != ERR_OK)
            return err->class;
    }
    return ERR_OK;
}

static enum err_class take_candles(const struct pgc_rows *rows, const char *const series[4],
                                   const struct mon_taker *t, struct err *err)
{
    struct codec_candle candle = {.exchange = codec_str(series[0]),
                                  .symbol = codec_str(series[1]),
                                  .bar_seconds = (int32_t)strtol(series[2], NULL, 10)};

    for (unsigned i = 0; i < pgc_rows_n(rows); i++) {
        candle.bar_time_us = strtoll(pgc_value(rows, i, 0), NULL, 10);
        candle.open = strtod(pgc_value(rows, i, 1), NULL);
        candle.high = strtod(pgc_value(rows, i, 2), NULL);
        candle.low = strtod(pgc_value(rows, i, 3), NULL);
        candle.close = strtod(pgc_value(rows, i, 4), NULL);
        candle.base_volume = strtod(pgc_value(rows, i, 5), NULL);
        if (t->take(t->user, &codec_candle_record, &candle, mon_source_latest_us(), err) != ERR_OK)
            return err->class;
    }
    return ERR_OK;
}

static const struct table {
    const struct codec_record *record;
    const char *series_sql, *rows_sql;
    enum err_class (*take)(const struct pgc_rows *rows, const char *const series[4],
                           const struct mon_taker *t, struct err *err);
} tables[] = {
    {&codec_candle_record, candles_series_sql, candles_sql, take_candles},
    {&codec_l2_bar_record, bars_series_sql, bars_sql, take_bars},
};

/* One crypto's, from its first row to its last. */
static enum err_class read_series(const struct mon_source *s, const struct table *table,
                                  struct pgc *pgc, const char *const series[4], int64_t first_us,
                                  int64_t last_us, const struct mon_taker *t, struct err *err)
{
    enum err_class e = ERR_OK;

    for (int64_t from = first_us; e == ERR_OK && from <= last_us && !mon_is_stopped();
         from += CHUNK_US) {
        char text[2][NUMBER_BYTES];
        const char *const params[] = {text[0], text[1], series[0], series[1], series[2], series[3]};
        struct pgc_rows *rows = NULL;
        snprintf(text[0], NUMBER_BYTES, "%" PRId64, from);
        snprintf(text[1], NUMBER_BYTES, "%" PRId64, from + CHUNK_US);
        e = pgc_query(pgc, table->rows_sql, params, 6, &rows, err);
        if (e == ERR_OK)
            e = table->take(rows, series, t, err);
        for (unsigned i = 0; e == ERR_OK && i < pgc_rows_n(rows); i++)
            mon_progress(s);
        pgc_rows_free(rows);
    }
    return e;
}

static bool is_asked_for(const struct mon_wanted *w, const char *const series[4])
{
    return mon_wanted_has(w, codec_str(series[1])) &&
           (w->exchange[0] == '\0' || strcmp(w->exchange, series[0]) == 0) &&
           (w->bar_s == 0 || w->bar_s == strtoul(series[2], NULL, 10)) &&
           (w->schema_version[0] == '\0' || series[3][0] == '\0' ||
            strcmp(w->schema_version, series[3]) == 0);
}

static enum err_class read_table(const struct mon_source *s, const struct table *table,
                                 struct pgc *pgc, const struct mon_wanted *w,
                                 const struct mon_taker *t, struct err *err)
{
    char text[2][NUMBER_BYTES];
    const char *const params[] = {text[0], text[1]};
    struct pgc_rows *rows = NULL;

    snprintf(text[0], NUMBER_BYTES, "%" PRId64, clamp(w->from_us));
    snprintf(text[1], NUMBER_BYTES, "%" PRId64, clamp(w->to_us));
    enum err_class e = pgc_query(pgc, table->series_sql, params, 2, &rows, err);
    for (unsigned i = 0; e == ERR_OK && i < pgc_rows_n(rows); i++) {
        const char *const series[4] = {pgc_value(rows, i, 0), pgc_value(rows, i, 1),
                                       pgc_value(rows, i, 2), pgc_value(rows, i, 3)};
        if (is_asked_for(w, series))
            e = read_series(s, table, pgc, series, strtoll(pgc_value(rows, i, 4), NULL, 10),
                            strtoll(pgc_value(rows, i, 5), NULL, 10), t, err);
    }
    pgc_rows_free(rows);
    return e;
}

static enum err_class read_tables(const struct mon_source *s, struct pgc *pgc,
                                  const struct mon_wanted *w, const struct mon_taker *t,
                                  struct err *err)
{
    for (unsigned i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        bool is_taken = false;
        for (unsigned j = 0; t->records[j] != NULL; j++)
            is_taken = is_taken || t->records[j] == tables[i].record;
        if (is_taken && read_table(s, &tables[i], pgc, w, t, err) != ERR_OK)
            return err->class;
    }
    return ERR_OK;
}

int mon_source_read_pg(const struct mon_source *s, const struct mon_wanted *wanted,
                       const struct mon_taker *t)
{
    struct config *config = NULL;
    struct pgc_options to = {0};
    struct pgc *pgc = NULL;
    struct err err = {0};

    enum err_class e = config_load(mon_config_rows, s->config_file, &config, &err);
    if (e == ERR_OK)
        e = connect_pg_load(config, "l2monitor", &to, &err);
    to.statement_timeout_ms = STATEMENT_TIMEOUT_MS;
    if (e == ERR_OK)
        e = pgc_open(&to, &pgc, &err);
    if (e == ERR_RETRY && (to.host == NULL || to.host[0] == '\0'))
        e = err_set(&err, e, "%s: --config or L2_PG_HOST names another", err.text);
    if (e == ERR_OK)
        e = pgc_schema_require(pgc, SCHEMA_VERSION, &err);
    if (e == ERR_OK)
        e = read_tables(s, pgc, wanted, t, &err);
    pgc_close(pgc);
    config_free(config);
    if (mon_is_stopped())
        return MON_INTERRUPTED;
    return e == ERR_OK ? MON_OK : mon_fail(&err);
}
