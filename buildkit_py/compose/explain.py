"""What is wrong with a compose file, in words: the only door to `jsonschema`.

All errors at once, each at the characters at fault. Where a value may have several forms, the
complaint is about the form that was meant: a mapping is judged as a mapping, a list as a list.
"""

from __future__ import annotations

from buildkit_py.compose.errors import BadValue, Inconsistent, MissingKey, UnknownKey
from buildkit_py.compose.tree import Node, dotted, find, kind, plain
from buildkit_py.core.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jsonschema.exceptions import ValidationError

_KINDS = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "a boolean",
    "null": "nothing",
    "array": "a list",
    "object": "a mapping",
}


def explain(node: Node, schema: dict[str, Any]) -> list[InputError]:
    """Return every complaint about a tree, in the order of the files' text."""
    from jsonschema import Draft202012Validator

    found: list[InputError] = []
    for error in Draft202012Validator(schema).iter_errors(plain(node)):
        for each in _meant(error, schema):
            found += _complaints(each, node, schema)
    if not found:
        # The two judges disagree: that is our mistake, but the file must not pass.
        found = [Inconsistent("the file is not what the schema of compose files allows")]
    once = {(e.at, e.message): e for e in found}
    return sorted(once.values(), key=lambda e: (e.at.source.name, e.at.start) if e.at else ("", 0))


def _meant(error: ValidationError, schema: dict[str, Any]) -> Iterator[ValidationError]:
    """Give the errors of the form that was meant, for a value with several."""
    if error.validator != "anyOf":
        yield error
        return
    forms: dict[int, list[ValidationError]] = {}
    for each in error.context or ():
        forms.setdefault(int(each.schema_path[0]), []).append(each)
    inside = [
        errors
        for errors in forms.values()
        if not any(e.validator == "type" and not e.path for e in errors)
    ]
    if len(inside) == 1:
        for each in inside[0]:
            yield from _meant(each, schema)
    else:
        yield error


def _complaints(error: ValidationError, root: Node, schema: dict[str, Any]) -> list[InputError]:
    path = tuple(str(part) for part in error.absolute_path)
    node = find(root, path) or root
    where = dotted(path) or "the file"
    rule: Any = error.validator_value
    match error.validator:
        case "additionalProperties":
            return _unknown_keys(error, node, path)
        case "required":
            name = next(each for each in rule if each not in node.value)
            return [
                MissingKey(
                    f"`{where}` needs the key `{name}`", at=node.place, label=f"without `{name}`"
                )
            ]
        case "enum":
            from buildkit_py.core.text import did_you_mean

            words = [str(each) for each in rule]
            return [
                BadValue(
                    f"`{where}` cannot be `{node.value}`",
                    at=node.span,
                    label=f"one of {', '.join(f'`{word}`' for word in words)}"
                    if len(words) > 1
                    else f"must be `{words[0]}`",
                    hint=did_you_mean(str(node.value), words),
                )
            ]
        case "pattern":
            message = f"`{where}` cannot be `{node.value}`"
            judged: Any = error.schema
            label = judged.get("description") or "not a value it can have"
            return [BadValue(message, at=node.span, label=label)]
        case "minimum" | "maximum":
            word = "at least" if error.validator == "minimum" else "at most"
            message = f"`{where}` must be {word} {rule}"
            return [BadValue(message, at=node.span)]
        case "uniqueItems":
            return _repeated(node, where)
        case _:
            pass
    part: Any = error.schema
    wanted = _kinds(part, schema)
    return [
        BadValue(
            f"`{where}` must be {_either(wanted)}, not {kind(node.value)}",
            # Nothing has no text to point at.
            at=node.place if node.value is None else node.span,
            label=kind(node.value),
            hint=_hint(node, path, wanted),
        )
    ]


_DURATIONS = frozenset(
    "interval timeout start_period start_interval stop_grace_period delay monitor window".split()
)


def _hint(node: Node, path: tuple[str, ...], wanted: list[str]) -> str | None:
    if node.value is None:
        return "remove the key, or give it a value"
    if wanted != ["a string"] or type(node.value) not in (int, float, bool):
        return None
    if path[-1] in _DURATIONS and type(node.value) is int:
        return f"durations have a unit: `{node.span.text}s`"
    return f'write `"{node.span.text}"`'


def _unknown_keys(error: ValidationError, node: Node, path: tuple[str, ...]) -> list[InputError]:
    import re

    from buildkit_py.core.text import did_you_mean

    part: Any = error.schema
    known = part.get("properties", {})
    patterns = part.get("patternProperties", {})
    out: list[InputError] = []
    for name, each in node.value.items():
        if name in known or any(re.search(pattern, name) for pattern in patterns):
            continue
        where = f"in `{dotted(path)}`" if path else "at the top level"
        if known:
            hint = did_you_mean(name, known) or "keys of your own start with `x-`"
        else:
            hint = "names have letters, digits, `.`, `_` and `-`"
        out.append(
            UnknownKey(
                f"unknown key `{name}` {where}",
                at=each.key or each.span,
                label="not a key of compose files" if known else "not a name",
                hint=hint,
            )
        )
    return out


def _repeated(node: Node, where: str) -> list[InputError]:
    from buildkit_py.compose.schema import repeated

    pair = repeated(node.value)
    if pair is None:
        return []
    first, second = (node.value[at] for at in pair)
    return [
        BadValue(
            f"`{where}` has the same item twice, at line {first.span.line} and here",
            at=second.span,
            label="the second one",
        )
    ]


def _kinds(part: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Return the kinds of value that a schema takes."""
    if "$ref" in part:
        return _kinds(schema["$defs"][part["$ref"].rpartition("/")[2]], schema)
    if "anyOf" in part:
        names = [name for each in part["anyOf"] for name in _kinds(each, schema)]
        return list(dict.fromkeys(names))
    wanted = part.get("type", [])
    return [_KINDS[name] for name in ([wanted] if type(wanted) is str else wanted)]


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
