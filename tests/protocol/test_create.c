// SPDX-License-Identifier: MIT
/*
 * Creating, opening, inspecting and destroying a channel: its attributes, its file, what it says
 * of itself, the errors of each wrong attribute.
 * It is no test of wrong files (test_badinput.c) nor of names (test_names.c).
 * The contract is in <hftchan.h>.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "common.h"

static bool stop_sending;

/* create must fail with @err, name the object and leave nothing */
static void refused(const struct hftchan_attr *attr, int err)
{
	static const char *const backends[] = { SHARED, "local:" };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(backends); i++) {
		const char *name = new_name(backends[i]);
		struct hftchan *ch = NULL;
		int got = hftchan_create(name, attr, &ch);

		if (got != err)
			fail_msg("%s: %d, not %d: %s", name, got, err, hftchan_strerror_last());
		assert_null(ch);
		if (!strstr(hftchan_strerror_last(), name))
			fail_msg("does not name %s: %s", name, hftchan_strerror_last());
	}
	nothing_left_behind(NULL);
}

static void test_wrong_attributes(void **state)
{
	static const uint64_t bad_slots[] = { 0, 1, 2, 3, 5, 6, 7, 12, 100, 1023, 1025,
					      (1ULL << 31) - 1, (1ULL << 31) + 1, 1ULL << 32,
					      1ULL << 63, ~0ULL, (uint64_t)-4 };
	static const uint64_t bad_payloads[] = { 0, HFTCHAN_PAYLOAD_MAX + 1ULL, 1ULL << 32,
						 (1ULL << 32) + 56, ~0ULL, (uint64_t)-8,
						 1ULL << 63 };
	struct hftchan_attr attr;
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad_slots); i++) {
		attr = attr_of(56, bad_slots[i]);
		refused(&attr, -EINVAL);
	}
	for (i = 0; i < ARRAY_SIZE(bad_payloads); i++) {
		attr = attr_of(bad_payloads[i], 4);
		refused(&attr, -EINVAL);
	}
	attr = attr_of(56, 4);
	attr.first_seq = 0;
	refused(&attr, -EINVAL);
	attr.first_seq = HFTCHAN_FIRST_SEQ_MAX + 1;
	refused(&attr, -EINVAL);
	attr.first_seq = ~0ULL;
	refused(&attr, -EINVAL);

	attr = attr_of(56, 4);
	attr.flags = HFTCHAN_F_STAMPED;
	refused(&attr, -EOPNOTSUPP);
	attr.flags = HFTCHAN_F_EPHEMERAL;
	refused(&attr, -EOPNOTSUPP);
	attr.flags = 1ULL << 63;
	refused(&attr, -EOPNOTSUPP);
	attr = attr_of(56, 4);
	attr.layout = HFTCHAN_LAYOUT_SPLIT;
	refused(&attr, -EOPNOTSUPP);
	attr.layout = HFTCHAN_LAYOUT_RAW;
	refused(&attr, -EOPNOTSUPP);
	attr.layout = 77;
	refused(&attr, -EOPNOTSUPP);

	attr = attr_of(56, 4);
	attr.node = 1000000;
	refused(&attr, -ENODEV);
	attr.node = -2;
	refused(&attr, -EINVAL);

	attr = attr_of(56, 4);
	attr.size = 0;
	refused(&attr, -EINVAL);
	attr.size = sizeof(attr) + 8;
	refused(&attr, -EINVAL);
}

static void test_no_attributes(void **state)
{
	struct hftchan *ch = NULL;

	(void)state;
	assert_int_equal(hftchan_create(new_name(SHARED), NULL, &ch), -EINVAL);
	assert_int_equal(hftchan_create("local:", NULL, &ch), -EINVAL);
}

static void test_modes(void **state)
{
	static const mode_t bad[] = { 0622, 0602, 0700, 0755, 01600, 04644, 0666, 0400, 0620 };
	static const mode_t good[] = { 0600, 0640, 0644, 0604 };
	static const mode_t for_senders[] = { 0660, 0664 };	/* in dev: */
	struct hftchan_attr attr = attr_of(56, 4);
	mode_t mask = umask(077);
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		attr.mode = bad[i];
		assert_int_equal(hftchan_create(new_name(SHARED), &attr, NULL), -EINVAL);
	}
	for (i = 0; i < ARRAY_SIZE(for_senders); i++) {
		attr.mode = for_senders[i];
		assert_int_equal(hftchan_create(new_name(SHARED), &attr, NULL),
				 over_dev() ? 0 : -EINVAL);
	}
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		const char *name = new_name(SHARED);
		struct hftchan *ch;
		struct stat st;

		attr.mode = good[i];
		ch = create_channel(name, &attr);
		assert_int_equal(info_of(ch).mode, good[i]);
		hftchan_close(ch);
		/* whatever the umask is */
		assert_int_equal(stat(channel_path(name), &st), 0);
		assert_int_equal(st.st_mode & 07777, good[i]);
		if (over_dev())
			continue;
		/* who may read must not be able to hold the sender's lock */
		assert_int_equal(stat(lock_path(name), &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
	umask(mask);
	clean_up(NULL);
	nothing_left_behind(NULL);
}

static void test_sizes_that_overflow(void **state)
{
	struct hftchan_attr attr;

	(void)state;
	/* 2^31 slots of 2^30 bytes and more */
	attr = attr_of(HFTCHAN_PAYLOAD_MAX, HFTCHAN_NR_SLOTS_MAX);
	refused(&attr, -EOVERFLOW);
	/* one more than the largest ring */
	attr = attr_of(HFTCHAN_PAYLOAD_MAX, 1ULL << 16);
	refused(&attr, -EOVERFLOW);
}

static void test_larger_than_memory(void **state)
{
	/* 16 TiB */
	struct hftchan_attr attr = attr_of((1 << 20) - 8, 1ULL << 24);
	struct hftchan *ch = NULL;
	int err;

	(void)state;
	err = hftchan_create(new_name(SHARED), &attr, &ch);
	assert_true(err == -ENOMEM || err == -ENOSPC);
	assert_int_equal(hftchan_create("local:", &attr, &ch), -ENOMEM);
	assert_null(ch);
	nothing_left_behind(NULL);
}

static int in_small_shm(void *arg)
{
	struct hftchan_attr attr = attr_of(56, 1 << 16);	/* 4 MiB */
	const char *name = arg;
	struct hftchan *ch = NULL;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/dev/shm", "tmpfs", 0, "size=1M"))
		return 77;
	CHECK_EQ(hftchan_create(name, &attr, &ch), -ENOSPC);
	CHECK(strstr(hftchan_strerror_last(), name));
	CHECK(strstr(hftchan_strerror_last(), "/dev/shm"));
	CHECK(access(channel_path(name), F_OK));
	/* nothing was kept: a small one fits */
	attr = attr_of(56, 4096);
	CHECK_EQ(hftchan_create(name, &attr, &ch), 0);
	hftchan_close(ch);
	/* and once full, it is full, without a trace of what was tried */
	attr = attr_of(56, 8192);
	CHECK_EQ(hftchan_create("shm:second", &attr, NULL), 0);
	attr = attr_of(56, 4096);
	CHECK_EQ(hftchan_create("shm:third", &attr, NULL), -ENOSPC);
	CHECK_EQ(hftchan_destroy("shm:third", 0), -ENOENT);
	CHECK(access("/dev/shm/hftchan-third.lock", F_OK));
	return 0;
}

static void test_dev_shm_full(void **state)
{
	char name[64];
	int status;

	(void)state;
	SHM_ONLY("the size of /dev/shm");
	strcpy(name, new_name(SHARED));
	status = in_child(in_small_shm, name);
	if (status == 77 << 8) {
		print_message("needs root: a small /dev/shm of its own\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* more than RLIMIT_MEMLOCK in a process that locks all it maps: no error that is worth a retry */
static int locks_all(void *arg)
{
	const struct rlimit limit = { 1 << 20, 1 << 20 };
	struct hftchan_attr attr = attr_of(56, 1 << 16);	/* 4 MiB */
	struct hftchan *ch = NULL;

	CHECK(geteuid() || !setresuid(65534, 65534, 65534));
	CHECK_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	CHECK_EQ(syscall(SYS_mlockall, MCL_FUTURE), 0);	/* mlockall() does nothing under ASan */
	CHECK_EQ(hftchan_create(arg, &attr, &ch), -ENOMEM);
	CHECK(strstr(hftchan_strerror_last(), "ulimit -l"));
	CHECK(access(channel_path(arg), F_OK));
	return 0;
}

static void test_locked_memory(void **state)
{
	char name[64];

	(void)state;
	SHM_ONLY("for others RLIMIT_MEMLOCK is a limit at create");
	strcpy(name, new_name(SHARED));
	assert_int_equal(in_child(locks_all, name), 0);
}

static void test_exists_already(void **state)
{
	struct hftchan_attr attr = attr_of(56, 4);
	const char *name = new_name(SHARED);
	struct hftchan *ch = create_channel(name, &attr), *second = NULL;
	struct hftchan_tx *tx;

	(void)state;
	assert_int_equal(hftchan_create(name, &attr, &second), -EEXIST);
	assert_non_null(strstr(hftchan_strerror_last(), name));
	assert_null(second);
	tx = attach(ch);
	assert_int_equal(hftchan_create(name, &attr, &second), -EEXIST);
	/* it was not harmed */
	send_next(tx);
	hftchan_detach(tx);
	hftchan_close(ch);
	ch = open_channel(name);
	assert_int_equal(info_of(ch).newest, 1);
	hftchan_close(ch);
}

static void test_info(void **state)
{
	static const char *const backends[] = { SHARED, "local:" };
	unsigned int b;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct hftchan_attr attr = attr_of(100, 64);
		const char *name = new_name(backends[b]);
		struct hftchan_info info;
		struct hftchan_tx *tx;
		struct hftchan *ch;

		attr.first_seq = 1000;
		attr.type_tag = 0xfeedfacecafebeefULL;
		attr.flags = HFTCHAN_F_VARLEN;
		ch = create_channel(name, &attr);
		info = info_of(ch);
		assert_int_equal(info.payload_size, 100);
		assert_int_equal(info.nr_slots, 64);
		assert_int_equal(info.slot_size, 128);	/* 8 + 8 + 100 */
		assert_int_equal(info.ring_size, 64 * 128);
		assert_int_equal(info.first_seq, 1000);
		assert_int_equal(info.newest, 999);
		assert_true(info.type_tag == 0xfeedfacecafebeefULL);
		assert_int_equal(info.flags, HFTCHAN_F_VARLEN);
		assert_true(info.created_ns > 1600000000000000000ULL);
		assert_int_equal(info.epoch, 0);
		assert_int_equal(info.epoch_seq, 0);
		assert_int_equal(info.attached_ns, 0);
		assert_int_equal(info.heartbeat_ns, 0);
		assert_int_equal(info.nr_deaths, 0);
		assert_int_equal(info.layout, HFTCHAN_LAYOUT_PACKED);
		assert_true(info.page_size >= 4096);
		if (over_dev() && !b)
			assert_true(info.node >= 0);
		else
			assert_int_equal(info.node, -1);
		assert_int_equal(info.sender_state, HFTCHAN_SENDER_NONE);
		assert_int_equal(info.sender_pid, 0);
		assert_int_equal(info.destroyed, 0);
		assert_int_equal(info.mode, 0600);
		assert_int_equal(info.owner, geteuid());
		assert_int_equal(info.group, getegid());
		assert_int_equal(info.holder_flags, 0);
		if (over_dev() && !b) {
			assert_int_equal(info.page_size, 2 << 20);
			assert_int_equal(info.locked_bytes, 2 << 20);
			assert_int_equal(info.creator, geteuid());
			assert_int_equal(info.nr_open, 1);
		} else {
			assert_int_equal(info.locked_bytes, 0);
			assert_int_equal(info.creator, (uid_t)-1);
			assert_int_equal(info.nr_open, 0);
		}

		tx = attach(ch);
		send_many(tx, 3);
		assert_int_equal(hftchan_heartbeat(tx), 0);
		info = info_of(ch);
		assert_int_equal(info.newest, 1002);
		assert_int_equal(info.epoch, 1);
		assert_int_equal(info.epoch_seq, 1000);
		assert_int_equal(info.sender_state, HFTCHAN_SENDER_ATTACHED);
		assert_int_equal(info.sender_pid, getpid());
		assert_true(info.attached_ns >= info.created_ns);
		assert_true(info.heartbeat_ns > 0 && info.heartbeat_ns <= now_ns());
		hftchan_detach(tx);
		info = info_of(ch);
		assert_int_equal(info.sender_state, HFTCHAN_SENDER_NONE);
		assert_int_equal(info.sender_pid, over_dev() && !b ? 0 : getpid());
		tx = attach(ch);
		info = info_of(ch);
		assert_int_equal(info.epoch, 2);
		assert_int_equal(info.epoch_seq, 1003);
		assert_int_equal(info.heartbeat_ns, 0);	/* none in this epoch */
		assert_int_equal(info.nr_deaths, 0);
		hftchan_detach(tx);

		info.size--;
		assert_int_equal(hftchan_get_info(ch, &info), -EINVAL);
		assert_int_equal(hftchan_get_info(ch, NULL), -EINVAL);
		hftchan_close(ch);
	}
}

static void test_slot_sizes(void **state)
{
	static const struct {
		uint64_t payload, flags, slot;
	} sizes[] = {
		{ 1, 0, 64 }, { 56, 0, 64 }, { 57, 0, 128 }, { 120, 0, 128 }, { 121, 0, 192 },
		{ 4096, 0, 4160 }, { 48, HFTCHAN_F_VARLEN, 64 }, { 49, HFTCHAN_F_VARLEN, 128 },
		{ 1, HFTCHAN_F_VARLEN, 64 },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct hftchan_attr attr = attr_of(sizes[i].payload, 8);
		struct hftchan *ch;

		attr.flags = sizes[i].flags;
		ch = create_channel("local:", &attr);
		assert_int_equal(info_of(ch).slot_size, sizes[i].slot);
		assert_int_equal(info_of(ch).ring_size, 8 * sizes[i].slot);
		hftchan_close(ch);
	}
}

static void test_control_page_bytes(void **state)
{
	struct hftchan_attr attr = attr_of(24, 16);
	const char *name = new_name(SHARED);
	struct hftchan_control c;
	struct hftchan *ch;
	FILE *f;

	(void)state;
	SHM_ONLY("its file");
	attr.first_seq = 77;
	attr.type_tag = 0x1122334455667788ULL;
	ch = create_channel(name, &attr);
	f = fopen(channel_path(name), "re");
	assert_non_null(f);
	assert_int_equal(fread(&c, sizeof(c), 1, f), 1);
	assert_true(c.magic == HFTCHAN_MAGIC);
	assert_int_equal(c.version, HFTCHAN_ABI_VERSION);
	assert_int_equal(c.compat_version, 1);
	assert_int_equal(c.header_size, sizeof(c));
	assert_int_equal(c.layout, HFTCHAN_LAYOUT_PACKED);
	assert_int_equal(c.flags, 0);
	assert_int_equal(c.payload_size, 24);
	assert_int_equal(c.payload_offset, 8);
	assert_int_equal(c.nr_slots, 16);
	assert_int_equal(c.slot_size, 64);
	assert_int_equal(c.ring_size, 1024);
	assert_int_equal(c.first_seq, 77);
	assert_true(c.type_tag == 0x1122334455667788ULL);
	assert_int_equal(c.node, -1);
	assert_int_equal(c.ring_offset % 65536, 0);
	assert_int_equal(c.ring_tx_offset, c.ring_offset);
	assert_int_equal(c.sender_offset % 65536, 0);
	assert_int_equal(c.epoch, 0);
	assert_int_equal(c.sender_state, 0);
	assert_int_equal(c.destroyed, 0);
	assert_int_equal(c.waiters, 0);
	assert_int_equal(c.ring_path[0], 0);
	assert_int_equal(c.sender_tx_offset, c.sender_offset);
	fclose(f);
	hftchan_close(ch);
}

static void test_placement(void **state)
{
	static const char *const backends[] = { SHARED, "local:" };
	unsigned int b, i;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct hftchan_attr attr = attr_of(56, 1024);
		uint64_t pages[64], sum = 0;
		struct hftchan_info info;
		struct hftchan *ch;
		int told;

		ch = create_channel(new_name(backends[b]), &attr);
		info = info_of(ch);
		told = hftchan_placement(ch, pages, ARRAY_SIZE(pages));
		if (told < 0) {
			print_message("%s\n", hftchan_strerror_last());
			fail();
		}
		for (i = 0; i < ARRAY_SIZE(pages); i++)
			sum += pages[i];
		/* populated from the start: each page lies somewhere */
		assert_int_equal(sum, told);
		assert_int_equal(told, (info.ring_size + info.page_size - 1) / info.page_size);
		/* none asked for: none told */
		assert_int_equal(hftchan_placement(ch, pages, 0), 0);
		hftchan_close(ch);
	}
}

static void test_node_zero(void **state)
{
	struct hftchan_attr attr = attr_of(56, 1024);
	struct hftchan_info info;
	uint64_t pages[1];
	struct hftchan *ch;

	(void)state;
	attr.node = 0;
	ch = create_channel(new_name(SHARED), &attr);
	info = info_of(ch);
	assert_int_equal(info.node, 0);
	assert_int_equal(hftchan_placement(ch, pages, 1),
			 (info.ring_size + info.page_size - 1) / info.page_size);
	assert_true(pages[0] > 0);
	hftchan_close(ch);
}

static void *send_flat_out(void *arg)
{
	struct hftchan_tx *tx = attach(arg);
	unsigned char buf[56] = { 0 };

	while (!__atomic_load_n(&stop_sending, __ATOMIC_RELAXED))
		hftchan_send(tx, buf, sizeof(buf));
	hftchan_detach(tx);
	return NULL;
}

/* a walk that the sender overtakes is tried again, and never taken for corruption */
static void test_check_beside_a_sender(void **state)
{
	struct hftchan_check_result res = { .size = sizeof(res) };
	struct hftchan_attr attr = attr_of(56, 1024);
	struct hftchan *ch = create_channel("local:", &attr);
	uint64_t moved = 0, newest;
	unsigned int i;
	pthread_t thread;

	(void)state;
	stop_sending = false;
	assert_int_equal(pthread_create(&thread, NULL, send_flat_out, ch), 0);
	/* until the sender was at work during so many of them */
	for (i = 0; moved < 1000; i++) {
		int err;

		newest = info_of(ch).newest;
		err = hftchan_check(ch, &res);
		if (err && err != -EAGAIN)
			fail_msg("check %u: %s", i, hftchan_strerror_last());
		moved += info_of(ch).newest != newest;
	}
	__atomic_store_n(&stop_sending, true, __ATOMIC_RELAXED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(hftchan_check(ch, &res), 0);
	hftchan_close(ch);
}

static void test_check(void **state)
{
	static const char *const backends[] = { SHARED, "local:" };
	unsigned int b;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct hftchan_check_result res = { .size = sizeof(res) };
		struct hftchan_attr attr = attr_of(56, 16);
		struct hftchan_tx *tx, *second;
		struct hftchan *ch;
		uint64_t v, good;

		ch = create_channel(new_name(backends[b]), &attr);
		assert_int_equal(hftchan_check(ch, &res), 0);
		assert_int_equal(res.newest, 0);
		assert_int_equal(res.oldest, 1);
		assert_int_equal(res.nr_dirty, 0);
		tx = attach(ch);
		send_many(tx, 100);
		assert_int_equal(hftchan_check(ch, &res), 0);
		assert_int_equal(res.newest, 100);
		assert_int_equal(res.oldest, 100 - 16 + 3);
		assert_int_equal(res.nr_dirty, 2);
		res.size = 3;
		assert_int_equal(hftchan_check(ch, &res), -EINVAL);
		res.size = sizeof(res);
		assert_int_equal(hftchan_check(ch, NULL), -EINVAL);

		/* slot 10 should hold 90, six behind the others around it */
		v = 1234567;
		good = state_at(&tx->ring, 90);
		memcpy(tx->ring.slots + 10 * 64, &v, sizeof(v));
		assert_int_equal(hftchan_check(ch, &res), -EBADMSG);
		assert_non_null(strstr(hftchan_strerror_last(), hftchan_name(ch)));
		v = 75;
		memcpy(tx->ring.slots + 10 * 64, &v, sizeof(v));
		assert_int_equal(hftchan_check(ch, &res), -EBADMSG);
		assert_int_equal(res.bad_slot, 10);
		assert_int_equal(res.bad_state, 75);
		assert_non_null(strstr(hftchan_strerror_last(), "slot 10"));
		hftchan_detach(tx);
		/* in the way of an attach that looks at all slots, not of one that doesn't */
		assert_int_equal(hftchan_attach(ch, HFTCHAN_ATTACH_VERIFY, &second), -EBADMSG);
		assert_non_null(strstr(hftchan_strerror_last(), "slot 10"));
		assert_int_equal(hftchan_attach(ch, 0, &second), 0);
		hftchan_detach(second);
		assert_int_equal(info_of(ch).epoch, 2);
		assert_true(good == 90);
		hftchan_close(ch);
	}
}

static void test_expectations(void **state)
{
	struct hftchan_expect expect = HFTCHAN_EXPECT_INIT;
	struct hftchan_attr attr = attr_of(100, 4);
	const char *name = new_name(SHARED);
	struct hftchan *ch = NULL;

	(void)state;
	attr.type_tag = 0xabc1;
	assert_int_equal(hftchan_create(name, &attr, NULL), 0);
	assert_int_equal(hftchan_open(name, &expect, &ch), 0);
	hftchan_close(ch);
	ch = NULL;
	expect.payload_size = 100;
	expect.check_type = 1;
	expect.type_tag = 0xabc1;
	assert_int_equal(hftchan_open(name, &expect, &ch), 0);
	hftchan_close(ch);
	ch = NULL;

	expect.payload_size = 101;
	assert_int_equal(hftchan_open(name, &expect, &ch), -EPROTOTYPE);
	assert_non_null(strstr(hftchan_strerror_last(), name));
	assert_non_null(strstr(hftchan_strerror_last(), "101"));
	assert_non_null(strstr(hftchan_strerror_last(), "100"));
	expect.payload_size = (1ULL << 32) + 100;	/* nor cut to 32 bits */
	assert_int_equal(hftchan_open(name, &expect, &ch), -EPROTOTYPE);
	expect.payload_size = 100;
	expect.type_tag = 0xdef2;
	assert_int_equal(hftchan_open(name, &expect, &ch), -EPROTOTYPE);
	assert_non_null(strstr(hftchan_strerror_last(), name));
	assert_non_null(strstr(hftchan_strerror_last(), "abc1"));
	assert_non_null(strstr(hftchan_strerror_last(), "def2"));
	expect.type_tag = 0;	/* a value as any other, when it is to be checked */
	assert_int_equal(hftchan_open(name, &expect, &ch), -EPROTOTYPE);
	expect.check_type = 0;
	assert_int_equal(hftchan_open(name, &expect, &ch), 0);
	hftchan_close(ch);
	ch = NULL;
	expect.size = 0;
	assert_int_equal(hftchan_open(name, &expect, &ch), -EINVAL);
	assert_null(ch);
}

static void test_destroy(void **state)
{
	struct hftchan_attr attr = attr_of(56, 4);
	const char *name = new_name(SHARED);
	struct hftchan *ch = create_channel(name, &attr), *again;

	(void)state;
	assert_int_equal(hftchan_destroy(name, 4), -EOPNOTSUPP);
	assert_int_equal(hftchan_destroy(name, HFTCHAN_DESTROY_ZAP),
			 over_dev() ? -EINVAL : -EOPNOTSUPP);
	assert_int_equal(hftchan_destroy(name, ~0U), -EOPNOTSUPP);
	if (over_dev()) {
		assert_int_equal(hftchan_destroy(name, 0), -EBUSY);
		assert_non_null(strstr(hftchan_strerror_last(), name));
		assert_non_null(strstr(hftchan_strerror_last(), "open 1 times"));
	}
	assert_int_equal(hftchan_destroy(name, while_open()), 0);
	assert_int_equal(hftchan_destroy(name, 0), -ENOENT);
	assert_non_null(strstr(hftchan_strerror_last(), name));
	assert_int_equal(hftchan_destroy(name, HFTCHAN_DESTROY_FORCE), -ENOENT);
	assert_int_equal(hftchan_open(name, NULL, &again), -ENOENT);
	assert_non_null(strstr(hftchan_strerror_last(), "hftchan create"));
	assert_int_equal(info_of(ch).destroyed, 1);
	/* the name is free for another one, of which the old handle knows nothing */
	attr = attr_of(8, 8);
	again = create_channel(name, &attr);
	assert_int_equal(info_of(again).payload_size, 8);
	assert_int_equal(info_of(again).destroyed, 0);
	assert_int_equal(info_of(ch).payload_size, 56);
	hftchan_close(again);
	hftchan_close(ch);
}

static void test_handles_close_in_any_order(void **state)
{
	static const char *const backends[] = { SHARED, "local:" };
	unsigned int b;

	(void)state;
	for (b = 0; b < ARRAY_SIZE(backends); b++) {
		struct hftchan_attr attr = attr_of(8, 4);
		struct hftchan *ch = create_channel(new_name(backends[b]), &attr);
		struct hftchan_tx *tx = attach(ch);
		struct hftchan_rx *rx = join(ch, HFTCHAN_JOIN_NEXT, 0), *clone = NULL;
		unsigned char buf[8];

		hftchan_close(ch);
		send_next(tx);
		assert_int_equal(hftchan_clone(rx, &clone), 0);
		assert_int_equal(hftchan_try_recv(rx, buf, sizeof(buf), NULL), 8);
		hftchan_leave(rx);
		send_next(tx);
		hftchan_detach(tx);
		assert_int_equal(hftchan_try_recv(clone, buf, sizeof(buf), NULL), 8);
		assert_true(message_is(buf, 8, 1, 0));
		assert_int_equal(hftchan_try_recv(clone, buf, sizeof(buf), NULL), 8);
		assert_true(message_is(buf, 8, 2, 0));
		hftchan_leave(clone);
	}
	hftchan_close(NULL);
	hftchan_leave(NULL);
	hftchan_detach(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrong_attributes),
		cmocka_unit_test(test_no_attributes),
		cmocka_unit_test_teardown(test_modes, clean_up),
		cmocka_unit_test(test_sizes_that_overflow),
		cmocka_unit_test(test_larger_than_memory),
		cmocka_unit_test(test_dev_shm_full),
		cmocka_unit_test_teardown(test_locked_memory, clean_up),
		cmocka_unit_test_teardown(test_check_beside_a_sender, clean_up),
		cmocka_unit_test_teardown(test_exists_already, clean_up),
		cmocka_unit_test_teardown(test_info, clean_up),
		cmocka_unit_test(test_slot_sizes),
		cmocka_unit_test_teardown(test_control_page_bytes, clean_up),
		cmocka_unit_test_teardown(test_placement, clean_up),
		cmocka_unit_test_teardown(test_node_zero, clean_up),
		cmocka_unit_test_teardown(test_check, clean_up),
		cmocka_unit_test_teardown(test_expectations, clean_up),
		cmocka_unit_test_teardown(test_destroy, clean_up),
		cmocka_unit_test_teardown(test_handles_close_in_any_order, clean_up),
		cmocka_unit_test(nothing_left_behind),
	};

	return cmocka_run_group_tests_name("create", tests, NULL, NULL);
}
