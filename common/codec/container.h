/*
 * container.h: Avro object container files of one record type, as fastavro, polars and DuckDB read
 * them.
 *
 * Writing: everything goes to PATH.tmp, which takes its name only when it is complete and on disk:
 * PATH is whole and valid, or absent, or what it was before. Equal records give equal files (the
 * sync marker comes from the schema's fingerprint, not from chance). Reading: bounded and
 * suspicious; whatever is wrong names the file and the byte. One thread a file.
 */
#ifndef CODEC_CONTAINER_H
#define CODEC_CONTAINER_H

#include <stdio.h>

#include "codec/codec.h"

enum codec_file_bounds {
    CODEC_FILE_META_BYTES_MAX = 64 << 10,        /* header: all keys and values together */
    CODEC_FILE_BLOCK_BYTES_MAX = 16 << 20,       /* one block, compressed and decompressed */
    CODEC_FILE_WRITE_BLOCK_BYTES = 64 << 10, /* a block is written once it holds this much … */
    CODEC_FILE_WRITE_BLOCK_RECORDS = 4096, /* … or this many */
};

enum codec_file_codec {
    CODEC_FILE_NULL, /* as is */
    CODEC_FILE_DEFLATE, /* zlib's fastest level: a book shrinks to about a third */
};

struct codec_file_writer;
struct codec_file_reader;

/* Opens PATH.tmp. FATAL: it cannot be written. The writer ends with exactly one of _commit and
 * _abandon. */
enum err_class codec_file_create(const char *path, const struct codec_record *record,
                                 enum codec_file_codec codec, struct codec_file_writer **ret_writer,
                                 struct err *err) MUST_CHECK;

/* Appends one record. REJECT: it cannot be encoded (out of the schema's bounds); nothing was
 * written. FATAL: the disk. */
enum err_class codec_file_put(struct codec_file_writer *w, const void *v,
                              struct err *err) MUST_CHECK;

/* The same for a record that is encoded already (without frame); REJECT when it does not decode. */
enum err_class codec_file_put_encoded(struct codec_file_writer *w, const uint8_t *body, size_t n,
                                      struct err *err) MUST_CHECK;

/* Everything put so far is on disk, in PATH.tmp: of several files that belong together, all are
 * flushed before the first is committed. FATAL: the disk; the writer is to be abandoned. */
enum err_class codec_file_flush(struct codec_file_writer *w, struct err *err) MUST_CHECK;

/* Flushes, syncs, renames PATH.tmp to PATH. The writer is gone afterwards, and on failure PATH.tmp
 * too. */
enum err_class codec_file_commit(struct codec_file_writer *w, struct err *err) MUST_CHECK;

/* Removes PATH.tmp. NULL is allowed. */
void codec_file_abandon(struct codec_file_writer *w);

/*
 * Opens a file and reads its header. `expected` is the record that it must hold, or NULL for
 * whichever of ours its schema names. A file of `expected` in another version of the schema is read
 * by Avro's rules (codec/resolve.h): its records come in ours. REJECT: no such file, not a
 * container, an unknown codec, a schema that ours cannot be read from (the text names the records
 * and the first field that differs).
 */
enum err_class codec_file_open(const char *path, const struct codec_record *expected,
                               struct codec_file_reader **ret_reader, struct err *err) MUST_CHECK;

/* The same from a stream, which it takes over (also on failure); `name` is for messages. */
enum err_class codec_file_open_stream(FILE *stream, const char *name,
                                      const struct codec_record *expected,
                                      struct codec_file_reader **ret_reader,
                                      struct err *err) MUST_CHECK;

const struct codec_record *codec_file_record(const struct codec_file_reader *r);

/*
 * The next record: its bytes (without frame), which are known to decode. At the end of the file OK
 * with
 * `*ret_body` NULL. Views live until the next call. REJECT once, and then always: the file is
 * damaged from here on.
 */
enum err_class codec_file_next(struct codec_file_reader *r, const uint8_t **ret_body,
                               size_t *ret_body_n, struct err *err) MUST_CHECK;

/* The same, decoded into the record's struct. At the end OK with `*ret_got` false. Views live until
 * the next call. */
enum err_class codec_file_next_record(struct codec_file_reader *r, void *into, bool *ret_got,
                                      struct err *err) MUST_CHECK;

/* NULL is allowed. */
void codec_file_close(struct codec_file_reader *r);

#endif
