/* Access control lists: one short-lived handle a call, as topic administration (admin.c). */
#include "bus/admin.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Ours are the protocol's numbers, and so are librdkafka's. */
static_assert((int)BUS_ACL_TOPIC == (int)RD_KAFKA_RESOURCE_TOPIC &&
                  (int)BUS_ACL_GROUP == (int)RD_KAFKA_RESOURCE_GROUP &&
                  (int)BUS_ACL_CLUSTER == (int)RD_KAFKA_RESOURCE_BROKER &&
                  (int)BUS_ACL_TRANSACTIONAL_ID == (int)RD_KAFKA_RESOURCE_TRANSACTIONAL_ID &&
                  (int)BUS_ACL_ALL == (int)RD_KAFKA_ACL_OPERATION_ALL &&
                  (int)BUS_ACL_READ == (int)RD_KAFKA_ACL_OPERATION_READ &&
                  (int)BUS_ACL_IDEMPOTENT_WRITE == (int)RD_KAFKA_ACL_OPERATION_IDEMPOTENT_WRITE,
              "resources and operations are numbered as in Kafka's protocol");

#define ACL_TEXT_BYTES 200

const char *bus_acl_resource_name(enum bus_acl_resource resource)
{
    switch (resource) {
    case BUS_ACL_TOPIC:
        return "topic";
    case BUS_ACL_GROUP:
        return "group";
    case BUS_ACL_CLUSTER:
        return "cluster";
    case BUS_ACL_TRANSACTIONAL_ID:
        return "transactional-id";
    }
    return "unknown";
}

const char *bus_acl_operation_name(enum bus_acl_operation operation)
{
    static const char *const names[] = {
        [BUS_ACL_ALL] = "All",
        [BUS_ACL_READ] = "Read",
        [BUS_ACL_WRITE] = "Write",
        [BUS_ACL_CREATE] = "Create",
        [BUS_ACL_DELETE] = "Delete",
        [BUS_ACL_ALTER] = "Alter",
        [BUS_ACL_DESCRIBE] = "Describe",
        [BUS_ACL_CLUSTER_ACTION] = "ClusterAction",
        [BUS_ACL_DESCRIBE_CONFIGS] = "DescribeConfigs",
        [BUS_ACL_ALTER_CONFIGS] = "AlterConfigs",
        [BUS_ACL_IDEMPOTENT_WRITE] = "IdempotentWrite",
    };

    if ((unsigned)operation >= sizeof names / sizeof names[0] || names[operation] == NULL)
        return "unknown";
    return names[operation];
}

bool bus_acl_is_same(const struct bus_acl *a, const struct bus_acl *b)
{
    return a->resource == b->resource && a->operation == b->operation &&
           a->is_prefixed == b->is_prefixed && a->is_denied == b->is_denied &&
           strcmp(a->name, b->name) == 0 && strcmp(a->principal, b->principal) == 0 &&
           strcmp(a->host, b->host) == 0;
}

/* False: it does not fit. */
static bool copy_text(char *to, size_t size, const char *from)
{
    const int n = snprintf(to, size, "%s", from == NULL ? "" : from);

    return n >= 0 && (size_t)n < size;
}

static enum err_class take_row(const rd_kafka_AclBinding_t *from, struct bus_acl *to,
                               struct err *err)
{
    *to = (struct bus_acl){
        .resource = (enum bus_acl_resource)rd_kafka_AclBinding_restype(from),
        .operation = (enum bus_acl_operation)rd_kafka_AclBinding_operation(from),
        .is_prefixed =
            rd_kafka_AclBinding_resource_pattern_type(from) == RD_KAFKA_RESOURCE_PATTERN_PREFIXED,
        .is_denied = rd_kafka_AclBinding_permission_type(from) == RD_KAFKA_ACL_PERMISSION_TYPE_DENY,
    };
    if (copy_text(to->name, sizeof to->name, rd_kafka_AclBinding_name(from)) &&
        copy_text(to->principal, sizeof to->principal, rd_kafka_AclBinding_principal(from)) &&
        copy_text(to->host, sizeof to->host, rd_kafka_AclBinding_host(from)))
        return ERR_OK;
    return err_set(err, ERR_REJECT,
                   "access control: a row for %.80s... has a name of more than %d bytes: remove it "
                   "with Kafka's own tool",
                   to->name, BUS_ACL_NAME_BYTES_MAX);
}

static enum err_class take_rows(const rd_kafka_AclBinding_t **found, size_t found_n,
                                const char *principal, struct bus_acl *ret_acls, unsigned max,
                                unsigned *ret_n, struct err *err)
{
    if (found_n > max)
        return err_set(err, ERR_REJECT, "access control: %s has %zu rows: at most %u are handled",
                       principal, found_n, max);
    for (size_t i = 0; i < found_n; i++)
        if (take_row(found[i], &ret_acls[i], err) != ERR_OK)
            return err->class;
    *ret_n = (unsigned)found_n;
    return ERR_OK;
}

static enum err_class describe(struct admin *a, const char *principal, struct bus_acl *ret_acls,
                               unsigned max, unsigned *ret_n, struct err *err)
{
    char text[ACL_TEXT_BYTES];
    enum err_class e;
    size_t found_n = 0;
    rd_kafka_AclBindingFilter_t *filter = rd_kafka_AclBindingFilter_new(
        RD_KAFKA_RESOURCE_ANY, NULL, RD_KAFKA_RESOURCE_PATTERN_ANY, principal, NULL,
        RD_KAFKA_ACL_OPERATION_ANY, RD_KAFKA_ACL_PERMISSION_TYPE_ANY, text, sizeof text);

    if (filter == NULL)
        return err_set(err, ERR_REJECT, "access control: %s: %s", principal, text);
    admin_begin(a, RD_KAFKA_ADMIN_OP_DESCRIBEACLS);
    rd_kafka_DescribeAcls(a->rk, filter, a->options, a->queue);
    e = admin_wait(a, "describe access control", err);
    if (e == ERR_OK) {
        const rd_kafka_AclBinding_t **found = rd_kafka_DescribeAcls_result_acls(
            rd_kafka_event_DescribeAcls_result(a->event), &found_n);
        e = take_rows(found, found_n, principal, ret_acls, max, ret_n, err);
    }
    admin_end(a);
    rd_kafka_AclBinding_destroy(filter);
    return e;
}

/*
 * librdkafka 2.14.2 drops the error of a DescribeAcls answer: a refused one looks like an empty
 * list, and everything like absent. So the right is asked for first.
 */
static enum err_class check_right(struct admin *a, struct err *err)
{
    enum err_class e = ERR_OK;
    bool may = false;
    size_t n = 0;

    admin_begin(a, RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER);
    rd_kafka_error_destroy(rd_kafka_AdminOptions_set_include_authorized_operations(a->options, 1));
    rd_kafka_DescribeCluster(a->rk, a->options, a->queue);
    e = admin_wait(a, "describe access control", err);
    if (e == ERR_OK) {
        const rd_kafka_AclOperation_t *operations =
            rd_kafka_DescribeCluster_result_authorized_operations(
                rd_kafka_event_DescribeCluster_result(a->event), &n);

        for (size_t i = 0; i < n; i++)
            may |= operations[i] == RD_KAFKA_ACL_OPERATION_DESCRIBE ||
                   operations[i] == RD_KAFKA_ACL_OPERATION_ALL;
        if (!may)
            e = err_set(err, ERR_REJECT,
                        "describe access control: %s: this user may not see it: log in as a "
                        "superuser of the cluster",
                        a->client->address);
    }
    admin_end(a);
    return e;
}

enum err_class bus_acls_describe(const struct bus_setting *settings, unsigned settings_n,
                                 const char *principal, struct bus_acl *ret_acls, unsigned max,
                                 unsigned *ret_n, int timeout_ms, struct err *err)
{
    struct client client;
    struct admin a;
    enum err_class e = admin_open(&a, &client, settings, settings_n, timeout_ms, err);

    if (e != ERR_OK)
        return e;
    e = check_right(&a, err);
    if (e == ERR_OK)
        e = describe(&a, principal, ret_acls, max, ret_n, err);
    admin_close(&a);
    return e;
}

/* A row, or the filter that finds it alone: the same struct in librdkafka. */
static enum err_class binding_of(const struct bus_acl *acl, bool is_filter,
                                 rd_kafka_AclBinding_t **ret, struct err *err)
{
    const rd_kafka_ResourcePatternType_t pattern =
        acl->is_prefixed ? RD_KAFKA_RESOURCE_PATTERN_PREFIXED : RD_KAFKA_RESOURCE_PATTERN_LITERAL;
    const rd_kafka_AclPermissionType_t permission =
        acl->is_denied ? RD_KAFKA_ACL_PERMISSION_TYPE_DENY : RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW;
    const rd_kafka_ResourceType_t resource = (rd_kafka_ResourceType_t)acl->resource;
    const rd_kafka_AclOperation_t operation = (rd_kafka_AclOperation_t)acl->operation;
    char text[ACL_TEXT_BYTES];

    *ret = is_filter
               ? rd_kafka_AclBindingFilter_new(resource, acl->name, pattern, acl->principal,
                                               acl->host, operation, permission, text, sizeof text)
               : rd_kafka_AclBinding_new(resource, acl->name, pattern, acl->principal, acl->host,
                                         operation, permission, text, sizeof text);
    return *ret != NULL ? ERR_OK
                        : err_set(err, ERR_REJECT, "access control: %s %.100s: %s",
                                  bus_acl_resource_name(acl->resource), acl->name, text);
}

static enum err_class bindings_of(const struct bus_acl *acls, unsigned n, bool is_filter,
                                  rd_kafka_AclBinding_t **made, struct err *err)
{
    if (n > BUS_ACLS_MAX)
        return err_set(err, ERR_REJECT, "access control: %u rows in one call: at most %d", n,
                       BUS_ACLS_MAX);
    for (unsigned i = 0; i < n; i++) {
        if (binding_of(&acls[i], is_filter, &made[i], err) != ERR_OK) {
            rd_kafka_AclBinding_destroy_array(made, i);
            return err->class;
        }
    }
    return ERR_OK;
}

/* The i-th row's error; NULL: none, as for rows that there are not. */
static const rd_kafka_error_t *error_of(const struct admin *a, bool is_delete, unsigned i)
{
    size_t n = 0;

    if (is_delete) {
        const rd_kafka_DeleteAcls_result_response_t **results =
            rd_kafka_DeleteAcls_result_responses(rd_kafka_event_DeleteAcls_result(a->event), &n);
        return i < n ? rd_kafka_DeleteAcls_result_response_error(results[i]) : NULL;
    }
    const rd_kafka_acl_result_t **results =
        rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(a->event), &n);
    return i < n ? rd_kafka_acl_result_error(results[i]) : NULL;
}

static enum err_class change(struct admin *a, const struct bus_acl *acls, unsigned n,
                             bool is_delete, struct err *err)
{
    rd_kafka_AclBinding_t *made[BUS_ACLS_MAX];
    enum err_class e = bindings_of(acls, n, is_delete, made, err);

    if (e != ERR_OK)
        return e;
    admin_begin(a, is_delete ? RD_KAFKA_ADMIN_OP_DELETEACLS : RD_KAFKA_ADMIN_OP_CREATEACLS);
    (is_delete ? rd_kafka_DeleteAcls : rd_kafka_CreateAcls)(a->rk, made, n, a->options, a->queue);
    e = admin_wait(a, is_delete ? "delete access control" : "create access control", err);
    for (unsigned i = 0; e == ERR_OK && i < n; i++) {
        const rd_kafka_error_t *error = error_of(a, is_delete, i);

        if (error != NULL)
            e = client_err(a->client, err, acls[i].name, rd_kafka_error_code(error),
                           rd_kafka_error_string(error));
    }
    admin_end(a);
    rd_kafka_AclBinding_destroy_array(made, n);
    return e;
}

static enum err_class change_all(const struct bus_setting *settings, unsigned settings_n,
                                 const struct bus_acl *acls, unsigned n, bool is_delete,
                                 int timeout_ms, struct err *err)
{
    struct client client;
    struct admin a;
    enum err_class e =
        n == 0 ? ERR_OK : admin_open(&a, &client, settings, settings_n, timeout_ms, err);

    if (n == 0 || e != ERR_OK)
        return e;
    e = change(&a, acls, n, is_delete, err);
    admin_close(&a);
    return e;
}

enum err_class bus_acls_create(const struct bus_setting *settings, unsigned settings_n,
                               const struct bus_acl *acls, unsigned n, int timeout_ms,
                               struct err *err)
{
    return change_all(settings, settings_n, acls, n, false, timeout_ms, err);
}

enum err_class bus_acls_delete(const struct bus_setting *settings, unsigned settings_n,
                               const struct bus_acl *acls, unsigned n, int timeout_ms,
                               struct err *err)
{
    return change_all(settings, settings_n, acls, n, true, timeout_ms, err);
}
