"""bar-archiver --import on a real PostgreSQL, with and without TimescaleDB where that is installed.

Seen to fail: without the search for differing rows, with provenance compared, with ORDER BY ba_seq DESC, without the split of a
rejected batch; with two columns swapped in COPY's list (imbalances; high and low); with DO UPDATE for ON CONFLICT DO NOTHING (the role
has no right to it: nothing is stored), and with that right granted and the trigger gone (refused 4 for 5, no exit code 65); without
the look at the tables (at the start, and before rows are blamed), with a file's record number left at 0, without the look at what a
row says.
"""

import copy
import json
import pathlib
import re
import sys
import tempfile
import unittest

import l2ba
import l2live
import l2pg

ROWS = 3000


class Import(unittest.TestCase):
    timescale = False

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.scratch.cleanup)
        cls.folder = pathlib.Path(cls.scratch.name)
        cls.archive = cls.enterClassContext(l2ba.Archive(cls.folder, timescale=cls.timescale))

    def setUp(self):
        if self.archive.count("l2_snapshots") + self.archive.count("ohlcv") > 0:
            self.archive.fresh()

    def file(self, stem, records):
        path = self.folder / f"{stem}.{self.id().rsplit('.', 1)[1]}.{len(list(self.folder.iterdir()))}.avro"
        l2live.write_records(path, stem, records)
        return path

    def imported(self, *paths, code=0, settings=""):
        done = l2ba.imported(self.folder, self.archive, paths, settings)
        self.assertEqual(done.returncode, code, done.stderr)
        return {m[0]: tuple(map(int, m[1:])) for m in
                re.findall(r"(?m)^(\w+) +(\d+) new +(\d+) same +(\d+) refused +(\d+) rejected$", done.stdout)}, done.stderr

    def test_every_column_and_twice(self):
        bars, candles = l2ba.make_bars(ROWS), l2ba.make_candles(ROWS)
        paths = [self.file("l2_bar", bars), self.file("candle", candles)]
        said, _ = self.imported(*paths, settings="batch_rows = 700\n")
        self.assertEqual(said, {"l2_snapshots": (ROWS, 0, 0, 0), "ohlcv": (ROWS, 0, 0, 0)})
        l2ba.assert_archived(self.archive, "l2_snapshots", bars)
        l2ba.assert_archived(self.archive, "ohlcv", candles)
        said, _ = self.imported(*paths)
        self.assertEqual(said, {"l2_snapshots": (0, ROWS, 0, 0), "ohlcv": (0, ROWS, 0, 0)})
        l2ba.assert_archived(self.archive, "l2_snapshots", bars)

    def test_a_change_is_refused(self):
        bars = l2ba.make_bars(100)
        self.imported(self.file("l2_bar", bars))
        changed = copy.deepcopy(bars)
        changed[3]["mid_price"] = 12345.0
        changed[4]["mid_price"] = None if bars[4]["mid_price"] is not None else 1.0
        changed[5]["spread_sketch"] += b"x"
        changed[6]["coverage"] = 0.123
        changed[7]["gaps"] += 1
        # provenance may differ: a row is the same whoever closed it, and wherever it was read
        changed[8].update(last_event_time=None, closed_by="clock", source_partition=99, source_offset=1)
        changed[9]["resume"] = dict(changed[9]["resume"], epoch=1, sequence=2)
        # 0 and -0 are one value, a new schema_version is another row
        changed[10].update(schema_version="l2_schema_v1+w60")
        said, log = self.imported(self.file("l2_bar", changed), code=65)
        self.assertEqual(said, {"l2_snapshots": (1, 94, 5, 0)})
        l2ba.assert_archived(self.archive, "l2_snapshots", bars + [changed[10]])
        self.assertEqual(log.count('"change_refused"'), 5)
        for i in (3, 4, 5, 6, 7):
            self.assertRegex(log, f'"change_refused".*"symbol":"{bars[i]["symbol"]}"')

    def test_every_column_but_provenance_counts(self):
        bars = l2ba.make_bars(1)
        self.imported(self.file("l2_bar", bars))
        for column in ("mid_price", "spread_bps", "depth_imbalance_l1", "depth_imbalance_l5", "ofi_15m", "kyle_lambda",
                       "snapshots", "gaps", "coverage", "spread_sketch"):
            value = {"spread_sketch": b"other", "coverage": 0.4321}.get(column, 77)
            with self.subTest(column):
                said, _ = self.imported(self.file("l2_bar", [dict(bars[0], **{column: value})]), code=65)
                self.assertEqual(said, {"l2_snapshots": (0, 0, 1, 0)})

    def test_the_first_of_a_batch_wins(self):
        candles = l2ba.make_candles(20)
        doubled = candles + [dict(c, base_volume=c["base_volume"] + 1) for c in candles[:5]] + candles[5:8]
        said, _ = self.imported(self.file("candle", doubled), code=65)
        self.assertEqual(said, {"ohlcv": (20, 3, 5, 0)})
        l2ba.assert_archived(self.archive, "ohlcv", candles)

    def test_a_bad_row_stands_alone(self):
        candles = l2ba.make_candles(500)
        bad = [dict(candles[17], exchange=""), dict(candles[300], exchange="B\0"), dict(candles[301], symbol="A\0B")]
        mixed = candles[:100] + bad[:1] + candles[100:400] + bad[1:] + candles[400:]
        said, log = self.imported(self.file("candle", mixed), code=65)
        self.assertEqual(said, {"ohlcv": (500, 0, 0, 3)})
        l2ba.assert_archived(self.archive, "ohlcv", candles)
        self.assertEqual(log.count('"row_rejected"'), 3)

    def test_a_table_at_fault_blames_no_row(self):
        bars, candles = l2ba.make_bars(50), l2ba.make_candles(50)
        for table, change, back, said in (
                ("ohlcv", "ADD COLUMN venue text NOT NULL", "DROP COLUMN venue", "column venue, which is not ours, is NOT NULL"),
                ("l2_snapshots", "ALTER COLUMN gaps TYPE integer", "ALTER COLUMN gaps TYPE bigint",
                 "column gaps is of type integer, not bigint"),
                ("l2_snapshots", "ALTER COLUMN kyle_lambda SET NOT NULL", "ALTER COLUMN kyle_lambda DROP NOT NULL",
                 "column kyle_lambda is NOT NULL"),
                ("ohlcv", "RENAME COLUMN close TO last", "RENAME COLUMN last TO close", "column close is missing")):
            with self.subTest(change):
                self.archive.psql(f"ALTER TABLE {table} {change}")
                found, log = self.imported(self.file("candle", candles), self.file("l2_bar", bars), code=78)
                self.assertIn(f"table {table}: {said}", log)
                self.assertEqual((found, self.archive.count("ohlcv")), ({}, 0))
                self.archive.psql(f"ALTER TABLE {table} {back}")
        self.archive.psql("ALTER TABLE ohlcv ADD COLUMN venue text NOT NULL DEFAULT 'x', ADD COLUMN note text")
        self.imported(self.file("candle", candles), self.file("l2_bar", bars))
        self.archive.psql("ALTER TABLE ohlcv DROP COLUMN venue, DROP COLUMN note")

    def test_what_is_not_told_is_counted(self):
        candles = [dict(c, bar_seconds=0) for c in l2ba.make_candles(300)]
        _, log = self.imported(self.file("candle", candles), settings="batch_rows = 20\n", code=65)
        lines = [json.loads(line) for line in log.splitlines() if '"row_rejected"' in line]
        self.assertEqual([line["offset"] for line in lines], [0, 1, 2, 3, 4, 5, 6, 7, 20, 21])  # eight a batch, ten a minute

    def test_what_cannot_be_true_is_not_stored(self):
        (candle,), (bar,) = l2ba.make_candles(1), l2ba.make_bars(1)
        nan, inf = float("nan"), float("inf")
        bad_candles = [dict(candle, **{k: v}) for k, v in (
            ("close", nan), ("high", inf), ("low", 0.0), ("low", -5.0), ("open", candle["high"] * 2), ("close", candle["low"] / 2),
            ("base_volume", -1.0), ("base_volume", nan), ("quote_volume", inf), ("taker_buy_base", -1e-9), ("trade_count", -1),
            ("bar_seconds", 7), ("bar_seconds", -60), ("bar_time", l2ba.time_of(60_000_001)), ("bar_time", l2ba.time_of(-60_000_000)))]
        bad_bars = [dict(bar, **{k: v}) for k, v in (
            ("mid_price", nan), ("spread_bps", inf), ("depth_imbalance_l1", nan), ("depth_imbalance_l5", -inf), ("ofi_15m", nan),
            ("kyle_lambda", inf), ("snapshots", -5), ("gaps", -1), ("coverage", nan), ("coverage", 1.0000001), ("coverage", -0.1),
            ("bar_seconds", 90), ("bar_time", l2ba.time_of(1)))]
        said, log = self.imported(self.file("candle", bad_candles + [candle]), self.file("l2_bar", bad_bars + [bar]), code=65)
        self.assertEqual(said, {"ohlcv": (1, 0, 0, len(bad_candles)), "l2_snapshots": (1, 0, 0, len(bad_bars))})
        l2ba.assert_archived(self.archive, "ohlcv", [candle])
        l2ba.assert_archived(self.archive, "l2_snapshots", [bar])
        self.assertIn("a price is not finite and above 0", log)

    def test_refused_files(self):
        self.imported(self.folder / "nowhere.avro", code=66)
        self.imported(self.folder, code=66)
        heartbeat = {"exchange": "x", "symbol": "y", "time": l2ba.time_of(0), "newest_event_time": l2ba.time_of(0), "lag_ms": 0,
                     "state": "live"}
        _, log = self.imported(self.file("heartbeat", [heartbeat]), code=78)
        self.assertIn("only L2Bar and Candle", log)
        whole = self.file("candle", l2ba.make_candles(5000))
        broken = self.folder / "broken.avro"
        broken.write_bytes(whole.read_bytes()[:-5000])
        said, log = self.imported(broken, code=78)
        self.assertIn("broken.avro", log)
        self.assertGreater(self.archive.count("ohlcv"), 0)  # what stood before the damage is stored


@unittest.skipUnless(l2pg.has_timescale(), "TimescaleDB is not installed")
class ImportTimescale(Import):
    timescale = True

    def test_hypertables(self):
        self.assertEqual(self.archive.psql("SELECT count(*) FROM timescaledb_information.hypertables"), "2")


if __name__ == "__main__":
    sys.exit(unittest.main())
