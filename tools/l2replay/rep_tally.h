/* rep_tally.h: what was sent, by symbol, and its telling: a summary, JSON, a progress bar. */
#ifndef REP_TALLY_H
#define REP_TALLY_H

#include "rep_candle.h"
#include "rep_invalid.h"
#include "rep_item.h"
#include "rep_stream.h"

#include <stdio.h>

struct rep_tally_symbol {
    uint64_t snapshots, candles;
    int64_t first_us, last_us; /* event times of the snapshots */
};

struct rep_tally {
    const char *const *symbols;
    uint32_t symbols_n;
    struct rep_tally_symbol *by_symbol;
    uint64_t snapshots, candles;
    uint64_t invalid[REP_INVALIDS]; /* by kind */
    int64_t first_us, last_us; /* over all symbols; 0 before the first */
    int64_t started_us; /* monotonic */
    int64_t shown_us;   /* monotonic: when the bar was drawn last */
    bool is_quiet; /* no bar at all */
    bool has_bar;
};

void rep_tally_init(struct rep_tally *tally, const char *const *symbols, uint32_t symbols_n);
void rep_tally_free(struct rep_tally *tally);
void rep_tally_snapshot(struct rep_tally *tally, const struct rep_item *item);
void rep_tally_candle(struct rep_tally *tally, const struct rep_candle *candle);

/* Draws the bar on stderr when it is a terminal and the last one is 100 ms old; part -1: unknown.
 */
void rep_tally_show(struct rep_tally *tally, double part);
void rep_tally_wipe(struct rep_tally *tally); /* the bar's line is blank again */

struct rep_tally_more {
    struct rep_stream *const *streams; /* what was skipped, and why */
    unsigned streams_n;
    uint64_t late_trades;
    uint64_t delivered; /* topics */
    bool has_topics, is_interrupted, is_over;
};

void rep_tally_text(const struct rep_tally *tally, const struct rep_tally_more *more, FILE *out);
/* One object; false: no memory. */
bool rep_tally_json(const struct rep_tally *tally, const struct rep_tally_more *more, FILE *out);

#endif
