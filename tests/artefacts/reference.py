# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference of every module, filter, lookup and role, generated from their documentation.

python -m tests.artefacts.reference build/docs     as HTML
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tests.artefacts import build

COLLECTION = "lastro.platform"


def readable(installed: Path, collections: Path) -> Path:
    """A copy of an installed collection whose argument specs antsibull-docs can read.

    It wants each default as a value of the option's type. Defaults that roles compute from other variables have none: they
    are told in the description.
    """
    copy = collections / "ansible_collections" / "lastro" / "platform"
    shutil.copytree(installed, copy)
    for path in copy.glob("roles/*/meta/argument_specs.yml"):
        document = yaml.safe_load(path.read_text())
        for entry in document["argument_specs"].values():
            _tell_computed_defaults(entry.get("options") or {})
        path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    return copy


def _tell_computed_defaults(options: dict[str, Any]) -> None:
    for option in options.values():
        default = option.get("default")
        if isinstance(default, str) and "{{" in default and option.get("type") != "str":
            described = option["description"]
            words = " ".join(default.split())
            option["description"] = [
                *([described] if isinstance(described, str) else described),
                f"Default: V({words})",
            ]
            del option["default"]
        _tell_computed_defaults(option.get("options") or {})


def lint(readable_copy: Path) -> None:
    """Every piece of documentation is complete, and what it links to exists."""
    refs = ("--validate-collection-refs", "self")
    build.run(build.BIN / "antsibull-docs", "lint-collection-docs", "--plugin-docs", *refs, ".", cwd=readable_copy)


def pages(readable_copy: Path, out: Path) -> set[str]:
    """Write the pages; their names without the ending, as `stack_module` or `redis_role`."""
    out.mkdir(parents=True, exist_ok=True)
    top = str(readable_copy.parents[2])
    options = ("--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", out)
    build.run(
        build.BIN / "antsibull-docs", "collection", *options, COLLECTION,
        cwd=out, ANSIBLE_COLLECTIONS_PATH=top, ANSIBLE_HOME=str(out.parent / "home"),
    )  # fmt: skip
    return {path.stem for path in out.glob("*.rst")}


def html(rst: Path, out: Path) -> None:
    """The pages as a browser reads them."""
    settings = ["-D", f"project={COLLECTION}", "-D", "extensions=sphinx_antsibull_ext"]
    build.run(sys.executable, "-m", "sphinx", "-q", "-C", *settings, "-b", "html", rst, out, cwd=rst)


def main(out: Path) -> None:
    """Build the collection, install it, write its reference."""
    with tempfile.TemporaryDirectory() as scratch:
        top = Path(scratch)
        built = build.archive(build.clone(top / "clone"), top)
        copy = readable(build.install(built, top / "site"), top / "readable")
        lint(copy)
        pages(copy, top / "rst")
        html(top / "rst", out.absolute())
    print(out / "index.html")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
