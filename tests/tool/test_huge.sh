#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A channel whose ring lies on hugetlbfs: made, used, shown, removed with the channel, and never
# a way to make somebody else read or remove what the channel's owner names.
# Usage: test_huge.sh BUILD_DIR    root, with 8 free huge pages (CI=true: reserves them for a while)
set -euo pipefail

build=$(realpath "${1:?usage: test_huge.sh BUILD_DIR}")
cd "$(dirname "$0")/../.."
# shellcheck source=tests/tap.sh
. tests/tap.sh
work=$(mktemp -d)
pool=/sys/kernel/mm/hugepages/hugepages-2048kB
reserved=

cleanup()
{
	[ -z "$reserved" ] || echo "$reserved" >"$pool/nr_hugepages"
	rm -rf "$work" "$tap_output"
}

if [ -z "${HFTCHAN_HUGE_INSIDE:-}" ]; then
	trap cleanup EXIT
	why=
	if [ "$(id -u)" != 0 ]; then
		why="not root"
	elif ! unshare -m true 2>/dev/null; then
		why="this user may not mount here"
	else
		before=$(cat "$pool/nr_hugepages")
		if [ "${CI:-}" = true ] && [ "$(cat "$pool/free_hugepages")" -lt 8 ]; then
			reserved=$before
			echo $((before + 8)) >"$pool/nr_hugepages"
		fi
		[ "$(cat "$pool/free_hugepages")" -ge 8 ] || why="fewer than 8 free huge pages"
	fi
	if [ -n "$why" ]; then
		echo "ok 1 - rings on hugetlbfs # SKIP $why"
		echo 1..1
		exit 0
	fi
	# mounts of its own, which go with it
	HFTCHAN_HUGE_INSIDE=$work unshare -m "$0" "$build"
	exit
fi

rm -rf "$work"
work=$HFTCHAN_HUGE_INSIDE
hftchan=$build/hftchan
mount -t tmpfs tmpfs /dev/shm
mkdir "$work/huge"
mount -t hugetlbfs -o pagesize=2M,mode=1777 none "$work/huge"

show()
{
	"$hftchan" show "$1" -j |
		python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$2"
}

made()
{
	"$hftchan" create huge --payload 56 --slots 65536 --varlen &&
		[ "$(show huge page_size)" = 2097152 ] &&
		[[ "$(show huge ring_path)" = "$work/huge/hftchan-huge-"* ]] &&
		[ "$(stat -c %a "$(show huge ring_path)")" = 600 ]
}

small_stays_small()
{
	"$hftchan" create small --payload 56 --slots 1024 && [ "$(show small page_size)" = 4096 ] &&
		"$hftchan" destroy small
}

used()
{
	seq 1 100000 | "$hftchan" pub huge && "$hftchan" check huge &&
		"$hftchan" sub huge --join 34470 | diff - <(seq 34470 100000)
}

resumed()
{
	echo more | "$hftchan" pub huge && [ "$(show huge newest)" = 100001 ] &&
		[ "$(show huge epoch)" = 2 ]
}

removed()
{
	"$hftchan" destroy huge && [ -z "$(ls -A "$work/huge")" ] && [ -z "$(ls -A /dev/shm)" ]
}

# more than the pool has: the ring is in small pages then, and nothing is left on hugetlbfs
too_large()
{
	local slots=$((1 << 20))
	while [ $((slots * 64 / 2097152)) -le "$(cat "$pool/free_hugepages")" ]; do
		slots=$((slots * 2))
	done
	"$hftchan" create large --payload 56 --slots "$slots" &&
		[ "$(show large page_size)" = 4096 ] && [ -z "$(ls -A "$work/huge")" ] &&
		"$hftchan" destroy large
}

# the channel's owner writes any path there: only a file of his on a hugetlbfs is ever touched
points_to()
{
	"$hftchan" create evil --payload 56 --slots 65536 || return
	rm -f "$work"/huge/hftchan-evil-*
	python3 - "$1" <<-'END' || return
		import sys
		with open("/dev/shm/hftchan-evil", "r+b") as f:
		    f.seek(512)
		    f.write(sys.argv[1].encode() + b"\0")
	END
	refused && "$hftchan" destroy evil --force && [ -e "$1" ] && [ -z "$(ls -A /dev/shm)" ]
}

# said so, and not waited for
refused()
{
	local status=0
	timeout 20 "$hftchan" show evil || status=$?
	[ "$status" = 1 ]
}

elsewhere()
{
	touch "$work/hftchan-victim"
	points_to "$work/hftchan-victim"
}

through_a_link()
{
	ln -s "$work/huge" "$work/link"
	truncate -s 4M "$work/huge/hftchan-victim"
	points_to "$work/link/hftchan-victim"
}

gone()
{
	"$hftchan" create evil --payload 56 --slots 65536 || return
	rm "$work"/huge/hftchan-evil-*
	refused && "$hftchan" destroy evil --force && [ -z "$(ls -A /dev/shm)" ]
}

a_fifo()
{
	mkfifo "$work/huge/hftchan-fifo" && points_to "$work/huge/hftchan-fifo"
}

# who can write to the ring can corrupt it, whatever the mode of the other file
writable()
{
	"$hftchan" create evil --payload 56 --slots 65536 &&
		chmod 620 "$work"/huge/hftchan-evil-* && refused &&
		"$hftchan" destroy evil && [ -z "$(ls -A /dev/shm)" ]
}

not_the_owners()
{
	chown 65534 "$work/huge/hftchan-victim" &&
		points_to "$work/huge/hftchan-victim" && rm "$work/huge/hftchan-victim"
}

tap "a ring of 4 MiB goes to hugetlbfs, with the channel's mode" made
tap "a ring below one huge page doesn't" small_stays_small
tap "sent, checked and received through it" used
tap "resumed" resumed
tap "destroyed with its ring" removed
tap "more than the pool has goes to /dev/shm" too_large
tap "a ring path that is no hugetlbfs is refused, and not removed" elsewhere
tap "nor through a link" through_a_link
tap "nor a file on hugetlbfs that isn't the owner's" not_the_owners
tap "nor a FIFO there waited for" a_fifo
tap "a ring that others may write to is refused" writable
tap "a ring that was removed is told, and the rest can be destroyed" gone
tap_end
