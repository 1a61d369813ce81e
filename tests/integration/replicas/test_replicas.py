"""Two and three replicas on one topic, with the real producer and a real broker.

rebalances  replicas start, end by SIGTERM and SIGKILL and stay away under load: ten times and more partitions change hands; what a
            replica keeps goes on meanwhile; nothing is lost, doubled, reordered or changed

    test_replicas.py [PART…]
"""

import collections
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

import l2fleet
import l2kafka
import l2live

PARTITIONS = 4
HANDED_OVER_MIN = 10


def events(replica):
    """Its log, line by line."""
    found = []
    for line in replica.log.read_text(errors="replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            found.append({"event": line})
    return found


def started(broker, folder, name, replicas, hours, settings=None, environment=None, copies=l2fleet.SYMBOLS_PER_RECORDING):
    prefix = f"{name}-{time.monotonic_ns()}."
    here = pathlib.Path(folder) / name
    here.mkdir()
    load = l2fleet.make_load(l2fleet.market(here, hours), copies)
    l2live.topics(broker.bootstrap, prefix, PARTITIONS)
    return here, prefix, load, l2fleet.Fleet(here, broker.bootstrap, prefix, replicas, settings, environment)


def part_rebalances(broker, folder):
    here, prefix, load, fleet = started(broker, folder, "rebalances", 6, 0.75)
    with fleet:
        loader = l2fleet.Loader(broker.bootstrap, prefix + "l2.snapshots", load, 1300)
        loader.start()
        fleet.start(0)
        fleet[0].wait_ready()
        time.sleep(1)
        fleet.start(1)            # two of four partitions move
        time.sleep(3)
        kept = [e for e in events(fleet[0]) if e["event"] == "partition_revoked"]
        assert 1 <= len(kept) <= 2, f"cooperative: of four partitions those that move are revoked, not {len(kept)}"
        fleet.start(2)
        time.sleep(3)
        fleet.kill(1)             # its session ends 10 s later
        time.sleep(1)
        fleet.start(3)
        time.sleep(2)
        fleet.stop(0)             # planned, and it stays away
        time.sleep(4)
        fleet.start(4)
        time.sleep(3)
        fleet.start(1)            # back, perhaps within its session
        time.sleep(3)
        fleet.kill(2)
        fleet.start(5)
        time.sleep(3)
        fleet.stop(3)
        fleet.start(0, 2)
        time.sleep(3)
        fleet.kill(4)
        time.sleep(12)            # of r3 and r4 the session ends: the others have all
        loader.stop()
        fleet.finish(PARTITIONS)
        handed = sum(e["event"] == "partition_assigned" for r in fleet.replicas for e in events(r))
        assert handed >= HANDED_OVER_MIN, f"{handed} partitions changed hands: too few"
    print(f"rebalances: {loader.sent} records, {handed} partitions assigned, restarts {dict(fleet.restarts)}")
    l2fleet.assert_equal("rebalances", broker.bootstrap, prefix, here, 50)


PARTS = {"rebalances": part_rebalances}


def main():
    names = sys.argv[1:] or list(PARTS)
    with tempfile.TemporaryDirectory() as folder, l2kafka.Broker(folder + "/kafka") as broker:
        for name in names:
            began = time.monotonic()
            try:
                PARTS[name](broker, folder)
            finally:
                if "L2FLOW_KEEP" in os.environ:  # the logs, to look at
                    shutil.copytree(pathlib.Path(folder) / name, pathlib.Path(os.environ["L2FLOW_KEEP"]) / name, dirs_exist_ok=True)
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
