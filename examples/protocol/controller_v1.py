#!/usr/bin/env python3
"""Drives a worker of the worker socket protocol v1 with nothing but Python's standard library.

    farcall node --worker-v1 127.0.0.1:4115
    controller_v1.py 127.0.0.1:4115 ./libsum.so "1 2 39"

Loads a compute core, runs a job for each input, prints each output in a line. Written from
docs/protocol.md, section 15.
"""

import socket
import struct
import sys


def blob(data):
    return struct.pack("<Q", len(data)) + data


class Worker:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)))
        self.stream = self.socket.makefile("rwb")
        self.id = 0
        if self.ask(1, struct.pack("<I", 1)) != b"\x01":
            raise SystemExit("the worker does not speak version 1")

    def ask(self, kind, payload):
        self.id += 1
        self.stream.write(struct.pack("<BQQ", kind, self.id, len(payload)) + payload)
        self.stream.flush()
        kind, of, length = struct.unpack("<BQQ", self.read(17))
        payload = self.read(length)
        assert of == self.id, "the answer to another message"
        if kind == 0xFF:
            raise SystemExit("the worker says: " + payload.decode())
        assert kind == 1, "an answer of unknown type"
        return payload

    def read(self, count):
        data = self.stream.read(count)
        if len(data) < count:
            raise SystemExit("the worker hung up")
        return data

    def load(self, name, library):
        assert self.ask(2, blob(name.encode()) + blob(library)) == b""

    def run(self, job, data):
        payload = self.ask(3, struct.pack("<Q", job) + blob(data))
        code, length = struct.unpack("<iQ", payload[:12])
        assert length == len(payload) - 12
        return code, payload[12:]


def main():
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    address, path, *inputs = sys.argv[1:]
    worker = Worker(address)
    with open(path, "rb") as library:
        worker.load(path, library.read())
    for job, data in enumerate(inputs):
        code, output = worker.run(job, data.encode())
        if code != 0:
            raise SystemExit(f"job {job} returned {code}")
        print(output.decode())


if __name__ == "__main__":
    main()
