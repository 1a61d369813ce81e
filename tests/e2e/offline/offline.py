"""Run `feature-producer --offline` and hold what it wrote against the reference, field by field."""

import io
import math
import os
import pathlib
import subprocess
import sys

import fastavro

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import l2_ref  # noqa: E402
import l2_sketch_ref  # noqa: E402
import l2_streams  # noqa: E402

BIN = pathlib.Path(os.environ.get("L2FLOW_BIN", ROOT / "build" / "dev" / "bin"))
OPTIONS = {"bar_seconds": "--bar-seconds", "window_seconds": "--window-seconds", "purge_bars": "--purge-bars",
           "max_gap_seconds": "--max-gap-seconds"}
IDENTITY = ("exchange", "symbol", "bar_time", "bar_seconds", "schema_version")
# The newest snapshot used and where the stream stood are provenance, but no less defined where there is a value.
BAR_EXACT = IDENTITY + ("snapshots", "gaps", "closed_by", "last_event_time")
FEATURE_EXACT = IDENTITY + ("feature_set", "purge_bars", "source_bar_time")
RESUME_EXACT = ("epoch", "sequence", "last_event_time")
TOLERANCE = 1e-9        # of Σ|terms|, for the sums over a window
QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)
BOOK_TOLERANCE = 1e-12  # for what one snapshot gives


class Outputs:
    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.bars = list(l2_ref.read_records(folder / "l2_bars.avro"))
        self.features = list(l2_ref.read_records(folder / "l2_features.avro"))
        self.dead_letters = list(l2_ref.read_records(folder / "l2_dlq.avro"))


def produce(source, folder, params, closes=None):
    """Run the producer on a file; the Outputs."""
    command = [BIN / "feature-producer", "--offline", source, "--out-dir", folder]
    for name, option in OPTIONS.items():
        if name in params:
            command += [option, str(params[name])]
    if closes:
        path = pathlib.Path(folder) / "recorded_closes.avro"
        l2_streams.write_container(path, l2_streams.bar_rows(closes), "l2_bar")
        command += ["--closes", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise AssertionError(f"feature-producer ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return Outputs(folder)


def near(got, wanted, slack):
    if got is None or wanted is None:
        return got is wanted
    return math.isfinite(got) and abs(got - wanted) <= slack


def record_differences(kind, got, wanted, exact, prefix):
    where = f"{kind} {wanted['symbol']} {wanted['bar_time']}"
    for name in exact:
        if got[name] != wanted[name]:
            yield f"{where} {name}: {got[name]!r}, by the reference {wanted[name]!r}"
    for column in l2_ref.COLUMNS:
        name = prefix + column
        share = TOLERANCE if column in ("ofi_15m", "kyle_lambda") else BOOK_TOLERANCE
        if not near(got[name], wanted[name], share * wanted["terms"][name]):
            yield f"{where} {name}: {got[name]!r}, by the reference {wanted[name]!r} (Σ|terms| {wanted['terms'][name]!r})"


def bar_differences(got, wanted):
    yield from record_differences("bar", got, wanted, BAR_EXACT, "")
    where = f"bar {wanted['symbol']} {wanted['bar_time']}"
    if not near(got["coverage"], wanted["coverage"], 1e-12):
        yield f"{where} coverage: {got['coverage']!r}, by the reference {wanted['coverage']!r}"
    for name in RESUME_EXACT:
        if got["resume"][name] != wanted["resume"][name]:
            yield f"{where} resume.{name}: {got['resume'][name]!r}, by the reference {wanted['resume'][name]!r}"
    yield from sketch_differences(got, wanted)


def sketch_differences(got, wanted):
    """The sketch has counted each spread of the bar, and its quantiles are within 1 % of the exact ones."""
    where = f"bar {wanted['symbol']} {wanted['bar_time']} spread_sketch"
    try:
        bins = l2_sketch_ref.decode(got["spread_sketch"])
    except (ValueError, IndexError) as error:
        yield f"{where}: {error}"
        return
    if sum(count for _, count in bins) != wanted["snapshots"]:
        yield f"{where}: counts {sum(count for _, count in bins)}, by the reference {wanted['snapshots']} snapshots"
        return
    spreads = sorted(wanted["spreads"])
    for q in QUANTILES if spreads else ():
        exact = spreads[math.floor(q * (len(spreads) - 1))]
        found = l2_sketch_ref.quantile(bins, q)
        if 1e-4 <= exact <= 1e4 and abs(found - exact) > 0.01 * exact * (1 + 1e-12):
            yield f"{where}: quantile {q} is {found!r}, exactly {exact!r}"


def letter_differences(got, wanted, record):
    where = f"dead letter of record {wanted['index']}"
    if (got["reason"], got["offset"]) != (wanted["reason"], wanted["index"]):
        yield f"{where} {wanted['reason']}: got {got['reason']} for record {got['offset']}"
        return
    if wanted["reason"] != "undecodable" and got["symbol"] != wanted["symbol"]:
        yield f"{where} symbol: {got['symbol']!r}, by the reference {wanted['symbol']!r}"
    raw = io.BytesIO()
    fastavro.schemaless_writer(raw, l2_streams.schema("l2_snapshot"), record)
    if got["value"] != raw.getvalue():
        yield f"{where} value: not the record's bytes"


def differences(outputs, records, params, closes=None):
    """What the outputs and the reference disagree on, as lines; empty when they agree. `records` may be any iterable."""
    state = l2_ref.Run(l2_ref.Params(**params), closes)
    found = []
    letters = iter(outputs.dead_letters)
    for index, record in enumerate(records):
        before = len(state.dead_letters)
        state.snapshot(index, record)
        for wanted in state.dead_letters[before:]:
            got = next(letters, None)
            if got is None:
                found.append(f"dead letter of record {index} {wanted['reason']}: missing")
            else:
                found += letter_differences(got, wanted, record)
    found += [f"dead letter too many: {got['reason']} for record {got['offset']}" for got in letters]
    for kind, got, wanted in (("bars", outputs.bars, state.bars), ("features", outputs.features, state.features)):
        if [(row["symbol"], row["bar_time"]) for row in got] != [(row["symbol"], row["bar_time"]) for row in wanted]:
            found.append(f"{kind}: {len(got)} rows, by the reference {len(wanted)}, or in another order")
    by_key = {(row["symbol"], row["bar_time"]): row for row in outputs.bars}
    for wanted in state.bars:
        got = by_key.get((wanted["symbol"], wanted["bar_time"]))
        found += bar_differences(got, wanted) if got else [f"bar {wanted['symbol']} {wanted['bar_time']}: missing"]
    by_key = {(row["symbol"], row["bar_time"]): row for row in outputs.features}
    for wanted in state.features:
        got = by_key.get((wanted["symbol"], wanted["bar_time"]))
        if got:
            valued = any(wanted["l2_" + column] is not None for column in l2_ref.COLUMNS)
            exact = FEATURE_EXACT + (("last_event_time",) if valued else ())
            found += record_differences("feature", got, wanted, exact, "l2_")
    return found


def shrink(records, fails, budget=300):
    """Fewer records for which `fails(records)` still holds: chunks are taken out while it does."""
    size = max(1, len(records) // 2)
    while size >= 1 and budget > 0:
        at, shrunk = 0, False
        while at < len(records) and budget > 0:
            fewer = records[:at] + records[at + size:]
            budget -= 1
            if fewer and fails(fewer):
                records, shrunk = fewer, True
            else:
                at += size
        if not shrunk or size > 1:
            size = size // 2 if size > 1 else 0
    return records
