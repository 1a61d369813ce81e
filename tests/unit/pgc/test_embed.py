"""common/pgc/embed.py: what becomes of schemas/sql, byte for byte, and what it refuses.

Seen to fail: with octal escapes of fewer than three digits (a digit follows), with '?' left as it is (trigraphs), with
numbers not compared.
"""

import ctypes
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
EMBED = ROOT / "common" / "pgc" / "embed.py"


class Row(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint), ("name", ctypes.c_char_p), ("sql", ctypes.c_char_p), ("hash", ctypes.c_uint64)]


class Embed(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.dir = pathlib.Path(scratch.name)

    def embed(self, files, code=0):
        paths = []
        for name, text in files.items():
            (self.dir / name).write_text(text, encoding="utf-8", newline="")
            paths.append(self.dir / name)
        done = subprocess.run([sys.executable, EMBED, self.dir / "out.c", *paths], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def test_texts_arrive_byte_for_byte(self):
        texts = ["SELECT 1;\n", "-- é ??/ \\ \"q\" \t\x010 \x7f7\n\n  '$$'" + "x" * 300 + "é" * 100 + "\nno end of line"]
        self.embed({"0002_b.sql": texts[1], "0001_a_1.sql": texts[0]})
        library = self.dir / "out.so"
        subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-Wall", "-Werror", "-shared", "-fPIC", f"-I{ROOT}/common",
                        "-o", library, self.dir / "out.c"], check=True)
        loaded = ctypes.CDLL(str(library))
        self.assertEqual(ctypes.c_uint.in_dll(loaded, "pgc_migrations_n").value, 2)
        rows = (Row * 2).in_dll(loaded, "pgc_migrations")
        for i, (row, name) in enumerate(zip(rows, ("a_1", "b"))):
            self.assertEqual((row.version, row.name.decode(), row.sql), (i + 1, name, texts[i].encode()))
            self.assertEqual(row.hash, int.from_bytes(hashlib.sha256(texts[i].encode()).digest()[:8], "big"))

    def test_what_is_refused(self):
        for files, why in [({}, "no migration"), ({"0002_a.sql": "x"}, "0001 is expected"),
                           ({"0001_a.sql": "x", "0003_b.sql": "x"}, "0002 is expected"),
                           ({"0001_a.sql": "x", "0001_b.sql": "x"}, "0002 is expected"),
                           ({"1_a.sql": "x"}, "NNNN_name"), ({"0001_A.sql": "x"}, "NNNN_name"),
                           ({"0001_a.sql": " \n"}, "empty"), ({"0001_a.sql": "a\0b"}, "NUL")]:
            self.assertIn(why, self.embed(files, code=1))


if __name__ == "__main__":
    unittest.main()
