"""All rules: every module below `rules/` is one. No list is kept by hand."""

from __future__ import annotations

import os
from functools import cache

from buildkit_py.dockerfile.lint import rules as folder
from buildkit_py.dockerfile.lint.rule import Rule

OPTIONAL, DECIDED, BUILDKIT = "optional", "decided", "buildkit"
"""Folders of rules that do not run by default, that a setting makes run, and of BuildKit's own."""


@cache
def all_rules() -> tuple[Rule, ...]:
    """Return all rules in the order of their files' names.

    Cost: about 0.1 ms for each that is imported; those in folders of their own are so when needed.
    """
    optional = [_rule(name, f"{OPTIONAL}.{name}") for name in modules(OPTIONAL)]
    by_word = [
        _rule(name, f"{OPTIONAL}.{word}.{name}", word=word)
        for word in folders(OPTIONAL)
        for name in modules(OPTIONAL, word)
    ]
    decided = [
        _rule(name, f"{DECIDED}.{setting}.{name}", setting=setting)
        for setting in folders(DECIDED)
        for name in modules(DECIDED, setting)
    ]
    found = [*default_rules(), *optional, *by_word, *decided]
    return tuple(sorted(found, key=lambda rule: rule.name.rpartition(".")[2]))


@cache
def default_rules() -> tuple[Rule, ...]:
    """Return the rules that run by default: a first lint pays for no others."""
    by_word = [
        _rule(name, f"{word}.{name}", default=True, word=word)
        for word in folders()
        if word not in (OPTIONAL, DECIDED, BUILDKIT)
        for name in modules(word)
    ]
    buildkit = [
        Rule(_camel(name), f"{folder.__name__}.{BUILDKIT}.{name}", default=True, is_known=True)
        for name in modules(BUILDKIT)
    ]
    return (*(_rule(name, name, default=True) for name in modules()), *by_word, *buildkit)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def modules(*below: str) -> list[str]:
    """Return the names of the modules of rules in one folder."""
    names = {name.partition(".")[0] for name in _entries(*below) if name.endswith((".py", ".pyc"))}
    return sorted(names)


def folders(*below: str) -> list[str]:
    """Return the names of the folders in a folder."""
    return sorted(name for name in _entries(*below) if "." not in name)


def _entries(*below: str) -> list[str]:
    return [
        name
        for place in folder.__path__
        for name in os.listdir(os.path.join(place, *below))
        if not name.startswith("_")
    ]


def _rule(
    file: str, name: str, *, default: bool = False, word: str = "", setting: str | None = None
) -> Rule:
    return Rule(
        file.upper(), f"{folder.__name__}.{name}", default=default, word=word, setting=setting
    )
