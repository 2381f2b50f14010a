// SPDX-License-Identifier: GPL-2.0-only
/*
 * Channels: made, found, opened, destroyed; the sender role.
 * Where their memory comes from is in memory.c, how it is mapped in mmap.c.
 * The contract of locks and lifetimes is in hftchan_priv.h; of the ioctls in uapi/linux/hftchan.h.
 */
#include <linux/cred.h>
#include <linux/gfp.h>
#include <linux/idr.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <linux/user_namespace.h>

#include "hftchan_priv.h"

#define HFTCHAN_MAX_NODES	1024

static DEFINE_IDR(hftchan_ids);		/* hftchan_lock */

/* ---------------------------------------------------------------- names */

/* not isalnum(): that takes Latin-1, too */
static bool ascii_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool name_valid(const char name[HFTCHAN_NAME_BYTES])
{
	size_t len = strnlen(name, HFTCHAN_NAME_BYTES), i;

	if (len == HFTCHAN_NAME_BYTES || !ascii_alnum(name[0]) ||
	    memchr_inv(name + len, 0, HFTCHAN_NAME_BYTES - len))
		return false;
	for (i = 1; i < len; i++)
		if (!ascii_alnum(name[i]) && name[i] != '.' && name[i] != '_' && name[i] != '-')
			return false;
	return len < 5 || strcmp(name + len - 5, ".lock");
}

/* Take the name and a minor, or neither. */
static int claim_name(struct hftchan_channel *ch)
{
	struct hftchan_channel *other;
	unsigned int nr = 0;
	int err = 0;

	mutex_lock(&hftchan_lock);
	list_for_each_entry(other, &hftchan_channels, list) {
		nr++;
		if (other->name_taken && !strcmp(other->name, ch->name)) {
			err = -EEXIST;
			goto out;
		}
	}
	if (nr >= HFTCHAN_MAX_CHANNELS) {
		err = -ENOSPC;
		goto out;
	}
	/* from a random one on: those of an earlier load may be in somebody's device rule */
	if (!idr_get_cursor(&hftchan_ids))
		idr_set_cursor(&hftchan_ids, get_random_u32() % HFTCHAN_MINORS);
	ch->id = idr_alloc_cyclic(&hftchan_ids, ch, 0, HFTCHAN_MINORS, GFP_KERNEL);
	if (ch->id < 0) {
		err = ch->id;
		goto out;
	}
	ch->name_taken = true;
	list_add(&ch->list, &hftchan_channels);
out:
	mutex_unlock(&hftchan_lock);
	return err;
}

/* Others may take the name. The minor stays taken until the channel is freed. */
static void release_name(struct hftchan_channel *ch)
{
	mutex_lock(&hftchan_lock);
	ch->findable = false;
	ch->name_taken = false;
	mutex_unlock(&hftchan_lock);
}

/* With a reference to its device; @name NULL: any. */
static struct hftchan_channel *find_channel(const char *name)
{
	struct hftchan_channel *ch;

	mutex_lock(&hftchan_lock);
	list_for_each_entry(ch, &hftchan_channels, list)
		if (ch->findable && (!name || !strcmp(ch->name, name))) {
			get_device(&ch->dev);
			mutex_unlock(&hftchan_lock);
			return ch;
		}
	mutex_unlock(&hftchan_lock);
	return NULL;
}

/* ---------------------------------------------------------------- the sender role */

/* Under sem for writing. When it returns the holder's mappings are gone and can't come back. */
static void end_role(struct hftchan_channel *ch, enum hftchan_sender_state why)
{
	struct hftchan_control *c = ch->control;
	struct hftchan_file *hf = ch->holder;

	ch->holder = NULL;
	hftchan_zap(ch, HFTCHAN_REGION_RING_TX);
	hftchan_zap(ch, HFTCHAN_REGION_SENDER_TX);
	if (hf->started) {
		if (why == HFTCHAN_SENDER_DIED)
			WRITE_ONCE(c->nr_deaths, c->nr_deaths + 1);
		/*
		 * Who sees the end finds all that was committed before; pairs with the acquire
		 * loads in hftchan_snapshot() of libhftchan.
		 */
		smp_store_release(&c->ended_epoch, c->epoch);
		/* pairs likewise: who sees it finds the end */
		smp_store_release(&c->sender_state, why);
		hf->started = false;
	}
	put_pid(hf->pid);
	hf->pid = NULL;
}

/* The memory of whoever took the role is going: exit, exec or kill -9. */
static void role_mm_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct hftchan_file *hf = container_of(mn, struct hftchan_file, mn);
	struct hftchan_channel *ch = hf->ch;

	down_write(&ch->sem);
	if (ch->holder == hf)
		end_role(ch, HFTCHAN_SENDER_DIED);
	up_write(&ch->sem);
}

static const struct mmu_notifier_ops role_mn_ops = {
	.release = role_mm_release,
};

/* Under hf->lock, or at release. Waits for role_mm_release() if that runs. */
static void forget_mm(struct hftchan_file *hf)
{
	if (!hf->registered)
		return;
	mmu_notifier_unregister(&hf->mn, hf->mn.mm);
	hf->registered = false;
}

static int channel_attach_tx(struct file *file, void *arg)
{
	const struct hftchan_ioc_attach_tx *attach = arg;
	struct hftchan_file *hf = file->private_data;
	struct hftchan_channel *ch = hf->ch;
	struct pid *pid;
	int err;

	if (attach->flags)
		return -EOPNOTSUPP;
	mutex_lock(&hf->lock);
	/* asked again below; here so that nobody who waits for the role registers in vain */
	down_read(&ch->sem);
	err = ch->dead ? -ENODEV : ch->holder ? -EBUSY : 0;
	up_read(&ch->sem);
	if (err)
		goto out;

	forget_mm(hf);
	hf->mn.ops = &role_mn_ops;
	err = mmu_notifier_register(&hf->mn, current->mm);
	/* gives up whenever a signal is pending; nothing was done yet, so begin again after it */
	if (err == -EINTR)
		err = -ERESTARTNOINTR;
	if (err)
		goto out;
	hf->registered = true;
	pid = get_task_pid(current, PIDTYPE_TGID);
	down_write(&ch->sem);
	if (ch->dead) {
		err = -ENODEV;
	} else if (ch->holder) {
		err = -EBUSY;
	} else {
		ch->holder = hf;
		hf->pid = pid;
		hf->started = false;
	}
	up_write(&ch->sem);
	if (err) {
		put_pid(pid);
		forget_mm(hf);
	}
out:
	mutex_unlock(&hf->lock);
	return err;
}

static int channel_start_tx(struct file *file, void *arg)
{
	struct hftchan_ioc_start_tx *start = arg;
	struct hftchan_file *hf = file->private_data;
	struct hftchan_channel *ch = hf->ch;
	struct hftchan_control *c = ch->control;
	int err = 0;

	if (start->flags)
		return -EOPNOTSUPP;
	if (start->seq < c->first_seq || start->seq > S64_MAX)
		return -EINVAL;
	down_write(&ch->sem);
	if (!hftchan_holds_role(hf, current->mm)) {
		err = -EPERM;
		goto out;
	}
	if (hf->started) {
		err = -EINVAL;
		goto out;
	}
	/*
	 * NONE before, ATTACHED after the others: a reader that finds the same state and epoch
	 * before and after has a consistent set. Pairs with hftchan_snapshot() in libhftchan.
	 */
	WRITE_ONCE(c->sender_state, HFTCHAN_SENDER_NONE);
	smp_wmb();	/* pairs with the acquire fence there */
	WRITE_ONCE(c->attached_ns, ktime_get_real_ns());
	WRITE_ONCE(c->epoch_seq, start->seq);
	WRITE_ONCE(ch->sender->heartbeat_ns, 0);
	/* after the caller's first marks in the ring; pairs with the acquire of the epoch */
	smp_store_release(&c->epoch, c->epoch + 1);
	/* pairs with the acquire of the state, see above */
	smp_store_release(&c->sender_state, HFTCHAN_SENDER_ATTACHED);
	hf->started = true;
	start->out_epoch = c->epoch;
out:
	up_write(&ch->sem);
	return err;
}

static int channel_detach_tx(struct file *file, void *arg)
{
	const struct hftchan_ioc_detach_tx *detach = arg;
	struct hftchan_file *hf = file->private_data;
	struct hftchan_channel *ch = hf->ch;
	int err = 0;

	if (detach->flags)
		return -EOPNOTSUPP;
	mutex_lock(&hf->lock);
	down_write(&ch->sem);
	if (hftchan_holds_role(hf, current->mm))
		end_role(ch, HFTCHAN_SENDER_NONE);
	else
		err = -EPERM;
	up_write(&ch->sem);
	/* the role is free already: a successor does not wait for this */
	if (!err)
		forget_mm(hf);
	mutex_unlock(&hf->lock);
	return err;
}

/* ---------------------------------------------------------------- information */

/*
 * Who took the role, in the reader's pid namespace, and what that process is doing. 0: nobody, not
 * visible from there, or gone while another process (a vfork child) goes on in the same memory: by
 * then its number may be a stranger's.
 */
pid_t hftchan_holder(struct hftchan_channel *ch, u32 *flags)
{
	struct task_struct *task = NULL;
	pid_t pid = 0;

	*flags = 0;
	down_read(&ch->sem);
	rcu_read_lock();
	if (ch->holder)
		task = pid_task(ch->holder->pid, PIDTYPE_TGID);
	if (task) {
		pid = pid_vnr(ch->holder->pid);
		if (READ_ONCE(task->signal->flags) & SIGNAL_GROUP_EXIT)
			*flags |= HFTCHAN_HOLDER_EXITING;
		if (READ_ONCE(task->signal->core_state))
			*flags |= HFTCHAN_HOLDER_DUMPING;
	}
	rcu_read_unlock();
	up_read(&ch->sem);
	return pid;
}

static int channel_info(struct file *file, void *arg)
{
	struct hftchan_ioc_info *info = arg;
	struct hftchan_file *hf = file->private_data;
	struct hftchan_channel *ch = hf->ch;
	u64 *nodes = NULL;
	struct page *page;
	unsigned long i;
	int node, err = 0;

	if (info->nr_nodes > HFTCHAN_MAX_NODES || !info->nr_nodes != !info->nodes)
		return -EINVAL;
	if (info->nr_nodes) {
		nodes = kcalloc(info->nr_nodes, sizeof(*nodes), GFP_KERNEL_ACCOUNT);
		if (!nodes)
			return -ENOMEM;
	}
	down_read(&ch->sem);
	info->out_nr_pages = ch->zapped ? 0 : ch->nr_pages;
	for (i = 0; i < info->out_nr_pages && nodes; i++) {
		page = hftchan_page(ch, i);
		node = page_to_nid(page);
		if (node < info->nr_nodes)
			nodes[node]++;
	}
	up_read(&ch->sem);

	info->out_nr_open = atomic_read(&ch->nr_open);
	info->out_holder_pid = hftchan_holder(ch, &info->out_holder_flags);
	info->out_creator_uid = from_kuid_munged(current_user_ns(), ch->creator);
	memcpy(info->out_name, ch->name, sizeof(info->out_name));
	if (nodes && copy_to_user(u64_to_user_ptr(info->nodes), nodes,
				  info->nr_nodes * sizeof(*nodes)))
		err = -EFAULT;
	kfree(nodes);
	return err;
}

static int channel_prefault(struct file *file, void *arg)
{
	const struct hftchan_ioc_prefault *prefault = arg;
	struct hftchan_file *hf = file->private_data;

	if (prefault->flags)
		return -EOPNOTSUPP;
	return hftchan_prefault(hf->ch, prefault->addr, prefault->length);
}

/* ---------------------------------------------------------------- the ring's end */

/* Take the ring's pages, if they are there. Under sem for writing; see hftchan_take_pages(). */
static void take_ring(struct hftchan_channel *ch, struct list_head *pages)
{
	if (ch->zapped || !ch->pages)
		return;
	ch->zapped = true;
	hftchan_take_pages(ch, pages);
}

static void free_ring(struct hftchan_channel *ch, struct list_head *pages)
{
	hftchan_free_pages(ch, pages);
	hftchan_uncharge(ch);
}

/* Nobody opens or maps it any more. The ring goes with the last who has it open, or now by ZAP. */
static int end_channel(struct hftchan_channel *ch, u32 flags)
{
	bool free = false;
	LIST_HEAD(pages);
	int err = 0;

	down_write(&ch->sem);
	if (ch->dead) {
		err = -ENODEV;
	} else if (!(flags & HFTCHAN_DESTROY_F_FORCE) && atomic_read(&ch->nr_open)) {
		err = -EBUSY;
	} else {
		ch->dead = true;
		if (ch->control)
			/* after all commits; pairs with hftchan_rx_idle() in libhftchan */
			smp_store_release(&ch->control->destroyed, 1);
		free = (flags & HFTCHAN_DESTROY_F_ZAP) || !atomic_read(&ch->nr_open);
		if (free) {
			hftchan_zap(ch, HFTCHAN_REGION_RING_TX);
			hftchan_zap(ch, HFTCHAN_REGION_RING);
			take_ring(ch, &pages);
		}
	}
	up_write(&ch->sem);
	if (free)
		free_ring(ch, &pages);
	return err;
}

/* ---------------------------------------------------------------- open files */

static int channel_open(struct inode *inode, struct file *file)
{
	struct hftchan_channel *ch = container_of(inode->i_cdev, struct hftchan_channel, cdev);
	struct hftchan_file *hf;
	int err = 0;

	if (!(file->f_mode & FMODE_READ))
		return -EINVAL;
	hf = kzalloc(sizeof(*hf), GFP_KERNEL_ACCOUNT);
	if (!hf)
		return -ENOMEM;
	hf->ch = ch;
	mutex_init(&hf->lock);

	/* a node made by mknod, or an open that was under way, outlives the channel's own node */
	down_read(&ch->sem);
	if (ch->dead)
		err = -ENODEV;
	else
		atomic_inc(&ch->nr_open);
	up_read(&ch->sem);
	if (err) {
		kfree(hf);
		return err;
	}
	file->private_data = hf;
	file->f_mapping = ch->inode->i_mapping;
	return 0;
}

static int channel_release(struct inode *inode, struct file *file)
{
	struct hftchan_file *hf = file->private_data;
	struct hftchan_channel *ch = hf->ch;
	LIST_HEAD(pages);
	bool last;

	down_write(&ch->sem);
	if (ch->holder == hf)
		end_role(ch, HFTCHAN_SENDER_NONE);
	last = atomic_dec_and_test(&ch->nr_open) && ch->dead;
	if (last)
		take_ring(ch, &pages);
	up_write(&ch->sem);
	forget_mm(hf);
	if (last)
		free_ring(ch, &pages);
	kfree(hf);
	return 0;
}

static const struct hftchan_command channel_commands[] = {
	HFTCHAN_COMMAND(HFTCHAN_IOC_INFO, hftchan_ioc_info, out_name, false, channel_info),
	HFTCHAN_COMMAND(HFTCHAN_IOC_PREFAULT, hftchan_ioc_prefault, length, false,
			channel_prefault),
	HFTCHAN_COMMAND(HFTCHAN_IOC_ATTACH_TX, hftchan_ioc_attach_tx, flags, true,
			channel_attach_tx),
	HFTCHAN_COMMAND(HFTCHAN_IOC_START_TX, hftchan_ioc_start_tx, out_epoch, true,
			channel_start_tx),
	HFTCHAN_COMMAND(HFTCHAN_IOC_DETACH_TX, hftchan_ioc_detach_tx, flags, true,
			channel_detach_tx),
};

static long channel_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return hftchan_dispatch(file, cmd, arg, channel_commands, ARRAY_SIZE(channel_commands));
}

const struct file_operations hftchan_channel_fops = {
	.owner = THIS_MODULE,
	.open = channel_open,
	.release = channel_release,
	.mmap = hftchan_mmap,
	.get_unmapped_area = hftchan_get_unmapped_area,
	.unlocked_ioctl = channel_ioctl,
	.llseek = noop_llseek,
};

/* ---------------------------------------------------------------- made */

/*
 * Asked by devtmpfs before the node exists, so there is no moment with another owner or mode; and,
 * with NULL for all three, when the node goes.
 */
static char *channel_devnode(HFTCHAN_DEVNODE_CONST struct device *dev, umode_t *mode, kuid_t *uid,
			     kgid_t *gid)
{
	const struct hftchan_channel *ch = hftchan_from_dev(dev);

	if (mode)
		*mode = ch->mode;
	if (uid)
		*uid = ch->uid;
	if (gid)
		*gid = ch->gid;
	return NULL;
}

/* The last reference is gone: nobody has it open, mapped, or looks at an attribute. Maybe late. */
static void channel_free(struct device *dev)
{
	struct hftchan_channel *ch = hftchan_from_dev(dev);

	kvfree(ch->pages);
	free_page((unsigned long)ch->control);
	free_page((unsigned long)ch->sender);
	iput(ch->inode);
	mutex_lock(&hftchan_lock);
	list_del(&ch->list);
	if (ch->id >= 0)
		idr_remove(&hftchan_ids, ch->id);
	mutex_unlock(&hftchan_lock);
	kfree(ch);
	hftchan_channel_gone();
}

static const struct device_type channel_type = {
	.name = "hftchan",
	.groups = hftchan_groups,
	.devnode = channel_devnode,
	.release = channel_free,
};

/* Who it is to belong to. */
static int set_owner(struct hftchan_channel *ch, const struct hftchan_ioc_create *arg)
{
	ch->creator = current_uid();
	ch->uid = current_euid();
	ch->gid = current_egid();
	if (arg->uid != (u32)-1) {
		ch->uid = make_kuid(current_user_ns(), arg->uid);
		if (!uid_valid(ch->uid))
			return -EINVAL;
		if (!uid_eq(ch->uid, current_euid()) && !capable(CAP_CHOWN))
			return -EPERM;
	}
	if (arg->gid != (u32)-1) {
		ch->gid = make_kgid(current_user_ns(), arg->gid);
		if (!gid_valid(ch->gid))
			return -EINVAL;
		if (!in_group_p(ch->gid) && !capable(CAP_CHOWN))
			return -EPERM;
	}
	return 0;
}

static u64 slot_size_of(const struct hftchan_ioc_create *arg)
{
	u64 head = sizeof(u64);

	if (arg->flags & HFTCHAN_F_VARLEN)
		head += sizeof(struct hftchan_varlen);
	return round_up(head + arg->payload_size, 64);
}

static u64 ring_size_of(const struct hftchan_ioc_create *arg)
{
	return arg->nr_slots * slot_size_of(arg);
}

static int check_geometry(const struct hftchan_ioc_create *arg)
{
	if ((arg->flags & ~(u64)HFTCHAN_F_VARLEN) || arg->layout != HFTCHAN_LAYOUT_PACKED ||
	    arg->__reserved || arg->__reserved2)
		return -EOPNOTSUPP;
	if (!name_valid(arg->name) || !arg->payload_size ||
	    arg->payload_size > HFTCHAN_PAYLOAD_MAX || arg->nr_slots < HFTCHAN_NR_SLOTS_MIN ||
	    arg->nr_slots > HFTCHAN_NR_SLOTS_MAX || (arg->nr_slots & (arg->nr_slots - 1)) ||
	    !arg->first_seq || arg->first_seq > HFTCHAN_FIRST_SEQ_MAX ||
	    (arg->mode & ~0666) || (arg->mode & 0600) != 0600)
		return -EINVAL;
	/* at most 2^31 slots of at most 2^30 + 64 bytes: the product fits */
	if (ring_size_of(arg) > HFTCHAN_RING_SIZE_MAX)
		return -EOVERFLOW;
	return 0;
}

static int alloc_control(struct hftchan_channel *ch, const struct hftchan_ioc_create *arg)
{
	const gfp_t gfp = GFP_USER | __GFP_ACCOUNT | __GFP_ZERO | __GFP_THISNODE;
	struct page *control = alloc_pages_node(ch->node, gfp, 0);
	struct page *sender = alloc_pages_node(ch->node, gfp, 0);

	if (control)
		ch->control = page_address(control);
	if (sender)
		ch->sender = page_address(sender);
	if (!control || !sender)
		return -ENOMEM;
	*ch->control = (struct hftchan_control){
		.magic = HFTCHAN_MAGIC,
		.version = HFTCHAN_ABI_VERSION,
		.compat_version = HFTCHAN_ABI_VERSION,
		.header_size = sizeof(*ch->control),
		.layout = arg->layout,
		.flags = arg->flags,
		.payload_size = arg->payload_size,
		.payload_offset = sizeof(u64),
		.nr_slots = arg->nr_slots,
		.slot_size = slot_size_of(arg),
		.ring_size = ring_size_of(arg),
		.ring_offset = hftchan_regions[HFTCHAN_REGION_RING].offset,
		.ring_tx_offset = hftchan_regions[HFTCHAN_REGION_RING_TX].offset,
		.sender_offset = hftchan_regions[HFTCHAN_REGION_SENDER].offset,
		.sender_tx_offset = hftchan_regions[HFTCHAN_REGION_SENDER_TX].offset,
		.first_seq = arg->first_seq,
		.type_tag = arg->type_tag,
		.created_ns = ktime_get_real_ns(),
		.page_size = PMD_SIZE,
		.node = ch->node,
	};
	return 0;
}

int hftchan_create(struct hftchan_ioc_create *arg)
{
	struct hftchan_channel *ch;
	int err, node;

	err = check_geometry(arg);
	if (err)
		return err;
	node = hftchan_pick_node(arg->node);
	if (node < 0)
		return node;
	arg->out_nr_pages = 0;
	arg->out_node = node;

	ch = kzalloc(sizeof(*ch), GFP_KERNEL_ACCOUNT);
	if (!ch)
		return -ENOMEM;
	hftchan_channel_comes();
	device_initialize(&ch->dev);
	ch->dev.class = &hftchan_class;
	ch->dev.type = &channel_type;
	INIT_LIST_HEAD(&ch->list);
	init_rwsem(&ch->sem);
	strscpy(ch->name, arg->name, sizeof(ch->name));
	ch->id = -1;
	ch->mode = arg->mode;
	ch->node = node;
	ch->nr_pages = DIV_ROUND_UP(ring_size_of(arg), PMD_SIZE);

	/* from here on channel_free() undoes what end_channel() does not */
	err = set_owner(ch, arg);
	if (err)
		goto err_put;
	ch->inode = hftchan_new_inode();
	if (IS_ERR(ch->inode)) {
		err = PTR_ERR(ch->inode);
		ch->inode = NULL;
		goto err_put;
	}
	err = claim_name(ch);
	if (err)
		goto err_put;
	err = hftchan_charge(ch);
	if (err)
		goto err_end;
	err = alloc_control(ch, arg);
	if (err)
		goto err_end;
	err = hftchan_alloc_ring(ch, &arg->out_nr_pages);
	if (err)
		goto err_end;

	ch->dev.devt = MKDEV(MAJOR(hftchan_devt), ch->id);
	err = dev_set_name(&ch->dev, "hftchan-%s", ch->name);
	if (err)
		goto err_end;
	cdev_init(&ch->cdev, &hftchan_channel_fops);
	ch->cdev.owner = THIS_MODULE;
	/* last: once it can be found, it is complete */
	err = cdev_device_add(&ch->cdev, &ch->dev);
	if (err)
		goto err_end;
	mutex_lock(&hftchan_lock);
	ch->findable = true;
	mutex_unlock(&hftchan_lock);
	return 0;

err_end:
	/* at once, as the device may be freed late; somebody may have opened it by his own node */
	end_channel(ch, HFTCHAN_DESTROY_F_FORCE);
	release_name(ch);
err_put:
	put_device(&ch->dev);
	return err;
}

/* ---------------------------------------------------------------- destroyed */

static int kill_channel(struct hftchan_channel *ch, u32 flags)
{
	int err = end_channel(ch, flags);

	if (err)
		return err;
	/* not under a lock: waits for whoever reads an attribute */
	cdev_device_del(&ch->cdev, &ch->dev);
	release_name(ch);
	put_device(&ch->dev);
	return 0;
}

int hftchan_destroy(const char *name, u32 flags)
{
	struct hftchan_channel *ch;
	int err;

	if (flags & ~(HFTCHAN_DESTROY_F_FORCE | HFTCHAN_DESTROY_F_ZAP))
		return -EOPNOTSUPP;
	if (!name_valid(name) || flags == HFTCHAN_DESTROY_F_ZAP)
		return -EINVAL;
	ch = find_channel(name);
	if (!ch)
		return -ENOENT;
	if (uid_eq(current_euid(), ch->uid) || capable(CAP_SYS_ADMIN))
		err = kill_channel(ch, flags);
	else
		err = -EPERM;
	put_device(&ch->dev);
	return err;
}

/* At the module's end. Whoever destroys one at the same time would keep the module in use. */
void hftchan_destroy_all(void)
{
	struct hftchan_channel *ch;

	while ((ch = find_channel(NULL))) {
		kill_channel(ch, HFTCHAN_DESTROY_F_FORCE);
		put_device(&ch->dev);
	}
}
