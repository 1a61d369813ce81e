/* ba_metrics.h: what the archiver counts; the rows are in ba_metrics.c. */
#ifndef BA_METRICS_H
#define BA_METRICS_H

#include "metrics/metrics.h"

enum metric {
    M_ROWS,
    M_SAME,
    M_REFUSED,
    M_REJECTED,
    M_UNDECODABLE,
    M_BATCHES,
    M_BATCH_SECONDS,
    M_RETRIES,
    M_DATABASE_UP,
    M_PARTITIONS,
    M_WAITING,
    M_LAG,
    M_HELD_SECONDS,
    M_REGISTRY, /* and the others of CONNECT_REGISTRY_METRIC_ROWS */
};

extern const struct metric_row ba_metric_rows[];

#endif
