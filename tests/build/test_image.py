"""The times of an image's history."""

from __future__ import annotations

from buildkit_py.build.image import with_times
from buildkit_py.oci.image import History

BASE = "2020-01-01T00:00:00Z"


def times(history: list[History], *layers: str) -> list[str | None]:
    return [each.created for each in with_times(history, layers)]


def layer(created: str | None = None) -> History:
    return History(created)


def empty(created: str | None = None) -> History:
    return History(created, empty_layer=True)


def test_each_new_layer_has_its_own_time() -> None:
    assert times([layer(BASE), layer(), layer()], "t1", "t2") == [BASE, "t1", "t2"]


def test_the_first_metadata_takes_the_next_layer_s_time_and_later_ones_the_last_s() -> None:
    """As BuildKit's exporter does; its comment says otherwise."""
    history = [layer(BASE), layer(), empty(), layer(), empty(), layer(), empty()]

    assert times(history, "t1", "t2", "t3") == [BASE, "t1", "t2", "t2", "t2", "t3", "t3"]


def test_metadata_in_front_of_the_first_new_layer_takes_that_one_s_time() -> None:
    assert times([layer(BASE), empty(), layer()], "t1") == [BASE, "t1", "t1"]


def test_metadata_alone_takes_the_base_s_time() -> None:
    assert times([layer(BASE), empty(), empty()]) == [BASE, BASE, BASE]


def test_nothing_but_metadata_has_no_time() -> None:
    assert times([empty(), empty()]) == [None, None]
