#include "mon_bars.h"

#include "clk/clk.h"
#include "l2/book.h"
#include "l2/sets.h"
#include "quality/quality.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mon_bars_init(struct mon_bars *bars, const struct mon_wanted *wanted)
{
    *bars = (struct mon_bars){.cryptos_n = 0};
    mon_choice_init(&bars->choice, wanted);
}

void mon_bars_free(struct mon_bars *bars)
{
    for (size_t i = 0; i < bars->cryptos_n; i++)
        free(bars->crypto[i].bars);
    free(bars->crypto);
    *bars = (struct mon_bars){.cryptos_n = 0};
}

/* ---- by crypto */

static int by_symbol(const void *a, const void *b)
{
    return strcmp(a, ((const struct mon_crypto *)b)->symbol);
}

static struct mon_crypto *crypto_of(struct mon_bars *b, struct codec_str text, struct err *err)
{
    char symbol[L2_SYMBOL_BYTES_MAX + 1];

    snprintf(symbol, sizeof symbol, "%.*s", (int)text.n, text.data);
    struct mon_crypto *found =
        b->cryptos_n > 0 ? bsearch(symbol, b->crypto, b->cryptos_n, sizeof *found, by_symbol)
                         : NULL;
    if (found != NULL)
        return found;
    if (b->cryptos_n == QUALITY_CRYPTOS_MAX) {
        err_set(err, ERR_REJECT, "more than %d cryptos", QUALITY_CRYPTOS_MAX);
        return NULL;
    }
    if (b->cryptos_n == b->room) {
        b->room = b->room == 0 ? 16 : b->room * 2;
        struct mon_crypto *const more = realloc(b->crypto, b->room * sizeof *more);
        if (more == NULL) {
            err_set(err, ERR_FATAL, "out of memory");
            return NULL;
        }
        b->crypto = more;
    }
    size_t at = b->cryptos_n;
    while (at > 0 && strcmp(symbol, b->crypto[at - 1].symbol) < 0)
        at--;
    found = &b->crypto[at];
    memmove(found + 1, found, (b->cryptos_n++ - at) * sizeof *found);
    *found = (struct mon_crypto){.n = 0};
    memcpy(found->symbol, symbol, sizeof symbol);
    return found;
}

static enum err_class row_of(const struct codec_l2_bar *bar, struct l2_row *ret_row,
                             struct err *err)
{
    const bool has[L2_COLUMNS] = {
        bar->has_mid_price,          bar->has_spread_bps, bar->has_depth_imbalance_l1,
        bar->has_depth_imbalance_l5, bar->has_ofi_15m,    bar->has_kyle_lambda};
    const double value[L2_COLUMNS] = {
        bar->mid_price,          bar->spread_bps, bar->depth_imbalance_l1,
        bar->depth_imbalance_l5, bar->ofi_15m,    bar->kyle_lambda};
    char when[CLK_TEXT_BYTES];

    *ret_row = (struct l2_row){.present = 0};
    for (int c = 0; c < L2_COLUMNS; c++) {
        if (has[c] && !isfinite(value[c]))
            return err_set(err, ERR_REJECT, "%.*s, bar %s: %s is not finite", (int)bar->symbol.n,
                           bar->symbol.data, clk_text(bar->bar_time_us, when, sizeof when),
                           l2_column_names[c]);
        if (has[c])
            l2_row_set(ret_row, (enum l2_column)c, value[c]);
    }
    return ERR_OK;
}

static enum err_class check(const struct codec_l2_bar *bar, struct err *err)
{
    char when[CLK_TEXT_BYTES];

    if (!l2_symbol_ok(bar->symbol.data, bar->symbol.n) ||
        !l2_symbol_ok(bar->exchange.data, bar->exchange.n))
        return err_set(err, ERR_REJECT,
                       "a bar whose exchange or symbol is not "
                       "[A-Za-z0-9._-]{1,32}");
    if (bar->bar_seconds < 60 || bar->bar_seconds > 86400 || 86400 % bar->bar_seconds != 0 ||
        bar->bar_seconds % 60 != 0 || bar->bar_time_us % (bar->bar_seconds * L2_US_PER_S) != 0 ||
        bar->snapshots < 0)
        return err_set(err, ERR_REJECT, "%.*s, bar %s: not a bar of %d s", (int)bar->symbol.n,
                       bar->symbol.data, clk_text(bar->bar_time_us, when, sizeof when),
                       bar->bar_seconds);
    return ERR_OK;
}

enum err_class mon_bars_put(struct mon_bars *b, const struct codec_l2_bar *bar, struct err *err)
{
    bool is_wanted;

    b->read_n++;
    const struct mon_candidate candidate = {.exchange = bar->exchange,
                                            .symbol = bar->symbol,
                                            .schema_version = bar->schema_version,
                                            .bar_time_us = bar->bar_time_us,
                                            .bar_s = bar->bar_seconds};
    if (check(bar, err) != ERR_OK ||
        mon_choice_judge(&b->choice, &candidate, &is_wanted, err) != ERR_OK)
        return err->class;
    if (!is_wanted)
        return ERR_OK;
    struct mon_crypto *const c = crypto_of(b, bar->symbol, err);
    if (c == NULL)
        return err->class;
    if (c->n == c->room) {
        c->room = c->room == 0 ? 1024 : c->room * 2;
        struct l2_training_bar *const more = realloc(c->bars, c->room * sizeof *more);
        if (more == NULL)
            return err_set(err, ERR_FATAL, "out of memory");
        c->bars = more;
    }
    struct l2_training_bar *const t = &c->bars[c->n];
    if (row_of(bar, &t->row, err) != ERR_OK)
        return err->class;
    t->bar = bar->bar_time_us / (bar->bar_seconds * L2_US_PER_S);
    t->snapshots = bar->snapshots;
    c->n++;
    b->taken_n++;
    return ERR_OK;
}

enum err_class mon_bars_take(void *user, const struct codec_record *record, const void *value,
                             int64_t latest_us, struct err *err)
{
    (void)record;    /* it is L2Bar's */
    (void)latest_us; /* the days of a crypto are bounded */
    return mon_bars_put(user, value, err);
}

/* ---- in order */

static int by_bar(const void *a, const void *b)
{
    const int64_t x = ((const struct l2_training_bar *)a)->bar;
    const int64_t y = ((const struct l2_training_bar *)b)->bar;

    return (x > y) - (x < y);
}

static bool is_same(const struct l2_training_bar *a, const struct l2_training_bar *b)
{
    return a->snapshots == b->snapshots && a->row.present == b->row.present &&
           memcmp(a->row.value, b->row.value, sizeof a->row.value) == 0;
}

static enum err_class finish(struct mon_crypto *c, uint32_t bar_s, struct err *err)
{
    char when[CLK_TEXT_BYTES];
    size_t kept = 0;

    qsort(c->bars, c->n, sizeof *c->bars, by_bar);
    for (size_t i = 1; i < c->n; i++) {
        if (c->bars[i].bar != c->bars[kept].bar)
            c->bars[++kept] = c->bars[i];
        else if (!is_same(&c->bars[i], &c->bars[kept]))
            return err_set(err, ERR_REJECT,
                           "%s, bar %s came twice, with different values: one of "
                           "the sources is another history",
                           c->symbol,
                           clk_text(c->bars[i].bar * bar_s * L2_US_PER_S, when, sizeof when));
    }
    c->n = kept + 1;
    const struct l2_training t = {c->bars, c->n, bar_s};
    const int64_t days = (c->bars[c->n - 1].bar - c->bars[0].bar) / (86400 / bar_s) + 2;
    if (days > L2_CALIBRATE_DAYS_MAX || l2_training_days(&t) > L2_CALIBRATE_DAYS_MAX)
        return err_set(err, ERR_REJECT,
                       "%s: bars of more than %d days: narrow them with --from "
                       "and --to",
                       c->symbol, L2_CALIBRATE_DAYS_MAX);
    return ERR_OK;
}

enum err_class mon_bars_finish(struct mon_bars *b, struct err *err)
{
    for (size_t i = 0; i < b->cryptos_n; i++) {
        if (finish(&b->crypto[i], b->choice.wanted.bar_s, err) != ERR_OK)
            return err->class;
    }
    return ERR_OK;
}
