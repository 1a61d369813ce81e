/*
 * ba_store.h: batches into the tables l2_snapshots and ohlcv. A row that is new is stored, one that
 * is there already and equal is nothing, one that differs is refused: stored rows never change.
 * Columns come from the records' descriptors, so that schema, table and code have one source. Used
 * by one thread.
 */
#ifndef BA_STORE_H
#define BA_STORE_H

#include "codec/reader.h"
#include "core/ba_batch.h"
#include "pgc/pgc.h"

#define BA_SCHEMA_VERSION 1 /* the least migration that has both tables */
#define BA_EXAMPLES_MAX 8
#define BA_RECORD_BYTES_MAX 16384 /* of a message that can be stored; tied in ba_store.c */

extern const char *const ba_table_names[]; /* by ba_table, ended by NULL */
const struct codec_record *ba_table_record(enum ba_table table);

enum ba_kind {
    BA_CHANGE,      /* it would have changed a stored row */
    BA_REJECTED,    /* it cannot be true, or PostgreSQL would not have it: `why` says why */
    BA_UNDECODABLE, /* no record of the table's: `why` is the codec's word */
    BA_KINDS,
};

struct ba_example {
    enum ba_table table;
    enum ba_kind kind;
    char exchange[40], symbol[40], bar_time[40], schema_version[72]; /* as PostgreSQL prints them */
    int32_t
        partition; /* -1: a file, or a change: the row that differs may be of an earlier batch */
    int64_t offset; /* in a file: the record's number, from 0 */
    char why[256];
};

struct ba_result {
    uint64_t fresh[BA_TABLES]; /* stored */
    uint64_t same[BA_TABLES]; /* were there, equal but for provenance */
    uint64_t changed[BA_TABLES]; /* would have changed a stored row: refused */
    uint64_t rejected[BA_TABLES]; /* impossible, or PostgreSQL would not have them */
    uint64_t undecodable[BA_TABLES];
    struct ba_example examples[BA_EXAMPLES_MAX]; /* the first of the refused */
    unsigned examples_n;
};

struct ba_store;

/* Of messages that are not framed with our own schema; one a table, used by the store's thread. */
struct ba_readers {
    struct codec_reader *of[BA_TABLES];
};

enum err_class ba_readers_open(const struct codec_ids *ids, struct ba_readers *ret_readers,
                               struct err *err) MUST_CHECK;
void ba_readers_close(struct ba_readers *readers);
/*
 * Before a batch is written: what of its framed rows is a record of ours. Others are left out and
 * counted. RETRY: a schema registry has not said yet what an id is.
 */
enum err_class ba_readers_judge(struct ba_readers *readers, struct ba_batch *batch,
                                struct ba_result *ret_result, struct err *err) MUST_CHECK;

/* Connects, asks for the schema, makes the staging tables. Errors as pgc_open and
 * pgc_schema_require. readers: borrowed for the store's life; NULL: no row is framed. The caller
 * frees with ba_store_close (NULL-safe). */
enum err_class ba_store_open(const struct pgc_options *options, struct ba_readers *readers,
                             struct ba_store **ret_store, struct err *err) MUST_CHECK;
void ba_store_close(struct ba_store *store);

/*
 * Writes all rows that can be true and commits. In one transaction, unless PostgreSQL objects to a
 * row: then by halves, until that row stands alone and is left out; but the table is looked at
 * first, since one that was altered objects to every row (ba_table_check). RETRY, and REJECT (a
 * right is missing, the table is gone or another one): some of the batch may be stored; the same
 * batch again stores the rest and says so. *ret_result is added to.
 */
enum err_class ba_store_write(struct ba_store *store, struct ba_batch *batch,
                              struct ba_result *ret_result, struct err *err) MUST_CHECK;

#endif
