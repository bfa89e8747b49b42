"""Flags of instructions: `--name=value` between the keyword and the arguments.

Counterpart: moby/buildkit frontend/dockerfile/instructions/bflag.go and parser/split_command.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from buildkit_py.core.source import Span
from buildkit_py.dockerfile.ast import Flag
from buildkit_py.dockerfile.errors import (
    BadFlagValue,
    DuplicateFlag,
    FlagNotBoolean,
    FlagWithoutValue,
    MountFromVariable,
    UnknownFlag,
)

BOOLEAN, TEXT, LIST = "boolean", "text", "list"

KNOWN: Mapping[str, Mapping[str, str]] = {
    "ADD": {
        "chown": TEXT,
        "chmod": TEXT,
        "link": BOOLEAN,
        "keep-git-dir": BOOLEAN,
        "checksum": TEXT,
        "unpack": BOOLEAN,
        "exclude": LIST,
    },
    "COPY": {
        "chown": TEXT,
        "from": TEXT,
        "chmod": TEXT,
        "link": BOOLEAN,
        "exclude": LIST,
        "parents": BOOLEAN,
    },
    "FROM": {"platform": TEXT},
    "HEALTHCHECK": {
        "interval": TEXT,
        "timeout": TEXT,
        "start-period": TEXT,
        "start-interval": TEXT,
        "retries": TEXT,
    },
    "RUN": {"mount": LIST, "network": TEXT, "security": TEXT, "device": LIST},
}
"""Flags by instruction; one that is not here has none. LIST: may be given several times."""


def read_flag(text: str, span: Span, escape: str) -> Flag:
    """Return the flag written as `text`: quotes are taken off and escapes resolved."""
    plain = text
    if "'" in text or '"' in text or escape in text:
        plain = _unquote(text, escape)
    name, equals, value = plain[2:].partition("=")
    return Flag(name=name, value=value if equals else None, original=text, span=span)


def _unquote(text: str, escape: str) -> str:
    kept = []
    quote = ""
    characters = iter(text)
    for each in characters:
        if each == quote:
            quote = ""
        elif each in "'\"" and not quote:
            quote = each
        elif each == escape:
            # Also between single quotes, unlike in a shell (split_command.go).
            kept.append(next(characters, ""))
        else:
            kept.append(each)
    return "".join(kept)


def check_flags(keyword: str, flags: Sequence[Flag]) -> None:
    """Raise the first complaint about the flags of an instruction, in the order of BuildKit."""
    known = KNOWN.get(keyword, {})
    seen = set()
    for flag in flags:
        kind = known.get(flag.name)
        if kind is None:
            raise UnknownFlag(flag.name, flag.span, keyword=keyword, known=tuple(known))
        if flag.name in seen and kind != LIST:
            raise DuplicateFlag(flag.name, flag.span)
        seen.add(flag.name)
        if kind == BOOLEAN:
            if flag.value == "":
                raise FlagWithoutValue(flag.name, flag.span)
            if flag.value is not None and flag.value.lower() not in ("true", "false"):
                raise FlagNotBoolean(flag.name, flag.value, flag.span)
        elif flag.value is None:
            raise FlagWithoutValue(flag.name, flag.span)


def check_run_flags(flags: Sequence[Flag]) -> None:
    """Raise the first complaint about values of RUN's flags that needs no variables expanded.

    What else a mount may get wrong shows when its values are expanded (mounts.py).
    """
    from buildkit_py.dockerfile.mounts import fields

    for flag in flags:
        if flag.name == "device":
            fields(flag)
    for flag in flags:
        if flag.name == "mount" and any(
            key == "from" and "$" in (value or "")[:-1] for key, value in fields(flag)
        ):
            raise MountFromVariable(flag.span)
    for name, allowed in (
        ("network", ("default", "none", "host")),
        ("security", ("sandbox", "insecure")),
    ):
        for flag in flags:
            if flag.name == name and flag.value not in allowed:
                raise BadFlagValue(flag, allowed)
