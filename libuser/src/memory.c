// SPDX-License-Identifier: MIT
/*
 * Memory questions that all backends ask: is there enough, on which node, which clock.
 * It allocates nothing itself: each backend maps its own.
 * The contract is in internal.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <numa.h>
#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "internal.h"

uint64_t hftchan_round_up(uint64_t bytes, uint64_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

/* Zeroed, and on lines of its own: two threads' handles must not share one. */
void *hftchan_zalloc(size_t bytes)
{
	size_t whole = hftchan_round_up(bytes, 128);
	void *p = aligned_alloc(128, whole);

	return p ? memset(p, 0, whole) : NULL;
}

uint64_t hftchan_now_ns(int clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* 0, or why a ring can't be put on this node. Asked before anything is made. */
int hftchan_node_check(const char *full, int node)
{
	if (node == -1)
		return 0;
	if (node < -1)
		return hftchan_fail(EINVAL, "%s: node %d: a NUMA node's number is 0 or more", full,
				    node);
	if (numa_available() < 0) {
		if (node == 0)
			return 0;
		return hftchan_fail(ENODEV, "%s: node %d: this kernel knows no NUMA nodes but 0",
				    full, node);
	}
	if (node > numa_max_node() ||
	    !numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned int)node))
		return hftchan_fail(ENODEV,
				    "%s: node %d does not exist, has no memory or is not allowed to this process; "
				    "see: numactl --hardware, and the process's cpuset",
				    full, node);
	return 0;
}

/*
 * 0, or -ENOMEM when the memory that the kernel calls available can't hold so much: filling it
 * anyway would end with the OOM killer, not with an error.
 */
int hftchan_room_check(const char *full, uint64_t bytes)
{
	FILE *f = fopen("/proc/meminfo", "re");
	uint64_t kib = 0;
	char line[128];

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kib) == 1)
			break;
	fclose(f);
	if (kib && bytes > kib * 1024)
		return hftchan_fail(ENOMEM,
				    "%s: the ring needs %" PRIu64 " MiB, this machine has %" PRIu64
				    " MiB available; "
				    "take fewer slots or a smaller payload",
				    full, bytes / MIB, kib / 1024);
	return 0;
}

/* Pages of this mapping that are not allocated yet come from @node only. */
int hftchan_bind(const char *full, void *addr, size_t bytes, int node)
{
	struct bitmask *mask;
	int err = 0;

	if (node < 0 || numa_available() < 0)
		return 0;
	mask = numa_bitmask_alloc((unsigned int)numa_max_possible_node() + 1);
	numa_bitmask_setbit(mask, (unsigned int)node);
	if (mbind(addr, bytes, MPOL_BIND, mask->maskp, mask->size + 1, 0))
		err = hftchan_fail(errno, "%s: can't bind the ring to node %d: %m", full, node);
	numa_bitmask_free(mask);
	return err;
}

void hftchan_unmap_view(struct view *view)
{
	if (view->control)
		munmap(view->control, HFTCHAN_PAGE_BYTES);
	if (view->sender)
		munmap(view->sender, HFTCHAN_PAGE_BYTES);
	if (view->ring)
		munmap(view->ring, view->ring_bytes);
	*view = (struct view){ 0 };
}

ssize_t hftchan_placement(struct hftchan *ch, uint64_t *pages, unsigned int nr_nodes)
{
	enum { CHUNK = 512 };
	const size_t page = ch->geometry.page_size;
	const uint64_t total = ch->view.ring_bytes / page;
	char *base = ch->view.ring;
	uint64_t told = 0, i, j, n;
	void *addr[CHUNK];
	int node[CHUNK];

	for (i = 0; i < nr_nodes; i++)
		pages[i] = 0;
	for (i = 0; i < total; i += n) {
		n = total - i < CHUNK ? total - i : CHUNK;
		for (j = 0; j < n; j++)
			addr[j] = base + (i + j) * page;
		if (move_pages(0, n, addr, NULL, node, 0))
			return hftchan_fail(errno, "%s: can't ask where the pages lie: %m",
					    ch->name);
		for (j = 0; j < n; j++)
			if (node[j] >= 0 && (unsigned int)node[j] < nr_nodes) {
				pages[node[j]]++;
				told++;
			}
	}
	return (ssize_t)told;
}
