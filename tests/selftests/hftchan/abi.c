// SPDX-License-Identifier: GPL-2.0
/*
 * The form of every ioctl: sizes, tails, flags, reserved fields, wrong values, wrong nodes.
 * It is not about what the commands do to others: roles.c, mmap.c, lifetime.c and limits.c are.
 * The contract is "DOC: ioctls of the kernel module" in <linux/hftchan.h>.
 */
#include "hftchan_util.h"

#include <limits.h>
#include <stddef.h>

FIXTURE(abi)
{
	struct channel c;
	int control_ro;
	int node_ro;
	long page;
	unsigned char *map;
	unsigned char *area;	/* four pages, then one that nobody may touch */
	size_t area_bytes;
};

#define abi_data	FIXTURE_DATA(abi)

FIXTURE_SETUP(abi)
{
	ASSERT_EQ(0, channel_make(&self->c, 1));
	self->control_ro = open_control(O_RDONLY);
	ASSERT_LE(0, self->control_ro);
	self->node_ro = open_node(self->c.name, O_RDONLY);
	ASSERT_LE(0, self->node_ro);
	self->page = sysconf(_SC_PAGESIZE);
	self->area_bytes = 4 * self->page;
	self->map = mmap(NULL, self->area_bytes + self->page, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->map);
	self->area = self->map;
	ASSERT_EQ(0, mprotect(self->area + self->area_bytes, self->page, PROT_NONE));
}

FIXTURE_TEARDOWN(abi)
{
	close(self->control_ro);
	close(self->node_ro);
	munmap(self->map, self->area_bytes + self->page);
	channel_remove(&self->c);
}

/* ---- one row per command ------------------------------------------------------------------- */

/**
 * struct command - a command with arguments that work
 * @name: for messages
 * @cmd: its number
 * @bytes: of the first version's struct
 * @on_control: it belongs to /dev/hftchan
 * @out: offset of the first output, 0: it has none
 * @flags: offset of a field in which every bit is unknown but those of @known_flags, 0: none
 * @flags_bytes: size of that field
 * @known_flags: bits that are known
 * @reserved: offsets of 32-bit reserved fields, 0: none
 * @fill: writes the arguments
 * @before: makes the call possible
 * @after: undoes a call that worked
 */
struct command {
	const char *name;
	unsigned long cmd;
	size_t bytes;
	bool on_control;
	size_t out;
	size_t flags;
	size_t flags_bytes;
	__u64 known_flags;
	size_t reserved[2];
	void (*fill)(abi_data *self, void *arg);
	int (*before)(abi_data *self);
	int (*after)(abi_data *self);
};

#define OTHER_NAME	"selftest-abi-other"

static void create_fill(abi_data *self, void *arg)
{
	create_args(arg, OTHER_NAME, 1);
}

static int create_after(abi_data *self)
{
	return destroy(self->c.control_fd, OTHER_NAME, 0);
}

static void destroy_fill(abi_data *self, void *arg)
{
	struct hftchan_ioc_destroy *args = arg;

	memset(args, 0, sizeof(*args));
	args->size = sizeof(*args);
	strcpy(args->name, OTHER_NAME);
}

static int destroy_before(abi_data *self)
{
	return create(self->c.control_fd, OTHER_NAME, 1);
}

static void limits_fill(abi_data *self, void *arg)
{
	struct hftchan_ioc_limits *args = arg;

	memset(args, 0xff, sizeof(*args));
	args->size = sizeof(*args);
	args->__reserved = 0;
}

static void info_fill(abi_data *self, void *arg)
{
	struct hftchan_ioc_info *args = arg;

	memset(args, 0xff, sizeof(*args));
	args->size = sizeof(*args);
	args->nr_nodes = 0;
	args->nodes = 0;
}

static void prefault_fill(abi_data *self, void *arg)
{
	struct hftchan_ioc_prefault *args = arg;

	memset(args, 0, sizeof(*args));
	args->size = sizeof(*args);
	args->addr = (uintptr_t)self->c.control;
	args->length = self->page;
}

static void attach_fill(abi_data *self, void *arg)
{
	struct hftchan_ioc_attach_tx *args = arg;

	memset(args, 0, sizeof(*args));
	args->size = sizeof(*args);
}

static int attach_after(abi_data *self)
{
	return detach_tx(self->c.fd);
}

static int attach_before(abi_data *self)
{
	return attach_tx(self->c.fd);
}

static void start_fill(abi_data *self, void *arg)
{
	struct hftchan_ioc_start_tx *args = arg;

	memset(args, 0xff, sizeof(*args));
	args->size = sizeof(*args);
	args->flags = 0;
	args->seq = 1;
}

static void detach_fill(abi_data *self, void *arg)
{
	struct hftchan_ioc_detach_tx *args = arg;

	memset(args, 0, sizeof(*args));
	args->size = sizeof(*args);
}

#define FLAGS_OF(type, field) \
	.flags = offsetof(struct type, field), \
	.flags_bytes = sizeof(((struct type *)NULL)->field)

static const struct command commands[] = {
	{
		.name = "CREATE",
		.cmd = HFTCHAN_IOC_CREATE,
		.bytes = sizeof(struct hftchan_ioc_create),
		.on_control = true,
		.out = offsetof(struct hftchan_ioc_create, out_nr_pages),
		FLAGS_OF(hftchan_ioc_create, flags),
		.known_flags = HFTCHAN_F_VARLEN,
		.reserved = { offsetof(struct hftchan_ioc_create, __reserved),
			      offsetof(struct hftchan_ioc_create, __reserved2) },
		.fill = create_fill,
		.after = create_after,
	}, {
		.name = "DESTROY",
		.cmd = HFTCHAN_IOC_DESTROY,
		.bytes = sizeof(struct hftchan_ioc_destroy),
		.on_control = true,
		FLAGS_OF(hftchan_ioc_destroy, flags),
		.known_flags = HFTCHAN_DESTROY_F_FORCE | HFTCHAN_DESTROY_F_ZAP,
		.fill = destroy_fill,
		.before = destroy_before,
	}, {
		.name = "LIMITS",
		.cmd = HFTCHAN_IOC_LIMITS,
		.bytes = sizeof(struct hftchan_ioc_limits),
		.on_control = true,
		.out = offsetof(struct hftchan_ioc_limits, out_abi_version),
		.reserved = { offsetof(struct hftchan_ioc_limits, __reserved) },
		.fill = limits_fill,
	}, {
		.name = "INFO",
		.cmd = HFTCHAN_IOC_INFO,
		.bytes = sizeof(struct hftchan_ioc_info),
		.out = offsetof(struct hftchan_ioc_info, out_nr_pages),
		.fill = info_fill,
	}, {
		.name = "PREFAULT",
		.cmd = HFTCHAN_IOC_PREFAULT,
		.bytes = sizeof(struct hftchan_ioc_prefault),
		FLAGS_OF(hftchan_ioc_prefault, flags),
		.fill = prefault_fill,
	}, {
		.name = "ATTACH_TX",
		.cmd = HFTCHAN_IOC_ATTACH_TX,
		.bytes = sizeof(struct hftchan_ioc_attach_tx),
		FLAGS_OF(hftchan_ioc_attach_tx, flags),
		.fill = attach_fill,
		.after = attach_after,
	}, {
		.name = "START_TX",
		.cmd = HFTCHAN_IOC_START_TX,
		.bytes = sizeof(struct hftchan_ioc_start_tx),
		.out = offsetof(struct hftchan_ioc_start_tx, out_epoch),
		FLAGS_OF(hftchan_ioc_start_tx, flags),
		.fill = start_fill,
		.before = attach_before,
		.after = attach_after,
	}, {
		.name = "DETACH_TX",
		.cmd = HFTCHAN_IOC_DETACH_TX,
		.bytes = sizeof(struct hftchan_ioc_detach_tx),
		FLAGS_OF(hftchan_ioc_detach_tx, flags),
		.fill = detach_fill,
		.before = attach_before,
	},
};

static int command_fd(const abi_data *self, const struct command *c)
{
	return c->on_control ? self->c.control_fd : self->c.fd;
}

/* one call with everything around it that makes it possible, and undone again when it worked */
static int call_once(abi_data *self, const struct command *c, void *arg)
{
	int ret, err;

	if (c->before) {
		err = c->before(self);
		if (err)
			return -10000 + err;
	}
	ret = call(command_fd(self, c), c->cmd, arg);
	if (!ret) {
		if (c->after) {
			err = c->after(self);
			if (err)
				return -20000 + err;
		}
	} else if (c->before == destroy_before) {
		err = create_after(self);
		if (err)
			return -30000 + err;
	} else if (c->before == attach_before) {
		err = attach_after(self);
		if (err)
			return -30000 + err;
	}
	return ret;
}

/* the same for a call that must fail and needs nothing before it */
static int call_bare(abi_data *self, const struct command *c, void *arg)
{
	return call(command_fd(self, c), c->cmd, arg);
}

#define FOR_EACH_COMMAND(c) for (c = commands; c < commands + ARRAY_SIZE(commands); c++)

TEST_F(abi, exact_size)
{
	const struct command *c;

	FOR_EACH_COMMAND(c) {
		/* ends where memory ends: nothing behind it is read or written */
		unsigned char *arg = self->area + self->area_bytes - c->bytes;

		c->fill(self, arg);
		EXPECT_EQ(0, call_once(self, c, arg))
			TH_LOG("%s", c->name);
	}
}

TEST_F(abi, short_sizes)
{
	const struct command *c;
	__u32 size;

	FOR_EACH_COMMAND(c) {
		for (size = 0; size < c->bytes; size++) {
			c->fill(self, self->area);
			memcpy(self->area, &size, sizeof(size));
			EXPECT_EQ(-EINVAL, call_bare(self, c, self->area))
				TH_LOG("%s with %u bytes", c->name, size);
		}
	}
}

TEST_F(abi, long_with_zero_tail)
{
	const struct command *c;

	FOR_EACH_COMMAND(c) {
		const __u32 sizes[] = {
			c->bytes + 1, c->bytes + 4, c->bytes + 8, c->bytes + 64,
			c->bytes + 1001, self->page - 1, self->page,
		};
		size_t i;

		for (i = 0; i < ARRAY_SIZE(sizes); i++) {
			memset(self->area, 0, self->area_bytes);
			c->fill(self, self->area);
			memcpy(self->area, &sizes[i], sizeof(sizes[i]));
			EXPECT_EQ(0, call_once(self, c, self->area))
				TH_LOG("%s with %u bytes", c->name, sizes[i]);
		}
	}
}

/* nobody's struct is longer than a page: refused unread, whatever is in it or isn't there */
TEST_F(abi, longer_than_a_page)
{
	const struct command *c;

	FOR_EACH_COMMAND(c) {
		const __u32 sizes[] = {
			self->page + 1, 2 * self->page, self->area_bytes, INT32_MAX, 1U << 31,
			UINT32_MAX,
		};
		size_t i;

		for (i = 0; i < ARRAY_SIZE(sizes); i++) {
			memset(self->area, 0, self->area_bytes);
			c->fill(self, self->area);
			memcpy(self->area, &sizes[i], sizeof(sizes[i]));
			EXPECT_EQ(-E2BIG, call_bare(self, c, self->area))
				TH_LOG("%s with %u bytes", c->name, sizes[i]);
		}
	}
}

TEST_F(abi, long_with_nonzero_tail)
{
	const struct command *c;

	FOR_EACH_COMMAND(c) {
		__u32 size = self->page;
		size_t at;

		memset(self->area, 0, self->area_bytes);
		c->fill(self, self->area);
		memcpy(self->area, &size, sizeof(size));
		for (at = c->bytes; at < size; at += at < c->bytes + 72 ? 1 : 509) {
			self->area[at] = 0x80;
			EXPECT_EQ(-E2BIG, call_bare(self, c, self->area))
				TH_LOG("%s with a byte at %zu", c->name, at);
			self->area[at] = 0;
		}
		/* the last byte, and the one behind a size that is odd */
		self->area[size - 1] = 1;
		EXPECT_EQ(-E2BIG, call_bare(self, c, self->area))
			TH_LOG("%s, last byte", c->name);
		self->area[size - 1] = 0;
		size = c->bytes + 1;
		memcpy(self->area, &size, sizeof(size));
		self->area[c->bytes] = 1;
		EXPECT_EQ(-E2BIG, call_bare(self, c, self->area))
			TH_LOG("%s, one byte more", c->name);
		self->area[c->bytes] = 0;
		self->area[c->bytes + 1] = 1;	/* not part of it */
		EXPECT_EQ(0, call_once(self, c, self->area))
			TH_LOG("%s, behind the end", c->name);
		self->area[c->bytes + 1] = 0;
	}
}

TEST_F(abi, bad_pointers)
{
	const struct command *c;

	FOR_EACH_COMMAND(c) {
		void *const bad[] = {
			NULL, (void *)1, (void *)(uintptr_t)(PTRDIFF_MAX & ~7UL), (void *)-8L,
			(void *)-1L, (void *)(uintptr_t)(1ULL << 63),
			self->area + self->area_bytes, self->area + self->area_bytes - 3,
			self->area + self->area_bytes - c->bytes + 1,
		};
		unsigned char *arg;
		__u32 size;
		size_t i;

		for (i = 0; i < ARRAY_SIZE(bad); i++) {
			size = c->bytes;
			if (i == ARRAY_SIZE(bad) - 1)
				memcpy(bad[i], &size, sizeof(size));
			EXPECT_EQ(-EFAULT, call_bare(self, c, bad[i]))
				TH_LOG("%s with %p", c->name, bad[i]);
		}
		/* a tail that isn't there, by one byte and by as many as can be */
		arg = self->area + self->area_bytes - c->bytes;
		c->fill(self, arg);
		for (i = 0; i < 2; i++) {
			size = i ? self->page : c->bytes + 1;
			memcpy(arg, &size, sizeof(size));
			EXPECT_EQ(-EFAULT, call_bare(self, c, arg))
				TH_LOG("%s with %u bytes", c->name, size);
		}
	}
}

/* what can't be told must not have happened */
TEST_F(abi, read_only_arguments)
{
	long long held = held_bytes(self->c.control_fd);
	const struct command *c;

	FOR_EACH_COMMAND(c) {
		if (!c->out)
			continue;
		c->fill(self, self->area);
		ASSERT_EQ(0, mprotect(self->area, self->page, PROT_READ));
		EXPECT_EQ(-EFAULT, call_once(self, c, self->area))
			TH_LOG("%s", c->name);
		ASSERT_EQ(0, mprotect(self->area, self->page, PROT_READ | PROT_WRITE));
	}
	EXPECT_EQ(held, held_bytes(self->c.control_fd));
	EXPECT_EQ(-ENOENT, destroy(self->c.control_fd, OTHER_NAME, 0));
}

TEST_F(abi, unknown_flags)
{
	const struct command *c;

	FOR_EACH_COMMAND(c) {
		unsigned int bit;

		if (!c->flags)
			continue;
		for (bit = 0; bit < c->flags_bytes * 8; bit++) {
			__u64 flag = 1ULL << bit;

			if (c->known_flags & flag)
				continue;
			c->fill(self, self->area);
			memcpy(self->area + c->flags, &flag, c->flags_bytes);
			EXPECT_EQ(-EOPNOTSUPP, call_bare(self, c, self->area))
				TH_LOG("%s with flag bit %u", c->name, bit);
			flag |= c->known_flags;
			memcpy(self->area + c->flags, &flag, c->flags_bytes);
			EXPECT_EQ(-EOPNOTSUPP, call_bare(self, c, self->area))
				TH_LOG("%s with flag bit %u and all known", c->name, bit);
		}
	}
}

TEST_F(abi, reserved_fields)
{
	const struct command *c;

	FOR_EACH_COMMAND(c) {
		unsigned int bit;

		for (bit = 0; bit < 64; bit++) {
			size_t field = c->reserved[bit / 32];
			__u32 value = 1U << bit % 32;

			if (!field)
				continue;
			c->fill(self, self->area);
			memcpy(self->area + field, &value, sizeof(value));
			EXPECT_EQ(-EOPNOTSUPP, call_bare(self, c, self->area))
				TH_LOG("%s with bit %u at %zu", c->name, bit % 32, field);
		}
	}
}

TEST_F(abi, wrong_node)
{
	const struct command *c;

	FOR_EACH_COMMAND(c) {
		int other = c->on_control ? self->c.fd : self->c.control_fd;

		c->fill(self, self->area);
		EXPECT_EQ(-ENOTTY, call(other, c->cmd, self->area))
			TH_LOG("%s", c->name);
		EXPECT_EQ(-ENOTTY, call(other, c->cmd, NULL))
			TH_LOG("%s with NULL", c->name);
	}
}

static bool known(unsigned long cmd, bool on_control)
{
	const struct command *c;

	FOR_EACH_COMMAND(c)
		if (c->cmd == cmd && c->on_control == on_control)
			return true;
	return false;
}

TEST_F(abi, unknown_commands)
{
	unsigned int nr, bit;
	int i;

	for (i = 0; i < 2; i++) {
		int fd = i ? self->c.control_fd : self->c.fd;

		memset(self->area, 0, self->area_bytes);
		for (nr = 0; nr < 256; nr++) {
			unsigned long cmd = _IO(HFTCHAN_IOC_MAGIC, nr);

			if (!known(cmd, i)) {
				EXPECT_EQ(-ENOTTY, call(fd, cmd, self->area))
					TH_LOG("number %#x, control %d", nr, i);
			}
			/* with direction or size, or another bit, it is another command */
			for (bit = 16; bit < 32; bit++)
				EXPECT_EQ(-ENOTTY, call(fd, cmd | 1U << bit, self->area))
					TH_LOG("number %#x with bit %u, control %d", nr, bit, i);
			if (nr != HFTCHAN_IOC_MAGIC) {
				EXPECT_EQ(-ENOTTY, call(fd, _IO(nr, 0), self->area))
					TH_LOG("magic %#x, control %d", nr, i);
			}
		}
	}
}

TEST_F(abi, open_modes)
{
	char path[PATH_BYTES];
	int i, fd;

	node_path(path, self->c.name);
	for (i = 0; i < 2; i++) {
		const char *node = i ? HFTCHAN_CONTROL_NODE : path;

		EXPECT_EQ(-EINVAL, neg_errno(open(node, O_WRONLY | O_CLOEXEC)))
			TH_LOG("%s", node);
		EXPECT_EQ(-EINVAL, neg_errno(open(node, O_ACCMODE | O_CLOEXEC)))
			TH_LOG("%s, mode 3", node);
		fd = open(node, O_PATH | O_CLOEXEC);
		ASSERT_LE(0, fd);
		EXPECT_EQ(-EBADF, call(fd, i ? HFTCHAN_IOC_LIMITS : HFTCHAN_IOC_INFO, self->area));
		close(fd);
	}
}

TEST_F(abi, descriptor_without_the_right)
{
	struct hftchan_ioc_limits l;
	struct hftchan_ioc_info i;

	EXPECT_EQ(-EACCES, create(self->control_ro, OTHER_NAME, 1));
	EXPECT_EQ(-EACCES, destroy(self->control_ro, self->c.name, 0));
	EXPECT_EQ(-EACCES, destroy(self->control_ro, self->c.name, HFTCHAN_DESTROY_F_FORCE));
	EXPECT_EQ(0, limits(self->control_ro, &l));
	EXPECT_EQ(-EACCES, attach_tx(self->node_ro));
	EXPECT_EQ(0, info(self->node_ro, &i));
	EXPECT_EQ(0, prefault(self->node_ro, (void *)(uintptr_t)self->c.control, self->page));
	EXPECT_EQ(-EACCES, start_tx(self->node_ro, 1));
	EXPECT_EQ(-EACCES, detach_tx(self->node_ro));
	/* and that the channel is still there */
	EXPECT_EQ(0, attach_tx(self->c.fd));
}

/* read(2) and the like are no interface of a channel */
TEST_F(abi, no_read_no_write)
{
	char byte = 0;

	EXPECT_GT(0, read(self->c.fd, &byte, 1));
	EXPECT_GT(0, write(self->c.fd, &byte, 1));
	EXPECT_GT(0, read(self->c.control_fd, &byte, 1));
	EXPECT_GT(0, write(self->c.control_fd, &byte, 1));
	EXPECT_GT(0, ftruncate(self->c.fd, 0));
	EXPECT_EQ(-ENODEV, try_map(self->c.control_fd, self->page, PROT_READ, MAP_SHARED, 0));
}

/* ---- values of CREATE ---------------------------------------------------------------------- */

/**
 * struct value - one field of CREATE with a value that is refused
 * @error: how
 */
struct value {
	size_t field;
	size_t bytes;
	__u64 value;
	int error;
};

#define VALUE(field, value, error) { \
	offsetof(struct hftchan_ioc_create, field), \
	sizeof(((struct hftchan_ioc_create *)NULL)->field), (__u64)(value), error }

TEST_F(abi, create_values)
{
	static const struct value values[] = {
		VALUE(layout, HFTCHAN_LAYOUT_SPLIT, -EOPNOTSUPP),
		VALUE(layout, HFTCHAN_LAYOUT_RAW, -EOPNOTSUPP),
		VALUE(layout, 3, -EOPNOTSUPP),
		VALUE(layout, UINT32_MAX, -EOPNOTSUPP),
		VALUE(nr_slots, 0, -EINVAL),
		VALUE(nr_slots, 1, -EINVAL),
		VALUE(nr_slots, 2, -EINVAL),
		VALUE(nr_slots, 3, -EINVAL),
		VALUE(nr_slots, 5, -EINVAL),
		VALUE(nr_slots, 32767, -EINVAL),
		VALUE(nr_slots, HFTCHAN_NR_SLOTS_MAX - 1, -EINVAL),
		VALUE(nr_slots, HFTCHAN_NR_SLOTS_MAX + 1, -EINVAL),
		VALUE(nr_slots, 2 * HFTCHAN_NR_SLOTS_MAX, -EINVAL),
		VALUE(nr_slots, 1ULL << 63, -EINVAL),
		VALUE(nr_slots, UINT64_MAX, -EINVAL),
		VALUE(payload_size, 0, -EINVAL),
		VALUE(payload_size, HFTCHAN_PAYLOAD_MAX + 1, -EINVAL),
		VALUE(payload_size, 1U << 31, -EINVAL),
		VALUE(payload_size, UINT32_MAX, -EINVAL),
		VALUE(first_seq, 0, -EINVAL),
		VALUE(first_seq, HFTCHAN_FIRST_SEQ_MAX + 1, -EINVAL),
		VALUE(first_seq, 1ULL << 63, -EINVAL),
		VALUE(first_seq, UINT64_MAX, -EINVAL),
		VALUE(node, -2, -EINVAL),
		VALUE(node, INT_MIN, -EINVAL),
		VALUE(node, 1000000, -EINVAL),
		VALUE(node, INT_MAX, -EINVAL),
	};
	struct hftchan_ioc_create args;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(values); i++) {
		const struct value *v = &values[i];

		create_args(&args, OTHER_NAME, 1);
		memcpy((char *)&args + v->field, &v->value, v->bytes);
		EXPECT_EQ(v->error, call(self->c.control_fd, HFTCHAN_IOC_CREATE, &args))
			TH_LOG("offset %zu: %#llx", v->field, v->value);
	}
}

TEST_F(abi, create_mode_bits)
{
	struct hftchan_ioc_create args;
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		if (0666U & 1U << bit)
			continue;
		create_args(&args, OTHER_NAME, 1);
		args.mode = 0600 | 1U << bit;
		EXPECT_EQ(-EINVAL, call(self->c.control_fd, HFTCHAN_IOC_CREATE, &args))
			TH_LOG("mode %#o", args.mode);
	}
	/* a channel that its owner can't open */
	for (bit = 0; bit < 2; bit++) {
		create_args(&args, OTHER_NAME, 1);
		args.mode = 0666 & ~(0200U << bit);
		EXPECT_EQ(-EINVAL, call(self->c.control_fd, HFTCHAN_IOC_CREATE, &args))
			TH_LOG("mode %#o", args.mode);
	}
}

TEST_F(abi, create_overflow)
{
	static const struct {
		__u64 nr_slots;
		__u32 payload_size;
		__u64 flags;
		int error;
	} rows[] = {
		{ HFTCHAN_NR_SLOTS_MAX, HFTCHAN_PAYLOAD_MAX, 0, -EOVERFLOW },
		{ HFTCHAN_NR_SLOTS_MAX, HFTCHAN_PAYLOAD_MAX, HFTCHAN_F_VARLEN, -EOVERFLOW },
		{ HFTCHAN_NR_SLOTS_MAX, (1U << 15) - 7, 0, -EOVERFLOW },
		{ HFTCHAN_NR_SLOTS_MAX, (1U << 15) - 15, HFTCHAN_F_VARLEN, -EOVERFLOW },
		{ 1ULL << 17, 1U << 29, 0, -EOVERFLOW },
		{ 1ULL << 16, HFTCHAN_PAYLOAD_MAX, 0, -EOVERFLOW },
		/* HFTCHAN_RING_SIZE_MAX itself is no overflow, only more than anybody may have */
		{ HFTCHAN_NR_SLOTS_MAX, (1U << 15) - 8, 0, -ENOSPC },
		{ HFTCHAN_NR_SLOTS_MAX, (1U << 15) - 16, HFTCHAN_F_VARLEN, -ENOSPC },
		{ 1ULL << 15, HFTCHAN_PAYLOAD_MAX, 0, -ENOSPC },
	};
	struct hftchan_ioc_create args;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		create_args(&args, OTHER_NAME, 1);
		args.nr_slots = rows[i].nr_slots;
		args.payload_size = rows[i].payload_size;
		args.flags = rows[i].flags;
		EXPECT_EQ(rows[i].error, call(self->c.control_fd, HFTCHAN_IOC_CREATE, &args))
			TH_LOG("row %zu", i);
	}
}

/* values at their limits are taken, and found in the control page */
TEST_F(abi, create_extremes)
{
	static const struct {
		__u64 flags, nr_slots, first_seq, type_tag;
		__u32 payload_size;
		__u64 slot_size;
	} rows[] = {
		{ 0, HFTCHAN_NR_SLOTS_MIN, 1, 0, 1, 64 },
		{ 0, HFTCHAN_NR_SLOTS_MIN, HFTCHAN_FIRST_SEQ_MAX, UINT64_MAX, 56, 64 },
		{ 0, 8, 12345, 1, 57, 128 },
		{ HFTCHAN_F_VARLEN, 16, 7, 2, 48, 64 },
		{ HFTCHAN_F_VARLEN, 16, 7, 1ULL << 63, 49, 128 },
		{ 0, 4, 1, 3, 600000, 600064 },
	};
	struct hftchan_ioc_create args;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct hftchan_control *p;
		__u64 bytes = rows[i].nr_slots * rows[i].slot_size;
		int fd;

		create_args(&args, OTHER_NAME, 1);
		args.flags = rows[i].flags;
		args.nr_slots = rows[i].nr_slots;
		args.first_seq = rows[i].first_seq;
		args.type_tag = rows[i].type_tag;
		args.payload_size = rows[i].payload_size;
		ASSERT_EQ(0, call(self->c.control_fd, HFTCHAN_IOC_CREATE, &args))
			TH_LOG("row %zu", i);
		EXPECT_EQ((bytes + HUGE_BYTES - 1) / HUGE_BYTES, args.out_nr_pages);
		EXPECT_LE(0, args.out_node);
		EXPECT_EQ(0, args.__reserved2);

		fd = open_node(OTHER_NAME, O_RDONLY);
		ASSERT_LE(0, fd);
		p = map_at(fd, HFTCHAN_PAGE_BYTES, PROT_READ, 0);
		ASSERT_NE(NULL, p);
		EXPECT_EQ(HFTCHAN_MAGIC, p->magic);
		EXPECT_EQ(HFTCHAN_ABI_VERSION, p->version);
		EXPECT_EQ(1, p->compat_version);
		EXPECT_EQ(HFTCHAN_HEADER_SIZE_1, p->header_size);
		EXPECT_EQ(HFTCHAN_LAYOUT_PACKED, p->layout);
		EXPECT_EQ(rows[i].flags, p->flags);
		EXPECT_EQ(rows[i].payload_size, p->payload_size);
		EXPECT_EQ(8, p->payload_offset);
		EXPECT_EQ(rows[i].nr_slots, p->nr_slots);
		EXPECT_EQ(rows[i].slot_size, p->slot_size);
		EXPECT_EQ(bytes, p->ring_size);
		EXPECT_EQ(rows[i].first_seq, p->first_seq);
		EXPECT_EQ(rows[i].type_tag, p->type_tag);
		EXPECT_EQ(HUGE_BYTES, p->page_size);
		EXPECT_NE(0, p->created_ns);
		EXPECT_EQ(0, p->epoch);
		EXPECT_EQ(p->epoch, p->ended_epoch);
		EXPECT_EQ(HFTCHAN_SENDER_NONE, p->sender_state);
		EXPECT_EQ(0, p->destroyed);
		EXPECT_EQ(0, p->sender_pid);
		EXPECT_EQ(0, p->nr_deaths);
		EXPECT_EQ(0, p->ring_path[0]);
		EXPECT_EQ(0, munmap((void *)p, HFTCHAN_PAGE_BYTES));
		close(fd);
		ASSERT_EQ(0, destroy(self->c.control_fd, OTHER_NAME, 0));
	}
}

/* the regions are apart, each at a multiple of 64 KiB; no byte behind the header says a thing */
TEST_F(abi, control_page)
{
	const unsigned char *bytes = (const unsigned char *)(uintptr_t)self->c.control;
	__u64 starts[5], ends[5];
	size_t i, j;

	starts[0] = 0;
	starts[1] = self->c.control->sender_offset;
	starts[2] = self->c.control->ring_offset;
	starts[3] = self->c.control->sender_tx_offset;
	starts[4] = self->c.control->ring_tx_offset;
	for (i = 0; i < 5; i++)
		ends[i] = starts[i] + (i == 2 || i == 4 ? self->c.ring_bytes : HFTCHAN_PAGE_BYTES);
	for (i = 0; i < 5; i++) {
		EXPECT_EQ(0, starts[i] % 65536);
		for (j = 0; j < i; j++)
			EXPECT_TRUE(ends[i] <= starts[j] || ends[j] <= starts[i])
				TH_LOG("regions %zu and %zu", i, j);
	}
	EXPECT_EQ(0, starts[2] % HUGE_BYTES);
	EXPECT_EQ(0, starts[4] % HUGE_BYTES);
	for (i = HFTCHAN_HEADER_SIZE_1; i < HFTCHAN_PAGE_BYTES; i++)
		EXPECT_EQ(0, bytes[i])
			TH_LOG("byte %zu", i);
}

/* ---- names --------------------------------------------------------------------------------- */

static bool name_char(unsigned int ch, bool first)
{
	return (ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') ||
	       (!first && (ch == '.' || ch == '_' || ch == '-'));
}

/* every byte at every kind of place: DESTROY of a good name that nobody has is ENOENT */
TEST_F(abi, name_characters)
{
	static const unsigned int places[] = { 0, 1, 20, 46 };
	struct hftchan_ioc_create create_with;
	struct hftchan_ioc_destroy args;
	unsigned int ch;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		for (ch = 1; ch < 256; ch++) {
			bool good = name_char(ch, !places[i]);

			memset(&args, 0, sizeof(args));
			args.size = sizeof(args);
			memset(args.name, 'q', HFTCHAN_NAME_MAX);
			args.name[places[i]] = ch;
			EXPECT_EQ(good ? -ENOENT : -EINVAL,
				  call(self->c.control_fd, HFTCHAN_IOC_DESTROY, &args))
				TH_LOG("byte %#x at %u", ch, places[i]);
			if (good)
				continue;
			create_args(&create_with, "", 1);
			memcpy(create_with.name, args.name, sizeof(args.name));
			EXPECT_EQ(-EINVAL,
				  call(self->c.control_fd, HFTCHAN_IOC_CREATE, &create_with))
				TH_LOG("byte %#x at %u", ch, places[i]);
		}
	}
}

TEST_F(abi, name_forms)
{
	static const struct {
		const char *what;
		char name[HFTCHAN_NAME_BYTES];
		int error;	/* of DESTROY; 0: CREATE takes it */
	} rows[] = {
		{ "empty", "", -EINVAL },
		{ "byte after the end", "abc\0d", -EINVAL },
		{ "byte after an empty one", "\0d", -EINVAL },
		{ "dot", ".", -EINVAL },
		{ "two dots", "..", -EINVAL },
		{ "slash", "a/b", -EINVAL },
		{ "lock file", "a.lock", -EINVAL },
		{ "only .lock", ".lock", -EINVAL },
		{ "longest lock file", "0123456789012345678901234567890123456789xx.lock", -EINVAL },
		{ "newline", "abc\n", -EINVAL },
		{ "one character", "Z", 0 },
		{ "47 characters", "selftest-0123456789012345678901234567890123456x", 0 },
		{ "dots inside", "selftest..a", 0 },
		{ "dot at the end", "selftest.", 0 },
		{ "lock inside", "selftest.lock.x", 0 },
		{ "lock without dot", "selftest-lock", 0 },
		{ "other case", "selftest.LOCK", 0 },
	};
	struct hftchan_ioc_create create_with;
	struct hftchan_ioc_destroy args;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		memset(&args, 0, sizeof(args));
		args.size = sizeof(args);
		memcpy(args.name, rows[i].name, sizeof(args.name));
		create_args(&create_with, "", 1);
		memcpy(create_with.name, rows[i].name, sizeof(args.name));
		EXPECT_EQ(rows[i].error, call(self->c.control_fd, HFTCHAN_IOC_CREATE, &create_with))
			TH_LOG("%s", rows[i].what);
		EXPECT_EQ(rows[i].error, call(self->c.control_fd, HFTCHAN_IOC_DESTROY, &args))
			TH_LOG("%s", rows[i].what);
	}
	/* 48 bytes without a zero byte */
	memset(args.name, 'a', sizeof(args.name));
	memset(create_with.name, 'a', sizeof(create_with.name));
	EXPECT_EQ(-EINVAL, call(self->c.control_fd, HFTCHAN_IOC_DESTROY, &args));
	EXPECT_EQ(-EINVAL, call(self->c.control_fd, HFTCHAN_IOC_CREATE, &create_with));
	/* a zero byte at the very end only, but .lock before it */
	memset(args.name, 'a', sizeof(args.name));
	memcpy(args.name + 42, ".lock", 6);
	EXPECT_EQ(-EINVAL, call(self->c.control_fd, HFTCHAN_IOC_DESTROY, &args));
}

TEST_F(abi, taken_and_missing_names)
{
	EXPECT_EQ(-EEXIST, create(self->c.control_fd, self->c.name, 1));
	EXPECT_EQ(-ENOENT, destroy(self->c.control_fd, OTHER_NAME, 0));
	EXPECT_EQ(-ENOENT, destroy(self->c.control_fd, OTHER_NAME, HFTCHAN_DESTROY_F_FORCE));
}

/* ZAP belongs to FORCE */
TEST_F(abi, zap_without_force)
{
	EXPECT_EQ(-EINVAL, destroy(self->c.control_fd, self->c.name, HFTCHAN_DESTROY_F_ZAP));
	EXPECT_TRUE(node_exists(self->c.name));
	EXPECT_EQ(0, self->c.control->destroyed);
}

/* ---- values of the others ------------------------------------------------------------------ */

TEST_F(abi, limits_outputs)
{
	struct hftchan_ioc_limits args;

	memset(&args, 0xff, sizeof(args));
	args.size = sizeof(args);
	args.__reserved = 0;
	ASSERT_EQ(0, call(self->c.control_fd, HFTCHAN_IOC_LIMITS, &args));
	EXPECT_EQ(sizeof(args), args.size);
	EXPECT_EQ(HFTCHAN_ABI_VERSION, args.out_abi_version);
	EXPECT_EQ(1, args.out_compat_version);
	EXPECT_LE(HUGE_BYTES, args.out_bytes);
	EXPECT_LE(args.out_bytes_uid, args.out_bytes);
	EXPECT_LE(args.out_bytes, args.out_max_bytes);
	EXPECT_LE(args.out_max_bytes_uid, args.out_max_bytes);
	EXPECT_LE(1, args.out_nr_channels);
	EXPECT_LE(args.out_nr_channels, args.out_max_channels);
	EXPECT_NE(UINT32_MAX, args.out_max_channels);
}

TEST_F(abi, info_values)
{
	__u64 nodes[1025];
	struct hftchan_ioc_info args;

	memset(&args, 0xff, sizeof(args));
	args.size = sizeof(args);
	args.nr_nodes = 1024;
	args.nodes = (uintptr_t)nodes;
	memset(nodes, 0xff, sizeof(nodes));
	ASSERT_EQ(0, call(self->c.fd, HFTCHAN_IOC_INFO, &args));
	EXPECT_EQ(1, args.out_nr_pages);
	EXPECT_EQ(2, args.out_nr_open);
	EXPECT_EQ(0, args.out_holder_flags);
	EXPECT_EQ(0, args.out_holder_pid);
	EXPECT_EQ(geteuid(), args.out_creator_uid);
	EXPECT_EQ(0, memcmp(self->c.name, args.out_name, sizeof(args.out_name)));
	EXPECT_EQ(UINT64_MAX, nodes[1024]);
	EXPECT_EQ(0, nodes[1023]);

	args.nr_nodes = 1025;
	EXPECT_EQ(-EINVAL, call(self->c.fd, HFTCHAN_IOC_INFO, &args));
	args.nr_nodes = UINT32_MAX;
	EXPECT_EQ(-EINVAL, call(self->c.fd, HFTCHAN_IOC_INFO, &args));
	/* an array without length */
	args.nr_nodes = 0;
	EXPECT_EQ(-EINVAL, call(self->c.fd, HFTCHAN_IOC_INFO, &args));
	args.nr_nodes = 2;
	args.nodes = (uintptr_t)self->area + self->area_bytes;
	EXPECT_EQ(-EFAULT, call(self->c.fd, HFTCHAN_IOC_INFO, &args));
	args.nodes = (uintptr_t)self->area + self->area_bytes - 8;
	EXPECT_EQ(-EFAULT, call(self->c.fd, HFTCHAN_IOC_INFO, &args));
	args.nodes = 1ULL << 63;
	EXPECT_EQ(-EFAULT, call(self->c.fd, HFTCHAN_IOC_INFO, &args));
	/* a length without array, both ways to say it */
	args.nodes = 0;
	EXPECT_GT(0, call(self->c.fd, HFTCHAN_IOC_INFO, &args));
	args.nodes = UINT64_MAX;
	EXPECT_GT(0, call(self->c.fd, HFTCHAN_IOC_INFO, &args));
}

TEST_F(abi, prefault_values)
{
	struct channel other;
	char *ring, *foreign;

	ASSERT_EQ(0, channel_make(&other, 1));
	ring = map_ring(&self->c, self->c.fd);
	ASSERT_NE(NULL, ring);
	foreign = map_ring(&other, other.fd);
	ASSERT_NE(NULL, foreign);

	EXPECT_EQ(0, prefault(self->c.fd, ring, HUGE_BYTES));
	EXPECT_EQ(0, prefault(self->c.fd, ring, HUGE_BYTES));
	EXPECT_EQ(-EINVAL, prefault(self->c.fd, ring + 1, HUGE_BYTES));
	EXPECT_EQ(-EINVAL, prefault(self->c.fd, ring, HUGE_BYTES - 1));
	EXPECT_EQ(-EINVAL, prefault(self->c.fd, ring, HUGE_BYTES + HUGE_BYTES));
	EXPECT_EQ(-EINVAL, prefault(self->c.fd, ring, UINT64_MAX & ~(HUGE_BYTES - 1)));
	EXPECT_EQ(-EINVAL, prefault(self->c.fd, self->area, self->page));
	EXPECT_EQ(-EINVAL, prefault(self->c.fd, foreign, HUGE_BYTES));
	EXPECT_EQ(-EINVAL, prefault(self->c.fd, NULL, HUGE_BYTES));
	EXPECT_EQ(-EINVAL, prefault(self->c.fd, (void *)(1UL << 63), HUGE_BYTES));
	EXPECT_EQ(-EINVAL, prefault(self->c.fd, (void *)-HUGE_BYTES, HUGE_BYTES));
	EXPECT_EQ(0, munmap(ring, HUGE_BYTES));
	EXPECT_EQ(-EINVAL, prefault(self->c.fd, ring, HUGE_BYTES));
	EXPECT_EQ(0, munmap(foreign, HUGE_BYTES));
	channel_remove(&other);
}

TEST_F(abi, start_values)
{
	struct hftchan_ioc_start_tx args = { .size = sizeof(args) };
	struct channel late;
	struct hftchan_ioc_create with;

	/* a channel that begins at 1000 */
	ASSERT_EQ(0, channel_make(&late, 1));
	ASSERT_EQ(0, munmap((void *)(uintptr_t)late.control, HFTCHAN_PAGE_BYTES));
	late.control = NULL;
	close(late.fd);
	ASSERT_EQ(0, destroy(late.control_fd, late.name, 0));
	create_args(&with, late.name, 1);
	with.first_seq = 1000;
	ASSERT_EQ(0, call(late.control_fd, HFTCHAN_IOC_CREATE, &with));
	late.fd = open_node(late.name, O_RDWR);
	ASSERT_LE(0, late.fd);
	late.control = map_at(late.fd, HFTCHAN_PAGE_BYTES, PROT_READ, 0);
	ASSERT_NE(NULL, late.control);

	ASSERT_EQ(0, attach_tx(late.fd));
	EXPECT_EQ(-EINVAL, start_tx(late.fd, 0));
	EXPECT_EQ(-EINVAL, start_tx(late.fd, 999));
	EXPECT_EQ(-EINVAL, start_tx(late.fd, 1ULL << 63));
	EXPECT_EQ(-EINVAL, start_tx(late.fd, UINT64_MAX));
	EXPECT_EQ(0, late.control->epoch);
	args.seq = 1000;
	args.out_epoch = 77;
	EXPECT_EQ(0, call(late.fd, HFTCHAN_IOC_START_TX, &args));
	EXPECT_EQ(1, args.out_epoch);
	EXPECT_EQ(1, late.control->epoch);
	EXPECT_EQ(1000, late.control->epoch_seq);
	EXPECT_EQ(HFTCHAN_SENDER_ATTACHED, late.control->sender_state);
	EXPECT_NE(0, late.control->attached_ns);
	EXPECT_EQ(0, late.control->ended_epoch);
	channel_remove(&late);
}

/* ---- 32-bit callers ------------------------------------------------------------------------ */

#ifdef __x86_64__
static int compat_ioctl(int fd, unsigned int cmd, void *arg)
{
	long ret;

	__asm__ volatile("int $0x80" : "=a"(ret)
			 : "a"(54L), "b"((long)fd), "c"((long)cmd), "d"((long)(uintptr_t)arg)
			 : "memory", "r8", "r9", "r10", "r11");
	return (int)ret;
}

/* they can't use the module, and are told so */
TEST_F(abi, programs_of_32_bits)
{
	const struct command *c;
	unsigned char *low;
	int sig;

	low = mmap(NULL, self->page, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ASSERT_NE(MAP_FAILED, low);
	probe_arm();
	sig = sigsetjmp(probe_env, 1);
	if (sig)
		SKIP(return, "this kernel takes no 32-bit system calls");
	FOR_EACH_COMMAND(c) {
		c->fill(self, low);
		EXPECT_EQ(-ENOTTY, compat_ioctl(command_fd(self, c), c->cmd, low))
			TH_LOG("%s", c->name);
	}
	munmap(low, self->page);
}
#endif

TEST_HARNESS_MAIN
