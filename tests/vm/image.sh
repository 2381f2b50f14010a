#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Makes the initramfs of a kernel: busybox, bash, the module, what is built, the tests.
# Not the boot: that is boot.sh, which calls this, adds files and says what is to run.
# Usage: tests/vm/image.sh BUILD_DIR KERNEL    (writes BUILD_DIR/vm/KERNEL/image)
set -euo pipefail

cd "$(dirname "$0")/../.."
build=${1:?usage: tests/vm/image.sh BUILD_DIR KERNEL}
kernel=${2:?usage: tests/vm/image.sh BUILD_DIR KERNEL}
dir=$build/vm/$kernel
# from coreutils, as those of busybox do less
coreutils=(timeout stdbuf)
# of the kernel's own modules: a disk in memory for direct I/O, poisoned pages on demand
modules=(brd ext4 hwpoison-inject)
PATH=$PATH:/usr/sbin:/sbin

die()
{
	printf 'image: %s\n' "$*" >&2
	exit 1
}

for command in busybox cpio depmod; do
	command -v "$command" >/dev/null ||
		die "no $command; install it with: tests/install-deps.sh vm"
done
[ -x "$build/hftchan" ] || die "no $build/hftchan; run: make tests"

if [ "$kernel" = debug ]; then
	tests/vm/debug-kernel.sh "$build"
else
	tests/vm/kernels.sh "$build" "$kernel"
fi
# as a build of its own, whoever calls
env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s B="$build" KERNEL_DIR="$dir/headers" modules \
	>"$dir/modules.log" 2>&1 || { cat "$dir/modules.log" >&2; die "the module does not build"; }
release=$(<"$dir/release")

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
# it is "/" there, for users too
chmod 755 "$root"
mkdir -p "$root"/{bin,dev,etc,lib/modules/"$release",out,proc,root,run,sys,tests,tmp,usr,var}
ln -s bin "$root/sbin"
ln -s ../bin "$root/usr/bin"
ln -s ../bin "$root/usr/sbin"
ln -s ../run "$root/var/run"

# programs DIR FILE...: with the shared libraries they need, where the loader looks for them
programs()
{
	local to=$root/$1 library
	shift
	mkdir -p "$to"
	cp -L "$@" "$to"
	{ ldd "$@" 2>/dev/null || true; } | { grep -o '/[^ :]*\.so[^ :]*' || true; } | sort -u |
	while read -r library; do
		[ -e "$root$library" ] || install -D "$library" "$root$library"
	done
}

programs bin "$(command -v busybox)" "$(command -v bash)"
for command in "${coreutils[@]}"; do
	programs bin "$(command -v "$command")"
done
install -D -t "$root/usr/libexec/coreutils" /usr/libexec/coreutils/libstdbuf.so
for command in $(busybox --list); do
	[ -e "$root/bin/$command" ] || ln -s busybox "$root/bin/$command"
done

programs bin "$build/hftchan" "$build/itchfeed"
programs tests/protocol "$build"/tests/*
programs tests/examples "$build"/examples/*
if [ -d "$build/selftests/install" ]; then
	programs tests/selftests "$build"/selftests/install/*
fi
cp tests/tap.sh tests/vm/suite "$root/tests"
install -D -t "$root/tests/tool" tests/tool/helpers.bash tests/tool/test_dev.sh
for script in tests/vm/guest/*.sh; do
	[ ! -f "$script" ] || install -D -t "$root/tests/guest" "$script"
done
install tests/vm/init "$root/init"
cat >"$root/etc/passwd" <<'END'
root:x:0:0::/root:/bin/bash
user:x:1000:1000::/tmp:/bin/bash
nobody:x:65534:65534::/:/bin/false
END
cat >"$root/etc/group" <<'END'
root:x:0:
hftchan:x:900:
user:x:1000:
nogroup:x:65534:
END

to=$root/lib/modules/$release
install -D -t "$to/updates" "$build/kmod/$release/kmod/hftchan.ko"
cp "$dir/root/lib/modules/$release"/modules.{order,builtin,builtin.modinfo} "$to"
for module in "${modules[@]}"; do
	modprobe -d "$dir/root" -S "$release" --show-depends "$module" ||
		die "$release has no module $module"
done | while read -r kind file _; do
	case $kind in
	insmod) cp "$file" "$to" ;;
	builtin) ;;
	esac
done
# the kernel takes them as they are
find "$to" -name '*.xz' -exec xz -d {} +
depmod -b "$root" "$release"

(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$dir/image.new"
mv "$dir/image.new" "$dir/image"
