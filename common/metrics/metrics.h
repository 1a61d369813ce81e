/* metrics.h: a fixed registry → Prometheus text 0.0.4. Updates are relaxed atomics: any thread, no
 * lock, no allocation. */
#ifndef METRICS_H
#define METRICS_H

#include "base/err.h"

#include <stdint.h>
#include <stdio.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

#define METRICS_VALUES_MAX 32 /* of a label */
#define METRICS_BUCKETS_MAX 32
#define METRICS_ROWS_MAX 128

/*
 * One row a metric. A counter or gauge has no label, or one label with a fixed list of values (at
 * most METRICS_VALUES_MAX), such as reason. A histogram has no label.
 */
struct metric_row {
    const char *name; /* Prometheus naming: base units, _total, _seconds */
    enum metric_kind kind;
    const char *help;
    const char *label; /* NULL: none */
    const char *const *values; /* NULL-terminated; index = the `which` below */
    const double *buckets; /* histogram: rising upper bounds, ended by INFINITY */
};

struct metrics;

/*
 * `rows` ends with name NULL and is borrowed; metric ids are row indices. A row that breaks the
 * rules above is our bug: asserts. The only allocation; every series exists, at 0, from here on.
 */
struct metrics *metrics_new(const struct metric_row *rows);
void metrics_free(struct metrics *metrics);

/* An id of another kind, or a `which` past the label's values, is our bug: asserts. */
/* counter; which = 0 without label */
void metrics_add(struct metrics *metrics, unsigned id, unsigned which, uint64_t n);
/* gauge */
void metrics_set(struct metrics *metrics, unsigned id, unsigned which, double value);
/* histogram; a NaN counts in the last bucket and adds nothing to the sum */
void metrics_observe(struct metrics *metrics, unsigned id, double value);
/* counter's or histogram's count */
uint64_t metrics_count(const struct metrics *metrics, unsigned id, unsigned which);
/* gauge's value */
double metrics_value(const struct metrics *metrics, unsigned id, unsigned which);

/*
 * The whole exposition, with HELP, TYPE, process_* (RSS, CPU, start time, open fds) and
 * l2flow_build_info. A histogram's count is that of its buckets, so that both agree; its sum may be
 * one observation ahead or behind.
 */
void metrics_write(const struct metrics *metrics, FILE *out);

#endif
