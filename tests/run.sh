#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Runs every test that was built, counts the test cases and prints `N passed, N failed` last.
# Not a builder: `make check` installs, builds and then calls this.
# Usage: tests/run.sh BUILD_DIR
#
# A program prints what cmocka prints, or TAP. As failed counts, besides what it says itself: a
# crash, a timeout, a report of a sanitizer, a plan that doesn't fit, or no result at all.
# CAPTURES=DIR: the tests that know it use the captures there too. CI=true: a longer stress, and the
# kernel module on every kernel.
set -uo pipefail

# absolute, as a test may change its directory
build=${1:?usage: tests/run.sh BUILD_DIR}
case $build in /*) ;; *) build=$PWD/$build ;; esac
log=$build/log
stress_seconds=30
kernels=(6.1)
if [ "${CI:-}" = true ]; then
	stress_seconds=120
	kernels=(6.1 6.12 debug)
fi
passed=0 failed=0
failures=()

rm -rf "$log"
mkdir -p "$log/sanitizer"

# messages and numbers as the tests expect them, wherever the user lives
export LC_ALL=C

# nothing is ever to be read here: a clock tick without a process that would outlive its program
exec 9<> <(:)

program_pid='' ticker_pid=''
trap 'kill $program_pid $ticker_pid; exit 130' INT TERM

# since TIME: what passed since then
since()
{
	awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", to - from }'
}

stage_name=
stage()
{
	[ -z "$stage_name" ] || echo "  $stage_name: $(since "$stage_start")"
	stage_name=$1 stage_start=$EPOCHREALTIME
	[ -z "$1" ] || echo "$1"
}

# count STATUS FILE: prints "OK BAD SKIPPED NOTES..."
count()
{
	awk -v status="$1" '
		function note(text) { notes = notes (notes ? ", " : "") text }
		# cmocka repeats the failed names in its summary: only a group has results
		/^\[==========\].*Running [0-9]+ test/ {
			group = 1
			for (i = 1; i < NF; i++)
				if ($i == "Running")
					plan += $(i + 1)
			next
		}
		/^\[==========\]/ { group = 0 }
		group && /^\[       OK \]/ { ok++ }
		group && /^\[  FAILED  \]/ { bad++ }
		group && /^\[  SKIPPED \]/ { skipped++ }
		/^1\.\.[0-9]+/ { plan += substr($1, 4); planned = 1 }
		/^ok( |$)/ { tap = 1; if (/# *[Ss][Kk][Ii][Pp]/) skipped++; else ok++ }
		/^not ok( |$)/ { tap = 1; bad++ }
		/^Bail out!/ { bad++; note($0) }
		END {
			results = ok + bad + skipped
			if (status == 124 || status == 137)
				note("timeout or killed")
			else if (status > 128)
				note("signal " status - 128)
			if (results == 0 && plan == 0) {
				note("printed no result")
				bad++
			} else if (tap && !planned) {
				note("ended without a plan")
				bad++
			} else if (results != plan) {
				note(results " results where " plan " were planned")
				bad += plan > results ? plan - results : 1
			}
			if (status && !bad) {
				note("exit status " status)
				bad++
			}
			print ok + 0, bad + 0, skipped + 0, notes
		}' "$2"
}

# verdict: as count, for a program whose exit status is its one result
verdict()
{
	if [ "$1" = 0 ]; then
		echo 1 0 0
	else
		echo 0 1 0 "exit status $1"
	fi
}

# run HOW NAME SECONDS COMMAND...: one program with a time limit, judged by HOW (count, verdict)
run()
{
	local how=$1 name=$2 limit=$3 start=$EPOCHREALTIME
	local status file out reports ok bad skipped notes
	shift 3
	file=${name//[^A-Za-z0-9_.-]/_}
	out=$log/$file
	reports=$log/sanitizer/$file
	printf '  %-36s ' "$name"
	until read -rt 20 -u 9; do printf '.'; done &
	ticker_pid=$!
	# in the background, so that an interrupt ends it at once (but not by then ignoring SIGINT)
	ASAN_OPTIONS=log_path=$reports:detect_stack_use_after_return=1 \
	UBSAN_OPTIONS=log_path=$reports:print_stacktrace=1 \
		env --default-signal=INT,QUIT timeout --kill-after=10 "$limit" "$@" \
		>"$out.log" 2>"$out.err" </dev/null 9>&- &
	program_pid=$!
	# 2>: bash itself writes there when a signal ended the program
	wait "$program_pid" 2>/dev/null
	status=$?
	kill "$ticker_pid"
	wait "$ticker_pid" 2>/dev/null
	read -r ok bad skipped notes < <("$how" "$status" "$out.log")
	if compgen -G "$reports.*" >/dev/null; then
		notes="${notes:+$notes, }a sanitizer reported"
		bad=$((bad + 1))
		cat "$reports".* >>"$out.err"
	fi
	if [ -s "$out.err" ]; then
		{ echo "--- standard error:"; cat "$out.err"; } >>"$out.log"
	fi
	rm "$out.err"
	passed=$((passed + ok)) failed=$((failed + bad))
	printf '%4d passed%s%s  %s\n' "$ok" "$([ "$bad" = 0 ] || echo ", $bad FAILED")" \
		"$([ "$skipped" = 0 ] || echo ", $skipped skipped")" "$(since "$start")"
	[ "$skipped" = 0 ] || awk '/^ok .*# *[Ss][Kk][Ii][Pp]/ || /^\[  SKIPPED \] [^0-9]/ {
		if (!seen[$0]++) print "    | " $0 }' "$out.log"
	[ "$bad" = 0 ] && return
	failures+=("$name${notes:+ ($notes)}: ${out#"$PWD/"}.log")
	echo "    | ${notes:-failed}; from ${out#"$PWD/"}.log:"
	excerpt "$out.log" | sed 's/^/    | /'
}

# excerpt FILE: of TAP each failed test with the first of its explanation, otherwise the end
excerpt()
{
	if grep -q '^not ok ' "$1"; then
		awk '/^not ok / { left = 16 } !/^(not ok |#)/ { left = 0 } left-- > 0' "$1"
	else
		tail -n 40 "$1"
	fi
}

# programs FILE...: those of a stage; there must be one, or the build went wrong
programs()
{
	local file
	found=()
	for file; do
		if [ -f "$file" ] && [ -x "$file" ]; then
			found+=("$file")
		fi
	done
	[ ${#found[@]} -eq 0 ] || return
	echo "  nothing found: $*"
	failures+=("$stage_name: nothing found: $*")
	failed=$((failed + 1))
}

# each PREFIX SECONDS ARGUMENT...: run the programs found
each()
{
	local prefix=$1 limit=$2 program
	shift 2
	for program in "${found[@]}"; do
		run count "$prefix${program##*/}" "$limit" "$program" "$@"
	done
}

stage "protocol and library"
programs "$build"/tests/test_*
each "" 180

stage "protocol and library, sanitized"
programs "$build"/asan/tests/test_*
each "asan " 300

stage "C++"
programs "$build"/cxx/test_*
each "c++ " 120

stage "C++, sanitized"
programs "$build"/asan/cxx/test_*
each "asan c++ " 120

stage "crash: senders killed and resumed"
programs "$build"/tests/crash
each "" 300

stage "an independent reader of a channel's bytes"
programs tests/protocol/check_*.py
each "" 120 "$build"

stage "tool"
programs tests/tool/*.sh
each "tool " 600 "$build"

stage "tool, sanitized"
each "asan tool " 900 "$build/asan"

stage "bench"
programs tests/bench/check*.sh
each "bench " 300 "$build"

stage "feed"
programs tests/feed/check*.sh
each "feed " 600 "$build"

stage "judge of the virtual machine"
programs tests/vm/check*.sh
each "vm " 120

for kernel in "${kernels[@]}"; do
	stage "kernel module, in a virtual machine, Linux $kernel"
	[ "$kernel" != debug ] ||
		run verdict "debug kernel" 3600 make --no-print-directory debug-kernel B="$build"
	run count "vm $kernel" 5400 make --no-print-directory check-vm KERNELS="$kernel" B="$build"
done

if [ "${CI:-}" = true ]; then
	stage "the demo in a virtual machine"
	run verdict demo-vm 900 make --no-print-directory demo-vm B="$build"

	stage "DKMS"
	run count dkms 600 make --no-print-directory check-dkms B="$build"
fi

stage "install"
run count install 300 tests/check-install.sh "$build"

stage "static checks"
run count lint 900 make --no-print-directory lint B="$build"

stage "stress, $stress_seconds s"
programs "$build"/tests/stress
each "" $((stress_seconds + 120)) "$stress_seconds"

stage "demo"
run verdict demo 600 tests/demo.sh "$build"

stage ""
if [ ${#failures[@]} -gt 0 ]; then
	echo "failed:"
	printf '  %s\n' "${failures[@]}"
fi
echo "$passed passed, $failed failed" | tee "$log/result"
[ "$failed" = 0 ]
