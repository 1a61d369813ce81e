#!/usr/bin/env python3
"""The fuzz targets for a while: a table, and the executions added up in bench/fuzz.json.

    ./run fuzz --seconds 300        five minutes in all, split evenly over the targets
    ./run fuzz --only fuzz_frame    one target
    ./run fuzz --merge              afterwards, keep the inputs that reach new code in tests/fuzz/corpus

Each target starts from tests/fuzz/corpus/TARGET and from what earlier runs found (build/fuzz/fuzz/TARGET). A crash leaves
its input in build/fuzz/fuzz/crashes, is printed with the command that repeats it, and makes the exit code 1.
"""
import argparse
import concurrent.futures
import datetime
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEEDS = ROOT / "tests" / "fuzz" / "corpus"
RESULTS = ROOT / "bench" / "fuzz.json"
KEEP_BYTES_MAX = 1024  # of an input that --merge keeps, and …
KEEP_FILES_MAX = 40  # … how many a target may have: the corpus is in git


def targets_of(build):
    """Name and longest input of each target, as CMake wrote them."""
    listed = build / "fuzz" / "targets"
    if not listed.exists():
        sys.exit(f"fuzz: {listed} is not there: type ./run build fuzz")
    return [(name, int(max_len)) for name, max_len in (line.split() for line in listed.read_text().splitlines())]


def folders(build, name):
    found, seeds, crashes = build / "fuzz" / name, SEEDS / name, build / "fuzz" / "crashes"
    for folder in (found, seeds, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    return found, seeds, crashes


def stat(output, name):
    match = re.search(rf"stat::{name}:\s*(\d+)", output)
    return int(match.group(1)) if match else 0


def fuzz(build, name, max_len, seconds):
    found, seeds, crashes = folders(build, name)
    before = set(crashes.glob(f"{name}-*"))
    command = [build / "bin" / name, f"-max_total_time={max(1, round(seconds))}", f"-max_len={max_len}", "-timeout=10",
               "-rss_limit_mb=2048", "-print_final_stats=1", f"-artifact_prefix={crashes}/{name}-", found, seeds]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    took = time.monotonic() - started
    executions = stat(done.stderr, "number_of_executed_units")
    coverage = re.findall(r"\bcov: (\d+)", done.stderr)
    return {
        "target": name,
        "executions": executions,
        "per_second": round(executions / took) if took > 0 else 0,
        "edges": int(coverage[-1]) if coverage else 0,
        "corpus": sum(1 for folder in (found, seeds) for _ in folder.iterdir()),
        "crashes": len(set(crashes.glob(f"{name}-*")) - before) or (1 if done.returncode else 0),
        "inputs": sorted(str(path) for path in set(crashes.glob(f"{name}-*")) - before),
        "said": done.stderr[-3000:] if done.returncode else "",
    }


def print_row(*cells):
    print("{:<18} {:>12} {:>9} {:>6} {:>7} {:>8}".format(*cells), flush=True)


def merge(build, name, max_len):
    """The smallest inputs that together reach what the corpus reaches, into tests/fuzz/corpus."""
    found, seeds, _ = folders(build, name)
    scratch = build / "fuzz" / f"{name}.merge"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    subprocess.run([build / "bin" / name, "-set_cover_merge=1", f"-max_len={max_len}", scratch, seeds, found],
                   capture_output=True, check=True)
    kept = [path for path in sorted(scratch.iterdir(), key=lambda path: (path.stat().st_size, path.name))
            if path.stat().st_size <= KEEP_BYTES_MAX]
    room = KEEP_FILES_MAX - sum(1 for _ in seeds.iterdir())
    added = 0
    for path in kept:
        target = seeds / path.name[:16]
        if added < room and not target.exists() and path.read_bytes() not in [p.read_bytes() for p in seeds.iterdir()]:
            shutil.copy(path, target)
            added += 1
    shutil.rmtree(scratch)
    return added


def git(*args):
    done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def save(rows, seconds):
    """Adds to bench/fuzz.json: totals by target, and a line for this run."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    totals = results.setdefault("targets", {})
    for row in rows:
        total = totals.setdefault(row["target"], {"executions": 0, "crashes": 0})
        total["executions"] += row["executions"]
        total["crashes"] += row["crashes"]
        total["edges"] = row["edges"]
    run = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else ""),
        "seconds": seconds,
        "executions": sum(row["executions"] for row in rows),
        "crashes": sum(row["crashes"] for row in rows),
    }
    results.setdefault("runs", []).append(run)
    results["executions"] = sum(total["executions"] for total in totals.values())
    results["crashes"] = sum(total["crashes"] for total in totals.values())
    text = json.dumps(results, indent=2, sort_keys=True) + "\n"
    unfinished = RESULTS.with_suffix(".json.tmp")
    unfinished.write_text(text)
    unfinished.replace(RESULTS)
    return results


def main():
    parser = argparse.ArgumentParser(prog="./run fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, metavar="N", help="for all targets together (60)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="targets at a time (1)")
    parser.add_argument("--only", action="append", metavar="TARGET", help="this one; may be given again")
    parser.add_argument("--merge", action="store_true", help="add the inputs that reach new code to the kept corpus")
    parser.add_argument("--no-save", action="store_true", help="leave bench/fuzz.json alone")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "fuzz", metavar="DIR")
    args = parser.parse_args()

    targets = [(name, max_len) for name, max_len in targets_of(args.build) if not args.only or name in args.only]
    if not targets or args.seconds <= 0 or args.jobs < 1:
        parser.error("no such target, or no time, or no jobs")
    each = args.seconds * min(args.jobs, len(targets)) / len(targets)
    print(f"fuzzing {len(targets)} targets, {each:.0f} s each, under ASan and UBSan")
    print_row("target", "executions", "execs/s", "edges", "corpus", "crashes")
    os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1")
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        rows = []
        for row in pool.map(lambda target: fuzz(args.build, *target, each), targets):
            rows.append(row)
            print_row(row["target"], row["executions"], row["per_second"], row["edges"], row["corpus"], row["crashes"])
    crashes = sum(row["crashes"] for row in rows)
    print_row("all", sum(row["executions"] for row in rows), "", "", "", crashes)
    for row in rows:
        if row["said"]:
            print(f"\n{row['target']}:\n{row['said']}")
        for path in row["inputs"]:
            print(f"repeat it: {args.build / 'bin' / row['target']} {path}")
    if not args.no_save:
        results = save(rows, args.seconds)
        print(f"bench/fuzz.json: {results['executions']:,} executions and {results['crashes']} crashes so far")
    if args.merge:
        for name, max_len in targets:
            print(f"{name}: {merge(args.build, name, max_len)} inputs added to the corpus")
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
