// SPDX-License-Identifier: MIT
/*
 * dev: without a module: what the library says to each answer that the control node can give.
 * The module is played by open() and ioctl() below, so this is no test of it, nor of channels over
 * dev: (tests/vm/guest runs the other programs here over it).
 * The contract is the errors of hftchan_create() and hftchan_destroy() in <hftchan.h>.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "common.h"

/* what the module says */
static struct {
	int open_errno, limits_errno, create_errno, destroy_errno;
	struct hftchan_ioc_limits limits;
	uint64_t nr_pages;
	int32_t node;
	unsigned int creates, destroys;
} module;

/* Instead of libc's: the control node is ours, everything else as it is. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): theirs are reserved */
int open(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (strcmp(path, HFTCHAN_CONTROL_NODE) != 0)
		return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	errno = module.open_errno;
	return errno ? -1 : (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
}

static int answer(int err)
{
	errno = err;
	return err ? -1 : 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	struct hftchan_ioc_limits *limits;
	struct hftchan_ioc_create *create;
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	switch (request) {
	case HFTCHAN_IOC_LIMITS:
		limits = arg;
		assert_int_equal(limits->size, sizeof(*limits));
		*limits = module.limits;
		limits->size = sizeof(*limits);
		return answer(module.limits_errno);
	case HFTCHAN_IOC_CREATE:
		create = arg;
		assert_int_equal(create->size, sizeof(*create));
		module.creates++;
		create->out_nr_pages = module.nr_pages;
		create->out_node = module.node;
		return answer(module.create_errno);
	case HFTCHAN_IOC_DESTROY:
		module.destroys++;
		return answer(module.destroy_errno);
	default:
		return (int)syscall(SYS_ioctl, fd, request, arg);
	}
}

static int healthy(void **state)
{
	(void)state;
	memset(&module, 0, sizeof(module));
	module.limits = (struct hftchan_ioc_limits){
		.out_abi_version = HFTCHAN_ABI_VERSION,
		.out_compat_version = HFTCHAN_ABI_VERSION,
		.out_max_bytes = 1 << 30,
		.out_max_bytes_uid = 1 << 30,
		.out_max_channels = 4096,
	};
	return 0;
}

/* 4 MiB of ring; the message has all of @words, which a null pointer ends */
static void create_says(int err, const struct hftchan_attr *changed, const char *const *words)
{
	struct hftchan_attr attr = attr_of(56, 1 << 16);
	int got = hftchan_create("dev:played", changed ? changed : &attr, NULL);

	if (got != err)
		fail_msg("%d, not %d: %s", got, err, hftchan_strerror_last());
	for (; *words; words++)
		if (!strstr(hftchan_strerror_last(), *words))
			fail_msg("\"%s\" is not in: %s", *words, hftchan_strerror_last());
}

#define WORDS(...)	((const char *const[]){ "dev:played", __VA_ARGS__, NULL })
#define SAYS(err, ...)	create_says(err, NULL, WORDS(__VA_ARGS__))

static void test_made(void **state)
{
	struct hftchan_attr attr = attr_of(56, 1 << 16);

	(void)state;
	assert_int_equal(hftchan_create("dev:played", &attr, NULL), 0);
	assert_int_equal(module.creates, 1);
	assert_int_equal(hftchan_destroy("dev:played", 0), 0);
	assert_int_equal(module.destroys, 1);
}

static void test_absent(void **state)
{
	static const int absent[] = { ENOENT, ENXIO, ENODEV };
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(absent); i++) {
		module.open_errno = absent[i];
		SAYS(-EOPNOTSUPP, "not loaded", "modprobe hftchan", "shm:played");
		assert_int_equal(hftchan_destroy("dev:played", 0), -EOPNOTSUPP);
	}
	module.open_errno = EACCES;
	SAYS(-EACCES, HFTCHAN_CONTROL_NODE);
	assert_int_equal(module.creates + module.destroys, 0);
}

static void test_another_version(void **state)
{
	(void)state;
	module.limits.out_abi_version = 7;
	module.limits.out_compat_version = 5;	/* serves nobody as old as this library */
	SAYS(-EPROTONOSUPPORT, "ABI version 7", "serves 5", "one release");
	assert_int_equal(hftchan_destroy("dev:played", 0), -EPROTONOSUPPORT);
	module.limits.out_abi_version = 0;	/* older than this library */
	module.limits.out_compat_version = 0;
	SAYS(-EPROTONOSUPPORT, "ABI version 0", "one release");
	module.limits.out_abi_version = 7;	/* newer, and serves us */
	module.limits.out_compat_version = HFTCHAN_ABI_VERSION;
	assert_int_equal(hftchan_destroy("dev:played", 0), 0);
	module.limits_errno = ENOTTY;	/* somebody else's device */
	SAYS(-ENOTTY, HFTCHAN_CONTROL_NODE, "not hftchan's");
	assert_int_equal(module.creates, 0);
}

static void test_limits(void **state)
{
	struct rlimit memlock;

	(void)state;
	module.create_errno = ENOSPC;
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &memlock), 0);
	module.limits.out_locked_bytes = 3 << 20;
	SAYS(-ENOSPC, "RLIMIT_MEMLOCK", "ulimit -l", "4096 KiB", "3072 KiB");
	module.limits.out_bytes_uid = (1 << 30) - (3 << 20);
	SAYS(-ENOSPC, "max_mib_per_uid", "4 MiB", "1021 of at most 1024 MiB");
	module.limits.out_bytes = (1 << 30) - (2 << 20);
	SAYS(-ENOSPC, "max_mib", "4 MiB", "1022 of at most 1024 MiB");
	module.limits.out_nr_channels = 4096;
	SAYS(-ENOSPC, "4096 channels");
	/* and if it can't be asked any more */
	module.limits_errno = EIO;
	assert_int_equal(hftchan_destroy("dev:played", 0), -EIO);
}

static void test_no_memory(void **state)
{
	(void)state;
	module.create_errno = ENOMEM;
	module.nr_pages = 1;
	module.node = 3;
	SAYS(-ENOMEM, "node 3 gave 1 of 2 free 2-MiB pages", "compact_memory", "cgroup");
}

static void test_refusals(void **state)
{
	struct hftchan_attr given = attr_of(56, 4);

	(void)state;
	module.create_errno = EINTR;
	SAYS(-EINTR, "signal", "try again");
	module.create_errno = EEXIST;
	SAYS(-EEXIST, "exists already", "hftchan destroy");
	module.create_errno = EOPNOTSUPP;
	SAYS(-EOPNOTSUPP, "update it");
	module.create_errno = EINVAL;
	SAYS(-ENODEV, "--node");
	module.create_errno = EPERM;
	SAYS(-EPERM, "cpuset");
	given.owner = geteuid() + 1;
	create_says(-EPERM, &given, WORDS("give it to uid"));
	given.owner = (uid_t)-1;
	given.group = getegid() + 1;
	create_says(-EPERM, &given, WORDS("give it to gid"));
	module.create_errno = EIO;
	SAYS(-EIO, "can't make it");
}

static void test_destroy(void **state)
{
	(void)state;
	module.destroy_errno = ENOENT;
	assert_int_equal(hftchan_destroy("dev:played", 0), -ENOENT);
	assert_non_null(strstr(hftchan_strerror_last(), "no such channel"));
	module.destroy_errno = EBUSY;
	assert_int_equal(hftchan_destroy("dev:played", 0), -EBUSY);
	assert_non_null(strstr(hftchan_strerror_last(), "hftchan destroy --force"));
	module.destroy_errno = ENODEV;
	assert_int_equal(hftchan_destroy("dev:played", HFTCHAN_DESTROY_FORCE), -ENODEV);
	/* refused before the module is asked */
	module.destroys = 0;
	assert_int_equal(hftchan_destroy("dev:played", HFTCHAN_DESTROY_ZAP), -EINVAL);
	assert_int_equal(hftchan_destroy("dev:played", 1U << 2), -EOPNOTSUPP);
	assert_int_equal(hftchan_destroy("shm:played", HFTCHAN_DESTROY_FORCE | HFTCHAN_DESTROY_ZAP),
			 -EOPNOTSUPP);
	assert_int_equal(module.destroys, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_made, healthy),
		cmocka_unit_test_setup(test_absent, healthy),
		cmocka_unit_test_setup(test_another_version, healthy),
		cmocka_unit_test_setup(test_limits, healthy),
		cmocka_unit_test_setup(test_no_memory, healthy),
		cmocka_unit_test_setup(test_refusals, healthy),
		cmocka_unit_test_setup(test_destroy, healthy),
		cmocka_unit_test(nothing_left_behind),
	};

	watchdog(60);
	return cmocka_run_group_tests(tests, NULL, clean_up);
}
