/*
 * watch.h: notices that this process stood still (stopped, its machine paused) for longer than its
 * session: another may hold its place by now, and whatever it did to go on would throw that one
 * out. Private to common/bus.
 */
#ifndef BUS_WATCH_H
#define BUS_WATCH_H

#include "base/err.h"

#include <stdbool.h>

struct watch;

/* A thread that ticks. ERR_FATAL: there is none to be had. */
enum err_class watch_new(unsigned session_timeout_ms, struct watch **ret_watch,
                         struct err *err) MUST_CHECK;
void watch_free(struct watch *watch); /* NULL-safe */
/* Any thread: true from the first moment after such a stop, for ever. */
bool watch_expired(struct watch *watch);
enum err_class watch_err(const struct watch *watch, struct err *err); /* ERR_FATAL */

#endif
