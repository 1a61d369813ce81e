/* mon_wanted.h: which of the stored records are asked for: the options that narrow them, and the
 * one exchange, bar length and schema version that a run is about. */
#ifndef MON_WANTED_H
#define MON_WANTED_H

#include "base/err.h"
#include "codec/codec.h"
#include "l2/types.h"

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#define MON_SYMBOLS_MAX 64 /* that can be asked for by name */
#define MON_VERSION_BYTES_MAX 64

/* What is wanted; "" and 0: whatever comes first, and nothing else beside it. */
struct mon_wanted {
    char exchange[L2_SYMBOL_BYTES_MAX + 1];
    char schema_version[MON_VERSION_BYTES_MAX + 1];
    uint32_t bar_s;
    int64_t from_us, to_us; /* [from, to) */
    const char *symbols[MON_SYMBOLS_MAX];
    unsigned symbols_n; /* 0: all */
};
#define MON_WANTED_ALL {.from_us = INT64_MIN, .to_us = INT64_MAX}

/* --from, --to, --symbol, --exchange, --schema-version, --bar-seconds into a struct mon_wanted;
 * parents take keys below 512. */
extern const struct argp mon_wanted_argp;

struct mon_choice {
    struct mon_wanted wanted;
    bool was_told[3]; /* exchange, schema version, bar length: named by the user */
};

void mon_choice_init(struct mon_choice *choice, const struct mon_wanted *wanted);

struct mon_candidate {
    struct codec_str exchange, symbol, schema_version; /* the last with data NULL: it has none */
    int64_t bar_time_us;
    int32_t bar_s;
    bool is_lasting; /* it tells of what comes after it, too: whatever is asked for, from the start
                      */
};

/* REJECT: a second exchange, version or bar length where none was named. */
enum err_class mon_choice_judge(struct mon_choice *choice, const struct mon_candidate *candidate,
                                bool *ret_wanted, struct err *err) MUST_CHECK;
bool mon_wanted_has(const struct mon_wanted *wanted, struct codec_str symbol);

#endif
