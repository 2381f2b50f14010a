// SPDX-License-Identifier: MIT
/*
 * book.c - the simulated exchange: random numbers, order books, and when things happen.
 * Not the layout of messages and packets (itch.c), and nothing here knows who listens.
 * The contract is in book.h.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "book.h"

/*
 * ---- random numbers: xoshiro256**, seeded by splitmix64
 *
 * One draw in an expression, at most: C leaves open which of two would come first.
 */

struct rng {
	uint64_t s[4];
};

static void rng_seed(struct rng *rng, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t z = seed += 0x9e3779b97f4a7c15;

		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
		z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
		rng->s[i] = z ^ (z >> 31);
	}
}

static uint64_t rotate_left(uint64_t x, unsigned int by)
{
	return x << by | x >> (64 - by);
}

static uint32_t rng_next(struct rng *rng)
{
	uint64_t *s = rng->s;
	uint64_t result = rotate_left(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return (uint32_t)(result >> 32);
}

static uint32_t rng_below(struct rng *rng, uint32_t n)
{
	return (uint32_t)((uint64_t)rng_next(rng) * n >> 32);
}

static bool rng_chance(struct rng *rng, uint32_t times, uint32_t out_of)
{
	return rng_below(rng, out_of) < times;
}

/* -log2(u / 2^32) with 16 bits after the point; log() may differ between two C libraries */
static uint64_t negative_log2(uint32_t u)
{
	unsigned int zeros = (unsigned int)__builtin_clz(u);
	uint64_t x = (uint64_t)u << zeros;	/* 1 to 2, with 31 bits after the point */
	uint64_t fraction = 0;

	for (int bit = 15; bit >= 0; bit--) {
		x = x * x >> 31;
		if (x >> 32) {
			x >>= 1;
			fraction |= 1ull << bit;
		}
	}
	return ((uint64_t)(zeros + 1) << 16) - fraction;
}

static uint64_t rng_exponential(struct rng *rng, uint64_t mean)
{
	const uint64_t ln2 = 45426;	/* ln(2) * 2^16 */

	return mean * (negative_log2(rng_next(rng) | 1) * ln2 >> 16) >> 16;
}

/* heavy-tailed: 1 to max, and P(result >= k) = 1 / k up to there */
static uint32_t rng_pareto(struct rng *rng, uint32_t max)
{
	uint64_t k = (1ull << 32) / ((uint64_t)rng_next(rng) + 1);

	return k < max ? (uint32_t)k : max;
}

/* ---- one side of a book --------------------------------------------------------------------- */

#define DOLLAR		10000u
#define TICK		100u
#define SIDE_MAX	128	/* live orders on a side */
#define SIDE_USUAL	48	/* more than this, and deletes outweigh adds */

struct order {
	uint64_t ref;
	uint32_t price;
	uint32_t shares;
};

/* sorted: the last order is the next to trade, the best price's oldest */
struct side {
	char name;
	unsigned int count;
	struct order orders[SIDE_MAX];
};

static bool side_is_buy(const struct side *side)
{
	return side->name == 'B';
}

static bool price_is_better(const struct side *side, uint32_t a, uint32_t b)
{
	return side_is_buy(side) ? a > b : a < b;
}

static struct order *side_best(struct side *side)
{
	return side->count ? &side->orders[side->count - 1] : NULL;
}

static void side_insert(struct side *side, struct order order)
{
	unsigned int low = 0, high = side->count;

	assert(side->count < SIDE_MAX);
	while (low < high) {
		unsigned int middle = (low + high) / 2;

		if (price_is_better(side, order.price, side->orders[middle].price))
			low = middle + 1;
		else
			high = middle;
	}
	memmove(&side->orders[low + 1], &side->orders[low],
		(side->count - low) * sizeof(order));
	side->orders[low] = order;
	side->count++;
}

static void side_remove(struct side *side, unsigned int index)
{
	side->count--;
	memmove(&side->orders[index], &side->orders[index + 1],
		(side->count - index) * sizeof(side->orders[0]));
}

/* ---- the market ----------------------------------------------------------------------------- */

#define PRICE_MIN	(2 * DOLLAR)
#define PRICE_MAX	(5000 * DOLLAR)
/* the opening lasts exactly this long, so that a day begun at 9:29:58 opens at 9:30:00 */
#define OPENING_NS	(2 * NS_PER_SEC)
#define CROSS_GAP_NS	UINT64_C(100)

struct stock {
	struct itch_stock id;
	uint32_t fair;			/* what the stock is worth: a random walk */
	uint32_t half_spread;
	bool paused;
	uint64_t resume_ns;
	struct side bid;
	struct side ask;
};

struct market {
	struct mold *mold;
	struct rng rng;
	uint64_t now;
	uint64_t activity_until;	/* when the next level of activity is drawn */
	uint64_t activity_gap;		/* mean time between clusters of events at this level */
	uint64_t last_ref;
	uint64_t last_match;
	/* the newest trade of stock breakable, which may still be broken; 0: none */
	uint64_t breakable_match;
	const struct stock *breakable;
	unsigned int nr_stocks;
	uint32_t total_weight;
	struct stock stocks[];
};

/* made-up firms */
static const char mpids[][5] = { "AAMM", "BULQ", "CRSX", "DELT", "OAKS", "PINE", "QUAY", "ZEBR" };

static uint64_t next_ref(struct market *m)
{
	return m->last_ref += 1 + rng_below(&m->rng, 8);
}

static uint64_t next_match(struct market *m, const struct stock *stock)
{
	m->last_match += 1 + rng_below(&m->rng, 4);
	m->breakable_match = m->last_match;
	m->breakable = stock;
	return m->last_match;
}

static uint32_t draw_shares(struct market *m)
{
	if (rng_chance(&m->rng, 2, 5))
		return 1 + rng_below(&m->rng, 99);
	return 100 * rng_pareto(&m->rng, 200);
}

/* Zipf's law: stock k trades 1/k as often as the first */
static uint32_t stock_weight(unsigned int index)
{
	return (1u << 20) / (index + 1);
}

static struct stock *draw_stock(struct market *m)
{
	uint32_t left = rng_below(&m->rng, m->total_weight);
	unsigned int i = 0;

	while (left >= stock_weight(i))
		left -= stock_weight(i++);
	return &m->stocks[i];
}

static struct side *other_side(struct stock *stock, const struct side *side)
{
	return side == &stock->bid ? &stock->ask : &stock->bid;
}

static struct side *draw_side(struct market *m, struct stock *stock)
{
	return rng_chance(&m->rng, 1, 2) ? &stock->bid : &stock->ask;
}

/* where somebody who is in no hurry puts an order: near the fair price, never crossing */
static uint32_t passive_price(struct market *m, struct stock *stock, struct side *side)
{
	uint32_t away = stock->half_spread + TICK * (rng_pareto(&m->rng, 60) - 1);
	const struct order *opposite = side_best(other_side(stock, side));
	uint32_t price, limit;

	if (side_is_buy(side)) {
		price = stock->fair > away + PRICE_MIN / 2 ? stock->fair - away : PRICE_MIN / 2;
		limit = opposite ? opposite->price - TICK : UINT32_MAX;
		price = price < limit ? price : limit;
		return price - price % TICK;
	}
	price = stock->fair + away + TICK - 1;
	limit = opposite ? opposite->price + TICK : 0;
	price = price > limit ? price : limit;
	return price - price % TICK;
}

static void add_order(struct market *m, struct stock *stock, struct side *side, uint32_t shares,
		      uint32_t price)
{
	struct order order = { .ref = next_ref(m), .price = price, .shares = shares };
	const char *mpid = NULL;

	if (rng_chance(&m->rng, 1, 30))
		mpid = mpids[rng_below(&m->rng, sizeof(mpids) / sizeof(mpids[0]))];
	side_insert(side, order);
	itch_add_order(m->mold, m->now, &stock->id, order.ref, side->name, shares, price, mpid);
}

static void add_passive(struct market *m, struct stock *stock, struct side *side)
{
	uint32_t shares = draw_shares(m);

	add_order(m, stock, side, shares, passive_price(m, stock, side));
}

/* the order at the top of side trades, at its price or, rarely, half a tick better for the taker */
static void execute_best(struct market *m, struct stock *stock, struct side *side, uint32_t shares)
{
	struct order *order = side_best(side);
	uint64_t match = next_match(m, stock);

	if (rng_chance(&m->rng, 1, 40)) {
		uint32_t price = side_is_buy(side) ? order->price + TICK / 2 :
						     order->price - TICK / 2;

		itch_executed_at(m->mold, m->now, &stock->id, order->ref, shares, match,
				 rng_chance(&m->rng, 9, 10), price);
	} else {
		itch_executed(m->mold, m->now, &stock->id, order->ref, shares, match);
	}
	order->shares -= shares;
	if (!order->shares)
		side_remove(side, side->count - 1);
}

/* somebody in a hurry takes what side offers up to a limit, and leaves the rest as an order */
static void take(struct market *m, struct stock *stock, struct side *side)
{
	struct side *own = other_side(stock, side);
	struct order *best = side_best(side);
	uint32_t slack = TICK * (rng_pareto(&m->rng, 8) - 1);
	uint32_t shares = draw_shares(m);
	uint32_t limit;

	if (side_is_buy(side))
		limit = best->price > slack + PRICE_MIN / 2 ? best->price - slack : best->price;
	else
		limit = best->price + slack;

	while (shares && best && !price_is_better(side, limit, best->price)) {
		uint32_t part = shares < best->shares ? shares : best->shares;

		execute_best(m, stock, side, part);
		shares -= part;
		best = side_best(side);
	}
	if (shares && own->count < SIDE_MAX)
		add_order(m, stock, own, shares, limit);
}

/* a trade with an order that the book does not show, between the two best prices */
static void trade_hidden(struct market *m, struct stock *stock)
{
	uint32_t price = (side_best(&stock->bid)->price + side_best(&stock->ask)->price) / 2;
	uint32_t shares = draw_shares(m);

	itch_trade(m->mold, m->now, &stock->id, shares, price, next_match(m, stock));
}

static void delete_order(struct market *m, struct stock *stock, struct side *side)
{
	unsigned int index = rng_below(&m->rng, side->count);

	itch_delete(m->mold, m->now, &stock->id, side->orders[index].ref);
	side_remove(side, index);
}

static void cancel_part(struct market *m, struct stock *stock, struct side *side)
{
	struct order *order = &side->orders[rng_below(&m->rng, side->count)];
	uint32_t shares;

	if (order->shares < 2)
		return;
	shares = 1 + rng_below(&m->rng, order->shares - 1);
	order->shares -= shares;
	itch_cancel(m->mold, m->now, &stock->id, order->ref, shares);
}

static void replace_order(struct market *m, struct stock *stock, struct side *side)
{
	unsigned int index = rng_below(&m->rng, side->count);
	struct order order = side->orders[index];
	uint64_t old = order.ref;

	side_remove(side, index);
	order.ref = next_ref(m);
	order.price = passive_price(m, stock, side);
	if (rng_chance(&m->rng, 1, 3))
		order.shares = draw_shares(m);
	side_insert(side, order);
	itch_replace(m->mold, m->now, &stock->id, old, order.ref, order.shares, order.price);
}

static void imbalance(struct market *m, struct stock *stock, char cross_type)
{
	struct itch_imbalance noii = {
		.far_price = stock->fair - stock->fair % TICK,
		.near_price = stock->fair - stock->fair % TICK,
		.reference_price = stock->fair - stock->fair % TICK,
		.cross_type = cross_type,
	};

	noii.paired = 100 * rng_pareto(&m->rng, 5000);
	noii.imbalance = 100 * rng_below(&m->rng, 50);
	noii.direction = !noii.imbalance ? 'N' : rng_chance(&m->rng, 1, 2) ? 'B' : 'S';
	itch_imbalance(m->mold, m->now, &stock->id, &noii);
}

/* an auction among orders that the book never showed */
static void cross(struct market *m, struct stock *stock, char cross_type)
{
	uint64_t shares = stock->paused ? 0 : 100 * rng_pareto(&m->rng, 5000);
	uint32_t price = shares ? stock->fair - stock->fair % TICK : 0;

	itch_cross(m->mold, m->now, &stock->id, shares, price, next_match(m, stock), cross_type);
}

/* the exchange stops trading in a stock; seconds, not the real minutes, so that runs show both */
static void pause_trading(struct market *m, struct stock *stock)
{
	stock->paused = itch_trading_action(m->mold, m->now, &stock->id, 'P', "LUDP");
	stock->resume_ns = m->now + NS_PER_SEC / 10 + rng_exponential(&m->rng, NS_PER_SEC / 2);
	imbalance(m, stock, 'H');
}

static void resume_trading(struct market *m, struct stock *stock)
{
	imbalance(m, stock, 'H');
	stock->paused = !itch_trading_action(m->mold, m->now, &stock->id, 'T', "    ");
	cross(m, stock, 'H');
}

/* a fifth of a basis point up or down, on average */
static void move_fair(struct market *m, struct stock *stock)
{
	uint32_t step = (uint32_t)rng_exponential(&m->rng, stock->fair / 50000);

	if (stock->fair > PRICE_MAX || (stock->fair > PRICE_MIN + step &&
					rng_chance(&m->rng, 1, 2)))
		stock->fair -= step;
	else
		stock->fair += step;
}

/* what stays when nobody trades: orders come, change and go */
static void change_book(struct market *m, struct stock *stock)
{
	struct side *side = draw_side(m, stock);
	uint32_t add = side->count < SIDE_USUAL ? 52 : 38;
	uint32_t what = rng_below(&m->rng, 100);

	if (side->count < 4 || (what < add && side->count < SIDE_MAX))
		add_passive(m, stock, side);
	else if (what < 87)
		delete_order(m, stock, side);
	else if (what < 98)
		replace_order(m, stock, side);
	else
		cancel_part(m, stock, side);
}

static bool outruns_quotes(struct stock *stock, struct side **stale)
{
	const struct order *bid = side_best(&stock->bid);
	const struct order *ask = side_best(&stock->ask);

	*stale = ask && stock->fair > ask->price ? &stock->ask :
		 bid && stock->fair < bid->price ? &stock->bid : NULL;
	return *stale;
}

/* one decision of somebody about one stock: mostly one message, several when a large order takes */
static void one_event(struct market *m, struct stock *stock)
{
	struct side *side;

	if (stock->paused) {
		if (m->now >= stock->resume_ns)
			resume_trading(m, stock);
		else
			change_book(m, stock);
		return;
	}
	if (outruns_quotes(stock, &side) && rng_chance(&m->rng, 1, 6)) {
		take(m, stock, side);
		return;
	}
	side = draw_side(m, stock);
	if (rng_chance(&m->rng, 1, 50) && side->count)
		take(m, stock, side);
	else if (rng_chance(&m->rng, 1, 100) && stock->bid.count && stock->ask.count)
		trade_hidden(m, stock);
	else if (rng_chance(&m->rng, 1, 5000))
		pause_trading(m, stock);
	else if (rng_chance(&m->rng, 1, 4000) && m->breakable_match) {
		itch_broken_trade(m->mold, m->now, &m->breakable->id, m->breakable_match);
		m->breakable_match = 0;
	} else {
		change_book(m, stock);
	}
}

/*
 * Two heavy tails make the bursts: how long the market stays at a level of activity, and how many
 * events come in one cluster, where each reaction sets off the next.
 */
static void draw_activity(struct market *m)
{
	static const struct {
		uint32_t per_mille;
		uint64_t gap_ns;
	} levels[] = {
		{ 3, 1200 * NS_PER_MS },	/* a lull that heartbeats fill */
		{ 347, 5 * NS_PER_MS },
		{ 500, 400 * NS_PER_US },
		{ 150, 60 * NS_PER_US },
	};
	uint32_t left = rng_below(&m->rng, 1000);
	unsigned int i = 0;

	while (left >= levels[i].per_mille)
		left -= levels[i++].per_mille;
	m->activity_gap = levels[i].gap_ns;
	m->activity_until = rng_pareto(&m->rng, 200);
	m->activity_until *= rng_exponential(&m->rng, 5 * NS_PER_MS);
	m->activity_until += m->now;
}

void market_trade(struct market *m)
{
	struct stock *stock;
	uint32_t events;

	if (m->now >= m->activity_until)
		draw_activity(m);
	m->now += 1 + rng_exponential(&m->rng, m->activity_gap);

	stock = draw_stock(m);
	move_fair(m, stock);
	for (events = rng_pareto(&m->rng, 2000); events; events--) {
		if (rng_chance(&m->rng, 1, 8)) {
			stock = draw_stock(m);
			move_fair(m, stock);
		}
		one_event(m, stock);
		if (rng_chance(&m->rng, 2, 3))
			m->now += rng_exponential(&m->rng, 600);
	}
}

void market_open(struct market *m)
{
	uint64_t open_ns = m->now + OPENING_NS;
	unsigned int i;

	itch_system_event(m->mold, m->now, 'O');
	for (i = 0; i < m->nr_stocks; i++) {
		m->now += NS_PER_US;
		itch_stock_directory(m->mold, m->now, &m->stocks[i].id);
		itch_trading_action(m->mold, m->now, &m->stocks[i].id, 'T', "    ");
	}
	m->now += OPENING_NS / 8;
	itch_system_event(m->mold, m->now, 'S');
	for (i = 0; i < m->nr_stocks; i++) {
		struct stock *stock = &m->stocks[i];

		for (int pairs = 0; pairs < 8; pairs++) {
			m->now += rng_exponential(&m->rng, 30 * NS_PER_US);
			add_passive(m, stock, &stock->bid);
			m->now += rng_exponential(&m->rng, 30 * NS_PER_US);
			add_passive(m, stock, &stock->ask);
		}
		imbalance(m, stock, 'O');
	}
	assert(m->now < open_ns);
	m->now = open_ns;
	itch_system_event(m->mold, m->now, 'Q');
	for (i = 0; i < m->nr_stocks; i++) {
		m->now += CROSS_GAP_NS;
		cross(m, &m->stocks[i], 'O');
	}
}

void market_close(struct market *m)
{
	m->now += NS_PER_MS;
	itch_system_event(m->mold, m->now, 'M');
	for (unsigned int i = 0; i < m->nr_stocks; i++) {
		m->now += CROSS_GAP_NS;
		cross(m, &m->stocks[i], 'C');
	}
	m->now += NS_PER_SEC / 2;
	itch_system_event(m->mold, m->now, 'E');
	m->now += NS_PER_SEC / 2;
	itch_system_event(m->mold, m->now, 'C');
}

uint64_t market_close_messages(const struct market *m)
{
	return m->nr_stocks + 3;
}

uint64_t market_close_packets(const struct market *m)
{
	/* packets are either full but for less than one cross, or as old as a packet may be */
	const uint64_t crosses_per_packet = (MOLD_PACKET_MAX - MOLD_HEADER_SIZE) / 42 - 1;

	return (m->nr_stocks + 1) / crosses_per_packet + 1 + 2;
}

struct market *market_new(struct mold *mold, uint64_t seed, unsigned int nr_symbols,
			  uint64_t start_ns)
{
	static const uint32_t dollars[] = { 8, 15, 30, 60, 120, 250, 600 };
	struct market *m = calloc(1, sizeof(*m) + nr_symbols * sizeof(m->stocks[0]));

	assert(nr_symbols >= 1 && nr_symbols <= MARKET_SYMBOLS_MAX);
	assert(start_ns <= MARKET_START_MAX_NS);
	if (!m)
		return NULL;
	m->mold = mold;
	m->now = start_ns;
	m->nr_stocks = nr_symbols;
	rng_seed(&m->rng, seed);
	for (unsigned int i = 0; i < nr_symbols; i++) {
		struct stock *stock = &m->stocks[i];
		uint32_t dollar = dollars[rng_below(&m->rng, sizeof(dollars) / sizeof(dollars[0]))];

		/* ZAAA, ZAAB ...: real test symbols begin with a Z, too */
		memcpy(stock->id.name, "ZAAA    ", sizeof(stock->id.name));
		stock->id.name[1] = (char)('A' + i / 26 / 26);
		stock->id.name[2] = (char)('A' + i / 26 % 26);
		stock->id.name[3] = (char)('A' + i % 26);
		stock->id.locate = (uint16_t)(i + 1);
		stock->id.round_lot = 100;
		stock->id.market_category = "QGS"[rng_below(&m->rng, 3)];
		stock->fair = dollar * DOLLAR + rng_below(&m->rng, dollar * DOLLAR);
		stock->half_spread = TICK / 2 + TICK * rng_below(&m->rng, 1 + dollar / 30);
		stock->bid.name = 'B';
		stock->ask.name = 'S';
		m->total_weight += stock_weight(i);
	}
	return m;
}

void market_free(struct market *m)
{
	free(m);
}

uint64_t market_now(const struct market *m)
{
	return m->now;
}
