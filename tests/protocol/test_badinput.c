// SPDX-License-Identifier: MIT
/*
 * Files under a channel's name that are no channel, or a damaged one: each field of the control
 * page changed, truncated at every interesting size, other kinds of files, random damage. Opening
 * must refuse with the right error, name the object, and never crash.
 * It is no test of wrong arguments (test_create.c, test_names.c).
 * The contract is hftchan_open() and hftchan_destroy() in <hftchan.h>, struct hftchan_control in
 * <linux/hftchan.h>.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "common.h"

static char name[64];

static int make(void **state)
{
	struct hftchan_attr attr = attr_of(16, 8);

	(void)state;
	strcpy(name, new_name("shm:"));
	return hftchan_create(name, &attr, NULL);
}

static void patch(size_t offset, const void *bytes, size_t len)
{
	int fd = open(channel_path(name), O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(pwrite(fd, bytes, len, (off_t)offset), len);
	CHECK_EQ(close(fd), 0);
}

static struct hftchan_control control_page(void)
{
	int fd = open(channel_path(name), O_RDONLY | O_CLOEXEC);
	struct hftchan_control c;

	CHECK(fd >= 0);
	CHECK_EQ(pread(fd, &c, sizeof(c), 0), sizeof(c));
	CHECK_EQ(close(fd), 0);
	return c;
}

/* open, and destroy without force, must fail with @err and name the channel */
static void assert_refused(int err, const char *what)
{
	struct hftchan *ch = NULL;
	int got = hftchan_open(name, NULL, &ch);

	if (got != err)
		fail_msg("%s: open says %d, not %d: %s", what, got, err,
			 got ? hftchan_strerror_last() : "opened");
	assert_null(ch);
	if (!strstr(hftchan_strerror_last(), name))
		fail_msg("%s: does not name %s: %s", what, name, hftchan_strerror_last());
	got = hftchan_destroy(name, 0);
	if (got != err)
		fail_msg("%s: destroy says %d, not %d: %s", what, got, err,
			 got ? hftchan_strerror_last() : "destroyed");
}

#define FIELD(f, e, ...)							\
	{ #f, offsetof(struct hftchan_control, f),				\
	  sizeof(((struct hftchan_control *)0)->f), e, { __VA_ARGS__, END } }
#define END	0x6e6420656e642065ULL	/* ends a list of values */

static const struct {
	const char *name;
	size_t offset, size;
	int err;
	uint64_t bad[16];
} fields[] = {
	FIELD(magic, -EBADMSG, 0, 1, HFTCHAN_MAGIC + 1, HFTCHAN_MAGIC ^ (1ULL << 63), ~0ULL),
	FIELD(compat_version, -EPROTONOSUPPORT, HFTCHAN_ABI_VERSION + 1, 0xffffffff, 0),
	FIELD(version, -EBADMSG, 0),
	FIELD(header_size, -EBADMSG, 0, 1, 767, 0xffffffff),
	FIELD(layout, -EPROTONOSUPPORT, HFTCHAN_LAYOUT_SPLIT, HFTCHAN_LAYOUT_RAW, 3, 0xffffffff),
	FIELD(flags, -EPROTONOSUPPORT, HFTCHAN_F_STAMPED, HFTCHAN_F_EPHEMERAL, 1ULL << 3,
	      1ULL << 32, 1ULL << 63, ~0ULL),
	FIELD(payload_size, -EBADMSG, 0, 57, 64, HFTCHAN_PAYLOAD_MAX, HFTCHAN_PAYLOAD_MAX + 1,
	      0xffffffff),
	FIELD(payload_offset, -EBADMSG, 0, 4, 7, 9, 16, 48, 64, 128, 0xffffffff),
	FIELD(nr_slots, -EBADMSG, 0, 1, 2, 3, 4, 7, 9, 12, 16, 1ULL << 31, 1ULL << 32, 1ULL << 63,
	      ~0ULL),
	FIELD(slot_size, -EBADMSG, 0, 1, 8, 24, 56, 63, 65, 128, 1ULL << 32, 1ULL << 61, ~0ULL),
	FIELD(ring_size, -EBADMSG, 0, 1, 448, 511, 513, 1024, 1ULL << 32, 1ULL << 46, ~0ULL),
	FIELD(ring_offset, -EBADMSG, 0, 1, 4096, 65536, (2 << 20) + 1, (2 << 20) + 4096, 4 << 20,
	      1ULL << 40, 1ULL << 63, ~0ULL, ~4095ULL),
	FIELD(ring_tx_offset, -EBADMSG, 0, 4096, 65536, 4 << 20, ~0ULL),
	FIELD(sender_tx_offset, -EBADMSG, 0, 4096, 131072, ~0ULL),
	FIELD(sender_offset, -EBADMSG, 0, 1, 4096, 65537, 2 << 20, 1ULL << 40, ~0ULL),
	FIELD(first_seq, -EBADMSG, 0, HFTCHAN_FIRST_SEQ_MAX + 1, 1ULL << 63, ~0ULL),
	FIELD(page_size, -EBADMSG, 0, 1, 4095, 4097, 2048, 12288, 0x80000000, 0xffffffff),
	FIELD(node, -EBADMSG, (uint32_t)-2, 0x80000000),
	/* a path where this file has the ring itself, and one without an end */
	FIELD(ring_path, -EBADMSG, 0x6d68732f7665642fULL, '/', 'x', 0xff),
};

static void test_each_field(void **state)
{
	const struct hftchan_control good = control_page();
	unsigned int i, j, tried = 0;
	struct hftchan *ch;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		for (j = 0; fields[i].bad[j] != END; j++) {
			struct hftchan_control c = good;
			char what[64];
			size_t size = fields[i].size < 8 ? fields[i].size : 8;

			memcpy((char *)&c + fields[i].offset, &fields[i].bad[j], size);
			snprintf(what, sizeof(what), "%s = %#llx", fields[i].name,
				 (unsigned long long)fields[i].bad[j]);
			patch(0, &c, sizeof(c));
			assert_refused(fields[i].err, what);
			tried++;
		}
	}
	assert_true(tried > 90);
	/* several at once, so that each product is right but overflows */
	{
		struct hftchan_control c = good;

		c.nr_slots = HFTCHAN_NR_SLOTS_MAX;
		c.payload_size = HFTCHAN_PAYLOAD_MAX;
		c.slot_size = HFTCHAN_PAYLOAD_MAX + 64;
		c.ring_size = c.nr_slots * c.slot_size;
		patch(0, &c, sizeof(c));
		assert_refused(-EBADMSG, "largest ring");
		c = good;
		c.nr_slots = 1ULL << 31;
		c.ring_size = c.nr_slots * 64;
		patch(0, &c, sizeof(c));
		assert_refused(-EBADMSG, "ring larger than its file");
		c = good;
		c.ring_offset = 0;
		c.ring_tx_offset = 0;
		memset(c.ring_path, '/', sizeof(c.ring_path));
		patch(0, &c, sizeof(c));
		assert_refused(-EBADMSG, "path without an end");
		assert_non_null(strstr(hftchan_strerror_last(), "contradicts itself"));
	}
	/* the good one is good, a newer one that old readers understand too */
	patch(0, &good, sizeof(good));
	hftchan_close(open_channel(name));
	patch(offsetof(struct hftchan_control, version), &(uint32_t){ 7 }, 4);
	hftchan_close(open_channel(name));
	patch(offsetof(struct hftchan_control, header_size), &(uint32_t){ 1024 }, 4);
	ch = open_channel(name);
	assert_int_equal(info_of(ch).newest, 0);
	hftchan_close(ch);
}

/* a file that is not there where the control page says that a ring's file is */
static void test_foreign_ring_path(void **state)
{
	static const char *const paths[] = {
		"/",
		"/etc/passwd",
		"/dev/shm/hftchan-x",
		"/dev/shm/x",
		"../x",
		"hftchan-x",
		"/hftchan-x",
		"/proc/self/mem",
		"/dev/hugepages/../../etc/hftchan-x",
	};
	const struct hftchan_control good = control_page();
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(paths); i++) {
		struct hftchan_control c = good;
		struct hftchan *ch = NULL;
		int err;

		c.ring_offset = 0;
		c.ring_tx_offset = 0;
		snprintf(c.ring_path, sizeof(c.ring_path), "%s", paths[i]);
		patch(0, &c, sizeof(c));
		err = hftchan_open(name, NULL, &ch);
		if (err >= 0 || ch)
			fail_msg("opened with ring_path %s", paths[i]);
		assert_non_null(strstr(hftchan_strerror_last(), name));
	}
	assert_int_equal(access("/etc/passwd", F_OK), 0);
	/* force removes the leftover, and nothing else */
	assert_int_equal(hftchan_destroy(name, HFTCHAN_DESTROY_FORCE), 0);
	assert_int_equal(access("/etc/passwd", F_OK), 0);
	assert_int_equal(access(channel_path(name), F_OK), -1);
}

static void test_truncated(void **state)
{
	struct stat st;
	off_t size;
	unsigned int i;

	(void)state;
	assert_int_equal(stat(channel_path(name), &st), 0);
	{
		const off_t sizes[] = { st.st_size - 1, st.st_size - 512, st.st_size - 4096,
					2 << 20, (2 << 20) - 1, 65536 + 4096, 65536 + 4095, 65536,
					65535, 4096, 4095, 768, 767, 512, 8, 7, 1, 0 };

		for (i = 0; i < ARRAY_SIZE(sizes); i++) {
			size = sizes[i];
			/* the ring of 512 bytes must lie in whole pages, which the mapping has */
			assert_int_equal(truncate(channel_path(name), size), 0);
			assert_refused(-EBADMSG, "truncated");
		}
	}
	/* nothing of it is a channel any more: it goes by force only */
	assert_int_equal(access(channel_path(name), F_OK), 0);
	assert_int_equal(hftchan_destroy(name, HFTCHAN_DESTROY_FORCE), 0);
	assert_int_equal(access(channel_path(name), F_OK), -1);
}

static void assert_foreign_file_refused(int err)
{
	struct hftchan_attr attr = attr_of(16, 8);
	struct hftchan *ch = NULL;

	assert_int_equal(hftchan_open(name, NULL, &ch), err);
	assert_non_null(strstr(hftchan_strerror_last(), name));
	assert_int_equal(hftchan_create(name, &attr, &ch), -EEXIST);
	assert_true(hftchan_destroy(name, 0) < 0);
	assert_null(ch);
}

static void test_other_kinds_of_files(void **state)
{
	char path[256], target[300];
	FILE *f;

	(void)state;
	strcpy(path, channel_path(name));
	assert_int_equal(hftchan_destroy(name, 0), 0);

	/* a text */
	f = fopen(path, "we");
	assert_non_null(f);
	fputs("what is this doing here?\n", f);
	fclose(f);
	chmod(path, 0600);
	assert_foreign_file_refused(-EBADMSG);
	assert_int_equal(hftchan_destroy(name, HFTCHAN_DESTROY_FORCE), 0);

	/* a FIFO: not waited for; a link: not followed, even to a channel; a directory; a device */
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_foreign_file_refused(-EPERM);
	assert_int_equal(hftchan_destroy(name, HFTCHAN_DESTROY_FORCE), 0);
	{
		struct hftchan_attr attr = attr_of(16, 8);
		const char *real = new_name("shm:");

		assert_int_equal(hftchan_create(real, &attr, NULL), 0);
		strcpy(target, channel_path(real));
		assert_int_equal(symlink(target, path), 0);
		assert_foreign_file_refused(-EPERM);
		assert_int_equal(hftchan_destroy(name, HFTCHAN_DESTROY_FORCE), 0);
		assert_int_equal(access(target, F_OK), 0);
	}
	{
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		struct sockaddr_un un = { .sun_family = AF_UNIX };

		memcpy(un.sun_path, path, strlen(path));
		assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
		close(fd);
		assert_foreign_file_refused(-EPERM);
		assert_int_equal(hftchan_destroy(name, HFTCHAN_DESTROY_FORCE), 0);
	}
	assert_int_equal(mkdir(path, 0700), 0);
	assert_foreign_file_refused(-EPERM);
	assert_true(hftchan_destroy(name, HFTCHAN_DESTROY_FORCE) < 0);
	assert_int_equal(rmdir(path), 0);
}

/* what a killed creator leaves: a lock file without a channel */
static void test_lock_alone(void **state)
{
	struct hftchan_attr attr = attr_of(16, 8);
	const char *lock = lock_path(name);
	FILE *f;

	(void)state;
	assert_int_equal(hftchan_destroy(name, 0), 0);
	f = fopen(lock, "we");
	assert_non_null(f);
	fclose(f);
	chmod(lock, 0600);
	/* no channel; but no obstacle to one */
	assert_int_equal(hftchan_destroy(name, 0), -ENOENT);
	assert_int_equal(hftchan_create(name, &attr, NULL), 0);
	hftchan_close(open_channel(name));
	assert_int_equal(hftchan_destroy(name, 0), 0);
	assert_int_equal(access(lock, F_OK), -1);
	f = fopen(lock, "we");
	assert_non_null(f);
	fclose(f);
	chmod(lock, 0600);
	assert_int_equal(hftchan_destroy(name, HFTCHAN_DESTROY_FORCE), 0);
	assert_int_equal(access(lock, F_OK), -1);
}

/* a lock file that is none: said so; by force it goes with the channel */
static void test_lock_of_another_kind(void **state)
{
	struct hftchan *ch = open_channel(name);
	struct hftchan_tx *tx = NULL;
	struct hftchan_attr attr = attr_of(16, 8);
	const char *lock = lock_path(name);

	(void)state;
	assert_int_equal(unlink(lock), 0);
	assert_int_equal(symlink("/etc/passwd", lock), 0);
	assert_int_equal(hftchan_attach(ch, 0, &tx), -EPERM);
	hftchan_close(ch);
	assert_int_equal(hftchan_destroy(name, 0), -EPERM);
	assert_int_equal(hftchan_destroy(name, HFTCHAN_DESTROY_FORCE), 0);
	assert_int_equal(access(channel_path(name), F_OK), -1);
	assert_int_equal(access(lock, F_OK), -1);
	assert_int_equal(access("/etc/passwd", F_OK), 0);
	/* a directory is not removed, but named */
	assert_int_equal(mkdir(lock, 0700), 0);
	assert_int_equal(hftchan_create(name, &attr, NULL), -EPERM);
	assert_non_null(strstr(hftchan_strerror_last(), lock));
	assert_true(hftchan_destroy(name, HFTCHAN_DESTROY_FORCE) < 0);
	assert_non_null(strstr(hftchan_strerror_last(), lock));
	assert_int_equal(rmdir(lock), 0);
}

/* somebody else's file: to be removed it is not mapped, or a hole in it would get pages */
static void test_destroy_maps_nothing(void **state)
{
	struct hftchan_attr attr = attr_of(56, 1 << 16);	/* 4 MiB */
	const char *big = new_name("shm:");
	struct stat st;
	int fd;

	(void)state;
	assert_int_equal(hftchan_create(big, &attr, NULL), 0);
	fd = open(channel_path(big), O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 << 20,
				   4 << 20), 0);
	assert_int_equal(hftchan_destroy(big, 0), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_blocks * 512 < 1 << 20);
	close(fd);
}

/* a name in the page is printed: on terminals that know C1 controls, two bytes move the cursor */
static void test_texts_are_printable(void **state)
{
	const char path[] = "/dev/hugepages/hftchan-\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x8c+"
			    "\xc2\x9b" "31m\x1b[7m\x7f\x9b\xc3\xe0\x82\x9b\xf0\x80\x82\x9b\xff.";
	struct hftchan_control c = control_page();
	struct hftchan *ch = NULL;

	(void)state;
	c.ring_offset = 0;
	c.ring_tx_offset = 0;
	memcpy(c.ring_path, path, sizeof(path));
	patch(0, &c, sizeof(c));
	assert_true(hftchan_open(name, NULL, &ch) < 0);
	/* other characters are shown as they are */
	assert_non_null(strstr(hftchan_strerror_last(),
			       "hftchan-\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x8c+"
			       "??31m?[7m???????????."));
}

/* a channel whose lock file is gone: it can't be sent to, but read and removed */
static void test_lock_missing(void **state)
{
	struct hftchan *ch = open_channel(name);
	struct hftchan_tx *tx = NULL;
	const char *lock = lock_path(name);

	(void)state;
	assert_int_equal(unlink(lock), 0);
	assert_true(hftchan_attach(ch, 0, &tx) < 0);
	assert_null(tx);
	assert_non_null(strstr(hftchan_strerror_last(), name));
	hftchan_leave(join(ch, HFTCHAN_JOIN_NEXT, 0));
	hftchan_close(ch);
	assert_int_equal(hftchan_destroy(name, HFTCHAN_DESTROY_FORCE), 0);
	assert_int_equal(access(channel_path(name), F_OK), -1);
}

/* ---------------------------------------------------------------- random damage */

/* Everything that can be done with whatever opens. */
static int use(void *arg)
{
	static const enum hftchan_join_at ats[] = { HFTCHAN_JOIN_LAST, HFTCHAN_JOIN_NEXT,
						    HFTCHAN_JOIN_OLDEST };
	struct hftchan_check_result res = { .size = sizeof(res) };
	struct hftchan_info info = { .size = sizeof(info) };
	static unsigned char buf[1 << 16];
	struct hftchan_msg msg, msgs[4];
	struct hftchan_sender sender;
	struct hftchan *ch = NULL;
	struct hftchan_tx *tx = NULL;
	unsigned int i, k;

	(void)arg;
	if (hftchan_open(name, NULL, &ch)) {
		CHECK(strstr(hftchan_strerror_last(), name));
		return 1;
	}
	hftchan_get_info(ch, &info);
	hftchan_check(ch, &res);
	for (i = 0; i < ARRAY_SIZE(ats); i++) {
		struct hftchan_rx *rx = NULL;

		if (hftchan_join(ch, ats[i], 0, &rx))
			continue;
		hftchan_rx_set_wait(rx, HFTCHAN_WAIT_YIELD, 1000);
		hftchan_rx_sender(rx, &sender);
		for (k = 0; k < 20; k++) {
			hftchan_recv(rx, buf, sizeof(buf), &msg);
			if (hftchan_try_peek(rx, &msg) > 0)
				memcpy(buf, msg.data, msg.len);
			hftchan_advance(rx);
			hftchan_try_recv_batch(rx, buf, sizeof(buf) / 4, msgs, 4);
		}
		hftchan_leave(rx);
	}
	if (!hftchan_attach(ch, HFTCHAN_ATTACH_VERIFY, &tx)) {
		memset(buf, 0, sizeof(buf));
		for (i = 0; i < 20; i++)
			hftchan_send(tx, buf, info.payload_size);
		hftchan_heartbeat(tx);
		hftchan_detach(tx);
	}
	hftchan_close(ch);
	return 0;
}

static void test_random_damage(void **state)
{
	struct hftchan_attr attr = attr_of(16, 8);
	uint64_t seed = 20240607, round;
	unsigned int opened = 0, refused = 0;
	struct hftchan *ch;
	struct hftchan_tx *tx;
	unsigned char file[8192];
	struct hftchan_info info;
	int fd;

	(void)state;
	attr.flags = HFTCHAN_F_VARLEN;
	clean_up(NULL);
	strcpy(name, new_name("shm:"));
	ch = create_channel(name, &attr);
	tx = attach(ch);
	send_many(tx, 20);
	hftchan_detach(tx);
	info = info_of(ch);
	hftchan_close(ch);
	fd = open(channel_path(name), O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, file, 768, 0), 768);
	assert_int_equal(pread(fd, file + 768, info.ring_size, (off_t)info.ring_offset),
			 info.ring_size);
	for (round = 0; round < 600; round++) {
		unsigned int changes = 1 + random_next(&seed) % 4;
		bool ring = round % 2;

		/* whole again, then some words replaced: by anything, or by a bit of difference */
		assert_int_equal(pwrite(fd, file, 768, 0), 768);
		assert_int_equal(pwrite(fd, file + 768, info.ring_size, (off_t)info.ring_offset),
				 info.ring_size);
		while (changes--) {
			uint64_t at = ring ? random_next(&seed) % (info.ring_size / 8) :
					     random_next(&seed) % (768 / 8 / 2);
			uint64_t v;

			memcpy(&v, file + (ring ? 768 : 0) + at * 8, 8);
			switch (random_next(&seed) % 4) {
			case 0:
				v = random_next(&seed);
				break;
			case 1:
				v ^= 1ULL << random_next(&seed) % 64;
				break;
			case 2:
				v += random_next(&seed) % 17 - 8;
				break;
			default:
				v = ~0ULL >> random_next(&seed) % 64;
			}
			at = (ring ? info.ring_offset : 0) + at * 8;
			assert_int_equal(pwrite(fd, &v, 8, (off_t)at), 8);
		}
		switch (in_child(use, NULL)) {
		case 0:
			opened++;
			break;
		case 1 << 8:
			refused++;
			break;
		default:
			fail_msg("round %d: crashed", (int)round);
		}
	}
	close(fd);
	print_message("%u opened, %u refused\n", opened, refused);
	/* damage in the ring is for receivers to find, damage in the page is mostly refused */
	assert_true(opened >= 300 && refused > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_field, make, clean_up),
		cmocka_unit_test_setup_teardown(test_foreign_ring_path, make, clean_up),
		cmocka_unit_test_setup_teardown(test_truncated, make, clean_up),
		cmocka_unit_test_setup_teardown(test_other_kinds_of_files, make, clean_up),
		cmocka_unit_test_setup_teardown(test_lock_alone, make, clean_up),
		cmocka_unit_test_setup_teardown(test_lock_of_another_kind, make, clean_up),
		cmocka_unit_test_setup_teardown(test_destroy_maps_nothing, make, clean_up),
		cmocka_unit_test_setup_teardown(test_texts_are_printable, make, clean_up),
		cmocka_unit_test_setup_teardown(test_lock_missing, make, clean_up),
		cmocka_unit_test_setup_teardown(test_random_damage, make, clean_up),
		cmocka_unit_test(nothing_left_behind),
	};

	return cmocka_run_group_tests_name("badinput", tests, NULL, NULL);
}
