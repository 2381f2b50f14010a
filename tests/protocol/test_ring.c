// SPDX-License-Identifier: MIT
/*
 * <hftchan/ring.h> on a private buffer: the state words after each operation, the marks ahead, the
 * copies, the margin and the lap formulas, each against numbers computed here in another way.
 * It is no test of the library's calls, nor of rings that deaths leave (test_search.c).
 * The contract is the comment at the top of <hftchan/ring.h>.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common.h"

#define DIRTY		0x8000000000000000ULL
#define MAX_SLOTS	1024
#define SLOT_SIZE	64

static _Alignas(64) unsigned char memory[MAX_SLOTS * SLOT_SIZE];

static struct hftchan_ring ring_of(uint64_t nr_slots, uint64_t first_seq)
{
	struct hftchan_ring r = {
		.slots = memory,
		.slot_mask = nr_slots - 1,
		.slot_size = SLOT_SIZE,
		.first_seq = first_seq,
		.payload_offset = 8,
		.payload_size = 56,
		.varlen = false,
	};

	assert_true(nr_slots <= MAX_SLOTS);
	memset(memory, 0, sizeof(memory));
	return r;
}

static void set_state(uint64_t nr_slots, uint64_t seq, uint64_t v)
{
	memcpy(memory + (seq % nr_slots) * SLOT_SIZE, &v, sizeof(v));
}

/* A ring whose newest message is @n and whose next @d slots are marked, by definition. */
static struct hftchan_ring ring_at(uint64_t nr_slots, uint64_t first_seq, uint64_t n, uint64_t d)
{
	struct hftchan_ring r = ring_of(nr_slots, first_seq);
	uint64_t s;

	for (s = n >= nr_slots ? n - nr_slots + 1 : 0; s <= n; s++)
		if (s >= first_seq)
			set_state(nr_slots, s, s);
	for (s = n + 1; s <= n + d; s++)
		set_state(nr_slots, s, DIRTY | s);
	return r;
}

/* all state words of the ring, and nothing but them: the expected ones by slot index */
static void assert_states(const struct hftchan_ring *r, const uint64_t *expected)
{
	uint64_t i;

	for (i = 0; i <= r->slot_mask; i++)
		if (state_at(r, i) != expected[i])
			fail_msg("slot %llu holds %#llx, not %#llx", (unsigned long long)i,
				 (unsigned long long)state_at(r, i),
				 (unsigned long long)expected[i]);
}

#define STATES(r, ...)	assert_states(r, (const uint64_t[]){ __VA_ARGS__ })

static void test_constants(void **state)
{
	(void)state;
	assert_true(HFTCHAN_DIRTY == DIRTY);
	assert_true(HFTCHAN_SEQ_MASK == 0x7fffffffffffffffULL);
	assert_int_equal(HFTCHAN_MARGIN_MAX, 64);
	/* the text "hftchan" and a zero byte, on a little-endian machine */
	assert_memory_equal(&(uint64_t){ HFTCHAN_MAGIC }, "hftchan", 8);
}

static void test_single_sends(void **state)
{
	struct hftchan_ring r = ring_of(4, 1);
	uint64_t seq = 0, bad = 0;

	(void)state;
	STATES(&r, 0, 0, 0, 0);
	assert_int_equal(hftchan_ring_attach(&r, true, &seq, &bad), 0);
	assert_int_equal(seq, 1);
	STATES(&r, 0, DIRTY | 1, DIRTY | 2, 0);
	hftchan_ring_commit(&r, 1, 1);
	STATES(&r, 0, 1, DIRTY | 2, DIRTY | 3);
	hftchan_ring_commit(&r, 2, 1);
	STATES(&r, DIRTY | 4, 1, 2, DIRTY | 3);
	hftchan_ring_commit(&r, 3, 1);
	STATES(&r, DIRTY | 4, DIRTY | 5, 2, 3);
	hftchan_ring_commit(&r, 4, 1);
	STATES(&r, 4, DIRTY | 5, DIRTY | 6, 3);
	hftchan_ring_commit(&r, 5, 1);
	STATES(&r, 4, 5, DIRTY | 6, DIRTY | 7);
}

static void test_first_seq_places_the_first_message(void **state)
{
	struct hftchan_ring r = ring_of(4, 7);
	uint64_t seq = 0, bad = 0;

	(void)state;
	assert_int_equal(hftchan_ring_attach(&r, true, &seq, &bad), 0);
	assert_int_equal(seq, 7);
	STATES(&r, DIRTY | 8, 0, 0, DIRTY | 7);
	hftchan_ring_commit(&r, 7, 1);
	STATES(&r, DIRTY | 8, DIRTY | 9, 0, 7);

	r = ring_of(4, 1ULL << 62);
	assert_int_equal(hftchan_ring_attach(&r, true, &seq, &bad), 0);
	assert_true(seq == 1ULL << 62);
	hftchan_ring_commit(&r, seq, 1);
	STATES(&r, 1ULL << 62, DIRTY | ((1ULL << 62) + 1), DIRTY | ((1ULL << 62) + 2), 0);
	assert_true(hftchan_ring_search(&r) == 1ULL << 62);
}

static void test_batches(void **state)
{
	struct hftchan_ring r = ring_of(8, 1);
	uint64_t seq = 0, bad = 0;

	(void)state;
	assert_int_equal(hftchan_ring_attach(&r, true, &seq, &bad), 0);
	STATES(&r, 0, DIRTY | 1, DIRTY | 2, 0, 0, 0, 0, 0);
	hftchan_ring_mark(&r, 1, 1);	/* nothing to mark */
	STATES(&r, 0, DIRTY | 1, DIRTY | 2, 0, 0, 0, 0, 0);
	hftchan_ring_mark(&r, 1, 2);	/* s+2 only, which the commit's own mark follows */
	STATES(&r, 0, DIRTY | 1, DIRTY | 2, DIRTY | 3, 0, 0, 0, 0);
	hftchan_ring_commit(&r, 1, 2);
	STATES(&r, 0, 1, 2, DIRTY | 3, DIRTY | 4, 0, 0, 0);
	hftchan_ring_mark(&r, 3, 6);	/* N - 2, the most where stores keep their order */
	STATES(&r, DIRTY | 8, DIRTY | 9, 2, DIRTY | 3, DIRTY | 4, DIRTY | 5, DIRTY | 6, DIRTY | 7);
	hftchan_ring_commit(&r, 3, 6);
	STATES(&r, 8, DIRTY | 9, DIRTY | 10, 3, 4, 5, 6, 7);
	hftchan_ring_commit(&r, 9, 1);
	STATES(&r, 8, 9, DIRTY | 10, DIRTY | 11, 4, 5, 6, 7);
}

static void test_two_marks_ahead_always(void **state)
{
	static const uint64_t sizes[] = { 4, 8, 64 };
	uint64_t k, seq, bad, rnd = 1;
	unsigned int i, step;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct hftchan_ring r = ring_of(sizes[i], 1);

		assert_int_equal(hftchan_ring_attach(&r, true, &seq, &bad), 0);
		for (step = 0; step < 20000; step++) {
			uint64_t j, dirty = 0;

			k = 1 + random_next(&rnd) % (sizes[i] - 2);
			hftchan_ring_mark(&r, seq, k);
			hftchan_ring_commit(&r, seq, k);
			seq += k;
			assert_true(state_at(&r, seq) == (DIRTY | seq));
			assert_true(state_at(&r, seq + 1) == (DIRTY | (seq + 1)));
			for (j = 0; j < sizes[i]; j++)
				dirty += state_at(&r, j) >> 63;
			assert_int_equal(dirty, 2);
			for (j = 1; j + 2 <= sizes[i] && j < seq; j++)
				assert_true(state_at(&r, seq - j) == seq - j);
			assert_true(hftchan_ring_search(&r) == seq - 1);
		}
	}
}

static void test_copies(void **state)
{
	static const size_t lengths[] = { 0, 1, 6, 7, 8, 9, 15, 16, 17, 55, 56, 57, 63, 64, 4096 };
	static _Alignas(8) unsigned char cell[4096 + 16];
	unsigned char in[4096 + 9], out[4096 + 16];
	unsigned int i, shift;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		size_t len = lengths[i], words = (len + 7) / 8 * 8;

		for (shift = 0; shift < 9; shift++) {
			memset(cell, 0xee, sizeof(cell));
			memset(out, 0xdd, sizeof(out));
			fill_message(in + shift, len, len, shift);
			hftchan_ring_copy_in(cell, in + shift, len);
			assert_true(message_is(cell, len, len, shift));
			/* whole words, no byte beyond, no caller's byte in the rest */
			for (size_t b = len; b < words; b++)
				assert_int_equal(cell[b], 0);
			assert_int_equal(cell[words], 0xee);

			hftchan_ring_copy_out(out + shift, cell, len);
			assert_true(message_is(out + shift, len, len, shift));
			assert_int_equal(out[shift + len], 0xdd);
			if (shift)
				assert_int_equal(out[shift - 1], 0xdd);
		}
	}
}

static void test_poll_and_still(void **state)
{
	struct hftchan_ring r = ring_at(8, 1, 20, 2);
	uint64_t c;

	(void)state;
	/* 21 and 22 are marked: 13 and 14 are gone */
	for (c = 1; c <= 14; c++) {
		assert_int_equal(hftchan_ring_poll(&r, c), HFTCHAN_LAPPED);
		assert_false(hftchan_ring_still(&r, c));
	}
	for (c = 15; c <= 20; c++) {
		assert_int_equal(hftchan_ring_poll(&r, c), HFTCHAN_READY);
		assert_true(hftchan_ring_still(&r, c));
	}
	for (c = 21; c <= 60; c++) {
		assert_int_equal(hftchan_ring_poll(&r, c), HFTCHAN_EMPTY);
		assert_false(hftchan_ring_still(&r, c));
	}
}

/* The margin by its definition: min(64, N/4) << laps; over N/2 none, but newest + 1 */
static uint64_t expected_next(uint64_t nr_slots, uint32_t laps, uint64_t n, uint64_t c)
{
	__int128 m = nr_slots / 4 < 64 ? nr_slots / 4 : 64, next;
	uint32_t i;

	for (i = 0; i < laps && m <= (__int128)nr_slots; i++)
		m *= 2;
	if (m > (__int128)nr_slots / 2)
		return n + 1;
	next = (__int128)n + 2 - (__int128)nr_slots + m;
	if (next < (__int128)c + 1)
		next = (__int128)c + 1;
	if (next > (__int128)n + 1)
		next = (__int128)n + 1;
	return (uint64_t)next;
}

static void test_margin(void **state)
{
	struct hftchan_ring r;

	(void)state;
	r = ring_of(4, 1);
	assert_int_equal(hftchan_ring_margin(&r, 0), 1);
	assert_int_equal(hftchan_ring_margin(&r, 1), 2);
	assert_int_equal(hftchan_ring_margin(&r, 2), 0);
	r = ring_of(64, 1);
	assert_int_equal(hftchan_ring_margin(&r, 0), 16);
	assert_int_equal(hftchan_ring_margin(&r, 1), 32);
	assert_int_equal(hftchan_ring_margin(&r, 2), 0);
	r = ring_of(1024, 1);
	assert_int_equal(hftchan_ring_margin(&r, 0), 64);
	assert_int_equal(hftchan_ring_margin(&r, 3), 512);
	assert_int_equal(hftchan_ring_margin(&r, 4), 0);
	assert_int_equal(hftchan_ring_margin(&r, 31), 0);
	assert_int_equal(hftchan_ring_margin(&r, 32), 0);
	assert_int_equal(hftchan_ring_margin(&r, 0xffffffff), 0);
	/* a ring of the largest size: 64 << 24 is half of 2^31 */
	r.slot_mask = (1ULL << 31) - 1;
	assert_int_equal(hftchan_ring_margin(&r, 24), 1 << 30);
	assert_int_equal(hftchan_ring_margin(&r, 25), 0);
	assert_int_equal(hftchan_ring_margin(&r, 31), 0);
}

/* where does a lapped cursor go, and what does it count? For any number of laps before. */
static unsigned int check_laps(const struct hftchan_ring *r, uint64_t n, uint64_t c)
{
	const uint64_t nr = r->slot_mask + 1;
	uint32_t laps;

	if (hftchan_ring_poll(r, c) != HFTCHAN_LAPPED)
		return 0;
	for (laps = 0; laps < 12; laps++) {
		struct hftchan_cursor cur = { c, 5, 3, laps };
		uint64_t next = expected_next(nr, laps, n, c);

		assert_int_equal(hftchan_ring_lap(r, &cur), 0);
		if (cur.next != next)
			fail_msg("N %llu F %llu n %llu c %llu laps %u: %llu, not %llu",
				 (unsigned long long)nr, (unsigned long long)r->first_seq,
				 (unsigned long long)n, (unsigned long long)c, laps,
				 (unsigned long long)cur.next, (unsigned long long)next);
		assert_true(cur.next > c && cur.next <= n + 1);
		assert_true(cur.lost == 5 + next - c);
		assert_true(cur.unreported == 3 + next - c);
		assert_int_equal(cur.laps, laps + 1);
	}
	return laps;
}

/* in legal rings of all kinds */
static unsigned int check_rings(uint64_t nr, uint64_t first)
{
	const uint64_t step = nr <= 16 ? 1 : nr / 7;
	uint64_t ahead, d, c, n;
	unsigned int checked = 0;

	for (ahead = 1; ahead <= 3 * nr; ahead += step)
		for (d = 0; d <= nr; d += d < 3 ? 1 : step) {
			struct hftchan_ring r;

			n = first + ahead - 1;
			r = ring_at(nr, first, n, d);
			for (c = first; c <= n; c += c + step < n ? step : 1)
				checked += check_laps(&r, n, c);
		}
	return checked;
}

static void test_lap_formula(void **state)
{
	static const uint64_t sizes[] = { 4, 8, 16, 64, 256, 1024 };
	static const uint64_t firsts[] = { 1, 2, 7, 1000, 1ULL << 62 };
	unsigned int i, f;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		for (f = 0; f < ARRAY_SIZE(firsts); f++)
			assert_true(check_rings(sizes[i], firsts[f]) > 100);
}

static void test_lap_numbers(void **state)
{
	struct hftchan_ring r = ring_at(64, 1, 1000, 2);
	struct hftchan_cursor c = { .next = 5 };

	(void)state;
	/* n + 2 - N + 16 */
	assert_int_equal(hftchan_ring_lap(&r, &c), 0);
	assert_int_equal(c.next, 954);
	assert_int_equal(c.lost, 949);
	/* lapped again before anything was delivered: the margin doubles */
	r = ring_at(64, 1, 1100, 2);
	assert_int_equal(hftchan_ring_lap(&r, &c), 0);
	assert_int_equal(c.next, 1070);
	assert_int_equal(c.lost, 1065);
	/* and again: newest + 1 */
	r = ring_at(64, 1, 1200, 2);
	assert_int_equal(hftchan_ring_lap(&r, &c), 0);
	assert_int_equal(c.next, 1201);
	assert_int_equal(c.lost, 1196);
	assert_int_equal(c.unreported, 1196);
	/* one delivery: all counts that belong to a lap begin again, the sum stays */
	assert_int_equal(hftchan_ring_deliver(&c, 1), 1196);
	assert_int_equal(c.next, 1202);
	assert_int_equal(c.lost, 1196);
	assert_int_equal(c.unreported, 0);
	assert_int_equal(c.laps, 0);
	r = ring_at(64, 1, 1300, 2);
	assert_int_equal(hftchan_ring_lap(&r, &c), 0);
	assert_int_equal(c.next, 1254);
	assert_int_equal(hftchan_ring_deliver(&c, 3), 52);
	assert_int_equal(c.next, 1257);
	assert_int_equal(hftchan_ring_deliver(&c, 1), 0);
}

static void test_lap_refuses_what_no_sender_writes(void **state)
{
	static const uint64_t nrs[] = { 4, 64 };
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(nrs); i++) {
		const uint64_t nr = nrs[i], n = 10 * nr, c = 2 * nr + 1;
		uint64_t v;

		for (v = c + 1; v < c + 3 * nr; v++) {
			struct hftchan_ring r = ring_at(nr, 1, n, 2);
			struct hftchan_cursor cur = { c, 0, 0, 0 }, dirty = cur;

			set_state(nr, c, v);
			if ((v - c) % nr == 0)
				continue;
			assert_int_equal(hftchan_ring_lap(&r, &cur), -EBADMSG);
			assert_int_equal(cur.next, c);
			assert_int_equal(cur.lost, 0);
			set_state(nr, c, DIRTY | v);
			assert_int_equal(hftchan_ring_lap(&r, &dirty), -EBADMSG);
			assert_int_equal(dirty.next, c);
		}
		/* not ahead of the cursor at all */
		for (v = 0; v <= c; v++) {
			struct hftchan_ring r = ring_at(nr, 1, n, 2);
			struct hftchan_cursor cur = { c, 0, 0, 0 };

			set_state(nr, c, v);
			assert_int_equal(hftchan_ring_lap(&r, &cur), -EBADMSG);
			assert_int_equal(cur.next, c);
		}
	}
}

/* A slot that promises a later message than the ring has: the cursor must not pass the newest. */
static void test_lap_beyond_newest(void **state)
{
	struct hftchan_ring r = ring_at(8, 1, 6, 2);
	struct hftchan_cursor c = { .next = 9 };

	(void)state;
	set_state(8, 9, DIRTY | 17);
	assert_int_equal(hftchan_ring_lap(&r, &c), -EBADMSG);
	assert_int_equal(c.next, 9);
}

static void test_oldest(void **state)
{
	struct hftchan_ring r;
	uint64_t d;

	(void)state;
	/* nothing sent, something sent but nothing overwritten */
	r = ring_at(16, 3, 2, 2);
	assert_int_equal(hftchan_ring_oldest(&r, 2, true), 3);
	assert_int_equal(hftchan_ring_oldest(&r, 2, false), 3);
	r = ring_at(16, 3, 14, 2);
	assert_int_equal(hftchan_ring_oldest(&r, 14, true), 3);
	/* beside a running sender: n + 2 - N + 4 */
	assert_int_equal(hftchan_ring_oldest(&r, 14, false), 4);
	/* at rest: the very oldest that no mark has taken */
	for (d = 2; d <= 16; d++) {
		r = ring_at(16, 1, 100, d);
		assert_int_equal(hftchan_ring_oldest(&r, 100, true), 100 - 16 + 1 + d);
		assert_int_equal(hftchan_ring_oldest(&r, 100, false), 90);
	}
	r = ring_at(1024, 1, 5000, 2);
	assert_int_equal(hftchan_ring_oldest(&r, 5000, true), 5000 - 1024 + 3);
	assert_int_equal(hftchan_ring_oldest(&r, 5000, false), 5000 - 1024 + 2 + 64);
	r = ring_at(4, 1, 100, 2);
	assert_int_equal(hftchan_ring_oldest(&r, 100, true), 99);
	assert_int_equal(hftchan_ring_oldest(&r, 100, false), 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_constants),
		cmocka_unit_test(test_single_sends),
		cmocka_unit_test(test_first_seq_places_the_first_message),
		cmocka_unit_test(test_batches),
		cmocka_unit_test(test_two_marks_ahead_always),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_poll_and_still),
		cmocka_unit_test(test_margin),
		cmocka_unit_test(test_lap_formula),
		cmocka_unit_test(test_lap_numbers),
		cmocka_unit_test(test_lap_refuses_what_no_sender_writes),
		cmocka_unit_test(test_lap_beyond_newest),
		cmocka_unit_test(test_oldest),
	};

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
