#!/usr/bin/env python3
"""What a node keeps of a link: opens many with `client.py` and looks at the node's memory.

    links.py HOST:PORT CREDENTIALS PID [COUNT]

PID is the node's, on this host. Needs a descriptor for each link, here and in the node.
"""

import resource
import sys
import time

import client

CLIENT = client.varint(0)


def resident(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as pages:
        return int(pages.read().split()[1]) * resource.getpagesize()


def main(address, credentials, pid, count="1000"):
    count = int(count)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # The first ones warm the node up.
    links = [client.Connection(address, credentials, CLIENT) for _ in range(20)]
    time.sleep(1)
    before = resident(pid)
    links += [client.Connection(address, credentials, CLIENT) for _ in range(count)]
    time.sleep(1)
    print(f"{(resident(pid) - before) / count:.0f} bytes of memory a link, of {len(links)} links")


if __name__ == "__main__":
    main(*sys.argv[1:])
