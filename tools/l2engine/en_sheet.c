#include "en_sheet.h"

#include "l2/book.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 2000000
#define LINE_BYTES_MAX 128

struct line {
    char symbol[L2_SYMBOL_BYTES_MAX + 1];
    int64_t bar_time_us;
    enum l2_class label;
};

struct en_sheet {
    struct line *lines;
    size_t n, max;
};

static int compare(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    const int by_symbol = strcmp(x->symbol, y->symbol);

    if (by_symbol != 0)
        return by_symbol;
    return x->bar_time_us < y->bar_time_us ? -1 : x->bar_time_us > y->bar_time_us;
}

static bool parse(char *text, struct line *ret_line)
{
    static const char *const names[L2_CLASSES] = {"sell", "hold", "buy"};
    char *const time = strchr(text, ','), *end;
    struct line line = {.symbol = ""};

    if (time == NULL || !l2_symbol_ok(text, (size_t)(time - text)))
        return false;
    memcpy(line.symbol, text, (size_t)(time - text));
    errno = 0;
    line.bar_time_us = strtoll(time + 1, &end, 10);
    if (errno != 0 || end == time + 1 || *end != ',')
        return false;
    end[1 + strcspn(end + 1, "\r\n")] = '\0';
    for (unsigned c = 0; c < L2_CLASSES; c++) {
        if (strcmp(end + 1, names[c]) != 0)
            continue;
        line.label = (enum l2_class)c;
        *ret_line = line;
        return true;
    }
    return false;
}

static bool add(struct en_sheet *sheet, const struct line *line)
{
    if (sheet->n == sheet->max) {
        const size_t max = sheet->max == 0 ? 1024 : 2 * sheet->max;
        struct line *more = realloc(sheet->lines, max * sizeof *more);
        if (more == NULL)
            return false;
        sheet->lines = more;
        sheet->max = max;
    }
    sheet->lines[sheet->n++] = *line;
    return true;
}

static enum err_class read_lines(FILE *file, const char *path, struct en_sheet *sheet,
                                 struct err *err)
{
    char text[LINE_BYTES_MAX];
    struct line line;

    while (fgets(text, sizeof text, file) != NULL) {
        if (sheet->n == LINES_MAX || !parse(text, &line))
            return err_set(err, ERR_REJECT,
                           "labels_file: %s:%zu: not symbol,bar_time_us,sell|hold|buy, or too many "
                           "lines",
                           path, sheet->n + 1);
        if (!add(sheet, &line))
            return err_set(err, ERR_FATAL, "labels_file: out of memory");
    }
    if (sheet->n > 0)
        qsort(sheet->lines, sheet->n, sizeof sheet->lines[0], compare);
    return ERR_OK;
}

enum err_class en_sheet_read(const char *path, struct en_sheet **ret_sheet, struct err *err)
{
    struct en_sheet *sheet;
    FILE *file;

    *ret_sheet = NULL;
    if (path[0] == '\0')
        return ERR_OK;
    file = fopen(path, "r");
    if (file == NULL)
        return err_set(err, ERR_REJECT, "labels_file: %s: %s", path, strerror(errno));
    sheet = calloc(1, sizeof *sheet);
    const enum err_class e = sheet == NULL ? err_set(err, ERR_FATAL, "labels_file: out of memory")
                                           : read_lines(file, path, sheet, err);
    (void)fclose(file);
    if (e != ERR_OK)
        en_sheet_free(sheet);
    else
        *ret_sheet = sheet;
    return e;
}

void en_sheet_free(struct en_sheet *sheet)
{
    if (sheet == NULL)
        return;
    free(sheet->lines);
    free(sheet);
}

bool en_sheet_find(const struct en_sheet *sheet, struct en_name symbol, int64_t bar_time_us,
                   enum l2_class *ret_label)
{
    struct line wanted = {.bar_time_us = bar_time_us};

    if (sheet == NULL || sheet->n == 0)
        return false;
    memcpy(wanted.symbol, symbol.data, symbol.n);
    const struct line *found =
        bsearch(&wanted, sheet->lines, sheet->n, sizeof sheet->lines[0], compare);
    if (found == NULL)
        return false;
    *ret_label = found->label;
    return true;
}
