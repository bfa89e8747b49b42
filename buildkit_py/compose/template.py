"""Variables in texts: `$NAME`, `${NAME}`, `${NAME:-default}` and the other five forms.

    $$            a dollar sign
    $X  ${X}      the value; nothing, and a warning, when X is not set
    ${X:-d} ${X-d}    d when X is empty or unset / unset
    ${X:+a} ${X+a}    a when X has a value / is set
    ${X:?e} ${X?e}    an error with the text e when X is empty or unset / unset

Defaults are templates themselves and are read only when they are needed. A lone `$`, `$1` and
`$(x)` stay as they are. Names are ASCII. Anything else between `${` and `}` is an error, and so is
a default that runs over the end of its line. Source: compose-go template.go, measured with v2.14.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Lookup = Callable[[str], str | None]

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_NEXT = _FIRST | frozenset("0123456789")
MOST_NESTED = 50
"""Defaults within defaults; more is an error instead of a crash."""

MOST_TEXT = 1 << 22
"""Characters of a text with its variables replaced: values that double each other stop here."""


class TemplateError(Exception):
    """A template is wrong, or needs a variable that has no value.

    text: the part at fault, from the `${` on
    missing: the variable without a value, or ""
    reason: what the author of the template says about it
    """

    def __init__(self, text: str, missing: str = "", reason: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.missing = missing
        self.reason = reason


class Variable:
    """A variable that a template names; `default`, `alternate`: the texts behind `-` and `+`."""

    __slots__ = ("alternate", "default", "name", "required")

    def __init__(
        self, name: str, default: str = "", alternate: str = "", *, required: bool
    ) -> None:
        self.name = name
        self.default = default
        self.alternate = alternate
        self.required = required


def substitute(
    template: str,
    lookup: Lookup,
    errors: list[TemplateError],
    unset: Callable[[str], None] = lambda name: None,
    depth: int = 0,
) -> str:
    """Return the text with its variables replaced; what is wrong is added to `errors`.

    unset: called with the name of each variable that is read without a default and not set
    """
    out: list[str] = []
    at = size = 0
    while (dollar := template.find("$", at)) >= 0:
        size += len(out[-1]) if out else 0
        if size > MOST_TEXT:
            errors.append(TemplateError(template[dollar : dollar + 20]))
            return ""
        out.append(template[at:dollar])
        following = template[dollar + 1 : dollar + 2]
        if following == "$":
            out.append("$")
            at = dollar + 2
        elif following in _FIRST and following:
            at = _name_end(template, dollar + 1)
            out.append(_value(template[dollar + 1 : at], lookup, unset))
        elif following == "{":
            text, at = _braced(template, dollar, lookup, errors, unset, depth)
            out.append(text)
        else:
            out.append("$")
            at = dollar + 1
    out.append(template[at:])
    return "".join(out)


def _name_end(text: str, start: int) -> int:
    while start < len(text) and text[start] in _NEXT:
        start += 1
    return start


def _value(name: str, lookup: Lookup, unset: Callable[[str], None]) -> str:
    value = lookup(name)
    if value is None:
        unset(name)
        return ""
    return value


def _parts(template: str, dollar: int) -> tuple[str, str, str, int] | None:
    """Read `${...}`: return name, operator, argument and the end, or None when it is malformed."""
    start = dollar + 2
    if template[start : start + 1] not in _FIRST or start >= len(template):
        return None
    end = _name_end(template, start)
    name = template[start:end]
    if template[end : end + 1] == "}":
        return name, "", "", end + 1
    operator = (
        template[end : end + 2] if template[end : end + 1] == ":" else template[end : end + 1]
    )
    if operator.removeprefix(":") not in ("-", "+", "?") or not operator:
        return None
    newline = template.find("\n", end)
    last = template.rfind("}", end, newline if newline >= 0 else len(template))
    if last < 0:
        return None
    close = _closing(template, dollar + 1, last)
    return name, operator, template[end + len(operator) : close], close + 1


def _closing(text: str, start: int, last: int) -> int:
    """Return where the brace at `start` is closed; `last` when braces do not pair up to there."""
    depth = 0
    at = start
    while at <= last:
        if text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
        elif text[at] == "{":
            depth += 1
            at += 1
        at += 1
    return last


def _braced(
    template: str,
    dollar: int,
    lookup: Lookup,
    errors: list[TemplateError],
    unset: Callable[[str], None],
    depth: int,
) -> tuple[str, int]:
    parts = _parts(template, dollar)
    if parts is None or depth > MOST_NESTED:
        line = template.find("\n", dollar)
        stop = template.find("}", dollar)
        end = stop + 1 if stop >= 0 and (line < 0 or stop < line) else line if line >= 0 else None
        errors.append(TemplateError(template[dollar:end]))
        return "", dollar + 2
    name, operator, argument, end = parts
    if not operator:
        return _value(name, lookup, unset), end
    value = lookup(name)
    has = value is not None and (value != "" or operator[0] != ":")
    if operator[-1] == "+":
        if has:
            return substitute(argument, lookup, errors, unset, depth + 1), end
        return value or "", end
    if has and value is not None:
        return value, end
    text = substitute(argument, lookup, errors, unset, depth + 1)
    if operator[-1] == "-":
        return text, end
    errors.append(TemplateError(template[dollar:end], name, text))
    return "", end


def variables(template: str, depth: int = 0) -> list[Variable]:
    """Return the variables that a template names, also those within defaults."""
    found: list[Variable] = []
    at = 0
    while (dollar := template.find("$", at)) >= 0:
        following = template[dollar + 1 : dollar + 2]
        at = dollar + 1
        if following == "$":
            at = dollar + 2
        elif following and following in _FIRST:
            at = _name_end(template, dollar + 1)
            found.append(Variable(template[dollar + 1 : at], required=False))
        elif following == "{" and depth <= MOST_NESTED:
            parts = _parts(template, dollar)
            if parts is None:
                continue
            name, operator, argument, at = parts
            sign = operator[-1:]
            found.append(
                Variable(
                    name,
                    argument if sign == "-" else "",
                    argument if sign == "+" else "",
                    required=sign == "?",
                )
            )
            if sign in ("-", "+") and sign:
                found += variables(argument, depth + 1)
    return found
