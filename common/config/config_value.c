#include "config/config_internal.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REASON_BYTES 160

static bool parse_uint(const char *text, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        const uint64_t digit = (uint64_t)(*text - '0');

        if (number > (UINT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *ret_number = number;
    return true;
}

static uint64_t bound(const char *text, uint64_t otherwise)
{
    uint64_t number = otherwise;
    const bool ok = *text == '\0' || parse_uint(text, &number);

    assert(ok); /* the table's own bounds */
    return number;
}

static bool is_choice(const char *choices, const char *text)
{
    const size_t n = strlen(text);

    for (const char *choice = choices; choice != NULL;) {
        const char *bar = strchr(choice, '|');
        const size_t length = bar != NULL ? (size_t)(bar - choice) : strlen(choice);

        if (n > 0 && length == n && memcmp(choice, text, n) == 0)
            return true;
        choice = bar != NULL ? bar + 1 : NULL;
    }
    return false;
}

static bool is_url(const char *text)
{
    return (strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0) &&
           strchr(text, '@') == NULL && text[strlen(text) - 1] != '/';
}

static bool is_within(const struct config_row *row, const char *text, uint64_t *ret_number)
{
    const uint64_t length = strlen(text);

    switch (row->type) {
    case CONFIG_UINT:
        return parse_uint(text, ret_number) && *ret_number >= bound(row->min, 0) &&
               *ret_number <= bound(row->max, UINT64_MAX);
    case CONFIG_BOOL:
        return parse_uint(text, ret_number) && *ret_number <= 1;
    case CONFIG_STRING:
        if (length == 0 && row->def[0] == '\0')
            return true; /* unset */
        return length >= bound(row->min, 0) && length <= bound(row->max, CONFIG_VALUE_BYTES_MAX);
    case CONFIG_URL:
        return length == 0 || (is_url(text) && length <= bound(row->max, CONFIG_VALUE_BYTES_MAX));
    case CONFIG_ENUM:
        return is_choice(row->max, text);
    case CONFIG_SECRET:
    case CONFIG_PREFIX:
        return true;
    }
    return false;
}

static bool has_control_character(const char *text)
{
    for (; *text != '\0'; text++)
        if (iscntrl((unsigned char)*text))
            return true;
    return false;
}

enum err_class config_check_value(const struct config_row *row, const char *text,
                                  const struct origin *origin, uint64_t *ret_number,
                                  struct err *err)
{
    char where[CONFIG_WHERE_BYTES], shown[CONFIG_SHOWN_BYTES], bounds[REASON_BYTES];

    if (strlen(text) > CONFIG_VALUE_BYTES_MAX)
        return err_set(err, ERR_REJECT, "%s: %s: value longer than %d bytes: shorten it",
                       config_where(origin, where, sizeof where), row->name,
                       CONFIG_VALUE_BYTES_MAX);
    if (has_control_character(text))
        return err_set(err, ERR_REJECT, "%s: %s: value holds a control character: leave it out",
                       config_where(origin, where, sizeof where), row->name);
    if (is_within(row, text, ret_number))
        return ERR_OK;
    const bool comment =
        strchr(text, '#') != NULL && row->type != CONFIG_STRING && row->type != CONFIG_URL;

    return err_set(err, ERR_REJECT, "%s: %s = '%s': out of bounds: give %s%s",
                   config_where(origin, where, sizeof where), row->name,
                   row->type == CONFIG_URL && strchr(text, '@') != NULL
                       ? "(not shown)"
                       : config_show(text, shown, sizeof shown),
                   config_bounds(row, bounds, sizeof bounds),
                   comment ? " (a comment has its own line)" : "");
}

bool config_is_secret_key(const char *key)
{
    return strcasestr(key, "password") != NULL || strcasestr(key, "passphrase") != NULL ||
           strcasestr(key, "secret") != NULL || strcasestr(key, "key.pem") != NULL;
}

bool config_may_hide_secret(const char *key)
{
    static const char *const words[] = {"oauthbearer.config", "oauthbearer.extensions", "kinit.cmd",
                                        "jaas"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasestr(key, words[i]) != NULL)
            return true;
    return false;
}

/* "password=…", with or without blanks before the sign */
static bool gives_password(const char *text)
{
    static const char word[] = "password";

    while ((text = strcasestr(text, word)) != NULL) {
        text += sizeof word - 1;
        if (text[strspn(text, " ")] == '=')
            return true;
    }
    return false;
}

/* "user:password@host", whatever stands around it */
static bool names_user(const char *text)
{
    const char *const colon = strchr(text, ':');

    return colon != NULL && strchr(colon, '@') != NULL;
}

enum err_class config_check_login(const char *key, const char *text, const struct origin *origin,
                                  struct err *err)
{
    char where[CONFIG_WHERE_BYTES], shown[CONFIG_SHOWN_BYTES];
    const bool is_ciphers = strcasestr(key, "cipher") != NULL; /* DEFAULT:!aNULL@SECLEVEL=2 */

    if (!gives_password(text) && (is_ciphers || !names_user(text)))
        return ERR_OK;
    return err_set(err, ERR_REJECT,
                   "%s: %s: holds a login (value not shown): a user and a password's file have "
                   "keys of their own",
                   config_where(origin, where, sizeof where),
                   config_show(key, shown, sizeof shown));
}

/* What does not look like a path may well be the secret itself, typed where its file belongs: a
 * password of base64 holds a '/', too. */
static const char *show_path(const char *path, char *buf, size_t size)
{
    if (path[0] == '/' || path[0] == '.')
        return config_show(path, buf, size);
    (void)snprintf(buf, size, "(%zu characters without '/' or '.' first, not shown)", strlen(path));
    return buf;
}

/* Opens without waiting for a FIFO's writer; a name whose file is no file is refused. */
static int open_secret(const char *path, const char **ret_why, const char **ret_remedy)
{
    struct stat status;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    *ret_remedy = "give the path of a readable file that holds the secret";
    if (fd < 0 || fstat(fd, &status) != 0) {
        *ret_why = strerror(errno);
    } else if (!S_ISREG(status.st_mode)) {
        *ret_why = "is not a regular file";
    } else if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        *ret_why = "group or others can write to it";
        *ret_remedy = "chmod go-w it";
    } else {
        return fd;
    }
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static size_t read_up_to(int fd, char *buf, size_t size)
{
    size_t n = 0;

    while (n < size) {
        const ssize_t got = read(fd, buf + n, size - n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break; /* a failing disk shows as a short or an empty secret */
        n += (size_t)got;
    }
    return n;
}

/* Cuts `buf` (n bytes read, room for one more) to its first line; NULL, or what is wrong with it.
 */
static const char *first_line(char *buf, size_t n)
{
    char *newline = memchr(buf, '\n', n);

    if (newline == NULL && n > CONFIG_VALUE_BYTES_MAX)
        return "its first line is longer than 4096 bytes";
    size_t length = newline != NULL ? (size_t)(newline - buf) : n;

    if (length > 0 && buf[length - 1] == '\r')
        length--;
    buf[length] = '\0';
    if (length == 0)
        return "its first line is empty";
    return strlen(buf) != length ? "its first line holds a NUL byte" : NULL;
}

enum err_class config_read_secret(const struct config_row *row, const char *path, const char *where,
                                  char **ret_secret, struct err *err)
{
    char shown[CONFIG_SHOWN_BYTES], buf[CONFIG_VALUE_BYTES_MAX + 2];
    const char *why = NULL, *remedy = NULL;
    const int fd = open_secret(path, &why, &remedy);

    if (fd >= 0) {
        const size_t n = read_up_to(fd, buf, CONFIG_VALUE_BYTES_MAX + 1);

        (void)close(fd);
        why = first_line(buf, n);
        remedy = "put the secret into the file's first line";
    }
    char *secret = why == NULL ? strdup(buf) : NULL;

    explicit_bzero(buf, sizeof buf);
    if (why != NULL)
        return err_set(err, ERR_REJECT, "%s: %s = %s: secret file: %s: %s",
                       where[0] != '\0' ? where : "default", row->name,
                       show_path(path, shown, sizeof shown), why, remedy);
    if (secret == NULL)
        return err_set(err, ERR_FATAL, "configuration: out of memory: give the process more");
    *ret_secret = secret;
    return ERR_OK;
}
