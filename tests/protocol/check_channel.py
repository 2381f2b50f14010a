#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads a channel's bytes without a line of the library's code.

The offsets, the rules of a legal ring and the sender's stores are written down here a second time,
from the protocol's text. The library is used, by way of its exported functions, to make channels
and to send; every byte of the file is then compared with what the text says.
This is no test of receivers.
Usage: check_channel.py BUILD_DIR     the tests, as TAP
       check_channel.py FILE          check one channel's file, print its messages
The contract: the comments of <linux/hftchan.h> and <hftchan/ring.h>.
"""

import ctypes
import os
import signal
import struct
import sys
import time

DIRTY = 1 << 63
PAGE = 4096
VARLEN = 1

# name: offset and struct format; what isn't listed is reserved and must be 0
CONTROL = {
    "magic": (0, "8s"), "version": (8, "I"), "compat_version": (12, "I"),
    "header_size": (16, "I"), "layout": (20, "I"), "flags": (24, "Q"),
    "payload_size": (32, "I"), "payload_offset": (36, "I"), "nr_slots": (40, "Q"),
    "slot_size": (48, "Q"), "ring_size": (56, "Q"), "ring_offset": (64, "Q"),
    "ring_tx_offset": (72, "Q"), "sender_offset": (80, "Q"), "first_seq": (88, "Q"),
    "type_tag": (96, "Q"), "created_ns": (104, "Q"), "page_size": (112, "I"), "node": (116, "i"),
    "sender_tx_offset": (120, "Q"),
    "epoch": (128, "Q"), "epoch_seq": (136, "Q"), "sender_state": (144, "I"),
    "sender_pid": (148, "i"), "sender_start": (152, "Q"), "sender_pidns": (160, "Q"),
    "attached_ns": (168, "Q"), "sender_flags": (176, "I"), "destroyed": (180, "I"),
    "ended_epoch": (184, "Q"), "sender_timens": (192, "Q"), "waiters": (256, "I"),
    "nr_deaths": (384, "Q"),
    "nr_revokes": (392, "Q"), "nr_repins": (400, "Q"), "nr_arms": (408, "Q"),
    "nr_wakes": (416, "Q"), "ring_path": (512, "256s"),
}


class Illegal(Exception):
    """The bytes are not those of a legal channel."""


class Channel:
    """The content of a channel's file."""

    def __init__(self, data):
        self.data = data
        if len(data) < PAGE:
            raise Illegal(f"only {len(data)} bytes")
        for name, (offset, fmt) in CONTROL.items():
            setattr(self, name, struct.unpack_from("=" + fmt, data, offset)[0])
        if self.magic != b"hftchan\0":
            raise Illegal(f"magic {self.magic}")
        if self.compat_version != 1 or self.layout != 0 or self.flags & ~VARLEN:
            raise Illegal("another version, layout or flag")
        n = self.nr_slots
        if n < 4 or n & (n - 1) or self.payload_offset != 8 or self.ring_size != n * self.slot_size:
            raise Illegal("geometry")
        head = 16 if self.flags & VARLEN else 8
        if self.slot_size % 64 or not head + self.payload_size <= self.slot_size < \
                head + self.payload_size + 64:
            raise Illegal(f"slot of {self.slot_size} for payload of {self.payload_size}")
        if len(data) < self.ring_offset + self.ring_size:
            raise Illegal("the ring is cut off")

    def state(self, i):
        return struct.unpack_from("=Q", self.data, self.ring_offset + i * self.slot_size)[0]

    def verify(self):
        """By a look at every slot. Returns the newest seq and the number of marks."""
        n_slots, first = self.nr_slots, self.first_seq
        states = [self.state(i) for i in range(n_slots)]
        last = []  # the message that each slot holds, or held before it was marked
        for i, v in enumerate(states):
            if v & DIRTY:
                last.append((v & ~DIRTY) - n_slots)
            elif v:
                last.append(v)
                if v < first:
                    raise Illegal(f"slot {i} holds {v}, before the first seq")
            else:
                last.append(first - 1 - (first - 1 - i) % n_slots)
        newest = max(last)
        if newest < first - 1:
            raise Illegal(f"newest is {newest}")
        for i, seq in enumerate(last):
            if seq % n_slots != i:
                raise Illegal(f"slot {i} holds {seq}, which belongs elsewhere")
            if seq <= newest - n_slots:
                raise Illegal(f"slot {i} holds {seq}, too old for newest {newest}")
        marks = sorted(v & ~DIRTY for v in states if v & DIRTY)
        if marks != list(range(newest + 1, newest + 1 + len(marks))):
            raise Illegal(f"marks {marks} after newest {newest}")
        return newest, len(marks)

    def messages(self):
        """All that can be read, oldest first: (seq, type, payload)."""
        found = []
        for i in range(self.nr_slots):
            seq, at = self.state(i), self.ring_offset + i * self.slot_size + 8
            if seq & DIRTY or not seq:
                continue
            size, kind = self.payload_size, 0
            if self.flags & VARLEN:
                size, kind = struct.unpack_from("=II", self.data, at)
                at += 8
                if size > self.payload_size or kind & 0x80000000:
                    raise Illegal(f"message {seq}: {size} bytes of type {kind:#x}")
            found.append((seq, kind, bytes(self.data[at:at + size])))
        return sorted(found)


# ---- the sender's stores, as the protocol's text has them ------------------------------------

class Model:
    """What a ring's bytes must be."""

    def __init__(self, payload, nr_slots, first, varlen):
        self.payload, self.nr_slots, self.varlen = payload, nr_slots, varlen
        self.slot_size = (8 + (8 if varlen else 0) + payload + 63) // 64 * 64
        self.ring = bytearray(nr_slots * self.slot_size)
        self.next = first
        self.sent = []

    def put(self, seq, offset, data):
        at = seq % self.nr_slots * self.slot_size + offset
        self.ring[at:at + len(data)] = data

    def mark(self, seq):
        self.put(seq, 0, struct.pack("=Q", DIRTY | seq))

    def attach(self):
        self.mark(self.next)
        self.mark(self.next + 1)

    def write(self, seq, kind, data):
        """Whole words, the last one filled up with zeros."""
        words = data + bytes(-len(data) % 8)
        if self.varlen:
            words = struct.pack("=II", len(data), kind) + words
        self.put(seq, 8, words)

    def group(self, messages):
        """A batch that isn't divided, or a single message."""
        seq, count = self.next, len(messages)
        if count >= 2:
            for t in range(seq + 2, seq + count + 1):
                self.mark(t)
        for i, (kind, data) in enumerate(messages):
            self.write(seq + i, kind, data)
        for t in range(seq, seq + count):
            self.put(t, 0, struct.pack("=Q", t))
        self.mark(seq + count + 1)
        self.sent += [(seq + i, kind, data) for i, (kind, data) in enumerate(messages)]
        self.next += count

    def batch(self, messages):
        quarter = self.nr_slots // 4
        for i in range(0, len(messages), quarter):
            self.group(messages[i:i + quarter])


# ---- the library, to make what is looked at ---------------------------------------------------

class Attr(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("payload_size", ctypes.c_uint64),
                ("nr_slots", ctypes.c_uint64), ("first_seq", ctypes.c_uint64),
                ("type_tag", ctypes.c_uint64), ("flags", ctypes.c_uint64),
                ("layout", ctypes.c_uint32), ("node", ctypes.c_int32), ("mode", ctypes.c_uint32),
                ("owner", ctypes.c_uint32), ("group", ctypes.c_uint32)]


class Msg(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("len", ctypes.c_uint32), ("type", ctypes.c_uint32),
                ("seq", ctypes.c_uint64), ("lost", ctypes.c_uint64)]


class Library:
    def __init__(self, build_dir):
        self.lib = ctypes.CDLL(os.path.join(build_dir, "libhftchan.so"))
        self.lib.hftchan_strerror_last.restype = ctypes.c_char_p
        self.lib.hftchan_tx_seq.restype = ctypes.c_uint64
        self.lib.hftchan_tx_seq.argtypes = [ctypes.c_void_p]
        self.lib.hftchan_reserve.restype = ctypes.c_void_p
        self.lib.hftchan_reserve.argtypes = [ctypes.c_void_p]
        for name in ("close", "detach"):
            getattr(self.lib, "hftchan_" + name).argtypes = [ctypes.c_void_p]
            getattr(self.lib, "hftchan_" + name).restype = None

    def call(self, name, *args):
        if getattr(self.lib, "hftchan_" + name)(*args) < 0:
            raise OSError(f"{name}: {self.lib.hftchan_strerror_last().decode()}")

    def create(self, name, payload, nr_slots, first=1, tag=0, flags=0):
        attr = Attr(ctypes.sizeof(Attr), payload, nr_slots, first, tag, flags, 0, -1, 0o600,
                    0xffffffff, 0xffffffff)
        self.call("create", name.encode(), ctypes.byref(attr), None)

    def open(self, name):
        ch = ctypes.c_void_p()
        self.call("open", name.encode(), None, ctypes.byref(ch))
        return ch

    def attach(self, ch):
        tx = ctypes.c_void_p()
        self.call("attach", ch, 1, ctypes.byref(tx))
        return tx

    def send(self, tx, kind, data):
        self.call("send_type", tx, data, ctypes.c_size_t(len(data)), kind)

    def send_batch(self, tx, messages):
        batch = (Msg * len(messages))(*[Msg(data, len(data), kind, 0, 0)
                                        for kind, data in messages])
        self.call("send_batch", tx, batch, len(messages))

    def poke(self, tx, nr_slots, slot_size, seq, value):
        """Store a state word past the library: tx points to the address of its ring."""
        slots = ctypes.cast(tx, ctypes.POINTER(ctypes.c_uint64))[0]
        ctypes.c_uint64.from_address(slots + seq % nr_slots * slot_size).value = value


# ---- tests ------------------------------------------------------------------------------------

class Tests:
    def __init__(self, build_dir):
        self.lib = Library(build_dir)
        self.names = []
        self.count = self.failed = 0

    def check(self, what, function, *args):
        """One test: function raises if something is wrong."""
        self.count += 1
        try:
            function(*args)
            print(f"ok {self.count} - {what}")
        except Exception as err:  # whatever it is, it is one failed test
            self.failed += 1
            print(f"not ok {self.count} - {what}\n# {type(err).__name__}: {err}")

    def new_name(self):
        name = f"shm:t-{os.getpid()}-{len(self.names)}"
        self.names.append(name)
        return name

    def remove_all(self):
        for name in self.names:
            self.lib.lib.hftchan_destroy(name.encode(), 1)
        self.names = []

    @staticmethod
    def read(name):
        with open("/dev/shm/hftchan-" + name[4:], "rb") as file:
            return file.read()

    @staticmethod
    def message(seq, varlen, payload):
        size = seq * 13 % (payload + 1) if varlen else payload
        data = bytes((seq * 7 + i * 11 + 1) % 251 + 1 for i in range(size))
        return (seq * 3 & 0x7fffffff if varlen else 0), data

    def expect_ring(self, name, model, marks=2):
        """Every byte of the ring, then what a reader makes of it."""
        channel = Channel(self.read(name))
        ring = channel.data[channel.ring_offset:channel.ring_offset + channel.ring_size]
        if ring != bytes(model.ring):
            at = next(i for i, (a, b) in enumerate(zip(ring, model.ring)) if a != b)
            raise Illegal(f"byte {at} of the ring (slot {at // model.slot_size}, offset "
                          f"{at % model.slot_size}) is {ring[at]:#x}, not {model.ring[at]:#x}; "
                          f"next seq {model.next}")
        newest, found = channel.verify()
        if (newest, found) != (model.next - 1, marks):
            raise Illegal(f"newest {newest} with {found} marks, not {model.next - 1} with {marks}")
        messages = channel.messages()
        # marked slots are no messages any more
        readable = [m for m in model.sent if m[0] > newest - model.nr_slots + found]
        if messages != readable:
            raise Illegal(f"messages {[m[0] for m in messages]}, not {[m[0] for m in readable]}")

    def sends(self, payload, nr_slots, first, varlen):
        name = self.new_name()
        self.lib.create(name, payload, nr_slots, first, flags=VARLEN if varlen else 0)
        model = Model(payload, nr_slots, first, varlen)
        self.expect_ring(name, model, 0)
        ch = self.lib.open(name)
        tx = self.lib.attach(ch)
        model.attach()
        self.expect_ring(name, model)
        for step in range(3 * nr_slots):
            if step % 3 == 2:
                batch = [self.message(model.next + i, varlen, payload) for i in range(step % 11)]
                self.lib.send_batch(tx, batch)
                model.batch(batch)
            else:
                one = self.message(model.next, varlen, payload)
                self.lib.send(tx, *one)
                model.group([one])
            if nr_slots <= 16 or step % 7 == 0:
                self.expect_ring(name, model)
        if self.lib.lib.hftchan_tx_seq(tx) != model.next:
            raise Illegal(f"next seq is {self.lib.lib.hftchan_tx_seq(tx)}, not {model.next}")
        # a reserved payload may change, and nothing else
        ctypes.memset(self.lib.lib.hftchan_reserve(tx), 0x55, payload)
        offset = 16 if varlen else 8
        model.put(model.next, offset, bytes([0x55]) * payload)
        self.expect_ring(name, model)
        self.lib.lib.hftchan_detach(tx)
        self.expect_ring(name, model)
        # the next sender goes on from there
        tx = self.lib.attach(ch)
        model.attach()
        self.expect_ring(name, model)
        one = self.message(model.next, varlen, payload)
        self.lib.send(tx, *one)
        model.group([one])
        self.expect_ring(name, model)
        self.lib.lib.hftchan_detach(tx)
        self.lib.lib.hftchan_close(ch)
        self.remove_all()

    # what a sender can leave when it is killed: the state words it stored last
    DEATHS = {
        "at rest": (lambda s: [], 0, 2),
        "between its two stores": (lambda s: [(s, s)], 1, 1),
        "in the marks of a batch": (lambda s: [(s + 2, DIRTY | s + 2),
                                               (s + 3, DIRTY | s + 3)], 0, 4),
        "in the commits of a batch": (lambda s: [(s + 2, DIRTY | s + 2), (s + 3, DIRTY | s + 3),
                                                (s, s), (s + 1, s + 1)], 2, 2),
    }

    def killed(self, death, first):
        payload, nr_slots = 16, 8
        stores, more, marks = self.DEATHS[death]
        name = self.new_name()
        self.lib.create(name, payload, nr_slots, first)
        model = Model(payload, nr_slots, first, False)
        for life in range(1, 4):
            model.attach()
            planned = [self.message(model.next + i, False, payload) for i in range(9 + life)]
            pid = os.fork()
            if not pid:
                tx = self.lib.attach(self.lib.open(name))
                for one in planned:
                    self.lib.send(tx, *one)
                seq = self.lib.lib.hftchan_tx_seq(tx)
                for at, value in stores(seq):
                    self.lib.poke(tx, nr_slots, model.slot_size, at, value)
                os.kill(os.getpid(), signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
            if status != signal.SIGKILL:
                raise Illegal(f"the sender ended with {status:#x}")
            for one in planned:
                model.group([one])
            for at, value in stores(model.next):
                model.put(at, 0, struct.pack("=Q", value))
            # what lies in those slots is the payload of a lap before: the child wrote none
            for seq in range(model.next, model.next + more):
                at = seq % nr_slots * model.slot_size + 8
                model.sent.append((seq, 0, bytes(model.ring[at:at + payload])))
            model.next += more
            self.expect_ring(name, model, marks)
            channel = Channel(self.read(name))
            # ATTACHED still stands there: nobody has told that it died; its end is the next one's
            expected = (life, life - 1, life - 1, 1)
            found = (channel.epoch, channel.nr_deaths, channel.ended_epoch, channel.sender_state)
            if found != expected:
                raise Illegal(f"epoch, deaths, ended epoch, state {found}, not {expected}")
        self.remove_all()

    def control_page(self):
        """Every byte, before, during and after a sender."""
        name = self.new_name()
        before = time.time_ns()
        self.lib.create(name, 57, 32, 1000, 0x1122334455667788, VARLEN)
        created = time.time_ns()
        expected = {
            "magic": b"hftchan\0", "version": 1, "compat_version": 1, "header_size": 768,
            "flags": VARLEN, "payload_size": 57, "payload_offset": 8, "nr_slots": 32,
            "slot_size": 128, "ring_size": 4096, "ring_offset": 2 << 20, "ring_tx_offset": 2 << 20,
            "sender_offset": 64 << 10, "sender_tx_offset": 64 << 10,
            "first_seq": 1000, "type_tag": 0x1122334455667788,
            "page_size": os.sysconf("SC_PAGESIZE"), "node": -1,
        }

        def compare(when):
            data = self.read(name)
            page = bytearray(PAGE)
            for field, value in expected.items():
                struct.pack_into("=" + CONTROL[field][1], page, CONTROL[field][0], value)
            for i in range(PAGE):
                if data[i] != page[i]:
                    raise Illegal(f"{when}: byte {i} is {data[i]:#x}, not {page[i]:#x}")
            if any(data[PAGE:64 << 10]) or any(data[(64 << 10) + 8:2 << 20]):
                raise Illegal(f"{when}: something between the regions")
            return struct.unpack_from("=Q", data, 64 << 10)[0]

        def bounded(field, low, high):
            value = getattr(Channel(self.read(name)), field)
            if not low <= value <= high:
                raise Illegal(f"{field} {value} is not between {low} and {high}")
            expected[field] = value

        bounded("created_ns", before, created)
        if compare("created"):
            raise Illegal("a heartbeat before the first sender")
        ch = self.lib.open(name)
        for epoch in (1, 2):
            before = time.time_ns()
            tx = self.lib.attach(ch)
            bounded("attached_ns", before, time.time_ns())
            with open("/proc/self/stat", encoding="ascii", errors="replace") as stat:
                start = int(stat.read().rpartition(")")[2].split()[19])
            expected.update(epoch=epoch, ended_epoch=epoch - 1, epoch_seq=1000 + (epoch - 1) * 2,
                            sender_state=1, sender_pid=os.getpid(), sender_start=start,
                            sender_pidns=os.stat("/proc/self/ns/pid").st_ino,
                            sender_timens=os.stat("/proc/self/ns/time").st_ino)
            if compare("attached"):
                raise Illegal("a heartbeat before the first one of this sender")
            self.lib.send(tx, 5, b"one")
            self.lib.send(tx, 6, b"two")
            before = time.monotonic_ns()
            self.lib.call("heartbeat", tx)
            if not before <= compare("sent") <= time.monotonic_ns():
                raise Illegal("wrong heartbeat")
            self.lib.lib.hftchan_detach(tx)
            expected.update(sender_state=0, ended_epoch=epoch)
            compare("detached")
        self.lib.lib.hftchan_close(ch)
        self.remove_all()

    def corruptions(self):
        """A checker that accepts everything proves nothing."""
        name = self.new_name()
        self.lib.create(name, 16, 8)
        ch = self.lib.open(name)
        tx = self.lib.attach(ch)
        for seq in range(1, 21):
            self.lib.send(tx, *self.message(seq, False, 16))
        self.lib.lib.hftchan_detach(tx)
        self.lib.lib.hftchan_close(ch)
        good = self.read(name)
        self.remove_all()
        if Channel(good).verify() != (20, 2):
            raise Illegal("the good one is not good")
        at = Channel(good).ring_offset
        # 20 in slot 4, marks for 21 and 22 in slots 5 and 6, the oldest is 15 in slot 7
        for slot, value in ((4, 12), (4, 28), (4, 21), (4, 0), (4, DIRTY | 28), (5, DIRTY | 29),
                            (5, 13), (5, DIRTY | 22), (6, 22), (7, 7), (7, 16), (7, 0), (0, 17),
                            (0, DIRTY | 24), (7, DIRTY | 15), (3, 1 << 62), (3, (1 << 64) - 1)):
            bad = bytearray(good)
            struct.pack_into("=Q", bad, at + slot * 64, value)
            try:
                result = Channel(bad).verify()
            except Illegal:
                continue
            raise Illegal(f"slot {slot} with {value:#x} passes as {result}")
        for field, value in (("magic", b"hftchan1"), ("compat_version", 2), ("layout", 1),
                             ("flags", 2), ("nr_slots", 7), ("nr_slots", 2), ("slot_size", 128),
                             ("ring_size", 1), ("payload_size", 57), ("ring_offset", 1 << 40)):
            bad = bytearray(good)
            struct.pack_into("=" + CONTROL[field][1], bad, CONTROL[field][0], value)
            try:
                Channel(bad).verify()
            except Illegal:
                continue
            raise Illegal(f"{field} {value} passes")

    def run(self):
        try:
            self.check("the checker refuses corrupted channels", self.corruptions)
            self.check("every byte of the control and the sender page", self.control_page)
            for varlen in (False, True):
                for payload in (1, 7, 8, 9, 56, 57, 120, 4096):
                    for nr_slots in (4, 8, 16) if payload < 4096 else (4,):
                        self.check(f"every byte of a ring: payload {payload}, {nr_slots} slots"
                                   f"{', variable length' if varlen else ''}",
                                   self.sends, payload, nr_slots, 1, varlen)
                for first in (2, 7, 100, 101, (1 << 62) - 5, 1 << 62):
                    self.check(f"first seq {first}{', variable length' if varlen else ''}",
                               self.sends, 24, 8, first, varlen)
                self.check(f"64 slots{', variable length' if varlen else ''}",
                           self.sends, 40, 64, 1, varlen)
            for death in self.DEATHS:
                for first in (1, 7, 100):
                    self.check(f"sender killed {death}, first seq {first}", self.killed, death,
                               first)
        finally:
            self.remove_all()
        left = [f for f in os.listdir("/dev/shm") if f.startswith(f"hftchan-t-{os.getpid()}-")]
        self.check("nothing left in /dev/shm", self.nothing_left, left)
        print(f"1..{self.count}")
        return 1 if self.failed else 0

    @staticmethod
    def nothing_left(left):
        if left:
            raise Illegal(", ".join(left))


def check_file(path):
    with open(path, "rb") as file:
        data = file.read()
    try:
        channel = Channel(data)
        newest, marks = channel.verify()
        for seq, kind, payload in channel.messages():
            print(seq, kind, payload.hex())
    except Illegal as err:
        print(f"{path}: not legal: {err}", file=sys.stderr)
        return 1
    print(f"{path}: legal, newest {newest}, {marks} marked, epoch {channel.epoch}", file=sys.stderr)
    return 0


def main():
    # a time limit ends it in order, with what it made removed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    if os.path.isdir(sys.argv[1]):
        return Tests(sys.argv[1]).run()
    return check_file(sys.argv[1])


if __name__ == "__main__":
    sys.exit(main())
