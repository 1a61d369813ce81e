/* fp_wire.h: Avro structs ↔ core structs: the only place where both meet. Pure but for the clock's
 * mapping of Kafka timestamps. */
#ifndef FP_WIRE_H
#define FP_WIRE_H

#include "bus/bus.h"
#include "clk/clk.h"
#include "codec/dead_letter.h"
#include "codec/heartbeat.h"
#include "codec/l2_bar.h"
#include "codec/l2_feature.h"
#include "codec/l2_snapshot.h"
#include "codec/reader.h"
#include "core/fp_core.h"

#define FP_OUTPUT_BYTES_MAX (CODEC_L2_BAR_BYTES_MAX + CODEC_FRAME_BYTES)

/* What every output says of the deployment; borrowed. */
struct fp_wire {
    const struct fp_params *params;
    const struct clk *clk;
    const char *exchange;
    const char *schema_version;
    struct codec_reader *snapshots, *bars; /* live; offline decodes bodies alone */
    struct codec_l2_snapshot
        *decoded; /* 32 KiB, filled by each decode; too large for a stack that is zeroed */
    struct l2_snapshot *snapshot; /* its view for the core */
};

/* One record's body → the core's view of it, in wire->snapshot. The views live as long as `body`.
 */
enum codec_status fp_wire_snapshot(struct fp_wire *wire, const uint8_t *body,
                                   size_t body_n) MUST_CHECK;
/* One input record → SNAPSHOT or DEAD_BYTES. Of *ret_event, only what these kinds have is written.
 * false: its writer's schema is being asked for, nothing was written. */
bool fp_wire_event(struct fp_wire *wire, const struct bus_event *record, int64_t now_us,
                   struct fp_event *ret_event) MUST_CHECK;
/* A record of l2.bars → PAST_BAR in *ret_event and *ret_bar; false when it is none of this
 * deployment's (other schema_version, bar, exchange), or *ret_status is not OK. */
bool fp_wire_past_bar(const struct fp_wire *wire, const uint8_t *value, size_t n,
                      int64_t bars_offset, struct fp_event *ret_event, struct l2_past_bar *ret_bar,
                      enum codec_status *ret_status);

struct codec_l2_bar fp_wire_bar(const struct fp_wire *wire, const struct fp_action *action);
struct codec_l2_feature fp_wire_feature(const struct fp_wire *wire, const struct fp_action *action,
                                        int64_t produced_us);
struct codec_heartbeat fp_wire_heartbeat(const struct fp_wire *wire, const struct fp_action *action,
                                         int64_t now_us);

/* What a restart needs to know of what was committed. */
struct fp_restart {
    int64_t snapshots_from, bars_from;
    bool has_fingerprint; /* version 1 had none */
    uint64_t fingerprint;
};

/* Of all that decides the outputs: exchange, schema version, the domain's parameters. A deployment
 * that differs must not go on where this one stopped. */
uint64_t fp_wire_fingerprint(const struct fp_wire *wire);
/* Commit metadata: "2,<snapshots_from>,<bars_from>,<fingerprint, 16 hex digits>". */
void fp_wire_metadata(const struct fp_position *position, uint64_t fingerprint,
                      char ret_metadata[BUS_METADATA_BYTES_MAX + 1]);
/* Version 1, "1,<snapshots_from>,<bars_from>", is read too; false for anything else. */
bool fp_wire_metadata_parse(const char *metadata, struct fp_restart *ret_restart);

#endif
