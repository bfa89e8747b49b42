"""What a container of an image runs: docker's rules for program and environment. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from buildkit_py.core.errors import InputError
from buildkit_py.oci.image import ContainerConfig


class NoCommand(InputError):
    """Neither the image nor the request says what to run."""

    code = "engine/no-command"


class BadEnvironment(InputError):
    code = "engine/bad-environment"


def argv_of(
    config: ContainerConfig, command: Sequence[str] = (), entrypoint: str | None = None
) -> tuple[str, ...]:
    """Return what runs.

    command: the words after the image's name; they take the place of the image's CMD
    entrypoint: takes the place of the image's, and then its CMD does not count; "" means none
    Raises NoCommand. Source: moby daemon/commit.go `merge`, docker/cli opts.
    """
    if entrypoint is None:
        program = config.entrypoint or ()
        arguments = tuple(command) or config.cmd or ()
    else:
        program = (entrypoint,) if entrypoint else ()
        arguments = tuple(command)
    words = (*program, *arguments)
    if not words:
        raise NoCommand("no command specified", hint="write it after the image's name")
    return words


def environment_of(inherited: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
    """Return the image's environment with what `-e` said; a name without a value is taken out."""
    values = dict(each.split("=", 1) for each in inherited if "=" in each)
    for each in given:
        name, equals, value = each.partition("=")
        if equals:
            values[name] = value
        else:
            values.pop(name, None)
    return tuple(f"{name}={value}" for name, value in values.items())


def read_variables(texts: Sequence[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return what `-e` says: `NAME=value`, or `NAME` with the value that the caller has.

    A name that the caller has not stays without a value. Raises BadEnvironment.
    """
    variables = []
    for text in texts:
        name, equals, _ = text.partition("=")
        if not name or "\0" in text:
            raise BadEnvironment(f"invalid environment variable `{text}`", hint="NAME=value")
        if not equals and name in environment:
            text = f"{name}={environment[name]}"
        variables.append(text)
    return tuple(variables)


def read_environment_file(data: bytes, name: str, environment: Mapping[str, str]) -> list[str]:
    """Return the variables of an `--env-file`: one a line, `#` begins a comment line.

    Values are taken as they stand, quotes too. A name alone takes the caller's value, and is
    left out where the caller has none. Source: docker/cli pkg/kvfile.
    """
    try:
        text = data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise BadEnvironment(f"`{name}` is not UTF-8") from None
    variables = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.lstrip()
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not key or any(character.isspace() for character in key):
            raise BadEnvironment(f"`{name}`, line {number}: `{key}` is no name of a variable")
        if equals:
            variables.append(f"{key}={value}")
        elif key in environment:
            variables.append(f"{key}={environment[key]}")
    return variables
