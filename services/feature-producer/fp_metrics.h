/* fp_metrics.h: what the producer counts; the rows are in fp_metrics.c. */
#ifndef FP_METRICS_H
#define FP_METRICS_H

#include "metrics/metrics.h"

enum metric {
    M_READ,
    M_TAKEN,
    M_DUPLICATES,
    M_LATE,
    M_GAPS,
    M_DEAD_LETTERS,
    M_BARS,
    M_FEATURES,
    M_RETIRED,
    M_ADOPTED,
    M_COMMITS,
    M_HEARTBEATS_LOST,
    M_SYMBOLS,
    M_PARTITIONS,
    M_EVENT_LAG,
    M_BUFFER_FREE,
    M_RESTORE_SECONDS,
    M_PARTITIONS_HELD,
    M_HELD_SECONDS,
    M_REGISTRY, /* and the others of CONNECT_REGISTRY_METRIC_ROWS */
};

extern const struct metric_row fp_metric_rows[];

#endif
