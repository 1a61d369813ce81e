#include "rep_grow.h"

#include <assert.h>
#include <stdlib.h>

bool rep_grow(void **items, size_t *cap, size_t need, size_t max, size_t size)
{
    if (need <= *cap)
        return true;
    if (need > max)
        return false;
    size_t want = *cap < 64 ? 64 : *cap * 2;
    if (want < need)
        want = need;
    if (want > max)
        want = max;
    void *const grown = reallocarray(*items, want, size);
    if (grown == NULL)
        return false;
    *items = grown;
    *cap = want;
    return true;
}

void *rep_alloc(size_t n, size_t size)
{
    void *const made = calloc(n > 0 ? n : 1, size);

    assert(made != NULL); /* a few MB at start: nothing sensible is left without them */
    return made;
}
