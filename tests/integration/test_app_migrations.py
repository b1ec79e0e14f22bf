# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role app migrates: the reference application's image, its secrets as files, a Postgres over verified TLS, one release after the other."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.playbook import play
from tests.integration.reference_app import World, accepts_connections, docker, running, start_postgres
from tests.support import eventually

ENVIRONMENT = {"APP_ENVIRONMENT": "${APP_ENVIRONMENT}"}
SEED = ["python3", "-m", "reference_app.cli", "seed"]
SECRETS = ["DATABASE_URL", "API_KEY_SALT", "ADMIN_API_KEY", "AUDITOR_API_KEY", "CLIENT_API_KEY"]
REVISION = """
from alembic import op

revision, down_revision = "{name}", "{after}"


def upgrade():
    op.execute("{sql}")
"""
# The order of the releases is the order of the tests.
GROWS = ("0006", "0005", "ALTER TABLE tenants ADD note text")
FAILS = ("0007", "0006", "ALTER TABLE nowhere ADD note text")
SHRINKS = ("0007", "0006", "ALTER TABLE tenants DROP COLUMN note")


class Platform:
    """A host of the application: this machine, with everything below one directory."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world = world
        self.directory = directory
        # Where containers of all networks and this machine reach it.
        shown = docker("network", "inspect", "bridge", "--format", "{{json (index .IPAM.Config 0)}}").stdout
        network = json.loads(shown)
        # An Engine that was never started before does not name it yet.
        gateway = network.get("Gateway") or str(next(ipaddress.ip_network(network["Subnet"]).hosts()))
        postgres = start_postgres(world, "published", "--publish", f"{gateway}::5432")
        eventually(lambda: accepts_connections(postgres), "ready", evidence=postgres.logs)
        self.address, _colon, port = docker("port", postgres.name, "5432").stdout.strip().rpartition(":")
        ca = "/run/secrets/ca.crt"
        self.url = (
            f"postgresql+psycopg2://app:{world.password}@postgres:{port}/app?sslmode=verify-full&sslrootcert={ca}"
        )
        self.postgres = postgres

    def release(self, name: str, *revisions: tuple[str, str, str]) -> str:
        """An image of the application with these migrations besides its own."""
        context = self.directory / name
        context.mkdir()
        for number, after, sql in revisions:
            (context / f"{number}.py").write_text(REVISION.format(name=number, after=after, sql=sql))
        (context / "Dockerfile").write_text(f"FROM {self.world.image}\nCOPY *.py migrations/versions/\n")
        image = f"{self.world.prefix}:{name}"
        self.world.images.append(image)
        docker("build", "--quiet", "--tag", image, str(context))
        return name

    def deploy(self, release: str, *arguments: str, **migrations: Any) -> subprocess.CompletedProcess[str]:
        """What a deploy of this release does to the database."""
        says = {"kind": "migrate", "migrations": {"alembic": {}, "seed": SEED}, "env_from_files": SECRETS}
        migrate = {
            "image": f"{self.world.prefix}:${{APP_RELEASE}}",
            "user": "10001:10001",
            "environment": ENVIRONMENT,
            "x-platform": says,
        }
        web = {"image": "shop/web", "x-platform": {"port": 8000, "route": {}}}
        provided = {"image": "postgres:17", "x-platform": {"provided": "postgres"}}
        compose = self.directory / "compose.yaml"
        compose.write_text(yaml.safe_dump({"services": {"migrate": migrate, "web": web, "postgres": provided}}))
        keys = {f"{role.upper()}_API_KEY": key for role, key in self.world.keys.items()}
        variables = {
            "platform_name": self.world.prefix,
            "platform_environment": "dev",
            "platform_state_dir": str(self.directory / "state"),
            "platform_private_address": "127.0.0.1",
            "platform_tls": {"ca": (self.world.directory / "tls/ca.crt").read_text()},
            "app_compose_file": str(compose),
            "app_release": release,
            "app_provided": {"postgres": self.address},
            "app_secrets": {"DATABASE_URL": self.url, "API_KEY_SALT": self.world.salt, **keys},
            "app_migrations": {"migrate": migrations} if migrations else {},
        }
        role = {"name": "lastro.platform.app", "rolespec_validate": False}
        steps: list[dict[str, Any]] = [{"ansible.builtin.include_role": {**role, "tasks_from": "compile"}}]
        migrate_step = {**role, "tasks_from": "migrate"}
        steps.append({"ansible.builtin.include_role": migrate_step, "vars": {"__app_migrated": "migrate"}})
        plays = [{"hosts": "all", "gather_facts": False, "tasks": steps}]
        return play(self.directory, plays, {}, {"one": {}}, variables, *arguments)

    def sql(self, statement: str) -> str:
        arguments = ["psql", "-U", "app", "-h", "127.0.0.1", "-d", "app", "-qAtc", statement]
        return docker(
            "exec", "--env", f"PGPASSWORD={self.world.password}", self.postgres.name, *arguments
        ).stdout.strip()

    @property
    def revision(self) -> str:
        return self.sql("SELECT version_num FROM alembic_version")

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "state/migrations/migrate.json").read_text())
        return found

    def networks(self) -> str:
        return docker(
            "network", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={self.world.prefix}-migrations"
        ).stdout


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("refapp")) as world:
        platform = Platform(world, tmp_path_factory.mktemp("platform"))
        yield platform
        docker("network", "rm", f"{world.prefix}-migrations_default", check=False)


def said(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join(done.stdout.split())


def test_check_mode_before_anything_is_there(platform: Platform) -> None:
    done = platform.deploy("r0", "--check")
    assert done.returncode == 0, done.stdout
    assert f"Nothing can be said of migrations yet. The image {platform.world.prefix}:r0 is not on this host." in said(
        done
    )
    assert "changed=1" in done.stdout


def test_check_mode_shows_the_sql_and_leaves_nothing(platform: Platform) -> None:
    done = platform.deploy("r1", "--check", "--diff")
    assert done.returncode == 0, done.stdout
    assert "+CREATE TABLE tenants" in done.stdout
    assert platform.sql("SELECT to_regclass('alembic_version')") == ""
    assert not (platform.directory / "state").exists()
    assert platform.networks() == ""


def test_a_release_migrates_and_seeds_once_and_no_secret_shows(platform: Platform) -> None:
    done = platform.deploy("r1", "--diff", "-vvv", policy="expand_only")
    assert done.returncode == 0, done.stdout
    assert platform.revision == "0005"
    assert platform.sql("SELECT count(*) > 0 FROM taxonomy") == "t"
    assert (platform.record["ok"], platform.record["release"], platform.record["current"]) == (True, "r1", ["0005"])
    shown = done.stdout + done.stderr
    hidden = [platform.world.password, platform.world.salt, *platform.world.keys.values()]
    assert [secret for secret in hidden if secret in shown] == []
    assert os.stat(platform.directory / "state/migrations/migrate.json").st_mode & 0o077 == 0
    again = platform.deploy(
        "r1", verify=[{"name": "tenants", "query": "SELECT count(*) FROM tenants", "expected": "2"}]
    )
    assert again.returncode == 0, again.stdout
    assert "changed=0" in again.stdout


def test_a_release_that_comes_back_after_a_later_one_does_nothing(platform: Platform) -> None:
    done = platform.deploy(platform.release("r2", GROWS))
    assert done.returncode == 0, done.stdout
    assert "pending: 0006" in done.stdout
    assert platform.revision == "0006"
    assert "changed=0" in platform.deploy("r2").stdout
    back = platform.deploy("r1")
    assert back.returncode == 0, back.stdout
    assert "The database is at 0006, to which a later release migrated it; this one ends at 0005." in said(back)
    assert "changed=0" in back.stdout
    assert (platform.revision, platform.record["release"]) == ("0006", "r1")


def test_a_revision_of_somebody_else_is_refused_unless_it_is_named(platform: Platform) -> None:
    platform.sql("UPDATE alembic_version SET version_num = 'f00'")
    refused = platform.deploy("r1")
    assert refused.returncode
    assert "at revision f00, which this release does not know" in said(refused)
    named = platform.deploy("r1", known_revisions=["f00"])
    assert named.returncode == 0, named.stdout
    platform.sql("UPDATE alembic_version SET version_num = '0006'")


def test_a_migration_that_fails_ends_the_run_and_is_on_record(platform: Platform) -> None:
    done = platform.deploy(platform.release("r3", GROWS, FAILS))
    assert done.returncode
    assert 'relation "nowhere" does not exist in `ALTER TABLE nowhere ADD note text`' in said(done)
    assert "The database stands at 0006." in said(done)
    assert (platform.revision, platform.record["ok"], platform.record["release"]) == ("0006", False, "r3")


def test_the_environment_says_what_migrations_may_do(platform: Platform) -> None:
    done = platform.deploy(
        platform.release("r4", GROWS, SHRINKS), policy="expand_only", lint_exclude=["ban-drop-column"]
    )
    assert done.returncode
    assert "(contract)" in said(done)
    assert platform.revision == "0006"
    assert platform.record["release"] == "r3", "a plan that is refused is no run"
