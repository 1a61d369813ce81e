#!/usr/bin/env python3
"""Our codec against fastavro, both ways, field by field; and the golden bytes, which must never change.

    test_codec_fastavro.py                  what ctest runs; codec_oracle is found through L2FLOW_BIN
    test_codec_fastavro.py --write-golden   adds the .bin of a schemas/golden/*.json that has none yet; changes nothing

A golden file is STEM.CASE.json (the value, for people) and STEM.CASE.bin (one framed message).
"""
import io
import json
import math
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import unittest

import fastavro
import fastavro.read
import fastavro.schema

ROOT = pathlib.Path(__file__).resolve().parents[2]
ORACLE = pathlib.Path(os.environ.get("L2FLOW_BIN", ROOT / "build" / "dev" / "bin")) / "codec_oracle"
GOLDEN = ROOT / "schemas" / "golden"
RECORDS = 300  # random values of each record, each way

# Any 64-bit time must come through, not only those that datetime can hold.
fastavro.read.LOGICAL_READERS.pop("long-timestamp-micros", None)


class Schema:
    def __init__(self, path):
        self.path = path
        self.json = json.loads(path.read_text())
        self.name = self.json["name"]
        self.named = {}
        self.collect(self.json, "")
        self.parsed = fastavro.parse_schema(self.json)
        canonical = fastavro.schema.to_parsing_canonical_form(self.json)
        self.header = b"\xc3\x01" + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))

    def collect(self, s, namespace):
        if isinstance(s, list):
            for branch in s:
                self.collect(branch, namespace)
        elif isinstance(s, dict):
            if "name" in s:
                namespace = s.get("namespace", namespace)
                self.named[s["name"]] = self.named[f"{namespace}.{s['name']}"] = s
            for f in s.get("fields", []):
                self.collect(f["type"], namespace)
            for inner in (s.get("items"), s["type"]):
                if isinstance(inner, (dict, list)):
                    self.collect(inner, namespace)

    def walk(self, s, bounds):
        """The word of a type, its schema, its bounds: ("string", …, {"max_bytes": 32})."""
        while True:
            if isinstance(s, str) and s in self.named:
                s = self.named[s]
            elif isinstance(s, str):
                return s, {}, bounds
            elif isinstance(s["type"], (dict, list)):
                s = s["type"]
            else:
                return s["type"], s, {**bounds, **s}

    def normal(self, s, v, bounds=None):
        """A fastavro value in the form that codec_oracle prints: numbers by their bits."""
        if isinstance(s, list):
            return None if v is None else self.normal(next(b for b in s if b != "null"), v, bounds)
        word, s, bounds = self.walk(s, bounds or {})
        if word == "double":
            return f"0x{struct.unpack('<Q', struct.pack('<d', v))[0]:016x}"
        if word == "float":
            return f"0x{struct.unpack('<I', struct.pack('<f', v))[0]:08x}"
        if word in ("bytes", "fixed"):
            return bytes(v).hex()
        if word == "record":
            return {f["name"]: self.normal(f["type"], v[f["name"]], f) for f in s["fields"]}
        if word == "array":
            return [self.normal(s["items"], item, s) for item in v]
        return v

    def random(self, r, s=None, bounds=None):
        s = self.json if s is None else s
        if isinstance(s, list):
            present = r.random() < 0.75
            return self.random(r, next(b for b in s if b != "null"), bounds) if present else None
        word, s, bounds = self.walk(s, bounds or {})
        if word == "boolean":
            return r.random() < 0.5
        if word in ("int", "long"):
            bits = 31 if word == "int" else 63
            return r.choice([0, -1, 2**bits - 1, -(2**bits), r.getrandbits(r.randint(1, bits)), -r.getrandbits(bits)])
        if word == "double":
            return r.choice([0.0, -0.0, math.inf, -math.inf, math.nan, r.gauss(0, 1e6), r.random(), 5e-324])
        if word == "float":
            return struct.unpack("<f", struct.pack("<f", r.choice([0.0, -0.0, math.inf, r.gauss(0, 10)])))[0]
        if word == "string":
            text = "".join(r.choice('aZ09._-"\\ é漢\U0001f600\n') for _ in range(r.randint(0, bounds["max_bytes"])))
            return text.encode()[: bounds["max_bytes"]].decode(errors="ignore")
        if word == "bytes":
            most = min(bounds["max_bytes"], 9000)  # of a quarter of a megabyte: the test is to end
            return r.randbytes(r.choice([0, most, r.randint(0, most)]))
        if word == "fixed":
            return r.randbytes(s["size"])
        if word == "enum":
            return r.choice(s["symbols"])
        if word == "array":
            n = r.choice([0, 1, min(20, bounds["max_items"]), bounds["max_items"]])
            return [self.random(r, s["items"], s) for _ in range(n)]
        return {f["name"]: self.random(r, f["type"], f) for f in s["fields"]}

    def from_json(self, s, v, bounds=None):
        """A golden file's value for fastavro: bytes are hex in JSON."""
        if isinstance(s, list):
            return None if v is None else self.from_json(next(b for b in s if b != "null"), v, bounds)
        word, s, _ = self.walk(s, bounds or {})
        if word in ("bytes", "fixed"):
            return bytes.fromhex(v)
        if word == "record":
            assert v.keys() == {f["name"] for f in s["fields"]}, f"fields of {s['name']}: {sorted(v)}"
            return {f["name"]: self.from_json(f["type"], v[f["name"]], f) for f in s["fields"]}
        if word == "array":
            return [self.from_json(s["items"], item, s) for item in v]
        return v

    def message(self, value):
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self.parsed, value)
        return self.header + out.getvalue()


def schemas():
    paths = sorted((ROOT / "schemas").glob("*.avsc")) + [ROOT / "tests" / "support" / "schemas" / "everything.avsc"]
    return [Schema(path) for path in paths]


def oracle(*args, stdin=None):
    done = subprocess.run([ORACLE, *map(str, args)], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"codec_oracle {args}: {done.stderr.strip()}")
    return done.stdout.splitlines()


class Fastavro(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.file = pathlib.Path(made.name) / "x.avro"

    def test_fastavro_reads_our_files(self):
        """Seen to fail with a double's bytes swapped in codec_out_copy, and with put_bool writing 2."""
        for schema in schemas():
            for seed, codec in ((1, "null"), (2, "deflate")):
                ours = oracle("random", schema.name, seed, RECORDS, codec, self.file)
                with open(self.file, "rb") as f:
                    reader = fastavro.reader(f)
                    self.assertEqual(reader.codec, codec)
                    theirs = [schema.normal(schema.json, v) for v in reader]
                self.assertEqual(len(ours), RECORDS)
                self.assertEqual([json.loads(line) for line in ours], theirs, schema.name)

    def test_we_read_files_of_fastavro(self):
        for schema in schemas():
            for seed, codec in ((3, "null"), (4, "deflate")):
                r = random.Random(seed)
                values = [schema.random(r) for _ in range(RECORDS)]
                with open(self.file, "wb") as f:
                    fastavro.writer(f, schema.parsed, values, codec=codec, sync_interval=4000)
                ours = [json.loads(line) for line in oracle("dump", schema.name, self.file)]
                self.assertEqual(ours, [schema.normal(schema.json, v) for v in values], schema.name)

    def test_single_messages(self):
        """The frame's fingerprint is fastavro's; what we decode and encode again is the same bytes."""
        for schema in schemas():
            r = random.Random(5)
            values = [schema.random(r) for _ in range(RECORDS)]
            messages = [schema.message(v) for v in values]
            lines = oracle("messages", schema.name, stdin="".join(m.hex() + "\n" for m in messages))
            self.assertEqual([json.loads(line) for line in lines[::2]],
                             [schema.normal(schema.json, v) for v in values], schema.name)
            self.assertEqual(lines[1::2], [m.hex() for m in messages], schema.name)

    def test_golden(self):
        """Seen to fail with any byte of any .bin changed, and with a field of a schema renamed."""
        seen = set()
        for schema in schemas():
            for path in sorted(GOLDEN.glob(f"{schema.path.stem}.*.json")):
                value = schema.from_json(schema.json, json.loads(path.read_text()))
                want = path.with_suffix(".bin").read_bytes()
                self.assertEqual(schema.message(value).hex(), want.hex(), path.name)
                decoded, encoded = oracle("messages", schema.name, stdin=want.hex() + "\n")
                self.assertEqual(json.loads(decoded), schema.normal(schema.json, value), path.name)
                self.assertEqual(encoded, want.hex(), path.name)
                seen.add(schema.path.stem)
        self.assertEqual(seen, {p.stem for p in (ROOT / "schemas").glob("*.avsc")}, "a schema without golden bytes")
        self.assertEqual({p.stem for p in GOLDEN.glob("*.bin")}, {p.stem for p in GOLDEN.glob("*.json")})


def write_golden():
    for schema in schemas():
        for path in sorted(GOLDEN.glob(f"{schema.path.stem}.*.json")):
            target = path.with_suffix(".bin")
            if not target.exists():
                target.write_bytes(schema.message(schema.from_json(schema.json, json.loads(path.read_text()))))
                print(f"wrote {target.relative_to(ROOT)}")


if __name__ == "__main__":
    if "--write-golden" in sys.argv:
        write_golden()
    else:
        unittest.main()
