"""Dataclasses that cost nothing to define.

The standard library's `dataclass` compiles six methods for each class when a module is imported:
0.6 ms a class, and more than half of the start of a build. These do the same for what is used
here, but comparing and hashing take no code of their own, and `__init__` is compiled when the
first object is made. `dataclasses.fields`, `asdict` and the like know them too.

Type checkers take them for the standard library's.
"""

from __future__ import annotations

from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["dataclass", "field", "replace"]

_MISSING: Any = object()
"""Stands for no default."""
_FIELDS = "__buildkit_py_fields__"


class _Field:
    """What is known of one field; kw_only is set by the class."""

    __slots__ = ("compare", "default", "default_factory", "kw_only", "name", "repr", "type")

    def __init__(self, default: Any, default_factory: Any, compare: bool, repr: bool) -> None:
        self.name = ""
        self.type: Any = None
        self.default = default
        self.default_factory = default_factory
        self.compare = compare
        self.repr = repr
        self.kw_only = False


def _field(
    *,
    default: Any = _MISSING,
    default_factory: Any = _MISSING,
    compare: bool = True,
    repr: bool = True,
) -> Any:
    return _Field(default, default_factory, compare, repr)


def _dataclass(
    *, frozen: bool = False, slots: bool = False, eq: bool = True, kw_only: bool = False
) -> Callable[[type], type]:
    def define(cls: type) -> type:
        fields: dict[str, _Field] = {}
        for base in reversed(cls.__mro__[1:]):
            fields.update(base.__dict__.get(_FIELDS, {}))
        own = _own_fields(cls, kw_only)
        fields.update(own)
        if slots:
            cls = _with_slots(cls, own, fields)
        methods: dict[str, Any] = {
            "__init__": _late_init(cls, fields, frozen),
            "__repr__": _repr(fields),
        }
        if eq:
            methods |= _comparisons(cls, fields, frozen)
        if frozen:
            methods |= {"__setattr__": _refuse_set, "__delattr__": _refuse_delete}
        if frozen and slots:
            methods |= {"__getstate__": _get_state, "__setstate__": _set_state}
        for name, method in methods.items():
            # What the class itself defines stands. Python adds `__hash__ = None` beside `__eq__`.
            if name not in cls.__dict__ or (name == "__hash__" and cls.__hash__ is None):
                setattr(cls, name, method)
        setattr(cls, _FIELDS, fields)
        positional = tuple(name for name, each in fields.items() if not each.kw_only)
        type.__setattr__(cls, "__match_args__", positional)
        type.__setattr__(cls, "__dataclass_fields__", _StandardFields())
        return cls

    return define


def _own_fields(cls: type, kw_only: bool) -> dict[str, _Field]:
    fields: dict[str, _Field] = {}
    # inspect, which could give them, is most of what importing dataclasses costs.
    for name, annotation in cls.__dict__.get("__annotations__", {}).items():  # noqa: RUF063
        value = cls.__dict__.get(name, _MISSING)
        if not isinstance(value, _Field):
            value = _Field(value, _MISSING, True, True)
        elif value.default is _MISSING:
            delattr(cls, name)
        else:
            setattr(cls, name, value.default)
        value.name, value.type, value.kw_only = name, annotation, kw_only
        fields[name] = value
    return fields


def _with_slots(cls: type, own: Mapping[str, _Field], fields: Mapping[str, _Field]) -> type:
    """Return the class made anew with slots for its own fields: they cannot be added later."""
    inherited = {name for base in cls.__mro__[1:] for name in base.__dict__.get("__slots__", ())}
    body = {
        name: value
        for name, value in cls.__dict__.items()
        if name not in fields and name not in ("__dict__", "__weakref__")
    }
    body["__slots__"] = tuple(name for name in own if name not in inherited)
    body["__qualname__"] = cls.__qualname__
    return type(cls)(cls.__name__, cls.__bases__, body)


def _late_init(cls: type, fields: Mapping[str, _Field], frozen: bool) -> Callable[..., None]:
    def __init__(self: Any, *arguments: Any, **named: Any) -> None:
        init = _compile_init(fields, frozen)
        setattr(cls, "__init__", init)  # noqa: B010
        init(self, *arguments, **named)

    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    return __init__


def _compile_init(fields: Mapping[str, _Field], frozen: bool) -> Callable[..., None]:
    names: dict[str, Any] = {"_set": object.__setattr__, "_MISSING": _MISSING}
    positional: list[str] = []
    keywords: list[str] = []
    body: list[str] = []
    for name, each in fields.items():
        value = name
        parameter = name
        if each.default_factory is not _MISSING:
            names[f"_new_{name}"] = each.default_factory
            parameter += "=_MISSING"
            value = f"_new_{name}() if {name} is _MISSING else {name}"
        elif each.default is not _MISSING:
            names[f"_default_{name}"] = each.default
            parameter += f"=_default_{name}"
        (keywords if each.kw_only else positional).append(parameter)
        body.append(f"_set(self,{name!r},{value})" if frozen else f"self.{name}={value}")
    parameters = ",".join(["self", *positional, *(["*", *keywords] if keywords else [])])
    exec(f"def __init__({parameters}):\n " + "\n ".join(body or ["pass"]), names)
    init: Callable[..., None] = names["__init__"]
    return init


def _repr(fields: Mapping[str, _Field]) -> Callable[[Any], str]:
    def __repr__(self: Any) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name, each in fields.items() if each.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"

    return __repr__


def _comparisons(cls: type, fields: Mapping[str, _Field], frozen: bool) -> dict[str, Any]:
    compared = [name for name, each in fields.items() if each.compare]
    # With one name an attrgetter returns no tuple, with none it cannot be.
    values: Callable[[Any], Any] = attrgetter(*compared) if compared else lambda self: ()
    single = len(compared) == 1

    def __eq__(self: Any, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(values(self) == values(other))

    def __hash__(self: Any) -> int:
        return hash((values(self),) if single else values(self))

    return {"__eq__": __eq__, "__hash__": __hash__ if frozen else None}


def _refuse_set(self: Any, name: str, value: object) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: Any, name: str) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _get_state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in getattr(self, _FIELDS)]


def _set_state(self: Any, state: list[Any]) -> None:
    for name, value in zip(getattr(self, _FIELDS), state, strict=True):
        object.__setattr__(self, name, value)


def _replace(object: Any, /, **changes: Any) -> Any:
    kept = {name: getattr(object, name) for name in getattr(object, _FIELDS)}
    return type(object)(**{**kept, **changes})


class _StandardFields:
    """The attribute by which the standard library knows a dataclass, made when it is asked for."""

    def __get__(self, instance: object, owner: type) -> dict[str, Any]:
        import dataclasses

        annotations = {name: each.type for name, each in getattr(owner, _FIELDS).items()}
        namespace: dict[str, Any] = {"__annotations__": annotations, "__module__": owner.__module__}
        for name, each in getattr(owner, _FIELDS).items():
            options: dict[str, Any] = {"repr": each.repr, "compare": each.compare}
            if each.default is not _MISSING:
                options["default"] = each.default
            elif each.default_factory is not _MISSING:
                options["default_factory"] = each.default_factory
            namespace[name] = dataclasses.field(**options)
        standard: Any = dataclasses.dataclass(kw_only=True)(type(owner.__name__, (), namespace))
        fields: dict[str, Any] = standard.__dataclass_fields__
        return fields


if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
else:
    dataclass, field, replace = _dataclass, _field, _replace
