// SPDX-License-Identifier: MIT
/*
 * Receivers that the sender overtakes at any load of any call: the sender's stores are recorded
 * once, and played into the ring at one or two chosen loads of the receiver, as many of them as
 * chosen. All such interleavings of a small ring are tried, with single sends and batches; what is
 * delivered must be whole, in order and exactly counted.
 * It is no test of memory ordering: stores are seen in the order in which they were made.
 * The contract is in <hftchan/ring.h> and <hftchan.h>.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hooks.h"

#include "common.h"

#define SLOT_SIZE	64
#define MAX_SLOTS	16
#define MAX_STORES	1024
#define MAX_PAYLOAD	16

/* ---------------------------------------------------------------- the recorded sender */

static struct {
	size_t at[MAX_STORES];
	uint64_t v[MAX_STORES];
	unsigned int nr;
} script;

static bool recording;
static unsigned char *slots;	/* exactly the ring, so that a sanitizer sees a step beyond it */
static size_t ring_bytes;
static struct hftchan channel = { .name = "race" };
static uint64_t newest;		/* when the whole script has been played */

/* the receiver's loads so far, and when how many of the sender's stores happen */
static unsigned int loads, played;
static unsigned int burst_at[2], burst[2], next_burst;
static bool playing;

static void play(unsigned int stores)
{
	for (; stores && played < script.nr; stores--, played++)
		memcpy(slots + script.at[played], &script.v[played], 8);
}

static void on_access(enum access what, const void *p, uint64_t v)
{
	if (recording && what == STORE) {
		CHECK(script.nr < MAX_STORES);
		script.at[script.nr] = (size_t)((const unsigned char *)p - slots);
		script.v[script.nr++] = v;
	}
	if (!playing || (what != LOAD && what != LOAD_ACQUIRE))
		return;
	while (next_burst < 2 && burst_at[next_burst] == loads)
		play(burst[next_burst++]);
	loads++;
}

static uint32_t length_of(uint64_t seq)
{
	return channel.ring.varlen ? (uint32_t)(seq * 7 % (MAX_PAYLOAD + 1)) : MAX_PAYLOAD;
}

static void setup_ring(uint64_t nr_slots, bool varlen)
{
	ring_bytes = nr_slots * SLOT_SIZE;
	free(slots);
	slots = aligned_alloc(64, ring_bytes);
	CHECK(slots);
	memset(slots, 0, ring_bytes);
	channel.ring = (struct hftchan_ring){
		.slots = slots,
		.slot_mask = nr_slots - 1,
		.slot_size = SLOT_SIZE,
		.first_seq = 1,
		.payload_offset = 8,
		.payload_size = MAX_PAYLOAD,
		.varlen = varlen,
	};
}

/* Record @messages messages: single ones and batches up to @largest, which is at most
 * N - 2: more than the header allows, as stores are seen in order here.
 */
static void record(uint64_t nr_slots, bool varlen, unsigned int messages, unsigned int largest)
{
	struct tx t = { .ch = &channel };
	unsigned char buf[MAX_PAYLOAD];
	uint64_t bad = 0, seed = nr_slots + largest;

	setup_ring(nr_slots, varlen);
	t.pub.ring = channel.ring;
	script.nr = 0;
	recording = true;
	CHECK_EQ(hftchan_ring_attach(&t.pub.ring, true, &t.pub.seq, &bad), 0);
	while (t.pub.seq <= messages) {
		uint64_t k = 1 + random_next(&seed) % largest, i;

		if (k > messages - t.pub.seq + 1)
			k = messages - t.pub.seq + 1;
		hftchan_ring_mark(&t.pub.ring, t.pub.seq, k);
		for (i = t.pub.seq; i < t.pub.seq + k; i++) {
			struct hftchan_varlen head = { length_of(i), (uint32_t)i };
			unsigned char *p = hftchan_ring_payload(&t.pub.ring, i);

			fill_message(buf, length_of(i), i, 0);
			if (varlen) {
				hftchan_ring_copy_in(p, &head, sizeof(head));
				p += sizeof(head);
			}
			hftchan_ring_copy_in(p, buf, length_of(i));
		}
		hftchan_ring_commit(&t.pub.ring, t.pub.seq, k);
		t.pub.seq += k;
	}
	recording = false;
	newest = messages;
}

/* ---------------------------------------------------------------- one receiver's life */

static struct {
	struct rx rx;
	uint64_t last, received, lost;
} life;

static uint64_t nr_runs, nr_torn_refused, nr_laps;

static _Noreturn void die(const char *what)
{
	fprintf(stderr,
		"%s: N %d, varlen %d, loads %u, bursts %u at %u, %u at %u, played %u; "
		"cursor %llu, last %llu\n",
		what, (int)channel.ring.slot_mask + 1, channel.ring.varlen, loads, burst[0],
		burst_at[0], burst[1], burst_at[1], played,
		(unsigned long long)life.rx.pub.cursor.next, (unsigned long long)life.last);
	check_failed(__FILE__, __LINE__, what);
}

static void delivered(const struct hftchan_msg *msg, const void *data)
{
	if (msg->len != length_of(msg->seq))
		die("wrong length");
	if (!message_is(data, msg->len, msg->seq, 0))
		die("torn message");
	if (channel.ring.varlen && msg->type != (uint32_t)msg->seq)
		die("wrong type");
	if (msg->seq != life.last + 1 + msg->lost)
		die("lost is not what was skipped");
	life.last = msg->seq;
	life.lost += msg->lost;
	life.received++;
}

enum how { RECV, PEEK, BATCH_2, BATCH_3, BATCH_N_AND_2, NR_HOW };

/* One call. False: nothing there. */
static bool receive(enum how how)
{
	unsigned char buf[(MAX_SLOTS + 2) * MAX_PAYLOAD];
	struct hftchan_msg msgs[MAX_SLOTS + 2];
	struct hftchan_rx *rx = &life.rx.pub;
	unsigned int max;
	ssize_t n;
	int i, err;

	switch (how) {
	case RECV:
		n = hftchan_try_recv(rx, buf, sizeof(buf), msgs);
		if (n >= 0) {
			if (msgs[0].len != (size_t)n || msgs[0].data != buf)
				die("wrong message data");
			delivered(msgs, buf);
		}
		break;
	case PEEK:
		n = hftchan_try_peek(rx, msgs);
		if (n < 0)
			break;
		hftchan_ring_copy_out(buf, msgs[0].data, (size_t)n);
		err = hftchan_advance(rx);
		if (err == 0)
			delivered(msgs, buf);
		else if (err == -ESTALE)
			nr_torn_refused++;
		else
			die("advance failed");
		break;
	default:
		max = (unsigned int)channel.ring.slot_mask + 3;
		if (how != BATCH_N_AND_2)
			max = how == BATCH_2 ? 2 : 3;
		n = hftchan_try_recv_batch(rx, buf, MAX_PAYLOAD, msgs, max);
		for (i = 0; i < n; i++)
			delivered(&msgs[i], msgs[i].data);
		break;
	}
	if (n < 0 && n != -EAGAIN)
		die("receive failed");
	return n >= 0;
}

/* an empty ring, nothing of the script played, a receiver that wants @cursor */
static void begin(uint64_t cursor)
{
	memset(slots, 0, ring_bytes);
	memset(&life, 0, sizeof(life));
	life.rx.pub.ring = channel.ring;
	life.rx.pub.cursor.next = cursor;
	life.rx.ch = &channel;
	played = loads = next_burst = 0;
}

/*
 * The receiver makes one call while the sender, which has made @before stores, makes the bursts;
 * then it stays behind until the sender has finished, and reads the rest.
 */
static void run(enum how how, unsigned int before)
{
	const struct hftchan_cursor *c = &life.rx.pub.cursor;

	begin(1);
	play(before);
	playing = true;
	receive(how);
	playing = false;
	nr_laps += c->lost > 0;
	play(script.nr);
	while (receive(how))
		;
	if (c->next != newest + 1)
		die("the end was not reached");
	if (life.received + c->lost != newest)
		die("received + lost is not what was sent");
	if (life.lost + c->unreported != c->lost)
		die("reported losses don't add up");
	nr_runs++;
}

static void every_interleaving(uint64_t nr_slots, bool varlen, unsigned int messages,
			       unsigned int largest, unsigned int step)
{
	unsigned int before;
	int how;

	record(nr_slots, varlen, messages, largest);
	nr_runs = nr_torn_refused = nr_laps = 0;
	for (how = 0; how < NR_HOW; how++)
		for (before = 0; before <= script.nr; before += step) {
			unsigned int left = script.nr - before, most = 1;

			burst[1] = 0;
			burst_at[1] = 0;
			for (burst_at[0] = 0; burst_at[0] < most; burst_at[0]++)
				for (burst[0] = 0; burst[0] <= left; burst[0]++) {
					burst_at[1] = burst_at[0];
					burst[1] = 0;
					run((enum how)how, before);
					if (loads > most)
						most = loads;
				}
			/* two bursts: the second one shakes what follows the first lap */
			for (burst_at[0] = 0; burst_at[0] < most; burst_at[0]++)
				for (burst[0] = 1; burst[0] <= left; burst[0] += 1 + 2 * step)
					for (burst_at[1] = burst_at[0] + 1; burst_at[1] < most;
					     burst_at[1]++)
						for (burst[1] = 1; burst[0] + burst[1] <= left;
						     burst[1] += 1 + step)
							run((enum how)how, before);
		}
	print_message("N %d, varlen %d, batches to %u: %llu runs, %llu with laps, "
		      "%llu stale peeks\n",
		      (int)nr_slots, varlen, largest, (unsigned long long)nr_runs,
		      (unsigned long long)nr_laps, (unsigned long long)nr_torn_refused);
	/* each of these was tried, or the test is none */
	assert_true(nr_runs > 10000 && nr_laps > 1000 && nr_torn_refused > 100);
}

static void test_four_slots_single_sends(void **state)
{
	(void)state;
	every_interleaving(4, false, 10, 1, 2);
}

static void test_four_slots_batches(void **state)
{
	(void)state;
	every_interleaving(4, false, 10, 2, 2);
	every_interleaving(4, true, 10, 2, 2);
}

static void test_eight_slots_batches(void **state)
{
	(void)state;
	every_interleaving(8, false, 20, 6, 7);
	every_interleaving(8, true, 20, 2, 7);
}

static void test_sixteen_slots_batches(void **state)
{
	(void)state;
	every_interleaving(16, false, 36, 4, 13);
}

/* ---------------------------------------------------------------- chosen moments */

/* ring of 4 slots, messages 1 to @sent sent; the receiver wants @cursor */
static void fresh(bool varlen, unsigned int sent, uint64_t cursor)
{
	record(4, varlen, sent, 1);
	begin(cursor);
	play(script.nr);
}

static void set_word(uint64_t seq, size_t offset, uint64_t v)
{
	memcpy(slots + (seq % 4) * SLOT_SIZE + offset, &v, sizeof(v));
}

/* A length that is garbage because the slot is being overwritten: no step beyond the slot. */
static void test_garbage_length_of_a_lapped_message(void **state)
{
	static const uint32_t garbage[] = { 17, 64, 4096, 0x7fffffff, 0xffffffff };
	struct hftchan_msg msg;
	unsigned char buf[MAX_PAYLOAD];
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(garbage); i++) {
		fresh(true, 3, 3);	/* in the last slot: a step beyond leaves the ring */
		/* between poll and the load of the length: marked for 7, its length is garbage */
		script.nr = 0;
		script.at[script.nr] = 3 * SLOT_SIZE;
		script.v[script.nr++] = HFTCHAN_DIRTY | 7;
		script.at[script.nr] = 3 * SLOT_SIZE + 8;
		script.v[script.nr++] = garbage[i];
		script.at[script.nr] = 0;
		script.v[script.nr++] = 4;
		script.at[script.nr] = SLOT_SIZE;
		script.v[script.nr++] = 5;
		script.at[script.nr] = 2 * SLOT_SIZE;
		script.v[script.nr++] = HFTCHAN_DIRTY | 6;
		played = loads = next_burst = 0;
		burst_at[0] = 1;
		burst[0] = 5;
		burst_at[1] = 1000;
		playing = true;
		assert_true(hftchan_try_recv(&life.rx.pub, buf, sizeof(buf), &msg) >= 0);
		playing = false;
		assert_int_equal(msg.seq, 4);
		assert_int_equal(msg.lost, 1);
	}
}

/* The same length with a re-check that says nothing changed: no sender wrote that. */
static void test_garbage_length_of_a_good_message(void **state)
{
	static const uint32_t garbage[] = { 17, 64, 4096, 0x7fffffff, 0xffffffff };
	struct hftchan_msg msg;
	unsigned char buf[MAX_PAYLOAD];
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(garbage); i++) {
		fresh(true, 3, 3);
		set_word(3, 8, garbage[i]);
		assert_int_equal(hftchan_try_recv(&life.rx.pub, buf, sizeof(buf), &msg), -EBADMSG);
		assert_int_equal(hftchan_try_peek(&life.rx.pub, &msg), -EBADMSG);
		assert_int_equal(hftchan_try_recv_batch(&life.rx.pub, buf, sizeof(buf), &msg, 1),
				 -EBADMSG);
		assert_int_equal(life.rx.pub.cursor.next, 3);
	}
}

/* advance() after a peek that found nothing: skips nothing, also when a message has come since */
static void test_advance_after_a_message_arrived(void **state)
{
	struct hftchan_msg msg;
	unsigned int stores;

	(void)state;
	for (stores = 0; stores <= 4; stores++) {
		record(4, false, 3, 1);
		begin(3);
		play(2 + 2 * 4 + 2);	/* attach, two messages, half of the third */
		assert_int_equal(hftchan_try_peek(&life.rx.pub, &msg), -EAGAIN);
		play(stores);
		assert_int_equal(hftchan_advance(&life.rx.pub), -EAGAIN);
		assert_int_equal(life.rx.pub.cursor.next, 3);
	}
}

/* A buffer that is too small for what is there by a length that is being overwritten. */
static void test_too_small_for_a_message_that_is_gone(void **state)
{
	unsigned char buf[MAX_PAYLOAD];
	struct hftchan_msg msg;

	(void)state;
	/* of seqs 3 and 7, in one slot, the lengths are 4 and 15: one fits, one does not */
	record(4, true, 8, 1);
	for (burst[0] = 1; burst[0] < script.nr; burst[0]++) {
		begin(3);
		while (played < script.nr &&
		       HFTCHAN_LOAD(hftchan_ring_state(&channel.ring, 3)) != 3)
			play(1);
		loads = 0;
		burst_at[0] = 1;	/* after the poll that found it, before its length */
		burst_at[1] = 1000;
		playing = true;
		if (hftchan_try_recv(&life.rx.pub, buf, 10, &msg) == -EMSGSIZE) {
			/* what is refused stands at the cursor, whole */
			assert_int_equal(msg.seq, life.rx.pub.cursor.next);
			assert_int_equal(msg.len, length_of(msg.seq));
		}
		playing = false;
	}
}

/* part of a batch is overwritten before the re-check: the rest of it is good, the loss is exact */
static void test_batch_partly_overwritten(void **state)
{
	unsigned char buf[8 * MAX_PAYLOAD];
	struct hftchan_msg msgs[8];
	unsigned int messages, i;
	int n;

	(void)state;
	for (messages = 0; messages <= 6; messages++) {
		/* 6 readable, of which the oldest @messages go before the re-check */
		record(8, false, 6 + messages, 1);
		begin(1);
		play(2 + 6 * 4);
		burst_at[0] = 6 * 3;	/* poll and two words of each */
		burst[0] = messages * 4;
		burst_at[1] = 1000;
		playing = true;
		n = hftchan_try_recv_batch(&life.rx.pub, buf, MAX_PAYLOAD, msgs, 6);
		playing = false;
		if (messages == 6) {
			/* nothing of it is left: lapped, n + 2 - N + 2, and what stands there */
			assert_int_equal(msgs[0].seq, 8);
			assert_int_equal(msgs[0].lost, 7);
			assert_int_equal(n, 5);
			continue;
		}
		assert_int_equal(n, 6 - messages);
		assert_int_equal(msgs[0].seq, 1 + messages);
		assert_int_equal(msgs[0].lost, messages);
		for (i = 0; i < (unsigned int)n; i++) {
			assert_int_equal(msgs[i].seq, 1 + messages + i);
			assert_true(message_is(msgs[i].data, MAX_PAYLOAD, msgs[i].seq, 0));
			if (i)
				assert_int_equal(msgs[i].lost, 0);
		}
		assert_int_equal(hftchan_rx_lost(&life.rx.pub), messages);
		assert_int_equal(hftchan_rx_seq(&life.rx.pub), 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_four_slots_single_sends),
		cmocka_unit_test(test_four_slots_batches),
		cmocka_unit_test(test_eight_slots_batches),
		cmocka_unit_test(test_sixteen_slots_batches),
		cmocka_unit_test(test_garbage_length_of_a_lapped_message),
		cmocka_unit_test(test_garbage_length_of_a_good_message),
		cmocka_unit_test(test_advance_after_a_message_arrived),
		cmocka_unit_test(test_too_small_for_a_message_that_is_gone),
		cmocka_unit_test(test_batch_partly_overwritten),
	};
	int failed = cmocka_run_group_tests_name("race", tests, NULL, NULL);

	free(slots);
	return failed;
}
