#!/usr/bin/env bash
# deps.sh [build] [kafka] [python] [test]: install what is missing; nothing named: all of it.
#   build    compiler, libraries and librdkafka         kafka   Java and the Kafka server's jars
#   python   .deps/venv with the client libraries       test    clang, kcat and the linters
# Idempotent: what is there is left alone. As root apt packages are installed; as a plain user the missing ones are named.
set -euo pipefail
# shellcheck source=tools/dev/common.sh
. "$(dirname "$0")/common.sh"

BUILD_PACKAGES=(gcc make cmake ninja-build pkg-config python3 zlib1g-dev libssl-dev libzstd-dev libavro-dev
    libjansson-dev libmicrohttpd-dev libcmocka-dev ca-certificates)
TEST_PACKAGES=(clang-19 libclang-rt-19-dev kcat git)

have_package() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

# need_packages PACKAGE…
need_packages() {
    local missing=() p
    command -v dpkg-query >/dev/null || die 69 "this script knows Debian 12; elsewhere install the like of: $*"
    for p in "$@"; do have_package "$p" || missing+=("$p"); done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || die 69 "packages are missing; as root type: apt-get install --no-install-recommends ${missing[*]}"
    say "apt packages: ${missing[*]} (up to 3 minutes)"
    export DEBIAN_FRONTEND=noninteractive
    quietly "$DEPS/log/apt-update.log" apt_retry apt-get -o Acquire::Retries=3 update
    quietly "$DEPS/log/apt-install.log" apt_retry apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 install -y \
        --no-install-recommends "${missing[@]}"
}

# Another apt may hold a lock; 'update' does not wait for its own.
apt_retry() {
    local i out
    for i in $(seq 30); do
        if out=$("$@" 2>&1); then
            return 0
        fi
        printf '%s\n' "$out"
        grep -qiE 'could not get lock|unable to lock' <<<"$out" || return 1
        echo "locked by another apt, try $i of 30"
        sleep 5
    done
    return 1
}

# A python that can make a virtual environment: the first in PATH, else Debian's.
python_with_venv() {
    local p
    for p in python3 /usr/bin/python3; do
        if "$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
            echo "$p"
            return 0
        fi
    done
    return 1
}

need_java() {
    java -version 2>&1 | awk -F'[".]' '/version/ { exit !($2 >= 17) }' || need_packages openjdk-17-jre-headless
}

deps_build() {
    need_packages "${BUILD_PACKAGES[@]}"
    "$ROOT/tools/dev/librdkafka.sh"
}

deps_kafka() {
    local lib=$DEPS/kafka/lib sums=$ROOT/tools/dev/kafka/jars.sha256
    need_java
    if ! (cd "$lib" 2>/dev/null && sha256sum --status -c "$sums" 2>/dev/null); then
        command -v mvn >/dev/null || need_packages maven
        say "Kafka 4.3.1: 92 jars, 54 MB (10 s to 2 minutes)"
        rm -rf "$DEPS/kafka"
        quietly "$DEPS/log/maven.log" mvn -B -f "$ROOT/tools/dev/kafka/pom.xml" \
            org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies \
            -DincludeScope=runtime -DoutputDirectory="$lib"
        (cd "$lib" && sha256sum --quiet -c "$sums") >&2 ||
            die 69 "jars in $lib differ from tools/dev/kafka/jars.sha256: do not use them; delete .deps/kafka and ~/.m2, try again"
    fi
}

# requirements FILE: into .deps/venv, once; the stamp is the file's own text and where the venv was made
requirements() {
    local file=$ROOT/tools/dev/$1 stamp=$VENV/$1.stamp want python
    want=$(echo "$ROOT"; cat "$file")
    [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && return 0
    if ! head -n 1 "$VENV/made-in" 2>/dev/null | grep -qxF "$ROOT" || ! "$VENV/bin/python" -c '' 2>/dev/null; then
        python_with_venv >/dev/null || need_packages python3-venv
        python=$(python_with_venv) || die 69 "no python3 >= 3.9 with venv and ensurepip: apt-get install python3-venv"
        "$python" -m venv --clear "$VENV"
        echo "$ROOT" >"$VENV/made-in"
    fi
    say "python packages of tools/dev/$1 into .deps/venv (10 s to 2 minutes)"
    quietly "$DEPS/log/pip-$1.log" "$VENV/bin/python" -m pip install --disable-pip-version-check --only-binary :all: -r "$file"
    printf '%s\n' "$want" >"$stamp"
}

mkdir -p "$DEPS"
exec 9>"$DEPS/lock"
flock -w 900 9 || die 69 "another ./run has been installing for 15 minutes (.deps/lock)"
[ $# -gt 0 ] || set -- build kafka python test
for step in "$@"; do
    case $step in
        build) deps_build ;;
        kafka) deps_kafka ;;
        python) requirements requirements.txt ;;
        test)
            need_packages "${TEST_PACKAGES[@]}"
            requirements requirements-test.txt
            ;;
        *) die 64 "deps: no such part: $step (build, kafka, python, test)" ;;
    esac
done
