/* SPDX-License-Identifier: MIT */
/*
 * The UDP payload of a captured packet.
 * It is no dissector: whatever is not whole, unfragmented UDP over IP is only named.
 * The contract is packet_payload().
 */
#ifndef HFTCHAN_PACKET_H
#define HFTCHAN_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* enum packet_kind - what a packet is */
enum packet_kind {
	PACKET_UDP,		/* whole, with a payload */
	PACKET_EMPTY,		/* UDP without a byte of payload */
	PACKET_OTHER,		/* not UDP over IP */
	PACKET_FRAGMENT,	/* of a larger IP packet */
	PACKET_MALFORMED,	/* its lengths contradict each other */
	PACKET_CUT,		/* the capture kept only its beginning, and that is too little */
	PACKET_NR_KINDS,
};

/* packet_link_known() - can packet_payload() read packets of this libpcap link type? */
bool packet_link_known(int link_type);

/**
 * packet_payload() - find the UDP payload
 * @link_type: DLT_*
 * @p: the bytes that were captured
 * @captured: how many
 * @on_wire: how many the packet had
 * @payload: set for PACKET_UDP
 * @len: its bytes: what UDP says, which the IP length bounds. Padding of the link is not part of it
 */
enum packet_kind packet_payload(int link_type, const unsigned char *p, size_t captured,
				size_t on_wire, const unsigned char **payload, size_t *len);

#endif /* HFTCHAN_PACKET_H */
