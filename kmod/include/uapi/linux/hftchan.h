/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT */
/*
 * hftchan ABI: the pages that every backend shares, and the ioctls of the kernel module.
 * It is not the slot protocol: layout and ordering of slots are in <hftchan/ring.h>.
 * The contract, field by field, is in this file; prose in hftchan(7), of the module in hftchan(4).
 */
#ifndef _UAPI_LINUX_HFTCHAN_H
#define _UAPI_LINUX_HFTCHAN_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: regions of a channel
 *
 * A channel is one object with these regions, each at an offset that is a multiple of 64 KiB, so
 * that it can be mapped on kernels of every page size. Offsets are file offsets of the shm
 * backend's file and mmap offsets of the dev backend's node::
 *
 *	0                 control page  struct hftchan_control, read-only for user space where a
 *	                                kernel module owns the channel; the sender role's holder
 *	                                writes it in the shm and local backends
 *	sender_offset     sender page   struct hftchan_sender_page, written by the sender alone
 *	ring_offset       ring          nr_slots slots of slot_size bytes
 *	sender_tx_offset, ring_tx_offset
 *	                                the same two as the sender maps them. The dev backend lets
 *	                                nobody else map these, maps the others read-only and can
 *	                                take these away without touching a receiver; in shm they
 *	                                are sender_offset and ring_offset
 *
 * User space takes every offset and size from the control page and computes none from sizeof.
 *
 * All fields are in the machine's own byte order; a channel never leaves its machine.
 *
 * Atomicity: a field marked "constant" is written before the channel can be found by its name and
 * never again. Every other field is written and read with single relaxed loads and stores of its
 * own size, ordered as its comment says.
 *
 * Versions: a reader that knows version V may use a control page when compat_version <= V. A new
 * field takes reserved room, grows header_size and version; compat_version grows only when old
 * readers would be wrong.
 */

/* "hftchan" and a zero byte, read as a little-endian number */
#define HFTCHAN_MAGIC		0x006e616863746668ULL
#define HFTCHAN_ABI_VERSION	1

/* bytes of the control page and of the sender page that exist in every version */
#define HFTCHAN_PAGE_BYTES	4096
/* header_size of ABI version 1; the rest of the page is 0 */
#define HFTCHAN_HEADER_SIZE_1	768

/* a name: [A-Za-z0-9][A-Za-z0-9._-]{0,46}, and never ending in ".lock" */
#define HFTCHAN_NAME_MAX	47
#define HFTCHAN_RING_PATH_MAX	256

#define HFTCHAN_FIRST_SEQ_MAX	(1ULL << 62)
#define HFTCHAN_NR_SLOTS_MIN	4
#define HFTCHAN_NR_SLOTS_MAX	(1ULL << 31)
#define HFTCHAN_PAYLOAD_MAX	(1U << 30)
#define HFTCHAN_RING_SIZE_MAX	(1ULL << 46)

/**
 * enum hftchan_layout - where a slot keeps its state word and its payload
 * @HFTCHAN_LAYOUT_PACKED: state at 0, payload at 8, the slot padded to a multiple of 64 bytes
 * @HFTCHAN_LAYOUT_SPLIT: state in a 128-byte line of its own, payload at 128, padded to 128
 * @HFTCHAN_LAYOUT_RAW: split without control page, as the Rust crate hft-channel has it
 */
enum hftchan_layout {
	HFTCHAN_LAYOUT_PACKED = 0,
	HFTCHAN_LAYOUT_SPLIT = 1,
	HFTCHAN_LAYOUT_RAW = 2,
};

/* channel flags, constant */
#define HFTCHAN_F_VARLEN	(1ULL << 0)	/* struct hftchan_varlen before each payload */
#define HFTCHAN_F_STAMPED	(1ULL << 1)	/* reserved: a send time per message */
#define HFTCHAN_F_EPHEMERAL	(1ULL << 2)	/* reserved: ends with its creator's descriptor */

/* types of variable-length messages with this bit set belong to the library */
#define HFTCHAN_TYPE_RESERVED	0x80000000U

/**
 * struct hftchan_varlen - in front of each payload of a HFTCHAN_F_VARLEN channel
 * @len: bytes of the message, at most payload_size
 * @type: the user's; values with HFTCHAN_TYPE_RESERVED set belong to the library
 *
 * Part of the payload as far as ordering goes. Receivers never trust @len.
 */
struct hftchan_varlen {
	__u32 len;
	__u32 type;
};

/**
 * enum hftchan_sender_state - what became of the sender role
 * @HFTCHAN_SENDER_NONE: no sender yet, or the last one detached in order, or one is attaching just
 *	now: @ended_epoch of the control page tells whether the role is free
 * @HFTCHAN_SENDER_ATTACHED: held. In the shm backend the holder may have died since: compare
 *	sender_pid and sender_start with the living process. In dev it has not
 * @HFTCHAN_SENDER_REVOKED: taken away by REVOKE
 * @HFTCHAN_SENDER_DIED: ended by the death of the holder, or by its exec
 */
enum hftchan_sender_state {
	HFTCHAN_SENDER_NONE = 0,
	HFTCHAN_SENDER_ATTACHED = 1,
	HFTCHAN_SENDER_REVOKED = 2,
	HFTCHAN_SENDER_DIED = 3,
};

/**
 * struct hftchan_control - the control page
 *
 * "Owner" below is the kernel module in the dev backend; in shm and local it is whoever holds the
 * single-sender lock (the creator before the name appears).
 */
struct hftchan_control {
	/* -- what the channel is: constant unless a field says otherwise -- */
	/** @magic: HFTCHAN_MAGIC */
	__aligned_u64 magic;
	/** @version: HFTCHAN_ABI_VERSION of the creator */
	__u32 version;
	/** @compat_version: the oldest version whose readers understand this page */
	__u32 compat_version;
	/** @header_size: bytes of this struct that the creator knew */
	__u32 header_size;
	/** @layout: enum hftchan_layout */
	__u32 layout;
	/** @flags: HFTCHAN_F_*; an unknown one is refused */
	__aligned_u64 flags;
	/** @payload_size: bytes of the (largest) message, 1 to HFTCHAN_PAYLOAD_MAX */
	__u32 payload_size;
	/** @payload_offset: from a slot's start to its payload (to its hftchan_varlen if VARLEN) */
	__u32 payload_offset;
	/** @nr_slots: a power of two, at least HFTCHAN_NR_SLOTS_MIN (2 in raw) */
	__aligned_u64 nr_slots;
	/** @slot_size: bytes from one slot to the next */
	__aligned_u64 slot_size;

	/** @ring_size: nr_slots * slot_size; the region is this, rounded up to page_size */
	__aligned_u64 ring_size;
	/** @ring_offset: of the ring, for receivers */
	__aligned_u64 ring_offset;
	/**
	 * @ring_tx_offset: of the ring as the role holder maps it for writing; the dev backend
	 * has a second view so that revoke can unmap one without the other, shm has ring_offset
	 */
	__aligned_u64 ring_tx_offset;
	/** @sender_offset: of the sender page, for reading */
	__aligned_u64 sender_offset;
	/** @first_seq: seq of the channel's first message, 1 to HFTCHAN_FIRST_SEQ_MAX */
	__aligned_u64 first_seq;
	/** @type_tag: what the messages are, by the user's own numbering; 0: not said */
	__aligned_u64 type_tag;
	/** @created_ns: CLOCK_REALTIME at creation */
	__aligned_u64 created_ns;
	/** @page_size: bytes of the pages behind the ring */
	__u32 page_size;
	/**
	 * @node: NUMA node that the ring was asked to lie on, -1: none asked for; in the dev
	 * backend the one that it lies on. Written by owner at re-pin, relaxed
	 */
	__s32 node;
	/** @sender_tx_offset: of the sender page as the role holder maps it for writing */
	__aligned_u64 sender_tx_offset;

	/* -- who sends; written by owner at attach, detach, revoke, death; any reader -- */
	/**
	 * @epoch: number of attaches so far. Grows after the new sender's first marks are in the
	 * ring (release; pairs with receivers' acquire load)
	 */
	__aligned_u64 epoch;
	/** @epoch_seq: seq that the sender of @epoch began with */
	__aligned_u64 epoch_seq;
	/**
	 * @sender_state: enum hftchan_sender_state. At attach NONE is stored before, ATTACHED
	 * (release) after @sender_pid .. @epoch: a reader that finds ATTACHED and the same @epoch
	 * before and after has a consistent set
	 */
	__u32 sender_state;
	/** @sender_pid: in the pid namespace @sender_pidns; 0 in the dev backend (INFO tells) */
	__s32 sender_pid;
	/** @sender_start: start time in clock ticks since boot, field 22 of /proc/PID/stat */
	__aligned_u64 sender_start;
	/** @sender_pidns: inode number of the sender's pid namespace, 0: it could not tell */
	__aligned_u64 sender_pidns;
	/** @attached_ns: CLOCK_REALTIME of the last attach */
	__aligned_u64 attached_ns;
	/** @sender_flags: what the sender opted in to at attach; none yet, 0 */
	__u32 sender_flags;
	/**
	 * @destroyed: non-zero once the channel's name is gone; never goes back. Written, release,
	 * by whoever destroys it
	 */
	__u32 destroyed;
	/**
	 * @ended_epoch: the newest epoch whose sender is known to have ended; equal to @epoch when
	 * nobody sends. Says it better than @sender_state, which is NONE for a moment of each
	 * attach. Release; pairs with acquire: who sees it finds all that was committed
	 */
	__aligned_u64 ended_epoch;
	/** @sender_timens: inode number of the time namespace that @sender_start is of, 0: none */
	__aligned_u64 sender_timens;
	/** @__reserved_sender: 0 */
	__aligned_u64 __reserved_sender[7];

	/* -- at 256, a 128-byte block of its own: a sender that opted in reads it per commit -- */
	/** @waiters: non-zero when a receiver sleeps; owner writes, relaxed; 0 in shm and local */
	__u32 waiters;
	/** @__reserved_waiters: 0 */
	__u32 __reserved_waiters[31];

	/* -- counters since creation: written by owner, relaxed; any reader -- */
	/**
	 * @nr_deaths: senders that ended without a detach (exit, kill, exec), as found by the next
	 * attach; in the dev backend at once
	 */
	__aligned_u64 nr_deaths;
	/** @nr_revokes: REVOKE calls that took the role away */
	__aligned_u64 nr_revokes;
	/** @nr_repins: SET_NODE calls that moved the ring */
	__aligned_u64 nr_repins;
	/** @nr_arms: ARM calls */
	__aligned_u64 nr_arms;
	/** @nr_wakes: doorbells rung */
	__aligned_u64 nr_wakes;
	/** @__reserved_counters: 0 */
	__aligned_u64 __reserved_counters[11];

	/**
	 * @ring_path: absolute path of the file that holds the ring at offset 0 when it is not
	 * in this one (shm on hugetlbfs), zero-terminated; empty otherwise; constant
	 */
	char ring_path[HFTCHAN_RING_PATH_MAX];
};

/**
 * struct hftchan_sender_page - what the sender says of itself
 *
 * Written by the sender alone, relaxed; read by anybody, trusted by nobody. All of it is 0 when an
 * epoch begins: by the sender's library, or by START_TX in the dev backend.
 */
struct hftchan_sender_page {
	/** @heartbeat_ns: CLOCK_MONOTONIC of the last hftchan_heartbeat(), 0: none in this epoch */
	__aligned_u64 heartbeat_ns;
};

/**
 * DOC: ioctls of the kernel module
 *
 * /dev/hftchan takes CREATE, DESTROY and LIMITS; /dev/hftchan-NAME, one per channel, takes the
 * others. Every argument is a pointer to a struct that begins with its own size. A caller may know
 * less of a struct than the kernel (what it does not give is 0, what it has no room for is not
 * told) or more (what the kernel does not know must be 0). Fields named out_* are written by the
 * kernel, on success and where a comment says so. Reserved fields must be 0.
 *
 * Errors, for every command:
 *
 *	ENOTTY      this node has no such command
 *	E2BIG       more bytes than the kernel knows and one of them is not 0, or more than a page
 *	EOPNOTSUPP  a flag, a value of an enum or a reserved field that this kernel does not know
 *	EINVAL      a struct shorter than the first version's, or a wrong value
 *	EFAULT      the argument is no memory that the caller can read and write
 *	EACCES      the descriptor was opened without the right: for writing, where that is needed
 *	EPERM       the caller is not who may do that
 *	EBUSY       somebody holds what is asked for
 *	EEXIST      the name is taken
 *	ENOENT      no channel has this name
 *	ENOSPC      a limit is reached: RLIMIT_MEMLOCK or one of the module's, see LIMITS
 *	ENOMEM      not enough free 2-MiB pages on that node, or no memory for the kernel itself
 *	EINTR       a signal came while pages were being allocated; nothing is left of them
 *	ENODEV      the channel was destroyed
 *
 * A node opened without read permission (O_WRONLY) is EINVAL at open. Programs of 32 bits can't use
 * the module: a ring may be larger than they can map.
 */
#define HFTCHAN_CONTROL_NODE	"/dev/hftchan"
#define HFTCHAN_NODE_PREFIX	"/dev/hftchan-"

#define HFTCHAN_IOC_MAGIC	0xc7

#define HFTCHAN_IOC_CREATE	_IO(HFTCHAN_IOC_MAGIC, 0x00)
#define HFTCHAN_IOC_DESTROY	_IO(HFTCHAN_IOC_MAGIC, 0x01)
#define HFTCHAN_IOC_LIMITS	_IO(HFTCHAN_IOC_MAGIC, 0x02)
#define HFTCHAN_IOC_INFO	_IO(HFTCHAN_IOC_MAGIC, 0x40)
#define HFTCHAN_IOC_PREFAULT	_IO(HFTCHAN_IOC_MAGIC, 0x41)
#define HFTCHAN_IOC_ATTACH_TX	_IO(HFTCHAN_IOC_MAGIC, 0x42)
#define HFTCHAN_IOC_START_TX	_IO(HFTCHAN_IOC_MAGIC, 0x43)
#define HFTCHAN_IOC_DETACH_TX	_IO(HFTCHAN_IOC_MAGIC, 0x44)
/* numbers of a node's commands have no gaps; the next ones are 0x03 and 0x45 */

/* a name and its zero byte */
#define HFTCHAN_NAME_BYTES	(HFTCHAN_NAME_MAX + 1)

/**
 * struct hftchan_ioc_create - make a channel and its node (HFTCHAN_IOC_CREATE)
 * @size: sizeof(struct hftchan_ioc_create)
 * @layout: enum hftchan_layout; packed is known
 * @flags: HFTCHAN_F_*; VARLEN is known
 * @nr_slots: HFTCHAN_NR_SLOTS_MIN to HFTCHAN_NR_SLOTS_MAX, a power of two
 * @first_seq: 1 to HFTCHAN_FIRST_SEQ_MAX
 * @type_tag: any
 * @payload_size: 1 to HFTCHAN_PAYLOAD_MAX
 * @node: NUMA node that all pages come from; -1: that of the calling CPU. EINVAL: does not exist
 *	or has no memory; EPERM: the caller's cpuset forbids it
 * @mode: permission bits of the node, 0600 to 0666; who may write may become the sender
 * @uid: owner, in the caller's user namespace; (__u32)-1: the caller's effective uid. EPERM:
 *	another one, without CAP_CHOWN in the initial user namespace
 * @gid: group; (__u32)-1: the caller's effective gid. EPERM: none of the caller's groups, likewise
 * @__reserved: 0
 * @name: as HFTCHAN_NAME_MAX says, zero-terminated, the rest 0
 * @out_nr_pages: 2-MiB pages of the ring; after ENOMEM those that could be had
 * @out_node: node that they lie on; after ENOMEM the one that had too few
 * @__reserved2: 0
 *
 * The node must be open for writing. The ring's memory is charged to the caller: RLIMIT_MEMLOCK
 * (unless CAP_IPC_LOCK), memory cgroup, and the module's limits.
 * EOVERFLOW: nr_slots times the size of a slot is more than HFTCHAN_RING_SIZE_MAX.
 */
struct hftchan_ioc_create {
	__u32 size;
	__u32 layout;
	__aligned_u64 flags;
	__aligned_u64 nr_slots;
	__aligned_u64 first_seq;
	__aligned_u64 type_tag;
	__u32 payload_size;
	__s32 node;
	__u32 mode;
	__u32 uid;
	__u32 gid;
	__u32 __reserved;
	char name[HFTCHAN_NAME_BYTES];
	__aligned_u64 out_nr_pages;
	__s32 out_node;
	__u32 __reserved2;
};

/**
 * enum hftchan_destroy_flags - how to destroy
 * @HFTCHAN_DESTROY_F_FORCE: although others have the channel open. The node goes; the memory stays,
 *	and stays charged, until the last mapping and descriptor are gone
 * @HFTCHAN_DESTROY_F_ZAP: with FORCE: take the ring out of every mapping (later access: SIGBUS)
 *	and free it now. The control page stays readable. Not possible later, without the name
 */
enum hftchan_destroy_flags {
	HFTCHAN_DESTROY_F_FORCE = 1U << 0,
	HFTCHAN_DESTROY_F_ZAP = 1U << 1,
};

/**
 * struct hftchan_ioc_destroy - remove a channel and its node (HFTCHAN_IOC_DESTROY)
 * @size: sizeof(struct hftchan_ioc_destroy)
 * @flags: enum hftchan_destroy_flags
 * @name: as at CREATE
 *
 * For the channel's owner, or CAP_SYS_ADMIN in the initial user namespace, otherwise EPERM; the
 * node must be open for writing. EBUSY: somebody has the channel open or mapped, and no FORCE.
 * A sender keeps sending into memory that no new receiver can find; @destroyed of the control page
 * tells all of them.
 */
struct hftchan_ioc_destroy {
	__u32 size;
	__u32 flags;
	char name[HFTCHAN_NAME_BYTES];
};

/**
 * struct hftchan_ioc_limits - what the module is and what it still gives (HFTCHAN_IOC_LIMITS)
 * @size: sizeof(struct hftchan_ioc_limits)
 * @__reserved: 0
 * @out_abi_version: HFTCHAN_ABI_VERSION of the module
 * @out_compat_version: the oldest version whose programs it serves
 * @out_max_bytes: all rings together, module parameter max_mib
 * @out_max_bytes_uid: all rings made by one uid, module parameter max_mib_per_uid
 * @out_bytes: held by all rings now, of destroyed channels too while somebody maps them
 * @out_bytes_uid: of these, made by the caller's uid
 * @out_locked_bytes: charged to RLIMIT_MEMLOCK of the caller's real uid, by whatever made it
 * @out_max_channels: channels at a time
 * @out_nr_channels: channels now
 */
struct hftchan_ioc_limits {
	__u32 size;
	__u32 __reserved;
	__u32 out_abi_version;
	__u32 out_compat_version;
	__aligned_u64 out_max_bytes;
	__aligned_u64 out_max_bytes_uid;
	__aligned_u64 out_bytes;
	__aligned_u64 out_bytes_uid;
	__aligned_u64 out_locked_bytes;
	__u32 out_max_channels;
	__u32 out_nr_channels;
};

/**
 * enum hftchan_holder_flags - what the role holder's process is doing
 * @HFTCHAN_HOLDER_EXITING: it is on its way out; the role is free when its memory is
 * @HFTCHAN_HOLDER_DUMPING: it writes a core dump; the role is held until that is done
 */
enum hftchan_holder_flags {
	HFTCHAN_HOLDER_EXITING = 1U << 0,
	HFTCHAN_HOLDER_DUMPING = 1U << 1,
};

/**
 * struct hftchan_ioc_info - what only the kernel knows of a channel (HFTCHAN_IOC_INFO)
 * @size: sizeof(struct hftchan_ioc_info)
 * @nr_nodes: elements that @nodes has room for, at most 1024
 * @nodes: pointer to __u64[@nr_nodes], or 0 with @nr_nodes 0: number of the ring's pages on each
 *	node, as each page says; a page on a node past the end is not counted
 * @out_nr_pages: 2-MiB pages of the ring; 0 once they were zapped
 * @out_nr_open: open files of the channel's node, this one too
 * @out_holder_flags: enum hftchan_holder_flags
 * @out_holder_pid: process that took the sender role, in the caller's pid namespace; 0: nobody,
 *	not visible from there, or gone while another one that shares its memory goes on
 * @out_creator_uid: who made it and is charged for it, in the caller's user namespace
 * @out_name: the channel's name
 */
struct hftchan_ioc_info {
	__u32 size;
	__u32 nr_nodes;
	__aligned_u64 nodes;
	__aligned_u64 out_nr_pages;
	__u32 out_nr_open;
	__u32 out_holder_flags;
	__s32 out_holder_pid;
	__u32 out_creator_uid;
	char out_name[HFTCHAN_NAME_BYTES];
};

/**
 * struct hftchan_ioc_prefault - fill the page tables of a mapping (HFTCHAN_IOC_PREFAULT)
 * @size: sizeof(struct hftchan_ioc_prefault)
 * @flags: 0
 * @addr: start of a range that this process mapped from this channel, a multiple of the page size
 * @length: bytes, likewise
 *
 * MAP_POPULATE and mlock() do nothing for such mappings. EINVAL: not a mapping of this channel;
 * EFAULT: the channel lets nobody touch these pages any more.
 */
struct hftchan_ioc_prefault {
	__u32 size;
	__u32 flags;
	__aligned_u64 addr;
	__aligned_u64 length;
};

/**
 * struct hftchan_ioc_attach_tx - take the sender role (HFTCHAN_IOC_ATTACH_TX)
 * @size: sizeof(struct hftchan_ioc_attach_tx)
 * @flags: 0
 *
 * Binds the role to this open file and this process's memory; only they may map and touch the
 * tx regions. The node must be open for writing (EACCES). EBUSY: somebody holds the role.
 * It ends at DETACH_TX, when the process's memory is gone (exit, kill, exec), or when the open file
 * is; whoever else has the descriptor or was forked can't keep it.
 */
struct hftchan_ioc_attach_tx {
	__u32 size;
	__u32 flags;
};

/**
 * struct hftchan_ioc_start_tx - publish a new epoch (HFTCHAN_IOC_START_TX)
 * @size: sizeof(struct hftchan_ioc_start_tx)
 * @flags: 0
 * @seq: first seq that this sender will send, at least first_seq: where the ring ended
 * @out_epoch: the epoch that begins
 *
 * Once per role, by its holder (EPERM), after the first slots are marked and before the first
 * message. EINVAL: a second time. The kernel writes epoch, epoch_seq, sender_state and attached_ns,
 * and 0 to heartbeat_ns of the sender page.
 */
struct hftchan_ioc_start_tx {
	__u32 size;
	__u32 flags;
	__aligned_u64 seq;
	__aligned_u64 out_epoch;
};

/**
 * struct hftchan_ioc_detach_tx - give the sender role back (HFTCHAN_IOC_DETACH_TX)
 * @size: sizeof(struct hftchan_ioc_detach_tx)
 * @flags: 0
 *
 * By its holder (EPERM). The tx regions are taken out of its mappings: later access is SIGBUS.
 */
struct hftchan_ioc_detach_tx {
	__u32 size;
	__u32 flags;
};

#endif /* _UAPI_LINUX_HFTCHAN_H */
