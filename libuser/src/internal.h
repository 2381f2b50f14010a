/* SPDX-License-Identifier: MIT */
/*
 * What the library's own files share: handles, the backend interface, errors, memory.
 * It is not installed and nothing here is exported.
 * The contract of the calls is in <hftchan.h>; of the shared memory in <linux/hftchan.h>.
 */
#ifndef HFTCHAN_INTERNAL_H
#define HFTCHAN_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>

#include <hftchan.h>

_Static_assert(sizeof(size_t) == 8, "a ring may be larger than 32 bits can map");

#define MIB		(UINT64_C(1) << 20)
#define HUGE_PAGE	(2 * MIB)

/* A full name: backend prefix and NAME. */
#define FULL_NAME_BYTES	(8 + HFTCHAN_NAME_MAX + 1)

struct backend;

/* One mapping of a channel: the pages an epoch's sender writes, or all that a receiver reads. */
struct view {
	struct hftchan_control *control;
	struct hftchan_sender_page *sender;
	void *ring;
	size_t ring_bytes;	/* mapped: ring_size rounded up to page_size */
};

struct hftchan {
	const struct backend *backend;
	atomic_int refs;
	char name[FULL_NAME_BYTES];
	struct view view;	/* read-only, but in local */
	struct hftchan_ring ring;
	struct hftchan_control geometry;	/* a checked copy; its constant fields are used */
	struct stat st;		/* of the file when it was opened */
	int fd;			/* shm: control file, dev: node; read-only */
	pid_t pid;		/* who mapped it: what a forked child has is not all mapped */
	atomic_bool sending;	/* local: the sender role is taken */
};

struct tx {
	struct hftchan_tx pub;	/* first: what users hold is a pointer to it */
	struct hftchan *ch;
	struct view view;	/* writable; but in dev the control page is the kernel's */
	int role_fd;		/* shm, dev: holds the sender role; -1 in a forked child */
	pid_t pid;		/* the sender; a forked child's copy has nothing mapped */
	struct tx *next;	/* all senders of this process, for fork */
};

struct sender_snapshot {
	uint64_t epoch, epoch_seq, ended_epoch, start, pidns, timens;
	uint32_t state;
	int32_t pid;
};

/* Each channel that has a name is a file of this prefix in its backend's directory. */
#define FILE_PREFIX	"hftchan-"
#define PATH_BYTES	(sizeof("/dev/shm/" FILE_PREFIX) + HFTCHAN_NAME_MAX)

struct backend {
	const char *prefix;
	const char *dir;	/* NULL: its channels have no names */
	/* make the object whose geometry is checked and return it opened, or only make it */
	int (*create)(const char *full, const struct hftchan_attr *attr,
		      const struct hftchan_control *geometry, struct hftchan **chp);
	int (*open)(const char *full, uid_t owner, struct hftchan **chp);
	int (*destroy)(const char *full, unsigned int flags);	/* HFTCHAN_DESTROY_* */
	/* take the sender role and a writable view; give both back */
	int (*take_role)(struct tx *tx);
	void (*drop_role)(struct tx *tx);
	/* write the new epoch into the control page, and its end (NULL: drop_role does) */
	int (*begin_epoch)(struct tx *tx, uint64_t seq);
	void (*end_epoch)(struct tx *tx);
	/* fill in what the control page doesn't tell: the sender's pid, who has it open */
	void (*ask)(const struct hftchan *ch, const struct sender_snapshot *s,
		    struct hftchan_info *info);
	ssize_t (*placement)(const struct hftchan *ch, uint64_t *pages, unsigned int nr_nodes);
	void (*close)(struct hftchan *ch);
};

extern const struct backend hftchan_shm, hftchan_dev, hftchan_local;

/* error.c */
int hftchan_fail(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#ifdef __clang_analyzer__	/* which can't know that the result is never 0 */
#define hftchan_fail(err, ...)	((void)hftchan_fail(err, __VA_ARGS__), -EIO)
#endif

/* channel.c */
const char *hftchan_bare_name(const char *full);
bool hftchan_name_valid(const char *bare);
int hftchan_geometry_check(const char *full, const struct hftchan_control *c);
void hftchan_ring_setup(struct hftchan_ring *ring, const struct hftchan_control *c, void *slots);
struct hftchan *hftchan_alloc(const struct backend *backend, const char *full,
			      const struct hftchan_control *geometry);
struct hftchan *hftchan_get(struct hftchan *ch);
void hftchan_path(char path[PATH_BYTES], const struct backend *backend, const char *bare);
int hftchan_owner_check(const char *full, const char *path, const struct stat *st, uid_t owner);
int hftchan_no_access(const char *full, const char *path, int flags, const char *remedy);
#ifdef __clang_analyzer__
#define hftchan_no_access(full, path, flags, remedy)			\
	((void)hftchan_no_access(full, path, flags, remedy), -EIO)
#endif

/* memory.c */
int hftchan_node_check(const char *full, int node);
int hftchan_room_check(const char *full, uint64_t bytes);
int hftchan_bind(const char *full, void *addr, size_t bytes, int node);
uint64_t hftchan_round_up(uint64_t bytes, uint64_t unit);
void *hftchan_zalloc(size_t bytes);
uint64_t hftchan_now_ns(int clock);
int hftchan_reopen(int fd, int flags);
uint64_t hftchan_ring_bytes(const struct hftchan_control *g);
int hftchan_no_map(const char *full, const struct hftchan_control *g);
int hftchan_map_view(const char *full, const struct hftchan_control *g, int fd, int ring_fd,
		     bool sender, int control_prot, struct view *view);
void hftchan_unmap_view(struct view *view);
void hftchan_close_mapped(struct hftchan *ch);
ssize_t hftchan_mapped_placement(const struct hftchan *ch, uint64_t *pages, unsigned int nr_nodes);

/* sender.c */
int hftchan_snapshot(const struct hftchan *ch, struct sender_snapshot *s);
bool hftchan_sender_dead(const struct sender_snapshot *s);
bool hftchan_sender_ended(const struct sender_snapshot *s);
bool hftchan_sender_visible(const struct sender_snapshot *s);
void hftchan_ask_page(const struct hftchan *ch, const struct sender_snapshot *s,
		      struct hftchan_info *info);
int hftchan_begin_epoch(struct tx *tx, uint64_t seq);
void hftchan_end_epoch(struct tx *tx);
int hftchan_role_taken(const char *full, int32_t pid);
int hftchan_gone(const char *full);

#endif
