/* ctl_decode.h: messages of any topic → records: either framing, every released version of a
 * schema, and with a registry every version that it knows. */
#ifndef CTL_DECODE_H
#define CTL_DECODE_H

#include "codec/reader.h"
#include "codec/registry.h"
#include "config/config.h"
#include "ctl_view.h"

#include <signal.h>

#define CTL_WHY_BYTES 96

struct ctl_decoder {
    struct codec_registry *registry; /* NULL: none is configured */
    struct codec_reader **readers;   /* by the place in codec_records; NULL until wanted */
    void *value;                     /* room for any record's struct */
    char why[CTL_WHY_BYTES];
    const volatile sig_atomic_t *stop; /* ends a wait for the registry */
};

/* config NULL: without a registry. ctl_decoder_close is NULL-safe in its members. */
enum err_class ctl_decoder_open(const struct config *config, const volatile sig_atomic_t *stop,
                                struct ctl_decoder *ret_decoder, struct err *err) MUST_CHECK;
void ctl_decoder_close(struct ctl_decoder *decoder);

/*
 * Fills in record and value, or why, of an item with a message; they live until the next call.
 * `expected`: what an id of a registry is read as, NULL: not known. RETRY: the registry is out of
 * reach, or `stop` was set meanwhile. What it refused to tell goes to stderr.
 */
enum err_class ctl_decode(struct ctl_decoder *decoder, const struct codec_record *expected,
                          struct ctl_item *item, struct err *err) MUST_CHECK;

#endif
