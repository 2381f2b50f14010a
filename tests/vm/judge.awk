# SPDX-License-Identifier: MIT
#
# Judges a run in the virtual machine: what tests/vm/suite printed (KTAP), and the kernel's log.
# Not a runner: tests/vm/run.sh calls it; tests/vm/check-judge.sh shows what it finds.
# Usage: awk -v status=STATUS -f judge.awk RESULTS CONSOLE    (prints TAP; 1 if anything failed)
#
# A program counts by its single results. What it did besides is one more failed test: a plan that
# doesn't fit, no result, an exit status, an end without notice. So does each report of the kernel.

function test(good, text)
{
	print (good ? "ok " : "not ok ") ++nr " - " text
	failed += !good
}

function explain(text)
{
	print "# " text
}

function problem(text)
{
	problems = problems (problems ? ", " : "") text
}

# the end of a program: by its own line in the outer list, or without one
function leave(text)
{
	if (text ~ /^not ok/ && !nested_failed)
		problem(match(text, /# .*/) ? substr(text, RSTART + 2) : "failed, but no test did")
	if (!nested && !skipped_whole && text !~ /# SKIP/)
		problem("printed no result")
	else if (nested && plan == "")
		problem("ended without a plan")
	else if (nested && plan != nested)
		problem(nested " results where " plan " were planned")
	if (bail != "")
		problem(bail)
	if (problems != "") {
		test(0, program ": runs to its end")
		explain(problems)
		# what it said last, if its last result was good
		for (i = 1; i <= kept; i++)
			explain(keep[i])
	} else if (!nested) {
		test(1, program " # SKIP" skip_reason)
	}
	program = ""
}

{
	console = FILENAME == ARGV[2]
	sub(/\r$/, "")
}

# ---- the results -------------------------------------------------------------------------------

!console && /^  # Subtest: / {
	if (program != "") {
		problem("ended without notice")
		leave("")
	}
	program = substr($0, 14)
	nested = nested_failed = kept = skipped_whole = bad = 0
	plan = problems = bail = skip_reason = run = ""
	next
}

!console && program != "" && /^  1\.\.[0-9]+/ {
	plan += substr($1, 4)
	if (plan == 0 && match($0, /# *SKIP/)) {
		skipped_whole = 1
		skip_reason = substr($0, RSTART + RLENGTH)
	}
	next
}

!console && program != "" && /^  (not )?ok( |$)/ {
	nested++
	bad = /^  not/
	nested_failed += bad
	sub(/^  (not )?ok *[0-9]*( *-)? */, "")
	# kselftest_harness.h doesn't repeat the name of what is skipped
	test(!bad, program ": " (/^# *SKIP/ && run ? run " " : "") $0)
	# kselftest_harness.h explains before the result
	if (bad)
		for (i = 1; i <= kept; i++)
			explain(keep[i])
	kept = 0
	next
}

!console && program != "" && /^  / {
	sub(/^  (# ?)?/, "")
	if (/^Bail out!/)
		bail = $0
	if (/^ *RUN /) {
		run = $2
		kept = bad = 0
	}
	# tests/tap.sh explains after the result
	if (bad) {
		explain($0)
	} else {
		if (kept == 20) {
			for (i = 1; i < kept; i++)
				keep[i] = keep[i + 1]
			kept--
		}
		keep[++kept] = $0
	}
	next
}

!console && /^1\.\.[0-9]+$/ { outer_plan = substr($1, 4); next }

!console && /^(not )?ok / {
	outer++
	if (program != "") {
		leave($0)
	} else {
		text = $0
		sub(/^(not )?ok *[0-9]*( *-)? */, "", text)
		test(/^ok/, text)
	}
	next
}

!console && /^# / { print; next }

# ---- the kernel's log --------------------------------------------------------------------------

console { lines++; sub(/^\[ *[0-9.]+\] /, "") }

console && /^hftchan-test: / { during = substr($0, 15); rest = 0; next }

# what a report begins with; more of the same within 100 lines is the rest of it
function begins()
{
	return /^([a-z_]+: )?(WARNING: |BUG: |Oops: |INFO: (task |rcu_|trying ))/ ||
		/------\[ cut here \]|^Kernel panic|^BUG |^UBSAN: |^ODEBUG: |^refcount_t: / ||
		/^(general protection|double fault|divide error|invalid opcode|stack segment)/ ||
		/^int3:|DEBUG_LOCKS_WARN_ON|list_(add|del) corruption|detected stall/ ||
		/[Kk]ernel memory (overwrite|exposure)|page allocation failure/ ||
		/^page:[^ ]* refcount|blocked for more than|Call Trace:/ ||
		/^kmemleak: [0-9]+ new|^unreferenced object/
}

console && begins() {
	if (!rest || /------\[ cut here \]/) {
		test(0, "the kernel's log: " (during ? during : "boot"))
		reports++
		shown = 0
	}
	rest = 100
}
console && rest { rest--; if (shown++ < 40) explain($0) }

# ---- the end -----------------------------------------------------------------------------------

END {

	if (program != "") {
		problem("the machine ended during it")
		leave("")
	}
	if (outer_plan == "")
		outer_plan = "?"
	if (outer != outer_plan || status) {
		test(0, "the suite runs to its end")
		explain(outer + 0 " of " outer_plan " tests ended; " \
			(status == 124 ? "timeout" : "status " status + 0))
	}
	if (!lines)
		test(0, "the kernel's log: is empty")
	else if (!reports)
		test(1, "the kernel's log: no report")
	print "1.." nr
	exit failed > 0
}
