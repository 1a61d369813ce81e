/*
 * rep_synth.h: a made-up market: seeded, endless in variety, and obeying every rule of a feed.
 *
 * Each symbol is a book of `depth` levels a side on a grid of 0.1. A regime (calm, volatile,
 * rising, falling), which changes every five minutes or so, sets how often aggressors come and on
 * which side; they eat levels, so that prices move with the flow; quotes then close the spread
 * again. About every half hour (`silence_s`) a symbol's feed falls silent for 6 to 65 s; half of
 * those end in a new epoch. The same options give the same items on every machine: whole numbers
 * inside, one division on the way out.
 */
#ifndef REP_SYNTH_H
#define REP_SYNTH_H

#include "rep_item.h"

#define REP_SYNTH_RATE_HZ_MIN 0.01
#define REP_SYNTH_RATE_HZ_MAX 1000
#define REP_SYNTH_THIN_MAX 1024
#define REP_SYNTH_TRADES_MAX 64 /* of one symbol between two snapshots */

struct rep_synth_options {
    uint64_t seed;
    uint32_t symbols_n; /* up to REP_SYMBOLS_MAX */
    double rate_hz;     /* snapshots a second and symbol */
    unsigned depth;     /* levels a side */
    int64_t start_us;   /* of the first second */
    int64_t span_us;    /* ends before start_us + span_us; 0: never */
    int64_t silence_s; /* mean time between a symbol's silences; 0: none */
    /* From `drift_from_us` to before `drift_until_us`, after the start, what is quoted is thinner
     * by this factor, so that the same flow moves prices further; 0: never. */
    unsigned drift_thin;
    int64_t drift_from_us, drift_until_us;
};

struct rep_source rep_synth(const struct rep_synth_options *options);

#endif
