/*
 * Alertmanager's API v2. Its own identity of an alert is its labels; the severity is one of them,
 * since receivers are chosen by labels: so a change from warn to p2 resolves the one and raises the
 * other, in one request. What fires ends by itself when nobody repeats it for four periods, as with
 * Prometheus.
 */
#include "alerts/sink_internal.h"

#include <stdio.h>
#include <string.h>

#define PERIODS 4

static json_t *alert_of(const struct sink_style *style, const struct sink_note *note,
                        enum codec_alert_state state, int64_t starts_us, int64_t ends_us)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "labels", sink_labels(style, note->alert, state),
                     "annotations", sink_annotations(style, note), "startsAt",
                     sink_time(starts_us < ends_us ? starts_us : ends_us), "endsAt",
                     sink_time(ends_us));
}

/* Did a state that was raised end with this change? It is another one now, or (the same, but
 * spoken for by another alert) not ours to raise any more. */
static bool has_ended(const struct codec_alert *a)
{
    return sink_is_firing(a->previous) &&
           (a->previous != a->state || a->delivery != CODEC_DELIVERY_SEND);
}

static int add(json_t *alerts, const struct sink_style *style, const struct sink_note *note,
               int64_t now_us)
{
    const struct codec_alert *a = note->alert;
    const int64_t since_us = sink_real_us(style, note, a->since_us);
    const int64_t started_us = sink_real_us(style, note, a->started_us);

    if (has_ended(a) && json_array_append_new(alerts, alert_of(style, note, a->previous, started_us,
                                                               note->time_us)) != 0)
        return -1;
    if (a->delivery != CODEC_DELIVERY_SEND || !sink_is_firing(a->state))
        return 0;
    return json_array_append_new(
        alerts, alert_of(style, note, a->state, since_us,
                         now_us + (int64_t)style->resend_s * PERIODS * CLK_US_PER_S));
}

json_t *sink_alertmanager_body(const struct sink_style *style, const struct sink_note *notes,
                               unsigned n, int64_t now_us)
{
    json_t *alerts = json_array();

    for (unsigned i = 0; alerts != NULL && i < n; i++) {
        if (add(alerts, style, &notes[i], now_us) != 0) {
            json_decref(alerts);
            alerts = NULL;
        }
    }
    return alerts;
}
