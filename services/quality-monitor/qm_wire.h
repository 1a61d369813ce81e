/* qm_wire.h: Avro structs ↔ core structs: the only place where both meet. */
#ifndef QM_WIRE_H
#define QM_WIRE_H

#include "core/qm_alerts.h"
#include "core/qm_core.h"

#include "bus/bus.h"
#include "clk/clk.h"
#include "codec/alert.h"
#include "codec/candle.h"
#include "codec/heartbeat.h"
#include "codec/l2_bar.h"
#include "codec/l2_feature.h"
#include "codec/outcome.h"
#include "codec/prediction.h"
#include "codec/quality_signal.h"
#include "codec/reader.h"
#include "codec/rollout_state.h"

/* The inputs that are merged, in the order in which records of one time are folded. */
enum qm_input {
    QM_IN_CANDLES,
    QM_IN_BARS,
    QM_IN_FEATURES,
    QM_IN_PREDICTIONS,
    QM_IN_ROLLOUT,
    QM_INPUTS
};
enum qm_output { QM_OUT_QUALITY, QM_OUT_OUTCOMES, QM_OUT_ALERTS, QM_OUTPUTS };

/* A record may speak of what is later than its Kafka timestamp by as much: its writer's
 * clock may be behind. */
#define QM_AHEAD_US_MAX (5 * L2_US_PER_S)

#define QM_RECORD_BYTES_MAX                                                                        \
    (CODEC_ALERT_BYTES_MAX > CODEC_QUALITY_SIGNAL_BYTES_MAX ? CODEC_ALERT_BYTES_MAX                \
                                                            : CODEC_QUALITY_SIGNAL_BYTES_MAX)
#define QM_OUT_BYTES_MAX (QM_RECORD_BYTES_MAX + CODEC_FRAME_BYTES)

struct qm_wire {
    struct codec_reader *readers[QM_INPUTS];
    struct codec_reader *own[QM_OUTPUTS];
    struct codec_reader *heartbeats;
    uint32_t ids[QM_OUTPUTS]; /* in a schema registry; 0: none is there */
    const char *exchange; /* records of another one are skipped; borrowed */
    const char *schema_version; /* bars and features of another one are; borrowed */
    uint32_t bar_s;
    const struct clk *clk; /* maps Kafka's timestamps, by which what is dated ahead is known; NULL:
                              the records have none, as those of a file; borrowed */
    bool kill_switch; /* as the newest RolloutState has it */
    int64_t rollout_us;
    int64_t latest_us; /* of which the record at hand can speak */
    const char *source; /* who says so, in alerts; borrowed */
    union {
        struct codec_l2_bar bar;
        struct codec_l2_feature feature;
        struct codec_prediction prediction;
        struct codec_candle candle;
        struct codec_rollout_state rollout;
        struct codec_heartbeat heartbeat;
        struct codec_quality_signal quality;
        struct codec_outcome outcome;
        struct codec_alert alert;
    } at; /* what is being read */
    struct codec_alert alert; /* what is being written */
    char text[512], key[192], group_key[192];
};

extern const struct codec_record *const qm_output_records[QM_OUTPUTS];

enum err_class qm_wire_open(struct qm_wire *wire, const struct codec_ids *ids,
                            struct err *err) MUST_CHECK;
void qm_wire_close(struct qm_wire *wire);

/* When the record could be known, for the merge: its bar's close; INT64_MIN for what is no record
 * of ours, or dated ahead: it holds nobody up. */
int64_t qm_wire_order(void *user, unsigned topic, const struct bus_reader_record *record);

enum qm_folded {
    QM_FOLDED,
    QM_FOREIGN, /* another exchange, bar length or schema version */
    QM_UNDECODABLE,
    QM_PENDING, /* the registry has not said yet what its schema is: ask again */
    QM_ONE_TOO_MANY, /* cryptos; or a time off the grid */
    QM_AHEAD, /* its bar had not begun when Kafka took it */
};
/* Decodes a record and folds it. ret_symbol: of L2_SYMBOL_BYTES_MAX + 1. */
enum qm_folded qm_wire_fold(struct qm_wire *wire, struct qm_core *core, enum qm_input input,
                            const struct bus_reader_record *record, char *ret_symbol);
/* A record of our own outputs, at the start: false: not ours, or not decodable. */
bool qm_wire_recall(struct qm_wire *wire, struct qm_core *core, struct qm_alerts *alerts,
                    enum qm_output output, const struct bus_reader_record *record);
/* The newest snapshot's time, and when that was said; false: not decodable, or of another exchange.
 */
bool qm_wire_heartbeat(struct qm_wire *wire, const struct bus_reader_record *record,
                       char *ret_symbol, int64_t *ret_newest_us, int64_t *ret_beat_us);

/* The record's columns, those that are finite. */
struct l2_row qm_wire_bar_row(const struct codec_l2_bar *d);
struct l2_row qm_wire_row(const struct codec_l2_feature *d);

/* Encoded into buf; 0: it does not fit, which is our bug. */
size_t qm_wire_signal(struct qm_wire *wire, const char *symbol, const struct qm_signal_out *out,
                      const char *reference_version, int64_t now_us, uint8_t *buf, size_t cap);
size_t qm_wire_outcome(struct qm_wire *wire, const char *symbol, const struct qm_outcome_out *out,
                       int64_t now_us, uint8_t *buf, size_t cap);
size_t qm_wire_alert(struct qm_wire *wire, const struct qm_core *core,
                     const struct qm_alert_out *out, int64_t now_us, uint8_t *buf, size_t cap);

#endif
