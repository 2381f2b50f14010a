// SPDX-License-Identifier: MIT
/*
 * The receiver's cold path: join, clone, lap, waiting, batches.
 * It stores nothing into the channel: the sender does not know of receivers.
 * The contract is in <hftchan.h>.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

/* Polls between two looks at clock and control page: some 20 us, or 2 before each yield. */
#define SPINS		1024
#define YIELD_SPINS	100

/* How long nothing must have come before the sender's life is looked up, and how often then. */
#define LIFE_CHECK_NS	10000000

struct rx {
	struct hftchan_rx pub;	/* first: what users hold is a pointer to it */
	struct hftchan *ch;
	enum hftchan_wait_mode mode;
	uint64_t timeout_ns;
	uint64_t idle_seq;	/* nothing has come since idle_since while this was wanted */
	uint64_t idle_since;	/* CLOCK_MONOTONIC; over calls, which may have short timeouts */
	uint64_t next_life_check;
	uint64_t told_epoch;	/* whose end was reported, or is none of ours */
};

static struct rx *new_rx(struct hftchan *ch)
{
	struct rx *r = hftchan_zalloc(sizeof(*r));

	if (!r) {
		hftchan_fail(ENOMEM, "%s: out of memory", ch->name);
		return NULL;
	}
	r->ch = hftchan_get(ch);
	r->pub.ring = ch->ring;
	r->pub.spins = SPINS;
	return r;
}

int hftchan_join(struct hftchan *ch, enum hftchan_join_at at, uint64_t seq, struct hftchan_rx **rxp)
{
	const struct hftchan_ring *ring = &ch->ring;
	struct sender_snapshot s;
	struct rx *r;
	uint64_t n;
	bool running;
	int err;

	if (HFTCHAN_LOAD(&ch->view.control->destroyed))
		return hftchan_fail(ENODEV, "%s: was destroyed", ch->name);
	if (at == HFTCHAN_JOIN_SEQ && (seq < ring->first_seq || seq > HFTCHAN_SEQ_MASK))
		return hftchan_fail(EINVAL,
				    "%s: seq %" PRIu64 " is not from %" PRIu64
				    " (the channel's first) to %llu",
				    ch->name, seq, ring->first_seq, HFTCHAN_SEQ_MASK);
	err = hftchan_snapshot(ch, &s);
	if (err)
		return err;
	running = s.epoch && !hftchan_sender_ended(&s) && !hftchan_sender_dead(&s);
	n = hftchan_ring_search(ring);
	switch (at) {
	case HFTCHAN_JOIN_LAST:
		seq = n < ring->first_seq ? ring->first_seq : n;
		break;
	case HFTCHAN_JOIN_NEXT:
		seq = n + 1;
		break;
	case HFTCHAN_JOIN_OLDEST:
		seq = hftchan_ring_oldest(ring, n, !running);
		break;
	case HFTCHAN_JOIN_SEQ:
		break;
	default:
		return hftchan_fail(EINVAL, "%s: unknown way to join: %d", ch->name, (int)at);
	}
	r = new_rx(ch);
	if (!r)
		return -ENOMEM;
	r->pub.cursor.next = seq;
	/* the end of a sender of whom nothing is left to read is no news */
	if (!running && seq > n)
		r->told_epoch = s.epoch;
	*rxp = &r->pub;
	return 0;
}

int hftchan_clone(const struct hftchan_rx *rx, struct hftchan_rx **rxp)
{
	const struct rx *from = (const struct rx *)rx;
	struct rx *r = new_rx(from->ch);

	if (!r)
		return -ENOMEM;
	r->pub.cursor.next = rx->cursor.next;
	r->pub.spins = rx->spins;
	r->mode = from->mode;
	r->timeout_ns = from->timeout_ns;
	r->told_epoch = from->told_epoch;
	*rxp = &r->pub;
	return 0;
}

void hftchan_leave(struct hftchan_rx *rx)
{
	struct rx *r = (struct rx *)rx;

	if (!rx)
		return;
	hftchan_close(r->ch);
	free(r);
}

int hftchan_rx_set_wait(struct hftchan_rx *rx, enum hftchan_wait_mode mode, uint64_t timeout_ns)
{
	struct rx *r = (struct rx *)rx;

	if (mode != HFTCHAN_WAIT_SPIN && mode != HFTCHAN_WAIT_YIELD)
		return hftchan_fail(EINVAL, "%s: unknown way to wait: %d", r->ch->name, (int)mode);
	r->mode = mode;
	r->timeout_ns = timeout_ns;
	rx->spins = mode == HFTCHAN_WAIT_SPIN ? SPINS : YIELD_SPINS;
	return 0;
}

int hftchan_rx_sender(struct hftchan_rx *rx, struct hftchan_sender *sender)
{
	const struct rx *r = (const struct rx *)rx;
	struct hftchan_info info = { 0 };
	struct sender_snapshot s;
	int err = hftchan_snapshot(r->ch, &s);

	if (err)
		return err;
	r->ch->backend->ask(r->ch, &s, &info);
	*sender = (struct hftchan_sender){
		.epoch = s.epoch,
		.epoch_seq = s.epoch_seq,
		.state = hftchan_sender_dead(&s) ? HFTCHAN_SENDER_DIED : s.state,
		.pid = info.sender_pid,
	};
	return 0;
}

/*
 * Nothing came for some polls. 0: poll on; otherwise what hftchan_wait() returns.
 * @since: when this wait began, 0 at its first call
 */
int hftchan_rx_idle(struct hftchan_rx *rx, uint64_t *since)
{
	struct rx *r = (struct rx *)rx;
	const struct hftchan_control *c = r->ch->view.control;
	uint64_t now = hftchan_now_ns(CLOCK_MONOTONIC);
	struct sender_snapshot s;
	bool destroyed, gone = false;

	if (!*since)
		*since = now;
	if (rx->cursor.next != r->idle_seq) {
		r->idle_seq = rx->cursor.next;
		r->idle_since = now;
	}
	destroyed = HFTCHAN_LOAD_ACQUIRE(&c->destroyed);	/* pairs with who destroys it */
	if (HFTCHAN_LOAD_ACQUIRE(&c->epoch) != r->told_epoch && !hftchan_snapshot(r->ch, &s) &&
	    s.epoch != r->told_epoch) {
		gone = hftchan_sender_ended(&s);
		/* a spinning receiver's only system calls, when there is nothing to be late for */
		if (!gone && now - r->idle_since >= LIFE_CHECK_NS && now >= r->next_life_check) {
			r->next_life_check = now + LIFE_CHECK_NS;
			gone = hftchan_sender_dead(&s);
		}
	}
	if (destroyed || gone) {
		/* what it committed before it went is visible now */
		if (hftchan_ring_poll(&rx->ring, rx->cursor.next) != HFTCHAN_EMPTY)
			return 0;
		if (destroyed)
			return hftchan_fail(ENODEV, "%s: was destroyed", r->ch->name);
		r->told_epoch = s.epoch;
		return hftchan_fail(EPIPE, "%s: the sender has gone", r->ch->name);
	}
	if (r->timeout_ns && now - *since >= r->timeout_ns)
		return hftchan_fail(ETIMEDOUT, "%s: no message for %" PRIu64 " ms", r->ch->name,
				    r->timeout_ns / 1000000);
	if (r->mode == HFTCHAN_WAIT_YIELD)
		sched_yield();
	return 0;
}

int hftchan_rx_lap(struct hftchan_rx *rx)
{
	const struct rx *r = (const struct rx *)rx;
	int err = hftchan_ring_lap(&rx->ring, &rx->cursor);

	if (err)
		hftchan_fail(-err,
			     "%s: corrupted: slot of seq %" PRIu64 " holds what no sender writes",
			     r->ch->name, rx->cursor.next);
	return err;
}

int hftchan_try_recv_batch(struct hftchan_rx *rx, void *buf, size_t stride,
			   struct hftchan_msg *msgs, unsigned int max)
{
	const struct hftchan_ring *ring = &rx->ring;
	struct hftchan_cursor *c = &rx->cursor;
	unsigned char *to = buf;
	unsigned int k, bad, i;
	ssize_t one;
	int err;

	for (;;) {
		for (k = 0; k < max; k++) {
			struct hftchan_msg *m = &msgs[k];

			if (hftchan_ring_poll(ring, c->next + k) != HFTCHAN_READY ||
			    hftchan_rx_head(rx, c->next + k, m) != m->len || m->len > stride)
				break;
			hftchan_ring_copy_out(to + k * stride, m->data, m->len);
			m->data = to + k * stride;
		}
		if (!k && hftchan_ring_poll(ring, c->next) != HFTCHAN_LAPPED) {
			/* nothing, too large or corrupted: the single receive knows which */
			one = hftchan_try_recv(rx, buf, stride, msgs);
			return one < 0 ? (int)one : 1;
		}
		/*
		 * The sender overwrites in order: the first message that is still there proves all
		 * that were copied after it.
		 */
		for (bad = 0; bad < k && !hftchan_ring_still(ring, c->next + bad); bad++)
			;
		if (bad < k)
			break;
		err = hftchan_rx_lap(rx);
		if (err)
			return err;
	}
	hftchan_ring_skip(c, bad);
	k -= bad;
	for (i = 0; i < k; i++) {
		msgs[i] = msgs[i + bad];
		msgs[i].lost = 0;
	}
	msgs[0].lost = hftchan_ring_deliver(c, k);
	return (int)k;
}
