// SPDX-License-Identifier: GPL-2.0
/*
 * Placement: every page of a ring lies on the node that was asked for, and that may be used.
 * It is not about how much may be taken (limits.c).
 * The contract is at struct hftchan_ioc_create and hftchan_ioc_info in <linux/hftchan.h>.
 */
#include "hftchan_util.h"

#include <sched.h>
#include <linux/mempolicy.h>

#define NODES		"/sys/devices/system/node"
/* also more CPUs than a test needs to know */
#define MAX_NODES	1024

FIXTURE(numa)
{
	int control_fd;
	unsigned char memory[MAX_NODES];	/* the node has some */
	int nodes[2];				/* two of those, -1: there is none */
	char name[HFTCHAN_NAME_BYTES];
};

#define numa_data	FIXTURE_DATA(numa)

/* the numbers of a list such as 0-2,5 in a file, those below MAX_NODES; how many, or -errno */
static int read_list(const char *path, unsigned char *set)
{
	char buf[4096], *at = buf, *end;
	int nr = 0, ret = read_file(path, buf, sizeof(buf));
	long from, to;

	memset(set, 0, MAX_NODES);
	if (ret < 0)
		return ret;
	while (*at) {
		from = strtol(at, &end, 10);
		if (end == at)
			break;
		to = *end == '-' ? strtol(end + 1, &end, 10) : from;
		for (; from <= to && from < MAX_NODES; from++, nr++)
			set[from] = 1;
		at = end + (*end == ',');
	}
	return nr;
}

FIXTURE_SETUP(numa)
{
	int i, nr = 0;

	self->nodes[0] = -1;
	self->nodes[1] = -1;
	ASSERT_LT(0, read_list(NODES "/has_memory", self->memory));
	for (i = 0; i < MAX_NODES && nr < 2; i++)
		if (self->memory[i])
			self->nodes[nr++] = i;
	unique_name(self->name);
	self->control_fd = open_control(O_RDWR);
	ASSERT_LE(0, self->control_fd);
}

FIXTURE_TEARDOWN(numa)
{
	destroy(self->control_fd, self->name, HFTCHAN_DESTROY_F_FORCE);
	close(self->control_fd);
}

static int create_on(numa_data *self, int node, unsigned int pages, int *out_node)
{
	struct hftchan_ioc_create args;
	int ret;

	create_args(&args, self->name, pages);
	args.node = node;
	ret = call(self->control_fd, HFTCHAN_IOC_CREATE, &args);
	*out_node = args.out_node;
	return ret;
}

/* 0, when all @pages of the ring lie on @node by every account, or the line that says otherwise */
static int lies_on(const numa_data *self, int node, unsigned int pages)
{
	__u64 counts[MAX_NODES];
	struct hftchan_ioc_info args = {
		.size = sizeof(args),
		.nr_nodes = MAX_NODES,
		.nodes = (uintptr_t)counts,
	};
	const struct hftchan_control *p;
	int fd = open_node(self->name, O_RDONLY), i;
	char path[256];

	CHECK(fd >= 0);
	memset(counts, 0xff, sizeof(counts));
	CHECK_EQ(0, call(fd, HFTCHAN_IOC_INFO, &args));
	CHECK_EQ(pages, args.out_nr_pages);
	for (i = 0; i < MAX_NODES; i++)
		CHECK_EQ(i == node ? pages : 0, counts[i]);
	/* an array that ends before the node: not counted, and nothing written behind it */
	memset(counts, 0xff, sizeof(counts));
	args.nr_nodes = node ? node : 1;
	CHECK_EQ(0, call(fd, HFTCHAN_IOC_INFO, &args));
	CHECK_EQ(node ? 0 : pages, counts[0]);
	CHECK(counts[args.nr_nodes] == UINT64_MAX);
	p = map_at(fd, HFTCHAN_PAGE_BYTES, PROT_READ, 0);
	CHECK(p);
	CHECK_EQ(node, p->node);
	CHECK_EQ(0, munmap((void *)(uintptr_t)p, HFTCHAN_PAGE_BYTES));
	snprintf(path, sizeof(path), SYSFS_CLASS "/hftchan-%s/node", self->name);
	CHECK_EQ(node, read_number(path));
	close(fd);
	return 0;
}

/* KiB that a node has free; the kernel's own account of where the memory went */
static long long free_kib(int node)
{
	char path[64], buf[4096], *at;
	int ret;

	snprintf(path, sizeof(path), NODES "/node%d/meminfo", node);
	ret = read_file(path, buf, sizeof(buf));
	if (ret < 0)
		return ret;
	at = strstr(buf, "MemFree:");
	return at ? strtoll(at + strlen("MemFree:"), NULL, 10) : -ENOENT;
}

TEST_F_TIMEOUT(numa, each_node, LONG_TIMEOUT)
{
	/* many, since what each CPU holds back of a node's free pages is no part of the account */
	const unsigned int pages = 128;
	const long long kib = pages * (HUGE_BYTES >> 10);
	int i, out_node;

	for (i = 0; i < MAX_NODES; i++) {
		long long before[2], taken[2];
		int j;

		if (!self->memory[i])
			continue;
		for (j = 0; j < 2; j++)
			before[j] = free_kib(self->nodes[j]);
		ASSERT_EQ(0, create_on(self, i, pages, &out_node));
		EXPECT_EQ(i, out_node);
		EXPECT_EQ(0, lies_on(self, i, pages));
		for (j = 0; j < 2 && self->nodes[j] >= 0; j++) {
			taken[j] = before[j] - free_kib(self->nodes[j]);
			EXPECT_TRUE(self->nodes[j] == i ? taken[j] >= kib / 2 : taken[j] < kib / 4)
				TH_LOG("node %d lost %lld KiB", self->nodes[j], taken[j]);
		}
		ASSERT_EQ(0, destroy(self->control_fd, self->name, 0));
	}
}

TEST_F(numa, no_such_node)
{
	int i, out_node;

	/* those without memory, with CPUs or not, are among them where the machine has such */
	for (i = 0; i < 1100; i++) {
		if (i < MAX_NODES && self->memory[i])
			continue;
		EXPECT_EQ(-EINVAL, create_on(self, i, 1, &out_node))
			TH_LOG("node %d", i);
	}
}

/* -1, when the node has no CPU */
static int cpu_of(int node)
{
	unsigned char cpus[MAX_NODES];
	char path[64];
	int cpu;

	snprintf(path, sizeof(path), NODES "/node%d/cpulist", node);
	if (read_list(path, cpus) <= 0)
		return -1;
	for (cpu = 0; !cpus[cpu]; cpu++)
		;
	return cpu;
}

static int run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return neg_errno(sched_setaffinity(0, sizeof(set), &set));
}

TEST_F(numa, node_of_the_cpu)
{
	int i, seen = 0, out_node;

	for (i = 0; i < MAX_NODES; i++) {
		int cpu;

		if (!self->memory[i])
			continue;
		cpu = cpu_of(i);
		if (cpu < 0)
			continue;
		ASSERT_EQ(0, run_on(cpu));
		ASSERT_EQ(0, create_on(self, -1, 4, &out_node));
		EXPECT_EQ(i, out_node);
		EXPECT_EQ(0, lies_on(self, i, 4));
		ASSERT_EQ(0, destroy(self->control_fd, self->name, 0));
		seen++;
	}
	EXPECT_LT(0, seen);
}

/* a policy is for memory that faults come for; a node that was named is named */
TEST_F(numa, memory_policy)
{
	static const int modes[] = { MPOL_BIND, MPOL_PREFERRED, MPOL_INTERLEAVE };
	unsigned long mask;
	int out_node;
	size_t i;

	if (self->nodes[1] < 0)
		SKIP(return, "one NUMA node has memory, two are needed");
	ASSERT_GT(64, self->nodes[1]);
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		mask = 1UL << self->nodes[1];
		ASSERT_EQ(0, syscall(SYS_set_mempolicy, modes[i], &mask, 64UL));
		EXPECT_EQ(0, create_on(self, self->nodes[0], 4, &out_node));
		EXPECT_EQ(0, lies_on(self, self->nodes[0], 4));
		EXPECT_EQ(0, destroy(self->control_fd, self->name, 0));
	}
	EXPECT_EQ(0, syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0UL));
}

struct confined {
	numa_data *self;
	const struct cgroup *group;
};

static int confined(int fd, void *arg)
{
	struct confined *c = arg;
	numa_data *self = c->self;
	int ret, out_node, cpu = cpu_of(self->nodes[1]);

	CHECK_EQ(0, cgroup_enter(c->group));
	CHECK_EQ(-EPERM, create_on(self, self->nodes[1], 4, &out_node));
	CHECK_EQ(0, create_on(self, self->nodes[0], 4, &out_node));
	CHECK_EQ(self->nodes[0], out_node);
	CHECK_EQ(0, lies_on(self, self->nodes[0], 4));
	CHECK_EQ(0, destroy(self->control_fd, self->name, 0));
	if (cpu < 0 || run_on(cpu))
		return 0;
	/* the CPU's own node is forbidden: refused, or one that is not */
	ret = create_on(self, -1, 4, &out_node);
	if (ret == -EPERM)
		return 0;
	CHECK_EQ(0, ret);
	CHECK_EQ(self->nodes[0], out_node);
	CHECK_EQ(0, lies_on(self, self->nodes[0], 4));
	return destroy(self->control_fd, self->name, 0);
}

TEST_F(numa, cpuset)
{
	struct cgroup group;
	struct confined c = { .self = self, .group = &group };
	char text[32], cpus[256];

	if (self->nodes[1] < 0)
		SKIP(return, "one NUMA node has memory, two are needed");
	ASSERT_EQ(0, cgroup_make(&group, "cpuset"));
	snprintf(text, sizeof(text), "%d", self->nodes[0]);
	EXPECT_EQ(0, cgroup_write(&group, "cpuset.mems", text));
	if (group.v1) {
		EXPECT_LT(0, read_file("/sys/devices/system/cpu/online", cpus, sizeof(cpus)));
		EXPECT_EQ(0, cgroup_write(&group, "cpuset.cpus", cpus));
	}
	EXPECT_EQ(0, run_child(confined, &c));
	EXPECT_EQ(0, cgroup_remove(&group));
}

/* More than the node has: nothing comes from another one, and all of it goes back. */
TEST_F_TIMEOUT(numa, node_has_too_little, LONG_TIMEOUT)
{
	long long held = held_bytes(self->control_fd), free_before, free_after;
	char max_mib[64];
	struct hftchan_ioc_create args;
	__u64 pages = 1;
	int node;

	if (self->nodes[1] < 0)
		SKIP(return, "one NUMA node has memory, two are needed");
	node = self->nodes[1];
	free_before = free_kib(node);
	ASSERT_LT(0, free_before);
	if (free_before > 4 << 20)
		SKIP(return, "node %d has %lld KiB free, too much to take", node, free_before);
	while (pages * (HUGE_BYTES >> 10) <= (__u64)free_before)
		pages *= 2;
	ASSERT_LT(0, read_file(MODULE_PARAMS "/max_mib", max_mib, sizeof(max_mib)));
	ASSERT_EQ(0, write_file(MODULE_PARAMS "/max_mib", "1000000"));
	create_args(&args, self->name, 1);
	args.nr_slots = pages * SLOTS_PER_PAGE;
	args.node = node;
	EXPECT_EQ(-ENOMEM, call(self->control_fd, HFTCHAN_IOC_CREATE, &args));
	EXPECT_EQ(0, write_file(MODULE_PARAMS "/max_mib", max_mib));
	EXPECT_EQ(node, args.out_node);
	EXPECT_LT(args.out_nr_pages, pages);
	EXPECT_LE(free_before / (HUGE_BYTES >> 10) / 2, args.out_nr_pages);
	EXPECT_EQ(held, held_finally(self->control_fd, held));
	EXPECT_FALSE(node_exists(self->name));
	free_after = free_kib(node);
	/* but for what CPUs hold back of it */
	EXPECT_LE(free_before - (128 << 10), free_after);
	EXPECT_EQ(0, create_on(self, node, 4, &node));
}

TEST_HARNESS_MAIN
