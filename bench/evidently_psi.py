"""Evidently's side of part `drift`: run by .deps/bench-venv's Python, since nothing else needs Evidently.

    evidently_psi.py REFERENCE CURRENT EDGES.json ROUNDS

REFERENCE and CURRENT hold doubles, three a bar; EDGES.json the reference's bin edges of each column. Prints one JSON object: CPU seconds of
each evaluation by a Report with a ValueDrift(method="psi") of each column, and by the function under it alone; the PSIs in Evidently's own
bins, and in ours: there it is given the number of the bin, which it takes for a category.
"""

import importlib.metadata
import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")
import numpy  # noqa: E402
import pandas  # noqa: E402
from evidently import DataDefinition, Dataset, Report  # noqa: E402
from evidently.legacy.calculations.stattests.psi import psi_stat_test  # noqa: E402
from evidently.legacy.core import ColumnType  # noqa: E402
from evidently.metrics import ValueDrift  # noqa: E402

COLUMNS = ("kyle_lambda", "ofi_15m", "depth_imbalance_l5")


def frame(path):
    return pandas.DataFrame(numpy.fromfile(path).reshape(-1, len(COLUMNS)), columns=COLUMNS)


def by_report(reference, current, **kind):
    definition = DataDefinition(**kind)
    report = Report([ValueDrift(column=c, method="psi") for c in COLUMNS])
    found = report.run(Dataset.from_pandas(current, definition), Dataset.from_pandas(reference, definition)).dict()
    return [float(m["value"]) for m in found["metrics"]]


def by_test(reference, current):
    return [float(psi_stat_test(reference[c], current[c], ColumnType.Numerical, 0.1).drift_score) for c in COLUMNS]


def timed(evaluate, rounds, *args, **kind):
    """(CPU seconds of each round but the first, which imports what is lazy, the last one's PSIs)"""
    took = []
    for _ in range(rounds + 1):
        begin = time.process_time()
        found = evaluate(*args, **kind)
        took.append(time.process_time() - begin)
    return took[1:], found


def main():
    reference, current = frame(sys.argv[1]), frame(sys.argv[2])
    edges, rounds = json.loads(open(sys.argv[3], encoding="utf-8").read()), int(sys.argv[4])
    report, own = timed(by_report, rounds, reference, current, numerical_columns=list(COLUMNS))
    test, _ = timed(by_test, rounds, reference, current)
    binned = [pandas.DataFrame({c: numpy.searchsorted(edges[c], f[c], side="right") for c in COLUMNS}) for f in (reference, current)]
    print(json.dumps({"version": importlib.metadata.version("evidently"), "report_s": report, "test_s": test, "own_bins": own,
                      "our_bins": by_report(*binned, categorical_columns=list(COLUMNS))}))


if __name__ == "__main__":
    main()
