/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT */
/*
 * hftchan ABI: the control page and the sender page that every backend shares.
 * It is not the slot protocol: layout and ordering of slots are in <hftchan/ring.h>.
 * The contract, field by field, is in this file; prose in hftchan(7).
 */
#ifndef _UAPI_LINUX_HFTCHAN_H
#define _UAPI_LINUX_HFTCHAN_H

#include <linux/types.h>

/**
 * DOC: regions of a channel
 *
 * A channel is one object with four regions, each at an offset that is a multiple of 64 KiB, so
 * that it can be mapped on kernels of every page size. Offsets are file offsets of the shm
 * backend's file and mmap offsets of the dev backend's node::
 *
 *	0               control page   struct hftchan_control, read-only for user space where a
 *	                               kernel module owns the channel; the sender role's holder
 *	                               writes it in the shm and local backends
 *	sender_offset   sender page    struct hftchan_sender_page, written by the sender alone
 *	ring_offset     ring           nr_slots slots of slot_size bytes
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
 *	sender_pid and sender_start with the living process
 * @HFTCHAN_SENDER_REVOKED: taken away by REVOKE
 * @HFTCHAN_SENDER_DIED: ended by the death of the holder
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
	/** @ring_tx_offset: of the ring as the role holder maps it for writing; the dev backend
	 *  has a second view so that revoke can unmap one without the other, shm has ring_offset */
	__aligned_u64 ring_tx_offset;
	/** @sender_offset: of the sender page */
	__aligned_u64 sender_offset;
	/** @first_seq: seq of the channel's first message, 1 to HFTCHAN_FIRST_SEQ_MAX */
	__aligned_u64 first_seq;
	/** @type_tag: what the messages are, by the user's own numbering; 0: not said */
	__aligned_u64 type_tag;
	/** @created_ns: CLOCK_REALTIME at creation */
	__aligned_u64 created_ns;
	/** @page_size: bytes of the pages behind the ring */
	__u32 page_size;
	/** @node: NUMA node that the ring was asked to lie on, -1: none asked for. Written by
	 *  owner at re-pin, relaxed */
	__s32 node;
	/** @__reserved_geometry: 0 */
	__aligned_u64 __reserved_geometry;

	/* -- who sends; written by owner at attach, detach, revoke, death; any reader -- */
	/** @epoch: number of attaches so far. Grows after the new sender's first marks are in the
	 *  ring (release; pairs with receivers' acquire load) */
	__aligned_u64 epoch;
	/** @epoch_seq: seq that the sender of @epoch began with */
	__aligned_u64 epoch_seq;
	/** @sender_state: enum hftchan_sender_state. At attach NONE is stored before, ATTACHED
	 *  (release) after @sender_pid .. @epoch: a reader that finds ATTACHED and the same @epoch
	 *  before and after has a consistent set */
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
	/** @destroyed: non-zero once the channel's name is gone; never goes back. Written, release,
	 *  by whoever destroys it */
	__u32 destroyed;
	/** @ended_epoch: the newest epoch whose sender is known to have ended; equal to @epoch when
	 *  nobody sends. Says it better than @sender_state, which is NONE for a moment of each
	 *  attach. Release; pairs with acquire: who sees it finds all that was committed */
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
	/** @nr_deaths: senders that ended without a detach, as found by the next attach */
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

	/** @ring_path: absolute path of the file that holds the ring at offset 0 when it is not
	 *  in this one (shm on hugetlbfs), zero-terminated; empty otherwise; constant */
	char ring_path[HFTCHAN_RING_PATH_MAX];
};

/**
 * struct hftchan_sender_page - what the sender says of itself
 *
 * Written by the sender alone, relaxed; read by anybody, trusted by nobody.
 */
struct hftchan_sender_page {
	/** @heartbeat_ns: CLOCK_MONOTONIC of the last hftchan_heartbeat(), 0: none in this epoch */
	__aligned_u64 heartbeat_ns;
};

#endif /* _UAPI_LINUX_HFTCHAN_H */
