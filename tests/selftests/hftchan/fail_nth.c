// SPDX-License-Identifier: GPL-2.0
/*
 * Every allocation and copy of every call fails once: nothing breaks, nothing is left behind.
 * It is not about which errno comes; but a call that failed must not have done a thing.
 * Needs CONFIG_FAULT_INJECTION with FAILSLAB, FAIL_PAGE_ALLOC and DEBUG_FS, otherwise it skips.
 */
#include "hftchan_util.h"

#define FAULTS	"/sys/kernel/debug"

/* passes without an injected failure end a sweep; more than this many is none */
#define MAX_NTH	1000

FIXTURE(fail_nth)
{
	bool usable;		/* there is fault injection; otherwise nothing else is set up */
	struct channel c;
	int control_fd;
	int nth_fd;
	int fd;			/* of the operation */
	void *addr;		/* likewise */
	char name[HFTCHAN_NAME_BYTES];
	long long held;
};

#define fail_nth_data	FIXTURE_DATA(fail_nth)

static void setup_faults(void)
{
	static const char *const kinds[] = { "failslab", "fail_page_alloc", "fail_usercopy" };
	char path[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		snprintf(path, sizeof(path), FAULTS "/%s/verbose", kinds[i]);
		write_file(path, "0");
		snprintf(path, sizeof(path), FAULTS "/%s/ignore-gfp-wait", kinds[i]);
		write_file(path, "N");
		snprintf(path, sizeof(path), FAULTS "/%s/ignore-gfp-highmem", kinds[i]);
		write_file(path, "N");
		snprintf(path, sizeof(path), FAULTS "/%s/min-order", kinds[i]);
		write_file(path, "0");
	}
}

FIXTURE_SETUP(fail_nth)
{
	self->nth_fd = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	self->usable = self->nth_fd >= 0 && !access(FAULTS "/failslab", F_OK);
	if (!self->usable)
		return;
	setup_faults();
	ASSERT_EQ(0, channel_make(&self->c, 2));
	self->control_fd = self->c.control_fd;
	ASSERT_EQ(0, settle(self->control_fd));
	self->held = held_bytes(self->control_fd);
	self->fd = -1;
	unique_name(self->name);
}

FIXTURE_TEARDOWN(fail_nth)
{
	if (!self->usable)
		return;
	close(self->nth_fd);
	/* all that failed, all that worked and was undone: no byte of it is left */
	EXPECT_EQ(0, settle(self->control_fd));
	EXPECT_EQ(self->held, held_bytes(self->control_fd));
	channel_remove(&self->c);
}

/* ---- one call ------------------------------------------------------------------------------ */

/**
 * struct operation - a call of which everything fails
 * @before: makes it possible; without failures
 * @run: the call; 0 or -errno
 * @undo: takes back what it did, when it worked
 * @untouched: sees to it that it did nothing when it failed, and undoes @before
 */
struct operation {
	int (*before)(fail_nth_data *self);
	int (*run)(fail_nth_data *self);
	int (*undo)(fail_nth_data *self);
	int (*untouched)(fail_nth_data *self);
};

static bool arm(fail_nth_data *self, unsigned int nth)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", nth);
	return pwrite(self->nth_fd, text, strlen(text), 0) == (ssize_t)strlen(text);
}

/* was the failure used up? */
static bool disarm(fail_nth_data *self)
{
	char text[16] = "";
	bool used = pread(self->nth_fd, text, sizeof(text) - 1, 0) > 0 && atoi(text) == 0;

	/* reading and writing it may have met the failure instead */
	while (!arm(self, 0))
		;
	return used;
}

static void sweep(struct __test_metadata *_metadata, fail_nth_data *self, const struct operation *o)
{
	unsigned int nth, injected = 0, failed = 0, spared = 0;

	if (!self->usable)
		SKIP(return, "this kernel has no fault injection, or debugfs is not mounted");
	/* several passes, since what is allocated differs a little from one to the next */
	for (nth = 1; spared < 4; nth++) {
		bool used;
		int ret;

		ASSERT_GT(MAX_NTH, nth);
		snprintf(check_note, sizeof(check_note), "(failure %u)", nth);
		if (o->before) {
			ASSERT_EQ(0, o->before(self))
				TH_LOG("before failure %u", nth);
		}
		ASSERT_TRUE(arm(self, nth));
		ret = o->run(self);
		used = disarm(self);
		injected += used;
		spared = used ? 0 : spared + 1;
		if (ret) {
			/* only what was injected may be the reason */
			EXPECT_TRUE(used)
				TH_LOG("failure %u: %d without being injected", nth, ret);
			failed++;
			if (o->untouched) {
				ASSERT_EQ(0, o->untouched(self))
					TH_LOG("failure %u: %d, but it has done something", nth,
					       ret);
			}
		} else if (o->undo) {
			EXPECT_EQ(0, o->undo(self))
				TH_LOG("after failure %u", nth);
		}
	}
	TH_LOG("%u failures injected, %u calls failed", injected, failed);
}

#define SWEEP(...) do { \
	static const struct operation operation = { __VA_ARGS__ }; \
	\
	sweep(_metadata, self, &operation); \
} while (0)

/* ---- /dev/hftchan -------------------------------------------------------------------------- */

static int run_create(fail_nth_data *self)
{
	return create(self->control_fd, self->name, 1);
}

static int destroy_it(fail_nth_data *self)
{
	return destroy(self->control_fd, self->name, 0);
}

static int no_channel(fail_nth_data *self)
{
	char path[160];

	CHECK(!node_exists(self->name));
	snprintf(path, sizeof(path), SYSFS_CLASS "/hftchan-%s", self->name);
	CHECK(access(path, F_OK));
	CHECK_EQ(-ENOENT, destroy(self->control_fd, self->name, 0));
	/* and the name is free */
	CHECK_EQ(0, create(self->control_fd, self->name, 1));
	CHECK_EQ(0, destroy(self->control_fd, self->name, 0));
	return 0;
}

TEST_F_TIMEOUT(fail_nth, create, LONG_TIMEOUT)
{
	SWEEP(.run = run_create, .undo = destroy_it, .untouched = no_channel);
}

static int run_destroy(fail_nth_data *self)
{
	return destroy(self->control_fd, self->name, 0);
}

static int still_a_channel(fail_nth_data *self)
{
	return destroy(self->control_fd, self->name, 0);
}

TEST_F_TIMEOUT(fail_nth, destroy, LONG_TIMEOUT)
{
	SWEEP(.before = run_create, .run = run_destroy, .undo = no_channel,
	      .untouched = still_a_channel);
}

static int create_and_open(fail_nth_data *self)
{
	CHECK_EQ(0, run_create(self));
	self->fd = open_node(self->name, O_RDWR);
	CHECK(self->fd >= 0);
	CHECK_EQ(0, attach_tx(self->fd));
	self->addr = mmap(NULL, HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
			  (off_t)self->c.control->ring_tx_offset);
	CHECK(self->addr != MAP_FAILED);
	fill(self->addr, HUGE_BYTES, 1);
	return 0;
}

static int run_zap(fail_nth_data *self)
{
	return destroy(self->control_fd, self->name,
		       HFTCHAN_DESTROY_F_FORCE | HFTCHAN_DESTROY_F_ZAP);
}

static int close_and_unmap(fail_nth_data *self)
{
	CHECK_EQ(0, munmap(self->addr, HUGE_BYTES));
	close(self->fd);
	self->fd = -1;
	return 0;
}

static int zapped(fail_nth_data *self)
{
	CHECK_EQ(SIGBUS, probe_read(self->addr));
	CHECK_EQ(0, close_and_unmap(self));
	return no_channel(self);
}

static int not_zapped(fail_nth_data *self)
{
	CHECK_EQ(0, probe_read(self->addr));
	CHECK_EQ(0, close_and_unmap(self));
	return destroy(self->control_fd, self->name, 0);
}

TEST_F_TIMEOUT(fail_nth, destroy_and_zap, LONG_TIMEOUT)
{
	SWEEP(.before = create_and_open, .run = run_zap, .undo = zapped, .untouched = not_zapped);
}

static int run_limits(fail_nth_data *self)
{
	struct hftchan_ioc_limits l;

	return limits(self->control_fd, &l);
}

TEST_F_TIMEOUT(fail_nth, limits, LONG_TIMEOUT)
{
	SWEEP(.run = run_limits);
}

/* ---- the channel's node -------------------------------------------------------------------- */

static int run_open(fail_nth_data *self)
{
	self->fd = open_node(self->c.name, O_RDWR);
	return self->fd < 0 ? self->fd : 0;
}

static int close_it(fail_nth_data *self)
{
	close(self->fd);
	self->fd = -1;
	return 0;
}

static int open_once(fail_nth_data *self)
{
	struct hftchan_ioc_info i;

	CHECK_EQ(0, info(self->c.fd, &i));
	CHECK_EQ(1, i.out_nr_open);
	return 0;
}

TEST_F_TIMEOUT(fail_nth, open, LONG_TIMEOUT)
{
	SWEEP(.run = run_open, .undo = close_it, .untouched = open_once);
}

static int run_info(fail_nth_data *self)
{
	__u64 nodes[1024];
	struct hftchan_ioc_info args = {
		.size = sizeof(args),
		.nr_nodes = ARRAY_SIZE(nodes),
		.nodes = (uintptr_t)nodes,
	};

	return call(self->c.fd, HFTCHAN_IOC_INFO, &args);
}

TEST_F_TIMEOUT(fail_nth, info, LONG_TIMEOUT)
{
	SWEEP(.run = run_info);
}

static int run_attach(fail_nth_data *self)
{
	return attach_tx(self->c.fd);
}

static int run_detach(fail_nth_data *self)
{
	return detach_tx(self->c.fd);
}

static int role_is_free(fail_nth_data *self)
{
	CHECK_EQ(0, holder_pid(self->c.fd));
	CHECK_EQ(-EPERM, detach_tx(self->c.fd));
	CHECK_EQ(0, attach_tx(self->c.fd));
	CHECK_EQ(0, detach_tx(self->c.fd));
	return 0;
}

TEST_F_TIMEOUT(fail_nth, attach, LONG_TIMEOUT)
{
	SWEEP(.run = run_attach, .undo = run_detach, .untouched = role_is_free);
}

TEST_F_TIMEOUT(fail_nth, detach, LONG_TIMEOUT)
{
	SWEEP(.before = run_attach, .run = run_detach, .untouched = run_detach);
}

static int run_start(fail_nth_data *self)
{
	return start_tx(self->c.fd, 1);
}

static int not_started(fail_nth_data *self)
{
	CHECK_EQ(0, run_start(self));
	CHECK_EQ(0, run_detach(self));
	return 0;
}

TEST_F_TIMEOUT(fail_nth, start, LONG_TIMEOUT)
{
	SWEEP(.before = run_attach, .run = run_start, .undo = run_detach, .untouched = not_started);
}

/* ---- mappings ------------------------------------------------------------------------------ */

static int run_map_all(fail_nth_data *self, int prot, __u64 offset, size_t bytes)
{
	self->addr = map_at(self->c.fd, bytes, prot, offset);
	return self->addr ? 0 : -errno;
}

static int run_map_ring(fail_nth_data *self)
{
	return run_map_all(self, PROT_READ, self->c.control->ring_offset, self->c.ring_bytes);
}

static int run_map_control(fail_nth_data *self)
{
	return run_map_all(self, PROT_READ, 0, HFTCHAN_PAGE_BYTES);
}

static int run_map_sender(fail_nth_data *self)
{
	return run_map_all(self, PROT_READ, self->c.control->sender_offset, HFTCHAN_PAGE_BYTES);
}

static int run_map_ring_tx(fail_nth_data *self)
{
	return run_map_all(self, PROT_READ | PROT_WRITE, self->c.control->ring_tx_offset,
			   self->c.ring_bytes);
}

static int unmap_ring(fail_nth_data *self)
{
	return neg_errno(munmap(self->addr, self->c.ring_bytes));
}

static int unmap_page(fail_nth_data *self)
{
	return neg_errno(munmap(self->addr, HFTCHAN_PAGE_BYTES));
}

TEST_F_TIMEOUT(fail_nth, map, LONG_TIMEOUT)
{
	SWEEP(.run = run_map_control, .undo = unmap_page, .untouched = open_once);
	SWEEP(.run = run_map_sender, .undo = unmap_page, .untouched = open_once);
	SWEEP(.run = run_map_ring, .undo = unmap_ring, .untouched = open_once);
	if (!self->usable)
		return;
	ASSERT_EQ(0, attach_tx(self->c.fd));
	SWEEP(.run = run_map_ring_tx, .undo = unmap_ring, .untouched = open_once);
	ASSERT_EQ(0, detach_tx(self->c.fd));
}

static int run_prefault(fail_nth_data *self)
{
	return prefault(self->c.fd, self->addr, self->c.ring_bytes);
}

/* a fault that found no memory is one that can be repeated */
static int still_mapped(fail_nth_data *self)
{
	CHECK_EQ(0, run_prefault(self));
	CHECK_EQ(0, probe_read(self->addr));
	return unmap_ring(self);
}

TEST_F_TIMEOUT(fail_nth, prefault, LONG_TIMEOUT)
{
	SWEEP(.before = run_map_ring, .run = run_prefault, .undo = unmap_ring,
	      .untouched = still_mapped);
}

static int run_touch(fail_nth_data *self)
{
	read_once(self->addr);
	read_once((unsigned char *)self->addr + self->c.ring_bytes - 1);
	return 0;
}

TEST_F_TIMEOUT(fail_nth, touch, LONG_TIMEOUT)
{
	SWEEP(.before = run_map_ring, .run = run_touch, .undo = unmap_ring);
}

static int map_and_touch(fail_nth_data *self)
{
	CHECK_EQ(0, run_map_ring(self));
	return run_touch(self);
}

static int run_cut(fail_nth_data *self)
{
	return neg_errno(munmap(self->addr, HUGE_BYTES));
}

TEST_F_TIMEOUT(fail_nth, cut, LONG_TIMEOUT)
{
	SWEEP(.before = map_and_touch, .run = run_cut, .undo = unmap_ring,
	      .untouched = still_mapped);
}

static int run_seq(fail_nth_data *self)
{
	char path[160];
	long long seq;

	snprintf(path, sizeof(path), SYSFS_CLASS "/hftchan-%s/seq", self->c.name);
	seq = read_number(path);
	return seq < 0 ? (int)seq : 0;
}

TEST_F_TIMEOUT(fail_nth, attribute, LONG_TIMEOUT)
{
	SWEEP(.run = run_seq);
}

TEST_HARNESS_MAIN
