/* rep_merge.h: several recordings as one, in event-time order. */
#ifndef REP_MERGE_H
#define REP_MERGE_H

#include "rep_stream.h"

#define REP_STREAMS_MAX 256

/*
 * The streams stay the caller's and outlive the source. Of equal event times the lower index goes
 * first. Trades do not take part in the order: each goes as soon as its stream is at it.
 */
struct rep_source rep_merge(struct rep_stream *const *streams, unsigned streams_n);

#endif
