#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Runs the module's tests in a virtual machine with one kernel and prints TAP.
# Not what runs inside (suite) nor what decides (judge.awk).
# Usage: tests/vm/run.sh BUILD_DIR 6.1|6.12|debug [boot.sh's OPTION]...
set -euo pipefail

tree=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:?usage: tests/vm/run.sh BUILD_DIR 6.1|6.12|debug [OPTION]...}
kernel=${2:?usage: tests/vm/run.sh BUILD_DIR 6.1|6.12|debug [OPTION]...}
shift 2
logs=$build/vm/log/$kernel
seconds=1800
[ "$kernel" != debug ] || seconds=3600

mkdir -p "$logs"
: >"$logs/console"
status=0
"$tree/tests/vm/boot.sh" --time "$seconds" --log "$logs/console" "$@" "$build" "$kernel" \
	/tests/suite >"$logs/results" || status=$?
awk -v status="$status" -f "$tree/tests/vm/judge.awk" "$logs/results" "$logs/console" || {
	echo "# results and the kernel's log: $logs"
	exit 1
}
