/*
 * qm_alerts.h: which changes of state are told, and how: each one a record, few of them a
 * notification. Pure: no clock, no I/O; allocates only when a crypto's first alert is there.
 *
 * A change waits for `hold_us`, so that what breaches together is told together, and what is over
 * by then is not told; while others still breach the same signal, for a minute at most. When at
 * least three cryptos, and half of those that have the signal, breach it within a minute, one alert
 * speaks for all; theirs are stored as grouped. It lasts until the last of them is well. What an
 * inhibition covers is stored as inhibited; what is still in breach when the inhibition ends is
 * told then, as if it had begun: in a group, if it is one's.
 */
#ifndef QM_ALERTS_H
#define QM_ALERTS_H

#include "core/qm_core.h"

#define QM_GROUP_MIN 3
#define QM_GROUP_WITHIN_US (60 * L2_US_PER_S)
#define QM_MEMBERS_MAX 512
/* What models do is of no matter while the kill-switch is on: it inhibits these. */
#define QM_MODEL_SIGNALS                                                                           \
    (UINT32_C(1) << QM_F1_DRIFT | UINT32_C(1) << QM_DELTA_F1 | UINT32_C(1) << QM_LATCH)
#define QM_ALL "_all"
#define QM_ALL_CRYPTO UINT32_MAX

enum qm_delivery { QM_SEND, QM_GROUPED, QM_INHIBITED };

struct qm_alert_out {
    uint32_t crypto; /* number; QM_ALL_CRYPTO: a group */
    int64_t version;
    struct qm_transition t; /* previous: as told before */
    enum qm_delivery delivery;
    bool by_group; /* delivery GROUPED: the group of its signal and arm speaks */
    const uint32_t *members; /* of a group: cryptos; borrowed until the next call */
    unsigned members_n;  /* as many as fit */
    unsigned group_size; /* all */
};

struct qm_alerts;

struct qm_alerts *qm_alerts_new(unsigned cryptos_max, int64_t hold_us); /* NULL: no memory */
void qm_alerts_free(struct qm_alerts *alerts);

/* What the log says was told last. */
void qm_alerts_told(struct qm_alerts *alerts, uint32_t crypto, enum qm_signal signal,
                    enum l2_arm arm, enum alert_state state, int64_t started_us,
                    enum qm_delivery delivery, int64_t version);
/* A change of state, of a crypto or (QM_ALL_CRYPTO) of the exchange itself; real time in µs for the
 * wait. false: no memory, nothing is known of it. */
bool qm_alerts_put(struct qm_alerts *alerts, uint32_t crypto, const struct qm_transition *t,
                   int64_t now_us);
/* A state that was told and has not changed since: told again as `state` if that differs. */
bool qm_alerts_settle(struct qm_alerts *alerts, uint32_t crypto, enum qm_signal signal,
                      enum l2_arm arm, enum alert_state state, int64_t time_us, int64_t now_us);
/* Changes of these signals (bit each) are stored only. A breach that was, of a signal that is not
 * among them any more, waits to be told from now_us on. */
void qm_alerts_inhibit(struct qm_alerts *alerts, uint32_t signals, int64_t now_us);
/* As told last, sent or stored; ALERT_OK: never. */
enum alert_state qm_alerts_told_last(const struct qm_alerts *alerts, uint32_t crypto,
                                     enum qm_signal signal, enum l2_arm arm);

/* The next change to be told; false: none is due. having: cryptos that have data of the signal. */
bool qm_alerts_next(struct qm_alerts *alerts, int64_t now_us,
                    unsigned (*having)(void *user, enum qm_signal signal, enum l2_arm arm),
                    void *user, struct qm_alert_out *ret_out);
/* Changes that wait; 0: nothing is left to tell. */
unsigned qm_alerts_waiting(const struct qm_alerts *alerts);

#endif
