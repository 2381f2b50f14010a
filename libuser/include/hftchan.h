/* SPDX-License-Identifier: MIT */
/*
 * libhftchan: the public interface of a single-producer, multi-consumer broadcast channel.
 * It is not the protocol (that is <hftchan/ring.h>) nor the kernel ABI (<linux/hftchan.h>).
 * The contract of each call is its comment here and its page in section 3 of the manual.
 */
#ifndef HFTCHAN_H
#define HFTCHAN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/hftchan.h>

#include <hftchan/ring.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HFTCHAN_VERSION_MAJOR	0
#define HFTCHAN_VERSION_MINOR	1
#define HFTCHAN_VERSION_PATCH	0

/*
 * Conventions
 *
 * Results: 0 or a count, or -errno; errno itself is neither read nor promised. After an error of
 * any call but sends and the receives' -EAGAIN, -EMSGSIZE and -ESTALE, hftchan_strerror_last() says
 * which object, why and what to do about it.
 *
 * Threads: a handle (struct hftchan, hftchan_tx, hftchan_rx) is used by one thread at a time and
 * may move between threads. Different handles need no locking, also when they come from one
 * channel handle. Handles keep what they need of their channel alive: they may be closed in any
 * order.
 *
 * Memory: nothing is allocated and nothing is mapped after hftchan_attach(), hftchan_join() and
 * hftchan_clone(); all memory is populated by then.
 *
 * Fork: a child keeps its copies of receivers of shm: and dev: channels. It has no sender and
 * nothing of a local: channel: their memory is not inherited, touching it is a SIGSEGV; only
 * closing is valid.
 *
 * Inline functions exist as symbols of the library, too, under the same names.
 */
#ifndef HFTCHAN_INLINE
#define HFTCHAN_INLINE	static inline
#endif
#define HFTCHAN_API	__attribute__((__visibility__("default")))

struct hftchan;

/* ---------------------------------------------------------------- channels */

/**
 * struct hftchan_attr - what hftchan_create() makes; begin with HFTCHAN_ATTR_INIT
 * @size: sizeof(struct hftchan_attr)
 * @payload_size: bytes of a message (VARLEN: of the largest), 1 to HFTCHAN_PAYLOAD_MAX
 * @nr_slots: a power of two, HFTCHAN_NR_SLOTS_MIN to HFTCHAN_NR_SLOTS_MAX; nr_slots - 3 messages
 *	of history are readable for sure, nr_slots - k - 1 while k are sent as a batch
 * @first_seq: seq of the first message, 1 to HFTCHAN_FIRST_SEQ_MAX
 * @type_tag: any number that names the message type; 0: none
 * @flags: HFTCHAN_F_VARLEN or 0
 * @layout: HFTCHAN_LAYOUT_PACKED
 * @node: NUMA node that holds the ring, -1: wherever the creator runs
 * @mode: permission bits of the channel's node or file. shm: 0600, 0640, 0604 or 0644, since who
 *	can write can corrupt. dev: also 0660 and 0664: who can write can become the sender
 * @owner: uid, (uid_t)-1: the caller's
 * @group: gid, (gid_t)-1: the caller's
 */
struct hftchan_attr {
	size_t size;
	uint64_t payload_size;
	uint64_t nr_slots;
	uint64_t first_seq;
	uint64_t type_tag;
	uint64_t flags;
	uint32_t layout;
	int32_t node;
	mode_t mode;
	uid_t owner;
	gid_t group;
};

#define HFTCHAN_ATTR_INIT {						\
	sizeof(struct hftchan_attr), 0, 0, 1, 0, 0, HFTCHAN_LAYOUT_PACKED, -1, 0600,	\
	(uid_t)-1, (gid_t)-1 }

/**
 * struct hftchan_expect - what hftchan_open() insists on; begin with HFTCHAN_EXPECT_INIT
 * @size: sizeof(struct hftchan_expect)
 * @payload_size: 0: any
 * @type_tag: compared when @check_type is set
 * @check_type: insist on @type_tag
 * @owner: the uid that may own the channel, besides root; (uid_t)-1: the caller's
 */
struct hftchan_expect {
	size_t size;
	uint64_t payload_size;
	uint64_t type_tag;
	int check_type;
	uid_t owner;
};

#define HFTCHAN_EXPECT_INIT { sizeof(struct hftchan_expect), 0, 0, 0, (uid_t)-1 }

/**
 * struct hftchan_info - a channel's present state, for people and monitoring
 * @size: in: sizeof(struct hftchan_info)
 * @payload_size: bytes of the (largest) message
 * @nr_slots: slots
 * @slot_size: bytes
 * @ring_size: bytes
 * @ring_offset: of the ring in the file that holds the control page; 0 with @ring_path set
 * @first_seq: seq of the first message ever
 * @newest: seq of the newest committed message, first_seq - 1: none yet
 * @type_tag: as at create
 * @flags: HFTCHAN_F_*
 * @created_ns: CLOCK_REALTIME
 * @epoch: number of senders so far
 * @epoch_seq: seq that the sender of @epoch began with
 * @attached_ns: CLOCK_REALTIME of the last attach
 * @heartbeat_ns: CLOCK_MONOTONIC of the sender's last hftchan_heartbeat(), 0: none in this epoch
 * @nr_deaths: senders found dead by the next one; dev: senders that died
 * @layout: enum hftchan_layout
 * @page_size: bytes of the pages behind the ring
 * @node: NUMA node asked for, -1: none; dev: the one that the ring lies on
 * @sender_state: enum hftchan_sender_state; a sender found dead just now is HFTCHAN_SENDER_DIED
 * @sender_pid: pid of the attached sender, in shm of the last one else; 0: none or not visible
 *	from this pid namespace
 * @destroyed: the name is gone
 * @mode: permission bits, as the next two when the channel was opened
 * @owner: uid
 * @group: gid
 * @ring_path: file that holds the ring, "" if it is the control page's
 * @locked_bytes: dev: memory of the ring, never swapped and charged to @creator; otherwise 0
 * @creator: dev: uid that made the channel, in the caller's user namespace; otherwise (uid_t)-1
 * @nr_open: dev: open files of the channel's node, that of this handle too; otherwise 0
 * @holder_flags: dev: enum hftchan_holder_flags; otherwise 0
 */
struct hftchan_info {
	size_t size;
	uint64_t payload_size;
	uint64_t nr_slots;
	uint64_t slot_size;
	uint64_t ring_size;
	uint64_t ring_offset;
	uint64_t first_seq;
	uint64_t newest;
	uint64_t type_tag;
	uint64_t flags;
	uint64_t created_ns;
	uint64_t epoch;
	uint64_t epoch_seq;
	uint64_t attached_ns;
	uint64_t heartbeat_ns;
	uint64_t nr_deaths;
	uint32_t layout;
	uint32_t page_size;
	int32_t node;
	uint32_t sender_state;
	int32_t sender_pid;
	uint32_t destroyed;
	mode_t mode;
	uid_t owner;
	gid_t group;
	char ring_path[HFTCHAN_RING_PATH_MAX];
	uint64_t locked_bytes;
	uid_t creator;
	uint32_t nr_open;
	uint32_t holder_flags;
};

/**
 * struct hftchan_check_result - what hftchan_check() found
 * @size: in: sizeof(struct hftchan_check_result)
 * @newest: seq of the newest committed message
 * @oldest: seq of the oldest one still readable; newest + 1 when there is none
 * @nr_dirty: slots that are marked
 * @bad_slot: index of the first slot that is wrong, when -EBADMSG is returned
 * @bad_state: the state word found there
 */
struct hftchan_check_result {
	size_t size;
	uint64_t newest;
	uint64_t oldest;
	uint64_t nr_dirty;
	uint64_t bad_slot;
	uint64_t bad_state;
};

/* hftchan_version() - "MAJOR.MINOR.PATCH" of the library that runs. Any thread, any time. */
HFTCHAN_API const char *hftchan_version(void);

/* hftchan_strerror_last() - text of this thread's last error; valid until its next failing call. */
HFTCHAN_API const char *hftchan_strerror_last(void);

/**
 * hftchan_create() - make a channel
 * @name: "dev:NAME", "shm:NAME", "local:", or NAME alone: dev: where /dev/hftchan exists, otherwise
 *	shm:. NAME is [A-Za-z0-9][A-Za-z0-9._-]{0,46} and doesn't end in ".lock"
 * @attr: see struct hftchan_attr
 * @chp: set to a handle as from hftchan_open(); may be NULL, except for "local:"
 *
 * The channel appears under its name complete or not at all, and lives until hftchan_destroy();
 * "local:" has no name and lives as long as its handles.
 * Return: 0; -EINVAL a wrong name or attribute, -EOPNOTSUPP unknown flag or layout, a backend that
 * this build lacks, or no kernel module, -EOVERFLOW nr_slots * slot size too large, -EEXIST name
 * taken, for a NAME alone also in the other backend, -ENOSPC /dev/shm full or a limit of the module
 * reached, -ENOMEM more than the memory available, -ENODEV no such NUMA node, or without memory, or
 * not allowed, -EPERM or -EACCES no permission, -EPROTONOSUPPORT a module of another version,
 * -EINTR a signal came (dev:); anything that the system calls below return.
 */
HFTCHAN_API int hftchan_create(const char *name, const struct hftchan_attr *attr,
			       struct hftchan **chp);

/**
 * hftchan_open() - open an existing channel, read-only
 * @name: as for hftchan_create(), but not "local:"
 * @expect: what it must be; NULL: anything owned by the caller or root
 * @chp: set to the handle
 *
 * Return: 0; -EINVAL wrong name, -ENOENT no such channel, -ENOTUNIQ a NAME alone that exists as
 * dev: and as shm:, -EPERM owned by somebody else or writable for others, -EACCES may not be read,
 * -EPROTOTYPE another payload size or type_tag, -EPROTONOSUPPORT another version or layout,
 * -EBADMSG not a channel, too short or corrupted, -EOPNOTSUPP a backend that this build lacks or no
 * kernel module, -ENODEV destroyed at this moment (dev:), -ENOMEM.
 */
HFTCHAN_API int hftchan_open(const char *name, const struct hftchan_expect *expect,
			     struct hftchan **chp);

/* hftchan_close() - give the handle back; senders and receivers made from it live on. NULL: fine */
HFTCHAN_API void hftchan_close(struct hftchan *ch);

#define HFTCHAN_DESTROY_FORCE	(1U << 0)	/* also under a live sender, or open (dev:) */
#define HFTCHAN_DESTROY_ZAP	(1U << 1)	/* dev:, with FORCE: free the ring now */

/**
 * hftchan_destroy() - remove a channel's name and free its memory when the last mapping is gone
 * @name: as for hftchan_open()
 * @flags: HFTCHAN_DESTROY_* or 0
 *
 * Receivers read what is left in the ring, then get -ENODEV. With FORCE a leftover of shm: that is
 * no valid channel is removed too, but for a directory. dev: without FORCE is refused while anybody
 * has the channel open or mapped, the caller too. With FORCE and ZAP the ring of a dev: channel is
 * freed at once: whoever touches it gets SIGBUS, so this is for those that would keep it for ever.
 * Return: 0; -ENOENT, -ENOTUNIQ as for hftchan_open(), -EBUSY a sender is attached, or somebody
 * makes or destroys it now, or has it open (dev:), -EPERM, -EACCES, -EINVAL, -EBADMSG not a valid
 * channel, -EPROTONOSUPPORT another version or layout, -ENODEV somebody else has just destroyed it,
 * -EOPNOTSUPP unknown flag, ZAP elsewhere than in dev:, or no kernel module; -EINVAL also ZAP
 * without FORCE.
 */
HFTCHAN_API int hftchan_destroy(const char *name, unsigned int flags);

/**
 * hftchan_list() - call @fn with the full name ("shm:NAME") of every channel, in no order
 * @fn: returns 0 to go on, anything else ends the list
 * @arg: passed to @fn
 *
 * Names are those that exist, not only those that can be opened.
 * Return: 0, or what @fn returned, or -errno.
 */
HFTCHAN_API int hftchan_list(int (*fn)(const char *name, void *arg), void *arg);

/* hftchan_name() - full name, with the backend that was chosen: "shm:md". Lives with the handle. */
HFTCHAN_API const char *hftchan_name(const struct hftchan *ch);

/**
 * hftchan_get_info() - fill @info; what it says of the sender is consistent while there is one
 * Return: 0; -EINVAL @info->size is not one that this library knows, -EAGAIN a sender is attaching
 * right now.
 */
HFTCHAN_API int hftchan_get_info(struct hftchan *ch, struct hftchan_info *info);

/**
 * hftchan_placement() - on which NUMA nodes do the ring's pages lie?
 * @ch: channel
 * @pages: for each node from 0 to @nr_nodes - 1 set to the number of pages (of info.page_size)
 * @nr_nodes: elements of @pages
 *
 * Asks the kernel for every page (dev: the module). Pages that could not be told are in none of the
 * sums.
 * Return: the number of pages told, or -errno.
 */
HFTCHAN_API ssize_t hftchan_placement(struct hftchan *ch, uint64_t *pages, unsigned int nr_nodes);

/**
 * hftchan_check() - is every slot of the ring legal?
 *
 * Exact for a ring at rest. Beside a running sender it checks again when slots changed under it.
 * Return: 0; -EBADMSG corrupted, @res names the slot; -EAGAIN the sender was too fast to tell.
 */
HFTCHAN_API int hftchan_check(struct hftchan *ch, struct hftchan_check_result *res);

/* ---------------------------------------------------------------- messages */

/**
 * struct hftchan_msg - one message, as received or to be sent in a batch
 * @data: the payload
 * @len: its bytes
 * @type: the user's, in a VARLEN channel, below HFTCHAN_TYPE_RESERVED; otherwise 0
 * @seq: received: its seq (send ignores it)
 * @lost: received: messages lost just before it, reported once (send ignores it)
 */
struct hftchan_msg {
	const void *data;
	uint32_t len;
	uint32_t type;
	uint64_t seq;
	uint64_t lost;
};

/* ---------------------------------------------------------------- sender */

/**
 * struct hftchan_tx - the sender of a channel
 * @ring: the ring, writable
 * @seq: seq in hand: of the next message
 *
 * Made by hftchan_attach(). Its fields are for the inline functions below.
 */
struct hftchan_tx {
	struct hftchan_ring ring;
	uint64_t seq;
};

#define HFTCHAN_ATTACH_VERIFY	(1U << 0)	/* check every slot before the first send */

/**
 * hftchan_attach() - take the sender role; resume after the last committed message
 * @ch: channel; must be writable for the caller
 * @flags: HFTCHAN_ATTACH_VERIFY or 0
 * @txp: set to the sender
 *
 * One sender at a time, held until hftchan_detach() or the death of the process. The epoch grows
 * by one. hftchan_tx_seq() tells where the sender resumes: after a crash this may be one more than
 * the crashed process knew, because its last message may have been committed.
 * Return: 0; -EBUSY another sender holds the role or somebody destroys it now, -EACCES or -EPERM
 * may not send, -EBADMSG the ring is corrupted (at which slot: hftchan_strerror_last()), -ENODEV
 * destroyed, -ENOENT its lock file was removed by hand, -ENOMEM, -EOPNOTSUPP unknown flag.
 */
HFTCHAN_API int hftchan_attach(struct hftchan *ch, unsigned int flags, struct hftchan_tx **txp);

/* hftchan_detach() - give the sender role back; what was reserved is not sent. NULL is fine. */
HFTCHAN_API void hftchan_detach(struct hftchan_tx *tx);

/**
 * hftchan_heartbeat() - say "alive" although nothing is sent; a clock read and a store
 * Return: 0; -ENODEV the channel was destroyed: what is sent reaches no new receiver.
 */
HFTCHAN_API int hftchan_heartbeat(struct hftchan_tx *tx);

/* hftchan_tx_seq() - seq of the next message */
HFTCHAN_INLINE uint64_t hftchan_tx_seq(const struct hftchan_tx *tx)
{
	return tx->seq;
}

/**
 * hftchan_reserve() - where the next message's payload goes
 *
 * payload_size bytes, aligned to 8, which hold an old message. May be called again, and may be
 * abandoned. No receiver takes them for a message before hftchan_commit(). Write them with plain
 * stores; non-temporal ones need an sfence before the commit.
 */
HFTCHAN_INLINE void *hftchan_reserve(struct hftchan_tx *tx)
{
	return hftchan_ring_payload(&tx->ring, tx->seq) +
	       (tx->ring.varlen ? sizeof(struct hftchan_varlen) : 0);
}

/* May a message have this length and type? hftchan_commit_len() says what it returns. */
static inline int hftchan_tx_fits(const struct hftchan_tx *tx, size_t len, uint32_t type)
{
	if (tx->ring.varlen ? len > tx->ring.payload_size : len != tx->ring.payload_size)
		return -EMSGSIZE;
	if (tx->ring.varlen ? type & HFTCHAN_TYPE_RESERVED : type)
		return -EINVAL;
	return 0;
}

/* Write the head of a VARLEN message of seq @s in its slot. Return: where its bytes go. */
static inline unsigned char *hftchan_tx_head(const struct hftchan_tx *tx, uint64_t s, size_t len,
					     uint32_t type)
{
	unsigned char *p = hftchan_ring_payload(&tx->ring, s);
	struct hftchan_varlen head = { (uint32_t)len, type };

	if (!tx->ring.varlen)
		return p;
	hftchan_ring_copy_in(p, &head, sizeof(head));
	return p + sizeof(head);
}

/**
 * hftchan_commit_len() - publish the reserved payload as a message of @len bytes and @type
 *
 * Release: what the caller stored before is visible to whoever receives the message.
 * Return: 0; -EMSGSIZE @len over payload_size, or not payload_size in a channel without VARLEN;
 * -EINVAL @type is HFTCHAN_TYPE_RESERVED, or not 0 without VARLEN. Then nothing is sent.
 */
HFTCHAN_INLINE int hftchan_commit_len(struct hftchan_tx *tx, size_t len, uint32_t type)
{
	int err = hftchan_tx_fits(tx, len, type);

	if (err)
		return err;
	hftchan_tx_head(tx, tx->seq, len, type);
	hftchan_ring_commit(&tx->ring, tx->seq, 1);
	tx->seq++;
	return 0;
}

/* hftchan_commit() - publish the reserved payload, all payload_size bytes of it. Return: 0. */
HFTCHAN_INLINE int hftchan_commit(struct hftchan_tx *tx)
{
	return hftchan_commit_len(tx, tx->ring.payload_size, 0);
}

/**
 * hftchan_send_type() - copy a message in and publish it
 * @tx: sender
 * @buf: message, any alignment
 * @len: its bytes: payload_size, or in a VARLEN channel 0 to payload_size
 * @type: the user's, VARLEN only
 *
 * Never waits: the oldest message is overwritten. Errors and ordering as hftchan_commit_len();
 * after an error what was reserved is as it was.
 */
HFTCHAN_INLINE int hftchan_send_type(struct hftchan_tx *tx, const void *buf, size_t len,
				     uint32_t type)
{
	int err = hftchan_tx_fits(tx, len, type);

	if (err)
		return err;
	hftchan_ring_copy_in(hftchan_tx_head(tx, tx->seq, len, type), buf, len);
	hftchan_ring_commit(&tx->ring, tx->seq, 1);
	tx->seq++;
	return 0;
}

/* hftchan_send() - hftchan_send_type() with type 0 */
HFTCHAN_INLINE int hftchan_send(struct hftchan_tx *tx, const void *buf, size_t len)
{
	return hftchan_send_type(tx, buf, len, 0);
}

/**
 * hftchan_send_batch() - send several messages, cheaper than one by one
 * @tx: sender
 * @msgs: data, len and type of each
 * @nr: how many
 *
 * Published in order, in groups of at most a quarter of the ring; a receiver may see the first
 * ones of a group before the last. All lengths and types are checked before anything is sent.
 * Return: 0, or -EMSGSIZE or -EINVAL as hftchan_commit_len(), then nothing was sent.
 */
HFTCHAN_API int hftchan_send_batch(struct hftchan_tx *tx, const struct hftchan_msg *msgs,
				   unsigned int nr);

/* ---------------------------------------------------------------- receiver */

/* enum hftchan_join_at - where a receiver starts */
enum hftchan_join_at {
	HFTCHAN_JOIN_LAST,	/* the newest message, again; the first one if there is none yet */
	HFTCHAN_JOIN_NEXT,	/* what is sent from now on */
	HFTCHAN_JOIN_OLDEST,	/* the history still in the ring */
	HFTCHAN_JOIN_SEQ,	/* a given seq, first_seq or more; may lie in the future */
};

/* enum hftchan_wait_mode - what a receiver does while there is nothing */
enum hftchan_wait_mode {
	HFTCHAN_WAIT_SPIN,	/* burns its core; the fastest */
	HFTCHAN_WAIT_YIELD,	/* spins a little, then lets others run: more spinners than cores */
};

/**
 * struct hftchan_rx - a receiver
 * @ring: the ring, read-only
 * @cursor: where it is
 * @peeked: seq of the message that was peeked at last, 0: none yet
 * @spins: polls between two looks at clock and control page
 *
 * Made by hftchan_join() or hftchan_clone(). Its fields are for the inline functions below.
 */
struct hftchan_rx {
	struct hftchan_ring ring;
	struct hftchan_cursor cursor;
	uint64_t peeked;
	uint32_t spins;
};

/* struct hftchan_sender - what a receiver knows of the sender: see struct hftchan_info */
struct hftchan_sender {
	uint64_t epoch;
	uint64_t epoch_seq;
	uint32_t state;
	int32_t pid;
};

/**
 * hftchan_join() - make a receiver
 * @ch: channel
 * @at: where to start
 * @seq: with HFTCHAN_JOIN_SEQ: the first seq wanted; otherwise 0
 * @rxp: set to the receiver
 *
 * hftchan_rx_seq() tells where it starts; what lies before is not counted as lost. It never writes
 * to the channel and the sender does not know of it. With OLDEST beside a running sender the
 * oldest up to 64 messages (a quarter of a small ring) are left out, as they would be overwritten
 * before they could be read.
 * Return: 0; -EINVAL @seq before first_seq or too large, or unknown @at, -ENODEV destroyed,
 * -ENOMEM, -EAGAIN a sender is attaching right now.
 */
HFTCHAN_API int hftchan_join(struct hftchan *ch, enum hftchan_join_at at, uint64_t seq,
			     struct hftchan_rx **rxp);

/* hftchan_clone() - a second receiver where @rx is now; its counts of lost begin at 0. -ENOMEM. */
HFTCHAN_API int hftchan_clone(const struct hftchan_rx *rx, struct hftchan_rx **rxp);

/* hftchan_leave() - end a receiver. NULL is fine. */
HFTCHAN_API void hftchan_leave(struct hftchan_rx *rx);

/**
 * hftchan_rx_set_wait() - how to wait, and how long
 * @rx: receiver
 * @mode: HFTCHAN_WAIT_SPIN (from the start) or HFTCHAN_WAIT_YIELD
 * @timeout_ns: longest wait of one call, in ns of CLOCK_MONOTONIC; 0: for ever (from the start)
 *
 * Return: 0; -EINVAL unknown mode.
 */
HFTCHAN_API int hftchan_rx_set_wait(struct hftchan_rx *rx, enum hftchan_wait_mode mode,
				    uint64_t timeout_ns);

/**
 * hftchan_rx_sender() - who sends; for the state a sender that died without a word is looked up. A
 * few system calls.
 * Return: 0; -EAGAIN a sender is attaching right now.
 */
HFTCHAN_API int hftchan_rx_sender(struct hftchan_rx *rx, struct hftchan_sender *sender);

/* hftchan_rx_idle() and hftchan_rx_lap() serve the inline functions; not to be called by users. */
HFTCHAN_API int hftchan_rx_idle(struct hftchan_rx *rx, uint64_t *since);
HFTCHAN_API int hftchan_rx_lap(struct hftchan_rx *rx);

/* hftchan_rx_seq() - the seq wanted next: of the next message received, if that is not lost */
HFTCHAN_INLINE uint64_t hftchan_rx_seq(const struct hftchan_rx *rx)
{
	return rx->cursor.next;
}

/* hftchan_rx_lost() - messages lost since the join: rx_seq - joined seq - lost were received */
HFTCHAN_INLINE uint64_t hftchan_rx_lost(const struct hftchan_rx *rx)
{
	return rx->cursor.lost;
}

/**
 * hftchan_wait() - wait until the next receive or peek has something to say
 *
 * Return: 0; -ETIMEDOUT; -EPIPE the sender detached or died (noticed within some 10 ms) and all it
 * sent has been read: said once for an epoch (not at all when the next sender is there already),
 * the next call waits for the next sender; -ENODEV the channel was destroyed and all has been read.
 * shm: a death can't be seen from another pid namespace, a detach can; a sender that calls execve()
 * has given its role back without a word and counts as alive until the next one attaches. dev: the
 * kernel tells both at once, to everybody.
 */
HFTCHAN_INLINE int hftchan_wait(struct hftchan_rx *rx)
{
	uint64_t since = 0;

	for (;;) {
		uint32_t i;
		int err;

		for (i = 0; i < rx->spins; i++) {
			if (hftchan_ring_poll(&rx->ring, rx->cursor.next) != HFTCHAN_EMPTY)
				return 0;
			HFTCHAN_PAUSE();
		}
		err = hftchan_rx_idle(rx, &since);
		if (err < 0)
			return err;
	}
}

/*
 * Length and type of a message and where its bytes begin. All of it may be garbage
 * when the message is overwritten meanwhile: @len is loaded once and clamped to the slot, and
 * believed after hftchan_ring_still() only. Return: the length as found.
 */
static inline uint32_t hftchan_rx_head(const struct hftchan_rx *rx, uint64_t seq,
				       struct hftchan_msg *msg)
{
	const unsigned char *p = hftchan_ring_payload(&rx->ring, seq);
	struct hftchan_varlen head = { rx->ring.payload_size, 0 };

	if (rx->ring.varlen) {
		hftchan_ring_copy_out(&head, p, sizeof(head));
		p += sizeof(head);
	}
	msg->data = p;
	msg->len = head.len < rx->ring.payload_size ? head.len : rx->ring.payload_size;
	msg->type = head.type;
	msg->seq = seq;
	msg->lost = rx->cursor.unreported;
	return head.len;
}

/* The message at the cursor, or what stands in its way; laps are dealt with. */
static inline ssize_t hftchan_rx_look(struct hftchan_rx *rx, struct hftchan_msg *msg)
{
	for (;;) {
		enum hftchan_poll state = hftchan_ring_poll(&rx->ring, rx->cursor.next);
		int err;

		if (state == HFTCHAN_EMPTY)
			return -EAGAIN;
		if (state == HFTCHAN_READY) {
			if (hftchan_rx_head(rx, rx->cursor.next, msg) == msg->len)
				return (ssize_t)msg->len;
			/* overwritten or corrupted: the state tells, read after the length (C) */
			HFTCHAN_FENCE_ACQUIRE();
		}
		err = hftchan_rx_lap(rx);
		if (err < 0)
			return err;
	}
}

/**
 * hftchan_try_peek() - look at the next message in place, without waiting
 * @rx: receiver
 * @msg: all fields set
 *
 * @msg->data points into the ring, where the sender may overwrite it at any time: whatever is read
 * through it is a guess until hftchan_advance() returns 0. Bound every index taken from it, copy
 * values out, do nothing that can't be undone. Peeking again without advancing is fine.
 * Return: bytes of the message; -EAGAIN nothing yet, -EBADMSG the ring is corrupted.
 */
HFTCHAN_INLINE ssize_t hftchan_try_peek(struct hftchan_rx *rx, struct hftchan_msg *msg)
{
	ssize_t len = hftchan_rx_look(rx, msg);

	rx->peeked = len >= 0 ? rx->cursor.next : 0;
	return len;
}

/**
 * hftchan_advance() - finish a peek: was what it showed good all the time?
 *
 * Return: 0 yes, and the cursor is one further; -ESTALE no, it was overwritten: discard what was
 * read; the receiver has gone on to a message that exists and the loss will be reported with it;
 * -EAGAIN the message at the cursor was not peeked at; -EBADMSG the ring is corrupted.
 */
HFTCHAN_INLINE int hftchan_advance(struct hftchan_rx *rx)
{
	int err;

	if (rx->peeked != rx->cursor.next)
		return -EAGAIN;
	if (hftchan_ring_still(&rx->ring, rx->cursor.next)) {
		hftchan_ring_deliver(&rx->cursor, 1);
		return 0;
	}
	err = hftchan_rx_lap(rx);
	return err < 0 ? err : -ESTALE;
}

/* hftchan_peek() - hftchan_try_peek() that waits, with the errors of hftchan_wait() */
HFTCHAN_INLINE ssize_t hftchan_peek(struct hftchan_rx *rx, struct hftchan_msg *msg)
{
	for (;;) {
		ssize_t n = hftchan_try_peek(rx, msg);

		if (n != -EAGAIN)
			return n;
		n = hftchan_wait(rx);
		if (n < 0)
			return n;
	}
}

/**
 * hftchan_try_recv() - take a copy of the next message, without waiting
 * @rx: receiver
 * @buf: where to, any alignment
 * @size: bytes there; payload_size is always enough
 * @msg: seq, length, type and lost of it, data = @buf; may be NULL
 *
 * Acquire: what the sender stored before its commit is visible after it.
 * Return: bytes of the message (0 is a length, too); -EAGAIN nothing yet; -EMSGSIZE @size is too
 * small for this message, which stays and can be received again, @msg->len says how much it needs;
 * -EBADMSG the ring is corrupted.
 */
HFTCHAN_INLINE ssize_t hftchan_try_recv(struct hftchan_rx *rx, void *buf, size_t size,
					struct hftchan_msg *msg)
{
	for (;;) {
		struct hftchan_msg m;
		ssize_t len = hftchan_rx_look(rx, &m);
		int err;

		if (len < 0)
			return len;
		if ((size_t)len <= size)
			hftchan_ring_copy_out(buf, (const unsigned char *)m.data, (size_t)len);
		m.data = buf;
		if (hftchan_ring_still(&rx->ring, rx->cursor.next)) {
			if (msg)
				*msg = m;
			if ((size_t)len > size)
				return -EMSGSIZE;
			hftchan_ring_deliver(&rx->cursor, 1);
			return len;
		}
		err = hftchan_rx_lap(rx);
		if (err < 0)
			return err;
	}
}

/* hftchan_recv() - hftchan_try_recv() that waits, with the errors of hftchan_wait() */
HFTCHAN_INLINE ssize_t hftchan_recv(struct hftchan_rx *rx, void *buf, size_t size,
				    struct hftchan_msg *msg)
{
	for (;;) {
		ssize_t n = hftchan_try_recv(rx, buf, size, msg);

		if (n != -EAGAIN)
			return n;
		n = hftchan_wait(rx);
		if (n < 0)
			return n;
	}
}

/**
 * hftchan_try_recv_batch() - take copies of the next messages, as many as there are
 * @rx: receiver
 * @buf: @max times @stride bytes
 * @stride: bytes for each; payload_size is always enough
 * @msgs: @max elements; those returned are set, data pointing into @buf
 * @max: at least 1
 *
 * Cheaper per message than hftchan_try_recv(): one fence and one re-check serve them all. Messages
 * are in order without a gap, but for what @msgs[0].lost says.
 * Return: messages received, or -EAGAIN, -EMSGSIZE, -EBADMSG as hftchan_try_recv().
 */
HFTCHAN_API int hftchan_try_recv_batch(struct hftchan_rx *rx, void *buf, size_t stride,
				       struct hftchan_msg *msgs, unsigned int max);

/* hftchan_recv_batch() - hftchan_try_recv_batch() that waits for the first message */
HFTCHAN_INLINE int hftchan_recv_batch(struct hftchan_rx *rx, void *buf, size_t stride,
				      struct hftchan_msg *msgs, unsigned int max)
{
	for (;;) {
		int n = hftchan_try_recv_batch(rx, buf, stride, msgs, max);

		if (n != -EAGAIN)
			return n;
		n = hftchan_wait(rx);
		if (n < 0)
			return n;
	}
}

#ifdef __cplusplus
}
#endif

#endif /* HFTCHAN_H */
