"""The monitor's heartbeat: in l2.heartbeat once a second, and in /metrics only while Kafka takes it, since the dead-man rule reads it there.

The broker is killed under a monitor that has nothing to commit: it lives on and answers its probes, and its heartbeat grows old. Then the
broker is back, and so is the heartbeat.
Seen to fail: with the metric set when a heartbeat is sent.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

import l2kafka
import l2live

PREFIX = "beat."
METRIC = "l2flow_qm_heartbeat_timestamp_seconds"


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return answer.read().decode()
    except OSError:
        return None


def beat(port):
    return next((float(line.split()[1]) for line in (get(port, "/metrics") or "").splitlines() if line.startswith(METRIC + " ")), 0)


class Heartbeat(unittest.TestCase):
    def until(self, what, seconds=60):
        deadline = time.monotonic() + seconds
        while not what():
            self.assertIsNone(self.monitor.poll(), self.log.read_text()[-2000:])
            self.assertLess(time.monotonic(), deadline, self.log.read_text()[-2000:])
            time.sleep(0.1)

    def test_it_is_one_when_kafka_has_it(self):
        with tempfile.TemporaryDirectory() as name, l2kafka.Broker(pathlib.Path(name, "kafka")) as broker:
            l2live.topics(broker.bootstrap, PREFIX, 1)
            port, self.log = l2kafka.free_port(), pathlib.Path(name, "log")
            environment = dict(os.environ, L2_KAFKA_BOOTSTRAP_SERVERS=broker.bootstrap, L2_TOPIC_PREFIX=PREFIX, L2_REPLICA="quality-monitor-7",
                               L2_LISTEN=f"127.0.0.1:{port}")
            with open(self.log, "wb") as log:
                self.monitor = subprocess.Popen([l2live.binary("quality-monitor")], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                env=environment)
            try:
                self.until(lambda: get(port, "/readyz") is not None)
                self.until(lambda: time.time() - beat(port) < 2)
                self.check_records(broker)
                broker.kill()
                killed = time.time()
                time.sleep(6)
                self.assertIsNotNone(get(port, "/healthz"), "it lives")
                self.assertLess(beat(port), killed + 2, "nobody has its heartbeats")
                broker.start()
                self.until(lambda: time.time() - beat(port) < 2)
                self.monitor.terminate()
                self.assertEqual(self.monitor.wait(30), 0, self.log.read_text()[-2000:])
            finally:
                self.monitor.kill()
                self.monitor.wait()

    def check_records(self, broker):
        time.sleep(3)
        beats = [l2live.decode("heartbeat", value) for key, value in self.records(broker) if key == b"_monitor/quality-monitor-7"]
        times = [record["time"].timestamp() for record in beats]
        self.assertGreaterEqual(len(beats), 3)
        self.assertEqual({record["symbol"] for record in beats}, {"_monitor"})
        self.assertTrue(all(0.5 < after - before < 3 for before, after in zip(times[-3:], times[-2:])), times)

    def records(self, broker):
        consumer = l2live.confluent_kafka.Consumer(l2live.client(broker.bootstrap, **{"group.id": "x", "enable.partition.eof": True}))
        consumer.assign([l2live.confluent_kafka.TopicPartition(PREFIX + "l2.heartbeat", 0, 0)])
        try:
            while (message := consumer.poll(20)) is not None and not message.error():
                yield message.key(), message.value()
        finally:
            consumer.close()


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
