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

have_package() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }
has_sha256() { [ -f "$1" ] && echo "$2  $1" | sha256sum -c --status; }

# pinned_tarball PACKAGE VARIABLE FILE SHA256 SUITE…: FILE, from the first that has it: the path in the environment's
# VARIABLE, FILE as it is, Debian's source package in one of the suites. 1: nowhere.
pinned_tarball() {
    local package=$1 variable=$2 file=$3 sha256=$4 suite log
    local given=${!variable:-}
    shift 4
    if [ -n "$given" ]; then
        has_sha256 "$given" "$sha256" || die 69 "$variable=$given: not there, or not sha256 $sha256"
        cp "$given" "$file"
        return
    fi
    has_sha256 "$file" "$sha256" && return
    for suite in "$@"; do
        log=$DEPS/log/$package-$suite.log
        debian_source "$package" "$file" "$sha256" "$suite" >"$log" 2>&1 && return
        say "$package: not in Debian $suite ($(tail -n 1 "$log"))"
    done
    return 1
}

# debian_source PACKAGE FILE SHA256 SUITE: any Debian revision will do, if it carries the very tarball.
debian_source() {
    local package=$1 file=$2 sha256=$3 suite=$4 folder=${2%/*} version
    private_apt "$folder/apt" "$suite" || return 1
    version=$(apt-cache -c "$folder/apt/apt.conf" showsrc "$package" |
        awk -v sum="$sha256" '/^Version:/ { v = $2 } $1 == sum { print v; exit }')
    [ -n "$version" ] || return 1
    (cd "$folder" && apt-get -c apt/apt.conf source -qq --download-only --tar-only --only-source "$package=$version") || return 1
    has_sha256 "$file" "$sha256"
}

# private_apt FOLDER SUITE: an apt state of its own: the machine's is left alone. '-c', since '-o' would leave the hooks
# of apt.conf.d in force: an image's docker-clean deletes the machine's package cache after any 'update'. An old
# mirror's expired index will do: what counts is the tarball's hash.
private_apt() {
    local d=$1 suite=$2 mirror
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
