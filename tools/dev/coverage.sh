#!/usr/bin/env bash
# coverage.sh: unit, sim and contract with gcov's counters; the table goes into docs/coverage.md. About 3 minutes.
# A branch inside an assert is left out: its other side ends the process, so that no test can take it and live.
# Generated code is left out too (build/*/gen): it is one pattern, and its generator has tests of its own.
set -euo pipefail
# shellcheck source=tools/dev/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

BUILD=build/coverage
find "$BUILD" -name '*.gcda' -delete # of an earlier run
say "unit, sim and contract on coverage (2 minutes)"
quietly build/coverage.test.log ctest --test-dir "$BUILD" -L '^(unit|sim|contract)$' -j "$(nproc)" --output-on-failure
"$VENV/bin/gcovr" --root . --object-directory "$BUILD" -j "$(nproc)" --gcov-exclude-directories '.*/bench/.*' \
    --filter 'common/l2/' --filter 'common/codec/' --filter 'services/.*/core/' \
    --exclude-branches-by-pattern '.*\b(static_)?assert\(.*' --json "$BUILD/coverage.json" >/dev/null
exec "$VENV/bin/python" tools/dev/coverage.py "$BUILD/coverage.json" tools/dev/coverage_left.txt docs/coverage.md
