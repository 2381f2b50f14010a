// SPDX-License-Identifier: MIT
/*
 * Link, VLAN, IPv4, IPv6 and UDP headers, as far as the payload needs them.
 * Checksums are not looked at: captures of offloading machines hold wrong ones.
 * The contract is packet.h.
 */
#include <netinet/in.h>
#include <pcap/pcap.h>

#include "packet.h"

#define ETHERTYPE_IPV4	0x0800
#define ETHERTYPE_IPV6	0x86dd

/* What is left of a packet behind the headers read so far. */
struct rest {
	const unsigned char *p;
	size_t captured;
	size_t on_wire;
};

/* more headers in one packet than any network makes */
#define MAX_HEADERS	16

static unsigned int be16(const unsigned char *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

/* Why the next @bytes are not there. */
static enum packet_kind lacking(const struct rest *r, size_t bytes)
{
	return r->on_wire < bytes ? PACKET_MALFORMED : PACKET_CUT;
}

static void skip(struct rest *r, size_t bytes)
{
	r->p += bytes;
	r->captured -= bytes;
	r->on_wire -= bytes;
}

/* @bound: bytes that IP gives to UDP */
static enum packet_kind udp(struct rest *r, size_t bound, const unsigned char **payload,
			    size_t *len)
{
	size_t bytes;

	if (bound < 8)
		return PACKET_MALFORMED;
	if (r->captured < 8)
		return lacking(r, 8);
	bytes = be16(r->p + 4);
	if (bytes < 8 || bytes > bound)
		return PACKET_MALFORMED;
	if (r->captured < bytes)
		return lacking(r, bytes);
	*payload = r->p + 8;
	*len = bytes - 8;
	return *len ? PACKET_UDP : PACKET_EMPTY;
}

static enum packet_kind ipv4(struct rest *r, const unsigned char **payload, size_t *len)
{
	size_t header, total;

	if (r->captured < 20)
		return lacking(r, 20);
	header = (r->p[0] & 15) * 4U;
	total = be16(r->p + 2);
	if (r->p[0] >> 4 != 4 || header < 20 || total < header || total > r->on_wire)
		return PACKET_MALFORMED;
	if (r->p[9] != IPPROTO_UDP)
		return PACKET_OTHER;
	if (be16(r->p + 6) & 0x3fff)	/* more fragments, or an offset */
		return PACKET_FRAGMENT;
	if (r->captured < header)
		return lacking(r, header);
	skip(r, header);
	return udp(r, total - header, payload, len);
}

static enum packet_kind ipv6(struct rest *r, const unsigned char **payload, size_t *len)
{
	size_t bound, bytes;
	unsigned int next, i;

	if (r->captured < 40)
		return lacking(r, 40);
	bound = be16(r->p + 4);
	if (r->p[0] >> 4 != 6 || bound > r->on_wire - 40)
		return PACKET_MALFORMED;
	next = r->p[6];
	skip(r, 40);

	for (i = 0; i < MAX_HEADERS; i++) {
		switch (next) {
		case IPPROTO_UDP:
			return udp(r, bound, payload, len);
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
		case IPPROTO_FRAGMENT:
			break;
		default:
			return PACKET_OTHER;
		}
		if (bound < 8)
			return PACKET_MALFORMED;
		if (r->captured < 8)
			return lacking(r, 8);
		bytes = 8;
		if (next != IPPROTO_FRAGMENT)
			bytes += r->p[1] * 8U;
		else if (be16(r->p + 2) & 0xfff9)	/* an offset, or more fragments */
			return PACKET_FRAGMENT;
		if (bytes > bound)
			return PACKET_MALFORMED;
		if (r->captured < bytes)
			return lacking(r, bytes);
		next = r->p[0];
		bound -= bytes;
		skip(r, bytes);
	}
	return PACKET_OTHER;
}

static enum packet_kind ip(struct rest *r, const unsigned char **payload, size_t *len)
{
	if (!r->captured)
		return lacking(r, 1);
	switch (r->p[0] >> 4) {
	case 4:
		return ipv4(r, payload, len);
	case 6:
		return ipv6(r, payload, len);
	default:
		return PACKET_OTHER;
	}
}

/* @header: bytes of the link's header, @at: where in it the ethertype is */
static enum packet_kind ethertype(struct rest *r, size_t header, size_t at,
				  const unsigned char **payload, size_t *len)
{
	unsigned int type, i;

	if (r->captured < header)
		return lacking(r, header);
	type = be16(r->p + at);
	skip(r, header);
	for (i = 0; i < MAX_HEADERS; i++) {
		switch (type) {
		case ETHERTYPE_IPV4:
			return ipv4(r, payload, len);
		case ETHERTYPE_IPV6:
			return ipv6(r, payload, len);
		case 0x8100:	/* VLAN, and what has been used for the outer tag of two */
		case 0x88a8:
		case 0x9100:
		case 0x9200:
			if (r->captured < 4)
				return lacking(r, 4);
			type = be16(r->p + 2);
			skip(r, 4);
			break;
		default:
			return PACKET_OTHER;
		}
	}
	return PACKET_OTHER;
}

bool packet_link_known(int link_type)
{
	switch (link_type) {
	case DLT_EN10MB:
	case DLT_LINUX_SLL:
	case DLT_LINUX_SLL2:
	case DLT_RAW:
	case DLT_IPV4:
	case DLT_IPV6:
	case DLT_NULL:
	case DLT_LOOP:
		return true;
	default:
		return false;
	}
}

enum packet_kind packet_payload(int link_type, const unsigned char *p, size_t captured,
				size_t on_wire, const unsigned char **payload, size_t *len)
{
	/* some capturing programs say less than they kept */
	struct rest r = { p, captured, on_wire > captured ? on_wire : captured };

	switch (link_type) {
	case DLT_EN10MB:
		return ethertype(&r, 14, 12, payload, len);
	case DLT_LINUX_SLL:
		return ethertype(&r, 16, 14, payload, len);
	case DLT_LINUX_SLL2:
		return ethertype(&r, 20, 0, payload, len);
	case DLT_NULL:
	case DLT_LOOP:
		/* an address family whose number and byte order are the capturing system's */
		if (r.captured < 4)
			return lacking(&r, 4);
		skip(&r, 4);
		return ip(&r, payload, len);
	default:
		return ip(&r, payload, len);
	}
}
