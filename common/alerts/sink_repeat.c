/* Alertmanager forgets what is not repeated: what fires is told again and again, and what was
 * resolved for a while. */
#include "alerts/sink_thread.h"

#define POLL_MS 100

/* One record of the log, if the sink has been told of it. */
static enum err_class remember(struct sink_thread *t, const struct bus_reader_record *r,
                               struct err *err)
{
    enum codec_status status;

    if (r->offset >= bus_consumer_position(t->consumer, 0, r->partition))
        return ERR_OK;
    if (sink_decode(t, r->value, r->value_n, 0, &status, err) != ERR_OK)
        return err->class;
    if (status == CODEC_OK)
        firing_put(&t->firing, &t->alerts[0], r->timestamp_us, r->partition, SINKS_RESOLVED_US);
    return ERR_OK;
}

static enum err_class remember_all(struct sink_thread *t, struct bus_reader *reader,
                                   struct err *err)
{
    const struct bus_reader_record *record;
    bool end = false;

    while (!end && !sink_stopping(t)) {
        if (bus_reader_next(reader, POLL_MS, &record, &end, err) != ERR_OK ||
            (record != NULL && remember(t, record, err) != ERR_OK) || sink_keep(t, err) != ERR_OK)
            return err->class;
    }
    return ERR_OK;
}

/* What fires as of our position, from the log: at the start, and when partitions came. */
static enum err_class refill(struct sink_thread *t, struct err *err)
{
    while (!sink_stopping(t)) {
        struct bus_reader *reader = NULL;
        firing_clear(&t->firing);
        t->owned = bus_consumer_owned(t->consumer);
        enum err_class e =
            bus_reader_new(t->kafka, t->kafka_n, t->topic, -1, BUS_FROM_START, true, &reader, err);
        if (e == ERR_OK)
            e = remember_all(t, reader, err);
        bus_reader_free(reader);
        if (e == ERR_FATAL)
            return e;
        if (e == ERR_OK && bus_consumer_owned(t->consumer) <= t->owned)
            break;
        if (e != ERR_OK)
            sink_tell(t, SINK_WARNING, "firing_not_read", err->text);
        if (sink_wait_ms(t, CLK_US_PER_S / 1000, err) != ERR_OK)
            return err->class;
    }
    t->owned = bus_consumer_owned(t->consumer);
    firing_expire(&t->firing, clk_real_us(t->options->clk));
    t->resend_us = clk_mono_us();
    return ERR_OK;
}

/* The next of them, from *i on, into t->notes; returns how many. */
static unsigned pick(struct sink_thread *t, unsigned *i)
{
    unsigned n = 0;

    for (; *i < t->firing.n && n < SINK_BATCH_MAX; (*i)++) {
        const struct firing_entry *entry = t->firing.v[*i];
        if (bus_consumer_position(t->consumer, 0, entry->partition) < 0)
            continue; /* another replica's by now */
        firing_get(entry, &t->alerts[n]);
        t->notes[n] = (struct sink_note){
            .alert = &t->alerts[n], .time_us = entry->time_us, .partition = entry->partition};
        n++;
    }
    return n;
}

static enum err_class resend(struct sink_thread *t, struct err *err)
{
    enum sink_verdict verdict = SINK_AGAIN;
    char why[sizeof err->text];
    unsigned i = 0;

    firing_expire(&t->firing, clk_real_us(t->options->clk));
    t->resend_us = clk_mono_us() + (int64_t)t->style.resend_s * CLK_US_PER_S;
    for (unsigned n; (n = pick(t, &i)) > 0 && !sink_stopping(t);) {
        if (sink_attempt(t, t->notes, n, &verdict, why, err) != ERR_OK ||
            sink_keep(t, err) != ERR_OK)
            return err->class;
        if (verdict == SINK_AGAIN) {
            const int64_t again_us = clk_mono_us() + sink_note_failure(t, why) * 1000;
            t->resend_us = again_us < t->resend_us ? again_us : t->resend_us;
            return ERR_OK;
        }
        sink_note_success(t);
        if (verdict == SINK_REFUSED) /* each was judged when it was new */
            sink_tell(t, SINK_WARNING, "resend_refused", why);
    }
    return ERR_OK;
}

enum err_class sink_repeat(struct sink_thread *t, struct err *err)
{
    if (bus_consumer_owned(t->consumer) > t->owned && refill(t, err) != ERR_OK)
        return err->class;
    t->owned = bus_consumer_owned(t->consumer);
    if (clk_mono_us() >= t->resend_us && resend(t, err) != ERR_OK)
        return err->class;
    if (t->firing.lost > atomic_load(&t->firing_lost))
        sink_tell(t, SINK_ERROR, "firing_lost",
                  "more alerts fire than can be repeated: Alertmanager will end those by itself");
    atomic_store(&t->firing_lost, t->firing.lost);
    atomic_store(&t->firing_n, t->firing.n);
    return ERR_OK;
}
