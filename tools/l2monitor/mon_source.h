/* mon_source.h: where stored bars come from: Avro container files, the topic l2.bars, the table
 * l2_snapshots. */
#ifndef MON_SOURCE_H
#define MON_SOURCE_H

#include "mon_bars.h"

struct mon_source {
    const char *name;        /* FILE.avro, "l2.bars" or "postgres" */
    const char *config_file; /* NULL: none */
    bool is_quiet;           /* no progress */
};

/* Puts all of it into *bars; returns an exit code, and has told what was wrong. */
int mon_source_read(const struct mon_source *source, struct mon_bars *bars);
/* mon_source_pg.c */
int mon_source_read_pg(const struct mon_source *source, struct mon_bars *bars);

/* A line on stderr, at most one in two seconds and none when quiet. */
void mon_progress(const struct mon_source *source, const struct mon_bars *bars);

#endif
