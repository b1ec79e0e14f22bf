# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

LONGEST_WHY = 100


def table(rows: Iterable[Iterable[Any]], header: Iterable[str]) -> str:
    """Rows as text in columns, as wide as their longest entry."""
    lines = [[str(cell) for cell in row] for row in [list(header), *rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def fleet(statuses: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What M(lastro.platform.platform_status) found on each host, as one platform."""
    ledgers = {host: status.get("ledger") or {} for host, status in statuses.items()}
    releases = _releases(ledgers.values())
    return {
        "hosts": list(statuses),
        "services": [{**row, "host": host} for host, status in statuses.items() for row in status["services"]],
        "volumes": sorted({volume for status in statuses.values() for volume in status["volumes"]}),
        "jobs": [job for status in statuses.values() for job in status["jobs"]],
        "probes": [{**probe, "host": host} for host, status in statuses.items() for probe in status["probes"]],
        "releases": releases,
        "ledgers": _ledgers(ledgers, releases),
        "trying": {host: status["trying"] for host, status in statuses.items() if status.get("trying")},
        "changing": next((status["changing"] for status in statuses.values() if status.get("changing")), ""),
    }


def _releases(ledgers: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The releases of all ledgers, each once, oldest first. A host that was not there keeps fewer of them."""
    found: dict[str, dict[str, Any]] = {}
    for one in (one for ledger in ledgers for one in ledger.get("releases", [])):
        # Of hosts that a closing has not reached yet, the one that it has.
        if one["run"] not in found or one["state"] == "closed":
            found[one["run"]] = one
    return sorted(found.values(), key=lambda one: float(one["at"]))


def _ledgers(ledgers: Mapping[str, Mapping[str, Any]], releases: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What is wrong with the ledger of each host; empty where nothing is.

    A file that was cut at its end is whole for itself, so it is held against those of the others.
    """
    newest = releases[-1] if releases else None

    def wrong(ledger: Mapping[str, Any]) -> str:
        own = next(reversed(ledger.get("releases") or []), None)
        if ledger.get("problem") or newest is None or _end(own) == _end(newest):
            return str(ledger.get("problem") or "")
        ends = f"ends with {own['release'] or 'a release without a name'}" if own else "has no entry"
        return f"it {ends}, and others with {newest['release'] or 'a release without a name'}: lines were removed, or it was not there"

    return {host: wrong(ledger) for host, ledger in ledgers.items()}


def _end(release: Mapping[str, Any] | None) -> tuple[str, bool]:
    """A host that joined later has an entry of its own for what serves."""
    return (str(release["release"]), release["state"] == "failed") if release else ("", False)


def releases_table(found: Mapping[str, Any]) -> str:
    """The last releases of a fleet, the newest first, and which run changes it now, for people."""
    rows = []
    for one in reversed(found["releases"]):
        when = datetime.fromtimestamp(float(one["at"]), UTC).strftime("%Y-%m-%d %H:%M:%S")
        took = f"{float(one['seconds']):.0f} s" if one["seconds"] != "" else "-"
        why = str(one["why"]).partition("\n")[0]
        short = why if len(why) <= LONGEST_WHY else f"{why[: LONGEST_WHY - 1]}…"
        by = f"{one['who']} from {one['where']}"
        rows.append([when, one["event"], one["release"] or "-", one["colour"], one["state"], took, by, short])
    lines = [f"NOW: {found['changing']}"] if found["changing"] else []
    lines += [f"{host} TRIES {what}" for host, what in found["trying"].items()]
    header = ["WHEN (UTC)", "WHAT", "RELEASE", "COLOUR", "STATE", "TOOK", "BY", "WHY"]
    return "\n".join([*lines, table(rows, header) if rows else "No release is known."])


def status_table(found: Mapping[str, Any], published: Mapping[str, Any] | None = None) -> str:
    """The services of a fleet, for people. `published` are addresses by service that containers do not show."""
    several = len(found["hosts"]) > 1
    rows = []
    for row in found["services"]:
        name = row["service"] if row["group"] == row["service"] else f"{row['service']} ({row['group']})"
        copies = f" {row['running']}/{row['total']}" if row["total"] > 1 or row["running"] != row["total"] else ""
        version = row["release"] or _version(row["image"])
        addresses = (published or {}).get(row["service"]) or ", ".join(_ranges(row["addresses"]))
        rows.append(
            [row["host"], name, row["state"] + copies + (", idle" if row["idle"] else ""), version, addresses or "-"]
        )
    idle = [host for host in found["hosts"] if host not in {row["host"] for row in found["services"]}]
    rows += [[host, "-", "nothing runs", "-", "-"] for host in idle]
    if several:
        return table(rows, ["HOST", "SERVICE", "STATE", "VERSION", "ADDRESS"])
    host = found["hosts"][0] if found["hosts"] else "no host"
    return table([row[1:] for row in rows], ["SERVICE", "STATE", "VERSION", f"ADDRESS on {host}"])


def _version(image: str) -> str:
    """The tag; the Engine shows a bare ID where the tag has moved on and the container has not (a restart is pending)."""
    tag = image.rpartition(":")[2]
    return "an older image" if re.fullmatch(r"[0-9a-f]{12,64}", tag) else tag


def _ranges(addresses: Iterable[str]) -> list[str]:
    """Neighbouring ports of one address written as a range."""
    ranges: list[tuple[str, int, int]] = []
    for address in sorted(addresses, key=lambda a: (a.rpartition(":")[0], int(a.rpartition(":")[2]))):
        ip, _colon, port = address.rpartition(":")
        if ranges and ranges[-1][0] == ip and ranges[-1][2] + 1 == int(port):
            ranges[-1] = (ip, ranges[-1][1], int(port))
        else:
            ranges.append((ip, int(port), int(port)))
    return [f"{ip}:{first}" if first == last else f"{ip}:{first}-{last}" for ip, first, last in ranges]


def serving_release(statuses: Iterable[Mapping[str, Any]]) -> str:
    """The release that most copies of the serving colour run; empty where nothing serves."""
    copies: Counter[str] = Counter()
    for row in (row for status in statuses for row in status.get("services", [])):
        if row["group"] in ("blue", "green") and not row["idle"] and row["release"]:
            copies[row["release"]] += row["running"]
    return max(sorted(copies), key=lambda release: copies[release], default="")


def status_checklist(
    status: Mapping[str, Any],
    release: str,
    secrets: Iterable[str] | None,
    given: Mapping[str, Any],
    health: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    """The checklist of a first deploy: what is done (true), what is not (false), and what could not be looked at (null).

    `secrets` is null where it is not known which the application reads.
    """
    # An empty value is somebody's decision, no value is an oversight.
    missing = sorted(name for name in secrets or () if given.get(name) is None)
    jobs = status["jobs"]
    failed = [job for job in jobs if job["state"] != "exited 0"]
    other = sorted({job["release"] for job in jobs if job["release"] not in ("", release)})
    services = status["services"]
    several = len(status["hosts"]) > 1
    bad = [
        _on(row, several)
        for row in services
        if row["state"] not in ("healthy", "running") or row["running"] < row["total"]
    ]
    items = [
        _secrets_item(secrets is not None, missing),
        ("persistent volumes", bool(status["volumes"]), ", ".join(status["volumes"])),
        ("migrations and seeds applied", _all_ended(jobs, failed), _jobs_detail(jobs, failed, other)),
        ("every service well", bool(services) and not bad, ", ".join(bad)),
    ]
    tampered = [f"{host}: {problem}" for host, problem in status["ledgers"].items() if problem]
    items.append(("ledger of releases whole", not tampered, "; ".join(tampered)))
    for probe in status["probes"]:
        items.append((f"{_on(probe, several)} does its work", bool(probe["ok"]), probe["answer"]))
    checks = list((health or {}).get("checks", []))
    unwell = [check["name"] for check in checks if not check["ok"]]
    # Not asked (no proxy on this host) is unknown; asked without an answer is never green.
    unknown = None if not health or health.get("skipped") else False
    detail = ", ".join(unwell) if checks else str((health or {}).get("msg", ""))[:200] if unknown is False else ""
    items.append(("checks through the proxy green", (not unwell) if checks else unknown, detail))
    return [{"item": item, "done": done, "detail": detail} for item, done, detail in items]


def _secrets_item(known: bool, missing: list[str]) -> tuple[str, bool | None, str]:
    if not known:
        return "secrets referenced", None, "no release runs that could be asked; give app_release"
    return "secrets referenced", not missing, f"missing: {', '.join(missing)}" if missing else ""


def _on(row: Mapping[str, Any], several: bool) -> str:
    return f"{row['service']} on {row['host']}" if several else str(row["service"])


def _all_ended(jobs: list[Mapping[str, Any]], failed: list[Mapping[str, Any]]) -> bool | None:
    return None if not jobs else not failed


def _jobs_detail(jobs: list[Mapping[str, Any]], failed: list[Mapping[str, Any]], other: list[str]) -> str:
    if failed:
        return ", ".join(f"{job['service']}: {job['state']}" for job in failed)
    return f"by release {', '.join(other)}" if other else "" if jobs else "no such job"


def checklist_text(items: Iterable[Mapping[str, Any]]) -> str:
    """The checklist for people."""
    marks = {True: "yes", False: "NO", None: "-"}
    return table([[marks[item["done"]], item["item"], item["detail"]] for item in items], ["DONE", "WHAT", ""])


class FilterModule:
    """How the state of a platform is shown."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "fleet": fleet,
            "releases_table": releases_table,
            "serving_release": serving_release,
            "status_table": status_table,
            "status_checklist": status_checklist,
            "checklist_text": checklist_text,
        }
