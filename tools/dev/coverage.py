"""coverage.py SUMMARY.json OUT.md: gcovr's summary as a table, by file and by part; exit 1 when a part is below its floor.

A floor only ever rises: it is what a part has reached, and 95 is the aim for all.
"""

import json
import pathlib
import sys

AIM = 95
# part: (least percentage of lines, of branches)
FLOORS = {"common/l2": (95, 95), "common/codec": (90, 75), "services": (95, 80)}


def percent(covered, total):
    return 100.0 if total == 0 else 100.0 * covered / total


def part_of(name):
    return next(part for part in FLOORS if name.startswith(part + "/"))


def figures(files):
    lines = [sum(f[f"line_{which}"] for f in files) for which in ("covered", "total")]
    branches = [sum(f[f"branch_{which}"] for f in files) for which in ("covered", "total")]
    return percent(*lines), percent(*branches), lines, branches


def row(name, files):
    line, branch, lines, branches = figures(files)
    return f"| {name} | {lines[0]} of {lines[1]} | {line:.1f} | {branches[0]} of {branches[1]} | {branch:.1f} |"


def main():
    files = json.loads(pathlib.Path(sys.argv[1]).read_text())["files"]
    parts = {part: [f for f in files if part_of(f["filename"]) == part] for part in FLOORS}
    table = ["| | lines | % | branches | % |", "| --- | ---: | ---: | ---: | ---: |"]
    failed = []
    for part, inside in parts.items():
        table.append(row(f"**{part}**", inside))
        table += [row(f["filename"], [f]) for f in sorted(inside, key=lambda f: f["filename"])]
        for what, got, least in zip(("lines", "branches"), figures(inside), FLOORS[part]):
            if got < least:
                failed.append(f"{part}: {got:.1f} % of its {what} are tested, {least} % are the least")
    text = ("# What the tests reach\n\n"
            "Made by `./run coverage`: the unit, simulation and contract tests of the domain, the codecs and the services' cores, "
            "counted by gcov without optimisation. A branch inside an `assert` is left out: its other side ends the process. "
            "Integration and end-to-end tests reach more and are not counted here. "
            f"The aim is {AIM} % of lines and of branches for each part.\n\n") + "\n".join(table) + "\n"
    pathlib.Path(sys.argv[2]).write_text(text)
    print("\n".join(table))
    for line in failed:
        print(f"coverage: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
