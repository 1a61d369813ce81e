/* mon_bars.h: a deployment's stored bars, by crypto, from wherever they come: one exchange, one bar
 * length, one schema version. */
#ifndef MON_BARS_H
#define MON_BARS_H

#include "base/err.h"
#include "codec/l2_bar.h"
#include "l2/calibrate.h"
#include "mon_wanted.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mon_crypto {
    char symbol[L2_SYMBOL_BYTES_MAX + 1];
    struct l2_training_bar *bars;
    size_t n, room;
};

struct mon_bars {
    struct mon_choice choice;
    struct mon_crypto *crypto; /* rising by symbol */
    size_t cryptos_n, room;
    uint64_t read_n, taken_n;
};

void mon_bars_init(struct mon_bars *bars, const struct mon_wanted *wanted);
void mon_bars_free(struct mon_bars *bars);

/* One bar; what is not wanted is passed over. REJECT: a second exchange, version or bar length
 * where none was named; a bar that is none. */
enum err_class mon_bars_put(struct mon_bars *bars, const struct codec_l2_bar *bar,
                            struct err *err) MUST_CHECK;
/* The same for mon_source_read; user: the mon_bars. */
enum err_class mon_bars_take(void *user, const struct codec_record *record, const void *value,
                             int64_t latest_us, struct err *err) MUST_CHECK;
/* Sorts them; a bar that came twice counts once. REJECT: with two different contents. */
enum err_class mon_bars_finish(struct mon_bars *bars, struct err *err) MUST_CHECK;

#endif
