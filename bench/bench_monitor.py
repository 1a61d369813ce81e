"""How fast the quality monitor folds the past again at a start, against bare consumption of the same topics: part `monitor` of bench.py."""

import datetime
import itertools
import json
import pathlib
import random
import statistics
import subprocess
import time

import confluent_kafka

import l2live
import l2qm

GOAL = 0.7
STATE_GOAL_BYTES = 256 * 1024
BAR_SECONDS, BAR_US, PURGE = 900, 900_000_000, 20
BARS_A_DAY = 86400 // BAR_SECONDS
VARIANTS = 16  # of each record; values repeat, times do not
COLUMNS = ("mid_price", "spread_bps", "depth_imbalance_l1", "depth_imbalance_l5", "ofi_15m", "kyle_lambda")
ARMS = ("no_l2", "champion_l2", "candidate_l2")
MARKS = (1_600_000_000_000_000, 1_600_000_001_000_001)  # times of a template, to be found again
UTC = datetime.timezone.utc


def when(us):
    return datetime.datetime.fromtimestamp(0, UTC) + datetime.timedelta(microseconds=us)


def template(stem, record):
    """What stands between the two times of a record: they are written anew for each bar."""
    data = l2live.encode(stem, record)
    first, rest = data.split(l2live.zigzag(MARKS[0]), 1)
    second, *last = rest.split(l2live.zigzag(MARKS[1]), 1)
    return (first, second, *last)


def at(parts, *times):
    return b"".join(itertools.chain.from_iterable(itertools.zip_longest(parts, map(l2live.zigzag, times), fillvalue=b"")))


def templates(rng, symbol):
    head = {"exchange": "binance-usdm", "symbol": symbol, "bar_time": when(MARKS[0]), "bar_seconds": BAR_SECONDS}
    columns = {c: rng.gauss(1, 0.2) for c in COLUMNS}
    price = 100 * (1 + rng.random() / 100)
    sketch = bytes.fromhex("d30364") + bytes([1, rng.randrange(1, 100)])
    anything = when(1_700_000_000_000_000)
    model = {"model_name": "bench", "model_version": "1", "model_sha256": "0" * 64}
    label = {"horizon_bars": 16, "barrier_width": 1.0, "volatility_span_bars": 96}
    yield "candle", {**head, "open": price, "high": price, "low": price, "close": price, "base_volume": 1.0, "quote_volume": None,
                     "taker_buy_base": None, "taker_buy_quote": None, "trade_count": 5}
    yield "l2_bar", {**head, "schema_version": "l2_schema_v1", **columns, "snapshots": 9000, "gaps": 0, "coverage": 1.0,
                     "spread_sketch": sketch, "last_event_time": None, "closed_by": "event", "source_partition": 0, "source_offset": 1,
                     "resume": {"epoch": 1, "sequence": 1, "last_event_time": anything, "last_kafka_time": anything}}
    yield "l2_feature", {**head, "schema_version": "l2_schema_v1", "feature_set": "standard", "purge_bars": PURGE,
                         "source_bar_time": when(MARKS[1]), **{"l2_" + c: v for c, v in columns.items()}, "last_event_time": None,
                         "produced_time": anything, "source_partition": 0, "source_offset": 1}
    for arm in ARMS:
        yield arm, {**head, "arm": arm, **model, "p_sell": 0.2, "p_hold": 0.3, "p_buy": 0.5, "decision": rng.choice(("sell", "hold", "buy")),
                    "executed": arm == "champion_l2", "route_reason": "rollout", "freshness_seconds": rng.random(), "nan_rate": 0.0,
                    "schema_version": "l2_schema_v1", "source_bar_time": anything, **label, "rollout_version": 1,
                    "valid_until": when(MARKS[1]), "produced_time": anything}


def write_reference(path, symbols):
    """Of the same values as the records: every signal has something to judge by."""
    rng = random.Random(2)
    features = {c: l2qm.feature_reference([rng.gauss(1, 0.2) for _ in range(2000)]) for c in COLUMNS}
    features["mid_price"] = {k: features["mid_price"][k] for k in ("n", "null_share", "mean", "sd")}
    one = {"training": {"from": 0, "to": 86_400_000_000}, "snapshots_median": 9000.0,
           "f1_buy": {"value": 0.45, "low": 0.4, "high": 0.5}, "features": features}
    path.write_text(json.dumps({"format": 1, "version": "bench", "exchange": "binance-usdm", "bar_seconds": BAR_SECONDS,
                                "training": one["training"], "cryptos": dict.fromkeys(symbols, one)}))
    return str(path)


TOPICS = {"candle": "l2.ohlcv", "l2_bar": "l2.bars", "l2_feature": "l2.features", **dict.fromkeys(ARMS, "l2.predictions")}


def stem_of(kind):
    return "prediction" if kind in ARMS else kind


def produce(producer, prefix, symbol, kind, parts, bar):
    second = (bar - PURGE) * BAR_US if kind == "l2_feature" else (bar + 2) * BAR_US
    producer.produce(prefix + TOPICS[kind], at(parts, bar * BAR_US, *([second] if len(parts) > 2 else [])), symbol.encode())


def symbols_of(cryptos):
    return [f"S{i:03}" for i in range(cryptos)]


def fill(bootstrap, prefix, cryptos, days):
    """{topic: records}"""
    rng, counts = random.Random(1), dict.fromkeys(TOPICS.values(), 0)
    symbols = symbols_of(cryptos)
    made = {s: [[(kind, template(stem_of(kind), r)) for kind, r in templates(rng, s)] for _ in range(VARIANTS)] for s in symbols}
    last = int(time.time()) // 86400 * BARS_A_DAY
    p = confluent_kafka.Producer(l2live.client(bootstrap, **{"linger.ms": 20, "compression.type": "lz4", "partitioner": "murmur2_random"}))
    for bar in range(last - days * BARS_A_DAY, last):
        for symbol in symbols:
            for kind, parts in made[symbol][rng.randrange(VARIANTS)]:
                produce(p, prefix, symbol, kind, parts, bar)
                counts[TOPICS[kind]] += 1
        while len(p) > 50_000:
            p.poll(0.01)
    p.flush(120)
    return counts


class Monitor(l2live.Producer):
    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([l2live.binary("quality-monitor"), "--config", str(self.config)], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)

    def lines(self, event):
        return [json.loads(text) for text in self.log.read_text().splitlines() if f'"event":"{event}"' in text]

    def folded(self, seconds=900):
        """Real seconds of the fold, and its records, once it has caught up."""
        n, deadline = len(self.lines("caught_up")), time.monotonic() + seconds
        if self.process is None or self.process.poll() is not None:  # the with-block has started the first
            self.start()
        while len(self.lines("caught_up")) == n:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the monitor did not catch up: {self.tail()}")
            time.sleep(0.2)
        begin, end = self.lines("serving")[-1], self.lines("caught_up")[-1]
        took = (datetime.datetime.fromisoformat(end["time"]) - datetime.datetime.fromisoformat(begin["time"])).total_seconds()
        return took, end["records"], begin["bytes_a_crypto"]


def bare_seconds(bootstrap, prefix, counts):
    total = 0.0
    for topic, n in counts.items():
        done = subprocess.run([l2live.binary("bus_rate"), "bare", bootstrap, prefix + topic, "-", f"bare-{time.monotonic_ns()}"],
                              capture_output=True, text=True, check=True)
        total += n / float(dict(f.split("=") for f in done.stdout.split()[1:])["rate"])
    return total


def part_monitor(bench, broker, folder, quick):
    cryptos, days, pairs = (5, 35, 1) if quick else (50, 90, 3)
    prefix = "monitor."
    l2live.topics(broker.bootstrap, prefix, 4)
    bench.say(f"monitor: writing {days} days of {cryptos} cryptos: bars, features, candles, predictions of 3 arms")
    counts = fill(broker.bootstrap, prefix, cryptos, days)
    total = sum(counts.values())
    ours, bare = [], []
    settings = {"schema_version": "l2_schema_v1",
                "reference_file": write_reference(pathlib.Path(folder) / "reference.json", symbols_of(cryptos))}
    with Monitor(folder, broker.bootstrap, prefix, settings, name="quality-monitor") as m:
        first, _, state = m.folded()
        m.stop(60)
        bench.say(f"monitor: the first start, which writes all of it: {total / first:,.0f} records/s")
        for i in range(pairs):
            bare.append(total / bare_seconds(broker.bootstrap, prefix, counts))
            took, folded, _ = m.folded()
            m.stop(60)
            if folded != total:
                raise RuntimeError(f"the monitor folded {folded} of {total}")
            ours.append(total / took)
            bench.say(f"monitor: pair {i + 1}: {ours[-1]:,.0f}/s, bare {bare[-1]:,.0f}/s")
    ratio = statistics.median(o / b for o, b in zip(ours, bare))
    return [bench.row(f"monitor catching up, {days} d of {cryptos} cryptos", statistics.median(ours), "records/s", f"ratio >= {GOAL}",
                      ratio >= GOAL, statistics.median(bare), ratio),
            bench.row("monitor's first start, all outputs written", total / first, "records/s", None, None),
            bench.row("monitor's state a crypto", state, "bytes", f"<= {STATE_GOAL_BYTES:,}", state <= STATE_GOAL_BYTES)]
