// SPDX-License-Identifier: GPL-2.0
/*
 * The data path: messages of one process read by others, laps, a sender that is killed, no faults.
 * It is not the library's protocol code, only enough of it to see that the memory is what it needs.
 * The contract of a slot: [dirty:1 | seq:63] then the payload; the sender marks two slots ahead.
 */
#include "hftchan_util.h"

#include <sched.h>
#include <sys/resource.h>

#define DIRTY		(1ULL << 63)
#define NR_WORDS	6

/**
 * struct ring - a channel's ring as one process sees it
 * @slots: mapped
 * @mask: nr_slots - 1
 */
struct ring {
	unsigned char *slots;
	__u64 mask, slot_size;
	__u32 payload_offset;
};

static __u64 *state_of(const struct ring *r, __u64 seq)
{
	return (__u64 *)(void *)(r->slots + (seq & r->mask) * r->slot_size);
}

static __u64 *payload_of(const struct ring *r, __u64 seq)
{
	return state_of(r, seq) + r->payload_offset / sizeof(__u64);
}

static void view(struct ring *r, const struct channel *c, void *slots)
{
	r->slots = slots;
	r->mask = c->control->nr_slots - 1;
	r->slot_size = c->control->slot_size;
	r->payload_offset = c->control->payload_offset;
}

/* ---- sender -------------------------------------------------------------------------------- */

static void mark(const struct ring *r, __u64 seq)
{
	__atomic_store_n(state_of(r, seq), DIRTY | seq, __ATOMIC_RELAXED);
}

/* @salt: says which sender it was */
static void send_message(const struct ring *r, __u64 seq, __u64 salt)
{
	__u64 *word = payload_of(r, seq);
	unsigned int i;

	for (i = 0; i < NR_WORDS; i++)
		__atomic_store_n(&word[i], seq * 31 + (salt << 48) + i, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	__atomic_store_n(state_of(r, seq), seq, __ATOMIC_RELAXED);
	mark(r, seq + 2);
}

/* the newest message that is committed, by looking at every slot */
static __u64 newest(const struct ring *r)
{
	__u64 i, max = 0;

	for (i = 0; i <= r->mask; i++) {
		__u64 v = __atomic_load_n(state_of(r, i), __ATOMIC_ACQUIRE);

		if (!(v & DIRTY) && v > max)
			max = v;
	}
	return max;
}

/* the role, its view, the two marks, the epoch: 0 or -errno */
static int begin(const struct channel *c, int fd, struct ring *r, __u64 *seq)
{
	int ret = attach_tx(fd);

	if (ret)
		return ret;
	view(r, c, map_ring_tx(c, fd));
	if (!r->slots)
		return -errno;
	ret = prefault(fd, r->slots, c->ring_bytes);
	if (ret)
		return ret;
	*seq = newest(r) + 1;
	mark(r, *seq);
	mark(r, *seq + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	return start_tx(fd, *seq);
}

/* ---- receiver ------------------------------------------------------------------------------ */

enum result { EMPTY, GOOD, LAPPED, BAD };

static enum result receive(const struct ring *r, __u64 seq, __u64 *salt)
{
	__u64 v = __atomic_load_n(state_of(r, seq), __ATOMIC_ACQUIRE), words[NR_WORDS];
	__u64 *word = payload_of(r, seq);
	unsigned int i;

	if (v != seq)
		return (v & ~DIRTY) > seq ? LAPPED : EMPTY;
	for (i = 0; i < NR_WORDS; i++)
		words[i] = __atomic_load_n(&word[i], __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (__atomic_load_n(state_of(r, seq), __ATOMIC_RELAXED) != v)
		return LAPPED;
	*salt = (words[0] - seq * 31) >> 48;
	for (i = 0; i < NR_WORDS; i++)
		if (words[i] != seq * 31 + (*salt << 48) + i)
			return BAD;
	return GOOD;
}

/**
 * struct tally - what a receiver saw
 * @good: messages
 * @lost: messages that it was too slow for
 * @bad: messages with other words than were sent
 * @last: newest seq of @good
 */
struct tally {
	__u64 good, lost, bad, last;
};

/* from @from until message @to is there or gone */
static void receive_all(const struct ring *r, __u64 from, __u64 to, struct tally *t)
{
	__u64 seq = from, salt;

	memset(t, 0, sizeof(*t));
	while (seq <= to) {
		__u64 next;

		switch (receive(r, seq, &salt)) {
		case EMPTY:
			sched_yield();
			continue;
		case GOOD:
			t->good++;
			t->last = seq++;
			break;
		case BAD:
			t->bad++;
			seq++;
			break;
		case LAPPED:
			next = newest(r);
			if (next > to)
				next = to + 1;
			if (next <= seq)
				next = seq + 1;
			t->lost += next - seq;
			seq = next;
			break;
		}
	}
}

/* ---- the tests ----------------------------------------------------------------------------- */

FIXTURE(ring)
{
	struct channel c;
	struct ring rx;
};

#define ring_data	FIXTURE_DATA(ring)

/* the same ring of four slots and more: how often a receiver is lapped differs */
FIXTURE_VARIANT(ring)
{
	unsigned int nr_slots;
	unsigned int messages;
};

FIXTURE_VARIANT_ADD(ring, smallest)
{
	.nr_slots = 4,
	.messages = 20000,
};

FIXTURE_VARIANT_ADD(ring, small)
{
	.nr_slots = 1024,
	.messages = 30000,
};

FIXTURE_VARIANT_ADD(ring, two_pages)
{
	.nr_slots = 2 * SLOTS_PER_PAGE,
	.messages = 150000,
};

FIXTURE_SETUP(ring)
{
	struct hftchan_ioc_create args;
	struct channel *c = &self->c;

	memset(c, 0, sizeof(*c));
	c->fd = -1;
	c->control_fd = open_control(O_RDWR);
	ASSERT_LE(0, c->control_fd);
	unique_name(c->name);
	create_args(&args, c->name, 1);
	args.nr_slots = variant->nr_slots;
	ASSERT_EQ(0, call(c->control_fd, HFTCHAN_IOC_CREATE, &args));
	c->ring_bytes = args.out_nr_pages * HUGE_BYTES;
	c->fd = open_node(c->name, O_RDWR);
	ASSERT_LE(0, c->fd);
	c->control = map_at(c->fd, HFTCHAN_PAGE_BYTES, PROT_READ, 0);
	ASSERT_NE(NULL, c->control);
	view(&self->rx, c, map_ring(c, c->fd));
	ASSERT_NE(NULL, self->rx.slots);
	ASSERT_EQ(0, prefault(c->fd, self->rx.slots, c->ring_bytes));
}

FIXTURE_TEARDOWN(ring)
{
	munmap(self->rx.slots, self->c.ring_bytes);
	channel_remove(&self->c);
}

struct orders {
	ring_data *self;
	unsigned int messages;	/* to send when the sender is told to */
	__u64 salt;
};

static int sender(int fd, void *arg)
{
	struct orders *o = arg;
	int own = open_node(o->self->c.name, O_RDWR);
	struct ring r;
	__u64 seq, end;

	CHECK(own >= 0);
	CHECK_EQ(0, begin(&o->self->c, own, &r, &seq));
	CHECK(tell(fd));
	while (hear(fd)) {
		for (end = seq + o->messages; seq < end; seq++)
			send_message(&r, seq, o->salt);
		CHECK(tell(fd));
	}
	CHECK_EQ(0, detach_tx(own));
	return 0;
}

static long long newest_by_sysfs(const struct channel *c)
{
	char path[160];

	snprintf(path, sizeof(path), SYSFS_CLASS "/hftchan-%s/seq", c->name);
	return read_number(path);
}

/* Everything is sent before anything is read: what the ring holds is there, the rest is lost. */
TEST_F(ring, late_receiver)
{
	struct orders o = { .self = self, .messages = variant->messages, .salt = 5 };
	struct child child = spawn(sender, &o);
	__u64 salt = 0, seq, first, good = 0;

	ASSERT_LT(0, child.pid);
	ASSERT_TRUE(hear(child.fd));
	EXPECT_EQ(0, newest_by_sysfs(&self->c));
	EXPECT_EQ(EMPTY, receive(&self->rx, 1, &salt));
	ASSERT_TRUE(tell(child.fd));
	ASSERT_TRUE(hear(child.fd));
	EXPECT_EQ(variant->messages, newest(&self->rx));
	EXPECT_EQ(variant->messages, newest_by_sysfs(&self->c));
	EXPECT_EQ(LAPPED, receive(&self->rx, 1, &salt));
	EXPECT_EQ(EMPTY, receive(&self->rx, variant->messages + 1, &salt));
	/* at rest two slots are marked: all others hold a message */
	first = variant->messages + 3 - variant->nr_slots;
	EXPECT_EQ(LAPPED, receive(&self->rx, first - 1, &salt));
	for (seq = first; seq <= variant->messages; seq++)
		good += receive(&self->rx, seq, &salt) == GOOD && salt == 5;
	EXPECT_EQ(variant->nr_slots - 2, good);
	EXPECT_EQ(0, reap(&child));
	EXPECT_EQ(HFTCHAN_SENDER_NONE, self->c.control->sender_state);
}

/**
 * struct reader - a receiver of its own process
 * @out: shared with the test
 */
struct reader {
	ring_data *self;
	unsigned int messages;
	struct tally *out;
};

static int reader(int fd, void *arg)
{
	struct reader *r = arg;
	int own = open_node(r->self->c.name, O_RDONLY);
	struct ring rx;

	CHECK(own >= 0);
	view(&rx, &r->self->c, map_ring(&r->self->c, own));
	CHECK(rx.slots);
	CHECK(tell(fd));
	receive_all(&rx, 1, r->messages, r->out);
	return 0;
}

/* Sender flat out, two receivers beside it: nothing torn, and every message is read or counted. */
TEST_F_TIMEOUT(ring, receivers_beside_a_sender, LONG_TIMEOUT)
{
	struct tally *tallies = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct orders o = { .self = self, .messages = variant->messages };
	struct child child = spawn(sender, &o), readers[2];
	unsigned int i;

	ASSERT_NE(MAP_FAILED, tallies);
	ASSERT_LT(0, child.pid);
	ASSERT_TRUE(hear(child.fd));
	for (i = 0; i < 2; i++) {
		struct reader r = { self, variant->messages, &tallies[i] };

		readers[i] = spawn(reader, &r);
		ASSERT_TRUE(hear(readers[i].fd));
	}
	ASSERT_TRUE(tell(child.fd));
	ASSERT_TRUE(hear(child.fd));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(0, reap(&readers[i]));
		EXPECT_EQ(0, tallies[i].bad);
		EXPECT_EQ(variant->messages, tallies[i].good + tallies[i].lost);
		EXPECT_LT(0, tallies[i].good);
	}
	EXPECT_EQ(0, reap(&child));
	munmap(tallies, 4096);
}

static int sends_for_ever(int fd, void *arg)
{
	struct orders *o = arg;
	int own = open_node(o->self->c.name, O_RDWR);
	struct ring r;
	__u64 seq;

	CHECK(own >= 0);
	CHECK_EQ(0, begin(&o->self->c, own, &r, &seq));
	for (;; seq++)
		send_message(&r, seq, o->salt);
	return 0;
}

/* Killed anywhere in a message: what was committed stays, the next one goes on behind it. */
TEST_F_TIMEOUT(ring, killed_senders, LONG_TIMEOUT)
{
	__u64 epoch, salt, last = 0;

	for (epoch = 1; epoch <= 8; epoch++) {
		struct orders o = { .self = self, .salt = epoch };
		struct child child = spawn(sends_for_ever, &o);
		__u64 reached, seq, held;

		ASSERT_LT(0, child.pid);
		while (self->c.control->epoch < epoch || newest(&self->rx) < last + 100)
			sched_yield();
		kill(child.pid, SIGKILL);
		ASSERT_EQ(-SIGKILL, reap(&child));
		reached = newest(&self->rx);
		EXPECT_EQ(last + 1, self->c.control->epoch_seq);
		EXPECT_EQ(epoch, self->c.control->ended_epoch);
		EXPECT_EQ(reached, newest_by_sysfs(&self->c));
		/* all of this epoch's that are still there are whole */
		held = variant->nr_slots - 3;
		seq = reached > held ? reached - held + 1 : 1;
		if (seq <= last)
			seq = last + 1;
		for (; seq <= reached; seq++) {
			EXPECT_EQ(GOOD, receive(&self->rx, seq, &salt))
				TH_LOG("seq %llu, newest %llu", seq,
				       reached);
			EXPECT_EQ(epoch, salt);
		}
		last = reached;
	}
	EXPECT_EQ(8, self->c.control->nr_deaths);
}

/* The program's own pages fault, too: so what is measured is first done once on other memory. */
static void warm_up(struct rusage *usage)
{
	static __u64 memory[4 * 8];
	const struct ring r = {
		.slots = (void *)memory, .mask = 3, .slot_size = 64, .payload_offset = 8,
	};
	__u64 salt;

	send_message(&r, 1, 0);
	CHECK_EQ(GOOD, receive(&r, 1, &salt));
	getrusage(RUSAGE_SELF, usage);
}

/* Reading and writing the whole ring, in two processes, without one page fault. */
static int sends_without_faults(int fd, void *arg)
{
	struct orders *o = arg;
	int own = open_node(o->self->c.name, O_RDWR);
	struct rusage before, after;
	struct ring r;
	__u64 seq, end;

	CHECK_EQ(0, begin(&o->self->c, own, &r, &seq));
	end = seq + o->messages;
	warm_up(&before);
	getrusage(RUSAGE_SELF, &before);
	for (; seq < end; seq++)
		send_message(&r, seq, 0);
	getrusage(RUSAGE_SELF, &after);
	CHECK_EQ(before.ru_minflt, after.ru_minflt);
	CHECK_EQ(before.ru_majflt, after.ru_majflt);
	return 0;
}

TEST_F(ring, no_faults)
{
	struct orders o = { .self = self, .messages = variant->nr_slots };
	__u64 seq, salt, first = 3, good = 0;
	struct rusage before, after;

	EXPECT_EQ(0, run_child(sends_without_faults, &o));
	warm_up(&before);
	getrusage(RUSAGE_SELF, &before);
	for (seq = first; seq <= variant->nr_slots; seq++)
		good += receive(&self->rx, seq, &salt) == GOOD;
	getrusage(RUSAGE_SELF, &after);
	EXPECT_EQ(before.ru_minflt, after.ru_minflt);
	EXPECT_EQ(before.ru_majflt, after.ru_majflt);
	EXPECT_EQ(variant->nr_slots - 2, good);
}

TEST_HARNESS_MAIN
