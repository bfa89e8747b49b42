"""`RUN --mount=type=cache,target=/x,…`: read and checked. Pure.

Counterpart: BuildKit instructions/commands_runmount.go and dockerfile2llb/convert_runmount.go.
"""

from __future__ import annotations

from collections.abc import Callable

from buildkit_py.core.data import dataclass
from buildkit_py.core.patterns import later
from buildkit_py.core.source import Span
from buildkit_py.core.text import did_you_mean
from buildkit_py.dockerfile.ast import Flag
from buildkit_py.dockerfile.errors import DockerfileError
from buildkit_py.dockerfile.paths import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeVar

    Word = TypeVar("Word", bound=str)
    Type = Literal["bind", "cache", "tmpfs", "secret", "ssh"]
    Sharing = Literal["shared", "private", "locked"]

TYPES: tuple[Type, ...] = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARINGS: tuple[Sharing, ...] = ("shared", "private", "locked")
_SAME = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly",
         "rw": "readwrite"}  # fmt: skip
KEYS = ("type", "from", "source", "target", "readonly", "readwrite", "required", "size", "id",
        "sharing", "mode", "uid", "gid", "env")  # fmt: skip
_FLAGS = ("readonly", "readwrite", "required")
_SIZE = later(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?")
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")


class BadMount(DockerfileError):
    """A `--mount` has a key, a value or a combination that means nothing."""

    code = "dockerfile/bad-mount"


@dataclass(frozen=True, slots=True)
class MountRequest:
    """One `--mount` as asked for: expanded, checked, but with nothing looked up.

    source_stage: the value of `from`, "" when there is none
    target: "" when there is none; may be relative
    mode, uid, gid: None when not given
    """

    type: Type
    source_stage: str
    source: str
    target: str
    read_only: bool
    required: bool
    size_bytes: int
    id: str
    sharing: Sharing
    mode: int | None
    uid: int | None
    gid: int | None
    env: str


def fields(flag: Flag) -> list[tuple[str, str | None]]:
    """Split the value of a `--mount` into keys (by their long names) and values.

    Raises BadMount for broken quotes.
    """
    import csv

    text = flag.value or ""
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise BadMount(f"broken quotes in `{flag.original}`: {error}", at=flag.span) from None
    pairs: list[tuple[str, str | None]] = []
    for field in rows[0] if rows else []:
        key, equals, value = field.partition("=")
        key = key.lower()
        pairs.append((_SAME.get(key, key), value if equals else None))
    return pairs


def source_stage(flag: Flag) -> str | None:
    """Return where a mount takes its files from, before anything is expanded.

    None when it has no `from`, or is of a type that reads nothing. The parser has refused
    variables in it.
    """
    pairs = dict(fields(flag))
    name = pairs.get("from")
    if not name or (pairs.get("type") or "").lower() in ("tmpfs", "ssh", "secret"):
        return None
    return name


def parse_mount(flag: Flag, expand: Callable[[str], str]) -> MountRequest:
    """Read one `--mount`; `expand` gives every value but `from` its variables' values."""

    def bad(message: str, hint: str | None = None) -> BadMount:
        return BadMount(message, at=flag.span, hint=hint)

    given: dict[str, str | None] = {}
    for key, value in fields(flag):
        if key not in KEYS:
            raise bad(f"unexpected key `{key}` in `{flag.original}`", did_you_mean(key, KEYS))
        if value is None and key not in _FLAGS:
            raise bad(f"`{key}` needs a value: `{key}=…`")
        given[key] = value if value is None or key == "from" else expand(value)

    def text(key: str) -> str:
        return given.get(key) or ""

    def flagged(key: str) -> bool | None:
        if key not in given:
            return None
        value = given[key]
        if value is None or value in _TRUE:
            return True
        if value in _FALSE:
            return False
        raise bad(f"invalid value for `{key}`: `{value}`", "use `true` or `false`")

    def number(key: str, base: int) -> int | None:
        if key not in given:
            return None
        value = text(key)
        digits = "01234567" if base == 8 else "0123456789"
        if not value or value.strip(digits) or int(value, base) >= 1 << 32:
            kind = "an octal number" if base == 8 else "a number"
            raise bad(f"invalid value for `{key}`: `{value}`", f"`{key}` is {kind}")
        return int(value, base)

    kind = _one_of("mount type", text("type") or "bind", TYPES, flag.span)
    sharing = _one_of("sharing", text("sharing") or "shared", SHARINGS, flag.span)
    required = flagged("required")
    if required is not None and kind not in ("secret", "ssh"):
        raise bad(f"`required` is not for mounts of type `{kind}`", "only for `secret` and `ssh`")
    if "size" in given and kind != "tmpfs":
        raise bad(f"`size` is not for mounts of type `{kind}`", "only for `tmpfs`")
    if "sharing" in given and kind != "cache":
        raise bad(f"`sharing` is not for mounts of type `{kind}`", "only for `cache`")
    for key in ("mode", "uid", "gid"):
        if key in given and kind in ("bind", "tmpfs"):
            raise bad(
                f"`{key}` is not for mounts of type `{kind}`",
                "only for `cache`, `secret` and `ssh`",
            )
    if kind == "secret":
        if text("from"):
            raise bad("a secret mount has no `from`")
        if text("source") and text("id"):
            raise bad("a secret mount has `id` or `source`, not both")
        if not (text("source") or text("id") or text("target")):
            raise bad("a secret mount needs an `id` or a `target`")
    if kind == "ssh" and text("source"):
        raise bad("an ssh mount has no `source`")
    read_only, read_write = flagged("readonly"), flagged("readwrite")
    if read_only is not None and read_write is not None and read_only == read_write:
        raise bad("`readonly` and `readwrite` contradict each other")
    if read_only is None:
        read_only = kind not in ("cache", "tmpfs") if read_write is None else not read_write
    return MountRequest(
        type=kind,
        source_stage=text("from"),
        source=text("source"),
        target=text("target"),
        read_only=read_only,
        required=bool(required),
        size_bytes=_size(text("size"), flag) if text("size") else 0,
        id=text("id"),
        sharing=sharing,
        mode=number("mode", 8),
        uid=number("uid", 10),
        gid=number("gid", 10),
        env=text("env"),
    )


def target_path(request: MountRequest, cwd: str, flag: Flag) -> str:
    """Return where a bind, cache or tmpfs mount appears; relative targets are below `cwd`."""
    target = clean(request.target, cwd)
    if target == "/":
        raise BadMount(
            "invalid mount target `/`",
            at=flag.span,
            label="this would hide the whole file system",
            hint="give a `target` below the root",
        )
    return target


def _one_of(what: str, value: str, known: tuple[Word, ...], at: Span) -> Word:
    for each in known:
        if each == value.lower():
            return each
    raise BadMount(
        f"unsupported {what} `{value}`",
        at=at,
        hint=did_you_mean(value, known) or f"use one of {', '.join(f'`{k}`' for k in known)}",
    )


def _size(text: str, flag: Flag) -> int:
    """Read a size such as `64m` or `1.5GiB`, in powers of 1024, as docker does."""
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None or len(found[1]) > 18:
        raise BadMount(
            f"invalid value for `size`: `{text}`", at=flag.span, hint="write it as `64m` or `2g`"
        )
    power = "kmgtp".index(found[2]) + 1 if found[2] else 0
    return int(float(found[1]) * 1024**power)
