/* qm_service.h: the loop and its configuration. */
#ifndef QM_SERVICE_H
#define QM_SERVICE_H

#include "l2/params.h"
#include "svc/svc.h"

extern const struct svc_desc qm_service;

/* qm_config.c */
extern const struct config_row qm_config_rows[];
/* What the bars and features were made with, by their schema version. */
enum err_class qm_params_load(const struct config *config, struct l2_params *ret_params,
                              struct err *err) MUST_CHECK;
enum err_class qm_config_check(const struct config *config, struct err *err);

#endif
