// SPDX-License-Identifier: MIT
/*
 * Reading of messages from files and streams, without delaying one that is there already.
 * It knows no channel.
 * The contract is source.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pcap/pcap.h>

#include "source.h"
#include "tool.h"

#define BUFFER_BYTES	(256 * 1024)

/**
 * struct source - one that is being read
 * @kind: how
 * @name: for messages
 * @fd: where from
 * @number: of the packet, record or line in hand, from 1
 * @buffer: lines and frames: what was read, of which @start to @end is not yet used
 * @room: bytes at @buffer
 * @scanned: lines: bytes from @start that hold no newline
 * @at_end: there is no more to read
 * @pcap: captures
 * @is_stream: captures: not a file, so that reading may have to wait
 * @skipped: captures: packets that hold no message
 */
struct source {
	enum source_kind kind;
	const char *name;
	int fd;
	uint64_t number;
	unsigned char *buffer;
	size_t room;
	size_t start;
	size_t end;
	size_t scanned;
	bool at_end;
	pcap_t *pcap;
	bool is_stream;
	uint64_t skipped[PACKET_NR_KINDS];
	char where[512];
};

static bool is_stdin(const char *path)
{
	return !strcmp(path, "-");
}

static bool open_capture(struct source *s, const char *path)
{
	char error[PCAP_ERRBUF_SIZE] = "";
	struct stat st;
	FILE *file = is_stdin(path) ? stdin : fopen(path, "re");
	int link_type;

	if (!file) {
		tool_error("%s: can't be opened: %s", s->name, strerror(errno));
		return false;
	}
	s->fd = fileno(file);
	s->is_stream = fstat(s->fd, &st) || !S_ISREG(st.st_mode);
	if (s->is_stream)
		setvbuf(file, NULL, _IONBF, 0);	/* so that poll() knows what is there */
	s->pcap = pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_NANO, error);
	if (!s->pcap) {
		tool_error("%s: no capture: %s; pcap and pcapng can be read", s->name, error);
		if (file != stdin)
			fclose(file);
		return false;
	}
	link_type = pcap_datalink(s->pcap);
	if (!packet_link_known(link_type)) {
		const char *name = pcap_datalink_val_to_name(link_type);

		tool_error(
			"%s: link type %s (%d) can't be read; Ethernet, Linux cooked, raw IP and loopback can",
			s->name, name ? name : "unknown", link_type);
		return false;
	}
	return true;
}

static bool open_stream(struct source *s, const char *path)
{
	struct stat st;

	s->fd = is_stdin(path) ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	if (s->fd < 0) {
		tool_error("%s: can't be opened: %s", s->name, strerror(errno));
		return false;
	}
	if (!fstat(s->fd, &st) && S_ISDIR(st.st_mode)) {
		tool_error("%s: a directory; give a file", s->name);
		close(s->fd);
		return false;
	}
	/* found out before a role is taken for it */
	if ((fcntl(s->fd, F_GETFL) & O_ACCMODE) == O_WRONLY) {
		tool_error("%s: can't be read: it is closed, or open for writing only", s->name);
		return false;
	}
	s->room = BUFFER_BYTES;
	s->buffer = tool_alloc(1, s->room);
	return true;
}

struct source *source_open(enum source_kind kind, const char *path)
{
	struct source *s = tool_alloc(1, sizeof(*s));

	s->kind = kind;
	s->name = is_stdin(path) ? "standard input" : *path ? path : "\"\"";
	s->fd = -1;
	if (kind == SOURCE_CAPTURE ? open_capture(s, path) : open_stream(s, path))
		return s;
	source_close(s);
	return NULL;
}

void source_close(struct source *s)
{
	if (!s)
		return;
	if (s->pcap)
		pcap_close(s->pcap);
	else if (s->buffer && s->fd != STDIN_FILENO)
		close(s->fd);
	free(s->buffer);
	free(s);
}

const char *source_where(const struct source *s)
{
	return s->where;
}

const uint64_t *source_skipped(const struct source *s)
{
	return s->skipped;
}

/* The next record is in hand: count and name it. */
static void next_number(struct source *s)
{
	static const char *const what[] = { "line", "record", "packet" };

	s->number++;
	snprintf(s->where, sizeof(s->where), "%s: %s %" PRIu64, s->name, what[s->kind], s->number);
}

static bool readable(const struct source *s, int timeout_ms)
{
	struct pollfd p = { s->fd, POLLIN, 0 };

	return poll(&p, 1, timeout_ms) > 0;
}

/* ---------------------------------------------------------------- captures */

static enum source_result next_packet(struct source *s, struct record *r, int timeout_ms)
{
	struct pcap_pkthdr *h;
	const unsigned char *bytes;
	enum packet_kind kind;
	const char *what;

	for (;;) {
		if (s->is_stream && !readable(s, timeout_ms))
			return SOURCE_NOTHING;
		switch (pcap_next_ex(s->pcap, &h, &bytes)) {
		case 1:
			break;
		case PCAP_ERROR_BREAK:
			return SOURCE_END;
		default:
			if (tool_stopped)
				return SOURCE_NOTHING;
			next_number(s);
			what = pcap_geterr(s->pcap);
			tool_error("%s: %s; %s", s->where, what,
				   strncmp(what, "an interface has", 16) ?
				   "capture or copy the file again" :
				   "libpcap reads only interfaces of one link type and one snapshot length: capture or merge them so");
			return SOURCE_ERROR;
		}
		next_number(s);
		kind = packet_payload(pcap_datalink(s->pcap), bytes, h->caplen, h->len, &r->data,
				      &r->len);
		if (kind == PACKET_CUT) {
			tool_error(
				"%s: cut by the capture to %u of %u bytes; capture with snaplen 0",
				s->where, h->caplen, h->len);
			return SOURCE_ERROR;
		}
		if (kind == PACKET_UDP) {
			/* the precision asked for puts nanoseconds there */
			r->time_ns = (uint64_t)h->ts.tv_sec * NSEC_PER_SEC +
				     (uint64_t)h->ts.tv_usec;
			return SOURCE_RECORD;
		}
		s->skipped[kind]++;
	}
}

/* ---------------------------------------------------------------- lines and frames */

/* Is a whole message in the buffer? Then @skip bytes are before it and @behind after it. */
static bool find(struct source *s, size_t *skip, size_t *len, size_t *behind)
{
	const unsigned char *p = s->buffer + s->start, *newline;
	size_t have = s->end - s->start;

	if (s->kind == SOURCE_FRAMED) {
		*skip = 2;
		*behind = 0;
		if (have < 2)
			return false;
		*len = (size_t)p[0] << 8 | p[1];
		return have >= 2 + *len;
	}
	*skip = 0;
	*behind = 1;
	newline = memchr(p + s->scanned, '\n', have - s->scanned);
	s->scanned = have;
	if (newline) {
		*len = (size_t)(newline - p);
		return true;
	}
	if (s->at_end && have) {	/* the last line lacks its newline */
		*len = have;
		*behind = 0;
		return true;
	}
	return false;
}

/* Read more behind what is there. Return: SOURCE_RECORD: look again. */
static enum source_result fill(struct source *s, int timeout_ms)
{
	ssize_t n;

	if (s->start) {
		memmove(s->buffer, s->buffer + s->start, s->end - s->start);
		s->end -= s->start;
		s->start = 0;
	}
	if (s->end == s->room) {
		unsigned char *more = NULL;

		if (s->room <= HFTCHAN_PAYLOAD_MAX)
			more = realloc(s->buffer, 2 * s->room);
		if (!more) {
			next_number(s);
			tool_error("%s: longer than any message can be", s->where);
			return SOURCE_ERROR;
		}
		s->buffer = more;
		s->room *= 2;
	}
	if (!readable(s, timeout_ms))
		return SOURCE_NOTHING;
	n = read(s->fd, s->buffer + s->end, s->room - s->end);
	if (n < 0) {
		if (errno == EINTR || errno == EAGAIN)
			return SOURCE_NOTHING;
		tool_error("%s: can't be read: %s", s->name, strerror(errno));
		return SOURCE_ERROR;
	}
	s->at_end = !n;
	s->end += (size_t)n;
	return SOURCE_RECORD;
}

static enum source_result next_in_stream(struct source *s, struct record *r, int timeout_ms)
{
	size_t skip = 0, len = 0, behind = 0;

	while (!find(s, &skip, &len, &behind)) {
		enum source_result result;

		if (s->at_end && s->end > s->start) {
			next_number(s);
			tool_error(
				"%s: the file ends within it, at %zu of %zu bytes; copy the file again",
				s->where, s->end - s->start, skip + len);
			return SOURCE_ERROR;
		}
		if (s->at_end)
			return SOURCE_END;
		result = fill(s, timeout_ms);
		if (result != SOURCE_RECORD)
			return result;
	}
	next_number(s);
	*r = (struct record){ .data = s->buffer + s->start + skip, .len = len };
	s->start += skip + len + behind;
	s->scanned = 0;
	return SOURCE_RECORD;
}

enum source_result source_next(struct source *s, struct record *r, int timeout_ms)
{
	return s->kind == SOURCE_CAPTURE ? next_packet(s, r, timeout_ms) :
					   next_in_stream(s, r, timeout_ms);
}

/* ---------------------------------------------------------------- whole files */

/* Which kind is it? Only files: what a pipe gave to be looked at is gone. */
static bool detect(const char *path, enum source_kind *kind)
{
	uint32_t magic = 0;
	struct stat st;
	int fd;

	if (is_stdin(path)) {
		tool_error("standard input: not a file; only a file can be verified against");
		return false;
	}
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);	/* a FIFO is not waited for */
	if (fd < 0 || fstat(fd, &st)) {
		tool_error("%s: can't be opened: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return false;
	}
	if (!S_ISREG(st.st_mode)) {
		tool_error("%s: not a file; only a file can be verified against", path);
		close(fd);
		return false;
	}
	*kind = SOURCE_FRAMED;
	if (read(fd, &magic, sizeof(magic)) == sizeof(magic)) {
		static const uint32_t captures[] = {
			0x0a0d0d0a,		/* pcapng */
			0xa1b2c3d4, 0xd4c3b2a1,	/* pcap, microseconds */
			0xa1b23c4d, 0x4d3cb2a1,	/* pcap, nanoseconds */
			0xa1b2cd34, 0x34cdb2a1,	/* pcap, as an old libpcap had it modified */
		};
		size_t i;

		for (i = 0; i < ARRAY_SIZE(captures); i++)
			if (magic == captures[i])
				*kind = SOURCE_CAPTURE;
	}
	close(fd);
	return true;
}

/* Room for @need elements at *@array, doubled as needed. */
static void *grow(void *array, size_t *room, size_t need, size_t size)
{
	size_t want = *room ? *room : 4096;

	if (need <= *room)
		return array;
	while (want < need)
		want *= 2;
	array = reallocarray(array, want, size);
	if (!array) {
		tool_error("%zu bytes: no memory", want * size);
		exit(TOOL_FAILED);
	}
	*room = want;
	return array;
}

bool records_load(struct records *all, const char *path)
{
	enum source_result result;
	enum source_kind kind;
	struct source *s;
	struct record r;
	size_t used = 0;

	*all = (struct records){ 0 };
	if (!detect(path, &kind))
		return false;
	s = source_open(kind, path);
	if (!s)
		return false;
	while ((result = source_next(s, &r, -1)) == SOURCE_RECORD && !tool_stopped) {
		all->bytes = grow(all->bytes, &all->bytes_room, used + r.len, 1);
		all->ends = grow(all->ends, &all->ends_room, all->nr + 1, sizeof(*all->ends));
		if (r.len)
			memcpy(all->bytes + used, r.data, r.len);
		used += r.len;
		all->ends[all->nr++] = used;
	}
	source_close(s);
	if (tool_stopped && result != SOURCE_ERROR) {
		tool_error("%s: stopped by a signal while it was read", path);
		result = SOURCE_ERROR;
	}
	if (result == SOURCE_END && !all->nr) {
		tool_error("%s: holds no message", path);
		result = SOURCE_ERROR;
	}
	if (result == SOURCE_END)
		return true;
	records_free(all);
	return false;
}

void records_free(struct records *all)
{
	free(all->bytes);
	free(all->ends);
	*all = (struct records){ 0 };
}
