/* log.h: one JSON line a record, to stderr. Called by services and tools at the top; libraries and
 * cores never log. */
#ifndef LOG_H
#define LOG_H

#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* `service` is borrowed for the life of the process. Lines below `level` are dropped. */
void log_init(const char *service, enum log_level level);

/*
 * {"time":"…Z","level":"info","service":"feature-producer","event":"bar_closed", …fields}. `event`
 * is a fixed snake_case name that a program can match; fields come as typed pairs ended by NULL:
 *     log_event(LOG_INFO, "started", "topic", LOG_STR, topic, "partitions", LOG_INT, (int64_t)n,
 * NULL); One write(2) a line, at most 4 KiB. A string over 1 KiB is cut, a field that does not fit
 * any more is left out; the line then ends with "cut":true. Strings are escaped; invalid UTF-8
 * becomes U+FFFD; NaN and infinities become null. Times are real time. Any thread may call it,
 * after log_init.
 */
enum log_field { LOG_STR = 1, LOG_INT /* int64_t */, LOG_DOUBLE, LOG_BOOL /* int */ };
void log_event(enum log_level level, const char *event, ...) __attribute__((sentinel));

#endif
