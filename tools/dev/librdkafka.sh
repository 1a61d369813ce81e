#!/usr/bin/env bash
# librdkafka.sh [tsan]: librdkafka 2.14.2, static, into .deps/librdkafka, from a tarball pinned by sha256. A minute, once.
# With tsan: the same, compiled for ThreadSanitizer, into .deps/librdkafka-tsan: without its locks and atomics in view,
# ThreadSanitizer takes every record that librdkafka hands from thread to thread for a race.
# Debian 12's own 2.0.2 fails SCRAM against Kafka 4 and has since fixed bugs in transactions. A newer one in the system
# (pkg-config: rdkafka-static or rdkafka >= 2.14.2) is taken as it is.
# Sources, in order: $L2FLOW_RDKAFKA_TARBALL, the cached tarball, Debian's source package of a newer suite, read
# through a private apt configuration: the machine's own apt is left alone.
set -euo pipefail
# shellcheck source=tools/dev/common.sh
. "$(dirname "$0")/common.sh"

VERSION=2.14.2
TARBALL=librdkafka_$VERSION.orig.tar.gz
SHA256=4d53568c13717b167d12c7b2a0fe12aeb5d6bfe02de53df5b68f86d870a81b33
SUITES=(forky sid trixie-backports)
case ${1:-} in
    '') PREFIX=$DEPS/librdkafka ;;
    tsan) PREFIX=$DEPS/librdkafka-tsan ;;
    *) die 64 "librdkafka.sh: no such build: $1 (tsan, or nothing)" ;;
esac
WORK=$DEPS/librdkafka-build
STAMP=$PREFIX/stamp
WANT="$VERSION $SHA256 $PREFIX"

right() { [ -f "$1" ] && echo "$SHA256  $1" | sha256sum -c --status; }

# A private apt state under $WORK/apt for one suite. '-c', since '-o' would leave the hooks of apt.conf.d in force:
# an image's docker-clean deletes the machine's package cache after any 'update'. An old mirror's expired index will do:
# what counts is the tarball's hash.
private_apt() {
    local suite=$1 mirror d=$WORK/apt
    mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 !~ /-/ && $2 == "main" { print $3; exit }')
    [ -n "$mirror" ] || { echo "apt knows no Debian mirror (run apt-get update)" >&2; return 1; }
    rm -rf "$d"
    mkdir -p "$d/lists/partial" "$d/cache/archives/partial"
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$d/sources.list"
    cat >"$d/apt.conf" <<C
Dir::Etc::sourcelist "$d/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "$d/lists";
Dir::Cache "$d/cache";
APT::Sandbox::User "$(id -un)";
Acquire::Retries "3";
Acquire::Check-Valid-Until "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
C
    apt-get -c "$d/apt.conf" update -qq
}

# Any Debian revision will do, if it carries the very tarball.
from_apt() {
    local version
    private_apt "$1" || return 1
    version=$(apt-cache -c "$WORK/apt/apt.conf" showsrc librdkafka |
        awk -v sum="$SHA256" '/^Version:/ { v = $2 } $1 == sum { print v; exit }')
    [ -n "$version" ] || return 1
    (cd "$WORK" && apt-get -c "$WORK/apt/apt.conf" source -qq --download-only --tar-only --only-source \
        "librdkafka=$version") || return 1
    right "$WORK/$TARBALL"
}

get_tarball() {
    local suite
    if [ -n "${L2FLOW_RDKAFKA_TARBALL:-}" ]; then
        right "$L2FLOW_RDKAFKA_TARBALL" || die 69 "L2FLOW_RDKAFKA_TARBALL=$L2FLOW_RDKAFKA_TARBALL: not there, or not sha256 $SHA256"
        cp "$L2FLOW_RDKAFKA_TARBALL" "$WORK/$TARBALL"
        return
    fi
    right "$WORK/$TARBALL" && return
    for suite in "${SUITES[@]}"; do
        from_apt "$suite" >"$DEPS/log/librdkafka-$suite.log" 2>&1 && return
        say "librdkafka $VERSION: not in Debian $suite ($(tail -n 1 "$DEPS/log/librdkafka-$suite.log"))"
    done
    die 69 "librdkafka $VERSION: no source to be had. Either install a librdkafka >= $VERSION with its pkg-config file, or
     get the release tarball v$VERSION ($TARBALL, sha256 $SHA256) by any way and name it:
     L2FLOW_RDKAFKA_TARBALL=/path/to/$TARBALL ./run deps"
}

compile() {
    rm -rf "$WORK/src" "$PREFIX"
    mkdir -p "$WORK/src"
    tar -xf "$WORK/$TARBALL" -C "$WORK/src" --strip-components=1
    cd "$WORK/src"
    # configure asks git for a version: keep it from finding the checkout's
    export GIT_CEILING_DIRECTORIES=$WORK
    if [ "$PREFIX" = "$DEPS/librdkafka-tsan" ]; then
        export CC=clang-19 CXX=clang++-19 CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=thread" LDFLAGS=-fsanitize=thread
    fi
    # --disable-c11threads: pthreads, which ThreadSanitizer understands. SCRAM needs no SASL library.
    quietly "$DEPS/log/librdkafka-configure.log" ./configure --prefix="$PREFIX" --no-download --no-cache \
        --enable-ssl --enable-zstd --enable-zlib --disable-lz4-ext --disable-gssapi --disable-curl \
        --disable-c11threads
    quietly "$DEPS/log/librdkafka-make.log" make -C src -j"$(nproc)"
    quietly "$DEPS/log/librdkafka-install.log" make -C src install
}

# A build without TLS or SCRAM would be found out only in production.
prove() {
    cat >"$WORK/proof.c" <<'C'
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <string.h>
int main(void)
{
    const char *need[] = {"ssl", "sasl_scram", "zstd", "lz4", "gzip"};
    char features[512];
    size_t size = sizeof features;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    int missing = rd_kafka_conf_get(conf, "builtin.features", features, &size) != RD_KAFKA_CONF_OK;
    for (unsigned i = 0; i < sizeof need / sizeof *need; i++)
        missing |= strstr(features, need[i]) == NULL;
    rd_kafka_conf_destroy(conf);
    printf("%s %s\n", rd_kafka_version_str(), features);
    return missing;
}
C
    local flags
    read -ra flags <<<"$(PKG_CONFIG_PATH=$PREFIX/lib/pkgconfig pkg-config --cflags --libs rdkafka-static)"
    # shellcheck disable=SC2086 # LDFLAGS is a list
    "${CC:-cc}" ${LDFLAGS:-} -o "$WORK/proof" "$WORK/proof.c" "${flags[@]}" && "$WORK/proof"
}

[ "$(cat "$STAMP" 2>/dev/null)" = "$WANT" ] && exit 0
for module in rdkafka-static rdkafka; do
    if [ -z "${1:-}" ] && pkg-config --exists "$module >= $VERSION"; then
        say "librdkafka: the system's $module $(pkg-config --modversion "$module")"
        exit 0
    fi
done
say "librdkafka $VERSION: fetch and compile (1 to 3 minutes, once)"
mkdir -p "$WORK" "$DEPS/log"
get_tarball
compile
quietly "$DEPS/log/librdkafka-proof.log" prove
rm -rf "$WORK/src" "$WORK/apt"
echo "$WANT" >"$STAMP"
