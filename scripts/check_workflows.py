#!/usr/bin/env python3
# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse GitHub workflows that could give a secret away, run code that can change, or trust a host they do not know.

scripts/check_workflows.py                     every workflow and action below .github
scripts/check_workflows.py FILE FOLDER …       these

Applications run it on their own workflows through the reusable workflow application.yml. It needs PyYAML only.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Mapping = dict[Any, Any]

_SECRET_NAME = re.compile(
    r"PASSW(OR)?D|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|VAULT|PRIVATE|SALT|DSN|(^|_)(API_?|SSH_?|ACCESS_?)?KEY(_|$)", re.I
)
_CONTEXT = r"\b{}\s*(?:\.\s*([A-Za-z_][\w-]*)|\[\s*'([^']*)'\s*\]|(\[))"
_VARS = re.compile(_CONTEXT.format("vars"))
_SECRETS = re.compile(_CONTEXT.format("secrets"))
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.S)
_PINNED = re.compile(r"^(\./|[\w.-]+/[\w./-]+@[0-9a-f]{40}$|docker://\S+@sha256:[0-9a-f]{64}$)")
_UNKNOWN_HOSTS = re.compile(
    r"StrictHostKeyChecking[= ]*(no|off|accept-new)|UserKnownHostsFile[= ]*/dev/null|ssh-keyscan"
    r"|HOST_KEY_CHECKING\W{1,4}(false|no|0)\b",
    re.I,
)
_SHOWS_EVERYTHING = re.compile(
    r"(^|[\s;&|(])(set\s+-\w*x|set\s+-o\s+xtrace|(printenv|env|export\s+-p|declare\s+-p)\s*($|[;&|)>]))"
)
_PRINTS = re.compile(r"(^|[\s;&|(])(echo|printf|cat|tee)\b")
# Where output may go without being read by people: a file that is not one of the runner's own, or another program.
_ELSEWHERE = re.compile(r">\s*\"?(?!&|/dev/std|\"?\$\{?GITHUB_)[^\s>]|\|(?!\s*tee\b)")
_TOKEN = "GITHUB_TOKEN"  # its name  # nosec B105


def problems(workflow: Mapping) -> list[str]:
    """What is wrong with a workflow, or with a composite action, each with its cure."""
    texts = [text for _path, text in strings(workflow)]
    found = [*_variables(texts), *_hosts(workflow), *_whole_contexts(texts), *_actions(workflow), *_inputs(workflow)]
    jobs: Mapping = workflow.get("jobs") or {}
    found += _all_permissions(workflow)
    if jobs and "permissions" not in workflow:
        found.append(
            "no top-level `permissions`: the token could do everything. Write `permissions: {contents: read}`."
        )
    if _names(workflow.get("env")):
        found.append("a secret in the workflow's `env` reaches every job. Move it to the step that needs it.")
    for name, job in jobs.items():
        found += [f"job {name}: {text}" for text in _job(job)]
    for step in (workflow.get("runs") or {}).get("steps") or []:
        found += _step(step, set())
    return found


def strings(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every string of a document, keys left out, with its place."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from strings(value, f"{path}.{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from strings(value, f"{path}[{index}]")
    elif isinstance(node, str):
        yield path, node


def _references(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    """Names that a context is asked for; an empty one where the name is computed."""
    for match in pattern.finditer(text):
        yield "" if match[3] else (match[1] or match[2])


def _names(node: Any) -> set[str]:
    """Secrets that a part of a workflow reads, the job's own token left out."""
    return {name for _path, text in strings(node) for name in _references(_SECRETS, text)} - {_TOKEN}


def _variables(texts: list[str]) -> Iterator[str]:
    for name in sorted({name for text in texts for name in _references(_VARS, text)}):
        if not name:
            yield "a variable is read by a computed name, which nothing can check. Name it: vars.NAME."
        elif _SECRET_NAME.search(name):
            yield f"vars.{name} is a secret kept as a variable: everybody can read it. Make it a secret of the environment."


def _hosts(workflow: Mapping) -> Iterator[str]:
    # With its place, as a setting's name may be the key of an `env`.
    if any(_UNKNOWN_HOSTS.search(f"{path}={text}") for path, text in strings(workflow)):
        yield "a host's key is not checked. Commit the keys (inventories/<environment>/known_hosts), never fetch or ignore them."


def _whole_contexts(texts: list[str]) -> Iterator[str]:
    for context in ("secrets", "vars"):
        if any(re.search(rf"toJSON\(\s*{context}\s*\)", text, re.I) for text in texts):
            yield f"toJSON({context}) hands out everything there is. Name what is needed."


def _actions(workflow: Mapping) -> Iterator[str]:
    for path, text in strings(workflow):
        if path.endswith(".uses") and not _PINNED.match(text):
            yield f"`{text}` can be changed by others after review. Pin it: owner/action@<40 hex digits> # version."


def _inputs(workflow: Mapping) -> Iterator[str]:
    # YAML 1.1 reads the key `on` as true.
    triggers = workflow.get("on", workflow.get(True))
    for trigger in triggers.values() if isinstance(triggers, dict) else []:
        for name in (trigger or {}).get("inputs") or {} if isinstance(trigger, dict) else []:
            if _SECRET_NAME.search(name):
                yield f"input {name}: inputs are shown in the log. Make it a secret of the environment."


def _all_permissions(part: Mapping) -> Iterator[str]:
    if str(part.get("permissions")).endswith("-all"):
        yield f"`permissions: {part['permissions']}` is more than any job needs. Name the scopes."


def _job(job: Mapping) -> Iterator[str]:
    named = _names({key: value for key, value in job.items() if key != "secrets"})
    handed_on = job.get("secrets")
    if (named or (handed_on and handed_on != "inherit")) and "environment" not in job:
        yield "reads a secret outside of a GitHub Environment, where no approval guards it. Give the job an `environment`."
    yield from _all_permissions(job)
    secret_environment = {key for key, value in (job.get("env") or {}).items() if _names(value)}
    for step in job.get("steps") or []:
        yield from _step(step, secret_environment)


def _step(step: Mapping, secret_environment: set[str]) -> Iterator[str]:
    script = step.get("run")
    if not isinstance(script, str):
        return
    label = step.get("name") or script.strip().splitlines()[0]
    if any(list(_references(_SECRETS, expression)) for expression in _EXPRESSION.findall(script)):
        yield f"step {label!r}: a secret is pasted into the script. Hand it over in `env` and quote the variable."
    own = {key for key, value in (step.get("env") or {}).items() if list(_references(_SECRETS, str(value)))}
    secrets = own | secret_environment
    if not secrets:
        return
    used = re.compile(rf"\$\{{?(?:{'|'.join(map(re.escape, sorted(secrets)))})\b")
    for line in re.sub(r"\\\n\s*", " ", script).splitlines():
        if _SHOWS_EVERYTHING.search(line):
            yield f"step {label!r}: `{line.strip()}` shows every variable of a step that has a secret. Leave it out."
        elif _PRINTS.search(line) and used.search(line) and not _ELSEWHERE.search(line):
            yield f"step {label!r}: prints a secret. GitHub hides only exact matches; do not print it."
        elif used.search(line) and re.search(r">>?\s*\"?\$\{?GITHUB_(ENV|OUTPUT|STEP_SUMMARY|STATE)", line):
            yield f"step {label!r}: keeps a secret for other steps or shows it. Read it from `secrets` where it is used."


def _files(arguments: list[str]) -> list[Path]:
    found: list[Path] = []
    for path in map(Path, arguments or [".github"]):
        found += sorted(p for p in path.rglob("*.y*ml") if _is_workflow(p)) if path.is_dir() else [path]
    return found


def _problems_of(path: Path) -> list[str]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        return [f"is not YAML: {error}"]
    return problems(document) if isinstance(document, dict) else ["is not a workflow."]


def _is_workflow(path: Path) -> bool:
    return path.parent.name in ("workflows", "examples") or path.stem == "action"


def main(arguments: list[str]) -> int:
    """Print every problem; 1 where there is one, or no workflow at all."""
    files = _files(arguments)
    if not files:
        print("check_workflows: no workflow found: nothing was checked. Name a file or a folder.", file=sys.stderr)
        return 1
    failed = False
    for path in files:
        found = _problems_of(path)
        for text in found:
            print(f"{path}: {text}")
        failed = failed or bool(found)
    if not failed:
        print(f"{len(files)} workflows checked")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
