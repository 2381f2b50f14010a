#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Fails unless every place that states the version says what the file VERSION says.
# Not a test of behaviour: it runs in every build.
# Usage: tests/check-version.sh BUILD_DIR
set -euo pipefail

build=${1:?usage: tests/check-version.sh BUILD_DIR}
version=$(<VERSION)
if ! [[ $version =~ ^([0-9]+)\.([0-9]+)\.([0-9]+)$ ]]; then
	echo "VERSION: '$version' is not MAJOR.MINOR.PATCH" >&2
	exit 1
fi
major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]} patch=${BASH_REMATCH[3]}
failed=0

# agree FILE WANTED FOUND
agree()
{
	[ "$2" = "$3" ] && return
	echo "$1: says '$3' where VERSION ($version) asks for '$2'" >&2
	failed=1
}

macro()
{
	sed -n "s/^#define[[:space:]]\+HFTCHAN_VERSION_$1[[:space:]]\+\([0-9]\+\).*/\1/p" \
		libuser/include/hftchan.h
}

agree libuser/include/hftchan.h "$major.$minor.$patch" \
	"$(macro MAJOR).$(macro MINOR).$(macro PATCH)"
# the newest node of the map comes last, and a release that adds no symbol adds no node
agree libuser/libhftchan.map "HFTCHAN_$major.$minor" \
	"$(sed -n 's/^\(HFTCHAN_[0-9.]\+\)[[:space:]]*{.*/\1/p' libuser/libhftchan.map | tail -n 1)"
agree "$build/libhftchan.pc" "$version" "$(sed -n 's/^Version: *//p' "$build/libhftchan.pc")"
agree "$build/libhftchan.pc, values left to fill in" "" \
	"$(grep -o '@[A-Za-z_]*@' "$build/libhftchan.pc" | tr '\n' ' ')"
agree "$build/libhftchan.so.$version" "libhftchan.so.$major" \
	"$(readelf -d "$build/libhftchan.so.$version" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')"
agree dkms.conf "$version" "$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' dkms.conf)"
agree kmod/main.c "$version" "$(sed -n 's/^MODULE_VERSION("\(.*\)");/\1/p' kmod/main.c)"
agree CHANGELOG.md "[$version]" "$(sed -n 's/^## \(\[[0-9.]*\]\).*/\1/p' CHANGELOG.md | head -n 1)"
exit $failed
