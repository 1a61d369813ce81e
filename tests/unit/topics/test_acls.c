/*
 * The rights that a service needs, and how they differ from what is there. Seen to fail: with the
 * prefix left out of a name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "topics/acls.h"

static struct acls_table wanted;
static struct acls_diffs diffs;

static void want(enum acls_service service, const char *prefix, const char *principal)
{
    struct err err = {0};

    assert_int_equal(acls_wanted(service, prefix, principal, &wanted, &err), ERR_OK);
}

static bool has(enum bus_acl_resource resource, const char *name, bool is_prefixed,
                enum bus_acl_operation operation)
{
    for (unsigned i = 0; i < wanted.n; i++) {
        const struct bus_acl *const r = &wanted.rows[i];
        if (r->resource == resource && r->operation == operation && r->is_prefixed == is_prefixed &&
            strcmp(r->name, name) == 0)
            return true;
    }
    return false;
}

static void rows_carry_the_prefix(void **state)
{
    (void)state;
    want(ACLS_FEATURE_PRODUCER, "eu.", NULL);
    assert_string_equal(wanted.principal, "User:feature-producer");
    assert_true(has(BUS_ACL_TOPIC, "eu.l2.snapshots", false, BUS_ACL_READ));
    assert_true(has(BUS_ACL_GROUP, "eu.feature-producer", false, BUS_ACL_READ));
    assert_true(has(BUS_ACL_TRANSACTIONAL_ID, "eu.feature-producer-", true, BUS_ACL_WRITE));
    assert_false(has(BUS_ACL_TOPIC, "eu.l2.snapshots", false, BUS_ACL_WRITE));
    for (unsigned i = 0; i < wanted.n; i++) {
        assert_int_equal(strncmp(wanted.rows[i].name, "eu.", 3), 0);
        assert_string_equal(wanted.rows[i].principal, "User:feature-producer");
        assert_string_equal(wanted.rows[i].host, "*");
    }
}

/* No service may destroy, or act on the cluster. */
static void nobody_deletes(void **state)
{
    (void)state;
    for (unsigned s = 0; s < ACLS_SERVICES_N; s++) {
        want((enum acls_service)s, "", NULL);
        assert_true(wanted.n > 0);
        for (unsigned i = 0; i < wanted.n; i++) {
            assert_int_not_equal(wanted.rows[i].operation, BUS_ACL_DELETE);
            assert_int_not_equal(wanted.rows[i].operation, BUS_ACL_ALL);
            assert_int_not_equal(wanted.rows[i].operation, BUS_ACL_ALTER);
            assert_int_not_equal(wanted.rows[i].resource, BUS_ACL_CLUSTER);
            assert_false(wanted.rows[i].is_denied);
        }
    }
}

static void no_row_stands_twice(void **state)
{
    (void)state;
    for (unsigned s = 0; s < ACLS_SERVICES_N; s++) {
        want((enum acls_service)s, "", NULL);
        for (unsigned i = 0; i < wanted.n; i++)
            for (unsigned k = 0; k < i; k++)
                assert_false(bus_acl_is_same(&wanted.rows[i], &wanted.rows[k]));
    }
}

static void differences(void **state)
{
    static struct bus_acl found[ACLS_ROWS_MAX + 1];

    (void)state;
    want(ACLS_FEED, "", NULL);
    acls_compare(&wanted, found, 0, &diffs);
    assert_int_equal(diffs.absent_n, wanted.n);
    assert_int_equal(diffs.surplus_n, 0);

    memcpy(found, wanted.rows, wanted.n * sizeof found[0]);
    acls_compare(&wanted, found, wanted.n, &diffs);
    assert_int_equal(diffs.n, 0);

    found[wanted.n] = wanted.rows[0];
    found[wanted.n].is_prefixed = true; /* wider: not the same row */
    acls_compare(&wanted, found, wanted.n + 1, &diffs);
    assert_int_equal(diffs.n, 1);
    assert_int_equal(diffs.items[0].fault, ACLS_SURPLUS);
    assert_true(bus_acl_is_same(&diffs.items[0].row, &found[wanted.n]));

    found[1].is_denied = true; /* a denial does not give a right: one absent, and one too many */
    acls_compare(&wanted, found, wanted.n, &diffs);
    assert_int_equal(diffs.absent_n, 1);
    assert_int_equal(diffs.surplus_n, 1);
}

static void names(void **state)
{
    enum acls_service service;

    (void)state;
    for (unsigned s = 0; s < ACLS_SERVICES_N; s++) {
        assert_true(acls_find(acls_service_name((enum acls_service)s), &service));
        assert_int_equal(service, s);
    }
    assert_false(acls_find("nobody", &service));
}

static void refusals(void **state)
{
    static const char *const bad[] = {"feature-producer", "User:", "User:*", "Group:x", ""};
    struct acls_table untouched = {.n = 7};
    char longest[BUS_ACL_PRINCIPAL_BYTES_MAX + 2];
    struct err err = {0};

    (void)state;
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(acls_wanted(ACLS_FEED, "", bad[i], &untouched, &err), ERR_REJECT);
    snprintf(longest, sizeof longest, "User:%0*d", BUS_ACL_PRINCIPAL_BYTES_MAX - 4, 1);
    assert_int_equal(acls_wanted(ACLS_FEED, "", longest, &untouched, &err), ERR_REJECT);
    assert_int_equal(acls_wanted(ACLS_FEED, "not a prefix", NULL, &untouched, &err), ERR_REJECT);
    assert_int_equal(untouched.n, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_carry_the_prefix),
        cmocka_unit_test(nobody_deletes),
        cmocka_unit_test(no_row_stands_twice),
        cmocka_unit_test(differences),
        cmocka_unit_test(names),
        cmocka_unit_test(refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
