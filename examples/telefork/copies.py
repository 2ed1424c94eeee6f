"""A Python program that is on several hosts at once, by ctypes alone.

    FARCALL_NODES=host-a,host-b python3 copies.py LIBRARY NODE...

LIBRARY is the path of libfarcall.so. Of several threads only the calling one is in a copy: Python's own
must not run others when it leaves.
"""

import ctypes
import json
import sys

CALL = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
THERE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Location(ctypes.Structure):
    _fields_ = [("is_copy", ctypes.c_int32), ("value", ctypes.c_int32)]


class Cluster:
    """Of the functions of farcall.h those that this program uses."""

    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        self.library.farcall_last_error.restype = ctypes.c_char_p
        self.handle = ctypes.c_void_p()
        self.do("farcall_from_env", ctypes.byref(self.handle))

    def do(self, name, *arguments):
        if getattr(self.library, name)(*arguments) != 0:
            raise OSError(f"{name}: {self.library.farcall_last_error().decode()}")

    def telefork_all(self, nodes):
        """The copy's number there; here None, and what to wait for."""
        names = (ctypes.c_char_p * len(nodes))(*(node.encode() for node in nodes))
        copies = (ctypes.c_void_p * len(nodes))()
        location = Location()
        self.do("farcall_telefork_all", self.handle, names, ctypes.c_size_t(len(nodes)),
                ctypes.byref(location), copies)
        if location.is_copy:
            return location.value, []
        return None, [ctypes.c_void_p(copy) for copy in copies]

    def wait(self, copy):
        status = ctypes.c_int32()
        try:
            self.do("farcall_copy_wait", copy, ctypes.byref(status))
        finally:
            self.library.farcall_copy_free(copy)
        return status.value

    def fork_call(self, function, room=1 << 16):
        """Calls it on a node; what it returns comes back as JSON by the function that this returns."""

        @CALL
        def answer(_, result, room):
            said = json.dumps(function()).encode()
            ctypes.memmove(result, said, min(len(said), room))
            return len(said)

        call = ctypes.c_void_p()
        self.do("farcall_fork_call", self.handle, None, answer, None, ctypes.c_size_t(room),
                ctypes.byref(call))

        def result():
            said, length = ctypes.c_void_p(), ctypes.c_size_t()
            try:
                self.do("farcall_call_wait", call, ctypes.byref(said), ctypes.byref(length))
                return json.loads(ctypes.string_at(said, length.value))
            finally:
                self.library.farcall_call_free(call)

        return result

    def yoyo(self, node, function):
        """Calls it there; what it changes is changed here."""
        self.do("farcall_yoyo", self.handle, node.encode(), THERE(lambda _: function()), None)


cluster = Cluster(sys.argv[1])
nodes = sys.argv[2:]
words = {"größe": 3 ** 50}

number, copies = cluster.telefork_all(nodes)
if number is not None:
    print(f"{number} has {words}", flush=True)
    sys.exit(40 + number)
print([cluster.wait(copy) for copy in copies])

calls = [cluster.fork_call(lambda: [piece, words["größe"] % (10 + piece)]) for piece in range(4)]
print([result() for result in calls])

primes = [2]


def more():
    number = primes[-1]
    while len(primes) < 100:
        number += 1
        if all(number % prime for prime in primes):
            primes.append(number)


cluster.yoyo(nodes[-1], more)
print(len(primes), primes[-1])
cluster.library.farcall_cluster_free(cluster.handle)
