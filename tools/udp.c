// SPDX-License-Identifier: MIT
/*
 * A socket for a market-data feed: large buffer, batches, and no silent drop.
 * It knows of the channel only what a message may be.
 * The contract is udp.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/in6.h>
#include <linux/sock_diag.h>

#include "tool.h"
#include "udp.h"

/* what a feed may send while this process does not run */
#define RECEIVE_BUFFER	(32 << 20)
#define DATAGRAM_MAX	65535

/**
 * struct udp - a socket that receives
 * @where: for messages
 * @fd: socket
 * @max: largest message
 * @min: smallest one
 * @stride: bytes at @buffer for each datagram
 * @kernel_dropped: what the kernel's counter, which wraps, said last
 * @next_note: when to speak of drops and refusals again
 */
struct udp {
	const char *where;
	int fd;
	size_t max;
	size_t min;
	size_t stride;
	unsigned char *buffer;
	struct mmsghdr headers[UDP_BATCH];
	struct iovec iov[UDP_BATCH];
	union {
		char bytes[CMSG_SPACE(sizeof(uint32_t))];
		struct cmsghdr align;
	} control[UDP_BATCH];
	uint32_t kernel_dropped;
	struct udp_counts counts;
	struct udp_counts said;
	uint64_t next_note;
};

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* "239.1.1.1:5000" or "[ff15::1]:5000" */
static socklen_t parse_address(const char *where, union address *a)
{
	static const struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST,
		.ai_socktype = SOCK_DGRAM,
	};
	bool brackets = *where == '[';
	const char *colon = strrchr(where, ':');
	const char *begin = where + brackets, *end = colon;
	struct addrinfo *found;
	socklen_t len;
	char host[128];
	in_port_t port;

	if (colon && brackets)
		end = colon > begin && colon[-1] == ']' ? colon - 1 : NULL;
	else if (colon && strchr(where, ':') != colon)
		end = NULL;
	if (!end || end == begin || (size_t)(end - begin) >= sizeof(host))
		tool_bad_value("udp", where, "is not ADDR:PORT or [IPV6]:PORT");
	memcpy(host, begin, (size_t)(end - begin));
	host[end - begin] = 0;
	port = htons((in_port_t)tool_number("udp", colon + 1, 1, UINT16_MAX));
	if (getaddrinfo(host, NULL, &hints, &found))
		tool_bad_value("udp", where, "has no numeric IPv4 or IPv6 address");
	len = found->ai_addrlen;
	memcpy(a, found->ai_addr, len);
	freeaddrinfo(found);
	if ((a->any.sa_family == AF_INET6) != brackets)
		tool_bad_value("udp", where, "is not ADDR:PORT or [IPV6]:PORT");
	if (a->any.sa_family == AF_INET6)
		a->v6.sin6_port = port;
	else
		a->v4.sin_port = port;
	return len;
}

static int set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value));
}

static bool join_group(struct udp *u, const union address *a, unsigned int ifindex)
{
	struct ip_mreqn v4 = { .imr_multiaddr = a->v4.sin_addr, .imr_ifindex = (int)ifindex };
	struct ipv6_mreq v6 = { .ipv6mr_interface = ifindex };
	int err;

	/* only what comes in by the interface joined here, whatever other processes joined */
	if (a->any.sa_family == AF_INET6) {
		v6.ipv6mr_multiaddr = a->v6.sin6_addr;
		set(u->fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
		err = setsockopt(u->fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &v6, sizeof(v6));
	} else {
		set(u->fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
		err = setsockopt(u->fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &v4, sizeof(v4));
	}
	if (err)
		tool_error(
			"%s: can't join the multicast group: %s; name the interface with --iface",
			u->where, strerror(errno));
	return !err;
}

static void enlarge_buffer(const struct udp *u)
{
	socklen_t len = sizeof(int);
	int got = 0;

	if (set(u->fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER))
		set(u->fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER);
	/* the kernel says twice of what it counts as payload */
	if (!getsockopt(u->fd, SOL_SOCKET, SO_RCVBUF, &got, &len) && got / 2 < RECEIVE_BUFFER)
		tool_note(
			"%s: receive buffer of %d KiB instead of %d, a burst may not fit; raise it with: sysctl net.core.rmem_max=%d",
			u->where, got / 2 / 1024, RECEIVE_BUFFER / 1024, RECEIVE_BUFFER);
}

static bool open_socket(struct udp *u, union address *a, socklen_t len, const char *iface)
{
	static const struct timeval tick = { .tv_usec = TOOL_TICK_NS / 1000 };
	bool v6 = a->any.sa_family == AF_INET6;
	bool multicast = v6 ? IN6_IS_ADDR_MULTICAST(&a->v6.sin6_addr) :
			      IN_MULTICAST(ntohl(a->v4.sin_addr.s_addr));
	unsigned int ifindex = 0;

	if (iface) {
		ifindex = if_nametoindex(iface);
		if (!ifindex) {
			tool_error("%s: no such network interface; see: ip link", iface);
			return false;
		}
	}
	u->fd = socket(a->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (u->fd < 0) {
		tool_error("%s: no socket: %s", u->where, strerror(errno));
		return false;
	}
	if (v6) {
		set(u->fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
		if (ifindex)
			a->v6.sin6_scope_id = ifindex;
	}
	if (multicast)	/* several may listen to a group; an address of one's own is not shared */
		set(u->fd, SOL_SOCKET, SO_REUSEADDR, 1);
	else if (iface && setsockopt(u->fd, SOL_SOCKET, SO_BINDTODEVICE, iface,
				     (socklen_t)strlen(iface) + 1)) {
		tool_error("%s: can't bind to interface %s: %s", u->where, iface, strerror(errno));
		return false;
	}
	if (set(u->fd, SOL_SOCKET, SO_RXQ_OVFL, 1) ||
	    setsockopt(u->fd, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof(tick))) {
		tool_error("%s: can't set up the socket: %s", u->where, strerror(errno));
		return false;
	}
	enlarge_buffer(u);
	if (bind(u->fd, &a->any, len)) {
		const char *remedy = "is it an address of this machine, and free?";

		if (errno == EACCES)
			remedy = "take a port from 1024 on, or run it as root";
		else if (errno == EINVAL && v6 && IN6_IS_ADDR_LINKLOCAL(&a->v6.sin6_addr))
			remedy = "name the interface of a link-local address with --iface";
		tool_error("%s: can't bind: %s; %s", u->where, strerror(errno), remedy);
		return false;
	}
	return !multicast || join_group(u, a, ifindex);
}

struct udp *udp_open(const char *where, const char *iface, const struct hftchan_info *info)
{
	struct udp *u = tool_alloc(1, sizeof(*u));
	union address address;
	socklen_t len = parse_address(where, &address);
	unsigned int i;

	u->where = where;
	u->fd = -1;
	u->max = info->payload_size < DATAGRAM_MAX ? info->payload_size : DATAGRAM_MAX;
	u->min = info->flags & HFTCHAN_F_VARLEN ? 1 : info->payload_size;
	u->stride = (u->max + 63) & ~(size_t)63;
	u->buffer = tool_alloc(UDP_BATCH, u->stride);
	for (i = 0; i < UDP_BATCH; i++) {
		u->iov[i] = (struct iovec){ u->buffer + i * u->stride, u->max };
		u->headers[i].msg_hdr.msg_iov = &u->iov[i];
		u->headers[i].msg_hdr.msg_iovlen = 1;
		u->headers[i].msg_hdr.msg_control = &u->control[i];
	}
	if (open_socket(u, &address, len, iface))
		return u;
	udp_close(u);
	return NULL;
}

void udp_close(struct udp *u)
{
	if (!u)
		return;
	if (u->fd >= 0)
		close(u->fd);
	free(u->buffer);
	free(u);
}

static void count_drops(struct udp *u, uint32_t now)
{
	u->counts.dropped += now - u->kernel_dropped;	/* modulo 2^32, as the kernel counts */
	u->kernel_dropped = now;
}

/* The kernel attaches its counter to a datagram once it is not 0. */
static void look_for_drops(struct udp *u, struct msghdr *m)
{
	struct cmsghdr *c;
	uint32_t now;

	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_RXQ_OVFL)
			continue;
		memcpy(&now, CMSG_DATA(c), sizeof(now));
		count_drops(u, now);
	}
}

static void speak_up(struct udp *u)
{
	if (u->counts.dropped == u->said.dropped && u->counts.refused == u->said.refused)
		return;
	if (!tool_now_and_then(&u->next_note))
		return;
	if (u->counts.dropped != u->said.dropped)
		tool_error("%s: %" PRIu64
			   " datagrams dropped by the kernel so far; the sender is too fast for this process",
			   u->where, u->counts.dropped);
	if (u->counts.refused != u->said.refused)
		tool_error("%s: %" PRIu64
			   " datagrams refused so far: the channel takes %zu%s%zu bytes",
			   u->where, u->counts.refused, u->min, u->min == u->max ? " of " : " to ",
			   u->max);
	u->said = u->counts;
}

int udp_receive(struct udp *u, struct hftchan_msg *msgs)
{
	int i, n, fit = 0;

	for (i = 0; i < UDP_BATCH; i++)
		u->headers[i].msg_hdr.msg_controllen = sizeof(u->control[i]);
	/* MSG_TRUNC: msg_len is the datagram's true length */
	n = recvmmsg(u->fd, u->headers, UDP_BATCH, MSG_WAITFORONE | MSG_TRUNC, NULL);
	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return -EAGAIN;
		tool_error("%s: can't receive: %s", u->where, strerror(errno));
		return -EIO;
	}
	for (i = 0; i < n; i++) {
		unsigned int len = u->headers[i].msg_len;

		look_for_drops(u, &u->headers[i].msg_hdr);
		if (!len)
			u->counts.empty++;
		else if (len < u->min || len > u->max)
			u->counts.refused++;
		else
			msgs[fit++] = (struct hftchan_msg){
				.data = u->iov[i].iov_base,
				.len = len,
			};
	}
	speak_up(u);
	return fit;
}

const struct udp_counts *udp_counts(struct udp *u)
{
	uint32_t memory[SK_MEMINFO_VARS];
	socklen_t len = sizeof(memory);

	/* SO_RXQ_OVFL comes with the next datagram, and there may be none */
	if (!getsockopt(u->fd, SOL_SOCKET, SO_MEMINFO, memory, &len) &&
	    len > SK_MEMINFO_DROPS * sizeof(memory[0]))
		count_drops(u, memory[SK_MEMINFO_DROPS]);
	return &u->counts;
}
