#!/usr/bin/env bash
# timescale.sh: TimescaleDB 2.19.3, Apache edition, for PostgreSQL 15, from a tarball pinned by sha256. A minute, once.
# Debian 12 has no package of it. It goes into PostgreSQL's own folders, the only ones where a server before 18 looks for
# an extension: that needs root. Whoever is not root, or has no source, works on with plain tables: l2flow's schema
# makes hypertables only where TimescaleDB is loaded. Exit 0 either way, with a line that says which.
# Sources, in order: $L2FLOW_TIMESCALE_TARBALL, the cached tarball, Debian's source package of a newer suite.
set -euo pipefail
# shellcheck source=tools/dev/common.sh
. "$(dirname "$0")/common.sh"

VERSION=2.19.3
TARBALL=timescaledb_$VERSION+dfsg.orig.tar.xz
SHA256=09fd11191768c220b071f61a108df9bd1df5522fbe4e7c2229f30f69b195454a
PG_CONFIG=/usr/lib/postgresql/15/bin/pg_config
WORK=$DEPS/timescale-build
STAMP=$DEPS/timescale.stamp
PACKAGES=(postgresql-server-dev-15 libkrb5-dev libssl-dev cmake make gcc pkg-config xz-utils)

plain() {
    say "TimescaleDB: $1; the tests and ./run up use plain tables"
    exit 0
}

need_headers() {
    local p missing=()
    for p in "${PACKAGES[@]}"; do have_package "$p" || missing+=("$p"); done
    [ ${#missing[@]} = 0 ] || DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
        install -y --no-install-recommends "${missing[@]}"
}

compile() {
    rm -rf "$WORK/src" "$WORK/build"
    mkdir -p "$WORK/src"
    tar -xf "$WORK/$TARBALL" -C "$WORK/src" --strip-components=1
    # the build asks git for a commit: keep it from finding the checkout's
    export GIT_CEILING_DIRECTORIES=$WORK
    cmake -S "$WORK/src" -B "$WORK/build" -DCMAKE_BUILD_TYPE=Release -DPG_CONFIG="$PG_CONFIG" -DAPACHE_ONLY=ON \
        -DREGRESS_CHECKS=OFF -DTAP_CHECKS=OFF -DLINTER=OFF -DWARNINGS_AS_ERRORS=OFF -DSEND_TELEMETRY_DEFAULT=OFF \
        -DUSE_TELEMETRY=OFF -DENABLE_DEBUG_UTILS=OFF
    cmake --build "$WORK/build" -j"$(nproc)"
    cmake --install "$WORK/build"
}

installed() { [ -f "$($PG_CONFIG --pkglibdir)/timescaledb.so" ] && [ -f "$($PG_CONFIG --sharedir)/extension/timescaledb.control" ]; }

[ -x "$PG_CONFIG" ] || plain "there is no PostgreSQL 15 of Debian's"
if installed; then
    # The server's headers may be newer than what it was built with: then it is built again
    [ ! -f "$STAMP" ] || [ "$(cat "$STAMP")" = "$VERSION $SHA256 $($PG_CONFIG --version)" ] && exit 0
fi
[ "$(id -u)" = 0 ] || plain "not installed, which only root can"
command -v apt-get >/dev/null || plain "this is no Debian"
say "TimescaleDB $VERSION: fetch and compile (1 to 3 minutes, once)"
mkdir -p "$WORK" "$DEPS/log"
pinned_tarball timescaledb L2FLOW_TIMESCALE_TARBALL "$WORK/$TARBALL" "$SHA256" trixie forky ||
    plain "no source of $VERSION to be had (or name it: L2FLOW_TIMESCALE_TARBALL=/path/to/$TARBALL)"
quietly "$DEPS/log/timescale-packages.log" need_headers
quietly "$DEPS/log/timescale-build.log" compile
rm -rf "$WORK/src" "$WORK/build" "$WORK/apt"
echo "$VERSION $SHA256 $($PG_CONFIG --version)" >"$STAMP"
