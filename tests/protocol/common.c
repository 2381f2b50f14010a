// SPDX-License-Identifier: MIT
/*
 * Implementation of common.h.
 * It is no test and knows no test framework.
 * The contract is in common.h.
 */
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

/* of the sanitizers' runtime where it is linked in; they end a process without atexit() */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((__weak__));

#define MAX_NAMES	4096

static char names[MAX_NAMES][64];
static unsigned int nr_names, first_name;
static pid_t owner;

#define MAX_CHILDREN	64

static pid_t children[MAX_CHILDREN];	/* that were not reaped; 0: a free place */

_Noreturn void check_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: pid %d: check failed: %s; last error: %s\n", file, line,
		(int)getpid(), what, hftchan_strerror_last());
	if (getpid() == owner)
		clean_up(NULL);
	_exit(99);
}

_Noreturn void check_not_equal(const char *file, int line, const char *what, long long a,
			       long long b)
{
	char text[256];

	snprintf(text, sizeof(text), "%s (%lld, %lld)", what, a, b);
	check_failed(file, line, text);
}

/* ---------------------------------------------------------------- channels */

int clean_up(void **state)
{
	unsigned int i;

	(void)state;
	if (getpid() != owner)
		return 0;
	for (i = 0; i < MAX_CHILDREN; i++)
		if (children[i])
			kill_child(children[i]);
	for (; first_name < nr_names; first_name++)
		hftchan_destroy(names[first_name], HFTCHAN_DESTROY_FORCE);
	return 0;
}

static void at_exit(void)
{
	clean_up(NULL);
}

static void on_signal(int sig)
{
	/* not async-signal-safe; but the process ends anyway, and its files should go with it */
	signal(sig, SIG_DFL);
	if (sig == SIGALRM)
		fprintf(stderr, "pid %d: watchdog: still running, ended\n", (int)getpid());
	at_exit();
	if (sig == SIGALRM)
		_exit(98);
	raise(sig);
}

__attribute__((__constructor__)) static void set_up(void)
{
	static const int fatal[] = { SIGABRT, SIGALRM, SIGINT, SIGTERM };
	unsigned int i;

	owner = getpid();
	atexit(at_exit);
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(at_exit);
	for (i = 0; i < ARRAY_SIZE(fatal); i++)
		signal(fatal[i], on_signal);
	watchdog(240);
}

void watchdog(unsigned int seconds)
{
	alarm(seconds);
}

bool over_dev(void)
{
	const char *backend = getenv("HFTCHAN_TEST_BACKEND");

	CHECK(!backend || !strcmp(backend, "shm") || !strcmp(backend, "dev"));
	return backend && !strcmp(backend, "dev");
}

unsigned int while_open(void)
{
	return over_dev() ? HFTCHAN_DESTROY_FORCE : 0;
}

const char *new_name(const char *backend)
{
	if (!strcmp(backend, SHARED))
		backend = over_dev() ? "dev:" : "shm:";
	if (!strcmp(backend, "local:"))
		return backend;
	CHECK(nr_names < MAX_NAMES);
	snprintf(names[nr_names], sizeof(names[0]), "%st-%d-%u", backend, (int)getpid(), nr_names);
	return names[nr_names++];
}

const char *channel_path(const char *name)
{
	static char path[256];

	CHECK(!strncmp(name, "shm:", 4) || !strncmp(name, "dev:", 4));
	snprintf(path, sizeof(path), "/dev/%shftchan-%s", *name == 's' ? "shm/" : "", name + 4);
	return path;
}

const char *lock_path(const char *name)
{
	static char path[300];

	CHECK(!strncmp(name, "shm:", 4));
	snprintf(path, sizeof(path), "%s.lock", channel_path(name));
	return path;
}

static bool nothing_left_in(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	char mine[32];
	bool clean = true;

	CHECK(dir);
	snprintf(mine, sizeof(mine), "t-%d-", (int)getpid());
	while ((entry = readdir(dir))) {
		if (!strstr(entry->d_name, mine))
			continue;
		fprintf(stderr, "left behind: %s/%s\n", path, entry->d_name);
		clean = false;
	}
	closedir(dir);
	return clean;
}

void nothing_left_behind(void **state)
{
	(void)state;
	CHECK(nothing_left_in("/dev/shm"));
	CHECK(nothing_left_in("/dev"));
}

struct hftchan_attr attr_of(uint64_t payload_size, uint64_t nr_slots)
{
	struct hftchan_attr attr = HFTCHAN_ATTR_INIT;

	attr.payload_size = payload_size;
	attr.nr_slots = nr_slots;
	return attr;
}

struct hftchan *create_channel(const char *name, const struct hftchan_attr *attr)
{
	struct hftchan *ch = NULL;

	CHECK_EQ(hftchan_create(name, attr, &ch), 0);
	CHECK(ch);
	return ch;
}

struct hftchan *open_channel(const char *name)
{
	struct hftchan *ch = NULL;

	CHECK_EQ(hftchan_open(name, NULL, &ch), 0);
	CHECK(ch);
	return ch;
}

struct hftchan_tx *attach(struct hftchan *ch)
{
	struct hftchan_tx *tx = NULL;

	CHECK_EQ(hftchan_attach(ch, 0, &tx), 0);
	CHECK(tx);
	return tx;
}

struct hftchan_rx *join(struct hftchan *ch, enum hftchan_join_at at, uint64_t seq)
{
	struct hftchan_rx *rx = NULL;

	CHECK_EQ(hftchan_join(ch, at, seq, &rx), 0);
	CHECK(rx);
	return rx;
}

struct hftchan_info info_of(struct hftchan *ch)
{
	struct hftchan_info info = { .size = sizeof(info) };

	CHECK_EQ(hftchan_get_info(ch, &info), 0);
	return info;
}

uint64_t state_at(const struct hftchan_ring *ring, uint64_t seq)
{
	const unsigned char *slot = ring->slots + (seq & ring->slot_mask) * ring->slot_size;
	uint64_t v;

	memcpy(&v, slot, sizeof(v));
	return v;
}

/* ---------------------------------------------------------------- messages */

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

uint64_t random_next(uint64_t *state)
{
	return mix(*state += 0x9e3779b97f4a7c15ULL);
}

/* the bytes of word @i, from which a shorter last word takes its first ones */
static uint64_t message_word(uint64_t seq, uint64_t salt, size_t i)
{
	return mix(seq * 0x9e3779b97f4a7c15ULL + salt * 0xd1342543de82ef95ULL + i + 1);
}

void fill_message(void *buf, size_t len, uint64_t seq, uint64_t salt)
{
	unsigned char *p = buf;
	size_t i, n;

	for (i = 0; len; i++, p += n, len -= n) {
		uint64_t w = message_word(seq, salt, i);

		n = len < sizeof(w) ? len : sizeof(w);
		memcpy(p, &w, n);
	}
}

bool message_is(const void *buf, size_t len, uint64_t seq, uint64_t salt)
{
	const unsigned char *p = buf;
	size_t i, n;

	for (i = 0; len; i++, p += n, len -= n) {
		uint64_t w = message_word(seq, salt, i);

		n = len < sizeof(w) ? len : sizeof(w);
		if (memcmp(p, &w, n))
			return false;
	}
	return true;
}

void send_next(struct hftchan_tx *tx)
{
	unsigned char buf[8192];

	CHECK(tx->ring.payload_size <= sizeof(buf));
	fill_message(buf, tx->ring.payload_size, hftchan_tx_seq(tx), 0);
	CHECK_EQ(hftchan_send(tx, buf, tx->ring.payload_size), 0);
}

void send_many(struct hftchan_tx *tx, uint64_t count)
{
	while (count--)
		send_next(tx);
}

/* ---------------------------------------------------------------- processes and threads */

pid_t start_child(int (*fn)(void *arg), void *arg)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE };
	unsigned int i;
	pid_t pid;

	for (i = 0; getpid() == owner && children[i]; i++)
		CHECK(i < MAX_CHILDREN - 1);
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid && getpid() == owner)
		children[i] = pid;
	if (!pid) {
		/* cmocka's handlers would go on with the parent's tests, in the child */
		for (i = 0; i < ARRAY_SIZE(crashes); i++)
			signal(crashes[i], SIG_DFL);
		watchdog(240);	/* alarms aren't inherited */
		_exit(fn(arg));
	}
	return pid;
}

int reap(pid_t pid)
{
	unsigned int i;
	int status;

	while (waitpid(pid, &status, 0) < 0)
		CHECK(errno == EINTR);
	for (i = 0; i < MAX_CHILDREN; i++)
		if (children[i] == pid)
			children[i] = 0;
	return status;
}

void kill_child(pid_t pid)
{
	kill(pid, SIGKILL);
	reap(pid);
}

_Noreturn void wait_to_be_killed(void)
{
	for (;;)
		pause();
}

int in_child(int (*fn)(void *arg), void *arg)
{
	return reap(start_child(fn, arg));
}

void *shared_memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

void await_word(const uint64_t *word, uint64_t value)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) < value)
		sched_yield();
}

void publish_word(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}
