"""Alerts of a real Kafka to real servers and to one that checks each request's shape: each arrives at least once, in order by key and
sink, none is lost, whatever the sinks do and however we die.

Seen to fail: with the position committed first, or not waited for by those who know no repetition; with what a stop left committed; with a
failure taken for a yes, Retry-After ignored, a batch refused whole, an untrusted certificate taken for a refusal, nothing kept aside, a cut
letter not told; without the group served while waiting, without the cancel at a stop; with the newest first; with what fires neither read from
the log nor told again, told for too long, or still told when another alert speaks for it; with a token that is never renewed; with views into
another schema's record kept past the next one's decoding, and a registry that is away taken for bad bytes.
"""

import collections
import http.server
import io
import json
import os
import pathlib
import random
import sys
import tempfile
import threading
import time
import unittest

import fastavro

import l2certs
import l2kafka
import l2live
import l2sinks
from l2sinks import alert

PARTITIONS = 3
MANY = int(os.environ.get("L2FLOW_SINKS_ALERTS", "2000"))
KILLS = int(os.environ.get("L2FLOW_SINKS_KILLS", "6"))
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


class Registry(http.server.ThreadingHTTPServer):
    """GET /schemas/ids/ID, or 503 while it is away, as it is at first."""

    def __init__(self, schemas):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += 1
                body = json.dumps({"schema": schemas[int(self.path.split("?")[0].rsplit("/", 1)[1])]}).encode()
                self.send_response(503 if outer.away else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.away, self.asked = True, 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Delivery(unittest.TestCase):
    """A Kafka for all, topics for each."""

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
            self.assertEqual(int(h.get("value_bytes", -1)), 200_000 if len(m.value or b"") == 128 * 1024 else -1)  # of one that was cut
            found.append((h["reason"], int(h["partition"]), int(h["offset"]), m.value))
        return found


class Contracts(Delivery):
    """Servers that check each request, and have troubles."""

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

    def test_who_is_down_delays_itself_alone(self):
        up, down = self.contract("grafana_webhook"), self.contract("webhook")
        down.stop()
        alerts = episodes(120)
        probe = self.probe(up, down, **{"kafka.max.poll.interval.ms": 10000})
        self.send(alerts)
        self.wait_taken(up, alerts, probe)
        self.wait_committed(up.kind, probe=probe)
        self.wait(lambda: probe.sink("webhook", "up") == 0 and probe.sink("webhook", "retries_total") >= 3, probe=probe)
        time.sleep(12)  # past the session and the poll interval: it is a member still
        self.assertGreater(probe.sink("webhook", "oldest_seconds"), 8)
        self.assertEqual((probe.sink("grafana_webhook", "oldest_seconds"), probe.sink("webhook", "alerts_total")), (0, 0))
        now = l2live.committed(self.bootstrap, f"{self.prefix}sinks.webhook", self.prefix + "l2.alerts", PARTITIONS)
        self.assertEqual({o for o in now.values() if o > 0}, set())
        down.start()
        self.wait_taken(down, alerts, probe)
        self.wait_committed(down.kind, probe=probe)
        for c in (up, down):
            self.assert_in_order(c, alerts)
        self.assertEqual(probe.sink("webhook", "up"), 1)
        log = probe.log.read_text()
        self.assertIn('"event":"sink_away"', log)
        self.assertIn('"event":"sink_back"', log)
        self.assertNotIn("revoked", log)
        self.assertEqual(self.letters(), [])

    def test_trouble_of_every_kind(self):
        """A storm of 429 with Retry-After, 5xx, hang-ups, and answers that come after the deadline."""
        c = self.contract("webhook")
        alerts = episodes(24)
        c.answer(429, times=2, headers={"Retry-After": "2"})
        c.answer(503)
        c.answer(None)
        c.answer(408)
        c.hang(1.5)
        c.answer(500)
        self.send(alerts)
        probe = self.probe(c, sink_timeout_ms=500)
        self.wait_taken(c, alerts, probe, 90)
        self.wait_committed(c.kind, probe=probe)
        times = [r[0] for r in c.requests]
        self.assertGreaterEqual(times[1] - times[0], 2)  # as it was asked, which is past the deadline of a request
        self.assertGreaterEqual(times[2] - times[1], 2)
        self.assertGreaterEqual(probe.sink("webhook", "retries_total"), 6)  # libcurl itself asks again where a kept connection is cut
        self.assertEqual(probe.sink("webhook", "refused_total"), 0)
        self.assert_in_order(c, alerts)

    def test_a_wrong_address_refuses_nothing(self):
        c = self.contract("webhook")
        alerts = episodes(6)
        for status in (401, 403, 404, 302, 405):
            c.answer(status)
        self.send(alerts)
        probe = self.probe(c)
        self.wait_taken(c, alerts, probe)
        self.wait_committed(c.kind, probe=probe)
        self.assertEqual(probe.sink("webhook", "retries_total"), 5)
        self.assertEqual(self.letters(), [])

    def test_what_is_refused_is_kept_aside(self):
        """Of a batch, only the guilty; bytes that are no alert too."""
        contracts = [self.contract(kind) for kind in ("loki", "alertmanager", "webhook")]
        alerts = episodes(60)
        guilty = {(a["key"], a["version"]) for a in alerts if a["symbol"] in ("SYM3", "SYM4") and a["version"] == 2}
        for c, status in zip(contracts, (400, 400, 422)):
            c.refuse = lambda key, version, status=status: status if (key, version) in guilty else None
        raw = [(b"junk", b"no alert"), (b"junk", None), (b"junk", b"x" * 200_000)]
        self.send(alerts[:30])
        self.send([], raw)
        self.send(alerts[30:])
        probe = self.probe(*contracts, alertmanager_resend_s=3600)
        rest = [a for a in alerts if (a["key"], a["version"]) not in guilty]
        for c in contracts:
            self.wait_taken(c, rest, probe)
            self.wait_committed(c.kind, probe=probe)
            self.assertEqual(probe.sink(c.kind, "refused_total"), len(guilty) + len(raw))
            if c.kind != "alertmanager":
                self.assert_in_order(c, rest)
        letters = self.letters()
        values = {l2live.encode("alert", a): (a["key"], a["version"]) for a in alerts}
        for c in contracts:
            mine = [values[value] for reason, _, _, value in letters if reason == f"refused_by_{c.kind}"]
            self.assertEqual((sorted(mine), len(mine)), (sorted(guilty), len(guilty)))
        junk = [value for reason, _, _, value in letters if reason == "undecodable"]
        self.assertEqual(sorted(map(len, (v or b"" for v in junk))), sorted([0, 8, 128 * 1024] * 3))
        where = {(p, o) for _, p, o, _ in letters}
        self.assertEqual(len(where), len(guilty) + len(raw))

    def test_a_certificate_that_is_not_trusted(self):
        certs = l2certs.make(self.folder / "certificates")
        c = self.contract("grafana", tls=certs.keystore("server"))
        alerts = episodes(12)
        self.send(alerts)
        probe = self.probe(c, name="foreign", sink_grafana_ca_file=certs.foreign_ca)
        self.wait(lambda: (probe.sink("grafana", "retries_total") or 0) >= 2, probe=probe)
        self.assertEqual((probe.sink("grafana", "up"), probe.sink("grafana", "refused_total"), c.requests), (0, 0, []))
        self.assertEqual(probe.stop(), 0)
        self.assertIn("check the CA file", probe.log.read_text())
        probe = self.probe(c, sink_grafana_ca_file=certs.ca)
        self.wait_taken(c, alerts, probe)
        self.wait_committed(c.kind, probe=probe)
        self.assert_in_order(c, alerts)

    def test_killed_in_the_middle(self):
        """Each time between what a sink took and its answer, somewhere within what one poll brought."""
        contracts = [self.contract(kind) for kind in ("webhook", "loki", "grafana")]
        alerts, r = episodes(60 * KILLS), random.Random(7)
        probe = self.probe(*contracts)

        def arm(contract, after):
            goal = len(contract.taken) + after

            def strike():
                if len(contract.taken) >= goal:
                    contract.before_answer = lambda: None
                    probe.process.kill()
                    time.sleep(0.2)  # no answer goes out before it is dead
            contract.before_answer = strike

        for kill in range(KILLS):
            arm(contracts[kill % 3], r.randrange(1, 40))
            self.send(alerts[60 * kill:60 * (kill + 1)])
            self.assertEqual(probe.process.wait(60), -9)
            probe.start()
        for c in contracts:
            self.wait_taken(c, alerts, probe)
            self.wait_committed(c.kind, probe=probe)
            self.assert_in_order(c, alerts, doubles=KILLS * (128 if c.kind == "loki" else 16))
        self.assertEqual(self.letters(), [])

    def test_a_stop_waits_for_no_sink(self):
        """Slow, down, and storming: it ends within 5 s, and what was taken is not told again."""
        slow, down, good = self.contract("webhook"), self.contract("grafana"), self.contract("grafana_webhook")
        down.stop()
        slow.hang(30, times=9)
        alerts = episodes(6)
        self.send(alerts)
        probe = self.probe(slow, down, good, sink_timeout_ms=8000)
        self.wait_taken(good, alerts, probe)
        self.wait_committed(good.kind, probe=probe)
        self.wait(lambda: slow.requests, probe=probe)
        started = time.monotonic()
        self.assertEqual(probe.stop(), 0)
        self.assertLess(time.monotonic() - started, 5)
        slow.faults.clear()
        down.start()
        probe.start()
        for c in (slow, down):
            self.wait_taken(c, alerts, probe)
            self.wait_committed(c.kind, probe=probe)
            self.assert_in_order(c, alerts)
        self.assert_in_order(good, alerts)

    def test_two_replicas(self):
        c = self.contract("webhook")
        alerts = episodes(96)
        first, second = (self.probe(c, name=f"r{i}", replica=f"sinks-{i}") for i in range(2))
        self.send(alerts[:48])
        self.wait_taken(c, alerts[:48], first)
        self.wait_committed(c.kind, probe=first)
        first.kill()
        self.send(alerts[48:])
        self.wait_taken(c, alerts, second)  # after its session of 10 s
        self.wait_committed(c.kind, probe=second)
        self.assert_in_order(c, alerts, doubles=16)

    def test_another_version_of_the_schema(self):
        """Framed with a registry's id, and a field that we do not know; what comes before the registry answers waits, in its place."""
        schema = json.loads((l2live.SCHEMAS / "alert.avsc").read_text())
        schema["fields"].insert(3, {"name": "extra", "type": "string", "default": ""})
        writer = fastavro.parse_schema(schema, named_schemas={})
        registry = self.enterContext(Registry({5: json.dumps(schema)}))
        contracts = [self.contract(kind) for kind in ("loki", "webhook")]
        alerts = episodes(48)
        self.send(alerts[:12])
        framed = []
        for a in alerts[12:36]:
            out = io.BytesIO(b"\0\0\0\0\5")
            out.seek(0, io.SEEK_END)
            fastavro.schemaless_writer(out, writer, {**a, "extra": "x" * 50})
            framed.append((a["symbol"].encode(), out.getvalue()))
        self.send([], framed)
        self.send(alerts[36:])
        probe = self.probe(*contracts, schema_registry_url=registry.url)
        self.wait(lambda: registry.asked > 0, probe=probe)
        self.assertEqual(self.letters(), [])
        registry.away = False
        for c in contracts:
            self.wait_taken(c, alerts, probe)
            self.wait_committed(c.kind, probe=probe)
            self.assert_in_order(c, alerts)
        self.assertEqual(self.letters(), [])

    def test_what_another_speaks_for_ends_at_once(self):
        """Not with the next repetition only."""
        c = self.contract("alertmanager")
        probe = self.probe(c, alertmanager_resend_s=3600)
        self.send([alert("A", 1, "p2")])
        self.wait_taken(c, [alert("A", 1)], probe)
        grouped = [alert("A", 2, "p2", "p2", delivery="grouped", spoken_for_by="x"), alert("B", 1, "p2", delivery="grouped", spoken_for_by="x")]
        self.send(grouped)
        self.wait_taken(c, grouped[:1], probe)
        self.wait_committed(c.kind, probe=probe)
        self.assertNotIn((grouped[1]["key"], 1), c.taken)

    def test_airflow_runs_once_for_a_cause(self):
        """By a login of Airflow 3 whose token ends meanwhile; a run that is there is as good as one that was made."""
        secret = self.folder / "airflow.password"
        secret.write_text("hunter2\n")
        sweep = self.folder / "sweep.json"
        sweep.write_text('{"variant": "standard", "months": 3}')
        c = self.contract("retrain", login=("l2flow", "hunter2", "token-1"))
        drift = {"signal": "l2_kyle_lambda_drift_psi", "action": "retrain"}
        start = 1_700_000_000_000_000
        made = [alert("A", 1, "warn", since_us=start, **drift),
                alert("A", 2, "p2", "warn", since_us=start, **drift),  # the same episode
                alert("B", 1, "p2", since_us=start + 5, **drift),
                alert("A", 4, "warn", "ok", since_us=start + 9, **drift)]
        others = [alert("A", 3, "ok", "p2", **drift), alert("B", 2, "ok", "p2", **drift), alert("C", 1, "p2"),
                  alert("D", 1, "p2", delivery="grouped", **drift)]
        settings = {"sink_retrain_user": "l2flow", "sink_retrain_password_file": secret, "sink_retrain_sweep_file": sweep}
        self.send([made[0], made[1], others[0], made[2], made[3], *others[1:]])
        probe = self.probe(c, **settings)
        self.wait_committed("retrain", probe=probe)
        self.assertEqual(set(c.taken), identities([made[0], made[2], made[3]]))
        self.assertEqual((len(c.runs), probe.sink("retrain", "alerts_total"), probe.sink("retrain", "skipped_total")), (3, 4, 4))
        body = json.loads(c.requests[1][3])
        self.assertEqual(body["conf"]["sweep"], {"variant": "standard", "months": 3})
        self.assertEqual(body["dag_run_id"], f"l2flow:{start}:l2_kyle_lambda_drift_psi~champion_l2~binance-usdm~A")
        c.login = ("l2flow", "hunter2", "token-2")
        self.send([alert("B", 3, "p2", "ok", since_us=start + 50, **drift)])
        self.wait(lambda: len(c.runs) == 4, probe=probe)
        self.assertEqual(self.letters(), [])

    def test_airflow_2_and_old_requests(self):
        c = self.contract("retrain_v1")
        token = self.folder / "airflow.token"
        token.write_text("abc\n")
        drift = {"signal": "psi", "action": "retrain"}
        self.send([alert("A", 1, "p2", **drift)])
        time.sleep(1)
        probe = self.probe(c, sink_retrain_api="v1", sink_retrain_token_file=token)
        self.wait_committed("retrain", probe=probe)
        self.assertEqual(len(c.runs), 1)
        self.assertEqual(c.requests[0][2]["Authorization"], "Bearer abc")


class Real(Delivery):
    """Alertmanager, and a store that takes what Loki takes."""

    def wait_firing(self, server, probe, want, seconds=30):
        self.wait(lambda: set(server.firing()) == set(want), seconds, f"{want}: {set(server.firing())}", probe)

    @unittest.skipUnless(l2sinks.Alertmanager.is_there(), "no prometheus-alertmanager")
    def test_alertmanager_knows_what_fires(self):
        server = self.enterContext(l2sinks.Alertmanager(self.folder / "am"))
        probe = self.probe(sink_alertmanager_url=server.url, alertmanager_resend_s=1, runbook_url="https://runbook.example/x")
        self.send([alert("A", 1, "warn"), alert("B", 1, "p2"), alert("C", 1, "no_data", n=0), alert("D", 1, "p2"),
                   alert("A", 2, "p2", "warn"), alert("B", 2, "ok", "p2"), alert("E", 1, "p2", delivery="grouped")])
        self.wait_firing(server, probe, [("A", "p2"), ("C", "no_data"), ("D", "p2")])  # a severity that is over ends
        a = server.firing()["A", "p2"]
        self.assertEqual(a["labels"], {"alertname": "l2_feature_nan_rate", "severity": "p2", "exchange": "binance-usdm", "symbol": "A",
                                       "arm": "champion_l2", "service": "l2flow", "deployment": self.prefix})
        self.assertEqual(a["annotations"]["runbook_url"], "https://runbook.example/x#nan-rate")
        self.wait(lambda: server.firing()["A", "p2"]["endsAt"] > a["endsAt"], what="told again", probe=probe)
        # B is repeated for a while where it was told of before it was over; the gauge follows by the second
        self.wait(lambda: probe.metric("l2flow_sink_firing") in (3, 4), what="three or four are repeated", probe=probe)
        server.kill()  # it forgets, without clustering
        self.send([alert("D", 2, "ok", "p2"), alert("F", 1, "warn")])
        time.sleep(1)
        server.start()
        self.wait_firing(server, probe, [("A", "p2"), ("C", "no_data"), ("F", "warn")])
        probe.kill()  # what fires is found in the log
        server.kill()
        server.start()
        probe.start()
        self.wait_firing(server, probe, [("A", "p2"), ("C", "no_data"), ("F", "warn")])
        group = alert("_all", 1, "p2", members=["A", "F"], group_size=2)
        self.send([group, alert("A", 3, "p2", "p2", delivery="grouped", spoken_for_by=group["key"]),
                   alert("F", 2, "p2", "warn", delivery="inhibited", spoken_for_by=group["key"])])
        self.wait_firing(server, probe, [("_all", "p2"), ("C", "no_data")])  # what another speaks for ends
        self.assertEqual(probe.sink("alertmanager", "refused_total"), 0)
        self.assertEqual(self.letters(), [])

    @unittest.skipUnless(l2sinks.Alertmanager.is_there(), "no prometheus-alertmanager")
    def test_alertmanager_ends_what_nobody_repeats(self):
        server = self.enterContext(l2sinks.Alertmanager(self.folder / "am-ends"))
        probe = self.probe(sink_alertmanager_url=server.url, alertmanager_resend_s=1)
        self.send([alert("A", 1, "p2")])
        self.wait_firing(server, probe, [("A", "p2")])
        time.sleep(6)
        self.assertEqual(set(server.firing()), {("A", "p2")})
        probe.kill()
        self.wait_firing(server, None, [], 10)

    @unittest.skipUnless(l2sinks.VictoriaLogs.is_there(), "no VictoriaLogs: tools/dev/victorialogs.sh")
    def test_a_store_that_takes_lokis_push(self):
        server = self.enterContext(l2sinks.VictoriaLogs(self.folder / "vl"))
        alerts = episodes(90)
        server.kill()
        self.send(alerts)
        probe = self.probe(sink_loki_url=server.url, sink_loki_path="/insert/loki/api/v1/push")
        self.wait(lambda: probe.sink("loki", "retries_total"), probe=probe)
        server.start()
        self.wait_committed("loki", probe=probe)
        self.assertEqual(probe.sink("loki", "alerts_total"), 90)
        found = collections.defaultdict(list)
        for line in server.lines():
            found[line["key"]].append(int(line["version"]))
        want = collections.defaultdict(list)
        for a in alerts:
            want[a["key"]].append(a["version"])
        self.assertEqual(dict(found), dict(want))
        line = server.lines('symbol:="SYM5" AND version:="3"')[0]
        self.assertEqual((line["state"], line["signal"], line["service_name"]), ("ok", "l2_feature_nan_rate", "l2flow"))

    @unittest.skipUnless(l2sinks.VictoriaLogs.is_there() and l2sinks.Alertmanager.is_there(), "no VictoriaLogs, or no Alertmanager")
    def test_many(self):
        am = self.enterContext(l2sinks.Alertmanager(self.folder / "am-many"))
        vl = self.enterContext(l2sinks.VictoriaLogs(self.folder / "vl-many"))
        contracts = [self.contract(kind) for kind in ("grafana", "webhook")]
        symbols = [f"S{i}" for i in range(250)]
        alerts = episodes(MANY, symbols)
        self.send(alerts)
        started = time.monotonic()
        probe = self.probe(*contracts, sink_loki_url=vl.url, sink_loki_path="/insert/loki/api/v1/push", sink_alertmanager_url=am.url)
        for kind in ("loki", "alertmanager", "grafana", "webhook"):
            self.wait(lambda kind=kind: probe.sink(kind, "alerts_total") == MANY, 120, kind, probe)
        took = time.monotonic() - started
        print(f"{MANY} alerts to four sinks in {took:.1f} s", file=sys.stderr)
        for c in contracts:
            self.assert_in_order(c, alerts)
        stored = collections.Counter((line["key"], int(line["version"])) for line in vl.lines())
        self.assertEqual(stored, collections.Counter(identities(alerts)))
        last = {a["symbol"]: a["state"] for a in alerts}
        self.wait_firing(am, probe, [(s, state) for s, state in last.items() if state != "ok"])
        self.assertLess(took, 60)
        self.assertEqual(self.letters(), [])


if __name__ == "__main__":
    unittest.main(verbosity=2, argv=[sys.argv[0], *sys.argv[1:]])
