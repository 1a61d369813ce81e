/* sink_internal.h: what the formatters share. Private to common/alerts. */
#ifndef ALERTS_SINK_INTERNAL_H
#define ALERTS_SINK_INTERNAL_H

#include "alerts/sink.h"

#include <jansson.h>

/* JSON values; NULL: no memory. Bytes that are no UTF-8 become U+FFFD, zeros too. */
json_t *sink_string(struct codec_str s);
json_t *sink_cstring(const char *text);
json_t *sink_number(bool has, double value); /* null where there is none, or it is not finite */
json_t *sink_time(int64_t us); /* RFC 3339, UTC */
json_t *sink_plain(bool has, double value); /* as text, shortest that reads back; "none" */

/* All of the alert, for programs: the line of Loki, the webhook's body, a retraining's cause. */
json_t *sink_fields(const struct sink_style *style, const struct sink_note *note);
/* Alertmanager's and Grafana's labels, of the state that is named; and annotations. */
json_t *sink_labels(const struct sink_style *style, const struct codec_alert *alert,
                    enum codec_alert_state state);
json_t *sink_annotations(const struct sink_style *style, const struct sink_note *note);

/* The address of the alert's entry in the runbook; false: no runbook_url. */
bool sink_runbook(const struct sink_style *style, const struct codec_alert *alert, char *buf,
                  size_t size);
/* An event time as real time, never after the record that told of it. */
int64_t sink_real_us(const struct sink_style *style, const struct sink_note *note,
                     int64_t event_us);
bool sink_is_firing(enum codec_alert_state state); /* all but ok */

/* By kind: the JSON of the whole body; NULL: no memory. */
json_t *sink_loki_body(const struct sink_style *style, const struct sink_note *notes, unsigned n);
json_t *sink_alertmanager_body(const struct sink_style *style, const struct sink_note *notes,
                               unsigned n, int64_t now_us);
json_t *sink_grafana_body(const struct sink_style *style, const struct sink_note *note);
json_t *sink_grafana_webhook_body(const struct sink_style *style, const struct sink_note *note);
json_t *sink_retrain_body(const struct sink_style *style, const struct sink_note *note);
/* run_id: of SINK_RUN_ID_BYTES_MAX + 1: the same for one episode of one alert, in Airflow's
 * alphabet. */
void sink_run_id(const struct codec_alert *alert, char *run_id);

#endif
