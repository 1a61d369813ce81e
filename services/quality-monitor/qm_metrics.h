/* qm_metrics.h: what the monitor counts; the rows are in qm_metrics.c. */
#ifndef QM_METRICS_H
#define QM_METRICS_H

#include "alerts/sinks.h"
#include "metrics/metrics.h"

enum metric {
    M_RECORDS,
    M_FOREIGN,
    M_UNDECODABLE,
    M_ONE_TOO_MANY,
    M_AHEAD,
    M_LATE,
    M_SIGNALS,
    M_OUTCOMES,
    M_ALERTS,
    M_ALERTS_FIRING,
    M_P2, /* by enum qm_signal, as the next two */
    M_WARN,
    M_NO_DATA,
    M_WORST_FRESHNESS,
    M_CRYPTOS,
    M_CAUGHT_UP,
    M_COMMITS,
    M_COMMIT_SECONDS,
    M_ANEW,
    M_HEARTBEAT,
    M_PROOFS,
    M_SINKS, /* and the others of SINKS_METRIC_ROWS */
    M_REGISTRY = M_SINKS + SINKS_METRICS, /* and those of CONNECT_REGISTRY_METRIC_ROWS */
};

extern const struct metric_row qm_metric_rows[];

#endif
