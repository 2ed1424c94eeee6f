# CPython, with threads, its garbage collector and ctypes, computing.
import ctypes
import gc
import os
import sys
import threading
import time

folder, spoil = sys.argv[1], "SPOIL" in os.environ
over = False


class Node:
    pass


class Pair(ctypes.Structure):
    _fields_ = [("left", ctypes.c_uint64), ("right", ctypes.c_double)]


def differs(what):
    os.write(1, f"differs: {what}\n".encode())
    os._exit(1)


def work(number, totals):
    total = 0
    while not over:
        ring = [Node() for _ in range(10)]
        for left, right in zip(ring, ring[1:] + ring[:1]):
            left.next = right
        total += sum(i * i for i in range(100 + number))
        if total % sum(i * i for i in range(100 + number)) != 0:
            differs(f"the sum of thread {number}")
    totals[number] = total


# The callback is called by the C library's qsort.
@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
def compare(left, right):
    return left[0] - right[0]


library = ctypes.CDLL(None)
pair = Pair(2**63 + 5, 0.1)
totals = {}
threads = [threading.Thread(target=work, args=(number, totals)) for number in range(3)]
for thread in threads:
    thread.start()
with open(folder + "/ready.new", "w") as file:
    file.write(str(os.getpid()))
os.rename(folder + "/ready.new", folder + "/ready")
while not os.path.exists(folder + "/end"):
    numbers = (ctypes.c_int * 50)(*[(i * 37) % 50 for i in range(50)])
    library.qsort(numbers, 50, 4, compare)
    if list(numbers) != list(range(50)):
        differs("the sorted numbers")
    time.sleep(0.001)
over = True
for thread in threads:
    thread.join()
if spoil:
    pair.left += 1
if (pair.left, pair.right) != (2**63 + 5, 0.1) or len(totals) != 3:
    differs("what was kept")
gc.collect()
if eval("2 ** 200 % 1000003") != pow(2, 200, 1000003):
    differs("a large power")
print("well", flush=True)
