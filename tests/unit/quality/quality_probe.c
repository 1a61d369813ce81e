/*
 * quality_probe: the statistics of common/l2 on numbers from stdin, so that Python can hold them
 * against numpy, scipy, pandas and scikit-learn. One request a line, one answer a line, doubles
 * with 17 digits, "null" for none.
 *
 *   ln X…                           their logarithms
 *   sort X…                         ascending
 *   quantile Q X…                   of the ascending X
 *   psi N X… Y…                     bins from the ascending N X, PSI of the Y on them
 *   f1 C…                           nine counts by predicted and label → f1, low, high
 *   wilson K N                      low, high
 *   labels HORIZON SPAN WIDTH C…    closes, "nan" where missing → bar:label:exit_bar:bps:barrier …
 *   sigma SPAN C…                   σ after each close
 *   tally BARS CODES Q (BAR CODE)…  after each put: n and the q-quantile's code
 */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "l2/l2.h"

#define NUMBERS_MAX 100000 /* of a line */

static char *rest; /* of the line */

static double number(void)
{
    return strtod(rest, &rest);
}

static bool more(void)
{
    rest += strspn(rest, " \n");
    return *rest != '\0';
}

/* The numbers up to the line's end; the caller frees them. */
static double *numbers(size_t *ret_n)
{
    double *x = calloc(NUMBERS_MAX, sizeof *x);
    size_t n = 0;

    assert(x != NULL);
    while (more()) {
        assert(n < NUMBERS_MAX);
        x[n++] = number();
    }
    *ret_n = n;
    return x;
}

static void answer_psi(void)
{
    const size_t n = (size_t)number();
    size_t all;
    double *x = numbers(&all);
    struct l2_psi_bins bins;
    uint32_t count[L2_PSI_BINS_MAX] = {0};

    l2_psi_reference(x, n, &bins);
    assert(l2_psi_bins_valid(&bins));
    for (size_t i = n; i < all; i++)
        count[l2_psi_bin(&bins, x[i])]++;
    printf("%.17g", l2_psi(&bins, count));
    for (uint32_t i = 0; i < bins.n; i++)
        printf(" %.17g", bins.share[i]);
    free(x);
}

static void answer_f1(void)
{
    struct l2_confusion c;
    struct l2_interval interval;
    double f1;

    for (int i = 0; i < L2_CLASSES * L2_CLASSES; i++)
        c.n[i / L2_CLASSES][i % L2_CLASSES] = (uint32_t)number();
    if (!l2_f1_buy(&c, &f1) || !l2_f1_buy_interval(&c, &interval))
        printf("null");
    else
        printf("%.17g %.17g %.17g", f1, interval.low, interval.high);
}

static void answer_labels(void)
{
    const struct l2_label_params params = {
        .horizon_bars = (uint32_t)number(), .span_bars = (uint32_t)number(), .width = number()};
    struct l2_labels l = {.ring = calloc(params.horizon_bars, sizeof *l.ring)};
    struct l2_label label;
    size_t n;
    double *close = numbers(&n);

    assert(l.ring != NULL);
    l2_labels_reset(&l, &params);
    for (size_t i = 0; i < n; i++) {
        if (isnan(close[i]))
            continue;
        l2_labels_put(&l, (int64_t)i, close[i]);
        while (l2_labels_next(&l, &label))
            printf("%lld:%d:%lld:%.17g:%d ", (long long)label.bar, label.label,
                   (long long)label.exit_bar, label.return_bps, label.barrier);
    }
    free(close);
    free(l.ring);
}

static void answer_sigma(void)
{
    struct l2_volatility v;
    size_t n;

    l2_volatility_reset(&v, (uint32_t)number());
    double *close = numbers(&n);

    for (size_t i = 0; i < n; i++) {
        double sigma;
        if (!isnan(close[i]))
            l2_volatility_put(&v, (int64_t)i, close[i]);
        if (!isnan(close[i]) && l2_volatility_sigma(&v, &sigma))
            printf("%.17g ", sigma);
        else
            printf("null ");
    }
    free(close);
}

static void answer_tally(void)
{
    struct l2_tally t = {.bars_n = (uint32_t)number(), .codes_n = (uint32_t)number()};
    const double q = number();

    t.code = calloc(t.bars_n, sizeof *t.code);
    t.count = calloc(t.codes_n, sizeof *t.count);
    assert(t.code != NULL && t.count != NULL);
    l2_tally_reset(&t);
    while (more()) {
        const int64_t bar = (int64_t)number();
        uint16_t code = 0;
        (void)l2_tally_put(&t, bar, (uint16_t)number());
        printf("%u:%d ", t.n, l2_tally_quantile(&t, q, &code) ? code : -1);
    }
    free(t.code);
    free(t.count);
}

static void answer_many(double (*f)(double))
{
    while (more())
        printf("%.17g ", f(number()));
}

static void answer_sort(void)
{
    size_t n;
    double *x = numbers(&n);

    l2_sort(x, n);
    for (size_t i = 0; i < n; i++)
        printf("%.17g ", x[i]);
    free(x);
}

static void answer_quantile(void)
{
    const double q = number();
    size_t n;
    double *x = numbers(&n);

    printf("%.17g", l2_quantile_sorted(x, n, q));
    free(x);
}

static void answer_wilson(void)
{
    const uint32_t k = (uint32_t)number(), n = (uint32_t)number();
    const struct l2_interval i = l2_wilson95(k, n);

    printf("%.17g %.17g", i.low, i.high);
}

static void answer(const char *what)
{
    if (strcmp(what, "ln") == 0)
        answer_many(l2_ln);
    else if (strcmp(what, "sort") == 0)
        answer_sort();
    else if (strcmp(what, "quantile") == 0)
        answer_quantile();
    else if (strcmp(what, "psi") == 0)
        answer_psi();
    else if (strcmp(what, "f1") == 0)
        answer_f1();
    else if (strcmp(what, "wilson") == 0)
        answer_wilson();
    else if (strcmp(what, "labels") == 0)
        answer_labels();
    else if (strcmp(what, "sigma") == 0)
        answer_sigma();
    else {
        assert(strcmp(what, "tally") == 0);
        answer_tally();
    }
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;

    while (getline(&line, &room, stdin) > 0) {
        char *space = strchr(line, ' ');
        assert(space != NULL);
        *space = '\0';
        rest = space + 1;
        answer(line);
        printf("\n");
    }
    free(line);
    return 0;
}
