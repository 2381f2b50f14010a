// SPDX-License-Identifier: MIT
/*
 * sub: receives, to print or to compare with what was sent.
 * It reads no formats: that is source.c.
 * The contract is hftchan(1).
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

#include "source.h"
#include "tool.h"

#define BATCH_MAX	256
#define BATCH_BYTES	(4 << 20)
#define OUTPUT_BYTES	(1 << 20)
/* \xNN for each byte, or two digits and a seq; and a newline */
#define TEXT_BYTES(len)	(4 * (size_t)(len) + 24)

enum output {
	OUTPUT_DEFAULT,	/* print, but quiet when verifying or with JSON */
	OUTPUT_PRINT,
	OUTPUT_HEX,
	OUTPUT_RAW,
	OUTPUT_QUIET,
};

/* enum ending - why the receiver goes */
enum ending {
	NOT_YET,
	COMPLETE,	/* all that was asked for */
	SENDER_GONE,
	STOPPED,	/* by a signal */
	FAILED,		/* what went wrong has been said */
};

/**
 * struct sub - the receiver at work
 * @all: what to compare with, nr 0: nothing
 * @path: where it is from
 * @end: seq of the last record of @all in this pass of the sender; without @all the largest one
 * @count: end after so many messages
 * @timeout_ns: give up after so long without one, 0: never
 * @msgs: batch
 * @nr_max: messages in it
 * @stride: bytes for each at @buffer
 * @out: what is to be printed, @out_used bytes of the @out_room there
 * @deaths: senders known to have died
 * @first: seq joined at
 * @next: seq expected next; what lies between the two was received or lost
 */
struct sub {
	struct hftchan *ch;
	struct hftchan_rx *rx;
	struct hftchan_info info;
	struct records all;
	const char *path;
	enum output output;
	bool allow_lost;
	bool follow;
	uint64_t end;
	uint64_t count;
	uint64_t timeout_ns;
	struct hftchan_msg msgs[BATCH_MAX];
	unsigned int nr_max;
	size_t stride;
	unsigned char *buffer;
	char *out;
	size_t out_used;
	size_t out_room;
	bool json;
	uint64_t deaths;
	uint64_t first;
	uint64_t next;
	uint64_t received;
	uint64_t bytes;
	uint64_t lost;
	uint64_t altered;
	uint64_t next_note;
};

/* ---------------------------------------------------------------- output */

/*
 * All of it, also when a signal comes meanwhile: what is counted as received has been printed. A
 * second signal gives up a reader that takes nothing. Not by stdio, which drops what it holds.
 */
static bool flush_out(struct sub *s)
{
	size_t done = 0;
	ssize_t n;

	while (done < s->out_used) {
		n = write(STDOUT_FILENO, s->out + done, s->out_used - done);
		if (n >= 0) {
			done += (size_t)n;
		} else if (errno != EINTR || tool_stopped > 1) {
			tool_output_error = errno;
			s->out_used = 0;
			return false;
		}
	}
	s->out_used = 0;
	return true;
}

/* Room for @len more bytes at the end of what is to be printed; NULL: output has failed. */
static char *room_for(struct sub *s, size_t len)
{
	if (s->out_used + len > s->out_room && !flush_out(s))
		return NULL;
	return s->out + s->out_used;
}

/* Nobody will read what there may be to write: found out while there is nothing to write. */
static bool reader_gone(const struct sub *s)
{
	struct pollfd p = { STDOUT_FILENO, 0, 0 };

	if ((s->output == OUTPUT_QUIET && !s->json) || poll(&p, 1, 0) <= 0 ||
	    !(p.revents & POLLERR))
		return false;
	tool_output_error = EPIPE;
	return true;
}

static char *put_hex(char *to, unsigned char byte)
{
	static const char digits[] = "0123456789abcdef";

	*to++ = digits[byte >> 4];
	*to++ = digits[byte & 15];
	return to;
}

/* Bytes of the character at @p that may be printed as it is, 0: it is a control, or no UTF-8. */
static size_t printable(const unsigned char *p, size_t len)
{
	mbstate_t state = { 0 };
	wchar_t wide;
	size_t n;

	if (*p < 0x80)
		return (*p >= ' ' && *p != 127) || *p == '\t';
	n = mbrtowc(&wide, (const char *)p, len, &state);
	return n <= len && !iswcntrl((wint_t)wide) ? n : 0;
}

/* text as it is; what could move the cursor of a terminal as \xNN */
static char *put_text(char *to, const unsigned char *p, size_t len)
{
	size_t n;

	for (; len; p += n, len -= n) {
		n = printable(p, len);
		if (n) {
			to = mempcpy(to, p, n);
		} else {
			to = put_hex(mempcpy(to, "\\x", 2), *p);
			n = 1;
		}
	}
	return to;
}

static bool output(struct sub *s, const struct hftchan_msg *m)
{
	const unsigned char *p = m->data;
	char *to;
	uint32_t i;

	if (s->output == OUTPUT_QUIET)
		return true;
	to = room_for(s, s->output == OUTPUT_RAW ? m->len : TEXT_BYTES(m->len));
	if (!to)
		return false;
	if (s->output == OUTPUT_RAW) {
		to = mempcpy(to, p, m->len);
	} else {
		if (s->output == OUTPUT_HEX) {
			to += sprintf(to, "%" PRIu64 " ", m->seq);
			for (i = 0; i < m->len; i++)
				to = put_hex(to, p[i]);
		} else {
			to = put_text(to, p, m->len);
		}
		*to++ = '\n';
	}
	s->out_used = (size_t)(to - s->out);
	return true;
}

/* ---------------------------------------------------------------- what was received */

/* Compare with the record that has this seq; the first difference is said. */
static void verify(struct sub *s, const struct hftchan_msg *m)
{
	size_t i = (size_t)((m->seq - s->info.first_seq) % s->all.nr), at = 0;
	const unsigned char *want = s->all.bytes + records_begin(&s->all, i), *got = m->data;
	size_t len = s->all.ends[i] - records_begin(&s->all, i);

	if (len == m->len && (!len || !memcmp(got, want, len)))
		return;
	if (s->altered++)
		return;
	while (at < len && at < m->len && got[at] == want[at])
		at++;
	tool_error("%s: seq %" PRIu64
		   " is not message %zu of %s: %u bytes, should be %zu; they differ from byte %zu on",
		   hftchan_name(s->ch), m->seq, i + 1, s->path, m->len, len, at);
}

/* All up to @seq, which is not one of them, was lost. */
static void lose(struct sub *s, uint64_t seq)
{
	if (seq > s->end)
		seq = s->end + 1;
	if (seq <= s->next)
		return;
	s->lost += seq - s->next;
	s->next = seq;
	if (tool_now_and_then(&s->next_note))
		tool_error("%s: lost %" PRIu64 " messages so far, the last before seq %" PRIu64
			   "; a larger ring or a faster reader keeps them",
			   hftchan_name(s->ch), s->lost, seq);
}

static enum ending take(struct sub *s, unsigned int nr)
{
	bool written = true;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		const struct hftchan_msg *m = &s->msgs[i];

		/* what the library counted must be what the numbers say */
		if (m->seq != s->next + m->lost) {
			tool_error("%s: seq %" PRIu64 " came after %" PRIu64
				   " with a count of %" PRIu64
				   " lost; please report this",
				   hftchan_name(s->ch), m->seq, s->next - 1, m->lost);
			return FAILED;
		}
		lose(s, m->seq);
		if (m->seq > s->end)
			return COMPLETE;
		s->next = m->seq + 1;
		s->received++;
		s->bytes += m->len;
		if (s->all.nr)
			verify(s, m);
		/* if not, received they are all the same */
		written = written && output(s, m);
	}
	if (!written)
		return FAILED;
	return s->next > s->end || s->received == s->count ? COMPLETE : NOT_YET;
}

/* ---------------------------------------------------------------- the loop */

static enum ending sender_gone(struct sub *s)
{
	struct hftchan_info info = { .size = sizeof(info) };
	uint64_t deaths = s->deaths, epoch = 0;

	if (!hftchan_get_info(s->ch, &info)) {
		/* a successor, if there is one by now, has counted the death */
		deaths = info.nr_deaths + (info.sender_state == HFTCHAN_SENDER_DIED);
		epoch = info.epoch - (info.sender_state == HFTCHAN_SENDER_ATTACHED);
	}
	tool_note("%s: the sender of epoch %" PRIu64 " %s; all it sent has been read%s",
		  hftchan_name(s->ch), epoch, deaths > s->deaths ? "died" : "has gone",
		  s->follow ? ", waiting for the next" : "");
	s->deaths = deaths;
	return s->follow ? NOT_YET : SENDER_GONE;
}

static unsigned int wanted(const struct sub *s)
{
	uint64_t left = s->count - s->received;

	return left < s->nr_max ? (unsigned int)left : s->nr_max;
}

static enum ending receive(struct sub *s)
{
	uint64_t last = tool_now();
	enum ending ending = NOT_YET;

	while (ending == NOT_YET) {
		int n = hftchan_try_recv_batch(s->rx, s->buffer, s->stride, s->msgs, wanted(s));

		if (n == -EAGAIN) {	/* nothing to do: a good time to let out what is there */
			if (!flush_out(s))
				return FAILED;
			n = hftchan_recv_batch(s->rx, s->buffer, s->stride, s->msgs, wanted(s));
		}
		if (n > 0) {
			ending = take(s, (unsigned int)n);
			if (s->timeout_ns)
				last = tool_now();
		} else if (n == -EPIPE) {
			ending = sender_gone(s);
		} else if (n == -ENODEV) {
			tool_error("%s: destroyed; all that was sent has been read",
				   hftchan_name(s->ch));
			return FAILED;
		} else if (n != -ETIMEDOUT) {
			tool_error("%s: corrupted near seq %" PRIu64
				   "; hftchan check tells more, destroy it and make it again",
				   hftchan_name(s->ch), hftchan_rx_seq(s->rx));
			return FAILED;
		}
		if (ending != NOT_YET)
			break;
		/* a lap may have gone past the end, with nothing behind it to tell so */
		if (hftchan_rx_seq(s->rx) > s->end)
			return COMPLETE;
		if (tool_stopped)
			return STOPPED;
		if (n == -ETIMEDOUT && reader_gone(s))
			return FAILED;
		if (n < 0 && s->timeout_ns && tool_now() - last >= s->timeout_ns) {
			tool_error(
				"%s: nothing received for %.3g s; is there a sender? see: hftchan show",
				hftchan_name(s->ch), (double)s->timeout_ns / 1e9);
			return FAILED;
		}
	}
	return ending;
}

/* ---------------------------------------------------------------- the command */

enum {
	KEY_JOIN = TOOL_KEY,
	KEY_COUNT,
	KEY_VERIFY,
	KEY_ALLOW_LOST,
	KEY_PRINT,	/* these four in the order of enum output */
	KEY_HEX,
	KEY_RAW,
	KEY_QUIET,
	KEY_FOLLOW,
	KEY_WAIT,
	KEY_TIMEOUT,
	KEY_OWNER,
	KEY_TYPE_TAG,
};

static const struct tool_option options[] = {
	{ "join", KEY_JOIN, "WHERE", "last, next (default), oldest, or a seq" },
	{ "count", KEY_COUNT, "N", "end after N messages" },
	{ "verify", KEY_VERIFY, "FILE", "compare with a capture or framed file until its end" },
	{ "allow-lost", KEY_ALLOW_LOST, NULL, "with --verify: counted losses are no failure" },
	{ "print", KEY_PRINT, NULL, "one line per message (default)" },
	{ "hex", KEY_HEX, NULL, "one line per message: seq and bytes in hexadecimal" },
	{ "raw", KEY_RAW, NULL, "the bytes of the messages and nothing else" },
	{ "quiet", KEY_QUIET, NULL, "no messages (default with --verify and --json)" },
	{ "follow", KEY_FOLLOW, NULL, "when the sender has gone wait for the next one" },
	{ "wait", KEY_WAIT, "HOW", "spin (fastest, burns a core) or yield (default)" },
	{ "timeout", KEY_TIMEOUT, "SECONDS", "give up after so long without a message" },
	{ "owner", KEY_OWNER, "USER", "whose channel it may be, besides root's; default: yours" },
	{ "type-tag", KEY_TYPE_TAG, "HEX", "insist on a channel of this type" },
	{ "json", 'j', NULL, "print the summary as JSON on standard output" },
	{ NULL, 0, NULL, NULL },
};

static const struct tool_command command = {
	"sub", "NAME", 1, "Receive messages and print them, or verify them against a file", options,
};

/* what the command line asks for */
struct request {
	enum hftchan_join_at at;
	uint64_t seq;
	enum hftchan_wait_mode wait;
	struct hftchan_expect expect;
};

static void parse_join(struct request *q, const char *text)
{
	if (!strcmp(text, "last")) {
		q->at = HFTCHAN_JOIN_LAST;
	} else if (!strcmp(text, "next")) {
		q->at = HFTCHAN_JOIN_NEXT;
	} else if (!strcmp(text, "oldest")) {
		q->at = HFTCHAN_JOIN_OLDEST;
	} else if (*text >= '0' && *text <= '9') {
		q->at = HFTCHAN_JOIN_SEQ;
		q->seq = tool_number("join", text, 1, HFTCHAN_SEQ_MASK);
	} else {
		tool_bad_value("join", text, "is neither last, next, oldest nor a seq");
	}
}

static void parse_options(struct sub *s, struct request *q, int argc, char **argv)
{
	int key;

	while ((key = tool_getopt(&command, argc, argv)) != -1) {
		switch (key) {
		case KEY_JOIN:
			parse_join(q, optarg);
			break;
		case KEY_COUNT:
			s->count = tool_number("count", optarg, 1, HFTCHAN_SEQ_MASK);
			break;
		case KEY_VERIFY:
			s->path = optarg;
			break;
		case KEY_ALLOW_LOST:
			s->allow_lost = true;
			break;
		case KEY_PRINT:
		case KEY_HEX:
		case KEY_RAW:
		case KEY_QUIET:
			if (s->output != OUTPUT_DEFAULT)
				tool_usage(&command,
					   "only one of --print, --hex, --raw and --quiet");
			s->output = (enum output)(OUTPUT_PRINT + (key - KEY_PRINT));
			break;
		case KEY_FOLLOW:
			s->follow = true;
			break;
		case KEY_WAIT:
			if (strcmp(optarg, "spin") && strcmp(optarg, "yield"))
				tool_bad_value("wait", optarg, "is neither spin nor yield");
			q->wait = strcmp(optarg, "spin") ? HFTCHAN_WAIT_YIELD : HFTCHAN_WAIT_SPIN;
			break;
		case KEY_TIMEOUT:
			s->timeout_ns = tool_seconds("timeout", optarg);
			break;
		case KEY_OWNER:
			q->expect.owner = tool_user("owner", optarg);
			break;
		case KEY_TYPE_TAG:
			q->expect.type_tag = tool_hex("type-tag", optarg);
			q->expect.check_type = 1;
			break;
		case 'j':
			s->json = true;
			break;
		}
	}
	if (s->allow_lost && !s->path)
		tool_usage(&command, "--allow-lost is for --verify");
	if (s->json && s->output != OUTPUT_DEFAULT && s->output != OUTPUT_QUIET)
		tool_usage(&command, "--json and messages would share standard output");
	if (s->output == OUTPUT_DEFAULT)
		s->output = s->path || s->json ? OUTPUT_QUIET : OUTPUT_PRINT;
}

/* All memory there will be. */
static void make_buffers(struct sub *s)
{
	s->stride = (s->info.payload_size + 63) & ~(size_t)63;
	s->nr_max = BATCH_BYTES / s->stride < BATCH_MAX ? (unsigned int)(BATCH_BYTES / s->stride) :
							 BATCH_MAX;
	if (!s->nr_max)
		s->nr_max = 1;
	s->buffer = tool_alloc(s->nr_max, s->stride);
	if (s->output == OUTPUT_QUIET)
		return;
	s->out_room = OUTPUT_BYTES + TEXT_BYTES(s->info.payload_size);
	s->out = tool_alloc(1, s->out_room);
}

static bool join(struct sub *s, const struct request *q)
{
	uint64_t tick = TOOL_TICK_NS;

	if (s->timeout_ns && s->timeout_ns < tick)
		tick = s->timeout_ns;
	if (hftchan_join(s->ch, q->at, q->seq, &s->rx) ||
	    hftchan_rx_set_wait(s->rx, q->wait, tick)) {
		tool_library_error();
		return false;
	}
	s->deaths = s->info.nr_deaths;
	s->first = hftchan_rx_seq(s->rx);
	s->next = s->first;
	s->end = HFTCHAN_SEQ_MASK;
	if (s->all.nr)
		s->end = s->first + (s->all.nr - 1 - (s->first - s->info.first_seq) % s->all.nr);
	tool_note("joined %s at seq %" PRIu64, hftchan_name(s->ch), s->first);
	return true;
}

static void summary_json(const struct sub *s, uint64_t missing)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(hftchan_name(s->ch)));
	json_object_object_add(o, "first_seq", tool_json_number(s->first));
	json_object_object_add(o, "last_seq", tool_json_number(s->next - 1));
	json_object_object_add(o, "received", tool_json_number(s->received));
	json_object_object_add(o, "bytes", tool_json_number(s->bytes));
	json_object_object_add(o, "lost", tool_json_number(s->lost));
	if (s->all.nr) {
		json_object_object_add(o, "verify", json_object_new_string(s->path));
		json_object_object_add(o, "file_messages", tool_json_number(s->all.nr));
		json_object_object_add(o, "altered", tool_json_number(s->altered));
		json_object_object_add(o, "missing", tool_json_number(missing));
	}
	tool_print_json(o);
}

static void summary_text(const struct sub *s, uint64_t missing)
{
	char more[160] = "";

	if (s->all.nr)
		snprintf(more, sizeof(more), "; altered %" PRIu64 ", missing %" PRIu64 " of %zu",
			 s->altered, missing, s->all.nr);
	tool_note("received %" PRIu64 " messages, %" PRIu64 " bytes from %s, seq %" PRIu64
		  " to %" PRIu64
		  "; lost %" PRIu64 "%s%s%s",
		  s->received, s->bytes, hftchan_name(s->ch), s->first, s->next - 1, s->lost, more,
		  s->all.nr ? " in " : "", s->all.nr ? s->path : "");
}

/* The summary, and what it means for the exit status. */
static bool conclude(struct sub *s, enum ending ending)
{
	uint64_t missing = 0;

	if (!flush_out(s))
		ending = FAILED;
	lose(s, hftchan_rx_seq(s->rx));	/* a lap behind which nothing came */
	/* who asks for some messages only does not miss the others */
	if (s->all.nr && s->received < s->count)
		missing = s->end + 1 - s->next;
	if (s->json && !tool_output_error)
		summary_json(s, missing);
	else
		summary_text(s, missing);
	if (ending == FAILED)
		return false;
	if (!s->all.nr || (!missing && !s->altered && (!s->lost || s->allow_lost)))
		return true;
	tool_error("%s: not what %s holds: %" PRIu64 " altered, %" PRIu64 " missing, %" PRIu64
		   " lost",
		   hftchan_name(s->ch), s->path, s->altered, missing, s->lost);
	return false;
}

int cmd_sub(int argc, char **argv)
{
	struct request q = {
		.at = HFTCHAN_JOIN_NEXT,
		.wait = HFTCHAN_WAIT_YIELD,
		.expect = HFTCHAN_EXPECT_INIT,
	};
	struct sub s = { .count = UINT64_MAX, .info.size = sizeof(s.info) };
	bool ok = false;

	parse_options(&s, &q, argc, argv);
	tool_catch_signals();
	setlocale(LC_CTYPE, "C.UTF-8");	/* for printable(), whatever the user has */
	s.ch = tool_open(argv[optind], &q.expect);
	if (!s.ch)
		return TOOL_FAILED;
	if (hftchan_get_info(s.ch, &s.info)) {
		tool_library_error();
		goto out_close;
	}
	/* the file first: who joins and then reads a file has lost messages meanwhile */
	if (s.path && !records_load(&s.all, s.path))
		goto out_close;
	make_buffers(&s);
	if (join(&s, &q))
		ok = conclude(&s, receive(&s));
out_close:
	hftchan_leave(s.rx);
	hftchan_close(s.ch);
	records_free(&s.all);
	free(s.buffer);
	free(s.out);
	return ok ? TOOL_OK : TOOL_FAILED;
}
