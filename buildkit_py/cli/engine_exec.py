"""`pyengine exec` and `inspect`."""

from __future__ import annotations

import json
import os
import sys

from buildkit_py.cli.engine_containers import looking
from buildkit_py.cli.engine_images import ROOT, text_of, texts_of, wrong_arguments
from buildkit_py.cli.paint import print_notice
from buildkit_py.cli.reader import Command, Option, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit_py.cli.reader import Value
    from buildkit_py.engine.client import Group

EXEC = Command(
    "pyengine exec",
    "Run a further program in a container that runs, and exit as it exits.",
    (
        Option("-d --detach", "flag", "Let it run on its own"),
        Option("-e --env", "list", "Set a variable; without a value, from the environment",
               metavar="NAME[=VALUE]"),
        Option("--env-file", "list", "Read variables from a file", metavar="PATH"),
        Option("-i --interactive", "flag", "Give it our standard input"),
        ROOT,
        Option("-t --tty", "flag", "Give it a terminal"),
        Option("-u --user", "text", "User, and group", metavar="NAME|UID[:GROUP]"),
        Option("-w --workdir", "text", "Working directory", metavar="PATH"),
    ),
    arguments="CONTAINER COMMAND [ARGUMENTS]",
    options_first=True,
    unsupported=("--detach-keys", "--privileged"),
)  # fmt: skip
INSPECT = Command(
    "pyengine inspect",
    "Show all that is known of containers, as JSON or by a template.",
    (
        Option("-f --format", "text", "`json`, or a template such as {{.State.Pid}}",
               metavar="FORMAT"),
        ROOT,
    ),
    arguments="CONTAINER...",
    unsupported=("-s", "--size", "--type"),
)  # fmt: skip


def run_exec(argv: Sequence[str]) -> int:
    values, arguments = read(EXEC, argv)
    if len(arguments) < 2:
        raise wrong_arguments(EXEC, "needs a container and a command")
    if values["tty"] and values["interactive"] and not os.isatty(0):
        print("the input device is not a TTY", file=sys.stderr)
        return 1
    from buildkit_py.cli.engine_run import from_files
    from buildkit_py.engine.command import read_variables

    engine = looking(values)
    known = engine.find(arguments[0])
    env = (
        *from_files(texts_of(values, "env_file")),
        *read_variables(texts_of(values, "env"), os.environ),
    )
    env = tuple(each for each in env if "=" in each)
    from buildkit_py.cli.common import report_refused
    from buildkit_py.core.errors import BuildkitError

    try:
        return _execute(engine.group_of(known), known.spec.id, arguments[1:], env, values)
    except BuildkitError as error:
        return report_refused(error)


def _execute(
    group: Group, id: str, command: Sequence[str], env: tuple[str, ...], values: dict[str, Value]
) -> int:
    cwd, user = text_of(values, "workdir"), text_of(values, "user") or None
    if values["detach"]:
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            connection = group.execute(
                id, command, (nothing, nothing, nothing), env=env, cwd=cwd, user=user,
                terminal=bool(values["tty"]), detach=True,
            )  # fmt: skip
            with connection:
                connection.receive()
        finally:
            os.close(nothing)
        return 0
    from buildkit_py.engine.attached import execute

    end = execute(
        group, id, command, env=env, cwd=cwd, user=user,
        terminal=bool(values["tty"]), interactive=bool(values["interactive"]),
        notice=print_notice,
    )  # fmt: skip
    if end.message:
        print(f"pyengine: {end.message}", file=sys.stderr)
    return end.code


def run_inspect(argv: Sequence[str]) -> int:
    values, names = read(INSPECT, argv)
    if not names:
        raise wrong_arguments(INSPECT, "takes at least one container")
    from buildkit_py.cli.common import report
    from buildkit_py.cli.templates import fill
    from buildkit_py.core.errors import BuildkitError
    from buildkit_py.engine.inspect import inspect

    engine = looking(values)
    found, code = [], 0
    for name in names:
        try:
            found.append(inspect(engine.find(name)))
        except BuildkitError as error:
            report(error)
            code = 1
    form = text_of(values, "format")
    if form in ("", "json"):
        print(json.dumps(found, indent=4 if not form else None, ensure_ascii=False))
    else:
        for each in found:
            print(fill(form, each))
    return code


COMMANDS: dict[str, tuple[Command, Callable[[Sequence[str]], int]]] = {
    "exec": (EXEC, run_exec),
    "inspect": (INSPECT, run_inspect),
}
