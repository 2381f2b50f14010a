#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# check_itch.py - an independent reader of what itchfeed writes: pcap, MoldUDP64, ITCH 5.0, books.
# Not a dissector for real captures: it also demands what only itchfeed promises (book.h).
# The contract is in Nasdaq's specifications of TotalView-ITCH 5.0 and MoldUDP64 1.00.
"""usage: check_itch.py verify [--all-types] --pcap FILE [--framed FILE]
       check_itch.py mutants --pcap FILE
       check_itch.py live ITCHFEED ADDRESS:PACE...

verify   read everything, replay the books; wrong is exit status 1 with the reason; --all-types
         demands a whole day with every type of message
mutants  spoil the capture in many ways, and demand that each one is found wrong
live     run ITCHFEED to each address at each pace, and demand that what a socket receives is
         what the same run's capture holds
"""

import argparse
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections import Counter

NS = 10**9
LENGTHS = {"S": 12, "R": 39, "H": 25, "A": 36, "F": 40, "E": 31, "C": 36, "X": 23, "D": 19,
           "U": 35, "P": 44, "Q": 40, "B": 19, "I": 50}
END_OF_SESSION = 0xffff
PACKET_MAX = 1400
FLUSH_NS = 20_000
TICK = 100


class Wrong(Exception):
    """The feed says something impossible."""


def need(condition, what):
    if not condition:
        raise Wrong(what)


# ---- the capture ----------------------------------------------------------------------------

def read_pcap(data):
    """Yields (time in ns, frame)."""
    need(len(data) >= 24, "pcap: shorter than its header")
    order = next((o for o in "<>" if struct.unpack(o + "I", data[:4])[0] == 0xa1b23c4d), None)
    need(order, "pcap: not one with nanoseconds")
    major, minor, _, _, _, link = struct.unpack(order + "HHiIII", data[4:24])
    need((major, minor, link) == (2, 4, 1), "pcap: not version 2.4 with Ethernet frames")
    at = 24
    while at < len(data):
        need(at + 16 <= len(data), "pcap: ends within a record's header")
        seconds, ns, kept, size = struct.unpack(order + "IIII", data[at:at + 16])
        at += 16
        need(ns < NS and kept == size, "pcap: impossible record header")
        need(at + kept <= len(data), "pcap: ends within a frame")
        yield seconds * NS + ns, data[at:at + kept]
        at += kept


def checksum(data):
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def udp_payload(frame):
    need(frame[12:14] == b"\x08\x00" and frame[14] == 0x45, "frame: not plain IPv4")
    ip, udp = frame[14:34], frame[34:]
    need(struct.unpack(">H", ip[2:4])[0] == len(frame) - 14, "IPv4: wrong length")
    need(checksum(ip) == 0, "IPv4: wrong checksum")
    need(ip[9] == 17, "IPv4: not UDP")
    if ip[16] >> 4 == 0xe:
        mac = b"\x01\x00\x5e" + bytes([ip[17] & 0x7f]) + ip[18:20]
        need(frame[:6] == mac, "Ethernet: not the address of the multicast group")
    need(struct.unpack(">H", udp[4:6])[0] == len(udp), "UDP: wrong length")
    need(udp[6:8] != b"\0\0", "UDP: no checksum")
    need(checksum(ip[12:20] + struct.pack(">HH", 17, len(udp)) + udp) == 0,
         "UDP: wrong checksum")
    return udp[8:]


def build_capture(records):
    """The reverse: only as much of a frame as udp_payload() checks."""
    parts = [struct.pack("<IHHiIII", 0xa1b23c4d, 2, 4, 0, 0, 65535, 1)]
    for time, payload in records:
        udp = struct.pack(">HHHH", 1, 2, len(payload) + 8, 0) + payload
        address = bytes([192, 0, 2, 1, 192, 0, 2, 2])
        pseudo = address + struct.pack(">HH", 17, len(udp))
        udp = udp[:6] + struct.pack(">H", checksum(pseudo + udp) or 0xffff) + udp[8:]
        ip = struct.pack(">BBHHHBBH", 0x45, 0, len(udp) + 20, 0, 0, 1, 17, 0) + address
        ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
        frame = bytes(12) + b"\x08\x00" + ip + udp
        parts.append(struct.pack("<IIII", time // NS, time % NS, len(frame), len(frame)) + frame)
    return b"".join(parts)


# ---- MoldUDP64 ------------------------------------------------------------------------------

def blocks(data, what):
    at = 0
    while at < len(data):
        need(at + 2 <= len(data), f"{what}: ends within a length")
        size = struct.unpack(">H", data[at:at + 2])[0]
        at += 2
        need(at + size <= len(data), f"{what}: ends within a message")
        yield data[at:at + size]
        at += size


def unpack_session(records):
    """Checks the whole session, yields (packet's time of day in ns, its messages)."""
    session, sequence, ended, last = None, 1, False, None
    for number, (time, payload) in enumerate(records, 1):
        what = f"packet {number}"
        need(20 <= len(payload) <= PACKET_MAX, f"{what}: impossible size")
        name, first, count = struct.unpack(">10sQH", payload[:20])
        session = session or name
        need(name == session, f"{what}: of another session")
        need(first == sequence, f"{what}: sequence number {first} instead of {sequence}")
        need(last is None or time >= last, f"{what}: earlier than the one before")
        messages = list(blocks(payload[20:], what))
        need(not ended or count == END_OF_SESSION, f"{what}: comes after the end of the session")
        if count == END_OF_SESSION:
            ended, count = True, 0
        elif count == 0 and last is not None:
            need(time - last == NS, f"{what}: a heartbeat, but not after an idle second")
        if last is not None:
            need(time - last <= NS, f"{what}: more than a second of silence before it")
        need(count == len(messages), f"{what}: says {count} messages, has {len(messages)}")
        sequence, last = sequence + count, time
        yield time % (86400 * NS), messages
    need(ended, "the session has no end")


# ---- ITCH and the books ---------------------------------------------------------------------

class Books:
    def __init__(self):
        self.types = Counter()
        self.time = 0
        self.events = ""
        self.names = {}         # locate: name
        self.state = {}         # locate: trading state
        self.orders = {}        # reference: [locate, side, price, shares]
        self.levels = {}        # (locate, side): {price: {reference: None}}, the oldest first
        self.last_ref = 0
        self.matches = {}       # match number: locate, until broken
        self.last_match = 0

    def message(self, data):
        need(data, "an empty message")
        kind = chr(data[0])
        need(kind in LENGTHS, f"unknown message type {kind!r}")
        need(len(data) == LENGTHS[kind], f"{kind}: {len(data)} bytes, not {LENGTHS[kind]}")
        locate, tracking, high, low = struct.unpack(">HHHI", data[1:11])
        time = high << 32 | low
        need(tracking == 0, f"{kind}: a tracking number")
        need(self.time <= time < 86400 * NS, f"{kind}: time goes backwards")
        need(self.events or data[11:] == b"O", f"{kind}: before the start of messages")
        need(not self.events.endswith("C"), f"{kind}: after the end of messages")
        need(kind in "SR" or locate in self.names, f"{kind}: stock {locate} not in the directory")
        self.time = time
        self.types[kind] += 1
        getattr(self, "type_" + kind)(locate, data[11:])
        return time

    def name(self, locate, name):
        need(self.names[locate] == name, f"stock {locate} is {self.names[locate]}, not {name}")

    def best(self, locate, side):
        level = self.levels.get((locate, side))
        return (max if side == b"B" else min)(level) if level else None

    def open_for_trading(self, locate, kind):
        need(self.events == "OSQ", f"{kind}: outside market hours")
        need(self.state.get(locate) == b"T", f"{kind}: stock {locate} is paused")

    def match(self, locate, match):
        need(match > self.last_match, f"match number {match} is not a new one")
        self.last_match = match
        self.matches[match] = locate

    def add(self, ref, locate, side, shares, price):
        need(self.events in ("OS", "OSQ"), "add: outside system hours")
        need(ref > self.last_ref, f"order {ref} is not a new one")
        need(side in (b"B", b"S"), f"order {ref}: side {side}")
        need(0 < shares < 1_000_000, f"order {ref}: {shares} shares")
        need(0 < price < 2_000_000_000 and price % TICK == 0, f"order {ref}: price {price}")
        opposite = self.best(locate, b"S" if side == b"B" else b"B")
        if opposite is not None:
            need(price < opposite if side == b"B" else price > opposite,
                 f"order {ref}: crosses the book")
        self.last_ref = ref
        self.orders[ref] = [locate, side, price, shares]
        self.levels.setdefault((locate, side), {}).setdefault(price, {})[ref] = None

    def live(self, ref, locate, kind):
        need(ref in self.orders, f"{kind}: order {ref} is not live")
        order = self.orders[ref]
        need(order[0] == locate, f"{kind}: order {ref} is of another stock")
        return order

    def reduce(self, ref, shares, kind):
        order = self.orders[ref]
        need(0 < shares <= order[3], f"{kind}: {shares} of the {order[3]} shares of order {ref}")
        order[3] -= shares
        if not order[3]:
            self.remove(ref)

    def remove(self, ref):
        locate, side, price, _ = self.orders.pop(ref)
        level = self.levels[locate, side]
        del level[price][ref]
        if not level[price]:
            del level[price]

    def execute(self, locate, ref, shares, match, kind):
        self.open_for_trading(locate, kind)
        _, side, price, _ = self.live(ref, locate, kind)
        best = self.best(locate, side)
        need(price == best, f"{kind}: order {ref} at {price} is not at the best price {best}")
        need(next(iter(self.levels[locate, side][best])) == ref,
             f"{kind}: order {ref} is not the oldest at its price")
        self.reduce(ref, shares, kind)
        self.match(locate, match)
        return side, price

    def type_S(self, locate, body):
        self.events += body.decode()
        need(locate == 0 and "OSQMEC".startswith(self.events),
             f"S: system events in the order {self.events}")

    def type_R(self, locate, body):
        name, *fields, lot, _, _, _, authentic = struct.unpack(">8sccIcc2sc", body[:19])
        need(locate and locate not in self.names, f"R: stock {locate} twice")
        need(name == name.rstrip() + b" " * name.count(b" ") and name.isascii(), "R: bad name")
        need(name not in self.names.values(), f"R: {name} twice")
        need(fields[0] in (b"Q", b"G", b"S") and fields[1] == b"N", "R: market or status")
        need(lot == 100 and authentic == b"T", "R: round lot or authenticity")
        need(body[19:24] == b"NN1N\0" and body[24:] == b"\0\0\0N", "R: the last fields")
        self.names[locate] = name

    def type_H(self, locate, body):
        name, state, reserved, reason = struct.unpack(">8scc4s", body)
        self.name(locate, name)
        need((state, reason) in ((b"T", b"    "), (b"P", b"LUDP")) and reserved == b" ",
             f"H: state {state}, reason {reason}")
        need(state != self.state.get(locate), f"H: stock {locate} was in state {state} already")
        self.state[locate] = state

    def type_A(self, locate, body):
        ref, side, shares, name, price = struct.unpack(">QcI8sI", body[:25])
        self.name(locate, name)
        self.add(ref, locate, side, shares, price)

    def type_F(self, locate, body):
        need(body[25:].isalpha() and body[25:].isupper(), f"F: attribution {body[25:]}")
        self.type_A(locate, body)

    def type_E(self, locate, body):
        self.execute(locate, *struct.unpack(">QIQ", body), "E")

    def type_C(self, locate, body):
        ref, shares, match, printable, price = struct.unpack(">QIQcI", body)
        side, shown = self.execute(locate, ref, shares, match, "C")
        need(printable in (b"Y", b"N"), "C: neither printable nor not")
        need(0 < (price - shown if side == b"B" else shown - price) < TICK,
             f"C: price {price} of an order at {shown}")

    def type_X(self, locate, body):
        ref, shares = struct.unpack(">QI", body)
        need(shares < self.live(ref, locate, "X")[3], "X: cancels all that is left")
        self.reduce(ref, shares, "X")

    def type_D(self, locate, body):
        ref = struct.unpack(">Q", body)[0]
        self.live(ref, locate, "D")
        self.remove(ref)

    def type_U(self, locate, body):
        old, new, shares, price = struct.unpack(">QQII", body)
        side = self.live(old, locate, "U")[1]
        self.remove(old)
        self.add(new, locate, side, shares, price)

    def type_P(self, locate, body):
        ref, side, shares, name, price, match = struct.unpack(">QcI8sIQ", body)
        self.name(locate, name)
        self.open_for_trading(locate, "P")
        need(ref == 0 and side == b"B" and shares > 0, "P: tells of the hidden order")
        bid, ask = self.best(locate, b"B"), self.best(locate, b"S")
        need(bid and ask and bid < price < ask, f"P: {price} is not between {bid} and {ask}")
        self.match(locate, match)

    def type_Q(self, locate, body):
        shares, name, price, match, kind = struct.unpack(">Q8sIQc", body)
        self.name(locate, name)
        need((kind, self.events) in ((b"O", "OSQ"), (b"H", "OSQ"), (b"C", "OSQM")),
             f"Q: cross {kind} after the events {self.events}")
        need(bool(shares) == bool(price) == (self.state[locate] == b"T"),
             f"Q: {shares} shares at {price} in state {self.state[locate]}")
        self.match(locate, match)

    def type_B(self, locate, body):
        match = struct.unpack(">Q", body)[0]
        need(self.matches.pop(match, None) == locate, f"B: no match {match} to break")

    def type_I(self, locate, body):
        _, imbalance, direction, name, far, near, reference, kind, variation = \
            struct.unpack(">QQc8sIIIcc", body)
        self.name(locate, name)
        need((direction == b"N") == (imbalance == 0) and direction in b"BSN", "I: direction")
        need(far and near and reference and variation == b"L", "I: prices")
        need(kind == (b"O" if self.events == "OS" else b"H"), f"I: cross {kind}")
        need(kind == b"O" or self.state[locate] == b"P", "I: stock is not paused")


# ---- the commands ---------------------------------------------------------------------------

def verify_records(records):
    """Returns the books, the framed form of the messages, and the packets by message count."""
    books, framed, counts = Books(), bytearray(), Counter()
    for time, messages in unpack_session(records):
        counts[len(messages)] += 1
        for data in messages:
            said = books.message(data)
            need(said <= time <= said + FLUSH_NS,
                 f"{chr(data[0])}: its time {said} does not agree with its packet's, {time}")
            framed += struct.pack(">H", len(data)) + data
    return books, framed, counts


def verify_capture(data):
    return verify_records((time, udp_payload(frame)) for time, frame in read_pcap(data))


def read_file(path):
    with open(path, "rb") as file:
        return file.read()


def verify(args):
    books, framed, counts = verify_capture(read_file(args.pcap))
    if args.framed:
        need(read_file(args.framed) == framed, "the framed file and the capture differ")
    missing = set(LENGTHS) - set(books.types)
    need(not (args.all_types and missing), f"no message of type {', '.join(sorted(missing))}")
    need(not args.all_types or books.events == "OSQMEC", f"the day ended at {books.events}")
    kinds = " ".join(f"{kind}:{count}" for kind, count in books.types.most_common())
    print(f"{counts.total()} packets, {books.types.total()} messages, at most {max(counts)} "
          f"in a packet; events {books.events}; {kinds}")


def mutants(args):
    data = read_file(args.pcap)
    verify_capture(data)
    good = [(time, udp_payload(frame)) for time, frame in read_pcap(data)]

    def edit(kind, change):
        """Changes the first message of a kind; the sequence numbers stay right."""
        records, done = [], False
        for time, payload in good:
            messages = list(blocks(payload[20:], "packet"))
            at = next((i for i, m in enumerate(messages) if m[0] == ord(kind)), None)
            if not done and at is not None:
                messages[at] = bytes(change(bytearray(messages[at])))
                payload = payload[:20] + b"".join(struct.pack(">H", len(m)) + m
                                                  for m in messages)
                done = True
            records.append((time, payload))
        need(done, f"nothing to spoil: no message of type {kind}")
        return build_capture(records)

    def field(offset, size, change):
        def apply(message):
            value = int.from_bytes(message[offset:offset + size], "big")
            message[offset:offset + size] = change(value).to_bytes(size, "big")
            return message
        return apply

    middle = len(good) // 2
    swapped = good[:middle] + [good[middle + 1], good[middle]] + good[middle + 2:]
    doubled = good[:middle] + [good[middle]] + good[middle:]
    late = [(time + NS, payload) for time, payload in good]
    unknown, nobody = field(11, 8, lambda _: 1 << 60), "is not live"
    too_many = field(19, 4, lambda _: 999_999)
    # how it is spoilt, and what of the reason must be found
    spoilt = {
        "a bit flipped": (data[:-1] + bytes([data[-1] ^ 1]), "UDP: wrong checksum"),
        "the capture cut short": (data[:-1], "ends within a frame"),
        "a packet lost": (build_capture(good[:middle] + good[middle + 1:]), "sequence number"),
        "a packet twice": (build_capture(doubled), "sequence number"),
        "two packets swapped": (build_capture(swapped), "sequence number"),
        "the end of the session lost": (build_capture(good[:-1]), "has no end"),
        "capture times a second late": (build_capture(late), "does not agree"),
        "time going backwards": (edit("U", field(5, 6, lambda ns: ns - NS)), "goes backwards"),
        "a message too long": (edit("D", lambda message: message + b"\0"), "20 bytes, not 19"),
        "an unknown type": (edit("D", field(0, 1, lambda _: ord("d"))), "unknown message type"),
        "a stock out of nowhere": (edit("A", field(1, 2, lambda _: 0xfff0)), "the directory"),
        "another stock's name": (edit("A", field(24, 8, lambda name: name + 256)), "ZAAA"),
        "an order reference used again": (edit("U", field(19, 8, lambda _: 1)), "not a new one"),
        "an execution of an unknown order": (edit("E", unknown), nobody),
        "an execution of too many shares": (edit("E", too_many), "999999 of the"),
        "an execution of no shares": (edit("E", field(19, 4, lambda _: 0)), "E: 0 of the"),
        "a match number used again": (edit("E", field(23, 8, lambda _: 1)), "not a new one"),
        "a cancel of an unknown order": (edit("X", unknown), nobody),
        "a cancel of too many shares": (edit("X", too_many), "all that is left"),
        "a delete of an unknown order": (edit("D", unknown), nobody),
        "a replacement of an unknown order": (edit("U", unknown), nobody),
        "a book that crosses": (edit("A", field(32, 4, lambda _: 1_999_999_900)), "crosses"),
        "a hidden trade off the spread": (edit("P", field(32, 4, lambda _: 1)), "not between"),
        "a broken trade that never was": (edit("B", unknown), "to break"),
    }
    survivors = 0
    for what, (capture, reason) in spoilt.items():
        try:
            verify_capture(capture)
            found = "accepted"
        except Wrong as wrong:
            found = str(wrong)
        if reason not in found:
            survivors += 1
            print(f"{what}: not found wrong for the right reason: {found}")
    need(not survivors, f"{survivors} of {len(spoilt)} spoilt captures were not found out")
    # the reverse: it is not the rebuilding that spoils
    verify_capture(build_capture(good))
    print(f"{len(spoilt)} spoilt captures, each found wrong for the right reason")


def live_run(itchfeed, group, pace, directory):
    # few enough to stay in the socket's buffer whole: nothing here depends on who runs when
    packets = 150
    path = os.path.join(directory, "live.pcap")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        receiver.bind((group, 0))
        if int(group.split(".")[0]) >= 224:
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                                struct.pack("4s4si", socket.inet_aton(group), bytes(4),
                                            socket.if_nametoindex("lo")))
        port = receiver.getsockname()[1]
        subprocess.run([itchfeed, "--udp", f"{group}:{port}", "--pace", pace, "--packets",
                        str(packets), "--pcap", path], check=True, stderr=subprocess.DEVNULL)
        receiver.setblocking(False)
        received = []
        try:
            while True:
                received.append(receiver.recv(65536))
        except BlockingIOError:
            pass
    sent = [udp_payload(frame) for _, frame in read_pcap(read_file(path))]
    need(len(sent) == packets, f"{group} {pace}: {len(sent)} packets captured, not {packets}")
    need(len(received) == packets, f"{group} {pace}: {len(received)} packets received")
    need(received == sent, f"{group} {pace}: received other bytes than captured")
    print(f"{group} {pace}: {packets} packets, {sum(map(len, sent))} bytes, as captured")


def live(args):
    with tempfile.TemporaryDirectory() as directory:
        for run in args.runs:
            live_run(args.itchfeed, *run.split(":"), directory)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("verify")
    command.add_argument("--all-types", action="store_true")
    command.add_argument("--pcap", required=True)
    command.add_argument("--framed")
    command.set_defaults(run=verify)
    command = commands.add_parser("mutants")
    command.add_argument("--pcap", required=True)
    command.set_defaults(run=mutants)
    command = commands.add_parser("live")
    command.add_argument("itchfeed")
    command.add_argument("runs", nargs="+")
    command.set_defaults(run=live)
    args = parser.parse_args()
    try:
        args.run(args)
    except (Wrong, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"check_itch.py: {error}")


main()
