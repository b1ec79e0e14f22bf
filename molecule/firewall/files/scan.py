"""Print the TCP ports of an address that take a connection: `scan.py ADDRESS PORT [PORT ...]`, a port or FIRST-LAST."""

import errno
import json
import socket
import sys
import time
from collections.abc import Iterator

AT_ONCE = 4000
# A lost SYN is sent again after one second. The kernel connects in the meantime, however busy this process is.
SECONDS = 1.5


def open_ports(address: str, ports: list[int]) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sockets = {port: socket.socket(family) for port in ports}
    for port, knocking in sockets.items():
        knocking.setblocking(False)
        code = knocking.connect_ex((address, port))
        if code not in (0, errno.EINPROGRESS, errno.ECONNREFUSED):
            raise OSError(code, f"{address}:{port} cannot be tried: {errno.errorcode[code]}")
    time.sleep(SECONDS)
    for port, knocking in sockets.items():
        with knocking:
            try:
                knocking.getpeername()
            except OSError:
                continue
        yield port


def main() -> None:
    address, *words = sys.argv[1:]
    ends = [word.partition("-") for word in words]
    ports = sorted({port for first, _, last in ends for port in range(int(first), int(last or first) + 1)})
    starts = range(0, len(ports), AT_ONCE)
    print(json.dumps([port for start in starts for port in open_ports(address, ports[start : start + AT_ONCE])]))


if __name__ == "__main__":
    main()
