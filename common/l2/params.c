#include "l2/params.h"

#include "l2/types.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct l2_params l2_params_default(void)
{
    return (struct l2_params){
        .bar_s = 900,
        .window_s = 900,
        .sample_s = 1,
        .max_gap_s = 5,
        .max_book_age_s = 60,
        .coverage_pct = 95,
        .samples_min = 30,
        .purge_bars = 20,
        .symbol_ttl_s = 7 * 24 * 3600,
    };
}

static enum err_class check_range(const char *name, uint32_t value, uint32_t min, uint32_t max,
                                  struct err *err)
{
    if (value >= min && value <= max)
        return ERR_OK;
    return err_set(err, ERR_REJECT, "%s: %u is not within %u to %u", name, value, min, max);
}

enum err_class l2_params_check(const struct l2_params *p, struct err *err)
{
    const struct {
        const char *name;
        uint32_t value, min, max;
    } ranges[] = {
        {"window_seconds", p->window_s, 60, L2_WINDOW_S_MAX},
        {"sample_seconds", p->sample_s, 1, 60},
        {"max_gap_seconds", p->max_gap_s, 1, 60},
        {"max_book_age_seconds", p->max_book_age_s, 1, 3600},
        {"coverage_percent", p->coverage_pct, 1, 100},
        {"samples_min", p->samples_min, 2, 3600},
        {"purge_bars", p->purge_bars, 0, L2_PURGE_BARS_MAX},
        {"symbol_ttl_seconds", p->symbol_ttl_s, 3600, L2_SYMBOL_TTL_S_MAX},
    };

    for (unsigned i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const enum err_class e =
            check_range(ranges[i].name, ranges[i].value, ranges[i].min, ranges[i].max, err);
        if (e != ERR_OK)
            return e;
    }
    if (p->bar_s != 60 && p->bar_s != 300 && p->bar_s != 900 && p->bar_s != 1800 &&
        p->bar_s != 3600)
        return err_set(err, ERR_REJECT, "bar_seconds: %u is not one of 60, 300, 900, 1800, 3600",
                       p->bar_s);
    if (p->window_s % 60 != 0)
        return err_set(err, ERR_REJECT, "window_seconds: %u is not a multiple of 60", p->window_s);
    if (60 % p->sample_s != 0)
        return err_set(err, ERR_REJECT, "sample_seconds: %u does not divide 60", p->sample_s);
    const uint32_t past_s = p->window_s > p->max_book_age_s ? p->window_s : p->max_book_age_s;
    const uint64_t need_s = ((uint64_t)p->purge_bars + 1) * p->bar_s + past_s;
    if (p->symbol_ttl_s < need_s)
        return err_set(
            err, ERR_REJECT,
            "symbol_ttl_seconds: %u is less than %llu, the purge and the window: a symbol retired "
            "in between would tell of its future",
            p->symbol_ttl_s, (unsigned long long)need_s);
    return ERR_OK;
}

void l2_schema_version(const struct l2_params *params, char ret_name[L2_SCHEMA_VERSION_BYTES_MAX])
{
    const struct l2_params def = l2_params_default();
    const struct {
        char letter;
        uint32_t value, usual;
    } parts[] = {
        {'w', params->window_s, def.window_s},
        {'k', params->sample_s, def.sample_s},
        {'g', params->max_gap_s, def.max_gap_s},
        {'a', params->max_book_age_s, def.max_book_age_s},
        {'c', params->coverage_pct, def.coverage_pct},
        {'n', params->samples_min, def.samples_min},
    };
    int n = snprintf(ret_name, L2_SCHEMA_VERSION_BYTES_MAX, "l2_schema_v1");

    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].value == parts[i].usual)
            continue;
        n += snprintf(ret_name + n, (size_t)(L2_SCHEMA_VERSION_BYTES_MAX - n), "+%c%u",
                      parts[i].letter, parts[i].value);
        assert(n < L2_SCHEMA_VERSION_BYTES_MAX);
    }
}

bool l2_params_of_version(const char *name, struct l2_params *params)
{
    const struct l2_params def = l2_params_default();
    struct l2_params p = *params;
    const struct {
        char letter;
        uint32_t *value, usual;
    } parts[] = {
        {'w', &p.window_s, def.window_s},         {'k', &p.sample_s, def.sample_s},
        {'g', &p.max_gap_s, def.max_gap_s},       {'a', &p.max_book_age_s, def.max_book_age_s},
        {'c', &p.coverage_pct, def.coverage_pct}, {'n', &p.samples_min, def.samples_min},
    };
    const char *at = strchr(name, '+');
    char again[L2_SCHEMA_VERSION_BYTES_MAX];

    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        *parts[i].value = parts[i].usual;
        if (at != NULL && at[0] == '+' && at[1] == parts[i].letter) {
            char *end;
            *parts[i].value = (uint32_t)strtoul(at + 2, &end, 10);
            at = end;
        }
    }
    l2_schema_version(&p, again); /* whatever was written otherwise comes out otherwise */
    if (strcmp(again, name) != 0)
        return false;
    *params = p;
    return true;
}

uint32_t l2_params_boundary_bars(const struct l2_params *p)
{
    const uint32_t need_s = p->window_s > p->max_book_age_s ? p->window_s : p->max_book_age_s;

    return need_s <= p->bar_s ? 0 : (need_s - p->bar_s + p->bar_s - 1) / p->bar_s;
}
