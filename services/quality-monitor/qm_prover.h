/*
 * qm_prover.h: the live proof of no leakage. A thread recomputes the row of one feature record from
 * l2.snapshots, cut where the purge says, by the code that computes rows everywhere, and compares.
 * One proof at a time: what comes while it is at work is not proved.
 */
#ifndef QM_PROVER_H
#define QM_PROVER_H

#include "bus/bus.h"
#include "codec/reader.h"
#include "l2/l2.h"

struct qm_proof_job {
    char symbol[L2_SYMBOL_BYTES_MAX + 1];
    int32_t partition;
    int64_t bar_time_us, source_us; /* the record's bar, and the one whose row it carries */
    struct l2_past_bar before;      /* where the fold begins: see l2_proof_begin */
    /* Those between it and the source bar, which is the last. */
    struct {
        int64_t source_offset;
        bool by_clock;
    } closes[L2_PROOF_BARS_MAX + 1];
    unsigned closes_n;
    struct l2_row claimed;
};

struct qm_proof_result {
    struct qm_proof_job job;
    enum l2_proof_verdict verdict;
    struct l2_row found; /* SAME, OTHER */
    uint64_t snapshots; /* that were folded */
    struct err err; /* UNDECIDED: why; text "" when the stream began anew */
};

struct qm_prover_options {
    const struct bus_setting *kafka; /* borrowed as long as it lives, as all below */
    unsigned kafka_n;
    const char *topic;
    const char *exchange;
    const struct codec_ids *ids;
    struct l2_params params;
};

struct qm_prover;

enum err_class qm_prover_new(const struct qm_prover_options *options, struct qm_prover **ret_prover,
                             struct err *err) MUST_CHECK;
/* false: it is at work. */
bool qm_prover_submit(struct qm_prover *prover, const struct qm_proof_job *job);
/* true, once: a proof has ended. */
bool qm_prover_take(struct qm_prover *prover, struct qm_proof_result *ret_result);
void qm_prover_free(struct qm_prover *prover); /* NULL-safe; ends a proof under way */

#endif
