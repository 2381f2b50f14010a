#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Shows that judge.awk passes a good run and fails each kind of bad one, from made-up results and
# kernel logs. Not a boot: it takes no kernel and no time. Prints TAP.
# Usage: tests/vm/check-judge.sh
set -euo pipefail

tree=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/tap.sh
. "$tree/tests/tap.sh"
dir=$(mktemp -d)
trap 'rm -rf "$dir" "$tap_output"' EXIT

# a good run: one test of the suite's own, a program by kselftest_harness.h, a script by tap.sh
results="KTAP version 1
1..4
ok 1 - the module loads
  # Subtest: harness
  TAP version 13
  1..2
  #  RUN           global.first ...
  #            OK  global.first
  ok 1 global.first
  #  RUN           global.second ...
  #      SKIP      no such thing
  #            OK  global.second
  ok 2 # SKIP no such thing
  # PASSED: 2 / 2 tests passed.
ok 2 - harness
  # Subtest: script.sh
  ok 1 - first
  ok 2 - second
  1..2
ok 3 - script.sh
ok 4 - the module unloads"
console="[    0.000000] Linux version 6.1
[    1.000000] Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on
[    2.000000] hftchan-test: the module loads
[    3.000000] hftchan-test: harness
[    4.000000] hftchan-test: script.sh
[    5.000000] reboot: Power down"

# instead FROM TO LINE...: the good results with LINEs for what is between FROM and TO, these too
instead()
{
	local from=$1 to=$2
	shift 2
	printf '%s' "${results%%"$from"*}$(printf '%s\n' "$@")${results#*"$to"}"
}

# judge STATUS RESULTS CONSOLE: the output goes to $dir/tap
judge()
{
	printf '%s' "${2:+$2$'\n'}" >"$dir/results"
	printf '%s' "${3:+$3$'\r\n'}" >"$dir/console"
	awk -v status="$1" -f "$tree/tests/vm/judge.awk" "$dir/results" "$dir/console" >"$dir/tap"
}

# what the runner counts must be whole: a plan at the end that fits
planned()
{
	[ "$(tail -n 1 "$dir/tap")" = "1..$(grep -cE '^(not )?ok [0-9]+ - ' "$dir/tap")" ]
}

# passes COUNT STATUS RESULTS CONSOLE
passes()
{
	local count=$1
	shift
	judge "$@" || { cat "$dir/tap"; return 1; }
	planned && [ "$(tail -n 1 "$dir/tap")" = "1..$count" ] && ! grep '^not ok' "$dir/tap"
}

# fails TEXT STATUS RESULTS CONSOLE: with one failed test, named or explained by TEXT
fails()
{
	local text=$1
	shift
	if judge "$@"; then
		echo "passed:"
		cat "$dir/tap"
		return 1
	fi
	cat "$dir/tap"
	planned && [ "$(grep -c '^not ok' "$dir/tap")" = 1 ] &&
		grep -A 1 '^not ok' "$dir/tap" | grep -qF -- "$text"
}

# stops TEXT STATUS RESULTS CONSOLE: as fails, but the suite's end is missing too
stops()
{
	local text=$1
	shift
	! judge "$@" || return
	cat "$dir/tap"
	planned && grep -q '^not ok .* - the suite runs to its end$' "$dir/tap" &&
		grep -qF -- "$text" "$dir/tap"
}

# reported TEXT: the kernel says so while script.sh runs
reported()
{
	fails "the kernel's log: script.sh" 0 "$results" "$console"$'\n'"[    6.000000] $1"
}

three_reports()
{
	! judge 0 "$results" "${console//hftchan-test: /hftchan-test: x$'\n'BUG: }" || return
	cat "$dir/tap"
	planned && [ "$(grep -c "^not ok .* - the kernel's log: x$" "$dir/tap")" = 3 ]
}

tap "a good run passes" passes 7 0 "$results" "$console"
tap "a program that skips itself is one skipped test" passes 6 0 \
	"$(instead "  ok 1 - first" "ok 3 - script.sh" \
	"  1..0 # SKIP no device" "ok 3 - script.sh # SKIP")" "$console"

while IFS='|' read -r what text; do
	tap "the kernel's log: $what" reported "$text"
done <<'END'
WARN|------------[ cut here ]------------
a warning without its frame|WARNING: CPU: 1 PID: 129 at main.c:29 write+0x3a/0x12f [hftchan]
null pointer|BUG: kernel NULL pointer dereference, address: 0000000000000008
oops|Oops: 0002 [#1] PREEMPT SMP NOPTI
a later kernel's oops|Oops: general protection fault, probably for non-canonical address: 0000 [#1]
general protection fault|general protection fault, probably for non-canonical address 0xdead
panic|Kernel panic - not syncing: sysrq triggered crash
KASAN|BUG: KASAN: use-after-free in write+0x1d5/0x1da [hftchan]
UBSAN|UBSAN: array-index-out-of-bounds in main.c:3:4
slab corruption|BUG kmalloc-128 (Tainted: G    B      O): Poison overwritten
bad page|BUG: Bad page state in process sh  pfn:1006f0
a page dumped|page:ffffea000401bc00 refcount:1 mapcount:0 mapping:0000000000000000
lock order|WARNING: possible circular locking dependency detected
lock state|WARNING: inconsistent lock state
RCU usage|WARNING: suspicious RCU usage
lockdep itself|DEBUG_LOCKS_WARN_ON(1)
sleeping in atomic context|BUG: sleeping function called from invalid context at mm.c:1
freed while in use|ODEBUG: free active (active state 0) object type: timer_list
reference count|refcount_t: underflow; use-after-free.
list|list_del corruption, ffff888 is LIST_POISON1
user copy|usercopy: Kernel memory overwrite attempt detected to SLUB object
hung task|INFO: task sh:77 blocked for more than 120 seconds.
soft lockup|watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [sh:77]
RCU stall|rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
RCU stall of a CPU|rcu: INFO: rcu_sched self-detected stall on CPU
workqueue|BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!
leak|kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)
any other with a trace|Call Trace:
no memory|sh: page allocation failure: order:9, mode:0x40cc0(GFP_KERNEL|__GFP_COMP)
END
tap "the kernel's log: a report of the boot" fails "the kernel's log: boot" 0 "$results" \
	"${console/Linux/"BUG: Linux"}"
tap "the kernel's log: a report during each of three tests" three_reports
tap "the kernel's log is missing" fails "the kernel's log: is empty" 0 "$results" ""

tap "a failed test" fails "script.sh: second" 0 \
	"${results/ok 2 - second/not ok 2 - second}" "$console"
tap "a failed test of the suite's own" fails "the module unloads" 0 \
	"${results/ok 4 -/not ok 4 -}" "$console"
tap "a program that failed without a failed test" fails "exit status 3" 0 \
	"${results/ok 3 - script.sh/not ok 3 - script.sh # exit status 3}" "$console"
tap "a program killed midway" fails "exit status 137, 1 results where 2 were planned" 0 \
	"$(instead "  ok 2 # SKIP" "ok 2 - harness" "not ok 2 - harness # exit status 137")" \
	"$console"
tap "a program that ended early as if it were good" fails "1 results where 2 were planned" 0 \
	"${results/"  ok 2 # SKIP no such thing"/}" "$console"
tap "more results than planned" fails "2 results where 1 were planned" 0 \
	"${results/"  1..2"/"  1..1"}" "$console"
tap "no plan" fails "ended without a plan" 0 "${results/"  1..2"/}" "$console"
tap "no result" fails "printed no result" 0 \
	"$(instead "  ok 1 - first" "ok 3 - script.sh" "ok 3 - script.sh")" "$console"
tap "Bail out!" fails "Bail out! no device" 0 \
	"${results/"  ok 1 - first"/"  ok 1 - first"$'\n'"  Bail out! no device"}" "$console"
tap "a hung program" fails "timeout after 5 s" 0 \
	"$(instead "  ok 2 - second" "ok 3 - script.sh" \
	"not ok 3 - script.sh # timeout after 5 s")" "$console"
tap "a hung machine" stops "3 of 4 tests ended; timeout" 124 "${results%$'\n'*}" "$console"
tap "a machine that ended during a program" stops "the machine ended during it" 125 \
	"${results%%"  ok 2 - second"*}" "$console"
tap "the last test is missing" stops "3 of 4 tests ended; status 0" 0 "${results%$'\n'*}" "$console"
tap "nothing ran" stops "0 of ? tests ended; status 125" 125 "" "$console"
tap "nothing ran, because of what the kernel's log says" stops "Kernel panic" 125 "" \
	"$console"$'\nKernel panic - not syncing: No working init found.'
tap "the suite ended with a status" stops "4 of 4 tests ended; status 1" 1 "$results" "$console"
tap_end
