/* qm_service.h: the loop and its configuration. */
#ifndef QM_SERVICE_H
#define QM_SERVICE_H

#include "svc/svc.h"

extern const struct svc_desc qm_service;

/* qm_config.c */
extern const struct config_row qm_config_rows[];
enum err_class qm_config_check(const struct config *config, struct err *err);

#endif
