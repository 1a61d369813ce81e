#include "config/config_internal.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

#define HELP_COLUMNS 78
#define HELP_INDENT 6
#define BOUNDS_BYTES 160

const char *config_show(const char *text, char *buf, size_t size)
{
    static const char more[] = "...";
    const size_t n = strlen(text);

    assert(size > sizeof more);
    for (size_t i = 0; i < size && i <= n; i++)
        buf[i] = iscntrl((unsigned char)text[i]) ? '?' : text[i];
    if (n >= size)
        memcpy(buf + size - sizeof more, more, sizeof more);
    else
        buf[n] = '\0';
    return buf;
}

const char *config_where(const struct origin *origin, char *buf, size_t size)
{
    enum { LINE_DIGITS = 12, NAME_BYTES = CONFIG_WHERE_BYTES - LINE_DIGITS };
    char name[NAME_BYTES];

    switch (origin->kind) {
    case ORIGIN_DEFAULT:
        (void)snprintf(buf, size, "default");
        break;
    case ORIGIN_ENVIRONMENT:
        (void)config_show(origin->name, buf, size);
        break;
    case ORIGIN_FILE: {
        const size_t n = strlen(origin->name), max = NAME_BYTES / 2; /* leave room for the rest */
        const bool is_long = n > max;

        (void)config_show(origin->name + (is_long ? n - max : 0), name, sizeof name);
        (void)snprintf(buf, size, "%s%s:%u", is_long ? "..." : "", name, origin->line);
        break;
    }
    }
    return buf;
}

static bool is_in_capitals(const char *name)
{
    for (; *name != '\0'; name++)
        if (islower((unsigned char)*name))
            return false;
    return true;
}

const char *config_variable(const struct config_row *row, char *buf, size_t size)
{
    const int n = snprintf(buf, size, "%s%s", is_in_capitals(row->name) ? "" : "L2_", row->name);

    assert(n >= 0 && (size_t)n < size);
    for (char *c = buf; *c != '\0'; c++)
        *c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
    return buf;
}

/* "a|b|c" → "a, b or c" */
static void list_choices(const char *choices, char *buf, size_t size)
{
    size_t n = 0;

    for (const char *c = choices; *c != '\0' && n + sizeof " or " < size; c++) {
        if (*c != '|') {
            buf[n++] = *c;
        } else {
            const char *glue = strchr(c + 1, '|') != NULL ? ", " : " or ";

            memcpy(buf + n, glue, strlen(glue));
            n += strlen(glue);
        }
    }
    buf[n] = '\0';
}

static void say_range(const struct config_row *row, const char *unit, char *buf, size_t size)
{
    if (row->min[0] != '\0' && row->max[0] != '\0')
        (void)snprintf(buf, size, "%s to %s%s", row->min, row->max, unit);
    else if (row->max[0] != '\0')
        (void)snprintf(buf, size, "at most %s%s", row->max, unit);
    else
        (void)snprintf(buf, size, "at least %s%s", row->min[0] != '\0' ? row->min : "0", unit);
}

const char *config_bounds(const struct config_row *row, char *buf, size_t size)
{
    switch (row->type) {
    case CONFIG_UINT:
        say_range(row, "", buf, size);
        break;
    case CONFIG_BOOL:
        (void)snprintf(buf, size, "0 or 1");
        break;
    case CONFIG_STRING:
        say_range(row, " characters", buf, size);
        break;
    case CONFIG_URL:
        (void)snprintf(buf, size,
                       "an http:// or https:// address, no login in it, no / at its end");
        break;
    case CONFIG_ENUM:
        list_choices(row->max, buf, size);
        break;
    case CONFIG_SECRET:
        (void)snprintf(buf, size, "a file's path");
        break;
    case CONFIG_PREFIX:
        (void)snprintf(buf, size, "any key of the client library but secrets");
        break;
    }
    return buf;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    const unsigned ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* Levenshtein distance, letters' case aside; both shorter than CONFIG_KEY_BYTES_MAX. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[CONFIG_KEY_BYTES_MAX];
    const size_t n = strlen(b);

    assert(n < CONFIG_KEY_BYTES_MAX);
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1] != '\0'; i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            const bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            const unsigned up = row[j];

            row[j] = min3(up + 1, row[j - 1] + 1, diagonal + !same);
            diagonal = up;
        }
    }
    return row[n];
}

/* A family is as near as the start of the key is to its name. */
static unsigned distance_to_row(const struct config_row *row, const char *key)
{
    char start[CONFIG_KEY_BYTES_MAX];

    if (row->type != CONFIG_PREFIX)
        return distance(key, row->name);
    (void)config_show(key, start, sizeof start);
    char *dot = strchr(start, '.');

    if (dot == NULL)
        return UINT32_MAX;
    dot[1] = '\0';
    return distance(start, row->name);
}

const char *config_nearest(const struct config *config, const char *key, int type)
{
    const char *near = NULL;
    unsigned least = UINT32_MAX;

    for (unsigned i = 0; i < config->n_rows; i++) {
        const struct config_row *row = &config->rows[i];
        const unsigned d = distance_to_row(row, key);

        if ((type < 0 || row->type == (enum config_type)type) && d < least) {
            least = d;
            near = row->name;
        }
    }
    const size_t tolerated = strlen(key) / 3 + 1;

    return least <= tolerated ? near : NULL;
}

void config_print(const struct config *config, FILE *out)
{
    for (unsigned i = 0; i < config->n_rows; i++) {
        const struct config_row *row = &config->rows[i];
        const struct value *value = &config->values[i];

        if (row->type == CONFIG_PREFIX)
            continue;
        if (value->where[0] != '\0')
            fprintf(out, "# from %s\n", value->where);
        fprintf(out, "%s =%s%s\n", row->name, value->text[0] != '\0' ? " " : "", value->text);
    }
    for (unsigned i = 0; i < config->n_pairs; i++) {
        const struct pair *pair = &config->pairs[i];

        if (config_may_hide_secret(pair->key))
            fprintf(out, "# from %s: %s is set; it may hold a secret and is not shown\n",
                    pair->where, pair->key);
        else
            fprintf(out, "# from %s\n%s = %s\n", pair->where, pair->key, pair->value);
    }
}

/* Words of `text` in lines of at most HELP_COLUMNS, each indented. */
static void print_wrapped(const char *text, FILE *out)
{
    size_t column = 0;

    while (*text != '\0') {
        const size_t n = strcspn(text, " ");

        if (column > 0 && column + 1 + n > HELP_COLUMNS) {
            fputc('\n', out);
            column = 0;
        }
        if (column == 0)
            column = (size_t)fprintf(out, "%*s", HELP_INDENT, "");
        else
            column += (size_t)fprintf(out, " ");
        column += (size_t)fprintf(out, "%.*s", (int)n, text);
        text += n + strspn(text + n, " ");
    }
    fputc('\n', out);
}

void config_help(const struct config_row *rows, FILE *out)
{
    char bounds[BOUNDS_BYTES];

    for (const struct config_row *row = rows; row->name != NULL; row++) {
        (void)config_bounds(row, bounds, sizeof bounds);
        if (row->type == CONFIG_PREFIX)
            fprintf(out, "  %s<key>  (%s)\n", row->name, bounds);
        else
            fprintf(out, "  %s = %s%s(%s)\n", row->name, row->def, row->def[0] != '\0' ? "  " : " ",
                    bounds);
        print_wrapped(row->help, out);
    }
}

/* '|' would end a cell of a table. */
static void print_cell(const char *text, FILE *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '|' || *text == '<')
            fputc('\\', out);
        fputc(*text, out);
    }
}

void config_markdown(const struct config_row *rows, FILE *out)
{
    char bounds[BOUNDS_BYTES], variable[CONFIG_ENV_BYTES_MAX];

    fprintf(out, "| key | environment | default | bounds | meaning |\n");
    fprintf(out, "| --- | --- | --- | --- | --- |\n");
    for (const struct config_row *row = rows; row->name != NULL; row++) {
        const char *any = row->type == CONFIG_PREFIX ? "<key>" : "";
        const char *tick = row->def[0] != '\0' ? "`" : "";

        fprintf(out, "| `%s%s` | `%s%s` | %s%s%s | ", row->name, any,
                config_variable(row, variable, sizeof variable),
                row->type == CONFIG_PREFIX ? "<KEY>" : "", tick, row->def, tick);
        print_cell(config_bounds(row, bounds, sizeof bounds), out);
        fprintf(out, " | ");
        print_cell(row->help, out);
        fprintf(out, " |\n");
    }
}
