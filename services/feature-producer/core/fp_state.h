/* fp_state.h: the core's state, and what its parts call of each other. Only core/ includes it. */
#ifndef FP_STATE_H
#define FP_STATE_H

#include "fp_core.h"
#include "fp_symbols.h"

#include <assert.h>

#define SKETCHES_MAX (FP_ACTIONS_MAX / 2) /* each bar's action is followed by its feature's */

struct fp_partition {
    bool owned;
    bool restoring;
    int64_t position, committed;
    int64_t bars_next; /* nothing will be written to l2.bars below this offset */
    int64_t past_source; /* while l2.bars is read: source_offset of the newest bar */
    int64_t past_seen_us; /* … and the newest Kafka time of its bars' last records */
    int64_t asked_us;  /* when the end offset was asked for; INT64_MIN: no question is open */
    int64_t close_at;  /* position at which the clock may close; INT64_MAX: no answer */
    bool at_end;       /* the end was seen, and no record since */
    int64_t record_us; /* Kafka time of the newest record */
    int64_t seen_us;   /* what came to the partition before this was read */
};

/* What a step has still to do: one kind of work at a time, resumed where the actions ran full. */
enum fp_work_kind { WORK_NONE, WORK_TAKE, WORK_CLOCK, WORK_CLOSE, WORK_HEARTBEAT, WORK_ASK };

struct fp_work {
    enum fp_work_kind kind;
    uint32_t at; /* symbol or partition that comes next */
    bool record_follows; /* CLOCK: event is a record that waits until the clock has closed */
    bool adopts; /* TAKE: event is a late record that begins its symbol's stream anew */
    struct fp_symbol *symbol;
    const struct fp_event *event; /* the caller's, until the step is drained */
};

struct fp_core {
    struct fp_params params;
    struct fp_name exchange; /* of params */
    int64_t bar_us;
    uint32_t boundary_bars; /* the open bar depends on this many bars before it */
    uint32_t kept_bars;     /* bars of l2.bars that a restart needs */
    struct fp_partition *partitions;
    struct fp_symbols symbols;
    struct fp_stats stats;
    struct fp_work work;
    bool *wanted; /* by partition: a symbol waits for its clock close */
    int64_t scanned_us;
    unsigned sketches_n;
    uint8_t sketches[SKETCHES_MAX][L2_SKETCH_BYTES_MAX];
};

static inline struct fp_partition *fp_partition(struct fp_core *c, int32_t partition)
{
    assert(partition >= 0 && (uint32_t)partition < c->params.partitions_n);
    return &c->partitions[partition];
}

/* ---- fp_bars.c: closing bars, and what a restart needs of them ---- */

struct fp_action *fp_act(struct fp_update *u, enum fp_action_kind kind, const struct fp_symbol *s);
bool fp_room_for_a_bar(const struct fp_update *u);
void fp_close_bar(struct fp_core *c, struct fp_symbol *s, bool by_clock, int64_t source_offset,
                  struct fp_update *u);
bool fp_is_past_ttl(const struct fp_core *c, int64_t bar_time_us, const struct l2_resume *last);
void fp_note_birth(const struct fp_core *c, struct fp_symbol *s, const struct l2_past_bar *bar);
bool fp_retire_past_ttl(struct fp_core *c, struct fp_symbol *s, struct fp_update *u);
const struct l2_past_bar *fp_checkpoint(const struct fp_core *c, const struct fp_symbol *s,
                                        int64_t open_us);
void fp_note_dependence(struct fp_core *c, const struct fp_symbol *s);
void fp_note_timeline(const struct fp_core *c, struct fp_symbol *s, int64_t offset, int64_t from);
int64_t fp_next_bar_us(const struct fp_core *c, const struct fp_symbol *s);

/* ---- fp_restore.c: the state as a fold over the log ---- */

void fp_close_as_recorded(struct fp_core *c, struct fp_symbol *s, int64_t offset,
                          struct fp_update *u);
bool fp_is_past_checkpoint(struct fp_core *c, struct fp_symbol *s, const struct fp_event *e);
bool fp_drop_late(struct fp_core *c, struct fp_symbol *s, const struct fp_event *e);
void fp_on_past_bar(struct fp_core *c, const struct fp_event *e, struct fp_update *u);
void fp_on_start(struct fp_core *c, const struct fp_event *e);
void fp_on_stop(struct fp_core *c, const struct fp_event *e);
void fp_finish_restoring(struct fp_core *c, int32_t partition, struct fp_update *u);

#endif
