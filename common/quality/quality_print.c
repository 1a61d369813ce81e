#include "quality/quality.h"

#include "l2/sets.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 17 digits read back to the same bits; "-0" alone would be read as the integer 0. */
static void put(FILE *out, double x)
{
    if (x == 0 && signbit(x))
        fprintf(out, "-0.0");
    else
        fprintf(out, "%.17g", x);
}

static void put_named(FILE *out, const char *name, double x)
{
    fprintf(out, "\"%s\": ", name);
    put(out, x);
}

static void put_list(FILE *out, const char *name, const double *x, uint32_t n)
{
    fprintf(out, ",\n      \"%s\": [", name);
    for (uint32_t i = 0; i < n; i++) {
        fprintf(out, "%s", i > 0 ? ", " : "");
        put(out, x[i]);
    }
    fprintf(out, "]");
}

static void put_thresholds(FILE *out, const char *name, double warn, double p2)
{
    fprintf(out, ",\n      \"%s\": {", name);
    put_named(out, "warn", warn);
    fprintf(out, ", ");
    put_named(out, "p2", p2);
    fprintf(out, "}");
}

static void put_feature(FILE *out, int column, const struct l2_reference_feature *f)
{
    const double range[2] = {f->low, f->high};

    fprintf(out, "    \"%s\": {\"n\": %" PRIu32 ", ", l2_column_names[column], f->n);
    put_named(out, "null_share", f->null_share);
    if (f->n > 0) {
        fprintf(out, ", ");
        put_named(out, "mean", f->mean);
        fprintf(out, ", ");
        put_named(out, "sd", f->sd);
    }
    if (f->n > 0 && column != L2_MID_PRICE) {
        put_list(out, "range", range, 2);
        put_list(out, "edges", f->bins.edge, f->bins.n - 1);
        put_list(out, "shares", f->bins.share, f->bins.n);
        put_thresholds(out, "psi_24h", f->psi_24h_warn, f->psi_24h_p2);
        put_thresholds(out, "psi_30d", f->psi_30d_warn, f->psi_30d_p2);
    }
    fprintf(out, "}");
}

static void put_estimate(FILE *out, const char *name, const struct l2_estimate *e)
{
    if (!e->known)
        return;
    fprintf(out, "   \"%s\": {", name);
    put_named(out, "value", e->value);
    fprintf(out, ", ");
    put_named(out, "low", e->low);
    fprintf(out, ", ");
    put_named(out, "high", e->high);
    fprintf(out, "},\n");
}

static void put_window(FILE *out, int64_t from_us, int64_t to_us)
{
    fprintf(out, "\"training\": {\"from\": %" PRId64 ", \"to\": %" PRId64 "},\n", from_us, to_us);
}

static void put_crypto(FILE *out, const struct l2_reference *r)
{
    fprintf(out, "  \"%s\": {\n   ", r->symbol);
    put_window(out, r->from_us, r->to_us);
    fprintf(out, "   ");
    put_named(out, "snapshots_median", r->snapshots_median);
    fprintf(out, ",\n");
    put_estimate(out, "f1_buy", &r->f1_buy);
    put_estimate(out, "agreement", &r->agreement);
    put_estimate(out, "blind_f1_buy", &r->blind_f1_buy);
    fprintf(out, "   \"features\": {\n");
    for (int c = 0; c < L2_COLUMNS; c++) {
        put_feature(out, c, &r->feature[c]);
        fprintf(out, c + 1 < L2_COLUMNS ? ",\n" : "\n   }\n  }");
    }
}

static void put_file(FILE *out, const struct quality_file *file, const char *version)
{
    fprintf(out, "{\n \"format\": %d,\n \"version\": \"%s\",\n", QUALITY_FORMAT, version);
    fprintf(out, " \"exchange\": \"%s\",\n \"bar_seconds\": %" PRIu32 ",\n ", file->exchange,
            file->bar_s);
    put_window(out, file->from_us, file->to_us);
    fprintf(out, " \"cryptos\": {\n");
    for (uint32_t i = 0; i < file->cryptos_n; i++) {
        put_crypto(out, &file->crypto[i]);
        fprintf(out, i + 1 < file->cryptos_n ? ",\n" : "\n");
    }
    fprintf(out, " }\n}\n");
}

static enum err_class print(const struct quality_file *file, const char *version, char **ret_text,
                            size_t *ret_n, struct err *err)
{
    char *text = NULL;
    size_t n = 0;
    FILE *const out = open_memstream(&text, &n);

    if (out == NULL)
        return err_set(err, ERR_FATAL, "out of memory");
    put_file(out, file, version);
    const bool ok = !ferror(out);
    if (fclose(out) != 0 || !ok) {
        free(text);
        return err_set(err, ERR_FATAL, "out of memory");
    }
    *ret_text = text;
    *ret_n = n;
    return ERR_OK;
}

enum err_class quality_print(const struct quality_file *file, char **ret_text, size_t *ret_n,
                             struct err *err)
{
    return print(file, file->version, ret_text, ret_n, err);
}

void quality_name(struct quality_file *file, const char *version)
{
    snprintf(file->version, sizeof file->version, "%s", version);
    for (uint32_t i = 0; i < file->cryptos_n; i++)
        memcpy(file->crypto[i].version, file->version, sizeof file->version);
}

enum err_class quality_name_by_content(struct quality_file *file, struct err *err)
{
    char *text = NULL, version[L2_REFERENCE_VERSION_BYTES_MAX + 1];
    size_t n = 0;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    if (print(file, "", &text, &n, err) != ERR_OK)
        return err->class;
    for (size_t i = 0; i < n; i++) /* FNV-1a */
        hash = (hash ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
    free(text);
    snprintf(version, sizeof version, "fnv1a-%016" PRIx64, hash);
    quality_name(file, version);
    return ERR_OK;
}
