# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cost of hosts as a table and a plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

WIDTH, HEIGHT = 320, 180
Points = Sequence[tuple[float, float]]
_COLUMNS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "hosts": lambda size: size["hosts"],
    "seconds": lambda size: f"{size['seconds']['median']:.1f}",
    "seconds a host": lambda size: f"{size['seconds']['median'] / size['hosts']:.1f}",
    "controller CPU, s": lambda size: f"{size['controller_cpu_seconds']:.1f}",
    "tasks": lambda size: size["tasks"],
    "tasks on all hosts": lambda size: size["tasks_on_all_hosts"],
    "module executions": lambda size: size["modules"],
    "controller memory, MB": lambda size: size["controller_memory_mb"],
}


@dataclass(frozen=True)
class Panel:
    """One small plot: what was measured against the number of hosts, and a dashed line to hold it against."""

    title: str
    points: Points
    line: Points
    line_label: str

    @property
    def top(self) -> float:
        """The upper end of the axis: a round number above everything."""
        return round_up(max(y for _, y in (*self.points, *self.line)))

    def place(self, point: tuple[float, float]) -> tuple[float, float]:
        """Where a point stands in the drawing, whose y grows downwards."""
        last = max(x for x, _ in self.points)
        return round(point[0] / last * WIDTH, 1), round(HEIGHT - point[1] / self.top * HEIGHT, 1)

    def path(self, points: Points) -> str:
        """A line through points."""
        return " ".join("{},{}".format(*self.place(point)) for point in points)


def write(folder: Path, result: dict[str, Any]) -> None:
    """Write hosts.md and hosts.svg."""
    (folder / "hosts.svg").write_text(plot(panels(result["sizes"], result["memory_limit_mb"])))
    (folder / "hosts.md").write_text(
        "# A deploy with nothing to do, by number of hosts\n\n"
        f"`make proof ONLY=hosts` wrote this page; its figures are in [hosts.json](hosts.json). {result['forks']} forks.\n\n"
        f"{table(result['sizes'])}\n\n![The same as a plot](hosts.svg)\n"
    )


def table(sizes: list[dict[str, Any]]) -> str:
    """A row for each number of hosts, as Markdown that is legible in a terminal."""
    rows = [list(_COLUMNS), *[[str(value(size)) for value in _COLUMNS.values()] for size in sizes]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.rjust, row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "| " + " | ".join("-" * (width - 1) + ":" for width in widths) + " |", *lines[1:]])


def panels(sizes: list[dict[str, Any]], limit_mb: int) -> list[Panel]:
    """Time, tasks and module executions against proportion, memory against its limit."""
    limit = [(0, limit_mb), (sizes[-1]["hosts"], limit_mb)]

    def measured(value: Callable[[dict[str, Any]], float]) -> Points:
        return [(size["hosts"], value(size)) for size in sizes]

    def against_proportion(title: str, points: Points) -> Panel:
        (hosts, value), (last, _) = points[0], points[-1]
        return Panel(title, points, [(0, 0), (last, value / hosts * last)], "in proportion")

    return [
        against_proportion("Seconds", measured(lambda size: size["seconds"]["median"])),
        against_proportion("Tasks on all hosts", measured(lambda size: size["tasks_on_all_hosts"])),
        against_proportion("Module executions", measured(lambda size: size["modules"])),
        Panel("Controller memory, MB", measured(lambda size: size["controller_memory_mb"]), limit, "limit"),
    ]


def plot(drawn: list[Panel]) -> str:
    """The panels, two in a row, as SVG."""
    template = Path(__file__).with_suffix(".svg.j2").read_text()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(template).render(panels=drawn, width=WIDTH, height=HEIGHT)


def round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 5 and 7.5 times a power of ten."""
    step = 10.0 ** (len(str(int(value))) - 1)
    return next(factor * step for factor in (1, 1.5, 2, 3, 5, 7.5, 10) if factor * step >= value)
