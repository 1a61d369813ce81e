"""What a feed may do to its topic, on a real broker: keys in the wrong partition, records that unpack to more than they weigh.

Seen to fail: wrong_partition with check_partition left out, with murmur2 and crc32 changed for each other; the letters that do not
fit with is_cut never true (the producer of transactions ends, every start again).
"""

import os
import pathlib
import random
import subprocess
import tempfile
import time
import unittest

import confluent_kafka
import l2kafka
import l2live

PARTITIONS = 4
GROUP = "feature-producer"
EXCHANGE = "binance-usdm"


def snapshot(symbol, sequence, at_us):
    return l2live.encode("l2_snapshot", {
        "exchange": EXCHANGE, "symbol": symbol, "event_time": at_us, "received_time": at_us, "sequence": sequence, "epoch": 1,
        "bids": [{"price": 99.0, "quantity": 1.0}], "asks": [{"price": 101.0, "quantity": 1.0}], "flow": None})


class Feed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.broker = l2kafka.shared_or_own(pathlib.Path(cls.folder.name) / "kafka")
        cls.bootstrap = cls.broker.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.broker.__exit__(None, None, None)
        cls.folder.cleanup()

    def live(self, prefix, settings=None):
        l2live.topics(self.bootstrap, prefix, PARTITIONS)
        folder = pathlib.Path(self.folder.name) / prefix
        folder.mkdir()
        return l2live.Producer(folder, self.bootstrap, prefix, settings=settings)

    def dead(self, prefix):
        """[(reason, partition, key)] of l2.dlq"""
        return [(dict(m.headers)["reason"].decode(), m.partition, m.key) for m in l2live.dump(self.bootstrap, prefix + "l2.dlq")]

    def send(self, prefix, how, partition=None):
        """Three snapshots each of 40 symbols; into the partition that the client chooses, or into one."""
        producer = confluent_kafka.Producer(l2live.client(self.bootstrap, **how))
        at = {}
        for sequence in range(1, 4):
            for i in range(40):
                key = f"K{i}"
                producer.produce(prefix + "l2.snapshots", snapshot(key, sequence, 1700000000000000 + sequence * 1000000), key,
                                 *([partition] if partition is not None else []),
                                 on_delivery=lambda _, m: at.__setitem__(m.key(), m.partition()))
        self.assertEqual(producer.flush(30), 0)
        return at

    def judged(self, prefix, settings, how, partition=None):
        with self.live(prefix, settings) as fp:
            fp.wait_ready()
            at = self.send(prefix, how, partition)
            l2live.wait_committed(self.bootstrap, prefix + GROUP, prefix + "l2.snapshots", PARTITIONS, 60)
            metric = fp.metric("l2flow_fp_dead_letters_total")
            self.assertEqual(fp.stop(), 0, fp.tail())
        dead = self.dead(prefix)
        self.assertEqual(metric, len(dead))
        return at, dead

    def test_keys_where_the_feed_s_client_puts_them_are_taken(self):
        for name, partitioner in (("murmur2", "murmur2_random"), ("crc32", "consistent_random")):
            at, dead = self.judged(f"right.{name}.", {"feed_partitioner": name}, {"partitioner": partitioner})
            self.assertEqual(dead, [])
            self.assertEqual(len(set(at.values())), PARTITIONS)

    def test_keys_elsewhere_are_dead_letters_each_record_of_them(self):
        l2live.topics(self.bootstrap, "where.", PARTITIONS)
        at = self.send("where.", {"partitioner": "murmur2_random"})
        _, dead = self.judged("wrong.", {}, {}, partition=2)  # murmur2 is the default
        wrong = [key for key, partition in at.items() if partition != 2]
        self.assertTrue(0 < len(wrong) < 40)
        self.assertEqual(sorted(dead), sorted(("wrong_partition", 2, key) for key in wrong for _ in range(3)))

    def test_none_asks_nothing(self):
        _, dead = self.judged("any.", {"feed_partitioner": "none"}, {}, partition=1)
        self.assertEqual(dead, [])

    def test_l2replay_writes_as_it_is_told(self):
        for name in ("murmur2", "crc32"):
            prefix = f"replay.{name}."
            with self.live(prefix, {"feed_partitioner": name, "exchange": "synthetic"}) as fp:
                fp.wait_ready()
                done = subprocess.run([l2live.binary("l2replay"), "--source", "synthetic", "--symbols", "40", "--records", "400", "--topic",
                                       "--speed", "max", "--exchange", "synthetic", "-b", self.bootstrap, "-p", prefix],
                                      env={**os.environ, "L2_FEED_PARTITIONER": name}, capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                l2live.wait_committed(self.bootstrap, prefix + GROUP, prefix + "l2.snapshots", PARTITIONS, 60)
                self.assertEqual(fp.stop(), 0, fp.tail())
            self.assertNotIn("wrong_partition", [reason for reason, _, _ in self.dead(prefix)])
            symbols = {l2live.decode("l2_snapshot", m.value)["symbol"] for m in l2live.dump(self.bootstrap, prefix + "l2.snapshots")}
            self.assertEqual(len(symbols), 40)

    def test_what_does_not_fit_into_a_dead_letter_is_cut(self):
        """Compressed, all of these pass a topic of 1 MiB; librdkafka, as a feed, must be told to try.
        Seen to fail, now and then, with the last record's move noted before the step that commits to make room."""
        prefix, mib = "cut.", 1 << 20
        noise = random.Random(1).randbytes(mib - 2000)
        sent = [(b"WHOLE", noise), (b"TEN", b"ab" * (5 * mib)), (b"k" * (3 * mib), b"value"), (b"k" * 2000, b"v" * (mib + 12 - 2000)),
                (b"k" * 2000, b"v" * (mib + 13 - 2000)), (b"THIRTY", bytes(30 * mib))] + [(b"MANY", bytes([i]) * (mib - 9)) for i in range(40)]
        with self.live(prefix, {"feed_partitioner": "none"}) as fp:
            fp.wait_ready()
            producer = confluent_kafka.Producer(l2live.client(self.bootstrap, **{
                "compression.type": "zstd", "message.max.bytes": 50 * mib, "batch.num.messages": 1}))
            failed = []
            for key, value in sent:
                producer.produce(prefix + "l2.snapshots", value, key, 0, on_delivery=lambda e, _: failed.append(e) if e else None)
            good = snapshot("AFTER", 1, 1700000000000000)
            producer.produce(prefix + "l2.snapshots", good, b"AFTER", 0)
            self.assertEqual((producer.flush(60), failed), (0, []))
            l2live.wait_committed(self.bootstrap, prefix + GROUP, prefix + "l2.snapshots", PARTITIONS, 60, lambda: self.assertIsNone(
                fp.process.poll(), fp.tail()))
            deadline = time.monotonic() + 5  # the core's counters come out once a second
            while fp.metric("l2flow_fp_snapshots_total") < 1 and time.monotonic() < deadline:
                time.sleep(0.1)
            self.assertEqual((fp.metric("l2flow_fp_snapshots_total"), fp.stop()), (1, 0), fp.tail())
        letters = l2live.dump(self.bootstrap, prefix + "l2.dlq")
        self.assertEqual(len(letters), len(sent))
        for i, (letter, (key, value)) in enumerate(zip(letters, sent)):
            headers = {k: v.decode() for k, v in letter.headers}
            self.assertEqual(headers["offset"], str(i))
            self.assertEqual(headers["reason"], "too_large" if len(value) > 128 * 1024 else "undecodable")
            if len(key) + len(value) <= mib + 12:
                self.assertEqual((letter.key, letter.value, len(headers)), (key, value, 4))
            else:
                self.assertEqual((letter.key, letter.value), (key[:1024], value[:128 * 1024]))
                self.assertEqual((headers["key_bytes"], headers["value_bytes"]), (str(len(key)), str(len(value))))


if __name__ == "__main__":
    unittest.main()
