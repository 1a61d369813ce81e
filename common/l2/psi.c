#include "l2/psi.h"

#include <assert.h>
#include <math.h>

#include "l2/exact.h"

/* x[0, n) but for x[at] is a heap, the greatest first: now all of it is. */
static void sift(double *x, size_t at, size_t n)
{
    const double moved = x[at];

    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        child += child + 1 < n && x[child + 1] > x[child];
        if (!(x[child] > moved))
            break;
        x[at] = x[child];
    }
    x[at] = moved;
}

void l2_sort(double *x, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(x, i, n);
    while (n > 1) {
        const double greatest = x[0];

        x[0] = x[--n];
        x[n] = greatest;
        sift(x, 0, n);
    }
}

double l2_quantile_sorted(const double *ascending, size_t n, double q)
{
    assert(n >= 1 && q >= 0 && q <= 1);
    const double rank = q * (double)(n - 1);
    const size_t below = (size_t)rank;

    if (below + 1 >= n)
        return ascending[n - 1];
    const double part = rank - (double)below, step = ascending[below + 1] - ascending[below];

    /* from the nearer end, as numpy does it, so that both come to the same bits */
    return part < 0.5 ? ascending[below] + step * part : ascending[below + 1] - step * (1 - part);
}

void l2_psi_reference(const double *ascending, size_t n, struct l2_psi_bins *ret_bins)
{
    assert(n >= 1);
    struct l2_psi_bins b = {.n = 1};
    uint64_t count[L2_PSI_BINS_MAX] = {0};

    for (uint32_t i = 1; i < L2_PSI_BINS_MAX; i++) {
        const double edge = l2_quantile_sorted(ascending, n, i / (double)L2_PSI_BINS_MAX);
        if (b.n == 1 || edge > b.edge[b.n - 2])
            b.edge[b.n++ - 1] = edge;
    }
    for (size_t i = 0; i < n; i++)
        count[l2_psi_bin(&b, ascending[i])]++;
    for (uint32_t i = 0; i < b.n; i++)
        b.share[i] = (double)count[i] / (double)n;
    *ret_bins = b;
}

bool l2_psi_bins_valid(const struct l2_psi_bins *bins)
{
    double sum = 0;

    if (bins->n < 1 || bins->n > L2_PSI_BINS_MAX)
        return false;
    for (uint32_t i = 0; i + 1 < bins->n; i++) {
        if (!isfinite(bins->edge[i]) || (i > 0 && !(bins->edge[i] > bins->edge[i - 1])))
            return false;
    }
    for (uint32_t i = 0; i < bins->n; i++) {
        if (!(bins->share[i] >= 0 && bins->share[i] <= 1))
            return false;
        sum += bins->share[i];
    }
    return fabs(sum - 1) <= 1e-9;
}

uint32_t l2_psi_bin(const struct l2_psi_bins *bins, double x)
{
    uint32_t bin = 0;

    while (bin + 1 < bins->n && x >= bins->edge[bin])
        bin++;
    return bin;
}

static double floored(double share)
{
    return share < L2_PSI_SHARE_MIN ? L2_PSI_SHARE_MIN : share;
}

double l2_psi(const struct l2_psi_bins *bins, const uint32_t count[L2_PSI_BINS_MAX])
{
    uint64_t n = 0;
    double psi = 0;

    for (uint32_t i = 0; i < bins->n; i++)
        n += count[i];
    assert(n >= 1);
    for (uint32_t i = 0; i < bins->n; i++) {
        const double a = floored(count[i] / (double)n), r = floored(bins->share[i]);
        psi += (a - r) * l2_ln(a / r);
    }
    return psi;
}
