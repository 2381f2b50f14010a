#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Builds the kernel module by DKMS, as on a user's machine, for kernels that lie below BUILD_DIR.
# Not a test of the module, and not of this machine: DKMS gets a tree of its own. Prints TAP.
# Usage: tests/check-dkms.sh BUILD_DIR [KERNEL...]    (6.1 and 6.12 of tests/vm/kernels.sh; as root)
set -euo pipefail

build=${1:?usage: tests/check-dkms.sh BUILD_DIR [KERNEL...]}
build=$(cd "$build" && pwd)
shift
kernels=("$@")
[ $# -gt 0 ] || kernels=(6.1 6.12)
version=$(<VERSION)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/tap.sh
. tests/tap.sh

# without these DKMS would make a key in /var/lib/dkms
export mok_signing_key=$dir/mok.key mok_certificate=$dir/mok.pub

# dkms_tree ACTION ARGUMENT..., and for our module
dkms_tree()
{
	dkms "$@" --dkmstree "$dir/tree" --sourcetree "$dir/root/usr/src" \
		--installtree "$dir/modules" --no-depmod
}

dkms_here()
{
	dkms_tree "$@" -m hftchan -v "$version"
}

# use KERNEL: its release, its headers, the program that signs its modules
use()
{
	tests/vm/kernels.sh "$build" "$1" >&2
	release=$(<"$build/vm/$1/release")
	headers=$build/vm/$1/headers
	export sign_file=$headers/scripts/sign-file
	mkdir -p "$dir/modules/$release"
}

installed()
{
	dkms_here status -k "$release" | grep ': installed$'
}

installs()
{
	dkms_here add && dkms_here build -k "$release" --kernelsourcedir "$headers" &&
		dkms_here install -k "$release" --kernelsourcedir "$headers" && installed
}

# as when a kernel is installed on a machine that has the module for another one
follows()
{
	dkms_tree autoinstall -k "$release" --kernelsourcedir "$headers" && installed
}

# says NAME WANTED FIELD: the first word of what modinfo says
says()
{
	local word
	read -r word _ < <(modinfo -F "$2" "$module") || return
	echo "$2: $word, wanted: $1"
	[ "$word" = "$1" ]
}

module_fits()
{
	local module=$dir/modules/$release/updates/dkms/hftchan.ko
	says hftchan name && says "$version" version && says "$release" vermagic && says GPL license
}

module_is_signed()
{
	local module=$dir/modules/$release/updates/dkms/hftchan.ko
	[ -s "$mok_signing_key" ] && [ -s "$mok_certificate" ] && says DKMS signer
}

# what `dkms add` was given is no part of it
remove_leaves_nothing()
{
	dkms_here remove --all || return
	find "$dir/tree" "$dir/modules" ! -type d
	[ -z "$(find "$dir/tree" "$dir/modules" ! -type d)" ] && [ ! -e "$dir/tree/hftchan" ]
}

# refused RELEASE ARCHITECTURE HEADERS: for what dkms.conf says, before anything is built
refused()
{
	local status=0
	dkms_here build -k "$1" -a "$2" --kernelsourcedir "$3" >"$dir/output" 2>&1 || status=$?
	cat "$dir/output"
	echo "status $status"
	[ "$status" = 77 ] &&
		grep -q 'BUILD_EXCLUSIVE directive which does not match' "$dir/output" &&
		! grep -q 'Building module' "$dir/output"
}

# these headers are empty but for their configuration: make fails, but DKMS has called it
not_refused()
{
	local status=0
	dkms_here build -k "$1" -a "$2" --kernelsourcedir "$3" || status=$?
	[ "$status" = 10 ]
}

# fake NAME SED-EXPRESSION: headers that are a changed configuration alone
fake()
{
	mkdir -p "$dir/fake/$1/include"
	sed "$2" "$headers/.config" >"$dir/fake/$1/.config"
}

# fetch_rt KERNEL: the headers of Debian's PREEMPT_RT flavour, without what they depend on
fetch_rt()
{
	local meta=linux-headers-rt-amd64 package
	[ "$1" = 6.1 ] || meta=linux-headers-$1-rt-amd64
	package=$(apt-cache depends "$meta" |
		awk '$1 == "Depends:" && $2 ~ /^linux-headers-[0-9]/ && !found++ { print $2 }')
	[ -n "$package" ] || return
	rt=$build/vm/rt/$1/usr/src/$package rt_release=${package#linux-headers-}
	[ ! -f "$rt/.config" ] || return 0
	rm -rf "$build/vm/rt/$1"
	mkdir -p "$build/vm/rt/$1/deb"
	(cd "$build/vm/rt/$1/deb" &&
		apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$package") || return
	dpkg -x "$build/vm/rt/$1"/deb/*.deb "$build/vm/rt/$1"
}

rt_is_refused()
{
	fetch_rt "$1" || return
	grep '^CONFIG_PREEMPT_RT=y' "$rt/.config" || return
	refused "$rt_release" x86_64 "$rt"
}

# the pattern alone, of what dkms.conf has for this architecture
releases()
{
	local release pattern bad=0
	# shellcheck source=dkms.conf
	pattern=$(kernel_source_dir='' dkms_tree='' arch=x86_64; . ./dkms.conf
		echo "$BUILD_EXCLUSIVE_KERNEL")
	for release in 6.1 6.1.0-56-amd64 6.2.0 6.9.12 6.10.0-rc1 6.12.117+deb12-amd64 7.2.13 \
		10.1.0; do
		[[ $release =~ $pattern ]] || { echo "$release is refused"; bad=1; }
	done
	for release in 2.6.32 3.6.1 4.19.0-27-amd64 5.10.0-30-amd64 5.6.1 6.0 6.0.19-amd64 61; do
		[[ ! $release =~ $pattern ]] || { echo "$release is not refused"; bad=1; }
	done
	return "$bad"
}

# what a run that forgot an option would have changed
system()
{
	local place
	for place in /var/lib/dkms /usr/src /lib/modules; do
		[ ! -d "$place" ] || find "$place" -maxdepth 3
	done | sort
}

system_is_as_it_was()
{
	diff "$dir/system" <(system)
}

[ "$(id -u)" = 0 ] || { echo "Bail out! DKMS wants root"; exit 1; }
mkdir -p "$dir/tree"
system >"$dir/system"

tap "make dkms puts the source in place" \
	make --no-print-directory dkms B="$build" DESTDIR="$dir/root"
how=installs
for kernel in "${kernels[@]}"; do
	use "$kernel"
	tap "Linux $release: the module $how" "$how"
	tap "Linux $release: name, version, vermagic, license" module_fits
	tap "Linux $release: signed with the machine owner's key" module_is_signed
	how=follows
done
tap "remove leaves nothing" remove_leaves_nothing
for kernel in "${kernels[@]}"; do
	tap "Linux $kernel, PREEMPT_RT: refused" rt_is_refused "$kernel"
done

fake older ''
fake no_thp '/^CONFIG_TRANSPARENT_HUGEPAGE=/d'
fake no_notifier '/^CONFIG_MMU_NOTIFIER=/d'
fake arm64_4k "\$a CONFIG_ARM64_4K_PAGES=y"
fake arm64_64k "\$a CONFIG_ARM64_64K_PAGES=y"
tap "which releases are refused" releases
tap "before 6.1: refused" refused 6.0.19-amd64 x86_64 "$dir/fake/older"
tap "without transparent huge pages: refused" refused "$release" x86_64 "$dir/fake/no_thp"
tap "without MMU notifiers: refused" refused "$release" x86_64 "$dir/fake/no_notifier"
tap "another architecture: refused" refused "$release" i686 "$dir/fake/older"
tap "arm64 with 64-KiB pages: refused" refused "$release" aarch64 "$dir/fake/arm64_64k"
tap "arm64 with 4-KiB pages: not refused" not_refused "$release" aarch64 "$dir/fake/arm64_4k"
tap "nothing of this machine's has changed" system_is_as_it_was
tap_end
