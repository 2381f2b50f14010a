// SPDX-License-Identifier: MIT
/*
 * Rings that dead senders leave: every one that deaths at any store of attach, single sends and
 * batches can lead to is built here by an interpreter of the stores' order, and by the real
 * functions stopped at each store. Search must agree with a full scan, verify must accept them and
 * refuse everything else, and the next attach must resume after the last committed message.
 * It is no test of order within one processor (test_order.c) nor of channels (test_resume.c).
 * The contract is the comment at the top of <hftchan/ring.h>.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* A sender that dies: after @stores_left stores nothing of what it does reaches memory. */
static long stores_left;

typedef uint64_t __attribute__((__may_alias__)) raw_word;

static void dying_store(void *p, uint64_t v)
{
	if (stores_left > 0) {
		stores_left--;
		*(raw_word *)p = v;
	}
}

#define HFTCHAN_LOAD(p)		(*(p))
#define HFTCHAN_LOAD_ACQUIRE(p)	(*(p))
#define HFTCHAN_STORE(p, v)	dying_store((p), (v))
#define HFTCHAN_FENCE_RELEASE()	((void)0)
#define HFTCHAN_FENCE_ACQUIRE()	((void)0)

#include "common.h"

#define DIRTY		0x8000000000000000ULL
#define MAX_SLOTS	16
#define SLOT_SIZE	64
#define ALIVE		1000000

/* the numbers of one test: slots, first seq and how far the sender gets */
struct world {
	uint64_t nr, first, last;
};

static const uint64_t firsts[] = { 1, 2, 3, 7, 100, 101 };
static const uint64_t sizes[] = { 4, 8, 16 };

static _Alignas(64) unsigned char memory[MAX_SLOTS * SLOT_SIZE];

/* state words by slot index */
struct states {
	uint64_t v[MAX_SLOTS];
};

/* ---------------------------------------------------------------- the reference, by definition */

/* @newest and whether the ring is legal, by a look at every slot */
static bool full_scan(const struct world *w, const struct states *st, uint64_t *newest)
{
	const int64_t nr = (int64_t)w->nr, first = (int64_t)w->first;
	int64_t eff[MAX_SLOTS], n = INT64_MIN, i, d = 0;

	for (i = 0; i < nr; i++) {
		uint64_t v = st->v[i], seq = v & ~DIRTY;

		if (v & DIRTY) {
			eff[i] = (int64_t)seq - nr;
		} else if (v) {
			eff[i] = (int64_t)v;
		} else {
			/* the largest seq below the first that maps here */
			for (eff[i] = first - 1; ((eff[i] - i) % nr + nr) % nr; eff[i]--)
				;
		}
		if (eff[i] > n)
			n = eff[i];
	}
	*newest = (uint64_t)(n < first - 1 ? first - 1 : n);
	if (n < first - 1)
		return false;
	for (i = 0; i < nr; i++) {
		if (((eff[i] - i) % nr + nr) % nr || eff[i] <= n - nr)
			return false;
		if (!(st->v[i] & DIRTY) && st->v[i] && eff[i] < first)
			return false;
		d += st->v[i] >> 63;
	}
	/* the marks have no hole, and begin right after the newest */
	for (i = n + 1; i <= n + d; i++)
		if (st->v[i % nr] != (DIRTY | (uint64_t)i))
			return false;
	return true;
}

/* the ring of newest @n with @d marks */
static struct states legal_ring(const struct world *w, uint64_t n, uint64_t d)
{
	struct states st = { { 0 } };
	uint64_t s;

	for (s = w->first; s <= n; s++)
		st.v[s % w->nr] = s;
	for (s = n + 1; s <= n + d; s++)
		st.v[s % w->nr] = DIRTY | s;
	return st;
}

/* ---------------------------------------------------------------- the real functions */

static struct hftchan_ring load_ring(const struct world *w, const struct states *st)
{
	struct hftchan_ring r = {
		.slots = memory,
		.slot_mask = w->nr - 1,
		.slot_size = SLOT_SIZE,
		.first_seq = w->first,
		.payload_offset = 8,
		.payload_size = 56,
		.varlen = false,
	};
	uint64_t i;

	for (i = 0; i < w->nr; i++)
		memcpy(memory + i * SLOT_SIZE, &st->v[i], sizeof(st->v[i]));
	return r;
}

static struct states read_ring(const struct world *w)
{
	struct states st = { { 0 } };
	uint64_t i;

	for (i = 0; i < w->nr; i++)
		memcpy(&st.v[i], memory + i * SLOT_SIZE, sizeof(st.v[i]));
	return st;
}

static bool same(const struct states *a, const struct states *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static const char *show(const struct world *w, const struct states *st)
{
	static char text[MAX_SLOTS * 24 + 64];
	int len = snprintf(text, sizeof(text), "N %d F %d:", (int)w->nr, (int)w->first);
	uint64_t i;

	for (i = 0; i < w->nr; i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, " %s%llu",
				st->v[i] & DIRTY ? "D" : "",
				(unsigned long long)(st->v[i] & ~DIRTY));
	return text;
}

static void assert_legal(const struct world *w, const struct states *st)
{
	struct hftchan_ring r = load_ring(w, st);
	uint64_t newest, bad = 0;

	if (!full_scan(w, st, &newest))
		fail_msg("not legal: %s", show(w, st));
	if (hftchan_ring_search(&r) != newest)
		fail_msg("search says %llu, the full scan %llu: %s",
			 (unsigned long long)hftchan_ring_search(&r), (unsigned long long)newest,
			 show(w, st));
	if (hftchan_ring_verify(&r, newest, true, &bad) ||
	    hftchan_ring_verify(&r, newest, false, &bad))
		fail_msg("verify refuses slot %d: %s", (int)bad, show(w, st));
}

/* ---------------------------------------------------------------- the interpreter of stores */

struct store {
	uint64_t seq, value;
};

struct program {
	struct store store[3 * MAX_SLOTS];
	unsigned int len;
};

static void then_store(struct program *p, uint64_t seq, uint64_t value)
{
	p->store[p->len++] = (struct store){ seq, value };
}

/* in the order of the protocol's text */
static struct program attach_program(uint64_t n)
{
	struct program p = { .len = 0 };

	then_store(&p, n + 1, DIRTY | (n + 1));
	then_store(&p, n + 2, DIRTY | (n + 2));
	return p;
}

static struct program send_program(uint64_t s, uint64_t k)
{
	struct program p = { .len = 0 };
	uint64_t t;

	if (k >= 2)
		for (t = s + 2; t <= s + k; t++)
			then_store(&p, t, DIRTY | t);
	for (t = s; t < s + k; t++)
		then_store(&p, t, t);
	then_store(&p, s + k + 1, DIRTY | (s + k + 1));
	return p;
}

static struct states run(const struct world *w, struct states st, const struct program *p,
			 unsigned int cut)
{
	unsigned int i;

	for (i = 0; i < cut; i++)
		st.v[p->store[i].seq % w->nr] = p->store[i].value;
	return st;
}

/* ---------------------------------------------------------------- what can be reached */

struct found {
	struct states st;
	bool alive;	/* a sender lives that has marked at least two ahead */
	uint64_t next;	/* its seq in hand */
};

struct search {
	struct found *all;
	size_t nr, room;
};

static void add_found(struct search *s, const struct states *st, bool alive, uint64_t next)
{
	size_t i;

	for (i = 0; i < s->nr; i++)
		if (same(&s->all[i].st, st) && s->all[i].alive == alive && s->all[i].next == next)
			return;
	if (s->nr == s->room) {
		s->room = s->room ? 2 * s->room : 256;
		s->all = realloc(s->all, s->room * sizeof(*s->all));
		assert_non_null(s->all);
	}
	s->all[s->nr++] = (struct found){ *st, alive, next };
}

/*
 * The stores of the interpreter and those of the real function, stopped after @cut of them, must
 * leave the same ring; and its full run must not store more.
 */
static void same_as_real(const struct world *w, const struct states *from, const struct program *p,
			 unsigned int cut, uint64_t s, uint64_t k)
{
	struct hftchan_ring r = load_ring(w, from);
	struct states expected = run(w, *from, p, cut), real;
	uint64_t seq = 0, bad = 0;

	stores_left = cut == p->len ? ALIVE : (long)cut;
	if (k) {
		hftchan_ring_mark(&r, s, k);
		hftchan_ring_commit(&r, s, k);
	} else {
		assert_int_equal(hftchan_ring_attach(&r, true, &seq, &bad), 0);
		assert_true(seq == s);
	}
	if (cut == p->len)
		assert_int_equal(ALIVE - stores_left, p->len);
	real = read_ring(w);
	if (!same(&real, &expected)) {
		print_message("expected %s\n", show(w, &expected));
		fail_msg("found %s, k %d, after store %u", show(w, &real), (int)k, cut);
	}
}

static size_t explore(const struct world *w)
{
	struct search s = { NULL, 0, 0 };
	struct states empty = { { 0 } };
	size_t i, nr;

	add_found(&s, &empty, false, 0);
	for (i = 0; i < s.nr; i++) {
		const struct found f = s.all[i];
		struct program p;
		unsigned int cut;
		uint64_t n, k;

		assert_legal(w, &f.st);
		full_scan(w, &f.st, &n);
		/* it was in the middle of nothing: it may die here */
		if (f.alive) {
			assert_true(f.next == n + 1);
			add_found(&s, &f.st, false, 0);
		}
		if (!f.alive) {
			p = attach_program(n);
			for (cut = 0; cut <= p.len; cut++) {
				struct states st = run(w, f.st, &p, cut);

				same_as_real(w, &f.st, &p, cut, n + 1, 0);
				add_found(&s, &st, cut == p.len, cut == p.len ? n + 1 : 0);
			}
			continue;
		}
		for (k = 1; k <= w->nr - 2 && n + k <= w->last; k++) {
			p = send_program(f.next, k);
			for (cut = 0; cut <= p.len; cut++) {
				struct states st = run(w, f.st, &p, cut);

				same_as_real(w, &f.st, &p, cut, f.next, k);
				add_found(&s, &st, cut == p.len, cut == p.len ? f.next + k : 0);
			}
		}
	}
	nr = s.nr;
	free(s.all);
	return nr;
}

static void test_every_death(void **state)
{
	unsigned int i, f;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		for (f = 0; f < ARRAY_SIZE(firsts); f++) {
			struct world w = { sizes[i], firsts[f], firsts[f] + 3 * sizes[i] };
			size_t nr = explore(&w);

			print_message("N %2d, first_seq %3d: %zu rings\n", (int)w.nr, (int)w.first,
				      nr);
			/* at least each newest with each number of marks that a batch can leave */
			assert_true(nr > 3 * w.nr * (w.nr - 2));
		}
}

/* ---------------------------------------------------------------- each single slot */

/* Is there a legal ring of newest @n with the same slots n-3..n+4? */
static bool looks_legal_around(const struct world *w, const struct states *st, uint64_t n)
{
	uint64_t d, t;

	for (d = 0; d <= w->nr; d++) {
		const struct states legal = legal_ring(w, n, d);

		for (t = n + w->nr - 3; t <= n + w->nr + 4; t++)
			if (st->v[t % w->nr] != legal.v[t % w->nr])
				break;
		if (t > n + w->nr + 4)
			return true;
	}
	return false;
}

static void check_corruptions(const struct world *w, uint64_t n, uint64_t d, uint64_t *refused)
{
	const struct states good = legal_ring(w, n, d);
	uint64_t i, j;

	for (i = 0; i < w->nr; i++) {
		uint64_t seq = good.v[i] & ~DIRTY;
		const uint64_t tries[] = {
			0, DIRTY, 1, DIRTY | 1, ~0ULL, ~DIRTY, seq, DIRTY | seq, seq + 1, seq - 1,
			DIRTY | (seq + 1), DIRTY | (seq - 1), seq + w->nr, DIRTY | (seq + w->nr),
			seq - w->nr, DIRTY | ((seq - w->nr) & ~DIRTY), seq + 2 * w->nr,
			DIRTY | (seq + 2 * w->nr), seq + w->nr / 2, DIRTY | (seq + w->nr / 2), n,
			n + 1, DIRTY | n, DIRTY | (n + 1), DIRTY | (n + d + 1), w->first - 1,
			w->first, i, DIRTY | i, i + w->nr, DIRTY | (i + w->nr), seq ^ (1ULL << 32),
			good.v[i] ^ (1ULL << 62), good.v[i] ^ 1, good.v[i] ^ w->nr,
		};

		for (j = 0; j < ARRAY_SIZE(tries); j++) {
			struct states st = good;
			struct hftchan_ring r;
			uint64_t scanned, found, seq_in_hand, bad = ~0ULL;
			int err;

			st.v[i] = tries[j];
			if (full_scan(w, &st, &scanned)) {
				assert_legal(w, &st);
				continue;
			}
			(*refused)++;
			r = load_ring(w, &st);
			found = hftchan_ring_search(&r);
			err = hftchan_ring_verify(&r, found, true, &bad);
			if (err != -EBADMSG || bad >= w->nr)
				fail_msg("verify accepts slot %d: %s", (int)i, show(w, &st));
			/*
			 * When search was not led astray it is this slot that is named; but a
			 * mark that is missing makes those after it the wrong ones.
			 */
			if (found == n && bad != i &&
			    !((good.v[i] & DIRTY) &&
			      st.v[i] == (seq >= w->first + w->nr ? seq - w->nr : 0)))
				fail_msg("slot %d named, not %d: %s", (int)bad, (int)i,
					 show(w, &st));
			/* the short look of an attach may only miss what it can't see */
			if (!hftchan_ring_verify(&r, found, false, &bad) &&
			    (found != n || !looks_legal_around(w, &st, n)))
				fail_msg("attach would accept slot %d: %s", (int)i, show(w, &st));
			/* nothing is changed by an attach that fails */
			stores_left = ALIVE;
			assert_int_equal(hftchan_ring_attach(&r, true, &seq_in_hand, &bad),
					 -EBADMSG);
			assert_int_equal(stores_left, ALIVE);
		}
	}
}

static void test_every_legal_ring_and_its_corruptions(void **state)
{
	uint64_t refused = 0, n, d;
	unsigned int i, f;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		for (f = 0; f < ARRAY_SIZE(firsts); f++) {
			struct world w = { sizes[i], firsts[f], firsts[f] + 3 * sizes[i] };

			for (n = w.first - 1; n <= w.last; n++)
				for (d = 0; d <= w.nr; d++) {
					struct states st = legal_ring(&w, n, d);

					assert_legal(&w, &st);
					check_corruptions(&w, n, d, &refused);
				}
		}
	print_message("%llu corrupted rings refused\n", (unsigned long long)refused);
	assert_true(refused > 100000);
}

/* never an older clean state restored, nothing committed lost, marks as the text says */
static void check_resume(const struct world *w, uint64_t n, uint64_t d)
{
	const struct states before = legal_ring(w, n, d);
	const struct states expected = legal_ring(w, n, d < 2 ? 2 : d);
	struct hftchan_ring r = load_ring(w, &before);
	uint64_t seq = 0, bad = 0, i;
	struct states after;

	stores_left = ALIVE;
	assert_int_equal(hftchan_ring_attach(&r, d & 1, &seq, &bad), 0);
	assert_true(seq == n + 1);
	after = read_ring(w);
	if (!same(&after, &expected))
		fail_msg("resumed as %s", show(w, &after));
	for (i = 0; i < w->nr; i++)
		assert_true(after.v[i] == before.v[i] || after.v[i] & DIRTY);
	/* and it goes on from there, over whatever marks there are */
	for (i = 0; i < 2 * w->nr; i++) {
		hftchan_ring_mark(&r, seq, 1);
		hftchan_ring_commit(&r, seq, 1);
		after = read_ring(w);
		assert_legal(w, &after);
		assert_true(hftchan_ring_search(&r) == seq);
		seq++;
	}
}

static void test_resume_of_every_legal_ring(void **state)
{
	unsigned int i, f;
	uint64_t n, d;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		for (f = 0; f < ARRAY_SIZE(firsts); f++) {
			struct world w = { sizes[i], firsts[f], firsts[f] + 3 * sizes[i] };

			for (n = w.first - 1; n <= w.last; n++)
				for (d = 0; d <= w.nr; d++)
					check_resume(&w, n, d);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_death),
		cmocka_unit_test(test_every_legal_ring_and_its_corruptions),
		cmocka_unit_test(test_resume_of_every_legal_ring),
	};

	return cmocka_run_group_tests_name("search", tests, NULL, NULL);
}
