"""l2qm: the quality monitor's inputs made up, and what must come of them, from the definitions, over whole histories.

    market = Market(seed, symbols, days)         events: bars, feature records, predictions, candles, as they arrive
    probe(market, lines)                         what the core says of each event: [(folded, [words, …])]
    Batch(market).fold(event)                    what must be said, recomputed from all that was folded before

An event is a dict; `kind` is the topic: c(andle), b(ar), f(eature), p(rediction). Times are bar numbers. Nothing here follows
the C code: windows are looked through from one end to the other at every record.
"""

import bisect
import datetime
import json
import math
import random
import subprocess
import time

import l2_sketch_ref
import l2live

EXCHANGE = "binance-usdm"
COLUMNS = ["mid_price", "spread_bps", "depth_imbalance_l1", "depth_imbalance_l5", "ofi_15m", "kyle_lambda"]
SETS = {"standard": COLUMNS, "min": ["spread_bps", "depth_imbalance_l1", "mid_price"],
        "flow_only": ["kyle_lambda", "ofi_15m", "depth_imbalance_l5"]}
NONE, NO_L2, CHAMPION, CANDIDATE = range(4)
SELL, HOLD, BUY = range(3)
ROLLOUT, KILL_SWITCH, WARMUP = 0, 1, 4  # why an arm is executed
DAY_S = 86400
HORIZON_MAX = 48
STATES = ["no_data", "ok", "warn", "p2"]
US = 1_000_000

# signal: (window in seconds, warn below, warn above, p2 below, p2 above, enter n, leave n, enter s, leave s)
ROWS = {
    "l2_feature_freshness_seconds": (0, None, 60, None, 300, 1, 1, 60, 300),
    "l2_feature_nan_rate": (0, None, 0.05, None, 0.20, 3, 8, 0, 0),
    "l2_feature_value_oor": (DAY_S, None, 0.01, None, 0.05, 1, 2, 0, 0),
    "nan_rate_ahead": (0, None, 0.20, None, None, 1, 2, 0, 0),
    "l2_kyle_lambda_drift_psi": (DAY_S, None, 0.10, None, 0.25, 1, 2, 0, 0),
    "l2_feed_cadence": (3600, None, None, 0.5, 2, 1, 2, 0, 0),
    "l2_kyle_lambda_psi_30d": (30 * DAY_S, None, 0.10, None, 0.25, 1, 2, 0, 0),
    "l2_ofi_15m_psi_30d": (30 * DAY_S, None, 0.10, None, 0.25, 1, 2, 0, 0),
    "l2_depth_imbalance_l5_psi_30d": (30 * DAY_S, None, 0.10, None, 0.25, 1, 2, 0, 0),
    "l2_kyle_lambda_p99": (DAY_S, None, None, None, None, 1, 2, 0, 0),
    "l2_spread_regime": (90 * DAY_S, None, None, None, 3, 1, 2, 0, 0),
    "l2_feature_freshness_p99": (7 * DAY_S, None, None, None, None, 1, 2, 0, 0),
    "l2_feature_nan_rate_p99": (7 * DAY_S, None, None, None, None, 1, 2, 0, 0),
    "l2_agreement": (7 * DAY_S, None, None, None, None, 1, 2, 0, 0),
    "l2_f1_buy": (30 * DAY_S, None, None, None, None, 1, 2, 0, 0),
    "l2_f1_buy_drift": (30 * DAY_S, -0.05, None, None, 0.05, 7, 2, 0, 0),
    "l2_delta_f1_buy": (30 * DAY_S, None, None, 0, None, 1, 2, 0, 0),
    "l2_latch": (0, None, None, None, 0.5, 1, 1, 0, 0),
}
MONTHLY = {"l2_kyle_lambda_psi_30d": "kyle_lambda", "l2_ofi_15m_psi_30d": "ofi_15m",
           "l2_depth_imbalance_l5_psi_30d": "depth_imbalance_l5"}


# ---- statistics, from their definitions


def quantile(ascending, q):
    """Linear interpolation at q(n − 1)."""
    rank = q * (len(ascending) - 1)
    below = int(rank)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (ascending[above] - ascending[below]) * (rank - below)


def lower_rank(values, q):
    return sorted(values)[int(q * (len(values) - 1))]


def wilson(k, n):
    z2, p = 1.959963984540054 ** 2, k / n
    a, b, c = 1 + z2 / n, -(2 * p + z2 / n), p * p  # n(p̂ − p)² = z² p(1 − p)
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return 0 if k == 0 else (-b - root) / (2 * a), 1 if k == n else (-b + root) / (2 * a)


def shares(edges, values):
    count = [0] * (len(edges) + 1)
    for value in values:
        count[bisect.bisect_right(edges, value)] += 1
    return [c / len(values) for c in count]


def psi(feature, values):
    pairs = [(max(a, 1e-4), max(r, 1e-4)) for a, r in zip(shares(feature["edges"], values), feature["shares"], strict=True)]
    return math.fsum((a - r) * math.log(a / r) for a, r in pairs)


def splitmix64(seed):
    mask = (1 << 64) - 1
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = seed
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & mask
        yield z ^ z >> 31


def f1_of(counts):
    tp, fp, fn = counts
    return 0.0 if tp == 0 else 2 * tp / (2 * tp + fp + fn)


# ---- a market


def feature_reference(values, spread=False):
    x = sorted(values)
    edges = sorted({quantile(x, i / 10) for i in range(1, 10)})
    iqr = quantile(x, 0.75) - quantile(x, 0.25)
    mean = math.fsum(x) / len(x)
    high = quantile(x, 0.9999) + iqr
    return {"n": len(x), "null_share": 0.0, "mean": mean, "sd": math.sqrt(math.fsum((v - mean) ** 2 for v in x) / (len(x) - 1)),
            "range": [quantile(x, 0.0001) - iqr, min(high, 1000.0) if spread else high],
            "edges": edges, "shares": shares(edges, x),
            "psi_24h": {"warn": 0.31, "p2": 0.52}, "psi_30d": {"warn": 0.10, "p2": 0.25}}


def draw(rng, column, price):
    if column == "mid_price":
        return price * (1 + rng.gauss(0, 1e-4))
    if column == "spread_bps":
        return math.exp(rng.gauss(0, 0.5))
    if column == "kyle_lambda":
        return math.exp(rng.gauss(-3, 0.4))
    if column == "ofi_15m":
        return rng.gauss(0, 10)
    return max(-1.0, min(1.0, rng.gauss(0, 0.3)))


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


def sketch_bin(x):
    if x < l2_sketch_ref.LOW:
        return l2_sketch_ref.FIRST
    return l2_sketch_ref.LAST if x > l2_sketch_ref.HIGH else math.floor(l2_sketch_ref.scale_of(x)) + 467


def encode_sketch(bins):
    """{bin: count} as the bytes of docs/formats.md."""
    out, previous = b"", 0
    for index in sorted(bins):
        out += varint(index - previous) + varint(bins[index])
        previous = index
    return out


def sketch_value(index, cache={}):
    """What a bin stands for: the point as far from both edges, relatively."""
    if index not in cache:
        low, high = l2_sketch_ref.edge(index), l2_sketch_ref.edge(index + 1)
        cache[index] = 2 * low * high / (low + high)
    return cache[index]


class Market:
    """What some cryptos' topics hold, in the order in which it arrives: [[event, …] of one bar's close, …].

    Gaps, nulls, missing days, late and doubled records are strewn over it with the seed; `calm` leaves them out.
    """

    def __init__(self, seed, symbols=("AAA", "BBB", "CCC"), days=35, bar_s=900, purge=20, feature_set="standard", first_bar=None,
                 kinds="cbfp", calm=False, late=True, without_reference=("CCC",)):
        self.rng, self.bar_s, self.purge, self.set = random.Random(seed), bar_s, purge, feature_set
        self.day = DAY_S // bar_s
        self.symbols, self.kinds, self.calm, self.late = symbols, kinds, calm, late
        self.first = 19400 * self.day + 37 if first_bar is None else first_bar
        self.bars_n = days * self.day
        self.reference = {s: self.make_reference() for s in symbols if s not in without_reference}
        self.steps, self.held = [], {}
        self.state = {s: {"price": 100.0, "rows": {}, "wild": 1.0} for s in symbols}
        for i in range(self.bars_n):
            self.steps.append(self.step(self.first + i, i))

    def odd(self, share):
        return not self.calm and self.rng.random() < share

    def make_reference(self):
        made = {"training": {"from": 0, "to": 86400 * US}, "snapshots_median": 300.0,
                "f1_buy": {"value": 0.45, "low": 0.4, "high": 0.5}, "features": {}}
        for column in COLUMNS:
            made["features"][column] = feature_reference([draw(self.rng, column, 100.0) for _ in range(2000)], column == "spread_bps")
        for gone in ("range", "edges", "shares", "psi_24h", "psi_30d"):
            del made["features"]["mid_price"][gone]
        return made

    def write_reference(self, path):
        path.write_text(json.dumps({"format": 1, "version": "ref-1", "exchange": EXCHANGE, "bar_seconds": self.bar_s,
                                    "training": {"from": 0, "to": 86400 * US}, "cryptos": self.reference}))
        return path

    def row(self, symbol, i):
        state, rng = self.state[symbol], self.rng
        drifted = symbol == "BBB" and 12 * self.day < i < 20 * self.day
        row = {c: draw(rng, c, state["price"]) for c in COLUMNS}
        if drifted:
            row["kyle_lambda"] *= 1.9
            row["ofi_15m"] += 15
        if self.odd(0.001):
            state["wild"] = 1.2 if state["wild"] == 1.0 else 1.0  # a mid that leaves its close
        row["mid_price"] *= state["wild"]
        if self.odd(0.01):
            row["spread_bps"] *= 1e4
        for column in COLUMNS:
            if self.odd(0.02):
                row[column] = None
        return {c: None for c in COLUMNS} if self.odd(0.01) else row

    def bar(self, symbol, bar, i):
        gone = symbol == "BBB" and 5 * self.day <= i < 7 * self.day + 11 and not self.calm  # missing days
        if gone or self.odd(0.005):
            return []
        rng, bins = self.rng, {}
        for _ in range(rng.randrange(1, 12)):
            spread = math.exp(rng.gauss(0, 0.5 if i < self.bars_n * 0.95 else 1.5))
            index = sketch_bin(spread)
            bins[index] = bins.get(index, 0) + 1
        row = self.row(symbol, i)
        self.state[symbol]["rows"][bar] = row
        quiet = symbol == "AAA" and 300 < i < 330
        event = {"kind": "b", "symbol": symbol, "bar": bar, "row": row, "snapshots": 40 if quiet else rng.randrange(200, 400),
                 "bins": bins}
        return [event] * (2 if self.odd(0.01) else 1)

    def candle(self, symbol, bar, i):
        state = self.state[symbol]
        state["price"] *= math.exp(self.rng.gauss(0, 0.003))
        if symbol == "AAA" and 1500 <= i < 1512 and not self.calm or self.odd(0.002):
            return []
        event = {"kind": "c", "symbol": symbol, "bar": bar, "close": state["price"]}
        return [event] * (2 if self.odd(0.01) else 1)

    def feature(self, symbol, bar):
        row = self.state[symbol]["rows"].get(bar - self.purge) or {c: None for c in COLUMNS}
        event = {"kind": "f", "symbol": symbol, "bar": bar, "source": bar - self.purge, "row": row}
        return [] if self.odd(0.003) else [event] * (2 if self.odd(0.01) else 1)

    def prediction(self, symbol, bar, i, arm, blind):
        rng = self.rng
        decision = blind if rng.random() < 0.8 else rng.randrange(3)
        params = (16, 96, 1.0) if arm != CANDIDATE else (8, 20, 0.7)
        if arm == CHAMPION and i > 20 * self.day:
            params = (16, 96, 0.8)  # the model was changed
        l2 = arm in (CHAMPION, CANDIDATE)
        stale = symbol == "AAA" and 700 < i < 706
        return {"kind": "p", "symbol": symbol, "bar": bar, "arm": arm, "decision": decision, "executed": arm == NO_L2,
                "reason": WARMUP if i < self.purge else KILL_SWITCH if symbol == "BBB" and 500 < i < 520 else ROLLOUT,
                "freshness": None if self.odd(0.002) else 400.25 if stale else rng.expovariate(0.5),
                "nan_rate": None if not l2 or self.odd(0.01) else rng.choice([0] * 11 + [1, 1, 2]) / len(SETS[self.set]),
                "params": None if self.odd(0.01) else params, "version": f"v{i // (9 * self.day)}"}

    def predictions(self, symbol, bar, i):
        blind, events = self.rng.choice([SELL, HOLD, HOLD, BUY]), []
        for arm in (NO_L2, CHAMPION, CANDIDATE):
            if arm == CANDIDATE and (symbol != "AAA" or i < 3 * self.day) or self.odd(0.01):
                continue
            event = self.prediction(symbol, bar, i, arm, blind)
            late = self.rng.choice([1, 3, 7, 8, 15, 16, 17, 40, 100]) if self.late and self.odd(0.02) else 0
            self.held.setdefault(bar + late, []).append(event)
            if self.odd(0.01):
                self.held.setdefault(bar + late, []).append(event)
        return [e for e in self.held.get(bar, []) if e["symbol"] == symbol] + events

    def step(self, bar, i):
        events = []
        for symbol in self.symbols:
            made = {"c": self.candle(symbol, bar, i), "b": self.bar(symbol, bar, i), "f": self.feature(symbol, bar),
                    "p": self.predictions(symbol, bar, i)}
            events += [e for kind in "cbfp" if kind in self.kinds for e in made[kind]]
        return events

    def events(self):
        return [event for step in self.steps for event in step]

    def interleaved(self, seed):
        """The same, each step's topics in any order, each topic's own kept."""
        rng, found = random.Random(seed), []
        for step in self.steps:
            lanes = {}
            for event in step:
                lanes.setdefault((event["kind"], event["symbol"]), []).append(event)
            lanes = list(lanes.values())
            while lanes:
                lane = rng.choice(lanes)
                found.append(lane.pop(0))
                lanes = [one for one in lanes if one]
        return found


# ---- the probe


def word(x):
    return "null" if x is None else format(x, ".17g") if isinstance(x, float) else str(int(x) if isinstance(x, bool) else x)


def line_of(market, event):
    time = event["bar"] * market.bar_s * US
    head = [event["kind"], event["symbol"], time]
    if event["kind"] == "b":
        tail = [event["snapshots"], encode_sketch(event["bins"]).hex() or "-", *(event["row"][c] for c in COLUMNS)]
    elif event["kind"] == "f":
        tail = [event["source"] * market.bar_s * US, *(event["row"][c] for c in COLUMNS)]
    elif event["kind"] == "c":
        tail = [event["close"]]
    else:
        tail = [event["arm"], event["decision"], event["executed"], event["freshness"], event["nan_rate"],
                *(event["params"] or (None, None, None)), event["reason"], event["version"]]
    return " ".join(map(word, head + tail))


def recalled(market, words):
    """The line that tells of an output that is out; None: of a change of state, which is not recalled."""
    if words[0] == "S":
        return f"es {words[1]} {words[2]} {words[3]} {words[4]}"
    return f"eo {words[1]} {words[2]} {int(words[3]) * market.bar_s * US}" if words[0] == "O" else None


def probe(market, lines, reference):
    """[(folded, [words of an output, …]), …], one a line."""
    command = [l2live.binary("qm_probe"), str(reference), str(market.bar_s), str(market.purge), market.set]
    done = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"qm_probe: {done.returncode}: {done.stderr[-500:]}")
    answers, outputs = [], []
    for line in done.stdout.splitlines():
        words = line.split()
        if words[0] == "=":
            answers.append((words[1] == "1", outputs))
            outputs = []
        else:
            outputs.append(words)
    return answers


# ---- the batch


class Hysteresis:
    """A level is entered after `enter` observations in a row at it or worse, for enter_s; left after `leave` better ones, for
    leave_s. No data pauses the counting, ends ok and warn at once, never a P2."""

    def __init__(self, row):
        self.enter, self.leave, self.enter_us, self.leave_us = row[5], row[6], row[7] * US, row[8] * US
        self.state, self.had, self.since, self.seen, self.forget = 0, False, 0, 0, 0
        self.observed = []  # (state, time), all of it; no_data left out

    def run(self, level, worse, start=0):
        """Length and begin of the streak at the history's end."""
        n, since = 0, 0
        for i in range(len(self.observed) - 1, max(start, len(self.observed) - 50) - 1, -1):  # no rule asks for more
            state, time = self.observed[i]
            if (state >= level) != worse:
                break
            n, since = n + 1, time
        return n, since

    def lasted(self, streak, n, us, time):
        return streak[0] >= n and time - streak[1] >= us

    def step(self, observed, time):
        """(state before, state after)"""
        before, self.seen = self.state, max(self.seen, time)
        time = self.seen
        if observed == 0:
            if self.had and self.state != 3 and self.state != 0:
                self.state, self.since, self.forget = 0, time, len(self.observed)
            return before, self.state
        first, self.had = not self.had, True
        self.observed.append((observed, time))
        called = None
        for level in (3, 2):
            better = self.run(level, False, self.forget if level == 2 else 0)
            if self.lasted(self.run(level, True), self.enter, self.enter_us, time) or \
                    self.state >= level and not self.lasted(better, self.leave, self.leave_us, time):
                called = level
                break
        if called is None:
            back = self.lasted(self.run(2, False, self.forget), self.leave, self.leave_us, time)
            called = 0 if self.state == 0 and not first and not back else 1
        if called != self.state:
            self.state, self.since = called, time
        return before, self.state


class Crypto:
    def __init__(self):
        self.bars, self.features, self.candles = {}, {}, {}
        self.bars_newest = self.candles_newest = self.features_newest = self.spoken_newest = -1
        self.first_bar = self.first_feature = self.first_prediction = None
        self.bar_day = self.candle_day = None
        self.psi, self.p99 = {}, {}
        self.said, self.spoken = {}, {}  # (bar, arm): event; bar: the first L2 event of it
        self.late, self.said_newest = set(), -1000  # (bar, arm) said when its label was all but known
        self.agreed = {arm: {} for arm in range(4)}
        self.first_agreed, self.agreed_newest = {}, {}
        self.scored = {}  # (bar, arm): (decision, label)
        self.sigma, self.decided = {}, {}
        self.alerts, self.newest, self.started = {}, {}, {}
        self.latch_bars, self.latch_newest, self.latched = {}, -1, False


class Batch:
    def __init__(self, market):
        self.m, self.day, self.bar_us = market, market.day, market.bar_s * US
        self.columns = SETS[market.set]
        self.cryptos = {}

    # -- judging

    def judge(self, value, bounds, held_back):
        wb, wa, pb, pa = bounds
        if value is None:
            return 0
        p2 = pb is not None and value < pb or pa is not None and value > pa
        if p2 and not held_back:
            return 3
        return 2 if p2 or wb is not None and value < wb or wa is not None and value > wa else 1

    def tell(self, out, symbol, c, signal, bar, value, n, arm=NONE, low=None, high=None, bounds=None, judged=None, held_back=False,
             measurable=0):
        row = ROWS[signal]
        bounds = row[1:5] if bounds is None else bounds
        observed = self.judge(value if judged is None else judged, bounds, held_back)
        alert = c.alerts.setdefault((signal, arm), Hysteresis(row))
        before, after = alert.step(observed, (bar + 1) * self.bar_us)
        key = (signal, arm)
        if before != after and not (before == 0 and after == 1 and key not in c.started):
            if before == 1 or key not in c.started:
                c.started[key] = alert.since
            below, above = (bounds[2], bounds[3]) if after == 3 else (bounds[0], bounds[1])
            decisive = below if above is None else above if below is None or value is None or value > below else below
            out.append(["T", symbol, signal, arm, STATES[before], STATES[after], alert.since, c.started[key], value, decisive, n])
            if after == 1:
                del c.started[key]
        if bar <= c.newest.get(key, -1):
            return
        c.newest[key] = bar
        from_us = measurable * self.bar_us if value is None and bar < measurable else None
        version = "ref-1" if symbol in self.m.reference else "-"
        out.append(["S", symbol, signal, arm, bar * self.bar_us, value, low, high, n, row[0], *bounds, STATES[observed],
                    STATES[after], from_us, version])

    def feature_of(self, symbol, column):
        reference = self.m.reference.get(symbol)
        return reference["features"][column] if reference else None

    # -- bars

    def values(self, c, column, newest, bars_n):
        rows = (c.bars.get(b) for b in range(newest - bars_n + 1, newest + 1))
        return [e["row"][column] for e in rows if e is not None and e["row"][column] is not None]

    def drift(self, out, symbol, c, signal, column, bar, bars_n, n_min, thresholds):
        feature = self.feature_of(symbol, column)
        if feature is None:
            self.tell(out, symbol, c, signal, bar, None, 0, measurable=c.first_bar + n_min - 1)
            return
        values = self.values(c, column, bar, bars_n)
        value = psi(feature, values) if len(values) >= n_min else None
        p2, held_back = feature[thresholds]["p2"], False
        if signal == "l2_kyle_lambda_drift_psi":
            c.psi[bar] = value is not None and value > p2
            held_back = not c.psi.get(bar - self.day, False)
        self.tell(out, symbol, c, signal, bar, value, len(values), bounds=(None, feature[thresholds]["warn"], None, p2),
                  held_back=held_back, measurable=c.first_bar + n_min - 1)

    def close_day(self, out, symbol, c, day):
        bar = (day + 1) * self.day - 1
        for signal, column in MONTHLY.items():
            self.drift(out, symbol, c, signal, column, bar, 30 * self.day, 15 * self.day, "psi_30d")
        self.tail(out, symbol, c, day, bar)
        bins = {}
        for days_n in (7, 90):
            bins[days_n] = {}
            for b in range(bar - days_n * self.day + 1, bar + 1):
                for index, count in c.bars[b]["bins"].items() if b in c.bars else ():
                    bins[days_n][index] = bins[days_n].get(index, 0) + count
        measurable, value, n = c.first_bar + 90 * self.day - 1, None, 0
        if bar >= measurable and bins[7]:
            n = sum(bins[90].values())
            value = self.p99_of(bins[7]) / self.p99_of(bins[90])
        self.tell(out, symbol, c, "l2_spread_regime", bar, value, n, measurable=measurable)

    @staticmethod
    def p99_of(bins):
        rank, seen = int(0.99 * (sum(bins.values()) - 1)), 0
        for index in sorted(bins):
            seen += bins[index]
            if seen > rank:
                return sketch_value(index)
        raise AssertionError

    def tail(self, out, symbol, c, day, bar):
        values = sorted(self.values(c, "kyle_lambda", bar, self.day))
        before = [c.p99[d] for d in range(day - 30, day) if d in c.p99]
        value, bounds = None, (None, None, None, None)
        if (len(values) >= 48 or 2 * len(values) >= self.day) and quantile(values, 0.99) > 0:
            c.p99[day] = math.log(quantile(values, 0.99))
            if len(before) >= 20:
                mean = math.fsum(before) / len(before)
                sd = math.sqrt(math.fsum((x - mean) ** 2 for x in before) / (len(before) - 1))
                value, bounds = c.p99[day], (mean - 3 * sd, mean + 3 * sd, None, None)
        self.tell(out, symbol, c, "l2_kyle_lambda_p99", bar, value, len(values), bounds=bounds,
                  measurable=c.first_bar + 21 * self.day - 1)

    def on_bar(self, out, symbol, c, event):
        bar = event["bar"]
        if bar <= c.bars_newest:
            return
        day = bar // self.day
        if c.bar_day is None:
            c.bar_day, c.first_bar = day, bar
        due = list(range(c.bar_day, day))
        for d in due[:1] + due[1:][-90:] if len(due) > 90 else due:
            self.close_day(out, symbol, c, d)
        c.bar_day = day
        c.bars[bar], c.bars_newest = event, bar
        if self.m.purge > 0:
            ahead = range(max(c.first_bar, bar - self.m.purge + 1), bar + 1)
            nulls = [sum(c.bars[b]["row"][x] is None for x in self.columns) if b in c.bars else len(self.columns) for b in ahead]
            worst = max((min(nulls[i:i + 3]) for i in range(len(nulls) - 2)), default=0)  # three in a row make a NaN rate's P2
            self.tell(out, symbol, c, "nan_rate_ahead", bar, worst / len(self.columns), len(nulls))
        self.drift(out, symbol, c, "l2_kyle_lambda_drift_psi", "kyle_lambda", bar, self.day, self.day // 2, "psi_24h")
        hour = 3600 // self.m.bar_s
        counts = sorted(c.bars[b]["snapshots"] for b in range(bar - hour + 1, bar + 1) if b in c.bars)
        value = None
        if len(counts) == hour and symbol in self.m.reference:
            value = quantile(counts, 0.5) / self.m.reference[symbol]["snapshots_median"]
        self.tell(out, symbol, c, "l2_feed_cadence", bar, value, len(counts), measurable=c.first_bar + hour - 1)
        if (bar + 1) % self.day == 0:
            self.close_day(out, symbol, c, day)
            c.bar_day = day + 1

    # -- features

    def is_out(self, symbol, column, x, close):
        if column == "mid_price":
            return None if close is None else abs(x / close - 1) > 0.05
        feature = self.feature_of(symbol, column)
        return None if feature is None else not feature["range"][0] <= x <= feature["range"][1]

    def on_feature(self, out, symbol, c, event):
        bar = event["bar"]
        if bar <= c.features_newest:
            return
        c.features_newest = bar
        if c.first_feature is None:
            c.first_feature = bar
        close = c.candles.get(event["source"])
        c.features[bar] = [is_out for x in self.columns if event["row"][x] is not None
                           for is_out in [self.is_out(symbol, x, event["row"][x], close)] if is_out is not None]
        window = [c.features[b] for b in range(bar - self.day + 1, bar + 1) if c.features.get(b)]
        judged = [is_out for one in window for is_out in one]
        least = min(48, self.day // 2)
        value = sum(judged) / len(judged) if len(window) >= least else None
        self.tell(out, symbol, c, "l2_feature_value_oor", bar, value, len(window), measurable=c.first_feature + least - 1)

    # -- predictions

    def gates(self, out, symbol, c, event):
        bar, week = event["bar"], range(event["bar"] - 7 * self.day + 1, event["bar"] + 1)
        if bar <= c.spoken_newest:
            return
        c.spoken_newest = bar
        if c.first_prediction is None:
            c.first_prediction = bar
        fresh, nulls = event["freshness"], event["nan_rate"]
        c.spoken[bar] = {"freshness": None if fresh is None else min(math.ceil(max(fresh, 0) / 0.25), 2048) * 0.25,  # up, to ¼ s
                         "nan_rate": None if nulls is None else math.ceil(nulls * 120 - 1e-9) / 120}
        measurable = c.first_prediction + 47
        for field, name in (("freshness", "l2_feature_freshness"), ("nan_rate", "l2_feature_nan_rate")):
            known = [c.spoken[b][field] for b in week if b in c.spoken and c.spoken[b][field] is not None]
            value = event[field]
            n = 0 if value is None else 1 if field == "freshness" else len(self.columns)
            self.tell(out, symbol, c, name + ("_seconds" if field == "freshness" else ""), bar, value, n)
            self.tell(out, symbol, c, name + "_p99", bar, lower_rank(known, 0.99) if len(known) >= 48 else None, len(known),
                      measurable=measurable)

    def latch(self, out, symbol, c, event):
        """Three bars in a row at P2; those without a NaN rate say nothing, one that is bad makes the bar so."""
        bar = event["bar"]
        if event["reason"] == ROLLOUT and bar >= c.latch_newest:
            c.latch_newest = bar
            bad = event["freshness"] is None or event["freshness"] > 300 or (event["nan_rate"] or 0) > 0.20
            c.latch_bars.setdefault(bar, []).append("bad" if bad else "good" if event["nan_rate"] is not None else "")
        row = 0
        for b in sorted(c.latch_bars, reverse=True)[:50]:
            if "bad" in c.latch_bars[b]:
                row += 1
            elif "good" in c.latch_bars[b]:
                break
        c.latched = c.latched or row >= 3
        if event["executed"]:
            self.tell(out, symbol, c, "l2_latch", bar, float(c.latched), min(row, 3))

    def agreement(self, out, symbol, c, bar, arm):
        if (bar, arm) not in c.said or (bar, NO_L2) not in c.said or bar in c.agreed[arm]:
            return
        c.first_agreed.setdefault(arm, bar)
        c.agreed[arm][bar] = c.said[bar, arm]["decision"] == c.said[bar, NO_L2]["decision"]
        newest = c.agreed_newest[arm] = max(bar, c.agreed_newest.get(arm, bar))
        week = [c.agreed[arm][b] for b in range(newest - 7 * self.day + 1, newest + 1) if b in c.agreed[arm]]
        value = low = high = None
        if len(week) >= 48:
            value, (low, high) = sum(week) / len(week), wilson(sum(week), len(week))
        self.tell(out, symbol, c, "l2_agreement", bar, value, len(week), arm, low, high, measurable=c.first_agreed[arm] + 47)

    def on_prediction(self, out, symbol, c, event):
        bar, arm = event["bar"], event["arm"]
        if (bar, arm) in c.said:
            return
        self.latch(out, symbol, c, event)
        if arm in (CHAMPION, CANDIDATE):
            self.gates(out, symbol, c, event)
        if event["params"] and c.said_newest >= bar + max(event["params"][0] - 1, 1):
            c.late.add((bar, arm))
        c.said[bar, arm], c.said_newest = event, max(bar, c.said_newest)
        for other in (CHAMPION, CANDIDATE):
            if arm in (other, NO_L2):
                self.agreement(out, symbol, c, bar, other)
        self.score(out, symbol, c, bar, arm)

    # -- labels

    def sigma_at(self, c, t, span):
        if (t, span) not in c.sigma:
            keep, known = 1 - 2 / (span + 1), []
            for b in range((t // span - 8) * span, t + 1):
                if b in c.candles and b - 1 in c.candles:
                    known.append((keep ** (t - b), c.candles[b] / c.candles[b - 1] - 1))
            weights = math.fsum(w for w, _ in known)
            c.sigma[t, span] = math.sqrt(math.fsum(w * r * r for w, r in known) / weights) if len(known) >= span else None
        return c.sigma[t, span]

    def label(self, c, t, params):
        """(label, barrier, exit bar), None where there is none (yet)."""
        horizon, span, width = params
        if t not in c.candles or c.candles_newest < t + horizon or self.sigma_at(c, t, span) is None:
            return None
        reach = width * self.sigma_at(c, t, span) * math.sqrt(horizon)
        for b in range(t + 1, t + horizon + 1):
            if b not in c.candles:
                return None
            if c.candles[b] > c.candles[t] * (1 + reach):
                return BUY, 0, b
            if c.candles[b] < c.candles[t] * (1 - reach):
                return SELL, 1, b
        return HOLD, 2, t + horizon

    def score(self, out, symbol, c, bar, arm):
        event = c.said.get((bar, arm))
        if event is None or event["params"] is None or (bar, arm) in c.scored:
            return
        found = self.label(c, bar, event["params"])
        if found is None:
            return
        label, barrier, end = found
        c.scored[bar, arm] = (event["decision"], label)
        entry, last = c.candles[bar], c.candles[end]
        out.append(["O", symbol, arm, bar, event["decision"], event["executed"], event["version"], label, barrier, end, entry, last,
                    (last / entry - 1) * 1e4, *event["params"]])

    # -- months of outcomes

    def month(self, c, day, arm):
        first, end = (day - 29) * self.day, (day + 1) * self.day
        return {b: c.scored[b, arm] for b in range(first, end) if (b, arm) in c.scored and (b, arm) not in c.late}

    @staticmethod
    def counts(pairs):
        pairs = list(pairs)
        return [sum(s == BUY == t for s, t in pairs), sum(s == BUY != t for s, t in pairs), sum(s != BUY == t for s, t in pairs)]

    def skill(self, out, symbol, c, day):
        bar = (day + 1) * self.day - 1
        for arm in (NO_L2, CHAMPION, CANDIDATE):
            month = self.month(c, day, arm)
            if not month:
                continue
            tp, fp, fn = self.counts(month.values())
            f1 = low = high = None
            if tp + fn > 0:
                f1 = f1_of((tp, fp, fn))
                low, high = (2 * j / (1 + j) for j in wilson(tp, tp + fp + fn))
            self.tell(out, symbol, c, "l2_f1_buy", bar, f1, len(month), arm, low, high)
            if arm == NO_L2:
                continue
            reference, drift = self.m.reference.get(symbol), (None, None, None)
            if reference and tp + fn >= 30 and tp + fp >= 30:
                drift = tuple(reference["f1_buy"]["value"] - x for x in (f1, high, low))
            self.tell(out, symbol, c, "l2_f1_buy_drift", bar, drift[0], len(month), arm, drift[1], drift[2])
            self.delta(out, symbol, c, day, arm, month)

    def delta(self, out, symbol, c, day, arm, month):
        blind = self.month(c, day, NO_L2)
        both = sorted(set(month) & set(blind))
        days = []
        for d in sorted({b // self.day for b in both}):
            bars = [b for b in both if b // self.day == d]
            days.append((self.counts(month[b] for b in bars), self.counts(blind[b] for b in bars)))

        flat = [tuple(a + b) for a, b in days]

        def delta_of(chosen):
            sums = [sum(x) for x in zip(*chosen, strict=True)]
            return f1_of(sums[:3]) - f1_of(sums[3:])

        value = low = high = None
        if len(days) >= 10 and sum(x[0][0] + x[0][2] for x in days) >= 30:
            numbers = splitmix64(day)
            drawn = sorted(delta_of([flat[next(numbers) % len(flat)] for _ in flat]) for _ in range(1000))
            value, low, high = delta_of(flat), quantile(drawn, 0.025), quantile(drawn, 0.975)
        self.tell(out, symbol, c, "l2_delta_f1_buy", (day + 1) * self.day - 1, value, len(both), arm, low, high, judged=high)

    def on_candle(self, out, symbol, c, event):
        bar = event["bar"]
        if bar <= c.candles_newest:
            return
        day = bar // self.day
        if c.candle_day is None:
            c.candle_day = day
        due = list(range(c.candle_day, day))
        for d in due[:1] + due[1:][-30:] if len(due) > 30 else due:
            self.skill(out, symbol, c, d)
        c.candle_day = day
        before, c.candles_newest = c.candles_newest, bar
        c.candles[bar] = event["close"]
        for b in range(max(0, before) - HORIZON_MAX, bar + 1) if before >= 0 else ():
            for arm in (NO_L2, CHAMPION, CANDIDATE):
                self.score(out, symbol, c, b, arm)
        if (bar + 1) % self.day == 0:
            self.skill(out, symbol, c, day)
            c.candle_day = day + 1

    def fold(self, event):
        out, c = [], self.cryptos.setdefault(event["symbol"], Crypto())
        {"b": self.on_bar, "f": self.on_feature, "p": self.on_prediction, "c": self.on_candle}[event["kind"]](
            out, event["symbol"], c, event)
        return out


# ---- the service itself

TOPICS = {"c": "l2.ohlcv", "b": "l2.bars", "f": "l2.features", "p": "l2.predictions"}
STEMS = {"c": "candle", "b": "l2_bar", "f": "l2_feature", "p": "prediction"}
ARMS = ["none", "no_l2", "champion_l2", "candidate_l2"]
CLASSES = ["sell", "hold", "buy"]
REASONS = ["rollout", "kill_switch", "paused", "latch", "warmup"]


def record(market, event):
    """The Avro record of an event."""
    time = event["bar"] * market.bar_s * US
    made = {"exchange": EXCHANGE, "symbol": event["symbol"], "bar_time": time, "bar_seconds": market.bar_s}
    if event["kind"] == "c":
        price = event["close"]
        return made | {"open": price, "high": price, "low": price, "close": price, "base_volume": 1.0}
    if event["kind"] == "b":
        return made | event["row"] | {
            "schema_version": "l2_schema_v1", "snapshots": event["snapshots"], "gaps": 0, "coverage": 1.0,
            "spread_sketch": encode_sketch(event["bins"]), "closed_by": "event", "source_partition": 0, "source_offset": 0,
            "resume": {"epoch": 0, "sequence": 0, "last_event_time": time, "last_kafka_time": time}}
    if event["kind"] == "f":
        return made | {"l2_" + c: x for c, x in event["row"].items()} | {
            "schema_version": "l2_schema_v1", "feature_set": "standard", "purge_bars": market.purge,
            "source_bar_time": event["source"] * market.bar_s * US, "produced_time": time, "source_partition": 0, "source_offset": 0}
    horizon, span, width = event["params"] or (None, None, None)
    return made | {"arm": ARMS[event["arm"]], "model_version": event["version"], "decision": CLASSES[event["decision"]],
                   "executed": event["executed"], "route_reason": REASONS[event["reason"]], "freshness_seconds": event["freshness"],
                   "nan_rate": event["nan_rate"], "horizon_bars": horizon, "volatility_span_bars": span, "barrier_width": width,
                   "valid_until": time, "produced_time": time}


def micros(time):
    return None if time is None else (time.replace(tzinfo=None) - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=1)


def signal_words(d):
    """A record of l2.quality as the probe says it."""
    numbers = [d[f] for f in ("value", "low", "high", "n", "window_seconds", "warn_below", "warn_above", "p2_below", "p2_above")]
    return tuple(map(word, ["S", d["symbol"], d["signal"], ARMS.index(d["arm"]), micros(d["bar_time"]), *numbers, d["observed"], d["state"],
                            micros(d["measurable_from"]), d["reference_version"] or "-"]))


def outcome_words(market, d):
    """A record of l2.outcomes as the probe says it."""
    bar = market.bar_s * US
    return tuple(map(word, ["O", d["symbol"], ARMS.index(d["arm"]), micros(d["bar_time"]) // bar, CLASSES.index(d["decision"]), d["executed"],
                            d["model_version"], CLASSES.index(d["label"]), ["upper", "lower", "vertical"].index(d["barrier"]),
                            micros(d["exit_time"]) // bar - 1, d["entry_price"], d["exit_price"], d["return_bps"], d["horizon_bars"],
                            d["volatility_span_bars"], d["barrier_width"]]))


class Monitor(l2live.Producer):
    """quality-monitor as a child; ends with the with-block."""

    def __init__(self, folder, bootstrap, prefix, settings=None, name="quality-monitor"):
        super().__init__(folder, bootstrap, prefix, settings, name=name)

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([l2live.binary("quality-monitor"), "--config", str(self.config)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)

    def labelled(self, name, value):
        """The number of a metric with this label's value."""
        for line in (self.get("/metrics") or "").splitlines():
            if line.startswith(f"{name}{{") and f'"{value}"' in line:
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def wait_for(self, what, seconds, is_true):
        deadline = time.monotonic() + seconds
        while not is_true():
            if self.process.poll() is not None:
                raise RuntimeError(f"quality-monitor ended with {self.process.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what}: not after {seconds} s:\n{self.tail()}")
            time.sleep(0.05)

    def wait_caught_up(self, seconds=60):
        self.wait_for("caught up", seconds, lambda: self.metric("l2flow_qm_caught_up") == 1)
