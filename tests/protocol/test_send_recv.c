// SPDX-License-Identifier: MIT
/*
 * Sending and receiving one by one: sizes, contents, the state words, reserve and commit, peek and
 * advance, clones; within one thread, between threads and between processes.
 * It is no test of batches, of variable lengths or of receivers that are overtaken.
 * The contract is in <hftchan.h>.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <string.h>

#include <cmocka.h>

#include "common.h"

#define DIRTY	0x8000000000000000ULL

static const char *const backends[] = { SHARED, "local:" };
static const size_t sizes[] = { 1, 2, 7, 8, 9, 15, 16, 55, 56, 57, 64, 120, 121, 4096 };

static void size_over_many_wraps(const char *backend, size_t size)
{
	struct hftchan_attr attr = attr_of(size, 4);
	struct hftchan *ch = create_channel(new_name(backend), &attr);
	struct hftchan_tx *tx = attach(ch);
	struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
	unsigned char buf[4096 + 1];
	struct hftchan_msg msg;
	uint64_t s;

	assert_int_equal(hftchan_rx_seq(rx), 1);
	assert_int_equal(hftchan_tx_seq(tx), 1);
	assert_int_equal(hftchan_try_recv(rx, buf, size, &msg), -EAGAIN);
	for (s = 1; s <= 1000; s++) {
		send_next(tx);
		assert_int_equal(hftchan_tx_seq(tx), s + 1);
		assert_true(state_at(&tx->ring, s) == s);
		assert_true(state_at(&tx->ring, s + 1) == (DIRTY | (s + 1)));
		assert_true(state_at(&tx->ring, s + 2) == (DIRTY | (s + 2)));
		if (s > 1)
			assert_true(state_at(&tx->ring, s - 1) == s - 1);
		assert_true(state_at(&rx->ring, s) == s);

		buf[size] = 0xa5;
		assert_int_equal(hftchan_try_recv(rx, buf, size, &msg), size);
		assert_true(message_is(buf, size, s, 0));
		assert_int_equal(buf[size], 0xa5);
		assert_int_equal(msg.seq, s);
		assert_int_equal(msg.len, size);
		assert_int_equal(msg.type, 0);
		assert_int_equal(msg.lost, 0);
		assert_ptr_equal(msg.data, buf);
		assert_int_equal(hftchan_rx_seq(rx), s + 1);
		assert_int_equal(hftchan_rx_lost(rx), 0);
		assert_int_equal(hftchan_try_recv(rx, buf, size, NULL), -EAGAIN);
	}
	hftchan_leave(rx);
	hftchan_detach(tx);
	hftchan_close(ch);
}

static void test_every_size_over_many_wraps(void **state)
{
	unsigned int b, i;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++)
		for (i = 0; i < ARRAY_SIZE(sizes); i++)
			size_over_many_wraps(backends[b], sizes[i]);
}

static void test_two_readable_in_four_slots(void **state)
{
	unsigned int b;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct hftchan_attr attr = attr_of(8, 4);
		struct hftchan *ch = create_channel(new_name(backends[b]), &attr);
		struct hftchan_tx *tx = attach(ch);
		struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
		unsigned char buf[8];
		uint64_t s;

		for (s = 1; s < 100; s += 2) {
			send_many(tx, 2);
			assert_int_equal(hftchan_try_recv(rx, buf, 8, NULL), 8);
			assert_true(message_is(buf, 8, s, 0));
			assert_int_equal(hftchan_try_recv(rx, buf, 8, NULL), 8);
			assert_true(message_is(buf, 8, s + 1, 0));
			assert_int_equal(hftchan_try_recv(rx, buf, 8, NULL), -EAGAIN);
		}
		hftchan_leave(rx);
		hftchan_detach(tx);
		hftchan_close(ch);
	}
}

static void test_wrong_lengths(void **state)
{
	struct hftchan_attr attr = attr_of(9, 4);
	struct hftchan *ch = create_channel("local:", &attr);
	struct hftchan_tx *tx = attach(ch);
	struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
	unsigned char buf[64] = { 0 };
	struct hftchan_msg msg;
	size_t len;

	(void)state;
	/* shorter or longer than the payload without VARLEN */
	for (len = 0; len <= sizeof(buf); len++) {
		if (len == 9)
			continue;
		assert_int_equal(hftchan_send(tx, buf, len), -EMSGSIZE);
		assert_int_equal(hftchan_commit_len(tx, len, 0), -EMSGSIZE);
	}
	assert_int_equal(hftchan_send(tx, buf, (1ULL << 32) + 9), -EMSGSIZE);
	assert_int_equal(hftchan_send(tx, buf, SIZE_MAX), -EMSGSIZE);
	assert_int_equal(hftchan_commit_len(tx, (1ULL << 32) + 9, 0), -EMSGSIZE);
	/* a type where there is no place for one */
	assert_int_equal(hftchan_send_type(tx, buf, 9, 1), -EINVAL);
	assert_int_equal(hftchan_commit_len(tx, 9, HFTCHAN_TYPE_RESERVED), -EINVAL);
	/* nothing of it was sent, and what is reserved is not touched by it */
	assert_int_equal(hftchan_tx_seq(tx), 1);
	assert_int_equal(hftchan_try_recv(rx, buf, sizeof(buf), NULL), -EAGAIN);
	fill_message(hftchan_reserve(tx), 9, 1, 0);
	assert_int_equal(hftchan_send(tx, buf, 8), -EMSGSIZE);
	assert_int_equal(hftchan_send_type(tx, buf, 9, 1), -EINVAL);
	assert_true(message_is(hftchan_reserve(tx), 9, 1, 0));

	/* a buffer too small keeps the message and says what it needs */
	send_next(tx);
	for (len = 0; len < 9; len++) {
		memset(buf, 0x5a, sizeof(buf));
		memset(&msg, 0, sizeof(msg));
		assert_int_equal(hftchan_try_recv(rx, buf, len, &msg), -EMSGSIZE);
		assert_int_equal(msg.len, 9);
		assert_int_equal(msg.seq, 1);
		assert_int_equal(buf[0], 0x5a);
		assert_int_equal(hftchan_recv(rx, buf, len, NULL), -EMSGSIZE);
		assert_int_equal(hftchan_try_recv_batch(rx, buf, len, &msg, 1), -EMSGSIZE);
	}
	assert_int_equal(hftchan_rx_seq(rx), 1);
	assert_int_equal(hftchan_try_recv(rx, buf, 9, NULL), 9);
	assert_true(message_is(buf, 9, 1, 0));
	hftchan_leave(rx);
	hftchan_detach(tx);
	hftchan_close(ch);
}

static void test_reserve_is_repeatable_and_free(void **state)
{
	unsigned int b;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct hftchan_attr attr = attr_of(24, 4);
		struct hftchan *ch = create_channel(new_name(backends[b]), &attr);
		struct hftchan_tx *tx = attach(ch);
		struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
		unsigned char buf[24];
		uint64_t s;

		for (s = 1; s < 50; s++) {
			void *p = hftchan_reserve(tx);

			assert_int_equal((uintptr_t)p % 8, 0);
			fill_message(p, 24, s, 99);	/* abandoned */
			assert_ptr_equal(hftchan_reserve(tx), p);
			assert_int_equal(hftchan_tx_seq(tx), s);
			assert_int_equal(hftchan_try_recv(rx, buf, 24, NULL), -EAGAIN);
			fill_message(p, 24, s, 1);
			assert_int_equal(hftchan_commit(tx), 0);
			assert_int_equal(hftchan_try_recv(rx, buf, 24, NULL), 24);
			assert_true(message_is(buf, 24, s, 1));
			/* reserved, then sent otherwise */
			fill_message(hftchan_reserve(tx), 24, s, 99);
			send_next(tx);
			s++;
			assert_int_equal(hftchan_try_recv(rx, buf, 24, NULL), 24);
			assert_true(message_is(buf, 24, s, 0));
		}
		/* what was reserved is not sent by a detach, nor by the next sender */
		fill_message(hftchan_reserve(tx), 24, s, 99);
		hftchan_detach(tx);
		assert_int_equal(hftchan_try_recv(rx, buf, 24, NULL), -EAGAIN);
		tx = attach(ch);
		assert_int_equal(hftchan_tx_seq(tx), s);
		assert_int_equal(hftchan_try_recv(rx, buf, 24, NULL), -EAGAIN);
		send_next(tx);
		assert_int_equal(hftchan_try_recv(rx, buf, 24, NULL), 24);
		assert_true(message_is(buf, 24, s, 0));
		hftchan_detach(tx);
		hftchan_leave(rx);
		hftchan_close(ch);
	}
}

static void test_peek_and_advance(void **state)
{
	unsigned int b;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct hftchan_attr attr = attr_of(16, 8);
		struct hftchan *ch = create_channel(new_name(backends[b]), &attr);
		struct hftchan_tx *tx = attach(ch);
		struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
		struct hftchan_msg msg = { 0 };
		uint64_t s;

		assert_int_equal(hftchan_try_peek(rx, &msg), -EAGAIN);
		assert_int_equal(hftchan_advance(rx), -EAGAIN);
		for (s = 1; s < 100; s++) {
			send_next(tx);
			assert_int_equal(hftchan_try_peek(rx, &msg), 16);
			assert_int_equal(msg.seq, s);
			assert_int_equal(msg.len, 16);
			assert_true(message_is(msg.data, 16, s, 0));
			/* in place: no copy was made, and peeking again is the same */
			assert_ptr_equal(msg.data, rx->ring.slots + s % 8 * 64 + 8);
			assert_int_equal(hftchan_peek(rx, &msg), 16);
			assert_int_equal(msg.seq, s);
			assert_int_equal(hftchan_advance(rx), 0);
			assert_int_equal(hftchan_advance(rx), -EAGAIN);
			assert_int_equal(hftchan_rx_seq(rx), s + 1);
		}
		/* overwritten between peek and advance: 6 readable, the 7th commit marks it */
		send_next(tx);
		assert_int_equal(hftchan_try_peek(rx, &msg), 16);
		send_many(tx, 5);
		assert_true(message_is(msg.data, 16, s, 0));
		send_next(tx);
		assert_int_equal(hftchan_advance(rx), -ESTALE);
		/* n = s + 6: n + 2 - N + 2 */
		assert_int_equal(hftchan_rx_seq(rx), s + 2);
		assert_int_equal(hftchan_rx_lost(rx), 2);
		assert_int_equal(hftchan_try_peek(rx, &msg), 16);
		assert_int_equal(msg.seq, s + 2);
		assert_int_equal(msg.lost, 2);
		assert_true(message_is(msg.data, 16, s + 2, 0));
		assert_int_equal(hftchan_advance(rx), 0);
		assert_int_equal(hftchan_try_peek(rx, &msg), 16);
		assert_int_equal(msg.lost, 0);
		hftchan_detach(tx);
		hftchan_leave(rx);
		hftchan_close(ch);
	}
}

/* a message that nobody looked at is not skipped */
static void test_advance_without_peek(void **state)
{
	unsigned int b;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct hftchan_attr attr = attr_of(16, 8);
		struct hftchan *ch = create_channel(new_name(backends[b]), &attr);
		struct hftchan_tx *tx = attach(ch);
		struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0), *clone = NULL;
		struct hftchan_msg msg = { 0 };
		unsigned char buf[16];

		assert_int_equal(hftchan_try_peek(rx, &msg), -EAGAIN);
		send_many(tx, 3);
		assert_int_equal(hftchan_advance(rx), -EAGAIN);
		assert_int_equal(hftchan_try_recv(rx, buf, 16, &msg), 16);
		assert_int_equal(msg.seq, 1);
		/* the copy of a peeked message ends the peek; a clone has peeked at nothing */
		assert_int_equal(hftchan_try_peek(rx, &msg), 16);
		assert_int_equal(hftchan_clone(rx, &clone), 0);
		assert_int_equal(hftchan_advance(clone), -EAGAIN);
		assert_int_equal(hftchan_try_recv(rx, buf, 16, &msg), 16);
		assert_int_equal(hftchan_advance(rx), -EAGAIN);
		assert_int_equal(hftchan_rx_seq(rx), 3);
		hftchan_leave(clone);
		hftchan_leave(rx);
		hftchan_detach(tx);
		hftchan_close(ch);
	}
}

static void test_clone(void **state)
{
	unsigned int b;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct hftchan_attr attr = attr_of(16, 8);
		struct hftchan *ch = create_channel(new_name(backends[b]), &attr);
		struct hftchan_tx *tx = attach(ch);
		struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0), *clone = NULL;
		unsigned char buf[16];
		struct hftchan_msg msg;

		send_many(tx, 20);	/* the receiver is lapped: n + 2 - N + 2 = 16 */
		assert_int_equal(hftchan_try_recv(rx, buf, 16, &msg), 16);
		assert_int_equal(msg.seq, 16);
		assert_int_equal(msg.lost, 15);
		assert_int_equal(hftchan_clone(rx, &clone), 0);
		assert_int_equal(hftchan_rx_seq(clone), 17);
		assert_int_equal(hftchan_rx_lost(clone), 0);
		assert_int_equal(hftchan_rx_lost(rx), 15);
		/* each goes its own way */
		assert_int_equal(hftchan_try_recv(clone, buf, 16, &msg), 16);
		assert_int_equal(msg.seq, 17);
		assert_int_equal(msg.lost, 0);
		assert_int_equal(hftchan_rx_seq(rx), 17);
		assert_int_equal(hftchan_rx_set_wait(rx, HFTCHAN_WAIT_YIELD, 1000), 0);
		hftchan_leave(clone);
		assert_int_equal(hftchan_clone(rx, &clone), 0);
		hftchan_leave(rx);
		assert_int_equal(hftchan_try_recv(clone, buf, 16, &msg), 16);
		assert_int_equal(msg.seq, 17);
		while (hftchan_try_recv(clone, buf, 16, &msg) == 16)
			;
		/* it waits as its original did, or this would not end */
		assert_int_equal(hftchan_recv(clone, buf, 16, &msg), -ETIMEDOUT);
		hftchan_leave(clone);

		/* of one that has a loss to report: that loss is not the clone's */
		rx = join(ch, HFTCHAN_JOIN_SEQ, 20);
		assert_int_equal(hftchan_try_peek(rx, &msg), 16);
		send_many(tx, 30);
		assert_int_equal(hftchan_advance(rx), -ESTALE);
		assert_int_equal(hftchan_clone(rx, &clone), 0);
		assert_int_equal(hftchan_try_recv(clone, buf, 16, &msg), 16);
		assert_int_equal(msg.lost, 0);
		assert_int_equal(hftchan_rx_lost(clone), 0);
		assert_int_equal(hftchan_try_recv(rx, buf, 16, &msg), 16);
		assert_int_equal(msg.lost, hftchan_rx_lost(rx));
		assert_true(msg.lost > 0);
		hftchan_leave(clone);
		hftchan_leave(rx);
		hftchan_detach(tx);
		hftchan_close(ch);
	}
}

static void huge_seqs(const char *backend, uint64_t first)
{
	struct hftchan_attr attr = attr_of(8, 4);
	struct hftchan_tx *tx;
	struct hftchan_rx *rx, *last;
	struct hftchan *ch;
	unsigned char buf[8];
	struct hftchan_msg msg;
	uint64_t s;

	attr.first_seq = first;
	ch = create_channel(new_name(backend), &attr);
	assert_true(info_of(ch).newest == first - 1);
	last = join(ch, HFTCHAN_JOIN_LAST, 0);
	assert_true(hftchan_rx_seq(last) == first);
	rx = join(ch, HFTCHAN_JOIN_OLDEST, 0);
	assert_true(hftchan_rx_seq(rx) == first);
	tx = attach(ch);
	assert_true(hftchan_tx_seq(tx) == first);
	for (s = first; s < first + 20; s++) {
		send_next(tx);
		assert_int_equal(hftchan_try_recv(rx, buf, 8, &msg), 8);
		assert_true(msg.seq == s);
		assert_true(message_is(buf, 8, s, 0));
		assert_true(info_of(ch).newest == s);
	}
	/* n + 2 - N + 1 */
	assert_int_equal(hftchan_try_recv(last, buf, 8, &msg), 8);
	assert_true(msg.seq == first + 18);
	assert_int_equal(msg.lost, 18);
	hftchan_leave(last);
	hftchan_leave(rx);
	hftchan_detach(tx);
	hftchan_close(ch);
}

static void test_huge_seqs(void **state)
{
	static const uint64_t firsts[] = { 2, 3, 7, 100, 101, 1ULL << 32, (1ULL << 62) - 3,
					   1ULL << 62 };
	unsigned int b, i;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++)
		for (i = 0; i < ARRAY_SIZE(firsts); i++)
			huge_seqs(backends[b], firsts[i]);
}

/* ---------------------------------------------------------------- threads and processes */

/* sender and receivers in step: hard work where processors are emulated */
static uint64_t nr_messages(void)
{
	return over_dev() ? 20000 : 200000;
}

struct reader {
	const char *name;		/* a process opens it itself */
	struct hftchan *ch;
	uint64_t *progress;		/* the last seq read; the sender keeps near */
	int how;
};

/* reads all messages with one of the calls; none may be lost as the sender waits for it */
static int read_all(void *arg)
{
	struct reader *r = arg;
	struct hftchan *ch = r->name ? open_channel(r->name) : r->ch;
	struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_SEQ, 1);
	unsigned char buf[8][40];
	const uint64_t nr = nr_messages();
	struct hftchan_msg msgs[8];
	uint64_t s = 1;

	hftchan_rx_set_wait(rx, HFTCHAN_WAIT_YIELD, 60000000000ULL);
	while (s <= nr) {
		int i, n = 1;

		switch (r->how) {
		case 0:
			CHECK_EQ(hftchan_recv(rx, buf, 40, msgs), 40);
			break;
		case 1:
			CHECK_EQ(hftchan_peek(rx, msgs), 40);
			memcpy(buf, msgs[0].data, 40);
			CHECK_EQ(hftchan_advance(rx), 0);
			msgs[0].data = buf;
			break;
		default:
			n = hftchan_recv_batch(rx, buf, 40, msgs, 8);
			CHECK(n > 0);
		}
		for (i = 0; i < n; i++, s++) {
			CHECK_EQ(msgs[i].seq, s);
			CHECK_EQ(msgs[i].lost, 0);
			CHECK(message_is(msgs[i].data, 40, s, 0));
		}
		publish_word(r->progress, s - 1);
	}
	CHECK_EQ(hftchan_rx_lost(rx), 0);
	hftchan_leave(rx);
	if (r->name)
		hftchan_close(ch);
	return 0;
}

static void *read_all_thread(void *arg)
{
	read_all(arg);
	return NULL;
}

static void send_to_readers(struct hftchan *ch, const uint64_t *progress, unsigned int nr_readers)
{
	struct hftchan_tx *tx = attach(ch);
	const uint64_t nr = nr_messages();
	uint64_t s;
	unsigned int i;

	for (s = 1; s <= nr; s++) {
		for (i = 0; s > 32 && i < nr_readers; i++)
			await_word(&progress[i * 8], s - 32);
		send_next(tx);
	}
	hftchan_detach(tx);
}

static void test_threads(void **state)
{
	unsigned int b, i;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct hftchan_attr attr = attr_of(40, 64);
		struct hftchan *ch = create_channel(new_name(backends[b]), &attr);
		uint64_t *progress = shared_memory(4096);
		struct reader readers[3];
		pthread_t threads[3];

		for (i = 0; i < 3; i++) {
			readers[i] = (struct reader){ NULL, ch, progress + i * 8, (int)i };
			assert_int_equal(pthread_create(&threads[i], NULL, read_all_thread,
							&readers[i]), 0);
		}
		send_to_readers(ch, progress, 3);
		for (i = 0; i < 3; i++)
			assert_int_equal(pthread_join(threads[i], NULL), 0);
		hftchan_close(ch);
	}
}

static void test_processes(void **state)
{
	struct hftchan_attr attr = attr_of(40, 64);
	const char *name = new_name(SHARED);
	struct hftchan *ch = create_channel(name, &attr);
	uint64_t *progress = shared_memory(4096);
	struct reader readers[3];
	pid_t pids[3];
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		readers[i] = (struct reader){ name, NULL, progress + i * 8, (int)i };
		pids[i] = start_child(read_all, &readers[i]);
	}
	send_to_readers(ch, progress, 3);
	for (i = 0; i < 3; i++)
		assert_int_equal(reap(pids[i]), 0);
	hftchan_close(ch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_every_size_over_many_wraps, clean_up),
		cmocka_unit_test_teardown(test_two_readable_in_four_slots, clean_up),
		cmocka_unit_test(test_wrong_lengths),
		cmocka_unit_test_teardown(test_reserve_is_repeatable_and_free, clean_up),
		cmocka_unit_test_teardown(test_peek_and_advance, clean_up),
		cmocka_unit_test_teardown(test_advance_without_peek, clean_up),
		cmocka_unit_test_teardown(test_clone, clean_up),
		cmocka_unit_test_teardown(test_huge_seqs, clean_up),
		cmocka_unit_test_teardown(test_threads, clean_up),
		cmocka_unit_test_teardown(test_processes, clean_up),
		cmocka_unit_test(nothing_left_behind),
	};

	return cmocka_run_group_tests_name("send_recv", tests, NULL, NULL);
}
