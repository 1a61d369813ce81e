#include "connect/connect.h"

#include <string.h>

#define LOOKUP_MS 5000

bool connect_registry_wanted(const struct config *config)
{
    return config_string(config, "schema_registry_url")[0] != '\0';
}

enum err_class connect_registry_load(const struct config *config,
                                     struct http_client_options *ret_http, struct err *err)
{
    const struct http_client_options http = {
        .base_url = config_string(config, "schema_registry_url"),
        .user = config_string(config, "schema_registry_user"),
        .password = config_secret(config, "schema_registry_password_file"),
        .ca_file = config_string(config, "schema_registry_ca_file"),
        .cert_file = config_string(config, "schema_registry_cert_file"),
        .key_file = config_string(config, "schema_registry_key_file"),
        .deadline_ms = LOOKUP_MS,
    };

    if (http.user[0] == '\0' && http.password[0] != '\0')
        return err_set(err, ERR_REJECT,
                       "schema_registry_user: not set: the password is sent with it");
    if (strncmp(http.base_url, "https://", 8) != 0 && !http_is_loopback(http.base_url) &&
        config_has(config, "L2_PROFILE") &&
        strcmp(config_string(config, "L2_PROFILE"), "production") == 0)
        return err_set(err, ERR_REJECT,
                       "schema_registry_url: %.100s: not encrypted, refused in production: give an "
                       "https:// address",
                       http.base_url);
    if (http_client_check(&http, err) != ERR_OK)
        return err->class;
    *ret_http = http;
    return ERR_OK;
}

enum err_class connect_registry_open(const struct config *config,
                                     struct codec_registry **ret_registry, struct err *err)
{
    struct http_client_options http;

    if (connect_registry_load(config, &http, err) != ERR_OK)
        return err->class;
    return codec_registry_new(&http, ret_registry, err);
}

static enum codec_found find(void *user, uint32_t id, const struct codec_record *reader,
                             const struct codec_plan **ret_plan)
{
    return codec_registry_find(user, id, reader, ret_plan);
}

struct codec_ids connect_registry_ids(struct codec_registry *registry)
{
    return (struct codec_ids){registry != NULL ? find : NULL, registry};
}

enum err_class connect_registry_id(const struct config *config, struct codec_registry *registry,
                                   const char *topic, const struct codec_record *record,
                                   uint32_t *ret_id, struct err *err)
{
    char subject[CODEC_REGISTRY_SUBJECT_BYTES_MAX];
    const int n = snprintf(subject, sizeof subject, "%s-value", topic);

    if (registry == NULL) {
        *ret_id = 0;
        return ERR_OK;
    }
    if (n < 0 || (size_t)n >= sizeof subject)
        return err_set(err, ERR_REJECT, "%.100s: a topic's name that is too long for a subject",
                       topic);
    return codec_registry_register(registry, subject, record,
                                   config_bool(config, "schema_registry_register"), ret_id, err);
}

const char *const connect_registry_outcomes[] = {"found", "unknown", "registered", "failed", NULL};
const char *const connect_registry_results[] = {"hit", "negative_hit", "miss", NULL};

static void count_to(struct metrics *metrics, unsigned id, unsigned which, uint64_t total)
{
    metrics_add(metrics, id, which, total - metrics_count(metrics, id, which));
}

void connect_registry_export(struct codec_registry *registry, struct metrics *metrics,
                             unsigned first)
{
    const unsigned requests = first + CONNECT_REGISTRY_REQUESTS;
    const unsigned cache = first + CONNECT_REGISTRY_CACHE;

    if (registry == NULL)
        return;
    const struct codec_registry_stats s = codec_registry_stats(registry);
    const uint64_t outcomes[] = {s.found, s.unknown, s.registered, s.failures};
    const uint64_t results[] = {s.hits, s.negative_hits, s.misses};
    for (unsigned i = 0; connect_registry_outcomes[i] != NULL; i++)
        count_to(metrics, requests, i, outcomes[i]);
    for (unsigned i = 0; connect_registry_results[i] != NULL; i++)
        count_to(metrics, cache, i, results[i]);
    metrics_set(metrics, first + CONNECT_REGISTRY_WAITING, 0, s.waiting);
}
