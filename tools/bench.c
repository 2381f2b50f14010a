// SPDX-License-Identifier: MIT
/*
 * `hftchan bench ping`: the round trip over two channels, beside the floor of the two cores used.
 * It is not a test: nothing is asserted on time; only a wrong byte is an error.
 * How it measures and what the figures mean is in docs/performance.md.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

#include <json-c/json.h>
#include <libsmartcols/libsmartcols.h>

#include "tool.h"

#define BLOCK_NS     4e6	/* long against an interrupt, short against a change of regime */
#define REGIME_NS    1e6	/* of the tight floor, which only tells the regime */
#define NEAR_NS	     250.0	/* two vCPUs of one core complex are below, of two are above */
#define SAMPLES_MIN  16
#define SAMPLES_MAX  (1U << 17)
#define RING_BYTES   (1ULL << 20)	/* rings that stay in the cores' own caches */
#define NR_SLOTS_MAX 1024
#define MAX_PAYLOADS 16
#define PAYLOAD_MAX  (1U << 20)

/* ---------------------------------------------------------------- clock */

static struct {
	bool counter;	/* the CPU's own, constant one; otherwise CLOCK_MONOTONIC_RAW */
	double tick_ns;
	double step;	/* ticks: what one read differs from the next; bounds the resolution */
} ticks;

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Waits for all that comes before, so that it ends what it measures. */
static inline uint64_t stamp(void)
{
#if defined(__x86_64__)
	unsigned int cpu;

	if (ticks.counter)
		return __rdtscp(&cpu);
#elif defined(__aarch64__)
	uint64_t v;

	if (ticks.counter) {
		__asm__ __volatile__("isb; mrs %0, cntvct_el0"
				     : "=r"(v)::"memory");
		return v;
	}
#endif
	return clock_ns();
}

static bool has_constant_counter(void)
{
#if defined(__x86_64__)
	unsigned int a, b, c, d;

	return __get_cpuid(0x80000001, &a, &b, &c, &d) && (d & (1U << 27)) &&	/* rdtscp */
	       __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & (1U << 8));	/* invariant */
#elif defined(__aarch64__)
	return true;
#else
	return false;
#endif
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void calibrate(void)
{
	const struct timespec pause = { .tv_nsec = 50000000 };
	uint64_t from_ns, from, to_ns, to, last, diffs[1000];
	size_t i = 0;

	ticks.counter = has_constant_counter();
	from_ns = clock_ns();
	from = stamp();
	nanosleep(&pause, NULL);
	to_ns = clock_ns();
	to = stamp();
	ticks.tick_ns = (double)(to_ns - from_ns) / (double)(to - from);

	for (last = stamp(); i < 1000; last = to) {
		to = stamp();
		if (to > last)
			diffs[i++] = to - last;
	}
	qsort(diffs, 1000, sizeof(*diffs), compare_u64);
	ticks.step = (double)diffs[500];
}

/* ---------------------------------------------------------------- distributions */

/* Exact below 1024 ticks, to 1 in 512 above. */
#define HIST_BITS  9
#define HIST_LIMIT (1ULL << 40)
#define HIST_BINS  ((32ULL - 1) << HIST_BITS)

struct hist {
	uint64_t nr, max;
	uint64_t bins[HIST_BINS + (1 << HIST_BITS)];
};

static size_t hist_bin(uint64_t v)
{
	unsigned int shift = 0;

	if (v >= HIST_LIMIT)
		v = HIST_LIMIT - 1;
	if (v >> (HIST_BITS + 1))
		shift = 63 - (unsigned int)__builtin_clzll(v) - HIST_BITS;
	return ((size_t)shift << HIST_BITS) + (v >> shift);
}

static double hist_value(size_t bin)
{
	size_t shift = (bin >> (HIST_BITS + 1)) ? (bin >> HIST_BITS) - 1 : 0;

	return (double)((bin - (shift << HIST_BITS)) << shift) + (double)((1ULL << shift) - 1) / 2;
}

static void hist_add(struct hist *h, const uint64_t *samples, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		h->bins[hist_bin(samples[i])]++;
		if (samples[i] > h->max)
			h->max = samples[i];
	}
	h->nr += nr;
}

static void hist_merge(struct hist *to, const struct hist *from)
{
	size_t last = hist_bin(from->max);

	for (size_t i = 0; i <= last; i++)
		to->bins[i] += from->bins[i];
	if (from->max > to->max)
		to->max = from->max;
	to->nr += from->nr;
}

/*
 * In ns, not coarser than the clock: some counters advance in steps of 10 ns, so that a plain
 * median would be one of a few values. A sample therefore counts as spread evenly over one step
 * around it.
 */
static double hist_quantile_ns(const struct hist *h, double p)
{
	const size_t last = hist_bin(h->max);
	const double want = p * (double)h->nr;
	double lo = 0, hi = (double)h->max + ticks.step;

	while (hi - lo > 0.01 && hi - lo > hi * 1e-4) {
		double x = (lo + hi) / 2, below = 0;

		for (size_t i = 0; i <= last; i++) {
			double part = (x - hist_value(i)) / ticks.step + 0.5;

			if (part <= 0)
				break;
			below += (double)h->bins[i] * (part < 1 ? part : 1);
		}
		if (below < want)
			lo = x;
		else
			hi = x;
	}
	return hi * ticks.tick_ns;
}

/* ---------------------------------------------------------------- what is measured */

enum kind {
	FLOOR_TIGHT,	/* two lines, one per direction, polled without a pause: tells the regime */
	FLOOR,	/* the same with one pause per failed poll: what a round trip must cost */
	CHANNEL,
	NR_KINDS,
	QUIT = NR_KINDS,
};

enum regime {
	NEAR,
	FAR,
	NR_REGIMES,
};

static const char *const regime_names[] = { "near", "far" };

/* the two ends, and their threads or processes */
enum who {
	PING,	/* takes the time */
	PONG,	/* sends back what it gets */
};

/* All blocks of one payload in one regime. */
struct series {
	struct hist rtt, floor;
	double *ratios;	/* of each block: channel's median to floor's */
	size_t nr, room;
};

struct payload {
	uint32_t bytes;
	char names[2][HFTCHAN_NAME_MAX + 8];	/* of the channel that PING, that PONG sends on */
	struct hftchan_tx *tx[2];	/* each end's */
	struct hftchan_rx *rx[2];
	unsigned char *out, *in, *reply;	/* PING's two, PONG's */
	uint64_t sent;
	uint32_t block[NR_KINDS];	/* round trips of the next block */
	struct series series[NR_REGIMES];
};

/* What both ends see. A line has one writer, and lines are fetched in pairs: hence 128. */
struct shared {
	_Alignas(128) uint64_t request;	/* the floor's two lines */
	_Alignas(128) uint64_t reply;
	_Alignas(128) uint64_t order;	/* PING: number of the block below, of which each has one */
	enum kind kind;
	uint32_t payload;
	uint32_t nr;
	_Alignas(128) uint32_t attached[2];	/* this end can send */
	int failed;
	char error[512];
};

struct bench {
	struct shared *shared;
	struct payload payloads[MAX_PAYLOADS];
	uint32_t nr_payloads;
	size_t layout;	/* index in layouts */
	bool processes;
	const char *backend;	/* of the channels between processes: an element of backends */
	int cpus[2];
	uint64_t ns;	/* how long to measure */
	bool json;
	const char *save_path;	/* a file for the JSON, too */
	int save;
	pid_t child;	/* PONG's, 0: none */
	uint64_t *samples;
	uint64_t blocks;
};

static const struct {
	const char *name;
	uint32_t layout;
} layouts[] = {
	{ "packed", HFTCHAN_LAYOUT_PACKED },
};

static const char *const backends[] = { "shm", "dev" };

/* The first error of either end ends both; PING's thread prints it. */
__attribute__((format(printf, 2, 3))) static void fail(struct bench *b, const char *fmt, ...)
{
	va_list args;

	if (__atomic_exchange_n(&b->shared->failed, 1, __ATOMIC_ACQ_REL))
		return;
	va_start(args, fmt);
	vsnprintf(b->shared->error, sizeof(b->shared->error), fmt, args);
	va_end(args);
}

/* Is there no use in waiting for the other end? */
static bool peer_gone(struct bench *b)
{
	int status;

	if (b->child && waitpid(b->child, &status, WNOHANG) == b->child) {
		b->child = 0;
		fail(b, "the second process ended before its time (%s); run it again",
		     WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "by exit");
	}
	return __atomic_load_n(&b->shared->failed, __ATOMIC_RELAXED);
}

/* ---------------------------------------------------------------- the loops */

/* with a constant @pause: a tight loop has no branch on it */
#define ALWAYS_INLINE	inline __attribute__((always_inline))

static ALWAYS_INLINE bool await(struct bench *b, const uint64_t *p, uint64_t v, bool pause)
{
	uint32_t polls = 0;

	while (__atomic_load_n(p, __ATOMIC_ACQUIRE) != v) {
		if (pause)
			HFTCHAN_PAUSE();
		if (!(++polls & 0xfffff) && peer_gone(b))
			return false;
	}
	return true;
}

static ALWAYS_INLINE bool floor_ping(struct bench *b, uint32_t nr, bool pause)
{
	struct shared *s = b->shared;
	uint64_t seq = s->request;

	for (uint32_t i = 0; i < nr; i++) {
		uint64_t from = stamp();

		__atomic_store_n(&s->request, ++seq, __ATOMIC_RELEASE);
		if (!await(b, &s->reply, seq, pause))
			return false;
		b->samples[i] = stamp() - from;
	}
	return true;
}

static ALWAYS_INLINE bool floor_pong(struct bench *b, uint32_t nr, bool pause)
{
	struct shared *s = b->shared;
	uint64_t seq = s->reply;

	for (uint32_t i = 0; i < nr; i++) {
		if (!await(b, &s->request, ++seq, pause))
			return false;
		__atomic_store_n(&s->reply, seq, __ATOMIC_RELEASE);
	}
	return true;
}

/* Every byte differs from that of the message before. */
static void fill(unsigned char *buf, uint32_t bytes, uint64_t seq)
{
	for (uint32_t i = 0; i < bytes; i += sizeof(uint64_t)) {
		uint64_t v = seq * 0x0101010101010101ULL + i;

		memcpy(buf + i, &v, sizeof(v));	/* buffers end at a multiple of 8 */
	}
}

static bool receive(struct bench *b, struct payload *p, enum who who, unsigned char *buf)
{
	ssize_t n;

	do {
		n = hftchan_recv(p->rx[who], buf, p->bytes, NULL);
	} while (n == -ETIMEDOUT && !peer_gone(b));
	if (n == (ssize_t)p->bytes)
		return true;
	if (!peer_gone(b))
		fail(b, "%s: receive: %s", p->names[!who], strerror((int)-n));
	return false;
}

static bool channel_ping(struct bench *b, struct payload *p, uint32_t nr)
{
	uint64_t seq = p->sent;

	for (uint32_t i = 0; i < nr; i++) {
		uint64_t from;

		fill(p->out, p->bytes, ++seq);
		from = stamp();
		hftchan_send(p->tx[PING], p->out, p->bytes);
		if (!receive(b, p, PING, p->in))
			return false;
		b->samples[i] = stamp() - from;
		if (memcmp(p->in, p->out, p->bytes) != 0) {
			fail(b, "%s, %s: round trip %" PRIu64 " of %" PRIu32
			     " bytes came back with other bytes than were sent",
			     p->names[PING], p->names[PONG], seq, p->bytes);
			return false;
		}
	}
	p->sent = seq; /* not in the loop: PONG reads other fields of that line */
	return true;
}

static bool channel_pong(struct bench *b, struct payload *p, uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++) {
		if (!receive(b, p, PONG, p->reply))
			return false;
		hftchan_send(p->tx[PONG], p->reply, p->bytes);
	}
	return true;
}

/* ---------------------------------------------------------------- the two ends */

static bool pin(struct bench *b, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (!sched_setaffinity(0, sizeof(set), &set))
		return true;
	fail(b, "can't run on CPU %d: %s; choose others with --cpus", cpu, strerror(errno));
	return false;
}

static bool attach(struct bench *b, struct hftchan *ch, struct payload *p, enum who who)
{
	if (!hftchan_attach(ch, 0, &p->tx[who]))
		return true;
	fail(b, "%s", hftchan_strerror_last());
	return false;
}

static bool join(struct bench *b, struct hftchan *ch, struct payload *p, enum who who)
{
	if (!hftchan_join(ch, HFTCHAN_JOIN_NEXT, 0, &p->rx[who]) &&
	    !hftchan_rx_set_wait(p->rx[who], HFTCHAN_WAIT_SPIN, TOOL_TICK_NS))
		return true;
	fail(b, "%s", hftchan_strerror_last());
	return false;
}

/* One process's end of the channels that exist: everybody attaches before anybody joins. */
static bool enter(struct bench *b, enum who who)
{
	struct hftchan *ch;
	bool ok = true;

	for (uint32_t i = 0; ok && i < 2 * b->nr_payloads; i++) {
		struct payload *p = &b->payloads[i % b->nr_payloads];
		bool first = i < b->nr_payloads;

		if (i == b->nr_payloads) {
			__atomic_store_n(&b->shared->attached[who], 1, __ATOMIC_RELEASE);
			while (!__atomic_load_n(&b->shared->attached[!who], __ATOMIC_ACQUIRE)) {
				if (peer_gone(b))
					return false;
				sched_yield();
			}
		}
		if (hftchan_open(p->names[first ? who : !who], NULL, &ch)) {
			fail(b, "%s", hftchan_strerror_last());
			return false;
		}
		ok = first ? attach(b, ch, p, who) : join(b, ch, p, who);
		hftchan_close(ch);
	}
	return ok;
}

static void leave(struct bench *b, enum who who)
{
	for (uint32_t i = 0; i < b->nr_payloads; i++) {
		hftchan_leave(b->payloads[i].rx[who]);
		hftchan_detach(b->payloads[i].tx[who]);
	}
}

static void pong(struct bench *b)
{
	struct shared *s = b->shared;
	bool ok = pin(b, b->cpus[PONG]);

	for (uint64_t order = 1; ok && await(b, &s->order, order, true); order++) {
		if (s->kind == QUIT)
			return;
		if (s->kind == CHANNEL)
			ok = channel_pong(b, &b->payloads[s->payload], s->nr);
		else
			ok = floor_pong(b, s->nr, s->kind == FLOOR);
	}
}

static void *pong_thread(void *arg)
{
	pong(arg);
	return NULL;
}

static void give_order(struct bench *b, enum kind kind, uint32_t payload, uint32_t nr)
{
	struct shared *s = b->shared;

	s->kind = kind;
	s->payload = payload;
	s->nr = nr;
	__atomic_store_n(&s->order, ++b->blocks, __ATOMIC_RELEASE);
}

/* One block, into h; sizes the next one of its kind. */
static bool run_block(struct bench *b, uint32_t payload, enum kind kind, struct hist *h)
{
	struct payload *p = &b->payloads[payload];
	uint32_t nr = p->block[kind];
	double fit;
	bool ok;

	give_order(b, kind, payload, nr);
	if (kind == CHANNEL)
		ok = channel_ping(b, p, nr);
	else if (kind == FLOOR)
		ok = floor_ping(b, nr, true);
	else
		ok = floor_ping(b, nr, false);
	if (!ok)
		return false;
	memset(h, 0, sizeof(*h));
	hist_add(h, b->samples, nr);
	fit = (kind == FLOOR_TIGHT ? REGIME_NS : BLOCK_NS) / hist_quantile_ns(h, 0.5);
	p->block[kind] = fit < SAMPLES_MIN ? SAMPLES_MIN : fit > SAMPLES_MAX ? SAMPLES_MAX
									     : (uint32_t)fit;
	return true;
}

static bool keep(struct bench *b, struct series *s, const struct hist *floor,
		 const struct hist *rtt, double ratio)
{
	if (s->nr == s->room) {
		size_t room = s->room ? 2 * s->room : 256;
		double *ratios = realloc(s->ratios, room * sizeof(*ratios));

		if (!ratios) {
			fail(b, "out of memory; measure for fewer --seconds");
			return false;
		}
		s->ratios = ratios;
		s->room = room;
	}
	s->ratios[s->nr++] = ratio;
	hist_merge(&s->floor, floor);
	hist_merge(&s->rtt, rtt);
	return true;
}

/* Blocks of all kinds and payloads in turn, until the time is over; one round first to warm up. */
static bool measure(struct bench *b)
{
	static struct hist hists[NR_KINDS];
	uint64_t begin = tool_now();
	bool warm = false;
	uint32_t i, kind;

	while (!tool_stopped) {
		for (i = 0; i < b->nr_payloads; i++) {
			double tight, ratio;

			for (kind = 0; kind < NR_KINDS; kind++)
				if (!run_block(b, i, kind, &hists[kind]))
					return false;
			if (!warm)
				continue;
			tight = hist_quantile_ns(&hists[FLOOR_TIGHT], 0.5);
			ratio = hist_quantile_ns(&hists[CHANNEL], 0.5) /
				hist_quantile_ns(&hists[FLOOR], 0.5);
			if (!keep(b, &b->payloads[i].series[tight < NEAR_NS ? NEAR : FAR],
				  &hists[FLOOR], &hists[CHANNEL], ratio))
				return false;
		}
		if (warm && tool_now() - begin >= b->ns)
			break;
		warm = true;
	}
	return true;
}

/* ---------------------------------------------------------------- set-up and end */

static int make_channel(const struct bench *b, const struct payload *p, const char *name,
			struct hftchan **chp)
{
	struct hftchan_attr attr = HFTCHAN_ATTR_INIT;
	uint64_t slots = NR_SLOTS_MAX;

	while (slots > HFTCHAN_NR_SLOTS_MIN && slots * p->bytes > RING_BYTES)
		slots /= 2;
	attr.payload_size = p->bytes;
	attr.nr_slots = slots;
	attr.layout = layouts[b->layout].layout;
	return hftchan_create(name, &attr, chp);
}

/* In one process: both ends, by one thread, before the other one starts. */
static bool make_local(struct bench *b, struct payload *p)
{
	struct hftchan *ch;
	bool ok;

	for (enum who who = PING; who <= PONG; who++) {
		snprintf(p->names[who], sizeof(p->names[who]), "local:");
		if (make_channel(b, p, p->names[who], &ch)) {
			fail(b, "%s", hftchan_strerror_last());
			return false;
		}
		ok = attach(b, ch, p, who) && join(b, ch, p, !who);
		hftchan_close(ch);
		if (!ok)
			return false;
	}
	return true;
}

/* For two processes. A name is kept as soon as it exists, for remove_named(). */
static bool make_named(struct bench *b, struct payload *p)
{
	static const char *const ends[] = { "ping", "pong" };
	char name[sizeof(p->names[0])];

	for (enum who who = PING; who <= PONG; who++) {
		snprintf(name, sizeof(name), "%s:bench-%d-%" PRIx64 ".%u.%s", b->backend, getpid(),
			 clock_ns() & 0xffffff, p->bytes, ends[who]);
		if (make_channel(b, p, name, NULL)) {
			fail(b, "%s", hftchan_strerror_last());
			return false;
		}
		memcpy(p->names[who], name, sizeof(name));
	}
	return true;
}

static void remove_named(struct bench *b)
{
	for (uint32_t i = 0; i < b->nr_payloads; i++)
		for (enum who who = PING; who <= PONG; who++)
			if (b->payloads[i].names[who][0])
				hftchan_destroy(b->payloads[i].names[who], HFTCHAN_DESTROY_FORCE);
}

/* A line of its own for each end's buffers, and whole words for fill(). */
static unsigned char *make_buffer(uint32_t bytes)
{
	size_t room = (bytes + 127ULL) / 128 * 128;
	unsigned char *buf = aligned_alloc(128, room);

	if (buf)
		memset(buf, 0, room);
	return buf;
}

static bool prepare(struct bench *b)
{
	b->shared = mmap(NULL, sizeof(*b->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (b->shared == MAP_FAILED) {
		b->shared = NULL;
		return false;
	}
	b->samples = calloc(SAMPLES_MAX, sizeof(*b->samples));
	if (!b->samples)
		return false;
	for (uint32_t i = 0; i < b->nr_payloads; i++) {
		struct payload *p = &b->payloads[i];

		p->out = make_buffer(p->bytes);
		p->in = make_buffer(p->bytes);
		p->reply = make_buffer(p->bytes);
		if (!p->out || !p->in || !p->reply)
			return false;
		for (uint32_t kind = 0; kind < NR_KINDS; kind++)
			p->block[kind] = 1000;
	}
	return true;
}

static void release(struct bench *b)
{
	for (uint32_t i = 0; i < b->nr_payloads; i++) {
		free(b->payloads[i].out);
		free(b->payloads[i].in);
		free(b->payloads[i].reply);
		free(b->payloads[i].series[NEAR].ratios);
		free(b->payloads[i].series[FAR].ratios);
	}
	free(b->samples);
	if (b->shared)
		munmap(b->shared, sizeof(*b->shared));
}

static void run_threads(struct bench *b)
{
	pthread_t thread;
	bool ok = true;
	int err;

	for (uint32_t i = 0; ok && i < b->nr_payloads; i++)
		ok = make_local(b, &b->payloads[i]);
	if (ok) {
		err = pthread_create(&thread, NULL, pong_thread, b);
		if (err) {
			fail(b, "can't start a thread: %s", strerror(err));
		} else {
			if (pin(b, b->cpus[PING]) && measure(b))
				give_order(b, QUIT, 0, 0);
			pthread_join(thread, NULL);
		}
	}
	leave(b, PING);
	leave(b, PONG);
}

static void run_processes(struct bench *b)
{
	pid_t parent = getpid();
	bool ok = true;

	for (uint32_t i = 0; ok && i < b->nr_payloads; i++)
		ok = make_named(b, &b->payloads[i]);
	if (!ok)
		goto out;
	b->child = fork();
	if (b->child < 0) {
		b->child = 0;
		fail(b, "can't start a process: %s", strerror(errno));
		goto out;
	}
	if (!b->child) {
		/* a ^C goes to both; the parent says when it is over, else the kernel */
		signal(SIGINT, SIG_IGN);
		signal(SIGTERM, SIG_IGN);
		signal(SIGHUP, SIG_IGN);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		if (enter(b, PONG))
			pong(b);
		leave(b, PONG);
		_exit(0);
	}
	if (enter(b, PING) && pin(b, b->cpus[PING]) && measure(b))
		give_order(b, QUIT, 0, 0);
	leave(b, PING);
	while (b->child && waitpid(b->child, NULL, 0) < 0 && errno == EINTR)
		;
out:
	remove_named(b);
}

/* ---------------------------------------------------------------- results */

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* One row of results, under the names they have in JSON and in the table. */
enum {
	P50,
	P90,
	P99,
	P999,
	MAX,
	FLOOR_P50,
	RATIO,
	RATIO_P10,
	RATIO_P90,
	NR_FIGURES
};

static const struct {
	const char *json, *column;
	int digits;
} figures[NR_FIGURES] = {
	[P50] = { "p50_ns", "P50", 0 },
	[P90] = { "p90_ns", "P90", 0 },
	[P99] = { "p99_ns", "P99", 0 },
	[P999] = { "p999_ns", "P99.9", 0 },
	[MAX] = { "max_ns", "MAX", 0 },
	[FLOOR_P50] = { "floor_p50_ns", "FLOOR", 0 },
	[RATIO] = { "floor_ratio", "RATIO", 2 },
	[RATIO_P10] = { "floor_ratio_p10", "P10", 2 },
	[RATIO_P90] = { "floor_ratio_p90", "P90", 2 },
};

static void get_figures(const struct series *s, double *values)
{
	qsort(s->ratios, s->nr, sizeof(*s->ratios), compare_double);
	values[P50] = hist_quantile_ns(&s->rtt, 0.5);
	values[P90] = hist_quantile_ns(&s->rtt, 0.9);
	values[P99] = hist_quantile_ns(&s->rtt, 0.99);
	values[P999] = hist_quantile_ns(&s->rtt, 0.999);
	values[MAX] = (double)s->rtt.max * ticks.tick_ns;
	values[FLOOR_P50] = hist_quantile_ns(&s->floor, 0.5);
	values[RATIO] = s->ratios[s->nr / 2];
	values[RATIO_P10] = s->ratios[s->nr / 10];
	values[RATIO_P90] = s->ratios[s->nr * 9 / 10];
}

static const char *between(const struct bench *b)
{
	return b->processes ? "processes" : "threads";
}

static struct json_object *make_json(const struct bench *b)
{
	struct json_object *top = json_object_new_object();
	struct json_object *cpus = json_object_new_array();
	struct json_object *results = json_object_new_array();
	double values[NR_FIGURES];
	char text[32];

	for (enum who who = PING; who <= PONG; who++)
		json_object_array_add(cpus, json_object_new_int(b->cpus[who]));
	json_object_object_add(top, "benchmark", json_object_new_string("ping"));
	json_object_object_add(top, "between", json_object_new_string(between(b)));
	json_object_object_add(top, "backend",
			       json_object_new_string(b->processes ? b->backend : "local"));
	json_object_object_add(top, "cpus", cpus);
	json_object_object_add(top, "near_below_ns", json_object_new_double(NEAR_NS));
	json_object_object_add(top, "interrupted", json_object_new_boolean(tool_stopped));
	json_object_object_add(top, "results", results);

	for (uint32_t i = 0; i < b->nr_payloads; i++) {
		for (enum regime regime = NEAR; regime < NR_REGIMES; regime++) {
			const struct series *s = &b->payloads[i].series[regime];
			struct json_object *o;

			if (!s->nr)
				continue;
			o = json_object_new_object();
			json_object_object_add(o, "layout",
					       json_object_new_string(layouts[b->layout].name));
			json_object_object_add(o, "payload",
					       tool_json_number(b->payloads[i].bytes));
			json_object_object_add(o, "regime",
					       json_object_new_string(regime_names[regime]));
			json_object_object_add(o, "blocks", tool_json_number(s->nr));
			json_object_object_add(o, "round_trips", tool_json_number(s->rtt.nr));
			get_figures(s, values);
			for (size_t k = 0; k < NR_FIGURES; k++) {
				snprintf(text, sizeof(text), "%.*f", figures[k].digits + 1,
					 values[k]);
				json_object_object_add(o, figures[k].json,
						       json_object_new_double_s(values[k], text));
			}
			json_object_array_add(results, o);
		}
	}
	return top;
}

static int print_table(const struct bench *b)
{
	static const char *const columns[] = { "LAYOUT", "PAYLOAD", "REGIME", "BLOCKS" };
	struct libscols_table *table = scols_new_table();
	double values[NR_FIGURES];
	size_t i, column;
	char text[32];
	int err;

	if (!table)
		goto no_memory;
	for (i = 0; i < ARRAY_SIZE(columns); i++)
		if (!scols_table_new_column(table, columns[i], 0, i % 2 ? SCOLS_FL_RIGHT : 0))
			goto no_memory;
	for (i = 0; i < NR_FIGURES; i++)
		if (!scols_table_new_column(table, figures[i].column, 0, SCOLS_FL_RIGHT))
			goto no_memory;
	for (i = 0; i < b->nr_payloads; i++) {
		for (enum regime regime = NEAR; regime < NR_REGIMES; regime++) {
			const struct series *s = &b->payloads[i].series[regime];
			struct libscols_line *line;

			if (!s->nr)
				continue;
			line = scols_table_new_line(table, NULL);
			if (!line)
				goto no_memory;
			err = scols_line_set_data(line, 0, layouts[b->layout].name);
			snprintf(text, sizeof(text), "%" PRIu32, b->payloads[i].bytes);
			err |= scols_line_set_data(line, 1, text);
			err |= scols_line_set_data(line, 2, regime_names[regime]);
			snprintf(text, sizeof(text), "%zu", s->nr);
			err |= scols_line_set_data(line, 3, text);
			get_figures(s, values);
			for (column = 0; column < NR_FIGURES; column++) {
				snprintf(text, sizeof(text), "%.*f", figures[column].digits,
					 values[column]);
				err |= scols_line_set_data(line, ARRAY_SIZE(columns) + column,
							   text);
			}
			if (err)
				goto no_memory;
		}
	}
	printf("round trip in ns between two %s on CPUs %d and %d; "
	       "RATIO: to FLOOR, per block, median, P10, P90\n",
	       between(b), b->cpus[PING], b->cpus[PONG]);
	scols_print_table(table);
	scols_unref_table(table);
	return TOOL_OK;

no_memory:
	scols_unref_table(table);
	tool_error("bench: no memory for the table");
	return TOOL_FAILED;
}

/* ---------------------------------------------------------------- command line */

enum {
	KEY_BACKEND = TOOL_KEY,
	KEY_CPUS,
	KEY_LAYOUT,
	KEY_PAYLOAD,
	KEY_PROCESSES,
	KEY_SAVE,
	KEY_SECONDS,
	KEY_THREADS,
};

static const struct tool_option options[] = {
	{ "payload", KEY_PAYLOAD, "BYTES[,BYTES]...",
	  "of the messages, 1 to 1048576 (8,56,120,400)" },
	{ "layout", KEY_LAYOUT, "LAYOUT", "packed (the default)" },
	{ "seconds", KEY_SECONDS, "SECONDS", "how long to measure (5)" },
	{ "threads", KEY_THREADS, NULL, "between two threads, by a local: channel (the default)" },
	{ "processes", KEY_PROCESSES, NULL, "between two processes, by a shm: or dev: channel" },
	{ "backend", KEY_BACKEND, "BACKEND", "with --processes: shm (the default) or dev" },
	{ "cpus", KEY_CPUS, "A,B", "where to run (the first two that may be used)" },
	{ "json", 'j', NULL, "print JSON" },
	{ "save", KEY_SAVE, "FILE", "write the JSON to this file, too" },
	{ NULL, 0, NULL, NULL },
};

static const struct tool_command command = {
	"bench",
	"ping",
	1,
	"Measure round trips over two channels beside the floor of two cores",
	options,
};

/* Calls tool_number() for each part of a list. Return: parts. */
static uint32_t parse_list(const char *option, const char *text, uint64_t min, uint64_t max,
			   uint64_t *values, uint32_t room)
{
	char *copy = strdup(text), *rest = copy, *part;
	uint32_t nr = 0;

	if (!copy) {
		tool_error("--%s: no memory", option);
		exit(TOOL_FAILED);
	}
	while ((part = strsep(&rest, ","))) {
		if (nr == room)
			tool_usage(&command, "--%s: '%s' has more than %u parts", option, text,
				   room);
		values[nr++] = tool_number(option, part, min, max);
	}
	free(copy);
	return nr;
}

static void set_payloads(struct bench *b, const char *text)
{
	uint64_t values[MAX_PAYLOADS];

	b->nr_payloads = parse_list("payload", text, 1, PAYLOAD_MAX, values, MAX_PAYLOADS);
	for (uint32_t i = 0; i < b->nr_payloads; i++)
		b->payloads[i].bytes = (uint32_t)values[i];
}

static void set_cpus(struct bench *b, const char *text)
{
	uint64_t values[2];

	if (parse_list("cpus", text, 0, CPU_SETSIZE - 1, values, 2) != 2 || values[0] == values[1])
		tool_usage(&command, "--cpus: '%s' are not two CPUs, as in 0,1", text);
	b->cpus[PING] = (int)values[0];
	b->cpus[PONG] = (int)values[1];
}

static void set_layout(struct bench *b, const char *text)
{
	for (b->layout = 0; b->layout < ARRAY_SIZE(layouts); b->layout++)
		if (!strcmp(text, layouts[b->layout].name))
			return;
	tool_usage(&command, "--layout: '%s' is no layout of this version; there is: packed", text);
}

static void set_backend(struct bench *b, const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(backends); i++)
		if (!strcmp(text, backends[i])) {
			b->backend = backends[i];
			return;
		}
	tool_usage(&command, "--backend: '%s' is no backend of processes; there are: shm, dev",
		   text);
}

/* Both must be usable; -1: not chosen yet. */
static int choose_cpus(struct bench *b)
{
	bool given = b->cpus[PING] >= 0;
	cpu_set_t allowed;
	int cpu, nr = 0;

	if (sched_getaffinity(0, sizeof(allowed), &allowed)) {
		tool_error("bench: can't tell which CPUs may be used: %s", strerror(errno));
		return TOOL_FAILED;
	}
	if (CPU_COUNT(&allowed) < 2) {
		tool_error("bench: only one CPU may be used here and a round trip needs two; "
			   "allow more, for example with: taskset -c 0,1 hftchan bench ping");
		return TOOL_FAILED;
	}
	for (cpu = 0; !given && nr < 2; cpu++)
		if (CPU_ISSET(cpu, &allowed))
			b->cpus[nr++] = cpu;
	for (nr = 0; nr < 2; nr++) {
		if (CPU_ISSET(b->cpus[nr], &allowed))
			continue;
		tool_error("bench: CPU %d does not exist or may not be used; "
			   "see which may: taskset -cp $$", b->cpus[nr]);
		return TOOL_FAILED;
	}
	return TOOL_OK;
}

static int save_json(const struct bench *b)
{
	struct json_object *top = make_json(b);
	int failed;

	errno = 0;
	/* what an earlier run left there is of use until now */
	failed = (ftruncate(b->save, 0) && errno != EINVAL) ||
		 json_object_to_fd(b->save, top, JSON_C_TO_STRING_PRETTY);
	if (failed)
		tool_error("bench: %s: can't be written: %s", b->save_path,
			   strerror(errno ? errno : EIO));
	json_object_put(top);
	return failed ? TOOL_FAILED : TOOL_OK;
}

static int report(const struct bench *b)
{
	uint64_t nr[NR_REGIMES] = { 0 };
	int status = TOOL_OK;

	for (uint32_t i = 0; i < b->nr_payloads; i++)
		for (enum regime regime = NEAR; regime < NR_REGIMES; regime++)
			nr[regime] += b->payloads[i].series[regime].nr;
	if (!nr[NEAR] && !nr[FAR]) {
		tool_error("bench: stopped before anything was measured");
		return TOOL_FAILED;
	}
	if (tool_stopped)
		tool_note("stopped early: this is what was measured until then");
	if (b->json)
		tool_print_json(make_json(b));
	else
		status = print_table(b);
	/* what was measured is shown in any case */
	return b->save_path && save_json(b) ? TOOL_FAILED : status;
}

int cmd_bench(int argc, char **argv)
{
	static struct bench b = { .cpus = { -1, -1 }, .ns = 5 * NSEC_PER_SEC };
	bool backend = false;
	int key, status;

	b.backend = backends[0];

	set_payloads(&b, "8,56,120,400");
	while ((key = tool_getopt(&command, argc, argv)) != -1) {
		switch (key) {
		case KEY_BACKEND:
			set_backend(&b, optarg);
			backend = true;
			break;
		case KEY_CPUS:
			set_cpus(&b, optarg);
			break;
		case KEY_LAYOUT:
			set_layout(&b, optarg);
			break;
		case KEY_PAYLOAD:
			set_payloads(&b, optarg);
			break;
		case KEY_PROCESSES:
		case KEY_THREADS:
			b.processes = key == KEY_PROCESSES;
			break;
		case KEY_SAVE:
			b.save_path = optarg;
			break;
		case KEY_SECONDS:
			b.ns = tool_seconds("seconds", optarg);
			break;
		case 'j':
			b.json = true;
			break;
		}
	}
	if (strcmp(argv[optind], "ping") != 0)
		tool_usage(&command, "%s: no such benchmark; there is: ping", argv[optind]);
	if (backend && !b.processes)
		tool_usage(&command, "--backend is for --processes: threads use local: channels");
	status = choose_cpus(&b);
	if (status)
		return status;
	/* before it is measured, or that would be for nothing */
	if (b.save_path) {
		b.save = open(b.save_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
		if (b.save < 0) {
			tool_error("bench: %s: can't be written: %s", b.save_path, strerror(errno));
			return TOOL_FAILED;
		}
	}
	tool_catch_signals();
	calibrate();
	if (!prepare(&b)) {
		tool_error("bench: no memory");
		status = TOOL_FAILED;
	} else {
		if (b.processes)
			run_processes(&b);
		else
			run_threads(&b);
		if (b.shared->failed) {
			tool_error("bench: %s", b.shared->error);
			status = TOOL_FAILED;
		} else {
			status = report(&b);
		}
	}
	release(&b);
	if (b.save_path)
		close(b.save);
	return status;
}
