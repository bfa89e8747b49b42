"""The way to the database, which the environment names and a secret opens."""

import os
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection


def connect() -> connection:
    password = Path(os.environ["DATABASE_PASSWORD_FILE"]).read_text().strip()
    return psycopg2.connect(
        host=os.environ["DATABASE_HOST"],
        dbname=os.environ["DATABASE_NAME"],
        user=os.environ["DATABASE_USER"],
        password=password,
        connect_timeout=5,
    )
