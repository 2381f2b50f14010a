// SPDX-License-Identifier: MIT
/*
 * Backend "dev:": a channel of the kernel module, the node /dev/hftchan-NAME.
 * It keeps no books: the kernel holds the role, writes the control page and frees the memory.
 * The contract is struct backend in internal.h; of the ioctls <linux/hftchan.h>.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "internal.h"

#define REGION_UNIT	(64ULL << 10)
#define NODES_MAX	1024	/* that INFO takes */
#define MIB_LL		(1ULL << 20)	/* what is divided by it fits "%llu" */

/* 0 or -errno; without a message */
static int call(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) ? -errno : 0;
}

/* ---------------------------------------------------------------- the control node */

static int no_module(const char *full)
{
	return hftchan_fail(EOPNOTSUPP,
			    "%s: the kernel module is not loaded (no %s); load it: modprobe hftchan, see hftchan(4), or use shm:%s",
			    full, HFTCHAN_CONTROL_NODE, hftchan_bare_name(full));
}

static int ask_limits(int fd, struct hftchan_ioc_limits *limits)
{
	*limits = (struct hftchan_ioc_limits){ .size = sizeof(*limits) };
	return call(fd, HFTCHAN_IOC_LIMITS, limits);
}

/* The control node of a module that this library can talk to: a descriptor. */
static int open_control(const char *full)
{
	struct hftchan_ioc_limits limits;
	int fd, err;

	fd = open(HFTCHAN_CONTROL_NODE, O_RDWR | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ENXIO || errno == ENODEV))
		return no_module(full);
	if (fd < 0)
		return hftchan_no_access(full, HFTCHAN_CONTROL_NODE, O_RDWR,
					 "only that group, hftchan by default, may make and destroy channels: usermod -aG hftchan USER");
	err = ask_limits(fd, &limits);
	if (err)
		err = hftchan_fail(-err, "%s: " HFTCHAN_CONTROL_NODE " is not hftchan's: %s", full,
				   strerror(-err));
	else if (limits.out_abi_version < HFTCHAN_ABI_VERSION ||
		 limits.out_compat_version > HFTCHAN_ABI_VERSION)
		err = hftchan_fail(EPROTONOSUPPORT,
				   "%s: the module has ABI version %u and serves %u and later, this library has %u; install module and library of one release",
				   full, limits.out_abi_version, limits.out_compat_version,
				   HFTCHAN_ABI_VERSION);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* ---------------------------------------------------------------- create */

/* The module gave -ENOSPC: which of its limits is it? */
static int limit_reached(const char *full, int fd, uint64_t bytes)
{
	struct hftchan_ioc_limits l;
	struct rlimit memlock;

	if (ask_limits(fd, &l) || getrlimit(RLIMIT_MEMLOCK, &memlock))
		return hftchan_fail(ENOSPC, "%s: a limit of the module is reached", full);
	if (l.out_nr_channels >= l.out_max_channels)
		return hftchan_fail(ENOSPC,
				    "%s: there are %u channels, and the module takes no more than %u; destroy one that is not needed",
				    full, l.out_nr_channels, l.out_max_channels);
	if (l.out_bytes + bytes > l.out_max_bytes)
		return hftchan_fail(ENOSPC,
				    "%s: the ring needs %llu MiB, all rings hold %llu of at most %llu MiB; destroy what is not needed, or raise the module's max_mib",
				    full, bytes / MIB_LL, l.out_bytes / MIB_LL,
				    l.out_max_bytes / MIB_LL);
	if (l.out_bytes_uid + bytes > l.out_max_bytes_uid)
		return hftchan_fail(ENOSPC,
				    "%s: the ring needs %llu MiB, those of uid %d hold %llu of at most %llu MiB; destroy what is not needed, or raise the module's max_mib_per_uid",
				    full, bytes / MIB_LL, getuid(), l.out_bytes_uid / MIB_LL,
				    l.out_max_bytes_uid / MIB_LL);
	return hftchan_fail(ENOSPC,
			    "%s: the ring needs %llu KiB, uid %d has %llu KiB locked, and RLIMIT_MEMLOCK is %llu KiB; raise it: ulimit -l, or memlock in limits.conf(5)",
			    full, bytes / 1024ULL, getuid(), l.out_locked_bytes / 1024,
			    memlock.rlim_cur / 1024ULL);
}

static int not_allowed(const char *full, const struct hftchan_attr *a)
{
	if (a->owner != (uid_t)-1 && a->owner != geteuid())
		return hftchan_fail(EPERM,
				    "%s: can't give it to uid %u; only root may give it away", full,
				    a->owner);
	if (a->group != (gid_t)-1 && a->group != getegid())
		return hftchan_fail(EPERM,
				    "%s: can't give it to gid %u; it must be a group of yours",
				    full, a->group);
	return hftchan_fail(EPERM,
			    "%s: this process's cpuset does not allow the node; name another with --node, or attr.node",
			    full);
}

static int not_created(const char *full, int err, int fd, const struct hftchan_attr *a,
		       const struct hftchan_ioc_create *c, uint64_t bytes)
{
	switch (err) {
	case -EEXIST:
		return hftchan_fail(EEXIST,
				    "%s: exists already; take another name or: hftchan destroy",
				    full);
	case -EPERM:
		return not_allowed(full, a);
	case -ENOSPC:
		return limit_reached(full, fd, bytes);
	case -ENOMEM:
		return hftchan_fail(ENOMEM,
				    "%s: node %d gave %llu of %llu free 2-MiB pages; free memory there, then: echo 1 > /proc/sys/vm/compact_memory; or make channels early after boot, or raise the memory cgroup's limit",
				    full, c->out_node, c->out_nr_pages, bytes / (2 * MIB_LL));
	case -EINTR:
		return hftchan_fail(EINTR,
				    "%s: a signal came while its pages were allocated, nothing is left of them; try again",
				    full);
	case -EINVAL:
		if (a->node < 0)
			return hftchan_fail(ENODEV,
					    "%s: the node of this CPU has no memory; name another with --node, or attr.node",
					    full);
		return hftchan_fail(ENODEV,
				    "%s: node %d does not exist or has no memory; see: numactl --hardware",
				    full, a->node);
	case -EOPNOTSUPP:
		return hftchan_fail(EOPNOTSUPP,
				    "%s: the module knows no such layout or flag; update it", full);
	default:
		return hftchan_fail(-err, "%s: the module can't make it: %s", full, strerror(-err));
	}
}

/*
 * Who may write the node may become the sender, which a group can be let do, but not everybody.
 * Who may only write it could not open it at all.
 */
static int mode_check(const char *full, mode_t mode)
{
	mode_t group = mode & 0060;

	if ((mode & ~(mode_t)0664) || (mode & 0600) != 0600 || group == 0020)
		return hftchan_fail(EINVAL,
				    "%s: mode %04o: dev: takes 0600, 0640, 0660, 0604, 0644 or 0664, as who can write to a node can become the sender",
				    full, mode);
	return 0;
}

static int destroy(int fd, const char *full, unsigned int flags)
{
	struct hftchan_ioc_destroy d = {
		.size = sizeof(d),
		.flags = (flags & HFTCHAN_DESTROY_FORCE ? HFTCHAN_DESTROY_F_FORCE : 0) |
			 (flags & HFTCHAN_DESTROY_ZAP ? HFTCHAN_DESTROY_F_ZAP : 0),
	};

	strcpy(d.name, hftchan_bare_name(full));
	return call(fd, HFTCHAN_IOC_DESTROY, &d);
}

static int dev_open(const char *full, uid_t owner, struct hftchan **chp);

static int dev_create(const char *full, const struct hftchan_attr *a,
		      const struct hftchan_control *geometry, struct hftchan **chp)
{
	struct hftchan_ioc_create c = {
		.size = sizeof(c),
		.layout = a->layout,
		.flags = a->flags,
		.nr_slots = a->nr_slots,
		.first_seq = a->first_seq,
		.type_tag = a->type_tag,
		.payload_size = (uint32_t)a->payload_size,
		.node = a->node,
		.mode = a->mode,
		.uid = a->owner,
		.gid = a->group,
	};
	int fd, err;

	err = mode_check(full, a->mode);
	if (err)
		return err;
	fd = open_control(full);
	if (fd < 0)
		return fd;
	strcpy(c.name, hftchan_bare_name(full));
	err = call(fd, HFTCHAN_IOC_CREATE, &c);
	if (err) {
		err = not_created(full, err, fd, a, &c,
				  hftchan_round_up(geometry->ring_size, HUGE_PAGE));
	} else if (chp) {
		err = dev_open(full, a->owner, chp);
		if (err == -ENOENT)
			err = hftchan_fail(ENODEV,
					   "%s: its node does not appear in /dev, which is no devtmpfs; in a container have the host make it and pass its node in",
					   full);
		if (err)
			destroy(fd, full, HFTCHAN_DESTROY_FORCE);
	}
	close(fd);
	return err;
}

/* ---------------------------------------------------------------- open */

/* INFO is all 0 if the module says nothing. */
static int ask_info(int fd, struct hftchan_ioc_info *info, uint64_t *nodes, uint32_t nr_nodes)
{
	*info = (struct hftchan_ioc_info){
		.size = sizeof(*info),
		.nr_nodes = nr_nodes,
		.nodes = (uintptr_t)nodes,
	};
	return call(fd, HFTCHAN_IOC_INFO, info);
}

static int no_node(const char *full, const char *path)
{
	switch (errno) {
	case ENOENT:
		if (access(HFTCHAN_CONTROL_NODE, F_OK))
			return no_module(full);
		return hftchan_fail(ENOENT,
				    "%s: no such channel (%s); make it with: hftchan create", full,
				    path);
	case ENXIO:
	case ENODEV:
		return hftchan_fail(ENODEV,
				    "%s: %s is the node of a channel that was destroyed; if it stays, remove it",
				    full, path);
	case ELOOP:
		return hftchan_fail(EPERM, "%s: %s is a symbolic link, not a channel; remove it",
				    full, path);
	default:
		return hftchan_no_access(full, path, O_RDONLY,
					 "its owner can let you in: --mode, --group");
	}
}

/* The node of this very channel, and of an owner that is trusted: a descriptor. */
static int open_node(const char *full, uid_t owner, struct stat *st)
{
	struct hftchan_ioc_info info;
	char path[PATH_BYTES];
	int fd, err;

	hftchan_path(path, &hftchan_dev, hftchan_bare_name(full));
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return no_node(full, path);
	if (fstat(fd, st))
		err = hftchan_fail(errno, "%s: can't stat %s: %m", full, path);
	else if (!S_ISCHR(st->st_mode))
		err = hftchan_fail(EPERM, "%s: %s is not a device; remove it", full, path);
	else if (hftchan_owner_check(full, path, st, owner))
		err = -EPERM;
	else if (st->st_mode & 0002)
		err = hftchan_fail(EPERM,
				   "%s: %s has mode %04o: anybody can become its sender; its owner must chmod it",
				   full, path, st->st_mode & 07777);
	else if (ask_info(fd, &info, NULL, 0))
		err = hftchan_fail(EBADMSG,
				   "%s: %s (device %u:%u) is no channel of the module; remove it",
				   full, path, major(st->st_rdev), minor(st->st_rdev));
	else if (strncmp(info.out_name, hftchan_bare_name(full), sizeof(info.out_name)) != 0)
		err = hftchan_fail(EBADMSG, "%s: %s is the node of dev:%.*s; remove it", full, path,
				   HFTCHAN_NAME_MAX, info.out_name);
	else
		return fd;
	close(fd);
	return err;
}

/* Regions that can be mapped as the ABI says, none over another. */
static bool regions_fit(const struct hftchan_control *g)
{
	const struct {
		uint64_t offset, bytes, unit;
	} regions[] = {
		{ 0, HFTCHAN_PAGE_BYTES, REGION_UNIT },
		{ g->sender_offset, HFTCHAN_PAGE_BYTES, REGION_UNIT },
		{ g->sender_tx_offset, HFTCHAN_PAGE_BYTES, REGION_UNIT },
		{ g->ring_offset, hftchan_ring_bytes(g), HUGE_PAGE },
		{ g->ring_tx_offset, hftchan_ring_bytes(g), HUGE_PAGE },
	};
	size_t i, j;

	for (i = 0; i < sizeof(regions) / sizeof(regions[0]); i++) {
		if (regions[i].offset % regions[i].unit ||
		    regions[i].offset > INT64_MAX - regions[i].bytes)
			return false;
		for (j = 0; j < i; j++)
			if (regions[i].offset < regions[j].offset + regions[j].bytes &&
			    regions[j].offset < regions[i].offset + regions[i].bytes)
				return false;
	}
	return true;
}

/* A copy of the control page of an open node, checked. */
static int read_control(const char *full, int fd, struct hftchan_control *g)
{
	struct hftchan_control *page;
	int err;

	page = mmap(NULL, HFTCHAN_PAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return errno == ENODEV ? hftchan_gone(full) :
			hftchan_fail(errno, "%s: can't map its control page: %m", full);
	*g = *page;
	munmap(page, HFTCHAN_PAGE_BYTES);
	err = hftchan_geometry_check(full, g);
	if (err)
		return err;
	if (g->page_size != HUGE_PAGE || g->ring_path[0] || !regions_fit(g))
		return hftchan_fail(EBADMSG,
				    "%s: the module's control page has wrong offsets; install module and library of one release",
				    full);
	return 0;
}

/* What MAP_POPULATE does elsewhere: after this the data path has no page fault. */
static int prefault(const char *full, int fd, const struct view *view)
{
	const struct {
		void *addr;
		size_t bytes;
	} regions[] = {
		{ view->control, HFTCHAN_PAGE_BYTES },
		{ view->sender, HFTCHAN_PAGE_BYTES },
		{ view->ring, view->ring_bytes },
	};
	size_t i;
	int err = 0;

	for (i = 0; !err && i < sizeof(regions) / sizeof(regions[0]); i++) {
		struct hftchan_ioc_prefault p = {
			.size = sizeof(p),
			.addr = (uintptr_t)regions[i].addr,
			.length = regions[i].bytes,
		};

		err = call(fd, HFTCHAN_IOC_PREFAULT, &p);
	}
	if (err == -ENODEV || err == -EFAULT)	/* its pages were taken away */
		return hftchan_gone(full);
	if (err)
		return hftchan_fail(-err, "%s: can't fill its page tables: %s", full,
				    strerror(-err));
	return 0;
}

static int dev_open(const char *full, uid_t owner, struct hftchan **chp)
{
	struct hftchan_control g;
	struct hftchan *ch;
	struct stat st;
	int fd, err;

	fd = open_node(full, owner == (uid_t)-1 ? geteuid() : owner, &st);
	if (fd < 0)
		return fd;
	err = read_control(full, fd, &g);
	if (err)
		goto err_close;
	ch = hftchan_alloc(&hftchan_dev, full, &g);
	if (!ch) {
		err = hftchan_fail(ENOMEM, "%s: out of memory", full);
		goto err_close;
	}
	ch->fd = fd;
	ch->st = st;
	err = hftchan_map_view(full, &g, fd, fd, false, PROT_READ, &ch->view);
	if (!err)
		err = prefault(full, fd, &ch->view);
	if (err) {
		hftchan_close(ch);
		return err;
	}
	hftchan_ring_setup(&ch->ring, &g, ch->view.ring);
	*chp = ch;
	return 0;

err_close:
	close(fd);
	return err;
}

/* ---------------------------------------------------------------- destroy */

static int in_use(const char *full)
{
	struct hftchan_ioc_info info = { 0 };
	char path[PATH_BYTES];
	int fd;

	hftchan_path(path, &hftchan_dev, hftchan_bare_name(full));
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0) {
		ask_info(fd, &info, NULL, 0);
		close(fd);
	}
	if (info.out_holder_pid)
		return hftchan_role_taken(full, info.out_holder_pid);
	if (info.out_nr_open > 1)	/* one was ours */
		return hftchan_fail(EBUSY,
				    "%s: is open %u times; end who uses it (fuser %s) or: hftchan destroy --force",
				    full, info.out_nr_open - 1, path);
	return hftchan_fail(EBUSY,
			    "%s: is open or mapped; end who uses it (fuser %s) or: hftchan destroy --force",
			    full, path);
}

static int dev_destroy(const char *full, unsigned int flags)
{
	char path[PATH_BYTES];
	struct stat st = { 0 };
	int fd, err;

	fd = open_control(full);
	if (fd < 0)
		return fd;
	hftchan_path(path, &hftchan_dev, hftchan_bare_name(full));
	err = destroy(fd, full, flags);
	close(fd);
	switch (err) {
	case 0:
		return 0;
	case -ENOENT:
		if (!lstat(path, &st))
			return hftchan_fail(ENOENT,
					    "%s: no such channel, but there is %s; remove that: rm",
					    full, path);
		return hftchan_fail(ENOENT, "%s: no such channel (%s)", full, path);
	case -EBUSY:
		return in_use(full);
	case -EPERM:
		lstat(path, &st);
		return hftchan_fail(EPERM,
				    "%s: belongs to uid %d; only that user or root may destroy it",
				    full, st.st_uid);
	default:
		return hftchan_fail(-err, "%s: the module can't destroy it: %s", full,
				    strerror(-err));
	}
}

/* ---------------------------------------------------------------- the sender role */

static int role_taken(struct hftchan *ch)
{
	struct hftchan_ioc_info info;

	ask_info(ch->fd, &info, NULL, 0);
	if (info.out_holder_flags)
		return hftchan_fail(EBUSY, "%s: its sender is %s; try again when it has gone",
				    ch->name, info.out_holder_flags & HFTCHAN_HOLDER_DUMPING ?
						      "writing a core dump" : "just ending");
	return hftchan_role_taken(ch->name, info.out_holder_pid);
}

static void dev_drop_role(struct tx *tx)
{
	struct hftchan_ioc_detach_tx d = { .size = sizeof(d) };

	/* not by closing alone: a child forked just now may have the descriptor, too */
	call(tx->role_fd, HFTCHAN_IOC_DETACH_TX, &d);
	hftchan_unmap_view(&tx->view);
	close(tx->role_fd);
	tx->role_fd = -1;
}

static int dev_take_role(struct tx *tx)
{
	struct hftchan_ioc_attach_tx a = { .size = sizeof(a) };
	struct hftchan *ch = tx->ch;
	char path[PATH_BYTES];
	int fd, err;

	hftchan_path(path, &hftchan_dev, hftchan_bare_name(ch->name));
	fd = hftchan_reopen(ch->fd, O_RDWR);
	if (fd < 0)
		return errno == ENXIO || errno == ENODEV ? hftchan_gone(ch->name) :
			hftchan_no_access(ch->name, path, O_RDWR,
					  "who may write may become its sender: its owner can let a group, by --mode 0660 and --group");
	/* a device number is given to another channel only after this one was marked so */
	err = HFTCHAN_LOAD_ACQUIRE(&ch->view.control->destroyed) ? -ENODEV :
		call(fd, HFTCHAN_IOC_ATTACH_TX, &a);
	if (err) {
		close(fd);
		switch (err) {
		case -EBUSY:
			return role_taken(ch);
		case -ENODEV:
			return hftchan_gone(ch->name);
		default:
			return hftchan_fail(-err, "%s: the module does not give the role: %s",
					    ch->name, strerror(-err));
		}
	}
	tx->role_fd = fd;
	err = hftchan_map_view(ch->name, &ch->geometry, fd, fd, true, PROT_READ, &tx->view);
	if (!err)
		err = prefault(ch->name, fd, &tx->view);
	if (err) {
		dev_drop_role(tx);
		return err;
	}
	/* the kernel does so for what only the sender may touch: a child has nothing of it */
	madvise(tx->view.control, HFTCHAN_PAGE_BYTES, MADV_DONTFORK);
	return 0;
}

static int dev_begin_epoch(struct tx *tx, uint64_t seq)
{
	struct hftchan_ioc_start_tx s = { .size = sizeof(s), .seq = seq };
	int err;

	err = call(tx->role_fd, HFTCHAN_IOC_START_TX, &s);
	if (err == -ENODEV)
		return hftchan_gone(tx->ch->name);
	if (err)
		return hftchan_fail(-err,
				    "%s: the module does not begin an epoch at seq %" PRIu64 ": %s",
				    tx->ch->name, seq, strerror(-err));
	return 0;
}

/* ---------------------------------------------------------------- questions */

static void dev_ask(const struct hftchan *ch, const struct sender_snapshot *s,
		    struct hftchan_info *info)
{
	struct hftchan_ioc_info i;

	(void)s;
	if (ask_info(ch->fd, &i, NULL, 0))
		return;
	info->sender_pid = i.out_holder_pid;
	info->holder_flags = i.out_holder_flags;
	info->nr_open = i.out_nr_open;
	info->creator = i.out_creator_uid;
	info->locked_bytes = i.out_nr_pages * HUGE_PAGE;
}

static ssize_t dev_placement(const struct hftchan *ch, uint64_t *pages, unsigned int nr_nodes)
{
	struct hftchan_ioc_info info;
	uint64_t told = 0;
	unsigned int i;
	int err;

	if (nr_nodes > NODES_MAX)
		nr_nodes = NODES_MAX;
	err = ask_info(ch->fd, &info, nr_nodes ? pages : NULL, nr_nodes);
	if (err)
		return hftchan_fail(-err, "%s: can't ask where the pages lie: %s", ch->name,
				    strerror(-err));
	for (i = 0; i < nr_nodes; i++)
		told += pages[i];
	return (ssize_t)told;
}

const struct backend hftchan_dev = {
	.prefix = "dev:",
	.dir = "/dev",
	.create = dev_create,
	.open = dev_open,
	.destroy = dev_destroy,
	.take_role = dev_take_role,
	.drop_role = dev_drop_role,
	.begin_epoch = dev_begin_epoch,
	.ask = dev_ask,
	.placement = dev_placement,
	.close = hftchan_close_mapped,
};
