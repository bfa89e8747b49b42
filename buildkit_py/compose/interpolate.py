"""Variables in a tree replaced by their values, and the results made what their keys need.

Values are read per file, before files are merged; keys are never read. What is wrong anywhere in
the file is reported at once, each at its own place. Source: compose-go loader/interpolate.go.
"""

from __future__ import annotations

from buildkit_py.compose.errors import BadValue, BadVariable, MissingVariable
from buildkit_py.compose.scalars import float32
from buildkit_py.compose.template import TemplateError, substitute
from buildkit_py.compose.tree import Node, dotted
from buildkit_py.core.source import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from buildkit_py.compose.template import Lookup
    from buildkit_py.compose.tree import Path
    from buildkit_py.core.errors import InputError

    Warn = Callable[[str], None]

_TRUE = frozenset(("y", "yes", "on"))
_FALSE = frozenset(("n", "no", "off"))


def boolean(text: str, warn: Warn) -> bool:
    """Return a text as a boolean; YAML 1.1's words are taken with a warning. Raises ValueError."""
    word = text.lower()
    if word in ("true", "false"):
        return word == "true"
    if word in _TRUE or word in _FALSE:
        instead = "true" if word in _TRUE else "false"
        warn(f"`{text}` for a boolean is not supported by YAML 1.2, please use `{instead}`")
        return word in _TRUE
    raise ValueError(f"`{text}` is no boolean" if text else "an empty text is no boolean")


def integer(text: str, warn: Warn) -> int:
    """Return a text as a decimal whole number of 64 bits. Raises ValueError."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()) or not -(1 << 63) <= int(text) < 1 << 63:
        raise ValueError(f"`{text}` is no whole number")
    return int(text)


def decimal(text: str, warn: Warn) -> float:
    """Return a text as a number. Raises ValueError."""
    try:
        if text != text.strip() or "_" in text:
            raise ValueError
        return float(text)
    except ValueError:
        raise ValueError(f"`{text}` is no number") from None


def single(text: str, warn: Warn) -> float:
    """Return a text as a number that Go's float32 can hold. Raises ValueError."""
    return float32(decimal(text, warn))


_OUTSIDE = {"external": boolean}
_UPDATE = {"parallelism": integer, "max_failure_ratio": decimal}
CASTS: dict[str, Any] = {
    "services": {
        "*": {
            **dict.fromkeys(
                "cpu_count cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares"
                " oom_score_adj pids_limit scale".split(),
                integer,
            ),
            **dict.fromkeys(
                "init oom_kill_disable privileged read_only stdin_open tty".split(), boolean
            ),
            "cpu_percent": decimal,
            "cpus": single,
            "depends_on": {"*": {"required": boolean, "restart": boolean}},
            "deploy": {
                "replicas": integer,
                "update_config": _UPDATE,
                "rollback_config": _UPDATE,
                "restart_policy": {"max_attempts": integer},
                "placement": {"max_replicas_per_node": integer},
            },
            "healthcheck": {"retries": integer, "disable": boolean},
            "ports": {"*": {"target": integer}},
            "ulimits": {"*": {"": integer, "hard": integer, "soft": integer}},
            "volumes": {"*": {"read_only": boolean, "volume": {"nocopy": boolean}}},
        }
    },
    "networks": {
        "*": dict.fromkeys("external internal attachable enable_ipv4 enable_ipv6".split(), boolean)
    },
    "volumes": {"*": _OUTSIDE},
    "secrets": {"*": _OUTSIDE},
    "configs": {"*": _OUTSIDE},
}
"""What strings at some paths become, as a tree of keys; `*` is any key, "" the place itself."""


class Interpolation:
    """The variables of one file.

    lookup: gives the value of a variable, or None
    errors, warn: where complaints and warnings go
    """

    def __init__(self, lookup: Lookup, errors: list[InputError], warn: Warn) -> None:
        self.lookup = lookup
        self.errors = errors
        self.warn = warn

    def apply(self, node: Node, casts: Any = CASTS, path: Path = ()) -> None:
        """Replace the variables in a tree, in place."""
        value = node.value
        if type(value) is str:
            if "$" in value:
                value = node.value = self.text(node, path)
            if casts:
                self._cast(node, value, casts.get("") if type(casts) is dict else casts, path)
        elif type(value) is dict:
            known = casts if type(casts) is dict else {}
            other = known.get("*")
            for name, each in value.items():
                self.apply(each, known.get(name, other), (*path, name))
        elif type(value) is list:
            below = casts.get("*") if type(casts) is dict else None
            for index, each in enumerate(value):
                self.apply(each, below, (*path, str(index)))

    def text(self, node: Node, path: Path) -> str:
        """Return a string of a file with its variables replaced."""
        wrong: list[TemplateError] = []
        text = substitute(node.value, self.lookup, wrong, self._unset)
        for error in wrong:
            self.errors.append(complaint(error, part_of(node.span, error.text), dotted(path)))
        return text

    def _unset(self, name: str) -> None:
        self.warn(f"the `{name}` variable is not set, defaulting to a blank string")

    def _cast(self, node: Node, text: str, cast: Any, path: Path) -> None:
        if cast is None:
            return
        try:
            node.value = cast(text, self.warn)
        except ValueError as error:
            self.errors.append(BadValue(f"`{dotted(path)}`: {error}", at=node.span))


def part_of(span: Span, text: str) -> Span:
    """Return where a text stands within a span; the span itself when it is not found."""
    at = span.text.find(text)
    return Span(span.source, span.start + at, span.start + at + len(text)) if at >= 0 else span


def complaint(error: TemplateError, at: Span | None, where: str) -> InputError:
    """Return what is wrong with a template as an error at its place."""
    if error.missing:
        reason = f": {error.reason}" if error.reason else ""
        return MissingVariable(
            f"required variable `{error.missing}` is missing a value{reason}",
            at=at,
            label="needs a value",
            hint=f"set `{error.missing}` in the environment or in `.env`",
        )
    return BadVariable(
        f"invalid interpolation format for `{where}`",
        at=at,
        label="not a variable",
        hint="write `$$` for a dollar sign",
    )
