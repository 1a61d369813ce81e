#!/usr/bin/env python3
"""Our codec against Java's Avro: golden bytes, random messages and files, decoded field by field and encoded again to the same.

Java checks the frame's fingerprint by its own canonical form and CRC. Needs a JDK (`java File.java`) and .deps/kafka/lib.
Seen to fail with true and false swapped in both the encoder and the decoder, which no round trip of ours can see.
"""
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "support")]

import l2kafka  # noqa: E402
import test_codec_fastavro as codec  # noqa: E402

MESSAGES = 100  # random ones of each record


def java(commands):
    done = subprocess.run([l2kafka._java(), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m", "-cp", l2kafka.jars(),
                           str(HERE / "AvroOracle.java")], input="".join("\t".join(map(str, c)) + "\n" for c in commands),
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"AvroOracle.java: {done.stderr.strip()[-2000:]}")
    return done.stdout.splitlines()


class Java(unittest.TestCase):
    maxDiff = 4000

    def test_messages(self):
        """What the C encoder made, golden and random."""
        cases, wanted = [], []
        for schema in codec.schemas():
            golden = [p.read_bytes().hex() for p in sorted(codec.GOLDEN.glob(f"{schema.path.stem}.*.bin"))]
            r = random.Random(6)
            theirs = [schema.message(schema.random(r)).hex() for _ in range(MESSAGES)]
            lines = codec.oracle("messages", schema.name, stdin="".join(m + "\n" for m in golden + theirs))
            self.assertTrue(golden or schema.name == "Everything", schema.name)
            for value, message in zip(lines[::2], lines[1::2]):
                cases.append((schema, message))
                wanted.append(json.loads(value))
        lines = java([("message", schema.path, message) for schema, message in cases])
        self.assertEqual(len(lines), 2 * len(cases))
        for (schema, message), want, got, again in zip(cases, wanted, lines[::2], lines[1::2]):
            self.assertEqual(json.loads(got), want, schema.name)
            self.assertEqual(again, message, schema.name)

    def test_files(self):
        """Java reads our container files, and we read what Java writes."""
        with tempfile.TemporaryDirectory() as name:
            folder, commands, wanted = pathlib.Path(name), [], []
            for schema in codec.schemas():
                for seed, how in ((7, "null"), (8, "deflate")):
                    ours, theirs = folder / f"{schema.name}{seed}.avro", folder / f"{schema.name}{seed}.java.avro"
                    wanted += codec.oracle("random", schema.name, seed, MESSAGES, how, ours)
                    commands.append(("file", schema.path, ours, theirs))
            got = java(commands)
            self.assertEqual(len(got), len(wanted))
            for line, want in zip(got, wanted):
                self.assertEqual(json.loads(line), json.loads(want))
            back = [line for _, path, _, theirs in commands
                    for line in codec.oracle("dump", next(s.name for s in codec.schemas() if s.path == path), theirs)]
            self.assertEqual(back, wanted)


if __name__ == "__main__":
    unittest.main()
