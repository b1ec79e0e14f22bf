# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""health_gate against a real RabbitMQ, SeaweedFS, Redis with RQ, and servers with certificates: rabbitmq, s3, queue, tls."""

from __future__ import annotations

import contextlib
import datetime
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration import servers
from tests.integration.gate_support import gate, make_certificate, only
from tests.support import free_ports


def outcome(result: dict[str, Any]) -> dict[str, tuple[bool, bool, str]]:
    """Each check's verdict, whether there was something to ask, and its error."""
    return {check["name"]: (check["ok"], check["evaluated"], check["last_error"]) for check in result["checks"]}


@contextmanager
def shown(directory: Path, days: int) -> Iterator[int]:
    """A TLS server with a certificate for 127.0.0.1 that ends after so many days; its port."""
    make_certificate(directory, days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = server.accept()
                    with contextlib.suppress(OSError), context.wrap_socket(peer, server_side=True) as encrypted:
                        encrypted.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def test_how_long_a_certificate_lasts(tmp_path: Path) -> None:
    for name in ("good", "ended"):
        (tmp_path / name).mkdir()
    with shown(tmp_path / "good", 30) as good, shown(tmp_path / "ended", -3) as ended:
        trusted = {"type": "tls", "host": "127.0.0.1", "port": good, "ca": str(tmp_path / "good" / "cert.pem")}
        late = {**trusted, "port": ended, "ca": (tmp_path / "ended" / "cert.pem").read_text()}
        result = gate(
            {**trusted, "name": "lasts", "days_left_min": 30},
            {**trusted, "name": "14 days when not said"},
            {**trusted, "name": "not for long enough", "days_left_min": 31},
            {**trusted, "name": "another name", "server_name": "shop.example.org"},
            {"name": "unknown CA", "type": "tls", "host": "127.0.0.1", "port": good},
            {"name": "unverified", "type": "tls", "host": "127.0.0.1", "port": good, "validate_certs": False},
            {**late, "name": "ended"},
            {**late, "name": "ended, unverified", "validate_certs": False, "days_left_min": 0},
        )
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30, hours=1)
    answers = {check["name"]: check["last_answer"] for check in result["checks"]}
    found = outcome(result)
    assert answers["lasts"] == f"the certificate ends on {ends:%Y-%m-%d}, in 30 days"
    assert found["lasts"] == found["14 days when not said"] == found["unverified"] == (True, True, "")
    assert found["not for long enough"] == (
        False,
        True,
        f"the certificate ends on {ends:%Y-%m-%d}, in 30 days, wanted are 31",
    )
    for name, why in (("another name", "Hostname mismatch"), ("unknown CA", "self-signed"), ("ended", "has expired")):
        ok, evaluated, error = found[name]
        assert (ok, evaluated) == (False, True)
        assert why in error
        assert re.search(r"\(it ends on \d{4}-\d\d-\d\d\)$", error), error
    assert "in -3 days, wanted are 0" in found["ended, unverified"][2]
    assert "renew the certificate that 127.0.0.1" in result["msg"]


def test_what_shows_no_certificate() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = plain.accept()
                    peer.sendall(b"220 hello\r\n")
                    peer.close()

        threading.Thread(target=serve, daemon=True).start()
        asked = {"name": "t", "type": "tls", "host": "127.0.0.1", "port": plain.getsockname()[1]}
        found = only(gate(asked))
    assert (found["ok"], found["evaluated"]) == (False, True)
    gone = only(gate({**asked, "port": free_ports(1)[0]}))
    assert (gone["ok"], gone["evaluated"]) == (False, False)


@pytest.fixture(scope="module")
def jobs() -> Iterator[servers.Jobs]:
    with servers.jobs() as made:
        yield made


def test_jobs_that_wait_for_too_long(jobs: servers.Jobs) -> None:
    asked = {"type": "queue", "host": "127.0.0.1", "port": jobs.port, "password": jobs.password, "queue": "mail"}
    late = {**asked, "name": "late", "late_seconds": 1.5}
    patient = {**asked, "name": "patient", "late_seconds": 3600, "length_max": 3}
    crowded = {**asked, "name": "crowded", "length_max": 2}
    assert outcome(gate(late))["late"] == (
        False,
        True,
        "there is no queue mail: no job was ever put into it and no worker listens to it",
    )
    # One job whose hash is gone waits behind the others: workers pass over it, and so does the gate.
    jobs.python(
        "queue.enqueue('time.time'); queue.enqueue('time.time'); time.sleep(2)\n"
        "gone = queue.enqueue('time.time'); queue.connection.delete(gone.key)"
    )
    result = gate(late, patient, crowded)
    found = outcome(result)
    assert re.fullmatch(r"2 of 3 jobs wait for more than 1.5 s, the oldest for \d s", found["late"][2]), found
    assert found["patient"] == (True, True, "")
    assert found["crowded"] == (False, True, "3 wait, allowed are 2")
    assert re.fullmatch(r"3 jobs wait, the oldest for \d s", result["checks"][1]["last_answer"])
    # One that pushed in at the head does not hide those that stand behind it.
    jobs.python("queue.enqueue('time.time', at_front=True)")
    assert outcome(gate(late))["late"][2].startswith("2 of 4 jobs wait")
    jobs.python("rq.SimpleWorker([queue], connection=queue.connection).work(burst=True)")
    empty = gate(late, {**crowded, "length_max": 0})
    assert empty["ok"], empty
    assert empty["checks"][0]["last_answer"] == "0 jobs wait"


def test_a_plain_list_and_another_database(jobs: servers.Jobs) -> None:
    asked = {"type": "queue", "host": "127.0.0.1", "port": jobs.port, "password": jobs.password, "list": "outbox"}
    jobs.redis("rpush", "outbox", "a", "b", "c")
    jobs.redis("set", "text", "no list")
    found = outcome(
        gate(
            {**asked, "name": "short", "length_max": 3},
            {**asked, "name": "long", "length_max": 2},
            {**asked, "name": "elsewhere", "length_max": 0, "database": "1"},
            {**asked, "name": "no list", "list": "text", "length_max": 9},
            {**asked, "name": "refused", "length_max": 9, "password": "hush-wrong"},
        )
    )
    assert found["short"] == found["elsewhere"] == (True, True, "")
    assert found["long"] == (False, True, "3 wait, allowed are 2")
    assert found["no list"][2].startswith("WRONGTYPE")
    assert found["refused"][2].startswith("WRONGPASS")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.RabbitMQ]:
    with servers.rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as made:
        made.make("vhosts/shop%2Feu", {})
        made.make("queues/%2F/orders", {"durable": True})
        made.make("queues/shop%2Feu/a%20b", {"durable": True})
        made.make("users/stranger", {"password": made.password, "tags": ""})
        yield made


def rabbit(broker: servers.RabbitMQ, name: str, **keys: Any) -> dict[str, Any]:
    login = {"user": broker.user, "password": broker.password}
    return {"name": name, "type": "rabbitmq", "url": broker.url, **login, **keys}


def test_queues_of_a_broker(broker: servers.RabbitMQ) -> None:
    broker.publish("orders", 3)
    seen = gate(rabbit(broker, "orders", queue="orders", length_max=3), timeout_seconds=10, interval_seconds=0.2)
    assert seen["ok"], seen
    result = gate(
        rabbit(broker, "broker"),
        rabbit(broker, "another host", queue="a b", vhost="shop/eu", length_max=0),
        rabbit(broker, "missing", queue="nowhere"),
        rabbit(broker, "lonely", queue="orders", consumers_min=1),
        rabbit(broker, "long and lonely", queue="orders", consumers_min=1, length_max=2),
        rabbit(broker, "stranger", user="stranger"),
        rabbit(broker, "wrong password", password="hush-wrong"),
        timeout_seconds=0,
    )
    found = outcome(result)
    assert found["broker"] == found["another host"] == (True, True, ""), found
    assert found["missing"] == (False, True, "there is no queue nowhere in the virtual host /")
    assert found["lonely"] == (False, True, "0 consumers, wanted are 1")
    assert found["long and lonely"][2] == "3 messages wait or are worked, allowed are 2; 0 consumers, wanted are 1"
    assert "lacks the tag monitoring" in found["stranger"][2]
    assert "the login is refused" in found["wrong password"][2]


def test_a_consumer_comes_and_works(broker: servers.RabbitMQ) -> None:
    ends = {"src-uri": "amqp://", "src-protocol": "amqp091", "dest-uri": "amqp://", "dest-protocol": "amqp091"}
    value = {**ends, "src-queue": "orders", "dest-queue": "done"}
    broker.make("parameters/shovel/%2F/worker", {"value": value})
    asked = rabbit(broker, "orders", queue="orders", consumers_min=1, length_max=0)
    result = gate(asked, timeout_seconds=20, interval_seconds=0.2)
    assert result["ok"], result
    assert only(result)["last_answer"] == "no alarms; orders: 0 messages, 1 consumers"


def test_an_alarm_of_a_broker(broker: servers.RabbitMQ) -> None:
    """Last of the broker's tests: while it is on, nothing can be published."""
    broker.control("set_vm_memory_high_watermark", "absolute", "1MB")
    result = gate(rabbit(broker, "alarm", timeout_seconds=2), interval_seconds=0.2, hold_for_seconds=10)
    found = only(result)
    assert (found["ok"], found["evaluated"]) == (False, True)
    assert "an alarm is on: " in found["last_error"], found
    assert "alarm" in result["summary"][0]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as url:
        yield url


def test_a_bucket(store: str) -> None:
    key, secret = servers.S3_LOGIN
    asked = {"type": "s3", "url": store, "bucket": "uploads", "access_key": key, "secret_key": secret}
    result = gate(
        {**asked, "name": "there"},
        {**asked, "name": "slash", "url": f"{store}/"},
        {**asked, "name": "another region", "region": "eu-west-1"},
        {**asked, "name": "missing", "bucket": "nowhere"},
        {**asked, "name": "wrong secret", "secret_key": "hush-wrong"},
        {**asked, "name": "wrong key", "access_key": "nobody"},
        {**asked, "name": "no right to it", "access_key": "stranger"},
    )
    found = outcome(result)
    assert found["there"] == found["slash"] == found["another region"] == (True, True, ""), found
    assert result["checks"][0]["last_answer"] == "bucket uploads is there"
    for name in ("wrong secret", "wrong key", "no right to it"):
        assert found[name][:2] == (False, True)
        assert found[name][2].startswith("status 403: the key is refused"), found
    assert found["missing"] == (False, True, "status 404: there is no such bucket"), found
    assert "see whether the bucket nowhere exists" in result["msg"]
