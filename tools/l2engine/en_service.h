/* en_service.h: the loop. */
#ifndef EN_SERVICE_H
#define EN_SERVICE_H

#include "svc/svc.h"

extern const struct svc_desc en_service;

#endif
