/* SPDX-License-Identifier: MIT */
/*
 * The seq_no protocol: what a slot's state means and in which order it is written and read.
 * It is not the public API (that is <hftchan.h>): it knows no names, backends, waiting or roles.
 * The contract is the comment below; the control page is in <linux/hftchan.h>.
 */
#ifndef HFTCHAN_RING_H
#define HFTCHAN_RING_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <linux/hftchan.h>

/*
 * One sender, any number of receivers, N = nr_slots slots (a power of two >= 4), F = first_seq.
 * Receivers store nothing. Message s lives in slot s & (N - 1). A slot's state word is
 *
 *	[ dirty:1 | seq:63 ]	(clean, 0) never written;  (clean, s) holds message s;
 *				(dirty, s) message s is being written, s - N is gone
 *
 * The sender keeps the two slots ahead of the last commit dirty, so a slot is always marked long
 * before it is written. It marks *after* it commits: the line of the slot ahead is then fetched
 * while nobody waits for it.
 *
 *	sender, message s                        receiver, cursor c
 *	-----------------                        ------------------
 *	payload(s)        relaxed                v = state[c]      acquire           (B)
 *	fence(release)                  (A)      v == c:
 *	state[s]   = s                             copy payload    relaxed
 *	state[s+2] = DIRTY | (s+2)                 fence(acquire)                    (C)
 *	                                           state[c] == c?  deliver : lapped
 *	                                         seq(v) > c: lapped;  else: nothing yet
 *
 * (A) pairs with (B): a receiver that reads (clean, s) also sees payload(s).
 * (A) pairs with (C): DIRTY | (s+1) is stored one message before payload(s+1), with A between
 *     them. A copy that caught one byte of payload(s+1) therefore re-reads at least that mark:
 *     a torn copy is never delivered.
 *
 * A batch of k messages first marks the slots it needs beyond the two that are marked anyway,
 * with a release fence (A') between those marks and the payloads, which pairs with (C) as A does;
 * it commits in ascending order, so that "newest" never has a hole below it.
 *
 * A sender may die at any store. What it committed stays; what it did not commit was never sent.
 * The next sender finds the last committed message by hftchan_ring_search() and marks again.
 *
 * Every access to ring memory goes through the macros below; a model checker or another compiler
 * overrides them, all or none.
 */
#ifndef HFTCHAN_LOAD
#define HFTCHAN_LOAD(p)		__atomic_load_n((p), __ATOMIC_RELAXED)
#define HFTCHAN_LOAD_ACQUIRE(p)	__atomic_load_n((p), __ATOMIC_ACQUIRE)
#define HFTCHAN_STORE(p, v)	__atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define HFTCHAN_FENCE_RELEASE()	__atomic_thread_fence(__ATOMIC_RELEASE)
#define HFTCHAN_FENCE_ACQUIRE()	__atomic_thread_fence(__ATOMIC_ACQUIRE)
#endif

/* One of these per failed poll: none, or several, is slower. */
#ifndef HFTCHAN_PAUSE
#if defined(__x86_64__) || defined(__i386__)
#define HFTCHAN_PAUSE()		__builtin_ia32_pause()
#elif defined(__aarch64__)
#define HFTCHAN_PAUSE()		__asm__ __volatile__("isb" ::: "memory")
#else
#define HFTCHAN_PAUSE()		__asm__ __volatile__("" ::: "memory")
#endif
#endif

#define HFTCHAN_DIRTY		(1ULL << 63)
#define HFTCHAN_SEQ_MASK	(HFTCHAN_DIRTY - 1)

/* how far a receiver that was lapped stays away from the sender's heels, see hftchan_ring_lap() */
#define HFTCHAN_MARGIN_MAX	64

/* Ring memory as words; may_alias, because users see the same bytes as their own types. */
typedef uint64_t __attribute__((__may_alias__)) hftchan_word;

/**
 * struct hftchan_ring - a ring as one process sees it; constant once set up
 * @slots: slot 0, aligned to 64 bytes
 * @slot_mask: nr_slots - 1
 * @slot_size: bytes, a multiple of 8
 * @first_seq: F
 * @payload_offset: bytes from a slot's start, a multiple of 8
 * @payload_size: bytes of the largest message
 * @varlen: a struct hftchan_varlen precedes each payload
 */
struct hftchan_ring {
	unsigned char *slots;
	uint64_t slot_mask;
	uint64_t slot_size;
	uint64_t first_seq;
	uint32_t payload_offset;
	uint32_t payload_size;
	bool varlen;
};

/**
 * struct hftchan_cursor - where one receiver is
 * @next: the seq it wants
 * @lost: messages skipped since it joined
 * @unreported: those of them that no delivered message has reported yet
 * @laps: laps since the last delivery
 */
struct hftchan_cursor {
	uint64_t next;
	uint64_t lost;
	uint64_t unreported;
	uint32_t laps;
};

enum hftchan_poll {
	HFTCHAN_EMPTY,	/* nothing yet */
	HFTCHAN_READY,	/* message at the cursor is committed */
	HFTCHAN_LAPPED,	/* it is gone: hftchan_ring_lap() */
};

static inline unsigned char *hftchan_ring_slot(const struct hftchan_ring *r, uint64_t seq)
{
	return r->slots + (seq & r->slot_mask) * r->slot_size;
}

static inline hftchan_word *hftchan_ring_state(const struct hftchan_ring *r, uint64_t seq)
{
	return (hftchan_word *)(void *)hftchan_ring_slot(r, seq);
}

/* The slot's payload area: struct hftchan_varlen first in a VARLEN channel. */
static inline unsigned char *hftchan_ring_payload(const struct hftchan_ring *r, uint64_t seq)
{
	return hftchan_ring_slot(r, seq) + r->payload_offset;
}

/*
 * The copy primitive. Payload bytes race with the other side by design, so they move as relaxed
 * atomic words, and what a race can hurt is thrown away by the re-check. 8 bytes at a time; the
 * last word is written whole, which the slot's padding allows. Never wider than the hardware
 * keeps whole, never non-temporal (those stores would pass fence A). Unrolled, as 400 bytes then
 * take three quarters of the time (docs/performance.md).
 */
static inline void hftchan_ring_copy_in(unsigned char *to, const void *from, size_t len)
{
	hftchan_word *w = (hftchan_word *)(void *)to;
	const unsigned char *p = (const unsigned char *)from;

#pragma GCC unroll 8
	for (; len >= sizeof(*w); len -= sizeof(*w), p += sizeof(*w), w++) {
		uint64_t v;

		memcpy(&v, p, sizeof(v));
		HFTCHAN_STORE(w, v);
	}
	if (len) {
		uint64_t v = 0;

		memcpy(&v, p, len);
		HFTCHAN_STORE(w, v);
	}
}

static inline void hftchan_ring_copy_out(void *to, const unsigned char *from, size_t len)
{
	const hftchan_word *w = (const hftchan_word *)(const void *)from;
	unsigned char *p = (unsigned char *)to;

#pragma GCC unroll 8
	for (; len >= sizeof(*w); len -= sizeof(*w), p += sizeof(*w), w++) {
		uint64_t v = HFTCHAN_LOAD(w);

		memcpy(p, &v, sizeof(v));
	}
	if (len) {
		uint64_t v = HFTCHAN_LOAD(w);

		memcpy(p, &v, len);
	}
}

/*
 * The last message committed in the slot of index i, given its state: the seq that a clean state
 * holds; one lap before the one being written; for a slot never written the largest q < F that
 * maps there (so it may be negative).
 */
static inline int64_t hftchan_ring_eff(const struct hftchan_ring *r, uint64_t v, uint64_t i)
{
	if (v & HFTCHAN_DIRTY)
		return (int64_t)((v & HFTCHAN_SEQ_MASK) - r->slot_mask - 1);
	if (v)
		return (int64_t)v;
	return (int64_t)(r->first_seq - 1 - ((r->first_seq - 1 - i) & r->slot_mask));
}

/**
 * hftchan_ring_search() - seq of the newest committed message, first_seq - 1 if there is none
 *
 * O(log N) loads, safe beside a running sender: the answer was the newest at some moment of the
 * call or later than the newest at its start. Acquire loads, so that what was committed before
 * the answer is visible after it. On a ring that is not legal the answer means nothing.
 */
static inline uint64_t hftchan_ring_search(const struct hftchan_ring *r)
{
	int64_t base = hftchan_ring_eff(r, HFTCHAN_LOAD_ACQUIRE(hftchan_ring_state(r, 0)), 0);
	int64_t newest = base;
	uint64_t lo = 0, hi = r->slot_mask + 1;

	while (hi - lo > 1) {
		uint64_t mid = lo + (hi - lo) / 2;
		uint64_t v = HFTCHAN_LOAD_ACQUIRE(hftchan_ring_state(r, mid));
		int64_t eff = hftchan_ring_eff(r, v, mid);

		/* the difference, as a corrupted ring must not make the sum overflow */
		if ((int64_t)((uint64_t)eff - (uint64_t)base) >= (int64_t)mid) {
			lo = mid;
			if (eff > newest)
				newest = eff;
		} else {
			hi = mid;
		}
	}
	if (newest < (int64_t)r->first_seq - 1)
		newest = (int64_t)r->first_seq - 1;
	return (uint64_t)newest;
}

/**
 * hftchan_ring_verify() - is this ring legal, given its newest message n?
 * @r: a ring without a running sender
 * @n: what hftchan_ring_search() said
 * @all: every slot; otherwise the eight around n
 * @bad: set to the index of the first slot that is wrong
 *
 * Walks the slots of n+1 .. n+N. Each holds the message of one lap before (or is unwritten, when
 * there was none), except that the first d of them, 0 <= d <= N, may be dirty.
 * Return: 0 or -EBADMSG.
 */
static inline int hftchan_ring_verify(const struct hftchan_ring *r, uint64_t n, bool all,
				      uint64_t *bad)
{
	const uint64_t nr = r->slot_mask + 1;
	bool dirty_run = true;
	uint64_t k;

	for (k = 1; k <= nr; k++) {
		uint64_t t, v, old;

		if (!all && k == 5 && nr > 8)
			k = nr - 3;
		t = n + k;
		v = HFTCHAN_LOAD_ACQUIRE(hftchan_ring_state(r, t));
		old = t >= r->first_seq + nr ? t - nr : 0;
		if (v == (HFTCHAN_DIRTY | t) && dirty_run)
			continue;
		dirty_run = false;
		if (v != old) {
			*bad = t & r->slot_mask;
			return -EBADMSG;
		}
	}
	return 0;
}

/**
 * hftchan_ring_attach() - begin to send: find the newest message and mark what comes next
 * @r: a ring that no other sender writes
 * @verify_all: check every slot first, not only those around the newest
 * @seq: set to the seq of the first message to send
 * @bad: set to the slot that is not legal when -EBADMSG is returned
 *
 * The same for a new ring and for one whose sender died at any store. An older clean state is
 * never restored. The caller publishes the new epoch after this: the release fence at the end
 * pairs with the acquire load of the epoch.
 * Return: 0 or -EBADMSG, then nothing was changed.
 */
static inline int hftchan_ring_attach(const struct hftchan_ring *r, bool verify_all, uint64_t *seq,
				      uint64_t *bad)
{
	uint64_t n = hftchan_ring_search(r);
	int err = hftchan_ring_verify(r, n, verify_all, bad);

	if (err)
		return err;
	HFTCHAN_STORE(hftchan_ring_state(r, n + 1), HFTCHAN_DIRTY | (n + 1));
	HFTCHAN_STORE(hftchan_ring_state(r, n + 2), HFTCHAN_DIRTY | (n + 2));
	HFTCHAN_FENCE_RELEASE();
	*seq = n + 1;
	return 0;
}

/**
 * hftchan_ring_mark() - make room for a batch: to be called before the payloads of s .. s+k-1
 * @r: ring
 * @s: seq in hand
 * @k: messages, 1 to (nr_slots - 1) / 2, in rings of 4 slots hence 1; more than nr_slots / 4 takes
 *	history from receivers at once
 *
 * No fence is between the commits of the batch before and these marks. Where stores may pass each
 * other a receiver at the oldest message may see its slot marked while the newest that it can find
 * is still that of before the last batch: hftchan_ring_lap() counts on both batches together not
 * going once around.
 */
static inline void hftchan_ring_mark(const struct hftchan_ring *r, uint64_t s, uint64_t k)
{
	uint64_t t;

	if (k < 2)
		return;
	for (t = s + 2; t <= s + k; t++)
		HFTCHAN_STORE(hftchan_ring_state(r, t), HFTCHAN_DIRTY | t);
	HFTCHAN_FENCE_RELEASE();	/* (A'): marks before payloads; pairs with (C) */
}

/**
 * hftchan_ring_commit() - publish s .. s+k-1, whose payloads are written
 * @r: ring
 * @s: seq in hand
 * @k: messages, 1 or what hftchan_ring_mark() was called with
 */
static inline void hftchan_ring_commit(const struct hftchan_ring *r, uint64_t s, uint64_t k)
{
	uint64_t t;

	HFTCHAN_FENCE_RELEASE();	/* (A): payloads before clean; pairs with (B) and (C) */
	for (t = s; t < s + k; t++)	/* ascending: no hole below the newest, ever */
		HFTCHAN_STORE(hftchan_ring_state(r, t), t);
	t = s + k + 1;
	HFTCHAN_STORE(hftchan_ring_state(r, t), HFTCHAN_DIRTY | t);
}

/* hftchan_ring_poll() - what is at the cursor? READY orders the payload's loads after it. */
static inline enum hftchan_poll hftchan_ring_poll(const struct hftchan_ring *r, uint64_t c)
{
	uint64_t v = HFTCHAN_LOAD_ACQUIRE(hftchan_ring_state(r, c));	/* (B): pairs with (A) */

	if (v == c)
		return HFTCHAN_READY;
	return (v & HFTCHAN_SEQ_MASK) > c ? HFTCHAN_LAPPED : HFTCHAN_EMPTY;
}

/* hftchan_ring_still() - is everything read of message c since READY good? One fence serves all
 * the messages of a batch: ask for the oldest, and if it is gone for the next.
 */
static inline bool hftchan_ring_still(const struct hftchan_ring *r, uint64_t c)
{
	HFTCHAN_FENCE_ACQUIRE();	/* (C): payload before re-check; pairs with (A), (A') */
	return HFTCHAN_LOAD(hftchan_ring_state(r, c)) == c;
}

/* Slots to stay away from the oldest message after so many laps in a row; 0: too many laps. */
static inline uint64_t hftchan_ring_margin(const struct hftchan_ring *r, uint32_t laps)
{
	uint64_t nr = r->slot_mask + 1;
	uint64_t m = nr / 4 < HFTCHAN_MARGIN_MAX ? nr / 4 : HFTCHAN_MARGIN_MAX;

	if (laps >= 32 || (m << laps) > nr / 2)
		return 0;
	return m << laps;
}

/* hftchan_ring_skip() - messages that are gone: counted, and reported with the next delivery */
static inline void hftchan_ring_skip(struct hftchan_cursor *c, uint64_t count)
{
	c->next += count;
	c->lost += count;
	c->unreported += count;
}

/**
 * hftchan_ring_lap() - the message at the cursor was overwritten: go on with one that exists
 * @r: ring
 * @c: cursor; advanced by at least one, never past newest + 1; what is skipped is counted
 *
 * The cursor goes to the oldest message, plus a margin, because a running sender would overwrite
 * the oldest before it is copied. The margin doubles with each lap in a row, and then gives way to
 * newest + 1, so that a receiver under a sender at full speed always gets on.
 * Return: 0, or -EBADMSG when the ring holds what no sender writes.
 */
static inline int hftchan_ring_lap(const struct hftchan_ring *r, struct hftchan_cursor *c)
{
	const uint64_t nr = r->slot_mask + 1;
	uint64_t seen = HFTCHAN_LOAD_ACQUIRE(hftchan_ring_state(r, c->next)) & HFTCHAN_SEQ_MASK;
	uint64_t n, m, next;

	if (seen <= c->next || ((seen - c->next) & r->slot_mask))
		return -EBADMSG;
	n = hftchan_ring_search(r);
	if (n < c->next)
		return -EBADMSG;
	m = hftchan_ring_margin(r, c->laps);
	next = n + 1;
	if (m) {
		if (n + 2 + m > nr + c->next + 1)
			next = n + 2 + m - nr;
		else
			next = c->next + 1;
	}
	hftchan_ring_skip(c, next - c->next);
	c->laps++;
	return 0;
}

/* hftchan_ring_deliver() - the message at the cursor was good. Return: messages lost before it. */
static inline uint64_t hftchan_ring_deliver(struct hftchan_cursor *c, uint64_t count)
{
	uint64_t lost = c->unreported;

	c->next += count;
	c->unreported = 0;
	c->laps = 0;
	return lost;
}

/**
 * hftchan_ring_oldest() - the seq to begin with for all the history that is still there
 * @r: ring
 * @n: newest
 * @at_rest: no sender runs: take the very oldest; otherwise stay a margin away from it
 */
static inline uint64_t hftchan_ring_oldest(const struct hftchan_ring *r, uint64_t n, bool at_rest)
{
	const uint64_t nr = r->slot_mask + 1;
	uint64_t room = nr - 2, oldest;

	if (!at_rest)
		room -= hftchan_ring_margin(r, 0);
	oldest = n >= r->first_seq + room ? n - room : r->first_seq;
	/* a sender that died in a batch leaves marks on messages that would else be readable */
	while (at_rest && oldest <= n && hftchan_ring_poll(r, oldest) == HFTCHAN_LAPPED)
		oldest++;
	return oldest;
}

#endif /* HFTCHAN_RING_H */
