# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module migrate_seed is told of an application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.plugin_utils._application_migrations import migrations
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_source import SourceError

from tests.unit.compose_tree import Tree

FILE = """
services:
  web:
    image: shop/web
    depends_on: {migrate: {condition: service_completed_successfully}}
    x-platform: {port: 8000, route: {}}
  migrate:
    image: shop/web
    command: [alembic, upgrade, head]
    x-platform:
      kind: migrate
      migrations: MIGRATIONS
      env_from_files: [DATABASE_URL]
  fill:
    image: shop/web
    depends_on: {migrate: {condition: service_completed_successfully}}
    x-platform: {kind: seed}
  db: {image: 'postgres:17', x-platform: {provided: postgres}}
"""
URL = "postgresql+psycopg2://shop:s3cret@db:5432/shop?sslmode=verify-full"
SECRETS = {"DATABASE_URL": URL}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def told(tree: Tree, said: str = "{alembic: {}}", given: Any = None, **more: Any) -> dict[str, Any]:
    more.setdefault("secrets", SECRETS)
    compiler = tree.compiler(FILE.replace("MIGRATIONS", said), **more)
    return migrations(compiler.application, compiler.inputs, given or {})


def test_alembic_of_the_image(tree: Tree) -> None:
    found = told(tree, provided={"db": "10.1.1.1"})
    assert found == {
        "migrate": {
            "url": URL,
            "hostaddr": "10.1.1.1",
            "alembic": {},
            "python": ["python3"],
            "migrate_command": [],
            "status_command": [],
            "seed_command": [],
        }
    }


def test_a_command_and_what_an_environment_says(tree: Tree) -> None:
    said = "{command: [shop, up], status: [shop, is-up], seed: [shop, seed]}"
    waiver = {"revision": "7", "rule": "contract", "reason": "nobody reads it", "expires": "2027-01-31"}
    found = told(tree, said, {"migrate": {"policy": "expand_only", "waivers": [waiver]}})["migrate"]
    assert (found["migrate_command"], found["status_command"]) == (["shop", "up"], ["shop", "is-up"])
    assert (found["seed_command"], found["policy"], found["waivers"]) == (["shop", "seed"], "expand_only", [waiver])
    assert found["hostaddr"] == "", "no address is known for db"


def test_a_url_of_a_server_that_the_platform_does_not_provide(tree: Tree) -> None:
    secrets = {"DATABASE_URL": "postgresql://shop:s3cret@db.example.com/shop"}
    assert told(tree, secrets=secrets, provided={"db": "10.1.1.1"})["migrate"]["hostaddr"] == ""


def test_its_own_secret_comes_first(tree: Tree) -> None:
    own = {"migrate": {"DATABASE_URL": "postgresql://owner@db/shop"}}
    assert told(tree, secrets_for=own)["migrate"]["url"] == "postgresql://owner@db/shop"


def test_it_is_no_job_and_jobs_do_not_wait_for_it(tree: Tree) -> None:
    compiler = tree.compiler(FILE.replace("MIGRATIONS", "{alembic: {}}"), secrets=SECRETS)
    project = compiler.migrations()
    assert list(project.compose["services"]) == ["migrate"]
    assert project.compose["services"]["migrate"]["restart"] == "no"
    assert [file["path"] for file in project.files] == ["secrets/migrate/DATABASE_URL"]
    jobs = compiler.jobs().compose["services"]
    assert list(jobs) == ["fill"]
    assert "depends_on" not in jobs["fill"]
    assert "depends_on" not in compiler.colour("blue").compose["services"]["web-1"]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("{}", "compose.yaml:12: service migrate has to say in x-platform.migrations either `alembic` or `command`"),
        ("{alembic: {}, command: [up]}", "has to say in x-platform.migrations either `alembic` or `command`"),
        ("{alembik: {}}", "compose.yaml:12: migrate.x-platform.migrations: Additional properties are not allowed"),
        ("{command: up}", "'up' is not of type 'array'"),
        ("{alembic: {}, database: OTHER}", "its secret OTHER holds no URL of a database"),
    ],
)
def test_refused(tree: Tree, said: str, problem: str) -> None:
    with pytest.raises(SourceError) as error:
        told(tree, said)
    assert problem in str(error.value)


def test_another_kind_says_nothing_of_migrations(tree: Tree) -> None:
    with pytest.raises(SourceError, match="service migrate of kind worker says how to migrate"):
        tree.compiler(FILE.replace("MIGRATIONS", "{alembic: {}}").replace("kind: migrate", "kind: worker"))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"web": {}}, "app_migrations names the service web, which says nothing of migrations"),
        ({"migrate": {"polizy": "any"}}, "app_migrations.migrate has the unknown key polizy"),
        ({"migrate": {"url": "postgresql://x"}}, "app_migrations.migrate has the unknown key url"),
        ({"migrate": ["policy"]}, "app_migrations.migrate is not a mapping"),
    ],
)
def test_what_an_environment_can_not_say(tree: Tree, given: Any, problem: str) -> None:
    with pytest.raises(PlatformError, match=problem):
        told(tree, given=given)
