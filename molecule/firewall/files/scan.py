"""Print the TCP ports of an address that take a connection: `scan.py ADDRESS PORT [PORT ...]`, a port or FIRST-LAST."""

import asyncio
import json
import resource
import sys

SECONDS = 1.5


async def is_open(address: str, port: int, turn: asyncio.Semaphore) -> bool:
    async with turn:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), SECONDS)
        except OSError:
            return False
        writer.close()
        return True


async def scan(address: str, ports: list[int], at_once: int) -> list[int]:
    turn = asyncio.Semaphore(at_once)
    found = await asyncio.gather(*(is_open(address, port, turn) for port in ports))
    return [port for port, taken in zip(ports, found, strict=True) if taken]


def main() -> None:
    address, *words = sys.argv[1:]
    ends = [word.partition("-") for word in words]
    ports = sorted({port for first, _, last in ends for port in range(int(first), int(last or first) + 1)})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(json.dumps(asyncio.run(scan(address, ports, min(hard - 100, 4000)))))


if __name__ == "__main__":
    main()
