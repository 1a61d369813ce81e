/* params.h: what the features depend on, and the schema_version that names it. */
#ifndef L2_PARAMS_H
#define L2_PARAMS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define L2_SCHEMA_VERSION_BYTES_MAX 64
#define L2_WINDOW_S_MAX 3600
#define L2_PURGE_BARS_MAX 1000
#define L2_SYMBOL_TTL_S_MAX (7 * 24 * 3600) /* bounds what one snapshot can close */

struct l2_params {
    uint32_t bar_s;           /* 60, 300, 900, 1800 or 3600 */
    uint32_t window_s;        /* multiple of 60, at most L2_WINDOW_S_MAX */
    uint32_t sample_s;        /* divides 60 */
    uint32_t max_gap_s;       /* longer than this between two snapshots is a gap */
    uint32_t max_book_age_s;  /* an older snapshot says nothing of the book at t */
    uint32_t coverage_pct;    /* windowed columns are null below */
    uint32_t samples_min;     /* kyle_lambda is null below */
    uint32_t purge_bars;      /* rows by which every column is shifted */
    uint32_t symbol_ttl_s;    /* a symbol silent for longer is retired */
};

/* 15-min bars and window, 1 s samples, 5 s, 60 s, 95 %, 30 samples, purge 20, 7 days. */
struct l2_params l2_params_default(void);

/* ERR_REJECT names the parameter, its value and its bounds. */
enum err_class l2_params_check(const struct l2_params *params, struct err *err) MUST_CHECK;

/* "l2_schema_v1", followed by what differs from the defaults: "+w<window s>+k<sample
 * s>+g…+a…+c…+n…", in this order. */
void l2_schema_version(const struct l2_params *params, char ret_name[L2_SCHEMA_VERSION_BYTES_MAX]);

/* What such a name says, into the parameters that it names; the others stay. false: it is none of
 * ours, and nothing changes. */
bool l2_params_of_version(const char *name, struct l2_params *params);

/* Bars before it on which a bar's row depends besides itself: by its window, or the book's age. */
uint32_t l2_params_boundary_bars(const struct l2_params *params);

#endif
