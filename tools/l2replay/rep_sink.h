/* rep_sink.h: where records go: Avro files, topics, or nowhere. */
#ifndef REP_SINK_H
#define REP_SINK_H

#include "bus/bus.h"
#include "rep_candle.h"
#include "rep_invalid.h"
#include "rep_item.h"

#define REP_SINK_FLUSH_S 60

struct rep_sink_options {
    const char *exchange;
    const char *const *symbols; /* by the items' number; borrowed, as all here */
    uint32_t symbols_n;
    int32_t bar_seconds;
    const char *snapshots_path; /* NULL: no file */
    const char *candles_path;   /* NULL: no file */
    bool has_topics;
    bool has_invalid; /* rep_sink_invalid will be called */
    uint64_t seed;    /* of what is drawn for it */
    const char *prefix;
    const struct bus_setting *settings;
    unsigned settings_n;
};

struct rep_sink;

/*
 * Files: REJECT when one cannot be written. Topics: they must be there and as l2ctl makes them;
 * REJECT when not, RETRY when no broker answers.
 */
enum err_class rep_sink_open(const struct rep_sink_options *options, struct rep_sink **ret_sink,
                             struct err *err) MUST_CHECK;

/* Topics: waits while the client's queue is full, until `stop` says true (the record is then not
 * sent). */
enum err_class rep_sink_snapshot(struct rep_sink *sink, const struct rep_item *item,
                                 struct err *err) MUST_CHECK;
/*
 * One record of that kind, made from the snapshot sent last. To a file only where its kind
 * is_value. REJECT: wrong_partition, and the topic has only one.
 */
enum err_class rep_sink_invalid(struct rep_sink *sink, enum rep_invalid kind,
                                struct err *err) MUST_CHECK;
enum err_class rep_sink_candle(struct rep_sink *sink, const struct rep_candle *candle,
                               struct err *err) MUST_CHECK;
/* Delivery reports: a record that was lost is an error here. Does not wait. */
enum err_class rep_sink_serve(struct rep_sink *sink, struct err *err) MUST_CHECK;
/*
 * Files take their names; topics are flushed, for at most REP_SINK_FLUSH_S. Either way the sink
 * still has to be closed.
 */
enum err_class rep_sink_finish(struct rep_sink *sink, struct err *err) MUST_CHECK;
uint64_t rep_sink_delivered(const struct rep_sink *sink); /* acknowledged by the broker */
/* What was not finished is undone (files) or dropped (topics: what is not sent). NULL-safe. */
void rep_sink_close(struct rep_sink *sink);

#endif
