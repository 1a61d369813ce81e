/*
 * bench_psi: what the quality monitor's drift signals cost, per daily evaluation.
 *
 *     bench_psi REFERENCE.json BARS
 *
 * BARS: doubles as they lie in memory, three a bar of 15 minutes: kyle_lambda, ofi_15m,
 * depth_imbalance_l5. They go through the monitor's core as bars of the reference's only crypto.
 * The first 30 days fill the windows; then CPU time is taken of each day: 96 bars and all that they
 * set off (four PSIs, of which three over 30 days are told once a day; nulls ahead, cadence, the
 * tails), and the figure is the median. One JSON line {"name", "value", "unit"} a figure; the PSIs
 * are those of the last day.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/qm_core.h"
#include "quality/quality.h"

#define BAR_S 900
#define BARS_A_DAY 96
#define WARM_DAYS 30
#define DAYS_MAX 1000
#define COLUMNS_N 3

struct psi {
    double value[QM_SIGNALS];
};

static void on_signal(void *user, const char *symbol, const struct qm_signal_out *out)
{
    struct psi *psi = user;

    (void)symbol;
    if (out->has_value)
        psi->value[out->signal] = out->value;
}

static void on_outcome(void *user, const char *symbol, const struct qm_outcome_out *out)
{
    (void)user;
    (void)symbol;
    (void)out;
}

static void on_transition(void *user, const char *symbol, const struct qm_transition *out)
{
    (void)user;
    (void)symbol;
    (void)out;
}

static int64_t cpu_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static bool fold_day(struct qm_core *core, const char *symbol, int64_t day,
                     const double (*values)[COLUMNS_N])
{
    static const uint8_t sketch[] = {0xd3, 0x03, 0x64}; /* a hundred spreads of one bin */
    bool ok = true;

    for (int64_t i = 0; i < BARS_A_DAY; i++) {
        struct qm_bar bar = {.bar_time_us = (day * BARS_A_DAY + i) * BAR_S * L2_US_PER_S,
                             .snapshots = 9000,
                             .sketch = sketch,
                             .sketch_n = sizeof sketch};

        l2_row_set(&bar.row, L2_MID_PRICE, 100);
        l2_row_set(&bar.row, L2_SPREAD_BPS, 1);
        l2_row_set(&bar.row, L2_DEPTH_IMBALANCE_L1, 0);
        l2_row_set(&bar.row, L2_KYLE_LAMBDA, values[i][0]);
        l2_row_set(&bar.row, L2_OFI, values[i][1]);
        l2_row_set(&bar.row, L2_DEPTH_IMBALANCE_L5, values[i][2]);
        ok = qm_core_bar(core, symbol, &bar) && ok;
    }
    return ok;
}

static int rising(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static int run(const struct quality_file *file, FILE *bars)
{
    struct psi psi = {{0}};
    const struct qm_options options = {
        .bar_s = BAR_S,
        .purge_bars = 20,
        .cryptos_max = 1,
        .references = file->crypto,
        .references_n = 1,
        .sink = {
            .signal = on_signal, .outcome = on_outcome, .transition = on_transition, .user = &psi}};
    struct qm_core *core = qm_core_new(&options);
    double values[BARS_A_DAY][COLUMNS_N];
    int64_t took[DAYS_MAX];
    unsigned days = 0;
    bool ok = core != NULL;

    for (; ok && days < DAYS_MAX && fread(values, sizeof values, 1, bars) == 1; days++) {
        const int64_t begin = cpu_ns();
        ok = fold_day(core, file->crypto[0].symbol, 20000 + (int64_t)days,
                      (const double(*)[COLUMNS_N])values);
        took[days] = cpu_ns() - begin;
    }
    qm_core_free(core);
    if (!ok || days <= WARM_DAYS) {
        fprintf(stderr, "bench_psi: %u days: too few, or not folded\n", days);
        return 1;
    }
    qsort(took + WARM_DAYS, days - WARM_DAYS, sizeof took[0], rising);
    printf("{\"name\": \"day\", \"value\": %" PRId64 ", \"unit\": \"ns\"}\n",
           took[WARM_DAYS + (days - WARM_DAYS) / 2]);
    for (enum qm_signal s = QM_PSI_30D_KYLE; s <= QM_PSI_30D_IMBALANCE; s++)
        printf("{\"name\": \"%s\", \"value\": %.17g, \"unit\": \"\"}\n", qm_rows[s].name,
               psi.value[s]);
    return 0;
}

int main(int argc, char **argv)
{
    struct quality_file file = {.cryptos_n = 0};
    struct err err;

    if (argc != 3) {
        fprintf(stderr, "usage: bench_psi REFERENCE.json BARS\n");
        return 64;
    }
    if (quality_read(argv[1], &file, &err) != ERR_OK || file.cryptos_n != 1) {
        fprintf(stderr, "bench_psi: %s: %s\n", argv[1],
                file.cryptos_n == 0 ? err.text : "more than one crypto");
        return 1;
    }
    FILE *bars = fopen(argv[2], "rb");
    const int code = bars == NULL ? 1 : run(&file, bars);

    if (bars != NULL)
        (void)fclose(bars);
    quality_free(&file);
    return code;
}
