// SPDX-License-Identifier: MIT
/*
 * Memory questions that all backends ask: is there enough, on which node, which clock.
 * It allocates nothing itself: each backend maps its own.
 * The contract is in internal.h.
 */
#include <errno.h>
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
