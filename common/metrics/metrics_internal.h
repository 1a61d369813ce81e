/* metrics_internal.h: what the files of this folder share. */
#ifndef METRICS_INTERNAL_H
#define METRICS_INTERNAL_H

#include <stdio.h>

/* "# HELP", "# TYPE" of one metric; help is escaped. */
void metrics_write_head(const char *name, const char *type, const char *help, FILE *out);
/* As Prometheus reads it: shortest digits that read back the same, NaN, +Inf, -Inf. */
void metrics_write_number(double value, FILE *out);

/* metrics_process.c: process_*, from /proc/self. What cannot be read is left out. */
void metrics_write_process(FILE *out);

#endif
