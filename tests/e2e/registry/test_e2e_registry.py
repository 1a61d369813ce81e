"""feature-producer with a schema registry: Confluent's framing in and out, other versions of the schema, an outage.

Two partitions, a symbol each. The first symbol's feed changes its framing and its schema on the way, sends one record whose
id no registry knows, and then records of a version whose look-up falls into an outage of the registry: that partition
waits, the other goes on; when the registry is back nothing is lost, doubled or changed against the offline twin over the
same records in our own schema. Outputs carry the ids under which they were registered.

Its metrics say so all the while: requests by outcome, the cache's answers, the partition that is held and for how long.

Then it is restarted without the registry, and with one that is empty: it reads its own bars by their ids, so it refuses
to go on (78), names the record, and emits nothing.

Seen to fail on: no bus_hold, the records behind the held one in its batch taken all the same, no resumption; bars whose
schema is not to be had passed over (the newest bar came twice).
"""
import io
import json
import pathlib
import re
import struct
import sys
import tempfile
import time

import confluent_kafka
import fastavro

import l2kafka
import l2live
import l2registry

PREFIX, EXCHANGE, US = "reg.", "binance-usdm", 1_000_000
HELD, FREE = "BTCUSDT", "ETHUSDT"
SCHEMA = json.loads((l2live.SCHEMAS / "l2_snapshot.avsc").read_text())
OLD, NEW, UNKNOWN = 7, 8, 4242
SECONDS_EACH = 90  # of market time, for each part of the feed


def old_schema():
    """Fields in another order, a smaller type, none of ours' flow, one that ours lacks."""
    fields = {f["name"]: f for f in json.loads(json.dumps(SCHEMA))["fields"]}
    fields["epoch"]["type"] = "int"
    names = ("symbol", "exchange", "sequence", "epoch", "received_time", "event_time", "bids", "asks")
    return dict(SCHEMA, fields=[fields[n] for n in names] + [{"name": "host", "type": "string"}])


def new_schema():
    """Our next version, perhaps: a field in the middle of the level."""
    schema = json.loads(json.dumps(SCHEMA))
    level = next(f for f in schema["fields"] if f["name"] == "bids")["type"]["items"]
    level["fields"].insert(1, {"name": "orders", "type": ["null", "int"], "default": None})
    return schema


def snapshot(symbol, at_us, sequence):
    mid = 100 + (sequence * 7 % 13) / 100
    level = [{"price": mid - 0.01 * (i + 1), "quantity": 1 + (sequence + i) % 5} for i in range(6)]
    asks = [{"price": mid + 0.01 * (i + 1), "quantity": 2 + (sequence + i) % 3} for i in range(6)]
    return {"exchange": EXCHANGE, "symbol": symbol, "event_time": at_us, "received_time": at_us + 1000, "sequence": sequence,
            "epoch": 1, "bids": level, "asks": asks, "flow": None}


def confluent(schema_id, schema, record):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(json.dumps(schema)), named_schemas={}), record)
    return struct.pack(">bI", 0, schema_id) + out.getvalue()


class Feed:
    def __init__(self, bootstrap, start_us):
        self.producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2"})
        self.at = {HELD: start_us, FREE: start_us}
        self.sequence = {HELD: 0, FREE: 0}
        self.sent = []

    def send(self, symbol, encode):
        for _ in range(SECONDS_EACH):
            self.at[symbol] += US
            self.sequence[symbol] += 1
            record = snapshot(symbol, self.at[symbol], self.sequence[symbol])
            self.sent.append(record)
            self.producer.produce(PREFIX + "l2.snapshots", encode(record), key=symbol)
        self.producer.flush()

    def send_raw(self, symbol, value):
        self.producer.produce(PREFIX + "l2.snapshots", value, key=symbol)
        self.producer.flush()


def wait(what, condition, producer, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert producer.process.poll() is None, f"feature-producer ended:\n{producer.tail()}"
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s\n{producer.tail()}"
        time.sleep(0.1)


def run(bootstrap, folder, registry, feed):
    settings = {"schema_registry_url": registry.url, "bar_seconds": 60, "window_seconds": 60}
    total, read = SECONDS_EACH * 2 + 1, "l2flow_fp_snapshots_total"
    with l2live.Producer(folder, bootstrap, PREFIX, settings) as producer:
        producer.wait_ready()
        feed.send(HELD, lambda r: l2live.encode("l2_snapshot", r))
        feed.send(HELD, lambda r: confluent(OLD, old_schema(), dict(r, host="h")))
        feed.send_raw(HELD, struct.pack(">bI", 0, UNKNOWN) + b"whatever")
        wait("the first parts", lambda: producer.metric(read) >= total - 1, producer)
        wait("a dead letter", lambda: producer.metric("l2flow_fp_dead_letters_total") == 1, producer)

        registry.fail = 503
        feed.send(HELD, lambda r: confluent(NEW, new_schema(), r))
        wait("the hold", lambda: "partition_held" in producer.log.read_text(), producer)
        before = producer.metric(read)
        feed.send(FREE, lambda r: l2live.encode("l2_snapshot", r))
        wait("the other partition", lambda: producer.metric(read) == before + SECONDS_EACH, producer)
        wait("a failed request", lambda: labelled(producer, "l2flow_registry_requests_total", "outcome")["failed"] > 0, producer)
        time.sleep(12)  # longer than close_grace_seconds: the clock must not close what waits
        assert producer.metric(read) == before + SECONDS_EACH, "a held partition went on"
        held = [b for b in bars(bootstrap, registry) if b["symbol"] == HELD]
        assert producer.metric("l2flow_fp_partitions_held") == 1 and producer.metric("l2flow_registry_ids_waiting") == 1
        assert 10 < producer.metric("l2flow_fp_held_seconds") < 200
        newest = max(b["bar_time"].timestamp() for b in held)
        assert newest * US < feed.sent[SECONDS_EACH * 2 - 1]["event_time"], "the clock closed a bar whose records wait"

        registry.fail = None
        wait("the resumption", lambda: producer.metric(read) == before + 2 * SECONDS_EACH, producer)
        feed.send(HELD, lambda r: confluent(OLD, old_schema(), dict(r, host="h")))
        l2live.wait_committed(bootstrap, PREFIX + "feature-producer", PREFIX + "l2.snapshots", 2, 60)
        wait("the metrics", lambda: producer.metric("l2flow_fp_partitions_held") == 0, producer)
        check_metrics(producer)
        assert producer.stop() == 0, producer.tail()


def check_metrics(producer):
    """OLD and NEW were found, UNKNOWN was not; each was missed once, and answered from the cache when its record came again."""
    requests = labelled(producer, "l2flow_registry_requests_total", "outcome")
    del requests["failed"]  # as many as the outage had time for
    assert requests == {"found": 2, "unknown": 1, "registered": 3}, requests
    cache = labelled(producer, "l2flow_registry_cache_total", "result")
    assert cache["miss"] == 3 and cache["hit"] >= 3 and cache["negative_hit"] >= 1, cache
    assert producer.metric("l2flow_registry_ids_waiting") == 0 and producer.metric("l2flow_fp_held_seconds") == 0


def labelled(producer, name, label):
    return {value: int(float(n)) for value, n in re.findall(rf'^{name}{{{label}="(\w+)"}} (\S+)$', producer.get("/metrics"), re.M)}


def restart_elsewhere(bootstrap, folder, registry, feed):
    """Without its registry it cannot know what it emitted."""
    written = [m.value for m in l2live.dump(bootstrap, PREFIX + "l2.bars")]
    with l2registry.Contract() as empty:
        for number, (settings, words) in enumerate((
                ({}, ("schema id", "schema_registry_url")),
                ({"schema_registry_url": empty.url}, ("schema id", "schema_registry_url")))):
            (folder / str(number)).mkdir()
            with l2live.Producer(folder / str(number), bootstrap, PREFIX,
                                 {"bar_seconds": 60, "window_seconds": 60, **settings}) as producer:
                deadline = time.monotonic() + 40
                while producer.process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.1)
                code, text = producer.process.poll(), producer.log.read_text()
                if code is None:
                    producer.stop()
            now = [m.value for m in l2live.dump(bootstrap, PREFIX + "l2.bars")]
            assert now == written, f"{settings}: {len(now) - len(written)} bars more"
            assert code == 78, (settings, code, text[-2000:])
            assert all(w in text for w in words) and PREFIX + "l2.bars, partition" in text, text[-2000:]


def read_back(bootstrap, registry, topic, stem):
    found = []
    ours = fastavro.schema.to_parsing_canonical_form(json.loads((l2live.SCHEMAS / f"{stem}.avsc").read_text()))
    for message in l2live.dump(bootstrap, PREFIX + topic):
        magic, schema_id = struct.unpack(">bI", message.value[:5])
        assert magic == 0, f"{topic}: not in Confluent's framing"
        theirs = json.loads(registry.schemas[schema_id])
        assert fastavro.schema.to_parsing_canonical_form(theirs) == ours, f"{topic}: id {schema_id} is another schema"
        found.append(fastavro.schemaless_reader(io.BytesIO(message.value[5:]), l2live.schema(stem)))
    return found


def bars(bootstrap, registry):
    return read_back(bootstrap, registry, "l2.bars", "l2_bar")


def main():
    with tempfile.TemporaryDirectory() as name, l2kafka.shared_or_own(name + "/kafka") as bootstrap, \
            l2registry.Contract() as registry:
        folder = pathlib.Path(name)
        registry.add(OLD, old_schema())
        registry.add(NEW, new_schema())
        l2live.topics(bootstrap, PREFIX, 2)
        start = int(time.time() - 3600) // 60 * 60 * US
        feed = Feed(bootstrap, start)
        run(bootstrap, folder, registry, feed)
        restart_elsewhere(bootstrap, folder, registry, feed)
        got_bars, got_features = bars(bootstrap, registry), read_back(bootstrap, registry, "l2.features", "l2_feature")
        dead = l2live.dump(bootstrap, PREFIX + "l2.dlq")
        assert [dict(m.headers)["reason"] for m in dead] == [b"unknown_schema"], dead
        # the unknown record broke the link: the twin has one in its place that is as wrong
        sent = list(feed.sent)
        broken = dict(sent[2 * SECONDS_EACH - 1], sequence=10 ** 9, bids=[])
        sent.insert(2 * SECONDS_EACH, broken)
        l2live.write_records(folder / "sent.avro", "l2_snapshot", sent)
        l2live.write_records(folder / "closes.avro", "l2_bar", got_bars)
        want_bars, want_features, _ = l2live.offline(
            folder / "sent.avro", folder / "offline",
            ("--bar-seconds", 60, "--window-seconds", 60, "--closes", folder / "closes.avro"))
    faults = []
    for stem, got, want in (("l2_bar", got_bars, want_bars), ("l2_feature", got_features, want_features)):
        counts, examples = l2live.differences(stem, got, want)
        faults += examples
        print(stem, len(got), dict(counts))
    asked = [path for _, path in registry.asked if path == f"/schemas/ids/{UNKNOWN}"]
    assert len(asked) == 1, "an unknown id is asked for once a minute"
    print("\n".join(faults))
    return 1 if faults or not got_bars else 0


if __name__ == "__main__":
    sys.exit(main())
