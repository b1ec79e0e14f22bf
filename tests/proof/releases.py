# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases on two hosts of the application behind two proxies: no request lost, bad ones taken back, runs killed at every task.

tests/inventories/releases in the lab. While working: LAB names a lab started by hand, PARTS the parts to run, as `PARTS=requests,speed`.
"""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from cryptography import x509

from tests.fleet import VAULT, Fleet
from tests.jobs import Jobs
from tests.lab import labs
from tests.lab.labs import Wanted
from tests.lab.machine import DOCKER
from tests.proof import releases_bad, releases_kills, releases_losses, releases_speed
from tests.proof.releases_kills import EDGES
from tests.support import REPOSITORY, random_name
from tests.traffic import SHARES, Traffic

INVENTORY = REPOSITORY / "tests/inventories/releases"
PRODUCT = ("plugins", "roles", "playbooks", "examples")
PEER = "peer"
# Long enough for all steps also on a slow day.
RATE, SECONDS, REQUESTS = 160, 900, 100_000
PEER_RATE, PEER_SECONDS = 160, 40
RELEASES = ("one", "two", "three")
SICK = "sick-fault.never_healthy"
# A reload in the middle of it: the answer in maintenance changes, and so does the configuration.
RELOAD = {"proxy_maintenance_retry_seconds": 121}
# Every certificate is to be good for one address more.
RENEWAL = {"tls_addresses": ["127.0.0.1", "192.0.2.7"]}

# Events and WebSockets that are open still when a release ends, which is after the watch and these seconds.
STREAMS, DRAIN = (60, 90), {"app_drain_timeout": 3}
# Fewer of them, as each takes so much longer.
TRAFFIC_SHARES = {**SHARES, "short": 0.6807, "events": 0.005, "sockets": 0.004}


def _in_steps(_fleet: Fleet, output: str) -> bool:
    return output.count("TASK [lastro.platform.proxy : Serve the release until it is kept]") == 3


def _reloaded(fleet: Fleet, _output: str) -> bool:
    """Both proxies were given the new configuration."""
    answer = f'retry-after "{RELOAD["proxy_maintenance_retry_seconds"]}"'
    config = "/var/lib/lastro/lastro/proxy/config/haproxy.cfg"
    return all(answer in fleet.lab.host(host).run("cat", config).stdout for host in EDGES)


def _renewed(fleet: Fleet, _output: str) -> bool:
    """Both proxies show the certificate that is good for one address more."""
    for host in EDGES:
        shown = x509.load_pem_x509_certificate(ssl.get_server_certificate((fleet.lab.addresses[host], 443)).encode())
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if RENEWAL["tls_addresses"][-1] not in map(str, names.get_values_for_type(x509.IPAddress)):
            return False
    return True


@dataclass(frozen=True)
class Step:
    """What is done to the platform under traffic, which release serves on both proxies then, and what else shows that it was done."""

    name: str
    playbook: str
    variables: dict[str, Any]
    serves: str
    fails: bool = False
    shown: Callable[[Fleet, str], bool] = lambda _fleet, _output: True


STEPS = (
    Step("release beside the one that serves", "deploy", {"app_release": "two"}, "two"),
    Step(
        "canary: 5 %, 25 %, all",
        "deploy",
        {"app_release": "three", "app_strategy": "canary"},
        "three",
        shown=_in_steps,
    ),
    Step("rollback to the last good release", "rollback", {"app_release": None}, "two"),
    Step("rollback to a kept release, started anew", "rollback", {"app_release": None, "release": "one"}, "one"),
    Step("reload of the proxies", "deploy", {"app_release": "one", **RELOAD}, "one", shown=_reloaded),
    Step("certificates renewed", "deploy", {"app_release": "one", **RENEWAL}, "one", shown=_renewed),
    Step("one host after the other", "deploy", {"app_release": "two", "app_batch": "50%", **DRAIN}, "two"),
    Step("release that never gets well", "deploy", {"app_release": SICK, "app_start_seconds": 15}, "two", fails=True),
)


def prove() -> dict[str, Any]:
    chosen = os.environ.get("PARTS", ",".join(PARTS)).split(",")
    about = {"commit": _git("HEAD"), "product": " ".join(_git(f"HEAD:{folder}") for folder in PRODUCT)}
    parts = _kept()
    with _fleet() as fleet:
        for release in (*RELEASES, SICK):
            fleet.play("promote", app_release=release)
        fleet.play("deploy", app_release="one")
        for name in chosen:
            began = time.monotonic()
            parts[name] = PARTS[name](fleet)
            parts[name] |= {"seconds": round(time.monotonic() - began), **about}
            print(f"  {name}: {parts[name]}", flush=True)
    # All of them, of one product: what only documents or proves it may have changed between two parts.
    whole = set(parts) == set(PARTS) and {part.get("product") for part in parts.values()} == {about["product"]}
    return {"holds": whole and all(part["holds"] for part in parts.values()), "parts": parts}


def _git(what: str) -> str:
    command = ["git", "rev-parse", "--short", what]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.strip()


def _kept() -> dict[str, dict[str, Any]]:
    """What earlier runs proved of the other parts: all of them together take hours."""
    file = REPOSITORY / "docs/proof/releases.json"
    found: dict[str, dict[str, Any]] = json.loads(file.read_text())["parts"] if file.exists() else {}
    return found


@contextlib.contextmanager
def _fleet() -> Iterator[Fleet]:
    name = os.environ.get("LAB") or random_name("")
    lab = labs.up(name, Wanted(INVENTORY, strangers=(PEER,)))
    fleet = Fleet(lab, proxy="edge1", registry="data1")
    try:
        yield fleet
    finally:
        if "LAB" not in os.environ:
            fleet.forget()
            labs.down(name)


def requests(fleet: Fleet) -> dict[str, Any]:
    """Traffic of all kinds by way of both proxies, at one rate, and all that changes a release under it, again and again."""
    steps: list[dict[str, Any]] = []
    urls = [f"https://{fleet.lab.addresses[host]}" for host in EDGES]
    traffic = Traffic(urls, RATE, SECONDS, shares=TRAFFIC_SHARES, streams=STREAMS)
    with traffic, Jobs(urls[0], _client_key()) as jobs:
        end = time.monotonic() + SECONDS - 20
        while time.monotonic() < end:
            for step in STEPS:
                if time.monotonic() > end:
                    break
                steps.append(_taken(fleet, step))
                print(f"    {steps[-1]}", flush=True)
        jobs.end()
        summary = traffic.join()
        worked = jobs.join()
    done_at_all = {step["step"] for step in steps}
    holds = (
        summary["failed"] == 0
        and summary["requests"] >= REQUESTS
        and summary["dropped"] == 0
        and all(summary["kinds"][kind]["told_to_reconnect"] > 0 for kind in ("events", "sockets"))
        and done_at_all == {step.name for step in STEPS}
        and all(step["as_meant"] for step in steps)
        and (worked["states"], worked["attempts"]) == ({"done": worked["jobs"]}, {"1": worked["jobs"]})
    )
    return {"holds": holds, "traffic": summary, "jobs": worked, "steps": steps}


def _taken(fleet: Fleet, step: Step) -> dict[str, Any]:
    """A step, and whether it did what it is for."""
    began = time.monotonic()
    done = fleet.attempt(step.playbook, **step.variables)
    seconds = round(time.monotonic() - began, 1)
    served = sorted(fleet.served(*EDGES))
    as_meant = (done.returncode != 0) == step.fails and served == [step.serves] and step.shown(fleet, done.stdout)
    said = {} if as_meant else {"said": done.stdout[-3000:]}
    return {"step": step.name, "as_meant": as_meant, "serves": served, "seconds": seconds, **said}


def _client_key() -> str:
    """The key that the seeds of stage hand out."""
    command = [str(REPOSITORY / ".venv/bin/ansible-vault"), "view", "--vault-password-file", str(VAULT)]
    vault = INVENTORY / "group_vars/all/vault.yml"
    shown = subprocess.run([*command, str(vault)], capture_output=True, text=True, check=True).stdout
    return str(yaml.safe_load(shown)["platform_secrets"]["client_api_key"])


def peer(fleet: Fleet) -> dict[str, Any]:
    """The same application, changed as its users do it today: another tag, `docker compose up -d`."""
    host = fleet.lab.host(PEER)
    names = [f"lastro/reference_app:{release}" for release in ("one", "two")]
    save = subprocess.Popen([DOCKER, "save", *names], stdout=subprocess.PIPE)
    subprocess.run(
        [DOCKER, "exec", "-i", host.name, "docker", "load"], stdin=save.stdout, check=True, stdout=subprocess.DEVNULL
    )
    folder = "/srv/peer"
    host.run("mkdir", "-p", folder)
    # Only what comes from a registry is replaced by images at hand, and people come from outside.
    override = {
        "postgres": {
            "image": "lastro/postgres:17",
            "environment": {"POSTGRES_PASSWORD_FILE": "/given"},
            "volumes": ["./password:/given:ro"],
        },
        "redis": {"image": "lastro/redis:8"},
        "web": {"ports": ["8000:8000"]},
    }
    texts = {
        "compose.yaml": (REPOSITORY / "examples/reference_app/compose.yaml").read_text(),
        "compose.override.yaml": json.dumps({"services": override}),
        "password": "app",
    }
    for name, text in texts.items():
        host.run("sh", "-c", f"cat >{folder}/{name} && chmod 644 {folder}/{name}", stdin=text)

    def up(release: str) -> None:
        environment = f"APP_RELEASE={release} APP_TRAFFIC=on APP_PORT=0"
        host.run("sh", "-c", f"cd {folder} && {environment} docker compose up -d --wait")

    up("one")
    changes = 0
    with Traffic([f"http://{fleet.lab.addresses[PEER]}:8000"], PEER_RATE, PEER_SECONDS) as traffic:
        end = time.monotonic() + PEER_SECONDS - 10
        while time.monotonic() < end:
            time.sleep(5)
            up(("two", "one")[changes % 2])
            changes += 1
        summary = traffic.join()
    host.run("sh", "-c", f"cd {folder} && docker compose down --volumes")
    return {"holds": changes > 0 and summary["failed"] > 0, "changes": changes, "traffic": summary}


PARTS: dict[str, Callable[[Fleet], dict[str, Any]]] = {
    "speed": releases_speed.prove,
    "requests": requests,
    "peer": peer,
    "bad_releases": releases_bad.prove,
    "losses": releases_losses.prove,
    "kills": releases_kills.prove,
}
