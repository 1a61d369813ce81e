# common.sh: what ./run and its steps share. Sourced, never run.
# shellcheck shell=bash
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
DEPS=$ROOT/.deps
VENV=$DEPS/venv
VAR=$ROOT/var

say() { printf '\033[1m[l2flow]\033[0m %s\n' "$*" >&2; }
# die CODE WHAT: codes as in sysexits(3): 64 usage, 69 something needed is not to be had, 70 ours
die() {
    local code=$1
    shift
    printf 'run: %s\n' "$*" >&2
    exit "$code"
}

# quietly LOG COMMAND…: the output goes to a file, and its end to the terminal when the command fails
quietly() {
    local log=$1
    shift
    mkdir -p "$(dirname "$log")"
    "$@" >"$log" 2>&1 || { tail -n 40 "$log" >&2; die 70 "failed: $* (all of its output: $log)"; }
}
