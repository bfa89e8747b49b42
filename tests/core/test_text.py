"""Small words for people."""

from __future__ import annotations

import pytest

from buildkit_py.core.text import did_you_mean, human_size


def test_the_nearest_word_is_suggested_whatever_its_case() -> None:
    assert did_you_mean("rum", ["RUN", "COPY"]) == "did you mean `RUN`?"
    assert did_you_mean("zzz", ["RUN", "COPY"]) is None
    assert did_you_mean("x", []) is None


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (999, "999B"), (1500, "1.5kB"), (2_340_000, "2.34MB"), (10**13, "10TB")],
)
def test_sizes_are_written_as_docker_writes_them(size: int, text: str) -> None:
    assert human_size(size) == text
