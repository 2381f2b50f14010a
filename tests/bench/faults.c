// SPDX-License-Identifier: MIT
/*
 * Counts the page faults of a million messages: sender and receiver thread, on local: and on shm:.
 * It is no test: it prints what the kernel counted.
 * What the figure means is in docs/performance.md.
 *
 * Usage: faults [FILE]    FILE: the same as JSON
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <hftchan.h>

#define NR_MESSAGES	1000000ULL
#define NR_SLOTS	65536	/* 4 MiB, so that every page of the ring is met some 15 times */
#define LEAD		(NR_SLOTS / 2)	/* the sender stays so close that nothing is lost */

struct message {
	uint64_t seq;
	unsigned char rest[48];
};

struct flow {
	struct hftchan_tx *tx;
	struct hftchan_rx *rx;
	pthread_barrier_t start;
	uint64_t received;
	struct rusage sender[2], receiver[2];	/* before and after */
};

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("faults: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void usage_now(struct rusage *usage)
{
	if (getrusage(RUSAGE_THREAD, usage))
		die("getrusage: %s", strerror(errno));
}

static void *receive(void *arg)
{
	struct flow *f = arg;
	struct message m;
	uint64_t i;

	pthread_barrier_wait(&f->start);
	usage_now(&f->receiver[0]);
	for (i = 1; i <= NR_MESSAGES; i++) {
		ssize_t n;

		do {	/* that the name is gone is no news to us */
			n = hftchan_recv(f->rx, &m, sizeof(m), NULL);
		} while (n == -ENODEV);
		if (n != sizeof(m) || m.seq != i)
			die("message %" PRIu64 " is not what was sent (%zd)", i, n);
		__atomic_store_n(&f->received, i, __ATOMIC_RELEASE);
	}
	usage_now(&f->receiver[1]);
	return NULL;
}

static void send_all(struct flow *f)
{
	struct message m = { 0 };

	pthread_barrier_wait(&f->start);
	usage_now(&f->sender[0]);
	usleep(50000);	/* the receiver meets all that it does when idle */
	for (m.seq = 1; m.seq <= NR_MESSAGES; m.seq++) {
		while (m.seq - __atomic_load_n(&f->received, __ATOMIC_ACQUIRE) > LEAD)
			HFTCHAN_PAUSE();
		if (hftchan_send(f->tx, &m, sizeof(m)))
			die("message %" PRIu64 " was not sent", m.seq);
	}
	usage_now(&f->sender[1]);
}

/* A million messages over a channel that nothing has touched since attach and join. */
static void run(const char *name, struct flow *f)
{
	struct hftchan_attr attr = HFTCHAN_ATTR_INIT;
	struct hftchan *ch;
	pthread_t thread;
	bool joined;

	memset(f, 0, sizeof(*f));
	attr.payload_size = sizeof(struct message);
	attr.nr_slots = NR_SLOTS;
	if (hftchan_create(name, &attr, &ch))
		die("%s", hftchan_strerror_last());
	joined = !hftchan_attach(ch, 0, &f->tx) && !hftchan_join(ch, HFTCHAN_JOIN_NEXT, 0, &f->rx);
	/* the name goes at once, so that nothing is left behind however this ends */
	if (strcmp(name, "local:") != 0)
		hftchan_destroy(name, HFTCHAN_DESTROY_FORCE);
	hftchan_close(ch);
	if (!joined)
		die("%s", hftchan_strerror_last());
	pthread_barrier_init(&f->start, NULL, 2);
	if (pthread_create(&thread, NULL, receive, f))
		die("can't start a thread");
	send_all(f);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&f->start);
	hftchan_leave(f->rx);
	hftchan_detach(f->tx);
}

static void report(const char *backend, const char *side, const struct rusage *usage, FILE *json,
		   bool last)
{
	long minor = usage[1].ru_minflt - usage[0].ru_minflt;
	long major = usage[1].ru_majflt - usage[0].ru_majflt;

	printf("%-8s %-9s %8" PRIu64 " %6ld %6ld\n", backend, side, (uint64_t)NR_MESSAGES, minor,
	       major);
	if (json)
		fprintf(json,
			"    { \"backend\": \"%s\", \"side\": \"%s\", \"messages\": %" PRIu64
			", \"minor\": %ld, \"major\": %ld }%s\n",
			backend, side, (uint64_t)NR_MESSAGES, minor, major, last ? "" : ",");
}

int main(int argc, char **argv)
{
	static struct flow flow;
	FILE *json = NULL;
	char shm[64];

	snprintf(shm, sizeof(shm), "shm:bench-faults-%d", getpid());
	if (argc > 1) {
		json = fopen(argv[1], "we");
		if (!json)
			die("%s: %s", argv[1], strerror(errno));
		fputs("{\n  \"benchmark\": \"faults\",\n  \"results\": [\n", json);
	}

	printf("page faults after attach and join\n");
	printf("%-8s %-9s %8s %6s %6s\n", "BACKEND", "SIDE", "MESSAGES", "MINOR", "MAJOR");
	/* not reported: brings this program's own code and stacks in */
	run("local:", &flow);
	run(shm, &flow);

	run("local:", &flow);
	report("local", "sender", flow.sender, json, false);
	report("local", "receiver", flow.receiver, json, false);
	run(shm, &flow);
	report("shm", "sender", flow.sender, json, false);
	report("shm", "receiver", flow.receiver, json, true);

	if (json) {
		fputs("  ]\n}\n", json);
		if (fclose(json))
			die("%s: %s", argv[1], strerror(errno));
	}
	return 0;
}
