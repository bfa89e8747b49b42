"""What `ps` makes of a container's ports."""

from __future__ import annotations

import pytest

from buildkit_py.cli.engine_containers import ranges_of


@pytest.mark.parametrize(
    ("ports", "shown"),
    [
        ([], []),
        (["90/tcp"], ["90/tcp"]),
        (["90/tcp", "53/udp", "8"], ["8/tcp", "53/udp", "90/tcp"]),
        (["82/tcp", "80/tcp", "81/udp", "81/tcp", "84/tcp"], ["80-82/tcp", "81/udp", "84/tcp"]),
    ],
)
def test_ports_in_a_row_are_a_range(ports: list[str], shown: list[str]) -> None:
    assert ranges_of(ports) == shown
