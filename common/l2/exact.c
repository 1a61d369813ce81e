#include "l2/exact.h"

#include <assert.h>
#include <math.h>

#define LN2_HIGH 0x1.62e42fee00000p-1 /* 32 bits: exact in products with an exponent */
#define LN2_LOW 0x1.a39ef35793c76p-33
#define TERMS 13 /* |s| ≤ 0.1716: the next one is below 2^-66 of the first */

double l2_ln(double x)
{
    assert(isfinite(x) && x > 0);
    int exponent;
    double m = frexp(x, &exponent); /* [0.5, 1) */

    if (m < 0x1.6a09e667f3bcdp-1) { /* √½: m within [√½, √2), so that ln 1 = 0 exactly */
        m *= 2;
        exponent--;
    }
    const double s = (m - 1) / (m + 1), square = s * s;
    double sum = 0;

    for (int k = 2 * TERMS - 1; k >= 3; k -= 2) /* ln m = 2 (s + s³/3 + s⁵/5 + …) */
        sum = (sum + 1.0 / k) * square;
    return exponent * LN2_HIGH + (2 * s + (2 * s * sum + exponent * LN2_LOW));
}
