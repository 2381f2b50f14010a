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
#include <stdio.h>
#include <string.h>
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
	refused("dev:md", -EOPNOTSUPP, "dev:md");
	refused("raw:/md", -EOPNOTSUPP, "raw:/md");
}

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
	assert_true(!strncmp(name, "shm:", 4));
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
