# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference application without the platform: its Compose file under plain Docker Compose."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.integration.reference_app import APP, POSTGRES_IMAGE, REDIS_IMAGE, Container, World, docker, run_job


def test_compose_file_runs_under_plain_compose(tmp_path: Path) -> None:
    """Only what comes from a registry is replaced by images at hand."""
    world = World(tmp_path)
    (tmp_path / "password").write_text("app")
    (tmp_path / "password").chmod(0o444)
    tmp_path.chmod(0o755)
    postgres = {
        "image": POSTGRES_IMAGE,
        "volumes": [f"{tmp_path}:/given:ro"],
        "environment": {"POSTGRES_PASSWORD_FILE": "/given/password"},
    }
    override = tmp_path / "override.json"
    override.write_text(json.dumps({"services": {"postgres": postgres, "redis": {"image": REDIS_IMAGE}}}))
    environment = {
        # Nothing but this is set: everything else has a default in the file.
        "PATH": os.environ["PATH"],
        "APP_RELEASE": world.prefix,
        "APP_PORT": "0",
        "CLIENT_API_KEY": world.keys["client"],
    }
    world.build("r1")
    docker("tag", world.image, f"lastro/reference_app:{world.prefix}")
    world.images.append(f"lastro/reference_app:{world.prefix}")
    files = ("--file", str(APP / "compose.yaml"), "--file", str(override))

    def compose(*arguments: str) -> str:
        command = ["/usr/bin/docker", "compose", "--project-name", f"{world.prefix}-compose", *files, *arguments]
        done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=300)
        if done.returncode and arguments[0] != "logs":
            raise AssertionError(f"{done.stderr}\n{compose('logs', '--tail', '20')}")
        return done.stdout

    try:
        compose("up", "--detach", "--wait", "--no-build")
        web = Container(compose("ps", "--quiet", "web").strip())
        web.port = int(compose("port", "web", "8000").split(":")[-1])
        assert web.get("/ready").status == 200
        assert web.get("/version").json == {"release": "r1"}
        assert run_job(web, world, {"values": [2, 4]})["result"]["mean"] == 3
        compose("exec", "-T", "worker", "python3", "-m", "reference_app.cli", "probe-job")
    finally:
        compose("down", "--volumes", "--timeout", "5")
        world.close()
