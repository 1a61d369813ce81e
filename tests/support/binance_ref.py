"""Binance websocket recordings, rebuilt a second time: plain Python, standard library only, sharing nothing with l2replay.

    for snapshot in snapshots(["usdm_btcusdt_20240808.gz"], "BTCUSDT", depth=20): …

yields dicts shaped as schemas/l2_snapshot.avsc, times in whole microseconds. The book is two dicts {price in
10^-8: (price, quantity)}, searched anew for each snapshot: slow and obvious. `candles(paths, symbol, bar_seconds)` gives the candles of the
same files, and `figures(snapshots)` those of golden.json that a snapshot stream determines.

A broken sequence raises Gap: the recordings at hand have none, and what happens then is tested by hand-made files.
"""

import gzip
import heapq
import json
import math
from decimal import Decimal


class Gap(Exception):
    """A depth update does not continue the one before."""


def messages(paths):
    """(receive time in ns, message) of every line: {"stream", "data"} is opened."""
    for path in paths:
        with open(path, "rb") as probe:
            is_gzip = probe.read(2) == b"\x1f\x8b"
        with (gzip.open if is_gzip else open)(path, "rt", encoding="utf-8") as file:
            for line in file:
                received, text = line.split(" ", 1)
                message = json.loads(text)
                yield int(received), message.get("data", message)


def is_trade(m):
    return m.get("e") == "trade" and m.get("X", "MARKET") == "MARKET"


def zero_flow():
    return {"buy_base": 0.0, "sell_base": 0.0, "buy_quote": 0.0, "sell_quote": 0.0, "trade_count": 0}


def apply(book, bids, asks):
    for side, levels in zip(book, (bids, asks)):
        for price, quantity in levels:
            key = int(Decimal(price).scaleb(8))  # exact: no market has more than eight decimals
            if float(quantity) == 0:
                side.pop(key, None)
            else:
                side[key] = {"price": float(price), "quantity": float(quantity)}


def top(book, depth):
    return ([book[0][key] for key in heapq.nlargest(depth, book[0])],
            [book[1][key] for key in heapq.nsmallest(depth, book[1])])


def continues(m, last, is_first):
    if "pu" in m:
        return m["pu"] <= last if is_first else m["pu"] == last
    return m["U"] <= last + 1 if is_first else m["U"] == last + 1


def snapshots(paths, symbol, depth=20, exchange="binance"):
    book = ({}, {})
    held, last, is_first, epoch = [], None, True, None
    flow, has_trades = zero_flow(), False
    for received, m in messages(paths):
        epoch = received // 1_000_000_000 if epoch is None else epoch
        assert m.get("s", symbol) == symbol, m["s"]
        if is_trade(m):
            has_trades = True
            side = "sell" if m["m"] else "buy"
            flow[side + "_base"] += float(m["q"])
            flow[side + "_quote"] += float(m["p"]) * float(m["q"])
            flow["trade_count"] += 1
        elif "lastUpdateId" in m and last is None:
            apply(book, m["bids"], m["asks"])
            last = m["lastUpdateId"]
        if m.get("e") != "depthUpdate" and "lastUpdateId" not in m:
            continue
        if last is None:
            held.append(m)
            continue
        # What came before the REST answer is applied, but makes no snapshot: its book was not known when it came.
        for update in held + ([m] if m.get("e") == "depthUpdate" else []):
            if update["u"] <= last:
                continue
            if not continues(update, last, is_first):
                raise Gap(f"{update['U']} after {last}")
            apply(book, update["b"], update["a"])
            last, is_first = update["u"], False
            if update is m:
                bids, asks = top(book, depth)
                assert bids and asks and bids[0]["price"] < asks[0]["price"]
                yield {"exchange": exchange, "symbol": symbol, "event_time": m["E"] * 1000, "received_time": received // 1000,
                       "sequence": m["u"], "epoch": epoch, "bids": bids, "asks": asks, "flow": flow if has_trades else None}
                flow = zero_flow()
        held = []


def candles(paths, symbol, bar_seconds, exchange="binance"):
    """Complete candles by event time, in order. A depth update closes a bar a second after its end, a trade at once."""
    bar_us, bar, bars = bar_seconds * 1_000_000, None, []
    synced = False
    for _, m in messages(paths):
        synced |= "lastUpdateId" in m
        if is_trade(m):
            time = m["E"] * 1000
        elif m.get("e") == "depthUpdate" and synced and bar is not None:
            time = m["E"] * 1000 - 1_000_000
        else:
            continue
        start = time - time % bar_us
        if bar is not None and start < bar["bar_time"]:
            continue
        if bar is None or start > bar["bar_time"]:
            price = float(m["p"]) if is_trade(m) else bar["close"]
            if bar is not None:
                bars.append(bar)
            bar = {"exchange": exchange, "symbol": symbol, "bar_time": start, "bar_seconds": bar_seconds, "open": price,
                   "high": price, "low": price, "close": price, "base_volume": 0.0, "quote_volume": 0.0,
                   "taker_buy_base": 0.0, "taker_buy_quote": 0.0, "trade_count": 0}
        if not is_trade(m):
            continue
        price, base = float(m["p"]), float(m["q"])
        if bar["trade_count"] == 0:
            bar.update(open=price, high=price, low=price)
        bar.update(high=max(bar["high"], price), low=min(bar["low"], price), close=price)
        bar["base_volume"] += base
        bar["quote_volume"] += price * base
        if not m["m"]:
            bar["taker_buy_base"] += base
            bar["taker_buy_quote"] += price * base
        bar["trade_count"] += 1
    return bars  # the last one is not complete


def order_flow(before, now):
    """e_n of Cont, Kukanov, Stoikov (2014)."""
    (pb0, qb0), (pb, qb) = ((s["bids"][0]["price"], s["bids"][0]["quantity"]) for s in (before, now))
    (pa0, qa0), (pa, qa) = ((s["asks"][0]["price"], s["asks"][0]["quantity"]) for s in (before, now))
    return ((qb if pb >= pb0 else 0) - (qb0 if pb <= pb0 else 0) - (qa if pa <= pa0 else 0) + (qa0 if pa >= pa0 else 0))


def mid(s):
    return (s["bids"][0]["price"] + s["asks"][0]["price"]) / 2


def imbalance(s, n):
    bid, ask = (math.fsum(level["quantity"] for level in s[side][:n]) for side in ("bids", "asks"))
    return (bid - ask) / (bid + ask)


def figures(rows):
    """{name: (value, Σ|terms|)}: a tolerance is relative to the second."""
    rows = list(rows)
    n = len(rows)
    spreads = [(s["asks"][0]["price"] - s["bids"][0]["price"]) / mid(s) * 1e4 for s in rows]
    ofi = [order_flow(a, b) for a, b in zip(rows, rows[1:])]
    buys, sells = ([s["flow"][side] for s in rows] for side in ("buy_base", "sell_base"))

    def total(terms, by=1):
        return math.fsum(terms) / by, math.fsum(map(abs, terms)) / by

    def exact(value):
        return value, abs(value)

    return {
        "rows": exact(n),
        "span_s": exact(round((rows[-1]["received_time"] - rows[0]["received_time"]) / 1e3) / 1e3),  # by the recorder's clock
        "last_mid": exact(mid(rows[-1])),
        "mean_spread_bps": total(spreads, n),
        "mean_imb_l1": total([imbalance(s, 1) for s in rows], n),
        "mean_imb_l5": total([imbalance(s, 5) for s in rows], n),
        "ofi_sum": total(ofi),
        "buy": total(buys),
        "sell": total(sells),
        "neg_latency_ms_first": exact(math.floor((rows[0]["received_time"] - rows[0]["event_time"]) / 1000)),
        "max_gap_ms": exact(round(max(b["received_time"] - a["received_time"] for a, b in zip(rows, rows[1:])) / 1e3)),
        "trades": exact(sum(s["flow"]["trade_count"] for s in rows)),
        "crossed": exact(sum(s["bids"][0]["price"] >= s["asks"][0]["price"] for s in rows)),
        "sequence_gaps": exact(0),  # snapshots() would have raised
    }
