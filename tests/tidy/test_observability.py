"""Alert rules and dashboards, against Prometheus itself and the metrics that the programs have.

Each rule is evaluated by promtool on made-up series, some that it must fire on and some that it must not; then the same with the rule
spoiled both ways, so that a test that would pass anything is found out. Every metric and label that a rule or a board names is one of
the programs'. A real Prometheus scrapes what the programs print and answers every query of every board.
Seen to fail: with a rule's `for` gone, a threshold doubled, a comparison turned round, a metric renamed in a rule, in a board and in the
runbook, a label misspelt in a board, a runbook's heading renamed, a rule without a case here, two panels of one id, a severity misspelt in
a rule and in the routes, an inhibition of an alert that is not there.
"""

import functools
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse
import urllib.request

import yaml

import l2kafka

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules" / "l2flow.yml"
ALERTMANAGER = ROOT / "deploy" / "prometheus" / "alertmanager.yml"
BOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
PROMETHEUS = ROOT / ".deps" / "prometheus" / "usr" / "bin"
PROGRAMS = ("feature-producer", "bar-archiver", "quality-monitor")
FUNCTIONS = set("sum by on ignoring rate increase time absent changes vector and or unless max min count histogram_quantile le avg topk "
                "clamp_min bool without offset group_left".split())

# alert: (minute of evaluation, series that fire, series that do not). One sample a minute; promtool's "A+BxN" and "AxN" are sequences.
ONE = '{instance="a", job="j"}'
SINK = '{instance="a", job="j", sink="loki"}'
CASES = {
    "L2flowWatchdog": (1, {}, None),
    "L2flowMonitorSilent": (10, {f"l2flow_qm_heartbeat_timestamp_seconds{ONE}": "400x20"},
                            # 60 s old at the end; or begun and not beaten yet
                            {f"l2flow_qm_heartbeat_timestamp_seconds{ONE}": "0+60x8 540x4",
                             'l2flow_qm_heartbeat_timestamp_seconds{instance="b", job="j"}': "0x20"}),
    "L2flowMonitorAbsent": (10, {"up": "1x20"}, {f"l2flow_qm_heartbeat_timestamp_seconds{ONE}": "0x20"}),
    "L2flowMonitorCatchingUp": (20, {f"l2flow_qm_caught_up{ONE}": "0x30"}, {f"l2flow_qm_caught_up{ONE}": "1x6 0x30"}),
    "L2flowMonitorSeesNothing": (120, {f"l2flow_qm_caught_up{ONE}": "1x130", 'l2flow_qm_records_total{instance="a", job="j", topic="l2.bars"}': "7x130"},
                                 {f"l2flow_qm_caught_up{ONE}": "1x130", 'l2flow_qm_records_total{instance="a", job="j", topic="l2.bars"}': "7x130",
                                  'l2flow_qm_records_total{instance="a", job="j", topic="l2.ohlcv"}': "7x60 8x70"}),
    "L2flowMonitorLeavesRecordsOut": (20, {'l2flow_qm_undecodable_total{instance="a", job="j", topic="l2.bars"}': "0x10 1x10",
                                           'l2flow_qm_ahead_total{instance="a", job="j", topic="l2.bars"}': "0x20",
                                           'l2flow_qm_not_folded_total{instance="a", job="j", topic="l2.bars"}': "0x20"},
                                      {'l2flow_qm_undecodable_total{instance="a", job="j", topic="l2.bars"}': "5x20",
                                       'l2flow_qm_ahead_total{instance="a", job="j", topic="l2.bars"}': "0x20",
                                       'l2flow_qm_not_folded_total{instance="a", job="j", topic="l2.bars"}': "0x20"}),
    "L2flowSignalP2": (10, {'l2flow_qm_p2{instance="a", job="j", signal="l2_latch"}': "2x20", 'l2flow_qm_p2{instance="a", job="j", signal="l2_f1"}': "0x20",
                            'l2flow_sink_configured{instance="a", job="j", sink="alertmanager"}': "0x20"},
                       {'l2flow_qm_p2{instance="a", job="j", signal="l2_latch"}': "2x20",
                        'l2flow_sink_configured{instance="a", job="j", sink="alertmanager"}': "1x20",
                        'l2flow_qm_p2{instance="b", job="j", signal="l2_latch"}': "0x20"}),
    "L2flowLeakage": (90, {'l2flow_qm_proofs_total{instance="a", job="j", verdict="other"}': "0x60 1x60"},
                      {'l2flow_qm_proofs_total{instance="a", job="j", verdict="other"}': "4x120",
                       'l2flow_qm_proofs_total{instance="a", job="j", verdict="same"}': "0+1x120"}),
    "L2flowProofMissing": (800, {'l2flow_qm_proofs_total{instance="a", job="j", verdict="same"}': "3x900", f"l2flow_qm_caught_up{ONE}": "1x900"},
                           {'l2flow_qm_proofs_total{instance="a", job="j", verdict="same"}': "3x420 4x480", f"l2flow_qm_caught_up{ONE}": "1x900"}),
    "L2flowSinkDown": (10, {f"l2flow_sink_up{SINK}": "0x20", f"l2flow_sink_configured{SINK}": "1x20"},
                       {f"l2flow_sink_up{SINK}": "0x20", f"l2flow_sink_configured{SINK}": "0x20",
                        f"l2flow_sink_up{SINK.replace('loki', 'webhook')}": "1x9 0x20",
                        f"l2flow_sink_configured{SINK.replace('loki', 'webhook')}": "1x20"}),
    "L2flowSinkLagging": (10, {f"l2flow_sink_oldest_seconds{SINK}": "121x20"}, {f"l2flow_sink_oldest_seconds{SINK}": "120x20"}),
    "L2flowSinkRefused": (20, {f"l2flow_sink_refused_total{SINK}": "0x10 1x10"}, {f"l2flow_sink_refused_total{SINK}": "3x20"}),
    "L2flowSinkForgets": (20, {f"l2flow_sink_firing_lost_total{ONE}": "0x10 1x10"}, {f"l2flow_sink_firing_lost_total{ONE}": "3x20"}),
    "L2flowProducerAbsent": (10, {"up": "1x20"}, {f"l2flow_fp_read_total{ONE}": "0x20"}),
    "L2flowProducerSilent": (10, {f"l2flow_fp_partitions{ONE}": "6x20", f"l2flow_fp_read_total{ONE}": "0+9x5 45x20"},
                             # one that reads; one that has nothing to read
                             {f"l2flow_fp_partitions{ONE}": "6x20", f"l2flow_fp_read_total{ONE}": "0+1x20",
                              'l2flow_fp_partitions{instance="b", job="j"}': "0x20", 'l2flow_fp_read_total{instance="b", job="j"}': "5x20"}),
    "L2flowProducerUnassigned": (10, {f"l2flow_fp_partitions{ONE}": "0x20"},
                                 {f"l2flow_fp_partitions{ONE}": "0x20", 'l2flow_fp_partitions{instance="b", job="j"}': "1x20"}),
    "L2flowProducerLagging": (10, {f"l2flow_fp_event_lag_seconds{ONE}": "31x20", f"l2flow_fp_read_total{ONE}": "0+9x20"},
                              {f"l2flow_fp_event_lag_seconds{ONE}": "30x20", f"l2flow_fp_read_total{ONE}": "0+9x20",
                               'l2flow_fp_event_lag_seconds{instance="b", job="j"}': "0+60x20", 'l2flow_fp_read_total{instance="b", job="j"}': "9x20"}),
    "L2flowDeadLetters": (10, {'l2flow_fp_dead_letters_total{instance="a", job="j", reason="crossed_book"}': "0x5 2x20"},
                          {'l2flow_fp_dead_letters_total{instance="a", job="j", reason="accepted"}': "0+9x20",
                           'l2flow_fp_dead_letters_total{instance="a", job="j", reason="crossed_book"}': "4x20"}),
    "L2flowArchiverAbsent": (10, {"up": "1x20"}, {f"l2flow_ba_lag_seconds{ONE}": "0x20"}),
    "L2flowArchiverDatabaseDown": (10, {f"l2flow_ba_database_up{ONE}": "0x20", f"l2flow_ba_partitions{ONE}": "6x20"},
                                   {f"l2flow_ba_database_up{ONE}": "0x20", f"l2flow_ba_partitions{ONE}": "0x20",
                                    'l2flow_ba_database_up{instance="b", job="j"}': "1x6 0x20", 'l2flow_ba_partitions{instance="b", job="j"}': "6x20"}),
    "L2flowArchiverBehind": (20, {f"l2flow_ba_lag_seconds{ONE}": "7201x30", f"l2flow_ba_database_up{ONE}": "1x30"},
                             # an hour's bars; or PostgreSQL is away, which has an alert of its own
                             {f"l2flow_ba_lag_seconds{ONE}": "7200x30", f"l2flow_ba_database_up{ONE}": "1x30",
                              'l2flow_ba_lag_seconds{instance="b", job="j"}': "9999x30", 'l2flow_ba_database_up{instance="b", job="j"}': "0x30"}),
    "L2flowArchiverRefusedChange": (20, {'l2flow_ba_changes_refused_total{instance="a", job="j", table="ohlcv"}': "0x10 1x10"},
                                    {'l2flow_ba_changes_refused_total{instance="a", job="j", table="ohlcv"}': "3x20"}),
    "L2flowRestartsOften": (15, {f"process_start_time_seconds{ONE}": "0+100x4 400x20", f"l2flow_build_info{ONE}": "1x20"},
                            {f"process_start_time_seconds{ONE}": "0+100x3 300x20", f"l2flow_build_info{ONE}": "1x20",
                             'process_start_time_seconds{instance="b", job="other"}': "0+100x20"}),
    "L2flowSchemaRegistryAway": (10, {f"l2flow_registry_ids_waiting{ONE}": "1x20"}, {f"l2flow_registry_ids_waiting{ONE}": "0x6 1x20"}),
    "L2flowRehearsalClock": (1, {f"l2flow_rehearsal_speed{ONE}": "1000x5"}, {f"l2flow_rehearsal_speed{ONE}": "0x5"}),
}


@functools.cache
def page(program):
    return subprocess.run([pathlib.Path(os.environ["L2FLOW_BIN"], program), "--print-metrics"], capture_output=True, text=True,
                          check=True, timeout=20).stdout


@functools.cache
def series():
    """{metric as queried: labels}, of all programs."""
    found = {"up": set()}
    for line in "\n".join(page(program) for program in PROGRAMS).splitlines():
        if line and not line.startswith("#"):
            name, labels = re.match(r"(\w+)(?:\{(.*)\})? ", line).groups()
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels or ""))
    return found


def unknown(expression):
    """What the expression names and no program has: metrics, and labels in its selectors."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    for name, selector in re.findall(r"\b([a-z_]\w*)\b(?!\s*\()(?:\{([^}]*)\})?", re.sub(r"\b(by|on|without|ignoring) *\([^)]*\)", "", bare)):
        if name in FUNCTIONS or re.search(rf"[{{,]\s*{name}\s*[=!]", bare) or name.startswith("__"):
            continue
        if name not in series():
            yield name
            continue
        for label in re.findall(r"(\w+)\s*[=!]", selector):
            if label not in series()[name] | {"instance", "job"}:
                yield f"{name}{{{label}}}"


def groups():
    return yaml.safe_load(RULES.read_text())["groups"]


def rules():
    return [rule for group in groups() for rule in group["rules"]]


def write_test(folder, name, rule, cases):
    """promtool's files for one rule and [(minute, series, number of alerts that fire)]."""
    rule = {**rule, "annotations": {}}
    pathlib.Path(folder, f"{name}.rules").write_text(yaml.safe_dump({"groups": [{"name": "g", "interval": "1m", "rules": [rule]}]}))
    count = f'count(ALERTS{{alertname="{rule["alert"]}", alertstate="firing"}}) or vector(0)'
    tests = [{"interval": "1m", "input_series": [{"series": series, "values": values} for series, values in given.items()],
              "promql_expr_test": [{"expr": count, "eval_time": f"{minute}m", "exp_samples": [{"labels": "{}", "value": fires}]}]}
             for minute, given, fires in cases]
    pathlib.Path(folder, f"{name}.test").write_text(yaml.safe_dump({"rule_files": [f"{name}.rules"], "evaluation_interval": "1m",
                                                                     "tests": tests}))


def promtool(folder):
    """{name: whether all was as the test said} of the folder's tests, and promtool's words."""
    done = subprocess.run([PROMETHEUS / "promtool", "test", "rules", *sorted(path.name for path in pathlib.Path(folder).glob("*.test"))],
                          cwd=folder, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    return {name: "SUCCESS" in words for name, words in re.findall(r"Unit Testing:  (\S+)\.test\n(.*?)(?=Unit Testing:|\Z)", said, re.S)}, said


class Rules(unittest.TestCase):
    def test_promtool_takes_them(self):
        done = subprocess.run([PROMETHEUS / "promtool", "check", "rules", RULES], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_each_is_whole(self):
        for rule in rules():
            with self.subTest(rule["alert"]):
                self.assertIn(rule["labels"]["severity"], ("page", "ticket", "none"))
                self.assertEqual(rule["labels"]["service"], "l2flow")
                self.assertEqual(sorted(rule["annotations"]), ["description", "runbook", "summary"])
        self.assertEqual([rule["alert"] for rule in rules() if rule["expr"] == "vector(1)"], ["L2flowWatchdog"])

    def test_each_fires_and_does_not(self):
        self.assertEqual(sorted(CASES), sorted(rule["alert"] for rule in rules()))
        wanted = {}
        with tempfile.TemporaryDirectory() as folder:
            for rule in rules():
                minute, fires, quiet = CASES[rule["alert"]]
                cases = [(minute, fires, 1)] + ([(minute, quiet, 0)] if quiet is not None else [])
                kinds = {"right": (rule, cases), "never": ({**rule, "expr": "vector(1) > 2"}, cases)}
                if quiet is not None:
                    kinds["always"] = ({**rule, "expr": "vector(1)"}, cases)
                if "for" in rule:
                    kinds["at-once"] = (rule, [(0, fires, 1)])
                for kind, (spoiled, told) in kinds.items():
                    write_test(folder, f"{rule['alert']}-{kind}", spoiled, told)
                    wanted[f"{rule['alert']}-{kind}"] = kind == "right"
            found, said = promtool(folder)
        self.assertEqual(found, wanted, said[-2000:])

    def test_their_metrics_are_there(self):
        for rule in rules():
            self.assertEqual(list(unknown(rule["expr"])), [], rule["alert"])
        self.assertEqual(list(unknown('sum by (job) (rate(l2flow_fp_raed_total{sink="x"}[5m])) > 0')), ["l2flow_fp_raed_total"])
        self.assertEqual(list(unknown('l2flow_sink_up{snik="x"}')), ["l2flow_sink_up{snik}"])


class Routes(unittest.TestCase):
    """Who is told of what, by Alertmanager's own tool."""

    def route(self, **labels):
        done = subprocess.run([PROMETHEUS / "amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}",
                               *(f"{name}={value}" for name, value in labels.items())], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def test_amtool_takes_it(self):
        done = subprocess.run([PROMETHEUS / "amtool", "check-config", ALERTMANAGER], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_rules_go_where_they_should(self):
        receivers = {"page": "pager", "ticket": "tickets", "none": "nobody"}
        for rule in rules():
            wanted = "deadman" if rule["alert"] == "L2flowWatchdog" else receivers[rule["labels"]["severity"]]
            self.assertEqual(self.route(alertname=rule["alert"], **rule["labels"]), wanted, rule["alert"])

    def test_the_monitors_own_go_where_they_should(self):
        for severity, receiver in (("p2", "pager"), ("warn", "tickets"), ("no_data", "tickets")):
            self.assertEqual(self.route(alertname="l2_latch", severity=severity, service="l2flow", exchange="x", symbol="y"), receiver)

    def test_inhibitions_name_alerts_that_are_there(self):
        core = (ROOT / "services" / "quality-monitor" / "core" / "qm_rows.c").read_text()
        names = [rule["alert"] for rule in rules()] + re.findall(r'\.name = "(\w+)"', core)
        for rule in yaml.safe_load(ALERTMANAGER.read_text())["inhibit_rules"]:
            for matcher in rule["source_matchers"] + rule["target_matchers"]:
                name, pattern = re.match(r'(\w+) =~? "?([^"]*)"?$', matcher).groups()
                if name == "alertname":
                    for part in pattern.split("|") if "(" not in pattern else [pattern]:
                        self.assertTrue(any(re.fullmatch(part, known) for known in names), matcher)


class Pages(unittest.TestCase):
    def test_metrics_that_the_docs_name_are_there(self):
        """In text and in commands, `l2flow_x_(a|b)` as a pattern of grep among them."""
        found = 0
        for path in [*ROOT.glob("docs/**/*.md"), *ROOT.glob("services/*/README.md"), *ROOT.glob("deploy/**/*.md"), ROOT / "README.md"]:
            pattern = r"(?<!/)\b(l2flow_(?:fp|ba|qm|sink|registry)_\w*)(?:\(([\w|]+)\)(\w*))?"
            for name, options, end in re.findall(pattern, path.read_text()):
                for option in options.split("|"):
                    full = name + option + end
                    found += 1
                    self.assertTrue(full in series() or f"{full}_bucket" in series(), f"{path.relative_to(ROOT)}: {full}")
        self.assertGreater(found, 100)


class Scraped(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(page(self.path.split("/")[1]).encode())

    def log_message(self, *_):
        pass


def panels(board):
    return [panel for row in board["panels"] for panel in [row, *row.get("panels", [])] if panel["type"] != "row"]


def queries(board):
    for panel in panels(board):
        for target in panel["targets"]:
            if target["datasource"]["type"] == "prometheus":
                yield panel["title"], target["expr"]


class Boards(unittest.TestCase):
    def test_they_are_boards(self):
        self.assertGreaterEqual(len(BOARDS), 2)
        boards = [json.loads(path.read_text()) for path in BOARDS]
        self.assertEqual(len({board["uid"] for board in boards}), len(boards))
        for path, board in zip(BOARDS, boards):
            with self.subTest(path.name):
                self.assertIsNone(board.get("id"), "the server gives it")
                ids = [panel["id"] for panel in board["panels"]]
                self.assertEqual(len(set(ids)), len(ids))
                variables = {variable["name"] for variable in board["templating"]["list"]}
                for panel in panels(board):
                    self.assertTrue(panel["title"] and panel["targets"], panel)
                    self.assertRegex(panel["datasource"]["uid"], r"^\$\{\w+\}$", "the reader chooses")
                    self.assertIn(panel["datasource"]["uid"][2:-1], variables)
                    self.assertLessEqual(panel["gridPos"]["x"] + panel["gridPos"]["w"], 24)
                    for target in panel["targets"]:
                        for variable in re.findall(r"\$\{?(\w+)", target["expr"]):
                            self.assertIn(variable.removeprefix("__") if variable in variables else variable, variables | {"__rate_interval", "__range"})

    def test_panels_do_not_overlap(self):
        for path in BOARDS:
            taken = {}
            for panel in json.loads(path.read_text())["panels"]:
                place = panel["gridPos"]
                for x in range(place["x"], place["x"] + place["w"]):
                    for y in range(place["y"], place["y"] + place["h"]):
                        self.assertNotIn((x, y), taken, f"{path.name}: {panel['title']} over {taken.get((x, y))}")
                        taken[x, y] = panel["title"]

    def test_their_metrics_are_there(self):
        for path in BOARDS:
            for title, expression in queries(json.loads(path.read_text())):
                self.assertEqual(list(unknown(re.sub(r"\[\$\w+\]", "[1m]", expression))), [], f"{path.name}: {title}")

    def test_prometheus_answers_them(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scraped)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = l2kafka.free_port()
        with tempfile.TemporaryDirectory() as folder:
            scrapes = [{"job_name": name, "metrics_path": f"/{name}/metrics", "static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}]}
                       for name in PROGRAMS]
            pathlib.Path(folder, "p.yml").write_text(yaml.safe_dump({"global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                                                                     "rule_files": [str(RULES)], "scrape_configs": scrapes}))
            process = subprocess.Popen([PROMETHEUS / "prometheus", f"--config.file={folder}/p.yml", f"--storage.tsdb.path={folder}/data",
                                        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"])
            try:
                self.ask_all(f"http://127.0.0.1:{port}/api/v1/")
            finally:
                process.terminate()
                process.wait()
                server.shutdown()
                server.server_close()

    def ask(self, url, path, **words):
        with urllib.request.urlopen(f"{url}{path}?{urllib.parse.urlencode(words)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def ask_all(self, url):
        wanted = '+'.join(f'count_over_time(l2flow_build_info{{job="{name}"}}[1m])' for name in PROGRAMS)
        deadline = time.monotonic() + 60
        while True:  # until each has been scraped a few times, for rates
            try:
                counts = [self.ask(url, "query", query=part)["result"] for part in wanted.split("+")]
                if all(count and float(count[0]["value"][1]) >= 3 for count in counts):
                    break
            except OSError:
                pass
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.2)
        for path in BOARDS:
            for title, expression in queries(json.loads(path.read_text())):
                filled = re.sub(r"\$\{?(__rate_interval|__range)\}?", "1m", re.sub(r"\$\{?(job|instance)\}?", ".*", expression))
                found = self.ask(url, "query", query=filled)["result"]
                # a quantile of nothing is no number, and still an answer
                self.assertTrue(found, f"{path.name}: {title}: {filled}: no series")
        told = [rule for group in self.ask(url, "rules")["groups"] for rule in group["rules"]]
        self.assertEqual({rule["name"] for rule in told}, {rule["alert"] for rule in rules()})
        self.assertNotIn("err", {rule["health"] for rule in told}, [rule.get("lastError") for rule in told])


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
