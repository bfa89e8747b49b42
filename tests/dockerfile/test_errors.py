"""What is wrong with a Dockerfile is said whole: code, place, label, hint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from buildkit_py.core.draw import draw
from buildkit_py.core.errors import InputError, InputErrors
from buildkit_py.core.source import Source
from buildkit_py.dockerfile.dump import error_record
from buildkit_py.dockerfile.parse import parse, source_of

CASES = Path(__file__).parents[2] / "fixtures" / "dockerfiles" / "refused"


@pytest.mark.parametrize("case", sorted(path.parent.name for path in CASES.glob("*/error.txt")))
def test_a_wrong_dockerfile_is_refused(case: str, golden: Callable[[Path, str], None]) -> None:
    with pytest.raises(InputError) as caught:
        parse(source_of("Dockerfile", (CASES / case / "Dockerfile").read_bytes()))

    golden(CASES / case / "error.txt", draw(caught.value) + "\n")


def test_the_first_complaint_is_the_one_buildkit_has() -> None:
    """BuildKit's line parser reads the whole file before it looks at flags."""
    with pytest.raises(InputErrors) as caught:
        parse(Source("f", 'FROM a\nCOPY --x a b\nRUN ["a", 1]\nRUM\n'))

    assert [each.code for each in caught.value.errors] == [
        "dockerfile/unknown-flag",
        "dockerfile/json-not-strings",
        "dockerfile/unknown-instruction",
    ]
    assert error_record("f", caught.value)["error"] == {
        "code": "dockerfile/json-not-strings",
        "message": "a JSON array of arguments may hold only strings",
        "line": 3,
        "column": 11,
    }


def test_a_file_that_is_no_dockerfile_gives_a_hundred_complaints_and_no_more() -> None:
    with pytest.raises(InputErrors) as caught:
        parse(Source("f", "nothing of this sort\n" * 5000))

    assert len(caught.value.errors) == 100


def test_a_message_does_not_repeat_a_long_word() -> None:
    with pytest.raises(InputError) as caught:
        parse(Source("f", "x" * 5000))

    assert len(caught.value.message) < 100
