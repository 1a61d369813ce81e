/* l2_feed.h: one symbol's stream fed by hand: judged, closed and taken as the producer does. */
#ifndef L2_FEED_H
#define L2_FEED_H

#include "l2_test.h"

#define BARS_MAX 16
#define T0 (INT64_C(1723075200) * S) /* a day's start */

/* One symbol fed by hand: bars that event time closes are kept. */
struct feed {
    struct l2_params params;
    struct l2_stream stream;
    struct l2_minute minutes[60];
    int64_t sequence, epoch;
    double signed_volume; /* of the next snapshot */
    bool no_flow;         /* of the next snapshot */
    struct l2_bar bars[BARS_MAX];
    struct l2_sketch sketches[BARS_MAX];
    unsigned bars_n;
};

struct feed *feed_start(struct feed *f, uint32_t bar_s, uint32_t window_s);
/* Closes the open bar and keeps it. */
struct l2_bar *feed_close_bar(struct feed *f);
/* What the producer does with an accepted snapshot: judge, close what is due, take. Quantities bid
 * 3, ask 4 unless told. */
enum l2_verdict feed_give_top(struct feed *f, int64_t t_us, struct l2_top top);
/* A snapshot around `mid`; its e_n after one of the same mid is 0, after another mid not. */
void feed_give(struct feed *f, int64_t t_us, double mid);
/* Snapshots each second of [from, to), mid 100. */
void feed_quiet(struct feed *f, int64_t from_us, int64_t to_us);
bool bar_has(const struct l2_bar *bar, enum l2_column column);
/* Mid and signed volume of second i: nothing regular, all exact. */
double feed_mid_at(int i);
double feed_volume_at(int i);

#endif
