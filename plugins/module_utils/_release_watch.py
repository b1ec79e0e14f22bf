# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a release that has just begun to serve: what the proxy sees of it beside the release before, and what checks see."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._checks import cure, target
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._gate import Reading

GOOD, BAD, TOO_FEW, ENDED = "good", "bad", "too_few_requests", "ended"


# One may be lost on its way.
LOST_PROBES_MIN = 3
# HAProxy's mean latency is one of this many requests, or of all there were. (It says 1024, as the ones before weigh in, too.)
SAMPLES = 512
# So often in a row a check may break that held before.
FORGIVEN = 1


@dataclass(frozen=True)
class Backend:
    """A service of a colour since HAProxy began."""

    requests: int = 0
    failed: int = 0
    mean_ms: int = 0


@dataclass(frozen=True)
class Look:
    """A colour at one moment, by backend."""

    backends: Mapping[str, Backend] = field(default_factory=dict)
    down: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figures:
    """A colour between two looks. Latency is by service, of those that had enough requests to tell."""

    requests: int = 0
    failed: int = 0
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    down: tuple[str, ...] = ()

    @property
    def failed_share(self) -> float:
        return self.failed / self.requests if self.requests else 0.0


def since(before: Look, now: Look, requests_min: int) -> Figures:
    """What came between two looks."""
    requests, failed, latency = 0, 0, {}
    for name, backend in now.backends.items():
        first = before.backends.get(name, Backend())
        if backend.requests < first.requests:
            first = Backend()  # HAProxy began anew, and so did its counters
        came = backend.requests - first.requests
        requests += came
        failed += max(backend.failed - first.failed, 0)
        if came >= requests_min:
            latency[name.rpartition("_")[0]] = latency_between(first, backend)
    return Figures(requests, failed, latency, now.down)


def latency_between(before: Backend, now: Backend) -> float:
    """The mean of the requests in between, in milliseconds, from HAProxy's sliding mean at both ends.

    Each request moves the mean by its share of the window, which is all there were or SAMPLES, so what was there before has lost a known part
    of its weight. HAProxy rounds up to whole milliseconds; this is the lowest that fits.
    """
    first, last = before.requests, now.requests
    kept = min(first, SAMPLES) / min(last, SAMPLES) * (1 - 1 / SAMPLES) ** max(last - max(first, SAMPLES), 0)
    return max((now.mean_ms - 1 - kept * before.mean_ms) / (1 - kept), 0.0)


@dataclass
class Probes:
    """Requests that the watch sent itself. Those that got an answer of the application, whatever it was, HAProxy counts."""

    sent: int = 0
    lost: int = 0
    why: str = ""


@dataclass(frozen=True)
class Rules:
    """What a release may do; shares are of 1."""

    requests_min: int
    failed_max: float
    latency_factor_max: float
    # Below this nobody feels a difference.
    latency_floor_ms: float


def look_of(rows: Sequence[Mapping[str, str]], colour: str) -> Look:
    """All services of a colour."""
    own = [row for row in rows if row["pxname"].endswith(f"_{colour}")]
    servers = [row for row in own if row["svname"] != "BACKEND"]
    return Look(
        {row["pxname"]: _backend(row) for row in own if row["svname"] == "BACKEND"},
        tuple(f"{row['pxname']}/{row['svname']}" for row in servers if row["status"].startswith("DOWN")),
    )


def _backend(row: Mapping[str, str]) -> Backend:
    answered = sum(_number(row, f"hrsp_{kind}") for kind in ("1xx", "2xx", "3xx", "4xx", "5xx", "other"))
    # A request that ends without an answer of the server is one of HAProxy's own 5xx.
    return Backend(answered, _number(row, "hrsp_5xx"), _number(row, "rtime"))


def _number(row: Mapping[str, str], name: str) -> int:
    return int(row.get(name) or 0)


def problem(new: Figures, old: Figures, probes: Probes, rules: Rules) -> str:
    """Why the release must not stay; empty where nothing speaks against it so far."""
    if new.down:
        return f"{', '.join(new.down)} {'is' if len(new.down) == 1 else 'are'} down"
    if probes.lost >= LOST_PROBES_MIN and probes.lost > rules.failed_max * probes.sent:
        return f"{probes.lost} of {probes.sent} requests that the watch sent got no answer of the application: {probes.why}"
    if new.requests < rules.requests_min:
        return ""
    # What was wrong before is not the release's fault; but what was wrong some day must not excuse everything.
    if new.failed_share > rules.failed_max + min(old.failed_share, rules.failed_max):
        return (
            f"{new.failed} of {new.requests} requests failed ({new.failed_share:.1%}; allowed are {rules.failed_max:.1%}"
            + (f", and {old.failed_share:.1%} failed before" if old.failed else "")
            + ")"
        )
    for service, took in new.latency_ms.items():
        before = old.latency_ms.get(service)
        allowed = max((before or 0) * rules.latency_factor_max, rules.latency_floor_ms)
        if before is not None and took > allowed:
            return f"{service} answers in {took:.0f} ms, and the release before did in {before:.0f} ms (allowed are {allowed:.0f} ms)"
    return ""


class Checks:
    """Checks that may not break any more once they held, and hold at the end.

    The gate has seen the containers well already. Of what else is asked nobody knows yet how it goes with the release: a figure may take a while to come.
    """

    def __init__(self, specs: Sequence[Mapping[str, Any]], ask: Callable[[float], Sequence[Reading]]) -> None:
        self._specs, self._ask = specs, ask
        self._held = {spec["name"] for spec in specs if spec["type"] == "container"}
        self._bad = {spec["name"]: 0 for spec in specs}

    def problem(self, last: bool) -> str:
        """Ask all of them once; why the release must not stay, empty where nothing speaks against it."""
        wrong = []
        for spec, reading in zip(self._specs, self._ask(math.inf), strict=True):
            name = spec["name"]
            self._bad[name] = 0 if reading.ok else self._bad[name] + 1
            if reading.ok:
                self._held.add(name)
            elif last or (name in self._held and self._bad[name] > FORGIVEN):
                wrong.append((spec, reading))
        if not wrong:
            return ""
        reasons = "; ".join(f"{spec['name']} ({target(spec)}): {reading.error}" for spec, reading in wrong)
        return f"{reasons}. Cure: {'; '.join(dict.fromkeys(cure(spec) for spec, _reading in wrong))}"


def watch(
    look: Callable[[], tuple[Look, Look]],
    probe: Callable[[], Probes],
    rules: Rules,
    seconds: float,
    interval: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    ended: Callable[[], bool] = lambda: False,
    checked: Callable[[bool], str] = lambda _last: "",
) -> dict[str, Any]:
    """Look until the time is over or something is wrong, or until somebody says that enough was seen.

    `look` gives the new colour and the old one; `probe` sends requests, and returns what became of all of them so far, which goes on counting; `checked`
    says what else is wrong, and is told which look is the last one.
    """
    began = clock()
    first, first_old = look()
    while True:
        probes = probe()
        sleep(interval)
        now, before = look()
        new, old = since(first, now, rules.requests_min), since(first_old, before, rules.requests_min)
        if old.requests < rules.requests_min:
            # Everybody has the new one: what the old one did until now.
            old = since(Look(), before, rules.requests_min)
        elapsed = clock() - began
        wrong = problem(new, old, probes, rules) or checked(elapsed >= seconds)
        if wrong or elapsed >= seconds or ended():
            break
    if wrong:
        verdict = BAD
    elif elapsed < seconds:
        verdict = ENDED
    else:
        verdict = GOOD if new.requests >= rules.requests_min else TOO_FEW
    return {
        "verdict": verdict,
        "problem": wrong,
        "watched_seconds": round(elapsed, 1),
        "new": _shown(new),
        "old": _shown(old),
    }


def _shown(of: Figures) -> dict[str, Any]:
    shown = {"down": list(of.down), "failed_share": round(of.failed_share, 4)}
    return {**asdict(of), **shown, "latency_ms": {service: round(took, 1) for service, took in of.latency_ms.items()}}


def refuse(params: Mapping[str, Any]) -> None:
    """Numbers with which nothing can be watched."""
    wrong = [
        name
        for name in ("interval_seconds", "requests_min", "latency_factor_max")
        if not params[name] > 0 or params[name] == float("inf")
    ]
    wrong += [name for name in ("seconds", "probe_rate", "latency_floor_ms") if not 0 <= params[name] < float("inf")]
    wrong += ["failed_max"] if not 0 <= params["failed_max"] <= 1 else []
    if wrong:
        raise PlatformError(
            f"With this {', '.join(wrong)} nothing can be watched", "Shares are from 0 to 1, numbers more than 0."
        )
