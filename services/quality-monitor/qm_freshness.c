/* Ages of heartbeats and of what they tell of. */
#include "qm_freshness.h"

#include <stdlib.h>

struct qm_beaten {
    int64_t newest_us; /* snapshot; 0: no heartbeat came yet */
    int64_t beat_us;   /* when the newest heartbeat was sent */
};

bool qm_freshness_begin(struct qm_freshness *f, const struct clk *clk, unsigned cryptos_max)
{
    f->clk = clk;
    f->cryptos = calloc(cryptos_max, sizeof *f->cryptos);
    return f->cryptos != NULL;
}

void qm_freshness_end(struct qm_freshness *f)
{
    free(f->cryptos);
}

static void raise_to(int64_t *to, int64_t us, int64_t now_us)
{
    us = us < now_us ? us : now_us; /* a clock that is ahead hides no silence that comes */
    if (us > *to)
        *to = us;
}

void qm_freshness_beat(struct qm_freshness *f, uint32_t crypto, int64_t newest_us, int64_t beat_us)
{
    const int64_t now_us = clk_now_us(f->clk);

    raise_to(&f->cryptos[crypto].newest_us, newest_us, now_us);
    raise_to(&f->cryptos[crypto].beat_us, beat_us, now_us);
    raise_to(&f->newest_beat_us, beat_us, now_us);
}

/* Heartbeats come once a real second, which may be many of a rehearsal: that long the last one's
 * own reading stands. */
static double rehearsed_age_s(const struct clk *clk, const struct qm_beaten *c, int64_t now_us)
{
    const int64_t since_us = now_us - c->beat_us - clk_grace_us(clk, 0);

    return (double)(c->beat_us - c->newest_us + (since_us > 0 ? since_us : 0)) / 1e6;
}

double qm_freshness_step(struct qm_freshness *f, struct qm_core *core, int64_t now_us)
{
    double worst = 0;

    for (unsigned i = 0; i < qm_core_cryptos(core); i++) {
        if (f->cryptos[i].newest_us == 0)
            continue;
        const double age_s = clk_is_rehearsal(f->clk)
                                 ? rehearsed_age_s(f->clk, &f->cryptos[i], now_us)
                                 : (double)(now_us - f->cryptos[i].newest_us) / 1e6;
        (void)qm_core_freshness(core, qm_core_symbol(core, i), age_s, now_us);
        if (age_s > worst)
            worst = age_s;
    }
    return worst;
}

/* Until a heartbeat came since the start, what a predecessor told of it. */
static bool is_silent(const struct qm_freshness *f, const struct qm_alerts *alerts)
{
    const enum alert_state state =
        f->silent.had_data
            ? f->silent.state
            : qm_alerts_told_last(alerts, QM_ALL_CRYPTO, QM_PRODUCER_SILENT, L2_ARM_NONE);

    return state == ALERT_P2;
}

void qm_freshness_step_silence(struct qm_freshness *f, struct qm_alerts *alerts, int64_t now_us)
{
    const struct qm_row *row = &qm_rows[QM_PRODUCER_SILENT];
    const double threshold_s = (double)clk_grace_us(f->clk, (int64_t)(row->p2_above * 1e6)) / 1e6;
    const double age_s = (double)(now_us - f->newest_beat_us) / 1e6;
    const enum alert_state previous = f->silent.state;

    if (f->newest_beat_us == 0)
        return; /* there was none since the start: nothing is known yet */
    if (is_silent(f, alerts))
        f->silence_over_us = now_us; /* so far */
    if (alert_step(&f->silent, &row->rule, age_s > threshold_s ? ALERT_P2 : ALERT_OK, now_us) &&
        previous != ALERT_NO_DATA) {
        if (f->silent.state == ALERT_P2)
            f->silent_since_us = f->silent.since_us;
        const struct qm_transition t = {.signal = QM_PRODUCER_SILENT,
                                        .previous = previous,
                                        .state = f->silent.state,
                                        .since_us = f->silent.since_us,
                                        .started_us = f->silent_since_us,
                                        .has_value = true,
                                        .value = age_s,
                                        .threshold = threshold_s,
                                        .n = 1};
        (void)qm_alerts_put(alerts, QM_ALL_CRYPTO, &t, clk_mono_us());
    }
    if (previous == ALERT_NO_DATA) /* a predecessor may have told of a silence */
        (void)qm_alerts_settle(alerts, QM_ALL_CRYPTO, QM_PRODUCER_SILENT, L2_ARM_NONE,
                               f->silent.state, now_us, clk_mono_us());
}

/* What a silence did to freshness is over only as long after it as its rule asks for. */
bool qm_freshness_is_silence_felt(const struct qm_freshness *f, const struct qm_alerts *alerts)
{
    const int64_t lingers_us =
        clk_grace_us(f->clk, qm_rows[QM_FRESHNESS].rule.leave_us) + clk_grace_us(f->clk, 0);

    return is_silent(f, alerts) ||
           (f->silence_over_us != 0 && clk_now_us(f->clk) - f->silence_over_us <= lingers_us);
}
