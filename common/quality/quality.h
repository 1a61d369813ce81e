/*
 * quality.h: `l2_quality_reference.json`, the references (l2/reference.h) of all cryptos of a
 * model: read, printed, written. docs/formats.md describes the fields. What is printed is read back
 * to the bit; what is read is bounded and checked, and an error names file, crypto, field, value
 * and the way out.
 */
#ifndef QUALITY_H
#define QUALITY_H

#include "base/err.h"
#include "l2/reference.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUALITY_FORMAT 1
#define QUALITY_CRYPTOS_MAX 8192
#define QUALITY_FILE_BYTES_MAX (64 << 20)

struct quality_file {
    char version[L2_REFERENCE_VERSION_BYTES_MAX + 1];
    char exchange[L2_SYMBOL_BYTES_MAX + 1];
    uint32_t bar_s;
    int64_t from_us, to_us; /* the training window asked for; each crypto has its own bars' */
    uint32_t cryptos_n;
    struct l2_reference *crypto; /* rising by symbol */
};

/* [A-Za-z0-9._:+-]{1,64} */
bool quality_version_ok(const char *version);

/* `name` is for messages. On success the caller frees with quality_free. REJECT: what is wrong
 * with the text. */
enum err_class quality_parse(const char *json, size_t n, const char *name,
                             struct quality_file *ret_file, struct err *err) MUST_CHECK;
enum err_class quality_read(const char *path, struct quality_file *ret_file,
                            struct err *err) MUST_CHECK;
/*
 * Out-of-fold figures into the cryptos of a file: {SYMBOL: {"f1_buy": {"value", "low", "high"},
 * "agreement": …, "blind_f1_buy": …}}, each of them optional. REJECT, and the file is then partly
 * filled: what is wrong with the text; a symbol that the file has not.
 */
enum err_class quality_parse_estimates(const char *json, size_t n, const char *name,
                                       struct quality_file *file, struct err *err) MUST_CHECK;
enum err_class quality_read_estimates(const char *path, struct quality_file *file,
                                      struct err *err) MUST_CHECK;
void quality_free(struct quality_file *file); /* NULL-safe in its members */

/* NULL: none of that symbol. */
const struct l2_reference *quality_find(const struct quality_file *file, const char *symbol);

/* The text, ending in a line end and a NUL that *ret_n does not count; the caller frees it. */
enum err_class quality_print(const struct quality_file *file, char **ret_text, size_t *ret_n,
                             struct err *err) MUST_CHECK;
/* Names the content: "fnv1a-" and 16 hex digits of all that is printed but the version. Sets it in
 * the file and in each of its cryptos. */
enum err_class quality_name_by_content(struct quality_file *file, struct err *err) MUST_CHECK;
void quality_name(struct quality_file *file, const char *version); /* one that is ok */
/* PATH.tmp, synced, then renamed: PATH is whole, or what it was before. FATAL: the disk.
 * REJECT: PATH is there and no regular file. */
enum err_class quality_write(const struct quality_file *file, const char *path,
                             struct err *err) MUST_CHECK;

#endif
