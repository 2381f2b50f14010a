// SPDX-License-Identifier: MIT
/*
 * Batches: any number of messages over the wrap, more than a quarter of the ring and more than the
 * ring, in fixed and variable length; batch receives of any size and state.
 * It is no test of batches that are overwritten while they are read (test_race.c).
 * The contract is hftchan_send_batch() and hftchan_try_recv_batch() in <hftchan.h>.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common.h"

#define DIRTY	0x8000000000000000ULL
#define MAX	200
#define SIZE	24

static const char *const backends[] = { SHARED, "local:" };

static unsigned char out[MAX][SIZE], in[MAX][SIZE];
static struct hftchan_msg sent[MAX], got[MAX];

static uint32_t length_of(bool varlen, uint64_t seq)
{
	return varlen ? (uint32_t)(seq * 11 % (SIZE + 1)) : SIZE;
}

static void send_batch(struct hftchan_tx *tx, bool varlen, unsigned int nr)
{
	uint64_t s = hftchan_tx_seq(tx);
	unsigned int i;

	for (i = 0; i < nr; i++) {
		sent[i] = (struct hftchan_msg){
			.data = out[i],
			.len = length_of(varlen, s + i),
			.type = varlen ? (uint32_t)(s + i) & 0xffff : 0,
			.seq = 4711,	/* ignored */
			.lost = 4711,
		};
		fill_message(out[i], sent[i].len, s + i, 0);
	}
	assert_int_equal(hftchan_send_batch(tx, sent, nr), 0);
	assert_true(hftchan_tx_seq(tx) == s + nr);
}

static void assert_message(const struct hftchan_msg *m, const void *data, bool varlen, uint64_t seq,
			   uint64_t lost)
{
	assert_true(m->seq == seq);
	assert_int_equal(m->len, length_of(varlen, seq));
	assert_int_equal(m->type, varlen ? seq & 0xffff : 0);
	assert_int_equal(m->lost, lost);
	assert_true(message_is(data, m->len, seq, 0));
}

/* a batch of @nr, and receives of up to @max, at whatever place in the ring it is now */
static void one_batch(struct hftchan_tx *tx, struct hftchan_rx *rx, unsigned int nr,
		      unsigned int max)
{
	const bool varlen = tx->ring.varlen;
	uint64_t s = hftchan_tx_seq(tx), t;
	int i, n;

	send_batch(tx, varlen, nr);
	assert_true(state_at(&tx->ring, s + nr) == (DIRTY | (s + nr)));
	assert_true(state_at(&tx->ring, s + nr + 1) == (DIRTY | (s + nr + 1)));
	for (t = s; t < s + nr; t++)
		assert_true(state_at(&tx->ring, t) == t);
	for (t = s; t < s + nr; t += (uint64_t)n) {
		n = hftchan_try_recv_batch(rx, in, SIZE, got, max);
		/* as many as there are and fit */
		assert_int_equal(n, s + nr - t < max ? s + nr - t : max);
		for (i = 0; i < n; i++) {
			assert_ptr_equal(got[i].data, in[i]);
			assert_message(&got[i], in[i], varlen, t + (uint64_t)i, 0);
		}
	}
	assert_int_equal(hftchan_try_recv_batch(rx, in, SIZE, got, max), -EAGAIN);
}

/* every size of batch that the ring holds, at one place after the other, read in every way */
static void every_batch_that_fits(const char *backend, uint64_t slots, bool varlen)
{
	struct hftchan_attr attr = attr_of(SIZE, slots);
	struct hftchan_tx *tx;
	struct hftchan_rx *rx;
	struct hftchan *ch;
	unsigned int nr, max;

	attr.flags = varlen ? HFTCHAN_F_VARLEN : 0;
	ch = create_channel(new_name(backend), &attr);
	tx = attach(ch);
	rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
	for (nr = 1; nr <= slots - 2; nr++)
		for (max = 1; max <= nr + 2; max++) {
			send_next(tx);	/* so that each begins one slot further */
			assert_int_equal(hftchan_try_recv(rx, in, SIZE, got), SIZE);
			one_batch(tx, rx, nr, max);
		}
	assert_int_equal(hftchan_rx_lost(rx), 0);
	hftchan_leave(rx);
	hftchan_detach(tx);
	hftchan_close(ch);
}

static void test_every_batch_that_fits(void **state)
{
	static const uint64_t rings[] = { 4, 8, 32 };
	unsigned int b, r, v;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++)
		for (r = 0; r < ARRAY_SIZE(rings); r++)
			for (v = 0; v < 2; v++)
				every_batch_that_fits(backends[b], rings[r], v);
}

/* more than the ring holds: the last of them are there, and the loss is exact */
static void larger_than_the_ring(const char *backend, unsigned int nr)
{
	struct hftchan_attr attr = attr_of(SIZE, 8);
	struct hftchan *ch = create_channel(new_name(backend), &attr);
	struct hftchan_tx *tx = attach(ch);
	struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
	/* the smallest margin: n + 2 - N + 2; 7 messages have overwritten one */
	uint64_t next = nr + 2 - 8 + 2;
	int n, i;

	send_batch(tx, false, nr);
	assert_true(info_of(ch).newest == nr);
	n = hftchan_try_recv_batch(rx, in, SIZE, got, MAX);
	assert_int_equal(n, nr - next + 1);
	for (i = 0; i < n; i++)
		assert_message(&got[i], got[i].data, false, next + (uint64_t)i,
			       i ? 0 : next - 1);
	assert_int_equal(hftchan_rx_lost(rx), next - 1);
	hftchan_leave(rx);
	hftchan_detach(tx);
	hftchan_close(ch);
	clean_up(NULL);
}

static void test_larger_than_the_ring(void **state)
{
	unsigned int b, nr;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++)
		for (nr = 7; nr <= MAX; nr++)
			larger_than_the_ring(backends[b], nr);
}

static void test_nothing_and_wrong(void **state)
{
	struct hftchan_attr attr = attr_of(SIZE, 8);
	struct hftchan *ch = create_channel("local:", &attr);
	struct hftchan_tx *tx = attach(ch);
	struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0);

	(void)state;
	assert_int_equal(hftchan_send_batch(tx, NULL, 0), 0);
	assert_int_equal(hftchan_tx_seq(tx), 1);
	assert_int_equal(hftchan_try_recv_batch(rx, in, SIZE, got, 8), -EAGAIN);
	/* one wrong message, the last: none is sent */
	sent[0] = sent[1] = sent[2] = (struct hftchan_msg){ .data = out, .len = SIZE };
	sent[2].len = SIZE - 1;
	assert_int_equal(hftchan_send_batch(tx, sent, 3), -EMSGSIZE);
	sent[2].len = SIZE + 1;
	assert_int_equal(hftchan_send_batch(tx, sent, 3), -EMSGSIZE);
	sent[2].len = SIZE;
	sent[2].type = 1;
	assert_int_equal(hftchan_send_batch(tx, sent, 3), -EINVAL);
	assert_int_equal(hftchan_tx_seq(tx), 1);
	assert_int_equal(hftchan_try_recv_batch(rx, in, SIZE, got, 8), -EAGAIN);
	hftchan_leave(rx);
	hftchan_detach(tx);
	hftchan_close(ch);
}

/* a message that doesn't fit: those before are delivered, it stays and says what it needs */
static void test_stride_too_small(void **state)
{
	struct hftchan_attr attr = attr_of(SIZE, 16);
	struct hftchan_tx *tx;
	struct hftchan_rx *rx;
	struct hftchan *ch;

	(void)state;
	attr.flags = HFTCHAN_F_VARLEN;
	ch = create_channel("local:", &attr);
	tx = attach(ch);
	rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
	fill_message(out[0], SIZE, 1, 0);
	assert_int_equal(hftchan_send(tx, out[0], 8), 0);
	assert_int_equal(hftchan_send(tx, out[0], 4), 0);
	assert_int_equal(hftchan_send(tx, out[0], 9), 0);
	assert_int_equal(hftchan_send(tx, out[0], 1), 0);
	assert_int_equal(hftchan_try_recv_batch(rx, in, 8, got, 4), 2);
	assert_ptr_equal(got[1].data, (unsigned char *)in + 8);
	memset(got, 0, sizeof(got));
	assert_int_equal(hftchan_try_recv_batch(rx, in, 8, got, 4), -EMSGSIZE);
	assert_int_equal(got[0].len, 9);
	assert_int_equal(hftchan_rx_seq(rx), 3);
	assert_int_equal(hftchan_recv_batch(rx, in, 8, got, 4), -EMSGSIZE);
	assert_int_equal(hftchan_try_recv_batch(rx, in, 9, got, 4), 2);
	assert_int_equal(got[0].seq, 3);
	assert_int_equal(got[1].seq, 4);
	assert_int_equal(got[1].len, 1);
	hftchan_leave(rx);
	hftchan_detach(tx);
	hftchan_close(ch);
}

/* a corrupted message behind good ones: they are delivered first */
static void test_corrupted_behind_good_ones(void **state)
{
	struct hftchan_attr attr = attr_of(SIZE, 16);
	const uint32_t garbage = 0xfffffff0;
	struct hftchan_tx *tx;
	struct hftchan_rx *rx;
	struct hftchan *ch;

	(void)state;
	attr.flags = HFTCHAN_F_VARLEN;
	ch = create_channel("local:", &attr);
	tx = attach(ch);
	rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
	send_batch(tx, true, 4);
	memcpy(tx->ring.slots + 3 * tx->ring.slot_size + 8, &garbage, 4);
	assert_int_equal(hftchan_try_recv_batch(rx, in, SIZE, got, 8), 2);
	assert_int_equal(hftchan_try_recv_batch(rx, in, SIZE, got, 8), -EBADMSG);
	assert_int_equal(hftchan_rx_seq(rx), 3);
	hftchan_leave(rx);
	hftchan_detach(tx);
	hftchan_close(ch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_every_batch_that_fits, clean_up),
		cmocka_unit_test_teardown(test_larger_than_the_ring, clean_up),
		cmocka_unit_test(test_nothing_and_wrong),
		cmocka_unit_test(test_stride_too_small),
		cmocka_unit_test(test_corrupted_behind_good_ones),
		cmocka_unit_test(nothing_left_behind),
	};

	return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
