"""Two replicas: parts `rolling` and `takeover` of bench.py."""

import time

import confluent_kafka

import l2fleet
import l2live

PARTITIONS, SYMBOLS, RATE_HZ = 4, 100, 10
SETTINGS = {"bar_seconds": 60, "window_seconds": 900, "CVN_L2_PURGE_BARS": 20}


class Feed:
    """A recording under 100 names, live at 10 Hz, closes spread over the minute; two replicas that share the partitions evenly."""

    def __init__(self, bench, broker, folder, name):
        self.bench, self.bootstrap, self.prefix = bench, broker.bootstrap, f"{name}."
        self.group, self.topic = self.prefix + "feature-producer", self.prefix + "l2.snapshots"
        l2live.topics(self.bootstrap, self.prefix, PARTITIONS)
        self.fleet = l2fleet.Fleet(folder, self.bootstrap, self.prefix, 2, SETTINGS)
        self.live = None

    def __enter__(self):
        self.fleet.__enter__()
        self.fleet.start(0, 1)
        self.settle()
        self.live = self.bench.replay(self.bootstrap, self.prefix, *self.bench.recorded(self.bench.BTC, "BTCUSDT"), "--thin", 100,
                                      "--symbols", SYMBOLS, "--records", SYMBOLS * RATE_HZ * 1200, "--stagger-seconds", 60,
                                      "--speed", 1, wait=False)
        return self

    def __exit__(self, *error):
        if self.live:
            self.live.kill()
            self.live.wait()
        self.fleet.__exit__(*error)

    def settle(self, seconds=60):
        deadline = time.monotonic() + seconds
        while not self.fleet.owned(0) == self.fleet.owned(1) == PARTITIONS / 2:
            self.fleet.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"the replicas have {self.fleet.owned(0)} and {self.fleet.owned(1)} partitions")
            time.sleep(0.1)


def part_rolling(bench, broker, folder, quick):
    """Lateness of a feature: from the moment when its closing snapshot was sent to the one when it can be read. (A
    replica that starts refuses a topic that the broker stamps.)"""
    rounds = 1 if quick else 5
    with Feed(bench, broker, folder, "rolling") as feed:
        watcher = bench.Watcher(feed.bootstrap, feed.prefix + "l2.features")
        watcher.start()
        time.sleep(10)
        for _ in range(rounds):
            for i in (0, 1):
                feed.fleet.stop(i)
                feed.fleet.start(i)
                time.sleep(8)  # it is back and has caught up before the next one goes
        feed.settle()
        watcher.ended = True
        watcher.join()
        feed.fleet.check()
    arrived = bench.arrivals_ms(feed.bootstrap, feed.topic, {(q, o) for _, q, o in watcher.seen})
    ms = [seen - arrived[q, o] for seen, q, o in watcher.seen if (q, o) in arrived]
    p50, worst = bench.quantile(ms, 0.5), max(ms)
    bench.say(f"rolling: {rounds} times both: p50 {p50:.0f} ms, latest {worst:.0f} ms over {len(ms)} features")
    return [bench.row("rolling restart of two replicas, p50", p50, "ms"),
            bench.row("rolling restart of two replicas, latest", worst, "ms", "<= 1,000 ms", worst <= 1000)]


def part_takeover(bench, broker, folder, quick):
    """SIGKILL of one of two, which stays away, to the other's first commit past the offset before it, in every partition."""
    found = []
    with Feed(bench, broker, folder, "takeover") as feed:
        for i in range(1 if quick else 6):
            time.sleep(5)
            found.append(one_takeover(feed, i % 2))
            feed.fleet.start(i % 2)
            feed.settle()
    bench.say("takeover: " + ", ".join(f"{s:.1f}" for s in found) + " s")
    return [bench.row("takeover from a replica that died, worst", max(found), "s", "<= 15 s", max(found) <= 15)]


def one_takeover(feed, i):
    c = confluent_kafka.Consumer(l2live.client(feed.bootstrap, **{"group.id": feed.group}))
    wanted = [confluent_kafka.TopicPartition(feed.topic, q) for q in range(PARTITIONS)]
    before = {t.partition: t.offset for t in c.committed(wanted, timeout=10)}
    began = time.monotonic()
    feed.fleet.kill(i)
    while True:
        try:
            if all(t.offset > before[t.partition] for t in c.committed(wanted, timeout=10)):
                break
        except confluent_kafka.KafkaException:
            pass  # a transaction is being ended: asked again
        feed.fleet.check()
        if time.monotonic() - began > 60:
            raise RuntimeError(f"no commit within 60 s: {feed.fleet[1 - i].tail()}")
        time.sleep(0.05)
    c.close()
    return time.monotonic() - began
