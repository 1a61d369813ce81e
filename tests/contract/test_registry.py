"""The schema registry's client against a real registry (Apicurio) and against a contract server that fails at will.

Seen to fail on: 404 not believed for a minute, every 404 taken for an unknown id, look-ups without the pause between them,
an outage that makes an id unknown, the CA file ignored, hits counted as misses, an answer over 1 MiB asked for again and again,
a redirect told as a fault of the credentials.
"""
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

import fastavro

import l2kafka
import l2registry

BIN = os.environ["L2FLOW_BIN"]
ROOT = l2kafka.ROOT
BAR = json.loads((ROOT / "schemas" / "heartbeat.avsc").read_text())
BEAT = {"exchange": "x", "symbol": "BTCUSDT", "time": 1, "newest_event_time": 2, "lag_ms": 3, "state": "silent"}


class Probe:
    def __init__(self, url, *options, record="Heartbeat"):
        self.child = subprocess.Popen([f"{BIN}/registry_probe", url, record, *options], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)

    def __call__(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()
        return self.child.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.wait(timeout=20)
        self.child.stdout.close()


def older():
    """A version without lag_ms' doc, with a field that ours lacks, another order and a smaller type."""
    schema = json.loads(json.dumps(BAR))
    fields = {f["name"]: f for f in schema["fields"]}
    fields["lag_ms"]["type"] = "int"
    schema["fields"] = [fields[n] for n in ("symbol", "exchange", "time", "newest_event_time", "lag_ms")]
    schema["fields"] += [{"name": "host", "type": ["null", "string"], "default": None}, fields["state"]]
    return schema


def encoded(schema, value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(json.dumps(schema))), value)
    return out.getvalue().hex()


class Contract(unittest.TestCase):
    def test_found_other_unknown(self):
        with l2registry.Contract() as registry, Probe(registry.url) as probe:
            registry.add(1, BAR)
            registry.add(2, older())
            registry.add(3, {"type": "record", "name": "Other", "fields": []})
            registry.override["/schemas/ids/4"] = (200, b'{"schema": "syntax = proto3", "schemaType": "PROTOBUF"}')
            self.assertEqual(probe("find 1"), "PENDING")
            self.assertEqual(probe("wait 1 3000"), "FOUND same")
            self.assertEqual(probe("wait 2 3000"), "FOUND other")
            for unknown in (3, 4, 99):
                self.assertEqual(probe(f"wait {unknown} 3000"), "UNKNOWN")
            asked = len(registry.asked)
            for known in (1, 2):
                self.assertIn("FOUND", probe(f"find {known}"))
            for unknown in (3, 4, 99):
                self.assertEqual(probe(f"find {unknown}"), "UNKNOWN")  # believed for a minute
            self.assertEqual(len(registry.asked), asked)
            stats = probe("stats").split()
            self.assertEqual(dict(zip(stats[::2], map(int, stats[1::2]))),
                             {"lookups": 5, "found": 2, "unknown": 3, "registered": 0, "failures": 0, "hits": 4, "negative_hits": 6,
                              "misses": 5, "waiting": 0})
            value = dict(BEAT, host="h")
            self.assertEqual(probe(f"decode 2 1000 {encoded(older(), value)}"), f"ok {encoded(BAR, BEAT)}")

    def trouble(self, probe, what):
        """Until the look-up of id 1, which stays pending, has met this trouble."""
        until, told = time.monotonic() + 20, ""
        while what not in told and time.monotonic() < until:
            self.assertEqual(probe("wait 1 200"), "PENDING")
            told = probe("trouble")
        self.assertIn(what, told)
        return told

    def test_out_of_reach_stays_pending(self):
        faults = [503, 0, 401, 404]  # 404: the proxy's own, or a wrong path
        with l2registry.Contract() as registry, Probe(registry.url, "deadline_ms=200") as probe:
            registry.add(1, BAR)
            for fault in faults:
                registry.fail = fault
                until, trouble = time.monotonic() + 8, "none"  # its pauses grow to 5 s
                while trouble == "none" and time.monotonic() < until:
                    self.assertEqual(probe("wait 1 200"), "PENDING", fault)
                    trouble = probe("trouble")
                self.assertNotEqual(trouble, "none", fault)
            registry.override["/schemas/ids/1"] = (200, b"<html>")
            registry.fail = None
            self.assertEqual(probe("wait 1 6000"), "PENDING")
            registry.override.clear()
            self.assertEqual(probe("wait 1 8000"), "FOUND same")

    def test_an_answer_beyond_the_bound_is_no_schema(self):
        with l2registry.Contract() as registry, Probe(registry.url) as probe:
            registry.override["/schemas/ids/1"] = (200, b'{"schema": "' + b"x" * (1 << 20) + b'"}')
            registry.override["/schemas/ids/2"] = (400, b"x" * (1 << 20) + b"y")
            self.assertEqual(probe("wait 1 5000"), "UNKNOWN")
            self.assertIn("more than 1048576 bytes", probe("trouble"))
            self.assertEqual(probe("wait 2 1000"), "PENDING")  # no answer of a registry's

    def test_a_redirect_is_told_as_one(self):
        with l2registry.Contract() as registry, Probe(registry.url) as probe:
            registry.override["/schemas/ids/1"] = (302, b"")
            registry.override["/subjects/s-value/versions"] = (301, b"")
            for told in (self.trouble(probe, "a redirect"), probe("register s-value 1")):
                self.assertIn("a redirect", told)
                self.assertIn("schema_registry_url", told)

    def test_other_answers_say_what_to_look_at(self):
        # fault: the address blamed for 403
        with l2registry.Contract() as registry, Probe(registry.url) as probe:
            for status, told in ((403, "answered 403: check the credentials"), (410, "answered 410: check the address"),
                                 (204, "answered 204: check the address")):
                registry.override["/schemas/ids/1"] = (status, b"")
                self.trouble(probe, told)
            registry.override["/subjects/s-value/versions"] = (204, b"")
            self.assertIn("204", probe("register s-value 1"))

    def test_ten_lookups_a_second(self):
        with l2registry.Contract() as registry, Probe(registry.url) as probe:
            for i in range(100, 130):
                self.assertEqual(probe(f"find {i}"), "PENDING")
            time.sleep(2)
            times = [at for at, _ in registry.asked]
            self.assertGreaterEqual(len(times), 10)
            for i in range(len(times) - 11):
                self.assertGreater(times[i + 11] - times[i], 1)
            # a flood past the queue is pending too, and unasked
            for i in range(1000, 1200):
                self.assertEqual(probe(f"find {i}"), "PENDING")
            self.assertIn("waiting 64", probe("stats"))

    def test_credentials(self):
        with l2registry.Contract(user="u", password="p:1") as registry:
            registry.add(1, BAR)
            with Probe(registry.url, "user=u", "password=p:1") as probe:
                self.assertEqual(probe("wait 1 3000"), "FOUND same")
            with Probe(registry.url, "user=u", "password=wrong") as probe:
                self.trouble(probe, "answered 401")
                self.assertIn("REJECT", probe("register l2.heartbeat-value 1"))

    def test_tls(self):
        with tempfile.TemporaryDirectory() as folder, l2registry.Contract(tls=folder) as registry:
            registry.add(1, BAR)
            with Probe(registry.url, f"ca={registry.ca}") as probe:
                self.assertEqual(probe("wait 1 3000"), "FOUND same")
            with Probe(registry.url) as probe:  # whom the system does not trust
                self.trouble(probe, "certificate")
            with Probe(registry.url.replace("localhost", "127.0.0.1"), f"ca={registry.ca}") as probe:  # another name
                self.assertEqual(probe("wait 1 600"), "PENDING")

    def test_register(self):
        with l2registry.Contract() as registry, Probe(registry.url, "deadline_ms=300") as probe:
            self.assertIn("not there", probe("register l2.heartbeat-value 0"))
            made = probe("register l2.heartbeat-value 1")
            self.assertEqual(made, "ID 1000")
            self.assertEqual(probe("register l2.heartbeat-value 0"), made)
            asked = len(registry.asked)
            self.assertEqual(probe("find 1000"), "FOUND same")  # what we registered needs no look-up
            self.assertEqual(len(registry.asked), asked)
            registry.fail = 503
            self.assertIn("RETRY", probe("register l2.heartbeat-value 1"))
            self.assertIn(" registered 2 failures 2 hits 1 ", probe("stats"))

    def test_register_refused(self):
        error = b'{"error_code": 40901, "message": "older readers"}'
        with l2registry.Contract() as registry, Probe(registry.url, "deadline_ms=300") as probe:
            for status, may, words in ((409, 1, ["incompatible", "older readers"]), (401, 1, ["schema_registry_register = 0"]),
                                       (403, 0, ["403", "rights"]), (422, 1, ["answered 422 (40901: older readers)"])):
                registry.override["/subjects/s" + ("/versions" if may else "")] = (status, error)
                told = probe(f"register s {may}")
                self.assertIn("REJECT", told)
                for word in words:
                    self.assertIn(word, told)
            registry.override["/subjects/s/versions"] = (201, b'{"id": 7}')
            self.assertEqual(probe("register s 1"), "ID 7")

    def test_an_unknown_id_that_becomes_ours(self):
        with l2registry.Contract() as registry, Probe(registry.url) as probe:
            self.assertEqual(probe("wait 1000 3000"), "UNKNOWN")
            self.assertEqual(probe("register l2.heartbeat-value 1"), "ID 1000")
            self.assertEqual(probe("find 1000"), "FOUND same")  # at once, and not in a minute


@unittest.skipUnless(l2registry.Apicurio.installed(), "tools/dev/registry.sh has not run")
class Real(unittest.TestCase):
    def test_apicurio(self):
        with tempfile.TemporaryDirectory() as folder, l2registry.Apicurio(folder) as registry, Probe(registry.url) as probe:
            old = registry.register("l2.heartbeat-value", older())
            registry.demand("l2.heartbeat-value")
            self.assertIn("not there", probe("register l2.heartbeat-value 0"))
            # lag_ms int → long, host dropped: what a reader may do
            made = probe("register l2.heartbeat-value 1")
            self.assertRegex(made, r"^ID \d+$")
            self.assertEqual(probe("register l2.heartbeat-value 0"), made)
            self.assertEqual(probe(f"wait {old} 5000"), "FOUND other")
            value = dict(BEAT, host=None)
            self.assertEqual(probe(f"decode {old} 1000 {encoded(older(), value)}"), f"ok {encoded(BAR, BEAT)}")
            self.assertEqual(probe("wait 424242 5000"), "UNKNOWN")
            # a subject that ours does not fit: a field of another type
            theirs = json.loads(json.dumps(BAR))
            theirs["fields"][1]["type"] = "double"
            registry.register("other-value", theirs)
            registry.demand("other-value")
            self.assertIn("incompatible", probe("register other-value 1"))


if __name__ == "__main__":
    sys.exit(unittest.main())
