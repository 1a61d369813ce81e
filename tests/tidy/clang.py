"""clang.py: the pinned clang-format and clang-tidy over some files. Used by the tests and their self test."""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = pathlib.Path(sys.executable).parent  # the virtual environment's bin
CHECKED = ("common/", "services/", "tools/", "tests/", "bench/")


def unformatted(paths, cwd=ROOT):
    """'path:line:column: …' for what clang-format would change."""
    if not paths:
        return []
    done = subprocess.run([TOOLS / "clang-format", f"--style=file:{ROOT}/.clang-format", "--dry-run", "-Werror", *paths],
                          cwd=cwd, capture_output=True, text=True, check=False)
    faults = [line for line in done.stderr.splitlines() if "error:" in line]
    return faults or ([done.stderr] if done.returncode else [])


def compiled(build):
    """Sources of ours that a build folder compiles; generated code is not ours to style."""
    database = json.loads((pathlib.Path(build) / "compile_commands.json").read_text())
    files = {pathlib.Path(entry["directory"], entry["file"]).resolve() for entry in database}
    return sorted(str(path.relative_to(ROOT)) for path in files
                  if path.is_relative_to(ROOT) and str(path.relative_to(ROOT)).startswith(CHECKED))


def tidy(paths, build, cwd=ROOT):
    """The output of clang-tidy for each file that it has something to say of. No build: a lone file, as C11."""

    def one(path):
        if build:
            command = [path, "-p", str(build)]
        else:
            command = [path, f"--config-file={ROOT}/.clang-tidy", "--", "-std=gnu11"]
        done = subprocess.run([TOOLS / "clang-tidy", "--quiet", *command], cwd=cwd, capture_output=True, text=True,
                              check=False)
        return (done.stdout + done.stderr).strip() if done.returncode else ""

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return [said for said in pool.map(one, paths) if said]
