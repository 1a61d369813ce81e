"""l2monitor reference gives the same file from a container file, from a real PostgreSQL and from a real Kafka.

Seen to fail: with a month of the table left out, with the table's nulls read as 0, with the topic read from its end.
"""
import io
import json
import os
import pathlib
import random
import subprocess
import tempfile
import unittest

import fastavro
import fastavro.read
import fastavro.schema
from confluent_kafka import Producer

import l2ba
import l2kafka
import l2pg

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ["L2FLOW_BIN"])
BAR_US = 3600 * 10**6
SCHEMA = json.loads((ROOT / "schemas" / "l2_bar.avsc").read_text())
PARSED = fastavro.parse_schema(SCHEMA)
HEADER = b"\xc3\x01" + bytes.fromhex(
    fastavro.schema.fingerprint(fastavro.schema.to_parsing_canonical_form(SCHEMA), "CRC-64-AVRO"))


def bars(symbols=("AAAUSDT", "BBBUSDT"), days=70):
    """Made up: two cryptos, some nulls, doubles of every length, a schema version beside the one asked for."""
    rng = random.Random(1)
    for i in range(days * 24):
        for symbol in symbols:
            some = lambda: None if rng.random() < 0.05 else rng.gauss(0, 1) * 10 ** rng.randint(-7, 3)
            for version in ("l2_schema_v1", "l2_schema_v1+g10"):
                yield {"exchange": "made-up", "symbol": symbol, "bar_time": 1700006400000000 + i * BAR_US, "bar_seconds": 3600,
                       "schema_version": version, "mid_price": some(), "spread_bps": some(), "depth_imbalance_l1": some(),
                       "depth_imbalance_l5": some(), "ofi_15m": some(), "kyle_lambda": some(), "snapshots": rng.randrange(9000),
                       "gaps": 0, "coverage": 1.0, "spread_sketch": b"", "last_event_time": None, "closed_by": "event",
                       "source_partition": 0, "source_offset": i, "resume": {"epoch": 1, "sequence": i, "last_event_time": 5,
                                                                              "last_kafka_time": 5}}


class Sources(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        made = tempfile.TemporaryDirectory()
        cls.addClassCleanup(made.cleanup)
        cls.folder = pathlib.Path(made.name)
        cls.bars = list(bars())
        cls.file = cls.folder / "bars.avro"
        with open(cls.file, "wb") as out:
            fastavro.writer(out, PARSED, cls.bars)
        cls.want = cls.reference(cls.file)

    @classmethod
    def reference(cls, *source, code=0, **env):
        out = cls.folder / "r.json"
        out.unlink(missing_ok=True)
        done = subprocess.run([BIN / "l2monitor", "reference", *map(str, source), "-q", "-o", out, "--schema-version", "l2_schema_v1"],
                              capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **env})
        assert done.returncode == code, f"{done.returncode}: {done.stderr}"
        return out.read_text() if code == 0 else done.stderr

    def test_file(self):
        crypto = json.loads(self.want)["cryptos"]["AAAUSDT"]
        mine = [b for b in self.bars if b["symbol"] == "AAAUSDT" and b["schema_version"] == "l2_schema_v1"]
        self.assertEqual(crypto["features"]["ofi_15m"]["n"], sum(b["ofi_15m"] is not None for b in mine))

    def test_postgresql(self):
        try:
            l2pg.binary("initdb")
        except l2pg.PostgresError as missing:
            self.skipTest(str(missing))
        with l2ba.Archive(self.folder) as archive:
            l2ba.imported(self.folder, archive, [self.file])
            config = self.folder / "pg.conf"
            config.write_text(archive.settings())
            self.assertEqual(self.reference("postgres", "-c", config), self.want)
            only = self.reference("postgres", "-c", config, "-s", "BBBUSDT", "--from", "2023-11-20", "--days-min", "1")
            self.assertEqual(list(json.loads(only)["cryptos"]), ["BBBUSDT"])
        self.assertIn("l2monitor: ", self.reference("postgres", "-c", config, code=69))

    def test_kafka(self):
        with l2kafka.shared_or_own(self.folder / "kafka") as bootstrap:
            prefix = f"t{random.getrandbits(40):x}."
            env = {"L2_KAFKA_BOOTSTRAP_SERVERS": bootstrap, "L2_TOPIC_PREFIX": prefix}
            subprocess.run([BIN / "l2ctl", "topics", "apply"], check=True, capture_output=True, timeout=60, env={**os.environ, **env})
            producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.messages": 1000000})
            for bar in self.bars:
                out = io.BytesIO()
                fastavro.schemaless_writer(out, PARSED, bar)
                producer.produce(prefix + "l2.bars", HEADER + out.getvalue(), key=bar["symbol"])
            self.assertEqual(producer.flush(60), 0)
            self.assertEqual(self.reference("l2.bars", **env), self.want)
            producer.produce(prefix + "l2.bars", b"junk", key="AAAUSDT")
            self.assertEqual(producer.flush(60), 0)
            self.assertIn("l2.bars, partition", self.reference("l2.bars", code=78, **env))
        self.assertIn("No such file", self.reference("l2.bar", code=66))


if __name__ == "__main__":
    unittest.main(verbosity=2)
