/* SPDX-License-Identifier: MIT */
/*
 * itch.h - Nasdaq TotalView-ITCH 5.0 messages and the MoldUDP64 packets that carry them.
 * Not the order book (book.h) and not where packets go (itchfeed.c): this only lays out bytes.
 * The contract is in Nasdaq's two public specifications, TotalView-ITCH 5.0 and MoldUDP64 1.00.
 */
#ifndef ITCHFEED_ITCH_H
#define ITCHFEED_ITCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NS_PER_US		UINT64_C(1000)
#define NS_PER_MS		UINT64_C(1000000)
#define NS_PER_SEC		UINT64_C(1000000000)

#define MOLD_SESSION_SIZE	10
#define MOLD_HEADER_SIZE	20
/* header included: what fits an Ethernet frame with room for a VLAN tag and some IP options */
#define MOLD_PACKET_MAX		1400

/*
 * One MoldUDP64 session. Messages go in by the itch_*() calls below, in the order of their times;
 * packets come out by send(): when the next message does not fit, MOLD_FLUSH_NS after their first
 * message, and as a heartbeat after a second without any. A packet's time is the last instant
 * that its content depends on, so it is never earlier than the messages inside.
 *
 * A message that is over max_messages or max_packets is left out: the feed so far is a feed.
 */
struct mold {
	void (*send)(void *arg, uint64_t time_ns, const uint8_t *packet, size_t size);
	void *arg;

	uint64_t max_messages;		/* UINT64_MAX: no limit, as for packets */
	uint64_t max_packets;
	uint64_t messages;		/* put so far */
	uint64_t packets;		/* sent so far, heartbeats and end of session included */
	uint64_t heartbeats;
	uint64_t bytes;			/* of the packets sent */

	uint64_t next_seq;		/* sequence number of the pending packet's first message */
	uint64_t first_ns;		/* time of the pending packet's first message */
	uint64_t last_ns;		/* time of the newest message */
	uint64_t sent_ns;		/* time of the newest packet */
	unsigned int count;		/* messages in the pending packet */
	size_t size;			/* its bytes */
	uint8_t packet[MOLD_PACKET_MAX];
};

void mold_init(struct mold *mold, uint64_t session, uint64_t start_ns);
bool mold_full(const struct mold *mold);
/* sends what is pending, then the end of the session, which may be repeated */
void mold_end_of_session(struct mold *mold);

struct itch_stock {
	char name[9];			/* 8 characters, padded with spaces, and a NUL */
	uint16_t locate;
	uint32_t round_lot;
	char market_category;
};

struct itch_imbalance {
	uint64_t paired;
	uint64_t imbalance;
	char direction;			/* B, S, or N for none */
	uint32_t far_price;
	uint32_t near_price;
	uint32_t reference_price;
	char cross_type;
};

/* prices are in 1/10,000 dollar, times in nanoseconds since midnight */
void itch_system_event(struct mold *mold, uint64_t time_ns, char event);
void itch_stock_directory(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock);
/* false: it was left out, so the stock's state is still what it was */
bool itch_trading_action(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
			 char state, const char *reason);
/* mpid: 4 characters, or NULL for an order without attribution */
void itch_add_order(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		    uint64_t ref, char side, uint32_t shares, uint32_t price, const char *mpid);
void itch_executed(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		   uint64_t ref, uint32_t shares, uint64_t match);
void itch_executed_at(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		      uint64_t ref, uint32_t shares, uint64_t match, bool printable,
		      uint32_t price);
void itch_cancel(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		 uint64_t ref, uint32_t shares);
void itch_delete(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		 uint64_t ref);
void itch_replace(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		  uint64_t ref, uint64_t new_ref, uint32_t shares, uint32_t price);
void itch_trade(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		uint32_t shares, uint32_t price, uint64_t match);
void itch_cross(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		uint64_t shares, uint32_t price, uint64_t match, char cross_type);
void itch_broken_trade(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		       uint64_t match);
void itch_imbalance(struct mold *mold, uint64_t time_ns, const struct itch_stock *stock,
		    const struct itch_imbalance *noii);

#endif
