#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Prints a macro for each interface that these kernel headers have.
# Not a list of versions: vendors take interfaces back to older kernels, so each is compiled.
# Usage: probe.sh 'COMPILER AND FLAGS'    (by Kbuild; the output is probed.h for compat.h)

cc=$1

# compiles SOURCE: is that valid C for this kernel?
compiles()
{
	printf '%s\n' "$1" | $cc -Werror -Wno-unused -Wno-missing-prototypes \
		-Wno-missing-declarations -DKBUILD_MODNAME='"probe"' -DKBUILD_BASENAME='"probe"' \
		-x c -c -o /dev/null - 2>/dev/null
}

# probe MACRO SOURCE
probe()
{
	if compiles "$2"; then
		echo "#define $1"
	fi
}

# a compiler that can compile nothing would answer every question with no
if ! compiles '#include <linux/mm.h>'; then
	echo "probe.sh: can't compile against these kernel headers: $cc" >&2
	exit 1
fi

probe HFTCHAN_HAVE_VM_FLAGS_SET '
#include <linux/mm.h>
void f(struct vm_area_struct *vma) { vm_flags_set(vma, VM_IO); }'

probe HFTCHAN_HAVE_RELEASE_FAULT_LOCK '
#include <linux/mm.h>
void f(struct vm_fault *vmf) { release_fault_lock(vmf); }'

# not the type of .huge_fault: to a compiler that enum and an unsigned int are the same
probe HFTCHAN_HAVE_PE_SIZE '
#include <linux/mm.h>
enum page_entry_size size = PE_SIZE_PMD;'

probe HFTCHAN_HAVE_PFN_T '
#include <linux/mm.h>
#include <linux/pfn_t.h>
vm_fault_t f(struct vm_fault *vmf) {
	return vmf_insert_pfn_pmd(vmf, __pfn_to_pfn_t(0, PFN_DEV), false);
}'

probe HFTCHAN_HAVE_CONST_DEVNODE '
#include <linux/device.h>
char *f(const struct device *dev, umode_t *mode, kuid_t *uid, kgid_t *gid);
const struct device_type type = { .devnode = f };'
