/*
 * mon_findings.h: what the monitor's core said of a history, kept small: of each crypto, signal and
 * arm its episodes, how often it was evaluated, and its values, least and greatest of each of
 * MON_BUCKETS_MAX stretches of time. Whatever the history's length, memory is the cryptos'.
 */
#ifndef MON_FINDINGS_H
#define MON_FINDINGS_H

#include "core/qm_alerts.h"
#include "core/qm_core.h"

#include <stdbool.h>
#include <stdint.h>

#define MON_BUCKETS_MAX 480
#define MON_EPISODES_MAX 200000 /* further ones are counted, not kept */

/* The value furthest past the threshold of a level. */
struct mon_peak {
    bool is_there;
    double excess, value, threshold;
    int64_t time_us, n;
};

/* From leaving ok to ok again. */
struct mon_episode {
    uint32_t crypto;
    uint8_t signal, arm, worst; /* enum qm_signal, l2_arm, alert_state */
    bool is_open;               /* still at the history's end, which is then end_us */
    bool began_before;          /* the time that is looked at */
    int64_t start_us, end_us;
    int64_t in_us[ALERT_P2 + 1]; /* how long it was in each state */
    struct mon_peak peak;        /* of its worst level; none of no_data */
};

struct mon_series {
    uint64_t evaluated_n, valued_n; /* records of l2.quality; those with a value */
    uint64_t no_data_n;             /* without one after the first value */
    int64_t valued_from_us, last_us;
    bool has_measurable_from;
    int64_t measurable_from_us;
    double warn_below, warn_above, p2_below, p2_above; /* the newest; NAN: none */
    float *low, *high;               /* by bucket; NAN: no value */
    float *below,
        *above; /* thresholds by bucket, of a signal that has its own at each time; NULL */
    /* the episode that is open */
    bool is_open;
    struct mon_episode open;
    enum alert_state state;
    int64_t state_us;
    struct mon_peak peaks[2]; /* warn, p2 */
};

struct mon_notifications {
    uint64_t sent, groups, grouped, inhibited; /* groups: of those sent */
};

struct mon_findings {
    int64_t from_us, to_us; /* what is looked at: bars that close after from, up to to */
    int64_t bucket_us;
    unsigned buckets_n;
    struct mon_series **series; /* [crypto][signal][arm]; NULL: was never evaluated */
    uint32_t cryptos_n;
    struct mon_episode *episodes; /* by start, signal, symbol, arm once finished */
    uint32_t episodes_n, episodes_room;
    uint64_t episodes_lost;
    struct mon_notifications told[QM_SIGNALS];
    bool is_out_of_memory;
};

void mon_findings_init(struct mon_findings *f, int64_t from_us, int64_t to_us, int64_t bar_us,
                       uint32_t cryptos_n);
void mon_findings_free(struct mon_findings *f);

/* As the core's sink gives them; `crypto` is the core's number. */
void mon_findings_signal(struct mon_findings *f, uint32_t crypto, const struct qm_signal_out *out,
                         int64_t bar_us);
void mon_findings_transition(struct mon_findings *f, uint32_t crypto,
                             const struct qm_transition *t);
void mon_findings_alert(struct mon_findings *f, const struct qm_alert_out *out);
/* Ends what is open at to_us, and sorts. symbol: by the core's number. */
void mon_findings_finish(struct mon_findings *f, const char *(*symbol)(void *user, uint32_t crypto),
                         void *user);

/* NULL: it was never evaluated. */
const struct mon_series *mon_findings_series(const struct mon_findings *f, uint32_t crypto,
                                             enum qm_signal signal, enum l2_arm arm);

/* What a signal costs at one severity. */
struct mon_cost {
    uint32_t episodes, cryptos, open;
    double per_month; /* NAN: no time was evaluated */
    int64_t median_us, longest_us;
};
struct mon_cover {
    uint32_t cryptos;   /* with a value */
    int64_t us;         /* crypto-time from its first value to its last evaluation */
    uint64_t evaluated; /* values */
};
struct mon_cover mon_findings_cover(const struct mon_findings *f, enum qm_signal signal);
/* false: no memory. */
bool mon_findings_cost(const struct mon_findings *f, enum qm_signal signal, enum alert_state worst,
                       struct mon_cost *ret_cost);

#endif
