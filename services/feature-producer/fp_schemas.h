/* fp_schemas.h: which schema versions are read and written: readers, ids of a registry, and the
 * partitions that wait for its answer. */
#ifndef FP_SCHEMAS_H
#define FP_SCHEMAS_H

#include "bus/bus.h"
#include "codec/reader.h"
#include "codec/registry.h"
#include "config/config.h"
#include "core/fp_core.h"

struct fp_held {
    bool is; /* the record at `offset` has a schema that is not known yet */
    int64_t offset;
    int64_t since_us; /* clk_mono_us */
    uint32_t id;
};

struct fp_schemas {
    struct codec_registry *registry; /* NULL: none is configured */
    struct codec_reader *snapshots, *bars;
    uint32_t bar_id, feature_id, heartbeat_id; /* 0 without a registry */
    struct fp_held held[FP_PARTITIONS_MAX];
    unsigned held_n;
};

/* Readers; with a registry, the ids of what is written to these topics (registered where it may).
 */
enum err_class fp_schemas_open(struct fp_schemas *schemas, const struct config *config,
                               const char *bars, const char *features, const char *heartbeat,
                               struct err *err) MUST_CHECK;
void fp_schemas_close(struct fp_schemas *schemas);

/* The record's partition waits from it on. */
void fp_schemas_hold(struct fp_schemas *schemas, const struct bus_event *record);
void fp_schemas_release(struct fp_schemas *schemas,
                        int32_t partition); /* nothing when it does not wait */
bool fp_schemas_holds(const struct fp_schemas *schemas, int32_t partition);
/* A partition whose answer has come, and where to go on; it waits no more. false: none. */
bool fp_schemas_ready(struct fp_schemas *schemas, int32_t *ret_partition, int64_t *ret_offset);
/* How long the one that waits longest has waited; 0: none waits. */
int64_t fp_schemas_held_us(const struct fp_schemas *schemas);
/* While l2.bars is read back, where a wait does no harm: the answer for this bar has come, or
 * wait_ms are over. */
void fp_schemas_wait(struct fp_schemas *schemas, const uint8_t *bar, size_t n, unsigned wait_ms);

#endif
