"""`--since` and `--until`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from buildkit_py.cli.moments import read_moment

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("10m", "2026-01-02T11:50:00.000000000Z"),
        ("1h30m", "2026-01-02T10:30:00.000000000Z"),
        ("1.5s", "2026-01-02T11:59:58.500000000Z"),
        ("500ms", "2026-01-02T11:59:59.500000000Z"),
        ("1767355200", "2026-01-02T12:00:00.000000000Z"),
        ("1767355200.25", "2026-01-02T12:00:00.250000000Z"),
        ("2026-01-02T12:00:00Z", "2026-01-02T12:00:00.000000000Z"),
        ("2026-01-02T13:00:00.5+01:00", "2026-01-02T12:00:00.500000000Z"),
        ("yesterday", None),
        ("10", None),
        ("10x", None),
        ("1..5s", None),
        ("", None),
    ],
)
def test_moments_as_docker_reads_them(text: str, moment: str | None) -> None:
    assert read_moment(text, NOW) == moment
