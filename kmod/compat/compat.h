/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the kernels that the module builds for, 6.1 and newer.
 * It adds nothing: each part gives an older kernel what the newest has, so that the rest of the
 * module is written for that one. probed.h says what these headers have.
 */
#ifndef HFTCHAN_COMPAT_H
#define HFTCHAN_COMPAT_H

#include <linux/mm.h>
#include <linux/version.h>

#include "probed.h"

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "hftchan needs Linux 6.1 or newer"
#endif
#if !defined(CONFIG_MMU_NOTIFIER) || !defined(CONFIG_TRANSPARENT_HUGEPAGE)
#error "hftchan needs CONFIG_MMU_NOTIFIER and CONFIG_TRANSPARENT_HUGEPAGE (absent from PREEMPT_RT)"
#endif
#if !defined(CONFIG_64BIT) || PMD_SHIFT != 21
#error "hftchan needs 2-MiB PMD entries: x86-64, or arm64 with 4-KiB pages"
#endif
/* one of them keeps gup-fast away from the ring, see hftchan_insert_pmd() */
#if !defined(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP) && !defined(CONFIG_ARCH_HAS_PTE_DEVMAP)
#error "hftchan needs an architecture with special or device PMD entries: x86-64 or arm64"
#endif

#ifndef HFTCHAN_HAVE_VM_FLAGS_SET
static inline void vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags |= flags;
}

static inline void vm_flags_clear(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags &= ~flags;
}
#endif

#ifndef HFTCHAN_HAVE_RELEASE_FAULT_LOCK
static inline void release_fault_lock(struct vm_fault *vmf)
{
	mmap_read_unlock(vmf->vma->vm_mm);
}
#endif

/* what .huge_fault is asked for */
#ifdef HFTCHAN_HAVE_PE_SIZE
#define HFTCHAN_FAULT_SIZE	enum page_entry_size
#define HFTCHAN_FAULT_PMD	PE_SIZE_PMD
#else
#define HFTCHAN_FAULT_SIZE	unsigned int
#define HFTCHAN_FAULT_PMD	HPAGE_PMD_ORDER
#endif

/* of .devnode's device */
#ifdef HFTCHAN_HAVE_CONST_DEVNODE
#define HFTCHAN_DEVNODE_CONST	const
#else
#define HFTCHAN_DEVNODE_CONST
#endif

/*
 * Before PMD entries could be special, gup-fast took a reference on whatever one maps, VM_PFNMAP or
 * not: direct I/O and vmsplice() would pin the ring. It doesn't on a "device" entry whose pagemap
 * it can't find, which is what PFN_DEV | PFN_MAP makes of ours. Where entries can be special the
 * same flags would suppress that bit, so never both.
 */
#ifdef HFTCHAN_HAVE_PFN_T
#include <linux/pfn_t.h>

static inline vm_fault_t hftchan_insert_pmd(struct vm_fault *vmf, unsigned long pfn, bool write)
{
	u64 flags = IS_ENABLED(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP) ? 0 : PFN_DEV | PFN_MAP;

	return vmf_insert_pfn_pmd(vmf, __pfn_to_pfn_t(pfn, flags), write);
}
#else
static inline vm_fault_t hftchan_insert_pmd(struct vm_fault *vmf, unsigned long pfn, bool write)
{
	return vmf_insert_pfn_pmd(vmf, pfn, write);
}
#endif

#endif
