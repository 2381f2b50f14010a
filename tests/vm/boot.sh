#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Boots a kernel in QEMU (two CPUs, two NUMA nodes), runs one command there and gives back its
# output and exit status. Not a test by itself: run.sh runs the tests with it, demos their own.
# Usage: tests/vm/boot.sh [OPTION]... BUILD_DIR 6.1|6.12|debug COMMAND [ARGUMENT]...
#
#   --append TEXT        to the kernel's command line, such as hftchan.PARAMETER=VALUE
#   --file FILE:PATH     puts FILE into the machine as PATH
#   --out DIR            what the command leaves in /out comes here, at about 1 MB/s
#   --log FILE           the kernel's log (BUILD_DIR/vm/KERNEL/console)
#   --time SECONDS       limit of the whole run (600), after which the status is 124
#
# The command runs as root, in bash, with its input from /dev/null; it loads the module if it wants
# it: `modprobe hftchan`. Status 125: the machine ended before the command did.
set -euo pipefail

tree=$(cd "$(dirname "$0")/../.." && pwd)

die()
{
	printf 'boot: %s\n' "$*" >&2
	exit 125
}

usage()
{
	sed -n 's/^# \(Usage: .*\)/\1/p' "$0" >&2
	exit 125
}

append='' files=() out='' log='' seconds=600
while [[ ${1:-} == --* ]]; do
	[ $# -ge 2 ] || usage
	case $1 in
	--append) append=$2 ;;
	--file) files+=("$2") ;;
	--out) out=$2 ;;
	--log) log=$2 ;;
	--time) seconds=$2 ;;
	*) usage ;;
	esac
	shift 2
done
[ $# -ge 3 ] || usage
build=$(cd "$1" && pwd)
kernel=$2
shift 2
dir=$build/vm/$kernel
log=${log:-$dir/console}
command -v qemu-system-x86_64 >/dev/null ||
	die "no qemu-system-x86_64; install it with: tests/install-deps.sh vm"

"$tree/tests/vm/image.sh" "$build" "$kernel" >&2 || exit 125

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
root=$scratch/root
mkdir "$root"
printf '%q ' "$@" >"$root/command"
for file in "${files[@]}"; do
	path=$root/${file#*:}
	[[ $file == *:* && -f ${file%%:*} ]] || die "--file $file: not an existing FILE:PATH"
	mkdir -p "$(dirname "$path")"
	ln -s "$(realpath "${file%%:*}")" "$path"
done
# the kernel unpacks one archive after the other
cp "$dir/image" "$scratch/image"
(cd "$root" && find . -mindepth 1 | cpio --quiet -oL -H newc -R 0:0 | gzip -1) >>"$scratch/image"

# KVM may be there and yet hang: a kernel without a root file system must panic and end by itself
if [ ! -f "$build/vm/accel" ]; then
	accel=tcg,thread=multi
	if [ -w /dev/kvm ] && timeout 10 qemu-system-x86_64 -accel kvm -cpu max -m 512 -nodefaults \
		-display none -no-reboot -kernel "$dir/vmlinuz" -append panic=-1 </dev/null \
		>/dev/null 2>&1; then
		accel=kvm
	fi
	echo "$accel" >"$build/vm/accel"
fi

# an emulated CPU may wait long for a busy host: that is no lockup and no stall of the kernel's
slow="watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120 workqueue.watchdog_thresh=120"
status=0
timeout --foreground --kill-after=5 "$seconds" qemu-system-x86_64 \
	-accel "$(<"$build/vm/accel")" -cpu max -smp 2,sockets=2 -m 4G \
	-object memory-backend-ram,id=m0,size=2G -object memory-backend-ram,id=m1,size=2G \
	-numa node,cpus=0,memdev=m0 -numa node,cpus=1,memdev=m1 \
	-nodefaults -no-user-config -display none -no-reboot \
	-serial "file:$log" -serial stdio -serial "file:$scratch/out.tar" \
	-kernel "$dir/vmlinuz" -initrd "$scratch/image" \
	-append "console=ttyS0 ignore_loglevel panic=-1 oops=panic tsc=unstable $slow $append" \
	</dev/null || status=$?
if [ "$status" = 124 ]; then
	echo "boot: not done after $seconds s; the kernel's log is $log" >&2
	exit 124
fi

# complete only if the command ended and init packed what it left
mkdir "$scratch/out"
if ! tar -x -f "$scratch/out.tar" -C "$scratch/out" 2>/dev/null ||
	[ ! -f "$scratch/out/.status" ]; then
	echo "boot: the machine ended before the command did; the kernel's log is $log" >&2
	exit 125
fi
status=$(<"$scratch/out/.status")
rm "$scratch/out/.status"
if [ -n "$out" ]; then
	mkdir -p "$out"
	cp -r "$scratch/out/." "$out"
fi
exit "$status"
