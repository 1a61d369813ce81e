"""What the quality monitor costs while it watches 500 cryptos live: part `live` of bench.py.

The cadence is that of a live market: every crypto a heartbeat a second, as feature-producer sends them, and every 15 minutes a candle, a bar, a
feature record and three predictions. The cryptos take turns over the 15 minutes, so that a few minutes hold their share of bars; all at once,
as bars really close, the same records would share transactions. Loki and Alertmanager are stand-ins that take what comes.
"""

import pathlib
import random
import statistics
import time

import confluent_kafka

import bench_monitor
import l2live
import l2sinks
from bench_monitor import BAR_SECONDS, BAR_US, when

CRYPTOS = 500
GOAL = 5
WARM_DAYS = 2
HEAD = {"exchange": "binance-usdm", "state": "live", "lag_ms": 50}


class Market:
    def __init__(self, bootstrap, prefix):
        self.prefix, rng = prefix, random.Random(3)
        self.symbols = bench_monitor.symbols_of(CRYPTOS)
        self.records = {s: [(kind, bench_monitor.template(bench_monitor.stem_of(kind), r)) for kind, r in bench_monitor.templates(rng, s)]
                        for s in self.symbols}
        self.beats = {s: bench_monitor.template("heartbeat", HEAD | {"symbol": s, "time": when(bench_monitor.MARKS[0]),
                                                                     "newest_event_time": when(bench_monitor.MARKS[1])}) for s in self.symbols}
        self.producer = confluent_kafka.Producer(l2live.client(bootstrap, **{"linger.ms": 5, "partitioner": "murmur2_random"}))
        self.closed = {s: 0 for s in self.symbols}
        self.counts = {"records": 0, "heartbeats": 0}

    def close(self, symbol, bar):
        for kind, parts in self.records[symbol]:
            bench_monitor.produce(self.producer, self.prefix, symbol, kind, parts, bar)
            self.counts["records"] += 1
        self.closed[symbol] = bar

    def beat(self, now_us):
        for symbol in self.symbols:
            self.producer.produce(self.prefix + "l2.heartbeat", bench_monitor.at(self.beats[symbol], now_us, now_us - 50_000), symbol.encode())
            self.counts["heartbeats"] += 1

    def turn(self, i, now_us):
        """Of the crypto: the bar that is its newest by now."""
        return (now_us - i * BAR_US // CRYPTOS) // BAR_US - 1

    def warm_up(self):
        now_us = int(time.time() * 1e6)
        for back in range(WARM_DAYS * bench_monitor.BARS_A_DAY, -1, -1):
            for i, symbol in enumerate(self.symbols):
                self.close(symbol, self.turn(i, now_us) - back)
            while len(self.producer) > 50_000:
                self.producer.poll(0.01)
        self.producer.flush(60)

    def live(self, seconds):
        """In slices of a tenth of a second, as a market comes."""
        end, next_beat = time.monotonic() + seconds, 0.0
        while (now := time.monotonic()) < end:
            now_us = int(time.time() * 1e6)
            if now >= next_beat:
                self.beat(now_us)
                next_beat = max(next_beat + 1, now)
            for i, symbol in enumerate(self.symbols):
                if (bar := self.turn(i, now_us)) > self.closed[symbol]:
                    self.close(symbol, bar)
            self.producer.poll(0)
            time.sleep(0.1)
        self.producer.flush(10)


def part_live(bench, broker, folder, quick):
    prefix, minutes = "live.", 1 if quick else 3
    l2live.topics(broker.bootstrap, prefix, 4)
    market = Market(broker.bootstrap, prefix)
    market.warm_up()
    with l2sinks.Contract("loki") as loki, l2sinks.Contract("alertmanager") as alertmanager:
        settings = {"schema_version": "l2_schema_v1", "sink_loki_url": loki.url, "sink_alertmanager_url": alertmanager.url,
                    "reference_file": bench_monitor.write_reference(pathlib.Path(folder) / "reference.json", market.symbols)}
        with bench_monitor.Monitor(folder, broker.bootstrap, prefix, settings, name="quality-monitor") as m:
            m.folded()
            market.live(15)
            market.counts = dict.fromkeys(market.counts, 0)
            shares, commits = [], m.metric("l2flow_qm_commits_total")
            for _ in range(minutes):
                cpu, begin = bench.cpu_seconds(m.process.pid), time.monotonic()
                market.live(60)
                shares.append(100 * (bench.cpu_seconds(m.process.pid) - cpu) / (time.monotonic() - begin))
            bench.say(f"live: {minutes} minutes, {market.counts}, {m.metric('l2flow_qm_commits_total') - commits:.0f} transactions; % of a core: "
                      + ", ".join(f"{s:.2f}" for s in shares))
            m.stop(60)
    share = statistics.median(shares)
    return [bench.row(f"monitor live, {CRYPTOS} cryptos, median minute", share, "% of a core", f"<= {GOAL} %", share <= GOAL),
            bench.row("monitor live, worst minute", max(shares), "% of a core")]
