"""The statistics of common/l2 against numpy, scipy, pandas and scikit-learn, and a plain re-implementation of the labels.

To 1e-9 relative on random, heavy-tailed, tied and adversarial numbers. Seen to fail: see each test.
"""
import math
import os
import pathlib
import random
import subprocess
import unittest

import numpy as np
import pandas as pd
import scipy.stats
import sklearn.metrics

PROBE = pathlib.Path(os.environ["L2FLOW_BIN"]) / "quality_probe"
TOLERANCE = 1e-9


def ask(*requests):
    """Answers of the probe, one list of words a request."""
    lines = "".join(" ".join(format(w, ".17g") if isinstance(w, float) else str(w) for w in r) + "\n" for r in requests)
    done = subprocess.run([PROBE], input=lines, capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


class Oracle(unittest.TestCase):
    def near(self, got, want, scale=None):
        self.assertLessEqual(abs(float(got) - want), TOLERANCE * (abs(want) if scale is None else scale), f"{got} for {want}")

    def test_ln(self):
        # fault: a term of the series left out
        x = [1.0, math.sqrt(0.5), math.sqrt(2), 5e-324, 1e-300, 1.7e308, math.nextafter(1, 2), math.nextafter(1, 0)]
        x += list(np.exp(np.random.default_rng(1).uniform(-700, 700, 20000)))
        (got,) = ask(["ln", *map(float, x)])
        for value, mine in zip(x, got, strict=True):
            self.assertLessEqual(abs(float(mine) - math.log(value)), 4e-16 * max(abs(math.log(value)), 1e-16), value)

    def test_quantile(self):
        # fault: rank from n instead of n − 1
        rng = np.random.default_rng(2)
        for n in (1, 2, 3, 10, 97, 5000):
            x = np.sort(rng.standard_t(2, n))
            for q in (0.0, 1e-4, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999, 1.0):
                ((got,),) = ask(["quantile", q, *map(float, x)])
                self.near(got, np.quantile(x, q), np.abs(x).max())

    def test_psi(self):
        # fault: shares not floored; edges not merged; an edge's own value in the bin below
        rng = np.random.default_rng(3)
        for case in range(200):
            n, m = int(rng.integers(1, 3000)), int(rng.integers(1, 500))
            make = [lambda k: rng.normal(size=k), lambda k: rng.standard_t(1.5, k), lambda k: rng.integers(0, 4, k) * 1.0,
                    lambda k: np.where(rng.random(k) < 0.7, 0.0, rng.normal(size=k)), lambda k: np.full(k, 3.5)][case % 5]
            x, y = np.sort(make(n)), make(m) * rng.choice([1, 1, 1.5]) + rng.choice([0, 0, 0.3])
            edges = np.unique(np.quantile(x, np.arange(1, 10) / 10))
            r = np.bincount(np.searchsorted(edges, x, side="right"), minlength=len(edges) + 1) / n
            a = np.bincount(np.searchsorted(edges, y, side="right"), minlength=len(edges) + 1) / m
            a, floored = np.maximum(a, 1e-4), np.maximum(r, 1e-4)
            want = float(np.sum((a - floored) * np.log(a / floored)))
            ((got, *shares),) = ask(["psi", n, *map(float, x), *map(float, y)])
            self.assertEqual(len(shares), len(r))
            for mine, his in zip(shares, r, strict=True):
                self.near(mine, his)
            self.near(got, want, max(abs(want), 1e-3))

    def test_f1_and_its_interval(self):
        # fault: FP counted twice; the interval of TP in n
        rng = np.random.default_rng(4)
        for case in range(200):
            label, predicted = rng.integers(0, 3, 300), rng.integers(0, 3, 300)
            if case % 10 == 0:
                predicted[predicted == 2] = 1
            if case % 10 == 1:
                label[label == 2] = 0
            counts = sklearn.metrics.confusion_matrix(predicted, label, labels=[0, 1, 2])
            (got,) = ask(["f1", *counts.flatten().tolist()])
            if not (label == 2).any():
                self.assertEqual(got, ["null"])
                continue
            self.near(got[0], sklearn.metrics.f1_score(label == 2, predicted == 2), 1)
            hits, union = int(((label == 2) & (predicted == 2)).sum()), int(((label == 2) | (predicted == 2)).sum())
            bounds = scipy.stats.binomtest(hits, union).proportion_ci(method="wilson")
            for mine, j in zip(got[1:], bounds, strict=True):
                self.near(mine, 2 * j / (1 + j), 1)

    def test_wilson(self):
        # fault: z² / n for z² / 2n
        for n in (1, 2, 10, 672, 100000):
            for k in sorted({0, 1, n // 3, n - 1, n}):
                (got,) = ask(["wilson", k, n])
                want = scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
                self.near(got[0], want.low, 1)
                self.near(got[1], want.high, 1)

    def test_tally_is_the_batch_over_its_window_at_every_record(self):
        # fault: the slot of the bar that leaves not cleared
        rng = random.Random(5)
        for bars, codes in ((1, 3), (7, 5), (96, 11), (672, 900)):
            words, held, want, bar = [], {}, [], -rng.randrange(1000)
            for _ in range(3000):
                bar += rng.choice([0, 1, 1, 1, 1, 2, 5, -1, -3] + [bars + 3] * (rng.random() < 0.01))
                code = rng.randrange(codes)
                words += [bar, code]
                newest = max([bar, *held])
                held[bar] = code
                held = {b: c for b, c in held.items() if newest - b < bars}
                ordered = sorted(held.values())
                want.append(f"{len(ordered)}:{ordered[int(0.99 * (len(ordered) - 1))]}")
            (got,) = ask(["tally", bars, codes, 0.99, *words])
            self.assertEqual(got, want)


def closes(rng, n, missing):
    close = 100 * np.exp(np.cumsum(rng.standard_t(3, n) * 0.002))
    close[rng.random(n) < missing] = np.nan
    return close


class Labels(unittest.TestCase):
    near = Oracle.near

    def test_volatility_is_pandas_ewm(self):
        # fault: blocks weighted from their first bar; a return over a missing candle taken
        rng = np.random.default_rng(6)
        for span in (2, 5, 96):
            for missing in (0, 0.01, 0.2):
                close = pd.Series(closes(rng, 3000, missing))
                r = close / close.shift(1) - 1
                blocks = np.arange(len(r)) // span
                (got,) = ask(["sigma", span, *map(float, close)])
                for t in list(range(0, 300)) + list(range(1000, 3000, 97)):
                    known = r.where(blocks >= t // span - 8)[:t + 1]
                    if math.isnan(close[t]) or known.notna().sum() < span:
                        self.assertEqual(got[t], "null")
                        continue
                    # a missing newest return: pandas carries the mean on, which is the same ratio
                    self.near(got[t], math.sqrt(known.pow(2).ewm(span=span).mean().ffill().iloc[-1]))
                if span == 96 and missing == 0:  # what is cut off does not matter
                    whole = np.sqrt(r.pow(2).ewm(span=span).mean())
                    self.assertLess(max(abs(float(got[t]) / whole[t] - 1) for t in range(1000, 3000)), 1e-6)

    def test_triple_barrier(self):
        # fault: ≥ for >; a label over a missing candle; the vertical barrier one bar late
        rng = np.random.default_rng(7)
        for horizon, span, width, missing in ((16, 96, 1.0, 0), (16, 96, 1.0, 0.003), (1, 2, 0.5, 0.05), (5, 10, 2.0, 0.02)):
            close = closes(rng, 3000, missing)
            (sigmas,) = ask(["sigma", span, *map(float, close)])
            want = []
            for t in range(len(close) - horizon):
                if math.isnan(close[t]) or sigmas[t] == "null" or math.isnan(close[t + horizon]):
                    # a decision touched before the gap still matures, with the first candle at or past its end
                    if math.isnan(close[t]) or sigmas[t] == "null":
                        continue
                reach = width * float(sigmas[t]) * math.sqrt(horizon)
                upper, lower = close[t] * (1 + reach), close[t] * (1 - reach)
                found = None
                for b in range(t + 1, t + horizon + 1):
                    if math.isnan(close[b]):
                        break
                    if close[b] > upper or close[b] < lower:
                        found = (2, b, 0) if close[b] > upper else (0, b, 1)
                        break
                    if b == t + horizon:
                        found = (1, b, 2)
                if found and not np.isnan(close[t + horizon:]).all():
                    want.append((t, *found, (close[found[1]] / close[t] - 1) * 1e4))
            (got,) = ask(["labels", horizon, span, width, *map(float, close)])
            got = [[float(v) for v in word.split(":")] for word in got]
            self.assertEqual([(int(b), int(c), int(e), int(k)) for b, c, e, _, k in got], [(t, c, e, k) for t, c, e, k, _ in want])
            for (*_, bps, _), (*_, his) in zip(got, want, strict=True):
                self.near(bps, his, max(abs(his), 1))
            self.assertGreater(len(want), 500)


if __name__ == "__main__":
    unittest.main(verbosity=2)
