"""What the demo reads: metrics over HTTP, records over Kafka, and the audit of both output topics."""

import collections
import io
import json
import pathlib
import time
import urllib.error
import urllib.request

import confluent_kafka
import fastavro

SCHEMAS = pathlib.Path(__file__).resolve().parents[2] / "schemas"
FRAME_BYTES = 10
COLUMNS = ("mid_price", "spread_bps", "depth_imbalance_l1", "depth_imbalance_l5", "ofi_15m", "kyle_lambda")


def schema(name):
    return fastavro.parse_schema(json.loads((SCHEMAS / name).read_text()), named_schemas={})


BAR, FEATURE, HEARTBEAT = schema("l2_bar.avsc"), schema("l2_feature.avsc"), schema("heartbeat.avsc")


def decode(value, record_schema):
    return fastavro.schemaless_reader(io.BytesIO(value[FRAME_BYTES:]), record_schema)


def microseconds(when):
    return round(when.timestamp() * 1e6)


def check(done, what, error):
    if done.returncode != 0:
        raise error(f"{what}: {(done.stderr or done.stdout).strip()}")


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, OSError):
        return None


def http_ok(port, path):
    return get(port, path) is not None


def metric(port, name, value=""):
    """The sum over the labels of one metric, or over those that name this value."""
    return sum(float(line.rsplit(" ", 1)[1]) for line in (get(port, "/metrics") or "").splitlines()
               if line.split("{")[0].split(" ")[0] == name and value in line)


def snapshots_taken(port):
    return int(metric(port, "l2flow_fp_snapshots_total"))


def dead_letters(port):
    return int(metric(port, "l2flow_fp_dead_letters_total"))


def consumer(bootstrap, prefix, names):
    """All partitions from their start, committed records only, without a group's bookkeeping."""
    c = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": prefix + "demo-reader",
                                  "isolation.level": "read_committed", "enable.auto.commit": False,
                                  "fetch.wait.max.ms": 20})
    partitions = []
    for name in names:
        topic = c.list_topics(prefix + name, timeout=10).topics[prefix + name]
        partitions += [confluent_kafka.TopicPartition(prefix + name, p, confluent_kafka.OFFSET_BEGINNING)
                       for p in topic.partitions]
    c.assign(partitions)
    return c, partitions


class Reader:
    """Follows bars, features and heartbeats, and notes when each feature could be read."""

    def __init__(self, bootstrap, prefix, bar_seconds):
        self.prefix, self.bar_us = prefix, bar_seconds * 1_000_000
        self.consumer, _ = consumer(bootstrap, prefix, ("l2.bars", "l2.features", "l2.heartbeat"))
        self.newest_bar, self.newest_feature, self.lag_ms = {}, {}, {}
        self.readable = {}  # (symbol, bar_time µs) → (real time ms, partition, source offset)
        self.bars = collections.Counter()

    def poll(self, seconds):
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for message in self.consumer.consume(500, timeout=min(left, 0.05)):
                if not message.error():
                    self._take(message)

    def _take(self, message):
        topic = message.topic()[len(self.prefix):]
        if topic == "l2.heartbeat":
            beat = decode(message.value(), HEARTBEAT)
            self.lag_ms[beat["symbol"]] = beat["lag_ms"]
        elif topic == "l2.bars":
            bar = decode(message.value(), BAR)
            self.newest_bar[bar["symbol"]] = bar
            self.bars[bar["symbol"]] += 1
        else:
            feature = decode(message.value(), FEATURE)
            self.newest_feature[feature["symbol"]] = feature
            self.readable[feature["symbol"], microseconds(feature["bar_time"])] = (
                time.time() * 1000, feature["source_partition"], feature["source_offset"])

    def has_all(self, description):
        return all(self.bars[symbol] >= len(expected(span, self.bar_us)) for symbol, span in description["symbols"].items())

    def close(self):
        self.consumer.close()


def expected(span, bar_us):
    """Openings of the bars from a symbol's first snapshot to the last bar that closes by its last."""
    first = span["first_event_time_us"] // bar_us * bar_us
    return range(first, span["last_event_time_us"] - bar_us + 1, bar_us)


def read_whole(bootstrap, prefix, name, record_schema):
    c, partitions = consumer(bootstrap, prefix, (name,))
    left = {p.partition: c.get_watermark_offsets(p, timeout=10)[1] for p in partitions}
    found = []
    deadline = time.monotonic() + 60
    while any(c.position([confluent_kafka.TopicPartition(prefix + name, p)])[0].offset < end
              for p, end in left.items() if end > 0):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{name}: not read to its end within 60 s")
        found += [decode(m.value(), record_schema) for m in c.consume(1000, timeout=0.2) if not m.error()]
    c.close()
    return found


def latencies_ms(bootstrap, prefix, readable):
    """Kafka's timestamp of the snapshot that closed each bar → when its feature could be read, real ms."""
    c, _ = consumer(bootstrap, prefix, ())
    out = []
    for seen_ms, partition, offset in readable.values():
        c.assign([confluent_kafka.TopicPartition(prefix + "l2.snapshots", partition, offset)])
        message = c.poll(5)
        if message is not None and not message.error() and message.offset() == offset:
            out.append(seen_ms - message.timestamp()[1])
    c.close()
    return sorted(out)


def audit(bootstrap, prefix, description, bar_seconds, reader):
    """No bar missing or doubled, each with its feature, and every feature the row of purge_bars before."""
    bars = read_whole(bootstrap, prefix, "l2.bars", BAR)
    features = read_whole(bootstrap, prefix, "l2.features", FEATURE)
    rows = {(b["symbol"], microseconds(b["bar_time"])): b for b in bars}
    faults = []
    for symbol, span in description["symbols"].items():
        want = list(expected(span, bar_seconds * 1_000_000))
        for what, records in (("bar", bars), ("feature", features)):
            seen = collections.Counter(microseconds(r["bar_time"]) for r in records if r["symbol"] == symbol)
            faults += [f"{symbol}: {what} {t} is missing" for t in want if seen[t] == 0]
            faults += [f"{symbol}: {what} {t} is there {n} times" for t, n in seen.items() if n > 1]
    for f in features:
        source = rows.get((f["symbol"], microseconds(f["source_bar_time"])))
        faults += [f"{f['symbol']}: feature {f['bar_time']}: l2_{c} is not its source row's" for c in COLUMNS
                   if f["l2_" + c] != (source[c] if source else None)]
    ms = latencies_ms(bootstrap, prefix, reader.readable)
    by_symbol = dict(collections.Counter(b["symbol"] for b in bars))
    return {"bars": len(bars), "by_symbol": by_symbol, "features": len(features), "faults": faults, "ok": not faults and bool(bars),
            "p50_ms": ms[len(ms) // 2] if ms else None, "p99_ms": ms[int(len(ms) * 0.99)] if ms else None, "measured": len(ms)}
