#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The static checks, each one test: prints TAP, a finding is a failure.
# Not a formatter: it changes no file.
# Usage: tests/lint.sh BUILD_DIR    (BUILD_DIR/lint-flags: the compiler's flags, from the Makefile)
set -euo pipefail

build=${1:?usage: tests/lint.sh BUILD_DIR}
build=${build#"$PWD"/}
read -ra flags <"$build/lint-flags"
# what cppcheck understands of them
mapfile -t cpp_flags < <(printf '%s\n' "${flags[@]}" | grep '^-[ID]')
# shellcheck source=tests/tap.sh
. tests/tap.sh

# sources GLOB...: all files of the tree with such names, built ones apart
sources()
{
	local glob
	local -a names=(-false)
	for glob; do
		names+=(-o -name "$glob")
	done
	find . \( -path ./.git -o -path "./${build#./}" -o -path ./build \) -prune \
		-o -type f \( "${names[@]}" \) -print | sed 's,^\./,,' | sort
}

# every file that holds code says under which license, and its text is here
licensed()
{
	local file line id bad=0
	for file; do
		if ! line=$(head -n 2 "$file" | grep -o 'SPDX-License-Identifier: .*'); then
			echo "$file: no SPDX line"
			bad=1
			continue
		fi
		line=${line#*: }
		for id in ${line//[^-A-Za-z0-9.]/ }; do
			case $id in
			WITH | OR | AND) continue ;;
			GPL-2.0) id=GPL-2.0-only ;; # as the kernel writes it
			esac
			if ! [ -s "LICENSES/$id.txt" ]; then
				echo "$file: LICENSES/$id.txt is missing"
				bad=1
			fi
		done
	done
	return "$bad"
}

# clang-tidy STANDARD FILE...: one process for each core
tidy()
{
	local std=$1
	shift
	# it counts on standard error the warnings that it doesn't show
	printf '%s\0' "$@" |
		xargs -0 -P "$(nproc)" -I '{}' \
			clang-tidy --quiet '{}' -- "${flags[@]}" "-std=$std" \
		2> >(grep -v 'warnings\? generated\.$')
}

# How clang-format indents and spaces the lines as they are. Where to break a line is the author's
# choice; so is white space within it, as no version leaves alone what kernel style aligns by tabs.
formatted()
{
	local file bad=0
	for file; do
		{ diff <(squeeze <"$file") <(clang-format "$file" | squeeze) || true; } |
		awk -v file="$file" '
			function hunk(    i, a, b) {
				if (nr_old != nr_new)
					return
				for (i = 1; i <= nr_old; i++) {
					a = old[i]
					b = new[i]
					gsub(/[ \t]/, "", a)
					gsub(/[ \t]/, "", b)
					if (a == b) {
						print file ":" line + i - 1 ": is:        " old[i]
						print file ":" line + i - 1 ": should be: " new[i]
						bad = 1
					}
				}
			}
			/^[0-9]/ { hunk(); line = $0 + 0; nr_old = nr_new = 0 }
			/^</ { old[++nr_old] = substr($0, 3) }
			/^>/ { new[++nr_new] = substr($0, 3) }
			END { hunk(); exit bad }' || bad=1
	done
	return "$bad"
}

squeeze()
{
	sed -E 's/[[:space:]]+\\$/ \\/; s/([^[:space:]])[[:space:]]+/\1 /g'
}

# a message stays in one piece, so that it can be searched for, also behind what it is said with
narrow()
{
	local file bad=0
	for file; do
		expand -t 8 "$file" | awk -v file="$file" '
			length > 100 && !/^ *([A-Za-z_]+[( ])?"[^"]*"[,;)]*$/ {
				print file ":" NR ": " length " columns"
				bad = 1
			}
			END { exit bad }' || bad=1
	done
	return "$bad"
}

# checkpatch of the kernel's source, but for what doesn't fit a module outside it
#   BIT_MACRO: the ABI header serves user space, which has no BIT()
#   LINUX_VERSION_CODE, CONSTANT_COMPARISON: kmod/compat refuses kernels that are too old
#   MACRO_ARG_REUSE, MACRO_ARG_PRECEDENCE: arguments of the tables' macros are names and types
kernel_style()
{
	tests/vm/kernels.sh "$build" source || return
	# it leaves a file where it runs
	(cd "$build" && vm/source/scripts/checkpatch.pl --no-tree --strict --max-line-length=100 \
		--terse --show-types --no-summary --ignore BIT_MACRO,LINUX_VERSION_CODE \
		--ignore CONSTANT_COMPARISON,MACRO_ARG_REUSE,MACRO_ARG_PRECEDENCE \
		-f "${@/#/$OLDPWD/}") | sed "s,^$PWD/,,"
}

# the module for 6.1, each file checked whether it has to be compiled or not
with_sparse()
{
	local log
	tests/vm/kernels.sh "$build" 6.1 || return
	log=$(env -u MAKEFLAGS -u MFLAGS make --no-print-directory B="$build" \
		KERNEL_DIR="$build/vm/6.1/headers" C=2 modules 2>&1) || { echo "$log"; return 1; }
	# it only warns: a finding is a line that names a place
	grep -q '^  CHECK ' <<<"$log" && ! grep -E '^[^ ]+:[0-9]+:[0-9]+: ' <<<"$log"
}

# what needs a kernel's headers is for checkpatch, sparse and gcc's warnings, not for the others
kernel_code='^(kmod|tests/selftests)/'
mapfile -t kernel < <(sources '*.[ch]' | grep -E "$kernel_code")
mapfile -t c < <(sources '*.c' | grep -vE "$kernel_code")
mapfile -t cxx < <(sources '*.cpp')
mapfile -t headers < <(sources '*.h' '*.hpp' | grep -vE "$kernel_code")
mapfile -t shell < <(sources '*.sh' '*.bash' run init suite)
mapfile -t scripts < <(sources '*.py' '*.awk')
mapfile -t rest < <(sources Makefile Kbuild dkms.conf '*.map' '*.config')

text=("${kernel[@]}" "${c[@]}" "${cxx[@]}" "${headers[@]}" "${shell[@]}" "${scripts[@]}")
tap "license of each file" licensed "${text[@]}" "${rest[@]}"
tap "at most 100 columns" narrow "${text[@]}"
tap "indentation and spacing as by clang-format" formatted "${c[@]}" "${cxx[@]}" "${headers[@]}"
tap "checkpatch" kernel_style "${kernel[@]}"
tap "sparse" with_sparse
tap "clang-tidy, C" tidy gnu11 "${c[@]}"
tap "clang-tidy, C++" tidy c++17 "${cxx[@]}"
tap "cppcheck" cppcheck --quiet --error-exitcode=1 --enable=warning,portability,performance \
	--inline-suppr --std=c11 "${cpp_flags[@]}" "${c[@]}"
tap "shellcheck" shellcheck --shell=bash "${shell[@]}"
tap "codespell" codespell --ignore-words-list=crate,iput \
	--skip="./.git,./build,./${build#./},./LICENSES,__pycache__"
tap_end
