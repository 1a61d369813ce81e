"""Every signal, outcome and change of state of the quality monitor's core against a batch over whole histories, at every record.

tests/support/l2qm.py recomputes each from its definition, to 1e-9, over weeks of several cryptos with gaps, nulls, missing days, late
and doubled records. Seen to fail: see each test.
"""
import collections
import math
import pathlib
import random
import tempfile
import unittest

import l2qm
from l2qm import CHAMPION, HOLD, US

TOLERANCE = 1e-9


def same(words, want):
    """Are the probe's words what was wanted, numbers to 1e-9?"""
    if len(words) != len(want):
        return False
    for word, w in zip(words, want, strict=True):
        if isinstance(w, float):
            if word == "null" or not abs(float(word) - w) <= TOLERANCE * max(1.0, abs(w)):
                return False
        elif word != l2qm.word(w) and not (isinstance(w, int) and word != "null" and float(word) == w):
            return False
    return True


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def ask(self, market, lines):
        path = "-"
        if market.reference:
            path = market.write_reference(pathlib.Path(self.folder.name) / "reference.json")
        return l2qm.probe(market, lines, path)

    def against_batch(self, market, events):
        """Number of outputs by their kind or signal; each is what the batch says."""
        answers = self.ask(market, [l2qm.line_of(market, e) for e in events])
        batch, seen = l2qm.Batch(market), {}
        self.assertEqual(len(answers), len(events))
        for i, (event, (folded, got)) in enumerate(zip(events, answers, strict=True)):
            want = batch.fold(event)
            self.assertTrue(folded, event)
            for words in got:
                name = words[2] if words[0] != "O" else "O"
                key = (words[0], name) + ((words[4], words[5]) if words[0] == "T" else ())
                seen[key] = seen.get(key, 0) + 1
                found = next((w for w in want if same(words, w)), None)
                close = [w for w in want if list(map(l2qm.word, w[:4])) == words[:4]]
                self.assertIsNotNone(found, f"record {i} {event}:\n got {words}\n for {close}")
                want.remove(found)
            self.assertEqual(want, [], f"record {i} {event}: not said")
        return seen


class Streaming(Case):
    def test_weeks_with_everything_in_them(self):
        # faults: 24 h of PSI a bar too long; P2 of PSI without its second window; the mid judged by the bar's own close; a missing
        # bar's nulls left out of nan_rate_ahead; σ of the day itself among its 30; the day of the label instead of the decision
        # counted; the bootstrap's seed; the interval of agreement in n + 1; outcomes 64 bars back taken for out
        market = l2qm.Market(1, ("AAA", "BBB"), days=25)
        seen = self.against_batch(market, market.events())
        for signal in l2qm.ROWS:
            self.assertGreater(seen.get(("S", signal), 0), 10, signal)
        self.assertGreater(seen["O", "O"], 5000)
        told = {key[1] for key in seen if key[0] == "T"}
        for signal in ("l2_feature_freshness_seconds", "l2_feature_nan_rate", "l2_feature_value_oor", "nan_rate_ahead",
                       "l2_kyle_lambda_drift_psi", "l2_feed_cadence"):
            self.assertIn(signal, told)

    def test_other_bars_sets_and_purges_and_no_reference(self):
        # faults: columns of another set counted; a crypto without a reference judged by another's
        for seed, bar_s, purge, feature_set in ((2, 3600, 0, "min"), (3, 1800, 5, "flow_only"), (4, 300, 20, "standard")):
            market = l2qm.Market(seed, ("AAA", "CCC"), days=4 * bar_s // 900 + 2, bar_s=bar_s, purge=purge, feature_set=feature_set)
            self.against_batch(market, market.events())

    def test_a_hundred_days_of_spreads(self):
        # faults: 6 days for 7; 89 for 90
        market = l2qm.Market(5, ("AAA",), days=110, bar_s=3600, kinds="b")
        seen = self.against_batch(market, market.events())
        self.assertGreater(seen["S", "l2_spread_regime"], 100)

    def test_long_silences(self):
        # faults: the open day of bars, or of candles, not told before the leap
        market = l2qm.Market(6, ("AAA",), days=20, calm=True)
        steps = market.steps
        for gap_days in (8, 45, 120):
            for step in steps[14 * 96:]:
                for event in step:
                    event["bar"] += gap_days * 96
                    if "source" in event:
                        event["source"] += gap_days * 96
            self.against_batch(market, [e for step in steps for e in step])

    def test_the_topics_may_come_in_any_order_within_a_bar(self):
        """Late records among them: one whose label is all but known counts for no skill, wherever its candle is."""
        # faults: a prediction's label parameters learned without the candle of its bar; late ones counted
        market = l2qm.Market(7, ("AAA", "BBB"), days=6)
        told = []
        for events in (market.events(), market.interleaved(1), market.interleaved(2)):
            answers = self.ask(market, [l2qm.line_of(market, e) for e in events])
            told.append(collections.Counter(tuple(words) for _, outputs in answers for words in outputs))
        self.assertGreater(sum(told[0].values()), 5000)
        for other in told[1:]:
            self.assertFalse((told[0] - other) + (other - told[0]))

    def test_a_label_that_comes_with_its_late_prediction(self):
        # faults: late a bar later; late a bar earlier
        market = l2qm.Market(10, ("AAA",), days=4, calm=True, late=False, kinds="cp")
        last = next(i for i, step in enumerate(market.steps) if i > 150 and (market.first + i + 1) % market.day == 0)
        bar = market.first + last - 16  # whose label the day's last candle gives
        said = [e for e in market.steps[last - 16] if e["kind"] == "p" and e["arm"] == CHAMPION]
        counted = set()
        for late in (13, 14, 15, 16, 17):
            told = []
            for order in ("cp", "pc"):
                events = []
                for i, step in enumerate(market.steps):
                    step = (said if i == last - 16 + late else []) + [e for e in step if e not in said]
                    events += sorted(step, key=lambda e: order.index(e["kind"]))
                answers = self.ask(market, [l2qm.line_of(market, e) for e in events])
                told.append(collections.Counter(tuple(words) for _, outputs in answers for words in outputs))
            self.assertEqual(told[0], told[1], late)
            self.assertEqual(sum(words[0] == "O" and words[2:4] == (str(CHAMPION), str(bar)) for words in told[0]), 1, late)
            day = str((bar // market.day + 1) * market.day * 900 * US - 900 * US)
            counted |= {(late, words[8]) for words in told[0] if words[0] == "S" and words[2:5] == ("l2_f1_buy", str(CHAMPION), day)}
        n = max(int(x) for _, x in counted)
        self.assertEqual(sorted(counted), [(13, str(n)), (14, str(n)), (15, str(n)), (16, str(n - 1)), (17, str(n - 1))])

    def test_small_counts_of_spreads(self):
        """A day's count of a spread is kept in 16 bits: exact to 2,047, then within 2^-11 of it: a rank at most that far off."""
        # fault: cut instead of rounded
        rng = random.Random(8)
        market = l2qm.Market(8, ("AAA",), days=92, bar_s=3600, kinds="b", calm=True)
        lines, values = [], []
        for event in market.events():
            spreads = [(math.exp(rng.gauss(0, 0.5)), rng.randrange(1000, 100000)) for _ in range(10)]
            event["bins"] = {}
            for spread, n in spreads:
                index = l2qm.sketch_bin(spread)
                event["bins"][index] = event["bins"].get(index, 0) + n
            values.append((event["bar"], spreads))
            lines.append(l2qm.line_of(market, event))
        last = [words for _, outputs in self.ask(market, lines) for words in outputs if words[2] == "l2_spread_regime"][-1]
        end = int(last[4]) // US // 3600

        def between(days):  # the sketch's 1 %, and the ranks that the counts' rounding can move
            ascending = sorted(x for bar, spreads in values if end - days * 24 < bar <= end for x in spreads)
            n, found = sum(count for _, count in ascending), []
            for share in (0.99 * (1 - 2 ** -10), 0.99 * (1 + 2 ** -10)):
                below, at = 0, 0
                while below + ascending[at][1] <= share * (n - 1):
                    below, at = below + ascending[at][1], at + 1
                found.append(ascending[at][0])
            return found[0] * 0.99, found[1] * 1.01, n

        low, high = between(7), between(90)
        self.assertLessEqual(low[0] / high[1], float(last[5]))
        self.assertGreaterEqual(low[1] / high[0], float(last[5]))
        self.assertLess(abs(int(last[8]) - high[2]), high[2] * 2 ** -15)  # rounded, not cut: errors of both signs


class Restart(Case):
    def cut(self, market, lines, quiet, at):
        """Killed after record `at`, what had come out recalled, all of the log folded again: together as in a quiet run."""
        before = [words for _, outputs in quiet[:at] for words in outputs]
        recalls = [line for line in (l2qm.recalled(market, words) for words in before) if line is not None]
        after = self.ask(market, recalls + lines)
        out = [words for words in before if words[0] != "T"] + [w for _, outputs in after for w in outputs if w[0] != "T"]
        want = [words for _, outputs in quiet for words in outputs if words[0] != "T"]
        out, want = collections.Counter(map(tuple, out)), collections.Counter(map(tuple, want))
        self.assertFalse((out - want) + (want - out), at)

    def test_nothing_twice_and_nothing_less_wherever_it_is_cut(self):
        # faults: emitted outcomes forgotten; a signal of the newest's own bar said again
        market = l2qm.Market(9, ("AAA", "BBB"), days=6)
        events, rng = market.events(), random.Random(9)
        lines = [l2qm.line_of(market, e) for e in events]
        quiet = self.ask(market, lines)
        seen, late = {}, []
        for i, event in enumerate(events):
            seen[event["symbol"]] = max(seen.get(event["symbol"], 0), event["bar"])
            if event["kind"] == "p" and seen[event["symbol"]] > event["bar"] + 16:
                late.append(i)  # its label is known already, and comes out with it
        self.assertGreater(len(late), 3)
        for at in [0, 1, len(lines) - 1, len(lines), late[0], late[0] + 1, late[-1], late[-1] + 1,
                   *(rng.randrange(len(lines)) for _ in range(8))]:
            self.cut(market, lines, quiet, at)


class Thresholds(Case):
    """Each row of the tables at threshold − ε, = and + ε: past it, not at it. Seen to fail with ≥ for >, and with each number changed."""

    def setUp(self):
        super().setUp()
        self.market = l2qm.Market(11, ("AAA",), days=0, calm=True)
        self.bar = self.market.first

    def observed(self, lines, signal, arm=l2qm.NONE):
        """[(value, observed)] of a signal."""
        return [(w[5], w[14]) for _, outputs in self.ask(self.market, lines) for w in outputs
                if w[0] == "S" and w[2] == signal and w[3] == str(arm)]

    def line(self, kind, i, **fields):
        return l2qm.line_of(self.market, {"kind": kind, "symbol": "AAA", "bar": self.bar + i, **fields})

    def say(self, i, arm=CHAMPION, decision=HOLD, freshness=1.0, nan_rate=0.0, params=None):
        return self.line("p", i, arm=arm, decision=decision, executed=False, freshness=freshness, nan_rate=nan_rate, params=params, reason=0,
                         version="v")

    def bars(self, n, snapshots=300, bins=None, first=0, **row):
        full = {c: None for c in l2qm.COLUMNS} | row
        return [self.line("b", first + i, row=full, snapshots=snapshots, bins=bins or {}) for i in range(n)]

    def around(self, x):
        return math.nextafter(x, -math.inf), x, math.nextafter(x, math.inf)

    def test_freshness_and_nan_rate(self):
        for field, signal, warn, p2 in (("freshness", "l2_feature_freshness_seconds", 60.0, 300.0),
                                        ("nan_rate", "l2_feature_nan_rate", 0.05, 0.20)):
            values = [*self.around(warn), *self.around(p2)]
            lines = [self.say(i, **{field: x}) for i, x in enumerate(values)]
            self.assertEqual([o for _, o in self.observed(lines, signal)], ["ok", "ok", "warn", "warn", "warn", "p2"], field)

    def test_values_out_of_range(self):
        reference = self.market.reference["AAA"]["features"]
        inside, beyond = reference["ofi_15m"]["range"][1], math.nextafter(reference["ofi_15m"]["range"][1], math.inf)
        for share, want in ((0 / 50, "ok"), (1 / 100, "ok"), (1 / 99, "warn"), (5 / 100, "warn"), (3 / 59, "p2")):
            out_n, n = {0: (0, 50), 0.01: (1, 100), 1 / 99: (1, 99), 0.05: (5, 100), 3 / 59: (3, 59)}[share]
            lines = []
            for i in range(50):  # two columns in as many records as it takes for n values
                row = {c: None for c in l2qm.COLUMNS} | {"ofi_15m": beyond if i < out_n else inside}
                if i < n - 50:
                    row["spread_bps"] = 1.0
                lines.append(self.line("f", i, source=self.bar + i - 20, row=row))
            self.assertEqual(self.observed(lines, "l2_feature_value_oor")[-1], (l2qm.word(out_n / n), want))

    def test_samples_that_values_out_of_range_need(self):
        # faults: 48 of any bars; half a day of short ones; one fewer
        for bar_s, least in ((3600, 12), (1800, 24), (900, 48), (300, 48)):
            self.market = l2qm.Market(11, ("AAA",), days=0, calm=True, bar_s=bar_s)
            self.bar = self.market.first
            row = {c: None for c in l2qm.COLUMNS} | {"spread_bps": 1.0}
            lines = [self.line("f", i, source=self.bar + i - 20, row=row) for i in range(least)]
            values = [v for v, _ in self.observed(lines, "l2_feature_value_oor")]
            self.assertEqual(values, ["null"] * (least - 1) + ["0"], bar_s)

    def test_the_mid_is_judged_by_its_source_bar_s_close(self):
        # fault: by the newest close
        for mid, want in ((104.9999999, "ok"), (105.0000001, "p2"), (95.0000001, "ok"), (94.9999999, "p2")):
            lines = [self.line("c", i, close=100.0) for i in range(48)] + [self.line("c", 48 + i, close=200.0) for i in range(20)]
            for i in range(48):
                row = {c: None for c in l2qm.COLUMNS} | {"mid_price": mid}
                lines.append(self.line("f", 20 + i, source=self.bar + i, row=row))
            self.assertEqual(self.observed(lines, "l2_feature_value_oor")[-1][1], want, mid)

    def test_cadence(self):
        for snapshots, want in ((149, "p2"), (150, "ok"), (151, "ok"), (599, "ok"), (600, "ok"), (601, "p2")):
            self.assertEqual(self.observed(self.bars(4, snapshots), "l2_feed_cadence")[-1][1], want, snapshots)

    def test_nulls_ahead(self):
        for nulls, bars_n, want in ((1, 3, "ok"), (2, 3, "warn"), (6, 3, "warn"), (6, 2, "ok")):
            row = {c: 1.0 for c in l2qm.COLUMNS[nulls:]}
            self.assertEqual(self.observed(self.bars(bars_n, **row), "nan_rate_ahead")[-1][1], want)
        late = self.bars(30, **dict.fromkeys(l2qm.COLUMNS, 1.0)) + self.bars(1, first=33, **dict.fromkeys(l2qm.COLUMNS, 1.0))
        self.assertEqual(self.observed(late, "nan_rate_ahead")[-1], ("1", "warn"))  # three bars are missing

    def test_a_latch_is_cleared(self):
        # fault: what is cleared still holds
        lines = [self.say(i, nan_rate=0.5).replace(" 2 1 0 ", " 2 1 1 ", 1) for i in range(4)]
        cleared = f"r AAA {(self.bar + 3) * 900 * US} {(self.bar + 5) * 900 * US}"
        answers = self.ask(self.market, [*lines, cleared])
        told = [words[4:6] for _, outputs in answers for words in outputs if words[0] == "T" and words[2] == "l2_latch"]
        self.assertEqual(told, [["ok", "p2"], ["p2", "ok"]])
        self.assertEqual([v for v, _ in self.observed(lines, "l2_latch")], ["0", "0", "1", "1"])

    def psi_bars(self, n):
        edges = self.market.reference["AAA"]["features"]["kyle_lambda"]["edges"]
        return [line for i in range(n) for line in self.bars(1, first=i, kyle_lambda=edges[i % 7], ofi_15m=0.5,
                                                             depth_imbalance_l5=0.1)]

    def test_psi(self):
        features = self.market.reference["AAA"]["features"]
        for signal, column, field, n in (("l2_kyle_lambda_drift_psi", "kyle_lambda", "psi_24h", 2 * 96 + 30),
                                         *((s, c, "psi_30d", 17 * 96) for s, c in l2qm.MONTHLY.items())):
            lines = self.psi_bars(n)
            value = float([v for v, _ in self.observed(lines, signal) if v != "null"][-1])
            for level, far in (("warn", value + 1), ("p2", value / 2)):
                for x, past in zip(self.around(value), (True, False, False), strict=True):
                    features[column][field] = {"warn": x, "p2": far} if level == "warn" else {"warn": value / 4, "p2": x}
                    want = (level if past else "ok") if level == "warn" else "p2" if past else "warn"
                    self.assertEqual(self.observed(lines, signal)[-1][1], want, (signal, level, x))

    def test_samples_that_a_psi_needs(self):
        # faults: one fewer asked for, of each
        for signal, n in (("l2_kyle_lambda_drift_psi", 48), ("l2_kyle_lambda_psi_30d", 1440)):
            for short in (1, 0):
                first = (-self.bar - n) % 96 if n == 1440 else 0  # the day ends with the last
                lines = [line for i in range(first + short, first + n) for line in self.bars(1, first=i, kyle_lambda=0.05)]
                self.assertEqual(self.observed(lines, signal)[-1][0] == "null", bool(short), signal)

    def test_p2_of_the_day_s_psi_needs_a_window_before(self):
        features = self.market.reference["AAA"]["features"]
        features["kyle_lambda"]["psi_24h"] = {"warn": 0.10, "p2": 0.25}
        seen = [o for _, o in self.observed(self.psi_bars(48 + 96 + 1), "l2_kyle_lambda_drift_psi")]
        self.assertEqual(seen[47:], ["warn"] * 96 + ["p2"] * 2)

    def test_kyle_tail(self):
        first = -self.bar % 96
        for last, want in ((0.05, "ok"), (math.nextafter(0.05, 1), "ok"), (0.0501, "warn"), (0.0499, "warn")):
            lines = [line for i in range(22 * 96) for line in
                     self.bars(1, first=first + i, kyle_lambda=last if i >= 21 * 96 else 0.05 + (i // 96 % 2) * 1e-7)]
            self.assertEqual(self.observed(lines, "l2_kyle_lambda_p99")[-1][1], want, last)
        for days, want in ((20, "no_data"), (21, "ok")):
            lines = self.bars(days * 96, first=first, kyle_lambda=0.05)
            self.assertEqual(self.observed(lines, "l2_kyle_lambda_p99")[-1][1], want, days)

    def test_spread_regime(self):
        first = -self.bar % 96
        calm = l2qm.sketch_bin(1.0)
        for factor, want in ((2.9, "ok"), (3.2, "p2")):
            wild = l2qm.sketch_bin(factor)
            lines = []
            for i in range(91):  # of the last week one snapshot in 14 is wide: 1 in 180 of the quarter
                bins = {calm: 13, wild: 1} if i >= 84 else {calm: 14}
                lines += self.bars(1, first=first + i * 96, bins=bins) + self.bars(1, first=first + i * 96 + 95, bins={})
            self.assertEqual(self.observed(lines, "l2_spread_regime")[-1][1], want)

    def test_drift_of_f1(self):
        market = l2qm.Market(12, ("AAA",), days=12, calm=True)
        lines = [l2qm.line_of(market, e) for e in market.events()]
        self.market = market
        live = [v for v, _ in self.observed(lines, "l2_f1_buy", CHAMPION)][-1]
        for step, want in ((-1, "ok"), (0, "ok"), (1, "p2")):
            value = float(live) + 0.05
            while value - float(live) > 0.05:
                value = math.nextafter(value, 0)
            if step == 1:
                while value - float(live) <= 0.05:
                    value = math.nextafter(value, 1)
            if step == -1:
                value = math.nextafter(value, 0)
            market.reference["AAA"]["f1_buy"] = {"value": value, "low": 0.0, "high": 1.0}
            self.assertEqual(self.observed(lines, "l2_f1_buy_drift", CHAMPION)[-1][1], want, step)
        market.reference["AAA"]["f1_buy"]["value"] = float(live) - 0.06
        self.assertEqual(self.observed(lines, "l2_f1_buy_drift", CHAMPION)[-1][1], "warn")  # the reference is outdated


if __name__ == "__main__":
    unittest.main(verbosity=2)
