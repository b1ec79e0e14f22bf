# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands for deploys and operators: `python -m reference_app.cli --help`.

Answers are one JSON line on standard output, everything else goes to standard error.
Exit codes: 0 good, 1 failed check or error, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Sequence

from redis import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from reference_app import jobs, logs, migrate, seeds
from reference_app.database import connect
from reference_app.settings import Settings, SettingsError, load_settings

Command = Callable[[Settings, argparse.Namespace], dict[str, object]]


class CheckFailed(Exception):
    """A check came out bad; the message is the answer."""


def run_migrate(settings: Settings, _: argparse.Namespace) -> dict[str, object]:
    applied, ahead = migrate.upgrade(settings.database_url)
    return {"changed": bool(applied), "applied": applied, "head": migrate.head(), "ahead": ahead}


def run_seed(settings: Settings, _: argparse.Namespace) -> dict[str, object]:
    with Session(connect(settings.database_url, poolclass=NullPool)) as session:
        seeded = dataclasses.asdict(seeds.seed(session, settings))
    return {"changed": any(seeded.values()), "seeded": seeded}


def run_migrate_seed(settings: Settings, arguments: argparse.Namespace) -> dict[str, object]:
    migrated, seeded = run_migrate(settings, arguments), run_seed(settings, arguments)
    return {**migrated, **seeded, "changed": migrated["changed"] or seeded["changed"]}


def run_healthcheck(settings: Settings, _: argparse.Namespace) -> dict[str, object]:
    engine = connect(settings.database_url, poolclass=NullPool)
    revision = migrate.current(engine)
    if revision != migrate.head() and not migrate.ahead(engine):
        raise CheckFailed(f"the database is at revision {revision or 'none'}, this release needs {migrate.head()}")
    with Session(engine) as session:
        absent = seeds.missing(session, settings)
    if absent:
        raise CheckFailed(f"{len(absent)} seeds are missing: {', '.join(absent[:5])}")
    return {"status": "ok", "head": revision}


def run_probe_job(settings: Settings, arguments: argparse.Namespace) -> dict[str, object]:
    return {"status": "ok", "worker": jobs.probe(settings, arguments.timeout)}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="reference_app.cli", description="Commands of the reference application.")
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, help_text: str, run: Command, needs: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_text)
        command.set_defaults(run=run, needs=needs, url="")
        if needs == "DATABASE_URL":
            command.add_argument("--url", default="", help="use this database instead of DATABASE_URL")
        return command

    add("migrate", "apply all migrations", run_migrate, "DATABASE_URL")
    add("seed", "add the seeds that are missing", run_seed, "DATABASE_URL")
    add("migrate-seed", "both, in this order", run_migrate_seed, "DATABASE_URL")
    add("healthcheck", "database answers, migrated, seeded", run_healthcheck, "DATABASE_URL")
    probe = add("probe-job", "have a worker of this release process a job", run_probe_job, "REDIS_URL")
    probe.add_argument("--timeout", type=_seconds, default=15.0, help="seconds to wait (15)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        settings = load_settings(os.environ)
        if options.url:
            settings = dataclasses.replace(settings, database_url=options.url)
        settings.require(options.needs)
    except SettingsError as error:
        return _complain(options.command, str(error), 2)
    logs.configure(settings.log_level, sys.stderr)
    try:
        answer = options.run(settings, options)
    except SettingsError as error:
        return _complain(options.command, str(error), 2)
    except (CheckFailed, jobs.ProbeFailed) as error:
        return _complain(options.command, str(error), 1)
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", "") or type(error).__name__).strip()
        return _complain(options.command, f"the database answered: {cause}", 1)
    except (RedisError, OSError) as error:
        return _complain(options.command, f"{type(error).__name__}: {error}", 1)
    print(json.dumps(answer))
    return 0


def _seconds(value: str) -> float:
    seconds = float(value)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("must be more than 0 and at most 3600")
    return seconds


def _complain(command: str, problem: str, code: int) -> int:
    print(f"{command}: {problem}", file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
