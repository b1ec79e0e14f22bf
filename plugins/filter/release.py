# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# What M(lastro.platform.stack) puts before the log in a failure; and how much of a log fits on a screen.
LOG_MARK = "\nLast log lines:\n"
LOG_LINES = 40
LOG_WIDTH = 160
# What a host of the application does besides what it notes, and the end of the variable that has the result.
APP_STEPS = {"start": "started", "gate": "gated", "prove": "proven"}


def release_decision(
    now: Mapping[str, Any],
    serving: str,
    fleet: Sequence[Mapping[str, Any]] = (),
    routes: Sequence[Mapping[str, Any]] = (),
    before: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a deploy has to do on a host, from what M(lastro.platform.stack) in check mode says of the serving colour.

    `fleet` is the same of all hosts of the application: a colour is switched to for all of them, so it starts on all of them. Whatever
    starts is proven before it serves, so where nothing runs of what the proxy serves, it starts as the other colour. `before` is the `colour` that the
    proxy serves and the `routes` of its release: where other services have `routes` now, the proxy has them in the other colour alone.
    """
    why = "; ".join(f"{name}: {entry['why']}" for name, entry in sorted(_acting(now).items()))
    if not serving:
        return _decision("release", "blue", "", "nothing was released yet")
    other = "green" if serving == "blue" else "blue"
    if not any(one.get("containers") for one in fleet or [now]):
        return _decision("release", other, "", f"nothing is left of {serving}, which the proxy serves")
    if any(_is_outdated(one) for one in fleet or [now]):
        return _decision("release", other, serving, why if _is_outdated(now) else "it is released on another host")
    if before and before["colour"] == serving and (differ := _services_that_differ(routes, before["routes"])):
        return _decision("release", other, serving, differ)
    if not now.get("containers"):
        return _decision("release", serving, serving, "it joins the hosts that serve")
    if why or now.get("files"):
        return _decision("repair", serving, serving, why or "its files were changed")
    return _decision("none", serving, serving, "")


def _services_that_differ(routes: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> str:
    new, old = ({route["service"] for route in of} for of in (routes, before))
    came, gone = (", ".join(sorted(names)) for names in (new - old, old - new))
    return "; ".join([*([f"new: {came}"] if came else []), *([f"gone: {gone}"] if gone else [])])


def _acting(now: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry for name, entry in now["services"].items() if entry["action"] != "none"}


def _is_outdated(now: Mapping[str, Any]) -> bool:
    """Whether what runs is another release, other than being damaged."""
    acting = _acting(now).values()
    return bool(now.get("containers")) and any(
        entry["cause"] == "version" and entry["action"] != "remove" for entry in acting
    )


def _decision(kind: str, colour: str, before: str, why: str) -> dict[str, Any]:
    return {"kind": kind, "colour": colour, "before": before, "why": why}


def images_that_differ(hosts: Mapping[str, Mapping[str, str]], pinned: Sequence[str] = ()) -> str:
    """Why a release must not start, where its hosts hold different images by one name; empty where they hold the same.

    `hosts` are the image IDs by name, of each host; one that is not known yet (check mode on an empty host) is empty. `pinned` are the names that come
    by a digest, which is the same whatever ID an Engine gives it.
    """
    for name in sorted({name for ids in hosts.values() for name in ids} - set(pinned)):
        found: dict[str, list[str]] = {}
        for host, ids in hosts.items():
            if ids.get(name):
                found.setdefault(ids[name], []).append(host)
        if len(found) > 1:
            said = " and ".join(f"{image[:19]} on {', '.join(on)}" for image, on in found.items())
            return (
                f"{name} is not one image: it is {said}, so users would get two versions of one release. Nothing was started. Bring it to the"
                " registry (playbooks/promote.yml), whose digest is the same everywhere, or remove it where it is wrong (`docker rmi`)."
            )
    return ""


def release_proof(
    containers: Sequence[Mapping[str, Any]], smoke: Sequence[Mapping[str, Any]] = (), seconds: float = 60
) -> list[dict[str, Any]]:
    """Checks for M(lastro.platform.health_gate) that a release that serves already has to pass before it is kept.

    Each of its containers runs and has never restarted; and the commands of `smoke` end well, each in a container of its service.
    """
    checks: list[dict[str, Any]] = [
        {"name": one["name"], "type": "container", "container": one["name"], "restarts_max": 0} for one in containers
    ]
    for given in smoke:
        of_it = [
            one["name"] for one in containers if re.fullmatch(rf"{re.escape(given['service'])}(-\d+)?", one["service"])
        ]
        if of_it:
            more = {"container": of_it[0], "command": list(given["command"]), "timeout_seconds": seconds}
            checks.append({"name": f"smoke test of {given['service']}", "type": "container", **more})
    return checks


def release_logs(failure: str, stopped: Mapping[str, Any] | None, host: str) -> str:
    """The last log lines of the container that a failure is about, and where the rest is; of any that said something where it names none."""
    about, _mark, lines = failure.partition(LOG_MARK)
    logs = (stopped or {}).get("logs") or {}
    named = re.search(r"\(container ([^)]+)\)", about)
    name = named[1] if named else next((each for each in logs if each in about), "")
    name = name or next((each for each in logs if logs[each].strip()), "")
    last = (lines or logs.get(name, "")).strip().splitlines()[-LOG_LINES:]
    if not last:
        return ""
    cut = [line if len(line) <= LOG_WIDTH else f"{line[: LOG_WIDTH - 1]}…" for line in last]
    return "\n".join([f"The last log lines of {name} on {host}:", *cut, f"All of them: docker logs {name} (on {host})"])


def without_logs(failure: str) -> str:
    """A failure without the log lines that it ends with, which are shown by themselves."""
    return failure.partition(LOG_MARK)[0]


def release_failure(results: Mapping[str, Any] | Sequence[Mapping[str, Any]], host: str = "") -> str:
    """Why a step failed, from what its task registered, or the first one of several; empty where none did.

    A host that is gone is one that failed. With `host` its name comes first.
    """
    for done in [results] if isinstance(results, Mapping) else results:
        if done.get("failed") or done.get("unreachable"):
            said = str(done.get("msg") or "it failed and said nothing")
            return f"{host}: {said}" if host else said
    return ""


def release_steps_of(variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The steps of a release on a host of the application, from that host's variables: those it noted, then those that everybody takes."""
    results = {step: variables.get(f"app_{result}") for step, result in APP_STEPS.items()}
    return [*(variables.get("app_steps") or []), *release_steps(results, variables["inventory_hostname"])]


def release_steps(results: Mapping[str, Mapping[str, Any] | None], host: str) -> list[dict[str, Any]]:
    """The steps of a release on a host for the ledger, from the results of its tasks by name; those that did not run are left out."""
    return [
        {
            "host": host,
            "step": step,
            "ok": not (done.get("failed") or done.get("unreachable")),
            "seconds": _seconds(done),
        }
        for step, done in results.items()
        if done and not done.get("skipped")
    ]


def _seconds(done: Mapping[str, Any]) -> float | None:
    """None where the host did not answer, or the step ended before it could say."""
    found = next((done[name] for name in ("elapsed_seconds", "watched_seconds", "seconds") if name in done), None)
    if isinstance(found, Mapping):
        found = sum(found.values())
    return None if found is None else round(float(found), 1)


def release_migration(result: Mapping[str, Any] | None, service: str) -> list[dict[str, Any]]:
    """What a migration did to the schema, for the ledger, from the result of M(lastro.platform.migrate_seed): a list of one, or of none.

    Of a run that failed nobody knows how far it came, so all that was pending counts.
    """
    if not result or not result.get("pending"):
        return []
    applied = result.get("applied")
    steps = [
        {"id": entry["id"], "classes": list(entry.get("classes") or ["unknown"])}
        for entry in result["pending"]
        if applied is None or entry["id"] in applied
    ]
    return [{"service": service, "applied": steps}] if steps else []


class FilterModule:
    """Decisions about releases."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "images_that_differ": images_that_differ,
            "release_decision": release_decision,
            "release_logs": release_logs,
            "release_migration": release_migration,
            "release_proof": release_proof,
            "release_failure": release_failure,
            "release_steps": release_steps,
            "release_steps_of": release_steps_of,
            "without_logs": without_logs,
        }
