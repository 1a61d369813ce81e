/*
 * ba_writer.h: the thread "database": it owns the connection and writes one batch after the other,
 * again and again until it is stored. It has up to BA_QUEUE batches; what is done comes back in the
 * same order.
 */
#ifndef BA_WRITER_H
#define BA_WRITER_H

#include "ba_store.h"

#define BA_QUEUE 2

struct ba_writer;

struct ba_written {
    struct ba_batch *batch;
    struct ba_result result;
    int64_t took_us; /* of the attempt that did it */
};

/* Connects, at once and once: errors as ba_store_open. options, what they point to and readers are
 * borrowed for the writer's life. */
enum err_class ba_writer_new(const struct pgc_options *options, struct ba_readers *readers,
                             struct ba_writer **ret_writer, struct err *err) MUST_CHECK;
/* Waits for the statement under way, at most its time-out; what was not written is not written.
 * NULL-safe. */
void ba_writer_free(struct ba_writer *writer);

bool ba_writer_has_room(struct ba_writer *writer);
void ba_writer_submit(struct ba_writer *writer, struct ba_batch *batch); /* when it has room */
/* False: nothing is done yet. */
bool ba_writer_take(struct ba_writer *writer, struct ba_written *ret_written);
unsigned ba_writer_pending(struct ba_writer *writer); /* submitted and not taken back */
bool ba_writer_is_up(const struct ba_writer *writer); /* the last attempt did not fail */
/* How long its batch has waited for the schema registry; 0: it does not. */
int64_t ba_writer_held_us(const struct ba_writer *writer);
uint64_t ba_writer_retries(const struct ba_writer *writer);
/* ERR_FATAL when it has given up: nothing more will be written. */
enum err_class ba_writer_check(struct ba_writer *writer, struct err *err) MUST_CHECK;

#endif
