/*
 * qm_proofs.h: whose turn it is to be proved: at each bar another crypto's, from what its newest
 * bars say of its stream.
 */
#ifndef QM_PROOFS_H
#define QM_PROOFS_H

#include "qm_prover.h"

#include "core/qm_core.h"

#include "codec/l2_bar.h"
#include "codec/l2_feature.h"

/* A zeroed struct, once it is begun. */
struct qm_proofs {
    struct l2_params params;
    struct l2_past *pasts; /* by the crypto's number; NULL bars: none came yet */
    unsigned cryptos_max;
    struct qm_prover *prover;
};

/* What options point to is borrowed until the end; cryptos_max: their numbers are below. FATAL: no
 * memory, no thread. To be ended after a failure, too. */
enum err_class qm_proofs_begin(struct qm_proofs *p, const struct qm_prover_options *options,
                               unsigned cryptos_max, struct err *err) MUST_CHECK;
void qm_proofs_end(struct qm_proofs *p);

/* Where the crypto's stream stood as a bar closed. */
void qm_proofs_note_bar(struct qm_proofs *p, uint32_t crypto, const struct codec_l2_bar *d);
/* Asks for a proof of the record, if it is its crypto's turn and its past is known. */
void qm_proofs_maybe(struct qm_proofs *p, const struct qm_core *core, uint32_t crypto,
                     const struct codec_l2_feature *d, int32_t partition);
/* true, once: a proof has ended. */
bool qm_proofs_take(struct qm_proofs *p, struct qm_proof_result *ret_result);

#endif
