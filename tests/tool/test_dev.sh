#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Tests of the command `hftchan` with channels of the kernel module, from create to destroy.
# Not tests of what all backends share (test_tool.sh), nor of the ioctls (tests/selftests).
# Usage: tests/tool/test_dev.sh BUILD_DIR    (prints TAP)
# HFTCHAN_BIN=FILE: test that program instead of BUILD_DIR/hftchan. It runs in a virtual machine,
# too, where there is little but bash and busybox.
set -euo pipefail

build=${1:?usage: tests/tool/test_dev.sh BUILD_DIR}
here=$(dirname "$0")
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"
# shellcheck source=tests/tool/helpers.bash
. "$here/helpers.bash"

if [ ! -c /dev/hftchan ]; then
	tap_skip "channels of the kernel module" "it is not loaded"
	tap_end
fi
if [ ! -w /dev/hftchan ]; then
	tap_skip "channels of the kernel module" "this user may not write to /dev/hftchan"
	tap_end
fi

set_up
name=devtool-$$-
ch=dev:$name
node=/dev/hftchan-$name
parameters=/sys/module/hftchan/parameters
# what tests change for a moment
access=$(stat -c '%a %u %g' /dev/hftchan)
max_mib=$(cat "$parameters"/max_mib 2>/dev/null || true)
max_mib_per_uid=$(cat "$parameters"/max_mib_per_uid 2>/dev/null || true)

restore()
{
	local mode uid gid
	[ "$(id -u)" = 0 ] || return 0
	read -r mode uid gid <<<"$access"
	chown "$uid:$gid" /dev/hftchan
	chmod "$mode" /dev/hftchan
	echo "$max_mib" >"$parameters"/max_mib
	echo "$max_mib_per_uid" >"$parameters"/max_mib_per_uid
}

destroy_all()
{
	local each
	for each in "$node"*; do
		[ ! -c "$each" ] || "$bin" destroy "dev:${each#/dev/hftchan-}" --force ||
			rm -f "$each"
	done
	rm -f "/dev/shm/hftchan-$name"*
}

cleanup()
{
	kill_started
	destroy_all 2>/dev/null
	restore
	rm -rf "$tmp"
}
trap cleanup EXIT

# ---- helpers

# Every node of ours is gone.
nothing_left()
{
	local left
	left=$(compgen -G "$node*"; compgen -G "/dev/shm/hftchan-$name*") || true
	[ -n "$left" ] || return 0
	echo "left behind: $left"
	destroy_all
	return 1
}

# no_create PATTERN OPTION...: exit status 1, and nothing is left of it
no_create()
{
	local pattern=$1
	shift
	fails 1 "$pattern" create "$ch" --payload 56 --slots 1024 "$@" && nothing_left
}

# shows PATTERN...: lines of `hftchan show`
shows()
{
	local pattern
	status 0 "$bin" show "$ch" || return
	for pattern; do
		has "$tmp/out" "^$pattern\$" || return
	done
}

# a sender that says nothing until told, on descriptor 7
start_sender()
{
	rm -f "$tmp/fifo"
	mkfifo "$tmp/fifo"
	exec 7<>"$tmp/fifo"
	start publisher pub "$@" <"$tmp/fifo" && wait_for "$tmp/publisher.err" '^sending to'
}

# one line of shell follows
as_nobody=(su -s /bin/bash nobody -c)

# nobody_does STATUS ARGUMENT...
nobody_does()
{
	local wanted=$1
	shift
	status "$wanted" "${as_nobody[@]}" "$bin $*"
}

# nobody_fails PATTERN ARGUMENT...
nobody_fails()
{
	local pattern=$1
	shift
	nobody_does 1 "$@" && one_error "$pattern"
}

# ---- one channel's life

life()
{
	fresh --payload 100 --slots 64 --varlen --type-tag cafe --first-seq 1000 --mode 0640 &&
		[ "$(stat -c '%a %F' "$node")" = "640 character special file" ] &&
		shows 'name +dev:.*' 'backend +dev' 'nr_slots +64' 'page_size +2097152' \
			'sender +none' 'locked_bytes +2097152' "charged_to +$(id -u)" \
			'open_files +0' 'mode +0640' 'newest +999' 'destroyed +false' || return
	status 0 "$bin" show "$ch" -j && has "$tmp/out" '"backend": "dev",' &&
		has "$tmp/out" '"locked_bytes": 2097152,' && has "$tmp/out" '"open_files": 0' &&
		has "$tmp/out" '"sender_pid": null,' &&
		status 0 "$bin" list && has "$tmp/out" "^$ch +100 +64 +8192 +999 +none" &&
		status 0 "$bin" list -j && has "$tmp/out" "\"name\": ?\"$ch\"" || return
	printf '%s\n' one two three | status 0 "$bin" pub "$ch" --type-tag cafe &&
		has "$tmp/err" "^sending to $ch from seq 1000, epoch 1" &&
		status 0 "$bin" sub "$ch" --join oldest --type-tag cafe &&
		diff <(printf '%s\n' one two three) "$tmp/out" &&
		status 0 "$bin" check "$ch" &&
		has "$tmp/out" 'oldest 1000, newest 1002, 2 marked' &&
		status 0 "$bin" check "$ch" -j && has "$tmp/out" '"legal": true' &&
		fails 1 'type tag is 0xcafe, expected 0x1' pub "$ch" --type-tag 1 &&
		fails 1 'exists already; take another name' create "$ch" --payload 8 --slots 4 &&
		done_with && fails 1 "$ch: no such channel" show "$ch" &&
		fails 1 "$ch: no such channel" destroy "$ch" &&
		fails 1 "$ch: no such channel" destroy "$ch" --force
}
tap "create, show, list, pub, sub, check, destroy" life

# three receivers of a sender that is not faster than they are
broadcast()
{
	# shellcheck disable=SC2034
	local one two three who i
	for ((i = 1; i <= 5000; i++)); do
		echo "$i of many messages"
	done >"$tmp/lines"
	fresh --payload 64 --slots 8192 --varlen &&
		start one sub "$ch" --count 5000 && start two sub "$ch" --count 5000 &&
		start three sub "$ch" --count 5000 || return
	for who in one two three; do
		wait_for "$tmp/$who.err" '^joined' || return
	done
	status 0 "$bin" pub "$ch" <"$tmp/lines" || return
	for who in one two three; do
		ends 0 "${!who}" && cmp "$tmp/lines" "$tmp/$who.out" &&
			has "$tmp/$who.err" 'lost 0' || return
	done
	done_with
}
tap "three receivers get all of it" broadcast

bench()
{
	# not to measure: two emulated cores of a busy host hardly ever run at the same time
	status 0 "$bin" bench ping --processes --backend dev --seconds 0.1 --payload 400 -j &&
		has "$tmp/out" '"backend": ?"dev"' && has "$tmp/out" '"payload": ?400' &&
		! compgen -G '/dev/hftchan-bench-*'
}
tap "bench" bench

# ---- names

alone()
{
	# the module's, for those who make it and those who look for it
	status 0 "$bin" create "$name" --payload 8 --slots 4 && has "$tmp/out" "^$ch: " &&
		status 0 "$bin" show "$name" && has "$tmp/out" "^name +$ch\$" || return
	# one of the same name in shared memory: by its full name only, and then there are two
	status 0 "$bin" create "shm:$name" --payload 8 --slots 4 || return
	local command
	for command in show check pub sub destroy 'destroy --force'; do
		# shellcheck disable=SC2086
		fails 1 "there are two, $ch and shm:$name; say which" $command "$name" || return
	done
	status 0 "$bin" show "$ch" && status 0 "$bin" show "shm:$name" &&
		status 0 "$bin" destroy "$ch" || return
	fails 1 "means $ch, .* there is shm:$name: say that" show "$name" &&
		fails 1 "shm:$name exists, and $ch beside it" create "$name" --payload 8 \
			--slots 4 &&
		status 0 "$bin" destroy "shm:$name" && nothing_left
}
tap "a name without a backend" alone

# ---- the sender role

roles()
{
	local publisher subscriber
	fresh --payload 64 --slots 64 --varlen && start_sender "$ch" &&
		start subscriber sub "$ch" && wait_for "$tmp/subscriber.err" '^joined' &&
		shows 'sender +attached' "sender_pid +$publisher" 'sender_is +-' 'open_files +3' &&
		status 0 "$bin" show "$ch" -j && has "$tmp/out" "\"sender_pid\": $publisher," &&
		status 0 "$bin" list && has "$tmp/out" " attached +$publisher" &&
		fails 1 "pid $publisher; stop it first" pub "$ch" &&
		fails 1 "pid $publisher; stop it first" destroy "$ch" || return
	echo hello >&7
	wait_for "$tmp/subscriber.out" '^hello$' && kill -TERM "$publisher" &&
		ends 0 "$publisher" &&
		ends 0 "$subscriber" && has "$tmp/subscriber.err" 'epoch 1 has gone' &&
		shows 'sender +none' 'sender_pid +-' 'nr_deaths +0' && done_with
}
tap "one sender at a time" roles

# Killed: the kernel says so at once; the next one goes on after what was committed.
death()
{
	local publisher subscriber
	fresh --payload 64 --slots 64 --varlen && start_sender "$ch" &&
		start subscriber sub "$ch" --follow && wait_for "$tmp/subscriber.err" '^joined' ||
		return
	echo one >&7
	wait_for "$tmp/subscriber.out" '^one$' && kill -KILL "$publisher" &&
		ends 137 "$publisher" &&
		shows 'sender +died' 'sender_pid +-' 'nr_deaths +1' 'epoch +1' &&
		status 0 "$bin" check "$ch" && wait_for "$tmp/subscriber.err" 'epoch 1 died' &&
		status 0 "$bin" pub "$ch" <<<two && has "$tmp/err" 'from seq 2, epoch 2' &&
		wait_for "$tmp/subscriber.out" '^two$' &&
		wait_for "$tmp/subscriber.err" 'epoch 2 has gone' || return
	# stopped, not dead: it keeps the role until it is killed
	start_sender "$ch" && kill -STOP "$publisher" &&
		fails 1 "pid $publisher; stop it first" pub "$ch" && kill -KILL "$publisher" &&
		ends 137 "$publisher" && wait_for "$tmp/subscriber.err" 'epoch 3 died' &&
		status 0 "$bin" pub "$ch" <<<three && has "$tmp/err" 'from seq 3, epoch 4' &&
		wait_for "$tmp/subscriber.out" '^three$' && kill -TERM "$subscriber" &&
		ends 0 "$subscriber" && has "$tmp/subscriber.err" 'received 3 messages' &&
		shows 'nr_deaths +2' && done_with
}
tap "kill -9 of a sender, and resume" death

# ---- destroyed while in use

in_use()
{
	local publisher subscriber other
	fresh --payload 64 --slots 64 --varlen && start subscriber sub "$ch" &&
		start other sub "$ch" --join oldest --hex &&
		wait_for "$tmp/subscriber.err" '^joined' &&
		wait_for "$tmp/other.err" '^joined' &&
		fails 1 'is open 2 times; end who uses it .*destroy --force' destroy "$ch" &&
		start_sender "$ch" || return
	echo last >&7
	wait_for "$tmp/subscriber.out" '^last$' && status 0 "$bin" destroy "$ch" --force &&
		nothing_left && ends 1 "$publisher" &&
		has "$tmp/publisher.err" '^hftchan: .*destroyed under its sender' &&
		ends 1 "$subscriber" && ends 1 "$other" &&
		has "$tmp/subscriber.err" '^hftchan: .*destroyed; all that was sent has been read'
}
tap "destroy of a channel in use" in_use

# a receiver that is stopped can't be told; its memory goes all the same
zap()
{
	local subscriber
	fresh --payload 56 --slots 65536 && start subscriber sub "$ch" &&
		wait_for "$tmp/subscriber.err" '^joined' && kill -STOP "$subscriber" &&
		fails 1 'zap goes with force only' destroy "$ch" --zap &&
		status 0 "$bin" destroy "$ch" --force --zap && nothing_left || return
	kill -CONT "$subscriber"
	ends 135 "$subscriber" || return	# SIGBUS
	status 0 "$bin" create "shm:$name" --payload 8 --slots 4 &&
		fails 1 'only the module can take the memory' destroy "shm:$name" --force --zap &&
		status 0 "$bin" destroy "shm:$name"
}
tap "destroy --force --zap: the ring goes from under a receiver that sleeps" zap

# ---- where the pages lie

nodes()
{
	local dir n kib
	for dir in /sys/devices/system/node/node[0-9]*; do
		n=${dir##*node}
		kib=$(awk '/MemTotal:/ { print $4 }' "$dir/meminfo")
		if [ "$kib" = 0 ]; then
			no_create "node $n has no memory" --node "$n" || return
			continue
		fi
		fresh --payload 56 --slots 131072 --node "$n" &&
			shows "node +$n" "pages_on_node $n +4" 'locked_bytes +8388608' || return
		[ "$(awk '/^pages_on_node/ { sum += $3 } END { print sum }' "$tmp/out")" = 4 ] &&
			done_with || return
	done
	no_create 'node 1000 does not exist' --node 1000
}
tap "all pages on the node asked for" nodes

cpuset()
{
	local group=/sys/fs/cgroup/hftchan-$$ result=0
	mkdir "$group" && echo 0 >"$group/cpuset.mems" || return
	(
		echo "$BASHPID" >"$group/cgroup.procs"
		no_create 'node 1 is not allowed to this process by its cpuset' --node 1 &&
			fresh --payload 8 --slots 4 --node 0 && done_with
	) || result=1
	rmdir "$group"
	return "$result"
}
if [ -d /sys/devices/system/node/node1 ] && [ -w /sys/fs/cgroup/cgroup.subtree_control ] &&
	echo +cpuset 2>/dev/null >/sys/fs/cgroup/cgroup.subtree_control; then
	tap "a node that the cpuset forbids" cpuset
else
	tap_skip "a node that the cpuset forbids" "needs root, two nodes and cgroup2"
fi

# ---- what can't be made

values()
{
	no_create 'mode 0602: dev: takes .*become the sender' --mode 0602 &&
		no_create 'mode 0666: ' --mode 0666 && no_create 'mode 0620: ' --mode 0620 &&
		no_create 'mode 4600: ' --mode 4600 && no_create 'mode 0440: ' --mode 0440 &&
		fails 1 'a power of two' create "$ch" --payload 8 --slots 5 &&
		fails 1 'or a smaller payload' create "$ch" --payload 1073741824 \
			--slots 2147483648 &&
		no_create 'split is not in this build' --layout split &&
		fails 1 'at most 47' create "${ch}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
			--payload 8 --slots 4 && nothing_left || return
	local mode
	for mode in 600 640 660 604 644 664; do
		fresh --payload 8 --slots 4 --mode "0$mode" &&
			[ "$(stat -c %a "$node")" = "$mode" ] &&
			shows "mode +0$mode" && done_with || return
	done
}
tap "modes and sizes" values

limits()
{
	echo 6 >"$parameters"/max_mib
	no_create 'needs 8 MiB, all rings hold [0-9]+ of at most 6 MiB; .*max_mib' --payload 8184 ||
		return
	echo "$max_mib" >"$parameters"/max_mib
	echo 6 >"$parameters"/max_mib_per_uid
	no_create 'needs 8 MiB, those of uid 0 hold [0-9]+ of at most 6 MiB; .*max_mib_per_uid' \
		--payload 8184 || return
	fresh --payload 56 --slots 65536 &&
		fails 1 'needs 4 MiB, those of uid 0 hold 4 of at most 6 MiB' create "${ch}b" \
			--payload 56 --slots 65536 || return
	echo "$max_mib_per_uid" >"$parameters"/max_mib_per_uid
	done_with || return
	# for others than root
	local create="$bin create $ch --payload 56 --slots 1024"
	chmod 666 /dev/hftchan
	status 1 "${as_nobody[@]}" "ulimit -l 1024; exec $create" &&
		one_error 'needs 2048 KiB, uid 65534 has 0 KiB locked, .* 1024 KiB; .*ulimit -l' &&
		nothing_left && status 0 "${as_nobody[@]}" "ulimit -l 4096; exec $create" || return
	status 1 "${as_nobody[@]}" "ulimit -l 3000; exec ${create/$ch/${ch}b}" &&
		one_error 'uid 65534 has 2048 KiB locked' && nobody_does 0 destroy "$ch" &&
		status 0 "${as_nobody[@]}" "ulimit -l 2048; exec $create" &&
		nobody_does 0 destroy "$ch" && restore && nothing_left
}

# more than the last node has, if that is not much
no_pages()
{
	fails 1 "node $last gave [0-9]+ of $1 free 2-MiB pages; .*compact_memory" \
		create "$ch" --payload 2097144 --slots "$1" --node "$last" && nothing_left &&
		fresh --payload 8 --slots 4 --node "$last" && done_with
}

killed()
{
	local creator i
	for i in 0.05 0.1 0.2 0.4; do
		start creator create "$ch" --payload 2097144 --slots 256 && sleep "$i" &&
			kill -TERM "$creator" && wait "$creator"
		"$bin" destroy "$ch" 2>/dev/null
		nothing_left || return
	done
}

for dir in /sys/devices/system/node/node[0-9]*; do
	last=${dir##*node}
	last_kib=$(awk '/MemTotal:/ { print $4 }' "$dir/meminfo")
done
if [ "$(id -u)" = 0 ]; then
	tap "limits of the module, of a user, of a process" limits
	tap "a signal during create" killed
else
	tap_skip "limits of the module, of a user, of a process" "needs root"
fi

# ---- other users

owners()
{
	# the group of the control node may make channels, others may not, and hear why
	nobody_fails 'may not write /dev/hftchan \(uid 0, gid [0-9]+, mode 0660\); only that' \
		create "$ch" --payload 8 --slots 4 &&
		nobody_fails 'uid 65534 may not write /dev/hftchan ' destroy "$ch" || return
	chmod 660 /dev/hftchan
	chgrp nogroup /dev/hftchan
	nobody_does 0 create "$ch" --payload 8 --slots 8 --varlen --mode 0644 || return
	local command
	for command in show check pub sub; do
		fails 1 'to uid 65534, expected uid 0 or root; .*--owner' "$command" "$ch" || return
	done
	status 0 "$bin" list && has "$tmp/out" "^$ch .*belongs to uid 65534" &&
		status 0 "$bin" show "$ch" --owner nobody && has "$tmp/out" '^charged_to +65534$' &&
		status 0 "$bin" pub "$ch" --owner nobody <<<hello &&
		nobody_does 0 sub "$ch" --join oldest && has "$tmp/out" '^hello$' &&
		nobody_fails 'only root may give it away' create "${ch}b" --payload 8 --slots 4 \
			--owner root &&
		nobody_fails 'must be a group of yours' create "${ch}b" --payload 8 --slots 4 \
			--group root &&
		nobody_does 0 destroy "$ch" && nothing_left || return
	# root's: read where the mode lets them, and no more
	fresh --payload 8 --slots 8 --varlen --mode 0644 && status 0 "$bin" pub "$ch" <<<hello &&
		nobody_does 0 sub "$ch" --join oldest && has "$tmp/out" '^hello$' &&
		nobody_fails "may not write $node .*mode 0644\); who may write may become" \
			pub "$ch" &&
		nobody_fails 'to uid 0; only that user or root may destroy it' destroy "$ch" &&
		nobody_fails 'only that user or root' destroy "$ch" --force &&
		fresh --payload 8 --slots 8 &&
		nobody_fails "uid 65534 may not read $node .*mode 0600\); its owner" show "$ch" &&
		nobody_fails 'may not read' sub "$ch" || return
	# a group that may send
	fresh --payload 8 --slots 8 --varlen --mode 0660 --group nogroup &&
		status 0 "${as_nobody[@]}" "echo hi | $bin pub $ch" &&
		status 0 "$bin" sub "$ch" --join oldest && has "$tmp/out" '^hi$' || return
	# what its owner spoiled
	chmod 0666 "$node"
	fails 1 'mode 0666: anybody can become its sender' show "$ch" || return
	chmod 0600 "$node"
	# given away
	fresh --payload 8 --slots 8 --owner nobody --group nogroup &&
		[ "$(stat -c %u:%G "$node")" = 65534:nogroup ] &&
		nobody_does 0 show "$ch" && nobody_does 0 destroy "$ch" &&
		restore && nothing_left
}

# ---- nodes that are none

# device_of NODE: its numbers, as mknod wants them
device_of()
{
	echo "$((0x$(stat -c %t "$1"))) $((0x$(stat -c %T "$1")))"
}

# In a container's /dev no node appears: nobody could ever open the channel.
private_dev()
{
	status 1 unshare -m bash -c "mount -t tmpfs none /dev && mkdir /dev/shm &&
		mknod /dev/hftchan c $(device_of /dev/hftchan) &&
		exec $bin create $ch --payload 8 --slots 4" &&
		one_error 'its node does not appear in /dev' && nothing_left
}

false_nodes()
{
	fresh --payload 8 --slots 4 || return
	# shellcheck disable=SC2046
	mknod "${node}copy" c $(device_of "$node")
	fails 1 "hftchan-${name}copy is the node of $ch; remove it" show "${ch}copy" &&
		fails 1 "no such channel, but there is .*rm" destroy "${ch}copy" &&
		"$bin" destroy "$ch" &&
		fails 1 'is the node of a channel that was destroyed; if it stays, remove it' \
			show "${ch}copy" || return
	rm "${node}copy"
	mknod "${node}null" c 1 3
	fails 1 'device 1:3\) is no channel of the module' show "${ch}null" || return
	rm "${node}null"
	: >"${node}file"
	fails 1 'is not a device; remove it' pub "${ch}file" || return
	rm "${node}file"
	nothing_left
}

if [ "$(id -u)" = 0 ]; then
	if [ "$last_kib" -lt $((3 << 20)) ]; then
		slots=4
		while ((slots * 2048 <= last_kib)); do slots=$((slots * 2)); done
		# exactly so many pages that the node can't have them; the limit stands aside
		echo 1048576 >"$parameters"/max_mib
		tap "a node without enough pages" no_pages "$slots"
		restore
	else
		tap_skip "a node without enough pages" "node $last is too large to fill it"
	fi
	tap "somebody else's channels" owners
	tap "nodes that are no channels" false_nodes
	tap "a /dev of its own" private_dev
else
	tap_skip "a node without enough pages, other users, false nodes" "needs root"
fi

tap "nothing is left behind" nothing_left
tap_end
