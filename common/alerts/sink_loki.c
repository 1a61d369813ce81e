/*
 * Loki's push API. A stream is told apart by its labels, and takes entries in order of time: its
 * labels are few, and the partition is one of them, so that a backlog that is sent partition by
 * partition is never "too far behind" what another partition brought.
 */
#include "alerts/sink_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_OF_MS 1000000 /* Kafka's times are whole milliseconds */

static json_t *stream_of(const struct sink_style *style, const struct sink_note *note)
{
    char partition[16];

    (void)snprintf(partition, sizeof partition, "%" PRId32, note->partition);
    json_t *labels = json_pack("{s:s, s:o, s:s, s:s}", "service_name", "l2flow", "exchange",
                               sink_string(note->alert->exchange), "state",
                               codec_alert_state_name(note->alert->state), "partition", partition);
    if (labels != NULL && style->deployment[0] != '\0' &&
        json_object_set_new(labels, "deployment", sink_cstring(style->deployment)) != 0) {
        json_decref(labels);
        return NULL;
    }
    return labels;
}

static json_t *metadata_of(const struct codec_alert *a)
{
    char version[24];

    (void)snprintf(version, sizeof version, "%" PRId64, a->version);
    return json_pack("{s:o, s:s, s:o, s:o, s:s, s:s}", "key", sink_string(a->key), "version",
                     version, "signal", sink_string(a->signal), "symbol", sink_string(a->symbol),
                     "arm", codec_arm_name(a->arm), "action", codec_alert_action_name(a->action));
}

/*
 * Loki drops an entry whose time and line are those of the one before, which makes a retry
 * harmless. Within a millisecond the version stands for the nanoseconds, so that the changes of one
 * alert keep their order.
 */
static json_t *entry_of(const struct sink_style *style, const struct sink_note *note)
{
    char ns[32];
    json_t *fields = sink_fields(style, note), *entry = NULL;
    char *line = fields != NULL ? json_dumps(fields, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    const int64_t version = note->alert->version;

    (void)snprintf(ns, sizeof ns, "%" PRId64 "%06" PRId64, note->time_us / 1000,
                   version > 0 ? version % NS_OF_MS : 0);
    if (line != NULL)
        entry = json_pack("[s, s, o]", ns, line, metadata_of(note->alert));
    free(line);
    json_decref(fields);
    return entry;
}

/* The stream with these labels (taken over), made if it is new; NULL: no memory. Borrowed. */
static json_t *values_of(json_t *streams, json_t *labels)
{
    size_t i;
    json_t *stream;

    if (labels == NULL)
        return NULL;
    json_array_foreach(streams, i, stream)
    {
        if (json_equal(json_object_get(stream, "stream"), labels)) {
            json_decref(labels);
            return json_object_get(stream, "values");
        }
    }
    stream = json_pack("{s:o, s:[]}", "stream", labels, "values");
    return json_array_append_new(streams, stream) == 0 ? json_object_get(stream, "values") : NULL;
}

json_t *sink_loki_body(const struct sink_style *style, const struct sink_note *notes, unsigned n)
{
    json_t *body = json_pack("{s:[]}", "streams"), *streams = json_object_get(body, "streams");

    for (unsigned i = 0; body != NULL && i < n; i++) {
        json_t *values = values_of(streams, stream_of(style, &notes[i]));
        if (values == NULL || json_array_append_new(values, entry_of(style, &notes[i])) != 0) {
            json_decref(body);
            body = NULL;
        }
    }
    return body;
}
