// SPDX-License-Identifier: MIT
/*
 * Where a receiver starts: LAST, NEXT, OLDEST and a seq in the past, lapped, present, in the future
 * and beyond the ring; at rest, beside a sender attached or running, after one that died.
 * It is no test of being overtaken later (test_lap.c).
 * The contract is hftchan_join() in <hftchan.h>.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common.h"

static const char *const backends[] = { SHARED, "local:" };

static uint64_t joined(struct hftchan *ch, enum hftchan_join_at at, uint64_t seq)
{
	struct hftchan_rx *rx = join(ch, at, seq);
	uint64_t c = hftchan_rx_seq(rx);

	assert_int_equal(hftchan_rx_lost(rx), 0);
	hftchan_leave(rx);
	return c;
}

/* join OLDEST and read on: all there is, from exactly @first, without a loss */
static void assert_history(struct hftchan *ch, uint64_t first, uint64_t newest)
{
	struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_OLDEST, 0);
	unsigned char buf[16];
	struct hftchan_msg msg = { 0 };
	uint64_t s;

	if (hftchan_rx_seq(rx) != first)
		fail_msg("oldest is %d, not %d, newest %d", (int)hftchan_rx_seq(rx), (int)first,
			 (int)newest);
	for (s = first; s <= newest; s++) {
		assert_int_equal(hftchan_try_recv(rx, buf, 16, &msg), 16);
		assert_int_equal(msg.seq, s);
		assert_int_equal(msg.lost, 0);
		assert_true(message_is(buf, 16, s, 0));
	}
	assert_int_equal(hftchan_try_recv(rx, buf, 16, &msg), -EAGAIN);
	hftchan_leave(rx);
}

static void at_rest_and_attached(const char *backend, uint64_t nr, uint64_t first)
{
	const uint64_t m = nr / 4 < 64 ? nr / 4 : 64;
	struct hftchan_attr attr = attr_of(16, nr);
	struct hftchan_tx *tx;
	struct hftchan *ch;
	uint64_t n, step;

	attr.first_seq = first;
	ch = create_channel(new_name(backend), &attr);
	/* nothing yet */
	assert_int_equal(joined(ch, HFTCHAN_JOIN_LAST, 0), first);
	assert_int_equal(joined(ch, HFTCHAN_JOIN_NEXT, 0), first);
	assert_int_equal(joined(ch, HFTCHAN_JOIN_OLDEST, 0), first);
	for (step = 0; step < 12; step++) {
		uint64_t oldest;

		/* beside a sender that might run: N - 2 - m messages, with n */
		tx = attach(ch);
		send_many(tx, step < 4 ? 1 : nr / 4);
		n = hftchan_tx_seq(tx) - 1;
		assert_int_equal(joined(ch, HFTCHAN_JOIN_LAST, 0), n);
		assert_int_equal(joined(ch, HFTCHAN_JOIN_NEXT, 0), n + 1);
		oldest = n + 2 + m < first + nr ? first : n + 2 + m - nr;
		assert_history(ch, oldest, n);
		/* at rest: N - 2 messages */
		hftchan_detach(tx);
		assert_int_equal(joined(ch, HFTCHAN_JOIN_LAST, 0), n);
		assert_int_equal(joined(ch, HFTCHAN_JOIN_NEXT, 0), n + 1);
		oldest = n + 3 < first + nr ? first : n + 3 - nr;
		assert_history(ch, oldest, n);
	}
	hftchan_close(ch);
}

static void test_at_rest_and_attached(void **state)
{
	static const uint64_t rings[] = { 4, 8, 64, 1024 };
	static const uint64_t firsts[] = { 1, 3, 1000 };
	unsigned int b, r, f;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++)
		for (r = 0; r < ARRAY_SIZE(rings); r++)
			for (f = 0; f < ARRAY_SIZE(firsts); f++)
				at_rest_and_attached(backends[b], rings[r], firsts[f]);
}

static void test_seq(void **state)
{
	unsigned int b;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct hftchan_attr attr = attr_of(16, 8);
		struct hftchan_rx *rx = NULL;
		struct hftchan_tx *tx;
		struct hftchan *ch;
		unsigned char buf[16];
		struct hftchan_msg msg = { 0 };
		uint64_t s;

		attr.first_seq = 100;
		ch = create_channel(new_name(backends[b]), &attr);
		assert_int_equal(hftchan_join(ch, HFTCHAN_JOIN_SEQ, 0, &rx), -EINVAL);
		assert_int_equal(hftchan_join(ch, HFTCHAN_JOIN_SEQ, 99, &rx), -EINVAL);
		assert_int_equal(hftchan_join(ch, HFTCHAN_JOIN_SEQ, 1ULL << 63, &rx), -EINVAL);
		assert_int_equal(hftchan_join(ch, HFTCHAN_JOIN_SEQ, ~0ULL, &rx), -EINVAL);
		assert_int_equal(hftchan_join(ch, (enum hftchan_join_at)77, 0, &rx), -EINVAL);
		assert_non_null(strstr(hftchan_strerror_last(), hftchan_name(ch)));
		assert_null(rx);

		tx = attach(ch);
		send_many(tx, 20);	/* newest 119; 114 to 119 readable */
		for (s = 114; s <= 119; s++) {
			rx = join(ch, HFTCHAN_JOIN_SEQ, s);
			assert_int_equal(hftchan_rx_seq(rx), s);
			assert_int_equal(hftchan_try_recv(rx, buf, 16, &msg), 16);
			assert_int_equal(msg.seq, s);
			assert_int_equal(msg.lost, 0);
			hftchan_leave(rx);
		}
		/* lapped: what lies between is lost, as it was asked for */
		for (s = 100; s <= 113; s++) {
			rx = join(ch, HFTCHAN_JOIN_SEQ, s);
			assert_int_equal(hftchan_rx_seq(rx), s);
			assert_int_equal(hftchan_try_recv(rx, buf, 16, &msg), 16);
			assert_int_equal(msg.seq, 119 + 2 - 8 + 2);
			assert_int_equal(msg.lost, msg.seq - s);
			assert_int_equal(hftchan_rx_lost(rx), msg.seq - s);
			hftchan_leave(rx);
		}
		/* to come: near, a ring away, several rings away: nothing until then */
		for (s = 120; s <= 160; s++) {
			uint64_t newest = hftchan_tx_seq(tx) - 1;

			rx = join(ch, HFTCHAN_JOIN_SEQ, newest + s - 119);
			for (; newest + s - 119 >= hftchan_tx_seq(tx); send_next(tx)) {
				assert_int_equal(hftchan_try_recv(rx, buf, 16, &msg), -EAGAIN);
				assert_int_equal(hftchan_try_peek(rx, &msg), -EAGAIN);
				assert_int_equal(hftchan_advance(rx), -EAGAIN);
				assert_int_equal(hftchan_try_recv_batch(rx, buf, 16, &msg, 1),
						 -EAGAIN);
			}
			assert_int_equal(hftchan_try_recv(rx, buf, 16, &msg), 16);
			assert_int_equal(msg.seq, newest + s - 119);
			assert_int_equal(msg.lost, 0);
			assert_true(message_is(buf, 16, msg.seq, 0));
			assert_int_equal(hftchan_rx_lost(rx), 0);
			hftchan_leave(rx);
		}
		/* as far as seqs go */
		rx = join(ch, HFTCHAN_JOIN_SEQ, (1ULL << 63) - 1);
		assert_int_equal(hftchan_try_recv(rx, buf, 16, &msg), -EAGAIN);
		hftchan_leave(rx);
		hftchan_detach(tx);
		hftchan_close(ch);
	}
}

/* a sender that died in a batch: its marks took history away, what is left is found */
static int die_in_batch(void *arg)
{
	struct hftchan *ch = open_channel(arg);
	struct hftchan_tx *tx = attach(ch);

	send_many(tx, 100);
	hftchan_ring_mark(&tx->ring, 101, 9);	/* marks 103 to 110 */
	raise(SIGKILL);
	return 1;
}

static void test_after_a_death_in_a_batch(void **state)
{
	struct hftchan_attr attr = attr_of(16, 16);
	char name[64];
	struct hftchan *ch;

	(void)state;
	strcpy(name, new_name(SHARED));
	ch = create_channel(name, &attr);
	in_child(die_in_batch, name);
	assert_int_equal(info_of(ch).newest, 100);
	assert_int_equal(info_of(ch).sender_state, HFTCHAN_SENDER_DIED);
	/* 101 to 110 are marked: 85 to 94 are gone */
	assert_history(ch, 95, 100);
	hftchan_close(ch);
}

static bool stop;

static void *run_flat_out(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		send_next(arg);
	return NULL;
}

/* beside a sender that runs flat out no join loops, fails, or reads what was not there */
static void test_running(void **state)
{
	static const enum hftchan_join_at ats[] = { HFTCHAN_JOIN_LAST, HFTCHAN_JOIN_NEXT,
						    HFTCHAN_JOIN_OLDEST };
	unsigned int b, i, round;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct hftchan_attr attr = attr_of(16, 64);
		struct hftchan *ch = create_channel(new_name(backends[b]), &attr);
		struct hftchan_tx *tx = attach(ch);
		pthread_t sender;

		stop = false;
		assert_int_equal(pthread_create(&sender, NULL, run_flat_out, tx), 0);
		for (round = 0; round < 2000; round++)
			for (i = 0; i < ARRAY_SIZE(ats); i++) {
				uint64_t before = info_of(ch).newest, first, seq;
				struct hftchan_rx *rx = join(ch, ats[i], 0);
				unsigned char buf[16];
				struct hftchan_msg msg = { 0 };
				uint64_t after = info_of(ch).newest;

				first = hftchan_rx_seq(rx);
				assert_int_equal(hftchan_rx_lost(rx), 0);
				if (ats[i] == HFTCHAN_JOIN_LAST)
					assert_in_range(first, before ? before : 1,
							after ? after : 1);
				else if (ats[i] == HFTCHAN_JOIN_NEXT)
					assert_in_range(first, before + 1, after + 1);
				else
					assert_in_range(first, before > 46 ? before - 46 : 1,
							after > 46 ? after - 46 : 1);
				hftchan_rx_set_wait(rx, HFTCHAN_WAIT_YIELD, 0);
				assert_int_equal(hftchan_recv(rx, buf, 16, &msg), 16);
				seq = msg.seq;
				assert_int_equal(seq, first + msg.lost);
				assert_true(message_is(buf, 16, seq, 0));
				assert_int_equal(hftchan_rx_lost(rx), msg.lost);
				hftchan_leave(rx);
			}
		__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
		assert_int_equal(pthread_join(sender, NULL), 0);
		hftchan_detach(tx);
		hftchan_close(ch);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_at_rest_and_attached, clean_up),
		cmocka_unit_test_teardown(test_seq, clean_up),
		cmocka_unit_test_teardown(test_after_a_death_in_a_batch, clean_up),
		cmocka_unit_test_teardown(test_running, clean_up),
		cmocka_unit_test(nothing_left_behind),
	};

	return cmocka_run_group_tests_name("join", tests, NULL, NULL);
}
