/*
 * A schema registry's client at the end of a pipe, for tests/contract/test_registry*.py.
 *   registry_probe URL RECORD [user=U] [password=P] [ca=FILE] [deadline_ms=N]
 * In, one a line: "find ID", "wait ID MS", "register SUBJECT 0|1", "decode ID MS HEX" (a body),
 * "stats", "trouble". Out, one line each.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/registry.h"

static void say_found(enum codec_found found, const struct codec_plan *plan)
{
    if (found == CODEC_FOUND)
        printf("FOUND %s\n", codec_plan_is_same(plan) ? "same" : "other");
    else
        printf("%s\n", found == CODEC_PENDING ? "PENDING" : "UNKNOWN");
}

static void decode(struct codec_registry *registry, const struct codec_record *record, uint32_t id,
                   unsigned ms, const char *hex)
{
    static uint8_t body[1 << 16], scratch[1 << 20], out[1 << 20];
    const struct codec_plan *plan;
    size_t n = 0, out_n = 0;

    for (; n < sizeof body && isxdigit((unsigned char)hex[2 * n]) &&
           isxdigit((unsigned char)hex[2 * n + 1]);
         n++) {
        const char byte[] = {hex[2 * n], hex[2 * n + 1], '\0'};
        body[n] = (uint8_t)strtoul(byte, NULL, 16);
    }
    if (codec_registry_wait(registry, id, record, ms, &plan) != CODEC_FOUND) {
        printf("UNKNOWN\n");
        return;
    }
    void *into = calloc(1, record->struct_size);
    enum codec_status s = codec_plan_decode(plan, body, n, scratch, sizeof scratch, into);
    if (s == CODEC_OK)
        s = record->encode(into, out, sizeof out, &out_n);
    printf("%s ", codec_status_name(s));
    for (size_t i = 0; i < out_n; i++)
        printf("%02x", out[i]);
    printf("\n");
    free(into);
}

/* The next word of the line, which ends with a zero then; "" when there is none. */
static const char *word(char **line)
{
    char *begin = *line + strspn(*line, " \n");

    *line = begin + strcspn(begin, " \n");
    if (**line != '\0')
        *(*line)++ = '\0';
    return begin;
}

static unsigned number(char **line)
{
    return (unsigned)strtoul(word(line), NULL, 10);
}

static void answer(struct codec_registry *registry, const struct codec_record *record, char *line)
{
    const struct codec_plan *plan = NULL;
    const char *command = word(&line);
    struct err err;
    uint32_t got;

    if (strcmp(command, "find") == 0) {
        const enum codec_found found = codec_registry_find(registry, number(&line), record, &plan);
        say_found(found, plan);
    } else if (strcmp(command, "wait") == 0) {
        const unsigned id = number(&line), ms = number(&line);
        const enum codec_found found = codec_registry_wait(registry, id, record, ms, &plan);
        say_found(found, plan);
    } else if (strcmp(command, "register") == 0) {
        const char *subject = word(&line);
        const bool may = number(&line) != 0;
        const enum err_class e =
            codec_registry_register(registry, subject, record, may, &got, &err);
        if (e == ERR_OK)
            printf("ID %u\n", got);
        else
            printf("%s %s\n", e == ERR_RETRY ? "RETRY" : "REJECT", err.text);
    } else if (strcmp(command, "decode") == 0) {
        const unsigned id = number(&line), ms = number(&line);
        decode(registry, record, id, ms, word(&line));
    } else if (strcmp(command, "stats") == 0) {
        const struct codec_registry_stats s = codec_registry_stats(registry);
        printf("lookups %lu found %lu unknown %lu registered %lu failures %lu hits %lu "
               "negative_hits %lu misses %lu waiting %u\n",
               (unsigned long)s.lookups, (unsigned long)s.found, (unsigned long)s.unknown,
               (unsigned long)s.registered, (unsigned long)s.failures, (unsigned long)s.hits,
               (unsigned long)s.negative_hits, (unsigned long)s.misses, s.waiting);
    } else {
        printf("%s\n", codec_registry_trouble(registry, &err) ? err.text : "none");
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static char line[1 << 18];
    struct http_client_options http = {.base_url = argc > 1 ? argv[1] : "", .deadline_ms = 2000};
    const struct codec_record *record = codec_record_by_name(argc > 2 ? argv[2] : "");
    struct codec_registry *registry = NULL;
    struct err err;

    for (int i = 3; i < argc; i++) {
        if (strncmp(argv[i], "user=", 5) == 0)
            http.user = argv[i] + 5;
        else if (strncmp(argv[i], "password=", 9) == 0)
            http.password = argv[i] + 9;
        else if (strncmp(argv[i], "ca=", 3) == 0)
            http.ca_file = argv[i] + 3;
        else if (strncmp(argv[i], "deadline_ms=", 12) == 0)
            http.deadline_ms = (unsigned)strtoul(argv[i] + 12, NULL, 10);
    }
    if (record == NULL || codec_registry_new(&http, &registry, &err) != ERR_OK) {
        printf("%s\n", record == NULL ? "no such record" : err.text);
        return 1;
    }
    while (fgets(line, sizeof line, stdin) != NULL)
        answer(registry, record, line);
    codec_registry_free(registry);
    return 0;
}
