"""Two and three replicas on one topic, with the real producer and a real broker.

rebalances  replicas start, end by SIGTERM and SIGKILL and stay away under load: ten times and more partitions change hands; what a
            replica keeps goes on meanwhile; nothing is lost, doubled, reordered or changed. Seen to fail with offsets that are not
            in the transaction (nothing is committed), and on a partition taken without its bars (doubled, reordered, changed)
zombie      a replica stands still for longer than its session, the other takes over and writes; awake again, it writes nothing
            and ends with 75, also when it had only bars to close by the clock
clocks      the clock of a replica jumps an hour forward and back while it runs: what its events close is not touched; what the clock
            closed too early is in l2.bars, and a quiet run that obeys it comes to the same. Seen to fail on time-outs by the wall clock:
            every jump ended replicas with 75
retention   the log loses records: below the committed offset, past it: the producer says so and goes on,
            no bar and no dead letter comes twice, bars away from the hole are those of a quiet run. Seen to fail on a bus that forgets
            the committed offset when the log lost what lies below it: dead letters came twice
symbols     one replica with 500 symbols, killed once. Seen to fail on a place to fold from that was the least of the first 256 symbols
            alone: bars changed

    test_replicas.py [PART…]
"""

import collections
import datetime
import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

import confluent_kafka
import confluent_kafka.admin

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


def started(broker, folder, name, replicas, hours, settings=None, environment=None, copies=l2fleet.SYMBOLS_PER_RECORDING, thin_ms=200):
    prefix = f"{name}-{time.monotonic_ns()}."
    here = pathlib.Path(folder) / name
    here.mkdir()
    load = l2fleet.make_load(l2fleet.market(here, hours, thin_ms), copies)
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
        fleet.start(1)
        wait_for("two of four partitions move", lambda: fleet.owned(0) == fleet.owned(1) == PARTITIONS / 2)
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


def rehearsal(speed):
    """A clock on which bars of a minute pass in seconds, so that a test can wait for closes by the clock."""
    return {"L2_CLOCK": f"{time.time():.3f}/2025-01-01T00:00:00Z/{speed}"}


def wait_for(what, condition, seconds=40):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not after {seconds} s")
        time.sleep(0.1)


def count(replica, event):
    return sum(e["event"] == event for e in events(replica))


def zombie(fleet, bootstrap, prefix):
    """r0 stands still until r1 has all and has written; then it wakes up. Returns what was readable before and a moment after."""
    def written():
        return sum(l2live.ends(bootstrap, prefix + "l2.bars", PARTITIONS).values())

    wait_for("two replicas share the partitions", lambda: fleet.owned(0) == fleet.owned(1) == PARTITIONS / 2)
    fleet[0].process.send_signal(signal.SIGSTOP)
    wait_for("the other takes over", lambda: fleet.owned(1) == PARTITIONS)
    before = written()
    wait_for("it writes", lambda: written() > before)
    zombies_log = fleet[0].log.stat().st_size
    fleet[0].process.send_signal(signal.SIGCONT)
    wait_for("the zombie ends with 75", lambda: fleet.restarts[l2fleet.RESTART_ME] == 1)
    last_words = fleet[0].log.read_bytes()[zombies_log:].decode(errors="replace")
    assert "stood still" in last_words or "fenced" in last_words.lower(), last_words
    wait_for("back as a good member", lambda: fleet.owned(0) == fleet.owned(1) == PARTITIONS / 2)


def part_zombie(broker, folder):
    here, prefix, load, fleet = started(broker, folder, "zombie", 2, 0.6, environment=rehearsal(30))
    with fleet:
        loader = l2fleet.Loader(broker.bootstrap, prefix + "l2.snapshots", load, 800)
        loader.start()
        fleet.start(0, 1)
        zombie(fleet, broker.bootstrap, prefix)
        loader.stop()
        fleet.restarts.clear()
        # Nothing comes any more: from here on bars are closed by the clock, one a symbol in 2 s.
        zombie(fleet, broker.bootstrap, prefix)
        fleet.finish(PARTITIONS)
    sizes = l2fleet.assert_equal("zombie", broker.bootstrap, prefix, here, 50)
    assert sizes["by_clock"] > 20


FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


def part_clocks(broker, folder):
    if not os.path.exists(FAKETIME):
        print("clocks: skipped: no libfaketime: apt-get install faketime")
        return
    offset = pathlib.Path(folder) / "offset"
    offset.write_text("+0\n")
    fake = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    here, prefix, load, fleet = started(broker, folder, "clocks", 2, 0.5, environment=fake)
    with fleet:
        loader = l2fleet.Loader(broker.bootstrap, prefix + "l2.snapshots", load, 900)
        loader.start()
        fleet.start(0, 1)
        wait_for("two replicas share the partitions", lambda: fleet.owned(0) == fleet.owned(1) == PARTITIONS / 2)
        time.sleep(2)
        offset.write_text("-3600\n")
        time.sleep(6)
        assert not any(b["closed_by"] == "clock" for b in bars(broker.bootstrap, prefix)), "a clock that went back closes nothing"
        offset.write_text("+0\n")
        time.sleep(4)
        offset.write_text("+3600\n")
        time.sleep(6)
        offset.write_text("+0\n")
        time.sleep(4)
        loader.stop()
        fleet.finish(PARTITIONS)
        assert not fleet.restarts, f"a jump of the clock ends no replica: {fleet.restarts}"
    sizes = l2fleet.assert_equal("clocks", broker.bootstrap, prefix, here, 50)
    assert sizes["by_clock"] > 0, "an hour forward looks like an hour of silence to symbols of which all is read"


HOLE_US = (120 + 2 * 60 + 5) * 1_000_000   # a window, the bars at its ends, a broken link


def delete(broker, topic, cut):
    """Deletes the records below cut, by partition."""
    admin = confluent_kafka.admin.AdminClient(l2live.client(broker.bootstrap))
    for future in admin.delete_records([confluent_kafka.TopicPartition(topic, p, o) for p, o in cut.items()]).values():
        future.result(timeout=30)


def unequal(bootstrap, prefix, here, messages, holes):
    """What differs from a quiet run over all messages, but for bars within HOLE_US of a hole in the log (symbol → event times)."""
    sent = [l2live.decode("l2_snapshot", m.value) for m in messages if m.key != b"noise"]
    got = {stem: [l2live.decode(stem, m.value) for m in l2live.dump(bootstrap, prefix + topic)]
           for stem, topic in (("l2_bar", "l2.bars"), ("l2_feature", "l2.features"))}
    l2live.write_records(here / "closes.avro", "l2_bar", got["l2_bar"])
    l2live.write_records(here / "sent.avro", "l2_snapshot", sent)
    want = dict(zip(("l2_bar", "l2_feature"), l2live.offline(here / "sent.avro", here / "offline",
                                                             (*l2fleet.OPTIONS, "--closes", here / "closes.avro"))))
    found = []
    for stem, rows in got.items():
        times = collections.Counter((r["symbol"], r["bar_time"]) for r in rows)
        found += [f"{stem} {key}: {n} times" for key, n in times.items() if n > 1]
        need = {(r["symbol"], r["bar_time"]): l2live.without_provenance(stem, r) for r in want[stem]}
        shift = datetime.timedelta(seconds=60 * 3) if stem == "l2_feature" else datetime.timedelta()
        margin = datetime.timedelta(microseconds=HOLE_US)
        for r in rows:
            key = r["symbol"], r["bar_time"]
            near = any(begin - margin <= r["bar_time"] - shift <= end + margin for begin, end in holes.get(r["symbol"], ()))
            if not near and need.get(key) != l2live.without_provenance(stem, r):
                found.append(f"{stem} {key}: changed")
    return found, len(got["l2_bar"])


def send(broker, prefix, load):
    loader = l2fleet.Loader(broker.bootstrap, prefix + "l2.snapshots", load, 1e6)
    loader.start()
    loader.join()
    loader.finish()
    return l2live.dump(broker.bootstrap, prefix + "l2.snapshots")


def hole_of(messages, gone):
    """By symbol: from the last record before the hole to the last one in it."""
    holes = {}
    for m in messages:
        if m.key != b"noise" and gone(m):
            t = l2live.decode("l2_snapshot", m.value)["event_time"]
            begin, end = holes.get(m.key.decode(), (t, t))
            holes[m.key.decode()] = (min(begin, t), max(end, t))
    return holes


def part_retention(broker, folder):
    here, prefix, load, fleet = started(broker, folder, "retention", 1, 0.4)
    topic, third = prefix + "l2.snapshots", len(load) // 3
    with fleet:
        messages = send(broker, prefix, load[:third])
        fleet.start(0)
        fleet.finish(PARTITIONS)
        ends = l2live.ends(broker.bootstrap, topic, PARTITIONS)

        # The window is gone, the committed offset is not. The last 400 records of each partition stay, dead letters among them.
        delete(broker, topic, {p: max(0, end - 400) for p, end in ends.items()})
        windows = hole_of(messages, lambda m: m.offset >= ends[m.partition] - 1000)
        fresh = send(broker, prefix, load[third:2 * third])
        messages += [m for m in fresh if m.offset >= ends[m.partition]]
        fleet.start(0)
        fleet.finish(PARTITIONS)
        said = [e for e in events(fleet[0]) if "is out of range, the log goes on at" in e.get("text", "")]
        with_symbols = {m.partition for m in messages if m.key != b"noise"}  # without one there is no window to restore
        assert len(said) == len(with_symbols), f"it says so once for each partition: {said}"
        dead = l2fleet.found_dead(l2live.dump(broker.bootstrap, prefix + "l2.dlq"))
        assert sorted(dead) == sorted(l2fleet.expected_dead(messages)), "a hole below the committed offset repeats no dead letter"

        # Records past the committed offset are gone before they were read.
        ends = l2live.ends(broker.bootstrap, topic, PARTITIONS)
        fresh = send(broker, prefix, load[2 * third:])
        messages += [m for m in fresh if m.offset >= ends[m.partition]]
        now = l2live.ends(broker.bootstrap, topic, PARTITIONS)
        lost = {p: min(end + 500, now[p]) for p, end in ends.items()}
        delete(broker, topic, lost)
        unread = hole_of(messages, lambda m: ends[m.partition] - 600 <= m.offset < lost[m.partition])
        fleet.start(0)
        fleet.finish(PARTITIONS)
    holes = {s: [h[s] for h in (windows, unread) if s in h] for s in {*windows, *unread}}
    found, n = unequal(broker.bootstrap, prefix, here, messages, holes)
    dead = collections.Counter(l2fleet.found_dead(l2live.dump(broker.bootstrap, prefix + "l2.dlq")))
    kept = [m for m in messages if not ends[m.partition] <= m.offset < lost[m.partition]]
    assert sorted(dead.elements()) == sorted(l2fleet.expected_dead(kept)), "each record that was read has its dead letter, once"
    print(f"retention: {n} bars, {sum(dead.values())} dead letters, {len(found)} differ away from the holes")
    assert not found and n > 100, found[:10]


def part_symbols(broker, folder):
    here, prefix, load, fleet = started(broker, folder, "symbols", 1, 0.14, copies=250, thin_ms=2000)  # eight bars each
    with fleet:
        loader = l2fleet.Loader(broker.bootstrap, prefix + "l2.snapshots", load, 8000)
        fleet.start(0)
        wait_for("it has all", lambda: fleet.owned(0) == PARTITIONS)
        loader.start()
        wait_for("two bars of most", lambda: fleet[0].metric("l2flow_fp_bars_total") > 2 * 400)
        fleet.kill(0)
        assert loader.running(), "the load was over before the kill"
        fleet.start(0)
        loader.join()
        loader.finish()
        fleet.finish(PARTITIONS)
    l2fleet.assert_equal("symbols", broker.bootstrap, prefix, here, 500 * 6)


def bars(bootstrap, prefix):
    return [l2live.decode("l2_bar", m.value) for m in l2live.dump(bootstrap, prefix + "l2.bars")]


PARTS = {"rebalances": part_rebalances, "zombie": part_zombie, "clocks": part_clocks, "retention": part_retention,
         "symbols": part_symbols}


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
