// SPDX-License-Identifier: GPL-2.0
/*
 * A page of a ring gets a memory error: it is used no more once the channel is gone.
 * It is not about the consumer's SIGBUS, which the kernel sends for such pages by itself.
 * Needs hwpoison-inject and debugfs, otherwise it skips. It costs 2 MiB until the next boot.
 */
#include "hftchan_util.h"

#define INJECT		"/sys/kernel/debug/hwpoison/corrupt-pfn"
#define KPAGEFLAGS	"/proc/kpageflags"

/* bits of /proc/kpageflags */
#define KPF_BUDDY		10
#define KPF_COMPOUND_HEAD	15
#define KPF_COMPOUND_TAIL	16
#define KPF_HUGE		17
#define KPF_HWPOISON		19
#define KPF_THP			22

#define PAGES		16
#define PFNS_PER_PAGE	512
#define MAX_CHUNKS	65536

static bool has(__u64 flags, unsigned int bit)
{
	return flags >> bit & 1;
}

static bool flags_of(int fd, __u64 pfn, __u64 *flags)
{
	return pread(fd, flags, sizeof(*flags), (off_t)(pfn * sizeof(*flags))) == sizeof(*flags);
}

/*
 * For each 2 MiB of memory: are they one page that is neither THP nor hugetlbfs? /proc/self/pagemap
 * says nothing of a ring, so it is looked for by what is new after CREATE.
 */
static void survey(int fd, unsigned char *compound)
{
	__u64 head, tail;
	unsigned int i;

	for (i = 0; i < MAX_CHUNKS; i++) {
		__u64 pfn = (__u64)i * PFNS_PER_PAGE;

		compound[i] = flags_of(fd, pfn, &head) &&
			      flags_of(fd, pfn + PFNS_PER_PAGE - 1, &tail) &&
			      has(head, KPF_COMPOUND_HEAD) && has(tail, KPF_COMPOUND_TAIL) &&
			      !has(head, KPF_THP) && !has(head, KPF_HUGE);
	}
}

TEST(poisoned_page_is_kept)
{
	static unsigned char before[MAX_CHUNKS], after[MAX_CHUNKS], now[MAX_CHUNKS];
	unsigned int i, found = 0, victim = 0;
	__u64 pfn, flags = 0;
	struct channel c;
	char text[32];
	int fd;

	if (access(INJECT, F_OK))
		SKIP(return, INJECT " is missing: modprobe hwpoison-inject, mount debugfs");
	fd = open(KPAGEFLAGS, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	survey(fd, before);
	ASSERT_EQ(0, channel_make(&c, PAGES));
	survey(fd, after);
	for (i = 0; i < MAX_CHUNKS; i++)
		if (after[i] && !before[i]) {
			found++;
			victim = i;
		}
	if (found != PAGES) {
		channel_remove(&c);
		SKIP(return, "%u new pages, not %u: somebody else took some", found, PAGES);
	}
	pfn = (__u64)victim * PFNS_PER_PAGE + 7;
	snprintf(text, sizeof(text), "%#llx", pfn);
	/* the kernel may say that it can't isolate the page: it is marked all the same */
	(void)write_file(INJECT, text);
	ASSERT_TRUE(flags_of(fd, pfn, &flags));
	if (!has(flags, KPF_HWPOISON)) {
		channel_remove(&c);
		SKIP(return, "this kernel does not mark such pages");
	}
	channel_remove(&c);
	c.control_fd = open_control(O_RDWR);
	ASSERT_EQ(0, settle(c.control_fd));
	EXPECT_EQ(c.held_before, held_bytes(c.control_fd));

	/* the other pages went back (and some may be in use again), this one did not */
	survey(fd, now);
	for (found = 0, i = 0; i < MAX_CHUNKS; i++)
		found += now[i] && after[i] && !before[i];
	EXPECT_GE(PAGES / 2, found);
	EXPECT_EQ(1, now[victim]);
	ASSERT_TRUE(flags_of(fd, pfn, &flags));
	EXPECT_TRUE(has(flags, KPF_HWPOISON));
	EXPECT_FALSE(has(flags, KPF_BUDDY));
	/* and no ring gets it again */
	ASSERT_EQ(0, create(c.control_fd, c.name, 2 * PAGES));
	survey(fd, now);
	EXPECT_EQ(1, now[victim]);
	EXPECT_EQ(0, destroy(c.control_fd, c.name, 0));
	close(c.control_fd);
	close(fd);
}

TEST_HARNESS_MAIN
