/* en_metrics.h: what the engine counts; the rows are in en_metrics.c. */
#ifndef EN_METRICS_H
#define EN_METRICS_H

#include "metrics/metrics.h"

enum metric {
    M_CANDLES,
    M_PASSED_OVER,
    M_FEATURES,
    M_MISFITS,
    M_PREDICTIONS,
    M_EXECUTED,
    M_REASONS,
    M_WITHOUT_FEATURE,
    M_COMMITS,
    M_WAITING,
    M_PARTITIONS,
    M_RESTORE_SECONDS,
    M_REGISTRY, /* and the others of CONNECT_REGISTRY_METRIC_ROWS */
};

extern const struct metric_row en_metric_rows[];

#endif
