"""JSON as `config.json` has it, read with distrust: each fault is kept with the path to it.

A `Section` is one object of the JSON. Asking it for a field returns the value in its right type,
or a stand-in after noting what is wrong; so one pass finds every fault, and `finish` raises them
together. What nobody asks for is ignored, as the specification wants it ("extensibility"), and
null is what was not said, as Go's and C's readers of runtimes have it.
"""

from __future__ import annotations

import json

from buildkit_py.core.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

MOST_FAULTS = 50
"""Faults that are told of at the most."""

MOST_SHOWN = 60
"""Characters of a value in a message at the most."""

INT32 = (1 << 31) - 1
INT64 = (1 << 63) - 1
UINT16 = (1 << 16) - 1
UINT32 = (1 << 32) - 1
UINT64 = (1 << 64) - 1


class BadConfig(InputError):
    """A container's configuration is not as runtime-spec wants it; notes: the further faults."""

    code = "oci/runtime-config"


class Section:
    """One object of the JSON. path: from the top, "" is the top; faults: shared by all of them"""

    __slots__ = ("faults", "path", "value")

    def __init__(self, value: dict[Any, Any], path: str, faults: list[str]) -> None:
        self.value = value
        self.path = path
        self.faults = faults

    def fault(self, where: str, complaint: str) -> None:
        """Note what is wrong. where: `type`, `args[2]`, `["a.b"]`, or "" for the object itself"""
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(f"{join(self.path, where)}: {complaint}")

    def wrong(self, where: str, wanted: str, value: object) -> None:
        if value is None:
            self.fault(where, "is missing")
        else:
            self.fault(where, f"must be {wanted}, not {kind(value)}")

    def text(self, key: str, *, required: bool = False) -> str:
        """Return a string that a kernel can take; "" where it is not said."""
        value = self.value.get(key)
        if isinstance(value, str) and (value or not required):
            return self.clean(key, value)
        if value == "":
            self.fault(key, "is empty")
        elif required or value is not None:
            self.wrong(key, "a string", value)
        return ""

    def clean(self, where: str, text: str) -> str:
        if text.isascii() and "\0" not in text:
            return text
        if flaw := flaw_of(text):
            self.fault(where, f"holds {flaw}")
            return ""
        return text

    def absolute(self, key: str, *, required: bool = False) -> str:
        path = self.text(key, required=required)
        if path and path[0] != "/":
            self.fault(key, f"{quoted(path)} is not an absolute path")
        return path

    def one_of(
        self, key: str, allowed: Sequence[str], what: str, *, required: bool = False
    ) -> Any:  # The text is one of `allowed`, which may be literal types.
        """Return one of the allowed words, or "" where it is not said."""
        word = self.text(key, required=required)
        if word:
            self.member(key, word, allowed, what)
        return word

    def member(self, where: str, word: str, allowed: Sequence[str], what: str) -> bool:
        if word in allowed:
            return True
        self.fault(where, f"{quoted(word)} is not {what}; one of {', '.join(allowed)}")
        return False

    def words(self, key: str, allowed: Sequence[str], what: str) -> tuple[str, ...]:
        """Return a list of allowed words."""
        words = self.texts(key)
        for where, word in self.placed(key, words):
            self.member(where, word, allowed, what)
        return words

    def flag(self, key: str, *, required: bool = False) -> bool | None:
        value = self.value.get(key)
        if isinstance(value, bool):
            return value
        if required or value is not None:
            self.wrong(key, "true or false", value)
        return None

    def number(self, key: str, low: int, high: int, *, required: bool = False) -> int | None:
        """Return an integer from `low` to `high`, or None where it is not said."""
        value = self.value.get(key)
        if value is None and not required:
            return None
        return self.integer(key, value, low, high)

    def integer(self, where: str, value: object, low: int, high: int) -> int | None:
        if not isinstance(value, int) or isinstance(value, bool):
            self.wrong(where, "an integer", value)
        elif low <= value <= high:
            return value
        else:
            self.fault(where, f"must be from {low} to {high}, not {digits(value)}")
        return None

    def entries(self, key: str) -> Sequence[object]:
        value = self.value.get(key)
        if isinstance(value, list | tuple):
            return value
        if value is not None:
            self.wrong(key, "a list", value)
        return ()

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the strings of a list; "" stands for what is none."""
        found = []
        for number, each in enumerate(self.entries(key)):
            if not isinstance(each, str):
                self.fault(f"{key}[{number}]", f"must be a string, not {kind(each)}")
                each = ""
            elif "\0" in each or not each.isascii():
                each = self.clean(f"{key}[{number}]", each)
            found.append(each)
        return tuple(found)

    def placed(self, key: str, texts: tuple[str, ...]) -> list[tuple[str, str]]:
        """Return where each of a list's texts is, leaving out what was told of as a fault."""
        written = self.value[key] if texts else ()
        return [
            (f"{key}[{number}]", text)
            for number, text in enumerate(texts)
            if written[number] == text
        ]

    def absolutes(self, key: str) -> tuple[str, ...]:
        paths = self.texts(key)
        for where, path in self.placed(key, paths):
            if not path.startswith("/"):
                self.fault(where, f"{quoted(path)} is not an absolute path")
        return paths

    def section(self, key: str, *, required: bool = False) -> Section | None:
        value = self.value.get(key)
        if isinstance(value, dict):
            return Section(value, join(self.path, key), self.faults)
        if required or value is not None:
            self.wrong(key, "an object", value)
        return None

    def part(self, key: str) -> Section:
        """Return a section; an empty one where it is not said."""
        return self.section(key) or Section({}, join(self.path, key), self.faults)

    def sections(self, key: str) -> list[Section]:
        """Return the objects of a list."""
        found = []
        for number, each in enumerate(self.entries(key)):
            if isinstance(each, dict):
                found.append(Section(each, f"{join(self.path, key)}[{number}]", self.faults))
            else:
                self.fault(f"{key}[{number}]", f"must be an object, not {kind(each)}")
        return found

    def names(self) -> list[str]:
        """Return the keys of an object whose keys are names that people choose."""
        found = []
        for name in self.value:
            if not isinstance(name, str):
                self.fault("", f"has a name that must be a string, not {kind(name)}")
            elif not name:
                self.fault("", "has an empty name")
            elif flaw := flaw_of(name):
                self.fault(named(name), f"is a name that holds {flaw}")
            else:
                found.append(name)
        return found

    def named_texts(self, key: str) -> dict[str, str]:
        part = self.part(key)
        found = {}
        for name in part.names():
            value = part.value[name]
            if isinstance(value, str):
                found[name] = part.clean(named(name), value)
            else:
                part.fault(named(name), f"must be a string, not {kind(value)}")
        return found

    def named_sections(self, key: str) -> dict[str, Section]:
        part = self.part(key)
        found = {}
        for name in part.names():
            value = part.value[name]
            if isinstance(value, dict):
                found[name] = Section(value, join(part.path, named(name)), self.faults)
            else:
                part.fault(named(name), f"must be an object, not {kind(value)}")
        return found


def join(path: str, where: str) -> str:
    if path and where and where[0] != "[":
        return f"{path}.{where}"
    return path + where


def named(name: str) -> str:
    """Return a key as a part of a path: `eth0`, or `["a.b"]` where dots would mislead."""
    if name.isascii() and name.replace("_", "a").isalnum():
        return name
    return f"[{json.dumps(name[:MOST_SHOWN])}]"


def kind(value: object) -> str:
    """Return what a value is, in the words of JSON."""
    if isinstance(value, bool):
        return "a boolean"
    for type_, name in (
        (int, "an integer"),
        (float, "a fraction"),
        (str, "a string"),
        (list, "a list"),
        (dict, "an object"),
    ):
        if isinstance(value, type_):
            return name
    return "null" if value is None else f"a {type(value).__name__}"


def quoted(text: str) -> str:
    return f"`{text}`" if len(text) <= MOST_SHOWN else f"`{text[:MOST_SHOWN]}…`"


def digits(value: int) -> str:
    # Python refuses to write integers of thousands of digits.
    return str(value) if value.bit_length() <= 128 else "one of more than 128 bits"


def flaw_of(text: str) -> str:
    """Return what a kernel, or UTF-8, cannot take in a text; "" is nothing."""
    if "\0" in text:
        return "a NUL byte"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "half a character"
    return ""


def parse(data: bytes | str, name: str) -> Any:
    """Return the value that a text of JSON holds; raise BadConfig for one that is none."""
    doubles: list[tuple[object, str]] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            left = set(found)
            for key, _ in pairs:
                if key in left:
                    left.remove(key)
                else:
                    doubles.append((found, key))
        return found

    def refuse(constant: str) -> NoReturn:
        raise BadConfig(f"{name}: `{constant}` is not a number of JSON")

    if not isinstance(data, str):
        try:
            data = data.decode()
        except UnicodeDecodeError as error:
            raise BadConfig(f"{name}: byte {error.start + 1} is not UTF-8") from None
    try:
        value = json.loads(data, object_pairs_hook=unique, parse_constant=refuse)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise BadConfig(f"{name}: {place}: {lower_first(error.msg)}") from None
    except RecursionError:
        raise BadConfig(f"{name}: is nested too deeply") from None
    except ValueError:
        # Python refuses to read integers of thousands of digits.
        raise BadConfig(f"{name}: an integer is too large") from None
    if doubles:
        finish(name, doubled(value, doubles))
    return value


def lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def doubled(value: object, doubles: list[tuple[object, str]]) -> list[str]:
    """Return a fault for each key that an object has twice."""
    keys: dict[int, list[str]] = {}
    for found, key in doubles:
        keys.setdefault(id(found), []).append(key)
    faults: list[str] = []
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting and len(faults) < MOST_FAULTS:
        path, each = waiting.pop()
        if isinstance(each, dict):
            faults += [
                f"{join(path, named(key))}: is there twice" for key in keys.get(id(each), ())
            ]
            inner = [(join(path, named(key)), one) for key, one in each.items()]
        elif isinstance(each, list):
            inner = [(f"{path}[{number}]", one) for number, one in enumerate(each)]
        else:
            continue
        waiting += reversed(inner)
    # An object of the same key may have fallen out with its elder.
    return faults[:MOST_FAULTS] or [f"{quoted(doubles[0][1])} is there twice"]


def finish(name: str, faults: list[str]) -> None:
    """Raise what was found, if anything was."""
    if faults:
        raise BadConfig(f"{name}: {faults[0]}", notes=faults[1:])


def top(value: object, name: str) -> Section:
    """Return the section that is the whole JSON."""
    if not isinstance(value, dict):
        raise BadConfig(f"{name}: must be an object, not {kind(value)}")
    return Section(value, "", [])
