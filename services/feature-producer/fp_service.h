/* fp_service.h: the live loop and its offline twin. */
#ifndef FP_SERVICE_H
#define FP_SERVICE_H

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

/* fp_offline.c: the same core over a file. */
enum err_class fp_offline_run(struct svc *svc, const struct fp_options *options,
                              const struct fp_params *params, struct err *err);

/* From configuration and options; ERR_REJECT names the key. */
enum err_class fp_params_load(const struct config *config, const struct clk *clk,
                              const struct fp_options *options, struct fp_params *ret_params,
                              struct err *err) MUST_CHECK;

#endif
