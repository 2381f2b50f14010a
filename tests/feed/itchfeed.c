// SPDX-License-Identifier: MIT
/*
 * itchfeed.c - the itchfeed program: its options, and where the feed's packets go.
 * Not what is in the packets: the market is book.c, messages and packets are itch.c.
 * The contract is the text of --help.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "book.h"
#include "itch.h"

#define DEFAULT_GROUP		"239.192.0.1"	/* organisation-local: for private use */
#define DEFAULT_PORT		26400
#define CAPTURE_DAY		UINT64_C(1735776000)	/* 2 January 2025, 00:00 UTC */

#define ETHERNET_SIZE		14
#define IPV4_SIZE		20
#define UDP_SIZE		8
#define FRAME_MAX		(ETHERNET_SIZE + IPV4_SIZE + UDP_SIZE + MOLD_PACKET_MAX)

/* a sleep that ends this long before the deadline, then a spin, meets it to the microsecond */
#define SPIN_NS			(30 * NS_PER_US)

enum pace { PACE_REAL, PACE_FLAT, PACE_RATE };

struct output_file {
	const char *option;
	const char *path;		/* NULL: not asked for */
	const char *shown;		/* for messages: the path, or "standard output" */
	FILE *file;
	struct stat st;
	bool created;			/* was not there before: to be removed on failure */
};

static struct {
	uint64_t seed;
	uint64_t messages;		/* 0: packets are counted instead */
	uint64_t packets;
	unsigned int symbols;
	uint64_t start_ns;
	const char *udp;
	const char *iface;
	enum pace pace;
	bool pace_given;
	uint64_t rate;
} opt = {
	.seed = 1,
	.symbols = 32,
	.start_ns = (9 * 3600 + 29 * 60 + 58) * NS_PER_SEC,
	.pace = PACE_REAL,
};

static struct output_file framed = { .option = "framed" };
static struct output_file capture = { .option = "pcap" };
static pcap_t *capture_handle;
static pcap_dumper_t *capture_dumper;
static uint16_t ip_id;

static int udp_socket = -1;
static struct sockaddr_in destination;
static uint64_t first_packet_ns;	/* simulated time of the first packet */
static uint64_t first_sent_ns;		/* when it was sent */
static uint64_t packets_sent;
static uint64_t longest_delay_ns;

static volatile sig_atomic_t caught_signal;

/* ---- failing -------------------------------------------------------------------------------- */

static void remove_partial(struct output_file *out)
{
	if (out->created && !unlink(out->path))
		fprintf(stderr, "itchfeed: %s: removed, it was incomplete\n", out->shown);
	else if (out->file && S_ISREG(out->st.st_mode))
		fprintf(stderr, "itchfeed: %s: is incomplete\n", out->shown);
}

__attribute__((format(printf, 2, 3), noreturn)) static void die(int status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("itchfeed: ", stderr);
	vfprintf(stderr, format, args);
	va_end(args);
	fputs(status == 2 ? "\nTry 'itchfeed --help'.\n" : "\n", stderr);
	remove_partial(&framed);
	remove_partial(&capture);
	_exit(status);	/* not exit(): it would write what a full disk has just refused */
}

#define fail(...)	die(EXIT_FAILURE, __VA_ARGS__)
#define fail_usage(...)	die(2, __VA_ARGS__)

static void on_signal(int signal_number)
{
	caught_signal = signal_number;
}

/* ---- files ---------------------------------------------------------------------------------- */

__attribute__((noreturn)) static void fail_file(const struct output_file *out, int error)
{
	const char *remedy = "choose another place for --";

	if (error == ENOSPC || error == EDQUOT)
		remedy = "free some space, ask for less with --messages, or move --";
	else if (error == EPIPE)
		remedy = "the reader has gone; let it read to the end, or give a file to --";
	else if (error == ENOENT || error == ENOTDIR)
		remedy = "create the directory, or correct --";
	else if (error == EACCES || error == EPERM || error == EROFS)
		remedy = "choose a place that you may write to for --";
	fail("%s: cannot write: %s; %s%s", out->shown, strerror(error), remedy, out->option);
}

static void file_open(struct output_file *out)
{
	if (!out->path)
		return;
	if (!strcmp(out->path, "-")) {
		out->shown = "standard output";
		out->file = stdout;
	} else {
		out->shown = out->path;
		/* only what was not there before is ours to remove again */
		out->file = fopen(out->path, "wxe");
		out->created = out->file;
		if (!out->file && errno == EEXIST)
			out->file = fopen(out->path, "we");
		if (!out->file)
			fail_file(out, errno);
	}
	if (fstat(fileno(out->file), &out->st))
		fail_file(out, errno);
	setvbuf(out->file, NULL, _IOFBF, 1 << 18);
}

static void file_flush(struct output_file *out)
{
	int duplicate;

	/* NFS reports at close: a duplicate's close tells, which pcap_dump_close() does not */
	errno = 0;
	if (fflush(out->file) || ferror(out->file))
		fail_file(out, errno ? errno : EIO);
	duplicate = dup(fileno(out->file));
	if (duplicate < 0 || close(duplicate))
		fail_file(out, errno);
}

static void framed_packet(const uint8_t *packet, size_t size)
{
	/* MoldUDP64's message blocks are the very framing: a length of 16 bits, then the message */
	errno = 0;
	if (fwrite(packet + MOLD_HEADER_SIZE, 1, size - MOLD_HEADER_SIZE, framed.file) !=
	    size - MOLD_HEADER_SIZE)
		fail_file(&framed, errno);
}

/* ---- the capture: a frame around each packet ------------------------------------------------ */

static void capture_open(void)
{
	file_open(&capture);
	capture_handle = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, 65535,
							      PCAP_TSTAMP_PRECISION_NANO);
	if (!capture_handle)
		fail("out of memory for libpcap; free some memory and try again");
	errno = 0;
	capture_dumper = pcap_dump_fopen(capture_handle, capture.file);
	if (!capture_dumper)
		fail_file(&capture, errno ? errno : EIO);
}

static uint32_t sum16(uint32_t sum, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i + 1 < size; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	if (size % 2)
		sum += (uint32_t)bytes[size - 1] << 8;
	return sum;
}

static void store_checksum(uint8_t *to, uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	sum = ~sum & 0xffff;
	to[0] = (uint8_t)(sum >> 8);
	to[1] = (uint8_t)sum;
}

static void store_16(uint8_t *to, size_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

static size_t build_frame(uint8_t *frame, const uint8_t *packet, size_t size)
{
	static const uint8_t locally_administered[6] = { 0x02, 0, 0, 0, 0, 0x01 };
	static const uint8_t source_address[4] = { 192, 0, 2, 1 };	/* for documentation */
	uint8_t *ip = frame + ETHERNET_SIZE;
	uint8_t *udp = ip + IPV4_SIZE;
	uint32_t pseudo_header;

	memset(frame, 0, ETHERNET_SIZE + IPV4_SIZE + UDP_SIZE);
	memcpy(ip + 16, &destination.sin_addr, 4);
	if (IN_MULTICAST(ntohl(destination.sin_addr.s_addr))) {
		memcpy(frame, (const uint8_t[]){ 0x01, 0x00, 0x5e }, 3);
		frame[3] = ip[17] & 0x7f;
		memcpy(frame + 4, ip + 18, 2);
	} else {
		memcpy(frame, locally_administered, 6);
		frame[5]++;
	}
	memcpy(frame + 6, locally_administered, 6);
	store_16(frame + 12, 0x0800);

	ip[0] = 0x45;
	store_16(ip + 2, IPV4_SIZE + UDP_SIZE + size);
	store_16(ip + 4, ip_id++);
	store_16(ip + 6, 0x4000);		/* don't fragment */
	ip[8] = 16;				/* time to live */
	ip[9] = IPPROTO_UDP;
	memcpy(ip + 12, source_address, 4);
	store_checksum(ip + 10, sum16(0, ip, IPV4_SIZE));

	memcpy(udp, &destination.sin_port, 2);
	memcpy(udp + 2, &destination.sin_port, 2);
	store_16(udp + 4, UDP_SIZE + size);
	memcpy(udp + UDP_SIZE, packet, size);
	pseudo_header = sum16((uint32_t)(IPPROTO_UDP + UDP_SIZE + size), ip + 12, 8);
	store_checksum(udp + 6, sum16(pseudo_header, udp, UDP_SIZE + size));
	if (!udp[6] && !udp[7])			/* 0 would mean: no checksum */
		store_16(udp + 6, 0xffff);
	return ETHERNET_SIZE + IPV4_SIZE + UDP_SIZE + size;
}

static void capture_packet(uint64_t time_ns, const uint8_t *packet, size_t size)
{
	uint8_t frame[FRAME_MAX];
	struct pcap_pkthdr header;

	header.caplen = header.len = (bpf_u_int32)build_frame(frame, packet, size);
	header.ts.tv_sec = (time_t)(CAPTURE_DAY + time_ns / NS_PER_SEC);
	/* nanoseconds: libpcap writes the field as it is when the handle's precision says so */
	header.ts.tv_usec = (suseconds_t)(time_ns % NS_PER_SEC);
	errno = 0;
	pcap_dump((u_char *)capture_dumper, &header, frame);
	if (ferror(capture.file))
		fail_file(&capture, errno ? errno : EIO);
}

/* ---- live ----------------------------------------------------------------------------------- */

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

__attribute__((noreturn)) static void fail_udp(const char *what)
{
	const char *remedy = "check the address, the interface (ip link) and the route (ip route)";

	if (errno == EPERM || errno == EACCES)
		remedy = "a firewall or a missing privilege forbids it; try as root, or another "
			 "address";
	else if (errno == EMSGSIZE)
		remedy = "the interface's MTU is too small for the feed's packets; raise it";
	fail("%s: %s: %s; %s", opt.udp, what, strerror(errno), remedy);
}

static void udp_open(void)
{
	const int on = 1, hops = 1;
	const char *iface = opt.iface;
	bool multicast = IN_MULTICAST(ntohl(destination.sin_addr.s_addr));
	struct ip_mreqn via = { .imr_ifindex = 0 };

	if (multicast && !iface)
		iface = "lo";
	if (iface) {
		via.imr_ifindex = (int)if_nametoindex(iface);
		if (!via.imr_ifindex)
			fail("--iface %s: no such network interface; list them with: ip link",
			     iface);
	}
	udp_socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (udp_socket < 0)
		fail_udp("cannot open a socket");
	if (multicast) {
		if (setsockopt(udp_socket, IPPROTO_IP, IP_MULTICAST_IF, &via, sizeof(via)) ||
		    setsockopt(udp_socket, IPPROTO_IP, IP_MULTICAST_LOOP, &on, sizeof(on)) ||
		    setsockopt(udp_socket, IPPROTO_IP, IP_MULTICAST_TTL, &hops, sizeof(hops)))
			fail_udp("cannot multicast there");
	} else if (iface && setsockopt(udp_socket, SOL_SOCKET, SO_BINDTODEVICE, iface,
				       (socklen_t)strlen(iface) + 1)) {
		fail_udp("cannot use the interface");
	}
	/* the default, 50 us, would make every sleep late */
	prctl(PR_SET_TIMERSLACK, 1000ul, 0, 0, 0);
}

static void wait_until(uint64_t deadline_ns)
{
	uint64_t wake_ns = deadline_ns - SPIN_NS;
	struct timespec wake = {
		.tv_sec = (time_t)(wake_ns / NS_PER_SEC),
		.tv_nsec = (long)(wake_ns % NS_PER_SEC),
	};
	uint64_t now = clock_ns();

	if (now < wake_ns)
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, NULL) == EINTR &&
		       !caught_signal)
			;
	while (now < deadline_ns && !caught_signal)
		now = clock_ns();
	if (now - deadline_ns > longest_delay_ns && !caught_signal)
		longest_delay_ns = now - deadline_ns;
}

static void udp_packet(uint64_t time_ns, const uint8_t *packet, size_t size)
{
	if (!packets_sent) {
		first_packet_ns = time_ns;
		first_sent_ns = clock_ns();
	} else if (opt.pace == PACE_REAL) {
		wait_until(first_sent_ns + (time_ns - first_packet_ns));
	} else if (opt.pace == PACE_RATE) {
		/* in two parts: packets_sent * NS_PER_SEC would overflow */
		wait_until(first_sent_ns + packets_sent / opt.rate * NS_PER_SEC +
			   packets_sent % opt.rate * NS_PER_SEC / opt.rate);
	}
	while (sendto(udp_socket, packet, size, 0, (const struct sockaddr *)&destination,
		      sizeof(destination)) < 0) {
		if (errno != EINTR || caught_signal)
			fail_udp("cannot send");
	}
	packets_sent++;
}

/* every packet of the feed, to all who want it */
static void send_packet(void *arg, uint64_t time_ns, const uint8_t *packet, size_t size)
{
	(void)arg;
	if (udp_socket >= 0)
		udp_packet(time_ns, packet, size);
	if (framed.file)
		framed_packet(packet, size);
	if (capture_dumper)
		capture_packet(time_ns, packet, size);
	if (caught_signal)
		fail("stopped by signal %d (%s)", caught_signal, strsignal(caught_signal));
}

/* ---- options -------------------------------------------------------------------------------- */

enum { OPT_SEED = 256, OPT_MESSAGES, OPT_PACKETS, OPT_SYMBOLS, OPT_START, OPT_PCAP, OPT_FRAMED,
       OPT_UDP, OPT_IFACE, OPT_PACE };

static const struct {
	const char *name;
	int code;
	const char *argument;	/* NULL: takes none */
	const char *help;
} options[] = {
	{ "pcap", OPT_PCAP, "FILE",
	  "write a capture with nanosecond time stamps; - is standard output" },
	{ "framed", OPT_FRAMED, "FILE",
	  "write the messages, each after its length in 16 bits, big-endian" },
	{ "udp", OPT_UDP, "ADDR:PORT", "send the packets live; IPv4, multicast or unicast" },
	{ "iface", OPT_IFACE, "NAME", "send through this interface (multicast: default lo)" },
	{ "pace", OPT_PACE, "PACE",
	  "of --udp: real (by simulated time, the default), flat (no pause), or packets/s" },
	{ "seed", OPT_SEED, "N", "which feed: the same seed gives the same bytes (default 1)" },
	{ "messages", OPT_MESSAGES, "N", "ITCH messages to make (default 1000000)" },
	{ "packets", OPT_PACKETS, "N", "UDP packets to make, instead of --messages" },
	{ "symbols", OPT_SYMBOLS, "N", "stocks to trade (default 32)" },
	{ "start", OPT_START, "HH:MM:SS",
	  "simulated time of the first message (default 09:29:58)" },
	{ "help", 'h', NULL, "print this help" },
	{ "version", 'V', NULL, "print the version" },
};

#define NR_OPTIONS (sizeof(options) / sizeof(options[0]))

static void print_help(void)
{
	char left[32];

	puts("Usage: itchfeed [OPTION]... (--pcap FILE | --framed FILE | --udp ADDR:PORT)...\n"
	     "\n"
	     "Makes a market-data feed: simulated order books told in Nasdaq TotalView-ITCH 5.0\n"
	     "messages, in MoldUDP64 packets. Several outputs in one run carry the same packets.\n");
	for (size_t i = 0; i < NR_OPTIONS; i++) {
		snprintf(left, sizeof(left), "--%s %s", options[i].name,
			 options[i].argument ? options[i].argument : "");
		if (options[i].code < OPT_SEED)
			printf("  -%c, %-17s %s\n", options[i].code, left, options[i].help);
		else
			printf("  %-21s %s\n", left, options[i].help);
	}
	printf("\n"
	       "A capture without --udp is addressed to %s:%d. Its day is 2 January 2025, and\n"
	       "its time of day, in UTC, is the messages' time since midnight. A summary goes to\n"
	       "standard error. Exit status: 0 done, 1 failed, 2 wrong usage.\n",
	       DEFAULT_GROUP, DEFAULT_PORT);
}

static uint64_t parse_number(const char *option, const char *text, uint64_t min, uint64_t max)
{
	unsigned long long value;
	char *end = NULL;

	errno = 0;
	value = strtoull(text, &end, 10);
	/* strtoull() itself would take blanks, a sign, and a negative number as a huge one */
	if (text[0] < '0' || text[0] > '9' || *end || errno || value < min || value > max)
		fail_usage("--%s %s: not a number from %" PRIu64 " to %" PRIu64
			   "; give decimal digits only", option, text, min, max);
	return value;
}

static uint64_t parse_time_of_day(const char *text)
{
	const uint64_t max = MARKET_START_MAX_NS / NS_PER_SEC;
	unsigned int field[3] = { 0 };
	uint64_t seconds;
	bool good = strlen(text) == 8;

	for (int i = 0; good && i < 8; i++) {
		if (i % 3 == 2)
			good = text[i] == ':';
		else if (text[i] >= '0' && text[i] <= '9')
			field[i / 3] = field[i / 3] * 10 + (unsigned int)(text[i] - '0');
		else
			good = false;
	}
	seconds = field[0] * 3600u + field[1] * 60u + field[2];
	if (!good || field[1] > 59 || field[2] > 59 || seconds > max)
		fail_usage("--start %s: not a time of day HH:MM:SS from 00:00:00 to %02u:%02u:00",
			   text, (unsigned int)(max / 3600), (unsigned int)(max / 60 % 60));
	return seconds * NS_PER_SEC;
}

static void parse_destination(const char *text)
{
	/* neither "this host" at the lower end, nor the reserved and broadcast ones at the upper */
	const uint32_t first = 0x01000000, last = 0xefffffff;
	const char *colon = strrchr(text, ':');
	char address[INET_ADDRSTRLEN];
	size_t size = colon ? (size_t)(colon - text) : 0;

	destination.sin_family = AF_INET;
	if (!colon || size >= sizeof(address))
		fail_usage("--udp %s: not ADDR:PORT; give an IPv4 address in digits and a port, "
			   "such as %s:%d", text, DEFAULT_GROUP, DEFAULT_PORT);
	memcpy(address, text, size);
	address[size] = '\0';
	if (inet_pton(AF_INET, address, &destination.sin_addr) != 1 ||
	    ntohl(destination.sin_addr.s_addr) < first || ntohl(destination.sin_addr.s_addr) > last)
		fail_usage("--udp %s: '%s' is not an IPv4 address from 1.0.0.0 to 239.255.255.255; "
			   "give digits, such as %s:%d", text, address, DEFAULT_GROUP,
			   DEFAULT_PORT);
	destination.sin_port = htons((uint16_t)parse_number("udp ADDR:PORT", colon + 1, 1, 65535));
}

static void parse_pace(const char *text)
{
	opt.pace_given = true;
	if (!strcmp(text, "real")) {
		opt.pace = PACE_REAL;
	} else if (!strcmp(text, "flat")) {
		opt.pace = PACE_FLAT;
	} else if (text[0] >= '0' && text[0] <= '9') {
		opt.pace = PACE_RATE;
		opt.rate = parse_number("pace", text, 1, 100000000);
	} else {
		fail_usage("--pace %s: not a pace; give real, flat, or packets per second from 1 "
			   "to 100000000", text);
	}
}

static void parse_option(int code)
{
	switch (code) {
	case OPT_SEED:
		opt.seed = parse_number("seed", optarg, 0, UINT64_MAX);
		break;
	case OPT_MESSAGES:
		opt.messages = parse_number("messages", optarg, 1, 1000000000);
		break;
	case OPT_PACKETS:
		opt.packets = parse_number("packets", optarg, 1, 1000000000);
		break;
	case OPT_SYMBOLS:
		opt.symbols = (unsigned int)parse_number("symbols", optarg, 1, MARKET_SYMBOLS_MAX);
		break;
	case OPT_START:
		opt.start_ns = parse_time_of_day(optarg);
		break;
	case OPT_PCAP:
		capture.path = optarg;
		break;
	case OPT_FRAMED:
		framed.path = optarg;
		break;
	case OPT_UDP:
		opt.udp = optarg;
		break;
	case OPT_IFACE:
		opt.iface = optarg;
		break;
	case OPT_PACE:
		parse_pace(optarg);
		break;
	case 'h':
		print_help();
		exit(EXIT_SUCCESS);
	case 'V':
		puts("itchfeed " HFTCHAN_VERSION_STRING);
		exit(EXIT_SUCCESS);
	default:			/* getopt_long() has said what is wrong */
		fputs("Try 'itchfeed --help'.\n", stderr);
		exit(2);
	}
}

static void parse_options(int argc, char **argv)
{
	struct option long_options[NR_OPTIONS + 1] = { 0 };
	int code;

	for (size_t i = 0; i < NR_OPTIONS; i++) {
		long_options[i].name = options[i].name;
		long_options[i].has_arg = options[i].argument ? required_argument : no_argument;
		long_options[i].val = options[i].code;
	}
	while ((code = getopt_long(argc, argv, "hV", long_options, NULL)) != -1)
		parse_option(code);

	if (optind < argc)
		fail_usage("%s: unexpected argument; everything is given by options", argv[optind]);
	if (opt.messages && opt.packets)
		fail_usage("--messages and --packets: only one can say where the feed ends");
	if (!opt.messages && !opt.packets)
		opt.messages = 1000000;
	if (!capture.path && !framed.path && !opt.udp)
		fail_usage("no output; give --pcap FILE, --framed FILE or --udp ADDR:PORT");
	if (capture.path && framed.path && !strcmp(capture.path, framed.path))
		fail_usage("--pcap and --framed: both are %s; give two different files",
			   capture.path);
	if (opt.iface && !opt.udp)
		fail_usage("--iface %s: nothing is sent; give --udp ADDR:PORT too", opt.iface);
	if (opt.pace_given && !opt.udp)
		fail_usage("--pace: only a live feed has a pace; give --udp ADDR:PORT too");

	/* also for a capture alone: its frames need an address */
	destination.sin_family = AF_INET;
	destination.sin_port = htons(DEFAULT_PORT);
	inet_pton(AF_INET, DEFAULT_GROUP, &destination.sin_addr);
	if (opt.udp)
		parse_destination(opt.udp);
}

/* ---- the feed ------------------------------------------------------------------------------- */

static void trade(struct market *market, struct mold *mold)
{
	while (!mold_full(mold)) {
		if (market_now(market) > MARKET_TRADE_MAX_NS)
			fail("--start %02u:%02u:%02u: midnight came after %" PRIu64
			     " messages; give an earlier --start or ask for fewer",
			     (unsigned int)(opt.start_ns / NS_PER_SEC / 3600),
			     (unsigned int)(opt.start_ns / NS_PER_SEC / 60 % 60),
			     (unsigned int)(opt.start_ns / NS_PER_SEC % 60), mold->messages);
		market_trade(market);
	}
}

/* one day, cut to the length asked for: at its end if it is long enough to have one */
static void run(struct market *market, struct mold *mold)
{
	/* the last packet is the end of the session */
	uint64_t packets = opt.packets ? opt.packets - 1 : UINT64_MAX;
	uint64_t messages = opt.messages ? opt.messages : UINT64_MAX;

	mold->max_messages = messages;
	mold->max_packets = packets;
	market_open(market);
	if (messages - mold->messages > market_close_messages(market) &&
	    packets - mold->packets > market_close_packets(market)) {
		if (opt.messages)
			mold->max_messages -= market_close_messages(market);
		else
			mold->max_packets -= market_close_packets(market);
		trade(market, mold);
		mold->max_messages = messages;
		mold->max_packets = packets;
	}
	market_close(market);

	/* repeating the end of the session is MoldUDP64's habit, and makes the number exact */
	do
		mold_end_of_session(mold);
	while (mold->packets < opt.packets);
}

int main(int argc, char **argv)
{
	struct sigaction stop = { .sa_handler = on_signal };
	struct mold mold;
	struct market *market;
	uint64_t began_ns;

	parse_options(argc, argv);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	signal(SIGPIPE, SIG_IGN);	/* a reader that has gone is an error of writing */

	mold_init(&mold, opt.seed, opt.start_ns);
	mold.send = send_packet;
	market = market_new(&mold, opt.seed, opt.symbols, opt.start_ns);
	if (!market)
		fail("out of memory for %u symbols; ask for fewer with --symbols", opt.symbols);
	if (opt.udp)
		udp_open();
	file_open(&framed);
	if (capture.path)
		capture_open();
	if (framed.file && capture.file && S_ISREG(framed.st.st_mode) &&
	    framed.st.st_dev == capture.st.st_dev && framed.st.st_ino == capture.st.st_ino)
		fail_usage("--pcap and --framed: both are %s; give two different files",
			   capture.shown);

	began_ns = clock_ns();
	run(market, &mold);
	if (framed.file)
		file_flush(&framed);
	if (capture_dumper) {
		file_flush(&capture);
		pcap_dump_close(capture_dumper);
		pcap_close(capture_handle);
	}
	fprintf(stderr,
		"itchfeed: seed %" PRIu64 ": %" PRIu64 " packets (%" PRIu64 " heartbeats), %" PRIu64
		" messages, %" PRIu64 " bytes, %.3f s simulated, %.3f s taken\n",
		opt.seed, mold.packets, mold.heartbeats, mold.messages, mold.bytes,
		(double)(mold.sent_ns - opt.start_ns) / NS_PER_SEC,
		(double)(clock_ns() - began_ns) / NS_PER_SEC);
	if (opt.udp && opt.pace != PACE_FLAT)
		fprintf(stderr, "itchfeed: %s: the latest packet was sent %" PRIu64
				" us after its time\n", opt.udp, longest_delay_ns / NS_PER_US);
	market_free(market);
	return EXIT_SUCCESS;
}
