/* config.h: one table is parser, bounds, defaults, --help, --print-config, --check-config and
 * documentation. */
#ifndef CONFIG_H
#define CONFIG_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_ROWS_MAX 128
#define CONFIG_PAIRS_MAX 64 /* of all families together */
#define CONFIG_KEY_BYTES_MAX 128
#define CONFIG_VALUE_BYTES_MAX 4096 /* of a value, and of a secret */
#define CONFIG_FILE_BYTES_MAX 65536

enum config_type {
    CONFIG_UINT,   /* decimal, within [min, max] */
    CONFIG_BOOL,   /* 0 or 1 */
    CONFIG_STRING, /* min, max bound its length; "" when unset and default is "" */
    CONFIG_URL, /* as STRING: "http://…" or "https://…", no login in it, no slash at its end */
    CONFIG_ENUM,   /* `max` holds the choices, separated by '|' */
    CONFIG_SECRET, /* a file's path; the file is read at load, its first line is the value; never
                      printed */
    CONFIG_PREFIX, /* a family such as "kafka.": every key that starts with `name` is kept, in
                      order, for the client library */
};

/*
 * name: lower_snake keys are overridden by the environment variable L2_<NAME IN CAPITALS>; a name
 * in capitals is its own variable; a family "kafka." takes every variable L2_KAFKA_<KEY>,
 * lower-cased,
 * '_' for '.', unless another row has that very variable. `min` and `max` may be "": no bound but
 * CONFIG_VALUE_BYTES_MAX.
 */
struct config_row {
    const char *name;
    enum config_type type;
    const char *def;
    const char *min;
    const char *max;
    const char *help;
};

struct config; /* owned by the caller: config_free */

/*
 * `rows` ends with a row whose name is NULL and is borrowed. Order of precedence: environment, file
 * (NULL: none), default. An empty environment variable counts as unset; variables that no row owns
 * are not looked at. File: `key = value` lines, blank lines and lines that start with '#', at most
 * 64 KiB; a key may stand once.
 *
 * An unknown key, a value out of bounds or a missing secret file is ERR_REJECT with one line:
 * file:line or variable, key, value, bound and remedy. A secret's file must be a regular file with
 * a first line of 1 to 4,096 bytes that neither group nor others can write to (readable is allowed:
 * that is how Kubernetes mounts secrets). A family refuses keys that hold a secret themselves
 * (password, secret, key.pem): those need a CONFIG_SECRET row; their value is never shown. Neither
 * is any value that holds a login ("user:password@host", "password=…"): it is refused.
 */
enum err_class config_load(const struct config_row *rows, const char *file,
                           struct config **ret_config, struct err *err) MUST_CHECK;
void config_free(struct config *config);

/* True: the program's table has this row; for code that several programs share. */
bool config_has(const struct config *config, const char *name);
/* Asking for a name that is no row, or by another type, is our bug: asserts. Strings live as long
 * as the config. */
uint64_t config_uint(const struct config *config, const char *name);
bool config_bool(const struct config *config, const char *name);
const char *config_string(const struct config *config, const char *name); /* STRING, URL, ENUM */
const char *config_secret(const struct config *config,
                          const char *name); /* the secret itself, "" when unset */
/* The i-th pair of a CONFIG_PREFIX family, key without the prefix; false past the end. */
bool config_pair(const struct config *config, const char *prefix, unsigned i, const char **ret_key,
                 const char **ret_value);

/* key = value lines that config_load reads back, with a comment on what does not come from a
 * default; secrets show their file, never their content. Of a family's keys that may hold a secret
 * within other things (sasl.oauthbearer.config, sasl.kerberos.kinit.cmd) there is a comment alone.
 */
void config_print(const struct config *config, FILE *out);
/* The table for --help (at most 78 columns), and as Markdown for docs/reference. */
void config_help(const struct config_row *rows, FILE *out);
void config_markdown(const struct config_row *rows, FILE *out);

#endif
