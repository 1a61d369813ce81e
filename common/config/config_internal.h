/* config_internal.h: what the files of this folder share. */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H

#include "config/config.h"

#include <stddef.h>

#define CONFIG_WHERE_BYTES 128
#define CONFIG_ENV_BYTES_MAX (CONFIG_KEY_BYTES_MAX + sizeof "L2_")
#define CONFIG_SHOWN_BYTES 72 /* a value or a key inside an error's one line */

enum origin_kind { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_ENVIRONMENT };

/* Where a value came from. `name` is the file or the variable, borrowed for the length of a call.
 */
struct origin {
    enum origin_kind kind;
    const char *name;
    unsigned line;
};

struct value {
    char *text;   /* as given, trimmed */
    char *secret; /* CONFIG_SECRET: the file's first line */
    uint64_t number;
    char where[CONFIG_WHERE_BYTES]; /* "" for a default */
    unsigned line;                  /* of the file, 0: not there */
};

struct pair {
    char *key;   /* whole, with its prefix */
    char *value;
    char where[CONFIG_WHERE_BYTES];
    unsigned line;
};

struct config {
    const struct config_row *rows;
    unsigned n_rows;
    struct value values[CONFIG_ROWS_MAX];
    struct pair pairs[CONFIG_PAIRS_MAX];
    unsigned n_pairs;
};

/* config_file.c: every `key = value` line of `file` goes through config_set_key. */
enum err_class config_read_file(struct config *config, const char *file,
                                struct err *err) MUST_CHECK;

/* config.c: one key of the file. */
enum err_class config_set_key(struct config *config, const char *key, const char *text,
                              const struct origin *origin, struct err *err) MUST_CHECK;

/* config_value.c */
/* ERR_OK, or what is wrong with `text` for that row; *ret_number is set for UINT and BOOL. */
enum err_class config_check_value(const struct config_row *row, const char *text,
                                  const struct origin *origin, uint64_t *ret_number,
                                  struct err *err) MUST_CHECK;
/* First line of the file at `path`, to be freed by the caller. */
enum err_class config_read_secret(const struct config_row *row, const char *path, const char *where,
                                  char **ret_secret, struct err *err) MUST_CHECK;
/* True when a key of a family holds the secret itself, in any spelling. */
bool config_is_secret_key(const char *key);
/* True when its value may hold one among other things: taken, never shown. */
bool config_may_hide_secret(const char *key);
/* ERR_REJECT, without the value: it holds a login. */
enum err_class config_check_login(const char *key, const char *text, const struct origin *origin,
                                  struct err *err) MUST_CHECK;

/* config_text.c: pieces of errors and tables. Each returns `buf`. */
/* One line of `text`: control characters as '?', its end cut off with "...". */
const char *config_show(const char *text, char *buf, size_t size);
/* "file:12" (the file's end when it is long), the variable's name, or "default". */
const char *config_where(const struct origin *origin, char *buf, size_t size);
/* The environment variable of a row; of a family, its prefix. */
const char *config_variable(const struct config_row *row, char *buf, size_t size);
/* "0 to 600", "0 or 1", "development or production", "1 to 32 characters", "a file's path". */
const char *config_bounds(const struct config_row *row, char *buf, size_t size);
/* The row's name that is nearest to `key`, NULL when none is near. `type` −1: any. */
const char *config_nearest(const struct config *config, const char *key, int type);

#endif
