#!/usr/bin/env bash
# deps.sh [build] [kafka] [python] [database] [postgres] [sinks] [test] [tsan] [bench]: install what is missing; nothing named: all
# but the last.
#   build    compiler, libraries and librdkafka         kafka   Java and the Kafka server's jars
#   database PostgreSQL 15                              postgres the same and, where it can be, TimescaleDB
#   sinks    Alertmanager, Prometheus' tools and, where there is a Go, a store that takes Loki's push API
#   tsan     librdkafka once more, for ThreadSanitizer
#   python   .deps/venv with the client libraries       test    clang, kcat, the linters and a schema registry
#   bench    .deps/bench-venv: Evidently, which ./run bench drift compares with (1 GB)
# Idempotent: what is there is left alone. As root apt packages are installed; as a plain user the missing ones are named.
set -euo pipefail
# shellcheck source=tools/dev/common.sh
. "$(dirname "$0")/common.sh"

# g++ only because librdkafka's configure asks for one
BUILD_PACKAGES=(gcc g++ make cmake ninja-build pkg-config python3 zlib1g-dev libssl-dev libzstd-dev libavro-dev
    libjansson-dev libcurl4-openssl-dev libmicrohttpd-dev libpq-dev libcmocka-dev ca-certificates)
# faketime: clocks that jump; openssl: throw-away certificates
TEST_PACKAGES=(clang-19 libclang-rt-19-dev faketime kcat git openssl shellcheck)

# The packages that a part asks for; Java, Maven and Python may also have come another way.
packages_of() {
    case $1 in
        build) printf '%s\n' "${BUILD_PACKAGES[@]}" ;;
        kafka)
            java_is_right || echo openjdk-17-jre-headless
            jars_are_right || command -v mvn >/dev/null || echo maven
            ;;
        python | bench) python_with_venv >/dev/null || printf '%s\n' python3 python3-venv ;;
        database | postgres) postgres_is_there || printf '%s\n' postgresql-15 postgresql-client-15 ;;
        tsan) printf '%s\n' "${TEST_PACKAGES[@]}" ;;
        test)
            packages_of python && printf '%s\n' "${TEST_PACKAGES[@]}"
            command -v javac >/dev/null || echo openjdk-17-jdk-headless # java File.java: the contract with Java's Avro
            [ -e "$DEPS/registry/stamp" ] || command -v mvn >/dev/null || echo maven
            ;;
    esac
}

# need_packages PART…: all that is missing, at once
need_packages() {
    local wanted missing=() part p
    wanted=$(for part in "$@"; do packages_of "$part"; done)
    if ! command -v dpkg-query >/dev/null; then
        say "this is no Debian; if something is missing below, install the like of: ${wanted//$'\n'/ }"
        return
    fi
    for p in $(sort -u <<<"$wanted"); do have_package "$p" || missing+=("$p"); done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || die 69 "packages are missing; as root type: apt-get install --no-install-recommends ${missing[*]}"
    say "apt packages: ${missing[*]} (up to 5 minutes)"
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

# Python 3.11, whose wheels the requirements' hashes name, able to make a virtual environment.
python_with_venv() {
    local p
    for p in python3 python3.11 /usr/bin/python3; do
        if "$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            echo "$p"
            return 0
        fi
    done
    return 1
}

java_is_right() { java -version 2>&1 | awk -F'[".]' '/version/ { right = $2 >= 17 } END { exit !right }'; }

postgres_is_there() { [ -n "${L2FLOW_PG_BIN:-}" ] || compgen -G '/usr/lib/postgresql/1[5-7]/bin/initdb' >/dev/null; }

# No 'main' cluster of Debian's is wanted, and none started: it would take port 5432
no_main_cluster() {
    local conf=/etc/postgresql-common/createcluster.conf
    [ "$(id -u)" != 0 ] || postgres_is_there || ! command -v dpkg-query >/dev/null || [ -e "$conf" ] || {
        mkdir -p "${conf%/*}"
        echo 'create_main_cluster = false' >"$conf"
    }
}

KAFKA_LIB=$DEPS/kafka/lib
KAFKA_SUMS=$ROOT/tools/dev/kafka/jars.sha256
jars_are_right() { (cd "$KAFKA_LIB" 2>/dev/null && sha256sum --status -c "$KAFKA_SUMS" 2>/dev/null); }

deps_kafka() {
    jars_are_right && return 0
    say "Kafka 4.3.1: 93 jars, 54 MB (10 s to 2 minutes)"
    rm -rf "$DEPS/kafka"
    quietly "$DEPS/log/maven.log" mvn -B -f "$ROOT/tools/dev/kafka/pom.xml" \
        org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$KAFKA_LIB"
    (cd "$KAFKA_LIB" && sha256sum --quiet -c "$KAFKA_SUMS") >&2 ||
        die 69 "jars in $KAFKA_LIB differ from tools/dev/kafka/jars.sha256: do not use them; delete .deps/kafka and ~/.m2, try again"
}

# requirements FILE [VENV [OPTION…]]: into .deps/venv, once; the stamp is the file's own text and where the venv was made
requirements() {
    local file=$ROOT/tools/dev/$1 venv=${2:-$VENV} stamp want python
    stamp=$venv/$1.stamp
    want=$(echo "$ROOT"; cat "$file")
    [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && return 0
    if ! head -n 1 "$venv/made-in" 2>/dev/null | grep -qxF "$ROOT" || ! "$venv/bin/python" -c '' 2>/dev/null; then
        python=$(python_with_venv) || die 69 "no Python 3.11 with venv and ensurepip: apt-get install python3-venv"
        "$python" -m venv --clear "$venv"
        echo "$ROOT" >"$venv/made-in"
    fi
    say "python packages of tools/dev/$1 into ${venv#"$ROOT/"} (10 s to 2 minutes)"
    quietly "$DEPS/log/pip-$1.log" "$venv/bin/python" -m pip install --disable-pip-version-check --only-binary :all: \
        --require-hashes "${@:3}" -r "$file"
    printf '%s\n' "$want" >"$stamp"
}

# what is installed knows the folder it is in: a shared one would be rebuilt under its owner's feet
[ ! -L "$DEPS" ] || die 64 ".deps is a symbolic link: remove it, this folder needs one of its own"
mkdir -p "$DEPS"
[ $# -gt 0 ] || set -- build kafka python postgres sinks test tsan
for part in "$@"; do
    [[ " build kafka python database postgres sinks test tsan bench " == *" $part "* ]] ||
        die 64 "deps: no such part: $part (build, kafka, python, database, postgres, sinks, test, tsan, bench)"
done
exec 9>"$DEPS/lock"
flock -n 9 || { say "another ./run is installing here: waiting for it"; flock -w 900 9; } || die 69 "another ./run has been installing for 15 minutes (.deps/lock)"
[[ ! " $* " =~ \ (database|postgres)\  ]] || no_main_cluster
need_packages "$@"
for part in "$@"; do
    case $part in
        build) "$ROOT/tools/dev/librdkafka.sh" ;;
        tsan) "$ROOT/tools/dev/librdkafka.sh" tsan ;;
        kafka) deps_kafka ;;
        database) ;; # its packages are all
        postgres) "$ROOT/tools/dev/timescale.sh" ;;
        python) requirements requirements.txt ;;
        sinks)
            "$ROOT/tools/dev/prometheus.sh"
            "$ROOT/tools/dev/victorialogs.sh"
            ;;
        test)
            requirements requirements-test.txt
            "$ROOT/tools/dev/registry.sh"
            ;;
        bench) requirements requirements-bench.txt "$DEPS/bench-venv" --no-deps ;; # pip wants a hash for pandas[parquet], too
    esac
done
