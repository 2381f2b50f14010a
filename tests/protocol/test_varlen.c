// SPDX-License-Identifier: MIT
/*
 * Channels of messages of variable length: every length and type, what is refused, a length in the
 * ring that no sender wrote.
 * It is no test of a length that is overwritten while it is read (test_race.c).
 * The contract is in <hftchan.h>; struct hftchan_varlen is in <linux/hftchan.h>.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common.h"

static const char *const backends[] = { SHARED, "local:" };

static void every_length(const char *backend, size_t max)
{
	struct hftchan_attr attr = attr_of(max, 4);
	struct hftchan_tx *tx;
	struct hftchan_rx *rx;
	struct hftchan *ch;
	uint32_t head[2];
	size_t len;

	attr.flags = HFTCHAN_F_VARLEN;
	ch = create_channel(new_name(backend), &attr);
	tx = attach(ch);
	rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
	for (len = 0; len <= max; len++) {
		unsigned char in[200], out[201];
		struct hftchan_msg msg;
		const uint64_t s = hftchan_tx_seq(tx);
		const uint32_t type = (uint32_t)len * 0x1234567 & 0x7fffffff;

		fill_message(in, len, s, 0);
		assert_int_equal(hftchan_send_type(tx, in, len, type), 0);
		/* its bytes: u32 length, u32 type, payload */
		memcpy(head, tx->ring.slots + s % 4 * tx->ring.slot_size + 8, 8);
		assert_int_equal(head[0], len);
		assert_int_equal(head[1], type);

		assert_int_equal(hftchan_try_peek(rx, &msg), len);
		assert_true(message_is(msg.data, len, s, 0));
		assert_int_equal(msg.type, type);
		if (len)
			assert_int_equal(hftchan_try_recv(rx, out, len - 1, &msg), -EMSGSIZE);
		out[len] = 0xa5;
		assert_int_equal(hftchan_try_recv(rx, out, len, &msg), len);
		assert_true(message_is(out, len, s, 0));
		assert_int_equal(out[len], 0xa5);
		assert_int_equal(msg.len, len);
		assert_int_equal(msg.type, type);
		assert_int_equal(msg.seq, s);
		assert_int_equal(msg.lost, 0);
	}
	assert_int_equal(hftchan_tx_seq(tx), max + 2);
	assert_int_equal(hftchan_try_recv(rx, head, 8, NULL), -EAGAIN);
	hftchan_leave(rx);
	hftchan_detach(tx);
	hftchan_close(ch);
}

static void test_every_length(void **state)
{
	static const size_t maxima[] = { 1, 7, 8, 9, 48, 49, 200 };
	unsigned int b, i;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++)
		for (i = 0; i < ARRAY_SIZE(maxima); i++)
			every_length(backends[b], maxima[i]);
}

static struct hftchan *varlen_channel(struct hftchan_tx **tx, struct hftchan_rx **rx)
{
	struct hftchan_attr attr = attr_of(40, 4);
	struct hftchan *ch;

	attr.flags = HFTCHAN_F_VARLEN;
	ch = create_channel("local:", &attr);
	*tx = attach(ch);
	*rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
	return ch;
}

static void test_refused(void **state)
{
	struct hftchan_tx *tx;
	struct hftchan_rx *rx;
	struct hftchan *ch = varlen_channel(&tx, &rx);
	unsigned char buf[64] = { 0 };
	struct hftchan_msg batch[2] = { { .data = buf, .len = 8 }, { .data = buf, .len = 41 } };

	(void)state;
	assert_int_equal(hftchan_send(tx, buf, 41), -EMSGSIZE);
	assert_int_equal(hftchan_send(tx, buf, SIZE_MAX), -EMSGSIZE);
	assert_int_equal(hftchan_send(tx, buf, 1ULL << 32), -EMSGSIZE);
	assert_int_equal(hftchan_commit_len(tx, 41, 0), -EMSGSIZE);
	assert_int_equal(hftchan_commit_len(tx, 1ULL << 32, 0), -EMSGSIZE);
	assert_int_equal(hftchan_send_type(tx, buf, 8, HFTCHAN_TYPE_RESERVED), -EINVAL);
	assert_int_equal(hftchan_send_type(tx, buf, 8, 0xffffffff), -EINVAL);
	assert_int_equal(hftchan_commit_len(tx, 8, HFTCHAN_TYPE_RESERVED | 5), -EINVAL);
	/* all of a batch is looked at before any of it is sent */
	assert_int_equal(hftchan_send_batch(tx, batch, 2), -EMSGSIZE);
	batch[1].len = 8;
	batch[1].type = HFTCHAN_TYPE_RESERVED;
	assert_int_equal(hftchan_send_batch(tx, batch, 2), -EINVAL);
	assert_int_equal(hftchan_tx_seq(tx), 1);
	assert_int_equal(hftchan_try_recv(rx, buf, sizeof(buf), NULL), -EAGAIN);
	assert_int_equal(hftchan_send_type(tx, buf, 8, 0x7fffffff), 0);
	assert_int_equal(hftchan_try_recv(rx, buf, sizeof(buf), NULL), 8);
	hftchan_leave(rx);
	hftchan_detach(tx);
	hftchan_close(ch);
}

static void test_reserve_and_commit_len(void **state)
{
	struct hftchan_tx *tx;
	struct hftchan_rx *rx;
	struct hftchan *ch = varlen_channel(&tx, &rx);
	unsigned char buf[40];
	struct hftchan_msg msg;
	uint64_t s;

	(void)state;
	for (s = 1; s < 100; s++) {
		unsigned char *p = hftchan_reserve(tx);
		size_t len = s % 41;

		assert_int_equal((uintptr_t)p % 8, 0);
		fill_message(p, len, s, 0);
		/* refused once, then sent all the same */
		assert_int_equal(hftchan_commit_len(tx, 41, 0), -EMSGSIZE);
		assert_int_equal(hftchan_commit_len(tx, len, (uint32_t)s), 0);
		assert_int_equal(hftchan_try_recv(rx, buf, sizeof(buf), &msg), len);
		assert_true(message_is(buf, len, s, 0));
		assert_int_equal(msg.type, s);
	}
	/* without a length: all of it */
	fill_message(hftchan_reserve(tx), 40, s, 0);
	assert_int_equal(hftchan_commit(tx), 0);
	assert_int_equal(hftchan_try_recv(rx, buf, sizeof(buf), &msg), 40);
	assert_true(message_is(buf, 40, s, 0));
	hftchan_leave(rx);
	hftchan_detach(tx);
	hftchan_close(ch);
}

static void test_length_that_no_sender_wrote(void **state)
{
	static const uint32_t lengths[] = { 41, 48, 64, 4096, 0x7fffffff, 0xffffffff };
	struct hftchan_tx *tx;
	struct hftchan_rx *rx;
	struct hftchan *ch = varlen_channel(&tx, &rx);
	unsigned char buf[4096];
	struct hftchan_msg msg;
	unsigned int i;

	(void)state;
	assert_int_equal(hftchan_send(tx, buf, 40), 0);
	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		memcpy(tx->ring.slots + 64 + 8, &lengths[i], 4);
		assert_int_equal(hftchan_try_recv(rx, buf, sizeof(buf), &msg), -EBADMSG);
		assert_int_equal(hftchan_recv(rx, buf, sizeof(buf), &msg), -EBADMSG);
		assert_int_equal(hftchan_try_peek(rx, &msg), -EBADMSG);
		assert_int_equal(hftchan_peek(rx, &msg), -EBADMSG);
		assert_int_equal(hftchan_try_recv_batch(rx, buf, 40, &msg, 1), -EBADMSG);
		assert_int_equal(hftchan_rx_seq(rx), 1);
	}
	/* a receiver that was behind gets over it once it is overwritten */
	for (i = 0; i < 4; i++)
		assert_int_equal(hftchan_send(tx, buf, 40), 0);
	assert_int_equal(hftchan_try_recv(rx, buf, sizeof(buf), &msg), 40);
	assert_true(msg.seq > 1);
	hftchan_leave(rx);
	hftchan_detach(tx);
	hftchan_close(ch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_every_length, clean_up),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_reserve_and_commit_len),
		cmocka_unit_test(test_length_that_no_sender_wrote),
		cmocka_unit_test(nothing_left_behind),
	};

	return cmocka_run_group_tests_name("varlen", tests, NULL, NULL);
}
