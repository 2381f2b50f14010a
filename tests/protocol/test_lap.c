// SPDX-License-Identifier: MIT
/*
 * Receivers that are overtaken: where they go on and what they count, at rest, again and again, and
 * when the ring is corrupted; through each of the calls that receive.
 * It is no test of being overtaken within a call (test_race.c).
 * The contract is hftchan_ring_lap() in <hftchan/ring.h> and the receiver's part of <hftchan.h>.
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

static const char *const backends[] = { SHARED, "local:" };

struct setting {
	struct hftchan *ch;
	struct hftchan_tx *tx;
	struct hftchan_rx *rx;
};

static struct setting make(const char *backend, uint64_t nr_slots)
{
	struct hftchan_attr attr = attr_of(16, nr_slots);
	struct setting s;

	s.ch = create_channel(new_name(backend), &attr);
	s.tx = attach(s.ch);
	s.rx = join(s.ch, HFTCHAN_JOIN_NEXT, 0);
	return s;
}

static void end(struct setting *s)
{
	hftchan_leave(s->rx);
	hftchan_detach(s->tx);
	hftchan_close(s->ch);
	clean_up(NULL);
}

/* where the n-th lap in a row leads, by the formula */
static uint64_t next_of(uint64_t nr, unsigned int laps, uint64_t n, uint64_t c)
{
	int64_t m = (int64_t)(nr / 4 < 64 ? nr / 4 : 64) << laps, next;

	if (m > (int64_t)nr / 2)
		return n + 1;
	next = (int64_t)(n + 2 - nr) + m;
	if (next < (int64_t)c + 1)
		next = (int64_t)c + 1;
	return next > (int64_t)n + 1 ? n + 1 : (uint64_t)next;
}

static void every_distance(const char *backend, uint64_t nr, int how)
{
	struct setting s = make(backend, nr);
	uint64_t behind, received = 0;

	for (behind = 1; behind <= 3 * nr; behind += nr > 8 ? nr / 5 : 1) {
		unsigned char buf[16];
		struct hftchan_msg msg = { 0 };
		uint64_t c = hftchan_rx_seq(s.rx), lost = hftchan_rx_lost(s.rx), n, expected;

		send_many(s.tx, behind);
		n = hftchan_tx_seq(s.tx) - 1;
		/* N - 2 messages are readable with the sender at rest */
		expected = n - c + 1 <= nr - 2 ? c : next_of(nr, 0, n, c);
		switch (how) {
		case 0:
			assert_int_equal(hftchan_try_recv(s.rx, buf, 16, &msg), 16);
			break;
		case 1:
			assert_int_equal(hftchan_try_recv_batch(s.rx, buf, 16, &msg, 1), 1);
			break;
		default:
			assert_int_equal(hftchan_try_peek(s.rx, &msg), 16);
			memcpy(buf, msg.data, 16);
			assert_int_equal(hftchan_advance(s.rx), 0);
		}
		if (msg.seq != expected)
			fail_msg("N %d, cursor %d, newest %d: got %d, not %d", (int)nr, (int)c,
				 (int)n, (int)msg.seq, (int)expected);
		assert_true(message_is(buf, 16, expected, 0));
		assert_int_equal(msg.lost, expected - c);
		assert_int_equal(hftchan_rx_lost(s.rx), lost + expected - c);
		/* the rest comes without a gap, and nothing more is reported as lost */
		for (received++; hftchan_try_recv(s.rx, buf, 16, &msg) == 16; received++) {
			expected++;
			assert_int_equal(msg.seq, expected);
			assert_int_equal(msg.lost, 0);
			assert_true(message_is(buf, 16, expected, 0));
		}
		assert_int_equal(expected, n);
		assert_int_equal(received + hftchan_rx_lost(s.rx), n);
	}
	end(&s);
}

static void test_every_distance(void **state)
{
	static const uint64_t rings[] = { 4, 8, 64, 512 };
	unsigned int b, r, how;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++)
		for (r = 0; r < ARRAY_SIZE(rings); r++)
			for (how = 0; how < 3; how++)
				every_distance(backends[b], rings[r], how);
}

/* overtaken again before anything was delivered: the margin doubles, then newest + 1 */
static void laps_in_a_row(const char *backend, uint64_t nr)
{
	unsigned int round;
	struct setting s = make(backend, nr);

	for (round = 0; round < 3; round++) {
		uint64_t c, n, lost, expected, before = hftchan_rx_lost(s.rx);
		struct hftchan_msg msg = { 0 };
		unsigned int laps = 0;

		send_many(s.tx, 1);
		assert_int_equal(hftchan_try_peek(s.rx, &msg), 16);
		do {
			c = hftchan_rx_seq(s.rx);
			lost = hftchan_rx_lost(s.rx);
			send_many(s.tx, 2 * nr + laps);
			n = hftchan_tx_seq(s.tx) - 1;
			expected = next_of(nr, laps, n, c);
			assert_int_equal(hftchan_advance(s.rx), -ESTALE);
			assert_int_equal(hftchan_rx_seq(s.rx), expected);
			assert_int_equal(hftchan_rx_lost(s.rx), lost + expected - c);
			laps++;
			/* what a peek says of losses grows until a message is taken */
			if (expected <= n) {
				assert_int_equal(hftchan_try_peek(s.rx, &msg), 16);
				assert_int_equal(msg.lost, hftchan_rx_lost(s.rx) - before);
			}
		} while (expected <= n);
		assert_true(laps == (nr == 4 ? 3 : nr < 1024 ? 3 : 5));
		assert_int_equal(hftchan_try_peek(s.rx, &msg), -EAGAIN);
		/* newest + 1 arrives, and reports all */
		send_next(s.tx);
		assert_int_equal(hftchan_try_peek(s.rx, &msg), 16);
		assert_int_equal(msg.seq, n + 1);
		assert_int_equal(msg.lost, hftchan_rx_lost(s.rx) - before);
		/* one delivery, and the next lap begins with the small margin (see the loop) */
		assert_int_equal(hftchan_advance(s.rx), 0);
	}
	end(&s);
}

static void test_laps_in_a_row(void **state)
{
	static const uint64_t rings[] = { 4, 16, 64, 1024 };
	unsigned int b, r;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++)
		for (r = 0; r < ARRAY_SIZE(rings); r++)
			laps_in_a_row(backends[b], rings[r]);
}

static void corrupt(struct hftchan_tx *tx, uint64_t seq, uint64_t v)
{
	memcpy(tx->ring.slots + (seq & tx->ring.slot_mask) * tx->ring.slot_size, &v, sizeof(v));
}

static void test_corrupted(void **state)
{
	unsigned int b, i;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct setting s = make(backends[b], 8);
		const uint64_t dirty = HFTCHAN_DIRTY;
		/* later than the cursor, but of other slots */
		const uint64_t bad[] = { 2, 3, 8, 10, 1000, dirty | 2, dirty | 10, dirty | 16,
					 ~0ULL, ~0ULL >> 1, dirty | 1002, 1002 };
		unsigned char buf[64];
		struct hftchan_msg msg = { 0 };

		send_many(s.tx, 3);
		for (i = 0; i < ARRAY_SIZE(bad); i++) {
			corrupt(s.tx, 1, bad[i]);
			if (hftchan_try_recv(s.rx, buf, 16, &msg) != -EBADMSG)
				fail_msg("state %#llx is taken", (unsigned long long)bad[i]);
			assert_non_null(strstr(hftchan_strerror_last(), hftchan_name(s.ch)));
			assert_int_equal(hftchan_recv(s.rx, buf, 16, &msg), -EBADMSG);
			assert_int_equal(hftchan_try_peek(s.rx, &msg), -EBADMSG);
			assert_int_equal(hftchan_peek(s.rx, &msg), -EBADMSG);
			assert_int_equal(hftchan_advance(s.rx), -EAGAIN);
			corrupt(s.tx, 1, 1);
			assert_int_equal(hftchan_try_peek(s.rx, &msg), 16);
			corrupt(s.tx, 1, bad[i]);
			assert_int_equal(hftchan_advance(s.rx), -EBADMSG);
			assert_int_equal(hftchan_try_recv_batch(s.rx, buf, 16, &msg, 1), -EBADMSG);
			assert_int_equal(hftchan_recv_batch(s.rx, buf, 16, &msg, 1), -EBADMSG);
			assert_int_equal(hftchan_wait(s.rx), 0);
			assert_int_equal(hftchan_rx_seq(s.rx), 1);
			assert_int_equal(hftchan_rx_lost(s.rx), 0);
		}
		corrupt(s.tx, 1, 1);
		assert_int_equal(hftchan_try_recv(s.rx, buf, 16, &msg), 16);
		end(&s);
	}
}

#define MESSAGES	300000

static void *flood(void *arg)
{
	send_many(arg, MESSAGES);
	return NULL;
}

/* a sender that never waits, a receiver that sleeps: all that was sent is received or counted */
static void test_slow_receiver(void **state)
{
	unsigned int b;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct setting s = make(backends[b], 16);
		uint64_t received = 0, reported = 0, last = 0;
		unsigned char buf[16];
		struct hftchan_msg msg = { 0 };
		pthread_t sender;

		assert_int_equal(pthread_create(&sender, NULL, flood, s.tx), 0);
		while (hftchan_rx_seq(s.rx) <= MESSAGES) {
			ssize_t n = hftchan_try_recv(s.rx, buf, 16, &msg);

			if (n == -EAGAIN)
				continue;
			assert_int_equal(n, 16);
			assert_int_equal(msg.seq, last + 1 + msg.lost);
			assert_true(message_is(buf, 16, msg.seq, 0));
			last = msg.seq;
			reported += msg.lost;
			if (++received % 100 == 0) {
				const struct timespec ms = { .tv_nsec = 1000000 };

				nanosleep(&ms, NULL);
			}
		}
		assert_int_equal(pthread_join(sender, NULL), 0);
		assert_int_equal(received + hftchan_rx_lost(s.rx), MESSAGES);
		assert_true(hftchan_rx_lost(s.rx) >= reported);
		assert_true(received > 0 && reported > 0);
		end(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_every_distance, clean_up),
		cmocka_unit_test_teardown(test_laps_in_a_row, clean_up),
		cmocka_unit_test_teardown(test_corrupted, clean_up),
		cmocka_unit_test_teardown(test_slow_receiver, clean_up),
		cmocka_unit_test(nothing_left_behind),
	};

	return cmocka_run_group_tests_name("lap", tests, NULL, NULL);
}
