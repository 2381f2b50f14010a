// SPDX-License-Identifier: GPL-2.0
/*
 * The sender role: who gets it, who can't share it, when it ends, what others are told.
 * It is not about what the sender writes (ring.c), nor about destroyed channels (lifetime.c).
 * The contract is at ATTACH_TX, START_TX and DETACH_TX in <linux/hftchan.h>.
 */
#include "hftchan_util.h"

#include <pthread.h>
#include <sched.h>
#include <sys/un.h>

FIXTURE(roles)
{
	struct channel c;
	int tx;			/* the open file that takes the role in most tests */
	unsigned char *ring;	/* a receiver's view */
};

#define roles_data	FIXTURE_DATA(roles)

FIXTURE_SETUP(roles)
{
	ASSERT_EQ(0, channel_make(&self->c, 1));
	self->tx = open_node(self->c.name, O_RDWR);
	ASSERT_LE(0, self->tx);
	self->ring = map_ring(&self->c, self->c.fd);
	ASSERT_NE(NULL, self->ring);
}

FIXTURE_TEARDOWN(roles)
{
	munmap(self->ring, self->c.ring_bytes);
	close(self->tx);
	channel_remove(&self->c);
}

/* nobody sends, and the control page says so */
static bool role_is_free(const struct channel *c)
{
	if (c->control->ended_epoch != c->control->epoch)
		return false;
	if (c->control->sender_state == HFTCHAN_SENDER_ATTACHED || holder_pid(c->fd))
		return false;
	return !attach_tx(c->fd) && !detach_tx(c->fd);
}

/* ---- one sender ---------------------------------------------------------------------------- */

static int other_process(int fd, void *arg)
{
	roles_data *self = arg;
	int own = open_node(self->c.name, O_RDWR);

	CHECK(own >= 0);
	CHECK_EQ(-EBUSY, attach_tx(own));
	CHECK_EQ(-EPERM, start_tx(own, 1));
	CHECK_EQ(-EPERM, detach_tx(own));
	return 0;
}

TEST_F(roles, only_one)
{
	EXPECT_EQ(-EPERM, start_tx(self->tx, 1));
	EXPECT_EQ(-EPERM, detach_tx(self->tx));
	EXPECT_EQ(0, holder_pid(self->c.fd));
	ASSERT_EQ(0, attach_tx(self->tx));
	EXPECT_EQ(getpid(), holder_pid(self->c.fd));
	EXPECT_EQ(-EBUSY, attach_tx(self->tx));
	EXPECT_EQ(-EBUSY, attach_tx(self->c.fd));
	EXPECT_EQ(-EPERM, start_tx(self->c.fd, 1));
	EXPECT_EQ(-EPERM, detach_tx(self->c.fd));
	EXPECT_EQ(0, run_child(other_process, self));
	EXPECT_EQ(0, start_tx(self->tx, 1));
	EXPECT_EQ(-EBUSY, attach_tx(self->tx));
	EXPECT_EQ(-EBUSY, attach_tx(self->c.fd));
	EXPECT_EQ(0, run_child(other_process, self));
	EXPECT_EQ(0, detach_tx(self->tx));
	EXPECT_EQ(-EPERM, detach_tx(self->tx));
	EXPECT_EQ(-EPERM, start_tx(self->tx, 1));
	EXPECT_EQ(0, attach_tx(self->c.fd));
	EXPECT_EQ(-EBUSY, attach_tx(self->tx));
}

TEST_F(roles, epochs)
{
	const struct hftchan_control *p = self->c.control;
	__u64 epoch;

	for (epoch = 1; epoch <= 5; epoch++) {
		ASSERT_EQ(0, attach_tx(self->tx));
		/* nothing is published before START */
		EXPECT_EQ(epoch - 1, p->epoch);
		EXPECT_EQ(epoch - 1, p->ended_epoch);
		EXPECT_EQ(HFTCHAN_SENDER_NONE, p->sender_state);
		ASSERT_EQ(0, start_tx(self->tx, 100 * epoch));
		EXPECT_EQ(-EINVAL, start_tx(self->tx, 100 * epoch));
		EXPECT_EQ(epoch, p->epoch);
		EXPECT_EQ(100 * epoch, p->epoch_seq);
		EXPECT_EQ(epoch - 1, p->ended_epoch);
		EXPECT_EQ(HFTCHAN_SENDER_ATTACHED, p->sender_state);
		EXPECT_LE(p->created_ns, p->attached_ns);
		ASSERT_EQ(0, detach_tx(self->tx));
		EXPECT_EQ(epoch, p->epoch);
		EXPECT_EQ(epoch, p->ended_epoch);
		EXPECT_EQ(HFTCHAN_SENDER_NONE, p->sender_state);
		EXPECT_EQ(0, p->nr_deaths);
	}
	/* a role that never started leaves no trace */
	ASSERT_EQ(0, attach_tx(self->tx));
	ASSERT_EQ(0, detach_tx(self->tx));
	EXPECT_EQ(5, p->epoch);
	EXPECT_EQ(5, p->ended_epoch);
}

/**
 * struct contest - processes that want the role at the same moment
 * @go: set when all may try
 * @ready: how many wait for that
 * @winners: how many had it
 * @inside: how many have it now
 * @wrong: more than one had it at a time
 */
struct contest {
	const char *name;
	unsigned int go, ready, winners, inside, wrong;
};

#define NR_CONTESTANTS	4
#define NR_ATTACHES	50

static int contestant(int fd, void *arg)
{
	struct contest *t = arg;
	int own = open_node(t->name, O_RDWR);
	unsigned int i, won = 0;

	CHECK(own >= 0);
	__atomic_fetch_add(&t->ready, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&t->go, __ATOMIC_ACQUIRE))
		sched_yield();
	while (won < NR_ATTACHES) {
		int ret = attach_tx(own);

		if (ret == -EBUSY) {
			sched_yield();
			continue;
		}
		CHECK_EQ(0, ret);
		won++;
		if (__atomic_fetch_add(&t->inside, 1, __ATOMIC_ACQ_REL))
			__atomic_fetch_add(&t->wrong, 1, __ATOMIC_RELAXED);
		CHECK_EQ(0, start_tx(own, 1));
		for (i = 0; i < 100; i++)
			if (__atomic_load_n(&t->inside, __ATOMIC_RELAXED) != 1)
				__atomic_fetch_add(&t->wrong, 1, __ATOMIC_RELAXED);
		__atomic_fetch_sub(&t->inside, 1, __ATOMIC_ACQ_REL);
		CHECK_EQ(0, detach_tx(own));
	}
	__atomic_fetch_add(&t->winners, won, __ATOMIC_RELAXED);
	return 0;
}

TEST_F_TIMEOUT(roles, contest, LONG_TIMEOUT)
{
	struct contest *t = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				 -1, 0);
	struct child children[NR_CONTESTANTS];
	unsigned int i;

	ASSERT_NE(MAP_FAILED, t);
	t->name = self->c.name;
	for (i = 0; i < NR_CONTESTANTS; i++)
		children[i] = spawn(contestant, t);
	while (__atomic_load_n(&t->ready, __ATOMIC_ACQUIRE) < NR_CONTESTANTS)
		sched_yield();
	__atomic_store_n(&t->go, 1, __ATOMIC_RELEASE);
	for (i = 0; i < NR_CONTESTANTS; i++)
		EXPECT_EQ(0, reap(&children[i]));
	EXPECT_EQ(0, t->wrong);
	EXPECT_EQ(NR_CONTESTANTS * NR_ATTACHES, t->winners);
	EXPECT_EQ(NR_CONTESTANTS * NR_ATTACHES, self->c.control->epoch);
	EXPECT_EQ(self->c.control->epoch, self->c.control->ended_epoch);
	EXPECT_TRUE(role_is_free(&self->c));
	munmap(t, 4096);
}

/* ---- what goes with the role --------------------------------------------------------------- */

TEST_F(roles, detach_takes_the_views)
{
	unsigned char *tx, *sender_tx, *sender = map_sender(&self->c, self->c.fd), byte;
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

	ASSERT_NE(NULL, sender);
	ASSERT_LE(0, mem);
	ASSERT_EQ(0, attach_tx(self->tx));
	tx = map_ring_tx(&self->c, self->tx);
	ASSERT_NE(NULL, tx);
	sender_tx = map_sender_tx(&self->c, self->tx);
	ASSERT_NE(NULL, sender_tx);
	fill(tx, self->c.ring_bytes, 1);
	WRITE_ONCE(*(__u64 *)sender_tx, 42);
	ASSERT_EQ(0, start_tx(self->tx, 1));
	WRITE_ONCE(*(__u64 *)sender_tx, 43);
	EXPECT_EQ(43, READ_ONCE(*(__u64 *)sender));
	ASSERT_EQ(0, detach_tx(self->tx));

	EXPECT_EQ(SIGBUS, probe_write(tx));
	EXPECT_EQ(SIGBUS, probe_read(tx));
	EXPECT_EQ(SIGBUS, probe_write(tx + self->c.ring_bytes - 1));
	EXPECT_EQ(SIGBUS, probe_write(sender_tx));
	EXPECT_EQ(SIGBUS, probe_read(sender_tx));
	/* a debugger sees no more than that */
	EXPECT_EQ(-1, pread(mem, &byte, 1, (off_t)(uintptr_t)tx));
	EXPECT_EQ(-1, pread(mem, &byte, 1, (off_t)(uintptr_t)sender_tx));
	EXPECT_EQ(1, pread(mem, &byte, 1, (off_t)(uintptr_t)self->ring));
	EXPECT_EQ(-EPERM, try_map(self->tx, self->c.ring_bytes, PROT_READ, MAP_SHARED,
				  self->c.control->ring_tx_offset));
	/* a successor by another file does not revive them */
	ASSERT_EQ(0, attach_tx(self->c.fd));
	EXPECT_EQ(SIGBUS, probe_write(tx));
	EXPECT_EQ(SIGBUS, probe_write(sender_tx));
	ASSERT_EQ(0, detach_tx(self->c.fd));
	/* no receiver noticed */
	EXPECT_EQ(-1, first_difference(self->ring, self->c.ring_bytes, 1));
	EXPECT_EQ(43, READ_ONCE(*(__u64 *)sender));
	munmap(tx, self->c.ring_bytes);
	munmap(sender_tx, HFTCHAN_PAGE_BYTES);
	munmap(sender, HFTCHAN_PAGE_BYTES);
	close(mem);
}

/* what a process can't do with a descriptor whose role it doesn't hold */
static int has_no_role(const struct channel *c, int tx)
{
	CHECK_EQ(-EPERM, start_tx(tx, 1));
	CHECK_EQ(-EPERM, detach_tx(tx));
	CHECK_EQ(-EBUSY, attach_tx(tx));
	CHECK_EQ(-EPERM, try_map(tx, c->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
				 c->control->ring_tx_offset));
	CHECK_EQ(-EPERM, try_map(tx, c->ring_bytes, PROT_READ, MAP_SHARED,
				 c->control->ring_tx_offset));
	CHECK_EQ(-EPERM, try_map(tx, HFTCHAN_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
				 c->control->sender_tx_offset));
	return 0;
}

static int forked(int fd, void *arg)
{
	roles_data *self = arg;

	return has_no_role(&self->c, self->tx);
}

TEST_F(roles, fork_does_not_share_it)
{
	ASSERT_EQ(0, attach_tx(self->tx));
	EXPECT_EQ(0, run_child(forked, self));
	EXPECT_EQ(getpid(), holder_pid(self->c.fd));
	EXPECT_EQ(0, start_tx(self->tx, 1));
	EXPECT_EQ(0, run_child(forked, self));
	EXPECT_EQ(HFTCHAN_SENDER_ATTACHED, self->c.control->sender_state);
	EXPECT_EQ(0, detach_tx(self->tx));
}

static int gets_a_descriptor(int fd, void *arg)
{
	roles_data *self = arg;
	int tx = receive_fd(fd);

	CHECK(tx >= 0);
	return has_no_role(&self->c, tx);
}

TEST_F(roles, a_socket_does_not_share_it)
{
	struct child child = spawn(gets_a_descriptor, self);

	ASSERT_LT(0, child.pid);
	ASSERT_EQ(0, attach_tx(self->tx));
	ASSERT_EQ(0, start_tx(self->tx, 1));
	ASSERT_TRUE(send_fd(child.fd, self->tx));
	EXPECT_EQ(0, reap(&child));
	EXPECT_EQ(getpid(), holder_pid(self->c.fd));
	EXPECT_EQ(HFTCHAN_SENDER_ATTACHED, self->c.control->sender_state);
}

/* the other way round: the child takes it by the inherited file, the parent has nothing */
static int takes_it(int fd, void *arg)
{
	roles_data *self = arg;

	CHECK_EQ(0, attach_tx(self->tx));
	CHECK_EQ(0, start_tx(self->tx, 1));
	CHECK(tell(fd));
	hear(fd);
	return 0;
}

TEST_F(roles, a_child_takes_it)
{
	struct child child = spawn(takes_it, self);

	ASSERT_LT(0, child.pid);
	ASSERT_TRUE(hear(child.fd));
	EXPECT_EQ(child.pid, holder_pid(self->c.fd));
	EXPECT_EQ(0, has_no_role(&self->c, self->tx));
	EXPECT_EQ(0, reap(&child));
	EXPECT_TRUE(role_is_free(&self->c));
	EXPECT_EQ(HFTCHAN_SENDER_DIED, self->c.control->sender_state);
	EXPECT_EQ(1, self->c.control->nr_deaths);
}

/* ---- threads and processes that share the memory ------------------------------------------- */

static void *attach_thread(void *arg)
{
	return (void *)(intptr_t)attach_tx(*(int *)arg);
}

static void *start_thread(void *arg)
{
	return (void *)(intptr_t)start_tx(*(int *)arg, 1);
}

TEST_F(roles, threads_share_it)
{
	pthread_t thread;
	void *ret;

	ASSERT_EQ(0, pthread_create(&thread, NULL, attach_thread, &self->tx));
	ASSERT_EQ(0, pthread_join(thread, &ret));
	ASSERT_EQ(NULL, ret);
	/* the thread is gone, the role is not */
	EXPECT_EQ(-EBUSY, attach_tx(self->c.fd));
	EXPECT_EQ(getpid(), holder_pid(self->c.fd));
	ASSERT_EQ(0, pthread_create(&thread, NULL, start_thread, &self->tx));
	ASSERT_EQ(0, pthread_join(thread, &ret));
	EXPECT_EQ(NULL, ret);
	EXPECT_EQ(HFTCHAN_SENDER_ATTACHED, self->c.control->sender_state);
	EXPECT_EQ(0, detach_tx(self->tx));
}

struct leader {
	int fd;
	int tx;
};

static void *survivor(void *arg)
{
	struct leader *l = arg;

	/* the leader is a zombie as soon as its stat says so; the role must not care */
	for (;;) {
		char path[64], buf[512], *state;

		snprintf(path, sizeof(path), "/proc/self/task/%d/stat", getpid());
		if (read_file(path, buf, sizeof(buf)) < 0)
			_exit(2);
		state = strrchr(buf, ')');
		if (state && state[2] == 'Z')
			break;
		sched_yield();
	}
	if (start_tx(l->tx, 1))
		_exit(3);
	tell(l->fd);
	hear(l->fd);
	_exit(0);
}

static int leader_leaves(int fd, void *arg)
{
	roles_data *self = arg;
	static struct leader l;
	pthread_t thread;

	l.fd = fd;
	l.tx = self->tx;
	CHECK_EQ(0, attach_tx(self->tx));
	CHECK_EQ(0, pthread_create(&thread, NULL, survivor, &l));
	syscall(SYS_exit, 0);
	return 1;
}

TEST_F(roles, the_first_thread_leaves)
{
	struct child child = spawn(leader_leaves, self);

	ASSERT_LT(0, child.pid);
	ASSERT_TRUE(hear(child.fd));
	EXPECT_EQ(-EBUSY, attach_tx(self->c.fd));
	EXPECT_EQ(child.pid, holder_pid(self->c.fd));
	EXPECT_EQ(0, reap(&child));
	EXPECT_TRUE(role_is_free(&self->c));
}

struct same_memory {
	const struct channel *c;
	int tx;
	unsigned char *ring;
};

static int shares_memory(void *arg)
{
	struct same_memory *s = arg;

	if (start_tx(s->tx, 1))
		return 2;
	WRITE_ONCE(*(__u64 *)s->ring, 99);
	if (try_map(s->tx, s->c->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		    s->c->control->ring_tx_offset))
		return 3;
	return 0;
}

TEST_F(roles, a_process_with_the_same_memory_uses_it)
{
	static char stack[65536];
	struct same_memory s = { .c = &self->c, .tx = self->tx };
	int status;
	pid_t pid;

	ASSERT_EQ(0, attach_tx(self->tx));
	s.ring = map_ring_tx(&self->c, self->tx);
	ASSERT_NE(NULL, s.ring);
	pid = clone(shares_memory, stack + sizeof(stack), CLONE_VM | CLONE_FILES | SIGCHLD, &s);
	ASSERT_LT(0, pid);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(99, READ_ONCE(*(__u64 *)self->ring));
	/* it has ended, the memory has not */
	EXPECT_EQ(-EBUSY, attach_tx(self->c.fd));
	EXPECT_EQ(0, probe_write(s.ring));
	EXPECT_EQ(0, detach_tx(self->tx));
	munmap(s.ring, self->c.ring_bytes);
}

/* the same table of descriptors, other memory: no */
TEST_F(roles, a_process_with_the_same_files_does_not)
{
	struct child child;

	ASSERT_EQ(0, attach_tx(self->tx));
	child = spawn_flags(forked, self, CLONE_FILES);
	ASSERT_LT(0, child.pid);
	/* it closed the other end of its socket in our table, too */
	EXPECT_EQ(0, reap(&child));
	EXPECT_EQ(0, start_tx(self->tx, 1));
}

/* ---- the end of it ------------------------------------------------------------------------- */

TEST_F(roles, a_mapping_keeps_it)
{
	unsigned char *tx;

	ASSERT_EQ(0, attach_tx(self->tx));
	tx = map_ring_tx(&self->c, self->tx);
	ASSERT_NE(NULL, tx);
	ASSERT_EQ(0, start_tx(self->tx, 1));
	close(self->tx);
	self->tx = -1;
	EXPECT_EQ(0, probe_write(tx));
	EXPECT_EQ(-EBUSY, attach_tx(self->c.fd));
	EXPECT_EQ(HFTCHAN_SENDER_ATTACHED, self->c.control->sender_state);
	ASSERT_EQ(0, munmap(tx, self->c.ring_bytes));
	EXPECT_TRUE(role_is_free(&self->c));
}

TEST_F(roles, close_ends_it)
{
	unsigned char *tx;
	int copy;

	ASSERT_EQ(0, attach_tx(self->tx));
	ASSERT_EQ(0, start_tx(self->tx, 1));
	tx = map_ring_tx(&self->c, self->tx);
	ASSERT_NE(NULL, tx);
	ASSERT_EQ(0, munmap(tx, self->c.ring_bytes));
	copy = dup(self->tx);
	close(self->tx);
	EXPECT_EQ(-EBUSY, attach_tx(self->c.fd));
	close(copy);
	self->tx = -1;
	EXPECT_TRUE(role_is_free(&self->c));
}

static int exits_in_order(int fd, void *arg)
{
	roles_data *self = arg;
	int own = open_node(self->c.name, O_RDWR);

	CHECK_EQ(0, attach_tx(own));
	CHECK(map_ring_tx(&self->c, own));
	return 0;
}

TEST_F(roles, exit_ends_it)
{
	EXPECT_EQ(0, run_child(exits_in_order, self));
	/* it never started: nobody died, as far as receivers are concerned */
	EXPECT_TRUE(role_is_free(&self->c));
	EXPECT_EQ(0, self->c.control->nr_deaths);
	EXPECT_EQ(0, self->c.control->epoch);
}

static int is_killed(int fd, void *arg)
{
	roles_data *self = arg;
	int own = open_node(self->c.name, O_RDWR);
	int sv[2];
	unsigned char *tx;

	CHECK(own >= 0);
	CHECK_EQ(0, attach_tx(own));
	tx = map_ring_tx(&self->c, own);
	CHECK(tx);
	WRITE_ONCE(*(__u64 *)tx, 1);
	CHECK_EQ(0, start_tx(own, 1));
	/* into a queue that nobody reads: both of its ends sit in our own other socket */
	CHECK_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	CHECK(send_fd(sv[0], own));
	CHECK(send_fd(fd, sv[1]));
	/* and into another process */
	CHECK(send_fd(fd, own));
	for (;;)
		WRITE_ONCE(*(__u64 *)tx, READ_ONCE(*(__u64 *)tx) + 1);
	return 0;
}

TEST_F(roles, kill_ends_it)
{
	__u64 round;

	for (round = 1; round <= 3; round++) {
		struct child child = spawn(is_killed, self);
		int queue, leaked;
		__u64 seen;

		ASSERT_LT(0, child.pid);
		queue = receive_fd(child.fd);
		ASSERT_LE(0, queue);
		leaked = receive_fd(child.fd);
		ASSERT_LE(0, leaked);
		EXPECT_EQ(child.pid, holder_pid(leaked));
		EXPECT_EQ(-EBUSY, attach_tx(self->tx));
		EXPECT_EQ(HFTCHAN_SENDER_ATTACHED, self->c.control->sender_state);
		EXPECT_EQ(0, has_no_role(&self->c, leaked));
		kill(child.pid, SIGKILL);
		ASSERT_EQ(-SIGKILL, reap(&child));
		EXPECT_EQ(round, self->c.control->epoch);
		EXPECT_EQ(round, self->c.control->ended_epoch);
		EXPECT_EQ(round, self->c.control->nr_deaths);
		EXPECT_EQ(HFTCHAN_SENDER_DIED, self->c.control->sender_state);
		EXPECT_EQ(0, holder_pid(leaked));
		seen = READ_ONCE(*(__u64 *)self->ring);
		/* the leaked file is one like any other now, and gets it as any other */
		EXPECT_EQ(-EPERM, start_tx(leaked, 1));
		EXPECT_EQ(0, attach_tx(leaked));
		EXPECT_EQ(-EBUSY, attach_tx(self->tx));
		EXPECT_EQ(0, detach_tx(leaked));
		EXPECT_EQ(0, attach_tx(self->tx));
		EXPECT_EQ(0, detach_tx(self->tx));
		EXPECT_EQ(seen, READ_ONCE(*(__u64 *)self->ring));
		close(leaked);
		close(queue);
	}
}

/* ---- exec ---------------------------------------------------------------------------------- */

#define AFTER_EXEC	"HFTCHAN_SELFTEST_AFTER_EXEC"

/* the new program: says that it runs, and stays until it is let go */
static void __attribute__((constructor)) after_exec(void)
{
	const char *fd = getenv(AFTER_EXEC);

	if (!fd)
		return;
	_exit(tell(atoi(fd)) ? hear(atoi(fd)) : 2);
}

static int execs(int fd, void *arg)
{
	roles_data *self = arg;
	int own = open_node(self->c.name, O_RDWR);
	char *const argv[] = { "roles", NULL };
	char variable[64];
	char *const envp[] = { variable, NULL };

	CHECK(own >= 0);
	CHECK_EQ(0, fcntl(own, F_SETFD, 0));
	CHECK_EQ(0, fcntl(fd, F_SETFD, 0));
	CHECK_EQ(0, attach_tx(own));
	CHECK_EQ(0, start_tx(own, 1));
	snprintf(variable, sizeof(variable), AFTER_EXEC "=%d", fd);
	execve("/proc/self/exe", argv, envp);
	return 1;
}

TEST_F(roles, exec_ends_it)
{
	struct child child = spawn(execs, self);
	struct hftchan_ioc_info i;

	ASSERT_LT(0, child.pid);
	ASSERT_TRUE(hear(child.fd));
	/* the same process, the same open file, other memory */
	EXPECT_EQ(0, info(self->c.fd, &i));
	EXPECT_EQ(3, i.out_nr_open);
	EXPECT_EQ(0, i.out_holder_pid);
	EXPECT_EQ(HFTCHAN_SENDER_DIED, self->c.control->sender_state);
	EXPECT_EQ(1, self->c.control->nr_deaths);
	EXPECT_TRUE(role_is_free(&self->c));
	EXPECT_EQ(0, reap(&child));
	EXPECT_EQ(0, info(self->c.fd, &i));
	EXPECT_EQ(2, i.out_nr_open);
}

/* ---- what others are told ------------------------------------------------------------------ */

static int first_of_its_namespace(int fd, void *arg)
{
	roles_data *self = arg;

	CHECK_EQ(1, getpid());
	/* the parent sends: it can't be seen from here, but that somebody does can */
	CHECK_EQ(0, holder_pid(self->tx));
	CHECK_EQ(-EBUSY, attach_tx(self->tx));
	CHECK(tell(fd));
	CHECK(hear(fd));
	CHECK_EQ(0, attach_tx(self->tx));
	CHECK_EQ(1, holder_pid(self->tx));
	CHECK(tell(fd));
	hear(fd);
	return 0;
}

TEST_F(roles, pid_namespaces)
{
	struct child child;

	ASSERT_EQ(0, attach_tx(self->c.fd));
	child = spawn_flags(first_of_its_namespace, self, CLONE_NEWPID);
	ASSERT_LT(0, child.pid);
	ASSERT_TRUE(hear(child.fd));
	ASSERT_EQ(0, detach_tx(self->c.fd));
	ASSERT_TRUE(tell(child.fd));
	ASSERT_TRUE(hear(child.fd));
	EXPECT_EQ(child.pid, holder_pid(self->c.fd));
	EXPECT_EQ(0, reap(&child));
	EXPECT_TRUE(role_is_free(&self->c));
}

static int waits_in_shared_memory(void *arg)
{
	int fd = *(int *)arg;

	tell(fd);
	hear(fd);
	return 0;
}

static int leaves_memory_behind(int fd, void *arg)
{
	static char stack[65536];
	roles_data *self = arg;

	CHECK_EQ(0, attach_tx(self->tx));
	CHECK_EQ(0, start_tx(self->tx, 1));
	CHECK(clone(waits_in_shared_memory, stack + sizeof(stack), CLONE_VM | SIGCHLD, &fd) > 0);
	pause();
	return 1;
}

/* killed, but its memory is still in use: said to be on its way out, the role held until then */
TEST_F(roles, holder_exits_slowly)
{
	struct hftchan_ioc_info i;
	struct child child;
	siginfo_t si;
	pid_t pid;

	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	child = spawn(leaves_memory_behind, self);
	ASSERT_LT(0, child.pid);
	ASSERT_TRUE(hear(child.fd));
	ASSERT_EQ(0, info(self->c.fd, &i));
	EXPECT_EQ(0, i.out_holder_flags);
	EXPECT_EQ(child.pid, i.out_holder_pid);
	kill(child.pid, SIGKILL);
	ASSERT_EQ(0, waitid(P_PID, child.pid, &si, WEXITED | WNOWAIT));
	ASSERT_EQ(0, info(self->c.fd, &i));
	EXPECT_EQ(HFTCHAN_HOLDER_EXITING, i.out_holder_flags);
	EXPECT_EQ(child.pid, i.out_holder_pid);
	EXPECT_EQ(-EBUSY, attach_tx(self->c.fd));
	pid = child.pid;
	EXPECT_EQ(-SIGKILL, reap(&child));	/* this lets the other one go */
	while (waitpid(-1, NULL, 0) > 0)
		;
	EXPECT_LT(0, pid);
	EXPECT_EQ(HFTCHAN_SENDER_DIED, self->c.control->sender_state);
	EXPECT_TRUE(role_is_free(&self->c));
}

#define DUMP_SOCKET	"hftchan-selftest-dump"
#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"

/* The kernel's core dump helper: says that it runs, and takes the dump when it is let go. */
static void __attribute__((constructor)) dump_helper(int argc, char **argv)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char buf[65536];
	int fd;

	if (argc != 2 || strcmp(argv[1], DUMP_SOCKET))
		return;
	strcpy(addr.sun_path + 1, DUMP_SOCKET);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		_exit(2);
	hear(fd);
	while (read(0, buf, sizeof(buf)) > 0)
		;
	_exit(0);
}

static int dumps_core(int fd, void *arg)
{
	roles_data *self = arg;

	CHECK_EQ(0, attach_tx(self->tx));
	CHECK_EQ(0, start_tx(self->tx, 1));
	abort();
}

TEST_F(roles, holder_dumps_core)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char old[256], exe[200], pattern[256];
	struct hftchan_ioc_info i;
	struct child child;
	int listener, helper;
	ssize_t n;

	ASSERT_LE(0, read_file(CORE_PATTERN, old, sizeof(old)));
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	ASSERT_LT(0, n);
	exe[n] = 0;
	if (strlen(exe) + sizeof(DUMP_SOCKET) + 2 > 127 || strchr(exe, ' '))
		SKIP(return, "core_pattern has no room for %s", exe);
	strcpy(addr.sun_path + 1, DUMP_SOCKET);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ASSERT_EQ(0, bind(listener, (struct sockaddr *)&addr, sizeof(addr)));
	ASSERT_EQ(0, listen(listener, 1));
	snprintf(pattern, sizeof(pattern), "|%s " DUMP_SOCKET, exe);
	ASSERT_EQ(0, write_file(CORE_PATTERN, pattern));

	child = spawn(dumps_core, self);
	helper = accept(listener, NULL, NULL);
	EXPECT_LE(0, helper);
	EXPECT_EQ(0, info(self->c.fd, &i));
	EXPECT_EQ(child.pid, i.out_holder_pid);
	EXPECT_EQ(HFTCHAN_HOLDER_DUMPING, i.out_holder_flags & HFTCHAN_HOLDER_DUMPING);
	EXPECT_EQ(-EBUSY, attach_tx(self->c.fd));
	EXPECT_EQ(HFTCHAN_SENDER_ATTACHED, self->c.control->sender_state);
	close(helper);
	EXPECT_EQ(-SIGABRT, reap(&child));
	EXPECT_EQ(0, write_file(CORE_PATTERN, old));
	EXPECT_EQ(HFTCHAN_SENDER_DIED, self->c.control->sender_state);
	EXPECT_TRUE(role_is_free(&self->c));
	close(listener);
}

/* ---- permissions --------------------------------------------------------------------------- */

static int nobody(int fd, void *arg)
{
	const unsigned int *mode = arg;
	int own;

	CHECK_EQ(0, become(NOBODY));
	own = open_node("selftest-roles-mode", O_RDWR);
	if (!(*mode & 02)) {
		CHECK_EQ(-EACCES, own);
	} else {
		CHECK(own >= 0);
		CHECK_EQ(0, attach_tx(own));
		CHECK_EQ(0, start_tx(own, 1));
		CHECK_EQ(0, detach_tx(own));
	}
	own = open_node("selftest-roles-mode", O_RDONLY);
	if (!(*mode & 04)) {
		CHECK_EQ(-EACCES, own);
	} else {
		CHECK(own >= 0);
		CHECK_EQ(-EACCES, attach_tx(own));
	}
	return 0;
}

TEST_F(roles, permissions)
{
	static unsigned int modes[] = { 0600, 0640, 0644, 0666 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		ASSERT_EQ(0, create_mode(self->c.control_fd, "selftest-roles-mode", 1, modes[i]));
		EXPECT_EQ(0, run_child(nobody, &modes[i]))
			TH_LOG("mode %#o", modes[i]);
		ASSERT_EQ(0, destroy(self->c.control_fd, "selftest-roles-mode", 0));
	}
}

TEST_HARNESS_MAIN
