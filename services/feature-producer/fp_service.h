/* fp_service.h: the live loop and its offline twin. */
#ifndef FP_SERVICE_H
#define FP_SERVICE_H

#include "connect/connect.h"
#include "core/fp_core.h"
#include "fp_wire.h"
#include "svc/svc.h"

struct fp_options {
    const char *offline_path; /* --offline; NULL: live */
    const char *out_dir;
    const char *closes_path;
    /* 0: not given */
    uint32_t bar_s, window_s, max_gap_s;
    bool has_purge;
    uint32_t purge_bars;
};

extern const struct svc_desc fp_service;

/* fp_config.c: the configuration's rows and the command line's options. */
extern const struct config_row fp_config_rows[];
extern const struct argp_option fp_option_table[];
extern struct fp_options fp_options;
error_t fp_option_parse(int key, char *arg, struct argp_state *state, void *options);
bool fp_is_offline(const void *options);
/* What the rows' own bounds cannot say: cross-field rules, and what only a live service needs. */
enum err_class fp_config_check(const struct config *config, struct err *err);

/* What is handed to librdkafka; keys and values are borrowed from the configuration. */
struct fp_settings {
    struct connect_kafka kafka;
    char dlq_bytes_max[16];
};

enum err_class fp_settings_load(const struct config *config, struct fp_settings *ret_settings,
                                struct err *err) MUST_CHECK;

/* fp_offline.c: the same core over a file. */
enum err_class fp_offline_run(struct svc *svc, const struct fp_options *options,
                              const struct fp_params *params, struct err *err);

/* From configuration and options; ERR_REJECT names the key. */
enum err_class fp_params_load(const struct config *config, const struct clk *clk,
                              const struct fp_options *options, struct fp_params *ret_params,
                              struct err *err) MUST_CHECK;

#endif
