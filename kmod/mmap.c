// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mapping a channel: which regions there are, who may map them, faults.
 * "Why can't I map this?" is answered here; where the pages come from is not.
 * The contract of locks is in hftchan_priv.h; of the regions in uapi/linux/hftchan.h.
 *
 * All regions are VM_PFNMAP: nobody can pin such a page (get_user_pages() refuses), so that what
 * was unmapped can't be written any more. The ring is mapped by PMD entries only, there is no way
 * down to 4-KiB ones: start, length and offset are multiples of 2 MiB or refused.
 */
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>

#include "hftchan_priv.h"

const struct hftchan_region hftchan_regions[HFTCHAN_NR_REGIONS] = {
	[HFTCHAN_REGION_CONTROL] = { .offset = 0 },
	[HFTCHAN_REGION_SENDER] = { .offset = 64 << 10 },
	[HFTCHAN_REGION_SENDER_TX] = { .offset = 128 << 10, .tx = true },
	[HFTCHAN_REGION_RING] = { .offset = PMD_SIZE, .ring = true },
	[HFTCHAN_REGION_RING_TX] = { .offset = 1ULL << 47, .ring = true, .tx = true },
};

static u64 region_size(const struct hftchan_channel *ch, const struct hftchan_region *region)
{
	return region->ring ? (u64)ch->nr_pages << PMD_SHIFT : PAGE_SIZE;
}

static struct hftchan_channel *vma_channel(const struct vm_area_struct *vma)
{
	const struct hftchan_file *hf = vma->vm_file->private_data;

	return hf->ch;
}

static const struct hftchan_region *vma_region(const struct vm_area_struct *vma)
{
	return vma->vm_private_data;
}

/* the page behind a region that is no ring */
static void *small_page(const struct hftchan_channel *ch, const struct hftchan_region *region)
{
	if (region == &hftchan_regions[HFTCHAN_REGION_CONTROL])
		return ch->control;
	return ch->sender;
}

/* from the region's start to that of a page of the mapping */
static u64 region_offset(const struct vm_area_struct *vma, unsigned long addr)
{
	return ((u64)vma->vm_pgoff << PAGE_SHIFT) + (addr - vma->vm_start) -
	       vma_region(vma)->offset;
}

/* Under sem: may this mapping be touched? Its first use may be long after ->mmap(). */
static bool may_touch(const struct vm_area_struct *vma)
{
	const struct hftchan_file *hf = vma->vm_file->private_data;
	const struct hftchan_region *region = vma_region(vma);

	if (region->ring && hf->ch->zapped)
		return false;
	return !region->tx || hftchan_holds_role(hf, vma->vm_mm);
}

/* Take every mapping of a region away, from all processes. Under sem, or they would come back. */
void hftchan_zap(struct hftchan_channel *ch, enum hftchan_region_id id)
{
	const struct hftchan_region *region = &hftchan_regions[id];

	unmap_mapping_range(ch->inode->i_mapping, region->offset, region_size(ch, region), 1);
}

/* ---------------------------------------------------------------- faults */

/*
 * Get sem for a fault. Who holds it for writing may copy a page meanwhile: rather than make all of
 * the process wait behind its mmap_lock, drop that and have the fault repeated.
 */
static vm_fault_t lock_for_fault(struct hftchan_channel *ch, struct vm_fault *vmf)
{
	struct file *file;

	if (down_read_trylock(&ch->sem))
		return 0;
	if (!fault_flag_allow_retry_first(vmf->flags) ||
	    (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)) {
		down_read(&ch->sem);
		return 0;
	}
	/* without the fault's lock the mapping may go, and the channel with it */
	file = get_file(vmf->vma->vm_file);
	release_fault_lock(vmf);
	if (!down_read_killable(&ch->sem))
		up_read(&ch->sem);
	fput(file);
	return VM_FAULT_RETRY;
}

static vm_fault_t page_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct hftchan_channel *ch = vma_channel(vma);
	vm_fault_t ret;

	ret = lock_for_fault(ch, vmf);
	if (ret)
		return ret;
	if (may_touch(vma))
		ret = vmf_insert_pfn(vma, vmf->address,
				     page_to_pfn(virt_to_page(small_page(ch, vma_region(vma)))));
	else
		ret = VM_FAULT_SIGBUS;
	up_read(&ch->sem);
	return ret;
}

static vm_fault_t ring_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct hftchan_channel *ch = vma_channel(vma);
	unsigned long start = vmf->address & PMD_MASK;
	pmd_t pmd = READ_ONCE(*vmf->pmd);
	vm_fault_t ret;

	/*
	 * A page table where only a huge entry can be is nothing of ours, and nothing to build on.
	 * Kernels that let userfaultfd write-protect any mapping may put one there.
	 */
	if ((!pmd_none(pmd) && !pmd_leaf(pmd)) || (vma->vm_flags & VM_UFFD_WP))
		return VM_FAULT_SIGBUS;
	if (start < vma->vm_start || start + PMD_SIZE > vma->vm_end)
		return VM_FAULT_SIGBUS;
	ret = lock_for_fault(ch, vmf);
	if (ret)
		return ret;
	if (may_touch(vma))
		ret = hftchan_insert_pmd(vmf,
					 page_to_pfn(hftchan_page(ch, region_offset(vma, start) >>
								      PMD_SHIFT)),
					 vmf->flags & FAULT_FLAG_WRITE);
	else
		ret = VM_FAULT_SIGBUS;
	up_read(&ch->sem);
	return ret;
}

/* Not called for character devices by the oldest kernels: there ring_fault() is enough. */
static vm_fault_t ring_huge_fault(struct vm_fault *vmf, HFTCHAN_FAULT_SIZE size)
{
	return size == HFTCHAN_FAULT_PMD ? ring_fault(vmf) : VM_FAULT_FALLBACK;
}

/* ---------------------------------------------------------------- what else may touch a mapping */

static int ring_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	return IS_ALIGNED(addr, PMD_SIZE) ? 0 : -EINVAL;
}

static int ring_mremap(struct vm_area_struct *vma)
{
	return IS_ALIGNED(vma->vm_start, PMD_SIZE) ? 0 : -EINVAL;
}

/*
 * For debuggers. Reading only, and only what a fault would map: by way of /proc/PID/mem nobody
 * writes into a ring, not even the sender's own debugger.
 */
static int channel_access(struct vm_area_struct *vma, unsigned long addr, void *buf, int len,
			  int write)
{
	struct hftchan_channel *ch = vma_channel(vma);
	const struct hftchan_region *region = vma_region(vma);
	u64 offset = region_offset(vma, addr);
	size_t room = region->ring ? PMD_SIZE : PAGE_SIZE;
	const void *page;

	if (write)
		return -EACCES;
	len = min_t(size_t, len, room - (offset & (room - 1)));
	down_read(&ch->sem);
	if (may_touch(vma)) {
		page = region->ring ? page_address(hftchan_page(ch, offset >> PMD_SHIFT)) :
				      small_page(ch, region);
		if (copy_mc_to_kernel(buf, page + (offset & (room - 1)), len))
			len = -EIO;
	} else {
		len = -EFAULT;
	}
	up_read(&ch->sem);
	return len;
}

static const struct vm_operations_struct page_vm_ops = {
	.fault = page_fault,
	.access = channel_access,
};

static const struct vm_operations_struct ring_vm_ops = {
	.fault = ring_fault,
	.huge_fault = ring_huge_fault,
	.may_split = ring_may_split,
	.mremap = ring_mremap,
	.access = channel_access,
};

/* ---------------------------------------------------------------- mmap() */

static const struct hftchan_region *find_region(const struct hftchan_channel *ch,
						const struct vm_area_struct *vma)
{
	u64 start = (u64)vma->vm_pgoff << PAGE_SHIFT, length = vma->vm_end - vma->vm_start;
	const struct hftchan_region *region;
	u64 size;

	for (region = hftchan_regions; region < hftchan_regions + HFTCHAN_NR_REGIONS; region++) {
		size = region_size(ch, region);
		if (start < region->offset || start - region->offset >= size ||
		    length > size - (start - region->offset))
			continue;
		if (region->ring &&
		    !IS_ALIGNED(start | length | vma->vm_start, PMD_SIZE))
			return NULL;
		return region;
	}
	return NULL;
}

/* A free address, where a ring can be mapped by huge entries: a hint between two is rounded up. */
unsigned long hftchan_get_unmapped_area(struct file *file, unsigned long addr, unsigned long len,
					unsigned long pgoff, unsigned long flags)
{
	if (!(flags & MAP_FIXED))
		addr = ALIGN(addr, PMD_SIZE);
	return thp_get_unmapped_area(file, addr, len, pgoff, flags);
}

int hftchan_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct hftchan_file *hf = file->private_data;
	struct hftchan_channel *ch = hf->ch;
	const struct hftchan_region *region = find_region(ch, vma);
	int err = 0;

	/* not VM_SHARED: a descriptor opened read-only has lost that by now */
	if (!region || !(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EPERM;
	if (!region->tx && (vma->vm_flags & VM_WRITE))
		return -EACCES;

	/* an early answer; the one that counts is given at each fault */
	down_read(&ch->sem);
	if (ch->dead)
		err = -ENODEV;
	else if (region->tx && !hftchan_holds_role(hf, vma->vm_mm))
		err = -EPERM;
	up_read(&ch->sem);
	if (err)
		return err;

	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vm_flags_clear(vma, VM_MAYEXEC);
	if (region->tx)
		/* a forked child has no sender; VM_IO so that it can't be told to have one */
		vm_flags_set(vma, VM_IO | VM_DONTCOPY);
	else
		vm_flags_clear(vma, VM_MAYWRITE);
	vma->vm_private_data = (void *)region;
	vma->vm_ops = region->ring ? &ring_vm_ops : &page_vm_ops;
	return 0;
}

/* ---------------------------------------------------------------- prefault */

/*
 * Fill the page tables of a range of the caller's, so that nothing faults later. MAP_POPULATE does
 * nothing for VM_PFNMAP.
 */
int hftchan_prefault(struct hftchan_channel *ch, u64 addr, u64 length)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	u64 end = addr + length, next;
	bool unlocked = false;
	int err = 0;

	if (!length || end < addr || !PAGE_ALIGNED(addr | length))
		return -EINVAL;
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	while (!err && addr < end) {
		vma = vma_lookup(mm, addr);
		if (!vma || (vma->vm_ops != &ring_vm_ops && vma->vm_ops != &page_vm_ops) ||
		    vma_channel(vma) != ch) {
			err = -EINVAL;
			break;
		}
		next = vma_region(vma)->ring ? (addr & PMD_MASK) + PMD_SIZE : addr + PAGE_SIZE;
		/* may drop mmap_lock and take it again: vma is not to be used after this */
		err = fixup_user_fault(mm, addr,
				       vma->vm_flags & VM_WRITE ? FAULT_FLAG_WRITE : 0, &unlocked);
		addr = next;
		cond_resched();
	}
	mmap_read_unlock(mm);
	return err;
}
