#include "connect/connect.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define PORT_MAX 65535

static bool is_port(const char *text)
{
    unsigned n = 0;

    for (const char *p = text; *p != '\0'; p++) {
        if (*p < '0' || *p > '9' || n > PORT_MAX)
            return false;
        n = n * 10 + (unsigned)(*p - '0');
    }
    return n >= 1 && n <= PORT_MAX;
}

/* A folder's path, or "@…" for an abstract socket: what libpq takes for one. */
static bool is_socket(const char *host)
{
    return host[0] == '/' || host[0] == '@';
}

static enum err_class check_files(const struct config *config, struct err *err)
{
    static const char *const rows[] = {"pg_sslrootcert", "pg_sslcert", "pg_sslkey"};

    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *const file = config_string(config, rows[i]);
        if (file[0] != '\0' && access(file, R_OK) != 0)
            return err_set(err, ERR_REJECT, "%s = %s: %s", rows[i], file, strerror(errno));
    }
    const bool has_cert = config_string(config, "pg_sslcert")[0] != '\0';
    const bool has_key = config_string(config, "pg_sslkey")[0] != '\0';
    if (has_cert != has_key)
        return err_set(err, ERR_REJECT, "%s is set without %s: a certificate needs its key",
                       has_cert ? "pg_sslcert" : "pg_sslkey",
                       has_cert ? "pg_sslkey" : "pg_sslcert");
    return ERR_OK;
}

enum err_class connect_pg_load(const struct config *config, const char *application_name,
                               struct pgc_options *ret_options, struct err *err)
{
    const char *const host = config_string(config, "pg_host");
    const char *const port = config_string(config, "pg_port");
    const char *const sslmode = config_string(config, "pg_sslmode");
    const bool is_production = config_has(config, "L2_PROFILE") &&
                               strcmp(config_string(config, "L2_PROFILE"), "production") == 0;

    pgc_forget_environment();
    if (!is_port(port))
        return err_set(err, ERR_REJECT, "pg_port = %s: not 1 to %d", port, PORT_MAX);
    /* An empty host may be a socket by libpq's default, or this machine: production names it. */
    if (is_production && strcmp(sslmode, "verify-full") != 0 && !is_socket(host))
        return err_set(err, ERR_REJECT,
                       "pg_sslmode = %s: refused with L2_PROFILE = production: use verify-full and "
                       "pg_sslrootcert, or a socket's folder in pg_host",
                       sslmode);
    const enum err_class class = check_files(config, err);
    if (class != ERR_OK)
        return class;
    *ret_options = (struct pgc_options){
        .host = host,
        .port = port,
        .dbname = config_string(config, "pg_database"),
        .user = config_string(config, "pg_user"),
        .password = config_secret(config, "pg_password_file"),
        .sslmode = sslmode,
        .sslrootcert = config_string(config, "pg_sslrootcert"),
        .sslcert = config_string(config, "pg_sslcert"),
        .sslkey = config_string(config, "pg_sslkey"),
        .application_name = application_name,
    };
    return ERR_OK;
}
