"""The monitor's PSIs over 30 days against Evidently's over the same ones: part `drift` of bench.py."""

import array
import json
import pathlib
import random
import statistics
import subprocess

import l2live
import l2qm

GOAL = 100
DAYS, WARM_DAYS, BARS_A_DAY, REFERENCE_DAYS = 90, 30, 96, 90
COLUMNS = ("kyle_lambda", "ofi_15m", "depth_imbalance_l5")
SIGNALS = ("l2_kyle_lambda_psi_30d", "l2_ofi_15m_psi_30d", "l2_depth_imbalance_l5_psi_30d")
PYTHON = l2live.ROOT / ".deps" / "bench-venv" / "bin" / "python"


def draw(rng, days, drift=1.0):
    """A row a bar; drift widens what comes in the last 30 days."""
    first = (days - WARM_DAYS) * BARS_A_DAY
    for bar in range(days * BARS_A_DAY):
        wider = drift if bar >= first else 1.0
        yield rng.lognormvariate(-3, 0.4 * wider), rng.gauss(0, 10 * wider), max(-1.0, min(1.0, rng.gauss(0, 0.3 * wider)))


def write(path, rows):
    path.write_bytes(array.array("d", [x for row in rows for x in row]).tobytes())


def write_reference(path, rows):
    features = {c: {"n": 0, "null_share": 1.0} for c in l2qm.COLUMNS}
    features |= {c: l2qm.feature_reference([row[i] for row in rows]) for i, c in enumerate(COLUMNS)}
    path.write_text(json.dumps({
        "format": 1, "version": "bench", "exchange": l2qm.EXCHANGE, "bar_seconds": 900, "training": {"from": 0, "to": 86_400_000_000},
        "cryptos": {"BTCUSDT": {"training": {"from": 0, "to": 86_400_000_000}, "snapshots_median": 9000.0, "features": features}}}))
    return {c: features[c]["edges"] for c in COLUMNS}


def ours(folder):
    done = subprocess.run([l2live.binary("bench_psi"), str(folder / "reference.json"), str(folder / "bars")], capture_output=True,
                          text=True, check=True)
    return {r["name"]: r["value"] for r in map(json.loads, done.stdout.splitlines())}


def part_drift(bench, _broker, folder, quick):
    if not PYTHON.exists():
        bench.say("drift: left out: ./run deps bench has not got Evidently here")
        return []
    folder, rng = pathlib.Path(folder), random.Random(5)
    reference, bars = list(draw(rng, REFERENCE_DAYS)), list(draw(rng, DAYS, 1.15))
    write(folder / "reference", reference)
    write(folder / "bars", bars)
    write(folder / "current", bars[-WARM_DAYS * BARS_A_DAY:])
    (folder / "edges.json").write_text(json.dumps(write_reference(folder / "reference.json", reference)))
    before = ours(folder)
    bench.say("drift: Evidently")
    done = subprocess.run([str(PYTHON), str(l2live.ROOT / "bench" / "evidently_psi.py"), *(str(folder / n) for n in
                          ("reference", "current", "edges.json")), "5" if quick else "50"], capture_output=True, text=True, check=True,
                          env={"DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    theirs, after = json.loads(done.stdout), ours(folder)
    day_s = (before["day"] + after["day"]) / 2 * 1e-9
    apart = max(abs(theirs["our_bins"][i] - after[s]) for i, s in enumerate(SIGNALS))
    bench.say("drift: PSIs: " + "; ".join(f"{c} {after[s]:.4f}, Evidently in the same bins {b:.4f}, in its own {o:.4f}" for c, s, b, o in
                                          zip(COLUMNS, SIGNALS, theirs["our_bins"], theirs["own_bins"], strict=True)))
    report, test = statistics.median(theirs["report_s"]), statistics.median(theirs["test_s"])
    name = f"Evidently {theirs['version']}"
    return [bench.row(f"3 PSIs over 30 d of one crypto, {name}'s report against a day of the monitor", report * 1e6, "us of CPU",
                      f"ratio >= {GOAL}", report / day_s >= GOAL, day_s * 1e6, report / day_s),
            bench.row(f"the same, {name}'s test function alone", test * 1e6, "us of CPU", None, None, day_s * 1e6, test / day_s),
            bench.row(f"greatest difference of a PSI, {name} in the monitor's bins", apart, "", "<= 1e-9", apart <= 1e-9)]
