/*
 * sketch.h: a mergeable histogram of spreads with relative error (DDSketch: Masson, Rim, Lee, VLDB
 * 2019), from 10^-4 to 10^4 bps within 1 %. The bin of x comes from frexp and a fixed cubic, so it
 * is the same on every CPU. docs/formats.md describes the bytes.
 */
#ifndef L2_SKETCH_H
#define L2_SKETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define L2_SKETCH_ALPHA 0.01
#define L2_SKETCH_MIN 1e-4
#define L2_SKETCH_MAX 1e4
#define L2_SKETCH_BINS 934 /* 0: below the range; the last: above it */
#define L2_SKETCH_BYTES_MAX 7168 /* 934 bins × (index delta ≤ 2 + count ≤ 5 bytes), rounded up */

struct l2_sketch {
    uint32_t count[L2_SKETCH_BINS];
};

/* Bin of x > 0. */
uint32_t l2_sketch_bin(double x);
void l2_sketch_add(struct l2_sketch *sketch, double x);
void l2_sketch_merge(struct l2_sketch *into, const struct l2_sketch *from);

/* Sorted (index delta, count) varints; an empty sketch is no bytes. Returns the length, ≤
 * L2_SKETCH_BYTES_MAX. */
size_t l2_sketch_encode(const struct l2_sketch *sketch, uint8_t ret_bytes[L2_SKETCH_BYTES_MAX]);
/* Adds the encoded counts to *into. false, and *into unchanged, when the bytes are no sketch. */
bool l2_sketch_decode_add(struct l2_sketch *into, const uint8_t *bytes, size_t n);

/* The q-quantile (0 ≤ q ≤ 1; rank ⌊q(n − 1)⌋), within 1 % inside the range, else the range's edge;
 * false when empty. */
bool l2_sketch_quantile(const struct l2_sketch *sketch, double q, double *ret_value);

#endif
