/* Reading; writing is in container.c. */
#include "codec/container.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <zlib.h>

#include "codec/container_wire.h"
#include "codec/resolve.h"
#include "codec/schema.h"
#include "codec/wire.h"

enum {
    NAME_BYTES_MAX = 128,
    BUFFER_BYTES_MIN = 64 << 10,
    CHECKSUM_BYTES = 4, /* fastavro leaves a part of zlib's checksum behind the deflated data */
};

struct buffer {
    uint8_t *data;
    size_t cap;
};

struct codec_file_reader {
    FILE *stream;
    char name[NAME_BYTES_MAX + 1]; /* of the file, for messages; a longer one is cut */
    uint64_t offset;               /* bytes read so far */
    const struct codec_record *record;
    bool deflate;
    bool z_ready;
    z_stream z;
    uint8_t sync[CODEC_FILE_SYNC_BYTES];
    struct buffer packed; /* deflate: the block as it stands in the file */
    struct buffer block;  /* its records */
    uint64_t block_offset; /* where its data starts in the file */
    struct codec_in in;    /* what is left of it */
    uint64_t block_records, left; /* as its header says; how many are still to come */
    void *scratch;                /* one decoded record */
    struct codec_plan *plan; /* where the file was written with another version; else NULL */
    uint8_t *ours;           /* then: the record's bytes in our version */
    bool failed;
    struct err failure;
};

/* What is wrong, at which byte: `what: why: remedy` with the offset in it. */
static enum err_class damaged(const struct codec_file_reader *r, uint64_t offset, const char *why,
                              struct err *err)
{
    return err_set(err, ERR_REJECT, "%s: byte %" PRIu64 ": %s", r->name, offset, why);
}

static enum err_class out_of_memory(const struct codec_file_reader *r, struct err *err)
{
    return err_set(err, ERR_FATAL, "%s: out of memory", r->name);
}

static enum err_class ended(const struct codec_file_reader *r, const char *within, struct err *err)
{
    if (ferror(r->stream))
        return err_set(err, ERR_FATAL, "%s: byte %" PRIu64 ": cannot read: %s", r->name, r->offset,
                       strerror(errno));
    return err_set(err, ERR_REJECT,
                   "%s: byte %" PRIu64 ": the file is truncated: it ends within %s", r->name,
                   r->offset, within);
}

/* n bytes of the file, or REJECT at the byte where it ends. */
static enum err_class take(struct codec_file_reader *r, void *into, size_t n, const char *within,
                           struct err *err)
{
    const size_t got = fread(into, 1, n, r->stream);

    r->offset += got;
    return got == n ? ERR_OK : ended(r, within, err);
}

/* `first` is a byte that was read already, or -1. */
static enum err_class take_long(struct codec_file_reader *r, int first, const char *within,
                                int64_t *ret, struct err *err)
{
    uint8_t bytes[CODEC_VARINT_BYTES_MAX];
    unsigned n = 0;

    if (first >= 0)
        bytes[n++] = (uint8_t)first;
    while (n == 0 || (bytes[n - 1] >= 0x80 && n < sizeof bytes)) {
        const enum err_class e = take(r, &bytes[n], 1, within, err);
        if (e != ERR_OK)
            return e;
        n++;
    }
    struct codec_in in = {.p = bytes, .end = bytes + n};
    if (codec_in_long(&in, ret) != CODEC_OK)
        return damaged(r, r->offset - n, "a number of more than 64 bits", err);
    return ERR_OK;
}

/* The length and the bytes of a metadata key or value, appended at meta + *used. */
static enum err_class take_text(struct codec_file_reader *r, uint8_t *meta, size_t *used,
                                const uint8_t **ret_text, size_t *ret_n, struct err *err)
{
    const uint64_t at = r->offset;
    int64_t n;
    enum err_class e = take_long(r, -1, "the header", &n, err);

    if (e != ERR_OK)
        return e;
    if (n < 0 || n > CODEC_FILE_META_BYTES_MAX - (int64_t)*used)
        return damaged(r, at, "the header's metadata are longer than 64 KiB", err);
    e = take(r, meta + *used, (size_t)n, "the header", err);
    if (e != ERR_OK)
        return e;
    *ret_text = meta + *used;
    *ret_n = (size_t)n;
    *used += (size_t)n;
    return ERR_OK;
}

struct meta {
    const uint8_t *schema, *codec;
    size_t schema_n, codec_n;
};

static bool is_text(const uint8_t *data, size_t n, const char *text)
{
    return n == strlen(text) && memcmp(data, text, n) == 0;
}

/* `count` entries; each takes at least two bytes of the file, so that no count can keep us here. */
static enum err_class take_entries(struct codec_file_reader *r, uint64_t count, uint8_t *bytes,
                                   size_t *used, struct meta *meta, struct err *err)
{
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *key = NULL, *value = NULL;
        size_t key_n = 0, value_n = 0;
        enum err_class e = take_text(r, bytes, used, &key, &key_n, err);

        if (e == ERR_OK)
            e = take_text(r, bytes, used, &value, &value_n, err);
        if (e != ERR_OK)
            return e;
        if (is_text(key, key_n, "avro.schema")) {
            meta->schema = value;
            meta->schema_n = value_n;
        } else if (is_text(key, key_n, "avro.codec")) {
            meta->codec = value;
            meta->codec_n = value_n;
        }
    }
    return ERR_OK;
}

/* A map's block: entries, and its size in bytes or -1 where the writer did not say. 0 entries end
 * the map. */
static enum err_class take_map_block(struct codec_file_reader *r, int64_t *ret_count,
                                     int64_t *ret_size, struct err *err)
{
    const uint64_t at = r->offset;
    int64_t count, size = -1;
    enum err_class e = take_long(r, -1, "the header", &count, err);

    if (e == ERR_OK && count < 0)
        e = take_long(r, -1, "the header", &size, err);
    if (e != ERR_OK)
        return e;
    if (count > CODEC_FILE_META_BYTES_MAX || count < -CODEC_FILE_META_BYTES_MAX)
        return damaged(r, at, "the header's map has too many entries", err);
    if (count < 0 && size < 0)
        return damaged(r, at, "the header's map has a block of negative size", err);
    *ret_count = count < 0 ? -count : count;
    *ret_size = size;
    return ERR_OK;
}

static enum err_class take_meta(struct codec_file_reader *r, uint8_t *bytes, struct meta *meta,
                                struct err *err)
{
    size_t used = 0;

    for (;;) {
        int64_t count, size;
        enum err_class e = take_map_block(r, &count, &size, err);

        if (e != ERR_OK || count == 0)
            return e;
        const uint64_t start = r->offset;
        e = take_entries(r, (uint64_t)count, bytes, &used, meta, err);
        if (e != ERR_OK)
            return e;
        if (size >= 0 && r->offset - start != (uint64_t)size)
            return damaged(r, start, "the header's map is not as long as it says", err);
    }
}

/* Ours, or another version of the expected record's. What cannot be read from is told as what
 * differs from ours. */
static enum err_class use_schema(struct codec_file_reader *r, const char *json, size_t n,
                                 const struct codec_record *expected, struct err *err)
{
    struct err ignored;
    enum err_class e = codec_schema_match(r->name, json, n, expected, &r->record, err);

    if (e != ERR_REJECT || expected == NULL ||
        codec_plan_new(r->name, json, n, expected, &r->plan, &ignored) != ERR_OK)
        return e;
    r->record = expected;
    r->ours = malloc(expected->bytes_max);
    return r->ours != NULL ? ERR_OK : out_of_memory(r, err);
}

static enum err_class use_meta(struct codec_file_reader *r, const struct meta *meta,
                               const struct codec_record *expected, struct err *err)
{
    if (meta->codec == NULL || is_text(meta->codec, meta->codec_n, "null"))
        r->deflate = false;
    else if (is_text(meta->codec, meta->codec_n, "deflate"))
        r->deflate = true;
    else
        return err_set(err, ERR_REJECT, "%s: codec '%.*s': only null and deflate can be read",
                       r->name, meta->codec_n < 32 ? (int)meta->codec_n : 32,
                       (const char *)meta->codec);
    if (meta->schema == NULL)
        return err_set(err, ERR_REJECT, "%s: its header has no avro.schema", r->name);
    return use_schema(r, (const char *)meta->schema, meta->schema_n, expected, err);
}

static enum err_class take_header(struct codec_file_reader *r, const struct codec_record *expected,
                                  struct err *err)
{
    uint8_t magic[CODEC_FILE_MAGIC_BYTES];
    struct meta meta = {.schema = NULL};
    const size_t got = fread(magic, 1, sizeof magic, r->stream);

    r->offset = got;
    if (ferror(r->stream))
        return ended(r, "the header", err);
    if (got != sizeof magic || memcmp(magic, codec_file_magic, sizeof magic) != 0)
        return err_set(err, ERR_REJECT,
                       "%s: no Avro object container file: it does not start with Obj and 1",
                       r->name);

    uint8_t *bytes = malloc(CODEC_FILE_META_BYTES_MAX);
    if (bytes == NULL)
        return out_of_memory(r, err);
    enum err_class e = take_meta(r, bytes, &meta, err);
    if (e == ERR_OK)
        e = use_meta(r, &meta, expected, err);
    free(bytes);
    return e != ERR_OK ? e : take(r, r->sync, sizeof r->sync, "the header", err);
}

static enum err_class open_stream(struct codec_file_reader *r, const struct codec_record *expected,
                                  struct err *err)
{
    const enum err_class e = take_header(r, expected, err);

    if (e != ERR_OK)
        return e;
    r->scratch = malloc(r->record->struct_size);
    if (r->scratch == NULL)
        return out_of_memory(r, err);
    if (r->deflate) {
        if (inflateInit2(&r->z, -MAX_WBITS) != Z_OK)
            return out_of_memory(r, err);
        r->z_ready = true;
    }
    return ERR_OK;
}

enum err_class codec_file_open_stream(FILE *stream, const char *name,
                                      const struct codec_record *expected,
                                      struct codec_file_reader **ret_reader, struct err *err)
{
    struct codec_file_reader *r = calloc(1, sizeof *r);

    if (r == NULL) {
        (void)fclose(stream);
        return err_set(err, ERR_FATAL, "%.128s: out of memory", name);
    }
    r->stream = stream;
    (void)snprintf(r->name, sizeof r->name, "%s", name);
    const enum err_class e = open_stream(r, expected, err);
    if (e != ERR_OK) {
        codec_file_close(r);
        return e;
    }
    *ret_reader = r;
    return ERR_OK;
}

enum err_class codec_file_open(const char *path, const struct codec_record *expected,
                               struct codec_file_reader **ret_reader, struct err *err)
{
    FILE *stream = fopen(path, "rbe");

    if (stream == NULL)
        return err_set(err, ERR_REJECT, "%.128s: cannot open: %s", path, strerror(errno));
    return codec_file_open_stream(stream, path, expected, ret_reader, err);
}

const struct codec_record *codec_file_record(const struct codec_file_reader *r)
{
    return r->record;
}

/* At least n bytes; what was in it is kept. n is bounded by the callers. */
static enum err_class grow(struct codec_file_reader *r, struct buffer *b, size_t n, struct err *err)
{
    if (n <= b->cap)
        return ERR_OK;
    if (n < BUFFER_BYTES_MIN)
        n = BUFFER_BYTES_MIN;
    uint8_t *data = realloc(b->data, n);
    if (data == NULL)
        return out_of_memory(r, err);
    b->data = data;
    b->cap = n;
    return ERR_OK;
}

/* The packed block into r->block, doubling it as needed up to the bound: a few bytes can claim to
 * be gigabytes. */
static enum err_class inflate_block(struct codec_file_reader *r, size_t packed_n, size_t *ret_n,
                                    struct err *err)
{
    size_t n = 0;

    (void)inflateReset(&r->z);
    r->z.next_in = r->packed.data;
    r->z.avail_in = (uInt)packed_n;
    for (;;) {
        if (n == CODEC_FILE_BLOCK_BYTES_MAX)
            return damaged(r, r->block_offset, "the block decompresses to 16 MiB or more", err);
        if (n == r->block.cap) {
            const size_t twice =
                2 * n < CODEC_FILE_BLOCK_BYTES_MAX ? 2 * n : CODEC_FILE_BLOCK_BYTES_MAX;
            const enum err_class e = grow(r, &r->block, n == 0 ? BUFFER_BYTES_MIN : twice, err);
            if (e != ERR_OK)
                return e;
        }
        const size_t room = r->block.cap - n;
        r->z.next_out = r->block.data + n;
        r->z.avail_out = (uInt)room;
        const int z = inflate(&r->z, Z_NO_FLUSH);
        n += room - r->z.avail_out;
        if (z == Z_STREAM_END)
            break;
        if (z == Z_MEM_ERROR)
            return out_of_memory(r, err);
        if (z != Z_OK) /* with Z_BUF_ERROR: the input ended first */
            return damaged(r, r->block_offset + packed_n - r->z.avail_in,
                           "the deflated block is damaged", err);
    }
    if (r->z.avail_in > CHECKSUM_BYTES)
        return damaged(r, r->block_offset + packed_n - r->z.avail_in,
                       "bytes follow the deflated data", err);
    *ret_n = n;
    return ERR_OK;
}

/* Data and sync marker of a block of `size` bytes, ready in r->in. */
static enum err_class take_block_data(struct codec_file_reader *r, size_t size, struct err *err)
{
    struct buffer *into = r->deflate ? &r->packed : &r->block;
    uint8_t sync[CODEC_FILE_SYNC_BYTES];
    size_t n = size;

    r->block_offset = r->offset;
    enum err_class e = grow(r, into, size + 1, err); /* never NULL */
    if (e == ERR_OK)
        e = take(r, into->data, size, "a block", err);
    if (e == ERR_OK)
        e = take(r, sync, sizeof sync, "a block's sync marker", err);
    if (e != ERR_OK)
        return e;
    if (memcmp(sync, r->sync, sizeof sync) != 0)
        return damaged(r, r->offset - sizeof sync,
                       "the block does not end with the file's sync marker", err);
    if (r->deflate)
        e = inflate_block(r, size, &n, err);
    if (e != ERR_OK)
        return e;
    if (r->block_records > n)
        return damaged(r, r->block_offset, "the block says that it has more records than bytes",
                       err);
    r->in = (struct codec_in){.p = r->block.data, .end = r->block.data + n};
    r->left = r->block_records;
    return ERR_OK;
}

/* OK with r->left == 0 at the end of the file. */
static enum err_class take_block(struct codec_file_reader *r, struct err *err)
{
    while (r->left == 0) {
        if (r->in.p != r->in.end)
            return damaged(r, r->block_offset, "bytes are left over after the block's last record",
                           err);
        const uint64_t at = r->offset;
        const int first = getc(r->stream);
        int64_t count, size;

        if (first == EOF)
            return ferror(r->stream) ? ended(r, "a block", err) : ERR_OK;
        r->offset++;
        enum err_class e = take_long(r, first, "a block's header", &count, err);
        if (e == ERR_OK)
            e = take_long(r, -1, "a block's header", &size, err);
        if (e != ERR_OK)
            return e;
        if (count < 0)
            return damaged(r, at, "a block with a negative number of records", err);
        if (size < 0 || size > CODEC_FILE_BLOCK_BYTES_MAX)
            return damaged(r, at, "a block of negative size or more than 16 MiB", err);
        r->block_records = (uint64_t)count;
        e = take_block_data(r, (size_t)size, err);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static enum err_class bad_record(const struct codec_file_reader *r, enum codec_status s,
                                 struct err *err)
{
    const uint64_t record = r->block_records - r->left;
    const uint64_t within = (uint64_t)(r->in.p - r->block.data);

    return err_set(err, ERR_REJECT,
                   "%s: byte %" PRIu64 ": %s %" PRIu64 " of this block (at byte %" PRIu64
                   " of its %sdata): %s",
                   r->name, r->block_offset, r->record->name, record, within,
                   r->deflate ? "decompressed " : "", codec_status_name(s));
}

/* The record at hand: its bytes in our version, and how many of the file's they were. */
static enum codec_status decode_one(struct codec_file_reader *r, void *into,
                                    const uint8_t **ret_body, size_t *ret_n, size_t *ret_used)
{
    const size_t left = (size_t)(r->in.end - r->in.p);

    if (r->plan == NULL) {
        CODEC_TRY(r->record->decode_prefix(r->in.p, left, into, ret_used));
        *ret_body = r->in.p;
        *ret_n = *ret_used;
        return CODEC_OK;
    }
    const enum codec_status s = codec_plan_transcode_prefix(r->plan, r->in.p, left, r->ours,
                                                            r->record->bytes_max, ret_n, ret_used);
    if (s != CODEC_OK)
        return s == CODEC_NO_SPACE ? CODEC_OVER_BOUND : s;
    *ret_body = r->ours;
    return r->record->decode(r->ours, *ret_n, into);
}

/* One step: `*ret_n` bytes at `*ret_body`, decoded into `into`; NULL at the end. */
static enum err_class next(struct codec_file_reader *r, void *into, const uint8_t **ret_body,
                           size_t *ret_n, struct err *err)
{
    size_t used;
    enum err_class e = take_block(r, err);

    if (e != ERR_OK)
        return e;
    if (r->left == 0) {
        *ret_body = NULL;
        *ret_n = 0;
        return ERR_OK;
    }
    const enum codec_status s = decode_one(r, into, ret_body, ret_n, &used);
    if (s != CODEC_OK)
        return bad_record(r, s, err);
    r->in.p += used;
    r->left--;
    return ERR_OK;
}

/* Damage is for good: later calls answer the same. */
static enum err_class next_or_failed(struct codec_file_reader *r, void *into,
                                     const uint8_t **ret_body, size_t *ret_n, struct err *err)
{
    if (!r->failed) {
        if (next(r, into, ret_body, ret_n, &r->failure) == ERR_OK)
            return ERR_OK;
        r->failed = true;
    }
    *err = r->failure;
    return err->class;
}

enum err_class codec_file_next(struct codec_file_reader *r, const uint8_t **ret_body,
                               size_t *ret_body_n, struct err *err)
{
    return next_or_failed(r, r->scratch, ret_body, ret_body_n, err);
}

enum err_class codec_file_next_record(struct codec_file_reader *r, void *into, bool *ret_got,
                                      struct err *err)
{
    const uint8_t *body = NULL;
    size_t n = 0;
    const enum err_class e = next_or_failed(r, into, &body, &n, err);

    if (e == ERR_OK)
        *ret_got = body != NULL;
    return e;
}

void codec_file_close(struct codec_file_reader *r)
{
    if (r == NULL)
        return;
    if (r->z_ready)
        (void)inflateEnd(&r->z);
    (void)fclose(r->stream);
    free(r->packed.data);
    free(r->block.data);
    free(r->scratch);
    free(r->ours);
    codec_plan_free(r->plan);
    free(r);
}
