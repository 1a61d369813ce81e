#include "log/log.h"

#include "clk/clk.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* PIPE_BUF: a write of at most this many bytes to a pipe is never interleaved with another
 * process's. */
#define LINE_BYTES_MAX 4096
#define STRING_BYTES_MAX                                                                           \
    1024 /* of one escaped string, so that one field cannot starve the others */
#define NUMBER_BYTES_MAX 40

static const char cut_tail[] = ",\"cut\":true}\n";
#define BODY_BYTES_MAX (LINE_BYTES_MAX - (sizeof cut_tail - 1))

struct line {
    char bytes[LINE_BYTES_MAX];
    size_t n;
    bool cut;
};

static const char *log_service = "l2flow";
static enum log_level log_least = LOG_INFO;

void log_init(const char *service, enum log_level level)
{
    log_service = service;
    log_least = level;
}

static bool put(struct line *line, const char *bytes, size_t n, size_t limit)
{
    if (line->n + n > limit)
        return false;
    memcpy(line->bytes + line->n, bytes, n);
    line->n += n;
    return true;
}

/* Length of the valid UTF-8 sequence at s (RFC 3629: no overlong forms, no surrogates, at most
 * U+10FFFF), 0 if none. */
static size_t utf8_length(const unsigned char *s)
{
    const unsigned char c = s[0];

    if (c < 0x80)
        return 1;
    if (c < 0xC2 || c > 0xF4)
        return 0;
    const size_t n = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;

    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80) /* a NUL ends the loop here */
            return 0;
    if ((c == 0xE0 && s[1] < 0xA0) || (c == 0xED && s[1] > 0x9F) || (c == 0xF0 && s[1] < 0x90) ||
        (c == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
}

/* One unit of a JSON string: an escape, a valid sequence, or U+FFFD for one bad byte. Returns its
 * length in the input. */
static size_t escape_unit(const unsigned char *s, char *unit, size_t unit_size, size_t *ret_n)
{
    static const char replacement[] = {'\xEF', '\xBF', '\xBD'};
    const size_t n = utf8_length(s);

    if (n == 0) {
        memcpy(unit, replacement, sizeof replacement);
        *ret_n = sizeof replacement;
        return 1;
    }
    if (*s == '"' || *s == '\\') {
        unit[0] = '\\';
        unit[1] = (char)*s;
        *ret_n = 2;
        return 1;
    }
    if (*s == '\n' || *s == '\t' || *s == '\r') {
        unit[0] = '\\';
        unit[1] = *s == '\n' ? 'n' : *s == '\t' ? 't' : 'r';
        *ret_n = 2;
        return 1;
    }
    if (*s < 0x20 || *s == 0x7F) {
        *ret_n = (size_t)snprintf(unit, unit_size, "\\u%04x", *s);
        return 1;
    }
    memcpy(unit, s, n);
    *ret_n = n;
    return n;
}

/* A quoted string; cut, and the line marked, where it reaches its bound. False when not even two
 * quotes fit. */
static bool put_string(struct line *line, const char *string)
{
    const size_t room = line->n + STRING_BYTES_MAX + 2;
    const size_t limit = room < BODY_BYTES_MAX ? room : BODY_BYTES_MAX;
    char unit[8];
    size_t n;

    if (line->n + 2 > limit || !put(line, "\"", 1, limit))
        return false;
    for (const unsigned char *s = (const unsigned char *)(string != NULL ? string : "(null)");
         *s != '\0';) {
        s += escape_unit(s, unit, sizeof unit, &n);
        if (!put(line, unit, n, limit - 1)) {
            line->cut = true;
            break;
        }
    }
    return put(line, "\"", 1, limit);
}

/* Shortest of 15 to 17 digits that reads back as the same double. JSON has no NaN and no infinity:
 * null. */
static void format_double(double value, char *text, size_t size)
{
    if (!isfinite(value)) {
        (void)snprintf(text, size, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, size, "%.*g", digits, value);
        if (strtod(text, NULL) >= value && strtod(text, NULL) <= value)
            return;
    }
}

static bool put_text(struct line *line, const char *text)
{
    return put(line, text, strlen(text), BODY_BYTES_MAX);
}

static bool put_key(struct line *line, const char *key)
{
    return put_text(line, ",") && put_string(line, key) && put_text(line, ":");
}

/* Takes the field's value off `args` whether or not it fits; a field that does not fit is left out
 * whole. */
static void put_field(struct line *line, const char *key, int type, va_list *args)
{
    const size_t start = line->n;
    char number[NUMBER_BYTES_MAX];
    bool fits = put_key(line, key);

    switch (type) {
    case LOG_STR: {
        const char *string = va_arg(*args, const char *);

        fits = fits && put_string(line, string);
        break;
    }
    case LOG_INT:
        (void)snprintf(number, sizeof number, "%lld", (long long)va_arg(*args, int64_t));
        fits = fits && put_text(line, number);
        break;
    case LOG_DOUBLE:
        format_double(va_arg(*args, double), number, sizeof number);
        fits = fits && put_text(line, number);
        break;
    case LOG_BOOL:
        (void)snprintf(number, sizeof number, "%s", va_arg(*args, int) != 0 ? "true" : "false");
        fits = fits && put_text(line, number);
        break;
    default:
        assert(false && "log_event: a field without its type");
    }
    if (!fits) {
        line->n = start;
        line->cut = true;
    }
}

static void put_head(struct line *line, enum log_level level, const char *event)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    char time[CLK_TEXT_BYTES];
    bool fits = put_text(line, "{\"time\":\"") &&
                put_text(line, clk_text(clk_wall_us(), time, sizeof time)) &&
                put_text(line, "\",\"level\":\"") && put_text(line, names[level]) &&
                put_text(line, "\",\"service\":") && put_string(line, log_service) &&
                put_text(line, ",\"event\":") && put_string(line, event);

    assert(fits); /* two strings of at most STRING_BYTES_MAX */
}

void log_event(enum log_level level, const char *event, ...)
{
    struct line line;
    va_list args;

    if (level < log_least)
        return;
    line.n = 0;
    line.cut = false;
    put_head(&line, level, event);
    va_start(args, event);
    for (const char *key = va_arg(args, const char *); key != NULL;
         key = va_arg(args, const char *)) {
        const int type = va_arg(args, int);

        put_field(&line, key, type, &args);
    }
    va_end(args);
    const char *tail = line.cut ? cut_tail : "}\n";

    (void)put(&line, tail, strlen(tail), LINE_BYTES_MAX);
    ssize_t written;

    do
        written = write(STDERR_FILENO, line.bytes, line.n);
    while (written < 0 &&
           errno == EINTR); /* nothing else can be done about a log that cannot be written */
}
