"""The figures that say how the producer's cost and memory go with size: parts `flat` and `cost` of bench.py."""

import statistics

import confluent_kafka
import confluent_kafka.admin

import l2live

FLAT_SYMBOLS, FLAT_RATE_HZ = 50, 10
FLAT_SLICE = 1_000_000  # records; as many slices as it takes to ten million
SYMBOLS, PARTITIONS = (5, 50, 500, 5000), (1, 2, 4)


def forget(bootstrap, topic):
    """Deletes what the topic holds, so that ten million records need the disk of one million."""
    c = confluent_kafka.Consumer(l2live.client(bootstrap, **{"group.id": "bench-forget"}))
    ends = {p: c.get_watermark_offsets(confluent_kafka.TopicPartition(topic, p), timeout=10)[1]
            for p in c.list_topics(topic, timeout=10).topics[topic].partitions}
    c.close()
    admin = confluent_kafka.admin.AdminClient(l2live.client(bootstrap))
    for future in admin.delete_records([confluent_kafka.TopicPartition(topic, p, end) for p, end in ends.items()]).values():
        future.result()


def part_flat(bench, broker, folder, quick):
    slices, records = (3, 50_000) if quick else (10, FLAT_SLICE)
    seconds = records // (FLAT_SYMBOLS * FLAT_RATE_HZ)
    prefix, start, sizes = "flat.", 1_700_000_000 // 900 * 900, []
    l2live.topics(broker.bootstrap, prefix, 1)
    with l2live.Producer(folder, broker.bootstrap, prefix, {"replica": "bench-flat"}) as p:
        p.wait_ready()
        for i in range(slices):
            bench.replay(broker.bootstrap, prefix, "--source", "synthetic", "--symbols", FLAT_SYMBOLS, "--rate-hz", FLAT_RATE_HZ,
                         "--start", start + i * seconds, "--hours", seconds / 3600, "--speed", "max")
            l2live.wait_committed(broker.bootstrap, prefix + "feature-producer", prefix + "l2.snapshots", 1, 180)
            sizes.append(p.metric("process_resident_memory_bytes"))
            forget(broker.bootstrap, prefix + "l2.snapshots")
    bench.say("flat: " + ", ".join(f"{s / 2**20:.1f}" for s in sizes) + f" MiB, one a {records:,} records")
    ratio = sizes[-1] / sizes[0]
    return [bench.row(f"memory after the first {records:,} records", sizes[0] / 2**20, "MiB"),
            bench.row(f"memory after {slices * records:,} records", sizes[-1] / 2**20, "MiB", "ratio <= 1.05", ratio <= 1.05,
                      sizes[0] / 2**20, ratio)]


def cost_ns(bench, broker, folder, symbols, partitions, records, runs):
    prefix = f"cost-{symbols}-{partitions}."
    l2live.topics(broker.bootstrap, prefix, partitions)
    bench.replay(broker.bootstrap, prefix, *bench.recorded(bench.BTC, "BTCUSDT"), "--symbols", symbols, "--records", records,
                 "--speed", "max")
    found = []
    for _ in range(runs):
        found.append(bench.measure_producer(broker.bootstrap, prefix, folder, records)[1] * 1e9)
        bench.reset_outputs(broker.bootstrap, prefix, partitions)
    forget(broker.bootstrap, prefix + "l2.snapshots")
    bench.say(f"cost: {symbols} symbols, {partitions} partitions: " + ", ".join(f"{ns:.0f}" for ns in found) + " ns CPU a record")
    return statistics.median(found)


def part_cost(bench, broker, folder, quick):
    records, runs = (600_000, 1) if quick else (1_000_000, 3)
    rows = []
    for partitions in PARTITIONS:
        ns = {n: cost_ns(bench, broker, folder, n, partitions, records, runs) for n in SYMBOLS}
        rows += [bench.row(f"CPU a record, {n} symbols, {partitions} partition{'s' * (partitions > 1)}", ns[n], "ns") for n in SYMBOLS[:-1]]
        ratio = ns[SYMBOLS[-1]] / ns[SYMBOLS[0]]
        rows.append(bench.row(f"CPU a record, {SYMBOLS[-1]} symbols, {partitions} partition{'s' * (partitions > 1)}", ns[SYMBOLS[-1]], "ns",
                              f"ratio <= 1.5 to {SYMBOLS[0]} symbols", ratio <= 1.5, ns[SYMBOLS[0]], ratio))
    return rows
