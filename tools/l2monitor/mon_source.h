/* mon_source.h: where stored records come from: Avro container files, topics, PostgreSQL's tables.
 */
#ifndef MON_SOURCE_H
#define MON_SOURCE_H

#include "mon_wanted.h"

#include <stdint.h>

struct mon_source {
    const char *name; /* FILE.avro, a topic's name without prefix ("l2.bars") or "postgres" */
    const char *config_file; /* NULL: none */
    bool is_quiet; /* no progress */
};

/* What is done with each record. */
struct mon_taker {
    const struct codec_record *const *records; /* which it takes, ends with NULL */
    /* value: the record's struct, whose views live until it returns. latest_us: what speaks of a
     * later time is dated ahead. */
    enum err_class (*take)(void *user, const struct codec_record *record, const void *value,
                           int64_t latest_us, struct err *err);
    void *user;
};

/* Hands out all of it; returns an exit code, and has told what was wrong. `wanted` may leave out of
 * PostgreSQL what is not asked for; the taker judges every record. */
int mon_source_read(const struct mon_source *source, const struct mon_wanted *wanted,
                    const struct mon_taker *taker);
/* mon_source_pg.c */
int mon_source_read_pg(const struct mon_source *source, const struct mon_wanted *wanted,
                       const struct mon_taker *taker);

/* The latest time of which a record can speak that has no Kafka timestamp. */
int64_t mon_source_latest_us(void);
/* One more record was read: a line on stderr, at most one in two seconds and none when quiet. */
void mon_progress(const struct mon_source *source);

/* A signal asked the command to stop: readers return MON_INTERRUPTED as soon as they see it. Set by
 * mon_stop_on_signals alone. */
bool mon_is_stopped(void);
/* ^C and SIGTERM: the first one asks, the second ends. */
void mon_stop_on_signals(void);

#endif
