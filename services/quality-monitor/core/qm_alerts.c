#include "core/qm_alerts.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

struct entry {
    bool is_dirty;
    bool is_grouped, is_sent; /* while in breach: how it was told */
    bool is_held; /* in breach, and an inhibition kept it from being told */
    struct qm_transition now;
    int64_t dirty_us; /* since when it waits */
    enum alert_state told;
    int64_t version; /* told last; 0: never */
    bool was_told;
};

struct of_crypto {
    struct entry entry[QM_SIGNALS][L2_ARMS];
};

struct group {
    struct entry entry;
    bool is_open;
    int64_t breached_us; /* when one of its cryptos did so last, by the clock of the wait */
};

struct ref {
    uint32_t crypto;
    uint8_t signal, arm;
};

struct qm_alerts {
    unsigned cryptos_max;
    int64_t hold_us;
    uint32_t inhibited;
    struct of_crypto **cryptos;
    struct group group[QM_SIGNALS][L2_ARMS];
    struct ref *queue; /* a ring of those that wait, oldest first */
    unsigned queue_n, queue_first, queue_max;
    uint32_t members[QM_MEMBERS_MAX];
};

struct qm_alerts *qm_alerts_new(unsigned cryptos_max, int64_t hold_us)
{
    struct qm_alerts *a = calloc(1, sizeof *a);

    if (a == NULL)
        return NULL;
    a->cryptos_max = cryptos_max;
    a->hold_us = hold_us;
    a->queue_max = cryptos_max * QM_SIGNALS * L2_ARMS; /* each waits once */
    a->cryptos = calloc(cryptos_max, sizeof *a->cryptos);
    a->queue = calloc(a->queue_max, sizeof *a->queue);
    if (a->cryptos == NULL || a->queue == NULL) {
        qm_alerts_free(a);
        return NULL;
    }
    return a;
}

void qm_alerts_free(struct qm_alerts *a)
{
    if (a == NULL)
        return;
    for (unsigned i = 0; a->cryptos != NULL && i < a->cryptos_max; i++)
        free(a->cryptos[i]);
    free(a->cryptos);
    free(a->queue);
    free(a);
}

static struct entry *entry_of(struct qm_alerts *a, uint32_t crypto, enum qm_signal signal,
                              enum l2_arm arm)
{
    if (crypto == QM_ALL_CRYPTO)
        return &a->group[signal][arm].entry;
    assert(crypto < a->cryptos_max);
    if (a->cryptos[crypto] == NULL)
        a->cryptos[crypto] = calloc(1, sizeof *a->cryptos[crypto]);
    return a->cryptos[crypto] == NULL ? NULL : &a->cryptos[crypto]->entry[signal][arm];
}

static bool is_breach(enum alert_state state)
{
    return state != ALERT_OK;
}

void qm_alerts_told(struct qm_alerts *a, uint32_t crypto, enum qm_signal signal, enum l2_arm arm,
                    enum alert_state state, int64_t started_us, enum qm_delivery delivery,
                    int64_t version)
{
    struct entry *e = entry_of(a, crypto, signal, arm);

    if (e == NULL || version <= e->version)
        return;
    e->told = state;
    e->version = version;
    e->was_told = true;
    e->is_sent = is_breach(state) && delivery == QM_SEND;
    e->is_grouped = is_breach(state) && delivery == QM_GROUPED;
    e->is_held = is_breach(state) && delivery == QM_INHIBITED;
    if (crypto != QM_ALL_CRYPTO)
        return;
    a->group[signal][arm].is_open = is_breach(state);
    e->now.started_us = started_us;
}

unsigned qm_alerts_waiting(const struct qm_alerts *a)
{
    return a->queue_n;
}

/* It waits to be told, unless it does already. */
static void wait_for_it(struct qm_alerts *a, struct entry *e, uint32_t crypto,
                        enum qm_signal signal, enum l2_arm arm, int64_t now_us)
{
    if (e->is_dirty)
        return;
    e->is_dirty = true;
    e->dirty_us = now_us;
    a->queue[(a->queue_first + a->queue_n++) % a->queue_max] =
        (struct ref){.crypto = crypto, .signal = (uint8_t)signal, .arm = (uint8_t)arm};
}

bool qm_alerts_put(struct qm_alerts *a, uint32_t crypto, const struct qm_transition *t,
                   int64_t now_us)
{
    struct entry *e = entry_of(a, crypto, t->signal, t->arm);

    if (e == NULL)
        return false;
    e->now = *t;
    if (is_breach(t->state))
        a->group[t->signal][t->arm].breached_us = now_us;
    wait_for_it(a, e, crypto, t->signal, t->arm, now_us);
    return true;
}

bool qm_alerts_settle(struct qm_alerts *a, uint32_t crypto, enum qm_signal signal, enum l2_arm arm,
                      enum alert_state state, int64_t time_us, int64_t now_us)
{
    struct entry *e = entry_of(a, crypto, signal, arm);

    if (e == NULL || !e->was_told || e->is_dirty || (e->told == state && !e->is_held))
        return e != NULL;
    const struct qm_transition t = {.signal = signal,
                                    .arm = arm,
                                    .previous = e->told,
                                    .state = state,
                                    .since_us = time_us,
                                    .started_us = time_us,
                                    .threshold = NAN};

    return qm_alerts_put(a, crypto, &t, now_us);
}

static bool is_inhibited(const struct qm_alerts *a, enum qm_signal signal)
{
    return (a->inhibited >> signal & 1U) != 0;
}

/* Was it kept from being told, and is not any more? */
static bool is_released(const struct qm_alerts *a, const struct entry *e, enum qm_signal signal)
{
    return e->is_held && !is_inhibited(a, signal);
}

void qm_alerts_inhibit(struct qm_alerts *a, uint32_t signals, int64_t now_us)
{
    const uint32_t over = a->inhibited & ~signals;

    a->inhibited = signals;
    if (over == 0)
        return;
    for (uint32_t i = 0; i < a->cryptos_max; i++) {
        for (enum qm_signal signal = 0; a->cryptos[i] != NULL && signal < QM_SIGNALS; signal++) {
            for (enum l2_arm arm = 0; (over >> signal & 1U) != 0 && arm < L2_ARMS; arm++) {
                struct entry *e = &a->cryptos[i]->entry[signal][arm];
                if (e->is_held && e->now.since_us != 0) /* 0: recalled; settling tells of it */
                    wait_for_it(a, e, i, signal, arm, now_us);
            }
        }
    }
}

enum alert_state qm_alerts_told_last(const struct qm_alerts *a, uint32_t crypto,
                                     enum qm_signal signal, enum l2_arm arm)
{
    const struct entry *e = crypto == QM_ALL_CRYPTO      ? &a->group[signal][arm].entry
                            : a->cryptos[crypto] == NULL ? NULL
                                                         : &a->cryptos[crypto]->entry[signal][arm];

    return e == NULL || !e->was_told ? ALERT_OK : e->told;
}

/* Cryptos in breach: all, and of them those that came into it within a minute of `at_us`. The first
 * of them as members. */
struct census {
    unsigned all, recent;
    enum alert_state worst;
    const struct qm_transition *example;
};

static int badness(enum alert_state state)
{
    return state == ALERT_P2 ? 3 : state == ALERT_WARN ? 2 : state == ALERT_NO_DATA ? 1 : 0;
}

static struct census count(struct qm_alerts *a, enum qm_signal signal, enum l2_arm arm,
                           int64_t at_us)
{
    struct census c = {.worst = ALERT_OK};

    for (uint32_t i = 0; i < a->cryptos_max; i++) {
        const struct entry *e = a->cryptos[i] == NULL ? NULL : &a->cryptos[i]->entry[signal][arm];
        if (e == NULL || !is_breach(e->now.state) || e->now.since_us == 0)
            continue;
        if (c.all < QM_MEMBERS_MAX)
            a->members[c.all] = i;
        c.all++;
        c.recent += e->now.started_us >= at_us - QM_GROUP_WITHIN_US &&
                    e->now.started_us <= at_us + QM_GROUP_WITHIN_US;
        if (badness(e->now.state) > badness(c.worst)) {
            c.worst = e->now.state;
            c.example = &e->now;
        }
    }
    return c;
}

static void give(struct qm_alerts *a, uint32_t crypto, struct entry *e, enum qm_delivery delivery,
                 struct qm_alert_out *out)
{
    *out = (struct qm_alert_out){
        .crypto = crypto, .version = e->version + 1, .t = e->now, .delivery = delivery};
    out->t.previous = e->was_told ? e->told : ALERT_OK;
    /* what nobody was told of is not resolved for anybody either */
    if (!e->is_sent && (is_inhibited(a, e->now.signal) || (e->is_held && !is_breach(e->now.state))))
        out->delivery = QM_INHIBITED;
    out->by_group = out->delivery == QM_GROUPED;
    e->version++;
    e->told = e->now.state;
    e->was_told = true;
    e->is_grouped = out->delivery == QM_GROUPED && is_breach(e->now.state);
    e->is_sent = out->delivery == QM_SEND && is_breach(e->now.state);
    e->is_held = out->delivery == QM_INHIBITED && is_breach(e->now.state);
}

/* The group's own change, if there is one to tell: it opens, gets worse or better, or ends. */
static bool tell_group(struct qm_alerts *a, enum qm_signal signal, enum l2_arm arm,
                       const struct census *c, int64_t time_us, struct qm_alert_out *out)
{
    struct group *g = &a->group[signal][arm];
    struct entry *e = &g->entry;

    if (g->is_open && c->worst == e->told && !is_released(a, e, signal))
        return false;
    e->now = (struct qm_transition){.signal = signal,
                                    .arm = arm,
                                    .state = c->worst,
                                    .since_us = time_us,
                                    .started_us = g->is_open ? e->now.started_us : time_us,
                                    .threshold = NAN,
                                    .n = c->all};
    if (c->example != NULL) {
        e->now.has_value = c->example->has_value;
        e->now.value = c->example->value;
        e->now.threshold = c->example->threshold;
    }
    g->is_open = c->all > 0;
    give(a, QM_ALL_CRYPTO, e, QM_SEND, out);
    out->members = a->members;
    out->members_n = c->all < QM_MEMBERS_MAX ? c->all : QM_MEMBERS_MAX;
    out->group_size = c->all;
    return true;
}

static bool is_due(const struct qm_alerts *a, const struct ref *r, const struct entry *e,
                   int64_t now_us)
{
    const int64_t waited_us = now_us - e->dirty_us;

    if (waited_us < a->hold_us)
        return false;
    return waited_us >= QM_GROUP_WITHIN_US ||
           now_us - a->group[r->signal][r->arm].breached_us >= a->hold_us;
}

/* The place in the queue of the first that is due; queue_n: none. */
static unsigned find_due(struct qm_alerts *a, int64_t now_us)
{
    unsigned i = 0;

    for (; i < a->queue_n; i++) {
        const struct ref *r = &a->queue[(a->queue_first + i) % a->queue_max];
        if (is_due(a, r, entry_of(a, r->crypto, r->signal, r->arm), now_us))
            break;
    }
    return i;
}

/* Those before it in the queue move up. */
static void drop(struct qm_alerts *a, unsigned i, struct entry *e)
{
    e->is_dirty = false;
    for (; i > 0; i--)
        a->queue[(a->queue_first + i) % a->queue_max] =
            a->queue[(a->queue_first + i - 1) % a->queue_max];
    a->queue_first = (a->queue_first + 1) % a->queue_max;
    a->queue_n--;
}

bool qm_alerts_next(struct qm_alerts *a, int64_t now_us,
                    unsigned (*having)(void *user, enum qm_signal signal, enum l2_arm arm),
                    void *user, struct qm_alert_out *ret_out)
{
    for (unsigned i; (i = find_due(a, now_us)) < a->queue_n;) {
        const struct ref r = a->queue[(a->queue_first + i) % a->queue_max];
        const enum qm_signal signal = r.signal;
        const enum l2_arm arm = r.arm;
        struct entry *e = entry_of(a, r.crypto, signal, arm);

        if (e->now.state == (e->was_told ? e->told : ALERT_OK) && !is_released(a, e, signal)) {
            drop(a, i, e); /* over before it was told */
            continue;
        }
        if (r.crypto == QM_ALL_CRYPTO) { /* of the exchange itself, nobody's group */
            drop(a, i, e);
            give(a, r.crypto, e, QM_SEND, ret_out);
            return true;
        }
        struct group *g = &a->group[signal][arm];
        struct census c = count(a, signal, arm, e->now.started_us);
        const bool opens = c.recent >= QM_GROUP_MIN && 2 * c.recent >= having(user, signal, arm);

        if (g->is_open && is_released(a, &g->entry, signal) && !opens)
            c = (struct census){.worst = ALERT_OK}; /* what is left of it is no group */
        if ((opens || g->is_open) && tell_group(a, signal, arm, &c, e->now.since_us, ret_out))
            return true; /* first: what speaks for the others */
        drop(a, i, e);
        /* what was told alone is resolved alone */
        give(a, r.crypto, e, !e->is_sent && (e->is_grouped || g->is_open) ? QM_GROUPED : QM_SEND,
             ret_out);
        return true;
    }
    return false;
}
