# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# For bash tests that source it: each test is a command, its result a line of TAP.
# Not a runner: tests/run.sh reads what is printed here.

tap_nr=0 tap_failed=0
tap_output=$(mktemp)

# tap DESCRIPTION COMMAND...: one test, whose output is shown when it fails. As bash has it, set -e
# doesn't hold within COMMAND: a function says `|| return` or ends with what decides.
tap()
{
	local what=$1 result=ok
	shift
	tap_nr=$((tap_nr + 1))
	if ! "$@" >"$tap_output" 2>&1 </dev/null; then
		result="not ok"
		tap_failed=1
	fi
	echo "$result $tap_nr - $what"
	[ "$result" = ok ] || sed 's/^/# /' "$tap_output"
}

# the last call of a test: prints the plan, exits 1 if any test failed
tap_end()
{
	rm -f "$tap_output"
	echo "1..$tap_nr"
	exit "$tap_failed"
}
