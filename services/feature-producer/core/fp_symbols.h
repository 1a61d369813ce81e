/* fp_symbols.h: the symbols of one process: a fixed table with a hash index, all of it allocated at
 * start. */
#ifndef FP_SYMBOLS_H
#define FP_SYMBOLS_H

#include "fp_core.h"

struct fp_symbol {
    char name[L2_SYMBOL_BYTES_MAX];
    uint32_t name_n; /* 0: a free place */
    int32_t partition;
    struct l2_stream stream;
    struct l2_past past;
    int64_t emitted_us; /* bar_time of the newest bar in l2.bars; INT64_MIN: none */
    /* A symbol that was retired and began anew: bars before born_us are of its earlier life, as are
     * records below born_offset. */
    int64_t born_us; /* INT64_MIN: never retired */
    int64_t born_offset, born_bars_offset; /* source_offset of the last bar of that life, and where
                                              it stands in l2.bars */
    int64_t last_offset; /* of the last snapshot taken; -1: not known */
    int64_t late_from; /* a restart must fold from here to count the late records since the last
                          snapshot taken as we do; -1: none since */
    /* The timeline that the stream follows began with its first snapshot, or with an adoption. Bars
     * up to prior_us were emitted before that: they are not emitted again, and say nothing of when
     * this timeline's bars closed. Until a restart can begin at one of its own bars, it folds from
     * hold_from, where it would see the timeline begin. */
    int64_t prior_us; /* INT64_MIN: none were */
    int64_t hold_from; /* -1: no such need */
    int64_t open_anchor; /* first input offset on which the open bar depends; -1: none yet */
    int64_t skip_below; /* restoring: records below belong to bars that are done; INT64_MIN: not
                           restoring */
    bool retired; /* silent for symbol_ttl: only `past` and `emitted_us` are kept, while a restart
                     could fold its records again */
};

struct fp_symbols {
    struct fp_symbol *symbols;
    /* Beside the symbols, so that the least of thousands is a walk over small arrays. INT64_MAX: no
     * constraint; -1: no partition. */
    int64_t *snapshots_from, *bars_from;
    int32_t *partition;
    uint32_t *index; /* hash → place + 1; 0: empty */
    uint32_t index_n;
    uint32_t max, high, used; /* places at or past `high` were never used */
    struct l2_minute *minutes;
    struct l2_past_bar *bars;
    uint32_t minutes_n, bars_n;
    int64_t bar_us;
};

/* false: no memory. */
bool fp_symbols_init(struct fp_symbols *table, uint32_t max, uint32_t minutes_n, uint32_t bars_n,
                     int64_t bar_us) MUST_CHECK;
void fp_symbols_release(struct fp_symbols *table);
struct fp_symbol *fp_symbols_find(const struct fp_symbols *table, int32_t partition,
                                  struct fp_name name);
/* A blank symbol; NULL when the table is full. Precondition: not there yet. */
struct fp_symbol *fp_symbols_add(struct fp_symbols *table, int32_t partition, struct fp_name name,
                                 const struct l2_params *params);
void fp_symbols_remove(struct fp_symbols *table, struct fp_symbol *symbol);

static inline uint32_t fp_symbols_place(const struct fp_symbols *table,
                                        const struct fp_symbol *symbol)
{
    return (uint32_t)(symbol - table->symbols);
}

#endif
