/* SPDX-License-Identifier: MIT */
/*
 * The library's sender and receiver, compiled into a test with every access to shared memory
 * going through on_access() first: a test sees their order, and lets the other side run between
 * any two of them. Real order between processors is not seen here: the stress program is for that.
 * The contract is the comment on the macros in <hftchan/ring.h>.
 */
#ifndef TESTS_HOOKS_H
#define TESTS_HOOKS_H

#include <stdint.h>

enum access {
	LOAD = 'l',
	LOAD_ACQUIRE = 'L',
	STORE = 's',
	FENCE_RELEASE = 'R',
	FENCE_ACQUIRE = 'A',
};

/* called before the access is made; @p is NULL for fences, @v is what a store stores */
static void on_access(enum access what, const void *p, uint64_t v);

#define HFTCHAN_LOAD(p)		(on_access(LOAD, (p), 0), __atomic_load_n((p), __ATOMIC_RELAXED))
#define HFTCHAN_LOAD_ACQUIRE(p)	\
	(on_access(LOAD_ACQUIRE, (p), 0), __atomic_load_n((p), __ATOMIC_ACQUIRE))
#define HFTCHAN_STORE(p, v)	\
	({ \
		const uint64_t stored_ = (uint64_t)(v);	/* once: it may be made of loads */ \
		on_access(STORE, (p), stored_); \
		__atomic_store_n((p), (__typeof__(*(p)))stored_, __ATOMIC_RELAXED); \
	})
#define HFTCHAN_FENCE_RELEASE()	\
	(on_access(FENCE_RELEASE, NULL, 0), __atomic_thread_fence(__ATOMIC_RELEASE))
#define HFTCHAN_FENCE_ACQUIRE()	\
	(on_access(FENCE_ACQUIRE, NULL, 0), __atomic_thread_fence(__ATOMIC_ACQUIRE))

/* these take the place of the library's own objects when the program is linked */
#include "../../libuser/src/receiver.c"
#include "../../libuser/src/sender.c"

#endif /* TESTS_HOOKS_H */
