// SPDX-License-Identifier: GPL-2.0
/*
 * Mapping: which region, which part of it, with what rights, and what may be done to it later.
 * It is not about who may be the sender (roles.c), nor about bytes changed by a trick (attack.c).
 * The contract is "DOC: regions of a channel" in <linux/hftchan.h>, and hftchan(4).
 */
#include "hftchan_util.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#define PAGES	4
#define SEED	0x5eed0000
#define SMALL	4096UL

FIXTURE(mmap)
{
	struct channel c;
	int ro;
	unsigned char *tx;	/* all of the ring, filled */
	unsigned char *ring;	/* the same for a receiver, by @ro */
};

FIXTURE_SETUP(mmap)
{
	ASSERT_EQ(0, channel_make(&self->c, PAGES));
	self->ro = open_node(self->c.name, O_RDONLY);
	ASSERT_LE(0, self->ro);
	ASSERT_EQ(0, attach_tx(self->c.fd));
	self->tx = map_ring_tx(&self->c, self->c.fd);
	ASSERT_NE(NULL, self->tx);
	fill(self->tx, self->c.ring_bytes, SEED);
	self->ring = map_ring(&self->c, self->ro);
	ASSERT_NE(NULL, self->ring);
}

FIXTURE_TEARDOWN(mmap)
{
	munmap(self->tx, self->c.ring_bytes);
	munmap(self->ring, self->c.ring_bytes);
	close(self->ro);
	channel_remove(&self->c);
}

/* word @i of fill()'s pattern stands at byte i * 8 of the ring: part of it, found anywhere */
static bool holds_part(const unsigned char *addr, size_t from, size_t bytes)
{
	const __u64 *word = (const __u64 *)(const void *)addr;
	size_t i;

	for (i = 0; i < bytes / sizeof(*word); i++)
		if (READ_ONCE(word[i]) != SEED + (from / sizeof(*word) + i) * 0x9e3779b97f4a7c15ULL)
			return false;
	return true;
}

/* ---- rights -------------------------------------------------------------------------------- */

TEST_F(mmap, rights)
{
	const __u64 shared[] = {
		0, self->c.control->sender_offset, self->c.control->ring_offset,
	};
	const __u64 tx[] = {
		self->c.control->sender_tx_offset, self->c.control->ring_tx_offset,
	};
	const int fds[] = { self->ro, self->c.fd };
	int other = open_node(self->c.name, O_RDWR);
	size_t i, j;

	ASSERT_LE(0, other);
	for (i = 0; i < ARRAY_SIZE(shared); i++) {
		size_t bytes = i == 2 ? self->c.ring_bytes : HFTCHAN_PAGE_BYTES;

		for (j = 0; j < ARRAY_SIZE(fds); j++) {
#define TRY(fd, prot, flags, offset) try_map(fd, bytes, prot, flags, offset)
			EXPECT_EQ(0, TRY(fds[j], PROT_READ, MAP_SHARED, shared[i]));
			EXPECT_EQ(0, TRY(fds[j], PROT_NONE, MAP_SHARED, shared[i]));
			EXPECT_EQ(0, TRY(fds[j], PROT_READ, MAP_SHARED_VALIDATE, shared[i]));
			EXPECT_EQ(-EACCES, TRY(fds[j], PROT_READ | PROT_WRITE, MAP_SHARED,
					       shared[i]))
				TH_LOG("region %zu, descriptor %zu", i, j);
			EXPECT_EQ(-EACCES, TRY(fds[j], PROT_WRITE, MAP_SHARED, shared[i]));
			EXPECT_EQ(-EPERM, TRY(fds[j], PROT_READ | PROT_EXEC, MAP_SHARED,
					      shared[i]))
				TH_LOG("region %zu, descriptor %zu", i, j);
			EXPECT_EQ(-EINVAL, TRY(fds[j], PROT_READ, MAP_PRIVATE, shared[i]))
				TH_LOG("region %zu, descriptor %zu", i, j);
			EXPECT_EQ(-EINVAL, TRY(fds[j], PROT_READ | PROT_WRITE, MAP_PRIVATE,
					       shared[i]));
		}
	}
	for (i = 0; i < ARRAY_SIZE(tx); i++) {
		size_t bytes = i == 1 ? self->c.ring_bytes : HFTCHAN_PAGE_BYTES;

		EXPECT_EQ(0, TRY(self->c.fd, PROT_READ | PROT_WRITE, MAP_SHARED, tx[i]));
		EXPECT_EQ(0, TRY(self->c.fd, PROT_READ, MAP_SHARED, tx[i]));
		EXPECT_EQ(-EPERM, TRY(self->c.fd, PROT_READ | PROT_EXEC, MAP_SHARED, tx[i]));
		EXPECT_EQ(-EINVAL, TRY(self->c.fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, tx[i]));
		EXPECT_EQ(-EINVAL, TRY(self->c.fd, PROT_READ, MAP_PRIVATE, tx[i]));
		/* the role belongs to the one open file */
		EXPECT_EQ(-EPERM, TRY(self->ro, PROT_READ, MAP_SHARED, tx[i]));
		EXPECT_EQ(-EPERM, TRY(other, PROT_READ | PROT_WRITE, MAP_SHARED, tx[i]));
		EXPECT_EQ(-EPERM, TRY(other, PROT_READ, MAP_SHARED, tx[i]));
		EXPECT_EQ(-EPERM, TRY(other, PROT_NONE, MAP_SHARED, tx[i]));
		EXPECT_EQ(-EACCES, TRY(self->ro, PROT_READ | PROT_WRITE, MAP_SHARED, tx[i]));
#undef TRY
	}
	close(other);
}

TEST_F(mmap, mprotect)
{
	/* a receiver's view never becomes writable, whatever its descriptor could do */
	unsigned char *rw_fd = map_ring(&self->c, self->c.fd);
	unsigned char *sender = map_sender(&self->c, self->c.fd);
	void *views[] = { self->ring, rw_fd, sender, (void *)(uintptr_t)self->c.control };
	size_t i;

	ASSERT_NE(NULL, rw_fd);
	ASSERT_NE(NULL, sender);
	for (i = 0; i < ARRAY_SIZE(views); i++) {
		size_t bytes = i < 2 ? self->c.ring_bytes : HFTCHAN_PAGE_BYTES;

		EXPECT_EQ(-EACCES, neg_errno(mprotect(views[i], bytes, PROT_READ | PROT_WRITE)));
		EXPECT_EQ(-EACCES, neg_errno(mprotect(views[i], bytes, PROT_WRITE)));
		EXPECT_EQ(-EACCES, neg_errno(mprotect(views[i], bytes, PROT_READ | PROT_EXEC)));
		EXPECT_EQ(SIGSEGV, probe_write(views[i]));
		EXPECT_EQ(0, probe_read(views[i]));
		EXPECT_EQ(0, mprotect(views[i], bytes, PROT_NONE));
		EXPECT_EQ(SIGSEGV, probe_read(views[i]));
		EXPECT_EQ(0, mprotect(views[i], bytes, PROT_READ));
		EXPECT_EQ(0, probe_read(views[i]));
		EXPECT_EQ(-EACCES, neg_errno(mprotect(views[i], bytes, PROT_READ | PROT_WRITE)));
	}
	EXPECT_EQ(-1, first_difference(self->ring, self->c.ring_bytes, SEED));

	/* the sender may lower and raise its own */
	EXPECT_EQ(0, mprotect(self->tx, self->c.ring_bytes, PROT_READ));
	EXPECT_EQ(SIGSEGV, probe_write(self->tx));
	EXPECT_EQ(-EACCES, neg_errno(mprotect(self->tx, self->c.ring_bytes, PROT_EXEC)));
	EXPECT_EQ(0, mprotect(self->tx, self->c.ring_bytes, PROT_READ | PROT_WRITE));
	EXPECT_EQ(-1, first_difference(self->tx, self->c.ring_bytes, SEED));
	fill(self->tx, self->c.ring_bytes, SEED + 1);
	EXPECT_EQ(-1, first_difference(self->ring, self->c.ring_bytes, SEED + 1));
	munmap(rw_fd, self->c.ring_bytes);
	munmap(sender, HFTCHAN_PAGE_BYTES);
}

/* ---- parts --------------------------------------------------------------------------------- */

TEST_F(mmap, parts_of_the_ring)
{
	const __u64 starts[] = { self->c.control->ring_offset, self->c.control->ring_tx_offset };
	const size_t size = self->c.ring_bytes;
	const struct {
		long long from;
		size_t bytes;
		int result;
	} rows[] = {
		{ 0, size, 0 },
		{ 0, HUGE_BYTES, 0 },
		{ HUGE_BYTES, HUGE_BYTES, 0 },
		{ HUGE_BYTES, size - HUGE_BYTES, 0 },
		{ size - HUGE_BYTES, HUGE_BYTES, 0 },
		{ 0, HUGE_BYTES - 1, 0 },	/* the kernel rounds to whole small pages */
		{ 0, size + HUGE_BYTES, -EINVAL },
		{ 0, size + SMALL, -EINVAL },
		{ HUGE_BYTES, size, -EINVAL },
		{ size, HUGE_BYTES, -EINVAL },
		{ size, SMALL, -EINVAL },
		{ 0, size - SMALL, -EINVAL },
		{ 0, SMALL, -EINVAL },
		{ 0, HUGE_BYTES - SMALL, -EINVAL },
		{ 0, HUGE_BYTES + SMALL, -EINVAL },
		{ SMALL, HUGE_BYTES, -EINVAL },
		{ SMALL, size - SMALL, -EINVAL },
		{ HUGE_BYTES - SMALL, HUGE_BYTES, -EINVAL },
		{ HUGE_BYTES - SMALL, SMALL, -EINVAL },
		{ -(long long)SMALL, HUGE_BYTES, -EINVAL },
		{ -(long long)HUGE_BYTES, HUGE_BYTES, -EINVAL },
		{ -(long long)HUGE_BYTES, 2 * HUGE_BYTES, -EINVAL },
		{ 0, 0, -EINVAL },
	};
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(starts); i++)
		for (j = 0; j < ARRAY_SIZE(rows); j++)
			EXPECT_EQ(rows[j].result, try_map(self->c.fd, rows[j].bytes, PROT_READ,
							  MAP_SHARED, starts[i] + rows[j].from))
				TH_LOG("region %zu, row %zu", i, j);
}

TEST_F(mmap, parts_of_the_pages)
{
	const __u64 starts[] = {
		0, self->c.control->sender_offset, self->c.control->sender_tx_offset,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(starts); i++) {
		EXPECT_EQ(0, try_map(self->c.fd, 1, PROT_READ, MAP_SHARED, starts[i]));
		EXPECT_EQ(0, try_map(self->c.fd, SMALL, PROT_READ, MAP_SHARED, starts[i]));
		EXPECT_EQ(-EINVAL, try_map(self->c.fd, SMALL + 1, PROT_READ, MAP_SHARED,
					   starts[i]));
		EXPECT_EQ(-EINVAL, try_map(self->c.fd, HUGE_BYTES, PROT_READ, MAP_SHARED,
					   starts[i]));
		EXPECT_EQ(-EINVAL, try_map(self->c.fd, SMALL, PROT_READ, MAP_SHARED,
					   starts[i] + SMALL));
		EXPECT_EQ(-EINVAL, try_map(self->c.fd, SMALL, PROT_READ, MAP_SHARED,
					   starts[i] + 1));
	}
	EXPECT_EQ(-EINVAL, try_map(self->c.fd, SMALL, PROT_READ, MAP_SHARED,
				   self->c.control->sender_offset - SMALL));
}

TEST_F(mmap, wrong_offsets)
{
	const __u64 far[] = {
		1ULL << 30, 1ULL << 40, HFTCHAN_RING_SIZE_MAX, HFTCHAN_RING_SIZE_MAX + HUGE_BYTES,
		1ULL << 48, 1ULL << 55, 1ULL << 62, INT64_MAX & ~(HUGE_BYTES - 1), 1ULL << 63,
		(1ULL << 63) + self->c.control->ring_offset,
	};
	int ret;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(far); i++) {
		EXPECT_EQ(-EINVAL, try_map(self->c.fd, HUGE_BYTES, PROT_READ, MAP_SHARED, far[i]))
			TH_LOG("%#llx", far[i]);
		EXPECT_EQ(-EINVAL, try_map(self->c.fd, SMALL, PROT_READ, MAP_SHARED, far[i]))
			TH_LOG("%#llx", far[i]);
	}
	/* the end of it is beyond what an offset can say: the kernel may find that by itself */
	ret = try_map(self->c.fd, 2 * HUGE_BYTES, PROT_READ, MAP_SHARED, -HUGE_BYTES);
	EXPECT_TRUE(ret == -EINVAL || ret == -EOVERFLOW)
		TH_LOG("%d", ret);
}

TEST_F(mmap, partial_views)
{
	size_t i;

	for (i = 0; i < PAGES; i++) {
		unsigned char *part = map_at(self->ro, HUGE_BYTES, PROT_READ,
					     self->c.control->ring_offset + i * HUGE_BYTES);

		ASSERT_NE(NULL, part);
		EXPECT_TRUE(holds_part(part, i * HUGE_BYTES, HUGE_BYTES))
			TH_LOG("page %zu", i);
		EXPECT_EQ(0, munmap(part, HUGE_BYTES));
	}
	/* three pages from the second on, by the sender */
	{
		unsigned char *part = map_at(self->c.fd, 3 * HUGE_BYTES, PROT_READ | PROT_WRITE,
					     self->c.control->ring_tx_offset + HUGE_BYTES);

		ASSERT_NE(NULL, part);
		EXPECT_TRUE(holds_part(part, HUGE_BYTES, 3 * HUGE_BYTES));
		part[3 * HUGE_BYTES - 1] ^= 0xff;
		EXPECT_EQ(self->ring[4 * HUGE_BYTES - 1], part[3 * HUGE_BYTES - 1]);
		EXPECT_EQ(0, munmap(part, 3 * HUGE_BYTES));
	}
}

/* ---- addresses ----------------------------------------------------------------------------- */

TEST_F(mmap, addresses)
{
	const __u64 ring = self->c.control->ring_offset;
	unsigned char *hole = reserve_aligned(3 * HUGE_BYTES);
	size_t i;

	ASSERT_NE(NULL, hole);
	/* chosen by the kernel: one that works */
	EXPECT_EQ(0, (uintptr_t)self->ring % HUGE_BYTES);
	EXPECT_EQ(0, (uintptr_t)self->tx % HUGE_BYTES);
	for (i = 0; i < 9; i++) {
		size_t shift = i == 8 ? HUGE_BYTES / 2 : SMALL << i;

		EXPECT_EQ(MAP_FAILED, mmap(hole + shift, HUGE_BYTES, PROT_READ,
					   MAP_SHARED | MAP_FIXED, self->ro, ring));
		EXPECT_EQ(EINVAL, errno)
			TH_LOG("shifted by %zu", shift);
	}
	EXPECT_EQ(hole + HUGE_BYTES, mmap(hole + HUGE_BYTES, HUGE_BYTES, PROT_READ,
					  MAP_SHARED | MAP_FIXED, self->ro, ring));
	EXPECT_TRUE(holds_part(hole + HUGE_BYTES, 0, HUGE_BYTES));
	/* a hint is no more than that */
	for (i = 0; i < 3; i++) {
		static const size_t hints[] = { 0, SMALL, HUGE_BYTES + SMALL };
		unsigned char *near = mmap(hole + 3 * HUGE_BYTES + hints[i], HUGE_BYTES, PROT_READ,
					   MAP_SHARED, self->ro, ring);

		ASSERT_NE(MAP_FAILED, near)
			TH_LOG("hint %zu", hints[i]);
		EXPECT_EQ(0, (uintptr_t)near % HUGE_BYTES);
		EXPECT_TRUE(holds_part(near, 0, HUGE_BYTES));
		EXPECT_EQ(0, munmap(near, HUGE_BYTES));
	}
	/* one over the other: it is the newer one that is seen */
	EXPECT_EQ(hole + HUGE_BYTES, mmap(hole + HUGE_BYTES, HUGE_BYTES, PROT_READ,
					  MAP_SHARED | MAP_FIXED, self->ro, ring + HUGE_BYTES));
	EXPECT_TRUE(holds_part(hole + HUGE_BYTES, HUGE_BYTES, HUGE_BYTES));
	EXPECT_EQ(0, munmap(hole, 3 * HUGE_BYTES));
}

/* ---- cutting ------------------------------------------------------------------------------- */

TEST_F(mmap, unaligned_cuts)
{
	static const struct {
		size_t from, bytes;
	} cuts[] = {
		{ 0, SMALL },
		{ SMALL, SMALL },
		{ HUGE_BYTES - SMALL, SMALL },
		{ HUGE_BYTES - SMALL, 2 * SMALL },
		{ PAGES * HUGE_BYTES - SMALL, SMALL },
		{ 0, HUGE_BYTES + SMALL },
		{ HUGE_BYTES + SMALL, HUGE_BYTES },
		{ SMALL, PAGES * HUGE_BYTES - SMALL },
	};
	void *views[] = { self->ring, self->tx };
	size_t i, j;

	for (j = 0; j < ARRAY_SIZE(views); j++) {
		for (i = 0; i < ARRAY_SIZE(cuts); i++) {
			unsigned char *at = (unsigned char *)views[j] + cuts[i].from;

			EXPECT_EQ(-EINVAL, neg_errno(munmap(at, cuts[i].bytes)))
				TH_LOG("cut %zu of view %zu", i, j);
			EXPECT_EQ(-EINVAL, neg_errno(mprotect(at, cuts[i].bytes, PROT_NONE)))
				TH_LOG("cut %zu of view %zu", i, j);
			EXPECT_EQ(MAP_FAILED, mmap(at, cuts[i].bytes, PROT_READ,
						   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0))
				TH_LOG("cut %zu of view %zu", i, j);
			/* these may be refused or do nothing */
			(void)madvise(at, cuts[i].bytes, MADV_DONTFORK);
			(void)madvise(at, cuts[i].bytes, MADV_SEQUENTIAL);
			(void)mlock(at, cuts[i].bytes);
			(void)munlock(at, cuts[i].bytes);
		}
		EXPECT_EQ(-1, first_difference(views[j], self->c.ring_bytes, SEED));
	}
}

TEST_F(mmap, aligned_cuts)
{
	unsigned char *middle = self->ring + HUGE_BYTES;

	ASSERT_EQ(-1, first_difference(self->ring, self->c.ring_bytes, SEED));
	ASSERT_EQ(0, munmap(middle, HUGE_BYTES));
	EXPECT_EQ(SIGSEGV, probe_read(middle));
	EXPECT_TRUE(holds_part(self->ring, 0, HUGE_BYTES));
	EXPECT_TRUE(holds_part(self->ring + 2 * HUGE_BYTES, 2 * HUGE_BYTES, 2 * HUGE_BYTES));
	ASSERT_EQ(0, mprotect(self->ring + 2 * HUGE_BYTES, HUGE_BYTES, PROT_NONE));
	EXPECT_EQ(SIGSEGV, probe_read(self->ring + 2 * HUGE_BYTES));
	EXPECT_TRUE(holds_part(self->ring + 3 * HUGE_BYTES, 3 * HUGE_BYTES, HUGE_BYTES));
	ASSERT_EQ(0, mprotect(self->ring + 2 * HUGE_BYTES, HUGE_BYTES, PROT_READ));
	EXPECT_TRUE(holds_part(self->ring + 2 * HUGE_BYTES, 2 * HUGE_BYTES, HUGE_BYTES));
	/* and the cut pieces refuse unaligned cuts as the whole did */
	EXPECT_EQ(-EINVAL, neg_errno(munmap(self->ring, SMALL)));
	EXPECT_EQ(-EINVAL, neg_errno(munmap(self->ring + 3 * HUGE_BYTES, SMALL)));
	EXPECT_EQ(-1, first_difference(self->tx, self->c.ring_bytes, SEED));
}

TEST_F(mmap, mremap)
{
	unsigned char *hole = reserve_aligned(8 * HUGE_BYTES);
	size_t bytes = self->c.ring_bytes;
	unsigned char *moved;
	size_t i;

	ASSERT_NE(NULL, hole);
	EXPECT_EQ(-1, first_difference(self->ring, bytes, SEED));

	/* larger: there is nothing behind it */
	EXPECT_EQ(MAP_FAILED, mremap(self->ring, bytes, bytes + HUGE_BYTES, 0));
	EXPECT_EQ(MAP_FAILED, mremap(self->ring, bytes, bytes + SMALL, MREMAP_MAYMOVE));
	EXPECT_EQ(MAP_FAILED, mremap(self->ring, bytes, bytes + HUGE_BYTES, MREMAP_MAYMOVE));
	EXPECT_EQ(MAP_FAILED, mremap(self->ring, bytes, bytes + HUGE_BYTES,
				     MREMAP_MAYMOVE | MREMAP_FIXED, hole));
	/* twice */
	EXPECT_EQ(MAP_FAILED, mremap(self->ring, 0, bytes, MREMAP_MAYMOVE));
	EXPECT_EQ(MAP_FAILED, mremap(self->tx, 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, hole));
	/* a part that is no whole page, and smaller by no whole page */
	EXPECT_EQ(MAP_FAILED, mremap(self->ring + SMALL, SMALL, SMALL,
				     MREMAP_MAYMOVE | MREMAP_FIXED, hole));
	EXPECT_EQ(MAP_FAILED, mremap(self->ring, bytes, bytes - SMALL, MREMAP_MAYMOVE));
	/* to where no huge page can be */
	for (i = 0; i < 3; i++) {
		static const size_t shifts[] = { SMALL, HUGE_BYTES / 2, HUGE_BYTES - SMALL };

		EXPECT_EQ(MAP_FAILED, mremap(self->ring, bytes, bytes,
					     MREMAP_MAYMOVE | MREMAP_FIXED, hole + shifts[i]));
		EXPECT_EQ(-1, first_difference(self->ring, bytes, SEED))
			TH_LOG("after a move by %zu", shifts[i]);
		EXPECT_EQ(MAP_FAILED, mremap(self->tx, bytes, bytes,
					     MREMAP_MAYMOVE | MREMAP_FIXED, hole + shifts[i]));
		EXPECT_EQ(-1, first_difference(self->tx, bytes, SEED))
			TH_LOG("after a move by %zu", shifts[i]);
	}

	/* what works: all of it, part of it, less of it */
	moved = mremap(self->ring, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, hole);
	ASSERT_EQ(hole, moved);
	EXPECT_EQ(SIGSEGV, probe_read(self->ring));
	EXPECT_EQ(-1, first_difference(moved, bytes, SEED));
	EXPECT_EQ(hole + 5 * HUGE_BYTES, mremap(moved + HUGE_BYTES, HUGE_BYTES, HUGE_BYTES,
						MREMAP_MAYMOVE | MREMAP_FIXED,
						hole + 5 * HUGE_BYTES));
	EXPECT_TRUE(holds_part(hole + 5 * HUGE_BYTES, HUGE_BYTES, HUGE_BYTES));
	EXPECT_TRUE(holds_part(moved, 0, HUGE_BYTES));
	EXPECT_EQ(moved + 2 * HUGE_BYTES, mremap(moved + 2 * HUGE_BYTES, 2 * HUGE_BYTES, HUGE_BYTES,
						 0));
	EXPECT_TRUE(holds_part(moved + 2 * HUGE_BYTES, 2 * HUGE_BYTES, HUGE_BYTES));
	EXPECT_EQ(SIGSEGV, probe_read(moved + 3 * HUGE_BYTES));
	EXPECT_EQ(0, munmap(hole, 8 * HUGE_BYTES));

	/* the sender's view, moved, is the sender's view */
	hole = reserve_aligned(bytes);
	ASSERT_NE(NULL, hole);
	ASSERT_EQ(hole, mremap(self->tx, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, hole));
	self->tx = hole;
	fill(self->tx, bytes, SEED + 2);
	EXPECT_EQ(0, detach_tx(self->c.fd));
	EXPECT_EQ(SIGBUS, probe_write(self->tx));
	EXPECT_EQ(SIGBUS, probe_read(self->tx));
}

/* ---- faults -------------------------------------------------------------------------------- */

/* the same bytes for every view, and one fault for each huge page */
TEST_F(mmap, huge_faults)
{
	unsigned char *ring = map_ring(&self->c, self->c.fd);
	struct rusage before, after;
	unsigned int sum = 0;
	size_t i;

	ASSERT_NE(NULL, ring);
	getrusage(RUSAGE_SELF, &before);
	for (i = 0; i < self->c.ring_bytes; i += SMALL)
		sum += READ_ONCE(ring[i + 8]);
	getrusage(RUSAGE_SELF, &after);
	EXPECT_NE(0, sum);
	EXPECT_LE(after.ru_minflt - before.ru_minflt, PAGES + 4);
	EXPECT_LE(PAGES, after.ru_minflt - before.ru_minflt);
	EXPECT_EQ(after.ru_majflt, before.ru_majflt);
	munmap(ring, self->c.ring_bytes);
}

/**
 * struct race - two threads that touch the same pages of a fresh mapping at the same moment
 * @round: grows when there is a new mapping at @ring
 * @done: the round in which the other thread has touched it
 * @wrong: how often something else than fill()'s was read
 * @store: also written
 */
struct race {
	unsigned char *ring;
	unsigned int round, done, wrong;
	bool store;
};

#define NR_RACES	200

static void touch_all(struct race *r)
{
	size_t i;

	for (i = 0; i < PAGES; i++) {
		__u64 *word = (void *)(r->ring + i * HUGE_BYTES);
		__u64 expected = SEED + i * (HUGE_BYTES / 8) * 0x9e3779b97f4a7c15ULL;

		if (READ_ONCE(*word) != expected)
			__atomic_fetch_add(&r->wrong, 1, __ATOMIC_RELAXED);
		if (r->store)
			WRITE_ONCE(*word, expected);
	}
}

static void *racer(void *arg)
{
	struct race *r = arg;
	unsigned int round;

	for (round = 1; round <= NR_RACES; round++) {
		while (__atomic_load_n(&r->round, __ATOMIC_ACQUIRE) < round)
			;
		touch_all(r);
		__atomic_store_n(&r->done, round, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void race(struct __test_metadata *_metadata, const struct channel *c, int fd, bool store)
{
	struct race r = { .store = store };
	unsigned int round;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, racer, &r));
	for (round = 1; round <= NR_RACES; round++) {
		r.ring = store ? map_ring_tx(c, fd) : map_ring(c, fd);
		ASSERT_NE(NULL, r.ring);
		__atomic_store_n(&r.round, round, __ATOMIC_RELEASE);
		touch_all(&r);
		while (__atomic_load_n(&r.done, __ATOMIC_ACQUIRE) < round)
			sched_yield();
		ASSERT_EQ(0, munmap(r.ring, c->ring_bytes));
	}
	pthread_join(thread, NULL);
	EXPECT_EQ(0, r.wrong);
}

TEST_F_TIMEOUT(mmap, faults_at_the_same_moment, LONG_TIMEOUT)
{
	race(_metadata, &self->c, self->ro, false);
	race(_metadata, &self->c, self->c.fd, true);
	/* nobody took a page of the ring for a page table */
	EXPECT_EQ(-1, first_difference(self->ring, self->c.ring_bytes, SEED));
	EXPECT_EQ(-1, first_difference(self->tx, self->c.ring_bytes, SEED));
}

TEST_F(mmap, prefault)
{
	unsigned char *ring = map_ring(&self->c, self->c.fd);
	unsigned char *tx = map_ring_tx(&self->c, self->c.fd);
	struct rusage before, after;
	size_t i;

	ASSERT_NE(NULL, ring);
	ASSERT_NE(NULL, tx);
	ASSERT_EQ(0, prefault(self->c.fd, ring, self->c.ring_bytes));
	ASSERT_EQ(0, prefault(self->c.fd, tx, self->c.ring_bytes));
	getrusage(RUSAGE_SELF, &before);
	for (i = 0; i < self->c.ring_bytes; i += SMALL)
		WRITE_ONCE(tx[i], READ_ONCE(ring[i]));
	getrusage(RUSAGE_SELF, &after);
	EXPECT_EQ(before.ru_minflt, after.ru_minflt);
	/* page by page, and by another descriptor of the same channel */
	EXPECT_EQ(0, prefault(self->ro, ring + HUGE_BYTES, HUGE_BYTES));
	EXPECT_EQ(0, mprotect(ring, self->c.ring_bytes, PROT_NONE));
	EXPECT_EQ(-EFAULT, prefault(self->c.fd, ring, self->c.ring_bytes));
	munmap(ring, self->c.ring_bytes);
	EXPECT_EQ(0, detach_tx(self->c.fd));
	EXPECT_EQ(-EFAULT, prefault(self->c.fd, tx, self->c.ring_bytes));
	munmap(tx, self->c.ring_bytes);
}

/* ---- fork ---------------------------------------------------------------------------------- */

struct views {
	struct channel *c;
	unsigned char *ring, *tx, *sender, *sender_tx;
};

static int forked(int fd, void *arg)
{
	struct views *v = arg;

	CHECK_EQ(-1, first_difference(v->ring, v->c->ring_bytes, SEED));
	CHECK_EQ(HFTCHAN_MAGIC, v->c->control->magic);
	CHECK_EQ(0, probe_read(v->sender));
	CHECK_EQ(SIGSEGV, probe_write(v->ring));
	CHECK_EQ(SIGSEGV, probe_read(v->tx));
	CHECK_EQ(SIGSEGV, probe_write(v->tx));
	CHECK_EQ(SIGSEGV, probe_read(v->sender_tx));
	CHECK_EQ(SIGSEGV, probe_write(v->sender_tx));
	/* the descriptor is there, the role is not */
	CHECK_EQ(-EPERM, try_map(v->c->fd, v->c->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
				 v->c->control->ring_tx_offset));
	CHECK_EQ(0, try_map(v->c->fd, v->c->ring_bytes, PROT_READ, MAP_SHARED,
			    v->c->control->ring_offset));
	CHECK_EQ(0, munmap(v->ring, v->c->ring_bytes));
	return 0;
}

TEST_F(mmap, fork)
{
	struct views v = {
		.c = &self->c,
		.ring = self->ring,
		.tx = self->tx,
		.sender = map_sender(&self->c, self->c.fd),
		.sender_tx = map_sender_tx(&self->c, self->c.fd),
	};
	int touched;

	ASSERT_NE(NULL, v.sender);
	ASSERT_NE(NULL, v.sender_tx);
	/* with and without page tables to copy; MADV_DOFORK must not bring the sender's back */
	for (touched = 0; touched < 2; touched++) {
		EXPECT_GT(0, madvise(v.tx, self->c.ring_bytes, MADV_DOFORK));
		EXPECT_GT(0, madvise(v.sender_tx, HFTCHAN_PAGE_BYTES, MADV_DOFORK));
		EXPECT_EQ(0, run_child(forked, &v));
		EXPECT_EQ(-1, first_difference(v.ring, self->c.ring_bytes, SEED));
		WRITE_ONCE(*(__u64 *)v.sender_tx, 7);
		EXPECT_EQ(7, READ_ONCE(*(__u64 *)v.sender));
	}
	EXPECT_EQ(0, probe_write(v.tx));
	munmap(v.sender, HFTCHAN_PAGE_BYTES);
	munmap(v.sender_tx, HFTCHAN_PAGE_BYTES);
}

/* ---- others that walk mappings ------------------------------------------------------------- */

TEST_F(mmap, readers_of_proc)
{
	static const char *const files[] = {
		"/proc/self/maps", "/proc/self/smaps", "/proc/self/smaps_rollup",
		"/proc/self/numa_maps",
	};
	uintptr_t first = (uintptr_t)self->ring;
	__u64 entry;
	size_t i;
	int fd;

	ASSERT_EQ(-1, first_difference(self->ring, self->c.ring_bytes, SEED));
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		char buf[4096];
		ssize_t n;

		fd = open(files[i], O_RDONLY | O_CLOEXEC);
		ASSERT_LE(0, fd)
			TH_LOG("%s", files[i]);
		while ((n = read(fd, buf, sizeof(buf))) > 0)
			;
		EXPECT_EQ(0, n)
			TH_LOG("%s", files[i]);
		close(fd);
	}
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	for (i = 0; i < 4 * PAGES; i++)
		EXPECT_EQ(8, pread(fd, &entry, 8, (first + i * HUGE_BYTES / 4) / SMALL * 8));
	close(fd);
	EXPECT_EQ(0, write_file("/proc/self/clear_refs", "1"));
	EXPECT_EQ(0, mlockall(MCL_CURRENT | MCL_FUTURE));
	EXPECT_EQ(0, try_map(self->ro, self->c.ring_bytes, PROT_READ, MAP_SHARED,
			     self->c.control->ring_offset));
	EXPECT_EQ(0, munlockall());
	EXPECT_EQ(-1, first_difference(self->ring, self->c.ring_bytes, SEED));
}

TEST_HARNESS_MAIN
