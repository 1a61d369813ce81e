#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum err_class err_set(struct err *err, enum err_class class, const char *format, ...)
{
    static const char cut[] = "...";
    char text[sizeof err->text]; /* apart, so that an argument may be err->text itself */
    va_list args;

    va_start(args, format);
    const int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0)
        (void)snprintf(text, sizeof text, "an error whose text could not be formatted");
    if (n >= (int)sizeof text)
        memcpy(text + sizeof text - sizeof cut, cut, sizeof cut);
    memcpy(err->text, text, sizeof text);
    err->class = class;
    return class;
}
