# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image is, and what has to be done for it: pure functions.

An image has one local name, whatever its source. It is right when it carries the digest of its upstream (pulled) or the
hash of its recipe in the label `lastro.recipe` (built).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.lastro.platform.plugins.module_utils._errors import PlatformError

RECIPE_LABEL = "lastro.recipe"
DOCKER_HUB = "docker.io"
# Proxy settings are known to every Dockerfile without an ARG of its own.
PREDEFINED_ARGS = frozenset(
    name
    for upper in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (upper, upper.lower())
)
# What mmdebstrap makes of a suite; part of the recipe. Documentation is deleted at the end and refused by dpkg from then
# on: refusing it from the start takes mmdebstrap half as long again.
BOOTSTRAP_OPTIONS = (
    "--variant=minbase",
    "--include=ca-certificates",
    "--dpkgopt=force-unsafe-io",
    '--customize-hook=find "$1/usr/share/doc" -type f ! -name copyright -delete',
    '--customize-hook=rm -rf "$1/usr/share/man" "$1/usr/share/locale"',
    "--customize-hook=printf 'path-exclude=%s\\n' '/usr/share/man/*' '/usr/share/locale/*' '/usr/share/doc/*'"
    ' > "$1/etc/dpkg/dpkg.cfg.d/docker"',
    "--customize-hook=echo 'path-include=/usr/share/doc/*/copyright' >> \"$1/etc/dpkg/dpkg.cfg.d/docker\"",
    # The sources are the business of the images above, whether this one was pulled or made here.
    '--customize-hook=rm -f "$1/etc/apt/sources.list"',
)
# What the Engine says when nobody answered as a registry. Anything else is a registry's own answer.
_UNREACHABLE = re.compile(
    r"no such host|dial tcp|connection refused|i/o timeout|Client\.Timeout|TLS handshake timeout|network is unreachable"
    r"|no route to host|context deadline exceeded|connection reset|: EOF$|server misbehaving"
    r"|error parsing HTTP \d+ response body|unexpected HTTP status: 50[234]|received unexpected HTTP status: 50[234]",
)


@dataclass(frozen=True)
class Reference:
    """A registry reference, `[registry/]name[:tag]@sha256:…`."""

    registry: str
    name: str
    digest: str

    @property
    def pullable(self) -> str:
        return f"{self.name}@{self.digest}"


@dataclass(frozen=True)
class Image:
    """One image as it is wanted: where it can be pulled from, and how it is built."""

    name: str
    upstream: Reference | None = None
    bootstrap: str = ""
    dockerfile: str = ""
    files: dict[str, str] = field(default_factory=dict)
    context: str = ""
    context_hash: str = ""
    build_args: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    bases: tuple[str, ...] = ()
    site: bool = False
    inspect: bool = False

    @property
    def buildable(self) -> bool:
        return bool(self.bootstrap or self.dockerfile or self.context)


@dataclass(frozen=True)
class Step:
    """What to do for one image: `none`, `pull`, `build` (or `pull or build`, while there is no Engine), and why."""

    name: str
    action: str
    why: str
    id: str = ""
    source: str = ""


def parse_reference(text: str) -> Reference:
    """`redis:8.0.2@sha256:…` as registry, name and digest; without a digest it is refused."""
    match = re.fullmatch(r"(?P<name>[^@\s]+?)(:(?P<tag>[\w][\w.-]{0,127}))?@(?P<digest>sha256:[0-9a-f]{64})", text)
    if not match:
        raise PlatformError(
            f"The upstream reference '{text}' has no digest", "Write it as name:tag@sha256:<64 hexadecimal digits>."
        )
    first, slash, _rest = match["name"].partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return Reference(first if is_host else DOCKER_HUB, match["name"], match["digest"])


def parse_image(item: dict[str, Any]) -> Image:
    """An image from the module's options."""
    name = str(item["name"])
    if not re.fullmatch(r"[a-z0-9][a-z0-9./_-]*:[\w][\w.-]{0,127}", name):
        raise PlatformError(f"'{name}' is not an image name with a tag", "Write it as lastro/<component>:<version>.")
    upstream = item.get("upstream")
    image = Image(
        name=name,
        upstream=parse_reference(upstream) if upstream else None,
        bootstrap=item.get("bootstrap") or "",
        dockerfile=item.get("dockerfile") or "",
        files={key: str(value) for key, value in (item.get("files") or {}).items()},
        context=item.get("context") or "",
        context_hash=item.get("context_hash") or "",
        build_args={key: str(value) for key, value in (item.get("build_args") or {}).items()},
        labels={key: str(value) for key, value in (item.get("labels") or {}).items()},
        bases=tuple(item.get("from") or ()),
        site=bool(item.get("site")),
        inspect=bool(item.get("inspect")),
    )
    if not image.upstream and not image.buildable:
        raise PlatformError(f"{name} has neither an upstream nor a recipe", "Give it upstream, dockerfile or context.")
    return image


def from_registry(
    images: Iterable[Image], wanted: list[str], local: list[str], registry: str, digests: Mapping[str, str]
) -> list[Image]:
    """The images with the wanted ones taken from the platform's registry, by digest and without a recipe.

    Those in `local`, and what they stand on, stay as they are: the registry's own image has to be there before it.
    """
    given = {image.name: image for image in images}
    own = set(select(given.values(), [name for name in wanted if name in local])[0])
    names = [name for name in wanted if name not in own]
    unknown = [name for name in names if name not in digests]
    if unknown:
        raise PlatformError(
            f"images_digests has no digest for {', '.join(unknown)}, which come from the registry {registry}",
            "Promote them: playbooks/promote.yml with this inventory and the same release; then commit the digests it wrote.",
        )
    found = []
    for name in names:
        reference = parse_reference(f"{registry}/{name.rpartition(':')[0]}@{digests[name]}")
        if reference.registry != registry.partition("/")[0]:
            raise PlatformError(f"'{registry}' is not the address of a registry", "Write images_registry as host:port.")
        found.append(Image(name, upstream=reference, inspect=given[name].inspect if name in given else False))
    return [image for image in given.values() if image.name in own] + found


def select(images: Iterable[Image], only: list[str] | None) -> tuple[dict[str, Image], list[str]]:
    """The images needed by name in build order, and the names wanted (None: all); unknown names and circles are refused."""
    known = {image.name: image for image in images}
    ordered: dict[str, Image] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise PlatformError(f"Images stand on each other in a circle: {' → '.join((*path, name))}", "Break it.")
        if name not in known:
            by = f", which {path[-1]} is built from," if path else ""
            raise PlatformError(f"The image {name}{by} is not in the list", f"Known: {', '.join(sorted(known))}.")
        if name not in ordered:
            for base in known[name].bases:
                visit(base, (*path, name))
            ordered[name] = known[name]

    wanted = list(known) if only is None else only
    for name in wanted:
        visit(name, ())
    return ordered, wanted


def recipe_hashes(
    ordered: dict[str, Image], sources: list[str], certificates: dict[str, str], revision: str
) -> dict[str, str]:
    """The recipe hash of each image: its own text, files, arguments and context, and its bases' hashes.

    What the host adds (package sources, CA certificates) counts where it goes in; `revision` counts at the root, so a
    new one has everything built again with the packages of the day.
    """
    hashes: dict[str, str] = {}
    for name, image in ordered.items():
        recipe = {
            "dockerfile": image.dockerfile,
            "files": image.files,
            "build_args": image.build_args,
            "labels": image.labels,
            "context": image.context_hash,
            "bootstrap": [image.bootstrap, sources, revision, BOOTSTRAP_OPTIONS] if image.bootstrap else [],
            "site": [sources, certificates] if image.site else [],
            "bases": [hashes[base] for base in image.bases],
        }
        hashes[name] = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    return hashes


def plan(
    ordered: dict[str, Image],
    wanted: list[str],
    hashes: dict[str, str],
    listing: list[dict[str, Any]],
    source: str,
    reachable: Callable[[Reference], bool | None],
) -> list[Step]:
    """What to do, in build order. Images that only others stand on are needed only when one of those is built.

    `listing` is the Engine's /images/json; `reachable` is asked only where the answer decides, and answers None where
    there is no Engine to ask.
    """
    present = {tag: entry for entry in listing for tag in entry.get("RepoTags") or []}
    steps: dict[str, Step] = {}
    needed = set(wanted)
    for name in reversed(ordered):
        if name not in needed:
            continue
        steps[name] = _decide(ordered[name], hashes[name], present.get(name), source, reachable)
        if "build" in steps[name].action:
            needed.update(ordered[name].bases)
    return [steps[name] for name in ordered if name in steps]


def _decide(
    image: Image, recipe: str, entry: dict[str, Any] | None, source: str, reachable: Callable[[Reference], bool | None]
) -> Step:
    """The step for one image, given its entry in the Engine's list."""
    pull = image.upstream is not None and source != "build"
    build = image.buildable and not (source == "pull" and image.upstream)
    if not pull and not build:
        raise PlatformError(
            f"{image.name} has no recipe, so it cannot be built here",
            "Use source pull or auto, or give it a dockerfile.",
        )
    if entry:
        digests = [text.rpartition("@")[2] for text in entry.get("RepoDigests") or []]
        if pull and image.upstream and image.upstream.digest in digests:
            return Step(image.name, "none", "its digest is the upstream's", entry["Id"], "pulled")
        if build and (entry.get("Labels") or {}).get(RECIPE_LABEL) == recipe:
            return Step(image.name, "none", "its recipe is unchanged", entry["Id"], "built")
    why = _why(entry, pull, build)
    if not pull or not image.upstream:
        return Step(image.name, "build", why)
    answers = True if not build else reachable(image.upstream)
    if answers is None:
        return Step(image.name, "pull or build", why)
    if answers:
        return Step(image.name, "pull", why)
    return Step(image.name, "build", f"{why}, and no registry answers as {image.upstream.registry}")


def _why(entry: dict[str, Any] | None, pull: bool, build: bool) -> str:
    if not entry:
        return "there is no such image"
    built = RECIPE_LABEL in (entry.get("Labels") or {})
    if built and not build:
        return "it was built here, and is to be pulled"
    if built:
        return "its recipe changed"
    return "its digest is not the upstream's" if pull else "it was not built from a recipe"


def is_unreachable(message: str) -> bool:
    """Whether the Engine's message says that no registry answered; a registry that says no is an answer."""
    return bool(_UNREACHABLE.search(message))


def declared_args(dockerfile: str) -> set[str]:
    """The build arguments a Dockerfile declares: others would only earn a warning."""
    return set(re.findall(r"^\s*ARG\s+([A-Za-z_]\w*)", dockerfile, re.MULTILINE | re.IGNORECASE))


def arguments(image: Image, dockerfile: str, common: dict[str, str]) -> dict[str, str]:
    """The build arguments of one image: its own, and those of the site that its Dockerfile declares."""
    known = declared_args(dockerfile) | PREDEFINED_ARGS
    return {**{name: value for name, value in common.items() if name in known}, **image.build_args}


def refuse_passwords(arguments_given: dict[str, str]) -> None:
    """A build argument stays readable in the image's history: a URL with a password must not be one."""
    for name, value in arguments_given.items():
        if re.search(r"://[^/@\s:]*:[^/@\s]+@", value):
            raise PlatformError(
                f"The build argument {name} holds a password, which everyone could read in the image's history",
                "Use a mirror that asks for none inside your network, or pull the image instead of building it.",
            )


def debian_sources(texts: dict[str, str], codename: str, suite: str) -> list[str]:
    """The package sources for `suite` from a host's own, as one-line entries without options.

    `texts` holds the host's source files by name: one-line format, or deb822 in `.sources`. The host may run another
    release of Debian (`codename`); its mirror has this suite too.
    """
    found: list[str] = []
    for name, text in sorted(texts.items()):
        entries = _deb822(text) if name.endswith(".sources") else _one_line(text)
        for uri, host_suite, components in entries:
            base, dash, pocket = host_suite.partition("-")
            if base in (codename, suite, "stable") and pocket in ("", "updates", "security") and "main" in components:
                line = f"{uri.rstrip('/')} {suite}{dash}{pocket} main"
                if line not in found:
                    found.append(line)
    return found


def _one_line(text: str) -> list[tuple[str, str, list[str]]]:
    pattern = r"^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+([^#\n]+)"
    return [(uri, suite, rest.split()) for uri, suite, rest in re.findall(pattern, text, re.MULTILINE)]


def _deb822(text: str) -> list[tuple[str, str, list[str]]]:
    entries = []
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", plain):
        fields = {
            key.lower(): value.split()
            for key, value in re.findall(r"^([A-Za-z-]+):((?:.*)(?:\n[ \t]+.*)*)", stanza, re.MULTILINE)
        }
        enabled = fields.get("enabled", ["yes"])[:1] not in (["no"], ["false"])
        if "deb" in fields.get("types", []) and enabled:
            pairs = [(uri, suite) for uri in fields.get("uris", []) for suite in fields.get("suites", [])]
            entries += [(uri, suite, fields.get("components", [])) for uri, suite in pairs]
    return entries
