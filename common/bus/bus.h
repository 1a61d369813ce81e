/*
 * bus.h: the only rdkafka.h. Kafka as l2flow uses it: one transactional consume-transform-produce
 * loop, a plain idempotent producer, a group-less reader, and topic
 * administration. Errors carry librdkafka's text; their class decides.
 */
#ifndef BUS_H
#define BUS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUS_METADATA_BYTES_MAX 64
#define BUS_PARTITIONS_MAX 1024
#define BUS_BATCH_MAX 2048
#define BUS_HEADERS_MAX 8

/*
 * Client settings handed to librdkafka as they are (bootstrap.servers, security.protocol, …);
 * borrowed during the call. They override our defaults, but not what correctness depends on
 * (isolation.level, enable.auto.commit, acks, group.id, …): naming one of those is ERR_REJECT. One
 * list serves consumers and producers, each ignores keys of the other.
 */
struct bus_setting {
    const char *key;
    const char *value;
};

/* Where librdkafka's own log lines and error callbacks go: one line of text; called from its
 * threads. May be NULL. */
typedef void (*bus_log_fn)(void *user, int level /* syslog */, const char *text);

/* ---- the transactional loop: used by one thread, but for the worker that it owns ---- */

struct bus;

struct bus_options {
    const struct bus_setting *settings;
    unsigned settings_n;
    const char *group_id;
    const char *group_instance_id; /* static membership: stable per replica */
    const char *transactional_id;  /* stable per replica */
    const char *input_topic;
    const char *const *output_topics; /* indices are `topic` below */
    unsigned output_topics_n;
    size_t buffer_bytes_max; /* encoded outputs whose commit is not yet known; two halves: open and
                                in flight */
    unsigned session_timeout_ms, transaction_timeout_ms; /* 10,000 each */
    bus_log_fn log;
    void *log_user;
};

enum bus_event_kind {
    BUS_RECORD, /* an input record */
    BUS_END, /* every record below `offset` of `partition` has been handed out (the broker's end at
                that moment); told once an end. `offset` can lie past the last record + 1:
                transaction markers have offsets too */
    BUS_ASSIGNED, /* `partition` is ours: restore it, then bus_start. `offset` = committed or -1,
                     `metadata` = its metadata or "". `lost`: the log does not hold
                     what was to come next, go on from its start; `metadata` is "" then, and
                     `offset` still says which records have had their dead letters (-1: none, the
                     log is another one) */
    BUS_REVOKED, /* `partition` is not ours any more, or must be rebuilt: drop its state; its
                    uncommitted outputs are gone */
    BUS_END_OFFSET, /* answer to bus_ask_end: `offset` = end offset (of committed records) as of a
                       moment after `asked_mono_us` */
    BUS_COMMITTED, /* all commits since the last one are known to have happened: `deliveries`; of
                      partitions revoked since, too. Past a million between two polls, or where no
                      memory is to be had, some are not told: like an offset that was lost, that
                      must only make the caller reach further back than it needs to */
};

struct bus_delivery {
    int32_t partition;
    uint64_t tag; /* of bus_send; only outputs with tag ≠ 0 are reported */
    int64_t offset; /* in the output topic; -1: committed, but the answer that told the offset was
                       lost */
};

struct bus_event {
    enum bus_event_kind kind;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_us; /* RECORD: Kafka's, real time, µs (milliseconds on the wire); -1 when it
                             has none */
    const uint8_t *key; /* RECORD; NULL when absent */
    size_t key_n;
    const uint8_t *value;
    size_t value_n;
    const char *metadata;
    bool lost; /* ASSIGNED */
    int64_t asked_mono_us;
    const struct bus_delivery *deliveries;
    unsigned deliveries_n;
};

struct bus_batch {
    const struct bus_event *events; /* valid until the next bus_poll */
    unsigned n;
};

/*
 * Connects, checks that the topics exist (their partition counts equal), initialises transactions
 * (aborting what a predecessor with this transactional id left open) and joins the group.
 * ERR_REJECT: the configuration is at fault; ERR_RETRY: the broker is out of reach for
 * `session_timeout_ms`; the text names address, topic or setting and the way out.
 */
enum err_class bus_new(const struct bus_options *options, struct bus **ret_bus,
                       struct err *err) MUST_CHECK;
/* Leaves the group's static membership in place (no rebalance on a restart). NULL-safe. Does not
 * commit. */
void bus_free(struct bus *bus);

unsigned bus_partitions(const struct bus *bus); /* of the input topic */

/*
 * Up to BUS_BATCH_MAX events, waiting at most timeout_ms for the first. A batch has either records
 * with BUS_ENDs, or (first) other events, never both: what follows a BUS_REVOKED is of no partition
 * that it names. An outage is not an error: it waits, and bus_connected says no. ERR_FATAL: fenced
 * (after an outage longer than the session now and then by itself, librdkafka #3437), refused a
 * right, or this process stood still for longer than its session; told again by every later call.
 * Partitions that the group has given to nobody make it leave and join again (orphans.h): another
 * revocation.
 */
enum err_class bus_poll(struct bus *bus, int timeout_ms, struct bus_batch *ret_batch,
                        struct err *err) MUST_CHECK;
/* After BUS_ASSIGNED: start handing out records of `partition` from `offset` on (-2: the log's
 * start). Nothing happens when it was taken away meanwhile: BUS_REVOKED is to come. */
enum err_class bus_start(struct bus *bus, int32_t partition, int64_t offset,
                         struct err *err) MUST_CHECK;
/* Stops handing out records of a started `partition` until bus_start (its caller waits for a schema
 * registry, say): what of it stands behind this event in the batch at hand is the caller's to skip.
 * Outputs that were sent for it stay and are committed. Nothing happens when it was taken away. */
void bus_hold(struct bus *bus, int32_t partition);
/* Asks for the end offset of `partition`, without waiting; the answer is a BUS_END_OFFSET event, or
 * never comes (the partition is taken away). One open question a partition: a second one is the
 * first. About fetch.wait.max.ms (50) behind an idle fetch. */
enum err_class bus_ask_end(struct bus *bus, int32_t partition, struct err *err) MUST_CHECK;

struct bus_header {
    const char *name;
    const void *value;
    size_t value_n;
};

struct bus_output {
    unsigned topic;
    int32_t partition;
    const void *key;
    size_t key_n;
    const void *value;
    size_t value_n;
    int64_t timestamp_ms; /* 0: now */
    uint64_t tag;
    const struct bus_header *headers;
    unsigned headers_n;
};

/* What an output takes of the room: its key, its value, its headers' names and values, and at most
 * this beside them. */
#define BUS_OUTPUT_OVERHEAD 96
#define BUS_HEADER_OVERHEAD 16 /* for each header */
/* Bytes that bus_send may still take: the caller polls no further while one event's worst case does
 * not fit. */
size_t bus_room(const struct bus *bus);
/*
 * Copies the output into the open buffer. Nothing is sent before bus_commit. Asserts that it fits.
 * `partition` is the output's and that of the input it was made from; an output for a partition
 * that is not started (taken away while the caller was at work on it) is dropped.
 */
void bus_send(struct bus *bus, const struct bus_output *output);

struct bus_position {
    int32_t partition;
    int64_t offset; /* next to read; negative: nothing was read yet, it is left out */
    char metadata[BUS_METADATA_BYTES_MAX + 1];
};

/* True until the end of a commit was noticed by bus_poll or bus_drain: then bus_commit must not be
 * called (outputs gather). */
bool bus_committing(const struct bus *bus);
/*
 * Hands everything sent so far, with the positions of every partition it was made for, to the
 * worker: begin, produce, send offsets, commit. Its end is a BUS_COMMITTED event. Positions of
 * partitions that were taken away are left out, as their outputs are. The worker re-sends the same
 * bytes after an abort; after an outcome that stays unknown for transaction_timeout_ms it makes a
 * new producer and lets the committed offsets decide: ours: go on; those before: the same bytes
 * again; else, or when no position moved and both look the same: BUS_REVOKED + BUS_ASSIGNED of the
 * partitions of the commit. Fenced or fatal: the next bus_poll returns ERR_FATAL.
 */
void bus_commit(struct bus *bus, const struct bus_position *positions, unsigned n);
/* Waits for the commit under way, at most timeout_ms. ERR_RETRY when it is still under way. Its
 * events wait for bus_poll. */
enum err_class bus_drain(struct bus *bus, int timeout_ms, struct err *err) MUST_CHECK;
bool bus_connected(const struct bus *bus);

/* ---- a plain idempotent producer, at least once, non-blocking ---- */

struct bus_producer;

enum err_class bus_producer_new(const struct bus_setting *settings, unsigned settings_n,
                                bus_log_fn log, void *log_user, struct bus_producer **ret_producer,
                                struct err *err) MUST_CHECK;
/* ERR_RETRY: its queue is full, nothing was taken. Partition -1: murmur2 of the key, as Java
 * clients do. topic by name. */
enum err_class bus_producer_send(struct bus_producer *producer, const char *topic,
                                 const struct bus_output *output, struct err *err) MUST_CHECK;
/* Serves delivery reports, for at most timeout_ms when none is there. ERR_REJECT: records have
 * failed for good since the last call (err: how many, which topic, why); ERR_FATAL: no more will go
 * out. */
enum err_class bus_producer_poll(struct bus_producer *producer, int timeout_ms,
                                 struct err *err) MUST_CHECK;
/* Waits until all are delivered. ERR_RETRY: not yet. Else as bus_producer_poll. */
enum err_class bus_producer_flush(struct bus_producer *producer, int timeout_ms,
                                  struct err *err) MUST_CHECK;
uint64_t bus_producer_delivered(const struct bus_producer *producer);
void bus_producer_free(struct bus_producer *producer);

/* ---- a reader without a group: read_committed ---- */

struct bus_reader;

struct bus_reader_record {
    int32_t partition;
    int64_t offset;
    int64_t timestamp_us;
    const uint8_t *key;
    size_t key_n;
    const uint8_t *value;
    size_t value_n;
    struct bus_header headers[BUS_HEADERS_MAX]; /* none until bus_reader_headers */
    unsigned headers_n;
};

#define BUS_FROM_START INT64_C(-2)
#define BUS_FROM_END INT64_C(-1)

/*
 * Reads `topic` from `from` (an offset, BUS_FROM_START or BUS_FROM_END) of one partition, or of all
 * (partition -1); from the log's start when that lies later. With until_end it ends at the high
 * watermarks found at the call (asked after it was made), and waits for transactions that are open
 * below them; else it follows. Waits at most 10 s for the broker (ERR_RETRY). ERR_REJECT: no such
 * topic, partition or offset.
 */
enum err_class bus_reader_new(const struct bus_setting *settings, unsigned settings_n,
                              const char *topic, int32_t partition, int64_t from, bool until_end,
                              struct bus_reader **ret_reader, struct err *err) MUST_CHECK;
/* *ret_record is NULL when nothing came within timeout_ms; valid until the next call. *ret_end:
 * until_end, and it is reached. */
enum err_class bus_reader_next(struct bus_reader *reader, int timeout_ms,
                               const struct bus_reader_record **ret_record, bool *ret_end,
                               struct err *err) MUST_CHECK;
/* The headers of the record that was handed out last stand in it from here on; once a record. Of
 * their own, since to look for them costs as much as the record. */
void bus_reader_headers(struct bus_reader *reader);
/* Following: the log's end has been met, in each partition, and nothing was handed out since. */
bool bus_reader_at_end(const struct bus_reader *reader);
/* The log's first offset and its high watermark, as the call that made the reader found them. */
void bus_reader_bounds(const struct bus_reader *reader, int32_t partition, int64_t *ret_low,
                       int64_t *ret_end);
void bus_reader_free(struct bus_reader *reader);

/* ---- many topics without a group, read_committed, in one order ---- */

struct bus_merge;

#define BUS_MERGE_TOPICS_MAX 8
#define BUS_MERGE_LANES_MAX 2048 /* partitions of all topics */

struct bus_merge_topic {
    const char *name;
    int64_t from_ms; /* the first record whose Kafka time is not before this; or BUS_FROM_START,
                        BUS_FROM_END */
};

struct bus_merge_options {
    const struct bus_setting *settings;
    unsigned settings_n;
    const struct bus_merge_topic *topics; /* their indices are bus_merge_record.topic */
    unsigned topics_n;
    /* What to hand out first: the least. Called once a record. */
    int64_t (*order)(void *user, unsigned topic, const struct bus_reader_record *record);
    void *user;
    bus_log_fn log;
    void *log_user;
};

struct bus_merge_record {
    unsigned topic;
    struct bus_reader_record r;
};

/*
 * Follows all partitions of all topics. Of the records at the partitions' heads the one with the
 * least order comes first (among equals: the earlier topic, then partition); a partition keeps its
 * own order. While one that has more to come is being fetched the others wait, so that what is read
 * out of the past comes in the same order whatever the broker's pace; one at its log's end holds
 * nobody up. A transaction that is open when the merge begins belongs to the past: it is waited
 * for. Errors as bus_reader_new.
 */
enum err_class bus_merge_new(const struct bus_merge_options *options, struct bus_merge **ret_merge,
                             struct err *err) MUST_CHECK;
/* *ret_record is NULL when nothing came within timeout_ms; valid until the next call. An outage is
 * no error: it waits. */
enum err_class bus_merge_next(struct bus_merge *merge, int timeout_ms,
                              const struct bus_merge_record **ret_record,
                              struct err *err) MUST_CHECK;
/* Every partition was at its log's end when last heard of, and all of it was handed out: never with
 * a record in hand. */
bool bus_merge_caught_up(const struct bus_merge *merge);
unsigned bus_merge_partitions(const struct bus_merge *merge, unsigned topic);
void bus_merge_free(struct bus_merge *merge); /* NULL-safe */

/* ---- a transactional producer without a group: what its caller reads decides what is missing ----
 */

struct bus_txn;

struct bus_txn_options {
    const struct bus_setting *settings;
    unsigned settings_n;
    const char *transactional_id; /* a second process with it fences the first */
    const char *const *topics; /* indices are bus_output.topic */
    unsigned topics_n;
    size_t buffer_bytes_max;
    unsigned transaction_timeout_ms; /* 10,000 */
    bus_log_fn log;
    void *log_user;
};

/* Initialises transactions, which ends one that a predecessor left open. ERR_RETRY: the broker is
 * out of reach for 10 s. */
enum err_class bus_txn_new(const struct bus_txn_options *options, struct bus_txn **ret_txn,
                           struct err *err) MUST_CHECK;
size_t bus_txn_room(const struct bus_txn *txn); /* bytes that bus_txn_send may still take */
bool bus_txn_is_empty(const struct bus_txn *txn);
/* Copies into the buffer; asserts that it fits and that no commit is under way. */
void bus_txn_send(struct bus_txn *txn, const struct bus_output *output);
/*
 * All that was sent, in one transaction. ERR_RETRY: not known yet after timeout_ms; call again, and
 * send nothing meanwhile. An abort is answered with the same bytes again. ERR_FATAL: fenced, or the
 * outcome cannot be known: what the topics hold tells it, to a new process. ERR_REJECT: a record
 * will never be taken; err says which.
 */
enum err_class bus_txn_commit(struct bus_txn *txn, int timeout_ms, struct err *err) MUST_CHECK;
void bus_txn_free(struct bus_txn *txn); /* NULL-safe; what is not committed is dropped */

/* ---- a consumer in a group, at least once: what it handed out is committed when it is told ----
 */

struct bus_consumer;

#define BUS_CONSUMER_TOPICS_MAX 8

struct bus_consumer_options {
    const struct bus_setting *settings;
    unsigned settings_n;
    const char *group_id;
    const char *group_instance_id;
    const char *const *topics; /* their indices are bus_consumer_record.topic */
    unsigned topics_n;
    unsigned session_timeout_ms; /* 10,000 */
    unsigned batch_max; /* records of one poll; 0: BUS_BATCH_MAX */
    bus_log_fn log;
    void *log_user;
};

struct bus_consumer_record {
    unsigned topic;
    struct bus_reader_record r;
};

/* Checks that the topics exist and joins the group: cooperative-sticky, read_committed, from the
 * committed offset, else (first start, or out of range: logged) from the log's start. Errors as
 * bus_new. */
enum err_class bus_consumer_new(const struct bus_consumer_options *options,
                                struct bus_consumer **ret_consumer, struct err *err) MUST_CHECK;
/* Up to batch_max records, waiting at most timeout_ms for the first; valid until the next call.
 * Serves rebalances (one may take up to 3 s longer: offsets are asked for, or commits waited for):
 * must be called at least every session, paused or not. ERR_FATAL as bus_poll. */
enum err_class bus_consumer_poll(struct bus_consumer *consumer, int timeout_ms,
                                 const struct bus_consumer_record **ret_records, unsigned *ret_n,
                                 struct err *err) MUST_CHECK;
/* No more records until resumed (the sink is slow or away); polls go on. */
void bus_consumer_pause(struct bus_consumer *consumer, bool paused);
/*
 * What was handed out up to now (bus_consumer_mark) can be committed once it is safe elsewhere:
 * a mark is a number that rises; bus_consumer_commit(mark) hands the offsets as of that mark to
 * Kafka, of the partitions that are still ours, without waiting: what fails is repeated by later
 * polls. A commit covers the marks before it, which are forgotten with it; at most 16 are open
 * (then ERR_RETRY).
 */
enum err_class bus_consumer_mark(struct bus_consumer *consumer, uint64_t *ret_mark,
                                 struct err *err) MUST_CHECK;
enum err_class bus_consumer_commit(struct bus_consumer *consumer, uint64_t mark,
                                   struct err *err) MUST_CHECK;
/* Waits at most timeout_ms for the commits under way: false: some are still. For those who must not
 * repeat much after a crash. */
bool bus_consumer_settle(struct bus_consumer *consumer, int timeout_ms);
unsigned bus_consumer_owned(const struct bus_consumer *consumer); /* partitions */
/* All below is committed, or safe to be; -1: the partition is not ours, or none of it is. */
int64_t bus_consumer_position(const struct bus_consumer *consumer, unsigned topic,
                              int32_t partition);
bool bus_consumer_connected(const struct bus_consumer *consumer);
/* Waits for commits under way (at most 5 s), leaves static membership in place. NULL-safe. */
void bus_consumer_free(struct bus_consumer *consumer);

/* ---- settings and partitioners ---- */

/* Would librdkafka take these, and are none of ours among them? ERR_REJECT names the key. No
 * connection is made. */
enum err_class bus_settings_check(const struct bus_setting *settings, unsigned settings_n,
                                  struct err *err) MUST_CHECK;

enum bus_partitioner { BUS_MURMUR2 /* Java clients */, BUS_CRC32 /* librdkafka's own default */ };
/* The partition where a producer with this partitioner puts this key (not empty). */
int32_t bus_partition_of(enum bus_partitioner partitioner, const void *key, size_t key_n,
                         unsigned partitions_n);

/* ---- administration ---- */

struct bus_topic_setting {
    const char *key; /* retention.ms, cleanup.policy, … */
    char value[128];
};

#define BUS_TOPIC_SETTINGS_MAX 16

struct bus_topic {
    const char *name;
    int partitions; /* 0: absent, when described */
    int replication_factor; /* -1: the broker's default, when created */
    struct bus_topic_setting settings[BUS_TOPIC_SETTINGS_MAX];
    unsigned settings_n;
};

/* Fills partitions, replication_factor and the values of the settings whose keys the caller has put
 * in. */
enum err_class bus_topics_describe(const struct bus_setting *settings, unsigned settings_n,
                                   struct bus_topic *topics, unsigned n, int timeout_ms,
                                   struct err *err) MUST_CHECK;
enum err_class bus_topics_create(const struct bus_setting *settings, unsigned settings_n,
                                 const struct bus_topic *topics, unsigned n, int timeout_ms,
                                 struct err *err) MUST_CHECK;
enum err_class bus_topics_alter(const struct bus_setting *settings, unsigned settings_n,
                                const struct bus_topic *topics, unsigned n, int timeout_ms,
                                struct err *err) MUST_CHECK; /* settings only; never partitions */
enum err_class bus_topics_delete(const struct bus_setting *settings, unsigned settings_n,
                                 const char *const *names, unsigned n, int timeout_ms,
                                 struct err *err) MUST_CHECK; /* tests and the demo's clean-up */

/* ---- access control: who may do what (needs a superuser, or Alter and Describe on the cluster);
 * numbers as in Kafka's protocol */

enum bus_acl_resource {
    BUS_ACL_TOPIC = 2,
    BUS_ACL_GROUP = 3,
    BUS_ACL_CLUSTER = 4,
    BUS_ACL_TRANSACTIONAL_ID = 5,
};

enum bus_acl_operation {
    BUS_ACL_ALL = 2,
    BUS_ACL_READ = 3,
    BUS_ACL_WRITE = 4,
    BUS_ACL_CREATE = 5,
    BUS_ACL_DELETE = 6,
    BUS_ACL_ALTER = 7,
    BUS_ACL_DESCRIBE = 8,
    BUS_ACL_CLUSTER_ACTION = 9,
    BUS_ACL_DESCRIBE_CONFIGS = 10,
    BUS_ACL_ALTER_CONFIGS = 11,
    BUS_ACL_IDEMPOTENT_WRITE = 12,
};

#define BUS_ACL_NAME_BYTES_MAX 512
#define BUS_ACL_PRINCIPAL_BYTES_MAX 255
#define BUS_ACL_HOST_BYTES_MAX 63
#define BUS_ACLS_MAX 128 /* in one call */

struct bus_acl {
    enum bus_acl_resource resource;
    enum bus_acl_operation operation;
    bool is_prefixed; /* any name that begins with `name`; else that name alone */
    bool is_denied; /* forbids, where the others allow */
    char name[BUS_ACL_NAME_BYTES_MAX + 1];
    char principal[BUS_ACL_PRINCIPAL_BYTES_MAX + 1]; /* "User:feature-producer" */
    char host[BUS_ACL_HOST_BYTES_MAX + 1]; /* "*": any */
};

bool bus_acl_is_same(const struct bus_acl *a, const struct bus_acl *b);
const char *bus_acl_resource_name(enum bus_acl_resource resource); /* "transactional-id" */
const char *bus_acl_operation_name(enum bus_acl_operation operation); /* "DescribeConfigs" */

/* The rows of one principal. ERR_REJECT: more than `max`, or one that does not fit the struct. */
enum err_class bus_acls_describe(const struct bus_setting *settings, unsigned settings_n,
                                 const char *principal, struct bus_acl *ret_acls, unsigned max,
                                 unsigned *ret_n, int timeout_ms, struct err *err) MUST_CHECK;
/* Rows that exist already stay. At most BUS_ACLS_MAX. Brokers learn of it a moment later. */
enum err_class bus_acls_create(const struct bus_setting *settings, unsigned settings_n,
                               const struct bus_acl *acls, unsigned n, int timeout_ms,
                               struct err *err) MUST_CHECK;
/* Rows that are not there are no error. */
enum err_class bus_acls_delete(const struct bus_setting *settings, unsigned settings_n,
                               const struct bus_acl *acls, unsigned n, int timeout_ms,
                               struct err *err) MUST_CHECK;

const char *bus_version(void); /* "librdkafka 2.14.2" */

#endif
