#!/usr/bin/env bash
# prometheus.sh: Debian's Alertmanager, Prometheus and promtool, unpacked into .deps/prometheus: installing the packages would start
# both on their ports. apt checks what it downloads. Idempotent.
set -euo pipefail
# shellcheck source=tools/dev/common.sh
. "$(dirname "$0")/common.sh"

HOME_DIR=$DEPS/prometheus
BINARIES=(prometheus-alertmanager prometheus promtool amtool)

is_there() { for b in "${BINARIES[@]}"; do [ -x "$HOME_DIR/usr/bin/$b" ] || return 1; done; }

! is_there || exit 0
say "Alertmanager and Prometheus: Debian's packages, unpacked (30 s)"
rm -rf "$HOME_DIR"
mkdir -p "$HOME_DIR/download" "$DEPS/log"
cd "$HOME_DIR/download"
for try in 1 2 3; do
    if apt-get -o Acquire::Retries=3 download prometheus-alertmanager prometheus >"$DEPS/log/prometheus.log" 2>&1; then
        break
    fi
    # no lists, or old ones; only root may renew them
    if [ "$(id -u)" != 0 ] || [ "$try" = 3 ]; then
        die 69 "apt-get download prometheus-alertmanager prometheus: see .deps/log/prometheus.log"
    fi
    apt-get -o Acquire::Retries=3 update >"$DEPS/log/apt-update.log" 2>&1 || sleep 5
done
for package in *.deb; do dpkg-deb -x "$package" "$HOME_DIR"; done
rm -rf "$HOME_DIR/download"
is_there || die 69 "$HOME_DIR lacks one of ${BINARIES[*]}: these packages are others than Debian 12's"
