#include "l2/sketch.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/*
 * y(x) = e + P(m - 1) approximates log2 x for x = m·2^e, 1 ≤ m < 2, with P the cubic for which
 * dy/d(ln x) = P'(s)(1 + s) stays nearest to constant: between 10/7 and 1.486 against 1/ln 2
 * = 1.443. A bin is 1/K wide in y, hence at most (1/K)/(10/7) wide in ln x, which must be at most
 * ln γ, γ = (1 + α)/(1 - α): K = 7/(10 ln γ) = 34.99883…; this exact double is part of the format.
 */
#define P3 (6.0 / 35.0)
#define P2 (-3.0 / 5.0)
#define P1 (10.0 / 7.0)
#define K 34.99883330222075

/* y(L2_SKETCH_MIN)·K = -465.06…; bin 1 is the one that holds it. */
#define FIRST (-466)

static double position(double x)
{
    int exponent;
    const double s = 2 * frexp(x, &exponent) - 1; /* frexp: [0.5, 1) */

    return ((exponent - 1) + ((P3 * s + P2) * s + P1) * s) * K;
}

uint32_t l2_sketch_bin(double x)
{
    if (!(x >= L2_SKETCH_MIN))
        return 0;
    if (x > L2_SKETCH_MAX)
        return L2_SKETCH_BINS - 1;
    const double p = position(x);
    int whole = (int)p;

    if (p < whole)
        whole--; /* floor, without a call */
    const int bin = whole - FIRST + 1;
    assert(bin >= 1 && bin < L2_SKETCH_BINS - 1);
    return (uint32_t)bin;
}

void l2_sketch_add(struct l2_sketch *sketch, double x)
{
    uint32_t *count = &sketch->count[l2_sketch_bin(x)];

    *count += *count < UINT32_MAX;
}

static void add_count(uint32_t *to, uint32_t count)
{
    const uint32_t room = UINT32_MAX - *to;

    *to += count < room ? count : room;
}

void l2_sketch_merge(struct l2_sketch *into, const struct l2_sketch *from)
{
    for (unsigned i = 0; i < L2_SKETCH_BINS; i++)
        add_count(&into->count[i], from->count[i]);
}

static size_t put_varint(uint8_t *out, uint32_t v)
{
    size_t n = 0;

    while (v >= 0x80) {
        out[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    out[n++] = (uint8_t)v;
    return n;
}

static bool get_varint(const uint8_t **p, const uint8_t *end, uint32_t *ret)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 35; shift += 7) {
        if (*p == end)
            return false;
        const uint8_t byte = *(*p)++;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = (uint32_t)v;
            return v <= UINT32_MAX;
        }
    }
    return false;
}

size_t l2_sketch_encode(const struct l2_sketch *sketch, uint8_t ret_bytes[L2_SKETCH_BYTES_MAX])
{
    size_t n = 0;
    uint32_t previous = 0;

    for (uint32_t i = 0; i < L2_SKETCH_BINS; i++) {
        if (sketch->count[i] == 0)
            continue;
        n += put_varint(ret_bytes + n, i - previous);
        n += put_varint(ret_bytes + n, sketch->count[i]);
        previous = i;
    }
    assert(n <= L2_SKETCH_BYTES_MAX);
    return n;
}

/* Adds to *into; into NULL: only looks whether they are a sketch. */
static bool decode(struct l2_sketch *into, const uint8_t *bytes, size_t n)
{
    const uint8_t *p = bytes, *end = bytes + n;
    uint64_t index = 0;

    for (bool first = true; p < end; first = false) {
        uint32_t delta, count;
        if (!get_varint(&p, end, &delta) || !get_varint(&p, end, &count))
            return false;
        index += delta;
        if (index >= L2_SKETCH_BINS || count == 0 || (delta == 0 && !first))
            return false;
        if (into != NULL)
            add_count(&into->count[index], count);
    }
    return true;
}

/* Twice over the few bins that are there is a fraction of once over all. */
bool l2_sketch_decode_add(struct l2_sketch *into, const uint8_t *bytes, size_t n)
{
    return decode(NULL, bytes, n) && decode(into, bytes, n);
}

/* The x whose position is p: bisection, for readers only. */
static double inverse(double p)
{
    double low = L2_SKETCH_MIN / 2, high = L2_SKETCH_MAX * 2;

    for (int i = 0; i < 100; i++) {
        const double middle = (low + high) / 2;
        if (position(middle) < p)
            low = middle;
        else
            high = middle;
    }
    return high;
}

bool l2_sketch_quantile(const struct l2_sketch *sketch, double q, double *ret_value)
{
    uint64_t total = 0, seen = 0;
    unsigned i = 0;

    assert(q >= 0 && q <= 1);
    for (unsigned b = 0; b < L2_SKETCH_BINS; b++)
        total += sketch->count[b];
    if (total == 0)
        return false;
    const uint64_t rank = (uint64_t)(q * (double)(total - 1));
    for (;; i++) {
        seen += sketch->count[i];
        if (seen > rank)
            break;
    }
    if (i == 0) {
        *ret_value = L2_SKETCH_MIN;
    } else if (i == L2_SKETCH_BINS - 1) {
        *ret_value = L2_SKETCH_MAX;
    } else {
        const double low = inverse((double)i - 1 + FIRST), high = inverse((double)i + FIRST);
        *ret_value =
            2 * low * high / (low + high); /* the point whose relative error to both is equal */
    }
    return true;
}
