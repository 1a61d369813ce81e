"""bar-archiver on a real Kafka and a real PostgreSQL: what the topics hold is in the tables, whatever dies meanwhile.

Seen to fail: with the mark committed when a batch is handed over instead of when it is stored (rows are lost; and while PostgreSQL
is stopped or frozen, offsets move), with the loop not polling while PostgreSQL is away (it leaves the group after
max.poll.interval.ms), with REJECT of a missing right taken for bad rows.
"""

import concurrent.futures
import http.server
import io
import json
import os
import pathlib
import random
import sys
import tempfile
import threading
import time
import unittest

import confluent_kafka
import fastavro

import l2ba
import l2kafka
import l2live

PARTITIONS = 3
KILLS = int(os.environ.get("L2FLOW_ARCHIVER_KILLS", "8"))
GROUP = "bar-archiver"
TOPICS = {"l2_snapshots": ("l2.bars", "l2_bar"), "ohlcv": ("l2.ohlcv", "candle")}


def send(bootstrap, prefix, table, records, raw=()):
    """The records, and raw bytes behind them, to the table's topic."""
    topic, stem = TOPICS[table]
    p = confluent_kafka.Producer(l2live.client(bootstrap, **{"enable.idempotence": True, "linger.ms": 5, "partitioner": "murmur2_random"}))
    for key, value in [(r["symbol"].encode(), l2live.encode(stem, r)) for r in records] + [(b"raw", r) for r in raw]:
        p.produce(prefix + topic, value, key)
        p.poll(0)
    assert p.flush(60) == 0


class Registry(http.server.ThreadingHTTPServer):
    """GET /schemas/ids/ID, or 503 while it is away."""

    def __init__(self, schemas):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                number = self.path.split("?")[0].rsplit("/", 1)[1]
                schema = schemas.get(int(number)) if number.isdecimal() else None
                code = 503 if outer.away else 200 if schema else 404
                body = json.dumps({"schema": schema} if code == 200 else {"error_code": 40403 if code == 404 else 50001, "message": "no"})
                self.send_response(code)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.away = False
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.scratch.cleanup)
        cls.folder = pathlib.Path(cls.scratch.name)
        cls.bootstrap = cls.enterClassContext(l2kafka.shared_or_own(cls.folder / "kafka"))
        cls.archive = cls.enterClassContext(l2ba.Archive(cls.folder, timescale=None))  # where it is installed; test_archiver_import has both

    def setUp(self):
        self.archive.fresh()
        self.prefix = f"{self.id().rsplit('.', 1)[1]}.{random.randrange(10**6)}."
        l2live.topics(self.bootstrap, self.prefix, PARTITIONS)

    def archiver(self, name="r0", **settings):
        """It runs already."""
        values = {"replica": name, "batch_rows": 200, "batch_ms": 50, "pg_statement_timeout_ms": 2000,
                  "kafka.max.poll.interval.ms": 10000, **settings}
        a = l2ba.Archiver(self.folder, self.archive, self.bootstrap, self.prefix, values, name=f"{self.id()}.{name}")
        return self.enterContext(a)

    def wait_committed(self, *archivers, seconds=60):
        def still_alive():
            for a in archivers:
                self.assertIsNone(a.process.poll(), a.tail())
        for topic, _ in TOPICS.values():
            l2live.wait_committed(self.bootstrap, self.prefix + GROUP, self.prefix + topic, PARTITIONS, seconds, still_alive)

    def committed(self):
        """Of both topics; a coordinator that does not answer is asked again."""
        while True:
            try:
                return [l2live.committed(self.bootstrap, self.prefix + GROUP, self.prefix + topic, PARTITIONS)
                        for topic, _ in TOPICS.values()]
            except confluent_kafka.KafkaException:
                time.sleep(0.3)

    def assert_archived(self, bars, candles):
        l2ba.assert_archived(self.archive, "l2_snapshots", bars)
        l2ba.assert_archived(self.archive, "ohlcv", candles)

    def wait_until(self, true, seconds=30, what=""):
        deadline = time.monotonic() + seconds
        while not true():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.1)

    def test_rows_are_the_records(self):
        bars, candles = l2ba.make_bars(2000), l2ba.make_candles(1500)
        changed = dict(bars[11], gaps=bars[11]["gaps"] + 1)
        foreign = l2live.encode("candle", candles[0])
        send(self.bootstrap, self.prefix, "l2_snapshots", bars + [changed, bars[12]], raw=[b"", b"noise", foreign, b"\0\0\0\0\1x"])
        send(self.bootstrap, self.prefix, "ohlcv", candles + [dict(candles[5], bar_seconds=-1)])
        a = self.archiver()
        a.wait_ready()
        self.wait_committed(a)
        self.assert_archived(bars, candles)
        self.assertEqual(a.labelled("l2flow_ba_rows_total"), {"l2_snapshots": 2000, "ohlcv": 1500})
        self.assertEqual(a.labelled("l2flow_ba_changes_refused_total"), {"l2_snapshots": 1, "ohlcv": 0})
        self.assertEqual(a.labelled("l2flow_ba_rows_rejected_total"), {"l2_snapshots": 0, "ohlcv": 1})
        self.assertEqual(a.labelled("l2flow_ba_undecodable_total"), {"l2.bars": 4, "l2.ohlcv": 0})
        self.assertEqual(a.labelled("l2flow_ba_rows_same_total"), {"l2_snapshots": 1, "ohlcv": 0})
        self.assertEqual(a.metric("l2flow_ba_database_up"), 1)
        self.assertEqual(a.stop(), 0, a.tail())
        log = a.log.read_text()
        for event in ("change_refused", "row_rejected", "record_skipped"):
            self.assertIn(f'"{event}"', log)
        # A drained archiver reads nothing twice
        a.start()
        more = l2ba.make_bars(100, first=10_000)
        send(self.bootstrap, self.prefix, "l2_snapshots", more)
        a.wait_ready()
        self.wait_committed(a)
        self.assertEqual(a.labelled("l2flow_ba_rows_same_total"), {"l2_snapshots": 0, "ohlcv": 0})
        self.assert_archived(bars + more, candles)

    def test_kills(self):
        r, bars, candles = random.Random(7), [], []
        a = self.archiver()
        for i in range(KILLS):
            bars += (more := l2ba.make_bars(1500, seed=i, first=i * 1000))
            send(self.bootstrap, self.prefix, "l2_snapshots", more)
            candles += (more := l2ba.make_candles(500, seed=i, first=i * 1000))
            send(self.bootstrap, self.prefix, "ohlcv", more)
            a.wait_ready()
            time.sleep(r.random() * 0.4)
            a.kill()
            a.start()
        self.wait_committed(a)
        self.assert_archived(bars, candles)
        self.assertEqual(a.stop(), 0, a.tail())

    def test_a_registry_is_waited_for(self):
        """Bars in Confluent's framing, of a schema with one field more: stored once the registry says what they are."""
        text = json.loads((l2live.SCHEMAS / "l2_bar.avsc").read_text())
        text["fields"].insert(3, {"name": "venue", "type": "string"})
        wider = fastavro.parse_schema(text, named_schemas={})

        def framed(number, bar):
            out = io.BytesIO()
            fastavro.schemaless_writer(out, wider, dict(bar, venue="spot"))
            return b"\0" + number.to_bytes(4, "big") + out.getvalue()

        bars, plain = l2ba.make_bars(300), l2ba.make_bars(50, first=5000)
        with Registry({7: json.dumps(text)}) as registry:
            registry.away = True
            a = self.archiver(schema_registry_url=registry.url)
            a.wait_ready()
            send(self.bootstrap, self.prefix, "l2_snapshots", plain, raw=[framed(7, b) for b in bars] + [framed(8, bars[0])])
            self.wait_until(lambda: '"registry_away"' in a.log.read_text(), what=a.tail())
            time.sleep(1)
            self.assertLess(self.archive.count("l2_snapshots"), 350)
            self.wait_until(lambda: a.metric("l2flow_ba_held_seconds") > 1, what=a.tail())
            self.wait_until(lambda: a.labelled("l2flow_registry_requests_total")["failed"] > 0, what=a.tail())
            registry.away = False
            self.wait_committed(a)
            self.assert_archived(bars + plain, [])
            self.assertEqual(a.labelled("l2flow_ba_undecodable_total"), {"l2.bars": 1, "l2.ohlcv": 0})
            self.wait_until(lambda: a.metric("l2flow_registry_ids_waiting") == 0, what=a.tail())
            self.wait_until(lambda: a.metric("l2flow_ba_held_seconds") == 0, what=a.tail())
            requests = a.labelled("l2flow_registry_requests_total")
            del requests["failed"]  # as many as the outage had time for
            self.assertEqual(requests, {"found": 1, "unknown": 1, "registered": 0})
            self.assertEqual(a.labelled("l2flow_registry_cache_total")["miss"], 2)
            self.assertEqual(a.stop(), 0, a.tail())

    def test_killed_between_reading_and_storing(self):
        bars, a = l2ba.make_bars(3000), self.archiver()
        a.wait_ready()
        lock = "BEGIN; LOCK TABLE l2_snapshots IN EXCLUSIVE MODE; SELECT pg_sleep(4); COMMIT"
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            locked = pool.submit(self.archive.psql, lock)
            time.sleep(0.5)
            send(self.bootstrap, self.prefix, "l2_snapshots", bars)
            self.wait_until(lambda: a.metric("l2flow_ba_batches_waiting") == 2, what=a.tail())
            time.sleep(1)
            a.kill()
            locked.result()
        a.start()
        a.wait_ready()
        self.wait_committed(a)
        self.assert_archived(bars, [])

    def test_postgresql_goes_and_comes(self):
        bars, candles, a = [], [], self.archiver()
        a.wait_ready()

        def more(i):
            bars.extend(new := l2ba.make_bars(800, seed=i, first=i * 1000))
            send(self.bootstrap, self.prefix, "l2_snapshots", new)
            candles.extend(new := l2ba.make_candles(300, seed=i, first=i * 1000))
            send(self.bootstrap, self.prefix, "ohlcv", new)

        server = self.archive.server
        for i, (away, back, seconds, is_idle) in enumerate(((server.kill, server.start, 2, False), (server.stop, server.start, 1, True),
                                                            (server.freeze, server.thaw, 14, True))):
            with self.subTest(away.__name__):
                more(3 * i)
                if is_idle:  # all is stored: not an offset may move until the server is back
                    self.wait_committed(a)
                stored = self.committed()
                away()
                try:
                    more(3 * i + 1)
                    self.wait_until(lambda: a.get("/readyz") is None, what=f"still ready: {a.tail()}")
                    held = stored if is_idle else self.committed()
                    time.sleep(seconds)  # longer than the session, too: 10 s
                    self.assertEqual(self.committed(), held, "committed while nothing can be stored")
                    self.assertIsNotNone(a.get("/healthz"))
                    self.assertIsNone(a.get("/readyz"))
                    self.assertEqual(a.metric("l2flow_ba_database_up"), 0)
                    self.assertEqual(a.metric("l2flow_ba_partitions"), 2 * PARTITIONS)
                finally:
                    back()
                more(3 * i + 2)
                self.wait_committed(a)
                self.assert_archived(bars, candles)
                self.wait_until(lambda: a.get("/readyz") is not None)
        self.assertEqual(a.stop(), 0, a.tail())

    def test_a_right_that_is_missing_loses_nothing(self):
        bars, a = l2ba.make_bars(300), self.archiver()
        a.wait_ready()
        self.archive.psql("REVOKE INSERT ON l2_snapshots FROM l2flow_archiver")
        send(self.bootstrap, self.prefix, "l2_snapshots", bars)
        self.wait_until(lambda: a.metric("l2flow_ba_batch_retries_total") > 1)
        self.assertIsNone(a.get("/readyz"))
        self.assertEqual(a.stop(), 75, a.tail())  # told to stop, it says that something is left
        a.start()
        self.archive.psql("GRANT INSERT ON l2_snapshots TO l2flow_archiver")
        self.wait_committed(a)
        self.assert_archived(bars, [])
        self.assertEqual(a.labelled("l2flow_ba_rows_rejected_total"), {"l2_snapshots": 0, "ohlcv": 0})

    def test_a_table_that_was_altered_loses_nothing(self):
        bars, a = l2ba.make_bars(300), self.archiver()
        a.wait_ready()
        self.archive.psql("ALTER TABLE l2_snapshots ADD COLUMN venue text NOT NULL")
        send(self.bootstrap, self.prefix, "l2_snapshots", bars)
        self.wait_until(lambda: a.metric("l2flow_ba_batch_retries_total") > 1)
        self.assertIn("column venue, which is not ours", a.tail())
        self.archive.psql("ALTER TABLE l2_snapshots DROP COLUMN venue")
        self.wait_committed(a)
        self.assert_archived(bars, [])
        self.assertEqual(a.labelled("l2flow_ba_rows_rejected_total"), {"l2_snapshots": 0, "ohlcv": 0})
        self.assertEqual(a.stop(), 0, a.tail())

    def test_two_replicas(self):
        bars, candles = [], []
        one, two = self.archiver("r0"), None
        one.wait_ready()

        def start_two():
            nonlocal two
            two = self.archiver("r1")

        def both():
            return one.metric("l2flow_ba_partitions") > 0 and two.metric("l2flow_ba_partitions") > 0

        for i, change in enumerate((start_two, one.stop, one.start, lambda: two.kill())):
            bars += (more := l2ba.make_bars(1000, seed=i, first=i * 1000))
            send(self.bootstrap, self.prefix, "l2_snapshots", more)
            candles += (more := l2ba.make_candles(400, seed=i, first=i * 1000))
            send(self.bootstrap, self.prefix, "ohlcv", more)
            change()
            time.sleep(1)
            if change in (start_two, one.start):
                self.wait_until(both, what=one.tail() + two.tail())
        self.wait_until(lambda: one.metric("l2flow_ba_partitions") == 2 * PARTITIONS, what=one.tail())  # the dead one's session
        self.wait_committed(one)
        self.assert_archived(bars, candles)
        self.assertEqual(one.stop(), 0, one.tail())

    def test_refused_starts(self):
        self.archive.psql("UPDATE schema_migrations SET hash = '0'")
        a = self.archiver()
        self.assertEqual(a.process.wait(30), 78, a.tail())
        self.archive.fresh()
        self.archive.server.stop()
        try:
            a = self.archiver("r1")
            self.assertEqual(a.process.wait(30), 69, a.tail())
        finally:
            self.archive.server.start()
        self.prefix = "nowhere."
        a = self.archiver("r2")
        self.assertEqual(a.process.wait(30), 78, a.tail())
        self.assertIn("l2ctl topics", a.tail())


if __name__ == "__main__":
    sys.exit(unittest.main())
