/* SPDX-License-Identifier: MIT */
/*
 * Live UDP datagrams, unicast or multicast, in batches.
 * Not captured ones: those are source.h.
 * The contract is each call's comment; every error is said by the call that meets it.
 */
#ifndef HFTCHAN_UDP_H
#define HFTCHAN_UDP_H

#include <stdint.h>

#include <hftchan.h>

#define UDP_BATCH	64

/**
 * struct udp_counts - what became of datagrams that are no messages
 * @refused: larger than the channel's payload, or without VARLEN of another size
 * @empty: without a byte
 * @dropped: by the kernel, as the receive buffer was full
 */
struct udp_counts {
	uint64_t refused;
	uint64_t empty;
	uint64_t dropped;
};

struct udp;

/**
 * udp_open() - receive what is sent to @where
 * @where: ADDR:PORT, an IPv6 address in brackets; ends the process with TOOL_USAGE if it is none
 * @iface: network interface, NULL: by the routing table
 * @info: of the channel that the datagrams are for
 *
 * Return: NULL: it can't.
 */
struct udp *udp_open(const char *where, const char *iface, const struct hftchan_info *info);
void udp_close(struct udp *u);

/**
 * udp_receive() - wait up to TOOL_TICK_NS for datagrams
 * @msgs: UDP_BATCH elements; those returned have data and len set until the next call
 *
 * Return: how many fit the channel; -EAGAIN nothing came; another one: receiving failed.
 */
int udp_receive(struct udp *u, struct hftchan_msg *msgs);

/* udp_counts() - so far, asking the kernel for those dropped after the last datagram */
const struct udp_counts *udp_counts(struct udp *u);

#endif /* HFTCHAN_UDP_H */
