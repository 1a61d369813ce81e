"""kill -9 under load: the producer dies at random moments, the broker is restarted, and the outputs equal those of a quiet run.

Load and comparison: tests/support/l2fleet.py.
Seen to fail on: a producer that commits positions without its transaction (lost), one that folds from the committed offset on
(changed), dead letters sent again below the committed offset (doubled).
"""

import random
import time

import l2fleet
import l2live

PARTITIONS = 2


def supervise(producer):
    """What a supervisor does: starts the producer again when it asks for that; anything else is a fault."""
    if producer.process.poll() is None:
        return
    if producer.process.returncode != l2fleet.RESTART_ME:
        raise RuntimeError(f"the producer ended by itself with {producer.process.returncode}:\n{producer.tail()}")
    producer.start()


def kill_cycles(producer, cycles, rng, on_cycle, stopping):
    """Kills the producer `cycles` times, at random moments: while it starts, folds, or is at work. Returns how often."""
    for cycle in range(cycles):
        if stopping():
            return cycle
        time.sleep(rng.choice((rng.uniform(0.05, 0.6), rng.uniform(0.6, 4))))
        supervise(producer)
        producer.kill()
        on_cycle(cycle)
        producer.start()
    return cycles


def run(broker, folder, cycles, rate, hours, seed, restart_broker=True, say=print, stopping=lambda: False):
    """One run: load, kills, comparison. Returns counts, examples, sizes; sizes["cycles"]: the kills up to when it was told to
    stop."""
    rng = random.Random(seed)
    prefix = f"kill{seed}-{int(time.time())}."
    load = l2fleet.make_load(l2fleet.market(folder, hours))
    l2live.topics(broker.bootstrap, prefix, PARTITIONS)
    say(f"{len(load)} records, {cycles} kills, seed {seed}")

    def on_cycle(cycle):
        if restart_broker and cycle == cycles // 2:
            say("restarting the broker")
            broker.stop()
            broker.start()

    with l2live.Producer(folder, broker.bootstrap, prefix, l2fleet.SETTINGS) as producer:
        loader = l2fleet.Loader(broker.bootstrap, prefix + "l2.snapshots", load, rate)
        loader.start()
        done = kill_cycles(producer, cycles, rng, on_cycle, stopping)
        if not stopping():
            loader.join()
        loader.finish()
        l2live.wait_committed(broker.bootstrap, prefix + "feature-producer", prefix + "l2.snapshots", PARTITIONS, 120,
                              still_alive=lambda: supervise(producer))
        code = producer.stop()
        if code != 0:
            raise RuntimeError(f"a planned stop ended with {code}:\n{producer.tail()}")
    counts, examples, sizes = l2fleet.judge(broker.bootstrap, prefix, folder)
    return counts, examples, {**sizes, "cycles": done}
