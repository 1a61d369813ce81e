#include "mon_source.h"

#include "bus/bus.h"
#include "clk/clk.h"
#include "codec/container.h"
#include "codec/registry.h"
#include "connect/connect.h"
#include "mon.h"
#include "topics/topics.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define POLL_MS 1000
#define REGISTRY_WAIT_MS 6000 /* a look-up's own deadline, and some */
#define PROGRESS_US (2 * CLK_US_PER_S)
#define BOOTSTRAP_DEFAULT "127.0.0.1:9092"

void mon_progress(const struct mon_source *source, const struct mon_bars *bars)
{
    static int64_t next_us;
    const int64_t now_us = clk_mono_us();

    if (next_us == 0)
        next_us = now_us + PROGRESS_US;
    if (source->is_quiet || now_us < next_us)
        return;
    next_us = now_us + PROGRESS_US;
    fprintf(stderr, "l2monitor: %s: %llu bars read, %llu taken, %zu cryptos\n", source->name,
            (unsigned long long)bars->read_n, (unsigned long long)bars->taken_n, bars->cryptos_n);
}

/* ---- a file */

static int read_file(const struct mon_source *s, struct mon_bars *bars)
{
    struct codec_file_reader *reader = NULL;
    struct err err = {0};
    FILE *const in = fopen(s->name, "rb");

    if (in == NULL) {
        fprintf(stderr, "l2monitor: %s: %s\n", s->name, strerror(errno));
        return MON_NO_INPUT;
    }
    enum err_class e = codec_file_open_stream(in, s->name, &codec_l2_bar_record, &reader, &err);
    for (bool is_got = true; e == ERR_OK && is_got;) {
        struct codec_l2_bar bar;
        e = codec_file_next_record(reader, &bar, &is_got, &err);
        if (e == ERR_OK && is_got)
            e = mon_bars_put(bars, &bar, &err);
        mon_progress(s, bars);
    }
    codec_file_close(reader);
    if (e == ERR_OK)
        return MON_OK;
    return e == ERR_REJECT ? (mon_fail(&err), MON_DATA) : mon_fail(&err);
}

/* ---- the topic */

/* As codec_ids wants it: waits, which does no harm here. */
static enum codec_found find(void *user, uint32_t id, const struct codec_record *record,
                             const struct codec_plan **ret_plan)
{
    return codec_registry_wait(user, id, record, REGISTRY_WAIT_MS, ret_plan);
}

static enum err_class decode(struct codec_reader *reader, const struct bus_reader_record *m,
                             struct codec_l2_bar *ret_bar, struct err *err)
{
    const enum codec_status status = codec_reader_decode(reader, m->value, m->value_n, ret_bar);

    if (status == CODEC_OK)
        return ERR_OK;
    return err_set(err, status == CODEC_SCHEMA_PENDING ? ERR_RETRY : ERR_REJECT,
                   "l2.bars, partition %d, offset %lld: %s%s", (int)m->partition,
                   (long long)m->offset, codec_status_name(status),
                   status == CODEC_SCHEMA_PENDING      ? ": the schema registry does not answer"
                   : status == CODEC_FRAME_NO_REGISTRY ? ": set schema_registry_url"
                                                       : "");
}

static enum err_class read_all(const struct mon_source *s, struct bus_reader *from,
                               struct codec_reader *reader, struct mon_bars *bars, struct err *err)
{
    const struct bus_reader_record *m;
    struct codec_l2_bar bar;

    for (bool is_end = false; !is_end;) {
        if (bus_reader_next(from, POLL_MS, &m, &is_end, err) != ERR_OK)
            return err->class;
        if (m != NULL &&
            (decode(reader, m, &bar, err) != ERR_OK || mon_bars_put(bars, &bar, err) != ERR_OK))
            return err->class;
        mon_progress(s, bars);
    }
    return ERR_OK;
}

static int read_topic(const struct mon_source *s, struct mon_bars *bars)
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
        e = codec_reader_new(&codec_l2_bar_record, &ids, &reader, &err);
    if (e == ERR_OK) {
        snprintf(topic, sizeof topic, "%s%s", config_string(config, "topic_prefix"),
                 topics_name(TOPICS_BARS));
        e = bus_reader_new(kafka.v, kafka.n, topic, -1, BUS_FROM_START, true, &from, &err);
    }
    if (e == ERR_OK)
        e = read_all(s, from, reader, bars, &err);
    if (from != NULL)
        bus_reader_free(from);
    codec_reader_free(reader);
    codec_registry_free(registry);
    config_free(config);
    return e == ERR_OK ? MON_OK : mon_fail(&err);
}

int mon_source_read(const struct mon_source *s, struct mon_bars *bars)
{
    if (strcmp(s->name, "postgres") == 0)
        return mon_source_read_pg(s, bars);
    if (strcmp(s->name, topics_name(TOPICS_BARS)) == 0)
        return read_topic(s, bars);
    return read_file(s, bars);
}
