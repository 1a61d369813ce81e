/*
 * What codec/resolve.h makes of other people's bytes, for tests/contract/test_resolve_fastavro.py.
 * In: three lengths (little endian, 4 bytes each) and as many texts: the writer's schema, the
 * reader's, a body. Out: a word, a length, that many bytes: 'P' no plan and why, 'E' no record and
 * the status's name, 'O' the reader's bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/resolve.h"

enum { OUT_MAX = 1 << 20 };

static char *take(uint32_t n)
{
    char *text = malloc((size_t)n + 1);

    if (text == NULL || (n > 0 && fread(text, 1, n, stdin) != n))
        exit(2);
    return text;
}

static void say(char kind, const void *data, size_t n)
{
    const uint32_t length = (uint32_t)n;

    putchar(kind);
    fwrite(&length, sizeof length, 1, stdout);
    fwrite(data, 1, n, stdout);
    fflush(stdout);
}

int main(void)
{
    static uint8_t out[OUT_MAX];
    uint32_t lengths[3];

    while (fread(lengths, sizeof lengths, 1, stdin) == 1) {
        char *writer = take(lengths[0]), *reader = take(lengths[1]), *body = take(lengths[2]);
        struct codec_plan *plan = NULL;
        struct err err;
        size_t n;
        if (codec_plan_between("oracle", writer, lengths[0], reader, lengths[1], OUT_MAX, &plan,
                               &err) != ERR_OK) {
            say('P', err.text, strlen(err.text));
        } else {
            const enum codec_status s =
                codec_plan_transcode(plan, (const uint8_t *)body, lengths[2], out, sizeof out, &n);
            if (s == CODEC_OK)
                say('O', out, n);
            else
                say('E', codec_status_name(s), strlen(codec_status_name(s)));
        }
        codec_plan_free(plan);
        free(writer);
        free(reader);
        free(body);
    }
    return 0;
}
