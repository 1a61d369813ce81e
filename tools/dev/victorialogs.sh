#!/usr/bin/env bash
# victorialogs.sh: VictoriaLogs, which takes what Loki takes (its push API), into .deps/victorialogs, for tests. Built as a Go module
# whose every part is pinned by tools/dev/victorialogs/go.sum. A minute, once. Idempotent.
# It needs a Go as new as its go.mod says, which Debian 12 has not: without one it says so and ends with 0; the tests that need it skip.
set -euo pipefail
# shellcheck source=tools/dev/common.sh
. "$(dirname "$0")/common.sh"

MODULE=$ROOT/tools/dev/victorialogs
HOME_DIR=$DEPS/victorialogs
STAMP=$(cat "$MODULE/go.mod" "$MODULE/go.sum" | sha256sum)

[ "$(cat "$HOME_DIR/stamp" 2>/dev/null)" = "$STAMP" ] && [ -x "$HOME_DIR/victoria-logs" ] && exit 0
wanted=$(awk '$1 == "go" { print $2 }' "$MODULE/go.mod")
have=$(go env GOVERSION 2>/dev/null || true)
have=${have#go}
if [ -z "$have" ] || [ "$(printf '%s\n' "$wanted" "$have" | sort -V | head -n 1)" != "$wanted" ]; then
    say "VictoriaLogs: needs Go $wanted or newer (here: ${have:-none}): tests against a Loki-compatible store are skipped"
    exit 0
fi
say "VictoriaLogs: fetch and compile (30 s to 3 minutes, once)"
mkdir -p "$DEPS/log" "$HOME_DIR"
rm -f "$HOME_DIR/stamp"
cd "$MODULE"
quietly "$DEPS/log/victorialogs.log" env GOTOOLCHAIN=local GOFLAGS=-mod=readonly CGO_ENABLED=0 \
    go build -buildvcs=false -trimpath -p 2 -o "$HOME_DIR/victoria-logs" github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs
printf '%s\n' "$STAMP" >"$HOME_DIR/stamp"
