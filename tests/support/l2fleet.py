"""l2fleet: replicas of the real producer under a steady load and under faults, judged against a quiet run.

    load = make_load(market(folder, hours))                 the recordings, looped, over several names, with bad books and noise
    with Fleet(folder, broker.bootstrap, prefix, 2) as fleet:        replicas under a supervisor
        loader = Loader(broker.bootstrap, topic, load, rate); loader.start()
        fleet[0].kill(), fleet[0].start(), …                what a test does to them
        loader.stop(); fleet.finish()                       all committed, all ended with 0
    counts, examples, sizes = judge(broker.bootstrap, prefix, folder)

The quiet run is the offline twin over the records that lie in the topic, obeying the clock closes that were recorded. Compared: every
field of every bar and feature but provenance, their keys and partitions, their order per symbol, and each dead letter with its reason,
offset and bytes. Seen to fail with the last byte of an output's key left out (changed).
"""

import collections
import pathlib
import signal
import subprocess
import threading
import time

import confluent_kafka

import l2live

SYMBOLS_PER_RECORDING = 3
BAD_EVERY = 97       # a crossed book of a known symbol: breaks its link
NOISE_EVERY = 331    # bytes that are no record, under a name that is no symbol
OPTIONS = ("--bar-seconds", 60, "--window-seconds", 120, "--purge-bars", 3)
SETTINGS = {"bar_seconds": 60, "window_seconds": 120, "CVN_L2_PURGE_BARS": 3}
DATA = l2live.ROOT / "tests" / "data"
KINDS = ("lost", "doubled", "reordered", "changed")

RESTART_ME = 75   # the exit code for "my supervisor shall start me again": fenced after an outage, say
NO_BROKER = 69    # at a start: the broker is away


def market(folder, hours, thin_ms=200):
    """The recordings as snapshots, looped, one every thin_ms of event time."""
    path = pathlib.Path(folder) / "market.avro"
    command = [l2live.binary("l2replay"), "--source", "binance-ws", "--exchange", "binance-usdm", "--loop-hours", str(hours),
               "--thin", str(thin_ms), "--depth", "10", "--output", str(path)]
    for symbol in ("btcusdt", "ethusdt"):
        command += ["--input", str(DATA / f"usdm_{symbol}_20240808.gz"), "--symbol", symbol.upper()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"l2replay: {done.stderr}")
    return l2live.records(path)


def make_load(base, copies=SYMBOLS_PER_RECORDING):
    """What is sent, in order, as (key, value): each record of the market under `copies` names."""
    items = []
    for i, record in enumerate(base):
        name = record["symbol"].encode()
        good = l2live.encode("l2_snapshot", dict(record, symbol=f"{record['symbol']}{0:03}"))
        for copy in range(copies):
            symbol = name + b"%03d" % copy
            if len(items) % BAD_EVERY == BAD_EVERY - 1:
                bad = dict(record, symbol=symbol.decode(), bids=record["asks"], asks=record["bids"])
                items.append((symbol, l2live.encode("l2_snapshot", bad)))
            else:  # the name stands in it as it is: encoding afresh would take most of a test's time
                items.append((symbol, good.replace(name + b"000", symbol, 1)))
            if len(items) % NOISE_EVERY == NOISE_EVERY - 1:
                items.append((b"noise", b"\xc3\x01 no record %d" % i))
    return items


class Loader(threading.Thread):
    """Sends the load at a steady rate and says when it is done. A broker that is away delays it, no more."""

    def __init__(self, bootstrap, topic, load, rate):
        super().__init__(daemon=True)
        self.producer = confluent_kafka.Producer(l2live.client(bootstrap, **{
            "enable.idempotence": True, "linger.ms": 5, "compression.type": "lz4", "message.timeout.ms": 300000,
            "partitioner": "murmur2_random"}))
        self.topic, self.load, self.rate = topic, load, rate
        self.sent, self.failed = 0, []
        self.enough = threading.Event()

    def run(self):
        began = time.monotonic()
        for key, value in self.load:
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
            if self.enough.is_set():
                break
        self.producer.flush(300)

    def _delivered(self, error, _):
        if error:
            self.failed.append(str(error))

    def running(self):
        return self.is_alive()

    def stop(self):
        """Sends no more, waits until all is delivered."""
        if not self.is_alive() and not self.enough.is_set():
            raise RuntimeError(f"the load of {len(self.load)} records was over before the test was: faults hit a quiet system")
        self.finish()

    def finish(self):
        self.enough.set()
        self.join()
        if self.failed:
            raise RuntimeError(f"the load was not delivered: {self.failed[0]}")


class Fleet:
    """Replicas r0, r1, … under a supervisor, which starts one again that asks for it (75; 69 while the broker is away) and notes
    any other end that nobody asked for."""

    def __init__(self, folder, bootstrap, prefix, n, settings=None, environment=None):
        self.bootstrap, self.prefix = bootstrap, prefix
        self.replicas = [l2live.Producer(folder, bootstrap, prefix, {**SETTINGS, **(settings or {}), "replica": f"r{i}"},
                                         environment, name=f"r{i}") for i in range(n)]
        self.up, self.faults, self.restarts = set(), [], collections.Counter()
        self.lock, self.over = threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self._supervise, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        for r in self.replicas:
            if r.process and r.process.poll() is None:
                r.kill()  # SIGKILL ends a stopped process too

    def __getitem__(self, i):
        return self.replicas[i]

    def _supervise(self):
        while not self.over.wait(0.05):
            with self.lock:
                for i in sorted(self.up):
                    self._look(i)

    def _look(self, i):
        code = self.replicas[i].process.poll()
        if code is None:
            return
        self.restarts[code] += 1
        if code not in (RESTART_ME, NO_BROKER):
            self.faults.append(f"r{i} ended by itself with {code}:\n{self.replicas[i].tail()}")
            self.up.discard(i)
        else:
            self.replicas[i].start()

    def start(self, *which):
        with self.lock:
            for i in which:
                self.replicas[i].start()
                self.up.add(i)

    def kill(self, i):
        with self.lock:
            self.up.discard(i)
            self.replicas[i].kill()

    def stop(self, i, seconds=20):
        """A planned stop. One that ended by itself a moment before counts by its code."""
        with self.lock:
            self.up.discard(i)
            code = self.replicas[i].stop(seconds)
        if code not in (0, RESTART_ME, NO_BROKER):
            self.faults.append(f"r{i}: a planned stop ended with {code}:\n{self.replicas[i].tail()}")
        return code

    def freeze(self, i, seconds):
        """SIGSTOP for so long; the supervisor meets what wakes up."""
        process = self.replicas[i].process
        process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)

    def check(self):
        if self.faults:
            raise RuntimeError(self.faults[0])

    def restore(self):
        """All of them run."""
        self.start(*(i for i in range(len(self.replicas)) if i not in self.up))

    def owned(self, i):
        """How many partitions a replica has, as it says itself; None when it does not answer."""
        return self.replicas[i].metric("l2flow_fp_partitions") if self.replicas[i].get("/metrics") else None

    def finish(self, partitions, seconds=120):
        """All that the topic holds is committed, then every replica that runs ends with 0."""
        l2live.wait_committed(self.bootstrap, self.prefix + "feature-producer", self.prefix + "l2.snapshots", partitions, seconds,
                              still_alive=self.check)
        for i in sorted(self.up):
            self.stop(i)
        self.check()


def rejected(message):
    """Why this record of l2.snapshots must be a dead letter, or None."""
    if message.key == b"noise":
        return "unknown_schema"
    row = l2live.decode("l2_snapshot", message.value)
    return "levels_out_of_order" if row["bids"][0]["price"] < row["bids"][-1]["price"] else None


def expected_dead(messages):
    """(partition, offset, reason, key, value) of each record that had to be rejected."""
    return [(m.partition, m.offset, reason, m.key, m.value) for m in messages if (reason := rejected(m))]


def found_dead(messages):
    dead = []
    for m in messages:
        headers = {name: value.decode() for name, value in m.headers}
        dead.append((int(headers["partition"]), int(headers["offset"]), headers["reason"], m.key, m.value))
    return dead


def misplaced(stem, outputs, messages):
    """Outputs under a key that is not their symbol, or in another partition than their symbol's input."""
    home = {m.key: m.partition for m in messages}
    return [f"{stem} at {m.partition}:{m.offset}: key {m.key}, input in {home.get(m.key)}" for m in outputs
            if m.key != l2live.decode(stem, m.value)["symbol"].encode() or m.partition != home.get(m.key)]


def judge(bootstrap, prefix, folder, messages=None):
    """Counts of lost, doubled, reordered, changed over bars, features and dead letters; examples; sizes. messages: what l2.snapshots
    held, when it does not hold all of it any more."""
    folder = pathlib.Path(folder)
    messages = messages or l2live.dump(bootstrap, prefix + "l2.snapshots")
    outputs = {stem: l2live.dump(bootstrap, prefix + topic) for stem, topic in (("l2_bar", "l2.bars"), ("l2_feature", "l2.features"))}
    got = {stem: [l2live.decode(stem, m.value) for m in out] for stem, out in outputs.items()}
    l2live.write_records(folder / "closes.avro", "l2_bar", got["l2_bar"])
    l2live.write_values(folder / "sent.avro", "l2_snapshot", [m.value for m in messages if m.key != b"noise"])
    want = dict(zip(("l2_bar", "l2_feature"), l2live.offline(folder / "sent.avro", folder / "offline",
                                                             (*OPTIONS, "--closes", folder / "closes.avro"))))
    counts, examples = collections.Counter(), []
    for stem, rows in got.items():
        c, e = l2live.differences(stem, rows, want[stem])
        counts.update(c)
        strays = misplaced(stem, outputs[stem], messages)
        counts["changed"] += len(strays)
        examples += e + strays
    want_dead, got_dead = expected_dead(messages), found_dead(l2live.dump(bootstrap, prefix + "l2.dlq"))
    seen, needed = collections.Counter(got_dead), set(want_dead)
    counts["doubled"] += sum(n - 1 for n in seen.values())
    counts["lost"] += sum(1 for d in want_dead if d not in seen)
    counts["changed"] += sum(1 for d in seen if d not in needed)
    if sorted(got_dead) != sorted(want_dead):
        examples.append(f"dead letters: {len(got_dead)} against {len(want_dead)}")
    return counts, examples, {"bars": len(got["l2_bar"]), "features": len(got["l2_feature"]), "dead_letters": len(got_dead),
                              "by_clock": sum(b["closed_by"] == "clock" for b in got["l2_bar"])}


def assert_equal(name, bootstrap, prefix, folder, bars_min, messages=None):
    """Prints one line and raises when anything differs, or when the load was too small to show anything."""
    counts, examples, sizes = judge(bootstrap, prefix, folder, messages)
    print(f"{name}: " + " ".join(f"{k}={counts[k]}" for k in KINDS), sizes, flush=True)
    assert sum(counts.values()) == 0, "\n".join(examples[:10])
    assert sizes["bars"] >= bars_min and sizes["dead_letters"] > 0, "the load was too small to show anything"
    return sizes
