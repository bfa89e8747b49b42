"""All rules: every module of `rules/` and `rules/optional/` is one. No list is kept by hand."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from types import ModuleType

from buildkit_py.dockerfile.lint import rules as folder
from buildkit_py.dockerfile.lint.rule import Rule

OPTIONAL = "optional"


@cache
def all_rules() -> tuple[Rule, ...]:
    """Import all rules, once, and return them in the order of their files' names.

    Cost: about 0.1 ms a rule.
    """
    optional = [(name, _rule(f"{OPTIONAL}.{name}", default=False)) for name in names(OPTIONAL)]
    default = zip(names(), default_rules(), strict=True)
    return tuple(rule for _, rule in sorted((*default, *optional), key=lambda pair: pair[0]))


@cache
def default_rules() -> tuple[Rule, ...]:
    """Import the rules that run by default: a first lint pays for no others."""
    return tuple(_rule(name, default=True) for name in names())


def names(below: str = "") -> list[str]:
    """Return the names of the modules of rules, of one folder."""
    return sorted(
        {
            name.partition(".")[0]
            for place in folder.__path__
            for name in os.listdir(os.path.join(place, below))
            if name.endswith((".py", ".pyc")) and not name.startswith("_")
        }
    )


def _rule(name: str, *, default: bool) -> Rule:
    module: ModuleType = import_module(f"{folder.__name__}.{name}")
    severity = module.severity
    return Rule(
        code=getattr(module, "name", name.rpartition(".")[2].upper()),
        alias=getattr(module, "alias", None),
        severity=severity,
        alias_severity=getattr(module, "alias_severity", severity),
        default=default,
        experimental=getattr(module, "experimental", False),
        setting=getattr(module, "setting", None),
        alone=getattr(module, "alone", False),
        page=(module.__doc__ or "").strip(),
        check=module.check,
    )
