# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telling consumers that their keys were rotated or revoked. Nothing secret is in it, and a failure undoes nothing."""

from __future__ import annotations

import json
import smtplib
import ssl
from collections.abc import Callable, Mapping, Sequence
from email.message import EmailMessage
from email.utils import make_msgid
from functools import partial
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from ansible.module_utils.urls import open_url

TIMEOUT_SECONDS = 10
PAUSES = (1.0, 4.0)
# Slack cuts long messages off.
SLACK_LINES = 40
_TOLD = ("id", "prefix", "name", "tenant", "replaces", "old_ends", "retire_after_first_use_seconds")


def message_of(state: str, keys: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What consumers get."""
    return {
        "event": f"api_keys_{state}",
        "keys": [{name: key[name] for name in _TOLD if name in key} for key in keys],
    }


def lines_of(message: Mapping[str, Any]) -> list[str]:
    """The same for people, a line a key."""
    lines = []
    for key in message["keys"]:
        whose = " ".join(f"{name} {key[name]}" for name in ("tenant", "name") if key.get(name))
        shown = "_".join(part for part in (key.get("prefix"), key["id"]) if part) + (f" ({whose})" if whose else "")
        if message["event"] != "api_keys_rotated":
            lines.append(f"{shown} was revoked and does not work any more.")
            continue
        if "old_ends" not in key:
            lines.append(f"{key['replaces']} was replaced by {shown}. `state: listed` says when the old key ends.")
            continue
        ends = f"ends {key['old_ends']}" if key["old_ends"] else "ends when it is revoked"
        first = key.get("retire_after_first_use_seconds")
        ends += f", or {first} s after the first use of the new one" if first is not None else ""
        lines.append(f"{key['replaces']} was replaced by {shown}. The old key {ends}.")
    return lines


def tell(notify: Mapping[str, Any], message: Mapping[str, Any], pause: Callable[[float], None]) -> list[str]:
    """Tell everybody who is named; what failed three times, in words without addresses, which may hold tokens."""
    jobs: list[tuple[str, Callable[[], None]]] = []
    for url in notify.get("webhooks") or []:
        jobs.append((f"webhook at {_host(url)}", partial(_post, url, message)))
    lines = lines_of(message)
    for url in notify.get("slack") or []:
        rest = [f"and {len(lines) - SLACK_LINES} more"] if len(lines) > SLACK_LINES else []
        text = "\n".join(["API keys:", *lines[:SLACK_LINES], *rest])
        jobs.append((f"Slack at {_host(url)}", partial(_post, url, {"text": text})))
    mail = notify.get("mail")
    if mail:
        jobs.append((f"mail by {mail['host']}", partial(_mail, mail, message["event"], lines)))
    return [failure for what, job in jobs if (failure := _tried(what, job, pause))]


def _tried(what: str, job: Callable[[], None], pause: Callable[[float], None]) -> str:
    for wait in (*PAUSES, None):
        try:
            job()
            return ""
        except HTTPError as error:
            reason = f"HTTP {error.code}"
        except (URLError, OSError, HTTPException, smtplib.SMTPException, ValueError) as error:
            reason = type(getattr(error, "reason", error)).__name__
        if wait is not None:
            pause(wait)
    return f"Not told: {what} ({reason}), after {len(PAUSES) + 1} tries. The keys were changed all the same; tell them by hand."


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "?"
    except ValueError:
        return "?"


def _post(url: str, body: Mapping[str, Any]) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("no URL of HTTP")
    open_url(url, json.dumps(body), {"Content-Type": "application/json"}, "POST", timeout=TIMEOUT_SECONDS).close()


def _mail(mail: Mapping[str, Any], event: str, lines: Sequence[str]) -> None:
    letter = EmailMessage()
    letter["From"], letter["To"] = mail["sender"], ", ".join(mail["to"])
    letter["Subject"] = event.replace("_", " ").replace("api", "API")
    letter["Message-ID"] = make_msgid()
    letter.set_content("\n".join(lines) + "\n")
    with smtplib.SMTP(mail["host"], mail["port"], timeout=TIMEOUT_SECONDS) as server:
        if mail["starttls"]:
            server.starttls(context=ssl.create_default_context(cafile=mail.get("ca_file")))
        if mail.get("user"):
            if not mail["starttls"]:
                raise ValueError("a password goes over TLS only")
            server.login(mail["user"], mail.get("password") or "")
        refused = server.send_message(letter)
        if refused:
            raise smtplib.SMTPRecipientsRefused(refused)
