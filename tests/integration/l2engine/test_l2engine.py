"""The example engine on a real broker: every arm's prediction once, though it is killed twice in the middle; the arm that is
executed is the one that the rules say, by a re-implementation of both; features are waited for, and missed.

Seen to fail on: predictions not read back at a restart (the latch is forgotten), candles begun at the committed offset (so is the
momentum), what was predicted predicted again, positions that are not committed, pinned models that are not looked at.
"""

import contextlib
import json
import math
import os
import pathlib
import random
import sys
import tempfile
import time
import unittest

import confluent_kafka

import l2kafka
import l2live

PARTITIONS, BARS, BAR_S, PURGE, MOMENTUM = 2, 240, 60, 20, 8
BAR_US = BAR_S * 1_000_000
EXCHANGE = "binance-usdm"
HOLD_WEIGHT = 1.6
COLUMNS = ("mid_price", "spread_bps", "depth_imbalance_l1", "depth_imbalance_l5", "ofi_15m", "kyle_lambda")
CLASSES = ("sell", "hold", "buy")
SETTINGS = {"bar_seconds": BAR_S, "window_seconds": BAR_S, "momentum_bars": MOMENTUM}
SPARSE, MISSING = range(60, 65), 100  # bars without columns (of CCC), a bar without a record (of BBB)


class Engine(l2live.Producer):
    program = "l2engine"


def momentum(closes):
    way = sum(abs(b - a) for a, b in zip(closes, closes[1:]))
    return (closes[-1] - closes[0]) / way if way > 0 else 0.0


def spread(score):
    weights = (1 + 2 * max(-score, 0), HOLD_WEIGHT, 1 + 2 * max(score, 0))
    return [w / sum(weights) for w in weights]


def decision(p):
    best = max(p)
    return "hold" if p[1] == best or p.count(best) > 1 else CLASSES[p.index(best)]


class Market:
    """Candles and features of one symbol, made up."""

    def __init__(self, symbol, partition, first_us):
        self.symbol, self.partition, self.first_us = symbol, partition, first_us
        self.rng = random.Random(symbol)
        self.closes, self.volumes, self.rows = [], [], []
        price = 100.0
        for _ in range(BARS + 20):
            price *= math.exp(self.rng.gauss(0, 0.002))
            self.closes.append(price)
            self.volumes.append(self.rng.uniform(1, 50))
            self.rows.append({f"l2_{c}": self.rng.uniform(-1, 1) for c in COLUMNS})

    def time(self, i):
        return self.first_us + i * BAR_US

    def head(self, i):
        return {"exchange": EXCHANGE, "symbol": self.symbol, "bar_time": self.time(i), "bar_seconds": BAR_S}

    def candle(self, i):
        c = self.closes[i]
        return {**self.head(i), "open": c, "high": c, "low": c, "close": c, "base_volume": self.volumes[i], "quote_volume": None,
                "taker_buy_base": None, "taker_buy_quote": None, "trade_count": None}

    def columns(self, i):
        sparse = i < PURGE or (self.symbol == "CCC" and i in SPARSE)
        return {f"l2_{c}": None if sparse else self.rows[i][f"l2_{c}"] for c in COLUMNS}

    def feature(self, i, **other):
        return {**self.head(i), "schema_version": "l2_schema_v1", "feature_set": "standard", "purge_bars": PURGE,
                "source_bar_time": self.time(i - PURGE), **self.columns(i), "last_event_time": None,
                "produced_time": self.time(i + 1), "source_partition": self.partition, "source_offset": 0, **other}

    def blind(self, i):
        return spread(momentum(self.closes[max(0, i - MOMENTUM):i + 1]))

    def book(self, arm, i):
        of_momentum = 0.6 if arm == "champion_l2" else 0.5
        of_book = (1 - of_momentum) / 2
        score = of_momentum * momentum(self.closes[max(0, i - MOMENTUM):i + 1])
        row = self.columns(i)
        if row["l2_depth_imbalance_l5"] is not None:
            flow = row["l2_ofi_15m"]
            score += of_book * row["l2_depth_imbalance_l5"] + of_book * flow / (abs(flow) + self.volumes[i])
        return spread(score)


def rollout(symbol, version, incumbent="no_l2", challenger="none", stage="idle", effective="no_l2", **other):
    return {"exchange": EXCHANGE, "symbol": symbol, "version": version, "time": 0, "incumbent": incumbent, "challenger": challenger,
            "stage": stage, "stage_since": None, "effective_arm": effective, "reason": "", "models": [], "kill_switch": False,
            "paused": False, "latch_cleared_through": None, "audit_id": 0, "audit_head": "", **other}


class LiveEngine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.addClassCleanup(cls.stack.close)
        cls.folder = pathlib.Path(cls.stack.enter_context(tempfile.TemporaryDirectory()))
        cls.bootstrap = cls.stack.enter_context(l2kafka.shared_or_own(cls.folder / "kafka"))
        # idempotent, so that a retry puts nothing behind what came after it
        cls.client = confluent_kafka.Producer({"bootstrap.servers": cls.bootstrap, "enable.idempotence": True})

    def begin(self, symbols):
        self.prefix = f"engine-{os.getpid()}-{self._testMethodName}."
        l2live.topics(self.bootstrap, self.prefix, PARTITIONS)
        first_us = (int(time.time()) // BAR_S - BARS) * BAR_US
        self.markets = {s: Market(s, i % PARTITIONS, first_us) for i, s in enumerate(symbols)}

    def send(self, topic, stem, symbol, record):
        self.client.produce(self.prefix + topic, key=symbol, value=l2live.encode(stem, record),
                            partition=self.markets[symbol].partition)

    def beat(self, symbol, age_s=0):
        now_us = int(time.time() * 1e6)
        self.send("l2.heartbeat", "heartbeat", symbol, {"exchange": EXCHANGE, "symbol": symbol, "time": now_us,
                                                        "newest_event_time": now_us - int(age_s * 1e6), "lag_ms": 0, "state": "live"})

    def rolls(self, symbol, *args, **other):
        self.send("l2.rollout", "rollout_state", symbol, rollout(symbol, *args, **other))

    def candles(self, bars):
        for i in bars:
            for symbol, market in self.markets.items():
                self.send("l2.ohlcv", "candle", symbol, market.candle(i))
        self.client.flush()

    def features(self, bars, skip=()):
        for i in bars:
            for symbol, market in self.markets.items():
                if (symbol, i) not in skip:
                    self.send("l2.features", "l2_feature", symbol, market.feature(i))
        self.client.flush()

    def predictions(self):
        """{(symbol, bar): {arm: record}}, each once."""
        found = {}
        for m in l2live.dump(self.bootstrap, self.prefix + "l2.predictions"):
            record = l2live.decode("prediction", m.value)
            market = self.markets[record["symbol"]]
            self.assertEqual((m.partition, m.key.decode()), (market.partition, record["symbol"]))
            bar = (int(record["bar_time"].timestamp() * 1e6) - market.first_us) // BAR_US
            arms = found.setdefault((record["symbol"], bar), {})
            self.assertNotIn(record["arm"], arms, f"{record['symbol']} bar {bar}: twice")
            arms[record["arm"]] = record
        return found

    def wait_for(self, what, seconds=30):
        deadline = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), deadline, self.engine.tail())
            self.assertIsNone(self.engine.process.poll(), self.engine.tail())
            time.sleep(0.1)

    def wait_done(self):
        l2live.wait_committed(self.bootstrap, self.prefix + "trading-engine-example", self.prefix + "l2.ohlcv", PARTITIONS, 60,
                              lambda: self.assertIsNone(self.engine.process.poll(), self.engine.tail()))

    def expected(self, symbol, i):
        """Arms that predict, the one executed, the reason."""
        l2 = {"AAA": (), "BBB": ("candidate_l2",), "CCC": ("champion_l2", "candidate_l2"), "DDD": ("champion_l2",)}[symbol]
        if symbol == "BBB" and i == MISSING:
            return ("no_l2",), "no_l2", "no_feature"
        arms = ("no_l2", *l2)
        if symbol == "AAA":
            return arms, "no_l2", "no_rollout"
        if symbol == "DDD":
            return arms, "no_l2", "kill_switch"
        if i <= PURGE:
            return arms, "no_l2", "warmup"
        if symbol == "BBB":
            return arms, "no_l2", "rollout"
        if i >= SPARSE[3]:
            return arms, "no_l2", "latch"
        return (arms, "no_l2", "nan_rate") if i >= SPARSE[0] else (arms, "champion_l2", "rollout")

    def check(self, symbol, i, arms):
        market, (want, executed, reason) = self.markets[symbol], self.expected(symbol, i)
        said = {arm: (r["route_reason"], r["freshness_seconds"], r["rollout_version"], r["produced_time"]) for arm, r in arms.items()}
        where = f"{symbol} bar {i}: {said}"
        self.assertEqual(set(arms), set(want), where)
        self.assertEqual([arm for arm, r in arms.items() if r["executed"]], [executed], where)
        self.assertEqual({r["route_reason"] for r in arms.values()}, {reason}, where)
        for arm, r in arms.items():
            p = market.blind(i) if arm == "no_l2" else market.book(arm, i)
            for word, value in zip(CLASSES, p):
                self.assertAlmostEqual(r[f"p_{word}"], value, 12, f"{where} {arm}")
            self.assertEqual(r["decision"], decision(p), f"{where} {arm}")
            self.assertLess(r["freshness_seconds"], 120, where)
            null = None if arm == "no_l2" or i <= PURGE else 1.0 if symbol == "CCC" and i in SPARSE else 0.0
            self.assertEqual(r["nan_rate"], null, where)
            self.assertEqual((r["model_name"], r["horizon_bars"], r["barrier_width"], r["volatility_span_bars"]),
                             ("example-rule", 16, 1.0, 96))
            self.assertEqual(int(r["valid_until"].timestamp() * 1e6), market.time(i + 2))
            self.assertEqual(r["source_bar_time"] is None, arm == "no_l2")

    def test_killed_twice(self):
        self.begin(["AAA", "BBB", "CCC", "DDD"])
        for symbol in self.markets:
            self.beat(symbol)
        self.rolls("BBB", 3, challenger="candidate_l2", stage="shadow")
        self.rolls("BBB", 2, challenger="candidate_l2", stage="canary", effective="candidate_l2")  # an older one
        self.rolls("CCC", 1, "champion_l2", "candidate_l2", "shadow", "champion_l2")
        self.rolls("DDD", 1, "champion_l2", effective="champion_l2", kill_switch=True)
        self.features(range(BARS), skip={("BBB", MISSING)})
        with Engine(self.folder, self.bootstrap, self.prefix, SETTINGS, name=self._testMethodName) as self.engine:
            self.engine.wait_ready()
            for part in range(3):
                bars = range(part * BARS // 3, (part + 1) * BARS // 3)
                before = self.engine.metric("l2flow_engine_predictions_total")
                self.candles(bars)
                self.candles(bars[-5:])  # the feed repeats itself
                if part < 2:
                    self.wait_for(lambda: self.engine.metric("l2flow_engine_predictions_total") > before)
                    self.engine.kill()
                    self.engine.start()
            self.wait_done()
            self.assertEqual(self.engine.stop(), 0, self.engine.tail())
        found = self.predictions()
        self.assertEqual(set(found), {(s, i) for s in self.markets for i in range(BARS)})
        for (symbol, i), arms in found.items():
            self.check(symbol, i, arms)

    def wait_bars(self, n):
        """Until this life has decided so many, and they are committed."""
        self.wait_for(lambda: self.engine.metric("l2flow_engine_executed_total") >= n)
        self.wait_done()

    def reason_of(self, symbol, i):
        arms = self.found[symbol, i]
        executed = [arm for arm, r in arms.items() if r["executed"]]
        self.assertEqual(len(executed), 1)
        return executed[0], arms[executed[0]]["route_reason"]

    def test_waits_and_routes(self):
        """One bar after the other, as they close."""
        self.begin(["AAA"])
        self.markets["AAA"].first_us = (int(time.time()) // BAR_S - PURGE - 4) * BAR_US
        settings = {**SETTINGS, "effective_arm_without_rollout": "champion_l2", "feature_wait_ms": 3000}
        i = PURGE + 2
        self.features(range(i))
        self.candles(range(i))
        self.beat("AAA")
        self.client.flush()
        with Engine(self.folder, self.bootstrap, self.prefix, settings, name=self._testMethodName) as self.engine:
            self.wait_bars(i)
            self.candles([i])  # its feature comes a moment later
            time.sleep(1)
            self.assertEqual(self.engine.metric("l2flow_engine_bars_waiting"), 1)
            self.features([i])
            self.wait_bars(i + 1)
            began = time.monotonic()
            self.candles([i + 1])  # it never comes
            self.wait_bars(i + 2)
            self.assertGreater(time.monotonic() - began, 2.9)
            pinned = {"name": "l2-xgb", "version": "1", "sha256": "00"}
            rollouts = [{"models": [{"arm": "champion_l2", **pinned}]},
                        {"models": [{"arm": "champion_l2", **pinned}, {"arm": "no_l2", **pinned}]},
                        {"paused": True, "effective": "no_l2"}, {}]
            for version, other in enumerate(rollouts):
                self.rolls("AAA", version, "champion_l2", **{"effective": "champion_l2", **other})
                self.features([i + 2 + version])
                self.client.flush()
                time.sleep(1)
                self.candles([i + 2 + version])
                self.wait_bars(i + 3 + version)
            self.send("l2.features", "l2_feature", "AAA", self.markets["AAA"].feature(i + 6, purge_bars=0))
            self.candles([i + 6])
            self.wait_bars(i + 7)
            self.assertEqual(self.engine.stop(), 0, self.engine.tail())
            said = [e for e in map(json.loads, self.engine.log.read_text().splitlines()) if e["event"] == "contract"]
            self.assertEqual([(e["field"], e["record"], e["pinned"]) for e in said], [("purge_bars", "0", "20")])
        self.found = self.predictions()
        want = {PURGE: ("no_l2", "warmup"), PURGE + 1: ("champion_l2", "rollout"), i: ("champion_l2", "rollout"),
                i + 1: ("no_l2", "no_feature"), i + 2: ("no_l2", "no_model"), i + 3: ("none", "no_model"), i + 4: ("no_l2", "paused"),
                i + 5: ("champion_l2", "rollout"), i + 6: ("no_l2", "contract")}
        self.assertEqual({bar: self.reason_of("AAA", bar) for bar in want}, want)
        none = self.found["AAA", i + 3]["none"]
        self.assertEqual((none["decision"], none["p_buy"], none["model_name"]), ("hold", None, None))

    def test_a_book_that_is_dead(self):
        """Three bars with an old heartbeat latch, over a restart; the rollout's word clears it, once the cause is over."""
        self.begin(["AAA"])
        self.beat("AAA", age_s=400)
        self.features(range(PURGE + 5))
        self.candles(range(PURGE + 5))
        settings = {**SETTINGS, "effective_arm_without_rollout": "candidate_l2"}
        with Engine(self.folder, self.bootstrap, self.prefix, settings, name=self._testMethodName) as self.engine:
            self.wait_bars(PURGE + 5)
            self.engine.kill()
            self.beat("AAA")
            self.client.flush()
            self.engine.start()
            self.engine.wait_ready()
            self.features([PURGE + 5])
            self.candles([PURGE + 5])
            self.wait_bars(1)
            self.rolls("AAA", 1, challenger="candidate_l2", stage="canary", effective="candidate_l2",
                       latch_cleared_through=self.markets["AAA"].time(PURGE + 4))
            self.features([PURGE + 6])
            self.client.flush()
            time.sleep(1)
            self.candles([PURGE + 6])
            self.wait_bars(2)
            self.assertEqual(self.engine.stop(), 0, self.engine.tail())
        self.found = self.predictions()
        want = {PURGE: ("no_l2", "warmup"), PURGE + 1: ("no_l2", "freshness"), PURGE + 3: ("no_l2", "freshness"),
                PURGE + 4: ("no_l2", "latch"), PURGE + 5: ("no_l2", "latch"), PURGE + 6: ("candidate_l2", "rollout")}
        self.assertEqual({bar: self.reason_of("AAA", bar) for bar in want}, want)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
