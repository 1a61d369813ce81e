/* l2_test.h: what the tests of common/l2 share: cmocka, a small book, a seeded generator. */
#ifndef L2_TEST_H
#define L2_TEST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "l2/l2.h"

#define S L2_US_PER_S

/* xorshift64*; never seeded with 0. */
static inline uint64_t test_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

/* Uniform in [0, n). */
static inline uint64_t test_below(uint64_t *state, uint64_t n)
{
    return (test_random(state) >> 11) % n;
}

/* Uniform in [0, 1). */
static inline double test_unit(uint64_t *state)
{
    return (double)(test_random(state) >> 11) * 0x1p-53;
}

static inline bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static inline bool near(double got, double want, double relative)
{
    return fabs(got - want) <= relative * fabs(want);
}

#endif
