/*
 * topics.h: the one owner of the topics' names, partitions and settings. `l2ctl
 * topics` makes the cluster like this table; a service asks topics_check at its start and refuses
 * to run on anything else.
 *
 * A topic's name on the cluster is the deployment's prefix, as it stands, before the name of the
 * table: "eu." gives "eu.l2.bars". All but topics_check are pure: no I/O, no allocation.
 */
#ifndef TOPICS_H
#define TOPICS_H

#include "base/err.h"
#include "bus/bus.h"

#include <stdbool.h>
#include <stddef.h>

enum topics_id {
    TOPICS_SNAPSHOTS,
    TOPICS_OHLCV,
    TOPICS_BARS,
    TOPICS_FEATURES,
    TOPICS_HEARTBEAT,
    TOPICS_PREDICTIONS,
    TOPICS_OUTCOMES,
    TOPICS_QUALITY,
    TOPICS_ALERTS,
    TOPICS_ROLLOUT,
    TOPICS_DLQ,
    TOPICS_N,
};

#define TOPICS_PREFIX_BYTES_MAX 64
#define TOPICS_NAME_BYTES_MAX (TOPICS_PREFIX_BYTES_MAX + 32)
#define TOPICS_PARTITIONS_DEFAULT 6
#define TOPICS_REPLICATION_FACTOR_MAX 9
/* Where an operator reads how to change what cannot be altered in place. */
#define TOPICS_RUNBOOK "docs/runbook.md#new-partition-count"

/*
 * Sizes, in bytes. A valid payload has at most 128 KiB; a larger one is a dead letter, so it must
 * fit through the input first. Kafka bounds a *batch* (as compressed), and clients fill batches up
 * to the 1,000,000 bytes that are their default: a topic below that refuses their batches. Hence
 * the input, and all that we write, take Kafka's own default, 1 MiB and the 12 bytes that the
 * oldest batch format adds; that is room for 7 of the largest valid payloads:
 *
 *     1,024 * 1,024 + 12 = 1,048,588
 *
 * A dead letter is the rejected record, untouched, and up to 16 KiB of headers on top:
 *
 *     1,048,588 + 16 * 1,024 = 1,064,972
 */
#define TOPICS_PAYLOAD_BYTES_MAX (128 * 1024)
#define TOPICS_MESSAGE_BYTES_MAX (1024 * 1024 + 12)
#define TOPICS_DLQ_HEADERS_BYTES_MAX (16 * 1024)
#define TOPICS_DLQ_MESSAGE_BYTES_MAX (TOPICS_MESSAGE_BYTES_MAX + TOPICS_DLQ_HEADERS_BYTES_MAX)

/* Headers of a dead letter, as text: why, and where it lay. */
#define TOPICS_DLQ_REASON "reason"
#define TOPICS_DLQ_TOPIC "topic"
#define TOPICS_DLQ_PARTITION "partition"
#define TOPICS_DLQ_OFFSET "offset"
/* Only on a letter that was cut, since Kafka's bound is on batches as compressed and a record can
 * unpack to more than the letter may have: how long key and value were. */
#define TOPICS_DLQ_KEY_BYTES "key_bytes"
#define TOPICS_DLQ_VALUE_BYTES "value_bytes"
#define TOPICS_DLQ_CUT_KEY_BYTES_MAX 1024
#define TOPICS_DLQ_CUT_VALUE_BYTES_MAX TOPICS_PAYLOAD_BYTES_MAX

const char *topics_name(enum topics_id id);   /* "l2.bars", without prefix */
/* All of them, with the prefix. */
void topics_names(const char *prefix, char ret_names[TOPICS_N][TOPICS_NAME_BYTES_MAX + 1]);
const char *topics_record(enum topics_id id); /* "L2Bar", the record's name in schemas/; NULL:
                                                 l2.dlq, which holds any bytes */
/* The topic of that name, which may stand with the prefix, without it, or without "l2." ("bars").
 * False: none of ours. */
bool topics_find(const char *name, const char *prefix, enum topics_id *ret_id);

struct topics_options {
    const char *prefix;     /* "" for none; [A-Za-z0-9._-]{0,64} */
    int partitions; /* of every topic; 0: whatever l2.snapshots (else the first topic that is there)
                       has */
    int replication_factor; /* -1: the cluster's default; from 3 on, min.insync.replicas is 2 */
};

struct topics_table {
    char names[TOPICS_N][TOPICS_NAME_BYTES_MAX + 1];
    struct bus_topic topics[TOPICS_N]; /* by topics_id; name points into names */
};

/* What the cluster should hold. REJECT: the prefix, partitions or factor are out of bounds, and
 * what the bound is. */
enum err_class topics_wanted(const struct topics_options *options, struct topics_table *ret_wanted,
                             struct err *err) MUST_CHECK;
/* The same table with names and keys alone, for bus_topics_describe to fill in. */
void topics_blank(const struct topics_table *wanted, struct topics_table *ret_found);
/* options.partitions 0: settles wanted's count by what was found, TOPICS_PARTITIONS_DEFAULT when
 * nothing was. */
void topics_settle(struct topics_table *wanted, const struct topics_table *found);

enum topics_fault {
    TOPICS_ABSENT,
    TOPICS_PARTITION_COUNT, /* only new topics mend it: TOPICS_RUNBOOK */
    TOPICS_REPLICATION, /* only a reassignment by the cluster's operator mends it */
    TOPICS_SETTING,
};

struct topics_diff {
    enum topics_id id;
    enum topics_fault fault;
    const char
        *key; /* "retention.ms", "partitions", …; "" when absent; borrowed from wanted, or static */
    char current[128]; /* "" when absent or unknown to the broker */
    char wanted[128];
};

#define TOPICS_DIFFS_MAX (TOPICS_N * (BUS_TOPIC_SETTINGS_MAX + 2))

struct topics_diffs {
    unsigned n;
    struct topics_diff items[TOPICS_DIFFS_MAX];
};

/* Every difference, in the table's order; an absent topic is one. Both tables are of the same
 * options and settled. */
void topics_compare(const struct topics_table *wanted, const struct topics_table *found,
                    struct topics_diffs *ret_diffs);
/* True when applying cannot mend it. */
bool topics_is_final(enum topics_fault fault);
/* "l2.bars: retention.ms is 1, must be 15552000000"; buf of at least 64 bytes; cut when too small;
 * returns buf. */
const char *topics_diff_text(const struct topics_table *wanted, const struct topics_diff *diff,
                             char *buf, size_t size);

/*
 * For a service's start: are the topics that it uses as they should be? options as above: a service
 * gives partitions 0 and factor -1, so that any count is right that all of `which` share. REJECT
 * names the first difference, how many more there are and the command that mends them; RETRY: the
 * broker cannot be asked.
 */
enum err_class topics_check(const struct bus_setting *settings, unsigned settings_n,
                            const struct topics_options *options, const enum topics_id *which,
                            unsigned which_n, int timeout_ms, struct err *err) MUST_CHECK;

#endif
