"""coverage.py LINES.json LEFT.txt OUT.md: gcovr's lines as a table, by file and by part, and why what is left is left.

Exit 1 when a part is below its floor, or when LEFT.txt explains a line that is not there any more. A floor only ever
rises: it is what a part has reached, and 95 is the aim for all.
"""

import json
import pathlib
import sys

AIM = 95
# part: (least percentage of lines, of branches)
FLOORS = {"common/l2": (99, 98), "common/codec": (99, 98), "common/quality": (99, 95), "services": (99, 97),
          "tools/l2engine": (99, 98)}


def percent(covered, total):
    return 100.0 if total == 0 else 100.0 * covered / total


def part_of(name):
    return next(part for part in FLOORS if name.startswith(part + "/"))


def counts_of(lines):
    """(lines covered, in all, branches covered, in all) and the numbers of the lines with a branch that was not taken."""
    counts, open_lines = [0, 0, 0, 0], set()
    for line in lines:
        if line.get("gcovr/noncode"):
            continue
        branches = [b for b in line.get("branches", []) if not b.get("gcovr/excluded")]
        taken = sum(b["count"] > 0 for b in branches)
        for i, n in enumerate((line["count"] > 0, 1, taken, len(branches))):
            counts[i] += n
        if taken < len(branches):
            open_lines.add(line["line_number"])
    return counts, open_lines


def percents(counts):
    return percent(*counts[:2]), percent(*counts[2:])


def row(name, counts):
    line, branch = percents(counts)
    return f"| {name} | {counts[0]} of {counts[1]} | {line:.1f} | {counts[2]} of {counts[3]} | {branch:.1f} |"


def explanations(path):
    """LEFT.txt: `# a reason`, then lines `file: a piece of its line`. Yields (reason, file, piece)."""
    reason = ""
    for text in path.read_text().splitlines():
        if text.startswith("# "):
            reason = text[2:]
        elif text.strip():
            name, _, piece = text.partition(": ")
            yield reason, name, piece


def left(files, path):
    """The lines of OUT.md on what is left, and what is wrong with LEFT.txt."""
    sources = {name: pathlib.Path(name).read_text().splitlines() for name in files}
    by_reason, wrong, explained = {}, [], set()
    for reason, name, piece in explanations(path):
        numbers = {n for n, text in enumerate(sources.get(name, []), 1) if piece in text}
        if not numbers:
            wrong.append(f"{path.name}: {name} has no line with '{piece}' any more")
        still = {(name, n) for n in numbers & files.get(name, ([], set()))[1]}
        explained |= still
        by_reason.setdefault(reason, []).extend(sorted(still))
    others = sorted((name, n) for name, (_, numbers) in files.items() for n in numbers if (name, n) not in explained)
    by_reason["Not explained yet:"] = others
    text = []
    for reason, lines in by_reason.items():
        if lines:
            text += ["", reason, ""] + [f"- `{name}`: `{sources[name][n - 1].strip()}`" for name, n in lines]
    return text, wrong


def main():
    report = json.loads(pathlib.Path(sys.argv[1]).read_text())["files"]
    files = {f["file"]: counts_of(f["lines"]) for f in report}
    table = ["| | lines | % | branches | % |", "| --- | ---: | ---: | ---: | ---: |"]
    failed = []
    for part, floor in FLOORS.items():
        inside = sorted(name for name in files if part_of(name) == part)
        total = [sum(numbers) for numbers in zip(*(files[name][0] for name in inside))]
        table.append(row(f"**{part}**", total))
        table += [row(name, files[name][0]) for name in inside]
        for what, got, least in zip(("lines", "branches"), percents(total), floor):
            if got < least:
                failed.append(f"{part}: {got:.1f} % of its {what} are tested, {least} % are the least")
    reasons, wrong = left(files, pathlib.Path(sys.argv[2]))
    text = ("# What the tests reach\n\n"
            "Made by `./run coverage`: the unit, simulation and contract tests of the domain, the codecs, the reference file and the "
            "services' and the engine's cores, "
            "counted by gcov without optimisation. A branch inside an `assert` is left out: its other side ends the process. "
            "Integration and end-to-end tests reach more and are not counted here. "
            f"The aim is {AIM} % of lines and of branches for each part.\n\n") + "\n".join(table) + "\n"
    text += "\n## Lines with a branch that is left\n\nThe reasons stand in `tools/dev/coverage_left.txt`.\n" + "\n".join(reasons) + "\n"
    pathlib.Path(sys.argv[3]).write_text(text)
    print("\n".join(table))
    for line in failed + wrong:
        print(f"coverage: {line}", file=sys.stderr)
    return 1 if failed or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
