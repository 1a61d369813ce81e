/* registry_internal.h: what registry.c and registry_json.c share. */
#ifndef CODEC_REGISTRY_INTERNAL_H
#define CODEC_REGISTRY_INTERNAL_H

#include "codec/registry.h"

/* The error_code of an answer that is an error, 0 where it has none; its message, "" likewise. */
int codec_registry_error_code(const char *json, size_t n, char *ret_message, size_t cap);
/* What is posted; owned by the caller; NULL: out of memory. */
char *codec_registry_body(const struct codec_record *record);

#endif
