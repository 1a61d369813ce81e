#include "quality/quality.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err_class load(FILE *in, const char *path, char **ret_text, size_t *ret_n,
                           struct err *err)
{
    size_t room = 1 << 16, n = 0;
    char *text = malloc(room);

    while (text != NULL) {
        n += fread(text + n, 1, room - n, in);
        if (n < room || n > QUALITY_FILE_BYTES_MAX)
            break;
        char *const more = realloc(text, room *= 2);
        if (more == NULL)
            free(text);
        text = more;
    }
    enum err_class e = ERR_OK;
    if (text == NULL)
        e = err_set(err, ERR_FATAL, "%s: out of memory", path);
    else if (ferror(in))
        e = err_set(err, ERR_REJECT, "%s: %s", path, strerror(errno));
    else if (n > QUALITY_FILE_BYTES_MAX)
        e = err_set(err, ERR_REJECT, "%s: more than %d MiB: this is no reference", path,
                    QUALITY_FILE_BYTES_MAX >> 20);
    if (e != ERR_OK) {
        free(text);
        return e;
    }
    *ret_text = text;
    *ret_n = n;
    return ERR_OK;
}

static enum err_class load_path(const char *path, char **ret_text, size_t *ret_n, struct err *err)
{
    FILE *const in = fopen(path, "rb");

    if (in == NULL)
        return err_set(err, ERR_REJECT, "%s: %s", path, strerror(errno));
    const enum err_class e = load(in, path, ret_text, ret_n, err);
    (void)fclose(in);
    return e;
}

enum err_class quality_read(const char *path, struct quality_file *ret_file, struct err *err)
{
    char *text = NULL;
    size_t n = 0;

    enum err_class e = load_path(path, &text, &n, err);
    if (e == ERR_OK)
        e = quality_parse(text, n, path, ret_file, err);
    free(text);
    return e;
}

enum err_class quality_read_estimates(const char *path, struct quality_file *file, struct err *err)
{
    char *text = NULL;
    size_t n = 0;

    enum err_class e = load_path(path, &text, &n, err);
    if (e == ERR_OK)
        e = quality_parse_estimates(text, n, path, file, err);
    free(text);
    return e;
}

void quality_free(struct quality_file *file)
{
    free(file->crypto);
    *file = (struct quality_file){.cryptos_n = 0};
}

static int compare(const void *symbol, const void *reference)
{
    return strcmp(symbol, ((const struct l2_reference *)reference)->symbol);
}

const struct l2_reference *quality_find(const struct quality_file *file, const char *symbol)
{
    return file->cryptos_n == 0
               ? NULL
               : bsearch(symbol, file->crypto, file->cryptos_n, sizeof *file->crypto, compare);
}

/* false: errno says why */
static bool store(FILE *out, const char *text, size_t n)
{
    const bool ok = fwrite(text, 1, n, out) == n && fflush(out) == 0 && fsync(fileno(out)) == 0;
    const int why = errno;

    if (fclose(out) != 0)
        return false;
    errno = why;
    return ok;
}

enum err_class quality_write(const struct quality_file *file, const char *path, struct err *err)
{
    char tmp[PATH_MAX], *text = NULL;
    struct stat is;
    size_t n = 0;

    if (lstat(path, &is) == 0 && !S_ISREG(is.st_mode)) /* the rename would put an end to it */
        return err_set(err, ERR_REJECT, "%s: not a regular file", path);
    if (snprintf(tmp, sizeof tmp, "%s.tmp", path) >= (int)sizeof tmp)
        return err_set(err, ERR_REJECT, "%.80s…: a path too long", path);
    if (quality_print(file, &text, &n, err) != ERR_OK)
        return err->class;
    FILE *const out = fopen(tmp, "wb");
    const bool ok = out != NULL && store(out, text, n) && rename(tmp, path) == 0;
    const int why = errno;

    free(text);
    if (ok)
        return ERR_OK;
    if (out != NULL)
        (void)unlink(tmp);
    return err_set(err, ERR_FATAL, "%s: cannot be written: %s", path, strerror(why));
}
