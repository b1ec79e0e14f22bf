# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to a Postgres server, and what their failures mean."""

from __future__ import annotations

import re
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

try:
    import psycopg2
    import psycopg2.extras

    PSYCOPG2_ERROR: str | None = None
    DriverError: type[Exception] = psycopg2.Error
except ImportError:
    PSYCOPG2_ERROR = traceback.format_exc()
    DriverError = ImportError

# A password that is shorter would be hidden in the middle of other words.
SHORTEST_PASSWORD = 4
Query = Callable[..., list[dict[str, Any]]]


class Unreachable(PlatformError):
    """Nothing answers at the address: no server yet, or a network in between."""


class WrongPassword(PlatformError):
    """The server is there, and knows another password."""


class NoSuch(PlatformError):
    """The server is there, and has no such login or database."""


class Server:
    """How to reach a server; `connect` opens a session in one of its databases."""

    def __init__(self, params: dict[str, Any], clock: Callable[[], float], pause: Callable[[float], None]) -> None:
        self._clock = clock
        self._pause = pause
        self._wait = params["wait_timeout"]
        self._ca = params["ca"] or ""
        self.settings = settings_of(params)

    @property
    def address(self) -> str:
        return f"{self.settings['host']}:{self.settings['port']}"

    @contextmanager
    def connect(self, database: str | None = None, **login: str) -> Iterator[Session]:
        """A session, as the administrator or with another `user` and `password`."""
        settings = {**self.settings, **login}
        if database:
            settings["dbname"] = database
        connection = self._open(settings)
        try:
            yield Session(connection)
        finally:
            connection.close()

    def _open(self, settings: dict[str, Any]) -> Any:
        # libpq reads certificates from files only.
        with tempfile.NamedTemporaryFile("w", prefix="lastro-ca-", suffix=".crt") as ca:
            if self._ca:
                ca.write(self._ca)
                ca.flush()
                settings["sslrootcert"] = ca.name
            end = self._clock() + self._wait
            while True:
                try:
                    return psycopg2.connect(**settings)
                except psycopg2.OperationalError as error:
                    explained = explain(str(error), settings)
                    waiting = isinstance(explained, Unreachable) and self._clock() < end
                    if not waiting:
                        raise explained from error
                self._pause(0.2)


class Session:
    """One connection. Each statement commits by itself unless it stands in a `transaction`."""

    def __init__(self, connection: Any) -> None:
        connection.autocommit = True
        self._connection = connection

    def query(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """The rows of a statement; values in their order, or one mapping of them by name. Without values a % is no placeholder."""
        with self._connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            named = len(values) == 1 and isinstance(values[0], dict)
            cursor.execute(sql, values[0] if named else values or None)
            return [dict(row) for row in cursor.fetchall()]

    def execute(self, sql: str) -> None:
        """Run a statement as it stands: its text is complete, a % in it is no placeholder."""
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(sql)
            except psycopg2.Error as error:
                raise PlatformError(
                    f"The server refused a statement: {_first_line(str(error))}", _cure_of(error.pgcode)
                ) from error

    @contextmanager
    def work(self, keep: bool) -> Iterator[Any]:
        """A cursor in a transaction that is kept, or given up in the end as after an error."""
        self.execute("BEGIN")
        try:
            with self._connection.cursor() as cursor:
                yield cursor
        except BaseException:
            if not self._connection.closed:
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT" if keep else "ROLLBACK")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self.execute("BEGIN")
        try:
            yield
        except BaseException:
            if not self._connection.closed:
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")


def settings_of(params: dict[str, Any]) -> dict[str, Any]:
    """libpq's settings from the module's options; a URL's own query wins over the options."""
    found = {
        "host": params["host"],
        "port": params["port"],
        "user": params["user"],
        "password": params["password"],
        "dbname": params["maintenance_database"],
        "sslmode": params["sslmode"],
    }
    if params["url"]:
        found.update(_settings_of_url(params["url"]))
    if params.get("hostaddr"):
        found["hostaddr"] = params["hostaddr"]
    found.update(connect_timeout=params["connect_timeout"], application_name="lastro.platform", client_encoding="utf8")
    return found


def _settings_of_url(url: str) -> dict[str, Any]:
    try:
        # Applications know it as postgresql+psycopg2://, libpq does not.
        parts = urlsplit(re.sub(r"^(postgres|postgresql)(\+\w+)?://", "postgresql://", url))
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme != "postgresql":
        raise PlatformError(
            "The URL of the database server cannot be read",
            "Write it as postgresql://user:password@host:5432/database, special characters percent-encoded.",
        )
    given = {
        "host": host,
        "port": port or 5432,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "dbname": unquote(parts.path.lstrip("/")),
    }
    query = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair)
    given.update({name: unquote(value) for name, value in query.items() if name in ("sslmode", "options")})
    return {name: value for name, value in given.items() if value}


def passwords_in(texts: Iterable[str]) -> set[str]:
    """The passwords of those texts that are URLs, as they stand there and as they are meant; none too short to be told from other words."""
    found = set()
    for text in texts:
        with suppress(ValueError):
            found.add(urlsplit(text.strip()).password or "")
    return {form for password in found for form in (password, unquote(password)) if len(form) >= SHORTEST_PASSWORD}


_MEANINGS: tuple[tuple[type[PlatformError], str, str, str], ...] = (
    (
        WrongPassword,
        r"password authentication failed|no password supplied",
        "refuses the password of user {user}",
        "Give the password this server knows. A role's password is changed on the server first (ALTER ROLE … PASSWORD).",
    ),
    (
        PlatformError,
        r"no pg_hba.conf entry",
        "does not let user {user} in from here",
        "Over the network it takes TLS only: use sslmode require or verify-full, or add the address to its pg_hba.conf.",
    ),
    (
        PlatformError,
        r"certificate verify failed|does not match host name|root certificate file",
        "shows a certificate that cannot be trusted",
        "Give the CA that signed it (`ca`), and reach the server by a name or address the certificate carries.",
    ),
    (
        PlatformError,
        r"does not support SSL",
        "speaks no TLS",
        "Turn TLS on there, or set sslmode to prefer knowing what that means.",
    ),
    (
        NoSuch,
        r'role ".*" (does not exist|is not permitted to log in)',
        "knows no login {user}",
        "Correct the user.",
    ),
    (
        NoSuch,
        r'database ".*" does not exist',
        "has no database {dbname}",
        "Correct the database to connect to first.",
    ),
    (
        PlatformError,
        r"too many connections|remaining connection slots",
        "has no connection left",
        "Raise postgres_max_connections or find out who holds them (pg_stat_activity).",
    ),
)


def explain(message: str, settings: dict[str, Any]) -> PlatformError:
    """What a failed connection means and what to do, from libpq's own words."""
    server = f"Postgres at {settings['host']}:{settings['port']}"
    for kind, pattern, problem, cure in _MEANINGS:
        if re.search(pattern, message):
            return kind(f"{server} {problem.format(**settings)}", cure)
    return Unreachable(
        f"{server} does not answer: {_first_line(message)}",
        "Start it, or correct host and port, or open the way there.",
    )


def _first_line(message: str) -> str:
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    return lines[0] if lines else "no reason given"


def _cure_of(code: str | None) -> str:
    if code == "42501":
        return "Connect with a user that may do this, or have the server's administrator do it once."
    return "Correct what it names; statements before it in the same transaction were undone."


def listens(host: str, port: int, connect: Callable[..., Any]) -> bool:
    """Whether anything listens there at all: the question that needs no library."""
    try:
        connect((host, int(port)), timeout=2).close()
    except OSError:
        return False
    return True
