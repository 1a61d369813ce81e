#include "mon_wanted.h"

#include "l2/book.h"
#include "mon.h"

#include <stdio.h>
#include <string.h>

enum { KEY_FROM = 512, KEY_TO, KEY_EXCHANGE, KEY_SCHEMA, KEY_BAR };

static const struct argp_option options[] = {
    {"from", KEY_FROM, "TIME", 0, "from here on: 2026-01-31 or 2026-01-31T12:00:00Z (UTC)", 2},
    {"to", KEY_TO, "TIME", 0, "bars that end by then", 2},
    {"symbol", 's', "S", 0, "only this crypto; may be repeated", 2},
    {"exchange", KEY_EXCHANGE, "E", 0, "of several in the source, this one", 2},
    {"schema-version", KEY_SCHEMA, "V", 0, "of several in the source, this one", 2},
    {"bar-seconds", KEY_BAR, "N", 0, "of several in the source, these", 2},
    {0},
};

static void set_name(struct argp_state *state, const char *option, char *ret, size_t room,
                     const char *arg)
{
    if (strlen(arg) == 0 || strlen(arg) >= room)
        argp_error(state, "%s %s: not 1 to %zu characters", option, arg, room - 1);
    snprintf(ret, room, "%s", arg);
}

static void set_time(struct argp_state *state, const char *option, int64_t *ret, const char *arg)
{
    if (!mon_parse_time(arg, ret))
        argp_error(state, "%s %s: neither 2026-01-31 nor 2026-01-31T12:00:00Z", option, arg);
}

static void add_symbol(struct argp_state *state, struct mon_wanted *w, const char *arg)
{
    if (!l2_symbol_ok(arg, strlen(arg)))
        argp_error(state, "--symbol %s: not [A-Za-z0-9._-]{1,32}", arg);
    if (w->symbols_n == MON_SYMBOLS_MAX)
        argp_error(state, "--symbol: at most %d", MON_SYMBOLS_MAX);
    w->symbols[w->symbols_n++] = arg;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct mon_wanted *const w = state->input;
    int64_t n = 0;

    switch (key) {
    case KEY_FROM:
        set_time(state, "--from", &w->from_us, arg);
        return 0;
    case KEY_TO:
        set_time(state, "--to", &w->to_us, arg);
        return 0;
    case 's':
        add_symbol(state, w, arg);
        return 0;
    case KEY_EXCHANGE:
        set_name(state, "--exchange", w->exchange, sizeof w->exchange, arg);
        return 0;
    case KEY_SCHEMA:
        set_name(state, "--schema-version", w->schema_version, sizeof w->schema_version, arg);
        return 0;
    case KEY_BAR:
        if (!mon_parse(arg, 60, 86400, &n))
            argp_error(state, "--bar-seconds %s: not 60 to 86400", arg);
        w->bar_s = (uint32_t)n;
        return 0;
    case ARGP_KEY_SUCCESS:
        if (w->from_us >= w->to_us)
            argp_error(state, "--from is not before --to: nothing lies between them");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp mon_wanted_argp = {.options = options, .parser = parse};

void mon_choice_init(struct mon_choice *choice, const struct mon_wanted *wanted)
{
    *choice = (struct mon_choice){.wanted = *wanted};
    choice->was_told[0] = wanted->exchange[0] != '\0';
    choice->was_told[1] = wanted->schema_version[0] != '\0';
    choice->was_told[2] = wanted->bar_s != 0;
}

bool mon_wanted_has(const struct mon_wanted *w, struct codec_str symbol)
{
    for (unsigned i = 0; i < w->symbols_n; i++) {
        if (codec_str_equal(codec_str(w->symbols[i]), symbol))
            return true;
    }
    return w->symbols_n == 0;
}

/* The first one is kept; *ret_is_other: it is not this one. */
static enum err_class match(char *kept, size_t room, bool was_told, struct codec_str text,
                            const char *what, const char *option, bool *ret_is_other,
                            struct err *err)
{
    *ret_is_other = kept[0] != '\0' && !codec_str_equal(codec_str(kept), text);
    if (kept[0] == '\0')
        snprintf(kept, room, "%.*s", (int)text.n, text.data);
    if (*ret_is_other && !was_told)
        return err_set(err, ERR_REJECT, "bars of two %s, %s and %.*s: name one with %s", what, kept,
                       (int)text.n, text.data, option);
    return ERR_OK;
}

enum err_class mon_choice_judge(struct mon_choice *choice, const struct mon_candidate *c,
                                bool *ret_wanted, struct err *err)
{
    struct mon_wanted *const w = &choice->wanted;
    bool other[2] = {false};

    *ret_wanted = false;
    if (!mon_wanted_has(w, c->symbol) || (c->bar_time_us < w->from_us && !c->is_lasting) ||
        c->bar_time_us > w->to_us - c->bar_s * L2_US_PER_S) /* whole bars alone */
        return ERR_OK;
    if (match(w->exchange, sizeof w->exchange, choice->was_told[0], c->exchange, "exchanges",
              "--exchange", &other[0], err) != ERR_OK)
        return err->class;
    if (c->schema_version.data != NULL && !other[0] &&
        match(w->schema_version, sizeof w->schema_version, choice->was_told[1], c->schema_version,
              "schema versions", "--schema-version", &other[1], err) != ERR_OK)
        return err->class;
    if (other[0] || other[1])
        return ERR_OK;
    if (w->bar_s == 0)
        w->bar_s = (uint32_t)c->bar_s;
    *ret_wanted = c->bar_s == (int32_t)w->bar_s;
    if (!*ret_wanted && !choice->was_told[2])
        return err_set(err, ERR_REJECT,
                       "bars of two lengths, %u s and %d s: name one with "
                       "--bar-seconds",
                       w->bar_s, c->bar_s);
    return ERR_OK;
}
