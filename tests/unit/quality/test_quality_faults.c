/* l2_quality_reference.json when memory, the disk or the file itself gives out: an error says so,
 * nothing leaks (ASan), what was there stays. Seen to fail: with fsync's answer ignored; with
 * fclose's; with the temporary file left; with a directory read as an empty file; with the part of
 * a file that had been read before memory gave out parsed; without a check of an allocation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failing_alloc.h"
#include "quality/quality.h"

static bool fsync_fails, rename_fails;
static int fclose_fails_in; /* this call from now on fails, once; 0: none */

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_fclose(FILE *stream);
int __wrap_fclose(FILE *stream);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);

static int refused(int code)
{
    errno = EIO;
    return code;
}

int __wrap_fsync(int fd)
{
    return fsync_fails ? refused(-1) : __real_fsync(fd);
}

int __wrap_fclose(FILE *stream)
{
    const int code = __real_fclose(stream);

    return fclose_fails_in > 0 && --fclose_fails_in == 0 ? refused(EOF) : code;
}

int __wrap_rename(const char *from, const char *to)
{
    return rename_fails ? refused(-1) : __real_rename(from, to);
}

static char dir[] = "/tmp/l2flow-quality-faults-XXXXXX";
static char path[64], tmp_path[72];

static int make_dir(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/q.json", dir);
    snprintf(tmp_path, sizeof tmp_path, "%s.tmp", path);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(dir); /* fails where something was left */
}

/* Cryptos without a value, as many bytes as it takes. */
static void make(struct quality_file *file, uint32_t cryptos_n)
{
    *file = (struct quality_file){.version = "v",
                                  .exchange = "e",
                                  .bar_s = 900,
                                  .to_us = 10,
                                  .cryptos_n = cryptos_n,
                                  .crypto = calloc(cryptos_n, sizeof *file->crypto)};
    assert_non_null(file->crypto);
    for (uint32_t i = 0; i < cryptos_n; i++) {
        snprintf(file->crypto[i].symbol, sizeof file->crypto[i].symbol, "C%05u", i);
        file->crypto[i].to_us = 10;
        for (int c = 0; c < L2_COLUMNS; c++)
            file->crypto[i].feature[c].null_share = 1;
    }
}

static void write_good(uint32_t cryptos_n)
{
    struct quality_file file;
    struct err err;

    make(&file, cryptos_n);
    assert_int_equal(quality_write(&file, path, &err), ERR_OK);
    quality_free(&file);
}

static void assert_read(uint32_t cryptos_n)
{
    struct quality_file file;
    struct err err;

    assert_int_equal(quality_read(path, &file, &err), ERR_OK);
    assert_int_equal(file.cryptos_n, cryptos_n);
    quality_free(&file);
}

/* The second write fails: its error says what, and the first one's file is what it was. */
static void assert_not_written(uint32_t cryptos_n, const char *says)
{
    struct quality_file file;
    struct err err = {0};

    make(&file, cryptos_n);
    assert_int_equal(quality_write(&file, path, &err), ERR_FATAL);
    quality_free(&file);
    fsync_fails = rename_fails = false;
    assert_int_equal(fclose_fails_in, 0);
    assert_non_null(strstr(err.text, says));
    assert_int_not_equal(access(tmp_path, F_OK), 0);
    assert_read(1);
}

static void a_disk_that_fails(void **state)
{
    (void)state;
    write_good(1);
    fsync_fails = true;
    assert_not_written(2, strerror(EIO));
    fclose_fails_in = 1; /* of the text, which is made in memory */
    assert_not_written(2, "out of memory");
    fclose_fails_in = 2;
    assert_not_written(2, strerror(EIO));
    rename_fails = true;
    assert_not_written(2, strerror(EIO));
}

/* A name that is made of the content needs the text, too. */
static void a_text_that_cannot_be_made(void **state)
{
    struct quality_file file;
    struct err err;

    (void)state;
    make(&file, 1);
    fclose_fails_in = 1;
    assert_int_equal(quality_name_by_content(&file, &err), ERR_FATAL);
    assert_string_equal(file.version, "v");
    quality_free(&file);
}

/* A file of one write, and one of many. */
static void a_disk_that_is_full(void **state)
{
    struct rlimit was, little;

    (void)state;
    write_good(1);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    for (uint32_t n = 2; n < 1000; n += 500) {
        little = (struct rlimit){.rlim_cur = 100, .rlim_max = was.rlim_max};
        (void)signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
        struct quality_file file;
        struct err err = {0};
        make(&file, n);
        const enum err_class e = quality_write(&file, path, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0); /* before anything is written of it */
        quality_free(&file);
        assert_int_equal(e, ERR_FATAL);
        assert_non_null(strstr(err.text, strerror(EFBIG)));
        assert_int_not_equal(access(tmp_path, F_OK), 0);
        assert_read(1);
    }
}

static void a_path_that_is_too_long(void **state)
{
    static char path_long[5000];
    struct quality_file file;
    struct err err;

    (void)state;
    memset(path_long, 'x', sizeof path_long - 1);
    make(&file, 1);
    assert_int_equal(quality_write(&file, path_long, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, "too long"));
    quality_free(&file);
}

/* Past one buffer, which grows; past all bounds; and a folder, which opens and cannot be read. */
static void files_of_any_size(void **state)
{
    struct quality_file file = {.cryptos_n = 0};
    struct err err;

    (void)state;
    write_good(500);
    struct stat is;
    assert_int_equal(stat(path, &is), 0);
    assert_true(is.st_size > 2 << 16);
    assert_read(500);
    assert_int_equal(truncate(path, QUALITY_FILE_BYTES_MAX + 1), 0);
    assert_int_equal(quality_read(path, &file, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, "more than 64 MiB"));
    assert_int_equal(quality_read(dir, &file, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, strerror(EISDIR)));
    assert_int_equal(quality_read_estimates("/nowhere/x", &file, &err), ERR_REJECT);
}

/* Every allocation of ours fails once; those of the JSON library and of libc are theirs. */
static void memory_gives_out(void **state)
{
    struct quality_file file = {.cryptos_n = 0};
    struct err err = {0};
    int failed = 0;

    (void)state;
    write_good(500);
    for (int in = 1;; in++) {
        failing_alloc_in = in;
        const enum err_class e = quality_read(path, &file, &err);
        if (failing_alloc_in > 0)
            break; /* there are no more */
        assert_int_equal(e, ERR_FATAL);
        assert_non_null(strstr(err.text, "out of memory"));
        assert_null(file.crypto);
        failed++;
    }
    failing_alloc_in = 0;
    assert_true(failed >= 4); /* the text, twice larger, twice again; the cryptos */
    assert_int_equal(file.cryptos_n, 500);
    quality_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_that_fails),   cmocka_unit_test(a_text_that_cannot_be_made),
        cmocka_unit_test(a_disk_that_is_full), cmocka_unit_test(a_path_that_is_too_long),
        cmocka_unit_test(files_of_any_size),   cmocka_unit_test(memory_gives_out),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
