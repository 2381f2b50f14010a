#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The demo in a virtual machine, through the kernel module, on both of its NUMA nodes.
# Not another demo: what runs inside is tests/demo.sh.
# Usage: tests/vm/demo.sh BUILD_DIR KERNEL    (CAPTURE=FILE, CAPTURES=DIR: with these captures too)
set -euo pipefail

cd "$(dirname "$0")/../.."
build=${1:?usage: tests/vm/demo.sh BUILD_DIR KERNEL}
kernel=${2:?usage: tests/vm/demo.sh BUILD_DIR KERNEL}

options=(--file tests/demo.sh:/tests/demo.sh)
inside='EMULATED=1 WORK=/tmp/demo'
if [ -n "${CAPTURE:-}" ]; then
	[ -r "$CAPTURE" ] || { echo "demo: CAPTURE=$CAPTURE: can't be read" >&2; exit 1; }
	options+=(--file "$CAPTURE:/captures/${CAPTURE##*/}")
fi
for file in ${CAPTURES:+"$CAPTURES"/*.pcap "$CAPTURES"/*.pcapng}; do
	[ ! -r "$file" ] || options+=(--file "$file:/captures/${file##*/}")
done
[ ${#options[@]} = 2 ] || inside+=' CAPTURES=/captures'

echo "Linux $kernel in a virtual machine: two NUMA nodes, an emulated CPU (no figure below is a speed)"
tests/vm/boot.sh "${options[@]}" "$build" "$kernel" \
	bash -c "modprobe hftchan && $inside bash /tests/demo.sh /bin 0 1 && rmmod hftchan"
