"""Print the TCP ports that take a connection, a list an address: `scan.py ADDRESS[,ADDRESS] PORT [PORT ...]`, a port or FIRST-LAST."""

import errno
import json
import resource
import socket
import sys
import time
from collections.abc import Iterator

AT_ONCE = 16384
# A lost SYN is sent again after one second. The kernel connects in the meantime, however busy this process is.
SECONDS = 1.5


Target = tuple[str, int]


def open_ports(targets: list[Target]) -> Iterator[Target]:
    sockets = {}
    for address, port in targets:
        knocking = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        knocking.setblocking(False)
        code = knocking.connect_ex((address, port))
        if code not in (0, errno.EINPROGRESS, errno.ECONNREFUSED):
            raise OSError(code, f"{address}:{port} cannot be tried: {errno.errorcode[code]}")
        sockets[address, port] = knocking
    time.sleep(SECONDS)
    for target, knocking in sockets.items():
        with knocking:
            try:
                knocking.getpeername()
            except OSError:
                continue
        yield target


def main() -> None:
    addresses, *words = sys.argv[1:]
    ends = [word.partition("-") for word in words]
    ports = sorted({port for first, _, last in ends for port in range(int(first), int(last or first) + 1)})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    targets = [(address, port) for address in addresses.split(",") for port in ports]
    starts = range(0, len(targets), AT_ONCE)
    found = [target for start in starts for target in open_ports(targets[start : start + AT_ONCE])]
    print(json.dumps([[port for at, port in found if at == address] for address in addresses.split(",")]))


if __name__ == "__main__":
    main()
