// SPDX-License-Identifier: MIT
/*
 * A sender flat out and receivers of every kind at once, on rings so small that they are lapped all
 * the time. Every word of every message follows from its seq: none may be torn, doubled, out of
 * order or missing without being counted. Prints TAP, progress to standard error.
 * It is no benchmark. Usage: stress SECONDS [--seed N]
 * The contract is in <hftchan.h>: `lost` is exact.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common.h"

#define MAX_PAYLOAD	200
#define BATCH		24

enum kind { RECV, TRY_RECV, PEEK, BATCHES, CLONED, CHURN, OLDEST, SLOW, NR_KINDS };

static const char *const kind_names[] = {
	"recv",
	"try_recv",
	"peek and advance",
	"batches",
	"clones",
	"joins and leaves all the time",
	"joins at the oldest",
	"slow",
};

/* what a receiver found; in shared memory, since it may be a process */
struct result {
	enum kind kind;
	bool process;
	uint64_t received, lost, lives, stale;
	uint64_t ready;
	uint64_t done;
	char wrong[256];	/* what, if anything */
};

static const struct phase {
	const char *backend;
	bool varlen;
	uint64_t nr_slots;
} phases[] = {
	{ SHARED, true, 8 },
	{ SHARED, false, 64 },
	{ SHARED, true, 1024 },
	{ "local:", false, 4 },
	{ "local:", true, 64 },
	{ "local:", false, 1024 },
};

/* one phase's circumstances */
static struct {
	const struct phase *phase;
	const char *name;
	struct hftchan *ch;	/* this process's handle */
	struct result *results;
	unsigned int nr_results;
	uint64_t *stop;		/* shared: the sender has gone */
	uint64_t *failed;	/* shared: somebody has failed, all end */
	uint64_t *turn;		/* shared: which receiver alone is awake; nr_results: all */
} run;

static uint64_t seed = 1;
static cpu_set_t cores;		/* that we may use */

static uint32_t length_of(uint64_t seq)
{
	uint64_t x = seq ^ seed;

	return run.phase->varlen ? (uint32_t)(random_next(&x) % (MAX_PAYLOAD + 1)) : MAX_PAYLOAD;
}

static uint32_t type_of(uint64_t seq)
{
	return run.phase->varlen ? (uint32_t)seq & 0xffffff : 0;
}

/* The sender has the first core, receivers share the others: or they would just take turns. */
static void keep_apart(bool sender)
{
	cpu_set_t mine;
	int cpu, seen = 0;

	if (CPU_COUNT(&cores) < 2)
		return;
	CPU_ZERO(&mine);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &cores) && sender == !seen++)
			CPU_SET(cpu, &mine);
	CHECK_EQ(sched_setaffinity(0, sizeof(mine), &mine), 0);
}

/* ---------------------------------------------------------------- one receiver */

struct life {
	struct result *r;
	struct hftchan_rx *rx;
	uint64_t first;		/* joined at */
	uint64_t received, reported, last;
};

static bool wrong(struct result *r, const char *what, uint64_t a, uint64_t b)
{
	__atomic_store_n(run.failed, 1, __ATOMIC_RELAXED);
	snprintf(r->wrong, sizeof(r->wrong), "%s (%llu, %llu); last error: %s", what,
		 (unsigned long long)a, (unsigned long long)b, hftchan_strerror_last());
	return false;
}

static bool stopped(void)
{
	return __atomic_load_n(run.stop, __ATOMIC_ACQUIRE) ||
	       __atomic_load_n(run.failed, __ATOMIC_RELAXED);
}

static bool take(struct life *s, const struct hftchan_msg *m, const void *data)
{
	if (m->seq != s->last + 1 + m->lost)
		return wrong(s->r, "seq is not the last one + 1 + lost", m->seq,
			     s->last + 1 + m->lost);
	if (m->len != length_of(m->seq))
		return wrong(s->r, "wrong length at seq", m->len, m->seq);
	if (m->type != type_of(m->seq))
		return wrong(s->r, "wrong type at seq", m->type, m->seq);
	if (!message_is(data, m->len, m->seq, seed))
		return wrong(s->r, "torn: payload is not that of seq", m->seq, m->seq);
	s->last = m->seq;
	s->reported += m->lost;
	s->received++;
	return true;
}

static bool start_life(struct life *s, struct result *r, struct hftchan_rx *rx)
{
	if (hftchan_rx_set_wait(rx, HFTCHAN_WAIT_YIELD, 100000000))
		return wrong(r, "set_wait failed", 0, 0);
	*s = (struct life){ .r = r, .rx = rx, .first = hftchan_rx_seq(rx) };
	s->last = s->first - 1;
	if (hftchan_rx_lost(rx))
		return wrong(r, "a new receiver has losses", hftchan_rx_lost(rx), 0);
	return true;
}

/* exact, wherever it stands now */
static bool end_life(struct life *s)
{
	uint64_t next = hftchan_rx_seq(s->rx), lost = hftchan_rx_lost(s->rx);

	if (s->received + lost != next - s->first)
		return wrong(s->r, "received + lost is not what was passed", s->received + lost,
			     next - s->first);
	if (s->reported > lost)
		return wrong(s->r, "more losses reported than counted", s->reported, lost);
	s->r->received += s->received;
	s->r->lost += lost;
	s->r->lives++;
	hftchan_leave(s->rx);
	return true;
}

/* One call of the kind. 1 more to come, 0 the sender has gone and all is read, -1 failed. */
static int receive(struct life *s, enum kind kind)
{
	unsigned char buf[BATCH][MAX_PAYLOAD];
	/* asked before: whoever sleeps long enough now times out beside messages */
	const bool over = stopped();
	struct hftchan_msg msgs[BATCH];
	ssize_t n;
	int i, err;

	switch (kind) {
	case TRY_RECV:
		n = hftchan_try_recv(s->rx, buf, MAX_PAYLOAD, msgs);
		if (n == -EAGAIN) {
			err = hftchan_wait(s->rx);
			if (!err)
				return 1;
			n = err;
		}
		break;
	case PEEK:
		n = hftchan_peek(s->rx, msgs);
		if (n < 0)
			break;
		memcpy(buf, msgs[0].data, msgs[0].len);
		err = hftchan_advance(s->rx);
		if (err == -ESTALE) {
			s->r->stale++;
			return 1;
		}
		if (err) {
			wrong(s->r, "advance failed", (uint64_t)-err, 0);
			return -1;
		}
		break;
	case BATCHES:
		n = hftchan_recv_batch(s->rx, buf, MAX_PAYLOAD, msgs, BATCH);
		break;
	default:
		n = hftchan_recv(s->rx, buf, MAX_PAYLOAD, msgs);
		break;
	}
	if (n == -EPIPE)
		return 0;
	if (n == -ETIMEDOUT)	/* who came after the sender has gone is not told so */
		return !over;
	if (n < 0) {
		wrong(s->r, "receive failed", (uint64_t)-n, 0);
		return -1;
	}
	if (kind != BATCHES)
		return take(s, msgs, buf) ? 1 : -1;
	for (i = 0; i < n; i++)
		if (!take(s, &msgs[i], msgs[i].data))
			return -1;
	return 1;
}

static struct hftchan_rx *join_at(struct result *r, struct hftchan *ch, enum hftchan_join_at at)
{
	struct hftchan_rx *rx = NULL;
	int err;

	do {
		err = hftchan_join(ch, at, 0, &rx);
	} while (err == -EAGAIN);	/* the sender is attaching */
	if (err)
		wrong(r, "join failed", (uint64_t)-err, 0);
	return rx;
}

/* Is another one to be alone with the sender? */
static bool is_not_my_turn(const struct result *r)
{
	uint64_t turn = __atomic_load_n(run.turn, __ATOMIC_RELAXED);

	return turn < run.nr_results && r != &run.results[turn] && !stopped();
}

/* until the sender has gone; @steps > 0: that many calls at most. As receive(). */
static int follow(struct life *s, unsigned int steps)
{
	const struct timespec nap = { .tv_nsec = 1000000 };
	unsigned int i = 0;
	int more;

	do {
		if (s->r->kind == SLOW && !(++i % 64) && !stopped())
			nanosleep(&nap, NULL);
		while (is_not_my_turn(s->r))
			nanosleep(&nap, NULL);
		more = receive(s, s->r->kind);
	} while (more > 0 && (!steps || --steps));
	return more;
}

/* From the first message to the last, by one receiver or by a chain of clones. */
static bool follow_all(struct result *r, struct hftchan *ch, struct hftchan_rx *rx)
{
	struct hftchan_info info = { .size = sizeof(info) };
	struct hftchan_rx *next;
	struct life s;
	int more;

	if (!start_life(&s, r, rx))
		return false;
	for (;;) {
		more = follow(&s, r->kind == CLONED ? 1000 : 0);
		if (more <= 0)
			break;
		if (hftchan_clone(s.rx, &next))
			return wrong(r, "clone failed", 0, 0);
		if (hftchan_rx_seq(next) != hftchan_rx_seq(s.rx))
			return wrong(r, "a clone is elsewhere", hftchan_rx_seq(next),
				     hftchan_rx_seq(s.rx));
		if (!end_life(&s) || !start_life(&s, r, next))
			return false;
	}
	if (more < 0 || !end_life(&s))
		return false;
	if (hftchan_get_info(ch, &info))
		return wrong(r, "get_info failed", 0, 0);
	if (r->received + r->lost != info.newest - info.first_seq + 1)
		return wrong(r, "received + lost is not all that was sent", r->received + r->lost,
			     info.newest - info.first_seq + 1);
	return true;
}

/* Short lives, one after the other. */
static bool come_and_go(struct result *r, struct hftchan *ch)
{
	static const enum hftchan_join_at ats[] = { HFTCHAN_JOIN_LAST, HFTCHAN_JOIN_NEXT,
						    HFTCHAN_JOIN_OLDEST };
	unsigned int i = 0;

	while (!stopped()) {
		struct hftchan_rx *rx = join_at(r, ch, r->kind == OLDEST ? HFTCHAN_JOIN_OLDEST :
									   ats[i++ % 3]);
		struct life s;

		if (!rx || !start_life(&s, r, rx) || follow(&s, 1 + i % 100) < 0 ||
		    !end_life(&s))
			return false;
	}
	return true;
}

static int receiver(void *arg)
{
	struct result *r = arg;
	struct hftchan *ch = r->process ? open_channel(run.name) : run.ch;
	struct hftchan_rx *rx;
	bool good;

	keep_apart(false);
	if (r->kind == CHURN || r->kind == OLDEST) {
		publish_word(&r->ready, 1);
		good = come_and_go(r, ch);
	} else {
		rx = join_at(r, ch, HFTCHAN_JOIN_NEXT);
		publish_word(&r->ready, 1);
		good = rx && follow_all(r, ch, rx);
	}
	if (r->process)
		hftchan_close(ch);
	publish_word(&r->done, good);
	return 0;
}

static void *receiver_thread(void *arg)
{
	receiver(arg);
	return NULL;
}

/* ---------------------------------------------------------------- the sender */

static void send_some(struct hftchan_tx *tx, uint64_t *rnd)
{
	static unsigned char bufs[BATCH][MAX_PAYLOAD];
	static struct hftchan_msg msgs[BATCH];
	uint64_t s = hftchan_tx_seq(tx), what = random_next(rnd);
	unsigned int nr = 1, i;

	switch (what % 4) {
	case 0:
		nr += what / 4 % BATCH;
		for (i = 0; i < nr; i++) {
			msgs[i] = (struct hftchan_msg){ .data = bufs[i], .len = length_of(s + i),
							.type = type_of(s + i) };
			fill_message(bufs[i], msgs[i].len, s + i, seed);
		}
		CHECK_EQ(hftchan_send_batch(tx, msgs, nr), 0);
		break;
	case 1:
		/* in place: first something else, that nobody may ever see */
		fill_message(hftchan_reserve(tx), length_of(s), s, seed + 1);
		fill_message(hftchan_reserve(tx), length_of(s), s, seed);
		CHECK_EQ(hftchan_commit_len(tx, length_of(s), type_of(s)), 0);
		break;
	default:
		fill_message(bufs[0], length_of(s), s, seed);
		CHECK_EQ(hftchan_send_type(tx, bufs[0], length_of(s), type_of(s)), 0);
	}
}

static void send_flat_out(struct hftchan_tx *tx, uint64_t duration_ns)
{
	uint64_t start = now_ns(), now, said = start, turned = start, turns = 0, rnd = seed;
	uint64_t received, lost;
	unsigned int i;

	do {
		for (i = 0; i < 1000; i++)
			send_some(tx, &rnd);
		now = now_ns();
		/* all at once, one alone, all, the next one: alone is where copies are overtaken */
		if (now - turned > 15000000) {
			turned = now;
			turns++;
			publish_word(run.turn, turns % 2 ? turns / 2 % run.nr_results :
							   run.nr_results);
		}
		if (now - said < 3000000000ULL)
			continue;
		said = now;
		received = lost = 0;
		for (i = 0; i < run.nr_results; i++) {
			received += run.results[i].received;
			lost += run.results[i].lost;
		}
		fprintf(stderr,
			"# %2llu s of %llu: %llu sent; finished lives of receivers: %llu received, "
			"%llu lost\n",
			(unsigned long long)((now - start) / 1000000000),
			(unsigned long long)(duration_ns / 1000000000),
			(unsigned long long)hftchan_tx_seq(tx) - 1, (unsigned long long)received,
			(unsigned long long)lost);
	} while (now - start < duration_ns && !__atomic_load_n(run.failed, __ATOMIC_RELAXED));
}

/* ---------------------------------------------------------------- phases */

static unsigned int nr_tests;
static int status;

static void tap(bool ok, const char *what)
{
	printf("%s %u - %s %llu slots%s: %s", ok ? "ok" : "not ok", ++nr_tests, run.phase->backend,
	       (unsigned long long)run.phase->nr_slots, run.phase->varlen ? " varlen" : "", what);
	if (!ok)
		status = 1;
}

static void report(struct result *r)
{
	char what[64];
	/* a test that nothing could have failed is none */
	bool tried = r->received && (r->kind != SLOW || r->lost);

	snprintf(what, sizeof(what), "%s, %s", kind_names[r->kind],
		 r->process ? "process" : "thread");
	tap(r->done && tried && !r->wrong[0], what);
	printf(": %llu received, %llu lost, %llu lives, %llu stale peeks\n",
	       (unsigned long long)r->received, (unsigned long long)r->lost,
	       (unsigned long long)r->lives, (unsigned long long)r->stale);
	if (r->wrong[0])
		printf("# %s\n", r->wrong);
	else if (!tried)
		printf("# nothing %s: this tested nothing\n", r->received ? "lost" : "received");
	else if (!r->done)
		printf("# it ended without a word\n");
}

static void run_phase(const struct phase *phase, uint64_t duration_ns)
{
	const bool processes = !strcmp(phase->backend, SHARED);
	struct hftchan_check_result check = { .size = sizeof(check) };
	struct hftchan_attr attr = attr_of(MAX_PAYLOAD, phase->nr_slots);
	uint64_t *flags = shared_memory(4096);
	struct result *results = shared_memory(2 * NR_KINDS * sizeof(*results));
	pthread_t threads[NR_KINDS];
	pid_t pids[NR_KINDS];
	struct hftchan_tx *tx;
	unsigned int i;

	run.phase = phase;
	run.name = new_name(phase->backend);
	run.results = results;
	run.nr_results = processes ? 2 * NR_KINDS : NR_KINDS;
	run.stop = &flags[0];
	run.failed = &flags[8];
	run.turn = &flags[16];
	*run.turn = run.nr_results;
	attr.flags = phase->varlen ? HFTCHAN_F_VARLEN : 0;
	run.ch = create_channel(run.name, &attr);
	fprintf(stderr, "# %s %llu slots%s\n", phase->backend, (unsigned long long)phase->nr_slots,
		phase->varlen ? ", variable length" : "");

	for (i = 0; i < run.nr_results; i++) {
		results[i].kind = (enum kind)(i % NR_KINDS);
		results[i].process = i >= NR_KINDS;
	}
	/* processes first: a fork beside threads would take a copy of whatever they hold */
	for (i = NR_KINDS; i < run.nr_results; i++)
		pids[i - NR_KINDS] = start_child(receiver, &results[i]);
	for (i = 0; i < NR_KINDS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, receiver_thread, &results[i]), 0);
	for (i = 0; i < run.nr_results; i++)
		await_word(&results[i].ready, 1);

	keep_apart(true);
	tx = attach(run.ch);
	send_flat_out(tx, duration_ns);
	hftchan_detach(tx);
	publish_word(run.stop, 1);
	for (i = 0; i < NR_KINDS; i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	for (i = NR_KINDS; i < run.nr_results; i++) {
		int code = reap(pids[i - NR_KINDS]);

		if (code) {
			results[i].done = 0;
			snprintf(results[i].wrong, sizeof(results[i].wrong), "wait status %#x",
				 (unsigned int)code);
		}
	}

	for (i = 0; i < run.nr_results; i++)
		report(&results[i]);
	tap(!hftchan_check(run.ch, &check) && check.nr_dirty == 2 && check.newest > phase->nr_slots,
	    "the ring is legal");
	printf(": newest %llu\n", (unsigned long long)check.newest);
	fflush(stdout);
	hftchan_close(run.ch);
	clean_up(NULL);
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "seed", required_argument, NULL, 's' },
						 { NULL, 0, NULL, 0 } };
	unsigned long seconds = 0;
	unsigned int i;
	char *end = NULL;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) == 's')
		seed = strtoull(optarg, NULL, 0);
	if (opt == -1 && optind == argc - 1)
		seconds = strtoul(argv[optind], &end, 10);
	if (!seconds || *end) {
		fprintf(stderr, "usage: stress SECONDS [--seed N]\n");
		return 2;
	}
	watchdog((unsigned int)seconds + 100);
	CHECK_EQ(sched_getaffinity(0, sizeof(cores), &cores), 0);
	printf("# seed %llu\n", (unsigned long long)seed);
	for (i = 0; i < ARRAY_SIZE(phases); i++)
		run_phase(&phases[i], seconds * 1000000000 / ARRAY_SIZE(phases));
	nothing_left_behind(NULL);
	printf("1..%u\n", nr_tests);
	return status;
}
