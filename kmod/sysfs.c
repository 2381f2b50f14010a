// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/class/hftchan/hftchan-NAME/: one value per file, read-only.
 * It decides nothing; who may read what is the mode of each file.
 * The contract is in hftchan(4).
 */
#include <linux/pid.h>
#include <linux/sysfs.h>

#include "hftchan_priv.h"

/* a field of the control page */
#define CONTROL_ATTR(_name, _fmt)								\
static ssize_t _name##_show(struct device *dev, struct device_attribute *attr, char *buf)	\
{												\
	return sysfs_emit(buf, _fmt "\n", READ_ONCE(hftchan_from_dev(dev)->control->_name));	\
}												\
static DEVICE_ATTR_RO(_name)

CONTROL_ATTR(payload_size, "%u");
CONTROL_ATTR(nr_slots, "%llu");
CONTROL_ATTR(slot_size, "%llu");
CONTROL_ATTR(ring_size, "%llu");
CONTROL_ATTR(first_seq, "%llu");
CONTROL_ATTR(type_tag, "0x%llx");
CONTROL_ATTR(flags, "0x%llx");
CONTROL_ATTR(node, "%d");
CONTROL_ATTR(page_size, "%u");
CONTROL_ATTR(epoch, "%llu");

static ssize_t layout_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "packed\n");
}
static DEVICE_ATTR_RO(layout);

static ssize_t sender_state_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	static const char *const names[] = {
		[HFTCHAN_SENDER_NONE] = "none",
		[HFTCHAN_SENDER_ATTACHED] = "attached",
		[HFTCHAN_SENDER_REVOKED] = "revoked",
		[HFTCHAN_SENDER_DIED] = "died",
	};
	struct hftchan_channel *ch = hftchan_from_dev(dev);

	return sysfs_emit(buf, "%s\n", names[READ_ONCE(ch->control->sender_state)]);
}
static DEVICE_ATTR_RO(sender_state);

static ssize_t sender_pid_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	u32 flags;

	return sysfs_emit(buf, "%d\n", hftchan_holder(hftchan_from_dev(dev), &flags));
}
static DEVICE_ATTR_ADMIN_RO(sender_pid);

static ssize_t nr_open_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct hftchan_channel *ch = hftchan_from_dev(dev);

	return sysfs_emit(buf, "%d\n", atomic_read(&ch->nr_open));
}
static DEVICE_ATTR_ADMIN_RO(nr_open);

/*
 * The last message committed in a slot, as its state word says; 0 and wrong words: none. A load
 * from memory that failed would stop the machine, where a process is only killed.
 */
static s64 last_committed(struct hftchan_channel *ch, u64 slot)
{
	const struct hftchan_control *c = ch->control;
	u64 at = slot * c->slot_size, v;
	struct page *page = hftchan_page(ch, at >> PMD_SHIFT);

	if (!page || PageHWPoison(page + ((at & ~PMD_MASK) >> PAGE_SHIFT)))
		return 0;
	v = READ_ONCE(*(u64 *)(page_address(page) + (at & ~PMD_MASK)));
	if (v >> 63)
		return (v & S64_MAX) - c->nr_slots;
	if (v)
		return v;
	return (s64)(c->first_seq - 1) - (s64)((c->first_seq - 1 - slot) & (c->nr_slots - 1));
}

/*
 * The newest message, found as receivers find it. Whatever the sender has written there, it costs
 * log2(nr_slots) reads.
 */
static ssize_t seq_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct hftchan_channel *ch = hftchan_from_dev(dev);
	s64 base, newest, e;
	u64 lo = 0, hi = ch->control->nr_slots, mid;

	rcu_read_lock();
	base = last_committed(ch, 0);
	newest = base;
	while (hi - lo > 1) {
		mid = lo + (hi - lo) / 2;
		e = last_committed(ch, mid);
		if (e - base >= (s64)mid) {
			lo = mid;
			newest = max(newest, e);
		} else {
			hi = mid;
		}
	}
	rcu_read_unlock();
	return sysfs_emit(buf, "%lld\n", max(newest, (s64)ch->control->first_seq - 1));
}
static DEVICE_ATTR_ADMIN_RO(seq);

static struct attribute *hftchan_attrs[] = {
	&dev_attr_payload_size.attr, &dev_attr_nr_slots.attr,	  &dev_attr_slot_size.attr,
	&dev_attr_ring_size.attr,    &dev_attr_first_seq.attr,	  &dev_attr_type_tag.attr,
	&dev_attr_layout.attr,	     &dev_attr_flags.attr,	  &dev_attr_node.attr,
	&dev_attr_page_size.attr,    &dev_attr_epoch.attr,	  &dev_attr_sender_state.attr,
	&dev_attr_sender_pid.attr,   &dev_attr_nr_open.attr,	  &dev_attr_seq.attr,
	NULL,
};

static const struct attribute_group hftchan_group = {
	.attrs = hftchan_attrs,
};

const struct attribute_group *hftchan_groups[] = {
	&hftchan_group,
	NULL,
};
