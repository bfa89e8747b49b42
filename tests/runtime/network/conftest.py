"""Fixtures for network tests: namespaces are made by other processes, pytest stays in its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from buildkit_py.runtime.network.network import Network
from tests.runtime.network.people import Container, Inhabitant, Machine, plugged


@pytest.fixture
def inhabitants() -> Iterator[Callable[[], Inhabitant]]:
    made: list[Inhabitant] = []

    def make() -> Inhabitant:
        made.append(Inhabitant())
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def networks(
    inhabitants: Callable[[], Inhabitant], tmp_path: Path
) -> Iterator[Callable[[], Network]]:
    """Make networks of root that share a folder of run-time files."""
    made: list[Network] = []

    def make() -> Network:
        run_dir = str(tmp_path / "run")
        made.append(Network.open(Machine(), inhabitants(), run_dir=run_dir, purpose="test"))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def containers(inhabitants: Callable[[], Inhabitant]) -> Callable[[Network], Container]:
    return lambda network: plugged(network, inhabitants())
