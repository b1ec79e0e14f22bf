"""A Docker data root that holds the machine's `lastro/*` images, copied by hard links into new hosts.

`docker load` takes half a minute a host, the copy less than a second. Layers are never written to after
they are made, so hosts can share their files; everything else (small databases) is copied.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.lab import host, image
from tests.lab.image import Variant
from tests.lab.machine import DOCKER, LabError, cache, docker, lock, run

_BUILDER = Variant(docker=True)
_KEPT = 3


def images() -> dict[str, str]:
    """Name → ID of the images of the platform on the machine's Engine."""
    rows = docker("images", "--no-trunc", "--filter", "dangling=false", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
    return {name: ident for name, ident in (row.split() for row in rows.splitlines()) if name.startswith("lastro/")}


def ready() -> Path:
    """The golden data root of the images the machine has now, made where it is missing."""
    wanted = images()
    if not wanted:
        raise LabError(
            "The machine's Engine has no lastro/* image to give to a host. Build them: role lastro.platform.images."
        )
    recipe = [sorted(wanted.items()), image.reference(_BUILDER)]
    folder = cache() / "golden" / hashlib.sha256(repr(recipe).encode()).hexdigest()[:16]
    with lock("golden"):
        if not folder.exists():
            _make(folder, wanted)
        folder.touch()
        _forget_older(folder.parent)
    return folder


def filler() -> Callable[[Path], None]:
    """What puts the golden images into the data root of a new host."""
    folder = ready()
    return lambda root: clone(folder, root)


def clone(source: Path, target: Path) -> None:
    """Copy a data root: layers by hard links, the rest by content."""
    run("cp", "-al", source / "overlay2", target / "overlay2")
    others = [path for path in source.iterdir() if path.name not in ("overlay2", "engine-id")]
    run("cp", "-a", *others, target)


def _make(folder: Path, wanted: dict[str, str]) -> None:
    """Load what is missing on top of the newest golden there is, drop what is no longer wanted, keep the disk."""
    folder.parent.mkdir(exist_ok=True)
    older = max(folder.parent.glob("[0-9a-f]*"), key=lambda path: path.stat().st_mtime, default=None)
    name = f"lt-golden-{folder.name}"
    builder = host.up(name, _BUILDER, fill=(lambda root: clone(older, root)) if older else None)
    try:
        form = "{{.Repository}}:{{.Tag}} {{.ID}}"
        rows = builder.run("docker", "images", "--no-trunc", "--format", form).stdout.splitlines()
        there = dict(row.split() for row in rows)
        missing = [ref for ref, ident in wanted.items() if there.get(ref) != ident]
        if missing:
            _load(builder, missing)
        superfluous = [ref for ref in there if ref not in wanted and "<none>" not in ref]
        if superfluous:
            builder.run("docker", "rmi", *superfluous)
        builder.run("docker", "image", "prune", "--force")
        builder.run("systemctl", "stop", "docker.socket", "docker.service", "containerd.service")
        docker("stop", name)
        part = folder.with_name(f".{folder.name}")
        shutil.rmtree(part, ignore_errors=True)
        builder.disk.rename(part)
        part.rename(folder)
    finally:
        host.down(name)


def _load(builder: host.Host, refs: list[str]) -> None:
    with subprocess.Popen([DOCKER, "save", *refs], stdout=subprocess.PIPE) as save:
        load = subprocess.run([DOCKER, "exec", "-i", builder.name, "docker", "load"], stdin=save.stdout, check=False)
    if save.returncode or load.returncode:
        raise LabError(f"Copying {', '.join(refs)} into {builder.name} failed")


def _forget_older(folder: Path) -> None:
    for old in sorted(folder.glob("[0-9a-f]*"), key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT:]:
        shutil.rmtree(old)
