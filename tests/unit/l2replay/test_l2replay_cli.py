"""l2replay's command line: what it refuses, with which words and exit code, and that no half-made file is left behind.

Seen to fail: a truncated gzip taken for the end of the file, the output renamed before the input's end was seen, a REST
answer that is too old accepted, a crossed book sent.
"""

import gzip
import json
import operator
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import unittest

import fastavro
import fastavro.read

fastavro.read.LOGICAL_READERS.pop("long-timestamp-micros", None)

ROOT = pathlib.Path(__file__).resolve().parents[3]
BTC = ROOT / "tests" / "data" / "usdm_btcusdt_20240808.gz"
ETH = ROOT / "tests" / "data" / "usdm_ethusdt_20240808.gz"
L2REPLAY = pathlib.Path(os.environ["L2FLOW_BIN"]) / "l2replay"

NS = 1_700_000_000_000_000_000


def rest(last, bids=(("10", "1"),), asks=(("11", "1"),), second=0):
    message = {"lastUpdateId": last, "bids": [list(p) for p in bids], "asks": [list(p) for p in asks]}
    return f"{NS + second * 10**9} {json.dumps(message)}"


def depth(first, last, previous, bids=(), asks=(), second=1, symbol="X"):
    message = {"e": "depthUpdate", "E": 1_700_000_000_000 + second * 1000, "s": symbol, "U": first, "u": last,
               "b": [list(p) for p in bids], "a": [list(p) for p in asks]}
    if previous is not None:
        message["pu"] = previous
    return f"{NS + second * 10**9} {json.dumps({'stream': 'x@depth', 'data': message})}"


def trade(price, quantity, maker, second=1, kind="MARKET"):
    message = {"e": "trade", "E": 1_700_000_000_000 + second * 1000, "s": "X", "p": price, "q": quantity, "m": maker, "X": kind}
    return f"{NS + second * 10**9} {json.dumps({'stream': 'x@trade', 'data': message})}"


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        self.out = self.dir / "out.avro"

    def run_it(self, *args, env=None):
        return subprocess.run([L2REPLAY, *map(str, args)], capture_output=True, text=True, timeout=120,
                              env={**os.environ, **(env or {})})

    def file(self, *lines, name="in"):
        path = self.dir / name
        path.write_text("".join(line + "\n" for line in lines))
        return path

    def good(self, path, *more):
        done = self.run_it("--input", path, "--symbol", "X", "--output", self.out, "--json", *more)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with open(self.out, "rb") as file:
            return list(fastavro.reader(file)), json.loads(done.stdout)

    def refused(self, code, pattern, *args, env=None):
        """Ends with the code, says the pattern, and leaves nothing in the output's folder."""
        before = sorted(self.dir.iterdir())
        done = self.run_it(*args, env=env)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertRegex(done.stderr, pattern)
        self.assertEqual(sorted(self.dir.iterdir()), before)
        return done

    def broken(self, pattern, *lines):
        self.refused(65, pattern, "--input", self.file(*lines), "--symbol", "X", "--output", self.out)


class BrokenInput(Case):
    def test_truncated_gzip(self):
        whole = BTC.read_bytes()
        for size in (len(whole) - 1, len(whole) - 9, len(whole) // 2, 1000):
            path = self.dir / f"cut{size}.gz"
            path.write_bytes(whole[:size])
            done = self.refused(65, rf"cut{size}\.gz:\d+: the gzip is truncated after \d+ whole lines \(byte {size}\)",
                                "--input", path, "--symbol", "BTCUSDT", "--output", self.out)
            self.assertIn("no file was made", done.stderr)

    def test_truncation_spares_the_file_that_was_there(self):
        self.out.write_bytes(b"older")
        path = self.dir / "cut.gz"
        path.write_bytes(BTC.read_bytes()[:100_000])
        self.refused(65, "truncated", "--input", path, "--symbol", "BTCUSDT", "--output", self.out)
        self.assertEqual(self.out.read_bytes(), b"older")

    def test_damaged_gzip(self):
        whole = bytearray(BTC.read_bytes())
        whole[len(whole) // 2] ^= 0x55
        path = self.dir / "bad.gz"
        path.write_bytes(whole)
        self.refused(65, r"bad\.gz:\d+: ", "--input", path, "--symbol", "BTCUSDT", "--output", self.out)

    def test_wrong_kind(self):
        avro = self.dir / "an.avro"
        self.assertEqual(self.run_it("--source", "synthetic", "--hours", "0.01", "--output", avro).returncode, 0)
        self.refused(65, r"an\.avro:1: not '<receive time in ns> <JSON>': is it a Binance websocket recording",
                     "--input", avro, "--symbol", "X", "--output", self.out)
        self.broken(r"in:1: not '<receive time", "exchange,symbol,timestamp", "binance,X,1")
        self.broken("no depthUpdate message", '1 {"stream":"s","data":{"e":"markPriceUpdate","s":"X"}}')
        self.broken("no snapshot of X could be made of 0 lines")

    def test_missing_symbol(self):
        self.refused(65, r"usdm_btcusdt_20240808\.gz:1: symbol ETHUSDT is not in it, BTCUSDT is: say --symbol BTCUSDT",
                     "--input", BTC, "--symbol", "ETHUSDT", "--output", self.out)
        # the second of two: nothing of the first is left either
        self.refused(65, r"usdm_ethusdt\S+:1: symbol XRPUSDT is not in it", "--input", BTC, "--symbol", "BTCUSDT",
                     "--input", ETH, "--symbol", "XRPUSDT", "--output", self.out, "--candles", self.dir / "c.avro")

    def test_two_symbols_in_one_file(self):
        self.broken(r"in:3: a message of Y in a recording of X", rest(5), depth(6, 7, 5), depth(6, 7, 5, symbol="Y"))

    def test_malformed_line(self):
        self.broken(r"in:3: malformed JSON at byte \d+", rest(5), depth(6, 7, 5), depth(8, 9, 7)[:-5])
        self.broken(r"in:2: 'b' price '-1'", rest(5), depth(6, 7, 5, bids=[("-1", "1")]))
        self.broken(r"in:2: trade quantity 'q'", rest(5), trade("1", "x", True))

    def test_line_without_an_end(self):
        path = self.dir / "in"
        path.write_text(rest(5) + "\n" + depth(6, 7, 5))  # whole, but for its newline
        self.assertEqual(len(self.good(path)[0]), 1)

    def test_gzip_and_plain_are_alike(self):
        lines = [rest(5), depth(6, 7, 5), trade("10", "2", False), depth(8, 9, 7)]
        plain = self.good(self.file(*lines))[0]
        packed = self.dir / "in.gz"
        packed.write_bytes(gzip.compress("\r\n".join(lines).encode()))
        self.assertEqual(self.good(packed)[0], plain)

    def test_why_there_is_no_snapshot(self):
        self.broken("no REST depth answer", depth(6, 7, 5))
        self.broken("older than the depthUpdate messages", rest(5), depth(9, 10, 8))
        self.broken("older than the depthUpdate messages", depth(9, 10, 8), rest(5))
        self.broken("no depthUpdate message follows", depth(1, 4, 0), rest(5))
        self.broken("never good", rest(5, asks=()), depth(6, 7, 5))

    def test_absent_input(self):
        self.refused(66, r"nope\.gz: No such file", "--input", "nope.gz", "--symbol", "X", "--output", self.out)
        self.refused(66, "Is a directory", "--input", self.dir, "--symbol", "X", "--output", self.out)

    def test_output_that_cannot_be_made(self):
        self.refused(73, "nowhere", "--input", BTC, "--symbol", "BTCUSDT", "--output", "nowhere/out.avro")


class Sequences(Case):
    def test_gap_begins_a_new_epoch_with_the_next_rest(self):
        path = self.file(rest(5), depth(6, 7, 5, second=1), depth(9, 10, 8, second=2), depth(11, 12, 10, second=3),
                         rest(12, bids=[("9", "7")], second=4), depth(13, 14, 12, second=5))
        rows, told = self.good(path)
        self.assertEqual([(r["sequence"], r["epoch"]) for r in rows], [(7, 1_700_000_000), (14, 1_700_000_004)])
        self.assertEqual(rows[1]["bids"], [{"price": 9.0, "quantity": 7.0}])  # nothing of the old book
        self.assertEqual(told["recordings"][0]["gaps"], 1)
        self.assertRegex(told["recordings"][0]["first_gap"], r"in:3$")
        text = self.run_it("--input", path, "--symbol", "X", "--output", self.out).stdout
        self.assertRegex(text, r"X: 1 sequence gap\(s\), the first at \S+in:3")

    def test_crossed_and_one_sided_books_are_left_out(self):
        path = self.file(rest(5), trade("10", "2", True), depth(6, 7, 5, bids=[("11", "1")], second=1),
                         depth(8, 9, 7, bids=[("11", "0")], second=2), trade("11", "3", False, second=2),
                         depth(10, 11, 9, asks=[("11", "0")], second=3), depth(12, 13, 11, asks=[("12", "1")], second=4))
        rows, told = self.good(path)
        self.assertEqual([r["sequence"] for r in rows], [9, 13])
        self.assertEqual((told["recordings"][0]["crossed"], told["recordings"][0]["empty_side"]), (1, 1))
        # flow waits for the next book that can be sent
        self.assertEqual([(r["flow"]["sell_base"], r["flow"]["buy_base"]) for r in rows], [(2.0, 0.0), (0.0, 3.0)])

    def test_flow_is_null_before_trades_are_known_to_be_recorded(self):
        rows, told = self.good(self.file(rest(5), depth(6, 7, 5), trade("10", "1", False, kind="INSURANCE_FUND"),
                                         depth(8, 9, 7), trade("10", "1", False), depth(10, 11, 9), depth(12, 13, 11)))
        self.assertEqual([r["flow"] and r["flow"]["trade_count"] for r in rows], [None, None, 1, 0])
        self.assertEqual(told["recordings"][0]["not_market"], 1)

    def test_spot_rule(self):
        rows, told = self.good(self.file(rest(5), depth(4, 7, None), depth(8, 9, None), depth(11, 12, None)))
        self.assertEqual([r["sequence"] for r in rows], [7, 9])
        self.assertEqual(told["recordings"][0]["gaps"], 1)


class Usage(Case):
    def test_lines_that_make_no_sense(self):
        out = ["--output", self.out]
        for pattern, args in [
            ("no --input", out),
            ("whose is it", ["--input", BTC, *out]),
            ("no --input for it", ["--symbol", "X", *out]),
            ("nowhere to send it", ["--input", BTC, "--symbol", "X"]),
            ("stands twice", ["--input", BTC, "--symbol", "X", "--input", ETH, "--symbol", "X", *out]),
            ("not 1 to 32 of", ["--input", BTC, "--symbol", "a b", *out]),
            ("--source 'csv'", ["--source", "csv", *out]),
            ("--depth '1001': not a whole number from 1 to 1000", ["--depth", "1001"]),
            ("--speed '2000'", ["--speed", "2000"]),
            ("--bar-seconds '90': not a multiple of 60", ["--bar-seconds", "90"]),
            ("give one of them", ["--input", BTC, "--symbol", "X", "--topic", *out]),
            ("reads no --input", ["--source", "synthetic", "--input", BTC, *out]),
            ("--start 'x'", ["--source", "synthetic", "--start", "x", *out]),
            ("for recordings", ["--source", "synthetic", "--thin", "5", *out]),
            ("--invalid 'nun': no such kind", ["--source", "synthetic", "--invalid", "nun", *out]),
            ("a file can hold none", ["--source", "synthetic", "--invalid", "tombstone,too_large", *out]),
            ("need --invalid", ["--source", "synthetic", "--invalid-every", "2", *out]),
            ("a feed that never sends", ["--source", "synthetic", "--cadence", "0:5", *out]),
            ("not epoch:SECONDS", ["--source", "synthetic", "--restart", "5", *out]),
            ("are for --source synthetic", ["--input", BTC, "--symbol", "X", "--cadence", "1:5", *out]),
            ("are for --source synthetic", ["--input", BTC, "--symbol", "X", "--drift", "0:5:2", *out]),
            ("--stall '1:5': not SYMBOL:FROM:SECONDS", ["--source", "synthetic", "--stall", "1:5", *out]),
            ("--drift '1:5:1': not FROM:SECONDS:FACTOR", ["--source", "synthetic", "--drift", "1:5:1", *out]),
            ("--rate-hz '0.001': not a number from 0.01", ["--source", "synthetic", "--rate-hz", "0.001", *out]),
        ]:
            self.refused(64, re.escape(pattern), *args)

    def test_configuration(self):
        conf = self.dir / "l2.conf"
        conf.write_text("kafka.bootstrap.servers = 127.0.0.1:1\nnonsense = 1\n")
        topic = ["--input", BTC, "--symbol", "BTCUSDT", "--topic"]
        self.refused(78, r"l2\.conf:2: .*nonsense", *topic, "--config", conf)
        conf.write_text("kafka.bootstrap.servers = 127.0.0.1:1\n")
        self.refused(69, r"127\.0\.0\.1:1", *topic, "--config", conf)
        clock = {"L2_CLOCK": "2026-01-01T00:00:00Z/2024-08-08T23:54:16Z/480"}
        self.refused(78, "leave one out", *topic, "--speed", "2", env=clock)
        self.refused(78, "L2_PROFILE = production", *topic, env={**clock, "L2_PROFILE": "production"})
        self.refused(78, "L2_CLOCK|clock", *topic, env={"L2_CLOCK": "nonsense"})

    def test_help_teaches(self):
        done = self.run_it("--help")
        self.assertEqual(done.returncode, 0)
        for word in ("Examples:", "l2replay --input", "Exit codes:", "--loop-hours", "L2_CLOCK"):
            self.assertIn(word, done.stdout)
        self.assertRegex(self.run_it("--version").stdout, r"^l2replay \d")

    def test_symbol_may_stand_on_either_side(self):
        for args in (["--input", BTC, "--symbol", "BTCUSDT", "--input", ETH, "--symbol", "ETHUSDT"],
                     ["--symbol", "BTCUSDT", "--input", BTC, "--symbol", "ETHUSDT", "--input", ETH]):
            told = json.loads(self.run_it(*args, "--describe").stdout)
            self.assertEqual({k: v["snapshots"] for k, v in told["symbols"].items()}, {"BTCUSDT": 6545, "ETHUSDT": 6579})


class Runs(Case):
    def test_describe(self):
        told = json.loads(self.run_it("--input", BTC, "--symbol", "BTCUSDT", "--describe", "--loop-hours", "8").stdout)
        self.assertEqual(told["first_event_time"], "2024-08-08T23:54:16.612000Z")
        self.assertEqual(told["first_event_time_us"], 1723161256612000)
        self.assertLess(told["last_event_time_us"], 1723161256612000 + 8 * 3_600_000_000)
        self.assertGreater(told["last_event_time_us"], 1723161256612000 + 8 * 3_600_000_000 - 1_000_000)
        self.assertEqual(told["symbols"]["BTCUSDT"]["candles"], 32)

    def synthetic(self, *args):
        """Snapshots by symbol, and candles, of two hours of a slow market."""
        candles = self.dir / "candles.avro"
        self.run_it("--source", "synthetic", "--rate-hz", "0.5", "--hours", "2", "--output", self.out, "--candles", candles, *args)
        with open(self.out, "rb") as f, open(candles, "rb") as g:
            rows, of_trades = list(fastavro.reader(f)), list(fastavro.reader(g))
        return {symbol: [r for r in rows if r["symbol"] == symbol] for symbol in {r["symbol"] for r in rows}}, of_trades

    def test_stall_and_drift(self):
        """Seen to fail: stalls of every symbol, stalls whose flow is lost, a drift that changes nothing."""
        def after(row):
            return (row["event_time"] - first) / 1e6

        whole, candles = self.synthetic()
        stalled, same = self.synthetic("--stall", "1:1800:3600")
        drifted, _ = self.synthetic("--drift", "3600:1800:8")
        first = min(rows[0]["event_time"] for rows in whole.values())
        a, b = sorted(whole)
        self.assertLess(abs(len(whole[a]) - 3600), 300)  # silences of its own
        self.assertEqual(stalled[a], whole[a])
        order = operator.itemgetter("bar_time", "symbol")
        self.assertEqual(sorted(same, key=order), sorted(candles, key=order))
        gone = [r for r in whole[b] if 1800 <= after(r) < 5400]
        self.assertGreater(len(gone), 1000)
        self.assertEqual(len(stalled[b]), len(whole[b]) - len(gone))
        back = next(r for r in stalled[b] if after(r) >= 5400)
        missed = gone + [r for r in whole[b] if r["event_time"] == back["event_time"]]
        self.assertAlmostEqual(back["flow"]["buy_base"], sum(r["flow"]["buy_base"] for r in missed), places=6)
        inside = [sum(level["quantity"] for level in r["bids"]) for r in drifted[a] if 3700 <= after(r) < 5400]
        outside = [sum(level["quantity"] for level in r["bids"]) for r in drifted[a] if after(r) < 3600]
        self.assertLess(sum(inside) / len(inside), 0.3 * sum(outside) / len(outside))
        self.assertEqual([r for r in drifted[a] if after(r) < 3600], [r for r in whole[a] if after(r) < 3600])

    def test_fan_and_records(self):
        done = self.run_it("--input", BTC, "--symbol", "BTCUSDT", "--symbols", "4", "--stagger-seconds", "60",
                           "--records", "30000", "--output", self.out, "--json")
        told = json.loads(done.stdout)
        self.assertEqual(told["snapshots"], 30000)
        self.assertEqual(list(told["symbols"]), ["S000", "S001", "S002", "S003"])
        with open(self.out, "rb") as file:
            rows = list(fastavro.reader(file))
        by = {name: [r for r in rows if r["symbol"] == name] for name in told["symbols"]}
        for i, name in enumerate(by):
            self.assertEqual(len(by[name]), 7500)  # past the recording's 6,545: a second loop
            self.assertGreater(by[name][-1]["epoch"], by[name][0]["epoch"])
            self.assertTrue(all(a["event_time"] < b["event_time"] or a["epoch"] == b["epoch"]
                                for a, b in zip(by[name], by[name][1:])))
            for a, b in zip(by["S000"], by[name]):
                self.assertEqual(a["event_time"] - b["event_time"], 15_000_000 * i)
                self.assertEqual((a["sequence"], a["bids"], a["flow"]), (b["sequence"], b["bids"], b["flow"]))

    def test_synthetic_is_reproducible(self):
        outputs = []
        for seed in ("7", "7", "8"):
            done = self.run_it("--source", "synthetic", "--seed", seed, "--symbols", "3", "--hours", "0.2", "--output", self.out)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            outputs.append(self.out.read_bytes())
        self.assertEqual(outputs[0], outputs[1])
        self.assertNotEqual(outputs[0], outputs[2])

    def test_invalid_between_good(self):
        """The good ones are as without the others, these are as many as told, and the seed is all they depend on."""
        common = ["--source", "synthetic", "--records", "600", "--json", "--output", self.out]
        self.run_it(*common)
        with open(self.out, "rb") as file:
            good = list(fastavro.reader(file))
        runs = []
        for _ in range(2):
            done = self.run_it(*common, "--invalid", "all", "--invalid-every", "7", "--invalid-burst", "3")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            with open(self.out, "rb") as file:
                runs.append(list(fastavro.reader(file)))
            invalid = json.loads(done.stdout)["invalid"]
            self.assertEqual(sum(invalid.values()), 600 // 7 * 3)
            self.assertLessEqual({"nan", "locked", "late", "new_symbol"}, set(invalid))
            self.assertFalse({"tombstone", "other_key", "wrong_partition"} & set(invalid))
        self.assertEqual(str(runs[0]), str(runs[1]))  # as text, in which a NaN is itself
        kept = [row for i, row in enumerate(runs[0]) if i % 10 < 7]
        self.assertEqual(kept, good)

    def test_synthetic_names_and_start(self):
        told = json.loads(self.run_it("--source", "synthetic", "--symbol", "A", "--symbol", "B", "--hours", "0.01", "--start",
                                      "2025-06-01T00:00:00Z", "--describe").stdout)
        self.assertEqual(list(told["symbols"]), ["A", "B"])
        self.assertEqual(told["first_event_time"][:19], "2025-06-01T00:00:00")

    def test_speed_and_rate_pace(self):
        """0.03 h at 100 times real time last about a second; a cap of 1,000 a second holds for 1,000 records."""
        for args, seconds in ((["--hours", "0.03", "--speed", "100"], 1.07), (["--records", "1001", "--rate", "1000"], 1.0)):
            started = time.monotonic()
            done = self.run_it("--source", "synthetic", "--symbols", "1", *args, "--output", self.out)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertGreaterEqual(time.monotonic() - started, seconds)

    def test_interrupted_leaves_nothing(self):
        child = subprocess.Popen([L2REPLAY, "--source", "synthetic", "--hours", "1", "--speed", "1", "--output", self.out],
                                 stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 30
        while not list(self.dir.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        self.assertIn("interrupted", child.communicate(timeout=30)[0])
        self.assertEqual(child.returncode, 130)
        self.assertEqual(list(self.dir.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
