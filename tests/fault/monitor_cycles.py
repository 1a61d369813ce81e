"""kill -9 of the quality monitor while its market is written, and the broker restarted: what it wrote equals what its core says.

Each chunk of the market is killed into not at all, once or several times: while the monitor starts, folds, or waits to tell. Comparison,
and what of it is the clock's: tests/support/l2qmlive.py.
Seen to fail, each with its planted fault in the monitor: signals, and outcomes, not recalled at a start (doubled); alerts not recalled (a change is
never told).
"""

import collections
import random
import time

import l2live
import l2qm
import l2qmlive

PARTITIONS = 3
SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE")
BARS_A_CHUNK = 4


def kill_while(monitor, kills, rng, seconds=(0.3, 2)):
    """So many kills, each a moment after the start or the record before: rather soon, or later."""
    for _ in range(kills):
        time.sleep(rng.uniform(0, rng.choice(seconds)))
        l2qmlive.supervise(monitor)
        monitor.kill()
        monitor.start()


def run(broker, folder, cycles, seed, days, say=print, stopping=lambda: False):
    """One run: a market, kills, comparison. Returns counts, examples, sizes; sizes["cycles"]: the kills up to when it was told to stop."""
    rng, prefix = random.Random(seed), f"monitor{seed}-{int(time.time())}."
    market = l2qm.Market(seed, SYMBOLS, days=days, late=False)
    said = l2qmlive.Said(market, market.write_reference(folder / "reference.json"))
    l2live.topics(broker.bootstrap, prefix, PARTITIONS)
    chunks = list(said.chunks(BARS_A_CHUNK))
    kills = collections.Counter(rng.choices(range(len(chunks)), k=cycles))
    feed = l2qmlive.Feed(broker.bootstrap, prefix, market)
    follower = l2qmlive.Follower(broker.bootstrap, prefix, PARTITIONS)
    say(f"{len(chunks)} chunks of {sum(map(len, market.steps))} records, {sum(map(len, said.changes.values()))} changes of alerts, {cycles} kills, "
        f"seed {seed}", flush=True)
    done = 0
    with l2qm.Monitor(folder, broker.bootstrap, prefix, {"reference_file": str(folder / "reference.json"), "hold_ms": "50",
                                                         "replica": f"quality-{prefix}0"}) as monitor:
        for i, chunk in enumerate(chunks):
            feed.write(chunk)
            feed.write_ahead()
            if i == len(chunks) // 2:
                say("restarting the broker", flush=True)
                broker.stop()
                broker.start()
            if not stopping():
                kill_while(monitor, kills[i], rng)
                done += kills[i]
            l2qmlive.wait_told(monitor, feed, follower, said)
        follower.close()
        code = monitor.stop()
        if code != 0:
            raise RuntimeError(f"a planned stop ended with {code}:\n{monitor.tail()}")
    counts, examples, sizes = l2qmlive.judge(broker.bootstrap, prefix, said, f"quality-{prefix}0")
    return counts, examples, {**sizes, "cycles": done}
