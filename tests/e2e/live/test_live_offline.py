"""Live equals offline, to every field but provenance: the recorded market through a real Kafka, with closes by the clock.

Two hours of the looped recording, canonical parameters, are sent while a rehearsal clock runs; then the feed falls silent and the
clock closes the open bars. The offline twin reads the same records from a file and obeys the recorded closes. Both of the README's
ways of reading the features are run on the result as they stand there.
Seen to fail on: a purge one bar too short, a clock close that the offline run does not obey, an embedded time in a compared field.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import l2kafka
import l2live
import l2pg

ROOT = l2live.ROOT
PREFIX = "live."
SPEED = 400
HOURS = 2
CLOCK_CLOSES_MIN = 2  # one for each symbol: silence must become records


def market_options():
    options = ["--source", "binance-ws", "--exchange", "binance-usdm", "--loop-hours", str(HOURS), "--thin", "500"]
    for symbol in ("btcusdt", "ethusdt"):
        options += ["--input", str(ROOT / "tests" / "data" / f"usdm_{symbol}_20240808.gz"), "--symbol", symbol.upper()]
    return options


def l2replay(*options, environment=None):
    done = subprocess.run([l2live.binary("l2replay"), *market_options(), *options], capture_output=True, text=True,
                          check=False, env=dict(os.environ, **(environment or {})))
    assert done.returncode == 0, f"l2replay {options}: {done.stderr}"


def run_live(bootstrap, folder):
    """Returns the decoded bars and features."""
    sent = folder / "sent.avro"
    l2replay("--output", str(sent))
    first = l2live.records(sent)[0]["event_time"].timestamp()
    clock = {"L2_CLOCK": f"{time.time() + 5:.3f}/{first:.6f}/{SPEED}"}
    l2live.topics(bootstrap, PREFIX, 3)
    with l2live.Producer(folder, bootstrap, PREFIX, environment=clock) as producer:
        producer.wait_ready()
        l2replay("--topic", "--bootstrap", bootstrap, "--topic-prefix", PREFIX, environment=clock)
        l2live.wait_committed(bootstrap, PREFIX + "feature-producer", PREFIX + "l2.snapshots", 3, 60)
        deadline = time.monotonic() + 60
        while producer.metric("l2flow_fp_bars_total") < HOURS * 4 * 2 + CLOCK_CLOSES_MIN:
            assert time.monotonic() < deadline, f"the clock has not closed the silent bars:\n{producer.tail()}"
            time.sleep(0.2)
        assert producer.stop() == 0, producer.tail()
    return [[l2live.decode(stem, m.value) for m in l2live.dump(bootstrap, PREFIX + topic)]
            for stem, topic in (("l2_bar", "l2.bars"), ("l2_feature", "l2.features"))]


def run_example(code, environment, shell):
    command = ["bash", "-euo", "pipefail", "-c", code] if shell else [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120, check=False)
    assert done.returncode == 0, f"the README's example failed:\n{code}\n{done.stdout}{done.stderr}"
    return done.stdout.splitlines()


def run_java(code, environment):
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name) / "Engine.java"
        path.write_text(code)
        done = subprocess.run([l2kafka._java(), "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", l2kafka.jars(), str(path)], cwd=ROOT,
                              capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, f"the README's Java failed:\n{done.stderr[-3000:]}"
    return done.stdout.splitlines()


def check_readme_examples(bootstrap, folder, features):
    """Every sh, python and java block of the README, in order, as it stands there; only the folder of the binaries is this build's,
    and that of the settings of PostgreSQL one that ./run up would have made.

    Of Java's reader symbol, time and mid-price are compared, number by number.
    """
    text = (ROOT / "README.md").read_text()
    environment = dict(os.environ, L2_KAFKA_BOOTSTRAP_SERVERS=bootstrap, L2_TOPIC_PREFIX=PREFIX)
    blocks = [block.split("\n", 1) for block in text.split("```")[1::2]]
    python = next(code for kind, code in blocks if kind == "python")
    assert len(python.strip().splitlines()) <= 10, "the README promises ten lines"
    lines = [line for line in run_example(python, environment, False) if "USDT" in line]
    assert len(lines) == len(features), f"the README's reader printed {len(lines)} of {len(features)} records"
    java = next(code for kind, code in blocks if kind == "java")
    read = [line.split() for line in run_java(java, environment) if "USDT" in line]
    want = [(f["symbol"], str(round(f["bar_time"].timestamp() * 1e6)), f["l2_mid_price"]) for f in features]
    got = [(symbol, bar_time, None if mid == "null" else float(mid)) for symbol, bar_time, mid, _ in read]
    assert sorted(got, key=str) == sorted(want, key=str), f"the README's Java read {len(got)} of {len(want)} records, or others"
    with l2pg.Postgres(folder / "postgres") as pg:
        l2pg.furnish(pg, l2pg.DATABASE, folder / "postgres", l2live.binary("l2ctl"))
        for kind, code in blocks:
            if kind != "sh":
                continue
            here = code.replace("build/release/bin", os.path.dirname(l2live.binary("l2ctl")))
            lines = run_example(here.replace("var/postgres", str(folder / "postgres")), environment, True)
            if code.startswith("kcat"):
                assert len(lines) == len(features), "kcat does not list every feature"


def main():
    with tempfile.TemporaryDirectory() as name, l2kafka.shared_or_own(name + "/kafka") as bootstrap:
        folder = pathlib.Path(name)
        bars, features = run_live(bootstrap, folder)
        by_clock = [b for b in bars if b["closed_by"] == "clock"]
        l2live.write_records(folder / "closes.avro", "l2_bar", bars)
        want_bars, want_features, dead = l2live.offline(folder / "sent.avro", folder / "offline", ("--closes", folder / "closes.avro"))
        check_readme_examples(bootstrap, folder, features)
    faults = []
    for stem, got, want in (("l2_bar", bars, want_bars), ("l2_feature", features, want_features)):
        counts, examples = l2live.differences(stem, got, want)
        faults += examples
        print(stem, len(got), dict(counts))
    print(f"{len(by_clock)} bars closed by the clock")
    assert len(by_clock) >= CLOCK_CLOSES_MIN and not dead and len(bars) == len(features)
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
