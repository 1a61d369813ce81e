"""The project's rules (rules.py) hold for every file of this checkout and for the objects of the pure folders."""

import os
import pathlib
import sys

import rules

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    paths = rules.tracked(ROOT)
    faults = rules.check(ROOT, paths)
    objects = rules.pure_objects(os.environ["L2FLOW_BUILD"])
    if not objects:
        faults.append(f"{os.environ['L2FLOW_BUILD']}: no objects of common/base, common/l2 or a core: build first")
    faults += rules.purity(objects)
    print("\n".join(faults) or f"{len(paths)} files and {len(objects)} pure objects keep the rules")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
