// SPDX-License-Identifier: GPL-2.0
/*
 * How a channel ends: destroyed in use, by force, zapped, by whom; races of names; unloading.
 * It is not about the end of a sender (roles.c).
 * The contract is at struct hftchan_ioc_destroy in <linux/hftchan.h>.
 */
#include "hftchan_util.h"

#include <sched.h>
#include <sys/sysmacros.h>

#define FORCE	HFTCHAN_DESTROY_F_FORCE
#define ZAP	(HFTCHAN_DESTROY_F_FORCE | HFTCHAN_DESTROY_F_ZAP)
#define SEED	77

FIXTURE(lifetime)
{
	struct channel c;
	char sysfs[128];
};

#define lifetime_data	FIXTURE_DATA(lifetime)

FIXTURE_SETUP(lifetime)
{
	ASSERT_EQ(0, channel_make(&self->c, 2));
	snprintf(self->sysfs, sizeof(self->sysfs), SYSFS_CLASS "/hftchan-%s", self->c.name);
}

FIXTURE_TEARDOWN(lifetime)
{
	long long held = self->c.held_before;
	int control_fd = open_control(O_RDONLY);

	channel_remove(&self->c);
	/* whatever happened: nothing is left when the last of it is closed */
	EXPECT_EQ(held, held_bytes(control_fd));
	close(control_fd);
}

/* closes what the fixture has open of the channel */
static void let_go(lifetime_data *self)
{
	munmap((void *)(uintptr_t)self->c.control, HFTCHAN_PAGE_BYTES);
	self->c.control = NULL;
	close(self->c.fd);
	self->c.fd = -1;
}

/* ---- destroyed in order -------------------------------------------------------------------- */

static int has_it_open(int fd, void *arg)
{
	lifetime_data *self = arg;

	CHECK(open_node(self->c.name, O_RDONLY) >= 0);
	CHECK(tell(fd));
	hear(fd);
	return 0;
}

TEST_F(lifetime, in_use)
{
	__u64 ring_offset = self->c.control->ring_offset;
	struct child child;
	unsigned char *ring;
	int fd, sv[2];

	EXPECT_EQ(-EBUSY, destroy(self->c.control_fd, self->c.name, 0));
	EXPECT_TRUE(node_exists(self->c.name));
	EXPECT_EQ(0, self->c.control->destroyed);
	/* a mapping alone */
	ring = map_ring(&self->c, self->c.fd);
	ASSERT_NE(NULL, ring);
	let_go(self);
	EXPECT_EQ(-EBUSY, destroy(self->c.control_fd, self->c.name, 0));
	EXPECT_EQ(0, probe_read(ring));
	ASSERT_EQ(0, munmap(ring, self->c.ring_bytes));
	/* another process, also when it is killed */
	child = spawn(has_it_open, self);
	ASSERT_LT(0, child.pid);
	ASSERT_TRUE(hear(child.fd));
	EXPECT_EQ(-EBUSY, destroy(self->c.control_fd, self->c.name, 0));
	kill(child.pid, SIGKILL);
	ASSERT_EQ(-SIGKILL, reap(&child));
	/* a descriptor that nobody has, on its way through a socket */
	fd = open_node(self->c.name, O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, try_map(fd, self->c.ring_bytes, PROT_READ, MAP_SHARED, ring_offset));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	ASSERT_TRUE(send_fd(sv[0], fd));
	close(fd);
	EXPECT_EQ(-EBUSY, destroy(self->c.control_fd, self->c.name, 0));
	close(sv[0]);
	close(sv[1]);

	EXPECT_EQ(0, destroy(self->c.control_fd, self->c.name, 0));
	EXPECT_FALSE(node_exists(self->c.name));
	EXPECT_NE(0, access(self->sysfs, F_OK));
	EXPECT_EQ(self->c.held_before, held_bytes(self->c.control_fd));
	EXPECT_EQ(-ENOENT, destroy(self->c.control_fd, self->c.name, 0));
	EXPECT_EQ(-ENOENT, destroy(self->c.control_fd, self->c.name, FORCE));
	EXPECT_EQ(-ENOENT, open_node(self->c.name, O_RDONLY));
}

/* the next owner of a page never sees what was in it */
TEST_F(lifetime, memory_is_cleared)
{
	unsigned int round;
	unsigned char *ring;
	size_t i;

	for (round = 0; round < 3; round++) {
		const __u64 *words;
		unsigned char *tx, *sender_tx;

		ring = map_ring(&self->c, self->c.fd);
		ASSERT_NE(NULL, ring);
		words = (const __u64 *)(const void *)ring;
		for (i = 0; i < self->c.ring_bytes / 8 && !words[i]; i++)
			;
		EXPECT_EQ(self->c.ring_bytes / 8, i);
		munmap(ring, self->c.ring_bytes);
		ASSERT_EQ(0, attach_tx(self->c.fd));
		tx = map_ring_tx(&self->c, self->c.fd);
		ASSERT_NE(NULL, tx);
		fill(tx, self->c.ring_bytes, SEED);
		sender_tx = map_sender_tx(&self->c, self->c.fd);
		ASSERT_NE(NULL, sender_tx);
		for (i = 0; i < HFTCHAN_PAGE_BYTES; i++)
			EXPECT_EQ(0, sender_tx[i]);
		memset(sender_tx, 0xff, HFTCHAN_PAGE_BYTES);
		munmap(tx, self->c.ring_bytes);
		munmap(sender_tx, HFTCHAN_PAGE_BYTES);
		channel_remove(&self->c);
		ASSERT_EQ(0, channel_make(&self->c, 2));
	}
}

/* ---- by force ------------------------------------------------------------------------------ */

struct views {
	lifetime_data *self;
	unsigned char *ring;
	int result;
};

static int reads_inherited(int fd, void *arg)
{
	struct views *v = arg;

	/* its page tables are empty: each page is a fault in the dead channel */
	if (v->result) {
		CHECK_EQ(v->result, probe_read(v->ring));
		CHECK_EQ(v->result, probe_read(v->ring + HUGE_BYTES));
	} else {
		CHECK_EQ(-1, first_difference(v->ring, v->self->c.ring_bytes, SEED));
	}
	CHECK(v->self->c.control->destroyed);
	return 0;
}

TEST_F(lifetime, force)
{
	struct channel *c = &self->c;
	unsigned char *ring, *late, *tx, *hole;
	struct hftchan_ioc_info i;
	struct views v = { .self = self };
	struct channel next;

	ASSERT_EQ(0, attach_tx(c->fd));
	tx = map_ring_tx(c, c->fd);
	ASSERT_NE(NULL, tx);
	fill(tx, c->ring_bytes, SEED);
	ASSERT_EQ(0, start_tx(c->fd, 1));
	ring = map_ring(c, c->fd);
	ASSERT_NE(NULL, ring);
	EXPECT_EQ(-1, first_difference(ring, c->ring_bytes, SEED));
	late = map_ring(c, c->fd);	/* touched only after the end */
	ASSERT_NE(NULL, late);

	ASSERT_EQ(0, destroy(c->control_fd, c->name, FORCE));
	EXPECT_FALSE(node_exists(c->name));
	EXPECT_NE(0, access(self->sysfs, F_OK));
	EXPECT_NE(0, c->control->destroyed);
	EXPECT_EQ(-ENOENT, open_node(c->name, O_RDONLY));
	EXPECT_EQ(-ENOENT, destroy(c->control_fd, c->name, ZAP));

	/* who has it keeps it */
	EXPECT_EQ(-1, first_difference(ring, c->ring_bytes, SEED));
	EXPECT_EQ(-1, first_difference(late, c->ring_bytes, SEED));
	fill(tx, c->ring_bytes, SEED);
	v.ring = ring;
	EXPECT_EQ(0, run_child(reads_inherited, &v));
	hole = reserve_aligned(c->ring_bytes);
	ASSERT_NE(NULL, hole);
	ASSERT_EQ(hole, mremap(ring, c->ring_bytes, c->ring_bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
			       hole));
	ring = hole;
	EXPECT_EQ(-1, first_difference(ring, c->ring_bytes, SEED));
	EXPECT_EQ(0, prefault(c->fd, ring, c->ring_bytes));
	EXPECT_EQ(0, info(c->fd, &i));
	EXPECT_EQ(2, i.out_nr_pages);

	/* nobody gets more of it */
	EXPECT_EQ(-ENODEV, try_map(c->fd, c->ring_bytes, PROT_READ, MAP_SHARED,
				   c->control->ring_offset));
	EXPECT_EQ(-ENODEV, try_map(c->fd, c->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
				   c->control->ring_tx_offset));
	EXPECT_EQ(-ENODEV, try_map(c->fd, HFTCHAN_PAGE_BYTES, PROT_READ, MAP_SHARED, 0));
	EXPECT_EQ(-ENODEV, try_map(c->fd, HFTCHAN_PAGE_BYTES, PROT_READ, MAP_SHARED,
				   c->control->sender_offset));
	EXPECT_EQ(0, detach_tx(c->fd));
	EXPECT_EQ(SIGBUS, probe_write(tx));
	EXPECT_EQ(-ENODEV, attach_tx(c->fd));
	EXPECT_EQ(-1, first_difference(ring, c->ring_bytes, SEED));

	/* a channel of the same name is another one */
	EXPECT_EQ(0, create(c->control_fd, c->name, 2));
	next = *c;
	next.fd = open_node(c->name, O_RDONLY);
	ASSERT_LE(0, next.fd);
	next.control = map_at(next.fd, HFTCHAN_PAGE_BYTES, PROT_READ, 0);
	ASSERT_NE(NULL, next.control);
	EXPECT_EQ(0, next.control->destroyed);
	EXPECT_EQ(0, next.control->epoch);
	EXPECT_EQ(c->held_before + 2 * (long long)c->ring_bytes, held_bytes(c->control_fd));
	munmap((void *)(uintptr_t)next.control, HFTCHAN_PAGE_BYTES);
	close(next.fd);
	EXPECT_EQ(0, destroy(c->control_fd, c->name, 0));

	/* and held until the last mapping is gone, and no longer */
	EXPECT_EQ(c->held_before + (long long)c->ring_bytes,
		  held_bytes(c->control_fd));
	munmap(tx, c->ring_bytes);
	munmap(late, c->ring_bytes);
	let_go(self);
	EXPECT_EQ(c->held_before + (long long)c->ring_bytes, held_bytes(c->control_fd));
	EXPECT_EQ(-1, first_difference(ring, c->ring_bytes, SEED));
	munmap(ring, c->ring_bytes);
	EXPECT_EQ(c->held_before, held_bytes(c->control_fd));
}

TEST_F(lifetime, force_without_users)
{
	let_go(self);
	EXPECT_EQ(0, destroy(self->c.control_fd, self->c.name, FORCE));
	EXPECT_EQ(self->c.held_before, held_bytes(self->c.control_fd));
}

TEST_F(lifetime, zap_without_users)
{
	let_go(self);
	EXPECT_EQ(0, destroy(self->c.control_fd, self->c.name, ZAP));
	EXPECT_EQ(self->c.held_before, held_bytes(self->c.control_fd));
}

/* ---- zapped -------------------------------------------------------------------------------- */

static int stubborn_receiver(int fd, void *arg)
{
	lifetime_data *self = arg;
	const unsigned char *ring = map_ring(&self->c, self->c.fd);

	CHECK(ring);
	CHECK_EQ(0, probe_read(ring));
	signal(SIGBUS, SIG_DFL);
	CHECK(tell(fd));
	for (;;)
		read_once(ring + HUGE_BYTES);
	return 0;
}

static int stubborn_sender(int fd, void *arg)
{
	lifetime_data *self = arg;
	__u64 *tx;

	CHECK_EQ(0, attach_tx(self->c.fd));
	tx = map_ring_tx(&self->c, self->c.fd);
	CHECK(tx);
	CHECK_EQ(0, start_tx(self->c.fd, 1));
	WRITE_ONCE(*tx, 1);
	CHECK(tell(fd));
	for (;;)
		WRITE_ONCE(*tx, READ_ONCE(*tx) + 1);
	return 0;
}

TEST_F(lifetime, zap)
{
	struct channel *c = &self->c;
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	struct child receiver = spawn(stubborn_receiver, self);
	struct child sender = spawn(stubborn_sender, self);
	struct views v = { .self = self, .result = SIGBUS };
	unsigned char *untouched, byte;
	struct hftchan_ioc_info i;

	ASSERT_LE(0, mem);
	ASSERT_TRUE(hear(receiver.fd));
	ASSERT_TRUE(hear(sender.fd));
	v.ring = map_ring(c, c->fd);
	ASSERT_NE(NULL, v.ring);
	untouched = map_ring(c, c->fd);
	ASSERT_NE(NULL, untouched);
	ASSERT_EQ(0, probe_read(v.ring));
	EXPECT_EQ(1, pread(mem, &byte, 1, (off_t)(uintptr_t)v.ring));

	ASSERT_EQ(0, destroy(c->control_fd, c->name, ZAP));
	/* at once, with everybody still there */
	EXPECT_EQ(c->held_before, held_bytes(c->control_fd));
	EXPECT_EQ(-SIGBUS, reap(&receiver));
	EXPECT_EQ(-SIGBUS, reap(&sender));
	EXPECT_FALSE(node_exists(c->name));
	EXPECT_NE(0, c->control->destroyed);
	EXPECT_EQ(SIGBUS, probe_read(v.ring));
	EXPECT_EQ(SIGBUS, probe_read(v.ring + c->ring_bytes - 1));
	EXPECT_EQ(SIGBUS, probe_read(untouched));
	EXPECT_EQ(-EFAULT, prefault(c->fd, v.ring, c->ring_bytes));
	EXPECT_EQ(-1, pread(mem, &byte, 1, (off_t)(uintptr_t)v.ring));
	EXPECT_EQ(-1, pread(mem, &byte, 1, (off_t)(uintptr_t)untouched));
	EXPECT_EQ(0, run_child(reads_inherited, &v));
	EXPECT_EQ(0, info(c->fd, &i));
	EXPECT_EQ(0, i.out_nr_pages);
	EXPECT_EQ(-ENODEV, try_map(c->fd, c->ring_bytes, PROT_READ, MAP_SHARED,
				   c->control->ring_offset));
	EXPECT_EQ(-ENODEV, attach_tx(c->fd));
	munmap(v.ring, c->ring_bytes);
	munmap(untouched, c->ring_bytes);
	close(mem);
}

/* the role survives the ring, and can still be given back */
TEST_F(lifetime, zap_under_a_sender)
{
	struct channel *c = &self->c;
	unsigned char *tx, *sender_tx;

	ASSERT_EQ(0, attach_tx(c->fd));
	tx = map_ring_tx(c, c->fd);
	ASSERT_NE(NULL, tx);
	sender_tx = map_sender_tx(c, c->fd);
	ASSERT_NE(NULL, sender_tx);
	fill(tx, c->ring_bytes, SEED);
	ASSERT_EQ(0, start_tx(c->fd, 1));
	ASSERT_EQ(0, destroy(c->control_fd, c->name, ZAP));
	EXPECT_EQ(SIGBUS, probe_write(tx));
	EXPECT_EQ(SIGBUS, probe_read(tx + HUGE_BYTES));
	EXPECT_EQ(0, detach_tx(c->fd));
	EXPECT_EQ(SIGBUS, probe_write(sender_tx));
	EXPECT_EQ(-ENODEV, attach_tx(c->fd));
	EXPECT_EQ(c->control->epoch, c->control->ended_epoch);
	munmap(tx, c->ring_bytes);
	munmap(sender_tx, HFTCHAN_PAGE_BYTES);
}

/* ---- other nodes of the same channel ------------------------------------------------------- */

TEST_F(lifetime, second_node)
{
	struct channel *c = &self->c;
	char path[PATH_BYTES];
	unsigned char *ring, *tx;
	struct stat st;
	int fd, own, i, ret;

	node_path(path, c->name);
	ASSERT_EQ(0, stat(path, &st));
	unlink("/dev/hftchan_selftest_copy");
	ASSERT_EQ(0, mknod("/dev/hftchan_selftest_copy", S_IFCHR | 0600, st.st_rdev));
	fd = open("/dev/hftchan_selftest_copy", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	/* it is the same channel in everything */
	ASSERT_EQ(0, attach_tx(fd));
	EXPECT_EQ(-EBUSY, attach_tx(c->fd));
	tx = map_ring_tx(c, fd);
	ASSERT_NE(NULL, tx);
	fill(tx, c->ring_bytes, SEED);
	ring = map_ring(c, fd);
	ASSERT_NE(NULL, ring);
	ASSERT_EQ(-1, first_difference(ring, c->ring_bytes, SEED));
	ASSERT_EQ(0, detach_tx(fd));
	EXPECT_EQ(SIGBUS, probe_write(tx));
	munmap(tx, c->ring_bytes);
	own = c->fd;
	ASSERT_EQ(0, munmap((void *)(uintptr_t)c->control, HFTCHAN_PAGE_BYTES));
	c->control = NULL;
	close(own);
	c->fd = -1;
	EXPECT_EQ(-EBUSY, destroy(c->control_fd, c->name, 0));
	ASSERT_EQ(0, destroy(c->control_fd, c->name, ZAP));
	EXPECT_EQ(SIGBUS, probe_read(ring));
	munmap(ring, c->ring_bytes);
	close(fd);

	/* its number leads nowhere, also when there are newer channels */
	for (i = 0; i < 8; i++) {
		ret = neg_errno(open("/dev/hftchan_selftest_copy", O_RDWR | O_CLOEXEC));
		EXPECT_TRUE(ret == -ENODEV || ret == -ENXIO)
			TH_LOG("%d", ret);
		ASSERT_EQ(0, create(c->control_fd, c->name, 1));
		ret = neg_errno(open("/dev/hftchan_selftest_copy", O_RDWR | O_CLOEXEC));
		EXPECT_TRUE(ret == -ENODEV || ret == -ENXIO)
			TH_LOG("%d", ret);
		ASSERT_EQ(0, destroy(c->control_fd, c->name, 0));
	}
	EXPECT_EQ(0, unlink("/dev/hftchan_selftest_copy"));
}

/* ---- who may destroy ----------------------------------------------------------------------- */

static int no_owner(int fd, void *arg)
{
	lifetime_data *self = arg;

	CHECK_EQ(0, become(NOBODY));
	CHECK_EQ(-EPERM, destroy(self->c.control_fd, self->c.name, 0));
	CHECK_EQ(-EPERM, destroy(self->c.control_fd, self->c.name, FORCE));
	CHECK_EQ(-EPERM, destroy(self->c.control_fd, self->c.name, ZAP));
	return 0;
}

/* all rights, but only in a user namespace of its own */
static int root_of_a_container(int fd, void *arg)
{
	lifetime_data *self = arg;
	struct hftchan_ioc_create args;

	CHECK_EQ(0, setresuid(0, 0, 0));
	CHECK_EQ(-EPERM, destroy(self->c.control_fd, "selftest-lifetime-owned", 0));
	CHECK_EQ(-EPERM, destroy(self->c.control_fd, "selftest-lifetime-owned", ZAP));
	/* nor may it give channels away */
	create_args(&args, "selftest-lifetime-given", 1);
	args.uid = 1;
	CHECK(call(self->c.control_fd, HFTCHAN_IOC_CREATE, &args) < 0);
	return 0;
}

static int makes_a_container(int fd, void *arg)
{
	lifetime_data *self = arg;
	struct child child;

	CHECK_EQ(0, unshare(CLONE_NEWUSER));
	CHECK_EQ(0, write_file("/proc/self/uid_map", "0 0 1"));
	child = spawn(root_of_a_container, self);
	return reap(&child);
}

static int owner(int fd, void *arg)
{
	lifetime_data *self = arg;

	CHECK_EQ(0, become(NOBODY));
	CHECK_EQ(0, destroy(self->c.control_fd, "selftest-lifetime-owned", 0));
	return 0;
}

TEST_F(lifetime, owner_alone_destroys)
{
	struct hftchan_ioc_create args;

	EXPECT_EQ(0, run_child(no_owner, self));
	EXPECT_TRUE(node_exists(self->c.name));
	EXPECT_EQ(0, self->c.control->destroyed);

	create_args(&args, "selftest-lifetime-owned", 1);
	args.uid = NOBODY;
	ASSERT_EQ(0, call(self->c.control_fd, HFTCHAN_IOC_CREATE, &args));
	EXPECT_EQ(0, run_child(makes_a_container, self));
	EXPECT_TRUE(node_exists(args.name));
	EXPECT_EQ(0, run_child(owner, self));
	EXPECT_FALSE(node_exists(args.name));
	/* root may, whoever owns it */
	ASSERT_EQ(0, call(self->c.control_fd, HFTCHAN_IOC_CREATE, &args));
	EXPECT_EQ(0, destroy(self->c.control_fd, args.name, 0));
}

/* ---- races --------------------------------------------------------------------------------- */

#define NR_PROCESSES	4

/**
 * struct crowd - processes that do the same at the same moment
 * @round: grows when all may begin
 * @ready: processes that wait for it
 * @made: CREATEs that worked in this round
 * @wrong: results that nobody should get
 */
struct crowd {
	int control_fd;
	unsigned int round, ready, made, wrong;
};

#define NR_CREATE_ROUNDS	25

static int creator(int fd, void *arg)
{
	struct crowd *crowd = arg;
	unsigned int round;

	for (round = 1; round <= NR_CREATE_ROUNDS; round++) {
		int ret;

		__atomic_fetch_add(&crowd->ready, 1, __ATOMIC_ACQ_REL);
		while (__atomic_load_n(&crowd->round, __ATOMIC_ACQUIRE) < round)
			sched_yield();
		ret = create(crowd->control_fd, "selftest-lifetime-race", 1);
		if (!ret)
			__atomic_fetch_add(&crowd->made, 1, __ATOMIC_RELAXED);
		else if (ret != -EEXIST)
			__atomic_fetch_add(&crowd->wrong, 1, __ATOMIC_RELAXED);
	}
	__atomic_fetch_add(&crowd->ready, 1, __ATOMIC_ACQ_REL);
	return 0;
}

TEST_F_TIMEOUT(lifetime, one_creator_wins, LONG_TIMEOUT)
{
	struct crowd *crowd = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				   -1, 0);
	struct child children[NR_PROCESSES];
	unsigned int round, i;

	ASSERT_NE(MAP_FAILED, crowd);
	crowd->control_fd = self->c.control_fd;
	for (i = 0; i < NR_PROCESSES; i++)
		children[i] = spawn(creator, crowd);
	for (round = 1; round <= NR_CREATE_ROUNDS + 1; round++) {
		while (__atomic_load_n(&crowd->ready, __ATOMIC_ACQUIRE) < round * NR_PROCESSES)
			sched_yield();
		EXPECT_EQ(round - 1, crowd->made);
		EXPECT_EQ(0, crowd->wrong);
		/* there is one, made in the round before */
		EXPECT_EQ(round > 1 ? 0 : -ENOENT,
			  destroy(self->c.control_fd, "selftest-lifetime-race", 0));
		__atomic_store_n(&crowd->round, round, __ATOMIC_RELEASE);
	}
	for (i = 0; i < NR_PROCESSES; i++)
		EXPECT_EQ(0, reap(&children[i]));
	munmap(crowd, 4096);
}

#define NR_STORM_STEPS	150
#define NR_STORM_NAMES	3

static void storm_name(char *name, unsigned int i)
{
	memset(name, 0, HFTCHAN_NAME_BYTES);
	snprintf(name, HFTCHAN_NAME_BYTES, "selftest-lifetime-storm-%u", i);
}

static bool one_of(int ret, const int *allowed)
{
	while (*allowed && *allowed != ret)
		allowed++;
	return !ret || *allowed == ret;
}

static int storm(int fd, void *arg)
{
	static const int created[] = { -EEXIST, 0 };
	static const int opened[] = { -ENOENT, -ENODEV, -ENXIO, 0 };
	static const int gone[] = { -ENOENT, -ENODEV, -EBUSY, 0 };
	static const int attached[] = { -EBUSY, -ENODEV, 0 };
	unsigned int random = getpid(), step;
	lifetime_data *self = arg;
	int control_fd = self->c.control_fd;
	off_t ring_tx_offset = self->c.control->ring_tx_offset;	/* the same in all of them */

	for (step = 0; step < NR_STORM_STEPS; step++) {
		char name[HFTCHAN_NAME_BYTES];
		void *ring;
		int own;

		random = random * 1103515245 + 12345;
		storm_name(name, (random >> 16) % NR_STORM_NAMES);
		switch ((random >> 20) % 4) {
		case 0:
			CHECK(one_of(create(control_fd, name, 1), created));
			break;
		case 1:
			CHECK(one_of(destroy(control_fd, name, (random >> 24) % 2 ? FORCE : ZAP),
				     gone));
			break;
		case 2:
			CHECK(one_of(destroy(control_fd, name, 0), gone));
			break;
		}
		own = open_node(name, O_RDWR);
		CHECK(own >= 0 || one_of(own, opened));
		if (own < 0)
			continue;
		if (!attach_tx(own)) {
			ring = mmap(NULL, HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, own,
				    ring_tx_offset);
			if (ring != MAP_FAILED) {
				int sig = probe_write(ring);

				CHECK(sig == 0 || sig == SIGBUS);
			}
			if (step % 2)
				CHECK_EQ(0, detach_tx(own));
			if (ring != MAP_FAILED)
				CHECK_EQ(0, munmap(ring, HUGE_BYTES));
		} else {
			CHECK(one_of(attach_tx(own), attached));
		}
		close(own);
	}
	return 0;
}

TEST_F_TIMEOUT(lifetime, storm, LONG_TIMEOUT)
{
	struct child children[NR_PROCESSES];
	char name[HFTCHAN_NAME_BYTES];
	unsigned int i;

	for (i = 0; i < NR_PROCESSES; i++)
		children[i] = spawn(storm, self);
	for (i = 0; i < NR_PROCESSES; i++)
		EXPECT_EQ(0, reap(&children[i]));
	for (i = 0; i < NR_STORM_NAMES; i++) {
		int ret;

		storm_name(name, i);
		ret = destroy(self->c.control_fd, name, 0);
		EXPECT_TRUE(ret == 0 || ret == -ENOENT)
			TH_LOG("%d", ret);
		EXPECT_FALSE(node_exists(name));
	}
	EXPECT_EQ(self->c.held_before + (long long)self->c.ring_bytes,
		  held_bytes(self->c.control_fd));
}

/* two who map and two who destroy the same thing: nobody keeps a view of what was given back */
static int maps_at_the_end(int fd, void *arg)
{
	lifetime_data *self = arg;
	unsigned char *ring = map_ring(&self->c, self->c.fd);
	int sig = 0;

	if (!ring)
		return errno == ENODEV ? 0 : 2;
	CHECK(tell(fd));
	while (!sig)
		sig = probe_read(ring);
	return sig == SIGBUS ? 0 : 3;
}

TEST_F_TIMEOUT(lifetime, zap_while_faulting, LONG_TIMEOUT)
{
	unsigned int round, i;

	for (round = 0; round < 10; round++) {
		struct child children[3];

		for (i = 0; i < ARRAY_SIZE(children); i++)
			children[i] = spawn(maps_at_the_end, self);
		ASSERT_TRUE(hear(children[0].fd));
		ASSERT_EQ(0, destroy(self->c.control_fd, self->c.name, ZAP));
		EXPECT_EQ(self->c.held_before, held_bytes(self->c.control_fd));
		for (i = 0; i < ARRAY_SIZE(children); i++)
			EXPECT_EQ(0, reap(&children[i]));
		channel_remove(&self->c);
		ASSERT_EQ(0, channel_make(&self->c, 2));
	}
}

/* ---- the module ---------------------------------------------------------------------------- */

static int unload(void)
{
	return neg_errno(syscall(SYS_delete_module, "hftchan", O_NONBLOCK));
}

TEST_F(lifetime, unload_while_in_use)
{
	int control_fd = self->c.control_fd;
	char modules[65536] = "\n";
	unsigned char *ring;

	ASSERT_LE(0, read_file("/proc/modules", modules + 1, sizeof(modules) - 1));
	if (!strstr(modules, "\nhftchan "))
		SKIP(return, "the module can't be unloaded: it is built in");
	EXPECT_EQ(-EAGAIN, unload());
	/* by the control node alone, by the channel's node alone, by a mapping alone */
	ring = map_ring(&self->c, self->c.fd);
	ASSERT_NE(NULL, ring);
	close(control_fd);
	EXPECT_EQ(-EAGAIN, unload());
	let_go(self);
	EXPECT_EQ(-EAGAIN, unload());
	EXPECT_EQ(0, probe_read(ring));
	self->c.control_fd = open_control(O_RDWR);
	ASSERT_LE(0, self->c.control_fd);
	/* also of a channel that has no name any more */
	EXPECT_EQ(0, destroy(self->c.control_fd, self->c.name, FORCE));
	close(self->c.control_fd);
	EXPECT_EQ(-EAGAIN, unload());
	self->c.control_fd = open_control(O_RDWR);
	ASSERT_LE(0, self->c.control_fd);
	EXPECT_EQ(-EAGAIN, unload());
	munmap(ring, self->c.ring_bytes);
}

TEST_HARNESS_MAIN
