/*
 * ctl.h: what l2ctl's commands share. A command is a row of the table in main.c: name, one line for
 * the overview, argp (from which help and completion come) and a function that returns the exit
 * code.
 */
#ifndef CTL_H
#define CTL_H

#include "base/err.h"
#include "bus/bus.h"
#include "config/config.h"
#include "connect/connect.h"
#include "topics/topics.h"

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

/* Exit codes, for scripts; the words are in every --help. */
enum ctl_exit {
    CTL_OK = 0,
    CTL_DIFFERENT =
        1,     /* topics check: not as they should be; topics apply: not to be mended in place */
    CTL_USAGE = 64,
    CTL_DATA = 65,         /* a damaged file: what stands before the damage was printed */
    CTL_NO_INPUT = 66,     /* no such file */
    CTL_UNAVAILABLE = 69,  /* no broker, database or schema registry answers */
    CTL_INTERNAL = 70,
    CTL_IO = 74,           /* the output cannot be written, a full disk */
    CTL_CONFIG = 78,       /* configuration, or a topic that is absent */
    CTL_INTERRUPTED = 130, /* Ctrl-C before the end */
};

#define CTL_EXITS_HELP                                                                             \
    "Exit codes: 0 done; 1 topics or acls differ, migrations are pending; 64 usage; 65 damaged "   \
    "file; 66 no such file; 69 no broker, database or schema registry answers; 70 internal; "      \
    "74 output cannot be written; 78 configuration or an absent topic; 130 interrupted."

struct ctl_command {
    const char *name;
    const char *summary;
    const struct argp *argp;
    const char *const *words; /* what may stand behind the name, for completion; ends with NULL */
    int (*main)(int argc, char **argv);
};

extern const struct ctl_command
    ctl_commands[]; /* ends with a row without a name; by order of --help */

int ctl_topics_main(int argc, char **argv);
int ctl_acls_main(int argc, char **argv);
int ctl_tail_main(int argc, char **argv);
int ctl_db_main(int argc, char **argv);
int ctl_completion_main(int argc, char **argv);
extern const struct argp ctl_topics_argp, ctl_acls_argp, ctl_tail_argp, ctl_completion_argp;
extern const struct argp ctl_db_argp;
extern const char *const ctl_topics_words[],
    *const ctl_acls_words[], *const ctl_tail_words[], *const ctl_completion_words[];
extern const char *const ctl_db_words[];

/* "l2ctl: text" on stderr, one line; returns the exit code of the class (REJECT: CTL_CONFIG). */
int ctl_fail(const struct err *err);
/* False: not a decimal number within [min, max]. */
bool ctl_parse(const char *text, int64_t min, int64_t max, int64_t *ret);

/* One file serves all commands. */
extern const struct config_row ctl_config_rows[];

/* ---- the cluster: --bootstrap, --config, --topic-prefix */

struct ctl_cluster_options {
    const char *bootstrap, *config_file, *prefix; /* NULL: not given */
};
/* A child parser whose input is a struct ctl_cluster_options. */
extern const struct argp ctl_cluster_argp;

#define CTL_TIMEOUT_MS 10000

struct ctl_cluster {
    struct config *config; /* settings and prefix borrow from it */
    struct connect_kafka kafka;
    const char *prefix;
};

/* Connects to nothing. ctl_cluster_close is NULL-safe in its members. */
enum err_class ctl_cluster_open(const struct ctl_cluster_options *options,
                                struct ctl_cluster *ret_cluster, struct err *err) MUST_CHECK;
void ctl_cluster_close(struct ctl_cluster *cluster);

#endif
