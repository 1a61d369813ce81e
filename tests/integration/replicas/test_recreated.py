"""l2.snapshots deleted and made anew, with the real producer and a real broker.

running   while the producer runs
stopped   while it is stopped, and then killed in the new log, whose offsets are those of the old one again

It says so and goes on: each record of either log is read once, no bar comes twice, bars away from the seam are those of a quiet
run over both logs, and each bad record of either log has its dead letter, once. Seen to fail on a bus that
does not see that the log became shorter.

    test_recreated.py [PART…]
"""

import collections
import pathlib
import sys
import tempfile
import time
import types

import confluent_kafka
import confluent_kafka.admin

import l2fleet
import l2kafka
import l2live
import test_replicas as replicas

PARTITIONS = replicas.PARTITIONS
HOURS = 0.3


def recreate(broker, prefix):
    """Deleted by an admin, and made again by l2ctl as soon as the broker lets it."""
    topic = prefix + "l2.snapshots"
    admin = confluent_kafka.admin.AdminClient(l2live.client(broker.bootstrap))
    admin.delete_topics([topic])[topic].result(timeout=30)
    deadline = time.monotonic() + 30
    while topic in admin.list_topics(timeout=10).topics:
        assert time.monotonic() < deadline, "the topic does not go"
        time.sleep(0.1)
    l2live.topics(broker.bootstrap, prefix, PARTITIONS)


def seam_of(old, new):
    """By symbol: from its last record in the old log to its first one in the new."""
    def times(messages):
        found = collections.defaultdict(list)
        for m in messages:
            if m.key != b"noise":
                found[m.key.decode()].append(l2live.decode("l2_snapshot", m.value)["event_time"])
        return found
    before, after = times(old), times(new)
    return {s: (max(before[s]), min(after[s])) for s in before if s in after}


def said(replica, event, messages):
    """Once for each partition that these are of."""
    found = [e for e in replicas.events(replica) if e["event"] == event]
    want = {m.partition for m in messages}
    assert sorted(e["partition"] for e in found) == sorted(want), (event, want, found)
    assert {e["committed"] for e in found} == {-1}, found


def check(name, broker, prefix, here, logs):
    messages = [m for log in logs for m in log]
    seams = collections.defaultdict(list)
    for old, new in zip(logs, logs[1:]):
        for symbol, seam in seam_of(old, new).items():
            seams[symbol].append(seam)
    found, n = replicas.unequal(broker.bootstrap, prefix, here, messages, seams)
    dead = l2fleet.found_dead(l2live.dump(broker.bootstrap, prefix + "l2.dlq"))
    want = l2fleet.expected_dead(messages)
    print(f"{name}: {n} bars, {len(found)} differ away from the seams, {len(dead)} dead letters of {len(want)}")
    assert not found and n > 30, found[:10]
    assert sorted(dead) == sorted(want), "each bad record of either log has its dead letter, once"


def part_running(broker, folder):
    here, prefix, load, fleet = replicas.started(broker, folder, "running", 1, HOURS, copies=1)
    first = len(load) * 2 // 3    # the new log is the shorter one: only so it shows
    with fleet:
        logs = [replicas.send(broker, prefix, load[:first])]
        fleet.start(0)
        l2live.wait_committed(broker.bootstrap, prefix + "feature-producer", prefix + "l2.snapshots", PARTITIONS, 60, fleet.check)
        recreate(broker, prefix)
        logs.append(replicas.send(broker, prefix, load[first:]))
        fleet.finish(PARTITIONS)
    said(fleet[0], "snapshots_lost", logs[1])
    check("running", broker, prefix, here, logs)


def part_stopped(broker, folder):
    here, prefix, load, fleet = replicas.started(broker, folder, "stopped", 1, HOURS, copies=1)
    half = len(load) // 2
    with fleet:
        logs = [replicas.send(broker, prefix, load[:half])]
        fleet.start(0)
        fleet.finish(PARTITIONS)
        recreate(broker, prefix)
        logs.append(replicas.send(broker, prefix, load[half:half + half // 2]))
        fleet.start(0)
        l2live.wait_committed(broker.bootstrap, prefix + "feature-producer", prefix + "l2.snapshots", PARTITIONS, 60, fleet.check)
        fleet.kill(0)
        replicas.send(broker, prefix, load[half + half // 2:])
        logs[-1] = l2live.dump(broker.bootstrap, prefix + "l2.snapshots")
        fleet.start(0)
        fleet.finish(PARTITIONS)
    said(fleet[0], "committed_offset_missing", [m for m in logs[0] if m.key != b"noise"])
    check("stopped", broker, prefix, here, logs)


PARTS = {"running": part_running, "stopped": part_stopped}


def main():
    with tempfile.TemporaryDirectory() as folder, l2kafka.shared_or_own(folder + "/kafka") as bootstrap:
        for name in sys.argv[1:] or PARTS:
            began = time.monotonic()
            try:
                PARTS[name](types.SimpleNamespace(bootstrap=bootstrap), folder)
            finally:
                for log in sorted((pathlib.Path(folder) / name).glob("*.log")):
                    print(log.read_text(errors="replace")[-6000:])
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
