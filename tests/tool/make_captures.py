#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Writes small captures that hold one and the same list of messages in every wrapping that
`hftchan pub --pcap` reads, and broken ones; and the list itself as a framed file.
Not a test: test_tool.sh is. It shares no code with the reader it is for.

usage: make_captures.py DIRECTORY
"""
import pathlib
import struct
import sys

STEP_NS = 10_000_000  # between two messages
EPOCH_NS = 1_700_000_000_123_456_789

# lengths that need padding, odd ones, and the largest that an Ethernet frame holds
LENGTHS = [1, 2, 17, 18, 19, 64, 100, 255, 256, 257,
           511, 1000, 1472, 1452, 3, 8, 56, 120, 400, 33]
MESSAGES = [bytes((i * 7 + k * 13) & 255 for k in range(n)) for i, n in enumerate(LENGTHS)]

ETHERNET, NULL, RAW, WLAN, LOOP = 1, 0, 101, 105, 108
SLL, IPV4, IPV6, SLL2 = 113, 228, 229, 276


def udp(payload, length=None):
    length = 8 + len(payload) if length is None else length
    return struct.pack(">HHHH", 4000, 5000, length, 0) + payload


def ipv4(body, protocol=17, fragment=0, options=b"", total=None):
    header = 20 + len(options)
    total = header + len(body) if total is None else total
    return struct.pack(">BBHHHBBH4s4s", 0x40 | header // 4, 0, total, 7, fragment, 64, protocol, 0,
                       bytes([10, 0, 0, 1]), bytes([239, 1, 1, 1])) + options + body


def ipv6(body, following=17):
    return struct.pack(">IHBB32x", 6 << 28, len(body), following, 64) + body


def ethernet(packet, kind=0x0800, tags=()):
    frame = bytes.fromhex("01005e0101010200000000aa")
    for tag in tags:
        frame += struct.pack(">HH", tag, 5)
    frame += struct.pack(">H", kind) + packet
    # short frames are padded, and not with zeros, so that padding taken for payload shows
    return frame + b"\xee" * (60 - len(frame))


def pcap(path, link, packets, nano=False, order="<", snaplen=262144):
    """packets: bytes, or (bytes kept, bytes on the wire)"""
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link)
    for i, packet in enumerate(packets):
        kept, wire = packet if isinstance(packet, tuple) else (packet, len(packet))
        t = EPOCH_NS + i * STEP_NS
        fraction = t % 10**9 if nano else t % 10**9 // 1000
        out += struct.pack(order + "IIII", t // 10**9, fraction, len(kept), wire) + kept
    path.write_bytes(out)
    return out


def block(order, kind, body):
    body += bytes(-len(body) % 4)
    length = len(body) + 12
    return struct.pack(order + "II", kind, length) + body + struct.pack(order + "I", length)


def pcapng(path, packets, resolutions, order="<"):
    """interface i has times in 10^-resolutions[i] s (None: the default, 10^-6); packets in turn"""
    out = block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    for r in resolutions:
        options = b"" if r is None else struct.pack(order + "HHB3xHH", 9, 1, r, 0, 0)
        out += block(order, 1, struct.pack(order + "HHI", ETHERNET, 0, 0) + options)
    for i, packet in enumerate(packets):
        interface = i % len(resolutions)
        r = resolutions[interface]
        t = (EPOCH_NS + i * STEP_NS) // 10 ** (9 - (6 if r is None else r))
        n = len(packet)
        head = struct.pack(order + "IIIII", interface, t >> 32, t & 0xFFFFFFFF, n, n)
        out += block(order, 6, head + packet)
    path.write_bytes(out)
    return out


def main():
    to = pathlib.Path(sys.argv[1])
    plain = [ipv4(udp(m)) for m in MESSAGES]
    frames = [ethernet(p) for p in plain]

    (to / "messages.framed").write_bytes(b"".join(struct.pack(">H", len(m)) + m for m in MESSAGES))

    good = to / "good"
    good.mkdir()
    whole = pcap(good / "ethernet.pcap", ETHERNET, frames)
    pcap(good / "nano.pcap", ETHERNET, frames, nano=True)
    pcap(good / "big-endian.pcap", ETHERNET, frames, order=">")
    pcap(good / "snaplen-0.pcap", ETHERNET, frames, snaplen=0)
    pcap(good / "vlan.pcap", ETHERNET, [ethernet(p, tags=[0x8100]) for p in plain])
    pcap(good / "qinq.pcap", ETHERNET, [ethernet(p, tags=[0x88A8, 0x8100]) for p in plain])
    pcap(good / "options.pcap", ETHERNET,
         [ethernet(ipv4(udp(m), options=b"\x94\x04\0\0")) for m in MESSAGES])
    pcap(good / "ipv6.pcap", ETHERNET, [ethernet(ipv6(udp(m)), 0x86DD) for m in MESSAGES])
    # hop-by-hop options, then a fragment header of a packet that is whole
    headers = bytes([44, 0, 5, 2, 0, 0, 1, 0]) + bytes([17, 0, 0, 0, 0, 0, 0, 9])
    pcap(good / "ipv6-headers.pcap", ETHERNET,
         [ethernet(ipv6(headers + udp(m), 0), 0x86DD) for m in MESSAGES])
    pcap(good / "sll.pcap", SLL, [struct.pack(">HHH8xH", 0, 1, 6, 0x0800) + p for p in plain])
    pcap(good / "sll2.pcap", SLL2,
         [struct.pack(">HHIHBB8x", 0x0800, 0, 1, 1, 0, 6) + p for p in plain])
    pcap(good / "raw.pcap", RAW, plain)
    pcap(good / "ipv4.pcap", IPV4, plain)
    pcap(good / "link-ipv6.pcap", IPV6, [ipv6(udp(m)) for m in MESSAGES])
    pcap(good / "null.pcap", NULL, [struct.pack("<I", 2) + p for p in plain])
    pcap(good / "loop.pcap", LOOP, [struct.pack(">I", 2) + p for p in plain])
    # the capture cut padding off, but no message
    pcap(good / "cut-padding.pcap", ETHERNET,
         [(f[:14 + len(p)], len(f)) for f, p in zip(frames, plain)])
    pcapng(good / "one.pcapng", frames, [None])
    ng = pcapng(good / "resolutions.pcapng", frames, [None, 9, 6, 3])
    pcapng(good / "big-endian.pcapng", frames, [9, None], order=">")

    # what is no message between them: counted as 3 not UDP, 2 fragments, 1 empty, 3 malformed
    other = [
        ethernet(bytes(28), 0x0806),
        ethernet(ipv4(bytes(20), protocol=6)),
        ethernet(b"\x42\x42\x03", 38),
        ethernet(ipv4(udp(b"first part"), fragment=0x2000)),
        ethernet(ipv4(b"second part", fragment=2)),
        ethernet(ipv4(udp(b""))),
        ethernet(ipv4(udp(b"longer than IP says", length=100))),
        ethernet(ipv4(udp(b"short", length=4))),
        ethernet(ipv4(udp(b"beyond the frame" * 4), total=1000)),
    ]
    mixed = []
    for i, frame in enumerate(frames):
        mixed += [other[i]] if i < len(other) else []
        mixed.append(frame)
    pcap(to / "mixed.pcap", ETHERNET, mixed)

    # packet 4 was cut by the snaplen; in the other file within its headers
    for name, kept in ("cut.pcap", 100), ("cut-header.pcap", 20):
        packet = (frames[10][:kept], len(frames[10]))
        pcap(to / name, ETHERNET, frames[:3] + [packet] + frames[4:])
    # the last packet, the 20th, is not whole; its header is not; the file header is not
    (to / "truncated.pcap").write_bytes(whole[:-5])
    (to / "truncated-header.pcap").write_bytes(whole[:-(len(frames[-1]) + 9)])
    (to / "truncated.pcapng").write_bytes(ng[:-20])
    (to / "stump.pcap").write_bytes(whole[:10])
    pcap(to / "wlan.pcap", WLAN, frames)
    pcap(to / "no-message.pcap", ETHERNET, other)


main()
