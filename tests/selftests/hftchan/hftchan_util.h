/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the hftchan tests share: channels with own names, children, accesses that may fault.
 * It is not a client library: every helper is one system call or close to it, nothing is retried.
 * The contract is that of <linux/hftchan.h>; helpers return what the call gave, or -errno.
 */
#ifndef SELFTESTS_HFTCHAN_UTIL_H
#define SELFTESTS_HFTCHAN_UTIL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/hftchan.h>

#include "../kselftest_harness.h"

#define HUGE_BYTES	(2UL << 20)

/* seconds that a test may take which others do in less than one: for slow, instrumented kernels */
#define LONG_TIMEOUT	250

#define SLOT_BYTES	64
#define SLOTS_PER_PAGE	(HUGE_BYTES / SLOT_BYTES)
#define NOBODY		65534

#define SYSFS_CLASS	"/sys/class/hftchan"
#define MODULE_PARAMS	"/sys/module/hftchan/parameters"

#define PATH_BYTES	(sizeof(HFTCHAN_NODE_PREFIX) + HFTCHAN_NAME_BYTES)

/* shared memory: one access, of the size of its type, that no compiler leaves out or repeats */
#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, value)	__atomic_store_n(&(x), (value), __ATOMIC_RELAXED)

static inline void read_once(const void *addr)
{
	__asm__ volatile("" : : "r"(READ_ONCE(*(const unsigned char *)addr)) : "memory");
}

static inline int neg_errno(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

static inline int call(int fd, unsigned long cmd, void *arg)
{
	return neg_errno(ioctl(fd, cmd, arg));
}

/* ---- commands ------------------------------------------------------------------------------ */

static inline void unique_name(char *name)
{
	static unsigned int nr;

	memset(name, 0, HFTCHAN_NAME_BYTES);
	snprintf(name, HFTCHAN_NAME_BYTES, "selftest-%d-%u", getpid(), nr++);
}

static inline void node_path(char *path, const char *name)
{
	snprintf(path, PATH_BYTES, HFTCHAN_NODE_PREFIX "%.*s", HFTCHAN_NAME_MAX, name);
}

/* @pages: 2-MiB pages of the ring, a power of two. Outputs hold what no kernel would write. */
static inline void create_args(struct hftchan_ioc_create *args, const char *name,
			       unsigned int pages)
{
	memset(args, 0, sizeof(*args));
	args->size = sizeof(*args);
	args->nr_slots = pages * SLOTS_PER_PAGE;
	args->first_seq = 1;
	args->payload_size = SLOT_BYTES - 8;
	args->node = -1;
	args->mode = 0600;
	args->uid = -1;
	args->gid = -1;
	snprintf(args->name, sizeof(args->name), "%s", name);
	args->out_nr_pages = ~0ULL;
	args->out_node = -99;
}

static inline int create(int control_fd, const char *name, unsigned int pages)
{
	struct hftchan_ioc_create args;

	create_args(&args, name, pages);
	return call(control_fd, HFTCHAN_IOC_CREATE, &args);
}

static inline int create_mode(int control_fd, const char *name, unsigned int pages,
			      unsigned int mode)
{
	struct hftchan_ioc_create args;

	create_args(&args, name, pages);
	args.mode = mode;
	return call(control_fd, HFTCHAN_IOC_CREATE, &args);
}

static inline int destroy(int control_fd, const char *name, unsigned int flags)
{
	struct hftchan_ioc_destroy args = { .size = sizeof(args), .flags = flags };

	snprintf(args.name, sizeof(args.name), "%s", name);
	return call(control_fd, HFTCHAN_IOC_DESTROY, &args);
}

static inline int limits(int control_fd, struct hftchan_ioc_limits *args)
{
	memset(args, 0, sizeof(*args));
	args->size = sizeof(*args);
	return call(control_fd, HFTCHAN_IOC_LIMITS, args);
}

/* bytes that all rings hold; -errno when it can't be asked */
static inline long long held_bytes(int control_fd)
{
	struct hftchan_ioc_limits args;
	int ret = limits(control_fd, &args);

	return ret ? ret : (long long)args.out_bytes;
}

/*
 * The same after a CREATE that failed. A channel that was never made goes with its device: at once,
 * but for seconds later, without an event, where the kernel delays such releases on purpose
 * (CONFIG_DEBUG_KOBJECT_RELEASE). One that was made must free its ring when nobody uses it.
 */
static inline long long held_finally(int control_fd, long long expected)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	long long held = held_bytes(control_fd);
	int i;

	for (i = 0; i < 500 && held > expected; i++) {
		nanosleep(&pause, NULL);
		held = held_bytes(control_fd);
	}
	return held;
}

/*
 * Waits likewise until the module knows of no channel but those that have a name, so that nothing
 * of an earlier test comes back during the next one.
 */
static inline int settle(int control_fd)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	int i;

	for (i = 0; i < 500; i++) {
		struct hftchan_ioc_limits args;
		unsigned int named = 0;
		struct dirent *entry;
		DIR *dir = opendir(SYSFS_CLASS);

		if (!dir || limits(control_fd, &args))
			return -errno;
		while ((entry = readdir(dir)))
			named += !strncmp(entry->d_name, "hftchan-", 8);
		closedir(dir);
		if (args.out_nr_channels == named)
			return 0;
		nanosleep(&pause, NULL);
	}
	return -ETIMEDOUT;
}

static inline int info(int fd, struct hftchan_ioc_info *args)
{
	memset(args, 0, sizeof(*args));
	args->size = sizeof(*args);
	return call(fd, HFTCHAN_IOC_INFO, args);
}

static inline int holder_pid(int fd)
{
	struct hftchan_ioc_info args;
	int ret = info(fd, &args);

	return ret ? ret : args.out_holder_pid;
}

static inline int prefault(int fd, const void *addr, size_t length)
{
	struct hftchan_ioc_prefault args = {
		.size = sizeof(args),
		.addr = (uintptr_t)addr,
		.length = length,
	};

	return call(fd, HFTCHAN_IOC_PREFAULT, &args);
}

static inline int attach_tx(int fd)
{
	struct hftchan_ioc_attach_tx args = { .size = sizeof(args) };

	return call(fd, HFTCHAN_IOC_ATTACH_TX, &args);
}

static inline int start_tx(int fd, __u64 seq)
{
	struct hftchan_ioc_start_tx args = { .size = sizeof(args), .seq = seq };

	return call(fd, HFTCHAN_IOC_START_TX, &args);
}

static inline int detach_tx(int fd)
{
	struct hftchan_ioc_detach_tx args = { .size = sizeof(args) };

	return call(fd, HFTCHAN_IOC_DETACH_TX, &args);
}

static inline int open_node(const char *name, int flags)
{
	char path[PATH_BYTES];

	node_path(path, name);
	return neg_errno(open(path, flags | O_CLOEXEC));
}

static inline bool node_exists(const char *name)
{
	char path[PATH_BYTES];

	node_path(path, name);
	return !access(path, F_OK);
}

/* ---- mappings ------------------------------------------------------------------------------ */

/* where a mapping went, or NULL with errno */
static inline void *map_at(int fd, size_t bytes, int prot, __u64 offset)
{
	void *addr = mmap(NULL, bytes, prot, MAP_SHARED, fd, (off_t)offset);

	return addr == MAP_FAILED ? NULL : addr;
}

/* 0, when it could be mapped (it is unmapped again), or -errno */
static inline int try_map(int fd, size_t bytes, int prot, int flags, __u64 offset)
{
	void *addr = mmap(NULL, bytes, prot, flags, fd, (off_t)offset);

	if (addr == MAP_FAILED)
		return -errno;
	return neg_errno(munmap(addr, bytes));
}

/* an aligned hole of address space; @bytes of it may be mapped over with MAP_FIXED */
static inline unsigned char *reserve_aligned(size_t bytes)
{
	uintptr_t addr = (uintptr_t)mmap(NULL, bytes + HUGE_BYTES, PROT_NONE,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (addr == (uintptr_t)MAP_FAILED)
		return NULL;
	return (unsigned char *)((addr + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1));
}

/* ---- a channel to test with ---------------------------------------------------------------- */

/**
 * struct channel - one channel, open
 * @name: of its own
 * @control_fd: /dev/hftchan
 * @fd: its node, read and write
 * @control: the control page
 * @ring_bytes: of the ring's region
 * @held_before: bytes that all rings held before it was made
 */
struct channel {
	char name[HFTCHAN_NAME_BYTES];
	int control_fd;
	int fd;
	const struct hftchan_control *control;
	size_t ring_bytes;
	long long held_before;
};

static inline int open_control(int flags)
{
	return neg_errno(open(HFTCHAN_CONTROL_NODE, flags | O_CLOEXEC));
}

static inline int channel_make_mode(struct channel *c, unsigned int pages, unsigned int mode)
{
	int ret;

	memset(c, 0, sizeof(*c));
	c->fd = -1;
	c->control_fd = open_control(O_RDWR);
	if (c->control_fd < 0)
		return c->control_fd;
	c->held_before = held_bytes(c->control_fd);
	unique_name(c->name);
	ret = create_mode(c->control_fd, c->name, pages, mode);
	if (ret)
		return ret;
	c->fd = open_node(c->name, O_RDWR);
	if (c->fd < 0)
		return c->fd;
	c->control = map_at(c->fd, HFTCHAN_PAGE_BYTES, PROT_READ, 0);
	if (!c->control)
		return -errno;
	c->ring_bytes = pages * HUGE_BYTES;
	return 0;
}

static inline int channel_make(struct channel *c, unsigned int pages)
{
	return channel_make_mode(c, pages, 0600);
}

/* whatever the test left of it goes */
static inline void channel_remove(struct channel *c)
{
	destroy(c->control_fd, c->name, HFTCHAN_DESTROY_F_FORCE | HFTCHAN_DESTROY_F_ZAP);
	if (c->control)
		munmap((void *)(uintptr_t)c->control, HFTCHAN_PAGE_BYTES);
	if (c->fd >= 0)
		close(c->fd);
	if (c->control_fd >= 0)
		close(c->control_fd);
}

static inline void *map_ring(const struct channel *c, int fd)
{
	return map_at(fd, c->ring_bytes, PROT_READ, c->control->ring_offset);
}

static inline void *map_ring_tx(const struct channel *c, int fd)
{
	return map_at(fd, c->ring_bytes, PROT_READ | PROT_WRITE, c->control->ring_tx_offset);
}

static inline void *map_sender(const struct channel *c, int fd)
{
	return map_at(fd, HFTCHAN_PAGE_BYTES, PROT_READ, c->control->sender_offset);
}

static inline void *map_sender_tx(const struct channel *c, int fd)
{
	return map_at(fd, HFTCHAN_PAGE_BYTES, PROT_READ | PROT_WRITE, c->control->sender_tx_offset);
}

/* a view of every word that shows which word it is; @seed tells fillings apart */
static inline void fill(void *ring, size_t bytes, __u64 seed)
{
	__u64 *word = ring;
	size_t i;

	for (i = 0; i < bytes / sizeof(*word); i++)
		WRITE_ONCE(word[i], seed + i * 0x9e3779b97f4a7c15ULL);
}

/* index of the first word that fill() did not leave so, or -1 */
static inline long first_difference(const void *ring, size_t bytes, __u64 seed)
{
	const __u64 *word = ring;
	size_t i;

	for (i = 0; i < bytes / sizeof(*word); i++)
		if (READ_ONCE(word[i]) != seed + i * 0x9e3779b97f4a7c15ULL)
			return (long)i;
	return -1;
}

/* ---- accesses that may fault --------------------------------------------------------------- */

static __thread sigjmp_buf probe_env;

static inline void probe_handler(int sig)
{
	siglongjmp(probe_env, sig);
}

static inline void probe_arm(void)
{
	struct sigaction action = { .sa_handler = probe_handler };

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
}

/* 0, or the signal that the load brought */
static inline int probe_read(const void *addr)
{
	int sig;

	probe_arm();
	sig = sigsetjmp(probe_env, 1);
	if (!sig)
		read_once(addr);
	return sig;
}

/* the same of a store, which changes nothing when it works on memory that nobody else writes */
static inline int probe_write(void *addr)
{
	int sig;

	probe_arm();
	sig = sigsetjmp(probe_env, 1);
	if (!sig)
		WRITE_ONCE(*(unsigned char *)addr, 0xa5);
	return sig;
}

/* ---- children ------------------------------------------------------------------------------ */

/**
 * struct child - a process that runs one function
 * @pid: its pid
 * @fd: a socket to it, see tell() and hear()
 */
struct child {
	pid_t pid;
	int fd;
};

/* what a sweep or a loop is at, for check_failed(); empty: nothing to tell */
static char check_note[64];

static inline void check_failed(const char *file, int line, const char *what, long long seen)
{
	fprintf(stderr, "# %s:%d: %s: %lld, errno %d %s\n",
		file, line, what, seen, errno, check_note);
	_exit(1);
}

/* In a child, and in what it calls: like ASSERT_*, which can only be used in the test itself. */
#define CHECK(condition) do { \
	if (!(condition)) \
		check_failed(__FILE__, __LINE__, "false: " #condition, 0); \
} while (0)

#define CHECK_EQ(expected, seen) do { \
	long long __s = (seen); \
	\
	if (__s != (long long)(expected)) \
		check_failed(__FILE__, __LINE__, #seen " is not " #expected, __s); \
} while (0)

static inline struct child spawn_flags(int (*fn)(int fd, void *arg), void *arg, int flags)
{
	struct child c = { .pid = -1, .fd = -1 };
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		return c;
	fflush(NULL);
	/* as fork(), with CLONE_* beside */
	c.pid = (pid_t)syscall(SYS_clone, (unsigned long)(flags | SIGCHLD), NULL, NULL, NULL, NULL);
	if (!c.pid) {
		signal(SIGBUS, SIG_DFL);
		signal(SIGSEGV, SIG_DFL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(sv[0]);
		_exit(fn(sv[1], arg));
	}
	close(sv[1]);
	c.fd = sv[0];
	return c;
}

static inline struct child spawn(int (*fn)(int fd, void *arg), void *arg)
{
	return spawn_flags(fn, arg, 0);
}

/* exit code, or minus the signal that ended it, after its socket is closed */
static inline int reap(struct child *c)
{
	int status;

	close(c->fd);
	if (waitpid(c->pid, &status, 0) != c->pid)
		return -1000;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static inline int run_child(int (*fn)(int fd, void *arg), void *arg)
{
	struct child c = spawn(fn, arg);

	return c.pid < 0 ? -1000 : reap(&c);
}

/* one step done, for the other side of a child's socket */
static inline bool tell(int fd)
{
	return send(fd, "", 1, MSG_NOSIGNAL) == 1;
}

/* waits for that; false: the other side has ended instead */
static inline bool hear(int fd)
{
	char byte;

	return read(fd, &byte, 1) == 1;
}

static inline bool send_fd(int sock, int fd)
{
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} u;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = u.buf,
		.msg_controllen = sizeof(u.buf),
	};
	struct cmsghdr *cmsg;

	memset(&u, 0, sizeof(u));
	cmsg = CMSG_FIRSTHDR(&msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(sock, &msg, MSG_NOSIGNAL) == 1;
}

static inline int receive_fd(int sock)
{
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} u;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = u.buf,
		.msg_controllen = sizeof(u.buf),
	};
	struct cmsghdr *cmsg;
	int fd = -1;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1)
		return -1;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

/* Gives up every right, for good; /proc/self stays readable as for any user's process. */
static inline int become(unsigned int uid)
{
	if (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
		return -errno;
	return neg_errno(prctl(PR_SET_DUMPABLE, 1));
}

/* ---- files --------------------------------------------------------------------------------- */

static inline int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;
	int err;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	err = errno;
	close(fd);
	return n < 0 ? -err : 0;
}

/* bytes read, zero-terminated, without the newline at the end; or -errno */
static inline int read_file(const char *path, char *buf, size_t bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;
	int err;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, bytes - 1);
	err = errno;
	close(fd);
	if (n < 0)
		return -err;
	if (n && buf[n - 1] == '\n')
		n--;
	buf[n] = 0;
	return (int)n;
}

static inline long long read_number(const char *path)
{
	char buf[64];
	int ret = read_file(path, buf, sizeof(buf));

	return ret < 0 ? ret : strtoll(buf, NULL, 0);
}

/* ---- control groups ------------------------------------------------------------------------ */

/**
 * struct cgroup - a group of the test's own
 * @dir: its directory
 * @mounted: where its file system was mounted for that, empty: it was there
 * @v1: of the first version
 */
struct cgroup {
	char dir[160];
	char mounted[64];
	bool v1;
};

static inline int cgroup_write(const struct cgroup *g, const char *file, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", g->dir, file);
	return write_file(path, text);
}

/* number in a file; @key: of the line that begins with it, NULL: of the first line */
static inline long long cgroup_read(const struct cgroup *g, const char *file, const char *key)
{
	char path[256], buf[8192], *line;
	int ret;

	snprintf(path, sizeof(path), "%s/%s", g->dir, file);
	ret = read_file(path, buf, sizeof(buf));
	if (ret < 0)
		return ret;
	if (!key)
		return strtoll(buf, NULL, 0);
	for (line = strtok(buf, "\n"); line; line = strtok(NULL, "\n"))
		if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == ' ')
			return strtoll(line + strlen(key), NULL, 0);
	return -ENOENT;
}

/* in the unified hierarchy where the controller is there, otherwise in one of its own */
static inline int cgroup_make(struct cgroup *g, const char *controller)
{
	char base[64] = "/sys/fs/cgroup", path[128], buf[512];

	memset(g, 0, sizeof(*g));
	if (access("/sys/fs/cgroup/cgroup.controllers", F_OK)) {
		snprintf(base, sizeof(base), "/tmp/hftchan-selftest-cgroup-%d", getpid());
		if (mkdir(base, 0700) || mount("cgroup", base, "cgroup2", 0, NULL))
			return -errno;
		strcpy(g->mounted, base);
	}
	snprintf(path, sizeof(path), "%s/cgroup.controllers", base);
	if (read_file(path, buf, sizeof(buf)) < 0 || !strstr(buf, controller)) {
		if (g->mounted[0])
			umount(base);
		snprintf(base, sizeof(base), "/tmp/hftchan-selftest-cgroup1-%d", getpid());
		if (mkdir(base, 0700) || mount("cgroup", base, "cgroup", 0, controller))
			return -errno;
		strcpy(g->mounted, base);
		g->v1 = true;
	} else {
		snprintf(path, sizeof(path), "%s/cgroup.subtree_control", base);
		snprintf(buf, sizeof(buf), "+%s", controller);
		if (write_file(path, buf))
			return -errno;
	}
	snprintf(g->dir, sizeof(g->dir), "%s/hftchan-selftest-%d", base, getpid());
	return neg_errno(mkdir(g->dir, 0700));
}

/* the caller is in it from now on */
static inline int cgroup_enter(const struct cgroup *g)
{
	return cgroup_write(g, "cgroup.procs", "0");
}

static inline int cgroup_remove(const struct cgroup *g)
{
	int ret = neg_errno(rmdir(g->dir));

	if (g->mounted[0]) {
		umount(g->mounted);
		rmdir(g->mounted);
	}
	return ret;
}

#endif /* SELFTESTS_HFTCHAN_UTIL_H */
