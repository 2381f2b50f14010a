// SPDX-License-Identifier: MIT
/*
 * A publisher and subscribers in processes of their own, with a struct as message.
 *
 *	market_data pub NAME COUNT	send COUNT quotes; the next run goes on after the last one
 *	market_data sub NAME COUNT	print COUNT quotes, from the oldest that is still there
 *
 * It is no feed handler. The calls are in <hftchan.h>.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hftchan.h>

/* goes through shared memory as it is: fixed sizes, no pointers, no gaps */
struct quote {
	uint64_t instrument;
	int64_t bid, ask;	/* in 1/10000 */
	uint32_t bid_size, ask_size;
};

/* what both sides call this struct; they refuse to talk when it differs */
#define QUOTE_V1	UINT64_C(0x51554f5445000001)

static int fail(void)
{
	fprintf(stderr, "%s\n", hftchan_strerror_last());
	return 1;
}

static int publish(const char *name, unsigned long count)
{
	struct hftchan_attr attr = HFTCHAN_ATTR_INIT;
	struct hftchan_expect expect = HFTCHAN_EXPECT_INIT;
	struct hftchan *ch;
	struct hftchan_tx *tx;
	int err;

	attr.payload_size = expect.payload_size = sizeof(struct quote);
	attr.type_tag = expect.type_tag = QUOTE_V1;
	expect.check_type = 1;
	attr.nr_slots = 1024;
	attr.mode = 0644;	/* everybody may read */
	err = hftchan_create(name, &attr, NULL);
	if (err && err != -EEXIST)
		return fail();
	if (hftchan_open(name, &expect, &ch) || hftchan_attach(ch, 0, &tx))
		return fail();
	/* after a crash, too: every message committed before it is there, none is sent twice */
	printf("first seq of this run: %" PRIu64 "\n", hftchan_tx_seq(tx));

	while (count--) {
		/* written in place: no copy. No receiver sees it before the commit */
		struct quote *q = hftchan_reserve(tx);
		uint64_t seq = hftchan_tx_seq(tx);

		q->instrument = 4711;
		q->bid = 1000000 + (int64_t)(seq % 100);
		q->ask = q->bid + 100;
		q->bid_size = q->ask_size = 10;
		hftchan_commit(tx);
	}
	hftchan_detach(tx);
	hftchan_close(ch);
	return 0;
}

static int subscribe(const char *name, unsigned long count)
{
	struct hftchan_expect expect = HFTCHAN_EXPECT_INIT;
	struct hftchan_msg msg = { 0 };
	struct hftchan *ch;
	struct hftchan_rx *rx;
	struct quote q = { 0 };
	ssize_t n;

	expect.payload_size = sizeof(q);
	expect.type_tag = QUOTE_V1;
	expect.check_type = 1;
	if (hftchan_open(name, &expect, &ch) || hftchan_join(ch, HFTCHAN_JOIN_OLDEST, 0, &rx))
		return fail();
	while (count) {
		n = hftchan_recv(rx, &q, sizeof(q), &msg);
		if (n == -EPIPE) {
			fprintf(stderr, "the publisher has gone; waiting for the next one\n");
			continue;
		}
		if (n < 0)
			return fail();
		/* counted exactly: a subscriber that is too slow knows what it has missed */
		if (msg.lost)
			printf("%" PRIu64 " lost\n", msg.lost);
		printf("seq %" PRIu64 " instrument %" PRIu64 " bid %" PRId64 " ask %" PRId64 "\n",
		       msg.seq, q.instrument, q.bid, q.ask);
		count--;
	}
	hftchan_leave(rx);
	hftchan_close(ch);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long count = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;

	if (count && !strcmp(argv[1], "pub"))
		return publish(argv[2], count);
	if (count && !strcmp(argv[1], "sub"))
		return subscribe(argv[2], count);
	fprintf(stderr, "usage: %s pub|sub NAME COUNT\n", argv[0]);
	return 2;
}
