/* metrics.h: a fixed registry → Prometheus text 0.0.4. Updates are relaxed atomics: any thread, no lock, no allocation. */
#ifndef METRICS_H
#define METRICS_H

#include "base/err.h"

#include <stdint.h>
#include <stdio.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* One row a metric. A metric has no label, or one label with a fixed list of values (at most 32), such as reason. */
struct metric_row {
    const char *name; /* Prometheus naming: base units, _total, _seconds */
    enum metric_kind kind;
    const char *help;
    const char *label;          /* NULL: none */
    const char *const *values;  /* NULL-terminated; index = the `which` below */
    const double *buckets;      /* histogram: rising upper bounds, ended by INFINITY */
};

struct metrics;

/* `rows` ends with name NULL and is borrowed; metric ids are row indices. */
struct metrics *metrics_new(const struct metric_row *rows);
void metrics_free(struct metrics *metrics);

void metrics_add(struct metrics *metrics, unsigned id, unsigned which, uint64_t n); /* counter; which = 0 without label */
void metrics_set(struct metrics *metrics, unsigned id, unsigned which, double value); /* gauge */
void metrics_observe(struct metrics *metrics, unsigned id, double value);             /* histogram */
uint64_t metrics_count(const struct metrics *metrics, unsigned id, unsigned which);   /* counter's or histogram's count */
/* The whole exposition, with HELP, TYPE, process_* (RSS, CPU, start time, open fds) and l2flow_build_info. */
void metrics_write(const struct metrics *metrics, FILE *out);

#endif
