#!/bin/sh
# Make the database when there is none yet, and become the server.
set -eu

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # What a start that was interrupted left must not be taken for a database.
  find "$PGDATA" -mindepth 1 -delete
  initdb --username="$DATABASE_USER" --pwfile="$DATABASE_PASSWORD_FILE" \
    --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-instructions
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE \"$DATABASE_NAME\"" | postgres --single -j postgres >/dev/null
fi

exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp
