"""l2monitor backtest: the episodes of a stored history are those of a batch over whole histories (tests/support/l2qm.py), whether it
comes from files, from topics or from PostgreSQL; what cannot be judged is said; wrong input has a clear error.

Seen to fail: see each test.
"""
import base64
import contextlib
import datetime
import hashlib
import html.parser
import json
import math
import os
import pathlib
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import unittest

import confluent_kafka
import fastavro

import l2ba
import l2kafka
import l2live
import l2pg
import l2qm
from l2qm import US

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ["L2FLOW_BIN"])
LANES = "cbfp"  # in which records of one time are folded
MONTH_S = 30 * 86400
LEVELS = {"warn": 0, "p2": 1}


def micros(text):
    return None if text is None else l2qm.micros(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")))


def write(folder, market, events, kinds=LANES):
    """One container file of each topic; the paths."""
    paths = []
    for kind in kinds:
        path = folder / f"{l2qm.STEMS[kind]}.avro"
        schema = fastavro.schema.load_schema(str(ROOT / "schemas" / f"{l2qm.STEMS[kind]}.avsc"))
        with open(path, "wb") as out:
            fastavro.writer(out, schema, [l2qm.record(market, e) for e in events if e["kind"] == kind])
        paths.append(path)
    return paths


def rollout(symbol, time_us, is_on):
    """A RolloutState record."""
    return {"exchange": l2qm.EXCHANGE, "symbol": symbol, "version": 1, "time": time_us, "incumbent": "no_l2", "challenger": "none",
            "stage": "idle", "stage_since": None, "effective_arm": "no_l2", "reason": "", "models": [], "kill_switch": is_on,
            "paused": is_on, "latch_cleared_through": None, "audit_id": 1, "audit_head": ""}


def write_rollout(path, states):
    """A container file of [(symbol, µs, kill_switch), …]; the path."""
    schema = fastavro.schema.load_schema(str(ROOT / "schemas" / "rollout_state.avsc"))
    with open(path, "wb") as out:
        fastavro.writer(out, schema, [rollout(*state) for state in states])
    return path


@contextlib.contextmanager
def topics(folder):
    """Topics of one's own: (environment, producer, prefix)."""
    with l2kafka.shared_or_own(folder / "kafka") as bootstrap:
        prefix = f"t{random.getrandbits(40):x}."
        env = {"L2_KAFKA_BOOTSTRAP_SERVERS": bootstrap, "L2_TOPIC_PREFIX": prefix}
        subprocess.run([BIN / "l2ctl", "topics", "apply"], check=True, capture_output=True, timeout=60, env={**os.environ, **env})
        yield env, confluent_kafka.Producer(l2live.client(bootstrap)), prefix


def run(*args, code=0, env=None, stderr=None, **more):
    done = subprocess.run([BIN / "l2monitor", "backtest", *map(str, args)], check=False, timeout=240, text=True, errors="surrogateescape",
                          env={**os.environ, **(env or {})}, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more})
    assert done.returncode == code, f"{done.returncode}, not {code}: {done.stderr}"
    if stderr is not None:
        assert stderr in done.stderr, done.stderr
    return done


def backtest(*args, env=None):
    return json.loads(run(*args, "--json", "-", "-q", env=env).stdout)


def derived(market, events):
    """The feature records that bars alone make."""
    rows, out = {}, []
    for event in events:
        out.append(event)
        if event["kind"] == "b" and (event["symbol"], event["bar"]) not in rows:
            rows[event["symbol"], event["bar"]] = event["row"]
            source = event["bar"] - market.purge
            row = rows.get((event["symbol"], source)) or {c: None for c in l2qm.COLUMNS}
            out.append({"kind": "f", "symbol": event["symbol"], "bar": event["bar"], "source": source, "row": row})
    return out


class Oracle:
    """What the batch says of the events in the order of their times, as episodes."""

    def __init__(self, market, events):
        self.bar_us = market.bar_s * US
        order = sorted(range(len(events)), key=lambda i: (events[i]["bar"], LANES.index(events[i]["kind"]), events[i]["symbol"], i))
        batch, self.outputs = l2qm.Batch(market), []
        for i in order:
            out = batch.fold(events[i])
            self.outputs += [w for w in out if w[0] == "T"] + [w for w in out if w[0] == "S"]
        # Each fold's outputs in the order in which they were said, a signal's change of state before its record.
        self.end = (max(e["bar"] for e in events) + 1) * self.bar_us
        self.start = min(e["bar"] for e in events) * self.bar_us

    def signals(self, first=None):
        """{signal: {(symbol, arm): [(time, value), …]}} after `first`."""
        found = {}
        for words in self.outputs:
            if words[0] == "S" and words[4] + self.bar_us > (self.start if first is None else first):
                found.setdefault(words[2], {}).setdefault((words[1], l2qm.ARMS[words[3]]), []).append((words[4] + self.bar_us, words[5]))
        return found

    def episodes(self, first=None):
        """Sorted tuples; only what lasts past `first`."""
        changes, values, found = {}, {}, []
        for words in self.outputs:
            key = words[1], words[2], l2qm.ARMS[words[3]]
            if words[0] == "T":
                changes.setdefault(key, []).append(words)
            else:
                values.setdefault(key, []).append(words)
        for key, list_ in changes.items():
            at = 0
            while at < len(list_):
                end = next((i for i in range(at, len(list_)) if list_[i][5] == "ok"), None)
                found.append(self.episode(key, list_[at:end], None if end is None else list_[end][6], values[key]))
                at = len(list_) if end is None else end + 1
        return sorted(e for e in found if first is None or (e["end"] or self.end) > first)

    def episode(self, key, states, end, values):
        last = self.end if end is None else end
        bounds = [s[6] for s in states] + [last]
        in_s = {"warn": 0.0, "p2": 0.0, "no_data": 0.0}
        for state, begin, stop in zip(states, bounds, bounds[1:]):
            in_s[state[5]] += (stop - begin) / US
        worst = max((s[5] for s in states), key=l2qm.STATES.index)
        return Episode(symbol=key[0], signal=key[1], arm=key[2], severity=worst, start=states[0][7], end=end, **in_s,
                       peak=self.peak(states[0][6], last, worst, values, end is None))

    def peak(self, begin, end, worst, values, is_open):
        if worst == "no_data":
            return None
        past = []
        for words in values:
            time_us, value = words[4] + self.bar_us, words[7] if words[2] == "l2_delta_f1_buy" else words[5]
            if not begin <= time_us < end + is_open or value is None or l2qm.STATES.index(words[14]) < l2qm.STATES.index(worst):
                continue
            below, above = words[10:12] if worst == "warn" else words[12:14]
            past += [(excess, value, threshold, (time_us, words[8])) for threshold, excess in
                     ((below, below is not None and below - value), (above, above is not None and value - above))
                     if threshold is not None and excess > 0]
        if not past:
            return None
        greatest = max(past, key=lambda p: p[0])
        return greatest[1], greatest[2], [at for excess, *_, at in past if math.isclose(excess, greatest[0], rel_tol=1e-9)]


class Episode(dict):
    def __lt__(self, other):
        return self.key() < other.key()

    def key(self):
        return self["start"], self["symbol"], self["signal"], self["arm"]


def said(report, at=0):
    """The episodes of a report, as the oracle has them."""
    found = []
    for e in report["runs"][at]["episodes"]:
        peak = e["peak"] and (e["peak"]["value"], e["peak"]["threshold"], micros(e["peak"]["time"]), e["peak"]["n"])
        found.append(Episode(symbol=e["symbol"], signal=e["signal"], arm=e["arm"], severity=e["severity"], start=micros(e["start"]),
                             end=micros(e["end"]), warn=e["warn_seconds"], p2=e["p2_seconds"], no_data=e["no_data_seconds"], peak=peak))
    return sorted(found)


def by_name(report, at=0):
    return {s["signal"]: s for s in report["runs"][at]["signals"]}


class Case(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.folder = pathlib.Path(made.name)

    def assert_same(self, got, want):
        """Episodes to 1e-9 in their peaks."""
        self.assertEqual([{**e, "peak": None} for e in got], [{**e, "peak": None} for e in want])
        for g, w in zip(got, want, strict=True):
            self.assertEqual(g["peak"] is None, w["peak"] is None, (g, w))
            if g["peak"]:
                self.assertIn(g["peak"][2:], w["peak"][2], (g, w))
                for x, y in zip(g["peak"][:2], w["peak"][:2], strict=True):
                    self.assertTrue(math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-12), (g, w))


class Files(Case):
    @classmethod
    def setUpClass(cls):
        cls.market = l2qm.Market(1, ("AAA", "BBB", "CCC"), days=11, late=False)
        cls.events = cls.market.events()
        cls.oracle = Oracle(cls.market, cls.events)
        made = tempfile.TemporaryDirectory()
        cls.addClassCleanup(made.cleanup)
        cls.shared = pathlib.Path(made.name)
        cls.paths = write(cls.shared, cls.market, cls.events)
        cls.reference = cls.market.write_reference(cls.shared / "reference.json")
        cls.report = backtest(*cls.paths, "-r", cls.reference)

    def test_episodes_are_the_batch_s(self):
        # faults: an episode's end a bar late; warn's threshold for a P2's peak
        want = self.oracle.episodes()
        self.assert_same(said(self.report), want)
        self.assertGreater(len(want), 50)
        self.assertGreater(len({e["signal"] for e in want}), 6)
        self.assertEqual({e["severity"] for e in want}, {"warn", "p2", "no_data"})

    def test_sums_are_those_of_the_episodes(self):
        # faults: the median of the lower half; months of 31 days; time before the first value counted
        signals, episodes = by_name(self.report), said(self.report)
        for name, by_key in self.oracle.signals().items():
            evaluated = signals[name]["evaluated"]
            valued = {key: [t for t, v in said_ if v is not None] for key, said_ in by_key.items()}
            self.assertEqual(evaluated["values"], sum(map(len, valued.values())), name)
            self.assertEqual(evaluated["cryptos"], len({key[0] for key, times in valued.items() if times}), name)
            seconds = sum((by_key[key][-1][0] - times[0] + self.oracle.bar_us) / US for key, times in valued.items() if times)
            self.assertAlmostEqual(evaluated["crypto_days"], seconds / 86400, 6, name)
            for severity in ("warn", "p2", "no_data"):
                mine = [e for e in episodes if e["signal"] == name and e["severity"] == severity]
                lengths = [((e["end"] or self.oracle.end) - e["start"]) / US for e in mine]
                got = signals[name][severity]
                self.assertEqual(got["episodes"], len(mine))
                self.assertEqual(got["cryptos"], len({e["symbol"] for e in mine}))
                self.assertEqual(got["open"], sum(e["end"] is None for e in mine))
                if mine:
                    self.assertEqual(got["median_seconds"], statistics.median(lengths))
                    self.assertEqual(got["longest_seconds"], max(lengths))
                    self.assertAlmostEqual(got["per_crypto_month"], len(mine) / (seconds / MONTH_S), 6)

    def test_what_does_not_fit_memory_is_sorted_on_disk(self):
        # faults: runs one after another instead of merged; a run's last record lost
        self.assertEqual(backtest(*self.paths, "-r", self.reference, "--memory", "1"), self.report)

    def test_files_may_come_in_any_order_and_in_pieces(self):
        # fault: records as they came, not by their times
        half = len(self.events) // 2
        paths = []
        for name, events in (("late", self.events[half:]), ("early", self.events[:half])):
            (self.folder / name).mkdir()
            paths += write(self.folder / name, self.market, events, "pfbc")
        self.assertEqual(backtest(*paths, "-r", self.reference), self.report)

    def test_from_looks_at_the_end_and_is_warm(self):
        # faults: the warm-up's episodes counted; nothing before --from folded
        first = self.oracle.start + 6 * 86400 * US
        first -= first % (86400 * US)
        text = datetime.datetime.fromtimestamp(first / US, datetime.timezone.utc).strftime("%Y-%m-%d")
        report = backtest(*self.paths, "-r", self.reference, "--from", text)
        want = self.oracle.episodes(first)
        self.assert_same(said(report), want)
        before = [e for e in report["runs"][0]["episodes"] if e["began_before"]]
        self.assertEqual(len(before), sum(e["start"] <= first for e in want))
        self.assertGreater(len(before), 0)
        for name, by_key in self.oracle.signals(first).items():
            self.assertEqual(by_name(report)[name]["evaluated"]["values"],
                             sum(v is not None for said_ in by_key.values() for _, v in said_), name)

    def test_what_cannot_be_judged_is_said(self):
        # faults: a signal without values said to be ok; no word of the crypto that the reference lacks
        signals = by_name(self.report)
        self.assertEqual(signals["l2_kyle_lambda_drift_psi"]["evaluated"]["without"], ["CCC"])
        self.assertIn("measurable from", signals["l2_spread_regime"]["evaluated"]["why_not"])
        bars = backtest(self.paths[1])
        self.assertEqual(bars["history"]["records"]["features_from_bars"], len({(e["symbol"], e["bar"]) for e in self.events
                                                                                if e["kind"] == "b"}))
        signals = by_name(bars)
        for name, words in (("l2_agreement", "no predictions"), ("l2_f1_buy_drift", "no candles, no predictions, no --reference"),
                            ("l2_kyle_lambda_drift_psi", "no --reference"), ("l2_leakage_proof", "l2.snapshots"),
                            ("l2_producer_silent_seconds", "heartbeats")):
            self.assertFalse(signals[name]["evaluated"]["is_evaluated"], name)
            self.assertIn(words, signals[name]["evaluated"]["why_not"], name)
            self.assertEqual(sum(signals[name][s]["episodes"] for s in ("warn", "p2", "no_data")), 0)
        self.assertTrue(signals["nan_rate_ahead"]["evaluated"]["is_evaluated"])
        table = run(self.paths[1], "-q").stdout + run(self.paths[1]).stdout
        self.assertIn("not evaluated:", table)
        self.assertRegex(table, r"l2_agreement +no predictions")
        self.assertNotRegex(table, r"l2_agreement +ok")

    def test_features_are_made_from_bars_where_there_are_none(self):
        # faults: the bar's own row; the same where the source is missing
        events = derived(self.market, [e for e in self.events if e["kind"] in "cb"])
        report = backtest(*self.paths[:2], "-r", self.reference)
        self.assert_same(said(report), Oracle(self.market, events).episodes())
        self.assertIn("l2_feature_value_oor", {e["signal"] for e in report["runs"][0]["episodes"]})
        self.assertIn("made from bars", by_name(report)["l2_feature_value_oor"]["evaluated"]["note"])

    def test_records_dated_ahead_are_left_out(self):
        # faults: one bar of 2031 ends the time that is looked at; none of them counted
        bar_us = self.market.bar_s * US
        events = [{**next(e for e in self.events if e["kind"] == "b"), "bar": time_us // bar_us}
                  for time_us in (micros("2051-01-01T00:00:00Z"), time.time() * US + 2 * 86400 * US, 2**63 - 1)]
        (self.folder / "ahead").mkdir()
        report = backtest(*self.paths, *write(self.folder / "ahead", self.market, [{**e, "bar": int(e["bar"])} for e in events], "b"), "-r",
                          self.reference)
        self.assertEqual(report["history"]["records"].pop("ahead"), 3)
        report["history"]["records"]["ahead"] = 0
        self.assertEqual(report, self.report)
        self.assertIn("; 3 dated ahead, left out", run(*self.paths, self.folder / "ahead" / "l2_bar.avro", "--list", "0").stdout)

    def test_memory_is_bounded_however_many_the_parts(self):
        # fault: a quarter of a MiB for each part of the temporary file
        most_kib = []
        for times in (3, 90):
            with subprocess.Popen([BIN / "l2monitor", "backtest", *[self.paths[1]] * times, "--memory", "1", "-q", "--json", "-"],
                                  stdout=subprocess.PIPE, pipesize=4096) as process:  # it waits with most of its report
                process.stdout.read(1)
                most_kib.append(int(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{process.pid}/status").read_text())[1]))
                process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0)
        self.assertGreater(self.paths[1].stat().st_size * 90, 30 << 20)
        self.assertLess(most_kib[1] - most_kib[0], 3 << 10, most_kib)

    def test_proposals_side_by_side(self):
        # faults: --set of the second applied to the first; the first's rate for both in the table; a PSI's threshold set in the table alone, not in the reference
        report = backtest(*self.paths, "-r", self.reference, "-r", self.reference, "--set", "l2_kyle_lambda_drift_psi.warn=0.15",
                          "--set", "l2_feature_nan_rate.leave=2", "--set", "l2_feature_value_oor.p2=off")
        self.assertEqual(said(report), said(self.report))
        market = l2qm.Market(1, ("AAA", "BBB", "CCC"), days=0)
        market.reference = json.loads(json.dumps(self.market.reference))
        for reference in market.reference.values():
            reference["features"]["kyle_lambda"]["psi_24h"]["warn"] = 0.15
        rows = dict(l2qm.ROWS)
        row = list(rows["l2_feature_nan_rate"])
        row[6] = 2
        oor = list(rows["l2_feature_value_oor"])
        oor[4] = None
        try:
            l2qm.ROWS.update({"l2_feature_nan_rate": tuple(row), "l2_feature_value_oor": tuple(oor)})
            want = Oracle(market, self.events).episodes()
        finally:
            l2qm.ROWS.update(rows)
        self.assert_same(said(report, 1), want)
        self.assertNotEqual(said(report, 1), said(report, 0))
        self.assertEqual(report["runs"][1]["set"][0], "l2_kyle_lambda_drift_psi.warn=0.15")
        table = run(*self.paths, "-r", self.reference, "-r", self.reference, "--set", "l2_feature_value_oor.p2=off", "--list", "0").stdout
        rates = re.search(r"side by side.*l2_feature_value_oor +p2 +([0-9.]+) +([0-9.]+)\n", table, re.S)
        self.assertEqual(rates[1], f"{by_name(report, 0)['l2_feature_value_oor']['p2']['per_crypto_month']:.2f}")
        self.assertEqual(rates[2], "0.00")


class Sources(Case):
    def test_files_topics_and_postgresql_say_the_same(self):
        # faults: a month of the table left out; the table's sketches left out; each month's last candle left out; topics read from their end; a bar taken
        # that had not begun when Kafka took it
        market = l2qm.Market(3, ("AAA", "BBB"), days=100, bar_s=3600, kinds="cb", late=False)
        paths = write(self.folder, market, market.events(), "cb")
        reference = market.write_reference(self.folder / "reference.json")
        want = backtest(*paths, "-r", reference)
        self.assertTrue(by_name(want)["l2_spread_regime"]["evaluated"]["is_evaluated"])
        self.assertGreater(len(want["runs"][0]["episodes"]), 10)
        with self.subTest("PostgreSQL"):
            try:
                l2pg.binary("initdb")
            except l2pg.PostgresError as missing:
                self.skipTest(str(missing))
            with l2ba.Archive(self.folder) as archive:
                l2ba.imported(self.folder, archive, [paths[1]])
                l2ba.imported(self.folder, archive, [paths[0]])
                config = self.folder / "pg.conf"
                config.write_text(archive.settings())
                got = backtest("postgres", "-c", config, "-r", reference)
            self.assertEqual(got["runs"], want["runs"])
            for name, kind in (("candles", "c"), ("bars", "b")):
                self.assertEqual(got["history"]["records"][name], len({(e["symbol"], e["bar"]) for e in market.events() if e["kind"] == kind}))
            self.assertIn("l2monitor: ", run("postgres", "-c", config, "-r", reference, code=69).stderr)
        with self.subTest("Kafka"), topics(self.folder) as (env, producer, prefix):
            for event in market.events():
                value = l2live.encode(l2qm.STEMS[event["kind"]], l2qm.record(market, event))
                producer.produce(prefix + l2qm.TOPICS[event["kind"]], value, event["symbol"])
                producer.poll(0)
            self.assertEqual(producer.flush(60), 0)
            self.assertEqual(backtest("topics", "-r", reference, env=env), want)
            self.assertEqual(backtest("l2.bars", paths[0], "-r", reference, env=env), want)
            ahead = {**next(e for e in market.events() if e["kind"] == "b"), "bar": int(time.time()) // market.bar_s + 2}
            producer.produce(prefix + "l2.bars", l2live.encode("l2_bar", l2qm.record(market, ahead)), "AAA")
            self.assertEqual(producer.flush(60), 0)
            got = backtest("topics", "-r", reference, env=env)
            self.assertEqual(got["history"]["records"]["ahead"], 1)
            want["history"]["records"]["ahead"] = 1
            self.assertEqual(got, want)
            producer.produce(prefix + "l2.bars", b"junk", "AAA")
            self.assertEqual(producer.flush(60), 0)
            run("topics", "-r", reference, code=78, env=env, stderr="l2.bars, partition")


class Alerts(Case):
    """The latch, of predictions alone: three bars in a row whose freshness is at P2."""

    def setUp(self):
        super().setUp()
        self.market = l2qm.Market(9, ("AAA", "BBB", "CCC"), days=2, kinds="p", calm=True, late=False)
        self.bar_us = self.market.bar_s * US
        self.start = self.market.first * self.bar_us
        self.latched = self.start + 103 * self.bar_us  # when the third bar closes

    def told(self, symbols, states, *args, env=None):
        """The report, and what it says of the latch's alerts."""
        events = [{**e, "freshness": 400.0} if 100 <= e["bar"] - self.market.first < 106 else {**e, "freshness": 1.0}
                  for e in self.market.events() if e["symbol"] in symbols]
        source = "l2.rollout" if env else write_rollout(self.folder / "rollout.avro", states)
        report = backtest(*write(self.folder, self.market, events, "p"), source, *args, env=env)
        self.assertEqual(report["history"]["records"]["rollout"], len(states))
        self.assertEqual(by_name(report)["l2_latch"]["p2"]["episodes"], len(symbols))
        return report, by_name(report)["l2_latch"]["alerts"]

    def test_a_group_that_is_inhibited_is_none_of_those_sent(self):
        # fault: groups counted whatever became of them
        _, told = self.told(("AAA", "BBB", "CCC"), [])
        self.assertEqual(told, {"sent": 1, "groups": 1, "grouped": 3, "inhibited": 0})
        _, told = self.told(("AAA", "BBB", "CCC"), [("AAA", self.start, True)])
        self.assertEqual(told, {"sent": 0, "groups": 0, "grouped": 0, "inhibited": 4})

    def test_a_change_waits_from_its_own_time_on(self):
        # fault: from the time of the record before, so that the switch came too late
        _, told = self.told(("AAA",), [("AAA", self.latched + US // 2, True)])
        self.assertEqual((told["sent"], told["inhibited"]), (0, 1))
        _, told = self.told(("AAA",), [("AAA", self.latched + 2 * US, True)])
        self.assertEqual((told["sent"], told["inhibited"]), (1, 0))

    def test_a_rollout_record_holds_from_before_the_history_on(self):
        # faults: the time that is looked at begins with it; left out where it lies before the warm-up
        want, _ = self.told(("AAA",), [])
        got, told = self.told(("AAA",), [("AAA", micros("2015-01-01T00:00:00Z"), True)])
        self.assertEqual((told["sent"], told["inhibited"]), (0, 1))
        for name in ("from", "to", "first_record"):
            self.assertEqual(got["history"][name], want["history"][name])
        first = datetime.datetime.fromtimestamp(self.start / US + 86400, datetime.timezone.utc).strftime("%Y-%m-%dT00:00:00Z")
        got, told = self.told(("AAA",), [("AAA", micros("2015-01-01T00:00:00Z"), True)], "--from", first, "--warm-up", "0")
        self.assertEqual((told["sent"], told["inhibited"]), (0, 1))


    def test_a_rollout_record_dated_ahead_counts_as_of_when_it_came(self):
        # fault: as of its own time, so that the switch is not obeyed
        state = "AAA", micros("2051-01-01T00:00:00Z"), True
        with topics(self.folder) as (env, producer, prefix):
            producer.produce(prefix + "l2.rollout", l2live.encode("rollout_state", rollout(*state)), "AAA", timestamp=self.start // 1000)
            self.assertEqual(producer.flush(60), 0)
            _, told = self.told(("AAA",), [state], env=env)
        self.assertEqual((told["sent"], told["inhibited"]), (0, 1))


class Page(html.parser.HTMLParser):
    """The parts of a page: {id: data}, scripts, styles, policy, addresses that it names."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.data, self.code, self.policy, self.addresses, self.open, self.ids = {}, {"script": [], "style": []}, "", [], None, set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.open = (tag, attrs)
        self.ids.add(attrs.get("id"))
        self.addresses += [attrs[name] for name in ("src", "href", "action") if name in attrs]
        if attrs.get("http-equiv") == "Content-Security-Policy":
            self.policy = attrs["content"]

    def handle_data(self, data):
        if self.open and self.open[0] in self.code:
            tag, attrs = self.open
            if attrs.get("type") == "application/json":
                self.data[attrs["id"]] = data
            else:
                self.code[tag].append(data)

    def handle_endtag(self, tag):
        self.open = None


class Html(Case):
    """That the page works and how it looks was seen in a browser (docs/quality.md); here is what can be read in it."""

    def setUp(self):
        super().setUp()
        self.market = l2qm.Market(8, ("AAA", "BBB"), days=5, late=False)
        self.events = self.market.events()
        self.paths = write(self.folder, self.market, self.events)
        reference = self.market.write_reference(self.folder / "<!--<script>&'.json")
        self.report = backtest(*self.paths, "-r", reference, "-r", reference, "--set", "l2_feature_value_oor.warn=0.02")
        path = self.folder / "page.html"
        run(*self.paths, "-r", reference, "-r", reference, "--set", "l2_feature_value_oor.warn=0.02", "--html", path, "-q")
        self.text = path.read_text()
        self.page = Page(self.text)

    def test_no_text_gets_out_of_its_block_and_nothing_else_may_run(self):
        # faults: "<" left as it is; a script's hash of another text; the data before it changed into HTML's own characters
        self.assertEqual(json.loads(self.page.data["report"]), self.report)
        self.assertIn("<script>", self.report["runs"][0]["reference"])
        for data in self.page.data.values():
            self.assertNotIn("<", data)
        for kind, source in (("script", "script-src"), ("style", "style-src")):
            allowed = re.search(rf"{source} ([^;]*);", self.page.policy)[1].split()
            hashes = ["'sha256-" + base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() + "'" for code in self.page.code[kind]]
            self.assertEqual(hashes, allowed)
            self.assertEqual(len(hashes), 2)
        self.assertTrue(self.page.policy.startswith("default-src 'none';"))
        self.assertEqual(self.page.addresses, [])
        for name in re.findall(r'byId\("([a-z-]+)"\)', self.page.code["script"][1]):
            self.assertIn(name, self.page.ids)

    def test_vendored_code_is_what_was_released(self):
        # fault: the hash not compared
        for name in ("page", "vendor"):
            shutil.copytree(ROOT / "tools" / "l2monitor" / name, self.folder / name)
        made = self.folder / "page.c"
        embed = [sys.executable, self.folder / "page" / "embed.py", made]
        subprocess.run(embed, check=True)
        self.assertIn("mon_page_behind", made.read_text())
        made.unlink()
        with open(self.folder / "vendor" / "uPlot" / "uPlot.iife.min.js", "a", encoding="utf-8") as out:
            out.write(" ")
        done = subprocess.run(embed, check=False, capture_output=True, text=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("uPlot.iife.min.js: sha256 ", done.stderr)
        self.assertFalse(made.exists())

    def test_series_are_the_values_least_and_greatest(self):
        # faults: the first of a stretch for its least; a stretch a bar off; values of the first run for the second
        self.assertEqual(json.loads(self.page.data["cryptos"]), ["AAA", "BBB"])
        wanted = Oracle(self.market, self.events).signals()
        for number, symbol in enumerate(("AAA", "BBB")):
            for at in (0, 1):
                data = json.loads(self.page.data[f"series-{at}-{number}"])
                self.assertEqual(data["symbol"], symbol)
                seen = {(s["signal"], s["arm"]): s for s in data["series"]}
                for name, by_key in wanted.items():
                    for (of, arm), values in by_key.items():
                        values = [(t / US, v) for t, v in values if v is not None]
                        if of != symbol or not values:
                            continue
                        s, buckets = seen.pop((name, arm)), {}
                        for t, v in values:
                            buckets.setdefault(int((t - data["from"]) // data["step"]), []).append(v)
                        self.assertEqual(s["at"], sorted(buckets), name)
                        for i, place in enumerate(s["at"]):
                            low, high = min(buckets[place]), max(buckets[place])
                            self.assertTrue(math.isclose(s["low"][i], low, rel_tol=2e-5, abs_tol=1e-9), (name, s["low"][i], low))
                            got = s["high"][i] if "high" in s else s["low"][i]
                            self.assertTrue(math.isclose(got, high, rel_tol=2e-5, abs_tol=1e-9), (name, got, high))
                        if name == "l2_feature_value_oor":
                            self.assertEqual(s["warn_above"], (0.01, 0.02)[at])
                self.assertEqual(seen, {})


class Errors(Case):
    def test_wrong_input(self):
        # faults: a damaged file's records up to the damage taken; another exchange's reference taken
        market = l2qm.Market(5, ("AAA",), days=3, kinds="cb")
        candles, bars = write(self.folder, market, market.events(), "cb")
        reference = market.write_reference(self.folder / "reference.json")
        cut = self.folder / "cut.avro"
        cut.write_bytes(bars.read_bytes()[:-100])
        outcome = self.folder / "outcome.avro"
        with open(outcome, "wb") as out:
            fastavro.writer(out, fastavro.schema.load_schema(str(ROOT / "schemas" / "outcome.avsc")), [])
        other = json.loads(reference.read_text()) | {"exchange": "elsewhere"}
        (self.folder / "other.json").write_text(json.dumps(other))
        (self.folder / "none.json").write_text("{")
        latin = shutil.copy(reference, self.folder / "nam\udce9.json")
        for args, code, words in (
                ((), 64, "history from where?"),
                ((self.folder / "gone.avro",), 66, "gone.avro: No such file"),
                ((bars, "-r", self.folder / "gone.json"), 66, "gone.json: No such file"),
                ((bars, "-r", self.folder / "none.json"), 65, "none.json"),
                ((bars, "-r", reference, "-r", self.folder / "other.json"), 64, "other.json is of elsewhere, not of binance-usdm"),
                ((bars, "-r", self.folder / "other.json"), 1, "no records there that were asked for"),
                ((cut,), 65, "cut.avro"),
                ((reference,), 65, "reference.json"),
                ((outcome,), 65, "records of Outcome"),
                ((bars, "--from", "2030-01-01"), 1, "no records there that were asked for"),
                ((bars, "--from", "2023-01-02", "--to", "2023-01-01"), 64, "--from is not before --to"),
                ((bars, "--from", "yesterday"), 64, "--from yesterday"),
                ((bars, "--symbol", "XXX"), 1, "no records there"),
                ((bars, "-r", reference, "--set", "l2_nothing.warn=1"), 64, "no signal is called l2_nothing"),
                ((bars, "-r", reference, "--set", "l2_feed_cadence.p2=1"), 64, "the side must be said"),
                ((bars, "-r", reference, "--set", "l2_feed_cadence.p3=1"), 64, "p3 is none of"),
                ((bars, "-r", reference, "--set", "l2_feed_cadence"), 64, "not SIGNAL.LEVEL=VALUE"),
                ((bars, "-r", reference, "--set", "l2_feed_cadence.p2_above=lots"), 64, "lots is neither a number nor off"),
                ((bars, "-r", reference, "--set", "l2_feed_cadence.enter=0"), 64, "0 is not 1 to"),
                ((bars, "-r", reference, "--set", "l2_kyle_lambda_p99.warn=1"), 64, "mean"),
                ((bars, "-r", reference, "--set", "l2_leakage_proof.p2=1"), 64, "stored history does not tell"),
                ((bars, "--set", "l2_agreement.warn=1", "-r", reference), 64, "--set goes behind"),
                ((bars, "--json", self.folder / "no" / "x.json"), 74, "No such file"),
                ((bars, "--bar-seconds", "7200"), 64, "--bar-seconds 7200: not 60 to 3600"),
                ((bars, "-r", latin, "--json", "-"), 64, "nam\udce9.json: not UTF-8"),
                ((bars, "-r", latin, "--html", self.folder / "x.html"), 64, "nam\udce9.json: not UTF-8"),
                ((bars, "--schema-version", "v\udce9", "--json", "-"), 64, "v\udce9: not UTF-8"),
                ((bars, "--memory", "0"), 64, "--memory 0")):
            with self.subTest(args=args):
                run(*args, code=code, stderr=words)
        self.assertEqual(sorted(p.name for p in self.folder.iterdir() if p.suffix == ".tmp"), [])
        self.assertEqual(backtest(candles, bars, "-r", reference)["history"]["cryptos"], 1)
        self.assertIn("nam\udce9.json, version ref-1", run(candles, bars, "-r", latin).stdout)

    def test_a_report_that_is_lost_is_told(self):
        # faults: the last flush alone asked, which has nothing left to write; no word of why; a page's own error taken for want of memory
        market = l2qm.Market(5, ("AAA",), days=3, kinds="b")
        (bars,) = write(self.folder, market, market.events(), "b")
        with open("/dev/full", "w", encoding="utf-8") as full:
            for args in (("--json", "-"), ("--json", "-", "-q"), (), ("--list", "0")):
                with self.subTest(args=args):
                    run(bars, *args, code=74, stderr="l2monitor: stdout: No space left on device", stdout=full)
            for command in (("completion", "bash"), ("reference", bars, "--days-min", "1", "-o", self.folder / "r.json")):
                with self.subTest(command=command):
                    done = subprocess.run([BIN / "l2monitor", *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
                    self.assertEqual((done.returncode, done.stderr[-51:]), (74, "l2monitor: stdout: No space left on device\n"[-51:]))
        for name in ("html", "json"):
            path = self.folder / f"report.{name}"
            (self.folder / f"report.{name}.tmp").symlink_to("/dev/full")
            run(bars, f"--{name}", path, code=74, stderr=f"l2monitor: {path}: No space left on device")
            self.assertEqual(list(self.folder.glob("report.*")), [])

    def test_no_place_for_the_temporary_file(self):
        # fault: what is in memory taken for all
        market = l2qm.Market(7, ("AAA",), days=100, kinds="b", calm=True)
        paths = write(self.folder, market, market.events(), "b")
        env = {"TMPDIR": str(self.folder / "gone")}
        run(*paths, "--memory", "1", "--json", self.folder / "x.json", code=74, env=env, stderr="TMPDIR names another folder")
        self.assertFalse((self.folder / "x.json").exists())

    def test_interrupted_nothing_is_written(self):
        # fault: the report of what was read till then
        market = l2qm.Market(6, ("AAA",), days=1, kinds="b")
        fifo, report = self.folder / "bars.avro", self.folder / "report.json"
        (path,) = write(self.folder, market, market.events(), "b")
        data = path.read_bytes()
        path.unlink()
        os.mkfifo(fifo)
        process = subprocess.Popen([BIN / "l2monitor", "backtest", fifo, "--json", report], stderr=subprocess.PIPE, text=True)
        with open(fifo, "wb", buffering=0) as out:
            out.write(data[:-200])
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)
        _, stderr = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130, stderr)
        self.assertIn("interrupted: nothing was written", stderr)
        self.assertFalse(report.exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
