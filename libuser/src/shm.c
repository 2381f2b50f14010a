// SPDX-License-Identifier: MIT
/*
 * Backend "shm:": a channel between processes in POSIX shared memory, without the module.
 * It trusts nobody but the channel's owner and root: /dev/shm is open to everyone.
 * The contract is struct backend in internal.h; files and offsets are described below.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

/*
 * /dev/shm/hftchan-NAME       control page at 0, sender page at 64 KiB, ring at 2 MiB (a hole
 *                             between them costs nothing; every page size can map these offsets)
 * /dev/shm/hftchan-NAME.lock  0600; carries two open-file-description locks, see enum lock_byte.
 *                             A file of its own, as nobody who only reads must be able to hold them
 * MOUNT/hftchan-NAME-TIME     the ring, where a hugetlbfs with enough free pages is mounted
 *
 * Files are made without names, which takes as long as the ring is large. Then they get them by
 * linkat(), the control file last, and lose them in the other order. So no half-made channel is
 * ever seen; a creator or destroyer killed between two links leaves at most the lock file, which
 * the next creator replaces, and a ring on hugetlbfs.
 */
#define SHM_DIR		"/dev/shm"
#define SENDER_OFFSET	(64ULL << 10)
#define RING_OFFSET	(2 * MIB)
#define LOCK_SUFFIX	".lock"

struct paths {
	char control[PATH_BYTES];
	char lock[PATH_BYTES + sizeof(LOCK_SUFFIX)];
};

static struct paths paths_of(const char *full)
{
	struct paths p;

	hftchan_path(p.control, &hftchan_shm, hftchan_bare_name(full));
	snprintf(p.lock, sizeof(p.lock), "%s" LOCK_SUFFIX, p.control);
	return p;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* ---------------------------------------------------------------- opening with suspicion */

static int not_regular(const char *full, const char *path)
{
	return hftchan_fail(EPERM, "%s: %s is not a regular file; remove it", full, path);
}

/*
 * Open a regular file of ours or fail: no link is followed, no FIFO waited for.
 * @owner: whose it must be, besides root's, with nobody else allowed to write; (uid_t)-1: for
 *	removal only: anybody's
 */
static int open_regular(const char *full, const char *path, int flags, uid_t owner, struct stat *st)
{
	int fd = open(path, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int err;

	if (fd < 0) {
		err = errno;
		if (err == ENOENT)
			return hftchan_fail(err,
					    "%s: no such channel (%s); make it with: hftchan create",
					    full, path);
		if (err == ELOOP)
			return hftchan_fail(EPERM,
					    "%s: %s is a symbolic link, not a channel; remove it",
					    full, path);
		if (err == ENXIO || err == EISDIR)	/* a socket; a directory, to be written */
			return not_regular(full, path);
		return hftchan_no_access(full, path, flags, flags & O_RDWR ?
					 "only its owner and root may" :
					 "its owner can let you in: --mode, --group");
	}
	if (fstat(fd, st))
		err = hftchan_fail(errno, "%s: can't stat %s: %m", full, path);
	else if (!S_ISREG(st->st_mode))
		err = not_regular(full, path);
	else if (owner != (uid_t)-1 && hftchan_owner_check(full, path, st, owner))
		err = -EPERM;
	else if (owner != (uid_t)-1 && (st->st_mode & 0022))
		err = hftchan_fail(EPERM,
				   "%s: %s has mode %04o: others can write to it; its owner must chmod it",
				   full, path, st->st_mode & 07777);
	else
		return fd;
	close(fd);
	return err;
}

/* No ring where the control page says: that is the channel's fault, other errors are not. */
static int no_ring(const char *full, const char *path)
{
	int err = errno;

	if (err == ENOENT || err == ENOTDIR || err == ELOOP)
		return hftchan_fail(EBADMSG,
				    "%s: its ring %s is not there; destroy it and make it again",
				    full, path);
	return hftchan_fail(err, "%s: can't open its ring %s: %s", full, path, strerror(err));
}

/*
 * The ring's file on hugetlbfs. The path comes from a control page that somebody else may have
 * written: only a file directly on a hugetlbfs and of the channel's owner is touched.
 * Return: descriptor of the directory, *base set to the name in it.
 */
static int open_huge_dir(const char *full, const struct hftchan_control *g, const char **base)
{
	const char *slash = strrchr(g->ring_path, '/');
	char dir[HFTCHAN_RING_PATH_MAX];
	struct statfs fs;
	int fd;

	if (!slash || slash == g->ring_path ||
	    strncmp(slash + 1, FILE_PREFIX, strlen(FILE_PREFIX)) != 0)
		return hftchan_fail(EBADMSG, "%s: corrupted: the ring's file can't be \"%s\"", full,
				    g->ring_path);
	*base = slash + 1;
	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - g->ring_path), g->ring_path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return no_ring(full, g->ring_path);
	if (fstatfs(fd, &fs) || fs.f_type != HUGETLBFS_MAGIC) {
		close(fd);
		return hftchan_fail(EBADMSG, "%s: corrupted: %s is no hugetlbfs", full, dir);
	}
	return fd;
}

static int open_huge_ring(const char *full, const struct hftchan_control *g, uid_t owner, int flags)
{
	const char *base;
	struct stat st;
	int dir, fd;

	dir = open_huge_dir(full, g, &base);
	if (dir < 0)
		return dir;
	fd = openat(dir, base, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		fd = no_ring(full, g->ring_path);
	close(dir);
	if (fd < 0)
		return fd;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_uid == owner &&
	    !(st.st_mode & 0022) && (uint64_t)st.st_size >= g->ring_size)
		return fd;
	close(fd);
	return hftchan_fail(EBADMSG,
			    "%s: its ring %s is too short, not of uid %d or writable for others; destroy it and make it again",
			    full, g->ring_path, owner);
}

/* ---------------------------------------------------------------- opening a channel */

/* The control page of an open control file, if it is one. Read, not mapped: nothing is believed. */
static int read_control(const char *full, int fd, const struct stat *st, struct hftchan_control *g)
{
	int err;

	if (pread(fd, g, sizeof(*g), 0) != (ssize_t)sizeof(*g))
		return hftchan_fail(EBADMSG,
				    "%s: too short for a channel (%jd bytes); hftchan destroy --force removes it",
				    full, (intmax_t)st->st_size);
	err = hftchan_geometry_check(full, g);
	if (err)
		return err;
	if (g->sender_offset != SENDER_OFFSET || g->sender_tx_offset != g->sender_offset ||
	    g->ring_tx_offset != g->ring_offset ||
	    g->ring_offset != (g->ring_path[0] ? 0 : RING_OFFSET))
		return hftchan_fail(EBADMSG,
				    "%s: corrupted: wrong offsets; destroy it and make it again",
				    full);
	if ((uint64_t)st->st_size < SENDER_OFFSET + HFTCHAN_PAGE_BYTES ||
	    (!g->ring_path[0] && (uint64_t)st->st_size < RING_OFFSET + hftchan_ring_bytes(g)))
		return hftchan_fail(EBADMSG,
				    "%s: its file is too short (%jd bytes); destroy it and make it again",
				    full, (intmax_t)st->st_size);
	return 0;
}

/*
 * An open control file whose page is consistent -> a handle. @ring_fd: the file that its ring_path
 * is about to name, -1: that is to be looked up. Takes over both, also on failure.
 */
static int open_fd(const char *full, int fd, const struct stat *st, int ring_fd,
		   struct hftchan **chp)
{
	struct hftchan_control g;
	struct hftchan *ch = NULL;
	int err;

	err = read_control(full, fd, st, &g);
	if (err)
		goto err_close;
	if (g.ring_path[0] && ring_fd < 0) {
		ring_fd = open_huge_ring(full, &g, st->st_uid, O_RDONLY);
		if (ring_fd < 0) {
			err = ring_fd;
			goto err_close;
		}
	}
	ch = hftchan_alloc(&hftchan_shm, full, &g);
	if (!ch) {
		err = hftchan_fail(ENOMEM, "%s: out of memory", full);
		goto err_close;
	}
	ch->st = *st;
	err = hftchan_map_view(full, &g, fd, ring_fd < 0 ? fd : ring_fd, false, PROT_READ,
			       &ch->view);
	if (err)
		goto err_close;
	if (ring_fd >= 0)
		close(ring_fd);
	ch->fd = fd;
	hftchan_ring_setup(&ch->ring, &g, ch->view.ring);
	*chp = ch;
	return 0;

err_close:
	free(ch);
	if (ring_fd >= 0)
		close(ring_fd);
	close(fd);
	return err;
}

static int shm_open_channel(const char *full, uid_t owner, struct hftchan **chp)
{
	struct paths p = paths_of(full);
	struct stat st;
	int fd;

	fd = open_regular(full, p.control, O_RDONLY, owner == (uid_t)-1 ? geteuid() : owner, &st);
	return fd < 0 ? fd : open_fd(full, fd, &st, -1, chp);
}

/* ---------------------------------------------------------------- the lock file's two locks */

/* enum lock_byte - bytes of the lock file, each locked for itself */
enum lock_byte {
	LOCK_ROLE,	/* the sender role, as long as it is held; by destroy, for a moment */
	LOCK_NAME,	/* the name: to make, attach to and destroy a channel one at a time */
	LOCK_BYTES,
};

/* how often, every millisecond, LOCK_NAME is asked for: who is at work holds it for less */
#define NAME_TRIES	200

static int set_lock(int fd, short type, enum lock_byte byte, off_t len)
{
	struct flock fl = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = len,
	};

	return fcntl(fd, F_OFD_SETLK, &fl) ? -errno : 0;
}

/* 0, -EAGAIN when somebody else holds it, or another error */
static int lock_fd(int fd, enum lock_byte byte)
{
	int err = set_lock(fd, F_WRLCK, byte, 1);

	return err == -EACCES ? -EAGAIN : err;
}

/* Unlocks first: a child forked just now may have the descriptor, too, and keep the locks alive. */
static void unlock_close(int fd)
{
	if (fd < 0)
		return;
	set_lock(fd, F_UNLCK, LOCK_ROLE, LOCK_BYTES);
	close(fd);
}

/*
 * Open the lock file of a channel and lock its name. Who gets the lock on a file that has lost its
 * name meanwhile (destroyed, made again) has got nothing.
 */
static int lock_name(const char *full, const struct paths *p, uid_t owner)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	int fd, err, tries = NAME_TRIES;
	struct stat st, now;

	fd = open_regular(full, p->lock, O_RDWR, owner, &st);
	if (fd < 0)
		return fd;
	while ((err = lock_fd(fd, LOCK_NAME)) == -EAGAIN && --tries)
		nanosleep(&pause, NULL);
	if (err == -EAGAIN)
		err = hftchan_fail(EBUSY,
				   "%s: is being made or destroyed by somebody else just now",
				   full);
	else if (err)
		err = hftchan_fail(-err, "%s: can't lock %s: %s", full, p->lock, strerror(-err));
	else if (lstat(p->lock, &now) || !same_file(&st, &now))
		err = hftchan_fail(ENODEV, "%s: was destroyed a moment ago", full);
	else
		return fd;
	close(fd);
	return err;
}

/* The sender role, under the name's lock. @fd: control file, which may know who holds it. */
static int lock_role(const char *full, const struct paths *p, int lock, int fd)
{
	struct hftchan_control c;
	struct sender_snapshot s;
	int err = lock_fd(lock, LOCK_ROLE);

	if (!err)
		return 0;
	if (err != -EAGAIN)
		return hftchan_fail(-err, "%s: can't lock %s: %s", full, p->lock, strerror(-err));
	if (pread(fd, &c, sizeof(c), 0) == (ssize_t)sizeof(c) &&
	    c.sender_state == HFTCHAN_SENDER_ATTACHED) {
		s = (struct sender_snapshot){ .pid = c.sender_pid, .pidns = c.sender_pidns };
		if (hftchan_sender_visible(&s))
			return hftchan_role_taken(full, s.pid);
	}
	return hftchan_role_taken(full, 0);
}

static int shm_take_role(struct tx *tx)
{
	struct hftchan *ch = tx->ch;
	const char *full = ch->name;
	struct paths p = paths_of(full);
	int lock, fd, ring_fd, err;
	struct stat st;

	lock = lock_name(full, &p, ch->st.st_uid);
	/* first, as the lock may be that of another channel of this name by now */
	if (lstat(p.control, &st) || !same_file(&st, &ch->st)) {
		err = hftchan_gone(full);
		goto err_lock;
	}
	if (lock < 0)
		return lock;
	err = lock_role(full, &p, lock, ch->fd);
	if (err)
		goto err_lock;
	fd = hftchan_reopen(ch->fd, O_RDWR);
	if (fd < 0) {
		err = hftchan_fail(errno, "%s: may not write to %s: %m", full, p.control);
		goto err_lock;
	}
	ring_fd = fd;
	if (ch->geometry.ring_path[0]) {
		ring_fd = open_huge_ring(full, &ch->geometry, ch->st.st_uid, O_RDWR);
		if (ring_fd < 0) {
			err = ring_fd;
			goto err_fd;
		}
	}
	err = hftchan_map_view(full, &ch->geometry, fd, ring_fd, true, PROT_READ | PROT_WRITE,
			       &tx->view);
	if (ring_fd != fd)
		close(ring_fd);
	if (err)
		goto err_fd;
	close(fd);
	/* a forked child must not be able to write beside the sender */
	madvise(tx->view.control, HFTCHAN_PAGE_BYTES, MADV_DONTFORK);
	madvise(tx->view.sender, HFTCHAN_PAGE_BYTES, MADV_DONTFORK);
	madvise(tx->view.ring, tx->view.ring_bytes, MADV_DONTFORK);
	tx->role_fd = lock;
	set_lock(lock, F_UNLCK, LOCK_NAME, 1);
	return 0;

err_fd:
	close(fd);
err_lock:
	unlock_close(lock);
	return err;
}

static void shm_drop_role(struct tx *tx)
{
	hftchan_unmap_view(&tx->view);
	unlock_close(tx->role_fd);
	tx->role_fd = -1;
}

/* ---------------------------------------------------------------- create */

/* Give an unnamed file its mode and owner; it has no name yet, so nobody sees it before. */
static int set_access(const char *full, int fd, mode_t mode, const struct hftchan_attr *a)
{
	if (a->owner != (uid_t)-1 && fchown(fd, a->owner, (gid_t)-1))
		return hftchan_fail(errno,
				    "%s: can't give it to uid %u: %m; only root may give it away",
				    full, a->owner);
	if (a->group != (gid_t)-1 && fchown(fd, (uid_t)-1, a->group))
		return hftchan_fail(errno,
				    "%s: can't give it to gid %u: %m; it must be a group of yours",
				    full, a->group);
	/* after fchown, which may clear bits; not subject to the umask */
	if (fchmod(fd, mode))
		return hftchan_fail(errno, "%s: can't set mode %04o: %m", full, mode);
	return 0;
}

static int link_new(const char *full, int fd, const char *path)
{
	char self[32];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (!linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW))
		return 0;
	return hftchan_fail(errno, "%s: can't make %s: %m", full, path);
}

static int open_unnamed(const char *full, const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOSPC:
		return hftchan_fail(errno,
				    "%s: can't make a file in %s: %m; destroy what is not needed, see also: df -i %s",
				    full, dir, dir);
	case ENOENT:
	case EISDIR:
	case EOPNOTSUPP:
		return hftchan_fail(errno,
				    "%s: can't make a file in %s: %m; mount a tmpfs there", full,
				    dir);
	default:
		return hftchan_fail(errno, "%s: can't make a file in %s: %m", full, dir);
	}
}

/* Remove what @path names, if anything. */
static int remove_name(const char *full, const char *path)
{
	if (!unlink(path) || errno == ENOENT)
		return 0;
	return hftchan_fail(errno, "%s: can't remove %s: %m", full, path);
}

/*
 * A lock file under its name, with the name locked: until it is unlocked nobody can make, attach to
 * or destroy this channel. Return: descriptor, -EEXIST if there is one already.
 */
static int link_lock(const char *full, const struct paths *p, const struct hftchan_attr *a)
{
	int fd, err;

	fd = open_unnamed(full, SHM_DIR);
	if (fd < 0)
		return fd;
	err = set_access(full, fd, 0600, a);
	if (!err && lock_fd(fd, LOCK_NAME))
		err = hftchan_fail(errno, "%s: can't lock a file in " SHM_DIR ": %m", full);
	if (!err)
		err = link_new(full, fd, p->lock);
	if (!err)
		return fd;
	unlock_close(fd);
	return err;
}

static int exists(const char *full, const struct stat *st)
{
	return hftchan_fail(EEXIST,
			    "%s: exists already, made by uid %d; take another name or: hftchan destroy",
			    full, st->st_uid);
}

/*
 * Lock the name of a channel that is to be made. A lock file without a channel, as a killed creator
 * leaves it, is replaced: a sender of a channel that was destroyed may still hold its role.
 */
static int lock_new_name(const char *full, const struct paths *p, const struct hftchan_attr *a)
{
	uid_t owner = a->owner == (uid_t)-1 ? geteuid() : a->owner;
	int lock, old, err;
	struct stat st;

	while (lstat(p->control, &st)) {
		lock = link_lock(full, p, a);
		if (lock >= 0) {
			if (lstat(p->control, &st))
				return lock;
			/* that channel has lost its lock file: not ours to mend */
			unlink(p->lock);
			unlock_close(lock);
			break;
		}
		if (lock != -EEXIST)
			return lock;
		old = lock_name(full, p, owner);
		if (old == -ENOENT || old == -ENODEV)	/* its owner has removed it just now */
			continue;
		if ((old == -EPERM || old == -EACCES) && !lstat(p->lock, &st) &&
		    S_ISREG(st.st_mode))
			return hftchan_fail(-old,
					    "%s: %s of uid %d stands in the way; that user or root can remove it with: hftchan destroy --force",
					    full, p->lock, st.st_uid);
		if (old < 0)
			return old == -EBUSY ? -EEXIST : old;
		err = lstat(p->control, &st) ? remove_name(full, p->lock) : 0;
		unlock_close(old);
		if (err)
			return err;
	}
	return exists(full, &st);
}

/* Allocate all of the ring now, on its node, in a mapping of its own. */
static int fill_ring(const char *full, const struct hftchan_control *g, int fd, int node, bool huge)
{
	const uint64_t chunk = 64 * MIB;	/* a signal undoes the call it interrupts */
	uint64_t bytes = hftchan_ring_bytes(g), done = 0;
	int err;
	void *p;

	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)g->ring_offset);
	if (p == MAP_FAILED)
		return hftchan_no_map(full, g);
	/* tmpfs keeps the policy with the file; hugetlbfs with the mapping, so touch through it */
	err = hftchan_bind(full, p, bytes, node);
	if (!err && huge && madvise(p, bytes, MADV_POPULATE_WRITE))
		err = hftchan_fail(errno, "%s: no free huge pages", full);
	munmap(p, bytes);
	if (err || huge)
		return err;
	while (done < bytes && (!err || err == EINTR)) {
		uint64_t n = bytes - done < chunk ? bytes - done : chunk;

		err = posix_fallocate(fd, (off_t)(g->ring_offset + done), (off_t)n);
		if (!err)
			done += n;
	}
	if (err == ENOMEM && node >= 0)
		return hftchan_fail(err, "%s: node %d has not %" PRIu64 " MiB free", full, node,
				    bytes / MIB);
	if (err)
		return hftchan_fail(err, "%s: can't get %" PRIu64 " KiB in " SHM_DIR ": %s", full,
				    bytes / 1024, strerror(err));
	return 0;
}

/* A mounted hugetlbfs of 2-MiB pages that this process can make files in. */
static bool find_hugetlbfs(char *dir, size_t size)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	bool found = false;
	struct statfs fs;

	if (!mounts)
		return false;
	while (!found && (m = getmntent(mounts))) {
		if (strcmp(m->mnt_type, "hugetlbfs") || strlen(m->mnt_dir) >= size ||
		    statfs(m->mnt_dir, &fs) || (uint64_t)fs.f_bsize != HUGE_PAGE ||
		    access(m->mnt_dir, W_OK | X_OK))
			continue;
		strcpy(dir, m->mnt_dir);
		found = true;
	}
	endmntent(mounts);
	return found;
}

/*
 * The ring's file on hugetlbfs if that works, still without the name that is recorded in @g.
 * Return: descriptor; -1 is no error: then the ring is in the control file, in small pages, and
 * `show` says so.
 */
static int make_huge_ring(const char *full, struct hftchan_control *g, const struct hftchan_attr *a)
{
	char dir[HFTCHAN_RING_PATH_MAX - HFTCHAN_NAME_MAX - 32];
	struct hftchan_control huge = *g;
	int fd;

	if (g->ring_size < HUGE_PAGE || !find_hugetlbfs(dir, sizeof(dir)))
		return -1;
	huge.page_size = HUGE_PAGE;
	huge.ring_offset = 0;
	huge.ring_tx_offset = 0;
	snprintf(huge.ring_path, sizeof(huge.ring_path), "%s/" FILE_PREFIX "%s-%llx", dir,
		 hftchan_bare_name(full), g->created_ns);
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	if (!ftruncate(fd, (off_t)hftchan_ring_bytes(&huge)) &&
	    !fill_ring(full, &huge, fd, a->node, true) && !set_access(full, fd, a->mode, a)) {
		*g = huge;
		return fd;
	}
	close(fd);
	return -1;
}

/* /dev/shm can hold it, or an error that says how much it can. */
static int shm_room_check(const char *full, uint64_t bytes)
{
	struct statfs fs;
	uint64_t free;

	if (statfs(SHM_DIR, &fs))
		return hftchan_fail(errno, "%s: " SHM_DIR ": %m; mount a tmpfs there", full);
	free = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
	/* a tmpfs without a limit says 0 blocks */
	if (fs.f_blocks && bytes > free)
		return hftchan_fail(ENOSPC,
				    "%s: the ring needs %" PRIu64 " KiB, " SHM_DIR " has %" PRIu64
				    " KiB free; make it larger (mount -o remount,size=; in a container: "
				    "--shm-size) or take fewer slots",
				    full, bytes / 1024, free / 1024);
	return 0;
}

static int write_page(int fd, const void *page, size_t bytes, off_t at)
{
	int err;

	do {
		err = posix_fallocate(fd, at, HFTCHAN_PAGE_BYTES);
	} while (err == EINTR);
	if (!err && bytes && pwrite(fd, page, bytes, at) != (ssize_t)bytes)
		err = EIO;
	return -err;
}

/* Everything but the name. */
static int make_control(const char *full, struct hftchan_control *g, const struct hftchan_attr *a)
{
	int fd, err;

	fd = open_unnamed(full, SHM_DIR);
	if (fd < 0)
		return fd;
	err = ftruncate(fd, (off_t)(RING_OFFSET + (g->ring_path[0] ? 0 : hftchan_ring_bytes(g))));
	err = err ? -errno : write_page(fd, g, sizeof(*g), 0);
	if (!err)
		err = write_page(fd, NULL, 0, SENDER_OFFSET);
	if (err)
		err = hftchan_fail(-err,
				   "%s: can't write to " SHM_DIR ": %s", full, strerror(-err));
	if (!err && !g->ring_path[0])
		err = fill_ring(full, g, fd, a->node, false);
	if (!err)
		err = set_access(full, fd, a->mode, a);
	if (!err)
		return fd;
	close(fd);
	return err;
}

static void unlink_huge(const char *full, const struct hftchan_control *g, uid_t owner)
{
	const char *base;
	struct stat st;
	int dir;

	if (!g->ring_path[0])
		return;
	dir = open_huge_dir(full, g, &base);
	if (dir < 0)
		return;
	if (!fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode) &&
	    st.st_uid == owner)
		unlinkat(dir, base, 0);
	close(dir);
}

/* A handle to what has no name yet: once the name is there, nothing can fail any more. */
static int open_unnamed_channel(const char *full, int fd, int ring_fd, struct hftchan **chp)
{
	int ro = hftchan_reopen(fd, O_RDONLY);
	int ro_ring = ring_fd < 0 ? -1 : hftchan_reopen(ring_fd, O_RDONLY);
	struct stat st;
	int err;

	if (ro >= 0 && !fstat(ro, &st) && (ring_fd < 0 || ro_ring >= 0))
		return open_fd(full, ro, &st, ro_ring, chp);
	err = hftchan_fail(errno, "%s: can't open what was made: %m", full);
	if (ro >= 0)
		close(ro);
	if (ro_ring >= 0)
		close(ro_ring);
	return err;
}

static int shm_create(const char *full, const struct hftchan_attr *attr,
		      const struct hftchan_control *geometry, struct hftchan **chp)
{
	struct paths p = paths_of(full);
	struct hftchan_control g = *geometry;
	struct hftchan *ch = NULL;
	int lock, fd, ring_fd, err;
	struct stat st;

	if ((attr->mode & ~(mode_t)0644) || (attr->mode & 0600) != 0600)
		return hftchan_fail(EINVAL,
				    "%s: mode %04o: shm: takes 0600, 0640, 0604 or 0644, as who can write to a channel can corrupt it",
				    full, attr->mode);
	if (!lstat(p.control, &st))
		return exists(full, &st);
	g.sender_offset = SENDER_OFFSET;
	g.sender_tx_offset = SENDER_OFFSET;
	g.ring_offset = RING_OFFSET;
	g.ring_tx_offset = RING_OFFSET;

	/* what takes time first, without a name: whoever is killed meanwhile leaves nothing */
	ring_fd = make_huge_ring(full, &g, attr);
	if (ring_fd < 0) {
		err = hftchan_room_check(full, g.ring_size);
		if (!err)
			err = shm_room_check(full, hftchan_ring_bytes(&g) + 2 * HFTCHAN_PAGE_BYTES);
		if (err)
			return err;
	}
	fd = make_control(full, &g, attr);
	if (fd < 0) {
		err = fd;
		goto err_ring;
	}
	if (chp) {
		err = open_unnamed_channel(full, fd, ring_fd, &ch);
		if (err)
			goto err_control;
	}
	lock = lock_new_name(full, &p, attr);
	if (lock < 0) {
		err = lock;
		goto err_handle;
	}
	err = ring_fd < 0 ? 0 : link_new(full, ring_fd, g.ring_path);
	if (!err)
		err = link_new(full, fd, p.control);
	if (err)
		goto err_lock;
	unlock_close(lock);
	close(fd);
	if (ring_fd >= 0)
		close(ring_fd);
	if (chp)
		*chp = ch;
	return 0;

err_lock:
	unlink_huge(full, &g, attr->owner == (uid_t)-1 ? geteuid() : attr->owner);
	unlink(p.lock);
	unlock_close(lock);
err_handle:
	hftchan_close(ch);
err_control:
	close(fd);
err_ring:
	if (ring_fd >= 0)
		close(ring_fd);
	return err;
}

/* ---------------------------------------------------------------- destroy */

/*
 * Lock the name of a channel that is to be removed. Without a lock file (removed by hand) one is
 * made, with @force also in the place of what is none, so that nobody else makes or removes the
 * channel meanwhile; *made is true then.
 */
static int lock_old_name(const char *full, const struct paths *p, bool force, bool *made)
{
	static const struct hftchan_attr own = HFTCHAN_ATTR_INIT;
	int lock, err;

	do {
		lock = lock_name(full, p, (uid_t)-1);
		*made = lock == -ENOENT || (lock == -EPERM && force);
		if (!*made)
			return lock;
		err = lock == -EPERM ? remove_name(full, p->lock) : 0;
		if (err)
			return err;
		lock = link_lock(full, p, &own);
	} while (lock == -EEXIST);
	return lock;
}

static int may_not_destroy(const char *full)
{
	return hftchan_fail(EACCES, "%s: may not be destroyed by uid %d: %s", full, geteuid(),
			    strerror(EACCES));
}

static int shm_destroy(const char *full, unsigned int flags)
{
	static const uint32_t destroyed = 1;
	const bool force = flags & HFTCHAN_DESTROY_FORCE;
	struct paths p = paths_of(full);
	struct hftchan_control g;
	int lock, fd, err, gone;
	struct stat st;
	bool made;

	if (lstat(p.control, &st) && errno == ENOENT && (!force || lstat(p.lock, &st)))
		return hftchan_fail(ENOENT, "%s: no such channel (%s)%s", full, p.control,
				    force || lstat(p.lock, &st) ? "" :
				    ", but a lock file is left of one; --force removes it");
	lock = lock_old_name(full, &p, force, &made);
	if (lock < 0)
		return lock == -EACCES ? may_not_destroy(full) : lock;
	/* anybody's, as it may be removed: the directory's permissions decide that */
	fd = open_regular(full, p.control, O_RDWR, (uid_t)-1, &st);
	if (fd == -EACCES)
		may_not_destroy(full);
	err = fd < 0 ? fd : read_control(full, fd, &st, &g);
	if (err < 0) {
		/* with force what shows that it is no channel goes, too */
		if (force && (err == -ENOENT || err == -EPERM || err == -EBADMSG ||
			      err == -EPROTONOSUPPORT))
			err = remove_name(full, p.control);
		goto out;
	}
	if (!force) {
		err = lock_role(full, &p, lock, fd);
		if (err)
			goto out;
	}
	err = remove_name(full, p.control);
	if (err)
		goto out;
	/*
	 * Written, not mapped: somebody else's file may be cut short at any moment. After all that
	 * was committed (release); pairs with hftchan_rx_idle().
	 */
	HFTCHAN_FENCE_RELEASE();
	if (pwrite(fd, &destroyed, sizeof(destroyed),
		   offsetof(struct hftchan_control, destroyed)) != sizeof(destroyed))
		err = hftchan_fail(errno, "%s: removed, but its receivers can't be told: %m", full);
	unlink_huge(full, &g, st.st_uid);
out:
	/* last: until then nobody makes the channel again */
	if (!err || made || lstat(p.control, &st)) {
		gone = remove_name(full, p.lock);
		if (!err)
			err = gone;
	}
	if (fd >= 0)
		close(fd);
	unlock_close(lock);
	return err;
}

const struct backend hftchan_shm = {
	.prefix = "shm:",
	.dir = SHM_DIR,
	.create = shm_create,
	.open = shm_open_channel,
	.destroy = shm_destroy,
	.take_role = shm_take_role,
	.drop_role = shm_drop_role,
	.begin_epoch = hftchan_begin_epoch,
	.end_epoch = hftchan_end_epoch,
	.ask = hftchan_ask_page,
	.placement = hftchan_mapped_placement,
	.close = hftchan_close_mapped,
};
