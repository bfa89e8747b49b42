"""Our named tuples are those of the standard library, in all that is used of them."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import typing

import pytest

from buildkit_py.core.tuples import NamedTuple


class Ours(NamedTuple):
    """Two fields and a property."""

    name: str
    size: int = 3

    @property
    def doubled(self) -> int:
        return self.size * 2


class Theirs(typing.NamedTuple):
    name: str
    size: int = 3


def test_it_is_a_tuple_with_names() -> None:
    ours = Ours("a")

    assert type(Ours) is type
    assert Ours.__mro__ == (Ours, tuple, object)
    assert Ours.__doc__ == "Two fields and a property."
    assert ours == ("a", 3) == Ours(name="a", size=3) == tuple(Theirs("a"))
    assert (ours.name, ours.size, ours.doubled) == ("a", 3, 6)
    assert hash(ours) == hash(Theirs("a"))
    assert repr(ours) == repr(Theirs("a")).replace("Theirs", "Ours")
    assert Ours._fields == Theirs._fields
    assert Ours._field_defaults == Theirs._field_defaults
    match ours:
        case Ours(name, size):
            assert (name, size) == ("a", 3)
    assert [type(each) for each in (copy.copy(ours), pickle.loads(pickle.dumps(ours)))] == [
        Ours
    ] * 2
    assert pickle.loads(pickle.dumps(ours)) == ours


def test_replace_changes_some_fields() -> None:
    assert Ours("a")._replace(size=4) == ("a", 4)
    assert type(Ours("a")._replace(size=4)) is Ours
    unchecked: typing.Any = Ours("a")
    with pytest.raises(ValueError, match="no such fields: other"):
        unchecked._replace(other=1)


@pytest.mark.parametrize("arguments", [(), ("a", 1, 2)])
def test_wrong_numbers_of_values_are_refused(arguments: tuple[object, ...]) -> None:
    make: typing.Any = Ours
    for _ in range(2):  # the first object compiles what makes the others
        with pytest.raises(TypeError, match=r"__new__\(\)"):
            make(*arguments)


def test_nothing_can_be_set() -> None:
    ours: typing.Any = Ours("a")
    for name in ("name", "other"):
        with pytest.raises(AttributeError):
            setattr(ours, name, "b")


def test_a_field_without_a_default_comes_first() -> None:
    define: typing.Any = type(NamedTuple)
    with pytest.raises(TypeError, match="without a default behind one"):
        define("Wrong", (NamedTuple,), {"__annotations__": {"a": int, "b": int}, "a": 1})


def test_typing_is_not_imported() -> None:
    program = "import sys, buildkit_py.core.tuples; print('typing' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"
