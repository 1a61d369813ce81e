"""The quality monitor on a real Kafka: what it writes is what its core says of the same input, whatever happens to it.

A past that it finds there, records that are none or dated ahead, a second monitor in its place, its broker killed; stopped for longer than its
transaction may last (a zombie). Killed again and again it is in tests/fault.

Seen to fail: with records dated ahead folded (lost), and with them merged by their own time; with another exchange's candles folded; with a
commit that is still under way taken for done, as the broker dies (lost); both, with a transactional id of its own for each process (nobody is
fenced).
"""

import pathlib
import signal
import tempfile
import time
import unittest

import l2kafka
import l2live
import l2qm
import l2qmlive

PARTITIONS = 3
CHUNK = 12  # bars; fewer than a label's horizon and the purge: the order of topics within them matters to nothing
TRANSACTION_S = 10  # what one of the monitor's may last


class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.broker = l2kafka.Broker(pathlib.Path(cls.folder.name) / "kafka")
        cls.broker.__enter__()
        cls.addClassCleanup(cls.broker.__exit__, None, None, None)
        cls.bootstrap = cls.broker.bootstrap
        cls.market = l2qm.Market(21, ("AAA", "BBB", "CCC"), days=2, late=False)
        cls.reference = cls.market.write_reference(pathlib.Path(cls.folder.name) / "reference.json")
        cls.said = l2qmlive.Said(cls.market, cls.reference)

    def monitor(self, prefix, name="quality-monitor", **settings):
        folder = pathlib.Path(self.folder.name) / prefix
        folder.mkdir(exist_ok=True)
        settings = {"reference_file": str(self.reference), "hold_ms": "50", "replica": f"monitor-{prefix}0", **settings}
        made = l2qm.Monitor(folder, self.bootstrap, prefix, settings, name=name)
        self.addCleanup(made.__exit__)
        return made

    def wait_folded(self, monitor, n):
        monitor.wait_for(f"{n} records folded", 60, lambda: monitor.metric("l2flow_qm_records_total") >= n)

    def assert_as_said(self, prefix, monitor, paced, seconds=30):
        """What the topics hold is what the core says, once the monitor is done with it. A broker that was away for longer than its
        transaction may last makes it ask for a start."""
        want, deadline = len(self.said.signals) + len(self.said.outcomes), time.monotonic() + seconds
        while True:
            counts, examples, sizes = l2qmlive.judge(self.bootstrap, prefix, self.said, f"monitor-{prefix}0", paced)
            done = sizes["signals"] + sizes["outcomes"] >= want and not counts["lost"]
            if done or time.monotonic() > deadline:
                break
            l2qmlive.supervise(monitor)
            time.sleep(0.2)
        self.assertEqual(sum(counts.values()), 0, "\n".join([str(counts), *(e[:600] for e in examples[:5]), monitor.tail()]))
        self.assertGreater(sizes["alerts"], 5)

    def test_a_past_then_a_second_monitor_and_a_broker_that_dies(self):
        prefix, steps = "past.", self.market.steps
        l2live.topics(self.bootstrap, prefix, PARTITIONS)
        feed = l2qmlive.Feed(self.bootstrap, prefix, self.market)
        other = l2qm.record(self.market, steps[0][0]) | {"exchange": "elsewhere"}
        for value in (b"no record of ours", b"", l2live.encode("candle", other)):
            feed.put("l2.ohlcv", value, "AAA")
        feed.write(steps[:50])
        ahead = feed.write_ahead()
        feed.write(steps[50:100])
        first, second = self.monitor(prefix), self.monitor(prefix, "second")
        first.start()
        first.wait_caught_up()
        self.wait_folded(first, feed.records)
        self.assertEqual(first.labelled("l2flow_qm_undecodable_total", "l2.ohlcv"), 2)
        self.assertEqual(first.labelled("l2flow_qm_foreign_total", "l2.ohlcv"), 1)
        self.assertEqual(sum(first.labelled("l2flow_qm_ahead_total", topic) for topic in l2qm.TOPICS.values()), ahead)
        self.assertIn('"record_ahead"', first.log.read_text())
        feed.write(steps[100:100 + CHUNK])
        second.start()
        second.wait_caught_up()
        feed.write(steps[100 + CHUNK:100 + 2 * CHUNK])  # something to commit, at which it learns that it is fenced
        self.assertEqual(first.process.wait(timeout=30), 75, first.tail())
        self.broker.kill()
        self.broker.start()
        for i in range(100 + 2 * CHUNK, len(steps), CHUNK):
            feed.write(steps[i:i + CHUNK])
            time.sleep(0.05)
        self.assert_as_said(prefix, second, paced=False)
        self.assertEqual(second.stop(), 0, second.tail())

    def test_a_zombie_writes_nothing(self):
        """Stopped in the middle of its work until its transaction is given up, and until another one has taken its place."""
        prefix, steps = "zombie.", self.market.steps
        l2live.topics(self.bootstrap, prefix, PARTITIONS)
        feed = l2qmlive.Feed(self.bootstrap, prefix, self.market)
        follower = l2qmlive.Follower(self.bootstrap, prefix, PARTITIONS)
        self.addCleanup(follower.close)
        zombie, successor = self.monitor(prefix), self.monitor(prefix, "successor")
        zombie.start()
        zombie.wait_caught_up()
        chunks = list(self.said.chunks(4))
        for i, chunk in enumerate(chunks):
            feed.write(chunk)
            if i in (len(chunks) // 4, len(chunks) // 2):
                time.sleep(0.03)
                zombie.process.send_signal(signal.SIGSTOP)
            if i == len(chunks) // 4:
                time.sleep(TRANSACTION_S + 8)  # and the coordinator looks for such every 10 s
                zombie.process.send_signal(signal.SIGCONT)
            if i == len(chunks) // 2:
                successor.start()
                successor.wait_caught_up()
                zombie.process.send_signal(signal.SIGCONT)
            l2qmlive.wait_told(zombie if i < len(chunks) // 2 else successor, feed, follower, self.said)
        self.assertEqual(zombie.process.wait(timeout=30), 75, zombie.tail())
        self.assert_as_said(prefix, successor, paced=True)
        self.assertEqual(successor.stop(), 0, successor.tail())


if __name__ == "__main__":
    unittest.main(verbosity=2)
