"""l2pg: a private PostgreSQL (loopback and socket, scram passwords) for tests and for ./run up.

    with Postgres(tmp_path / "pg") as pg:            # initdb, start; ready when it answers
        use(pg.host, pg.port, pg.user, pg.password)  # the superuser; pg.socket is the socket's folder
        pg.psql("SELECT 1")                          # rows as text, as the superuser
        pg.database("test", owner="l2flow_test")     # a database
        pg.login("arc", "l2flow_archiver")           # a login role in a group; returns its password
        pg.freeze(); pg.thaw()                       # SIGSTOP, SIGCONT to all of its processes
        pg.kill(); pg.start()                        # a crash (SIGKILL to all), and back with the same data
    Postgres(dir, tls=True)                          # pg.certificates, by l2certs; pg.present("expired")
    Postgres(dir, timescale=False)                   # None: where it is installed

PostgreSQL refuses to run as root: then it runs as the user postgres, and its data, which that user must reach, goes to
a folder of its own in /var/tmp that DIR/data links to.

A server ends with the process that started it, however that dies (PR_SET_PDEATHSIG), unless it was started with
keep=True. Nothing here kills by name: only by the pid that was started and only after its command line was checked.

As a program: l2pg.py [--port N] up|down|status DIR
"""

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import l2certs
import l2kafka

READY_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
SUPERUSER = "postgres"
BINARIES = ("/usr/lib/postgresql/15/bin", "/usr/lib/postgresql/16/bin", "/usr/lib/postgresql/17/bin")

_SPAWNER = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="l2pg")


class PostgresError(RuntimeError):
    """What went wrong, why, and where the log is."""


def binary(name):
    for folder in (os.environ.get("L2FLOW_PG_BIN"), *BINARIES):
        if folder and os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    found = shutil.which(name)
    if found is None:
        raise PostgresError(f"{name} is not there: type ./run deps postgres")
    return found


def has_timescale():
    """True when the server's own folder holds TimescaleDB."""
    done = subprocess.run([binary("pg_config"), "--pkglibdir", "--sharedir"], capture_output=True, text=True, check=True)
    libraries, shared = done.stdout.split()
    return (pathlib.Path(libraries) / "timescaledb.so").exists() and \
        (pathlib.Path(shared) / "extension" / "timescaledb.control").exists()


def server_user():
    """The user that the server runs as: ourselves, or postgres where we are root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        raise PostgresError("PostgreSQL does not run as root and there is no user postgres: type ./run deps postgres") \
            from None


def sweep():
    """Removes what tests that were killed have left in /var/tmp: their server went with them, its data did not."""
    for owner in pathlib.Path("/var/tmp").glob("l2flow-pg.*/owner"):
        with contextlib.suppress(OSError, ValueError):
            data = owner.parent / "data"
            if not os.path.exists(f"/proc/{int(owner.read_text())}") and pid_of(data) is None:
                shutil.rmtree(owner.parent, ignore_errors=True)


class Postgres:
    """One server. dir holds data, log, certificates and connection parameters, and outlives restarts."""

    def __init__(self, directory, port=None, tls=False, timescale=None, settings=None, keep=False, durable=False):
        self.dir = pathlib.Path(directory).resolve()
        self.dir.mkdir(parents=True, exist_ok=True)
        self.tls = tls
        self.timescale = has_timescale() if timescale is None else timescale
        self.settings = settings or {}
        self.keep = keep
        self.durable = durable
        self.host = "127.0.0.1"
        self.port = port or l2kafka.free_port()
        self.user = SUPERUSER
        self.log = self.dir / "postgres.log"
        self._user = server_user()
        self._child = None
        self.pid = None
        self._place()
        self.password = self._secret("superuser")
        self.certificates = l2certs.make(self.dir / "tls") if tls else None

    # ---- folders

    def _place(self):
        """self.data, self.socket: folders that the server's user can reach."""
        link = self.dir / "data"
        if self._user is None:
            self.root = self.dir / "server"
        elif link.is_symlink() and link.resolve().is_dir():
            self.root = link.resolve().parent
        else:
            sweep()
            self.root = pathlib.Path(tempfile.mkdtemp(prefix="l2flow-pg.", dir="/var/tmp"))
            if not self.keep:
                (self.root / "owner").write_text(str(os.getpid()))
            link.unlink(missing_ok=True)
            link.symlink_to(self.root / "data")
        self.data = self.root / "data"
        # A socket's path has 107 bytes at most
        self.socket = str(self.root if len(str(self.root)) < 80 else tempfile.mkdtemp(prefix="l2flow-pg.", dir="/tmp"))
        for folder in (self.root, self.data):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
            self._give(folder)
        if self._user is not None:
            self.root.chmod(0o755)  # the socket is for everybody; the password keeps the door

    def _give(self, path):
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _secret(self, name):
        """A password, kept in a file of mode 600: DIR/NAME.password."""
        path = self.password_file(name)
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(24) + "\n")
        return path.read_text().strip()

    def password_file(self, name="superuser"):
        return self.dir / f"{name}.password"

    def remove(self):
        """Kills the server and removes its data."""
        self.kill()
        shutil.rmtree(self.root, ignore_errors=True)
        if self.socket != str(self.root):
            shutil.rmtree(self.socket, ignore_errors=True)
        if (self.dir / "data").is_symlink():
            (self.dir / "data").unlink()

    # ---- start, stop

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_):
        self.remove()

    def _as_server(self, command):
        if self._user is None:
            return command
        return ["setpriv", f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups", *command]

    def _initdb(self):
        if (self.data / "PG_VERSION").exists():
            return
        password = self.root / "pw"
        password.touch(0o600)
        password.write_text(self.password + "\n")
        self._give(password)
        command = [binary("initdb"), "-D", str(self.data), "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8",
                   "--auth=scram-sha-256", f"--pwfile={password}"] + ([] if self.durable else ["--no-sync"])
        done = subprocess.run(self._as_server(command), capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              cwd=self.root, timeout=120, check=False)
        password.unlink()
        if done.returncode != 0:
            raise PostgresError(f"initdb failed: {done.stdout[-300:]}{done.stderr[-500:]}")

    def _configure(self):
        fixed = {
            "listen_addresses": "'127.0.0.1'", "port": self.port, "unix_socket_directories": f"'{self.socket}'",
            "password_encryption": "'scram-sha-256'", "max_connections": 40, "shared_buffers": "'64MB'",
            "timezone": "'UTC'", "log_timezone": "'UTC'", "log_line_prefix": "'%m [%p] %q%u@%d '",
        }
        if not self.durable:  # a test's: a crash of the machine may lose it, a crash of the server loses nothing
            fixed.update({"fsync": "off", "full_page_writes": "off"})
        if self.timescale:
            fixed.update({"shared_preload_libraries": "'timescaledb'", "timescaledb.telemetry_level": "off",
                          "timescaledb.max_background_workers": 4})
        if self.tls:
            fixed.update({"ssl": "on", "ssl_cert_file": "'server.pem'", "ssl_key_file": "'server.pem'"})
            self.present("server")
        fixed.update(self.settings)
        (self.data / "l2flow.conf").write_text("".join(f"{key} = {value}\n" for key, value in fixed.items()))
        main = self.data / "postgresql.conf"
        if "include 'l2flow.conf'" not in main.read_text():
            with open(main, "a") as file:
                file.write("include 'l2flow.conf'\n")
        self._give(self.data / "l2flow.conf")

    def present(self, name, running=False):
        """Which certificate (a kind of l2certs) the server shows, from its next start or, when it is running, from now on."""
        target = self.data / "server.pem"
        target.unlink(missing_ok=True)
        shutil.copy(self.certificates.keystore(name), target)
        target.chmod(0o600)
        self._give(target)
        if running:
            self.reload()

    def plaintext_only(self, yes):
        """ssl = off from now on, or on again."""
        self.psql(f"ALTER SYSTEM SET ssl = {'off' if yes else 'on'}")
        self.reload()

    def reload(self):
        os.kill(self.pid, signal.SIGHUP)
        time.sleep(0.3)

    def start(self):
        """Starts and waits until it answers. Bounded by READY_SECONDS_MAX. No-op when it runs."""
        if self.running():
            return self
        self._initdb()
        self._configure()
        command = self._as_server([binary("postgres"), "-D", str(self.data)])
        if not self.keep:  # INT: an orderly, fast shutdown. Set after the change of user, which clears it
            command = [*command[:-3], "setpriv", "--pdeathsig", "INT", *command[-3:]]
        self._child = _SPAWNER.submit(self._spawn, command).result()
        self.pid = self._child.pid
        self._wait_ready()
        return self

    def _spawn(self, command):
        with open(self.log, "ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.root,
                                    start_new_session=True)

    def _wait_ready(self):
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            if self._child is not None and self._child.poll() is not None:
                raise PostgresError(f"postgres ended with {self._child.returncode}: {self._log_tail()}")
            if self.is_ready():
                return
            time.sleep(0.05)
        raise PostgresError(f"postgres not ready on port {self.port} in {READY_SECONDS_MAX} s: {self._log_tail()}")

    def is_ready(self):
        done = subprocess.run([binary("pg_isready"), "-q", "-h", self.socket, "-p", str(self.port)],
                              stdin=subprocess.DEVNULL, timeout=30, check=False)
        return done.returncode == 0

    def _log_tail(self):
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return f"see {self.log}: " + " | ".join(lines[-3:])

    def running(self):
        if self._child is not None:
            return self._child.poll() is None
        found = pid_of(self.data)
        self.pid = found or self.pid
        return found is not None

    def processes(self):
        """The postmaster and its children."""
        if not self.running():
            return []
        children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def stop(self):
        """A fast shutdown: connections are ended, data is flushed."""
        self._end(signal.SIGINT)

    def kill(self):
        """SIGKILL to all of its processes: a crash."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def _end(self, sig):
        pid = self.pid if self._child is not None else pid_of(self.data) or self.pid
        if self.running():
            os.kill(pid, sig)
        if pid is not None and not self._wait_end(pid, STOP_SECONDS_MAX) and self.running():
            os.kill(pid, signal.SIGKILL)
            self._wait_end(pid, STOP_SECONDS_MAX)
        self._child = None
        self.pid = None

    def _wait_end(self, pid, seconds):
        """Until it is gone, not only dying: the next postmaster asks whether the pid of postmaster.pid is there."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._child is not None:
                self._child.poll()
            if not os.path.exists(f"/proc/{pid}"):
                return True
            time.sleep(0.02)
        return False

    def freeze(self):
        """As a machine that hangs: connections stay open, nothing answers."""
        for pid in self.processes():  # the postmaster first: it makes no more
            os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in self.processes():
            os.kill(pid, signal.SIGCONT)

    # ---- use

    def psql(self, sql, database="postgres", user=None, password=None, check=True, timeout=60, host=None):
        """The output of psql -At (one line a row, fields by |); PostgresError unless check=False: then the process."""
        environment = {**os.environ, "PGPASSWORD": password or (self.password if user is None else self._secret(user)),
                       "PGCONNECT_TIMEOUT": "10", "PGOPTIONS": ""}
        done = subprocess.run([binary("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", host or self.socket, "-p",
                               str(self.port), "-U", user or self.user, "-d", database], input=sql, text=True,
                              capture_output=True, env=environment, timeout=timeout, check=False)
        if not check:
            return done
        if done.returncode != 0:
            raise PostgresError(f"psql: {done.stderr.strip()}")
        return done.stdout.rstrip("\n")

    def database(self, name, owner=None):
        """A new, empty database, closed to everybody but its owner and those it is granted to."""
        self.psql(f'CREATE DATABASE "{name}"' + (f' OWNER "{owner}"' if owner else ""))
        self.psql(f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC')
        return name

    def login(self, name, *groups):
        """A login role in these groups; its password, also in DIR/NAME.password."""
        password = self._secret(name)
        self.psql(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{password}'" +
                  (f" IN ROLE {', '.join(groups)}" if groups else ""))
        return password

    def settings_of(self, database, user=None):
        """Rows of a program's configuration file (connect_pg): through loopback, plaintext unless tls."""
        rows = {"pg_host": self.host, "pg_port": self.port, "pg_database": database, "pg_user": user or self.user,
                "pg_password_file": self.password_file(user or "superuser"),
                "pg_sslmode": "verify-full" if self.tls else "disable"}
        if self.tls:
            rows["pg_sslrootcert"] = self.certificates.ca
        return "".join(f"{key} = {value}\n" for key, value in rows.items())


def pid_of(data):
    """The pid of the server whose data this is, or None. A reused pid is told by the command line."""
    try:
        pid = int((pathlib.Path(data) / "postmaster.pid").read_text().split("\n", 1)[0])
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if str(data).encode() in command else None


# ---- ./run up, down, status

DATABASE, PORT = "l2flow", 5433
LOGINS = {"archiver": "l2flow_archiver", "reader": "l2flow_reader"}


def is_made(directory):
    return (pathlib.Path(directory) / "data" / "PG_VERSION").exists() or \
        (pathlib.Path(directory) / "server" / "data" / "PG_VERSION").exists()


def port_of(directory):
    try:
        return int((pathlib.Path(directory) / "port").read_text())
    except (OSError, ValueError):
        return None


def choose_port(directory, port, port_is_given):
    """The port that it had or that is asked for; another when nobody asked and that one is taken."""
    port = port if port_is_given else port_of(directory) or port
    if l2kafka.port_is_free(port):
        return port
    if port_is_given:
        raise PostgresError(f"port {port} on 127.0.0.1 is taken by another program: "
                            "choose one with L2FLOW_PG_PORT=N ./run up")
    other = l2kafka.free_port()
    print(f"port {port} is taken by another program: using {other}", file=sys.stderr)
    return other


def start_to_stay(directory, port, port_is_given):
    if is_made(directory):
        pg = Postgres(directory, port=port_of(directory), keep=True, durable=True)
        if pg.running():
            return pg
    pg = Postgres(directory, port=choose_port(directory, port, port_is_given), keep=True, durable=True)
    try:
        pg.start()
    except BaseException:
        pg.kill()
        raise
    (directory / "port").write_text(f"{pg.port}\n")
    return pg


def is_running(directory):
    return is_made(directory) and Postgres(directory, port=port_of(directory), keep=True, durable=True).running()


def furnish(pg, database, directory, l2ctl):
    """The database, migrated, with a login role for each service; their settings in DIRECTORY/*.conf."""
    if pg.psql(f"SELECT count(*) FROM pg_database WHERE datname = '{database}'") == "0":
        pg.database(database)
    write_private(directory / "admin.conf", pg.settings_of(database))
    done = subprocess.run([l2ctl, "db", "migrate", "--config", str(directory / "admin.conf")], text=True,
                          capture_output=True, stdin=subprocess.DEVNULL, timeout=1200, check=False)
    if done.returncode != 0:
        raise PostgresError(f"{l2ctl} db migrate: {done.stderr.strip()}")
    for name, group in LOGINS.items():
        if pg.psql(f"SELECT count(*) FROM pg_roles WHERE rolname = '{name}'") == "0":
            pg.login(name, group)
        write_private(directory / f"{name}.conf", pg.settings_of(database, name))


def up(directory, port, port_is_given, l2ctl):
    """A server that stays, with database l2flow."""
    directory = pathlib.Path(directory)
    pg = start_to_stay(directory, port, port_is_given)
    furnish(pg, DATABASE, directory, l2ctl)
    print(f"{pg.host}:{pg.port}")


def write_private(path, text):
    path.write_text(text)
    path.chmod(0o600)


def status(directory):
    if not is_made(directory) or port_of(directory) is None:
        print("postgres: never started")  # by choice, with --no-postgres: no failure
        return 0
    pg = Postgres(directory, port=port_of(directory), keep=True, durable=True)
    if not pg.running():
        print("postgres: not running")
        return 3
    print(f"postgres: {'ready' if pg.is_ready() else 'NOT answering'} on {pg.host}:{pg.port}, database {DATABASE}, "
          f"{'with' if pg.timescale else 'without'} TimescaleDB, pid {pg.pid}, data in {pg.data}, settings in {directory}/*.conf")
    return 0


def main():
    parser = argparse.ArgumentParser(description="start, stop or look at the PostgreSQL that lives in DIR")
    parser.add_argument("--port", type=int, help=f"default {PORT}, another when that one is taken")
    parser.add_argument("--l2ctl", default="l2ctl", help="the program that migrates the database, for up")
    parser.add_argument("action", choices=["up", "down", "status"])
    parser.add_argument("dir", type=pathlib.Path)
    args = parser.parse_args()
    try:
        if args.action == "up":
            up(args.dir, args.port or PORT, args.port is not None, args.l2ctl)
        elif args.action == "status":
            return status(args.dir)
        elif is_made(args.dir):
            Postgres(args.dir, keep=True, durable=True).stop()
    except PostgresError as error:
        print(f"postgres: {error}", file=sys.stderr)
        return 69
    return 0


if __name__ == "__main__":
    sys.exit(main())
