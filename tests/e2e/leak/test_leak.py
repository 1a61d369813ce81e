"""A leak of one bar, planted into a real producer, is found by the real monitor within two hours of market time.

Five cryptos of 15-minute bars, the made-up market, a real Kafka. The honest producer makes their past and then the bars on which each
crypto's proof says so. Then another build of the producer goes on (CMakeLists.txt: of one crypto it takes the row of a bar too late),
bar by bar, until the alert is there; the monitor is killed, the honest producer comes back, and the alert is resolved.

Usage: test_leak.py PROGRAM, the producer that leaks. L2FLOW_BIN: the others.
Seen to fail: with the honest producer in the other's place, and with the proof made of the first crypto only (never found); with rows
compared by their nulls alone (the same); with the proofs in l2.quality not recalled (never resolved, and so it was in the first place).
"""

import datetime
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

import l2kafka
import l2live
import l2qm

PREFIX, PARTITIONS = "leak.", 3
CRYPTOS, LEAKING = 5, "SYN002"
BAR_S, PURGE = 900, 20
START = datetime.datetime(2024, 8, 8, tzinfo=datetime.timezone.utc)
PAST_BARS = PURGE + 3  # from the next one on each crypto can be proved: the purge, and what its window begins with
PROOF = "l2_leakage_proof"
WITHIN = datetime.timedelta(hours=2)


class Leaky(l2live.Producer):
    program = sys.argv.pop(1)


class Leak(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        broker = l2kafka.Broker(self.folder / "kafka")
        self.addCleanup(broker.kill)
        broker.start()
        self.bootstrap = broker.bootstrap
        l2live.topics(self.bootstrap, PREFIX, PARTITIONS)
        self.bars = 0  # of market that were sent; the last one is open
        self.monitor = l2qm.Monitor(self.folder, self.bootstrap, PREFIX, {"hold_ms": 50})
        self.addCleanup(self.monitor.__exit__)

    def producer(self, kind):
        p = kind(self.folder, self.bootstrap, PREFIX, name=kind.__name__)
        self.addCleanup(p.__exit__)
        p.start()
        p.wait_ready()
        return p

    def send(self, bars, producer):
        """So many bars more of the market, until the producer has closed those before the open one."""
        self.bars, first = self.bars + bars, self.bars
        emitted = producer.metric("l2flow_fp_bars_total") + CRYPTOS * (bars - (first == 0))
        start = START + first * datetime.timedelta(seconds=BAR_S)
        command = [l2live.binary("l2replay"), "--source", "synthetic", "--exchange", l2qm.EXCHANGE, "--symbols", str(CRYPTOS), "--depth", "5",
                   "--rate-hz", "0.25", "--silence", "0", "--seed", str(first + 1), "--start", str(int(start.timestamp())),
                   "--hours", str(bars * BAR_S / 3600), "--topic", "--bootstrap", self.bootstrap, "--topic-prefix", PREFIX]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        deadline = time.monotonic() + 30
        while producer.metric("l2flow_fp_bars_total") < emitted:
            self.assertLess(time.monotonic(), deadline, producer.tail())
            time.sleep(0.05)

    def proofs(self):
        return {v: self.monitor.labelled("l2flow_qm_proofs_total", v) for v in ("same", "other", "undecided")}

    def send_proved(self, producer):
        """One bar, and what its proof says."""
        before = self.proofs()
        self.send(1, producer)
        self.monitor.wait_for("a proof", 20, lambda: self.proofs() != before)
        return next(v for v, n in self.proofs().items() if n != before[v])

    def alerts(self):
        """Those of the proof, as they lie in l2.alerts."""
        found = [l2live.decode("alert", m.value) for m in l2live.dump(self.bootstrap, PREFIX + "l2.alerts")]
        return [a for a in found if a["signal"] == PROOF]

    def wait_alerts(self, n):
        self.monitor.wait_for(f"{n} alerts", 20, lambda: len(self.alerts()) >= n)
        self.assertEqual(len(self.alerts()), n)
        return self.alerts()[-1]

    def assert_each_bar_is_proved_once(self):
        """Of each bar since the monitor is there, one crypto's record; in turn, but that a start deals out the turns anew."""
        found = [l2live.decode("quality_signal", m.value) for m in l2live.dump(self.bootstrap, PREFIX + "l2.quality")]
        proofs = sorted((s for s in found if s["signal"] == PROOF), key=lambda s: s["bar_time"])
        times = [s["bar_time"] for s in proofs]
        self.assertEqual(times, [times[0] + i * datetime.timedelta(seconds=BAR_S) for i in range(len(times))])
        self.assertEqual(len({s["symbol"] for s in proofs}), CRYPTOS)
        self.assertEqual({s["symbol"] for s in proofs if s["value"] != 0}, {LEAKING})

    def test_it_is_found_and_its_end_is_told(self):
        honest = self.producer(l2live.Producer)
        self.send(PAST_BARS, honest)
        self.monitor.start()
        self.monitor.wait_caught_up()
        self.assertEqual([self.send_proved(honest) for _ in range(CRYPTOS)], ["same"] * CRYPTOS)
        self.assertEqual(self.alerts(), [])
        self.assertEqual(honest.stop(), 0, honest.tail())

        leaky = self.producer(Leaky)
        began = START + (self.bars - 1) * datetime.timedelta(seconds=BAR_S)  # of the bar that it will close first
        while self.send_proved(leaky) != "other":
            self.assertLess(START + self.bars * datetime.timedelta(seconds=BAR_S), began + WITHIN + datetime.timedelta(hours=1),
                            "it is never found")
        alert = self.wait_alerts(1)
        print(f"found {alert['since'] - began} of market time after the first bar that leaked began", flush=True)
        self.assertLessEqual(alert["since"] - began, WITHIN)
        self.assertEqual((alert["symbol"], alert["state"], alert["action"], alert["delivery"]), (LEAKING, "p2", "freeze", "send"))
        self.assertEqual((alert["value"], alert["started"], alert["runbook"]), (1, alert["since"], "leakage"))
        self.assertEqual(leaky.stop(), 0, leaky.tail())

        self.monitor.kill()
        honest = self.producer(l2live.Producer)
        self.monitor.start()
        self.monitor.wait_caught_up()
        said = [self.send_proved(honest) for _ in range(2 * CRYPTOS)]
        self.assertEqual(said, ["same"] * 2 * CRYPTOS)
        alert = self.wait_alerts(2)
        self.assertEqual((alert["symbol"], alert["state"], alert["previous"], alert["version"]), (LEAKING, "ok", "p2", 2))
        self.assert_each_bar_is_proved_once()
        self.assertEqual(self.monitor.stop(), 0, self.monitor.tail())


if __name__ == "__main__":
    os.environ.setdefault("L2FLOW_BIN", "build/dev/bin")
    unittest.main(verbosity=2)
