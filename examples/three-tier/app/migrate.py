"""Bring the database to the shape that the application expects. Run as often as you like."""

from database import connect

STEPS = (
    "CREATE TABLE IF NOT EXISTS greetings (id integer PRIMARY KEY, words text NOT NULL)",
    "CREATE TABLE IF NOT EXISTS visits (id serial PRIMARY KEY, path text, at timestamptz"
    " DEFAULT now())",
    "INSERT INTO greetings VALUES (1, 'hello from the database') ON CONFLICT DO NOTHING",
)

with connect() as database, database.cursor() as cursor:
    for step in STEPS:
        cursor.execute(step)
print(f"{len(STEPS)} steps done")
