"""What the docs say against what there is: tables from the binaries, reasons of dead letters, links.

Seen to fail: with a configuration row's help changed, a metric added, the README's row of one reason gone, a heading renamed that
another page points to, a figure of bench/soak.json changed by hand, a word of the demo's last line, a heading of the runbook that a
signal or a rule names, a signal that docs/quality.md or the metrics leave out.
"""

import contextlib
import io
import re
import subprocess
import sys
import types
import unittest

import tables

ROOT = tables.ROOT
sys.path.append(str(ROOT / "tools" / "demo"))
import screen  # noqa: E402  (the folder has to be on the path first)


def pages():
    names = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in names if (ROOT / name).exists()]


def prose(path):
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.S | re.M)


def anchors(path):
    """As GitHub makes them: lower case, no punctuation, blanks to hyphens."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", prose(path), flags=re.M)}


class Docs(unittest.TestCase):
    def test_tables_are_what_they_come_from(self):
        for path, old, new in tables.pages():
            self.assertEqual(old, new, f"{path.relative_to(ROOT)}: tests/unit/docs/tables.py --write mends it")

    def test_every_reason_is_explained(self):
        page = tables.READMES["feature-producer"].read_text()
        section = page.split("## Dead letters\n", 1)[1].split("\n## ", 1)[0]
        told = re.findall(r"^\| `(\w+)` \|", section, flags=re.M)
        row = next(m for m in tables.metrics(tables.say("feature-producer", "--print-metrics")) if m[0] == "l2flow_fp_dead_letters_total")
        self.assertEqual(told, [reason for reason in row[4] if reason != "accepted"])

    def test_readme_shows_what_the_demo_prints(self):
        args = types.SimpleNamespace(hours=8, speed=480, synthetic=False, keep=False)
        rows = {"BTCUSDT": 32, "ETHUSDT": 32}
        result = {"snapshots": 1, "bars": 64, "features": 64, "dead_letters": 0, "measured": 0, "ok": True, "faults": [],
                  "archived": {"l2_snapshots": rows, "ohlcv": rows}}
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            screen.summary(args, result, {"symbols": rows}, "", "", "", 0, None)
        block = next(block for block in re.findall(r"^```\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
                     if "  check  " in block)
        for line in block.splitlines():
            self.assertIn(line, printed.getvalue().splitlines())

    def test_links_lead_somewhere(self):
        for path in pages():
            for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
                if re.match(r"\w+:", target):
                    continue
                name, _, anchor = target.partition("#")
                other = (path.parent / name).resolve() if name else path
                self.assertTrue(other.exists(), f"{path.relative_to(ROOT)}: {target}")
                if anchor:
                    self.assertIn(anchor, anchors(other), f"{path.relative_to(ROOT)}: {target}")

    def test_exit_codes_of_the_table(self):
        schema = str(ROOT / "schemas" / "candle.avsc")
        for options, code in ((["--nonsense"], 64), (["--offline", "/nowhere.avro"], 66), (["--offline", schema], 78),
                              (["--config", "/nowhere.conf"], 78), (["--check-config"], 78)):
            done = subprocess.run([tables.binary("feature-producer"), *options], capture_output=True, check=False)
            self.assertEqual(done.returncode, code, options)

    def test_errors_point_to_the_runbook(self):
        header = (ROOT / "common" / "topics" / "topics.h").read_text()
        name, anchor = re.search(r'TOPICS_RUNBOOK "([^"#]+)#([^"]+)"', header).groups()
        self.assertIn(anchor, anchors(ROOT / name))

    def test_every_alert_has_its_entry(self):
        """Of the monitor's signals, and of the rules for Prometheus and Loki: each names a heading of the runbook."""
        core = (ROOT / "services" / "quality-monitor" / "core" / "qm_rows.c").read_text()
        named = re.findall(r'\.runbook = "([^"]*)"', core)
        self.assertEqual(len(named), core.count(".name = "), "each signal has one")
        rules = [(ROOT / "deploy" / name).read_text() for name in ("prometheus/rules/l2flow.yml", "loki/rules.yml")]
        links = [link for text in rules for link in re.findall(r"^ +runbook: (\S+)$", text, flags=re.M)]
        self.assertEqual(len(links), sum(len(re.findall(r"^ +- alert: ", text, flags=re.M)) for text in rules))
        for link in [f"docs/runbook.md#{anchor}" for anchor in named] + links:
            name, _, anchor = link.partition("#")
            self.assertIn(anchor, anchors(ROOT / name), link)

    def test_what_points_to_the_runbook_leads_there(self):
        """Wherever it stands, in code, configuration or scripts; golden records are samples of bytes."""
        names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        kinds = ".c .h .py .yml .yaml .sh .json .conf .avsc".split()
        found = 0
        for name in names:
            path = ROOT / name
            if path.suffix in kinds and not name.startswith("schemas/golden/") and path.exists():
                for anchor in re.findall(r"docs/runbook\.md#([\w-]+)", path.read_text(errors="replace")):
                    found += 1
                    self.assertIn(anchor, anchors(ROOT / "docs" / "runbook.md"), name)
        self.assertGreater(found, 20)

    def test_metrics_have_the_signals(self):
        core = (ROOT / "services" / "quality-monitor" / "core" / "qm_rows.c").read_text()
        told = {m[0]: m[4] for m in tables.metrics(tables.say("quality-monitor", "--print-metrics"))}
        for name in ("l2flow_qm_p2", "l2flow_qm_warn", "l2flow_qm_no_data"):
            self.assertEqual(sorted(told[name]), sorted(re.findall(r'\.name = "(\w+)"', core)))

    def test_every_signal_is_defined(self):
        core = (ROOT / "services" / "quality-monitor" / "core" / "qm_rows.c").read_text()
        section = (ROOT / "docs" / "quality.md").read_text().split("## Signals\n", 1)[1].split("\n## ", 1)[0]
        self.assertEqual(sorted(re.findall(r"^\| `(\w+)` \|", section, flags=re.M)), sorted(re.findall(r'\.name = "(\w+)"', core)))


if __name__ == "__main__":
    unittest.main()
