#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# `make bench`: prints this machine's facts and its figures, in a good minute.
# It asserts nothing: how it measures and what the figures mean is in docs/performance.md.
# Usage: tests/bench/run.sh BUILD_DIR    (BUILD_DIR/bench/*.json: the same for programs)
# SECONDS_EACH=N: how long to measure each table (30)
set -euo pipefail

build=${1:?usage: tests/bench/run.sh BUILD_DIR}
seconds=${SECONDS_EACH:-30}
out=$build/bench
export LC_ALL=C

first_of()
{
	sed -n "s/^$1[[:space:]]*: //p" /proc/cpuinfo | head -n 1
}

machine()
{
	local model load
	model=$(first_of 'model name')
	read -r load _ </proc/loadavg
	echo "CPU:        ${model:-$(uname -m)}$(first_of 'cpu family' | sed 's/^/, family /')$(
		first_of model | sed 's/^/, model /')"
	echo "may use:    CPUs $(taskset -cp $$ | sed 's/.*: //')$(
		grep -qw hypervisor /proc/cpuinfo && echo ', virtual: cores may move, see REGIME')"
	echo "kernel:     $(uname -sr), clock source" \
		"$(</sys/devices/system/clocksource/clocksource0/current_clocksource)"
	echo "huge pages: $(</proc/sys/vm/nr_hugepages) reserved; transparent:" \
		"$(cat /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null || echo none)," \
		"in shm: $(cat /sys/kernel/mm/transparent_hugepage/shmem_enabled 2>/dev/null ||
			echo none)"
	echo "load:       $load; other programs on these CPUs make the figures worse"
}

mkdir -p "$out"
machine
for between in threads processes; do
	echo
	echo "measuring round trips between two $between for $seconds s ..." >&2
	"$build/hftchan" bench ping "--$between" --seconds "$seconds" --payload 8,56,120,400,4096 \
		--save "$out/ping-$between.json"
done
echo
"$out/faults" "$out/faults.json"
echo
echo "the same as JSON: $out/ping-threads.json $out/ping-processes.json $out/faults.json"
