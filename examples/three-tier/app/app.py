"""Pages that come from the database, and say which replica served them."""

import socket

from database import connect
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index() -> dict[str, object]:
    with connect() as database, database.cursor() as cursor:
        cursor.execute("INSERT INTO visits (path) VALUES ('/') RETURNING id")
        (visit,) = cursor.fetchone()
        cursor.execute("SELECT words FROM greetings WHERE id = 1")
        (words,) = cursor.fetchone()
    return {"greeting": words, "visit": visit, "served_by": socket.gethostname()}


@app.get("/health")
def health() -> str:
    with connect() as database, database.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "ok\n"
