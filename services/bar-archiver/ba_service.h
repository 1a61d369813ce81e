/* ba_service.h: the loop, its configuration, and the import of files. */
#ifndef BA_SERVICE_H
#define BA_SERVICE_H

#include "ba_store.h"
#include "svc/svc.h"

#define BA_FILES_MAX 4096

struct ba_options {
    bool import; /* --import */
    const char *files[BA_FILES_MAX];
    unsigned files_n;
};

extern const struct svc_desc ba_service;

/* ba_config.c: the configuration's rows and the command line's options. */
extern const struct config_row ba_config_rows[];
extern const struct argp_option ba_option_table[];
extern struct ba_options ba_options;
error_t ba_option_parse(int key, char *arg, struct argp_state *state, void *options);
bool ba_is_import(const void *options);
enum err_class ba_config_check(const struct config *config, struct err *err);
enum err_class ba_pg_load(const struct config *config, struct pgc_options *ret_pg,
                          struct err *err) MUST_CHECK;
struct ba_limits ba_limits_load(const struct config *config);

/* ba_import.c: files straight into the tables. */
enum err_class ba_import_run(struct svc *svc, const struct ba_options *options,
                             const struct pgc_options *pg, struct err *err);

#endif
