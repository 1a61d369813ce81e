#include "mon_table.h"

#include "clk/clk.h"
#include "l2/sets.h"

#include <inttypes.h>
#include <string.h>

void mon_table_head(FILE *out)
{
    fprintf(out, "%-12s  %-18s %7s %6s  %11s %11s  %11s %11s  %13s  %13s\n", "", "", "bars", "null",
            "mean", "sd", "range", "", "PSI 24 h", "PSI 30 d");
    fprintf(out, "%-12s  %-18s %7s %6s  %11s %11s  %11s %11s  %6s %6s  %6s %6s\n", "crypto",
            "feature", "", "%", "", "", "low", "high", "warn", "P2", "warn", "P2");
}

/* "*": above what single windows of the training days would ask for, and above the table's. */
static void put_threshold(FILE *out, double threshold, double quantile, double table)
{
    fprintf(out, " %5.2f%s", threshold, threshold > quantile && threshold > table ? "*" : " ");
}

static void put_feature(FILE *out, enum l2_column c, const struct l2_reference_feature *f,
                        const struct l2_psi_calibration detail[2])
{
    fprintf(out, "%-18s %7" PRIu32 " %6.2f", l2_column_names[c], f->n, f->null_share * 100);
    if (f->n > 0)
        fprintf(out, "  %11.5g %11.5g", f->mean, f->sd);
    if (f->n > 0 && c != L2_MID_PRICE) {
        fprintf(out, "  %11.5g %11.5g ", f->low, f->high);
        put_threshold(out, f->psi_24h_warn, detail[0].quantile_warn, L2_PSI_WARN);
        put_threshold(out, f->psi_24h_p2, detail[0].quantile_p2, L2_PSI_P2);
        fprintf(out, " ");
        put_threshold(out, f->psi_30d_warn, detail[1].quantile_warn, L2_PSI_WARN);
        put_threshold(out, f->psi_30d_p2, detail[1].quantile_p2, L2_PSI_P2);
    }
    fprintf(out, "\n");
}

static void put_estimate(FILE *out, const char *name, const struct l2_estimate *e)
{
    if (e->known)
        fprintf(out, ", %s %.3f [%.3f, %.3f]", name, e->value, e->low, e->high);
}

void mon_table_crypto(FILE *out, const struct l2_reference *r, uint32_t days,
                      struct l2_psi_calibration detail[L2_COLUMNS][2])
{
    char from[CLK_TEXT_BYTES], to[CLK_TEXT_BYTES];

    for (int c = 0; c < L2_COLUMNS; c++) {
        fprintf(out, "%-12.32s  ", c == 0 ? r->symbol : "");
        put_feature(out, (enum l2_column)c, &r->feature[c], detail[c]);
    }
    fprintf(out, "%-12s  %s to %s, %" PRIu32 " days, median %.6g snapshots a bar", "",
            clk_text(r->from_us, from, sizeof from), clk_text(r->to_us, to, sizeof to), days,
            r->snapshots_median);
    put_estimate(out, "f1_buy", &r->f1_buy);
    put_estimate(out, "agreement", &r->agreement);
    put_estimate(out, "blind f1_buy", &r->blind_f1_buy);
    fprintf(out, "\n");
}

void mon_table_foot(FILE *out)
{
    fprintf(out,
            "* raised until an undrifted month costs %.2f warnings, and %.1f %% of months a "
            "P2 (24 h: both of two days in a row)\n",
            L2_CALIBRATE_WARNS_A_MONTH, L2_CALIBRATE_P2_MONTHS * 100);
}
