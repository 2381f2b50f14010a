// SPDX-License-Identifier: MIT
/*
 * Memory questions that all backends ask: is there enough, on which node, which clock; mapping.
 * It makes no channel's memory itself: each backend has its own.
 * The contract is in internal.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <mntent.h>
#include <numa.h>
#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

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
	if (node > numa_max_node() || !numa_bitmask_isbitset(numa_nodes_ptr, (unsigned int)node))
		return hftchan_fail(ENODEV,
				    "%s: node %d does not exist; see: numactl --hardware", full,
				    node);
	if (numa_node_size64(node, NULL) <= 0)
		return hftchan_fail(ENODEV,
				    "%s: node %d has no memory; see: numactl --hardware", full,
				    node);
	if (!numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned int)node))
		return hftchan_fail(ENODEV,
				    "%s: node %d is not allowed to this process by its cpuset; "
				    "see: grep Mems_allowed_list /proc/self/status",
				    full, node);
	return 0;
}

/* ---------------------------------------------------------------- is there enough? */

/* The number behind @key in a file of "key number" lines; "" is the key of a file of one number. */
static bool read_number(const char *dir, const char *file, const char *key, uint64_t *value)
{
	char path[PATH_MAX], line[128];
	size_t len = strlen(key);
	bool found = false;
	FILE *f;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, file) >= sizeof(path))
		return false;
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = !strncmp(line, key, len) && sscanf(line + len, "%" SCNu64, value) == 1;
	if (f)
		fclose(f);
	return found;
}

/* The memory controller of either version of cgroups, and how it calls things. */
static const struct memory_cgroup {
	const char *fs, *mount_option, *controller;
	const char *limit, *usage, *inactive, *active;
} memory_cgroups[] = {
	{ "cgroup2", NULL, "", "memory.max", "memory.current", "inactive_file ", "active_file " },
	{ "cgroup", "memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
	  "total_inactive_file ", "total_active_file " },
};

/* This process's cgroup, as the line of /proc/self/cgroup "NUMBER:CONTROLLER:PATH" has it. */
static bool own_cgroup(const char *controller, char *path, size_t size)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char *line = NULL, *name, *end;
	bool found = false;
	size_t room = 0;

	while (f && !found && getline(&line, &room, f) > 0) {
		name = strchr(line, ':');
		end = name ? strchr(name + 1, ':') : NULL;
		if (!end || (size_t)(end - name - 1) != strlen(controller) ||
		    strncmp(name + 1, controller, strlen(controller)) != 0)
			continue;
		end[strcspn(end, "\n")] = 0;
		found = (size_t)snprintf(path, size, "%s", end + 1) < size;
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

/* Lower *@room to what this cgroup and those above it leave; file cache can be given up. */
static void cgroup_room(const struct memory_cgroup *g, const char *mount, uint64_t *room)
{
	uint64_t limit, usage, inactive, active, left;
	char path[PATH_MAX / 2], dir[PATH_MAX];
	char *end;

	if (!own_cgroup(g->controller, path, sizeof(path)) ||
	    (size_t)snprintf(dir, sizeof(dir), "%s%s", mount, path) >= sizeof(dir))
		return;
	/* in a container the path may not be there, but its own cgroup is mounted then */
	for (;;) {
		if (read_number(dir, g->limit, "", &limit) &&
		    read_number(dir, g->usage, "", &usage) &&
		    read_number(dir, "memory.stat", g->inactive, &inactive) &&
		    read_number(dir, "memory.stat", g->active, &active)) {
			left = limit + inactive + active > usage ?
				limit + inactive + active - usage : 0;
			if (left < *room)
				*room = left;
		}
		end = strrchr(dir, '/');
		if (!end || (size_t)(end - dir) < strlen(mount))
			return;
		*end = 0;
	}
}

/*
 * 0, or -ENOMEM when the memory that the kernel calls available, to the machine and to this
 * process's cgroup, can't hold so much: filling it anyway would end with the OOM killer, not with
 * an error.
 */
int hftchan_room_check(const char *full, uint64_t bytes)
{
	uint64_t kib, machine = UINT64_MAX, room;
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	const size_t nr = sizeof(memory_cgroups) / sizeof(memory_cgroups[0]);
	const struct memory_cgroup *g;
	struct mntent *m;

	if (read_number("/proc", "meminfo", "MemAvailable:", &kib))
		machine = kib * 1024;
	room = machine;
	while (mounts && (m = getmntent(mounts)))
		for (g = memory_cgroups; g < memory_cgroups + nr; g++)
			if (!strcmp(m->mnt_type, g->fs) &&
			    (!g->mount_option || hasmntopt(m, g->mount_option)))
				cgroup_room(g, m->mnt_dir, &room);
	if (mounts)
		endmntent(mounts);
	if (bytes <= room)
		return 0;
	return hftchan_fail(ENOMEM,
			    "%s: the ring needs %" PRIu64 " MiB, this %s has %" PRIu64
			    " MiB available; "
			    "take fewer slots or a smaller payload%s",
			    full, bytes / MIB, room < machine ? "memory cgroup" : "machine",
			    room / MIB, room < machine ? ", or raise the cgroup's limit" : "");
}

/* ---------------------------------------------------------------- where it lies */

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

/* For mappings that move_pages() tells something about. */
ssize_t hftchan_mapped_placement(const struct hftchan *ch, uint64_t *pages, unsigned int nr_nodes)
{
	enum { CHUNK = 512 };
	const size_t page = ch->geometry.page_size;
	const uint64_t total = ch->view.ring_bytes / page;
	char *base = ch->view.ring;
	uint64_t told = 0, i, j, n;
	void *addr[CHUNK];
	int node[CHUNK];

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

/* ---------------------------------------------------------------- mapping */

/* The very file that was checked, opened again: not what its path may name by now. */
int hftchan_reopen(int fd, int flags)
{
	char self[32];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return open(self, flags | O_CLOEXEC);
}

/* Bytes that a mapping of the ring has. */
uint64_t hftchan_ring_bytes(const struct hftchan_control *g)
{
	return hftchan_round_up(g->ring_size, g->page_size);
}

int hftchan_no_map(const char *full, const struct hftchan_control *g)
{
	if (errno == ENODEV)
		return hftchan_gone(full);
	/* EAGAIN is how mmap() says that RLIMIT_MEMLOCK is reached; trying again won't help */
	return hftchan_fail(errno == EAGAIN ? ENOMEM : errno,
			    "%s: can't map %" PRIu64 " MiB: %m; see ulimit -v and ulimit -l", full,
			    hftchan_ring_bytes(g) / MIB);
}

/*
 * Map the three regions, populated where MAP_POPULATE can do it: as a receiver reads them, or as
 * the @sender writes them. @ring_fd may be @fd.
 */
int hftchan_map_view(const char *full, const struct hftchan_control *g, int fd, int ring_fd,
		     bool sender, int control_prot, struct view *view)
{
	off_t sender_offset = (off_t)(sender ? g->sender_tx_offset : g->sender_offset);
	off_t ring_offset = (off_t)(sender ? g->ring_tx_offset : g->ring_offset);
	int prot = sender ? PROT_READ | PROT_WRITE : PROT_READ;
	int flags = MAP_SHARED | MAP_POPULATE, err;
	void *p;

	view->ring_bytes = hftchan_ring_bytes(g);
	p = mmap(NULL, HFTCHAN_PAGE_BYTES, control_prot, flags, fd, 0);
	if (p == MAP_FAILED)
		goto err_unmap;
	view->control = p;
	p = mmap(NULL, HFTCHAN_PAGE_BYTES, prot, flags, fd, sender_offset);
	if (p == MAP_FAILED)
		goto err_unmap;
	view->sender = p;
	p = mmap(NULL, view->ring_bytes, prot, flags, ring_fd, ring_offset);
	if (p == MAP_FAILED)
		goto err_unmap;
	view->ring = p;
	return 0;

err_unmap:
	err = hftchan_no_map(full, g);
	hftchan_unmap_view(view);
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

/* Close a channel whose handle has a view and a descriptor, each as far as it got. */
void hftchan_close_mapped(struct hftchan *ch)
{
	hftchan_unmap_view(&ch->view);
	if (ch->fd >= 0)
		close(ch->fd);
}
