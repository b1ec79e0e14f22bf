# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
import time
import unittest

from reference_app.checks import Checker
from reference_app.cli import main
from reference_app.database import connect
from reference_app.jobs import compute
from reference_app.keys import hash_key
from reference_app.logs import JsonFormatter, keep_or_create, trace_id
from reference_app.seeds import taxonomy
from reference_app.settings import SettingsError


class Logs(unittest.TestCase):
    def test_a_line_is_an_object_with_the_trace_id(self) -> None:
        token = trace_id.set("t-1")
        self.addCleanup(trace_id.reset, token)
        record = logging.makeLogRecord({"msg": "two\nlines %s", "args": ("x",), "levelname": "INFO", "job_id": 7})
        line = JsonFormatter().format(record)
        assert "\n" not in line
        entry = json.loads(line)
        assert entry["message"] == "two\nlines x"
        assert (entry["trace_id"], entry["job_id"], entry["level"]) == ("t-1", 7, "info")

    def test_only_harmless_trace_ids_are_kept(self) -> None:
        assert keep_or_create("Abc-1.2_3:4") == "Abc-1.2_3:4"
        for given in ("", "a b", "a\nb", '"', "x" * 129):
            with self.subTest(given):
                created = keep_or_create(given)
                assert created != given
                assert len(created) == 32


class Keys(unittest.TestCase):
    def test_the_hash_is_a_salted_hmac(self) -> None:
        wanted = hmac.new(b"salt", b"key", hashlib.sha256).hexdigest()
        assert hash_key("salt", "key") == wanted
        assert hash_key("other", "key") != wanted


class Seeds(unittest.TestCase):
    def test_no_seed_is_there_twice(self) -> None:
        codes = [(row["kind"], row["code"]) for row in taxonomy()]
        assert len(codes) == len(set(codes))
        assert {kind for kind, _ in codes} == {"sex", "activity_level", "goal", "clinical_limit"}


class Checks(unittest.TestCase):
    def test_each_check_is_reported_under_its_label(self) -> None:
        def broken() -> None:
            raise ConnectionError("postgresql://app:hidden@host")

        checker = Checker({"postgres": broken, "redis": lambda: None}, 1)
        assert checker.run((("database", "postgres"), ("redis", "redis"))) == {
            "database": "ConnectionError",
            "redis": "",
        }

    def test_a_check_that_hangs_is_bounded_and_not_started_again(self) -> None:
        release, calls = threading.Event(), []

        def hang() -> None:
            calls.append(1)
            release.wait(10)

        checker = Checker({"postgres": hang, "redis": lambda: None}, 0.1)
        both = (("postgres", "postgres"), ("redis", "redis"))
        started = time.monotonic()
        for _ in range(3):
            assert checker.run(both) == {"postgres": "no answer within 0.1 s", "redis": ""}
        assert time.monotonic() - started < 2
        assert len(calls) == 1
        release.set()
        for _ in range(50):
            if checker.run(both)["postgres"] == "":
                break
        assert checker.run(both) == {"postgres": "", "redis": ""}


class Pipeline(unittest.TestCase):
    def test_result(self) -> None:
        assert compute([1, 2, 6]) == {"count": 3, "sum": 9, "mean": 3}


class Database(unittest.TestCase):
    def test_other_urls_are_refused_without_showing_them(self) -> None:
        for url in ("hidden", "mysql://app:hidden@host/db"):
            with self.subTest(url), self.assertRaises(SettingsError) as raised:
                connect(url)
            assert "hidden" not in str(raised.exception)


class CommandLine(unittest.TestCase):
    def test_wrong_usage_is_exit_code_2(self) -> None:
        for arguments in ([], ["unknown"], ["probe-job", "--timeout", "0"], ["migrate", "--url"]):
            with self.subTest(arguments), self.assertRaises(SystemExit) as raised:
                main(arguments)
            assert raised.exception.code == 2


if __name__ == "__main__":
    unittest.main()
