"""`pycompose`: docker compose's commands on our engine. Imports follow the work."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.reader import Command, HelpWanted, Option, read
from buildkit_py.core.errors import BuildkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from buildkit_py.cli.reader import Value

COMMANDS = {
    "build": "Build the images of services",
    "config": "Check, resolve and print the project in its canonical form",
    "create": "Make the project's containers, and start none",
    "down": "End and remove the project's containers and networks",
    "exec": "Run a further program in a service's container",
    "images": "List the images that containers were made from",
    "kill": "Send containers a signal",
    "logs": "Print what the project's containers wrote",
    "ls": "List projects",
    "plan": "Say what `up` would do, why, and in which order",
    "port": "Print where a port of a service is published",
    "ps": "List the project's containers",
    "pull": "Pull the images of services",
    "restart": "End containers and start them again",
    "rm": "Remove containers that do not run",
    "run": "Run a program in a new container of a service",
    "scale": "Give services a number of containers",
    "start": "Start containers that were made before",
    "stop": "End containers",
    "top": "List the processes of containers",
    "up": "Make the project run as its files say",
    "version": "Print the version",
    "volumes": "List the project's volumes",
    "wait": "Wait until the containers of services have ended",
}
LATER = (
    "alpha attach bridge commit cp events export pause publish push stats unpause watch graph ui"
    " schema deploy"
).split()
_ROOMS = {
    "compose_act": ("stop", "start", "restart", "kill", "rm", "scale", "wait"),
    "compose_build": ("build", "pull"),
    "compose_config": ("config", "convert"),
    "compose_logs": ("logs",),
    "compose_look": ("ps", "port", "top", "images", "ls", "volumes"),
    "compose_run": ("exec", "run"),
    "compose_up": ("plan", "up", "create", "down"),
}
"""Which module of this room has which commands: their declarations and what carries them out."""

GLOBAL = Command(
    "pycompose",
    "docker compose without Docker",
    (
        Option("--all-resources", "flag", "Print also what no service uses"),
        Option("--ansi", "text", "Control characters: never, always, auto", metavar="WHEN"),
        Option("--compatibility", "flag", "Names with `_`, and no normalization in `config`"),
        Option("--dry-run", "flag", "Say what would be done, and do nothing"),
        Option("--env-file", "list", "Read variables from another file", metavar="FILE"),
        Option(
            "-f --file", "list", "A compose file; later ones change earlier ones", metavar="FILE"
        ),
        Option("--parallel", "text", "Things to do at once; -1: no limit", metavar="NUMBER"),
        Option("--profile", "list", "Switch a profile on", metavar="NAME"),
        Option("--progress", "text", "auto, tty, plain, json, quiet", metavar="KIND"),
        Option("--project-directory", "text", "What relative paths start from", metavar="DIR"),
        Option("-p --project-name", "text", "The project's name", metavar="NAME"),
        Option("--root", "text", "The state root, as BUILDKIT_PY_ROOT", metavar="DIR"),
        Option("-v --version", "flag", "Print the version"),
        Option("--verbose", "flag", "Ignored, as docker compose ignores it"),
    ),
    arguments="COMMAND",
    unsupported=("--insecure-registry", "--workdir", "--no-ansi"),
    options_first=True,
)

HELP = """\
Usage: pycompose [OPTIONS] COMMAND [ARGUMENTS]

docker compose's commands, without Docker and without a daemon.

Commands:
{commands}

Options:
{options}
      --help                     Print this text, or that of a command
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `pycompose` and return its exit code."""
    from buildkit_py.cli import common

    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except BuildkitError as error:
        return common.report(error)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except common.Terminated:
        print("\nterminated", file=sys.stderr)
        return 143
    except BrokenPipeError:
        # Whoever read our output is gone: nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except Exception as error:  # the last resort: a report instead of a traceback
        return common.report_bug(error)


def _run(arguments: list[str]) -> int:
    try:
        values, rest = read(GLOBAL, arguments)
    except HelpWanted:
        print(_help(), end="")
        return 0
    _check_choices(values)
    ansi = values["ansi"] or os.environ.get("COMPOSE_ANSI") or ""
    if ansi in ("never", "always"):
        from buildkit_py.cli import paint

        paint.choose(str(ansi))
    if values["version"]:
        return _version([])
    if values["root"]:
        os.environ["BUILDKIT_PY_ROOT"] = os.path.abspath(str(values["root"]))
    if not rest or rest[0] == "help":
        print(_help(), end="")
        return 0
    name, *rest = rest
    values["argv"] = arguments
    if name == "up" and _is_up(arguments, values):
        return 0
    if name in LATER:
        return _complain(f"`pycompose {name}` is not supported yet", "cli/not-yet")
    if name == "version":
        return _version(rest)
    for room, commands in _ROOMS.items():
        if name in commands:
            from importlib import import_module

            command, work = import_module(f"buildkit_py.cli.{room}").COMMANDS[name]
            try:
                code: int = work(values, rest)
            except HelpWanted:
                return _print_help(command)
            return code
    from buildkit_py.core.text import did_you_mean

    hint = did_you_mean(name, [*COMMANDS, *LATER]) or "`pycompose --help` lists the commands"
    return _complain(f"unknown command `{name}`", "cli/unknown-command", hint)


def _is_up(arguments: list[str], values: dict[str, Value]) -> bool:
    """Say whether nothing changed since the same command had nothing to do; tell what runs."""
    progress = values["progress"] or os.environ.get("COMPOSE_PROGRESS")
    if progress == "json":
        return False
    from buildkit_py.compose.recall import running
    from buildkit_py.core.dirs import state_root

    names = running(state_root(), arguments)
    if names and progress != "quiet":
        from buildkit_py.cli.paint import painter

        word = painter(sys.stderr)("Running", "success")
        print("\n".join(f" Container {each}  {word}" for each in names), file=sys.stderr)
    return names is not None


def _check_choices(values: dict[str, Value]) -> None:
    from buildkit_py.cli.reader import BadOption

    choices = {
        "ansi": ("never", "always", "auto"),
        "progress": ("auto", "tty", "plain", "json", "quiet"),
    }
    for name, known in choices.items():
        value = values[name]
        if value is not None and value not in known:
            raise BadOption(f"`--{name}` is one of {', '.join(known)}, not `{value}`")
    parallel = values["parallel"]
    if parallel is not None and not str(parallel).removeprefix("-").isdigit():
        raise BadOption(f"`--parallel` takes a whole number, not `{parallel}`")


VERSION = Command(
    "pycompose version",
    "Print the version",
    (
        Option("-f --format", "text", "`pretty` (default) or `json`", metavar="FORM"),
        Option("--short", "flag", "The number alone"),
    ),
    arguments="",
)


def _version(arguments: list[str]) -> int:
    from buildkit_py import __version__
    from buildkit_py.cli.reader import BadOption

    try:
        values, _ = read(VERSION, arguments)
    except HelpWanted:
        return _print_help(VERSION)
    form = values["format"] or "pretty"
    if form not in ("pretty", "json"):
        raise BadOption(f"`--format` is `pretty` or `json`, not `{form}`")
    if values["short"]:
        print(__version__)
    elif form == "json":
        print(f'{{"version":"{__version__}"}}')
    else:
        print(f"pycompose version {__version__}")
    return 0


def _print_help(command: Command) -> int:
    from buildkit_py.cli.help import print_help

    print_help(command)
    return 0


def _complain(message: str, code: str, hint: str = "`pycompose --help` lists the commands") -> int:
    from buildkit_py.cli.common import report
    from buildkit_py.core.errors import InputError

    return report(InputError(message, code=code, hint=hint))


def _help() -> str:
    commands = "\n".join(f"  {name:<8}  {text}" for name, text in COMMANDS.items())
    rows = []
    for option in GLOBAL.options:
        names = ", ".join(option.names) if option.names[0][1] != "-" else f"    {option.names[0]}"
        rows.append(f"  {f'{names} {option.metavar}':<31}{option.help}")
    return HELP.format(commands=commands, options="\n".join(rows))


def run() -> NoReturn:
    """Run `pycompose` as a program; end at once, without the interpreter's slow farewell."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
