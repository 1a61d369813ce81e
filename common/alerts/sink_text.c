/* What an alert says, for people and for programs: the fields and texts that all sinks share. */
#include "alerts/sink_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIME_US_MAX INT64_C(253402300799999999) /* 9999-12-31, where RFC 3339 ends */
#define NAMES_SHOWN 10 /* of a group's members, to people */
#define REPLACED "\xEF\xBF\xBD" /* U+FFFD */

/* ---- values ---- */

/* What is no UTF-8 at all is shown as far as it is ASCII: no decoder is needed to say that much. */
static json_t *replaced(struct codec_str s)
{
    char *text = malloc((size_t)s.n * strlen(REPLACED) + 1);
    size_t n = 0;

    if (text == NULL)
        return NULL;
    for (uint32_t i = 0; i < s.n; i++) {
        const bool is_plain = s.data[i] > 0; /* char is signed or not: neither is above 127 here */
        if (is_plain && (unsigned char)s.data[i] < 0x80) {
            text[n++] = s.data[i];
        } else {
            memcpy(text + n, REPLACED, strlen(REPLACED));
            n += strlen(REPLACED);
        }
    }
    json_t *string = json_stringn(text, n);
    free(text);
    return string;
}

json_t *sink_string(struct codec_str s)
{
    json_t *string = NULL;

    if (s.n == 0 || memchr(s.data, '\0', s.n) == NULL) /* systems behind choke on zeros */
        string = json_stringn(s.n > 0 ? s.data : "", s.n);
    return string != NULL ? string : replaced(s);
}

json_t *sink_cstring(const char *text)
{
    return sink_string(codec_str(text));
}

json_t *sink_number(bool has, double value)
{
    return has && isfinite(value) ? json_real(value) : json_null();
}

json_t *sink_plain(bool has, double value)
{
    char text[32];

    if (!has)
        return json_string("none");
    (void)snprintf(text, sizeof text, "%.6g", value);
    return json_string(text);
}

static void time_text(int64_t us, char *buf)
{
    (void)clk_text(us < 0 ? 0 : us > TIME_US_MAX ? TIME_US_MAX : us, buf, CLK_TEXT_BYTES);
}

/* For people: whole seconds. */
static void seconds_text(int64_t us, char *buf)
{
    time_text(us, buf);
    char *fraction = strchr(buf, '.');

    if (fraction != NULL)
        memcpy(fraction, "Z", sizeof "Z");
}

json_t *sink_time(int64_t us)
{
    char text[CLK_TEXT_BYTES];

    time_text(us, text);
    return json_string(text);
}

int64_t sink_real_us(const struct sink_style *style, const struct sink_note *note, int64_t event_us)
{
    const int64_t real_us = clk_to_real_us(style->clk, event_us);

    return real_us < note->time_us ? real_us : note->time_us;
}

bool sink_is_firing(enum codec_alert_state state)
{
    return state != CODEC_ALERT_STATE_OK;
}

/* ---- text ---- */

struct out {
    char *buf;
    size_t n; /* < SINK_TEXT_BYTES_MAX */
};

static void put(struct out *o, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What does not fit any more is cut. */
static void put(struct out *o, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    const int n = vsnprintf(o->buf + o->n, SINK_TEXT_BYTES_MAX - o->n, format, args);
    va_end(args);
    if (n > 0)
        o->n += (size_t)n < SINK_TEXT_BYTES_MAX - o->n ? (size_t)n : SINK_TEXT_BYTES_MAX - 1 - o->n;
}

/* A zero inside would end the text. */
static void put_str(struct out *o, struct codec_str s)
{
    const size_t room = SINK_TEXT_BYTES_MAX - 1 - o->n, n = s.n < room ? s.n : room;

    for (size_t i = 0; i < n; i++)
        o->buf[o->n + i] = (char)(s.data[i] != '\0' ? s.data[i] : '?');
    o->n += n;
    o->buf[o->n] = '\0';
}

static const char *state_word(enum codec_alert_state state)
{
    switch (state) {
    case CODEC_ALERT_STATE_P2:
        return "P2";
    case CODEC_ALERT_STATE_WARN:
        return "WARNING";
    case CODEC_ALERT_STATE_NO_DATA:
        return "NO DATA";
    case CODEC_ALERT_STATE_OK:
        break;
    }
    return "RESOLVED";
}

static const char *to_do(enum codec_alert_action action)
{
    switch (action) {
    case CODEC_ALERT_ACTION_NO_L2:
        return "no_l2 serves meanwhile: see why";
    case CODEC_ALERT_ACTION_FLAG:
        return "look at it: nothing switches by itself";
    case CODEC_ALERT_ACTION_RETRAIN:
        return "a retraining is asked for: review its result";
    case CODEC_ALERT_ACTION_REVIEW:
        return "review it: an operator decides";
    case CODEC_ALERT_ACTION_FREEZE:
        return "promotions are frozen until it is explained";
    case CODEC_ALERT_ACTION_NONE:
        break;
    }
    return "look at it";
}

static void put_whom(struct out *o, const struct codec_alert *a)
{
    const uint32_t shown = a->members_n < NAMES_SHOWN ? a->members_n : NAMES_SHOWN;

    if (a->members_n == 0) {
        put_str(o, a->symbol);
    } else {
        put(o, "%" PRId64 " cryptos", a->group_size);
        for (uint32_t i = 0; i < shown; i++) {
            put(o, i == 0 ? " [" : ", ");
            put_str(o, a->members[i]);
        }
        put(o, (int64_t)shown < a->group_size ? ", ...]" : "]");
    }
    put(o, " (");
    put_str(o, a->exchange);
    put(o, ", %s)", codec_arm_name(a->arm));
}

static void put_figures(struct out *o, const struct codec_alert *a)
{
    if (a->has_value)
        put(o, ": %.6g", a->value);
    if (a->has_value && a->has_threshold)
        put(o, " against %.6g", a->threshold);
    put(o, ", n = %" PRId64 ".", a->n);
}

bool sink_runbook(const struct sink_style *style, const struct codec_alert *alert, char *buf,
                  size_t size)
{
    struct codec_str anchor = alert->runbook;

    if (style->runbook_url[0] == '\0')
        return false;
    if (anchor.n > 0 && anchor.data[0] == '#') {
        anchor.data++;
        anchor.n--;
    }
    (void)snprintf(buf, size, "%s%s%.*s", style->runbook_url, anchor.n > 0 ? "#" : "",
                   (int)anchor.n, anchor.n > 0 ? anchor.data : "");
    return true;
}

const char *sink_text(const struct sink_style *style, const struct sink_note *note, char *buf)
{
    const struct codec_alert *a = note->alert;
    struct out o = {.buf = buf};
    char since[CLK_TEXT_BYTES], started[CLK_TEXT_BYTES], url[SINK_TEXT_BYTES_MAX / 2];

    seconds_text(a->since_us, since);
    seconds_text(a->started_us, started);
    put(&o, "%s: ", state_word(a->state));
    put_str(&o, a->signal);
    put(&o, " of ");
    put_whom(&o, a);
    put(&o, " since %s", since);
    if (!sink_is_firing(a->state))
        put(&o, " (was %s, began %s)", codec_alert_state_name(a->previous), started);
    if (clk_is_rehearsal(style->clk))
        put(&o, " of a rehearsal's clock");
    put_figures(&o, a);
    if (a->summary.n > 0) {
        put(&o, " ");
        put_str(&o, a->summary);
        put(&o, ".");
    }
    if (sink_is_firing(a->state))
        put(&o, " To do: %s.", to_do(a->action));
    if (sink_runbook(style, a, url, sizeof url))
        put(&o, " Runbook: %s", url);
    return buf;
}

/* ---- for programs ---- */

static json_t *members_of(const struct codec_alert *a)
{
    json_t *names = json_array();

    for (uint32_t i = 0; names != NULL && i < a->members_n; i++) {
        if (json_array_append_new(names, sink_string(a->members[i])) != 0) {
            json_decref(names);
            return NULL;
        }
    }
    return names;
}

static json_t *text_of(const struct sink_style *style, const struct sink_note *note)
{
    char text[SINK_TEXT_BYTES_MAX];

    return sink_cstring(sink_text(style, note, text));
}

static json_t *runbook_of(const struct sink_style *style, const struct codec_alert *alert)
{
    char url[SINK_TEXT_BYTES_MAX / 2];

    return sink_runbook(style, alert, url, sizeof url) ? sink_cstring(url)
                                                       : sink_string(alert->runbook);
}

json_t *sink_fields(const struct sink_style *style, const struct sink_note *note)
{
    const struct codec_alert *a = note->alert;

    return json_pack(
        "{s:o, s:I, s:o, s:o, s:o, s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:s, s:o, "
        "s:I, s:o, s:o, s:o, s:o}",
        "key", sink_string(a->key), "version", (json_int_t)a->version, "signal",
        sink_string(a->signal), "deployment", sink_cstring(style->deployment), "exchange",
        sink_string(a->exchange), "symbol", sink_string(a->symbol), "arm", codec_arm_name(a->arm),
        "state", codec_alert_state_name(a->state), "previous", codec_alert_state_name(a->previous),
        "since", sink_time(a->since_us), "started", sink_time(a->started_us), "time",
        sink_time(note->time_us), "value", sink_number(a->has_value, a->value), "threshold",
        sink_number(a->has_threshold, a->threshold), "n", (json_int_t)a->n, "action",
        codec_alert_action_name(a->action), "members", members_of(a), "group_size",
        (json_int_t)a->group_size, "summary", sink_string(a->summary), "text", text_of(style, note),
        "runbook", runbook_of(style, a), "source", sink_string(a->source));
}

/* An empty value means to Alertmanager that the label is not there: then it is left out here too.
 */
json_t *sink_labels(const struct sink_style *style, const struct codec_alert *a,
                    enum codec_alert_state state)
{
    json_t *labels =
        json_pack("{s:o, s:s, s:o, s:o, s:s, s:s}", "alertname", sink_string(a->signal), "severity",
                  codec_alert_state_name(state), "exchange", sink_string(a->exchange), "symbol",
                  sink_string(a->symbol), "arm", codec_arm_name(a->arm), "service", "l2flow");

    if (labels != NULL && style->deployment[0] != '\0' &&
        json_object_set_new(labels, "deployment", sink_cstring(style->deployment)) != 0) {
        json_decref(labels);
        return NULL;
    }
    return labels;
}

/* All are text: that is what both systems keep. */
json_t *sink_annotations(const struct sink_style *style, const struct sink_note *note)
{
    const struct codec_alert *a = note->alert;
    char n[24], version[24];

    (void)snprintf(n, sizeof n, "%" PRId64, a->n);
    (void)snprintf(version, sizeof version, "%" PRId64, a->version);
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:s, s:s, s:o, s:o}", "summary",
                     a->summary.n > 0 ? sink_string(a->summary) : sink_string(a->signal),
                     "description", text_of(style, note), "key", sink_string(a->key), "value",
                     sink_plain(a->has_value, a->value), "threshold",
                     sink_plain(a->has_threshold, a->threshold), "n", n, "since",
                     sink_time(a->since_us), "started", sink_time(a->started_us), "action",
                     codec_alert_action_name(a->action), "version", version, "runbook_url",
                     runbook_of(style, a), "source", sink_string(a->source));
}
