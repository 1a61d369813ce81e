"""./run as a newcomer meets it: help, wrong words, completion; and shellcheck over every script.

Seen to fail: with the last case of ./run gone, with a label missing from test.sh's check, with an unquoted variable planted, with --seed left out of the
completion of soak.
"""

import json
import pathlib
import re
import subprocess
import unittest

import rules

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMANDS = "demo test build up down status deps fuzz soak bench coverage format completion".split()


def run(*words):
    return subprocess.run(["./run", *words], cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          check=False, timeout=60)


class Run(unittest.TestCase):
    def test_help_names_every_command(self):
        for words in ([], ["--help"]):
            done = run(*words)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            for command in COMMANDS:
                self.assertRegex(done.stdout, rf"\b{command}\b")

    def test_wrong_words_are_usage_errors(self):
        for words in (["nonsense"], ["test", "nonsense"], ["test", "unit", "nonsense"], ["build", "nonsense"],
                      ["deps", "nonsense"], ["completion", "zsh"]):
            done = run(*words)
            self.assertEqual(done.returncode, 64, words)
            self.assertRegex(done.stderr, "^run: ")
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_help_of_a_command_does_nothing_else(self):
        for command in COMMANDS:
            for word in ("--help", "-h"):
                done = run(command, word)
                self.assertEqual((done.returncode, done.stderr), (0, ""), command)
                self.assertRegex(done.stdout, rf"\./run .*\b{command}\b")

    def complete(self, *words):
        script = f"source <(./run completion bash); COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; " \
                 "_l2flow_run; echo ${COMPREPLY[@]}"
        return subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()

    def test_completion(self):
        self.assertEqual(sorted(self.complete("./run", "''")), sorted(COMMANDS + ["--help"]))
        self.assertEqual(self.complete("./run", "test", "con"), ["contract"])

    def test_completion_knows_what_the_commands_know(self):
        """The words behind a command, against the program that reads them."""
        for command, script in (("demo", "tools/demo/demo.py"), ("fuzz", "tests/fuzz/fuzz.py"), ("soak", "tests/fault/soak.py"),
                                ("bench", "bench/bench.py")):
            text = (ROOT / script).read_text()
            want = set(re.findall(r'add_argument\("(--[\w-]+)"', text))
            if command == "bench":
                want |= set(re.findall(r'"(\w+)":', re.search(r"^PARTS = \{(.*?)\}", text, re.M | re.S)[1]))
            self.assertEqual(set(self.complete("./run", command, "''")), want, command)
        presets = json.loads((ROOT / "CMakePresets.json").read_text())["buildPresets"]
        self.assertEqual(set(self.complete("./run", "build", "''")), {preset["name"] for preset in presets})
        labels = re.search(r"^LABELS=\((.*?)\)", (ROOT / "tools" / "dev" / "test.sh").read_text(), re.M)[1]
        self.assertEqual(set(self.complete("./run", "test", "''")), set(labels.split()))
        self.assertEqual(set(self.complete("./run", "deps", "''")), set(re.search(r"\((.*)\)", run("deps", "x").stderr)[1].split(", ")))
        self.assertEqual(self.complete("./run", "up", "''"), ["--no-postgres"])
        told = run("--help").stdout
        for word in {*labels.split(), *self.complete("./run", "build", "''"), *self.complete("./run", "deps", "''")}:
            self.assertRegex(told, rf"\b{word}\b")

    def test_scripts(self):
        scripts = [path for path in rules.tracked(ROOT)
                   if path.endswith((".sh", ".bash")) or (ROOT / path).read_bytes().startswith(b"#!/usr/bin/env bash")]
        self.assertIn(".ci/run", scripts)
        done = subprocess.run(["shellcheck", "-S", "info", "-e", "SC2013,SC2016,SC2034", "-x", "-P", ".", *scripts], cwd=ROOT,
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
