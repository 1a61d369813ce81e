#!/usr/bin/env bash
# registry.sh: Apicurio Registry 2.6.13 (speaks Confluent's API) into .deps/registry, for tests. Pinned, cached, idempotent.
set -euo pipefail
# shellcheck source=tools/dev/common.sh
. "$(dirname "$0")/common.sh"

VERSION=2.6.13.Final
SUM=3cda1b34aa020fb4ac4dd6a66018d757e81e437f97e20a1f92d366b70091c6ba
HOME_DIR=$DEPS/registry
ARCHIVE=$DEPS/registry-$VERSION.tar.gz

[ "$(cat "$HOME_DIR/stamp" 2>/dev/null)" = "$SUM" ] && exit 0
command -v mvn >/dev/null || die 69 "no Maven: apt-get install maven"
say "Apicurio Registry $VERSION: 142 MB (10 s to 3 minutes)"
mkdir -p "$DEPS/log" "$DEPS/registry-download"
quietly "$DEPS/log/registry.log" mvn -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
    -Dartifact=io.apicurio:apicurio-registry-app:$VERSION:tar.gz:all -DoutputDirectory="$DEPS/registry-download"
mv "$DEPS/registry-download/apicurio-registry-app-$VERSION-all.tar.gz" "$ARCHIVE"
rmdir "$DEPS/registry-download"
echo "$SUM  $ARCHIVE" | sha256sum --quiet -c >&2 ||
    die 69 "the registry's archive is not the one that is pinned in tools/dev/registry.sh: delete it from ~/.m2, try again"
rm -rf "$HOME_DIR.new" "$HOME_DIR"
mkdir -p "$HOME_DIR.new"
tar -xzf "$ARCHIVE" -C "$HOME_DIR.new"
echo "$SUM" >"$HOME_DIR.new/stamp"
mv "$HOME_DIR.new" "$HOME_DIR"
rm -f "$ARCHIVE"
