"""Transactions without a group while the broker dies: each record once and in order, whatever came of the one under way.

The broker is killed and started again between and inside of transactions; and, with the process in one, kept away for longer than a
transaction may last: then what was sent is given up, and either the same bytes go into the next one or the process ends, and its
successor goes on behind what the topic holds. Records that are lost on the way make the process give up a transaction itself.

Seen to fail: with the buffer kept after a commit (doubled), with a commit that is still under way taken for done, and with what was given up
left out of the next transaction (lost); with one that must be given up taken for the end (75); all, as first written, with a process that
was to outlive every outage: an abort that the broker has made already ends it.
"""

import collections
import os
import pathlib
import subprocess
import tempfile
import time
import unittest

import l2kafka
import l2live
import l2proxy
from confluent_kafka.admin import AdminClient, NewTopic

TRANSACTIONS, RECORDS = 150, 30
PRODUCE = 0


class Transactions(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        inside, outside = l2kafka.free_port(), l2kafka.free_port()
        self.broker = l2kafka.Broker(pathlib.Path(self.folder.name) / "kafka", port=inside,
                                     settings={"advertised.listeners": f"PLAINTEXT://127.0.0.1:{outside}"})
        self.addCleanup(self.broker.kill)
        self.proxy = l2proxy.Proxy(inside, outside)
        self.addCleanup(self.proxy.close)
        self.broker.start()
        admin = AdminClient(l2live.client(self.broker.bootstrap))
        admin.create_topics([NewTopic("txn", 3, 1)])["txn"].result()
        self.log = pathlib.Path(self.folder.name) / "log"

    def run_from(self, first, timeout_ms, on_commit):
        """Exit code; on_commit is called after each transaction with its number."""
        command = [l2live.binary("bus_txn"), self.broker.bootstrap, "txn", "id", str(first), str(TRANSACTIONS - 1), str(RECORDS),
                   str(timeout_ms)]
        with open(self.log, "ab") as errors:
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            for line in child.stdout:
                on_commit(int(line.split()[1]))
            return child.wait(timeout=60)
        finally:
            if child.poll() is None:
                child.kill()
            child.stdout.close()

    def found(self):
        found = collections.defaultdict(list)
        for message in l2live.dump(self.broker.bootstrap, "txn"):
            found[message.partition].append(message.value.decode())
        return found

    def assert_each_is_once(self):
        found = self.found()
        for partition in range(3):
            want = [f"{i}.{j}" for i in range(TRANSACTIONS) for j in range(partition, RECORDS, 3)]
            self.assertEqual(len(found[partition]), len(want), self.log.read_text()[-1000:])
            self.assertTrue(found[partition] == want)

    def test_a_broker_that_is_killed(self):
        def kill(number):
            if number in (40, 90):
                self.broker.kill()
                self.broker.start()

        self.assertEqual(self.run_from(0, 60000, kill), 0, self.log.read_text()[-2000:])
        self.assert_each_is_once()

    def test_records_that_do_not_arrive(self):
        """While a transaction may last: it is given up, and the same bytes go into the next one. The process stays."""
        rules = []

        def lose(number):
            if number in (40, 90):
                rules.append(self.proxy.on(PRODUCE, l2proxy.drop_request))

        self.assertEqual(self.run_from(0, 2000, lose), 0, self.log.read_text()[-2000:])
        self.assertEqual([rule.hits for rule in rules], [1, 1])
        self.assertRegex(self.log.read_text(), "commit: .*_TIMED_OUT")
        self.assert_each_is_once()

    def test_a_broker_that_is_away_for_longer_than_a_transaction_may_last(self):
        def kill(number):
            if number == 50:
                self.broker.kill()
                time.sleep(4)
                self.broker.start()

        code = self.run_from(0, 2000, kill)
        if code != 0:
            self.assertEqual(code, 75)
            last = max(int(value.split(".")[0]) for values in self.found().values() for value in values)
            self.assertEqual(self.run_from(last + 1, 60000, lambda _: None), 0, self.log.read_text()[-2000:])
        self.assert_each_is_once()


if __name__ == "__main__":
    os.environ.setdefault("L2FLOW_BIN", "build/dev/bin")
    unittest.main(verbosity=2)
