/* What all commands read from a command line and from a configuration. */
#include "mon.h"

#include "connect/connect.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const struct config_row mon_config_rows[] = {
    {"topic_prefix", CONFIG_STRING, "", "0", "64", "stands before every topic's name"},
    CONNECT_KAFKA_ROWS,
    CONNECT_PG_ROWS,
    CONNECT_REGISTRY_ROWS,
    {.name = NULL},
};
static_assert(sizeof mon_config_rows / sizeof *mon_config_rows <= CONFIG_ROWS_MAX,
              "config_load's bound");

int mon_fail(const struct err *err)
{
    fprintf(stderr, "l2monitor: %s\n", err->text);
    switch (err->class) {
    case ERR_OK:
        break;
    case ERR_RETRY:
        return MON_UNAVAILABLE;
    case ERR_REJECT:
        return MON_CONFIG;
    case ERR_FATAL:
        return MON_INTERNAL;
    }
    return MON_OK;
}

int mon_flush_stdout(void)
{
    /* what an earlier write lost, a flush does not tell */
    if (!ferror(stdout) && fflush(stdout) == 0)
        return MON_OK;
    fprintf(stderr, "l2monitor: stdout: %s\n", errno != 0 ? strerror(errno) : "cannot be written");
    return MON_IO;
}

bool mon_parse(const char *text, int64_t min, int64_t max, int64_t *ret)
{
    char *end;

    errno = 0;
    const long long v = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || v < min || v > max)
        return false;
    *ret = v;
    return true;
}

bool mon_parse_time(const char *text, int64_t *ret_us)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);

    if (end == NULL || *end != '\0') {
        tm = (struct tm){0};
        end = strptime(text, "%Y-%m-%d", &tm);
    }
    if (end == NULL || *end != '\0')
        return false;
    *ret_us = (int64_t)timegm(&tm) * 1000000;
    return true;
}
