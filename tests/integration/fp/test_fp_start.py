"""What feature-producer makes of what it finds at its start, on a real broker.

A start that is refused ends with its code, names what is wrong and the way out in its last line, was never ready, and has
written and committed nothing. Of committed metadata that is none it says so, and folds the whole log to what a quiet run gives.

Seen to fail on: the fingerprint not compared, topics not checked, a registry that is away taken for one that refuses and the
reverse.
"""

import contextlib
import json
import os
import pathlib
import sys
import tempfile
import time
import unittest

import confluent_kafka
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

import l2fleet
import l2kafka
import l2live
import l2registry

PREFIX, PARTITIONS = f"start-{os.getpid()}.", 4
GROUP, INPUT = PREFIX + "feature-producer", PREFIX + "l2.snapshots"
OUTPUTS = ("l2.bars", "l2.features", "l2.dlq")
SESSION_SECONDS = 10
EX_UNAVAILABLE, EX_CONFIG = 69, 78


class Start(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.addClassCleanup(cls.stack.close)
        cls.folder = pathlib.Path(cls.stack.enter_context(tempfile.TemporaryDirectory()))
        cls.bootstrap = cls.stack.enter_context(l2kafka.shared_or_own(cls.folder / "kafka"))
        l2live.topics(cls.bootstrap, PREFIX, PARTITIONS)
        cls.load = l2fleet.make_load(l2fleet.market(cls.folder, 0.25), 1)
        cls.half = len(cls.load) // 2
        cls.send(cls.load[:cls.half])
        with cls.producer("first") as producer:
            l2live.wait_committed(cls.bootstrap, GROUP, INPUT, PARTITIONS, 60)
            assert producer.stop() == 0, producer.tail()

    @classmethod
    def send(cls, load):
        loader = l2fleet.Loader(cls.bootstrap, INPUT, load, 1e6)
        loader.start()
        loader.join()
        loader.finish()

    @classmethod
    def producer(cls, name, **settings):
        return l2live.Producer(cls.folder, cls.bootstrap, PREFIX, {**l2fleet.SETTINGS, **settings}, name=name)

    def written(self):
        return ({topic: l2live.ends(self.bootstrap, PREFIX + topic, PARTITIONS) for topic in OUTPUTS},
                l2live.committed(self.bootstrap, GROUP, INPUT, PARTITIONS))

    def refused(self, code, *words, **settings):
        before = self.written()
        with self.producer(self._testMethodName, **settings) as producer:
            began, ready = time.monotonic(), False
            while producer.process.poll() is None:
                self.assertLess(time.monotonic(), began + 40, producer.tail())
                ready = ready or producer.get("/readyz") is not None
                time.sleep(0.05)
            last = json.loads(producer.log.read_text().splitlines()[-1])
            self.assertEqual(producer.process.returncode, code, last)
        self.assertEqual((last["event"], last["exit_code"]), ("failed", code))
        for word in words:
            self.assertIn(word, last["error"])
        self.assertFalse(ready, "it said that it was ready")
        self.assertEqual(self.written(), before)

    def test_a_another_deployments_parameters(self):
        for settings in ({"CVN_L2_PURGE_BARS": 4}, {"window_seconds": 60}, {"exchange": "binance-spot"}, {"symbol_ttl_seconds": 3600}):
            with self.subTest(**settings):
                self.refused(EX_CONFIG, GROUP, "partition", "committed by a deployment of another", "topic_prefix", **settings)

    def test_b_topics_too_small(self):
        for topic, too_small in (("l2.dlq", 1048588), ("l2.features", 100000)):
            with self.subTest(topic=topic):
                right = self.alter(topic, too_small)
                try:
                    self.refused(EX_CONFIG, PREFIX + topic, "max.message.bytes", str(too_small), str(right), "l2ctl topics apply")
                finally:
                    self.alter(topic, right)

    def alter(self, topic, max_message_bytes):
        """Returns what it was."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        asked = ConfigResource(ConfigResource.Type.TOPIC, PREFIX + topic)
        was = int(admin.describe_configs([asked])[asked].result(20)["max.message.bytes"].value)
        entry = ConfigEntry("max.message.bytes", str(max_message_bytes), incremental_operation=AlterConfigOpType.SET)
        change = ConfigResource(ConfigResource.Type.TOPIC, PREFIX + topic, incremental_configs=[entry])
        admin.incremental_alter_configs([change])[change].result(20)
        return was

    def test_c_no_registry(self):
        nobody = f"http://127.0.0.1:{l2kafka.free_port()}"
        self.refused(EX_UNAVAILABLE, nobody, schema_registry_url=nobody)
        with l2registry.Contract() as registry:
            subject = f"/subjects/{PREFIX}l2.bars-value"
            for status, code, word in ((503, EX_UNAVAILABLE, "503"), (0, EX_UNAVAILABLE, registry.url), (401, EX_CONFIG, "schema_registry_user"),
                                       (409, EX_CONFIG, "incompatible")):
                with self.subTest(status=status):
                    registry.fail = status
                    self.refused(code, word, schema_registry_url=registry.url)
            registry.fail = None
            self.refused(EX_CONFIG, "not there", "schema_registry_register", schema_registry_url=registry.url, schema_registry_register=0)
            self.assertIn(subject, [path for _, path in registry.asked])

    def commit(self, metadata):
        """By partition, at the offsets that are committed: as somebody who resets a group by hand, once its members are gone."""
        at = l2live.committed(self.bootstrap, GROUP, INPUT, PARTITIONS)
        client = confluent_kafka.Consumer(l2live.client(self.bootstrap, **{"group.id": GROUP, "enable.auto.commit": False}))
        wanted = [confluent_kafka.TopicPartition(INPUT, p, at[p], metadata=m) for p, m in metadata.items()]
        deadline = time.monotonic() + 3 * SESSION_SECONDS
        try:
            while True:
                try:
                    for done in client.commit(offsets=wanted, asynchronous=False):
                        self.assertIsNone(done.error)
                    return
                except confluent_kafka.KafkaException:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.5)
        finally:
            client.close()

    def test_d_metadata_that_is_none(self):
        broken = ["", "kafka-consumer-groups", "9,0,0,0123456789abcdef", "2,7"]
        self.commit(dict(enumerate(broken)))
        with self.producer("metadata") as producer:
            producer.wait_ready()
            self.send(self.load[self.half:])
            l2live.wait_committed(self.bootstrap, GROUP, INPUT, PARTITIONS, 60)
            self.assertEqual(producer.stop(), 0, producer.tail())
            log = [json.loads(line) for line in producer.log.read_text().splitlines()]
        said = [e["partition"] for e in log if e["event"] == "no_restart_metadata"]
        self.assertEqual(sorted(said), sorted(range(PARTITIONS)))
        l2fleet.assert_equal("metadata", self.bootstrap, PREFIX, self.folder, 20)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
