# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workflows that are safe to run, and the check that refuses those that are not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import check_workflows
from tests.support import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
EXAMPLES = sorted((REPOSITORY / ".github" / "examples").glob("*.yml"))
SHA = "0123456789abcdef0123456789abcdef01234567"


def load(name: str) -> dict[Any, Any]:
    workflow: dict[Any, Any] = yaml.safe_load((REPOSITORY / ".github" / name).read_text())
    return workflow


def job(text: str, head: str = "") -> str:
    """A workflow around one job's body."""
    body = "\n".join(f"    {line}" for line in text.strip("\n").splitlines())
    return f"permissions: {{contents: read}}\n{head}\njobs:\n  one:\n{body}\n"


def step(script: str, environment: str = "TOKEN: '${{ secrets.TOKEN }}'") -> str:
    lines = "\n".join(f"      {line}" for line in script.splitlines())
    return job(f"environment: prod\nsteps:\n  - env: {{{environment}}}\n    run: |\n{lines}")


REFUSED = {
    "secret as a variable": (job("env: {A: '${{ vars.DB_PASSWORD }}'}"), "vars.DB_PASSWORD"),
    "secret as a variable, by index": (job("env: {A: \"${{ vars['API_KEY'] }}\"}"), "vars.API_KEY"),
    "secret as a variable, in a condition": (job("if: vars.deploy_token != ''"), "vars.deploy_token"),
    "variable by computed name": (job("env: {A: '${{ vars[matrix.name] }}'}"), "computed name"),
    "all secrets": (job("environment: prod\nenv: {A: '${{ toJSON(secrets) }}'}"), "toJSON(secrets)"),
    "all variables": (job("env: {A: '${{ toJson( vars ) }}'}"), "toJSON(vars)"),
    "secret outside of an environment": (job("env: {A: '${{ secrets.KEY }}'}"), "outside of a GitHub Environment"),
    "secret handed to another workflow": (
        job(f"uses: a/b/.github/workflows/c.yml@{SHA}\nsecrets: {{KEY: '${{{{ secrets.KEY }}}}'}}"),
        "outside of a GitHub Environment",
    ),
    "secret for every job": (job("steps: []", "env: {A: '${{ secrets.KEY }}'}"), "reaches every job"),
    "secret as an input": (
        job("steps: []", "on: {workflow_dispatch: {inputs: {db_password: {type: string}}}}"),
        "input db_password",
    ),
    "secret pasted into a script": (step("curl -u x:${{ secrets.TOKEN }} https://example.com"), "pasted"),
    "echo": (step('echo "$TOKEN"'), "prints a secret"),
    "echo, in braces": (step('echo "token: ${TOKEN}"'), "prints a secret"),
    "echo, in two lines": (step("echo \\\n  $TOKEN"), "prints a secret"),
    "echo, encoded": (step("printf %s $TOKEN | tee"), "prints a secret"),
    "here-string to cat": (step('cat <<<"$TOKEN"'), "prints a secret"),
    "standard error": (step('echo "$TOKEN" >&2'), "prints a secret"),
    "summary": (step('echo "$TOKEN" >>"$GITHUB_STEP_SUMMARY"'), "prints a secret"),
    "output": (step('echo "token=$TOKEN" >> $GITHUB_OUTPUT'), "prints a secret"),
    "environment of later steps": (step('printf "T=$TOKEN" >>"${GITHUB_ENV}"'), "prints a secret"),
    "job's environment": (
        job("environment: prod\nenv: {T: '${{ secrets.T }}'}\nsteps: [{run: 'echo $T'}]"),
        "prints a secret",
    ),
    "trace": (step("set -euxo pipefail\nmake deploy"), "shows every variable"),
    "whole environment": (step("env | sort"), "shows every variable"),
    "mutable tag": (job("steps: [{uses: actions/checkout@v4}]"), "actions/checkout@v4"),
    "branch": (job("uses: a/b/.github/workflows/c.yml@main"), "c.yml@main"),
    "short commit": (job("steps: [{uses: actions/checkout@0123456}]"), "actions/checkout@0123456"),
    "image by tag": (job("steps: [{uses: 'docker://alpine:3'}]"), "docker://alpine:3"),
    "no permissions": ("jobs: {one: {steps: []}}", "permissions"),
    "all permissions": (job("permissions: write-all"), "write-all"),
    "all permissions of the workflow": ("permissions: write-all\njobs: {one: {steps: []}}", "write-all"),
    "any host key": (job("steps: [{run: ssh -o StrictHostKeyChecking=no host}]"), "host's key"),
    "first host key": (job("steps: [{run: ssh -o 'StrictHostKeyChecking accept-new' host}]"), "host's key"),
    "fetched host key": (job("steps: [{run: 'ssh-keyscan host >>~/.ssh/known_hosts'}]"), "host's key"),
    "host keys ignored by Ansible": (job("env: {ANSIBLE_HOST_KEY_CHECKING: 'False'}"), "host's key"),
    "composite action": ("runs: {using: composite, steps: [{uses: a/b@v1}]}", "a/b@v1"),
    "not a workflow": ("- 1", "is not a workflow"),
    "not YAML": ("a: b: c", "is not YAML"),
}  # fmt: skip

ACCEPTED = {
    "variable": job("runs-on: '${{ vars.RUNNER }}'\nenv: {A: '${{ vars.MONKEY }}', B: '${{ vars.KEYBOARD }}'}"),
    "own token": job("steps: [{run: make, env: {GH_TOKEN: '${{ secrets.GITHUB_TOKEN }}'}}]"),
    "secret in a step's env": step("make deploy"),
    "secret on standard input": step('login --password-stdin <<<"$TOKEN"'),
    "secret into a program": step('printf %s "$TOKEN" | login --password-stdin'),
    "secret into a file": step('(umask 077 && printf %s "$TOKEN" >"$folder/token")'),
    "other words": step('echo "$TOKENS_SEEN tokens seen, environment set"'),
    "trace without a secret": job("steps: [{run: 'set -x; env'}]"),
    "pinned action": job(f"steps: [{{uses: actions/checkout@{SHA}}}, {{uses: ./here}}]"),
    "pinned image": job(f"steps: [{{uses: 'docker://alpine@sha256:{SHA}{SHA[:24]}'}}]"),
    "environment's secrets": job(f"uses: a/b/.github/workflows/c.yml@{SHA}\nsecrets: inherit"),
    "host keys checked": job("env: {ANSIBLE_HOST_KEY_CHECKING: 'true'}\nsteps: [{run: ssh -o StrictHostKeyChecking=yes h}]"),
}  # fmt: skip


def check(path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    path.write_text(text)
    code = check_workflows.main([str(path)])
    return code, capsys.readouterr().out


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, said = REFUSED[name]
    code, output = check(tmp_path / "workflow.yml", text, capsys)
    assert code == 1
    assert said in output


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, output = check(tmp_path / "workflow.yml", ACCEPTED[name], capsys)
    assert code == 0, output


def test_nothing_to_check_is_not_green(tmp_path: Path) -> None:
    assert check_workflows.main([str(tmp_path)]) == 1


def test_the_workflows_of_this_repository(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_workflows.main([str(REPOSITORY / ".github")]) == 0, capsys.readouterr().out
    assert f"{len(WORKFLOWS) + len(EXAMPLES)} workflows checked" in capsys.readouterr().out
    assert {path.stem for path in WORKFLOWS} == {"ci", "deploy", "application"}


def test_the_schema_of_workflows() -> None:
    files = [str(path) for path in [*WORKFLOWS, *EXAMPLES]]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", [*WORKFLOWS, *EXAMPLES], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_scripts_are_shell(path: Path) -> None:
    scripts = [
        text
        for place, text in check_workflows.strings(load(f"{path.parent.name}/{path.name}"))
        if place.endswith(".run")
    ]
    for script in scripts:
        done = subprocess.run(
            ["bash", "-n"], input=re.sub(r"\$\{\{.*?\}\}", "x", script), text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, f"{script}\n{done.stderr}"
    assert scripts or path in EXAMPLES


def test_only_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([.a-z/][\w./-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    texts = [text for path in WORKFLOWS for _place, text in check_workflows.strings(load(f"workflows/{path.name}"))]
    called = {word for text in texts for word in re.findall(r"\bmake ([a-z.][\w./-]*)", text)}
    jobs = load("workflows/ci.yml")["jobs"].values()
    called |= {target for job in jobs for target in job.get("strategy", {}).get("matrix", {}).get("target", [])}
    called |= set(load("workflows/deploy.yml")[True]["workflow_dispatch"]["inputs"]["action"]["options"])
    assert {"lint", "unit", "matrix", "artefacts", "molecule", "deploy"} <= called
    assert called - targets == set()


@pytest.mark.parametrize(("name", "job"), [("deploy", "run"), ("application", "deploy")])
def test_a_deploy_waits_for_people_and_is_never_cut_off(name: str, job: str) -> None:
    workflow = load(f"workflows/{name}.yml")
    deploy = workflow["jobs"][job]
    assert deploy["environment"] == "${{ inputs.environment }}"
    assert "protected" in deploy["needs"]
    concurrency = deploy.get("concurrency") or workflow["concurrency"]
    assert concurrency == {"group": "deploy-${{ inputs.environment }}", "cancel-in-progress": False}
    assert "inventories/$ENVIRONMENT/known_hosts" in str(deploy)


def test_every_check_for_applications_can_block_warn_or_be_off() -> None:
    workflow = load("workflows/application.yml")
    inputs = workflow[True]["workflow_call"]["inputs"]
    modes = {name for name, value in inputs.items() if value.get("default") in ("block", "warn", "off")}
    in_matrix = {entry["name"] for entry in workflow["jobs"]["check"]["strategy"]["matrix"]["include"]}
    assert modes == {name.replace("-", "_") for name in in_matrix} | {"image_scan", "integration"}
    text = (REPOSITORY / ".github/workflows/application.yml").read_text()
    for mode in modes:
        assert f"inputs.{mode} " in text, f"nothing reads the mode of {mode}"


def test_jobs_of_applications_that_can_run_at_once_do() -> None:
    needs = {name: job.get("needs") for name, job in load("workflows/application.yml")["jobs"].items()}
    assert {name for name, needed in needs.items() if not needed} == {"check", "build", "protected"}
    assert needs["image-scan"] == needs["integration"] == "build"


@pytest.mark.parametrize(("name", "job", "step"), [("deploy", "run", "Run"), ("application", "deploy", "Deploy")])
def test_secrets_of_a_deploy_are_files_for_one_user_and_gone_afterwards(
    tmp_path: Path, name: str, job: str, step: str
) -> None:
    """The step itself, with stand-ins for the agent and for make, which says what it was given."""
    (script,) = (
        entry["run"] for entry in load(f"workflows/{name}.yml")["jobs"][job]["steps"] if entry.get("name") == step
    )
    look = 'env; stat -c "mode %a" "$ANSIBLE_VAULT_PASSWORD_FILE"; cat "$ANSIBLE_VAULT_PASSWORD_FILE" $RELEASE_FILE; exit 3'
    for program, text in {"ssh-agent": "true", "ssh-add": "cat >added", "make": look}.items():
        (tmp_path / program).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / program).chmod(0o755)
    given = {
        "ENVIRONMENT": "prod", "ACTION": "deploy", "RELEASE": "1.4.2", "COMMAND": "make deploy", "GITHUB_ACTOR": "shop",
        "IMAGE": "shop/web", "REGISTRY": "registry.example.com/shop", "DIGEST": "sha256:0123",
        "SSH_PRIVATE_KEY": "key-of-prod", "VAULT_PASSWORD": "password-of-prod", "TMPDIR": str(tmp_path),
        "PATH": f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin",
    }  # fmt: skip
    if name == "application":
        given["REGISTRY_TOKEN"] = "token-of-the-job"
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script], cwd=tmp_path, env=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stdout + done.stderr
    environment, _mode, files = done.stdout.partition("mode 600\n")
    assert "password-of-prod" in files
    assert [word for word in ("token-of-the-job", "key-of-prod", "password-of-prod") if word in environment] == []
    assert (tmp_path / "added").read_text() == "key-of-prod\n"
    assert {path.name for path in tmp_path.iterdir()} == {"ssh-agent", "ssh-add", "make", "added"}
    if name == "application":
        source = json.loads(files.removeprefix("password-of-prod"))
        assert source["images_source_registry"] == "registry.example.com/shop"
        assert source["images_source_registry_password"] == "token-of-the-job"


@pytest.mark.parametrize(
    ("answer", "environment", "code", "said"),
    [
        ("2", "prod", 0, "asks 2"),
        ("0", "prod", 1, "no required reviewers"),
        ("", "prod", 1, "does not exist"),
        ("0", "dev", 0, "need no approval"),
        ("0", "de", 1, "no required reviewers"),
    ],
)
def test_environment_without_reviewers(tmp_path: Path, answer: str, environment: str, code: int, said: str) -> None:
    """The answers of GitHub's API, played by a stand-in for its client."""
    gh = tmp_path / "gh"
    gh.write_text(f"#!/bin/sh\n[ -n '{answer}' ] || exit 1\necho '{answer}'\n")
    jq = tmp_path / "jq"
    jq.write_text(f"#!/bin/sh\necho {environment}\n")
    for program in (gh, jq):
        program.chmod(0o755)
    done = subprocess.run(
        [str(SCRIPTS / "check_environment"), environment],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_REPOSITORY": "shop/web"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout
