#!/bin/bash
# Makes the cluster at the first start, then becomes the command it was given.
# Understands the names the official image has: PGDATA, POSTGRES_USER, POSTGRES_PASSWORD_FILE, POSTGRES_DB,
# POSTGRES_INITDB_ARGS. Needs no root, and no writable path but PGDATA, /run/postgresql and /tmp.
set -euo pipefail

# `peer` lets uid 999 in by the socket: psql in the container, and the pgBackRest sidecar.
# A password has to come as a file: an environment variable shows in `docker inspect`.
initialise() {
  local building="$PGDATA/.initdb" user="${POSTGRES_USER:-postgres}" entry
  if [[ ! -r "${POSTGRES_PASSWORD_FILE:-}" ]]; then
    echo "No cluster in $PGDATA and no readable POSTGRES_PASSWORD_FILE to make one with." >&2
    exit 1
  fi
  # A start killed in between left $building: what lies beside it came out of it, so all of it goes.
  if [[ -d "$building" ]]; then
    find "$PGDATA" -mindepth 1 -delete
  elif [[ -n "$(find "$PGDATA" -mindepth 1 -maxdepth 1 ! -name lost+found -print -quit)" ]]; then
    echo "$PGDATA holds files but no PG_VERSION: refusing to make a cluster over them." >&2
    exit 1
  fi
  mkdir "$building"
  # Word splitting is what POSTGRES_INITDB_ARGS is for.
  # shellcheck disable=SC2086
  initdb --pgdata="$building" --username="$user" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=peer \
    --auth-host=scram-sha-256 --set=listen_addresses='*' --set=password_encryption=scram-sha-256 ${POSTGRES_INITDB_ARGS:-}
  echo "host all all all scram-sha-256" >> "$building/pg_hba.conf"
  if [[ -n "${POSTGRES_DB:-}" && "$POSTGRES_DB" != postgres ]]; then
    printf 'CREATE DATABASE "%s"\n' "${POSTGRES_DB//\"/\"\"}" | postgres --single -D "$building" postgres > /dev/null
  fi
  # PG_VERSION goes last: without it there is no cluster, and the next start begins again.
  for entry in "$building"/*; do
    [[ "${entry##*/}" == PG_VERSION ]] || mv "$entry" "$PGDATA/"
  done
  sync
  mv "$building/PG_VERSION" "$PGDATA/"
  rmdir "$building"
}

if [[ "${1:-}" == -* ]]; then
  set -- postgres "$@"
fi
if [[ "${1:-}" == postgres ]]; then
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA"
  [[ -s "$PGDATA/PG_VERSION" ]] || initialise
fi
exec "$@"
