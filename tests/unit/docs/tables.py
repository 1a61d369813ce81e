"""tables.py [--write]: the tables that come from elsewhere: a service's configuration and metrics from its binary, in its README
between <!-- configuration --> or <!-- metrics --> and <!-- end -->; the soak's from bench/soak.json. Without --write: says which differ.
"""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path += [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "fault")]
import soak  # noqa: E402

READMES = {name: ROOT / "services" / name / "README.md" for name in ("feature-producer", "bar-archiver", "quality-monitor")}
READMES["l2engine"] = ROOT / "tools" / "l2engine" / "README.md"


def binary(name):
    return pathlib.Path(os.environ.get("L2FLOW_BIN", ROOT / "build" / "release" / "bin")) / name


def say(name, option):
    return subprocess.run([binary(name), option], capture_output=True, text=True, check=True).stdout


def metrics(page):
    """[(name, type, help, label, values)] of a Prometheus page, in its order."""
    found = {}
    for line in page.splitlines():
        if line.startswith("# HELP "):
            name, text = line[len("# HELP "):].split(" ", 1)
            found[name] = [name, "", text, "", []]
        elif line.startswith("# TYPE "):
            name, kind = line[len("# TYPE "):].split(" ")
            found[name][1] = kind
        elif (match := re.match(r'(\w+)\{(\w+)="([^"]*)"\}', line)) and match[1] in found:  # not a histogram's buckets
            found[match[1]][3] = match[2]
            found[match[1]][4].append(match[3])
    return list(found.values())


def metrics_table(page):
    lines = ["| metric | type | label | meaning |", "| --- | --- | --- | --- |"]
    for name, kind, text, label, _ in metrics(page):
        lines.append(f"| `{name}` | {kind} | {f'`{label}`' if label else ''} | {text} |")
    return "\n".join(lines) + "\n"


def with_tables(name, text):
    for marker, table in (("configuration", say(name, "--print-config-markdown")), ("metrics", metrics_table(say(name, "--print-metrics")))):
        head, tail = text.split(f"<!-- {marker} -->\n", 1)
        text = f"{head}<!-- {marker} -->\n{table}<!-- end -->{tail.split('<!-- end -->', 1)[1]}"
    return text


def pages():
    """(path, what it says, what it should say)"""
    for name, path in READMES.items():
        yield path, path.read_text(), with_tables(name, path.read_text())
    yield soak.PAGE, soak.PAGE.read_text(), soak.with_table(soak.PAGE.read_text())


def main():
    differ = 0
    for path, old, new in pages():
        if old != new and "--write" in sys.argv:
            path.write_text(new)
        elif old != new:
            print(f"{path.relative_to(ROOT)}: its tables are old: python tests/unit/docs/tables.py --write")
            differ = 1
    return differ


if __name__ == "__main__":
    sys.exit(main())
