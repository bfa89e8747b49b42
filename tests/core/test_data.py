"""Our dataclasses behave as the standard library's: each test is of both."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import sys
from typing import Any

import pytest

from buildkit_py.core import data

ours: Any = data
KINDS = pytest.mark.parametrize("kind", [ours, dataclasses], ids=["ours", "standard"])


def make_point(kind: Any) -> Any:
    @kind.dataclass(frozen=True, slots=True)
    class Point:
        """Where something is."""

        x: int
        y: int = 2
        names: list[str] = kind.field(default_factory=list, compare=False)
        secret: str = kind.field(default="s", repr=False)

        def moved(self, by: int) -> Any:
            return kind.replace(self, x=self.x + by)

    return Point


def make_derived(kind: Any) -> Any:
    @kind.dataclass(frozen=True, slots=True)
    class Base:
        a: int

    @kind.dataclass(frozen=True, slots=True, kw_only=True)
    class Derived(Base):
        b: int = 1
        c: int

    return Derived


@KINDS
def test_fields_have_defaults_names_and_places(kind: Any) -> None:
    point = make_point(kind)

    assert (point(1).x, point(1).y, point(1).names, point(1).secret) == (1, 2, [], "s")
    assert (point(1, 5).y, point(x=3, y=4).y, point(1, names=["n"]).names) == (5, 4, ["n"])
    assert point(1).names is not point(1).names
    assert point.__doc__ == "Where something is."
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        point()
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        point(1, z=1)


@KINDS
def test_equal_values_are_equal_and_hash_the_same(kind: Any) -> None:
    point = make_point(kind)

    assert point(1, names=["n"]) == point(1)
    assert point(1) != point(2)
    assert point(1) != make_point(kind)(1)
    assert point(1) != (1, 2, "s")
    assert hash(point(1)) == hash(point(1, names=["n"])) == hash((1, 2, "s"))


@KINDS
def test_a_frozen_object_takes_no_change(kind: Any) -> None:
    made = make_point(kind)(1)

    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
        made.x = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
        del made.x
    with pytest.raises((AttributeError, TypeError)):  # the standard's is a TypeError by mistake
        made.other = 2
    assert not hasattr(made, "__dict__")


@KINDS
def test_it_is_shown_and_replaced(kind: Any) -> None:
    made = make_point(kind)(1)

    assert repr(made) == "make_point.<locals>.Point(x=1, y=2, names=[])"
    assert made.moved(3) == type(made)(4)
    assert copy.deepcopy(made) == made


@KINDS
def test_fields_are_inherited_and_may_be_named_only(kind: Any) -> None:
    derived = make_derived(kind)

    made = derived(1, c=3)

    assert (made.a, made.b, made.c) == (1, 1, 3)
    assert repr(made).endswith("Derived(a=1, b=1, c=3)")
    assert derived.__slots__ == ("b", "c")
    assert derived.__match_args__ == ("a",)
    with pytest.raises(TypeError):
        derived(1, 2, 3)


@KINDS
def test_a_changeable_one_has_no_hash(kind: Any) -> None:
    @kind.dataclass(slots=True)
    class Counter:
        count: int = 0

    make: Any = Counter
    counter = make()
    counter.count += 1

    assert counter == make(1)
    with pytest.raises(TypeError, match="unhashable"):
        hash(counter)
    with pytest.raises(AttributeError):
        counter.other = 1


@KINDS
def test_identity_may_be_what_counts(kind: Any) -> None:
    @kind.dataclass(frozen=True, slots=True, eq=False)
    class Node:
        name: str

    make: Any = Node
    node = make("a")

    assert node != make("a")
    assert {node: 1}[node] == 1


@KINDS
def test_what_the_class_defines_stands(kind: Any) -> None:
    @kind.dataclass(frozen=True, slots=True)
    class Word:
        text: str

        def __repr__(self) -> str:
            return self.text

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

    make: Any = Word
    assert (repr(make("w")), make("a") == make("b"), hash(make("a"))) == ("w", True, 7)


@KINDS
def test_the_standard_library_knows_it(kind: Any) -> None:
    point = make_point(kind)
    known: bool = dataclasses.is_dataclass(point)

    assert known
    assert [each.name for each in dataclasses.fields(point(1))] == ["x", "y", "names", "secret"]
    assert dataclasses.asdict(point(1)) == {"x": 1, "y": 2, "names": [], "secret": "s"}
    assert dataclasses.replace(point(1), y=7).y == 7


@data.dataclass(frozen=True, slots=True)
class Sent:
    """Of this module, so that it can be pickled."""

    name: str
    inner: Sent | None = None


def test_it_travels_by_pickle() -> None:
    sent = Sent("a", Sent("b"))

    assert pickle.loads(pickle.dumps(sent, protocol=5)) == sent


def test_patterns_match_by_place() -> None:
    match Sent("a", Sent("b")):
        case Sent(name, Sent(inner)):
            assert (name, inner) == ("a", "b")
        case other:
            pytest.fail(f"{other} did not match")


def test_defining_and_making_one_imports_nothing() -> None:
    import subprocess

    script = (
        "import sys\nfrom buildkit_py.core.data import dataclass, replace\n"
        "@dataclass(frozen=True)\nclass P:\n  x: int = 1\n"
        "assert replace(P(), x=2) == P(2)\n"
        "assert not {'dataclasses', 'inspect', 're', 'typing'} & set(sys.modules)"
    )

    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, check=False)

    assert done.stderr == b""
