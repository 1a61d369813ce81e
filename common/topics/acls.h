/*
 * acls.h: the one owner of what each service's Kafka user may do: least privilege, each row is
 * needed. `l2ctl acls` makes the cluster like this table. A new service is a row in acls.c. Pure:
 * no I/O, no allocation.
 */
#ifndef ACLS_H
#define ACLS_H

#include "topics/topics.h"

#include <assert.h>

enum acls_service {
    ACLS_FEATURE_PRODUCER,
    ACLS_BAR_ARCHIVER,
    ACLS_QUALITY_MONITOR,
    ACLS_FEED,           /* l2replay, or whatever writes l2.snapshots and l2.ohlcv */
    ACLS_TRADING_ENGINE, /* a reader of features, a writer of predictions */
    ACLS_L2MONITOR,      /* the tool: stored history, read only */
    ACLS_TOPICS_ADMIN,   /* l2ctl topics; `l2ctl acls` itself needs a superuser */
    ACLS_SERVICES_N,
};

#define ACLS_ROWS_MAX 32 /* of one service */
static_assert(ACLS_ROWS_MAX <= BUS_ACLS_MAX, "one call creates a service's rows");

const char *acls_service_name(enum acls_service service); /* "feature-producer" */
bool acls_find(const char *name, enum acls_service *ret_service);

struct acls_table {
    unsigned n;
    char principal[BUS_ACL_PRINCIPAL_BYTES_MAX + 1];
    struct bus_acl rows[ACLS_ROWS_MAX];
};

/*
 * What the service's user needs. principal NULL: "User:" and the service's name. Names of topics,
 * groups and transactional ids have the topic prefix before them, as the services put it there.
 * REJECT: the prefix is out of bounds, or the principal is not "User:" and a name.
 */
enum err_class acls_wanted(enum acls_service service, const char *prefix, const char *principal,
                           struct acls_table *ret_wanted, struct err *err) MUST_CHECK;

enum acls_fault {
    ACLS_ABSENT,  /* needed, and not there */
    ACLS_SURPLUS, /* there, and not needed: more than the least privilege, or a denial */
};

struct acls_diff {
    enum acls_fault fault;
    struct bus_acl row;
};

#define ACLS_DIFFS_MAX (ACLS_ROWS_MAX + BUS_ACLS_MAX)

struct acls_diffs {
    unsigned n, absent_n, surplus_n;
    struct acls_diff items[ACLS_DIFFS_MAX];
};

/* found: the rows of wanted->principal, at most BUS_ACLS_MAX. Rows are compared to the letter: a
 * wider one (All, a longer reach of names) does not stand for a needed one. */
void acls_compare(const struct acls_table *wanted, const struct bus_acl *found, unsigned found_n,
                  struct acls_diffs *ret_diffs);

#endif
