"""Faults at random, two replicas under load: processes killed, stopped, frozen; the broker killed and restarted; the network slow or
cut; the end of a transaction lost, late or answered to nobody; a clock an hour off is in tests/integration/replicas. At the end
the outputs equal those of a quiet run (tests/support/l2fleet.py).
The comparison is that of the kill cycles, whose head says on which planted faults it was seen to fail. Of its own faults: seen to fail
with a commit whose end is not known taken for done (end_lost, end_answer_lost, end_late: dead letters were lost, and not without it).
"""

import random
import time

import l2fleet
import l2kafka
import l2live
import l2proxy

PARTITIONS = 4
REPLICAS = 2
SECONDS_A_FAULT = 20  # the load is made for so many; what is left of it is not sent
RECORDS_AN_HOUR = 108000  # two recordings, five snapshots a second, under three names each


class Stage:
    """What the faults act on."""

    def __init__(self, broker, proxy, fleet, rng):
        self.broker, self.proxy, self.fleet, self.rng = broker, proxy, fleet, rng


def kill(s):
    i = s.rng.randrange(REPLICAS)
    s.fleet.kill(i)
    time.sleep(s.rng.uniform(0, 1))
    s.fleet.start(i)


def kill_both(s):
    for i in range(REPLICAS):
        s.fleet.kill(i)
    s.fleet.start(*range(REPLICAS))


def restart(s):
    i = s.rng.randrange(REPLICAS)
    s.fleet.stop(i)
    s.fleet.start(i)


def stay_away(s):
    """Longer than the session: the other one takes over, then gives back."""
    i = s.rng.randrange(REPLICAS)
    s.rng.choice((s.fleet.kill, s.fleet.stop))(i)
    time.sleep(12)
    s.fleet.start(i)


def freeze_shortly(s):
    s.fleet.freeze(s.rng.randrange(REPLICAS), s.rng.uniform(1, 6))


def freeze(s):
    """Longer than the session: what wakes up is a zombie."""
    s.fleet.freeze(s.rng.randrange(REPLICAS), s.rng.uniform(9, 13))


def broker_restart(s):
    s.broker.stop()
    s.broker.start()


def broker_kill(s):
    s.broker.kill()
    s.broker.start()


def slow_network(s):
    s.proxy.slow(s.rng.uniform(0.02, 0.2))
    time.sleep(4)
    s.proxy.slow(0)


def cut_network(s):
    for _ in range(s.rng.randint(1, 5)):
        s.proxy.cut()
        time.sleep(s.rng.uniform(0, 0.5))


def end_lost(s):
    s.proxy.on(l2proxy.END_TXN, l2proxy.drop_request)


def end_answer_lost(s):
    s.proxy.on(l2proxy.END_TXN, s.rng.choice((l2proxy.drop_answer, l2proxy.cut_after_request)))


def end_late(s):
    s.proxy.on(l2proxy.END_TXN, l2proxy.delay_request(s.rng.uniform(0.5, 12)))


SHORT = (kill, kill_both, restart, freeze_shortly, slow_network, cut_network, end_answer_lost, end_lost, end_late)
LONG = (stay_away, freeze, broker_restart, broker_kill)  # 10 s and more


def broker_behind_proxy(folder):
    """A broker that tells all clients to come through the proxy."""
    inside, outside = l2kafka.free_port(), l2kafka.free_port()
    broker = l2kafka.Broker(folder, port=inside, settings={"advertised.listeners": f"PLAINTEXT://127.0.0.1:{outside}"})
    return broker, l2proxy.Proxy(inside, outside), f"127.0.0.1:{outside}"


def plan(rng, cycles):
    """Which faults: each long one comes once in ten, and every kind within twenty."""
    chosen = []
    while len(chosen) < cycles:
        ten = [*rng.sample(SHORT, 7), *rng.sample(LONG, 3)]
        rng.shuffle(ten)
        chosen += ten
    return chosen[:cycles]


def run(folder, broker, proxy, bootstrap, cycles, rate, seed, say=print, stopping=lambda: False):
    """One run: load, faults, comparison. Returns counts, examples, sizes. It ends early when the load does, since faults on a
    quiet system show nothing, or when told: sizes["cycles"] are those that were done."""
    rng = random.Random(seed)
    prefix = f"faults{seed}-{int(time.time())}."
    hours = max(0.3, cycles * SECONDS_A_FAULT * rate / RECORDS_AN_HOUR)
    load = l2fleet.make_load(l2fleet.market(folder, hours))
    l2live.topics(broker.bootstrap, prefix, PARTITIONS)
    say(f"{cycles} faults, seed {seed}")
    with l2fleet.Fleet(folder, bootstrap, prefix, REPLICAS) as fleet:
        stage = Stage(broker, proxy, fleet, rng)
        loader = l2fleet.Loader(broker.bootstrap, prefix + "l2.snapshots", load, rate)
        loader.start()
        fleet.start(*range(REPLICAS))
        done = 0
        for fault in plan(rng, cycles):
            if stopping() or not loader.running():
                break
            time.sleep(rng.uniform(0.5, 4))
            began = time.monotonic()
            fault(stage)
            fleet.check()
            done += 1
            say(f"  {done} {fault.__name__}: {time.monotonic() - began:.1f} s, restarts {dict(fleet.restarts)}", flush=True)
        loader.finish()
        fleet.finish(PARTITIONS)
    counts, examples, sizes = l2fleet.judge(broker.bootstrap, prefix, folder)
    return counts, examples, {**sizes, "cycles": done}
