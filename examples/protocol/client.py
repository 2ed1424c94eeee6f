#!/usr/bin/env python3
"""A Farcall client in the standard library of Python: ships a core, runs one task, prints its output.

    client.py HOST:PORT CREDENTIALS LIBRARY [INPUT]

CREDENTIALS is the folder with `authority.pem` and `client.pem`; LIBRARY is a compute core, a shared
library. Written from docs/protocol.md, whose sections the comments name.
"""

import os
import secrets
import socket
import ssl
import struct
import sys

VERSION, HELLO, WELCOME, PING, PONG, GOODBYE = 0x01, 0x10, 0x11, 0x12, 0x13, 0x14
DEFINE, CREDIT, RUN, DONE = 0x20, 0x21, 0x22, 0x23
HAVE, KNOWN, PUT, STORED, MEMBERS = 0x30, 0x31, 0x32, 0x33, 0x40
PAYLOAD = 0x2A
INLINE_MAX, BULK_CHUNK_MAX, CONTROL_BODY_MAX = 64 * 1024, 256 * 1024, 64 * 1024 + 4096
STATUSES = ["finished", "crashed", "exited", "out of memory", "time limit", "cancelled", "refused",
            "broken", "worker lost"]


def blake3(data):
    """The BLAKE3 hash of some bytes (section 3), by the book: chunks of 1 KiB under a binary tree."""
    iv = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
    order = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
    lanes = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
             (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
    mask, start, end, parent, root = 0xFFFFFFFF, 1, 2, 4, 8

    def compress(chain, words, counter, length, flags):
        s = list(chain) + list(iv[:4]) + [counter & mask, counter >> 32, length, flags]
        for _ in range(7):
            for i, (a, b, c, d) in enumerate(lanes):
                for word, r, q in ((words[2 * i], 16, 12), (words[2 * i + 1], 8, 7)):
                    s[a] = (s[a] + s[b] + word) & mask
                    x = s[d] ^ s[a]
                    s[d] = (x >> r | x << (32 - r)) & mask
                    s[c] = (s[c] + s[d]) & mask
                    x = s[b] ^ s[c]
                    s[b] = (x >> q | x << (32 - q)) & mask
            words = [words[i] for i in order]
        return [s[i] ^ s[i + 8] for i in range(8)]

    def chunk(piece, counter, last):
        chain, blocks = iv, [piece[i:i + 64] for i in range(0, len(piece), 64)] or [b""]
        for i, block in enumerate(blocks):
            flags = start * (i == 0) | (end | last) * (i == len(blocks) - 1)
            words = struct.unpack("<16I", block.ljust(64, b"\0"))
            chain = compress(chain, words, counter, len(block), flags)
        return chain

    def tree(first, piece, last):
        if len(piece) <= 1024:
            return chunk(piece, first, last)
        left = 1 << ((len(piece) - 1) // 1024).bit_length() - 1    # the largest power of two below
        halves = tree(first, piece[:left * 1024], 0), tree(first + left, piece[left * 1024:], 0)
        return compress(iv, halves[0] + halves[1], 0, 64, parent | last)

    return struct.pack("<8I", *tree(0, data, root))


# Section 3: the encoding.

def varint(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def string(text):
    return varint(len(text.encode())) + text.encode()


class Reader:
    def __init__(self, body):
        self.rest = body

    def take(self, count):
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def varint(self):
        number = shift = 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    def signed(self):
        number = self.varint()
        return number >> 1 ^ -(number & 1)

    def string(self):
        return self.take(self.varint()).decode()


class Connection:
    """Sections 1, 2 and 4: TLS, frames, the greeting."""

    def __init__(self, address, credentials, purpose):
        host, _, port = address.rpartition(":")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(os.path.join(credentials, "authority.pem"))
        context.load_cert_chain(os.path.join(credentials, "client.pem"))
        context.set_alpn_protocols(["farcall/2"])
        stream = socket.create_connection((host.strip("[]"), int(port)))
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The name is checked against the node's certificate. Python says it in the clear as well,
        # which a node does not mind.
        self.stream = context.wrap_socket(stream, server_hostname="node.farcall")
        self.input = self.stream.makefile("rb")
        self.send(VERSION, struct.pack("<I", 2))
        self.send(HELLO, string("client.py 1") + string("python") + purpose)
        if self.expect(VERSION) != b"\1":
            raise SystemExit("the node speaks another version")
        welcome = Reader(self.expect(WELCOME))
        self.agent, self.node = welcome.string(), welcome.string()
        self.token, self.slots = welcome.varint(), welcome.varint()

    def send(self, kind, body=b"", channel=0):
        self.stream.sendall(struct.pack("<BQQ", kind, channel, len(body)) + body)

    def receive(self):
        """The next frame that is not about the connection itself (section 5)."""
        while True:
            header = self.input.read(17)
            if len(header) < 17:
                raise SystemExit("the node closed the connection")
            kind, channel, length = struct.unpack("<BQQ", header)
            if length > max(CONTROL_BODY_MAX, BULK_CHUNK_MAX + 16):
                raise SystemExit("a frame that is too long")
            body = self.input.read(length)
            if kind == PING:
                self.send(PONG)
            elif kind == GOODBYE and body != b"\0":
                raise SystemExit(f"the node says goodbye: {body!r}")
            elif kind not in (PONG, MEMBERS, GOODBYE):
                return kind, channel, body

    def expect(self, wanted):
        """The body of the next frame of a kind; news of credits are no answer."""
        while True:
            kind, _, body = self.receive()
            if kind == wanted:
                return body
            if kind != CREDIT:
                raise SystemExit(f"a frame of kind {kind:#x} instead of {wanted:#x}")
            self.credits = Reader(body).varint()

    credits = 0


def send_payload(bulk, channel, data):
    """Section 9."""
    for offset in range(0, len(data), BULK_CHUNK_MAX) or [0]:
        head = struct.pack("<QQ", len(data), offset)
        bulk.send(PAYLOAD, head + data[offset:offset + BULK_CHUNK_MAX], channel)


def receive_payload(bulk, channel, length):
    data = b""
    while len(data) < length:
        kind, of, body = bulk.receive()
        total, offset = struct.unpack("<QQ", body[:16])
        if (kind, of, total, offset) != (PAYLOAD, channel, length, len(data)):
            raise SystemExit("a payload that was not announced")
        data += body[16:]
    return data


def main():
    if len(sys.argv) not in (4, 5):
        raise SystemExit(__doc__)
    address, credentials, path = sys.argv[1:4]
    data = sys.argv[4].encode() if len(sys.argv) == 5 else sys.stdin.buffer.read()
    with open(path, "rb") as file:
        library = file.read()

    link = Connection(address, credentials, varint(0))
    print(f"{link.node} ({link.agent}) with {link.slots} slots", file=sys.stderr)
    bulk = None
    if max(len(library), len(data)) > INLINE_MAX:
        bulk = Connection(address, credentials, varint(2) + varint(link.token))

    # Section 6: the library goes once.
    name = blake3(library)
    link.send(HAVE, name)
    if link.expect(KNOWN) != name + b"\1":
        inline = library if len(library) <= INLINE_MAX else b""
        link.send(PUT, name + varint(len(library)) + inline, channel=1)
        if not inline:
            send_payload(bulk, 1, library)
        stored = Reader(link.expect(STORED)[32:])
        if stored.take(1) == b"\1":
            raise SystemExit(f"the node does not take the library: {stored.string()}")
        print(f"sent {len(library)} bytes of {os.path.basename(path)}", file=sys.stderr)

    # Section 7: program 0, no limit of memory; a task on channel 2, the first attempt, no deadline.
    link.send(DEFINE, varint(0) + varint(0) + name + string(os.path.basename(path)) + varint(0))
    while link.credits == 0:
        link.credits = Reader(link.expect(CREDIT)).varint()
    head = varint(0) + varint(1) + varint(0)
    # Section 7: the task's name, for those who ask why.
    called = varint(secrets.randbits(35)) + varint(1)
    if len(data) <= INLINE_MAX:
        link.send(RUN, head + varint(0) + called + data, channel=2)
    else:
        link.send(RUN, head + varint(1) + varint(len(data)) + called, channel=2)
        send_payload(bulk, 2, data)

    done = Reader(link.expect(DONE))
    status = done.varint()
    code = done.signed() if status in (0, 1, 2) else 0
    text = done.string() if status in (1, 2, 6, 7, 8) else ""
    if status == 3:
        text = f"{done.varint()} bytes of {done.varint()}"
    if status == 4:
        text = f"{done.varint()} ns"
    ran, output = done.varint(), done.varint()
    print(f"{STATUSES[status]} {code} {text} after {ran / 1000:.1f} µs", file=sys.stderr)
    length = done.varint() if output == 1 else 0
    # Where its time went: transfer, waited, began, and the worker that had it.
    for _ in range(4):
        done.varint()
    if output == 1:
        bulk = bulk or Connection(address, credentials, varint(2) + varint(link.token))
        sys.stdout.buffer.write(receive_payload(bulk, 2, length))
    else:
        sys.stdout.buffer.write(done.rest)
    sys.exit(0 if (status, code) == (0, 0) else 1)


if __name__ == "__main__":
    main()
