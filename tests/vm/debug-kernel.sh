#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Builds the debug kernel from Debian's 6.1 source and tests/vm/debug.config (minutes, once).
# Not installed anywhere; whoever tests with it asks for the kernel named debug.
# Usage: tests/vm/debug-kernel.sh BUILD_DIR    (BUILD_DIR/vm/debug: as those of kernels.sh)
set -euo pipefail

cd "$(dirname "$0")/../.."
build=${1:?usage: tests/vm/debug-kernel.sh BUILD_DIR}
fragment=tests/vm/debug.config

die()
{
	printf 'debug-kernel: %s\n' "$*" >&2
	exit 1
}

tests/vm/kernels.sh "$build" source
source=$(cd "$build/vm/source" && pwd)
dir=$(dirname "$source")/debug

# made already, of this source and this fragment
want=$(cat "$source/release"; cksum <"$fragment")
[ "$(cat "$dir/made-of" 2>/dev/null)" != "$want" ] || exit 0

kbuild()
{
	# what a calling make was told isn't meant for the kernel's
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C "$source" O="$dir" \
		-j"$(nproc)" LOCALVERSION=-debug "$@"
}

echo "  BUILD $build/vm/debug (some minutes)"
mkdir -p "$dir"
rm -f "$dir/made-of"
kbuild KCONFIG_ALLCONFIG="$PWD/$fragment" allnoconfig >"$dir/log" 2>&1 ||
	die "allnoconfig failed, see $dir/log"
# a line whose dependencies are missing is dropped silently
mapfile -t dropped < <(grep '^CONFIG_' "$fragment" | grep -vxFf "$dir/.config")
[ ${#dropped[@]} -eq 0 ] ||
	die "$fragment: no effect (a dependency is missing): ${dropped[*]}"
# modules_install needs depmod
PATH=$PATH:/usr/sbin:/sbin
for goal in all modules_install; do
	kbuild INSTALL_MOD_PATH="$dir/root" "$goal" >>"$dir/log" 2>&1 ||
		die "$goal failed, see $dir/log; its last lines:"$'\n'"$(tail -n 20 "$dir/log")"
done

# the same names as an unpacked package's
ln -sfn arch/x86/boot/bzImage "$dir/vmlinuz"
ln -sfn . "$dir/headers"
cp "$dir/include/config/kernel.release" "$dir/release"
echo "$want" >"$dir/made-of"
