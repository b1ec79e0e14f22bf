# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make deploy` on a machine that has never seen the platform: the first run, then everything that happens to a platform in its first day.

The tests run in the order of this file, each on what the one before left.
"""

from __future__ import annotations

import json
import re
import secrets
import shlex

import pytest

from tests.e2e.conftest import SECRETS, Machine
from tests.support import eventually

SCREEN_LINES = 50
RATE = 150
PLAY = ".venv/bin/ansible-playbook playbooks/deploy.yml -i inventories/dev"
# What the last of the killed runs brought, and what serves from then on.
RELEASE = "stop"
SOURCE = "examples/reference_app/reference_app/web.py"
BUILD_SECONDS = 10


CHECKED, DEPLOYED = "/tmp/checked.log", "/tmp/deployed.log"


def tasks(output: str) -> set[str]:
    return set(re.findall(r"^TASK \[(.*)\]", output, re.MULTILINE))


def timers(machine: Machine) -> str:
    """What would take a release back still."""
    return machine.run("systemctl list-units --all --no-legend 'lastro-undo-*'")


def recap(output: str) -> dict[str, int]:
    line = re.findall(r"^dev +: (.*)$", output, re.MULTILINE)[-1]
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)}


def test_check_on_the_empty_machine_passes_and_changes_nothing(machine: Machine) -> None:
    output = machine.run(f"set -o pipefail; make check | tee {CHECKED}")
    assert recap(output)["failed"] == 0
    assert recap(output)["changed"] > 5
    assert machine.attempt("command -v dockerd || ls /var/lib/lastro").returncode != 0


def test_deploy_ends_with_the_platform_serving(machine: Machine) -> None:
    output = machine.run(f"set -o pipefail; make deploy | tee {DEPLOYED}", timeout=1200)
    assert recap(output)["failed"] == 0
    # This host's Python brings the newest ansible-core.
    assert "[DEPRECATION WARNING]" not in output
    assert machine.get("/health") == {"status": "ok"}
    assert re.fullmatch(r"dev-[0-9a-f]{12}", machine.get("/version")["release"])
    for word in (
        "postgres",
        "pgbackrest",
        "redis",
        "haproxy",
        "web",
        "worker",
        "backups: not scheduled",
        "http://localhost:8080",
    ):
        assert word in output[-3000:], word
    ca = f"{SECRETS}/tls/ca.crt"
    assert json.loads(machine.run(f"curl -fsS --cacert {ca} https://localhost:8443/health")) == {"status": "ok"}


def test_the_check_before_went_the_way_of_the_run(machine: Machine) -> None:
    checked, deployed = machine.run(f"cat {CHECKED}"), machine.run(f"cat {DEPLOYED}")
    assert len(tasks(checked)) > 20
    assert tasks(checked) <= tasks(deployed)
    for line in ("docker.io: install", "lastro/postgres:17: build"):
        assert re.search(rf"^\+{re.escape(line)}, \w", checked, re.MULTILINE), line
    created = re.findall(r"^\+([a-z0-9-]+): create, not there yet$", checked, re.MULTILINE)
    assert sorted(created) == ["haproxy", "pgbackrest", "postgres", "redis", "web-1", "web-2", "worker"]


def test_a_second_run_does_nothing_with_few_modules(machine: Machine) -> None:
    count = "/tmp/count"
    done = machine.attempt(
        f"rm -f {count}; COUNT_MODULES_FILE={count} ANSIBLE_CALLBACKS_ENABLED=count_modules ANSIBLE_CALLBACK_PLUGINS=tests/e2e/callback"
        f" {PLAY}"
    )
    assert recap(done.stdout)["changed"] == 0, done.stdout
    modules = machine.run(f"cat {count}").split()
    assert 5 < len(modules) <= 14, modules


def test_before_a_second_release_there_is_nothing_to_go_back_to(machine: Machine) -> None:
    serves = machine.get("/version")
    refused = machine.attempt("make rollback")
    assert refused.returncode != 0
    said = " ".join(refused.stdout.split())
    assert f"There is nothing to roll back to: no release was kept before {serves['release']}" in said, said[-3000:]
    assert machine.get("/version") == serves


def test_check_afterwards_by_the_name_of_the_collection_reports_no_change(machine: Machine) -> None:
    done = machine.attempt(".venv/bin/ansible-playbook lastro.platform.deploy -i inventories/dev --check --diff")
    assert done.returncode == 0, done.stdout[-3000:]
    assert recap(done.stdout)["changed"] == 0, done.stdout[-3000:]


def test_an_edit_is_deployed_without_a_name(machine: Machine) -> None:
    before = machine.get("/version")
    line = 'return {"release": settings.release'
    machine.run(f'cp -p {SOURCE} /tmp/source && sed -i \'s/{line}}}/{line}, "edited": "yes"}}/\' {SOURCE}')
    try:
        output = machine.run("make deploy")
    finally:
        # What follows releases what every other clone holds.
        machine.run(f"cp -p /tmp/source {SOURCE}")
    after = machine.get("/version")
    assert after["edited"] == "yes"
    assert re.fullmatch(r"dev-[0-9a-f]{12}", after["release"])
    assert after["release"] != before["release"]
    built = re.findall(rf"^dev: \S+:{after['release']} +(\d+) s  done$", output, re.MULTILINE)
    assert len(built) == 1, output[-3000:]
    assert int(built[0]) <= BUILD_SECONDS


def test_a_release_by_name_under_load_loses_no_request_and_no_job(machine: Machine) -> None:
    machine.run(
        f"nohup python3 tests/load.py http://127.0.0.1:8080/version {RATE} 240 >/tmp/load.json 2>/tmp/load.err & echo $! >/tmp/load.pid;"
        f" nohup python3 tests/jobs.py http://127.0.0.1:8080 {SECRETS}/client_api_key >/tmp/jobs.json 2>/tmp/jobs.err & echo $! >/tmp/jobs.pid"
    )
    done = machine.attempt("make release RELEASE=one")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "lastro.platform.postgres : Run Postgres" not in done.stdout
    assert machine.get("/version") == {"release": "one"}
    machine.run("kill -0 $(cat /tmp/load.pid)")
    machine.run(
        "for of in load jobs; do kill $(cat /tmp/$of.pid); done;"
        " for of in load jobs; do while kill -0 $(cat /tmp/$of.pid) 2>/dev/null; do sleep 0.2; done; done",
        timeout=180,
    )
    jobs = json.loads(machine.run("cat /tmp/jobs.json"))
    assert jobs["jobs"] > 10, jobs
    # Worked by the old release or by the new one, by one of them, and once.
    assert (jobs["states"], jobs["attempts"]) == ({"done": jobs["jobs"]}, {"1": jobs["jobs"]}), jobs
    load = json.loads(machine.run("cat /tmp/load.json"))
    assert load["requests"] > 10 * RATE, load
    assert load["failed"] == 0, load
    assert load["rate"] >= 0.9 * RATE, load
    assert len(load["answers"]) == 2, load


def test_a_bad_release_is_undone_and_says_why(machine: Machine) -> None:
    # The Engine takes a minute to call it unhealthy; its time for the start is over before.
    done = machine.play(
        """-e app_start_seconds=20 -e app_release=two -e app_strategy=replace"""
        """ -e '{"app_env": {"PYTHON_IMAGE": "lastro/python:3.13", "APP_FAULT": "never_healthy"}}'"""
    )
    assert done.returncode != 0
    # What serves was stopped before, so that nothing runs twice, and is started again.
    began = [
        done.stdout.index(f"TASK [lastro.platform.app : {task}")
        for task in ("Stop the release that serves", "Start the new colour", "Start again what was stopped")
    ]
    assert began == sorted(began)
    assert "goes on serving" in done.stdout
    assert "web-1" in done.stdout
    # The end of the run says all, on two screens.
    report = done.stdout[done.stdout.rindex("TASK [lastro.platform.app : Show what it said last]") :]
    assert len(report.splitlines()) <= 2 * SCREEN_LINES, report
    assert machine.get("/version") == {"release": "one"}
    done = machine.play("-e app_release=one")
    assert recap(done.stdout)["changed"] == 0, done.stdout[-3000:]


def test_a_release_that_fails_its_users_is_taken_back_by_the_watch(machine: Machine) -> None:
    fault = json.dumps({"app_env": {"PYTHON_IMAGE": "lastro/python:3.13", "APP_FAULT": "error_percent:20"}})
    watch = "-e proxy_watch_seconds=30 -e proxy_watch_requests_min=40 -e proxy_watch_probe_rate=20"
    done = machine.play(f"{watch} -e app_release=two -e '{fault}'")
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert re.search(r"Release two did not pass on dev: After [0-9.]+ s of \w+: \d+ of \d+ requests failed \(", said), (
        said[-3000:]
    )
    assert "goes on serving the release before, on every host" in said
    assert machine.get("/version") == {"release": "one"}
    assert timers(machine) == ""


def test_a_release_whose_smoke_test_fails_is_taken_back_while_it_serves(machine: Machine) -> None:
    machine.run(
        "cp -r examples/reference_app /tmp/app && sed -i 's/cli, healthcheck/cli, healthchick/' /tmp/app/compose.yaml"
    )
    # A metric of the application that is 1, taken for its dead letters.
    bus = {"name": "letters", "type": "event_bus", "url": "http://127.0.0.1:8080/metrics", "dlq_metric": "python_info"}
    given = json.dumps({"app_watch_checks": [bus]})
    done = machine.play(f"-e app_smoke=true -e app_release=two -e app_compose_file=/tmp/app/compose.yaml -e '{given}'")
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert re.search(r"Release two did not pass on dev: .*smoke test of web.* ended with 2", said), said[-3000:]
    assert re.search(r"Release two did not pass on dev: .*letters \(event_bus .*: python_info is 1,", said), said[
        -3000:
    ]
    assert "goes on serving the release before, on every host" in said
    assert machine.get("/version") == {"release": "one"}


def test_a_run_that_is_killed_while_it_watches_is_taken_back_by_the_host(machine: Machine) -> None:
    machine.run(
        f"{PLAY} -e app_release=two -e proxy_watch_seconds=15 -e proxy_undo_seconds=20 >/tmp/killed.log 2>&1 & run=$!;"
        # Ansible names a task of a watch only when it ended.
        " until test -e /var/lib/lastro/lastro/proxy/provisional.json; do kill -0 $run || exit 1; sleep 0.1; done;"
        " sleep 3; kill -KILL $run"
    )
    assert machine.get("/version") == {"release": "two"}
    eventually(lambda: bool(machine.get("/version") == {"release": "one"}), "the host alone takes it back", 40)
    # The service unit is there until its program has ended, a moment after its work.
    eventually(lambda: timers(machine) == "", "nothing is left of the undo")
    assert machine.play("-e app_release=one").returncode == 0
    colours = machine.run(
        "docker ps --filter label=lastro.service=web --format '{{.Label \"com.docker.compose.project\"}}'"
    ).split()
    assert len(set(colours)) == 1, colours


def test_a_migration_that_fails_starts_nothing_of_its_release(machine: Machine) -> None:
    revision = SOURCE.rpartition("/reference_app/")[0] + "/migrations/versions/0006_fails.py"
    lines = ("from alembic import op", 'revision, down_revision = "0006", "0005"')
    lines += ("def upgrade():", '    op.execute("ALTER TABLE nowhere ADD note text")')
    machine.run(f"printf '%s\\n' {' '.join(map(shlex.quote, lines))} >{revision}")
    before = machine.run("docker ps --all --quiet --no-trunc | sort")
    try:
        done = machine.play("-e app_release=three")
    finally:
        machine.run(f"rm {revision}")
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert 'relation "nowhere" does not exist in `ALTER TABLE nowhere ADD note text`' in said
    assert "The database stands at 0005." in said
    assert "TASK [lastro.platform.app : Start the new colour" not in done.stdout
    assert machine.run("docker ps --all --quiet --no-trunc | sort") == before
    assert machine.get("/version") == {"release": "one"}


@pytest.mark.parametrize(
    ("task", "seconds"),
    [
        ("Migrate and seed with migrate", 2),
        ("Start the new colour", 3),
        ("Stop the colour that does not serve", 0),
    ],
)
def test_a_run_that_is_killed_is_repaired_by_the_next(machine: Machine, task: str, seconds: int) -> None:
    release = task.split()[0].lower()
    play = f"-e app_release={release}"
    # ansible-playbook alone is killed; what it started on the host may go on, as after a lost connection.
    machine.run(
        f"{PLAY} {play} >/tmp/killed.log 2>&1 & run=$!;"
        f" until grep -q 'TASK .* : {task}' /tmp/killed.log; do kill -0 $run || exit 1; sleep 0.1; done;"
        f" sleep {seconds}; kill -KILL $run"
    )
    assert machine.get("/health") == {"status": "ok"}
    done = machine.play(f"{play} -vvv --diff")
    assert done.returncode == 0, done.stdout[-4000:]
    assert machine.secrets_in(done.stdout) == []
    assert machine.get("/version") == {"release": release}
    if release == RELEASE:
        # What each of them left.
        assert recap(machine.play(play).stdout)["changed"] == 0


def test_the_way_back_and_forth(machine: Machine) -> None:
    migrated = machine.run("cat /var/lib/lastro/lastro/migrations/migrate.json")
    # A release comes back with the Compose file that it had, whatever is in the file of today, and with the secrets of today.
    compose, secret, rotated = "examples/reference_app/compose.yaml", f"{SECRETS}/api_key_salt", secrets.token_hex(32)
    machine.run(
        f"sed -i.before 's/^x-environment:.*/&\\n  APP_NOTE: today/' {compose} && grep -c 'APP_NOTE: today' {compose}"
    )
    machine.run(f"cp -p {secret} /tmp/secret && printf %s {rotated} >{secret}")
    try:
        done = machine.attempt("make rollback")
    finally:
        machine.run(f"mv {compose}.before {compose} && mv /tmp/secret {secret}")
    assert done.returncode == 0, done.stdout[-4000:]
    web = "docker ps --quiet --filter label=lastro.service=web"
    assert machine.run(f"docker exec $({web} | head -n 1) cat /run/secrets/API_KEY_SALT").strip() == rotated
    environments = machine.run("docker inspect --format '{{.Config.Env}}' $(docker ps --quiet)")
    assert "APP_ENVIRONMENT" in environments
    assert "APP_NOTE" not in environments
    assert machine.get("/version") == {"release": "start"}
    assert "TASK [lastro.platform.app : Migrate and seed behind a gate]" not in done.stdout
    assert machine.run("cat /var/lib/lastro/lastro/migrations/migrate.json") == migrated
    # Where nothing may run twice at the same time, requests wait for it.
    waits = "python3 tests/load.py http://127.0.0.1:8080/version 10 240 40"
    machine.run(f"nohup {waits} >/tmp/waits.json 2>/tmp/waits.err & echo $! >/tmp/waits.pid")
    again = machine.attempt(f"make rollback RELEASE={RELEASE} ARGUMENTS='-e app_strategy=replace'")
    assert again.returncode == 0, again.stdout[-4000:]
    machine.run("kill $(cat /tmp/waits.pid); while kill -0 $(cat /tmp/waits.pid) 2>/dev/null; do sleep 0.2; done")
    load = json.loads(machine.run("cat /tmp/waits.json"))
    assert load["failed"] == 0, load
    assert [json.loads(answer.partition(" ")[2])["release"] for answer in load["answers"]] == ["start", RELEASE], load
    assert machine.get("/version") == {"release": RELEASE}
    assert recap(machine.play(f"-e app_release={RELEASE}").stdout)["changed"] == 0
    refused = " ".join(machine.attempt(f"make rollback RELEASE={RELEASE}").stdout.split())
    assert f"Release {RELEASE} serves already. Name another one: -e release=…. Kept here: " in refused
    assert machine.get("/version") == {"release": RELEASE}


def test_the_ledger_knows_every_release_and_who_tampers_with_it(machine: Machine) -> None:
    ledger = "/var/lib/lastro/lastro/ledger.jsonl"
    entries = [json.loads(line) for line in machine.run(f"cat {ledger}").splitlines()]
    found = [(one["event"], one["outcome"], one["release"]) for one in entries if one["event"] != "migrated"]
    assert found[-3:] == [("release", "kept", RELEASE), ("rollback", "kept", "start"), ("rollback", "kept", RELEASE)]
    why = [one["why"] for one in entries if (one.get("outcome"), one["release"]) == ("failed", "two")]
    assert any(re.search(r": \d+ of \d+ requests failed", one) for one in why), why
    assert {step["step"] for step in entries[-2]["steps"]} == {"start", "gate", "switch 100 %", "prove", "keep"}
    assert machine.secrets_in(machine.run(f"cat {ledger}")) == []
    output = machine.run(f"make status RELEASE={RELEASE}")
    assert re.search(rf"rollback +{RELEASE} +\w+ +closed +\d+ s +root from", output), output[-3000:]
    machine.run(f"cp -p {ledger} /tmp/ledger && sed -i '2s/lease/Lease/' {ledger}")
    try:
        status = machine.attempt(f"make status RELEASE={RELEASE}")
        refused = machine.attempt("make rollback")
    finally:
        machine.run(f"cp -p /tmp/ledger {ledger}")
    assert status.returncode != 0
    assert re.search(r"NO +ledger of releases whole +dev: line 2 was changed after it was written", status.stdout)
    assert "tampered with: line 2 was changed" in " ".join(refused.stdout.split())


def test_no_secret_shows_anywhere(machine: Machine) -> None:
    assert len(machine.secrets()) >= 10, sorted(machine.secrets())
    shown = {
        "ansible --check": machine.play("-e app_release=other --check --diff -vvv").stdout,
        "docker inspect": machine.run("docker inspect $(docker ps -aq)"),
        # Arguments, which every user can see. A program that reads its environment only has secrets there; that is its own user's and root's.
        "processes": machine.run("for i in $(seq 20); do ps axww -o args; sleep 0.1; done"),
        "logs": machine.run("for c in $(docker ps -aq); do docker logs $c 2>&1; done"),
        "world-readable files": machine.run(
            "find /var/lib/lastro /etc /tmp /home -xdev -name .venv -prune -o -type f -perm /044 -size -1024k -print0"
            " | xargs -0 cat | tr -c '[:print:]\\n' '\\n'"
        ),
        "journal": machine.run("journalctl --no-pager 2>/dev/null | tail -n 20000"),
    }
    assert "haproxy" in shown["processes"]
    assert "retry-on conn-failure" in shown["world-readable files"]
    assert "lastro.platform" in shown["journal"]
    assert {place: found for place, text in shown.items() if (found := machine.secrets_in(text))} == {}
    assert not [place for place, text in shown.items() if "PRIVATE KEY-----\nM" in text]


def test_a_stopped_and_a_removed_container_come_back(machine: Machine) -> None:
    machine.run(
        "docker stop -t 2 $(docker ps -q --filter label=lastro.service=worker) && docker rm -f lastro-redis-redis-1"
    )
    done = machine.play(f"-e app_release={RELEASE}")
    assert done.returncode == 0, done.stdout[-3000:]
    assert recap(done.stdout)["changed"] == 2


def test_a_second_clone_finds_the_secrets_and_nothing_to_do(machine: Machine) -> None:
    machine.copy_clone("/home/other/clone")
    before = machine.secrets()
    output = machine.run(
        "cp -a .venv /home/other/clone/ && cd /home/other/clone && .venv/bin/python3 /home/other/clone/.venv/bin/ansible-playbook"
        f" playbooks/deploy.yml -i inventories/dev -e app_release={RELEASE}"
    )
    assert recap(output)["changed"] == 0, output[-3000:]
    assert machine.secrets() == before


def test_status_shows_the_checklist(machine: Machine) -> None:
    output = machine.run(f"make status RELEASE={RELEASE}")
    assert recap(output)["changed"] == 0
    for item in (
        "secrets referenced",
        "persistent volumes",
        "migrations and seeds applied",
        "worker does its work",
        "checks through the proxy green",
    ):
        assert re.search(rf"yes +{item}", output), output[-3000:]
    machine.run("docker stop -t 2 $(docker ps -q --filter label=lastro.service=worker)")
    output = machine.run(f"make status RELEASE={RELEASE}", check=False)
    assert re.search(r"NO +worker does its work", output), output[-3000:]


def test_destroy_keeps_the_data_and_deploy_finds_it(machine: Machine) -> None:
    before = machine.secrets()
    count = "docker exec lastro-postgres-postgres-1 psql -h /var/run/postgresql -U postgres -d app -Atc"
    machine.run(f"{count} 'create table e2e_kept as select 42 as n'")
    output = machine.run("make destroy")
    assert "lastro_postgres_data" in output
    assert machine.run("docker ps -aq") == ""
    machine.run(f"make deploy RELEASE={RELEASE}")
    assert machine.run(f"{count} 'select n from e2e_kept'").strip() == "42"
    assert machine.secrets() == before


def test_a_lost_secret_stops_the_deploy_before_anything_changes(machine: Machine) -> None:
    machine.run(f"mv {SECRETS}/postgres_superuser_password /root/kept")
    done = machine.play(f"-e app_release={RELEASE}")
    machine.run(f"mv /root/kept {SECRETS}/postgres_superuser_password")
    assert done.returncode != 0
    assert "postgres_superuser_password" in done.stdout
    assert recap(done.stdout)["changed"] == 0


def test_a_taken_port_is_named_before_anything_changes(machine: Machine) -> None:
    machine.run(
        "nohup python3 -m http.server 9911 >/dev/null 2>&1 & echo $! >/tmp/server.pid;"
        " until curl -s -o /dev/null http://localhost:9911; do sleep 0.1; done",
        timeout=60,
    )
    done = machine.play(f"-e app_release={RELEASE} -e proxy_http_port=9911")
    machine.run("kill $(cat /tmp/server.pid)")
    assert done.returncode != 0
    assert "9911" in done.stdout
    assert "python3" in done.stdout
    assert recap(done.stdout)["changed"] == 0


def test_what_was_refused_left_nothing_to_put_right(machine: Machine) -> None:
    assert recap(machine.play(f"-e app_release={RELEASE}").stdout)["changed"] == 0


def test_destroy_with_data_names_it_and_leaves_nothing(machine: Machine) -> None:
    output = machine.run("make destroy DATA=yes")
    assert re.search(r"Data that goes:.*lastro_postgres_data", output)
    assert machine.run("docker volume ls -q; docker ps -aq; ls /var/lib/lastro 2>/dev/null", check=False).strip() == ""
