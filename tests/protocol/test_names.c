// SPDX-License-Identifier: MIT
/*
 * Names: which are taken and which refused, by every call that takes one; the chosen backend; the
 * list of channels.
 * It is no test of what a channel is made of (test_create.c).
 * The contract is hftchan_create(), hftchan_open(), hftchan_destroy() and hftchan_list() in
 * <hftchan.h>.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "common.h"

/* 47 and 48 characters */
#define LONGEST		"a234567890b234567890c234567890d234567890e234567"
#define TOO_LONG	LONGEST "8"

static void refused(const char *name, int err, const char *named)
{
	struct hftchan_attr attr = attr_of(56, 4);
	struct hftchan *ch = NULL;

	if (hftchan_create(name, &attr, &ch) != err || ch)
		fail_msg("create \"%s\": %s", name, hftchan_strerror_last());
	if (!strstr(hftchan_strerror_last(), named))
		fail_msg("create \"%s\" does not name it: %s", name, hftchan_strerror_last());
	if (hftchan_open(name, NULL, &ch) != err || ch)
		fail_msg("open \"%s\": %s", name, hftchan_strerror_last());
	if (!strstr(hftchan_strerror_last(), named))
		fail_msg("open \"%s\" does not name it: %s", name, hftchan_strerror_last());
	if (hftchan_destroy(name, 0) != err)
		fail_msg("destroy \"%s\": %s", name, hftchan_strerror_last());
	if (hftchan_destroy(name, HFTCHAN_DESTROY_FORCE) != err)
		fail_msg("destroy \"%s\" by force: %s", name, hftchan_strerror_last());
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"shm:", "", ":", "shm:.a", "shm:-a", "shm:_a", "shm:a/b", "shm:/a", "shm:../a",
		"shm:a b", "shm: a", "shm:a:b", "shm:\xc3\xa9", "shm:%s%n",
		"shm:a*", "a/b", "../a", ".a", "shm:a.lock", "shm:x.y.lock", "a.lock", "foo:a",
		"shmx:a", "SHM:a", "sh:a", "local:a", "shm:shm:a", " shm:a",
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		refused(bad[i], -EINVAL, bad[i][0] ? bad[i] : "\"\"");
	refused("shm:" TOO_LONG, -EINVAL, "shm:a2345");
	refused(TOO_LONG, -EINVAL, "a2345");
}

static void test_endless_name(void **state)
{
	static char name[100000];

	(void)state;
	memset(name, 'a', sizeof(name) - 1);
	refused(name, -EINVAL, "aaaa");
	memcpy(name, "shm:", 4);
	refused(name, -EINVAL, "shm:aaaa");
	memcpy(name, "aaa:", 4);
	refused(name, -EINVAL, "aaa:");
	memset(name, ':', sizeof(name) - 1);
	refused(name, -EINVAL, ":");
	memset(name, 'a', sizeof(name) - 2);
	name[sizeof(name) - 2] = ':';
	refused(name, -EINVAL, "aaaa");
}

/* what an error repeats of a name can't move a terminal's cursor or begin a second line */
static void test_control_characters(void **state)
{
	(void)state;
	refused("a\nb", -EINVAL, "a?b");
	refused("shm:a\n", -EINVAL, "shm:a?");
	refused("shm:a\x7f", -EINVAL, "shm:a?");
	refused("shm:\033[31mred", -EINVAL, "shm:?[31mred");
	refused("x\177:y", -EINVAL, "x?:");
}

static void test_no_name(void **state)
{
	struct hftchan_attr attr = attr_of(56, 4);
	struct hftchan *ch = NULL;

	(void)state;
	assert_int_equal(hftchan_create(NULL, &attr, &ch), -EINVAL);
	assert_int_equal(hftchan_open(NULL, NULL, &ch), -EINVAL);
	assert_int_equal(hftchan_destroy(NULL, 0), -EINVAL);
	assert_null(ch);
}

static void test_backends_of_other_builds(void **state)
{
	(void)state;
	refused("raw:/md", -EOPNOTSUPP, "raw:/md");
}

/* ---------------------------------------------------------------- dev: beside shm: */

static void make_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	close(fd);
}

static void says(const char *first, const char *second)
{
	CHECK(strstr(hftchan_strerror_last(), first));
	CHECK(strstr(hftchan_strerror_last(), second));
}

/* open, and destroy by force or not: all fail with @err, with both words in the message */
static void none_opens(const char *name, int err, const char *first, const char *second)
{
	struct hftchan *ch = NULL;

	CHECK_EQ(hftchan_open(name, NULL, &ch), err);
	says(first, second);
	CHECK_EQ(hftchan_destroy(name, 0), err);
	says(first, second);
	CHECK_EQ(hftchan_destroy(name, HFTCHAN_DESTROY_FORCE), err);
	says(first, second);
}

static void without_module(void)
{
	struct hftchan_attr attr = attr_of(56, 4);
	struct hftchan *ch;

	none_opens("dev:a", -EOPNOTSUPP, "modprobe hftchan", "shm:a");
	CHECK_EQ(hftchan_create("dev:a", &attr, NULL), -EOPNOTSUPP);
	says("modprobe hftchan", "shm:a");

	/* a name alone means shm: */
	ch = create_channel("a", &attr);
	CHECK(!strcmp(hftchan_name(ch), "shm:a"));
	hftchan_close(ch);
	/* not if there is a node of that name: not to be found by chance, nor to be doubled */
	make_file("/dev/hftchan-n");
	none_opens("n", -ENOENT, "means shm:n", "there is dev:n");
	CHECK_EQ(hftchan_create("n", &attr, NULL), -EEXIST);
	says("dev:n exists", "shm:n");
	/* by its full name it can be made; then there are two */
	CHECK_EQ(hftchan_create("shm:n", &attr, NULL), 0);
	none_opens("n", -ENOTUNIQ, "shm:n", "dev:n");
	hftchan_close(open_channel("shm:n"));
}

static void with_control_node(void)
{
	struct hftchan_attr attr = attr_of(56, 4);

	make_file(HFTCHAN_CONTROL_NODE);
	none_opens("a", -ENOENT, "means dev:a", "there is shm:a");
	CHECK_EQ(hftchan_create("a", &attr, NULL), -EEXIST);
	says("shm:a exists", "dev:a");
	none_opens("n", -ENOTUNIQ, "shm:n", "dev:n");
	hftchan_close(open_channel("shm:a"));
	/* what is there is no module's */
	CHECK_EQ(hftchan_create("b", &attr, NULL), -ENOTTY);
	says("dev:b", HFTCHAN_CONTROL_NODE " is not hftchan's");
	CHECK_EQ(hftchan_destroy("dev:b", 0), -ENOTTY);
	attr.mode = 0602;
	CHECK_EQ(hftchan_create("b", &attr, NULL), -EINVAL);
	says("dev:b", "0664");
}

static void open_fails(const char *name, int err, const char *why)
{
	struct hftchan *ch = NULL;

	CHECK_EQ(hftchan_open(name, NULL, &ch), err);
	says(name, why);
}

static int count(const char *name, void *arg)
{
	*(int *)arg += !strncmp(name, "dev:", 4);
	return 0;
}

/* nodes that are none of the module's */
static int with_wrong_nodes(void)
{
	int listed = 0;

	open_fails("dev:n", -EPERM, "not a device");
	CHECK_EQ(symlink("hftchan-n", "/dev/hftchan-link"), 0);
	open_fails("dev:link", -EPERM, "symbolic link");
	if (mknod("/dev/hftchan-null", S_IFCHR | 0600, makedev(1, 3)))
		return 77;
	open_fails("dev:null", -EBADMSG, "1:3");
	CHECK_EQ(chmod("/dev/hftchan-null", 0602), 0);
	open_fails("dev:null", -EPERM, "0602");
	CHECK_EQ(chown("/dev/hftchan-null", 5, 5), 0);
	open_fails("dev:null", -EPERM, "uid 5, expected uid 0");
	/* a number without a driver: as a node that outlives its channel has */
	CHECK_EQ(mknod("/dev/hftchan-gone", S_IFCHR | 0600, makedev(511, 255)), 0);
	open_fails("dev:gone", -ENODEV, "was destroyed");
	/* listed is what has the name of a channel, whatever it is */
	make_file("/dev/hftchan-");
	make_file("/dev/hftchan-x.lock");
	CHECK_EQ(hftchan_list(count, &listed), 0);
	CHECK_EQ(listed, 4);
	return 0;
}

/* in a /dev of its own, with or without what the module puts there */
static int in_own_dev(void *arg)
{
	(void)arg;
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/dev", "tmpfs", 0, "mode=755,size=8M"))
		return 77;
	CHECK_EQ(mkdir("/dev/shm", 01777), 0);
	without_module();
	with_control_node();
	return with_wrong_nodes();
}

static void test_dev_beside_shm(void **state)
{
	int status = in_child(in_own_dev, NULL);

	(void)state;
	if (status == 77 << 8) {
		print_message("needs root: a /dev of its own\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* ---------------------------------------------------------------- taken */

static void test_local_has_no_name(void **state)
{
	struct hftchan_attr attr = attr_of(56, 4);
	struct hftchan *ch = NULL;

	(void)state;
	assert_int_equal(hftchan_open("local:", NULL, &ch), -EINVAL);
	assert_int_equal(hftchan_destroy("local:", 0), -EINVAL);
	/* nobody could ever use it */
	assert_int_equal(hftchan_create("local:", &attr, NULL), -EINVAL);
	ch = create_channel("local:", &attr);
	assert_string_equal(hftchan_name(ch), "local:");
	hftchan_close(ch);
}

static void test_taken(void **state)
{
	static const char *const good[] = { "a", "Z9", "0", "a.b-c_d", "a.lock.b", "lock", "a.LOCK",
					    "9.-_" };
	struct hftchan_attr attr = attr_of(56, 4);
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		/* made unique by the pid; what is special about it stays at both its ends */
		char name[64], path[128];
		struct hftchan *ch;

		snprintf(name, sizeof(name), "shm:%c-%d-%s", good[i][0], (int)getpid(), good[i]);
		ch = create_channel(name, &attr);
		assert_string_equal(hftchan_name(ch), name);
		snprintf(path, sizeof(path), "/dev/shm/hftchan-%s", name + 4);
		assert_int_equal(access(path, F_OK), 0);
		hftchan_close(ch);
		assert_int_equal(hftchan_destroy(name, 0), 0);
		assert_int_equal(access(path, F_OK), -1);
		assert_int_equal(hftchan_open(name, NULL, &ch), -ENOENT);
	}
}

static void test_longest(void **state)
{
	struct hftchan_attr attr = attr_of(56, 4);
	char name[64];
	int len = snprintf(name, sizeof(name), "shm:t%d-", (int)getpid());

	(void)state;
	memset(name + len, 'x', sizeof(name) - (size_t)len);
	name[4 + HFTCHAN_NAME_MAX] = 0;
	assert_int_equal(hftchan_create(name, &attr, NULL), 0);
	hftchan_close(open_channel(name));
	assert_int_equal(hftchan_destroy(name, 0), 0);
}

static void test_name_alone_means_shm(void **state)
{
	struct hftchan_attr attr = attr_of(56, 4);
	const char *name = new_name("shm:");
	struct hftchan *ch = NULL;

	(void)state;
	if (!access("/dev/hftchan", F_OK))
		skip();	/* then it means dev: */
	ch = create_channel(name + 4, &attr);
	assert_string_equal(hftchan_name(ch), name);
	hftchan_close(ch);
	ch = open_channel(name + 4);
	assert_string_equal(hftchan_name(ch), name);
	hftchan_close(ch);
	assert_int_equal(hftchan_destroy(name + 4, 0), 0);
	assert_int_equal(hftchan_open(name, NULL, &ch), -ENOENT);
}

struct listed {
	const char *names[3];
	int seen[3], calls;
};

static int see(const char *name, void *arg)
{
	struct listed *l = arg;
	unsigned int i;

	l->calls++;
	assert_true(!strncmp(name, "shm:", 4) || !strncmp(name, "dev:", 4));
	assert_true(strlen(name) < 5 || strcmp(name + strlen(name) - 5, ".lock"));
	for (i = 0; i < ARRAY_SIZE(l->names); i++)
		l->seen[i] += !strcmp(name, l->names[i]);
	return 0;
}

static int stop(const char *name, void *arg)
{
	(void)name;
	++*(int *)arg;
	return 4711;
}

static void test_list(void **state)
{
	struct hftchan_attr attr = attr_of(56, 4);
	struct listed l = { .names = { new_name("shm:"), new_name("shm:"), new_name("shm:") } };
	int calls = 0;

	(void)state;
	assert_int_equal(hftchan_create(l.names[0], &attr, NULL), 0);
	assert_int_equal(hftchan_create(l.names[1], &attr, NULL), 0);
	assert_int_equal(hftchan_list(see, &l), 0);
	assert_int_equal(l.seen[0], 1);
	assert_int_equal(l.seen[1], 1);
	assert_int_equal(l.seen[2], 0);
	assert_int_equal(hftchan_list(stop, &calls), 4711);
	assert_int_equal(calls, 1);
	assert_int_equal(hftchan_destroy(l.names[0], 0), 0);
	memset(l.seen, 0, sizeof(l.seen));
	assert_int_equal(hftchan_list(see, &l), 0);
	assert_int_equal(l.seen[0], 0);
	assert_int_equal(l.seen[1], 1);
}

static void test_version(void **state)
{
	char text[32];

	(void)state;
	snprintf(text, sizeof(text), "%d.%d.%d", HFTCHAN_VERSION_MAJOR, HFTCHAN_VERSION_MINOR,
		 HFTCHAN_VERSION_PATCH);
	assert_string_equal(hftchan_version(), text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_endless_name),
		cmocka_unit_test(test_control_characters),
		cmocka_unit_test(test_no_name),
		cmocka_unit_test(test_backends_of_other_builds),
		cmocka_unit_test(test_dev_beside_shm),
		cmocka_unit_test(test_local_has_no_name),
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_longest),
		cmocka_unit_test_teardown(test_name_alone_means_shm, clean_up),
		cmocka_unit_test_teardown(test_list, clean_up),
		cmocka_unit_test(test_version),
		cmocka_unit_test(nothing_left_behind),
	};

	return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
