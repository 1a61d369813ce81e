/* What pgc makes of SQLSTATEs and texts, without a server. Seen to fail: with 57 among the rejects;
 * with the cut at LOCATION left out. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "pgc/pgc_internal.h"

#include <string.h>

static void test_classes(void **state)
{
    static const struct {
        const char *sqlstate;
        enum err_class class;
    } cases[] = {
        {"08006", ERR_RETRY},  {"40001", ERR_RETRY},  {"40P01", ERR_RETRY},  {"53100", ERR_RETRY},
        {"53300", ERR_RETRY},  {"57014", ERR_RETRY},  {"57P01", ERR_RETRY},  {"58030", ERR_RETRY},
        {"55P03", ERR_RETRY},  {"25006", ERR_RETRY},  {"25P03", ERR_RETRY},  {"22003", ERR_REJECT},
        {"23505", ERR_REJECT}, {"28P01", ERR_REJECT}, {"3D000", ERR_REJECT}, {"42501", ERR_REJECT},
        {"42P01", ERR_REJECT}, {"25P02", ERR_FATAL},  {"55000", ERR_FATAL},  {"XX000", ERR_FATAL},
        {"0A000", ERR_FATAL},  {"P0001", ERR_FATAL},  {"", ERR_FATAL}};

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(pgc_class_of(cases[i].sqlstate), cases[i].class);
}

static void one(const char *text, size_t size, const char *want)
{
    char buf[64];

    memset(buf, 'x', sizeof buf);
    pgc_one_line(text, buf, size);
    assert_string_equal(buf, want);
}

static void test_one_line(void **state)
{
    (void)state;
    one("", 64, "");
    one(" \n\t ", 64, "");
    one("a\n\tb  c\n", 64, "a b c");
    one("ERROR:  x\nLOCATION:  parse, parser.c:1\n", 64, "ERROR: x");
    one("abcdef", 4, "abc");
    one("ab \ncd", 4, "ab");
    one("abc", 1, "");
}

/* Numbers from 1 without a gap, as pgc_migrate takes for granted. */
static void test_migrations_are_numbered(void **state)
{
    (void)state;
    assert_true(pgc_migrations_n > 0);
    for (unsigned i = 0; i < pgc_migrations_n; i++) {
        assert_int_equal(pgc_migrations[i].version, i + 1);
        assert_true(strlen(pgc_migrations[i].sql) > 0 && pgc_migrations[i].hash != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_one_line),
        cmocka_unit_test(test_migrations_are_numbered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
