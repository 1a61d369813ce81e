/*
 * Airflow's DAG-run API, version 1 (Airflow 2) and 2 (Airflow 3). The run's id is made of what
 * asks for it, the alert's key and the begin of its episode: so a request that is repeated, and a
 * warn that becomes a p2, are one run, and Airflow's 409 says that it is there.
 */
#include "alerts/sink_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Airflow takes [A-Za-z0-9_.~:+-], and no ".." */
static char run_id_char(char c, char before)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

    if (c == '/')
        return '~';
    if (c == '.')
        return (char)(before == '.' ? '_' : '.');
    return (char)(c != '\0' && strchr(plain, c) != NULL ? c : '_');
}

void sink_run_id(const struct codec_alert *a, char *run_id)
{
    int n = snprintf(run_id, SINK_RUN_ID_BYTES_MAX + 1, "l2flow:%" PRId64 ":", a->started_us);

    for (uint32_t i = 0; i < a->key.n && n < SINK_RUN_ID_BYTES_MAX; i++, n++)
        run_id[n] = run_id_char(a->key.data[i], run_id[n - 1]);
    run_id[n] = '\0';
}

static json_t *sweep_of(const struct sink_style *style)
{
    json_t *sweep = style->sweep[0] != '\0' ? json_loads(style->sweep, 0, NULL) : NULL;

    return sweep != NULL ? sweep : json_object();
}

json_t *sink_retrain_body(const struct sink_style *style, const struct sink_note *note)
{
    char run_id[SINK_RUN_ID_BYTES_MAX + 1], text[SINK_TEXT_BYTES_MAX];
    const char *said = sink_text(style, note, text);

    sink_run_id(note->alert, run_id);
    json_t *body =
        json_pack("{s:s, s:{s:s, s:o, s:o, s:o}, s:o}", "dag_run_id", run_id, "conf", "request_id",
                  run_id, "cause", sink_fields(style, note), "sweep", sweep_of(style), "window_end",
                  sink_time(note->alert->since_us), "note", sink_cstring(said));

    /* version 2 wants to be told that the run stands for no date of a schedule */
    if (body != NULL && !style->is_v1 &&
        json_object_set_new(body, "logical_date", json_null()) != 0) {
        json_decref(body);
        return NULL;
    }
    return body;
}
