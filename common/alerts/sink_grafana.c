/*
 * Grafana: annotations, and the JSON of its own webhook notifier for what receives that.
 *
 * Annotations have no key that would make a retry harmless, and changing one takes its id, which
 * would have to be kept: so each change is an annotation of its own, a point in time, and what ends
 * an episode is the region of it. An annotation that stands twice has the same tags: key and
 * version.
 */
#include "alerts/sink_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NEVER "0001-01-01T00:00:00Z" /* Go's zero time: still firing */
#define TAG_BYTES_MAX 256

/* "name:text" */
static json_t *tag_of(const char *name, struct codec_str text)
{
    char tag[TAG_BYTES_MAX];
    const int n =
        snprintf(tag, sizeof tag, "%s:%.*s", name, (int)text.n, text.n > 0 ? text.data : "");

    if (n < 0)
        return NULL;
    return sink_string((struct codec_str){
        .data = tag, .n = (uint32_t)((size_t)n < sizeof tag ? (size_t)n : sizeof tag - 1)});
}

static json_t *tags_of(const struct codec_alert *a)
{
    char version[24];

    (void)snprintf(version, sizeof version, "%" PRId64, a->version);
    return json_pack("[s, o, o, o, o, o, o, o]", "l2flow", tag_of("signal", a->signal),
                     tag_of("exchange", a->exchange), tag_of("symbol", a->symbol),
                     tag_of("arm", codec_str(codec_arm_name(a->arm))),
                     tag_of("state", codec_str(codec_alert_state_name(a->state))),
                     tag_of("key", a->key), tag_of("version", codec_str(version)));
}

json_t *sink_grafana_body(const struct sink_style *style, const struct sink_note *note)
{
    const int64_t end_ms = note->time_us / 1000;
    const int64_t begin_ms = sink_real_us(style, note, note->alert->started_us) / 1000;
    char text[SINK_TEXT_BYTES_MAX];
    json_t *said = sink_cstring(sink_text(style, note, text));

    if (sink_is_firing(note->alert->state))
        return json_pack("{s:I, s:o, s:o}", "time", (json_int_t)end_ms, "tags",
                         tags_of(note->alert), "text", said);
    return json_pack("{s:I, s:I, s:o, s:o}", "time", (json_int_t)begin_ms, "timeEnd",
                     (json_int_t)end_ms, "tags", tags_of(note->alert), "text", said);
}

/* FNV-1a of the key: what tells one alert from another. */
static void fingerprint(struct codec_str key, char *hex, size_t size)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (uint32_t i = 0; i < key.n; i++)
        hash = (hash ^ (unsigned char)key.data[i]) * UINT64_C(1099511628211);
    (void)snprintf(hex, size, "%016" PRIx64, hash);
}

static json_t *alert_of(const struct sink_style *style, const struct sink_note *note,
                        enum codec_alert_state severity)
{
    const struct codec_alert *a = note->alert;
    const bool is_firing = sink_is_firing(a->state);
    const int64_t starts_us = sink_real_us(style, note, is_firing ? a->since_us : a->started_us);
    char hex[17];

    fingerprint(a->key, hex, sizeof hex);
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:{s:o, s:o}, s:s, s:s, s:s, s:s, s:s, s:s}",
                     "status", is_firing ? "firing" : "resolved", "labels",
                     sink_labels(style, a, severity), "annotations", sink_annotations(style, note),
                     "startsAt", sink_time(starts_us), "endsAt",
                     is_firing ? json_string(NEVER) : sink_time(note->time_us), "values", "value",
                     sink_number(a->has_value, a->value), "threshold",
                     sink_number(a->has_threshold, a->threshold), "generatorURL", "", "fingerprint",
                     hex, "silenceURL", "", "dashboardURL", "", "panelURL", "", "imageURL", "");
}

json_t *sink_grafana_webhook_body(const struct sink_style *style, const struct sink_note *note)
{
    const struct codec_alert *a = note->alert;
    const bool is_firing = sink_is_firing(a->state);
    const enum codec_alert_state severity = is_firing ? a->state : a->previous;
    const char *status = is_firing ? "firing" : "resolved";
    char text[SINK_TEXT_BYTES_MAX];

    return json_pack(
        "{s:s, s:s, s:i, s:[o], s:{s:o}, s:o, s:o, s:s, s:s, s:o, s:i, s:o, s:s, s:o}", "receiver",
        "l2flow", "status", status, "orgId", 1, "alerts", alert_of(style, note, severity),
        "groupLabels", "alertname", sink_string(a->signal), "commonLabels",
        sink_labels(style, a, severity), "commonAnnotations", sink_annotations(style, note),
        "externalURL", "", "version", "1", "groupKey", sink_string(a->key), "truncatedAlerts", 0,
        "title", sink_string(a->summary.n > 0 ? a->summary : a->signal), "state",
        is_firing ? "alerting" : "ok", "message", sink_cstring(sink_text(style, note, text)));
}
