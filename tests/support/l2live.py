"""l2live: the real producer on a real Kafka, for tests: records in, records out, compared with the offline twin.

    topics(bootstrap, prefix, partitions)              every topic of l2flow, made by l2ctl
    with Producer(folder, bootstrap, prefix, settings) as p:    p.kill(), p.start(), p.stop()
    load = frames(path)                                an .avro file of snapshots as (key, value) of the topic
    dump(bootstrap, topic)                             a topic, read_committed, as Message tuples
    offline(path, folder, options)                     bars, features, dead letters of feature-producer --offline
"""

import collections
import io
import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request

import confluent_kafka
import confluent_kafka.admin
import fastavro

import l2kafka

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "schemas"
FRAME_BYTES = 10
PROVENANCE = {"l2_bar": ("last_event_time", "closed_by", "source_partition", "source_offset", "resume"),
              "l2_feature": ("last_event_time", "produced_time", "source_partition", "source_offset")}

Message = collections.namedtuple("Message", "partition offset timestamp_ms key value headers")


def binary(name):
    folder = pathlib.Path(os.environ.get("L2FLOW_BIN", ROOT / "build" / "release" / "bin"))
    return str(folder / name)


def schema(stem):
    # a name that other files use as well (Level) may be defined again: each schema stands alone
    return fastavro.parse_schema(json.loads((SCHEMAS / f"{stem}.avsc").read_text()), named_schemas={})


def fingerprint(stem):
    """The single-object frame: 0xC3 0x01 and the CRC-64-AVRO of the canonical form, little endian."""
    canonical = fastavro.schema.to_parsing_canonical_form(json.loads((SCHEMAS / f"{stem}.avsc").read_text()))
    return b"\xc3\x01" + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


def decode(stem, value, cache={}):
    parsed = cache.setdefault(stem, schema(stem))
    return fastavro.schemaless_reader(io.BytesIO(value[FRAME_BYTES:]), parsed)


def encode(stem, record, cache={}):
    frame, parsed = cache.setdefault(stem, (fingerprint(stem), schema(stem)))
    out = io.BytesIO(frame)
    out.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(out, parsed, record)
    return out.getvalue()


def topics(bootstrap, prefix, partitions):
    done = subprocess.run([binary("l2ctl"), "topics", "apply", "-b", bootstrap, "-p", prefix, "--partitions", str(partitions)],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"l2ctl topics apply: {done.stderr}")
    wait_led(bootstrap, prefix)


def wait_led(bootstrap, prefix, seconds=30):
    """Until each partition answers. Before, a batch is refused, and the next one, which a new producer has on its way already, may be taken before
    it comes again: then the first counts as a duplicate, and is in no log."""
    admin = confluent_kafka.admin.AdminClient(client(bootstrap))
    deadline = time.monotonic() + seconds
    waiting = [confluent_kafka.TopicPartition(name, partition) for name, topic in admin.list_topics(timeout=10).topics.items()
               if name.startswith(prefix + "l2.") for partition in topic.partitions]
    while waiting and time.monotonic() < deadline:
        asked = admin.list_offsets({one: confluent_kafka.admin.OffsetSpec.latest() for one in waiting}, request_timeout=5)
        waiting = [one for one, answer in asked.items() if answer.exception() is not None]
        time.sleep(0.05 if waiting else 0)
    if waiting:
        raise RuntimeError(f"no leader after {seconds} s: {waiting}")


def records(path):
    with open(path, "rb") as f:
        return list(fastavro.reader(f))


def write_records(path, stem, rows):
    with open(path, "wb") as f:
        fastavro.writer(f, schema(stem), rows, codec="deflate")


def zigzag(number):
    number, out = number << 1, bytearray()
    while number > 0x7f:
        out.append(number & 0x7f | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def write_values(path, stem, values, at_once=1000):
    """A container of records as they lie in a topic, but for their frames: the very bytes, and faster than encoding them anew."""
    with open(path, "w+b") as f:
        fastavro.writer(f, schema(stem), [], codec="null")
        f.seek(-16, os.SEEK_END)
        marker = f.read(16)
        for i in range(0, len(values), at_once):
            block = [v[FRAME_BYTES:] for v in values[i:i + at_once]]
            data = b"".join(block)
            f.write(zigzag(len(block)) + zigzag(len(data)) + data + marker)


class Producer:
    """feature-producer as a child; ends with the with-block. Other services are classes of their own, by another program."""

    program = "feature-producer"

    def __init__(self, folder, bootstrap, prefix, settings=None, environment=None, name=None):
        name = name or self.program
        self.folder, self.port = pathlib.Path(folder), l2kafka.free_port()
        self.config, self.log = self.folder / f"{name}.conf", self.folder / f"{name}.log"
        values = {"exchange": "binance-usdm", "topic_prefix": prefix, "listen": f"127.0.0.1:{self.port}",
                  "kafka.bootstrap.servers": bootstrap, **(settings or {})}
        self.config.write_text("".join(f"{k} = {v}\n" for k, v in values.items()))
        self.environment = dict(os.environ, **(environment or {}))
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.kill()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([binary(self.program), "--config", str(self.config)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds=20):
        """Exit code of a planned stop."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=seconds)

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return answer.read().decode()
        except (urllib.error.URLError, OSError):
            return None

    def wait_ready(self, seconds=60):
        deadline = time.monotonic() + seconds
        while self.get("/readyz") is None:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.program} ended with {self.process.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.program} is not ready after {seconds} s:\n{self.tail()}")
            time.sleep(0.05)

    def metric(self, name):
        return sum(float(line.rsplit(" ", 1)[1]) for line in (self.get("/metrics") or "").splitlines()
                   if line.split("{")[0].split(" ")[0] == name)

    def tail(self):
        return self.log.read_text(errors="replace")[-3000:]


def client(bootstrap, **settings):
    return {"bootstrap.servers": bootstrap, "client.id": "l2live", "log_level": 2, **settings}


def committed(bootstrap, group, topic, partitions):
    """Committed offsets of a group, by partition; -1001 where there is none."""
    c = confluent_kafka.Consumer(client(bootstrap, **{"group.id": group}))
    try:
        found = c.committed([confluent_kafka.TopicPartition(topic, p) for p in range(partitions)], timeout=10)
        return {t.partition: t.offset for t in found}
    finally:
        c.close()


def ends(bootstrap, topic, partitions):
    """Log ends; a consumer of committed records would be told the last stable offsets, before what is still open."""
    c = confluent_kafka.Consumer(client(bootstrap, **{"group.id": "l2live-ends", "isolation.level": "read_uncommitted"}))
    try:
        return {p: c.get_watermark_offsets(confluent_kafka.TopicPartition(topic, p), timeout=10)[1] for p in range(partitions)}
    finally:
        c.close()


def wait_committed(bootstrap, group, topic, partitions, seconds, still_alive=lambda: None):
    """Until the group has committed all that the topic holds."""
    goal, deadline = ends(bootstrap, topic, partitions), time.monotonic() + seconds
    while True:
        try:
            now = committed(bootstrap, group, topic, partitions)
        except confluent_kafka.KafkaException as error:  # a coordinator that is still loading: asked again
            now = dict.fromkeys(goal, error)
        if all(not isinstance(now[p], Exception) and now[p] >= goal[p] for p in goal if goal[p] > 0):
            return
        still_alive()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{group} has committed {now} of {goal} after {seconds} s")
        time.sleep(0.3)


def dump(bootstrap, topic):
    """All that is committed up to the log's end, in partition order. A transaction that a killed member left open hides
    what comes after it until the broker has aborted it."""
    c = confluent_kafka.Consumer(client(bootstrap, **{"group.id": "l2live-dump", "isolation.level": "read_committed",
                                                      "enable.auto.commit": False, "enable.partition.eof": True}))
    try:
        partitions = list(c.list_topics(topic, timeout=10).topics[topic].partitions)
        c.assign([confluent_kafka.TopicPartition(topic, p, confluent_kafka.OFFSET_BEGINNING) for p in partitions])
        goal = ends(bootstrap, topic, len(partitions))
        left, found, deadline = set(partitions), [], time.monotonic() + 120
        while left:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{topic}: partitions {left} were not read to their end")
            for m in c.consume(1000, timeout=1):
                if m.error() and m.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                    if m.offset() >= goal[m.partition()]:
                        left.discard(m.partition())
                elif m.error():
                    raise RuntimeError(f"{topic}: {m.error()}")
                else:
                    found.append(Message(m.partition(), m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers() or []))
        return sorted(found, key=lambda m: (m.partition, m.offset))
    finally:
        c.close()


def offline(path, folder, options=()):
    done = subprocess.run([binary("feature-producer"), "--offline", str(path), "--out-dir", str(folder), *map(str, options)],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"feature-producer --offline: {done.stderr}")
    return [records(pathlib.Path(folder) / f"{name}.avro") for name in ("l2_bars", "l2_features", "l2_dlq")]


def without_provenance(stem, record):
    return {k: v for k, v in record.items() if k not in PROVENANCE[stem]}


def by_symbol(rows):
    found = collections.defaultdict(list)
    for row in rows:
        found[row["symbol"]].append(row)
    return found


def is_same(a, b):
    """To the bit: 0.0 equals -0.0, but its text does not."""
    return a == b and repr(a) == repr(b)


def differences(stem, got, want):
    """Counts of lost, doubled, reordered and changed records, symbol by symbol, provenance apart; and the first of each."""
    counts, examples = collections.Counter(lost=0, doubled=0, reordered=0, changed=0), []
    got, want = by_symbol(got), by_symbol(want)
    for symbol in sorted(set(got) | set(want)):
        times = [r["bar_time"] for r in got[symbol]]
        have = {r["bar_time"]: without_provenance(stem, r) for r in got[symbol]}
        need = {r["bar_time"]: without_provenance(stem, r) for r in want[symbol]}
        faults = {"lost": [t for t in need if t not in have],
                  "doubled": [t for t, n in collections.Counter(times).items() if n > 1],
                  "reordered": [b for a, b in zip(times, times[1:]) if b < a],
                  "changed": [t for t in have if not is_same(need.get(t), have[t])]}
        for kind, found in faults.items():
            counts[kind] += len(found)
            if found:
                detail = [(k, v, (need.get(found[0]) or {}).get(k)) for k, v in have.get(found[0], {}).items()
                          if not is_same((need.get(found[0]) or {}).get(k), v)]
                examples.append(f"{stem} {symbol} {found[0]}: {kind} ({len(found)}) {detail[:3]}")
    return counts, examples
