/*
 * fp_core.h: snapshots and ticks in; bars, features, dead letters and heartbeats out. No clock, no
 * I/O, no allocation after fp_core_new: event.now_us is its only time. The same core runs live,
 * offline, in the simulator and in the fuzzer.
 */
#ifndef FP_CORE_H
#define FP_CORE_H

#include "l2/l2.h"

#define FP_ACTIONS_MAX 64
#define FP_SYMBOLS_MAX 8192
#define FP_PARTITIONS_MAX 1024

struct fp_params {
    struct l2_params l2;
    uint32_t symbols_max;       /* ≤ FP_SYMBOLS_MAX */
    uint32_t partitions_n;      /* ≤ FP_PARTITIONS_MAX */
    int64_t close_grace_us;     /* silence after a bar's end before the clock closes it */
    int64_t scan_us;            /* how often silent symbols are looked for */
    int64_t catching_up_us; /* records older than this, and no end of the partition seen since:
                               catching up */
    bool offline; /* no key, no Kafka timestamp; the exchange is the first record's */
    char exchange[L2_SYMBOL_BYTES_MAX + 1]; /* "" when offline */
};

enum fp_event_kind {
    FP_SNAPSHOT, /* decoded; may still be invalid */
    FP_DEAD_BYTES, /* could not be decoded: `reject` says why */
    FP_TICK, /* time has passed */
    FP_HEARTBEAT_DUE,
    FP_END, /* every record below `offset` of the partition was seen */
    FP_END_OFFSET, /* answer to FP_ASK_END */
    FP_PAST_BAR, /* from l2.bars, oldest first, before FP_START: what was emitted. `offset`: as of
                    the FP_START to come */
    FP_START, /* the partition is read from `offset` on; dead letters below `committed` were sent
                 already */
    FP_STOP, /* the partition is not ours any more: its symbols are forgotten */
    FP_DELIVERED, /* an emitted bar stands at `offset` of l2.bars */
    FP_CLOSE, /* a recorded clock close: bars of `symbol` up to bar_time_us are closed now (offline)
               */
};

struct fp_name {
    const char *data;
    uint32_t n;
};

struct fp_event {
    enum fp_event_kind kind;
    int64_t now_us;
    int32_t partition;
    int64_t offset;
    /* SNAPSHOT, DEAD_BYTES */
    struct fp_name key;
    int64_t kafka_time_us; /* virtual */
    struct fp_name exchange, symbol; /* symbol: PAST_BAR and CLOSE too */
    const struct l2_snapshot *snapshot; /* borrowed until the step is drained */
    enum l2_reject reject;
    int64_t committed,
        bars_next; /* START: the group's offset; the first offset of l2.bars that was not read */
    const struct l2_past_bar *past_bar; /* PAST_BAR */
    int64_t log_end; /* PAST_BAR: the input's log reached at least this far; a bar that closed
                        further on is of another log, which stood in this one's place */
    uint64_t tag; /* DELIVERED */
    int64_t bar_time_us; /* CLOSE */
};

enum fp_action_kind {
    FP_EMIT_BAR,
    FP_EMIT_FEATURE,
    FP_DEAD_LETTER,
    FP_HEARTBEAT,
    FP_ASK_END, /* ask the broker for the partition's end offset */
    FP_RETIRED, /* a symbol was silent for symbol_ttl: to be logged */
    FP_ADOPTED, /* a symbol's stream began anew after L2_ADOPT_LATE late records: to be told */
    FP_NO_PLACE, /* PAST_BAR: l2.bars names more than symbols_max; without this one nothing can be
                    restored */
};

enum fp_state { FP_LIVE, FP_CATCHING_UP, FP_SILENT };

struct fp_action {
    enum fp_action_kind kind;
    int32_t partition;
    struct fp_name symbol; /* borrowed until the next step */
    int64_t source_offset; /* BAR, FEATURE: next input offset at the close; DEAD_LETTER: the
                              record's own */
    struct l2_bar bar; /* BAR */
    bool closed_by_clock;
    const uint8_t *sketch; /* borrowed until fp_core_continue or the next step */
    size_t sketch_n;
    uint64_t tag; /* BAR: to be given back in DELIVERED */
    int64_t bar_time_us, source_bar_time_us; /* FEATURE */
    struct l2_row row;
    bool has_last_event;
    int64_t last_event_us; /* FEATURE, HEARTBEAT: newest event time; RETIRED, ADOPTED */
    int64_t no_bars_until_us; /* ADOPTED: the close of the next bar that will be emitted */
    enum l2_reject reject; /* DEAD_LETTER */
    enum fp_state state; /* HEARTBEAT */
};

struct fp_update {
    struct fp_action actions[FP_ACTIONS_MAX];
    unsigned n;
    bool more; /* drain these, then call fp_core_continue */
    /* What more follows are closes by the clock: a commit may come between, though a record is at
     * hand. */
    bool splittable;
};

/* Counters since the start. */
struct fp_stats {
    uint64_t taken, duplicates, late, gaps, retired, adopted, bars, bars_by_clock;
    uint64_t rejected[L2_REJECTS];
};

/* What must be committed for a partition. */
struct fp_position {
    int64_t offset; /* next input record */
    int64_t snapshots_from; /* where a restart begins to fold */
    int64_t bars_from; /* where a restart begins to read l2.bars */
};

struct fp_core;

/* ERR_REJECT: a parameter is out of bounds; ERR_FATAL: no memory. The caller frees with
 * fp_core_free (NULL-safe). */
enum err_class fp_core_new(const struct fp_params *params, struct fp_core **ret_core,
                           struct err *err) MUST_CHECK;
void fp_core_free(struct fp_core *core);

/* One event. Never fails: what is wrong with the input is an action, what is wrong with us is an
 * assert. Drain before the next. */
void fp_core_step(struct fp_core *core, const struct fp_event *event, struct fp_update *ret_update);
void fp_core_continue(struct fp_core *core, struct fp_update *ret_update);

const struct fp_stats *fp_core_stats(const struct fp_core *core);
unsigned fp_core_symbols(const struct fp_core *core);
bool fp_core_owns(const struct fp_core *core, int32_t partition);
/* True until every record below the committed offset has been folded again: nothing is to be
 * committed before. */
bool fp_core_is_restoring(const struct fp_core *core, int32_t partition);
struct fp_position fp_core_position(const struct fp_core *core, int32_t partition);
/* Where the stream of `symbol` stands; false when it is unknown (offline: recorded closes are
 * matched with it). */
bool fp_core_stand(const struct fp_core *core, int32_t partition, struct fp_name symbol,
                   struct l2_resume *ret_last, int64_t *ret_bar_time_us);

#endif
