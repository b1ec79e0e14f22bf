"""Ask a Redis by URL, as an application does.

Standard input is JSON, a list of conversations: `url`, `ca` (the system's when empty) and `commands`. Prints a list of lists of
replies, the login's first; a conversation that fails ends with the reason.
"""

import json
import socket
import ssl
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO
from urllib.parse import urlsplit


def converse(given: dict[str, Any]) -> Iterator[str]:
    url = urlsplit(given["url"])
    try:
        connection = socket.create_connection((url.hostname, url.port), timeout=10)
        if url.scheme == "rediss":
            context = ssl.create_default_context(cadata=given["ca"] or None)
            connection = context.wrap_socket(connection, server_hostname=url.hostname)
        with connection, connection.makefile("rwb") as stream:
            for command in [["AUTH", url.username, url.password], *given["commands"]]:
                words = [str(word).encode() for word in command]
                stream.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
                stream.flush()
                yield reply(stream)
    except OSError as error:
        yield f"{type(error).__name__}: {error}"


def reply(stream: BinaryIO) -> str:
    line = stream.readline().decode().rstrip()
    if not line:
        raise ConnectionError("the server hung up")
    if line[0] != "$":
        return line
    length = int(line[1:])
    return "nothing" if length < 0 else stream.read(length + 2).decode().rstrip()


if __name__ == "__main__":
    print(json.dumps([list(converse(given)) for given in json.load(sys.stdin)]))
