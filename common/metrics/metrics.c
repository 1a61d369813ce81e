#include "metrics/metrics.h"

#include "metrics/metrics_internal.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_BYTES 40

/*
 * One row's numbers start at cells[first]: a counter's counts or a gauge's doubles (as bits), one a
 * label value; a histogram's buckets, each for itself, then its sum (as bits).
 */
struct metrics {
    const struct metric_row *rows;
    unsigned n_rows;
    unsigned first[METRICS_ROWS_MAX];
    unsigned width[METRICS_ROWS_MAX]; /* label values, or buckets */
    _Atomic uint64_t cells[];
};

static uint64_t bits_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static unsigned count_values(const struct metric_row *row)
{
    unsigned n = 0;

    assert((row->label == NULL) == (row->values == NULL));
    if (row->label == NULL)
        return 1;
    while (row->values[n] != NULL)
        n++;
    assert(n > 0 && n <= METRICS_VALUES_MAX);
    return n;
}

static unsigned count_buckets(const struct metric_row *row)
{
    unsigned n = 0;

    assert(row->label == NULL && row->buckets != NULL);
    while (isfinite(row->buckets[n])) {
        assert(n == 0 || row->buckets[n] > row->buckets[n - 1]);
        n++;
    }
    assert(row->buckets[n] > 0 && n + 1 <= METRICS_BUCKETS_MAX); /* +Inf ends the list */
    return n + 1;
}

static bool is_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    const size_t n = strspn(name, letters);

    return n > 0 &&
           name[n + strspn(name + n, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
                                     "0123456789")] == '\0';
}

struct metrics *metrics_new(const struct metric_row *rows)
{
    unsigned width[METRICS_ROWS_MAX], n_rows = 0, n_cells = 0;

    for (; rows[n_rows].name != NULL; n_rows++) {
        const struct metric_row *row = &rows[n_rows];

        assert(n_rows < METRICS_ROWS_MAX && is_name(row->name) && row->help != NULL);
        assert(row->label == NULL || is_name(row->label));
        width[n_rows] = row->kind == METRIC_HISTOGRAM ? count_buckets(row) : count_values(row);
        n_cells += width[n_rows] + (row->kind == METRIC_HISTOGRAM);
    }
    struct metrics *metrics = calloc(1, sizeof *metrics + n_cells * sizeof metrics->cells[0]);

    assert(metrics != NULL); /* a few KiB, once, at start */
    metrics->rows = rows;
    metrics->n_rows = n_rows;
    for (unsigned id = 0, first = 0; id < n_rows; id++) {
        metrics->first[id] = first;
        metrics->width[id] = width[id];
        first += width[id] + (rows[id].kind == METRIC_HISTOGRAM);
    }
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    free(metrics);
}

static unsigned cell_of(const struct metrics *metrics, unsigned id, unsigned which,
                        enum metric_kind kind)
{
    assert(id < metrics->n_rows && metrics->rows[id].kind == kind && which < metrics->width[id]);
    return metrics->first[id] + which;
}

static uint64_t load(const struct metrics *metrics, unsigned cell)
{
    return atomic_load_explicit(&metrics->cells[cell], memory_order_relaxed);
}

void metrics_add(struct metrics *metrics, unsigned id, unsigned which, uint64_t n)
{
    const unsigned cell = cell_of(metrics, id, which, METRIC_COUNTER);

    (void)atomic_fetch_add_explicit(&metrics->cells[cell], n, memory_order_relaxed);
}

void metrics_set(struct metrics *metrics, unsigned id, unsigned which, double value)
{
    const unsigned cell = cell_of(metrics, id, which, METRIC_GAUGE);

    atomic_store_explicit(&metrics->cells[cell], bits_of(value), memory_order_relaxed);
}

void metrics_observe(struct metrics *metrics, unsigned id, double value)
{
    const unsigned first = cell_of(metrics, id, 0, METRIC_HISTOGRAM);
    const unsigned last = metrics->width[id] - 1;
    const double *buckets = metrics->rows[id].buckets;
    _Atomic uint64_t *sum = &metrics->cells[first + last + 1];
    unsigned i = 0;

    while (i < last && !(value <= buckets[i]))
        i++;
    (void)atomic_fetch_add_explicit(&metrics->cells[first + i], 1, memory_order_relaxed);
    if (isnan(value))
        return;
    uint64_t old = atomic_load_explicit(sum, memory_order_relaxed);

    /* Each failed turn is another thread's success. */
    while (!atomic_compare_exchange_weak_explicit(sum, &old, bits_of(double_of(old) + value),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

uint64_t metrics_count(const struct metrics *metrics, unsigned id, unsigned which)
{
    assert(id < metrics->n_rows);
    if (metrics->rows[id].kind == METRIC_COUNTER)
        return load(metrics, cell_of(metrics, id, which, METRIC_COUNTER));
    const unsigned first = cell_of(metrics, id, which, METRIC_HISTOGRAM);
    uint64_t count = 0;

    assert(which == 0);
    for (unsigned i = 0; i < metrics->width[id]; i++)
        count += load(metrics, first + i);
    return count;
}

double metrics_value(const struct metrics *metrics, unsigned id, unsigned which)
{
    return double_of(load(metrics, cell_of(metrics, id, which, METRIC_GAUGE)));
}

/* HELP escapes \ and newline; a label's value escapes " too (text format 0.0.4). */
static void write_escaped(const char *text, bool in_quotes, FILE *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            fputs("\\n", out);
        else if (*text == '\\' || (in_quotes && *text == '"'))
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

void metrics_write_head(const char *name, const char *type, const char *help, FILE *out)
{
    fprintf(out, "# HELP %s ", name);
    write_escaped(help, false, out);
    fprintf(out, "\n# TYPE %s %s\n", name, type);
}

void metrics_write_number(double value, FILE *out)
{
    char text[NUMBER_BYTES] = "NaN";

    if (isinf(value))
        (void)snprintf(text, sizeof text, "%s", value > 0 ? "+Inf" : "-Inf");
    for (int digits = 15; isfinite(value) && digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (bits_of(strtod(text, NULL)) == bits_of(value))
            break;
    }
    fputs(text, out);
}

static void write_values(const struct metrics *metrics, unsigned id, FILE *out)
{
    const struct metric_row *row = &metrics->rows[id];

    for (unsigned i = 0; i < metrics->width[id]; i++) {
        const uint64_t cell = load(metrics, metrics->first[id] + i);

        fputs(row->name, out);
        if (row->label != NULL) {
            fprintf(out, "{%s=\"", row->label);
            write_escaped(row->values[i], true, out);
            fputs("\"}", out);
        }
        fputc(' ', out);
        if (row->kind == METRIC_COUNTER)
            fprintf(out, "%llu", (unsigned long long)cell);
        else
            metrics_write_number(double_of(cell), out);
        fputc('\n', out);
    }
}

static void write_histogram(const struct metrics *metrics, unsigned id, FILE *out)
{
    const struct metric_row *row = &metrics->rows[id];
    const unsigned first = metrics->first[id], width = metrics->width[id];
    uint64_t count = 0;

    for (unsigned i = 0; i < width; i++) {
        count += load(metrics, first + i);
        fprintf(out, "%s_bucket{le=\"", row->name);
        metrics_write_number(row->buckets[i], out);
        fprintf(out, "\"} %llu\n", (unsigned long long)count);
    }
    fprintf(out, "%s_sum ", row->name);
    metrics_write_number(double_of(load(metrics, first + width)), out);
    fprintf(out, "\n%s_count %llu\n", row->name, (unsigned long long)count);
}

void metrics_write(const struct metrics *metrics, FILE *out)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};

    for (unsigned id = 0; id < metrics->n_rows; id++) {
        const struct metric_row *row = &metrics->rows[id];

        metrics_write_head(row->name, types[row->kind], row->help, out);
        if (row->kind == METRIC_HISTOGRAM)
            write_histogram(metrics, id, out);
        else
            write_values(metrics, id, out);
    }
    metrics_write_head("l2flow_build_info", "gauge", "Always 1; the version is in the label.", out);
    fprintf(out, "l2flow_build_info{version=\"%s\"} 1\n", L2FLOW_VERSION);
    metrics_write_process(out);
}
