"""A restore that cannot go on says what it waits for, and stays in the group meanwhile.

Somebody else's transaction is open on l2.bars: what stands behind it may be bars of ours, so reading waits for its end. The
process answers /healthz, logs `restoring` with the topic, the offset and the end every 10 s, has asked for the longest
max.poll.interval.ms that there is (it does not poll meanwhile), and goes on by itself when the transaction is gone.

Seen to fail on: nothing logged while bars are read; librdkafka's own max.poll.interval.ms of 300 s.
"""
import json
import struct
import sys
import tempfile
import time

import confluent_kafka

import l2kafka
import l2live

PREFIX = "waits."
PARTITIONS = 2
LONGEST_MS, SESSION_MS = 86400000, 10000


def events(producer, name):
    lines = [line for line in producer.log.read_text(errors="replace").splitlines() if line.startswith("{")]
    return [e for e in map(json.loads, lines) if e["event"] == name]


def wait(what, condition, producer, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert producer.process.poll() is None, f"feature-producer ended:\n{producer.tail()}"
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s\n{producer.tail()}"
        time.sleep(0.1)


def told_poll_intervals(bootstrap):
    """What members of the group have told its coordinator, which keeps it in its topic: 32 bits, big endian, beside the
    session's."""
    consumer = confluent_kafka.Consumer(l2live.client(bootstrap, **{"group.id": PREFIX + "look", "enable.auto.commit": False}))
    topic = "__consumer_offsets"
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([confluent_kafka.TopicPartition(topic, p, confluent_kafka.OFFSET_BEGINNING) for p in partitions])
    found, session = set(), struct.pack(">i", SESSION_MS)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not found:
        message = consumer.poll(1)
        if message is None or message.error() or (PREFIX + "feature-producer").encode() not in (message.key() or b""):
            continue
        value = message.value() or b""
        at = value.find(session)
        while at >= 4:
            found.add(struct.unpack(">i", value[at - 4:at])[0])
            at = value.find(session, at + 1)
    consumer.close()
    return found


def main():
    with tempfile.TemporaryDirectory() as name, l2kafka.shared_or_own(name + "/kafka") as bootstrap:
        l2live.topics(bootstrap, PREFIX, PARTITIONS)
        foreign = confluent_kafka.Producer(l2live.client(bootstrap, **{
            "transactional.id": PREFIX + "foreign", "transaction.timeout.ms": 300000}))
        foreign.init_transactions(60)
        foreign.begin_transaction()
        foreign.produce(PREFIX + "l2.bars", b"no bar", partition=1)
        foreign.flush()
        with l2live.Producer(name, bootstrap, PREFIX) as producer:
            wait("a line of what it waits for", lambda: events(producer, "restoring"), producer, 90)
            line = events(producer, "restoring")[0]
            want = {"topic": PREFIX + "l2.bars", "partition": 1, "offset": 0, "end": 1}
            assert {k: line.get(k) for k in want} == want, line
            assert producer.get("/healthz") is not None
            assert 1 not in [e["partition"] for e in events(producer, "partition_assigned")], producer.tail()
            assert LONGEST_MS in told_poll_intervals(bootstrap), "max.poll.interval.ms is not the longest there is"
            foreign.abort_transaction(60)
            wait("both partitions", lambda: {e["partition"] for e in events(producer, "partition_assigned")} == {0, 1},
                 producer, 60)
            assert not events(producer, "partition_revoked"), producer.tail()
            assert producer.stop() == 0, producer.tail()
    return 0


if __name__ == "__main__":
    sys.exit(main())
