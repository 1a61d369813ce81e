"""The quality monitor and an outage that outlasts its open transaction: it begins anew by itself, and nothing is lost or said twice.

Seen to fail: with the process ended by it (75).
"""

import collections
import pathlib
import sys
import tempfile
import threading
import time
import unittest

import confluent_kafka
import l2live
import l2proxy
import l2qm

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "fault"))
import faults  # noqa: E402

CHUNK = 12  # bars, within which the order of topics matters to nothing
OUTAGE_S = 14  # the broker ends a transaction after 10 s, at its next look


class Outage(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        root = pathlib.Path(self.folder.name)
        self.broker, self.proxy, self.bootstrap = faults.broker_behind_proxy(root / "kafka")
        self.broker.settings["transaction.abort.timed.out.transaction.cleanup.interval.ms"] = "500"
        self.addCleanup(self.proxy.close)
        self.broker.__enter__()
        self.addCleanup(self.broker.__exit__, None, None, None)
        self.market = l2qm.Market(31, ("AAA", "BBB"), days=1, late=False)
        self.reference = self.market.write_reference(root / "reference.json")

    def write(self, steps):
        producer = confluent_kafka.Producer(l2live.client(self.bootstrap, partitioner="murmur2_random",
                                                            **{"enable.idempotence": True}))  # none overtakes another
        for event in (event for step in steps for event in step):
            producer.produce(l2qm.TOPICS[event["kind"]], l2live.encode(l2qm.STEMS[event["kind"]], l2qm.record(self.market, event)), event["symbol"])
        self.assertEqual(producer.flush(60), 0)

    def outputs(self):
        found = [l2qm.signal_words(l2live.decode("quality_signal", m.value)) for m in l2live.dump(self.bootstrap, "l2.quality")]
        return collections.Counter(words for words in found if words[2] != "l2_leakage_proof")

    def test_a_transaction_that_the_broker_ended(self):
        l2live.topics(self.bootstrap, "", 2)
        said = l2qm.probe(self.market, [l2qm.line_of(self.market, e) for e in self.market.events()], self.reference)
        want = collections.Counter(tuple(words) for _, outputs in said for words in outputs if words[0] == "S")
        self.write(self.market.steps[:40])
        with l2qm.Monitor(pathlib.Path(self.folder.name), self.bootstrap, "", {"reference_file": str(self.reference)}) as monitor:
            monitor.wait_caught_up()
            over = threading.Event()
            self.addCleanup(over.set)
            self.proxy.on(l2proxy.END_TXN, lambda link, frame: over.wait() and frame, times=1000)  # and when it is asked again
            self.write(self.market.steps[40:40 + CHUNK])
            time.sleep(OUTAGE_S)
            over.set()
            monitor.wait_for("begun anew", 60, lambda: monitor.metric("l2flow_qm_begun_anew_total") == 1)
            for i in range(40 + CHUNK, len(self.market.steps), CHUNK):
                self.write(self.market.steps[i:i + CHUNK])
                time.sleep(0.05)
            deadline = time.monotonic() + 60
            while (got := self.outputs()).total() < want.total() and time.monotonic() < deadline:
                time.sleep(0.2)
            self.assertEqual(((want - got).total(), (got - want).total()), (0, 0), monitor.tail())
            self.assertEqual(monitor.stop(), 0, monitor.tail())


if __name__ == "__main__":
    unittest.main(verbosity=2)
