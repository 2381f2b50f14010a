/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the module's files share: the channel object, its locks, who may call what when.
 * It is not the ABI: that is uapi/linux/hftchan.h.
 * The contract of locks and lifetimes is the comment below.
 */
#ifndef HFTCHAN_PRIV_H
#define HFTCHAN_PRIV_H

#include "compat/compat.h"

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/rwsem.h>

#include <linux/hftchan.h>

static_assert(sizeof(struct hftchan_control) == HFTCHAN_HEADER_SIZE_1);

/*
 * Locks, from the outermost to the innermost:
 *
 *	hftchan_file.lock  one ATTACH_TX or DETACH_TX of an open file at a time
 *	mm->mmap_lock      taken by the kernel before a fault, mmap() and ->access() reach us, and
 *	                   by PREFAULT and mmu_notifier_register()
 *	hftchan_lock       the list of channels: names, minors, what is charged to whom
 *	hftchan_channel.sem
 *	                   read: a fault inserts, an attribute reads; write: the role changes hands,
 *	                   the channel dies, a page is taken away
 *	i_mmap_rwsem, page table locks
 *	                   taken by unmap_mapping_range()
 *
 * Hence under sem nobody takes mmap_lock or touches user memory, which may be a mapping of this
 * very channel, and nobody allocates, but for the page table that a fault may need. hftchan_lock
 * is not held while sem is waited for, nor while a device is removed from sysfs, since attributes
 * take sem.
 *
 * Whether somebody may touch a page is decided in the fault handler, under sem, in one go with the
 * insertion. So whoever has changed that under sem, and then unmapped, knows that it stays so:
 * what ->mmap() saw may be old by the time of the first fault, what a fault saw may not.
 *
 * Lifetimes: a channel is its struct device. Alive: on hftchan_channels, in sysfs, findable.
 * Dead: its name is gone or going; who has it open keeps it, through the cdev. The ring's pages go
 * when it is dead and nobody has it open (a mapping does), or before, by ZAP.
 * Pages are reached through RCU pointers: one that was replaced or taken away is freed after a
 * grace period, so that a reader need not take sem.
 *
 * The sender role is a pointer to the open file that holds it, bound to the memory (mm) that took
 * it. The mmu notifier of a file outlives the role: it is unregistered by the same file's next
 * ATTACH_TX, its DETACH_TX or its release, which waits for a callback that runs.
 */

struct hftchan_file;

struct hftchan_channel {
	struct device dev;
	struct cdev cdev;
	struct list_head list;		/* hftchan_lock */
	char name[HFTCHAN_NAME_BYTES];
	int id;				/* hftchan_lock; minor */
	bool findable;			/* hftchan_lock; from its device's arrival to its death */
	bool name_taken;		/* hftchan_lock; until its device is gone from sysfs */

	/* constant once it is findable */
	umode_t mode;
	kuid_t uid;			/* owner */
	kgid_t gid;
	kuid_t creator;			/* who is charged */
	struct user_struct *locked_by;	/* whose locked_vm is charged; NULL: CAP_IPC_LOCK */
	int node;
	unsigned long nr_pages;		/* of PMD_SIZE */
	u64 charged;			/* hftchan_lock; bytes */
	struct inode *inode;		/* its i_mapping is that of every open file */
	struct hftchan_control *control;	/* a page each */
	struct hftchan_sender_page *sender;

	struct rw_semaphore sem;
	bool dead;			/* sem */
	bool zapped;			/* sem; the ring's pages are gone */
	struct hftchan_file *holder;	/* sem; who has the sender role */
	struct page __rcu **pages;	/* sem for writing */
	atomic_t nr_open;		/* sem, for reading is enough to count up */
};

/* An open file of a channel's node. */
struct hftchan_file {
	struct hftchan_channel *ch;
	struct mutex lock;		/* one command about the role at a time */
	struct mmu_notifier mn;		/* mn.mm: whose the role is or was */
	bool registered;		/* lock; mn is */
	bool started;			/* sem; its epoch is published */
	struct pid *pid;		/* sem; of the process that took the role */
};

/* A region of mmap offsets. */
struct hftchan_region {
	u64 offset;
	bool ring;
	bool tx;
};

enum hftchan_region_id {
	HFTCHAN_REGION_CONTROL,
	HFTCHAN_REGION_SENDER,
	HFTCHAN_REGION_SENDER_TX,
	HFTCHAN_REGION_RING,
	HFTCHAN_REGION_RING_TX,
	HFTCHAN_NR_REGIONS,
};

/* one command of a node: its handler gets a copy whose size is at least @min_size */
struct hftchan_command {
	unsigned int cmd;
	size_t size;
	size_t min_size;
	bool write;			/* the descriptor must be open for writing */
	int (*fn)(struct file *file, void *arg);
};

/* the largest argument of all commands */
#define HFTCHAN_ARG_MAX		sizeof(struct hftchan_ioc_create)

#define HFTCHAN_COMMAND(_cmd, _struct, _last, _write, _fn)					\
{												\
	.cmd = (_cmd),										\
	.size = sizeof(struct _struct) +							\
		BUILD_BUG_ON_ZERO(sizeof(struct _struct) > HFTCHAN_ARG_MAX),			\
	.min_size = offsetofend(struct _struct, _last),						\
	.write = (_write),									\
	.fn = (_fn),										\
}

#define HFTCHAN_MAX_CHANNELS	4096
/* handed out in turn, so that a node left over by mknod meets no newer channel soon */
#define HFTCHAN_MINORS		(1U << MINORBITS)

/* main.c */
extern struct mutex hftchan_lock;
extern struct list_head hftchan_channels;
extern dev_t hftchan_devt;
extern struct class hftchan_class;
struct inode *hftchan_new_inode(void);
void hftchan_channel_comes(void);
void hftchan_channel_gone(void);

/* control.c */
long hftchan_dispatch(struct file *file, unsigned int cmd, unsigned long arg,
		      const struct hftchan_command *table, size_t nr);
extern const struct file_operations hftchan_control_fops;

/* channel.c */
extern const struct file_operations hftchan_channel_fops;
int hftchan_create(struct hftchan_ioc_create *arg);
int hftchan_destroy(const char *name, u32 flags);
void hftchan_destroy_all(void);
pid_t hftchan_holder(struct hftchan_channel *ch, u32 *flags);

/* memory.c */
int hftchan_pick_node(int asked);
int hftchan_charge(struct hftchan_channel *ch);
void hftchan_uncharge(struct hftchan_channel *ch);
int hftchan_alloc_ring(struct hftchan_channel *ch, u64 *got);
void hftchan_take_pages(struct hftchan_channel *ch, struct list_head *pages);
void hftchan_free_pages(struct hftchan_channel *ch, struct list_head *pages);
void hftchan_limits(struct hftchan_ioc_limits *limits);
unsigned long hftchan_pages_held(void);

/* mmap.c */
extern const struct hftchan_region hftchan_regions[HFTCHAN_NR_REGIONS];
unsigned long hftchan_get_unmapped_area(struct file *file, unsigned long addr, unsigned long len,
					unsigned long pgoff, unsigned long flags);
int hftchan_mmap(struct file *file, struct vm_area_struct *vma);
int hftchan_prefault(struct hftchan_channel *ch, u64 addr, u64 length);
void hftchan_zap(struct hftchan_channel *ch, enum hftchan_region_id id);

/* sysfs.c */
extern const struct attribute_group *hftchan_groups[];

static inline struct hftchan_channel *hftchan_from_dev(const struct device *dev)
{
	return container_of(dev, struct hftchan_channel, dev);
}

/* Under sem: has @mm the sender role, by @hf? The right file in the wrong process has not. */
static inline bool hftchan_holds_role(const struct hftchan_file *hf, const struct mm_struct *mm)
{
	return hf->ch->holder == hf && hf->mn.mm == mm;
}

/* Page @i of the ring; NULL when it was zapped. Under sem or RCU. */
static inline struct page *hftchan_page(struct hftchan_channel *ch, unsigned long i)
{
	return rcu_dereference_check(ch->pages[i], lockdep_is_held(&ch->sem));
}

#endif
