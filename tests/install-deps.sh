#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Installs the Debian packages that building, the demo and the tests need, if they are missing.
# Not called by `make` alone: only by `make demo` and `make check`.
# Usage: tests/install-deps.sh [build|test|vm|dkms|lint]...    (default: all but dkms)
set -euo pipefail

declare -A group=(
	[build]="gcc libc6-dev make pkgconf libnuma-dev libpcap-dev libsmartcols-dev libjson-c-dev
		scdoc"
	[test]="g++ binutils libcmocka-dev tshark python3 procps"
	[vm]="qemu-system-x86 busybox-static cpio kmod xz-utils gcc-12 make flex bison bc libelf-dev
		libssl-dev pahole rsync perl"
	[dkms]="dkms kmod openssl gcc-12 make pahole libelf-dev"
	[lint]="clang-tidy clang-format cppcheck codespell shellcheck g++ sparse perl kmod
		xz-utils gcc-12 make"
)

die()
{
	printf 'install-deps: %s\n' "$*" >&2
	exit 1
}

groups=("$@")
[ $# -gt 0 ] || groups=(build test vm lint)
wanted=()
for name in "${groups[@]}"; do
	[ -n "${group[$name]:-}" ] || die "$name: no such group; there are: ${!group[*]}"
	wanted+=("${group[$name]}")
done
mapfile -t wanted < <(tr -s '[:space:]' '\n' <<<"${wanted[*]}" | sort -u)

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	die "this is no Debian-like system; install by hand what these packages hold, then run" \
		"\`make\`, tests/demo.sh build, tests/run.sh build: ${wanted[*]}"
fi

installed()
{
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=()
for package in "${wanted[@]}"; do
	installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null ||
		die "packages are missing, and there is neither root nor sudo; as root, run:" \
			"apt-get install ${missing[*]}"
	# sudo drops the environment, so the two settings go through env
	as_root=(sudo)
fi

apt()
{
	local log
	log=$(mktemp)
	if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true \
		apt-get -qq -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1 </dev/null; then
		tail -n 20 "$log" >&2
		rm -f "$log"
		die "apt-get $1 failed (its last lines are above); install by hand: ${missing[*]}"
	fi
	rm -f "$log"
}

printf 'installing %d packages: %s\n' "${#missing[@]}" "${missing[*]}"
apt update
apt install --yes --no-install-recommends "${missing[@]}"
