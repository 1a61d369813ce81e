#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

enum err_class err_set(struct err *err, enum err_class class, const char *format, ...)
{
    va_list args;

    err->class = class;
    va_start(args, format);
    (void)vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return class;
}
