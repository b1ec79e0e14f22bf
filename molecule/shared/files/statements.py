"""Run SQL as logins of a Postgres server, and print each statement whose answer is not the expected one.

Standard input is JSON: the `server` as libpq's settings, `passwords` by user, the PEM `ca`, and `statements`, each with `user`,
`sql`, and an `answer` (the first value) or what it is `refused` with; `password` and other settings of the server for it alone.
"""

import json
import os
import sys
import tempfile
from typing import Any

import psycopg2


def run(sql: str, settings: dict[str, Any]) -> tuple[str, str]:
    """The first value and the refusal: one of them is empty."""
    try:
        connection = psycopg2.connect(**settings)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return str(cursor.fetchone()[0]) if cursor.description else "", ""
    except psycopg2.Error as error:
        return "", str(error).strip()


def main() -> None:
    given = json.load(sys.stdin)
    if not given["statements"]:
        print("No statement was given.")
    with tempfile.NamedTemporaryFile("w", suffix=".crt") as ca:
        ca.write(given["ca"])
        ca.flush()
        os.environ["PGSSLROOTCERT"] = ca.name
        for statement in given["statements"]:
            settings = {"password": given["passwords"].get(statement["user"]), **given["server"], **statement}
            sql, answer, refused = (settings.pop(key, "") for key in ("sql", "answer", "refused"))
            value, refusal = run(sql, settings)
            if value != answer or refused not in refusal or bool(refused) != bool(refusal):
                print(f"{statement['user']}: {sql}\n  {refusal or value}\n  instead of: {refused or answer}")


if __name__ == "__main__":
    main()
