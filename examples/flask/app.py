"""Answer with who we are inside the container."""

import getpass
import platform

from flask import Flask

app = Flask(__name__)


@app.get("/")
def index() -> dict[str, str]:
    return {"hello": "world", "user": getpass.getuser(), "python": platform.python_version()}


@app.get("/health")
def health() -> str:
    return "ok\n"
