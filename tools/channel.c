// SPDX-License-Identifier: MIT
/*
 * create, list, show, check, destroy: channels as objects.
 * No messages: those are pub.c and sub.c.
 * The contract is hftchan(1).
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libsmartcols.h>
#include <numa.h>

#include "tool.h"

static const char *const layouts[] = {
	[HFTCHAN_LAYOUT_PACKED] = "packed",
	[HFTCHAN_LAYOUT_SPLIT] = "split",
	[HFTCHAN_LAYOUT_RAW] = "raw",
};

static const char *layout_name(uint32_t layout)
{
	return layout < ARRAY_SIZE(layouts) ? layouts[layout] : "unknown";
}

static const char *state_name(uint32_t state)
{
	static const char *const states[] = {
		[HFTCHAN_SENDER_NONE] = "none",
		[HFTCHAN_SENDER_ATTACHED] = "attached",
		[HFTCHAN_SENDER_REVOKED] = "revoked",
		[HFTCHAN_SENDER_DIED] = "died",
	};

	return state < ARRAY_SIZE(states) ? states[state] : "unknown";
}

/* what the process of the sender does besides sending, NULL: nothing that is known */
static const char *holder_name(uint32_t flags)
{
	if (flags & HFTCHAN_HOLDER_DUMPING)
		return "dumping core";
	return flags & HFTCHAN_HOLDER_EXITING ? "exiting" : NULL;
}

static bool get_info(struct hftchan *ch, struct hftchan_info *info)
{
	info->size = sizeof(*info);
	if (!hftchan_get_info(ch, info))
		return true;
	tool_library_error();
	return false;
}

/* ---------------------------------------------------------------- create */

enum {
	KEY_PAYLOAD = TOOL_KEY,
	KEY_SLOTS,
	KEY_VARLEN,
	KEY_LAYOUT,
	KEY_NODE,
	KEY_MODE,
	KEY_OWNER,
	KEY_GROUP,
	KEY_TYPE_TAG,
	KEY_FIRST_SEQ,
	KEY_FORCE,
	KEY_ZAP,
};

static const struct tool_option create_options[] = {
	{ "payload", KEY_PAYLOAD, "BYTES", "bytes of a message; with --varlen: of the largest" },
	{ "slots", KEY_SLOTS, "N", "slots, a power of two; N - 3 messages of history are kept" },
	{ "varlen", KEY_VARLEN, NULL, "messages may have any length up to --payload" },
	{ "layout", KEY_LAYOUT, "LAYOUT", "packed (the default)" },
	{ "node", KEY_NODE, "N", "NUMA node that holds the ring; default: where this runs" },
	{ "mode", KEY_MODE, "MODE", "permission bits, octal: who may read; dev: and send" },
	{ "owner", KEY_OWNER, "USER", "name or uid; default: yours" },
	{ "group", KEY_GROUP, "GROUP", "name or gid; default: yours" },
	{ "type-tag", KEY_TYPE_TAG, "HEX", "number that names the message type; default 0: none" },
	{ "first-seq", KEY_FIRST_SEQ, "SEQ", "seq of the first message; default 1" },
	{ NULL, 0, NULL, NULL },
};

static const struct tool_command create_command = {
	"create", "NAME", 1, "Make a channel; it lives until `hftchan destroy`", create_options,
};

static uint32_t parse_layout(const char *text)
{
	uint32_t i;

	for (i = 0; i < ARRAY_SIZE(layouts); i++)
		if (!strcmp(text, layouts[i]))
			return i;
	tool_usage(&create_command, "--layout: '%s' is no layout; there is packed", text);
}

static mode_t parse_mode(const char *text)
{
	size_t digits = strspn(text, "01234567");

	if (!digits || digits > 4 || text[digits])
		tool_usage(&create_command, "--mode: '%s' is no mode, as 0640", text);
	return (mode_t)strtoul(text, NULL, 8);
}

int cmd_create(int argc, char **argv)
{
	struct hftchan_attr attr = HFTCHAN_ATTR_INIT;
	struct hftchan_info info;
	bool payload = false, slots = false, ok;
	struct hftchan *ch;
	int key;

	while ((key = tool_getopt(&create_command, argc, argv)) != -1) {
		switch (key) {
		case KEY_PAYLOAD:
			attr.payload_size = tool_number("payload", optarg, 1, HFTCHAN_PAYLOAD_MAX);
			payload = true;
			break;
		case KEY_SLOTS:
			attr.nr_slots = tool_number("slots", optarg, HFTCHAN_NR_SLOTS_MIN,
						    HFTCHAN_NR_SLOTS_MAX);
			slots = true;
			break;
		case KEY_VARLEN:
			attr.flags |= HFTCHAN_F_VARLEN;
			break;
		case KEY_LAYOUT:
			attr.layout = parse_layout(optarg);
			break;
		case KEY_NODE:
			attr.node = (int32_t)tool_number("node", optarg, 0, INT32_MAX);
			break;
		case KEY_MODE:
			attr.mode = parse_mode(optarg);
			break;
		case KEY_OWNER:
			attr.owner = tool_user("owner", optarg);
			break;
		case KEY_GROUP:
			attr.group = tool_group("group", optarg);
			break;
		case KEY_TYPE_TAG:
			attr.type_tag = tool_hex("type-tag", optarg);
			break;
		case KEY_FIRST_SEQ:
			attr.first_seq = tool_number("first-seq", optarg, 1, HFTCHAN_FIRST_SEQ_MAX);
			break;
		}
	}
	if (!payload || !slots)
		tool_usage(&create_command, "--%s is missing", payload ? "slots" : "payload");
	if (!strcmp(argv[optind], "local:"))
		tool_usage(&create_command, "local: lives within one process; give a name");

	if (hftchan_create(argv[optind], &attr, &ch)) {
		tool_library_error();
		return TOOL_FAILED;
	}
	ok = get_info(ch, &info);
	if (ok)
		printf("%s: %" PRIu64 " slots of %" PRIu64 " bytes, %" PRIu64
		       " KiB in pages of %u KiB\n",
		       hftchan_name(ch), info.nr_slots, info.slot_size,
		       (info.ring_size + info.page_size - 1) / info.page_size * info.page_size /
			       1024,
		       info.page_size / 1024);
	hftchan_close(ch);
	return ok ? TOOL_OK : TOOL_FAILED;
}

/* ---------------------------------------------------------------- list */

static const struct tool_option list_options[] = {
	{ "json", 'j', NULL, "print JSON" },
	{ NULL, 0, NULL, NULL },
};

static const struct tool_command list_command = {
	"list", "", 0, "List all channels, also those that can't be opened", list_options,
};

enum { COL_NAME, COL_PAYLOAD, COL_SLOTS, COL_BYTES, COL_NEWEST, COL_SENDER, COL_PID, COL_ERROR };

static const struct {
	const char *name;
	int flags;
	int json_type;
} columns[] = {
	[COL_NAME] = { "NAME", 0, SCOLS_JSON_STRING },
	[COL_PAYLOAD] = { "PAYLOAD", SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER },
	[COL_SLOTS] = { "SLOTS", SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER },
	[COL_BYTES] = { "BYTES", SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER },
	[COL_NEWEST] = { "NEWEST", SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER },
	[COL_SENDER] = { "SENDER", 0, SCOLS_JSON_STRING },
	[COL_PID] = { "PID", SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER },
	[COL_ERROR] = { "ERROR", 0, SCOLS_JSON_STRING },
};

struct names {
	char **v;
	size_t nr;
};

static int add_name(const char *name, void *arg)
{
	struct names *names = arg;
	char **v = reallocarray(names->v, names->nr + 1, sizeof(*v));
	char *copy = strdup(name);

	if (v)
		names->v = v;
	if (!v || !copy) {
		free(copy);
		return -ENOMEM;
	}
	names->v[names->nr++] = copy;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void set_number(struct libscols_line *line, size_t column, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	scols_line_set_data(line, column, text);
}

/* The library's text begins with the name, which the table has in its first column. */
static const char *without_name(const char *text, const char *name)
{
	size_t len = strlen(name);

	return strncmp(text, name, len) || strncmp(text + len, ": ", 2) ? text : text + len + 2;
}

static void list_one(struct libscols_table *table, const char *name)
{
	struct hftchan_info info = { .size = sizeof(info) };
	struct libscols_line *line = scols_table_new_line(table, NULL);
	struct hftchan *ch = NULL;

	scols_line_set_data(line, COL_NAME, name);
	if (hftchan_open(name, NULL, &ch) || hftchan_get_info(ch, &info)) {
		scols_line_set_data(line, COL_ERROR, without_name(hftchan_strerror_last(), name));
	} else {
		set_number(line, COL_PAYLOAD, info.payload_size);
		set_number(line, COL_SLOTS, info.nr_slots);
		set_number(line, COL_BYTES, info.ring_size);
		set_number(line, COL_NEWEST, info.newest);
		scols_line_set_data(line, COL_SENDER, state_name(info.sender_state));
		/* that of the last one is of no use, and by now maybe another process's */
		if (info.sender_state == HFTCHAN_SENDER_ATTACHED && info.sender_pid)
			set_number(line, COL_PID, (uint64_t)info.sender_pid);
	}
	hftchan_close(ch);
}

int cmd_list(int argc, char **argv)
{
	struct libscols_table *table;
	struct names names = { NULL, 0 };
	bool json = false, failed;
	size_t i;
	int err;

	while (tool_getopt(&list_command, argc, argv) != -1)
		json = true;

	err = hftchan_list(add_name, &names);
	if (err == -ENOMEM)
		tool_error("%zu channels: no memory for more", names.nr);
	else if (err)
		tool_library_error();
	if (names.nr)
		qsort(names.v, names.nr, sizeof(*names.v), compare_names);

	table = scols_new_table();
	scols_table_enable_json(table, json);
	scols_table_set_name(table, "channels");
	for (i = 0; i < ARRAY_SIZE(columns); i++) {
		struct libscols_column *c = scols_table_new_column(table, columns[i].name, 0,
								   columns[i].flags);

		scols_column_set_json_type(c, columns[i].json_type);
	}
	for (i = 0; i < names.nr; i++) {
		list_one(table, names.v[i]);
		free(names.v[i]);
	}
	free(names.v);
	/* smartcols prints nothing at all for a table without lines */
	failed = err;
	if (json && !names.nr)
		puts("{\n   \"channels\": []\n}");
	else if (scols_print_table(table))
		failed = true;
	scols_unref_table(table);
	return failed ? TOOL_FAILED : TOOL_OK;
}

/* ---------------------------------------------------------------- show, check */

static const struct tool_option show_options[] = {
	{ "json", 'j', NULL, "print JSON" },
	{ "owner", KEY_OWNER, "USER", "whose channel it may be, besides root's; default: yours" },
	{ NULL, 0, NULL, NULL },
};

static const struct tool_command show_command = {
	"show", "NAME", 1, "Print everything about a channel", show_options,
};

static const struct tool_command check_command = {
	"check", "NAME", 1, "Check every slot of a channel's ring", show_options,
};

/* What show and check have in common: options, and the channel open. */
static struct hftchan *open_for(const struct tool_command *cmd, int argc, char **argv, bool *json)
{
	struct hftchan_expect expect = HFTCHAN_EXPECT_INIT;
	int key;

	*json = false;
	while ((key = tool_getopt(cmd, argc, argv)) != -1) {
		if (key == 'j')
			*json = true;
		else
			expect.owner = tool_user("owner", optarg);
	}
	return tool_open(argv[optind], &expect);
}

static void add_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, text ? json_object_new_string(text) : NULL);
}

static void add_number(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, tool_json_number(value));
}

static void add_flag(struct json_object *o, const char *key, bool value)
{
	json_object_object_add(o, key, json_object_new_boolean(value));
}

/* a CLOCK_REALTIME, null if it never was */
static void add_time(struct json_object *o, const char *key, uint64_t ns)
{
	time_t seconds = (time_t)(ns / NSEC_PER_SEC);
	char text[64], all[96];
	struct tm tm;

	if (!ns || !gmtime_r(&seconds, &tm)) {
		add_text(o, key, NULL);
		return;
	}
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(all, sizeof(all), "%s.%09" PRIu64 "Z", text, (uint64_t)(ns % NSEC_PER_SEC));
	add_text(o, key, all);
}

/* Where a receiver that joins now at the oldest would begin; null if it can't. */
static void add_oldest(struct json_object *o, struct hftchan *ch)
{
	struct hftchan_rx *rx;

	if (hftchan_join(ch, HFTCHAN_JOIN_OLDEST, 0, &rx)) {
		add_text(o, "oldest", NULL);
		return;
	}
	add_number(o, "oldest", hftchan_rx_seq(rx));
	hftchan_leave(rx);
}

/* an object of node: pages */
static void add_placement(struct json_object *o, struct hftchan *ch)
{
	unsigned int nr = numa_available() < 0 ? 1 : (unsigned int)numa_max_node() + 1, i;
	uint64_t *pages = tool_alloc(nr, sizeof(*pages));
	struct json_object *nodes = NULL;
	char node[16];

	if (hftchan_placement(ch, pages, nr) >= 0) {
		nodes = json_object_new_object();
		for (i = 0; i < nr; i++) {
			snprintf(node, sizeof(node), "%u", i);
			add_number(nodes, node, pages[i]);
		}
	}
	json_object_object_add(o, "pages_on_node", nodes);
	free(pages);
}

static struct json_object *describe(struct hftchan *ch, const struct hftchan_info *info)
{
	struct json_object *o = json_object_new_object();
	uint64_t now = tool_now();	/* after @info was read: no heartbeat is later */
	bool known = info->sender_pid;
	const char *name = hftchan_name(ch);
	char text[24], backend[8];

	snprintf(backend, sizeof(backend), "%.*s", (int)strcspn(name, ":"), name);

	add_text(o, "name", hftchan_name(ch));
	add_text(o, "backend", backend);
	add_number(o, "payload_size", info->payload_size);
	add_flag(o, "varlen", info->flags & HFTCHAN_F_VARLEN);
	add_number(o, "nr_slots", info->nr_slots);
	add_number(o, "slot_size", info->slot_size);
	add_text(o, "layout", layout_name(info->layout));
	snprintf(text, sizeof(text), "0x%" PRIx64, info->type_tag);
	add_text(o, "type_tag", text);
	add_number(o, "first_seq", info->first_seq);
	add_oldest(o, ch);
	add_number(o, "newest", info->newest);
	add_text(o, "sender", state_name(info->sender_state));
	json_object_object_add(o, "sender_pid",
			       known ? json_object_new_int(info->sender_pid) : NULL);
	add_text(o, "sender_is", holder_name(info->holder_flags));
	add_number(o, "epoch", info->epoch);
	add_number(o, "epoch_seq", info->epoch_seq);
	add_time(o, "attached", info->attached_ns);
	if (info->heartbeat_ns)
		add_number(o, "heartbeat_age_ns", now - info->heartbeat_ns);
	else
		add_text(o, "heartbeat_age_ns", NULL);
	add_number(o, "nr_deaths", info->nr_deaths);
	add_flag(o, "destroyed", info->destroyed);
	add_time(o, "created", info->created_ns);
	snprintf(text, sizeof(text), "%04o", info->mode);
	add_text(o, "mode", text);
	add_number(o, "owner", info->owner);
	add_number(o, "group", info->group);
	add_number(o, "ring_size", info->ring_size);
	add_number(o, "ring_offset", info->ring_offset);
	add_text(o, "ring_path", *info->ring_path ? info->ring_path : NULL);
	add_number(o, "page_size", info->page_size);
	json_object_object_add(o, "node", info->node < 0 ? NULL : json_object_new_int(info->node));
	add_placement(o, ch);
	/* what only the module tells */
	json_object_object_add(o, "locked_bytes",
			       info->nr_open ? tool_json_number(info->locked_bytes) : NULL);
	json_object_object_add(o, "charged_to",
			       info->nr_open ? tool_json_number(info->creator) : NULL);
	/* without the descriptor of this command */
	json_object_object_add(o, "open_files",
			       info->nr_open ? tool_json_number(info->nr_open - 1) : NULL);
	return o;
}

/* the same for people: one line for each member */
static void print_text(struct json_object *o, const char *prefix)
{
	json_object_object_foreach(o, key, value) {
		char name[64];

		snprintf(name, sizeof(name), "%s%s", prefix, key);
		if (json_object_is_type(value, json_type_object)) {
			strcat(name, " ");
			print_text(value, name);
		} else {
			printf("%-18s %s\n", name, value ? json_object_get_string(value) : "-");
		}
	}
}

int cmd_show(int argc, char **argv)
{
	struct hftchan_info info;
	struct json_object *o;
	struct hftchan *ch;
	bool json, ok;

	ch = open_for(&show_command, argc, argv, &json);
	if (!ch)
		return TOOL_FAILED;
	ok = get_info(ch, &info);
	if (ok) {
		o = describe(ch, &info);
		if (json) {
			tool_print_json(o);
		} else {
			print_text(o, "");
			json_object_put(o);
		}
	}
	hftchan_close(ch);
	return ok ? TOOL_OK : TOOL_FAILED;
}

int cmd_check(int argc, char **argv)
{
	struct hftchan_check_result result = { .size = sizeof(result) };
	struct json_object *o;
	struct hftchan *ch;
	char state[24];
	bool json;
	int err;

	ch = open_for(&check_command, argc, argv, &json);
	if (!ch)
		return TOOL_FAILED;
	err = hftchan_check(ch, &result);
	if (err)
		tool_library_error();
	if (json && err != -EAGAIN) {
		o = json_object_new_object();
		add_text(o, "name", hftchan_name(ch));
		add_flag(o, "legal", !err);
		add_number(o, "newest", result.newest);
		if (err) {
			add_number(o, "bad_slot", result.bad_slot);
			snprintf(state, sizeof(state), "0x%016" PRIx64, result.bad_state);
			add_text(o, "bad_state", state);
		} else {
			add_number(o, "oldest", result.oldest);
			add_number(o, "nr_dirty", result.nr_dirty);
		}
		tool_print_json(o);
	} else if (!err) {
		printf("%s: every slot is legal; oldest %" PRIu64 ", newest %" PRIu64 ", %" PRIu64
		       " marked\n",
		       hftchan_name(ch), result.oldest, result.newest, result.nr_dirty);
	}
	hftchan_close(ch);
	return err ? TOOL_FAILED : TOOL_OK;
}

/* ---------------------------------------------------------------- destroy */

static const struct tool_option destroy_options[] = {
	{ "force", KEY_FORCE, NULL,
	  "also under a live sender; dev: while it is open; shm: what is no valid channel" },
	{ "zap", KEY_ZAP, NULL, "dev: with --force: free the ring now, also from under its users" },
	{ NULL, 0, NULL, NULL },
};

static const struct tool_command destroy_command = {
	"destroy", "NAME", 1, "Remove a channel; receivers read what is left", destroy_options,
};

int cmd_destroy(int argc, char **argv)
{
	unsigned int flags = 0;
	int key;

	while ((key = tool_getopt(&destroy_command, argc, argv)) != -1)
		flags |= key == KEY_ZAP ? HFTCHAN_DESTROY_ZAP : HFTCHAN_DESTROY_FORCE;
	if (!hftchan_destroy(argv[optind], flags))
		return TOOL_OK;
	tool_library_error();
	return TOOL_FAILED;
}
