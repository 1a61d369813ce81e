"""./run soak [--cycles N]: kill -9 cycles of the producer under load, in runs of up to 50, added up in bench/soak.json and in
the table of docs/reliability.md."""

import argparse
import collections
import json
import pathlib
import platform
import random
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "fault")]
import cycles  # noqa: E402
import l2fleet  # noqa: E402
import l2kafka  # noqa: E402

CYCLES_A_RUN = 50
RECORDS_A_SECOND = 2500
SECONDS_A_CYCLE = 2.6  # a kill, a start, the fold: the load lasts about as long as the kills do
KINDS = ("lost", "doubled", "reordered", "changed")
SIZES = ("bars", "features", "dead_letters")
RECORD, PAGE = ROOT / "bench" / "soak.json", ROOT / "docs" / "reliability.md"
MARKER = "<!-- figures -->\n"
SENT_A_MARKET_HOUR = 2 * 5 * 3600 * l2fleet.SYMBOLS_PER_RECORDING  # two recordings, thinned to 5 snapshots a second


def commit():
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True,
                          check=False).stdout.strip() or "unknown"


def add(entry):
    kept = json.loads(RECORD.read_text()) if RECORD.exists() else {"runs": []}
    kept["runs"].append(entry)
    kept["cycles"] = sum(r["cycles"] for r in kept["runs"])
    for kind in KINDS:
        kept[kind] = sum(r[kind] for r in kept["runs"])
    RECORD.write_text(json.dumps(kept, indent=1) + "\n")
    PAGE.write_text(with_table(PAGE.read_text()))


def table(kept):
    """The runs of a commit on a day are a row."""
    columns = ("cycles", *KINDS, *SIZES)
    rows = collections.defaultdict(collections.Counter)
    for r in kept["runs"]:
        for key in (f"{r['date']}, {r['commit']}", "all"):
            rows[key].update({c: r[c] for c in columns})
    total = rows.pop("all", None)
    lines = [f"| day, commit | {' | '.join(columns).replace('_', ' ')} |", "| --- |" + " ---: |" * len(columns)]
    for key, row in [*rows.items(), *([("**all**", total)] if total else [])]:
        lines.append(f"| {key} | " + " | ".join(f"{row[c]:,}" for c in columns) + " |")
    return "\n".join(lines) + "\n"


def with_table(text):
    """The page, which ends with the table of what bench/soak.json holds; without one it ends with the marker."""
    return text[:text.index(MARKER)] + MARKER + ("\n" + table(json.loads(RECORD.read_text())) if RECORD.exists() else "")


def main():
    parser = argparse.ArgumentParser(prog="./run soak", description=__doc__)
    parser.add_argument("--cycles", type=int, default=50, help="kills in all (default 50)")
    parser.add_argument("--seed", type=int, default=0, help="repeat a run by its printed seed")
    args = parser.parse_args()
    if args.cycles < 1:
        parser.error(f"--cycles: {args.cycles} is not a positive number")
    total, bad, done = collections.Counter(), [], 0
    while done < args.cycles:
        n = min(CYCLES_A_RUN, args.cycles - done)
        seed = args.seed or random.SystemRandom().randrange(1, 2**31)
        hours = max(0.5, n * SECONDS_A_CYCLE * RECORDS_A_SECOND / SENT_A_MARKET_HOUR)
        began = time.time()
        with tempfile.TemporaryDirectory() as folder, l2kafka.Broker(folder + "/kafka") as broker:
            counts, examples, sizes = cycles.run(broker, folder, n, RECORDS_A_SECOND, hours, seed)
        done += n
        total.update(counts)
        bad += examples
        add({"cycles": n, **{k: counts[k] for k in KINDS}, **sizes, "seed": seed, "commit": commit(),
             "machine": platform.processor() or platform.machine(), "date": time.strftime("%Y-%m-%d"),
             "seconds": round(time.time() - began)})
        print(f"{done} of {args.cycles} cycles, {sizes}", flush=True)
    print(f"cycles={done} " + " ".join(f"{k}={total[k]}" for k in KINDS))
    for example in bad[:20]:
        print(example)
    return 1 if sum(total.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
