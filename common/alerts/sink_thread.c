#include "alerts/sink_thread.h"

#include "clk/clk.h"
#include "topics/topics.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SESSION_MS 10000
#define POLL_MS 100 /* how long a stop may wait */
#define SETTLE_MS 1000
#define KEEP_US CLK_US_PER_S /* while records are at work, polls come as often as this */
#define TELL_US (30 * CLK_US_PER_S) /* how often an outage is told again */

#define UNDECODABLE "undecodable"

int64_t sink_backoff_ms(unsigned n, uint32_t chance, int64_t asked_ms)
{
    const unsigned shift = n - 1 < 16 ? n - 1 : 16;
    int64_t ms = (int64_t)SINK_BACKOFF_MS_MIN << shift;

    if (ms > SINK_BACKOFF_MS_MAX)
        ms = SINK_BACKOFF_MS_MAX;
    ms = ms / 2 + (int64_t)(chance % (uint32_t)(ms / 2 + 1));
    return asked_ms > ms ? asked_ms : ms;
}

bool sink_stopping(const struct sink_thread *t)
{
    return atomic_load(t->stop);
}

void sink_tell(const struct sink_thread *t, int level, const char *event, const char *text)
{
    if (t->options->tell != NULL)
        t->options->tell(t->options->tell_user, level, event, sink_names[t->style.kind], text);
}

/* ---- the group's membership ---- */

/* Nothing is handed out meanwhile: what is at work must come first. */
enum err_class sink_poll_nothing(struct sink_thread *t, int ms, struct err *err)
{
    const struct bus_consumer_record *records;
    unsigned n = 0;

    bus_consumer_pause(t->consumer, true);
    const enum err_class e = bus_consumer_poll(t->consumer, ms, &records, &n, err);
    assert(n == 0);
    t->polled_us = clk_mono_us();
    return e;
}

/* After each request. */
enum err_class sink_keep(struct sink_thread *t, struct err *err)
{
    return clk_mono_us() - t->polled_us < KEEP_US ? ERR_OK : sink_poll_nothing(t, 0, err);
}

/* ERR_OK too when it is to stop. */
enum err_class sink_wait_ms(struct sink_thread *t, int64_t ms, struct err *err)
{
    const int64_t until_us = clk_mono_us() + ms * 1000;

    for (int64_t left_us; (left_us = until_us - clk_mono_us()) > 0 && !sink_stopping(t);) {
        const int64_t left_ms = (left_us + 999) / 1000;
        if (sink_poll_nothing(t, left_ms < POLL_MS ? (int)left_ms : POLL_MS, err) != ERR_OK)
            return err->class;
    }
    return ERR_OK;
}

/* ---- failures in a row ---- */

int64_t sink_note_failure(struct sink_thread *t, const char *text)
{
    const int64_t now_us = clk_mono_us();

    if (t->attempts == 0)
        t->away_us = now_us;
    if (t->attempts == 0 || now_us - t->told_us >= TELL_US) {
        t->told_us = now_us;
        sink_tell(t, SINK_WARNING, "sink_away", text);
    }
    t->attempts++;
    atomic_store(&t->up, false);
    (void)atomic_fetch_add(&t->retries, 1);
    t->random = t->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return sink_backoff_ms(t->attempts, (uint32_t)(t->random >> 32),
                           http_client_asked_wait_ms(t->http));
}

void sink_note_success(struct sink_thread *t)
{
    char text[80];

    if (t->attempts > 0) {
        (void)snprintf(text, sizeof text, "after %u attempts in %.1f s", t->attempts + 1,
                       (double)(clk_mono_us() - t->away_us) / 1e6);
        sink_tell(t, SINK_NOTICE, "sink_back", text);
    }
    t->attempts = 0;
    atomic_store(&t->up, true);
}

/* ---- one request ---- */

/* What the client says of it: an answer's verdict, or SINK_AGAIN. why: of sizeof err.text. */
static enum sink_verdict ask(struct sink_thread *t, const struct sink_request *request, char *why,
                             struct http_answer *ret_answer)
{
    const char *const headers[] = {request->header};
    const struct http_request r = {
        .method = HTTP_POST,
        .path = request->path,
        .content_type = "application/json",
        .accept = "application/json",
        .headers = headers,
        .headers_n = request->header[0] != '\0',
        .body = request->body,
        .body_n = request->body_n,
        .attempts_max = 1, /* the loop around it repeats: it keeps the membership */
    };
    struct err err = {.text = ""};

    *ret_answer = (struct http_answer){.body = ""};
    const enum err_class e = http_client_do(t->http, &r, ret_answer, &err);
    if (e == ERR_OK || ret_answer->status != 0) /* a status alone: its body was too long */
        return sink_judge(t->style.kind, ret_answer->status,
                          ret_answer->body != NULL ? ret_answer->body : "", ret_answer->n, why);
    (void)snprintf(why, sizeof err.text, "%s", err.text);
    return SINK_AGAIN;
}

/* SINK_DONE: there is a token. */
static enum sink_verdict fetch_token(struct sink_thread *t, char *why, struct err *err)
{
    char token[SINK_TOKEN_BYTES_MAX];
    struct sink_request request;
    struct http_answer answer;

    if (http_client_set_bearer(t->http, NULL, err) != ERR_OK ||
        sink_login(t->login_user, t->login_password, &request, err) != ERR_OK)
        return SINK_REFUSED;
    (void)ask(t, &request, why, &answer);
    free(request.body);
    if ((answer.status != 200 && answer.status != 201) ||
        !sink_token(answer.body, answer.n, token)) {
        if (answer.status != 0)
            (void)snprintf(why, SINK_WHY_BYTES_MAX, "/auth/token: it answered %u, without a token",
                           answer.status);
        return SINK_AGAIN;
    }
    if (http_client_set_bearer(t->http, token, err) != ERR_OK)
        return SINK_REFUSED;
    t->has_token = true;
    why[0] = '\0';
    return SINK_DONE;
}

/* One attempt to tell of n notes. ERR_OK and a verdict, or ERR_FATAL. */
enum err_class sink_attempt(struct sink_thread *t, const struct sink_note *notes, unsigned n,
                            enum sink_verdict *ret_verdict, char *why, struct err *err)
{
    struct sink_request request;
    struct http_answer answer;

    err->class = ERR_OK;
    if (t->login_user[0] != '\0' && !t->has_token) {
        *ret_verdict = fetch_token(t, why, err);
        if (*ret_verdict != SINK_DONE || sink_keep(t, err) != ERR_OK)
            return *ret_verdict == SINK_AGAIN ? ERR_OK : err->class;
    }
    if (sink_format(&t->style, notes, n, clk_real_us(t->options->clk), &request, err) != ERR_OK)
        return err->class;
    *ret_verdict = ask(t, &request, why, &answer);
    free(request.body);
    if (answer.status == 401)
        t->has_token = false; /* it may be over: the next attempt asks for another */
    return ERR_OK;
}

/* ---- alerts at work ---- */

static enum err_class settle(struct sink_thread *t, unsigned first, unsigned n, struct err *err);

/* A request of many that is refused: one of them is at fault, and the others are not. */
static enum err_class on_refused(struct sink_thread *t, unsigned first, unsigned n, const char *why,
                                 struct err *err)
{
    char reason[48];

    if (n == 1) {
        firing_remove(&t->firing, t->notes[first].alert->key);
        (void)snprintf(reason, sizeof reason, "refused_by_%s", sink_names[t->style.kind]);
        return sink_dead_letter(t, t->sources[first], reason, why, err);
    }
    for (unsigned i = 0; i < n; i++)
        if (settle(t, first + i, 1, err) != ERR_OK)
            return err->class;
    return ERR_OK;
}

/* Until the sink has taken them, they are dead letters, or a stop. */
static enum err_class settle(struct sink_thread *t, unsigned first, unsigned n, struct err *err)
{
    enum sink_verdict verdict = SINK_AGAIN;
    char why[sizeof err->text];

    while (!sink_stopping(t)) {
        if (sink_attempt(t, t->notes + first, n, &verdict, why, err) != ERR_OK)
            return err->class;
        if (verdict != SINK_AGAIN)
            break;
        if (!sink_stopping(t) && sink_wait_ms(t, sink_note_failure(t, why), err) != ERR_OK)
            return err->class;
    }
    if (verdict == SINK_AGAIN) {
        t->is_left = true;
        return ERR_OK;
    }
    sink_note_success(t);
    if (verdict == SINK_REFUSED)
        return on_refused(t, first, n, why, err);
    (void)atomic_fetch_add(&t->sent, n);
    return sink_keep(t, err);
}

static enum err_class flush(struct sink_thread *t, struct err *err)
{
    const unsigned n = t->notes_n;

    t->notes_n = 0;
    return n > 0 ? settle(t, 0, n, err) : ERR_OK;
}

/* Into t->alerts[slot]: views into the item, or (another schema) into t->own, since the next
 * record's decoding ends the life of this one's. */
static enum codec_status decode(struct sink_thread *t, const uint8_t *value, size_t n,
                                unsigned slot)
{
    uint8_t *own = t->own + (size_t)slot * CODEC_ALERT_BYTES_MAX;
    size_t own_n = 0;

    if (value == NULL)
        return CODEC_TRUNCATED;
    enum codec_status status = codec_alert_unframe(value, n, &t->alerts[slot]);
    if (status != CODEC_FRAME_SCHEMA && status != CODEC_FRAME_NO_REGISTRY)
        return status;
    status = codec_reader_decode(t->reader, value, n, &t->alerts[slot]);
    if (status == CODEC_OK)
        status = codec_alert_encode(&t->alerts[slot], own, CODEC_ALERT_BYTES_MAX, &own_n);
    return status == CODEC_OK ? codec_alert_decode(own, own_n, &t->alerts[slot]) : status;
}

/* Waits while a registry has not said yet what schema it is. */
enum err_class sink_decode(struct sink_thread *t, const uint8_t *value, size_t n, unsigned slot,
                           enum codec_status *ret_status, struct err *err)
{
    while ((*ret_status = decode(t, value, n, slot)) == CODEC_SCHEMA_PENDING && !sink_stopping(t))
        if (sink_wait_ms(t, POLL_MS, err) != ERR_OK)
            return err->class;
    return ERR_OK;
}

static bool is_wanted(struct sink_thread *t, const struct sink_note *note)
{
    const bool wanted = sink_wants(&t->style, note, clk_real_us(t->options->clk));

    if (t->style.kind != SINK_ALERTMANAGER)
        return wanted;
    /* where it was told of alone, it has to end, though by now another alert speaks for it */
    const bool ends = !wanted && firing_has(&t->firing, note->alert->key);
    firing_put(&t->firing, note->alert, note->time_us, note->partition, SINKS_RESOLVED_US);
    return wanted || ends;
}

static enum err_class take_item(struct sink_thread *t, const struct sink_item *item,
                                struct err *err)
{
    const unsigned slot = t->notes_n;
    enum codec_status status;

    if (sink_decode(t, item->value, item->value_n, slot, &status, err) != ERR_OK)
        return err->class;
    if (status == CODEC_SCHEMA_PENDING) { /* a stop */
        t->is_left = true;
        return ERR_OK;
    }
    if (status != CODEC_OK)
        return sink_dead_letter(t, item, UNDECODABLE, codec_status_name(status), err);
    t->notes[slot] = (struct sink_note){
        .alert = &t->alerts[slot], .time_us = item->time_us, .partition = item->partition};
    t->sources[slot] = item;
    if (!is_wanted(t, &t->notes[slot])) {
        (void)atomic_fetch_add(&t->skipped, 1);
        return ERR_OK;
    }
    t->notes_n++;
    return t->notes_n == sink_batch_max(t->style.kind) ? flush(t, err) : ERR_OK;
}

static enum err_class work(struct sink_thread *t, struct err *err)
{
    t->is_left = false;
    for (unsigned i = 0; i < t->items_n && !t->is_left; i++) {
        if (t->notes_n == 0)
            atomic_store(&t->oldest_us, t->items[i].time_us);
        if (take_item(t, &t->items[i], err) != ERR_OK)
            return err->class;
    }
    return flush(t, err);
}

/* ---- records ---- */

static uint8_t *copy(const uint8_t *data, size_t n)
{
    uint8_t *to = data != NULL ? malloc(n + 1) : NULL;

    if (to != NULL && n > 0)
        memcpy(to, data, n);
    return to;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool copy_item(struct sink_thread *t, const struct bus_reader_record *r)
{
    struct sink_item *item = &t->items[t->items_n++];

    *item = (struct sink_item){
        .partition = r->partition,
        .offset = r->offset,
        .time_us = r->timestamp_us >= 0 ? r->timestamp_us : clk_real_us(t->options->clk),
        .whole_key_n = r->key_n,
        .whole_value_n = r->value_n,
        .key_n = least(r->key_n, TOPICS_DLQ_CUT_KEY_BYTES_MAX),
        .value_n = least(r->value_n, TOPICS_DLQ_CUT_VALUE_BYTES_MAX),
    };
    item->key = copy(r->key, item->key_n);
    item->value = copy(r->value, item->value_n);
    return (r->key == NULL || item->key != NULL) && (r->value == NULL || item->value != NULL);
}

static void drop_items(struct sink_thread *t)
{
    for (unsigned i = 0; i < t->items_n; i++) {
        free(t->items[i].key);
        free(t->items[i].value);
    }
    t->items_n = 0;
    t->notes_n = 0;
    atomic_store(&t->oldest_us, 0);
}

/* Oldest first over the partitions; within one the log's order stays, whatever its timestamps say.
 */
static void sort_items(struct sink_thread *t)
{
    int64_t order[SINK_POLL_MAX];

    for (unsigned i = 0; i < t->items_n; i++) {
        const struct sink_item item = t->items[i];
        int64_t mine = item.time_us;
        unsigned k = i;
        for (unsigned j = 0; j < i; j++)
            if (t->items[j].partition == item.partition && order[j] > mine)
                mine = order[j];
        for (; k > 0 && order[k - 1] > mine; k--) {
            t->items[k] = t->items[k - 1];
            order[k] = order[k - 1];
        }
        t->items[k] = item;
        order[k] = mine;
    }
}

static enum err_class take_records(struct sink_thread *t, struct err *err)
{
    const struct bus_consumer_record *records;
    unsigned n;

    bus_consumer_pause(t->consumer, false);
    if (bus_consumer_poll(t->consumer, POLL_MS, &records, &n, err) != ERR_OK)
        return err->class;
    t->polled_us = clk_mono_us();
    assert(n <= SINK_POLL_MAX);
    for (unsigned i = 0; i < n; i++)
        if (!copy_item(t, &records[i].r))
            return err_set(err, ERR_FATAL, "sink: out of memory");
    sort_items(t);
    return ERR_OK;
}

/* ---- the thread ---- */

/* Not all sinks know a repetition: theirs go on when the position is safe at the broker, so that a
 * crash repeats one poll's at most. */
static enum err_class commit(struct sink_thread *t, uint64_t mark, bool wait, struct err *err)
{
    if (bus_consumer_commit(t->consumer, mark, err) != ERR_OK)
        return err->class;
    while (wait && !sink_stopping(t) && !bus_consumer_settle(t->consumer, SETTLE_MS))
        if (sink_poll_nothing(t, 0, err) != ERR_OK)
            return err->class;
    return ERR_OK;
}

/* What was handed out is settled. Also where no record came: behind the last one lie the markers of
 * the transactions that wrote them, and a position before those would look like a lag. */
static enum err_class step(struct sink_thread *t, struct err *err)
{
    uint64_t mark;

    if (take_records(t, err) != ERR_OK)
        return err->class;
    if (t->style.kind == SINK_ALERTMANAGER && sink_repeat(t, err) != ERR_OK)
        return err->class;
    if (bus_consumer_mark(t->consumer, &mark, err) != ERR_OK || work(t, err) != ERR_OK)
        return err->class;
    const bool wait = t->items_n > 0 && sink_batch_max(t->style.kind) == 1;
    drop_items(t);
    return t->is_left ? ERR_OK : commit(t, mark, wait, err);
}

static void *thread_main(void *argument)
{
    struct sink_thread *t = argument;
    enum err_class e = ERR_OK;

    while (e == ERR_OK && !sink_stopping(t))
        e = step(t, &t->err);
    if (e != ERR_OK) {
        sink_tell(t, SINK_ERROR, "sink_failed", t->err.text);
        atomic_store(&t->up, false);
        atomic_store(&t->failed, true);
    }
    drop_items(t);
    bus_producer_free(t->producer);
    bus_consumer_free(t->consumer); /* here, so that all sinks wait for their commits at once */
    return NULL;
}

/* Signals are the main thread's. */
static int start_thread(struct sink_thread *t)
{
    sigset_t all, before;
    char name[16];

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int rc = pthread_create(&t->thread, NULL, thread_main, t);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)snprintf(name, sizeof name, "%s", sink_names[t->style.kind]);
    if (rc == 0)
        (void)pthread_setname_np(t->thread, name);
    return rc;
}

static enum err_class join_group(struct sink_thread *t, struct err *err)
{
    const struct bus_consumer_options options = {
        .settings = t->kafka,
        .settings_n = t->kafka_n,
        .group_id = t->group,
        .group_instance_id = t->options->instance,
        .topics = &t->topic,
        .topics_n = 1,
        .session_timeout_ms = SESSION_MS,
        .batch_max = t->style.kind == SINK_LOKI || t->style.kind == SINK_ALERTMANAGER
                         ? SINK_POLL_MAX
                         : SINK_POLL_MAX / 8, /* repeated by a crash, and not all are idempotent */
        .log = t->options->log,
        .log_user = t->options->log_user,
    };
    return bus_consumer_new(&options, &t->consumer, err);
}

enum err_class sink_thread_start(struct sink_thread *t, struct err *err)
{
    const unsigned slots = sink_batch_max(t->style.kind);

    t->random = (uint64_t)clk_mono_us() ^ (uint64_t)t->style.kind << 32;
    atomic_store(&t->up, true);
    t->alerts = calloc(slots, sizeof t->alerts[0]);
    t->own = malloc((size_t)slots * CODEC_ALERT_BYTES_MAX);
    if (t->alerts == NULL || t->own == NULL ||
        (t->style.kind == SINK_ALERTMANAGER &&
         !firing_init(&t->firing, SINKS_FIRING_MAX, SINKS_FIRING_BYTES_MAX)))
        return err_set(err, ERR_FATAL, "sink: out of memory");
    if (codec_reader_new(&codec_alert_record, t->options->ids, &t->reader, err) != ERR_OK ||
        join_group(t, err) != ERR_OK)
        return err->class;
    t->polled_us = clk_mono_us();
    if (start_thread(t) != 0) {
        bus_consumer_free(t->consumer);
        return err_set(err, ERR_FATAL, "sink: no thread");
    }
    t->is_started = true;
    return ERR_OK;
}

void sink_thread_join(struct sink_thread *t)
{
    if (t->is_started)
        (void)pthread_join(t->thread, NULL);
    t->is_started = false;
}

void sink_thread_free(struct sink_thread *t)
{
    if (t == NULL)
        return;
    sink_thread_join(t);
    http_client_free(t->http);
    codec_reader_free(t->reader);
    firing_free(&t->firing);
    free(t->alerts);
    free(t->own);
    free(t);
}
