#include "fp_market.h"

void market_open(struct market *m, const struct fp_params *params)
{
    *m = (struct market){.params = *params};
    run_start(&m->run, params);
    for (uint32_t p = 0; p < params->partitions_n; p++)
        run_own(&m->run, (int32_t)p);
}

struct record *market_next(struct market *m, const char *symbol, int64_t event_us)
{
    m->record = (struct record){.offset = m->offset++, .kafka_us = event_us, .symbol = symbol};
    record_book(&m->record, 100);
    m->record.snapshot.event_time_us = m->record.snapshot.received_time_us = event_us;
    m->record.snapshot.sequence = ++m->sequence;
    m->record.snapshot.epoch = 1;
    return &m->record;
}

unsigned market_send(struct market *m)
{
    const struct fp_event e = record_event(&m->record);

    return run_step(&m->run, &e);
}

unsigned market_give(struct market *m, const char *symbol, int64_t event_us)
{
    (void)market_next(m, symbol, event_us);
    return market_send(m);
}

void market_give_seconds(struct market *m, const char *symbol, int64_t from_us, int64_t to_us)
{
    for (int64_t t = from_us; t < to_us; t += S)
        (void)market_give(m, symbol, t);
}

unsigned market_happen(struct market *m, enum fp_event_kind kind, int64_t now_us, int64_t offset)
{
    const struct fp_event e = {.kind = kind, .now_us = now_us, .offset = offset};

    return run_step(&m->run, &e);
}

unsigned run_count(const struct run *run, unsigned first, enum fp_action_kind kind)
{
    unsigned n = 0;

    for (unsigned i = first; i < run->outs_n; i++)
        n += run->outs[i].kind == kind;
    return n;
}

const struct out *market_only(const struct market *m, unsigned first, enum fp_action_kind kind)
{
    assert_int_equal(m->run.outs_n, first + 1);
    assert_int_equal(m->run.outs[first].kind, kind);
    return &m->run.outs[first];
}
