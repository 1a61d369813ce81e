/* codec_values.h: random, comparable, printable values of any record, by its descriptor. For tests
 * only. */
#ifndef CODEC_VALUES_H
#define CODEC_VALUES_H

#include <stdio.h>

#include "codec/codec.h"

/* The next of a seeded sequence (splitmix64). */
uint64_t codec_values_next(uint64_t *state);

/*
 * Fills a struct with random values within the schema's bounds; edge values are frequent. Strings
 * are ASCII and, like bytes, views into static memory. Absent values are zero, as a decoder leaves
 * them. Floats are never NaN.
 */
void codec_values_random(const struct codec_record *record, uint64_t *state, void *into);

/* Equal in every field; numbers by their bits (NaN equals itself, 0 is not -0). Says where not in
 * *ret_field. */
bool codec_values_equal(const struct codec_record *record, const void *a, const void *b,
                        const char **ret_field);

/* One line of JSON. Floats and doubles as "0x…" of their bits, bytes and fixed as hex, enums as
 * words. */
void codec_values_print(const struct codec_record *record, const void *v, FILE *out);

#endif
