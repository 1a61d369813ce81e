#include "ctl_view.h"

#include "clk/clk.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DOUBLE_TEXT_BYTES 32 /* "-2.2250738585072014e-308" and some */

void ctl_put_double(FILE *out, double v)
{
    const int kept = errno; /* strtod sets it for denormals; the caller's is about the output */
    char text[DOUBLE_TEXT_BYTES];

    /* 15 digits are always exact in decimal, 17 always read back: the first that reads back is the
     * shortest. */
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (isnan(v) || strtod(text, NULL) == v)
            break;
    }
    errno = kept;
    fputs(isnan(v) ? "nan" : text, out);
}

void ctl_put_float(FILE *out, float v)
{
    const int kept = errno;
    char text[DOUBLE_TEXT_BYTES];

    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (isnan(v) || strtof(text, NULL) == v)
            break;
    }
    errno = kept;
    fputs(isnan(v) ? "nan" : text, out);
}

void ctl_put_hex(FILE *out, const uint8_t *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        putc(digits[bytes[i] >> 4], out);
        putc(digits[bytes[i] & 15], out);
    }
}

/* Length of the UTF-8 sequence at p (RFC 3629: no overlong form, no surrogate, at most U+10FFFF);
 * 0: there is none. */
static unsigned utf8_sequence(const unsigned char *p, size_t n)
{
    unsigned length;
    unsigned char low = 0x80, high = 0xbf; /* of the second byte */

    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        length = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        length = 3;
        low = p[0] == 0xe0 ? 0xa0 : low;
        high = p[0] == 0xed ? 0x9f : high;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        length = 4;
        low = p[0] == 0xf0 ? 0x90 : low;
        high = p[0] == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (n < length || p[1] < low || p[1] > high)
        return 0;
    for (unsigned i = 2; i < length; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    }
    return length;
}

void ctl_put_json_string(FILE *out, const char *text, size_t n)
{
    putc('"', out);
    for (size_t i = 0; i < n;) {
        const unsigned char *const p = (const unsigned char *)text + i;
        const unsigned length = utf8_sequence(p, n - i);

        if (length == 0) {
            fputs("\\ufffd", out);
            i++;
            continue;
        }
        if (*p == '"' || *p == '\\')
            fprintf(out, "\\%c", *p);
        else if (*p == '\n')
            fputs("\\n", out);
        else if (*p < 0x20 || *p == 0x7f)
            fprintf(out, "\\u%04x", *p);
        else
            fwrite(p, 1, length, out);
        i += length;
    }
    putc('"', out);
}

const char *ctl_escape(const uint8_t *bytes, size_t n, char *buf, size_t size, unsigned columns)
{
    static const char more[] = "...";
    size_t used = 0, fits = 0; /* fits: where "..." can still stand */

    assert(columns >= sizeof more && size > columns);
    for (size_t i = 0; i < n; i++) {
        const bool is_plain = bytes[i] >= 0x20 && bytes[i] < 0x7f && bytes[i] != '\\';
        const size_t width = is_plain ? 1 : 4;

        if (used + width > columns) {
            memcpy(buf + fits, more, sizeof more);
            return buf;
        }
        if (is_plain)
            buf[used] = (char)bytes[i];
        else
            snprintf(buf + used, size - used, "\\x%02x", bytes[i]);
        used += width;
        if (used + sizeof more - 1 <= columns)
            fits = used;
    }
    buf[used] = '\0';
    return buf;
}

const char *ctl_time(int64_t us, unsigned digits, char *buf, size_t size)
{
    assert(size >= CLK_TEXT_BYTES && digits <= 6);
    (void)clk_text(us, buf, (unsigned)size);
    char *const dot = strchr(buf, '.');

    if (dot != NULL && digits < 6)
        memcpy(dot + (digits == 0 ? 0 : digits + 1), "Z", sizeof "Z");
    return buf;
}

const struct bus_header *ctl_header(const struct bus_reader_record *message, const char *name)
{
    for (unsigned i = 0; message != NULL && i < message->headers_n; i++) {
        if (strcmp(message->headers[i].name, name) == 0)
            return &message->headers[i];
    }
    return NULL;
}

bool ctl_is_null(const struct codec_field *field, const void *from)
{
    bool has;

    if (!field->nullable)
        return false;
    memcpy(&has, (const char *)from + field->has_offset, sizeof has);
    return !has;
}

const void *ctl_at(const struct codec_field *field, const void *from)
{
    return (const char *)from + field->offset;
}

uint32_t ctl_items(const struct codec_field *array, const void *from)
{
    uint32_t n;

    memcpy(&n, (const char *)from + array->count_offset, sizeof n);
    return n;
}

const char *ctl_enum_name(const struct codec_field *field, const void *value)
{
    int i;

    memcpy(&i, value, sizeof i);
    return i >= 0 && (uint32_t)i < field->symbols_n ? field->symbols[i] : "?";
}
