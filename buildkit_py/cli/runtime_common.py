"""What the commands of `pyruntime` share: where states are, warnings, the log that engines read."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.reader import BadOption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.cli.reader import Command, Value
    from buildkit_py.core.errors import BuildkitError


def check_log(given: dict[str, Value]) -> None:
    """Raise BadOption for a log that cannot be written: an engine would wait for its lines."""
    kind, path = given["log_format"], given["log"]
    if kind not in (None, "text", "json"):
        raise BadOption(f"`--log-format` is `text` or `json`, not `{kind}`")
    if path:
        try:
            with open(str(path), "a"):
                return
        except OSError as error:
            given["log"] = None
            raise BadOption(f"--log `{path}`: {error.strerror}") from None


def root_of(given: dict[str, Value]) -> str:
    from buildkit_py.core.dirs import ensure_private, run_dir

    if given["root"]:
        return os.path.abspath(str(given["root"]))
    return os.path.join(ensure_private(run_dir()), "runtime")


def one(words: Sequence[str], command: Command) -> str:
    if len(words) != 1:
        raise BadOption(f"`{command.name}` takes one container's id")
    return words[0]


def warn(given: dict[str, Value], warnings: Sequence[str]) -> None:
    from buildkit_py.core.draw import printable

    for text in warnings:
        log(given, "warning", text)
        print(f"warning: {printable(text)}", file=sys.stderr)


def fail(given: dict[str, Value], error: BuildkitError) -> None:
    from buildkit_py.cli.common import report

    log(given, "error", error.message)
    report(error)


def log(given: dict[str, Value], level: str, text: str) -> None:
    """Append a line to `--log`, from which containerd and podman read why something failed."""
    path = given.get("log")
    if path or level == "debug":
        _write(path, _line(given, level, text))


def debug(given: dict[str, Value], text: str) -> None:
    """With `--debug` tell what is done: in the log or, without one, on standard error."""
    if given["debug"]:
        log(given, "debug", text)


def _line(given: dict[str, Value], level: str, text: str) -> str:
    """Return a line as logrus has it, which engines read."""
    import datetime
    import json

    time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    if given.get("log_format") == "json":
        fields = {"level": level, "msg": text, "time": time}
        return json.dumps(fields, separators=(",", ":"))
    return f'time="{time}" level={level} msg={json.dumps(text, ensure_ascii=False)}'


def _write(path: Value, line: str) -> None:
    if not path:
        print(line, file=sys.stderr)
        return
    try:
        with open(str(path), "a") as file:
            file.write(f"{line}\n")
    except OSError as error:
        print(f"warning: --log `{path}`: {error.strerror}", file=sys.stderr)


def content(path: str) -> bytes:
    """Read a file, `-` for standard input."""
    try:
        if path == "-":
            return sys.stdin.buffer.read()
        with open(path, "rb") as file:
            return file.read(64 << 20)
    except OSError as error:
        raise BadOption(f"`{path}`: {error.strerror}") from None
