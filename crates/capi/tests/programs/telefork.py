"""A Python program that sends a copy of itself into a file, and one that wakes it.

    python3 telefork.py LIBRARY leave FILE
    python3 telefork.py LIBRARY wake FILE VALUE
"""

import ctypes
import os
import sys


class Location(ctypes.Structure):
    _fields_ = [("is_copy", ctypes.c_int32), ("value", ctypes.c_int32)]


class Farcall:
    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        self.library.farcall_last_error.restype = ctypes.c_char_p

    def call(self, name, *arguments):
        if getattr(self.library, name)(*arguments) != 0:
            sys.exit(f"{name}: {self.library.farcall_last_error().decode()}")

    def telefork_to(self, fd):
        location = Location()
        self.call("farcall_telefork_to", fd, ctypes.byref(location))
        return location.value if location.is_copy else None

    def telepad(self, fd, value):
        pid = ctypes.c_int32()
        self.call("farcall_telepad", fd, value, ctypes.byref(pid))
        return pid.value

    def wait_for_exit(self, pid):
        status = ctypes.c_int32()
        self.call("farcall_wait_for_exit", pid, ctypes.byref(status))
        return status.value


def primes():
    found = []
    number = 2
    while True:
        if all(number % prime for prime in found):
            found.append(number)
            yield number
        number += 1


def leave(farcall, path):
    words = {"größe": [1, 2.5, 3 ** 50], "nothing": None}
    half_way = primes()
    for _ in range(50):
        print(next(half_way), flush=True)
    with open(path, "wb") as image:
        value = farcall.telefork_to(image.fileno())
        if value is None:
            return
        # Here it is only a number.
        try:
            os.write(image.fileno(), b"x")
            sys.exit("the image is open in the copy")
        except OSError:
            pass
        for _ in range(50):
            print(next(half_way), flush=True)
        print(f"{words} and {value}, {sum(range(10 ** 6))}", flush=True)
        os._exit(len(words) + value)


def wake(farcall, path, value):
    with open(path, "rb", buffering=0) as image:
        pid = farcall.telepad(image.fileno(), value)
    print(f"status {farcall.wait_for_exit(pid)}", flush=True)


farcall = Farcall(sys.argv[1])
if sys.argv[2] == "leave":
    leave(farcall, sys.argv[3])
else:
    wake(farcall, sys.argv[3], int(sys.argv[4]))
