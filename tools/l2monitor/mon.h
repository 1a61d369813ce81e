/*
 * mon.h: what l2monitor's commands share. A command is a row of the table in main.c: name, one line
 * for the overview, argp (from which help and completion come) and a function that returns the exit
 * code.
 */
#ifndef MON_H
#define MON_H

#include "base/err.h"
#include "config/config.h"

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

/* Exit codes, for scripts; the words are in every --help. */
enum mon_exit {
    MON_OK = 0,
    MON_TOO_LITTLE = 1, /* too little history: nothing was written */
    MON_USAGE = 64,
    MON_DATA = 65,        /* a damaged file, bars that contradict each other */
    MON_NO_INPUT = 66,    /* no such file */
    MON_UNAVAILABLE = 69, /* no broker, database or schema registry answers */
    MON_INTERNAL = 70,
    MON_IO = 74, /* the output cannot be written, a full disk */
    MON_CONFIG = 78,
    MON_INTERRUPTED = 130, /* ^C: nothing was written */
};

#define MON_EXITS_HELP                                                                             \
    "Exit codes: 0 done; 1 too little history, nothing was written; 64 usage; 65 damaged or "      \
    "contradictory data; 66 no such file; 69 no broker, database or schema registry answers; "     \
    "70 internal; 74 output cannot be written; 78 configuration or an absent topic; 130 "          \
    "interrupted, nothing was "                                                                    \
    "written."

struct mon_command {
    const char *name;
    const char *summary;
    const struct argp *argp;
    const char *const *words; /* what may stand behind the name, for completion; ends with NULL */
    int (*main)(int argc, char **argv);
};

/* Ends with a row without a name; by order of --help. */
extern const struct mon_command mon_commands[];

int mon_reference_main(int argc, char **argv);
int mon_backtest_main(int argc, char **argv);
int mon_completion_main(int argc, char **argv);
extern const struct argp mon_reference_argp, mon_backtest_argp, mon_completion_argp;
extern const char *const mon_reference_words[], *const mon_backtest_words[],
                                                    *const mon_completion_words[];

/* "l2monitor: text" on stderr, one line; returns the exit code of the class (REJECT:
 * MON_CONFIG). */
int mon_fail(const struct err *err);
/* What was printed is out: MON_OK; else a line on stderr, and MON_IO. To be called at once, while
 * errno is that of what was lost. */
int mon_flush_stdout(void);
/* False: not a decimal number within [min, max]. */
bool mon_parse(const char *text, int64_t min, int64_t max, int64_t *ret);
/* False: neither 2026-01-31 nor 2026-01-31T12:00:00Z. */
bool mon_parse_time(const char *text, int64_t *ret_us);

/* One file serves all commands. */
extern const struct config_row mon_config_rows[];

#endif
