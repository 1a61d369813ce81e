"""l2ctl db, and l2pg.py up, down, status as ./run calls them.

Seen to fail: with status answering 0 while migrations are pending; with a new port taken at each start.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import l2kafka
import l2pg

L2CTL = pathlib.Path(os.environ["L2FLOW_BIN"]) / "l2ctl"
L2PG = pathlib.Path(l2pg.__file__)
SQL = pathlib.Path(__file__).resolve().parents[3] / "schemas" / "sql"
NEWEST = len(list(SQL.glob("*.sql")))


def l2ctl(*args):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "L2_PG"))}
    return subprocess.run([L2CTL, "db", *args], capture_output=True, text=True, env=environment, timeout=60, check=False)


class Db(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory(prefix="l2flow-db.")
        cls.addClassCleanup(scratch.cleanup)
        cls.dir = pathlib.Path(scratch.name)
        cls.pg = l2pg.Postgres(cls.dir / "pg")
        cls.addClassCleanup(cls.pg.remove)
        cls.pg.start()

    def setUp(self):
        self.db = self.id().split(".")[-1]
        self.pg.database(self.db)
        self.conf = self.dir / f"{self.db}.conf"
        # the cluster's rows stand beside the database's: one file serves all of l2ctl's commands
        self.conf.write_text(self.pg.settings_of(self.db) + "topic_prefix = eu.\nkafka.bootstrap.servers = 127.0.0.1:1\n")

    def run_l2ctl(self, *args, code=0):
        done = l2ctl(*args, "--config", self.conf)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertNotIn(self.pg.password, done.stdout + done.stderr)
        if code not in (0, 1):
            self.assertEqual(done.stdout, "")
            self.assertTrue(done.stderr.startswith("l2ctl"), done.stderr)
        return done.stdout if code in (0, 1) else done.stderr

    def test_from_nothing_to_the_newest(self):
        self.assertIn("0001  bars                  pending", self.run_l2ctl("status", code=1))
        self.assertIn("pending", self.run_l2ctl("migrate", "--dry-run", code=1))
        self.assertEqual(self.pg.psql("SELECT to_regnamespace('l2flow')", database=self.db), "")  # dry
        said = self.run_l2ctl("migrate", "--to", "1")
        self.assertIn("0001  bars                  run now", said)
        self.assertIn("0002  hypertables           later", said)
        state = json.loads(self.run_l2ctl("status", "-o", "json", code=1))
        self.assertEqual((state["version"], state["newest"], state["pending"]), (1, NEWEST, NEWEST - 1))
        self.assertEqual([m["applied"] for m in state["migrations"]], [True] + [False] * (NEWEST - 1))
        state = json.loads(self.run_l2ctl("migrate", "-o", "json"))
        self.assertEqual((state["from"], state["version"], state["pending"]), (1, NEWEST, 0))
        said = self.run_l2ctl("migrate")
        self.assertNotIn("run now", said)
        self.assertEqual(said.count("applied"), NEWEST)
        self.assertEqual(self.run_l2ctl("status"), said)

    def test_what_goes_wrong(self):
        for args in ((), ("up",), ("status", "--to", "1"), ("status", "--dry-run"), ("migrate", "--to", "0"),
                     ("migrate", "--to", str(NEWEST + 1)), ("migrate", "-o", "xml"), ("migrate", "extra")):
            self.run_l2ctl(*args, code=64)
        self.run_l2ctl("migrate")
        self.pg.psql("UPDATE l2flow.schema_migrations SET hash = 'feed'", database=self.db)
        self.assertIn("changed after it ran", self.run_l2ctl("status", code=78))
        self.conf.write_text(self.conf.read_text().replace("pg_sslmode = disable\n", ""))
        self.assertIn("SSL was required", self.run_l2ctl("status", code=69))  # verify-full is the default
        with socket.socket() as taken:  # bound and not listening
            taken.bind(("127.0.0.1", 0))
            self.conf.write_text(f"pg_host = 127.0.0.1\npg_port = {taken.getsockname()[1]}\n")
            self.assertEqual(len(self.run_l2ctl("status", code=69).splitlines()), 1)
        self.conf.write_text("pg_prot = 1\n")
        self.assertIn("pg_port", self.run_l2ctl("status", code=78))


class UpDown(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="l2flow-up.")
        self.addCleanup(scratch.cleanup)
        self.dir = pathlib.Path(scratch.name) / "postgres"
        self.addCleanup(self.remove)

    def remove(self):
        if l2pg.is_made(self.dir):
            l2pg.Postgres(self.dir, keep=True).remove()

    def l2pg(self, *args, code=0):
        done = subprocess.run([sys.executable, L2PG, "--l2ctl", L2CTL, *args, self.dir], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=120, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout.strip() or done.stderr.strip()

    def test_up_down_up(self):
        self.assertIn("never started", self.l2pg("status"))
        self.l2pg("down")
        self.assertFalse(self.dir.exists() and any(self.dir.iterdir()))  # looking makes nothing
        port = l2kafka.free_port()
        address = self.l2pg("--port", str(port), "up")
        self.assertEqual(address, f"127.0.0.1:{port}")
        self.assertIn("ready on " + address, self.l2pg("status"))
        self.assertEqual(l2ctl("status", "--config", self.dir / "reader.conf").returncode, 0)
        pg = l2pg.Postgres(self.dir, port=port, keep=True)
        self.assertEqual(pg.psql("SELECT has_table_privilege('archiver', 'l2flow.ohlcv', 'INSERT')", database="l2flow"), "t")
        self.assertEqual(pg.psql("SHOW fsync"), "on")
        for name in ("archiver.conf", "archiver.password", "superuser.password", "admin.conf"):
            self.assertEqual((self.dir / name).stat().st_mode & 0o777, 0o600, name)
        done = pg.psql("SELECT 1", user="archiver", password="wrong", database="l2flow", check=False)
        self.assertIn("password authentication failed", done.stderr)
        self.assertEqual(self.l2pg("up"), address)  # again: as it was
        self.l2pg("down")
        self.assertIn("not running", self.l2pg("status", code=3))
        self.assertEqual(self.l2pg("up"), address)  # the same port, the same data
        pg = l2pg.Postgres(self.dir, port=port, keep=True)
        self.assertEqual(pg.psql("SELECT count(*) FROM l2flow.schema_migrations", database="l2flow"), str(NEWEST))
        pg.kill()
        self.assertEqual(self.l2pg("up"), address)  # after a crash
        self.l2pg("down")

    def test_it_ends_with_the_process_that_started_it(self):
        script = (f"import l2pg, sys\npg = l2pg.Postgres({str(self.dir)!r}).start()\n"
                  "print(pg.pid, pg.root, flush=True)\nsys.stdin.read()")
        with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            pid, root = child.stdout.readline().split()
            child.kill()
        deadline = time.monotonic() + 20
        while os.path.exists(f"/proc/{pid}"):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        if os.geteuid() == 0:  # its data is not in self.dir: the next test's server removes it
            l2pg.Postgres(self.dir / "next").remove()
            self.assertFalse(os.path.exists(root))

    def test_a_taken_port(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            self.assertIn("L2FLOW_PG_PORT", self.l2pg("--port", str(taken.getsockname()[1]), "up", code=69))


if __name__ == "__main__":
    unittest.main(verbosity=2)
