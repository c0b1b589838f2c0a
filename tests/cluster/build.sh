#!/usr/bin/env bash
# Builds the programs of the real control plane into target/cluster/bin: kube-apiserver, kube-controller-manager,
# kubectl, etcd and helm, at the versions that tools/*/go.mod pin. Builds only what is missing or pinned anew.
#
#   tests/cluster/build.sh              builds them
#   tests/cluster/build.sh --compiler   only sees to it that there is a C compiler, which Rust needs too
#   tests/cluster/build.sh --mail       only sees to it that there is what notifications are tested with: PostgreSQL, postfix,
#                                       and a mail server in Python
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=$(cd "$here/../.." && pwd)/target/cluster/bin
minimum_go=1.26

say() { printf '%s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

# need PROGRAM DEBIAN_PACKAGE: installs the package where that is possible, else says how to.
need() {
  local program=$1 package=$2
  command -v "$program" >/dev/null && return
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    say "$program is missing: installing the Debian package $package"
    apt-get install -y --no-install-recommends "$package" >&2 ||
      { apt-get update >&2 && apt-get install -y --no-install-recommends "$package" >&2; } || true
  fi
  command -v "$program" >/dev/null ||
    fail "$program is missing. Debian, Ubuntu: sudo apt-get install $package. Fedora: sudo dnf install $package."
}

# need_file PATTERN DEBIAN_PACKAGE: the same for what no PATH leads to.
need_file() {
  local pattern=$1 package=$2
  compgen -G "$pattern" >/dev/null && return
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    say "$pattern is missing: installing the Debian package $package"
    apt-get install -y --no-install-recommends "$package" >&2 ||
      { apt-get update >&2 && apt-get install -y --no-install-recommends "$package" >&2; } || true
  fi
  compgen -G "$pattern" >/dev/null || fail "$pattern is missing. Debian, Ubuntu: sudo apt-get install $package."
}

# What tests/delivery needs beside this checkout.
need_mail() {
  local folder=$bin/../mail requirements=$here/../delivery/requirements.txt wanted
  # No package may ask questions, and postfix is not to become this machine's mail server.
  export DEBIAN_FRONTEND=noninteractive
  if [[ $(id -u) == 0 ]] && command -v debconf-set-selections >/dev/null && ! command -v postfix >/dev/null; then
    debconf-set-selections <<<'postfix postfix/main_mailer_type select No configuration'
  fi
  command -v initdb >/dev/null || need_file '/usr/lib/postgresql/*/bin/initdb' postgresql
  PATH=$PATH:/usr/sbin need postfix postfix
  PATH=$PATH:/usr/sbin need saslpasswd2 sasl2-bin
  need_file '/usr/lib/*/sasl2/libplain.so' libsasl2-modules
  need python3 python3
  wanted=$(cksum <"$requirements")
  [[ -e $folder/stamp && $(<"$folder/stamp") == "$wanted" ]] && return
  python3 -m pip --version >/dev/null 2>&1 || need_file '/usr/lib/python3/dist-packages/pip' python3-pip
  say "Installing the mail server of the tests"
  rm -rf "$folder"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --require-hashes --no-deps --target "$folder" \
    --requirement "$requirements" >&2
  printf '%s\n' "$wanted" >"$folder/stamp"
}

need_go() {
  local how="Install Go $minimum_go or newer from https://go.dev/dl/ (Debian 12's golang package is too old)."
  command -v go >/dev/null || fail "go is missing. $how"
  # GOTOOLCHAIN=local: the version that is installed, not one that go.mod would fetch.
  local version
  version=$(GOTOOLCHAIN=local go env GOVERSION)
  [[ $(printf '%s\n' "$minimum_go" "${version#go}" | sort -V | head -n1) == "$minimum_go" ]] ||
    fail "go is $version, too old to build Kubernetes. $how"
}

# The version of MODULE that the go.mod in FOLDER requires.
required() { awk -v module="$1" '$1 == "require" && $2 == module { print $3 }' "$2/go.mod"; }

# build FOLDER PROGRAM…: the programs are all tools of the folder's go.mod.
build() {
  local folder=$here/tools/$1 stamp=$bin/.$1.stamp wanted program missing=0
  shift
  wanted=$(cat "$folder/go.mod" "$folder/go.sum" | cksum)
  for program in "$@"; do [[ -x $bin/$program ]] || missing=1; done
  [[ $missing == 0 && -e $stamp && $(<"$stamp") == "$wanted" ]] && return

  need_go
  need cc gcc
  say "Building $* (minutes the first time, seconds when Go has them cached)"
  local flags="-s -w" version
  version=$(required k8s.io/kubernetes "$folder")
  [[ -z $version ]] || flags+=" -X k8s.io/component-base/version.gitVersion=$version"
  # GOFLAGS: exactly what go.sum pins. GOWORK: no workspace of the user's around this folder.
  (cd "$folder" && GOFLAGS=-mod=readonly GOWORK=off GOBIN=$bin/new go install -trimpath -ldflags "$flags" tool)
  # etcd's main package is called server.
  [[ ! -e $bin/new/server ]] || mv "$bin/new/server" "$bin/new/etcd"
  mv "$bin"/new/* "$bin"
  printf '%s\n' "$wanted" >"$stamp"
}

case ${1-} in
  --compiler)
    need cc gcc
    exit
    ;;
  --mail)
    mkdir -p "$bin"
    need_mail
    exit
    ;;
esac

mkdir -p "$bin/new"
build kubernetes kube-apiserver kube-controller-manager kubectl
build etcd etcd
build helm helm
rmdir "$bin/new"
