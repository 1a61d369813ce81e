/* limit.h: during an outage librdkafka says the same thing several times a second. Of each kind of
 * line the first passes, then one in 10 s, which says how many did not. Private to common/bus. */
#ifndef BUS_LIMIT_H
#define BUS_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define LIMIT_KINDS_MAX 16 /* later ones share the last place */
#define LIMIT_KIND_BYTES_MAX 24
#define LIMIT_EVERY_US INT64_C(10000000)

struct limit {
    struct limit_kind {
        char name[LIMIT_KIND_BYTES_MAX]; /* "": free */
        int64_t next_us;
        unsigned held;
    } kinds[LIMIT_KINDS_MAX];
};

/* A zeroed limit has seen nothing. *ret_held: lines of this kind that were held back since the last
 * one that passed; set when this one passes. */
bool limit_pass(struct limit *limit, const char *kind, int64_t now_us, unsigned *ret_held);

#endif
