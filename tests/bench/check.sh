#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Tests of `hftchan bench`: does it measure what was asked for, say it, and clean up?
# Not a benchmark: no time is judged.
# Usage: tests/bench/check.sh BUILD_DIR
set -euo pipefail

build=${1:?usage: tests/bench/check.sh BUILD_DIR}
hftchan=$build/hftchan
# shellcheck source=tests/tap.sh
. "$(dirname "$0")/../tap.sh"

# the channels that a run makes, as long as it lives
names()
{
	compgen -G "/dev/shm/hftchan-bench-${1:-*}"
}

nothing_left()
{
	local before=$1
	[ "$(names || true)" = "$before" ] || { echo "left in /dev/shm:"; names; return 1; }
}

# results MODE PAYLOAD,PAYLOAD...: one run, its JSON checked field by field
results()
{
	local mode=$1 payloads=$2 before
	before=$(names || true)
	"$hftchan" bench ping -j --seconds 1 "--$mode" --payload "$payloads" >"$tap_output.json" ||
		return
	nothing_left "$before" || return
	python3 - "$mode" "$payloads" "$tap_output.json" <<-'PYTHON'
		import json, math, sys

		mode, payloads, path = sys.argv[1:]
		top = json.load(open(path))
		assert top["benchmark"] == "ping" and top["between"] == mode, top
		assert len(set(top["cpus"])) == 2 and top["interrupted"] is False, top
		seen = set()
		for r in top["results"]:
		    print(r)
		    assert r["layout"] == "packed" and r["regime"] in ("near", "far")
		    assert (r["payload"], r["regime"]) not in seen
		    seen.add((r["payload"], r["regime"]))
		    assert r["blocks"] >= 1 and r["round_trips"] >= 16 * r["blocks"]
		    times = [r[k] for k in ("p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns")]
		    assert all(math.isfinite(t) and t > 0 for t in times)
		    # the quantiles are smoothed over a step of the clock, the maximum is as read
		    assert times[:-1] == sorted(times[:-1])
		    assert math.isfinite(r["floor_p50_ns"]) and r["floor_p50_ns"] > 0
		    ratios = [r[k] for k in ("floor_ratio_p10", "floor_ratio", "floor_ratio_p90")]
		    assert all(math.isfinite(x) and x > 0 for x in ratios)
		    assert ratios == sorted(ratios)
		assert {p for p, _ in seen} == {int(p) for p in payloads.split(",")}, seen
	PYTHON
}

table()
{
	local out
	out=$("$hftchan" bench ping --seconds 0.1 --payload 24) || return
	echo "$out"
	grep -Eq '^LAYOUT +PAYLOAD +REGIME +BLOCKS .*P50 .*FLOOR +RATIO' <<<"$out" || return
	grep -Eq '^packed +24 +(near|far) +[1-9]' <<<"$out"
}

saved()
{
	local out
	out=$("$hftchan" bench ping --seconds 0.1 --payload 24 --save "$tap_output.json") || return
	echo "$out"
	python3 - "$tap_output.json" "$out" <<-'PYTHON'
		import json, sys

		path, table = sys.argv[1:]
		rows = [line.split() for line in table.splitlines()[2:]]
		results = json.load(open(path))["results"]
		assert len(results) == len(rows) >= 1
		for r, row in zip(results, rows):
		    assert [r["regime"], str(r["blocks"])] == row[2:4]
		    assert abs(r["p50_ns"] - int(row[4])) <= 1
	PYTHON
}

# refused STATUS TEXT ARGUMENT...: that exit status, nothing on stdout, one line on stderr with TEXT
refused()
{
	local want=$1 text=$2 status=0 out err
	shift 2
	err=$("$hftchan" bench "$@" 2>&1 >"$tap_output.out") || status=$?
	out=$(<"$tap_output.out")
	echo "status $status: $err"
	[ "$status" = "$want" ] && [ -z "$out" ] && [ "$(wc -l <<<"$err")" = 1 ] &&
		[[ $err == *"$text"* ]]
}

# until_measured PATTERN: waits until such a channel has carried what makes some blocks
until_measured()
{
	local i name newest
	for ((i = 0; i < 600; i++)); do
		name=$(names "$1") || name=
		newest=$("$hftchan" show "${name##*/hftchan-}" 2>/dev/null |
			awk '$1 == "newest" { print $2 }') || newest=0
		[ "${newest:-0}" -le 100000 ] || return 0
		sleep 0.05
	done
	echo "no channel $1 with 100000 messages after 30 s"
	return 1
}

# by_signal SIGNAL: a run of two processes ends in order, with what it measured and without a trace
by_signal()
{
	local signal=$1 pid status=0 before
	before=$(names || true)
	"$hftchan" bench ping -j --processes --payload 8 --seconds 60 \
		>"$tap_output.json" 2>"$tap_output.out" &
	pid=$!
	until_measured "$pid-*.8.pong" || return
	kill "-$signal" "$pid"
	wait "$pid" || status=$?
	cat "$tap_output.out" "$tap_output.json"
	[ "$status" = 0 ] && grep -q "^stopped early" "$tap_output.out" || return
	nothing_left "$before" || return
	python3 -c 'import json, sys
top = json.load(open(sys.argv[1]))
assert top["interrupted"] is True and top["results"], top' "$tap_output.json"
}

# the process that replies is killed: the other one says so, and removes what both had
peer_killed()
{
	local pid child status=0 before
	before=$(names || true)
	"$hftchan" bench ping --processes --payload 8 --seconds 60 >"$tap_output.json" 2>&1 &
	pid=$!
	until_measured "$pid-*.8.pong" || return
	read -r child <"/proc/$pid/task/$pid/children"
	kill -KILL "$child"
	wait "$pid" || status=$?
	cat "$tap_output.json"
	[ "$status" = 1 ] && grep -q '^hftchan: bench: .*(Killed)' "$tap_output.json" &&
		nothing_left "$before"
}

one_cpu()
{
	local first status=0 err
	first=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')
	err=$(taskset -c "$first" "$hftchan" bench ping 2>&1) || status=$?
	echo "status $status: $err"
	[ "$status" = 1 ] && [[ $err == *"only one CPU"*"taskset -c 0,1"* ]]
}

tap "two threads: every payload has its results" results threads 1,7,8,56,400
tap "two processes: the same, and nothing stays in /dev/shm" results processes 8,56,4096
tap "the table" table
tap "the table and the same run's JSON in a file" saved
tap "a file that can't be written" refused 1 /nonexistent/file \
	ping --seconds 0.1 --save /nonexistent/file
for signal in INT TERM HUP; do
	tap "SIG$signal ends it in order, with what was measured" by_signal "$signal"
done
tap "the second process is killed: said, and nothing left" peer_killed
tap "no benchmark named" refused 2 "ping is missing"
tap "an unknown benchmark" refused 2 "pong: no such benchmark" pong
for payload in 0 -1 8x "" 8,,9 1048577 18446744073709551616; do
	tap "payload '$payload'" refused 2 "--payload: " ping --payload "$payload"
done
tap "too many payloads" refused 2 "more than 16" ping --payload "$(seq -s, 17)"
for seconds in 0 -1 x 1e3 ""; do
	tap "seconds '$seconds'" refused 2 "--seconds: " ping --seconds "$seconds"
done
tap "a layout that this version lacks" refused 2 "there is: packed" ping --layout split
for cpus in 0 0,0 0,1,2 a,b 0,99999; do
	tap "CPUs '$cpus'" refused 2 "--cpus: " ping --cpus "$cpus"
done
tap "a CPU that does not exist" refused 1 "CPU 1023 does not exist" ping --cpus 0,1023
tap "one CPU only" one_cpu

rm -f "$tap_output.json" "$tap_output.out"
tap_end
