#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"

#include <string.h>

static void err_carries_class_and_text(void **state)
{
    (void)state;
    struct err err = {0};

    assert_int_equal(err_set(&err, ERR_REJECT, "%s: %d: %s", "what", 7, "remedy"), ERR_REJECT);
    assert_int_equal(err.class, ERR_REJECT);
    assert_string_equal(err.text, "what: 7: remedy");
}

/* A caller puts more in front of what it got. Seen to fail when vsnprintf writes to err->text
 * itself. */
static void err_text_may_be_its_own_argument(void **state)
{
    (void)state;
    struct err err;

    (void)err_set(&err, ERR_RETRY, "connection refused");
    (void)err_set(&err, ERR_FATAL, "broker 3: %s: start it", err.text);
    assert_string_equal(err.text, "broker 3: connection refused: start it");
    assert_int_equal(err.class, ERR_FATAL);
}

/* A text too long says that it was cut. Seen to fail without the "...". */
static void err_text_is_cut_visibly(void **state)
{
    (void)state;
    struct err err;
    char text[2 * sizeof err.text], fits[sizeof err.text];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)err_set(&err, ERR_REJECT, "%s", text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_string_equal(err.text + sizeof err.text - 5, "x...");

    memset(fits, 'x', sizeof fits - 1);
    fits[sizeof fits - 1] = '\0';
    (void)err_set(&err, ERR_REJECT, "%s", fits);
    assert_string_equal(err.text, fits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_carries_class_and_text),
        cmocka_unit_test(err_text_may_be_its_own_argument),
        cmocka_unit_test(err_text_is_cut_visibly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
