// SPDX-License-Identifier: GPL-2.0-only
/*
 * A ring's pages: from which node, charged to whom, given back.
 * It maps nothing.
 * The contract is in hftchan_priv.h; of the limits in uapi/linux/hftchan.h.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpuset.h>
#include <linux/cred.h>
#include <linux/gfp.h>
#include <linux/moduleparam.h>
#include <linux/nodemask.h>
#include <linux/page-flags.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/topology.h>

#include "hftchan_priv.h"

static unsigned long max_mib;
module_param(max_mib, ulong, 0644);
MODULE_PARM_DESC(max_mib, "MiB that all rings together may take (0: half of the memory)");

static unsigned long max_mib_per_uid;
module_param(max_mib_per_uid, ulong, 0644);
MODULE_PARM_DESC(max_mib_per_uid, "MiB that the rings made by one uid may take (0: as max_mib)");

static atomic_long_t pages_held;	/* of PMD_SIZE */

unsigned long hftchan_pages_held(void)
{
	return atomic_long_read(&pages_held);
}

/* ---------------------------------------------------------------- limits */

static u64 limit_total(void)
{
	unsigned long mib = READ_ONCE(max_mib);

	if (!mib)
		return (u64)totalram_pages() / 2 << PAGE_SHIFT;
	return mib > U64_MAX >> 20 ? U64_MAX : (u64)mib << 20;
}

static u64 limit_per_uid(void)
{
	unsigned long mib = READ_ONCE(max_mib_per_uid);

	if (!mib)
		return limit_total();
	return mib > U64_MAX >> 20 ? U64_MAX : (u64)mib << 20;
}

/* What all channels, and those that @uid made, are charged. Under hftchan_lock. */
static void charged(kuid_t uid, u64 *total, u64 *of_uid)
{
	struct hftchan_channel *ch;

	*total = 0;
	*of_uid = 0;
	list_for_each_entry(ch, &hftchan_channels, list) {
		*total += ch->charged;
		if (uid_eq(ch->creator, uid))
			*of_uid += ch->charged;
	}
}

static bool charge_memlock(struct hftchan_channel *ch, u64 bytes)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	struct user_struct *user;
	long old;

	if (capable(CAP_IPC_LOCK))
		return true;
	user = get_uid(current_user());
	old = atomic_long_read(&user->locked_vm);
	do {
		if (old + (bytes >> PAGE_SHIFT) > limit) {
			free_uid(user);
			return false;
		}
	} while (!atomic_long_try_cmpxchg(&user->locked_vm, &old, old + (bytes >> PAGE_SHIFT)));
	ch->locked_by = user;
	return true;
}

/* Before any of it is allocated; the memory cgroup is charged page by page. */
int hftchan_charge(struct hftchan_channel *ch)
{
	u64 bytes = (u64)ch->nr_pages << PMD_SHIFT, total, of_uid;
	int err = 0;

	mutex_lock(&hftchan_lock);
	charged(ch->creator, &total, &of_uid);
	if (total + bytes > limit_total() || of_uid + bytes > limit_per_uid() ||
	    !charge_memlock(ch, bytes))
		err = -ENOSPC;
	else
		ch->charged = bytes;
	mutex_unlock(&hftchan_lock);
	return err;
}

void hftchan_uncharge(struct hftchan_channel *ch)
{
	mutex_lock(&hftchan_lock);
	if (ch->locked_by) {
		atomic_long_sub(ch->charged >> PAGE_SHIFT, &ch->locked_by->locked_vm);
		free_uid(ch->locked_by);
		ch->locked_by = NULL;
	}
	ch->charged = 0;
	mutex_unlock(&hftchan_lock);
}

void hftchan_limits(struct hftchan_ioc_limits *limits)
{
	struct hftchan_channel *ch;

	limits->out_abi_version = HFTCHAN_ABI_VERSION;
	limits->out_compat_version = HFTCHAN_ABI_VERSION;
	limits->out_max_bytes = limit_total();
	limits->out_max_bytes_uid = limit_per_uid();
	limits->out_locked_bytes = (u64)atomic_long_read(&current_user()->locked_vm) << PAGE_SHIFT;
	limits->out_max_channels = HFTCHAN_MAX_CHANNELS;
	limits->out_nr_channels = 0;
	mutex_lock(&hftchan_lock);
	charged(current_uid(), &limits->out_bytes, &limits->out_bytes_uid);
	list_for_each_entry(ch, &hftchan_channels, list)
		limits->out_nr_channels++;
	mutex_unlock(&hftchan_lock);
}

/* ---------------------------------------------------------------- pages */

/* The node to allocate on, or why none. */
int hftchan_pick_node(int asked)
{
	nodemask_t allowed;

	nodes_and(allowed, cpuset_current_mems_allowed, node_states[N_MEMORY]);
	if (asked == NUMA_NO_NODE) {
		asked = numa_mem_id();
		if (!node_isset(asked, allowed))
			asked = first_node(allowed);
		return asked < MAX_NUMNODES ? asked : -ENOMEM;
	}
	/* a number without a node would be an oops further on */
	if (asked < 0 || asked >= MAX_NUMNODES || !node_state(asked, N_MEMORY))
		return -EINVAL;
	return node_isset(asked, allowed) ? asked : -EPERM;
}

/*
 * All of the ring, on its node and nowhere else, or nothing: what was got stays in ch->pages, for
 * end_channel(). @got: how many pages that was.
 * GFP_USER, because a task that a cpuset confines would escape it with GFP_KERNEL.
 */
int hftchan_alloc_ring(struct hftchan_channel *ch, u64 *got)
{
	const gfp_t gfp = GFP_USER | __GFP_ACCOUNT | __GFP_COMP | __GFP_ZERO | __GFP_THISNODE |
			  __GFP_NOWARN | __GFP_RETRY_MAYFAIL;
	unsigned long i;
	struct page *page;

	ch->pages = kvcalloc(ch->nr_pages, sizeof(*ch->pages), GFP_KERNEL_ACCOUNT);
	if (!ch->pages)
		return -ENOMEM;
	for (i = 0; i < ch->nr_pages; i++) {
		if (signal_pending(current))
			return -EINTR;
		page = alloc_pages_node(ch->node, gfp, HPAGE_PMD_ORDER);
		if (!page)
			return -ENOMEM;
		atomic_long_inc(&pages_held);
		RCU_INIT_POINTER(ch->pages[i], page);
		*got = i + 1;
		cond_resched();
	}
	return 0;
}

/*
 * Take all pages out of the table, which nobody maps any more. Under sem for writing; whoever reads
 * under RCU may still have one of them until hftchan_free_pages() has waited.
 */
void hftchan_take_pages(struct hftchan_channel *ch, struct list_head *pages)
{
	struct page *page;
	unsigned long i;

	for (i = 0; i < ch->nr_pages; i++) {
		page = rcu_replace_pointer(ch->pages[i], NULL, lockdep_is_held(&ch->sem));
		if (page)
			list_add(&page->lru, pages);
	}
}

static bool poisoned(struct page *page)
{
	unsigned long i;

	for (i = 0; i < HPAGE_PMD_NR; i++)
		if (PageHWPoison(page + i))
			return true;
	return false;
}

/* Give the pages of hftchan_take_pages() back. */
void hftchan_free_pages(struct hftchan_channel *ch, struct list_head *pages)
{
	struct page *page, *next;

	if (!list_empty(pages))
		synchronize_rcu();
	list_for_each_entry_safe(page, next, pages, lru) {
		list_del(&page->lru);
		atomic_long_dec(&pages_held);
		if (poisoned(page))
			pr_warn("%s: a page on node %d has a memory error and is kept from further use\n",
				ch->name, page_to_nid(page));
		else
			__free_pages(page, HPAGE_PMD_ORDER);
		cond_resched();
	}
}
