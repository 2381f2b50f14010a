// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module's beginning and end: numbers, class, the file system of the channels' inodes.
 * It knows nothing of channels but that there may be some left.
 * The contract of what it makes is in hftchan_priv.h.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include <linux/wait.h>

#include "hftchan_priv.h"

DEFINE_MUTEX(hftchan_lock);	/* the list, names, minors, charges */
LIST_HEAD(hftchan_channels);
dev_t hftchan_devt;

static atomic_t hftchan_nr_channels = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(hftchan_all_gone);
static struct vfsmount *hftchan_mnt;

struct class hftchan_class = {
	.name = "hftchan",
};

/* The group is udev's part; the mode is right from the first moment. */
static struct miscdevice hftchan_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hftchan",
	.fops = &hftchan_control_fops,
	.mode = 0660,
};

/*
 * All files of a channel share the i_mapping of one inode of ours, whichever node they were opened
 * by: with the node's own inode a second node, made by mknod, would keep mappings that
 * unmap_mapping_range() doesn't find.
 */
static int hftchan_fs_init_context(struct fs_context *fc)
{
	return init_pseudo(fc, 0x68667463) ? 0 : -ENOMEM;
}

/* no owner: the mount lives as long as the module, and must not keep it from going */
static struct file_system_type hftchan_fs = {
	.name = "hftchan",
	.init_fs_context = hftchan_fs_init_context,
	.kill_sb = kill_anon_super,
};

struct inode *hftchan_new_inode(void)
{
	return alloc_anon_inode(hftchan_mnt->mnt_sb);
}

/* The module is needed until each channel that came has gone: freed, later than destroyed. */
void hftchan_channel_comes(void)
{
	atomic_inc(&hftchan_nr_channels);
}

/* The last step of a channel's release. */
void hftchan_channel_gone(void)
{
	if (atomic_dec_and_test(&hftchan_nr_channels))
		wake_up(&hftchan_all_gone);
}

static int __init hftchan_init(void)
{
	int err;

	if (!has_transparent_hugepage()) {
		pr_err("this CPU has no 2-MiB pages, which rings are made of\n");
		return -EOPNOTSUPP;
	}
	hftchan_mnt = kern_mount(&hftchan_fs);
	if (IS_ERR(hftchan_mnt))
		return PTR_ERR(hftchan_mnt);
	err = class_register(&hftchan_class);
	if (err)
		goto err_unmount;
	err = alloc_chrdev_region(&hftchan_devt, 0, HFTCHAN_MINORS, "hftchan");
	if (err)
		goto err_class;
	err = misc_register(&hftchan_misc);
	if (err)
		goto err_region;
	return 0;

err_region:
	unregister_chrdev_region(hftchan_devt, HFTCHAN_MINORS);
err_class:
	class_unregister(&hftchan_class);
err_unmount:
	kern_unmount(hftchan_mnt);
	return err;
}

/* Nothing is open by now, or the module would be in use; channels may be left. */
static void __exit hftchan_exit(void)
{
	misc_deregister(&hftchan_misc);
	hftchan_destroy_all();
	wait_event(hftchan_all_gone, !atomic_read(&hftchan_nr_channels));
	/* until whoever woke us has left this module's text, even if it was preempted there */
	synchronize_rcu_tasks();
	WARN_ON(hftchan_pages_held());
	unregister_chrdev_region(hftchan_devt, HFTCHAN_MINORS);
	class_unregister(&hftchan_class);
	kern_unmount(hftchan_mnt);
}

module_init(hftchan_init);
module_exit(hftchan_exit);

MODULE_AUTHOR("hftchan developers");
MODULE_DESCRIPTION("Single-producer, multi-consumer broadcast channels in huge pages of a chosen NUMA node");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
