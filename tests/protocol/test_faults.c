// SPDX-License-Identifier: MIT
/*
 * After attach and join nothing is mapped or allocated any more: no page fault in 100,000 messages,
 * on rings whose pages are all touched for the first time.
 * It is no test under a sanitizer, whose own memory faults: there only the messages are checked.
 * The contract is "Memory" in <hftchan.h>.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "common.h"

#define MESSAGES	100000

static const char *const backends[] = { SHARED, "local:" };

static long faults(void)
{
	struct rusage usage;

	CHECK_EQ(getrusage(RUSAGE_THREAD, &usage), 0);
	return usage.ru_minflt + usage.ru_majflt;
}

/* the same code at work on another channel, so that its own pages and the stack are there */
static void work(struct hftchan_tx *tx, struct hftchan_rx *rx, uint64_t messages)
{
	unsigned char buf[4][56];
	struct hftchan_msg msgs[4];
	uint64_t s;

	for (s = 0; s < messages; s += 4) {
		int i;

		send_many(tx, 2);
		for (i = 0; i < 2; i++)
			msgs[i] = (struct hftchan_msg){ .data = buf[i], .len = 56 };
		for (i = 0; i < 2; i++)
			fill_message(buf[i], 56, hftchan_tx_seq(tx) + (uint64_t)i, 0);
		CHECK_EQ(hftchan_send_batch(tx, msgs, 2), 0);
		CHECK_EQ(hftchan_recv(rx, buf[0], 56, &msgs[0]), 56);
		CHECK(message_is(buf[0], 56, msgs[0].seq, 0));
		CHECK_EQ(hftchan_peek(rx, &msgs[0]), 56);
		CHECK_EQ(hftchan_advance(rx), 0);
		CHECK_EQ(hftchan_recv_batch(rx, buf, 56, msgs, 4), 2);
		CHECK(message_is(buf[1], 56, msgs[1].seq, 0));
		CHECK_EQ(hftchan_try_recv(rx, buf, 56, msgs), -EAGAIN);
	}
}

static void test_no_faults(void **state)
{
	unsigned int b;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct hftchan_attr attr = attr_of(56, 1 << 17);	/* 8 MiB */
		struct hftchan_attr small = attr_of(56, 16);
		struct hftchan *ch, *warm;
		struct hftchan_tx *tx, *warm_tx;
		struct hftchan_rx *rx, *warm_rx;
		long before, after;

		warm = create_channel(new_name(backends[b]), &small);
		warm_tx = attach(warm);
		warm_rx = join(warm, HFTCHAN_JOIN_NEXT, 0);
		ch = create_channel(new_name(backends[b]), &attr);
		tx = attach(ch);
		rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
		work(warm_tx, warm_rx, 100);
		before = faults();
		work(tx, rx, MESSAGES);
		after = faults();
		assert_int_equal(hftchan_rx_seq(rx), MESSAGES + 1);
		assert_int_equal(hftchan_rx_lost(rx), 0);
#ifndef __SANITIZE_ADDRESS__
		assert_int_equal(after - before, 0);
#else
		print_message("%ld faults, the sanitizer's own among them\n", after - before);
#endif
		hftchan_detach(warm_tx);
		hftchan_leave(warm_rx);
		hftchan_close(warm);
		hftchan_detach(tx);
		hftchan_leave(rx);
		hftchan_close(ch);
	}
}

/* that the count above would notice: memory that nobody touched before */
static void test_faults_are_counted(void **state)
{
	volatile unsigned char *p = shared_memory(1 << 20);
	long before = faults();
	size_t i;

	(void)state;
	for (i = 0; i < 1 << 20; i += 4096)
		p[i] = 1;
	assert_true(faults() - before > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_no_faults, clean_up),
		cmocka_unit_test(test_faults_are_counted),
		cmocka_unit_test(nothing_left_behind),
	};

	return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
