#!/usr/bin/env bash
# Gets a bare Debian machine (12 or 13, with Node and npm) ready for one of the npm scripts, and does nothing quickly when all
# is there already:  set-up.sh test|demo|bench|unit
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'set-up: %s\n' "$*" >&2; }
die() {
  say "$@"
  exit 1
}

# What machines are made of: the emulator, a software TPM, and the tool that makes Debian chroots, with the keys it trusts.
machines=(qemu-system-x86 seabios swtpm swtpm-tools mmdebstrap debian-archive-keyring ca-certificates)
# What the tests make disks, archives and key servers with, and check shell scripts with.
tools=(binutils btrfs-progs cpio cryptsetup-bin dash dosfstools e2fsprogs keyutils mtools openssh-client shellcheck tang zstd)
# What evaluates the NixOS module and reads the scripts of its tests.
nix=(nix-bin python3-minimal)
# What latchkey's tokens have to agree with, and a linter of manual pages.
peers=(clevis clevis-luks clevis-tpm2 libpwquality-tools mandoc tpm2-tools)
# The quick tests run in containers too: nothing in there that needs more than a shell.
quick=(cpio dash keyutils shellcheck)

case ${1-} in
  test) packages=("${machines[@]}" "${tools[@]}" "${peers[@]}" "${nix[@]}") ;;
  demo) packages=("${machines[@]}") ;;
  bench) packages=("${machines[@]}" keyutils tang "${peers[@]}") ;;
  unit) packages=("${quick[@]}") ;;
  *) die "usage: set-up.sh test|demo|bench|unit" ;;
esac

# Installing packages and making chroots need root; everything else runs as whoever calls.
as_root=()
if [ "$(id -u)" != 0 ] && command -v sudo > /dev/null; then as_root=(sudo); fi
may_be_root() { [ "$(id -u)" = 0 ] || [ "${#as_root[@]}" -gt 0 ]; }

install_packages() {
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2> /dev/null)" = installed ] || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  may_be_root || die "missing: ${missing[*]}; install them, or run this as root or with sudo at hand"
  say "installing ${missing[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  "${apt[@]}" update
  "${apt[@]}" install --yes --no-install-recommends "${missing[@]}" > /dev/null
}

if command -v dpkg-query > /dev/null && command -v apt-get > /dev/null; then
  install_packages "${packages[@]}"
elif [ "$1" != unit ]; then
  for program in qemu-system-x86_64 swtpm mmdebstrap setpriv unshare; do
    command -v "$program" > /dev/null || die "$program is missing; on Debian this script would install: ${packages[*]}"
  done
fi

if [ "$1" != unit ]; then
  may_be_root || die "the machines' disks are made in a chroot: run this as root or with sudo at hand"
  # Asked for now, while someone is looking; the tests themselves never ask.
  [ "${#as_root[@]}" = 0 ] || sudo --validate
fi

command -v npm > /dev/null || die "npm is missing: install Node 20 or later (https://nodejs.org)"
[ -d node_modules ] || npm ci --no-audit --no-fund
[ "$1" = unit ] || npm run --silent build
