// SPDX-License-Identifier: MIT
/*
 * The smallest use: a sender and a receiver thread of one process.
 * It is no pattern for two processes: that is market_data.c.
 * The calls are in <hftchan.h>. Build: cc hello.c $(pkg-config --cflags --libs libhftchan) -pthread
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include <hftchan.h>

static int fail(void)
{
	fprintf(stderr, "%s\n", hftchan_strerror_last());
	return 1;
}

static void *receive(void *arg)
{
	struct hftchan_rx *rx = arg;
	struct hftchan_msg msg;
	char text[32];

	/* -EPIPE: the sender has detached and everything was read */
	while (hftchan_recv(rx, text, sizeof(text), &msg) >= 0)
		printf("seq %llu: %s\n", (unsigned long long)msg.seq, text);
	return NULL;
}

int main(void)
{
	struct hftchan_attr attr = HFTCHAN_ATTR_INIT;
	struct hftchan *ch;
	struct hftchan_tx *tx;
	struct hftchan_rx *rx;
	pthread_t thread;
	char text[32] = "";
	int i;

	attr.payload_size = sizeof(text);
	attr.nr_slots = 64;
	/* the receiver joins before the thread starts, so that it misses nothing */
	if (hftchan_create("local:", &attr, &ch) || hftchan_attach(ch, 0, &tx) ||
	    hftchan_join(ch, HFTCHAN_JOIN_NEXT, 0, &rx))
		return fail();
	if (pthread_create(&thread, NULL, receive, rx))
		return 1;

	for (i = 1; i <= 3; i++) {
		snprintf(text, sizeof(text), "hello %d", i);
		hftchan_send(tx, text, sizeof(text));
	}
	hftchan_detach(tx);
	pthread_join(thread, NULL);
	hftchan_leave(rx);
	hftchan_close(ch);
	return 0;
}
