#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Tests of the command `hftchan`: every subcommand, and everything bad that it can be given.
# Not tests of the library: those are in tests/protocol.
# Usage: tests/tool/test_tool.sh BUILD_DIR    (prints TAP)
# HFTCHAN_BIN=FILE: test that program instead of BUILD_DIR/hftchan.
# CAPTURES=DIR: send and verify every capture there, too.
set -euo pipefail

build=${1:?usage: tests/tool/test_tool.sh BUILD_DIR}
here=$(dirname "$0")
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"
# shellcheck source=tests/tool/helpers.bash
. "$here/helpers.bash"

set_up
name=tool-$$-	# no other run's name begins so
ch=shm:$name
shm=/dev/shm/hftchan-$name
ring_offset=$((2 << 20))

cleanup()
{
	kill_started
	rm -rf "$tmp" "$shm"*
}
trap cleanup EXIT

# ---- helpers: each fails, and says why, when things are not as they should be

# Every file of ours in /dev/shm is gone.
nothing_left()
{
	local left
	left=$(compgen -G "$shm*") || return 0
	echo "left behind: $left"
	rm -f "$shm"*
	return 1
}

# json FILE EXPRESSION: is it true of the JSON there? Its members are names in the expression.
json()
{
	python3 -c '
import json, sys
o = json.load(open(sys.argv[1]))
if not eval(sys.argv[2], {"o": o}, o):
    sys.exit(f"{sys.argv[2]}: not so in {o}")' "$1" "$2"
}

# tells EXPRESSION: is it true of the JSON that the last command printed?
tells()
{
	json "$tmp/out" "$1"
}

# no_create STATUS PATTERN OPTION...: for a channel with these options, otherwise one of 8 times 8
no_create()
{
	local wanted=$1 pattern=$2
	shift 2
	fails "$wanted" "$pattern" create "$ch" --payload 8 --slots 8 "$@"
}

# poke OFFSET BYTES: write into the channel's file; BYTES as for printf
poke()
{
	printf '%b' "$2" | dd of="$shm" bs=1 seek="$1" conv=notrunc status=none
}

python3 "$here/make_captures.py" "$tmp"
messages=$tmp/messages.framed

# ---- the command line

version()
{
	status 0 "$bin" -V &&
		has "$tmp/out" '^hftchan ([0-9.]+), libhftchan \1$' &&
		status 0 "$bin" --version
}
tap "version" version

help()
{
	local command
	status 0 "$bin" --help && cp "$tmp/out" "$tmp/help" || return
	for command in $("$bin" --list-commands); do
		has "$tmp/help" "^  $command " || return
		status 0 "$bin" "$command" --help && has "$tmp/out" "^usage: hftchan $command" &&
			status 0 "$bin" "$command" -h || return
	done
	for command in create list show check destroy pub sub bench; do
		"$bin" --list-commands | grep -qx "$command" || return
	done
}
tap "help of every command" help

manual()
{
	local command option bad=0
	for command in $("$bin" --list-commands); do
		for option in $("$bin" "$command" --list-options); do
			grep -qF -e "*${option%=}*" "$here/../../tools/man/hftchan.1.scd" || {
				echo "$command $option is not in hftchan(1)"
				bad=1
			}
			"$bin" "$command" --help | grep -q -e " ${option%=}\>" || bad=1
		done
	done
	return "$bad"
}
tap "every option is in the manual and in the help" manual

# complete WORD...: what the completion offers for the last one
complete_words()
{
	COMP_WORDS=("$bin" "$@")
	COMP_CWORD=$#
	_hftchan
	echo " ${COMPREPLY[*]} "
}

completion()
{
	# shellcheck source=tools/completion/hftchan.bash
	. "$here/../../tools/completion/hftchan.bash"
	fresh --payload 8 --slots 4
	[[ $(complete_words '') == *" create list "* ]] &&
		[[ $(complete_words pub --p) == " --pcap --pace " ]] &&
		[[ $(complete_words sub --join '') == " last next oldest " ]] &&
		[[ $(complete_words sub --join = o) == " oldest " ]] &&
		[[ $(complete_words show "$name") == " $name " ]] &&
		[[ $(complete_words sub --count '') == "  " ]] &&
		done_with
}
tap "completion" completion

usage()
{
	status 2 "$bin" && fails 2 'no such command' frobnicate &&
		fails 2 'NAME is missing' sub &&
		fails 2 'one word too many' sub a b &&
		fails 2 -- '--frobnicate: no such option' sub a --frobnicate &&
		fails 2 'no such option' sub a -x &&
		fails 2 'the value is missing' sub a --join &&
		fails 2 'takes no value' sub a --quiet=3 &&
		fails 2 'only one of' sub a --raw --hex &&
		fails 2 'only one of' pub a --pcap x --framed y &&
		fails 2 'is for --udp' pub a --idle 3 &&
		fails 2 'is for --udp' pub a --iface lo &&
		fails 2 'datagrams have' pub a --udp 127.0.0.1:5 --pace 3 &&
		fails 2 'nothing else has times' pub a --pace real &&
		fails 2 'is for --verify' sub a --allow-lost &&
		fails 2 'share standard output' sub a -j --raw &&
		fails 2 'slots is missing' create a --payload 8 &&
		fails 2 'payload is missing' create a --slots 8
}
tap "wrong command lines" usage

values()
{
	local v
	for v in '' 0 -1 +1 ' 1' '1 ' 1x 0x10 1K 1.5 1e3 99999999999999999999999; do
		fails 2 "'.*' is not a whole number from 1" create "$ch" --slots 8 --payload "$v" ||
			return
		fails 2 "'.*' is not a whole number from 4" create "$ch" --payload 8 --slots "$v" ||
			return
		fails 2 "'.*' is not a whole number from 1" sub "$ch" --count "$v" || return
	done
	for v in '' 0 0.0 -1 1. .x 1.1234567890 1s; do
		fails 2 "'.*' is not a time" sub "$ch" --timeout "$v" || return
	done
	no_create 2 'not a whole number' --node -1 &&
		no_create 2 'not a whole number' --node 99999999999 &&
		no_create 2 'not a whole number' --first-seq 0 &&
		no_create 2 'not a whole number' --first-seq 4611686018427387905 &&
		no_create 2 'not a hexadecimal' --type-tag xyz &&
		no_create 2 'not a hexadecimal' --type-tag 10000000000000000 &&
		no_create 2 'is no mode' --mode 0888 &&
		no_create 2 'is no user' --owner no-such-user &&
		no_create 2 'is no group' --group no-such-group &&
		no_create 2 'is no layout' --layout round &&
		fails 2 'is neither' sub "$ch" --join first &&
		fails 2 'not a whole number' sub "$ch" --join 0 &&
		fails 2 'is neither' sub "$ch" --wait long &&
		fails 2 'is neither' pub "$ch" --pace fast &&
		fails 2 'not a whole number' pub "$ch" --pace 0 &&
		nothing_left
}
tap "values that are none" values

# ---- channels

create()
{
	status 0 "$bin" create "$ch" --payload 100 --slots 64 --varlen --mode 0640 \
		--type-tag 0xCafe --first-seq 1000 --layout packed --node 0 || return
	has "$tmp/out" "^$ch: 64 slots of 128 bytes, 8 KiB in pages of [0-9]+ KiB$" &&
		[ "$(stat -c '%a' "$shm" "$shm.lock" | tr '\n' ' ')" = "640 600 " ] &&
		status 0 "$bin" show "$ch" -j &&
		tells "name == '$ch' and payload_size == 100 and slot_size == 128" &&
		tells "varlen and layout == 'packed' and type_tag == '0xcafe' and mode == '0640'" &&
		tells "first_seq == 1000 and newest == 999 and oldest == 1000 and node == 0" &&
		tells "sender == 'none' and sender_pid is heartbeat_age_ns is None" &&
		tells "nr_slots == 64 and epoch == 0" &&
		tells "ring_size == 8192 and not destroyed" &&
		tells "owner == $(id -u) and group == $(id -g)" &&
		tells "sum(pages_on_node.values()) == 2" &&
		status 0 "$bin" show "$ch" && has "$tmp/out" '^payload_size +100$' &&
		status 0 "$bin" check "$ch" && has "$tmp/out" 'oldest 1000, newest 999, 0 marked' &&
		fails 1 'exists' create "$ch" --payload 8 --slots 8 &&
		done_with
}
tap "create, show, check, destroy" create

zap()
{
	fresh --payload 8 --slots 4 &&
		fails 1 'only the module can take the memory' destroy "$ch" --force --zap &&
		done_with
}
tap "destroy --zap is for dev:" zap

# Killed while it fills a large ring, which takes long: it had no name yet, and leaves none.
create_killed()
{
	local creator
	start creator create "$ch" --payload 1000 --slots 2097152 && sleep 0.1 &&
		kill -TERM "$creator" && ends 143 "$creator" && nothing_left || return
	# a lock file without a channel is told of, replaced by its owner, removed by force
	: >"$shm.lock" && chmod 600 "$shm.lock" &&
		fails 1 'a lock file is left of one; --force removes it' destroy "$ch" &&
		status 0 "$bin" create "$ch" --payload 8 --slots 4 &&
		has "$tmp/out" 'slots of 64 bytes, 4 KiB in pages of 4 KiB' && done_with &&
		: >"$shm.lock" && chmod 600 "$shm.lock" && status 0 "$bin" destroy "$ch" --force &&
		nothing_left
}
tap "create that is killed" create_killed

names()
{
	local long=abcdefghijklmnopqrstuvwxyz0123456789abcdefghijk word before
	before=$(compgen -G '/dev/shm/hftchan-[a.-]*')
	status 0 "$bin" create "shm:$long" --payload 8 --slots 4 &&
		status 0 "$bin" destroy "shm:$long" || return
	# alone it means shm: where there is no module
	if [ ! -e /dev/hftchan ]; then
		status 0 "$bin" create "$name" --payload 8 --slots 4 &&
			has "$tmp/out" "^$ch: " && status 0 "$bin" destroy "$ch" || return
	fi
	for word in '' "${long}l" a/b ../a /a .a -a a:b shm: shm:a/b 'a b' a.lock; do
		for command in 'create --payload 8 --slots 4' show check destroy 'destroy --force' \
			pub sub; do
			# shellcheck disable=SC2086
			fails 1 ': ' $command -- "$word" || return
		done
	done
	fails 1 'not in this build' show raw:a &&
		fails 2 'local: lives' create local: --payload 8 --slots 4 &&
		fails 1 'local: ' show local: &&
		[ "$(compgen -G '/dev/shm/hftchan-[a.-]*')" = "$before" ]
}
tap "names" names

sizes()
{
	fails 1 '5 slots: a power of two' create "$ch" --payload 8 --slots 5 &&
		fails 2 'from 4 to' create "$ch" --payload 8 --slots 2 &&
		fails 2 'from 4 to' create "$ch" --payload 8 --slots 4294967296 &&
		fails 2 'from 1 to' create "$ch" --payload 1073741825 --slots 4 &&
		no_create 1 'or a smaller payload' --payload 1073741824 --slots 2147483648 &&
		no_create 1 'available; take fewer slots' --payload 1073741824 --slots 16384 &&
		no_create 1 'node' --node 1000 &&
		no_create 1 'split is not in this build; use' --layout split &&
		no_create 1 'raw is not in this build; use' --layout raw &&
		no_create 1 'can corrupt' --mode 0660 &&
		nothing_left
}
tap "sizes, nodes, layouts, modes that can't be" sizes

absent()
{
	local command
	for command in show check destroy 'destroy --force' pub sub; do
		# shellcheck disable=SC2086
		fails 1 "$ch: no such channel" $command "$ch" || return
	done
	nothing_left
}
tap "a channel that does not exist" absent

list()
{
	fresh --payload 8 --slots 4
	: >"$shm-junk"
	status 0 "$bin" list && has "$tmp/out" "^$ch +8 +4 +256 +0 +none" &&
		has "$tmp/out" "^$ch-junk .*too short" &&
		status 0 "$bin" list -j &&
		tells "[c['payload'] for c in channels if c['name'] == '$ch'] == [8]" &&
		tells "any(c['name'] == '$ch-junk' and c['error'] for c in channels)" &&
		fails 1 'too short' destroy "$ch-junk" &&
		status 0 "$bin" destroy "$ch-junk" --force && no_errors && done_with
}
tap "list, also what can't be opened" list

# spoiled PATTERN: everybody refuses the channel as it now is, and --force removes it
spoiled()
{
	local command
	for command in show check 'check -j' pub sub; do
		# shellcheck disable=SC2086
		fails 1 "$ch: .*($1)" $command "$ch" || return
	done
	status 0 "$bin" destroy "$ch" --force && nothing_left
}

headers()
{
	fresh --payload 56 --slots 1024 && truncate -s $((ring_offset + 100)) "$shm" &&
		spoiled 'too short' &&
		fresh --payload 56 --slots 1024 && truncate -s 100 "$shm" && spoiled 'too short' &&
		fresh --payload 56 --slots 1024 && : >"$shm" && spoiled 'too short' &&
		fresh --payload 56 --slots 1024 && poke 0 X && spoiled 'magic' &&
		fresh --payload 56 --slots 1024 && poke 8 '\x09\0\0\0\x09\0\0\0' &&
		spoiled 'version 9' &&
		fresh --payload 56 --slots 1024 && poke 20 '\x01' && spoiled 'layout 1' &&
		fresh --payload 56 --slots 1024 && poke 24 '\x80' && spoiled 'flags' &&
		fresh --payload 56 --slots 1024 && poke 40 '\0\x08' && spoiled 'corrupted' &&
		fresh --payload 56 --slots 1024 && poke 48 '\0\x01' && spoiled 'corrupted' &&
		fresh --payload 56 --slots 1024 && poke 64 '\x01' && spoiled 'corrupted' &&
		fresh --payload 56 --slots 1024 && rm "$shm" && mkfifo "$shm" &&
		spoiled 'not a regular file' &&
		fresh --payload 56 --slots 1024 && rm "$shm" && ln -s /etc/passwd "$shm" &&
		spoiled 'symbolic link' &&
		fresh --payload 56 --slots 1024 && chmod 0666 "$shm" && spoiled 'others can write'
}
tap "ring files too short, of another version, layout, size or kind" headers

corrupted_slot()
{
	fresh --payload 56 --slots 64 &&
		seq 100 | sed 's/.*/&     /; s/^\(.....\).*/\1/' >"$tmp/lines"
	fresh --payload 5 --slots 64 && status 0 "$bin" pub "$ch" <"$tmp/lines" &&
		status 0 "$bin" check "$ch" || return
	# slot 7 holds seq 71 of 100; nobody ever wrote 7777 there
	poke $((ring_offset + 7 * 64)) '\x61\x1e\0\0\0\0\0\0'
	fails 1 'corrupted at slot 7' check "$ch" && fails 1 'slot 7' check "$ch" -j &&
		tells "not legal and bad_slot == 7 and bad_state == '0x0000000000001e61'" &&
		fails 1 'corrupted near seq 71' sub "$ch" --join oldest || return
	# and where the next sender would go on
	poke $((ring_offset + (101 % 64) * 64)) '\xff\xff\0\0\0\0\0\0'
	status 1 "$bin" pub "$ch" <"$tmp/lines" && one_error 'corrupted at slot' && done_with
}
tap "a corrupted slot" corrupted_slot

type_tag()
{
	fresh --payload 8 --slots 4 --type-tag beef &&
		fails 1 '0xbeef, expected 0xcafe' sub "$ch" --type-tag cafe &&
		fails 1 '0xbeef, expected 0xcafe' pub "$ch" --type-tag 0xcafe &&
		status 0 "$bin" pub "$ch" --type-tag 0xbeef </dev/null && done_with
}
tap "a channel of another type" type_tag

as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups "$bin")

# nobody_fails PATTERN ARGUMENT...
nobody_fails()
{
	local pattern=$1
	shift
	status 1 "${as_nobody[@]}" "$@" </dev/null && one_error "$pattern"
}

owners()
{
	# somebody else's is refused by default, also by root, and taken when asked for
	status 0 "${as_nobody[@]}" create "$ch" --payload 8 --slots 8 --varlen --mode 0644 || return
	local command
	for command in show check pub sub; do
		fails 1 'belongs to uid 65534, expected uid 0' "$command" "$ch" || return
	done
	status 0 "$bin" list && has "$tmp/out" "^$ch .*belongs to uid 65534" &&
		status 0 "$bin" show "$ch" --owner 65534 &&
		status 0 "$bin" check "$ch" --owner nobody &&
		status 0 "$bin" pub "$ch" --owner nobody <<<hello &&
		status 0 "$bin" sub "$ch" --owner nobody --join oldest &&
		has "$tmp/out" '^hello$' && done_with || return
	# root's may be read where its mode says so, and no more
	fresh --payload 8 --slots 8 --varlen --mode 0644 && status 0 "$bin" pub "$ch" <<<hello ||
		return
	status 0 "${as_nobody[@]}" sub "$ch" --join oldest && has "$tmp/out" '^hello$' &&
		nobody_fails 'uid 65534 may not|[Pp]ermission|not permitted' pub "$ch" &&
		nobody_fails 'uid 65534 may not|[Pp]ermission|not permitted' destroy "$ch" &&
		nobody_fails '[Pp]ermission|not permitted' destroy "$ch" --force &&
		fresh --payload 8 --slots 8 && nobody_fails 'uid 65534 may not read' show "$ch" &&
		nobody_fails 'uid 65534 may not read' sub "$ch" && done_with || return
	# a name that somebody else took first
	status 0 "${as_nobody[@]}" create "$ch" --payload 8 --slots 8 &&
		fails 1 'exists' create "$ch" --payload 8 --slots 8 && done_with || return
	# or its lock file
	: >"$shm.lock" && chown nobody "$shm.lock" && chmod 600 "$shm.lock" &&
		no_create 1 "lock of uid 65534 stands in the way; .*hftchan destroy --force" &&
		status 0 "$bin" destroy "$ch" --force && nothing_left || return
	# given away
	status 0 "$bin" create "$ch" --payload 8 --slots 8 --owner nobody --group nogroup &&
		[ "$(stat -c %U:%G "$shm" "$shm.lock" | uniq)" = nobody:nogroup ] &&
		status 0 "${as_nobody[@]}" show "$ch" && status 0 "${as_nobody[@]}" destroy "$ch" &&
		nothing_left &&
		status 1 "${as_nobody[@]}" create "$ch" --payload 8 --slots 8 --owner root &&
		one_error 'uid 0' && nothing_left
}

# within a mount namespace of its own, whose /dev/shm has 1 MiB
small_shm()
{
	mount -t tmpfs -o size=1m none /dev/shm &&
		fails 1 'free; make it larger' create "$ch" --payload 56 --slots 32768 &&
		[ -z "$(ls -A /dev/shm)" ] &&
		status 0 "$bin" create "$ch" --payload 56 --slots 8192 &&
		status 0 "$bin" destroy "$ch" &&
		head -c 1M /dev/zero >/dev/shm/full 2>/dev/null
	[ "$(stat -c %b /dev/shm/full)" = 2048 ] &&
		fails 1 '/dev/shm' create "$ch" --payload 56 --slots 4 &&
		[ "$(ls -A /dev/shm)" = full ]
}

# Whoever has a clock or a /proc of its own must not take a living sender for a dead one.
other_namespaces()
{
	local publisher
	fresh --payload 64 --slots 16 --varlen
	mkfifo "$tmp/fifo"
	exec 7<>"$tmp/fifo"
	start publisher pub "$ch" <"$tmp/fifo" && wait_for "$tmp/publisher.err" 'sending to' &&
		status 0 unshare --time --boottime 100000 "$bin" show "$ch" -j &&
		tells "sender == 'attached' and sender_pid == $publisher" &&
		kill -KILL "$publisher" && ends 137 "$publisher" &&
		status 0 "$bin" show "$ch" -j && tells "sender == 'died'" || return
	# its pid is that of another process in the /proc it has
	# shellcheck disable=SC2016  # expanded by the script that is made
	printf '#!/bin/sh\nexec unshare --pid --fork --kill-child "%s" "$@"\n' "$bin" \
		>"$tmp/in-pidns" && chmod +x "$tmp/in-pidns" &&
		bin=$tmp/in-pidns start publisher pub "$ch" <"$tmp/fifo" &&
		wait_for "$tmp/publisher.err" 'sending to' &&
		status 0 "$bin" show "$ch" -j &&
		tells "sender == 'attached' and sender_pid is None" &&
		status 0 unshare --pid --fork "$bin" show "$ch" -j &&
		tells "sender == 'attached' and sender_pid is None" || return
	exec 7>&-
	ends 0 "$publisher" && rm "$tmp/fifo" && done_with
}

# more than its memory cgroup may have: an error, not the OOM killer
cgroup()
{
	local group=$1/hftchan-$name limit=$2 result=0
	mkdir "$group" && echo 67108864 >"$group/$limit" || return
	# shellcheck disable=SC2016  # the inner shell's arguments
	status 1 bash -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' - "$group" \
		"$bin" create "$ch" --payload 56 --slots 2097152 &&
		one_error 'needs 128 MiB, this memory cgroup has [0-9]+ MiB available' &&
		nothing_left || result=1
	# shellcheck disable=SC2016
	status 0 bash -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' - "$group" \
		"$bin" create "$ch" --payload 56 --slots 262144 && done_with || result=1
	rmdir "$group"
	return "$result"
}

# memory_cgroup: where one can be made, and what its limit is called
memory_cgroup()
{
	local type dir
	while read -r _ dir type _; do
		case $type in
		cgroup2)
			! grep -qw memory "$dir/cgroup.subtree_control" || echo "$dir memory.max"
			;;
		cgroup)
			[ ! -e "$dir/memory.limit_in_bytes" ] || echo "$dir memory.limit_in_bytes"
			;;
		esac
	done </proc/self/mounts
}

full()
{
	export -f small_shm fails status one_error
	export bin ch tmp
	unshare -m bash -c small_shm
}

if [ "$(id -u)" = 0 ]; then
	tap "somebody else's channels" owners
	if unshare -m true 2>/dev/null; then
		tap "/dev/shm is full" full
	else
		tap_skip "/dev/shm is full" "no mount namespace can be made here"
	fi
	if unshare --pid --fork --time true 2>/dev/null; then
		tap "a sender in other namespaces" other_namespaces
	else
		tap_skip "a sender in other namespaces" "none can be made here"
	fi
	read -r dir limit < <(memory_cgroup) || true
	if [ -n "${limit:-}" ] && [ -w "$dir" ]; then
		tap "more than the memory cgroup has" cgroup "$dir" "$limit"
	else
		tap_skip "more than the memory cgroup has" "no such cgroup can be made here"
	fi
else
	tap_skip "a sender in other namespaces" "not root"
	tap_skip "more than the memory cgroup has" "not root"
	tap_skip "somebody else's channels" "not root"
	tap_skip "/dev/shm is full" "not root"
fi

# ---- messages

lines()
{
	printf 'first\n\nthird line, \xc3\xa4\n\ttab\nno newline' >"$tmp/text"
	fresh --payload 64 --slots 16 --varlen && status 0 "$bin" pub "$ch" <"$tmp/text" &&
		no_errors &&
		has "$tmp/err" "^sending to $ch from seq 1, epoch 1$" &&
		has "$tmp/err" "^sent 5 messages, 33 bytes in .* to $ch$" &&
		status 0 "$bin" sub "$ch" --join oldest && no_errors &&
		diff <(cat "$tmp/text"; echo) "$tmp/out" &&
		has "$tmp/err" "^joined $ch at seq 1$" &&
		has "$tmp/err" '^received 5 messages, 33 bytes .*; lost 0$' &&
		status 0 "$bin" sub "$ch" --join last && diff <(echo 'no newline') "$tmp/out" &&
		status 0 "$bin" sub "$ch" --join 4 --count 1 &&
		diff <(printf '\ttab\n') "$tmp/out" &&
		status 0 "$bin" sub "$ch" --join oldest --raw &&
		diff <(tr -d '\n' <"$tmp/text") "$tmp/out" &&
		status 0 "$bin" sub "$ch" --join oldest --count 2 --hex &&
		diff <(echo '1 6669727374'; echo '2 ') "$tmp/out" &&
		status 0 "$bin" sub "$ch" --join oldest --quiet && [ ! -s "$tmp/out" ] &&
		status 0 "$bin" sub "$ch" --join oldest -j &&
		tells 'first_seq == 1 and last_seq == received == 5 and bytes == 33' &&
		printf 'a\0b\x1b[7m\n' | status 0 "$bin" pub "$ch" -j &&
		tells 'epoch == 2 and first_seq == 6 and next_seq == 7 and messages == 1' &&
		status 0 "$bin" sub "$ch" --join last &&
		diff <(printf '%s\n' 'a\x00b\x1b[7m') "$tmp/out" &&
		printf '\xc2\x9b2J \x9b \xe2\x82\xac \xe2\x82\n' | status 0 "$bin" pub "$ch" &&
		status 0 "$bin" sub "$ch" --join last &&
		diff <(printf '\\xc2\\x9b2J \\x9b \xe2\x82\xac \\xe2\\x82\n') "$tmp/out" &&
		fails 2 'not a whole number' sub "$ch" --join 5x &&
		done_with
}
tap "lines: print, hex, raw, quiet, JSON; every way to join" lines

# A line is sent when it is there, not when a batch is full; and received when it is sent.
promptly()
{
	local publisher subscriber
	fresh --payload 64 --slots 16 --varlen
	mkfifo "$tmp/fifo"
	exec 7<>"$tmp/fifo"
	start publisher pub "$ch" <"$tmp/fifo" && wait_for "$tmp/publisher.err" 'sending to' &&
		start subscriber sub "$ch" && wait_for "$tmp/subscriber.err" '^joined' &&
		printf 'one\ntwo' >&7 && wait_for "$tmp/subscriber.out" '^one$' &&
		! grep two "$tmp/subscriber.out" &&
		echo >&7 && wait_for "$tmp/subscriber.out" '^two$' &&
		status 0 "$bin" show "$ch" -j &&
		tells "sender == 'attached' and sender_pid == $publisher" &&
		tells 'heartbeat_age_ns >= 0' || return
	exec 7>&-
	ends 0 "$publisher" && ends 0 "$subscriber" &&
		has "$tmp/subscriber.err" 'epoch 1 has gone' &&
		rm "$tmp/fifo" && done_with
}
tap "a message is not kept waiting" promptly

misfits()
{
	fresh --payload 4 --slots 16 &&
		printf 'good\nfine\nlong line\nnext\n' | status 1 "$bin" pub "$ch" &&
		one_error 'input: line 3: 9 bytes, shm:.* exactly 4; create it with --varlen' &&
		status 0 "$bin" sub "$ch" --join oldest &&
		diff <(printf 'good\nfine\n') "$tmp/out" &&
		fresh --payload 100 --slots 16 --varlen &&
		fails 1 'nano.pcap: packet 8: 255 bytes, .* at most 100; create it with a larger' \
			pub "$ch" --pcap "$tmp/good/nano.pcap" &&
		fails 1 'framed: record 8: 255 bytes' pub "$ch" --framed "$messages" &&
		status 0 "$bin" show "$ch" -j && tells 'newest == 14' && done_with
}
tap "messages larger than the payload, or not of its size" misfits

framed()
{
	fresh --payload 1500 --slots 64 --varlen &&
		status 0 "$bin" pub "$ch" --framed "$messages" &&
		status 0 "$bin" sub "$ch" --join oldest --verify "$messages" && no_errors &&
		has "$tmp/err" "altered 0, missing 0 of 20 in $messages$" &&
		status 0 "$bin" pub "$ch" --framed - <"$messages" &&
		status 0 "$bin" sub "$ch" --join 21 --verify "$messages" -j &&
		tells 'received == 20 and first_seq == 21 and last_seq == 40' &&
		tells 'altered == missing == lost == 0' &&
		status 0 "$bin" pub "$ch" --framed - --count 7 < <(cat "$messages") &&
		status 0 "$bin" show "$ch" -j && tells 'newest == 47' &&
		head -c -1 "$messages" | status 1 "$bin" pub "$ch" --framed - &&
		one_error 'standard input: record 20: the file ends within it, at 34 of 35 bytes' &&
		printf '\0' | status 1 "$bin" pub "$ch" --framed - &&
		one_error 'record 1: the file ends within it, at 1 of 2' &&
		status 0 "$bin" show "$ch" -j && tells 'newest == 66' && done_with
}
tap "framed files, whole and truncated, from a file and from standard input" framed

unreadable()
{
	fresh --payload 1500 --slots 64 --varlen &&
		fails 1 "$tmp/none: can't be opened: No such file" pub "$ch" --framed "$tmp/none" &&
		fails 1 "$tmp/none: can't be opened: No such file" pub "$ch" --pcap "$tmp/none" &&
		fails 1 "$tmp/none: can't be opened: No such file" sub "$ch" --verify "$tmp/none" &&
		fails 1 'a directory' pub "$ch" --framed "$tmp" &&
		fails 1 'not a file' sub "$ch" --verify "$tmp" &&
		fails 1 'standard input: not a file' sub "$ch" --verify - &&
		mkfifo "$tmp/verify-fifo" &&
		fails 1 'verify-fifo: not a file' sub "$ch" --verify "$tmp/verify-fifo" &&
		rm "$tmp/verify-fifo" && fails 1 '"": can.t be opened' pub "$ch" --pcap '' &&
		fails 1 'no capture' pub "$ch" --pcap "$messages" &&
		fails 1 'no capture: .*truncated' pub "$ch" --pcap "$tmp/stump.pcap" &&
		fails 1 'link type .*105' pub "$ch" --pcap "$tmp/wlan.pcap" &&
		fails 1 'holds no message' sub "$ch" --verify "$tmp/no-message.pcap" &&
		: >"$tmp/nothing" && fails 1 'holds no message' sub "$ch" --verify "$tmp/nothing" &&
		fails 1 'not a file' sub "$ch" --verify /dev/null &&
		status 1 "$bin" pub "$ch" <&- &&
		has "$tmp/err" "hftchan: standard input: can't be read" &&
		status 0 "$bin" show "$ch" -j && tells 'newest == 0 and epoch == 0' && done_with
}
tap "sources that can't be read" unreadable

# verified FILE ARGUMENT...: what `pub ARGUMENT...` sends is what FILE holds, from seq 1 on
verified()
{
	local file=$1
	shift
	fresh --payload 1500 --slots 64 --varlen && status 0 "$bin" pub "$ch" "$@" && no_errors &&
		cp "$tmp/err" "$tmp/pub.err" &&
		status 0 "$bin" sub "$ch" --join oldest --verify "$file" &&
		has "$tmp/err" '^received 20 .*; lost 0; altered 0, missing 0 of 20'
}

captures()
{
	local file
	for file in "$tmp"/good/*; do
		verified "$messages" --pcap "$file" && verified "$file" --framed "$messages" ||
			return
	done
	verified "$messages" --pcap - <"$tmp/good/one.pcapng" &&
		verified "$messages" --pcap - < <(cat "$tmp/good/vlan.pcap") && done_with
}
tap "captures: pcap and pcapng, all kinds of links and headers" captures

skipped()
{
	verified "$messages" --pcap "$tmp/mixed.pcap" &&
		has "$tmp/pub.err" 'skipped: 3 not UDP, 2 fragments, 1 empty, 3 malformed$' &&
		status 0 "$bin" pub "$ch" --pcap "$tmp/mixed.pcap" -j &&
		tells "skipped == {'not_udp': 3, 'fragments': 2, 'empty': 1, 'malformed': 3}" &&
		done_with
}
tap "packets that hold no message" skipped

# cut_short FILE MESSAGES PATTERN: what is whole is sent, then said what is wrong
cut_short()
{
	fresh --payload 1500 --slots 64 --varlen &&
		fails 1 "$3" pub "$ch" --pcap "$tmp/$1" && has "$tmp/err" "^sent $2 messages" &&
		status 1 "$bin" sub "$ch" --join oldest --verify "$messages" &&
		has "$tmp/err" "altered 0, missing $((20 - $2)) of 20" &&
		fails 1 "$3" sub "$ch" --join oldest --verify "$tmp/$1" && done_with
}

truncated()
{
	cut_short truncated.pcap 19 'truncated.pcap: packet 20: truncated' &&
		cut_short truncated-header.pcap 19 'truncated-header.pcap: packet 20: truncated' &&
		cut_short truncated.pcapng 19 'truncated.pcapng: packet 20: truncated' &&
		cut_short cut.pcap 3 'cut.pcap: packet 4: cut by the capture to 100 of' &&
		cut_short cut-header.pcap 3 'cut-header.pcap: packet 4: cut by the capture to 20 of'
}
tap "truncated captures, and packets cut by the snaplen" truncated

# Never faster than asked for; how much slower is the machine's business.
paced()
{
	fresh --payload 1500 --slots 64 --varlen &&
		status 0 "$bin" pub "$ch" --pcap "$tmp/good/nano.pcap" --pace real -j &&
		tells 'seconds >= 0.19' &&
		status 0 "$bin" pub "$ch" --pcap "$tmp/good/resolutions.pcapng" --pace real -j &&
		tells 'seconds >= 0.189 and messages == 20' &&
		status 0 "$bin" pub "$ch" --framed "$messages" --pace 100 -j &&
		tells 'seconds >= 0.19' &&
		printf '1\n2\n3\n' | status 0 "$bin" pub "$ch" --pace 10 -j &&
		tells 'seconds >= 0.2' && done_with
}
tap "pace" paced

# ---- verification

altered()
{
	fresh --payload 1500 --slots 64 --varlen &&
		status 0 "$bin" pub "$ch" --framed "$messages" || return
	# one byte of message 6, which has 64: 2 for each length, 1, 2, 17, 18, 19 and then its 11th
	cp "$messages" "$tmp/altered"
	printf '\xff' | dd of="$tmp/altered" bs=1 seek=$((6 * 2 + 57 + 10)) conv=notrunc status=none
	status 1 "$bin" sub "$ch" --join oldest --verify "$tmp/altered" &&
		has "$tmp/err" '^hftchan: .*seq 6 is not message 6 of .*: 64 .* from byte 10 on$' &&
		has "$tmp/err" '; lost 0; altered 1, missing 0 of 20' || return
	# a message more in the file: all behind it are others
	{ printf '\0\x01x'; cat "$messages"; } >"$tmp/altered"
	status 1 "$bin" sub "$ch" --join oldest --verify "$tmp/altered" &&
		has "$tmp/err" 'altered 20, missing 1 of 21' || return
	# a byte of the ring itself, in the payload of seq 13 (behind state and length)
	status 0 "$bin" sub "$ch" --join oldest --verify "$messages" &&
		poke $((ring_offset + 13 * 1536 + 16 + 100)) '\xff' &&
		status 1 "$bin" sub "$ch" --join oldest --verify "$messages" &&
		has "$tmp/err" 'seq 13 is not message 13 .* differ from byte 100 on' && done_with
}
tap "verify finds altered messages" altered

# the number of the first message is the channel's, not 1; a file may be sent again and again
first_seq()
{
	fresh --payload 1500 --slots 64 --varlen --first-seq 1003 &&
		status 0 "$bin" pub "$ch" --framed "$messages" &&
		status 0 "$bin" pub "$ch" --framed "$messages" &&
		status 0 "$bin" sub "$ch" --join 1003 --verify "$messages" -j &&
		tells 'first_seq == 1003 and last_seq == 1022 and received == 20' &&
		status 0 "$bin" sub "$ch" --join 1030 --verify "$messages" -j &&
		tells 'last_seq == 1042 and received == 13' && done_with
}
tap "verify counts from the channel's first seq" first_seq

missing()
{
	fresh --payload 1500 --slots 64 --varlen &&
		status 0 "$bin" pub "$ch" --framed "$messages" --count 13 &&
		status 1 "$bin" sub "$ch" --join oldest --verify "$messages" &&
		one_error '0 altered, 7 missing, 0 lost' &&
		status 0 "$bin" sub "$ch" --join oldest --verify "$messages" --count 13 &&
		status 1 "$bin" sub "$ch" --join oldest --verify "$messages" --allow-lost &&
		done_with
}
tap "verify finds missing messages" missing

# 20 messages through 8 slots: who joins at 1 has lost some, exactly as many as it did not get
lost()
{
	local publisher
	fresh --payload 1500 --slots 8 --varlen && status 0 "$bin" pub "$ch" --framed "$messages" &&
		status 1 "$bin" sub "$ch" --join 1 --verify "$messages" -j &&
		has "$tmp/err" '^hftchan: .*lost [0-9]+ messages so far' &&
		tells 'lost >= 12 and received >= 1 and altered == missing == 0' &&
		tells 'received + lost == 20 and first_seq == 1 and last_seq == 20' &&
		status 0 "$bin" sub "$ch" --join 1 --verify "$messages" --allow-lost &&
		status 0 "$bin" sub "$ch" --join 1 --quiet &&
		has "$tmp/err" '^received .*, seq 1 to 20; lost [0-9]+$' || return
	# past the end of the file: what was lost there is not the file's
	status 0 "$bin" pub "$ch" --framed "$messages" &&
		status 0 "$bin" sub "$ch" --join 1 --verify "$messages" --allow-lost -j &&
		tells 'lost == last_seq == 20 and received == missing == 0' || return
	# also while the sender, which has nothing more to say, is there
	mkfifo "$tmp/fifo"
	exec 7<>"$tmp/fifo"
	start publisher pub "$ch" <"$tmp/fifo" && wait_for "$tmp/publisher.err" 'sending to' &&
		status 0 "$bin" sub "$ch" --join 1 --verify "$messages" --allow-lost -j &&
		tells 'lost == last_seq == 20 and received == missing == 0' || return
	exec 7>&-
	ends 0 "$publisher" && rm "$tmp/fifo" && done_with
}
tap "verify counts losses exactly" lost

# ---- live

# datagrams ADDRESS PORT [FILE]: send the messages of a framed file; nothing received may be lost
datagrams()
{
	python3 - "$@" <<-'END'
		import socket, struct, sys
		address, port, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
		family = socket.AF_INET6 if ":" in address else socket.AF_INET
		s = socket.socket(family, socket.SOCK_DGRAM)
		if address.startswith("239."):
		    lo = socket.inet_aton("127.0.0.1")
		    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, lo)
		data = open(file, "rb").read()
		at = 0
		while at < len(data):
		    n, = struct.unpack_from(">H", data, at)
		    s.sendto(data[at + 2:at + 2 + n], (address, port))
		    at += 2 + n
	END
}

free_port()
{
	python3 -c '
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", 0))
print(s.getsockname()[1])'
}

# live LISTEN SEND_TO OPTION...: messages sent to a port arrive at three receivers
live()
{
	local listen=$1 to=$2 port publisher one two three
	shift 2
	port=$(free_port)
	fresh --payload 1500 --slots 64 --varlen &&
		start publisher pub "$ch" --udp "$listen:$port" --count 20 -j "$@" &&
		wait_for "$tmp/publisher.err" '^sending to' &&
		start one sub "$ch" --verify "$messages" &&
		start two sub "$ch" --verify "$messages" --wait spin &&
		start three sub "$ch" --hex --count 20 && wait_for "$tmp/one.err" '^joined' &&
		wait_for "$tmp/two.err" '^joined' && wait_for "$tmp/three.err" '^joined' &&
		datagrams "$to" "$port" "$messages" && ends 0 "$publisher" && ends 0 "$one" &&
		ends 0 "$two" && ends 0 "$three" &&
		json "$tmp/publisher.out" 'messages == 20 and refused == empty == dropped == 0' &&
		[ "$(wc -l <"$tmp/three.out")" = 20 ] && no_errors "$tmp/one.err" &&
		no_errors "$tmp/publisher.err" && done_with
}
tap "live UDP, unicast" live 127.0.0.1 127.0.0.1
tap "live UDP, on one interface" live 127.0.0.1 127.0.0.1 --iface lo
tap "live UDP, multicast" live 239.77.1.1 239.77.1.1 --iface lo
if [ -e /proc/net/if_inet6 ] && grep -q ' lo$' /proc/net/if_inet6; then
	tap "live UDP, IPv6" live '[::1]' ::1
else
	tap_skip "live UDP, IPv6" "no IPv6 here"
fi

# sent SEQ: until the message with this number is in the channel
sent()
{
	local i
	for ((i = 0; i < 600; i++)); do
		"$bin" show "$ch" -j >"$tmp/out" && tells "newest >= $1" >/dev/null 2>&1 && return
		sleep 0.05
	done
	echo "no message $1 after 30 s"
	return 1
}

# Datagrams come in order: the last one fits, and when it was sent all have been looked at.
udp_refused()
{
	local port publisher
	port=$(free_port)
	fresh --payload 100 --slots 64 --varlen &&
		start publisher pub "$ch" --udp "127.0.0.1:$port" -j &&
		wait_for "$tmp/publisher.err" '^sending to' &&
		{ cat "$messages"; printf '\0\0\0\1x'; } >"$tmp/with-empty" &&
		datagrams 127.0.0.1 "$port" "$tmp/with-empty" && sent 12 &&
		kill -TERM "$publisher" && ends 1 "$publisher" &&
		has "$tmp/publisher.err" '^hftchan: .*: 9 datagrams did not fit shm:' &&
		json "$tmp/publisher.out" 'messages == 12 and refused == 9 and empty == 1' || return
	fresh --payload 64 --slots 64 &&
		start publisher pub "$ch" --udp "127.0.0.1:$port" -j &&
		wait_for "$tmp/publisher.err" '^sending to' &&
		{ cat "$messages"; printf '\0\100%064d' 0; } >"$tmp/with-last" &&
		datagrams 127.0.0.1 "$port" "$tmp/with-last" && sent 2 &&
		kill -TERM "$publisher" && ends 1 "$publisher" &&
		json "$tmp/publisher.out" 'messages == 2 and refused == 19' && done_with
}
tap "datagrams that do not fit" udp_refused

# all_read PORT: until the kernel holds no datagram for it
all_read()
{
	local i local_port
	printf -v local_port ':%04X' "$1"
	for ((i = 0; i < 600; i++)); do
		! awk -v port="$local_port" '$2 ~ port "$" && $5 !~ /:0+$/ { exit 1 }' \
			/proc/net/udp || return 0
		sleep 0.05
	done
	echo "datagrams were not read within 30 s"
	return 1
}

# Stopped while more comes than any buffer takes: each datagram was sent on or counted as dropped.
udp_dropped()
{
	local port publisher
	port=$(free_port)
	python3 -c 'import struct, sys
for i in range(60000): sys.stdout.buffer.write(struct.pack(">HI1400x", 1404, i))' >"$tmp/flood"
	fresh --payload 1404 --slots 64 && start publisher pub "$ch" --udp "127.0.0.1:$port" -j &&
		wait_for "$tmp/publisher.err" '^sending to' && kill -STOP "$publisher" &&
		datagrams 127.0.0.1 "$port" "$tmp/flood" && kill -CONT "$publisher" &&
		all_read "$port" && kill -TERM "$publisher" && ends 0 "$publisher" &&
		rm "$tmp/flood" &&
		json "$tmp/publisher.out" 'dropped > 0 and messages + dropped == 60000' && done_with
}
tap "datagrams that the kernel dropped" udp_dropped

udp_wrong()
{
	local where
	fresh --payload 1500 --slots 64 --varlen || return
	for where in '' 5000 :5000 127.0.0.1 127.0.0.1: 127.0.0.1:0 127.0.0.1:65536 127.0.0.1:5x \
		localhost:5000 \
		::1:5000 '[::1]' '[::1]5000' '[127.0.0.1]:5000' '[]:5000' 1.2.3.4.5:5000; do
		fails 2 -- '--udp: ' pub "$ch" --udp "$where" || return
	done
	fails 1 '192.0.2.1:5000: can.t bind' pub "$ch" --udp 192.0.2.1:5000 &&
		fails 1 'no such network interface' pub "$ch" --udp 127.0.0.1:5 --iface no-such &&
		status 0 "$bin" pub "$ch" --udp "127.0.0.1:$(free_port)" --idle 0.1 && no_errors &&
		has "$tmp/err" 'refused 0, empty 0, dropped by the kernel 0$' && done_with
}
tap "UDP addresses that are none" udp_wrong

# ---- ends

# leaving_status OPTION...: receive, exit status to $tmp/status
leaving_status()
{
	timeout 60 "$bin" sub "$ch" --join oldest "$@" 2>"$tmp/err"
	echo $? >"$tmp/status"
}

# A receiver whose reader leaves ends as cat does, and leaves nothing behind.
sigpipe()
{
	local publisher got
	fresh --payload 64 --slots 65536 --varlen && seq 60000 | status 0 "$bin" pub "$ch" || return
	# more than a pipe holds, so that it is written to after its reader left
	got=$(leaving_status | head -n 1)
	[ "$got" = 1 ] && [ "$(<"$tmp/status")" = 141 ] && no_errors &&
		has "$tmp/err" '^received ' || return
	got=$( (trap '' PIPE; leaving_status) | head -n 1)
	[ "$(<"$tmp/status")" = 1 ] && one_error 'standard output: Broken pipe' || return
	# nothing more to write, and nobody to read it
	start publisher pub "$ch" --udp "127.0.0.1:$(free_port)" &&
		wait_for "$tmp/publisher.err" '^sending to' &&
		{ leaving_status --join next | true; } &&
		[ "$(<"$tmp/status")" = 141 ] && kill -TERM "$publisher" && ends 0 "$publisher" &&
		status 0 "$bin" check "$ch" && done_with
}
tap "a reader that goes away" sigpipe

# to_full STATUS ARGUMENT...: standard output is a full device
to_full()
{
	local got=0
	"$bin" "$@" >/dev/full 2>"$tmp/err" </dev/null || got=$?
	[ "$got" = 1 ] && one_error 'standard output: No space left'
}

stdout_full()
{
	local got=0
	fresh --payload 64 --slots 64 --varlen && status 0 "$bin" pub "$ch" <<<hello &&
		to_full sub "$ch" --join oldest && to_full sub "$ch" --join oldest -j &&
		to_full sub "$ch" --join oldest --raw &&
		to_full list && to_full list -j && to_full show "$ch" && to_full check "$ch" -j &&
		to_full pub "$ch" -j &&
		to_full --help || return
	"$bin" show "$ch" >&- 2>"$tmp/err" || got=$?
	[ "$got" = 1 ] && one_error 'standard output: Bad file descriptor' &&
		status 0 "$bin" check "$ch" && done_with
}
tap "standard output is full, or closed" stdout_full

signals()
{
	local publisher subscriber signal
	for signal in INT TERM HUP; do
		fresh --payload 64 --slots 64 --varlen &&
			start publisher pub "$ch" --udp "127.0.0.1:$(free_port)" &&
			wait_for "$tmp/publisher.err" '^sending to' &&
			start subscriber sub "$ch" && wait_for "$tmp/subscriber.err" '^joined' &&
			kill "-$signal" "$subscriber" && ends 0 "$subscriber" &&
			has "$tmp/subscriber.err" '^received 0 messages' &&
			kill "-$signal" "$publisher" && ends 0 "$publisher" &&
			has "$tmp/publisher.err" '^sent 0 messages' &&
			status 0 "$bin" show "$ch" -j &&
			tells "sender == 'none' and nr_deaths == 0" && done_with || return
	done
	# verification that was cut off is no success
	fresh --payload 64 --slots 64 --varlen && start subscriber sub "$ch" --verify "$messages" &&
		wait_for "$tmp/subscriber.err" '^joined' && kill -TERM "$subscriber" &&
		ends 1 "$subscriber" &&
		has "$tmp/subscriber.err" '^hftchan: .*20 missing' && done_with
}
tap "signals" signals

# What is counted as received is printed, also when the signal finds it waiting for its reader. A
# second signal gives up.
slow_reader()
{
	local slow lines
	fresh --payload 64 --slots 16384 --varlen &&
		seq -f '%060g' 9000 | status 0 "$bin" pub "$ch" && mkfifo "$tmp/slow.out" || return
	start slow sub "$ch" --join oldest && exec 8<"$tmp/slow.out" &&
		wait_for "$tmp/slow.err" '^joined' && sleep 0.2 && kill -INT "$slow" &&
		lines=$(wc -l <&8) && ends 0 "$slow" && no_errors "$tmp/slow.err" &&
		has "$tmp/slow.err" "^received $lines messages" || return
	exec 8<&-
	start slow sub "$ch" --join oldest && exec 8<"$tmp/slow.out" &&
		wait_for "$tmp/slow.err" '^joined' && sleep 0.2 && kill -INT "$slow" && sleep 0.2 &&
		kill -INT "$slow" && ends 1 "$slow" &&
		has "$tmp/slow.err" '^hftchan: standard output: Interrupted' || return
	exec 8<&-
	rm "$tmp/slow.out" && done_with
}
tap "a signal while the reader is slow" slow_reader

# A sender that was killed is not said to have gone in order, though the next one is there by now.
killed_and_followed()
{
	local publisher subscriber next
	fresh --payload 64 --slots 64 --varlen
	mkfifo "$tmp/fifo"
	exec 7<>"$tmp/fifo"
	start publisher pub "$ch" <"$tmp/fifo" && wait_for "$tmp/publisher.err" 'sending to' &&
		start subscriber sub "$ch" --follow && wait_for "$tmp/subscriber.err" '^joined' &&
		kill -STOP "$subscriber" && kill -KILL "$publisher" && ends 137 "$publisher" &&
		start next pub "$ch" <"$tmp/fifo" && wait_for "$tmp/next.err" 'sending to' &&
		kill -CONT "$subscriber" && kill -KILL "$next" && ends 137 "$next" &&
		wait_for "$tmp/subscriber.err" 'epoch 2 died' &&
		echo end | status 0 "$bin" pub "$ch" &&
		wait_for "$tmp/subscriber.out" '^end$' &&
		wait_for "$tmp/subscriber.err" 'epoch 3 has gone' && kill -TERM "$subscriber" &&
		ends 0 "$subscriber" || return
	exec 7>&-
	rm "$tmp/fifo" && done_with
}
tap "senders killed under a receiver that follows" killed_and_followed

roles()
{
	local publisher subscriber
	fresh --payload 64 --slots 64 --varlen &&
		start publisher pub "$ch" --udp "127.0.0.1:$(free_port)" &&
		wait_for "$tmp/publisher.err" '^sending to' &&
		start subscriber sub "$ch" && wait_for "$tmp/subscriber.err" '^joined' &&
		fails 1 "pid $publisher; stop it first" pub "$ch" &&
		status 0 "$bin" list && has "$tmp/out" "^$ch .* attached +$publisher" &&
		fails 1 "pid $publisher; stop it first" destroy "$ch" &&
		status 0 "$bin" destroy "$ch" --force && nothing_left &&
		ends 1 "$publisher" &&
		has "$tmp/publisher.err" '^hftchan: .*destroyed under its sender' &&
		ends 1 "$subscriber" &&
		has "$tmp/subscriber.err" '^hftchan: .*destroyed; all that was sent has been read'
}
tap "one sender at a time; destroy under it" roles

death()
{
	local publisher subscriber
	fresh --payload 64 --slots 64 --varlen &&
		start publisher pub "$ch" --udp "127.0.0.1:$(free_port)" &&
		wait_for "$tmp/publisher.err" '^sending to' &&
		start subscriber sub "$ch" && wait_for "$tmp/subscriber.err" '^joined' &&
		kill -KILL "$publisher" &&
		ends 0 "$subscriber" && has "$tmp/subscriber.err" 'epoch 1 died' &&
		status 0 "$bin" list && has "$tmp/out" "^$ch .* died" &&
		status 0 "$bin" pub "$ch" <<<hello && has "$tmp/err" 'from seq 1, epoch 2' &&
		status 0 "$bin" show "$ch" -j &&
		tells "nr_deaths == 1 and epoch == 2 and sender == 'none'" &&
		ends 137 "$publisher" && done_with
}
tap "a sender that dies" death

follow()
{
	local subscriber
	fresh --payload 64 --slots 64 --varlen && start subscriber sub "$ch" --follow --count 2 &&
		wait_for "$tmp/subscriber.err" '^joined' && status 0 "$bin" pub "$ch" <<<one &&
		wait_for "$tmp/subscriber.err" 'waiting for the next' &&
		status 0 "$bin" pub "$ch" <<<two && ends 0 "$subscriber" &&
		diff <(printf 'one\ntwo\n') "$tmp/subscriber.out" && done_with
}
tap "follow from sender to sender" follow

no_news()
{
	fresh --payload 64 --slots 64 --varlen &&
		fails 1 'nothing received for 0.2 s' sub "$ch" --timeout 0.2 && done_with
}
tap "timeout" no_news

# ---- real captures

real()
{
	local publisher one two three who count slots=4
	count=$(tshark -r "$1" -Y 'udp.length > 8' 2>/dev/null | wc -l)
	while ((slots < count + 3)); do slots=$((slots * 2)); done
	fresh --payload 9000 --slots "$slots" --varlen && start one sub "$ch" --verify "$1" -j &&
		start two sub "$ch" --verify "$1" -j && start three sub "$ch" --verify "$1" -j &&
		wait_for "$tmp/one.err" '^joined' && wait_for "$tmp/two.err" '^joined' &&
		wait_for "$tmp/three.err" '^joined' &&
		start publisher pub "$ch" --pcap "$1" -j && ends 0 "$publisher" && ends 0 "$one" &&
		ends 0 "$two" &&
		ends 0 "$three" && json "$tmp/publisher.out" "messages == $count" || return
	for who in one two three; do
		no_errors "$tmp/$who.err" &&
			json "$tmp/$who.out" "received == file_messages == $count" &&
			json "$tmp/$who.out" 'lost == altered == missing == 0' || return
	done
	# and by somebody else's reading of the same file
	cmp <("$bin" sub "$ch" --join oldest --hex 2>/dev/null | cut -d ' ' -f 2) \
		<(tshark -r "$1" -Y 'udp.length > 8' -T fields -e udp.payload 2>/dev/null) &&
		done_with
}

if [ -n "${CAPTURES:-}" ]; then
	found=0
	for capture in "$CAPTURES"/*.pcap "$CAPTURES"/*.pcapng; do
		[ -f "$capture" ] || continue
		tap "${capture##*/} to three receivers, byte for byte" real "$capture"
		found=1
	done
	tap "there are captures in $CAPTURES" [ "$found" = 1 ]
fi

tap "nothing is left behind" nothing_left
tap_end
