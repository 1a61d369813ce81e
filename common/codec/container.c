/* Writing; reading is in container_read.c. */
#include "codec/container.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "codec/container_wire.h"
#include "codec/wire.h"

struct codec_file_writer {
    char path[PATH_MAX];
    char tmp_path[PATH_MAX];
    FILE *stream;
    const struct codec_record *record;
    uint8_t sync[CODEC_FILE_SYNC_BYTES];
    bool deflate;
    z_stream z;
    uint32_t records; /* in the open block */
    size_t raw_n;
    size_t raw_cap;    /* WRITE_BLOCK_BYTES and room for one more record */
    uint8_t *raw;      /* the open block */
    size_t packed_cap; /* deflateBound(raw_cap) */
    uint8_t *packed;
    void *scratch; /* one decoded record */
};

/* splitmix64 of the fingerprint: looks like chance to a reader that searches for it, and is always
 * the same. */
static void sync_of(uint64_t fingerprint, uint8_t sync[CODEC_FILE_SYNC_BYTES])
{
    for (size_t i = 0; i < 2; i++) {
        fingerprint += 0x9e3779b97f4a7c15U;
        uint64_t z = fingerprint;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        z ^= z >> 31;
        memcpy(sync + 8 * i, &z, 8);
    }
}

static enum err_class disk_error(const struct codec_file_writer *w, const char *what,
                                 struct err *err)
{
    return err_set(err, ERR_FATAL, "%.128s: cannot %s: %s", w->tmp_path, what, strerror(errno));
}

/* What the disk does not take is told by `written`: the stream remembers it. */
static void put_raw(struct codec_file_writer *w, const void *data, size_t n)
{
    (void)fwrite(data, 1, n, w->stream);
}

static enum err_class written(const struct codec_file_writer *w, struct err *err)
{
    return ferror(w->stream) ? disk_error(w, "write", err) : ERR_OK;
}

static void put_long(struct codec_file_writer *w, size_t v)
{
    uint8_t buf[CODEC_VARINT_BYTES_MAX];
    struct codec_out out = {.p = buf, .end = buf + sizeof buf};
    const enum codec_status s = codec_out_long(&out, (int64_t)v);

    assert(s == CODEC_OK);
    put_raw(w, buf, (size_t)(out.p - buf));
}

static void put_text(struct codec_file_writer *w, const char *text)
{
    put_long(w, strlen(text));
    put_raw(w, text, strlen(text));
}

/* Magic, a map of two entries, the end of the map, the sync marker. */
static enum err_class put_header(struct codec_file_writer *w, struct err *err)
{
    static const uint8_t two = 4, end = 0; /* zigzag */
    const char *const texts[] = {"avro.codec", w->deflate ? "deflate" : "null", "avro.schema",
                                 w->record->schema};

    put_raw(w, codec_file_magic, CODEC_FILE_MAGIC_BYTES);
    put_raw(w, &two, 1);
    for (unsigned i = 0; i < 4; i++)
        put_text(w, texts[i]);
    put_raw(w, &end, 1);
    put_raw(w, w->sync, sizeof w->sync);
    return written(w, err);
}

static enum err_class flush_block(struct codec_file_writer *w, struct err *err)
{
    const uint8_t *data = w->raw;
    size_t n = w->raw_n;

    if (w->records == 0)
        return ERR_OK;
    if (w->deflate) {
        w->z.next_in = w->raw;
        w->z.avail_in = (uInt)w->raw_n;
        w->z.next_out = w->packed;
        w->z.avail_out = (uInt)w->packed_cap;
        const int end = deflate(&w->z, Z_FINISH);
        assert(end == Z_STREAM_END); /* deflateBound said that it fits */
        data = w->packed;
        n = w->packed_cap - w->z.avail_out;
        (void)deflateReset(&w->z);
    }
    put_long(w, w->records);
    put_long(w, n);
    put_raw(w, data, n);
    put_raw(w, w->sync, sizeof w->sync);
    w->records = 0;
    w->raw_n = 0;
    return written(w, err);
}

static enum err_class allocate(struct codec_file_writer *w, struct err *err)
{
    if (w->deflate) {
        if (deflateInit2(&w->z, Z_BEST_SPEED, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) !=
            Z_OK) {
            w->deflate = false; /* nothing for deflateEnd */
            return err_set(err, ERR_FATAL, "%.128s: out of memory", w->path);
        }
        w->packed_cap = deflateBound(&w->z, (uLong)w->raw_cap);
        w->packed = malloc(w->packed_cap);
    }
    w->raw = malloc(w->raw_cap);
    w->scratch = malloc(w->record->struct_size);
    if (w->raw == NULL || w->scratch == NULL || (w->deflate && w->packed == NULL))
        return err_set(err, ERR_FATAL, "%.128s: out of memory", w->path);
    return ERR_OK;
}

enum err_class codec_file_create(const char *path, const struct codec_record *record,
                                 enum codec_file_codec codec, struct codec_file_writer **ret_writer,
                                 struct err *err)
{
    if (strlen(path) + sizeof ".tmp" > PATH_MAX)
        return err_set(err, ERR_REJECT, "%.64s…: the path is too long", path);

    struct codec_file_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return err_set(err, ERR_FATAL, "%.128s: out of memory", path);
    (void)snprintf(w->path, sizeof w->path, "%s", path);
    (void)snprintf(w->tmp_path, sizeof w->tmp_path, "%s.tmp", path);
    w->record = record;
    w->deflate = codec == CODEC_FILE_DEFLATE;
    w->raw_cap = CODEC_FILE_WRITE_BLOCK_BYTES + record->bytes_max;
    sync_of(record->fingerprint, w->sync);

    enum err_class e = allocate(w, err);
    if (e == ERR_OK) {
        w->stream = fopen(w->tmp_path, "wbe");
        if (w->stream == NULL)
            e = disk_error(w, "create it", err);
    }
    if (e == ERR_OK)
        e = put_header(w, err);
    if (e != ERR_OK) {
        codec_file_abandon(w);
        return e;
    }
    *ret_writer = w;
    return ERR_OK;
}

static enum err_class added(struct codec_file_writer *w, size_t n, struct err *err)
{
    w->raw_n += n;
    w->records++;
    if (w->raw_n >= CODEC_FILE_WRITE_BLOCK_BYTES || w->records >= CODEC_FILE_WRITE_BLOCK_RECORDS)
        return flush_block(w, err);
    return ERR_OK;
}

enum err_class codec_file_put(struct codec_file_writer *w, const void *v, struct err *err)
{
    size_t n;
    const enum codec_status s = w->record->encode(v, w->raw + w->raw_n, w->raw_cap - w->raw_n, &n);

    if (s != CODEC_OK)
        return err_set(err, ERR_REJECT, "%.128s: %s cannot be encoded: %s", w->path,
                       w->record->name, codec_status_name(s));
    return added(w, n, err);
}

enum err_class codec_file_put_encoded(struct codec_file_writer *w, const uint8_t *body, size_t n,
                                      struct err *err)
{
    enum codec_status s = w->record->decode(body, n, w->scratch);

    if (s == CODEC_OK &&
        n > w->raw_cap - w->raw_n) /* padded varints can make it longer than bytes_max */
        s = CODEC_OVER_BOUND;
    if (s != CODEC_OK)
        return err_set(err, ERR_REJECT, "%.128s: not an encoded %s: %s", w->path, w->record->name,
                       codec_status_name(s));
    memcpy(w->raw + w->raw_n, body, n);
    return added(w, n, err);
}

static void sync_directory(const char *path)
{
    char copy[PATH_MAX];

    (void)snprintf(copy, sizeof copy, "%s", path);
    const int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd); /* some file systems cannot; the rename is done either way */
    (void)close(fd);
}

enum err_class codec_file_flush(struct codec_file_writer *w, struct err *err)
{
    const enum err_class e = flush_block(w, err);

    if (e == ERR_OK && (fflush(w->stream) != 0 || fsync(fileno(w->stream)) != 0))
        return disk_error(w, "write", err);
    return e;
}

enum err_class codec_file_commit(struct codec_file_writer *w, struct err *err)
{
    enum err_class e = codec_file_flush(w, err);

    if (e == ERR_OK) {
        (void)fclose(w->stream); /* fsync has said that all of it is on the disk */
        w->stream = NULL;
        if (rename(w->tmp_path, w->path) != 0) {
            e = disk_error(w, "rename", err);
            (void)unlink(w->tmp_path);
        } else {
            sync_directory(w->path);
        }
    }
    codec_file_abandon(w);
    return e;
}

void codec_file_abandon(struct codec_file_writer *w)
{
    if (w == NULL)
        return;
    if (w->stream != NULL) {
        (void)fclose(w->stream);
        (void)unlink(w->tmp_path);
    }
    if (w->deflate)
        (void)deflateEnd(&w->z);
    free(w->raw);
    free(w->packed);
    free(w->scratch);
    free(w);
}
