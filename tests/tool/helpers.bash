# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# What the tests of the command `hftchan` share: to run it, and to say why its answer is wrong.
# Not a test: they source it, after tests/tap.sh, with $build set, and set $ch (a channel).
# Each function fails, and says why, when things are not as they should be.

: "${build:=}" "${ch:=}"
pids=()		# of what start() started

# set_up: $tmp, a directory; $bin, a copy of the command that every user can run
set_up()
{
	export LC_ALL=C
	tmp=$(mktemp -d)
	chmod 755 "$tmp"
	bin=$tmp/hftchan
	cp "${HFTCHAN_BIN:-$build/hftchan}" "$bin"
	chmod 755 "$bin"
}

kill_started()
{
	local pid
	for pid in "${pids[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
	done
}

tap_skip()
{
	tap_nr=$((tap_nr + 1))
	echo "ok $tap_nr - $1 # SKIP $2"
}

# status WANTED COMMAND...: exit status; output in $tmp/out and $tmp/err
status()
{
	local wanted=$1 got=0
	shift
	timeout 60 "$@" >"$tmp/out" 2>"$tmp/err" || got=$?
	[ "$got" = "$wanted" ] && return
	echo "$*: exit status $got, not $wanted"
	cat "$tmp/out" "$tmp/err"
	return 1
}

# fails STATUS PATTERN ARGUMENT...: `hftchan ARGUMENT...` says one error, and it fits
fails()
{
	local wanted=$1 pattern=$2
	shift 2
	status "$wanted" "$bin" "$@" </dev/null || return
	one_error "$pattern"
}

# one_error PATTERN: $tmp/err holds one line that begins with "hftchan: ", and that fits
one_error()
{
	if [ "$(grep -c '^hftchan: ' "$tmp/err")" != 1 ] ||
		! grep -Eq "^hftchan: .*($1)" "$tmp/err"; then
		echo "not one error like '$1':"
		cat "$tmp/err"
		return 1
	fi
}

# no_errors [FILE]
no_errors()
{
	! grep '^hftchan: ' "${1:-$tmp/err}"
}

# has FILE PATTERN
has()
{
	grep -Eq -e "$2" "$1" && return
	echo "no '$2' in $1:"
	cat "$1"
	return 1
}

# start NAME ARGUMENT...: hftchan in the background; output in $tmp/NAME.out and .err, pid in $NAME
start()
{
	local -n started=$1
	local name=$1
	shift
	: >"$tmp/$name.err"
	# <&0: what runs in the background would read /dev/null
	"$bin" "$@" <&0 >"$tmp/$name.out" 2>"$tmp/$name.err" 7>&- &
	started=$!
	pids+=("$started")
}

# wait_for FILE PATTERN: until it is there, half a minute at most
wait_for()
{
	local i
	for ((i = 0; i < 600; i++)); do
		! grep -Eq -e "$2" "$1" 2>/dev/null || return 0
		sleep 0.05
	done
	echo "no '$2' in $1 after 30 s:"
	cat "$1"
	return 1
}

# ends STATUS PID: within half a minute
ends()
{
	local got=0 i
	for ((i = 0; i < 600; i++)); do
		kill -0 "$2" 2>/dev/null || break
		sleep 0.05
	done
	kill -KILL "$2" 2>/dev/null
	wait "$2" || got=$?
	[ "$got" = "$1" ] && return
	echo "process ended with status $got, not $1"
	cat "$tmp"/*.err
	return 1
}

# fresh OPTION...: the channel, new
fresh()
{
	"$bin" destroy "$ch" --force 2>/dev/null
	"$bin" create "$ch" "$@" >/dev/null
}

# and away with it; nothing_left is the test's own
done_with()
{
	"$bin" destroy "$ch" && nothing_left
}
