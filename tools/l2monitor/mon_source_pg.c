/* The table l2_snapshots, a crypto and a month at a time. */
#include "mon_source.h"

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
#define SCHEMA_VERSION 1 /* the migration that made the table */

#define WITHIN                                                                                     \
    "bar_time >= to_timestamp($1::bigint / 1000000) AND bar_time < to_timestamp($2::bigint / "     \
    "1000000)"

static const char series_sql[] =
    "SELECT exchange, symbol, bar_seconds, schema_version,"
    " (extract(epoch FROM min(bar_time)) * 1000000)::bigint,"
    " (extract(epoch FROM max(bar_time)) * 1000000)::bigint"
    " FROM l2_snapshots WHERE " WITHIN " GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4";

static const char bars_sql[] =
    "SELECT (extract(epoch FROM bar_time) * 1000000)::bigint, snapshots, mid_price, spread_bps,"
    " depth_imbalance_l1, depth_imbalance_l5, ofi_15m, kyle_lambda FROM l2_snapshots"
    " WHERE " WITHIN " AND exchange = $3 AND symbol = $4 AND bar_seconds = $5"
    " AND schema_version = $6 ORDER BY bar_time";

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

static enum err_class take(const struct pgc_rows *rows, const char *const series[4],
                           struct mon_bars *bars, struct err *err)
{
    struct codec_l2_bar bar = {.exchange = codec_str(series[0]),
                               .symbol = codec_str(series[1]),
                               .bar_seconds = (int32_t)strtol(series[2], NULL, 10),
                               .schema_version = codec_str(series[3])};

    for (unsigned i = 0; i < pgc_rows_n(rows); i++) {
        bar.bar_time_us = strtoll(pgc_value(rows, i, 0), NULL, 10);
        bar.snapshots = strtoll(pgc_value(rows, i, 1), NULL, 10);
        bar.mid_price = column(rows, i, 2, &bar.has_mid_price);
        bar.spread_bps = column(rows, i, 3, &bar.has_spread_bps);
        bar.depth_imbalance_l1 = column(rows, i, 4, &bar.has_depth_imbalance_l1);
        bar.depth_imbalance_l5 = column(rows, i, 5, &bar.has_depth_imbalance_l5);
        bar.ofi_15m = column(rows, i, 6, &bar.has_ofi_15m);
        bar.kyle_lambda = column(rows, i, 7, &bar.has_kyle_lambda);
        if (mon_bars_put(bars, &bar, err) != ERR_OK)
            return err->class;
    }
    return ERR_OK;
}

/* One crypto's, from its first bar to its last. */
static enum err_class read_series(const struct mon_source *s, struct pgc *pgc,
                                  const char *const series[4], int64_t first_us, int64_t last_us,
                                  struct mon_bars *bars, struct err *err)
{
    enum err_class e = ERR_OK;

    for (int64_t from = first_us; e == ERR_OK && from <= last_us; from += CHUNK_US) {
        char text[2][NUMBER_BYTES];
        const char *const params[] = {text[0], text[1], series[0], series[1], series[2], series[3]};
        struct pgc_rows *rows = NULL;
        snprintf(text[0], NUMBER_BYTES, "%" PRId64, from);
        snprintf(text[1], NUMBER_BYTES, "%" PRId64, from + CHUNK_US);
        e = pgc_query(pgc, bars_sql, params, 6, &rows, err);
        if (e == ERR_OK)
            e = take(rows, series, bars, err);
        pgc_rows_free(rows);
        mon_progress(s, bars);
    }
    return e;
}

static bool is_asked_for(const struct mon_wanted *w, const char *const series[4])
{
    bool is_named = w->symbols_n == 0;

    for (unsigned i = 0; i < w->symbols_n; i++)
        is_named = is_named || strcmp(w->symbols[i], series[1]) == 0;
    return is_named && (w->exchange[0] == '\0' || strcmp(w->exchange, series[0]) == 0) &&
           (w->bar_s == 0 || w->bar_s == strtoul(series[2], NULL, 10)) &&
           (w->schema_version[0] == '\0' || strcmp(w->schema_version, series[3]) == 0);
}

static enum err_class read_table(const struct mon_source *s, struct pgc *pgc, struct mon_bars *bars,
                                 struct err *err)
{
    char text[2][NUMBER_BYTES];
    const char *const params[] = {text[0], text[1]};
    struct pgc_rows *rows = NULL;

    snprintf(text[0], NUMBER_BYTES, "%" PRId64, clamp(bars->wanted.from_us));
    snprintf(text[1], NUMBER_BYTES, "%" PRId64, clamp(bars->wanted.to_us));
    enum err_class e = pgc_query(pgc, series_sql, params, 2, &rows, err);
    for (unsigned i = 0; e == ERR_OK && i < pgc_rows_n(rows); i++) {
        const char *const series[4] = {pgc_value(rows, i, 0), pgc_value(rows, i, 1),
                                       pgc_value(rows, i, 2), pgc_value(rows, i, 3)};
        if (is_asked_for(&bars->wanted, series))
            e = read_series(s, pgc, series, strtoll(pgc_value(rows, i, 4), NULL, 10),
                            strtoll(pgc_value(rows, i, 5), NULL, 10), bars, err);
    }
    pgc_rows_free(rows);
    return e;
}

int mon_source_read_pg(const struct mon_source *s, struct mon_bars *bars)
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
        e = read_table(s, pgc, bars, &err);
    pgc_close(pgc);
    config_free(config);
    return e == ERR_OK ? MON_OK : mon_fail(&err);
}
