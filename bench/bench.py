"""./run bench [PART…] [--quick]: the figures of the producer, as ratios within one run, into bench/results.json and docs/performance.md.

Parts: rate (2 million snapshots against bare consumption), decode (one snapshot), latency (500 symbols, staggered and at once),
restart (SIGKILL to the next commit), memory (50, 500 and 5,000 symbols), flat (10 million records), cost (5 to 5,000 symbols in
1, 2 and 4 partitions), archiver (a million bars into PostgreSQL against a bare COPY), monitor (90 days folded again against bare consumption), drift (PSIs against Evidently's), live (500 cryptos watched), alerts (cause to alert),
rolling (planned restarts of two replicas), takeover (SIGKILL of one of two). --quick shortens all of them; its figures are not kept.
"""

import argparse
import functools
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import confluent_kafka  # noqa: E402
import confluent_kafka.admin  # noqa: E402

import bench_alerts  # noqa: E402
import bench_archiver  # noqa: E402
import bench_drift  # noqa: E402
import bench_live  # noqa: E402
import bench_monitor  # noqa: E402
import bench_replicas  # noqa: E402
import bench_scale  # noqa: E402
import l2kafka  # noqa: E402
import l2live  # noqa: E402

DATA = ROOT / "tests" / "data"
RESULTS, PAGE = ROOT / "bench" / "results.json", ROOT / "docs" / "performance.md"
BTC, ETH = DATA / "usdm_btcusdt_20240808.gz", DATA / "usdm_ethusdt_20240808.gz"
MARKER = "<!-- figures: written by ./run bench -->"


def say(text):
    print(f"[bench {time.monotonic() - BEGAN:6.0f} s] {text}", flush=True)


BEGAN = time.monotonic()


def row(name, value, unit, goal=None, met=None, baseline=None, ratio=None):
    return {"name": name, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio, "goal": goal, "met": met}


def replay(bootstrap, prefix, *options, wait=True):
    command = [l2live.binary("l2replay"), "--exchange", "binance-usdm", "--topic", "--bootstrap", bootstrap,
               "--topic-prefix", prefix, "--json", *map(str, options)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if not wait:
        return process
    _, err = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"l2replay: {err[-500:]}")
    return process


def recorded(path, symbol):
    return ("--source", "binance-ws", "--input", path, "--symbol", symbol)


# ---- rate and CPU a record ----

def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_producer(bootstrap, prefix, folder, total):
    """Records a second and CPU-seconds a record, between the first and the last look that saw it at work."""
    with l2live.Producer(folder, bootstrap, prefix, {"group_id": f"bench-{time.monotonic_ns()}"}) as p:
        looks, deadline = [], time.monotonic() + 300
        while not looks or looks[-1][2] < total:
            time.sleep(0.1)  # a look costs a millisecond, which is part of the figure
            taken = p.metric("l2flow_fp_read_total")
            if taken > 0:
                looks.append((time.monotonic(), cpu_seconds(p.process.pid), taken))
            if time.monotonic() > deadline or p.process.poll() is not None:
                raise RuntimeError(f"the producer read {taken} of {total}: {p.tail()}")
        begin, end = looks[0], next((look for look in reversed(looks) if look[2] < total), looks[-1])
        records = end[2] - begin[2]
        return records / (end[0] - begin[0]), (end[1] - begin[1]) / records


def measure_bare(bootstrap, prefix):
    done = subprocess.run([l2live.binary("bus_rate"), "bare", bootstrap, prefix + "l2.snapshots", "-", f"bare-{time.monotonic_ns()}"],
                          capture_output=True, text=True, check=True)
    fields = dict(f.split("=") for f in done.stdout.split()[1:])
    return float(fields["rate"]), float(fields["cpu_ns"]) * 1e-9


def part_rate(broker, folder, quick):
    records, pairs = (200_000, 1) if quick else (2_000_000, 5)
    prefix = "rate."
    l2live.topics(broker.bootstrap, prefix, 1)
    say(f"rate: writing {records:,} snapshots of 20 levels, the recording looped over 50 symbols")
    replay(broker.bootstrap, prefix, *recorded(BTC, "BTCUSDT"), "--symbols", 50, "--records", records, "--speed", "max")
    measure_bare(broker.bootstrap, prefix)  # the page cache is warm for both
    ours, bare = [], []
    for i in range(pairs):
        bare.append(measure_bare(broker.bootstrap, prefix))
        # a new deployment each time: without emitted bars, without a commit
        reset_outputs(broker.bootstrap, prefix)
        ours.append(measure_producer(broker.bootstrap, prefix, folder, records))
        say(f"rate: pair {i + 1}: producer {ours[-1][0]:,.0f}/s {ours[-1][1] * 1e9:.0f} ns CPU, "
            f"bare {bare[-1][0]:,.0f}/s {bare[-1][1] * 1e9:.0f} ns CPU")
    rate = statistics.median(o[0] / b[0] for o, b in zip(ours, bare))
    cpu = statistics.median(o[1] / b[1] for o, b in zip(ours, bare))
    return [row("producer rate", statistics.median(o[0] for o in ours), "records/s", "ratio >= 0.9", rate >= 0.9,
                statistics.median(b[0] for b in bare), rate),
            row("producer CPU a record", statistics.median(o[1] for o in ours) * 1e9, "ns", "ratio <= 1.3", cpu <= 1.3,
                statistics.median(b[1] for b in bare) * 1e9, cpu)]


def reset_outputs(bootstrap, prefix, partitions=1):
    admin = confluent_kafka.admin.AdminClient(l2live.client(bootstrap))
    for future in admin.delete_topics([prefix + t for t in ("l2.bars", "l2.features", "l2.dlq")]).values():
        future.result()
    for _ in range(50):
        try:
            l2live.topics(bootstrap, prefix, partitions)
            return
        except RuntimeError:
            time.sleep(0.2)
    raise RuntimeError("the output topics did not come back")


# ---- one snapshot ----

def part_decode(_broker, folder, quick):
    path = pathlib.Path(folder) / "decode.avro"
    subprocess.run([l2live.binary("l2replay"), "--exchange", "binance-usdm", *map(str, recorded(BTC, "BTCUSDT")),
                    "--output", str(path)], check=True, capture_output=True)
    done = subprocess.run([l2live.binary("bench_l2"), str(path)], capture_output=True, text=True, check=True)
    found = {r["name"]: r for r in map(json.loads, done.stdout.splitlines())}
    rows = []
    for name, r in found.items():
        is_goal = name == "decode_validate_features"
        rows.append(row(name, r["value"], r["unit"], "<= 100 ns" if is_goal else None, r["value"] <= 100 if is_goal else None))
    return rows


# ---- latency ----

class Watcher(threading.Thread):
    """Notes when each feature could be read, and where its closing snapshot stands."""

    def __init__(self, bootstrap, topic):
        super().__init__(daemon=True)
        self.consumer = confluent_kafka.Consumer(l2live.client(bootstrap, **{
            "group.id": "bench-watch", "isolation.level": "read_committed", "enable.auto.commit": False, "fetch.wait.max.ms": 10}))
        partitions = self.consumer.list_topics(topic, timeout=10).topics[topic].partitions
        self.consumer.assign([confluent_kafka.TopicPartition(topic, p, 0) for p in partitions])
        self.seen, self.ended = [], False

    def run(self):
        while not self.ended:
            for m in self.consumer.consume(500, timeout=0.02):
                if not m.error():
                    f = l2live.decode("l2_feature", m.value())
                    self.seen.append((time.time() * 1000, f["source_partition"], f["source_offset"]))
        self.consumer.close()


def arrivals_ms(bootstrap, topic, wanted):
    """Broker's arrival time of each wanted (partition, offset), by one pass over the topic."""
    found = {}
    c = confluent_kafka.Consumer(l2live.client(bootstrap, **{"group.id": "bench-arrivals", "enable.partition.eof": True}))
    partitions = c.list_topics(topic, timeout=10).topics[topic].partitions
    c.assign([confluent_kafka.TopicPartition(topic, p, 0) for p in partitions])
    left = set(partitions)
    while left:
        for m in c.consume(10000, timeout=1):
            if m.error():
                left.discard(m.partition())
            elif (m.partition(), m.offset()) in wanted:
                found[m.partition(), m.offset()] = m.timestamp()[1]
    c.close()
    return found


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


def measure_latency(broker, folder, name, seconds, symbols, stagger):
    prefix = f"latency-{name}."
    l2live.topics(broker.bootstrap, prefix, 4)
    settings = {"bar_seconds": 60, "replica": f"bench-{name}"}
    with l2live.Producer(folder, broker.bootstrap, prefix, settings) as p:
        p.wait_ready()
        watcher = Watcher(broker.bootstrap, prefix + "l2.features")
        watcher.start()
        feed = replay(broker.bootstrap, prefix, *recorded(BTC, "BTCUSDT"), "--thin", 100, "--symbols", symbols,
                      "--records", symbols * 10 * seconds, "--speed", 1, *(("--stagger-seconds", 60) if stagger else ()),
                      wait=False)
        time.sleep(10)  # both programs have checked the topics as l2flow wants them; now the broker's own stamps
        stamp_by_broker(broker.bootstrap, prefix + "l2.snapshots")
        stamped_ms = time.time() * 1000
        if feed.wait(timeout=seconds + 120) != 0:
            raise RuntimeError(f"l2replay: {feed.stderr.read()[-500:]}")
        time.sleep(3)
        watcher.ended = True
        watcher.join()
    arrived = arrivals_ms(broker.bootstrap, prefix + "l2.snapshots", {(q, o) for _, q, o in watcher.seen})
    return [seen - arrived[q, o] for seen, q, o in watcher.seen if arrived.get((q, o), 0) > stamped_ms]


def stamp_by_broker(bootstrap, topic):
    """From here on Kafka's timestamp is the arrival at the broker: the figure's definition."""
    admin = confluent_kafka.admin.AdminClient(l2live.client(bootstrap))
    entry = confluent_kafka.admin.ConfigEntry("message.timestamp.type", "LogAppendTime",
                                              incremental_operation=confluent_kafka.admin.AlterConfigOpType.SET)
    resource = confluent_kafka.admin.ConfigResource("topic", topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()


def part_latency(broker, folder, quick):
    rows = []
    for name, seconds, stagger in (("staggered", 90 if quick else 600, True), ("at-once", 90 if quick else 180, False)):
        say(f"latency: 500 symbols at 10 Hz, 1-minute bars, closes {name}, {seconds} s")
        ms = measure_latency(broker, folder, name, seconds, 500, stagger)
        p50, p99 = quantile(ms, 0.5), quantile(ms, 0.99)
        say(f"latency: {name}: p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {max(ms):.0f} ms over {len(ms)} features")
        goal = ("p99 <= 50 ms", p99 <= 50) if stagger else (None, None)
        rows += [row(f"latency {name} p50", p50, "ms"), row(f"latency {name} p99", p99, "ms", *goal)]
    return rows


# ---- restart ----

def part_restart(broker, folder, quick):
    kills = 2 if quick else 10
    prefix, group, partitions = "restart.", "restart.feature-producer", 2
    l2live.topics(broker.bootstrap, prefix, partitions)
    start = 1_700_000_000 // 900 * 900
    say("restart: 25 minutes of 50 symbols at 10 Hz, then live")
    replay(broker.bootstrap, prefix, "--source", "synthetic", "--symbols", 50, "--rate-hz", 10, "--start", start,
           "--hours", 25 / 60, "--speed", "max")
    found = []
    with l2live.Producer(folder, broker.bootstrap, prefix) as p:
        l2live.wait_committed(broker.bootstrap, group, prefix + "l2.snapshots", partitions, 120)
        feed = replay(broker.bootstrap, prefix, "--source", "synthetic", "--symbols", 50, "--rate-hz", 10, "--start",
                      start + 25 * 60, "--hours", 1, "--speed", 1, wait=False)
        try:
            for _ in range(kills):
                time.sleep(6)
                found.append(one_restart(p, broker.bootstrap, group, prefix + "l2.snapshots", partitions))
        finally:
            feed.kill()
            feed.wait()
    say("restart: " + ", ".join(f"{s:.2f}" for s in found) + " s")
    return [row("restart, median", statistics.median(found), "s"),
            row("restart, worst", max(found), "s", "<= 5 s", max(found) <= 5)]


def one_restart(p, bootstrap, group, topic, partitions):
    c = confluent_kafka.Consumer(l2live.client(bootstrap, **{"group.id": group}))
    wanted = [confluent_kafka.TopicPartition(topic, q) for q in range(partitions)]
    before = {t.partition: t.offset for t in c.committed(wanted, timeout=10)}
    began = time.monotonic()
    p.kill()
    p.start()
    while True:
        try:
            if all(t.offset > before[t.partition] for t in c.committed(wanted, timeout=10)):
                break
        except confluent_kafka.KafkaException:
            pass  # a transaction is being ended: asked again
        time.sleep(0.02)
        if time.monotonic() - began > 60:
            raise RuntimeError(f"no commit within 60 s: {p.tail()}")
    c.close()
    return time.monotonic() - began


# ---- memory ----

def resident_bytes(broker, folder, symbols, records):
    """The same number of records over more symbols, so that the client's own buffers are alike."""
    prefix, rate_hz = f"memory-{symbols}.", max(1, records // symbols // 1200)
    l2live.topics(broker.bootstrap, prefix, 1)
    replay(broker.bootstrap, prefix, "--source", "synthetic", "--symbols", symbols, "--rate-hz", rate_hz,
           "--hours", records / symbols / rate_hz / 3600, "--speed", "max")
    settings = {"replica": f"memory-{symbols}", "kafka.queued.max.messages.kbytes": 1024}
    with l2live.Producer(folder, broker.bootstrap, prefix, settings) as p:
        l2live.wait_committed(broker.bootstrap, prefix + "feature-producer", prefix + "l2.snapshots", 1, 180)
        time.sleep(2)
        if p.metric("l2flow_fp_symbols") != symbols:
            raise RuntimeError(f"memory: {p.metric('l2flow_fp_symbols')} symbols instead of {symbols}")
        return p.metric("process_resident_memory_bytes")


def part_memory(broker, folder, quick):
    counts = (50, 500, 5000)
    sizes = {n: resident_bytes(broker, folder, n, 60_000 if quick else 600_000) for n in counts}
    slope = (sizes[5000] - sizes[50]) / 4950 / 1024
    say("memory: " + ", ".join(f"{sizes[n] / 2**20:.1f} MiB at {n}" for n in counts))
    return [row(f"memory at {n} symbols", sizes[n] / 2**20, "MiB") for n in counts] + [
        row("memory slope, 50 to 5,000", slope, "KiB a symbol", "<= 16 KiB", slope <= 16)]


# ---- the table ----

PARTS = {"rate": part_rate, "decode": part_decode, "latency": part_latency, "restart": part_restart, "memory": part_memory,
         "flat": functools.partial(bench_scale.part_flat, sys.modules[__name__]),
         "cost": functools.partial(bench_scale.part_cost, sys.modules[__name__]),
         "archiver": functools.partial(bench_archiver.part_archiver, sys.modules[__name__]),
         "monitor": functools.partial(bench_monitor.part_monitor, sys.modules[__name__]),
         "drift": functools.partial(bench_drift.part_drift, sys.modules[__name__]),
         "live": functools.partial(bench_live.part_live, sys.modules[__name__]),
         "alerts": functools.partial(bench_alerts.part_alerts, sys.modules[__name__]),
         "rolling": functools.partial(bench_replicas.part_rolling, sys.modules[__name__]),
         "takeover": functools.partial(bench_replicas.part_takeover, sys.modules[__name__])}


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")),
                 platform.machine())
    return f"{os.cpu_count()} x {model}, {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB, Linux {platform.release()}"


def commit():
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def number(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(rows):
    lines = ["| figure | value | unit | baseline | ratio | goal | met |", "| --- | ---: | --- | ---: | ---: | --- | --- |"]
    for r in rows:
        met = {True: "yes", False: "**no**", None: ""}[r["met"]]
        lines.append(f"| {r['name']} | {number(r['value'])} | {r['unit']} | {number(r['baseline'])} | {number(r['ratio'])} | "
                     f"{r['goal'] or ''} | {met} |")
    return "\n".join(lines)


def keep(results, parts):
    """New rows take the place of the same part's old ones, so that a part can be run alone."""
    old = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"parts": {}}
    for name in parts:
        old["parts"][name] = {"machine": machine(), "commit": commit(), "date": time.strftime("%Y-%m-%d"),
                              "command": f"./run bench {name}", "rows": results[name]}
    RESULTS.write_text(json.dumps(old, indent=1) + "\n")
    text = PAGE.read_text() if PAGE.exists() else f"# Performance\n\n{MARKER}\n"
    figures = [f"`{p['command']}` at {p['commit']}, {p['date']}, on {p['machine']}:\n\n{table(p['rows'])}" for p in old["parts"].values()]
    PAGE.write_text(text[:text.index(MARKER)] + MARKER + "\n\n" + "\n\n".join(figures) + "\n")


def main():
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="of " + ", ".join(PARTS) + "; all by default")
    parser.add_argument("--quick", action="store_true", help="short runs, to see that all works; figures are not kept")
    args = parser.parse_args()
    unknown = [p for p in args.parts if p not in PARTS]
    if unknown:
        parser.error(f"no such part: {unknown[0]} (of {', '.join(PARTS)})")
    results = {}
    for name in args.parts or PARTS:
        with tempfile.TemporaryDirectory() as folder, l2kafka.Broker(folder + "/kafka", heap="1g") as broker:
            results[name] = PARTS[name](broker, folder, args.quick)
        if not args.quick:
            keep(results, [name])
    rows = [r for part in results.values() for r in part]
    print(table(rows))
    return 0 if all(r["met"] is not False for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
