#include "config/config_internal.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

static unsigned count_rows(const struct config_row *rows)
{
    unsigned n = 0;

    while (rows[n].name != NULL)
        n++;
    assert(n <= CONFIG_ROWS_MAX);
    return n;
}

static int find_row(const struct config *config, const char *name)
{
    for (unsigned i = 0; i < config->n_rows; i++)
        if (strcmp(config->rows[i].name, name) == 0)
            return (int)i;
    return -1;
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* The family that `key` belongs to, NULL if none; "kafka." alone is no key. */
static const struct config_row *find_family(const struct config *config, const char *key)
{
    for (unsigned i = 0; i < config->n_rows; i++) {
        const struct config_row *row = &config->rows[i];

        if (row->type == CONFIG_PREFIX && starts_with(key, row->name) &&
            key[strlen(row->name)] != '\0')
            return row;
    }
    return NULL;
}

static enum err_class out_of_memory(struct err *err)
{
    return err_set(err, ERR_FATAL, "configuration: out of memory: give the process more");
}

static enum err_class set_value(struct config *config, unsigned i, const char *text,
                                const struct origin *origin, struct err *err)
{
    struct value *value = &config->values[i];
    uint64_t number = 0;
    enum err_class e = config_check_login(config->rows[i].name, text, origin, err);

    if (e == ERR_OK)
        e = config_check_value(&config->rows[i], text, origin, &number, err);
    if (e != ERR_OK)
        return e;
    char *copy = strdup(text);

    if (copy == NULL)
        return out_of_memory(err);
    free(value->text);
    value->text = copy;
    value->number = number;
    value->line = origin->line;
    if (origin->kind != ORIGIN_DEFAULT)
        (void)config_where(origin, value->where, sizeof value->where);
    return ERR_OK;
}

/* kafka.sasl.password → the row kafka_sasl_password_file, or one that is spelled much like it. */
static const char *secret_row_for(const struct config *config, const char *key)
{
    char name[2 * CONFIG_KEY_BYTES_MAX];

    (void)snprintf(name, sizeof name, "%s_file", key);
    for (char *c = name; *c != '\0'; c++)
        if (*c == '.')
            *c = '_';
    return config_nearest(config, name, CONFIG_SECRET);
}

static enum err_class refuse_secret(const struct config *config, const char *key,
                                    const struct origin *origin, struct err *err)
{
    char where[CONFIG_WHERE_BYTES], shown[CONFIG_SHOWN_BYTES];
    const char *row = secret_row_for(config, key);

    return err_set(
        err, ERR_REJECT, "%s: %s: is a secret (value not shown): secrets come from files%s%s%s",
        config_where(origin, where, sizeof where), config_show(key, shown, sizeof shown),
        row != NULL ? "; put it into one and set " : ", and there is no key for this one",
        row != NULL ? row : "", row != NULL ? " to its path" : "; leave it out");
}

static struct pair *find_pair(struct config *config, const char *key)
{
    for (unsigned i = 0; i < config->n_pairs; i++)
        if (strcmp(config->pairs[i].key, key) == 0)
            return &config->pairs[i];
    return NULL;
}

static enum err_class set_pair(struct config *config, const char *key, const char *text,
                               const struct origin *origin, struct err *err)
{
    char where[CONFIG_WHERE_BYTES], shown[CONFIG_SHOWN_BYTES];
    struct pair *pair = find_pair(config, key);

    if (config_is_secret_key(key))
        return refuse_secret(config, key, origin, err);
    if (config_check_login(key, text, origin, err) != ERR_OK)
        return err->class;
    if (pair == NULL && config->n_pairs == CONFIG_PAIRS_MAX)
        return err_set(err, ERR_REJECT, "%s: %s: more than %d passed-through keys: leave some out",
                       config_where(origin, where, sizeof where),
                       config_show(key, shown, sizeof shown), CONFIG_PAIRS_MAX);
    char *value = strdup(text);
    char *name = pair == NULL ? strdup(key) : pair->key;

    if (value == NULL || name == NULL) {
        free(value);
        if (pair == NULL)
            free(name);
        return out_of_memory(err);
    }
    if (pair == NULL)
        pair = &config->pairs[config->n_pairs++];
    free(pair->value);
    pair->key = name;
    pair->value = value;
    pair->line = origin->line;
    (void)config_where(origin, pair->where, sizeof pair->where);
    return ERR_OK;
}

static enum err_class refuse_unknown(const struct config *config, const char *key,
                                     const struct origin *origin, struct err *err)
{
    char where[CONFIG_WHERE_BYTES], shown[CONFIG_SHOWN_BYTES];
    const char *near = config_nearest(config, key, -1);

    (void)config_where(origin, where, sizeof where);
    (void)config_show(key, shown, sizeof shown);
    if (near == NULL)
        return err_set(err, ERR_REJECT, "%s: %s: unknown key: --help lists the known ones", where,
                       shown);
    return err_set(err, ERR_REJECT, "%s: %s: unknown key: did you mean %s%s? --help lists all",
                   where, shown, near, near[strlen(near) - 1] == '.' ? "<key>" : "");
}

enum err_class config_set_key(struct config *config, const char *key, const char *text,
                              const struct origin *origin, struct err *err)
{
    const int i = find_row(config, key);
    const struct pair *pair = find_pair(config, key);
    const unsigned line = i >= 0 ? config->values[i].line : pair != NULL ? pair->line : 0;
    char where[CONFIG_WHERE_BYTES];

    if (line != 0)
        return err_set(err, ERR_REJECT, "%s: %s: stands on line %u already: keep one of the two",
                       config_where(origin, where, sizeof where), key, line);
    if (i >= 0 && config->rows[i].type != CONFIG_PREFIX)
        return set_value(config, (unsigned)i, text, origin, err);
    if (find_family(config, key) != NULL)
        return set_pair(config, key, text, origin, err);
    return refuse_unknown(config, key, origin, err);
}

/* A copy of `text` without spaces around it, NULL when out of memory. */
static char *trimmed(const char *text)
{
    size_t n;

    while (isspace((unsigned char)*text))
        text++;
    n = strlen(text);
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        n--;
    return strndup(text, n);
}

static enum err_class set_rows_from_environment(struct config *config, struct err *err)
{
    enum err_class e = ERR_OK;

    for (unsigned i = 0; e == ERR_OK && i < config->n_rows; i++) {
        char variable[CONFIG_ENV_BYTES_MAX];
        const char *set = getenv(config_variable(&config->rows[i], variable, sizeof variable));

        if (config->rows[i].type == CONFIG_PREFIX || set == NULL || *set == '\0')
            continue;
        char *text = trimmed(set);

        if (text == NULL)
            return out_of_memory(err);
        const struct origin origin = {ORIGIN_ENVIRONMENT, variable, config->values[i].line};

        e = set_value(config, i, text, &origin, err);
        free(text);
    }
    return e;
}

static bool is_variable_of_a_row(const struct config *config, const char *variable)
{
    char mine[CONFIG_ENV_BYTES_MAX];

    for (unsigned i = 0; i < config->n_rows; i++)
        if (config->rows[i].type != CONFIG_PREFIX &&
            strcmp(config_variable(&config->rows[i], mine, sizeof mine), variable) == 0)
            return true;
    return false;
}

/* One "NAME=value" of the environment, if it is of the family: L2_KAFKA_SSL_CA_LOCATION →
 * kafka.ssl.ca.location. */
static enum err_class set_pair_from_environment(struct config *config,
                                                const struct config_row *family, const char *entry,
                                                struct err *err)
{
    char prefix[CONFIG_ENV_BYTES_MAX], variable[CONFIG_ENV_BYTES_MAX], key[CONFIG_KEY_BYTES_MAX];
    const char *equals = strchr(entry, '=');
    const size_t n_prefix = strlen(config_variable(family, prefix, sizeof prefix));

    if (equals == NULL || equals[1] == '\0' || !starts_with(entry, prefix))
        return ERR_OK;
    const size_t n = (size_t)(equals - entry);
    const size_t n_family = strlen(family->name);

    if (n == n_prefix || n >= sizeof variable || n - n_prefix + n_family >= sizeof key)
        return ERR_OK; /* no key of a client library is that long */
    memcpy(variable, entry, n);
    variable[n] = '\0';
    if (is_variable_of_a_row(config, variable))
        return ERR_OK;
    memcpy(key, family->name, n_family);
    for (size_t i = 0; i <= n - n_prefix; i++) {
        const char c = variable[n_prefix + i];

        key[n_family + i] = c == '_' ? '.' : (char)tolower((unsigned char)c);
    }
    char *text = trimmed(equals + 1);

    if (text == NULL)
        return out_of_memory(err);
    const struct origin origin = {ORIGIN_ENVIRONMENT, variable, 0};
    uint64_t number;
    enum err_class e = config_check_value(family, text, &origin, &number, err);

    if (e == ERR_OK)
        e = set_pair(config, key, text, &origin, err);
    free(text);
    return e;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* In the order of their names: environ's own order is no one's intention. */
static enum err_class set_pairs_from_environment(struct config *config, struct err *err)
{
    enum err_class e = ERR_OK;
    size_t n = 0;

    while (environ[n] != NULL)
        n++;
    const char **sorted = calloc(n + 1, sizeof *sorted);

    if (sorted == NULL)
        return out_of_memory(err);
    memcpy(sorted, environ, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_strings);
    for (unsigned row = 0; row < config->n_rows; row++)
        for (size_t i = 0; config->rows[row].type == CONFIG_PREFIX && e == ERR_OK && i < n; i++)
            e = set_pair_from_environment(config, &config->rows[row], sorted[i], err);
    free(sorted);
    return e;
}

static enum err_class read_secrets(struct config *config, struct err *err)
{
    enum err_class e = ERR_OK;

    for (unsigned i = 0; e == ERR_OK && i < config->n_rows; i++) {
        struct value *value = &config->values[i];

        if (config->rows[i].type == CONFIG_SECRET && value->text[0] != '\0')
            e = config_read_secret(&config->rows[i], value->text, value->where, &value->secret,
                                   err);
    }
    return e;
}

static enum err_class set_defaults(struct config *config, struct err *err)
{
    static const struct origin origin = {ORIGIN_DEFAULT, NULL, 0};
    enum err_class e = ERR_OK;

    for (unsigned i = 0; e == ERR_OK && i < config->n_rows; i++) {
        const struct config_row *row = &config->rows[i];
        char variable[CONFIG_ENV_BYTES_MAX];

        assert(find_row(config, row->name) == (int)i); /* a name stands once */
        assert(strlen(row->name) < CONFIG_KEY_BYTES_MAX);
        assert(row->def != NULL && row->min != NULL && row->max != NULL && row->help != NULL);
        (void)config_variable(row, variable, sizeof variable);
        e = set_value(config, i, row->def, &origin, err);
        assert(e != ERR_REJECT); /* a default outside its own bounds is our bug */
    }
    return e;
}

enum err_class config_load(const struct config_row *rows, const char *file,
                           struct config **ret_config, struct err *err)
{
    struct config *config = calloc(1, sizeof *config);
    enum err_class e;

    if (config == NULL)
        return out_of_memory(err);
    config->rows = rows;
    config->n_rows = count_rows(rows);
    e = set_defaults(config, err);
    if (e == ERR_OK && file != NULL)
        e = config_read_file(config, file, err);
    if (e == ERR_OK)
        e = set_rows_from_environment(config, err);
    if (e == ERR_OK)
        e = set_pairs_from_environment(config, err);
    if (e == ERR_OK)
        e = read_secrets(config, err);
    if (e != ERR_OK) {
        config_free(config);
        return e;
    }
    *ret_config = config;
    return ERR_OK;
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    for (unsigned i = 0; i < config->n_rows; i++) {
        struct value *value = &config->values[i];

        free(value->text);
        if (value->secret != NULL)
            explicit_bzero(value->secret, strlen(value->secret));
        free(value->secret);
    }
    for (unsigned i = 0; i < config->n_pairs; i++) {
        free(config->pairs[i].key);
        free(config->pairs[i].value);
    }
    free(config);
}

bool config_has(const struct config *config, const char *name)
{
    return find_row(config, name) >= 0;
}

static const struct value *get(const struct config *config, const char *name, enum config_type type)
{
    const int i = find_row(config, name);

    assert(i >= 0 && config->rows[i].type == type);
    return &config->values[i];
}

uint64_t config_uint(const struct config *config, const char *name)
{
    return get(config, name, CONFIG_UINT)->number;
}

bool config_bool(const struct config *config, const char *name)
{
    return get(config, name, CONFIG_BOOL)->number != 0;
}

const char *config_string(const struct config *config, const char *name)
{
    const int i = find_row(config, name);

    assert(i >= 0 && (config->rows[i].type == CONFIG_STRING || config->rows[i].type == CONFIG_URL ||
                      config->rows[i].type == CONFIG_ENUM));
    return config->values[i].text;
}

const char *config_secret(const struct config *config, const char *name)
{
    const struct value *value = get(config, name, CONFIG_SECRET);

    return value->secret != NULL ? value->secret : "";
}

bool config_pair(const struct config *config, const char *prefix, unsigned i, const char **ret_key,
                 const char **ret_value)
{
    (void)get(config, prefix, CONFIG_PREFIX);
    for (unsigned at = 0; at < config->n_pairs; at++) {
        const struct pair *pair = &config->pairs[at];

        if (!starts_with(pair->key, prefix) || i-- > 0)
            continue;
        *ret_key = pair->key + strlen(prefix);
        *ret_value = pair->value;
        return true;
    }
    return false;
}
