"""The demo's archive: a PostgreSQL and a bar-archiver, where PostgreSQL is to be had; the demo goes on without."""

import pathlib
import subprocess
import sys
import threading
import time

import market

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import l2kafka  # noqa: E402  (the folder has to be on the path first)
import l2pg  # noqa: E402

BIN = ROOT / "build" / "release" / "bin"
SERVER = ROOT / "var" / "postgres"
SETTLE_SECONDS = 10  # after the last bar was committed: more than a batch takes
TABLES = {"l2_snapshots": "bars", "ohlcv": "candles"}


class Archive:
    """A database of its own in the server of ./run up, which is started if it does not run; `why`: why there is none."""

    def __init__(self, folder, prefix):
        self.folder, self.database = folder, prefix.rstrip(".").replace("-", "_")
        self.server, self.was_there, self.why = None, True, None
        self.process, self.port, self.log = None, None, folder / "bar-archiver.log"
        self._starting = threading.Thread(target=self._start_server, daemon=True)
        self._starting.start()  # beside Kafka, which takes longer

    def _start_server(self):
        try:
            self.was_there = l2pg.is_running(SERVER)
            self.server = l2pg.start_to_stay(SERVER, l2pg.PORT, False)
            l2pg.furnish(self.server, self.database, self.folder, str(BIN / "l2ctl"))
        except (l2pg.PostgresError, OSError, subprocess.SubprocessError) as error:
            self.why = str(error).strip().splitlines()[-1]

    def begin(self, bootstrap, prefix, environment):
        """Starts the archiver; its topics have to be there. False: no PostgreSQL."""
        self._starting.join()
        if self.why is not None:
            return False
        self.port = l2kafka.free_port()
        config = self.folder / "bar-archiver.conf"
        l2pg.write_private(config, (self.folder / "archiver.conf").read_text() +
                           f"topic_prefix = {prefix}\nlisten = 127.0.0.1:{self.port}\nkafka.bootstrap.servers = {bootstrap}\n")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([str(BIN / "bar-archiver"), "--config", str(config)], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=environment)
        return True

    def counts(self, table):
        """{symbol: rows}"""
        text = self.server.psql(f"SELECT symbol, count(*) FROM l2flow.{table} GROUP BY symbol ORDER BY symbol", database=self.database)
        return {symbol: int(n) for symbol, n in (line.split("|") for line in text.splitlines())}

    def audit(self, bars):
        """What is stored, {table: {symbol: rows}}, and whether that is each of `bars` ({symbol: bars of l2.bars}); waits a little."""
        until = time.monotonic() + SETTLE_SECONDS
        while self.process.poll() is None and time.monotonic() < until and \
                market.metric(self.port, "l2flow_ba_rows_total", "l2_snapshots") < sum(bars.values()):
            time.sleep(0.1)
        found = {table: self.counts(table) for table in TABLES}
        return found, all(found["l2_snapshots"].get(symbol, 0) >= n for symbol, n in bars.items())  # with --keep more come

    def end(self):
        """Also what a start under way has made."""
        self._starting.join()
        if self.server is None:
            return
        try:
            self.server.psql(f'DROP DATABASE IF EXISTS "{self.database}" WITH (FORCE)')
        except l2pg.PostgresError:
            pass  # it did not come up
        if not self.was_there:
            self.server.stop()
