"""The lab at the command line: `python -m tests.lab --help`."""

from __future__ import annotations

import argparse
import os
import sys

import tests.lab
from tests.lab import golden, host, image
from tests.lab.image import Variant
from tests.lab.machine import DOCKER, LabError


def main() -> int:
    """Do what the command line says; one line on standard error where it cannot be done."""
    options = _parser().parse_args()
    try:
        if options.action == "image":
            print(image.reference(_variant(options)))
        elif options.action == "golden":
            print(golden.ready())
        elif options.action == "up":
            fill = golden.filler() if options.golden else None
            print(host.up(options.name, _variant(options), fill=fill).address)
        elif options.action == "down":
            host.down(options.name)
        elif options.action == "logs":
            print(host.logs(options.name, options.lines))
        else:
            terminal = ["-t"] if sys.stdin.isatty() else []
            os.execv(DOCKER, [DOCKER, "exec", "-i", *terminal, options.name, *options.command])
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _variant(options: argparse.Namespace) -> Variant:
    return Variant(options.suite, options.init, options.with_docker)


def _parser() -> argparse.ArgumentParser:
    kind = argparse.ArgumentParser(add_help=False)
    kind.add_argument("--suite", choices=image.SUITES, default="trixie")
    kind.add_argument("--init", choices=image.INITS, default="systemd")
    kind.add_argument("--with-docker", action="store_true", help="Docker and Compose v2 are installed already")
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=tests.lab.__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("image", parents=[kind], help="make the image of a kind of host")
    actions.add_parser("golden", help="make the Docker data root that holds this machine's lastro/* images")
    start = actions.add_parser("up", parents=[kind], help="start a host")
    start.add_argument("--golden", action="store_true", help="with this machine's lastro/* images")
    for action, text in (("down", "remove a host"), ("logs", "journal and logs"), ("exec", "run a command on a host")):
        actions.add_parser(action, help=text)
    for action in ("up", "down", "logs", "exec"):
        actions.choices[action].add_argument("name")
    actions.choices["logs"].add_argument("--lines", type=int, default=60)
    actions.choices["exec"].add_argument("command", nargs="+")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
