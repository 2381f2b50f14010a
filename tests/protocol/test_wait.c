// SPDX-License-Identifier: MIT
/*
 * Waiting: both modes, with and without a limit; what ends it.
 * It is no test of how long a wait takes beyond its limit: that is the machine's affair.
 * The contract is hftchan_rx_set_wait() and hftchan_wait() in <hftchan.h>.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common.h"

#define MS	1000000ULL

static const char *const backends[] = { SHARED, "local:" };

static void timeouts(const char *backend, enum hftchan_wait_mode mode, uint64_t limit)
{
	struct hftchan_attr attr = attr_of(16, 8);
	struct hftchan *ch = create_channel(new_name(backend), &attr);
	struct hftchan_tx *tx = attach(ch);
	struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
	unsigned char buf[16];
	struct hftchan_msg msg = { 0 };
	uint64_t start;

	assert_int_equal(hftchan_rx_set_wait(rx, mode, limit), 0);
	start = now_ns();
	assert_int_equal(hftchan_wait(rx), -ETIMEDOUT);
	assert_true(now_ns() - start >= limit);
	assert_non_null(strstr(hftchan_strerror_last(), hftchan_name(ch)));
	start = now_ns();
	assert_int_equal(hftchan_recv(rx, buf, 16, &msg), -ETIMEDOUT);
	assert_int_equal(hftchan_peek(rx, &msg), -ETIMEDOUT);
	assert_int_equal(hftchan_recv_batch(rx, buf, 16, &msg, 1), -ETIMEDOUT);
	assert_true(now_ns() - start >= 3 * limit);
	/* something there: none of them waits */
	send_many(tx, 4);
	assert_int_equal(hftchan_wait(rx), 0);
	assert_int_equal(hftchan_wait(rx), 0);
	assert_int_equal(hftchan_peek(rx, &msg), 16);
	assert_int_equal(hftchan_recv(rx, buf, 16, &msg), 16);
	assert_int_equal(msg.seq, 1);
	/* overtaken: there is something to say, too */
	send_many(tx, 20);
	assert_int_equal(hftchan_wait(rx), 0);
	assert_int_equal(hftchan_recv_batch(rx, buf, 16, &msg, 1), 1);
	assert_true(msg.lost > 0);
	hftchan_leave(rx);
	hftchan_detach(tx);
	hftchan_close(ch);
}

static void test_timeouts(void **state)
{
	static const uint64_t limits[] = { 1, 1000, MS, 30 * MS };
	unsigned int b, i;
	int mode;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++)
		for (mode = HFTCHAN_WAIT_SPIN; mode <= HFTCHAN_WAIT_YIELD; mode++)
			for (i = 0; i < ARRAY_SIZE(limits); i++)
				timeouts(backends[b], mode, limits[i]);
}

static void test_wrong_mode(void **state)
{
	struct hftchan_attr attr = attr_of(16, 8);
	struct hftchan *ch = create_channel("local:", &attr);
	struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0);

	(void)state;
	assert_int_equal(hftchan_rx_set_wait(rx, (enum hftchan_wait_mode)2, 0), -EINVAL);
	assert_int_equal(hftchan_rx_set_wait(rx, (enum hftchan_wait_mode)77, 0), -EINVAL);
	assert_non_null(strstr(hftchan_strerror_last(), "local:"));
	hftchan_leave(rx);
	hftchan_close(ch);
}

struct pause {
	struct hftchan_tx *tx;
	unsigned int messages;
};

/* one message at a time, long enough after the other for the receiver to be waiting */
static void *send_slowly(void *arg)
{
	const struct timespec gap = { .tv_nsec = 3 * 1000000 };
	struct pause *p = arg;
	unsigned int i;

	for (i = 0; i < p->messages; i++) {
		nanosleep(&gap, NULL);
		send_next(p->tx);
	}
	return NULL;
}

static void message_ends_the_wait(const char *backend, enum hftchan_wait_mode mode, uint64_t limit)
{
	/* more slots than messages: however late this thread runs, none is lost */
	struct hftchan_attr attr = attr_of(16, 64);
	struct hftchan *ch = create_channel(new_name(backend), &attr);
	struct pause p = { attach(ch), 40 };
	struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
	unsigned char buf[16];
	struct hftchan_msg msg = { 0 };
	pthread_t sender;
	uint64_t s;

	if (mode != HFTCHAN_WAIT_SPIN || limit)
		assert_int_equal(hftchan_rx_set_wait(rx, mode, limit), 0);
	/* else: spinning for ever is what a receiver does from the start */
	assert_int_equal(pthread_create(&sender, NULL, send_slowly, &p), 0);
	for (s = 1; s <= p.messages;) {
		assert_int_equal(hftchan_recv(rx, buf, 16, &msg), 16);
		assert_int_equal(msg.seq, s++);
		assert_int_equal(hftchan_peek(rx, &msg), 16);
		assert_int_equal(msg.seq, s++);
		assert_int_equal(hftchan_advance(rx), 0);
		assert_int_equal(hftchan_recv_batch(rx, buf, 16, &msg, 1), 1);
		assert_int_equal(msg.seq, s++);
		assert_int_equal(hftchan_wait(rx), 0);
		assert_int_equal(hftchan_try_recv(rx, buf, 16, &msg), 16);
		assert_int_equal(msg.seq, s++);
	}
	assert_int_equal(pthread_join(sender, NULL), 0);
	hftchan_leave(rx);
	hftchan_detach(p.tx);
	hftchan_close(ch);
}

static void test_message_ends_the_wait(void **state)
{
	static const uint64_t limits[] = { 0, 60000 * MS };
	unsigned int b, i;
	int mode;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++)
		for (mode = HFTCHAN_WAIT_SPIN; mode <= HFTCHAN_WAIT_YIELD; mode++)
			for (i = 0; i < ARRAY_SIZE(limits); i++)
				message_ends_the_wait(backends[b], mode, limits[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_timeouts, clean_up),
		cmocka_unit_test(test_wrong_mode),
		cmocka_unit_test_teardown(test_message_ends_the_wait, clean_up),
		cmocka_unit_test(nothing_left_behind),
	};

	return cmocka_run_group_tests_name("wait", tests, NULL, NULL);
}
