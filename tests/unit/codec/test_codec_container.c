#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "codec/container.h"
#include "codec/everything.h"
#include "codec/heartbeat.h"
#include "codec/l2_snapshot.h"
#include "codec_values.h"

static char dir[] = "/tmp/l2flow-container-XXXXXX";
static char path[64], tmp_path[72];

static int make_dir(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "%s/x.avro", dir);
    (void)snprintf(tmp_path, sizeof tmp_path, "%s.tmp", path);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)unlink(tmp_path);
    return rmdir(dir);
}

static bool exists(const char *p)
{
    struct stat st;

    return stat(p, &st) == 0;
}

/* n records of a seeded sequence, committed at `path`; a block ends after `in_first` of them, if
 * not 0. */
static void write_blocks(const struct codec_record *record, enum codec_file_codec codec, unsigned n,
                         unsigned in_first)
{
    struct codec_file_writer *w = NULL;
    struct err err;
    uint64_t seed = 5;
    void *v = malloc(record->struct_size);

    assert_non_null(v);
    assert_int_equal(codec_file_create(path, record, codec, &w, &err), ERR_OK);
    for (unsigned i = 0; i < n; i++) {
        codec_values_random(record, &seed, v);
        assert_int_equal(codec_file_put(w, v, &err), ERR_OK);
        if (i + 1 == in_first)
            assert_int_equal(codec_file_flush(w, &err), ERR_OK);
    }
    assert_int_equal(codec_file_commit(w, &err), ERR_OK);
    free(v);
}

static void write_file(const struct codec_record *record, enum codec_file_codec codec, unsigned n)
{
    write_blocks(record, codec, n, 0);
}

static uint8_t *slurp(size_t *ret_n)
{
    FILE *f = fopen(path, "rb");
    struct stat st;

    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    *ret_n = (size_t)st.st_size;
    uint8_t *bytes = malloc(*ret_n + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *ret_n, f), *ret_n);
    (void)fclose(f);
    return bytes;
}

/* Reads a file held in memory to its end or first error; counts the records. */
static enum err_class read_bytes(const uint8_t *bytes, size_t n,
                                 const struct codec_record *expected, unsigned *ret_records,
                                 struct err *err)
{
    FILE *f = n == 0 ? fopen("/dev/null", "rb") : fmemopen((void *)(uintptr_t)bytes, n, "rb");
    struct codec_file_reader *r = NULL;

    assert_non_null(f);
    *ret_records = 0;
    enum err_class e = codec_file_open_stream(f, "x.avro", expected, &r, err);
    while (e == ERR_OK) {
        const uint8_t *body;
        size_t body_n;
        e = codec_file_next(r, &body, &body_n, err);
        if (e == ERR_OK && body == NULL)
            break;
        if (e == ERR_OK)
            ++*ret_records;
    }
    if (e != ERR_OK && r != NULL) { /* damage is for good */
        const uint8_t *body;
        size_t body_n;
        struct err same;
        assert_int_equal(codec_file_next(r, &body, &body_n, &same), e);
        assert_string_equal(same.text, err->text);
    }
    codec_file_close(r);
    return e;
}

/* Records come back equal and in order, over many blocks, by views and decoded; equal input gives
 * equal files. */
static void container_round_trip(void **state)
{
    (void)state;
    const struct codec_record *const kinds[] = {&codec_l2_snapshot_record, &codec_heartbeat_record,
                                                &codec_everything_record};
    for (unsigned k = 0; k < 6; k++) {
        const struct codec_record *record = kinds[k / 2];
        const unsigned n = record == &codec_heartbeat_record ? 9000 : 600;
        void *want = malloc(record->struct_size), *got = malloc(record->struct_size);
        struct codec_file_reader *r = NULL;
        struct err err;
        uint64_t seed = 5;
        size_t bytes_n, again_n;
        assert_true(want != NULL && got != NULL);
        write_file(record, k % 2 == 0 ? CODEC_FILE_NULL : CODEC_FILE_DEFLATE, n);
        assert_int_equal(codec_file_open(path, record, &r, &err), ERR_OK);
        assert_ptr_equal(codec_file_record(r), record);
        for (unsigned i = 0; i < n; i++) {
            const char *field = "";
            const uint8_t *body;
            size_t body_n;
            bool more = false;
            codec_values_random(record, &seed, want);
            if (i % 2 == 0) {
                assert_int_equal(codec_file_next(r, &body, &body_n, &err), ERR_OK);
                assert_non_null(body);
                assert_int_equal(record->decode(body, body_n, got), CODEC_OK);
            } else {
                assert_int_equal(codec_file_next_record(r, got, &more, &err), ERR_OK);
                assert_true(more);
            }
            assert_true(codec_values_equal(record, want, got, &field));
        }
        for (unsigned i = 0; i < 2; i++) { /* the end stays the end */
            bool more = true;
            assert_int_equal(codec_file_next_record(r, got, &more, &err), ERR_OK);
            assert_false(more);
        }
        codec_file_close(r);
        uint8_t *bytes = slurp(&bytes_n);
        write_file(record, k % 2 == 0 ? CODEC_FILE_NULL : CODEC_FILE_DEFLATE, n);
        uint8_t *again = slurp(&again_n);
        assert_int_equal(bytes_n, again_n);
        assert_memory_equal(bytes, again, bytes_n);
        free(bytes);
        free(again);
        free(want);
        free(got);
    }
}

/*
 * A file of two blocks cut anywhere is an error, never a shorter file, unless the cut is the end of
 * its header or of its first block: what precedes it is then a valid file. Seen to fail when
 * take_block answered a truncated sync marker with the end, and with a block's size read as 0 where
 * the file ends within it.
 */
static void container_cut_at_every_byte(void **state)
{
    enum { RECORDS = 90, IN_FIRST = 50 };

    (void)state;
    for (unsigned codec = 0; codec < 2; codec++) {
        struct err err = {.text = ""};
        unsigned records, whole_cuts = 0;
        size_t n;
        write_blocks(&codec_heartbeat_record, codec == 0 ? CODEC_FILE_NULL : CODEC_FILE_DEFLATE,
                     RECORDS, IN_FIRST);
        uint8_t *bytes = slurp(&n);
        assert_int_equal(read_bytes(bytes, n, NULL, &records, &err), ERR_OK);
        assert_int_equal(records, RECORDS);
        for (size_t cut = 0; cut < n; cut++) {
            const enum err_class e = read_bytes(bytes, cut, NULL, &records, &err);
            if (e == ERR_OK) {
                assert_int_equal(records, whole_cuts == 0 ? 0 : IN_FIRST);
                whole_cuts++;
                continue;
            }
            char at[64];
            (void)snprintf(at, sizeof at, "x.avro: byte %zu: ", cut);
            assert_int_equal(e, ERR_REJECT);
            if (cut >= 4)
                assert_memory_equal(err.text, at, strlen(at));
        }
        assert_int_equal(whole_cuts, 2);
        free(bytes);
    }
}

/* Any byte changed: an error or other records, never a crash, a leak or an endless loop (ASan, the
 * test's time-out). */
static void container_survives_damage(void **state)
{
    (void)state;
    for (unsigned codec = 0; codec < 2; codec++) {
        struct err err;
        unsigned records, refused = 0, tried = 0;
        size_t n;
        write_file(&codec_everything_record, codec == 0 ? CODEC_FILE_NULL : CODEC_FILE_DEFLATE, 3);
        uint8_t *bytes = slurp(&n);
        for (size_t i = 0; i < n; i++) {
            for (unsigned bit = 0; bit < 8; bit += 7) {
                bytes[i] ^= (uint8_t)(1U << bit);
                refused += read_bytes(bytes, n, &codec_everything_record, &records, &err) != ERR_OK;
                tried++;
                bytes[i] ^= (uint8_t)(1U << bit);
            }
        }
        assert_true(refused > tried / 8);
        free(bytes);
    }
}

/* PATH appears whole at the commit, and not before; abandoning leaves what was there. */
static void container_all_or_nothing(void **state)
{
    (void)state;
    struct codec_file_writer *w = NULL;
    struct codec_heartbeat v = {.exchange = codec_str("x"), .symbol = codec_str("S")};
    struct err err;
    size_t n, after_n;

    (void)unlink(path);
    assert_int_equal(codec_file_create(path, &codec_heartbeat_record, CODEC_FILE_DEFLATE, &w, &err),
                     ERR_OK);
    assert_int_equal(codec_file_put(w, &v, &err), ERR_OK);
    assert_false(exists(path));
    assert_true(exists(tmp_path));
    codec_file_abandon(w);
    assert_false(exists(path));
    assert_false(exists(tmp_path));

    write_file(&codec_heartbeat_record, CODEC_FILE_NULL, 2);
    uint8_t *bytes = slurp(&n);
    assert_int_equal(codec_file_create(path, &codec_heartbeat_record, CODEC_FILE_DEFLATE, &w, &err),
                     ERR_OK);
    assert_int_equal(codec_file_put(w, &v, &err), ERR_OK);
    codec_file_abandon(w);
    uint8_t *after = slurp(&after_n);
    assert_int_equal(n, after_n);
    assert_memory_equal(bytes, after, n);
    free(bytes);
    free(after);
    codec_file_abandon(NULL);
    codec_file_close(NULL);
}

/* v in the most bytes that still decode: each number padded to ten bytes. Behind `n` bytes. */
static size_t padded(const struct codec_heartbeat *v, uint8_t *bytes)
{
    const int64_t longs[] = {v->exchange.n,           v->symbol.n, v->time_us,
                             v->newest_event_time_us, v->lag_ms,   (int64_t)v->state};
    const struct codec_str texts[] = {v->exchange, v->symbol};
    size_t n = 0;

    for (unsigned i = 0; i < 6; i++) {
        uint64_t u = (uint64_t)longs[i] << 1;
        for (unsigned k = 0; k < 10; k++, u >>= 7)
            bytes[n++] = (uint8_t)(u & 0x7f) | (k < 9 ? 0x80 : 0);
        if (i < 2) {
            memcpy(bytes + n, texts[i].data, texts[i].n);
            n += texts[i].n;
        }
    }
    return n;
}

/* An encoded record may be longer than ours ever are: it is taken where the block has room, and
 * refused, not written past the end, where it has none. Seen to fail (a crash) without the
 * comparison with the room. */
static void container_bounds_padded_records(void **state)
{
    (void)state;
    static const char text[] = "0123456789abcdef0123456789abcdef";
    const struct codec_heartbeat longest = {.exchange = codec_str(text), .symbol = codec_str(text)};
    const struct codec_heartbeat least = {.exchange = codec_str("x"), .symbol = codec_str("S")};
    struct codec_file_writer *w = NULL;
    struct err err;
    uint8_t big[200], small[CODEC_HEARTBEAT_BYTES_MAX];
    const size_t big_n = padded(&longest, big);
    size_t small_n, in_block = 0, records = 0;
    unsigned read;

    assert_true(big_n > CODEC_HEARTBEAT_BYTES_MAX + 16);
    assert_int_equal(codec_heartbeat_encode(&least, small, sizeof small, &small_n), CODEC_OK);
    assert_int_equal(codec_file_create(path, &codec_heartbeat_record, CODEC_FILE_NULL, &w, &err),
                     ERR_OK);
    for (; in_block + big_n < CODEC_FILE_WRITE_BLOCK_BYTES; in_block += big_n, records++)
        assert_int_equal(codec_file_put_encoded(w, big, big_n, &err), ERR_OK);
    for (; in_block + small_n < CODEC_FILE_WRITE_BLOCK_BYTES; in_block += small_n, records++)
        assert_int_equal(codec_file_put_encoded(w, small, small_n, &err), ERR_OK);
    assert_int_equal(codec_file_put_encoded(w, big, big_n, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, "over_bound"));
    assert_int_equal(codec_file_commit(w, &err), ERR_OK);
    size_t n;
    uint8_t *bytes = slurp(&n);
    assert_int_equal(read_bytes(bytes, n, NULL, &read, &err), ERR_OK);
    assert_int_equal(read, records);
    free(bytes);
}

/* A record that is refused leaves the file as it was. */
static void container_refuses_bad_records(void **state)
{
    (void)state;
    struct codec_file_writer *w = NULL;
    struct codec_heartbeat v = {.exchange = codec_str("x"), .symbol = codec_str("S")};
    struct err err;
    unsigned records;
    size_t n;
    uint8_t body[CODEC_HEARTBEAT_BYTES_MAX];

    assert_int_equal(codec_heartbeat_encode(&v, body, sizeof body, &n), CODEC_OK);
    assert_int_equal(codec_file_create(path, &codec_heartbeat_record, CODEC_FILE_NULL, &w, &err),
                     ERR_OK);
    v.state = (enum codec_heartbeat_state)9;
    assert_int_equal(codec_file_put(w, &v, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, "bad_enum"));
    assert_int_equal(codec_file_put_encoded(w, body, n - 1, &err), ERR_REJECT);
    assert_int_equal(codec_file_put_encoded(w, body, n, &err), ERR_OK);
    assert_int_equal(codec_file_commit(w, &err), ERR_OK);
    uint8_t *bytes = slurp(&n);
    assert_int_equal(read_bytes(bytes, n, NULL, &records, &err), ERR_OK);
    assert_int_equal(records, 1);
    free(bytes);
}

static void container_refuses_bad_paths(void **state)
{
    (void)state;
    struct codec_file_writer *w = NULL;
    struct codec_file_reader *r = NULL;
    struct err err;

    assert_int_equal(
        codec_file_create("/nowhere/x.avro", &codec_heartbeat_record, CODEC_FILE_NULL, &w, &err),
        ERR_FATAL);
    assert_non_null(strstr(err.text, "/nowhere/x.avro.tmp"));
    assert_int_equal(codec_file_open("/nowhere/x.avro", NULL, &r, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, "/nowhere/x.avro"));
    assert_int_equal(codec_file_open("/tmp", NULL, &r, &err),
                     ERR_FATAL); /* opens, but cannot be read */
    assert_true(w == NULL && r == NULL);
}

/* A file put together by hand. */
struct built {
    uint8_t bytes[40000];
    size_t n;
};

static void add(struct built *b, const void *data, size_t n)
{
    memcpy(b->bytes + b->n, data, n);
    b->n += n;
}

static void add_long(struct built *b, int64_t v)
{
    uint64_t u = (uint64_t)v << 1 ^ (uint64_t)(v >> 63);

    for (; u >= 0x80; u >>= 7)
        b->bytes[b->n++] = (uint8_t)(u | 0x80);
    b->bytes[b->n++] = (uint8_t)u;
}

static void add_text(struct built *b, const char *text)
{
    add_long(b, (int64_t)strlen(text));
    add(b, text, strlen(text));
}

static const uint8_t sync_bytes[16] = "0123456789abcde";

static void build(struct built *b, const char *codec, const char *schema)
{
    b->n = 0;
    add(b, "Obj\1", 4);
    add_long(b, 1);
    if (codec != NULL) {
        add_text(b, "avro.codec");
        add_text(b, codec);
        add_long(b, 1); /* the map in two blocks */
    }
    add_text(b, schema != NULL ? "avro.schema" : "other");
    add_text(b, schema != NULL ? schema : "");
    add_long(b, 0);
    add(b, sync_bytes, sizeof sync_bytes);
}

static void add_block(struct built *b, int64_t count, int64_t size, const void *data, size_t n)
{
    add_long(b, count);
    add_long(b, size);
    add(b, data, n);
    add(b, sync_bytes, sizeof sync_bytes);
}

static void refuses(const struct built *b, const char *why)
{
    struct err err = {.text = ""};
    unsigned records;

    assert_int_equal(read_bytes(b->bytes, b->n, NULL, &records, &err), ERR_REJECT);
    if (strstr(err.text, why) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, why);
}

/* The header's metadata: counts, sizes, lengths. */
static void container_names_bad_metadata(void **state)
{
    (void)state;
    static struct built b;

    build(&b, "null", NULL);
    b.n = 4; /* a map's block of the least long: has no negative. Found by fuzz_container */
    add_long(&b, INT64_MIN);
    refuses(&b, "truncated");
    add_long(&b, 0);
    refuses(&b, "too many entries");
    b.n = 4;
    add_long(&b, -1);
    add_long(&b, -1);
    refuses(&b, "negative size");
    b.n = 4;
    add_long(&b, -1);
    add_long(&b, 3); /* it is 2 */
    add_text(&b, "");
    add_text(&b, "");
    refuses(&b, "not as long as it says");
    b.n = 4;
    add_long(&b, 1);
    add_long(&b, CODEC_FILE_META_BYTES_MAX + 1);
    refuses(&b, "longer than 64 KiB");
    b.n = 4;
    add_long(&b, CODEC_FILE_META_BYTES_MAX + 1);
    refuses(&b, "too many entries");
    b.n = 4;
    add_long(&b, 1);
    add_long(&b, -1);
    refuses(&b, "longer than 64 KiB");
    b.n = 4; /* a number of eleven bytes, and the header ends with it */
    memset(b.bytes + b.n, 0xff, 11);
    b.n += 11;
    refuses(&b, "byte 4: a number of more than 64 bits");
    build(&b, "snappy", codec_heartbeat_schema);
    refuses(&b, "codec 'snappy': only null and deflate");
    build(&b, "a codec whose name is far longer than any", codec_heartbeat_schema);
    refuses(&b, "codec 'a codec whose name is far longer': only null and deflate");
    build(&b, "null", NULL);
    refuses(&b, "no avro.schema");
    build(&b, "null", NULL);
    b.n = 4; /* a key as long as ours is another all the same */
    add_long(&b, 1);
    add_text(&b, "avro.schemA");
    add_text(&b, codec_heartbeat_schema);
    add_long(&b, 0);
    refuses(&b, "no avro.schema");
}

/* A map whose block says how many bytes it has, rightly. Seen to fail with the size taken from the
 * file's start. */
static void container_map_with_a_size(void **state)
{
    (void)state;
    static struct built b;
    struct err err;
    unsigned records;

    build(&b, NULL, NULL);
    b.n = 4;
    add_long(&b, -1);
    add_long(&b, (int64_t)(1 + strlen("avro.schema") + 2 + strlen(codec_heartbeat_schema)));
    add_text(&b, "avro.schema");
    add_text(&b, codec_heartbeat_schema);
    add_long(&b, 0);
    add(&b, sync_bytes, sizeof sync_bytes);
    assert_int_equal(read_bytes(b.bytes, b.n, NULL, &records, &err), ERR_OK);
    assert_int_equal(records, 0);
}

/* A few KiB that are a zero more than 16 MiB of them: refused at the bound, and no more memory is
 * taken. Seen to fail without the bound. */
static void container_bounds_what_it_inflates(void **state)
{
    (void)state;
    static struct built b;
    static uint8_t packed[CODEC_FILE_BLOCK_BYTES_MAX / 512];
    uint8_t *zeros = calloc(1, CODEC_FILE_BLOCK_BYTES_MAX + 1);
    z_stream z = {.next_in = zeros, .next_out = packed};

    assert_non_null(zeros);
    z.avail_in = CODEC_FILE_BLOCK_BYTES_MAX + 1;
    z.avail_out = sizeof packed;
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    const size_t n = sizeof packed - z.avail_out;
    (void)deflateEnd(&z);
    free(zeros);
    build(&b, "deflate", codec_heartbeat_schema);
    assert_true(b.n + n + 32 < sizeof b.bytes);
    add_block(&b, 1, (int64_t)n, packed, n);
    refuses(&b, "the block decompresses to 16 MiB or more");
}

/* Each way of being wrong is told. Each was seen to fail with its check taken out of
 * container_read.c. */
static void container_names_what_is_wrong(void **state)
{
    (void)state;
    static struct built b;
    const char *const schema = codec_heartbeat_schema;
    struct codec_heartbeat v = {.exchange = codec_str("x"), .symbol = codec_str("S")};
    struct err err;
    uint8_t body[CODEC_HEARTBEAT_BYTES_MAX + 1];
    size_t n;
    unsigned records;
    const int64_t too_big = CODEC_FILE_BLOCK_BYTES_MAX + 1;

    assert_int_equal(codec_heartbeat_encode(&v, body, sizeof body, &n), CODEC_OK);
    body[n] = 0;
    build(&b, NULL, schema); /* no codec means null */
    add_block(&b, 1, (int64_t)n, body, n);
    add_block(&b, 0, 0, "", 0); /* an empty block is allowed */
    add_block(&b, 1, (int64_t)n, body, n);
    assert_int_equal(read_bytes(b.bytes, b.n, NULL, &records, &err), ERR_OK);
    assert_int_equal(records, 2);
    assert_int_equal(read_bytes(b.bytes, b.n, &codec_l2_snapshot_record, &records, &err),
                     ERR_REJECT);
    assert_non_null(strstr(err.text, "expected L2Snapshot"));

    build(&b, "null", schema);
    const size_t header_n = b.n;
    add_block(&b, 1, (int64_t)n + 1, body, n + 1);
    refuses(&b, "left over");
    b.n = header_n;
    add(&b, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10); /* no number of records */
    refuses(&b, "a number of more than 64 bits");
    b.n = header_n;
    add_block(&b, 2, (int64_t)n, body, n);
    refuses(&b, "truncated");
    b.n = header_n;
    add_block(&b, -1, (int64_t)n, body, n);
    refuses(&b, "negative number");
    b.n = header_n;
    add_block(&b, 1, -1, body, n);
    refuses(&b, "negative size");
    b.n = header_n;
    add_block(&b, 1, too_big, body, n);
    refuses(&b, "more than 16 MiB");
    b.n = header_n;
    add_block(&b, 1000000, (int64_t)n, body, n);
    refuses(&b, "more records than bytes");
    b.n = header_n;
    add_block(&b, 1, (int64_t)n, body, n);
    b.bytes[b.n - 1] ^= 1;
    refuses(&b, "sync marker");
    build(&b, "deflate", schema);
    add_block(&b, 1, (int64_t)n, body, n);
    refuses(&b, "deflated block");
    (void)memcpy(b.bytes, "PAR1", 4);
    refuses(&b, "no Avro object container file");
    b.n = 3;
    refuses(&b, "no Avro object container file");
}

/* As many bytes of zlib's checksum as writers leave are taken, one more is not; what is wrong in a
 * deflated block is told by where it lies when inflated. Seen to fail with the bytes that follow
 * unchecked, and with the place told as the file's. */
static void container_names_what_is_wrong_in_deflated(void **state)
{
    (void)state;
    static struct built b;
    struct codec_heartbeat v = {.exchange = codec_str("x"), .symbol = codec_str("S")};
    struct err err;
    uint8_t body[CODEC_HEARTBEAT_BYTES_MAX], packed[CODEC_HEARTBEAT_BYTES_MAX + 32] = {0};
    size_t n;
    unsigned records;
    z_stream z = {.next_in = body, .next_out = packed};

    assert_int_equal(codec_heartbeat_encode(&v, body, sizeof body, &n), CODEC_OK);
    z.avail_in = (uInt)n;
    z.avail_out = sizeof packed - 8;
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    const size_t packed_n = z.total_out;
    (void)deflateEnd(&z);
    for (unsigned more = 0; more <= 5; more++) {
        build(&b, "deflate", codec_heartbeat_schema);
        add_block(&b, 1, (int64_t)(packed_n + more), packed, packed_n + more);
        if (more == 5)
            refuses(&b, "bytes follow the deflated data");
        else
            assert_int_equal(read_bytes(b.bytes, b.n, NULL, &records, &err), ERR_OK);
    }
    build(&b, "deflate", codec_heartbeat_schema);
    add_block(&b, 2, (int64_t)packed_n, packed, packed_n);
    (void)snprintf(err.text, sizeof err.text,
                   "Heartbeat 1 of this block (at byte %zu of its "
                   "decompressed data): truncated",
                   n);
    refuses(&b, err.text);
}

/* A block is written once it holds as many records as one may, however few bytes they are. Seen to
 * fail with the number of records unbounded. */
static void container_bounds_records_of_a_block(void **state)
{
    (void)state;
    const struct codec_heartbeat v = {.exchange = codec_str("x"), .symbol = codec_str("S")};
    struct codec_file_writer *w = NULL;
    struct err err;
    size_t header_n, n;
    unsigned records;

    write_file(&codec_heartbeat_record, CODEC_FILE_NULL, 0);
    free(slurp(&header_n));
    assert_int_equal(codec_file_create(path, &codec_heartbeat_record, CODEC_FILE_NULL, &w, &err),
                     ERR_OK);
    for (unsigned i = 0; i < CODEC_FILE_WRITE_BLOCK_RECORDS + 1; i++)
        assert_int_equal(codec_file_put(w, &v, &err), ERR_OK);
    assert_int_equal(codec_file_commit(w, &err), ERR_OK);
    uint8_t *bytes = slurp(&n);
    assert_memory_equal(bytes + header_n, "\x80\x40", 2); /* 4096 */
    assert_int_equal(read_bytes(bytes, n, NULL, &records, &err), ERR_OK);
    assert_int_equal(records, CODEC_FILE_WRITE_BLOCK_RECORDS + 1);
    free(bytes);
}

/* A file of another version: a record that is none, one that ours has no room for, one that breaks
 * a bound of ours. Seen to fail with what has no room told as no space, and with what was
 * transcoded not decoded. */
static void container_of_another_version_names_bad_records(void **state)
{
    (void)state;
    static const char older[] =
        "{\"type\":\"record\",\"name\":\"Heartbeat\",\"namespace\":\"l2flow\",\"fields\":["
        "{\"name\":\"exchange\",\"type\":\"string\"},{\"name\":\"symbol\",\"type\":\"string\"},"
        "{\"name\":\"time\",\"type\":\"long\"},{\"name\":\"newest_event_time\",\"type\":\"long\"},"
        "{\"name\":\"lag_ms\",\"type\":\"int\"},{\"name\":\"state\",\"type\":{\"type\":\"enum\","
        "\"name\":\"HeartbeatState\",\"symbols\":[\"live\"]}}]}";
    static const struct {
        unsigned exchange_n, body_n; /* the text's length, and how much of the body there is */
        const char *why;             /* NULL: it is read */
    } cases[] = {
        {32, 0, NULL}, {32, 1, "truncated"}, {33, 0, "over_bound"}, {1000, 0, "over_bound"}};
    static struct built b, body;
    struct err err;
    unsigned records;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        body.n = 0;
        add_long(&body, cases[i].exchange_n);
        memset(body.bytes + body.n, 'x', cases[i].exchange_n);
        body.n += cases[i].exchange_n;
        add(&body, "\x02S\x02\x04\x06\x00", 6);
        build(&b, "null", older);
        const size_t n = body.n - cases[i].body_n;
        add_block(&b, 1, (int64_t)n, body.bytes, n);
        err.text[0] = '\0';
        assert_int_equal(read_bytes(b.bytes, b.n, &codec_heartbeat_record, &records, &err),
                         cases[i].why == NULL ? ERR_OK : ERR_REJECT);
        if (cases[i].why != NULL)
            assert_non_null(strstr(err.text, cases[i].why));
        assert_int_equal(records, cases[i].why == NULL);
    }
}

/* Schemas: other spellings and docs are ours; another field, type or record is not, and the text
 * says which. */
static void container_schemas(void **state)
{
    (void)state;
    static struct built b;
    static char text[4096];
    struct err err;
    unsigned records;

    (void)snprintf(text, sizeof text, " %s ", codec_heartbeat_schema);
    build(&b, "null", text);
    assert_int_equal(read_bytes(b.bytes, b.n, NULL, &records, &err), ERR_OK);
    char *doc = strstr(text, "time - newest");
    assert_non_null(doc);
    *doc = 'T';
    build(&b, "null", text);
    assert_int_equal(read_bytes(b.bytes, b.n, &codec_heartbeat_record, &records, &err), ERR_OK);
    (void)memmove(text, text + 1, strlen(text)); /* as long as ours, but not ours */
    text[strlen(codec_heartbeat_schema)] = '\0';
    build(&b, "null", text);
    assert_int_equal(read_bytes(b.bytes, b.n, NULL, &records, &err), ERR_OK);
    char *lag = strstr(text, "lag_ms");
    assert_non_null(lag);
    lag[4] = 'u';
    build(&b, "null", text);
    refuses(&b, "schema of Heartbeat differs from ours: field 4 is 'lag_us', ours 'lag_ms'");
    lag[4] = 'm';
    char *silent = strstr(text, "silent");
    assert_non_null(silent);
    *silent = 'S';
    build(&b, "null", text);
    refuses(&b, "field 'state' has another type");
    char *name = strstr(text, "Heartbeat");
    assert_non_null(name);
    *name = 'h';
    build(&b, "null", text);
    refuses(&b, "holds records 'l2flow.heartbeat': expected one of ours");
    (void)snprintf(text, sizeof text, "%s", codec_heartbeat_schema);
    char *last = strstr(text, ",{\"name\":\"state\"");
    assert_non_null(last);
    (void)snprintf(last, 3, "]}");
    build(&b, "null", text);
    refuses(&b, "schema of Heartbeat differs from ours: 5 fields, ours 6");
    (void)snprintf(text, sizeof text, "%s", codec_heartbeat_schema);
    (void)snprintf(text, sizeof text, "%.*s,{\"name\":\"more\",\"type\":\"int\"}]}",
                   (int)strlen(codec_heartbeat_schema) - 2, codec_heartbeat_schema);
    build(&b, "null", text);
    refuses(&b, "schema of Heartbeat differs from ours: 7 fields, ours 6");
    build(&b, "null", "{\"type\":");
    refuses(&b, "unreadable schema");
    build(&b, "null", "\"long\"");
    refuses(&b, "no records but '\"long\"'");
    build(&b, "null", "{\"type\":\"record\",\"name\":\"Heart beat\",\"fields\":[]}");
    refuses(&b, "a bad name");
    build(&b, "null", "{\"type\":\"record\",\"type\":\"record\"}");
    refuses(&b, "duplicate");
    (void)memset(text, '[', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    build(&b, "null", text); /* jansson's own limit */
    refuses(&b, "unreadable schema");
    for (size_t i = 0; i < 20; i++)
        text[40 - i] = ']';
    text[41] = '\0';
    build(&b, "null", text + 1);
    refuses(&b, "nested too deep");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(container_round_trip),
        cmocka_unit_test(container_cut_at_every_byte),
        cmocka_unit_test(container_survives_damage),
        cmocka_unit_test(container_all_or_nothing),
        cmocka_unit_test(container_refuses_bad_records),
        cmocka_unit_test(container_bounds_padded_records),
        cmocka_unit_test(container_map_with_a_size),
        cmocka_unit_test(container_bounds_what_it_inflates),
        cmocka_unit_test(container_refuses_bad_paths),
        cmocka_unit_test(container_names_bad_metadata),
        cmocka_unit_test(container_names_what_is_wrong),
        cmocka_unit_test(container_names_what_is_wrong_in_deflated),
        cmocka_unit_test(container_bounds_records_of_a_block),
        cmocka_unit_test(container_of_another_version_names_bad_records),
        cmocka_unit_test(container_schemas),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
