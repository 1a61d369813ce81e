"""Seeded random streams of L2Snapshot: what a feed does on a bad day, at small size.

    stream = generate(seed)             # stream.records, stream.params (what the producer is started with)
    write_container(path, stream.records)

A stream holds several symbols, and among good snapshots: gaps (also of exactly max_gap), duplicates, late records, new
epochs, bad books of every reason, missing flow, equal times, times exactly on a second or on a bar, jumps over many bars,
books of fewer than 5 levels, quantities of zero, unchanged books. A calm stream holds few of these, so that the windowed
columns exist; a wild one many. Some feeds are restarted with a clock that steps, and become late until they are adopted.

As a program, `l2_streams.py SEED OUT.avro` writes one and prints its parameters.
"""

import copy
import json
import pathlib
import random
import sys

import fastavro

import l2_ref

US = 1_000_000
SCHEMAS = pathlib.Path(__file__).resolve().parents[2] / "schemas"
EXCHANGE = "binance-usdm"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "a.b_c-1")
START = 1_723_161_600 * US
MOODS = ("calm", "calm", "calm", "mixed", "wild")


class Stream:
    def __init__(self, records, params, closes=()):
        self.records = records
        self.params = params      # keyword arguments of l2_ref.compute
        self.closes = list(closes)  # rows for l2_bars.avro, empty when none are obeyed


def schema(name):
    return fastavro.parse_schema(json.loads((SCHEMAS / f"{name}.avsc").read_text()), _force=True)


def write_container(path, records, name="l2_snapshot", codec="null"):
    with open(path, "wb") as file:
        fastavro.writer(file, schema(name), records, codec=codec, sync_interval=4000)


# ---- one symbol -----------------------------------------------------------------------------------------------------

class Feed:
    """One symbol's stream as its exchange and its recorder make it. `out` are (arrival, record)."""

    def __init__(self, rng, symbol, params, mood, span=0):
        self.rng = rng
        self.symbol = symbol
        self.params = params
        self.time = START + rng.choice((0, rng.randrange(params["bar_seconds"] * 2 * US)))
        self.arrival = self.time
        self.newest = self.time  # of the last good one
        self.until = START + span
        self.sequence = rng.randrange(10**12)
        self.epoch = rng.randrange(10**9)
        self.tick, self.digits = rng.choice(((0.01, 2), (0.1, 1), (0.5, 1), (1e-7, 7), (1000.0, 0)))
        self.at = rng.randrange(3000, 30000)  # best bid in ticks
        self.depth = rng.choice((1, 4, 5, 6, 20, 0))  # 0: another depth each time
        self.zeros = rng.choice((0.0, 0.0, 0.02, 0.4))
        self.no_flow = rng.choice((0.0, 0.0, 0.01, 0.2))
        self.quiet = rng.choice((0.0, 0.3, 0.9, 1.0))  # share of snapshots without a trade
        self.still = rng.choice((0.1, 0.6))            # share of unchanged prices
        self.odd = {"calm": 0.002, "mixed": 0.02, "wild": 0.25}[mood]
        self.step = rng.choice((50_000, 100_000, 250_000, 500_000, 1_000_000)) * rng.choice((1, 1, 2))
        self.restarts = rng.choice((0, 0, 1, 2))
        self.book = None
        self.out = []

    def price(self, ticks):
        return round(ticks * self.tick, self.digits)

    def quantity(self):
        return 0.0 if self.rng.random() < self.zeros else round(self.rng.expovariate(1.0) + 0.001, 3)

    def next_book(self):
        rng = self.rng
        if self.book is not None and rng.random() < 0.2:
            return copy.deepcopy(self.book)
        if rng.random() >= self.still:
            self.at = max(100, self.at + rng.randint(-3, 3))
        depth = self.depth or rng.randint(1, 8)
        bid, ask = self.at, self.at + rng.choice((1, 1, 1, 2, 7))
        bids, asks = [], []
        for _ in range(depth):
            bids.append({"price": self.price(bid), "quantity": self.quantity()})
            asks.append({"price": self.price(ask), "quantity": self.quantity()})
            bid -= rng.choice((1, 1, 3))
            ask += rng.choice((1, 1, 3))
        if depth > 1 and rng.random() < 0.1:
            rng.choice((bids, asks)).pop()
        self.book = (bids, asks)
        return copy.deepcopy(self.book)

    def next_flow(self):
        rng = self.rng
        if rng.random() < self.no_flow:
            return None
        flow = dict.fromkeys(("buy_base", "sell_base", "buy_quote", "sell_quote"), 0.0)
        flow["trade_count"] = 0
        if rng.random() >= self.quiet:
            flow["trade_count"] = rng.randint(1, 9)
            for side in rng.sample(("buy", "sell"), rng.randint(1, 2)):
                base = round(rng.expovariate(2.0) + 0.001, 3)
                flow[side + "_base"] = base
                flow[side + "_quote"] = base * self.price(self.at)
        return flow

    def record(self, **other):
        """A good snapshot of now, with the next sequence; it is not sent."""
        bids, asks = self.next_book()
        record = {"exchange": EXCHANGE, "symbol": self.symbol, "event_time": self.time,
                  "received_time": self.time + self.rng.randrange(-20_000, 200_000),
                  "sequence": self.sequence + 1, "epoch": self.epoch, "bids": bids, "asks": asks,
                  "flow": self.next_flow()}
        record.update(other)
        return record

    def send(self, record):
        self.arrival = max(self.arrival, self.time)
        self.out.append((self.arrival, record))

    def good(self):
        bar = self.params["bar_seconds"] * US
        if abs(self.time - self.newest - l2_ref.SYMBOL_TTL) <= 4 * bar:
            self.time += 9 * bar  # not near the bar in which the ttl ends: that has a minimal stream of its own
        self.send(self.record())
        self.newest = self.time
        self.sequence += self.rng.choice((1, 1, 1, 40))

    def advance(self):
        rng, bar = self.rng, self.params["bar_seconds"] * US
        kind = rng.random()
        if kind < 0.05:
            return  # equal times
        if kind < 0.09:
            self.time += US - self.time % US  # exactly on a second
            return
        if kind < 0.11 and bar - self.time % bar < 3 * self.step:
            self.time += bar - self.time % bar
            return
        self.time += self.step if rng.random() < 0.7 else rng.randrange(1, 2 * self.step)

    # The odd things. Each leaves the feed ready for a good snapshot.

    def gap(self):
        limit = self.params["max_gap_seconds"] * US
        self.time += self.rng.choice((limit, limit - self.step, limit - self.step + 1, limit + 1, limit * 3, 59 * US))

    def jump(self):
        bar = self.params["bar_seconds"] * US
        self.time += self.rng.choice((bar, bar - self.time % bar, 2 * bar, 3 * bar + 17, 7 * bar))
        if bar >= 300 * US and self.rng.random() < 0.4:
            far = l2_ref.SYMBOL_TTL + self.rng.choice((-20, -20, 0, 5)) * bar
            self.time += far
            self.until += far  # go on after it

    def duplicate(self):
        record = self.record(sequence=self.sequence - self.rng.choice((0, 0, 1, 500)))
        if self.rng.random() < 0.3:
            record["event_time"] -= self.rng.randrange(10 * US)  # both duplicate and late: a duplicate
        self.send(record)

    def late(self):
        for _ in range(self.rng.choice((1, 1, 3))):
            record = self.record(event_time=self.time - self.rng.choice((1, US, 70 * US)) - 2 * self.step)
            if self.rng.random() < 0.5:
                self.sequence += 1
            self.send(record)

    def late_epoch(self):
        lower = self.record(epoch=self.epoch - 1, sequence=self.rng.randrange(10**13))
        higher = self.record(epoch=self.epoch + 1, sequence=1, event_time=self.time - 3 * self.step - US)
        self.send(self.rng.choice((lower, higher)))

    def new_epoch(self):
        self.epoch += self.rng.choice((1, 100))
        self.sequence = self.rng.randrange(1000)

    def restart(self):
        """Another epoch, a clock that steps back, and enough records to be adopted, or nearly."""
        rng, bar = self.rng, self.params["bar_seconds"] * US
        self.restarts -= 1
        self.epoch += rng.choice((-1, 1))
        self.sequence = rng.randrange(1000)
        self.time -= rng.choice((0, US, bar // 2, bar, 2 * bar + 17, self.params["window_seconds"] * US))
        lag = rng.choice((0, 0, 0, 59 * US, 61 * US))  # of the recorder's clock: past 60 s nothing is adopted
        for _ in range(rng.choice((98, 99, 100, 130))):
            self.send(self.record(received_time=self.time + lag))
            self.newest = self.time
            self.sequence += 1
            self.advance()
            if rng.random() < 0.01:
                rng.choice((self.bad, self.duplicate))()

    def bad(self):
        record = self.record()
        for spoil in self.rng.sample(SPOILS, self.rng.choice((1, 1, 1, 2))):
            spoil(self.rng, record)
        if self.rng.random() < 0.3:
            self.sequence += 1
        self.send(record)

    def run(self, count):
        odd = (self.gap, self.gap, self.jump, self.duplicate, self.late, self.late_epoch, self.new_epoch, self.bad, self.bad)
        while self.time < self.until and len(self.out) < count:
            if self.restarts > 0 and self.rng.random() < 1 / 400:
                self.restart()
            elif self.rng.random() < self.odd:
                self.rng.choice(odd)()
            else:
                self.good()
                self.advance()
        # Past the end of the bar, so that the last one closes; then one that is left open.
        bar = self.params["bar_seconds"] * US
        self.time += bar - self.time % bar
        self.good()


# ---- bad records ----------------------------------------------------------------------------------------------------

def some_level(rng, record):
    side = record[rng.choice(("bids", "asks"))]
    return rng.choice(side) if side else {}


def spoil_number(rng, record):
    some_level(rng, record)[rng.choice(("price", "quantity"))] = rng.choice((float("nan"), float("inf"), float("-inf")))


def spoil_price(rng, record):
    some_level(rng, record)["price"] = rng.choice((0.0, -0.0, -1.5))


def spoil_quantity(rng, record):
    some_level(rng, record)["quantity"] = rng.choice((-1e-300, -1.0))


def spoil_side(rng, record):
    record[rng.choice(("bids", "asks"))] = []


def spoil_order(rng, record):
    side = record[rng.choice(("bids", "asks"))]
    if side:
        side.insert(rng.randint(0, len(side)), dict(rng.choice(side)))  # an equal price, or one out of place


def spoil_cross(rng, record):
    if record["bids"] and record["asks"]:
        record["asks"][0]["price"] = record["bids"][0]["price"] * rng.choice((1.0, 0.5))


def spoil_flow(rng, record):
    flow = record["flow"] or {"buy_base": 0.0, "sell_base": 0.0, "buy_quote": 0.0, "sell_quote": 0.0, "trade_count": 0}
    name = rng.choice(sorted(flow))
    flow[name] = -1 if name == "trade_count" else rng.choice((float("nan"), float("inf"), -0.5))
    record["flow"] = flow


def spoil_symbol(rng, record):
    record["symbol"] = rng.choice(("", "BTC/USDT", "BTC USDT", "ÄTHUSDT", "BTCUSDT\n"))


def spoil_exchange(rng, record):
    record["exchange"] = rng.choice(("", "other"))


def spoil_time(rng, record):
    record["received_time"] = record["event_time"] - 5 * US - rng.choice((1, 10**9))


def spoil_nothing(rng, record):
    """At the limits, yet good."""
    record["received_time"] = record["event_time"] - 5 * US
    some_level(rng, record)["quantity"] = -0.0


SPOILS = (spoil_number, spoil_price, spoil_quantity, spoil_side, spoil_order, spoil_cross, spoil_flow, spoil_symbol,
          spoil_exchange, spoil_time, spoil_nothing)


# ---- a whole stream -------------------------------------------------------------------------------------------------

def random_params(rng):
    bar = rng.choice((60, 60, 60, 300, 300, 900))
    window = rng.choice((60, 120, 300, 900)) if bar < 900 else 900
    return {"bar_seconds": bar, "window_seconds": window, "purge_bars": rng.choice((0, 1, 3, 20)),
            "max_gap_seconds": rng.choice((2, 5, 5, 30))}


def recorded_closes(rng, records, params, want):
    """Clock closes as a live producer could have recorded them: each bar still open at the snapshot its resume names."""
    closes = []
    if want == 0:
        return closes
    seen = l2_ref.run(records, **params)
    for _ in range(want):
        snaps = [(name, snap) for name, symbol in sorted(seen.symbols.items()) for snap in symbol.snaps]
        name, snap = rng.choice(snaps)
        bar = params["bar_seconds"] * US
        close = {"symbol": name, "bar_time": snap.time - snap.time % bar + rng.choice((0, 0, bar)),
                 "resume": {"epoch": snap.epoch, "sequence": snap.sequence}}
        again = l2_ref.run(records, closes + [close], **params)
        if not again.closes:
            closes = [row for row in again.bars if row["closed_by"] == "clock"]
            seen = again
    return closes


def bar_rows(bars):
    """Reference rows as records of l2_bars.avro."""
    names = [field["name"] for field in schema("l2_bar")["fields"]]
    rows = []
    for bar in bars:
        row = {"spread_sketch": b"", "source_partition": 0, "source_offset": 0, **bar}
        row["resume"] = {"last_kafka_time": 0, **bar["resume"]}
        rows.append({name: row[name] for name in names})
    return rows


def generate(seed):
    rng = random.Random(seed)
    params = random_params(rng)
    mood = rng.choice(MOODS)
    span = max(3 * params["bar_seconds"], 3 * params["window_seconds"]) * US
    out = []
    symbols = rng.sample(SYMBOLS, rng.choice((1, 2, 3)))
    for rank, symbol in enumerate(symbols):
        feed = Feed(rng, symbol, params, mood, span)
        feed.step = max(feed.step, span // rng.choice((600, 1500)))
        if mood != "wild":  # else nearly every link is a gap
            feed.step = min(feed.step, params["max_gap_seconds"] * US // 2)
        feed.run(3000)
        out += [(arrival, rank, record) for arrival, record in feed.out]
    out.sort(key=lambda item: item[:2])
    records = [record for _, _, record in out]
    closes = recorded_closes(rng, records, params, rng.choice((0, 0, 0, 1, 3)))
    return Stream(records, params, closes)


if __name__ == "__main__":
    made = generate(int(sys.argv[1]))
    write_container(sys.argv[2], made.records)
    print(json.dumps({"params": made.params, "records": len(made.records), "closes": len(made.closes)}))
