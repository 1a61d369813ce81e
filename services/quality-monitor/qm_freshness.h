/*
 * qm_freshness.h: what heartbeats say by the clock: how old each crypto's newest snapshot is, that
 * no heartbeat comes at all, and which alerts that makes idle. No I/O.
 */
#ifndef QM_FRESHNESS_H
#define QM_FRESHNESS_H

#include "core/qm_alerts.h"
#include "core/qm_core.h"

#include "clk/clk.h"

struct qm_beaten;

/* A zeroed struct, once it is begun. */
struct qm_freshness {
    const struct clk *clk;
    struct qm_beaten *cryptos; /* by the crypto's number */
    struct alert silent;       /* of all heartbeats */
    int64_t newest_beat_us;    /* 0: none came since the start */
    int64_t silent_since_us, silence_over_us; /* silence_over_us 0: none was */
};

/* clk is borrowed; cryptos_max: their numbers are below. false: no memory. */
bool qm_freshness_begin(struct qm_freshness *f, const struct clk *clk, unsigned cryptos_max);
void qm_freshness_end(struct qm_freshness *f);

/* A heartbeat of the crypto: its newest snapshot's time, and when that was said. */
void qm_freshness_beat(struct qm_freshness *f, uint32_t crypto, int64_t newest_us, int64_t beat_us);

/* The live freshness of each crypto feeds its alert; the record of it is that of predictions. The
 * worst one, in seconds. */
double qm_freshness_step(struct qm_freshness *f, struct qm_core *core, int64_t now_us);
/* No heartbeat of any crypto: one alert for all, which speaks for their freshness too. */
void qm_freshness_step_silence(struct qm_freshness *f, struct qm_alerts *alerts, int64_t now_us);
/* Is there a silence, or does what it did to freshness linger? */
bool qm_freshness_is_silence_felt(const struct qm_freshness *f, const struct qm_alerts *alerts);

#endif
