#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The main job on real input: packets, live over UDP and from captures, through a channel to three
# receiver processes at once, each message compared byte for byte or counted as lost.
# Not a test of the details: those are in tests/protocol and tests/tool.
# Usage: tests/demo.sh BUILD_DIR [NODE]...
#
# The channel is the kernel module's where that is loaded, otherwise in POSIX shared memory. With
# NODEs everything is done on each of these NUMA nodes, and where the ring lies is verified.
# CAPTURE=FILE or CAPTURES=DIR: also with these captures.
# EMULATED=1: a virtual machine without a CPU of its own: slower, and no figures of speed.
set -euo pipefail

build=${1:?usage: tests/demo.sh BUILD_DIR [NODE]...}
shift
nodes=("${@:--1}")
hftchan=$build/hftchan
work=${WORK:-$build/demo}
receivers=3
live_packets=100000
live_rate=20000
[ -z "${EMULATED:-}" ] || live_packets=10000 live_rate=2000
failed=0
pids=()

cleanup()
{
	local status=$?
	trap - EXIT
	[ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait
	"$hftchan" destroy --force "$channel" 2>/dev/null || true
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# what a bare name would mean, but that who may not use the module can see the demo all the same
backend=shm
if [ ! -e /dev/hftchan ]; then
	echo "The kernel module is not loaded: channels are in POSIX shared memory (shm:)"
elif [ -r /dev/hftchan ] && [ -w /dev/hftchan ]; then
	echo "The kernel module is loaded: channels are in its huge pages (dev:)"
	backend=dev
else
	echo "The kernel module is loaded, but uid $(id -u) may not use /dev/hftchan:" \
		"channels are in POSIX shared memory (shm:)"
fi
channel=$backend:demo-$$

captures=()
if [ -n "${CAPTURE:-}" ]; then
	[ -r "$CAPTURE" ] || { echo "demo: CAPTURE=$CAPTURE: can't be read" >&2; exit 1; }
	captures+=("$CAPTURE")
fi
if [ -n "${CAPTURES:-}" ]; then
	for file in "$CAPTURES"/*.pcap "$CAPTURES"/*.pcapng; do
		[ ! -r "$file" ] || captures+=("$file")
	done
	if [ ${#captures[@]} = 0 ]; then
		echo "demo: CAPTURES=$CAPTURES: no *.pcap there" >&2
		exit 1
	fi
fi

# field NAME I: a number of receiver I's summary
field()
{
	sed -n "s/^ *\"$1\": \([0-9]*\),\?$/\1/p" "$work/receiver-$2.json"
}

# start_receivers FILE [OPTION]...: and wait until each has joined
start_receivers()
{
	local file=$1 i
	shift
	pids=()
	for ((i = 1; i <= receivers; i++)); do
		"$hftchan" sub "$channel" --join 1 --verify "$file" -j "$@" \
			>"$work/receiver-$i.json" 2>"$work/receiver-$i.err" &
		pids+=($!)
	done
	for ((i = 1; i <= receivers; i++)); do
		until grep -qs '^joined' "$work/receiver-$i.err"; do
			if ! kill -0 "${pids[i - 1]}" 2>/dev/null; then
				cat "$work/receiver-$i.err" >&2
				exit 1
			fi
			sleep 0.02
		done
	done
}

# finish_receivers: one line each
finish_receivers()
{
	local i status verdict
	for ((i = 1; i <= receivers; i++)); do
		status=0
		wait "${pids[i - 1]}" || status=$?
		verdict="ok: byte for byte"
		if [ "$status" != 0 ]; then
			verdict="FAILED (exit status $status)"
			failed=1
		elif [ "$(field lost "$i")" != 0 ]; then
			verdict="ok: byte for byte, and what was lost was counted"
		fi
		if [ -s "$work/receiver-$i.json" ]; then
			printf '    receiver %d: %7d received, %6d lost, %d altered, %d missing' \
				"$i" "$(field received "$i")" "$(field lost "$i")" \
				"$(field altered "$i")" "$(field missing "$i")"
		fi
		echo "   $verdict"
		[ "$status" = 0 ] || cat "$work/receiver-$i.err" >&2
	done
	pids=()
}

# create SLOTS [PAYLOAD]: the channel, on the node in turn
create()
{
	local where=() placed
	[ "$node" = -1 ] || where=(--node "$node")
	"$hftchan" create "$channel" --payload "${2:-1472}" --slots "$1" --varlen "${where[@]}"
	[ "$node" != -1 ] || return 0
	# each page was asked where it lies
	placed=$("$hftchan" show "$channel" |
		awk '$1 == "pages_on_node" && $3 { printf "%s%s", sep, $2; sep = " " }')
	if [ "$placed" = "$node" ]; then
		echo "    every page of the ring lies on node $node"
	else
		echo "    FAILED: the ring lies on ${placed:-(not told)}, not on node $node"
		failed=1
	fi
}

live()
{
	local group publisher
	# 25 MB: also fits in the 64-MB /dev/shm of a container
	create 16384
	start_receivers "$work/feed.pcap"
	group=239.192.0.1:$((20000 + $$ % 10000))
	"$hftchan" pub "$channel" --udp "$group" --iface lo --count "$live_packets" --idle 5 \
		2>"$work/pub.err" &
	publisher=$!
	pids+=("$publisher")
	until grep -qs "$channel" "$work/pub.err"; do
		kill -0 "$publisher" 2>/dev/null || { cat "$work/pub.err" >&2; exit 1; }
		sleep 0.02
	done
	"$build/itchfeed" --packets "$live_packets" --udp "$group" --iface lo --pace "$live_rate" \
		2>"$work/feed.err" || { cat "$work/feed.err" >&2; exit 1; }
	wait "$publisher" || { echo "    the sender FAILED:"; failed=1; }
	sed 's/^/    /' "$work/pub.err"
	unset 'pids[receivers]'
	finish_receivers
	"$hftchan" destroy "$channel" >/dev/null
}

# flat_out FILE SLOTS [PAYLOAD]
flat_out()
{
	echo "  ${1##*/} into $2 slots"
	create "$2" "${3:-1472}" >/dev/null
	start_receivers "$1" --allow-lost
	if ! "$hftchan" pub "$channel" --pcap "$1" --pace flat 2>"$work/pub.err"; then
		# jumbo frames, or loopback: as large as UDP can be, in slots that are as many bytes
		if [ $# = 2 ] && grep -q 'takes at most 1472' "$work/pub.err"; then
			kill "${pids[@]}" 2>/dev/null || true
			wait "${pids[@]}" || true
			"$hftchan" destroy "$channel" >/dev/null
			echo "    has messages of more than 1472 bytes:"
			flat_out "$1" 512 65507
			return
		fi
		echo "    the sender FAILED:"
		failed=1
	fi
	sed 's/^/    /' "$work/pub.err"
	finish_receivers
	"$hftchan" destroy "$channel" >/dev/null
}

rm -rf "$work"
mkdir -p "$work"
"$build/itchfeed" --packets "$live_packets" --pcap "$work/feed.pcap" 2>"$work/feed.err" ||
	{ cat "$work/feed.err" >&2; exit 1; }
for node in "${nodes[@]}"; do
	[ "$node" = -1 ] || echo "On NUMA node $node"
	echo "1. Live: $live_packets packets of simulated Nasdaq ITCH, $live_rate/s, over UDP multicast"
	live
	echo "2. Captures, flat out, and at last into a ring that is too small"
	for file in "${captures[@]}" "$work/feed.pcap"; do
		flat_out "$file" 32768
	done
	flat_out "$work/feed.pcap" 1024
done
if [ -z "${EMULATED:-}" ]; then
	echo "3. Latency: round trip of two threads, and against two bare cache lines (the floor)"
	"$hftchan" bench ping --seconds 3
fi

[ "$failed" = 0 ] || { echo "demo: FAILED"; exit 1; }
echo "demo: every receiver got every message byte for byte, or counted exactly what it lost"
