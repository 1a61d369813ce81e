#include "en_metrics.h"

#include "connect/connect.h"
#include "en_wire.h"

/* In the order of the enums; a test holds these words and the schemas' together. */
static const char *const arms[] = {"none", "no_l2", "champion_l2", "candidate_l2", NULL};
static const char *const reasons[] = {"rollout",  "kill_switch", "paused",     "latch",
                                      "warmup",   "freshness",   "no_feature", "contract",
                                      "nan_rate", "no_rollout",  "no_model",   NULL};
static_assert(sizeof arms / sizeof arms[0] == L2_ARMS + 1, "each arm");
static_assert(sizeof reasons / sizeof reasons[0] == L2_ROUTE_REASONS + 1, "each reason");

const struct metric_row en_metric_rows[] = {
    [M_CANDLES] = {.name = "l2flow_engine_candles_total",
                   .kind = METRIC_COUNTER,
                   .help = "candles read, good or bad"},
    [M_PASSED_OVER] = {.name = "l2flow_engine_passed_over_total",
                       .kind = METRIC_COUNTER,
                       .help = "records of any input that were not used, by reason",
                       .label = "reason",
                       .values = en_reject_names},
    [M_FEATURES] = {.name = "l2flow_engine_features_total",
                    .kind = METRIC_COUNTER,
                    .help = "feature records read"},
    [M_MISFITS] = {.name = "l2flow_engine_misfits_total",
                   .kind = METRIC_COUNTER,
                   .help = "feature records that differ from what the model pins"},
    [M_PREDICTIONS] = {.name = "l2flow_engine_predictions_total",
                       .kind = METRIC_COUNTER,
                       .help = "predictions made, executed or not, by arm",
                       .label = "arm",
                       .values = arms},
    [M_EXECUTED] = {.name = "l2flow_engine_executed_total",
                    .kind = METRIC_COUNTER,
                    .help = "bars decided, by the arm that is executed",
                    .label = "arm",
                    .values = arms},
    [M_REASONS] = {.name = "l2flow_engine_routed_total",
                   .kind = METRIC_COUNTER,
                   .help = "bars decided, by the reason for the arm that is executed",
                   .label = "reason",
                   .values = reasons},
    [M_WITHOUT_FEATURE] = {.name = "l2flow_engine_without_feature_total",
                           .kind = METRIC_COUNTER,
                           .help = "bars in which an L2 arm was to predict and had no record"},
    [M_COMMITS] = {.name = "l2flow_engine_commits_total",
                   .kind = METRIC_COUNTER,
                   .help = "transactions committed"},
    [M_WAITING] = {.name = "l2flow_engine_bars_waiting",
                   .kind = METRIC_GAUGE,
                   .help = "bars that wait for their feature record"},
    [M_PARTITIONS] = {.name = "l2flow_engine_partitions",
                      .kind = METRIC_GAUGE,
                      .help = "input partitions assigned"},
    [M_RESTORE_SECONDS] = {.name = "l2flow_engine_restore_seconds",
                           .kind = METRIC_GAUGE,
                           .help = "time that reading l2.predictions took at the last assignment"},
    CONNECT_REGISTRY_METRIC_ROWS,
    {.name = NULL},
};
