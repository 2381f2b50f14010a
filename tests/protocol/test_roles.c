// SPDX-License-Identifier: MIT
/*
 * One sender at a time: who gets the role, who is refused, and when it is free again; what a forked
 * child has of it. Owners: whose channels are opened, who may send.
 * It is no test of what the next sender finds in the ring (test_resume.c).
 * The contract is hftchan_attach(), hftchan_open() and "Fork" in <hftchan.h>.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../libuser/src/internal.h"

#include "common.h"

static const char *const backends[] = { SHARED, "local:" };

/* what parents and children tell each other */
struct shared {
	char name[64];
	uint64_t step;
	uint64_t pid;
};

static struct shared *shared_channel(struct hftchan **ch)
{
	struct hftchan_attr attr = attr_of(16, 8);
	struct shared *s = shared_memory(sizeof(*s));

	strcpy(s->name, new_name(SHARED));
	*ch = create_channel(s->name, &attr);
	return s;
}

static void test_second_in_the_same_process(void **state)
{
	unsigned int b;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct hftchan_attr attr = attr_of(16, 8);
		const char *name = new_name(backends[b]);
		struct hftchan *ch = create_channel(name, &attr), *other = NULL;
		struct hftchan_tx *tx = attach(ch), *second = NULL;
		struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
		unsigned char buf[16];

		assert_int_equal(hftchan_attach(ch, 0, &second), -EBUSY);
		assert_non_null(strstr(hftchan_strerror_last(), hftchan_name(ch)));
		if (!b) {
			char pid[32];

			snprintf(pid, sizeof(pid), "pid %d", (int)getpid());
			assert_non_null(strstr(hftchan_strerror_last(), pid));
			/* another handle, of the same process: the same channel */
			other = open_channel(name);
			assert_int_equal(hftchan_attach(other, 0, &second), -EBUSY);
		}
		assert_null(second);
		/* the first one was not disturbed */
		assert_int_equal(info_of(ch).epoch, 1);
		send_next(tx);
		assert_int_equal(hftchan_try_recv(rx, buf, 16, NULL), 16);
		hftchan_detach(tx);
		assert_int_equal(hftchan_attach(other ? other : ch, 0, &second), 0);
		assert_int_equal(info_of(ch).epoch, 2);
		hftchan_detach(second);
		hftchan_leave(rx);
		hftchan_close(other);
		hftchan_close(ch);
	}
}

static int attach_is_busy(void *arg)
{
	struct shared *s = arg;
	struct hftchan *ch = open_channel(s->name);
	struct hftchan_tx *tx = NULL;

	CHECK_EQ(hftchan_attach(ch, 0, &tx), -EBUSY);
	CHECK(strstr(hftchan_strerror_last(), s->name));
	hftchan_close(ch);
	return 0;
}

static int hold_role(void *arg)
{
	struct shared *s = arg;
	struct hftchan *ch = open_channel(s->name);
	struct hftchan_tx *tx = attach(ch);

	send_many(tx, 3);
	publish_word(&s->step, 1);
	wait_to_be_killed();
}

static void test_second_in_another_process(void **state)
{
	struct hftchan *ch;
	struct shared *s = shared_channel(&ch);
	struct hftchan_tx *tx = attach(ch);

	(void)state;
	assert_int_equal(in_child(attach_is_busy, s), 0);
	hftchan_detach(tx);
	hftchan_close(ch);
}

/* kill -9: free at once, although nobody has waited for the dead process */
static void test_free_after_kill(void **state)
{
	struct hftchan *ch;
	struct shared *s = shared_channel(&ch);
	struct hftchan_tx *tx = NULL;
	siginfo_t info;
	pid_t pid;

	(void)state;
	pid = start_child(hold_role, s);
	await_word(&s->step, 1);
	assert_int_equal(hftchan_attach(ch, 0, &tx), -EBUSY);
	assert_int_equal(info_of(ch).sender_pid, pid);
	assert_int_equal(info_of(ch).sender_state, HFTCHAN_SENDER_ATTACHED);
	kill(pid, SIGKILL);
	/* dead, but still a zombie */
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(info_of(ch).sender_state, HFTCHAN_SENDER_DIED);
	assert_int_equal(hftchan_attach(ch, 0, &tx), 0);
	assert_int_equal(hftchan_tx_seq(tx), 4);
	assert_int_equal(info_of(ch).epoch, 2);
	assert_int_equal(info_of(ch).nr_deaths, 1);
	reap(pid);
	hftchan_detach(tx);
	hftchan_close(ch);
}

static int exec_while_sending(void *arg)
{
	struct shared *s = arg;
	struct hftchan *ch = open_channel(s->name);
	struct hftchan_tx *tx = attach(ch);

	send_many(tx, 3);
	execl("/bin/sleep", "sleep", "1000", (char *)NULL);
	return 1;
}

static void test_free_after_exec(void **state)
{
	struct hftchan *ch;
	struct shared *s = shared_channel(&ch);
	struct hftchan_tx *tx = NULL;
	char comm[64], path[64] = "";
	uint64_t give_up;
	pid_t pid;
	int err;

	(void)state;
	pid = start_child(exec_while_sending, s);
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	do {
		FILE *f = fopen(path, "re");

		assert_non_null(f);
		assert_non_null(fgets(comm, sizeof(comm), f));
		fclose(f);
	} while (strcmp(comm, "sleep\n") != 0);
	/* the kernel closes its files on the way, which may be a moment after the new name shows */
	give_up = now_ns() + 20000000000ULL;
	do {
		err = hftchan_attach(ch, 0, &tx);
	} while (err == -EBUSY && now_ns() < give_up);
	assert_int_equal(err, 0);
	assert_int_equal(hftchan_tx_seq(tx), 4);
	hftchan_detach(tx);
	kill_child(pid);
	hftchan_close(ch);
}

/* ---------------------------------------------------------------- fork */

struct handles {
	struct shared *s;
	struct hftchan *ch;
	struct hftchan_tx *tx;
	struct hftchan_rx *rx;
};

static int linger(void *arg)
{
	struct handles *h = arg;

	publish_word(&h->s->pid, (uint64_t)getpid());
	wait_to_be_killed();
}

static int attach_fork_and_die(void *arg)
{
	struct handles h = { .s = arg };

	h.ch = open_channel(h.s->name);
	h.tx = attach(h.ch);
	send_many(h.tx, 5);
	start_child(linger, &h);
	await_word(&h.s->pid, 1);
	raise(SIGKILL);
	return 1;
}

/* the parent dies, its forked child lives on: the role is free all the same */
static void test_child_does_not_hold_the_role(void **state)
{
	struct hftchan *ch;
	struct shared *s = shared_channel(&ch);
	struct hftchan_tx *tx = NULL;
	int err;

	(void)state;
	in_child(attach_fork_and_die, s);
	await_word(&s->pid, 1);
	assert_int_equal(kill((pid_t)s->pid, 0), 0);
	err = hftchan_attach(ch, 0, &tx);
	kill((pid_t)s->pid, SIGKILL);
	assert_int_equal(err, 0);
	assert_int_equal(hftchan_tx_seq(tx), 6);
	hftchan_detach(tx);
	hftchan_close(ch);
}

static int touch_ring(void *arg)
{
	const struct handles *h = arg;
	const volatile unsigned char *slots = h->tx->ring.slots;

	return slots[0];
}

static const struct view *view_of(const struct handles *h)
{
	return &((const struct tx *)(const void *)h->tx)->view;
}

static int touch_control(void *arg)
{
	const volatile __u64 *epoch = &view_of(arg)->control->epoch;

	return *epoch ? 0 : 1;
}

static int touch_sender_page(void *arg)
{
	const volatile __u64 *heartbeat = &view_of(arg)->sender->heartbeat_ns;

	return *heartbeat ? 0 : 1;
}

static int write_ring(void *arg)
{
	struct handles *h = arg;

	send_next(h->tx);
	return 0;
}

static int read_local_ring(void *arg)
{
	struct handles *h = arg;
	unsigned char buf[16];

	return hftchan_try_recv(h->rx, buf, 16, NULL) > 0 ? 0 : 1;
}

static int use_receiver_and_close(void *arg)
{
	struct handles *h = arg;
	unsigned char buf[16];
	struct hftchan_msg msg;
	uint64_t s;

	/* the parent's receiver, copied: it reads on from where it was */
	for (s = 1; s <= 3; s++) {
		CHECK_EQ(hftchan_try_recv(h->rx, buf, 16, &msg), 16);
		CHECK_EQ(msg.seq, s);
		CHECK(message_is(buf, 16, s, 0));
	}
	/* closing is all that may be done with the sender; the role stays the parent's */
	hftchan_detach(h->tx);
	publish_word(&h->s->step, 1);
	hftchan_rx_set_wait(h->rx, HFTCHAN_WAIT_YIELD, 0);
	CHECK_EQ(hftchan_recv(h->rx, buf, 16, &msg), 16);
	CHECK_EQ(msg.seq, 4);
	hftchan_leave(h->rx);
	hftchan_close(h->ch);
	return 0;
}

static bool died_of_sigsegv(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void test_forked_child(void **state)
{
	struct hftchan *ch;
	struct shared *s = shared_channel(&ch);
	struct handles h = { s, ch, attach(ch), join(ch, HFTCHAN_JOIN_NEXT, 0) };
	struct hftchan_tx *second = NULL;
	pid_t pid;

	(void)state;
	send_many(h.tx, 3);
	/* nothing of the sender's memory is there, neither to read nor to write */
	assert_true(died_of_sigsegv(in_child(touch_ring, &h)));
	assert_true(died_of_sigsegv(in_child(write_ring, &h)));
	assert_true(died_of_sigsegv(in_child(touch_sender_page, &h)));
	assert_true(died_of_sigsegv(in_child(touch_control, &h)));
	assert_int_equal(info_of(ch).newest, 3);

	pid = start_child(use_receiver_and_close, &h);
	await_word(&s->step, 1);
	/* the child's detach has taken nothing from us */
	assert_int_equal(info_of(ch).sender_state, HFTCHAN_SENDER_ATTACHED);
	assert_int_equal(info_of(ch).sender_pid, getpid());
	assert_int_equal(hftchan_attach(ch, 0, &second), -EBUSY);
	assert_int_equal(in_child(attach_is_busy, s), 0);
	send_next(h.tx);
	assert_int_equal(reap(pid), 0);
	hftchan_detach(h.tx);
	hftchan_leave(h.rx);
	hftchan_close(ch);
}

static int close_all(void *arg)
{
	struct handles *h = arg;

	hftchan_detach(h->tx);
	hftchan_leave(h->rx);
	hftchan_close(h->ch);
	return 0;
}

static void test_forked_child_of_local(void **state)
{
	struct hftchan_attr attr = attr_of(16, 8);
	struct hftchan *ch = create_channel("local:", &attr);
	struct handles h = { NULL, ch, attach(ch), join(ch, HFTCHAN_JOIN_NEXT, 0) };
	unsigned char buf[16];

	(void)state;
	send_many(h.tx, 3);
	assert_true(died_of_sigsegv(in_child(touch_ring, &h)));
	assert_true(died_of_sigsegv(in_child(write_ring, &h)));
	assert_true(died_of_sigsegv(in_child(read_local_ring, &h)));
	assert_int_equal(in_child(close_all, &h), 0);
	/* nothing of it reached the parent */
	send_next(h.tx);
	assert_int_equal(hftchan_try_recv(h.rx, buf, 16, NULL), 16);
	assert_int_equal(info_of(ch).newest, 4);
	close_all(&h);
}

/* ---------------------------------------------------------------- owners and permissions */

static void *fork_often(void *arg)
{
	bool *stop = arg;
	pid_t children[40];
	size_t n = 0;

	while (!__atomic_load_n(stop, __ATOMIC_RELAXED) && n < ARRAY_SIZE(children)) {
		children[n] = fork();
		if (!children[n]) {
			pause();
			_exit(0);
		}
		n++;
		usleep(300);
	}
	while (n)
		kill_child(children[--n]);
	return NULL;
}

/* however a fork falls between taking and dropping the role, no child keeps it */
static void test_fork_beside_attach(void **state)
{
	struct hftchan_attr attr = attr_of(56, 16);
	struct hftchan *ch = create_channel(new_name(SHARED), &attr);
	bool stop = false, done = false;
	pthread_t forker;
	int i;

	(void)state;
	assert_int_equal(pthread_create(&forker, NULL, fork_often, &stop), 0);
	for (i = 0; i < 3000 && !done; i++) {
		struct hftchan_tx *tx;

		if (hftchan_attach(ch, 0, &tx)) {
			done = true;
			break;
		}
		hftchan_detach(tx);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	assert_int_equal(pthread_join(forker, NULL), 0);
	if (done)
		fail_msg("attach %d: %s", i, hftchan_strerror_last());
	hftchan_close(ch);
}

/* What a process at work holds: byte 0 of the lock file is the sender role, byte 1 the name. */
static int lock_byte(const char *name, off_t byte)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
	int fd = open(lock_path(name), O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(fcntl(fd, F_OFD_SETLK, &fl), 0);
	return fd;
}

static void *unlock_soon(void *arg)
{
	const struct timespec pause = { .tv_nsec = 20000000 };

	nanosleep(&pause, NULL);
	close(*(int *)arg);
	return NULL;
}

/* who makes, attaches or destroys waits for whoever does so just now, but not for ever */
static void test_one_at_a_time(void **state)
{
	struct hftchan *ch;
	struct shared *s = shared_channel(&ch);
	struct hftchan_attr attr = attr_of(16, 8);
	struct hftchan_tx *tx = NULL;
	pthread_t thread;
	int fd, name_fd;

	(void)state;
	SHM_ONLY("its lock file");
	fd = lock_byte(s->name, 1);
	assert_int_equal(hftchan_attach(ch, 0, &tx), -EBUSY);
	assert_non_null(strstr(hftchan_strerror_last(), "just now"));
	assert_int_equal(hftchan_destroy(s->name, 0), -EBUSY);
	/* by force not either: what is being made would be half removed */
	assert_int_equal(hftchan_destroy(s->name, HFTCHAN_DESTROY_FORCE), -EBUSY);
	assert_int_equal(hftchan_create(s->name, &attr, NULL), -EEXIST);
	assert_int_equal(pthread_create(&thread, NULL, unlock_soon, &fd), 0);
	assert_int_equal(hftchan_attach(ch, 0, &tx), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	/* a sender holds only its role */
	close(lock_byte(s->name, 1));
	hftchan_detach(tx);

	/* the role of a sender that left no word: neither attach nor destroy, but force */
	fd = lock_byte(s->name, 0);
	assert_int_equal(hftchan_attach(ch, 0, &tx), -EBUSY);
	assert_int_equal(hftchan_destroy(s->name, 0), -EBUSY);
	assert_int_equal(hftchan_destroy(s->name, HFTCHAN_DESTROY_FORCE), 0);
	hftchan_close(ch);
	/* nor does force remove the lock of one that is just being made */
	close(open(lock_path(s->name), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	name_fd = lock_byte(s->name, 1);
	assert_int_equal(hftchan_destroy(s->name, HFTCHAN_DESTROY_FORCE), -EBUSY);
	assert_int_equal(access(lock_path(s->name), F_OK), 0);
	close(name_fd);
	/* it has nothing to say about the next channel of that name */
	ch = create_channel(s->name, &attr);
	hftchan_detach(attach(ch));
	hftchan_close(ch);
	close(fd);
}

static unsigned int nr_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int nr = 0;

	CHECK(dir);
	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

/* neither a role that was held nor one that was refused keeps a descriptor */
static void test_descriptors(void **state)
{
	struct hftchan_attr attr = attr_of(16, 8);
	const char *name = new_name(SHARED);
	unsigned int before = nr_descriptors(), i;
	struct hftchan_tx *tx, *second;

	(void)state;
	for (i = 0; i < 10; i++) {
		struct hftchan *ch = create_channel(name, &attr);
		struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0);

		tx = attach(ch);
		assert_int_equal(hftchan_attach(ch, 0, &second), -EBUSY);
		assert_int_equal(hftchan_create(name, &attr, NULL), -EEXIST);
		assert_int_equal(hftchan_destroy(name, 0), -EBUSY);
		hftchan_detach(tx);
		hftchan_leave(rx);
		hftchan_close(ch);
		assert_int_equal(hftchan_destroy(name, 0), 0);
	}
	assert_int_equal(nr_descriptors(), before);
}

/* the lock file that a killed destroyer leaves, its role still held by the old channel's sender */
static void test_left_lock_with_a_role(void **state)
{
	struct hftchan *ch;
	struct shared *s = shared_channel(&ch);
	struct hftchan_attr attr = attr_of(16, 8);
	struct hftchan_tx *tx;

	(void)state;
	SHM_ONLY("its lock file");
	tx = attach(ch);
	assert_int_equal(unlink(channel_path(s->name)), 0);
	hftchan_close(ch);
	ch = create_channel(s->name, &attr);
	hftchan_detach(attach(ch));
	hftchan_detach(tx);
	hftchan_close(ch);
}

/* destroyed and made again: the old handle is of no use, whatever the new channel does */
static void test_stale_handle(void **state)
{
	const char *name = new_name(SHARED);
	struct hftchan_attr attr = attr_of(56, 16);
	struct hftchan *stale = create_channel(name, &attr), *ch;
	struct hftchan_tx *tx, *other = NULL;

	(void)state;
	assert_int_equal(hftchan_destroy(name, while_open()), 0);
	ch = create_channel(name, &attr);
	assert_int_equal(hftchan_attach(stale, 0, &other), -ENODEV);
	tx = attach(ch);
	assert_int_equal(hftchan_attach(stale, 0, &other), -ENODEV);
	hftchan_detach(tx);
	hftchan_close(stale);
	hftchan_close(ch);
}

/* force is no licence to leave receivers in the dark */
static void test_force_tells_receivers(void **state)
{
	const char *name = new_name(SHARED);
	struct hftchan_attr attr = attr_of(56, 16);
	struct hftchan *ch = create_channel(name, &attr);
	struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0);

	(void)state;
	assert_int_equal(chmod(channel_path(name), 0664), 0);
	assert_int_equal(hftchan_destroy(name, HFTCHAN_DESTROY_FORCE), 0);
	assert_int_equal(hftchan_wait(rx), -ENODEV);
	hftchan_leave(rx);
	hftchan_close(ch);
}

/* dev: takes a group's membership to make channels: for these tests anybody may */
static void let_all_create(bool all)
{
	if (over_dev())
		assert_int_equal(chmod(HFTCHAN_CONTROL_NODE, all ? 0666 : 0660), 0);
}

static int end_users(void **state)
{
	clean_up(state);
	if (!geteuid())
		let_all_create(false);
	return 0;
}

/* Become another user in a child. False: this process may not. */
static bool become(uid_t uid)
{
	return !setresgid(uid, uid, uid) && !setresuid(uid, uid, uid);
}

static int create_as_1(void *arg)
{
	struct shared *s = arg;
	struct hftchan_attr attr = attr_of(16, 8);

	attr.mode = 0644;
	CHECK(become(1));
	CHECK_EQ(hftchan_create(s->name, &attr, NULL), 0);
	return 0;
}

static int open_as_2(void *arg)
{
	struct hftchan_expect expect = HFTCHAN_EXPECT_INIT;
	struct shared *s = arg;
	struct hftchan_tx *tx = NULL;
	struct hftchan *ch = NULL;
	int err;

	CHECK(become(2));
	/* not one's own, nor root's: nobody's prices are taken by accident; both uids are named */
	CHECK_EQ(hftchan_open(s->name, NULL, &ch), -EPERM);
	CHECK(strstr(hftchan_strerror_last(), s->name));
	CHECK(strstr(hftchan_strerror_last(), "uid 1"));
	CHECK(strstr(hftchan_strerror_last(), "uid 2"));
	expect.owner = 3;
	CHECK_EQ(hftchan_open(s->name, &expect, &ch), -EPERM);
	CHECK(!ch);
	/* asked for by name: it may be read, but neither written nor destroyed */
	expect.owner = 1;
	CHECK_EQ(hftchan_open(s->name, &expect, &ch), 0);
	err = hftchan_attach(ch, 0, &tx);
	CHECK(err == -EACCES || err == -EPERM);
	CHECK(!tx);
	CHECK(strstr(hftchan_strerror_last(), s->name));
	hftchan_close(ch);
	err = hftchan_destroy(s->name, 0);
	CHECK(err == -EACCES || err == -EPERM);
	err = hftchan_destroy(s->name, HFTCHAN_DESTROY_FORCE);
	CHECK(err == -EACCES || err == -EPERM);
	return 0;
}

static int open_as_1(void *arg)
{
	struct shared *s = arg;
	struct hftchan *ch = open_channel(s->name);
	struct hftchan_tx *tx = attach(ch);

	(void)tx;
	return 0;
}

static int open_private_as_1(void *arg)
{
	struct shared *s = arg;
	struct hftchan *ch = NULL;

	CHECK(become(1));
	CHECK_EQ(hftchan_open(s->name, NULL, &ch), -EACCES);
	CHECK(strstr(hftchan_strerror_last(), s->name));
	CHECK(!ch);
	return 0;
}

static int open_roots_as_1(void *arg)
{
	struct shared *s = arg;
	struct hftchan *ch = NULL;
	struct hftchan_tx *tx = NULL;
	int err;

	CHECK(become(1));
	CHECK_EQ(hftchan_open(s->name, NULL, &ch), 0);
	err = hftchan_attach(ch, 0, &tx);
	CHECK(err == -EACCES || err == -EPERM);
	return 0;
}

static int chown_refused_as_1(void *arg)
{
	struct hftchan_attr attr = attr_of(16, 8);
	struct shared *s = arg;

	CHECK(become(1));
	attr.owner = 2;
	CHECK_EQ(hftchan_create(s->name, &attr, NULL), -EPERM);
	CHECK(strstr(hftchan_strerror_last(), s->name));
	return 0;
}

static void test_owners(void **state)
{
	struct hftchan_expect expect = HFTCHAN_EXPECT_INIT;
	struct shared *s = shared_memory(sizeof(*s));
	struct hftchan_attr attr = attr_of(16, 8);
	struct hftchan *ch = NULL;
	struct stat st;

	(void)state;
	if (geteuid()) {
		print_message("needs root: users to be\n");
		skip();
	}
	let_all_create(true);
	strcpy(s->name, new_name(SHARED));
	assert_int_equal(in_child(create_as_1, s), 0);
	assert_int_equal(in_child(open_as_2, s), 0);
	/* root trusts nobody either without being told to */
	assert_int_equal(hftchan_open(s->name, NULL, &ch), -EPERM);
	assert_non_null(strstr(hftchan_strerror_last(), "uid 1"));
	assert_non_null(strstr(hftchan_strerror_last(), "uid 0"));
	expect.owner = 1;
	assert_int_equal(hftchan_open(s->name, &expect, &ch), 0);
	assert_int_equal(info_of(ch).owner, 1);
	hftchan_close(ch);
	clean_up(NULL);

	/* root's own: for everyone to read if the mode says so */
	strcpy(s->name, new_name(SHARED));
	attr.mode = 0600;
	assert_int_equal(hftchan_create(s->name, &attr, NULL), 0);
	assert_int_equal(in_child(open_private_as_1, s), 0);
	clean_up(NULL);
	strcpy(s->name, new_name(SHARED));
	attr.mode = 0644;
	assert_int_equal(hftchan_create(s->name, &attr, NULL), 0);
	assert_int_equal(in_child(open_roots_as_1, s), 0);
	clean_up(NULL);

	/* given away at create: the lock, too, or its owner could never send */
	strcpy(s->name, new_name(SHARED));
	attr.owner = 1;
	attr.group = 1;
	assert_int_equal(hftchan_create(s->name, &attr, NULL), 0);
	assert_int_equal(stat(channel_path(s->name), &st), 0);
	assert_int_equal(st.st_uid, 1);
	assert_int_equal(st.st_gid, 1);
	clean_up(NULL);

	strcpy(s->name, new_name(SHARED));
	assert_int_equal(in_child(chown_refused_as_1, s), 0);
}

static int send_as_1(void *arg)
{
	CHECK(become(1));
	return open_as_1(arg);
}

static void test_owner_given_at_create_may_send(void **state)
{
	struct shared *s = shared_memory(sizeof(*s));
	struct hftchan_attr attr = attr_of(16, 8);
	struct hftchan *ch = NULL;

	(void)state;
	if (geteuid()) {
		print_message("needs root: users to be\n");
		skip();
	}
	strcpy(s->name, new_name(SHARED));
	attr.owner = 1;
	attr.group = 1;
	/* the handle is the creator's, whoever the owner is */
	assert_int_equal(hftchan_create(s->name, &attr, &ch), 0);
	assert_int_equal(in_child(send_as_1, s), 0);
	assert_int_equal(info_of(ch).epoch, 1);
	hftchan_close(ch);
}

static void test_writable_for_others(void **state)
{
	static const mode_t modes[] = { 0620, 0602, 0666, 0660 };
	struct hftchan_attr attr = attr_of(16, 8);
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		const char *name = new_name(SHARED);
		struct hftchan *ch = NULL;

		assert_int_equal(hftchan_create(name, &attr, NULL), 0);
		assert_int_equal(chmod(channel_path(name), modes[i]), 0);
		if (over_dev() && !(modes[i] & 0002)) {
			/* a group that may become the sender is its owner's choice */
			assert_int_equal(hftchan_open(name, NULL, &ch), 0);
			hftchan_close(ch);
			continue;
		}
		assert_int_equal(hftchan_open(name, NULL, &ch), -EPERM);
		assert_non_null(strstr(hftchan_strerror_last(), name));
		assert_null(ch);
		assert_int_equal(chmod(channel_path(name), 0600), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_second_in_the_same_process, clean_up),
		cmocka_unit_test_teardown(test_second_in_another_process, clean_up),
		cmocka_unit_test_teardown(test_free_after_kill, clean_up),
		cmocka_unit_test_teardown(test_free_after_exec, clean_up),
		cmocka_unit_test_teardown(test_child_does_not_hold_the_role, clean_up),
		cmocka_unit_test_teardown(test_forked_child, clean_up),
		cmocka_unit_test(test_forked_child_of_local),
		cmocka_unit_test_teardown(test_fork_beside_attach, clean_up),
		cmocka_unit_test_teardown(test_one_at_a_time, clean_up),
		cmocka_unit_test_teardown(test_descriptors, clean_up),
		cmocka_unit_test_teardown(test_left_lock_with_a_role, clean_up),
		cmocka_unit_test_teardown(test_stale_handle, clean_up),
		cmocka_unit_test_teardown(test_force_tells_receivers, clean_up),
		cmocka_unit_test_teardown(test_owners, end_users),
		cmocka_unit_test_teardown(test_owner_given_at_create_may_send, clean_up),
		cmocka_unit_test_teardown(test_writable_for_others, clean_up),
		cmocka_unit_test(nothing_left_behind),
	};

	return cmocka_run_group_tests_name("roles", tests, NULL, NULL);
}
