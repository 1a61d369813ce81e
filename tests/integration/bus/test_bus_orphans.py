"""Partitions that a group gives to nobody come back to somebody, on a real broker: common/bus/orphans.h.

A cooperative handover that dies between its two rebalances leaves a stable group in which partitions are nobody's, and static members
that return get just that back. Here it is forged: members of this script's own, with the replicas' instance names, join, and their
leader hands out less than there is; then they go without a word and the replicas start.

Seen to fail: without orphans_serve in poll.c, and in consumer.c (what was nobody's stayed so); without ranks after the first (the first
never acts), with ranks by id alone (the new one leads: the one that worked gave up its own); with every partition taken for nobody's
(healthy: a member left a healthy group).
"""

import concurrent.futures
import contextlib
import os
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import unittest

import l2kafka
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient, NewTopic
from test_bus_faults import Copies, Echo, Feed

PARTITIONS = 4
QUIET = {"log_level": 0, "error_cb": lambda _: None}
FIND_COORDINATOR, JOIN_GROUP, HEARTBEAT, SYNC_GROUP = 10, 11, 12, 14
NO_COORDINATOR_YET = (14, 15, 16)
SESSION_MS = 60000  # of those who go: a slow start of their successors has time
LOOKS_S = 2 * 12  # two looks: what is nobody's is seen twice by then …
SETTLE_S = 15  # … and a rebalance is done, which may wait for heartbeats


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def blob(value):
    return struct.pack(">i", len(value)) + value


def topic_partitions(topic, partitions):
    if not partitions:
        return struct.pack(">i", 0)
    return struct.pack(">i", 1) + text(topic) + struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)


class Forged:
    """A static member that says no more than a test needs; FindCoordinator 2, JoinGroup 5, SyncGroup 3, Heartbeat 3."""

    def __init__(self, port, group, instance, topic, session_ms):
        self.group, self.instance, self.topic, self.session_ms = group, instance, topic, session_ms
        self.member, self.generation, self.leader = "", -1, ""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.lock = threading.Lock()

    def ask(self, api, version, body):
        with self.lock:
            head = struct.pack(">hhi", api, version, 1) + text("forged")
            self.socket.sendall(blob(head + body))
            size, = struct.unpack(">i", self._exactly(4))
            return self._exactly(size)[4:]

    def _exactly(self, n):
        got = b""
        while len(got) < n:
            more = self.socket.recv(n - len(got))
            assert more, "the broker closed the connection"
            got += more
        return got

    def find_coordinator(self):
        while struct.unpack_from(">ih", self.ask(FIND_COORDINATOR, 2, text(self.group) + b"\0"))[1] != 0:
            time.sleep(0.1)

    def join(self):
        for _ in range(100):
            error = self._join()
            if error not in NO_COORDINATOR_YET:
                break
            time.sleep(0.1)
        assert error == 0, error

    def _join(self):
        metadata = struct.pack(">hi", 1, 1) + text(self.topic) + blob(b"") + struct.pack(">i", 0)
        answer = self.ask(JOIN_GROUP, 5, text(self.group) + struct.pack(">ii", self.session_ms, 60000) + text(self.member)
                          + text(self.instance) + text("consumer") + struct.pack(">i", 1) + text("cooperative-sticky") + blob(metadata))
        _, error, self.generation = struct.unpack_from(">ihi", answer)
        if error != 0:
            return error
        at, names = 10, []
        for _ in range(3):  # protocol, leader, member
            n, = struct.unpack_from(">h", answer, at)
            names.append(answer[at + 2:at + 2 + n].decode())
            at += 2 + n
        _, self.leader, self.member = names
        return 0

    def sync(self, given):
        """given: {member: partitions}, of the leader."""
        body = text(self.group) + struct.pack(">i", self.generation) + text(self.member) + text(self.instance)
        body += struct.pack(">i", len(given))
        for member, partitions in given.items():
            body += text(member) + blob(struct.pack(">h", 1) + topic_partitions(self.topic, partitions) + blob(b""))
        error = struct.unpack_from(">ih", self.ask(SYNC_GROUP, 3, body))[1]
        assert error == 0, error

    def heartbeat(self):
        answer = self.ask(HEARTBEAT, 3, text(self.group) + struct.pack(">i", self.generation) + text(self.member)
                          + text(self.instance))
        return struct.unpack_from(">ih", answer)[1]

    def close(self):
        self.socket.close()


class Orphans(Copies, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        scratch = cls.stack.enter_context(tempfile.TemporaryDirectory(prefix="l2flow-orphans-"))
        # The first rebalance waits for both members.
        cls.broker = cls.stack.enter_context(l2kafka.Broker(scratch, settings={"group.initial.rebalance.delay.ms": 2000}))
        cls.bootstrap = cls.broker.bootstrap
        cls.admin = AdminClient({**QUIET, "bootstrap.servers": cls.bootstrap})
        Forged(cls.broker.port, "none", "none", "none", 0).find_coordinator()  # makes the topic of the groups

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    # ---- the stage

    def set_topic(self, name):
        self.topic = f"{name}-{os.getpid()}"
        for future in self.admin.create_topics([NewTopic(self.topic + side, PARTITIONS, 1) for side in (".in", ".out")]).values():
            future.result(timeout=60)
        deadline = time.monotonic() + 30
        while len(self.admin.list_topics(self.topic + ".out", timeout=30).topics[self.topic + ".out"].partitions) < PARTITIONS:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)

    def forge(self, session_ms=SESSION_MS, **given):
        """A stable group of static members with these partitions each; the first one is the leader."""
        members = {name: Forged(self.broker.port, self.topic, name, self.topic + ".in", session_ms) for name in given}
        threads = [threading.Thread(target=m.join) for m in members.values()]
        for thread in threads:
            thread.start()
            time.sleep(0.5)
        for thread in threads:
            thread.join(30)
        leader = next(iter(members.values()))
        self.assertEqual({(m.generation, m.leader) for m in members.values()}, {(1, leader.member)})
        ids = {members[name].member: partitions for name, partitions in given.items()}
        for m in members.values():
            m.sync(ids if m is leader else {})
        self.assertEqual(self.owners(), given)
        return members

    def owners(self):
        """{instance: partitions} of a stable group, else its state."""
        group = self.admin.describe_consumer_groups([self.topic])[self.topic].result(timeout=30)
        if group.state != ConsumerGroupState.STABLE:
            return group.state
        return {m.group_instance_id: sorted(tp.partition for tp in m.assignment.topic_partitions) for m in group.members}

    def wait_all_owned(self, seconds, *echoes):
        """Stable, every partition somebody's: after how many seconds."""
        begin = time.monotonic()
        while True:
            owners = self.owners()
            if isinstance(owners, dict) and sorted(sum(owners.values(), [])) == list(range(PARTITIONS)):
                return time.monotonic() - begin
            self.assertLess(time.monotonic() - begin, seconds, f"{owners}\n" + "\n".join(e.story() for e in echoes))
            time.sleep(0.2)

    def warnings(self, *echoes):
        return sum(e.count("nobody's", of_log=True) for e in echoes)

    def return_to(self, *options, **given):
        """The replicas come back to what the forged ones left."""
        for m in self.forge(**given).values():
            m.close()
        echoes = [Echo(self, *options, instance=name) for name in given]
        seconds = self.wait_all_owned(LOOKS_S + SETTLE_S, *echoes)
        self.assertGreater(seconds, 8, "not of this: it was mended before anybody looked")
        self.assertEqual(self.warnings(*echoes), 1, [e.log for e in echoes])
        return echoes

    # ---- the tests, side by side: they wait

    def test_both_died_in_a_handover(self):
        self.set_topic("handover")
        r1, r0 = self.return_to(r1=[2, 3], r0=[])
        r0.wait_for(r"stable: topic .*\.in: 0, 1:", of_log=True)
        r0.wait_for("^assigned", 2)
        self.assertEqual(r1.count("^revoked"), 0, r1.story())  # the one that works goes on

    def test_both_died_in_a_handover_and_the_new_one_leads(self):
        self.set_topic("handover-new")
        _, r0 = self.return_to(r1=[], r0=[2, 3])
        self.assertEqual(r0.count("^revoked"), 0, r0.story())  # though its id is the smaller one

    def test_consumers(self):
        self.set_topic("consumers")
        r1, r0 = self.return_to("consumer=1", r1=[2, 3], r0=[])
        r0.wait_for("^owned 2$")
        self.assertEqual(r1.count("^owned"), 1, r1.story())

    def test_consumers_have_some(self):
        self.set_topic("consumers-some")
        r1, r0 = self.return_to("consumer=1", r1=[2], r0=[1])
        r0.wait_for("^owned 2$")
        r1.wait_for("^owned 2$")

    def under_load(self, name, **given):
        """What the one that acts has to give up is in the middle of commits."""
        self.set_topic(name)
        feed = Feed(self, 500)
        echoes = self.return_to("commit-ms=5", **given)
        feed.stop()
        self.wait_idle(echoes[0])
        self.assertEqual([e.kill(signal.SIGTERM) for e in echoes], [0] * len(echoes))
        self.check_exactly_once()
        return echoes

    def test_alone(self):
        echo, = self.under_load("alone", r1=[2, 3])
        self.assertEqual((echo.count("^assigned"), echo.count("^revoked")), (2 + PARTITIONS, 2), echo.story())

    def test_both_have_some(self):
        r1, r0 = self.under_load("some", r1=[2], r0=[1])
        self.assertEqual((r0.count("^revoked"), r1.count("^revoked")), (1, 0), r0.story())

    def test_first_in_rank_never_acts(self):
        """A member that sends heartbeats and nothing else: an older program, or a loop that stands still."""
        self.set_topic("idle")
        members = self.forge(session_ms=10000, r1=[2, 3], r0=[])
        members["r1"].close()
        r1 = Echo(self, instance="r1")
        begin = time.monotonic()
        while members["r0"].heartbeat() == 0:  # until a rebalance calls
            self.assertLess(time.monotonic() - begin, 2 * LOOKS_S + SETTLE_S, r1.story())
            time.sleep(0.5)
        self.assertGreater(time.monotonic() - begin, 3 * 8)  # not as the first
        members["r0"].close()  # its session ends
        self.wait_all_owned(SETTLE_S, r1)
        self.assertEqual(self.warnings(r1), 1, r1.log)

    def test_healthy(self):
        self.set_topic("healthy")
        echoes = [Echo(self, instance=name) for name in ("r0", "r1")]
        for echo in echoes:
            echo.wait_for("^assigned", 2)
        self.wait_all_owned(SETTLE_S, *echoes)
        counts = [e.count("^assigned|^revoked") for e in echoes]
        time.sleep(LOOKS_S + SETTLE_S)
        self.assertEqual([e.count("^assigned|^revoked") for e in echoes], counts)
        self.assertEqual(self.warnings(*echoes), 0)


def main():
    """All at once: what they do is wait."""
    tests = list(unittest.defaultTestLoader.loadTestsFromTestCase(Orphans))
    wanted = [t for t in tests if not sys.argv[1:] or t.id().split(".")[-1] in sys.argv[1:]]
    results = [unittest.TextTestResult(unittest.runner._WritelnDecorator(sys.stderr), True, 2) for _ in wanted]
    Orphans.setUpClass()
    try:
        with concurrent.futures.ThreadPoolExecutor(len(wanted)) as pool:
            list(pool.map(lambda test, result: test.run(result), wanted, results))
    finally:
        Orphans.tearDownClass()
    for result in results:
        result.printErrors()
    return 0 if all(result.wasSuccessful() and result.testsRun for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
