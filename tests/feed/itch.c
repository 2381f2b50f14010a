// SPDX-License-Identifier: MIT
/*
 * itch.c - lays out ITCH 5.0 messages and packs them into MoldUDP64 packets.
 * Not a check of their sense: what may be said of which order is book.c's business.
 * The contract is in itch.h.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "itch.h"

#define MOLD_FLUSH_NS		(20 * NS_PER_US)
#define MOLD_HEARTBEAT_NS	NS_PER_SEC
#define MOLD_END_OF_SESSION	0xffff
#define MOLD_END_GAP_NS		NS_PER_MS
/* the block length and the largest message, NOII */
#define ITCH_BLOCK_MAX		(2 + 50)

/* ---- MoldUDP64 ---------------------------------------------------------------------------- */

static void store_be(uint8_t *to, uint64_t value, unsigned int size)
{
	while (size--) {
		to[size] = (uint8_t)value;
		value >>= 8;
	}
}

void mold_init(struct mold *mold, uint64_t session, uint64_t start_ns)
{
	char text[21];

	*mold = (struct mold){
		.max_messages = UINT64_MAX,
		.max_packets = UINT64_MAX,
		.next_seq = 1,
		.last_ns = start_ns,
		.sent_ns = start_ns,
		.size = MOLD_HEADER_SIZE,
	};
	snprintf(text, sizeof(text), "%0*" PRIu64, MOLD_SESSION_SIZE, session);
	memcpy(mold->packet, text + strlen(text) - MOLD_SESSION_SIZE, MOLD_SESSION_SIZE);
}

bool mold_full(const struct mold *mold)
{
	return mold->messages >= mold->max_messages || mold->packets >= mold->max_packets;
}

static void mold_send(struct mold *mold, uint64_t time_ns, unsigned int count)
{
	store_be(mold->packet + MOLD_SESSION_SIZE, mold->next_seq, 8);
	store_be(mold->packet + MOLD_SESSION_SIZE + 8, count, 2);
	mold->send(mold->arg, time_ns, mold->packet, mold->size);

	mold->packets++;
	mold->bytes += mold->size;
	mold->sent_ns = time_ns;
	mold->next_seq += mold->count;
	mold->count = 0;
	mold->size = MOLD_HEADER_SIZE;
}

static void mold_heartbeats(struct mold *mold, uint64_t time_ns)
{
	while (time_ns - mold->sent_ns >= MOLD_HEARTBEAT_NS && mold->packets < mold->max_packets) {
		mold_send(mold, mold->sent_ns + MOLD_HEARTBEAT_NS, 0);
		mold->heartbeats++;
	}
}

void mold_end_of_session(struct mold *mold)
{
	if (mold->count)
		mold_send(mold, mold->first_ns + MOLD_FLUSH_NS, mold->count);
	mold_send(mold, mold->sent_ns + MOLD_END_GAP_NS, MOLD_END_OF_SESSION);
}

/* ---- one message: opened with the fields that all have, filled, put ------------------------- */

struct message {
	uint64_t time_ns;
	size_t size;
	uint8_t bytes[ITCH_BLOCK_MAX];	/* with the block's length in front */
};

static void put_number(struct message *msg, uint64_t value, unsigned int size)
{
	assert(msg->size + size <= sizeof(msg->bytes));
	store_be(msg->bytes + msg->size, value, size);
	msg->size += size;
}

static void put_text(struct message *msg, const char *text, unsigned int size)
{
	assert(msg->size + size <= sizeof(msg->bytes));
	memcpy(msg->bytes + msg->size, text, size);
	msg->size += size;
}

static void put_char(struct message *msg, char c)
{
	put_number(msg, (unsigned char)c, 1);
}

static struct message message_open(char type, const struct itch_stock *stock, uint64_t time_ns)
{
	struct message msg = { .time_ns = time_ns, .size = 2 };

	put_char(&msg, type);
	put_number(&msg, stock->locate, 2);
	put_number(&msg, 0, 2);		/* tracking number: internal to the exchange */
	put_number(&msg, time_ns, 6);
	return msg;
}

/* false: the feed is full, and the message was left out */
static bool message_put(struct mold *mold, struct message *msg)
{
	assert(msg->time_ns >= mold->last_ns);

	if (mold_full(mold))
		return false;
	if (mold->count && msg->time_ns > mold->first_ns + MOLD_FLUSH_NS)
		mold_send(mold, mold->first_ns + MOLD_FLUSH_NS, mold->count);
	else if (mold->size + msg->size > sizeof(mold->packet))
		mold_send(mold, mold->last_ns, mold->count);
	mold_heartbeats(mold, msg->time_ns);
	if (mold_full(mold))
		return false;

	store_be(msg->bytes, msg->size - 2, 2);
	memcpy(mold->packet + mold->size, msg->bytes, msg->size);
	if (!mold->count)
		mold->first_ns = msg->time_ns;
	mold->last_ns = msg->time_ns;
	mold->size += msg->size;
	mold->count++;
	mold->messages++;
	return true;
}

/* ---- ITCH 5.0 ----------------------------------------------------------------------------- */

void itch_system_event(struct mold *mold, uint64_t time_ns, char event)
{
	static const struct itch_stock no_stock = { .locate = 0 };
	struct message msg = message_open('S', &no_stock, time_ns);

	put_char(&msg, event);
	message_put(mold, &msg);
}

void itch_stock_directory(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock)
{
	struct message msg = message_open('R', stock, time_ns);

	put_text(&msg, stock->name, 8);
	put_char(&msg, stock->market_category);
	put_char(&msg, 'N');		/* financial status: normal */
	put_number(&msg, stock->round_lot, 4);
	put_char(&msg, 'N');		/* round lots only: no */
	put_char(&msg, 'C');		/* issue classification: common stock */
	put_text(&msg, "Z ", 2);	/* issue sub-type: not applicable */
	put_char(&msg, 'T');		/* authenticity: test; nothing here was ever traded */
	put_char(&msg, 'N');		/* short sale threshold */
	put_char(&msg, 'N');		/* IPO */
	put_char(&msg, '1');		/* LULD reference price tier */
	put_char(&msg, 'N');		/* exchange traded product */
	put_number(&msg, 0, 4);		/* its leverage */
	put_char(&msg, 'N');		/* inverse */
	message_put(mold, &msg);
}

bool itch_trading_action(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
			 char state, const char *reason)
{
	struct message msg = message_open('H', stock, time_ns);

	put_text(&msg, stock->name, 8);
	put_char(&msg, state);
	put_char(&msg, ' ');		/* reserved */
	put_text(&msg, reason, 4);
	return message_put(mold, &msg);
}

void itch_add_order(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		    uint64_t ref, char side, uint32_t shares, uint32_t price, const char *mpid)
{
	struct message msg = message_open(mpid ? 'F' : 'A', stock, time_ns);

	put_number(&msg, ref, 8);
	put_char(&msg, side);
	put_number(&msg, shares, 4);
	put_text(&msg, stock->name, 8);
	put_number(&msg, price, 4);
	if (mpid)
		put_text(&msg, mpid, 4);
	message_put(mold, &msg);
}

void itch_executed(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		   uint64_t ref, uint32_t shares, uint64_t match)
{
	struct message msg = message_open('E', stock, time_ns);

	put_number(&msg, ref, 8);
	put_number(&msg, shares, 4);
	put_number(&msg, match, 8);
	message_put(mold, &msg);
}

void itch_executed_at(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		      uint64_t ref, uint32_t shares, uint64_t match, bool printable,
		      uint32_t price)
{
	struct message msg = message_open('C', stock, time_ns);

	put_number(&msg, ref, 8);
	put_number(&msg, shares, 4);
	put_number(&msg, match, 8);
	put_char(&msg, printable ? 'Y' : 'N');
	put_number(&msg, price, 4);
	message_put(mold, &msg);
}

void itch_cancel(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		 uint64_t ref, uint32_t shares)
{
	struct message msg = message_open('X', stock, time_ns);

	put_number(&msg, ref, 8);
	put_number(&msg, shares, 4);
	message_put(mold, &msg);
}

void itch_delete(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		 uint64_t ref)
{
	struct message msg = message_open('D', stock, time_ns);

	put_number(&msg, ref, 8);
	message_put(mold, &msg);
}

void itch_replace(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		  uint64_t ref, uint64_t new_ref, uint32_t shares, uint32_t price)
{
	struct message msg = message_open('U', stock, time_ns);

	put_number(&msg, ref, 8);
	put_number(&msg, new_ref, 8);
	put_number(&msg, shares, 4);
	put_number(&msg, price, 4);
	message_put(mold, &msg);
}

void itch_trade(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		uint32_t shares, uint32_t price, uint64_t match)
{
	struct message msg = message_open('P', stock, time_ns);

	put_number(&msg, 0, 8);		/* the order was never displayed, so it has no reference */
	put_char(&msg, 'B');		/* and its side is not told either: always B */
	put_number(&msg, shares, 4);
	put_text(&msg, stock->name, 8);
	put_number(&msg, price, 4);
	put_number(&msg, match, 8);
	message_put(mold, &msg);
}

void itch_cross(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		uint64_t shares, uint32_t price, uint64_t match, char cross_type)
{
	struct message msg = message_open('Q', stock, time_ns);

	put_number(&msg, shares, 8);
	put_text(&msg, stock->name, 8);
	put_number(&msg, price, 4);
	put_number(&msg, match, 8);
	put_char(&msg, cross_type);
	message_put(mold, &msg);
}

void itch_broken_trade(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		       uint64_t match)
{
	struct message msg = message_open('B', stock, time_ns);

	put_number(&msg, match, 8);
	message_put(mold, &msg);
}

void itch_imbalance(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		    const struct itch_imbalance *noii)
{
	struct message msg = message_open('I', stock, time_ns);

	put_number(&msg, noii->paired, 8);
	put_number(&msg, noii->imbalance, 8);
	put_char(&msg, noii->direction);
	put_text(&msg, stock->name, 8);
	put_number(&msg, noii->far_price, 4);
	put_number(&msg, noii->near_price, 4);
	put_number(&msg, noii->reference_price, 4);
	put_char(&msg, noii->cross_type);
	put_char(&msg, 'L');		/* price variation: less than 1 per cent */
	message_put(mold, &msg);
}
