/*
 * bench_l2: what one snapshot costs, from its bytes to all six features.
 *
 *     bench_l2 SNAPSHOTS.avro [ROUNDS]
 *
 * SNAPSHOTS.avro is a container of L2Snapshot, as l2replay --output writes it. Its encoded bodies
 * are read into memory once. Then, for every stage in turn and again for each round, the recording
 * is gone through in order, timed in batches of BATCH snapshots (reading the clock costs as much as
 * a snapshot); a figure is the median over all batches of the nanoseconds a snapshot. Stages take
 * turns within a round, so that a noisy machine is as noisy for each of them. One JSON line
 * {"name", "value", "unit"} a figure:
 *
 * - memcpy: the body's bytes copied by the C library; 18 to 60 ns, by how both ends lie.
 *
 * - decode: bytes to struct, every length and count checked.
 *
 * - decode_validate: and l2_book_check.
 *
 * - decode_validate_features: and l2_stream_judge, l2_stream_take: all six features. The spread
 *   sketch is none of them: it is left out by the same stream.c, compiled with an empty
 *   l2_sketch_add.
 *
 * - decode_validate_features_sketch: and the sketch: what the producer's core does.
 *
 * - sketch_add: l2_sketch_add alone, of the spreads in their order.
 *
 * - avro_c_generic_decode: avro-c's generic values from the same bytes, for comparison.
 */
#include <avro.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/container.h"
#include "codec/l2_snapshot.h"
#include "l2/l2.h"

#define RECORDS_MAX 200000
#define BYTES_MAX (256 << 20)
#define BATCH 32
#define ROUNDS 30
#define SAMPLES_MAX (1 << 20) /* batches of one stage over all rounds */

/* stream.c a second time, with an empty l2_sketch_add (see CMakeLists.txt). */
void bare_stream_init(struct l2_stream *stream, const struct l2_params *params,
                      struct l2_minute *minutes);
void bare_stream_take(struct l2_stream *stream, const struct l2_params *params,
                      const struct l2_snapshot *snapshot, int64_t kafka_time_us);
void bare_sketch_add(struct l2_sketch *sketch, double x);
void bare_sketch_add(struct l2_sketch *sketch, double x)
{
    (void)sketch;
    (void)x;
}

enum stage {
    MEMCPY,
    DECODE,
    VALIDATE,
    FEATURES,
    FEATURES_SKETCH,
    SKETCH,
    AVRO_C,
    STAGES,
};

static const char *const names[STAGES] = {
    [MEMCPY] = "memcpy",
    [DECODE] = "decode",
    [VALIDATE] = "decode_validate",
    [FEATURES] = "decode_validate_features",
    [FEATURES_SKETCH] = "decode_validate_features_sketch",
    [SKETCH] = "sketch_add",
    [AVRO_C] = "avro_c_generic_decode",
};

static struct bench {
    uint8_t *bytes, *copy;
    size_t bytes_n;
    uint32_t offsets[RECORDS_MAX + 1];
    double spreads[RECORDS_MAX];
    unsigned n;
    struct l2_params params;
    struct l2_minute minutes[L2_WINDOW_S_MAX / 60];
    struct l2_stream stream;
    struct codec_l2_snapshot decoded;
    struct l2_snapshot view;
    avro_schema_t schema;
    avro_value_iface_t *iface;
    avro_value_t value;
    double *samples[STAGES];
    size_t samples_n;
    double sink; /* what was computed is used */
} b;

static int complain(const char *text)
{
    (void)fprintf(stderr, "bench_l2: %s\n", text);
    return 1;
}

static const uint8_t *body_of(unsigned i, size_t *ret_n)
{
    *ret_n = b.offsets[i + 1] - b.offsets[i];
    return b.bytes + b.offsets[i];
}

static enum err_class load(const char *path, struct err *err)
{
    struct codec_file_reader *r = NULL;
    const uint8_t *body = NULL;
    size_t n = 0;
    enum err_class e = codec_file_open(path, &codec_l2_snapshot_record, &r, err);

    b.bytes = malloc(BYTES_MAX);
    if (e == ERR_OK && b.bytes == NULL)
        e = err_set(err, ERR_FATAL, "no memory");
    while (e == ERR_OK && b.n < RECORDS_MAX) {
        e = codec_file_next(r, &body, &n, err);
        if (e != ERR_OK || body == NULL || b.bytes_n + n > BYTES_MAX)
            break;
        memcpy(b.bytes + b.bytes_n, body, n);
        b.bytes_n += n;
        b.offsets[++b.n] = (uint32_t)b.bytes_n;
    }
    codec_file_close(r);
    if (e == ERR_OK && b.n < BATCH)
        e = err_set(err, ERR_REJECT, "%s: %u snapshots: at least %d are needed", path, b.n, BATCH);
    return e;
}

/* As the producer's wire does it: into structs that live as long as the process, levels read in
 * place. */
static const struct l2_snapshot *decode(unsigned i)
{
    struct codec_l2_snapshot *d = &b.decoded;
    size_t n;
    const uint8_t *body = body_of(i, &n);

    if (codec_l2_snapshot_decode(body, n, d) != CODEC_OK)
        return NULL;
    b.view = (struct l2_snapshot){
        .event_time_us = d->event_time_us,
        .received_time_us = d->received_time_us,
        .sequence = d->sequence,
        .epoch = d->epoch,
        .bids = (const struct l2_level *)(const void *)d->bids,
        .asks = (const struct l2_level *)(const void *)d->asks,
        .bids_n = d->bids_n,
        .asks_n = d->asks_n,
        .has_flow = d->has_flow,
        .flow = {d->flow.buy_base, d->flow.sell_base, d->flow.buy_quote, d->flow.sell_quote,
                 d->flow.trade_count},
    };
    return &b.view;
}

/* Closes what is due; rare, and the same in both stages. */
static void close_due(int64_t event_time_us)
{
    static uint8_t sketch[L2_SKETCH_BYTES_MAX];
    struct l2_bar bar;
    size_t n;

    while (l2_stream_is_due(&b.stream, &b.params, event_time_us)) {
        l2_stream_close(&b.stream, &b.params, &bar, sketch, &n);
        b.sink += bar.row.value[L2_KYLE_LAMBDA];
    }
}

static void features(enum stage stage, const struct l2_snapshot *s)
{
    if (l2_stream_judge(&b.stream, s->epoch, s->sequence, s->event_time_us) != L2_TAKE)
        return;
    close_due(s->event_time_us);
    if (stage == FEATURES)
        bare_stream_take(&b.stream, &b.params, s, s->received_time_us);
    else
        l2_stream_take(&b.stream, &b.params, s, s->received_time_us);
}

static void avro_c(unsigned i)
{
    size_t n;
    const uint8_t *body = body_of(i, &n);
    avro_reader_t reader = avro_reader_memory((const char *)body, (int64_t)n);

    b.sink += avro_value_read(reader, &b.value);
    avro_reader_free(reader);
}

static void one(enum stage stage, unsigned i)
{
    const struct l2_snapshot *s;
    size_t n;
    const uint8_t *body;

    switch (stage) {
    case MEMCPY:
        body = body_of(i, &n);
        memcpy(b.copy, body, n);
        __asm__ volatile("" : : "r"(b.copy) : "memory"); /* the copy is really made */
        break;
    case DECODE:
        b.sink += decode(i) != NULL;
        break;
    case VALIDATE:
        s = decode(i);
        b.sink += s != NULL && l2_book_check(s) == L2_ACCEPTED;
        break;
    case FEATURES:
    case FEATURES_SKETCH:
        s = decode(i);
        if (s != NULL && l2_book_check(s) == L2_ACCEPTED)
            features(stage, s);
        break;
    case SKETCH:
        l2_sketch_add(&b.stream.spread, b.spreads[i]);
        break;
    case AVRO_C:
        avro_c(i);
        break;
    case STAGES:
        break;
    }
}

static double now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Once through the recording; `round` below 0 only warms up. */
static void run(enum stage stage, int round, unsigned batches)
{
    l2_stream_init(&b.stream, &b.params, b.minutes);
    for (unsigned batch = 0; batch < batches; batch++) {
        const double begin = now_ns();
        for (unsigned i = batch * BATCH; i < (batch + 1) * BATCH; i++)
            one(stage, i);
        const double ns = (now_ns() - begin) / BATCH;
        if (round >= 0)
            b.samples[stage][(size_t)round * batches + batch] = ns;
    }
}

static int compare(const void *x, const void *y)
{
    const double a = *(const double *)x, c = *(const double *)y;

    return (a > c) - (a < c);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare);
    return values[n / 2];
}

static bool prepare(size_t samples_n)
{
    b.params = l2_params_default();
    b.copy = malloc(CODEC_L2_SNAPSHOT_BYTES_MAX);
    if (b.copy == NULL)
        return false;
    if (avro_schema_from_json_length(codec_l2_snapshot_schema, strlen(codec_l2_snapshot_schema),
                                     &b.schema) != 0)
        return false;
    b.iface = avro_generic_class_from_schema(b.schema);
    if (b.iface == NULL || avro_generic_value_new(b.iface, &b.value) != 0)
        return false;
    for (int i = 0; i < STAGES; i++) {
        b.samples[i] = malloc(samples_n * sizeof *b.samples[i]);
        if (b.samples[i] == NULL)
            return false;
    }
    for (unsigned i = 0; i < b.n; i++) {
        const struct l2_snapshot *s = decode(i);
        if (s == NULL || l2_book_check(s) != L2_ACCEPTED)
            return false;
        struct l2_book book;
        l2_book_of(s, &book);
        b.spreads[i] = l2_spread_bps(&book.top);
    }
    return true;
}

static void report(size_t samples_n)
{
    for (int i = 0; i < STAGES; i++)
        printf("{\"name\": \"%s\", \"value\": %.1f, \"unit\": \"ns\"}\n", names[i],
               median(b.samples[i], samples_n));
    printf("{\"name\": \"snapshot_bytes\", \"value\": %.0f, \"unit\": \"bytes\"}\n",
           (double)b.bytes_n / b.n);
}

int main(int argc, char **argv)
{
    struct err err;
    const unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : ROUNDS;

    if (argc < 2)
        return complain("which file? bench_l2 SNAPSHOTS.avro [ROUNDS]");
    if (load(argv[1], &err) != ERR_OK)
        return complain(err.text);
    const unsigned batches = b.n / BATCH;
    if (rounds < 1 || rounds > SAMPLES_MAX / batches)
        return complain("ROUNDS: 1 to what 2^20 batches hold");
    if (!prepare(rounds * batches))
        return complain("a snapshot is not accepted, or no memory");
    for (int round = -2; round < (int)rounds; round++) {
        for (int stage = 0; stage < STAGES; stage++)
            run((enum stage)stage, round, batches);
    }
    report(rounds * batches);
    for (int i = 0; i < STAGES; i++)
        free(b.samples[i]);
    avro_value_decref(&b.value);
    avro_value_iface_decref(b.iface);
    avro_schema_decref(b.schema);
    free(b.bytes);
    free(b.copy);
    return b.sink < 0; /* never */
}
