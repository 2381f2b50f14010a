// SPDX-License-Identifier: MIT
/*
 * Backend "local:": a channel between the threads of one process, in private memory.
 * It has no name that others could open; it lives as long as its handles.
 * The contract is struct backend in internal.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB	(21 << 26)
#endif

static void *map_private(size_t bytes, int flags)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1,
		       0);

	return p == MAP_FAILED ? NULL : p;
}

/* All of it in memory now, on the node it was bound to, so that no send or receive faults. */
static int populate(const char *full, void *p, size_t bytes, int node)
{
	int err = hftchan_bind(full, p, bytes, node);

	if (err)
		return err;
	if (madvise(p, bytes, MADV_POPULATE_WRITE))
		return hftchan_fail(errno == EFAULT ? ENOMEM : errno,
				    "%s: can't get %" PRIu64 " MiB of memory: %m; take fewer slots",
				    full,
				    bytes / MIB);
	return 0;
}

/* Huge pages when the system has some free, otherwise transparent ones when it gives them. */
static int map_ring(struct hftchan *ch, int node)
{
	struct hftchan_control *g = &ch->geometry;
	size_t bytes, spare;
	char *p, *aligned;
	int err;

	if (g->ring_size >= HUGE_PAGE) {
		bytes = hftchan_round_up(g->ring_size, HUGE_PAGE);
		p = map_private(bytes, MAP_HUGETLB | MAP_HUGE_2MB);
		if (p && !populate(ch->name, p, bytes, node)) {
			g->page_size = HUGE_PAGE;
			ch->view.ring = p;
			ch->view.ring_bytes = bytes;
			return 0;
		}
		if (p)
			munmap(p, bytes);
	}

	err = hftchan_room_check(ch->name, g->ring_size);
	if (err)
		return err;
	g->page_size = (uint32_t)sysconf(_SC_PAGESIZE);
	bytes = hftchan_round_up(g->ring_size, g->page_size);
	spare = bytes >= HUGE_PAGE ? HUGE_PAGE : 0;
	p = map_private(bytes + spare, 0);
	if (!p)
		return hftchan_fail(ENOMEM, "%s: can't map %" PRIu64 " MiB; take fewer slots",
				    ch->name, bytes / MIB);
	aligned = p;
	if (spare) {
		aligned = p + (-(uintptr_t)p & (HUGE_PAGE - 1));
		if (aligned > p)
			munmap(p, (size_t)(aligned - p));
		if (spare > (size_t)(aligned - p))
			munmap(aligned + bytes, spare - (size_t)(aligned - p));
		madvise(aligned, bytes, MADV_HUGEPAGE);
	}
	ch->view.ring = aligned;
	ch->view.ring_bytes = bytes;
	return populate(ch->name, aligned, bytes, node);
}

static void local_close(struct hftchan *ch)
{
	if (ch->pid == getpid())	/* a forked child inherited none of it */
		hftchan_unmap_view(&ch->view);
}

static int local_create(const char *full, const struct hftchan_attr *attr,
			const struct hftchan_control *geometry, struct hftchan **chp)
{
	struct hftchan *ch;
	int err;

	if (!chp)
		return hftchan_fail(EINVAL, "local: has no name, so create must return its handle");
	ch = hftchan_alloc(&hftchan_local, full, geometry);
	if (!ch)
		return hftchan_fail(ENOMEM, "%s: out of memory", full);
	ch->st.st_uid = geteuid();
	ch->st.st_gid = getegid();
	ch->st.st_mode = 0600;

	err = map_ring(ch, attr->node);
	if (err)
		goto err_close;
	ch->view.control = map_private(HFTCHAN_PAGE_BYTES, MAP_POPULATE);
	ch->view.sender = map_private(HFTCHAN_PAGE_BYTES, MAP_POPULATE);
	if (!ch->view.control || !ch->view.sender) {
		err = hftchan_fail(ENOMEM, "%s: out of memory", full);
		goto err_close;
	}
	/* a child's private copy would be a channel that nobody else is on */
	madvise(ch->view.control, HFTCHAN_PAGE_BYTES, MADV_DONTFORK);
	madvise(ch->view.sender, HFTCHAN_PAGE_BYTES, MADV_DONTFORK);
	madvise(ch->view.ring, ch->view.ring_bytes, MADV_DONTFORK);

	*ch->view.control = ch->geometry;
	hftchan_ring_setup(&ch->ring, &ch->geometry, ch->view.ring);
	*chp = ch;
	return 0;

err_close:
	hftchan_close(ch);
	return err;
}

static int local_open(const char *full, uid_t owner, struct hftchan **chp)
{
	(void)owner;
	(void)chp;
	return hftchan_fail(EINVAL, "%s has no name to open: use the handle that create returned",
			    full);
}

static int local_destroy(const char *full, unsigned int flags)
{
	(void)flags;
	return hftchan_fail(EINVAL,
			    "%s has no name to destroy: it ends with its last handle", full);
}

static int local_take_role(struct tx *tx)
{
	if (atomic_exchange_explicit(&tx->ch->sending, true, memory_order_acquire))
		return hftchan_fail(EBUSY,
				    "%s: another sender of this process holds the role; detach it first",
				    tx->ch->name);
	tx->view = tx->ch->view;
	return 0;
}

static void local_drop_role(struct tx *tx)
{
	tx->view = (struct view){ 0 };
	atomic_store_explicit(&tx->ch->sending, false, memory_order_release);
}

const struct backend hftchan_local = {
	.prefix = "local:",
	.create = local_create,
	.open = local_open,
	.destroy = local_destroy,
	.take_role = local_take_role,
	.drop_role = local_drop_role,
	.begin_epoch = hftchan_begin_epoch,
	.end_epoch = hftchan_end_epoch,
	.ask = hftchan_ask_page,
	.placement = hftchan_mapped_placement,
	.close = local_close,
};
