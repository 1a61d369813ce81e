#include "en_side.h"

#include "en_metrics.h"
#include "log/log.h"

#include <inttypes.h>

#define READ_MAX 4096 /* records of one reader at a time */
#define OPEN_WAIT_MS 20
#define OPEN_MS_MAX 60000
#define TELL_EVERY_US (60 * CLK_US_PER_S)

static void take_beat(struct en_side *s, struct en_core *core,
                      const struct bus_reader_record *record)
{
    struct en_name symbol;
    int64_t event_us;
    enum en_reject reject = en_wire_beat(s->wire, record, &symbol, &event_us);

    if (reject == EN_ACCEPTED && !en_core_beat(core, symbol, event_us))
        reject = EN_NO_PLACE;
    if (reject != EN_ACCEPTED)
        metrics_add(s->metrics, M_PASSED_OVER, reject, 1);
}

static void take_rollout(struct en_side *s, struct en_core *core,
                         const struct bus_reader_record *record)
{
    struct en_rollout rollout;
    enum en_reject reject = en_wire_rollout(s->wire, record, &rollout);

    if (reject == EN_ACCEPTED && !en_core_rollout(core, &rollout))
        reject = EN_NO_PLACE;
    if (reject != EN_ACCEPTED)
        metrics_add(s->metrics, M_PASSED_OVER, reject, 1);
}

typedef void (*take_fn)(struct en_side *side, struct en_core *core,
                        const struct bus_reader_record *record);

static enum err_class read_all(struct en_side *s, struct en_core *core, struct bus_reader *reader,
                               take_fn take, int wait_ms, struct err *err)
{
    const struct bus_reader_record *record;
    bool end;

    for (unsigned n = 0; n < READ_MAX; n++) {
        if (bus_reader_next(reader, wait_ms, &record, &end, err) != ERR_OK)
            return err->class;
        if (record == NULL)
            return ERR_OK;
        take(s, core, record);
    }
    return ERR_OK;
}

enum err_class en_side_open(struct en_side *s, struct svc *svc, struct en_core *core,
                            struct err *err)
{
    const int64_t until_us = clk_mono_us() + OPEN_MS_MAX * INT64_C(1000);

    if (bus_reader_new(s->settings, s->settings_n, s->heartbeat, -1, BUS_FROM_START, false,
                       &s->beats, err) != ERR_OK ||
        bus_reader_new(s->settings, s->settings_n, s->rollout, -1, BUS_FROM_START, false,
                       &s->rollouts, err) != ERR_OK)
        return err->class;
    while (!svc_stopping(svc) && !(bus_reader_at_end(s->beats) && bus_reader_at_end(s->rollouts))) {
        svc_alive(svc);
        if (read_all(s, core, s->beats, take_beat, 0, err) != ERR_OK ||
            read_all(s, core, s->rollouts, take_rollout, OPEN_WAIT_MS, err) != ERR_OK)
            return err->class;
        if (clk_mono_us() > until_us)
            return err_set(err, ERR_RETRY, "%s, %s: their ends were not reached in %d s",
                           s->heartbeat, s->rollout, OPEN_MS_MAX / 1000);
    }
    return ERR_OK;
}

void en_side_close(struct en_side *s)
{
    bus_reader_free(s->beats);
    bus_reader_free(s->rollouts);
    for (int32_t p = 0; p < EN_PARTITIONS_MAX; p++)
        en_side_stop(s, p);
}

enum err_class en_side_start(struct en_side *s, int32_t partition, struct err *err)
{
    en_side_stop(s, partition);
    return bus_reader_new(s->settings, s->settings_n, s->features, partition, BUS_FROM_START, false,
                          &s->partitions[partition].reader, err);
}

void en_side_stop(struct en_side *s, int32_t partition)
{
    struct en_side_partition *p = &s->partitions[partition];

    bus_reader_free(p->reader);
    *p = (struct en_side_partition){.reader = NULL};
}

static void tell_misfit(struct en_side *s, const struct en_misfit *m)
{
    metrics_add(s->metrics, M_MISFITS, 0, 1);
    if (s->told_us != 0 && clk_mono_us() - s->told_us < TELL_EVERY_US)
        return;
    s->told_us = clk_mono_us();
    log_event(LOG_ERROR, "contract", "field", LOG_STR, m->field, "record", LOG_STR, m->there,
              "pinned", LOG_STR, m->here, "text", LOG_STR,
              "the L2 arms do not predict from such records: no_l2 serves", NULL);
}

/* The next feature into `held`; false: none now. */
static enum err_class hold_next(struct en_side *s, struct en_side_partition *p, bool *ret_holds,
                                struct err *err)
{
    const struct bus_reader_record *record;
    struct en_misfit misfit = {.field = NULL};
    bool end;

    for (;;) {
        *ret_holds = false;
        if (bus_reader_next(p->reader, 0, &record, &end, err) != ERR_OK)
            return err->class;
        if (record == NULL)
            return ERR_OK;
        const enum en_reject reject = en_wire_feature(s->wire, record, &p->held, &misfit);
        metrics_add(s->metrics, M_FEATURES, 0, 1);
        if (reject != EN_ACCEPTED) {
            metrics_add(s->metrics, M_PASSED_OVER, reject, 1);
            continue;
        }
        if (!p->held.fits_contract)
            tell_misfit(s, &misfit);
        *ret_holds = true;
        return ERR_OK;
    }
}

static enum err_class read_features(struct en_side *s, struct en_core *core, int32_t partition,
                                    struct err *err)
{
    struct en_side_partition *p = &s->partitions[partition];
    const int64_t until_us = en_core_takes_until(core, partition);

    for (unsigned n = 0; n < READ_MAX; n++) {
        if (!p->holds && hold_next(s, p, &p->holds, err) != ERR_OK)
            return err->class;
        if (!p->holds || p->held.bar_time_us > until_us)
            break;
        if (!en_core_feature(core, &p->held))
            metrics_add(s->metrics, M_PASSED_OVER, EN_NO_PLACE, 1);
        p->holds = false;
    }
    en_core_features_reached(core, partition,
                             p->holds                       ? p->held.bar_time_us
                             : bus_reader_at_end(p->reader) ? INT64_MAX
                                                            : INT64_MIN);
    return ERR_OK;
}

enum err_class en_side_read(struct en_side *s, struct en_core *core, struct err *err)
{
    if (read_all(s, core, s->rollouts, take_rollout, 0, err) != ERR_OK ||
        read_all(s, core, s->beats, take_beat, 0, err) != ERR_OK)
        return err->class;
    for (int32_t p = 0; p < EN_PARTITIONS_MAX; p++)
        if (s->partitions[p].reader != NULL && read_features(s, core, p, err) != ERR_OK)
            return err->class;
    return ERR_OK;
}
