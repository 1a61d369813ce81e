/*
 * Who acts: the member that has the fewest partitions, since leaving gives them up; it is the one
 * that waits for what is nobody's. Of equal ones the smallest member id. One that does not act (its
 * loop stands still, its program is an older one) must not keep the others from it: each rank waits
 * a little longer than the one before. Where it does not help, the next time is twice as far away.
 *
 * Why unsubscribe and subscribe: librdkafka 2.14.2 has no call to join again, and a subscription to
 * the same topics changes nothing. Leaving is told to the rebalance callback as any revocation (the
 * commit under way is waited for) and works whoever leads the group; with nothing to give up,
 * librdkafka sends LeaveGroup and JoinGroup, else JoinGroup alone, which the broker takes for a
 * changed member since it names another generation and other partitions than the one before.
 */
#include "bus/orphans.h"

#include "clk/clk.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_US INT64_C(8000000)
#define LOOK_SPREAD_US INT64_C(4000000) /* so that members do not ask in step */
/*
 * The longest there is: where a request to a coordinator times out before the coordinator is up
 * again, librdkafka 2.14.2 touches freed memory once it is (rd_kafka_admin_coord_request tells that
 * the request is gone, and rd_kafka_coord_req_fail answers it all the same). Nobody waits for it.
 */
#define REQUEST_MS 3600000
#define LOOKS_MIN 2u /* in a row: a handover that is under way looks the same for a moment */
#define LOOKS_A_RANK 2u
#define LOOKS_MAX 64u
#define NOT_A_MEMBER 1000000u
#define LIST_BYTES_MAX 256
#define LEVEL_WARNING 4

struct orphans {
    struct orphans_options o;
    unsigned first[BUS_CONSUMER_TOPICS_MAX + 1]; /* places of topic t: [first[t], first[t + 1]) */
    bool *owned;                                 /* [places], in the look at hand */
    unsigned *looks; /* [places] that in a row found it nobody's */
    rd_kafka_queue_t *answers;
    bool open; /* a question is under way */
    bool refused; /* told once */
    int64_t next_us; /* of a question; the answer under way is given up then */
    unsigned patience; /* looks before the first in rank acts */
};

/* The clock's last digits are as good as random. */
static int64_t next_look_us(void)
{
    const int64_t now_us = clk_mono_us();

    return now_us + LOOK_US + now_us % LOOK_SPREAD_US;
}

static unsigned places(const struct orphans *o)
{
    return o->first[o->o.topics_n];
}

static void forget(struct orphans *o)
{
    memset(o->looks, 0, places(o) * sizeof *o->looks);
}

/* ---- what a description says ---- */

static const rd_kafka_topic_partition_list_t *
partitions_of(const rd_kafka_ConsumerGroupDescription_t *group, size_t member)
{
    const rd_kafka_MemberAssignment_t *assignment = rd_kafka_MemberDescription_assignment(
        rd_kafka_ConsumerGroupDescription_member(group, member));

    return assignment == NULL ? NULL : rd_kafka_MemberAssignment_partitions(assignment);
}

static void mark(struct orphans *o, const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; list != NULL && i < list->cnt; i++)
        for (unsigned t = 0; t < o->o.topics_n; t++) {
            const unsigned n = o->first[t + 1] - o->first[t];
            const int32_t p = list->elems[i].partition;

            if (strcmp(list->elems[i].topic, o->o.topics[t]) == 0 && p >= 0 && (unsigned)p < n)
                o->owned[o->first[t] + (unsigned)p] = true;
        }
}

/* The most looks in a row that found a partition nobody's. */
static unsigned count(struct orphans *o, const rd_kafka_ConsumerGroupDescription_t *group)
{
    unsigned most = 0;

    memset(o->owned, 0, places(o) * sizeof *o->owned);
    for (size_t i = 0; i < rd_kafka_ConsumerGroupDescription_member_count(group); i++)
        mark(o, partitions_of(group, i));
    for (unsigned i = 0; i < places(o); i++) {
        o->looks[i] = o->owned[i] ? 0 : o->looks[i] + 1;
        most = o->looks[i] > most ? o->looks[i] : most;
    }
    return most;
}

static const char *id_of(const rd_kafka_ConsumerGroupDescription_t *group, size_t member)
{
    return rd_kafka_MemberDescription_consumer_id(
        rd_kafka_ConsumerGroupDescription_member(group, member));
}

static int size_of(const rd_kafka_ConsumerGroupDescription_t *group, size_t member)
{
    const rd_kafka_topic_partition_list_t *list = partitions_of(group, member);

    return list == NULL ? 0 : list->cnt;
}

/* How many members come before `me`. */
static unsigned rank_of(const rd_kafka_ConsumerGroupDescription_t *group, const char *me)
{
    const size_t n = rd_kafka_ConsumerGroupDescription_member_count(group);
    size_t mine = 0;
    unsigned rank = 0;

    while (mine < n && strcmp(id_of(group, mine), me) != 0)
        mine++;
    if (mine == n)
        return NOT_A_MEMBER;
    for (size_t i = 0; i < n; i++) {
        const int more = size_of(group, i) - size_of(group, mine);

        rank += more < 0 || (more == 0 && strcmp(id_of(group, i), me) < 0);
    }
    return rank;
}

static unsigned my_rank(const struct orphans *o, const rd_kafka_ConsumerGroupDescription_t *group)
{
    char *me = rd_kafka_memberid(o->o.rk);
    const unsigned rank =
        me == NULL || rd_kafka_assignment_lost(o->o.rk) != 0 ? NOT_A_MEMBER : rank_of(group, me);

    if (me != NULL)
        rd_kafka_mem_free(o->o.rk, me);
    return rank;
}

/* ---- the mend ---- */

static void list_orphans(const struct orphans *o, char *text)
{
    size_t used = 0;

    text[0] = '\0';
    for (unsigned t = 0; t < o->o.topics_n; t++) {
        const char *before = used == 0 ? "" : ", ";
        bool is_first = true;

        for (unsigned i = o->first[t]; i < o->first[t + 1]; i++) {
            if (o->looks[i] == 0)
                continue;
            const int n =
                is_first ? snprintf(text + used, LIST_BYTES_MAX - used, "%stopic %.100s: %u",
                                    before, o->o.topics[t], i - o->first[t])
                         : snprintf(text + used, LIST_BYTES_MAX - used, ", %u", i - o->first[t]);

            used += (size_t)n;
            if (used >= LIST_BYTES_MAX)
                return; /* enough to know */
            is_first = false;
        }
    }
}

static enum err_class join_again(struct orphans *o, struct err *err)
{
    char text[LIST_BYTES_MAX];

    list_orphans(o, text);
    client_log(o->o.client, LEVEL_WARNING,
               "kafka: group %s: partitions are nobody's though the group is stable: %s: this "
               "member leaves and joins again",
               o->o.group_id, text);
    forget(o);
    o->patience = o->patience < LOOKS_MAX ? o->patience * 2 : LOOKS_MAX;
    (void)rd_kafka_unsubscribe(o->o.rk);
    const rd_kafka_resp_err_t code = client_subscribe(o->o.rk, o->o.topics, o->o.topics_n);

    return code == RD_KAFKA_RESP_ERR_NO_ERROR
               ? ERR_OK
               : err_set(err, ERR_FATAL, "group %s: subscribe: %s: restart", o->o.group_id,
                         rd_kafka_err2str(code));
}

static enum err_class judge(struct orphans *o, const rd_kafka_ConsumerGroupDescription_t *group,
                            struct err *err)
{
    if (rd_kafka_ConsumerGroupDescription_state(group) != RD_KAFKA_CONSUMER_GROUP_STATE_STABLE) {
        forget(o); /* a rebalance is under way, and gives all out */
        return ERR_OK;
    }
    const unsigned looks = count(o, group);

    if (looks == 0)
        o->patience = LOOKS_MIN;
    if (looks < o->patience || looks < o->patience + LOOKS_A_RANK * my_rank(o, group))
        return ERR_OK;
    return join_again(o, err);
}

/* ---- questions and answers ---- */

static void ask(struct orphans *o)
{
    char text[160];
    const char *group = o->o.group_id;
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(o->o.rk, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);

    (void)rd_kafka_AdminOptions_set_request_timeout(options, REQUEST_MS, text, sizeof text);
    rd_kafka_DescribeConsumerGroups(o->o.rk, &group, 1, options, o->answers);
    rd_kafka_AdminOptions_destroy(options);
    o->open = true;
    o->next_us = clk_mono_us() + INT64_C(1100) * REQUEST_MS; /* it answers by REQUEST_MS */
}

static enum err_class take(struct orphans *o, rd_kafka_event_t *event, struct err *err)
{
    const rd_kafka_ConsumerGroupDescription_t **groups = NULL;
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    size_t n = 0;

    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        groups = rd_kafka_DescribeConsumerGroups_result_groups(
            rd_kafka_event_DescribeConsumerGroups_result(event), &n);
        if (n == 1 && rd_kafka_ConsumerGroupDescription_error(groups[0]) != NULL)
            code = rd_kafka_error_code(rd_kafka_ConsumerGroupDescription_error(groups[0]));
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && n == 1)
        return judge(o, groups[0], err);
    if (client_class(code) != ERR_RETRY && !o->refused)
        client_log(o->o.client, LEVEL_WARNING,
                   "kafka: group %s: describe: %s: partitions that are nobody's would not be seen",
                   o->o.group_id, rd_kafka_err2str(code));
    o->refused |= client_class(code) != ERR_RETRY;
    return ERR_OK;
}

enum err_class orphans_serve(struct orphans *o, struct err *err)
{
    enum err_class e = ERR_OK;

    if (o->open) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(o->answers, 0);

        if (event == NULL) {
            o->open = clk_mono_us() < o->next_us;
            return ERR_OK;
        }
        o->open = false;
        o->next_us = next_look_us();
        e = take(o, event, err);
        rd_kafka_event_destroy(event);
    } else if (clk_mono_us() >= o->next_us && client_connected(o->o.client)) {
        ask(o);
    }
    return e;
}

/* ---- birth and death ---- */

enum err_class orphans_new(const struct orphans_options *options, struct orphans **ret_orphans,
                           struct err *err)
{
    struct orphans *o = calloc(1, sizeof *o);

    assert(options->topics_n > 0 && options->topics_n <= BUS_CONSUMER_TOPICS_MAX);
    if (o == NULL)
        return err_set(err, ERR_FATAL, "bus: out of memory");
    o->o = *options;
    o->o.partitions = NULL;
    o->patience = LOOKS_MIN;
    o->next_us = next_look_us();
    for (unsigned t = 0; t < options->topics_n; t++)
        o->first[t + 1] = o->first[t] + options->partitions[t];
    o->owned = calloc(places(o) + 1, sizeof *o->owned);
    o->looks = calloc(places(o) + 1, sizeof *o->looks);
    o->answers = rd_kafka_queue_new(options->rk);
    if (o->owned == NULL || o->looks == NULL) {
        orphans_free(o);
        return err_set(err, ERR_FATAL, "bus: out of memory");
    }
    *ret_orphans = o;
    return ERR_OK;
}

void orphans_free(struct orphans *o)
{
    if (o == NULL)
        return;
    rd_kafka_queue_destroy(o->answers);
    free(o->owned);
    free(o->looks);
    free(o);
}
