// SPDX-License-Identifier: MIT
/*
 * A new sender after one that detached or died: the seq it goes on with, the epoch, the marks, and
 * that nothing committed is lost. Deaths are real (SIGKILL), at chosen stores.
 * It is no test of who may attach when (test_roles.c) nor of every possible ring (test_search.c).
 * The contract is hftchan_attach() in <hftchan.h>.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common.h"

#define DIRTY	0x8000000000000000ULL
#define NR	8

static const char *const backends[] = { SHARED, "local:" };

static void test_epoch_grows_with_each_attach(void **state)
{
	unsigned int b;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct hftchan_attr attr = attr_of(16, NR);
		struct hftchan *ch = create_channel(new_name(backends[b]), &attr);
		struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
		struct hftchan_sender sender;
		unsigned char buf[16];
		struct hftchan_msg msg;
		uint64_t epoch, seq = 1;

		assert_int_equal(hftchan_rx_sender(rx, &sender), 0);
		assert_int_equal(sender.epoch, 0);
		assert_int_equal(sender.state, HFTCHAN_SENDER_NONE);
		for (epoch = 1; epoch < 50; epoch++) {
			struct hftchan_tx *tx = attach(ch);
			unsigned int k;

			assert_int_equal(hftchan_tx_seq(tx), seq);
			assert_int_equal(hftchan_rx_sender(rx, &sender), 0);
			assert_int_equal(sender.epoch, epoch);
			assert_int_equal(sender.epoch_seq, seq);
			assert_int_equal(sender.state, HFTCHAN_SENDER_ATTACHED);
			for (k = 0; k < epoch % 4; k++) {
				send_next(tx);
				assert_int_equal(hftchan_try_recv(rx, buf, 16, &msg), 16);
				assert_int_equal(msg.seq, seq++);
				assert_int_equal(msg.lost, 0);
			}
			assert_true(state_at(&rx->ring, seq) == (DIRTY | seq));
			assert_true(state_at(&rx->ring, seq + 1) == (DIRTY | (seq + 1)));
			hftchan_detach(tx);
			assert_int_equal(hftchan_rx_sender(rx, &sender), 0);
			assert_int_equal(sender.epoch, epoch);
			assert_int_equal(sender.state, HFTCHAN_SENDER_NONE);
		}
		assert_int_equal(info_of(ch).nr_deaths, 0);
		hftchan_leave(rx);
		hftchan_close(ch);
	}
}

/* where the child dies, after 20 messages and with 21 in hand */
struct death {
	const char *what;
	uint64_t newest, marks;	/* what it leaves */
	void (*die)(const struct hftchan_ring *r);
};

static void set_state(const struct hftchan_ring *r, uint64_t seq, uint64_t v)
{
	__atomic_store_n(hftchan_ring_state(r, seq), v, __ATOMIC_RELEASE);
}

static void in_payload(const struct hftchan_ring *r)
{
	memset(hftchan_ring_payload(r, 21), 0xbb, 9);
}

static void after_clean(const struct hftchan_ring *r)
{
	fill_message(hftchan_ring_payload(r, 21), 16, 21, 0);
	set_state(r, 21, 21);
}

static void after_send(const struct hftchan_ring *r)
{
	fill_message(hftchan_ring_payload(r, 21), 16, 21, 0);
	hftchan_ring_commit(r, 21, 1);
}

static void in_marks_of_batch(const struct hftchan_ring *r)
{
	set_state(r, 23, DIRTY | 23);
	set_state(r, 24, DIRTY | 24);
}

static void after_marks_of_batch(const struct hftchan_ring *r)
{
	hftchan_ring_mark(r, 21, 6);
	memset(hftchan_ring_payload(r, 21), 0xbb, 16);
	memset(hftchan_ring_payload(r, 26), 0xbb, 16);
}

static void in_commits_of_batch(const struct hftchan_ring *r)
{
	uint64_t s;

	hftchan_ring_mark(r, 21, 6);
	for (s = 21; s <= 26; s++)
		fill_message(hftchan_ring_payload(r, s), 16, s, 0);
	for (s = 21; s <= 24; s++)
		set_state(r, s, s);
}

static void after_commits_of_batch(const struct hftchan_ring *r)
{
	in_commits_of_batch(r);
	set_state(r, 25, 25);
	set_state(r, 26, 26);
}

static const struct death deaths[] = {
	{ "in the payload", 20, 2, in_payload },
	{ "after the commit's first store", 21, 1, after_clean },
	{ "after a send", 21, 2, after_send },
	{ "in the marks of a batch", 20, 4, in_marks_of_batch },
	{ "in the payloads of a batch", 20, 7, after_marks_of_batch },
	{ "in the commits of a batch", 24, 3, in_commits_of_batch },
	{ "before a batch's last mark", 26, 1, after_commits_of_batch },
};

struct child {
	char name[64];
	const struct death *death;
};

static int send_and_die(void *arg)
{
	struct child *c = arg;
	struct hftchan *ch = open_channel(c->name);
	struct hftchan_tx *tx = attach(ch);

	CHECK_EQ(hftchan_tx_seq(tx), 1);
	send_many(tx, 20);
	c->death->die(&tx->ring);
	raise(SIGKILL);
	return 1;
}

static void test_deaths(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(deaths); i++) {
		const struct death *d = &deaths[i];
		struct hftchan_check_result res = { .size = sizeof(res) };
		struct hftchan_attr attr = attr_of(16, NR);
		struct hftchan_tx *tx;
		struct hftchan_rx *rx, *early;
		struct hftchan *ch;
		struct child child = { .death = d };
		unsigned char buf[16];
		struct hftchan_msg msg;
		uint64_t s, marks, oldest;
		int status;

		strcpy(child.name, new_name(SHARED));
		ch = create_channel(child.name, &attr);
		early = join(ch, HFTCHAN_JOIN_SEQ, 20);
		status = in_child(send_and_die, &child);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		print_message("dead %s\n", d->what);

		assert_int_equal(info_of(ch).newest, d->newest);
		assert_int_equal(info_of(ch).sender_state, HFTCHAN_SENDER_DIED);
		assert_int_equal(hftchan_check(ch, &res), 0);
		assert_int_equal(res.newest, d->newest);
		assert_int_equal(res.nr_dirty, d->marks);
		oldest = d->newest - NR + 1 + d->marks;
		assert_int_equal(res.oldest, oldest);
		/* everything committed and not yet taken by a mark is there */
		rx = join(ch, HFTCHAN_JOIN_OLDEST, 0);
		assert_int_equal(hftchan_rx_seq(rx), oldest);
		for (s = oldest; s <= d->newest; s++) {
			assert_int_equal(hftchan_try_recv(rx, buf, 16, &msg), 16);
			assert_int_equal(msg.seq, s);
			assert_true(message_is(buf, 16, s, 0));
		}
		assert_int_equal(hftchan_try_recv(rx, buf, 16, &msg), -EAGAIN);

		/* the next sender: right after, all slots looked at */
		assert_int_equal(hftchan_attach(ch, HFTCHAN_ATTACH_VERIFY, &tx), 0);
		assert_int_equal(hftchan_tx_seq(tx), d->newest + 1);
		assert_int_equal(info_of(ch).epoch, 2);
		assert_int_equal(info_of(ch).epoch_seq, d->newest + 1);
		assert_int_equal(info_of(ch).nr_deaths, 1);
		marks = d->marks < 2 ? 2 : d->marks;
		for (s = 1; s <= NR; s++)
			assert_true(state_at(&tx->ring, d->newest + s) ==
				    (s <= marks ? DIRTY | (d->newest + s) : d->newest + s - NR));
		assert_int_equal(hftchan_try_recv(rx, buf, 16, &msg), -EAGAIN);
		/* what the dead one had in hand comes from the new one only */
		for (s = d->newest + 1; s <= d->newest + 30; s++) {
			send_next(tx);
			assert_int_equal(hftchan_try_recv(rx, buf, 16, &msg), 16);
			assert_int_equal(msg.seq, s);
			assert_int_equal(msg.lost, 0);
			assert_true(message_is(buf, 16, s, 0));
			assert_int_equal(hftchan_check(ch, &res), 0);
			assert_int_equal(res.newest, s);
		}
		/* one that was there all the time, but slow, counts across both lives */
		assert_int_equal(hftchan_try_recv(early, buf, 16, &msg), 16);
		assert_int_equal(msg.seq, 20 + msg.lost);
		while (hftchan_try_recv(early, buf, 16, &msg) == 16)
			;
		assert_int_equal(hftchan_rx_seq(early), d->newest + 31);
		hftchan_detach(tx);
		hftchan_leave(rx);
		hftchan_leave(early);
		hftchan_close(ch);
	}
}

struct attach_death {
	char name[64];
	unsigned int stores;
};

/* dies in the attach itself: the marks of a ring at rest, one by one, and no new epoch */
static int die_in_attach(void *arg)
{
	const struct attach_death *a = arg;
	struct hftchan *ch = open_channel(a->name);
	struct hftchan_tx *tx = attach(ch);
	uint64_t s, i;

	/* put back what the attach did, as if it had got so far only */
	s = hftchan_tx_seq(tx);
	for (i = a->stores; i < 2; i++)
		set_state(&tx->ring, s + i, s + i > NR ? s + i - NR : 0);
	raise(SIGKILL);
	return 1;
}

static void test_death_in_attach_of_an_empty_ring(void **state)
{
	unsigned int stores, again;

	(void)state;
	for (stores = 0; stores <= 2; stores++) {
		struct hftchan_attr attr = attr_of(16, NR);
		struct attach_death a = { .stores = stores };
		struct hftchan_tx *tx;
		struct hftchan *ch;

		strcpy(a.name, new_name(SHARED));
		ch = create_channel(a.name, &attr);
		for (again = 1; again <= 3; again++) {
			in_child(die_in_attach, &a);
			assert_int_equal(info_of(ch).newest, 0);
			assert_int_equal(info_of(ch).epoch, again);
		}
		assert_int_equal(hftchan_attach(ch, HFTCHAN_ATTACH_VERIFY, &tx), 0);
		assert_int_equal(hftchan_tx_seq(tx), 1);
		assert_int_equal(info_of(ch).nr_deaths, 3);
		assert_true(state_at(&tx->ring, 1) == (DIRTY | 1));
		assert_true(state_at(&tx->ring, 2) == (DIRTY | 2));
		assert_true(state_at(&tx->ring, 3) == 0);
		hftchan_detach(tx);
		hftchan_close(ch);
	}
}

static void test_corrupted_ring_is_refused(void **state)
{
	unsigned int b;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct hftchan_attr attr = attr_of(16, NR);
		struct hftchan *ch = create_channel(new_name(backends[b]), &attr);
		struct hftchan_tx *tx = attach(ch), *second = NULL;
		struct hftchan_info before;

		send_many(tx, 20);
		/* 8 slots: all of them are near the newest; slot 3 holds 19 */
		set_state(&tx->ring, 19, 11);
		before = info_of(ch);
		hftchan_detach(tx);
		assert_int_equal(hftchan_attach(ch, 0, &second), -EBADMSG);
		assert_null(second);
		assert_non_null(strstr(hftchan_strerror_last(), "slot 3"));
		assert_non_null(strstr(hftchan_strerror_last(), hftchan_name(ch)));
		assert_int_equal(hftchan_attach(ch, HFTCHAN_ATTACH_VERIFY, &second), -EBADMSG);
		/* and nothing was changed, nor is the role held */
		assert_int_equal(info_of(ch).epoch, before.epoch);
		assert_int_equal(info_of(ch).sender_state, HFTCHAN_SENDER_NONE);
		assert_int_equal(hftchan_attach(ch, 0, &second), -EBADMSG);
		assert_int_equal(hftchan_attach(ch, 8, &second), -EOPNOTSUPP);
		hftchan_close(ch);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_epoch_grows_with_each_attach, clean_up),
		cmocka_unit_test_teardown(test_deaths, clean_up),
		cmocka_unit_test_teardown(test_death_in_attach_of_an_empty_ring, clean_up),
		cmocka_unit_test_teardown(test_corrupted_ring_is_refused, clean_up),
		cmocka_unit_test(nothing_left_behind),
	};

	return cmocka_run_group_tests_name("resume", tests, NULL, NULL);
}
