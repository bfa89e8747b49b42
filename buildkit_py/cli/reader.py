"""Command lines read as docker's clients read them (pflag's rules). On the no-op path.

One declaration, a tuple of `Option`, serves this reader and the help text (`cli.help`). Options
and arguments mix freely until `--`; `-t x`, `-tx`, `-t=x`, `--tag x` and `--tag=x` are the same;
short flags may be joined (`-qf Dockerfile`); a flag takes `=true` or `=false`. Nothing heavy is
imported here: argparse and Typer cost more than a whole no-op build.
"""

from __future__ import annotations

from buildkit_py.core.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Value = str | bool | int | list[str] | None


class UnknownOption(InputError):
    code = "cli/unknown-option"


class BadOption(InputError):
    """An option has no value, or one of the wrong kind."""

    code = "cli/bad-option"


class UnsupportedOption(InputError):
    """docker has this option; we say so instead of ignoring it."""

    code = "cli/unsupported-option"


class Option:
    """One option of a command.

    names: `-t`, `--tag`; the last one names the value (`tag`, dashes become `_`)
    kind: `flag`, `text`, `list` (may be repeated), `number`
    """

    __slots__ = ("default", "help", "kind", "metavar", "name", "names")

    def __init__(
        self,
        names: str,
        kind: str,
        help: str,
        *,
        metavar: str = "",
        default: Value = None,
    ) -> None:
        self.names = names.split()
        self.kind = kind
        self.help = help
        self.metavar = metavar
        self.name = self.names[-1].lstrip("-").replace("-", "_")
        empty: dict[str, Value] = {"flag": False, "list": [], "text": None, "number": None}
        self.default = empty[kind] if default is None else default


class Command:
    """A command line: its options, the names of its arguments, what docker has and we do not.

    options_first: options end at the first argument, as in `docker run IMAGE CMD -x`
    """

    __slots__ = ("arguments", "help", "name", "options", "options_first", "unsupported")

    def __init__(
        self,
        name: str,
        help: str,
        options: Sequence[Option],
        *,
        arguments: str,
        unsupported: Iterable[str] = (),
        options_first: bool = False,
    ) -> None:
        self.name = name
        self.help = help
        self.options = options
        self.arguments = arguments
        self.unsupported = frozenset(unsupported)
        self.options_first = options_first


class HelpWanted(Exception):
    """`--help` was among the options."""


def read(command: Command, argv: Sequence[str]) -> tuple[dict[str, Value], list[str]]:
    """Return the values of all options, by name, and the arguments.

    Raises UnknownOption, BadOption, UnsupportedOption, HelpWanted.
    """
    by_name = {name: option for option in command.options for name in option.names}
    values: dict[str, Value] = {
        option.name: list(option.default) if isinstance(option.default, list) else option.default
        for option in command.options
    }
    arguments: list[str] = []
    words = list(argv)
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            arguments += words[at:]
            break
        if len(word) < 2 or word[0] != "-":
            arguments.append(word)
            if command.options_first:
                arguments += words[at:]
                break
            continue
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            taken = _take(command, by_name, values, name, value if equals else None, words, at)
            at += taken
            continue
        # Short options, perhaps joined; the first one that wants a value takes the rest.
        rest = word[1:]
        while rest:
            name, rest = f"-{rest[0]}", rest[1:]
            option = by_name.get(name)
            if option is not None and option.kind == "flag" and not rest.startswith("="):
                values[option.name] = True
                continue
            value_here = rest.removeprefix("=") if rest else None
            at += _take(command, by_name, values, name, value_here, words, at)
            rest = ""
    return values, arguments


def _take(
    command: Command,
    by_name: dict[str, Option],
    values: dict[str, Value],
    name: str,
    value: str | None,
    words: list[str],
    at: int,
) -> int:
    """Keep one option's value; return how many further words it used."""
    option = by_name.get(name)
    if option is None:
        if name in ("--help", "-h"):
            raise HelpWanted
        if name in command.unsupported:
            raise UnsupportedOption(
                f"`{name}` is not supported yet",
                hint=f"`{command.name} --help` lists what is",
            )
        from buildkit_py.core.text import did_you_mean

        raise UnknownOption(
            f"unknown option `{name}`",
            hint=did_you_mean(name, by_name) or f"`{command.name} --help` lists the options",
        )
    if option.kind == "flag":
        known = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
        if value is not None and value.lower() not in known:
            raise BadOption(f"`{name}` is on or off, not `{value}`", hint=f"write `{name}=false`")
        values[option.name] = True if value is None else known[value.lower()]
        return 0
    used = 0
    if value is None:
        if at >= len(words):
            raise BadOption(f"`{name}` needs a value", hint=f"{option.metavar}: {option.help}")
        value, used = words[at], 1
    if option.kind == "number":
        if not value.isascii() or not value.isdigit():
            raise BadOption(f"`{name}` takes a whole number, not `{value}`")
        values[option.name] = int(value)
    elif option.kind == "list":
        kept = values[option.name]
        assert isinstance(kept, list)
        kept.append(value)
    else:
        values[option.name] = value
    return used
