#!/bin/sh
# Make the database when there is none yet, and become the server.
set -eu

new="$(dirname "$PGDATA")/new"

if [ ! -d "$PGDATA" ]; then
  # Made elsewhere and renamed last: what a start that was killed left is never taken for a database.
  rm -rf "$new"
  initdb --pgdata="$new" --username="$DATABASE_USER" --pwfile="$DATABASE_PASSWORD_FILE" \
    --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-instructions
  echo "host all all all scram-sha-256" >> "$new/pg_hba.conf"
  echo "CREATE DATABASE \"$DATABASE_NAME\"" | postgres --single -D "$new" -j postgres >/dev/null
  sync
  mv "$new" "$PGDATA"
fi

exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp
