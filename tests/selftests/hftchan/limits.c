// SPDX-License-Identifier: GPL-2.0
/*
 * How much may be taken, who is charged, and that all of it comes back.
 * It is not about where it is taken from (numa.c).
 * The contract is at struct hftchan_ioc_create and hftchan_ioc_limits in <linux/hftchan.h>.
 */
#include "hftchan_util.h"

#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/time.h>

#define USER		12345
#define OTHER_USER	12346

FIXTURE(limits)
{
	int control_fd;
	long long held;
	unsigned int nr_channels;
	char max_mib[32], max_mib_per_uid[32];
	char name[HFTCHAN_NAME_BYTES];
};

#define limits_data	FIXTURE_DATA(limits)

FIXTURE_SETUP(limits)
{
	struct hftchan_ioc_limits l;

	self->control_fd = open_control(O_RDWR);
	ASSERT_LE(0, self->control_fd);
	ASSERT_EQ(0, settle(self->control_fd));
	ASSERT_EQ(0, limits(self->control_fd, &l));
	self->held = l.out_bytes;
	self->nr_channels = l.out_nr_channels;
	ASSERT_LT(0, read_file(MODULE_PARAMS "/max_mib", self->max_mib, sizeof(self->max_mib)));
	ASSERT_LT(0, read_file(MODULE_PARAMS "/max_mib_per_uid", self->max_mib_per_uid,
			       sizeof(self->max_mib_per_uid)));
	unique_name(self->name);
}

FIXTURE_TEARDOWN(limits)
{
	struct hftchan_ioc_limits l;

	/* whatever happened */
	EXPECT_EQ(0, write_file(MODULE_PARAMS "/max_mib", self->max_mib));
	EXPECT_EQ(0, write_file(MODULE_PARAMS "/max_mib_per_uid", self->max_mib_per_uid));
	destroy(self->control_fd, self->name, HFTCHAN_DESTROY_F_FORCE);
	EXPECT_EQ(0, settle(self->control_fd));
	EXPECT_EQ(0, limits(self->control_fd, &l));
	EXPECT_EQ(self->held, l.out_bytes);
	EXPECT_EQ(self->nr_channels, l.out_nr_channels);
	close(self->control_fd);
}

static int set_mib(const char *parameter, unsigned long long mib)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), MODULE_PARAMS "/%s", parameter);
	snprintf(text, sizeof(text), "%llu", mib);
	return write_file(path, text);
}

/* ---- RLIMIT_MEMLOCK ------------------------------------------------------------------------ */

static long long locked_bytes(int control_fd)
{
	struct hftchan_ioc_limits l;
	int ret = limits(control_fd, &l);

	return ret ? ret : (long long)l.out_locked_bytes;
}

static int set_memlock(rlim_t bytes)
{
	struct rlimit limit = { .rlim_cur = bytes, .rlim_max = bytes };

	return neg_errno(setrlimit(RLIMIT_MEMLOCK, &limit));
}

static int same_user(int fd, void *arg)
{
	limits_data *self = arg;

	CHECK_EQ(4 << 20, locked_bytes(self->control_fd));
	CHECK_EQ(-ENOSPC, create(self->control_fd, "selftest-limits-c", 1));
	return 0;
}

static int with_memlock(int fd, void *arg)
{
	limits_data *self = arg;
	struct hftchan_ioc_limits l;
	int node;

	CHECK_EQ(0, set_memlock(4 << 20));
	CHECK_EQ(0, become(USER));
	CHECK_EQ(0, locked_bytes(self->control_fd));
	CHECK_EQ(-ENOSPC, create(self->control_fd, "selftest-limits-a", 4));
	CHECK_EQ(0, locked_bytes(self->control_fd));
	CHECK_EQ(0, create(self->control_fd, "selftest-limits-a", 1));
	CHECK_EQ(2 << 20, locked_bytes(self->control_fd));
	CHECK_EQ(-ENOSPC, create(self->control_fd, "selftest-limits-b", 2));
	CHECK_EQ(0, create(self->control_fd, "selftest-limits-b", 1));
	CHECK_EQ(-ENOSPC, create(self->control_fd, "selftest-limits-c", 1));
	/* of the user, not of the process */
	CHECK_EQ(0, run_child(same_user, self));
	CHECK_EQ(0, destroy(self->control_fd, "selftest-limits-a", 0));
	CHECK_EQ(2 << 20, locked_bytes(self->control_fd));
	CHECK_EQ(0, create(self->control_fd, "selftest-limits-c", 1));
	CHECK_EQ(0, limits(self->control_fd, &l));
	CHECK_EQ(4 << 20, l.out_bytes_uid);
	/* destroyed, but in use: still charged */
	node = open_node("selftest-limits-c", O_RDONLY);
	CHECK(node >= 0);
	CHECK_EQ(0, destroy(self->control_fd, "selftest-limits-c", HFTCHAN_DESTROY_F_FORCE));
	CHECK_EQ(4 << 20, locked_bytes(self->control_fd));
	CHECK_EQ(-ENOSPC, create(self->control_fd, "selftest-limits-a", 1));
	close(node);
	CHECK_EQ(2 << 20, locked_bytes(self->control_fd));
	CHECK(tell(fd));
	hear(fd);
	return 0;
}

TEST_F(limits, memlock)
{
	struct child child = spawn(with_memlock, self);

	ASSERT_LT(0, child.pid);
	EXPECT_TRUE(hear(child.fd));
	/* our own account is another one */
	EXPECT_EQ(0, locked_bytes(self->control_fd));
	EXPECT_EQ(0, reap(&child));
	/* its maker is gone, the channel is not; destroyed by somebody else it is free again */
	EXPECT_EQ(self->held + HUGE_BYTES, held_bytes(self->control_fd));
	EXPECT_EQ(0, destroy(self->control_fd, "selftest-limits-b", 0));
}

static int no_memlock(int fd, void *arg)
{
	limits_data *self = arg;

	CHECK_EQ(0, set_memlock(0));
	CHECK_EQ(0, become(USER));
	/* what the test before took has come back */
	CHECK_EQ(0, locked_bytes(self->control_fd));
	CHECK_EQ(-ENOSPC, create(self->control_fd, self->name, 1));
	return 0;
}

TEST_F(limits, memlock_zero)
{
	EXPECT_EQ(0, run_child(no_memlock, self));
	EXPECT_FALSE(node_exists(self->name));
}

TEST_F(limits, memlock_does_not_bind_root)
{
	ASSERT_EQ(0, set_memlock(0));
	EXPECT_EQ(0, create(self->control_fd, self->name, 2));
	EXPECT_EQ(0, locked_bytes(self->control_fd));
}

/* ---- the module's own ---------------------------------------------------------------------- */

TEST_F(limits, all_rings_together)
{
	struct hftchan_ioc_limits l;

	ASSERT_EQ(0, set_mib("max_mib", (self->held >> 20) + 4));
	ASSERT_EQ(0, limits(self->control_fd, &l));
	EXPECT_EQ(self->held + (4 << 20), l.out_max_bytes);
	EXPECT_EQ(-ENOSPC, create(self->control_fd, self->name, 4));
	EXPECT_EQ(0, create(self->control_fd, self->name, 2));
	EXPECT_EQ(-ENOSPC, create(self->control_fd, "selftest-limits-a", 1));
	/* less than is held already: that stays, but nothing is added */
	ASSERT_EQ(0, set_mib("max_mib", 1));
	EXPECT_EQ(-ENOSPC, create(self->control_fd, "selftest-limits-a", 1));
	ASSERT_EQ(0, limits(self->control_fd, &l));
	EXPECT_EQ(self->held + (4 << 20), l.out_bytes);
	EXPECT_EQ(1 << 20, l.out_max_bytes);
	EXPECT_EQ(0, destroy(self->control_fd, self->name, 0));
	/* half of a huge page is none */
	ASSERT_EQ(0, set_mib("max_mib", (self->held >> 20) + 1));
	EXPECT_EQ(-ENOSPC, create(self->control_fd, self->name, 1));
}

TEST_F(limits, by_default_half_of_the_memory)
{
	struct hftchan_ioc_limits l;
	struct sysinfo si;
	long long half;

	ASSERT_EQ(0, set_mib("max_mib", 0));
	ASSERT_EQ(0, set_mib("max_mib_per_uid", 0));
	ASSERT_EQ(0, sysinfo(&si));
	ASSERT_EQ(0, limits(self->control_fd, &l));
	half = (long long)si.totalram * si.mem_unit / 2;
	EXPECT_LE(half - (half >> 4), l.out_max_bytes);
	EXPECT_GE(half + (half >> 4), l.out_max_bytes);
	EXPECT_EQ(l.out_max_bytes, l.out_max_bytes_uid);
}

TEST_F(limits, huge_values_are_no_overflow)
{
	struct hftchan_ioc_limits l;

	ASSERT_EQ(0, write_file(MODULE_PARAMS "/max_mib", "18446744073709551615"));
	ASSERT_EQ(0, limits(self->control_fd, &l));
	EXPECT_LE(1ULL << 46, l.out_max_bytes);
	EXPECT_EQ(0, create(self->control_fd, self->name, 1));
	EXPECT_GT(0, write_file(MODULE_PARAMS "/max_mib", "-1x"));
}

static int of_a_user(int fd, void *arg)
{
	limits_data *self = arg;
	struct hftchan_ioc_limits l;

	CHECK_EQ(0, set_memlock(64 << 20));
	CHECK_EQ(0, become(USER));
	CHECK_EQ(-ENOSPC, create(self->control_fd, "selftest-limits-a", 4));
	CHECK_EQ(0, create(self->control_fd, "selftest-limits-a", 2));
	CHECK_EQ(-ENOSPC, create(self->control_fd, "selftest-limits-b", 1));
	CHECK_EQ(0, limits(self->control_fd, &l));
	CHECK_EQ(4 << 20, l.out_bytes_uid);
	CHECK_EQ(4 << 20, l.out_max_bytes_uid);
	return 0;
}

static int of_another_user(int fd, void *arg)
{
	limits_data *self = arg;
	struct hftchan_ioc_limits l;

	CHECK_EQ(0, set_memlock(64 << 20));
	CHECK_EQ(0, become(OTHER_USER));
	CHECK_EQ(0, limits(self->control_fd, &l));
	CHECK_EQ(0, l.out_bytes_uid);
	CHECK_EQ(0, create(self->control_fd, "selftest-limits-b", 2));
	CHECK_EQ(0, destroy(self->control_fd, "selftest-limits-b", 0));
	return 0;
}

TEST_F(limits, rings_of_one_user)
{
	ASSERT_EQ(0, set_mib("max_mib_per_uid", 4));
	EXPECT_EQ(0, run_child(of_a_user, self));
	EXPECT_EQ(0, run_child(of_another_user, self));
	EXPECT_EQ(0, destroy(self->control_fd, "selftest-limits-a", 0));
}

/* charged to who made it, whoever owns it */
TEST_F(limits, creator_is_charged)
{
	struct hftchan_ioc_limits before, after;
	struct hftchan_ioc_create args;
	struct hftchan_ioc_info i;
	int fd;

	ASSERT_EQ(0, limits(self->control_fd, &before));
	create_args(&args, self->name, 2);
	args.uid = USER;
	ASSERT_EQ(0, call(self->control_fd, HFTCHAN_IOC_CREATE, &args));
	ASSERT_EQ(0, limits(self->control_fd, &after));
	EXPECT_EQ(before.out_bytes_uid + (4 << 20), after.out_bytes_uid);
	fd = open_node(self->name, O_RDONLY);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, info(fd, &i));
	EXPECT_EQ(getuid(), i.out_creator_uid);
	close(fd);
}

/* ---- memory cgroup ------------------------------------------------------------------------- */

struct in_group {
	limits_data *self;
	const struct cgroup *group;
	const char *usage;
};

static int in_group(int fd, void *arg)
{
	struct in_group *g = arg;
	limits_data *self = g->self;
	struct hftchan_ioc_create args;
	long long before;

	CHECK_EQ(0, cgroup_enter(g->group));
	create_args(&args, self->name, 16);
	CHECK_EQ(-ENOMEM, call(self->control_fd, HFTCHAN_IOC_CREATE, &args));
	CHECK(args.out_nr_pages < 12);
	CHECK(args.out_node >= 0);
	CHECK(!node_exists(self->name));
	CHECK_EQ(self->held, held_finally(self->control_fd, self->held));
	/* what fits, fits, and is on the group's account */
	before = cgroup_read(g->group, g->usage, NULL);
	CHECK_EQ(0, create(self->control_fd, self->name, 4));
	CHECK(cgroup_read(g->group, g->usage, NULL) >= before + (7 << 20));
	CHECK_EQ(0, destroy(self->control_fd, self->name, 0));
	CHECK_EQ(self->held, held_bytes(self->control_fd));
	CHECK(cgroup_read(g->group, g->usage, NULL) < before + (4 << 20));
	return 0;
}

TEST_F(limits, memory_cgroup)
{
	struct cgroup group;
	struct in_group g = { .self = self, .group = &group };

	ASSERT_EQ(0, cgroup_make(&group, "memory"));
	g.usage = group.v1 ? "memory.usage_in_bytes" : "memory.current";
	EXPECT_EQ(0, cgroup_write(&group, group.v1 ? "memory.limit_in_bytes" : "memory.max",
				  "25165824"));
	EXPECT_EQ(0, run_child(in_group, &g));
	EXPECT_EQ(0, cgroup_read(&group, group.v1 ? "memory.oom_control" : "memory.events",
				 "oom_kill"));
	EXPECT_EQ(0, cgroup_remove(&group));
}

/* ---- signals ------------------------------------------------------------------------------- */

static void nothing(int sig)
{
}

/* a signal ends the wait for pages, and nothing of them is left */
TEST_F_TIMEOUT(limits, signal, LONG_TIMEOUT)
{
	struct sigaction action = { .sa_handler = nothing };
	int tries, ret = 0;

	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	for (tries = 1; tries <= 50 && ret != -EINTR; tries++) {
		struct itimerval once = { .it_value.tv_usec = 500 * tries }, off = { 0 };

		ASSERT_EQ(0, setitimer(ITIMER_REAL, &once, NULL));
		ret = create(self->control_fd, self->name, 64);
		ASSERT_EQ(0, setitimer(ITIMER_REAL, &off, NULL));
		ASSERT_TRUE(ret == 0 || ret == -EINTR)
			TH_LOG("%d", ret);
		ASSERT_EQ(0, ret ? 0 : destroy(self->control_fd, self->name, 0));
		ASSERT_FALSE(node_exists(self->name));
		ASSERT_EQ(self->held, held_finally(self->control_fd, self->held));
	}
	EXPECT_EQ(-EINTR, ret);
}

TEST_HARNESS_MAIN
