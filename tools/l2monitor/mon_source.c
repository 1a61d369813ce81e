#include "mon_source.h"

#include "bus/bus.h"
#include "clk/clk.h"
#include "codec/candle.h"
#include "codec/container.h"
#include "codec/l2_bar.h"
#include "codec/l2_feature.h"
#include "codec/prediction.h"
#include "codec/registry.h"
#include "codec/rollout_state.h"
#include "connect/connect.h"
#include "mon.h"
#include "qm_wire.h"
#include "topics/topics.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define POLL_MS 1000
#define REGISTRY_WAIT_MS 6000 /* a look-up's own deadline, and some */
#define PROGRESS_US (2 * CLK_US_PER_S)
#define AHEAD_US_MAX (24 * 3600 * CLK_US_PER_S) /* of the clock here: that of other machines */
#define BOOTSTRAP_DEFAULT "127.0.0.1:9092"

union mon_value { /* of any record that is read */
    struct codec_candle candle;
    struct codec_l2_bar bar;
    struct codec_l2_feature feature;
    struct codec_prediction prediction;
    struct codec_rollout_state rollout;
};

int64_t mon_source_latest_us(void)
{
    return clk_wall_us() + AHEAD_US_MAX;
}

static void tell(const struct mon_source *source, unsigned more_n)
{
    static int64_t next_us;
    static unsigned long long read_n;
    const int64_t now_us = clk_mono_us();

    read_n += more_n;
    if (next_us == 0)
        next_us = now_us + PROGRESS_US;
    if (source->is_quiet || now_us < next_us)
        return;
    next_us = now_us + PROGRESS_US;
    fprintf(stderr, "l2monitor: %s: %llu records read%s\n", source->name, read_n,
            more_n == 0 ? ", waiting for more" : "");
}

void mon_progress(const struct mon_source *source)
{
    tell(source, 1);
}

/* ---- ^C */

static volatile sig_atomic_t stopped;

bool mon_is_stopped(void)
{
    return stopped != 0;
}

static void on_signal(int signal)
{
    (void)signal;
    stopped = 1;
}

void mon_stop_on_signals(void)
{
    /* the second one ends it: a query may be slow to answer */
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

/* ---- a file */

static bool is_taken(const struct mon_taker *t, const struct codec_record *record)
{
    for (unsigned i = 0; t->records[i] != NULL; i++) {
        if (t->records[i] == record)
            return true;
    }
    return false;
}

/* A taker of one record says which; else the file's schema does. */
static enum err_class open_file(FILE *in, const struct mon_source *s, const struct mon_taker *t,
                                struct codec_file_reader **ret_reader, struct err *err)
{
    const struct codec_record *const only = t->records[1] == NULL ? t->records[0] : NULL;

    if (codec_file_open_stream(in, s->name, only, ret_reader, err) != ERR_OK)
        return err->class;
    if (!is_taken(t, codec_file_record(*ret_reader)))
        return err_set(err, ERR_REJECT, "%s: records of %s, which are not read here", s->name,
                       codec_file_record(*ret_reader)->name);
    return ERR_OK;
}

static int read_file(const struct mon_source *s, const struct mon_taker *t)
{
    struct codec_file_reader *reader = NULL;
    struct err err = {0};
    FILE *const in = fopen(s->name, "rb");

    if (in == NULL) {
        fprintf(stderr, "l2monitor: %s: %s\n", s->name, strerror(errno));
        return MON_NO_INPUT;
    }
    enum err_class e = open_file(in, s, t, &reader, &err);
    for (bool is_got = true; e == ERR_OK && is_got && !mon_is_stopped();) {
        union mon_value value;
        e = codec_file_next_record(reader, &value, &is_got, &err);
        if (e == ERR_OK && is_got)
            e = t->take(t->user, codec_file_record(reader), &value, mon_source_latest_us(), &err);
        if (is_got)
            mon_progress(s);
    }
    codec_file_close(reader);
    if (mon_is_stopped())
        return MON_INTERRUPTED;
    if (e == ERR_OK)
        return MON_OK;
    return e == ERR_REJECT ? (mon_fail(&err), MON_DATA) : mon_fail(&err);
}

/* ---- a topic */

/* As codec_ids wants it: waits, which does no harm here. */
static enum codec_found find(void *user, uint32_t id, const struct codec_record *record,
                             const struct codec_plan **ret_plan)
{
    return codec_registry_wait(user, id, record, REGISTRY_WAIT_MS, ret_plan);
}

static enum err_class decode(const struct mon_source *s, struct codec_reader *reader,
                             const struct bus_reader_record *m, union mon_value *ret_value,
                             struct err *err)
{
    const enum codec_status status = codec_reader_decode(reader, m->value, m->value_n, ret_value);

    if (status == CODEC_OK)
        return ERR_OK;
    return err_set(err, status == CODEC_SCHEMA_PENDING ? ERR_RETRY : ERR_REJECT,
                   "%s, partition %d, offset %lld: %s%s", s->name, (int)m->partition,
                   (long long)m->offset, codec_status_name(status),
                   status == CODEC_SCHEMA_PENDING      ? ": the schema registry does not answer"
                   : status == CODEC_FRAME_NO_REGISTRY ? ": set schema_registry_url"
                                                       : "");
}

/* As the monitor has it, who leaves out what is later. */
static int64_t latest_us(const struct bus_reader_record *m)
{
    return m->timestamp_us < 0 ? mon_source_latest_us() : m->timestamp_us + QM_AHEAD_US_MAX;
}

static enum err_class read_all(const struct mon_source *s, const struct codec_record *record,
                               struct bus_reader *from, struct codec_reader *reader,
                               const struct mon_taker *t, struct err *err)
{
    const struct bus_reader_record *m;
    union mon_value value;

    for (bool is_end = false; !is_end && !mon_is_stopped();) {
        if (bus_reader_next(from, POLL_MS, &m, &is_end, err) != ERR_OK)
            return err->class;
        if (m != NULL && m->value != NULL &&
            (decode(s, reader, m, &value, err) != ERR_OK ||
             t->take(t->user, record, &value, latest_us(m), err) != ERR_OK))
            return err->class;
        if (m != NULL || !is_end)
            tell(s, m != NULL);
    }
    return ERR_OK;
}

static int read_topic(const struct mon_source *s, const struct codec_record *record,
                      const struct mon_taker *t)
{
    struct config *config = NULL;
    struct connect_kafka kafka;
    struct codec_registry *registry = NULL;
    struct codec_reader *reader = NULL;
    struct bus_reader *from = NULL;
    char topic[TOPICS_NAME_BYTES_MAX + 1];
    struct err err = {0};

    enum err_class e = config_load(mon_config_rows, s->config_file, &config, &err);
    if (e == ERR_OK)
        e = connect_kafka_load(config, NULL, BOOTSTRAP_DEFAULT, &kafka, &err);
    if (e == ERR_OK && connect_registry_wanted(config))
        e = connect_registry_open(config, &registry, &err);
    const struct codec_ids ids = {registry != NULL ? find : NULL, registry};
    if (e == ERR_OK)
        e = codec_reader_new(record, &ids, &reader, &err);
    if (e == ERR_OK) {
        snprintf(topic, sizeof topic, "%s%s", config_string(config, "topic_prefix"), s->name);
        e = bus_reader_new(kafka.v, kafka.n, topic, -1, BUS_FROM_START, true, &from, &err);
    }
    if (e == ERR_OK)
        e = read_all(s, record, from, reader, t, &err);
    if (from != NULL)
        bus_reader_free(from);
    codec_reader_free(reader);
    codec_registry_free(registry);
    config_free(config);
    if (mon_is_stopped())
        return MON_INTERRUPTED;
    return e == ERR_OK ? MON_OK : mon_fail(&err);
}

static const struct {
    enum topics_id topic;
    const struct codec_record *record;
} topics[] = {
    {TOPICS_OHLCV, &codec_candle_record},          {TOPICS_BARS, &codec_l2_bar_record},
    {TOPICS_FEATURES, &codec_l2_feature_record},   {TOPICS_PREDICTIONS, &codec_prediction_record},
    {TOPICS_ROLLOUT, &codec_rollout_state_record},
};
#define TOPICS_READ (sizeof topics / sizeof topics[0])

int mon_source_read(const struct mon_source *s, const struct mon_wanted *wanted,
                    const struct mon_taker *t)
{
    const bool is_all = strcmp(s->name, "topics") == 0;
    int code = MON_OK;

    if (strcmp(s->name, "postgres") == 0)
        return mon_source_read_pg(s, wanted, t);
    for (unsigned i = 0; code == MON_OK && i < TOPICS_READ; i++) {
        const struct mon_source one = {topics_name(topics[i].topic), s->config_file, s->is_quiet};
        if (!is_taken(t, topics[i].record) || (!is_all && strcmp(s->name, one.name) != 0))
            continue;
        code = read_topic(&one, topics[i].record, t);
        if (!is_all)
            return code;
    }
    return is_all ? code : read_file(s, t);
}
