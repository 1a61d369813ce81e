"""l2replay on a real Kafka: what arrives is what a file would hold, keyed and placed as Java does, never before its time.

Seen to fail: with a pace that is 200 s of market early, with partition 0 for -1, with the flush left out, and with the
topics' check left out.
"""

import io
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest
import uuid

import fastavro
import fastavro.read
from confluent_kafka import TIMESTAMP_CREATE_TIME, Consumer, TopicPartition

import l2kafka

fastavro.read.LOGICAL_READERS.pop("long-timestamp-micros", None)

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ["L2FLOW_BIN"])
BTC = ["--input", ROOT / "tests" / "data" / "usdm_btcusdt_20240808.gz", "--symbol", "BTCUSDT"]
ETH = ["--input", ROOT / "tests" / "data" / "usdm_ethusdt_20240808.gz", "--symbol", "ETHUSDT"]
PARTITIONS = 6
SPEED = 480


def murmur2(data):
    """Kafka's Java client, org.apache.kafka.common.utils.Utils.murmur2."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(data)) & mask
    for i in range(0, len(data) // 4 * 4, 4):
        k = int.from_bytes(data[i:i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    rest = data[len(data) // 4 * 4:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


class Schema:
    def __init__(self, name):
        text = json.loads((ROOT / "schemas" / f"{name}.avsc").read_text())
        self.parsed = fastavro.parse_schema(text)
        canonical = fastavro.schema.to_parsing_canonical_form(text)
        self.header = b"\xc3\x01" + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))

    def decode(self, message):
        assert message.startswith(self.header), message[:10]
        return fastavro.schemaless_reader(io.BytesIO(message[10:]), self.parsed, None)


SNAPSHOT, CANDLE = Schema("l2_snapshot"), Schema("candle")


def read_file(path):
    with open(path, "rb") as file:
        return list(fastavro.reader(file))


class Topics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        broker = l2kafka.shared_or_own(pathlib.Path(folder.name, "kafka"))
        cls.bootstrap = broker.__enter__()
        cls.addClassCleanup(broker.__exit__, None, None, None)

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        self.prefix = f"t{uuid.uuid4().hex[:8]}."

    def make_topics(self):
        subprocess.run([BIN / "l2ctl", "topics", "apply", "--bootstrap", self.bootstrap, "--topic-prefix", self.prefix,
                        "--partitions", str(PARTITIONS)], check=True, stdout=subprocess.DEVNULL, timeout=60)

    def command(self, *args):
        return [str(a) for a in [BIN / "l2replay", *args, "--topic", "--json", "--bootstrap", self.bootstrap, "--topic-prefix",
                                 self.prefix]]

    def replay(self, *args, env=None, code=0):
        done = subprocess.run(self.command(*args), capture_output=True, text=True, timeout=120, env={**os.environ, **(env or {})})
        self.assertEqual(done.returncode, code, done.stderr)
        return json.loads(done.stdout) if code == 0 else done.stderr

    def read(self, topic, schema):
        """[(message, record)] of all partitions, each partition in its order."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.prefix + "reader",
                             "enable.auto.commit": False, "enable.partition.eof": True})
        consumer.assign([TopicPartition(self.prefix + topic, p, 0) for p in range(PARTITIONS)])
        got, open_partitions, deadline = [], set(range(PARTITIONS)), time.monotonic() + 60
        while open_partitions and time.monotonic() < deadline:
            for message in consumer.consume(5000, 0.5):
                if message.error():
                    open_partitions.discard(message.partition())
                else:
                    got.append((message, schema.decode(message.value())))
        consumer.close()
        self.assertFalse(open_partitions)
        return got

    def file(self, *args):
        """What the same options give as files."""
        out, candles = self.dir / "s.avro", self.dir / "c.avro"
        subprocess.run([str(a) for a in [BIN / "l2replay", *args, "--json", "--output", out, "--candles", candles]], check=True,
                       stdout=subprocess.DEVNULL, timeout=120)
        return read_file(out), read_file(candles)

    def assert_same(self, want, got):
        """Symbol by symbol, in order."""
        for symbol in {row["symbol"] for row in want}:
            mine = [row for _, row in got if row["symbol"] == symbol]
            self.assertEqual([row for row in want if row["symbol"] == symbol], mine)
        self.assertEqual(len(want), len(got))

    def test_absent_topics(self):
        error = self.replay(*BTC, code=78)
        self.assertIn(self.prefix + "l2.snapshots", error)

    def test_topics_hold_what_a_file_holds(self):
        self.make_topics()
        args = [*BTC, *ETH, "--bar-seconds", "60", "--loop-hours", "0.15"]
        told = self.replay(*args)
        snapshots, candles = self.read("l2.snapshots", SNAPSHOT), self.read("l2.ohlcv", CANDLE)
        self.assertEqual(told["delivered"], len(snapshots) + len(candles))
        want_snapshots, want_candles = self.file(*args)
        self.assert_same(want_snapshots, snapshots)
        self.assert_same(want_candles, candles)
        for message, row in snapshots + candles:
            self.assertEqual(message.key(), row["symbol"].encode())
            self.assertEqual(message.partition(), (murmur2(message.key()) & 0x7FFFFFFF) % PARTITIONS)
            self.assertEqual(message.timestamp()[0], TIMESTAMP_CREATE_TIME)
            self.assertLess(abs(message.timestamp()[1] / 1000 - time.time()), 120)

    def test_nothing_before_its_virtual_time(self):
        """The demo's way: virtual start is the first event, real start a moment from now; speed 480."""
        self.make_topics()
        args = [*BTC, *ETH, "--loop-hours", "0.6"]
        plan = subprocess.run([str(a) for a in [BIN / "l2replay", *args, "--describe"]], check=True, capture_output=True, text=True)
        plan = json.loads(plan.stdout)
        real_start, virtual_start = time.time() + 1.5, plan["first_event_time_us"]
        told = self.replay(*args, env={"L2_CLOCK": f"{real_start:.6f}/{virtual_start / 1e6:.6f}/{SPEED}"})
        self.assertEqual(told["symbols"], plan["symbols"])
        # CreateTime is in whole milliseconds, rounded down
        real_start_us = round(real_start, 6) * 1e6
        rows = self.read("l2.snapshots", SNAPSHOT)
        self.assertEqual(len(rows), plan["snapshots"])
        late = []
        for message, row in rows:
            virtual_us = virtual_start + (message.timestamp()[1] * 1000 + 999 - real_start_us) * SPEED
            self.assertGreaterEqual(virtual_us, row["event_time"])
            late.append((virtual_us - row["event_time"]) / SPEED / 1e6)
        self.assertLess(sorted(late)[len(late) // 2], 0.1)  # real seconds, on a busy machine
        for message, row in self.read("l2.ohlcv", CANDLE):
            virtual_us = virtual_start + (message.timestamp()[1] * 1000 + 999 - real_start_us) * SPEED
            self.assertGreaterEqual(virtual_us, row["bar_time"] + row["bar_seconds"] * 1_000_000)

    def test_staggered_fan(self):
        """Event times are shifted, sending is not: all symbols keep one pace."""
        self.make_topics()
        self.replay(*BTC, "--symbols", "6", "--stagger-seconds", "60", "--records", "6000", "--speed", "20")
        sent = {}
        for message, row in self.read("l2.snapshots", SNAPSHOT):
            sent.setdefault(row["symbol"], []).append((message.timestamp()[1], row["event_time"], row["sequence"]))
        self.assertEqual(len(sent), 6)
        for i in range(6):
            for a, b in zip(sent["S000"], sent[f"S{i:03}"]):
                self.assertEqual((a[1] - b[1], a[2]), (10_000_000 * i, b[2]))
                self.assertLess(abs(a[0] - b[0]), 500)

    def test_interrupt_flushes(self):
        self.make_topics()
        child = subprocess.Popen(self.command(*BTC, "--speed", "1"), stdout=subprocess.PIPE, text=True)
        time.sleep(3)
        child.send_signal(signal.SIGTERM)
        told = json.loads(child.communicate(timeout=60)[0])
        self.assertEqual(child.returncode, 130)
        self.assertTrue(told["interrupted"])
        self.assertGreater(told["snapshots"], 0)
        self.assertEqual(len(self.read("l2.snapshots", SNAPSHOT)), told["snapshots"])

    def test_broken_input_after_a_good_part(self):
        """What was sent before the break is whole, and says so."""
        self.make_topics()
        cut = self.dir / "cut.gz"
        cut.write_bytes(BTC[1].read_bytes()[:1_500_000])
        error = self.replay("--input", cut, "--symbol", "BTCUSDT", code=65)
        self.assertRegex(error, r"cut\.gz:\d+: the gzip is truncated")
        rows = self.read("l2.snapshots", SNAPSHOT)
        self.assertIn(f"{len(rows)} snapshots and", error)
        self.assertEqual([row for _, row in rows], self.file(*BTC)[0][:len(rows)])

    def test_the_clock_s_end_ends_it(self):
        """A rehearsal whose virtual time reaches its real start is over: drained, and said."""
        self.make_topics()
        now = time.time()
        told = self.replay("--source", "synthetic", "--symbols", "1", "--hours", "1", "--start", str(int(now) - 1000), env={
            "L2_CLOCK": f"{now:.6f}/{now - 1000:.6f}/500"})
        self.assertTrue(told["clock_over"])
        self.assertLess(told["snapshots"], 10_500)
        self.assertEqual(len(self.read("l2.snapshots", SNAPSHOT)), told["snapshots"])


if __name__ == "__main__":
    unittest.main()
