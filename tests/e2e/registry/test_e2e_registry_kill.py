"""feature-producer killed while a partition is held for a schema registry, and started without one.

Two partitions, a symbol each. The first symbol's feed goes from one version of the schema to the next while the registry does
not answer for that one: its partition is held. Meanwhile the producer is killed (-9) and started again: with the registry away
altogether, when it says so and ends with 69, writing nothing; with a registry that has forgotten both versions, so that even what
had been read must wait; and with one of the two. Nothing past the held record is ever committed; when the registry is whole again,
nothing is lost, doubled or changed against the offline twin.

The held partition is restored before the other one, so that its records and its end are there in one batch: the end behind a held
record must not count as read.

Seen to fail on: the end behind a held record taken for an end that was read (what is held is committed, and lost with the kill).
"""
import os
import pathlib
import sys
import tempfile
import time

import l2kafka
import l2live
import l2registry
import test_e2e_registry as base
from test_e2e_registry import FREE, HELD, NEW, OLD, SECONDS_EACH

PREFIX = base.PREFIX = f"held-{os.getpid()}."
AWAY = (503, b"{}")
SETTINGS = {"bar_seconds": 60, "window_seconds": 60}
OUTPUTS = ("l2.bars", "l2.features", "l2.dlq")


def old(record):
    return base.confluent(OLD, base.old_schema(), dict(record, host="h"))


def new(record):
    return base.confluent(NEW, base.new_schema(), record)


def ours(record):
    return l2live.encode("l2_snapshot", record)


class Market:
    """What the broker holds of it."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def committed(self):
        return l2live.committed(self.bootstrap, PREFIX + "feature-producer", PREFIX + "l2.snapshots", 2)

    def ends(self):
        return {topic: l2live.ends(self.bootstrap, PREFIX + topic, 2) for topic in OUTPUTS}

    def partition_of(self, symbol):
        return next(m.partition for m in l2live.dump(self.bootstrap, PREFIX + "l2.snapshots") if m.key == symbol.encode())


def forget(registry, *ids):
    registry.override = {f"/schemas/ids/{i}": AWAY for i in ids}


def wait(what, condition, producer, seconds=60):
    base.wait(what, condition, producer, seconds)


def hold_and_go_on(market, producer, feed, held_at):
    """The producer, just started, holds; the other partition goes on and is committed; of the held one nothing is."""
    before = log_of(producer).count("partition_held")
    producer.start()
    wait("the hold", lambda: log_of(producer).count("partition_held") > before, producer)
    feed.send(FREE, ours)
    goal = feed.sequence[FREE]
    wait("the other partition", lambda: market.committed()[1] >= goal, producer)
    assert market.committed()[0] == held_at, f"held at {held_at}, but {market.committed()} is committed"


def log_of(producer):
    return producer.log.read_text()


def refuse_to_start(market, producer):
    """No registry: it says so, ends with 69, is never ready, and writes nothing."""
    before = market.ends(), market.committed()
    producer.start()
    began, ready = time.monotonic(), False
    while producer.process.poll() is None:
        ready = ready or producer.get("/readyz") is not None
        assert time.monotonic() < began + 30, "it neither serves nor ends"
        time.sleep(0.05)
    last = log_of(producer).splitlines()[-1]
    assert producer.process.returncode == 69, (producer.process.returncode, last)
    assert '"event":"failed"' in last and "/subjects/" in last and "503" in last, last
    assert not ready, "ready without the schemas' ids"
    assert (market.ends(), market.committed()) == before, "it wrote without a registry"


def run(bootstrap, folder, registry, feed):
    market = Market(bootstrap)
    with l2live.Producer(folder, bootstrap, PREFIX, {"schema_registry_url": registry.url, **SETTINGS}) as producer:
        producer.wait_ready()
        feed.send(HELD, ours)
        feed.send(HELD, old)
        feed.send(FREE, ours)
        assert (market.partition_of(HELD), market.partition_of(FREE)) == (0, 1), "the one to be held must be restored first"
        held_at = 2 * SECONDS_EACH
        wait("the first parts", lambda: market.committed() == {0: held_at, 1: SECONDS_EACH}, producer)
        forget(registry, NEW)
        feed.send(HELD, new)
        wait("the hold", lambda: "partition_held" in log_of(producer), producer)
        feed.send(FREE, ours)
        wait("the other partition", lambda: market.committed()[1] == 2 * SECONDS_EACH, producer)
        assert market.committed()[0] == held_at
        producer.kill()

        registry.fail = 503
        refuse_to_start(market, producer)
        registry.fail = None
        forget(registry, OLD, NEW)
        hold_and_go_on(market, producer, feed, held_at)   # at a record below the committed offset
        producer.kill()
        forget(registry, NEW)
        hold_and_go_on(market, producer, feed, held_at)   # at the one where it was killed
        producer.kill()
        hold_and_go_on(market, producer, feed, held_at)

        forget(registry)
        wait("the resumption", lambda: market.committed()[0] == 3 * SECONDS_EACH, producer)
        feed.send(HELD, old)
        l2live.wait_committed(bootstrap, PREFIX + "feature-producer", PREFIX + "l2.snapshots", 2, 60)
        assert producer.stop() == 0, producer.tail()


def compare(bootstrap, folder, registry, feed):
    got_bars, got_features = base.bars(bootstrap, registry), base.read_back(bootstrap, registry, "l2.features", "l2_feature")
    assert not l2live.dump(bootstrap, PREFIX + "l2.dlq"), "a schema that cannot be asked for is no reason for a dead letter"
    l2live.write_records(folder / "sent.avro", "l2_snapshot", feed.sent)
    l2live.write_records(folder / "closes.avro", "l2_bar", got_bars)
    want_bars, want_features, _ = l2live.offline(
        folder / "sent.avro", folder / "offline", ("--bar-seconds", 60, "--window-seconds", 60, "--closes", folder / "closes.avro"))
    faults = []
    for stem, got, want in (("l2_bar", got_bars, want_bars), ("l2_feature", got_features, want_features)):
        counts, examples = l2live.differences(stem, got, want)
        faults += examples
        print(stem, len(got), dict(counts))
    assert not faults and got_bars, "\n".join(faults)


def main():
    with tempfile.TemporaryDirectory() as name, l2kafka.shared_or_own(name + "/kafka") as bootstrap, \
            l2registry.Contract() as registry:
        folder = pathlib.Path(name)
        registry.add(OLD, base.old_schema())
        registry.add(NEW, base.new_schema())
        l2live.topics(bootstrap, PREFIX, 2)
        feed = base.Feed(bootstrap, int(time.time() - 3600) // 60 * 60 * base.US)
        run(bootstrap, folder, registry, feed)
        compare(bootstrap, folder, registry, feed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
