#include "fp_schemas.h"

#include "clk/clk.h"
#include "codec/heartbeat.h"
#include "codec/l2_bar.h"
#include "codec/l2_feature.h"
#include "codec/l2_snapshot.h"
#include "connect/connect.h"

#include <assert.h>

enum err_class fp_schemas_open(struct fp_schemas *s, const struct config *config, const char *bars,
                               const char *features, const char *heartbeat, struct err *err)
{
    if (connect_registry_wanted(config) &&
        connect_registry_open(config, &s->registry, err) != ERR_OK)
        return err->class;
    const struct codec_ids ids = connect_registry_ids(s->registry);
    if (codec_reader_new(&codec_l2_snapshot_record, &ids, &s->snapshots, err) != ERR_OK ||
        codec_reader_new(&codec_l2_bar_record, &ids, &s->bars, err) != ERR_OK ||
        connect_registry_id(config, s->registry, bars, &codec_l2_bar_record, &s->bar_id, err) !=
            ERR_OK ||
        connect_registry_id(config, s->registry, features, &codec_l2_feature_record, &s->feature_id,
                            err) != ERR_OK)
        return err->class;
    return connect_registry_id(config, s->registry, heartbeat, &codec_heartbeat_record,
                               &s->heartbeat_id, err);
}

void fp_schemas_close(struct fp_schemas *s)
{
    codec_reader_free(s->snapshots);
    codec_reader_free(s->bars);
    codec_registry_free(s->registry);
}

void fp_schemas_hold(struct fp_schemas *s, const struct bus_event *record)
{
    struct codec_head head;
    struct fp_held *held = &s->held[record->partition];
    const enum codec_status status = codec_head_get(record->value, record->value_n, &head);

    assert(status == CODEC_OK && head.has_id && !held->is);
    *held = (struct fp_held){true, record->offset, clk_mono_us(), head.id};
    s->held_n++;
}

bool fp_schemas_holds(const struct fp_schemas *s, int32_t partition)
{
    return s->held_n > 0 && s->held[partition].is;
}

void fp_schemas_release(struct fp_schemas *s, int32_t partition)
{
    s->held_n -= s->held[partition].is;
    s->held[partition].is = false;
}

bool fp_schemas_ready(struct fp_schemas *s, int32_t *ret_partition, int64_t *ret_offset)
{
    const struct codec_plan *plan;

    for (int32_t p = 0; s->held_n > 0 && p < FP_PARTITIONS_MAX; p++) {
        if (!s->held[p].is ||
            codec_registry_find(s->registry, s->held[p].id, &codec_l2_snapshot_record, &plan) ==
                CODEC_PENDING)
            continue;
        fp_schemas_release(s, p);
        *ret_partition = p;
        *ret_offset = s->held[p].offset;
        return true;
    }
    return false;
}

int64_t fp_schemas_held_us(const struct fp_schemas *s)
{
    const int64_t now_us = clk_mono_us();
    int64_t most_us = 0;

    for (int32_t p = 0; s->held_n > 0 && p < FP_PARTITIONS_MAX; p++)
        if (s->held[p].is && now_us - s->held[p].since_us > most_us)
            most_us = now_us - s->held[p].since_us;
    return most_us;
}

void fp_schemas_wait(struct fp_schemas *s, const uint8_t *bar, size_t n, unsigned wait_ms)
{
    struct codec_head head;
    const struct codec_plan *plan;

    if (s->registry != NULL && codec_head_get(bar, n, &head) == CODEC_OK && head.has_id)
        (void)!codec_registry_wait(s->registry, head.id, &codec_l2_bar_record, wait_ms, &plan);
}
