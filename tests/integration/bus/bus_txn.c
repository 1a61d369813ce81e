/*
 * Transactions of bus.h one after another, each of some records in three partitions, "I.J" the J-th
 * of the I-th. What the test of a broker that dies starts. Prints "committed I".
 *
 *   bus_txn BOOTSTRAP TOPIC TRANSACTIONAL_ID FIRST LAST RECORDS TIMEOUT_MS
 */
#include "bus/bus.h"
#include "clk/clk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTITIONS 3

static void on_log(void *user, int level, const char *text)
{
    (void)user;
    fprintf(stderr, "%d %s\n", level, text);
}

static enum err_class commit_one(struct bus_txn *t, int number, int records, struct err *err)
{
    enum err_class e;

    for (int i = 0; i < records; i++) {
        char value[32];
        const int n = snprintf(value, sizeof value, "%d.%d", number, i);
        const struct bus_output o = {.partition = i % PARTITIONS,
                                     .key = "k",
                                     .key_n = 1,
                                     .value = value,
                                     .value_n = (size_t)n};
        bus_txn_send(t, &o);
    }
    while ((e = bus_txn_commit(t, 100, err)) == ERR_RETRY)
        continue;
    return e;
}

int main(int argc, char **argv)
{
    const struct bus_setting settings[] = {{"bootstrap.servers", argc == 8 ? argv[1] : ""}};
    const char *topics[] = {argc == 8 ? argv[2] : ""};
    struct bus_txn_options o = {.settings = settings,
                                .settings_n = 1,
                                .topics = topics,
                                .topics_n = 1,
                                .buffer_bytes_max = 1 << 20,
                                .log = on_log};
    struct bus_txn *t;
    struct err err;

    if (argc != 8)
        return 64;
    o.transactional_id = argv[3];
    o.transaction_timeout_ms = (unsigned)strtoul(argv[7], NULL, 10);
    enum err_class e = bus_txn_new(&o, &t, &err);

    if (e != ERR_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 75;
    }
    const int last = (int)strtol(argv[5], NULL, 10);

    for (int i = (int)strtol(argv[4], NULL, 10); e == ERR_OK && i <= last; i++) {
        e = commit_one(t, i, (int)strtol(argv[6], NULL, 10), &err);
        if (e == ERR_OK)
            printf("committed %d\n", i);
        (void)fflush(stdout);
    }
    if (e != ERR_OK)
        fprintf(stderr, "failed: class %d: %s\n", (int)e, err.text);
    bus_txn_free(t);
    return e == ERR_OK ? 0 : 75;
}
