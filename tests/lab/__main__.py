"""The lab at the command line: `python -m tests.lab --help`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import nullcontext

import tests.lab
from tests.lab import golden, host, image, labs, network
from tests.lab.image import Variant
from tests.lab.labs import Wanted
from tests.lab.machine import DOCKER, LabError

_ON_HOST = {
    "hang": "stop all processes of a host",
    "resume": "let them go on",
    "power-off": "kill everything on a host at once",
    "power-on": "boot a host that is off",
    "reboot": "shut a host down properly and boot it again",
    "fill": "fill the disk of a host",
    "free": "give the space back",
}


def main() -> int:
    """Do what the command line says; one line on standard error where it cannot be done."""
    options = _parser().parse_args()
    try:
        options.act(options)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _image(options: argparse.Namespace) -> None:
    print(image.reference(_variant(options)))


def _golden(_options: argparse.Namespace) -> None:
    print(golden.ready())


def _up(options: argparse.Namespace) -> None:
    fill = golden.filler() if options.golden else None
    with network.lasting_place(options.name) if options.lasting_address else nullcontext() as place:
        print(host.up(options.name, _variant(options), fill=fill, place=place).address)


def _down(options: argparse.Namespace) -> None:
    host.down(options.name)


def _logs(options: argparse.Namespace) -> None:
    print(host.logs(options.name, options.lines))


def _exec(options: argparse.Namespace) -> None:
    terminal = ["-t"] if sys.stdin.isatty() else []
    os.execv(DOCKER, [DOCKER, "exec", "-i", *terminal, options.name, *options.command])


def _lab_up(options: argparse.Namespace) -> None:
    source = labs.source(options.inventory)
    chosen = (options.hosts, options.strangers, options.suite, options.contents, options.disk_gb)
    began = time.monotonic()
    lab = labs.up(options.name or source.stem, Wanted(source, *chosen))
    seconds = time.monotonic() - began
    _status(argparse.Namespace(lab=lab.name))
    print(f"{len(lab.hosts)} hosts in {seconds:.1f} s: ansible-playbook {' '.join(lab.arguments)} PLAYBOOK")


def _lab_down(options: argparse.Namespace) -> None:
    if options.lab or network.labs():
        labs.down(options.lab or labs.find().name)


def _status(options: argparse.Namespace) -> None:
    for row in labs.rows(options.lab):
        print(f"{row.lab:<12}{row.host:<16}{row.address:<14}{row.state:<12}{row.lease_minutes} min left")


def _cut(options: argparse.Namespace) -> None:
    labs.find(options.lab).cut(options.one, options.other)


def _heal(options: argparse.Namespace) -> None:
    labs.find(options.lab).heal(options.one, options.other)


def _heal_all(options: argparse.Namespace) -> None:
    labs.find(options.lab).heal_all()


def _on_host(options: argparse.Namespace) -> None:
    getattr(labs.find(options.lab), options.action.replace("-", "_"))(options.host)


def _variant(options: argparse.Namespace) -> Variant:
    return Variant(options.suite, options.init, options.with_docker)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=tests.lab.__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _single_hosts(actions)
    _labs(actions)
    return parser


def _single_hosts(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    kind = argparse.ArgumentParser(add_help=False)
    kind.add_argument("--suite", choices=image.SUITES, default="trixie")
    kind.add_argument("--init", choices=image.INITS, default="systemd")
    kind.add_argument("--with-docker", action="store_true", help="Docker and Compose v2 are installed already")
    name = argparse.ArgumentParser(add_help=False)
    name.add_argument("name")
    actions.add_parser("image", parents=[kind], help="make the image of a kind of host").set_defaults(act=_image)
    data = actions.add_parser("golden", help="make the Docker data root that holds this machine's lastro/* images")
    data.set_defaults(act=_golden)
    start = actions.add_parser("up", parents=[kind, name], help="start a host")
    start.add_argument("--golden", action="store_true", help="with this machine's lastro/* images")
    start.add_argument("--lasting-address", action="store_true", help="the same one when it starts again")
    start.set_defaults(act=_up)
    actions.add_parser("down", parents=[name], help="remove a host").set_defaults(act=_down)
    logs = actions.add_parser("logs", parents=[name], help="journal and logs of a host")
    logs.add_argument("--lines", type=int, default=60)
    logs.set_defaults(act=_logs)
    command = actions.add_parser("exec", parents=[name], help="run a command on a host")
    command.add_argument("command", nargs="+")
    command.set_defaults(act=_exec)


def _labs(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    start = actions.add_parser("lab-up", help="start the hosts of an inventory, on a network of their own")
    start.add_argument("inventory", help="a path, or a name in inventories/")
    start.add_argument("--name", help="of the lab (the inventory's)")
    start.add_argument("--hosts", type=_names, default=(), help="these hosts of the inventory alone: app1,proxy1")
    start.add_argument("--strangers", type=_names, default=(), help="more hosts, in no inventory: scanner")
    start.add_argument("--suite", choices=image.SUITES, default="trixie")
    start.add_argument("--disk-gb", type=int, default=20, help="of /var/lib/lastro and Docker's volumes")
    less = start.add_mutually_exclusive_group()
    less.add_argument("--engine-only", dest="contents", action="store_const", const="engine", help="Docker, no images")
    less.add_argument("--bare", dest="contents", action="store_const", const="bare", help="no Docker")
    start.set_defaults(act=_lab_up, contents="images")
    for action, act, text in (
        ("lab-down", _lab_down, "remove a lab"),
        ("status", _status, "list the hosts of a lab, or of all"),
    ):
        parser = actions.add_parser(action, help=text)
        parser.add_argument("lab", nargs="?")
        parser.set_defaults(act=act)
    cut = actions.add_parser("cut", help="cut two hosts from each other, both directions; `controller` is this machine")
    heal = actions.add_parser("heal", help="join them again")
    heal_all = actions.add_parser("heal-all", help="join all hosts of a lab again")
    for parser, act in ((cut, _cut), (heal, _heal), (heal_all, _heal_all)):
        parser.add_argument("lab")
        parser.set_defaults(act=act)
    for parser in (cut, heal):
        parser.add_argument("one")
        parser.add_argument("other")
    for action, text in _ON_HOST.items():
        parser = actions.add_parser(action, help=text)
        parser.add_argument("lab")
        parser.add_argument("host")
        parser.set_defaults(act=_on_host)


if __name__ == "__main__":
    raise SystemExit(main())
