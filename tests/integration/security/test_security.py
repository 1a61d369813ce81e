"""A Kafka with TLS, SCRAM-SHA-512 and access control, and the real programs on it, each with its own user.

The producer's user with all its rows but one never gets a market through; with all of them it does, end to end; the monitor likewise, for
three of its rows. No user may do
what is not written in MAY below, which is written here by hand and not taken from l2ctl. Whatever refuses a connection is named,
with the way out, and no password is seen on the way.
Seen to fail: with a row too many (Read on l2.features; Write on l2.bars for l2monitor) and one too few (Write; Read on l2.bars for
l2monitor) in acls.c, and with
ssl.endpoint.identification.algorithm=none and enable.ssl.certificate.verification=false among the client's defaults.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

import confluent_kafka
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, AlterConfigOpType,
                                   ConfigEntry, ConfigResource, NewTopic, ResourcePatternType, ResourceType)

import l2kafka
import l2live

PREFIX = "sec."
TOPICS = "snapshots ohlcv bars features heartbeat predictions outcomes quality alerts rollout dlq".split()
USERS = ["feature-producer", "bar-archiver", "quality-monitor", "l2replay", "trading-engine", "l2monitor", "topics-admin"]
# user: topics that it may read, topics that it may write, group, transactional id
MAY = {
    "feature-producer": ("snapshots bars", "bars features heartbeat dlq", "feature-producer", "feature-producer-0"),
    "bar-archiver": ("bars ohlcv", "", "bar-archiver", None),
    "quality-monitor": ("snapshots ohlcv bars features predictions rollout heartbeat quality outcomes alerts",
                        "heartbeat quality outcomes alerts dlq", "quality-monitor.loki", "quality-monitor-0"),
    "l2replay": ("", "snapshots ohlcv", None, None),
    "trading-engine": ("ohlcv features heartbeat rollout predictions", "predictions", "trading-engine-7", "trading-engine-7-0"),
    "l2monitor": ("ohlcv bars features predictions rollout", "", None, None),
    "topics-admin": ("", "", None, None),
}
REFUSED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED,
           KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
PRODUCER_ROWS = 13
MONITOR_ROWS = 28
ENGINE_ROWS = 13
BAR_SECONDS = 60


class Engine(l2live.Producer):
    program = "l2engine"

QUIET = {"log_level": 0, "error_cb": lambda error: None, "socket.timeout.ms": 10000}
MARKET = ["--source", "synthetic", "--exchange", "binance-usdm", "--symbols", "2", "--rate-hz", "2", "--hours", "0.2", "--seed", "1",
          "--start", "2024-08-08T00:00:00Z", "--bar-seconds", "60"]

broker = folder = None


def setUpModule():
    global broker, folder, scratch
    os.umask(0o077)
    scratch = tempfile.TemporaryDirectory()
    folder = pathlib.Path(scratch.name)
    broker = l2kafka.Broker(folder / "kafka", secure=True).start()
    for user in USERS + ["stranger"]:
        broker.add_user(user)
    l2live.topics(broker.bootstrap, PREFIX, 1)


def tearDownModule():
    broker.kill()
    scratch.cleanup()


def admin():
    return AdminClient({"bootstrap.servers": broker.bootstrap, **QUIET})


def l2ctl(*words, config=None):
    """As the superuser, unless a configuration says otherwise."""
    where = ["-c", str(config)] if config else ["-b", broker.bootstrap, "-p", PREFIX]
    return subprocess.run([l2live.binary("l2ctl"), *words, *where], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=120, check=False)


def settings(user, kind="server", password=None, **more):
    """Configuration of one of our programs; the password lies in a file of its own."""
    secret = folder / f"{user}.password"
    secret.touch(mode=0o600)
    secret.write_text((password or broker.password(user)) + "\n")
    made = {f"kafka.{key}": value for key, value in broker.login(user, kind).items() if key != "sasl.password"}
    made.update({"sasl_password_file": secret, "topic_prefix": PREFIX, **more})
    return made


def configuration(name, values):
    path = folder / f"{name}.conf"
    path.write_text("".join(f"{key} = {value}\n" for key, value in values.items() if value is not None))
    return path


def code_of(action):
    """None when it was allowed, else the error's code."""
    try:
        action()
        return None
    except KafkaException as error:
        return error.args[0].code()


def rows_of(user):
    wanted = AclBindingFilter(ResourceType.ANY, None, ResourcePatternType.ANY, f"User:{user}", None, AclOperation.ANY,
                              AclPermissionType.ANY)
    a = admin()
    return a.describe_acls(wanted).result(timeout=20)


def change_row(row, is_there):
    a = admin()
    if is_there:
        a.create_acls([row])[row].result(timeout=20)
    else:
        one = AclBindingFilter(row.restype, row.name, row.resource_pattern_type, row.principal, row.host, row.operation,
                               row.permission_type)
        a.delete_acls([one])[one].result(timeout=20)


class A_Rows(unittest.TestCase):
    """l2ctl acls on an empty table, and again."""

    def test_plan_apply_check(self):
        done = l2ctl("acls", "plan", "-o", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        planned = json.loads(done.stdout)
        self.assertFalse(planned["as_wanted"])
        self.assertEqual({row["action"] for row in planned["acls"]}, {"create"})
        self.assertEqual(sum(row["service"] == "feature-producer" for row in planned["acls"]), PRODUCER_ROWS)
        self.assertEqual([rows_of(user) for user in USERS], [[]] * len(USERS), "plan changes nothing")
        self.assertEqual(l2ctl("acls", "check").returncode, 1)

        done = l2ctl("acls", "apply")
        self.assertEqual((done.returncode, done.stdout[-8:]), (0, "applied\n"), done.stderr)
        self.assertEqual(l2ctl("acls", "check").returncode, 0)
        self.assertIn("as they should be", l2ctl("acls", "apply").stdout)
        self.assertEqual(sum(len(rows_of(user)) for user in USERS), len(planned["acls"]))

    def test_unneeded_rows_are_told_and_pruned(self):
        wide = AclBinding(ResourceType.TOPIC, PREFIX + "l2.", ResourcePatternType.PREFIXED, "User:bar-archiver", "*",
                          AclOperation.ALL, AclPermissionType.ALLOW)
        change_row(wide, True)
        done = l2ctl("acls", "check", "--service", "bar-archiver")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"^bar-archiver: User:bar-archiver All topic prefix sec\.l2\.: not needed: .*--prune")
        self.assertEqual(l2ctl("acls", "check", "--service", "l2replay").returncode, 0)
        self.assertEqual(l2ctl("acls", "apply").returncode, 0)
        self.assertIn(wide, rows_of("bar-archiver"), "nothing is removed without --prune")
        self.assertEqual(l2ctl("acls", "apply", "--prune").returncode, 0)
        self.assertNotIn(wide, rows_of("bar-archiver"))
        self.assertEqual(l2ctl("acls", "check").returncode, 0)

    def test_another_user_name(self):
        done = l2ctl("acls", "plan", "--service", "trading-engine", "--user", "User:engine-7", "-o", "json")
        rows = json.loads(done.stdout)["acls"]
        self.assertEqual({row["user"] for row in rows}, {"User:engine-7"})
        self.assertEqual({row["name"] for row in rows}, {f"sec.l2.{topic}" for topic in MAY["trading-engine"][0].split()} | {"sec.trading-engine", "sec.trading-engine-"})

    def test_refused_words(self):
        for words, code in ((["--user", "User:x"], 64), (["--service", "nobody"], 64), (["-o", "xml"], 64),
                            (["--service", "l2replay", "--user", "x"], 78), (["--service", "l2replay", "--user", "User:*"], 78)):
            done = l2ctl("acls", "plan", *words)
            self.assertEqual((done.returncode, done.stdout), (code, ""), words)

    def test_who_is_no_superuser_is_told(self):
        done = l2ctl("acls", "check", config=configuration("acls", settings("topics-admin")))
        self.assertEqual(done.returncode, 78, done.stderr)
        self.assertRegex(done.stderr, r"describe access control: localhost:\d+: this user may not see it: .*superuser")


class B_Connections(unittest.TestCase):
    """What does not pass the door: told by name, with the way out, in one line, without the password."""

    def refused(self, expected, user="topics-admin", kind="server", password=None, **more):
        values = settings(user, kind, password)
        values.update(more)
        path = configuration("refused", values)
        done = l2ctl("topics", "check", config=path)
        self.assertEqual(done.returncode, 78, f"{expected}: {done.stderr}")
        self.assertRegex(done.stderr, expected)
        self.assertIn(f"localhost:{broker.address(kind).split(':')[1]}", done.stderr)
        self.assertRegex(done.stderr, "check the client's login and certificates")
        self.assertNotIn(password or broker.password(user), done.stderr + done.stdout)

    def test_the_right_login_passes(self):
        self.assertEqual(l2ctl("topics", "check", config=configuration("right", settings("topics-admin"))).returncode, 0)

    def test_wrong_authority(self):
        self.refused("certificate is of another authority than ssl.ca.location", **{"kafka.ssl.ca.location": broker.certificates.foreign_ca})

    def test_wrong_host_name(self):
        self.refused("certificate is for another host name", kind="wrong_host")

    def test_expired(self):
        self.refused("certificate has expired", kind="expired")

    def test_wrong_password(self):
        self.refused("(?i)authentication failed", password="not-the-password-4711")

    def test_unknown_user(self):
        self.refused("(?i)authentication failed", password="whatever-4711", **{"kafka.sasl.username": "nobody"})

    def client_key(self, password):
        """Settings of a client whose certificate's key is encrypted, and the file that holds the key's password."""
        certificate, key = broker.certificates.client("the-keys-own-4711")
        secret = folder / "key.password"
        secret.touch(mode=0o600)
        secret.write_text(password + "\n")
        return {"kafka.ssl.certificate.location": certificate, "kafka.ssl.key.location": key, "ssl_key_password_file": secret}

    def test_a_client_with_an_encrypted_key(self):
        values = settings("topics-admin", "mutual", **self.client_key("the-keys-own-4711"))
        done = l2ctl("topics", "check", config=configuration("mutual", values))
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_client_without_a_certificate_where_one_is_asked_for(self):
        done = l2ctl("topics", "check", config=configuration("no-certificate", settings("topics-admin", "mutual")))
        self.assertIn(done.returncode, (69, 78), done.stderr)
        self.assertIn(broker.address("mutual"), done.stderr)

    def test_the_keys_password_is_wrong_or_missing(self):
        """Nothing is connected to: --check-config says it as well."""
        wrong = self.client_key("not-the-password-4711")
        missing = {key: value for key, value in wrong.items() if key != "ssl_key_password_file"}
        for name, keys in (("wrong", wrong), ("missing", missing)):
            values = settings("feature-producer", "mutual", exchange="binance-usdm", listen=f"127.0.0.1:{l2kafka.free_port()}", **keys)
            path = configuration(f"key-{name}", values)
            for words in (["--check-config"], []):
                with self.subTest(name=name, words=words):
                    done = subprocess.run([l2live.binary("feature-producer"), "--config", str(path), *words], capture_output=True,
                                          text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
                    self.assertEqual(done.returncode, 78, done.stderr)
                    self.assertIn("ssl_key_password_file", done.stderr)
                    self.assertIn(str(keys["kafka.ssl.key.location"]), done.stderr)
                    self.assertNotIn("4711", done.stdout + done.stderr)

    def test_plaintext_at_the_tls_door(self):
        values = settings("topics-admin")
        for key in ("security.protocol", "sasl.mechanism", "sasl.username", "ssl.ca.location"):
            del values[f"kafka.{key}"]
        del values["sasl_password_file"]
        done = l2ctl("topics", "check", config=configuration("plain", values))
        self.assertIn(done.returncode, (69, 78), done.stderr)
        self.assertIn(broker.address(), done.stderr)

    def test_the_producer_says_so_too(self):
        path = configuration("fp", settings("feature-producer", password="not-the-password-4711", exchange="binance-usdm",
                                            listen=f"127.0.0.1:{l2kafka.free_port()}"))
        done = subprocess.run([l2live.binary("feature-producer"), "--config", str(path)], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=60, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stdout + done.stderr, "(?i)authentication failed.*check the client's login")
        self.assertNotIn("not-the-password-4711", done.stdout + done.stderr)


class C_Service(unittest.TestCase):
    """The market through the real producer, with every row but one and with all of them."""

    @classmethod
    def setUpClass(cls):
        done = subprocess.run([l2live.binary("l2replay"), *MARKET, "--topic", "--config",
                               str(configuration("l2replay", settings("l2replay")))],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        plain = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, **QUIET})
        plain.produce(PREFIX + "l2.snapshots", b"no snapshot", b"junk")
        plain.produce(PREFIX + "l2.bars", b"no bar", b"junk")  # so that there is something to restore from
        plain.produce(PREFIX + "l2.quality", b"no signal", b"junk")
        plain.produce(PREFIX + "l2.predictions", (l2live.SCHEMAS / "golden" / "prediction.full.bin").read_bytes(), b"BTCUSDT")
        assert plain.flush(20) == 0

    def producer(self, name):
        values = settings("feature-producer", bar_seconds=60, window_seconds=60, CVN_L2_PURGE_BARS=1)
        return l2live.Producer(folder, values.pop("kafka.bootstrap.servers"), values.pop("topic_prefix"), values, name=name)

    def got_through(self, producer, seconds, group="feature-producer", topic="l2.snapshots"):
        """True: all was read, and committed. False: it ended. None: neither in time."""
        deadline = time.monotonic() + seconds
        goal = l2live.ends(broker.bootstrap, PREFIX + topic, 1)
        while time.monotonic() < deadline:
            if producer.process.poll() is not None:
                return False
            try:
                now = l2live.committed(broker.bootstrap, PREFIX + group, PREFIX + topic, 1)
                if now[0] >= goal[0]:
                    return True
            except KafkaException:  # a coordinator that is still loading
                pass
            time.sleep(0.1)
        return None

    def test_a_each_row_is_needed(self):
        rows = rows_of("feature-producer")
        self.assertEqual(len(rows), PRODUCER_ROWS)
        for i, row in enumerate(rows):
            with self.subTest(row=f"{row.operation.name} {row.restype.name} {row.name}"):
                change_row(row, False)
                try:
                    with self.producer(f"row-{i}") as producer:
                        self.assertIs(self.got_through(producer, 30), False, producer.tail())
                        self.assertNotEqual(producer.process.returncode, 0)
                        self.assertIn(row.name.rstrip("-"), producer.tail(), "the error names what was refused")
                        self.assertRegex(producer.tail(), "(?i)authoriz|denied|not authorized")
                finally:
                    change_row(row, True)

    def test_b_with_all_of_them_it_serves(self):
        with self.producer("serves") as producer:
            producer.wait_ready()
            self.assertTrue(self.got_through(producer, 60), producer.tail())
            command = pathlib.Path(f"/proc/{producer.process.pid}/cmdline").read_bytes()
            environment = pathlib.Path(f"/proc/{producer.process.pid}/environ").read_bytes()
            self.assertEqual(producer.stop(), 0, producer.tail())
            printed = subprocess.run([l2live.binary("feature-producer"), "--config", str(producer.config), "--print-config"],
                                     capture_output=True, text=True, check=True).stdout
            password = broker.password("feature-producer")
            for where, text in (("argv", command.decode()), ("environment", environment.decode()), ("log", producer.log.read_text()),
                                ("configuration", producer.config.read_text()), ("--print-config", printed)):
                self.assertNotIn(password, text, where)
        features = self.read_as("trading-engine", "l2.features", "trading-engine-7")
        self.assertGreater(len(features), 10)
        self.assertEqual({l2live.decode("l2_feature", value)["symbol"] for value in features}, {"SYN000", "SYN001"})
        self.assertEqual(len(l2live.dump(broker.bootstrap, PREFIX + "l2.dlq")), 1)

    def test_ba_so_does_the_monitor(self):
        """Whatever it lacks, it ends: a Kafka that refuses it is none to wait for. (Before the next test, which makes l2.quality anew.)"""
        own = settings("quality-monitor", exchange="binance-usdm", bar_seconds=60, listen=f"127.0.0.1:{l2kafka.free_port()}")
        path = configuration("quality-monitor", own)
        rows = {(row.restype.name, row.name.removeprefix(PREFIX), row.operation.name): row for row in rows_of("quality-monitor")}
        self.assertEqual(len(rows), MONITOR_ROWS)
        needed = [rows["TOPIC", "l2.bars", "READ"], rows["TOPIC", "l2.quality", "READ"], rows["TRANSACTIONAL_ID", "quality-monitor-", "WRITE"]]
        for row in [*needed, None]:
            with self.subTest(row=row and f"{row.operation.name} {row.name}"), open(folder / "monitor.log", "wb") as log:
                if row:
                    change_row(row, False)
                monitor = subprocess.Popen([l2live.binary("quality-monitor"), "--config", str(path)], stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log)
                try:
                    self.assertIs(self.gets_ready(monitor, own["listen"]), row is None, (folder / "monitor.log").read_text()[-3000:])
                    monitor.terminate()
                    self.assertEqual(monitor.wait(20) == 0, row is None)
                finally:
                    monitor.kill()
                    monitor.wait()
                    if row:
                        change_row(row, True)
        self.assertNotIn(broker.password("quality-monitor"), (folder / "monitor.log").read_text())

    def test_c_and_each_row_of_the_engine_is_needed(self):
        """The example engine on the market's candles: only with all rows it gets through."""
        rows = rows_of("trading-engine")
        self.assertEqual(len(rows), ENGINE_ROWS)
        for i, row in enumerate([*rows, None]):
            values = settings("trading-engine", bar_seconds=BAR_SECONDS)
            engine = Engine(folder, values.pop("kafka.bootstrap.servers"), values.pop("topic_prefix"), values, name=f"engine-{i}")
            with self.subTest(row=row and f"{row.operation.name} {row.restype.name} {row.name}"):
                if row:
                    change_row(row, False)
                try:
                    with engine:
                        got = self.got_through(engine, 60, "trading-engine-example", "l2.ohlcv")
                        self.assertIs(got, row is None, engine.tail())
                finally:
                    if row:
                        change_row(row, True)
        self.assertGreater(len(l2live.dump(broker.bootstrap, PREFIX + "l2.predictions")), 10)
        self.assertNotIn(broker.password("trading-engine"), engine.log.read_text())

    def test_bb_l2monitor_reads_without_a_group(self):
        """It comes as far as the record that is none; without its row it says that it may not read."""
        path = configuration("l2monitor", settings("l2monitor"))
        row = next(row for row in rows_of("l2monitor") if row.name == PREFIX + "l2.bars")

        def reference():
            return subprocess.run([l2live.binary("l2monitor"), "reference", "l2.bars", "-c", str(path), "-q", "-o",
                                   str(folder / "reference.json")], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                                  timeout=60, check=False)

        self.assertRegex(reference().stderr, r"l2\.bars, partition 0, offset 0: frame_unknown")
        change_row(row, False)
        try:
            done = reference()
            self.assertEqual(done.returncode, 78, done.stderr)
            self.assertRegex(done.stderr, "(?i)authoriz")
        finally:
            change_row(row, True)
        self.assertNotIn(broker.password("l2monitor"), done.stderr + done.stdout)

    def gets_ready(self, process, listen, seconds=60):
        """True: /readyz says so. False: it ended. None: neither in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return False
            try:
                urllib.request.urlopen(f"http://{listen}/readyz", timeout=2).close()
                return True
            except OSError:
                time.sleep(0.1)
        return None

    def read_as(self, user, topic, group):
        """By subscription, as a reader of ours would."""
        consumer = confluent_kafka.Consumer({**broker.login(user), **QUIET, "group.id": PREFIX + group, "auto.offset.reset": "earliest",
                                             "isolation.level": "read_committed", "enable.partition.eof": True})
        try:
            consumer.subscribe([PREFIX + topic])
            values, deadline = [], time.monotonic() + 30
            while time.monotonic() < deadline:
                message = consumer.poll(1)
                if message is None:
                    continue
                if message.error():
                    if message.error().code() == KafkaError._PARTITION_EOF:
                        return values
                    raise KafkaException(message.error())
                values.append(message.value())
            raise AssertionError(f"{topic}: no end after 30 s")
        finally:
            consumer.close()

    def test_c_each_row_of_the_others_is_needed(self):
        """The archiver's own are proven by reading as it does; its DescribeConfigs by the same call of the producer's."""
        market = [l2live.binary("l2replay"), *MARKET, "--topic", "--config", str(configuration("l2replay", settings("l2replay")))]

        def feed():
            return subprocess.run(market, capture_output=True, stdin=subprocess.DEVNULL, timeout=120, check=False).returncode == 0

        def apply():
            """Something to create, something to alter."""
            a, name = admin(), PREFIX + "l2.quality"
            if name in a.list_topics(timeout=10).topics:
                a.delete_topics([name])[name].result(timeout=20)
            entry = ConfigEntry("retention.ms", "86400000", incremental_operation=AlterConfigOpType.SET)
            drift = ConfigResource(ConfigResource.Type.TOPIC, PREFIX + "l2.alerts", incremental_configs=[entry])
            a.incremental_alter_configs([drift])[drift].result(timeout=20)
            return l2ctl("topics", "apply", config=configuration("admin", settings("topics-admin"))).returncode == 0

        def read(user, group, topics):
            try:
                return all([self.read_as(user, topic, group) is not None for topic in topics])
            except (KafkaException, AssertionError):
                return False

        works = {"l2replay": feed, "topics-admin": apply,
                 "bar-archiver": lambda: read("bar-archiver", "bar-archiver", ("l2.bars", "l2.ohlcv"))}
        for user, action in works.items():
            self.assertTrue(action(), user)
            for row in rows_of(user):
                if user == "bar-archiver" and row.operation == AclOperation.DESCRIBE_CONFIGS:
                    continue
                with self.subTest(row=f"{user} {row.operation.name} {row.restype.name} {row.name}"):
                    change_row(row, False)
                    try:
                        self.assertFalse(action())
                    finally:
                        change_row(row, True)
            self.assertTrue(action(), f"{user}, with all rows again")

    def test_d_a_password_among_the_client_settings_is_not_printed(self):
        path = configuration("loud", settings("feature-producer", exchange="binance-usdm", **{"kafka.sasl.password": "loud-4711"}))
        done = subprocess.run([l2live.binary("feature-producer"), "--config", str(path), "--print-config"], capture_output=True,
                              text=True, check=False)
        self.assertNotIn("loud-4711", done.stdout + done.stderr)


class D_Matrix(unittest.TestCase):
    """Every user, every topic, every operation; groups and transactional ids of others."""

    def readable(self, user):
        consumer = confluent_kafka.Consumer({**broker.login(user), **QUIET, "group.id": "unused", "enable.auto.commit": False,
                                             "enable.partition.eof": True, "auto.offset.reset": "earliest"})
        told = {}
        try:
            # Who may not even see a topic may not read it (Read includes Describe), and a fetch would wait for ever.
            for topic in TOPICS:
                error = consumer.list_topics(PREFIX + "l2." + topic, timeout=15).topics[PREFIX + "l2." + topic].error
                if error is not None:
                    told[topic] = error.code()
            consumer.assign([TopicPartition(PREFIX + "l2." + t, 0, 0) for t in TOPICS if t not in told])
            deadline = time.monotonic() + 30
            while len(told) < len(TOPICS) and time.monotonic() < deadline:
                for message in consumer.consume(500, timeout=0.2):
                    if message.topic() is None:  # the group's refusal: this is about topics
                        continue
                    topic = message.topic().removeprefix(PREFIX + "l2.")
                    error = message.error()
                    told.setdefault(topic, error.code() if error and error.code() != KafkaError._PARTITION_EOF else None)
        finally:
            consumer.close()
        self.assertEqual(sorted(told), sorted(TOPICS))
        self.assertLessEqual(set(told.values()), {None, *REFUSED})
        return {topic for topic, code in told.items() if code is None}

    def writable(self, user):
        producer = confluent_kafka.Producer({**broker.login(user), **QUIET, "message.timeout.ms": 15000})
        told = {}
        for topic in TOPICS:
            producer.produce(PREFIX + "l2." + topic, b"x", b"matrix", 0, on_delivery=lambda error, m, t=topic:
                             told.__setitem__(t, error.code() if error else None))
        self.assertEqual(producer.flush(30), 0)
        self.assertLessEqual(set(told.values()), {None, *REFUSED}, told)
        return {topic for topic, code in told.items() if code is None}

    def test_topics(self):
        for user in USERS + ["stranger"]:
            reads, writes = (MAY[user][:2] if user in MAY else ("", ""))
            with self.subTest(user=user):
                self.assertEqual(self.readable(user), set(reads.split()))
                self.assertEqual(self.writable(user), set(writes.split()))

    def test_create_alter_delete(self):
        for user in USERS + ["stranger"]:
            client = AdminClient({**broker.login(user), **QUIET})
            is_admin = user == "topics-admin"
            for name, may in ((PREFIX + "l2.new", is_admin), ("l2.bars", False), ("other", False)):
                made = client.create_topics([NewTopic(name, 1, 1)], validate_only=True)[name]
                self.assertEqual(code_of(lambda made=made: made.result(20)) is None, may, f"{user} creates {name}")
            for topic in TOPICS:
                name = PREFIX + "l2." + topic
                entry = ConfigEntry("retention.ms", "86400000", incremental_operation=AlterConfigOpType.SET)
                change = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
                altered = client.incremental_alter_configs([change], validate_only=True)[change]
                self.assertEqual(code_of(lambda altered=altered: altered.result(20)) is None, is_admin, f"{user} alters {name}")
                deleted = client.delete_topics([name])[name]
                self.assertIn(code_of(lambda deleted=deleted: deleted.result(20)), REFUSED, f"{user} deletes {name}")
            wide = AclBinding(ResourceType.TOPIC, PREFIX, ResourcePatternType.PREFIXED, f"User:{user}", "*", AclOperation.ALL,
                              AclPermissionType.ALLOW)
            given = client.create_acls([wide])[wide]
            self.assertIn(code_of(lambda given=given: given.result(20)), REFUSED, f"{user} gives itself a right")

    def test_groups(self):
        for user in USERS + ["stranger"]:
            own = MAY[user][2] if user in MAY else None
            client = AdminClient({**broker.login(user), **QUIET})
            for group in {PREFIX + "feature-producer", PREFIX + "bar-archiver", PREFIX + "quality-monitor.loki", PREFIX + "trading-engine-7",
                          "trading-engine", "other"}:
                # Describe is the least: who lacks it cannot join or commit either
                asked = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group]
                code = code_of(lambda asked=asked: asked.result(20))
                if own and group == PREFIX + own:
                    self.assertIsNone(code, f"{user} in {group}")
                    # a member looks for partitions that are nobody's
                    asked = client.describe_consumer_groups([group])[group]
                    self.assertIsNone(code_of(lambda asked=asked: asked.result(20)), f"{user} in {group}")
                else:
                    self.assertEqual(code, KafkaError.GROUP_AUTHORIZATION_FAILED, f"{user} in {group}")

    def test_transactional_ids(self):
        for user in USERS + ["stranger"]:
            own = MAY[user][3] if user in MAY else None
            for name in (PREFIX + "feature-producer-0", PREFIX + "feature-producer-11", "feature-producer-0", PREFIX + "quality-monitor-0",
                         PREFIX + "other"):
                producer = confluent_kafka.Producer({**broker.login(user), **QUIET, "transactional.id": name})
                code = code_of(lambda p=producer: p.init_transactions(15))
                if own and name.startswith(PREFIX + own.rstrip("0123456789")):
                    self.assertIsNone(code, f"{user} as {name}")
                else:
                    self.assertEqual(code, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, f"{user} as {name}")


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(unittest.main(verbosity=2))
