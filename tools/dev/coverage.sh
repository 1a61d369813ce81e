#!/usr/bin/env bash
# coverage.sh: unit, sim and contract with gcov's counters, those of the parts that are counted; the table goes into
# docs/coverage.md. About 5 minutes.
# A branch inside an assert is left out: its other side ends the process, so that no test can take it and live.
# Generated code is left out too (build/*/gen): it is one pattern, and its generator has tests of its own.
set -euo pipefail
# shellcheck source=tools/dev/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

BUILD=build/coverage
find "$BUILD" -name '*.gcda' -delete # of an earlier run
say "unit, sim and contract on coverage (4 minutes)"
quietly build/coverage.test.log ctest --test-dir "$BUILD" -L '^(unit|sim|contract)$' \
    -R '^(test_(codec|l2_|fp_|ba_|qm_|quality|en_|registry|resolve|released|container)|sim_)' -j "$(nproc)" --output-on-failure
"$VENV/bin/gcovr" --root . --object-directory "$BUILD" -j "$(nproc)" --gcov-exclude-directories '.*/bench/.*' \
    --filter 'common/(l2|codec|quality)/' --filter '(services|tools)/.*/core/' \
    --exclude-branches-by-pattern '.*\b(static_)?assert\(.*' --json "$BUILD/coverage.json" >/dev/null
exec "$VENV/bin/python" tools/dev/coverage.py "$BUILD/coverage.json" tools/dev/coverage_left.txt docs/coverage.md
