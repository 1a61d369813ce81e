#include "config/config_internal.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static_assert(CONFIG_FILE_BYTES_MAX > CONFIG_VALUE_BYTES_MAX + CONFIG_KEY_BYTES_MAX,
              "a file holds at least one whole line");

/* The whole file into `buf` (size CONFIG_FILE_BYTES_MAX + 2), NUL behind it. A pipe is fine. */
static enum err_class slurp(const char *file, char *buf, size_t *ret_n, struct err *err)
{
    char shown[CONFIG_SHOWN_BYTES];
    size_t n = 0;
    const int fd = open(file, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return err_set(err, ERR_REJECT,
                       "configuration file %s: %s: give an existing file to --config",
                       config_show(file, shown, sizeof shown), strerror(errno));
    while (n <= CONFIG_FILE_BYTES_MAX) {
        const ssize_t got = read(fd, buf + n, CONFIG_FILE_BYTES_MAX + 1 - n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            const int why = errno;

            (void)close(fd);
            return err_set(err, ERR_REJECT,
                           "configuration file %s: %s: give a readable file to --config",
                           config_show(file, shown, sizeof shown), strerror(why));
        }
        if (got == 0)
            break;
        n += (size_t)got;
    }
    (void)close(fd);
    if (n > CONFIG_FILE_BYTES_MAX)
        return err_set(err, ERR_REJECT,
                       "configuration file %s: is longer than %d bytes: shorten it",
                       config_show(file, shown, sizeof shown), CONFIG_FILE_BYTES_MAX);
    buf[n] = '\0';
    *ret_n = n;
    return ERR_OK;
}

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    for (size_t n = strlen(text); n > 0 && isspace((unsigned char)text[n - 1]); n--)
        text[n - 1] = '\0';
    return text;
}

/* `line` is cut into pieces in place. */
static enum err_class take_line(struct config *config, char *line, const struct origin *origin,
                                struct err *err)
{
    char where[CONFIG_WHERE_BYTES], shown[CONFIG_SHOWN_BYTES];
    char *text = trim(line);

    if (*text == '\0' || *text == '#')
        return ERR_OK;
    char *equals = strchr(text, '=');

    /* Not shown whole: what stands there may be half of a secret. */
    if (equals == NULL || equals == text)
        return err_set(err, ERR_REJECT,
                       "%s: is not a line 'key = value': give one, or start it with #",
                       config_where(origin, where, sizeof where));
    *equals = '\0';
    const char *key = trim(text);

    if (strlen(key) >= CONFIG_KEY_BYTES_MAX)
        return err_set(err, ERR_REJECT,
                       "%s: %s: key longer than %d bytes: --help lists the known ones",
                       config_where(origin, where, sizeof where),
                       config_show(key, shown, sizeof shown), CONFIG_KEY_BYTES_MAX - 1);
    return config_set_key(config, key, trim(equals + 1), origin, err);
}

enum err_class config_read_file(struct config *config, const char *file, struct err *err)
{
    char where[CONFIG_WHERE_BYTES];
    char *buf = malloc(CONFIG_FILE_BYTES_MAX + 2);
    size_t n = 0;
    enum err_class e;

    if (buf == NULL)
        return err_set(err, ERR_FATAL, "configuration: out of memory: give the process more");
    e = slurp(file, buf, &n, err);
    struct origin origin = {ORIGIN_FILE, file, 0};

    for (char *line = buf, *end = buf + n; e == ERR_OK && line < end;) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        char *stop = newline != NULL ? newline : end;

        *stop = '\0';
        origin.line++;
        if (strlen(line) != (size_t)(stop - line))
            e = err_set(err, ERR_REJECT, "%s: holds a NUL byte: give a text file",
                        config_where(&origin, where, sizeof where));
        else
            e = take_line(config, line, &origin, err);
        line = stop + 1;
    }
    free(buf);
    return e;
}
