/* rep_draw.h: whole random numbers that are the same on every machine. */
#ifndef REP_DRAW_H
#define REP_DRAW_H

#include <stdint.h>

/*
 * splitmix64 (Steele, Lea, Flood 2014): one addition and a mix; any seed is a good one. No
 * expression may hold two draws: their order would be the compiler's.
 */
static inline uint64_t rep_draw(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 to n - 1; n at least 1 */
static inline uint32_t rep_draw_below(uint64_t *state, uint32_t n)
{
    return (uint32_t)(rep_draw(state) % n);
}

#endif
