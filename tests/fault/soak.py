"""./run soak [--faults | --monitor] [--cycles N]: kill -9 cycles of the producer under load, in runs of up to 50, added up in bench/soak.json
and in the table of docs/reliability.md. --faults: random faults of two replicas (faults.py), added up in bench/soak_faults.json.
--monitor: kill -9 cycles of the quality monitor (monitor_cycles.py), in bench/soak_monitor.json.
SIGTERM ends it after the cycle at hand: what was done is compared and added. A run that failed leaves its folder, broker's log and all,
in var/soak."""

import argparse
import collections
import json
import pathlib
import platform
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "fault")]
import cycles  # noqa: E402
import faults  # noqa: E402
import l2fleet  # noqa: E402
import l2kafka  # noqa: E402
import monitor_cycles  # noqa: E402

RECORDS_A_SECOND = 2500
SECONDS_A_CYCLE = 2.6  # a kill, a start, the fold: the load lasts about as long as the kills do
KINDS = ("lost", "doubled", "reordered", "changed")
PAGE = ROOT / "docs" / "reliability.md"
FAULT_RECORDS_A_SECOND = 800
MONITOR_DAYS = 3
MARKER = "<!-- figures -->\n"
SENT_A_MARKET_HOUR = 2 * 5 * 3600 * l2fleet.SYMBOLS_PER_RECORDING  # two recordings, thinned to 5 snapshots a second


def commit():
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True,
                          check=False).stdout.strip() or "unknown"


def add(entry, record):
    kept = json.loads(record.read_text()) if record.exists() else {"runs": []}
    kept["runs"].append(entry)
    kept["cycles"] = sum(r["cycles"] for r in kept["runs"])
    for kind in KINDS:
        kept[kind] = sum(r[kind] for r in kept["runs"])
    record.write_text(json.dumps(kept, indent=1) + "\n")
    PAGE.write_text(with_table(PAGE.read_text()))


def table(kept, title, sizes):
    """The runs of a commit on a day are a row."""
    columns = ("cycles", *KINDS, *sizes)
    rows = collections.defaultdict(collections.Counter)
    for r in kept["runs"]:
        for key in (f"{r['date']}, {r['commit']}", "all"):
            rows[key].update({c: r[c] for c in columns})
    total = rows.pop("all", None)
    lines = [f"| {title}: day, commit | {' | '.join(columns).replace('_', ' ')} |", "| --- |" + " ---: |" * len(columns)]
    for key, row in [*rows.items(), *([("**all**", total)] if total else [])]:
        lines.append(f"| {key} | " + " | ".join(f"{row[c]:,}" for c in columns) + " |")
    return "\n".join(lines) + "\n"


def run_kills(folder, n, seed, stopping):
    hours = max(0.5, n * SECONDS_A_CYCLE * RECORDS_A_SECOND / SENT_A_MARKET_HOUR)
    with l2kafka.Broker(folder + "/kafka") as broker:
        return cycles.run(broker, folder, n, RECORDS_A_SECOND, hours, seed, stopping=stopping)


def run_faults(folder, n, seed, stopping):
    broker, proxy, bootstrap = faults.broker_behind_proxy(folder + "/kafka")
    with broker:
        return faults.run(folder, broker, proxy, bootstrap, n, FAULT_RECORDS_A_SECOND, seed, stopping=stopping)


def run_monitor(folder, n, seed, stopping):
    with l2kafka.Broker(folder + "/kafka") as broker:
        return monitor_cycles.run(broker, pathlib.Path(folder), n, seed, MONITOR_DAYS, stopping=stopping)


# What is done, at most how often in one run, what of it is counted, and where it is added up.
Soak = collections.namedtuple("Soak", "title run a_run sizes record")
SENT = ("bars", "features", "dead_letters")
KILLS = Soak("kills of one producer", run_kills, 50, SENT, ROOT / "bench" / "soak.json")
FAULTS = Soak("random faults of two replicas", run_faults, 10, SENT, ROOT / "bench" / "soak_faults.json")
MONITOR = Soak("kills of the quality monitor", run_monitor, 50, ("signals", "outcomes", "alerts"), ROOT / "bench" / "soak_monitor.json")


def with_table(text):
    """The page, which ends with the tables of what bench/soak*.json hold; without any it ends with the marker."""
    tables = [table(json.loads(s.record.read_text()), s.title, s.sizes) for s in (KILLS, FAULTS, MONITOR) if s.record.exists()]
    return text[:text.index(MARKER)] + MARKER + "".join("\n" + t for t in tables)


def run(soak, n, seed, stopping):
    """One run in a folder of its own, which stays unless all was equal."""
    folder = ROOT / "var" / "soak" / f"{seed}-{int(time.time())}"
    folder.mkdir(parents=True)
    answer = soak.run(str(folder), n, seed, stopping)
    if not sum(answer[0].values()):
        shutil.rmtree(folder)
    return answer


def main():
    parser = argparse.ArgumentParser(prog="./run soak", description=__doc__)
    parser.add_argument("--cycles", type=int, default=50, help="kills (or faults) in all (default 50)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--faults", dest="soak", action="store_const", const=FAULTS, default=KILLS,
                      help="random faults of two replicas of the producer instead of kills")
    kind.add_argument("--monitor", dest="soak", action="store_const", const=MONITOR, help="kills of the quality monitor")
    parser.add_argument("--seed", type=int, default=0, help="repeat a run by its printed seed")
    args = parser.parse_args()
    if args.cycles < 1:
        parser.error(f"--cycles: {args.cycles} is not a positive number")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    total, bad, done = collections.Counter(), [], 0
    while done < args.cycles and not stop.is_set():
        n = min(args.soak.a_run, args.cycles - done)
        seed = args.seed or random.SystemRandom().randrange(1, 2**31)
        began = time.time()
        counts, examples, sizes = run(args.soak, n, seed, stop.is_set)
        n, sizes = sizes["cycles"], {k: sizes[k] for k in args.soak.sizes}
        if not n:  # told to stop before the first
            break
        done += n
        total.update(counts)
        bad += examples
        add({"cycles": n, **{k: counts[k] for k in KINDS}, **sizes, "seed": seed, "commit": commit(),
             "machine": platform.processor() or platform.machine(), "date": time.strftime("%Y-%m-%d"),
             "seconds": round(time.time() - began)}, args.soak.record)
        print(f"{done} of {args.cycles} cycles, {sizes}", flush=True)
    print(f"cycles={done} " + " ".join(f"{k}={total[k]}" for k in KINDS))
    for example in bad[:20]:
        print(example)
    return 1 if sum(total.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
