# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations and seeds of the reference application, against a real Postgres over verified TLS."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils import _oneoff
from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

from tests.integration.reference_app import World, docker, running
from tests.support import run_module


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("refapp")) as world:
        yield world


@pytest.fixture
def migrated(world: World) -> World:
    done = world.cli("migrate-seed")
    assert done.returncode == 0, done.stderr
    return world


def test_before_migrations_the_health_check_says_so(world: World) -> None:
    world.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    done = world.cli("healthcheck")
    assert done.returncode == 1
    assert "the database is at revision none" in done.stderr


def test_migrate_seed_twice_changes_nothing(world: World) -> None:
    world.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    first = json.loads(world.cli("migrate-seed").stdout)
    assert first["applied"] == ["0001", "0002", "0003", "0004", "0005"]
    assert first["seeded"] == {"tenants": 2, "api_keys": 3, "taxonomy": 14}
    before = snapshot(world)
    second = json.loads(world.cli("migrate-seed").stdout)
    assert second["changed"] is False
    assert snapshot(world) == before
    assert world.cli("healthcheck").returncode == 0
    assert (
        world.sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_jobs_tenant_id_created_at'::regclass")
        == "t\n"
    )


def snapshot(world: World) -> list[str]:
    """Every row with the transaction that wrote it: an update to the same value shows too."""
    return [world.sql(f"SELECT xmin, t.* FROM {table} t ORDER BY id") for table in ("tenants", "api_keys", "taxonomy")]


def test_two_migrations_at_once_wait_for_each_other(world: World) -> None:
    world.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    done: list[subprocess.CompletedProcess[str]] = []
    threads = [threading.Thread(target=lambda: done.append(world.cli("migrate-seed"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    assert sorted(len(json.loads(one.stdout)["applied"]) for one in done) == [0, 5]


def test_models_and_migrations_agree(migrated: World) -> None:
    done = docker(
        *("run", "--rm", "--network", migrated.prefix, *migrated.app_options(), migrated.image, "alembic", "check"),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_missing_seeds_are_named(migrated: World) -> None:
    migrated.sql("DELETE FROM taxonomy WHERE kind = 'sex' AND code = 'female'")
    done = migrated.cli("healthcheck")
    assert (done.returncode, "sex/female" in done.stderr) == (1, True)
    assert json.loads(migrated.cli("seed").stdout)["seeded"]["taxonomy"] == 1


def test_development_keys_are_refused_in_prod(migrated: World) -> None:
    done = migrated.cli("seed", APP_ENVIRONMENT="prod")
    assert done.returncode == 2
    assert "ADMIN_API_KEY" in done.stderr
    assert migrated.keys["admin"] not in done.stderr


def test_only_salted_hashes_are_stored_and_never_twice(migrated: World) -> None:
    wanted = hmac.new(migrated.salt.encode(), migrated.keys["client"].encode(), hashlib.sha256).hexdigest()
    assert migrated.sql("SELECT key_hash FROM api_keys WHERE role = 'client'") == f"{wanted}\n"
    with pytest.raises(AssertionError, match="uq_api_keys_key_hash"):
        migrated.sql(f"INSERT INTO api_keys (tenant_id, role, key_hash) VALUES (1, 'client', '{wanted}')")


def release(world: World, *revisions: str) -> list[str]:
    """Options that make the image a later release: its migrations go on with these, all after the last of the image."""
    options = []
    for revision in revisions:
        path = world.directory / f"{revision}.py"
        path.write_text(
            f"from alembic import op\n\nrevision, down_revision = {revision!r}, '0005'\n\n\n"
            f"def upgrade():\n    op.execute('ALTER TABLE tenants ADD note_{revision} text')\n"
        )
        path.chmod(0o444)
        options += ["--volume", f"{path}:/app/migrations/versions/{path.name}:ro"]
    return options


def run_cli(world: World, options: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ("python3", "-m", "reference_app.cli", *arguments)
    mounted = ["--rm", "--network", world.prefix, *world.app_options(), *options]
    return docker("run", *mounted, world.image, *command, check=False)


def test_the_release_before_runs_on_the_schema_of_the_one_after(world: World) -> None:
    """Code rolls back, the schema does not: the old image's migrations have nothing to do, and say why."""
    world.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert world.cli("migrate-seed").returncode == 0
    later = run_cli(world, release(world, "0006"), "migrate-seed")
    assert json.loads(later.stdout)["applied"] == ["0006"], later.stderr

    back = world.cli("migrate-seed")
    assert back.returncode == 0, back.stderr
    answer = json.loads(back.stdout)
    assert (answer["changed"], answer["applied"], answer["ahead"]) == (False, [], "0006")
    said = json.loads(back.stderr.splitlines()[-1])
    assert said["level"] == "warning"
    assert said["message"] == (
        "the database is at revision 0006, which this release does not know: a later release migrated it, and nothing is done"
    )
    assert world.sql("SELECT version_num FROM alembic_version") == "0006\n"
    assert world.cli("healthcheck").returncode == 0

    forward = run_cli(world, release(world, "0006"), "migrate-seed")
    assert json.loads(forward.stdout)["ahead"] == "", "the later release knows it"


def test_migrations_that_contradict_each_other_still_fail(world: World) -> None:
    world.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    done = run_cli(world, release(world, "0006", "0007"), "migrate-seed")
    assert done.returncode == 1
    assert "Multiple head revisions" in done.stderr


def module_arguments(world: World, **more: Any) -> dict[str, Any]:
    """What the module migrate_seed is told to run the image's own Alembic, with its secrets as files."""
    secrets = {path.name: path.read_text() for path in (world.directory / "secrets").iterdir() if path.is_file()}
    service = {
        "image": world.image,
        "user": "10001:10001",
        "read_only": True,
        "tmpfs": ["/tmp"],
        "environment": {"APP_ENVIRONMENT": "dev"},
        "volumes": ["./secrets:/run/secrets:ro"],
    }
    compose = {"services": {"migrate": service}, "networks": {"default": {"name": world.prefix, "external": True}}}
    owner, mode = "10001:10001", "0400"
    return {
        # As this host reaches it; the image has its own URL among its secrets.
        "url": f"postgresql://app:{world.password}@{world.address('postgres')}/app?sslmode=require",
        "project": world.prefix,
        "directory": str(world.directory / "jobs"),
        "compose": compose,
        "files": [
            {"path": f"secrets/{name}", "content": text, "owner": owner, "mode": mode, "secret": True}
            for name, text in secrets.items()
        ],
        "service": "migrate",
        "seed_command": ["python3", "-m", "reference_app.cli", "seed"],
        **more,
    }


def test_the_module_migrates_with_the_alembic_of_the_image(world: World) -> None:
    world.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    planned = run_module("migrate_seed", module_arguments(world, phase="plan"))
    assert "failed" not in planned, planned["msg"]
    assert [entry["id"] for entry in planned["pending"]] == ["0001", "0002", "0003", "0004", "0005"]
    assert "CREATE TABLE tenants" in planned["pending"][0]["sql"]
    done = run_module("migrate_seed", module_arguments(world, phase="run", planned=planned))
    assert "failed" not in done, done["msg"]
    assert (done["applied"][-1], done["drift"]["compared"], done["drift"]["differences"]) == ("0005", True, "")
    assert json.loads(done["seed_command"])["seeded"]["taxonomy"] == 14
    assert world.cli("healthcheck").returncode == 0
    assert not run_module("migrate_seed", module_arguments(world, phase="plan"))["changed"]
    left = docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={world.prefix}").stdout
    assert left == "", "one-off containers are gone"
    assert world.password not in json.dumps([planned, done])


# It ends at the Engine's SIGTERM; one that does not is killed after half a minute.
HANGS = ["sh", "-c", "trap 'exit 1' TERM; sleep 60 & wait"]


def test_a_command_that_hangs_in_a_container_is_stopped(world: World) -> None:
    arguments = module_arguments(world, seed_command=[], migrate_command=HANGS, timeout_seconds=3)
    planned = run_module("migrate_seed", {**arguments, "phase": "plan"})
    done = run_module("migrate_seed", {**arguments, "phase": "run", "planned": planned})
    assert done["failed"]
    assert "sh had not ended after 3 s and was stopped" in done["msg"]
    assert docker("ps", "--all", "--quiet", "--filter", f"name={world.prefix}-migrate-run").stdout == ""


def test_an_image_that_is_not_there_is_not_asked_for_elsewhere(world: World) -> None:
    arguments = module_arguments(world)
    arguments["compose"]["services"]["migrate"]["image"] = "lastro/nothing:1"
    planned = run_module("migrate_seed", {**arguments, "phase": "plan"})
    assert planned["failed"]
    assert "lastro/nothing:1" in planned["msg"]


def test_a_container_that_a_killed_run_left_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    label, name = f"com.docker.compose.project={world.prefix}", f"{world.prefix}-migrate-run-left"
    docker("run", "--detach", "--rm", "--label", label, "--name", name, world.image, "sleep", "3")
    project = _oneoff.Container(
        Engine("/var/run/docker.sock"), world.prefix, str(world.directory / "jobs"), "migrate", {}
    )
    with pytest.raises(PlatformError, match=f"The container {name} of an earlier run still runs after 1 s"):
        project.wait_for_others(1)
    project.wait_for_others(30)
    docker("create", "--label", label, "--name", name, world.image, "sleep", "3")
    project.wait_for_others(1)
    assert name in docker("ps", "--all", "--format", "{{.Names}}").stdout, "somebody may be about to start it"
    monkeypatch.setattr(_oneoff, "ABANDONED_SECONDS", -1)
    project.wait_for_others(1)
    assert name not in docker("ps", "--all", "--format", "{{.Names}}").stdout


def test_the_command_lines_of_systems_in_production(world: World) -> None:
    """As nutri and equivalence name them: migrations and seeds by a command that is given a URL, a check, and seeds by a script."""
    world.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    tool = ["sh", "-c", 'python -m src.database.cli "$0" --url "$(cat /run/secrets/DATABASE_URL)"']
    commands = {"migrate_command": [*tool, "migrate-seed"], "status_command": [*tool, "healthcheck"]}
    given = module_arguments(world, **commands, seed_command=["python", "scripts/seed_safe.py"])
    planned = run_module("migrate_seed", {**given, "phase": "plan"})
    assert [entry["sql_error"] for entry in planned["pending"]] == ["it is a command"]
    done = run_module("migrate_seed", {**given, "phase": "run", "planned": planned})
    assert "failed" not in done, done["msg"]
    assert (done["changed"], json.loads(done["seed_command"])["changed"]) == (True, False)
    assert world.cli("healthcheck").returncode == 0
    again = run_module("migrate_seed", {**given, "phase": "plan"})
    assert (again["pending"], again["changed"]) == ([], False)
    assert not run_module("migrate_seed", {**given, "phase": "run", "planned": again})["changed"]
