# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad releases: those that a gate can see reach no user, from the others the old one serves again soon after they show what they are."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fleet import Fleet
from tests.support import REPOSITORY
from tests.traffic import Traffic

RATE = 60
# How long the base of all answers takes: three times as long is felt then.
SCALE, SLOWER_MS = 0.05, 200
REACTION_SECONDS, BACK_SECONDS = 15, 3
VISIBLE_REQUESTS = 100
WATCH = {"proxy_watch_seconds": 40, "proxy_watch_requests_min": 100, "app_start_seconds": 20}
# Of the Compose file of the reference application; overrides what is in the image.
ENVIRONMENT = "x-environment: &environment\n"
WORKER = "[python3, -m, reference_app.worker]"
# Longer than the start and the gate take, shorter than the watch.
WORKER_SECONDS = 30


@dataclass(frozen=True)
class Bad:
    """A bad release: what it is called, whether users get answers of it before it shows what it is, and what has to be said of it."""

    release: str
    reaches: bool | None  # None: it may, where nothing shows earlier what it is
    reason: str
    # What its Compose file says in the place of what, and whether requests show what it is.
    compose: tuple[str, str] | None = None
    shown_by_requests: bool = True


BAD = {
    "never_healthy": Bad("bad1-fault.never_healthy", False, r"/ready|not healthy|unhealthy"),
    "crashes_after_10_s": Bad("bad2-fault.crash_after.10", True, r"down|no answer of the application|requests failed"),
    "five_percent_errors": Bad("bad3-fault.error_percent.5", True, r"requests failed \("),
    "three_times_slower": Bad(f"bad4-fault.slow.{SLOWER_MS}", True, r"and the release before did in"),
    "leaks_memory": Bad("bad5-fault.leak", None, r"restart|memory|down|no answer of the application|requests failed"),
    "wrong_version": Bad(
        "bad6", False, r"somebody-elses", (ENVIRONMENT, f"{ENVIRONMENT}  APP_RELEASE: somebody-elses\n")
    ),
    "exits_at_once": Bad("bad7-fault.crash_after.0", False, r"ends again and again|restarts|exit"),
    # Well until it serves; no user is sent to it.
    "its_worker_ends": Bad(
        "bad8", True, r"worker.*restarted", (WORKER, f'[timeout, "{WORKER_SECONDS}", {WORKER[1:]}'), False
    ),
}


def prove(fleet: Fleet) -> dict[str, Any]:
    found = {}
    for name, bad in BAD.items():
        with _compose_file(bad.compose) as more:
            fleet.play("promote", app_release=bad.release, **more)
            found[name] = _one(fleet, bad, more)
        print(f"    {name}: {found[name]}", flush=True)
    return {"holds": all(one["holds"] for one in found.values()), **found}


def _one(fleet: Fleet, bad: Bad, more: dict[str, Any]) -> dict[str, Any]:
    release = bad.release
    urls = [f"https://{fleet.lab.addresses[host]}" for host in ("edge1", "edge2")]
    began = time.time()
    # Until the run is over, at most for so long; then a second of silence.
    with Traffic(urls, RATE, 180, scale=SCALE, shares={"slow": 1}) as traffic:
        time.sleep(3)
        done = fleet.attempt("deploy", app_release=release, **WATCH, **more)
        time.sleep(1)
        traffic.stop()
    record = traffic.record
    of_it = sorted(line["at"] / 1000 for line in record if line["release"] == release or line.get("error"))
    seen = _first_seen(fleet, began, of_it if bad.shown_by_requests else [])
    reaction = round(of_it[-1] - seen, 1) if of_it and seen else None
    verdict = _verdict(done.stdout)
    # From what one of the watches knew to the last answer that a user got of it, on whichever proxy.
    back = round(max(of_it[-1] - verdict, 0), 1) if of_it and verdict else None
    others = sorted({line["release"] for line in record} - {release, ""})
    why = re.findall(r"did not pass on (.*)", done.stdout)
    as_said = bool(why) and re.search(bad.reason, " ".join(why)) is not None
    holds = done.returncode != 0 and others == ["one"] and as_said
    if of_it:
        # Where nothing saw it before the switch, somebody had to go back.
        in_time = reaction is not None and reaction <= REACTION_SECONDS and back is not None and back <= BACK_SECONDS
        holds = holds and bad.reaches is not False and in_time
    else:
        holds = holds and bad.reaches is not True
    return {
        "holds": holds,
        "requests": len(record),
        "answers_of_it": len(of_it),
        "failed_requests": sum(bool(line.get("error")) for line in record),
        "served_again_after_it_was_visible_seconds": reaction,
        "back_after_the_verdict_seconds": back,
        "says": why[0][:300] if why else done.stdout[-1500:],
    }


def _first_seen(fleet: Fleet, began: float, of_it: list[float]) -> float | None:
    """When it could be known: a container of it died, or it had answered so many requests."""
    died = [moment for host in ("app1", "app2") for moment in _deaths(fleet, host, began)]
    enough = of_it[VISIBLE_REQUESTS - 1 : VISIBLE_REQUESTS]
    return min([*died, *enough], default=None)


def _deaths(fleet: Fleet, host: str, began: float) -> Iterator[float]:
    """When containers of the application died there by themselves; what is stopped ends with 0 or 143, or a signal before it."""
    words = ("--since", f"{began:.0f}", "--until", f"{time.time():.0f}", "--filter", "event=die")
    form = "{{.TimeNano}} {{.Actor.Attributes.exitCode}} {{.Actor.Attributes.name}}"
    for line in fleet.lab.host(host).run("docker", "events", *words, "--format", form).stdout.splitlines():
        nanoseconds, code, name = line.split()
        if code in ("70", "124", "137") and re.search(r"-(blue|green)-(web|worker)", name):
            yield int(nanoseconds) / 1e9


def _verdict(output: str) -> float | None:
    """When the first watch that failed knew it. All hosts of a lab share one clock."""
    return min(map(float, re.findall(r"^\s+ended_at: ([0-9.]+)$", output, re.MULTILINE)), default=None)


@contextmanager
def _compose_file(change: tuple[str, str] | None) -> Iterator[dict[str, Any]]:
    """The variable that names another Compose file, where a release needs one."""
    if change is None:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(REPOSITORY / "examples/reference_app", Path(folder, "app"))
        file = Path(folder, "app/compose.yaml")
        text = file.read_text()
        assert change[0] in text, change
        file.write_text(text.replace(*change))
        yield {"app_compose_file": str(file)}
