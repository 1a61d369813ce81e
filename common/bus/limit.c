#include "bus/limit.h"

#include <stdio.h>
#include <string.h>

bool limit_pass(struct limit *limit, const char *kind, int64_t now_us, unsigned *ret_held)
{
    struct limit_kind *k = limit->kinds;

    while (k < &limit->kinds[LIMIT_KINDS_MAX - 1] && k->name[0] != '\0' &&
           strncmp(k->name, kind, sizeof k->name - 1) != 0)
        k++;
    if (k->name[0] == '\0') {
        (void)snprintf(k->name, sizeof k->name, "%s", kind);
        k->next_us = now_us;
    }
    if (now_us < k->next_us) {
        k->held++;
        return false;
    }
    k->next_us = now_us + LIMIT_EVERY_US;
    *ret_held = k->held;
    k->held = 0;
    return true;
}
