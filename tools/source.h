/* SPDX-License-Identifier: MIT */
/*
 * Files and streams that hold messages: captures, framed files, lines.
 * Not live datagrams: those are udp.h.
 * The contract is each call's comment; every error is said by the call that meets it.
 */
#ifndef HFTCHAN_SOURCE_H
#define HFTCHAN_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet.h"

enum source_kind {
	SOURCE_LINES,	/* a message is a line without its newline */
	SOURCE_FRAMED,	/* a big-endian 16-bit length before each message */
	SOURCE_CAPTURE,	/* pcap or pcapng: a message is the payload of an UDP packet */
};

/**
 * struct record - one message of a source
 * @data: its bytes, until the next call
 * @len: how many
 * @time_ns: when it was captured; 0 without capture
 */
struct record {
	const unsigned char *data;
	size_t len;
	uint64_t time_ns;
};

struct source;

/* source_open() - @path "-" is standard input. NULL: it can't be read. */
struct source *source_open(enum source_kind kind, const char *path);
void source_close(struct source *s);

enum source_result {
	SOURCE_ERROR = -1,	/* and there will be nothing more */
	SOURCE_END = 0,
	SOURCE_RECORD = 1,
	SOURCE_NOTHING = 2,	/* nothing yet, within the time given; or a signal came */
};

/* source_next() - the next message, waiting for it up to @timeout_ms */
enum source_result source_next(struct source *s, struct record *r, int timeout_ms);

/* source_where() - "FILE: packet 17": what the last record was */
const char *source_where(const struct source *s);

/* source_skipped() - packets so far that hold no message, by kind; all 0 without capture */
const uint64_t *source_skipped(const struct source *s);

/**
 * struct records - all messages of a file
 * @bytes: of all messages, one after the other
 * @ends: where in @bytes each one ends
 * @nr: how many
 */
struct records {
	unsigned char *bytes;
	size_t *ends;
	size_t nr;
	size_t bytes_room;
	size_t ends_room;
};

/* records_load() - read a file whole; a capture by its magic number, anything else is framed */
bool records_load(struct records *all, const char *path);
void records_free(struct records *all);

static inline size_t records_begin(const struct records *all, size_t i)
{
	return i ? all->ends[i - 1] : 0;
}

#endif /* HFTCHAN_SOURCE_H */
