// SPDX-License-Identifier: GPL-2.0
/*
 * What /sys/class/hftchan says of a channel, to whom, and that the node is whose it should be.
 * It is not about the control page, which says the same to those who may open the node.
 * The contract is in hftchan(4) and in <linux/hftchan.h>.
 */
#include "hftchan_util.h"

#include <dirent.h>

static const struct {
	const char *name;
	unsigned int mode;
} attributes[] = {
	{ "payload_size", 0444 }, { "nr_slots", 0444 }, { "slot_size", 0444 },
	{ "ring_size", 0444 }, { "first_seq", 0444 }, { "type_tag", 0444 }, { "layout", 0444 },
	{ "flags", 0444 }, { "node", 0444 }, { "page_size", 0444 }, { "epoch", 0444 },
	{ "sender_state", 0444 }, { "sender_pid", 0400 }, { "nr_open", 0400 }, { "seq", 0400 },
};

FIXTURE(sysfs)
{
	struct channel c;
	char dir[128];
};

FIXTURE_SETUP(sysfs)
{
	ASSERT_EQ(0, channel_make(&self->c, 1));
	snprintf(self->dir, sizeof(self->dir), SYSFS_CLASS "/hftchan-%s", self->c.name);
}

FIXTURE_TEARDOWN(sysfs)
{
	channel_remove(&self->c);
}

static long long value(const char *dir, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return read_number(path);
}

TEST_F(sysfs, modes)
{
	char path[256], buf[4200];
	struct stat st;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(attributes); i++) {
		int n;

		snprintf(path, sizeof(path), "%s/%s", self->dir, attributes[i].name);
		ASSERT_EQ(0, stat(path, &st))
			TH_LOG("%s", path);
		EXPECT_EQ(attributes[i].mode, st.st_mode & 07777)
			TH_LOG("%s", path);
		EXPECT_EQ(0, st.st_uid);
		n = read_file(path, buf, sizeof(buf));
		EXPECT_LT(0, n)
			TH_LOG("%s", path);
		/* one value per file */
		EXPECT_EQ(NULL, strpbrk(buf, " \t\n"))
			TH_LOG("%s: %s", path, buf);
	}
}

TEST_F(sysfs, values)
{
	EXPECT_EQ(56, value(self->dir, "payload_size"));
	EXPECT_EQ(SLOTS_PER_PAGE, value(self->dir, "nr_slots"));
	EXPECT_EQ(64, value(self->dir, "slot_size"));
	EXPECT_EQ(HUGE_BYTES, value(self->dir, "ring_size"));
	EXPECT_EQ(1, value(self->dir, "first_seq"));
	EXPECT_EQ(0, value(self->dir, "type_tag"));
	EXPECT_EQ(HUGE_BYTES, value(self->dir, "page_size"));
	EXPECT_EQ(0, value(self->dir, "epoch"));
	EXPECT_EQ(self->c.control->node, value(self->dir, "node"));
	EXPECT_EQ(1, value(self->dir, "nr_open"));
	EXPECT_EQ(0, value(self->dir, "sender_pid"));
}

TEST_F(sysfs, values_follow)
{
	char path[256], none[32], attached[32];
	int fd;

	snprintf(path, sizeof(path), "%s/sender_state", self->dir);
	ASSERT_LT(0, read_file(path, none, sizeof(none)));
	ASSERT_EQ(0, attach_tx(self->c.fd));
	EXPECT_EQ(getpid(), value(self->dir, "sender_pid"));
	ASSERT_EQ(0, start_tx(self->c.fd, 1));
	EXPECT_EQ(1, value(self->dir, "epoch"));
	ASSERT_LT(0, read_file(path, attached, sizeof(attached)));
	EXPECT_STRNE(none, attached);
	fd = open_node(self->c.name, O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_EQ(2, value(self->dir, "nr_open"));
	close(fd);
	EXPECT_EQ(1, value(self->dir, "nr_open"));
	ASSERT_EQ(0, detach_tx(self->c.fd));
	EXPECT_EQ(0, value(self->dir, "sender_pid"));
	ASSERT_LT(0, read_file(path, attached, sizeof(attached)));
	EXPECT_STREQ(none, attached);
}

static int unprivileged(int fd, void *arg)
{
	const char *dir = arg;

	CHECK_EQ(0, become(NOBODY));
	CHECK_EQ(SLOTS_PER_PAGE, value(dir, "nr_slots"));
	CHECK_EQ(-EACCES, value(dir, "sender_pid"));
	CHECK_EQ(-EACCES, value(dir, "nr_open"));
	CHECK_EQ(-EACCES, value(dir, "seq"));
	return 0;
}

TEST_F(sysfs, for_others)
{
	EXPECT_EQ(0, run_child(unprivileged, self->dir));
}

/* an attribute that is open outlives the channel, and only says that it is gone */
TEST_F(sysfs, open_attribute_of_a_destroyed_channel)
{
	char path[256], buf[64];
	int fd;

	snprintf(path, sizeof(path), "%s/seq", self->dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, destroy(self->c.control_fd, self->c.name,
			     HFTCHAN_DESTROY_F_FORCE | HFTCHAN_DESTROY_F_ZAP));
	EXPECT_EQ(-1, pread(fd, buf, sizeof(buf), 0));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_NE(0, access(self->dir, F_OK));
	close(fd);
}

/* ---- the node ------------------------------------------------------------------------------ */

static int node_stat(const char *name, struct stat *st)
{
	char path[PATH_BYTES];

	node_path(path, name);
	return neg_errno(stat(path, st));
}

TEST_F(sysfs, node_owner_and_mode)
{
	static const unsigned int modes[] = { 0600, 0640, 0644, 0660, 0664, 0606, 0666 };
	struct hftchan_ioc_create args;
	struct stat st;
	size_t i;
	mode_t mask = umask(0177);

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		create_args(&args, "selftest-sysfs-node", 1);
		args.mode = modes[i];
		args.uid = 1000 + i;
		args.gid = 2000 + i;
		ASSERT_EQ(0, call(self->c.control_fd, HFTCHAN_IOC_CREATE, &args));
		ASSERT_EQ(0, node_stat(args.name, &st));
		EXPECT_TRUE(S_ISCHR(st.st_mode));
		EXPECT_EQ(modes[i], st.st_mode & 07777);
		EXPECT_EQ(1000 + i, st.st_uid);
		EXPECT_EQ(2000 + i, st.st_gid);
		ASSERT_EQ(0, destroy(self->c.control_fd, args.name, 0));
		EXPECT_EQ(-ENOENT, node_stat(args.name, &st));
	}
	umask(mask);
	ASSERT_EQ(0, node_stat(self->c.name, &st));
	EXPECT_EQ(geteuid(), st.st_uid);
	EXPECT_EQ(getegid(), st.st_gid);
}

static int other_owner(int fd, void *arg)
{
	struct hftchan_ioc_create args;
	struct stat st;
	int control_fd = *(int *)arg;
	gid_t groups[] = { 500, 501 };

	CHECK_EQ(0, setgroups(2, groups));
	CHECK_EQ(0, setresgid(1234, 1234, 1234));
	CHECK_EQ(0, setresuid(1235, 1235, 1235));

	create_args(&args, "selftest-sysfs-mine", 1);
	args.uid = 0;
	CHECK_EQ(-EPERM, call(control_fd, HFTCHAN_IOC_CREATE, &args));
	args.uid = 1236;
	CHECK_EQ(-EPERM, call(control_fd, HFTCHAN_IOC_CREATE, &args));
	args.uid = 1235;
	args.gid = 0;
	CHECK_EQ(-EPERM, call(control_fd, HFTCHAN_IOC_CREATE, &args));
	args.gid = 502;
	CHECK_EQ(-EPERM, call(control_fd, HFTCHAN_IOC_CREATE, &args));
	args.gid = 501;	/* one of its own groups */
	CHECK_EQ(0, call(control_fd, HFTCHAN_IOC_CREATE, &args));
	CHECK_EQ(0, node_stat(args.name, &st));
	CHECK_EQ(1235, st.st_uid);
	CHECK_EQ(501, st.st_gid);
	CHECK_EQ(0, destroy(control_fd, args.name, 0));
	return 0;
}

TEST_F(sysfs, node_owner_without_rights)
{
	EXPECT_EQ(0, run_child(other_owner, &self->c.control_fd));
}

/**
 * struct window - somebody who may only open what he may open
 * @stop: set by the test when it has made all channels
 * @name: of each of them
 */
struct window {
	int stop;
	const char *name;
};

static int try_to_get_in(int fd, void *arg)
{
	struct window *w = arg;
	char path[PATH_BYTES];

	CHECK_EQ(0, become(NOBODY));
	node_path(path, w->name);
	CHECK(tell(fd));
	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		struct stat st;

		if (open(path, O_RDONLY) >= 0)
			return 2;
		if (!stat(path, &st)) {
			/* devtmpfs takes all rights away before it removes a node */
			CHECK_EQ(0, st.st_mode & 07177);
			CHECK(st.st_uid == 1001 || st.st_uid == 0);
		}
	}
	return 0;
}

/* no moment at which the node is there with another mode or owner */
TEST_F(sysfs, node_from_the_first_moment)
{
	struct window *w = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				-1, 0);
	struct hftchan_ioc_create args;
	struct child child;
	int i;

	ASSERT_NE(MAP_FAILED, w);
	w->name = "selftest-sysfs-window";
	child = spawn(try_to_get_in, w);
	ASSERT_LT(0, child.pid);
	ASSERT_TRUE(hear(child.fd));
	for (i = 0; i < 30; i++) {
		create_args(&args, w->name, 1);
		args.uid = 1001;
		EXPECT_EQ(0, call(self->c.control_fd, HFTCHAN_IOC_CREATE, &args));
		EXPECT_EQ(0, destroy(self->c.control_fd, w->name, 0));
	}
	__atomic_store_n(&w->stop, 1, __ATOMIC_RELEASE);
	EXPECT_EQ(0, reap(&child));
	munmap(w, 4096);
}

TEST(control_node)
{
	struct stat st;
	char buf[64];

	ASSERT_EQ(0, stat(HFTCHAN_CONTROL_NODE, &st));
	EXPECT_TRUE(S_ISCHR(st.st_mode));
	EXPECT_EQ(0, st.st_uid);
	/* nobody but root and a group that is set by udev rules */
	EXPECT_EQ(0, st.st_mode & 07117);
	EXPECT_LE(0, read_number(MODULE_PARAMS "/max_mib"));
	EXPECT_LE(0, read_number(MODULE_PARAMS "/max_mib_per_uid"));
	EXPECT_LT(0, read_file(MODULE_PARAMS "/max_mib", buf, sizeof(buf)));
	ASSERT_EQ(0, stat(MODULE_PARAMS "/max_mib", &st));
	EXPECT_EQ(0, st.st_mode & 0022);
}

TEST_HARNESS_MAIN
