#include "alerts/firing.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct codec_str key_of(const struct firing_entry *entry)
{
    return (struct codec_str){.data = (const char *)entry->bytes, .n = entry->key_n};
}

static int compare(struct codec_str a, struct codec_str b)
{
    const int order = memcmp(a.data, b.data, a.n < b.n ? a.n : b.n);

    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

/* The first entry whose key is not below this one. */
static unsigned place_of(const struct firing *f, struct codec_str key)
{
    unsigned low = 0, high = f->n;

    while (low < high) {
        const unsigned middle = low + (high - low) / 2;
        if (compare(key_of(f->v[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct firing *f, unsigned i, struct codec_str key)
{
    return i < f->n && compare(key_of(f->v[i]), key) == 0;
}

static size_t size_of(size_t key_n, size_t n)
{
    return sizeof(struct firing_entry) + key_n + n;
}

static void take_out(struct firing *f, unsigned i)
{
    f->bytes -= size_of(f->v[i]->key_n, f->v[i]->n);
    free(f->v[i]);
    f->n--;
    memmove(&f->v[i], &f->v[i + 1], (f->n - i) * sizeof f->v[0]);
}

bool firing_init(struct firing *f, unsigned max, size_t bytes_max)
{
    *f = (struct firing){.max = max, .bytes_max = bytes_max};
    f->v = calloc(max, sizeof f->v[0]);
    return f->v != NULL;
}

void firing_clear(struct firing *f)
{
    for (unsigned i = 0; i < f->n; i++)
        free(f->v[i]);
    f->n = 0;
    f->bytes = 0;
}

void firing_free(struct firing *f)
{
    firing_clear(f);
    free(f->v);
    f->v = NULL;
}

bool firing_has(const struct firing *f, struct codec_str key)
{
    return is_at(f, place_of(f, key), key);
}

/* NULL: there is no room, or no memory. */
static struct firing_entry *entry_of(struct firing *f, const struct codec_alert *alert)
{
    size_t n = 0;

    if (codec_alert_encode(alert, f->buf, sizeof f->buf, &n) != CODEC_OK || f->n == f->max ||
        f->bytes + size_of(alert->key.n, n) > f->bytes_max)
        return NULL;
    struct firing_entry *entry = malloc(size_of(alert->key.n, n));
    if (entry == NULL)
        return NULL;
    *entry = (struct firing_entry){.key_n = alert->key.n, .n = n};
    if (alert->key.n > 0)
        memcpy(entry->bytes, alert->key.data, alert->key.n);
    memcpy(entry->bytes + alert->key.n, f->buf, n);
    return entry;
}

void firing_put(struct firing *f, const struct codec_alert *alert, int64_t time_us,
                int32_t partition, int64_t resolved_us)
{
    const bool fires =
        alert->state != CODEC_ALERT_STATE_OK && alert->delivery == CODEC_DELIVERY_SEND;
    const unsigned i = place_of(f, alert->key);

    if (is_at(f, i, alert->key))
        take_out(f, i);
    else if (!fires)
        return;
    struct firing_entry *entry = entry_of(f, alert);
    if (entry == NULL) {
        f->lost++;
        return;
    }
    entry->time_us = time_us;
    entry->ends_us = fires ? INT64_MAX : time_us + resolved_us;
    entry->partition = partition;
    memmove(&f->v[i + 1], &f->v[i], (f->n - i) * sizeof f->v[0]);
    f->v[i] = entry;
    f->n++;
    f->bytes += size_of(entry->key_n, entry->n);
}

void firing_remove(struct firing *f, struct codec_str key)
{
    const unsigned i = place_of(f, key);

    if (is_at(f, i, key))
        take_out(f, i);
}

void firing_expire(struct firing *f, int64_t now_us)
{
    for (unsigned i = f->n; i > 0; i--) {
        if (f->v[i - 1]->ends_us <= now_us)
            take_out(f, i - 1);
    }
}

void firing_get(const struct firing_entry *entry, struct codec_alert *ret_alert)
{
    const enum codec_status status =
        codec_alert_decode(entry->bytes + entry->key_n, entry->n, ret_alert);

    assert(status == CODEC_OK); /* our own bytes */
}
