"""`pyengine`: docker's everyday commands on our store. Imports follow the work."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.reader import Command, HelpWanted
from buildkit_py.core.errors import BuildkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

COMMANDS = {
    "create": "Make a container that does not run yet",
    "exec": "Run a further program in a container",
    "images": "List images",
    "import": "Make an image of a tar of a root file system",
    "inspect": "Show all that is known of containers",
    "kill": "Send a signal to containers",
    "logs": "Show what a container wrote",
    "network": "List, create, remove and inspect networks",
    "ps": "List containers",
    "pull": "Get an image from its registry",
    "restart": "Stop containers and start them again",
    "rm": "Remove containers",
    "rmi": "Remove images",
    "run": "Run a program in a new container, in the foreground or on its own",
    "start": "Start containers",
    "stop": "Stop containers",
    "volume": "List, create, remove and inspect volumes",
    "wait": "Wait until containers end",
}
CONTAINERS = ("kill", "logs", "ps", "restart", "rm", "start", "stop", "wait")
LATER = (
    "attach commit cp diff events export history image info load login"
    " logout pause port prune push registry rename save search serve"
    " stats system tag top unpause update version "
).split()

HELP = """\
Usage: pyengine COMMAND [OPTIONS] [ARGUMENTS]

docker's everyday commands, without Docker and without a daemon.

Commands:
{commands}

Options:
      --root DIR   State root (BUILDKIT_PY_ROOT)
      --version    Print the version
      --help       Print this text, or that of a command
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `pyengine` and return its exit code."""
    if argv is None:
        from buildkit_py.cli.common import prepare

        prepare()
    arguments = list(sys.argv[1:] if argv is None else argv)
    given: list[str] = []
    while arguments and arguments[0].startswith("-"):
        word = arguments.pop(0)
        if word == "--root" and arguments:
            given = ["--root", arguments.pop(0)]
        elif word.startswith("--root="):
            given = [word]
        elif word == "--version":
            from buildkit_py import __version__

            print(f"pyengine {__version__}")
            return 0
        elif word in ("--help", "-h"):
            arguments = []
        else:
            return _complain(f"unknown option `{word}`", "cli/unknown-option")
    if not arguments or arguments[0] == "help":
        print(_help(), end="")
        return 0
    name = arguments.pop(0)
    if name in LATER:
        return _complain(f"`pyengine {name}` is not supported yet", "cli/not-yet")
    if name not in COMMANDS:
        from buildkit_py.core.text import did_you_mean

        hint = did_you_mean(name, COMMANDS) or "`pyengine --help` lists the commands"
        return _complain(f"unknown command `{name}`", "cli/unknown-command", hint)
    if name in ("network", "volume"):
        return _nested(name, given, arguments)
    return _guarded(name, [*given, *arguments])


def _nested(name: str, given: list[str], arguments: list[str]) -> int:
    """Run `network ls` and the like."""
    from buildkit_py.cli.engine_networks import LATER as later
    from buildkit_py.cli.engine_networks import NETWORK, VOLUME

    known = NETWORK if name == "network" else VOLUME
    usage = f"`pyengine {name} {'|'.join(known)}`"
    if not arguments or arguments[0] in ("--help", "-h"):
        print(f"Usage: pyengine {name} [OPTIONS] COMMAND\n\nCommands, each with --root DIR:")
        print(
            "".join(f"  {each:<8}  {command.help}\n" for each, (command, _) in known.items()),
            end="",
        )
        return 0 if arguments else 2
    inner = arguments.pop(0)
    if inner in later[name]:
        return _complain(f"`pyengine {name} {inner}` is not supported yet", "cli/not-yet", usage)
    if inner not in known:
        return _complain(f"unknown command `{name} {inner}`", "cli/unknown-command", usage)
    return _guarded(f"{name} {inner}", [*given, *arguments])


def _guarded(name: str, argv: list[str]) -> int:
    """Run a command; whatever goes wrong is drawn and becomes an exit code."""
    from buildkit_py.cli import common

    try:
        return _command(name)[1](argv)
    except HelpWanted:
        from buildkit_py.cli.help import print_help

        print_help(_command(name)[0])
        return 0
    except BuildkitError as error:
        code = common.report(error)
        return {"create": 1, "exec": 1, "inspect": 1, "run": 125, "rmi": 1}.get(name, code)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except common.Terminated:
        print("\nterminated", file=sys.stderr)
        return 143
    except BrokenPipeError:
        return common.end_unread()
    except Exception as error:  # the last resort: a report instead of a traceback
        code = common.report_bug(error)
        return 125 if name == "run" else code


def _command(name: str) -> tuple[Command, Callable[[Sequence[str]], int]]:
    """Return a command's declaration, and what carries it out."""
    if name == "run":
        from buildkit_py.cli.engine_run import COMMANDS as run

        return run[name]
    if name == "create":
        from buildkit_py.cli.engine_create import COMMANDS as create

        return create[name]
    outer, _, inner = name.partition(" ")
    if inner:
        from buildkit_py.cli.engine_networks import NETWORK, VOLUME

        return (NETWORK if outer == "network" else VOLUME)[inner]
    if name in ("exec", "inspect"):
        from buildkit_py.cli.engine_exec import COMMANDS as programs

        return programs[name]
    if name in CONTAINERS:
        from buildkit_py.cli.engine_containers import COMMANDS as containers

        return containers[name]
    from buildkit_py.cli.engine_images import COMMANDS as images

    return images[name]


def _complain(message: str, code: str, hint: str = "`pyengine --help` lists the commands") -> int:
    from buildkit_py.cli.common import report
    from buildkit_py.core.errors import InputError

    return report(InputError(message, code=code, hint=hint))


def _help() -> str:
    commands = "\n".join(f"  {name:<8}  {text}" for name, text in COMMANDS.items())
    return HELP.format(commands=commands)


def run() -> NoReturn:
    """Run `pyengine` as a program; end at once, without the interpreter's slow farewell."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
