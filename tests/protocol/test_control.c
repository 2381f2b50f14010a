// SPDX-License-Identifier: MIT
/*
 * In which order attach and detach write the control page and a snapshot reads it, and every moment
 * at which one may meet the other: what a reader takes for one sender must be of one sender, and
 * nobody is told of an end while something is left to read.
 * It is no test of the ring's order (test_order.c), nor of real reordering by a processor.
 * The contract is struct hftchan_control in <linux/hftchan.h>.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "hooks.h"

#include "common.h"

#define NR_SLOTS	8
#define MAX_STORES	256

/* ---------------------------------------------------------------- a channel without a backend */

/* control page, sender page, ring: in one piece, so that one offset tells where a store went */
static struct {
	struct hftchan_control control;
	struct hftchan_sender_page sender;
	_Alignas(64) unsigned char ring[NR_SLOTS * 64];
} memory;

static const struct view view = { &memory.control, &memory.sender, memory.ring,
				  sizeof(memory.ring) };

static int take(struct tx *tx)
{
	tx->view = view;
	return 0;
}

static void drop(struct tx *tx)
{
	tx->view = (struct view){ 0 };
}

static const struct backend bare = {
	.prefix = "bare:",
	.take_role = take,
	.drop_role = drop,
	.begin_epoch = hftchan_begin_epoch,
	.end_epoch = hftchan_end_epoch,
	.ask = hftchan_ask_page,
};

static struct hftchan channel;

static int setup(void **state)
{
	(void)state;
	memset(&memory, 0, sizeof(memory));
	channel = (struct hftchan){
		.backend = &bare,
		.name = "bare:control",
		.view = view,
		.geometry = { .nr_slots = NR_SLOTS, .slot_size = 64, .first_seq = 1,
			      .payload_offset = 8, .payload_size = 8 },
	};
	atomic_init(&channel.refs, 1000);	/* never freed */
	hftchan_ring_setup(&channel.ring, &channel.geometry, memory.ring);
	return 0;
}

/* ---------------------------------------------------------------- accesses, seen and played */

static char trace[4096];
static size_t trace_len;
static bool tracing, recording, playing;

static struct {
	size_t at[MAX_STORES];
	uint64_t v[MAX_STORES];
	size_t bytes[MAX_STORES];
	unsigned int nr;
} script;

static unsigned int loads, play_at, play_stores, played;

static const struct {
	size_t at, bytes;
	const char *name;
} fields[] = {
#define FIELD(f)	{ offsetof(struct hftchan_control, f), sizeof(memory.control.f), #f }
	FIELD(epoch), FIELD(epoch_seq), FIELD(sender_state), FIELD(sender_pid), FIELD(sender_start),
	FIELD(sender_pidns), FIELD(sender_timens), FIELD(attached_ns), FIELD(destroyed),
	FIELD(ended_epoch), FIELD(nr_deaths),
};

static unsigned int field_at(size_t at)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fields) && fields[i].at != at; i++)
		;
	return i;
}

static void play(unsigned int stores)
{
	for (; stores && played < script.nr; stores--, played++)
		memcpy((char *)&memory + script.at[played], &script.v[played],
		       script.bytes[played]);
}

/* As text: "L epoch" acquire load, "l" relaxed, "s" store, R and A fences; the ring left out. */
static void on_access(enum access what, const void *p, uint64_t v)
{
	const size_t at = (size_t)((uintptr_t)p - (uintptr_t)&memory);
	const unsigned int f = p ? field_at(at) : 0;

	if (p && at >= sizeof(memory))
		return;
	if (recording && what == STORE) {
		CHECK(script.nr < MAX_STORES);
		script.at[script.nr] = at;
		script.bytes[script.nr] = f < ARRAY_SIZE(fields) ? fields[f].bytes : 8;
		script.v[script.nr++] = v;
	}
	if (playing && (what == LOAD || what == LOAD_ACQUIRE) && loads++ == play_at)
		play(play_stores);
	if (!tracing || (p && f == ARRAY_SIZE(fields)))
		return;
	trace_len += (size_t)snprintf(trace + trace_len, sizeof(trace) - trace_len,
				      p ? "%c %s, " : "%c, ", what, p ? fields[f].name : "");
	CHECK(trace_len < sizeof(trace));
}

#define TRACE_OF(call)	(trace_len = 0, tracing = true, (void)(call), tracing = false, trace)

/* ---------------------------------------------------------------- order */

static void test_attach_and_detach(void **state)
{
	struct hftchan_tx *tx = NULL;
	const char *text;

	(void)state;
	text = TRACE_OF(hftchan_attach(&channel, 0, &tx));
	/* R: the ring's marks come before all of it */
	assert_string_equal(text,
			    "l destroyed, R, l epoch, l ended_epoch, s sender_state, R, "
			    "s sender_pid, s sender_start, s sender_pidns, s sender_timens, "
			    "s attached_ns, s epoch_seq, R, s epoch, R, s sender_state, ");
	assert_int_equal(memory.control.epoch, 1);
	assert_int_equal(memory.control.sender_state, HFTCHAN_SENDER_ATTACHED);
	/* R: so do its commits before the word that it has ended */
	text = TRACE_OF(hftchan_detach(tx));
	assert_string_equal(text, "R, l epoch, s ended_epoch, s sender_state, ");
	assert_int_equal(memory.control.sender_state, HFTCHAN_SENDER_NONE);
	/* one that left no word is counted, and ended, before anything else changes */
	assert_int_equal(hftchan_attach(&channel, 0, &tx), 0);
	text = TRACE_OF(hftchan_attach(&channel, 0, &tx));
	assert_non_null(strstr(text, "l ended_epoch, l nr_deaths, s nr_deaths, s ended_epoch, "));
	assert_int_equal(memory.control.nr_deaths, 1);
}

static void test_snapshot(void **state)
{
	struct sender_snapshot s;

	(void)state;
	assert_string_equal(TRACE_OF(hftchan_snapshot(&channel, &s)),
			    "L ended_epoch, L sender_state, L epoch, l epoch_seq, l sender_pid, "
			    "l sender_start, l sender_pidns, l sender_timens, A, L sender_state, "
			    "l epoch, ");
}

/* ---------------------------------------------------------------- every moment */

/* An attach after a death, of which any part happens at any load of a snapshot. */
static void test_snapshot_beside_attach(void **state)
{
	struct hftchan_control *c = &memory.control;
	unsigned int nr_loads = 1, attached = 0, between = 0;
	struct sender_snapshot s;
	struct hftchan_tx *tx = NULL;

	(void)state;
	c->epoch = 1;
	script.nr = 0;
	recording = true;
	assert_int_equal(hftchan_attach(&channel, 0, &tx), 0);
	recording = false;
	assert_true(script.nr > 8);
	for (play_at = 0; play_at < nr_loads; play_at++)
		for (play_stores = 0; play_stores <= script.nr; play_stores++) {
			memset(&memory, 0, sizeof(memory));
			c->epoch = 1;
			c->epoch_seq = 77;
			c->sender_state = HFTCHAN_SENDER_ATTACHED;
			c->sender_pid = 4711;
			c->sender_start = 4712;
			c->sender_pidns = 4713;
			c->sender_timens = 4714;
			loads = played = 0;
			playing = true;
			assert_int_equal(hftchan_snapshot(&channel, &s), 0);
			playing = false;
			if (loads > nr_loads)
				nr_loads = loads;
			if (s.state != HFTCHAN_SENDER_ATTACHED) {
				/* one that has only begun is not one that has ended */
				assert_true(s.epoch == 1 || !hftchan_sender_ended(&s));
				assert_true(s.epoch == 1 || !hftchan_sender_dead(&s));
				between++;
				continue;
			}
			attached++;
			if (s.epoch == 1) {
				assert_int_equal(s.epoch_seq, 77);
				assert_int_equal(s.pid, 4711);
				assert_int_equal(s.start, 4712);
				assert_int_equal(s.pidns, 4713);
				assert_int_equal(s.timens, 4714);
			} else {
				assert_int_equal(s.epoch, 2);
				assert_int_equal(s.epoch_seq, 1);
				assert_int_equal(s.pid, getpid());
				assert_true(s.start != 4712 && s.pidns != 4713);
				assert_true(s.timens != 4714);
				assert_true(s.ended_epoch <= 1);
			}
		}
	print_message("%u loads, %u stores: %u times attached, %u between\n", nr_loads, script.nr,
		      attached, between);
	assert_true(nr_loads > 10 && attached > 50 && between > 50);
}

/* A last message and a detach, of which any part happens at any load of a receiver that waits. */
static void test_no_end_before_the_last_message(void **state)
{
	unsigned char begun[sizeof(memory)];
	unsigned int nr_loads = 1, found = 0;
	struct hftchan_tx *tx = NULL;
	struct rx rx;

	(void)state;
	assert_int_equal(hftchan_attach(&channel, 0, &tx), 0);
	memcpy(begun, &memory, sizeof(memory));
	script.nr = 0;
	recording = true;
	assert_int_equal(hftchan_send(tx, "message", 8), 0);
	hftchan_detach(tx);
	recording = false;
	for (play_at = 0; play_at < nr_loads; play_at++)
		for (play_stores = 0; play_stores <= script.nr; play_stores++) {
			int err;

			rx = (struct rx){ .pub.ring = channel.ring, .pub.cursor.next = 1,
					  .pub.spins = 2, .ch = &channel, .timeout_ns = 1 };
			memcpy(&memory, begun, sizeof(memory));
			loads = played = 0;
			playing = true;
			err = hftchan_wait(&rx.pub);
			playing = false;
			if (loads > nr_loads)
				nr_loads = loads;
			found += !err;
			if (!err || err == -ETIMEDOUT)
				continue;
			assert_int_equal(err, -EPIPE);
			fail_msg("told of the end, %u stores at load %u: message 1 is there",
				 play_stores, play_at);
		}
	assert_true(nr_loads > 10 && found > 10);
	/* and when it has been read, of the end */
	play(script.nr);
	rx.pub.cursor.next = 2;
	assert_int_equal(hftchan_wait(&rx.pub), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_attach_and_detach, setup),
		cmocka_unit_test_setup(test_snapshot, setup),
		cmocka_unit_test_setup(test_snapshot_beside_attach, setup),
		cmocka_unit_test_setup(test_no_end_before_the_last_message, setup),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
