"""l2ba: the real archiver on a real PostgreSQL, for tests and for the bench.

    with Archive(folder, timescale=False) as archive:      a server, the schema, the role that the archiver logs in as
        archive.fresh()                                    a new, empty, migrated database
        archive.rows("l2_snapshots")                       as the records that they came from
        with Archiver(folder, archive, bootstrap, prefix) as a:    a.kill(), a.start(), a.stop(), a.metric(name)
        done = imported(folder, archive, [path, …])        bar-archiver --import
    make_bars(n, …), make_candles(n, …)                    records with nulls and extremes
"""

import datetime
import json
import pathlib
import random
import subprocess

import l2kafka
import l2live
import l2pg

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
TABLES = {"l2_snapshots": "l2_bar", "ohlcv": "candle"}
KEYS = {"l2_snapshots": ("exchange", "symbol", "bar_seconds", "bar_time", "schema_version"),
        "ohlcv": ("exchange", "symbol", "bar_seconds", "bar_time")}
RESUME = ("epoch", "sequence", "last_event_time", "last_kafka_time")


class Archive:
    def __init__(self, folder, timescale=False, **options):
        self.folder = pathlib.Path(folder)
        self.server = l2pg.Postgres(self.folder / "pg", timescale=timescale, **options)
        self.name, self.n = None, 0

    def __enter__(self):
        self.server.__enter__()
        self.fresh()
        self.server.login("archiver", "l2flow_archiver")
        return self

    def __exit__(self, *exception):
        self.server.__exit__(*exception)

    def fresh(self):
        self.n += 1
        self.name = self.server.database(f"archive{self.n}")
        config = self.folder / "superuser.conf"
        config.write_text(self.server.settings_of(self.name))
        done = subprocess.run([l2live.binary("l2ctl"), "db", "migrate", "--config", str(config)], capture_output=True, text=True,
                              check=False, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"l2ctl db migrate: {done.stderr}")

    def settings(self):
        return self.server.settings_of(self.name, "archiver")

    def psql(self, sql, **options):
        return self.server.psql("SET search_path = l2flow, public;\n" + sql, database=self.name, **options)

    def count(self, table):
        return int(self.psql(f"SELECT count(*) FROM {table}"))

    def rows(self, table):
        """By identity. Numbers come through JSON, which PostgreSQL writes so that they read back to the same bits."""
        text = self.psql(f"SELECT row_to_json(t) FROM {table} t", timeout=300)
        rows = [json.loads(line) for line in text.splitlines()]
        found = {tuple(row[k] for k in KEYS[table]): row for row in map(from_json, rows)}
        assert len(found) == len(rows)
        return found


def from_json(row):
    row = {k: micros(v) if k.endswith("_time") and v is not None else v for k, v in row.items() if k != "archived_at"}
    if "spread_sketch" in row:
        row["spread_sketch"] = bytes.fromhex(row["spread_sketch"][2:])
    return {k: float(v) if v in ("NaN", "Infinity", "-Infinity") else v for k, v in row.items()}


def micros(text):
    return int((datetime.datetime.fromisoformat(text) - EPOCH) / datetime.timedelta(microseconds=1))


def expected(table, record):
    """The row of a record, as Archive.rows gives it."""
    row = {}
    for key, value in record.items():
        parts = {f"{key}_{k}": value[k] for k in RESUME} if key == "resume" else {key: value}
        for name, v in parts.items():
            row[name] = int((v - EPOCH) / datetime.timedelta(microseconds=1)) if isinstance(v, datetime.datetime) else v
    return tuple(row[k] for k in KEYS[table]), row


def expected_rows(table, records):
    """The first record of an identity wins."""
    rows = {}
    for key, row in (expected(table, r) for r in records):
        rows.setdefault(key, row)
    return rows


def assert_archived(archive, table, records):
    want, got = expected_rows(table, records), archive.rows(table)
    assert len(got) == len(want), f"{table}: {len(got)} rows for {len(want)} identities"
    for key, row in want.items():
        assert got.get(key) == row, f"{table} {key}: {got.get(key)} is not {row}"


def time_of(us):
    return EPOCH + datetime.timedelta(microseconds=us)


def make_bars(n, symbols=10, seed=1, schema_version="l2_schema_v1", first=0):
    r = random.Random(seed)
    extremes = (0.0, -0.0, 1e-308, 5e-324, -1.7976931348623157e308, 0.1 + 0.2, 1 / 3, -1e-9)

    def number():
        return None if r.random() < 0.2 else r.choice(extremes) if r.random() < 0.2 else r.gauss(0, 1e3)

    bars = []
    for i in range(n):
        t = 1_700_000_000_000_000 // 60_000_000 * 60_000_000 + (first + i // symbols) * 60_000_000
        bars.append({
            "exchange": "binance-usdm", "symbol": f"SYM{i % symbols}", "bar_time": time_of(t), "bar_seconds": 60,
            "schema_version": schema_version, "mid_price": number(), "spread_bps": number(), "depth_imbalance_l1": number(),
            "depth_imbalance_l5": number(), "ofi_15m": number(), "kyle_lambda": number(), "snapshots": r.randrange(700),
            "gaps": r.randrange(3), "coverage": r.random(), "spread_sketch": r.randbytes(r.randrange(60)),
            "last_event_time": None if r.random() < 0.1 else time_of(t + r.randrange(60_000_000)),
            "closed_by": r.choice(("event", "clock")), "source_partition": r.randrange(6),
            "source_offset": r.choice((0, 2**63 - 1, r.randrange(10**9))),
            "resume": {"epoch": r.randrange(2**40), "sequence": -r.randrange(2**40),
                       "last_event_time": time_of(t + r.randrange(60_000_000)), "last_kafka_time": time_of(t + 5)}})
    return bars


def make_candles(n, symbols=10, seed=2, first=0):
    r = random.Random(seed)

    def maybe(value):
        return None if r.random() < 0.3 else value

    candles = []
    for i in range(n):
        low, *inside, high = sorted(r.uniform(0.001, 1) for _ in range(4))
        first_price, last_price = r.sample(inside, 2)
        candles.append({
            "exchange": "binance-usdm", "symbol": f"SYM{i % symbols}", "bar_seconds": 60,
            "bar_time": time_of(1_700_000_000_000_000 // 60_000_000 * 60_000_000 + (first + i // symbols) * 60_000_000),
            "open": first_price, "high": high, "low": low, "close": last_price, "base_volume": r.random(),
            "quote_volume": maybe(r.random()), "taker_buy_base": maybe(r.random()), "taker_buy_quote": maybe(r.random()),
            "trade_count": maybe(r.randrange(10**6))})
    return candles


class Archiver(l2live.Producer):
    """bar-archiver as a child; ends with the with-block."""

    def __init__(self, folder, archive, bootstrap, prefix, settings=None, name="bar-archiver"):
        self.folder, self.port = pathlib.Path(folder), l2kafka.free_port()
        self.config, self.log = self.folder / f"{name}.conf", self.folder / f"{name}.log"
        values = {"topic_prefix": prefix, "listen": f"127.0.0.1:{self.port}", "kafka.bootstrap.servers": bootstrap,
                  **(settings or {})}
        self.config.write_text(archive.settings() + "".join(f"{k} = {v}\n" for k, v in values.items()))
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([l2live.binary("bar-archiver"), "--config", str(self.config)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def labelled(self, name):
        """{label's value: number} of a metric."""
        found = {}
        for line in (self.get("/metrics") or "").splitlines():
            if line.startswith(name + "{"):
                found[line.split('"')[1]] = float(line.rsplit(" ", 1)[1])
        return found


def imported(folder, archive, paths, settings="", timeout=300):
    config = pathlib.Path(folder) / "import.conf"
    config.write_text(archive.settings() + settings)
    return subprocess.run([l2live.binary("bar-archiver"), "--config", str(config), "--import", *map(str, paths)],
                          capture_output=True, text=True, check=False, timeout=timeout)
