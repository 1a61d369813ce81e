#!/usr/bin/env bash
# librdkafka.sh [tsan|asan]: librdkafka 2.14.2, static, into .deps/librdkafka, from a tarball pinned by sha256. A minute, once.
# With tsan: the same, compiled for ThreadSanitizer, into .deps/librdkafka-tsan: without its locks and atomics in view,
# ThreadSanitizer takes every record that librdkafka hands from thread to thread for a race. With asan: for AddressSanitizer,
# into .deps/librdkafka-asan, to look for a broken heap with (PKG_CONFIG_PATH and L2FLOW_SANITIZE=address); no preset uses it.
# Debian 12's own 2.0.2 fails SCRAM against Kafka 4 and has since fixed bugs in transactions. A newer one in the system
# (pkg-config: rdkafka-static or rdkafka >= 2.14.2) is taken as it is.
# Sources, in order: $L2FLOW_RDKAFKA_TARBALL, the cached tarball, Debian's source package of a newer suite.
set -euo pipefail
# shellcheck source=tools/dev/common.sh
. "$(dirname "$0")/common.sh"

VERSION=2.14.2
TARBALL=librdkafka_$VERSION.orig.tar.gz
SHA256=4d53568c13717b167d12c7b2a0fe12aeb5d6bfe02de53df5b68f86d870a81b33
case ${1:-} in
    '') PREFIX=$DEPS/librdkafka ;;
    tsan | asan) PREFIX=$DEPS/librdkafka-$1 ;;
    *) die 64 "librdkafka.sh: no such build: $1 (tsan, asan, or nothing)" ;;
esac
WORK=$DEPS/librdkafka-build
STAMP=$PREFIX/stamp
WANT="$VERSION $SHA256 $PREFIX"

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
    if [ "$PREFIX" = "$DEPS/librdkafka-asan" ]; then
        export CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address" LDFLAGS=-fsanitize=address
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
pinned_tarball librdkafka L2FLOW_RDKAFKA_TARBALL "$WORK/$TARBALL" "$SHA256" forky sid trixie-backports ||
    die 69 "librdkafka $VERSION: no source to be had. Either install a librdkafka >= $VERSION with its pkg-config file, or
     get the release tarball v$VERSION ($TARBALL, sha256 $SHA256) by any way and name it:
     L2FLOW_RDKAFKA_TARBALL=/path/to/$TARBALL ./run deps"
compile
quietly "$DEPS/log/librdkafka-proof.log" prove
rm -rf "$WORK/src" "$WORK/apt"
echo "$WANT" >"$STAMP"
