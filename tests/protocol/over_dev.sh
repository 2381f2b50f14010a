#!/bin/bash
# SPDX-License-Identifier: MIT
#
# A test of this directory over dev:, in the virtual machine: the one that it is called as.
# Not a list of them: that is tests/vm/guest, with a link to this file for each; tests about files
# in /dev/shm, or without a channel, have none.
# Prints the program's TAP; of cmocka's programs if the suite asks for it.

name=$(basename "$0" .sh)
arguments=()
case $name in
crash) arguments=(--seconds 20) ;;
stress) arguments=(30) ;;
esac
# cmocka says "not ok" of a test that skipped
HFTCHAN_TEST_BACKEND=dev "/tests/protocol/$name" "${arguments[@]}" 2>&1 |
while IFS= read -r line; do
	[[ $line != "not ok "*"# SKIP "* ]] || line=${line#not }
	printf '%s\n' "$line"
done
exit "${PIPESTATUS[0]}"
