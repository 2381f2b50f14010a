#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Fetches a Debian kernel, or the kernel source, by the machine's own apt and unpacks it.
# Not an installer: what the machine boots stays as it is; packages go below BUILD_DIR alone.
# Usage: tests/vm/kernels.sh BUILD_DIR 6.1|6.12|source    (done already: does nothing)
#
# BUILD_DIR/vm/6.1 and 6.12: vmlinuz, headers (a link, for KERNEL_DIR), root (modules), release.
# BUILD_DIR/vm/source: the whole source tree of Debian's 6.1, with its version in release.
set -euo pipefail

build=${1:?usage: tests/vm/kernels.sh BUILD_DIR 6.1|6.12|source}
kernel=${2:?usage: tests/vm/kernels.sh BUILD_DIR 6.1|6.12|source}

die()
{
	printf 'kernels: %s\n' "$*" >&2
	exit 1
}

case $kernel in
6.1) packages=(linux-image-amd64 linux-headers-amd64) ;;
6.12) packages=(linux-image-6.12-amd64 linux-headers-6.12-amd64) ;;
source) packages=(linux-source-6.1) ;;
*) die "$kernel: no such kernel; there are: 6.1 6.12 source" ;;
esac
mkdir -p "$build/vm"
dir=$(cd "$build/vm" && pwd)/$kernel
[ ! -f "$dir/release" ] || exit 0

# needs PACKAGE PATTERN: the first of its dependencies that fits
needs()
{
	apt-cache depends "$1" | awk -v pattern="$2" \
		'$1 == "Depends:" && $2 ~ pattern && !found++ { print $2 } END { exit !found }'
}

# the packages with the files, instead of those that only name the newest of them
resolve()
{
	local image headers
	apt-cache show "${packages[@]}" >/dev/null || return
	[ "$kernel" != source ] || return 0
	image=$(needs "${packages[0]}" '^linux-image-[0-9]') || return
	headers=$(needs "${packages[1]}" '^linux-headers-[0-9]') || return
	packages=("$image" "$headers" "$(needs "$headers" '^linux-headers-.*-common$')" \
		"$(needs "$headers" '^linux-kbuild-')") || return
}

download()
{
	resolve || return
	# without the warning that the user _apt can't write here
	(cd "$dir/deb" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download "${packages[@]}")
}

command -v apt-get >/dev/null ||
	die "no apt-get: the kernels come as Debian packages, so this needs a Debian-like system"
rm -rf "$dir"
mkdir -p "$dir/deb"
echo "  FETCH $build/vm/$kernel"
if ! download >"$dir/log" 2>&1; then
	[ "$(id -u)" != 0 ] || apt-get -qq update >>"$dir/log" 2>&1 || true
	if ! download >>"$dir/log" 2>&1; then
		cat "$dir/log" >&2
		die "can't download ${packages[*]}; is there a network, do apt's sources include" \
			"Debian 12 with its security suite, is \`apt-get update\` recent?"
	fi
fi

if [ "$kernel" = source ]; then
	# through pipes: the archive in the package holds an archive of 1.3 GB
	dpkg --fsys-tarfile "$dir"/deb/*.deb | tar -xO ./usr/src/linux-source-6.1.tar.xz |
		tar -xJ -C "$dir" --strip-components=1
	rm -r "$dir/deb" "$dir/log"
	make -s -C "$dir" kernelversion >"$dir/release.new"
	mv "$dir/release.new" "$dir/release"
	exit
fi

for package in "$dir"/deb/*.deb; do
	dpkg -x "$package" "$dir/root"
done
rm -r "$dir/deb" "$dir/log"
release=$(basename "$dir"/root/lib/modules/*)
[[ $release == "$kernel".* ]] || die "${packages[0]} is $release, not a $kernel: is this Debian 12?"
ln -s "root/boot/vmlinuz-$release" "$dir/vmlinuz"
ln -s "root/usr/src/linux-headers-$release" "$dir/headers"
# the one absolute path that kbuild follows
sed -i "s,/usr/src/,$dir/root/usr/src/," "$dir/headers/Makefile"
# the packages leave this to their installation
PATH=$PATH:/usr/sbin:/sbin depmod -b "$dir/root" "$release"
echo "$release" >"$dir/release"
