// SPDX-License-Identifier: MIT
/*
 * What receivers learn of a sender that goes: -EPIPE once for each epoch, after all it sent was
 * read; and of a channel that is destroyed: -ENODEV, after all was read.
 * It is no test of how soon: that would be a test of the machine.
 * The contract is hftchan_wait() and hftchan_destroy() in <hftchan.h>.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common.h"

#define MS	1000000ULL
#define LONG	(60000 * MS)

static const char *const backends[] = { SHARED, "local:" };

enum how { RECV, PEEK, BATCH, WAIT, NR_HOW };

/* one of the calls that wait, for something that is no message */
static int wait_by(enum how how, struct hftchan_rx *rx)
{
	unsigned char buf[16];
	struct hftchan_msg msg;

	switch (how) {
	case RECV:
		return (int)hftchan_recv(rx, buf, sizeof(buf), &msg);
	case PEEK:
		return (int)hftchan_peek(rx, &msg);
	case BATCH:
		return hftchan_recv_batch(rx, buf, sizeof(buf), &msg, 1);
	default:
		return hftchan_wait(rx);
	}
}

static void assert_reads(struct hftchan_rx *rx, uint64_t from, uint64_t to)
{
	unsigned char buf[16];
	struct hftchan_msg msg = { 0 };
	uint64_t s;

	for (s = from; s <= to; s++) {
		assert_int_equal(hftchan_recv(rx, buf, 16, &msg), 16);
		assert_int_equal(msg.seq, s);
		assert_int_equal(msg.lost, 0);
		assert_true(message_is(buf, 16, s, 0));
	}
}

static void detach(const char *backend, enum hftchan_wait_mode mode, enum how how)
{
	struct hftchan_attr attr = attr_of(16, 16);
	struct hftchan *ch = create_channel(new_name(backend), &attr);
	struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0), *late;
	struct hftchan_tx *tx = attach(ch);
	struct hftchan_sender sender;

	assert_int_equal(hftchan_rx_set_wait(rx, mode, LONG), 0);
	send_many(tx, 5);
	hftchan_detach(tx);
	assert_reads(rx, 1, 5);
	assert_int_equal(wait_by(how, rx), -EPIPE);
	assert_non_null(strstr(hftchan_strerror_last(), hftchan_name(ch)));
	/* once: now it waits for the next one */
	assert_int_equal(hftchan_rx_set_wait(rx, mode, 30 * MS), 0);
	assert_int_equal(wait_by(how, rx), -ETIMEDOUT);
	assert_int_equal(wait_by(how, rx), -ETIMEDOUT);
	/* one that joins only now has not lost anybody */
	late = join(ch, HFTCHAN_JOIN_NEXT, 0);
	assert_int_equal(hftchan_rx_set_wait(late, mode, 30 * MS), 0);
	assert_int_equal(wait_by(how, late), -ETIMEDOUT);

	/* the next one: it goes on without a gap, and its end is said again */
	tx = attach(ch);
	assert_int_equal(wait_by(how, rx), -ETIMEDOUT);
	send_many(tx, 5);
	assert_reads(rx, 6, 10);
	assert_int_equal(wait_by(how, rx), -ETIMEDOUT);
	hftchan_detach(tx);
	assert_int_equal(hftchan_rx_set_wait(rx, mode, LONG), 0);
	assert_int_equal(wait_by(how, rx), -EPIPE);
	assert_reads(late, 6, 10);
	assert_int_equal(wait_by(how, late), -EPIPE);
	/* without a message, too */
	tx = attach(ch);
	hftchan_detach(tx);
	assert_int_equal(wait_by(how, rx), -EPIPE);
	assert_int_equal(hftchan_rx_sender(rx, &sender), 0);
	assert_int_equal(sender.epoch, 3);
	assert_int_equal(sender.state, HFTCHAN_SENDER_NONE);
	/* a clone has been told what its original has */
	hftchan_leave(late);
	assert_int_equal(hftchan_clone(rx, &late), 0);
	assert_int_equal(hftchan_rx_set_wait(late, mode, 30 * MS), 0);
	assert_int_equal(wait_by(how, late), -ETIMEDOUT);
	hftchan_leave(late);
	hftchan_leave(rx);
	hftchan_close(ch);
}

static void test_detach(void **state)
{
	unsigned int b;
	int how, mode;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++)
		for (mode = HFTCHAN_WAIT_SPIN; mode <= HFTCHAN_WAIT_YIELD; mode++)
			for (how = 0; how < NR_HOW; how++)
				detach(backends[b], mode, how);
}

static void test_history_of_a_gone_sender(void **state)
{
	unsigned int b;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct hftchan_attr attr = attr_of(16, 16);
		struct hftchan *ch = create_channel(new_name(backends[b]), &attr);
		struct hftchan_tx *tx = attach(ch);
		struct hftchan_rx *rx;

		send_many(tx, 5);
		hftchan_detach(tx);
		/* there is something of it to read: so its end is news */
		rx = join(ch, HFTCHAN_JOIN_OLDEST, 0);
		assert_int_equal(hftchan_rx_set_wait(rx, HFTCHAN_WAIT_YIELD, LONG), 0);
		assert_reads(rx, 1, 5);
		assert_int_equal(wait_by(RECV, rx), -EPIPE);
		hftchan_leave(rx);
		hftchan_close(ch);
	}
}

struct child {
	char name[64];
	uint64_t step;
	struct hftchan_tx *tx;
};

static int send_and_linger(void *arg)
{
	struct child *c = arg;
	struct hftchan *ch = open_channel(c->name);
	struct hftchan_tx *tx = attach(ch);

	send_many(tx, 5);
	publish_word(&c->step, c->step + 1);
	wait_to_be_killed();
}

static void kill_sender(struct child *c, enum hftchan_wait_mode mode, enum how how)
{
	struct hftchan_attr attr = attr_of(16, 16);
	struct hftchan_sender sender;
	struct hftchan_rx *rx;
	struct hftchan *ch;
	siginfo_t info;
	pid_t pid;
	int life;

	strcpy(c->name, new_name(SHARED));
	ch = create_channel(c->name, &attr);
	rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
	for (life = 0; life < 2; life++) {
		c->step = 0;
		pid = start_child(send_and_linger, c);
		await_word(&c->step, 1);
		assert_int_equal(hftchan_rx_set_wait(rx, mode, 50 * MS), 0);
		assert_reads(rx, 5 * (uint64_t)life + 1, 5 * (uint64_t)life + 5);
		/* it lives: nothing is said for longer than its life is looked up */
		assert_int_equal(wait_by(how, rx), -ETIMEDOUT);
		assert_int_equal(hftchan_rx_sender(rx, &sender), 0);
		assert_int_equal(sender.state, HFTCHAN_SENDER_ATTACHED);
		assert_int_equal(sender.pid, pid);
		kill(pid, SIGKILL);
		assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
		assert_int_equal(hftchan_rx_set_wait(rx, mode, LONG), 0);
		assert_int_equal(wait_by(how, rx), -EPIPE);
		assert_int_equal(hftchan_rx_sender(rx, &sender), 0);
		assert_int_equal(sender.state, HFTCHAN_SENDER_DIED);
		assert_int_equal(hftchan_rx_set_wait(rx, mode, 50 * MS), 0);
		assert_int_equal(wait_by(how, rx), -ETIMEDOUT);
		reap(pid);
		assert_int_equal(wait_by(how, rx), -ETIMEDOUT);
	}
	hftchan_leave(rx);
	hftchan_close(ch);
	clean_up(NULL);
}

static void test_kill(void **state)
{
	struct child *c = shared_memory(sizeof(*c));
	int how, mode;

	(void)state;
	for (mode = HFTCHAN_WAIT_SPIN; mode <= HFTCHAN_WAIT_YIELD; mode++)
		for (how = 0; how < NR_HOW; how++)
			kill_sender(c, mode, how);
}

/* a receiver whose waits are shorter than the time until a life is looked up */
static void test_kill_and_short_waits(void **state)
{
	struct child *c = shared_memory(sizeof(*c));
	struct hftchan_attr attr = attr_of(16, 16);
	uint64_t give_up;
	struct hftchan_rx *rx;
	struct hftchan *ch;
	pid_t pid;
	int err;

	(void)state;
	strcpy(c->name, new_name(SHARED));
	ch = create_channel(c->name, &attr);
	rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
	pid = start_child(send_and_linger, c);
	await_word(&c->step, 1);
	assert_reads(rx, 1, 5);
	kill_child(pid);
	assert_int_equal(hftchan_rx_set_wait(rx, HFTCHAN_WAIT_YIELD, MS), 0);
	give_up = now_ns() + 20000 * MS;
	do {
		err = wait_by(RECV, rx);
	} while (err == -ETIMEDOUT && now_ns() < give_up);
	assert_int_equal(err, -EPIPE);
	hftchan_leave(rx);
	hftchan_close(ch);
}

/* What the page says of the sender, changed from outside: each of the words matters. */
static void test_who_is_the_sender(void **state)
{
	struct child *c = shared_memory(sizeof(*c));
	struct hftchan_attr attr = attr_of(16, 16);
	struct hftchan_control *page;
	struct hftchan *ch;
	uint64_t was;
	pid_t pid;
	int fd;

	(void)state;
	SHM_ONLY("what anybody writes into the control page");
	strcpy(c->name, new_name(SHARED));
	ch = create_channel(c->name, &attr);
	pid = start_child(send_and_linger, c);
	await_word(&c->step, 1);
	fd = open(channel_path(c->name), O_RDWR | O_CLOEXEC);
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(page != MAP_FAILED);
	close(fd);
	assert_int_equal(info_of(ch).sender_state, HFTCHAN_SENDER_ATTACHED);
	assert_int_equal(info_of(ch).sender_pid, pid);
	/* its pid belongs to a process that began at another time */
	was = page->sender_start;
	page->sender_start = was - 1;
	assert_int_equal(info_of(ch).sender_state, HFTCHAN_SENDER_DIED);
	/* but not when the two clocks don't compare */
	page->sender_timens++;
	assert_int_equal(info_of(ch).sender_state, HFTCHAN_SENDER_ATTACHED);
	page->sender_timens--;
	page->sender_start = was;
	/* of another pid namespace, or of none: nothing can be said */
	kill_child(pid);
	assert_int_equal(info_of(ch).sender_state, HFTCHAN_SENDER_DIED);
	was = page->sender_pidns;
	page->sender_pidns++;
	assert_int_equal(info_of(ch).sender_state, HFTCHAN_SENDER_ATTACHED);
	assert_int_equal(info_of(ch).sender_pid, 0);
	page->sender_pidns = 0;
	assert_int_equal(info_of(ch).sender_state, HFTCHAN_SENDER_ATTACHED);
	page->sender_pidns = was;
	munmap(page, sizeof(*page));
	hftchan_close(ch);
}

static void *send_on(void *arg)
{
	struct child *c = arg;

	send_many(c->tx, 5);
	publish_word(&c->step, 1);
	wait_to_be_killed();
}

static int main_thread_leaves(void *arg)
{
	struct child *c = arg;
	pthread_t thread;

	c->tx = attach(open_channel(c->name));
	CHECK_EQ(pthread_create(&thread, NULL, send_on, c), 0);
	/* not pthread_exit(), which loads a library that a small machine may not have */
	syscall(SYS_exit, 0);
	return 1;
}

/* a sender whose main thread has left is a zombie by its state, and alive */
static void test_main_thread_left(void **state)
{
	struct child *c = shared_memory(sizeof(*c));
	struct hftchan_attr attr = attr_of(16, 16);
	char path[64], line[512], *p;
	struct hftchan *ch;
	pid_t pid;

	(void)state;
	strcpy(c->name, new_name(SHARED));
	ch = create_channel(c->name, &attr);
	pid = start_child(main_thread_leaves, c);
	await_word(&c->step, 1);
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	do {
		FILE *f = fopen(path, "re");

		assert_non_null(f);
		assert_non_null(fgets(line, sizeof(line), f));
		fclose(f);
		p = strrchr(line, ')');
		assert_non_null(p);
	} while (p[2] != 'Z');
	assert_int_equal(info_of(ch).sender_state, HFTCHAN_SENDER_ATTACHED);
	kill_child(pid);
	assert_int_equal(info_of(ch).sender_state, HFTCHAN_SENDER_DIED);
	hftchan_close(ch);
}

/* ---------------------------------------------------------------- destroyed */

static void destroy_under_receivers(enum hftchan_wait_mode mode, enum how how)
{
	struct hftchan_attr attr = attr_of(16, 16);
	const char *name = new_name(SHARED);
	struct hftchan *ch = create_channel(name, &attr);
	struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0), *none = NULL;
	struct hftchan_tx *tx = attach(ch);

	send_many(tx, 5);
	hftchan_detach(tx);
	assert_int_equal(hftchan_destroy(name, while_open()), 0);
	assert_int_equal(access(channel_path(name), F_OK), -1);
	assert_int_equal(hftchan_rx_set_wait(rx, mode, LONG), 0);
	/* what is left is read, then the end, which lasts */
	assert_reads(rx, 1, 5);
	assert_int_equal(wait_by(how, rx), -ENODEV);
	assert_non_null(strstr(hftchan_strerror_last(), name));
	assert_int_equal(wait_by(how, rx), -ENODEV);
	assert_int_equal(hftchan_join(ch, HFTCHAN_JOIN_OLDEST, 0, &none), -ENODEV);
	assert_null(none);
	tx = NULL;
	assert_int_equal(hftchan_attach(ch, 0, &tx), -ENODEV);
	assert_null(tx);
	hftchan_leave(rx);
	hftchan_close(ch);
}

static void test_destroy_under_receivers(void **state)
{
	int how, mode;

	(void)state;
	for (mode = HFTCHAN_WAIT_SPIN; mode <= HFTCHAN_WAIT_YIELD; mode++)
		for (how = 0; how < NR_HOW; how++)
			destroy_under_receivers(mode, how);
}

static void test_destroy_under_a_sender(void **state)
{
	struct hftchan_attr attr = attr_of(16, 16);
	const char *name = new_name(SHARED);
	struct hftchan *ch = create_channel(name, &attr);
	struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
	struct hftchan_tx *tx = attach(ch), *second = NULL;

	(void)state;
	assert_int_equal(hftchan_rx_set_wait(rx, HFTCHAN_WAIT_YIELD, LONG), 0);
	send_many(tx, 2);
	assert_int_equal(hftchan_heartbeat(tx), 0);
	assert_int_equal(hftchan_destroy(name, 0), -EBUSY);
	assert_non_null(strstr(hftchan_strerror_last(), name));
	/* nothing happened */
	assert_int_equal(access(channel_path(name), F_OK), 0);
	assert_int_equal(info_of(ch).destroyed, 0);
	assert_reads(rx, 1, 2);
	send_next(tx);
	assert_int_equal(hftchan_destroy(name, HFTCHAN_DESTROY_FORCE), 0);
	assert_int_equal(access(channel_path(name), F_OK), -1);
	assert_int_equal(hftchan_heartbeat(tx), -ENODEV);
	assert_non_null(strstr(hftchan_strerror_last(), name));
	/* what it still sends reaches those who are there */
	send_next(tx);
	assert_reads(rx, 3, 4);
	assert_int_equal(wait_by(RECV, rx), -ENODEV);
	hftchan_detach(tx);
	assert_int_equal(hftchan_attach(ch, 0, &second), -ENODEV);
	/* another one of the name: the old handle can't send into it */
	hftchan_close(create_channel(name, &attr));
	assert_int_equal(hftchan_attach(ch, 0, &second), -ENODEV);
	assert_null(second);
	hftchan_leave(rx);
	hftchan_close(ch);
}

static void test_destroy_after_a_death(void **state)
{
	struct child *c = shared_memory(sizeof(*c));
	struct hftchan_attr attr = attr_of(16, 16);
	struct hftchan *ch;
	pid_t pid;

	(void)state;
	strcpy(c->name, new_name(SHARED));
	ch = create_channel(c->name, &attr);
	pid = start_child(send_and_linger, c);
	await_word(&c->step, 1);
	assert_int_equal(hftchan_destroy(c->name, 0), -EBUSY);
	kill_child(pid);
	assert_int_equal(hftchan_destroy(c->name, while_open()), 0);
	hftchan_close(ch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_detach, clean_up),
		cmocka_unit_test_teardown(test_history_of_a_gone_sender, clean_up),
		cmocka_unit_test_teardown(test_kill, clean_up),
		cmocka_unit_test_teardown(test_kill_and_short_waits, clean_up),
		cmocka_unit_test_teardown(test_who_is_the_sender, clean_up),
		cmocka_unit_test_teardown(test_main_thread_left, clean_up),
		cmocka_unit_test_teardown(test_destroy_under_receivers, clean_up),
		cmocka_unit_test_teardown(test_destroy_under_a_sender, clean_up),
		cmocka_unit_test_teardown(test_destroy_after_a_death, clean_up),
		cmocka_unit_test(nothing_left_behind),
	};

	return cmocka_run_group_tests_name("sender_gone", tests, NULL, NULL);
}
