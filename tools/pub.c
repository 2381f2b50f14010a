// SPDX-License-Identifier: MIT
/*
 * pub: sends what a source or a socket gives.
 * It reads no formats: those are source.c, packet.c and udp.c.
 * The contract is hftchan(1).
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "source.h"
#include "tool.h"
#include "udp.h"

#define BATCH_MAX	64
#define BATCH_BYTES	(1 << 20)

enum pace {
	PACE_FLAT,	/* as fast as it goes, in batches */
	PACE_REAL,	/* as it was captured */
	PACE_RATE,	/* so many messages per second */
};

/**
 * struct pub - the sender at work
 * @pace: when the next message is due
 * @rate: messages per second, for PACE_RATE
 * @count: end after so many messages
 * @idle_ns: end after so long without a datagram
 * @msgs: batch, of which @nr are waiting to be sent
 * @nr_max: 1: nothing ever waits, and there is no @buffer
 * @buffer: @stride bytes for each of a batch
 * @first_time: time_ns of the first message
 * @begun: when the first one was sent, 0: none yet
 * @ended: when the last one was
 * @alive: when "alive" was said last
 */
struct pub {
	struct hftchan *ch;
	struct hftchan_tx *tx;
	struct hftchan_info info;
	enum pace pace;
	uint64_t rate;
	uint64_t count;
	uint64_t idle_ns;
	struct hftchan_msg msgs[BATCH_MAX];
	unsigned int nr;
	unsigned int nr_max;
	size_t stride;
	unsigned char *buffer;
	uint64_t first_time;
	uint64_t begun;
	uint64_t ended;
	uint64_t alive;
	uint64_t messages;
	uint64_t bytes;
};

/* ---------------------------------------------------------------- sending */

static bool flush(struct pub *p)
{
	unsigned int i;

	if (!p->nr)
		return true;
	if (!p->begun)
		p->begun = tool_now();
	/* lengths were checked: it can't fail unless the ring is not what it was */
	if (hftchan_send_batch(p->tx, p->msgs, p->nr)) {
		tool_library_error();
		return false;
	}
	p->messages += p->nr;
	for (i = 0; i < p->nr; i++)
		p->bytes += p->msgs[i].len;
	p->nr = 0;
	p->ended = tool_now();
	return true;
}

/* Say "alive" if it is time to, and see whether the channel still is there. */
static bool alive(struct pub *p)
{
	uint64_t now = tool_now();

	if (now - p->alive < TOOL_TICK_NS)
		return true;
	p->alive = now;
	if (!hftchan_heartbeat(p->tx))
		return true;
	tool_error("%s: destroyed under its sender; create it and start again",
		   hftchan_name(p->ch));
	return false;
}

/* Does it fit the channel? Says no. */
static bool fits(const struct pub *p, const struct source *s, size_t len)
{
	if (p->info.flags & HFTCHAN_F_VARLEN) {
		if (len <= p->info.payload_size)
			return true;
		tool_error("%s: %zu bytes, %s takes at most %" PRIu64
			   "; create it with a larger --payload",
			   source_where(s), len, hftchan_name(p->ch), p->info.payload_size);
	} else {
		if (len == p->info.payload_size)
			return true;
		tool_error("%s: %zu bytes, %s takes exactly %" PRIu64 "; create it with --varlen",
			   source_where(s), len, hftchan_name(p->ch), p->info.payload_size);
	}
	return false;
}

/* A source's record lives until its next call, so those of a batch are copied. */
static bool add(struct pub *p, const struct record *r)
{
	struct hftchan_msg *m = &p->msgs[p->nr];

	*m = (struct hftchan_msg){ .data = r->data, .len = (uint32_t)r->len };
	if (p->buffer)
		m->data = memcpy(p->buffer + p->nr * p->stride, r->data, r->len);
	p->nr++;
	return p->nr < p->nr_max || (flush(p) && alive(p));
}

/* ---------------------------------------------------------------- pace */

static uint64_t due(struct pub *p, const struct record *r)
{
	if (!p->messages) {
		p->first_time = r->time_ns;
		p->begun = tool_now();
	}
	if (p->pace == PACE_RATE)	/* in two steps, so that nothing overflows */
		return p->begun + p->messages / p->rate * NSEC_PER_SEC +
		       p->messages % p->rate * NSEC_PER_SEC / p->rate;
	/* captures of several interfaces may go back in time: such a packet is due at once */
	return r->time_ns > p->first_time ? p->begun + (r->time_ns - p->first_time) : p->begun;
}

/* Return: it is time; otherwise it is time to end, for which a signal or alive() had a reason. */
static bool wait_until(struct pub *p, uint64_t when)
{
	uint64_t now;

	while ((now = tool_now()) < when) {
		uint64_t until = when - now < TOOL_TICK_NS ? when : now + TOOL_TICK_NS;
		struct timespec ts = {
			.tv_sec = (time_t)(until / NSEC_PER_SEC),
			.tv_nsec = (long)(until % NSEC_PER_SEC),
		};

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
		if (tool_stopped || !alive(p))
			return false;
	}
	return true;
}

/* ---------------------------------------------------------------- the two loops */

static bool send_source(struct pub *p, struct source *s)
{
	enum source_result result = SOURCE_RECORD;
	bool ok = true;
	struct record r;

	while (ok && !tool_stopped && p->messages + p->nr < p->count) {
		/* what is waiting goes out before anything is waited for */
		result = source_next(s, &r, p->nr ? 0 : TOOL_TICK_NS / 1000000);
		if (result == SOURCE_NOTHING)
			ok = flush(p) && alive(p);
		if (result == SOURCE_NOTHING)
			continue;
		if (result != SOURCE_RECORD)
			break;
		ok = fits(p, s, r.len);
		if (ok && p->pace != PACE_FLAT && !wait_until(p, due(p, &r))) {
			ok = tool_stopped;
			break;
		}
		if (ok)
			ok = add(p, &r);
	}
	return flush(p) && ok && result != SOURCE_ERROR;
}

static bool send_udp(struct pub *p, struct udp *u)
{
	uint64_t last = tool_now();
	int n;

	while (!tool_stopped && p->messages < p->count) {
		n = udp_receive(u, p->msgs);
		if (n < 0 && n != -EAGAIN)
			return false;
		if (n == -EAGAIN) {
			if (p->idle_ns && tool_now() - last >= p->idle_ns)
				return true;
		} else {
			/* of a batch that holds more than are wanted, the first ones */
			p->nr = (uint64_t)n < p->count - p->messages ? (unsigned int)n :
				(unsigned int)(p->count - p->messages);
			if (!flush(p))
				return false;
			last = tool_now();
		}
		if (!alive(p))
			return false;
	}
	return true;
}

/* ---------------------------------------------------------------- the command */

enum {
	KEY_PCAP = TOOL_KEY,
	KEY_FRAMED,
	KEY_UDP,
	KEY_IFACE,
	KEY_PACE,
	KEY_COUNT,
	KEY_IDLE,
	KEY_OWNER,
	KEY_TYPE_TAG,
};

static const struct tool_option options[] = {
	{ "pcap", KEY_PCAP, "FILE", "send the UDP payloads of a capture, pcap or pcapng" },
	{ "framed", KEY_FRAMED, "FILE", "send messages, a big-endian 16-bit length before each" },
	{ "udp", KEY_UDP, "ADDR:PORT", "send the datagrams that arrive there, multicast or not" },
	{ "iface", KEY_IFACE, "NAME", "with --udp: network interface; default: as routed" },
	{ "pace", KEY_PACE, "PACE", "flat (default), real (as captured) or messages per second" },
	{ "count", KEY_COUNT, "N", "end after N messages" },
	{ "idle", KEY_IDLE, "SECONDS", "with --udp: end after so long without a datagram" },
	{ "owner", KEY_OWNER, "USER", "whose channel it may be, besides root's; default: yours" },
	{ "type-tag", KEY_TYPE_TAG, "HEX", "insist on a channel of this type" },
	{ "json", 'j', NULL, "print the summary as JSON on standard output" },
	{ NULL, 0, NULL, NULL },
};

static const struct tool_command command = {
	"pub", "NAME", 1, "Send the lines of standard input, or what an option says", options,
};

/* what the command line asks for */
struct request {
	enum source_kind kind;
	const char *path;	/* of the source; NULL: UDP */
	const char *udp;
	const char *iface;
	struct hftchan_expect expect;
	bool json;
};

static void parse_pace(struct pub *p, const char *text)
{
	if (!strcmp(text, "flat")) {
		p->pace = PACE_FLAT;
	} else if (!strcmp(text, "real")) {
		p->pace = PACE_REAL;
	} else if (*text >= '0' && *text <= '9') {
		p->pace = PACE_RATE;
		p->rate = tool_number("pace", text, 1, NSEC_PER_SEC);
	} else {
		tool_bad_value("pace", text,
			       "is neither real, flat nor a rate in messages per second");
	}
}

static void parse_options(struct pub *p, struct request *q, int argc, char **argv)
{
	int key, nr_sources = 0;
	bool paced = false;

	while ((key = tool_getopt(&command, argc, argv)) != -1) {
		switch (key) {
		case KEY_PCAP:
		case KEY_FRAMED:
			q->kind = key == KEY_PCAP ? SOURCE_CAPTURE : SOURCE_FRAMED;
			q->path = optarg;
			nr_sources++;
			break;
		case KEY_UDP:
			q->udp = optarg;
			nr_sources++;
			break;
		case KEY_IFACE:
			q->iface = optarg;
			break;
		case KEY_PACE:
			parse_pace(p, optarg);
			paced = true;
			break;
		case KEY_COUNT:
			p->count = tool_number("count", optarg, 1, HFTCHAN_SEQ_MASK);
			break;
		case KEY_IDLE:
			p->idle_ns = tool_seconds("idle", optarg);
			break;
		case KEY_OWNER:
			q->expect.owner = tool_user("owner", optarg);
			break;
		case KEY_TYPE_TAG:
			q->expect.type_tag = tool_hex("type-tag", optarg);
			q->expect.check_type = 1;
			break;
		case 'j':
			q->json = true;
			break;
		}
	}
	if (nr_sources > 1)
		tool_usage(&command, "only one of --pcap, --framed and --udp");
	if (q->udp && paced)
		tool_usage(&command, "--pace: datagrams have their own");
	if (!q->udp && (q->iface || p->idle_ns))
		tool_usage(&command, "%s is for --udp", q->iface ? "--iface" : "--idle");
	if (p->pace == PACE_REAL && q->kind != SOURCE_CAPTURE)
		tool_usage(&command, "--pace real is for --pcap: nothing else has times");
}

static void make_batch(struct pub *p, const struct request *q)
{
	p->stride = (p->info.payload_size + 63) & ~(size_t)63;
	p->nr_max = BATCH_BYTES / p->stride < BATCH_MAX ? (unsigned int)(BATCH_BYTES / p->stride) :
							 BATCH_MAX;
	if (p->pace != PACE_FLAT || p->nr_max < 2)
		p->nr_max = 1;
	if (p->nr_max > 1 && !q->udp)
		p->buffer = tool_alloc(p->nr_max, p->stride);
	/* sleep for as long as was said, not 50 us longer */
	if (p->pace != PACE_FLAT)
		prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}

static const struct {
	enum packet_kind kind;
	const char *key;
	const char *text;
} skips[] = {
	{ PACKET_OTHER, "not_udp", "not UDP" },
	{ PACKET_FRAGMENT, "fragments", "fragments" },
	{ PACKET_EMPTY, "empty", "empty" },
	{ PACKET_MALFORMED, "malformed", "malformed" },
};

static void summary_json(const struct pub *p, const uint64_t *skipped,
			 const struct udp_counts *counts)
{
	struct json_object *o = json_object_new_object(), *skip;
	size_t i;

	json_object_object_add(o, "name", json_object_new_string(hftchan_name(p->ch)));
	json_object_object_add(o, "epoch", tool_json_number(p->info.epoch));
	json_object_object_add(o, "first_seq", tool_json_number(p->info.epoch_seq));
	json_object_object_add(o, "next_seq", tool_json_number(hftchan_tx_seq(p->tx)));
	json_object_object_add(o, "messages", tool_json_number(p->messages));
	json_object_object_add(o, "bytes", tool_json_number(p->bytes));
	json_object_object_add(o, "seconds",
			       json_object_new_double((double)(p->ended - p->begun) / 1e9));
	if (skipped) {
		skip = json_object_new_object();
		for (i = 0; i < ARRAY_SIZE(skips); i++)
			json_object_object_add(skip, skips[i].key,
					       tool_json_number(skipped[skips[i].kind]));
		json_object_object_add(o, "skipped", skip);
	}
	if (counts) {
		json_object_object_add(o, "refused", tool_json_number(counts->refused));
		json_object_object_add(o, "empty", tool_json_number(counts->empty));
		json_object_object_add(o, "dropped", tool_json_number(counts->dropped));
	}
	tool_print_json(o);
}

static void summary_text(const struct pub *p, const uint64_t *skipped,
			 const struct udp_counts *counts)
{
	char more[256] = "";
	size_t i, len = 0;

	for (i = 0; skipped && i < ARRAY_SIZE(skips); i++)
		if (skipped[skips[i].kind])
			len += (size_t)snprintf(more + len, sizeof(more) - len, "%s%" PRIu64 " %s",
						len ? ", " : "; packets skipped: ",
						skipped[skips[i].kind], skips[i].text);
	if (counts)
		snprintf(more, sizeof(more),
			 "; datagrams refused %" PRIu64 ", empty %" PRIu64
			 ", dropped by the kernel %" PRIu64,
			 counts->refused, counts->empty, counts->dropped);
	tool_note("sent %" PRIu64 " messages, %" PRIu64
		  " bytes in %.3f s to %s%s", p->messages, p->bytes,
		  (double)(p->ended - p->begun) / 1e9, hftchan_name(p->ch), more);
}

int cmd_pub(int argc, char **argv)
{
	struct request q = { .kind = SOURCE_LINES, .path = "-", .expect = HFTCHAN_EXPECT_INIT };
	struct pub p = { .count = UINT64_MAX, .info.size = sizeof(p.info) };
	const struct udp_counts *counts = NULL;
	const uint64_t *skipped = NULL;
	struct source *source = NULL;
	struct udp *udp = NULL;
	bool ok = false;

	parse_options(&p, &q, argc, argv);
	p.ch = tool_open(argv[optind], &q.expect);
	if (!p.ch)
		return TOOL_FAILED;
	if (hftchan_get_info(p.ch, &p.info)) {
		tool_library_error();
		goto out_close;
	}
	/* what can't be read, or heard, takes no role */
	if (q.udp)
		udp = udp_open(q.udp, q.iface, &p.info);
	else
		source = source_open(q.kind, q.path);
	if (!udp && !source)
		goto out_close;
	make_batch(&p, &q);
	tool_catch_signals();
	if (hftchan_attach(p.ch, 0, &p.tx) || hftchan_get_info(p.ch, &p.info)) {
		tool_library_error();
		goto out_close;
	}
	tool_note("sending to %s from seq %" PRIu64 ", epoch %" PRIu64, hftchan_name(p.ch),
		  hftchan_tx_seq(p.tx), p.info.epoch);

	ok = q.udp ? send_udp(&p, udp) : send_source(&p, source);
	if (q.udp)
		counts = udp_counts(udp);
	else if (q.kind == SOURCE_CAPTURE)
		skipped = source_skipped(source);
	if (q.json)
		summary_json(&p, skipped, counts);
	else
		summary_text(&p, skipped, counts);
	/* what should have been sent and was not is a failure; a kernel's drop is only said */
	if (counts && counts->refused) {
		tool_error("%s: %" PRIu64
			   " datagrams did not fit %s; create it with --varlen and a larger --payload",
			   q.udp, counts->refused, hftchan_name(p.ch));
		ok = false;
	}
out_close:
	hftchan_detach(p.tx);
	udp_close(udp);
	source_close(source);
	hftchan_close(p.ch);
	free(p.buffer);
	return ok ? TOOL_OK : TOOL_FAILED;
}
