# CPython computing: a chain of sums over all that came, and what dictionaries, generators and exceptions
# keep on the way.
import sys
import zlib

seen = {}


def steps(number):
    for step in range(400):
        number = (number * 1103515245 + 12345 + step) & 0xFFFFFFFF
        yield number


total = 0
for line in sys.stdin:
    try:
        number = int(line)
    except ValueError:
        number = zlib.crc32(line.encode())
    for step in steps(number):
        total = zlib.crc32(step.to_bytes(4, "little"), total)
    seen[number % 97] = seen.get(number % 97, 0) + 1
    if number % 50 == 0:
        print(number, total, len(seen), flush=True)
print("end", total, sorted(seen.items()))
