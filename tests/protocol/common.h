/* SPDX-License-Identifier: MIT */
/*
 * What the programs of this directory share: channel names that are cleaned up, message contents
 * that prove themselves, checks for threads and children, child processes.
 * It is no test and knows no test framework. The contract of each function is its comment here.
 */
#ifndef TESTS_COMMON_H
#define TESTS_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <hftchan.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/*
 * For threads and children, where a test framework's longjmp() leads nowhere: print what failed
 * and end the process with status 99. In a cmocka program's main thread its own asserts are better.
 */
#define CHECK(cond)							\
	do {								\
		if (!(cond))						\
			check_failed(__FILE__, __LINE__, #cond);	\
	} while (0)
#define CHECK_EQ(a, b)							\
	do {								\
		long long a_ = (long long)(a), b_ = (long long)(b);	\
									\
		if (a_ != b_)						\
			check_not_equal(__FILE__, __LINE__, #a " == " #b, a_, b_);	\
	} while (0)

_Noreturn void check_failed(const char *file, int line, const char *what);
_Noreturn void check_not_equal(const char *file, int line, const char *what, long long a,
			       long long b);

/* ---------------------------------------------------------------- channels */

/*
 * For new_name(): the backend under test of those that processes share: "shm:", or "dev:" with
 * HFTCHAN_TEST_BACKEND=dev in the environment.
 */
#define SHARED	"shared:"

/* Is "dev:" that backend? What it does differently by design is tested for either way. */
bool over_dev(void);

/* In a cmocka test of what only "shm:" has, such as files that anybody may write */
#define SHM_ONLY(why)							\
	do {								\
		if (over_dev()) {					\
			print_message("shm: only: %s\n", why);		\
			skip();						\
		}							\
	} while (0)

/* What hftchan_destroy() needs when handles of the channel are still open */
unsigned int while_open(void);

/*
 * A full name that no other process uses: "shm:t-PID-N"; "local:" for that backend. What exists
 * under it is destroyed by clean_up(), which is called in any case when the process ends.
 */
const char *new_name(const char *backend);

/*
 * Kill the children that still run, destroy everything under names of new_name(). Fits as a cmocka
 * teardown.
 */
int clean_up(void **state);

/* A cmocka test for the end of each table: is there any channel of this process? */
void nothing_left_behind(void **state);

/* The file or node behind a name; in a static buffer */
const char *channel_path(const char *name);

/* The lock file of a "shm:" name; in a static buffer of its own */
const char *lock_path(const char *name);

struct hftchan_attr attr_of(uint64_t payload_size, uint64_t nr_slots);

/* hftchan_create() that must succeed */
struct hftchan *create_channel(const char *name, const struct hftchan_attr *attr);
struct hftchan *open_channel(const char *name);
struct hftchan_tx *attach(struct hftchan *ch);
struct hftchan_rx *join(struct hftchan *ch, enum hftchan_join_at at, uint64_t seq);
struct hftchan_info info_of(struct hftchan *ch);

/* A slot's state word as it stands in the ring now */
uint64_t state_at(const struct hftchan_ring *ring, uint64_t seq);

/* ---------------------------------------------------------------- messages */

/* Every byte follows from @seq and @salt, so that a torn or misplaced message shows. */
void fill_message(void *buf, size_t len, uint64_t seq, uint64_t salt);
bool message_is(const void *buf, size_t len, uint64_t seq, uint64_t salt);

/* hftchan_send() of fill_message() for the seq in hand, salt 0, payload_size bytes; must succeed */
void send_next(struct hftchan_tx *tx);
void send_many(struct hftchan_tx *tx, uint64_t count);

/* splitmix64: a stream of numbers from one seed */
uint64_t random_next(uint64_t *state);

/* ---------------------------------------------------------------- processes and threads */

/* Run fn(arg) in a child; its CHECKs and its result (0 to 98) make the wait status returned. */
int in_child(int (*fn)(void *arg), void *arg);

/* The same without waiting; kill_child(), reap() or clean_up() ends it. */
pid_t start_child(int (*fn)(void *arg), void *arg);
int reap(pid_t pid);
void kill_child(pid_t pid);
_Noreturn void wait_to_be_killed(void);

/* pages of memory shared with later children, zeroed */
void *shared_memory(size_t bytes);

/* wait for *word to become at least @value, letting others run */
void await_word(const uint64_t *word, uint64_t value);
void publish_word(uint64_t *word, uint64_t value);

uint64_t now_ns(void);

/* End the whole process with status 98 if it still runs after so many seconds. */
void watchdog(unsigned int seconds);

#endif /* TESTS_COMMON_H */
