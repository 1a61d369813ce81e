#include "fp_service.h"

#include <string.h>

#define SCAN_REAL_US                                                                               \
    (200 * INT64_C(1000)) /* how often silent symbols are looked for, real time                    \
                           */

static uint32_t config_u32(const struct config *config, const char *name)
{
    return (uint32_t)config_uint(config, name);
}

enum err_class fp_params_load(const struct config *config, const struct clk *clk,
                              const struct fp_options *o, struct fp_params *ret_params,
                              struct err *err)
{
    const char *exchange = config_string(config, "exchange");
    struct fp_params p = {
        .l2 =
            {
                .bar_s = o->bar_s ? o->bar_s : config_u32(config, "bar_seconds"),
                .window_s = o->window_s ? o->window_s : config_u32(config, "window_seconds"),
                .sample_s = config_u32(config, "sample_seconds"),
                .max_gap_s = o->max_gap_s ? o->max_gap_s : config_u32(config, "max_gap_seconds"),
                .max_book_age_s = config_u32(config, "max_book_age_seconds"),
                .coverage_pct = config_u32(config, "coverage_percent"),
                .samples_min = config_u32(config, "samples_min"),
                .purge_bars =
                    o->has_purge ? o->purge_bars : config_u32(config, "CVN_L2_PURGE_BARS"),
                .symbol_ttl_s = config_u32(config, "symbol_ttl_seconds"),
            },
        .symbols_max = config_u32(config, "max_symbols"),
        .partitions_n = 1,
        .close_grace_us =
            clk_grace_us(clk, config_u32(config, "close_grace_seconds") * L2_US_PER_S),
        .scan_us = (int64_t)((double)SCAN_REAL_US * clk_speed(clk)),
        .catching_up_us = clk_grace_us(clk, 2 * L2_US_PER_S),
        .offline = o->offline_path != NULL,
    };

    if (l2_params_check(&p.l2, err) != ERR_OK)
        return err->class;
    if (p.l2.purge_bars == 0 && strcmp(config_string(config, "L2_PROFILE"), "production") == 0)
        return err_set(
            err, ERR_REJECT,
            "CVN_L2_PURGE_BARS: 0 leaks the future and is refused in production: set it to 20");
    if (!p.offline) {
        if (!l2_symbol_ok(exchange, strlen(exchange)))
            return err_set(
                err, ERR_REJECT,
                "exchange: \"%s\" does not match [A-Za-z0-9._-]{1,32}: set it to the name that "
                "stands in the snapshots",
                exchange);
        memcpy(p.exchange, exchange, strlen(exchange));
    }
    *ret_params = p;
    return ERR_OK;
}
