/*
 * Any bytes as a configuration file. What is taken must be within its row's bounds, and must come
 * back the same when it is printed and read again; what is refused names the file in one line.
 */
#include "config/config.h"
#include "config/config_internal.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PATH_BYTES 64
#define PORT_MAX 65535

static const struct config_row rows[] = {
    {"topic_prefix", CONFIG_STRING, "", "0", "64", "a text"},
    {"name", CONFIG_STRING, "x", "1", "", "a text without a bound of its own"},
    {"port", CONFIG_UINT, "9101", "1", "65535", "a number"},
    {"any", CONFIG_UINT, "0", "", "", "a number without bounds"},
    {"wanted", CONFIG_BOOL, "0", "", "", "yes or no"},
    {"level", CONFIG_ENUM, "info", "", "debug|info|warn", "a choice"},
    {"password_file", CONFIG_SECRET, "", "", "", "a secret"},
    {"kafka.", CONFIG_PREFIX, "", "", "", "a family"},
    {"L2_FUZZ_MODE", CONFIG_ENUM, "a", "", "a|b", "a variable's own name"},
    {.name = NULL},
};

/* A file in memory, and the path that leads to it. */
static int file_of(const void *data, size_t size, char path[PATH_BYTES])
{
    const int fd = memfd_create("fuzz_config", MFD_CLOEXEC);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    (void)snprintf(path, PATH_BYTES, "/proc/self/fd/%d", fd);
    return fd;
}

static void check_values(const struct config *config)
{
    const char *const level = config_string(config, "level");

    assert(config_uint(config, "port") >= 1 && config_uint(config, "port") <= PORT_MAX);
    assert(strlen(config_string(config, "topic_prefix")) <= 64);
    assert(config_string(config, "name")[0] != '\0');
    assert(strlen(config_string(config, "name")) <= CONFIG_VALUE_BYTES_MAX);
    assert(strcmp(level, "debug") == 0 || strcmp(level, "info") == 0 || strcmp(level, "warn") == 0);
    assert(strlen(config_secret(config, "password_file")) <= CONFIG_VALUE_BYTES_MAX);
}

static void check_same(const struct config *a, const struct config *b)
{
    static const char *const texts[] = {"topic_prefix", "name", "level", "L2_FUZZ_MODE"};
    const char *key_a, *key_b, *value_a, *value_b;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert(strcmp(config_string(a, texts[i]), config_string(b, texts[i])) == 0);
    assert(config_uint(a, "port") == config_uint(b, "port"));
    assert(config_uint(a, "any") == config_uint(b, "any"));
    assert(config_bool(a, "wanted") == config_bool(b, "wanted"));
    assert(strcmp(config_secret(a, "password_file"), config_secret(b, "password_file")) == 0);
    for (unsigned i = 0, shown = 0;; i++) {
        if (!config_pair(a, "kafka.", i, &key_a, &value_a)) {
            assert(!config_pair(b, "kafka.", shown, &key_b, &value_b));
            break;
        }
        if (config_may_hide_secret(key_a))
            continue;
        const bool has = config_pair(b, "kafka.", shown, &key_b, &value_b);
        assert(has);
        shown++;
        assert(strcmp(key_a, key_b) == 0 && strcmp(value_a, value_b) == 0);
    }
}

static void check_printed(const struct config *config)
{
    struct config *again = NULL;
    struct err err;
    char *text = NULL, path[PATH_BYTES];
    size_t n = 0;
    FILE *const out = open_memstream(&text, &n);

    if (out == NULL)
        abort();
    config_print(config, out);
    if (fclose(out) != 0)
        abort();
    if (n <= CONFIG_FILE_BYTES_MAX) {
        const int fd = file_of(text, n, path);
        const enum err_class e = config_load(rows, path, &again, &err);
        if (e != ERR_OK)
            (void)fprintf(stderr, "%s\n%s", err.text, text);
        assert(e == ERR_OK);
        check_same(config, again);
        config_free(again);
        close(fd);
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *config = NULL;
    struct err err = {.text = ""};
    char path[PATH_BYTES];
    const int fd = file_of(data, size, path);
    const enum err_class e = config_load(rows, path, &config, &err);

    assert((e == ERR_OK) == (config != NULL));
    if (e == ERR_OK) {
        check_values(config);
        check_printed(config);
    } else {
        assert(e == ERR_REJECT && strstr(err.text, path) != NULL);
        assert(strchr(err.text, '\n') == NULL);
    }
    config_free(config);
    close(fd);
    return 0;
}
