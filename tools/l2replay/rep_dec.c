#include "rep_dec.h"

#include <stdlib.h>
#include <string.h>

#define EXACT_MAX (UINT64_C(1) << 53) /* whole numbers up to here are doubles */

static const double powers_of_10[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                      1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

struct scan {
    uint64_t digits;   /* without the point and without trailing zeros behind it */
    unsigned decimals; /* how many of the digits stand behind the point */
    bool fits;         /* the digits fit into 64 bits */
};

static bool scan(const char *text, size_t n, struct scan *ret)
{
    struct scan s = {.fits = true};
    bool point = false, any = false;
    size_t end = n;

    if (n == 0 || n > REP_DEC_BYTES_MAX)
        return false;
    if (memchr(text, '.', n) != NULL) {
        while (end > 1 && text[end - 1] == '0')
            end--;
    }
    for (size_t i = 0; i < n; i++) {
        const unsigned digit = (unsigned)(unsigned char)text[i] - '0';
        if (text[i] == '.' && !point) {
            point = true;
            continue;
        }
        if (digit > 9)
            return false;
        any = true;
        if (i >= end)
            continue;
        if (__builtin_mul_overflow(s.digits, UINT64_C(10), &s.digits) ||
            __builtin_add_overflow(s.digits, (uint64_t)digit, &s.digits))
            s.fits = false;
        s.decimals += point;
    }
    *ret = s;
    return any;
}

/*
 * Clinger (1990): a whole number below 2^53 divided by a power of ten that is a double itself is
 * rounded once, hence right. The rest, a dozen a day, goes the slow way.
 */
static double value_of(const char *text, size_t n, const struct scan *s)
{
    char copy[REP_DEC_BYTES_MAX + 1];

    if (s->fits && s->digits < EXACT_MAX &&
        s->decimals < sizeof powers_of_10 / sizeof powers_of_10[0])
        return (double)s->digits / powers_of_10[s->decimals];
    memcpy(copy, text, n);
    copy[n] = '\0';
    return strtod(copy, NULL); /* the locale is "C": no program here sets another */
}

bool rep_dec_value(const char *text, size_t n, double *ret_value)
{
    struct scan s;

    if (!scan(text, n, &s))
        return false;
    *ret_value = value_of(text, n, &s);
    return true;
}

bool rep_dec_price(const char *text, size_t n, int64_t *ret_key, double *ret_value)
{
    struct scan s;

    if (!scan(text, n, &s) || !s.fits || s.decimals > REP_DEC_PRICE_DECIMALS)
        return false;
    uint64_t key = s.digits;
    for (unsigned d = s.decimals; d < REP_DEC_PRICE_DECIMALS; d++) {
        if (__builtin_mul_overflow(key, UINT64_C(10), &key))
            return false;
    }
    if (key > INT64_MAX)
        return false;
    *ret_key = (int64_t)key;
    *ret_value = value_of(text, n, &s);
    return true;
}
