# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pulling and building images with the Engine: the acting half of the module `images`."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import http.client
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

from ansible_collections.lastro.platform.plugins.module_utils._engine import Engine, EngineError
from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.lastro.platform.plugins.module_utils._image_context import read_dockerfile, write_context
from ansible_collections.lastro.platform.plugins.module_utils._image_registry import Access
from ansible_collections.lastro.platform.plugins.module_utils._images import (
    BOOTSTRAP_OPTIONS,
    PREDEFINED_ARGS,
    RECIPE_LABEL,
    Image,
    Reference,
    Step,
    arguments,
    debian_sources,
    is_unreachable,
)
from ansible_collections.lastro.platform.plugins.module_utils._progress import Progress

PROBE_SECONDS = 5.0
# A step without a line of output for this long is a hung one.
SILENCE_SECONDS = 1800.0
# Before a pull that nobody answered is tried again.
PULL_PAUSES = (1.0, 4.0)
PARALLEL = 4
ERROR_LINES = 40
STEP_WIDTH = 100
# Debian's own keys; the package that brings them is part of every Debian.
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def host_sources(suite: str) -> list[str]:
    """The host's package sources, for `suite`."""
    names = ["/etc/apt/sources.list", *glob.glob("/etc/apt/sources.list.d/*.list")]
    names += glob.glob("/etc/apt/sources.list.d/*.sources")
    texts = {name: Path(name).read_text(errors="replace") for name in names if os.path.isfile(name)}
    release = Path("/etc/os-release")
    match = re.search(r"^VERSION_CODENAME=\"?(\w+)", release.read_text() if release.is_file() else "", re.MULTILINE)
    return debian_sources(texts, match[1] if match else "", suite)


def certificates(extra_ca: str) -> dict[str, str]:
    """The extra CA certificates by file name: the host's own for `auto`, none for `none`, else those of the PEM text."""
    texts = [extra_ca]
    if extra_ca in ("auto", "none"):
        names = sorted(glob.glob("/usr/local/share/ca-certificates/**/*.crt", recursive=True))
        texts = [Path(name).read_text(errors="replace") for name in names] if extra_ca == "auto" else []
    found = re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", "\n".join(texts), re.DOTALL)
    # One certificate a file is what update-ca-certificates takes.
    return {f"site-{hashlib.sha256(pem.encode()).hexdigest()[:12]}.crt": pem + "\n" for pem in found}


def site_files(sources: list[str], extra: dict[str, str]) -> dict[str, str]:
    """What the host adds to a build, below site/ as it lies below / in the image."""
    files = {f"site/usr/local/share/ca-certificates/{name}": pem for name, pem in extra.items()}
    stanzas = []
    for line in sources:
        uri, suite, components = line.split(maxsplit=2)
        stanzas.append(f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {components}\nSigned-By: {KEYRING}\n")
    if stanzas:
        files["site/etc/apt/sources.list.d/debian.sources"] = "\n".join(stanzas)
    return files


def registry_probe(engine_path: str) -> Callable[[Reference], bool | None]:
    """A question put once a registry: does anybody answer? The Engine asks, with its own mirrors and proxies."""
    engine = Engine(engine_path, timeout=PROBE_SECONDS)
    answers: dict[str, bool | None] = {}

    def ask(reference: Reference) -> bool:
        try:
            engine.get(f"/distribution/{reference.pullable}/json")
        except EngineError as error:
            # 504: the Engine itself got no answer in time, as behind a firewall that drops packets.
            return error.status not in (0, 504) and not is_unreachable(error.problem)
        return True

    def reachable(reference: Reference) -> bool | None:
        if reference.registry not in answers:
            answers[reference.registry] = ask(reference)
        return answers[reference.registry]

    return reachable


@contextmanager
def exclusive(directory: str, progress: Progress) -> Iterator[Path]:
    """Hold the lock of a host's builds, and a directory that is gone afterwards; a killed run's is removed first."""
    base = Path(directory)
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(base / "lock", "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("", "waiting for another run that builds on this host")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left in base.glob("run-*"):
            shutil.rmtree(left, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix="run-", dir=base))
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def check_disk(engine: Engine, needed_bytes: int) -> None:
    """Refuse to start what would end on a full disk."""
    root = engine.get("/info")["DockerRootDir"]
    free = shutil.disk_usage(root).free
    if free < needed_bytes:
        raise PlatformError(
            f"{root} has {free / 2**30:.1f} GiB free, images need {needed_bytes / 2**30:.1f} GiB",
            "Free space (`docker system df` says what holds it), or lower images_free_bytes.",
        )


def run_steps(
    steps: list[Step], bases: Callable[[str], tuple[str, ...]], act: Callable[[Step], None]
) -> dict[str, float]:
    """Act on all steps, independent ones at the same time; the seconds each took. The first failure ends it."""
    waiting = {step.name: step for step in steps if step.action != "none"}
    seconds: dict[str, float] = {}

    def timed(step: Step) -> None:
        begun = time.monotonic()
        act(step)
        seconds[step.name] = round(time.monotonic() - begun, 1)

    running: dict[Future[None], str] = {}
    with ThreadPoolExecutor(PARALLEL) as pool:
        while waiting or running:
            blocked = {*waiting, *running.values()}
            for name in [name for name in waiting if not blocked.intersection(bases(name))]:
                running[pool.submit(timed, waiting.pop(name))] = name
            done, _running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                running.pop(future)
                if future.exception():
                    waiting.clear()
            failed = [future for future in done if future.exception()]
            if failed:
                # Leaving the pool waits for builds under way: what they finish is kept.
                failed[0].result()
    return seconds


@dataclass
class Workshop:
    """Pulls and builds on one Engine."""

    engine: Engine
    images: dict[str, Image]
    hashes: dict[str, str]
    sources: list[str]
    certificates: dict[str, str]
    build_args: dict[str, str]
    work: Path
    progress: Progress
    access: Access | None = None

    def act(self, step: Step) -> None:
        """Do one step; the image's name appears only when it is complete."""
        image = self.images[step.name]
        self.progress.say(image.name, f"{step.action}: {step.why}")
        try:
            self._make(image, step)
        except EngineError as error:
            if step.action == "pull" and image.upstream:
                raise pull_error(image.name, image.upstream, error.problem) from error
            raise build_error(image.name, "the request to the Engine", [], error.problem) from error
        except (OSError, http.client.HTTPException) as error:
            raise PlatformError(
                f"{image.name}: the {step.action} was cut off: {error!r}",
                "See whether the Docker Engine was stopped or the disk is full, then run again.",
            ) from error
        self.progress.say(image.name, "done")

    def _make(self, image: Image, step: Step) -> None:
        if step.action == "pull" and image.upstream:
            self._pull(image, image.upstream)
        elif image.bootstrap:
            self._bootstrap(image)
        else:
            self._build(image)

    def _pull(self, image: Image, upstream: Reference) -> None:
        """A registry that many hosts ask at once may miss a request; the Engine asks again for layers only."""
        for pause in PULL_PAUSES:
            try:
                return self._fetch(image, upstream)
            except EngineError as error:
                if not is_unreachable(error.problem):
                    raise
                self.progress.say(image.name, f"no answer from {upstream.registry}, asked again in {pause:g} s")
                time.sleep(pause)
        return self._fetch(image, upstream)

    def _fetch(self, image: Image, upstream: Reference) -> None:
        layers: dict[str, bool] = {}
        shown = -1
        ours = self.access if self.access and self.access.address == upstream.registry else None
        login = ours.engine_header() if ours else {}
        for event in self.engine.stream("/images/create", None, login, fromImage=upstream.name, tag=upstream.digest):
            if "error" in event:
                raise EngineError(HTTPStatus.BAD_GATEWAY, str(event["error"]))
            if "id" in event:
                layers[event["id"]] = event.get("status") in ("Pull complete", "Already exists")
                if sum(layers.values()) != shown:
                    shown = sum(layers.values())
                    self.progress.say(image.name, f"layer {shown}/{len(layers)}")
        repository, _colon, tag = image.name.rpartition(":")
        self.engine.post(f"/images/{upstream.pullable}/tag", repo=repository, tag=tag)

    def _bootstrap(self, image: Image) -> None:
        """A base image from the host's own package mirror: what the Debian image is, without a registry."""
        if not self.sources:
            raise PlatformError(
                f"{image.name}: this host has no Debian package source to build {image.bootstrap} from",
                "Set images_package_sources, as ['http://mirror.example.com/debian trixie main'].",
            )
        install_mmdebstrap()
        self.progress.say(image.name, f"step 1/2: mmdebstrap {image.bootstrap}")
        rootfs, log = self.work / "rootfs.tar", self.work / "mmdebstrap.log"
        command = bootstrap_command(image.bootstrap, self.sources, rootfs)
        with log.open("wb") as output:
            rc = subprocess.run(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "TMPDIR": str(self.work), "LC_ALL": "C.UTF-8"},
                check=False,
            ).returncode
        if rc:
            lines = log.read_text(errors="replace").splitlines()
            raise build_error(image.name, "mmdebstrap", lines, f"mmdebstrap ended with {rc}")
        self.progress.say(image.name, "step 2/2: import")
        repository, _colon, tag = image.name.rpartition(":")
        changes = [f'LABEL {RECIPE_LABEL}="{self.hashes[image.name]}"', 'CMD ["bash"]']
        with rootfs.open("rb") as tar:
            events = self.engine.stream(
                "/images/create", _chunks(tar), {"Content-Type": "application/x-tar"}, fromSrc="-",
                repo=repository, tag=tag, changes="\n".join(changes),
            )  # fmt: skip
            for event in events:
                if "error" in event:
                    raise build_error(image.name, "import", [], str(event["error"]))
        rootfs.unlink()

    def _build(self, image: Image) -> None:
        dockerfile = image.dockerfile or read_dockerfile(image.context)
        files = {**image.files, **({"Dockerfile": image.dockerfile} if image.dockerfile else {})}
        if image.site:
            files.update(site_files(self.sources, self.certificates))
        with tempfile.TemporaryFile(dir=self.work) as tar:
            write_context(image.context, files, ("site",) if image.site else (), tar)
            tar.seek(0)
            events = self.engine.stream(
                "/build", _chunks(tar), {"Content-Type": "application/x-tar"}, version=1, t=image.name, rm=1, forcerm=1,
                dockerfile="Dockerfile", buildargs=arguments(image, dockerfile, self.build_args),
                labels={**image.labels, RECIPE_LABEL: self.hashes[image.name]},
            )  # fmt: skip
            self._follow(image.name, events)

    def _follow(self, name: str, events: Iterator[dict[str, Any]]) -> None:
        """Read a build to its end, showing its steps and keeping its output for the failure message."""
        step, output = "reading the Dockerfile", ""
        for event in events:
            text = str(event.get("stream", ""))
            output = (output + text)[-20000:]
            if match := re.match(r"Step (\d+/\d+) : (.*)", text):
                step = f"step {match[1]}: {match[2]}"
                self.progress.say(name, step[:STEP_WIDTH])
            if "error" in event:
                raise build_error(name, step, output.splitlines(), str(event["error"]))


def bootstrap_command(suite: str, sources: list[str], target: Path) -> list[str]:
    """mmdebstrap in namespaces of its own: killed with its parent, and nothing mounted on the host afterwards."""
    lines = [f"deb [signed-by={KEYRING}] {line}" for line in sources]
    alone = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return [*alone, "mmdebstrap", "--mode=root", "--format=tar", *BOOTSTRAP_OPTIONS, suite, str(target), *lines]


def install_mmdebstrap() -> None:
    """Have mmdebstrap and Debian's keys on the host; package lists are fetched only where they are empty or old."""
    if shutil.which("mmdebstrap") and os.path.exists(KEYRING):
        return
    apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=120"]
    install = [*apt, "install", "-y", "--no-install-recommends", "mmdebstrap", "debian-archive-keyring"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    output = ""
    for command in (install, [*apt, "update"], install):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        output += done.stdout + done.stderr
        if command == install and done.returncode == 0:
            return
    raise build_error(
        "mmdebstrap", "apt-get install mmdebstrap", output.splitlines(), "the package could not be installed"
    )


def proxy_environment() -> dict[str, str]:
    """The host's proxy settings, which builds need as much as the host does."""
    return {name: os.environ[name] for name in sorted(PREDEFINED_ARGS) if os.environ.get(name)}


def build_error(name: str, step: str, output: list[str], message: str) -> PlatformError:
    """The failure of one image: where, what, the last lines, and what to do."""
    # Colours, the Engine's own remarks, and dpkg's counting to 100 % would push the reason out of the last lines.
    noise = r" ---> |Removing intermediate container|\(Reading database \.\.\. \d*%?$"
    lines = [line for line in (re.sub(r"\x1b\[[0-9;]*m", "", line) for line in output) if not re.match(noise, line)]
    # The Engine repeats the command, which `step` names already.
    reason = re.sub(r"^The command '.*' returned", "the command returned", message.strip(), flags=re.DOTALL)
    cure = "Correct the recipe or the package source it names; what is built already is kept."
    last = "".join(f"\n{line}" for line in lines[-ERROR_LINES:])
    return PlatformError(f"{name} could not be built, at {step[:STEP_WIDTH]}: {reason.rstrip('.')}. {cure}{last}")


def pull_error(name: str, upstream: Reference, message: str) -> PlatformError:
    """The failure of a pull; a registry that refused is never a reason to build instead."""
    if is_unreachable(message):
        cure = "Make the registry reachable, or use images_source auto or build."
    else:
        cure = "Check the name, the digest and the access; the registry did answer."
    return PlatformError(f"{name} could not be pulled as {upstream.pullable}: {message.strip()}", cure)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(1 << 20):
        yield chunk
