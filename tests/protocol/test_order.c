// SPDX-License-Identifier: MIT
/*
 * In which order does each call touch the ring, and where are its fences? Compared with the
 * protocol's text, access by access: a missing fence shows here also on processors that don't
 * need it.
 * It is no test of what the calls return.
 * The contract is the comment at the top of <hftchan/ring.h>.
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
#define SLOT_SIZE	64

static _Alignas(64) unsigned char memory[NR_SLOTS * SLOT_SIZE];
static char trace[4096];
static size_t trace_len;
static bool tracing;

/*
 * As text: LS1 acquire load of the state in slot 1, lS1 relaxed, lP1.0 load of word 0 of its
 * payload, sP1.0 store to it, sS1=1 store of (clean, 1), sS1=D9 of (dirty, 9), R and A fences.
 */
static void on_access(enum access what, const void *p, uint64_t v)
{
	const uintptr_t at = (uintptr_t)p - (uintptr_t)memory;
	char *to = trace + trace_len;
	const size_t room = sizeof(trace) - trace_len;
	int len;

	if (!tracing)
		return;
	if (!p)
		len = snprintf(to, room, "%c ", what);
	else if (at >= sizeof(memory))
		len = snprintf(to, room, "%c? ", what);
	else if (at % SLOT_SIZE)
		len = snprintf(to, room, "%cP%lu.%lu ", what, at / SLOT_SIZE,
			       at % SLOT_SIZE / 8 - 1);
	else if (what == STORE)
		len = snprintf(to, room, "sS%lu=%s%llu ", at / SLOT_SIZE, v >> 63 ? "D" : "",
			       (unsigned long long)(v & HFTCHAN_SEQ_MASK));
	else
		len = snprintf(to, room, "%cS%lu ", what, at / SLOT_SIZE);
	trace_len += (size_t)len;
	CHECK(trace_len < sizeof(trace));
}

static void start_trace(void)
{
	trace_len = 0;
	trace[0] = 0;
	tracing = true;
}

static const char *end_trace(void)
{
	tracing = false;
	if (trace_len)
		trace[trace_len - 1] = 0;	/* the last space */
	return trace;
}

#define TRACE_OF(call)	(start_trace(), (void)(call), end_trace())

static struct hftchan channel = { .name = "order" };
static struct tx tx;
static struct rx rx;

/* a sender at seq 1 and a receiver that wants it, on an empty ring */
static int fresh(uint32_t payload_size, bool varlen)
{
	uint64_t bad = 0;

	memset(memory, 0, sizeof(memory));
	channel.ring = (struct hftchan_ring){
		.slots = memory,
		.slot_mask = NR_SLOTS - 1,
		.slot_size = SLOT_SIZE,
		.first_seq = 1,
		.payload_offset = 8,
		.payload_size = payload_size,
		.varlen = varlen,
	};
	tx = (struct tx){ .pub.ring = channel.ring, .ch = &channel };
	rx = (struct rx){ .pub.ring = channel.ring, .pub.cursor.next = 1, .ch = &channel };
	return hftchan_ring_attach(&tx.pub.ring, true, &tx.pub.seq, &bad);
}

static int setup(void **state)
{
	(void)state;
	return fresh(16, false);
}

static int setup_varlen(void **state)
{
	(void)state;
	return fresh(40, true);
}

static const unsigned char payload[1024];

static void test_attach(void **state)
{
	const char *stores;
	uint64_t seq, bad;

	(void)state;
	hftchan_send(&tx.pub, payload, 16);
	TRACE_OF(hftchan_ring_attach(&tx.pub.ring, true, &seq, &bad));
	stores = strchr(trace, 's');
	assert_non_null(stores);
	/* it looks, by acquire loads; then it marks two; the epoch comes after the fence */
	assert_string_equal(stores, "sS2=D2 sS3=D3 R");
	assert_null(memchr(trace, 'l', (size_t)(stores - trace)));
	assert_null(memchr(trace, '?', trace_len));
}

static void test_send(void **state)
{
	(void)state;
	assert_string_equal(TRACE_OF(hftchan_send(&tx.pub, payload, 16)),
			    "sP1.0 sP1.1 R sS1=1 sS3=D3");
	assert_string_equal(TRACE_OF(hftchan_send(&tx.pub, payload, 16)),
			    "sP2.0 sP2.1 R sS2=2 sS4=D4");
	/* refused: nothing is published */
	assert_string_equal(TRACE_OF(hftchan_send(&tx.pub, payload, 17)), "");
	assert_null(strstr(TRACE_OF(hftchan_send(&tx.pub, payload, 15)), "S"));
}

static void test_reserve_and_commit(void **state)
{
	(void)state;
	assert_string_equal(TRACE_OF(hftchan_reserve(&tx.pub)), "");
	assert_string_equal(TRACE_OF(hftchan_reserve(&tx.pub)), "");
	assert_string_equal(TRACE_OF(hftchan_commit(&tx.pub)), "R sS1=1 sS3=D3");
}

static void test_send_varlen(void **state)
{
	(void)state;
	/* the payload may come before or after its length: both are before the fence */
	assert_string_equal(TRACE_OF(hftchan_send_type(&tx.pub, payload, 9, 5)),
			    "sP1.0 sP1.1 sP1.2 R sS1=1 sS3=D3");
	assert_string_equal(TRACE_OF(hftchan_send(&tx.pub, payload, 0)), "sP2.0 R sS2=2 sS4=D4");
}

static void test_send_batch(void **state)
{
	const struct hftchan_msg msgs[3] = { { .data = payload, .len = 16 },
					     { .data = payload, .len = 16 },
					     { .data = payload, .len = 16 } };

	(void)state;
	/* a quarter of the ring is two */
	assert_string_equal(TRACE_OF(hftchan_send_batch(&tx.pub, msgs, 2)),
			    "sS3=D3 R sP1.0 sP1.1 sP2.0 sP2.1 R sS1=1 sS2=2 sS4=D4");
	assert_string_equal(TRACE_OF(hftchan_send_batch(&tx.pub, msgs, 1)),
			    "sP3.0 sP3.1 R sS3=3 sS5=D5");
	assert_string_equal(TRACE_OF(hftchan_send_batch(&tx.pub, msgs, 3)),
			    "sS6=D6 R sP4.0 sP4.1 sP5.0 sP5.1 R sS4=4 sS5=5 sS7=D7 "
			    "sP6.0 sP6.1 R sS6=6 sS0=D8");
	assert_string_equal(TRACE_OF(hftchan_send_batch(&tx.pub, msgs, 0)), "");
	/* N - 2: the largest batch, where stores keep their order */
	start_trace();
	hftchan_ring_mark(&tx.pub.ring, 7, 6);
	hftchan_ring_commit(&tx.pub.ring, 7, 6);
	assert_string_equal(end_trace(),
			    "sS1=D9 sS2=D10 sS3=D11 sS4=D12 sS5=D13 R "
			    "R sS7=7 sS0=8 sS1=9 sS2=10 sS3=11 sS4=12 sS6=D14");
}

static void test_recv(void **state)
{
	unsigned char buf[16];

	(void)state;
	assert_string_equal(TRACE_OF(hftchan_try_recv(&rx.pub, buf, 16, NULL)), "LS1");
	hftchan_send(&tx.pub, payload, 16);
	assert_string_equal(TRACE_OF(hftchan_try_recv(&rx.pub, buf, 16, NULL)),
			    "LS1 lP1.0 lP1.1 A lS1");
}

static void test_recv_varlen(void **state)
{
	unsigned char buf[40];

	(void)state;
	hftchan_send(&tx.pub, payload, 17);
	/* the length is loaded once */
	assert_string_equal(TRACE_OF(hftchan_try_recv(&rx.pub, buf, 40, NULL)),
			    "LS1 lP1.0 lP1.1 lP1.2 lP1.3 A lS1");
	hftchan_send(&tx.pub, payload, 0);
	assert_string_equal(TRACE_OF(hftchan_try_recv(&rx.pub, buf, 40, NULL)), "LS2 lP2.0 A lS2");
}

/* the state that tells why a length is garbage is loaded after the length */
static void test_garbage_length(void **state)
{
	unsigned char buf[40];

	(void)state;
	hftchan_send(&tx.pub, payload, 17);
	memory[SLOT_SIZE + 8] = 41;
	assert_int_equal(strncmp(TRACE_OF(hftchan_try_recv(&rx.pub, buf, 40, NULL)),
				 "LS1 lP1.0 A LS1", 15), 0);
}

static void test_peek_and_advance(void **state)
{
	struct hftchan_msg msg;

	(void)state;
	hftchan_send(&tx.pub, payload, 16);
	assert_string_equal(TRACE_OF(hftchan_try_peek(&rx.pub, &msg)), "LS1");
	assert_string_equal(TRACE_OF(hftchan_advance(&rx.pub)), "A lS1");
}

static void test_recv_batch(void **state)
{
	unsigned char buf[4 * 16];
	struct hftchan_msg msgs[4];
	int i;

	(void)state;
	for (i = 0; i < 3; i++)
		hftchan_send(&tx.pub, payload, 16);
	/* one fence and one re-check, of the oldest, for all of them */
	assert_string_equal(TRACE_OF(hftchan_try_recv_batch(&rx.pub, buf, 16, msgs, 4)),
			    "LS1 lP1.0 lP1.1 LS2 lP2.0 lP2.1 LS3 lP3.0 lP3.1 LS4 A lS1");
	hftchan_send(&tx.pub, payload, 16);
	assert_string_equal(TRACE_OF(hftchan_try_recv_batch(&rx.pub, buf, 16, msgs, 1)),
			    "LS4 lP4.0 lP4.1 A lS4");
}

static void test_lap_looks_by_acquire(void **state)
{
	struct hftchan_cursor c = { .next = 1 };
	int i;

	(void)state;
	for (i = 0; i < 100; i++)
		hftchan_send(&tx.pub, payload, 16);
	TRACE_OF(hftchan_ring_lap(&rx.pub.ring, &c));
	assert_int_equal(trace[0], 'L');
	assert_null(strpbrk(trace, "lsRAP?"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_attach, setup),
		cmocka_unit_test_setup(test_send, setup),
		cmocka_unit_test_setup(test_reserve_and_commit, setup),
		cmocka_unit_test_setup(test_send_varlen, setup_varlen),
		cmocka_unit_test_setup(test_send_batch, setup),
		cmocka_unit_test_setup(test_recv, setup),
		cmocka_unit_test_setup(test_recv_varlen, setup_varlen),
		cmocka_unit_test_setup(test_garbage_length, setup_varlen),
		cmocka_unit_test_setup(test_peek_and_advance, setup),
		cmocka_unit_test_setup(test_recv_batch, setup),
		cmocka_unit_test_setup(test_lap_looks_by_acquire, setup),
	};

	return cmocka_run_group_tests_name("order", tests, NULL, NULL);
}
