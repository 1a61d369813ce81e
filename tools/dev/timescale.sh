#!/usr/bin/env bash
# timescale.sh: TimescaleDB 2.19.3, Apache edition, for PostgreSQL 15, from a tarball pinned by sha256. A minute, once.
# Debian 12 has no package of it. It goes into PostgreSQL's own folders, the only ones where a server before 18 looks for
# an extension: that needs root. Whoever is not root, or has no source, works on with plain tables: l2flow's schema
# makes hypertables only where TimescaleDB is loaded. Exit 0 either way, with a line that says which.
# Sources, in order: $L2FLOW_TIMESCALE_TARBALL, the cached tarball, Debian's source package of a newer suite, read
# through a private apt configuration: the machine's own apt is left alone.
set -euo pipefail
# shellcheck source=tools/dev/common.sh
. "$(dirname "$0")/common.sh"

VERSION=2.19.3
TARBALL=timescaledb_$VERSION+dfsg.orig.tar.xz
SHA256=09fd11191768c220b071f61a108df9bd1df5522fbe4e7c2229f30f69b195454a
SUITES=(trixie forky)
PG_CONFIG=/usr/lib/postgresql/15/bin/pg_config
WORK=$DEPS/timescale-build
STAMP=$DEPS/timescale.stamp
PACKAGES=(postgresql-server-dev-15 libkrb5-dev libssl-dev cmake make gcc pkg-config xz-utils)

right() { [ -f "$1" ] && echo "$SHA256  $1" | sha256sum -c --status; }
plain() {
    say "TimescaleDB: $1; the tests and ./run up use plain tables"
    exit 0
}

# As in librdkafka.sh: '-c', so that no hook of the machine's apt.conf.d runs.
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
    version=$(apt-cache -c "$WORK/apt/apt.conf" showsrc timescaledb |
        awk -v sum="$SHA256" '/^Version:/ { v = $2 } $1 == sum { print v; exit }')
    [ -n "$version" ] || return 1
    (cd "$WORK" && apt-get -c "$WORK/apt/apt.conf" source -qq --download-only --tar-only --only-source \
        "timescaledb=$version") || return 1
    right "$WORK/$TARBALL"
}

get_tarball() {
    local suite
    if [ -n "${L2FLOW_TIMESCALE_TARBALL:-}" ]; then
        right "$L2FLOW_TIMESCALE_TARBALL" ||
            die 69 "L2FLOW_TIMESCALE_TARBALL=$L2FLOW_TIMESCALE_TARBALL: not there, or not sha256 $SHA256"
        cp "$L2FLOW_TIMESCALE_TARBALL" "$WORK/$TARBALL"
        return
    fi
    right "$WORK/$TARBALL" && return
    for suite in "${SUITES[@]}"; do
        from_apt "$suite" >"$DEPS/log/timescale-$suite.log" 2>&1 && return
    done
    return 1
}

need_headers() {
    local p missing=()
    for p in "${PACKAGES[@]}"; do
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
    done
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
get_tarball || plain "no source of $VERSION to be had (or name it: L2FLOW_TIMESCALE_TARBALL=/path/to/$TARBALL)"
quietly "$DEPS/log/timescale-packages.log" need_headers
quietly "$DEPS/log/timescale-build.log" compile
rm -rf "$WORK/src" "$WORK/build" "$WORK/apt"
echo "$VERSION $SHA256 $($PG_CONFIG --version)" >"$STAMP"
