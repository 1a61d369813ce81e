"""common/pgc and schemas/sql on a real PostgreSQL: values, classes, bounds, migrations, rights, TLS.

pgc_probe calls pgc as it is told, line by line; the server is stopped, killed and frozen around it.

Seen to fail, each with its planted fault. Connection: 9 s more than the deadline; no statement_timeout; no
idle_in_transaction_session_timeout; a connection that ended with a SQLSTATE not taken for broken; target_session_attrs=any;
the encoding not looked at; sslmode=require; errors without SQLSTATE; 53 not for trying again; class 22's quotes left in.
Statements: parameters dropped; a ROLLBACK that answers COMMIT taken for one; an open COPY left open by a rollback. COPY: bytes
of int8 turned round; the epoch 1 µs off; a time before the first let through; a full buffer dropped. Migrations: no advisory
lock; no transaction; hash, gap, newer not looked at; SET for SET LOCAL; a role made by another database at that moment. Rights:
DELETE for the archiver; TEMPORARY for the reader; SELECT for PUBLIC; no trigger; a column left out, one NOT NULL; plain tables
where TimescaleDB is; UPDATE for the archiver; the reader a member of the archiver; and by the list of rights alone: TRUNCATE for the
reader, DELETE of migrations or TRIGGER for the archiver, WITH GRANT OPTION; of a text one statement fewer
than its bound.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest

import l2pg

PROBE = pathlib.Path(os.environ["L2FLOW_BIN"]) / "pgc_probe"
SQL = pathlib.Path(__file__).resolve().parents[3] / "schemas" / "sql"
NEWEST = len(list(SQL.glob("*.sql")))
STATEMENT_MS = 1500  # the server's bound; twice that is the socket's
SLACK_MS = 1500  # of a machine that is busy with other things


class Answer:
    def __init__(self, line):
        self.line = line.rstrip("\n")
        self.cls, ms, self.sqlstate, state, self.text = (self.line.split(" ", 4) + [""])[:5]
        self.ms, self.broken = int(ms), state == "broken"


class Probe:
    def __init__(self, case, conf, statement_ms=STATEMENT_MS):
        self.child = subprocess.Popen([str(PROBE), str(conf), str(statement_ms)], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True, bufsize=1,
                                      env={k: v for k, v in os.environ.items() if not k.startswith("PG")})
        self.case = case
        case.addCleanup(self.end)

    def send(self, command):
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()

    def receive(self):
        line = self.child.stdout.readline()
        self.case.assertTrue(line, f"pgc_probe ended with {self.child.poll()}")
        return Answer(line)

    def __call__(self, command):
        self.send(command)
        return self.receive()

    def ok(self, command):
        answer = self(command)
        self.case.assertEqual(answer.cls, "ok", f"{command}: {answer.line}")
        return answer.text

    def end(self):
        self.child.stdin.close()
        self.child.stdout.close()
        try:
            code = self.child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            code = self.child.wait()
        self.case.assertEqual(code, 0)


class Case(unittest.TestCase):
    TLS = False

    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory(prefix="l2flow-pgc.")
        cls.addClassCleanup(scratch.cleanup)
        cls.dir = pathlib.Path(scratch.name)
        cls.pg = l2pg.Postgres(cls.dir / "pg", tls=cls.TLS, timescale=cls.timescale())
        cls.addClassCleanup(cls.pg.remove)
        cls.pg.start()

    @classmethod
    def timescale(cls):
        return None

    def setUp(self):
        self.db = re.sub(r"\W", "_", self.id().split(".")[-1])[:40]
        self.pg.database(self.db)

    def conf(self, user=None, **changes):
        path = self.dir / f"{self.db}.{user or 'super'}.{len(list(self.dir.iterdir()))}.conf"
        rows = dict(line.split(" = ", 1) for line in self.pg.settings_of(self.db, user).splitlines())
        rows.update(changes)
        path.write_text("".join(f"{k} = {v}\n" for k, v in rows.items()))
        return path

    def probe(self, user=None, statement_ms=STATEMENT_MS, **changes):
        probe = Probe(self, self.conf(user, **changes), statement_ms)
        probe.ok("open")
        return probe

    def psql(self, sql, **options):
        return self.pg.psql(sql, database=self.db, **options)

    def refused(self, answer, cls, sqlstate=None, broken=False):
        self.assertEqual((answer.cls, answer.broken), (cls, broken), answer.line)
        if sqlstate is not None:
            self.assertEqual(answer.sqlstate, sqlstate, answer.line)
        self.assertNotIn(self.pg.password, answer.text)
        return answer.text


class Values(Case):
    def test_settings_of_the_connection(self):
        probe = self.probe()
        self.assertEqual(probe.ok("query SELECT current_setting('TimeZone'), current_setting('client_encoding'),"
                                  " current_setting('statement_timeout'), current_setting('search_path'),"
                                  " current_setting('application_name'),"
                                  " current_setting('idle_in_transaction_session_timeout'), NULL, ''"),
                         "UTC|UTF8|1500ms|l2flow, public|pgc_probe|3s|NULL|;")

    def test_as_many_statements_as_are_read_of_one_text(self):
        probe = self.probe(statement_ms=10000)
        for n in (4095, 4096):
            self.assertEqual(probe.ok(f"statements {n}"), "1;")
        self.assertIn("more results than are read", self.refused(probe("statements 4097"), "retry", broken=True))
        probe.ok("open")
        self.assertEqual(probe.ok("query SELECT 1"), "1;")

    def test_every_type_of_copy(self):
        self.psql("CREATE TABLE t (i4 int, i8 bigint, f8 double precision, b boolean, t text, y bytea, at timestamptz)")
        probe = self.probe()
        self.assertEqual(probe.ok("types"), "8")
        self.assertEqual(self.psql("SET timezone = 'UTC'; SELECT i4, i8, f8, b, t, y, at FROM t").splitlines(), [
            r"-2147483648|-9223372036854775808|NaN|t||\x0001ff005c0a|1970-01-01 00:00:00+00",
            "2147483647|9223372036854775807|Infinity|f|tab\there \\N \"quoted\" é|\\x0001ff005c0a"
            "|2024-08-08 23:54:16.123456+00",
            r"0|-1|-Infinity|t|x|\x0001ff005c0a|1969-12-31 23:59:59.999999+00",
            r"-1|0|-0|f|y|\x0001ff005c0a|2000-01-01 00:00:00+00",
            r"1|1|1.7976931348623157e+308|f|z|\x0001ff005c0a|294247-01-10 04:00:54.775807+00",
            r"2|2|5e-324|f|z|\x0001ff005c0a|4714-11-24 00:00:00+00 BC",
            r"3|3|0.1|f|z|\x0001ff005c0a|2100-01-01 00:00:00.000001+00",
            "||||||"])

    def test_times_before_the_first_are_refused_and_nothing_stays(self):
        self.psql("CREATE TABLE times (at timestamptz)")
        probe = self.probe()
        for us in (-210866803200000001, -2**63):
            self.refused(probe(f"bad-time {us}"), "reject")
        self.assertEqual(self.psql("SELECT count(*) FROM times"), "0")
        self.assertEqual(probe.ok("query SELECT 1"), "1;")  # the connection goes on

    def test_a_copy_larger_than_all_buffers(self):
        self.psql("CREATE TABLE big (n bigint, t text)")
        probe = self.probe(statement_ms=20000)
        self.assertEqual(probe.ok("big 200 200000"), "200")
        self.assertEqual(self.psql("SELECT count(*), sum(length(t)), sum(n) FROM big"), "200|40000000|19900")

    def test_an_error_in_a_copy_ends_it_without_quoting_the_row(self):
        self.psql("CREATE TABLE big (n bigint PRIMARY KEY, t text CHECK (length(t) < 10))")
        probe = self.probe()
        text = self.refused(probe("big 3000 20000"), "reject", "23514")
        self.assertNotIn("aaaa", text)
        self.assertEqual(probe.ok("query SELECT count(*) FROM big"), "0;")
        self.assertNotIn("zzz", self.refused(probe("params zzz NULL SELECT $1::int, $2"), "reject", "22P02"))
        self.psql("INSERT INTO big VALUES (777, 'x')")
        self.assertNotIn("777", self.refused(probe("params 777 x INSERT INTO big VALUES ($1::bigint, $2)"), "reject", "23505"))

    def test_parameters_are_never_sql(self):
        self.psql("CREATE TABLE p (a text, b text)")
        probe = self.probe()
        self.assertEqual(probe.ok("params ');DROP/**/TABLE/**/p;-- NULL INSERT INTO p VALUES ($1, $2)"), "1")
        self.assertEqual(self.psql("SELECT a, b IS NULL FROM p"), "');DROP/**/TABLE/**/p;--|t")

    def test_transactions(self):
        self.psql("CREATE TABLE big (n bigint PRIMARY KEY, t text); CREATE TABLE times (at timestamptz)")
        probe = self.probe()
        probe.ok("begin")
        probe.ok("big 5 1")
        self.assertEqual(self.psql("SELECT count(*) FROM big"), "0")
        probe.ok("rollback")
        probe.ok("begin")
        probe.ok("big 5 1")
        probe.ok("commit")
        self.assertEqual(self.psql("SELECT count(*) FROM big"), "5")
        probe.ok("begin")  # a commit of what has failed is no success
        self.refused(probe("big 5 1"), "reject", "23505")
        self.refused(probe("commit"), "fatal")
        probe.ok("begin")  # a rollback in the middle of a COPY
        probe.ok("unended")
        self.assertEqual(probe.ok("query SELECT count(*) FROM times"), "0;")
        probe.ok("begin")  # closed: rolled back
        probe.ok("big 0 1")
        probe.ok("query DELETE FROM big")
        probe.ok("close")
        self.assertEqual(self.psql("SELECT count(*) FROM big"), "5")


class Failures(Case):
    def test_classes(self):
        self.psql("CREATE TABLE k (a int PRIMARY KEY)")
        probe = self.probe()
        for sql, cls, state in [
            ("SELECT 1/0", "reject", "22012"),
            ("INSERT INTO k VALUES (1), (1)", "reject", "23505"),
            ("SELEC", "reject", "42601"),
            ("SELECT * FROM nowhere", "reject", "42P01"),
            ("SELECT pg_sleep(20)", "retry", "57014"),
            ("SET transaction_read_only = on; INSERT INTO k VALUES (2)", "retry", "25006"),
        ]:
            self.refused(probe(f"query {sql}"), cls, state)
        for state, cls in [("40001", "retry"), ("40P01", "retry"), ("53100", "retry"), ("53200", "retry"),
                           ("55P03", "retry"), ("55006", "fatal"), ("58030", "retry"), ("XX000", "fatal"),
                           ("0A000", "fatal"), ("P0001", "fatal"), ("08006", "retry"), ("28000", "reject"),
                           ("3D000", "reject"), ("57P05", "retry")]:
            self.refused(probe(f"query DO $$ BEGIN RAISE 'x' USING ERRCODE = '{state}'; END $$"), cls, state)

    def test_a_lock_is_waited_for_and_then_given_up(self):
        self.psql("CREATE TABLE k (a int)")
        one, two = self.probe(statement_ms=60000), self.probe()
        one.ok("begin")
        one.ok("query LOCK TABLE k")
        answer = two("query SELECT * FROM k")
        self.refused(answer, "retry", "57014")
        self.assertLess(answer.ms, STATEMENT_MS + SLACK_MS)

    def test_who_may_not_come_in(self):
        self.pg.login(f"{self.db}_user")
        self.pg.psql(f'GRANT CONNECT ON DATABASE "{self.db}" TO "{self.db}_user"')
        wrong = self.dir / "wrong.password"
        wrong.write_text("not-the-password-98765\n")
        wrong.chmod(0o600)
        for changes, cls, state in [({"pg_password_file": wrong}, "reject", "28P01"),
                                    ({"pg_database": "nowhere"}, "reject", "3D000"),
                                    ({"pg_port": 1}, "retry", None)]:
            answer = Probe(self, self.conf(f"{self.db}_user", **changes))("open")
            text = self.refused(answer, cls)
            self.assertIn(f"{self.db}_user@127.0.0.1", text)
            self.assertNotIn("98765", text)
            if state is not None:
                self.assertIn(state, text)

    def test_another_encoding_is_refused(self):
        self.pg.psql(f"CREATE DATABASE {self.db}_l1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        self.assertIn("UTF8", self.refused(Probe(self, self.conf(pg_database=f"{self.db}_l1"))("open"), "reject"))

    def test_a_standby_is_no_place_to_write(self):
        self.pg.psql(f"ALTER DATABASE {self.db} SET default_transaction_read_only = on")
        self.refused(Probe(self, self.conf())("open"), "retry")

    def test_server_restarted(self):
        probe = self.probe()
        self.pg.stop()
        self.refused(probe("query SELECT 1"), "retry", broken=True)
        self.refused(probe("query SELECT 1"), "retry", broken=True)  # stays so, at once
        probe.ok("rollback")
        self.refused(probe("open"), "retry")
        self.pg.start()
        probe.ok("open")
        self.assertEqual(probe.ok("query SELECT 1"), "1;")

    def test_server_killed_between_a_write_and_its_commit(self):
        self.psql("CREATE TABLE big (n bigint, t text)")
        probe = self.probe()
        probe.ok("begin")
        probe.ok("big 5 1")
        self.pg.kill()
        self.refused(probe("commit"), "retry", broken=True)
        self.pg.start()
        probe.ok("open")
        self.assertEqual(probe.ok("query SELECT count(*) FROM big"), "0;")

    def test_a_backend_ended_by_an_operator(self):
        probe = self.probe()
        pid = probe.ok("query SELECT pg_backend_pid()").rstrip(";")
        self.psql(f"SELECT pg_terminate_backend({pid}, 5000)")
        self.refused(probe("query SELECT 1"), "retry", broken=True)

    def test_frozen_server_holds_no_call_beyond_its_bound(self):
        self.psql("CREATE TABLE big (n bigint, t text)")
        bound_ms = 2 * STATEMENT_MS + SLACK_MS
        for command in ("query SELECT 1", "commit", "big 200 200000"):
            probe = self.probe()
            probe.ok("begin")
            self.pg.freeze()
            try:
                answer = probe(command)
                self.refused(answer, "retry", broken=True)
                self.assertLess(answer.ms, bound_ms, command)
                self.assertGreaterEqual(answer.ms, 2 * STATEMENT_MS - 50, command)
                closed = probe("close")
                self.assertLess(closed.ms, 500)
                answer = probe("open")  # connect_timeout_s is 2
                self.refused(answer, "retry")
                self.assertLess(answer.ms, 2000 + SLACK_MS)
            finally:
                self.pg.thaw()

    def test_frozen_in_the_middle_of_a_copy(self):
        self.psql("CREATE TABLE big (n bigint, t text)")
        probe = self.probe()
        probe.send("big 1000000 100000")  # 100 GB: it will not be done before
        time.sleep(0.3)
        self.pg.freeze()
        try:
            answer = probe.receive()
            self.refused(answer, "retry", broken=True)
            self.assertLess(answer.ms, 300 + 2 * STATEMENT_MS + SLACK_MS)
        finally:
            self.pg.thaw()

    def test_a_client_that_hangs_in_a_transaction_holds_its_locks_for_a_bounded_time(self):
        self.psql("CREATE TABLE k (a int)")
        probe = self.probe(statement_ms=300)
        probe.ok("begin")
        probe.ok("query LOCK TABLE k")
        self.psql("SET lock_timeout = '10s'; SELECT * FROM k")  # 0.6 s later
        self.refused(probe("query SELECT 1"), "retry", "25P03", broken=True)

    def test_disk_full(self):
        if os.geteuid() != 0:
            self.skipTest("a file system of its own needs root")
        place = pathlib.Path(tempfile.mkdtemp(prefix="l2flow-small.", dir="/var/tmp"))
        self.addCleanup(place.rmdir)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=777", "tmpfs", str(place)], check=False,
                          capture_output=True).returncode != 0:
            self.skipTest("no right to mount")
        self.addCleanup(subprocess.run, ["umount", str(place)], check=True)
        self.addCleanup(lambda: self.pg.psql(f"DROP DATABASE {self.db} WITH (FORCE)\n;DROP TABLESPACE small"))
        space = place / "space"
        space.mkdir()
        self.pg._give(space)
        self.pg.psql(f"CREATE TABLESPACE small LOCATION '{space}'")
        self.psql("CREATE TABLE big (n bigint, t text) TABLESPACE small; ALTER TABLE big ALTER t SET STORAGE PLAIN")
        probe = self.probe(statement_ms=20000)
        self.refused(probe("big 20000 2000"), "retry", "53100")
        self.assertEqual(probe.ok("query SELECT count(*) FROM big"), "0;")


class Migrations(Case):
    def test_up_and_again(self):
        probe = self.probe()
        self.assertEqual(probe.ok("version"), "0")
        self.refused(probe("require 1"), "reject")
        self.assertEqual(probe.ok("migrate 1"), "0 1")
        self.assertEqual(probe.ok("migrate 1"), "1 1")
        self.assertEqual(probe.ok("migrate 0"), f"1 {NEWEST}")
        self.assertEqual(probe.ok("migrate 0"), f"{NEWEST} {NEWEST}")
        self.assertEqual(probe.ok("version"), str(NEWEST))
        probe.ok(f"require {NEWEST}")
        self.refused(probe(f"migrate {NEWEST + 1}"), "reject")
        self.assertEqual(probe.ok("query SELECT current_setting('statement_timeout'), current_setting('lock_timeout')"),
                         "1500ms|0;")

    def test_several_at_once_do_it_once(self):
        probes = [self.probe(statement_ms=30000) for _ in range(4)]
        for probe in probes:
            probe.send("migrate 0")
        answers = [probe.receive() for probe in probes]
        self.assertEqual({answer.cls for answer in answers}, {"ok"}, [a.line for a in answers])
        self.assertTrue(all(answer.text.endswith(f" {NEWEST}") for answer in answers))
        self.assertEqual(self.psql("SELECT count(*) FROM l2flow.schema_migrations"), str(NEWEST))

    def test_two_databases_of_one_cluster_at_once(self):
        self.pg.database(self.db + "_2")
        one, two = self.probe(statement_ms=30000), self.probe(statement_ms=30000, pg_database=self.db + "_2")
        one.send("migrate 0")
        two.send("migrate 0")
        self.assertEqual([p.receive().cls for p in (one, two)], ["ok", "ok"])

    def test_a_history_that_is_not_ours(self):
        probe = self.probe()
        probe.ok("migrate 0")
        self.psql("UPDATE l2flow.schema_migrations SET hash = 'feedfeedfeedfeed' WHERE version = 1")
        for command in ("version", "migrate 0", "require 1"):
            self.assertIn("changed after it ran", self.refused(probe(command), "reject"))
        self.psql("DELETE FROM l2flow.schema_migrations WHERE version = 1")
        for command in ("version", "migrate 0", "require 1"):
            self.assertIn("skips", self.refused(probe(command), "reject"))

    def test_a_newer_programs_schema(self):
        probe = self.probe()
        probe.ok("migrate 0")
        self.psql(f"INSERT INTO l2flow.schema_migrations VALUES ({NEWEST + 1}, 'later', 'feedfeedfeedfeed')")
        for command in ("version", "migrate 0"):
            self.assertIn("newer program", self.refused(probe(command), "reject"))
        probe.ok(f"require {NEWEST}")  # a service of before the update goes on

    def test_one_that_fails_leaves_nothing(self):
        self.psql("CREATE SCHEMA l2flow; CREATE TABLE l2flow.ohlcv (in_the_way int)")
        probe = self.probe()
        self.assertIn("0001_bars", self.refused(probe("migrate 0"), "reject", "42P07"))
        self.assertEqual(self.psql("SELECT to_regclass('l2flow.l2_snapshots'), to_regclass('l2flow.schema_migrations')"), "|")
        self.psql("DROP TABLE l2flow.ohlcv")
        probe.ok("migrate 0")

    def test_an_owner_without_superuser(self):
        self.pg.login(f"{self.db}_admin")
        self.pg.psql(f"ALTER ROLE {self.db}_admin CREATEROLE; ALTER DATABASE {self.db} OWNER TO {self.db}_admin")
        if self.pg.psql("SELECT count(*) FROM pg_roles WHERE rolname = 'l2flow_owner'") != "0":
            self.pg.psql(f"GRANT l2flow_owner TO {self.db}_admin")
        self.assertEqual(self.probe(f"{self.db}_admin").ok("migrate 0"), f"0 {NEWEST}")


BAR = ("'binance', 'BTCUSDT', 900, '2024-08-09', 'l2-v1'", "exchange, symbol, bar_seconds, bar_time, schema_version")
BAR_REST = ("snapshots, gaps, coverage, spread_sketch, closed_by, source_partition, source_offset, resume_epoch,"
            " resume_sequence, resume_last_event_time, resume_last_kafka_time",
            "1, 0, 1, '\\x00', 'event', 0, 1, 1, 1, now(), now()")
INSERT_BAR = f"INSERT INTO l2flow.l2_snapshots ({BAR[1]}, {BAR_REST[0]}) VALUES ({BAR[0]}, {BAR_REST[1]})"
INSERT_CANDLE = ("INSERT INTO l2flow.ohlcv (exchange, symbol, bar_seconds, bar_time, open, high, low, close, base_volume)"
                 " VALUES ('binance', 'BTCUSDT', 900, '2024-08-09', 1, 1, 1, 1, 1)")


class Rights(Case):
    TABLES = ("l2_snapshots", "ohlcv")

    def setUp(self):
        super().setUp()
        self.probe(statement_ms=30000).ok("migrate 0")
        for role in ("owner", "archiver", "reader"):
            self.pg.login(f"{self.db}_{role}", f"l2flow_{role}")
        self.pg.login(f"{self.db}_stranger")

    def denied(self, probe, sql, state="42501"):
        self.refused(probe(f"query {sql}"), "reject", state)

    def test_archiver(self):
        arc = self.probe(f"{self.db}_archiver")
        arc.ok(f"query {INSERT_BAR}")
        arc.ok(f"query {INSERT_CANDLE}")
        arc.ok(f"query {INSERT_BAR} ON CONFLICT DO NOTHING")
        arc.ok("query CREATE TEMP TABLE staged (LIKE l2flow.l2_snapshots)")
        arc.ok(f"require {NEWEST}")
        for table in self.TABLES:
            arc.ok(f"query SELECT count(*) FROM {table}")
            for sql in (f"UPDATE {table} SET symbol = 'x'", f"DELETE FROM {table}", f"TRUNCATE {table}",
                        f"DROP TABLE {table}", f"ALTER TABLE {table} ADD x int"):
                self.denied(arc, sql)
        self.denied(arc, "CREATE TABLE l2flow.x (a int)")
        self.denied(arc, "CREATE TABLE public.x (a int)")
        self.denied(arc, "INSERT INTO l2flow.schema_migrations VALUES (99, 'x', 'x')")
        self.denied(arc, "CREATE SCHEMA x")
        self.denied(arc, "CREATE ROLE x")
        self.denied(arc, "SET ROLE l2flow_owner")
        self.denied(arc, "COPY l2flow.ohlcv TO PROGRAM 'true'")

    def test_reader(self):
        reader = self.probe(f"{self.db}_reader")
        for table in self.TABLES:
            reader.ok(f"query SELECT count(*) FROM {table}")
            self.denied(reader, f"DELETE FROM {table}")
        self.denied(reader, INSERT_BAR)
        self.denied(reader, INSERT_CANDLE)
        self.denied(reader, "CREATE TEMP TABLE x (a int)")
        self.denied(reader, "CREATE TABLE l2flow.x (a int)")
        self.denied(reader, "SET ROLE l2flow_archiver")

    def test_stranger(self):
        self.refused(Probe(self, self.conf(f"{self.db}_stranger"))("open"), "reject")
        self.pg.psql(f"GRANT CONNECT ON DATABASE {self.db} TO {self.db}_stranger")
        stranger = self.probe(f"{self.db}_stranger")
        self.denied(stranger, "SELECT * FROM l2flow.l2_snapshots")
        self.denied(stranger, "SELECT * FROM l2flow.schema_migrations")
        self.refused(stranger("version"), "reject", "42501")

    def test_every_right_is_named(self):
        """What the catalogue holds is this list, so that a grant too many is seen, whatever it allows."""
        def rights(acl, name, source, where):
            return self.psql(f"SELECT {name}, a.grantee::regrole, string_agg(a.privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END,"
                             f" ' ' ORDER BY a.privilege_type) FROM {source}, aclexplode({acl}) a WHERE a.grantee NOT IN"
                             f" ('l2flow_owner'::regrole, current_user::regrole) AND {where} GROUP BY 1, a.grantee"
                             f" ORDER BY 1, a.grantee::regrole::text").splitlines()
        of_ours = "relnamespace = 'l2flow'::regnamespace"
        self.assertEqual(rights("relacl", "relname", "pg_class", of_ours), [
            "l2_snapshots|l2flow_archiver|INSERT SELECT", "l2_snapshots|l2flow_reader|SELECT",
            "ohlcv|l2flow_archiver|INSERT SELECT", "ohlcv|l2flow_reader|SELECT",
            "schema_migrations|l2flow_archiver|SELECT", "schema_migrations|l2flow_reader|SELECT"])
        self.assertEqual(rights("attacl", "attname", "pg_attribute JOIN pg_class c ON c.oid = attrelid", of_ours), [])
        self.assertEqual(rights("nspacl", "nspname", "pg_namespace", "nspname = 'l2flow'"),
                         ["l2flow|l2flow_archiver|USAGE", "l2flow|l2flow_reader|USAGE"])
        self.assertEqual(rights("coalesce(proacl, acldefault('f', proowner))", "proname", "pg_proc",
                                "pronamespace = 'l2flow'::regnamespace"), [])
        self.assertEqual(rights("datacl", "'database'", "pg_database", "datname = current_database()"),
                         ["database|l2flow_archiver|CONNECT TEMPORARY", "database|l2flow_reader|CONNECT"])
        self.assertEqual(rights("defaclacl", "'later'", "pg_default_acl", "true"), [])
        self.assertEqual(self.psql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'l2flow\\_%' AND (rolsuper OR rolcreaterole OR rolcreatedb"
                                   " OR rolcanlogin OR rolreplication OR rolbypassrls)"), "")
        self.assertEqual(self.psql("SELECT member::regrole, roleid::regrole FROM pg_auth_members WHERE member::regrole::text LIKE"
                                   " 'l2flow\\_%'"), "")

    def test_nobody_changes_a_value(self):
        self.psql(INSERT_BAR + ";" + INSERT_CANDLE)
        for user in (None, f"{self.db}_owner"):
            probe = self.probe(user)
            for table in self.TABLES:
                self.denied(probe, f"UPDATE {table} SET symbol = 'x'", "23001")
        self.assertEqual(self.psql("SELECT (SELECT symbol FROM l2flow.l2_snapshots), (SELECT symbol FROM l2flow.ohlcv)"),
                         "BTCUSDT|BTCUSDT")

    def test_columns_are_those_of_the_schemas(self):
        for table, file in (("l2_snapshots", "l2_bar"), ("ohlcv", "candle")):
            want = set()
            for field in json.loads((SQL.parent / f"{file}.avsc").read_text())["fields"]:
                inner = field["type"].get("fields") if isinstance(field["type"], dict) else None
                nullable = isinstance(field["type"], list)
                want |= {(f"{field['name']}_{f['name']}", False) for f in inner} if inner else {(field["name"], nullable)}
            have = {tuple(line.split("|")) for line in self.psql(
                f"SELECT column_name, is_nullable FROM information_schema.columns WHERE table_name = '{table}'"
                " AND table_schema = 'l2flow'").splitlines()} - {("archived_at", "NO")}
            self.assertEqual({(name, null == "YES") for name, null in have}, want)

    def test_hypertables(self):
        if not self.pg.timescale:
            self.skipTest("no TimescaleDB here")
        self.assertEqual(self.psql("SELECT hypertable_name, owner FROM timescaledb_information.hypertables ORDER BY 1"),
                         "l2_snapshots|l2flow_owner\nohlcv|l2flow_owner")
        arc = self.probe(f"{self.db}_archiver")
        arc.ok(f"query {INSERT_BAR}")  # makes a chunk
        self.assertEqual(self.psql("SELECT count(*) FROM show_chunks('l2flow.l2_snapshots')"), "1")
        self.assertEqual(self.probe(f"{self.db}_reader").ok("query SELECT count(*) FROM l2_snapshots"), "1;")
        chunk = self.psql("SELECT show_chunks('l2flow.l2_snapshots')")
        self.denied(arc, f"DELETE FROM {chunk}")
        self.refused(arc(f"query {INSERT_BAR}"), "reject", "23505")


class Plain(Rights):
    """The same without TimescaleDB."""

    @classmethod
    def timescale(cls):
        return False

    def test_tables_are_plain(self):
        self.assertEqual(self.psql("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'"), "0")


class Tls(Case):
    TLS = True

    def setUp(self):
        super().setUp()
        self.addCleanup(self.pg.present, "server", running=True)

    def refuses(self, what, **changes):
        answer = Probe(self, self.conf(**changes))("open")
        self.assertRegex(self.refused(answer, "retry"), what)

    def test_verified(self):
        for host in ("127.0.0.1", "localhost"):
            probe = self.probe(pg_host=host)
            self.assertEqual(probe.ok("query SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"), "t;")

    def test_a_ca_that_did_not_sign_it(self):
        self.refuses("certificate verify failed", pg_sslrootcert=self.pg.certificates.foreign_ca)

    def test_another_hosts_certificate(self):
        self.pg.present("wrong_host", running=True)
        self.refuses("does not match host name")

    def test_expired(self):
        self.pg.present("expired", running=True)
        self.refuses("certificate verify failed|expired")

    def test_no_tls_at_the_server(self):
        self.pg.plaintext_only(True)
        self.addCleanup(self.pg.plaintext_only, False)
        self.refuses("does not support SSL")

    def test_the_clients_own_certificate(self):
        authority, hba = self.pg.data / "clients.crt", self.pg.data / "pg_hba.conf"
        authority.write_bytes(pathlib.Path(self.pg.certificates.ca).read_bytes())
        authority.chmod(0o644)
        before = hba.read_text()
        self.addCleanup(self.pg.reload)
        self.addCleanup(hba.write_text, before)
        hba.write_text(f"hostssl {self.db} all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n" + before)
        self.pg.psql("ALTER SYSTEM SET ssl_ca_file = 'clients.crt'")
        self.pg.reload()
        own = self.pg.certificates.keystore("server")  # key and certificate in one file
        self.probe(pg_sslcert=own, pg_sslkey=own).ok("query SELECT 1")
        self.refused(Probe(self, self.conf())("open"), "reject")

    def test_no_ca_named(self):
        self.refuses("root certificate file", pg_sslrootcert="")


if __name__ == "__main__":
    unittest.main(verbosity=2)
