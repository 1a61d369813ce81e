"""The six features a second time, from the specification alone: slow, obvious, and sharing nothing with common/l2.

    bars, features, dead_letters = compute(snapshots, bar_seconds=900, …)

Every accepted snapshot of a symbol is kept in a list, and each bar is computed from that list when it closes: no partial
sums, no rings. Times are whole microseconds; what must be exact (gaps, coverage) is done in whole numbers, sums are
math.fsum. So a disagreement is a difference in meaning, not in rounding.

`snapshots`    dicts shaped as schemas/l2_snapshot.avsc, times as integers (read_records reads a file so)
`bars`         dicts shaped as L2Bar without spread_sketch and the Kafka positions, in the order in which they close, with
                 "terms"    {column: Σ|terms| of its sum}, the scale that a tolerance is relative to
                 "spreads"  every accepted spread in the bar, in bps: what the sketch has seen
`features`     dicts shaped as L2Feature without the Kafka positions and produced_time, one a bar, in the same order, with "terms"
`dead_letters` dicts {reason, symbol, index}: index is the snapshot's place in the input

Closes are by event time; `closes` are recorded clock closes, dicts with symbol, bar_time and resume {epoch, sequence}
(rows of l2_bars.avro whose closed_by is "clock"): each happens right after the snapshot that its resume names. The end of
the input closes nothing. The 100th of late records in a row whose order is their own begins its symbol anew (`adopted`).
"""

import bisect
import collections
import math
import re

import fastavro
import fastavro.read

# Any 64-bit time must come through as it is.
fastavro.read.LOGICAL_READERS.pop("long-timestamp-micros", None)

US = 1_000_000
SYMBOL_TTL = 7 * 24 * 3600 * US
MAX_AHEAD = 5 * US
ADOPT_LATE = 100
ADOPT_CLOCKS = 60 * US
MAX_LEVELS = 1000
MAX_NAME = 32
SYMBOL = re.compile(r"[A-Za-z0-9._-]{1,32}", re.ASCII)

COLUMNS = ("mid_price", "spread_bps", "depth_imbalance_l1", "depth_imbalance_l5", "ofi_15m", "kyle_lambda")
SETS = {
    "min": ("spread_bps", "depth_imbalance_l1", "mid_price"),
    "standard": COLUMNS,
    "flow_only": ("kyle_lambda", "ofi_15m", "depth_imbalance_l5"),
}
REASONS = ("too_large", "undecodable", "unknown_schema", "wrong_partition", "symbol_invalid", "symbol_mismatch", "wrong_exchange",
           "event_time_ahead", "empty_side", "not_finite", "price_not_positive", "quantity_negative",
           "levels_out_of_order", "crossed_book", "max_symbols")

Level = collections.namedtuple("Level", "price quantity")


def read_records(path):
    """The records of an Avro object container, one by one, times as integers."""
    with open(path, "rb") as file:
        yield from fastavro.reader(file)


class Params:
    def __init__(self, bar_seconds=900, window_seconds=900, purge_bars=20, max_gap_seconds=5, max_book_age=60,
                 coverage=95, sample_seconds=1, min_samples=30, max_symbols=8192):
        self.bar_seconds = bar_seconds
        self.window_seconds = window_seconds
        self.purge_bars = purge_bars
        self.max_gap_seconds = max_gap_seconds
        self.max_book_age = max_book_age
        self.coverage = coverage
        self.sample_seconds = sample_seconds
        self.min_samples = min_samples
        self.max_symbols = max_symbols
        self.bar = bar_seconds * US
        self.window = window_seconds * US
        self.max_gap = max_gap_seconds * US
        self.sample = sample_seconds * US

    def schema_version(self):
        parts = (("w", self.window_seconds, 900), ("k", self.sample_seconds, 1), ("g", self.max_gap_seconds, 5),
                 ("a", self.max_book_age, 60), ("c", self.coverage, 95), ("n", self.min_samples, 30))
        return "l2_schema_v1" + "".join(f"+{letter}{value}" for letter, value, usual in parts if value != usual)


class Snap:
    """An accepted snapshot, with whether its link to the one before holds."""
    __slots__ = ("time", "sequence", "epoch", "bids", "asks", "bid", "ask", "mid", "flow", "previous", "linked", "adopted")

    def __init__(self, record, previous, linked, adopted=False):
        self.adopted = adopted
        self.time = record["event_time"]
        self.sequence = record["sequence"]
        self.epoch = record["epoch"]
        self.bids = levels(record["bids"][:5])  # nothing below the fifth level is used
        self.asks = levels(record["asks"][:5])
        self.bid = self.bids[0]
        self.ask = self.asks[0]
        self.mid = (self.bid.price + self.ask.price) / 2
        self.flow = record["flow"]
        self.previous = previous
        self.linked = linked

    @property
    def broken(self):
        """It has one before it, and the link to that one is broken. (The very first has no link.)"""
        return self.previous is not None and not self.linked

    def spread_bps(self):
        return (self.ask.price - self.bid.price) / self.mid * 1e4


def levels(side):
    return [Level(level["price"], level["quantity"]) for level in side]


# ---- validity -------------------------------------------------------------------------------------------------------

def beyond_schema(record):
    """Whether a bound of the schema is passed, which a decoder calls undecodable."""
    return (len(record["bids"]) > MAX_LEVELS or len(record["asks"]) > MAX_LEVELS
            or len(record["symbol"].encode()) > MAX_NAME or len(record["exchange"].encode()) > MAX_NAME)


def reject_reason(record, exchange):
    """Why this record is a dead letter, or None. The order of the checks is part of the contract."""
    if beyond_schema(record):
        return "undecodable"
    if not SYMBOL.fullmatch(record["symbol"]):
        return "symbol_invalid"
    if record["exchange"] != exchange:
        return "wrong_exchange"
    if record["event_time"] - record["received_time"] > MAX_AHEAD:
        return "event_time_ahead"
    return book_reason(record["bids"], record["asks"], record["flow"])


def book_reason(bids, asks, flow):
    if not bids or not asks:
        return "empty_side"
    both = bids + asks
    traded = [] if flow is None else [flow[name] for name in
                                      ("buy_base", "sell_base", "buy_quote", "sell_quote", "trade_count")]
    numbers = [level["price"] for level in both] + [level["quantity"] for level in both] + traded
    if not all(math.isfinite(number) for number in numbers):
        return "not_finite"
    if any(level["price"] <= 0 for level in both):
        return "price_not_positive"
    if any(level["quantity"] < 0 for level in both) or any(number < 0 for number in traded):
        return "quantity_negative"
    if any(here["price"] <= below["price"] for here, below in zip(bids, bids[1:])):
        return "levels_out_of_order"
    if any(here["price"] >= above["price"] for here, above in zip(asks, asks[1:])):
        return "levels_out_of_order"
    if bids[0]["price"] >= asks[0]["price"]:
        return "crossed_book"
    return None


# ---- one window -----------------------------------------------------------------------------------------------------

def gap_time(snaps, inside, start, end, max_gap):
    """Microseconds of [start, end) inside gaps, as known at `end`. `inside` are the snapshots of the window; `snaps` all so far."""
    def within(a, b):
        return max(0, min(b, end) - max(a, start))

    total = within(-math.inf, snaps[0].time)
    for snap in inside:
        if snap.broken:
            total += within(snap.previous.time, snap.time)
    if end - snaps[-1].time > max_gap:
        total += within(snaps[-1].time, end)
    return total


def ofi_parts(snap):
    """The four signed parts of e_n (Cont, Kukanov, Stoikov 2014)."""
    here, before = snap, snap.previous
    parts = []
    if here.bid.price >= before.bid.price:
        parts.append(here.bid.quantity)
    if here.bid.price <= before.bid.price:
        parts.append(-before.bid.quantity)
    if here.ask.price <= before.ask.price:
        parts.append(-here.ask.quantity)
    if here.ask.price >= before.ask.price:
        parts.append(before.ask.quantity)
    return parts


def ofi(inside):
    """(Σ e_n, Σ|parts|), or (None, 0) when no snapshot of the window has an e_n."""
    linked = [snap for snap in inside if snap.linked]
    if not linked:
        return None, 0.0
    parts = [part for snap in linked for part in ofi_parts(snap)]
    return math.fsum(parts), math.fsum(abs(part) for part in parts)


def kyle_samples(inside, sample):
    """(signed volume, Δmid) of each sample of the window that counts."""
    seconds = collections.OrderedDict()
    for snap in inside:
        seconds.setdefault(snap.time // sample, []).append(snap)
    samples = []
    for snaps in seconds.values():
        # Its first snapshot's link is the one to the sample before, wherever that lies.
        if all(snap.linked and snap.flow is not None for snap in snaps):
            volume = math.fsum(part for snap in snaps for part in (snap.flow["buy_quote"], -snap.flow["sell_quote"]))
            samples.append((volume, snaps[-1].mid - snaps[0].previous.mid))
    return samples


def kyle(inside, sample, min_samples):
    """(slope, Σ|terms of its numerator| / Sxx), or (None, 0)."""
    samples = kyle_samples(inside, sample)
    if len(samples) < max(min_samples, 2) or len({volume for volume, _ in samples}) == 1:
        return None, 0.0
    count = len(samples)
    mean_x = math.fsum(x for x, _ in samples) / count
    mean_y = math.fsum(y for _, y in samples) / count
    sxx = math.fsum((x - mean_x) ** 2 for x, _ in samples)
    terms = [(x - mean_x) * (y - mean_y) for x, y in samples]
    if not sxx > 0:
        return None, 0.0  # volumes so small that their squares vanish
    return math.fsum(terms) / sxx, math.fsum(abs(term) for term in terms) / sxx


def imbalance(bids, asks):
    b = math.fsum(level.quantity for level in bids)
    a = math.fsum(level.quantity for level in asks)
    return None if a + b == 0 else (b - a) / (b + a)


def book_columns(last, end, max_age):
    """The four columns of the newest snapshot before `end`."""
    if end - last.time > max_age:
        return {}
    columns = {"mid_price": last.mid, "spread_bps": last.spread_bps(),
               "depth_imbalance_l1": imbalance([last.bid], [last.ask])}
    if len(last.bids) >= 5 and len(last.asks) >= 5:
        columns["depth_imbalance_l5"] = imbalance(last.bids, last.asks)
    return columns


# ---- one symbol -----------------------------------------------------------------------------------------------------

class Symbol:
    def __init__(self, params, exchange, name):
        self.params = params
        self.exchange = exchange
        self.name = name
        self.snaps = []
        self.times = []         # of snaps, to find a window's first by bisection
        self.break_next = False  # a rejected or late record came since the newest accepted one
        self.watermark = None   # event time never goes behind this
        self.next_bar = None    # opening of the oldest bar not closed
        self.late = []          # (epoch, sequence, time) of the late records in a row, in order

    def verdict(self, record):
        """accept, duplicate or late."""
        newest = self.snaps[-1]
        if record["epoch"] == newest.epoch and record["sequence"] <= newest.sequence:
            return "duplicate"
        if record["epoch"] < newest.epoch or record["event_time"] < self.watermark:
            return "late"
        return "accept"

    def drop_late(self, record):
        """A late record. True when it is the last that shows a restarted feed."""
        self.break_next = True
        if abs(record["event_time"] - record["received_time"]) > ADOPT_CLOCKS:
            self.late = []
            return False
        here = (record["epoch"], record["sequence"], record["event_time"])
        if self.late and not (here[:2] > self.late[-1][:2] and here[2] >= self.late[-1][2]):
            self.late = []
        self.late.append(here)
        return len(self.late) == ADOPT_LATE

    def adopt(self, record):
        snap = Snap(record, None, False, adopted=True)
        self.snaps, self.times = [snap], [snap.time]
        self.next_bar = snap.time - snap.time % self.params.bar
        self.break_next, self.late, self.watermark = False, [], snap.time

    def accept(self, record):
        previous = self.snaps[-1] if self.snaps else None
        linked = (previous is not None and not self.break_next and previous.epoch == record["epoch"]
                  and record["event_time"] - previous.time <= self.params.max_gap)
        snap = Snap(record, previous, linked)
        if previous is None:
            self.next_bar = snap.time - snap.time % self.params.bar
        self.snaps.append(snap)
        self.times.append(snap.time)
        self.break_next = False
        self.late = []
        self.watermark = snap.time if self.watermark is None else max(self.watermark, snap.time)

    def close_through(self, event_time, closed_by):
        """The rows of every open bar that ends at or before event_time."""
        rows = []
        while self.next_bar + self.params.bar <= event_time:
            rows.append(self.row(self.next_bar, closed_by))
            self.next_bar += self.params.bar
        if rows and closed_by == "clock":
            self.watermark = max(self.watermark, self.next_bar)
        return rows

    def between(self, start, end):
        return self.snaps[bisect.bisect_left(self.times, start):bisect.bisect_left(self.times, end)]

    def row(self, opening, closed_by):
        p = self.params
        end = opening + p.bar
        assert self.times[-1] < end
        start = end - p.window
        inside = self.between(start, end)
        in_bar = self.between(opening, end)
        gap = gap_time(self.snaps, inside, start, end, p.max_gap)
        columns = dict.fromkeys(COLUMNS)
        last = self.snaps[-1]
        columns.update(book_columns(last, end, p.max_book_age * US))
        terms = {name: abs(columns[name] or 0.0) for name in COLUMNS[:2]}
        terms.update({name: 1.0 for name in COLUMNS[2:4]})  # |ΣB| + |ΣA| over itself
        terms.update({name: 0.0 for name in COLUMNS[4:]})
        if (p.window - gap) * 100 >= p.coverage * p.window:
            columns["ofi_15m"], terms["ofi_15m"] = ofi(inside)
            columns["kyle_lambda"], terms["kyle_lambda"] = kyle(inside, p.sample, p.min_samples)
        return {"exchange": self.exchange, "symbol": self.name, "bar_time": opening, "bar_seconds": p.bar_seconds,
                "schema_version": p.schema_version(), **columns, "snapshots": len(in_bar),
                "gaps": sum(snap.broken or snap.adopted for snap in in_bar), "coverage": (p.window - gap) / p.window,
                "last_event_time": last.time, "closed_by": closed_by,
                "resume": {"epoch": last.epoch, "sequence": last.sequence, "last_event_time": last.time},
                "terms": terms, "spreads": [snap.spread_bps() for snap in in_bar]}


# ---- the whole input ------------------------------------------------------------------------------------------------

class Run:
    def __init__(self, params, closes):
        self.params = params
        self.exchange = None
        self.symbols = {}
        self.rows = {}  # (symbol, bar_time) → row, for the purge
        self.bars, self.features, self.dead_letters = [], [], []
        self.dropped = collections.Counter()
        self.adopted = []  # (symbol, event time)
        self.emitted = {}  # symbol → bar_time of its newest bar
        self.closes = collections.defaultdict(list)
        for close in closes or ():
            key = (close["symbol"], close["resume"]["epoch"], close["resume"]["sequence"])
            self.closes[key].append(close["bar_time"])

    def emit(self, rows):
        p = self.params
        for row in rows:
            if row["bar_time"] <= self.emitted.get(row["symbol"], -math.inf):
                continue
            self.emitted[row["symbol"]] = row["bar_time"]
            self.bars.append(row)
            self.rows[row["symbol"], row["bar_time"]] = row
            source_time = row["bar_time"] - p.purge_bars * p.bar
            source = self.rows.get((row["symbol"], source_time))
            feature = {name: row[name] for name in ("exchange", "symbol", "bar_time", "bar_seconds", "schema_version")}
            feature.update(feature_set="standard", purge_bars=p.purge_bars, source_bar_time=source_time)
            feature.update({"l2_" + name: source[name] if source else None for name in COLUMNS})
            feature["last_event_time"] = source["last_event_time"] if source else None
            feature["terms"] = {"l2_" + name: source["terms"][name] if source else 0.0 for name in COLUMNS}
            self.features.append(feature)

    def reject(self, index, record, reason):
        self.dead_letters.append({"reason": reason, "symbol": record["symbol"], "index": index})
        if reason != "undecodable" and record["symbol"] in self.symbols:
            self.symbols[record["symbol"]].break_next = True

    def snapshot(self, index, record):
        if self.exchange is None and not beyond_schema(record):
            self.exchange = record["exchange"]
        reason = reject_reason(record, self.exchange)
        name = record["symbol"]
        if reason is None and name not in self.symbols and len(self.symbols) >= self.params.max_symbols:
            reason = "max_symbols"
        if reason is not None:
            self.reject(index, record, reason)
            return
        symbol = self.symbols.get(name)
        adopts = False
        if symbol is not None:
            verdict = symbol.verdict(record)
            adopts = verdict == "late" and symbol.drop_late(record)
            if verdict != "accept" and not adopts:
                self.dropped[verdict] += 1
                return
            time = record["event_time"]
            last_close = symbol.snaps[-1].time + SYMBOL_TTL
            self.emit(symbol.close_through(min(time, last_close), "event"))
            if time > last_close:
                symbol = None  # retired: starts anew
        if symbol is None:
            symbol = self.symbols[name] = Symbol(self.params, self.exchange, name)
        if adopts and symbol.snaps:
            symbol.adopt(record)
            self.adopted.append((name, record["event_time"]))
        else:
            symbol.accept(record)
        for bar_time in sorted(self.closes.pop((name, record["epoch"], record["sequence"]), ())):
            self.emit(symbol.close_through(bar_time + self.params.bar, "clock"))


def run(snapshots, closes=None, **params):
    """As compute, but gives the Run, which also counts what was dropped."""
    state = Run(Params(**params), closes)
    for index, record in enumerate(snapshots):
        state.snapshot(index, record)
    return state


def compute(snapshots, bar_seconds=900, window_seconds=900, purge_bars=20, max_gap_seconds=5, max_book_age=60,
            coverage=95, sample_seconds=1, min_samples=30, closes=None, max_symbols=8192):
    state = run(snapshots, closes, bar_seconds=bar_seconds, window_seconds=window_seconds, purge_bars=purge_bars,
                max_gap_seconds=max_gap_seconds, max_book_age=max_book_age, coverage=coverage,
                sample_seconds=sample_seconds, min_samples=min_samples, max_symbols=max_symbols)
    return state.bars, state.features, state.dead_letters
