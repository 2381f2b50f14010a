/* SPDX-License-Identifier: MIT */
/*
 * book.h - a seeded simulation of a stock exchange's order books, told as ITCH messages.
 * Not a model to learn finance from: it is consistent, bursty and repeatable, which is what
 * tests of a data path need. Not the messages' layout either (itch.h).
 * The contract: the same seed and number of symbols give the same calls of itch_*() on every
 * machine (all arithmetic is on integers), and they tell a possible story: executions hit the
 * oldest order at the best price, orders are live until filled or deleted, books never cross,
 * nothing trades while paused, and time never goes backwards.
 */
#ifndef ITCHFEED_BOOK_H
#define ITCHFEED_BOOK_H

#include <stdint.h>

#include "itch.h"

#define MARKET_SYMBOLS_MAX	1000
/* no day may begin later than this, and market_trade() must not be called later than that */
#define MARKET_START_MAX_NS	((24 * 3600 - 120) * NS_PER_SEC)
#define MARKET_TRADE_MAX_NS	((24 * 3600 - 60) * NS_PER_SEC)

struct market;

/* NULL: out of memory */
struct market *market_new(struct mold *mold, uint64_t seed, unsigned int nr_symbols,
			  uint64_t start_ns);
void market_free(struct market *market);
uint64_t market_now(const struct market *market);

/* the day's three parts: open and close once each, trade any number of times in between */
void market_open(struct market *market);
void market_trade(struct market *market);
void market_close(struct market *market);
/* what market_close() will say at most */
uint64_t market_close_messages(const struct market *market);
uint64_t market_close_packets(const struct market *market);

#endif
