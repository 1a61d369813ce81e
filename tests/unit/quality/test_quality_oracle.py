"""The statistics of common/l2 against plain re-implementations from their definitions, over whole histories, and against numpy,
scipy and scikit-learn.

To 1e-9 on random, heavy-tailed, tied and adversarial numbers. Seen to fail: see each test.
"""
import bisect
import math
import os
import pathlib
import random
import statistics
import subprocess
import unittest

import numpy as np
import pandas as pd
import scipy.special
import scipy.stats
import sklearn.metrics

PROBE = pathlib.Path(os.environ["L2FLOW_BIN"]) / "quality_probe"
TOLERANCE = 1e-9


def ask(*request):
    """The probe's answer, in words."""
    line = " ".join(format(w, ".17g") if isinstance(w, float) else str(w) for w in request) + "\n"
    return subprocess.run([PROBE], input=line, capture_output=True, text=True, check=True).stdout.split()


def quantile(ascending, q):
    """Linear interpolation at q(n − 1)."""
    rank = q * (len(ascending) - 1)
    below = min(int(rank), len(ascending) - 1)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (ascending[above] - ascending[below]) * (rank - below)


def heavy(rng):
    """Student's t with 2 degrees of freedom: no variance."""
    return rng.gauss(0, 1) / math.sqrt(rng.expovariate(1) + 1e-12)


class Case(unittest.TestCase):
    def near(self, got, want, scale=None):
        self.assertLessEqual(abs(float(got) - want), TOLERANCE * (abs(want) if scale is None else scale), f"{got} for {want}")


class Statistics(Case):
    def test_ln(self):
        # fault: terms of the series left out
        rng = random.Random(1)
        x = [1.0, math.sqrt(0.5), math.sqrt(2), 5e-324, 1e-300, 1.7e308, math.nextafter(1, 2), math.nextafter(1, 0)]
        x += [math.exp(rng.uniform(-700, 700)) for _ in range(20000)]
        for value, mine in zip(x, ask("ln", *x), strict=True):
            self.assertLessEqual(abs(float(mine) - math.log(value)), 4e-16 * max(abs(math.log(value)), 1e-16), value)

    def test_sort(self):
        # faults: the child on the left always; a heap that ends one early
        rng = random.Random(9)
        for n in (1, 2, 3, 4, 5, 10, 97, 5000):
            many = [[heavy(rng) for _ in range(n)], [float(rng.randrange(3)) for _ in range(n)], [float(i) for i in range(n)],
                    [float(-i) for i in range(n)]]
            for x in many:
                self.assertEqual([float(word) for word in ask("sort", *x)], sorted(x))

    def test_quantile(self):
        # fault: rank from n instead of n − 1
        rng = random.Random(2)
        for n in (1, 2, 3, 10, 97, 5000):
            x = sorted(heavy(rng) for _ in range(n))
            for q in (0.0, 1e-4, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999, 1.0):
                (got,) = ask("quantile", q, *x)
                self.near(got, quantile(x, q), max(map(abs, x)))
            if n > 1:  # the deciles of the standard library
                for i, want in enumerate(statistics.quantiles(x, n=10, method="inclusive"), 1):
                    (got,) = ask("quantile", i / 10, *x)
                    self.near(got, want, max(map(abs, x)))

    def test_psi(self):
        # fault: shares not floored; edges not merged; an edge's own value in the bin below
        rng = random.Random(3)
        makers = (lambda: rng.gauss(0, 1), lambda: heavy(rng), lambda: float(rng.randrange(4)),
                  lambda: 0.0 if rng.random() < 0.7 else rng.gauss(0, 1), lambda: 3.5)
        for case in range(200):
            make, scale, shift = makers[case % 5], rng.choice((1, 1, 1.5)), rng.choice((0, 0, 0.3))
            x = sorted(make() for _ in range(rng.randrange(1, 3000)))
            y = [make() * scale + shift for _ in range(rng.randrange(1, 500))]
            edges = sorted({quantile(x, i / 10) for i in range(1, 10)})
            shares = []
            for values in (y, x):
                count = [0] * (len(edges) + 1)
                for v in values:
                    count[bisect.bisect_right(edges, v)] += 1
                shares.append([c / len(values) for c in count])
            got, *mine = ask("psi", len(x), *x, *y)
            self.assertEqual(len(mine), len(shares[1]))
            for m, share in zip(mine, shares[1], strict=True):
                self.near(m, share, 1)
            pairs = [(max(a, 1e-4), max(r, 1e-4)) for a, r in zip(*shares, strict=True)]
            want = sum((a - r) * math.log(a / r) for a, r in pairs)
            self.near(got, want, max(abs(want), 1e-3))

    def test_f1_and_its_interval(self):
        # fault: FP counted twice; the interval of TP in n
        rng = random.Random(4)
        for case in range(200):
            pairs = [(rng.randrange(3), rng.randrange(3)) for _ in range(300)]  # predicted, label
            if case % 10 == 0:
                pairs = [(min(p, 1), label) for p, label in pairs]
            if case % 10 == 1:
                pairs = [(p, min(label, 1)) for p, label in pairs]
            got = ask("f1", *(sum(pair == (p, label) for pair in pairs) for p in range(3) for label in range(3)))
            hits, said, true = (sum(f) for f in zip(*((p == 2 == label, p == 2, label == 2) for p, label in pairs), strict=True))
            if true == 0:
                self.assertEqual(got, ["null"])
                continue
            precision, recall = hits / said if said else 0, hits / true
            self.near(got[0], 2 * precision * recall / (precision + recall) if hits else 0, 1)
            for mine, j in zip(got[1:], wilson(hits, said + true - hits), strict=True):
                self.near(mine, 2 * j / (1 + j), 1)

    def test_wilson(self):
        # fault: z² / n for z² / 2n
        for n in (1, 2, 10, 672, 100000):
            for k in sorted({0, 1, n // 3, n - 1, n}):
                for mine, want in zip(ask("wilson", k, n), wilson(k, n), strict=True):
                    self.near(mine, want, 1)

    def test_tally_is_the_batch_over_its_window_at_every_record(self):
        # faults: the slot of the bar that leaves not cleared; slots before the array's begin not taken from its end
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
            self.assertEqual(ask("tally", bars, codes, 0.99, *words), want)


def wilson(k, n):
    """The two p at which k lies 1.96 standard deviations from np: roots of n(p̂ − p)² = z² p(1 − p), by bisection."""
    z2, share = statistics.NormalDist().inv_cdf(0.975) ** 2, k / n

    def inside(p):
        return n * (share - p) ** 2 <= z2 * p * (1 - p)

    def edge(a, b):  # a inside or the share itself, b outside
        for _ in range(200):
            middle = (a + b) / 2
            a, b = (middle, b) if inside(middle) or middle == share else (a, middle)
        return (a + b) / 2

    return 0 if k == 0 else edge(share, 0), 1 if k == n else edge(share, 1)


class Libraries(Case):
    """Seen to fail: rank from n; shares floored at 1e-9; z² / n for z² / 2n; a decay of another span."""

    def test_quantile_and_psi(self):
        rng = np.random.default_rng(8)
        for x, y in ((rng.standard_t(2, 5000), rng.standard_t(2, 96)), (rng.integers(0, 4, 900) * 1.0, rng.integers(1, 6, 50) * 1.0),
                     (rng.standard_normal(33), rng.standard_normal(2880) + 1)):
            x.sort()
            for q in (0.0001, 0.05, 0.1, 0.5, 0.9999):
                self.near(ask("quantile", q, *map(float, x))[0], np.quantile(x, q), np.abs(x).max())
            edges = np.unique(np.quantile(x, np.arange(1, 10) / 10))
            shares = [np.maximum(np.bincount(np.searchsorted(edges, v, side="right"), minlength=len(edges) + 1) / len(v), 1e-4)
                      for v in (y, x)]
            want = (scipy.special.rel_entr(*shares) + scipy.special.rel_entr(*shares[::-1])).sum()
            self.near(ask("psi", len(x), *map(float, x), *map(float, y))[0], want)

    def test_f1_and_wilson(self):
        rng = np.random.default_rng(9)
        for n in (30, 300, 5000):
            predicted, label = rng.integers(0, 3, n), rng.integers(0, 3, n)
            cells = sklearn.metrics.confusion_matrix(label, predicted).T.ravel()  # by predicted, then label
            want = sklearn.metrics.f1_score(label == 2, predicted == 2)
            self.near(ask("f1", *map(int, cells))[0], want)
            for k in (0, n // 3, n):
                ci = scipy.stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
                for mine, his in zip(ask("wilson", k, n), ci, strict=True):
                    self.near(mine, his, 1)

    def test_volatility(self):
        # pandas' EWMA has no blocks: over what one block holds they are the same
        rng = np.random.default_rng(10)
        close = 100 * np.exp(np.cumsum(rng.standard_normal(96) * 0.01))
        got = ask("sigma", 48, *map(float, close))
        squares = pd.Series(close).pct_change() ** 2
        want = np.sqrt(squares.ewm(span=48, adjust=True, ignore_na=False).mean())
        for t in range(50, 96):
            self.near(got[t], want[t])


def closes(rng, n, missing):
    price, found = 100.0, []
    for _ in range(n):
        price *= math.exp(heavy(rng) * 0.002)
        found.append(math.nan if rng.random() < missing else price)
    return found


class Labels(Case):
    def test_volatility(self):
        # fault: blocks weighted from their first bar; a return over a missing candle taken
        rng = random.Random(6)
        for span in (2, 5, 96):
            for missing in (0, 0.01, 0.2):
                close = closes(rng, 1500, missing)
                got = ask("sigma", span, *close)
                returns = [math.nan] + [b / a - 1 for a, b in zip(close, close[1:], strict=False)]
                keep = 1 - 2 / (span + 1)
                for t in list(range(0, 300)) + list(range(700, 1500, 97)):
                    known = [(keep ** (t - b), returns[b]) for b in range(max(0, (t // span - 8) * span), t + 1)
                             if not math.isnan(returns[b])]
                    if math.isnan(close[t]) or len(known) < span:
                        self.assertEqual(got[t], "null")
                        continue
                    weights = math.fsum(w for w, _ in known)
                    self.near(got[t], math.sqrt(math.fsum(w * r * r for w, r in known) / weights))

    def test_triple_barrier(self):
        # fault: ≥ for >; a label over a missing candle; the vertical barrier one bar late
        rng = random.Random(7)
        for horizon, span, width, missing in ((16, 96, 1.0, 0), (16, 96, 1.0, 0.003), (1, 2, 0.5, 0.05), (5, 10, 2.0, 0.02)):
            close = closes(rng, 3000, missing)
            sigmas, want = ask("sigma", span, *close), []
            for t in range(len(close) - horizon):
                if math.isnan(close[t]) or sigmas[t] == "null":
                    continue
                reach = width * float(sigmas[t]) * math.sqrt(horizon)
                upper, lower, found = close[t] * (1 + reach), close[t] * (1 - reach), None
                for b in range(t + 1, t + horizon + 1):
                    if math.isnan(close[b]):
                        break
                    if close[b] > upper or close[b] < lower:
                        found = (2, b, 0) if close[b] > upper else (0, b, 1)
                        break
                    if b == t + horizon:
                        found = (1, b, 2)
                # touched early, it still matures with the first candle at or past its vertical barrier
                if found and any(not math.isnan(c) for c in close[t + horizon:]):
                    want.append((t, *found, (close[found[1]] / close[t] - 1) * 1e4))
            got = [[float(v) for v in word.split(":")] for word in ask("labels", horizon, span, width, *close)]
            self.assertEqual([(int(b), int(c), int(e), int(k)) for b, c, e, _, k in got], [w[:4] for w in want])
            for (*_, bps, _), (*_, his) in zip(got, want, strict=True):
                self.near(bps, his, max(abs(his), 1))
            self.assertGreater(len(want), 500)


if __name__ == "__main__":
    unittest.main(verbosity=2)
