# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

from reference_app.faults import ErrorShare, Fault, parse_fault
from reference_app.settings import SettingsError, load_settings, parse_checks, read_secret


class Secrets(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def test_a_value_wins_over_the_secrets_directory(self) -> None:
        (self.directory / "X").write_text("from the directory\n")
        environ = {"APP_SECRETS_DIR": str(self.directory)}
        assert read_secret(environ, "X") == "from the directory"
        assert read_secret({**environ, "X": "given"}, "X") == "given"

    def test_a_file_is_read_without_its_line_end(self) -> None:
        (self.directory / "elsewhere").write_text("pass word\n")
        assert read_secret({"X_FILE": str(self.directory / "elsewhere")}, "X") == "pass word"

    def test_an_unset_secret_is_empty(self) -> None:
        assert read_secret({"APP_SECRETS_DIR": str(self.directory)}, "X") == ""

    def test_a_named_file_has_to_exist(self) -> None:
        with self.assertRaisesRegex(SettingsError, "X_FILE names a file that does not exist"):
            read_secret({"X_FILE": str(self.directory / "absent")}, "X")

    def test_two_sources_are_refused(self) -> None:
        with self.assertRaisesRegex(SettingsError, "keep one"):
            read_secret({"X": "a", "X_FILE": "b"}, "X")


class Loading(unittest.TestCase):
    def test_defaults_need_nothing(self) -> None:
        settings = load_settings({})
        assert settings.health_path == "/health"
        assert settings.ready_checks == (("postgres", "postgres"), ("redis", "redis"))
        assert settings.probe_queue == "default-probe-unknown"
        assert settings.dlq_metric == "event_bus_dlq"

    def test_without_redis_it_is_not_checked(self) -> None:
        settings = load_settings({"USE_REDIS": "false", "REDIS_URL": "redis://redis:6379/0"})
        assert settings.redis_url == ""
        assert settings.detailed_checks == (("postgres", "postgres"),)

    def test_what_is_wrong_is_named_without_its_value(self) -> None:
        wrong = {
            "APP_ENVIRONMENT": "production",
            "APP_LOG_LEVEL": "loud",
            "USE_REDIS": "perhaps",
            "APP_HEALTH_PATH": "health",
            "APP_CHECK_TIMEOUT_SECONDS": "soon",
            "APP_JOB_RETRIES": "-1",
            "APP_READY_CHECKS": "mongo",
            "APP_FAULT": "slow",
            "APP_TRAFFIC": "perhaps",
            "APP_STOP_SECONDS": "-1",
        }
        for name, value in wrong.items():
            with self.subTest(name), self.assertRaisesRegex(SettingsError, name):
                load_settings({name: value})

    def test_one_path_cannot_serve_two_endpoints(self) -> None:
        with self.assertRaisesRegex(SettingsError, "/health/detailed is given to two endpoints"):
            load_settings({"APP_HEALTH_PATH": "/health/detailed"})

    def test_a_storage_check_needs_its_url(self) -> None:
        with self.assertRaisesRegex(SettingsError, "APP_STORAGE_HEALTH_URL"):
            load_settings({"APP_DETAILED_CHECKS": "storage"})

    def test_a_check_can_be_called_something_else(self) -> None:
        assert parse_checks("X", "database=postgres, redis") == (("database", "postgres"), ("redis", "redis"))

    def test_secrets_are_not_in_the_representation(self) -> None:
        given = {
            "DATABASE_URL": "hidden-a",
            "REDIS_URL": "hidden-b",
            "API_KEY_SALT": "hidden-c",
            "ADMIN_API_KEY": "hidden-d",
        }
        assert "hidden" not in repr(load_settings(given))

    def test_all_missing_settings_are_named_at_once(self) -> None:
        with self.assertRaisesRegex(SettingsError, "DATABASE_URL, API_KEY_SALT must be set"):
            load_settings({"REDIS_URL": "x"}).require("DATABASE_URL", "REDIS_URL", "API_KEY_SALT")


class Faults(unittest.TestCase):
    def test_where_a_fault_comes_from(self) -> None:
        cases = {
            ("", "r1"): None,
            ("", "default-r1"): None,
            ("never_healthy", "r1"): Fault("never_healthy"),
            ("error_percent:50", "r1"): Fault("error_percent", 50),
            ("", "r7-fault.error_percent.50"): Fault("error_percent", 50),
            ("", "fault.leak"): Fault("leak"),
            ("slow:10", "r7-fault.leak"): Fault("slow", 10),
        }
        for (value, release), wanted in cases.items():
            with self.subTest(value=value, release=release):
                assert parse_fault(value, release) == wanted

    def test_a_malformed_fault_is_refused(self) -> None:
        for value in ("explode", "slow", "slow:", "slow:x", "slow:-1", "leak:5", "error_percent:101"):
            with self.subTest(value), self.assertRaises(ValueError):
                parse_fault(value, "")

    def test_the_share_of_errors_is_exact_and_spread(self) -> None:
        for percent in (0, 1, 25, 50, 100):
            share = ErrorShare(percent)
            failed = [share.next_fails() for _ in range(200)]
            assert sum(failed) == 2 * percent
            assert sum(failed[:100]) == percent


if __name__ == "__main__":
    unittest.main()
