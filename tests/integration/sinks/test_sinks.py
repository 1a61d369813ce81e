"""Alerts of a real Kafka to real servers and to one that checks each request's shape: each arrives at least once, in order by key and
sink, none is lost, whatever the sinks do and however we die.

Seen to fail: SEEN
"""

import collections
import json
import os
import pathlib
import random
import sys
import tempfile
import time
import unittest

import l2certs
import l2kafka
import l2live
import l2sinks
from l2sinks import alert

PARTITIONS = 3
MANY = int(os.environ.get("L2FLOW_SINKS_ALERTS", "2000"))
SYMBOLS = [f"SYM{i}" for i in range(12)]


def episodes(n, symbols=None, **fields):
    """n changes: each crypto goes ok → warn → p2 → ok again and again."""
    symbols = symbols or SYMBOLS
    cycle = [("warn", "ok"), ("p2", "warn"), ("ok", "p2")]
    found = []
    for i in range(n):
        version = i // len(symbols) + 1
        state, previous = cycle[(version - 1) % 3]
        found.append(alert(symbols[i % len(symbols)], version, state, previous, **fields))
    return found


def identities(alerts):
    return {(a["key"], a["version"]) for a in alerts}


class Sinks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.scratch.cleanup)
        cls.folder = pathlib.Path(cls.scratch.name)
        cls.bootstrap = cls.enterClassContext(l2kafka.shared_or_own(cls.folder / "kafka"))

    def setUp(self):
        self.name = self.id().rsplit(".", 1)[1]
        self.prefix = f"{self.name}.{random.randrange(10**6)}."
        l2live.topics(self.bootstrap, self.prefix, PARTITIONS)

    def send(self, alerts, raw=()):
        l2sinks.send(self.bootstrap, self.prefix, alerts, raw)

    def contract(self, kind, **options):
        c = self.enterContext(l2sinks.Contract(kind, **options))
        self.addCleanup(lambda: self.assertEqual(c.wrong, []))
        return c

    def probe(self, *contracts, name="sinks", environment=None, **settings):
        """It runs already."""
        for c in contracts:
            kind = c.kind.removesuffix("_v1")
            settings.setdefault(f"sink_{kind}_url", c.url)
        return self.enterContext(l2sinks.Probe(self.folder, self.bootstrap, self.prefix, settings, f"{self.name}.{name}", environment))

    def wait(self, true, seconds=30, what="", probe=None):
        deadline = time.monotonic() + seconds
        while not true():
            if probe and probe.process.poll() is not None:
                self.fail(f"the probe ended with {probe.process.returncode}:\n{probe.tail()}")
            if time.monotonic() > deadline:
                self.fail(f"not in {seconds} s: {what}\n{probe.tail() if probe else ''}")
            time.sleep(0.05)

    def wait_taken(self, contract, alerts, probe, seconds=60):
        want = identities(alerts)
        self.wait(lambda: want <= set(contract.taken), seconds, f"{contract.kind}: {len(want - set(contract.taken))} missing", probe)

    def wait_committed(self, kind, seconds=30, probe=None):
        l2live.wait_committed(self.bootstrap, f"{self.prefix}sinks.{kind}", self.prefix + "l2.alerts", PARTITIONS, seconds,
                              lambda: self.assertIsNone(probe.process.poll(), probe.tail()) if probe else None)

    def assert_in_order(self, contract, alerts, doubles=0):
        """Each at least once, and what comes for the first time comes in order of its key. doubles: at most so many repetitions."""
        first = collections.defaultdict(list)
        for key, version in dict.fromkeys(contract.taken):
            first[key].append(version)
        want = collections.defaultdict(list)
        for a in alerts:
            want[a["key"]].append(a["version"])
        self.assertEqual(dict(first), dict(want))
        self.assertLessEqual(len(contract.taken) - len(identities(alerts)), doubles, "repeated")

    def letters(self):
        """[(reason, partition, offset, value)] of l2.dlq."""
        found = []
        for m in l2live.dump(self.bootstrap, self.prefix + "l2.dlq"):
            h = {k: v.decode() for k, v in m.headers}
            self.assertEqual(h["topic"], self.prefix + "l2.alerts")
            found.append((h["reason"], int(h["partition"]), int(h["offset"]), m.value))
        return found

    # ---- shapes and contents

    def test_every_sink_is_told_as_documented(self):
        kinds = ("loki", "grafana", "grafana_webhook", "alertmanager", "webhook")
        contracts = [self.contract(kind) for kind in kinds]
        odd = {"summary": "quote \" backslash \\ newline \n Ünï – 𝄞", "source": "tab\there"}
        alerts = episodes(36) + [
            alert("_all", 1, "p2", signal="l2_feature_freshness_seconds", members=SYMBOLS, group_size=40, action="no_l2"),
            alert("ODD", 1, "warn", value=float("nan"), threshold=None, action="flag", **odd),
            alert("GONE", 1, "no_data", value=None, n=0, action="freeze", arm="none")]
        hidden = [alert("SYM1", 900, "p2", signal="other", delivery="grouped", spoken_for_by="x"),
                  alert("SYM1", 900, "p2", signal="third", delivery="inhibited", spoken_for_by="x")]
        self.send(alerts + hidden)
        probe = self.probe(*contracts, runbook_url="https://runbook.example/l2flow", alertmanager_resend_s=3600)
        for c in contracts:
            self.wait_taken(c, alerts, probe)
            self.wait_committed(c.kind, probe=probe)
            if c.kind != "alertmanager":  # which repeats what fires
                self.assert_in_order(c, alerts)
            self.assertEqual(probe.sink(c.kind, "up"), 1)
            self.assertEqual(probe.sink(c.kind, "skipped_total"), 2)
        bodies = [json.loads(r[3]) for r in contracts[4].requests]
        odd_body = next(b for b in bodies if b["symbol"] == "ODD")
        self.assertEqual(odd_body["summary"], odd["summary"])
        self.assertIsNone(odd_body["value"])
        group = next(b for b in bodies if b["symbol"] == "_all")
        self.assertEqual((group["members"], group["group_size"]), (SYMBOLS, 40))
        self.assertIn("P2: l2_feature_freshness_seconds of 40 cryptos [SYM0, ", group["text"])
        self.assertIn("0.25 against 0.2, n = 96.", group["text"])
        self.assertIn("https://runbook.example/l2flow#nan-rate", group["text"])
        regions = [json.loads(r[3]) for r in contracts[1].requests if b"timeEnd" in r[3]]
        self.assertEqual(len(regions), 12)
        self.assertEqual(probe.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2, argv=[sys.argv[0], *sys.argv[1:]])
