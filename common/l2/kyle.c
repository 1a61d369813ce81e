#include "l2/kyle.h"

#include <assert.h>
#include <math.h>

void l2_kyle_add(struct l2_kyle *k, double signed_volume_quote, double dmid_quote)
{
    assert(isfinite(signed_volume_quote) && isfinite(dmid_quote));
    const struct l2_kyle one = {.n = 1,
                                .mean_x = signed_volume_quote,
                                .mean_y = dmid_quote,
                                .x_first = signed_volume_quote};

    l2_kyle_merge(k, &one);
}

void l2_kyle_merge(struct l2_kyle *into, const struct l2_kyle *from)
{
    if (from->n == 0)
        return;
    if (into->n == 0) {
        *into = *from;
        return;
    }
    const double na = (double)into->n, nb = (double)from->n, n = na + nb;
    const double dx = from->mean_x - into->mean_x, dy = from->mean_y - into->mean_y;

    into->sxx += from->sxx + dx * dx * (na * nb / n);
    into->sxy += from->sxy + dx * dy * (na * nb / n);
    into->mean_x += dx * (nb / n);
    into->mean_y += dy * (nb / n);
    into->n += from->n;
    into->varied |= from->varied || from->x_first != into->x_first;
}

bool l2_kyle_slope(const struct l2_kyle *k, uint64_t samples_min, double *ret_lambda)
{
    if (k->n < samples_min || !k->varied)
        return false;
    const double lambda = k->sxy / k->sxx;

    if (!isfinite(lambda) || !isfinite(k->sxx)) /* squares past the doubles' range, on either end */
        return false;
    *ret_lambda = lambda;
    return true;
}
