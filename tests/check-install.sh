#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Installs into a temporary DESTDIR and uses what is there as a stranger would, by pkg-config alone.
# Not a test of what the library does. Prints TAP.
# Usage: tests/check-install.sh BUILD_DIR
set -euo pipefail

build=${1:?usage: tests/check-install.sh BUILD_DIR}
version=$(<VERSION)
prefix=/usr/local
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
root=$dir/root
header=$root$prefix/include/hftchan.h
# shellcheck source=tests/tap.sh
. tests/tap.sh

run_make()
{
	make --no-print-directory B="$build" DESTDIR="$root" PREFIX="$prefix" "$@"
}

pkg()
{
	PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH=$root$prefix/lib/pkgconfig \
		pkg-config "$@" libhftchan
}

# use COMPILER STANDARD SOURCE WAY...: compile and run, must print the version and what was sent
use()
{
	local compiler=$1 standard=$2 source=$3 output
	local -a cflags libs
	shift 3
	read -ra cflags <<<"$(pkg --cflags)"
	case $1 in
	shared) read -ra libs <<<"$(pkg --libs)" ;;
	static) read -ra libs <<<"-static $(pkg --static --libs)" ;;
	esac
	"$compiler" "-std=$standard" -Wall -Wextra -Wpedantic -Werror -o "$dir/program" "$source" \
		"${cflags[@]}" "${libs[@]}" || return
	output=$(LD_LIBRARY_PATH=$root$prefix/lib "$dir/program") || return
	echo "$output"
	[ "$output" = "$version 42" ]
}

# declared WORD...: names of the functions that the public header declares with that word
declared()
{
	local word
	for word; do
		sed -n "s/^$word\>[^(]*\<\(hftchan_[a-z0-9_]*\)(.*/\1/p" "$header"
	done | sort
}

exports_are_the_header()
{
	declared HFTCHAN_API HFTCHAN_INLINE >"$dir/declared"
	nm -D --defined-only "$root$prefix/lib/libhftchan.so" |
		awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort >"$dir/exported"
	echo "< declared in hftchan.h, > exported by libhftchan.so"
	[ -s "$dir/declared" ] && diff "$dir/declared" "$dir/exported"
}

# each line that begins with one of the two words must have given a name
declarations_are_understood()
{
	local lines names
	lines=$(grep -cE '^HFTCHAN_(API|INLINE)\>' "$header")
	names=$(declared HFTCHAN_API HFTCHAN_INLINE | sort -u | wc -l)
	echo "$lines declarations, $names names"
	[ "$lines" = "$names" ]
}

soname_is_by_major()
{
	local so=$root$prefix/lib/libhftchan.so soname
	soname=$(readelf -d "$so" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
	echo "SONAME $soname"
	[ "$soname" = "libhftchan.so.${version%%.*}" ] &&
		[ "$(readlink -f "$so")" = "$(readlink -f "$root$prefix/lib/$soname")" ]
}

modversion_is_version()
{
	[ "$(pkg --modversion)" = "$version" ]
}

tool_runs()
{
	"$root$prefix/bin/hftchan" -V
	"$root$prefix/bin/hftchan" -V | grep -F "$version"
}

# every page must be there for man, and every .so line must lead to one
man_pages_read()
{
	local page list
	list=$(find "$root$prefix/share/man" -type f)
	[ -n "$list" ] || return
	while read -r page; do
		if [[ $(head -n 1 "$page") =~ ^\.so\ (.*) ]]; then
			echo "$page -> ${BASH_REMATCH[1]}"
			[ -s "$root$prefix/share/man/${BASH_REMATCH[1]}" ] || return
		else
			grep -q '^\.SH NAME' "$page" || return
		fi
	done <<<"$list"
}

# calls that the header declares for users, each described by a page or an alias
calls_are_documented()
{
	local name missing=0
	for name in $(declared HFTCHAN_API HFTCHAN_INLINE); do
		# two symbols serve the inline functions only; the header says so
		case $name in hftchan_rx_idle | hftchan_rx_lap) continue ;; esac
		[ -s "$root$prefix/share/man/man3/$name.3" ] && continue
		echo "no page $name(3)"
		missing=1
	done
	return "$missing"
}

uninstall_leaves_nothing()
{
	run_make uninstall
	find "$root" -type f -o -type l
	[ -z "$(find "$root" -type f -o -type l)" ]
}

cat >"$dir/use.c" <<'EOF'
#include <hftchan.h>
#include <stdio.h>

int main(void)
{
	struct hftchan_attr attr = HFTCHAN_ATTR_INIT;
	struct hftchan *ch;
	struct hftchan_tx *tx;
	struct hftchan_rx *rx;
	int sent = 42, got = 0;

	attr.payload_size = sizeof(sent);
	attr.nr_slots = 8;
	if (hftchan_create("local:", &attr, &ch) || hftchan_attach(ch, 0, &tx) ||
	    hftchan_join(ch, HFTCHAN_JOIN_OLDEST, 0, &rx) ||
	    hftchan_send(tx, &sent, sizeof(sent)) ||
	    hftchan_recv(rx, &got, sizeof(got), NULL) != sizeof(got)) {
		fprintf(stderr, "%s\n", hftchan_strerror_last());
		return 1;
	}
	printf("%s %d\n", hftchan_version(), got);
	hftchan_leave(rx);
	hftchan_detach(tx);
	hftchan_close(ch);
	return 0;
}
EOF
# the same text is valid C++17; the wrapper's header comes with it there
{ echo '#include <hftchan.hpp>'; cat "$dir/use.c"; } >"$dir/use.cpp"

tap "make install into DESTDIR" run_make install
tap "pkg-config knows version $version" modversion_is_version
tap "SONAME by major version, links resolve" soname_is_by_major
tap "every declaration of hftchan.h has a name of its own" declarations_are_understood
tap "the shared library exports exactly what hftchan.h declares" exports_are_the_header
tap "a C11 program, shared" use "${CC:-gcc}" c11 "$dir/use.c" shared
tap "a C11 program, static" use "${CC:-gcc}" c11 "$dir/use.c" static
tap "a C++17 program, shared" use "${CXX:-g++}" c++17 "$dir/use.cpp" shared
tap "a C++17 program, static" use "${CXX:-g++}" c++17 "$dir/use.cpp" static
tap "the installed tool says its version" tool_runs
tap "man pages are whole, aliases resolve" man_pages_read
tap "every call has a man page" calls_are_documented
tap "make uninstall leaves no file" uninstall_leaves_nothing
tap_end
