"""l2kafka: a private single-node Kafka (KRaft, loopback) for tests and for ./run up.

    with Broker(tmp_path / "kafka") as broker:      # starts; ready when it answers a metadata request
        use(broker.bootstrap)
        broker.kill()                               # SIGKILL, as a crash
        broker.start()                              # same port, same data
        broker.stop()                               # SIGTERM, waits

    with shared_or_own(tmp_path / "kafka") as bootstrap:     # $L2FLOW_BOOTSTRAP when set, else a broker of its own

    with Broker(tmp_path / "kafka", secure=True) as broker:       # TLS, SCRAM-SHA-512 and access control as well
        broker.add_user("feature-producer")                       # no rights yet; its password is made up
        client(broker.login("feature-producer"))                  # settings for a client; broker.address("expired"): another door
    broker.bootstrap of a secure broker is its plaintext door for the superuser, which tests set it up through.

A broker ends with the process that started it, however that dies (PR_SET_PDEATHSIG), unless it was started with
keep=True. Nothing here kills by name: only by the pid that was started and only after its command line was checked.

As a program: l2kafka.py [--port N] up|down|status DIR
              l2kafka.py run DIR COMMAND…    a broker for as long as COMMAND runs, its address in L2FLOW_BOOTSTRAP
"""

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import l2certs

ROOT = pathlib.Path(__file__).resolve().parents[2]
KAFKA = ROOT / ".deps" / "kafka"
READY_SECONDS_MAX = 90  # 4-8 s on a quiet machine
STOP_SECONDS_MAX = 30
# Below the ephemeral range: a client that retries a dead port there can connect to itself and keep the broker from it.
PORT_MIN, PORT_MAX = 20000, 30000

# PDEATHSIG fires when the *thread* that started the child ends, so one thread that lives as long as we do starts them.
_SPAWNER = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="l2kafka")


class BrokerError(RuntimeError):
    """What went wrong, why, and where the log is."""


def port_is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(avoid=()):
    for _ in range(200):
        port = random.randint(PORT_MIN, PORT_MAX)
        if port not in avoid and port_is_free(port):
            return port
    raise BrokerError(f"no free port among {PORT_MIN}-{PORT_MAX} on 127.0.0.1")


def jars():
    lib = KAFKA / "lib"
    if not lib.is_dir():
        raise BrokerError(f"{lib}: Kafka is not there: type ./run deps")
    return f"{lib}/*"


def is_ready(bootstrap, timeout=1.0):
    """True when the broker answers a metadata request and names itself."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    quiet = {"bootstrap.servers": bootstrap, "log_level": 0, "error_cb": lambda _: None, "socket.timeout.ms": 1000}
    try:
        return len(AdminClient(quiet).list_topics(timeout=timeout).brokers) > 0
    except KafkaException:
        return False


class Broker:
    """One node, controller and broker in one process. dir holds data, log and configuration, and outlives restarts."""

    def __init__(self, directory, port=None, settings=None, keep=False, heap="512m", secure=False):
        self.dir = pathlib.Path(directory).resolve()
        self.settings = settings or {}
        self.keep = keep
        self.heap = heap
        self.pid = None
        self._child = None
        self.dir.mkdir(parents=True, exist_ok=True)
        self.log = self.dir / "kafka.log"
        self._pid_file = self.dir / "pid"
        self.port = port or free_port()
        self._controller_port = free_port(avoid=(self.port,))
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.certificates = l2certs.make(self.dir / "certificates") if secure else None
        self._doors = {}  # certificate's kind: port
        for kind in l2certs.KINDS if secure else ():
            self._doors[kind] = free_port(avoid=(self.port, self._controller_port, *self._doors.values()))
        self._passwords = {}

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_):
        # The data is thrown away by whoever owns the folder: no need to wait for an orderly end.
        self.kill()

    def _configuration(self):
        fixed = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.dir / "data"),
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            "offsets.topic.num.partitions": 5,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.num.partitions": 5,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "default.replication.factor": 1,
            "min.insync.replicas": 1,
            "log.cleaner.dedupe.buffer.size": 16 << 20,  # 128 MiB of a 512 MiB heap by default
            "num.network.threads": 2,
            "num.io.threads": 4,
            # After kill -9 the controller refuses the new incarnation until the old one's session is over: 9 s by default.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
        }
        fixed.update(self._security())
        fixed.update(self.settings)
        return "".join(f"{key}={value}\n" for key, value in fixed.items())

    def _security(self):
        """A door for each certificate, so that tests choose one without a restart. Whoever comes through the plaintext door is
        ANONYMOUS, the superuser; so is the node to itself."""
        if not self._doors:
            return {}
        names = {kind: kind.upper() for kind in self._doors}
        doors = [f"{names[kind]}://localhost:{port}" for kind, port in self._doors.items()]
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        made = {
            "listeners": ",".join([f"PLAINTEXT://127.0.0.1:{self.port}", f"CONTROLLER://127.0.0.1:{self._controller_port}", *doors]),
            "advertised.listeners": ",".join([f"PLAINTEXT://127.0.0.1:{self.port}", *doors]),
            "listener.security.protocol.map": ",".join(["PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT"] +
                                                       [f"{name}:SASL_SSL" for name in names.values()]),
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": "User:ANONYMOUS;User:admin",
            "connection.failed.authentication.delay.ms": 0,
        }
        for kind, name in names.items():
            listener = f"listener.name.{name.lower()}"
            made[f"{listener}.ssl.keystore.type"] = "PEM"
            made[f"{listener}.ssl.keystore.location"] = self.certificates.keystore(kind)
            made[f"{listener}.scram-sha-512.sasl.jaas.config"] = scram
        asks = "listener.name.mutual.ssl"  # for a certificate of the client's, signed by the same authority
        made.update({f"{asks}.client.auth": "required", f"{asks}.truststore.type": "PEM",
                     f"{asks}.truststore.location": self.certificates.ca})
        return made

    def add_user(self, name):
        """A user that can log in and may do nothing."""
        from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

        password = self._passwords.setdefault(name, secrets.token_hex(12))
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(name, info, password.encode())
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.alter_user_scram_credentials([change])[name].result(timeout=30)

    def address(self, kind="server"):
        """host:port of the TLS door with this certificate."""
        return f"localhost:{self._doors[kind]}"

    def password(self, user):
        return self._passwords[user]

    def login(self, user, kind="server"):
        """A client's settings, as librdkafka names them."""
        return {"bootstrap.servers": self.address(kind), "security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": user, "sasl.password": self.password(user), "ssl.ca.location": str(self.certificates.ca)}

    def _format(self, properties):
        """Formats the data folder, by copying one that was formatted before: saves the 3 s of a JVM per broker."""
        data = self.dir / "data"
        if (data / "meta.properties").exists():
            return
        template = KAFKA / "formatted"
        if not (template / "meta.properties").exists():
            with tempfile.TemporaryDirectory(dir=KAFKA) as scratch:
                conf = pathlib.Path(scratch) / "server.properties"
                conf.write_text(properties.read_text().replace(str(data), f"{scratch}/data"))
                command = [_java(), "-Xmx256m", "-cp", jars(), "kafka.tools.StorageTool", "format",
                           "-t", "l2flowl2flowl2flowl2fw", "-c", str(conf)]
                done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
                if done.returncode != 0:
                    raise BrokerError(f"kafka format failed: {done.stdout[-800:]}{done.stderr[-800:]}")
                with contextlib.suppress(OSError):  # somebody else was first: as good
                    os.rename(f"{scratch}/data", template)
        shutil.copytree(template, data, dirs_exist_ok=True)

    def start(self):
        """Starts and waits until ready. Bounded by READY_SECONDS_MAX. No-op when it runs."""
        if self.running():
            return self
        if not port_is_free(self._controller_port):
            self._controller_port = free_port(avoid=(self.port,))
        properties = self.dir / "server.properties"
        properties.write_text(self._configuration())
        self._format(properties)
        command = [_java(), f"-Xmx{self.heap}", f"-Xms{self.heap}", "-XX:+UseSerialGC", "-XX:-UsePerfData",
                   "-Djava.awt.headless=true", "-Dorg.slf4j.simpleLogger.showDateTime=true",
                   "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
                   "-Dorg.slf4j.simpleLogger.defaultLogLevel=info", "-cp", jars(), "kafka.Kafka", str(properties)]
        if not self.keep:
            command = ["setpriv", "--pdeathsig", "KILL"] + command
        self._child = _SPAWNER.submit(self._spawn, command).result()
        self.pid = self._child.pid
        self._pid_file.write_text(str(self.pid))
        self._wait_ready()
        return self

    def _spawn(self, command):
        with open(self.log, "ab") as log:
            # A session of its own: Ctrl-C at the terminal is the test's to handle.
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir,
                                    start_new_session=True)

    def _wait_ready(self):
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            if self._child.poll() is not None:
                raise BrokerError(f"kafka ended with {self._child.returncode}: {self._log_tail()}")
            if not port_is_free(self.port) and is_ready(self.bootstrap):
                return
            time.sleep(0.1)
        raise BrokerError(f"kafka not ready on {self.bootstrap} in {READY_SECONDS_MAX} s: {self._log_tail()}")

    def _log_tail(self):
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        telling = [line for line in lines if "ERROR" in line or "Exception" in line][-3:] or lines[-3:]
        return f"see {self.log}: " + " | ".join(telling)

    def running(self):
        """True while the process we started (or, with keep, another run of ours did) lives."""
        if self._child is not None:
            return self._child.poll() is None
        self.pid = pid_of(self.dir)
        return self.pid is not None

    def stop(self):
        """SIGTERM and wait: offsets and logs are flushed."""
        self._end(signal.SIGTERM)

    def kill(self):
        """SIGKILL and wait: what a crash leaves behind."""
        self._end(signal.SIGKILL)

    def _end(self, sig):
        if self.running():
            os.kill(self.pid, sig)
            if not self._wait_end(STOP_SECONDS_MAX):
                os.kill(self.pid, signal.SIGKILL)
                self._wait_end(STOP_SECONDS_MAX)
        self._child = None
        self.pid = None
        self._pid_file.unlink(missing_ok=True)

    def _wait_end(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.running():
                return True
            time.sleep(0.02)
        return False


def _java():
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home and os.access(f"{home}/bin/java", os.X_OK) else shutil.which("java")
    if java is None:
        raise BrokerError("java is not there: type ./run deps")
    return java


def pid_of(directory):
    """The pid of the broker that runs in this folder, or None. A reused pid is told by the command line."""
    directory = pathlib.Path(directory).resolve()
    try:
        pid = int((directory / "pid").read_text())
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if str(directory / "server.properties").encode() in command else None


@contextlib.contextmanager
def shared_or_own(directory, **options):
    """Yields a bootstrap address: $L2FLOW_BOOTSTRAP when a broker is shared between tests, else one of our own."""
    shared = os.environ.get("L2FLOW_BOOTSTRAP")
    if shared:
        yield shared
        return
    with Broker(directory, **options) as broker:
        yield broker.bootstrap


def bootstrap_of(directory):
    """The address of the broker that ./run up keeps in this folder, or None when none runs."""
    if pid_of(directory) is None:
        return None
    try:
        return (pathlib.Path(directory) / "bootstrap").read_text().strip()
    except OSError:
        return None


def up(directory, port, port_is_given):
    """Prints the bootstrap address of a broker that stays. Another port is taken when nobody asked for this one."""
    running = bootstrap_of(directory)
    if running and is_ready(running, timeout=10):
        print(running)
        return
    if not port_is_free(port):
        if port_is_given:
            raise BrokerError(f"port {port} on 127.0.0.1 is taken by another program: "
                              "choose one with L2FLOW_KAFKA_PORT=N ./run up")
        taken, port = port, free_port()
        print(f"port {taken} is taken by another program: using {port}", file=sys.stderr)
    broker = Broker(directory, port=port, keep=True)
    try:
        broker.start()
    except BaseException:
        broker.kill()
        raise
    (broker.dir / "bootstrap").write_text(broker.bootstrap + "\n")
    print(broker.bootstrap)


def run(directory, command):
    """The exit code of a command that runs beside a broker; its data is removed afterwards."""
    with shared_or_own(directory) as bootstrap:
        code = subprocess.run(command, env={**os.environ, "L2FLOW_BOOTSTRAP": bootstrap}, check=False).returncode
    shutil.rmtree(directory, ignore_errors=True)
    return code


def main():
    parser = argparse.ArgumentParser(description="start, stop or look at the Kafka that lives in DIR, or run beside it")
    parser.add_argument("--port", type=int, help="default 9092, another when that one is taken")
    parser.add_argument("action", choices=["up", "down", "status", "run"])
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="for run")
    args = parser.parse_args()
    try:
        if args.action == "up":
            up(args.dir, args.port or 9092, args.port is not None)
        elif args.action == "down":
            Broker(args.dir).stop()
        elif args.action == "run":
            return run(args.dir, args.command)
        else:
            return status(args.dir)
    except BrokerError as error:
        print(f"kafka: {error}", file=sys.stderr)
        return 69
    return 0


def status(directory):
    address = bootstrap_of(directory)
    if address is None:
        print("kafka: not running")
        return 3
    print(f"kafka: {'ready' if is_ready(address, timeout=5) else 'NOT answering'} on {address}, "
          f"pid {pid_of(directory)}, data and log in {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
