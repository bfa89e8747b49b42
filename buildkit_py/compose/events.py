"""libyaml's event parser without the rest of PyYAML: the only door to `yaml`.

Importing PyYAML costs more than reading a small project (12 ms of 40, most of it one regular
expression of its own reader), and of it only the C parser and the classes of events are needed.
So these are imported alone, with stand-ins for the modules that merely lend the C parser their
classes of errors. Where that does not work, or libyaml is missing, all of PyYAML is imported.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ERRORS = {
    "reader": "ReaderError",
    "scanner": "ScannerError",
    "parser": "ParserError",
    "composer": "ComposerError",
    "constructor": "ConstructorError",
    "emitter": "EmitterError",
    "serializer": "SerializerError",
    "representer": "RepresenterError",
}


def parser_of(text: str) -> tuple[Any, type[Exception]]:
    """Return a source of events (`get_event`, `dispose`) and the class of its errors.

    Raises that class at once where the text has characters that YAML has not.
    """
    made = _alone() or _whole()
    return made[0](text), made[1]


def error_class() -> type[Exception]:
    """Return the class of the errors that `parser_of` and its parser raise."""
    return (_alone() or _whole())[1]


_made: list[tuple[Any, type[Exception]]] = []


def _alone() -> tuple[Any, type[Exception]] | None:
    if not _made and "yaml" not in sys.modules and "yaml._yaml" not in sys.modules:
        try:
            _made.append(_import_alone())
        except (ImportError, AttributeError):
            return None
    return _made[0] if _made else None


def _import_alone() -> tuple[Any, type[Exception]]:
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec("yaml")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("no package `yaml`")
    module = type(sys)
    package = module("yaml")
    package.__path__ = spec.submodule_search_locations
    stand_ins = {"yaml": package}
    sys.modules["yaml"] = package
    try:
        # These four are small, and stay: a later import of all of PyYAML finds them.
        from yaml import error, events, nodes, tokens  # noqa: F401

        for name, class_name in _ERRORS.items():
            stand_in = module(f"yaml.{name}")
            base = _ReaderErrorBase if name == "reader" else error.MarkedYAMLError
            setattr(stand_in, class_name, type(class_name, (base, error.YAMLError), {}))
            stand_ins[f"yaml.{name}"] = sys.modules[f"yaml.{name}"] = stand_in
            setattr(package, name, stand_in)
        from yaml import _yaml
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]
    return _yaml.CParser, error.YAMLError


class _ReaderErrorBase:
    """What PyYAML's ReaderError holds."""

    def __init__(
        self, name: object, position: int, character: object, encoding: object, reason: str
    ) -> None:
        self.position = position
        self.reason = reason


def _whole() -> tuple[Any, type[Exception]]:
    import yaml

    kind: Any = yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader
    return kind, yaml.YAMLError
