"""100,000 invalid records of every kind between good ones, through a real Kafka and the real producer.

Each becomes one dead letter with its reason, its place of origin, its bytes, key and timestamp; the reasons are counted
against what l2replay says it sent and against an independent judgement of every record. The good ones are unharmed: bars and
features equal those of --offline and of the reference (tests/support/l2_ref.py) over the same stream, where an invalid record
is replaced by one that does nothing but break the link of the symbol that its key names. Memory is bounded, in a
long run flat, and the last record is committed within seconds of being sent.

    test_dlq.py                 100,000, as ctest runs it
    test_dlq.py 1000000         more of them

Seen to fail on: values cut by one byte, timestamps of now, rejected records that break no link.
"""

import collections
import contextlib
import io
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import fastavro
import fastavro.read

import l2_ref
import l2kafka
import l2live

PREFIX = "dlq."
GROUP, IN, DLQ = PREFIX + "feature-producer", PREFIX + "l2.snapshots", PREFIX + "l2.dlq"
PARTITIONS, SYMBOLS, EXCHANGE = 3, 4, "synthetic"
PARAMS = {"bar_seconds": 60, "window_seconds": 60, "purge_bars": 2, "max_symbols": SYMBOLS}
SPEED = 40  # market seconds a second
LARGE_AT, MARKET_AT, MARKET_S = 100, 120, 240  # seconds of market from the start; and how long
GRACE_S = 600  # the clock closes nothing while a slow machine is up to 15 s behind
START = 1704067200
BURST = 1000  # of which 87 are late: fewer than the 100 in a row that would be adopted
PAYLOAD_MAX = 128 * 1024
# The client's queues fill up to their bounds while a busy machine lags (by 40 MB within the first 80,000, then no more), so that a
# short run bounds that alone; a long one compares its second half, where nothing may grow: 80 bytes a record would be seen.
LONG = 200_000
MEMORY_GROWTH_MAX_KB = {False: 64 * 1024, True: 8 * 1024}
COMMITTED_SECONDS_MAX = 10
GOOD_FRAME = l2live.fingerprint("l2_snapshot")
APART = ("too_large",)  # sent apart: 5,000 of the first would be 650 MB

# Times as whole numbers: every 64-bit time must come through.
fastavro.read.LOGICAL_READERS.pop("long-timestamp-micros", None)


def kinds():
    """{kind: reason, or None of what is dropped}, from l2replay itself."""
    lines = subprocess.run([l2live.binary("l2replay"), "--list-invalid"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in lines.splitlines()[1:]]
    return {row[0]: None if row[1] == "-" else row[1] for row in rows}


def l2replay(bootstrap, clock, at, *options):
    done = subprocess.run([l2live.binary("l2replay"), "--source", "synthetic", "--symbols", str(SYMBOLS), "--exchange", EXCHANGE,
                           "--start", str(START + at), "--topic", "--bootstrap", bootstrap, "--topic-prefix", PREFIX, "--json",
                           *map(str, options)], capture_output=True, text=True, check=False, env=dict(os.environ, **clock))
    assert done.returncode == 0, f"l2replay {options}: {done.stderr}"
    return collections.Counter(json.loads(done.stdout)["invalid"])


class Memory(threading.Thread):
    """Resident KB of a process: at the first look with `after` dead letters, and the most ever since."""

    def __init__(self, producer, after):
        super().__init__(daemon=True)
        self.producer, self.after, self.base, self.peak, self.over = producer, after, None, 0, False

    def run(self):
        while not self.over:
            with contextlib.suppress(OSError, ValueError):
                self.look()
            time.sleep(0.2)

    def look(self):
        status = pathlib.Path(f"/proc/{self.producer.process.pid}/status").read_text()
        kb = int(status.split("VmRSS:")[1].split()[0])
        if self.base is None and self.producer.metric("l2flow_fp_dead_letters_total") >= self.after:
            self.base = kb
        if self.base is not None:
            self.peak = max(self.peak, kb)


def run_live(bootstrap, folder, invalid_n):
    """The kinds, what l2replay says it sent of each, what the memory did, and the clock."""
    known = kinds()
    chosen = [kind for kind in known if kind not in APART]
    dead_part = sum(known[kind] is not None for kind in chosen) / len(chosen)
    bursts = math.ceil(invalid_n / dead_part / BURST)
    every = MARKET_S * 10 * SYMBOLS // bursts | 1  # odd: every symbol has its turn of being the last one before a burst
    clock = {"L2_CLOCK": f"{time.time() + 3:.3f}/{START}/{SPEED}"}
    settings = {"exchange": EXCHANGE, "max_symbols": SYMBOLS, "bar_seconds": PARAMS["bar_seconds"],
                "window_seconds": PARAMS["window_seconds"], "close_grace_seconds": GRACE_S,
                "kafka.queued.max.messages.kbytes": 2048}  # so that a busy machine's backlog is not taken for a leak
    l2live.topics(bootstrap, PREFIX, PARTITIONS)
    with l2live.Producer(folder, bootstrap, PREFIX, settings=settings,
                         environment={**clock, "CVN_L2_PURGE_BARS": str(PARAMS["purge_bars"])}) as producer:
        producer.wait_ready()
        memory = Memory(producer, invalid_n // 2 if invalid_n >= LONG else 10_000)
        memory.start()
        sent = l2replay(bootstrap, clock, 0, "--records", 40 * SYMBOLS)  # every symbol is known before the table is full
        l2live.wait_committed(bootstrap, GROUP, IN, PARTITIONS, 60)
        sent += l2replay(bootstrap, clock, LARGE_AT, "--records", 400, "--invalid", "too_large", "--invalid-every", 2)
        sent += l2replay(bootstrap, clock, MARKET_AT, "--records", every * bursts, "--invalid", ",".join(chosen),
                         "--invalid-every", every, "--invalid-burst", BURST)
        started = time.monotonic()
        l2live.wait_committed(bootstrap, GROUP, IN, PARTITIONS, 60)
        waited = time.monotonic() - started
        memory.over = True
        memory.join()
        assert producer.stop() == 0, producer.tail()
    assert waited < COMMITTED_SECONDS_MAX, f"the last record was committed {waited:.0f} s after it was sent"
    return known, sent, memory, clock["L2_CLOCK"]


# ---- an independent judgement ---------------------------------------------------------------------------------------

SNAPSHOT = l2live.schema("l2_snapshot")


def decoded(value):
    """The record, or None: by fastavro, which must use up all the bytes."""
    try:
        stream = io.BytesIO(value[l2live.FRAME_BYTES:])
        record = fastavro.schemaless_reader(stream, SNAPSHOT)
        return record if stream.read(1) == b"" else None
    except Exception:  # whatever it makes of noise
        return None


def murmur2(key):
    """The partition of a key as Java clients choose it."""
    h = (0x9747B28C ^ len(key)) & 0xFFFFFFFF
    for at in range(0, len(key) - len(key) % 4, 4):
        k = int.from_bytes(key[at:at + 4], "little") * 0x5BD1E995 & 0xFFFFFFFF
        k = (k ^ k >> 24) * 0x5BD1E995 & 0xFFFFFFFF
        h = h * 0x5BD1E995 & 0xFFFFFFFF ^ k
    if rest := key[len(key) - len(key) % 4:]:
        h = (h ^ int.from_bytes(rest, "little")) * 0x5BD1E995 & 0xFFFFFFFF
    h = (h ^ h >> 13) * 0x5BD1E995 & 0xFFFFFFFF
    return ((h ^ h >> 15) & 0x7FFFFFFF) % PARTITIONS


def judge(message, to_virtual_us):
    """(reason or None, record or None) of one input record, apart from max_symbols."""
    value = message.value or b""
    if len(value) > PAYLOAD_MAX:
        return "too_large", None
    if value[:1] == b"\0" and len(value) >= 5:
        return "unknown_schema", None
    if value[:2] != b"\xc3\x01" or len(value) < l2live.FRAME_BYTES:
        return "undecodable", None
    if value[:l2live.FRAME_BYTES] != GOOD_FRAME:
        return "unknown_schema", None
    record = decoded(value)
    if record is None:
        return "undecodable", None
    reason = l2_ref.reject_reason(record, EXCHANGE)
    if reason != "symbol_invalid" and record["symbol"].encode() != message.key:
        reason = "symbol_mismatch"
    if reason is None and record["event_time"] - to_virtual_us(message.timestamp_ms * 1000) > l2_ref.MAX_AHEAD:
        reason = "event_time_ahead"
    return reason, record


def breaker(key):
    """A record that is invalid in any process, of the symbol that a key names."""
    return {"exchange": EXCHANGE, "symbol": key, "event_time": 0, "received_time": 0, "sequence": 0, "epoch": 0,
            "bids": [], "asks": [], "flow": None}


def check_dead_letters(sent, known, inputs, dead, clock):
    """Each invalid record has its dead letter; returns the stream in which they are breakers."""
    real, virtual, speed = (float(x) for x in clock.split("/"))
    by_origin = collections.defaultdict(list)
    for letter in dead:
        headers = dict(letter.headers)
        by_origin[int(headers["partition"]), int(headers["offset"])].append((headers, letter))
    symbols = {f"SYN{i:03}" for i in range(SYMBOLS)}
    stream, faults, reasons = [], [], collections.Counter()
    for message in inputs:
        reason, record = judge(message, lambda us: (virtual + (us / 1e6 - real) * speed) * 1e6)
        key = (message.key or b"").decode(errors="replace")
        is_home = murmur2(message.key) == message.partition
        if reason is None and not is_home:
            reason = "wrong_partition"
        if reason is None and key not in symbols:
            reason = "max_symbols"
        letters = by_origin.pop((message.partition, message.offset), [])
        if reason is None:
            stream.append(record)
            if letters:
                faults.append(f"{message.partition}/{message.offset}: a good record was rejected: {letters[0][0]}")
            continue
        reasons[reason] += 1
        if key in symbols and is_home:  # elsewhere it names nobody who is known there
            stream.append(breaker(key))
        if len(letters) != 1:
            faults.append(f"{message.partition}/{message.offset}: {reason}: {len(letters)} dead letters")
            continue
        headers, letter = letters[0]
        for what, got, want in (("reason", headers["reason"], reason.encode()), ("topic", headers["topic"], IN.encode()),
                                ("partition", letter.partition, message.partition),
                                ("key", letter.key or b"", message.key or b""), ("value", letter.value or b"", message.value or b""),
                                ("timestamp", letter.timestamp_ms, message.timestamp_ms)):
            if got != want:
                faults.append(f"{message.partition}/{message.offset}: {what} is {got[:60] if isinstance(got, bytes) else got}, "
                              f"not {want[:60] if isinstance(want, bytes) else want} ({reason})")
    faults += [f"a dead letter of no record: {origin}" for origin in by_origin]
    want = collections.Counter()
    for kind, n in sent.items():
        if known[kind] is not None:
            want[known[kind]] += n
    if reasons != want:
        faults.append(f"reasons of what lies in the topic {dict(reasons)}, of what was sent {dict(want)}")
    print(f"{len(dead)} dead letters of {len(inputs)} records: {dict(sorted(reasons.items()))}")
    return stream, faults


# ---- the good ones --------------------------------------------------------------------------------------------------

def far(got, want, scale):
    if got is None or want is None:
        return got is not want
    return abs(got - want) > 1e-9 * max(scale, abs(want))


def check_reference(bars, want):
    want = {(row["symbol"], row["bar_time"]): row for row in want}
    faults, values = [], collections.Counter()
    for bar in bars:
        row = want.pop((bar["symbol"], bar["bar_time"]), None)
        if row is None:
            faults.append(f"{bar['symbol']} {bar['bar_time']}: a bar that the reference has not")
            continue
        for name in ("snapshots", "gaps", "coverage"):
            if far(bar[name], row[name], 1):
                faults.append(f"{bar['symbol']} {bar['bar_time']}: {name} {bar[name]}, reference {row[name]}")
        for name in l2_ref.COLUMNS:
            values[name] += bar[name] is not None
            if far(bar[name], row[name], row["terms"][name]):
                faults.append(f"{bar['symbol']} {bar['bar_time']}: {name} {bar[name]}, reference {row[name]}")
    faults += [f"{symbol} {time_us}: no such bar" for symbol, time_us in want]
    print(f"{len(bars)} bars, values {dict(values)}")
    faults += [f"{name} has {values[name]} values in {len(bars)} bars: too few to compare" for name in l2_ref.COLUMNS
               if values[name] <= len(bars) // 2]
    return faults


def check_good(bootstrap, folder, stream):
    bars, features = [[l2live.decode(stem, m.value) for m in l2live.dump(bootstrap, PREFIX + topic)]
                      for stem, topic in (("l2_bar", "l2.bars"), ("l2_feature", "l2.features"))]
    closes = [bar for bar in bars if bar["closed_by"] == "clock"]
    print(f"{len(closes)} bars closed by the clock")
    l2live.write_records(folder / "stream.avro", "l2_snapshot", stream)
    l2live.write_records(folder / "closes.avro", "l2_bar", bars)
    options = ["--closes", folder / "closes.avro"]
    for name in ("bar_seconds", "window_seconds", "purge_bars"):
        options += ["--" + name.replace("_", "-"), PARAMS[name]]
    offline = l2live.offline(folder / "stream.avro", folder / "offline", options)
    faults = check_reference(bars, l2_ref.compute(stream, closes=closes, **PARAMS)[0])
    for stem, got, want in (("l2_bar", bars, offline[0]), ("l2_feature", features, offline[1])):
        counts, examples = l2live.differences(stem, got, want)
        print(stem, len(got), dict(counts))
        faults += examples
    return faults


def main():
    invalid_n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name, l2kafka.shared_or_own(name + "/kafka") as bootstrap:
        folder = pathlib.Path(name)
        started = time.monotonic()
        known, sent, memory, clock = run_live(bootstrap, folder, invalid_n)
        print(f"sent {sum(sent.values())} invalid records; live part {time.monotonic() - started:.0f} s")
        inputs, dead = l2live.dump(bootstrap, IN), l2live.dump(bootstrap, DLQ)
        stream, faults = check_dead_letters(sent, known, inputs, dead, clock)
        faults += check_good(bootstrap, folder, stream)
        print(f"in all {time.monotonic() - started:.0f} s")
    assert len(dead) >= invalid_n, "fewer dead letters than promised"
    grown = memory.peak - memory.base
    print(f"memory after {memory.after} dead letters {memory.base} KB, at most {memory.peak} KB since")
    if grown > MEMORY_GROWTH_MAX_KB[invalid_n >= LONG]:
        faults.append(f"memory grew by {grown} KB")
    print(f"{len(faults)} faults")
    for fault in faults[:10] + faults[10:][-10:]:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
