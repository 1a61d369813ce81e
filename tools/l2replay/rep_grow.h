/* rep_grow.h: arrays that grow up to a bound. */
#ifndef REP_GROW_H
#define REP_GROW_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Makes room for `need` items of `size` bytes in *items, which holds *cap; doubles, so that filling
 * is linear. False, nothing changed: more than `max`, or no memory.
 */
bool rep_grow(void **items, size_t *cap, size_t need, size_t max, size_t size);

/* A zeroed array that must be had at start; ends the program when there is no memory for it. */
void *rep_alloc(size_t n, size_t size);

#endif
