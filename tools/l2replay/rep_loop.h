/* rep_loop.h: a recording kept in memory and played again and again, later each time. */
#ifndef REP_LOOP_H
#define REP_LOOP_H

#include "rep_item.h"

#define REP_LOOP_ITEMS_MAX ((size_t)1 << 25)
#define REP_LOOP_LEVELS_MAX ((size_t)1 << 28)

/*
 * Pulls `from` to its end (and leaves it to the caller to free). Each loop is shifted, in event and
 * received time, by the span from the first to the last snapshot plus the median step between a
 * symbol's snapshots; its epochs are higher than all of the loop before, by about the shift's
 * seconds. Sequences repeat. Ends before the first snapshot at or past first event time + span_us;
 * span_us 0: never. REJECT: broken input, or more than fits the bounds.
 */
enum err_class rep_loop(struct rep_source *from, int64_t span_us, struct rep_source *ret_source,
                        struct err *err) MUST_CHECK;

#endif
