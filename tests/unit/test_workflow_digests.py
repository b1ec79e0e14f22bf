# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a promotion by a workflow wrote reaches the repository, by a job that may write and has no secret."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import REPOSITORY

FILE = "inventories/prod/group_vars/all/digests.yml"
BRANCH = "digests/prod-7-1"
DIGESTS = "images_digests: {lastro/redis:8: 'sha256:01'}\n"


def job(workflow: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / f".github/workflows/{workflow}.yml").read_text())["jobs"][name]
    return found


def git(where: Path, *words: str) -> str:
    name = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    return subprocess.run(["git", *name, *words], cwd=where, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The runner's checkout, with the digests of an earlier promotion; `gh` is a stand-in."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    git(tmp_path, "init", "--quiet", "--bare", str(origin))
    git(tmp_path, "clone", "--quiet", str(origin), str(clone))
    (clone / FILE).parent.mkdir(parents=True)
    (clone / FILE).write_text("images_digests: {}\n")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "--message", "Begin")
    (tmp_path / "gh").write_text("#!/bin/sh\n")
    (tmp_path / "gh").chmod(0o755)
    return clone


@pytest.mark.parametrize(("release", "title"), [("1.4.2", "Promote 1.4.2 to prod"), ("", "Promote the images to prod")])
def test_new_digests_become_a_branch(checkout: Path, release: str, title: str) -> None:
    (checkout / FILE).write_text(DIGESTS)
    (checkout / "left-over").touch()
    said = push(checkout, release)
    assert f"Merge {BRANCH}, then deploy: https://github.com/shop/platform/compare/{BRANCH}?expand=1" in said
    origin = checkout.parent / "origin"
    assert git(origin, "show", f"{BRANCH}:{FILE}") == DIGESTS
    assert git(origin, "show", "--format=%s", "--name-only", BRANCH).split("\n") == [title, "", FILE, ""]


def test_digests_that_are_committed_already_push_nothing(checkout: Path) -> None:
    assert "committed already" in push(checkout, "1.4.2")
    assert git(checkout.parent / "origin", "branch", "--list") == ""


def push(checkout: Path, release: str) -> str:
    (step,) = [step for step in job("deploy", "record")["steps"] if step.get("name") == "Push"]
    given = {
        "ENVIRONMENT": "prod",
        "RELEASE": release,
        "GITHUB_ACTOR": "shop",
        "GITHUB_REPOSITORY": "shop/platform",
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_RUN_ID": "7",
        "GITHUB_SERVER_URL": "https://github.com",
        "PATH": f"{checkout.parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", step["run"]],
        cwd=checkout,
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_who_may_write_has_no_secret_and_who_has_secrets_may_only_read() -> None:
    record, run = job("deploy", "record"), job("deploy", "run")
    assert record["permissions"] == {"contents": "write"}
    assert "environment" not in record
    assert "secrets." not in str(record)
    assert run.get("permissions", {"contents": "read"}) == {"contents": "read"}


@pytest.mark.parametrize(("workflow", "name", "after"), [("deploy", "run", "Run"), ("application", "deploy", "Deploy")])
def test_the_file_is_kept_with_the_run(workflow: str, name: str, after: str) -> None:
    steps = job(workflow, name)["steps"]
    names = [step.get("name") for step in steps]
    (kept,) = [step for step in steps if "upload-artifact" in step.get("uses", "")]
    assert names.index(kept["name"]) == names.index(after) + 1
    assert kept["with"]["path"] == "inventories/${{ inputs.environment }}/group_vars/all/digests.yml"
