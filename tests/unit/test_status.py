# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators are shown: rows of a table, the checklist, and what a deploy decides to do."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.filter.release import images_that_differ, release_decision
from ansible_collections.lastro.platform.plugins.filter.status import (
    checklist_text,
    fleet,
    serving_release,
    status_checklist,
    status_table,
)
from ansible_collections.lastro.platform.plugins.module_utils._status import is_network_of, jobs, part, rows


def container(project: str, service: str, status: str = "Up 2 hours (healthy)", **more: Any) -> dict[str, Any]:
    """A container as the Engine lists it."""
    labels = {
        "com.docker.compose.project": f"shop-{project}",
        "com.docker.compose.service": service,
        **more.pop("labels", {}),
    }
    state = "running" if status.startswith("Up") else "exited"
    return {"Labels": labels, "State": state, "Status": status, "Image": "lastro/redis:8", "Ports": [], **more}


def web(number: int, port: int, status: str = "Up 1 second (healthy)", colour: str = "blue") -> dict[str, Any]:
    ports = [{"IP": "10.0.0.5", "PublicPort": port}, {"PrivatePort": 8000}]
    return container(
        colour, f"web-{number}", status, Ports=ports, labels={"lastro.service": "web", "lastro.release": "1.4"}
    )


def test_copies_are_one_row_with_their_ports() -> None:
    (row,) = rows([web(1, 18000), web(2, 18001)], "shop", "blue")
    assert (row["service"], row["running"], row["total"], row["state"]) == ("web", 2, 2, "healthy")
    assert row["addresses"] == ["10.0.0.5:18000", "10.0.0.5:18001"]


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("Up 2 hours", "running"),
        ("Up 2 hours (healthy)", "healthy"),
        ("Up 2 seconds (health: starting)", "starting"),
        ("Up 2 hours (unhealthy)", "unhealthy"),
        ("Exited (137) 3 minutes ago", "exited 137"),
    ],
)
def test_the_state_of_a_service_is_that_of_its_worst_copy(status: str, shown: str) -> None:
    good = container("redis", "redis", "Up 2 hours (healthy)" if "health" in status else "Up 2 hours")
    assert rows([good, container("redis", "redis", status)], "shop", None)[0]["state"] == shown


def test_a_stopped_idle_colour_is_left_out_and_a_running_one_is_marked() -> None:
    old = [web(1, 18100, "Exited (0) 1 minute ago", "green")]
    assert [row["group"] for row in rows([web(1, 18000), *old], "shop", "blue")] == ["blue"]
    both = rows([web(1, 18000), web(1, 18100, colour="green")], "shop", "blue")
    assert [(row["group"], row["idle"]) for row in both] == [("blue", False), ("green", True)]


def test_rows_come_in_the_order_of_the_platform() -> None:
    found = [
        container("proxy", "haproxy"),
        web(1, 18000),
        container("redis", "redis"),
        container("postgres", "postgres"),
    ]
    assert [row["service"] for row in rows(found, "shop", "blue")] == ["postgres", "redis", "haproxy", "web"]


def test_jobs_are_shown_apart() -> None:
    job = container("jobs", "migrate", "Exited (0) 1 hour ago", labels={"lastro.release": "1.4"})
    assert rows([job], "shop", "blue") == []
    assert jobs([job, web(1, 18000)], "shop") == [{"service": "migrate", "state": "exited 0", "release": "1.4"}]


@pytest.mark.parametrize(("ok", "state"), [(True, "exited 0"), (False, "failed at 2026-11-23T08:00:00+00:00")])
def test_what_migrate_seed_kept_of_its_runs_counts_as_a_job(ok: bool, state: str) -> None:
    record = {"service": "migrate", "ok": ok, "release": "1.5", "at": "2026-11-23T08:00:00+00:00"}
    running = container("migrations", "migrate", "Up 2 seconds")
    assert rows([running], "shop", "blue") == [], "a migration that runs is no service"
    seed = container("jobs", "seed", "Exited (0) 1 hour ago", labels={"lastro.release": "1.4"})
    found = jobs([seed, running], "shop", [record])
    assert found[0] == {"service": "migrate", "state": state, "release": "1.5"}
    assert [job["service"] for job in found] == ["migrate", "seed"]


def test_the_table() -> None:
    moved = container("redis", "redis", Image="61edeb5c6104a8202bf4a6c22d771bac187b4982e4def3dd511695444e9820ba")
    found = status(services=rows([web(1, 18000), web(2, 18001), container("proxy", "haproxy"), moved], "shop", "blue"))
    assert status_table(fleet({"dev": found}), {"haproxy": "https://shop"}).splitlines() == [
        "SERVICE          STATE        VERSION         ADDRESS on dev",
        "redis            healthy      an older image  -",
        "haproxy (proxy)  healthy      8               https://shop",
        "web (blue)       healthy 2/2  1.4             10.0.0.5:18000-18001",
    ]
    assert "nothing runs" in status_table(fleet({"dev": status(services=[])}))
    assert "no host" in status_table(fleet({}))


def test_the_table_of_several_hosts() -> None:
    one = status(services=rows([web(1, 18000)], "shop", "blue"))
    two = status(services=rows([web(1, 18000, "Up 1 s (unhealthy)")], "shop", "blue"))
    found = fleet({"app1": one, "app2": two, "backup1": status(services=[])})
    assert status_table(found).splitlines() == [
        "HOST     SERVICE     STATE         VERSION  ADDRESS",
        "app1     web (blue)  healthy       1.4      10.0.0.5:18000",
        "app2     web (blue)  unhealthy     1.4      10.0.0.5:18000",
        "backup1  -           nothing runs  -        -",
    ]
    items = {item["item"]: item for item in status_checklist(found, "1.4", [], {}, HEALTH)}
    assert items["every service well"] == {"item": "every service well", "done": False, "detail": "web on app2"}
    assert items["worker on app1 does its work"]["done"]


def status(**more: Any) -> dict[str, Any]:
    good = {
        "services": rows([web(1, 18000)], "shop", "blue"),
        "volumes": ["shop_data"],
        "jobs": [{"service": "migrate", "state": "exited 0", "release": "1.4"}],
        "probes": [{"service": "worker", "ok": True, "answer": "done"}],
    }
    return {**good, **more}


HEALTH = {"checks": [{"name": "web", "ok": True}]}


def verdicts(
    found: dict[str, Any], given: dict[str, str] | None = None, health: Any = HEALTH
) -> dict[str, bool | None]:
    given = {"TOKEN": "x"} if given is None else given
    items = status_checklist(fleet({"dev": found}), "1.4", ["TOKEN"], given, health)
    return {item["item"]: item["done"] for item in items}


def test_the_checklist_when_all_is_done() -> None:
    assert set(verdicts(status()).values()) == {True}


@pytest.mark.parametrize(
    ("item", "found", "given", "health", "done"),
    [
        ("secrets referenced", status(), {}, HEALTH, False),
        ("secrets referenced", status(), {"TOKEN": None}, HEALTH, False),
        ("secrets referenced", status(), {"TOKEN": ""}, HEALTH, True),
        ("persistent volumes", status(volumes=[]), None, HEALTH, False),
        (
            "migrations and seeds applied",
            status(jobs=[{"service": "m", "state": "exited 1", "release": ""}]),
            None,
            HEALTH,
            False,
        ),
        ("migrations and seeds applied", status(jobs=[]), None, HEALTH, None),
        ("every service well", status(services=[]), None, HEALTH, False),
        (
            "every service well",
            status(services=rows([web(1, 1, "Up 1 s (unhealthy)")], "shop", "blue")),
            None,
            HEALTH,
            False,
        ),
        (
            "worker does its work",
            status(probes=[{"service": "worker", "ok": False, "answer": "x"}]),
            None,
            HEALTH,
            False,
        ),
        ("checks through the proxy green", status(), None, {"checks": [{"name": "web", "ok": False}]}, False),
        ("checks through the proxy green", status(), None, None, None),
        ("checks through the proxy green", status(), None, {"skipped": True}, None),
        ("checks through the proxy green", status(), None, {"failed": True, "msg": "no psycopg2"}, False),
    ],
)
def test_the_checklist_names_what_is_not_done(
    item: str, found: Any, given: Any, health: Any, done: bool | None
) -> None:
    assert verdicts(found, given, health)[item] is done


def test_the_checklist_says_which_release_migrated_last() -> None:
    items = status_checklist(fleet({"dev": status()}), "1.5", [], {}, HEALTH)
    assert {"item": "migrations and seeds applied", "done": True, "detail": "by release 1.4"} in items
    assert "yes   migrations and seeds applied" in checklist_text(items)
    assert "NO    secrets" in checklist_text([{"item": "secrets", "done": False, "detail": "missing: A"}])


def ledger(*releases: tuple[str, str], problem: str = "") -> dict[str, Any]:
    """A ledger with entries of (release, state), one a second; `found` is what a host that joined wrote of a release that served before."""
    entries = [
        {"run": f"run {number} {release}", "at": number, "release": release, "state": state}
        for number, (release, state) in enumerate(releases)
    ]
    return status(ledger={"releases": entries, "problem": problem})


ONE, TWO, SICK = ("one", "closed"), ("two", "open"), ("two", "failed")


@pytest.mark.parametrize(
    ("ledgers", "wrong"),
    [
        ([ledger(ONE, TWO), ledger(ONE, TWO)], []),
        ([ledger(), ledger()], []),
        # A host that joined found the release serving, later than the others kept it.
        ([ledger(ONE), ledger(TWO, TWO, ONE)], []),
        ([ledger(ONE, TWO), ledger(ONE)], ["host 1: it ends with one, and others with two"]),
        ([ledger(ONE, TWO), ledger()], ["host 1: it has no entry, and others with two"]),
        ([ledger(ONE, SICK), ledger(ONE)], ["host 1: it ends with one, and others with two"]),
        ([ledger(ONE, TWO), ledger(ONE, problem="line 2 was changed")], ["host 1: line 2 was changed"]),
    ],
)
def test_ledgers_are_held_against_each_other(ledgers: list[dict[str, Any]], wrong: list[str]) -> None:
    hosts = {f"host {number}": found for number, found in enumerate(ledgers)}
    items = {item["item"]: item for item in status_checklist(fleet(hosts), "two", [], {}, HEALTH)}
    whole = items["ledger of releases whole"]
    assert whole["done"] == (not wrong)
    assert whole["detail"].partition(": lines were removed")[0] == "; ".join(wrong)


def test_secrets_are_unknown_where_no_release_says_which_there_are() -> None:
    first = status_checklist(fleet({"dev": status(services=[])}), "", None, {}, HEALTH)[0]
    assert (first["item"], first["done"]) == ("secrets referenced", None)
    assert "no release runs" in first["detail"]


def released(*found: tuple[str, str, str]) -> dict[str, Any]:
    """A host with a copy of the service web for each (colour, release, status)."""
    copies = [
        container(colour, f"web-{number}", how, labels={"lastro.service": f"web{number}", "lastro.release": release})
        for number, (colour, release, how) in enumerate(found)
    ]
    return {"services": rows([*copies, container("postgres", "postgres")], "shop", "blue")}


UP, DOWN = "Up 2 hours", "Exited (1) 1 minute ago"


@pytest.mark.parametrize(
    ("hosts", "release"),
    [
        ([], ""),
        ([{}, {"skipped": True}], ""),
        ([released()], ""),
        ([released(("blue", "1.4", UP))], "1.4"),
        ([released(("blue", "1.4", UP), ("green", "1.5", UP))], "1.4"),
        # What serves is down: it is still the release that should.
        ([released(("blue", "1.4", DOWN))], "1.4"),
        ([released(("blue", "1.4", UP)), released(("blue", "1.5", UP), ("blue", "1.5", UP))], "1.5"),
        ([released(("blue", "1.4", UP)), released(("blue", "1.5", DOWN))], "1.4"),
    ],
)
def test_the_release_that_serves(hosts: list[dict[str, Any]], release: str) -> None:
    assert serving_release(hosts) == release


def now(*actions: tuple[str, str], containers: bool = True, files: list[str] | None = None) -> dict[str, Any]:
    services = {f"s{n}": {"action": action, "why": "so", "cause": cause} for n, (action, cause) in enumerate(actions)}
    return {"services": services, "containers": [{}] if containers else [], "files": files or []}


RELEASE, REPAIR, NOTHING = now(("recreate", "version")), now(("start", "damage")), now(("none", ""))
EMPTY = now(("create", "damage"), containers=False)


@pytest.mark.parametrize(
    ("found", "serving", "kind", "colour", "before"),
    [
        # The first release, and every try of it: nothing is served until one was switched to.
        (EMPTY, "", "release", "blue", ""),
        (NOTHING, "", "release", "blue", ""),
        # All of what is served was lost: it comes back as the other colour, which is proven before it serves.
        (EMPTY, "blue", "release", "green", ""),
        (EMPTY, "green", "release", "blue", ""),
        (NOTHING, "blue", "none", "blue", "blue"),
        (now(("none", ""), ("recreate", "version")), "blue", "release", "green", "blue"),
        (REPAIR, "blue", "repair", "blue", "blue"),
        (now(("create", "damage"), ("recreate", "version")), "blue", "release", "green", "blue"),
        (now(("remove", "version")), "blue", "repair", "blue", "blue"),
        (now(("none", ""), files=["compose.yaml"]), "blue", "repair", "blue", "blue"),
    ],
)
def test_what_a_deploy_decides(found: dict[str, Any], serving: str, kind: str, colour: str, before: str) -> None:
    decision = release_decision(found, serving)
    assert (decision["kind"], decision["colour"], decision["before"]) == (kind, colour, before)


@pytest.mark.parametrize(
    ("own", "fleet", "kind", "colour", "before"),
    [
        (RELEASE, [RELEASE, RELEASE], "release", "green", "blue"),
        # What another host needs is switched to here, too.
        (NOTHING, [NOTHING, RELEASE], "release", "green", "blue"),
        (REPAIR, [RELEASE, REPAIR], "release", "green", "blue"),
        # A host that joins must not start in the colour that serves: the proxy would send to a release it was not switched to.
        (EMPTY, [RELEASE, EMPTY], "release", "green", "blue"),
        # It joins the release that serves.
        (EMPTY, [NOTHING, EMPTY], "release", "blue", "blue"),
        (NOTHING, [NOTHING, EMPTY], "none", "blue", "blue"),
        (EMPTY, [EMPTY, EMPTY], "release", "green", ""),
        (NOTHING, [NOTHING, REPAIR], "none", "blue", "blue"),
    ],
)
def test_one_colour_is_released_on_the_whole_fleet(
    own: dict[str, Any], fleet: list[dict[str, Any]], kind: str, colour: str, before: str
) -> None:
    decision = release_decision(own, "blue", fleet)
    assert (decision["kind"], decision["colour"], decision["before"]) == (kind, colour, before)


@pytest.mark.parametrize(
    ("project", "of"),
    [
        ("shop-postgres", "postgres"),
        ("shop-blue", "blue"),
        ("shop-eu-postgres", None),
        ("shopping-postgres", None),
        ("shop", None),
        ("shop-", None),
        ("other", None),
    ],
)
def test_a_platform_is_not_the_one_whose_name_goes_on(project: str, of: str | None) -> None:
    assert part(project, "shop") == of


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("shop", True),
        ("shop-postgres_default", True),
        ("shop-blue_back_end", True),
        ("shop-eu", False),
        ("shop-eu-postgres_default", False),
        ("shopping", False),
    ],
)
def test_networks_of_a_platform(name: str, ours: bool) -> None:
    assert is_network_of(name, "shop") is ours


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ({"app1": {"web:1": "sha256:1"}, "app2": {"web:1": "sha256:1"}}, ""),
        # In check mode a host may not have it yet.
        ({"app1": {"web:1": "sha256:1"}, "app2": {"web:1": ""}, "app3": {}}, ""),
        (
            {
                "app1": {"a:1": "sha256:5", "web:1": "sha256:1"},
                "app2": {"web:1": "sha256:2"},
                "app3": {"web:1": "sha256:1"},
            },
            "web:1 is not one image: it is sha256:1 on app1, app3 and sha256:2 on app2, so users",
        ),
    ],
)
def test_images_that_differ(hosts: dict[str, dict[str, str]], said: str) -> None:
    found = images_that_differ(hosts)
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_pinned_images_may_have_different_ids() -> None:
    assert images_that_differ({"app1": {"web:1": "sha256:1"}, "app2": {"web:1": "sha256:2"}}, ["web:1"]) == ""


@pytest.mark.parametrize(
    ("services", "colour", "before", "kind", "why"),
    [
        (["web"], "blue", ["web"], "none", ""),
        (["web", "api"], "blue", ["web"], "release", "new: api"),
        (["front"], "blue", ["web"], "release", "new: front; gone: web"),
        # What another colour had says nothing of this one.
        (["front"], "green", ["web"], "none", ""),
    ],
)
def test_services_that_come_or_go_are_a_release(
    services: list[str], colour: str, before: list[str], kind: str, why: str
) -> None:
    now = {
        "services": {"web": {"action": "none", "cause": "", "why": ""}},
        "containers": [{"name": "web"}],
        "files": [],
    }
    routes, old = ([{"service": name} for name in names] for names in (services, before))
    found = release_decision(now, "blue", [now], routes, {"colour": colour, "routes": old})
    assert (found["kind"], found["why"]) == (kind, why)
    # The proxy knows nothing of it, as before its first release with routes of its own.
    assert release_decision(now, "blue", [now], routes, {})["kind"] == "none"
