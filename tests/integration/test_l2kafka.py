"""The tests' own Kafka: what is acknowledged survives kill -9 and a restart on the same port; nothing outlives a test.

Seen to fail: without setpriv (an orphan is left), with Popen called on the starting thread itself (the broker ends with
that thread), with rmtree in kill() (the record is lost).
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

import l2kafka


def produce(bootstrap, value):
    failed = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    producer.produce("t", value, on_delivery=lambda error, _: error and failed.append(error))
    assert producer.flush(20) == 0 and not failed, failed


def consume(bootstrap, count):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["t"])
    deadline, values = time.monotonic() + 30, []
    while len(values) < count and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is not None and not message.error():
            values.append(message.value())
    consumer.close()
    return values


def alive(pid):
    try:
        return "Z" not in pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def ends(pid, seconds=10):
    deadline = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


class Kafka(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name, "kafka")

    def test_survives_kill_and_stop(self):
        with l2kafka.Broker(self.dir) as broker:
            admin = AdminClient({"bootstrap.servers": broker.bootstrap})
            admin.create_topics([NewTopic("t", 1, 1)])["t"].result(20)
            produce(broker.bootstrap, b"one")
            first = broker.pid
            broker.kill()
            self.assertFalse(alive(first))
            broker.start()
            self.assertNotEqual(broker.pid, first)
            produce(broker.bootstrap, b"two")
            broker.stop()
            broker.start()
            self.assertEqual(consume(broker.bootstrap, 2), [b"one", b"two"])
            last = broker.pid
        self.assertFalse(alive(last))

    def test_no_topic_by_itself(self):
        with l2kafka.Broker(self.dir) as broker:
            AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics("absent", timeout=10)
            self.assertNotIn("absent", AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=10).topics)

    def test_dies_with_the_test(self):
        script = "import l2kafka, sys, time\nb = l2kafka.Broker(sys.argv[1]).start()\nprint(b.pid, flush=True)\ntime.sleep(60)\n"
        test = subprocess.Popen([sys.executable, "-c", script, str(self.dir)], stdout=subprocess.PIPE, text=True)
        self.addCleanup(test.stdout.close)
        pid = int(test.stdout.readline())
        self.assertTrue(alive(pid))
        os.kill(test.pid, signal.SIGKILL)
        test.wait()
        self.assertTrue(ends(pid))

    def test_outlives_the_thread_that_started_it(self):
        broker = l2kafka.Broker(self.dir)
        self.addCleanup(broker.kill)
        thread = threading.Thread(target=broker.start)
        thread.start()
        thread.join()
        self.assertFalse(ends(broker.pid, seconds=0.5))

    def test_taken_port_is_an_error_that_says_so(self):
        with l2kafka.Broker(self.dir) as broker:
            with self.assertRaisesRegex(l2kafka.BrokerError, f"{broker.port}.*taken"):
                l2kafka.up(self.dir.parent / "other", broker.port, port_is_given=True)


if __name__ == "__main__":
    unittest.main()
