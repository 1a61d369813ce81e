"""l2monitor reference against numpy, scipy and pandas: every figure of the file, thresholds too, from a second
implementation of docs/decisions/psi-calibration.md; on synthetic bars, and on bars of the recorded market.

To 1e-9. Seen to fail: see each test.
"""
import datetime
import json
import math
import os
import pathlib
import subprocess
import tempfile
import unittest

import fastavro
import numpy as np
import pandas as pd
import scipy.special

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ["L2FLOW_BIN"])
COLUMNS = ["mid_price", "spread_bps", "depth_imbalance_l1", "depth_imbalance_l5", "ofi_15m", "kyle_lambda"]
TOLERANCE = 1e-9
DAY = 86400
M64 = (1 << 64) - 1


# ---- the second implementation


class Random:
    """splitmix64"""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state + 0x9E3779B97F4A7C15) & M64
        z = self.state
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & M64
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & M64
        return ((z ^ z >> 31) >> 32) * n >> 32


def fnv1a(words):
    seed = 0xCBF29CE484222325
    for word in words:
        seed = ((seed ^ int(word)) * 0x100000001B3) & M64
    return seed


def psi(reference, counts):
    """counts: windows × bins → PSI, by the two relative entropies of which it is the sum."""
    a = np.maximum(counts / counts.sum(axis=1, keepdims=True), 1e-4)
    r = np.maximum(reference, 1e-4)[None, :]
    # Σ (a − r) ln(a / r) = Σ a ln(a / r) + Σ r ln(r / a)
    return (scipy.special.rel_entr(a, r) + scipy.special.rel_entr(r, a)).sum(axis=1)


def draw(random, days, block, n):
    found = []
    for i in range(n):
        found.append(random.below(days) if i % block == 0 else (found[-1] + 1) % days)
    return found


def rolling(counts, window, least, reference):
    """counts: steps × bins → PSI of the `window` steps that end at each, from the window-th on; −1: too few."""
    sums = np.vstack([np.zeros((1, counts.shape[1])), np.cumsum(counts, axis=0)])
    sums = sums[window:] - sums[:-window]
    enough = sums.sum(axis=1) >= max(least, 1)
    found = np.full(len(sums), -1.0)
    found[enough] = psi(reference, sums[enough])
    return found


def episodes(path, threshold):
    """Those that begin: above, and the two evaluations before were not; what has no data is no evaluation."""
    hit = np.concatenate([[False, False], path[path >= 0] > threshold])
    return np.count_nonzero(hit[2:] & ~hit[1:-1] & ~hit[:-2])


def least(floor, top, most, rate):
    if rate(floor) <= most:
        return floor
    low, high = floor, max(top, floor)
    for _ in range(60):
        middle = low + (high - low) / 2
        if not low < middle < high:
            break
        low, high = (low, middle) if rate(middle) <= most else (middle, high)
    return high


def thresholds(paths, before, apart, windows):
    windows = np.array([w for w in windows if w >= 0])
    warn, p2 = (np.quantile(windows, [0.95, 0.99]) if len(windows) else (0, 0))
    tops = paths.max(axis=1)

    def warns(threshold):
        return sum(episodes(p[before:], threshold) for p in paths[tops > threshold]) / len(paths)

    def p2s(threshold):
        hit = paths > threshold
        return (hit[:, before:] & hit[:, before - apart:hit.shape[1] - apart]).any(axis=1).mean()

    return (least(max(0.10, warn), tops.max(), 0.25, warns), least(max(0.25, p2), tops.max(), 0.005, p2s))


def calibrate(codes, bins, shares, day_bars, seed):
    """codes: days × bars, −1 where there is none."""
    if (codes >= 0).sum() < day_bars // 2:  # no window that is measured
        return (0.10, 0.25), (0.10, 0.25)
    days = len(codes)
    hot = np.stack([codes == b for b in range(bins)], axis=2).astype(float)
    by_day = hot.sum(axis=1)
    random = Random(seed)

    def resampled(block):
        counts = by_day[draw(random, days, block, days)].sum(axis=0)
        return counts / counts.sum() if counts.sum() else shares

    paths, windows = [], []
    for _ in range(200):
        reference = resampled(2)
        path = hot[draw(random, days, 2, 32)].reshape(-1, bins)
        paths.append(rolling(path, day_bars, day_bars // 2, reference)[1:])
        windows += list(paths[-1][day_bars - 1::day_bars])
    short = thresholds(np.array(paths), day_bars, day_bars, windows)
    block = next(b for b in range(1, 99) if b**3 >= days)
    paths = []
    for _ in range(1000):
        reference = resampled(block)
        path = by_day[draw(random, days, block, 60)]
        paths.append(rolling(path, 30, 30 * day_bars // 2, reference)[1:])
    paths = np.array(paths)
    return short, thresholds(paths, 0, 0, paths[:, 0])


def reference(frame, column, bar_s):
    """What the file should hold of a feature."""
    values = frame[column].dropna()
    found = {"n": len(values), "null_share": frame[column].isna().mean()}
    if not len(values):
        return found
    found |= {"mean": values.mean(), "sd": values.std() if len(values) > 1 else 0.0}
    if column == "mid_price":
        return found
    low, first, third, high = values.quantile([0.0001, 0.25, 0.75, 0.9999])
    found["range"] = [low - (third - first), high + (third - first)]
    if column == "spread_bps":
        found["range"][1] = min(found["range"][1], 1000.0)
    edges = np.unique(np.quantile(values, np.arange(1, 10) / 10))
    code = np.searchsorted(edges, frame[column].to_numpy(), side="right")
    code[frame[column].isna()] = -1
    shares = np.bincount(code[code >= 0], minlength=len(edges) + 1) / len(values)
    day_bars = DAY // bar_s
    first_day = frame.index[0] // day_bars
    grid = np.full((frame.index[-1] // day_bars - first_day + 1) * day_bars, -1)
    grid[frame.index - first_day * day_bars] = code
    seed = fnv1a(values.to_numpy(dtype=float).view(np.uint64))
    short, long = calibrate(grid.reshape(-1, day_bars), len(shares), shares, day_bars, seed)
    return found | {"edges": list(edges), "shares": list(shares), "psi_24h": dict(zip(("warn", "p2"), short)),
                    "psi_30d": dict(zip(("warn", "p2"), long))}


# ---- bars


def market(rng, bars_n, bar_s, missing, start, without=()):
    """Synthetic: autocorrelated, heavy-tailed and tied columns; nulls, and bars that are not there."""
    x, slow = np.zeros(bars_n), np.zeros(bars_n)
    noise = rng.standard_normal((6, bars_n))
    for i in range(1, bars_n):
        x[i] = 0.9 * x[i - 1] + math.sqrt(1 - 0.9**2) * noise[0, i]
        slow[i] = 0.99 * slow[i - 1] + math.sqrt(1 - 0.99**2) * noise[5, i]
    frame = pd.DataFrame({
        "mid_price": 60000 * np.exp(np.cumsum(noise[1]) * 0.001), "spread_bps": np.exp(2 * slow - 3),
        "depth_imbalance_l1": np.round(np.tanh(noise[2]), 1), "depth_imbalance_l5": np.where(noise[3] < 0.5, 0.0, np.tanh(x)),
        "ofi_15m": noise[4] / np.abs(noise[5] + 1e-6), "kyle_lambda": 3e-6 * (1 + x),
    }, index=start // bar_s + np.arange(bars_n))
    for column, share in zip(COLUMNS[1:], (0.0, 0.001, 0.02, 0.3, 0.01)):
        frame.loc[rng.random(bars_n) < share, column] = np.nan
    frame[list(without)] = np.nan
    frame["snapshots"] = rng.integers(8000, 9000, bars_n)
    return frame[rng.random(bars_n) >= missing]


def write(path, cryptos, bar_s):
    schema = fastavro.parse_schema(json.loads((ROOT / "schemas" / "l2_bar.avsc").read_text()))
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)

    def records():
        for symbol, frame in cryptos.items():
            for bar, row in zip(frame.index, frame.to_dict("records")):
                values = {c: None if math.isnan(row[c]) else row[c] for c in COLUMNS}
                yield values | {
                    "exchange": "synthetic", "symbol": symbol, "bar_time": epoch + datetime.timedelta(seconds=int(bar) * bar_s),
                    "bar_seconds": bar_s, "schema_version": "l2_schema_v1", "snapshots": int(row["snapshots"]), "gaps": 0,
                    "coverage": 1.0, "spread_sketch": b"", "last_event_time": None, "closed_by": "event", "source_partition": 0,
                    "source_offset": 0, "resume": {"epoch": 0, "sequence": 0, "last_event_time": epoch, "last_kafka_time": epoch}}

    with open(path, "wb") as out:
        fastavro.writer(out, schema, records())


def read(path):
    with open(path, "rb") as source:
        records = list(fastavro.reader(source))
    frames = {}
    for symbol in {r["symbol"] for r in records}:
        rows = [r for r in records if r["symbol"] == symbol]
        bar_s = rows[0]["bar_seconds"]
        frames[symbol] = pd.DataFrame(
            [{c: r[c] for c in [*COLUMNS, "snapshots"]} for r in rows], dtype=float,
            index=[int(r["bar_time"].timestamp()) // bar_s for r in rows])
    return frames, bar_s


def monitor(*args, code=0):
    done = subprocess.run([BIN / "l2monitor", *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{done.returncode}: {done.stdout} {done.stderr}"
    return done


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def same(self, got, want, where):
        if isinstance(want, dict):
            self.assertEqual(set(got), set(want), where)
            for key in want:
                self.same(got[key], want[key], f"{where}.{key}")
        elif isinstance(want, list):
            self.assertEqual(len(got), len(want), where)
            for i, pair in enumerate(zip(got, want)):
                self.same(*pair, f"{where}[{i}]")
        else:
            self.assertLessEqual(abs(got - want), TOLERANCE * max(abs(want), 1e-12), f"{where}: {got} for {want}")

    def compare(self, text, frames, bar_s):
        self.assertEqual(text["bar_seconds"], bar_s)
        self.assertEqual(set(text["cryptos"]), set(frames))
        for symbol, frame in frames.items():
            got = text["cryptos"][symbol]
            self.assertEqual(got["training"], {"from": int(frame.index[0]) * bar_s * 10**6,
                                               "to": (int(frame.index[-1]) + 1) * bar_s * 10**6})
            self.same(got["snapshots_median"], float(frame["snapshots"].median()), symbol)
            for column in COLUMNS:
                self.same(got["features"][column], reference(frame, column, bar_s), f"{symbol}.{column}")


class Reference(Case):
    def test_every_figure_of_synthetic_bars(self):
        # faults: a value left out of a quantile; sd of n; the range not widened; blocks of one day (short, long);
        # the reference not drawn anew; a P2 of one window; an episode that one evaluation below ends
        rng = np.random.default_rng(1)
        frames = {"AAAUSDT": market(rng, 61 * 96, 900, 0.01, 1700006400 + 5 * 900)}
        write(self.folder / "b.avro", frames, 900)
        monitor("reference", self.folder / "b.avro", "-q", "-o", self.folder / "r.json")
        text = json.loads((self.folder / "r.json").read_text())
        self.compare(text, frames, 900)
        # an autocorrelated feature wanders further from its reference
        features = text["cryptos"]["AAAUSDT"]["features"]
        self.assertGreater(features["kyle_lambda"]["psi_24h"]["warn"], 2 * features["ofi_15m"]["psi_24h"]["warn"])
        self.assertGreater(features["spread_bps"]["psi_30d"]["p2"], 0.3)  # one that the table does not decide

    def test_other_bars_and_little_history(self):
        # faults: 96 bars a day whatever the bar; the table's threshold not kept where nothing can be calibrated
        rng = np.random.default_rng(2)
        for bar_s, bars_n, missing in ((3600, 62 * 24, 0.1), (1800, 90, 0), (900, 3 * 96, 0.01), (900, 1, 0)):
            with self.subTest(bar_s=bar_s, bars_n=bars_n):
                frames = {"X": market(rng, bars_n, bar_s, missing, 1700006400, ("depth_imbalance_l1", "depth_imbalance_l5", "ofi_15m"))}
                write(self.folder / "b.avro", frames, bar_s)
                monitor("reference", self.folder / "b.avro", "-q", "-o", self.folder / "r.json", "--days-min", 1)
                self.compare(json.loads((self.folder / "r.json").read_text()), frames, bar_s)

    def test_recorded_market(self):
        # fault: a null read as 0
        made = self.folder / "snapshots.avro"
        subprocess.run([BIN / "l2replay", "--exchange", "binance-usdm", "--loop-hours", "2", "--output", made, "--input",
                        ROOT / "tests" / "data" / "usdm_btcusdt_20240808.gz", "--symbol", "BTCUSDT"], check=True, capture_output=True)
        subprocess.run([BIN / "feature-producer", "--offline", made, "--out-dir", self.folder], check=True, capture_output=True,
                       env={**os.environ, "L2_BAR_SECONDS": "60"})
        monitor("reference", self.folder / "l2_bars.avro", "-q", "-o", self.folder / "r.json", "--days-min", 1)
        frames, bar_s = read(self.folder / "l2_bars.avro")
        self.assertEqual(bar_s, 60)
        self.assertGreater(len(frames["BTCUSDT"]), 100)
        self.compare(json.loads((self.folder / "r.json").read_text()), frames, bar_s)


class Tool(Case):
    def setUp(self):
        super().setUp()
        rng = np.random.default_rng(3)
        self.frames = {"AAAUSDT": market(rng, 60 * 24, 3600, 0, 1700006400), "BBBUSDT": market(rng, 60 * 24, 3600, 0, 1700006400)}
        self.bars, self.out = self.folder / "b.avro", self.folder / "r.json"
        write(self.bars, self.frames, 3600)

    def make(self, *args, code=0):
        return monitor("reference", self.bars, "-o", self.out, *args, code=code)

    def test_the_same_bars_give_the_same_file(self):
        # faults: a seed from an address; the first byte left out of the hash
        self.make()
        first = self.out.read_text()
        monitor("reference", self.bars, self.bars, "-o", self.out)  # twice the same bars count once
        self.assertEqual(self.out.read_text(), first)
        text = json.loads(first)
        seed = fnv1a(first.replace(text["version"], "").encode())
        self.assertEqual(text["version"], f"fnv1a-{seed:016x}")
        self.assertFalse((self.folder / "r.json.tmp").exists())
        self.make("--name", "model-7")
        self.assertEqual(json.loads(self.out.read_text()), text | {"version": "model-7"})

    def test_only_what_is_asked_for(self):
        # faults: a bar that ends after --to; --symbol not looked at
        self.make("-s", "BBBUSDT", "--from", "2023-11-20", "--to", "2023-12-30T00:30:00Z", "--days-min", "30")
        text = json.loads(self.out.read_text())
        self.assertEqual(text["training"], {"from": 1700438400000000, "to": 1703896200000000})
        self.assertEqual(set(text["cryptos"]), {"BBBUSDT"})
        self.assertEqual(text["cryptos"]["BBBUSDT"]["training"], {"from": 1700438400000000, "to": 1703894400000000})

    def test_estimates(self):
        # fault: an estimate outside of [0, 1] taken
        figure = {"value": 0.41, "low": 0.37, "high": 0.45}
        given = self.folder / "oof.json"
        given.write_text(json.dumps({"AAAUSDT": {"f1_buy": figure, "agreement": figure | {"high": 1}}}))
        said = self.make("--estimates", given).stdout
        self.assertIn("f1_buy 0.410 [0.370, 0.450]", said)
        crypto = json.loads(self.out.read_text())["cryptos"]["AAAUSDT"]
        self.assertEqual((crypto["f1_buy"], crypto["agreement"]), (figure, figure | {"high": 1}))
        self.assertNotIn("blind_f1_buy", crypto)
        before = self.out.read_text()
        for wrong, word in (({"AAAUSDT": {"f1_buy": figure | {"low": -1}}}, "AAAUSDT.f1_buy.low: -1"),
                            ({"CCC": {}}, "there are no bars"), ([], "not a JSON object"),
                            ({"AAAUSDT": {"f1": figure}}, "f1: not a field")):
            given.write_text(json.dumps(wrong))
            self.assertIn(word, self.make("--estimates", given, code=78).stderr)
        self.assertEqual(self.out.read_text(), before)

    def test_what_goes_wrong_is_named(self):
        # faults: too few days taken; two bar lengths mixed; a contradiction passed over
        self.assertIn("bars of 60 days, 61 are wanted", self.make("--days-min", 61, code=1).stderr)
        self.assertIn("no bars there", self.make("--exchange", "other", code=1).stderr)
        self.assertFalse(self.out.exists())
        monitor("reference", self.folder / "absent.avro", code=66)
        monitor("reference", code=64)
        monitor("reference", self.bars, "--from", "yesterday", code=64)
        (self.folder / "cut.avro").write_bytes(self.bars.read_bytes()[:-100])
        monitor("reference", self.folder / "cut.avro", "-q", "-o", self.out, code=65)
        other = self.folder / "o.avro"
        write(other, {"AAAUSDT": market(np.random.default_rng(4), 96, 900, 0, 1700006400)}, 900)
        self.assertIn("--bar-seconds", monitor("reference", self.bars, other, "-o", self.out, code=65).stderr)
        monitor("reference", self.bars, other, "-q", "-o", self.out, "--bar-seconds", 3600)
        changed = self.frames["AAAUSDT"].copy()
        changed.iloc[7, 5] = 1.0
        write(other, {"AAAUSDT": changed}, 3600)
        self.assertIn("came twice", monitor("reference", self.bars, other, "-o", self.out, code=65).stderr)
        self.assertIn("cannot be written", monitor("reference", self.bars, "-q", "-o", self.folder / "no" / "r.json", code=74).stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
