// SPDX-License-Identifier: MIT
/*
 * Channels as such: names, geometry, create, open, close, information, check.
 * It knows no backend's files (shm.c, dev.c, local.c) and no roles (sender.c, receiver.c).
 * The contract is in <hftchan.h>; of the control page in <linux/hftchan.h>.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

/* The ABI that every backend, kernel and language shares: offsets never move. */
#define AT(field, offset)                                                                          \
	_Static_assert(offsetof(struct hftchan_control, field) == (offset), #field)
AT(magic, 0);
AT(flags, 24);
AT(nr_slots, 40);
AT(ring_offset, 64);
AT(first_seq, 88);
AT(page_size, 112);
AT(epoch, 128);
AT(sender_state, 144);
AT(attached_ns, 168);
AT(destroyed, 180);
AT(ended_epoch, 184);
AT(sender_timens, 192);
AT(waiters, 256);
AT(nr_deaths, 384);
AT(ring_path, 512);
_Static_assert(sizeof(struct hftchan_control) == HFTCHAN_HEADER_SIZE_1, "control page");
_Static_assert(sizeof(struct hftchan_varlen) == 8, "message header");

static const struct backend *const backends[] = { &hftchan_dev, &hftchan_shm, &hftchan_local };

#define KNOWN_FLAGS	HFTCHAN_F_VARLEN

/* not isalnum(): a name means the same in every locale */
#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/* ---------------------------------------------------------------- names */

const char *hftchan_bare_name(const char *full)
{
	return strchr(full, ':') + 1;
}

static bool reserved_name(const char *bare)
{
	size_t len = strlen(bare);

	return len >= 5 && !strcmp(bare + len - 5, ".lock");
}

static bool well_formed(const char *bare)
{
	return *bare && strchr(ALNUM, *bare) && strspn(bare, ALNUM "._-") == strlen(bare);
}

bool hftchan_name_valid(const char *bare)
{
	return strlen(bare) <= HFTCHAN_NAME_MAX && well_formed(bare) && !reserved_name(bare);
}

/* the same, with words: the message repeats @name as it was given */
static int bare_name_check(const char *name, const char *bare)
{
	size_t len = strlen(bare);

	if (!len)
		return hftchan_fail(EINVAL, "\"%s\": the channel's name is empty", name);
	if (len > HFTCHAN_NAME_MAX)
		return hftchan_fail(EINVAL, "\"%.60s...\": the name has %zu characters; at most %d",
				    name, len, HFTCHAN_NAME_MAX);
	if (!well_formed(bare))
		return hftchan_fail(EINVAL,
				    "\"%s\": a name is letters, digits, '.', '_' and '-', and "
				    "begins with a letter or digit",
				    name);
	if (reserved_name(bare))
		return hftchan_fail(EINVAL, "\"%s\": names ending in \".lock\" are reserved", name);
	return 0;
}

/* Where a channel that has a name is a file. */
void hftchan_path(char path[PATH_BYTES], const struct backend *backend, const char *bare)
{
	snprintf(path, PATH_BYTES, "%s/" FILE_PREFIX "%s", backend->dir, bare);
}

static bool exists(const struct backend *backend, const char *bare)
{
	char path[PATH_BYTES];
	struct stat st;

	hftchan_path(path, backend, bare);
	return !lstat(path, &st);
}

/*
 * The backend of a name without a prefix: the module's where there is one. Never that in which the
 * name happens to exist, or a channel made under the same name elsewhere would be taken for it.
 */
static int resolve_bare(const char *name, bool create, const struct backend **backend)
{
	const struct backend *other = &hftchan_dev;

	*backend = &hftchan_shm;
	if (!access(HFTCHAN_CONTROL_NODE, F_OK)) {
		*backend = &hftchan_dev;
		other = &hftchan_shm;
	}
	if (!exists(other, name))
		return 0;
	if (create)
		return hftchan_fail(EEXIST,
				    "%s: %s%s exists, and %s%s beside it would make the name mean two channels; say %s%s, or take another name",
				    name, other->prefix, name, (*backend)->prefix, name,
				    (*backend)->prefix, name);
	if (exists(*backend, name))
		return hftchan_fail(ENOTUNIQ,
				    "%s: there are two, %s%s and %s%s; say which", name,
				    (*backend)->prefix, name, other->prefix, name);
	return hftchan_fail(ENOENT,
			    "%s: no such channel: it means %s%s, as %s %s; there is %s%s: say that",
			    name, (*backend)->prefix, name, HFTCHAN_CONTROL_NODE,
			    *backend == &hftchan_dev ? "exists" : "does not exist", other->prefix,
			    name);
}

/* "shm:md", "md" or "local:" -> backend and full name */
static int resolve(const char *name, bool create, const struct backend **backend,
		   char full[FULL_NAME_BYTES])
{
	const char *colon, *bare;
	size_t i, prefix;
	int err;

	if (!name)
		return hftchan_fail(EINVAL, "no name given");
	colon = strchr(name, ':');
	if (!colon) {
		err = bare_name_check(name, name);
		if (!err)
			err = resolve_bare(name, create, backend);
		if (!err)
			snprintf(full, FULL_NAME_BYTES, "%s%s", (*backend)->prefix, name);
		return err;
	}

	prefix = (size_t)(colon - name) + 1;
	bare = colon + 1;
	if (!strncmp(name, "raw:", prefix))
		return hftchan_fail(EOPNOTSUPP,
				    "%s: raw: is not in this build; use dev:, shm: or local:",
				    name);
	for (i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
		if (strncmp(name, backends[i]->prefix, prefix))
			continue;
		*backend = backends[i];
		if (!(*backend)->dir) {
			if (*bare)
				return hftchan_fail(EINVAL, "%s: %s takes no name", name,
						    (*backend)->prefix);
		} else {
			err = bare_name_check(name, bare);
			if (err)
				return err;
		}
		strcpy(full, name);	/* bounded by bare_name_check() */
		return 0;
	}
	return hftchan_fail(EINVAL,
			    "%s: unknown backend \"%.*s\"; known are dev:, shm: and local:", name,
			    (int)(prefix < 32 ? prefix : 32), name);
}

/* ---------------------------------------------------------------- files */

/* Who made it matters: anybody's channel could hold anything. */
int hftchan_owner_check(const char *full, const char *path, const struct stat *st, uid_t owner)
{
	if (st->st_uid == owner || st->st_uid == 0)
		return 0;
	return hftchan_fail(EPERM,
			    "%s: %s belongs to uid %d, expected uid %d or root; if that owner is right, ask for it: --owner, or expect.owner",
			    full, path, st->st_uid, owner);
}

/* open(@path, @flags) failed: who may not do what with whose file, and what to do about it. */
int(hftchan_no_access)(const char *full, const char *path, int flags, const char *remedy)
{
	int err = errno;
	struct stat st;

	if (err == EACCES && !lstat(path, &st))
		return hftchan_fail(err,
				    "%s: uid %d may not %s %s (uid %d, gid %d, mode %04o); %s",
				    full, geteuid(), flags & O_RDWR ? "write" : "read", path,
				    st.st_uid, st.st_gid, st.st_mode & 07777, remedy);
	return hftchan_fail(err, "%s: can't open %s: %s", full, path, strerror(err));
}

/* ---------------------------------------------------------------- geometry */

static uint64_t slot_size_of(uint64_t payload_size, uint64_t flags)
{
	uint64_t head = sizeof(hftchan_word) +
			(flags & HFTCHAN_F_VARLEN ? sizeof(struct hftchan_varlen) : 0);

	return hftchan_round_up(head + payload_size, 64);
}

static int geometry_of(const char *full, const struct hftchan_attr *a, struct hftchan_control *c)
{
	if (a->flags & ~(uint64_t)KNOWN_FLAGS)
		return hftchan_fail(EOPNOTSUPP,
				    "%s: flags 0x%" PRIx64 " are not in this build", full,
				    a->flags & ~(uint64_t)KNOWN_FLAGS);
	if (a->layout == HFTCHAN_LAYOUT_SPLIT || a->layout == HFTCHAN_LAYOUT_RAW)
		return hftchan_fail(EOPNOTSUPP,
				    "%s: layout %s is not in this build; use packed", full,
				    a->layout == HFTCHAN_LAYOUT_RAW ? "raw" : "split");
	if (a->layout != HFTCHAN_LAYOUT_PACKED)
		return hftchan_fail(EOPNOTSUPP, "%s: layout %u is unknown; use packed", full,
				    a->layout);
	if (!a->payload_size || a->payload_size > HFTCHAN_PAYLOAD_MAX)
		return hftchan_fail(EINVAL, "%s: payload size %" PRIu64 ": 1 to %u bytes", full,
				    a->payload_size, HFTCHAN_PAYLOAD_MAX);
	if (a->nr_slots < HFTCHAN_NR_SLOTS_MIN || a->nr_slots > HFTCHAN_NR_SLOTS_MAX ||
	    (a->nr_slots & (a->nr_slots - 1)))
		return hftchan_fail(EINVAL,
				    "%s: %" PRIu64 " slots: a power of two, %d to %llu", full,
				    a->nr_slots, HFTCHAN_NR_SLOTS_MIN, HFTCHAN_NR_SLOTS_MAX);
	if (!a->first_seq || a->first_seq > HFTCHAN_FIRST_SEQ_MAX)
		return hftchan_fail(EINVAL,
				    "%s: first seq %" PRIu64 ": 1 to %llu", full, a->first_seq,
				    HFTCHAN_FIRST_SEQ_MAX);

	*c = (struct hftchan_control){
		.magic = HFTCHAN_MAGIC,
		.version = HFTCHAN_ABI_VERSION,
		.compat_version = HFTCHAN_ABI_VERSION,
		.header_size = sizeof(*c),
		.layout = a->layout,
		.flags = a->flags,
		.payload_size = (uint32_t)a->payload_size,
		.payload_offset = sizeof(hftchan_word),
		.nr_slots = a->nr_slots,
		.slot_size = slot_size_of(a->payload_size, a->flags),
		.first_seq = a->first_seq,
		.type_tag = a->type_tag,
		.created_ns = hftchan_now_ns(CLOCK_REALTIME),
		.page_size = (uint32_t)sysconf(_SC_PAGESIZE),
		.node = a->node,
	};
	/* no overflow before the test: 2^31 slots of at most 2^30 + 128 bytes */
	c->ring_size = c->nr_slots * c->slot_size;
	if (c->ring_size > HFTCHAN_RING_SIZE_MAX)
		return hftchan_fail(EOVERFLOW,
				    "%s: %" PRIu64 " slots of %llu bytes are more than %llu TiB; "
				    "take fewer slots or a smaller payload",
				    full, a->nr_slots, c->slot_size, HFTCHAN_RING_SIZE_MAX >> 40);
	return 0;
}

/* Is this control page one that this build can use? Nothing in it is believed before. */
int hftchan_geometry_check(const char *full, const struct hftchan_control *c)
{
	uint64_t region;

	if (c->magic != HFTCHAN_MAGIC)
		return hftchan_fail(EBADMSG, "%s: not a channel: wrong magic number; "
				    "hftchan destroy --force removes it", full);
	if (c->compat_version > HFTCHAN_ABI_VERSION || !c->compat_version)
		return hftchan_fail(EPROTONOSUPPORT,
				    "%s: made for ABI version %u, this library knows %u; update the library or make the channel again",
				    full, c->compat_version, HFTCHAN_ABI_VERSION);
	if (c->layout != HFTCHAN_LAYOUT_PACKED)
		return hftchan_fail(EPROTONOSUPPORT, "%s: layout %u is not in this build", full,
				    c->layout);
	if (c->flags & ~(uint64_t)KNOWN_FLAGS)
		return hftchan_fail(EPROTONOSUPPORT, "%s: flags 0x%llx are not in this build", full,
				    c->flags & ~(uint64_t)KNOWN_FLAGS);
	region = (uint64_t)c->page_size;
	if (c->version < c->compat_version || c->header_size < HFTCHAN_HEADER_SIZE_1 ||
	    c->header_size > HFTCHAN_PAGE_BYTES ||
	    !c->payload_size || c->payload_size > HFTCHAN_PAYLOAD_MAX ||
	    c->payload_offset != sizeof(hftchan_word) ||
	    c->nr_slots < HFTCHAN_NR_SLOTS_MIN || c->nr_slots > HFTCHAN_NR_SLOTS_MAX ||
	    (c->nr_slots & (c->nr_slots - 1)) ||
	    c->slot_size != slot_size_of(c->payload_size, c->flags) ||
	    c->ring_size != c->nr_slots * c->slot_size || c->ring_size > HFTCHAN_RING_SIZE_MAX ||
	    !c->first_seq || c->first_seq > HFTCHAN_FIRST_SEQ_MAX ||
	    region < HFTCHAN_PAGE_BYTES || region > (1U << 30) || (region & (region - 1)) ||
	    c->node < -1 || !memchr(c->ring_path, 0, sizeof(c->ring_path)))
		return hftchan_fail(EBADMSG, "%s: corrupted: its control page contradicts itself; "
				    "destroy it and make it again", full);
	return 0;
}

void hftchan_ring_setup(struct hftchan_ring *ring, const struct hftchan_control *c, void *slots)
{
	*ring = (struct hftchan_ring){
		.slots = slots,
		.slot_mask = c->nr_slots - 1,
		.slot_size = c->slot_size,
		.first_seq = c->first_seq,
		.payload_offset = c->payload_offset,
		.payload_size = c->payload_size,
		.varlen = !!(c->flags & HFTCHAN_F_VARLEN),
	};
}

/* ---------------------------------------------------------------- handles */

struct hftchan *hftchan_alloc(const struct backend *backend, const char *full,
			      const struct hftchan_control *geometry)
{
	struct hftchan *ch = calloc(1, sizeof(*ch));

	if (!ch)
		return NULL;
	ch->backend = backend;
	ch->geometry = *geometry;
	ch->fd = -1;
	ch->pid = getpid();
	atomic_init(&ch->refs, 1);
	strcpy(ch->name, full);
	return ch;
}

struct hftchan *hftchan_get(struct hftchan *ch)
{
	atomic_fetch_add_explicit(&ch->refs, 1, memory_order_relaxed);
	return ch;
}

void hftchan_close(struct hftchan *ch)
{
	if (!ch || atomic_fetch_sub_explicit(&ch->refs, 1, memory_order_acq_rel) != 1)
		return;
	ch->backend->close(ch);
	free(ch);
}

int hftchan_create(const char *name, const struct hftchan_attr *attr, struct hftchan **chp)
{
	const struct backend *backend;
	struct hftchan_control geometry;
	char full[FULL_NAME_BYTES];
	int err;

	err = resolve(name, true, &backend, full);
	if (err)
		return err;
	if (!attr || attr->size != sizeof(*attr))
		return hftchan_fail(EINVAL,
				    "%s: attr.size is not that of this library: begin with HFTCHAN_ATTR_INIT",
				    full);
	err = geometry_of(full, attr, &geometry);
	if (!err)
		err = hftchan_node_check(full, attr->node);
	if (!err)
		err = backend->create(full, attr, &geometry, chp);
	return err;
}

int hftchan_open(const char *name, const struct hftchan_expect *expect, struct hftchan **chp)
{
	static const struct hftchan_expect any = HFTCHAN_EXPECT_INIT;
	const struct backend *backend;
	char full[FULL_NAME_BYTES];
	struct hftchan *ch;
	int err;

	err = resolve(name, false, &backend, full);
	if (err)
		return err;
	if (!expect)
		expect = &any;
	if (expect->size != sizeof(*expect))
		return hftchan_fail(EINVAL,
				    "%s: expect.size is not that of this library: begin with HFTCHAN_EXPECT_INIT",
				    full);
	err = backend->open(full, expect->owner, &ch);
	if (err)
		return err;
	if (expect->payload_size && expect->payload_size != ch->geometry.payload_size)
		err = hftchan_fail(EPROTOTYPE,
				   "%s: payload size is %u bytes, expected %" PRIu64, full,
				   ch->geometry.payload_size, expect->payload_size);
	else if (expect->check_type && expect->type_tag != ch->geometry.type_tag)
		err = hftchan_fail(EPROTOTYPE, "%s: type tag is 0x%llx, expected 0x%" PRIx64, full,
				   ch->geometry.type_tag, expect->type_tag);
	if (err) {
		hftchan_close(ch);
		return err;
	}
	*chp = ch;
	return 0;
}

int hftchan_destroy(const char *name, unsigned int flags)
{
	const struct backend *backend;
	char full[FULL_NAME_BYTES];
	int err = resolve(name, false, &backend, full);

	if (err)
		return err;
	if (flags & ~(HFTCHAN_DESTROY_FORCE | HFTCHAN_DESTROY_ZAP))
		return hftchan_fail(EOPNOTSUPP, "%s: unknown destroy flags 0x%x", full,
				    flags & ~(HFTCHAN_DESTROY_FORCE | HFTCHAN_DESTROY_ZAP));
	if (flags & HFTCHAN_DESTROY_ZAP) {
		if (backend != &hftchan_dev)
			return hftchan_fail(EOPNOTSUPP,
					    "%s: only the module can take the memory of dev: channels away; end who uses it",
					    full);
		if (!(flags & HFTCHAN_DESTROY_FORCE))
			return hftchan_fail(EINVAL, "%s: zap goes with force only", full);
	}
	return backend->destroy(full, flags);
}

static int list_dir(const struct backend *backend, int (*fn)(const char *name, void *arg),
		    void *arg)
{
	char full[FULL_NAME_BYTES];
	struct dirent *d;
	DIR *dir;
	int err = 0;

	dir = opendir(backend->dir);
	if (!dir)
		return hftchan_fail(errno, "can't read %s: %m", backend->dir);
	while (!err && (d = readdir(dir))) {
		const char *name = d->d_name + strlen(FILE_PREFIX);

		if (strncmp(d->d_name, FILE_PREFIX, strlen(FILE_PREFIX)) ||
		    !hftchan_name_valid(name))
			continue;
		snprintf(full, sizeof(full), "%s%s", backend->prefix, name);
		err = fn(full, arg);
	}
	closedir(dir);
	return err;
}

int hftchan_list(int (*fn)(const char *name, void *arg), void *arg)
{
	size_t i;
	int err = 0;

	for (i = 0; !err && i < sizeof(backends) / sizeof(backends[0]); i++)
		if (backends[i]->dir)
			err = list_dir(backends[i], fn, arg);
	return err;
}

const char *hftchan_name(const struct hftchan *ch)
{
	return ch->name;
}

/* ---------------------------------------------------------------- information */

int hftchan_get_info(struct hftchan *ch, struct hftchan_info *info)
{
	const struct hftchan_control *c = ch->view.control;
	const struct hftchan_control *g = &ch->geometry;
	struct sender_snapshot s;
	int err;

	if (!info || info->size != sizeof(*info))
		return hftchan_fail(EINVAL, "%s: info.size is not that of this library", ch->name);
	err = hftchan_snapshot(ch, &s);
	if (err)
		return err;
	*info = (struct hftchan_info){
		.size = sizeof(*info),
		.payload_size = g->payload_size,
		.nr_slots = g->nr_slots,
		.slot_size = g->slot_size,
		.ring_size = g->ring_size,
		.ring_offset = g->ring_offset,
		.first_seq = g->first_seq,
		.newest = hftchan_ring_search(&ch->ring),
		.type_tag = g->type_tag,
		.flags = g->flags,
		.created_ns = g->created_ns,
		.epoch = s.epoch,
		.epoch_seq = s.epoch_seq,
		.attached_ns = HFTCHAN_LOAD(&c->attached_ns),
		.heartbeat_ns = HFTCHAN_LOAD(&ch->view.sender->heartbeat_ns),
		.nr_deaths = HFTCHAN_LOAD(&c->nr_deaths),
		.layout = g->layout,
		.page_size = g->page_size,
		.node = HFTCHAN_LOAD(&c->node),
		.sender_state = s.state,
		.destroyed = HFTCHAN_LOAD(&c->destroyed),
		.mode = ch->st.st_mode & 07777,
		.owner = ch->st.st_uid,
		.group = ch->st.st_gid,
		.creator = (uid_t)-1,
	};
	if (hftchan_sender_dead(&s))
		info->sender_state = HFTCHAN_SENDER_DIED;
	strcpy(info->ring_path, g->ring_path);
	ch->backend->ask(ch, &s, info);
	return 0;
}

ssize_t hftchan_placement(struct hftchan *ch, uint64_t *pages, unsigned int nr_nodes)
{
	memset(pages, 0, nr_nodes * sizeof(*pages));
	return ch->backend->placement(ch, pages, nr_nodes);
}

int hftchan_check(struct hftchan *ch, struct hftchan_check_result *res)
{
	const struct hftchan_ring *r = &ch->ring;
	uint64_t prev_bad = UINT64_MAX, prev_newest = 0, prev_state = 0;
	uint64_t bad = 0, state = 0, n = 0, k;
	int tries, same = 0;

	if (!res || res->size != sizeof(*res))
		return hftchan_fail(EINVAL,
				    "%s: result.size is not that of this library", ch->name);
	*res = (struct hftchan_check_result){ .size = sizeof(*res) };
	for (tries = 0; tries < 1000; tries++) {
		n = hftchan_ring_search(r);
		if (!hftchan_ring_verify(r, n, true, &bad))
			goto legal;
		/* wrong, or the sender moved on while we walked: what is wrong stays the same */
		state = HFTCHAN_LOAD_ACQUIRE(hftchan_ring_state(r, bad));
		if (bad != prev_bad || state != prev_state || n != prev_newest)
			same = 0;
		else
			same++;
		if (same == 3) {
			res->newest = n;
			res->bad_slot = bad;
			res->bad_state = state;
			return hftchan_fail(EBADMSG,
					    "%s: corrupted at slot %" PRIu64 ": state 0x%016" PRIx64
					    " does not fit newest seq %" PRIu64
					    "; destroy the channel and make it again",
					    ch->name, bad, state, n);
		}
		prev_bad = bad;
		prev_state = state;
		prev_newest = n;
	}
	return hftchan_fail(EAGAIN,
			    "%s: the sender was too fast to check the ring; try again or stop it",
			    ch->name);

legal:
	res->newest = n;
	res->oldest = hftchan_ring_oldest(r, n, true);
	for (k = 1; k <= r->slot_mask + 1; k++)
		if (HFTCHAN_LOAD(hftchan_ring_state(r, n + k)) != (HFTCHAN_DIRTY | (n + k)))
			break;
	res->nr_dirty = k - 1;
	return 0;
}
