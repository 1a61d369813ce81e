/* en_wire.h: Avro structs ↔ the core's: the only place where both meet. */
#ifndef EN_WIRE_H
#define EN_WIRE_H

#include "bus/bus.h"
#include "codec/prediction.h"
#include "codec/reader.h"
#include "codec/registry.h"
#include "core/en_core.h"
#include "l2/label.h"

/* The example's model says of itself: its name, and a hash of its source. */
#define EN_MODEL_NAME "example-rule"
#define EN_MODEL_VERSION_BYTES_MAX 32

enum en_input {
    EN_IN_CANDLE,
    EN_IN_FEATURE,
    EN_IN_BEAT,
    EN_IN_ROLLOUT,
    EN_IN_PREDICTION,
    EN_INPUTS
};

/* What every record says of the deployment; borrowed. */
struct en_wire {
    const char *exchange;
    int64_t bar_s, bar_us;
    int32_t purge_bars;
    const char *schema_version;
    const char *model_version;
    struct l2_label_params label;
    struct codec_registry *registry; /* NULL: none */
    struct codec_reader *readers[EN_INPUTS];
    uint32_t prediction_id; /* 0 without a registry */
};

/* Why a record is passed over; the names are a metric's label. */
enum en_reject {
    EN_ACCEPTED,
    EN_UNDECODABLE,
    EN_OTHERS,  /* another exchange's, or another bar's length */
    EN_INVALID, /* symbol, time or price */
    EN_AGAIN,   /* its symbol has had that bar, or a later one */
    EN_ELSEWHERE, /* its symbol is another partition's */
    EN_NO_PLACE,  /* max_symbols are known */
    EN_REJECTS,
};
extern const char *const en_reject_names[];

/* Views of what is read live as long as the record. Each may wait for the schema registry, for half
 * a minute at most. */
enum en_reject en_wire_candle(struct en_wire *wire, const struct bus_event *record,
                              struct en_candle *ret_candle);
/* *ret_differs: NULL, or in which pinned value the record differs; else as it is there and here. */
struct en_misfit {
    const char *field;
    char there[64], here[64];
};
enum en_reject en_wire_feature(struct en_wire *wire, const struct bus_reader_record *record,
                               struct en_feature *ret_feature, struct en_misfit *ret_misfit);
enum en_reject en_wire_beat(struct en_wire *wire, const struct bus_reader_record *record,
                            struct en_name *ret_symbol, int64_t *ret_event_us);
enum en_reject en_wire_rollout(struct en_wire *wire, const struct bus_reader_record *record,
                               struct en_rollout *ret_rollout);
enum en_reject en_wire_past(struct en_wire *wire, const struct bus_reader_record *record,
                            struct en_past *ret_past);

/* Framed into buf; its length. */
#define EN_PREDICTION_BYTES_MAX (CODEC_PREDICTION_BYTES_MAX + CODEC_FRAME_BYTES)
size_t en_wire_prediction(const struct en_wire *wire, const struct en_bar *bar, unsigned i,
                          int64_t now_us, uint8_t buf[EN_PREDICTION_BYTES_MAX]);

/* Commit metadata: "e1,<ohlcv_from>,<predictions_from>". */
void en_wire_metadata(const struct en_position *position,
                      char ret_metadata[BUS_METADATA_BYTES_MAX + 1]);
/* false: it says something else. */
bool en_wire_metadata_parse(const char *metadata, int64_t *ret_ohlcv_from, int64_t *ret_sent_from);

#endif
