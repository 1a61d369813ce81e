#include "ba_metrics.h"

#include "ba_store.h"
#include "connect/connect.h"

#include <math.h>

static const char *const topic_values[] = {"l2.bars", "l2.ohlcv", NULL};
static const double second_buckets[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                        0.5,   1,    2.5,   5,    10,  INFINITY};

const struct metric_row ba_metric_rows[] = {
    [M_ROWS] = {.name = "l2flow_ba_rows_total",
                .kind = METRIC_COUNTER,
                .help = "rows stored",
                .label = "table",
                .values = ba_table_names},
    [M_SAME] = {.name = "l2flow_ba_rows_same_total",
                .kind = METRIC_COUNTER,
                .help = "rows that were there already, equal but for provenance",
                .label = "table",
                .values = ba_table_names},
    [M_REFUSED] = {.name = "l2flow_ba_changes_refused_total",
                   .kind = METRIC_COUNTER,
                   .help = "rows that would have changed a stored one: refused",
                   .label = "table",
                   .values = ba_table_names},
    [M_REJECTED] = {.name = "l2flow_ba_rows_rejected_total",
                    .kind = METRIC_COUNTER,
                    .help = "rows that PostgreSQL would not have: left out",
                    .label = "table",
                    .values = ba_table_names},
    [M_UNDECODABLE] = {.name = "l2flow_ba_undecodable_total",
                       .kind = METRIC_COUNTER,
                       .help = "records that are none of the topic's, or of another schema: "
                               "skipped",
                       .label = "topic",
                       .values = topic_values},
    [M_BATCHES] = {.name = "l2flow_ba_batches_total",
                   .kind = METRIC_COUNTER,
                   .help = "batches written"},
    [M_BATCH_SECONDS] = {.name = "l2flow_ba_batch_seconds",
                         .kind = METRIC_HISTOGRAM,
                         .help = "time that a batch took to write, its failed attempts apart",
                         .buckets = second_buckets},
    [M_RETRIES] = {.name = "l2flow_ba_batch_retries_total",
                   .kind = METRIC_COUNTER,
                   .help = "attempts to write a batch that failed"},
    [M_DATABASE_UP] = {.name = "l2flow_ba_database_up",
                       .kind = METRIC_GAUGE,
                       .help = "0 since an attempt to write failed, until one does not"},
    [M_PARTITIONS] = {.name = "l2flow_ba_partitions",
                      .kind = METRIC_GAUGE,
                      .help = "partitions of both topics assigned"},
    [M_WAITING] = {.name = "l2flow_ba_batches_waiting",
                   .kind = METRIC_GAUGE,
                   .help = "batches handed over and not written yet; at 2 reading stops"},
    [M_LAG] = {.name = "l2flow_ba_lag_seconds",
               .kind = METRIC_GAUGE,
               .help = "now minus the Kafka time of the newest record that is stored"},
    [M_HELD_SECONDS] = {.name = "l2flow_ba_held_seconds",
                        .kind = METRIC_GAUGE,
                        .help = "how long a batch has waited for the schema registry's answer; 0: "
                                "none waits"},
    CONNECT_REGISTRY_METRIC_ROWS,
    {.name = NULL},
};
