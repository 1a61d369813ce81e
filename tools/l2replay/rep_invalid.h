/*
 * rep_invalid.h: records that a consumer must not take, one kind for each rule that can be broken.
 * Pure.
 *
 * Each is made from the good snapshot that was sent last, by one deliberate fault; which level,
 * which byte, which of a kind's forms is drawn, so that the same seed gives the same records.
 */
#ifndef REP_INVALID_H
#define REP_INVALID_H

#include "base/err.h"
#include "codec/l2_snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum rep_invalid {
    REP_INVALID_UNDECODABLE,
    REP_INVALID_TOMBSTONE,
    REP_INVALID_TOO_LARGE,
    REP_INVALID_FINGERPRINT,
    REP_INVALID_CONFLUENT,
    REP_INVALID_SYMBOL,
    REP_INVALID_OTHER_KEY,
    REP_INVALID_EXCHANGE,
    REP_INVALID_AHEAD_OF_RECEIVED,
    REP_INVALID_AHEAD_OF_KAFKA,
    REP_INVALID_EMPTY_SIDE,
    REP_INVALID_NAN,
    REP_INVALID_INFINITE,
    REP_INVALID_PRICE,
    REP_INVALID_QUANTITY,
    REP_INVALID_FLOW,
    REP_INVALID_ORDER,
    REP_INVALID_CROSSED,
    REP_INVALID_LOCKED,
    REP_INVALID_WRONG_PARTITION,
    REP_INVALID_NEW_SYMBOL,
    REP_INVALID_DUPLICATE, /* from here on: dropped and counted, no dead letters */
    REP_INVALID_LATE,
    REP_INVALID_LOWER_EPOCH,
    REP_INVALIDS,
};

struct rep_invalid_info {
    const char *name;
    const char *reason; /* of its dead letter; NULL: it is dropped and counted */
    bool is_value; /* an Avro file can hold it: the fault lies in the record's values */
    const char *help;
};
extern const struct rep_invalid_info rep_invalid_infos[REP_INVALIDS];

/* What is to be sent: a cycle of kinds. Zeroed: nothing. */
struct rep_invalid_plan {
    enum rep_invalid kinds[REP_INVALIDS];
    unsigned kinds_n;
    uint64_t every; /* good snapshots between two bursts, at least 1 */
    uint64_t burst; /* invalid records in a row, at least 1 */
};

/*
 * "nan,crossed", "dead" (all that become dead letters), "dropped", "all"; a name or group with '-'
 * before it is taken out again: "dead,-too_large". REJECT names the word that is none.
 */
enum err_class rep_invalid_parse(const char *text, struct rep_invalid_plan *plan,
                                 struct err *err) MUST_CHECK;
void rep_invalid_list(FILE *out);

#define REP_INVALID_NAME_BYTES_MAX 32
/* Of one framed message: a good one, or one that is too large by up to 8 KiB. */
#define REP_INVALID_BYTES_MAX ((size_t)136 * 1024)

struct rep_invalid_record {
    struct codec_l2_snapshot *snapshot; /* in: a good one, its names borrowed; out: spoilt */
    struct codec_str key; /* out */
    int64_t timestamp_ms; /* out: Kafka's; 0: now */
    bool is_elsewhere; /* out: to another partition than the key's */
    char text[REP_INVALID_NAME_BYTES_MAX]; /* storage of names that were made up */
};

/* Spoils the values. `count` is how many were made before: names of new symbols come from it. */
void rep_invalid_values(enum rep_invalid kind, uint64_t count, uint64_t *random,
                        struct rep_invalid_record *record);
/* Spoils the n framed bytes, in a buffer of REP_INVALID_BYTES_MAX; returns how many they are now.
 */
size_t rep_invalid_bytes(enum rep_invalid kind, uint64_t *random, uint8_t *bytes, size_t n);

#endif
