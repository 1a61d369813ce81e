"""How fast the archiver stores bars, against a bare COPY of the same rows into the same indexed table: part `archiver` of bench.py."""

import pathlib
import time

import confluent_kafka

import l2ba
import l2live

GOAL = 10_000
BLOCK, SYMBOLS = 10_000, 500


def zigzag(n):
    """A non-negative Avro long."""
    n, out = n << 1, bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


def fill(bootstrap, topic, rows):
    """A block of bars, encoded once, again and again with later times: a million by the generic encoder would take minutes."""
    block = l2ba.make_bars(BLOCK, symbols=SYMBOLS)
    micros = [int(bar["bar_time"].timestamp()) * 1_000_000 for bar in block]
    parts = []
    for bar, time_us in zip(block, micros):
        head, tail = l2live.encode("l2_bar", bar).split(zigzag(time_us), 1)
        parts.append((bar["symbol"].encode(), head, time_us, tail))
    p = confluent_kafka.Producer(l2live.client(bootstrap, **{"linger.ms": 20, "compression.type": "lz4"}))
    for first in range(0, rows, BLOCK):
        later_us = first // SYMBOLS * 60_000_000
        for symbol, head, time_us, tail in parts:
            p.produce(topic, head + zigzag(time_us + later_us) + tail, symbol)
        while len(p) > 4 * BLOCK:
            p.poll(0.01)
    p.flush(120)


def measure(archive, broker, folder, prefix, rows):
    """Rows a second between the first and the last look that saw it at work."""
    looks, deadline = [], time.monotonic() + 600
    with l2ba.Archiver(folder, archive, broker.bootstrap, prefix) as a:
        while not looks or looks[-1][1] < rows:
            time.sleep(0.05)
            stored = a.metric("l2flow_ba_rows_total")
            if stored > 0:
                looks.append((time.monotonic(), stored))
            if time.monotonic() > deadline or a.process.poll() is not None:
                raise RuntimeError(f"the archiver stored {stored} of {rows}: {a.tail()}")
        a.stop()
    begin, end = looks[0], next(look for look in looks if look[1] == rows)
    return (end[1] - begin[1]) / (end[0] - begin[0])


def part_archiver(bench, broker, folder, quick):
    rows, prefix = 50_000 if quick else 1_000_000, "archiver."
    l2live.topics(broker.bootstrap, prefix, 1)
    bench.say(f"archiver: writing {rows:,} bars of 500 symbols")
    fill(broker.bootstrap, prefix + "l2.bars", rows)
    with l2ba.Archive(pathlib.Path(folder), durable=True) as archive:
        ours = measure(archive, broker, folder, prefix, rows)
        copy = pathlib.Path(folder) / "rows.bin"
        archive.psql(f"\\copy l2_snapshots TO '{copy}' (FORMAT binary)", timeout=600)
        archive.psql("TRUNCATE l2_snapshots; CHECKPOINT")
        began = time.monotonic()
        archive.psql(f"\\copy l2_snapshots FROM '{copy}' (FORMAT binary)", timeout=600)
        bare = rows / (time.monotonic() - began)
    bench.say(f"archiver: {ours:,.0f} rows/s, bare COPY {bare:,.0f} rows/s")
    return [bench.row("archiver, bars from Kafka into l2_snapshots", ours, "rows/s", f">= {GOAL:,}", ours >= GOAL, bare, ours / bare)]
