"""`pyruntime`: the OCI runtime command line, as runc and crun have it. Imports follow the work."""

from __future__ import annotations

import sys

from buildkit_py.cli.reader import Command, HelpWanted, Option, UnknownOption, read
from buildkit_py.cli.runtime_common import check_log, debug, fail
from buildkit_py.core.errors import BuildkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from buildkit_py.cli.reader import Value

GLOBAL = Command(
    "pyruntime",
    "Create and run containers from OCI bundles, without a daemon.",
    (
        Option("--root", "text", "Where containers' states are kept", metavar="DIR"),
        Option("--log", "text", "Write warnings and errors there, too", metavar="FILE"),
        Option("--log-format", "text", "`text` or `json`", metavar="FORMAT"),
        Option("--debug", "flag", "Tell when a command begins and ends, in the log"),
        Option("--systemd-cgroup", "flag", "`cgroupsPath` is systemd's `slice:prefix:name`"),
        Option("--rootless", "text", "`auto`; whether we are root is seen", metavar="WORD"),
        Option("--cgroup-manager", "text", "`cgroupfs`, `systemd` or `disabled`", metavar="NAME"),
        Option("-v --version", "flag", "Print the version"),
    ),
    arguments="COMMAND [ARGUMENTS]",
    options_first=True,
)

LATER = ("checkpoint", "restore")


COMMANDS = {
    name: room
    for room, names in (
        ("act", "delete kill pause resume update"),
        ("look", "events features list ps spec state"),
        ("run", "create exec run start"),
    )
    for name in names.split()
}
"""Each command, and what the module `cli/runtime_*.py` that has it is called."""

_STARTING = ("create", "exec", "run")
"""Those in which a process of ours becomes a program of a container."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `pyruntime` and return its exit code."""
    if argv is None:
        from buildkit_py.cli.common import prepare

        prepare()
    arguments = list(sys.argv[1:] if argv is None else argv)
    given: dict[str, Value] = {}
    name = ""
    try:
        given, words = read(GLOBAL, arguments)
        if given["version"]:
            from buildkit_py import __version__

            print(f"pyruntime version {__version__}\nspec: 1.3.0")
            return 0
        if not words:
            raise HelpWanted
        check_log(given)
        name, *rest = words
        if name in LATER:
            raise UnknownOption(f"`pyruntime {name}` is not supported yet")
        if name not in COMMANDS:
            raise UnknownOption(f"there is no command `{name}`")
        if argv is None and name in _STARTING:
            from buildkit_py.runtime.interpreter import start_anew

            start_anew()
        debug(given, f"pyruntime {name} begins")
        command, work = _room(COMMANDS[name]).COMMANDS[name]
        try:
            code: int = work(given, *read(command, rest))
            debug(given, f"pyruntime {name} ends with {code}")
            return code
        except HelpWanted:
            return _help(command)
    except HelpWanted:
        return _help(GLOBAL)
    except BuildkitError as error:
        fail(given, error)
        # As runc's own failures are, which scripts tell from those of a program.
        return 255 if name == "exec" else 1


def _help(command: Command) -> int:
    from buildkit_py.cli.help import print_help

    print_help(command, epilog=f"Commands: {' '.join(COMMANDS)}" if command is GLOBAL else "")
    return 0


def _room(name: str) -> Any:
    """Import the module that carries some commands out."""
    from importlib import import_module

    return import_module(f"buildkit_py.cli.runtime_{name}")


if __name__ == "__main__":
    sys.exit(main())
