// SPDX-License-Identifier: GPL-2.0
/*
 * A receiver that wants to change what it reads, or to keep hold of it: every way that is known.
 * It is not about plain permissions (mmap.c), nor about roles (roles.c).
 * The contract: nobody but the holder of the sender role changes a byte, and no page can be pinned.
 */
#include "hftchan_util.h"

#include <netinet/in.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>

#define SEED		0xa77ac4
#define BLOCK_BYTES	4096

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif
#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY		60
#endif
#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY		0x4000000
#endif

/* the test itself is the sender; a child attacks */
FIXTURE(attack)
{
	struct channel c;
	unsigned char *tx, *sender_tx;
	int disk;		/* a block device for direct I/O, or -errno */
};

#define attack_data	FIXTURE_DATA(attack)

FIXTURE_VARIANT(attack)
{
	unsigned int uid;
};

FIXTURE_VARIANT_ADD(attack, root)
{
	.uid = 0,
};

FIXTURE_VARIANT_ADD(attack, nobody)
{
	.uid = NOBODY,
};

FIXTURE_SETUP(attack)
{
	ASSERT_EQ(0, channel_make_mode(&self->c, 1, 0644));
	ASSERT_EQ(0, attach_tx(self->c.fd));
	self->tx = map_ring_tx(&self->c, self->c.fd);
	ASSERT_NE(NULL, self->tx);
	self->sender_tx = map_sender_tx(&self->c, self->c.fd);
	ASSERT_NE(NULL, self->sender_tx);
	fill(self->tx, self->c.ring_bytes, SEED);
	fill(self->sender_tx, HFTCHAN_PAGE_BYTES, SEED);
	ASSERT_EQ(0, start_tx(self->c.fd, 1));
	fill(self->sender_tx, HFTCHAN_PAGE_BYTES, SEED);
	self->disk = neg_errno(open("/dev/ram0", O_RDWR | O_DIRECT | O_EXCL | O_CLOEXEC));
}

FIXTURE_TEARDOWN(attack)
{
	/* after whatever the test was */
	EXPECT_EQ(-1, first_difference(self->tx, self->c.ring_bytes, SEED));
	EXPECT_EQ(-1, first_difference(self->sender_tx, HFTCHAN_PAGE_BYTES, SEED));
	EXPECT_EQ(HFTCHAN_MAGIC, self->c.control->magic);
	EXPECT_EQ(HFTCHAN_SENDER_ATTACHED, self->c.control->sender_state);
	EXPECT_EQ(getpid(), holder_pid(self->c.fd));
	if (self->disk >= 0)
		close(self->disk);
	munmap(self->tx, self->c.ring_bytes);
	munmap(self->sender_tx, HFTCHAN_PAGE_BYTES);
	channel_remove(&self->c);
}

/**
 * struct view - a mapping that an attacker has
 * @addr: mapped and touched, so that there are page tables to find
 */
struct view {
	unsigned char *addr;
	size_t bytes;
	const char *name;
};

#define NR_VIEWS	3

/**
 * struct attacker - a process with a receiver's views
 * @self: the sender's side of it, as inherited
 * @uid: whose it is
 * @fd: the node, opened by itself
 * @views: ring, sender page, control page
 * @attack: what it does; 0 when everything was refused
 */
struct attacker {
	attack_data *self;
	unsigned int uid;
	int fd;
	struct view views[NR_VIEWS];
	int (*attack)(struct attacker *a);
};

#define FOR_EACH_VIEW(v, a) for (v = (a)->views; v < (a)->views + NR_VIEWS; v++)

static int attacker(int fd, void *arg)
{
	struct attacker *a = arg;
	const struct channel *c = &a->self->c;
	struct view *v;
	int ret;

	if (a->uid)
		CHECK_EQ(0, become(a->uid));
	/* who may, opens it for writing: that alone gives no right to write */
	a->fd = open_node(c->name, a->uid ? O_RDONLY : O_RDWR);
	CHECK(a->fd >= 0);
	a->views[0] = (struct view){ map_ring(c, a->fd), c->ring_bytes, "ring" };
	a->views[1] = (struct view){ map_sender(c, a->fd), HFTCHAN_PAGE_BYTES, "sender page" };
	a->views[2] = (struct view){
		map_at(a->fd, HFTCHAN_PAGE_BYTES, PROT_READ, 0), HFTCHAN_PAGE_BYTES, "control page"
	};
	FOR_EACH_VIEW(v, a) {
		CHECK(v->addr);
		CHECK_EQ(0, probe_read(v->addr));
		CHECK_EQ(SIGSEGV, probe_write(v->addr));
	}
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	ret = a->attack(a);
	if (ret)
		return ret;
	CHECK_EQ(-1, first_difference(a->views[0].addr, c->ring_bytes, SEED));
	CHECK_EQ(-1, first_difference(a->views[1].addr, HFTCHAN_PAGE_BYTES, SEED));
	CHECK_EQ(HFTCHAN_MAGIC, c->control->magic);
	return 0;
}

static int run_attack(attack_data *self, unsigned int uid, int (*attack)(struct attacker *a))
{
	struct attacker a = { .self = self, .uid = uid, .attack = attack };

	return run_child(attacker, &a);
}

#define ATTACK(name) \
	static int name(struct attacker *a); \
	TEST_F(attack, name) \
	{ \
		EXPECT_EQ(0, run_attack(self, variant->uid, name)); \
	} \
	static int name(struct attacker *a)

/* ---- by way of /proc and ptrace ------------------------------------------------------------ */

static int try_mem(int mem, const struct view *v)
{
	const size_t places[] = { 0, 8, v->bytes / 2, v->bytes - 8 };
	__u64 bad = ~0ULL, seen;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		off_t at = (off_t)(uintptr_t)v->addr + (off_t)places[i];

		CHECK_EQ(-1, pwrite(mem, &bad, sizeof(bad), at));
		CHECK_EQ(sizeof(seen), pread(mem, &seen, sizeof(seen), at));
		CHECK(!memcmp(&seen, v->addr + places[i], sizeof(seen)));
	}
	return 0;
}

ATTACK(own_mem)
{
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	struct view *v;

	CHECK(mem >= 0);
	FOR_EACH_VIEW(v, a)
		CHECK_EQ(0, try_mem(mem, v));
	/* across the end of a view, all in one go */
	CHECK(pwrite(mem, a->self, 64, (off_t)(uintptr_t)a->views[0].addr - 32) < 33);
	return 0;
}

ATTACK(mem_of_a_traced_child)
{
	struct view *v;
	char path[64];
	int mem, status, ret = 0;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		FOR_EACH_VIEW(v, a)
			read_once(v->addr);
		for (;;)
			pause();
	}
	CHECK_EQ(0, ptrace(PTRACE_ATTACH, pid, NULL, NULL));
	CHECK_EQ(pid, waitpid(pid, &status, 0));
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDWR | O_CLOEXEC);
	CHECK(mem >= 0);
	FOR_EACH_VIEW(v, a) {
		struct iovec local = { &status, sizeof(status) };
		struct iovec remote = { v->addr, sizeof(status) };
		long word;

		ret = try_mem(mem, v);
		if (ret)
			break;
		errno = 0;
		CHECK_EQ(-1, ptrace(PTRACE_POKEDATA, pid, v->addr, -1L));
		CHECK(errno == EIO || errno == EFAULT);
		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, pid, v->addr, NULL);
		CHECK(!errno);
		CHECK(!memcmp(&word, v->addr, sizeof(word)));
		CHECK_EQ(-1, process_vm_writev(pid, &local, 1, &remote, 1, 0));
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return ret;
}

/* the sender's own views, from outside: root may read them, nobody may write them */
ATTACK(mem_of_the_sender)
{
	struct view tx[] = {
		{ a->self->tx, a->self->c.ring_bytes, "tx ring" },
		{ a->self->sender_tx, HFTCHAN_PAGE_BYTES, "tx sender page" },
	};
	__u64 word = ~0ULL, seen;
	char path[64];
	size_t i;
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/mem", getppid());
	mem = open(path, O_RDWR | O_CLOEXEC);
	for (i = 0; i < ARRAY_SIZE(tx); i++) {
		struct iovec local = { &word, sizeof(word) };
		struct iovec remote = { tx[i].addr, sizeof(word) };

		CHECK_EQ(-1, process_vm_writev(getppid(), &local, 1, &remote, 1, 0));
		if (a->uid) {
			CHECK_EQ(EPERM, errno);
			CHECK(mem < 0);
			continue;
		}
		CHECK(mem >= 0);
		CHECK_EQ(-1, pwrite(mem, &word, sizeof(word), (off_t)(uintptr_t)tx[i].addr));
		CHECK_EQ(sizeof(seen), pread(mem, &seen, sizeof(seen),
					     (off_t)(uintptr_t)tx[i].addr));
		CHECK(seen == SEED);
	}
	return 0;
}

ATTACK(process_vm)
{
	struct view *v;

	FOR_EACH_VIEW(v, a) {
		char buf[64];
		struct iovec local = { buf, sizeof(buf) }, remote = { v->addr, sizeof(buf) };
		ssize_t n;

		memset(buf, 0xff, sizeof(buf));
		CHECK_EQ(-1, process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
		CHECK_EQ(EFAULT, errno);
		/* reading may be refused, but not wrong */
		n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
		CHECK(n < 0 || !memcmp(buf, v->addr, (size_t)n));
	}
	return 0;
}

/* ---- by the kernel's own writes ------------------------------------------------------------ */

ATTACK(system_calls_that_write)
{
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC), sv[2], pipes[2];
	struct hftchan_ioc_info i;
	struct view *v;
	char byte = 1;

	CHECK(zero >= 0);
	CHECK_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	CHECK_EQ(0, pipe(pipes));
	FOR_EACH_VIEW(v, a) {
		struct iovec to = { v->addr, 1 };

		CHECK_EQ(-1, read(zero, v->addr, 8));
		CHECK_EQ(EFAULT, errno);
		CHECK_EQ(1, write(sv[0], &byte, 1));
		CHECK_EQ(-1, recv(sv[1], v->addr, 1, MSG_DONTWAIT));
		CHECK_EQ(1, write(pipes[1], &byte, 1));
		CHECK_EQ(-1, vmsplice(pipes[0], &to, 1, SPLICE_F_NONBLOCK));
		CHECK_EQ(-1, syscall(SYS_getrandom, v->addr, 8, 0));
		CHECK_EQ(-1, syscall(SYS_clock_gettime, CLOCK_MONOTONIC, v->addr));
		CHECK_EQ(-1, syscall(SYS_futex, v->addr, FUTEX_WAKE_OP, 1, 1, v->addr,
				     FUTEX_OP(FUTEX_OP_SET, 0, FUTEX_OP_CMP_EQ, 0)));
		CHECK_EQ(-1, syscall(SYS_futex, v->addr, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
		(void)syscall(SYS_futex, v->addr, FUTEX_WAKE, 1, NULL, NULL, 0);
		(void)syscall(SYS_futex, v->addr, FUTEX_WAIT, 0x5a5a5a5a, NULL, NULL, 0);
		/* our own ioctl's answers, too */
		CHECK(call(a->fd, HFTCHAN_IOC_INFO, v->addr) < 0);
		memset(&i, 0, sizeof(i));
		i.size = sizeof(i);
		i.nr_nodes = 2;
		i.nodes = (uintptr_t)v->addr;
		CHECK_EQ(-EFAULT, call(a->fd, HFTCHAN_IOC_INFO, &i));
	}
	return 0;
}

struct robust_list_head_abi {
	void *next;
	long futex_offset;
	void *pending;
};

/* at its exit a thread's memory is written: the word of its tid, and futexes that it held */
ATTACK(writes_at_exit)
{
	struct view *v;

	FOR_EACH_VIEW(v, a) {
		pid_t pid = fork();
		int status;

		CHECK(pid >= 0);
		if (!pid) {
			struct robust_list_head_abi head = { &head, 0, v->addr };

			read_once(v->addr);
			syscall(SYS_set_tid_address, v->addr);
			syscall(SYS_set_robust_list, &head, sizeof(head));
			_exit(0);
		}
		CHECK_EQ(pid, waitpid(pid, &status, 0));
		CHECK_EQ(0, status);
	}
	return 0;
}

/* ---- by pages that something else holds ---------------------------------------------------- */

ATTACK(vmsplice_pages)
{
	static const unsigned int flags[] = { 0, SPLICE_F_GIFT };
	struct view *v;
	size_t i;

	FOR_EACH_VIEW(v, a) {
		for (i = 0; i < ARRAY_SIZE(flags); i++) {
			struct iovec from = { v->addr, BLOCK_BYTES };
			int pipes[2];

			CHECK_EQ(0, pipe(pipes));
			CHECK_EQ(-1, vmsplice(pipes[1], &from, 1, flags[i] | SPLICE_F_NONBLOCK));
			CHECK_EQ(EFAULT, errno);
			/* nothing to splice on */
			CHECK_EQ(-1, splice(pipes[0], NULL, pipes[1], NULL, 1, SPLICE_F_NONBLOCK));
			close(pipes[0]);
			close(pipes[1]);
		}
	}
	return 0;
}

static int direct_io(int disk, unsigned char *addr)
{
	CHECK_EQ(-1, pread(disk, addr, BLOCK_BYTES, 0));
	CHECK_EQ(EFAULT, errno);
	CHECK_EQ(-1, pwrite(disk, addr, BLOCK_BYTES, 0));
	CHECK_EQ(EFAULT, errno);
	return 0;
}

static int direct_io_of_a_receiver(struct attacker *a)
{
	struct view *v;

	FOR_EACH_VIEW(v, a)
		CHECK_EQ(0, direct_io(a->self->disk, v->addr));
	return 0;
}

TEST_F(attack, direct_io)
{
	unsigned char *buf = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);

	ASSERT_LE(0, self->disk)
		TH_LOG("/dev/ram0: %s; CONFIG_BLK_DEV_RAM, modprobe brd", strerror(-self->disk));
	/* it works, with other memory */
	ASSERT_EQ(BLOCK_BYTES, pread(self->disk, buf, BLOCK_BYTES, 0));
	ASSERT_EQ(BLOCK_BYTES, pwrite(self->disk, buf, BLOCK_BYTES, 0));
	EXPECT_EQ(0, run_attack(self, variant->uid, direct_io_of_a_receiver));
	/* nor the sender's: what is in flight would outlive the role */
	EXPECT_EQ(0, direct_io(self->disk, self->tx));
	EXPECT_EQ(0, direct_io(self->disk, self->sender_tx));
	free(buf);
}

/* the same for the sender's other ways to have its pages held */
TEST_F(attack, sender_pins)
{
	unsigned char *views[] = { self->tx, self->sender_tx };
	int pipes[2];
	size_t i;

	ASSERT_EQ(0, pipe(pipes));
	for (i = 0; i < ARRAY_SIZE(views); i++) {
		struct iovec from = { views[i], BLOCK_BYTES };
		char buf[8];
		struct iovec local = { buf, sizeof(buf) };

		memset(buf, 0xff, sizeof(buf));
		EXPECT_EQ(-1, vmsplice(pipes[1], &from, 1, SPLICE_F_NONBLOCK));
		EXPECT_EQ(-1, vmsplice(pipes[1], &from, 1, SPLICE_F_NONBLOCK | SPLICE_F_GIFT));
		EXPECT_EQ(-1, process_vm_writev(getpid(), &local, 1, &from, 1, 0));
	}
	close(pipes[0]);
	close(pipes[1]);
}

static int register_buffer(int ring, void *addr, size_t bytes)
{
	struct iovec iov = { addr, bytes };
	int ret = neg_errno(syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1));

	if (!ret)
		syscall(SYS_io_uring_register, ring, IORING_UNREGISTER_BUFFERS, NULL, 0);
	return ret;
}

ATTACK(io_uring_fixed_buffers)
{
	struct io_uring_params params = { 0 };
	int ring = (int)syscall(SYS_io_uring_setup, 4, &params);
	void *ordinary = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
	struct view *v;

	CHECK(ring >= 0);
	CHECK_EQ(0, register_buffer(ring, ordinary, BLOCK_BYTES));
	FOR_EACH_VIEW(v, a) {
		CHECK_EQ(-EFAULT, register_buffer(ring, v->addr, BLOCK_BYTES));
		if (v->bytes > BLOCK_BYTES && !a->uid)
			CHECK_EQ(-EFAULT, register_buffer(ring, v->addr, v->bytes));
	}
	return 0;
}

TEST_F(attack, sender_fixed_buffers)
{
	struct io_uring_params params = { 0 };
	int ring = (int)syscall(SYS_io_uring_setup, 4, &params);

	ASSERT_LE(0, ring);
	EXPECT_EQ(-EFAULT, register_buffer(ring, self->tx, self->c.ring_bytes));
	EXPECT_EQ(-EFAULT, register_buffer(ring, self->tx, BLOCK_BYTES));
	EXPECT_EQ(-EFAULT, register_buffer(ring, self->sender_tx, BLOCK_BYTES));
	close(ring);
}

/* a send without copying holds pages until the peer has read them */
ATTACK(send_without_copying)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), sender, one = 1;
	struct view *v;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(listener >= 0);
	CHECK_EQ(0, bind(listener, (struct sockaddr *)&addr, sizeof(addr)));
	CHECK_EQ(0, listen(listener, 1));
	CHECK_EQ(0, getsockname(listener, (struct sockaddr *)&addr, &len));
	sender = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_EQ(0, setsockopt(sender, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)));
	CHECK_EQ(0, connect(sender, (struct sockaddr *)&addr, sizeof(addr)));
	CHECK_EQ(64, send(sender, a, 64, MSG_ZEROCOPY | MSG_DONTWAIT));
	FOR_EACH_VIEW(v, a) {
		CHECK_EQ(-1, send(sender, v->addr, BLOCK_BYTES, MSG_ZEROCOPY | MSG_DONTWAIT));
		CHECK_EQ(EFAULT, errno);
	}
	return 0;
}

/* ---- by faults that somebody else answers -------------------------------------------------- */

ATTACK(userfaultfd)
{
	static const __u64 modes[] = {
		UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_WP, UFFDIO_REGISTER_MODE_MINOR,
		UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
	};
	void *ordinary = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	struct uffdio_register own = {
		.range = { (uintptr_t)ordinary, BLOCK_BYTES },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct view *v;
	size_t i;

	CHECK(fd >= 0);
	CHECK_EQ(0, ioctl(fd, UFFDIO_API, &api));
	CHECK_EQ(0, ioctl(fd, UFFDIO_REGISTER, &own));
	CHECK_EQ(0, ioctl(fd, UFFDIO_UNREGISTER, &own.range));
	FOR_EACH_VIEW(v, a) {
		struct uffdio_copy copy = {
			.dst = (uintptr_t)v->addr,
			.src = (uintptr_t)ordinary,
			.len = BLOCK_BYTES,
		};
		struct uffdio_zeropage zero = { .range = { (uintptr_t)v->addr, BLOCK_BYTES } };

		for (i = 0; i < ARRAY_SIZE(modes); i++) {
			struct uffdio_register reg = {
				.range = { (uintptr_t)v->addr, v->bytes },
				.mode = modes[i],
			};

			CHECK_EQ(-1, ioctl(fd, UFFDIO_REGISTER, &reg));
		}
		CHECK_EQ(-1, ioctl(fd, UFFDIO_COPY, &copy));
		CHECK_EQ(-1, ioctl(fd, UFFDIO_ZEROPAGE, &zero));
	}
	close(fd);
	return 0;
}

/* ---- by advice ----------------------------------------------------------------------------- */

/* those that would discard, move, replace or pin pages, and whatever comes in later kernels */
static void advise(unsigned char *addr, size_t bytes)
{
	int advice;

	for (advice = 0; advice < 40; advice++) {
		if (advice == MADV_DONTFORK)
			continue;
		(void)madvise(addr, bytes, advice);
		(void)madvise(addr, BLOCK_BYTES, advice);
		if (bytes > 2 * BLOCK_BYTES)
			(void)madvise(addr + BLOCK_BYTES, BLOCK_BYTES, advice);
	}
}

ATTACK(advice)
{
	struct view *v;

	FOR_EACH_VIEW(v, a) {
		advise(v->addr, v->bytes);
		CHECK_EQ(-1, madvise(v->addr, v->bytes, MADV_REMOVE));
		CHECK_EQ(-1, madvise(v->addr, v->bytes, MADV_FREE));
		CHECK_EQ(-1, madvise(v->addr, v->bytes, MADV_POPULATE_WRITE));
		CHECK_EQ(-1, madvise(v->addr, v->bytes, MADV_WIPEONFORK));
		CHECK_EQ(-1, madvise(v->addr, v->bytes, MADV_COLLAPSE));
		/* errors of the memory, on demand: for root, but not for what can't be pinned */
		CHECK_EQ(-1, madvise(v->addr, BLOCK_BYTES, MADV_HWPOISON));
		CHECK_EQ(-1, madvise(v->addr, BLOCK_BYTES, MADV_SOFT_OFFLINE));
	}
	return 0;
}

TEST_F(attack, advice_of_the_sender)
{
	advise(self->tx, self->c.ring_bytes);
	advise(self->sender_tx, HFTCHAN_PAGE_BYTES);
	EXPECT_EQ(-1, madvise(self->tx, self->c.ring_bytes, MADV_REMOVE));
	EXPECT_EQ(-1, madvise(self->tx, BLOCK_BYTES, MADV_HWPOISON));
	EXPECT_EQ(-1, madvise(self->tx, BLOCK_BYTES, MADV_SOFT_OFFLINE));
}

ATTACK(rights_and_moves)
{
	struct view *v;

	FOR_EACH_VIEW(v, a) {
		CHECK_EQ(-EACCES, neg_errno(mprotect(v->addr, v->bytes, PROT_READ | PROT_WRITE)));
		CHECK(mremap(v->addr, 0, v->bytes, MREMAP_MAYMOVE) == MAP_FAILED);
		CHECK(mmap(NULL, v->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, a->fd,
			   a->self->c.control->ring_offset) == MAP_FAILED);
	}
	return 0;
}

/* in a child, which may lose its view by that */
ATTACK(other_pages_in_the_same_place)
{
	struct view *v;
	size_t pgoff;

	FOR_EACH_VIEW(v, a) {
		pid_t pid = fork();
		int status;

		CHECK(pid >= 0);
		if (!pid) {
			for (pgoff = 0; pgoff < 1024; pgoff++)
				(void)syscall(SYS_remap_file_pages, v->addr, v->bytes, 0, pgoff, 0);
			_exit(probe_write(v->addr) ? 0 : 1);
		}
		CHECK_EQ(pid, waitpid(pid, &status, 0));
		CHECK_EQ(0, status);
	}
	return 0;
}

/* ---- by placement -------------------------------------------------------------------------- */

ATTACK(page_migration)
{
	unsigned long all = ~0UL;
	struct view *v;

	FOR_EACH_VIEW(v, a) {
		void *pages[] = { v->addr };
		int node = 0, status = 0;
		unsigned char vec[HUGE_BYTES / 4096];

		(void)syscall(SYS_move_pages, 0, 1UL, pages, &node, &status, 1 << 1);
		if (!a->uid)
			(void)syscall(SYS_move_pages, 0, 1UL, pages, &node, &status, 1 << 2);
		(void)syscall(SYS_mbind, v->addr, v->bytes, 2, &all, 2UL, 1 << 0 | 1 << 1);
		(void)syscall(SYS_migrate_pages, 0, 64UL, &all, &all);
		(void)mincore(v->addr, v->bytes, vec);
		(void)mlock(v->addr, v->bytes);
		(void)msync(v->addr, v->bytes, MS_SYNC | MS_INVALIDATE);
	}
	return 0;
}

/* ---- arguments that lie in the channel itself ---------------------------------------------- */

/* faults on them come while the module works on that very channel: none may wait for itself */
TEST(arguments_in_the_ring)
{
	struct channel c;
	unsigned char *tx;
	union {
		struct hftchan_ioc_info info;
		struct hftchan_ioc_start_tx start;
		struct hftchan_ioc_detach_tx detach;
		struct hftchan_ioc_prefault prefault;
		struct hftchan_ioc_destroy destroy;
	} *args;

	ASSERT_EQ(0, channel_make(&c, 1));
	ASSERT_EQ(0, attach_tx(c.fd));
	tx = map_ring_tx(&c, c.fd);
	ASSERT_NE(NULL, tx);
	args = (void *)tx;
	/* not touched before: the first access to the mapping is the kernel's */
	EXPECT_EQ(-EINVAL, call(c.fd, HFTCHAN_IOC_INFO, args));
	args->info.size = sizeof(args->info);
	args->info.nr_nodes = 8;
	args->info.nodes = (uintptr_t)tx + 4096;
	EXPECT_EQ(0, call(c.fd, HFTCHAN_IOC_INFO, args));
	EXPECT_EQ(getpid(), args->info.out_holder_pid);
	memset(args, 0, sizeof(*args));
	args->start.size = sizeof(args->start);
	args->start.seq = 1;
	EXPECT_EQ(0, call(c.fd, HFTCHAN_IOC_START_TX, args));
	EXPECT_EQ(1, args->start.out_epoch);
	memset(args, 0, sizeof(*args));
	args->prefault.size = sizeof(args->prefault);
	args->prefault.addr = (uintptr_t)tx;
	args->prefault.length = c.ring_bytes;
	EXPECT_EQ(0, call(c.fd, HFTCHAN_IOC_PREFAULT, args));
	/* it takes its own argument away, and is done all the same */
	memset(args, 0, sizeof(*args));
	args->detach.size = sizeof(args->detach);
	EXPECT_EQ(0, call(c.fd, HFTCHAN_IOC_DETACH_TX, args));
	EXPECT_EQ(0, holder_pid(c.fd));
	EXPECT_EQ(SIGBUS, probe_read(tx));

	ASSERT_EQ(0, attach_tx(c.fd));
	memset(args, 0, sizeof(*args));
	args->destroy.size = sizeof(args->destroy);
	args->destroy.flags = HFTCHAN_DESTROY_F_FORCE | HFTCHAN_DESTROY_F_ZAP;
	memcpy(args->destroy.name, c.name, sizeof(c.name));
	EXPECT_EQ(0, call(c.control_fd, HFTCHAN_IOC_DESTROY, args));
	EXPECT_NE(0, c.control->destroyed);
	EXPECT_EQ(c.held_before, held_bytes(c.control_fd));
	munmap(tx, c.ring_bytes);
	channel_remove(&c);
}

TEST_HARNESS_MAIN
