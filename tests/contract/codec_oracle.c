/*
 * codec_oracle: our half of the comparison with fastavro; test_codec_fastavro.py is the other.
 *
 *   codec_oracle random RECORD SEED N null|deflate OUT.avro   writes N random records, prints them
 * as JSON lines codec_oracle dump RECORD IN.avro                          prints a container file
 * as JSON lines codec_oracle messages RECORD                              framed messages in hex, a
 * line each, from stdin: prints the JSON, then the hex of the message encoded again
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "codec/container.h"
#include "codec/everything.h"
#include "codec_values.h"

enum { MESSAGE_BYTES_MAX = 512 << 10 };

static int complain(const char *text)
{
    (void)fprintf(stderr, "codec_oracle: %s\n", text);
    return 1;
}

static int write_random(const struct codec_record *record, char *args[4])
{
    uint64_t seed = strtoull(args[0], NULL, 10);
    const unsigned long n = strtoul(args[1], NULL, 10);
    const enum codec_file_codec codec =
        strcmp(args[2], "deflate") == 0 ? CODEC_FILE_DEFLATE : CODEC_FILE_NULL;
    struct codec_file_writer *w = NULL;
    struct err err;
    void *v = malloc(record->struct_size);
    enum err_class e = v == NULL ? err_set(&err, ERR_FATAL, "out of memory")
                                 : codec_file_create(args[3], record, codec, &w, &err);

    for (unsigned long i = 0; e == ERR_OK && i < n; i++) {
        codec_values_random(record, &seed, v);
        codec_values_print(record, v, stdout);
        e = codec_file_put(w, v, &err);
    }
    if (e == ERR_OK)
        e = codec_file_commit(w, &err);
    else
        codec_file_abandon(w);
    free(v);
    return e == ERR_OK ? 0 : complain(err.text);
}

static int dump(const struct codec_record *record, const char *path)
{
    struct codec_file_reader *r = NULL;
    struct err err;
    bool more = true;
    void *v = malloc(record->struct_size);
    enum err_class e = v == NULL ? err_set(&err, ERR_FATAL, "out of memory")
                                 : codec_file_open(path, record, &r, &err);

    while (e == ERR_OK && more) {
        e = codec_file_next_record(r, v, &more, &err);
        if (e == ERR_OK && more)
            codec_values_print(record, v, stdout);
    }
    codec_file_close(r);
    free(v);
    return e == ERR_OK ? 0 : complain(err.text);
}

static size_t unhex(const char *line, uint8_t *bytes)
{
    size_t n = 0;

    while (n < MESSAGE_BYTES_MAX && isxdigit((unsigned char)line[2 * n])) {
        const char byte[3] = {line[2 * n], line[2 * n + 1], 0};
        bytes[n++] = (uint8_t)strtoul(byte, NULL, 16);
    }
    return n;
}

static int messages(const struct codec_record *record)
{
    static uint8_t in[MESSAGE_BYTES_MAX], out[MESSAGE_BYTES_MAX];
    char *line = NULL;
    size_t line_cap = 0, out_n = 0;
    void *v = malloc(record->struct_size);
    enum codec_status s = CODEC_OK;

    while (v != NULL && s == CODEC_OK && getline(&line, &line_cap, stdin) > 0) {
        const size_t n = unhex(line, in);
        s = codec_unframe(record, in, n, v);
        if (s == CODEC_OK) {
            codec_values_print(record, v, stdout);
            s = codec_frame(record, v, out, sizeof out, &out_n);
        }
        for (size_t i = 0; s == CODEC_OK && i < out_n; i++)
            (void)printf("%02x", out[i]);
        (void)putchar('\n');
    }
    free(v);
    free(line);
    return s == CODEC_OK ? 0 : complain(codec_status_name(s));
}

int main(int argc, char **argv)
{
    const char *name = argc > 2 ? argv[2] : "";
    const struct codec_record *record = codec_record_by_name(name);

    if (strcmp(name, "Everything") == 0)
        record = &codec_everything_record;
    if (record == NULL)
        return complain("usage: random RECORD SEED N CODEC OUT | dump RECORD IN | messages RECORD");
    if (argc == 7 && strcmp(argv[1], "random") == 0)
        return write_random(record, argv + 3);
    if (argc == 4 && strcmp(argv[1], "dump") == 0)
        return dump(record, argv[3]);
    if (argc == 3 && strcmp(argv[1], "messages") == 0)
        return messages(record);
    return complain("no such command");
}
