"""A dead letter keeps its record's timestamp, whatever age the cluster allows a record by default: a backlog that is older
would else stop its partition for ever.

Seen to fail: l2.dlq without limits of its own (exit code 75, "Invalid timestamp", at every start).
"""

import pathlib
import tempfile
import time

import confluent_kafka
import l2kafka
import l2live

PREFIX = "old."
AGE_MAX_S = 3


def main():
    with tempfile.TemporaryDirectory() as name, l2kafka.Broker(
            pathlib.Path(name) / "kafka", settings={"log.message.timestamp.before.max.ms": AGE_MAX_S * 1000}) as broker:
        folder, bootstrap = pathlib.Path(name), broker.bootstrap
        l2live.topics(bootstrap, PREFIX, 1)
        sender = confluent_kafka.Producer(l2live.client(bootstrap))
        sender.produce(PREFIX + "l2.snapshots", key="SYM", value=b"no snapshot")
        assert sender.flush(30) == 0
        time.sleep(AGE_MAX_S + 2)
        with l2live.Producer(folder, bootstrap, PREFIX, {"exchange": "synthetic"}) as producer:
            producer.wait_ready()
            l2live.wait_committed(bootstrap, PREFIX + "feature-producer", PREFIX + "l2.snapshots", 1, 60)
        (letter,) = l2live.dump(bootstrap, PREFIX + "l2.dlq")
        (record,) = l2live.dump(bootstrap, PREFIX + "l2.snapshots")
        assert (letter.key, letter.value, letter.timestamp_ms) == (record.key, record.value, record.timestamp_ms), (letter, record)
        print(f"a record {AGE_MAX_S + 2} s old, of {AGE_MAX_S} s allowed, is a dead letter with its own time")


if __name__ == "__main__":
    main()
