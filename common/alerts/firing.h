/* firing.h: the newest record of each alert that Alertmanager must be told of again and again.
 * Bounded: what does not fit is not kept, and counted. Private to common/alerts. */
#ifndef ALERTS_FIRING_H
#define ALERTS_FIRING_H

#include "codec/alert.h"

struct firing_entry {
    int64_t time_us; /* real: when it was told */
    int64_t ends_us; /* real: from here on it is not repeated any more; INT64_MAX: it fires */
    int32_t partition;
    uint32_t key_n;
    size_t n;
    uint8_t bytes[]; /* the key, and behind it the record without frame, of n bytes */
};

struct firing {
    struct firing_entry **v; /* by key, rising */
    unsigned n, max;
    size_t bytes, bytes_max;
    uint64_t lost; /* did not fit */
    uint8_t buf[CODEC_ALERT_BYTES_MAX];
};

/* False: no memory. */
bool firing_init(struct firing *firing, unsigned max, size_t bytes_max);
void firing_clear(struct firing *firing); /* `lost` stays */
void firing_free(struct firing *firing);

/* In the order of the records; `alert` is not kept. One that is ok is kept until ends_us = time_us
 * + resolved_us, to be repeated too, if its key was here. A grouped or inhibited one ends its key's
 * repetition the same way. */
void firing_put(struct firing *firing, const struct codec_alert *alert, int64_t time_us,
                int32_t partition, int64_t resolved_us);
void firing_remove(struct firing *firing, struct codec_str key);
bool firing_has(const struct firing *firing, struct codec_str key);
void firing_expire(struct firing *firing, int64_t now_us);
/* Views into the entry. */
void firing_get(const struct firing_entry *entry, struct codec_alert *ret_alert);

#endif
