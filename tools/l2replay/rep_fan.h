/* rep_fan.h: the same market under many names, for load tests. */
#ifndef REP_FAN_H
#define REP_FAN_H

#include "rep_item.h"

/*
 * Each item of symbol s (of `from_n`) becomes one of symbols s, s + from_n, … below `symbols_n`.
 * Symbol i's times are shifted back by stagger_us × i / symbols_n, its due time is not: bars close
 * spread over stagger_us. Takes `from` over.
 */
struct rep_source rep_fan(struct rep_source from, uint32_t from_n, uint32_t symbols_n,
                          int64_t stagger_us);

#endif
