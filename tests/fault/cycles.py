"""kill -9 under load: the producer dies at random moments, the broker is restarted, and the outputs equal those of a quiet run.

The market is the recording, looped and spread over several names, with bad books and undecodable bytes between. It is loaded at a
steady rate while the producer is killed and started again. The quiet run is the offline twin over the same records, obeying the
clock closes that were recorded. Compared: every field of every bar and feature but provenance, their order per symbol, and each dead
letter with its reason, offset and bytes.
Seen to fail on: a producer that commits positions without its transaction (lost), one that folds from the committed offset on
(changed), dead letters sent again below the committed offset (doubled).
"""

import collections
import dataclasses
import pathlib
import random
import subprocess
import threading
import time

import confluent_kafka

import l2live

PARTITIONS = 2
SYMBOLS_PER_RECORDING = 3
BAD_EVERY = 97       # a crossed book of a known symbol: breaks its link
NOISE_EVERY = 331    # bytes that are no record, under a name that is no symbol
OPTIONS = ("--bar-seconds", 60, "--window-seconds", 120, "--purge-bars", 3)
SETTINGS = {"bar_seconds": 60, "window_seconds": 120, "CVN_L2_PURGE_BARS": 3}
DATA = l2live.ROOT / "tests" / "data"


@dataclasses.dataclass
class Load:
    """What is sent, in order: (key, value or snapshot, whether it is noise)."""
    items: list
    snapshots: list


def market(folder, hours):
    """The recordings as snapshots, looped, one every 200 ms of event time."""
    path = pathlib.Path(folder) / "market.avro"
    command = [l2live.binary("l2replay"), "--source", "binance-ws", "--exchange", "binance-usdm", "--loop-hours", str(hours),
               "--thin", "200", "--depth", "10", "--output", str(path)]
    for symbol in ("btcusdt", "ethusdt"):
        command += ["--input", str(DATA / f"usdm_{symbol}_20240808.gz"), "--symbol", symbol.upper()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"l2replay: {done.stderr}")
    return l2live.records(path)


def make_load(base):
    items, snapshots = [], []
    for i, record in enumerate(base):
        for copy in range(SYMBOLS_PER_RECORDING):
            row = dict(record, symbol=f"{record['symbol']}{copy}")
            if len(items) % BAD_EVERY == BAD_EVERY - 1:
                row["bids"], row["asks"] = row["asks"], row["bids"]
            snapshots.append(row)
            items.append((row["symbol"].encode(), l2live.encode("l2_snapshot", row)))
            if len(items) % NOISE_EVERY == NOISE_EVERY - 1:
                items.append((b"noise", b"\xc3\x01 no record %d" % i))
    return Load(items, snapshots)


class Loader(threading.Thread):
    """Sends the load at a steady rate and says when it is done. A broker that is away delays it, no more."""

    def __init__(self, bootstrap, topic, load, rate):
        super().__init__(daemon=True)
        self.producer = confluent_kafka.Producer(l2live.client(bootstrap, **{
            "enable.idempotence": True, "linger.ms": 5, "compression.type": "lz4", "message.timeout.ms": 300000,
            "partitioner": "murmur2_random"}))
        self.topic, self.load, self.rate = topic, load, rate
        self.sent, self.failed = 0, []

    def run(self):
        began = time.monotonic()
        for key, value in self.load.items:
            wait = began + self.sent / self.rate - time.monotonic()
            if wait > 0.002:
                self.producer.poll(wait)
            while True:
                try:
                    self.producer.produce(self.topic, value, key, on_delivery=self._delivered)
                    break
                except BufferError:
                    self.producer.poll(0.1)
            self.sent += 1
        self.producer.flush(300)

    def _delivered(self, error, _):
        if error:
            self.failed.append(str(error))


RESTART_ME = 75  # the exit code for "my supervisor shall start me again": fenced after an outage, say


def supervise(producer):
    """What a supervisor does: starts the producer again when it asks for that; anything else is a fault."""
    if producer.process.poll() is None:
        return
    if producer.process.returncode != RESTART_ME:
        raise RuntimeError(f"the producer ended by itself with {producer.process.returncode}:\n{producer.tail()}")
    producer.start()


def kill_cycles(producer, cycles, rng, on_cycle):
    """Kills the producer `cycles` times, at random moments: while it starts, folds, or is at work."""
    for cycle in range(cycles):
        time.sleep(rng.choice((rng.uniform(0.05, 0.6), rng.uniform(0.6, 4))))
        supervise(producer)
        producer.kill()
        on_cycle(cycle)
        producer.start()


def expected_dead(messages):
    """(partition, offset, reason, key, value) of each record that had to be rejected."""
    dead = []
    for m in messages:
        if m.key == b"noise":
            dead.append((m.partition, m.offset, "unknown_schema", m.key, m.value))
            continue
        row = l2live.decode("l2_snapshot", m.value)
        if row["bids"][0]["price"] > row["bids"][-1]["price"]:
            continue
        dead.append((m.partition, m.offset, "levels_out_of_order", m.key, m.value))
    return dead


def found_dead(messages):
    dead = []
    for m in messages:
        headers = {name: value.decode() for name, value in m.headers}
        dead.append((int(headers["partition"]), int(headers["offset"]), headers["reason"], m.key, m.value))
    return dead


def compare(bootstrap, prefix, folder, load):
    """Counts of lost, doubled, reordered, changed over bars, features and dead letters; and examples."""
    folder = pathlib.Path(folder)
    got = {stem: [l2live.decode(stem, m.value) for m in l2live.dump(bootstrap, prefix + topic)]
           for stem, topic in (("l2_bar", "l2.bars"), ("l2_feature", "l2.features"))}
    l2live.write_records(folder / "closes.avro", "l2_bar", got["l2_bar"])
    l2live.write_records(folder / "sent.avro", "l2_snapshot", load.snapshots)
    want = dict(zip(("l2_bar", "l2_feature"), l2live.offline(folder / "sent.avro", folder / "offline",
                                                             (*OPTIONS, "--closes", folder / "closes.avro"))))
    counts, examples = collections.Counter(), []
    for stem, rows in got.items():
        c, e = l2live.differences(stem, rows, want[stem])
        counts.update(c)
        examples += e
    want_dead = expected_dead(l2live.dump(bootstrap, prefix + "l2.snapshots"))
    got_dead = found_dead(l2live.dump(bootstrap, prefix + "l2.dlq"))
    seen = collections.Counter(got_dead)
    counts["doubled"] += sum(n - 1 for n in seen.values())
    counts["lost"] += sum(1 for d in want_dead if d not in seen)
    counts["changed"] += sum(1 for d in seen if d not in set(want_dead))
    if sorted(got_dead) != sorted(want_dead):
        examples.append(f"dead letters: {len(got_dead)} against {len(want_dead)}")
    return counts, examples, {"bars": len(got["l2_bar"]), "features": len(got["l2_feature"]), "dead_letters": len(got_dead)}


def run(broker, folder, cycles, rate, hours, seed, restart_broker=True, say=print):
    """One run: load, kills, comparison. Returns counts, examples, sizes."""
    rng = random.Random(seed)
    prefix = f"kill{seed}-{int(time.time())}."
    load = make_load(market(folder, hours))
    l2live.topics(broker.bootstrap, prefix, PARTITIONS)
    say(f"{len(load.items)} records, {cycles} kills, seed {seed}")

    def on_cycle(cycle):
        if restart_broker and cycle == cycles // 2:
            say("restarting the broker")
            broker.stop()
            broker.start()

    with l2live.Producer(folder, broker.bootstrap, prefix, SETTINGS) as producer:
        loader = Loader(broker.bootstrap, prefix + "l2.snapshots", load, rate)
        loader.start()
        kill_cycles(producer, cycles, rng, on_cycle)
        loader.join()
        if loader.failed:
            raise RuntimeError(f"the load was not delivered: {loader.failed[0]}")
        l2live.wait_committed(broker.bootstrap, prefix + "feature-producer", prefix + "l2.snapshots", PARTITIONS, 120,
                              still_alive=lambda: supervise(producer))
        code = producer.stop()
        if code != 0:
            raise RuntimeError(f"a planned stop ended with {code}:\n{producer.tail()}")
    return compare(broker.bootstrap, prefix, folder, load)
