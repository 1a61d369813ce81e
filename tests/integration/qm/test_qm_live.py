"""The quality monitor on a real Kafka: what it writes is what its core says of the same input, whatever happens to it.

Killed and started again (L2FLOW_QM_KILLS times, 5), its broker killed, a second monitor in its place; records that are none, or dated ahead.

Seen to fail: with outcomes not recalled, and with signals not recalled, at a start (doubled); with records dated ahead folded (lost), and with
them merged by their own time.
"""

import collections
import os
import pathlib
import random
import tempfile
import time
import unittest

import confluent_kafka
import l2kafka
import l2live
import l2qm

PARTITIONS = 3
KILLS = int(os.environ.get("L2FLOW_QM_KILLS", "5"))
PROOF = "l2_leakage_proof"  # of snapshots, which are not here
CHUNK = 12  # bars; fewer than a label's horizon and the purge: the order of topics within them matters to nothing


class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.broker = l2kafka.Broker(pathlib.Path(cls.folder.name) / "kafka")
        cls.broker.__enter__()
        cls.bootstrap = cls.broker.bootstrap
        cls.market = l2qm.Market(21, ("AAA", "BBB", "CCC"), days=2, late=False)
        cls.reference = cls.market.write_reference(pathlib.Path(cls.folder.name) / "reference.json")
        said = l2qm.probe(cls.market, [l2qm.line_of(cls.market, e) for e in cls.market.events()], cls.reference)
        cls.want = [tuple(words) for _, outputs in said for words in outputs]
        cls.producer = confluent_kafka.Producer(l2live.client(cls.bootstrap, partitioner="murmur2_random",
                                                                **{"enable.idempotence": True}))

    @classmethod
    def tearDownClass(cls):
        cls.broker.__exit__(None, None, None)
        cls.folder.cleanup()

    def monitor(self, prefix, name="quality-monitor"):
        folder = pathlib.Path(self.folder.name) / prefix
        folder.mkdir(exist_ok=True)
        settings = {"reference_file": str(self.reference), "hold_ms": "50", "replica": f"monitor-{prefix}0"}
        return l2qm.Monitor(folder, self.bootstrap, prefix, settings, name=name)

    def write(self, prefix, steps):
        for step in steps:
            for event in step:
                value = l2live.encode(l2qm.STEMS[event["kind"]], l2qm.record(self.market, event))
                self.producer.produce(prefix + l2qm.TOPICS[event["kind"]], value, event["symbol"])
                self.producer.poll(0)
        self.assertEqual(self.producer.flush(60), 0)
        return sum(len(step) for step in steps)

    def write_ahead(self, prefix):
        """A record of each topic and crypto that is a month ahead of its time."""
        bar = int(time.time() + 30 * 86400) // self.market.bar_s
        events = {(e["kind"], e["symbol"]): e | {"bar": bar, "source": bar - self.market.purge} for step in self.market.steps[:30] for e in step}
        return self.write(prefix, [list(events.values())])

    def outputs(self, prefix):
        found = []
        for message in l2live.dump(self.bootstrap, prefix + "l2.quality"):
            found.append(l2qm.signal_words(l2live.decode("quality_signal", message.value)))
        found = [words for words in found if words[2] != PROOF]
        for message in l2live.dump(self.bootstrap, prefix + "l2.outcomes"):
            found.append(l2qm.outcome_words(self.market, l2live.decode("outcome", message.value)))
        return found

    def assert_all_is_there(self, prefix, seconds=20):
        want = collections.Counter(words for words in self.want if words[0] != "T")
        deadline = time.monotonic() + seconds
        while len(found := self.outputs(prefix)) < sum(want.values()) and time.monotonic() < deadline:
            time.sleep(0.2)
        got = collections.Counter(found)
        lost, more = want - got, got - want
        self.assertFalse(lost or more, f"lost {sum(lost.values())} {list(lost)[:3]}\nmore {sum(more.values())} {list(more)[:3]}")

    def assert_alerts_are_a_chain(self, prefix, seconds=20):
        """Versions rise by one, each from the state before; the last is what the core's last change of state says."""
        last = {}
        for words in self.want:
            if words[0] == "T":
                last[words[2], l2qm.ARMS[int(words[3])], words[1]] = words[5]
        deadline = time.monotonic() + seconds
        while True:
            chains = collections.defaultdict(list)
            for message in l2live.dump(self.bootstrap, prefix + "l2.alerts"):
                alert = l2live.decode("alert", message.value)
                if alert["signal"] == PROOF:
                    continue
                chains[alert["signal"], alert["arm"], alert["symbol"]].append(alert)
            now = {key: chain[-1]["state"] for key, chain in chains.items()}
            if all(now.get(key, "ok") == state for key, state in last.items()) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        for key, chain in chains.items():
            self.assertEqual([a["version"] for a in chain], list(range(1, len(chain) + 1)), key)
            self.assertEqual([a["previous"] for a in chain], ["ok"] + [a["state"] for a in chain[:-1]], key)
            if key[2] != "_all":
                self.assertEqual(chain[-1]["state"], last.get(key), key)
        self.assertEqual({key: now.get(key, "ok") for key in last}, last)
        self.assertGreater(len(chains), 1)

    def wait_folded(self, monitor, n):
        monitor.wait_for(f"{n} records folded", 60, lambda: monitor.metric("l2flow_qm_records_total") >= n)

    def test_a_past_then_a_second_monitor_and_a_broker_that_dies(self):
        prefix, steps = "past.", self.market.steps
        l2live.topics(self.bootstrap, prefix, PARTITIONS)
        other = l2qm.record(self.market, steps[0][0]) | {"exchange": "elsewhere"}
        for value in (b"no record of ours", b"", l2live.encode("candle", other)):
            self.producer.produce(prefix + "l2.ohlcv", value, "AAA")
        written = self.write(prefix, steps[:50])
        ahead = self.write_ahead(prefix)
        written += self.write(prefix, steps[50:100])
        first, second = self.monitor(prefix), self.monitor(prefix, "second")
        self.addCleanup(second.__exit__)
        with first:
            first.wait_caught_up()
            self.wait_folded(first, written)
            self.assertEqual(first.labelled("l2flow_qm_undecodable_total", "l2.ohlcv"), 2)
            self.assertEqual(first.labelled("l2flow_qm_foreign_total", "l2.ohlcv"), 1)
            self.assertEqual(sum(first.labelled("l2flow_qm_ahead_total", topic) for topic in l2qm.TOPICS.values()), ahead)
            self.assertIn('"record_ahead"', first.log.read_text())
            self.write(prefix, steps[100:100 + CHUNK])
            second.start()
            second.wait_caught_up()
            self.write(prefix, steps[100 + CHUNK:100 + 2 * CHUNK])  # something to commit, at which it learns that it is fenced
            self.assertEqual(first.process.wait(timeout=30), 75, first.tail())
        self.broker.kill()
        self.broker.start()
        for i in range(100 + 2 * CHUNK, len(steps), CHUNK):
            self.write(prefix, steps[i:i + CHUNK])
            time.sleep(0.05)
        self.assert_all_is_there(prefix)
        self.assert_alerts_are_a_chain(prefix)
        self.assertEqual(second.stop(), 0, second.tail())

    def test_killed_again_and_again(self):
        prefix, steps, rng = "kills.", self.market.steps, random.Random(21)
        l2live.topics(self.bootstrap, prefix, PARTITIONS)
        chunks = [steps[i:i + CHUNK] for i in range(0, len(steps), CHUNK)]
        kills = set(rng.sample(range(1, len(chunks)), KILLS))
        with self.monitor(prefix) as monitor:
            for i, chunk in enumerate(chunks):
                self.write(prefix, chunk)
                self.write_ahead(prefix)
                time.sleep(0.05)
                if i in kills:
                    if rng.random() < 0.6:
                        monitor.wait_caught_up()
                        time.sleep(rng.random() * 0.3)
                    monitor.kill()
                    monitor.start()
            monitor.wait_caught_up()
            self.assert_all_is_there(prefix)
            self.assert_alerts_are_a_chain(prefix)
            self.assertEqual(monitor.stop(), 0, monitor.tail())


if __name__ == "__main__":
    unittest.main(verbosity=2)
