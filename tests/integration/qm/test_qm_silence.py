"""A silent producer, and a feed that still stands still when it is back: which alerts are sent. On a rehearsal clock, with heartbeats made here.

Seen to fail: with what the silence did to freshness sent at its end (AAA's), and with a breach that outlasts it never sent (BBB's).
"""

import pathlib
import tempfile
import threading
import time
import unittest

import confluent_kafka
import l2kafka
import l2live
import l2qm
from l2qm import US

SPEED = 20  # a silence of 60 s is noticed after 3 s real
FRESHNESS, SILENT = "l2_feature_freshness_seconds", "l2_producer_silent_seconds"


class Silence(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.broker = l2kafka.Broker(pathlib.Path(self.folder.name) / "kafka")
        self.broker.__enter__()
        self.addCleanup(self.broker.__exit__, None, None, None)
        l2live.topics(self.broker.bootstrap, "", 2)
        self.producer = confluent_kafka.Producer(l2live.client(self.broker.bootstrap, partitioner="murmur2_random",
                                                                 **{"enable.idempotence": True}))
        self.over, self.newest = threading.Event(), {}  # symbol: its newest snapshot
        beats = threading.Thread(target=self.beat)
        self.addCleanup(beats.join)
        self.addCleanup(self.over.set)
        self.market = l2qm.Market(41, ("AAA", "BBB"), days=1, kinds="b", calm=True)
        self.real, self.virtual = int(time.time()) - 1, (self.market.first + 100) * self.market.bar_s
        for event in (event for step in self.market.steps[:5] for event in step):
            self.produce("l2.bars", "l2_bar", l2qm.record(self.market, event))
        beats.start()

    def produce(self, topic, stem, record):
        self.producer.produce(topic, l2live.encode(stem, record), record["symbol"])
        self.assertEqual(self.producer.flush(60), 0)

    def now_us(self):
        return int((self.virtual + (time.time() - self.real) * SPEED) * US)

    def beat(self):
        while not self.over.wait(0.2):
            for symbol, newest_us in self.newest.items():
                self.produce("l2.heartbeat", "heartbeat", {"exchange": l2qm.EXCHANGE, "symbol": symbol, "time": self.now_us(),
                                                           "newest_event_time": newest_us or self.now_us(), "lag_ms": 0, "state": "live"})

    def alerts(self, signal, symbol):
        """[(state, delivery)], as told."""
        found = [l2live.decode("alert", m.value) for m in l2live.dump(self.broker.bootstrap, "l2.alerts")]
        return [(a["state"], a["delivery"]) for a in found if a["signal"] == signal and a["symbol"] == symbol]

    def until(self, is_true, seconds=100):
        deadline = time.monotonic() + seconds
        while not is_true():
            if time.monotonic() > deadline:
                raise AssertionError({s: self.alerts(FRESHNESS, s) for s in ("AAA", "BBB")} | {"_all": self.alerts(SILENT, "_all")})
            time.sleep(0.3)

    def test_what_outlasts_a_silence_is_sent_when_it_ends(self):
        monitor = l2qm.Monitor(pathlib.Path(self.folder.name), self.broker.bootstrap, "", {"hold_ms": "300"})
        monitor.environment["L2_CLOCK"] = f"{self.real}/{self.virtual}/{SPEED}"
        with monitor:
            monitor.wait_caught_up()
            self.newest = {"AAA": None, "BBB": None}  # None: now
            time.sleep(3)
            stopped_us, self.newest = self.now_us(), {}
            self.until(lambda: all(("p2", "inhibited") in self.alerts(FRESHNESS, s) for s in ("AAA", "BBB")))
            self.assertEqual(self.alerts(SILENT, "_all"), [("p2", "send")])
            self.newest = {"AAA": None, "BBB": stopped_us}
            self.until(lambda: ("p2", "send") in self.alerts(FRESHNESS, "BBB"))
            time.sleep(3)
            self.assertEqual(self.alerts(SILENT, "_all")[:2], [("p2", "send"), ("ok", "send")])
            self.assertEqual(self.alerts(FRESHNESS, "BBB").count(("p2", "send")), 1)
            self.assertEqual({delivery for _, delivery in self.alerts(FRESHNESS, "AAA")}, {"inhibited"})
            self.assertEqual(self.alerts(FRESHNESS, "AAA")[-1][0], "ok")
            self.assertEqual(monitor.stop(), 0, monitor.tail())


if __name__ == "__main__":
    unittest.main(verbosity=2)
