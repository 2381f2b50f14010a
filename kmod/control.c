// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control node /dev/hftchan, and the dispatch of every ioctl.
 * What a command does to a channel is not here, but in channel.c.
 * The contract (sizes, which errno when) is "DOC: ioctls" in uapi/linux/hftchan.h.
 */
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/uaccess.h>

#include "hftchan_priv.h"

long hftchan_dispatch(struct file *file, unsigned int cmd, unsigned long arg,
		      const struct hftchan_command *table, size_t nr)
{
	void __user *uarg = (void __user *)arg;
	const struct hftchan_command *command;
	u64 buf[DIV_ROUND_UP(HFTCHAN_ARG_MAX, sizeof(u64))];
	unsigned int i = _IOC_NR(cmd) - _IOC_NR(table[0].cmd);
	u32 size;
	int err;

	if (i >= nr)
		return -ENOTTY;
	command = &table[array_index_nospec(i, nr)];
	if (cmd != command->cmd)
		return -ENOTTY;
	if (command->write && !(file->f_mode & FMODE_WRITE))
		return -EACCES;
	if (get_user(size, (u32 __user *)uarg))
		return -EFAULT;
	if (size < command->min_size)
		return -EINVAL;
	/* what is unknown must be looked at, to be 0: not gigabytes of it */
	if (size > PAGE_SIZE)
		return -E2BIG;
	err = copy_struct_from_user(buf, command->size, uarg, size);
	if (err)
		return err;
	/* another thread may have changed it between the two copies */
	*(u32 *)buf = size;
	size = min_t(size_t, size, command->size);
	/* an argument that can't be written is refused before anything is done */
	if (copy_to_user(uarg, buf, size))
		return -EFAULT;

	err = command->fn(file, buf);
	/*
	 * After a failure, too: CREATE tells more than an errno. Whoever has taken this memory away
	 * meanwhile is told nothing, but not that what was done was not.
	 */
	(void)!copy_to_user(uarg, buf, size);
	return err;
}

static int control_create(struct file *file, void *arg)
{
	return hftchan_create(arg);
}

static int control_destroy(struct file *file, void *arg)
{
	struct hftchan_ioc_destroy *destroy = arg;

	return hftchan_destroy(destroy->name, destroy->flags);
}

static int control_limits(struct file *file, void *arg)
{
	struct hftchan_ioc_limits *limits = arg;

	if (limits->__reserved)
		return -EOPNOTSUPP;
	hftchan_limits(limits);
	return 0;
}

static const struct hftchan_command control_commands[] = {
	HFTCHAN_COMMAND(HFTCHAN_IOC_CREATE, hftchan_ioc_create, __reserved2, true, control_create),
	HFTCHAN_COMMAND(HFTCHAN_IOC_DESTROY, hftchan_ioc_destroy, name, true, control_destroy),
	HFTCHAN_COMMAND(HFTCHAN_IOC_LIMITS, hftchan_ioc_limits, out_nr_channels, false,
			control_limits),
};

static long control_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return hftchan_dispatch(file, cmd, arg, control_commands, ARRAY_SIZE(control_commands));
}

static int control_open(struct inode *inode, struct file *file)
{
	return file->f_mode & FMODE_READ ? 0 : -EINVAL;
}

const struct file_operations hftchan_control_fops = {
	.owner = THIS_MODULE,
	.open = control_open,
	.unlocked_ioctl = control_ioctl,
	.llseek = noop_llseek,
};
