// SPDX-License-Identifier: MIT
/*
 * Senders that are killed at random moments, hundreds in a row, each resuming what the one before
 * left, while one receiver reads through all of them. Every message carries its sender's number and
 * a checksum: none that was committed may be lost, none doubled, none torn, none of a dead sender
 * appear that it did not commit. Prints TAP. Usage: crash [--seconds N] [--seed N]
 * It doesn't choose the instruction at which a sender dies: chance does, often enough.
 * The contract is hftchan_attach() in <hftchan.h>.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "common.h"

#define NR_SLOTS	4096
/* how far senders run ahead of the receiver, so that it loses nothing */
#define WINDOW		2048
#define BATCH		16
#define MAX_LIVES	200000

struct message {
	uint64_t life;
	unsigned char body[104];
};

/* what the processes tell each other */
struct shared {
	char name[64];
	uint64_t read;		/* by the receiver: the seq it wants next */
	uint64_t end;		/* set at last: the receiver stops when it wants this seq */
	uint64_t notices;	/* -EPIPE that it got */
	uint64_t committed;	/* by the sender: all before this seq is known to be sent */
	uint64_t in_hand;	/* and all from this one on is known not to be begun */
	uint64_t attached;	/* by each sender: its number, once it has the role */
	uint64_t singles, batches, in_place;	/* that were finished */
	uint64_t start[MAX_LIVES];	/* the first seq of each; 0: it never attached */
};

static struct shared *shared;
static uint64_t seed = 1;

static void fill(struct message *m, uint64_t seq, uint64_t life)
{
	m->life = life;
	fill_message(m->body, sizeof(m->body), seq, life);
}

/* ---------------------------------------------------------------- a sender's life */

/*
 * The kernel's timer kills, from within whatever this process does just then. A parent that kills
 * would, on a busy machine, mostly find it waiting for its receiver.
 */
static void die_in(uint64_t ns)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
	const struct itimerspec when = { .it_value.tv_nsec = (long)ns + 1 };
	timer_t timer;

	CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	CHECK_EQ(timer_settime(timer, 0, &when, NULL), 0);
}

static int send_until_killed(void *arg)
{
	const uint64_t life = *(const uint64_t *)arg;
	uint64_t rnd = seed + life, before = __atomic_load_n(&shared->committed, __ATOMIC_ACQUIRE);
	static struct message bufs[BATCH];
	static struct hftchan_msg msgs[BATCH];
	struct hftchan *ch = open_channel(shared->name);
	const bool early = random_next(&rnd) % 3 == 0;
	struct hftchan_tx *tx = NULL;
	unsigned int i;
	uint64_t s;

	/* some in or near the attach, the others after a while of sending */
	if (early)
		die_in(random_next(&rnd) % 400000);
	CHECK_EQ(hftchan_attach(ch, random_next(&rnd) % 2 ? HFTCHAN_ATTACH_VERIFY : 0, &tx), 0);
	s = hftchan_tx_seq(tx);
	/* all that is known to be sent is there, and nothing that was not begun */
	CHECK(s >= before && s <= __atomic_load_n(&shared->in_hand, __ATOMIC_ACQUIRE));
	publish_word(&shared->start[life], s);
	publish_word(&shared->committed, s);
	publish_word(&shared->attached, life);
	if (!early)
		die_in(random_next(&rnd) % 400000);
	for (;;) {
		uint64_t nr = 1, what = random_next(&rnd);

		s = hftchan_tx_seq(tx);
		if (what % 3 == 0)
			nr = 1 + what / 3 % BATCH;
		await_word(&shared->read, s + nr > WINDOW ? s + nr - WINDOW : 0);
		publish_word(&shared->in_hand, s + nr);
		switch (what % 3) {
		case 0:
			for (i = 0; i < nr; i++) {
				fill(&bufs[i], s + i, life);
				msgs[i] = (struct hftchan_msg){ .data = &bufs[i],
								.len = sizeof(bufs[i]) };
			}
			CHECK_EQ(hftchan_send_batch(tx, msgs, (unsigned int)nr), 0);
			shared->batches++;
			break;
		case 1:
			fill(hftchan_reserve(tx), s, life);
			CHECK_EQ(hftchan_commit(tx), 0);
			shared->in_place++;
			break;
		default:
			fill(&bufs[0], s, life);
			CHECK_EQ(hftchan_send(tx, &bufs[0], sizeof(bufs[0])), 0);
			shared->singles++;
		}
		publish_word(&shared->committed, s + nr);
	}
}

/* ---------------------------------------------------------------- the receiver of all lives */

static int read_through(void *arg)
{
	struct hftchan *ch = open_channel(shared->name);
	struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0);
	uint64_t want = 1, life = 0;

	(void)arg;
	CHECK_EQ(hftchan_rx_seq(rx), 1);
	CHECK_EQ(hftchan_rx_set_wait(rx, HFTCHAN_WAIT_YIELD, 20000000), 0);
	publish_word(&shared->read, 1);
	for (;;) {
		struct message m;
		struct hftchan_msg msg;
		ssize_t n = hftchan_recv(rx, &m, sizeof(m), &msg);

		if (n == -EPIPE || n == -ETIMEDOUT) {
			shared->notices += n == -EPIPE;
			if (__atomic_load_n(&shared->end, __ATOMIC_ACQUIRE) == want)
				break;
			continue;
		}
		CHECK_EQ(n, sizeof(m));
		CHECK_EQ(msg.lost, 0);
		CHECK_EQ(msg.seq, want);
		/* of one life, that of the sender whose seq this was, and whole */
		CHECK(m.life >= life && m.life < MAX_LIVES);
		life = m.life;
		CHECK(message_is(m.body, sizeof(m.body), want, life));
		CHECK(__atomic_load_n(&shared->start[life], __ATOMIC_ACQUIRE));
		CHECK(want >= shared->start[life]);
		want++;
		publish_word(&shared->read, want);
	}
	CHECK_EQ(hftchan_rx_lost(rx), 0);
	return 0;
}

/* ---------------------------------------------------------------- lives and deaths */

static unsigned int nr_tests;
static int failures;

__attribute__((__format__(__printf__, 2, 3)))
static void tap(bool ok, const char *fmt, ...)
{
	va_list args;

	printf("%s %u - ", ok ? "ok" : "not ok", ++nr_tests);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	failures += !ok;
}

struct sums {
	uint64_t lives, before_attach, in_attach, at_once;
	uint64_t bad_epoch, bad_newest, bad_deaths, illegal;
	uint64_t marks[NR_SLOTS + 1];
};

/* One sender from fork to SIGKILL, then a look at what it left. False: it ended otherwise. */
static bool one_life(struct hftchan *ch, uint64_t life, struct sums *sums)
{
	struct hftchan_check_result check = { .size = sizeof(check) };
	struct hftchan_info before = info_of(ch), after;
	bool attached;
	int code;

	code = in_child(send_until_killed, &life);
	if (!WIFSIGNALED(code) || WTERMSIG(code) != SIGKILL) {
		printf("# life %llu ended with wait status %#x\n", (unsigned long long)life,
		       (unsigned int)code);
		return false;
	}

	after = info_of(ch);
	attached = __atomic_load_n(&shared->attached, __ATOMIC_ACQUIRE) == life;
	sums->lives++;
	sums->before_attach += after.epoch == before.epoch;
	sums->in_attach += !attached && after.epoch > before.epoch;
	sums->at_once += attached && after.newest + 1 == shared->start[life];
	/* by one; and surely so when it has come back from the attach */
	if (after.epoch != before.epoch + 1 && (attached || after.epoch != before.epoch))
		sums->bad_epoch++;
	if (after.newest + 1 < shared->committed || after.newest + 1 > shared->in_hand ||
	    after.newest < before.newest)
		sums->bad_newest++;
	/* deaths are counted by the next one, or at once (dev:): at most one each */
	if (after.nr_deaths < before.nr_deaths || after.nr_deaths > before.nr_deaths + 1)
		sums->bad_deaths++;
	if (hftchan_check(ch, &check) || check.newest != after.newest)
		sums->illegal++;
	else
		sums->marks[check.nr_dirty]++;
	return true;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "seconds", required_argument, NULL, 't' },
						 { "seed", required_argument, NULL, 's' },
						 { NULL, 0, NULL, 0 } };
	struct hftchan_attr attr = attr_of(sizeof(struct message), NR_SLOTS);
	uint64_t deadline, said, life, seconds = 15;
	struct sums sums = { 0 };
	struct hftchan_info info;
	struct hftchan *ch;
	unsigned int i, kinds = 0;
	bool alive = true;
	siginfo_t ended = { 0 };
	pid_t receiver;
	int opt, code;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == '?') {
			fprintf(stderr, "usage: crash [--seconds N] [--seed N]\n");
			return 2;
		}
		*(opt == 's' ? &seed : &seconds) = strtoull(optarg, NULL, 0);
	}
	watchdog((unsigned int)seconds + 100);
	shared = shared_memory(sizeof(*shared));
	shared->in_hand = 1;
	strcpy(shared->name, new_name(SHARED));
	ch = create_channel(shared->name, &attr);
	receiver = start_child(read_through, NULL);
	await_word(&shared->read, 1);
	printf("# seed %llu\n", (unsigned long long)seed);

	deadline = now_ns() + seconds * 1000000000;
	said = now_ns();
	for (life = 1; alive && life < MAX_LIVES && now_ns() < deadline; life++) {
		alive = one_life(ch, life, &sums);
		if (!waitid(P_PID, (id_t)receiver, &ended, WEXITED | WNOHANG | WNOWAIT) &&
		    ended.si_pid == receiver) {
			printf("# the receiver ended before the end\n");
			alive = false;
		}
		if (now_ns() - said > 3000000000ULL) {
			said = now_ns();
			fprintf(stderr, "# %llu lives, newest %llu\n",
				(unsigned long long)sums.lives,
				(unsigned long long)info_of(ch).newest);
		}
	}

	info = info_of(ch);
	publish_word(&shared->end, info.newest + 1);
	code = reap(receiver);
	for (i = 0; i <= NR_SLOTS; i++)
		kinds += sums.marks[i] > 0;

	tap(alive && sums.lives >= 100,
	    "%llu senders killed, %llu before their epoch, %llu in the rest of the attach, "
	    "%llu before their first message",
	    (unsigned long long)sums.lives, (unsigned long long)sums.before_attach,
	    (unsigned long long)sums.in_attach, (unsigned long long)sums.at_once);
	tap(shared->singles && shared->batches && shared->in_place,
	    "by %llu sends, %llu batches and %llu messages written in place",
	    (unsigned long long)shared->singles, (unsigned long long)shared->batches,
	    (unsigned long long)shared->in_place);
	tap(code == 0 && shared->read == info.newest + 1 && info.newest > 1000,
	    "all %llu messages received, each once, whole, in order, from the right sender",
	    (unsigned long long)info.newest);
	tap(shared->notices > 0, "%llu times told that a sender was gone",
	    (unsigned long long)shared->notices);
	tap(!sums.bad_newest && sums.lives,
	    "what was committed stayed, what was not begun never came");
	tap(!sums.bad_epoch && info.epoch >= 100 && info.epoch <= sums.lives,
	    "each attach grew the epoch by one: %llu", (unsigned long long)info.epoch);
	tap(!sums.bad_deaths && info.nr_deaths + 1 >= info.epoch - sums.in_attach &&
		    info.nr_deaths < sums.lives + over_dev(),
	    "deaths counted: %llu", (unsigned long long)info.nr_deaths);
	tap(!sums.illegal && sums.lives && kinds > 2,
	    "each ring left was legal; with %u different numbers of marks", kinds);
	hftchan_close(ch);
	clean_up(NULL);
	nothing_left_behind(NULL);
	tap(true, "nothing left behind");
	printf("1..%u\n", nr_tests);
	return failures ? 1 : 0;
}
